"""One case for each domain, each scenario and each company of scenarios, whichever a law asks for."""

from __future__ import annotations

import pytest
from laws.over import DOMAINS, companies, company_of, roomy, small

from populace.core.dataset import Dataset
from populace.core.domain import Domain


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Module scope keeps the laws of one company of scenarios together, so that they share one build of it."""
    if "scenario" in metafunc.fixturenames:
        cases = [(d, s) for d in DOMAINS for c in companies(DOMAINS[d]) for s in c]
        ids = [f"{d}-{s}" for d, s in cases]
        metafunc.parametrize(("domain", "scenario"), cases, ids=ids, indirect=["domain"], scope="module")
    elif "company" in metafunc.fixturenames:
        cases = [(d, names) for d in DOMAINS for names in companies(DOMAINS[d])]
        ids = [f"{d}-{'+'.join(names)}" for d, names in cases]
        metafunc.parametrize(("domain", "company"), cases, ids=ids, indirect=["domain"], scope="module")
    elif "domain" in metafunc.fixturenames:
        metafunc.parametrize("domain", DOMAINS, indirect=True, scope="module")


@pytest.fixture(scope="module")
def domain(request: pytest.FixtureRequest) -> Domain:
    return small(DOMAINS[request.param])


@pytest.fixture(scope="module")
def base(domain: Domain) -> Dataset:
    """The domain with room for three instances of any scenario, and none played."""
    return roomy(domain.name)


@pytest.fixture(scope="module")
def played(domain: Domain, scenario: str) -> Dataset:
    """The same with three instances of the scenario and of each other in its company: one build serves them all."""
    return roomy(domain.name, *company_of(domain, scenario))


@pytest.fixture(scope="module")
def alone(domain: Domain, scenario: str) -> Dataset:
    """The same with three instances of the scenario and no other."""
    return roomy(domain.name, scenario)
