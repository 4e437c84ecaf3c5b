"""Readings: samples while the device is up, and their arrival through a gateway that is cut off at times."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import cache, lru_cache
from itertools import groupby
from operator import itemgetter
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ...core.domain import Block
from ...core.priors import Priors
from ...core.tables import Table, Tables, coded, plain, room
from .civil import HOUR
from .climate import climate, of_zone
from .gauges import AWAKE, Gauges
from .noise import SLICES, exponential_slices, words
from .population import SCHEMA
from .signals import quantise, stretches

I64 = NDArray[np.int64]
Spans = Sequence[tuple[int, int]]
FAN = SCHEMA["reading"].fan
COPY = FAN // 2
"""What was delivered twice stands a second time, this far behind its own place on the grid."""
LATE, LIMITED, RETRIED = 1, 2, 3  # places in the code list `quality`, where `good` is 0


def readings(block: Block, tables: Tables) -> Tables:
    """A sample at each point of the grid at which the device is awake: its value, when it was taken and when it would arrive
    through a gateway that is never cut off. A device sends the samples of all its channels as one message."""
    device, channel = tables["device"], tables["channel"]
    lives = _lives(tables["device_event"])
    sites = {row["site_id"]: climate(block, row) for row in tables["site"].iter_rows(named=True)}
    shared = cache(lambda site, zone: of_zone(block, sites[site], site, zone))
    where = device.select("device_id", "profile", "site_id", "zone_id", "clock_ppm").iter_rows()
    at_site = {number: place for number, *place in where}
    grids = channel.select("device_id", "first_sample_at", "interval_us", "jitter_us")
    runs = {n: sampled(awake(lives.get(n, ())), *grid) for n, *grid in grids.unique("device_id").iter_rows()}
    size = sum(b - a for n in channel["device_id"] for a, b in runs[n])
    key, owner, observed, received = (room(size, np.int64) for _ in range(4))
    value = room(size, np.float64)
    at = 0
    of_device = groupby(channel.select(*grids.columns, "channel_id").iter_rows(), itemgetter(0, 1, 2, 3))
    for (number, first, interval, jitter), mine in of_device:
        awake_in = runs[number]
        count, samples = max((b for _, b in awake_in), default=0), sum(b - a for a, b in awake_in)
        if not count:
            continue
        keys = [row[4] for row in mine]
        name, site, zone, ppm = at_site[number]
        profile = block.library[name]
        streams = {c.signal: block.stream.child("signal", k) for c, k in zip(profile.channels, keys, strict=True)}
        clock = _Clock(block, number, (first, interval, jitter), ppm, profile.link != "wire")
        gauges = Gauges(lives.get(number, ()), block, number)
        done = 0
        for start, made in stretches(profile, (first, interval, count), shared(site, zone), streams, gauges):
            index, taken, arrived = clock.tick(start, len(made[profile.channels[0].signal]))
            parts = [(max(a - start, 0), min(b - start, len(index))) for a, b in awake_in]
            parts = [(a, b) for a, b in parts if a < b]
            for n, (k, kind) in enumerate(zip(keys, profile.channels, strict=True)):
                low = high = at + n * samples + done
                for a, b in parts:
                    to = slice(high, high + b - a)
                    np.add(index[a:b], k * FAN, out=key[to])
                    observed[to], received[to], value[to] = taken[a:b], arrived[a:b], made[kind.signal][a:b]
                    high = to.stop
                quantise(value[low:high], kind.resolution, kind.low, kind.high)
            done += sum(b - a for a, b in parts)
        for n, k in enumerate(keys):
            owner[at + n * samples : at + (n + 1) * samples] = k
        at += len(keys) * samples
    columns = {
        "reading_id": key,
        "channel_id": owner,
        "observed_at": observed,
        "received_at": received,
        "value": value,
    }
    instants = pl.col("observed_at", "received_at").cast(SCHEMA["reading"].columns["observed_at"].dtype)
    return {"reading": pl.DataFrame(columns).with_columns(instants, pl.col("reading_id", "channel_id").set_sorted())}


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


class _Clock:
    """When samples are taken, and when they arrive. Both stay below half an interval, so that neither disturbs the order, but for what the
    network loses and a device sends again.

    A device takes and stamps its samples by its own clock, which loses some millionths until it is set right: what it sends arrives so
    much later than its stamp says.
    """

    def __init__(self, block: Block, device: int, grid: tuple[int, int, int], ppm: float, wireless: bool) -> None:
        priors = block.priors
        self._rng = block.stream.child("transport", device).generator()
        self._grid, self._ppm, self._sync = grid, ppm, max(1, round(priors("clock.sync_hours") * HOUR))
        least, tail = priors("gateway.latency_us"), priors("gateway.latency_tail_us")
        self._delays = _delays(least, tail, grid[1] // 2)
        if wireless and priors("network.loss"):
            self._delays = self._delays + waits(priors)

    def tick(self, start: int, count: int) -> tuple[I64, I64, I64]:
        """The grid points of a stretch, when they were sampled, and when that arrived."""
        first, interval, jitter = self._grid
        drawn = words(self._rng, 2 * count)
        index = np.arange(start, start + count)
        taken = drawn[:count].astype(np.int64)
        taken *= jitter + 1
        taken >>= 16
        taken += first
        taken += index * interval
        arrived = np.take(self._delays, drawn[count:])
        arrived += taken
        if self._ppm:
            # what has passed since the clock was set right: by where that was, for a division of each costs more than all else here
            since = start * interval % self._sync + interval * np.arange(count)
            for k in range(1, int(since[-1]) // self._sync + 1):
                since[-(-(k * self._sync - int(since[0])) // interval) :] -= self._sync
            arrived += (since * (self._ppm / 1e6)).astype(np.int64)
        return index, taken, arrived


@lru_cache(64)
def _delays(least: int, tail: int, most: int) -> I64:
    """From sample to arrival, by slices of the law: an exponential tail above the least."""
    return np.minimum(least + tail * exponential_slices(), most).astype(np.int64)


def waits(priors: Priors) -> I64:
    """What it takes to be heard, by slices of the law of delays: nothing for most; else a wait for an acknowledgement that does not come
    before each repetition, and each twice as long as the one before (RFC 7252, section 4.2)."""
    return _waits(*(priors(f"network.{name}") for name in ("loss", "timeout_us", "timeout_spread", "retries")))


@lru_cache(16)
def _waits(loss: float, timeout: int, spread: float, retries: int) -> I64:
    # two orders of the slices that have nothing to do with theirs by delay, nor with one another
    one, other = ((np.arange(SLICES) * odd % SLICES + 0.5) / SLICES for odd in (40_503, 27_893))
    lost = sum((one < loss**k).astype(np.int64) for k in range(1, retries + 1)) + np.zeros(SLICES, np.int64)
    return np.rint((2**lost - 1) * timeout * (1 + (spread - 1) * other)).astype(np.int64)


def longest_wait(priors: Priors) -> int:
    """Until a message has been heard for sure, in microseconds."""
    timeout, spread, retries = (priors(f"network.{name}") for name in ("timeout_us", "timeout_spread", "retries"))
    return round(timeout * spread * (2**retries - 1))


def sampled(up: Spans, first: int, interval: int, jitter: int) -> list[tuple[int, int]]:
    """The ranges of grid points [a, b) at which a device samples: it is up from the point until the latest that jitter allows."""
    found = []
    for t0, t1 in up:
        a = max(0, -((first - t0) // interval))
        b = (t1 - 1 - jitter - first) // interval + 1
        if b > a:
            found.append((a, b))
    return found


def in_order(reading: Table) -> Table:
    """Readings in order of key, and so each channel's together and in order of the grid."""
    # said once, so that no later look need find it out again
    known = reading if reading["reading_id"].is_sorted() else reading.sort("reading_id")
    return known.with_columns(pl.col("reading_id").set_sorted())


