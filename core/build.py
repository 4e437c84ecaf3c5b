"""The whole program for one block: steps, scripts, derivation, conformity, labels, checks. A pure function of plan and cast."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

import polars as pl

from .cast import Ahead, Cast, met
from .checks import check_tables, declared_and_not
from .conform import conform
from .domain import Block, Window, taken
from .edits import Log, Logged, apply
from .labels import ground_truth, unmet
from .narrow import besides, living
from .plan import Plan
from .scenario import Edit, Scene, Use
from .schema import LABEL, Schema
from .tables import ROW, Table, Tables, give_back, merge


@dataclass(frozen=True)
class Built:
    """One block: its tables with `label` among them, the violations that no scenario declares, and those that one does."""

    tables: Tables
    reference: Tables
    undeclared: Table
    declared: Table


def build(plan: Plan, index: int, cast: Cast, ahead: Ahead | None = None) -> Built:
    """Make block `index`, from where casting left off if `ahead` says so. Block 0 also brings the reference tables."""
    block = plan.block(index)
    # handed on, not held: what scripts replace is gone at once
    facts, log = play(plan, block, _facts(plan, index, ahead), cast, ahead)
    facts = taken(plan.domain.derive, block, living(plan.domain, facts))
    owned = {
        name: _owned(plan.whole.schema, name, t, block)
        for name, t in facts.items()
        if name in plan.domain.schema.tables
    }
    label = ground_truth(plan.domain.schema, owned, log)
    made = {name: conform(table, plan.domain.schema[name]) for name, table in owned.items()}
    # what only steps look at is gone before checks take their own room
    del facts, owned, log
    give_back()
    reference = {
        name: conform(table, plan.domain.schema[name])
        for name, table in plan.reference.items()
        if name in plan.domain.schema.tables
    }
    found = check_tables(
        plan.domain,
        merge(reference, made),
        set(made),
        elsewhere=cast.keys(plan),
        units=(block.first, block.last),
        label=label,
    )
    undeclared, declared = declared_and_not(found, label, plan.uses)
    undeclared = met(plan, cast, pl.concat([undeclared, unmet(plan, made, label)]))
    tables = merge(reference, made) if index == 0 else made
    return Built({**tables, LABEL.name: label}, reference, undeclared, declared)


def _facts(plan: Plan, index: int, ahead: Ahead | None) -> Tables:
    done, facts = ahead.facts.pop(index, ((), {})) if ahead else ((), {})
    return taken(besides(plan.domain.steps, done), plan.block(index), facts)


def play(plan: Plan, block: Block, tables: Tables, cast: Cast, ahead: Ahead | None = None) -> tuple[Tables, Log]:
    """Let every cast scenario edit the facts, in the order asked for, and log each edited row."""
    log, tables = Log(), dict(tables)
    for n, use in enumerate(plan.uses):
        members = cast.concerning(n, block)
        if all(m.is_empty() for m in members.values()):
            continue
        first = plan.first_instance(n)
        edits = _blindly(plan, n, block, cast, ahead) if ahead else None
        if edits is None:
            edits = _edits(plan, n, members, *_from(plan, use, tables, block))
        for edit in edits:
            tables[edit.table], edited = apply(plan.whole.schema, _given(tables, edit.table), edit, block)
            marks = edited[["instance", "role", "effect", ROW]]
            log.append(Logged(use.scenario.name, edit.table, edit.action == "remove", first, marks))
    return tables, log


def _edits(plan: Plan, n: int, members: Tables, tables: Tables, block: Block) -> list[Edit]:
    use = plan.uses[n]
    return plan.domain.scripts[use.scenario.script](Scene(use, members, tables, block, plan.stream.child(*use.path)))


BLINDLY = 16
"""Blocks for which a script plays at once that looks at nobody but its cast: it costs as much to play for one."""


def _blindly(plan: Plan, n: int, block: Block, cast: Cast, ahead: Ahead) -> list[Edit] | None:
    """What a script does to some blocks together, this one among them: what concerns others is left to them. None where it looks at tables, for which
    it must play in each block anew."""
    for_whom, edits = ahead.edits.get(n, (range(0), []))
    if block.first not in for_whom:
        wide = plan.span * BLINDLY
        begin = block.first // wide * wide
        some = replace(block, first=begin, last=min(begin + wide, plan.units))
        try:
            edits = _edits(plan, n, cast.concerning(n, some), *_from(plan, plan.uses[n], _Unseen(), some))
            for_whom = range(some.first, some.last)
        except _Looked:
            for_whom, edits = range(plan.units), None
        ahead.edits[n] = for_whom, edits
    return edits


class _Looked(Exception):
    """A script looked at tables."""


class _Unseen(Mapping[str, Table]):
    """Tables that nobody may look at."""

    def __getitem__(self, name: str) -> Table:
        raise _Looked

    def __iter__(self) -> Iterator[str]:
        raise _Looked

    def __len__(self) -> int:
        raise _Looked


def _given(tables: dict[str, Table], name: str) -> Table:
    """A table that is given away: another takes its place."""
    table, tables[name] = tables[name], pl.DataFrame()
    return table


def _from(plan: Plan, use: Use, tables: Tables, block: Block) -> tuple[Tables, Block]:
    """What a scenario sees that begins at some instant or later: a window from there on, and of what happens only what does so from there on."""
    if use.since is None:
        return tables, block
    at: dict[str, str] = {}
    for event in plan.domain.events.values():
        at.setdefault(event.table, event.at)
    later = {}
    for name, t in tables.items():
        if at.get(name) in t.columns:  # what has no such instant, a death that has not come, is not over
            when = pl.col(at[name]).cast(pl.Int64)
            t = t.filter(when.is_null() | (when >= use.since))
        later[name] = t
    return later, replace(block, window=Window(use.since, block.window.end))


def _owned(schema: Schema, name: str, frame: Table, block: Block) -> Table:
    """Only the rows of the block's own units: scripts may have brought rows that merely touch them."""
    if not schema[name].touches or frame.is_empty():
        return frame
    unit = schema.unit_of_rows(name, frame)
    mine = (unit >= block.first) & (unit < block.last)
    return frame if mine.all() else frame.filter(mine)
