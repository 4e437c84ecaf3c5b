"""What the laws run over: every installed domain and the toy one, small enough to be built many times, and their scenarios."""

from __future__ import annotations

import datetime as dt
from dataclasses import replace
from functools import cache, lru_cache

from populace.core.dataset import Dataset, generate
from populace.core.domain import Domain, domain_names, find_domain
from populace.core.plan import make_plan
from populace.core.spec import ScenarioRequest, Spec
from toy import TOY

DOMAINS = {**{name: find_domain(name) for name in domain_names()}, "toy": TOY}
INSTANCES = 3
ROOM = 4
COMPANY = 6
MANY = 24
"""With more scenarios than this, a domain's do not each play alone by default."""


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


def companies(domain: Domain) -> list[tuple[str, ...]]:
    """Every scenario in one company of at most six (twelve where there are many), taken from all over the alphabet so that kin meet
    strangers."""
    names = sorted(domain.scenarios)
    number = -(-len(names) // (COMPANY if len(names) <= MANY else 2 * COMPANY))
    return [tuple(names[n::number]) for n in range(number)]


@cache
def plain(name: str, *scenarios: str) -> Dataset:
    """The small domain as it comes."""
    asked = tuple(ScenarioRequest(s) for s in scenarios)
    return generate(make_plan(Spec(name, scenarios=asked), small(DOMAINS[name])))


@lru_cache(maxsize=8)
def roomy(name: str, *scenarios: str) -> Dataset:
    domain = small(DOMAINS[name])
    domain = replace(domain, block=domain.size // domain.per_unit * ROOM // 2)
    asked = tuple(ScenarioRequest(s, {"count": INSTANCES}) for s in scenarios)
    return generate(make_plan(Spec(name, size=domain.size * ROOM, scenarios=asked), domain))
