"""The vocabulary of wrong values: pure functions from a span of a channel to the values that it gives instead.

Sizes are in units of the channel's own series, so that one number means the same for a thermometer and a meter: `sigma`, the standard
deviation about its usual day, for what lasts; `step`, the standard deviation of the change from one sample to the next, for what acts
sample by sample. What is named `edge` is the share of the span over which an effect comes, and again goes, by a raised cosine: without
it the first difference gives every level shift away.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ....core.stream import F64
from ..civil import HOUR
from ..noise import autoregression
from ..readings import I64


@dataclass(frozen=True)
class Span:
    """The samples [a, b) of a series, and what a distortion may look at."""

    whole: F64
    grid: I64
    a: int
    b: int
    sigma: float
    step: float
    low: float
    high: float
    up: bool
    """The way to go where either would do."""
    rng: np.random.Generator
    beside: tuple[F64, float, float] | None = None
    """Another channel of the device over the same samples: its values, and its own sigma and step."""

    @property
    def values(self) -> F64:
        return self.whole[self.a : self.b]

    @cached_property
    def passed(self) -> F64:
        """From 0 at the first sample to 1 at the last."""
        at = self.grid[self.a : self.b]
        return (at - at[0]) / max(1, int(at[-1] - at[0]))

    @property
    def interval(self) -> float:
        """Between samples, microseconds."""
        return float(self.grid[-1] - self.grid[0]) / max(1, len(self.grid) - 1)

    def shift(self, amount: float, unit: str, direction: str) -> float:
        """An amount in the channel's unit, with its sign. What would leave the range upwards goes down, and the other way round."""
        size = abs(amount) * {"sigma": self.sigma, "step": self.step, "unit": 1.0}[unit]
        if direction != "either":
            return size if direction == "up" else -size
        above, below = np.nanmax(self.values) + size <= self.high, np.nanmin(self.values) - size >= self.low
        up = self.up if above == below else above
        return size if up else -size

    def fade(self, edge: float) -> F64:
        """1 inside the span, falling to 0 at both ends over a share `edge` of it."""
        if edge <= 0:
            return np.ones(self.b - self.a)
        ramp = np.clip(np.minimum(self.passed, 1 - self.passed) / edge, 0, 1)
        return (1 - np.cos(np.pi * ramp)) / 2

    @cached_property
    def course(self) -> F64:
        """The course of the whole series without its quick changes: a moving mean."""
        return moving_mean(self.whole, QUICK)

    @property
    def slow(self) -> F64:
        """The course of the span."""
        return self.course[self.a : self.b]

    def follow(self, course: F64, edge: float) -> F64:
        """Another course with the quick changes that there are: their blend would be calmer than either, and give itself away."""
        return self.values + self.fade(edge) * (course - self.slow)


QUICK = 61
"""Samples over which the course of a series is averaged."""
Distortion = Callable[..., F64]


