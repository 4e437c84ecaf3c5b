"""A fleet played over a real MQTT broker: what a subscriber holds in the end is all that was told, births and wills among it.

The broker is the one that POPULACE_TEST_MQTT names (`mqtt://127.0.0.1`)."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import polars as pl
import pytest
from interpreters import interpreter_with

from populace.app.cli import run_command
from populace.core.address import parse_address
from populace.core.dataset import generate
from populace.core.errors import UserError
from populace.core.plan import Plan, make_plan
from populace.core.spec import Spec
from populace.core.streams.pace import Pace
from populace.core.streams.play import Controls
from populace.core.streams.session import open_session
from populace.domains.iot.views.sparkplug import node_messages

SETTINGS = {
    "profile.interval": 30.0,
    "gateway.days_between_outages": 1.0,
    "profile.life": 0.002,
    "watchdog.hours": 20.0,
    "power.days_between_cuts": 2.0,
}


def plan(size: int = 20, end: str = "2025-03-05") -> Plan:
    return make_plan(Spec("iot", size=size, end=end, seed=3, settings=SETTINGS))


@pytest.fixture(scope="module")
def broker() -> str:
    url = os.environ.get("POPULACE_TEST_MQTT")
    if not url:
        pytest.skip("POPULACE_TEST_MQTT names no broker")
    return url


RATE = 2_000
"""Messages a second that a listener in Python keeps up with: a broker drops what waits for a slower one."""


@contextmanager
def listening(url: str, topic: str) -> Iterator[list[tuple[str, bytes, bool]]]:
    """What arrives at a topic, with whether it was retained."""
    import paho.mqtt.client as paho
    from paho.mqtt.enums import CallbackAPIVersion

    address, got, ready = parse_address(url), list[tuple[str, bytes, bool]](), threading.Event()
    client = paho.Client(CallbackAPIVersion.VERSION2, protocol=paho.MQTTv5)
    client.on_connect = lambda c, *_: c.subscribe(topic, 2)
    client.on_subscribe = lambda *_: ready.set()
    client.on_message = lambda _c, _u, m: got.append((m.topic, m.payload, m.retain))
    client.connect(address.host, address.port or 1883)
    client.loop_start()
    try:
        assert ready.wait(10)
        yield got
    finally:
        client.disconnect()
        client.loop_stop()


def settled(got: list, count: int) -> None:
    for _ in range(200):
        if len(got) >= count:
            return
        time.sleep(0.05)


@pytest.mark.parametrize("qos", [0, 1])
def test_a_status_is_retained_and_the_brokers_will_is_offline(broker: str, qos: int):
    name = uuid.uuid4().hex
    with listening(broker, f"{name}/#") as got:
        session = open_session(
            plan(4, "2025-03-04"),
            f"{broker}?qos={qos}&status={name}/status",
            events=["gateway-cut-off"],
            topic=name + "/{key}",
            quiet=True,
        )
        assert session.run().lost == 0
        settled(got, 2)
    said = [body for topic, body, _ in got if topic.endswith("/status")]
    assert (said[0], said[-1]) == (b"online", b"offline")
    with listening(broker, f"{name}/status") as got:
        settled(got, 1)
    assert got == [(f"{name}/status", b"offline", True)]


def test_sparkplug_over_one_connection_a_node(broker: str, tmp_path: Path):
    """The host's rules hold, wills included; every reading is learnt, with its time and value."""
    host = interpreter_with(tmp_path / "host", "pysparkplug==0.6.1")
    made = plan()
    data = generate(made)
    expected = node_messages({k: v for k, v in data.frames.items() if k != "label"})
    assert (expected["rank"] == 0).any(), "a gateway is cut off in this window"
    last = expected.filter(pl.col("rank") < 2).group_by("node").agg(pl.col("rank").last())
    alive = int((last["rank"] == 1).sum())
    with listening(broker, "spBv1.0/#") as got:
        session = open_session(
            made,
            broker.replace("mqtt:", "sparkplug:"),
            body="sparkplug",
            controls=Controls(Pace(rate=RATE)),
            quiet=True,
        )
        assert session.run().lost == 0
        # at the end each node that is still there is dropped, and dies
        settled(got, expected.height + alive)
    (tmp_path / "stored").write_text(
        "".join(json.dumps({"topic": t, "payload": base64.b64encode(b).decode()}) + "\n" for t, b, _ in got)
    )
    done = subprocess.run(
        [host, Path(__file__).with_name("sparkplug_host.py"), tmp_path / "stored"], capture_output=True, check=True
    )
    found = json.loads(done.stdout)
    assert found["broken"] == []
    assert not any(retained for *_, retained in got)
    channel = dict(data.frames["channel"].select("channel_id", "signal").iter_rows())
    reading = data.frames["reading"].select("channel_id", "observed_at", "value", "quality")
    told = {
        (f"device-{c // 8}", channel[c], round(at.timestamp() * 1e6) // 1000, value, quality == "late")
        for c, at, value, quality in reading.iter_rows()
    }
    assert {tuple(x) for x in found["learnt"]} == told


def test_sparkplug_goes_to_mqtt_alone():
    with pytest.raises(UserError, match="--body sparkplug: does not go to -"):
        open_session(plan(4), "-", body="sparkplug", quiet=True)
    with pytest.raises(UserError, match="--body row: does not go to sparkplug"):
        open_session(plan(4), "sparkplug://127.0.0.1", body="row", quiet=True)


def test_what_a_subscriber_stored_is_validated_and_nothing_is_lost(broker: str, tmp_path: Path):
    """The rows as they came, stored in place of the readings of the dataset that was streamed: the manifest and the log of events vouch for each."""
    asked = [
        "iot",
        "--workers",
        "1",
        "--size",
        "3",
        "--seed",
        "3",
        "--end",
        "2025-03-04",
        "--set",
        "profile.interval=30",
        "--quiet",
    ]
    kept, name = tmp_path / "kept", uuid.uuid4().hex
    assert run_command(["generate", *asked, "--format", "ndjson", "--to", str(kept)]) == 0
    (part,) = (kept / "reading").glob("*.ndjson")
    count = len(part.read_text().splitlines())
    assert 500 < count < 1_000, "a broker keeps a thousand for a listener that is slow, and drops the rest"
    with listening(broker, f"{name}/#") as got:
        target = ["--to", f"{broker}?qos=1", "--event", "reading", "--body", "row", "--topic", name + "/{key}"]
        assert run_command(["stream", *asked, *target]) == 0
        settled(got, count)
    stored = [body.decode() for _, body, _ in got]
    assert len(stored) == count
    part.write_text("\n".join(stored) + "\n")
    assert run_command(["validate", "iot", str(kept)]) == 0
    part.write_text("\n".join(stored[:100] + stored[101:]) + "\n")
    assert run_command(["validate", "iot", str(kept)]) == 1
