"""What scenarios do: sensors that drift or freeze, gateways that are cut off."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ...core.scenario import Edit, Scene
from ...core.stream import F64
from ...core.tables import ROW, Table
from .readings import I64, by_channel, delay, spans
from .signals import HOUR, quantise

Fault = Callable[[F64, I64, float], F64]
"""Values of a span, when they were taken, and the channel's standard deviation, to the values that the faulty sensor gives."""


def sensor_drift(scene: Scene) -> list[Edit]:
    """From the true value at onset to `severity` standard deviations off, when the sensor is calibrated again: evenly, or with
    detours that are a random walk tied down at both ends."""

    def drift(instance: int, channel: Mapping[str, Any]) -> Fault:
        up = scene.stream.child("direction").uniform(np.array([instance]))[0] < 0.5
        rng = scene.stream.child("detour", instance).generator()

        def fault(values: F64, at: I64, sigma: float) -> F64:
            most = scene["severity"] * sigma
            # a drift that would leave the range goes the other way
            down = values.min() - most > channel["low"] and (not up or values.max() + most > channel["high"])
            passed = (at - at[0]) / max(1, int(at[-1] - at[0]))
            walk = rng.standard_normal(len(at)).cumsum() / np.sqrt(len(at))
            detour = walk - passed * walk[-1] - (1 - passed) * walk[0]
            return values + (-most if down else most) * (passed + scene["wander"] * detour)

        return fault

    return [scene.edit("update", "reading", _spoil(scene, "sensor", drift), "sensor", "drift")]


def stuck_at(scene: Scene) -> list[Edit]:
    """The value of the first sample of a span, until its end."""

    def stuck(instance: int, channel: Mapping[str, Any]) -> Fault:
        return lambda values, at, sigma: np.full(len(values), values[0])

    return [scene.edit("update", "reading", _spoil(scene, "sensor", stuck), "sensor", "stuck")]


def gateway_outage(scene: Scene) -> list[Edit]:
    """One more outage. Arrivals follow from it, so the readings that arrive at another time are only named here."""
    cast, window = scene.cast["gateway"], scene.block.window
    instance = cast["instance"].to_numpy()
    length = min(int(scene["hours"] * HOUR), (window.end - window.start) // 4)
    # the backlog is sent within the window
    room = window.end - window.start - length - length // cast["backfill_speed"].cast(pl.Int64).to_numpy() - 1
    start = window.start + (scene.stream.child("start").uniform(instance) * np.maximum(room, 0)).astype(np.int64)
    outage = pl.DataFrame(
        {
            "instance": instance,
            ROW: scene.address("outage", instance, 0),
            "gateway_id": cast["gateway_id"],
            "started_at": start,
            "ended_at": start + length,
            "cause": np.full(len(instance), "uplink"),
        }
    )
    return [
        scene.edit("insert", "gateway_event", outage, "gateway", "outage"),
        scene.edit("update", "reading", _delayed(scene, outage), "gateway", "late"),
    ]


def _delayed(scene: Scene, outage: Table) -> Table:
    """The readings that arrive at another time because of one more outage of their gateway."""
    known, added = spans(scene.tables["gateway_event"], "gateway_id"), spans(outage, "gateway_id")
    instance = dict(outage.select("gateway_id", "instance").iter_rows())
    reading = scene.tables["reading"]
    planned = reading["received_at"].to_physical().to_numpy()
    key = reading["reading_id"].to_numpy()
    parts = [(np.empty(0, np.int64), np.empty(0, np.int64))]
    for _, at, gateway, speed in by_channel(scene.tables):
        if gateway not in added:
            continue
        before, after = planned[at].copy(), planned[at].copy()
        for received, outages in ((before, []), (after, added[gateway])):
            for _ in delay(received, [*known.get(gateway, ()), *outages], speed):
                pass
        late = key[at][before != after]
        parts.append((np.full(len(late), instance[gateway]), late))
    return _rows(parts)


def _spoil(scene: Scene, role: str, fault: Callable[[int, Mapping[str, Any]], Fault]) -> Table:
    """The readings that a fault changes in one span of each cast channel, with the values that the faulty sensor gives. The span
    counts samples, so it always holds some: at most half of all there are. Where the wrong value rounds to the true one, nothing
    is wrong with the reading, and it is not among them."""
    reading = scene.tables["reading"]
    owner, key, value = (reading[c].to_numpy() for c in ("channel_id", "reading_id", "value"))
    taken = reading["observed_at"].to_physical().to_numpy()
    parts: list[tuple[NDArray, ...]] = [(np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0))]
    for channel in scene.cast[role].iter_rows(named=True):
        instance = channel["instance"]
        a, b = np.searchsorted(owner, [channel["channel_id"], channel["channel_id"] + 1])
        length = int(min(scene["hours"] * HOUR // channel["interval_us"], (b - a) // 2))
        if length < 1:
            continue
        first = a + int(scene.stream.child("onset").uniform(np.array([instance]))[0] * (b - a - length))
        span = slice(first, first + length)
        wrong = fault(instance, channel)(value[span], taken[span], float(value[a:b].std()))
        wrong = quantise(np.array(wrong), channel["resolution"], channel["low"], channel["high"])
        changed = wrong != value[span]
        parts.append((np.full(int(changed.sum()), instance), key[span][changed], wrong[changed]))
    return _rows(parts, "value")


def _rows(parts: list[tuple[NDArray, ...]], *columns: str) -> Table:
    joined = [np.concatenate(column) for column in zip(*parts, strict=True)]
    names = ("instance", ROW, *columns)
    return pl.DataFrame(dict(zip(names, joined, strict=True))).with_columns(pl.col(ROW).cast(pl.UInt64))


SCRIPTS = {"sensor_drift": sensor_drift, "stuck_at": stuck_at, "gateway_outage": gateway_outage}
