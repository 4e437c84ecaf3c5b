"""What: the values of a device's channels, from their models, the site's weather and people, and the device's own life."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from ...core.stream import F64, Stream
from .climate import HOUR
from .profiles import Channel, Profile
from .terms import TERMS, Setting

_KNOT = 300_000_000  # the smooth part of a signal is worked out every five minutes and interpolated
_FEW = 16

__all__ = ["HOUR", "channel_values", "quantise"]


def channel_values(profile: Profile, setting: Setting, streams: dict[str, Stream]) -> Iterator[tuple[str, F64]]:
    """The values of each channel of a device on its grid, in the profile's order. They are the caller's to change, but only after the
    last: a channel may depend on those before it."""
    for channel in profile.channels:
        setting = replace(setting, rng=streams[channel.signal].generator())
        values = _series(channel, setting)
        setting.made[channel.signal] = values
        yield channel.signal, values


def _series(channel: Channel, s: Setting) -> F64:
    every = max(1, _KNOT // s.interval)
    knots = s.first + s.interval * every * np.arange(-(-s.count // every) + 1)
    smooth, values = np.zeros(len(knots)), None
    for entry in channel.model:
        term = TERMS[entry["term"]]
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
    lines = np.empty((len(smooth) - 1, every))
    rise = np.diff(smooth) / every
    np.copyto(lines[:, 0], smooth[:-1])
    if every <= _FEW:
        # column by column: each is one addition for all knots
        for k in range(1, every):
            np.add(lines[:, k - 1], rise, out=lines[:, k])
    else:
        np.multiply(rise[:, None], np.arange(every), out=lines)
        lines += smooth[:-1, None]
    flat = lines.ravel()[:count]
    if values is None:
        return flat
    values += flat
    return values


def quantise(values: F64, resolution: float, low: float, high: float) -> F64:
    """To whole steps within the range, in place. Division by the whole number of steps in a unit gives the nearest float to each decimal."""
    steps = float(round(1 / resolution))
    values *= steps
    np.rint(values, out=values)
    np.clip(values, low * steps, high * steps, out=values)
    values /= steps
    values += 0.0  # turns -0.0 into 0.0
    return values
