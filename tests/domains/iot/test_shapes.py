"""The shapes of public benchmarks, read back as their own users do; documents, by parsers that are not ours."""

from __future__ import annotations

import datetime as dt
import json
import subprocess
from pathlib import Path

import pandas as pd
import polars as pl
import pytest
from interpreters import interpreter_with

from populace.core.dataset import Dataset, generate
from populace.core.plan import make_plan
from populace.core.run import run
from populace.core.scenario import ScenarioRequest
from populace.core.sinks import open_target
from populace.core.spec import Spec


@pytest.fixture(scope="module")
def data() -> Dataset:
    settings = {
        "profile.interval": 30.0,
        "profile.life": 0.02,
        "device.profiles": "motor,conveyor,pump-vibration,room-climate,energy-meter",
    }
    scenarios = (ScenarioRequest("sensor-bias", {"count": 4}),)
    return generate(make_plan(Spec("iot", size=30, end="2025-03-08", seed=3, settings=settings, scenarios=scenarios)))


@pytest.fixture(scope="module")
def folders(data: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("shapes")
    names = ("timeeval", "nab", "cmapss", "tsbs", "senml", "sparkplug")
    run(data.plan, [open_target(f"{n}:{home / n}", data.plan.domain) for n in names], workers=1, quiet=True)
    return home


def test_timeeval(data: Dataset, folders: Path):
    """`timestamp`, values, `is_anomaly`, as TimeEval's loader wants them; the label is where the anomaly is."""
    files = sorted((folders / "timeeval" / "timeeval").glob("*.csv"))
    assert len(files) == data.frames["device"].height
    spans = data.frames["anomaly"].with_columns(device=pl.col("channel_id") // 8)
    total = 0
    for file in files:
        table = pd.read_csv(file, parse_dates=["timestamp"], index_col="timestamp")
        assert table.columns[-1] == "is_anomaly"
        assert set(table["is_anomaly"]) <= {0, 1}
        assert table.index.is_monotonic_increasing
        mine = spans.filter(device=int(file.stem.removeprefix("device-")))
        assert bool(table["is_anomaly"].any()) == bool(mine.height)
        for start, end in mine.select("started_at", "ended_at").iter_rows():
            inside = table.loc[start.replace(tzinfo=None) : (end - dt.timedelta(seconds=60)).replace(tzinfo=None)]
            assert inside["is_anomaly"].all()
        total += table.drop(columns="is_anomaly").notna().to_numpy().sum()
    assert total == data.frames["reading"].height


def test_nab(data: Dataset, folders: Path):
    """Each series with its windows; together they are combined_windows.json."""
    windows: dict[str, list] = {}
    for file in (folders / "nab" / "labels").glob("*.json"):
        windows |= json.loads(file.read_text())
    assert len(windows) == data.frames["reading"]["channel_id"].n_unique()
    assert sum(len(w) for w in windows.values()) == data.frames["anomaly"].height
    for name, listed in windows.items():
        table = pd.read_csv(folders / "nab" / "data" / name, parse_dates=["timestamp"])
        assert list(table.columns) == ["timestamp", "value"]
        for a, b in listed:
            inside = table[(table["timestamp"] >= pd.Timestamp(a)) & (table["timestamp"] <= pd.Timestamp(b))]
            assert len(inside)


def test_cmapss(data: Dataset, folders: Path):
    """Read by position, as the data's own readers do: cycles count up from one; every test unit has what it has left."""
    files = {f.stem: f for f in (folders / "cmapss").glob("*.txt")}
    kinds = {name.partition("_")[2] for name in files}
    assert kinds == {"motor", "conveyor", "pump-vibration"} & set(data.frames["device"]["profile"])
    assert any(name.startswith("train_") for name in files), "some run ends in failure"
    for name, file in files.items():
        if name.startswith("RUL_"):
            continue
        table = pd.read_csv(file, sep=" ", header=None)
        width = len(data.plan.domain.library[name.partition("_")[2]].channels)
        assert table.shape[1] == 5 + width
        counted = table.groupby(0)[1].agg(["min", "max", "count"])
        assert (counted["min"] == 1).all()
        assert (counted["max"] == counted["count"]).all()
        if name.startswith("test_"):
            left = (folders / "cmapss" / f"RUL_{name.partition('_')[2]}.txt").read_text().split()
            assert len(left) == len(counted)
            assert all(int(x) >= 0 for x in left)


def test_tsbs(data: Dataset, folders: Path):
    """Line protocol of several fields, in order of time; no reading is left out."""
    last, fields, backwards = 0, 0, 0
    for line in (folders / "tsbs" / "tsbs.lp").read_text().splitlines():
        head, values, at = line.split(" ")
        measurement, *tags = head.split(",")
        assert measurement == "readings"
        assert [t.partition("=")[0] for t in tags] == ["name", "fleet", "model", "device_version"]
        fields += len([float(v.partition("=")[2]) for v in values.split(",")])
        backwards += int(at) < last
        last = int(at)
    assert fields == data.frames["reading"].height
    assert backwards < data.plan.blocks, "each block is in order of time"


def test_senml_by_another_reader(data: Dataset, folders: Path, tmp_path: Path):
    """KPN's SenML library resolves every pack to the names and values that there are; of base times it makes nothing."""
    python = interpreter_with(tmp_path / "senml", "kpn-senml==1.0.1")
    reader = """
import json, sys
from kpn_senml import SenmlPack
found = []
for line in open(sys.argv[1]):
    whole = SenmlPack("")
    whole.from_json(line)
    for pack in whole._data:
        for record in pack._data:
            found.append([pack.name + record.name, record.value])
print(json.dumps(found))
"""
    packs = (folders / "senml" / "reading.ndjson").read_text().splitlines()[:2_000]
    (tmp_path / "packs").write_text("\n".join(packs))
    done = subprocess.run([python, "-c", reader, tmp_path / "packs"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-500:]
    found = {tuple(row) for row in json.loads(done.stdout)}
    names = data.frames["channel"].select("channel_id", "urn")
    reading = data.frames["reading"].join(names, on="channel_id")
    known = set(reading.select("urn", "value").iter_rows())
    assert len(found) > 1_000
    assert found <= known


def test_cloudevents_by_another_reader(data: Dataset):
    """The CloudEvents SDK takes every event."""
    events = pytest.importorskip("cloudevents.core.formats.json").JSONFormat()
    from cloudevents.core.v1.event import CloudEvent

    tables = {k: v for k, v in data.frames.items() if k != "label"}
    for text in data.plan.domain.views["cloudevents"].render(tables, {})["message"]["text"][:500]:
        event = events.read(CloudEvent, text)
        assert event.get_specversion() == "1.0"
        assert event.get_source().startswith("urn:dev:ops:")
