"""What the fleets of iot cost: synthesis, whole runs, the event simulation, and larger fleets.

python -m benchmarks iot            # the lines below, among those of `make bench`
python -m benchmarks.iot            # memory and speed by size of the fleet, each in a process of its own

Peers: TSBS, GutenTAG and the others that issue 5 names are not run here: TSBS needs Go modules, the others are not among what this project installs.
"""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import time
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from populace.core.build import build, play
from populace.core.cast import candidates, settle
from populace.core.dataset import generate
from populace.core.models import fit
from populace.core.plan import Plan, make_plan
from populace.core.run import run
from populace.core.scenario import ScenarioRequest
from populace.core.sinks import open_target
from populace.core.sinks.parquet import write_parquet
from populace.core.spec import Spec
from populace.core.stream import Stream
from populace.core.tables import merge
from populace.domains.iot.readings import FAN

DATA = Path(os.environ.get("POPULACE_DATA") or Path(__file__).parents[2] / "shared" / "data")
"""Real series, as the tests find them; the lines that need them are left out where there are none."""
MACHINES = {"device.profiles": "pump-vibration,motor,energy-meter,conveyor", "profile.interval": 0.2}
"""Sampled every two seconds, by all channels: four million readings a site and day."""
BUSY = {
    "watchdog.hours": 2.0,
    "profile.life": 0.002,
    "repair.response_hours": 0.5,
    "spares.stock": 100,
    "gateway.days_between_outages": 1.0,
    "power.days_between_cuts": 2.0,
}
"""Devices that fail and restart all the time, and crews that never rest."""
FAULTS = ("sensor-bias", "sensor-drift", "stuck-at", "sensor-spikes", "sensor-dropout", "gateway-outage")
MINUTELY = {"device.profiles": "room-climate,air-handler,boiler,battery-pack,solar-inverter,presence-sensor"}


