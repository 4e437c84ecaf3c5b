"""Checks of the ground truth: an anomaly lies within its channel's series and shows in it, and what is labelled lies within one."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ...core.checks import gathered, violations
from ...core.derive import runs
from ...core.domain import Check
from ...core.places import different
from ...core.tables import Table
from .readings import COPY, FAN, union

Lazy = Mapping[str, pl.LazyFrame]
_OF = ("scenario", "instance", "channel_id")


def inside_series(tables: Lazy) -> Table:
    """An anomaly holds a point of its channel's grid, and its device was known then."""
    anomaly = tables["anomaly"].collect()
    if anomaly.is_empty():
        return gathered([])
    times = pl.col("started_at", "ended_at").to_physical()
    event = tables["device_event"].select("device_id", times).collect()
    known: dict[int, tuple[int, int]] = {}
    for device, t0, t1 in event.iter_rows():
        first, last = known.get(device, (t0, t1))
        known[device] = min(first, t0), max(last, t1)
    columns = ("channel_id", "device_id", pl.col("first_sample_at").to_physical(), "interval_us")
    channels = {row[0]: row[1:] for row in tables["channel"].select(columns).collect().iter_rows()}
    outside = []
    for number, channel, t0, t1 in anomaly.select("anomaly_id", "channel_id", times).iter_rows():
        device, begin, every = channels.get(channel, (None, 0, 1))
        if device not in known:  # references say so already
            continue
        first, last = known[device]
        point = begin - (begin - t0) // every * every
        if point >= t1 or t0 < first - every or t1 > last + every:
            outside.append(number)
    return gathered(
        [violations("", "anomaly", pl.Series(outside, dtype=pl.Int64), "lies outside its channel's series")]
    )


def shown(tables: Lazy) -> Table:
    """A reading that is labelled lies in the span of an anomaly of its scenario, and no anomaly leaves its channel as it would have been, but for
    one that says so itself: of the readings that it changed another scenario has left none."""
    if tables["anomaly"].select("anomaly_id").head(1).collect().is_empty():
        return gathered([])  # of a scenario that names no anomaly nothing is asked
    grid = tables["channel"].select("channel_id", pl.col("first_sample_at").to_physical(), "interval_us")
    anomaly = (
        tables["anomaly"]
        .select("anomaly_id", *_OF, "rows_left", pl.col("started_at", "ended_at").to_physical())
        .join(grid, on="channel_id", how="left")
        .collect()
    )
    label = tables["label"].select("scenario", "instance", "table", "row_key").collect()
    parts: dict[tuple[str, int], list[NDArray[np.int64]]] = {}
    # what was taken away has left no row: there the anomaly's own scenario says so on the channel, the device or the gateway
    elsewhere = set[tuple[str, int]]()
    for (scenario, instance, table), a, b in runs(label, "scenario", "instance", "table"):
        rows = label["row_key"][a:b]
        gone = rows.null_count() > 0
        if table == "reading":
            parts.setdefault((scenario, instance), []).append((rows.drop_nulls() if gone else rows).to_numpy())
        if table not in ("reading", "anomaly") or (gone and table == "reading"):
            elsewhere.add((scenario, instance))
    keys = {of: np.concatenate(mine) for of, mine in parts.items()}
    named = _by_instance(anomaly)
    stray, mute, loud = [np.empty(0, np.int64)], list[int](), list[int]()
    for of, spans in named.items():
        mine = keys.pop(of, np.empty(0, np.int64))
        key = _once(mine)
        numbers, first, every = (spans[c].to_numpy() for c in ("channel_id", "first_sample_at", "interval_us"))
        # the numbers of the first sample that is due at the start or later, and of the first that is at the end or later
        a, b = (numbers * FAN - (first - spans[c].to_numpy()) // every for c in ("started_at", "ended_at"))
        low, high = np.searchsorted(key, a), np.searchsorted(key, b)
        number, empty, none = spans["anomaly_id"].to_numpy(), high <= low, spans["rows_left"].to_numpy() == 0
        loud += number[none & ~empty].tolist()
        if of not in elsewhere:
            mute += number[empty & ~none].tolist()
        inside = union(zip(low.tolist(), np.maximum(low, high).tolist(), strict=True))
        if sum(b - a for a, b in inside) < len(key):
            outside = np.ones(len(key), bool)
            for a, b in inside:
                outside[a:b] = False
            stray.append(mine[np.isin(mine - (mine % FAN >= COPY) * COPY, key[outside])])
    # a scenario that names anomalies does so for each instance
    known = {scenario for scenario, _ in named}
    stray += [key for (scenario, _), key in keys.items() if scenario in known]
    lost = pl.Series(different(np.concatenate(stray)))
    return gathered(
        [
            violations("", "reading", lost, "labelled, and in no anomaly of its scenario"),
            violations("", "anomaly", pl.Series(mute, dtype=pl.Int64), "changed nothing in its channel"),
            violations(
                "",
                "anomaly",
                pl.Series(loud, dtype=pl.Int64),
                "says that nothing is left of it, and readings bear its label",
            ),
        ]
    )


def _once(key: NDArray[np.int64]) -> NDArray[np.int64]:
    """The keys of the samples, in order: of what was delivered a second time, those of the first."""
    key = np.sort(key, kind="stable")
    if len(key):
        channels = np.arange(key[0] // FAN, key[-1] // FAN + 1)
        copies = np.searchsorted(key, np.stack([channels * FAN + COPY, (channels + 1) * FAN]))
        if (copies[0] < copies[1]).any():
            return np.sort(key - (key % FAN >= COPY) * COPY, kind="stable")
    return key


def _by_instance(rows: Table) -> dict[tuple[str, int], Table]:
    """The rows of each instance of each scenario."""
    found: dict[tuple[str, int], list[Table]] = {}
    for (scenario, instance), a, b in runs(rows, "scenario", "instance"):
        found.setdefault((scenario, instance), []).append(rows[a:b])
    return {of: pl.concat(parts) for of, parts in found.items()}


LABELS = (
    Check(
        "anomaly-in-series",
        ("anomaly", "channel", "device_event"),
        "an anomaly lies within its channel's series",
        inside_series,
    ),
    Check("anomaly-shown", ("anomaly", "channel", "label"), "labels and anomalies speak of the same deviations", shown),
)
