"""The whole program for one block: steps, scripts, derivation, conformity, labels, checks. A pure function of plan and cast."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import polars as pl
from numpy.typing import NDArray

from .cast import Cast
from .checks import check_tables, declared_and_not
from .conform import conform
from .domain import Block, Window
from .plan import Plan
from .scenario import Edit, Scene, Use
from .schema import LABEL, Schema
from .tables import ROW, Table, Tables, merge

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
    for step in plan.domain.steps:
        facts = merge(facts, step.run(block, facts))
    facts, log = play(plan, block, facts, cast)
    for step in plan.domain.derive:
        facts = merge(facts, step.run(block, facts))
    owned = {
        name: _owned(plan.domain.schema, name, t, block)
        for name, t in facts.items()
        if name in plan.domain.schema.tables
    }
    label = _label(plan.domain.schema, owned, log)
    made = {name: conform(table, plan.domain.schema[name]) for name, table in owned.items()}
    reference = {name: conform(table, plan.domain.schema[name]) for name, table in plan.reference.items()}
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


def play(plan: Plan, block: Block, tables: Tables, cast: Cast) -> tuple[Tables, Log]:
    """Let every cast scenario edit the facts, in the order asked for, and log each edited row."""
    log: Log = []
    for n, use in enumerate(plan.uses):
        members = cast.concerning(n, block)
        if all(m.is_empty() for m in members.values()):
            continue
        scene = Scene(use, members, *_from(plan, use, tables, block), plan.stream.child(*use.path))
        for edit in plan.domain.scripts[use.scenario.script](scene):
            tables, edited = _apply(plan.domain.schema, tables, edit, block)
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
    later = {
        name: t.filter(pl.col(at[name]).cast(pl.Int64) >= use.since) if at.get(name) in t.columns else t
        for name, t in tables.items()
    }
    return later, replace(block, window=Window(use.since, block.window.end))


def _apply(schema: Schema, tables: Tables, edit: Edit, block: Block) -> tuple[Tables, Table]:
    frame, spec = tables[edit.table], schema[edit.table]
    if ROW not in frame.columns:
        frame = frame.with_columns(pl.col(spec.key).cast(pl.UInt64).alias(ROW))
    marks = ("instance", "role", "effect")
    if edit.action == "insert":
        mine = np.zeros(edit.rows.height, bool)
        for column in dict.fromkeys((spec.within or spec.key, *spec.touches)):
            if column in edit.rows.columns:
                unit = schema.unit_of_rows(edit.table, edit.rows, column)
                mine |= (unit >= block.first) & (unit < block.last)
        added = edit.rows.filter(mine)
        new = frame.clear().select(
            [
                added[c].cast(d, strict=True) if c in added.columns else pl.lit(None, d).alias(c)
                for c, d in frame.schema.items()
            ]
            if added.height
            else pl.all()
        )
        return merge(tables, {edit.table: pl.concat([frame, new])}), added
    known = edit.rows.with_columns(pl.col(ROW).cast(pl.UInt64))
    at = _places(frame[ROW], known[ROW].to_numpy())
    if (at < 0).any():
        known, at = known.filter(at >= 0), at[at >= 0]
    if edit.action == "remove":
        kept = np.ones(frame.height, bool)
        kept[at] = False
        return merge(tables, {edit.table: frame.filter(kept)}), known
    columns = [c for c in known.columns if c not in (*marks, ROW)]
    frame = frame.with_columns(_put(frame[c], at, known[c].cast(frame.schema[c])) for c in columns)
    return merge(tables, {edit.table: frame}), known


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
    plain = old.dtype.is_integer() or old.dtype.is_float() or isinstance(old.dtype, pl.Datetime)
    if plain and not old.null_count() and not new.null_count():
        values = old.to_physical().to_numpy().copy()
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


def _label(schema: Schema, tables: Tables, log: Log) -> Table:
    """The log with final keys. A row inserted or changed and then removed again is labelled with no key."""
    parts = []
    for edits in log:
        if edits.is_empty():
            continue
        name = edits["table"][0]
        frame, key = tables[name], schema[name].key
        address = frame[ROW] if ROW in frame.columns else frame[key]
        at = _places(address, edits[ROW].to_numpy())
        final = frame[key].cast(pl.Int64).gather(pl.Series(at).replace(-1, None).cast(pl.UInt32))
        joined = edits.with_columns(final.alias("row_key"))
        parts.append(joined.filter(pl.col("row_key").is_not_null() | pl.col("removed")))
    if not parts:
        return pl.DataFrame(schema=LABEL.polars)
    columns = list(LABEL.columns)
    label = pl.concat(parts).select(pl.col(c).cast(LABEL.polars[c]) for c in columns)
    # few different words, put in order as numbers
    texts = [c for c in columns if LABEL.polars[c] == pl.String]
    words = [pl.col(c).cast(pl.Enum(label[c].unique().sort())) for c in texts]
    return (
        label.with_columns(words)
        .sort(columns, nulls_last=True, maintain_order=True)
        .with_columns(pl.col(c).cast(pl.String) for c in texts)
    )


def _unmet(plan: Plan, tables: Tables, label: Table) -> Table:
    """Labelled rows that do not show what their scenario expects of them. A row that several have changed is nobody's to vouch for."""
    from .checks import violations

    found = [violations()]
    uses = {u.scenario.name: u for u in plan.uses}.values()
    keys = {
        (str(scenario), str(table)): part["row_key"].drop_nulls().unique().sort().to_numpy()
        for (scenario, table), part in label.select("scenario", "table", "row_key")
        .partition_by("scenario", "table", as_dict=True)
        .items()
    }
    shared: dict[str, NDArray] = {}
    for table in {table for _, table in keys}:
        each, times = np.unique(np.concatenate([k for (_, t), k in keys.items() if t == table]), return_counts=True)
        shared[table] = each[times > 1]
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
            table = tables[expect.table][np.sort(at[at >= 0])]
            bad = table.filter(~pl.sql_expr(expect.sql).fill_null(True))[key]
            found.append(violations(f"{name}.expect[{n}]", expect.table, bad, expect.doc))
    return pl.concat(found)
