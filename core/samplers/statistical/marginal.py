"""One column's distribution as a list of pieces: atoms (a value that many rows share) and stretches between quantiles.

Every type becomes numbers that polars can turn back: integers, dates, instants and truth values whole numbers, text and codes the position
among their categories. Missing values have a share of their own.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ...errors import UserError
from ...stream import F64
from ..rules import Guide

KNOTS = 1_000
"""About how many quantiles stand for a column whose values rarely repeat."""
_LISTED = 2_000
_WHOLE = (pl.Int8, pl.Int16, pl.Int32, pl.Int64, pl.UInt8, pl.UInt16, pl.UInt32, pl.UInt64, pl.Boolean)
_TEMPORAL = (pl.Date, pl.Datetime, pl.Duration, pl.Time)
_TEXT = (pl.String, pl.Enum, pl.Categorical)


@dataclass(frozen=True, eq=False)
class Marginal:
    """The distribution of a column among the rows that have a value, and the share of rows that have none.

    Piece i holds the probability from `edges[i]` to `edges[i + 1]`, and in it the value rises evenly from `left[i]` to `right[i]`: an atom has
    the same on both sides. Pieces stand in the order of their values; those of categories in the order of `categories`.
    """

    name: str
    dtype: Any
    missing: float
    edges: F64
    left: NDArray
    right: NDArray
    categories: tuple[str, ...] | None = None
    decimals: int | None = None

    @property
    def pieces(self) -> int:
        return len(self.left)

    @cached_property
    def _guide(self) -> Guide:
        return Guide(self.edges[None, 1:])

    @cached_property
    def _grid(self) -> int:
        """What all whole numbers are multiples of, counted from the least: a day for dates kept as instants, 100 for round sums."""
        if float(self.right[-1]) - float(self.left[0]) > 2.0**62:
            return 1
        return max(int(np.gcd.reduce(np.concatenate((self.left, self.right)) - self.left[0])), 1)

    @cached_property
    def _texts(self) -> pl.Series:
        return pl.Series(self.name, self.categories or (), dtype=pl.String).cast(self.dtype)

    def quantile(self, u: F64, present: NDArray[np.bool_] | None = None) -> pl.Series:
        """The values at uniforms in (0, 1), in the column's own type; null where not `present`."""
        if not self.pieces:
            return pl.Series(self.name, [None], dtype=self.dtype).new_from_index(0, len(u))
        piece = self._guide.choose(u)
        low = self.edges[piece]
        width = self.edges[piece + 1] - low
        share = np.divide(u - low, width, out=np.zeros(len(u)), where=width > 0)
        return self.values(piece, share, present)

    def values(self, piece: NDArray, share: F64, present: NDArray[np.bool_] | None = None) -> pl.Series:
        """The values that lie `share` (0 to 1) into their pieces, in the column's own type; null where not `present`."""
        if not self.pieces:
            return pl.Series(self.name, [None], dtype=self.dtype).new_from_index(0, len(piece))
        if self.categories is not None:
            values = self._texts.gather(pl.Series(piece.astype(np.uint32)))
        elif self.atoms.all():
            values = self._typed(self.left[piece])
        else:
            values = self._typed(self._between(piece, np.clip(share, 0.0, 1.0)))
        if present is not None and not present.all():
            values = pl.select(pl.when(pl.Series(present)).then(values)).to_series()
        return values.alias(self.name)

    def nearest(self, x: F64, present: NDArray[np.bool_]) -> pl.Series:
        """The values nearest to numbers that the column's kind of number can have, within its range; null where not `present`."""
        low, high = self.left[0], self.right[-1]
        if self.left.dtype.kind == "i":
            steps = np.round((np.clip(x, float(low), float(high)) - float(low)) / self._grid).astype(np.int64)
            values: NDArray = np.clip(low + steps * self._grid, low, high)
        else:
            values = np.clip(x, low, high)
            values = values if self.decimals is None else np.round(values, self.decimals)
        series = self._typed(values)
        if not present.all():
            series = pl.select(pl.when(pl.Series(present)).then(series)).to_series()
        return series.alias(self.name)

    def locate(self, values: pl.Series) -> tuple[NDArray[np.int64], F64, NDArray[np.bool_]]:
        """For each value its piece, how far into the piece it lies (0 to 1), and whether the piece is known.

        A number outside what was seen belongs to the nearest piece. Not known are nulls and categories that were never seen.
        """
        if not self.pieces:
            return np.zeros(len(values), np.int64), np.zeros(len(values)), np.zeros(len(values), bool)
        if self.categories is not None:
            text = values.cast(pl.String)
            found = text.replace_strict(
                pl.Series(self.categories, dtype=pl.String),
                np.arange(len(self.categories)),
                default=None,
                return_dtype=pl.Int64,
            )
            known = found.is_not_null().to_numpy()
            return found.fill_null(0).to_numpy(), np.full(len(values), 0.5), known
        x, known = numbers(values, self.dtype)
        piece = np.minimum(np.searchsorted(self.right, x, side="left"), self.pieces - 1)
        before = np.maximum(piece - 1, 0)
        with np.errstate(invalid="ignore", over="ignore"):
            nearer = (self.left[piece] > x) & (x - self.right[before] < self.left[piece] - x)
            piece = np.where(nearer, before, piece)
            width = self.right[piece].astype(np.float64) - self.left[piece]
            share = np.divide(x.astype(np.float64) - self.left[piece], width, out=np.full(len(x), 0.5), where=width > 0)
        return piece, np.clip(share, 0.0, 1.0), known

    @property
    def atoms(self) -> NDArray[np.bool_]:
        """Which pieces are a single value."""
        return self.left == self.right

    def _between(self, piece: NDArray, share: F64) -> NDArray:
        left, right = self.left[piece], self.right[piece]
        if self.left.dtype.kind == "i":
            step = share * (right.astype(np.float64) - left)
            return left + np.round(step / self._grid).astype(np.int64) * self._grid
        with np.errstate(invalid="ignore"):
            values = np.clip((1.0 - share) * left + share * right, left, right)
        values = np.where(left == right, left, values)
        return values if self.decimals is None else np.round(values, self.decimals)

    def _typed(self, values: NDArray) -> pl.Series:
        series = pl.Series(self.name, values)
        if self.dtype == pl.Boolean:
            return series != 0
        if self.dtype == pl.Date:
            return series.cast(pl.Int32).cast(pl.Date)
        return series.cast(self.dtype)

    def ordered(self, order: NDArray[np.int64]) -> Marginal:
        """The same distribution with its categories in another order: `order` lists their present positions."""
        shares = np.diff(self.edges)[order]
        edges = np.append(0.0, np.cumsum(shares))
        names = tuple(self.categories[i] for i in order) if self.categories else None
        return replace(self, categories=names, edges=edges / edges[-1])

    def state(self) -> tuple[dict[str, Any], dict[str, NDArray]]:
        """The marginal as plain data and arrays."""
        plain = {
            "name": self.name,
            "dtype": dtype_text(self.dtype),
            "levels": self.dtype.categories.to_list() if isinstance(self.dtype, pl.Enum) else None,
            "missing": self.missing,
            "categories": list(self.categories) if self.categories is not None else None,
            "decimals": self.decimals,
        }
        return plain, {"edges": self.edges, "left": self.left, "right": self.right}

    @staticmethod
    def rebuilt(plain: Mapping[str, Any], arrays: Mapping[str, NDArray]) -> Marginal:
        """The inverse of `state`. Raises ValueError for anything that no column can have been."""
        edges, left, right = (np.array(arrays[k]) for k in ("edges", "left", "right"))
        categories = None if plain["categories"] is None else tuple(map(str, plain["categories"]))
        dtype = dtype_of(plain["dtype"], plain["levels"])
        decimals = plain["decimals"]
        sound = (
            edges.ndim == left.ndim == right.ndim == 1
            and len(left) == len(right) == max(len(edges) - 1, 0)
            and edges.dtype == np.float64
            and left.dtype == right.dtype
            and left.dtype == (np.float64 if dtype.is_float() or dtype.is_decimal() else np.int64)
            and 0.0 <= plain["missing"] <= 1.0
            and (decimals is None or (isinstance(decimals, int) and 0 <= decimals <= 20))
        )
        if sound and len(left):
            sound = bool(
                edges[0] == 0.0
                and edges[-1] == 1.0
                and (np.diff(edges) >= 0).all()
                and (categories is None or len(set(categories)) == len(categories) == len(left))
                and not np.isnan(left).any()
                and not np.isnan(right).any()
                and (np.less_equal(left, right).all())
                and (categories is not None) == isinstance(dtype, _TEXT)
            )
        if not sound:
            raise ValueError(f"column '{plain['name']}' is not a distribution")
        rebuilt = Marginal(str(plain["name"]), dtype, float(plain["missing"]), edges, left, right, categories, decimals)
        if categories is None:
            rebuilt._typed(left)
            rebuilt._typed(right)
        else:
            _ = rebuilt._texts
        return rebuilt


