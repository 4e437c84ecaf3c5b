"""Each check of physics finds what is planted for it, and names the row; and says nothing of a fleet as it is."""

from __future__ import annotations

import datetime as dt

import polars as pl
import pytest

from populace.core.checks import check_tables
from populace.core.dataset import Dataset, generate
from populace.core.plan import make_plan
from populace.core.spec import Spec
from populace.domains.iot import DOMAIN

from .conftest import OFFICES

PROFILES = "room-climate,energy-meter,weather-station,wearable,pump-vibration"


@pytest.fixture(scope="module")
def fleet() -> Dataset:
    settings = {"device.profiles": PROFILES, "profile.life": 0.01}
    return generate(make_plan(Spec("iot", size=40, end="2025-03-06", seed=6, settings=settings)))


def found(data: Dataset, table: str, frame: pl.DataFrame) -> set[tuple[str, int]]:
    tables = {**{k: v for k, v in data.frames.items() if k != "label"}, table: frame}
    names = check_tables(DOMAIN, tables, set(tables)).filter(table=table)
    return set(names.select("check", "row_key").iter_rows())


def trace(data: Dataset, signal: str, at_least: int = 200) -> pl.DataFrame:
    """The readings of the first channel with this signal that has enough of them."""
    for key in data.frames["channel"].filter(signal=signal)["channel_id"]:
        mine = data.frames["reading"].filter(channel_id=key).sort("reading_id")
        if mine.height >= at_least:
            return mine
    raise AssertionError(f"no {signal}")


def planted(data: Dataset, key: int, value: float) -> pl.DataFrame:
    hit = pl.col("reading_id") == key
    return data.frames["reading"].with_columns(pl.when(hit).then(value).otherwise("value").alias("value"))


def test_a_fleet_as_it_is_breaks_nothing(fleet: Dataset):
    assert fleet.validate().is_empty()


def test_a_jump_is_named(fleet: Dataset):
    row = trace(fleet, "air-temperature").row(100, named=True)
    names = found(fleet, "reading", planted(fleet, row["reading_id"], row["value"] + 30))
    assert ("rate-of-change", row["reading_id"]) in names


