"""Rules: samplers that say in one line how a column is drawn, and the vectorised functions behind them.

Each column draws from `stream.child(column)`, one uniform per row through an inverse distribution function, so a value depends on its
own row's address only, and two rules with the same stream and nearby parameters give nearby values.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import ArrayLike, NDArray

from ..domain import Window
from ..errors import UserError, unknown
from ..stream import F64, Stream
from ..tables import Table, rows
from .distributions import DISTRIBUTIONS
from .rhythm import Rhythm

_CHUNK = 1 << 14
_CELLS_PER_CATEGORY = 16
_EXACT_RANKS = 1 << 16


@dataclass(frozen=True)
class Constant:
    """The same value for each row."""

    column: str
    value: Any

    @property
    def columns(self) -> tuple[str, ...]:
        return (self.column,)

    def sample(self, given: Table, stream: Stream) -> Table:
        return pl.select(pl.repeat(self.value, given.height).alias(self.column))


@dataclass(frozen=True)
class Choice:
    """One of `values`, with the given weights (equal without). `dtype` fixes the column's type, for instance `pl.Enum(values)`."""

    column: str
    values: Sequence[Any]
    weights: Sequence[float] | None = None
    dtype: Any = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "values", tuple(self.values))
        weights = (1.0,) * len(self.values) if self.weights is None else tuple(self.weights)
        object.__setattr__(self, "weights", weights)
        if len(weights) != len(self.values):
            raise UserError(f"Choice {self.column}: {len(self.values)} values but {len(weights)} weights")
        _ = self._guide

    @property
    def columns(self) -> tuple[str, ...]:
        return (self.column,)

    @cached_property
    def _guide(self) -> Guide:
        return Guide.of([self.weights or ()], f"Choice {self.column}")

    def sample(self, given: Table, stream: Stream) -> Table:
        chosen = self._guide.choose(stream.child(self.column).uniform(rows(given)))
        return pl.Series(self.column, self.values, dtype=self.dtype).gather(chosen).to_frame()


@dataclass(frozen=True)
class ChoiceBy:
    """One of some values, with weights that depend on another column: `table` maps each of its values to {value: weight}.

    A value of `by` (or a null) that `table` does not list is an error, unless `table` has an entry under None.
    """

    column: str
    by: str
    table: Mapping[Any, Mapping[Any, float]]
    dtype: Any = None

    def __post_init__(self) -> None:
        if not self.table:
            raise UserError(f"ChoiceBy {self.column}: no weights given")
        _ = self._guide

    @property
    def columns(self) -> tuple[str, ...]:
        return (self.column,)

    @cached_property
    def _values(self) -> list[Any]:
        return list(dict.fromkeys(value for weights in self.table.values() for value in weights))

    @cached_property
    def _guide(self) -> Guide:
        return Guide.of(
            [[w.get(v, 0.0) for v in self._values] for w in self.table.values()],
            f"ChoiceBy {self.column} by {self.by}",
        )

    def sample(self, given: Table, stream: Stream) -> Table:
        group = groups(given, self.by, list(self.table), f"ChoiceBy {self.column}")
        chosen = self._guide.choose(stream.child(self.column).uniform(rows(given)), group)
        return pl.Series(self.column, self._values, dtype=self.dtype).gather(chosen).to_frame()


