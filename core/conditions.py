"""What is asked of drawn rows: values, sets and ranges of columns, met exactly, and shares of values, met to the row.

In text, `VALUE` is one value, `A|B` a set, `LOW..HIGH` a range with both ends, either of which may be left out.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from .errors import UserError, unknown
from .samplers import Sampler
from .samplers.compose import chain, constrain
from .samplers.rules import Guide
from .samplers.statistical.marginal import Marginal
from .stream import Stream
from .tables import ROW, Table, rows

TRIES = 1_000
"""Draws of a row until all its ranges and sets are met; then the request is refused with the number of rows that fail."""


@dataclass(frozen=True)
class Range:
    """Values from `low` to `high`, both included; None leaves an end open."""

    low: Any = None
    high: Any = None


@dataclass(frozen=True, eq=False)
class Restricted:
    """A column from its own distribution, among the pieces that a condition leaves."""

    marginal: Marginal
    weights: NDArray[np.float64]

    @property
    def columns(self) -> tuple[str, ...]:
        return (self.marginal.name,)

    def sample(self, given: Table, stream: Stream) -> Table:
        names, address = stream.child("restricted", self.marginal.name), rows(given)
        piece = Guide.of([self.weights]).choose(names.uniform(address))
        return pl.DataFrame([self.marginal.values(piece, names.child("within").uniform(address))])


def asked(marginal: Marginal, value: Any) -> pl.Series | Range:
    """A condition as what it allows: a series of values, or a range. Raises UserError for a value that the column cannot have."""
    if isinstance(value, Range):
        return _range(marginal, value)
    if isinstance(value, (list, tuple, set, frozenset)):
        if not value:
            raise UserError(f"where {marginal.name}: the set of values is empty")
        ordered = sorted(value, key=repr) if isinstance(value, (set, frozenset)) else value
        return pl.concat([constant(marginal, v) for v in ordered]).unique(maintain_order=True)
    if isinstance(value, str) and value not in (marginal.categories or ()):
        if "|" in value:
            return asked(marginal, [v.strip() for v in value.split("|")])
        if ".." in value and marginal.categories is None:
            low, _, high = (part.strip() for part in value.partition(".."))
            return _range(marginal, Range(low or None, high or None))
    return constant(marginal, value)


def _range(marginal: Marginal, value: Range) -> Range:
    if marginal.categories is not None:
        raise UserError(f"where {marginal.name}: a range needs numbers or dates, and this column holds categories")
    low, high = (None if v is None else constant(marginal, v)[0] for v in (value.low, value.high))
    if low is None and high is None:
        raise UserError(f"where {marginal.name}: the range has neither end")
    if low is not None and high is not None and low > high:
        raise UserError(f"where {marginal.name}: {low} is after {high}")
    return Range(low, high)


def conditioned(
    sampler: Sampler, marginals: Mapping[str, Marginal], told: set[str], wanted: Mapping[str, Any]
) -> Sampler:
    """The sampler under ranges and sets (`wanted`, as `asked` gives them), beside columns that are `told`.

    Rows are drawn until they meet all, so what comes is distributed as the sampler's rows that meet them. Where nothing else is told, the
    rarest condition's column is drawn first, from its own distribution among the values allowed.
    """
    if not wanted:
        return sampler
    tests = [_test(name, value) for name, value in wanted.items()]
    predicate = reduce(lambda a, b: a & b, tests)
    if told:
        return constrain(sampler, predicate, TRIES)
    weights = {name: _weights(marginals[name], value) for name, value in wanted.items()}
    rarest = min(weights, key=lambda name: (weights[name].sum(), name))
    if weights[rarest].sum() <= 0.0:
        raise UserError(f"where {rarest}: nothing that the model has seen lies there")
    return constrain(chain(Restricted(marginals[rarest], weights[rarest]), sampler), predicate, TRIES)


def settled(
    marginals: Mapping[str, Marginal],
    where: Mapping[str, Any],
    balance: Mapping[str, Mapping[Any, float]],
    n: int,
    stream: Stream,
    refused: Callable[[str, str], UserError],
) -> tuple[list[pl.Series], dict[str, pl.Series | Range]]:
    """What is asked of `n` rows: columns that are told, and what `conditioned` is to meet. `refused`: the error for a column that has no distribution,
    and the place where it was named."""
    for column, place in [*((c, f"where {c}={v}") for c, v in where.items()), *((c, f"balance {c}") for c in balance)]:
        if column not in marginals:
            raise refused(column, place)
    told, wanted = [], {}
    for column, value in where.items():
        found = asked(marginals[column], value)
        if isinstance(found, pl.Series) and len(found) == 1:
            told.append(found.new_from_index(0, n))
        else:
            wanted[column] = found
    return told + balanced(marginals, balance, n, stream), wanted


def _test(name: str, value: pl.Series | Range) -> pl.Expr:
    column = pl.col(name)
    if isinstance(value, pl.Series):
        return column.is_in(value.implode()) & column.is_not_null()
    ends = [column >= value.low] if value.low is not None else []
    ends += [column <= value.high] if value.high is not None else []
    return reduce(lambda a, b: a & b, ends) & column.is_not_null()


def _weights(marginal: Marginal, value: pl.Series | Range) -> NDArray[np.float64]:
    """The share of each piece, where any of it is allowed."""
    share = np.diff(marginal.edges)
    if isinstance(value, pl.Series):
        allowed = np.zeros(marginal.pieces, bool)
        piece, _, known = marginal.locate(value)
        allowed[piece[known]] = True
        return np.where(allowed, share, 0.0)
    ends = pl.Series(marginal.name, [value.low, value.high], dtype=marginal.dtype)
    piece, _, known = marginal.locate(ends)
    at = np.arange(marginal.pieces)
    return np.where((at >= (piece[0] if known[0] else 0)) & (at <= (piece[1] if known[1] else len(at))), share, 0.0)


def balanced(
    marginals: Mapping[str, Marginal],
    shares: Mapping[str, Mapping[Any, float]],
    n: int,
    stream: Stream,
) -> list[pl.Series]:
    """Columns in which each value named has exactly its share of `n` rows, to the nearest row, in random places.

    The other rows get the column's other values as often as they were among them. Raises UserError for shares that are none.
    """
    made = []
    for name, wanted in shares.items():
        marginal, place = marginals[name], f"balance {name}"
        if any(not 0.0 <= s <= 1.0 for s in wanted.values()) or sum(wanted.values()) > 1.0 + 1e-9:
            raise UserError(f"{place}: the shares are {', '.join(map(str, wanted.values()))}, expected 0 to 1 in sum")
        values = pl.concat([constant(marginal, v) for v in wanted])
        if values.n_unique() < len(values):
            raise UserError(f"{place}: a value is named twice")
        ends = np.round(np.cumsum(list(wanted.values())) * n).astype(np.int64)
        address = np.arange(n, dtype=np.uint64)
        rank = np.empty(n, np.int64)
        rank[np.argsort(stream.child("balance", name).bits(address), kind="stable")] = np.arange(n)
        which = np.searchsorted(ends, rank, side="right")
        column = values.append(pl.Series(name, [None], dtype=values.dtype)).gather(which)
        rest = np.flatnonzero(which == len(wanted))
        if len(rest):
            weights = np.diff(marginal.edges)
            piece, _, known = marginal.locate(values)
            weights[piece[known]] = 0.0
            if weights.sum() <= 0.0:
                raise UserError(f"{place}: {len(rest):,} rows are left, and the column has no other value")
            others = Restricted(marginal, weights).sample(pl.DataFrame({ROW: address[rest]}), stream)[name]
            column = column.scatter(rest, others)
        made.append(column.alias(name))
    return made


def parse_balance(items: Sequence[str], flag: str = "--balance") -> dict[str, dict[str, float]]:
    """Read `COLUMN=VALUE:SHARE` texts. Raises UserError for a text that is none."""
    found: dict[str, dict[str, float]] = {}
    for item in items:
        column, _, rest = item.partition("=")
        value, _, share = rest.rpartition(":")
        try:
            found.setdefault(column.strip(), {})[value.strip()] = float(share)
        except ValueError:
            raise UserError(f"{flag} {item}: expected COLUMN=VALUE:SHARE, a share from 0 to 1") from None
        if not column.strip() or not value.strip():
            raise UserError(f"{flag} {item}: expected COLUMN=VALUE:SHARE")
    return found


def check_columns(names: Sequence[str], marginals: Mapping[str, Marginal], place: str) -> None:
    for name in names:
        if name not in marginals:
            raise unknown("column", name, marginals, f"{place} {name}")


def constant(marginal: Marginal, value: Any) -> pl.Series:
    """A series of one value, in the type of its column; text is read as a number, a date or a truth value where the column holds them."""
    place, dtype = f"where {marginal.name}={value}", marginal.dtype
    if marginal.categories is not None:
        if str(value) not in marginal.categories:
            raise unknown(f"value of {marginal.name}", value, marginal.categories, place)
        return pl.Series(marginal.name, [str(value)]).cast(dtype)
    try:
        if isinstance(value, str) and dtype == pl.Boolean:
            value = {"true": True, "false": False, "1": True, "0": False}[value.lower()]
        series = pl.Series(marginal.name, [value])
        if isinstance(value, str) and isinstance(dtype, pl.Datetime):
            series = series.str.to_datetime(time_unit=dtype.time_unit, time_zone=dtype.time_zone)
        elif isinstance(value, str) and dtype == pl.Date:
            series = series.str.to_date()
        elif isinstance(value, str) and dtype.is_integer():
            exact = series.cast(pl.Float64)
            if exact[0] != round(exact[0]):
                raise ValueError(value)
            series = exact.cast(pl.Int64)
        series = series.cast(dtype)
        if series.is_null().any() or (dtype.is_float() and not np.isfinite(series[0])):
            raise ValueError(value)
        if (
            isinstance(value, (int, float))
            and dtype.is_numeric()
            and float(series[0]) != np.dtype(_width(dtype)).type(value)
        ):
            raise ValueError(value)
        return series
    except (pl.exceptions.PolarsError, ValueError, KeyError, TypeError, OverflowError):
        raise UserError(f"{place}: '{value}' is not a value of type {dtype}") from None


def read_as(values: pl.Series, dtype: Any) -> pl.Series:
    """A given column in the type that was fitted."""
    try:
        if isinstance(dtype, pl.Enum):
            values = values.cast(pl.String)
        return values.cast(dtype)
    except pl.exceptions.PolarsError as error:
        reason = str(error).splitlines()[0]
        raise UserError(f"given column '{values.name}': is not of type {dtype}: {reason}") from None


def _width(dtype: Any) -> str:
    return "f4" if dtype == pl.Float32 else "f8"