def test_a_counter_that_goes_back_is_named_and_one_that_starts_again_is_not(fleet: Dataset):
    mine = trace(fleet, "energy")
    row = mine.row(100, named=True)
    names = found(fleet, "reading", planted(fleet, row["reading_id"], row["value"] - 10))
    assert ("counters-grow", row["reading_id"]) in names
    # shift the whole counter so that it passes its end half-way
    half = mine["value"][mine.height // 2]
    shifted = ((pl.col("value") - half + 1e6) % 1e6).round(3)
    hit = pl.col("channel_id") == row["channel_id"]
    frame = fleet.frames["reading"].with_columns(pl.when(hit).then(shifted).otherwise("value").alias("value"))
    assert not {name for name, _ in found(fleet, "reading", frame)} & {"counters-grow", "balances"}


@pytest.mark.parametrize(("signal", "by"), [("active-power", 40.0), ("energy", 0.05)])
def test_power_and_energy_that_do_not_fit_are_named(fleet: Dataset, signal: str, by: float):
    row = trace(fleet, signal).row(300, named=True)
    names = found(fleet, "reading", planted(fleet, row["reading_id"], round(row["value"] + by, 3)))
    assert ("balances", row["reading_id"]) in names
    assert {name for name, _ in names} <= {"balances", "counters-grow"}


@pytest.mark.parametrize(("signal", "by"), [("power-factor", -0.1), ("current", 0.4), ("voltage", 20.0)])
def test_power_is_voltage_times_current_times_power_factor(fleet: Dataset, signal: str, by: float):
    """What is off in any of the three is named on the power of that moment, and on nothing else."""
    row = trace(fleet, signal).row(300, named=True)
    channel = fleet.frames["channel"]
    device = channel.filter(channel_id=row["channel_id"])["device_id"][0]
    whole = channel.filter(device_id=device, signal="active-power")["channel_id"][0]
    names = found(fleet, "reading", planted(fleet, row["reading_id"], round(row["value"] + by, 3)))
    assert names == {("balances", whole * 100_000_000 + row["reading_id"] % 100_000_000)}


def test_a_power_factor_left_out_is_noticed(fleet: Dataset):
    """Currents as they would be without reactive load: most readings of power are named."""
    channel = fleet.frames["channel"]
    reading = fleet.frames["reading"]
    mine = reading.join(channel.filter(pl.col("signal").is_in(["current", "power-factor"])), on="channel_id")
    at = pl.col("reading_id") % 100_000_000
    factor = mine.filter(signal="power-factor").select("device_id", at.alias("at"), pl.col("value").alias("factor"))
    current = mine.filter(signal="current").select("reading_id", "device_id", at.alias("at"), "value")
    smaller = current.join(factor, on=["device_id", "at"]).select(
        "reading_id", (pl.col("value") * pl.col("factor")).round(2).alias("smaller")
    )
    frame = reading.join(smaller, on="reading_id", how="left", maintain_order="left")
    frame = frame.with_columns(pl.coalesce("smaller", "value").alias("value")).drop("smaller")
    named = [key for name, key in found(fleet, "reading", frame) if name == "balances"]
    assert len(named) > 0.9 * smaller.height


@pytest.fixture(scope="module")
def boards() -> Dataset:
    settings = {"device.profiles": "distribution-board", "site.kind": OFFICES, "profile.interval": 6.0}
    data = generate(make_plan(Spec("iot", size=4, end="2025-03-04", seed=6, settings=settings)))
    assert data.validate().is_empty()
    return data


@pytest.mark.parametrize("signal", ["appliance-power", "lighting-power", "loss", "active-power"])
def test_a_meter_that_is_not_the_sum_of_its_submeters_and_the_loss_is_named(boards: Dataset, signal: str):
    """Eight steps of the meter more in one submeter, or in the meter itself: named on the meter's reading of that moment, and nowhere else."""
    data = boards
    row = trace(data, signal).row(300, named=True)
    channel = data.frames["channel"]
    step = channel.filter(signal="active-power")["resolution"][0]
    device = row["channel_id"] // 8
    whole = channel.filter(device_id=device, signal="active-power")["channel_id"][0]
    names = found(data, "reading", planted(data, row["reading_id"], row["value"] + 8 * step))
    expected = whole * 100_000_000 + row["reading_id"] % 100_000_000
    assert ("balances", expected) in names
    assert {name for name, _ in names} <= {"balances", "on-scale"}


def test_a_meter_that_runs_slow_is_noticed(fleet: Dataset):
    """One part in a thousand too little, of every gain: no single step shows it, the sum does."""
    mine = trace(fleet, "energy", 2000)
    first, key = mine["value"][0], mine["channel_id"][0]
    slow = (first + (pl.col("value") - first) * 0.99).round(3)
    hit = pl.col("channel_id") == key
    frame = fleet.frames["reading"].with_columns(pl.when(hit).then(slow).otherwise("value").alias("value"))
    assert {name for name, _ in found(fleet, "reading", frame)} == {"balances"}


def test_a_dew_point_above_the_temperature_is_named(fleet: Dataset):
    row = trace(fleet, "dew-point").row(50, named=True)
    names = found(fleet, "reading", planted(fleet, row["reading_id"], 55.0))
    assert names == {("dew-point-below-temperature", row["reading_id"])}


@pytest.mark.parametrize(
    ("column", "by"), [("charge_end", 30.0), ("charge_start", 30.0), ("wear_end", -0.2), ("wear_start", -0.2)]
)
def test_charge_from_nowhere_and_wear_undone_are_named(fleet: Dataset, column: str, by: float):
    event = fleet.frames["device_event"].sort("device_id", "started_at")
    before = pl.col("device_id").shift() == pl.col("device_id")
    quiet = pl.col("state").is_in(["up", "degraded"]) & pl.col("state").shift().is_in(["up", "degraded", "restart"])
    fits = (pl.col(column) + by).is_between(0, 100 if by > 0 else 1)
    row = event.filter(before & quiet & fits).row(0, named=True)
    hit = pl.col("device_event_id") == row["device_event_id"]
    frame = event.with_columns(pl.when(hit).then(pl.col(column) + by).otherwise(column).alias(column))
    names = found(fleet, "device_event", frame)
    assert ("charge-and-wear", row["device_event_id"]) in names


@pytest.mark.parametrize(("column", "value"), [("unit_code", "K"), ("signal", "heart-beat"), ("high", 12.0)])
def test_a_channel_that_is_not_its_profile_s_is_named(fleet: Dataset, column: str, value: object):
    channel = fleet.frames["channel"]
    key = channel.filter(signal="heart-rate")["channel_id"][0]
    frame = channel.with_columns(
        pl.when(pl.col("channel_id") == key).then(pl.lit(value)).otherwise(column).alias(column)
    )
    assert ("as-profiled", key) in found(fleet, "channel", frame)


def test_a_missing_channel_is_missed(fleet: Dataset):
    channel = fleet.frames["channel"]
    key = channel.filter(signal="steps").row(0, named=True)
    frame = channel.filter(pl.col("channel_id") != key["channel_id"])
    tables = {**{k: v for k, v in fleet.frames.items() if k != "label"}, "channel": frame}
    names = check_tables(DOMAIN, tables, {"channel"}).filter(check="as-profiled")
    assert names["row_key"].to_list() == [key["device_id"]]


def test_what_the_table_of_anomalies_names_is_no_violation(fleet: Dataset):
    row = trace(fleet, "air-temperature").row(100, named=True)
    minute = dt.timedelta(minutes=1)
    start = row["observed_at"] - minute
    anomaly = pl.DataFrame(
        {"channel_id": [row["channel_id"]], "started_at": [start], "ended_at": [row["observed_at"] + minute]}
    ).with_columns(pl.col("started_at", "ended_at").cast(pl.Datetime("us", "UTC")))
    frame = planted(fleet, row["reading_id"], row["value"] + 30)
    tables = {**{k: v for k, v in fleet.frames.items() if k != "label"}, "reading": frame, "anomaly": anomaly}
    names = check_tables(DOMAIN, tables, {"reading"}).filter(check="rate-of-change")
    assert names.is_empty()
