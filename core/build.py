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
    facts = taken(plan.domain.steps, block, {})
    facts, log = play(plan, block, facts, cast)
    facts = taken(plan.domain.derive, block, facts)
    owned = {
        name: _owned(plan.whole.schema, name, t, block)
        for name, t in facts.items()
        if name in plan.domain.schema.tables
    }
    label = ground_truth(plan.domain.schema, owned, log)
    made = {name: conform(table, plan.domain.schema[name]) for name, table in owned.items()}
    # what only steps look at is gone before checks take their own room
    del facts, owned
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
    wanted = wanted.astype(known.dtype, copy=False)
    at = _searched(known, wanted)
    return np.where(known[at] == wanted, at if order is None else order[at], -1)


def _searched(known: NDArray, wanted: NDArray) -> NDArray[np.int64]:
    """Where each wanted number stands among those in order, if it is there. Numbers that follow each other mostly stand side by side: one search
    for each such run, and one for each number that is not where it should be then."""
    first = np.flatnonzero(np.append(True, wanted[1:] != wanted[:-1] + 1))[: len(wanted)]
    if len(first) * 4 > len(wanted):
        return np.minimum(np.searchsorted(known, wanted), len(known) - 1)
    at = np.repeat(np.searchsorted(known, wanted[first]) - first, np.diff(np.append(first, len(wanted))))
    at += np.arange(len(wanted))
    np.minimum(at, len(known) - 1, out=at)
    off = np.flatnonzero(known[at] != wanted)
    if len(off):
        at[off] = np.minimum(np.searchsorted(known, wanted[off]), len(known) - 1)
    return at


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
    logged = [edits for edits in log if not edits.is_empty() and edits["table"][0] in tables]
    if not logged:
        return pl.DataFrame(schema=LABEL.polars)
    # an edit is of one scenario and one table
    mine = [
        {c: edits[c].head(1) if c in ("scenario", "table") else _words(edits[c]) for c in _TEXTS} for edits in logged
    ]
    words = {c: pl.concat([own[c] for own in mine]).unique().sort() for c in _TEXTS}
    parts: list[_Columns] = []
    for edits, own in zip(logged, mine, strict=True):
        final, kept = _final(schema, tables, edits)
        columns = {"instance": edits["instance"].to_numpy(), "row_key": final}
        for c in _TEXTS:
            if len(own[c]) > 1:
                columns[c] = edits[c].cast(pl.Enum(words[c])).to_physical().to_numpy().astype(np.int64)
        if kept is not None:
            columns = {c: values[kept] for c, values in columns.items()}
        # what is the same for all of an edit stands once
        same = {c: np.full(1, words[c].search_sorted(own[c][0]), np.int64) for c in _TEXTS if len(own[c]) == 1}
        parts.append({**columns, **same})
    whole = _in_runs(parts) or _row_by_row(parts)
    return pl.DataFrame({c: _told(c, whole[c], words.get(c)) for c in LABEL.columns})


def _final(schema: Schema, tables: Tables, edits: Table) -> tuple[NDArray[np.int64], NDArray[np.bool_] | None]:
    """The final key of each edited row, none where it is gone; and which of the edits are told, all where nothing is said."""
    name = edits["table"][0]
    frame, key = tables[name], schema[name].key
    address = frame[ROW] if ROW in frame.columns else frame[key]
    at = _places(address, edits[ROW].to_numpy())
    gone = at < 0
    if not gone.any():
        return frame[key].to_numpy()[at].astype(np.int64, copy=False), None
    final = frame[key].to_numpy()[at].astype(np.int64) if frame.height else np.full(len(at), _NONE)
    final[gone] = _NONE
    kept = ~gone | edits["removed"].to_numpy()
    return final, None if kept.all() else kept


_Columns = dict[str, NDArray[np.int64]]
_TEXTS = [c for c in LABEL.columns if LABEL.polars[c] == pl.String]


