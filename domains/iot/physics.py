"""Checks of what was measured against what can be: how fast it changes, counters, balances between channels, charge and wear.

A span that the table of anomalies names is left out, with the sample after it: there the data says itself that it is not what it was.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property, partial
from itertools import pairwise
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ...core.checks import gathered, violations
from ...core.domain import Check
from ...core.stream import F64
from ...core.tables import Table
from .profiles import Profile
from .readings import COPY, FAN, I64, union
from .sheet import Scratch, sheet
from .signals import STRETCH

Lazy = Mapping[str, pl.LazyFrame]
Profiles = Mapping[str, Profile]


class Trace:
    """A channel's sound readings, in order of the grid."""

    def __init__(
        self,
        channel: Mapping[str, Any],
        key: I64,
        observed: I64,
        value: F64,
        limits: tuple[float, float],
        apart: Sequence[tuple[int, int]],
    ):
        begin = channel["channel_id"] * FAN
        self.channel, self.begin = channel, begin
        self._observed = observed
        if not (len(key) and key[-1] - begin < COPY and np.isfinite(limits[0]) and np.isfinite(limits[1])):
            sound = (key - begin < COPY) & np.isfinite(value)
            key, self._observed, value = key[sound], observed[sound], value[sound]
        first, every = channel["first_sample_at"], channel["interval_us"]
        # points of the grid from the first at t0 or later to the last before t1 + every
        cuts = [(begin - (first - t0) // every, begin - (first - t1) // every + 1) for t0, t1 in apart]
        edges = [0, *(edge for cut in union(np.searchsorted(key, cuts).tolist()) for edge in cut), len(key)]
        self.stretches = [(a, b) for a, b in zip(edges[::2], edges[1::2], strict=True) if a < b] if cuts else None
        """The ranges that are looked at; all where nothing is said."""
        self.unbroken = bool(len(key) and key[-1] - key[0] == len(key) - 1)
        """Whether there is a reading at each point of the grid from the first to the last, but for what is left out."""
        self.starts = int(key[0]) - begin if len(key) else 0
        self.key, self.value = self._kept(key), self._kept(value)

    def _kept(self, values: NDArray) -> NDArray:
        if self.stretches is None:
            return values
        return np.concatenate([values[:0], *(values[a:b] for a, b in self.stretches)])

    @cached_property
    def observed(self) -> I64:
        return self._kept(self._observed)

    @cached_property
    def index(self) -> I64:
        """The points of the grid."""
        return self.key - self.begin


def traces(tables: Lazy, wanted: Callable[[str, str], bool]) -> Iterator[tuple[str, dict[str, Trace]]]:
    """For each device its profile, and the traces of those of its channels that `wanted(profile, signal)` names."""
    readings = sheet(tables)
    mine = [(row, at) for row, at in readings.channels if row["profile"] and wanted(row["profile"], row["signal"])]
    if not mine:
        return
    key, observed, value = (readings.column(c) for c in ("reading_id", "observed_at", "value"))
    apart = _anomalies(tables)
    devices: dict[int, list[tuple[dict[str, Any], slice]]] = {}
    for row, at in mine:
        devices.setdefault(row["device_id"], []).append((row, at))
    for channels in devices.values():  # one after the other: what is looked at may be a copy
        yield (
            channels[0][0]["profile"],
            {
                row["signal"]: Trace(
                    *(row, key[at], observed[at], value[at], readings.limits(row, value[at])),
                    apart.get(row["channel_id"], ()),
                )
                for row, at in channels
            },
        )


def _anomalies(tables: Lazy) -> dict[int, list[tuple[int, int]]]:
    found: dict[int, list[tuple[int, int]]] = {}
    if "anomaly" in tables:
        times = pl.col("started_at", "ended_at").to_physical()
        for number, t0, t1 in tables["anomaly"].select("channel_id", times).collect().iter_rows():
            found.setdefault(number, []).append((t0, t1))
    return found


def rate_of_change(profiles: Profiles, tables: Lazy) -> Table:
    found: list[Table] = []
    limited = {(p.name, c.signal) for p in profiles.values() for c in p.channels if c.rate is not None}
    for _, mine in traces(tables, lambda profile, signal: (profile, signal) in limited):
        for trace in mine.values():
            most = trace.channel["rate_per_s"]
            if most is None:
                continue
            step = np.abs(np.diff(trace.value)) - trace.channel["resolution"]
            broken = step > most * np.diff(trace.observed) / 1e6
            if broken.any():
                found.append(_rows(trace.key[1:][broken], f"changed by more than {most:g} a second"))
    return gathered(found)


def counters(profiles: Profiles, tables: Lazy) -> Table:
    """A counter only grows, but for where it starts again: from the last tenth of its range to the first."""
    found: list[Table] = []
    counting = {(p.name, c.signal) for p in profiles.values() for c in p.channels if c.kind == "counter"}
    for _, mine in traces(tables, lambda profile, signal: (profile, signal) in counting):
        for trace in mine.values():
            before, after = trace.value[:-1], trace.value[1:]
            over = trace.channel["rollover"] or np.inf
            back = np.flatnonzero(after < before)
            back = back[~((before[back] > 0.9 * over) & (after[back] < 0.1 * over))]
            if len(back):
                found.append(_rows(trace.key[1:][back], "a counter that went back"))
    return gathered(found)


def balances(profiles: Profiles, tables: Lazy) -> Table:
    """What a profile states of its channels: one is the product of others, or the integral of another over time."""
    found: list[Table] = []
    named = {
        (p.name, signal)
        for p in profiles.values()
        for rule in p.balance
        for signal in (rule["equals"], *([rule["of"]] if isinstance(rule["of"], str) else rule["of"]))
    }
    for profile, mine in traces(tables, lambda profile, signal: (profile, signal) in named):
        for rule in profiles[profile].balance:
            key, detail = RELATIONS[rule["relation"]](rule, mine)
            if len(key):
                found.append(_rows(key, detail))
    return gathered(found)


def _product(rule: Mapping[str, Any], mine: Mapping[str, Trace]) -> tuple[I64, str]:
    whole, parts = mine[rule["equals"]], [mine[name] for name in rule["of"]]
    shared, (at, *where) = _together(whole, *parts)
    key, total, factors = whole.key[at], whole.value[at], [p.value[w] for p, w in zip(parts, where, strict=True)]
    step, scratch, found = whole.channel["resolution"], Scratch(), [key[:0]]
    for a in range(0, len(shared), STRETCH):
        part = total[a : a + STRETCH]
        expected = scratch(0, len(part))
        expected.fill(float(rule["factor"]))
        for factor in factors:
            expected *= factor[a : a + STRETCH]
        expected -= part
        np.abs(expected, out=expected)
        # within a step of its own is right in any case: of the others, what their factors' own steps leave
        far = np.flatnonzero(expected > step)
        if not len(far):
            continue
        so_far, slack = np.full(len(far), float(rule["factor"])), np.zeros(len(far))
        for factor, of in zip(factors, parts, strict=True):
            value = factor[a + far]
            # each value is right to half a step
            slack = slack * np.abs(value) + np.abs(so_far) * (of.channel["resolution"] / 2)
            so_far *= value
        far = far[expected[far] > slack * 1.01 + step]
        # where a range ends the product is not what was measured
        far = far[(part[far] > whole.channel["low"]) & (part[far] < whole.channel["high"])]
        found.append(key[a + far])
    return np.concatenate(found), f"is not {' times '.join(rule['of'])}"


def _sum(rule: Mapping[str, Any], mine: Mapping[str, Trace]) -> tuple[I64, str]:
    whole, parts = mine[rule["equals"]], [mine[name] for name in rule["of"]]
    _, (at, *where) = _together(whole, *parts)
    expected = rule["factor"] * sum(part.value[place] for part, place in zip(parts, where, strict=True))
    # each value is right to half a step
    slack = whole.channel["resolution"] + abs(rule["factor"]) * sum(p.channel["resolution"] for p in parts) / 2
    broken = np.abs(whole.value[at] - expected) > slack
    broken &= (whole.value[at] > whole.channel["low"]) & (whole.value[at] < whole.channel["high"])
    return whole.key[at][broken], f"is not {' plus '.join(rule['of'])}"


def _integral(rule: Mapping[str, Any], mine: Mapping[str, Trace]) -> tuple[I64, str]:
    """Along each stretch without a gap, what a counter has gained must be the area below the other channel."""
    total, rate = mine[rule["equals"]], mine[rule["of"]]
    shared, (at, beside) = _together(total, rate)
    if not len(shared):
        return shared, ""
    seconds = total.channel["interval_us"] / 1e6
    key, count, power = total.key[at], total.value[at], rate.value[beside]
    edges = np.flatnonzero(shared[1:] - shared[:-1] > 1) + 1 if shared[-1] - shared[0] >= len(shared) else []
    found, step = [key[:0]], total.channel["resolution"] * 1.01
    each = rule["factor"] * seconds * rate.channel["resolution"] / 2
    for a, b in pairwise([0, *edges, len(shared)]):
        gained = np.diff(count[a:b])
        if total.channel["rollover"] and gained.min(initial=0.0) < 0:
            gained[gained < 0] += total.channel["rollover"]
        area = power[a + 1 : b] + power[a : b - 1]
        area *= rule["factor"] * seconds / 2
        gained -= area
        drift = np.abs(np.cumsum(gained, out=gained), out=gained)
        if drift.max(initial=0.0) <= step:
            continue
        broken = np.concatenate([[False], drift > step + each * np.arange(1, b - a)])
        # the row at which it goes wrong, not all those after it
        found.append(key[a:b][broken & ~np.concatenate([[False], broken[:-1]])])
    return np.concatenate(found), f"has not gained the integral of {rule['of']}"


RELATIONS: Mapping[str, Callable[..., tuple[I64, str]]] = {"product": _product, "sum": _sum, "integral": _integral}


def dew_points(profiles: Profiles, tables: Lazy) -> Table:
    found: list[Table] = []
    pair = {"dew-point", "air-temperature"}
    both = {p.name for p in profiles.values() if pair <= {c.signal for c in p.channels}}
    for _, mine in traces(tables, lambda profile, signal: profile in both and signal in pair):
        dew, air = mine["dew-point"], mine["air-temperature"]
        _, (at, beside) = _together(dew, air)
        slack = dew.channel["resolution"] + air.channel["resolution"]
        broken = dew.value[at] > air.value[beside] + slack
        if broken.any():
            found.append(_rows(dew.key[at][broken], "above the air temperature"))
    return gathered(found)


def charge(tables: Lazy) -> Table:
    """A battery gains charge on the charger, or when it is changed, and at no other time. Wear only grows, but by repair."""
    event = tables["device_event"].collect().sort("device_id", "started_at")
    number, device = (event[c].to_numpy() for c in ("device_event_id", "device_id"))
    worn, spent, charge, left = (
        event[c].cast(pl.Float64).to_numpy() for c in ("wear_start", "wear_end", "charge_start", "charge_end")
    )  # what is not known is no number, and no comparison with it holds
    state, cause = (np.array(event[c].to_list(), object) for c in ("state", "cause"))
    charging, first = cause == "charging", np.append(True, device[1:] != device[:-1])[: len(device)]
    changed, plugged = (np.append(False, was[:-1])[: len(device)] & ~first for was in (state == "repair", charging))
    spent_before, left_before = (
        np.where(first, np.nan, np.append(np.nan, was[:-1])[: len(device)]) for was in (spent, left)
    )
    tiny = 1e-6
    rules = (
        ((left > charge + tiny) & ~charging, "gains charge off the charger"),
        ((charge > left_before + tiny) & ~changed & ~plugged, "gains charge by nothing"),
        (spent < worn - tiny, "wears backwards"),
        ((worn < spent_before - tiny) & ~changed, "is new without a repair"),
    )
    return gathered([violations("", "device_event", pl.Series(number[broken]), text) for broken, text in rules])


def as_profiled(profiles: Profiles, tables: Lazy) -> Table:
    """A device has the channels of its profile, with their units and ranges. Profiles that are not known here say nothing."""
    known = {
        name: {c.signal: (c.unit, c.resolution, c.low, c.high) for c in p.channels} for name, p in profiles.items()
    }
    texts = pl.col("signal", "unit_code").cast(pl.String)
    channel = tables["channel"].select("channel_id", "device_id", texts, "resolution", "low", "high").collect()
    device = dict(tables["device"].select("device_id", pl.col("profile").cast(pl.String)).collect().iter_rows())
    has, other = Counter[int](), []
    for number, owner, signal, *about in channel.iter_rows():
        has[owner] += 1
        profile = device.get(owner)
        if profile in known and known[profile].get(signal) != tuple(about):
            other.append(number)
    short = [n for n, profile in device.items() if profile in known and has[n] != len(known[profile])]
    return gathered(
        [
            violations("", "channel", pl.Series(other, dtype=pl.Int64), "is not a channel of its device's profile"),
            violations("", "device", pl.Series(short, dtype=pl.Int64), "has not as many channels as its profile"),
        ]
    )


_READ = ("device", "channel", "reading")


def physics(profiles: Profiles) -> tuple[Check, ...]:
    """The checks, of devices of these profiles. Of others they say nothing."""

    def check(name: str, tables: tuple[str, ...], doc: str, run: Callable[[Profiles, Lazy], Table]) -> Check:
        return Check(name, tables, doc, partial(run, profiles))

    return (
        check("rate-of-change", _READ, "a value changes no faster than its channel can", rate_of_change),
        check("counters-grow", _READ, "a counter only grows, up to where it starts again", counters),
        check(
            "balances",
            _READ,
            "power is voltage times current, energy its integral, a total the sum of its parts: as the profile states",
            balances,
        ),
        check("dew-point-below-temperature", _READ, "air cannot hold more water than at its dew point", dew_points),
        Check(
            "charge-and-wear", ("device_event",), "charge falls and wear grows, but for chargers and repairs", charge
        ),
        check("as-profiled", ("device", "channel"), "a device has the channels of its profile", as_profiled),
    )


def _together(*found: Trace) -> tuple[I64, list[Any]]:
    """The readings of the first at whose points of the grid all have one, by key; and where these stand in each."""
    if all(_alike(found[0], other) for other in found[1:]):
        return found[0].key, [slice(None)] * len(found)
    low = min(int(t.index[0]) for t in found if len(t.key)) if any(len(t.key) for t in found) else 0
    high = max((int(t.index[-1]) for t in found if len(t.key)), default=low)
    all_have = np.ones(high - low + 1, bool)
    for trace in found:
        has = np.zeros(len(all_have), bool)
        has[trace.index - low] = True
        all_have &= has
    shared = np.flatnonzero(all_have) + low
    return shared + found[0].begin, [np.flatnonzero(all_have[t.index - low]) for t in found]


def _alike(one: Trace, other: Trace) -> bool:
    """Whether both have a reading at the same points of the grid: keys, which all differ, leave none out between two that are as far apart as
    they are many."""
    if len(one.key) != len(other.key):
        return False
    if one.unbroken and other.unbroken and one.starts == other.starts and one.stretches == other.stretches:
        return True
    return np.array_equal(one.index, other.index)


def _rows(key: NDArray, detail: str) -> Table:
    return violations("", "reading", pl.Series(key), detail)
