"""A content digest that depends on nothing but the values: not on row order, blocks, file format, library versions or machine.

Every value becomes a 64-bit word (numbers by value, texts by their UTF-8 bytes, null as its own word); words are mixed per column name
and added per row; each row's sum is mixed again; rows are added up in two lanes modulo 2^64. Blocks add. It detects change and damage; it is
no defence against someone who forges data on purpose.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from .stream import U64

_M1, _M2 = np.uint64(0x9E3779B97F4A7C15), np.uint64(0xD6E8FEB86659FD93)
_NULL = np.uint64(0xA0761D6478BD642F)
_CHUNK = 1 << 15
_BYTE_WORDS = np.frombuffer(
    b"".join(hashlib.blake2b(bytes([b]), digest_size=8).digest() for b in range(256)), np.uint64
)
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
    for part in frame.iter_slices(1 << 20):
        words = [(_seed(name), _words(part[name])) for name in part.columns]
        for at in range(0, part.height, _CHUNK):
            total += _rows([(seed, w[at : at + _CHUNK]) for seed, w in words])
    return total


def _rows(columns: list[tuple[np.uint64, U64]]) -> Digest:
    n = len(columns[0][1])
    row, z, t = np.zeros(n, np.uint64), np.empty(n, np.uint64), np.empty(n, np.uint64)
    for seed, words in columns:
        np.bitwise_xor(words, seed, out=z)
        _mix(z, t)
        np.add(row, z, out=row)
    _mix(row, t)
    a = int(row.sum(dtype=np.uint64))
    np.bitwise_xor(row, _NULL, out=row)
    _mix(row, t)
    return Digest(n, a, int(row.sum(dtype=np.uint64)))


def _mix(z: U64, t: U64) -> None:
    np.multiply(z, _M1, out=z)
    np.right_shift(z, np.uint64(32), out=t)
    np.bitwise_xor(z, t, out=z)
    np.multiply(z, _M2, out=z)
    np.right_shift(z, np.uint64(29), out=t)
    np.bitwise_xor(z, t, out=z)


def _seed(name: str) -> np.uint64:
    return np.frombuffer(hashlib.blake2b(name.encode(), digest_size=8).digest(), np.uint64)[0]


def _words(series: pl.Series) -> U64:
    kind = series.dtype
    mask = series.is_null().to_numpy() if series.null_count() else None
    if isinstance(kind, pl.Categorical):
        return _words(series.cast(pl.String))
    if isinstance(kind, pl.Enum):
        table = _text_words(kind.categories)
        codes = series.to_physical().fill_null(0).to_numpy()
        words = table[codes] if len(table) else np.zeros(len(series), np.uint64)
    elif kind == pl.String:
        words = _text_words(series.fill_null(""))
    elif kind.is_float():
        values = series.cast(pl.Float64).fill_null(0.0).to_numpy() + 0.0
        words = (
            np.where(np.isnan(values), np.nan, values).view(np.uint64)
            if np.isnan(values).any()
            else values.view(np.uint64)
        )
    elif kind == pl.Boolean or kind.is_integer() or kind in (pl.Date,) or isinstance(kind, pl.Datetime):
        words = np.ascontiguousarray(series.to_physical().cast(pl.Int64).fill_null(0).to_numpy()).view(np.uint64)
    else:
        raise TypeError(f"column '{series.name}' has type {kind}, which has no digest")
    return words if mask is None else np.where(mask, _NULL, words)


def _text_words(series: pl.Series) -> U64:
    if not len(series):
        return np.empty(0, np.uint64)
    ends = series.str.len_bytes().to_numpy().astype(np.int64).cumsum()
    starts = np.concatenate(([0], ends[:-1]))
    data = np.frombuffer(_bytes(series), np.uint8)
    lengths = ends - starts
    at = np.arange(len(data)) - np.repeat(starts, lengths)
    sums = np.concatenate((np.zeros(1, np.uint64), np.cumsum(_BYTE_WORDS[data] * _powers(int(lengths.max()))[at])))
    return (sums[ends] - sums[starts]) + lengths.astype(np.uint64) * _M1


def _bytes(series: pl.Series) -> bytes:
    return (
        "".join(series.to_list()).encode()
        if len(series) < 64
        else pl.DataFrame(series).select(pl.nth(0).str.join("")).item().encode()
    )


def _powers(n: int) -> NDArray[np.uint64]:
    return np.concatenate((np.ones(1, np.uint64), np.cumprod(np.full(max(n, 1), _M2))))