@dataclass(frozen=True, init=False)
class Draw:
    """A number from a distribution, by inversion: `Draw("amount", "lognormal", mu="mu", sigma=0.8)`.

    A parameter is a number or the name of a column of `given`; where that column is null, so is the draw. The distributions and their
    parameters are listed in `distributions.DISTRIBUTIONS`.
    """

    column: str
    distribution: str
    params: tuple[tuple[str, float | str], ...]

    def __init__(self, column: str, distribution: str, **params: float | str) -> None:
        place = f"Draw {column}"
        if distribution not in DISTRIBUTIONS:
            raise unknown("distribution", distribution, DISTRIBUTIONS, place)
        law = DISTRIBUTIONS[distribution]
        for name in params:
            if name not in law.params:
                raise unknown(f"parameter of {distribution}", name, law.params, place)
        full = {name: params.get(name, default) for name, default in law.params.items()}
        for name, value in full.items():
            if value is None:
                raise UserError(f"{place}: {distribution} needs the parameter '{name}'")
        numbers = {n: np.float64(v) for n, v in full.items() if not isinstance(v, str)}
        law.check(numbers, place)
        object.__setattr__(self, "column", column)
        object.__setattr__(self, "distribution", distribution)
        object.__setattr__(self, "params", tuple(full.items()))

    @property
    def columns(self) -> tuple[str, ...]:
        return (self.column,)

    def sample(self, given: Table, stream: Stream) -> Table:
        law, place = DISTRIBUTIONS[self.distribution], f"Draw {self.column}"
        u = stream.child(self.column).uniform(rows(given))
        full: dict[str, Any] = {}
        absent = np.zeros(len(u), bool)
        for name, value in self.params:
            if isinstance(value, str):
                if value not in given.columns:
                    raise unknown("column", value, given.columns, place)
                full[name] = given[value].cast(pl.Float64).to_numpy()
                absent |= np.isnan(full[name])
            else:
                full[name] = float(value)
        if absent.any():
            present = np.flatnonzero(~absent)
            known = {n: v[present] if isinstance(v, np.ndarray) else v for n, v in full.items()}
            law.check(known, place)
            values = pl.Series(self.column, law.draw(u[present], **known))
            at = np.cumsum(~absent) - 1
            return values.gather(pl.Series(at).set(pl.Series(absent), None)).alias(self.column).to_frame()
        law.check(full, place)
        return pl.Series(self.column, law.draw(u, **full)).to_frame()


@dataclass(frozen=True)
class Zipf:
    """A rank from 0 to n - 1 with probability proportional to (rank + 1) ** -exponent."""

    column: str
    n: int
    exponent: float

    def __post_init__(self) -> None:
        _check_zipf(self.n, self.exponent)

    @property
    def columns(self) -> tuple[str, ...]:
        return (self.column,)

    def sample(self, given: Table, stream: Stream) -> Table:
        u = stream.child(self.column).uniform(rows(given))
        return pl.Series(self.column, zipf(u, self.n, self.exponent)).to_frame()


@dataclass(frozen=True, eq=False)
class Lookup:
    """Columns of a reference table, found by the columns `on`. A key that the table does not have is an error; a null finds null."""

    columns: tuple[str, ...]
    on: tuple[str, ...]
    table: Table

    def __post_init__(self) -> None:
        object.__setattr__(self, "columns", (self.columns,) if isinstance(self.columns, str) else tuple(self.columns))
        object.__setattr__(self, "on", (self.on,) if isinstance(self.on, str) else tuple(self.on))
        place = f"Lookup {', '.join(self.columns)}"
        for name in (*self.on, *self.columns):
            if name not in self.table.columns:
                raise unknown("column", name, self.table.columns, place)
        double = self.table.filter(self.table.select(self.on).is_duplicated())
        if double.height:
            raise UserError(f"{place}: the table has more than one row for {double.row(0, named=True)}")

    def sample(self, given: Table, stream: Stream) -> Table:
        place = f"Lookup {', '.join(self.columns)}"
        for name in self.on:
            if name not in given.columns:
                raise unknown("column", name, given.columns, place)
        keys = given.select(pl.col(name).cast(self.table.schema[name], strict=False) for name in self.on)
        found = keys.join(
            self.table.select(*self.on, *(pl.col(c).alias(f"→{c}") for c in self.columns), pl.lit(True).alias("→")),
            on=self.on,
            how="left",
            maintain_order="left",
        )
        lost = found["→"].is_null() & pl.Series(given.select(pl.all_horizontal(pl.col(self.on).is_not_null()))).alias(
            ""
        )
        if lost.any():
            raise UserError(
                f"{place}: the table has no row for {given.select(self.on).filter(lost).row(0, named=True)}"
            )
        return found.select(pl.col(f"→{c}").alias(c) for c in self.columns)


