"""The whole program for one block: steps, scripts, derivation, conformity, labels, checks. A pure function of plan and cast."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl

from .cast import Cast
from .checks import check_tables, declared_and_not
from .conform import conform
from .domain import Block
from .plan import Plan
from .scenario import Edit, Scene
from .schema import LABEL, Schema
from .tables import ROW, Table, Tables, merge, rows

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
        {**merge(reference, made), LABEL.name: label},
        set(made),
        elsewhere=cast.keys(plan),
        units=(block.first, block.last),
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
        scene = Scene(use, members, tables, block, plan.stream.child(*use.path))
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
    known = edit.rows.with_columns(pl.col(ROW).cast(pl.UInt64)).join(
        frame.select(ROW).with_row_index("_at"), on=ROW, how="inner", maintain_order="left"
    )
    at = known.drop_in_place("_at").to_numpy()
    if edit.action == "remove":
        kept = np.ones(frame.height, bool)
        kept[at] = False
        return merge(tables, {edit.table: frame.filter(kept)}), known
    columns = [c for c in known.columns if c not in (*marks, ROW)]
    # old and new values end to end, each row taking the last that is meant for it
    source = np.arange(frame.height, dtype=np.uint32)
    source[at] = np.arange(frame.height, frame.height + len(at), dtype=np.uint32)
    frame = frame.with_columns(pl.concat([frame[c], known[c].cast(frame.schema[c])]).gather(source) for c in columns)
    return merge(tables, {edit.table: frame}), known


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
    for name, edits in pl.concat(log).partition_by("table", as_dict=True).items() if log else ():
        frame, key = tables[str(name[0])], schema[str(name[0])].key
        address = pl.Series(ROW, rows(frame) if ROW in frame.columns else frame[key].to_numpy().astype(np.uint64))
        touched = address.is_in(edits[ROW].implode())
        final = pl.DataFrame({ROW: address.filter(touched), "row_key": frame[key].filter(touched)})
        joined = edits.join(final, on=ROW, how="left", maintain_order="left")
        parts.append(joined.filter(pl.col("row_key").is_not_null() | pl.col("removed")))
    if not parts:
        return pl.DataFrame(schema=LABEL.polars)
    columns = list(LABEL.columns)
    label = pl.concat(parts).select(pl.col(c).cast(LABEL.polars[c]) for c in columns)
    return label.sort(columns, nulls_last=True, maintain_order=True)


def _unmet(plan: Plan, tables: Tables, label: Table) -> Table:
    """Labelled rows that do not show what their scenario expects of them. A row that several have changed is nobody's to vouch for."""
    from .checks import violations

    found = [violations()]
    uses = {u.scenario.name: u for u in plan.uses}.values()
    if len(uses) > 1:
        label = label.filter(pl.col("scenario").n_unique().over("table", "row_key") == 1)
    for use in uses:
        for n, expect in enumerate(use.scenario.expect):
            mine = label.filter(scenario=use.scenario.name, table=expect.table)
            if expect.role:
                mine = mine.filter(role=expect.role)
            if expect.effect:
                mine = mine.filter(effect=expect.effect)
            if mine.is_empty():
                continue
            key = plan.domain.schema[expect.table].key
            table = tables[expect.table].filter(pl.col(key).is_in(mine["row_key"].implode()))
            bad = table.filter(~pl.sql_expr(expect.sql).fill_null(True))[key]
            found.append(violations(f"{use.scenario.name}.expect[{n}]", expect.table, bad, expect.doc))
    return pl.concat(found)
