"""What drawing from any network takes: classes from scores, latent vectors from row addresses. NumPy alone."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ...stream import F64, Stream
from ...tables import Table, rows

F32 = NDArray[np.float32]

BLOCK = 2_048
"""Rows of one matrix product. Always as many: a product's last bits must not hang on how many rows are asked for."""


_OWN, _SHARED = 96, 16
"""Sums of so many classes are compared one by one, where rows have their own and where they share them; of more, by halving."""
_WINDOW, _EDGE = 256, 8
_BELOW = np.float32(1.0 - 2.0**-23)


def choose_class(scores: F32, u: F64, which: NDArray[np.int64] | None = None) -> NDArray[np.int64]:
    """A class for each row, with probabilities in proportion to the exponentials of its scores.

    `scores`: shape (classes, rows), and overwritten; `u`: uniforms, shape (rows,). Where rows share scores, `which` are the places of theirs, shape (rows,): what
    comes is as if each had its own.
    """
    scores -= scores.max(axis=0)
    np.exp(scores, out=scores)
    for k in range(1, len(scores)):
        # a loop of whole rows is several times faster than `cumsum`
        scores[k] += scores[k - 1]
    # below 1 in single precision too: a class that cannot come may be the last
    at = np.minimum(u.astype(np.float32), _BELOW)
    if which is not None:
        how = _compared if len(scores) <= _SHARED else _sought
        size = 8 * BLOCK
        parts = range(0, len(u), size)
        return np.concatenate([how(scores, at[s : s + size], which[s : s + size]) for s in parts] or [which])
    if len(scores) > _OWN:
        return _sought(scores, at, np.arange(len(u)))
    at *= scores[-1]
    # at most 255: bytes are counted several times faster than truths
    return np.add.reduce((scores[:-1] <= at).view(np.uint8), axis=0, dtype=np.uint8).astype(np.int64)


def _compared(sums: F32, u: F32, which: NDArray[np.int64]) -> NDArray[np.int64]:
    """How many of the sums up to each class lie at or below each uniform."""
    at, place = u * sums[-1].take(which), np.zeros(len(u), np.uint8)
    for k in range(len(sums) - 1):
        place += (sums[k].take(which) <= at).view(np.uint8)
    return place.astype(np.int64)


def _sought(sums: F32, u: F32, which: NDArray[np.int64]) -> NDArray[np.int64]:
    """The same by halving."""
    flat, width = sums.ravel(), sums.shape[1]
    last = which + (len(sums) - 1) * width
    at, low = u * flat.take(last), which.copy()
    step = 1 << (len(sums) - 1).bit_length()
    while step := step >> 1:
        # the last sum, which is above, stands for those beyond it
        probe = low + (step - 1) * width
        below = flat.take(np.minimum(probe, last, out=probe)) <= at
        low += below * (step * width)
    low -= which
    low //= width
    return low


def in_parts(
    columns: Sequence[str], given: Table, size: int, part: Callable[[dict[str, pl.Series], NDArray], Table]
) -> Table:
    """Rows by so many at a time, as `part` makes them of those of `columns` that are given and of addresses."""
    address = rows(given)
    told = {name: given[name] for name in columns if name in given.columns}
    made = [
        part({name: values.slice(start, size) for name, values in told.items()}, address[start : start + size])
        for start in range(0, max(len(address), 1), size)
    ]
    return pl.concat(made, rechunk=False)


