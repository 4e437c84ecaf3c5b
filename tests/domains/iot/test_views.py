"""Views say what the tables say: each is read back by a reader of its own and compared."""

from __future__ import annotations

import datetime as dt
import json
import re

import polars as pl
import pytest

from populace.core.dataset import Dataset, generate
from populace.core.plan import make_plan
from populace.core.spec import Spec
from populace.domains.iot import DOMAIN

EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)


@pytest.fixture(scope="module")
def data() -> Dataset:
    return generate(make_plan(Spec("iot", size=20, end="2025-03-04", seed=3, settings={"profile.interval": 20.0})))


def lines(data: Dataset, view: str, name: str) -> list[str]:
    tables = {k: v for k, v in data.frames.items() if k != "label"}
    return DOMAIN.views[view].render(tables, {})[name]["text"].to_list()


def readings(data: Dataset) -> pl.DataFrame:
    channel = data.frames["channel"].select("channel_id", "device_id", "signal", pl.col("urn").alias("channel_urn"))
    device = data.frames["device"].select("device_id", "profile", "site_id", "urn")
    return data.frames["reading"].join(channel, on="channel_id").join(device, on="device_id")


def microseconds(at: dt.datetime) -> int:
    return (at - EPOCH) // dt.timedelta(microseconds=1)


def test_line_protocol(data: Dataset):
    line = re.compile(r"([a-z-]+),site=(\d+),device=(\d+) ([a-z-]+)=(-?[0-9.e+-]+) (\d+)000")
    found = set()
    for text in lines(data, "influx", "reading"):
        match = line.fullmatch(text)
        assert match, text
        profile, site, device, signal, value, at = match.groups()
        found.add((profile, int(site), int(device), signal, float(value), int(at)))
    columns = ("profile", "site_id", "device_id", "signal", "value", "observed_at")
    expected = {(*row[:5], microseconds(row[5])) for row in readings(data).select(columns).iter_rows()}
    assert found == expected


def resolved(pack: list[dict]) -> list[tuple[str, float, float]]:
    """RFC 8428, section 4.6: base values hold from where they stand on."""
    name, time, found = "", 0.0, []
    for record in pack:
        name, time = record.get("bn", name), record.get("bt", time)
        assert set(record) <= {"bn", "bt", "n", "u", "v"}
        found.append((name + record["n"], time, record["v"]))
    return found


def test_senml(data: Dataset):
    packs = [json.loads(text) for text in lines(data, "senml", "reading")]
    found = {(n, round(t * 1e6), v) for pack in packs for n, t, v in resolved(pack)}
    columns = ("channel_urn", "observed_at", "value")
    expected = {(n, microseconds(t), v) for n, t, v in readings(data).select(columns).iter_rows()}
    assert found == expected
    assert max(len(pack) for pack in packs) > 3
    units = {record.get("u") for pack in packs for record in pack}
    assert "Cel" in units


def test_cloudevents(data: Dataset):
    events = [json.loads(text) for text in lines(data, "cloudevents", "message")]
    assert len({e["id"] for e in events}) == len(events)
    assert all(e["specversion"] == "1.0" and e["datacontenttype"] == "application/senml+json" for e in events)
    assert sum(len(e["data"]) for e in events) == data.frames["reading"].height
    for event in events[:200]:
        assert dt.datetime.fromisoformat(event["time"]).tzinfo
        assert all(name.startswith(event["source"]) for name, *_ in resolved(event["data"]))


def test_thing_descriptions(data: Dataset):
    tables = {k: v for k, v in data.frames.items() if k != "label"}
    made = DOMAIN.views["wot"].render(tables, {})["thing"]
    assert made["name"].n_unique() == data.frames["device"].height
    channels = data.frames["channel"]
    for text in made["text"]:
        thing = json.loads(text)
        assert thing["@context"] == ["https://www.w3.org/2022/wot/td/v1.1"]
        assert {"title", "security", "securityDefinitions"} <= set(thing)
        mine = channels.join(data.frames["device"].filter(urn=thing["id"]).select("device_id"), on="device_id")
        assert set(thing["properties"]) == set(mine["signal"])
        for row in mine.iter_rows(named=True):
            about = thing["properties"][row["signal"]]
            assert (about["unit"], about["minimum"], about["maximum"]) == (row["unit_code"], row["low"], row["high"])
            assert about["forms"][0]["href"].startswith("mqtts://")


def test_sensorthings(data: Dataset):
    parts = {
        n: [json.loads(t) for t in lines(data, "sensorthings", n)] for n in ("Things", "Datastreams", "Observations")
    }
    things = {t["@iot.id"] for t in parts["Things"]}
    streams = {d["@iot.id"]: d for d in parts["Datastreams"]}
    assert {d["Thing"]["@iot.id"] for d in streams.values()} <= things
    assert {o["Datastream"]["@iot.id"] for o in parts["Observations"]} <= set(streams)
    assert {(o["@iot.id"], o["result"]) for o in parts["Observations"]} == set(
        data.frames["reading"].select("reading_id", "value").iter_rows()
    )
    longitude, latitude = parts["Things"][0]["Locations"][0]["location"]["coordinates"]
    assert 5 < longitude < 16
    assert 47 < latitude < 56
