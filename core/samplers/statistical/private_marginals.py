"""Columns of a private table as distributions: ends and categories as the user gives them or bought, shares from noisy counts."""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from ...errors import UserError, unknown
from ...privacy.private_table import PrivateTable, sigma
from ...stream import F64
from .marginal import _TEXT, Marginal, numbers

CELLS = 512
"""Cells of a number's range at most; a range of fewer whole numbers has one for each."""
JOINED = 4.0
"""Neighbouring cells are joined until they hold so many standard deviations of noise."""
_POWERS = 62


@dataclass(frozen=True)
class Extent:
    """What a column may hold, from what is public: the ends of its numbers (dates as text), or its values. Values beyond the ends count as the
    ends; a value that is not listed counts as missing."""

    min: Any = None
    max: Any = None
    values: tuple[str, ...] | None = None
    decimals: int | None = None


def read_extents(path: Path) -> dict[str, Extent]:
    """Read a TOML file with a table for each column: `min` and `max`, or `values`; and `decimals`. Raises UserError for what is none."""
    try:
        raw = tomllib.loads(path.read_text())
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise UserError(f"domain {path}: cannot be read: {error}") from None
    return as_extents(raw, f"domain {path}")


def as_extents(raw: Any, place: str = "domain") -> dict[str, Extent]:
    """The same from a mapping, or from a file's path."""
    if isinstance(raw, (str, os.PathLike)):
        return read_extents(Path(raw))
    found = {}
    for column, entry in raw.items():
        if not isinstance(entry, Mapping):
            raise UserError(f"{place}: '{column}' is not a table of min and max, or values")
        for key in entry:
            if key not in ("min", "max", "values", "decimals"):
                raise unknown("key", key, ("min", "max", "values", "decimals"), f"{place}: {column}")
        values = entry.get("values")
        if values is not None and not (isinstance(values, (list, tuple)) and values):
            raise UserError(f"{place}: {column}: values is {values!r}, expected a list")
        held = None if values is None else tuple(dict.fromkeys(str(v) for v in values))
        found[column] = Extent(entry.get("min"), entry.get("max"), held, entry.get("decimals"))
    return found


def buy_marginals(
    private: PrivateTable, extents: Mapping[str, Extent], rho: float, search: float
) -> tuple[tuple[Marginal, ...], float]:
    """Each column's distribution, for `rho` in all; the ends or values of columns without an extent for `search` in all. And about how many
    rows there are, at least one.

    Raises UserError for an extent of a column that the table does not have, or that does not fit its type.
    """
    for column in extents:
        if column not in private.schema:
            raise unknown("column", column, private.schema, "domain")
    unsaid = [c for c in private.schema if not _said(extents.get(c))]
    texts = [c for c in unsaid if isinstance(private.schema[c], _TEXT)]
    each = rho / len(private.schema)
    made, totals = [], []
    for column, dtype in private.schema.items():
        extent = extents.get(column, Extent())
        if dtype == pl.Null:
            # its type alone says that it is empty
            made.append(Marginal(column, dtype, 1.0, np.empty(0), np.empty(0, np.int64), np.empty(0, np.int64)))
            continue
        if isinstance(dtype, _TEXT):
            values = extent.values
            if values is None and isinstance(dtype, pl.Enum):
                values = tuple(dtype.categories)
            if values is None:
                delta = private.budget.delta / 2 / len(texts)
                values = tuple(private.values(f"values of {column}", column, search / len(unsaid), delta))
            marginal, total = _categories(private, column, dtype, values, each)
        else:
            low, high = _ends(private, column, dtype, extent, search / max(len(unsaid), 1))
            marginal, total = _number(private, column, dtype, low, high, extent.decimals, each)
        made.append(marginal)
        totals.append(total)
    return tuple(made), max(float(np.mean(totals or [1.0])), 1.0)


def _said(extent: Extent | None) -> bool:
    return extent is not None and (extent.values is not None or (extent.min is not None and extent.max is not None))


def _categories(
    private: PrivateTable, column: str, dtype: Any, values: tuple[str, ...], rho: float
) -> tuple[Marginal, float]:
    bare = Marginal(column, dtype, 1.0, np.empty(0), np.empty(0, np.int64), np.empty(0, np.int64), ())
    if values:
        even = np.linspace(0.0, 1.0, len(values) + 1)
        bare = Marginal(column, dtype, 0.0, even, np.arange(len(values)), np.arange(len(values)), values)
    counts = _counted(private, bare, rho)
    if not values:
        return bare, counts.sum()
    missing, shares = _shares(counts, sigma(rho))
    edges = np.append(0.0, np.cumsum(shares))
    return Marginal(column, dtype, missing, edges / edges[-1], bare.left, bare.right, values), counts.sum()


def _number(
    private: PrivateTable, column: str, dtype: Any, low: Any, high: Any, decimals: int | None, rho: float
) -> tuple[Marginal, float]:
    left, right = _cells(low, high, whole=not (dtype.is_float() or dtype.is_decimal()))
    even = np.linspace(0.0, 1.0, len(left) + 1)
    grid = Marginal(column, dtype, 0.0, even, left, right, None, decimals)
    counts = _counted(private, grid, rho)
    missing, _ = _shares(counts, sigma(rho))
    # yes and no joined would say nothing
    at = np.arange(len(left)) if dtype == pl.Boolean else _joined(counts[1:], JOINED * sigma(rho))
    joined = np.add.reduceat(counts[1:], at)
    shares = norm_sub(joined, max(counts[1:].sum(), 1.0))
    edges = np.append(0.0, np.cumsum(shares))
    last = np.append(at[1:], len(left)) - 1
    return Marginal(column, dtype, missing, edges / edges[-1], left[at], right[last], None, decimals), counts.sum()


