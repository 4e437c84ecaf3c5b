"""Importing FHIR: what we export comes back as it was, what others wrote finds its place or is counted, a server is read as its pages and files are."""

from __future__ import annotations

import gzip
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import polars as pl
import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

import populace
from populace.app.cli import cli, run_command
from populace.core.dataset import Dataset
from populace.core.errors import UserError
from populace.core.imports import Imported
from populace.core.validate import validate
from populace.domains.healthcare import DOMAIN
from populace.domains.healthcare.imports.imported import read_records

MADE_ANEW = {"Location", "CareTeam", "DocumentReference", "Provenance"}


def rendered(found: Imported) -> dict[str, list[str]]:
    view = found.domain.views["fhir+ndjson"]
    return {kind: frame["text"].to_list() for kind, frame in view.render(found.tables, {}).items() if frame.height}


def lines(folder: Path) -> dict[str, list[str]]:
    return {f.stem: f.read_text("utf-8").splitlines() for f in folder.glob("*.ndjson")}


@pytest.fixture(scope="module")
def exported(few: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("exported")
    few.write(*(f"{view}:{folder / view}" for view in ("fhir+ndjson", "fhir+bundle", "fhir+everything")))
    return folder


@pytest.mark.parametrize("view", ["fhir+ndjson", "fhir+bundle"])
def test_export_import_export_gives_the_same_resources(exported: Path, view: str):
    found = read_records(DOMAIN, str(exported / view))
    assert rendered(found) == lines(exported / "fhir+ndjson")
    assert {kind for kind, _ in found.left_out} == MADE_ANEW
    assert found.violations().is_empty()


def test_what_scenarios_have_spoilt_comes_back_spoilt(tmp_path: Path):
    names = [
        "duplicate-registration",
        "impossible-heart-rate",
        "misdated-result",
        "repeated-result",
        "single-name",
        "right-to-left-name",
    ]
    data = populace.generate("healthcare", size=25, seed=9, scenarios=names, start="2020-01-01", end="2022-01-01")
    data.write(f"fhir+ndjson:{tmp_path / 'out'}")
    found = read_records(DOMAIN, str(tmp_path / "out"))
    assert rendered(found) == lines(tmp_path / "out")
    assert {"observation.plausible", "observation.encounter"} <= set(found.violations()["check"])


def test_tables_come_back_but_for_what_fhir_does_not_say(few: Dataset, exported: Path):
    found = read_records(DOMAIN, str(exported / "fhir+everything"))
    for name in ("patient", "encounter", "condition", "medication_request", "immunization", "coverage", "claim"):
        ours = few.frames[name].drop("education", "household_id", "income", strict=False)
        theirs = found.tables[name].select(ours.columns)
        same = pl.all_horizontal(pl.col(c).cast(pl.String).eq_missing(theirs[c].cast(pl.String)) for c in ours.columns)
        assert ours.select(same.all()).item(), name
    key = ["patient_id", "encounter_id", "at", "code", "value"]
    ours = few.frames["observation"].select(pl.col(key).exclude("code"), pl.col("code").cast(pl.String)).sort(key)
    theirs = found.tables["observation"].select(pl.col(key).exclude("code"), pl.col("code").cast(pl.String)).sort(key)
    assert ours.equals(theirs)


FOREIGN: list[dict[str, Any]] = [
    {
        "resourceType": "Patient", "id": "5cbc121b", "gender": "female", "birthDate": "1961-07",
        "identifier": [{"system": "https://github.com/synthetichealth/synthea", "value": "5cbc121b"}],
        "name": [{"use": "official", "family": "Ruiz", "given": ["Ana", "Lucía"]}], "multipleBirthBoolean": False,
        "address": [{"line": ["1 Rue X"], "city": "Lyon", "postalCode": "69001", "country": "FR"}],
    },
    {
        "resourceType": "Practitioner", "id": "0000", "name": [{"family": "Roe", "given": ["Jo"]}],
        "identifier": [{"system": "http://hl7.org/fhir/sid/us-npi", "value": "9999943290"}],
    },
    {
        "resourceType": "Encounter", "id": "e1", "status": "finished", "class": {"system": "x", "code": "OBSENC", "display": "observation"},
        "subject": {"reference": "urn:uuid:5cbc121b"}, "period": {"start": "2019-03-01T09:00:00+02:00", "end": "2019-03-01T10:00:00.5+02:00"},
        "participant": [{"individual": {"reference": "Practitioner?identifier=http://hl7.org/fhir/sid/us-npi|9999943290"}}],
    },
    {
        "resourceType": "Observation", "id": "o1", "status": "final", "subject": {"reference": "Patient/5cbc121b"},
        "encounter": {"reference": "urn:uuid:e1"}, "effectiveDateTime": "2019-03-01T07:30:00Z",
        "code": {"coding": [{"system": "http://loinc.org", "code": "2339-0", "display": "Glucose"}]},
        "valueQuantity": {"value": 5.125, "unit": "mmol/L", "system": "http://unitsofmeasure.org", "code": "mmol/L"},
        "interpretation": [{"text": "normal"}],
    },
    {
        "resourceType": "Observation", "id": "o2", "status": "final", "subject": {"reference": "Patient/5cbc121b"},
        "effectiveDateTime": "2019-03-01", "code": {"coding": [{"system": "http://loinc.org", "code": "93025-5", "display": "PRAPARE"}]},
        "component": [
            {"code": {"coding": [{"system": "http://loinc.org", "code": "32624-9", "display": "Race"}]}, "valueCodeableConcept": {"coding": [{"system": "http://loinc.org", "code": "LA4457-3", "display": "White"}]}},
            {"code": {"coding": [{"system": "http://loinc.org", "code": "63512-8", "display": "How many people"}]}, "valueQuantity": {"value": 3, "unit": "{#}"}},
        ],
    },
    {"resourceType": "Observation", "id": "o3", "status": "cancelled", "subject": {"reference": "Patient/5cbc121b"}, "code": {"text": "x"}},
    {
        "resourceType": "Observation", "id": "o4", "status": "final", "subject": {"reference": "Patient/nobody"},
        "effectiveDateTime": "2019-03-01", "code": {"coding": [{"system": "http://loinc.org", "code": "8867-4"}]}, "valueInteger": 70,
    },
    {"resourceType": "Medication", "id": "m1", "code": {"coding": [{"system": "http://www.nlm.nih.gov/research/umls/rxnorm", "code": "106892", "display": "Insulin"}]}},
    {
        "resourceType": "MedicationRequest", "id": "r1", "status": "active", "intent": "order", "subject": {"reference": "Patient/5cbc121b"},
        "medicationReference": {"reference": "urn:uuid:m1"}, "authoredOn": "2019-03-01T08:40:00Z",
    },
    {"resourceType": "Slot", "id": "s1"},
]  # fmt: skip


def bundle(resources: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "resourceType": "Bundle",
        "type": "collection",
        "entry": [{"fullUrl": f"urn:uuid:{r['id']}", "resource": r} for r in resources],
    }


def judged(found: Imported) -> None:
    """What the foreign record must become."""
    patient = found.tables["patient"].row(0, named=True)
    assert (patient["given_name"], patient["middle_name"], patient["family_name"]) == ("Ana", "Lucía", "Ruiz")
    assert str(patient["birth_date"]) == "1961-07-01"
    assert patient["state"] is None
    visit = found.tables["encounter"].row(0, named=True)
    assert visit["class"] == "OBSENC"
    assert (str(visit["start_at"]), str(visit["end_at"])) == (
        "2019-03-01 07:00:00+00:00",
        "2019-03-01 08:00:00.500000+00:00",
    )
    assert visit["practitioner_id"] == 0
    values = {r["code"]: r for r in found.tables["observation"].rows(named=True)}
    assert set(values) == {"2339-0", "32624-9", "63512-8"}
    assert (values["2339-0"]["value"], values["2339-0"]["unit"]) == (5.125, "mmol/L")
    assert values["32624-9"]["value_code"] == "LA4457-3"
    assert found.tables["medication_request"]["code"].to_list() == ["106892"]
    left = dict(found.left_out)
    assert left.pop(("Slot", "there is no table for it")) == 1
    assert left.pop(("Observation", "status cancelled")) == 1
    assert left.pop(("Observation", "no place for interpretation")) == 1
    assert left.pop(("Patient", "no place for address.country")) == 1
    assert left.pop(("Patient", "no place for multipleBirthBoolean")) == 1
    assert left.pop(("observation", "rows of a patient who is not here")) == 1
    assert left == {}


def test_records_of_others_find_their_place_or_are_counted(tmp_path: Path):
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "one.json").write_text(json.dumps(bundle(FOREIGN), indent=1), "utf-8")
    judged(read_records(DOMAIN, str(tmp_path / "in")))
    with gzip.open(tmp_path / "all.ndjson.gz", "wt", encoding="utf-8") as file:
        file.writelines(json.dumps(r) + "\n\n" for r in FOREIGN)
    judged(read_records(DOMAIN, str(tmp_path / "all.ndjson.gz")))