@dataclass(frozen=True)
class Calendar:
    """A moment in the window [start, end), shaped by how busy each hour, weekday and month is (UTC, to the microsecond)."""

    column: str
    window: Window
    rhythm: Rhythm = field(default_factory=Rhythm)

    @property
    def columns(self) -> tuple[str, ...]:
        return (self.column,)

    def sample(self, given: Table, stream: Stream) -> Table:
        u = stream.child(self.column).uniform(rows(given))
        return pl.Series(self.column, self.rhythm.over(self.window).moment(u)).cast(pl.Datetime("us", "UTC")).to_frame()


def groups(given: Table, by: str, keys: list[Any], place: str) -> NDArray[np.int64]:
    """The position of each row's value of column `by` among the keys; that of None for every value not among them.

    Raises UserError if there is such a value and no None.
    """
    if by not in given.columns:
        raise unknown("column", by, given.columns, place)
    values = given[by]
    if isinstance(values.dtype, (pl.Enum, pl.Categorical)):
        values = values.cast(pl.String)
    listed = {key: n for n, key in enumerate(keys) if key is not None}
    default = keys.index(None) if None in keys else None
    if not listed:
        return np.full(len(values), default)
    if values.dtype == pl.Null:
        group = pl.Series([default] * len(values), dtype=pl.Int64)
    else:
        old = pl.Series(list(listed)).cast(values.dtype)
        group = values.replace_strict(old, list(listed.values()), default=default, return_dtype=pl.Int64)
    if group.null_count():
        value = values.filter(group.is_null())[0]
        raise unknown(f"value of {by}", value, map(str, listed), place)
    return group.to_numpy()


@dataclass(frozen=True, eq=False)
class Guide:
    """Inverse distribution functions over categories, one for each group, with a guide table: [0, 1) is cut into cells, and all but a few
    cells lie within one category (Chen and Asau 1974, "On generating random variates from an empirical distribution")."""

    cdf: F64
    """Shape (groups, categories); the last value of each row is 1."""

    @staticmethod
    def of(weights: ArrayLike, place: str = "weights") -> Guide:
        """From non-negative weights, shape (groups, categories). Raises UserError where a group has none that is positive."""
        w = np.asarray(weights, dtype=np.float64)
        if w.ndim != 2 or w.shape[1] == 0:
            raise UserError(f"{place}: no weights given")
        if not np.isfinite(w).all() or (w < 0).any():
            raise UserError(f"{place}: a weight is {w[~(np.isfinite(w) & (w >= 0))][0]}, expected zero or more")
        cdf = np.cumsum(w, axis=1)
        if not (cdf[:, -1] > 0).all():
            raise UserError(f"{place}: the weights of a group sum to zero")
        return Guide(cdf / cdf[:, -1:])

    @cached_property
    def cells(self) -> int:
        return 1 << (_CELLS_PER_CATEGORY * self.cdf.shape[1] - 1).bit_length()

    @cached_property
    def table(self) -> NDArray[np.int32]:
        """The category of each cell, or -1 for a cell that several share."""
        edges = np.arange(self.cells + 1) / self.cells
        last = np.nextafter(edges[1:], 0.0)
        low = np.stack([np.searchsorted(c, edges[:-1], side="right") for c in self.cdf])
        high = np.stack([np.searchsorted(c, last, side="right") for c in self.cdf])
        return np.where(low == high, low, -1).astype(np.int32).ravel()

    def choose(self, u: F64, group: NDArray | None = None) -> NDArray[np.int64]:
        """The category at each uniform: the first whose cumulative probability exceeds it, in the distribution of its group."""
        shape, u = np.shape(u), np.ravel(u)
        group = None if group is None else np.ravel(group).astype(np.int64, copy=False)
        if len(u) * 4 < self.cells * len(self.cdf) and "table" not in self.__dict__:
            return self._search(u, group).reshape(shape)
        table, cells = self.table, self.cells
        out = np.empty(len(u), np.int64)
        for at in range(0, len(u), _CHUNK):
            part = slice(at, at + _CHUNK)
            cell = (u[part] * cells).astype(np.int64)
            if group is not None:
                cell += group[part] * cells
            chosen = out[part]
            chosen[:] = table[cell]
            shared = np.flatnonzero(chosen < 0)
            chosen[shared] = self._search(u[part][shared], None if group is None else group[part][shared])
        return out.reshape(shape)

    def _search(self, u: F64, group: NDArray | None) -> NDArray[np.int64]:
        if group is None or len(self.cdf) == 1:
            return np.searchsorted(self.cdf[0], u, side="right")
        low = np.zeros(len(u), np.int64)
        high = np.full(len(u), self.cdf.shape[1] - 1)
        for _ in range((self.cdf.shape[1] - 1).bit_length()):
            middle = (low + high) // 2
            above = self.cdf[group, middle] <= u
            low = np.where(above, np.minimum(middle + 1, high), low)
            high = np.where(above, high, middle)
        return low