def places(key: I64, channels: Iterable[int]) -> list[tuple[int, int]]:
    """Where the readings of each channel stand, among keys in order."""
    numbers = np.array(list(channels), np.int64)
    return np.searchsorted(key, np.column_stack([numbers, numbers + 1]) * FAN).tolist()


def spans(events: Table, entity: str) -> dict[int, list[tuple[int, int]]]:
    """Start and end of each entity's events, in order of time, in microseconds since 1970."""
    found: dict[int, list[tuple[int, int]]] = {}
    columns = pl.col("started_at", "ended_at").to_physical()
    for number, t0, t1 in events.select(entity, columns).sort(entity, "started_at").iter_rows():
        found.setdefault(number, []).append((t0, t1))
    return found


def union(outages: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
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
    found = received.copy()
    for _ in _hold(found, outages, speed):
        pass
    return found


def later(received: I64, outages: Spans, more: Spans, speed: int) -> NDArray[np.bool_]:
    """Which readings arrive at another time because of some more outages of their gateway."""
    before = arrived(received, outages, speed) if outages else received
    after, found = received.copy(), np.zeros(len(received), bool)
    if not outages:
        for part in _hold(after, more, speed):
            np.not_equal(before[part], after[part], out=found[part])
        return found
    for _ in _hold(after, [*outages, *more], speed):
        pass
    return np.not_equal(before, after, out=found)


def _hold(received: I64, outages: Spans, speed: int) -> Iterator[slice]:
    """Let readings wait, in place, that would arrive while their gateway is cut off; they may be in any order. Yields where they stand."""
    if not outages or not len(received):
        return
    if (received[1:] >= received[:-1]).all():
        yield from (slice(a, b) for a, b in delay(received, outages, speed))
        return
    order = np.argsort(received, kind="stable")
    waited = received[order]
    for _ in delay(waited, outages, speed):
        pass
    received[order] = waited
    yield slice(0, len(received))


def silence(block: Block, tables: Tables) -> Tables:
    """Derive what is left of the readings where scenarios have taken devices down: none of the time in which they were."""
    reading = in_order(tables["reading"])
    key = reading["reading_id"].to_numpy()
    lives = _lives(tables["device_event"])
    kept = []
    for number, device, *grid in (
        tables["channel"].select("channel_id", "device_id", "first_sample_at", "interval_us", "jitter_us").iter_rows()
    ):
        edges = np.array(sampled(awake(lives.get(device, ())), *grid), np.int64).reshape(-1, 2) + number * FAN
        kept += [edges, edges + COPY]
    ranges = np.searchsorted(key, np.concatenate(kept)) if kept else np.empty((0, 2), np.int64)
    if int((ranges[:, 1] - ranges[:, 0]).sum()) == len(key):
        return {"reading": reading}
    stays = np.zeros(len(key), bool)
    for a, b in ranges.tolist():
        stays[a:b] = True
    return {"reading": reading.filter(stays)}


def arrivals(block: Block, tables: Tables) -> Tables:
    """Derive when each reading arrives and what its quality is, from the outages of its gateway as they stand."""
    reading = in_order(tables["reading"])
    planned = received = plain(reading["received_at"])
    if tables["gateway_event"].height:
        received = room(len(planned), np.int64)
        np.copyto(received, planned)
    value = reading["value"].to_numpy()
    quality = np.zeros(reading.height, np.uint8)
    outages = spans(tables["gateway_event"], "gateway_id")
    channel = tables["channel"].select("channel_id", "device_id", "low", "high")
    link = {p.name: p.link != "wire" for p in block.library.values()}
    device = tables["device"].select(
        "device_id", "gateway_id", pl.col("profile").replace_strict(link).alias("wireless")
    )
    channel = channel.join(device, on="device_id", maintain_order="left")
    first, most = block.priors("network.timeout_us"), longest_wait(block.priors)
    observed = plain(reading["observed_at"])
    channel = channel.join(
        tables["gateway"].select("gateway_id", "backfill_speed"), on="gateway_id", maintain_order="left"
    )
    where = places(reading["reading_id"].to_numpy(), channel["channel_id"])
    limits = channel.select("low", "high", "gateway_id", "backfill_speed", "wireless").iter_rows()
    for (a, b), (low, high, gateway, speed, wireless) in zip(where, limits, strict=True):
        to = slice(a, b)
        # what is no number makes the least and the greatest none
        if b > a and not (value[to].min() > low and value[to].max() < high):
            quality[to][(value[to] <= low) | (value[to] >= high)] = LIMITED
        if wireless and b > a:
            took = planned[to] - observed[to]
            if took.max() >= first:
                quality[to][(took >= first) & (took <= 2 * most)] = RETRIED
        for late in _hold(received[to], outages.get(gateway, ()), speed):
            quality[to][late][received[to][late] != planned[to][late]] = LATE
    codes = SCHEMA["reading"].columns["quality"].dtype
    columns = {column.name: column for column in reading}
    columns["received_at"] = pl.Series("received_at", received).cast(reading.schema["received_at"])
    columns["quality"] = coded(quality, codes).alias("quality")
    return {"reading": pl.DataFrame(list(columns.values()))}
