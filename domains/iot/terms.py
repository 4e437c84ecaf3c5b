"""The vocabulary of signal models: what a profile may add up to a channel. Each term is a function of the device's setting.

A term adds to the values of a channel or changes them, in the order in which the model lists them. *Smooth* terms are worked out at
knots five minutes apart and interpolated: they are all that a term of seasons, weather and people needs.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...core.stream import F64, Stream
from .civil import DAY, HOUR
from .climate import Climate
from .gauges import Gauges
from .noise import autoregression, normals, recur

I64 = NDArray[np.int64]
Values = Mapping[str, Any]


@dataclass
class Setting:
    """What a term may look at: a stretch of the device's grid, its site, its life, and its channels made before this one. A device is
    worked on in stretches, so that all that is at work stays in the processor's cache."""

    first: int
    interval: int
    count: int
    """The stretch: `first + interval * arange(count)`, in microseconds since 1970."""
    shared: Climate
    rng: np.random.Generator
    made: dict[str, F64] = field(default_factory=dict)
    gauges: Gauges | None = None
    """Its wear, its charge and its way."""
    since: int = 0
    """The index of the stretch's first point on the grid."""
    whole: int = 0
    """How many points the whole grid has; none said: those of the stretch."""
    kept: dict[Any, Any] = field(default_factory=dict)
    """What this very term has kept from the stretch before. It is the term's to change."""
    known: dict[Any, Any] = field(default_factory=dict)
    """What several channels ask of the stretch."""
    lasting: dict[Any, Any] = field(default_factory=dict)
    """What terms of several channels share from one stretch to the next."""

    @property
    def seconds(self) -> float:
        return self.interval / 1e6

    def at(self) -> I64:
        return self.first + self.interval * np.arange(self.count)

    def once(self, name: str, draw: Callable[[], float]) -> float:
        """What is drawn once for the device, in its first stretch."""
        if name not in self.kept:
            self.kept[name] = draw()
        return self.kept[name]


@dataclass(frozen=True)
class Term:
    run: Callable[..., Any]
    needs: tuple[str, ...]
    may: tuple[str, ...] = ()
    smooth: bool = False
    channels: bool = False
    """`of` names channels of the device that come before."""


# Smooth terms: (setting, values, times) -> what to add at these times. They may draw once for the device.


def _level(s: Setting, v: Values, at: I64) -> float:
    return v["value"] + (v["spread"] * s.once("place", s.rng.standard_normal) if v.get("spread") else 0.0)


def _day(s: Setting, v: Values, at: I64) -> F64:
    """A wave of the sun's, and so by standard time all year."""
    hour = (at + s.shared.civil.standard) % (24 * HOUR) / HOUR
    return v["amplitude"] * np.cos(2 * np.pi * (hour - v["peak"]) / 24)


