"""What the channels of a site have in common, by the hour: its weather and its people. And the sun, which asks nobody."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...core.domain import Block
from ...core.stream import F64
from .civil import HOUR, Civil, civil, weekday
from .noise import autoregression

DRIVERS = ("occupancy", "temperature", "wind", "pressure", "cloud", "moisture")


@dataclass(frozen=True)
class Climate:
    """Drivers by the hour: `occupancy` lies between 0 and 1, `cloud` too; the rest of the weather has mean 0 and variance 1."""

    hours: F64
    """Microseconds since 1970."""
    drivers: Mapping[str, F64]
    civil: Civil
    """What clocks and calendars say there."""
    latitude: float
    longitude: float

    def driver(self, name: str, at: NDArray[np.int64]) -> F64:
        return np.interp(at, self.hours, self.drivers[name])

    def wind_power(self, shape: float) -> F64:
        """By the hour, of mean one: the cube of speeds of a Weibull law."""
        from scipy.special import gamma, log_ndtr

        return np.power(-log_ndtr(-self.drivers["wind"]), 3 / shape) / gamma(1 + 3 / shape)

    def elevation(self, at: NDArray[np.int64]) -> F64:
        """The sun's, in degrees: declination by the day of the year, hour angle by mean solar time; right to about a degree and
        a quarter of an hour, for the equation of time is left out."""
        day = at / (24 * HOUR)
        declination = np.deg2rad(-23.44) * np.cos(2 * np.pi * (day % 365.2425 + 10) / 365.2425)
        angle = 2 * np.pi * (day % 1 + self.longitude / 360 - 0.5)
        latitude = np.deg2rad(self.latitude)
        sine = np.sin(latitude) * np.sin(declination) + np.cos(latitude) * np.cos(declination) * np.cos(angle)
        return np.rad2deg(np.arcsin(sine))

    def irradiance(self, at: NDArray[np.int64]) -> F64:
        """On level ground, W/m2: Haurwitz' clear sky, of which clouds leave the share that is not covered."""
        sine = np.maximum(np.sin(np.deg2rad(self.elevation(at))), 1e-6)
        clear = 1098.0 * sine * np.exp(-0.059 / sine)
        return clear * (1 - self.driver("cloud", at))


def climate(block: Block, site: Mapping[str, Any]) -> Climate:
    """The weather of a site (a row of the table `site`) over the window, and as many people as are usual."""
    from scipy.special import ndtr

    priors, stream = block.priors, block.stream.child("climate", site["site_id"])
    there = civil(site["time_zone"], site["country"], block.window)
    count = -(-(block.window.end - block.window.start) // HOUR) + 1
    hours = block.window.start + HOUR * np.arange(count)
    local = there.local(hours) // HOUR
    day = local // 24
    # a public holiday is kept as a Sunday is
    kind = np.where(np.isin(day, there.holidays), 2, np.maximum(weekday(day) - 4, 0))
    name = priors("occupancy.as")[site["kind"]]
    curve = np.array([priors(f"occupancy.{name}.{d}") for d in ("weekday", "saturday", "sunday")])
    drivers = {"occupancy": curve[kind, local % 24]}
    for name, length in priors("weather.hours").items():
        drivers[name] = autoregression(stream.child(name).generator(), count, 1.0, float(np.exp(-1 / length)))
    drivers["cloud"] = ndtr(drivers["cloud"])
    return Climate(hours.astype(np.float64), drivers, there, site["latitude"], site["longitude"])


def of_zone(block: Block, shared: Climate, site: int, zone: int) -> Climate:
    """The same with the people of one zone: on some days more come than are usual, on others fewer."""
    day = shared.civil.local(shared.hours.astype(np.int64)) // (24 * HOUR)
    from_first = day - day[0]
    rng = block.stream.child("climate", site, "attendance", zone).generator()
    attendance = np.exp(block.priors("occupancy.day_sigma") * rng.standard_normal(int(from_first[-1]) + 1))
    # nobody comes to a full house
    people = np.minimum(shared.drivers["occupancy"] * attendance[from_first], 1.0)
    return replace(shared, drivers={**shared.drivers, "occupancy": people})
