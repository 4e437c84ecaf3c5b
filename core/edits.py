"""What a script does to the facts: rows inserted, changed, removed; and the log of it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from .domain import Block
from .places import different, places
from .scenario import Edit
from .schema import Schema
from .tables import ROW, Table, only, plain, room


@dataclass(frozen=True)
class Logged:
    """What one edit of a scenario did to a table: `rows` has `instance`, counted from `first` on, `role`, `effect` and `ROW`."""

    scenario: str
    table: str
    removed: bool
    first: int
    rows: Table


Log = list[Logged]


def apply(schema: Schema, frame: Table, edit: Edit, block: Block) -> tuple[Table, Table]:
    """A table after an edit, and the rows of it that this block has. Who gives the table away, and does not hold on to it, needs no memory for
    both of what it was and what it becomes: columns are replaced one by one."""
    spec = schema[edit.table]
    marks = ("instance", "role", "effect")
    if edit.action == "insert":
        mine = np.zeros(edit.rows.height, bool)
        for column in dict.fromkeys((spec.within or spec.key, *spec.touches)):
            if column in edit.rows.columns:
                unit = schema.unit_of_rows(edit.table, edit.rows, column)
                mine |= (unit >= block.first) & (unit < block.last)
        added = only(edit.rows, mine)
        if added.is_empty():
            return frame, added
        if ROW not in frame.columns:
            frame = frame.with_columns(pl.col(spec.key).cast(pl.UInt64).alias(ROW))
        given = added.schema
        new = pl.DataFrame(
            [
                (added[c] if given[c] == kind else added[c].cast(kind, strict=True))
                if c in given
                # one gap, as often as there are rows
                else pl.Series(c, [None], kind).new_from_index(0, added.height)
                for c, kind in frame.schema.items()
            ]
        )
        return pl.concat([frame, new]), added
    known = edit.rows
    if known.schema[ROW] != pl.UInt64:
        known = known.with_columns(pl.col(ROW).cast(pl.UInt64))
    at = places(frame[ROW if ROW in frame.columns else spec.key], known[ROW].to_numpy())
    if (at < 0).any():
        known, at = only(known, at >= 0), at[at >= 0]
    if edit.action == "remove":
        if not len(at):
            return frame, known
        columns = frame.get_columns()
        del frame
        return _without(columns, at), known
    columns = [c for c in known.columns if c not in (*marks, ROW)]
    return frame.with_columns(_put(frame[c], at, known[c].cast(frame.schema[c])) for c in columns), known


def _without(columns: list[pl.Series], at: NDArray[np.int64]) -> Table:
    """The table of some columns without the rows at these places. The list is emptied: each goes when what is left of it is made."""
    gone, height = different(at), len(columns[0])
    firsts = np.flatnonzero(np.append(True, gone[1:] != gone[:-1] + 1))
    if len(firsts) * 64 > height or not all(_is_plain(column) for column in columns):
        kept = np.ones(height, bool)
        kept[gone] = False
        return pl.DataFrame(columns).filter(kept)
    # few gaps: what is between them is copied as it stands
    ends, starts = [*gone[firsts], height], [0, *(gone[np.append(firsts[1:], len(gone)) - 1] + 1)]
    made = []
    while columns:
        column = columns.pop(0)
        before, done = plain(column), 0
        values = room(height - len(gone), before.dtype.type)
        for a, b in zip(starts, ends, strict=True):
            values[done : done + b - a] = before[a:b]
            done += b - a
        left = pl.Series(column.name, values).cast(column.dtype)
        made.append(left.set_sorted() if column.flags["SORTED_ASC"] else left)
        del column, before
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
