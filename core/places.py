"""Where rows stand: keys and addresses looked up among others."""

from __future__ import annotations

import numpy as np
import polars as pl
from numpy.typing import NDArray

from .tables import plain


def places(addresses: pl.Series, wanted: NDArray) -> NDArray[np.int64]:
    """Where each wanted address stands among the others, which are all different; -1 where it does not."""
    known = addresses.to_numpy()
    if not len(known):
        return np.full(len(wanted), -1)
    wanted = wanted.astype(known.dtype, copy=False)
    if addresses.is_sorted():
        at = _searched(known, wanted)
    elif len(wanted) * FEW < len(known):
        some, back = np.unique(wanted, return_inverse=True)
        at = _few(known, some)[back]
    else:
        at = _hashed(known, wanted)
    return np.where(known[at] == wanted, at, -1)


FEW = 64
"""Of so many known ones for each that is wanted it costs less to look at all of them once than to lay them out for a search."""


_ODD = np.uint64(0x9E3779B97F4A7C15)


def _hashed(known: NDArray, wanted: NDArray) -> NDArray[np.int64]:
    """Where each wanted number stands among those in no order, if it is there: by a table eight times as long as they are many, which takes a seventh of
    the time of a search. Of those that share a place in it the last one has it; the others are searched for."""
    bits = (8 * len(known)).bit_length()
    table = np.zeros(1 << bits, np.int32)
    table[_slot(known, bits)] = np.arange(len(known), dtype=np.int32)
    at = table[_slot(wanted, bits)].astype(np.int64)
    missed = np.flatnonzero(known[at] != wanted)
    if len(missed):
        order = np.argsort(known)
        at[missed] = order[np.minimum(np.searchsorted(known, wanted[missed], sorter=order), len(known) - 1)]
    return at


def _few(known: NDArray, wanted: NDArray) -> NDArray[np.int64]:
    """The same for few wanted numbers, all different, among many in no order: the few are laid out, and the many pass by once. Who finds his place taken
    goes again."""
    bits = (64 * len(wanted)).bit_length()
    table = np.full(1 << bits, -1, np.int32)
    table[_slot(wanted, bits)] = np.arange(len(wanted), dtype=np.int32)
    near = table[_slot(known, bits)]
    some = np.flatnonzero(near >= 0)
    some = some[wanted[near[some]] == known[some]]
    at = np.zeros(len(wanted), np.int64)
    at[near[some]] = some
    crowded = np.flatnonzero(table[_slot(wanted, bits)] != np.arange(len(wanted)))
    if len(crowded):
        at[crowded] = _few(known, wanted[crowded])
    return at


def _slot(numbers: NDArray, bits: int) -> NDArray:
    return numbers.astype(np.uint64, copy=False) * _ODD >> np.uint64(64 - bits)


def _searched(known: NDArray, wanted: NDArray) -> NDArray[np.int64]:
    """Where each wanted number stands among those in order, if it is there. Numbers that follow each other mostly stand side by side: one search
    for each such run, and one for each number that is not where it should be then."""
    first = np.flatnonzero(np.append(True, wanted[1:] != wanted[:-1] + 1))[: len(wanted)]
    if len(first) * 4 > len(wanted):
        return np.minimum(np.searchsorted(known, wanted), len(known) - 1)
    at = np.repeat(np.searchsorted(known, wanted[first]) - first, np.diff(np.append(first, len(wanted))))
    at += np.arange(len(wanted))
    np.minimum(at, len(known) - 1, out=at)
    off = np.flatnonzero(known[at] != wanted)
    if len(off):
        at[off] = np.minimum(np.searchsorted(known, wanted[off]), len(known) - 1)
    return at


def different(keys: NDArray[np.int64]) -> NDArray[np.int64]:
    """Each once, in order. Keys stand in runs: sorting these takes a hundredth of the time of numpy's table of what it has seen."""
    if (keys[1:] > keys[:-1]).all():
        return keys
    keys = np.sort(keys, kind="stable")
    return keys[np.append(True, keys[1:] != keys[:-1])] if len(keys) else keys


def starts(column: pl.Series) -> NDArray[np.int64]:
    """Where each run of one value begins, in a column without nulls."""
    if not len(column):
        return np.empty(0, np.int64)
    if column.dtype != pl.String:
        values = plain(column)
        return np.flatnonzero(np.append(True, values[1:] != values[:-1]))
    # texts are told apart by where they lie, and looked at only where that changes: the same may lie in two places
    views = column.to_arrow(compat_level=pl.CompatLevel.newest())
    words = np.frombuffer(views.buffers()[1], np.uint64)[2 * views.offset :][: 2 * len(column)]
    moved = words[2:] != words[:-2]
    at = np.flatnonzero(moved.view(np.uint16)) + 1
    if len(at):
        at = at[(column[at] != column[at - 1]).to_numpy()]
    return np.append(0, at)
