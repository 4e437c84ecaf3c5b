"""Protocol Buffers from columns: the wire format (protobuf.dev, Encoding) as a matrix of bytes with a mask, one row a message. No object is made for a row.

A piece is a pair (bytes, there), both of shape (rows, width): row r is the bytes `bytes[r][there[r]]`. Pieces side by side are one after another.
"""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
import polars as pl
from numpy.typing import NDArray

Piece: TypeAlias = tuple[NDArray[np.uint8], NDArray[np.bool_]]
VARINT, FIXED64, BYTES = 0, 1, 2
"""Wire types."""


def varint(number: int, values: NDArray, there: NDArray[np.bool_] | None = None) -> Piece:
    """A field of whole numbers; negative ones as two's complement of 64 bits, as int64 has them."""
    return beside(_tag(number, VARINT, len(values)), _varint(values), there=there)


def double(number: int, values: NDArray[np.float64], there: NDArray[np.bool_] | None = None) -> Piece:
    """A field of doubles, little-endian."""
    raw = np.ascontiguousarray(values, "<f8").view(np.uint8).reshape(len(values), 8)
    return beside(_tag(number, FIXED64, len(values)), (raw, np.ones(raw.shape, bool)), there=there)


def text(number: int, values: pl.Series, there: NDArray[np.bool_] | None = None) -> Piece:
    """A field of strings, none of them null."""
    encoded = values.cast(pl.String).cast(pl.Binary)
    size = encoded.bin.size().to_numpy().astype(np.int64)
    width = int(size.max()) if len(size) else 0
    mask = np.arange(width) < size[:, None]
    raw = np.zeros((len(values), width), np.uint8)
    raw[mask] = np.frombuffer(b"".join(encoded.to_list()), np.uint8)
    return nested(number, (raw, mask), there=there)


def nested(number: int, *pieces: Piece, there: NDArray[np.bool_] | None = None) -> Piece:
    """A field that is a message itself."""
    inside = beside(*pieces)
    size = inside[1].sum(axis=1)
    return beside(_tag(number, BYTES, len(size)), _varint(size), inside, there=there)


def beside(*pieces: Piece, there: NDArray[np.bool_] | None = None) -> Piece:
    """Pieces one after another; where not `there`, nothing."""
    raw, mask = (np.concatenate(part, axis=1) for part in zip(*pieces, strict=True))
    return (raw, mask) if there is None else (raw, mask & there[:, None])


def messages(piece: Piece, starts: NDArray[np.int64] | None = None) -> pl.Series:
    """The bytes of each row; with `starts`, the first row of each message, of each run of rows as one."""
    import pyarrow as pa

    raw, mask = piece
    flat = raw[mask]
    size = mask.sum(axis=1)
    if starts is not None:
        size = np.add.reduceat(size, starts) if len(starts) else size[:0]
    offsets = np.concatenate([[0], size.cumsum()]).astype(np.int64)
    array = pa.LargeBinaryArray.from_buffers(
        pa.large_binary(), len(size), [None, pa.py_buffer(offsets), pa.py_buffer(np.ascontiguousarray(flat))]
    )
    return pl.Series(pl.from_arrow(array))


def _tag(number: int, wire: int, rows: int) -> Piece:
    tag = number << 3 | wire
    assert tag < 128
    return np.full((rows, 1), tag, np.uint8), np.ones((rows, 1), bool)


def _varint(values: NDArray) -> Piece:
    """Seven bits a byte, the least first; all but the last byte have the eighth bit."""
    left = np.ascontiguousarray(values, np.int64).view(np.uint64)
    width = max(1, -(-int(left.max()).bit_length() // 7)) if len(left) else 1
    raw, mask = np.empty((len(left), width), np.uint8), np.ones((len(left), width), bool)
    for k in range(width):
        rest = left >> np.uint64(7)
        raw[:, k] = (left & np.uint64(127)).astype(np.uint8) | np.where(rest > 0, 128, 0).astype(np.uint8)
        if k:
            mask[:, k] = left > 0
        left = rest
    return raw, mask
