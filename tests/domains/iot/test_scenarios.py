"""A scenario and its clean twin differ exactly in the labelled readings, and these show the fault's pattern."""

from __future__ import annotations

import datetime as dt
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from populace.core.dataset import Dataset, generate
from populace.core.errors import UserError
from populace.core.plan import Plan, make_plan
from populace.core.run import run
from populace.core.scenario import ScenarioRequest
from populace.core.sinks import open_target
from populace.core.spec import Spec
from populace.domains.iot import DOMAIN

HOUR = 3_600_000_000
DOMAIN_CHECKS = {check.name: check for check in DOMAIN.checks}
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
        assert rows.height > 50


def test_an_outage_is_followed_by_a_burst_that_is_late_and_out_of_order(plain: Dataset, played: dict[str, Dataset]):
    data = played["gateway-outage"].frames
    added = data["label"].filter(table="gateway_event")
    assert added.height == 2
    for instance, key in added.select("instance", "row_key").iter_rows():
        outage = data["gateway_event"].filter(gateway_event_id=key).row(0, named=True)
        assert outage["cause"] == "uplink"
        mine = data["label"].filter(table="reading", instance=instance)["row_key"]
        late = data["reading"].filter(pl.col("reading_id").is_in(mine.implode()))
        end = outage["ended_at"]
        for row in (
            data["gateway_event"].filter(gateway_id=outage["gateway_id"]).sort("started_at").iter_rows(named=True)
        ):
            end = max(end, row["ended_at"]) if row["started_at"] <= end else end  # cut off again before it is back
        speed = data["gateway"].filter(gateway_id=outage["gateway_id"])["backfill_speed"][0]
        burst = late.filter(pl.col("received_at").is_between(end, end + (end - outage["started_at"]) / speed))
        assert burst.height > 0.9 * late.height, "but for what a neighbouring outage holds back"
        device = data["device"].filter(gateway_id=outage["gateway_id"])["device_id"]
        channel = data["channel"].filter(pl.col("device_id").is_in(device.implode()))["channel_id"]
        sent = data["reading"].filter(pl.col("channel_id").is_in(channel.implode())).sort("received_at")
        assert not sent["observed_at"].is_sorted()


def test_a_store_that_runs_over_drops_the_oldest(plain: Dataset, make: Callable[..., Dataset]):
    """What was due in the time that the event names is gone, what was due later came late; no sample is both or neither."""
    data = make("store-overflow", count=2, hours=9.0, holds=3.0)
    both = twins(plain, data)
    events = data.frames["gateway_event"].filter(pl.col("cause").cast(pl.String) == "overflow")
    assert events.height == 2
    channel = data.frames["channel"].join(data.frames["device"].select("device_id", "gateway_id"), on="device_id")
    gone = both.filter(pl.col("reading_id_played").is_null()).join(channel, on="channel_id")
    grid = pl.col("first_sample_at") + pl.duration(
        microseconds=(pl.col("reading_id") % 100_000_000) * pl.col("interval_us")
    )
    gone = gone.with_columns(due=grid)
    assert gone.height > 1_000
    inside = 0
    for row in events.iter_rows(named=True):
        mine = gone.filter(gateway_id=row["gateway_id"])
        assert ((mine["due"] >= row["started_at"]) & (mine["due"] < row["ended_at"])).all()
        inside += mine.height
        assert row["ended_at"] - row["started_at"] == dt.timedelta(hours=6)
    assert inside == gone.height
    late = data.frames["label"].filter(table="reading", effect="late")
    assert late.height > gone.height / 4
    without = events.clear()
    tables = {**data.frames, "gateway_event": without}
    missed = DOMAIN_CHECKS["gaps-explained"].run({name: t.lazy() for name, t in tables.items()})
    assert set(missed["row_key"]) == set(gone["channel_id"]), "without the event nothing explains the gap"


