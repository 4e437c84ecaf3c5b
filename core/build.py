"""The whole program for one block: steps, scripts, derivation, conformity, labels, checks. A pure function of plan and cast."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import polars as pl
from numpy.typing import NDArray

from .cast import Cast
from .checks import check_tables, declared_and_not
from .conform import conform
from .derive import runs
from .domain import Block, Step, Window
from .plan import Plan
from .scenario import Edit, Scene, Use
from .schema import LABEL, Schema
from .tables import ROW, Table, Tables, merge, room

Log = list[Table]  # frames of: scenario, instance, role, table, effect, ROW


@dataclass(frozen=True)
class Built:
    """One block: its tables with `label` among them, the violations that no scenario declares, and those that one does."""

    tables: Tables
    reference: Tables
    undeclared: Table
    declared: Table


def build(plan: Plan, index: int, cast: Cast) -> Built:
    """Make block `index`. Block 0 also brings the reference tables."""
    block = plan.block(index)
    facts: Tables = {}
    facts = taken(plan.domain.steps, block, facts)
    facts, log = play(plan, block, facts, cast)
    facts = taken(plan.domain.derive, block, facts)
    owned = {
        name: _owned(plan.whole.schema, name, t, block)
        for name, t in facts.items()
        if name in plan.domain.schema.tables
    }
    label = ground_truth(plan.domain.schema, owned, log)
    made = {name: conform(table, plan.domain.schema[name]) for name, table in owned.items()}
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
    undeclared = pl.concat([undeclared, _unmet(plan, made, label)])
    tables = merge(reference, made) if index == 0 else made
    return Built({**tables, LABEL.name: label}, reference, undeclared, declared)


def taken(steps: Sequence[Step], block: Block, tables: Tables) -> Tables:
    """The tables after some steps. A step sees what it says that it needs, what it makes anew, and nothing else."""
    for step in steps:
        seen = {name: tables[name] for name in (*step.needs, *step.makes) if name in tables}
        tables = merge(tables, step.run(block, seen))
    return tables


def play(plan: Plan, block: Block, tables: Tables, cast: Cast) -> tuple[Tables, Log]:
    """Let every cast scenario edit the facts, in the order asked for, and log each edited row."""
    log: Log = []
    for n, use in enumerate(plan.uses):
        members = cast.concerning(n, block)
        if all(m.is_empty() for m in members.values()):
            continue
        scene = Scene(use, members, *_from(plan, use, tables, block), plan.stream.child(*use.path))
        for edit in plan.domain.scripts[use.scenario.script](scene):
            tables, edited = _apply(plan.whole.schema, tables, edit, block)
            log.append(
                edited.select(
                    pl.lit(use.scenario.name).alias("scenario"),
                    pl.col("instance").cast(pl.Int64),
                    pl.col("role").cast(pl.String),
                    pl.lit(edit.table).alias("table"),
                    pl.col("effect").cast(pl.String),
                    pl.col(ROW).cast(pl.UInt64),
                    pl.lit(edit.action == "remove").alias("removed"),
                )
            )
    return tables, log


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


def _apply(schema: Schema, tables: Tables, edit: Edit, block: Block) -> tuple[Tables, Table]:
    frame, spec = tables[edit.table], schema[edit.table]
    marks = ("instance", "role", "effect")
    if edit.action == "insert":
        mine = np.zeros(edit.rows.height, bool)
        for column in dict.fromkeys((spec.within or spec.key, *spec.touches)):
            if column in edit.rows.columns:
                unit = schema.unit_of_rows(edit.table, edit.rows, column)
                mine |= (unit >= block.first) & (unit < block.last)
        added = edit.rows if mine.all() else edit.rows.filter(mine)
        if added.is_empty():
            return tables, added
        if ROW not in frame.columns:
            frame = frame.with_columns(pl.col(spec.key).cast(pl.UInt64).alias(ROW))
        new = frame.clear().select(
            [
                added[c].cast(d, strict=True) if c in added.columns else pl.lit(None, d).alias(c)
                for c, d in frame.schema.items()
            ]
        )
        return merge(tables, {edit.table: pl.concat([frame, new])}), added
    known = edit.rows.with_columns(pl.col(ROW).cast(pl.UInt64))
    at = _places(frame[ROW if ROW in frame.columns else spec.key], known[ROW].to_numpy())
    if (at < 0).any():
        known, at = known.filter(at >= 0), at[at >= 0]
    if edit.action == "remove":
        return merge(tables, {edit.table: _without(frame, at) if len(at) else frame}), known
    columns = [c for c in known.columns if c not in (*marks, ROW)]
    frame = frame.with_columns(_put(frame[c], at, known[c].cast(frame.schema[c])) for c in columns)
    return merge(tables, {edit.table: frame}), known


def _without(frame: Table, at: NDArray[np.int64]) -> Table:
    """The frame without the rows at these places."""
    gone = _different(at)
    firsts = np.flatnonzero(np.append(True, gone[1:] != gone[:-1] + 1))
    if len(firsts) * 64 > frame.height or not all(_plain(column) for column in frame):
        kept = np.ones(frame.height, bool)
        kept[gone] = False
        return frame.filter(kept)
    # few gaps: what is between them is copied as it stands
    ends, starts = [*gone[firsts], frame.height], [0, *(gone[np.append(firsts[1:], len(gone)) - 1] + 1)]
    made = []
    for column in frame:
        before, done = column.to_physical().to_numpy(), 0
        values = room(frame.height - len(gone), before.dtype.type)
        for a, b in zip(starts, ends, strict=True):
            values[done : done + b - a] = before[a:b]
            done += b - a
        made.append(pl.Series(column.name, values).cast(column.dtype))
    return pl.DataFrame(made)


def _plain(column: pl.Series) -> bool:
    """Whether a column is numbers, one for each row."""
    kind = column.dtype
    return (kind.is_integer() or kind.is_float() or isinstance(kind, pl.Datetime)) and not column.null_count()


def _places(addresses: pl.Series, wanted: NDArray) -> NDArray[np.int64]:
    """Where each wanted address stands among the others, which are all different; -1 where it does not."""
    known, order = addresses.to_numpy(), None
    if not len(known):
        return np.full(len(wanted), -1)
    if not addresses.is_sorted():
        order = np.argsort(known, kind="stable")
        known = known[order]
    at = np.minimum(np.searchsorted(known, wanted.astype(known.dtype)), len(known) - 1)
    return np.where(known[at] == wanted, at if order is None else order[at], -1)


def _put(old: pl.Series, at: NDArray[np.int64], new: pl.Series) -> pl.Series:
    """The column with other values in some places; of several for one place the last."""
    if _plain(old) and not new.null_count():
        before = old.to_physical().to_numpy()
        values = room(len(before), before.dtype.type)
        np.copyto(values, before)
        values[at] = new.to_physical().to_numpy()
        return pl.Series(old.name, values).cast(old.dtype)
    # old and new values end to end, each row taking the last that is meant for it
    source = np.arange(len(old), dtype=np.uint32)
    source[at] = np.arange(len(old), len(old) + len(at), dtype=np.uint32)
    return pl.concat([old, new]).gather(source)


def _owned(schema: Schema, name: str, frame: Table, block: Block) -> Table:
    """Only the rows of the block's own units: scripts may have brought rows that merely touch them."""
    if not schema[name].touches or frame.is_empty():
        return frame
    unit = schema.unit_of_rows(name, frame)
    mine = (unit >= block.first) & (unit < block.last)
    return frame if mine.all() else frame.filter(mine)


