"""One small bank with every scenario, built once, for the tests that only look."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from populace.core.dataset import Dataset, generate
from populace.core.plan import make_plan
from populace.core.scenario import parse_request
from populace.core.spec import Spec
from populace.domains.finance import DOMAIN

SCENARIOS = ("card-testing", "account-takeover", "mule-ring:hops=7,count=3")


@pytest.fixture(scope="session")
def bank() -> Dataset:
    """150 customers over half a year, with scenarios."""
    requests = tuple(parse_request(s) for s in SCENARIOS)
    return generate(make_plan(Spec("finance", size=150, seed=3, scenarios=requests), DOMAIN))


@pytest.fixture(scope="session")
def base() -> Dataset:
    """1,000 customers over half a year, nothing but the base population."""
    return generate(make_plan(Spec("finance", size=1_000, seed=11), DOMAIN))


@pytest.fixture(scope="session")
def public_data() -> Path:
    """The folder of real public tables: POPULACE_DATA, or shared/data beside the checkout."""
    folder = Path(os.environ.get("POPULACE_DATA") or Path(__file__).parents[4] / "shared" / "data")
    if not folder.is_dir():
        pytest.skip(f"no public data at {folder}; set POPULACE_DATA")
    return folder
