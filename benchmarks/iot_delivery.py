"""`python -m benchmarks.iot_delivery`: how fast a fleet is rendered and told, beside the same work done bare, and peers that label anomalies.

POPULACE_TEST_MQTT names a broker (`mqtt://127.0.0.1`); POPULACE_BENCH_GUTENTAG and POPULACE_BENCH_MOCKSERIES interpreters that have timeeval-gutentag and
mockseries. What is not there is skipped, with the reason.
"""

from __future__ import annotations

import os

os.environ.update(POLARS_MAX_THREADS="1", OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1")

import socket
import subprocess
import sys
import time

import polars as pl

from populace.core.address import parse_address
from populace.core.dataset import generate
from populace.core.plan import make_plan
from populace.core.spec import Spec
from populace.core.streams.outlets import open_outlet
from populace.core.streams.outlets.mqtt import Mqtt, packet

MESSAGES, BATCH = 60_000, 2_000
BODY = '{"specversion":"1.0","id":"0","source":"urn:populace:iot","type":"populace.iot.reading","data":{"reading_id":1,"value":2.5}}'
PINGREQ, PINGRESP = b"\xc0\x00", b"\xd0\x00"


def line_protocol() -> str:
    """Single-field lines a CPU-second, the best of five."""
    plan = make_plan(Spec("iot", size=40, end="2025-03-05", seed=3))
    tables = {k: v for k, v in generate(plan).frames.items() if k != "label"}
    best = 0.0
    for _ in range(5):
        began = time.process_time()
        made = plan.domain.views["influx"].render(tables, {})["reading"].height
        best = max(best, made / (time.process_time() - began))
    return f"line protocol: {best:,.0f} lines a CPU-second (asked 4,000,000)"


def mqtt() -> str:
    """Messages a second of the wall clock, until the broker has answered a ping that came after them; raw: the same packets on a bare socket."""
    url = os.environ.get("POPULACE_TEST_MQTT")
    if not url:
        return "MQTT: skipped, POPULACE_TEST_MQTT names no broker"
    whole = pl.DataFrame(
        {
            "topic": [f"populace/iot/reading/{k % 40}" for k in range(MESSAGES)],
            "body": [BODY] * MESSAGES,
            "headers": ["{}"] * MESSAGES,
        }
    )
    batches = [whole.slice(k, BATCH) for k in range(0, MESSAGES, BATCH)]
    ratios, rates = [], []
    for _ in range(5):
        bare, ours = _raw(url, batches), _outlet(url, batches)
        ratios.append(ours / bare)
        rates.append((ours, bare))
    best = sorted(rates)[len(rates) // 2]
    return f"MQTT QoS 0: {best[0]:,.0f} messages/s, raw batched frames {best[1]:,.0f}, ratio {sorted(ratios)[2]:.2f}, median of five (asked 0.80)"


def _raw(url: str, batches: list[pl.DataFrame]) -> float:
    address = parse_address(url)
    hello = b"\x00\x04MQTT\x05\x02\x00\x00\x00\x00\x04bare"
    with socket.create_connection((address.host, address.port or 1883)) as wire:
        wire.sendall(b"\x10" + bytes([len(hello)]) + hello)
        wire.recv(1_000)
        pieces = [b"".join(packet(*row) for row in batch.select("topic", "body").iter_rows()) for batch in batches]
        began = time.perf_counter()
        for piece in pieces:
            wire.sendall(piece)
        _pinged(wire)
        return MESSAGES / (time.perf_counter() - began)


def _outlet(url: str, batches: list[pl.DataFrame]) -> float:
    outlet = open_outlet(f"{url}?qos=0")
    assert isinstance(outlet, Mqtt)
    outlet.open()
    began = time.perf_counter()
    for batch in batches:
        assert outlet.send(batch).all()
    assert outlet.client is not None
    wire = outlet.client.socket()
    assert wire is not None
    wire.setblocking(True)
    _pinged(wire)
    took = time.perf_counter() - began
    outlet.close()
    return MESSAGES / took


def _pinged(wire: socket.socket) -> None:
    wire.sendall(PINGREQ)
    answer = b""
    while PINGRESP not in answer:
        answer += wire.recv(1_000)


_GUTENTAG = """
import logging, time, numpy as np
logging.disable(logging.CRITICAL)
from gutenTAG import GutenTAG
made = {"timeseries": [{"name": "a", "length": 200000, "base-oscillations": [{"kind": "sine", "frequency": 2.0, "amplitude": 1.0, "variance": 0.05}],
        "anomalies": [{"position": "middle", "length": 500, "kinds": [{"kind": "mean", "offset": 0.5}]}]}]}
tag = GutenTAG(seed=1)
tag.load_config_dict(made)
began = time.process_time()
tag.generate()
print(200000 / (time.process_time() - began))
"""


_MOCKSERIES = """
import datetime as dt, time
from mockseries.noise import RedNoise
from mockseries.seasonality import SinusoidalSeasonality
from mockseries.trend import LinearTrend
from mockseries.utils import datetime_range
day, start, count = dt.timedelta(days=1), dt.datetime(2025, 3, 3), 200000
made = LinearTrend(coefficient=0.001, time_unit=day, flat_base=20) + SinusoidalSeasonality(amplitude=2, period=day)
made = made + RedNoise(mean=0, std=0.1, correlation=0.9, random_seed=1)
at = datetime_range(granularity=dt.timedelta(seconds=10), start_time=start, end_time=start + dt.timedelta(seconds=10 * count))
began = time.process_time()
made.generate(at)
print(count / (time.process_time() - began))
"""
PEERS = {
    "GutenTAG (one sine with one anomaly)": ("POPULACE_BENCH_GUTENTAG", _GUTENTAG),
    "mockseries (trend, season and red noise)": ("POPULACE_BENCH_MOCKSERIES", _MOCKSERIES),
}


def peers() -> str:
    """Points a CPU-second of those that are at hand, one series each, beside a whole fleet's, which is labelled and checked."""
    plan = make_plan(Spec("iot", size=40, end="2025-03-10", seed=3))
    began = time.process_time()
    made = generate(plan).frames["reading"].height
    told = [f"a whole fleet, checked: {made / (time.process_time() - began):,.0f} readings a CPU-second"]
    for name, (variable, script) in PEERS.items():
        python = os.environ.get(variable)
        if not python:
            told.append(f"{name}: skipped, {variable} names no interpreter that has it")
            continue
        done = subprocess.run([python, "-c", script], capture_output=True, text=True)
        if done.returncode:
            told.append(f"{name}: skipped, {done.stderr.strip().splitlines()[-1]}")
        else:
            told.append(f"{name}: {float(done.stdout.split()[-1]):,.0f} points a CPU-second")
    return "\n".join(told)


if __name__ == "__main__":
    for work in (line_protocol, mqtt, peers):
        print(work(), flush=True)
    sys.exit()
