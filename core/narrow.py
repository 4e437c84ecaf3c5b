"""A part of a domain: some of its tables or columns, and the steps that it takes to make them. What a dataset of it holds, it holds in the whole too."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import polars as pl

from .domain import Domain, Step, Window
from .errors import unknown
from .priors import Priors
from .schema import LABEL, Schema, TableSchema
from .tables import ROW, Tables

Part = dict[str, set[str]]
"""Tables, with the columns of each; none are all."""


def narrow(domain: Domain, only: Sequence[str], played: bool) -> Domain:
    """The domain with these tables alone, or with what these views take. Where scenarios are `played`, all that they may look at is still made, and left
    out at the end.

    Raises UserError for a table that there is not.
    """
    part = _asked(domain, only)
    schema = domain.schema
    tables = {n: _without_strangers(_some(t, part[n]), {*part}) for n, t in schema.tables.items() if n in part}
    derive, wanted = leading_to(domain.derive, _named(part))
    whole = {n for n, t in tables.items() if len(t.columns) == len(schema[n].columns)}
    return replace(
        domain,
        schema=replace(schema, tables=tables),
        steps=domain.steps if played else leading_to(domain.steps, wanted)[0],
        derive=derive,
        checks=tuple(c for c in domain.checks if {*c.tables} <= {*whole, LABEL.name}),
        events={n: e for n, e in domain.events.items() if e.table in whole},
        patterns=None,
        views={n: v for n, v in domain.views.items() if v.takes and _holds(part, v.takes)},
        weight=_lighter(domain.weight, _share(tables, schema)) if domain.weight else None,
        pictures=None,
        realism={},
        part_of=domain,
    )


def in_order(domain: Domain, only: Sequence[str]) -> list[str]:
    """What is asked for, each once and in the domain's order."""
    return [n for n in (*domain.schema.tables, *domain.views) if n in only]


def leading_to(steps: Sequence[Step], names: Iterable[str]) -> tuple[tuple[Step, ...], set[str]]:
    """Those of the steps that these tables and columns come from, in order; and all that they come from."""
    wanted, chosen = set(names), list[Step]()
    for step in reversed(steps):
        if any(_meet(made, name) for made in step.makes for name in wanted):
            chosen.append(step)
            wanted |= {*step.needs}
    return tuple(reversed(chosen)), wanted


def sooner(steps: Sequence[Step], leading: Sequence[Step]) -> tuple[Step, ...]:
    """Those of the leading steps that may be taken before all others, which then find what they would have found."""
    chosen, read, made = list[Step](), list[str](), list[str]()
    for step in steps:
        waits = any(_meet(a, b) for a in step.makes for b in (*read, *made)) or any(
            _meet(a, b) for a in step.needs for b in made
        )
        if not waits and any(step is one for one in leading):
            chosen.append(step)
        else:
            read += step.needs
            made += step.makes
    return tuple(chosen)


def besides(steps: Sequence[Step], done: Sequence[Step]) -> list[Step]:
    """The steps that are not done, in order."""
    return [step for step in steps if all(step is not one for one in done)]


def living(domain: Domain, facts: Tables) -> Tables:
    """The facts without tables and columns that neither a step to come nor the dataset looks at: what is not carried along need not be put in order."""
    if domain.part_of is None:
        return facts
    part: Part = {n: {*t.columns} for n, t in domain.schema.tables.items()}
    whole = set[str]()
    for step in domain.derive:
        for name in step.needs:
            table, _, column = name.partition(".")
            part.setdefault(table, set()).add(column)
            whole |= set() if column else {table}
    return {
        n: t if n in whole else t.select(c for c in t.columns if c in part[n] or c == ROW)
        for n, t in facts.items()
        if n in part
    }


def _asked(domain: Domain, only: Sequence[str]) -> Part:
    takes = {n: v.takes for n, v in domain.views.items() if v.takes}
    for name in only:
        if name not in domain.schema.tables and name not in takes:
            raise unknown("table", name, [*domain.schema.tables, *takes], "--only")
    named = [pair for name in only for pair in takes.get(name, {name: ()}).items()]
    whole = {table for table, columns in named if not columns}
    part: Part = {}
    for table, columns in named:
        part.setdefault(table, set()).update(() if table in whole else columns)
    return part


def _lighter(weight: Callable[[Priors, Window, Any], float], share: float) -> Callable[[Priors, Window, Any], float]:
    """Units take less room where less is made of them, and less still where that has few of its columns, if not less than what steps hold at once
    while they make facts."""
    return lambda priors, window, library: weight(priors, window, library) * (4 + 3 * share) / 10


def _share(some: Mapping[str, TableSchema], schema: Schema) -> float:
    """Of the columns of these tables, how many are made."""
    return sum(len(t.columns) for t in some.values()) / max(1, sum(len(schema[n].columns) for n in some))


def _holds(part: Part, takes: Mapping[str, tuple[str, ...]]) -> bool:
    return all(n in part and (not part[n] or (columns and part[n] >= {*columns})) for n, columns in takes.items())


def _named(part: Part) -> list[str]:
    return [f"{table}.{c}" if c else table for table, columns in part.items() for c in columns or ("",)]


def _meet(one: str, other: str) -> bool:
    """Whether two names, each of a table or of a column, share a column."""
    return one == other or one.partition(".")[0] == other or one == other.partition(".")[0]


def _some(table: TableSchema, columns: set[str]) -> TableSchema:
    """The table with these columns, and those that say whose its rows are; with all where none are named."""
    if not columns:
        return table
    kept = {n: c for n, c in table.columns.items() if n in {*columns, table.key, table.within}}
    checks = tuple(c for c in table.checks if {*pl.sql_expr(c.sql).meta.root_names()} <= kept.keys())
    touches, truth = tuple(c for c in table.touches if c in kept), table.truth if table.truth in kept else None
    return replace(table, columns=kept, checks=checks, touches=touches, truth=truth)


def _without_strangers(table: TableSchema, there: set[str]) -> TableSchema:
    """The table with references to those alone that are there."""
    columns = {
        n: c if c.references in there else replace(c, references=None, each=None) for n, c in table.columns.items()
    }
    return replace(
        table, columns=columns, within=table.within if table.within and columns[table.within].references else None
    )
