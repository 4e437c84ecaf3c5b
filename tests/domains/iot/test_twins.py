"""The clean twin: the same fleet without its scenarios. It differs in the rows that bear a label and in no other, whatever scenarios
there are; and the table of anomalies says when, where and why."""

from __future__ import annotations

from collections.abc import Callable

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from populace.core.dataset import Dataset
from populace.domains.iot import DOMAIN

COMPANIES = 6
NAMES = sorted(DOMAIN.scenarios)


@pytest.fixture(scope="module", params=range(COMPANIES))
def company(request: pytest.FixtureRequest, make_mixed: Callable[..., Dataset]) -> Dataset:
    """A sixth of all scenarios, together."""
    return make_mixed(*NAMES[request.param :: COMPANIES])


def labelled(data: Dataset, table: str) -> pl.DataFrame:
    return data.frames["label"].filter(table=table)


def test_readings_differ_from_the_clean_twin_where_they_are_labelled_and_nowhere_else(mixed: Dataset, company: Dataset):
    both = mixed.frames["reading"].join(
        company.frames["reading"], on="reading_id", how="full", suffix="_played", coalesce=True
    )
    differs = pl.lit(False)
    for column in ("channel_id", "observed_at", "received_at", "value", "quality"):
        differs |= pl.col(column).ne_missing(pl.col(f"{column}_played"))
    gone = pl.col("channel_id_played").is_null()
    label = labelled(company, "reading")
    changed = set(both.filter(differs, ~gone)["reading_id"])
    named = set(label["row_key"].drop_nulls())
    assert changed <= named
    # where spans meet, a later scenario may set right what an earlier one did: such a row bears the labels of both
    by_several = label.group_by("row_key").agg(pl.col("scenario").n_unique()).filter(pl.col("scenario") > 1)
    assert named - changed <= set(by_several["row_key"])
    missing = both.filter(gone)
    # a sample that several scenarios took away is missing once; each of them says so
    assert (missing.height > 0) == (label["row_key"].null_count() > 0)
    assert missing.height <= label["row_key"].null_count()
    # where a sample is missing, its channel is marked or its device was down
    marked = set(labelled(company, "channel").filter(effect="gap")["row_key"])
    rest = missing.filter(~pl.col("channel_id").is_in(list(marked)))
    down = company.frames["device_event"].filter(pl.col("state") != "up").select("device_id", "started_at", "ended_at")
    of_device = company.frames["channel"].select("channel_id", "device_id", "interval_us")
    explained = (
        rest.join(of_device, on="channel_id")
        .join(down, on="device_id")
        .filter(
            pl.col("observed_at") + pl.duration(microseconds="interval_us") >= pl.col("started_at"),
            pl.col("observed_at") - pl.duration(microseconds="interval_us") <= pl.col("ended_at"),
        )
    )
    assert set(rest["reading_id"]) == set(explained["reading_id"])


@pytest.mark.parametrize("table", ["site", "gateway", "device", "channel"])
def test_master_data_differ_where_they_are_labelled(mixed: Dataset, company: Dataset, table: str):
    key = DOMAIN.schema[table].key
    before, after = mixed.frames[table], company.frames[table]
    assert before[key].equals(after[key])
    same = pl.concat([before, after]).group_by(key).agg(pl.struct(pl.exclude(key)).n_unique().alias("n"))
    changed = set(same.filter(pl.col("n") > 1)[key])
    # a channel is labelled for what is missing of it, too
    assert changed == set(labelled(company, table).filter(~pl.col("effect").is_in(["gap", "unchanged"]))["row_key"])


@pytest.mark.parametrize("table", ["device_event", "gateway_event"])
def test_events_differ_where_they_are_labelled(mixed: Dataset, company: Dataset, table: str):
    """Keys count events in order of time, so rows are told by what they say."""
    key = DOMAIN.schema[table].key
    # what follows from the others (firmware, wear, charge) may follow for its neighbours too
    facts = [f"{table.removesuffix('_event')}_id", "started_at", "ended_at", "cause"]
    facts += ["state"] if table == "device_event" else []
    new = company.frames[table].join(mixed.frames[table], on=facts, how="anti")
    assert set(new[key]) == set(labelled(company, table)["row_key"])


