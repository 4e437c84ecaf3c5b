"""What a script does to the facts: rows inserted, changed, removed; and the log of it."""

from __future__ import annotations

import numpy as np
import polars as pl
from numpy.typing import NDArray

from .domain import Block
from .places import different, places
from .scenario import Edit
from .schema import Schema
from .tables import ROW, Table, Tables, merge, plain, room

Log = list[Table]  # frames of: scenario, instance, role, table, effect, ROW


def apply(schema: Schema, tables: Tables, edit: Edit, block: Block) -> tuple[Tables, Table]:
    """The tables after an edit, and the rows of it that this block has."""
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
    at = places(frame[ROW if ROW in frame.columns else spec.key], known[ROW].to_numpy())
    if (at < 0).any():
        known, at = known.filter(at >= 0), at[at >= 0]
    if edit.action == "remove":
        return merge(tables, {edit.table: _without(frame, at) if len(at) else frame}), known
    columns = [c for c in known.columns if c not in (*marks, ROW)]
    frame = frame.with_columns(_put(frame[c], at, known[c].cast(frame.schema[c])) for c in columns)
    return merge(tables, {edit.table: frame}), known


def _without(frame: Table, at: NDArray[np.int64]) -> Table:
    """The frame without the rows at these places."""
    gone = different(at)
    firsts = np.flatnonzero(np.append(True, gone[1:] != gone[:-1] + 1))
    if len(firsts) * 64 > frame.height or not all(_is_plain(column) for column in frame):
        kept = np.ones(frame.height, bool)
        kept[gone] = False
        return frame.filter(kept)
    # few gaps: what is between them is copied as it stands
    ends, starts = [*gone[firsts], frame.height], [0, *(gone[np.append(firsts[1:], len(gone)) - 1] + 1)]
    made = []
    for column in frame:
        before, done = plain(column), 0
        values = room(frame.height - len(gone), before.dtype.type)
        for a, b in zip(starts, ends, strict=True):
            values[done : done + b - a] = before[a:b]
            done += b - a
        kept = pl.Series(column.name, values).cast(column.dtype)
        made.append(kept.set_sorted() if column.flags["SORTED_ASC"] else kept)
    return pl.DataFrame(made)


def _is_plain(column: pl.Series) -> bool:
    """Whether a column is numbers, one for each row."""
    kind = column.dtype
    return (kind.is_integer() or kind.is_float() or isinstance(kind, pl.Datetime)) and not column.null_count()


def _put(old: pl.Series, at: NDArray[np.int64], new: pl.Series) -> pl.Series:
    """The column with other values in some places; of several for one place the last."""
    if _is_plain(old) and not new.null_count():
        before = plain(old)
        values = room(len(before), before.dtype.type)
        np.copyto(values, before)
        values[at] = plain(new)
        return pl.Series(old.name, values).cast(old.dtype)
    # old and new values end to end, each row taking the last that is meant for it
    source = np.arange(len(old), dtype=np.uint32)
    source[at] = np.arange(len(old), len(old) + len(at), dtype=np.uint32)
    return pl.concat([old, new]).gather(source)
