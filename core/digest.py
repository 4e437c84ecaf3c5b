"""A content digest that depends on nothing but the values: not on row order, blocks, file format, library versions or machine.

Every value becomes a 64-bit word (numbers by value, texts by their UTF-8 bytes, null as its own word); a row's words are added up, each
multiplied by an odd number that its column's name gives; each row's sum is mixed; rows are added up in two lanes modulo 2^64, by what the
mix gives and by its square. Blocks add. It detects change and damage; it is no defence against someone who forges data on purpose.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import polars as pl
from numpy.typing import NDArray

from .places import starts
from .stream import U64

_M1, _M2 = np.uint64(0x9E3779B97F4A7C15), np.uint64(0xD6E8FEB86659FD93)
_NULL = np.uint64(0xA0761D6478BD642F)
_FOLD = np.uint64(32)
_CHUNK = 1 << 15
"""Rows worked on at a time: three buffers of words fit in a processor's nearest caches but one."""
_RUN = 64
"""From this length on, runs of one text are long."""
_MASK = (1 << 64) - 1


@dataclass(frozen=True)
class Digest:
    """Rows and two sums; digests of parts of a table add up to the digest of the table."""

    rows: int = 0
    a: int = 0
    b: int = 0

    def __add__(self, other: Digest) -> Digest:
        return Digest(self.rows + other.rows, (self.a + other.a) & _MASK, (self.b + other.b) & _MASK)

    def __str__(self) -> str:
        return f"{self.a:016x}{self.b:016x}"


def digest(frame: pl.DataFrame) -> Digest:
    """The digest of a frame's rows, whatever their order."""
    if not frame.height or not frame.width:
        return Digest(frame.height)
    total = Digest()
    buffers = np.empty((3, min(_CHUNK, frame.height)), np.uint64)
    there = np.uint64(
        sum(int(_odd(name)) for name in frame.columns) & _MASK
    )  # a column of zeros is not one that is not there
    for part in frame.iter_slices(1 << 20):
        columns = [_mixer(part[name]) for name in part.columns]
        for at in range(0, part.height, _CHUNK):
            total += _rows(there, columns, at, min(at + _CHUNK, part.height), buffers)
    return total


Mixer = Callable[[int, int, U64, U64], U64 | np.uint64]
"""The weighed words of a column's rows from one position to another, in the first of two buffers that are there to be written to; or the one word
of all of them."""


def _rows(there: np.uint64, columns: list[Mixer], start: int, stop: int, buffers: U64) -> Digest:
    n = stop - start
    row, z, t = buffers[:, :n]
    same, begun = int(there), False
    for column in columns:
        words = column(start, stop, z, t)
        if np.size(words) == 1:  # one word for all rows
            same += words.item()
        elif begun:
            row += words
        else:
            row, z, begun = z, row, True
    if begun:
        row += np.uint64(same & _MASK)
    else:
        row.fill(same & _MASK)
    _mix(row, t)
    return Digest(n, int(row.sum(dtype=np.uint64)), int(np.dot(row, row)))


def _mixer(series: pl.Series) -> Mixer:
    odd = _odd(series.name)
    if series.dtype == pl.String and _repeats(series):
        return _repeated(series, odd)
    if isinstance(series.dtype, pl.Enum):
        # each category's word once, then it is looked up; null stands behind the last
        words = _category_words(series.dtype, series.name)
        codes = series.to_physical()
        codes = (codes.cast(pl.UInt32).fill_null(len(words) - 1) if codes.null_count() else codes).to_numpy()

        def looked_up(start: int, stop: int, z: U64, t: U64) -> U64 | np.uint64:
            mine = codes[start:stop]
            return words[mine[0]] if _alike(mine) else np.take(words, mine, out=z, mode="clip")

        return looked_up
    floats, known, ordered = series.dtype.is_float(), not series.null_count(), series.flags["SORTED_ASC"]
    values = series.cast(pl.Float64).to_numpy() if floats and known else _words(series)

    def mixed(start: int, stop: int, z: U64, t: U64) -> U64 | np.uint64:
        mine = values[start:stop]
        if _alike(mine, ordered):
            z, t, mine = z[:1], t[:1], mine[:1]
        if not floats:
            return np.multiply(mine, odd, out=z)
        if known:
            _float_words(mine, z)  # type: ignore[arg-type]
        else:
            np.copyto(z, mine)
        return _weigh(z, odd, t)

    return mixed


def _weigh(words: U64, odd: np.uint64, t: U64) -> U64:
    """Words by their column's number, in place. Their upper half is folded onto the lower first: numbers with a point and short texts differ
    in their upper bits alone, and so would the products."""
    np.right_shift(words, _FOLD, out=t)
    np.bitwise_xor(words, t, out=words)
    return np.multiply(words, odd, out=words)


def _repeated(series: pl.Series, odd: np.uint64) -> Mixer:
    """Of a column of few different texts, each weighed once; where they stay the same for long, each run's."""
    begins = np.arange(len(series)) if series.null_count() else starts(series)
    if len(begins) * _RUN <= len(series):
        weighed = np.array([_word(text, odd) for text in series[begins].to_list()], np.uint64)
        return lambda start, stop, z, t: _of_runs(begins, weighed, start, stop, z)

    def looked_up(start: int, stop: int, z: U64, t: U64) -> U64 | np.uint64:
        mine = series[start:stop]
        texts = mine.drop_nulls().unique()
        codes = mine.cast(pl.Enum(texts)).to_physical().cast(pl.UInt32).fill_null(len(texts)).to_numpy()
        return np.take(np.array([_word(text, odd) for text in [*texts, None]]), codes, out=z, mode="clip")

    return looked_up


