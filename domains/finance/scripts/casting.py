"""Among whom scenarios are played, and in which money."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from ....core.domain import Domain
from ....core.priors import Priors
from ....core.scenario import Scenario
from ..holdings import PASSES
from ..parties import CURRENCIES
from ..people import COUNTRIES

MONEY = dict(zip(COUNTRIES, CURRENCIES, strict=False))


def among_those_there(scenarios: Mapping[str, Scenario]) -> dict[str, Scenario]:
    """The scenarios played by accounts of customers who are there from the window's first day to its last: an instance may begin at any time."""
    return {
        name: replace(s, roles=tuple(replace(r, where=f"({r.where}) AND NOT {PASSES}") for r in s.roles))
        for name, s in scenarios.items()
    }


def in_home_money(domain: Domain, priors: Priors) -> Domain:
    """The domain with scenarios that are played in the money there is, where all customers live in one country: else half of them would find nobody."""
    here = [country for country, share in priors("customer.country").items() if share > 0]
    if len(here) != 1:
        return domain
    home = MONEY[here[0]]
    scenarios = {}
    for name, scenario in domain.scenarios.items():
        roles = scenario.roles
        for money in MONEY.values():
            roles = tuple(
                replace(r, where=r.where.replace(f"currency = '{money}'", f"currency = '{home}'")) for r in roles
            )
        scenarios[name] = replace(scenario, roles=roles)
    return replace(domain, scenarios=scenarios)