def choose(u: F64, weights: ArrayLike) -> NDArray[np.int64]:
    """Categories 0, 1, … for uniforms in (0, 1), with probabilities proportional to `weights`: the inverse distribution function.

    `weights` has one entry for each category. About 5 ns each for many uniforms, however many categories.
    """
    return Guide.of(np.asarray(weights, dtype=np.float64)[None, :]).choose(u)


def choose_by(u: F64, group: NDArray, weights: ArrayLike) -> NDArray[np.int64]:
    """As `choose`, with weights that depend on each uniform's group: `weights` has shape (groups, categories)."""
    return Guide.of(weights).choose(u, group)


def zipf(u: F64, n: int, exponent: float) -> NDArray[np.int64]:
    """Ranks from 0 to n - 1 for uniforms in (0, 1), with probability proportional to (rank + 1) ** -exponent.

    Exact for the first 65,536 ranks; beyond, the sum is taken as its integral (midpoint rule: relative error under 1e-9).
    """
    _check_zipf(n, exponent)
    guide, tail = _zipf_guide(n, float(exponent))
    rank = guide.choose(u)
    if tail:
        shape, rank, u = rank.shape, rank.ravel(), np.ravel(u)
        far = np.flatnonzero(rank == _EXACT_RANKS)
        start = guide.cdf[0, -2]
        share = (u[far] - start) / (1.0 - start)
        low, high = _EXACT_RANKS + 0.5, n + 0.5
        s = 1.0 - exponent
        if s == 0.0:
            x = low * (high / low) ** share
        else:
            x = (low**s + share * (high**s - low**s)) ** (1.0 / s)
        rank[far] = np.clip(np.round(x).astype(np.int64) - 1, _EXACT_RANKS, n - 1)
        rank = rank.reshape(shape)
    return rank


def _check_zipf(n: int, exponent: float) -> None:
    if not 1 <= n < 2**53:
        raise UserError(f"zipf: n is {n}, expected a whole number of at least 1")
    if not 0.0 <= exponent < 100.0:
        raise UserError(f"zipf: exponent is {exponent}, expected a number from 0 to 100")


@lru_cache(maxsize=64)
def _zipf_guide(n: int, exponent: float) -> tuple[Guide, bool]:
    weights = np.arange(1, min(n, _EXACT_RANKS) + 1, dtype=np.float64) ** -exponent
    if n <= _EXACT_RANKS:
        return Guide.of(weights[None, :]), False
    low, high, s = _EXACT_RANKS + 0.5, n + 0.5, 1.0 - exponent
    mass = np.log(high / low) if s == 0.0 else (high**s - low**s) / s
    return Guide.of(np.append(weights, mass)[None, :]), True
