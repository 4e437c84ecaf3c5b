"""Columns as texts, each different one spelled once: to look a text up takes a tenth of the time of spelling it."""

from __future__ import annotations

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ....core.tables import filled, is_there, plain, texts
from .csvs import MOMENT

HUNDREDTHS = 1 << 22
"""Numbers up to this, in hundredths, are few enough to be looked up."""


def told_apart(codes: pl.Series) -> tuple[pl.Series, NDArray]:
    """The different texts of a column of codes without gaps, and which of them each row has."""
    kind = codes.dtype
    if not isinstance(kind, pl.Enum):
        kind = pl.Enum(codes.unique(maintain_order=True))
        codes = codes.cast(kind)
    return kind.categories, plain(codes)


def spelled(at: pl.Series) -> tuple[pl.Series, pl.Series, pl.Series]:
    """Date, moment and time of day of instants without gaps; those that stand together and are the same are spelled once."""
    values = plain(at)
    first = np.append(True, values[1:] != values[:-1])[: len(values)]
    which = np.cumsum(first) - 1
    moment = at.filter(pl.Series(first)).dt.strftime(MOMENT)
    date, time = (texts(words, which) for words in (moment.str.head(10), moment.str.tail(8)))
    return date, texts(moment, which), time


def decimals(numbers: pl.Series) -> pl.Series:
    """Numbers as texts; those of two decimals that are not large are looked up."""
    there = is_there(numbers)
    values = filled(numbers, 0)
    hundredths = np.rint(values * 100)
    if (
        not len(values)
        or not (hundredths / 100 == values).all()
        or np.signbit(values).any()
        or hundredths.max() > HUNDREDTHS
    ):
        return numbers.cast(pl.String)
    which = hundredths.astype(np.int64)
    seen = np.zeros(int(which.max()) + 1, bool)
    seen[which] = True
    words = pl.Series(np.flatnonzero(seen) / 100).cast(pl.String)
    made = texts(words, (np.cumsum(seen) - 1)[which])
    return made if there.all() else made.set(pl.Series(~there), None)
