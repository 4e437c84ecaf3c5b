"""The two tables side by side: same columns, same types, a kind for each column, and the encodings that the figures are made from."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Literal

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ..errors import UserError, unknown
from ..stream import Stream
from ..tables import Table

Kind = Literal["number", "time", "category", "key", "text"]
BINS = 10


@dataclass(frozen=True)
class Pair:
    """Real rows, synthetic rows and, where given, real rows that the model never saw, all in the real table's types."""

    real: Table
    synth: Table
    holdout: Table | None
    kinds: dict[str, Kind]
    target: str | None = None
    sensitive: tuple[str, ...] = ()
    unreadable: dict[str, tuple[int, str]] = field(default_factory=dict)
    """Synthetic values, by column, that cannot be read as the real column's type: how many, and some of them. They became missing."""
    absent: tuple[str, ...] = ()
    extra: tuple[str, ...] = ()
    time: str | None = None
    """The column that orders the rows, where they are series."""
    entity: str | None = None
    """The column that says whose each row is."""
    kept: Mapping[str, NDArray[np.int64]] = field(default_factory=dict)
    """Of a table that was sampled, which of its rows these are."""

    @property
    def numbers(self) -> list[str]:
        return [c for c, k in self.kinds.items() if k in ("number", "time")]

    @property
    def categories(self) -> list[str]:
        return [c for c, k in self.kinds.items() if k == "category"]

    @property
    def columns(self) -> list[str]:
        """The columns that have a distribution to compare: neither keys nor free text."""
        return [c for c, k in self.kinds.items() if k not in ("key", "text")]

    def head(self, rows: int, stream: Stream) -> Pair:
        """At most `rows` of each table, chosen evenly by the stream."""
        frames: dict[str, Any] = {}
        kept = dict(self.kept)
        for name, frame in (("real", self.real), ("synth", self.synth), ("holdout", self.holdout)):
            if frame is not None and frame.height > rows:
                draws = stream.child(name).uniform(np.arange(frame.height, dtype=np.uint64))
                chosen = np.sort(np.argpartition(draws, rows)[:rows])
                frames[name], kept[name] = frame[chosen], kept[name][chosen] if name in kept else chosen
        return replace(self, **frames, kept=kept)

    def rows(self, name: str, at: Iterable[int]) -> list[int]:
        """The numbers that rows of a table have in the table as it was given, from 0."""
        known = self.kept.get(name)
        return [int(n if known is None else known[n]) for n in at]

    @cached_property
    def coded(self) -> Coded:
        return Coded.of(self)


@dataclass(frozen=True)
class Coded:
    """Numbers as floats (missing: nan) and categories as codes (missing: -1), per table name and column."""

    values: dict[str, dict[str, NDArray]]
    levels: dict[str, list[str]]

    @classmethod
    def of(cls, pair: Pair) -> Coded:
        tables = {"real": pair.real, "synth": pair.synth}
        if pair.holdout is not None:
            tables["holdout"] = pair.holdout
        values: dict[str, dict[str, NDArray]] = {name: {} for name in tables}
        levels: dict[str, list[str]] = {}
        for column in pair.columns:
            if pair.kinds[column] == "category":
                text = {name: frame[column].cast(pl.String) for name, frame in tables.items()}
                known = pl.concat(list(text.values())).drop_nulls().unique().sort()
                levels[column] = known.to_list()
                code = pl.Enum(known)
                for name, series in text.items():
                    values[name][column] = series.cast(code).to_physical().cast(pl.Int64).fill_null(-1).to_numpy()
            else:
                for name, frame in tables.items():
                    values[name][column] = (
                        frame[column].to_physical().cast(pl.Float64).fill_null(np.nan).to_numpy().astype(float)
                    )
        return cls(values, levels)

    def bins(self, column: str, edges: NDArray) -> dict[str, NDArray]:
        """Codes of a number's bins per table: 0 is missing. `edges` are the inner bounds."""
        return {
            name: np.where(np.isnan(v[column]), 0, 1 + np.searchsorted(edges, v[column], side="right"))
            for name, v in self.values.items()
        }

    def codes(self, column: str) -> dict[str, NDArray]:
        """A category's codes per table: 0 is missing."""
        return {name: v[column] + 1 for name, v in self.values.items()}