def moving_mean(series: F64, samples: int) -> F64:
    """The mean of `samples` about each, fewer at the ends."""
    total = np.concatenate([[0.0], np.cumsum(series)])
    at = np.arange(len(series))
    first, last = np.maximum(at - samples // 2, 0), np.minimum(at + samples // 2 + 1, len(series))
    return (total[last] - total[first]) / (last - first)


def at_places(series: F64, at: NDArray) -> F64:
    """A series at places given as sample numbers, whole or not; beyond its ends it is mirrored."""
    n = len(series) - 1
    if n < 1:
        return np.full(len(at), series[0])
    at = np.abs(at) % (2 * n)
    return np.interp(np.minimum(at, 2 * n - at), np.arange(n + 1), series)


def offset(span: Span, amount: float, unit: str = "sigma", direction: str = "either", edge: float = 0.0) -> F64:
    """A constant error."""
    return span.values + span.shift(amount, unit, direction) * span.fade(edge)


def ramp(
    span: Span,
    amount: float,
    power: float = 1.0,
    wander: float = 0.0,
    unit: str = "sigma",
    direction: str = "either",
    fall: float = 0.0,
) -> F64:
    """An error that grows from nothing to `amount` at the end, as a power of the time passed; with `wander`, along a random walk tied
    down at both ends; with `fall`, back to nothing over the last share of the span."""
    n = span.b - span.a
    walk = span.rng.standard_normal(n).cumsum() / np.sqrt(n)
    detour = walk - span.passed * walk[-1] - (1 - span.passed) * walk[0]
    shape = span.passed**power + wander * detour
    if fall > 0:
        shape = shape * np.clip((1 - span.passed) / fall, 0, 1)
    return span.values + span.shift(amount, unit, direction) * shape


def wave(span: Span, amount: float, minutes: float, unit: str = "sigma", edge: float = 0.0, power: float = 0.0) -> F64:
    """A sine of amplitude `amount`; with `power`, it grows as that power of the time passed."""
    phase = 2 * np.pi * (span.grid[span.a : span.b] - span.grid[span.a]) / (minutes * 60e6)
    return span.values + span.shift(amount, unit, "up") * np.sin(phase) * span.fade(edge) * span.passed**power


def gain(span: Span, amount: float, direction: str = "either", edge: float = 0.0) -> F64:
    """A wrong scale factor about zero, such that the error at the span's mean is `amount` sigma."""
    level = float(np.mean(np.abs(span.values))) or 1.0
    return span.values * (1 + span.shift(amount, "sigma", direction) / level * span.fade(edge))


def amplify(span: Span, amount: float, edge: float = 0.0) -> F64:
    """Swings of the course about the span's own mean that are 1 + `amount` times as large."""
    return span.values + (span.slow - np.mean(span.slow)) * amount * span.fade(edge)


def hold(span: Span, level: float = 0.0, keep: bool = False, edge: float = 0.0) -> F64:
    """The first value, `level` sigma off, for the whole span; with `keep`, the quick changes go on about it."""
    off = span.shift(level, "sigma", "either") if level else 0.0
    if keep:
        return span.follow(np.full(span.b - span.a, span.slow[0] + off), edge)
    return span.values + span.fade(edge) * (span.values[0] + off - span.values)


def noise(
    span: Span, amount: float, unit: str = "step", memory: float = 0.0, edge: float = 0.0, power: float = 0.0
) -> F64:
    """More noise: Gaussian, with a correlation that falls to 1/e in `memory` seconds; with `power`, it grows as that power of time."""
    phi = float(np.exp(-span.interval / 1e6 / memory)) if memory > 0 else 0.0
    drawn = autoregression(span.rng, span.b - span.a, 1.0, phi)
    return span.values + span.shift(amount, unit, "up") * drawn * span.fade(edge) * span.passed**power


def vary(span: Span, amount: float, edge: float = 0.0) -> F64:
    """Quick changes that are 1 + `amount` times as large."""
    return span.values + amount * (span.values - span.slow) * span.fade(edge)


def extreme(span: Span, amount: float, context: float = 5, unit: str = "step", direction: str = "either") -> F64:
    """The most (or least) of the `context` samples about each, and `amount` beyond."""
    far = span.shift(amount, unit, direction)
    at = np.arange(span.a, span.b)
    half = int(context) // 2
    windows = np.clip(at[:, None] + np.arange(-half, half + 1), 0, len(span.whole) - 1)
    near = span.whole[windows]
    return (near.max(axis=1) if far > 0 else near.min(axis=1)) + far


def spike(span: Span, amount: float, unit: str = "step", direction: str = "either") -> F64:
    """What the two samples beside each have between them, and `amount` off."""
    at = np.arange(span.a, span.b)
    before, after = (span.whole[np.clip(at + k, 0, len(span.whole) - 1)] for k in (-1, 1))
    return (before + after) / 2 + span.shift(amount, unit, direction)


def clip(span: Span, beyond: float, direction: str = "up") -> F64:
    """Held at the level that a share `beyond` of the span's values would pass."""
    if direction == "up":
        return np.minimum(span.values, np.quantile(span.values, 1 - beyond))
    return np.maximum(span.values, np.quantile(span.values, beyond))


def coarsen(span: Span, amount: float, unit: str = "sigma") -> F64:
    """Rounded to whole steps of `amount`."""
    size = abs(span.shift(amount, unit, "up"))
    return np.rint(span.values / size) * size


def convert(span: Span, scale: float = 1.0, shift: float = 0.0) -> F64:
    """In another unit: value * scale + shift."""
    return span.values * scale + shift


def constant(span: Span, value: float) -> F64:
    """One value, given in the channel's unit."""
    return np.full(span.b - span.a, float(value))


def mirror(span: Span, edge: float = 0.0) -> F64:
    """A course that is upside down about the span's mean."""
    return span.follow(2 * float(np.mean(span.slow)) - span.slow, edge)


def negate(span: Span) -> F64:
    """The other sign."""
    return -span.values


def respond(span: Span, minutes: float) -> F64:
    """What a first-order sensor of this time constant gives."""
    alpha = 1 - float(np.exp(-span.interval / (minutes * 60e6)))
    return pl.Series(span.values).ewm_mean(alpha=alpha, adjust=False).to_numpy()


def mix(span: Span, amount: float, quick: float = 1.0, edge: float = 0.0) -> F64:
    """Another channel's departure from its mean leaks in. Of its course, each of its sigmas as `amount` of this channel's; of its quick changes,
    which what both share smooths, a share `quick` of that, and no more in steps of this channel's own than of the other's."""
    if span.beside is None:
        return span.values
    other, sigma, step = span.beside
    course = moving_mean(other, QUICK)
    changes = min(span.sigma / sigma, span.step / step) * (other - course)
    leak = span.sigma / sigma * (course - other.mean()) + quick * changes
    return span.values + amount * leak * span.fade(edge)


def swap(span: Span) -> F64:
    """The other channel's values."""
    return span.values if span.beside is None else span.beside[0]


def replay(span: Span, hours: float, within: float = 0.0) -> F64:
    """What the channel gave some hours before, word for word; with `within`, up to so many hours earlier or later, where it joins best."""
    back, most = round(hours * HOUR / span.interval), round(within * HOUR / span.interval)
    tried = back + np.arange(-most, most + 1)
    seams = np.zeros(len(tried))
    for inside, beside in ((span.a, span.a - 1), (span.b - 1, span.b)):
        if 0 <= beside < len(span.whole):
            seams = np.maximum(seams, np.abs(at_places(span.whole, inside - tried) - span.whole[beside]))
    return at_places(span.whole, np.arange(span.a, span.b) - tried[np.argmin(seams)])


def lag(span: Span, hours: float, edge: float = 0.0) -> F64:
    """A course that comes some hours late."""
    back = round(hours * HOUR / span.interval)
    return span.follow(at_places(span.course, np.arange(span.a, span.b) - back), edge)


def stretch(span: Span, factor: float, edge: float = 0.0) -> F64:
    """A course that runs `factor` times as fast."""
    return span.follow(at_places(span.course, span.a + np.arange(span.b - span.a) * factor), edge)


def reverse(span: Span, edge: float = 0.0) -> F64:
    """A course that runs backwards in time."""
    return span.follow(span.slow[::-1], edge)


def wrap(span: Span, modulus: float) -> F64:
    """What is left after division: a register of too few bits."""
    return np.mod(span.values, modulus)


def restart(span: Span) -> F64:
    """What has been counted since the span began."""
    return span.values - span.values[:1]


DISTORTIONS: dict[str, Distortion] = {
    f.__name__: f
    for f in (
        offset, ramp, wave, gain, amplify, hold, noise, vary, extreme, spike, clip, coarsen, convert, constant, mirror,
        negate, respond, mix, swap, replay, lag, stretch, reverse, wrap, restart,
    )
}  # fmt: skip


def chosen(rng: np.random.Generator, n: int, among: dict[str, Any], uneven: F64 | None = None) -> Any:
    """Which samples of a span a distortion takes: all, a `share` of them, or a number of `samples`, at random; if `level`, of the tenth with
    the least of what is `uneven` about them."""
    taken = np.ones(n, bool)
    if "samples" in among:
        taken[:] = False
        there = np.arange(n)
        if among.get("level") and uneven is not None:
            there = np.sort(np.argsort(uneven, kind="stable")[: max(int(among["samples"]), -(-n // 10))])
        taken[rng.choice(there, min(n, int(among["samples"])), replace=False)] = True
    elif "share" in among:
        taken = rng.random(n) < among["share"]
    return taken


def unevenness(series: F64, a: int, b: int) -> F64:
    """How far apart the two samples beside each are: where they are alike, one that is off has no help from the noise in either difference."""
    at = np.arange(a, b)
    before, after = (series[np.clip(at + k, 0, len(series) - 1)] for k in (-1, 1))
    return np.abs(after - before)