def _in_runs(parts: list[_Columns]) -> _Columns | None:
    """The rows of all parts in order of their columns, the first foremost: where all but the key is the same for long runs of rows, by putting
    the runs in order. None where they are short."""
    found: dict[tuple[int, ...], list[NDArray[np.int64]]] = {}
    others = [c for c in LABEL.columns if c != "row_key"]
    for part in parts:
        keys, instance = part["row_key"], part["instance"]
        if any(len(part[c]) > 1 for c in _TEXTS):
            return None
        if not len(keys):
            continue
        first = np.flatnonzero(np.append(True, instance[1:] != instance[:-1]))
        if len(first) * 64 > len(keys) + 4_096:
            return None
        for a, b in zip(first.tolist(), [*first[1:].tolist(), len(keys)], strict=True):
            of = {**{c: part[c][0] for c in _TEXTS}, "instance": instance[a]}
            found.setdefault(tuple(int(of[c]) for c in others), []).append(keys[a:b])
    runs_of = sorted(found.items())
    keys = [np.sort(np.concatenate(some), kind="stable") for _, some in runs_of]
    sizes = [len(some) for some in keys]
    kinds = {c: np.uint32 if c in _TEXTS else np.int64 for c in others}
    whole = {c: np.repeat(np.array([of[n] for of, _ in runs_of], kinds[c]), sizes) for n, c in enumerate(others)}
    return {**whole, "row_key": np.concatenate(keys) if keys else np.empty(0, np.int64)}


def _row_by_row(parts: list[_Columns]) -> _Columns:
    whole = {
        c: np.concatenate([np.broadcast_to(part[c], len(part["row_key"])) for part in parts]) for c in LABEL.columns
    }
    order = _order(list(whole.values()))
    return {c: values[order] for c, values in whole.items()}


_NONE = np.iinfo(np.int64).max
"""Stands for no key: behind all keys that there are."""


def _words(texts: pl.Series) -> pl.Series:
    """The different texts of a column: most are all the same, which is quickly seen."""
    same = len(texts) > 0 and texts[0] == texts[-1] and bool((texts == texts[0]).all())
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
    asked = {expect.table for use in uses for expect in use.scenario.expect}
    parts: dict[tuple[str, str], list[Table]] = {}
    for of, a, b in runs(label, "scenario", "table") if asked else ():
        if of[1] in asked:
            part = label[a:b]
            parts.setdefault(of, []).append(part.drop_nulls("row_key") if part["row_key"].null_count() else part)
    keys = {of: _different(np.concatenate([p["row_key"].to_numpy() for p in some])) for of, some in parts.items()}
    shared: dict[str, NDArray] = {}
    for table in {table for _, table in keys}:
        each = [k for (_, t), k in keys.items() if t == table]
        every = np.sort(np.concatenate(each), kind="stable") if len(each) > 1 else np.empty(0, np.int64)
        shared[table] = _different(every[1:][every[1:] == every[:-1]])
    for use in uses:
        name = use.scenario.name
        for n, expect in enumerate(use.scenario.expect):
            mine = keys.get((name, expect.table))
            if mine is None:
                continue
            if expect.role or expect.effect:
                some = [_saying(p, role=expect.role, effect=expect.effect) for p in parts[name, expect.table]]
                mine = _different(np.concatenate(some))
            mine = mine[~np.isin(mine, shared[expect.table])] if len(shared[expect.table]) else mine
            key = plan.domain.schema[expect.table].key
            at = _places(tables[expect.table][key], mine)
            rule = pl.sql_expr(expect.sql)
            table = tables[expect.table].select(key, *({*rule.meta.root_names()} - {key}))[np.sort(at[at >= 0])]
            bad = table.filter(~rule.fill_null(True))[key]
            found.append(violations(f"{name}.expect[{n}]", expect.table, bad, expect.doc))
    return pl.concat(found)


def _saying(label: Table, **what: str | None) -> NDArray[np.int64]:
    """The keys of the labels that say this in some columns; of a column of which nothing is asked, anything."""
    for column, word in what.items():
        if word and not (len(words := _words(label[column])) == 1 and words[0] == word):
            label = label.filter(pl.col(column) == word)
    return label["row_key"].to_numpy()
