"""Each check finds a violation planted for it, and names the row."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable

import polars as pl
import pytest

from populace.core.checks import check_tables
from populace.core.dataset import Dataset
from populace.domains.iot import DOMAIN
from populace.domains.iot.labels import shown
from populace.domains.iot.population import SCHEMA
from populace.domains.iot.readings import FAN

SECOND = dt.timedelta(seconds=1)


def found(data: Dataset, table: str, frame: pl.DataFrame) -> set[tuple[str, str, int]]:
    tables = {**{k: v for k, v in data.frames.items() if k != "label"}, table: frame}
    return set(check_tables(DOMAIN, tables, set(tables)).select("check", "table", "row_key").iter_rows())


def edited(data: Dataset, key: int, **values: object) -> pl.DataFrame:
    hit = pl.col("reading_id") == key
    reading = data.frames["reading"]
    return reading.with_columns(
        pl.when(hit).then(pl.lit(v)).otherwise(pl.col(c)).cast(reading.schema[c]).alias(c) for c, v in values.items()
    )


@pytest.mark.parametrize(
    ("check", "change"),
    [
        ("on-scale", lambda row: {"value": 1e6}),
        ("on-scale", lambda row: {"value": row["value"] + 0.003}),
        ("on-grid", lambda row: {"observed_at": row["observed_at"] - 5 * SECOND}),
        ("reading.received-after-observed", lambda row: {"received_at": row["observed_at"] - SECOND}),
    ],
)
def test_a_planted_reading_is_named(plain: Dataset, check: str, change: Callable[[dict], dict]):
    row = plain.frames["reading"].filter(quality="good").row(1000, named=True)
    frame = edited(plain, row["reading_id"], **change(row))
    assert (check, "reading", row["reading_id"]) in found(plain, "reading", frame)
    assert not found(plain, "reading", plain.frames["reading"])


def test_a_missing_reading_is_missed(plain: Dataset):
    row = plain.frames["reading"].row(5000, named=True)
    frame = plain.frames["reading"].filter(pl.col("reading_id") != row["reading_id"])
    assert found(plain, "reading", frame) == {("gaps-explained", "channel", row["channel_id"])}


def test_a_sample_that_comes_twice_is_named(plain: Dataset):
    """Under the key that a copy has: half the fan behind its own."""
    reading = plain.frames["reading"]
    copy = reading[5000].with_columns(pl.col("reading_id") + SCHEMA["reading"].fan // 2)
    frame = pl.concat([reading, copy]).sort("reading_id")
    assert found(plain, "reading", frame) == {("delivered-once", "reading", copy["reading_id"][0])}


def test_a_reading_of_a_device_that_is_down_is_named(plain: Dataset):
    """The log says that the device was down: then its readings of that time are the violations."""
    event = plain.frames["device_event"].filter(state="up").row(0, named=True)
    frame = plain.frames["device_event"].with_columns(
        pl.when(pl.col("device_event_id") == event["device_event_id"])
        .then(pl.lit("restart").cast(plain.frames["device_event"].schema["state"]))
        .otherwise("state")
        .alias("state")
    )
    down = plain.frames["reading"].filter(
        (pl.col("channel_id") // 8 == event["device_id"])
        & pl.col("observed_at").is_between(event["started_at"], event["ended_at"], closed="left")
    )
    names = {
        key
        for check, table, key in found(plain, "device_event", frame)
        if (check, table) == ("gaps-explained", "reading")
    }
    assert names == set(down["reading_id"])
    assert names


def test_codes_may_be_texts(make: Callable[..., Dataset]):
    """As they are in files: what was sent again and again comes later than the next sample."""
    data = make(size=6, settings={"network.loss": 0.5, "profile.interval": 0.1})
    reading = data.frames["reading"].with_columns(pl.col(pl.Enum).cast(pl.String))
    wait = pl.col("received_at") - pl.col("observed_at")
    again = reading.filter(quality="retried").join(data.frames["channel"], on="channel_id")
    assert (again.select(wait.dt.total_microseconds() > pl.col("interval_us")).to_series()).any()
    assert found(data, "reading", reading) == set()


def test_an_arrival_through_a_cut_is_named(plain: Dataset):
    late = plain.frames["reading"].filter(quality="late").row(0, named=True)
    frame = edited(plain, late["reading_id"], received_at=late["observed_at"] + SECOND)
    assert ("arrivals-explained", "reading", late["reading_id"]) in found(plain, "reading", frame)


def test_a_late_arrival_without_an_outage_is_named(plain: Dataset):
    """Forget an outage: what it delayed and no other outage explains is then late for no reason."""
    outages = plain.frames["gateway_event"]
    other = outages.join(outages, on="gateway_id", suffix="_other").filter(
        (pl.col("gateway_event_id") != pl.col("gateway_event_id_other"))
        & (pl.col("started_at") < pl.col("ended_at_other") + dt.timedelta(hours=1))
        & (pl.col("ended_at") > pl.col("started_at_other") - dt.timedelta(hours=1))
    )
    # where the mains are gone too, nobody may have sent a thing
    alone = outages.join(other, on="gateway_event_id", how="anti").filter(cause="uplink")
    longest = alone.sort(pl.col("ended_at") - pl.col("started_at")).row(-1, named=True)
    frame = outages.filter(pl.col("gateway_event_id") != longest["gateway_event_id"])
    gateway = (
        plain.frames["channel"]
        .join(plain.frames["device"], on="device_id")
        .select("channel_id", "gateway_id", "interval_us")
    )
    mine = plain.frames["reading"].join(gateway, on="channel_id").filter(gateway_id=longest["gateway_id"])
    held = mine.filter(
        pl.col("observed_at").is_between(longest["started_at"], longest["ended_at"] - 60 * SECOND)
        & ((pl.col("received_at") - pl.col("observed_at")).dt.total_microseconds() > pl.col("interval_us"))
    )
    named = {key for check, _, key in found(plain, "gateway_event", frame) if check == "arrivals-explained"}
    assert named
    assert named >= set(held["reading_id"])
    assert named <= set(mine.filter(quality="late")["reading_id"])


def test_a_cause_that_does_not_fit_its_state_is_named(plain: Dataset):
    event = plain.frames["device_event"]
    key = event.filter(state="repair")["device_event_id"][0]
    frame = event.with_columns(
        pl.when(pl.col("device_event_id") == key)
        .then(pl.lit("watchdog").cast(event.schema["cause"]))
        .otherwise("cause")
        .alias("cause")
    )
    assert found(plain, "device_event", frame) == {("device_event.cause-of-its-state", "device_event", key)}


def test_an_illegal_state_and_a_hole_in_the_log_are_named(plain: Dataset):
    event = plain.frames["device_event"]
    repair = event.filter(state="repair").row(0, named=True)
    without = event.filter(
        ~((pl.col("device_id") == repair["device_id"]) & (pl.col("ended_at") == repair["started_at"]))
    )
    assert ("transitions", "device_event", repair["device_event_id"]) in found(plain, "device_event", without)
    shortened = event.with_columns(
        pl.when(pl.col("device_event_id") == repair["device_event_id"])
        .then(pl.col("started_at") + SECOND)
        .otherwise("started_at")
        .alias("started_at")
    )
    assert ("transitions", "device_event", repair["device_event_id"]) in found(plain, "device_event", shortened)


def test_checks_do_not_mind_the_order_of_rows(plain: Dataset):
    frame = plain.frames["reading"].sample(fraction=1.0, shuffle=True, seed=1)
    assert {check for check, _, _ in found(plain, "reading", frame)} <= {"reading.key"}


def truth(data: Dataset, **frames: pl.DataFrame) -> set[tuple[str, str, int]]:
    tables = {
        **{k: v for k, v in data.frames.items() if k != "label"},
        **{k: v for k, v in frames.items() if k != "label"},
    }
    found = check_tables(DOMAIN, tables, set(tables), label=frames.get("label", data.frames["label"]))
    return {row for row in found.select("check", "table", "row_key").iter_rows() if row[0].startswith("anomaly-")}


def test_an_anomaly_beyond_its_series_and_one_that_does_not_show_are_named(played: dict[str, Dataset]):
    data = played["sensor-drift"]
    anomaly = data.frames["anomaly"]
    assert not truth(data)
    key = anomaly["anomaly_id"][0]
    moved = pl.col("started_at", "ended_at") + pl.when(pl.col("anomaly_id") == key).then(
        dt.timedelta(days=9)
    ).otherwise(dt.timedelta(0))
    found = truth(data, anomaly=anomaly.with_columns(moved))
    assert {("anomaly-in-series", "anomaly", key), ("anomaly-shown", "anomaly", key)} <= found
    label = data.frames["label"]
    assert {k for check, table, k in found if (check, table) == ("anomaly-shown", "reading")} == set(
        label.filter(table="reading", instance=anomaly["instance"][0])["row_key"]
    ), "and what was labelled for it lies in no anomaly now"
    quiet = label.filter(~((pl.col("table") == "reading") & (pl.col("instance") == anomaly["instance"][0])))
    assert truth(data, label=quiet) == {("anomaly-shown", "anomaly", key)}


def test_an_anomaly_that_would_change_nothing_is_none(make: Callable[..., Dataset]):
    """A reading that is held at the value that it has anyway is no anomaly, and the table of anomalies has none."""
    data = make("one-sample-anomaly", count=2)
    shown = set(data.frames["label"].filter(table="reading")["instance"])
    assert set(data.frames["anomaly"]["instance"]) == shown


@pytest.mark.parametrize(
    ("labelled", "left", "broken"), [(False, 0, set()), (False, 2, {1}), (True, 2, set()), (True, 0, {1})]
)
def test_an_anomaly_shows_unless_it_says_that_nothing_is_left_of_it(labelled: bool, left: int, broken: set[int]):
    """One anomaly of a clock has labels or none, and says how many rows are left: of none it says so, and then there is none."""
    instant = pl.Datetime("us", "UTC")
    anomaly = pl.DataFrame(
        {
            "anomaly_id": [0, 1],
            "scenario": ["site-power-cut", "ntp-step"],
            "instance": [0, 0],
            "channel_id": [7, 7],
            "started_at": [0, 10],
            "ended_at": [20, 15],
            "rows_left": [20, left],
        }
    ).with_columns((pl.col("started_at", "ended_at") * 60_000_000).cast(instant))
    channel = pl.DataFrame({"channel_id": [7], "first_sample_at": [0], "interval_us": [60_000_000]}).with_columns(
        pl.col("first_sample_at").cast(instant)
    )
    rows = [("site-power-cut", 0, "device", 7)] + [("ntp-step", 0, "reading", 7 * FAN + k) for k in (11, 12)] * labelled
    label = pl.DataFrame(rows, ["scenario", "instance", "table", "row_key"], orient="row")
    frames = {"anomaly": anomaly, "channel": channel, "label": label}
    found = shown({name: frame.lazy() for name, frame in frames.items()})
    assert set(found.filter(table="anomaly")["row_key"]) == broken
