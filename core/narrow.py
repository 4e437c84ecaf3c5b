"""A part of a domain: some of its tables, and the steps that it takes to make them. What a dataset of it holds, it holds in the whole too."""

from __future__ import annotations

from collections.abc import Sequence
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
    wanted = {*only}
    derive = _needed(domain.derive, wanted)
    return replace(
        domain,
        schema=replace(schema, tables=tables),
        steps=domain.steps if played else _needed(domain.steps, wanted),
        derive=derive,
        checks=tuple(c for c in domain.checks if {*c.tables} <= {*only, LABEL.name}),
        events={n: e for n, e in domain.events.items() if e.table in only},
        patterns=None,
        views={},
        pictures=None,
        realism={},
    )


def _needed(steps: Sequence[Step], wanted: set[str]) -> tuple[Step, ...]:
    """The steps, in order, that make any of these tables; what they read is wanted from then on. One may make anew what it finds."""
    chosen = []
    for step in reversed(steps):
        if wanted & {*step.makes}:
            chosen.append(step)
            wanted |= {*step.makes, *step.needs}
    return tuple(reversed(chosen))


def _without_strangers(table: TableSchema, there: set[str]) -> TableSchema:
    """The table with references to those alone that are there."""
    columns = {
        n: c if c.references in there else replace(c, references=None, each=None) for n, c in table.columns.items()
    }
    return replace(
        table, columns=columns, within=table.within if table.within and columns[table.within].references else None
    )
