"""Realistic is a test against a published figure: within four standard errors and what the model admits to."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from populace.core.dataset import Dataset
from populace.core.evaluate.realism import Beside, Published, load_published, set_beside
from populace.domains.healthcare import DOMAIN
from populace.domains.healthcare.curves import age_at_death
from populace.domains.healthcare.physiology import HEAD
from populace.domains.healthcare.realism import correlation


@pytest.fixture(scope="module")
def beside(population: Dataset) -> dict[str, Beside]:
    found, without = set_beside(DOMAIN, population.frames)
    assert not without
    return {b.published.name: b for b in found}


@pytest.mark.parametrize("figure", load_published(DOMAIN), ids=lambda f: f.name)
def test_a_published_figure_is_met(beside: dict[str, Beside], figure: Published):
    found = beside[figure.name]
    assert abs(found.value - figure.value) < 4 * found.error + figure.admits, figure.source


@pytest.mark.parametrize(("sex", "published"), [("male", 76.5), ("female", 81.2)])
def test_life_expectancy_at_birth_is_that_of_the_life_table(sex: str, published: float):
    u = (np.arange(20_000) + 0.5) / 20_000
    male = np.full(len(u), sex == "male")
    ages = age_at_death(DOMAIN.priors("population.death"), np.zeros(len(u)), male, u)
    assert ages.mean() == pytest.approx(published, abs=0.4)


@pytest.mark.parametrize(
    ("a", "b", "low", "high"), [("29463-7", "8480-6", 0.10, 0.40), ("2085-9", "2571-8", -0.60, -0.20)]
)
def test_correlations_have_the_right_sign_and_size(population: Dataset, a: str, b: str, low: float, high: float):
    found = correlation(population.frames, a, b, 45, 65)
    assert found
    assert low < found[0] < high


def test_heads_grow_along_the_charts(population: Dataset, real_data: Path):
    """The last head circumference of each child, as a standard normal by the chart's own months, of which the priors hold a few."""
    path = real_data / "healthcare" / "reference" / "cdc_growth_charts.json"
    if not path.is_file():
        pytest.skip(f"no growth charts at {path}")
    charts = json.loads(path.read_text())["head"]
    born = population.frames["patient"].select("patient_id", "sex", "birth_date")
    rows = population.frames["observation"].filter(pl.col("code").cast(pl.String) == HEAD).sort("at")
    rows = rows.join(born, on="patient_id").group_by("patient_id").last()
    months = (rows["at"].dt.date() - rows["birth_date"]).dt.total_days().to_numpy() / 30.4375
    assert months.max() < 27.5
    assert len(months) > 100
    male, value, z = (rows["sex"].cast(pl.String) == "male").to_numpy(), rows["value"].to_numpy(), np.empty(len(months))
    for boy, sex in ((True, "M"), (False, "F")):
        chart = charts[sex]
        power, median, spread = (
            np.interp(months, [int(m) for m in chart], [float(row[k]) for row in chart.values()]) for k in "lms"
        )
        z[male == boy] = (((value / median) ** power - 1) / (power * spread))[male == boy]
    assert abs(z.mean()) < 4 / np.sqrt(len(z))
    assert z.std() == pytest.approx(1, abs=4 / np.sqrt(2 * len(z)))
