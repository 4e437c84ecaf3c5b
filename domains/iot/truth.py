"""Ground truth: the table of anomalies, which scenarios fill."""

from __future__ import annotations

import numpy as np
import polars as pl

from ...core.domain import Block
from ...core.tables import ROW, Table, Tables
from .population import SCHEMA

_FACTS = ("channel_id", "scenario", "instance", "family", "effect", "cause", "severity")
_TIMES = ("started_at", "ended_at", "fails_at")


def none(block: Block, tables: Tables) -> Tables:
    """No anomaly: each is a scenario's."""
    columns = SCHEMA["anomaly"].columns
    kinds = {c: pl.String() if columns[c].codes else columns[c].dtype for c in _FACTS}
    return {"anomaly": pl.DataFrame(schema={ROW: pl.UInt64, **kinds, **dict.fromkeys(_TIMES, pl.Int64)})}


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
