"""A scenario and its clean twin differ exactly in the labelled readings, and these show the fault's pattern."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import polars as pl
import pytest

from populace.core.dataset import Dataset

EFFECTS = {"sensor-drift": "drift", "stuck-at": "stuck", "gateway-outage": "late"}


def twins(plain: Dataset, data: Dataset) -> pl.DataFrame:
    """Readings with and without the scenario, side by side; `labelled` says whether one bears a label."""
    label = data.frames["label"].filter(table="reading").select("instance", pl.col("row_key").alias("reading_id"))
    both = plain.frames["reading"].join(data.frames["reading"], on="reading_id", how="full", suffix="_played")
    return both.join(label, on="reading_id", how="left").sort("reading_id")


@pytest.mark.parametrize("name", EFFECTS)
def test_only_labelled_readings_differ(plain: Dataset, played: dict[str, Dataset], name: str):
    both = twins(plain, played[name])
    assert both.height == plain.frames["reading"].height
    differs = pl.lit(False)
    for column in ("channel_id", "observed_at", "received_at", "value", "quality"):
        differs |= pl.col(column).ne_missing(pl.col(f"{column}_played"))
    labelled = pl.col("instance").is_not_null()
    assert both.filter(differs & ~labelled).is_empty()
    same = both.filter(labelled & ~differs)
    if name == "gateway-outage":
        assert same.is_empty()
    else:
        # within a fault's span a wrong value may round to the true one: at the onset, or by chance
        assert same.height < 0.2 * both.filter(labelled).height
    for table in ("site", "gateway", "device", "channel", "device_event"):
        assert played[name].frames[table].equals(plain.frames[table])


@pytest.mark.parametrize("name", ["sensor-drift", "stuck-at"])
def test_a_fault_is_one_unbroken_span_of_one_channel(plain: Dataset, played: dict[str, Dataset], name: str):
    for _, rows in twins(plain, played[name]).filter(pl.col("instance").is_not_null()).group_by("instance"):
        assert rows["channel_id"].n_unique() == 1
        mine = plain.frames["reading"].filter(channel_id=rows["channel_id"][0])["reading_id"]
        span = mine.filter(mine.is_between(rows["reading_id"].min(), rows["reading_id"].max()))
        assert span.to_list() == rows["reading_id"].sort().to_list()


@pytest.mark.parametrize("severity", [1.0, 6.0])
def test_drift_grows_evenly_to_its_severity(plain: Dataset, make: Callable[..., Dataset], severity: float):
    data = make("sensor-drift", count=4, severity=severity, hours=12.0)
    resolution = dict(data.frames["channel"].select("channel_id", "resolution").iter_rows())
    for _, rows in twins(plain, data).filter(pl.col("instance").is_not_null()).group_by("instance"):
        rows = rows.sort("reading_id")
        channel = rows["channel_id"][0]
        sigma = plain.frames["reading"].filter(channel_id=channel)["value"].to_numpy().std()
        off = (rows["value_played"] - rows["value"]).to_numpy()
        at = rows["observed_at"].to_physical().to_numpy()
        ramp = severity * sigma * (at - at[0]) / (at[-1] - at[0])
        # each of the two values is rounded, by half a step at most
        assert np.abs(off * np.sign(off[-1]) - ramp).max() <= 1.01 * resolution[channel]


def test_a_stuck_sensor_repeats_its_last_true_value(plain: Dataset, played: dict[str, Dataset]):
    for _, rows in twins(plain, played["stuck-at"]).filter(pl.col("instance").is_not_null()).group_by("instance"):
        rows = rows.sort("reading_id")
        assert rows["value_played"].n_unique() == 1
        assert rows["value_played"][0] == rows["value"][0]
        assert rows.height > 100


def test_an_outage_is_followed_by_a_burst_that_is_late_and_out_of_order(plain: Dataset, played: dict[str, Dataset]):
    data = played["gateway-outage"].frames
    added = data["label"].filter(table="gateway_event")
    assert added.height == 2
    for instance, key in added.select("instance", "row_key").iter_rows():
        outage = data["gateway_event"].filter(gateway_event_id=key).row(0, named=True)
        assert outage["cause"] == "uplink"
        mine = data["label"].filter(table="reading", instance=instance)["row_key"]
        late = data["reading"].filter(pl.col("reading_id").is_in(mine.implode()))
        length = outage["ended_at"] - outage["started_at"]
        speed = data["gateway"].filter(gateway_id=outage["gateway_id"])["backfill_speed"][0]
        burst = late.filter(pl.col("received_at").is_between(outage["ended_at"], outage["ended_at"] + length / speed))
        assert burst.height > 0.9 * late.height, "but for what a neighbouring outage holds back"
        device = data["device"].filter(gateway_id=outage["gateway_id"])["device_id"]
        channel = data["channel"].filter(pl.col("device_id").is_in(device.implode()))["channel_id"]
        sent = data["reading"].filter(pl.col("channel_id").is_in(channel.implode())).sort("received_at")
        assert not sent["observed_at"].is_sorted()


def test_spans_lie_anywhere_in_the_window(make: Callable[..., Dataset]):
    """Twelve onsets, spread by Kolmogorov and Smirnov's measure as uniform ones are."""
    from scipy.stats import kstest

    data = make("stuck-at", count=12, hours=0.5)
    label = data.frames["label"].join(data.frames["reading"], left_on="row_key", right_on="reading_id")
    onset = label.group_by("instance").agg(pl.col("observed_at").min())["observed_at"].to_physical().to_numpy()
    window = data.plan.window
    assert kstest((onset - window.start) / (window.end - window.start), "uniform").pvalue > 0.01


def test_outages_compose(make: Callable[..., Dataset]):
    """Outages that overlap others of the same gateway still name every reading that arrives at another time."""
    often = {"gateway.days_between_outages": 0.1}
    plain, data = make(settings=often), make("gateway-outage", count=3, settings=often, hours=10.0)
    both = twins(plain, data)
    moved = both.filter(pl.col("received_at") != pl.col("received_at_played"))["reading_id"]
    named = both.filter(pl.col("instance").is_not_null())["reading_id"]
    assert moved.to_list() == named.to_list()
    assert len(moved)
