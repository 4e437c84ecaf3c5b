"""When things happen: hour and weekday curves in local time, turned into instants of the window."""

from __future__ import annotations

import datetime as dt

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ...core.domain import Window
from ...core.stream import F64

HOUR = 3_600_000_000
DAY = 24 * HOUR
ZONES = ("Europe/London", "Europe/Berlin")
"""Time zones of the customers' countries, in their order: GB, DE."""


def curve(window: Window, hours: list[float], weekdays: list[float]) -> tuple[F64, F64]:
    """The cumulative share of events by hour of the window for each zone, laid end to end: zone z spans z to z + 1.

    Two arrays to interpolate between: cumulative share, and microseconds since 1970. Summer time is the zone's own.
    """
    edges = np.arange(window.start, window.end + 1, HOUR)
    at = pl.Series(edges[:-1]).cast(pl.Datetime("us", "UTC"))
    shares, instants = [], []
    for n, zone in enumerate(ZONES):
        local = at.dt.convert_time_zone(zone)
        weight = np.asarray(hours)[local.dt.hour().to_numpy()]
        weight = weight * np.asarray(weekdays)[local.dt.weekday().to_numpy() - 1]
        total = np.concatenate(([0.0], np.cumsum(weight)))
        shares.append(n + total / total[-1])
        instants.append(edges.astype(np.float64))
    return np.concatenate(shares), np.concatenate(instants)


def instants(of: tuple[F64, F64], zone: NDArray, u: F64) -> NDArray[np.int64]:
    """The moment by which a share `u` of a zone's events have happened, in whole seconds as microseconds."""
    seconds = np.interp(zone + u, *of) * 1e-6
    return seconds.astype(np.int64) * 1_000_000


def months(window: Window) -> list[dt.date]:
    """The first day of every month that the window touches."""
    day = dt.datetime.fromtimestamp(window.start / 1e6, dt.UTC).date().replace(day=1)
    found = []
    while micros(day) < window.end:
        found.append(day)
        day = (day + dt.timedelta(days=32)).replace(day=1)
    return found


def micros(day: dt.date) -> int:
    """Midnight UTC of a day."""
    return (day - dt.date(1970, 1, 1)).days * DAY
