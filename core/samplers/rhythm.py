"""How busy time is: weights by hour, weekday and month, and the moments that follow from them. All in UTC."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from ..domain import Window
from ..errors import UserError
from ..stream import F64

HOUR = 3_600_000_000
DAY = 24 * HOUR
_CHUNK = 1 << 14


@dataclass(frozen=True)
class Rhythm:
    """Relative rates: by hour of the day (24, from midnight), by weekday (7, from Monday) and by month (12, from January).

    The rate at a moment is the product of the three; only ratios matter.
    """

    hours: tuple[float, ...] = (1.0,) * 24
    weekdays: tuple[float, ...] = (1.0,) * 7
    months: tuple[float, ...] = (1.0,) * 12

    def __post_init__(self) -> None:
        for name, size in (("hours", 24), ("weekdays", 7), ("months", 12)):
            weights: Sequence[float] = tuple(float(w) for w in getattr(self, name))
            object.__setattr__(self, name, weights)
            if len(weights) != size:
                raise UserError(f"rhythm: {name} has {len(weights)} weights, expected {size}")
            if not all(0.0 <= w < np.inf for w in weights) or not any(weights):
                raise UserError(f"rhythm: {name} is {weights}, expected weights of zero or more, not all zero")

    def over(self, window: Window) -> Clock:
        """This rhythm laid over a window. Raises UserError if the window is empty or has no busy hour."""
        return _clock(self, window)


@dataclass(frozen=True, eq=False)
class Clock:
    """A window with busy time running through it: from real time to the share of all activity that lies before it, and back."""

    edges: NDArray[np.int64]
    """Where the hours begin, in microseconds since 1970, and the window's end last."""
    before: F64
    """The share of activity before each edge: from 0 to 1."""

    def moment(self, share: F64) -> NDArray[np.int64]:
        """The moment, in microseconds since 1970, before which a share (0 to 1) of all activity lies."""
        shape, share = np.shape(share), np.ravel(share)
        hour = np.minimum(self._hour(share), len(self.edges) - 2)
        span = np.diff(self.edges)
        width = np.diff(self.before)
        speed = np.divide(span, width, out=np.zeros(len(span)), where=width > 0)
        out = np.empty(len(share), np.int64)
        for at in range(0, len(share), _CHUNK):
            i = hour[at : at + _CHUNK]
            into = np.maximum((share[at : at + _CHUNK] - self.before[i]) * speed[i], 0.0).astype(np.int64)
            out[at : at + _CHUNK] = self.edges[i] + np.minimum(into, span[i] - 1)
        return out.reshape(shape)

    def share(self, moment: NDArray) -> F64:
        """The share of all activity that lies before each moment."""
        return np.interp(moment, self.edges, self.before)

    def _hour(self, share: F64) -> NDArray[np.int64]:
        from .rules import Guide

        if not hasattr(self, "_guide"):
            object.__setattr__(self, "_guide", Guide(self.before[None, 1:]))
        return self._guide.choose(share)  # type: ignore[attr-defined]


@lru_cache(maxsize=64)
def _clock(rhythm: Rhythm, window: Window) -> Clock:
    if window.end <= window.start:
        raise UserError(f"the window ends at {window.end}, which is not after its start, {window.start}")
    first = window.start // HOUR
    hours = np.arange(first, -(-window.end // HOUR))
    edges = np.append(np.maximum(hours * HOUR, window.start), window.end)
    days = hours // 24
    month = days.astype("datetime64[D]").astype("datetime64[M]").astype(np.int64) % 12
    rate = (
        np.asarray(rhythm.hours)[hours % 24]
        * np.asarray(rhythm.weekdays)[(days + 3) % 7]  # 1970-01-01 was a Thursday
        * np.asarray(rhythm.months)[month]
    )
    activity = np.append(0.0, np.cumsum(rate * np.diff(edges)))
    if activity[-1] <= 0:
        raise UserError("rhythm: no hour of the window has a weight above zero")
    return Clock(edges, activity / activity[-1])
