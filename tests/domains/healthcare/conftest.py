"""Datasets that several tests read: made once."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

import populace
from populace.core.dataset import Dataset


@pytest.fixture(scope="session")
def population() -> Dataset:
    """Large enough that a prevalence near 10 % has a standard error of half a percentage point."""
    return populace.generate("healthcare", size=6_000, seed=11)


@pytest.fixture(scope="session")
def few() -> Dataset:
    return populace.generate("healthcare", size=30, seed=3, start="2019-01-01", end="2022-01-01")


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real public data: POPULACE_DATA, or `shared/data` beside the checkout."""
    folder = Path(os.environ.get("POPULACE_DATA") or Path(__file__).parents[4] / "shared" / "data")
    if not folder.is_dir():
        pytest.skip("no real public data here: set POPULACE_DATA")
    return folder