def ground_truth(schema: Schema, tables: Tables, log: Log) -> Table:
    """The log with final keys. A row inserted or changed and then removed again is labelled with no key."""
    texts = [c for c in LABEL.columns if LABEL.polars[c] == pl.String]
    found: dict[str, list[NDArray[np.int64]]] = {c: [] for c in LABEL.columns}
    logged = [edits for edits in log if not edits.is_empty() and edits["table"][0] in tables]
    if not logged:
        return pl.DataFrame(schema=LABEL.polars)
    # an edit is of one scenario and one table
    mine = [
        {c: edits[c].head(1) if c in ("scenario", "table") else _words(edits[c]) for c in texts} for edits in logged
    ]
    words = {c: pl.concat([own[c] for own in mine]).unique().sort() for c in texts}
    for edits, own in zip(logged, mine, strict=True):
        name = edits["table"][0]
        frame, key = tables[name], schema[name].key
        address = frame[ROW] if ROW in frame.columns else frame[key]
        at = _places(address, edits[ROW].to_numpy())
        kept = (at >= 0) | edits["removed"].to_numpy()
        if frame.height:
            final = frame[key].to_numpy()[at].astype(np.int64, copy=False)
            final[at < 0] = _NONE
        else:
            final = np.full(len(at), _NONE)
        columns = {"instance": edits["instance"].to_numpy(), "row_key": final}
        for c in texts:
            columns[c] = (
                np.full(len(at), words[c].search_sorted(own[c][0]), np.int64)
                if len(own[c]) == 1
                else edits[c].cast(pl.Enum(words[c])).to_physical().to_numpy().astype(np.int64)
            )
        for c, values in columns.items():
            found[c].append(values if kept.all() else values[kept])
    whole = {c: np.concatenate(parts) for c, parts in found.items()}
    order = _order(list(whole.values()))
    return pl.DataFrame({c: _told(c, values[order], words.get(c)) for c, values in whole.items()})