def test_spans_lie_anywhere_in_the_window(make: Callable[..., Dataset]):
    """Twelve onsets, spread by Kolmogorov and Smirnov's measure as uniform ones are."""
    from scipy.stats import kstest

    data = make("stuck-at", count=12, hours=0.5)
    label = data.frames["label"].filter(table="reading")
    label = label.join(data.frames["reading"], left_on="row_key", right_on="reading_id")
    onset = label.group_by("instance").agg(pl.col("observed_at").min())["observed_at"].to_physical().to_numpy()
    window = data.plan.window
    assert kstest((onset - window.start) / (window.end - window.start), "uniform").pvalue > 0.01


def test_what_would_show_nowhere_is_played_elsewhere(make: Callable[..., Dataset]):
    """A wearable that sticks for three minutes often reads what it would have read: such an instance finds another place."""
    worn = {"device.profiles": "wearable", "profile.interval": 1.0}
    data = make("stuck-at", count=20, settings=worn, hours=0.05).frames
    assert data["label"].filter(effect="unchanged").is_empty()
    assert sorted(data["anomaly"]["instance"]) == list(range(20))
    assert data["label"].filter(table="reading")["instance"].n_unique() == 20


def test_what_is_below_half_the_resolution_is_said_to_change_nothing(make: Callable[..., Dataset]):
    """Sizes are in sigma, which is at least the resolution: a bias of a hundredth of it rounds away wherever noise is as small."""
    data = make("sensor-bias", count=6, severity=0.01, settings={"device.profiles": "wearable"}).frames
    silent = data["label"].filter(effect="unchanged")
    shown = data["label"].filter(table="reading")
    assert silent.height
    assert set(silent["table"]) == {"channel"}
    assert not set(silent["instance"]) & {*shown["instance"], *data["anomaly"]["instance"]}
    assert {*silent["instance"], *shown["instance"]} == set(range(6))


def test_outages_compose(make: Callable[..., Dataset]):
    """Outages that overlap others of the same gateway still name every reading that arrives at another time."""
    often = {"gateway.days_between_outages": 0.1}
    plain, data = make(settings=often), make("gateway-outage", count=3, settings=often, hours=10.0)
    both = twins(plain, data)
    moved = both.filter(pl.col("received_at") != pl.col("received_at_played"))["reading_id"]
    named = both.filter(pl.col("instance").is_not_null())["reading_id"]
    assert moved.to_list() == named.to_list()
    assert len(moved)


def test_anomalies_that_meet_are_all_labelled(make: Callable[..., Dataset]):
    """One scenario after the other, in spans so long that they cannot keep clear: each labels what it changes in what the ones before
    it left, and does so whatever comes after."""
    names = ("sensor-bias", "series-trend", "stuck-at")
    runs = [make(*names[:n], count=12, hours=40.0) for n in range(4)]
    assert (runs[3].frames["anomaly"]["overlaps"] > 0).any()
    for n, name in enumerate(names):
        before, after = (r.frames["reading"].select("reading_id", "value") for r in runs[n : n + 2])
        both = before.join(after, on="reading_id", suffix="_after")
        changed = set(both.filter(pl.col("value") != pl.col("value_after"))["reading_id"])
        for later in runs[n + 1 :]:
            assert set(later.frames["label"].filter(table="reading", scenario=name)["row_key"]) == changed


def test_anomalies_keep_clear_of_each_other_while_there_is_room(make: Callable[..., Dataset]):
    data = make("sensor-bias", "series-mean", "stuck-at", "sensor-spikes", count=20, hours=4.0)
    assert data.frames["anomaly"].height == 80
    assert (data.frames["anomaly"]["overlaps"] == 0).all()


@pytest.mark.parametrize("name", ["stuck-damper", "valve-hunting", "overheating-cascade"])
def test_a_fault_of_a_process_has_a_remaining_life(make: Callable[..., Dataset], name: str):
    """What is left of it falls from the length of the span to nothing, in every reading that bears its label."""
    data = make(name, settings={"device.profiles": "room-climate,pump-vibration"}, hours=12.0)
    anomaly = data.frames["anomaly"]
    assert anomaly.height >= 1
    assert (anomaly["fails_at"] == anomaly["ended_at"]).all()
    labelled = data.frames["label"].filter(table="reading").drop_nulls("row_key").join(
        data.frames["reading"], left_on="row_key", right_on="reading_id"
    ).join(anomaly, on=["instance", "channel_id"])  # fmt: skip
    left = labelled["fails_at"] - labelled["observed_at"]
    length = labelled["ended_at"] - labelled["started_at"]
    assert labelled.height > 100
    assert (left > dt.timedelta(0)).all()
    assert (left <= length).all()


