"""`Tables`: a mapping from table name to a columnar frame. Never mutated; every stage returns new ones."""

from __future__ import annotations

import mmap
import sys
from collections.abc import Mapping
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
import polars as pl
from numpy.typing import NDArray

from .errors import UserError

if TYPE_CHECKING:
    import pyarrow

Table = pl.DataFrame
Tables = Mapping[str, pl.DataFrame]

ROW = "_row"
"""The column that carries a row's address (UInt64): it names the row's random numbers and its labels, and is dropped by
`conform`. A frame without it is addressed by position."""


_FEW = 1 << 12
"""Rows up to which a query costs more than what it does."""


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


def only(table: Table, which: NDArray) -> Table:
    """The rows at these places, or those where a mask is true. Column by column: of few rows a query costs several times what there is to do."""
    if which.dtype == bool:
        if which.all():
            return table
        if len(which) > _FEW:
            return table.filter(pl.Series(which))
        mask = pl.Series(which)
        return pl.DataFrame([column.filter(mask) for column in table.iter_columns()])
    if len(which) > _FEW:
        return table[which]
    at = pl.Series(which.astype(np.uint32))
    return pl.DataFrame([column[at] for column in table.iter_columns()])


def put(table: Table, *columns: pl.Series) -> Table:
    """The table with these columns in the place of those of their names, or added."""
    by_name = {column.name: column for column in (*table.iter_columns(), *columns)}
    return pl.DataFrame([*by_name.values()])


def in_order(table: Table, order: NDArray[np.int64]) -> Table:
    """All rows in another order."""
    return pl.DataFrame([_in_order(column, order) for column in table.iter_columns()])


def _in_order(column: pl.Series, order: NDArray[np.int64]) -> pl.Series:
    """A column of numbers by its bytes, and its gaps by their bits: a query takes three times as long where there are gaps."""
    kind = column.dtype
    if not _is_numbers(kind) or (isinstance(kind, pl.Enum) and not column.null_count()):
        return picked(column, order)
    values, there = _laid_out(column)
    made = values.take(order, mode="clip")
    if there is not None:
        there = there.take(order, mode="clip")
    if isinstance(kind, pl.Enum):
        return coded(made, kind, there).alias(column.name)
    return gapped(made, there).alias(column.name).cast(kind)


def _is_numbers(kind: pl.DataType) -> bool:
    return kind.is_integer() or kind.is_float() or kind.is_temporal() or isinstance(kind, pl.Enum)


def _laid_out(column: pl.Series) -> tuple[NDArray, NDArray[np.bool_] | None]:
    """The numbers of a column as they lie in memory, with anything where there is none, and where there are some: None if everywhere."""
    kind, bare = column.dtype, column.rechunk()
    if kind.is_temporal():
        bare = bare.cast(pl.Int32 if kind == pl.Date else pl.Int64)
    held = bare.to_arrow()
    # not `to_physical`, which asks by way of a query
    held = held.indices if isinstance(kind, pl.Enum) else held
    gaps, data = held.buffers()
    width = held.type.bit_width // 8
    letter = "f" if kind.is_float() else "u" if isinstance(kind, pl.Enum) or kind.is_unsigned_integer() else "i"
    values = np.frombuffer(data, f"{letter}{width}", len(bare), held.offset * width)
    return values, _bits(gaps, held.offset, len(bare)) if bare.null_count() else None


def _bits(gaps: pyarrow.Buffer | None, offset: int, size: int) -> NDArray[np.bool_]:
    assert gaps is not None
    bits = np.unpackbits(np.frombuffer(gaps, np.uint8), count=offset + size, bitorder="little")
    return bits[offset:].view(bool)


def is_there(column: pl.Series) -> NDArray[np.bool_]:
    """Where a column has a value: its bits, which takes a tenth of the time of a query."""
    if not column.null_count():
        return np.ones(len(column), bool)
    held = column.rechunk().to_arrow()
    held = held.indices if isinstance(column.dtype, pl.Enum) else held
    return _bits(held.buffers()[0], held.offset, len(column))


def picked(column: pl.Series, at: NDArray) -> pl.Series:
    """The values at these places: of few a fraction of the time of `gather`, which asks by way of a query."""
    return column[pl.Series(at.astype(np.uint32))]


def coded(codes: NDArray, kind: pl.DataType, where: NDArray[np.bool_] | None = None) -> pl.Series:
    """Categories of an Enum by their numbers; null where `where` is false. They are picked among all, in a fifth of the time of a cast."""
    return _every(kind)[gapped(codes.astype(np.uint32), where)]


@lru_cache(256)
def _every(kind: pl.DataType) -> pl.Series:
    assert isinstance(kind, pl.Enum)
    return pl.Series(kind.categories, dtype=kind)


def gapped(values: NDArray, there: NDArray | None) -> pl.Series:
    """Numbers with a gap where nothing is there. Their memory becomes the column's."""
    if there is None or there.all():
        return pl.Series(values)
    import pyarrow

    bits = pyarrow.py_buffer(np.packbits(there, bitorder="little"))
    data = pyarrow.py_buffer(np.ascontiguousarray(values))
    return pl.Series(pyarrow.Array.from_buffers(pyarrow.from_numpy_dtype(values.dtype), len(values), [bits, data]))