def test_what_was_imported_is_validated_viewed_and_kept_in_databases(tmp_path: Path):
    (tmp_path / "one.json").write_text(json.dumps(bundle(FOREIGN)), "utf-8")
    place, base = str(tmp_path / "one.json"), str(tmp_path / "out")
    targets = [
        base,
        f"duckdb:///{base}.duckdb",
        f"omop:{base}-omop",
        f"synthea:{base}-csv",
        f"fhir+bundle:{base}-b",
        f"flat:{base}-flat",
    ]
    result = CliRunner().invoke(
        cli, ["import", "healthcare", place, "--report", f"{base}.json", *(w for t in targets for w in ("--to", t))]
    )
    assert result.exit_code == 0, result.output
    assert "no place for interpretation" in result.output
    told = json.loads(Path(f"{base}.json").read_text())
    assert told["rows"]["observation"] == 3
    for where in targets[:2]:
        verdict = validate(DOMAIN, where)
        assert verdict.rows["observation"] == 3
        # the diagnosis is honest: a glucose in another unit is none, a result at no visit is none
        assert {e["check"] for e in verdict.listed()} <= {"patient.age", "manifest.digest"}
    assert run_command(["import", "healthcare", place, "--to", f"{base}-2", "--strict", "--quiet"]) == 1


