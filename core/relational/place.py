"""Which row is named: the nearest to what a child's model asks for, among those that have room for a child more."""

from __future__ import annotations

import numpy as np
import polars as pl

from ..stream import F64, Stream
from ..tables import Table
from .shape import I64

NEAREST = 16
_ONE_HOT = 12


def points(wanted: Table, offered: Table, stream: Stream) -> tuple[F64, F64]:
    """Both tables as points, shape (rows, coordinates): numbers by their rank among what is offered, categories apart from one another, and a little
    noise so that equals are not always taken in one order."""
    columns: list[tuple[F64, F64]] = []
    for name in offered.columns:
        a, b = wanted[name], offered[name]
        if b.dtype.is_numeric() or b.dtype.is_temporal() or b.dtype == pl.Boolean:
            x, y = (s.to_physical().cast(pl.Float64).to_numpy() for s in (a, b))
            ranked = np.sort(y[np.isfinite(y)])
            columns.append(tuple(_rank(ranked, v) for v in (x, y)))  # type: ignore[arg-type]
            continue
        texts = b.cast(pl.String)
        known = texts.drop_nulls().unique().sort()
        codes = [s.cast(pl.String).replace_strict(known, np.arange(len(known)), default=-1, return_dtype=pl.Int64).to_numpy() for s in (a, texts)]  # fmt: skip
        if len(known) <= _ONE_HOT:
            columns += [tuple((c == k) * np.sqrt(0.5) for c in codes) for k in range(len(known))]  # type: ignore[misc]
        else:
            # so many categories stand at random places of the plane
            for axis in range(2):
                at = np.append(stream.child("place", name, axis).uniform(np.arange(len(known))), -0.5)
                columns.append((at[codes[0]], at[codes[1]]))
    noise = [stream.child("noise", k) for k in (0, 1)]
    columns.append((1e-3 * noise[0].uniform(np.arange(len(wanted))), 1e-3 * noise[1].uniform(np.arange(len(offered)))))
    return np.stack([c[0] for c in columns], axis=1), np.stack([c[1] for c in columns], axis=1)


def _rank(ranked: F64, x: F64) -> F64:
    if not len(ranked):
        return np.full(len(x), -0.5)
    middle = (np.searchsorted(ranked, x, side="left") + np.searchsorted(ranked, x, side="right")) / (2 * len(ranked))
    return np.where(np.isfinite(x), middle, -0.5)


def match(wanted: F64, offered: F64, room: I64, strict: bool, stream: Stream) -> I64:
    """For each wanted point the place of an offered one, near to it; takes from `room`. Beyond the room, points share the nearest; if `strict`, they get -1."""
    from scipy.spatial import KDTree

    found = np.full(len(wanted), -1)
    if not len(wanted) or not len(offered):
        return found
    open_ = np.flatnonzero(room > 0)
    if len(open_):
        near = min(NEAREST, len(open_))
        distance, index = KDTree(offered[open_]).query(wanted, near)
        distance, index = distance.reshape(len(wanted), near), open_[index.reshape(len(wanted), near)]
        waiting = np.arange(len(wanted))
        for k in range(near):
            if not len(waiting):
                break
            asked = index[waiting, k]
            order = np.lexsort((distance[waiting, k], asked))
            first = np.concatenate(([True], np.diff(asked[order]) != 0))
            rank = np.arange(len(order)) - np.maximum.accumulate(np.where(first, np.arange(len(order)), 0))
            taken = order[rank < room[asked[order]]]
            found[waiting[taken]] = asked[taken]
            np.subtract.at(room, asked[taken], 1)
            waiting = np.setdiff1d(waiting, waiting[taken], assume_unique=True)
        if len(waiting):
            left = np.repeat(np.arange(len(room)), np.maximum(room, 0))
            left = left[np.argsort(stream.child("left").bits(np.arange(len(left))), kind="stable")][: len(waiting)]
            found[waiting[: len(left)]] = left
            np.subtract.at(room, left, 1)
    rest = np.flatnonzero(found < 0)
    if len(rest) and not strict:
        found[rest] = KDTree(offered).query(wanted[rest])[1]
    return found


def rooms(counts: I64, demand: int, unique: bool, stream: Stream) -> I64:
    """How many children each row offered still takes, about `demand` in all, in proportion to what its own model says."""
    counts = np.maximum(counts, 0)
    u = stream.uniform(np.arange(len(counts)))
    if unique:
        # those that would have one first, then others
        room = np.zeros(len(counts), np.int64)
        room[np.lexsort((u, -counts))[:demand]] = 1
        return room
    if not counts.sum():
        counts = np.ones(len(counts), np.int64)
    return np.floor(counts * (demand / max(counts.sum(), 1)) + u).astype(np.int64)
