"""What published figures speak of, measured on the tables: each measure gives a value and its standard error, or None where there are too few rows."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ...core.tables import Table, Tables
from .population import is_modem

FEWEST = 20
DAY_US = 86_400e6
AT_ONCE_US = 1_000_000
"""What arrives later than this was held back by more than the network's own delay."""
TROUBLE = ("failed", "waiting", "repair")

Measured = tuple[float, float] | None


def _shared(tables: Tables) -> Table:
    """The gateways that are no modems."""
    gateway = tables["gateway"]
    return gateway.filter(~pl.Series(is_modem(gateway["gateway_id"].to_numpy())))


def uplink_share(tables: Tables, kind: str) -> Measured:
    """Percent of gateways with a kind of uplink, but for modems."""
    free = _shared(tables)
    is_so = (free["uplink"].cast(pl.String) == kind).to_numpy()
    if len(is_so) < FEWEST:
        return None
    share = float(is_so.mean())
    return 100 * share, 100 * float(np.sqrt(share * (1 - share) / len(is_so)))


def outages_a_day(tables: Tables) -> Measured:
    """Outages of a gateway's uplink a day, those for want of power among them, but for modems; Poisson's error."""
    shared = _shared(tables)
    days = _days(tables) * shared.height
    lost = tables["gateway_event"].filter(pl.col("cause").cast(pl.String) != "overflow")
    count = lost.join(shared, on="gateway_id", how="semi").height
    return (count / days, np.sqrt(max(count, 1)) / days) if days >= 100 else None


def cuts_a_year(tables: Tables) -> Measured:
    """Power cuts of a site a year; Poisson's error."""
    home = _shared(tables).select("gateway_id", "site_id")
    years = _days(tables) * home["site_id"].n_unique() / 365.2425
    cut = tables["gateway_event"].filter(pl.col("cause").cast(pl.String) == "power").join(home, on="gateway_id")
    count = cut.select("site_id", "started_at").n_unique()
    return (count / years, np.sqrt(max(count, 1)) / years) if years >= 5 else None


def outage_minutes(tables: Tables) -> Measured:
    """Median minutes of an uplink's outages; the error by order statistics."""
    lost = tables["gateway_event"].filter(pl.col("cause").cast(pl.String) == "uplink")
    minutes = np.sort((lost["ended_at"] - lost["started_at"]).dt.total_seconds().to_numpy() / 60)
    if len(minutes) < FEWEST:
        return None
    half = 0.98 * np.sqrt(len(minutes))
    low, high = (minutes[int(np.clip(len(minutes) / 2 + s * half, 0, len(minutes) - 1))] for s in (-1, 1))
    return float(np.median(minutes)), float((high - low) / (2 * 1.96))


def delay_ms(tables: Tables) -> Measured:
    """Mean milliseconds from a sample to its arrival, of those that nothing held back. Devices stamp by clocks that lose: what is meant is where
    the line through their means by what a clock loses meets a clock that is right."""
    clock = tables["channel"].join(tables["device"], on="device_id").select("channel_id", "device_id", "clock_ppm")
    us = (pl.col("received_at") - pl.col("observed_at")).dt.total_microseconds().alias("us")
    reading = tables["reading"].select("channel_id", us).drop_nulls().filter(pl.col("us").is_between(0, AT_ONCE_US))
    if reading.height < 1_000:
        return None
    each = reading.join(clock, on="channel_id").group_by("device_id").agg(
        pl.len(), pl.col("us").mean().alias("mean"), pl.col("us").var(), pl.col("clock_ppm").first()
    )  # fmt: skip
    n, mean, ppm = (each[c].to_numpy().astype(float) for c in ("len", "mean", "clock_ppm"))
    # weighted least squares, by how many readings there are of each device
    design = np.column_stack([np.ones(len(n)), ppm])[:, : 1 + bool(np.ptp(ppm))]
    inverse = np.linalg.inv((design * n[:, None]).T @ design)
    found = inverse @ ((design * n[:, None]).T @ mean)
    return float(found[0]) / 1e3, float(np.sqrt(inverse[0, 0] * each["us"].mean())) / 1e3  # type: ignore[operator]


def restarts(tables: Tables) -> Measured:
    """Hours of running between restarts by the watchdog; Poisson's error."""
    event = tables["device_event"]
    up = event.filter(pl.col("state").cast(pl.String).is_in(["up", "degraded"]))
    hours = float((up["ended_at"] - up["started_at"]).dt.total_seconds().to_numpy().sum()) / 3_600
    cause, state = pl.col("cause").cast(pl.String), pl.col("state").cast(pl.String)
    count = event.filter((state == "restart") & (cause == "watchdog")).height
    return (hours / count, hours / count / np.sqrt(count)) if count >= FEWEST else None


