"""What a device's signals see of its life: how worn it is, how charged, and where it drives."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ...core.domain import Block
from ...core.stream import F64
from .ways import Way

if TYPE_CHECKING:
    from .terms import Setting

AWAKE = ("up", "degraded")
"""The states in which a device samples."""
Life = Sequence[tuple[Any, ...]]
"""A device's spans in order of time: start, end, state, wear at both, charge at both."""


class Gauges:
    """Each by grid point of a stretch, and worked out once for all channels that ask."""

    def __init__(self, life: Life, block: Block, number: int) -> None:
        self._life, self._way = life, Way(block.stream.child("way", number), block.priors)

    def wear(self, s: Setting, power: float) -> F64:
        """Share of the part's life that is spent, to a power."""
        return _once(s, ("wear", power), lambda: np.power(self._gauge(s, 1), power))

    def charge(self, s: Setting) -> F64:
        """Per cent of the battery left."""
        return _once(s, ("charge",), lambda: self._gauge(s, 3))

    def track(self, s: Setting) -> tuple[F64, F64, F64]:
        """Latitude, longitude (deg) and speed (km/h)."""
        return _once(s, ("track",), lambda: self._way.drive(s))

    def within(self, s: Setting, state: str) -> NDArray[np.bool_]:
        """Whether the device is in a state."""
        spans = [(t0, t1) for t0, t1, now, *_ in self._life if now == state]
        starts, ends = np.array(spans, np.int64).reshape(-1, 2).T
        return np.searchsorted(starts, s.at(), "right") > np.searchsorted(ends, s.at(), "right")

    def running(self, s: Setting) -> F64:
        """Seconds since it last came up: without end, where it has been up for as long as its life is known."""
        pairs = pairwise(self._life)
        starts = np.array([t0 for (_, _, was, *_), (t0, _, now, *_) in pairs if now in AWAKE and was not in AWAKE])
        last = np.searchsorted(starts, s.at(), "right") - 1
        since = np.full(s.count, np.inf)
        since[last >= 0] = (s.at()[last >= 0] - starts[last[last >= 0]]) / 1e6
        return since

    def _gauge(self, s: Setting, column: int) -> F64:
        known = [(t0, t1, g[column], g[column + 1]) for t0, t1, *g in self._life if g[column] is not None]
        if not known:
            return np.zeros(s.count)
        times = np.array([t for t0, t1, *_ in known for t in (t0, t1 - 1)], np.float64)
        return np.interp(s.at(), times, [x for _, _, *pair in known for x in pair])


def _once(s: Setting, name: tuple, work: Callable[[], Any]) -> Any:
    if name not in s.known:
        s.known[name] = work()
    return s.known[name]
