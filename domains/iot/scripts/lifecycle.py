"""Devices that scenarios take down: further states in the log of events, fitted into the spans in which the device is up."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

import numpy as np
import polars as pl

from ....core.scenario import Edit, Scene
from ....core.stream import join_rows
from ....core.tables import ROW, Table, rows
from ..gauges import AWAKE
from ..readings import FAN, Spans, sampled, union
from .spans import Place, Readings

SECOND = 1_000_000
_NONE_LOST = pl.DataFrame(schema={"instance": pl.Int64, ROW: pl.UInt64})
SEQUENCES: Mapping[str, tuple[str, ...]] = {"restart": ("restart",), "failure": ("failed", "repair")}


class Down(NamedTuple):
    """A time [t0, t1) for which an instance takes a device down: by a restart, or by a failure that is repaired in its last fifth."""

    instance: int
    device: int
    t0: int
    t1: int
    kind: str
    cause: str


def downs(
    scene: Scene,
    place: Place,
    kind: str,
    cause: str,
    count: float = 1,
    seconds: float = 90.0,
    at: str = "spread",
    supply: str | None = None,
) -> Iterable[Down]:
    """The times at which a place's device is down: `count` times, of exponential length with this mean; spread over the span at random,
    or once at its `end`, or for `all` of it. With a `supply`, only a device that is powered so."""
    device = place.trace.channel["device_id"]
    if supply is not None:
        profile = scene.tables["device"].filter(device_id=device).item(0, "profile")
        if scene.block.library[profile].power.supply != supply:
            return
    rng = scene.stream.child("down", place.instance, device, place.episode).generator()
    if at == "all":
        yield Down(place.instance, device, place.t0, place.t1, kind, cause)
        return
    lengths = np.maximum(SECOND, rng.standard_exponential(int(count)) * seconds * SECOND).astype(np.int64)
    if at == "end":
        yield Down(place.instance, device, place.t1, place.t1 + int(lengths[0]), kind, cause)
        return
    slot = (place.t1 - place.t0) // int(count)
    for k, length in enumerate(np.minimum(lengths, max(1, slot // 2)).tolist()):
        start = place.t0 + slot * k + int(rng.random() * (slot - length))
        yield Down(place.instance, device, start, start + length, kind, cause)


def take_down(scene: Scene, planned: list[Down], readings: Readings, role: str, effect: str) -> list[Edit]:
    """The edits that bring about what is planned, as far as the device is up then: the span in which it is up ends sooner, further states
    follow, and the samples of that time are gone. A second of being up stays on either side, so that states follow as they may. What fails
    does so once, even where the device was down for another reason in between."""
    event = scene.tables["device_event"].with_columns(pl.col("started_at", "ended_at").to_physical())
    event = event.with_columns(pl.Series(ROW, rows(event)))
    texts = pl.col("state", "cause").cast(pl.String)
    by_device: dict[int, list[Down]] = {}
    for down in sorted(planned, key=lambda d: (d.device, d.t0)):
        by_device.setdefault(down.device, []).append(down)
    ended: list[tuple[int, int, int]] = []
    added: list[tuple[int, int, int, int, str, str]] = []
    lost: list[Table] = [_NONE_LOST]
    for device, wanted in by_device.items():
        running = pl.col("state").cast(pl.String).is_in(AWAKE)
        up = event.filter(pl.col("device_id") == device, running).sort("started_at")
        before = list(up.select("started_at", "ended_at").iter_rows())
        after: list[tuple[int, int]] = []
        who: list[Down] = []
        for row, u0, u1, state, cause in up.select(ROW, "started_at", "ended_at", texts).iter_rows():
            fits, since = list[tuple[Down, int, int]](), u0
            for down in wanted:
                t0, t1 = max(down.t0, since + SECOND), min(down.t1, u1 - SECOND)
                if t1 - t0 > SECOND and not (down.kind == "failure" and down in who):
                    fits.append((down, t0, t1))
                    since = t1
            if not fits:
                after.append((u0, u1))
                continue
            after.append((u0, fits[0][1]))
            ended.append((fits[0][0].instance, row, fits[0][1]))
            for (down, t0, t1), until in zip(fits, [*(t for _, t, _ in fits[1:]), u1], strict=True):
                states = SEQUENCES[down.kind]
                cuts = [t0, t1] if len(states) == 1 else [t0, t0 + (t1 - t0) * 4 // 5, t1]
                spans = zip(cuts, cuts[1:], states, strict=False)
                added += [(down.instance, device, a, b, other, down.cause) for a, b, other in spans]
                added.append((down.instance, device, t1, until, state, cause))
                after.append((t1, until))
                who.append(down)
        lost += _lost(scene, readings, device, before, union(after), who)
    if not added:
        return []
    columns = ("instance", "device_id", "started_at", "ended_at", "state", "cause")
    new = pl.DataFrame(added, schema=columns, orient="row")
    address = join_rows(new["device_id"].to_numpy(), new["started_at"].to_numpy()) | np.uint64(1 << 63)
    shorter = pl.DataFrame(ended, schema={"instance": pl.Int64, ROW: pl.UInt64, "ended_at": pl.Int64}, orient="row")
    gone = pl.concat(lost)
    return [
        scene.edit("update", "device_event", shorter, role, effect),
        scene.edit("insert", "device_event", new.with_columns(pl.Series(ROW, address)), role, effect),
        scene.edit("remove", "reading", gone, role, "gap"),
    ]


def _lost(scene: Scene, readings: Readings, device: int, before: Spans, after: Spans, who: list[Down]) -> list[Table]:
    """The samples that are not taken any more, each with the instance to blame: the last that began before it."""
    found = []
    starts, instances = np.array([d.t0 for d in who]), np.array([d.instance for d in who], np.int64)
    for channel in _channels(scene.tables["channel"], device):
        grid = [channel[c] for c in ("first_sample_at", "interval_us", "jitter_us")]
        trace = readings.trace(channel)
        index = trace.key - channel["channel_id"] * FAN
        still = np.zeros(len(index), bool)
        for a, b in np.searchsorted(index, np.array(sampled(after, *grid), np.int64).reshape(-1)).reshape(-1, 2):
            still[a:b] = True
        if not len(key := trace.key[~still]):
            continue
        blamed = np.maximum(np.searchsorted(starts, trace.due(key), "right") - 1, 0)
        found.append(pl.DataFrame({"instance": instances[blamed], ROW: key.astype(np.uint64)}))
    return found


def _channels(channel: Table, device: int) -> list[dict]:
    mine = channel.filter(device_id=device).with_columns(pl.col("first_sample_at").to_physical())
    return mine.sort("channel_id").to_dicts()
