"""Readings: samples while the device is up, and their arrival through a gateway that is cut off at times."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from itertools import groupby
from operator import itemgetter
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ...core.domain import Block
from ...core.stream import F64
from ...core.tables import Table, Tables
from .climate import climate
from .population import SCHEMA
from .signals import channel_values, quantise
from .terms import Setting
from .ways import drive

I64 = NDArray[np.int64]
Spans = Sequence[tuple[int, int]]
FAN = SCHEMA["reading"].fan
AWAKE = ("up", "degraded")
"""The states in which a device samples."""
COPY = FAN // 2
"""What was delivered twice stands a second time, this far behind its own place on the grid."""
LATE, LIMITED = 1, 2  # places in the code list `quality`, where `good` is 0


def readings(block: Block, tables: Tables) -> Tables:
    """A sample at each point of the grid at which the device is awake: its value, when it was taken and when it would arrive
    through a gateway that is never cut off. A device sends the samples of all its channels as one message."""
    device, channel = tables["device"], tables["channel"]
    lives = _lives(tables["device_event"])
    shared = {row["site_id"]: climate(block, row) for row in tables["site"].iter_rows(named=True)}
    at_site = {n: (profile, site) for n, profile, site in device.select("device_id", "profile", "site_id").iter_rows()}
    grids = channel.select("device_id", "first_sample_at", "interval_us", "jitter_us")
    runs = {n: sampled(awake(lives.get(n, ())), *grid) for n, *grid in grids.unique("device_id").iter_rows()}
    size = sum(b - a for n in channel["device_id"] for a, b in runs[n])
    key, owner, observed, received = (np.empty(size, np.int64) for _ in range(4))
    value = np.empty(size)
    at = 0
    of_device = groupby(channel.select(*grids.columns, "channel_id").iter_rows(), itemgetter(0, 1, 2, 3))
    for (number, first, interval, jitter), mine in of_device:
        spans_of = runs[number]
        count = max((b for _, b in spans_of), default=0)
        taken, arrived = _clock(block, number, count, first, interval, jitter)
        keys = [row[4] for row in mine]
        profile, site = block.library[at_site[number][0]], at_site[number][1]
        setting = Setting(first, interval, count, shared[site], block.stream.generator())
        _add_life(setting, lives.get(number, ()), block, number)
        streams = {c.signal: block.stream.child("signal", k) for c, k in zip(profile.channels, keys, strict=True)}
        made = list(channel_values(profile, setting, streams)) if count else []
        for k, kind, (_, values) in zip(keys, profile.channels, made, strict=False):
            low = at
            for a, b in spans_of:
                to = slice(at, at + b - a)
                key[to] = np.arange(k * FAN + a, k * FAN + b)
                observed[to], received[to], value[to] = taken[a:b], arrived[a:b], values[a:b]
                at = to.stop
            owner[low:at] = k
            quantise(value[low:at], kind.resolution, kind.low, kind.high)
    columns = {
        "reading_id": key,
        "channel_id": owner,
        "observed_at": observed,
        "received_at": received,
        "value": value,
    }
    instants = pl.col("observed_at", "received_at").cast(SCHEMA["reading"].columns["observed_at"].dtype)
    return {"reading": pl.DataFrame(columns).with_columns(instants)}


def _lives(events: Table) -> dict[int, list[tuple[Any, ...]]]:
    """The spans of each device, in order of time: start, end, state, wear and charge at both."""
    found: dict[int, list[tuple[Any, ...]]] = {}
    columns = (pl.col("started_at", "ended_at").to_physical(), pl.col("state").cast(pl.String))
    gauges = ("wear_start", "wear_end", "charge_start", "charge_end")
    for number, *span in events.select("device_id", *columns, *gauges).sort("device_id", "started_at").iter_rows():
        found.setdefault(number, []).append(tuple(span))
    return found


def awake(life: Sequence[tuple[Any, ...]]) -> list[tuple[int, int]]:
    """The spans in which a device samples: those next to each other as one."""
    return union([(t0, t1) for t0, t1, state, *_ in life if state in AWAKE])


def _add_life(setting: Setting, life: Sequence[tuple[Any, ...]], block: Block, number: int) -> None:
    """Let a device's signals see its wear, its charge and its way, where they ask for them."""

    def gauge(column: int) -> F64:
        known = [(t0, t1, s[column], s[column + 1]) for t0, t1, *s in life if s[column] is not None]
        if not known:
            return np.zeros(setting.count)
        times = np.array([t for t0, t1, *_ in known for t in (t0, t1 - 1)], np.float64)
        levels = np.array([x for _, _, *pair in known for x in pair], np.float64)
        return np.interp(setting.at(), times, levels)

    setting.wear, setting.charge = partial(gauge, 1), partial(gauge, 3)
    setting.track = partial(drive, setting, block.stream.child("way", number), block.priors)


