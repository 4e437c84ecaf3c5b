"""When things happen: hour and weekday curves in local time, turned into instants of the window."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ...core.domain import Window
from ...core.stream import F64

HOUR = 3_600_000_000
DAY = 24 * HOUR
ZONES = ("Europe/London", "Europe/Berlin")
"""Time zones of the customers' countries, in their order: GB, DE."""


OfDay = Callable[[int, pl.Series], F64]


@dataclass(frozen=True)
class Curve:
    """The cumulative share of events by hour of the window for each zone, laid end to end: zone z spans z to z + 1."""

    share: F64
    at: F64
    """Microseconds since 1970, by which so much has happened."""
    rise: F64
    """Microseconds a share, from each hour on."""
    near: NDArray[np.int32]
    """The last hour that begins by each of STEPS steps of a zone: from there it is a step or two, where a search for each takes ten times as long."""

    def when(self, share: F64) -> F64:
        """The moments by which these shares have happened: between two hours, in proportion."""
        found, last = np.empty(len(share)), len(self.share) - 1
        for begin in range(0, len(share), _CHUNK):
            x = np.clip(share[begin : begin + _CHUNK], self.share[0], self.share[-1])
            hour = self.near[(x * STEPS).astype(np.int32)]
            late = np.flatnonzero(self.share[np.minimum(hour + 1, last)] <= x)
            while len(late := late[hour[late] < last]):
                hour[late] += 1
                late = late[self.share[np.minimum(hour[late] + 1, last)] <= x[late]]
            x -= self.share[hour]
            x *= self.rise[hour]
            np.add(x, self.at[hour], out=found[begin : begin + _CHUNK])
        return found


STEPS = 1 << 16
_CHUNK = 1 << 14


def curve(window: Window, hours: Sequence[float], weekdays: Sequence[float], of_day: OfDay | None = None) -> Curve:
    """How events are spread over the window. Summer time is the zone's own. `of_day` gives, for a zone and its local moments, a further weight of each
    (seasons, holidays). Curves are kept: a block asks for the same ones again and again."""
    return _curve(window, tuple(hours), tuple(weekdays), of_day)


@lru_cache(16)
def _curve(window: Window, hours: tuple[float, ...], weekdays: tuple[float, ...], of_day: OfDay | None) -> Curve:
    edges = np.arange(window.start, window.end + 1, HOUR)
    at = pl.Series(edges[:-1]).cast(pl.Datetime("us", "UTC"))
    shares, instants = [], []
    for n, zone in enumerate(ZONES):
        local = at.dt.convert_time_zone(zone)
        weight = np.asarray(hours)[local.dt.hour().to_numpy()]
        weight = weight * np.asarray(weekdays)[local.dt.weekday().to_numpy() - 1]
        if of_day:
            weight = weight * of_day(n, local)
        # where nothing can happen, `workload` lets nothing happen
        total = np.concatenate(([0.0], np.cumsum(weight if weight.any() else np.ones(len(weight)))))
        shares.append(n + total / total[-1])
        instants.append(edges.astype(np.float64))
    share, moment = np.concatenate(shares), np.concatenate(instants)
    width = np.diff(share)
    rise = np.append(np.diff(moment) / np.where(width > 0, width, 1.0), 0.0)
    near = np.searchsorted(share, np.arange(len(ZONES) * STEPS + 1) / STEPS, side="right") - 1
    return Curve(share, moment, rise, near.astype(np.int32))


@lru_cache(16)
def workload(window: Window, hours: tuple[float, ...], weekdays: tuple[float, ...], of_day: OfDay | None = None) -> F64:
    """How much of a zone's events the window's hours see, of what as many hours of whole weeks would: 0 for branches at a weekend, or where `of_day` lets
    nothing happen."""
    at = pl.Series(np.arange(window.start, window.end, HOUR)).cast(pl.Datetime("us", "UTC"))
    found = []
    for n, zone in enumerate(ZONES):
        local = at.dt.convert_time_zone(zone)
        weight = np.asarray(hours)[local.dt.hour().to_numpy()] * np.asarray(weekdays)[local.dt.weekday().to_numpy() - 1]
        open_ = of_day is None or (weight * of_day(n, local)).any()
        found.append(open_ * weight.mean() / (np.mean(hours) * np.mean(weekdays)))
    return np.array(found)


