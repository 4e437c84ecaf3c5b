"""Small fleets, built once: without a scenario, and with each."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from populace.core.dataset import Dataset, generate
from populace.core.plan import make_plan
from populace.core.scenario import ScenarioRequest
from populace.core.spec import Spec

OFFICES = {k: float(k == "office") for k in ("office", "school", "home", "works", "plant", "farm", "depot", "street")}
SETTINGS = {
    # offices with three kinds of device, which sample seldom and fail often enough to see it in a short window
    "site.kind": OFFICES,
    "device.profiles": "room-climate,energy-meter,pump-vibration",
    "profile.interval": 4.0,
    "profile.life": 0.002,
    "watchdog.hours": 20.0,
    "repair.response_hours": 4.0,
    "spares.stock": 50,
    "gateway.days_between_outages": 1.0,
    "gateway.outage_minutes": 30.0,
    "gateway.messages_per_second": 5,
    "power.days_between_cuts": 2.0,
}


def fleet(
    *scenarios: str, count: int = 1, size: int = 20, settings: dict | None = None, **parameters: object
) -> Dataset:
    """Twenty devices at two sites for three days."""
    requests = tuple(ScenarioRequest(name, {"count": count, **parameters}) for name in scenarios)
    spec = Spec(
        "iot", size=size, end="2025-03-06", scenarios=requests, settings={**SETTINGS, **(settings or {})}, seed=4
    )
    return generate(make_plan(spec))


MIXED = {
    # works and offices, and what stands there
    "site.kind": {**OFFICES, "office": 0.5, "works": 0.5},
    "device.profiles": "room-climate,energy-meter,pump-vibration,motor",
}


def mixed_fleet(*scenarios: str, **how: object) -> Dataset:
    """The same with machines."""
    return fleet(*scenarios, size=40, settings=MIXED, **how)  # type: ignore[arg-type]


@pytest.fixture(scope="session")
def make_mixed() -> Callable[..., Dataset]:
    return mixed_fleet


@pytest.fixture(scope="session")
def mixed() -> Dataset:
    return mixed_fleet()


@pytest.fixture(scope="session")
def make() -> Callable[..., Dataset]:
    return fleet


@pytest.fixture(scope="session")
def plain() -> Dataset:
    return fleet()


@pytest.fixture(scope="session")
def played() -> dict[str, Dataset]:
    return {name: fleet(name, count=2) for name in ("sensor-drift", "stuck-at", "gateway-outage")}