def fit_marginal(values: pl.Series) -> Marginal:
    """Learn a column: any type that polars has, except nested ones and raw bytes. NaN counts as missing; infinities are atoms.

    Categories come out with the most frequent first.
    """
    name, dtype = values.name, values.dtype
    if isinstance(dtype, _TEXT):
        words = values.drop_nulls().cast(pl.String).alias("value")
        counts = words.value_counts(name="n").sort(["n", "value"], descending=[True, False])
        texts = tuple(counts["value"])
        if isinstance(dtype, pl.Categorical):
            dtype = pl.Categorical()
        codes = np.arange(len(texts))
        missing = values.null_count() / len(values)
        return Marginal(name, dtype, missing, _edges(counts["n"].to_numpy()), codes, codes, texts)
    x, known = numbers(values, dtype)
    x = x[known]
    missing = 1.0 - len(x) / len(values)
    if not len(x):
        return Marginal(name, dtype, 1.0, np.empty(0), x, x)
    v, c = np.unique(x, return_counts=True)
    n = len(x)
    if len(v) <= 20 or (len(v) <= _LISTED and n >= 3 * len(v)):
        return Marginal(name, dtype, missing, _edges(c), v, v, None, _decimals(v))
    return Marginal(name, dtype, missing, *_stretches(v, c), None, _decimals(v))


