"""A scenario and its clean twin differ exactly in the labelled readings, and these show the fault's pattern."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import polars as pl
import pytest

from populace.core.dataset import Dataset

HOUR = 3_600_000_000
EFFECTS = {"sensor-drift": "drift", "stuck-at": "stuck", "gateway-outage": "late"}


def twins(plain: Dataset, data: Dataset) -> pl.DataFrame:
    """Readings with and without the scenario, side by side; `labelled` says whether one bears a label."""
    label = data.frames["label"].filter(table="reading").select("instance", pl.col("row_key").alias("reading_id"))
    both = plain.frames["reading"].join(data.frames["reading"], on="reading_id", how="full", suffix="_played")
    return both.join(label, on="reading_id", how="left").sort("reading_id")


def spread(reading: pl.DataFrame) -> float:
    """The standard deviation about the mean of the hour of day, weekdays and weekends apart: that of a regression on these hours."""
    at = pl.col("observed_at")
    kind = (pl.concat_str(at.dt.hour(), at.dt.weekday() > 5)).alias("kind")
    each = reading.select(kind, at.dt.truncate("1h").alias("hour"), pl.col("value") - pl.col("value").mean().over(kind))
    hours, kinds = each["hour"].n_unique(), each["kind"].n_unique()
    return float(np.sqrt((each["value"] ** 2).mean() * hours / (hours - kinds)))  # type: ignore[operator]


@pytest.mark.parametrize("name", EFFECTS)
def test_only_labelled_readings_differ(plain: Dataset, played: dict[str, Dataset], name: str):
    both = twins(plain, played[name])
    assert both.height == plain.frames["reading"].height
    differs = pl.lit(False)
    for column in ("channel_id", "observed_at", "received_at", "value", "quality"):
        differs |= pl.col(column).ne_missing(pl.col(f"{column}_played"))
    labelled = pl.col("instance").is_not_null()
    assert both.filter(differs.ne(labelled)).is_empty()
    assert both.filter(labelled).height > 50
    for table in ("site", "gateway", "device", "channel", "device_event"):
        assert played[name].frames[table].equals(plain.frames[table])


@pytest.mark.parametrize("name", ["sensor-drift", "stuck-at"])
def test_a_fault_is_one_span_of_one_channel(plain: Dataset, played: dict[str, Dataset], name: str):
    """All that is not labelled within it is as it would have been anyway."""
    both = twins(plain, played[name])
    for _, rows in both.filter(pl.col("instance").is_not_null()).group_by("instance"):
        assert rows["channel_id"].n_unique() == 1
        mine = both.filter(channel_id=rows["channel_id"][0])
        span = mine.filter(pl.col("reading_id").is_between(rows["reading_id"].min(), rows["reading_id"].max()))
        same = span.filter(pl.col("instance").is_null())
        assert same["value"].to_list() == same["value_played"].to_list()
        assert same.height < 0.2 * span.height
        if name == "stuck-at":
            assert span["value_played"].n_unique() == 1


@pytest.mark.parametrize("severity", [1.0, 6.0])
def test_drift_grows_evenly_to_its_severity(plain: Dataset, make: Callable[..., Dataset], severity: float):
    data = make("sensor-drift", count=4, severity=severity, hours=12.0)
    resolution, interval = (
        dict(data.frames["channel"].select("channel_id", c).iter_rows()) for c in ("resolution", "interval_us")
    )
    for _, rows in twins(plain, data).filter(pl.col("instance").is_not_null()).group_by("instance"):
        rows = rows.sort("reading_id")
        channel = rows["channel_id"][0]
        sigma = spread(plain.frames["reading"].filter(channel_id=channel))
        off = (rows["value_played"] - rows["value"]).to_numpy()
        at = rows["observed_at"].to_physical().to_numpy()
        # where the first error rounds to nothing, the onset comes before the first label; the span is of twelve hours' samples
        clean = plain.frames["reading"].filter(channel_id=channel)["observed_at"].to_physical()
        last = clean.search_sorted(at[-1])
        onset = clean[last + 1 - 12 * HOUR // interval[channel]]
        ramp = severity * sigma * (at - onset) / (at[-1] - onset)
        assert onset <= at[0]
        # each of the two values is rounded, by half a step at most
        assert np.abs(off * np.sign(off[-1]) - ramp).max() <= 1.01 * resolution[channel]


def test_a_wandering_drift_ends_where_an_even_one_does_and_takes_detours(make: Callable[..., Dataset]):
    even, wandering = (make("sensor-drift", count=4, hours=12.0, severity=3.0, wander=w).frames for w in (0.0, 1.0))
    label = wandering["label"].filter(table="reading").select("instance", pl.col("row_key").alias("reading_id"))
    both = even["reading"].join(wandering["reading"], on="reading_id", suffix="_wandering").join(label, on="reading_id")
    detours = 0
    for _, rows in both.group_by("instance"):
        rows = rows.sort("reading_id")
        between = (rows["value_wandering"] - rows["value"]).abs()
        resolution = even["channel"].filter(channel_id=rows["channel_id"][0])["resolution"][0]
        assert between[-1] <= resolution
        detours += between.max() > 10 * resolution  # type: ignore[operator]
    assert detours == 4


def test_a_stuck_sensor_repeats_its_last_true_value(plain: Dataset, played: dict[str, Dataset]):
    both = twins(plain, played["stuck-at"])
    for _, rows in both.filter(pl.col("instance").is_not_null()).group_by("instance"):
        rows = rows.sort("reading_id")
        before = both.filter(
            (pl.col("channel_id") == rows["channel_id"][0]) & (pl.col("reading_id") < rows["reading_id"][0])
        )
        assert rows["value_played"].n_unique() == 1
        assert rows["value_played"][0] == before["value"][-1]
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
    label = data.frames["label"].filter(table="reading")
    label = label.join(data.frames["reading"], left_on="row_key", right_on="reading_id")
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
