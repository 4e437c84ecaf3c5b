"""Tables at the edge give a model that keeps their types, or a clear refusal: one row, one column, nothing known, too many values, infinities."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from populace.core.errors import UserError
from populace.core.model_kinds import MODELS
from populace.core.models import fit, load_model, save_model

TABLES = {
    "one row": pl.DataFrame({"a": [1], "b": ["x"]}),
    "one column": pl.DataFrame({"a": np.arange(300) % 7}),
    "constant": pl.DataFrame({"a": [1] * 300, "b": ["x"] * 300, "c": [0.5] * 300}),
    "all missing": pl.DataFrame(
        {
            "a": pl.Series([None] * 300, dtype=pl.Int64),
            "b": pl.Series([None] * 300, dtype=pl.String),
            "c": np.arange(300) % 3,
        }
    ),
    "without a type": pl.DataFrame({"a": pl.Series([None] * 300), "c": np.arange(300) % 3}),
    "10,000 categories": pl.DataFrame({"a": [f"c{n % 10_000} x" for n in range(20_000)], "b": np.arange(20_000) % 5}),
    "infinities": pl.DataFrame(
        {"a": [float("inf"), -float("inf"), 1.0, 2.5, float("nan")] * 100, "b": [1, 2, 3, 4, 5] * 100}
    ),
    "times": pl.DataFrame(
        {
            "d": [dt.date(2020, 1, 1) + dt.timedelta(n % 400) for n in range(900)],
            "t": [dt.datetime(2020, 1, 1) + dt.timedelta(minutes=n) for n in range(900)],
            "u": [dt.timedelta(n) for n in range(900)],
        }
    ),
    "huge": pl.DataFrame({"a": [2**62 + n for n in range(300)], "b": [-(2**62)] * 300}),
    "types": pl.DataFrame(
        {
            "a": pl.Series(["x", "y"] * 300, dtype=pl.Categorical),
            "b": pl.Series(["x", "y"] * 300, dtype=pl.Enum(["x", "y", "z"])),
            "t": [True, False] * 300,
            "m": pl.Series([1.25, 2.5] * 300).cast(pl.Decimal(10, 2)),
            "c": [dt.time(1, 2), dt.time(5, 6)] * 300,
        }
    ),
}


EDGED = [
    n
    for n, k in MODELS.items()
    if k.shape == "one table" and k.learn.__module__.rpartition(".")[0].endswith("statistical")
]
"""Models without torch."""
NETWORKS = [n for n, k in MODELS.items() if k.trained and not k.events]


@pytest.mark.parametrize("name", TABLES)
@pytest.mark.parametrize("model", [*EDGED, *(pytest.param(n, marks=pytest.mark.slow) for n in NETWORKS)])
def test_a_table_at_the_edge_is_learnt(model: str, name: str, tmp_path: Path):
    table = TABLES[name]
    epochs = 1 if MODELS[model].trained else None
    fitted = fit(table, model, seed=1, epsilon=5.0 if MODELS[model].private else None, epochs=epochs)
    made = fitted.sample_frame(50, 1)
    assert made.schema == table.schema
    save_model(fitted, tmp_path / "m.model")
    assert load_model(tmp_path / "m.model").sample_frame(50, 1).equals(made)


@pytest.mark.parametrize("model", MODELS)
def test_a_table_without_rows_is_refused(model: str):
    from populace.core.samplers.statistical.learn_events import Roles

    kind = MODELS[model]
    with pytest.raises(UserError, match="0 rows"):
        fit(
            pl.DataFrame({"a": [], "b": [], "c": []}, schema={"a": pl.Int64, "b": pl.Int64, "c": pl.String}),
            model,
            epsilon=5.0 if kind.private else None,
            roles=Roles("a", "b") if kind.events else None,
            times=("a",) if kind.series else (),
        )
