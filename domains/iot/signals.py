"""What: the values of a device's channels, from their models, the site's weather and people, and the device's own life."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any

import numpy as np

from ...core.stream import F64, Stream
from .civil import HOUR
from .climate import Climate
from .gauges import Gauges
from .profiles import Channel, Profile
from .terms import TERMS, Setting

_KNOT = 300_000_000  # the smooth part of a signal is worked out every five minutes and interpolated
_FEW = 8
STRETCH = 1 << 14
"""Points of a device's grid that are worked on at a time: some ten series of them fit in a processor's cache of a megabyte or two."""

__all__ = ["HOUR", "quantise", "stretches"]


def stretches(
    profile: Profile,
    grid: tuple[int, int, int],
    shared: Climate,
    streams: Mapping[str, Stream],
    gauges: Gauges,
) -> Iterator[tuple[int, dict[str, F64]]]:
    """The values of a device's channels by stretches of its grid (first point, interval, count): where each starts, and its values by
    signal, in the profile's order, for a channel may depend on those before it."""
    first, interval, count = grid
    every = _every(interval)
    length = STRETCH // every * every
    kept: dict[Any, Any] = {}
    lasting: dict[Any, Any] = {}
    drawn = {signal: stream.generator() for signal, stream in streams.items()}
    for start in range(0, count, length):
        n = min(length, count - start)
        at = first + interval * start
        s = Setting(
            at, interval, n, shared, drawn[profile.channels[0].signal], {}, gauges, start, count, lasting=lasting
        )
        for channel in profile.channels:
            s.rng = drawn[channel.signal]
            s.made[channel.signal] = _series(channel, s, kept)
        yield start, s.made


def _every(interval: int) -> int:
    """Points from one knot to the next."""
    return min(max(1, _KNOT // interval), STRETCH)


def _series(channel: Channel, s: Setting, kept: dict[Any, Any] | None = None) -> F64:
    """A channel's values over a stretch. What its terms keep for the next stands in `kept`."""
    kept = {} if kept is None else kept
    every = _every(s.interval)
    knots = s.first + s.interval * every * np.arange(-(-s.count // every) + 1)
    smooth, values = np.zeros(len(knots)), None
    for n, entry in enumerate(channel.model):
        term = TERMS[entry["term"]]
        s.kept = kept.setdefault((channel.signal, n), {})
        if term.smooth:
            smooth += term.run(s, entry, knots)
            continue
        values = _join(values, smooth, every, s.count)
        values = term.run(s, entry, values)
        smooth = np.zeros(len(knots))
    return _join(values, smooth, every, s.count)


def _join(values: F64 | None, smooth: F64, every: int, count: int) -> F64:
    """Add what stands at the knots, with straight lines between them."""
    if values is not None and not smooth.any():
        return values
    rise = np.diff(smooth)
    if every <= _FEW:
        # column by column: each is one addition for all knots
        lines = np.empty((len(rise), every))
        rise /= every
        np.copyto(lines[:, 0], smooth[:-1])
        for k in range(1, every):
            np.add(lines[:, k - 1], rise, out=lines[:, k])
        flat = lines.ravel()[:count]
    else:
        flat = np.repeat(rise, every)
        flat *= _ramps(len(rise), every)
        flat += np.repeat(smooth[:-1], every)
        flat = flat[:count]
    if values is None:
        return flat
    values += flat
    return values


@lru_cache(64)
def _ramps(knots: int, every: int) -> F64:
    """From nothing to almost one, between all knots."""
    return np.tile(np.arange(every) / every, knots)


def quantise(values: F64, resolution: float, low: float, high: float) -> F64:
    """To whole steps within the range, in place. Division by the whole number of steps in a unit gives the nearest float to each decimal."""
    steps = float(round(1 / resolution))
    values *= steps
    np.rint(values, out=values)
    np.clip(values, low * steps, high * steps, out=values)
    values /= steps
    values += 0.0  # turns -0.0 into 0.0
    return values
