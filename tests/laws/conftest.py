"""One case for each domain, each scenario and each company of scenarios, whichever a law asks for."""

from __future__ import annotations

import pytest
from laws.over import DOMAINS, MANY, companies, roomy, small

from populace.core.dataset import Dataset
from populace.core.domain import Domain


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Module scope keeps the laws of one scenario together, so that they share one build of it. Where a domain has many scenarios, those
    that play alone are slow: the companies, in which each plays with others, stand in for them."""
    if "scenario" in metafunc.fixturenames:
        cases = [
            pytest.param(d, s, id=f"{d}-{s}", marks=[pytest.mark.slow] if len(DOMAINS[d].scenarios) > MANY else [])
            for d in DOMAINS
            for s in DOMAINS[d].scenarios
        ]
        metafunc.parametrize(("domain", "scenario"), cases, indirect=["domain"], scope="module")
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
    """The same with three instances of the scenario."""
    return roomy(domain.name, scenario)


@pytest.fixture(scope="module")
def together(domain: Domain, company: tuple[str, ...]) -> Dataset:
    """The same with three instances of each scenario of a company."""
    return roomy(domain.name, *company)
