"""A part of a domain: some of its tables, and the steps that it takes to make them. What a dataset of it holds, it holds in the whole too."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from .domain import Domain, Step
from .errors import unknown
from .schema import LABEL, TableSchema


def narrow(domain: Domain, only: Sequence[str], played: bool) -> Domain:
    """The domain with these tables alone. Where scenarios are `played`, all that they may look at is still made, and left out at the end.

    Raises UserError for a table that there is not.
    """
    for name in only:
        if name not in domain.schema.tables:
            raise unknown("table", name, domain.schema.tables, "--only")
    schema = domain.schema
    tables = {n: _without_strangers(t, set(only)) for n, t in schema.tables.items() if n in only}
    derive, wanted = leading_to(domain.derive, only)
    return replace(
        domain,
        schema=replace(schema, tables=tables),
        steps=domain.steps if played else leading_to(domain.steps, wanted)[0],
        derive=derive,
        checks=tuple(c for c in domain.checks if {*c.tables} <= {*only, LABEL.name}),
        events={n: e for n, e in domain.events.items() if e.table in only},
        patterns=None,
        views={},
        pictures=None,
        realism={},
        part_of=domain,
    )


def leading_to(steps: Sequence[Step], tables: Iterable[str]) -> tuple[tuple[Step, ...], set[str]]:
    """Those of the steps that these tables come from, in order; and all tables that they come from."""
    wanted, chosen = set(tables), list[Step]()
    for step in reversed(steps):
        if wanted & {*step.makes}:
            chosen.append(step)
            wanted |= {*step.needs}
    return tuple(reversed(chosen)), wanted


def _without_strangers(table: TableSchema, there: set[str]) -> TableSchema:
    """The table with references to those alone that are there."""
    columns = {
        n: c if c.references in there else replace(c, references=None, each=None) for n, c in table.columns.items()
    }
    return replace(
        table, columns=columns, within=table.within if table.within and columns[table.within].references else None
    )
