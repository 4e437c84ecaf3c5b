"""Charts for the demo page: faults in the traces, the fleet's availability, how late readings arrive."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl

from ...core.domain import Picture
from ...core.picture import ALARM, PALETTE, figure, to_svg
from ...core.tables import Table, Tables

_DAY = 86_400_000_000
_POINTS = 1_200  # an SVG with more would only be larger
_DOTS = 400
_FAULTS = 6


def pictures(tables: Tables) -> list[Picture]:
    """What the tables show; the charts of faults and of arrivals only where there are such."""
    found = [_faults(tables), _availability(tables["device_event"]), _delay(tables)]
    return [p for p in found if p]


def _faults(tables: Tables) -> Picture | None:
    of_value = ~pl.col("effect").is_in(["late", "duplicate", "gap"])
    label = tables["label"].filter(of_value, pl.col("row_key").is_not_null(), table="reading")
    label = label.sort("scenario", "row_key")
    first = label.unique("scenario", keep="first", maintain_order=True).head(_FAULTS)
    if first.is_empty():
        return None
    fig = figure(6.4, 1.9 * first.height + 0.4)
    rows = fig.subplots(first.height, 1, squeeze=False)[:, 0]
    for ax, (scenario, key) in zip(rows, first.select("scenario", "row_key").iter_rows(), strict=True):
        channel = tables["reading"].filter(reading_id=key)["channel_id"][0]
        trace = tables["reading"].filter(channel_id=channel).sort("reading_id")
        marked = trace["reading_id"].is_in(label.filter(scenario=scenario)["row_key"].implode())
        thin = trace.with_columns(marked=marked).gather_every(max(1, trace.height // _POINTS))
        about = tables["channel"].filter(channel_id=channel).row(0, named=True)
        at, value = thin["observed_at"].to_numpy(), thin["value"].to_numpy()
        ax.plot(at, value, color=PALETTE[0], linewidth=0.9)
        ax.plot(at, np.where(thin["marked"].to_numpy(), value, np.nan), color=ALARM, linewidth=1.2)
        wrong = trace.filter(marked)["observed_at"]
        ax.axvspan(wrong.min(), wrong.max(), color=ALARM, alpha=0.12)
        ax.set_title(f"{scenario}: {about['signal']} in {about['unit_code']}")
        _dates(ax, "%d %b")
    return Picture(
        "Sensor faults",
        "Traces of the sensors that scenarios cast; what a faulty sensor gave is in red, and labelled row by row.",
        to_svg(fig),
    )


def _availability(event: Table) -> Picture:
    """Share of the fleet in each state, by the hour."""
    spans = event.select(pl.col("started_at", "ended_at").to_physical(), down=pl.col("state").cast(pl.String) != "up")
    start, end = spans["started_at"].min(), spans["ended_at"].max()
    assert isinstance(start, int)
    assert isinstance(end, int)
    edges = np.linspace(start, end, 24 * max(1, round((end - start) / _DAY)) + 1)
    t0, t1 = (spans.filter("down")[c].to_numpy()[:, None] for c in ("started_at", "ended_at"))
    lost = np.clip(np.minimum(t1, edges[1:]) - np.maximum(t0, edges[:-1]), 0, None).sum(axis=0)
    share = 1 - lost / (event["device_id"].n_unique() * np.diff(edges))
    fig = figure(6.4, 2.4)
    ax = fig.subplots()
    ax.step(edges[:-1].astype("datetime64[us]"), 100 * share, where="post")
    ax.set_ylabel("% of devices up")
    _dates(ax, "%d %b")
    return Picture(
        "Availability of the fleet",
        "Share of time that devices are up, by the hour: failures, the wait for the crew, repairs and restarts take the rest.",
        to_svg(fig),
    )


def _delay(tables: Tables) -> Picture | None:
    """How late the readings of one gateway arrive, around its longest outage."""
    outage = (
        tables["gateway_event"].with_columns(length=pl.col("ended_at") - pl.col("started_at")).sort(-pl.col("length"))
    )
    chosen = set(tables["label"].filter(table="gateway_event")["row_key"].drop_nulls())
    outage = outage.filter(pl.col("gateway_event_id").is_in(list(chosen))) if chosen else outage
    if outage.is_empty():
        return None
    row = outage.row(0, named=True)
    margin = row["length"] / 2
    device = tables["device"].filter(gateway_id=row["gateway_id"])["device_id"]
    channel = tables["channel"].filter(pl.col("device_id").is_in(device.implode()))["channel_id"]
    near = tables["reading"].filter(
        pl.col("channel_id").is_in(channel.implode())
        & pl.col("received_at").is_between(row["started_at"] - margin, row["ended_at"] + margin)
    )
    near = near.sort("received_at").gather_every(max(1, near.height // _DOTS))
    late = (near["received_at"] - near["observed_at"]).dt.total_microseconds().to_numpy() / 60e6
    fig = figure(6.4, 2.4)
    ax = fig.subplots()
    ax.plot(near["received_at"].to_numpy(), late, ".", markersize=3, color=PALETTE[0])
    ax.axvspan(row["started_at"], row["ended_at"], color=ALARM, alpha=0.12)
    ax.set_ylabel("minutes late")
    ax.set_xlabel("arrived at (UTC)")
    _dates(ax, "%H:%M")
    return Picture(
        "Arrivals around an outage",
        "Nothing arrives while the gateway is cut off (shaded); then the backlog drains, oldest first, while what is measured since overtakes it.",
        to_svg(fig),
    )


def _dates(ax: Any, form: str) -> None:
    from matplotlib.dates import AutoDateLocator, DateFormatter

    ax.xaxis.set_major_locator(AutoDateLocator(minticks=3, maxticks=10))
    ax.xaxis.set_major_formatter(DateFormatter(form))