def restoration_hours(tables: Tables) -> Measured:
    """Mean hours from a device's failure to the end of its repair."""
    event = tables["device_event"].with_columns(pl.col("state").cast(pl.String)).sort("device_id", "started_at")
    bad = event.with_columns(out=pl.col("state").is_in(TROUBLE))
    spell = bad.with_columns(n=(pl.col("out") != pl.col("out").shift(1).over("device_id")).fill_null(True).cum_sum())
    each = (
        spell.filter("out")
        .group_by("n")
        .agg(pl.col("started_at").min(), pl.col("ended_at").max(), mended=pl.col("state").last() == "repair")
    )
    hours = (
        each.filter("mended")["ended_at"] - each.filter("mended")["started_at"]
    ).dt.total_seconds().to_numpy() / 3_600
    return None if len(hours) < FEWEST else (float(hours.mean()), float(hours.std() / np.sqrt(len(hours))))


def minute_step(tables: Tables, signal: str) -> Measured:
    """Standard deviation of the change in a minute, the mean over the rooms of offices."""
    return _mean_of(_step(t) for t in _rooms(tables, signal))


def hour_correlation(tables: Tables, signal: str) -> Measured:
    """Autocorrelation at an hour, the mean over the rooms of offices."""
    return _mean_of(_lagged(t, 3_600) for t in _rooms(tables, signal))


def working_rise(tables: Tables, signal: str) -> Measured:
    """Working hours of weekdays (9 to 10, 14 to 15) less the night (0 to 4), local standard time: the median over the rooms of offices."""
    rise = []
    for table in _rooms(tables, signal):
        weekday = table.filter(pl.col("local").dt.weekday() < 6)
        busy = weekday.filter(pl.col("local").dt.hour().is_in([9, 10, 14, 15]))["value"]
        night = weekday.filter(pl.col("local").dt.hour() < 5)["value"]
        if len(busy) and len(night):
            rise.append(float(busy.mean() - night.mean()))  # type: ignore[operator]
    if len(rise) < 5:
        return None
    return float(np.median(rise)), float(1.2533 * np.std(rise) / np.sqrt(len(rise)))


MEASURES: dict[str, Callable[..., Measured]] = {
    m.__name__: m
    for m in (
        uplink_share,
        outages_a_day,
        cuts_a_year,
        outage_minutes,
        delay_ms,
        restarts,
        restoration_hours,
        minute_step,
        hour_correlation,
        working_rise,
    )
}


def _days(tables: Tables) -> float:
    at = tables["reading"]["observed_at"].cast(pl.Int64)
    return 0.0 if not len(at) else float(at.max() - at.min()) / DAY_US  # type: ignore[operator]


def _rooms(tables: Tables, signal: str) -> Iterator[Table]:
    """The good readings of each climate sensor's channel in an office, in order, with local time."""
    site = tables["site"].filter(pl.col("kind").cast(pl.String) == "office").select("site_id", "time_zone")
    device = tables["device"].filter(pl.col("profile") == "room-climate").join(site, on="site_id")
    channel = tables["channel"].filter(pl.col("signal").cast(pl.String) == signal)
    channel = channel.join(device.select("device_id", "time_zone"), on="device_id")
    mine = pl.col("channel_id").is_in(channel["channel_id"].implode()) & (pl.col("quality").cast(pl.String) == "good")
    reading = tables["reading"].filter(mine & pl.col("value").is_not_null())
    reading = reading.join(channel.select("channel_id", "time_zone"), on="channel_id")
    of_channel = reading.sort("channel_id", "observed_at").group_by("channel_id", "time_zone", maintain_order=True)
    for (_, zone), table in of_channel:
        if table.height >= 1_000:
            local = pl.col("observed_at").dt.convert_time_zone(str(zone)).dt.replace_time_zone(None)
            yield table.with_columns(local=local)


def _step(table: Table) -> float:
    seconds, x = _series(table)
    near = np.abs(np.diff(seconds) - 60) < 6
    return float(np.diff(x)[near].std()) if near.sum() >= FEWEST else np.nan


def _lagged(table: Table, lag: int) -> float:
    seconds, x = _series(table)
    at = np.searchsorted(seconds, seconds + lag)
    there = at < len(x)
    at = np.minimum(at, len(x) - 1)
    there &= np.abs(seconds[at] - seconds - lag) < 0.1 * lag
    return float(np.corrcoef(x[there], x[at][there])[0, 1]) if there.sum() >= FEWEST and x.std() else np.nan


def _series(table: Table) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    return table["observed_at"].cast(pl.Int64).to_numpy() / 1e6, table["value"].to_numpy()


def _mean_of(each: Iterator[float]) -> Measured:
    values = np.array([v for v in each if v == v])
    return None if len(values) < 5 else (float(values.mean()), float(values.std() / np.sqrt(len(values))))
