"""How a series is learnt: its seasons, its course, its cycles, and the spectra of what is left. See `series.py` for what comes of it."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ...errors import UserError, unknown
from ...stream import F64, Stream
from ...tables import Table
from .empirical import check_learnable
from .marginal import _decimals, dtype_text, numbers
from .series import PARTS, Moving, SeriesModel, _along, _around

FEWEST = 64
"""Samples that a series must have."""
KNOT, SPREAD_KNOT, STRETCH = 90, 300, 150
"""Samples from knot to knot of the level, of the spread, and from stretch to stretch of the spectra."""
BANDS = 40
QUANTILES = 401
GAPS = 512
FEW = 0.1
"""A column with fewer different values than this share of its samples has these values and no others."""
_DAY, _WEEK = 86_400e6, 7 * 86_400e6
_CLEAR = {"level": 2.0, "spread": 3.0, "season": 2.0, "cycle": 4.0}
"""How many times what chance would give something must be to be taken for real."""
_CYCLING = 0.2
"""Share of a column's variance about its course that a cycle must have."""


def fit_series(table: Table, stream: Stream, time: str) -> SeriesModel:
    """Learn one series, of the numeric columns of a table in the order of `time`. Columns of other types are left out.

    Raises UserError for a time that is missing, repeated in every row or no time; for fewer than 64 rows; and where no column is a number.
    """
    check_learnable(table)
    if time not in table.columns:
        raise unknown("column", time, table.columns, "--time-column")
    if not _is_time(table[time].dtype):
        raise UserError(f"--time-column {time}: has type {table[time].dtype}, expected instants, dates or numbers")
    table = table.filter(pl.col(time).is_not_null()).sort(time, maintain_order=True)
    at = numbers(table[time], table[time].dtype)[0].astype(np.float64)
    names = [c for c, d in table.schema.items() if c != time and d.is_numeric() and table[c].null_count() < len(table)]
    if table.height < FEWEST or not names:
        raise UserError(
            f"a series needs {FEWEST} rows with a time and a column of numbers; there are {table.height:,} rows and {len(names)} such columns"
        )
    tick = _tick(table[time].dtype)
    parts, noise = [], []
    for name in names:
        part, normal = _column(table[name], at * tick, stream.child(name))
        parts.append(part)
        noise.append(normal)
    bands, spectra = _spectra(np.column_stack(noise))
    gaps = np.quantile(np.diff(at), (np.arange(GAPS) + 0.5) / GAPS, method="nearest")
    return SeriesModel(
        time, dtype_text(table[time].dtype), tick, float(at[0]), gaps, table.height, tuple(parts), bands, spectra
    )


def _is_time(dtype: pl.DataType) -> bool:
    return dtype.is_numeric() or isinstance(dtype, pl.Date | pl.Datetime | pl.Duration)


def _tick(dtype: pl.DataType) -> float:
    """Microseconds in a unit of the type."""
    if isinstance(dtype, pl.Datetime):
        return {"ns": 1e-3, "us": 1.0, "ms": 1e3}[dtype.time_unit]
    return _DAY if isinstance(dtype, pl.Date) else 0.0


def _column(values: pl.Series, at: F64, stream: Stream) -> tuple[Moving, F64]:
    """A column's part of the model, and its noise as a standard normal series."""
    raw = values.cast(pl.Float64).fill_nan(None)
    raw = raw.set(raw.is_infinite().fill_null(False), None)
    x = raw.interpolate().fill_null(strategy="forward").fill_null(strategy="backward").to_numpy().copy()
    seen = raw.drop_nulls().to_numpy()
    levels = np.unique(seen)
    decimals = _decimals(seen)
    low, high = float(levels[0]), float(levels[-1])
    left = x - _level(x, KNOT)[1]
    day, week = np.empty(0), np.empty(0)
    if at[-1] > at[0]:
        slow = _level(x, max(KNOT, int(len(x) * _DAY / (at[-1] - at[0]))))[1]
        day = _season(x - slow, at, _DAY, 48)
        x = x - (_around(day, at % _DAY / _DAY) if len(day) else 0.0)
        slow = _level(x, max(KNOT, int(len(x) * _WEEK / (at[-1] - at[0]))))[1]
        week = _season(x - slow, at, _WEEK, 56)
        x = x - (_around(week, at % _WEEK / _WEEK) if len(week) else 0.0)
    course, level = _level(x, KNOT)
    left = x - level
    spread, size = _spread(left)
    left = left / size
    turning, phase = _cycle(left)
    jitter = stream.generator()
    normal = np.empty(len(x))
    tables = []
    for part in range(PARTS if turning[0] else 1):
        mine = phase == part
        tables.append(np.quantile(left[mine], (np.arange(QUANTILES) + 0.5) / QUANTILES))
        normal[mine] = _normal(left[mine], jitter)
    few = len(levels) <= FEW * len(seen)
    missing = values.cast(pl.Float64).fill_nan(None).null_count() / len(values)
    part = Moving(
        values.name,
        dtype_text(values.dtype),
        low,
        high,
        decimals,
        missing,
        course,
        spread,
        day,
        week,
        np.array(tables),
        turning,
        levels if few else np.empty(0),
    )
    return part, normal


def _means(x: F64, every: int) -> F64:
    """Of even parts of about so many samples."""
    parts = max(1, round(len(x) / every))
    edges = np.linspace(0, len(x), parts + 1).astype(int)
    return np.add.reduceat(x, edges[:-1]) / np.diff(edges)


