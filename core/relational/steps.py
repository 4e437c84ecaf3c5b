"""Columns that follow one another: dates as what has passed since an anchor, running numbers as the change since the row before."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from ..samplers.statistical.marginal import dtype_of, dtype_text
from ..tables import Table

UP, BEFORE = "↑", "←"
"""What marks a column of the owner's row, and of the sibling before."""
SMOOTH = 0.6
"""A number whose changes spread less than this share of its own spread is learnt by its changes."""
_FEW = 20


@dataclass(frozen=True)
class Step:
    """`column` is learnt as its distance from `anchor`, a column that is given. Values end at `low` and `high`; `decimals` for numbers."""

    column: str
    anchor: str
    dtype: str
    low: float
    high: float
    decimals: int | None = None

    def taken(self, frame: Table, given: Table) -> Table:
        """The frame with the column as distances."""
        a, b = _physical(frame[self.column]), _physical(given[self.anchor])
        return frame.with_columns((a - b).alias(self.column))

    def restored(self, frame: Table, given: Table) -> Table:
        """The inverse of `taken`."""
        values = _physical(frame[self.column]) + _physical(given[self.anchor])
        values = values.clip(self.low, self.high) if self.decimals is None else values.clip(self.low, self.high).round(self.decimals)  # fmt: skip
        dtype = dtype_of(self.dtype)
        values = values.cast(pl.Int32).cast(pl.Date) if dtype == pl.Date else values.cast(dtype)
        return frame.with_columns(values.alias(self.column))


def find_steps(frame: Table, given: Table, columns: Sequence[str], time: str | None) -> tuple[Step, ...]:
    """Dates that never lie before a date that is given, from the latest such one; and smooth numbers from the row before."""
    found = []
    for column in columns:
        values = frame[column]
        anchors = []
        if values.dtype.is_temporal() and values.dtype != pl.Time:
            for name in given.columns:
                base = given[name]
                if base.dtype == values.dtype and not base.null_count():
                    gap = (_physical(values) - _physical(base)).drop_nulls()
                    if len(gap) and int(gap.min()) >= 0:  # type: ignore[arg-type]
                        anchors.append((float(gap.mean()), name))  # type: ignore[arg-type]
        elif column == time or (values.dtype.is_numeric() and _smooth(values, given, column)):
            anchors = [(0.0, BEFORE + column)] if BEFORE + column in given.columns else []
        if anchors:
            there = _physical(values).drop_nulls()
            decimals = _decimals(there) if there.dtype.is_float() else None
            found.append(Step(column, min(anchors)[1], dtype_text(values.dtype), there.min(), there.max(), decimals))  # type: ignore[arg-type]
    return tuple(found)


def rebuild_steps(plain: Sequence[Any]) -> tuple[Step, ...]:
    """The inverse of `vars` over steps. Raises ValueError for what is none."""
    made = []
    for each in plain:
        step = Step(**each)
        dtype_of(step.dtype)
        if not (isinstance(step.low, (int, float)) and isinstance(step.high, (int, float)) and step.low <= step.high):
            raise ValueError(f"column '{step.column}' has no ends")
        made.append(step)
    return tuple(made)


def _physical(values: pl.Series) -> pl.Series:
    if values.dtype.is_temporal():
        return values.to_physical().cast(pl.Int64)
    return values.cast(pl.Int64) if values.dtype.is_integer() else values


def _smooth(values: pl.Series, given: Table, column: str) -> bool:
    if BEFORE + column not in given.columns or given[BEFORE + column].null_count() or values.null_count():
        return False
    x, before = values.cast(pl.Float64).to_numpy(), given[BEFORE + column].cast(pl.Float64).to_numpy()
    return (
        len(np.unique(x)) > _FEW
        and bool(np.isfinite(x).all())
        and float(np.std(x - before)) < SMOOTH * float(np.std(x))
    )


def _decimals(values: pl.Series) -> int | None:
    x = values.to_numpy()
    return next((d for d in range(7) if np.array_equal(np.round(x, d), x)), None)