def _of_runs(begins: NDArray[np.int64], words: U64, start: int, stop: int, out: U64) -> U64 | np.uint64:
    """The words of the rows from one position to another, given where runs begin and the word of each."""
    a, b = np.searchsorted(begins, [start, stop - 1], "right") - [1, 0]
    if b - a == 1:
        return words[a]
    np.copyto(out, np.repeat(words[a:b], np.diff(np.concatenate(([start], begins[a + 1 : b], [stop])))))
    return out


@lru_cache(4096)
def _word(text: str | None, odd: np.uint64) -> np.uint64:
    """One text's word, in a column of this number."""
    words = np.array([_NULL]) if text is None else _text_words(pl.Series([text]))
    return (words * odd)[0]


@lru_cache(512)
def _category_words(kind: pl.Enum, name: str) -> U64:
    """The word of each category of a column, and of null."""
    words = np.append(_text_words(kind.categories), _NULL) * _odd(name)
    words.flags.writeable = False
    return words


def _repeats(texts: pl.Series) -> bool:
    """Whether a column of texts has few different ones, as far as its first thousands tell."""
    first = texts.head(4_096)
    return len(texts) > len(first) and first.n_unique() < 64


def _float_words(values: NDArray[np.float64], out: U64) -> U64:
    """Each number's bits: one zero, and one of what is no number."""
    plain = np.add(values, 0.0, out=out.view(np.float64))  # turns -0.0 into 0.0
    if np.isnan(plain.min()):
        plain[np.isnan(plain)] = np.nan
    return out


def _alike(values: NDArray, ordered: bool = False) -> bool:
    """Whether all are the same: a parent's key, a code that hardly changes. Few look further than their ends."""
    ends = values[0] == values[-1] == values[len(values) // 2]
    return bool(ends and (ordered or (values == values[0]).all()))


def _mix(z: U64, t: U64) -> None:
    np.multiply(z, _M1, out=z)
    np.right_shift(z, np.uint64(32), out=t)
    np.bitwise_xor(z, t, out=z)
    np.multiply(z, _M2, out=z)
    np.right_shift(z, np.uint64(29), out=t)
    np.bitwise_xor(z, t, out=z)


@lru_cache(1024)
def _odd(name: str) -> np.uint64:
    """A column's number: odd, so that no two words give the same product."""
    return np.frombuffer(hashlib.blake2b(name.encode(), digest_size=8).digest(), "<u8")[0] | np.uint64(1)


def _words(series: pl.Series) -> U64:
    kind = series.dtype
    if isinstance(kind, pl.Categorical | pl.Decimal | pl.Null):
        return _words(series.cast(pl.String))
    if kind == pl.Boolean or kind.is_integer() or kind.is_temporal():
        words = _plain(series.cast(pl.Int64)).view(np.uint64)
    elif kind == pl.String:
        words = _text_words(series)
    elif kind.is_float():
        values = _plain(series.cast(pl.Float64))
        words = _float_words(values, np.empty(len(values), np.uint64)) if len(values) else np.empty(0, np.uint64)
    else:
        raise TypeError(f"column '{series.name}' has type {kind}, which has no digest")
    return np.where(_gaps(series), _NULL, words) if series.null_count() else words


def _plain(series: pl.Series) -> NDArray:
    """The numbers of a column, where it has gaps whatever stands there."""
    if not series.null_count():
        return series.to_numpy()
    stored = series.to_arrow()
    values = np.frombuffer(stored.buffers()[1], np.float64 if series.dtype.is_float() else np.int64)
    return values[stored.offset : stored.offset + len(stored)]


def _gaps(series: pl.Series) -> NDArray[np.bool_]:
    """Where a column has gaps. Asked of its own bits: polars would answer by way of a query, which costs more than all else of a small table."""
    stored = series.to_arrow()
    bits = np.unpackbits(np.frombuffer(stored.buffers()[0], np.uint8), bitorder="little")
    return bits[stored.offset : stored.offset + len(stored)] == 0


def _text_words(series: pl.Series) -> U64:
    """Each text's words: of every eight of its bytes, weighted by position and added up, with its length."""
    found = [np.empty(0, np.uint64)]
    for at in range(0, len(series), _CHUNK):
        text = series[at : at + _CHUNK].to_arrow(compat_level=pl.CompatLevel.oldest())  # offsets of 64 bits
        _, offsets, data = text.buffers()
        ends = np.frombuffer(offsets, np.int64)[text.offset : text.offset + len(text) + 1]
        letters = (bytes(data)[ends[0] : ends[-1]] if data else b"") + bytes(8)
        eights = np.ndarray(len(letters) - 7, "<u8", letters, strides=(1,))  # that begin at each byte
        starts, lengths = ends[:-1] - ends[0], np.diff(ends)
        pieces = lengths // 8 + 1
        last = np.cumsum(pieces) - 1
        place = np.arange(last[-1] + 1) - np.repeat(last + 1 - pieces, pieces)
        words = eights[np.repeat(starts, pieces) + 8 * place].astype(np.uint64)
        words[last] &= _LOWER[lengths % 8]
        words ^= words >> _FOLD
        words *= _powers(int(pieces.max()))[place]
        sums = np.add.reduceat(words, last + 1 - pieces)
        found.append(sums + lengths.astype(np.uint64) * _M1)
    return np.concatenate(found)


_LOWER = (np.uint64(1) << (np.arange(8, dtype=np.uint64) * np.uint64(8))) - np.uint64(1)
"""Of a word, as many bytes as are left."""


def _powers(n: int) -> U64:
    return np.concatenate((np.ones(1, np.uint64), np.cumprod(np.full(max(n, 1), _M2))))
