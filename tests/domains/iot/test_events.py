"""The event log explains every gap, and arrivals follow from outages: both recomputed here point by point, in plain Python."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import polars as pl
import pytest

from populace.core.dataset import Dataset, generate
from populace.core.errors import UserError
from populace.core.plan import make_plan
from populace.core.scenario import Edit, Role, Scenario, ScenarioRequest, Scene
from populace.core.spec import Spec
from populace.core.tables import ROW
from populace.domains.iot import DOMAIN
from populace.domains.iot.civil import HOUR
from populace.domains.iot.climate import climate
from populace.domains.iot.gauges import AWAKE
from populace.domains.iot.population import fleet as everything
from populace.domains.iot.population import sites
from populace.domains.iot.readings import delay, longest_wait, sampled
from populace.domains.iot.simulation import events, simulate

from .conftest import OFFICES

FAN, SECOND = 100_000_000, 1_000_000


def micros(frame: pl.DataFrame) -> pl.DataFrame:
    return frame.with_columns(pl.col(pl.Datetime("us", "UTC")).to_physical())


def rows(frame: pl.DataFrame) -> list[dict]:
    return micros(frame).to_dicts()


def test_the_event_log_explains_every_gap(plain: Dataset):
    window = plain.plan.window
    states: dict[int, list[dict]] = {}
    for event in rows(plain.frames["device_event"]):
        states.setdefault(event["device_id"], []).append(event)
    expected: set[int] = set()
    for channel in rows(plain.frames["channel"]):
        up: list[list[int]] = []
        for e in states[channel["device_id"]]:
            if e["state"] in AWAKE and up and up[-1][1] == e["started_at"]:
                up[-1][1] = e["ended_at"]
            elif e["state"] in AWAKE:
                up.append([e["started_at"], e["ended_at"]])
        index, at = 0, channel["first_sample_at"]
        while at < window.end:
            if any(t0 <= at and at + channel["jitter_us"] < t1 for t0, t1 in up):
                expected.add(channel["channel_id"] * FAN + index)
            index, at = index + 1, at + channel["interval_us"]
    assert set(plain.frames["reading"]["reading_id"]) == expected
    assert plain.frames["device_event"].filter(pl.col("state") != "up").height > 20, "or this proves nothing"


def test_the_log_explains_every_gap_reboot_and_late_arrival():
    """Of a fleet of every kind: each pause between two readings of a device holds a state in which it does not sample, each restart is
    one pause, and what came late was sampled while its gateway was cut off or waited behind what was."""
    settings = {"profile.life": 0.02, "watchdog.hours": 30.0, "power.days_between_cuts": 2.0}
    data = generate(make_plan(Spec("iot", size=60, end="2025-03-06", seed=8, settings=settings)))
    states = data.frames["device_event"]
    assert set(states["state"]) >= {"up", "degraded", "asleep", "off", "restart", "failed", "repair"}
    channel = data.frames["channel"].filter(pl.col("channel_id") % 8 == 0)
    reading = data.frames["reading"].join(channel.select("channel_id", "device_id", "interval_us"), on="channel_id")
    reading = micros(reading.sort("reading_id")).with_columns(index=pl.col("reading_id") % FAN)
    last = reading.with_columns(
        before=pl.col("index").shift().over("channel_id"), since=pl.col("observed_at").shift().over("channel_id")
    )
    asleep: dict[int, list[tuple[int, int]]] = {}
    for event in rows(states.filter(~pl.col("state").cast(pl.String).is_in(AWAKE))):
        asleep.setdefault(event["device_id"], []).append((event["started_at"], event["ended_at"]))
    pauses = last.filter(pl.col("index") - pl.col("before") > 1)
    for row in pauses.iter_rows(named=True):
        mine = asleep[row["device_id"]]
        assert any(a < row["observed_at"] and b > row["since"] for a, b in mine), row
    assert pauses.height > 20

    gateway = dict(data.frames["device"].select("device_id", "gateway_id").iter_rows())
    cut: dict[int, list[tuple[int, int]]] = {}
    for event in rows(data.frames["gateway_event"]):
        cut.setdefault(event["gateway_id"], []).append((event["started_at"], event["ended_at"]))
    late = reading.filter(pl.col("quality") == "late")
    for device, observed, received in late.select("device_id", "observed_at", "received_at").iter_rows():
        assert any(a <= received and b > observed for a, b in cut[gateway[device]])
    assert late.height > 20
    # of the rest, what was lost on the air was sent again, and a clock loses at most 72 ms in an hour
    wait = pl.col("received_at") - pl.col("observed_at")
    clock = round(data.plan.priors("clock.ppm") * 3_600)
    again = reading.filter(pl.col("quality") == "retried").select(wait)["received_at"]
    assert again.len() > 20
    assert again.is_between(
        data.plan.priors("network.timeout_us"), longest_wait(data.plan.priors) + clock + SECOND
    ).all()
    prompt = reading.filter(~pl.col("quality").cast(pl.String).is_in(("late", "retried")))
    assert prompt.select((wait <= pl.col("interval_us") // 2 + clock).all()).item()


def test_what_is_lost_on_the_air_is_sent_again_with_back_off():
    """One message in ten lost, so one in a hundred twice: each wait twice as long as the one before, of 1 to 1.5 seconds at first."""
    settings = {"network.loss": 0.1, "network.timeout_us": SECOND, "device.profiles": "room-climate,energy-meter"}
    settings |= {"site.kind": OFFICES, "clock.ppm": 0.0, "profile.interval": 0.5}
    data = generate(make_plan(Spec("iot", size=20, end="2025-03-04", seed=8, settings=settings))).frames
    link = data["device"].select("device_id", "profile")
    channel = data["channel"].filter(pl.col("channel_id") % 8 == 0).join(link, on="device_id")
    reading = data["reading"].filter(pl.col("quality") != "late").join(channel, on="channel_id")
    wait = {
        profile: mine.select((pl.col("received_at") - pl.col("observed_at")).dt.total_microseconds())["received_at"]
        for (profile,), mine in reading.group_by("profile")
    }
    assert wait["energy-meter"].max() < SECOND, "a wire loses nothing"
    air = wait["room-climate"]
    for losses, share in ((1, 0.1), (2, 0.01), (3, 0.001)):
        # the waits so far are 1, 3, 7 times that of the first
        assert (air >= (2**losses - 1) * SECOND).mean() == pytest.approx(share, rel=0.15 * 2**losses)
    once = air.filter(air.is_between(SECOND, 2.5 * SECOND))
    assert once.max() < 1.5 * SECOND + 500_000
    assert once.mean() == pytest.approx(1.25 * SECOND + 31_000, rel=0.02)


def test_a_clock_loses_until_it_is_set_right():
    """What a device sends arrives the later after its stamp, the longer ago it set its clock: by its own parts in a million."""
    settings = {"clock.ppm": 200.0, "network.loss": 0.0, "gateway.days_between_outages": 1e4, "site.kind": OFFICES}
    settings |= {"device.profiles": "room-climate"}
    data = generate(make_plan(Spec("iot", size=10, end="2025-03-04", seed=8, settings=settings))).frames
    channel = data["channel"].filter(pl.col("channel_id") % 8 == 0).join(data["device"], on="device_id")
    reading = data["reading"].join(channel, on="channel_id")
    wait = (pl.col("received_at") - pl.col("observed_at")).dt.total_microseconds()
    into = pl.col("reading_id") % FAN * pl.col("interval_us") % (3_600 * SECOND)
    for (ppm,), mine in reading.group_by("clock_ppm"):
        x, y = mine.select(into.alias("x"), wait.alias("y"))
        slope = np.polyfit(x.to_numpy(), y.to_numpy(), 1)[0] * 1e6
        assert slope == pytest.approx(ppm, abs=3.0)
    assert reading["clock_ppm"].n_unique() == 10


def test_mobile_networks_have_gaps():
    """Of each device on the mobile network about 1.1 per cent of the time, by itself; of others nothing."""
    # a tenth of the length, ten times as often
    settings = {"site.kind": {**OFFICES, "office": 0.0, "depot": 1.0}, "coverage.days_between": 0.1}
    plan = make_plan(Spec("iot", size=300, seed=8, settings={**settings, "coverage.minutes": 1.6}))
    block = plan.block(0)
    tables: dict = {}
    for step in plan.domain.steps[:-2]:
        tables = {**tables, **step.run(block, tables)}
    event = tables["gateway_event"].filter(cause="coverage")
    cellular = pl.col("uplink") == "cellular"
    mobile = tables["gateway"].filter(cellular & (pl.col("gateway_id") % 16 >= 2))
    assert set(event["gateway_id"]) <= set(mobile["gateway_id"])
    away = (event["ended_at"] - event["started_at"]).sum()
    window = plan.window.end - plan.window.start
    assert away / (window * mobile.height) == pytest.approx(0.011, rel=0.15)


def test_a_batch_with_a_defect_fails_together():
    """Where every other batch has a defect that leaves a hundredth of a life, it is their devices that fail."""
    settings = {"batch.defective": 0.5, "batch.life": 0.001, "device.profiles": "motor,boiler", "spares.stock": 100}
    plan = make_plan(Spec("iot", size=200, seed=8, settings=settings))
    steps = {step.name: step for step in plan.domain.steps}
    failed, lives = [], []
    for index in range(plan.blocks):
        block, tables = plan.block(index), {}
        for name in ("sites", "devices", "gateways", "events"):
            tables = {**tables, **steps[name].run(block, tables)}
        lives.append(tables["device"].select("device_id", "batch", "life"))
        event = tables["device_event"].filter(state="failed", cause="hardware")
        failed.append(event.group_by("device_id").len("failures"))
    known = pl.concat(lives).join(pl.concat(failed), on="device_id", how="left").fill_null(0)
    assert known.group_by("batch").agg(pl.col("life").n_unique())["life"].max() == 1, "a defect is the batch's"
    by_life = dict(known.group_by("life").agg(pl.col("failures").mean()).iter_rows())
    assert by_life[0.001] > 20 * by_life[1.0]
    assert by_life[0.001] > 0.2


def test_the_operator_on_duty_reports_a_failure(plain: Dataset):
    event = plain.frames["device_event"].join(plain.frames["device"], on="device_id")
    failed = event.filter(state="failed").join(plain.frames["operator"], on="operator_id")
    assert failed.height == event.filter(state="failed").height > 10
    assert (failed["site_id"] == failed["site_id_right"]).all()
    hour = failed["started_at"].dt.offset_by("60m").dt.hour().cast(pl.Int32)
    assert ((hour - failed["shift_start"]).is_between(0, 7)).all()
    assert (
        event.filter(pl.col("state") != "failed")["operator_id"].null_count()
        == event.filter(pl.col("state") != "failed").height
    )


def test_new_firmware_comes_in_waves():
    """With a release every few days, devices restart for updates, and run on the new version from then on."""
    settings = {"firmware.months": 0.1, "rollout.wave_hours": 6.0, "device.profiles": "room-climate,energy-meter"}
    data = generate(make_plan(Spec("iot", size=60, end="2025-03-13", seed=8, settings=settings))).frames
    event = data["device_event"].sort("device_id", "started_at")
    updates = event.filter((pl.col("state") == "restart") & (pl.col("cause") == "update"))
    assert updates.height > 20
    first = updates.filter(firmware=updates.sort("started_at")["firmware"][0]).sort("started_at")
    hours = (first["started_at"] - first["started_at"][0]).dt.total_seconds() / 3600
    assert hours[-1] <= 24, "four waves of six hours"
    # half of the fleet comes in the last wave, a quarter in each of the two before
    assert hours.median() > 9
    assert (hours < 6).sum() < 0.4 * first.height
    changes = event.filter(pl.col("firmware") != pl.col("firmware").shift().over("device_id"))
    assert (changes["cause"] == "update").all()
    start = event.group_by("device_id", maintain_order=True).first().join(data["device"], on="device_id")
    assert (
        start.filter(pl.col("cause") != "update").select((pl.col("firmware") == pl.col("firmware_right")).all()).item()
    )


def test_the_mains_are_a_cause_that_a_site_shares():
    settings = {"site.kind": OFFICES, "power.days_between_cuts": 1.0, "device.profiles": "energy-meter,room-climate"}
    data = generate(make_plan(Spec("iot", size=20, end="2025-03-08", seed=3, settings=settings))).frames
    device = data["device"].select("device_id", "site_id", "profile")
    off = data["device_event"].filter(state="off").join(device, on="device_id")
    assert set(off["profile"]) == {"energy-meter"}, "room sensors have batteries"
    cut = data["gateway_event"].filter(cause="power").join(data["gateway"], on="gateway_id")
    for row in off.iter_rows(named=True):
        same = cut.filter((pl.col("site_id") == row["site_id"]) & (pl.col("ended_at") == row["ended_at"]))
        assert same.height, "its gateway was cut off until the same moment"
    assert off.height > 5


def test_a_battery_falls_evenly_and_is_full_when_changed_or_charged():
    settings = {"device.profiles": "wearable,room-climate", "profile.life": 0.02}
    data = generate(make_plan(Spec("iot", size=20, end="2025-03-08", seed=3, settings=settings))).frames
    event = data["device_event"].sort("device_id", "started_at")
    after = event.filter(pl.col("cause").shift().over("device_id") == "charging")
    assert after.height > 5
    assert (after["charge_start"] > 99.99).all()
    level = data["reading"].join(data["channel"].filter(kind="charge"), on="channel_id").sort("reading_id")
    span = event.select("device_id", "started_at", "ended_at", "charge_start", "charge_end")
    inside = level.join_asof(
        span.sort("started_at"), left_on="observed_at", right_on="started_at", by="device_id", check_sortedness=False
    )
    inside = inside.filter(pl.col("observed_at") < pl.col("ended_at"))
    assert (inside["value"] >= inside["charge_end"] - 0.6).all()
    assert (inside["value"] <= inside["charge_start"] + 0.6).all()


def test_a_worn_bearing_shakes_until_it_is_replaced():
    settings = {"device.profiles": "pump-vibration", "profile.life": 0.001, "spares.stock": 50}
    data = generate(make_plan(Spec("iot", size=20, end="2025-03-10", seed=3, settings=settings))).frames
    event = data["device_event"].sort("started_at")
    assert (event.filter(state="degraded")["wear_start"] >= 0.68).all()
    shake = data["channel"].filter(signal="vibration-velocity").select("channel_id", "device_id")
    level = data["reading"].join(shake, on="channel_id").sort("observed_at")
    inside = level.join_asof(
        event, left_on="observed_at", right_on="started_at", by="device_id", check_sortedness=False
    )
    worn, sound = inside.filter(wear_end=1.0), inside.filter(pl.col("wear_end") < 0.3)
    assert worn["value"].max() > 6.5  # type: ignore[operator]
    assert sound["value"].max() < 1.4  # type: ignore[operator]
    repaired = event.filter(pl.col("state").shift().over("device_id") == "repair")
    assert repaired.height > 5
    assert (repaired["wear_start"] == 0).all()


def test_sampled_points_are_those_that_brute_force_finds():
    rng = np.random.default_rng(7)
    for _ in range(500):
        first, interval = int(rng.integers(0, 20)), int(rng.integers(1, 12))
        jitter = int(rng.integers(0, interval // 2 + 1))
        edges = np.unique(rng.integers(0, 100, 6)).tolist()
        up = list(zip(edges[::2], edges[1::2], strict=False))
        points = [
            i for i in range(200) if any(a <= first + i * interval and first + i * interval + jitter < b for a, b in up)
        ]
        assert [i for a, b in sampled(up, first, interval, jitter) for i in range(a, b)] == points


def test_states_tile_the_window(plain: Dataset):
    window = plain.plan.window
    for _, spans in micros(plain.frames["device_event"]).group_by("device_id"):
        spans = spans.sort("started_at")
        edges = [window.start, *spans["ended_at"]]
        assert spans["started_at"].to_list() == edges[:-1]
        assert edges[-1] == window.end


def test_a_crew_is_at_one_place_at_a_time(plain: Dataset):
    """One crew for each site: no two of its repairs overlap. It is at work in repairs alone, and at its own site."""
    event = micros(plain.frames["device_event"]).join(
        plain.frames["device"].select("device_id", "site_id"), on="device_id"
    )
    assert (event["crew_id"].is_not_null() == (event["state"] == "repair")).all()
    repairs = event.filter(state="repair").join(plain.frames["crew"], on="crew_id", suffix="_of_crew")
    assert repairs.height > 3
    assert (repairs["site_id"] == repairs["site_id_of_crew"]).all()
    for _, mine in repairs.group_by("crew_id"):
        mine = mine.sort("started_at")
        assert (mine["started_at"][1:] >= mine["ended_at"][:-1]).all()


def test_who_finds_no_spare_part_waits_for_one():
    """Of ten devices that fail often and one part in the store: never are more taken than there are, delivered ones among them; with
    many in the store nobody waits."""

    def log(stock: int) -> pl.DataFrame:
        settings = {
            "device.profiles": "room-climate",
            "profile.life": 0.002,
            "repair.crews": 20,
            "repair.response_hours": 0.5,
            "spares.stock": stock,
            "spares.lead_hours": 24.0,
        }
        data = generate(make_plan(Spec("iot", size=10, end="2025-04-02", seed=1, settings=settings)))
        return micros(data.frames["device_event"]).sort("device_id", "started_at")

    scarce, plenty = log(1), log(1000)
    assert "waiting" not in plenty["state"].to_list()
    waits = scarce.filter(state="waiting")
    assert waits.height > 5
    # a day for each part: thirty deliveries in thirty days, beside the one that was there
    repairs = scarce.filter(state="repair").height
    assert repairs == pytest.approx(31, abs=4 * np.sqrt(30))
    assert repairs < plenty.filter(state="repair").height / 2
    followed = scarce.with_columns(pl.col("state").shift(-1).over("device_id").alias("next")).filter(state="waiting")
    assert set(followed["next"].drop_nulls().cast(pl.String)) == {"repair"}


def test_the_weather_cuts_the_mains():
    """Cuts come at the mean rate that is asked for, and in strong wind."""
    from scipy.stats import norm, weibull_min

    plan = make_plan(Spec("iot", size=1000, end="2025-06-01", seed=2, settings={"power.days_between_cuts": 10.0}))
    block = replace(plan.block(0), first=0, last=100)
    site = sites(block, {})["site"]
    winds, count, mean = [], 0, []
    for row in site.iter_rows(named=True):
        shared = climate(block, row)
        _, cut = simulate(
            block, shared, row["site_id"], everything(block).clear(), [16 * row["site_id"], 16 * row["site_id"] + 2]
        )
        at = np.array([c.t0 for c in cut if c.cause == "power"], np.int64)
        assert {c.entity for c in cut if c.cause == "power"} <= {16 * row["site_id"]}, "modems are not on the mains"
        count += len(at)
        winds += shared.driver("wind", at).tolist()
        mean.append(sum(c.t1 - c.t0 for c in cut if c.cause == "power"))
    up = 100 * 90 * 24 * HOUR - sum(mean)
    assert count / (up / (24 * HOUR)) == pytest.approx(1 / 10.0, abs=4 * np.sqrt(900) / 9000)
    # by the law of wind speeds, in standard deviations of what drives it; 0.17 of the cuts come in any weather
    z = np.linspace(-8, 8, 20_001)
    power = weibull_min(1.7).ppf(norm.cdf(z)) ** 3
    expected = 0.83 * (norm.pdf(z) * power * z).sum() / (norm.pdf(z) * power).sum()
    assert np.mean(winds) == pytest.approx(expected, abs=4 / np.sqrt(count))


def test_arrivals_follow_from_outages(make: Callable[..., Dataset]):
    """The same fleet behind gateways that are never cut off says when each reading would arrive."""
    mains = {"power.days_between_cuts": 1e5}
    never = make(settings={**mains, "gateway.days_between_outages": 1e5}).frames
    assert never["gateway_event"].is_empty()
    at_once = dict(micros(never["reading"]).select("reading_id", "received_at").iter_rows())
    for data in (make(settings=mains), make("gateway-outage", count=2, settings=mains)):
        speed = dict(data.frames["gateway"].select("gateway_id", "backfill_speed").iter_rows())
        gateway = dict(data.frames["device"].select("device_id", "gateway_id").iter_rows())
        device = dict(data.frames["channel"].select("channel_id", "device_id").iter_rows())
        out: dict[int, list[list[int]]] = {}
        for event in rows(data.frames["gateway_event"].sort("gateway_id", "started_at")):
            mine, a, b = out.setdefault(event["gateway_id"], []), event["started_at"], event["ended_at"]
            if mine and a <= mine[-1][1]:
                mine[-1][1] = max(b, mine[-1][1])
            else:
                mine.append([a, b])
        late = 0
        reading = micros(data.frames["reading"]).select("reading_id", "channel_id", "received_at", "quality")
        for key, channel, received, quality in reading.iter_rows():
            number, at = gateway[device[channel]], at_once[key]
            for a, b in out.get(number, []):
                if a <= at < b:
                    at = b + (at - a) // speed[number]
            assert received == at
            assert (quality == "late") == (at != at_once[key])
            late += quality == "late"
        assert late > 100, "or this proves nothing"


@pytest.mark.parametrize(
    ("outages", "expected"),
    [
        ([], [10, 20, 30, 40, 50]),
        ([(15, 35)], [10, 35 + 5 // 2, 35 + 15 // 2, 40, 50]),
        ([(15, 25), (20, 35)], [10, 37, 42, 40, 50]),
        # the backlog of the first outage is still being sent when the second begins: 28 waits again
        ([(15, 25), (26, 45)], [10, 45 + 1 // 2, 45 + 4 // 2, 45 + 14 // 2, 50]),
    ],
)
def test_delay_by_hand(outages: list[tuple[int, int]], expected: list[int]):
    received = np.array([10, 20, 30, 40, 50])
    for _ in delay(received, outages, 2):
        pass
    assert received.tolist() == expected


@pytest.mark.parametrize("hours", [40.0, 400.0])
def test_availability_is_mtbf_over_mtbf_and_mttr(hours: float):
    """A crew for each device, so nobody waits for another's repair; exponential lives, a thousand of them or more."""
    settings = {
        "device.profiles": "energy-meter",
        "profile.life": hours / 1_510_000.0,
        "watchdog.hours": 1e7,
        "power.days_between_cuts": 1e5,
        "device.age_days": 10_000,
        "device.growth": 0.001,
        "repair.crews": 10,
        "batch.defective": 0.0,
    }
    plan = make_plan(Spec("iot", size=100, start="2024-01-01", end="2026-01-01", settings=settings), DOMAIN)
    up = down = failures = 0
    for index in range(plan.blocks):
        block = plan.block(index)
        gateways = pl.DataFrame(schema={"gateway_id": pl.Int64, "site_id": pl.Int64})
        event = events(block, {**sites(block, {}), "gateway": gateways})["device_event"]
        event = event.filter(pl.col("state").is_in(["up", "failed", "repair"]))
        length = event.select(pl.col("ended_at") - pl.col("started_at")).to_series()
        up += length.filter(event["state"] == "up").sum()
        down += length.filter(event["state"] != "up").sum()
        failures += (event["state"] == "repair").sum()
    mttr = plan.priors("repair.response_hours") + plan.priors("repair.work_hours") * np.exp(
        plan.priors("repair.work_log_sigma") ** 2 / 2
    )
    share = hours / (hours + mttr)
    # the down time of n repairs has a relative error of about 1 / sqrt(n)
    assert failures > 1000
    assert abs(down / (up + down) - (1 - share)) < 4 * (1 - share) / np.sqrt(failures)