WEAR = [name for name, s in DOMAIN.scenarios.items() if s.arguments.get("wears_out")]


@pytest.mark.parametrize("name", WEAR)
def test_wear_ends_in_failure_and_grows_as_the_rest_of_the_life_gets_shorter(
    mixed: Dataset, make_mixed: Callable[..., Dataset], name: str
):
    data = make_mixed(name, count=2).frames
    anomaly = data["anomaly"]
    assert (anomaly["fails_at"] == anomaly["ended_at"]).all()
    label = (
        data["label"].filter(table="reading").drop_nulls("row_key").select(reading_id="row_key", instance="instance")
    )
    both = mixed.frames["reading"].join(data["reading"], on="reading_id", suffix="_played").join(label, on="reading_id")
    life = both.join(anomaly.unique(["instance", "channel_id"]), on=["instance", "channel_id"]).with_columns(
        left=pl.col("fails_at") - pl.col("observed_at"), off=(pl.col("value_played") - pl.col("value")).abs()
    )
    assert (life["left"] > dt.timedelta(0)).all()
    span = pl.col("fails_at") - pl.col("started_at")
    late, early = (
        life.filter(pl.col("left") < span * a, pl.col("left") >= span * b) for a, b in ((0.2, 0.0), (1.0, 0.8))
    )
    for channel in life["channel_id"].unique():
        last, first = (part.filter(channel_id=channel)["off"].mean() or 0.0 for part in (late, early))
        assert last > first  # type: ignore[operator]
    if "down" in DOMAIN.scenarios[name].arguments:
        event = data["device_event"].filter(state="failed", cause="hardware")
        made = data["label"].filter(table="device_event")["row_key"]
        starts = event.filter(pl.col("device_event_id").is_in(made.implode()))["started_at"]
        assert starts.len() == 2
        # at the end of the life, or as soon after as the device has been up for a second
        assert all((starts - end).dt.total_seconds().abs().min() < 3600 for end in anomaly["fails_at"].unique())


def test_devices_that_scenarios_take_down_live_by_the_rules(make: Callable[..., Dataset]):
    plain, data = make(), make("reboot-loop", count=3).frames
    added = data["label"].filter(table="device_event")
    restarts = data["device_event"].filter(pl.col("device_event_id").is_in(added["row_key"].implode()), state="restart")
    assert restarts.height > 40
    assert set(restarts["cause"]) == {"software"}
    lost = data["label"].filter(table="reading")
    assert lost["row_key"].null_count() == lost.height == plain.frames["reading"].height - data["reading"].height > 0


def test_a_duplicate_is_a_second_row_behind_its_own_place(make: Callable[..., Dataset]):
    data = make("duplicate-delivery", count=2).frames
    half = DOMAIN.schema["reading"].fan // 2
    label = data["label"].filter(effect="duplicate", table="reading")
    copies = data["reading"].filter(pl.col("reading_id").is_in(label["row_key"].implode()))
    both = copies.join(data["reading"], left_on=pl.col("reading_id") - half, right_on="reading_id", suffix="_first")
    assert both.height == copies.height == label.height > 50
    assert (both["received_at"] > both["received_at_first"]).all()
    assert both["observed_at"].equals(both["observed_at_first"])
    assert both["value"].equals(both["value_first"])