def make_pair(
    real: Table,
    synth: Table,
    holdout: Table | None = None,
    target: str | None = None,
    sensitive: Sequence[str] = (),
    keys: Collection[str] = (),
    time: str | None = None,
    entity: str | None = None,
) -> Pair:
    """Bring the tables to the real one's columns and types. `keys`: columns that name rows, whatever their values look like.

    Raises UserError for a table without rows, no common column, a holdout of other columns, or a target or sensitive
    column that does not exist.
    """
    for name, frame in (("real", real), ("synthetic", synth), ("holdout", holdout)):
        if frame is not None and not frame.height:
            raise UserError(f"the {name} table has no rows")
    roles = {"target": target, "time-column": time, "entity": entity}
    for role, columns in (*((r, [c] if c else []) for r, c in roles.items()), ("sensitive", sensitive)):
        for column in columns:
            if column not in real.columns:
                raise unknown("column", column, real.columns, f"--{role}")
            if column not in synth.columns:
                raise UserError(f"--{role}: the synthetic table has no column '{column}'")
    common = [c for c in real.columns if c in synth.columns]
    if time and time in common and not (real[time].dtype.is_temporal() or real[time].dtype.is_numeric()):
        raise UserError(
            f"--time-column: '{time}' is {real[time].dtype}, neither a time nor a number, such as {real[time][0]!r}"
        )
    if not common:
        raise UserError(f"the tables have no column in common: {', '.join(real.columns)}; {', '.join(synth.columns)}")
    if holdout is not None and (missing := [c for c in common if c not in holdout.columns]):
        raise UserError(f"the holdout has no column '{missing[0]}'")
    plain = real.select(_comparable(real[c]) for c in common)
    named = {*keys, entity} if entity else {*keys}
    kinds: dict[str, Kind] = {c: "key" if c in named else kind_of(plain[c]) for c in common}
    read = {c: _read_as(synth[c], plain[c].dtype) for c in common}
    unreadable = {c: lost for c in common if (lost := _unreadable(synth[c], read[c]))[0]}
    held = None if holdout is None else pl.DataFrame([_read_as(holdout[c], plain[c].dtype) for c in common])
    return Pair(
        plain,
        pl.DataFrame(list(read.values())),
        held,
        kinds,
        target,
        tuple(sensitive),
        unreadable,
        tuple(c for c in real.columns if c not in synth.columns),
        tuple(c for c in synth.columns if c not in real.columns),
        time,
        entity,
    )


def kind_of(series: pl.Series) -> Kind:
    """What a column is, from its type and values: text that hardly repeats is no category, whole numbers without a gap or repetition are a key."""
    dtype, there = series.dtype, series.drop_nulls()
    if dtype.is_temporal():
        return "time"
    distinct = there.n_unique()
    if dtype.is_numeric():
        if dtype.is_integer() and distinct == len(series) > 100 and _span(there) == distinct:
            return "key"
        return "category" if dtype.is_integer() and distinct <= 2 else "number"
    if dtype == pl.Boolean:
        return "category"
    if distinct > 50 and distinct == len(series):
        return "key"
    return "text" if distinct > 50 and distinct > len(there) / 2 else "category"


def scaled(pair: Pair) -> dict[str, NDArray]:
    """Rows as points per table, float32 of shape (rows, dimensions): the squared distance of two is the sum over columns of the squared
    difference of ranks in the real column (numbers, 0 to 1) or 0 or 1 (categories)."""
    parts: dict[str, list[NDArray]] = {name: [] for name in pair.coded.values}
    for column in pair.columns:
        if pair.kinds[column] == "category":
            levels = len(pair.coded.levels[column]) + 1
            for name, codes in pair.coded.codes(column).items():
                parts[name].append(np.eye(levels, dtype=np.float32)[codes] / np.float32(np.sqrt(2)))
            continue
        known = np.sort(pair.coded.values["real"][column])
        known = known[~np.isnan(known)]
        for name, values in pair.coded.values.items():
            lost = np.isnan(values[column])
            left = np.searchsorted(known, values[column], "left")
            rank = (left + np.searchsorted(known, values[column], "right")) / (2 * max(1, len(known)))
            # a missing number is as far from any number as two categories are
            point = np.stack([np.where(lost, 0.5, rank), lost * np.sqrt(0.75)], axis=1)
            parts[name].append(point.astype(np.float32))
    return {name: np.concatenate(columns, axis=1) for name, columns in parts.items()}


def _comparable(series: pl.Series) -> pl.Series:
    """Types that compare: decimals and 128-bit numbers as floats, enumerations as text, infinities as missing."""
    if isinstance(series.dtype, pl.Decimal) or series.dtype in (pl.Int128, pl.UInt64):
        series = series.cast(pl.Float64)
    if isinstance(series.dtype, (pl.Enum, pl.Categorical)) or series.dtype == pl.Null:
        return series.cast(pl.String)
    if series.dtype.is_nested() or series.dtype in (pl.Binary, pl.Object):
        raise UserError(f"column '{series.name}' is of type {series.dtype}, which cannot be compared")
    if series.dtype.is_float():
        return series.to_frame().select(pl.when(pl.first().is_finite()).then(pl.first()).alias(series.name)).to_series()
    return series


def _unreadable(given: pl.Series, read: pl.Series) -> tuple[int, str]:
    there = _comparable(given)
    lost = there.filter(there.is_not_null() & read.is_null())
    return len(lost), ", ".join(repr(v) for v in lost.unique(maintain_order=True).head(3))


def _read_as(series: pl.Series, dtype: pl.DataType) -> pl.Series:
    series = _comparable(series)
    if series.dtype == dtype:
        return series
    if dtype.is_integer() and series.dtype.is_float():
        return series.round(0).cast(dtype, strict=False)
    try:
        if series.dtype == pl.String and isinstance(dtype, pl.Datetime):
            return series.str.to_datetime(time_unit=dtype.time_unit, time_zone=dtype.time_zone, strict=False)
        if series.dtype == pl.String and dtype == pl.Date:
            return series.str.to_date(strict=False)
        return series.cast(dtype, strict=False)
    except pl.exceptions.PolarsError:
        return pl.Series(series.name, [None] * len(series), dtype=dtype)


def _span(there: pl.Series) -> int:
    low, high = there.min(), there.max()
    return int(high) - int(low) + 1  # type: ignore[arg-type]
