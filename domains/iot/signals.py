"""What: the values of one channel, from the weather and the people that all channels of a site share."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ...core.domain import Block
from ...core.priors import Priors
from ...core.stream import F64, Stream

HOUR = 3_600_000_000
_KNOT = 300_000_000  # the smooth part of a signal is worked out every five minutes and interpolated


@dataclass(frozen=True)
class Climate:
    """What the channels of a site have in common, by the hour: `weather` has mean 0 and variance 1, `occupancy` lies between 0 and 1."""

    hours: F64
    """Microseconds since 1970."""
    weather: F64
    occupancy: F64
    offset: int
    """Local time minus UTC, in microseconds."""

    def expected(self, signal: dict[str, float], at: NDArray[np.int64], peak: float, response: float = 1.0) -> F64:
        """The value without noise and without the device's own offset, at some times. `response` multiplies what people do."""
        wave = np.cos(2 * np.pi * ((at + self.offset) % (24 * HOUR) / HOUR - peak) / 24)
        return (
            signal["mean"]
            + signal["daily"] * wave
            + signal["occupancy"] * response * np.interp(at, self.hours, self.occupancy)
            + signal["weather"] * np.interp(at, self.hours, self.weather)
        )


def climate(block: Block, site: int, offset_minutes: int) -> Climate:
    """The weather and the occupancy of a site over the window."""
    priors, stream = block.priors, block.stream.child("climate", site)
    offset = offset_minutes * 60_000_000
    count = -(-(block.window.end - block.window.start) // HOUR) + 1
    hours = block.window.start + HOUR * np.arange(count)
    local = (hours + offset) // HOUR
    day = local // 24
    kind = np.maximum((day + 3) % 7 - 4, 0)  # 1970-01-01 was a Thursday
    curve = np.array([priors("occupancy.weekday"), priors("occupancy.saturday"), priors("occupancy.sunday")])
    from_first = day - day[0]
    varies = stream.child("attendance").generator().standard_normal(int(from_first[-1]) + 1)
    attendance = np.exp(priors("occupancy.day_sigma") * varies[from_first])
    occupancy = np.minimum(curve[kind, local % 24] * attendance, 1.0)  # nobody comes to a full house
    weather = autoregression(
        stream.child("weather").generator(), count, 1.0, float(np.exp(-1 / priors("weather.hours")))
    )
    return Climate(hours.astype(np.float64), weather, occupancy, offset)


def autoregression(rng: np.random.Generator, count: int, sigma: float, phi: float) -> F64:
    """A stationary AR(1) series of standard deviation `sigma`: x[i] = phi * x[i-1] + e[i]. Its first value is stationary as well."""
    noise = rng.standard_normal(count)
    noise[:1] *= sigma
    noise[1:] *= sigma * np.sqrt(1 - phi * phi) / (1 - phi)
    # the same recursion as scipy.signal.lfilter's at the same speed, without a second spent on importing that
    return pl.Series(noise).ewm_mean(alpha=1 - phi, adjust=False).to_numpy()


def series(priors: Priors, name: str, stream: Stream, shared: Climate, first: int, interval: int, count: int) -> F64:
    """`count` values of one channel on its grid, in steps of its resolution and within its range."""
    signal = priors(f"signal.{name}")
    every = max(1, _KNOT // interval)
    knots = first + interval * every * np.arange(-(-count // every) + 1)
    rng = stream.generator()
    offset, response = rng.standard_normal(2)
    # with a mean of one, however much places differ
    response = np.exp(signal["vary"] * response - signal["vary"] ** 2 / 2)
    smooth = shared.expected(signal, knots, priors("weather.peak_hour"), response)
    smooth += signal["spread"] * offset
    noise = autoregression(rng, count, signal["noise"], float(np.exp(-interval / 1e6 / signal["memory"])))
    rise = np.diff(smooth)[:, None] * (np.arange(every) / every)
    rise += smooth[:-1, None]
    values = rise.ravel()[:count]
    values += noise
    return quantise(values, signal["resolution"], signal["low"], signal["high"])


def quantise(values: F64, resolution: float, low: float, high: float) -> F64:
    """To whole steps within the range, in place. Division by the whole number of steps in a unit gives the nearest float to each decimal."""
    steps = float(round(1 / resolution))
    values *= steps
    np.rint(values, out=values)
    np.clip(values, low * steps, high * steps, out=values)
    values /= steps
    values += 0.0  # turns -0.0 into 0.0
    return values