def test_a_word_that_there_is_not_is_named_with_the_nearest(make: Callable[..., Dataset]):
    from dataclasses import replace

    from populace.core.dataset import generate
    from populace.core.errors import UserError
    from populace.core.plan import make_plan
    from populace.core.scenario import ScenarioRequest
    from populace.core.spec import Spec

    known = DOMAIN.scenarios["sensor-bias"]
    for wrong in (
        {"valus": []},
        {"values": [{"kind": "ofset", "amount": 1.0}]},
        {"reach": "devise"},
        {"onset": "shred"},
    ):
        scenario = replace(known, arguments={**known.arguments, **wrong})
        domain = replace(DOMAIN, scenarios={"sensor-bias": scenario})
        with pytest.raises(UserError, match=r"values|offset|device|shared"):
            generate(
                make_plan(Spec("iot", size=10, end="2025-03-04", scenarios=(ScenarioRequest("sensor-bias"),)), domain)
            )


@pytest.mark.parametrize(("name", "least"), [("botnet-scan", 25.0), ("exfiltration", 1900.0)])
def test_what_a_hijacked_device_sends_shows_in_its_own_count(name: str, least: float):
    """Of the device's channels, the values of `data-sent` alone change, and within the span."""
    settings = {"device.profiles": "cold-chain-truck", "network.loss": 0.0}
    twin, data = (
        generate(make_plan(Spec("iot", size=20, end="2025-03-06", seed=4, settings=settings, scenarios=scenarios)))
        for scenarios in ((), (ScenarioRequest(name, {"count": 3}),))
    )
    both = twins(twin, data).drop_nulls("value_played").filter(pl.col("value") != pl.col("value_played"))
    sent = data.frames["channel"].filter(signal="data-sent")["channel_id"]
    assert both["channel_id"].is_in(sent.implode()).all()
    assert both["channel_id"].n_unique() == 3
    span = data.frames["anomaly"].select("channel_id", "started_at", "ended_at")
    inside = both.join(span, on="channel_id").filter(
        pl.col("observed_at_played").is_between("started_at", "ended_at", closed="left")
    )
    assert inside.height == both.height
    assert (both["value_played"] - both["value"]).median() > least


CUT = "site-power-cut"


@pytest.mark.parametrize(("hours", "ends"), [(24.0, "2025-03-05"), (20.0, "2025-03-10")])
def test_what_a_power_cut_takes_of_other_anomalies_is_told(tmp_path: Path, hours: float, ends: str):
    """Biases that last some hours in two days of which a cut takes up to one: where it must meet some it takes part of them, or all, and each
    says what is left; the run tells of those of which nothing is. Within a week there is room, and it meets none."""
    asked = (ScenarioRequest("sensor-bias", {"count": 8, "hours": 6.0}), ScenarioRequest(CUT, {"hours": hours}))
    settings = {"profile.interval": 4.0}
    plan = make_plan(Spec("iot", size=10, end=ends, scenarios=asked, settings=settings, seed=3))
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        data = generate(plan)
    clean = generate(make_plan(Spec("iot", size=10, end=ends, scenarios=asked[:1], settings=settings, seed=3)))
    keys = ["channel_id", "instance", "started_at"]
    before = clean.frames["anomaly"].select(*keys, pl.col("rows_left").alias("before"))
    bias = data.frames["anomaly"].filter(scenario="sensor-bias").join(before, on=keys, validate="1:1")
    assert bias.height == 8
    assert (bias["rows_changed"] == bias["before"]).all()
    reading = data.frames["label"].filter(table="reading", scenario="sensor-bias").drop_nulls("row_key")
    there = dict(reading.group_by("instance").len().iter_rows())
    assert bias["rows_left"].to_list() == [there.get(n, 0) for n in bias["instance"]]
    swallowed = set(bias.filter(rows_left=0)["instance"])
    text = [str(w.message) for w in told]
    if ends == "2025-03-10":
        assert (bias["rows_left"] == bias["rows_changed"]).all()
        assert not text
        return
    part = bias.filter(pl.col("rows_left") > 0, pl.col("rows_left") < pl.col("rows_changed"))
    assert part.height, "some are taken in part"
    assert swallowed, "and some as a whole"
    assert any(f"{len(swallowed)} of 8 instance(s) left no label" in t for t in text)
    assert any(f"{len(swallowed)} of 8 anomaly row(s) show in no row" in t for t in text)
    made = run(plan, [open_target(str(tmp_path / "out"), plan.domain)], quiet=True).manifest["populace"]["scenarios"][0]
    assert made["labelled_instances"] == 8 - len(swallowed)
    assert made["truth"] == {"anomaly": {"rows": 8, "unseen": len(swallowed)}}