@pytest.mark.parametrize(
    ("content", "why"),
    [
        ("", "holds no Patient; found nothing"),
        ("{not json}\n", "holds no Patient"),
        ('{"resourceType":"Slot","id":"1"}', "found 1 Slot"),
        ('{"resourceType":"Patient","id":"1","birthDate":1970}', "found 1 Patient; not as FHIR R4 has it"),
    ],
)
def test_nothing_to_read_is_an_error(content: str, why: str, tmp_path: Path):
    (tmp_path / "x.ndjson").write_text(content)
    with pytest.raises(UserError, match=why):
        read_records(DOMAIN, str(tmp_path))
    with pytest.raises(UserError, match="no such folder"):
        read_records(DOMAIN, str(tmp_path / "not"))
    (tmp_path / "x.ndjson").unlink()
    with pytest.raises(UserError, match="holds no FHIR"):
        read_records(DOMAIN, str(tmp_path))


def test_references_to_urns_and_to_what_is_contained_are_followed(tmp_path: Path):
    """As converters and servers write them: URNs that are not the resources' ids, and resources within one another."""
    person = {"resourceType": "Patient", "id": "p", "gender": "female", "birthDate": "1970-02-03"}
    drug = {
        "coding": [{"system": "http://www.nlm.nih.gov/research/umls/rxnorm", "code": "314076", "display": "lisinopril"}]
    }
    pulse = {"coding": [{"system": "http://loinc.org", "code": "8867-4", "display": "Heart rate"}]}
    order = {
        "resourceType": "MedicationRequest", "id": "m", "status": "active", "intent": "order", "authoredOn": "2020-01-02",
        "contained": [{"resourceType": "Medication", "id": "drug", "code": drug}], "medicationReference": {"reference": "#drug"},
        "subject": {"reference": "urn:uuid:0c3151bd-1cbf-4d64-b04d-cd9187a4c6e0"},
    }  # fmt: skip
    result = {
        "resourceType": "Observation", "id": "o", "status": "final", "code": pulse, "effectiveDateTime": "2020-01-02T08:00:00Z",
        "contained": [{"resourceType": "Patient", "id": "p", "gender": "male", "birthDate": "1990-05-06"}],
        "subject": {"reference": "#p"}, "valueQuantity": {"value": 70, "unit": "/min", "code": "/min"},
    }  # fmt: skip
    bundle = {
        "resourceType": "Bundle",
        "type": "collection",
        "entry": [
            {"fullUrl": "urn:uuid:0c3151bd-1cbf-4d64-b04d-cd9187a4c6e0", "resource": person},
            {"fullUrl": "urn:uuid:b9b4818e-02de-4cc4-b418-d20cbc7b5dfe", "resource": order},
        ],
    }
    (tmp_path / "bundle.json").write_text(json.dumps(bundle))
    (tmp_path / "Observation.ndjson").write_text(json.dumps(result, separators=(",", ":")) + "\n")
    found = read_records(DOMAIN, str(tmp_path))
    people = found.tables["patient"].select("patient_id", sex=pl.col("sex").cast(pl.String))
    ordered = found.tables["medication_request"].join(people, on="patient_id")
    measured = found.tables["observation"].join(people, on="patient_id")
    assert ordered.select(pl.col("code").cast(pl.String), "sex").rows() == [("314076", "female")]
    assert measured.select("value", "sex").rows() == [(70.0, "male")]
    assert not [why for kind, why in found.left_out if "not here" in why or "contained" in why]


