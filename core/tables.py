"""`Tables`: a mapping from table name to a columnar frame. Never mutated; every stage returns new ones."""

from __future__ import annotations

import mmap
import sys
from collections import deque
from collections.abc import Mapping

import numpy as np
import polars as pl
from numpy.typing import NDArray

from .errors import UserError

Table = pl.DataFrame
Tables = Mapping[str, pl.DataFrame]

ROW = "_row"
"""The column that carries a row's address (UInt64): it names the row's random numbers and its labels, and is dropped by
`conform`. A frame without it is addressed by position."""


def rows(given: Table) -> NDArray[np.uint64]:
    """The row addresses of a frame: its `ROW` column, or 0, 1, 2, … where it has none."""
    if ROW in given.columns:
        return given[ROW].to_numpy()
    return np.arange(given.height, dtype=np.uint64)


def merge(a: Tables, b: Tables) -> dict[str, Table]:
    """`a` with the tables of `b` added or put in place."""
    return {**a, **b}


def concat(parts: list[Table]) -> Table:
    """The rows of several frames of one shape, in order."""
    return parts[0] if len(parts) == 1 else pl.concat(parts, how="vertical", rechunk=False)


def plain(column: pl.Series) -> NDArray:
    """A column without gaps as numbers: instants by their microseconds, dates by their days, codes by their places. Its own memory, where that
    holds them."""
    if column.dtype.is_temporal():
        column = column.cast(pl.Int64)  # quicker than `to_physical`, which goes by way of a query
    elif isinstance(column.dtype, pl.Enum | pl.Categorical):
        column = column.to_physical()
    return column.to_numpy()


def room(size: int, kind: type[np.generic]) -> NDArray:
    """An empty column to be filled, in memory that an earlier one no longer needs: a fresh piece costs more than to fill it."""
    need = size * np.dtype(kind).itemsize
    for piece in _ROOMS:
        # nobody but the list, this loop and the call itself knows it: what was made of it is gone
        if need <= piece.nbytes <= 4 * need and sys.getrefcount(piece) == 3:
            return piece[:need].view(kind)
    # of its own from the system, to which it goes back at once: pieces of this size leave holes in a heap that nothing fits in
    area = mmap.mmap(-1, max(1, need), **_PRIVATE)
    if hasattr(mmap, "MADV_HUGEPAGE"):
        area.madvise(mmap.MADV_HUGEPAGE)
    piece = np.frombuffer(area, np.uint8)
    _ROOMS.append(piece)
    return piece[:need].view(kind)


_PRIVATE = {"flags": mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS} if hasattr(mmap, "MAP_PRIVATE") else {}
_ROOMS: deque[NDArray] = deque(maxlen=6)


def refuse_infinite(table: Table, what: str, keeper: str) -> None:
    """Raise UserError where a table has a value that is no finite number, for a place that cannot keep one."""
    for column in table.select(pl.col(pl.Float64, pl.Float32)).get_columns():
        if not column.is_finite().fill_null(True).all():
            raise UserError(
                f"{what}: column {column.name} holds NaN or an infinity, which {keeper} cannot keep. Leave out the scenario that makes it, "
                "or choose another target or --format."
            )
