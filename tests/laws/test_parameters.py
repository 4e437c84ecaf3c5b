"""Whatever may be asked for is answered: with valid data, or with a clear refusal."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from populace.core.dataset import generate
from populace.core.domain import Domain
from populace.core.errors import UserError
from populace.core.plan import make_plan
from populace.core.scenario import PARAMETER_TYPES, Parameter
from populace.core.spec import ScenarioRequest, Spec


def others(p: Parameter, domain: Domain) -> Iterator[Any]:
    """What else a parameter may be: its limits, the other choices, codes that its column has."""
    if p.type in ("int", "float"):
        yield from (PARAMETER_TYPES[p.type](v) for v in (p.min, p.max) if v is not None and v != p.default)
    elif p.type == "bool":
        yield not p.default
    elif p.column:
        table, _, column = p.column.partition(".")
        codes = list(domain.schema[table].columns[column].codes)
        yield {"code": codes[-1], "codes": ", ".join(codes[:2]), "values": f"{codes[0]}=120, {codes[-1]}=3"}[p.type]
        if p.type != "code":
            yield ""
    elif p.choices:
        yield from (c for c in p.choices if c != p.default)
    elif p.type == "text":
        yield "Zoë"


@pytest.mark.slow
def test_a_scenario_holds_whatever_its_parameters(domain: Domain, scenario: str):
    roomy = replace(domain, window=(domain.window[0], _days(domain.window[0], 5 if domain.name == "iot" else 90)))
    for p in domain.scenarios[scenario].parameters.values():
        for value in others(p, domain):
            asked = (ScenarioRequest(scenario, {"count": 1, p.name: value}),)
            try:
                data = generate(make_plan(Spec(domain.name, size=domain.size * 2, scenarios=asked), roomy))
            except UserError:  # there are not so many, or not for so long
                continue
            assert data.validate().is_empty(), (p.name, value)


def test_parameters_have_limits_and_codes_that_there_are(domain: Domain):
    for scenario in domain.scenarios.values():
        for p in scenario.parameters.values():
            place = f"{scenario.name}: {p.name}"
            assert p.type in PARAMETER_TYPES, place
            if p.type in ("int", "float"):
                assert p.min <= p.default <= p.max, place
            assert bool(p.column) == (p.type in ("code", "codes", "values")), place
        request = ScenarioRequest(scenario.name, {p.name: p.default for p in scenario.parameters.values()})
        make_plan(Spec(domain.name, scenarios=(request,)), domain)


@pytest.mark.parametrize("first", ["2024-02-29", "2024-03-30", "2024-03-31", "2024-12-25"])
def test_any_day_can_be_asked_for(domain: Domain, first: str):
    """A leap day, a Saturday, a Sunday on which clocks go forward, a holiday: there are things that nobody does then."""
    data = generate(make_plan(Spec(domain.name, start=first, end=_days(first, 1)), domain))
    assert data.validate().is_empty()


def _days(first: str, number: int) -> str:
    return (dt.date.fromisoformat(first) + dt.timedelta(number)).isoformat()