def test_one_bad_line_costs_one_line(exported: Path, tmp_path: Path):
    good = lines(exported / "fhir+ndjson")
    bad = json.loads(good["Observation"][7])
    bad["code"] = "not a concept"
    for kind, texts in good.items():
        (tmp_path / f"{kind}.ndjson").write_text("\n".join(texts) + "\n", "utf-8")
    with open(tmp_path / "Observation.ndjson", "a", encoding="utf-8") as file:
        file.write(json.dumps({**bad, "id": "bad"}, separators=(",", ":")) + '\n{"resourceType":"Observation",\n')
    found = read_records(DOMAIN, str(tmp_path))
    pressures = sum("85354-9" in text for text in good["Observation"])
    assert found.tables["observation"].height == len(good["Observation"]) + pressures
    assert sum(n for (k, w), n in found.left_out.items() if k == "Observation" and w.startswith("not as FHIR")) == 1
    assert sum(n for (k, _), n in found.left_out.items() if k == "unreadable") == 1


@given(st.recursive(st.none() | st.booleans() | st.integers(-9, 9) | st.text(max_size=5), lambda c: st.lists(c, max_size=3) | st.dictionaries(st.sampled_from(["code", "coding", "subject", "value", "period", "start", "status", "reference", "system"]), c, max_size=3), max_leaves=8), st.sampled_from(["Observation", "Encounter", "Condition", "Patient", "CarePlan"]))  # fmt: skip
@settings(max_examples=40, deadline=None)
def test_whatever_stands_in_a_resource_it_becomes_a_row_or_is_counted(value: Any, kind: str):
    import tempfile

    patient = {"resourceType": "Patient", "id": "p", "gender": "male", "birthDate": "2000-01-01"}
    odd = {**(value if isinstance(value, dict) else {"code": value}), "resourceType": kind, "id": "x"}
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "a.ndjson").write_text(json.dumps(patient) + "\n" + json.dumps(odd), "utf-8")
        found = read_records(DOMAIN, folder)
    rows = (
        found.tables[{"CarePlan": "care_plan"}.get(kind, kind.lower())].height
        if kind != "CarePlan" or "care_plan" in found.tables
        else 0
    )
    assert found.read[kind] == (2 if kind == "Patient" else 1)
    assert (
        rows + sum(n for (k, _), n in found.left_out.items() if k.lower().replace("_", "") == kind.lower())
        >= found.read[kind]
    )


