"""The manifest is a Croissant description that an independent reader can load the rows through, and it holds populace's own record."""

from __future__ import annotations

import json
from pathlib import Path

import polars as pl
import pytest

from populace.core.plan import make_plan
from populace.core.run import run
from populace.core.scenario import parse_request
from populace.core.sinks import open_target
from populace.core.spec import Spec
from toy import TOY


@pytest.fixture
def made(tmp_path: Path) -> Path:
    plan = make_plan(Spec("toy", seed=3, settings={"shops": 9}, scenarios=(parse_request("splurge:count=2"),)), TOY)
    run(plan, [open_target(str(tmp_path / "out"), TOY)])
    return tmp_path / "out"


def test_an_independent_croissant_reader_reads_our_rows(made: Path):
    croissant = pytest.importorskip("mlcroissant")
    dataset = croissant.Dataset(jsonld=str(made / "manifest.json"))
    assert not dataset.metadata.issues.errors
    read = [r["sale/amount_minor"] for r in dataset.records("sale")]
    assert read == pl.read_parquet(made / "sale/*.parquet")["amount_minor"].to_list()


def test_it_records_what_was_asked_and_found(made: Path):
    record = json.loads((made / "manifest.json").read_text())["populace"]
    assert record["spec"]["seed"] == 3
    assert record["spec"]["set"] == {"shops": 9}
    assert record["tables"]["shop"]["rows"] == 9
    assert record["tables"]["sale"]["columns"]["amount_minor"] == "money"
    (scenario,) = record["scenarios"]
    assert scenario == {
        "name": "splurge",
        "instances": 2,
        "labelled_instances": 2,
        "shared_rows": 0,
        "labelled_rows": scenario["labelled_rows"],
        "breaks": {"sale.small": 2},
    }
    assert "paid-recomputes" in record["checks"]["made"]


def test_it_names_no_place_and_no_time(made: Path, tmp_path: Path):
    text = (made / "manifest.json").read_text()
    assert str(tmp_path) not in text
    assert "2026" not in text