def _stretches(v: NDArray, c: NDArray) -> tuple[F64, NDArray, NDArray]:
    """Edges, left and right ends: the frequent values as atoms, the others as stretches between quantiles, closer together in the tails."""
    n, cumulative = c.sum(), np.cumsum(c)
    atom = (c >= max(3, n / KNOTS)) | ~np.isfinite(v)
    first = ~atom & np.concatenate(([True], atom[:-1]))
    last = ~atom & np.concatenate((atom[1:], [True]))
    rank = cumulative - c
    level = (rank * KNOTS // n, np.floor(2 * np.log2(rank + 1)), np.floor(2 * np.log2(n - rank)))
    changed = np.concatenate(([True], np.any([np.diff(k) != 0 for k in level], axis=0)))
    knot = first | last | (~atom & changed)
    alone = atom | (first & last)
    at = np.flatnonzero(knot & ~(first & last))
    start, end = at[:-1], at[1:]
    joined = ~last[start]
    start, end = start[joined], end[joined]
    single = np.flatnonzero(alone)
    low = np.concatenate((rank[single], np.where(first[start], rank[start], cumulative[start])))
    left, right = np.concatenate((v[single], v[start])), np.concatenate((v[single], v[end]))
    order = np.argsort(low, kind="stable")
    edges = np.append(low[order], n) / n
    return edges, left[order], right[order]


def _edges(counts: NDArray) -> F64:
    return np.append(0, np.cumsum(counts)) / counts.sum() if len(counts) else np.empty(0)


def _decimals(v: NDArray) -> int | None:
    """How many decimals the values have, where that is at most 6."""
    if v.dtype.kind == "i":
        return None
    finite = v[np.isfinite(v)]
    with np.errstate(over="ignore"):
        return next((d for d in range(7) if np.array_equal(np.round(finite, d), finite)), None)


def numbers(values: pl.Series, dtype: Any) -> tuple[NDArray, NDArray[np.bool_]]:
    """A column as int64 or float64, by its type when it was fitted, and which rows have a value. Raises UserError where it cannot be one."""
    if isinstance(dtype, pl.Null):
        return np.zeros(len(values), np.int64), np.zeros(len(values), bool)
    try:
        if isinstance(dtype, (*_WHOLE, *_TEMPORAL)):
            if isinstance(dtype, _TEMPORAL):
                values = values.cast(dtype).to_physical()
            if values.dtype.is_float():
                values = values.fill_nan(None).round()
            whole = values.cast(pl.Int64)
            return whole.fill_null(0).to_numpy(), whole.is_not_null().to_numpy()
        if dtype.is_numeric():
            x = values.cast(pl.Float64).fill_nan(None)
            return x.fill_null(0.0).to_numpy(), x.is_not_null().to_numpy()
    except pl.exceptions.PolarsError as error:
        reason = str(error).splitlines()[0]
        raise UserError(f"column '{values.name}': a value of type {values.dtype} does not fit: {reason}") from None
    raise UserError(
        f"column '{values.name}' has type {dtype}, which no model can learn: expected numbers, text, dates or truth values"
    )


_PLAIN = {str(t()): t() for t in (*_WHOLE, pl.Float32, pl.Float64, pl.String, pl.Date, pl.Time, pl.Null)}


def dtype_text(dtype: Any) -> str:
    """A column type as text."""
    if isinstance(dtype, pl.Datetime):
        return f"Datetime({dtype.time_unit},{dtype.time_zone or ''})"
    if isinstance(dtype, pl.Duration):
        return f"Duration({dtype.time_unit})"
    if isinstance(dtype, pl.Decimal):
        return f"Decimal({dtype.precision},{dtype.scale})"
    return "Enum" if isinstance(dtype, pl.Enum) else "Categorical" if isinstance(dtype, pl.Categorical) else str(dtype)


def dtype_of(text: str, levels: Sequence[str] | None = None) -> Any:
    """The inverse of `dtype_text`; an Enum has `levels`. Raises ValueError if there is no such type."""
    if text in _PLAIN:
        return _PLAIN[text]
    if text == "Enum":
        return pl.Enum(levels or ())
    if text == "Categorical":
        return pl.Categorical()
    if found := re.fullmatch(r"Datetime\((ms|us|ns),([\w/+-]*)\)", text):
        zone = ZoneInfo(found[2]).key if found[2] else None
        return pl.Datetime(found[1], zone)  # type: ignore[arg-type]
    if found := re.fullmatch(r"Duration\((ms|us|ns)\)", text):
        return pl.Duration(found[1])  # type: ignore[arg-type]
    if found := re.fullmatch(r"Decimal\((\d{1,2}),(\d{1,2})\)", text):
        return pl.Decimal(int(found[1]), int(found[2]))
    raise ValueError(f"unknown column type '{text}'")
