"""Checks of the ground truth: an anomaly lies within its channel's series and shows in it, and what is labelled lies within one."""

from __future__ import annotations

from collections.abc import Mapping

import polars as pl

from ...core.checks import violations
from ...core.domain import Check
from ...core.tables import Table
from .readings import COPY, FAN

Lazy = Mapping[str, pl.LazyFrame]
_OF = ("scenario", "instance", "channel_id")


def inside_series(tables: Lazy) -> Table:
    """An anomaly holds a point of its channel's grid, and its device was known then."""
    times = pl.col("started_at", "ended_at").to_physical()
    known = (
        tables["device_event"]
        .group_by("device_id")
        .agg(
            pl.col("started_at").min().to_physical().alias("first"),
            pl.col("ended_at").max().to_physical().alias("last"),
        )
    )
    channel = tables["channel"].select(
        "channel_id", "device_id", pl.col("first_sample_at").to_physical(), "interval_us"
    )
    point = pl.col("first_sample_at") - (pl.col("first_sample_at") - pl.col("started_at")) // pl.col(
        "interval_us"
    ) * pl.col("interval_us")
    found = (
        tables["anomaly"]
        .select("anomaly_id", "channel_id", times)
        .join(channel, on="channel_id")
        .join(known, on="device_id")
        .with_columns(point=point)
        .filter(
            (pl.col("point") >= pl.col("ended_at"))
            | (pl.col("started_at") < pl.col("first") - pl.col("interval_us"))
            | (pl.col("ended_at") > pl.col("last") + pl.col("interval_us"))
        )
        .collect()
    )
    return violations("", "anomaly", found["anomaly_id"], "lies outside its channel's series").drop("check")


def shown(tables: Lazy) -> Table:
    """A reading that is labelled lies in the span of an anomaly of its scenario, and no anomaly leaves its channel as it would have been."""
    anomaly = tables["anomaly"].select("anomaly_id", *_OF, pl.col("started_at", "ended_at").to_physical()).collect()
    label = (
        tables["label"]
        .filter(pl.col("table") == "reading")
        .select("scenario", "instance", "row_key", "effect")
        .collect()
    )
    grid = tables["channel"].select("channel_id", pl.col("first_sample_at").to_physical(), "interval_us").collect()
    mine = label.filter(
        pl.col("row_key").is_not_null() & pl.col("scenario").is_in(anomaly["scenario"].unique().implode())
    )
    mine = mine.with_columns(channel_id=pl.col("row_key") // FAN, index=pl.col("row_key") % FAN % COPY)
    mine = mine.join(grid, on="channel_id").with_columns(
        due=pl.col("first_sample_at") + pl.col("index") * pl.col("interval_us")
    )
    within = mine.join(anomaly, on=list(_OF)).filter(
        (pl.col("due") >= pl.col("started_at")) & (pl.col("due") < pl.col("ended_at"))
    )
    stray = mine.join(
        within.select("scenario", "instance", "row_key"), on=["scenario", "instance", "row_key"], how="anti"
    )
    # what was taken away has left no row: there the anomaly's own scenario says so on the channel, the device or the gateway
    whole = tables["label"].filter(
        (pl.col("table") != "anomaly") & ((pl.col("table") != "reading") | pl.col("row_key").is_null())
    )
    elsewhere = whole.select("scenario", "instance").unique().collect()
    quiet = anomaly.join(within.select("anomaly_id").unique(), on="anomaly_id", how="anti")
    quiet = quiet.join(elsewhere, on=["scenario", "instance"], how="anti")
    return pl.concat(
        [
            violations("", "reading", stray["row_key"].unique(), "labelled, and in no anomaly of its scenario"),
            violations("", "anomaly", quiet["anomaly_id"], "changed nothing in its channel"),
        ]
    ).drop("check")


LABELS = (
    Check(
        "anomaly-in-series",
        ("anomaly", "channel", "device_event"),
        "an anomaly lies within its channel's series",
        inside_series,
    ),
    Check("anomaly-shown", ("anomaly", "channel", "label"), "labels and anomalies speak of the same deviations", shown),
)