def _counted(private: PrivateTable, grid: Marginal, rho: float) -> F64:
    """Noisy counts of what is missing and of each piece."""

    def encode(values: pl.Series) -> Any:
        if grid.categories is None and values.dtype.is_float():
            values = values.fill_nan(None)
        piece, _, known = grid.locate(values)
        return np.where(known, piece + 1, 0)

    private.encode(grid.name, encode)
    return private.counts(f"counts of {grid.name}", [grid.name], [grid.pieces + 1], rho)


def _shares(counts: F64, deviation: float) -> tuple[float, F64]:
    """The share that is missing, none if noise alone may have made it, and the shares of the pieces among the others."""
    counts = np.append(counts[0] if counts[0] > 3 * deviation else 0.0, counts[1:])
    whole = norm_sub(counts, max(counts.sum(), 1.0))
    whole /= whole.sum()
    whole[0] *= counts[0] > 0
    there = whole[1:]
    if there.sum() <= 0:
        there = np.ones(len(there))
    return float(whole[0]), there / there.sum()


def norm_sub(counts: F64, total: float) -> F64:
    """The nearest counts that are not negative and add up to `total` (Wang et al. 2020, NDSS, arXiv:1905.08320: Norm-Sub)."""
    falling = np.sort(counts)[::-1]
    excess = (np.cumsum(falling) - total) / np.arange(1, len(counts) + 1)
    last = int(np.flatnonzero(falling > excess)[-1])
    return np.maximum(counts - excess[last], 0.0)


def _joined(counts: F64, least: float) -> Any:
    """Where groups of neighbouring cells begin: each cell with at least `least` rows alone, the others together until they have so many."""
    starts, held = [0], counts[0]
    for k in range(1, len(counts)):
        if held >= least or counts[k] >= least:
            starts.append(k)
            held = 0.0
        held += counts[k]
    return np.array(starts)


def _cells(low: Any, high: Any, whole: bool) -> tuple[Any, Any]:
    """The left and right ends of the cells of a range; zero, where many values of many columns are, is a cell of its own."""
    if whole and int(high) - int(low) < CELLS:
        each = np.arange(int(low), int(high) + 1)
        return each, each
    ends = np.linspace(float(low), float(high), CELLS + 1)
    if whole:
        ends = np.unique(np.round(ends)).astype(np.int64)
    left, right = ends[:-1].copy(), ends[1:].copy()
    if whole:
        right[:-1] -= 1
    if low <= 0 <= high:
        one: Any = 1 if whole else np.nextafter(0.0, 1.0)
        at = int(np.clip(np.searchsorted(left, 0, side="right") - 1, 0, len(left) - 1))
        before = [(left[at], -one)] if left[at] < 0 else []
        after = [(one, right[at])] if right[at] > 0 else []
        parts = [*before, (0, 0), *after]
        left = np.concatenate((left[:at], np.array([p[0] for p in parts], left.dtype), left[at + 1 :]))
        right = np.concatenate((right[:at], np.array([p[1] for p in parts], right.dtype), right[at + 1 :]))
    return left, right


def _ends(private: PrivateTable, column: str, dtype: Any, extent: Extent, rho: float) -> tuple[Any, Any]:
    """The ends of a number's range: as said, or the powers of two between which noisy counts find rows."""
    if dtype == pl.Boolean:
        return 0, 1
    if _said(extent):
        ends, known = numbers(_as_ends(column, extent, dtype), dtype)
        if not known.all() or not np.isfinite(ends.astype(float)).all() or ends[0] > ends[1]:
            raise UserError(f"domain of {column}: min {extent.min} and max {extent.max} are not the ends of a range")
        return ends[0], ends[1]
    whole = not (dtype.is_float() or dtype.is_decimal())
    low = 0 if whole else -20

    def encode(values: pl.Series) -> Any:
        x, known = numbers(values, dtype)
        x = x.astype(np.float64)
        usable = known & np.isfinite(x)
        with np.errstate(divide="ignore"):
            power = np.clip(np.floor(np.log2(np.abs(np.where(usable, x, 1.0)))), low, _POWERS - 1) - low
        place = np.where(x == 0, 0, np.sign(x) * (power + 1)) + (_POWERS - low)
        return np.where(usable, place + 1, 0).astype(np.int64)

    size = 2 * (_POWERS - low) + 2
    private.encode(column, encode)
    counts = private.counts(f"ends of {column}", [column], [size], rho)[1:]
    # noise passes this in one of a thousand tables
    found = np.flatnonzero(counts > sigma(rho) * np.sqrt(2 * np.log(1_000 * size)))
    if not len(found):
        return (0, 1) if whole else (0.0, 1.0)
    place = found[[0, -1]] - (_POWERS - low)
    ends = [_power_ends(int(k), low) for k in place]
    return (int(ends[0][0]), int(ends[1][1])) if whole else (ends[0][0], ends[1][1])


def _power_ends(place: int, low: int) -> tuple[float, float]:
    if not place:
        return 0.0, 0.0
    near, far = 2.0 ** (abs(place) - 1 + low), 2.0 ** (abs(place) + low)
    return (near, far) if place > 0 else (-far, -near)


def _as_ends(column: str, extent: Extent, dtype: Any) -> pl.Series:
    try:
        series = pl.Series(column, [extent.min, extent.max])
        if series.dtype == pl.String:
            series = series.str.to_date() if dtype == pl.Date else series.str.to_datetime()
        return series.cast(dtype)
    except pl.exceptions.PolarsError as error:
        raise UserError(
            f"domain of {column}: min {extent.min} and max {extent.max} are not of type {dtype}: {error}"
        ) from None
