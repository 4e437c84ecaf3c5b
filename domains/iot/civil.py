"""Civil time: what the clocks on the walls of a site say, and on which days people work."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ...core.domain import Window
from ...core.errors import unknown

HOUR = 3_600_000_000
DAY = 24 * HOUR
_MARGIN = 8 * DAY
"""Beyond the window: who looks for the next day of work looks no further."""
_QUARTER = HOUR // 4
"""Clocks are set at whole quarters of an hour."""


@dataclass(frozen=True)
class Civil:
    """Local time over a window; instants and local times alike in microseconds, from 1970 on."""

    edges: NDArray[np.int64]
    """Instants at which clocks are set forward or back."""
    offsets: NDArray[np.int64]
    """Local time minus UTC before the first of them, from each to the next, and after the last."""
    standard: int
    """Standard time minus UTC: what the sun goes by, all year."""
    holidays: NDArray[np.int64]
    """Days since 1970, in order."""

    def local(self, at: NDArray[np.int64]) -> NDArray[np.int64]:
        """What clocks say at some instants."""
        return at + self.offsets[np.searchsorted(self.edges, at, "right")]

    def instant(self, local: NDArray[np.int64]) -> NDArray[np.int64]:
        """When clocks say so; where they never do, for they are set forward past it, as if they had not yet been."""
        before = local - self.offsets[np.searchsorted(self.edges, local - self.standard, "right")]
        return local - self.offsets[np.searchsorted(self.edges, before, "right")]

    def works(self, day: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Which of some local days, since 1970, are neither at a weekend nor a public holiday."""
        return (weekday(day) < 5) & ~np.isin(day, self.holidays)


def weekday(day: NDArray[np.int64]) -> NDArray[np.int64]:
    """Of days since 1970, from Monday, 0, to Sunday, 6."""
    return (day + 3) % 7  # 1970-01-01 was a Thursday


@lru_cache(64)
def civil(zone: str, country: str, window: Window) -> Civil:
    """Civil time of an IANA time zone and the public holidays of a country (ISO 3166-1, two letters) around a window. Raises UserError for a
    name that there is not."""
    check_names(zone, country)
    at = pl.Series(np.arange(window.start - _MARGIN, window.end + _MARGIN, _QUARTER)).cast(pl.Datetime("us", "UTC"))
    clocks = at.dt.convert_time_zone(zone)
    offset = (clocks.dt.replace_time_zone(None).cast(pl.Int64) - at.cast(pl.Int64)).to_numpy()
    moved = np.flatnonzero(offset[1:] != offset[:-1]) + 1
    return Civil(
        edges=at.cast(pl.Int64).to_numpy()[moved],
        offsets=offset[np.append(0, moved)],
        standard=int(clocks.dt.base_utc_offset()[0].total_seconds()) * 1_000_000,
        holidays=_holidays(country, clocks.dt.year()[0], clocks.dt.year()[-1]),
    )


def check_names(zone: str, country: str) -> None:
    """Raises UserError for a time zone or a country that there is not."""
    import zoneinfo

    import holidays

    try:
        pl.Series([0]).cast(pl.Datetime("us", "UTC")).dt.convert_time_zone(zone)
    except pl.exceptions.PolarsError:
        raise unknown("time zone", zone, zoneinfo.available_timezones(), "site.time_zone") from None
    known = holidays.list_supported_countries(include_aliases=False)
    if country not in known:
        raise unknown("country", country, known, "site.country")


def _holidays(country: str, first: int, last: int) -> NDArray[np.int64]:
    import holidays

    days = sorted(holidays.country_holidays(country, years=range(first, last + 1)))
    return np.array(days, "M8[D]").astype(np.int64)
