"""One series of several columns, taken apart as Dahlhaus (1997) does: a slow course of level, spread and spectrum, and what happens anew along it.

    value = season(time) + course + spread * (empirical distribution of (Gaussian noise with the spectra of that stretch))

A column that cycles (a thermostat, a tide) has a distribution for each part of its cycle, whose phase wanders. What is kept of the series
that was learnt is its course at a few hundred knots; past its end the course runs back and forth. Row r is the r-th sample: it depends on
its address alone, so rows can be asked for in any number and order.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ...stream import F64, Stream
from ...tables import Table, rows
from .marginal import Marginal, dtype_of

PAD = 128
"""Samples drawn more than a stretch has, so that its end does not run into its beginning."""
PARTS = 16
"""Parts of a cycle."""
_TURN = 2 * np.pi
_DAY = 86_400_000_000


@dataclass(frozen=True, eq=False)
class Moving:
    """A column of a series."""

    name: str
    dtype: str
    low: float
    high: float
    decimals: int | None
    missing: float
    course: F64
    """Level at even knots over the learnt series."""
    spread: F64
    day: F64
    """What the time of day adds, in even parts of it; nothing: empty."""
    week: F64
    """What the time of week adds to that, in even parts of a week that begins on Thursday (1970-01-01)."""
    quantiles: F64
    """Of the noise, by part of the cycle; one row where there is none."""
    turning: tuple[float, float]
    """Radians a sample, and the variance by which the phase wanders in one; (0, 0) where there is no cycle."""
    levels: F64
    """The values that there are, where they are few; else empty."""


@dataclass(frozen=True, eq=False)
class SeriesModel:
    """See the module. `gaps` are the quantiles of the time from one sample to the next; `bands` and `spectra`, of shape (stretches, bands,
    columns, columns), the cross-spectra of the noise: band k is about the frequency `bands[k]` (cycles a sample)."""

    time: str
    time_dtype: str
    tick: float
    """Microseconds in a unit of the time as it is stored; 0 where it is a mere number."""
    first: float
    gaps: F64
    length: int
    parts: tuple[Moving, ...]
    bands: F64
    spectra: NDArray[np.complex128]

    @property
    def columns(self) -> tuple[str, ...]:
        return (self.time, *(p.name for p in self.parts))

    @property
    def step(self) -> float:
        """The mean time between samples."""
        return float(self.gaps.mean())

    def sample(self, given: Table, stream: Stream) -> Table:
        at = rows(given).astype(np.int64)
        time = self.times(at, stream.child("time"))
        made = self.draw(at, time * self.tick, stream)
        columns = [_typed(self.time, self.time_dtype, time)]
        for part in self.parts:
            series = _typed(part.name, part.dtype, made[part.name])
            if part.missing:
                gone = stream.child("missing", part.name).uniform(rows(given)) < part.missing
                series = series.set(pl.Series(gone), None)
            columns.append(series)
        return pl.DataFrame(columns)

    def times(self, at: NDArray[np.int64], stream: Stream) -> F64:
        """When samples are taken. The gaps of each run of samples are all quantiles in random order, so every run lasts as long."""
        run, into = np.divmod(at, len(self.gaps))
        total = self.gaps.sum()
        found = self.first + run * total
        for number in np.unique(run):
            order = np.argsort(stream.uniform(number * len(self.gaps) + np.arange(len(self.gaps))), kind="stable")
            passed = np.concatenate([[0.0], self.gaps[order].cumsum()])
            mine = run == number
            found[mine] += passed[into[mine]]
        return found

    def draw(self, at: NDArray[np.int64], time: F64, stream: Stream) -> dict[str, F64]:
        """The values of each column at sample numbers, which are taken at these times (microseconds since 1970)."""
        from scipy.special import ndtr

        noise = ndtr(self._noise(at, stream.child("noise")))
        place = _reflected(at, self.length) / max(1, self.length - 1)
        found = {}
        for n, part in enumerate(self.parts):
            u = noise[:, n]
            if part.turning[0]:
                value = self._cycling(part, u, at, stream.child("cycle", part.name))
            else:
                value = _quantile(part.quantiles, np.zeros(len(u), np.int64), u)
            value *= _along(part.spread, place)
            value += _along(part.course, place)
            for season, period in ((part.day, _DAY), (part.week, 7 * _DAY)):
                if len(season):
                    value += _around(season, time % period / period)
            found[part.name] = _settled(part, value)
        return found

    @cached_property
    def _roots(self) -> NDArray:
        size = self.spectra.shape[-1]
        return np.linalg.cholesky(self.spectra + 1e-9 * np.eye(size))

    @property
    def stretch(self) -> float:
        """Samples from the middle of one stretch to that of the next."""
        return self.length / len(self.spectra)

    def _noise(self, at: NDArray[np.int64], stream: Stream) -> F64:
        """Standard normal noise of each column. Stretch k has its middle at (k + 1/2) stretches and fades over one to either side."""
        found = np.zeros((len(at), len(self.parts)))
        place = at / self.stretch - 0.5
        before = np.floor(place).astype(np.int64)
        ahead = place - before
        reach = int(np.ceil(self.stretch))
        for number in np.unique(np.concatenate([before, before + 1])):
            begins = int(np.floor((number - 0.5) * self.stretch))
            series = self._stretch(int(number), 2 * reach + 2, stream)
            for mine, share in ((before == number, ahead), (before == number - 1, 1 - ahead)):
                if mine.any():
                    found[mine] += series[at[mine] - begins] * np.cos(np.pi / 2 * share[mine])[:, None]
        return found

    def _stretch(self, number: int, count: int, stream: Stream) -> F64:
        rng = stream.child(number).generator()
        size = count + PAD
        frequency = np.fft.rfftfreq(size)
        band = np.searchsorted((self.bands[1:] + self.bands[:-1]) / 2, frequency)
        shape = (len(frequency), len(self.parts))
        drawn = (rng.standard_normal(shape) + 1j * rng.standard_normal(shape)) * np.sqrt(size / 2)
        drawn[0] = 0.0
        root = self._roots[_reflected(np.array([number]), len(self.spectra))[0]]
        mixed = np.empty_like(drawn)
        for k in np.unique(band):
            mine = band == k
            mixed[mine] = drawn[mine] @ root[k].T
        return np.fft.irfft(mixed, size, axis=0)[:count]

    def _cycling(self, part: Moving, u: F64, at: NDArray[np.int64], stream: Stream) -> F64:
        """By the phase, a random walk with drift: known at every `PAD`-th sample, a bridge in between."""
        speed, wander = part.turning
        run = at // PAD
        last = int(run.max(initial=0)) + 1
        known = np.sqrt(wander * PAD) * np.concatenate([[0.0], stream.child("known").normal(np.arange(last))]).cumsum()
        phase = speed * at + _TURN * stream.child("start").uniform(np.zeros(1, np.int64))[0] + known[run]
        for number in np.unique(run):
            steps = np.sqrt(wander) * stream.child("bridge").normal(number * PAD + np.arange(PAD)).cumsum()
            share = np.arange(1, PAD + 1) / PAD
            mine = run == number
            bridge = steps - share * steps[-1] + share * (known[number + 1] - known[number])
            phase[mine] += bridge[at[mine] % PAD]
        which = (phase % _TURN / _TURN * PARTS).astype(np.int64) % PARTS
        return _quantile(part.quantiles, which, u)

    def state(self) -> tuple[dict[str, Any], dict[str, NDArray]]:
        plain: dict[str, Any] = {
            "time": [self.time, self.time_dtype, self.tick, self.first],
            "length": self.length,
            "columns": [],
        }
        arrays: dict[str, NDArray] = {
            "gaps": self.gaps,
            "bands": self.bands,
            "real": self.spectra.real.copy(),
            "imaginary": self.spectra.imag.copy(),
        }
        for n, part in enumerate(self.parts):
            kept = {k: getattr(part, k) for k in ("name", "dtype", "low", "high", "decimals", "missing")}
            plain["columns"].append({**kept, "turning": list(part.turning)})
            arrays |= {f"{name}.{n}": getattr(part, name) for name in _ARRAYS}
        return plain, arrays


_ARRAYS = ("course", "spread", "day", "week", "quantiles", "levels")


def rebuild_series(plain: Mapping[str, Any], arrays: Mapping[str, NDArray]) -> SeriesModel:
    """The inverse of `SeriesModel.state`. Raises ValueError for what is no series."""
    parts = []
    for n, entry in enumerate(plain["columns"]):
        held = {name: np.array(arrays[f"{name}.{n}"], np.float64) for name in _ARRAYS}
        if not all(np.isfinite(a).all() for a in held.values()) or not len(held["course"]) or not len(held["spread"]):
            raise ValueError("its columns have no course, or none that is finite")
        speed, wander = (float(x) for x in entry["turning"])
        if held["quantiles"].ndim != 2 or held["quantiles"].shape[0] not in (1, PARTS) or wander < 0:
            raise ValueError("its quantiles are not those of a series")
        if speed and held["quantiles"].shape[0] != PARTS:
            raise ValueError("its cycle has not as many parts as one has")
        low, high, missing = (float(entry[k]) for k in ("low", "high", "missing"))
        decimals = None if entry["decimals"] is None else int(entry["decimals"])
        dtype_of(str(entry["dtype"]))
        parts.append(
            Moving(
                str(entry["name"]), str(entry["dtype"]), low, high, decimals, missing, turning=(speed, wander), **held
            )
        )
    gaps, bands = (np.array(arrays[name], np.float64) for name in ("gaps", "bands"))
    spectra = np.array(arrays["real"], np.float64) + 1j * np.array(arrays["imaginary"], np.float64)
    time, dtype, tick, first = plain["time"]
    length = int(plain["length"])
    names = [str(time), *(p.name for p in parts)]
    if spectra.shape[1:] != (len(bands), len(parts), len(parts)) or not 1 <= len(spectra) <= length:
        raise ValueError("its spectra are not those of its columns")
    if not parts or len(set(names)) < len(names) or not len(gaps) or not np.isfinite(gaps).all() or gaps.min() < 0:
        raise ValueError("its columns or gaps are not those of a series")
    dtype_of(str(dtype))
    return SeriesModel(str(time), str(dtype), float(tick), float(first), gaps, length, tuple(parts), bands, spectra)


def _reflected(at: NDArray[np.int64], length: int) -> NDArray[np.int64]:
    """Places on a way of this length that is walked to its end and back."""
    if length < 2:
        return np.zeros_like(at)
    inside = at % (2 * length)
    return np.where(inside < length, inside, 2 * length - 1 - inside)


def _along(knots: F64, place: F64) -> F64:
    """Between knots at the middles of even parts of [0, 1]."""
    return np.interp(place, (np.arange(len(knots)) + 0.5) / len(knots), knots)


def _around(knots: F64, turn: F64) -> F64:
    """The same on a circle."""
    middle = (np.arange(-1, len(knots) + 1) + 0.5) / len(knots)
    return np.interp(turn, middle, np.concatenate([knots[-1:], knots, knots[:1]]))


def _quantile(tables: F64, which: NDArray[np.int64], u: F64) -> F64:
    """Linear between quantiles at the middles of even parts of [0, 1]."""
    place = np.clip(u * tables.shape[1] - 0.5, 0.0, tables.shape[1] - 1.0)
    low = place.astype(np.int64)
    share = place - low
    return tables[which, low] * (1 - share) + tables[which, np.minimum(low + 1, tables.shape[1] - 1)] * share


def _settled(part: Moving, value: F64) -> F64:
    """Within the range, on a value that there is."""
    np.clip(value, part.low, part.high, out=value)
    if len(part.levels) > 1:
        above = np.clip(np.searchsorted(part.levels, value), 1, len(part.levels) - 1)
        low, high = part.levels[above - 1], part.levels[above]
        return np.where(value - low < high - value, low, high)
    return value if part.decimals is None else np.round(value, part.decimals)


def _typed(name: str, dtype: str, value: F64) -> pl.Series:
    kind = dtype_of(dtype)
    bare = Marginal(name, kind, 0.0, np.array([0.0, 1.0]), np.zeros(1), np.zeros(1))
    return bare._typed(value if kind.is_float() else np.rint(value).astype(np.int64))
