"""Every scenario that declares a motif shows it: a matcher that sees no label finds its instances, and others that are none."""

from __future__ import annotations

from functools import lru_cache

import pytest

from populace.core.dataset import Dataset, generate
from populace.core.plan import make_plan
from populace.core.spec import ScenarioRequest, Spec
from populace.domains.finance import DOMAIN
from populace.domains.finance.motifs import Seen, match, recovered, seen

TYPOLOGIES = sorted(name for name, s in DOMAIN.scenarios.items() if s.match)
TOGETHER = 12
"""Typologies that are played in one bank."""
INSTANCES = 4


def company(name: str) -> tuple[str, ...]:
    """Who is played together. Silence is kept alone: another scenario may well pay an account that this one keeps quiet."""
    if "quiet" in DOMAIN.scenarios[name].arguments:
        return (name,)
    number = -(-len(TYPOLOGIES) // TOGETHER)
    return tuple(TYPOLOGIES[TYPOLOGIES.index(name) % number :: number])


@lru_cache(maxsize=2)
def played(names: tuple[str, ...]) -> tuple[Dataset, Seen]:
    asked = tuple(ScenarioRequest(n, {"count": INSTANCES}) for n in names)
    data = generate(make_plan(Spec("finance", size=600, seed=17, scenarios=asked), DOMAIN))
    return data, seen(data.frames)


@pytest.mark.parametrize("name", sorted(TYPOLOGIES, key=company))
def test_a_matcher_without_labels_recovers_every_instance(name: str):
    data, what = played(company(name))
    use = next(u for u in data.plan.uses if u.scenario.name == name)
    found, _ = recovered(what, use, data.frames["label"])
    assert found.height == INSTANCES
    assert found["found"].all(), found


@pytest.mark.parametrize("name", sorted(TYPOLOGIES, key=company))
def test_labels_name_the_role_of_every_party(name: str):
    data, _ = played(company(name))
    scenario = DOMAIN.scenarios[name]
    mine = data.frames["label"].filter(scenario=name)
    use = next(u for u in data.plan.uses if u.scenario.name == name)
    parties = mine.filter(table="account", effect="party")
    for role in scenario.roles:
        assert (
            parties.filter(role=role.name).group_by("instance").len()["len"].to_list() == [use.size(role)] * INSTANCES
        )


RARE = ("cuckoo-smurfing", "dormant-account")
"""Shapes that a thousand genuine customers need not show in half a year."""


def test_matchers_fire_on_genuine_customers_too_but_not_on_everyone(base: Dataset):
    """Hits on a bank without any fraud: some for each typology, and none so often that a hit would say nothing."""
    what, customers = seen(base.frames), base.plan.size
    requests = tuple(ScenarioRequest(name) for name in TYPOLOGIES)
    uses = make_plan(Spec("finance", size=customers, scenarios=requests), DOMAIN).uses
    hits = {use.scenario.name: match(what, use)["match"].n_unique() for use in uses}
    assert sorted(hits) == TYPOLOGIES
    assert not {n: k for n, k in hits.items() if k == 0 and n not in RARE}
    spree = {n for n in hits if DOMAIN.scenarios[n].match["pattern"] == "spree"}
    # anyone buys several things on some days: a spree is the weakest of shapes
    assert not {n: k for n, k in hits.items() if k > customers * (4.5 if n in spree else 1.5)}
    assert max(hits["invoice-redirection"], hits["payroll-diversion"]) < customers / 10