def test_every_labelled_reading_lies_within_an_anomaly_of_its_instance(mixed: Dataset, company: Dataset):
    """Spans are in the true time of the grid, whatever has become of the clock, half open, on grid points at both ends."""
    channel = company.frames["channel"].select("channel_id", "first_sample_at", "interval_us")
    fan = DOMAIN.schema["reading"].fan
    index = pl.col("row_key") % (fan // 2)
    label = labelled(company, "reading").drop_nulls("row_key").with_columns(channel_id=pl.col("row_key") // fan)
    due = pl.col("first_sample_at") + pl.duration(microseconds=index * pl.col("interval_us"))
    label = label.join(channel, on="channel_id").with_columns(due=due)
    anomaly = company.frames["anomaly"]
    within = label.join(anomaly, on=["channel_id", "scenario", "instance"]).filter(
        pl.col("due") >= pl.col("started_at"), pl.col("due") < pl.col("ended_at")
    )
    keys = ["scenario", "instance", "row_key", "effect"]
    assert_frame_equal(
        within.select(keys).unique().sort(keys), label.select(keys).unique().sort(keys), check_row_order=True
    )
    instances = company.frames["label"].filter(table="anomaly").select("scenario", "instance").unique()
    assert instances.sort("scenario", "instance").equals(
        anomaly.select("scenario", "instance").unique().sort("scenario", "instance")
    )
    assert anomaly.select(pl.col("cause", "effect").str.len_chars().min()).row(0) > (0, 0)


def test_overlaps_are_counted(company: Dataset):
    anomaly = company.frames["anomaly"]
    other = anomaly.join(anomaly, on="channel_id", suffix="_other").filter(
        pl.col("anomaly_id") != pl.col("anomaly_id_other"),
        pl.col("started_at") < pl.col("ended_at_other"),
        pl.col("started_at_other") < pl.col("ended_at"),
    )
    count = dict(other.group_by("anomaly_id").len().iter_rows())
    assert anomaly["overlaps"].to_list() == [count.get(key, 0) for key in anomaly["anomaly_id"]]


def test_of_each_anomaly_it_is_said_how_much_is_left(company: Dataset):
    """What it took away itself is left too, and bears no key: of what bears one, as many rows as are labelled in its span, and of these as
    many are shared as bear the label of another anomaly too. Copies bear a label of their own."""
    fan, anomaly = DOMAIN.schema["reading"].fan, company.frames["anomaly"]
    grid = company.frames["channel"].select("channel_id", "first_sample_at", "interval_us")
    label = labelled(company, "reading").drop_nulls("row_key").unique(["scenario", "instance", "row_key"])
    label = label.with_columns(channel_id=pl.col("row_key") // fan, index=pl.col("row_key") % (fan // 2))
    due = pl.col("first_sample_at") + pl.duration(microseconds=pl.col("index") * pl.col("interval_us"))
    inside = (
        label.join(grid, on="channel_id")
        .join(anomaly, on=["channel_id", "scenario", "instance"])
        .filter(due >= pl.col("started_at"), due < pl.col("ended_at"))
    )
    several = inside.group_by("row_key").agg(pl.col("anomaly_id").n_unique()).filter(pl.col("anomaly_id") > 1)
    counts = inside.group_by("anomaly_id").agg(
        pl.len().alias("there"), pl.col("row_key").is_in(several["row_key"].implode()).sum().alias("twice")
    )
    said = anomaly.join(counts, on="anomaly_id", how="left").with_columns(pl.col("there", "twice").fill_null(0))
    assert (said["rows_shared"] == said["twice"]).all()
    assert (said["rows_left"] >= said["there"]).all()
    takes = {n for n in NAMES if {"down", "lose", "cut"} & DOMAIN.scenarios[n].arguments.keys()}
    keeps = said.filter(~pl.col("scenario").is_in(list(takes)))
    assert (keeps["rows_left"] == keeps["there"]).all()
    assert (said["rows_changed"] >= said["rows_left"]).all()
