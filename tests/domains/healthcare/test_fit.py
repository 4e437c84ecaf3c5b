"""A Bayesian network of a patient table (Tucker et al. 2020) gives patients under a condition that are as those held out."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from populace.app.cli import run_command
from populace.core.dataset import Dataset
from populace.domains.healthcare.views import flat

KEPT = {
    "sex": "sex",
    "age_years": "age",
    "condition_E11.9": "diabetes",
    "condition_I10": "hypertension",
    "condition_N18.9": "kidney_disease",
    "last_4548-4": "hba1c",
    "last_39156-5": "bmi",
    "last_98979-8": "egfr",
}
WITHOUT = {"0": "no", "1": "yes"}


@pytest.fixture(scope="module")
def halves(population: Dataset) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Adults who are alive: every fourth is held out. Many have had no blood taken."""
    wide = flat.tables(population.plan.domain.schema, population.frames)["patients"]
    wide = wide.filter(pl.col("death_at").is_null()).select(pl.col(a).alias(b) for a, b in KEPT.items())
    wide = wide.with_columns(pl.col("age").cast(pl.Int64)).filter(pl.col("age") >= 20)
    ill = ["diabetes", "hypertension", "kidney_disease"]
    wide = wide.with_columns(pl.col(c).clip(0, 1).cast(pl.String).replace_strict(WITHOUT) for c in ill)
    row = pl.int_range(pl.len())
    return wide.filter(row % 4 > 0), wide.filter(row % 4 == 0)


def read(folder: Path) -> pl.DataFrame:
    return pl.read_parquet(folder / "sample" / "*.parquet")


def test_patients_under_a_condition_are_as_those_held_out(halves: tuple[pl.DataFrame, pl.DataFrame], tmp_path: Path):
    train, held = halves
    train.write_parquet(tmp_path / "patients.parquet")
    model, table = tmp_path / "patients.model", tmp_path / "patients.parquet"
    # with the condition as the target every column may hang on it
    how = ["--model", "bayesian-network", "--target", "diabetes", "--seed", "1"]
    assert run_command(["fit", str(table), *how, "--out", str(model)]) == 0
    for said in ("yes", "no"):
        out = tmp_path / said
        where = ["--where", f"diabetes={said}", "--seed", "2", "-n", "2000"]
        assert run_command(["sample", str(model), *where, "--to", str(out)]) == 0
        made, real = read(out), held.filter(pl.col("diabetes") == said)
        assert (made["diabetes"] == said).all()
        # within four standard errors of the held-out figure and 3 % of it, or 3 points
        for column in ("age", "hba1c", "bmi", "egfr"):
            x, y = (t[column].drop_nulls().to_numpy() for t in (real, made))
            assert abs(x.mean() - y.mean()) < 4 * x.std() / np.sqrt(len(x)) + 0.03 * x.mean(), (said, column)
        for column in ("hypertension", "kidney_disease"):
            x, y = (real[column] == "yes").to_numpy().mean(), (made[column] == "yes").to_numpy().mean()
            assert abs(x - y) < 4 * np.sqrt(x * (1 - x) / real.height) + 0.03, (said, column)
    step = [h1c(held.filter(pl.col("diabetes") == "yes")) - h1c(held.filter(pl.col("diabetes") == "no"))]
    step.append(h1c(read(tmp_path / "yes")) - h1c(read(tmp_path / "no")))
    assert abs(step[0] - step[1]) < 0.25


def h1c(people: pl.DataFrame) -> float:
    return float(people["hba1c"].drop_nulls().to_numpy().mean())