_NONE = np.iinfo(np.int64).max
"""Stands for no key: behind all keys that there are."""


def _words(texts: pl.Series) -> pl.Series:
    """The different texts of a column: most are all the same, which is quickly seen."""
    same = texts[0] == texts[-1] and bool((texts == texts[0]).all())
    return texts.head(1) if same else texts.unique()


def _order(columns: list[NDArray[np.int64]]) -> NDArray[np.int64]:
    """Positions in order of the columns, the first foremost: as one number where they all fit into one, which sorts in a tenth of the time."""
    packed, bits = np.zeros(len(columns[0]), np.int64), 0
    for values in columns:
        if not len(values):
            return np.arange(0)
        none = values == _NONE
        known = values[~none] if none.any() else values
        low, high = (int(known.min()), int(known.max())) if len(known) else (0, 0)
        width = (high - low + 1).bit_length()
        bits += width
        if bits > 62:
            return np.lexsort(columns[::-1])
        packed <<= width
        packed += np.where(none, high + 1, values) - low
    return np.argsort(packed, kind="stable")


def _told(name: str, values: NDArray[np.int64], words: pl.Series | None) -> pl.Series:
    if words is not None:
        return words.gather(values).rename(name)
    none = values == _NONE
    if not none.any():
        return pl.Series(name, values)
    return pl.select(pl.when(pl.lit(pl.Series(~none))).then(pl.lit(pl.Series(values))).alias(name)).to_series()


def _different(keys: NDArray[np.int64]) -> NDArray[np.int64]:
    """Each once, in order. Keys stand in runs: sorting these takes a hundredth of the time of numpy's table of what it has seen."""
    keys = np.sort(keys, kind="stable")
    return keys[np.append(True, keys[1:] != keys[:-1])] if len(keys) else keys


def _unmet(plan: Plan, tables: Tables, label: Table) -> Table:
    """Labelled rows that do not show what their scenario expects of them. A row that several have changed is nobody's to vouch for."""
    from .checks import violations

    found = [violations()]
    uses = {u.scenario.name: u for u in plan.uses}.values()
    parts: dict[tuple[str, str], list[NDArray[np.int64]]] = {}
    for (scenario, table), a, b in runs(label, "scenario", "table"):
        parts.setdefault((scenario, table), []).append(label["row_key"][a:b].drop_nulls().to_numpy())
    keys = {of: _different(np.concatenate(found)) for of, found in parts.items()}
    shared: dict[str, NDArray] = {}
    for table in {table for _, table in keys}:
        each = np.sort(np.concatenate([k for (_, t), k in keys.items() if t == table]), kind="stable")
        shared[table] = _different(each[1:][each[1:] == each[:-1]])
    for use in uses:
        name = use.scenario.name
        for n, expect in enumerate(use.scenario.expect):
            mine = keys.get((name, expect.table))
            if mine is None:
                continue
            if expect.role or expect.effect:
                some = label.filter(scenario=name, table=expect.table)
                some = some.filter(role=expect.role) if expect.role else some
                some = some.filter(effect=expect.effect) if expect.effect else some
                mine = some["row_key"].drop_nulls().unique().to_numpy()
            mine = mine[~np.isin(mine, shared[expect.table])] if len(shared[expect.table]) else mine
            key = plan.domain.schema[expect.table].key
            at = _places(tables[expect.table][key], mine)
            rule = pl.sql_expr(expect.sql)
            table = tables[expect.table].select(key, *({*rule.meta.root_names()} - {key}))[np.sort(at[at >= 0])]
            bad = table.filter(~rule.fill_null(True))[key]
            found.append(violations(f"{name}.expect[{n}]", expect.table, bad, expect.doc))
    return pl.concat(found)