def distinct(keys: NDArray[np.int64], most: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The distinct keys in order, all below `most`, and the place of each key among them."""
    there = np.zeros(most, bool)
    there[keys] = True
    return np.flatnonzero(there), (np.cumsum(there, dtype=np.int32) - 1)[keys].astype(np.int64)


def padded(x: F32) -> F32:
    """Rows of zeros added to the next whole number of blocks, at least one."""
    short = -len(x) % BLOCK if len(x) else BLOCK
    return np.concatenate([x, np.zeros((short, *x.shape[1:]), x.dtype)]) if short else x


@cache
def _normals() -> F32:
    from scipy.special import ndtri

    return ndtri((np.arange(1 << 16) + 0.5) / (1 << 16)).astype(np.float32)


def latent(stream: Stream, address: NDArray, count: int) -> F32:
    """Standard normals, `count` for each address, each one of 65,536 quantiles: four to a hashed word."""
    words = np.empty((len(address), -(-count // 4)), np.uint64)
    for k in range(words.shape[1]):
        words[:, k] = stream.child("latent", k).bits(address)
    return _normals().take(words.view(np.uint16)[:, :count])


def product(weight: F32, x: F32, out: F32) -> F32:
    """weight · x into `out`, each column of x as if it stood alone; shapes (outputs, inputs), (inputs, `BLOCK`) and (outputs, `BLOCK`)."""
    if _steady(*weight.shape, _whole):
        return _whole(weight, x, out)
    if _steady(*weight.shape, _windowed):
        return _windowed(weight, x, out)
    out[:] = weight.astype(np.float64) @ x.astype(np.float64)
    return out


def row_product(x: F32, weight: F32, out: F32) -> F32:
    """x · weight into `out`, each row of x as if it stood alone; shapes (`BLOCK`, inputs), (inputs, outputs) and (`BLOCK`, outputs)."""
    if _steady(weight.shape[1], weight.shape[0], _in_rows):
        return np.matmul(x, weight, out=out)
    out[:] = x.astype(np.float64) @ weight.astype(np.float64)
    return out


def turned_product(weight: F32, x: F32, out: F32) -> F32:
    """weight · xᵀ into `out`, each row of x as if it stood alone; shapes (outputs, inputs), (`BLOCK`, inputs) and (outputs, `BLOCK`)."""
    if _steady(*weight.shape, _turned):
        return np.matmul(weight, x.T, out=out)
    return product(weight, np.ascontiguousarray(x.T), out)


def _in_rows(weight: F32, x: F32, out: F32) -> F32:
    out[:] = (np.ascontiguousarray(x.T) @ np.ascontiguousarray(weight.T)).T
    return out


def _turned(weight: F32, x: F32, out: F32) -> F32:
    return np.matmul(weight, np.ascontiguousarray(x.T).T, out=out)


def _whole(weight: F32, x: F32, out: F32) -> F32:
    return np.matmul(weight, x, out=out)


def _windowed(weight: F32, x: F32, out: F32) -> F32:
    """By windows of as many columns each, without those at a window's edges: some processors' libraries add up these in another order than the ones between."""
    count, part = x.shape[1], np.empty((len(weight), _WINDOW + 2 * _EDGE), np.float32)
    for start in range(0, count, _WINDOW):
        low = start - _EDGE
        seen = x[:, max(low, 0) : low + part.shape[1]]
        if seen.shape[1] < part.shape[1]:
            some = seen
            seen = np.zeros((len(x), part.shape[1]), np.float32)
            seen[:, max(-low, 0) : max(-low, 0) + some.shape[1]] = some
        np.matmul(weight, seen, out=part)
        out[:, start : start + _WINDOW] = part[:, _EDGE : _EDGE + min(_WINDOW, count - start)]
    return out


@cache
def _steady(outputs: int, inputs: int, how: Callable[[F32, F32, F32], F32]) -> bool:
    """Whether the last bits of a product in single precision do not hang on a column's place in it: on some processors they do, and where windows do not help
    either, double precision, rounded, must do."""
    weight = np.sin(np.arange(outputs * inputs, dtype=np.float32) * np.float32(0.7)).reshape(outputs, inputs)
    x = np.repeat(np.cos(np.arange(inputs, dtype=np.float32))[:, None], BLOCK, axis=1)
    made = how(weight, x, np.empty((outputs, BLOCK), np.float32))
    return bool((made == made[:, :1]).all())
