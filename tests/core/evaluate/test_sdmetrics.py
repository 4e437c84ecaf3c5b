"""The figures that are SDMetrics' own are what SDMetrics says they are: of one table, and between two."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from interpreters import interpreter_with
from people import mixed
from shops import shop

from populace.core.evaluate import Evaluation, evaluate

pytestmark = pytest.mark.slow
REAL, SYNTH = mixed(1_500, 1), mixed(1_100, 2, shift=0.3)
NUMBERS, CATEGORIES = ("age", "debt", "income"), ("job", "member")


@pytest.fixture(scope="module")
def theirs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """An interpreter of its own: SDMetrics holds pandas below 3."""
    home = tmp_path_factory.mktemp("sdmetrics")
    python = interpreter_with(home, "sdmetrics==0.32.0")
    for side, table, several in (("real", REAL, shop(1)), ("synth", SYNTH, shop(2))):
        table.with_columns(pl.col("joined").to_physical()).write_csv(home / f"{side}.csv")
        for name, frame in several.items():
            frame.write_csv(home / f"{side}-{name}.csv")
    script = Path(__file__).with_name("sdmetrics_scores.py")
    asked = [python, script, home, ",".join(NUMBERS), ",".join(CATEGORIES)]
    return json.loads(subprocess.run(asked, capture_output=True, text=True, check=True).stdout.splitlines()[-1])


def details(found: Evaluation, name: str) -> dict[str, float]:
    metric = next(m for m in found.metrics if m.name == name)
    return {str(row["columns"]): float(row["score"]) for row in metric.detail}


def test_columns_and_pairs_are_those_of_sdmetrics(theirs: dict[str, Any]):
    found = evaluate(REAL, SYNTH, only=["fidelity"])
    shapes, pairs = details(found, "fidelity.shapes"), details(found, "fidelity.pairs")
    for column in (*NUMBERS, *CATEGORIES):
        assert shapes[column] == pytest.approx(theirs[column], abs=1e-9), column
    order = {frozenset(k.split(" × ")): v for k, v in pairs.items()}
    assert order[frozenset(NUMBERS[:2])] == pytest.approx(theirs["correlation"], abs=1e-9)
    assert order[frozenset(CATEGORIES[:2])] == pytest.approx(theirs["contingency"], abs=1e-9)


def test_what_holds_between_tables_is_that_of_sdmetrics(theirs: dict[str, Any]):
    found = evaluate(shop(1), shop(2), only=["fidelity"])
    assert found["fidelity.cardinality"] == pytest.approx(theirs["cardinality"], abs=1e-9)
    ours = {
        k.replace("orders.", "").replace("customers.", ""): v for k, v in details(found, "fidelity.cross_table").items()
    }
    assert ours.keys() == theirs["cross_table"].keys()
    for pair, score in theirs["cross_table"].items():
        # theirs keeps numbers outside the real range, and the greatest, in cells of their own
        assert ours[pair] == pytest.approx(score, abs=0.004), pair
