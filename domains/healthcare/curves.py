"""Time in microseconds, ages in years, and values of priors that change with age."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...core.priors import Priors
from ...core.samplers.rules import choose
from ...core.stream import Stream
from .calendar import closed_days

MINUTE = 60_000_000
DAY = 86_400_000_000
YEAR = 365.2425 * DAY
OLDEST = 120
ERA = 300 * 366
"""Days from 1970 within which there are calendars."""


def at_age(prior: Mapping[str, Any], column: str, age: NDArray) -> NDArray[np.float64]:
    """A prior's column at exact ages, linear between its knots and constant beyond them."""
    return np.interp(age, prior["age"], prior[column])


def by_sex(prior: Mapping[str, Any], age: NDArray, male: NDArray, name: str = "") -> NDArray[np.float64]:
    """A prior's `<name>female` or `<name>male` column at exact ages."""
    return np.where(male, at_age(prior, f"{name}male", age), at_age(prior, f"{name}female", age))


def cumulative_hazard(prior: Mapping[str, Any], sex: str) -> NDArray[np.float64]:
    """The integrated force of mortality at ages 0, 1, …, 120 from yearly death probabilities, log-linear between knots."""
    q = np.exp(np.interp(np.arange(OLDEST), prior["age"], np.log(prior[sex])))
    return np.concatenate(([0.0], np.cumsum(-np.log1p(-q))))


def age_at_death(prior: Mapping[str, Any], age: NDArray, male: NDArray, u: NDArray) -> NDArray[np.float64]:
    """Age at death of people alive at `age`, by inversion of the life table."""
    years = np.arange(OLDEST + 1)
    dies = np.empty(len(age))
    for sex, who in (("female", ~male), ("male", male)):
        hazard = cumulative_hazard(prior, sex)
        dies[who] = np.interp(np.interp(age[who], years, hazard) - np.log(u[who]), hazard, years)
    return dies


def midnight(time: NDArray) -> NDArray[np.int64]:
    """The first instant of the day."""
    return np.floor_divide(time, DAY).astype(np.int64) * DAY


def office_time(time: NDArray, priors: Priors, stream: Stream, rows: NDArray) -> NDArray[np.int64]:
    """A moment in office hours of the same day, or of the next working day when that one is none."""
    day, hours = working_day(time, priors), priors("encounter.hours")["office"]
    first, last = np.array(hours[0::2]), np.array(hours[1::2])
    worked = np.concatenate(([0.0], np.cumsum(last - first)))
    u = stream.uniform(rows) * worked[-1]
    session = np.searchsorted(worked[1:-1], u, side="right")
    minute = np.floor((first[session] + u - worked[session]) * 60).astype(np.int64)
    return day * DAY + minute * MINUTE


def working_day(time: NDArray, priors: Priors) -> NDArray[np.int64]:
    """The day of each time, or the next that is neither on a weekend nor a holiday; days since 1970."""
    day = np.floor_divide(time, DAY).astype(np.int64)
    known = day[np.abs(day) < ERA]  # what never comes is as far as can be
    if not len(known):
        return day
    holidays = closed_days(priors("encounter.holidays"), int(known.min()), int(known.max()))
    while True:
        closed = ((day + 3) % 7 >= 5) | np.isin(day, holidays)  # 1970-01-01 was a Thursday
        if not closed.any():
            return day
        day = day + closed


def any_time(time: NDArray, weights: list[float], stream: Stream, rows: NDArray) -> NDArray[np.int64]:
    """A moment of the same day, its hour drawn by weight."""
    hour = choose(stream.child("hour").uniform(rows), weights)
    return midnight(time) + (hour * 60 + stream.child("minute").integers(rows, 60)) * MINUTE
