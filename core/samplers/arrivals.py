"""When things happen: point processes for many parents at once, each event with an address of its own.

An event belongs to a parent's address, so a parent's events depend neither on which other parents there are nor on their number.
Events come in no particular order within their parent.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..domain import Window
from ..errors import UserError
from ..stream import F64, U64, Stream, join_rows
from .distributions import DISTRIBUTIONS
from .rhythm import DAY, Rhythm

_FADED = 7.0
"""How many mean lifetimes of a cluster go by before it counts as over: what is left is exp(-7), under one in a thousand."""

_EARLY = 1 << 40
"""Where the numbering of immigrants from before the window begins."""


@dataclass(frozen=True, eq=False)
class Arrivals:
    """Events, one entry in each array: the position of the parent among those given, the event's row address, and the time in
    microseconds since 1970."""

    position: NDArray[np.int64]
    row: U64
    time: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.time)


def poisson(stream: Stream, parents: NDArray, rate: F64 | float, window: Window) -> Arrivals:
    """Events at a constant rate, independent of one another. `rate` is per day and parent: a number, or one for each parent."""
    position, row = _events(stream, parents, _rates(rate, parents) * window.days)
    return Arrivals(position, row, _within(stream.child("time").uniform(row), window.start, window.end))


def calendar(stream: Stream, parents: NDArray, rate: F64 | float, window: Window, rhythm: Rhythm) -> Arrivals:
    """As `poisson`, with times shaped by hour, weekday and month. `rate` is the mean over the window, per day and parent."""
    position, row = _events(stream, parents, _rates(rate, parents) * window.days)
    return Arrivals(position, row, rhythm.over(window).moment(stream.child("time").uniform(row)))


def hawkes(
    stream: Stream,
    parents: NDArray,
    rate: F64 | float,
    window: Window,
    *,
    branching: float,
    decay: float,
    rhythm: Rhythm | None = None,
) -> Arrivals:
    """Self-exciting events: each brings forth `branching` others on average (0 to below 1), after exponential delays of mean 1 / `decay` days.

    `rate` is the mean of all events per day and parent. Built from clusters (Hawkes and Oakes 1974, "A cluster process representation of a
    self-exciting process"): immigrants from before the window are followed until they fade, so that the window begins in the stationary
    state; with a `rhythm`, immigrants within the window keep to it.
    """
    if not 0.0 <= branching < 1.0:
        raise UserError(f"hawkes: branching is {branching}, expected at least 0 and below 1, or the process explodes")
    if not 0.0 < decay < np.inf:
        raise UserError(f"hawkes: decay is {decay}, expected a number above 0, per day")
    rates = _rates(rate, parents) * (1.0 - branching)
    fresh = stream.child("immigrant")
    waves = [calendar(fresh, parents, rates, window, rhythm) if rhythm else poisson(fresh, parents, rates, window)]
    if branching:
        before = Window(window.start - int(_FADED * DAY / (decay * (1.0 - branching))), window.start)
        position, row = _events(stream.child("early"), parents, rates * before.days, _EARLY)
        u = stream.child("early", "time").uniform(row)
        waves.append(Arrivals(position, row, _within(u, before.start, before.end)))
    wave = _joined(waves)
    kept = []
    while len(wave):
        inside = wave.time >= window.start
        kept.append(Arrivals(wave.position[inside], wave.row[inside], wave.time[inside]))
        source, row = _events(stream.child("offspring"), wave.row, np.full(len(wave), branching))
        delay = -np.log1p(-stream.child("delay").uniform(row)) / decay * DAY
        time = wave.time[source] + delay.astype(np.int64)
        held = np.flatnonzero(time < window.end)
        wave = Arrivals(wave.position[source[held]], row[held], time[held])
    return _joined(kept)


def _events(stream: Stream, parents: NDArray, mean: F64, first: int = 0) -> tuple[NDArray[np.int64], U64]:
    """A Poisson number of children of each parent, numbered from `first`: the parent's position and the child's address."""
    parents = np.asarray(parents).astype(np.uint64)
    count = DISTRIBUTIONS["poisson"].draw(stream.child("count").uniform(parents), _scalar(mean))
    position = np.repeat(np.arange(len(parents)), count)
    k = np.arange(len(position)) - np.repeat(np.cumsum(count) - count, count)
    return position, join_rows(parents[position], first + k)


def _scalar(mean: F64) -> F64 | float:
    """One number where all are the same: a table serves then for the inverse distribution function."""
    return float(mean[0]) if len(mean) and (mean == mean[0]).all() else mean


def _rates(rate: F64 | float, parents: NDArray) -> F64:
    rates = np.broadcast_to(np.asarray(rate, dtype=np.float64), np.shape(parents))
    bad = ~(np.isfinite(rates) & (rates >= 0))
    if bad.any():
        raise UserError(f"arrivals: a rate is {rates[bad][0]}, expected zero or more per day")
    return rates


def _within(u: F64, start: int, end: int) -> NDArray[np.int64]:
    return start + np.minimum((u * (end - start)).astype(np.int64), end - start - 1)


def _joined(parts: list[Arrivals]) -> Arrivals:
    if not parts:
        return Arrivals(np.empty(0, np.int64), np.empty(0, np.uint64), np.empty(0, np.int64))
    return Arrivals(*(np.concatenate([getattr(p, name) for p in parts]) for name in ("position", "row", "time")))