def _clock(block: Block, device: int, count: int, first: int, interval: int, jitter: int) -> tuple[I64, I64]:
    """When samples are taken, and when they arrive. A delay never disturbs either order: both stay below half
    an interval."""
    rng = block.stream.child("transport", device).generator()
    least, tail = block.priors("gateway.latency_us"), block.priors("gateway.latency_tail_us")
    taken = rng.integers(0, 1 << 16, count, np.uint16).astype(np.int64)
    taken *= jitter + 1
    taken >>= 16
    taken += first
    taken += np.arange(0, count * interval, interval)
    delay = rng.standard_exponential(count, np.float32)
    delay *= tail
    delay += least
    np.minimum(delay, interval // 2, out=delay)
    return taken, taken + delay.astype(np.int64)


def sampled(up: Spans, first: int, interval: int, jitter: int) -> list[tuple[int, int]]:
    """The ranges of grid points [a, b) at which a device samples: it is up from the point until the latest that jitter allows."""
    found = []
    for t0, t1 in up:
        a = max(0, -((first - t0) // interval))
        b = (t1 - 1 - jitter - first) // interval + 1
        if b > a:
            found.append((a, b))
    return found


def spans(events: Table, entity: str) -> dict[int, list[tuple[int, int]]]:
    """Start and end of each entity's events, in order of time, in microseconds since 1970."""
    found: dict[int, list[tuple[int, int]]] = {}
    columns = pl.col("started_at", "ended_at").to_physical()
    for number, t0, t1 in events.select(entity, columns).sort(entity, "started_at").iter_rows():
        found.setdefault(number, []).append((t0, t1))
    return found


def union(outages: Spans) -> list[tuple[int, int]]:
    """Spans that overlap or touch, as one."""
    found: list[tuple[int, int]] = []
    for a, b in sorted(outages):
        if found and a <= found[-1][1]:
            found[-1] = (found[-1][0], max(b, found[-1][1]))
        else:
            found.append((a, b))
    return found


def delay(received: I64, outages: Spans, speed: int) -> Iterator[tuple[int, int]]:
    """Store and forward, in place: what would arrive during an outage arrives after it, in the order in which it was stored and
    `speed` times as fast as it was measured. Readings made since go out at once, so they overtake the stored ones. What falls into the
    next outage while it is being sent waits again.

    `received` must be in order of time. Yields the ranges that were worked on.
    """
    held = union(outages)
    lows = np.searchsorted(received, [a for a, _ in held])
    highs = np.searchsorted(received, [b for _, b in held])
    last, low_before = 0, 0
    for (a, b), low, high in zip(held, lows.tolist(), highs.tolist(), strict=True):
        low = low_before if a <= last else low
        if high <= low:
            continue
        part = received[low:high]
        waits = (part >= a) & (part < b)
        part[waits] = b + (part[waits] - a) // speed
        last, low_before = int(part.max()), low
        yield low, high


def arrived(received: I64, outages: Spans, speed: int) -> I64:
    """When readings arrive that would do so at these times, in any order, but for the outages of their gateway."""
    order = np.argsort(received, kind="stable")
    waited = received[order]
    for _ in delay(waited, outages, speed):
        pass
    found = np.empty_like(waited)
    found[order] = waited
    return found


def silence(block: Block, tables: Tables) -> Tables:
    """Derive what is left of the readings where scenarios have taken devices down: none of the time in which they were."""
    found = tables["reading"]
    reading = found if found["reading_id"].is_sorted() else found.sort("reading_id")
    key = reading["reading_id"].to_numpy()
    lives = _lives(tables["device_event"])
    kept = np.zeros(len(key), bool)
    for number, device, *grid in (
        tables["channel"].select("channel_id", "device_id", "first_sample_at", "interval_us", "jitter_us").iter_rows()
    ):
        edges = np.array(sampled(awake(lives.get(device, ())), *grid), np.int64).reshape(-1) + number * FAN
        edges = np.concatenate([edges, edges + COPY])
        for a, b in np.searchsorted(key, edges).reshape(-1, 2).tolist():
            kept[a:b] = True
    return {"reading": reading if kept.all() else reading.filter(kept)}


def arrivals(block: Block, tables: Tables) -> Tables:
    """Derive when each reading arrives and what its quality is, from the outages of its gateway as they stand."""
    reading = tables["reading"]
    planned = reading["received_at"].to_physical().to_numpy()
    received = planned.copy()
    value = reading["value"].to_numpy()
    quality = np.zeros(reading.height, np.uint8)
    outages = spans(tables["gateway_event"], "gateway_id")
    limits = {n: (a, b) for n, a, b in tables["channel"].select("channel_id", "low", "high").iter_rows()}
    for number, to, gateway, speed in by_channel(tables):
        low, high = limits[number]
        ends = (value[to] <= low) | (value[to] >= high)
        if ends.any():
            quality[to][ends] = LIMITED
        if gateway in outages:
            received[to] = arrived(planned[to], outages[gateway], speed)
            quality[to][received[to] != planned[to]] = LATE
    codes = SCHEMA["reading"].columns["quality"].dtype
    return {
        "reading": reading.with_columns(
            pl.Series("received_at", received).cast(reading.schema["received_at"]),
            pl.Series("quality", quality).cat.to(codes),
        )
    }


def by_channel(tables: Tables) -> Iterator[tuple[int, slice, int, int]]:
    """For each channel: where its readings stand, its gateway, and how fast that sends what it stored."""
    owner = tables["reading"]["channel_id"].to_numpy()
    channel = (
        tables["channel"]
        .select("channel_id", "device_id")
        .join(tables["device"].select("device_id", "gateway_id"), on="device_id", maintain_order="left")
        .join(tables["gateway"].select("gateway_id", "backfill_speed"), on="gateway_id", maintain_order="left")
    )
    numbers = channel["channel_id"].to_numpy()
    starts, ends = np.searchsorted(owner, numbers), np.searchsorted(owner, numbers, "right")
    for number, a, b, gateway, speed in zip(
        numbers.tolist(), starts.tolist(), ends.tolist(), channel["gateway_id"], channel["backfill_speed"], strict=True
    ):
        yield number, slice(a, b), gateway, speed
