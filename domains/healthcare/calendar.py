"""Public holidays, on which practices are closed: by the rules of a country that the prior `encounter.holidays` gives."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

EPOCH = dt.date(1970, 1, 1).toordinal()
SATURDAY, SUNDAY = 5, 6


def closed_days(rules: Mapping[str, Any], first: int, last: int) -> NDArray[np.int64]:
    """The holidays of the years of two days and of the year after, in days since 1970."""
    years = range(*(dt.date.fromordinal(EPOCH + day).year + n for day, n in ((first, 0), (last, 2))))
    stated = (
        tuple(rules["fixed"].items()),
        tuple(map(tuple, rules["weekday"])),
        tuple(rules["easter"]),
        rules["moved"],
    )
    return np.array(sorted(day for year in years for day in _of_year(year, *stated)), np.int64)


@lru_cache(maxsize=4096)
def _of_year(year: int, fixed: tuple, weekday: tuple, easter: tuple, moved: str) -> tuple[int, ...]:
    days = {_sunday_of_easter(year) + dt.timedelta(days=n) for n in easter}
    days |= {_which(year, month, day, n) for month, day, n, since in weekday if year >= since}
    days |= set(_kept(year, fixed, moved))
    return tuple(day.toordinal() - EPOCH for day in days)


def _kept(year: int, fixed: tuple, moved: str) -> Iterator[dt.date]:
    """Holidays of a date on the days on which they are kept: `nearest` weekday, the next free one `after`, or where they fall."""
    dates = [dt.date(year, *map(int, date.split("-"))) for date, since in fixed if year >= since]
    yield from dates
    taken = set(dates)
    for date in dates:
        step = {"nearest": {SATURDAY: -1, SUNDAY: 1}, "after": {SATURDAY: 1, SUNDAY: 1}}.get(moved, {}).get(
            date.weekday()
        )
        if step is None:
            continue
        kept = date + dt.timedelta(days=step)
        while kept.weekday() >= SATURDAY or kept in taken:
            kept += dt.timedelta(days=step)
        taken.add(kept)
        yield kept


def _which(year: int, month: int, weekday: int, n: int) -> dt.date:
    """The nth of a weekday (Monday is 0) in a month, the last where n is -1."""
    if n < 0:
        after = dt.date(year + month // 12, month % 12 + 1, 1)
        return after - dt.timedelta(days=(after.weekday() - weekday - 1) % 7 + 1)
    first = dt.date(year, month, 1)
    return first + dt.timedelta(days=(weekday - first.weekday()) % 7 + 7 * (n - 1))


def _sunday_of_easter(year: int) -> dt.date:
    """The Gregorian computus of Meeus, Jones and Butcher."""
    a, b, c = year % 19, year // 100, year % 100
    h = (19 * a + b - b // 4 - (b - (b + 8) // 25 + 1) // 3 + 15) % 30
    r = (32 + 2 * (b % 4) + 2 * (c // 4) - h - c % 4) % 7
    m = (a + 11 * h + 22 * r) // 451
    month, day = divmod(h + r - 7 * m + 114, 31)
    return dt.date(year, month, day + 1)
