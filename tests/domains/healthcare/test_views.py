"""Views beside FHIR: OMOP, Synthea's layout, HL7 v2, the flat table; and what others' tools say of them."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import polars as pl
import pytest

import populace
from populace.core.dataset import Dataset
from populace.core.validate import validate
from populace.domains.healthcare import DOMAIN
from populace.domains.healthcare.deaths import CAUSE

VIEWS = ("omop", "synthea", "flat", "hl7v2", "fhir+everything")


@pytest.fixture(scope="module")
def made() -> Dataset:
    return populace.generate("healthcare", size=25, seed=8, start="2021-01-01", end="2023-01-01")


@pytest.fixture(scope="module")
def written(made: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("views")
    for name in VIEWS:
        made.write(f"{name}:{folder / name.replace('+', '-')}")
    return folder


@pytest.mark.parametrize("name", VIEWS)
def test_what_is_written_is_recognised_and_valid(written: Path, name: str):
    verdict = validate(DOMAIN, str(written / name.replace("+", "-")))
    assert verdict.notes == [f"read as {name}"]
    assert verdict.valid


ASKED = ("72166-2", "75626-2", "55758-7", "44261-6", "71802-3", "88122-7", "93030-5", "82589-3", "67875-5", "63586-2")


def test_every_row_arrives_in_omop(made: Dataset, written: Path):
    rows = {
        n: pl.read_csv(written / "omop" / f"{n}.csv", infer_schema=False).height
        for n in ("person", "measurement", "observation", "cost")
    }
    # what was asked is an observation to the CDM, and what was measured a measurement
    asked = made.frames["observation"]["code"].cast(pl.String).is_in([*ASKED, CAUSE]).sum()
    assert asked > 20
    assert rows == {
        "person": made.frames["patient"].height,
        "measurement": made.frames["observation"].height - asked,
        "observation": asked,
        "cost": made.frames["claim"].height,
    }
    drugs = pl.read_csv(written / "omop" / "drug_exposure.csv", infer_schema=False)
    assert drugs.height == made.frames["medication_request"].height + made.frames["immunization"].height
    assert drugs["drug_exposure_id"].n_unique() == drugs.height


def test_files_have_the_columns_of_synthea(written: Path, real_data: Path):
    with open(real_data / "healthcare" / "synthea_csv_tables.csv", encoding="utf-8") as file:
        published = {row["table"]: row["columns"] for row in csv.DictReader(file)}
    for file in (written / "synthea").glob("*.csv"):
        if file.stem != "label":
            assert file.read_text("utf-8").partition("\n")[0] == published[file.stem]


def test_a_broken_reference_in_a_file_is_found(written: Path):
    path = written / "omop" / "measurement.csv"
    text = path.read_text("utf-8")
    lines = text.split("\n")
    fields = lines[5].split(",")
    fields[1] = "99999"
    path.write_text("\n".join([*lines[:5], ",".join(fields), *lines[6:]]), "utf-8")
    found = validate(DOMAIN, str(written / "omop")).found
    path.write_text(text, "utf-8")
    assert found.select("check", "table", "row_key").rows() == [("csv.reference", "measurement.csv", 5)]


def test_an_independent_parser_reads_every_message(made: Dataset, written: Path):
    parser = pytest.importorskip("hl7apy.parser")
    values = 0
    for file in sorted((written / "hl7v2" / "hl7v2").glob("*.hl7"))[:6]:
        for n, body in enumerate(file.read_bytes().decode().split("\rMSH|")):
            text = (body if n == 0 else f"MSH|{body}").rstrip("\r") + "\r"
            message = parser.parse_message(text, find_groups=False)
            assert message.msh.msh_12.value == "2.5.1"
            assert message.pid.pid_3.pid_3_1.value.startswith("MRN")
            values += text.count("\rOBX|")
    assert values > 0


def test_all_results_are_in_the_messages(made: Dataset, written: Path):
    text = "".join(f.read_bytes().decode() for f in (written / "hl7v2" / "hl7v2").glob("*.hl7"))
    assert text.count("\rOBX|") == made.frames["observation"].height
    assert text.count("\rRXA|") == made.frames["immunization"].height


def test_everything_of_a_patient_refers_only_to_what_is_in_the_bundle(written: Path):
    for file in (written / "fhir-everything" / "Bundle").glob("*.json"):
        bundle = json.loads(file.read_text("utf-8"))
        here = {f"{e['resource']['resourceType']}/{e['resource']['id']}" for e in bundle["entry"]}
        assert len(here) == bundle["total"] == len(bundle["entry"])
        assert {r for e in bundle["entry"] for r in _references(e["resource"])} <= here


def _references(value: object) -> list[str]:
    if isinstance(value, dict):
        own = [value["reference"]] if isinstance(value.get("reference"), str) else []
        return own + [r for child in value.values() for r in _references(child)]
    return [r for child in value for r in _references(child)] if isinstance(value, list) else []


def test_the_flat_table_counts_what_the_record_holds(made: Dataset, written: Path):
    flat = pl.read_csv(written / "flat" / "patients.csv")
    assert flat.height == made.frames["patient"].height
    assert flat["encounters_AMB"].sum() == made.frames["encounter"].filter(pl.col("class") == "AMB").height
    assert flat["cost_total"].sum() == pytest.approx(made.frames["claim"]["total"].sum())


def test_an_independent_validator_finds_no_fault_in_any_resource(made: Dataset):
    fhirkit = pytest.importorskip("fhirkit")
    tables = {k: v for k, v in made.frames.items() if k != "label"}
    for frame in DOMAIN.views["fhir+ndjson"].render(tables, {}).values():
        for text in frame["text"].head(300):
            assert not fhirkit.validate(text)