def test_a_device_that_a_script_takes_down_is_silent(plain: Dataset):
    """Readings follow from the event log as it stands after the scripts, and so do their arrivals."""

    def strike(scene: Scene) -> list[Edit]:
        first = scene.tables["device_event"].join(scene.cast["victim"].select("instance", "device_id"), on="device_id")
        first = first.filter(state="up").sort("started_at").head(1)
        start, end = first["started_at"][0], first["ended_at"][0]
        third = (end - start) // 3
        cut = first.select("instance", ROW, ended_at=pl.lit(start + third))
        parts = [(start + third, end - third, "restart", "watchdog"), (end - third, end, "up", "running")]
        rest = [
            first.with_columns(
                pl.Series(ROW, scene.address("part", [0], n)),
                started_at=pl.lit(a),
                ended_at=pl.lit(b),
                state=pl.lit(state),
                cause=pl.lit(cause),
            )
            for n, (a, b, state, cause) in enumerate(parts)
        ]
        return [
            scene.edit("update", "device_event", cut, "victim", "cut short"),
            *(scene.edit("insert", "device_event", part, "victim", part["state"][0]) for part in rest),
        ]

    scenario = Scenario("strike", "iot", "", "", "", "strike", (Role("victim", "device"),), {})
    domain = replace(DOMAIN, scenarios={"strike": scenario}, scripts={"strike": strike})
    plan = make_plan(replace(plain.plan.spec, scenarios=(ScenarioRequest("strike"),)), domain)
    before, after = plain.frames["reading"], generate(plan).frames
    key = after["label"].filter(effect="restart")["row_key"][0]
    down = after["device_event"].filter(device_event_id=key).row(0, named=True)
    assert down["state"] == "restart"
    lost = before.filter(~pl.col("reading_id").is_in(after["reading"]["reading_id"].implode()))
    assert lost.height > 10
    assert set(lost["channel_id"] // 8) == {down["device_id"]}
    assert lost["observed_at"].is_between(down["started_at"] - dt.timedelta(seconds=1), down["ended_at"]).all()
    assert after["reading"].equals(before.filter(pl.col("reading_id").is_in(after["reading"]["reading_id"].implode())))


def test_a_device_sends_all_its_channels_as_one_message(plain: Dataset):
    reading = plain.frames["reading"].with_columns(device=pl.col("channel_id") // 8, at=pl.col("reading_id") % FAN)
    message = reading.group_by("device", "at").agg(pl.col("observed_at", "received_at").n_unique(), pl.len())
    assert message["observed_at"].max() == message["received_at"].max() == 1
    assert message["len"].min() >= 2  # type: ignore[operator]


def test_each_gateway_has_a_device_behind_it():
    for size in (1, 7, 24):
        frames = generate(make_plan(Spec("iot", size=size, end="2025-03-04"))).frames
        assert frames["gateway"]["gateway_id"].to_list() == sorted(set(frames["device"]["gateway_id"]))


def test_more_samples_than_can_be_numbered_are_refused():
    settings = {"device.profiles": "energy-meter", "profile.interval": 0.0001}
    with pytest.raises(UserError, match=r"profile\.interval is 0\.0001: 1,209,600,001 samples"):
        generate(make_plan(Spec("iot", size=1, settings=settings)))


def test_an_unknown_profile_is_refused_with_the_nearest_name():
    with pytest.raises(UserError, match=r"unknown profile 'energy-metre'. Did you mean 'energy-meter'\?"):
        generate(make_plan(Spec("iot", size=1, settings={"device.profiles": "energy-metre"})))