def filled(column: pl.Series, value: int) -> NDArray:
    """A column of numbers, with a value for each gap."""
    values, known = _laid_out(column)
    return values if known is None else np.where(known, values, values.dtype.type(value))


def alike(word: str, times: int, name: str = "") -> pl.Series:
    """A text, so many times."""
    return pl.Series(name, [word], dtype=pl.String).new_from_index(0, times)


def plain(column: pl.Series) -> NDArray:
    """A column without gaps as numbers: instants by their microseconds, dates by their days, codes by their places. Its own memory, where that
    holds them."""
    if isinstance(column.dtype, pl.Categorical):
        return column.to_physical().to_numpy()
    if column.dtype.is_temporal() or isinstance(column.dtype, pl.Enum):
        values, known = _laid_out(column)
        assert known is None, f"{column.name} has gaps"
        return values
    return column.to_numpy()


def room(size: int, kind: type[np.generic]) -> NDArray:
    """An empty column to be filled, in memory that an earlier one no longer needs: a fresh piece costs more than to fill it."""
    need = size * np.dtype(kind).itemsize
    if need < _LARGE:
        return np.empty(size, kind)
    # nobody but the list knows it: what was made of it is gone
    spare = [piece for piece, count in zip(_ROOMS, _known(_ROOMS), strict=True) if count == _IDLE]
    fitting = [piece for piece in spare if need <= piece.nbytes <= 4 * need]
    best = min(fitting, key=lambda piece: piece.nbytes) if fitting else _fresh(need)
    kept = [piece for piece in fitting if piece is not best]
    used = [piece for piece in _ROOMS if all(piece is not other for other in spare)]
    _ROOMS[:] = [*used, best, *kept[: max(0, _MOST - len(used) - 1)]]
    return best[:need].view(kind)


def texts(words: pl.Series, codes: NDArray[np.integer]) -> pl.Series:
    """For each code the text that stands at this place, under the words' name. What is copied is sixteen bytes a row that say where a text lies,
    into memory that is there: a fourth of the time that a gather of the texts takes."""
    import pyarrow

    known = words.to_arrow(compat_level=pl.CompatLevel.newest())
    gaps, views, *letters = known.buffers()
    if gaps is not None or known.type != pyarrow.string_view():
        return words.gather(codes)
    of_words = np.frombuffer(views, np.complex128)[known.offset : known.offset + len(known)]  # of sixteen bytes
    made = np.take(of_words, codes, out=room(len(codes), np.complex128), mode="clip")
    given = pyarrow.Array.from_buffers(known.type, len(codes), [None, pyarrow.py_buffer(made), *letters])
    return pl.Series(words.name, given)


def give_back() -> None:
    """Let go of the memory that no column needs any more."""
    _ROOMS[:] = [piece for piece, count in zip(_ROOMS, _known(_ROOMS), strict=True) if count != _IDLE]


def _known(pieces: list[NDArray]) -> list[int]:
    """How many know of each piece, this function's own looking included."""
    return [sys.getrefcount(piece) for piece in pieces]


def _fresh(need: int) -> NDArray[np.uint8]:
    """A piece of its own from the system, to which it goes back at once: pieces of this size leave holes in a heap that nothing fits in. It holds
    an eighth more, for the next column may be somewhat longer; what nobody touches takes no memory."""
    whole = -(-need * 9 // 8 // _PAGE) * _PAGE
    area = mmap.mmap(-1, whole + _PAGE, **_PRIVATE)
    if hasattr(mmap, "MADV_HUGEPAGE"):
        area.madvise(mmap.MADV_HUGEPAGE)
    piece = np.frombuffer(area, np.uint8)
    begins = -piece.ctypes.data % _PAGE
    return np.frombuffer(area, np.uint8, whole, begins)


_PRIVATE = {"flags": mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS} if hasattr(mmap, "MAP_PRIVATE") else {}
_PAGE = 1 << 21
"""Bytes of a large page: a piece that begins with one is had in a few steps."""
_LARGE = 1 << 20
"""Bytes from which on a column has memory of its own."""
_MOST = 6
"""Pieces that are known at a time, but for more that are in use."""
_ROOMS: list[NDArray] = []
_IDLE = _known([np.empty(0)])[0]
"""What is told of a piece that only its list knows: interpreters count differently."""


def refuse_infinite(table: Table, what: str, keeper: str) -> None:
    """Raise UserError where a table has a value that is no finite number, for a place that cannot keep one."""
    for column in table.select(pl.col(pl.Float64, pl.Float32)).get_columns():
        if not column.is_finite().fill_null(True).all():
            raise UserError(
                f"{what}: column {column.name} holds NaN or an infinity, which {keeper} cannot keep. Leave out the scenario that makes it, "
                "or choose another target or --format."
            )