@lru_cache(maxsize=4)
def machines(size: int, faults: bool) -> Plan:
    scenarios = tuple(ScenarioRequest(name, {"count": max(1, size // 40)}) for name in FAULTS if faults)
    return make_plan(Spec("iot", size=size, end="2025-03-04", settings=MACHINES, scenarios=scenarios))


def readings(folder: Path, size: int = 40) -> float:
    """A whole run to Parquet: simulate, draw, play six kinds of fault, derive, label, check, digest, write, publish."""
    plan = machines(size, True)
    made = run(plan, [open_target(str(folder / "out"), plan.domain)], quiet=True)
    return made.manifest["populace"]["tables"]["reading"]["rows"]


def synthesis(folder: Path) -> float:
    """The same without checks, digests and files: what is drawn, faults played and logged, and what follows from them derived."""
    plan, made = machines(40, True), 0
    cast = settle(plan, (candidates(plan, i) for i in range(plan.blocks)))
    for index in range(plan.blocks):
        block, facts = plan.block(index), {}
        for step in plan.domain.steps:
            facts = merge(facts, step.run(block, facts))
        facts, _ = play(plan, block, facts, cast)
        for step in plan.domain.derive:
            facts = merge(facts, step.run(block, facts))
        made += facts["reading"].height
    return made


@lru_cache(maxsize=1)
def _made() -> pl.DataFrame:
    return generate(machines(10, False)).frames["reading"]


def only_written(folder: Path) -> float:
    """The higher wall: readings that are there already, written as a run writes them."""
    write_parquet(_made(), folder / "reading.parquet")
    return _made().height


def tuned(folder: Path) -> float:
    """The wall that issue 5 sets: the same readings by pyarrow, with DELTA_BINARY_PACKED for times and sequences and BYTE_STREAM_SPLIT for
    values, and its defaults for all else: snappy, statistics, a dictionary for the rest."""
    import pyarrow.parquet

    table = _made().to_arrow(compat_level=pl.CompatLevel.oldest())
    pyarrow.parquet.write_table(
        table,
        folder / "reading.parquet",
        use_dictionary=["quality"],
        column_encoding={
            **dict.fromkeys(("reading_id", "channel_id", "observed_at", "received_at"), "DELTA_BINARY_PACKED"),
            "value": "BYTE_STREAM_SPLIT",
        },
    )
    return _made().height


def event_per_point(folder: Path) -> float:
    """The peer: a thousand devices, each point an event of SimPy's, which draws its value; the same six columns, written in the same way."""
    import simpy

    rng, made, env = np.random.default_rng(1), [], simpy.Environment()

    def device(number: int) -> Any:
        level, n = 0.0, 0
        while True:
            level = 0.99 * level + rng.standard_normal()
            at = round(env.now * 1_000_000)
            received = at + round(20_000 * rng.standard_exponential())
            made.append((number * FAN + n, number, at, received, round(level, 1), "good"))
            n += 1
            yield env.timeout(1)

    for number in range(1_000):
        env.process(device(number))
    env.run(until=100)
    table = pl.DataFrame(made, schema=dict(_made().schema), orient="row")
    write_parquet(table.sort("reading_id"), folder / "x.parquet")
    return len(made)


def transitions(folder: Path) -> float:
    """States of devices and outages of gateways, of sites where much happens: shared crews, spare parts, mains, batteries, duty."""
    plan, made = make_plan(Spec("iot", size=200, settings=BUSY)), 0
    steps = {step.name: step for step in plan.domain.steps}
    for index in range(plan.blocks):
        block, facts = plan.block(index), {}
        for name in ("sites", "devices", "gateways", "events"):
            facts = merge(facts, steps[name].run(block, facts))
        made += facts["device_event"].height + facts["gateway_event"].height
    return made


def million(folder: Path) -> float:
    """Plans of a day by the minute for a million devices."""
    for _ in range(3):
        plan = make_plan(Spec("iot", size=1_000_000, end="2025-03-04", settings=MINUTELY))
        assert plan.fingerprint
        assert plan.blocks > 1_000
    return 3


@lru_cache(maxsize=2)
def _fitted(name: str) -> Any:
    """A series model of a real series: NAB's machine temperature, or the longest run of C-MAPSS FD001."""
    if name == "nab":
        table = pl.read_csv(DATA / "iot/nab/machine_temperature_system_failure.csv", try_parse_dates=True)
        return fit(table, "series", 0, times=("timestamp",)).sampler
    table = pl.read_csv(DATA / "tabular/cmapss_fd001/train.csv.gz")
    unit, cycle = table.columns[:2]
    longest = table.filter(pl.col(unit) == table[unit].mode()[0])
    moving = [c for c in longest.columns[2:] if longest[c].n_unique() > 20]
    return fit(longest.select(cycle, *moving), "series", 0, times=(cycle,)).sampler


def learned(name: str, folder: Path) -> float:
    """Values of all columns of a fitted series, drawn in stretches as a device's channels are."""
    model, made = _fitted(name), 0
    for start in range(0, 1 << 18, 1 << 14):
        at = np.arange(start, start + (1 << 14))
        drawn = model.draw(at, at * 300e6, Stream.root(1))
        made += sum(map(len, drawn.values()))
    return made


LINES = [
    ("iot synthesis with faults and labels", "points/s", synthesis, None, "20,000,000 points/s"),
    ("iot readings to Parquet", "rows/s", readings, "tuned Parquet", "8,000,000 rows/s, 0.45 ×"),
    ("iot readings to Parquet, again", "rows/s", readings, "our own writer", "—"),
    ("iot readings to Parquet, once more", "rows/s", readings, "one SimPy event a point", "30 ×"),
    ("iot event simulation", "transitions/s", transitions, None, "150,000 transitions/s"),
    ("iot plan of a million devices", "plans/s", million, None, "1 plan/s"),
]
if DATA.is_dir():
    LINES += [
        ("iot signal fitted on NAB's machine temperature", "points/s", lambda f: learned("nab", f), None, "—"),
        ("iot signals fitted on a run of C-MAPSS", "points/s", lambda f: learned("cmapss", f), None, "—"),
    ]
WALLS = {
    "tuned Parquet": tuned,
    "our own writer": only_written,
    "one SimPy event a point": event_per_point,
}


def _slice(size: int) -> None:
    """A block in the middle of a fleet, after a first one that warms up: readings per CPU-second, and the memory that it took."""
    plan = make_plan(Spec("iot", size=size, end="2025-03-04", settings=MINUTELY))
    cast = settle(plan, ())
    build(plan, 0, cast)
    began, made = time.process_time(), 0
    for index in sorted({plan.blocks // 3, plan.blocks // 2, 2 * plan.blocks // 3}):
        made += build(plan, index, cast).tables["reading"].height
    rate = made / (time.process_time() - began)
    print(f"| {size:,} devices, a day by the minute | {rate:,.0f} readings/s built | {_peak():,.0f} MiB |")


def _whole(size: int) -> None:
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        made = readings(Path(folder), size)
    blocks, cut = machines(size, True).blocks, max(1, size // 40)
    what = f"{made:,.0f} readings of machines, to Parquet ({blocks} blocks, {cut} with a gateway cut off)"
    print(f"| {what} | | {_peak():,.0f} MiB |")


def _peak() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


if __name__ == "__main__":
    os.environ.update(POLARS_MAX_THREADS="1", OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1")
    if sys.argv[1:]:
        _whole(int(sys.argv[2])) if sys.argv[1] == "whole" else _slice(int(sys.argv[1]))
    else:
        print("| work | rate on one core | peak memory |\n|---|---:|---:|", flush=True)
        for arguments in (("whole", "40"), ("whole", "80"), ("10000",), ("100000",), ("1000000",)):
            subprocess.run([sys.executable, "-m", "benchmarks.iot", *arguments], check=True)
