"""Twenty thousand patients against every published figure of the reference folder that is marked high, or measured on a survey."""

from __future__ import annotations

import csv
import math
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from published import LAB, NOT_MADE, SEX, at_exams, causes_off, correlation_errors, measure, published

import populace
from populace.core.dataset import Dataset

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def many() -> Dataset:
    return populace.generate("healthcare", size=20_000, seed=5, start="2020-01-01", end="2023-01-01")


def test_every_published_figure_is_met(many: Dataset, real_data: Path):
    missed = []
    figures = published(real_data)
    for name, sex, low, high, value in figures:
        if name in NOT_MADE:
            continue
        found, tolerance = measure(many, name, SEX[sex], low, high, value)
        if not abs(found - value) <= tolerance:
            missed.append(f"{name} {sex} {low:g}-{high:g}: {found:.3g}, published {value:g}")
    assert not missed, "\n".join(missed)
    assert len(figures) > 90


def test_measurements_hang_together_as_in_the_survey(many: Dataset, real_data: Path):
    """Pearson correlations of NHANES 2017-March 2020 at 45-65, by sex: mean absolute error at most 0.05."""
    errors = correlation_errors(many, real_data)
    assert np.mean(list(errors.values())) <= 0.05
    assert not {pair: error for pair, error in errors.items() if error > 0.2}


def test_medians_are_those_of_the_survey(many: Dataset, real_data: Path):
    """Medians of NHANES 2017-March 2020 at 45-65, by sex, within 5 %."""
    rows, missed = at_exams(many), []
    with open(real_data / "healthcare" / "reference" / "nhanes_labs_45_65.csv", encoding="utf-8") as file:
        for figure in csv.DictReader(file):
            if figure["stratum"] != "all" or figure["analyte"] not in LAB:
                continue
            values = rows.filter((pl.col("sex") == SEX[figure["sex"]]) & (pl.col("code") == LAB[figure["analyte"]]))
            found, value = values["value"].median(), float(figure["p50"])
            # or one unit of what is reported: medians of whole numbers are whole numbers
            whole = 1.0 if value.is_integer() and value < 30 else 0.0
            if not math.isclose(found, value, rel_tol=0.05, abs_tol=whole):  # pyright: ignore[reportArgumentType]
                missed.append(f"{figure['sex']} {figure['analyte']}: {found}, published {value}")
    assert not missed, "\n".join(missed)


def test_as_many_die_of_each_cause_as_published():
    """The ten leading causes of either sex, within 10 % and two standard errors."""
    data = populace.generate("healthcare", size=60_000, seed=7, only=("patient", "observation"))
    assert data.frames["patient"]["death_at"].is_not_null().sum() > 5_000
    assert not causes_off(data, 0.10)


def test_chronic_diseases_begin_at_the_ages_that_are_known():
    """First onsets in lives of 70 years and more that are on record from birth: mood disorders begin at 18, 30 and 43 in the quartiles (Kessler 2005), COPD rarely
    before 40 (GOLD), kidney disease seldom in the young and half of it after 60 or so (Grams 2013: half of stage 3a and beyond after 70)."""
    data = populace.generate(
        "healthcare", size=12_000, seed=5, start="1925-01-01", end="2025-01-01", only=("patient", "condition")
    )
    lives = data.frames["patient"].filter((pl.col("birth_date").dt.year() >= 1925) & (pl.col("age_years") >= 70))
    found = data.frames["condition"].join(lives.select("patient_id", "birth_date"), on="patient_id")
    age = (pl.col("onset_at").dt.date() - pl.col("birth_date")).dt.total_days() / 365.2425
    first = found.group_by("patient_id", pl.col("code").cast(pl.String)).agg(age=age.min())
    ages = {code: first.filter(pl.col("code") == code)["age"].to_numpy() for code in ("F32.A", "J44.9", "N18.9")}
    assert min(len(a) for a in ages.values()) > 100
    quarter, half, three = np.percentile(ages["F32.A"], [25, 50, 75])
    assert 17 < quarter < 24
    assert 27 < half < 33
    assert 39 < three < 48
    assert ages["F32.A"].min() > 10.9
    assert (ages["F32.A"] < 18).mean() < 0.25
    assert (ages["J44.9"] < 40).mean() < 0.10
    assert ages["N18.9"].min() > 19.9
    assert 55 < np.median(ages["N18.9"]) < 75
