"""What must hold of a fleet and no predicate over one row can say."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ...core.checks import ends_of_runs, violations
from ...core.domain import Check
from ...core.tables import Table
from .labels import LABELS
from .physics import Profiles, physics
from .population import GATEWAYS
from .profiles import LINKS
from .readings import AWAKE, COPY, FAN, RETRIED, in_order, places, sampled, spans, union

Lazy = Mapping[str, pl.LazyFrame]

_RUNNING = ("up", "degraded", "asleep")
NEXT = {
    "provisioned": (*_RUNNING, "off", "failed"),
    "up": (*_RUNNING, "off", "restart", "failed", "retired"),
    "degraded": (*_RUNNING, "off", "restart", "failed", "retired"),
    "asleep": (*_RUNNING, "off", "restart", "failed", "retired"),
    "off": (*_RUNNING, "restart", "failed", "retired"),
    "restart": (*_RUNNING, "off", "failed", "restart", "retired"),
    "failed": ("repair", "waiting"),
    "waiting": ("repair",),
    "repair": (*_RUNNING, "off", "restart", "failed", "retired"),
    "retired": (),
}
"""The states that may follow each state of a device."""


def on_scale(tables: Lazy) -> Table:
    found = [violations()]
    for channel, (key, value) in _channels(tables, "value"):
        low, high = channel["low"], channel["high"]
        steps = float(round(1 / channel["resolution"]))
        if len(value) and (value.min() < low or value.max() > high):
            found.append(_rows(key, (value < low) | (value > high), f"outside {low} to {high}"))
        with np.errstate(over="ignore"):
            whole = value * steps
        np.rint(whole, out=whole)
        whole /= steps
        if (off := whole != value).any():
            found.append(_rows(key, off, f"not a multiple of {channel['resolution']}"))
    return _reported(found)


def on_grid(tables: Lazy) -> Table:
    found = [violations()]
    for channel, (key, observed) in _channels(tables, "observed_at"):
        late = key - channel["channel_id"] * FAN
        if len(late) and late[-1] >= COPY:
            late[late >= COPY] -= COPY
        late *= -channel["interval_us"]
        late += observed
        first, last = channel["first_sample_at"], channel["first_sample_at"] + channel["jitter_us"]
        if len(late) and (late.min() < first or late.max() > last):
            off = (late < first) | (late > last)
            found.append(_rows(key, off, f"not within {channel['jitter_us']} us of its point of the grid"))
    return _reported(found)


def gaps_explained(tables: Lazy) -> Table:
    found = [violations()]
    awake = tables["device_event"].filter(pl.col("state").cast(pl.String).is_in(AWAKE)).collect()
    up = {device: union(life) for device, life in spans(awake, "device_id").items()}
    for channel, (key,) in _channels(tables):
        grid = [channel[c] for c in ("first_sample_at", "interval_us", "jitter_us")]
        runs = sampled(up.get(channel["device_id"], ()), *grid)
        first = channel["channel_id"] * FAN
        key = key[: np.searchsorted(key, first + COPY)]
        if _is_all(key, [(first + a, first + b) for a, b in runs]):
            continue
        index = key - first
        expected = np.concatenate([np.empty(0, np.int64), *(np.arange(a, b) for a, b in runs)])
        found.append(_rows(key, ~np.isin(index, expected), "sampled while the device was down"))
        if missing := int((~np.isin(expected, index)).sum()):
            owner = pl.Series([channel["channel_id"]])
            found.append(violations("", "channel", owner, f"{missing} samples missing while the device was up"))
    return _reported(found)


def _is_all(key: NDArray, runs: list[tuple[int, int]]) -> bool:
    """Whether there is each number of each run [a, b), and no other. What rises from a to b - 1 in as many steps leaves none out."""
    if len(key) != sum(b - a for a, b in runs) or not (key[1:] > key[:-1]).all():
        return False
    ends = np.cumsum([b - a for a, b in runs], dtype=np.int64)
    return all(key[end - (b - a)] == a and key[end - 1] == b - 1 for (a, b), end in zip(runs, ends, strict=True))


def delivered_once(tables: Lazy) -> Table:
    reading = tables["reading"].select("channel_id", "reading_id").collect()
    owner, key = reading["channel_id"].to_numpy(), reading["reading_id"].to_numpy()
    if reading["reading_id"].is_sorted() and reading["channel_id"].is_sorted():
        # a channel's copies stand behind its other readings: where its last is none, there are none
        last = ends_of_runs(owner) - 1
        if not (key[last] - owner[last] * FAN >= COPY).any():
            return violations().drop("check")
    return _rows(key, key - owner * FAN >= COPY, "a sample that has been delivered before").drop("check")


def arrivals_explained(tables: Lazy) -> Table:
    found = [violations()]
    outages = spans(tables["gateway_event"].collect(), "gateway_id")
    gateway = dict(tables["device"].select("device_id", "gateway_id").collect().iter_rows())
    for channel, (key, observed, received, quality) in _channels(tables, "observed_at", "received_at", "quality"):
        held = union(outages.get(gateway.get(channel["device_id"], -1), ()))
        for a, b in held:
            if (during := (received >= a) & (received < b)).any():
                found.append(_rows(key, during, "arrived while its gateway was cut off"))
        wait = received - observed
        if not len(wait) or wait.max() <= channel["interval_us"]:
            continue
        late = np.flatnonzero(wait > channel["interval_us"])
        late = late[key[late] - channel["channel_id"] * FAN < COPY]
        if gateway.get(channel["device_id"], 0) % GATEWAYS != LINKS.index("wire"):
            # what nobody had acknowledged was sent again
            late = late[quality[late] != RETRIED]
        if len(late):
            # the last outage that began before it arrived must have lasted until it was there to be sent
            starts, ends = np.array([*held, (np.iinfo(np.int64).max, 0)]).T
            last = np.searchsorted(starts, received[late], "right") - 1
            late = late[(last < 0) | (ends[last] <= observed[late])]
        if len(late):
            found.append(violations("", "reading", pl.Series(key[late]), "arrived late, and its gateway was connected"))
    return _reported(found)


def transitions(tables: Lazy) -> Table:
    event = (
        tables["device_event"].with_columns(pl.col("state").cast(pl.String)).sort("device_id", "started_at").collect()
    )
    event = event.with_columns(
        pl.col("state").shift().over("device_id").alias("before"),
        pl.col("ended_at").shift().over("device_id").alias("since"),
    )
    legal = pl.DataFrame([(a, b) for a, after in NEXT.items() for b in after], ["before", "state"], orient="row")
    later = event.filter(pl.col("before").is_not_null())
    illegal = later.join(legal, on=["before", "state"], how="anti")
    apart = later.filter(pl.col("since") != pl.col("started_at"))
    return pl.concat(
        [
            illegal.select(
                table=pl.lit("device_event"),
                row_key="device_event_id",
                detail=pl.concat_str("state", pl.lit(" after "), "before"),
            ),
            apart.select(
                table=pl.lit("device_event"),
                row_key="device_event_id",
                detail=pl.lit("does not start when the state before it ends"),
            ),
        ]
    )


_OF_EVENTS = (
    Check(
        "on-scale",
        ("channel", "reading"),
        "a value is a whole multiple of its channel's resolution, within its range",
        on_scale,
    ),
    Check("on-grid", ("channel", "reading"), "a sample is taken at its point of the grid, within the jitter", on_grid),
    Check(
        "gaps-explained",
        ("channel", "reading", "device_event"),
        "there is a reading at each point of the grid at which the device is up, and at no other",
        gaps_explained,
    ),
    Check("delivered-once", ("reading",), "each sample is delivered once", delivered_once),
    Check(
        "arrivals-explained",
        ("device", "channel", "reading", "gateway_event"),
        "nothing arrives through a gateway that is cut off, and nothing late but what such a gateway stored or a device sent again",
        arrivals_explained,
    ),
    Check(
        "transitions", ("device_event",), "a device's states follow each other without gap and as they may", transitions
    ),
)


def checks(profiles: Profiles) -> tuple[Check, ...]:
    """All that must hold of a fleet of devices of these profiles."""
    return (*_OF_EVENTS, *physics(profiles), *LABELS)


def _channels(tables: Lazy, *columns: str) -> Iterator[tuple[dict[str, int], list[NDArray]]]:
    """Each channel with the keys and some columns of its readings, in order of key."""
    reading = in_order(tables["reading"].select("reading_id", *columns).collect())
    arrays = [column.to_physical().to_numpy() for column in reading]
    channel = tables["channel"].with_columns(pl.col("first_sample_at").to_physical()).collect()
    where = places(arrays[0], channel["channel_id"])
    for row, (a, b) in zip(channel.iter_rows(named=True), where, strict=True):
        yield row, [array[a:b] for array in arrays]


def _rows(key: NDArray, broken: NDArray, detail: str) -> Table:
    return violations("", "reading", pl.Series(key[broken]), detail)


def _reported(found: list[Table]) -> Table:
    return pl.concat(found).drop("check")
