"""Ground truth: the table of anomalies, which scenarios fill."""

from __future__ import annotations

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ...core.domain import Block
from ...core.tables import ROW, Table, Tables
from .population import SCHEMA
from .readings import in_order

_FACTS = ("channel_id", "scenario", "instance", "family", "effect", "cause", "severity")
_TIMES = ("started_at", "ended_at", "fails_at")
CHANGED, TAKEN = "_changed", "_taken"
"""What a script says of an anomaly: the rows of its channel that it changed or added, as runs of keys [a, b) end to end, and how many it took away."""


def none(block: Block, tables: Tables) -> Tables:
    """No anomaly: each is a scenario's."""
    columns = SCHEMA["anomaly"].columns
    kinds = {c: pl.String() if columns[c].codes else columns[c].dtype for c in _FACTS}
    said = {CHANGED: pl.List(pl.Int64), TAKEN: pl.Int64}
    return {"anomaly": pl.DataFrame(schema={ROW: pl.UInt64, **kinds, **dict.fromkeys(_TIMES, pl.Int64), **said})}


def runs_of(keys: NDArray[np.int64]) -> NDArray[np.int64]:
    """Numbers, all different and in order, as runs [a, b) end to end."""
    first = np.flatnonzero(np.append(True, keys[1:] != keys[:-1] + 1))[: len(keys)]
    last = np.append(first[1:], len(keys))[: len(first)] - 1
    return np.column_stack([keys[first], keys[last] + 1]).reshape(-1)


def overlaps(anomaly: Table) -> Table:
    """How many others of its channel share some of each one's time: those that began before it ends, less those over before it starts."""
    count = np.zeros(anomaly.height, np.int64)
    place = anomaly.with_row_index("_at")
    for (_,), mine in place.group_by("channel_id"):
        t0, t1 = mine["started_at"].to_numpy(), mine["ended_at"].to_numpy()
        begun = np.searchsorted(np.sort(t0), t1, "left")
        over = np.searchsorted(np.sort(t1), t0, "right")
        count[mine["_at"].to_numpy()] = begun - over - 1
    return anomaly.with_columns(pl.Series("overlaps", count))


def left(block: Block, tables: Tables) -> Tables:
    """Derive what there is to see of each anomaly in the end: how many of the rows that it changed other scenarios have left, and how many
    of these another anomaly changed too. What it took away itself is seen by its absence."""
    anomaly = tables["anomaly"]
    reading = in_order(tables["reading"])["reading_id"].to_numpy() if anomaly.height else np.empty(0, np.int64)
    runs = [np.array(said, np.int64).reshape(-1, 2) for said in anomaly[CHANGED].to_list()]
    there = [np.searchsorted(reading, mine) for mine in runs]
    taken = anomaly[TAKEN].to_numpy()
    changed = taken + [int((mine[:, 1] - mine[:, 0]).sum()) for mine in runs]
    stays = np.array([int((at[:, 1] - at[:, 0]).sum()) for at in there], np.int64)
    shared = np.zeros(anomaly.height, np.int64)
    for (_,), mine in anomaly.with_row_index("_at").filter(pl.col("overlaps") > 0).group_by("channel_id"):
        places = mine["_at"].to_list()
        rows = [np.concatenate([np.arange(a, b) for a, b in there[k]] or [np.empty(0, np.int64)]) for k in places]
        every = np.sort(np.concatenate(rows))
        twice = every[1:][every[1:] == every[:-1]]
        for k, own in zip(places, rows, strict=True):
            shared[k] = np.isin(own, twice).sum()
    counts = {"rows_changed": changed, "rows_left": stays + taken, "rows_shared": shared}
    return {"anomaly": anomaly.drop(CHANGED, TAKEN).with_columns(pl.Series(c, v) for c, v in counts.items())}
