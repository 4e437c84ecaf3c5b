"""Realistic is a test against a published figure: within four standard errors and what the model admits to."""

from __future__ import annotations

import numpy as np
import pytest

from populace.core.dataset import Dataset
from populace.core.evaluate.realism import Beside, Published, load_published, set_beside
from populace.domains.healthcare import DOMAIN
from populace.domains.healthcare.curves import age_at_death
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