class Server(BaseHTTPRequestHandler):
    """A server with search pages of two, and with a bulk export where it is told to have one."""

    bulk = True
    token: str | None = None
    polls = 0

    def do_GET(self) -> None:
        at = urlsplit(self.path)
        kind = at.path.rpartition("/")[2]
        host = f"http://127.0.0.1:{self.server.server_port}"  # type: ignore[attr-defined]
        if self.token and self.headers.get("Authorization") != f"Bearer {self.token}":
            return self.answer(401, {"resourceType": "OperationOutcome", "issue": [{"diagnostics": "who are you?"}]})
        if kind == "$export":
            if not self.bulk:
                return self.answer(404, {"resourceType": "OperationOutcome", "issue": [{"code": "not-supported"}]})
            assert self.headers["Prefer"] == "respond-async"
            return self.answer(202, None, {"Content-Location": f"{host}/status"})
        if kind == "status":
            type(self).polls += 1
            if type(self).polls < 2:
                return self.answer(202, None, {"Retry-After": "0"})
            kinds = sorted({r["resourceType"] for r in FOREIGN})
            return self.answer(200, {"output": [{"type": k, "url": f"{host}/files/{k}.ndjson"} for k in kinds]})
        if at.path.startswith("/files/"):
            mine = [r for r in FOREIGN if r["resourceType"] == kind.removesuffix(".ndjson")]
            return self.answer(200, "".join(json.dumps(r) + "\n" for r in mine))
        asked = parse_qs(at.query)
        mine, start = [r for r in FOREIGN if r["resourceType"] == kind], int(asked.get("start", ["0"])[0])
        if kind == "SupplyDelivery":
            return self.answer(404, None)
        page: dict[str, Any] = {**bundle(mine[start : start + 2]), "type": "searchset"}
        if start + 2 < len(mine):
            page["link"] = [{"relation": "next", "url": f"{host}{at.path}?start={start + 2}"}]
        return self.answer(200, page)

    def answer(self, status: int, content: Any, headers: dict[str, str] | None = None) -> None:
        body = b"" if content is None else (content if isinstance(content, str) else json.dumps(content)).encode()
        self.send_response(status)
        for name, value in {**(headers or {}), "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        pass


@pytest.fixture
def server() -> Iterator[tuple[str, type[Server]]]:
    handler = type("Handler", (Server,), {})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as running:
        threading.Thread(target=running.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{running.server_port}/r4", handler
        running.shutdown()


@pytest.mark.parametrize("bulk", [True, False])
def test_a_server_is_read_by_bulk_export_or_by_search_pages(server: tuple[str, type[Server]], bulk: bool):
    url, handler = server
    handler.bulk = bulk
    found = read_records(DOMAIN, url)
    if not bulk:  # a type that we have no table for is not asked for
        assert found.left_out.pop(("Slot", "there is no table for it"), None) is None  # type: ignore[attr-defined]
        found.left_out["Slot", "there is no table for it"] = 1  # type: ignore[index]
    judged(found)


def test_one_search_is_read_to_its_last_page_and_a_refusal_is_told(
    server: tuple[str, type[Server]], monkeypatch: pytest.MonkeyPatch
):
    url, handler = server
    with pytest.raises(UserError, match="holds no Patient; found 4 Observation"):
        read_records(DOMAIN, f"{url}/Observation?_count=2")
    handler.token = "secret"
    with pytest.raises(UserError, match="401: who are you"):
        read_records(DOMAIN, url)
    monkeypatch.setenv("POPULACE_FHIR_TOKEN", "secret")
    judged(read_records(DOMAIN, url))
    with pytest.raises(UserError, match="encrypted line only"):
        read_records(DOMAIN, "http://fhir.example.org/r4")