def test_a_power_cut_leaves_batteries_and_modems_alone():
    """At a street: weather stations on batteries with modems go on and deliver, loop detectors on mains are down; neither's modem is cut off."""
    settings = {"device.profiles": "weather-station,traffic-counter,parking-bay", "power.days_between_cuts": 1e5}
    plan = make_plan(
        Spec("iot", size=20, end="2025-03-05", scenarios=(ScenarioRequest(CUT),), settings=settings, seed=5)
    )
    data = generate(plan)
    device, label = data.frames["device"], data.frames["label"]
    down = label.filter(table="device_event").select(pl.col("row_key").alias("device_event_id"))
    down = down.join(data.frames["device_event"], on="device_event_id").filter(state="restart", cause="supply")
    assert set(device.filter(pl.col("device_id").is_in(down["device_id"].implode()))["profile"]) == {"traffic-counter"}
    cut = data.frames["gateway_event"].filter(cause="power")
    assert cut.height == 1
    site, modems = cut["gateway_id"][0] // 16, device.filter(pl.col("gateway_id") % 16 >= 2)
    assert {"weather-station", "traffic-counter"} <= set(modems.filter(site_id=site)["profile"])
    assert not set(cut["gateway_id"]) & set(modems["gateway_id"])
    assert modems["gateway_id"].is_unique().all()


@pytest.mark.parametrize(("name", "most"), [("zero-length-interval", 24), ("nan-values", 48)])
def test_more_spans_than_a_channel_has_room_for_are_refused(name: str, most: int):
    """A probe that speaks every quarter of an hour has 96 samples a day: room for 48 spans of one sample with as much between them, or for 24
    of two, of which a clock that stands still needs one that it changes."""

    def asked(episodes: int) -> Plan:
        request = ScenarioRequest(name, {"episodes": episodes, "hours": 0.01})
        return make_plan(
            Spec("iot", size=10, end="2025-03-04", scenarios=(request,), settings={"device.profiles": "soil-probe"})
        )

    with pytest.raises(UserError, match=rf"episodes={most + 1} do not fit in the 96 samples .* at most {most}"):
        generate(asked(most + 1))
    data = generate(asked(most))
    assert not data.validate().height
    # a battery may be flat for a while, and leave room for fewer
    assert most * 3 // 4 <= data.frames["anomaly"].height / data.frames["anomaly"]["channel_id"].n_unique() <= most


def test_a_clock_set_to_2038_is_behind_in_a_window_after_that():
    """Such a reading arrives late and not before it was taken: either is declared as what may be."""
    request = ScenarioRequest("timestamp-2038", {})
    data = generate(make_plan(Spec("iot", size=10, start="2100-02-28", end="2100-03-02", scenarios=(request,), seed=1)))
    assert not data.validate().height
    late = data.frames["reading"].filter(pl.col("observed_at").dt.year() == 2038)
    assert late.height
    assert (late["received_at"] > late["observed_at"]).all()


def test_a_counter_that_rolls_over_goes_on_counting(plain: Dataset, make: Callable[..., Dataset]):
    both = twins(plain, make("counter-rollover")).filter(pl.col("instance").is_not_null()).sort("reading_id")
    kinds = dict(plain.frames["channel"].select("channel_id", pl.col("kind").cast(pl.String)).iter_rows())
    (channel,) = both["channel_id"].unique()
    assert kinds[channel] == "counter"
    assert both["value_played"][0] == 0
    before, after = both["value"].to_numpy(), both["value_played"].to_numpy()
    # as much as it would have counted, to the step to which both are rounded
    np.testing.assert_allclose(after, before - before[0], atol=1e-9)
    assert (np.diff(after) >= 0).all()
    assert after[-1] > 0
