"""FHIR views: valid for fhir.resources, closed under reference, and judged the same when someone else has broken them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from fhir.resources.R4B import get_fhir_model_class
from pydantic import ValidationError

import populace
from populace.core.dataset import Dataset
from populace.core.errors import InvalidData
from populace.domains.healthcare import DOMAIN
from populace.domains.healthcare.fhir import structure

NDJSON, BUNDLE = DOMAIN.views["fhir+ndjson"], DOMAIN.views["fhir+bundle"]
REFERENCE = ["Organization", "Practitioner", "Location", "PractitionerRole"]
TYPES = [
    *REFERENCE,
    "Patient",
    "RelatedPerson",
    "Coverage",
    "CareTeam",
    "Encounter",
    "Condition",
    "Observation",
    "MedicationRequest",
    "Immunization",
    "DiagnosticReport",
    "DocumentReference",
    "Provenance",
    "Claim",
    "ExplanationOfBenefit",
]


def tables(data: Dataset) -> dict[str, pl.DataFrame]:
    return {k: v for k, v in data.frames.items() if k != "label"}


def write_ndjson(data: Dataset, folder: Path, without: tuple[str, ...] = ()) -> Path:
    for name, frame in NDJSON.render({k: v for k, v in tables(data).items() if k not in without}, {}).items():
        (folder / f"{name}.ndjson").write_text("".join(f"{t}\n" for t in frame["text"]), "utf-8")
    return folder


def write_bundles(data: Dataset, folder: Path) -> Path:
    (folder / "Bundle").mkdir()
    for name, text in BUNDLE.render(tables(data), {})["Bundle"].select("name", "text").rows():
        (folder / "Bundle" / f"{name}.json").write_text(text, "utf-8")
    return folder


def references(value: Any) -> list[str]:
    if isinstance(value, dict):
        own = [value["reference"]] if isinstance(value.get("reference"), str) else []
        return own + [r for child in value.values() for r in references(child)]
    return [r for child in value for r in references(child)] if isinstance(value, list) else []


def test_every_line_is_json_of_its_type_and_a_sample_is_valid_r4(few: Dataset):
    rendered = NDJSON.render(tables(few), {})
    assert list(rendered) == TYPES
    for kind, frame in rendered.items():
        resources = [json.loads(t) for t in frame["text"]]
        assert {r["resourceType"] for r in resources} == {kind}
        model = get_fhir_model_class(kind)
        for resource in resources[:: max(1, len(resources) // 150)]:
            model.model_validate(resource)


def test_every_row_becomes_one_resource_but_two_blood_pressures_become_one(few: Dataset):
    rendered = NDJSON.render(tables(few), {})
    observation = few.frames["observation"]
    pressures = observation.filter(pl.col("code") == "8462-4").height
    assert rendered["Observation"].height == observation.height - pressures
    for kind, table in (("Patient", "patient"), ("Encounter", "encounter"), ("Condition", "condition")):
        assert rendered[kind].height == few.frames[table].height
    panels = [json.loads(t) for t in rendered["Observation"]["text"] if "85354-9" in t]
    assert len(panels) == pressures
    for panel in panels:
        high, low = (c["valueQuantity"]["value"] for c in panel["component"])
        assert low < high
        assert "valueQuantity" not in panel


def test_values_of_a_patient_arrive_in_the_resource(few: Dataset):
    row = few.frames["patient"].row(0, named=True)
    patient = json.loads(NDJSON.render(tables(few), {})["Patient"]["text"][0])
    assert patient["name"][0]["family"] == row["family_name"]
    assert patient["birthDate"] == row["birth_date"].isoformat()
    assert patient["gender"] == row["sex"]
    codes = {e["url"].rsplit("/", 1)[1]: e for e in patient["extension"]}
    assert codes["us-core-birthsex"]["valueCode"] == row["sex"][0].upper()
    assert codes["us-core-ethnicity"]["extension"][0]["valueCoding"]["code"] == row["ethnicity"]


def test_hostile_names_survive(few: Dataset):
    name = 'O"Brien \\ \u0007 日本 \u2028'
    changed = {**tables(few), "patient": few.frames["patient"].with_columns(family_name=pl.lit(name))}
    assert json.loads(NDJSON.render(changed, {})["Patient"]["text"][0])["name"][0]["family"] == name


def test_references_close_in_ndjson(few: Dataset):
    resources = [json.loads(t) for f in NDJSON.render(tables(few), {}).values() for t in f["text"]]
    here = [f"{r['resourceType']}/{r['id']}" for r in resources]
    assert len(set(here)) == len(here)
    assert {r for resource in resources for r in references(resource)} <= set(here)


def test_bundles_may_be_posted_in_the_order_of_their_names(few: Dataset):
    """Each bundle refers only to itself and to those posted before it."""
    known: set[str] = set()
    bundles = dict(BUNDLE.render(tables(few), {})["Bundle"].select("name", "text").rows())
    assert len(bundles) == few.frames["patient"].height + len(REFERENCE)
    for name in sorted(bundles):
        bundle = json.loads(bundles[name])
        assert bundle["type"] == "transaction"
        for entry in bundle["entry"]:
            resource = entry["resource"]
            identity = f"{resource['resourceType']}/{resource['id']}"
            assert entry["request"] == {"method": "PUT", "url": identity}
            assert entry["fullUrl"].endswith(identity)
            known.add(identity)
        assert {r for e in bundle["entry"] for r in references(e["resource"])} <= known


def test_a_block_without_reference_tables_renders_what_it_has(few: Dataset):
    only = {k: v for k, v in tables(few).items() if k not in ("organization", "practitioner")}
    assert list(NDJSON.render(only, {})) == TYPES[len(REFERENCE) :]
    assert all(n.startswith("patient-") for n in BUNDLE.render(only, {})["Bundle"]["name"])


@pytest.fixture(scope="module")
def tiny() -> Dataset:
    return populace.generate("healthcare", size=6, seed=3, start="2020-01-01", end="2021-01-01")


def test_what_is_written_is_recognised_and_found_valid(tiny: Dataset, tmp_path: Path):
    lines, bundles = tmp_path / "lines", tmp_path / "bundles"
    lines.mkdir(), bundles.mkdir()
    for view, folder in ((NDJSON, write_ndjson(tiny, lines)), (BUNDLE, write_bundles(tiny, bundles))):
        assert view.recognises is not None
        assert view.check is not None
        assert view.recognises(folder)
        assert view.check(folder).is_empty()
    assert not NDJSON.recognises(bundles)  # pyright: ignore[reportOptionalCall]
    assert not BUNDLE.recognises(lines)  # pyright: ignore[reportOptionalCall]


def broken(folder: Path, file: str, line: int, change: Any) -> pl.DataFrame:
    path = folder / file
    lines = path.read_text("utf-8").splitlines()
    lines[line] = change(lines[line])
    path.write_text("\n".join(lines) + "\n", "utf-8")
    return NDJSON.check(folder)  # pyright: ignore[reportOptionalCall]


@pytest.mark.parametrize(
    ("file", "change", "check"),
    [
        ("Observation.ndjson", lambda t: t[:-1], "fhir.json"),
        ("Observation.ndjson", lambda t: "[]", "fhir.json"),
        ("Observation.ndjson", lambda t: t.replace('"status":"final",', ""), "fhir.structure"),
        ("Patient.ndjson", lambda t: t.replace('"birthDate":"', '"birthDate":"x'), "fhir.structure"),
        ("Condition.ndjson", lambda t: t.replace("Patient/patient-", "Patient/nobody-"), "fhir.reference"),
        ("Encounter.ndjson", lambda t: t.replace('"id":"encounter-', '"id":"encounter-x-'), "fhir.reference"),
        (
            "Immunization.ndjson",
            lambda t: t.replace('"resourceType":"Immunization"', '"resourceType":"Nonsense"'),
            "fhir.structure",
        ),
    ],
)
def test_planted_faults_are_found_and_named(tiny: Dataset, tmp_path: Path, file: str, change: Any, check: str):
    found = broken(write_ndjson(tiny, tmp_path), file, 0, change)
    assert (check, file) in set(found.select("check", "table").rows()) or check == "fhir.reference"
    assert check in set(found["check"])


def test_a_second_resource_of_the_same_id_is_found(tiny: Dataset, tmp_path: Path):
    folder = write_ndjson(tiny, tmp_path)
    path = folder / "Organization.ndjson"
    first = path.read_text("utf-8").splitlines()[0]
    with open(path, "a", encoding="utf-8") as file:
        file.write(first + "\n")
    found = NDJSON.check(folder)  # pyright: ignore[reportOptionalCall]
    assert found.select("check", "table", "row_key").rows() == [
        ("fhir.id", "Organization.ndjson", tiny["organization"].shape[0] + 1)
    ]


def test_all_published_planted_errors_are_found(real_data: Path, tmp_path: Path):
    """Planted errors of real resources: each is found and named, and the valid ones pass, but for what they refer to, which is not there."""
    planted = json.loads((real_data / "healthcare/fhir/planted_errors.json").read_text("utf-8"))
    for n, (name, case) in enumerate(planted.items()):
        folder = tmp_path / str(n)
        folder.mkdir()
        (folder / f"{case['r']['resourceType']}.ndjson").write_text(json.dumps(case["r"]) + "\n")
        found = NDJSON.check(folder)  # pyright: ignore[reportOptionalCall]
        if case["r"]["resourceType"] != "Bundle":
            found = found.filter(pl.col("check") != "fhir.reference")
        assert found.is_empty() == (case["expect"] == "ok"), name
        if case["expect"] == "uscore":
            assert set(found["check"]) == {"uscore.required"}


RULES = {
    "a code outside a required list": ("Encounter", ("status",), "done", "fhir.code", "Encounter.status"),
    "a display that is another code's": (
        "Condition", ("code", "coding", 0, "display"), "Something else", "fhir.display", "Condition.code",
    ),
    "an encounter that ends before it starts": (
        "Encounter", ("period", "end"), "2019-01-01T00:00:00Z", "fhir.time", "Encounter.period",
    ),
    "a result outside its encounter": (
        "Observation", ("effectiveDateTime",), "2020-12-31T23:59:59Z", "fhir.time", "Observation.effectiveDateTime",
    ),
    "an onset before birth": ("Condition", ("onsetDateTime",), "1850-01-01", "fhir.time", "Condition.onsetDateTime"),
    "a dose before birth": (
        "Immunization", ("occurrenceDateTime",), "1850-01-01", "fhir.time", "Immunization.occurrenceDateTime",
    ),
    "a must-have of US Core left out": ("Condition", ("category",), None, "uscore.required", "Condition.category"),
    "a code that was retired": ("Condition", ("code", "coding", 0, "code"), "F32.8", "fhir.retired", "Condition.code"),
    "an order of nobody": ("MedicationRequest", ("requester",), None, "uscore.required", "MedicationRequest.requester"),
    "an abated condition that is active": (
        "Condition", ("abatementDateTime",), "2030-01-01", "fhir.invariant", "Condition.abatement",
    ),
    "an encounter of somebody else": (
        "Observation", ("subject", "reference"), "Patient/patient-5", "fhir.reference", "Observation.encounter",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", RULES)
def test_a_planted_violation_is_named_with_resource_element_and_rule(tiny: Dataset, tmp_path: Path, case: str):
    kind, path, value, check, element = RULES[case]
    folder = write_ndjson(tiny, tmp_path, without=("organization", "practitioner"))
    file = folder / f"{kind}.ndjson"
    lines = [json.loads(line) for line in file.read_text("utf-8").splitlines()]
    at = next(n for n, r in enumerate(lines) if _settable(r, path) and r.get("abatementDateTime") is None)
    target = lines[at]
    for step in path[:-1]:
        target = target[step]
    if value is None:
        del target[path[-1]]
    else:
        target[path[-1]] = value
    file.write_text("".join(json.dumps(r) + "\n" for r in lines), "utf-8")
    found = NDJSON.check(folder).filter(pl.col("row_key") == at + 1)  # pyright: ignore[reportOptionalCall]
    assert (check, f"{kind}.ndjson") in set(found.select("check", "table").rows())
    assert any(d.startswith(element) for d in found.filter(pl.col("check") == check)["detail"])


def _settable(resource: dict[str, Any], path: tuple[Any, ...]) -> bool:
    whose = resource.get("subject", {}).get("reference") or resource.get("patient", {}).get("reference")
    if whose == "Patient/patient-5":
        return False
    for step in path[:-1]:
        if not isinstance(resource, dict | list) or (isinstance(resource, dict) and step not in resource):
            return False
        resource = resource[step]
    return True


def test_an_implausible_value_and_a_repeated_result_are_found(tiny: Dataset, tmp_path: Path):
    folder = write_ndjson(tiny, tmp_path, without=("organization", "practitioner"))
    file = folder / "Observation.ndjson"
    lines = [json.loads(line) for line in file.read_text("utf-8").splitlines()]
    weight = next(r for r in lines if r["code"]["coding"][0]["code"] == "29463-7")
    weight["valueQuantity"]["value"] = 4_000
    lines.append({**lines[3], "id": "observation-again"})
    file.write_text("".join(json.dumps(r) + "\n" for r in lines), "utf-8")
    found = NDJSON.check(folder)  # pyright: ignore[reportOptionalCall]
    assert set(found["check"]) == {"fhir.plausible", "fhir.duplicate", "fhir.reference"}
    assert all(
        d.startswith(("Organization", "Practitioner", "Location"))
        for d in found.filter(check="fhir.reference")["detail"]
    )


def test_an_explanation_s_lines_say_what_its_totals_say(few: Dataset):
    rendered = NDJSON.render(tables(few), {})
    claims = {c["id"]: c for c in map(json.loads, rendered["Claim"]["text"])}
    settled = [json.loads(t) for t in rendered["ExplanationOfBenefit"]["text"]]
    assert settled
    several = 0
    for bill in settled:
        asked, paid, own = (sum(a) for a in zip(*(_amounts(line) for line in bill["item"]), strict=True))
        several += len(bill["item"]) > 1
        assert asked == pytest.approx(paid + own, abs=0.011)
        totals = [a["amount"]["value"] for a in bill["total"]]
        assert totals == pytest.approx([asked, paid, own], abs=0.001)
        claim = claims[bill["claim"]["reference"].removeprefix("Claim/")]
        assert [i["sequence"] for i in claim["item"]] == list(range(1, len(bill["item"]) + 1))
        assert sum(i["net"]["value"] for i in claim["item"]) == pytest.approx(claim["total"]["value"], abs=0.001)
        assert claim["total"]["value"] == totals[0]
        assert ("diagnosis" in claim) == ("diagnosisSequence" in claim["item"][0])
    assert several > 0.1 * len(settled)


def _amounts(line: dict[str, Any]) -> list[float]:
    return [a["amount"]["value"] for a in line["adjudication"]]


def test_what_was_judged_before_hides_no_fault(few: Dataset):
    """Whether a resource is sound does not depend on what was judged before: every leaf of one resource of each type, spoilt."""
    for kind, frame in NDJSON.render(tables(few), {}).items():
        whole = json.loads(frame["text"][0])
        assert structure.fault(kind, whole) is None
        for path in _leaves(whole):
            spoilt = json.loads(frame["text"][0])
            inner = spoilt
            for step in path[:-1]:
                inner = inner[step]
            inner[path[-1]] = {"spoilt": True}
            with pytest.raises(ValidationError):
                get_fhir_model_class(kind).model_validate(spoilt)
            assert structure.fault(kind, spoilt), (kind, path)
            assert structure.fault(kind, whole) is None


def _leaves(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    if isinstance(value, dict | list):
        for step, child in value.items() if isinstance(value, dict) else enumerate(value):
            yield from _leaves(child, (*path, step))
    elif path:
        yield path


def test_bills_and_limits_go_by_the_priors_of_the_run():
    """What a user sets holds for what is made of the tables too: where visits weigh nothing, all that a bill of several lines asks is for its services;
    what is then implausible is told."""
    weights = {**DOMAIN.priors("cost.line"), "visit": 0.0}
    spec = {"size": 12, "seed": 3, "start": "2019-01-01", "end": "2021-01-01", "set": {"cost.line": weights}}
    data = populace.generate("healthcare", **spec)
    claims = [json.loads(t) for t in data.plan.domain.views["fhir+ndjson"].render(tables(data), {})["Claim"]["text"]]
    several = [[line["net"]["value"] for line in c["item"]] for c in claims if len(c["item"]) > 1]
    assert several
    assert all(abs(visit) < 0.02 for visit, *_ in several)
    low, _, *rest = DOMAIN.priors("plausible.observation")["8302-2"]
    tight = {**DOMAIN.priors("plausible.observation"), "8302-2": [low, low + 1, *rest]}
    with pytest.raises(InvalidData, match="plausible"):
        populace.generate("healthcare", **{**spec, "set": {"plausible.observation": tight}})
