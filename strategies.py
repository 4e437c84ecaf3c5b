"""Hypothesis strategies for the tables of every domain: rows that a test can be given, and that shrink.

    from hypothesis import given
    from populace.strategies import transaction

    @given(transaction())
    def test_amounts(row): ...

A table's name is a strategy; one that two domains have is reached by the domain's: `populace.strategies.iot.device()`. `tables` gives rows that refer
to one another, `dataset` whole datasets.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

try:
    from .core.strategies import dataset, row, tables
except ModuleNotFoundError as error:
    if error.name != "hypothesis":
        raise
    raise ImportError("populace.strategies needs Hypothesis. Run: pip install 'populace[strategies]'") from None

__all__ = ["dataset", "row", "tables"]


class _Domain:
    """The strategies of one domain, by the names of its tables."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __getattr__(self, table: str) -> Callable[..., Any]:
        from .core.domain import find_domain
        from .core.errors import unknown

        known = find_domain(self._name).schema.tables
        if table not in known:
            raise AttributeError(str(unknown("table", table, known, f"populace.strategies.{self._name}")))
        return partial(row, self._name, table)

    def __dir__(self) -> list[str]:
        from .core.domain import find_domain

        return list(find_domain(self._name).schema.tables)


def __getattr__(name: str) -> Any:
    from .core.domain import domain_names, find_domain
    from .core.errors import unknown

    if name.startswith("__"):
        raise AttributeError(name)
    domains = domain_names()
    if name in domains:
        return _Domain(name)
    having = [d for d in domains if name in find_domain(d).schema.tables]
    if len(having) == 1:
        return partial(row, having[0], name)
    if having:
        places = " or ".join(f"populace.strategies.{d}.{name}" for d in having)
        raise AttributeError(f"{' and '.join(having)} both have a table {name}: write {places}")
    known = [t for d in domains for t in find_domain(d).schema.tables]
    raise AttributeError(str(unknown("table", name, [*known, *domains, *__all__], "populace.strategies")))


def __dir__() -> list[str]:
    from .core.domain import domain_names, find_domain

    domains = domain_names()
    return sorted({*__all__, *domains, *(t for d in domains for t in find_domain(d).schema.tables)})