def _week(s: Setting, v: Values, at: I64) -> F64:
    """Weekends, and public holidays as well."""
    return np.where(s.shared.civil.works(s.shared.civil.local(at) // (24 * HOUR)), 0.0, v["weekend"])


def _year(s: Setting, v: Values, at: I64) -> F64:
    return v["amplitude"] * np.cos(2 * np.pi * (at / (24 * HOUR) / 365.2425 - v["peak"] / 365.2425))


def _occupancy(s: Setting, v: Values, at: I64) -> F64:
    vary = v.get("vary", 0.0)
    # with a mean of one, however much places differ
    response = math.exp(vary * s.once("place", s.rng.standard_normal) - vary * vary / 2) if vary else 1.0
    return v["gain"] * response * s.shared.driver("occupancy", at)


def _weather(s: Setting, v: Values, at: I64) -> F64:
    return v["gain"] * s.shared.driver(v["of"], at)


def _wind(s: Setting, v: Values, at: I64) -> F64:
    """A Weibull law of wind speeds, by the site's wind."""
    from scipy.special import log_ndtr

    return v["scale"] * np.power(-log_ndtr(-s.shared.driver("wind", at)), 1 / v["shape"])


def _sun(s: Setting, v: Values, at: I64) -> F64:
    return v["gain"] * s.shared.irradiance(at)


def _hours(s: Setting, v: Values, at: I64) -> F64:
    """Between two local hours, on all days, or on weekdays that are no public holidays."""
    local = s.shared.civil.local(at)
    hour, day = local % (24 * HOUR) / HOUR, local // (24 * HOUR)
    on = (hour >= v["start"]) & (hour < v["end"])
    if v["days"] == "weekdays":
        on &= s.shared.civil.works(day)
    return v["gain"] * on


def _dark(s: Setting, v: Values, at: I64) -> F64:
    """One while the sun is below an elevation (deg), else nothing."""
    return v["gain"] * (s.shared.elevation(at) < v["below"])


# Other terms: (setting, values, x) -> x, in place where they can.


def _ar(s: Setting, v: Values, x: F64) -> F64:
    made = autoregression(s.rng, len(x), v["sigma"], math.exp(-s.seconds / v["memory"]), s.kept.get("last"))
    s.kept["last"] = float(made[-1])
    x += made
    return x


def _white(s: Setting, v: Values, x: F64) -> F64:
    x += normals(s.rng, len(x), v["sigma"])
    return x


def _walk(s: Setting, v: Values, x: F64) -> F64:
    """A random walk whose spread after an hour is `sigma`."""
    steps = normals(s.rng, len(x), v["sigma"] * math.sqrt(s.seconds / 3600))
    x += _summed(s, steps)
    return x


def _summed(s: Setting, steps: F64) -> F64:
    """The running sum, from where the stretch before has come to."""
    steps[:1] += s.kept.get("sum", 0.0)
    made = steps.cumsum()
    s.kept["sum"] = float(made[-1])
    return made


def _wear(s: Setting, v: Values, x: F64) -> F64:
    assert s.gauges
    x += v["gain"] * s.gauges.wear(s, v["exponent"])
    return x


def _charge(s: Setting, v: Values, x: F64) -> F64:
    assert s.gauges
    x += v["gain"] * s.gauges.charge(s)
    return x


def _state(s: Setting, v: Values, x: F64) -> F64:
    """Only while the device is in that state."""
    assert s.gauges
    x += v["gain"] * s.gauges.within(s, v["state"])
    return x


def _started(s: Setting, v: Values, x: F64) -> F64:
    """What a start leaves, and what dies away from it with a time constant of `seconds`: a housing that is still cold, an inrush."""
    assert s.gauges
    x += v["gain"] * np.exp(s.gauges.running(s) / -v["seconds"])
    return x


def _of(s: Setting, v: Values, x: F64) -> F64:
    x += v["gain"] * s.made[v["of"]]
    return x


def _product(s: Setting, v: Values, x: F64) -> F64:
    made = np.full(len(x), float(v["gain"]))
    for name in v["of"]:
        made *= s.made[name]
    x += made
    return x


def _quotient(s: Setting, v: Values, x: F64) -> F64:
    """The first channel over all others."""
    above, *below = (s.made[name] for name in v["of"])
    made = v["gain"] * above
    for values in below:
        made /= values
    x += made
    return x


def _curve(s: Setting, v: Values, x: F64) -> F64:
    """Straight lines through given points: a pump's curve, a turbine's power, a cell's voltage by its charge."""
    x += np.interp(s.made[v["of"]], v["x"], v["y"])
    return x


def _response(s: Setting, v: Values, x: F64) -> F64:
    """First order: what follows another channel with a time constant of `seconds`."""
    alpha = -math.expm1(-s.seconds / v["seconds"])
    asked = s.made[v["of"]]
    made = recur(alpha * asked, 1 - alpha, s.kept.get("last", float(asked[0])))
    s.kept["last"] = float(made[-1])
    x += v["gain"] * made
    return x


def _integral(s: Setting, v: Values, x: F64) -> F64:
    """The running integral of another channel over seconds, from a start of the device's own below `start`."""
    x += s.once("start", s.rng.random) * v.get("start", 0.0)
    y = s.made[v["of"]]
    # the trapezium between samples, so that a counter and the power it counts agree
    steps = np.empty(len(y))
    steps[0] = y[0] + s.kept["last"] if "last" in s.kept else 0.0
    np.add(y[1:], y[:-1], out=steps[1:])
    s.kept["last"] = float(y[-1])
    steps *= v["gain"] * s.seconds / 2
    x += _summed(s, steps)
    return x


def _count(s: Setting, v: Values, x: F64) -> F64:
    """Events in each interval: Poisson, at the rate per second that the model has added up so far. With `total`, all since the start."""
    made = s.rng.poisson(np.maximum(x, 0.0) * s.seconds).astype(np.float64)
    if v.get("total"):
        made = _summed(s, made)
        made += math.floor(s.once("start", s.rng.random) * v.get("start", 0.0))
    return made


def _toggle(s: Setting, v: Values, x: F64) -> F64:
    """On and off by turns, for spans with exponential lengths of these means in seconds; `of` a driver, its share of one is the
    chance that a span that could start does."""
    if "edges" not in s.kept:
        s.kept["edges"] = _turns(s, v)
    on, off = s.kept["edges"]
    point = (s.since + np.arange(s.count)) * s.seconds
    inside = np.searchsorted(on, point, "right") > np.searchsorted(off, point, "right")
    x += v["gain"] * inside
    return x


def _turns(s: Setting, v: Values) -> tuple[F64, F64]:
    """When it goes on and off over the whole grid, in seconds since its first point."""
    span, start = (s.whole or s.count) * s.seconds, s.first - s.since * s.interval
    n = max(16, int(span / (v["on"] + v["off"]) * 1.5) + 16)
    edges = np.zeros(1)
    while edges[-1] < span:
        more = np.empty(2 * n)
        more[0::2] = s.rng.standard_exponential(n) * v["off"]
        more[1::2] = s.rng.standard_exponential(n) * v["on"]
        edges = np.concatenate([edges, edges[-1] + more.cumsum()])
    on, off = edges[1::2], edges[2::2]
    if "of" in v:
        chance = s.shared.driver(v["of"], start + (on * 1e6).astype(np.int64))
        kept = s.rng.random(len(on)) < chance
        on, off = on[kept], off[kept]
    return on, off


def _cycle(s: Setting, v: Values, x: F64) -> F64:
    """A store that is charged and used once a day, and rests in between: its current (A, into it) or its charge (% of what it holds). A day's
    depth is at most `depth` per cent and falls short of it by up to a share `vary`; what went in by day is out by the next morning. The
    hours of both begin and end over ramps of a tenth, and up to an hour later than at the earliest."""
    known = ("cycle", *(v[k] for k in _CYCLE))
    if known not in s.lasting:
        s.lasting[known] = _days(s, v)
    at, current, gained = s.lasting[known]
    now = s.at() / 1e6
    if v["of"] == "current":
        x += np.interp(now, at, current)
        return x
    n = np.clip(np.searchsorted(at, now, "right") - 1, 0, len(at) - 2)
    passed, rise = now - at[n], (current[n + 1] - current[n]) / (at[n + 1] - at[n])
    x += 100 * (gained[n] + passed * (current[n] + passed * rise / 2)) / (3600 * v["holds"])
    return x


_CYCLE = ("holds", "depth", "vary", "charge_at", "charge_hours", "use_at", "use_hours")


def _days(s: Setting, v: Values) -> tuple[F64, F64, F64]:
    """When the current changes over the whole grid, in seconds, between which it is a straight line; the current then, and the charge gained so far (A s)."""
    start, there = s.first - s.since * s.interval, s.shared.civil
    first = int(there.local(np.array([start]))[0] // DAY) - 1
    days = math.ceil((s.whole or s.count) * s.seconds / 86_400) + 3
    short, *late = s.rng.random((days, 3)).T
    depth = v["depth"] * (1 - v["vary"] * short) / 100 * v["holds"] * 3600
    midnight = there.instant((first + np.arange(days)) * DAY) / 1e6
    at, current = np.empty((days, 8)), np.zeros((days, 8))
    for n, (begin, hours, sign) in enumerate((("charge_at", "charge_hours", 1), ("use_at", "use_hours", -1))):
        length, part = v[hours] * 3600, slice(4 * n, 4 * n + 4)
        edges = np.array([0.0, 0.1, 0.9, 1.0]) * length
        at[:, part] = (midnight + (v[begin] + late[n]) * 3600)[:, None] + edges
        current[:, part][:, 1:3] = (sign * depth / (0.9 * length))[:, None]
    flat, amps = at.ravel(), current.ravel()
    gained = np.concatenate([[0.0], np.cumsum(np.diff(flat) * (amps[1:] + amps[:-1]) / 2)])
    return flat, amps, gained


def _while(s: Setting, v: Values, x: F64) -> F64:
    """Only while another channel is above a level; else `otherwise`."""
    return np.where(s.made[v["of"]] > v["above"], x, v["otherwise"])


def _clip(s: Setting, v: Values, x: F64) -> F64:
    return np.clip(x, v.get("low", -np.inf), v.get("high", np.inf), out=x)


def _harmonics(s: Setting, v: Values, x: F64) -> F64:
    """Sines at a frequency (Hz) and its multiples, the k-th of amplitude `gain` / k; with `exponent`, times that power of the wear: so the
    spectrum moves from the frequency that stays to the one that grows."""
    times = (s.since + np.arange(s.count)) * s.seconds
    scale: Any = v["gain"]
    if "exponent" in v:
        assert s.gauges
        scale = scale * s.gauges.wear(s, v["exponent"])
    for k in range(1, int(v["count"]) + 1):
        phase = s.once(f"phase {k}", s.rng.random)
        # whole turns are taken off first: after days the sine of the rest is as exact as on the first
        x += scale / k * np.sin(2 * np.pi * ((k * v["frequency"] * times) % 1 + phase))
    return x


def _dew_point(s: Setting, v: Values, x: F64) -> F64:
    """Magnus' formula, from air temperature (Cel) and relative humidity (%)."""
    t, humidity = (s.made[name] for name in v["of"])
    a, b = 17.62, 243.12
    g = np.log(np.maximum(humidity, 0.1) / 100) + a * t / (b + t)
    x += b * g / (a - g)
    return x


def _position(s: Setting, v: Values, x: F64) -> F64:
    assert s.gauges
    latitude, longitude, speed = s.gauges.track(s)
    x += {"latitude": latitude, "longitude": longitude, "speed": speed}[v["axis"]]
    return x


def _learned(s: Setting, v: Values, x: F64) -> F64:
    """A column of a fitted series: the device begins at a place of its own along its course. Columns of one model are drawn together."""
    name = f"{v['model']} {v['column']}"
    if name not in s.made:
        sampler = v["sampler"]
        if v["model"] not in s.lasting:
            s.lasting[v["model"]] = Stream(s.rng.bytes(16)), int(s.rng.integers(2 * sampler.length))
        stream, first = s.lasting[v["model"]]
        at = first + s.since + np.arange(s.count)
        drawn = sampler.draw(at, s.shared.civil.local(s.at()).astype(np.float64), stream)
        s.made.update({f"{v['model']} {column}": values for column, values in drawn.items()})
    x += v.get("gain", 1.0) * s.made[name]
    return x


def _roll(s: Setting, v: Values, x: F64) -> F64:
    # counters start again seldom: a division of each number costs more than to see that it needs none
    over = np.flatnonzero((x < 0) | (x >= v["over"]))
    if len(over):
        x[over] = np.mod(x[over], v["over"])
    return x


TERMS: dict[str, Term] = {
    "level": Term(_level, ("value",), ("spread",), smooth=True),
    "day": Term(_day, ("amplitude", "peak"), smooth=True),
    "week": Term(_week, ("weekend",), smooth=True),
    "year": Term(_year, ("amplitude", "peak"), smooth=True),
    "occupancy": Term(_occupancy, ("gain",), ("vary",), smooth=True),
    "weather": Term(_weather, ("gain", "of"), smooth=True),
    "wind": Term(_wind, ("scale", "shape"), smooth=True),
    "sun": Term(_sun, ("gain",), smooth=True),
    "hours": Term(_hours, ("start", "end", "days", "gain"), smooth=True),
    "dark": Term(_dark, ("gain", "below"), smooth=True),
    "ar": Term(_ar, ("sigma", "memory")),
    "white": Term(_white, ("sigma",)),
    "walk": Term(_walk, ("sigma",)),
    "wear": Term(_wear, ("gain", "exponent")),
    "charge": Term(_charge, ("gain",)),
    "state": Term(_state, ("state", "gain")),
    "started": Term(_started, ("gain", "seconds")),
    "of": Term(_of, ("of", "gain"), channels=True),
    "product": Term(_product, ("of", "gain"), channels=True),
    "quotient": Term(_quotient, ("of", "gain"), channels=True),
    "curve": Term(_curve, ("of", "x", "y"), channels=True),
    "response": Term(_response, ("of", "seconds", "gain"), channels=True),
    "integral": Term(_integral, ("of", "gain"), ("start",), channels=True),
    "count": Term(_count, (), ("total", "start")),
    "toggle": Term(_toggle, ("on", "off", "gain"), ("of",)),
    "cycle": Term(_cycle, ("of", *_CYCLE)),
    "while": Term(_while, ("of", "above", "otherwise"), channels=True),
    "clip": Term(_clip, (), ("low", "high")),
    "harmonics": Term(_harmonics, ("frequency", "count", "gain"), ("exponent",)),
    "dew-point": Term(_dew_point, ("of",), channels=True),
    "position": Term(_position, ("axis",)),
    "learned": Term(_learned, ("model", "column"), ("gain",)),
    "roll": Term(_roll, ("over",)),
}