def _level(x: F64, every: int) -> tuple[F64, F64]:
    """Knots of the level and the level at each sample; one knot where the parts' means differ as those of white noise would."""
    knots = _means(x, every)
    place = np.arange(len(x)) / max(1, len(x) - 1)
    within = float(np.mean((x - np.repeat(knots, np.diff(np.linspace(0, len(x), len(knots) + 1).astype(int)))) ** 2))
    if len(knots) < 3 or knots.var() <= _CLEAR["level"] * within / every:
        knots = np.array([x.mean()])
    return knots, _along(knots, place)


def _spread(left: F64) -> tuple[F64, F64]:
    """The same of the standard deviation."""
    power = left**2
    mean = float(power.mean()) or 1.0
    knots = _means(power, SPREAD_KNOT)
    kurtosis = float(np.mean(power**2)) / mean**2
    by_chance = max(kurtosis - 1, 1e-9) / SPREAD_KNOT
    if len(knots) < 3 or (knots / mean).var() <= _CLEAR["spread"] * by_chance:
        knots = np.array([mean])
    place = np.arange(len(left)) / max(1, len(left) - 1)
    size = np.sqrt(np.maximum(knots, 1e-12 * mean))
    return size, _along(size, place)


def _season(x: F64, at: F64, period: float, most: int) -> F64:
    """The mean by parts of a period, if they explain more of the parts' own means than chance would; else nothing."""
    turns = (at[-1] - at[0]) / period
    spacing = float(np.median(np.diff(at)))
    parts = int(min(most, period // max(spacing, 1.0)))
    if turns < 2.5 or parts < 4:
        return np.empty(0)
    part = (at % period / period * parts).astype(np.int64) % parts
    cell = (at // period).astype(np.int64) * parts + part
    cells, inverse, count = np.unique(cell, return_inverse=True, return_counts=True)
    mean = np.bincount(inverse, x) / count
    of = cells % parts
    size = np.bincount(of, minlength=parts)
    if not size.all():
        return np.empty(0)
    season = np.bincount(of, mean, parts) / size
    explained = float(np.var(season[of])) / max(float(mean.var()), 1e-300)
    return season if explained > _CLEAR["season"] * parts / len(cells) else np.empty(0)


def _cycle(left: F64) -> tuple[tuple[float, float], NDArray[np.int64]]:
    """The speed and wander of a cycle, and the part of it that each sample is in; (0, 0) and part 0 where there is none."""
    from scipy.signal import hilbert

    n = len(left)
    nothing = (0.0, 0.0), np.zeros(n, np.int64)
    spectrum = np.fft.rfft(left - left.mean())
    power, frequency = np.abs(spectrum) ** 2, np.fft.rfftfreq(n)
    smooth = np.convolve(power, np.ones(9) / 9, "same")
    may = (frequency > 8 / n) & (frequency < 1 / 8)
    if not may.any() or not power.sum():
        return nothing
    peak = frequency[may][np.argmax(smooth[may])]
    band = (frequency > 0.75 * peak) & (frequency < 1.3 * peak)
    beside = (frequency > 0.3 * peak) & (frequency < 3 * peak) & ~band
    if power[band].sum() < _CYCLING * power.sum() or power[band].mean() < _CLEAR["cycle"] * power[beside].mean():
        return nothing
    spectrum[(frequency < 0.7 * peak) | (frequency > 1.4 * peak)] = 0
    analytic: Any = hilbert(np.fft.irfft(spectrum, n))
    phase = np.angle(analytic)
    turned = np.unwrap(phase)
    speed = float(turned[-1] - turned[0]) / (n - 1)
    period = max(1, round(2 * np.pi / speed)) if speed > 0 else n
    if period >= n // 4:
        return nothing
    wander = float(np.var(turned[period:] - turned[:-period] - speed * period)) / period
    part = ((phase % (2 * np.pi)) / (2 * np.pi) * PARTS).astype(np.int64) % PARTS
    return ((speed, wander), part) if np.bincount(part, minlength=PARTS).min() >= 8 else nothing


def _normal(x: F64, rng: np.random.Generator) -> F64:
    """Ranks as quantiles of a standard normal law; equal values in random order."""
    from scipy.special import ndtri

    order = np.lexsort((rng.random(len(x)), x))
    rank = np.empty(len(x))
    rank[order] = np.arange(len(x))
    return ndtri((rank + 0.5) / len(x))


def _spectra(noise: F64) -> tuple[F64, NDArray[np.complex128]]:
    """The frequencies of the bands, and the columns' cross-spectra in each stretch: windows of two stretches, by Welch's window (1967)."""
    n, size = noise.shape
    count = max(1, round(n / STRETCH))
    step = n / count
    width = min(n, int(2 * step))
    frequencies = width // 2 + 1
    edges = np.unique(np.concatenate([[0, 1], np.geomspace(1, frequencies, BANDS).round().astype(int)]))
    window = np.hanning(width + 2)[1:-1, None]
    window /= np.sqrt((window**2).mean())
    found = np.empty((count, len(edges) - 1, size, size), np.complex128)
    for k in range(count):
        first = int(np.clip((k + 0.5) * step - width / 2, 0, n - width))
        part = noise[first : first + width]
        turned = np.fft.rfft((part - part.mean(axis=0)) * window, axis=0) / np.sqrt(width)
        for b, (low, high) in enumerate(pairwise(edges.tolist())):
            found[k, b] = turned[low:high].T @ turned[low:high].conj() / (high - low)
    # a mean of a few products has no full rank: a little of the columns' own power gives it one
    own = np.einsum("kbii->kbi", found).real
    found += 1e-6 * np.eye(size) * own[..., None, :]
    return (edges[:-1] + edges[1:] - 1) / 2 / width, found
