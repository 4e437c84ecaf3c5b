"""What the laws run over: every installed domain and the toy one, small enough to be built many times."""

from __future__ import annotations

import datetime as dt
from dataclasses import replace

import pytest

from populace.core.domain import Domain, domain_names, find_domain
from toy import TOY

DOMAINS = {**{name: find_domain(name) for name in domain_names()}, "toy": TOY}


def small(domain: Domain) -> Domain:
    """The domain with blocks of few units and a seventh of its window (two days at least)."""
    start, end = (dt.date.fromisoformat(d) for d in domain.window)
    days = max(2, (end - start).days // 7)
    window = (domain.window[0], (start + dt.timedelta(days)).isoformat())
    return replace(
        domain,
        block=11 if domain.per_unit == 1 else 1,
        size=40 if domain.per_unit == 1 else 3 * domain.per_unit,
        window=window,
    )


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "scenario" in metafunc.fixturenames:
        cases = [(d, s) for d in DOMAINS for s in DOMAINS[d].scenarios]
        metafunc.parametrize(("domain", "scenario"), cases, ids=[f"{d}-{s}" for d, s in cases], indirect=["domain"])
    elif "domain" in metafunc.fixturenames:
        metafunc.parametrize("domain", DOMAINS, indirect=True)


@pytest.fixture
def domain(request: pytest.FixtureRequest) -> Domain:
    return small(DOMAINS[request.param])