def seasons(months: Sequence[float], thirds: Sequence[float], holiday: float) -> OfDay:
    """The weight of a day by its month, by the third of the month it is in, and where it is a public holiday of the zone's country."""
    return _seasons(tuple(months), tuple(thirds), holiday)


@lru_cache(4)
def _seasons(months: tuple[float, ...], thirds: tuple[float, ...], holiday: float) -> OfDay:
    def of_day(zone: int, local: pl.Series) -> F64:
        day = local.dt.date()
        free = day.is_in(holidays(zone, int(day.dt.year().min()), int(day.dt.year().max())))  # type: ignore[arg-type]
        weight = np.asarray(months)[local.dt.month().to_numpy() - 1]
        weight = weight * np.asarray(thirds)[np.minimum((local.dt.day().to_numpy() - 1) // 10, 2)]
        return np.where(free.to_numpy(), holiday, weight)

    return of_day


@lru_cache(64)
def holidays(zone: int, first: int, last: int) -> tuple[dt.date, ...]:
    """The public holidays of a zone's country (of England, and those of all German states), from the first of January of one year to the end of another."""
    from holidays import country_holidays

    country, part = (("GB", "ENG"), ("DE", None))[zone]
    return tuple(sorted(country_holidays(country, subdiv=part, years=range(first, last + 1))))


@lru_cache(16)
def _work(zone: int, first: int, last: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """For each day (since 1970) from one to another, the last working day up to it and the first from it on: neither weekend nor public holiday."""
    day = np.arange(first - 14, last + 15)
    years = (dt.date(1970, 1, 1) + dt.timedelta(days=int(d)) for d in (day[0], day[-1]))
    free = np.array([micros(d) // DAY for d in holidays(zone, *(y.year for y in years))], np.int64)
    works = ((day + 3) % 7 < 5) & ~np.isin(day, free)
    before = np.maximum.accumulate(np.where(works, day, -(1 << 40)))
    after = np.minimum.accumulate(np.where(works, day, 1 << 40)[::-1])[::-1]
    return before[14:-14], after[14:-14]


def working_day(days: NDArray[np.int64], zone: NDArray, *, later: bool) -> NDArray[np.int64]:
    """These days where people work on them in the zone's country, else the next such day (`later`) or the last one before."""
    if not len(days):
        return days
    first, last = int(days.min()), int(days.max())
    table = np.stack([_work(z, first, last)[int(later)] for z in range(len(ZONES))])
    return table[zone, days - first]


def instants(of: Curve, zone: NDArray, u: F64) -> NDArray[np.int64]:
    """The moment by which a share `u` of a zone's events have happened, in whole seconds as microseconds."""
    share = zone + u
    seconds = of.when(share.ravel()).reshape(share.shape) * 1e-6
    return seconds.astype(np.int64) * 1_000_000


def months(window: Window) -> list[dt.date]:
    """The first day of every month that the window touches."""
    day = dt.datetime.fromtimestamp(window.start / 1e6, dt.UTC).date().replace(day=1)
    found = []
    while micros(day) < window.end:
        found.append(day)
        day = month_after(day, 1)
    return found


def month_after(first: dt.date, n: int) -> dt.date:
    """The first day of the month that is so many later, or earlier."""
    month = first.year * 12 + first.month - 1 + n
    return dt.date(month // 12, month % 12 + 1, 1)


def micros(day: dt.date) -> int:
    """Midnight UTC of a day."""
    return (day - dt.date(1970, 1, 1)).days * DAY
