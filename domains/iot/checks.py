"""What must hold of a fleet and no predicate over one row can say."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ...core.checks import ends_of_runs, gathered, violations
from ...core.domain import Check
from ...core.tables import Table
from .civil import DAY
from .gauges import AWAKE
from .labels import LABELS
from .physics import Profiles, physics
from .population import GATEWAYS
from .profiles import LINKS
from .readings import COPY, FAN, RETRIED, sampled, spans, union
from .sheet import Scratch, sheet
from .signals import STRETCH

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
    found, scratch, readings = list[Table](), Scratch(), sheet(tables)
    for channel, (key, value) in readings.each("value"):
        low, high = channel["low"], channel["high"]
        steps = float(round(1 / channel["resolution"]))
        least, most = readings.limits(channel, value)
        if not (least >= low and most <= high):
            found.append(_rows(key, (value < low) | (value > high), f"outside {low} to {high}"))
        for a in range(0, len(value), STRETCH):
            part = value[a : a + STRETCH]
            whole = scratch(0, len(part))
            with np.errstate(over="ignore"):
                np.multiply(part, steps, out=whole)
            np.rint(whole, out=whole)
            np.divide(whole, steps, out=whole)
            off = np.not_equal(whole, part, out=scratch(1, len(part), np.bool_))
            if off.any():
                found.append(_rows(key[a : a + STRETCH], off, f"not a multiple of {channel['resolution']}"))
    return gathered(found)


def on_grid(tables: Lazy) -> Table:
    found, scratch = list[Table](), Scratch()
    for channel, (key, observed) in sheet(tables).each("observed_at"):
        begin, every, jitter = channel["channel_id"] * FAN, channel["interval_us"], channel["jitter_us"]
        # modulo 2^64: how late each is lies between nothing and the jitter, whatever the products' upper bits
        shift = np.uint64((channel["first_sample_at"] - begin * every) % (1 << 64))
        for a in range(0, len(key), STRETCH):
            numbers = key[a : a + STRETCH]
            if numbers[-1] - begin >= COPY:
                numbers = np.where(numbers - begin >= COPY, numbers - COPY, numbers)
            late = scratch(0, len(numbers), np.int64)
            np.multiply(numbers, -every, out=late)
            late += observed[a : a + STRETCH]
            past = late.view(np.uint64)
            past -= shift
            if past.max() > jitter:
                off = past > jitter
                found.append(_rows(key[a : a + STRETCH], off, f"not within {jitter} us of its point of the grid"))
    return gathered(found)


def gaps_explained(tables: Lazy) -> Table:
    found: list[Table] = []
    event = tables["device_event"].collect()
    awake = event.filter(np.isin(event["state"].to_list(), AWAKE))
    up = {device: union(life) for device, life in spans(awake, "device_id").items()}
    dropped: dict[int, list[tuple[int, int]]] = {}
    if "gateway_event" in tables:
        outage = tables["gateway_event"].collect()
        over = [cause == "overflow" for cause in outage["cause"].to_list()]
        dropped = spans(outage.filter(over), "gateway_id") if any(over) else {}
    for channel, (key,) in sheet(tables).each():
        first, interval, jitter = (channel[c] for c in ("first_sample_at", "interval_us", "jitter_us"))
        runs = sampled(up.get(channel["device_id"], ()), first, interval, jitter)
        begin = channel["channel_id"] * FAN
        key = key[: np.searchsorted(key, begin + COPY)]
        if _is_all(key, [(begin + a, begin + b) for a, b in runs]):
            continue
        index = key - begin
        expected = np.concatenate([np.empty(0, np.int64), *(np.arange(a, b) for a, b in runs)])
        found.append(_rows(key, ~np.isin(index, expected), "sampled while the device was down"))
        missing = expected[~np.isin(expected, index)]
        for t0, t1 in dropped.get(channel.get("gateway_id") or 0, ()) if len(missing) else ():
            due = first + missing * interval
            missing = missing[(due < t0) | (due >= t1)]
        if len(missing):
            owner = pl.Series([channel["channel_id"]])
            found.append(violations("", "channel", owner, f"{len(missing)} samples missing while the device was up"))
    return gathered(found)


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
            return gathered([])
    return gathered([_rows(key, key - owner * FAN >= COPY, "a sample that has been delivered before")])


def arrivals_explained(tables: Lazy) -> Table:
    found, scratch = list[Table](), Scratch()
    outages = spans(tables["gateway_event"].collect(), "gateway_id")
    for channel, (key, observed, received, quality) in sheet(tables).each("observed_at", "received_at", "quality"):
        gateway = channel["gateway_id"]
        held, late = union(outages.get(-1 if gateway is None else gateway, ())), []
        for a in range(0, len(key), STRETCH):
            part, due = received[a : a + STRETCH], observed[a : a + STRETCH]
            wait = np.subtract(part, due, out=scratch(0, len(part), np.int64))
            if wait.max() > channel["interval_us"]:
                late.append(np.flatnonzero(wait > channel["interval_us"]) + a)
            first, last = (part.min(), part.max()) if held else (0, 0)
            for t0, t1 in held:
                if first < t1 and last >= t0 and (during := (part >= t0) & (part < t1)).any():
                    found.append(_rows(key[a : a + STRETCH], during, "arrived while its gateway was cut off"))
        if not late:
            continue
        late = np.concatenate(late)
        late = late[key[late] - channel["channel_id"] * FAN < COPY]
        if (gateway or 0) % GATEWAYS != LINKS.index("wire"):
            # what nobody had acknowledged was sent again
            late = late[quality[late] != RETRIED]
        if len(late):
            # the last outage that began before it arrived must have lasted until it was there to be sent, which was not before all outages
            starts, ends = np.array([*held, (np.iinfo(np.int64).max, 0)]).T
            last = np.searchsorted(starts, received[late], "right") - 1
            before = starts[0] - max(channel["interval_us"], DAY)  # whatever waited before them
            late = late[(last < 0) | (ends[last] <= observed[late]) | (observed[late] < before)]
        if len(late):
            found.append(violations("", "reading", pl.Series(key[late]), "arrived late, and its gateway was connected"))
    return gathered(found)


def transitions(tables: Lazy) -> Table:
    columns = ("device_id", "started_at", "ended_at", "device_event_id", "state")
    event = tables["device_event"].collect().select(columns).sort("device_id", "started_at")
    illegal: dict[tuple[str, str], list[int]] = {}
    apart: list[int] = []
    for (one, _, ended, _, before), (device, started, _, number, state) in pairwise(event.iter_rows()):
        if device != one or before is None:
            continue
        if state not in NEXT.get(before, ()):
            illegal.setdefault((before, state), []).append(number)
        if started != ended:
            apart.append(number)
    found = [violations("", "device_event", pl.Series(keys), f"{b} after {a}") for (a, b), keys in illegal.items()]
    apart_keys = pl.Series(apart, dtype=pl.Int64)
    return gathered(
        [*found, violations("", "device_event", apart_keys, "does not start when the state before it ends")]
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
        "there is a reading at each point of the grid at which the device is up, but for what a store has dropped, and at no other",
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


def _rows(key: NDArray, broken: NDArray, detail: str) -> Table:
    return violations("", "reading", pl.Series(key[broken]), detail)
