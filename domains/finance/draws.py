"""Ways to turn addressed randomness into columns that are fast enough for the payment tables.

A 64-bit word holds four 16-bit lanes, each good for one choice among weights in steps of 1/65,536.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import lru_cache

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ...core.stream import F64, U64
from ...core.tables import coded, gapped

LANES = 1 << 16
FEW = 16


def lane(words: U64, n: int) -> NDArray[np.uint16]:
    """The n-th 16-bit lane (0 to 3) of each word."""
    return words.view(np.uint16)[n::4]


def table_of(weights: Iterable[float]) -> NDArray[np.uint8]:
    """For each lane value the index of the choice it stands for; weights that sum to less than one leave the rest to the last."""
    return _table(tuple(weights))


@lru_cache(256)
def _table(weights: tuple[float, ...]) -> NDArray[np.uint8]:
    cum = np.cumsum(np.asarray(weights, float))
    at = (np.arange(LANES) + 0.5) / LANES
    found = np.minimum(np.searchsorted(cum, at), len(cum) - 1).astype(np.uint8)
    found.flags.writeable = False
    return found


def below(share: float | F64) -> NDArray[np.int64]:
    """The lane values below this are a `share` of all."""
    return np.round(np.asarray(share) * LANES).astype(np.int64)


def choose(u: F64, weights: Iterable[float]) -> NDArray[np.int64]:
    """The index of a choice for each uniform; weights need not be normalised."""
    cum = np.cumsum(np.asarray(list(weights), float))
    return np.minimum(np.searchsorted(cum / cum[-1], u, side="right"), len(cum) - 1)


def poisson(u: F64, mean: F64) -> NDArray[np.int64]:
    """Poisson counts by inversion."""
    mean = np.asarray(mean, float)
    small = mean <= FEW
    counts = np.zeros(len(u), np.int64)
    here = np.flatnonzero(small & (mean > 0))
    # few events: the probabilities are added up, all customers at once
    left, chance, k = u[here], np.exp(-mean[here]), 0
    left = left - chance
    while len(here) and k < 20 * FEW:
        more = left > 0
        here, left, chance = here[more], left[more], chance[more]
        k += 1
        chance = chance * mean[here] / k
        counts[here] = k
        left = left - chance
    large = np.flatnonzero(~small)
    if len(large):
        from scipy.special import pdtrik

        counts[large] = np.nan_to_num(np.ceil(pdtrik(u[large], mean[large]))).astype(np.int64)
    return counts


def enum(codes: NDArray, categories: Iterable[str], where: NDArray[np.bool_] | None = None) -> pl.Series:
    """An Enum column from category numbers; null where `where` is false."""
    return coded(codes, _kind(tuple(categories)), where)


@lru_cache(256)
def _kind(categories: tuple[str, ...]) -> pl.Enum:
    return pl.Enum(categories)


def keep(values: pl.Series | NDArray, where: NDArray[np.bool_]) -> pl.Series:
    """The values where `where` is true, else null."""
    if isinstance(values, np.ndarray) and values.dtype.kind in "iuf":
        return gapped(values, where)
    return pl.select(pl.when(pl.Series(where)).then(pl.Series(values))).to_series()


def among(codes: pl.Series, wanted: Sequence[str]) -> NDArray[np.bool_]:
    """Whether each code is one of these; false where there is none."""
    those = np.array([name in wanted for name in codes.dtype.categories] + [False])  # type: ignore[attr-defined]
    return those[codes.to_physical().cast(pl.Int64).fill_null(-1).to_numpy()]


Leg = tuple[NDArray[np.bool_], NDArray, NDArray, NDArray, int]
"""Which payments move which accounts, by how much, when, and why: four arrays of all payments, and one reason."""


def moves(legs: Sequence[Leg], room: int = 0) -> tuple[NDArray, NDArray, NDArray, NDArray, NDArray[np.int8]]:
    """Every move of an account: the account, the place of its payment, the change, when, and why; one leg after the other, and at the end `room`
    for as many moves that the caller fills in."""
    places = [np.flatnonzero(such) for such, *_ in legs]
    ends = np.cumsum([len(place) for place in places])
    holder, source, change, at = (np.empty(ends[-1] + room, np.int64) for _ in range(4))
    kind = np.empty(ends[-1] + room, np.int8)
    for place, end, (_, who, much, when, why) in zip(places, ends, legs, strict=True):
        here = slice(end - len(place), end)
        source[here], kind[here] = place, why
        for column, values in ((holder, who), (change, much), (at, when)):
            np.take(values, place, out=column[here], mode="clip")
    return holder, source, change, at, kind


def siblings(counts: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """For children laid out parent by parent: the parent's position, and the child's number from 0."""
    parent = np.repeat(np.arange(len(counts)), counts)
    first = np.cumsum(counts) - counts
    return parent, np.arange(len(parent)) - np.repeat(first, counts)
