"""A room in the data is like a real one: UCI Occupancy Detection, an office by the minute."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from populace.core.dataset import generate
from populace.core.plan import make_plan
from populace.core.spec import Spec

ROOM = {"air-temperature": "temperature", "relative-humidity": "humidity", "carbon-dioxide": "co2"}


@pytest.fixture(scope="module")
def rooms() -> dict[str, list[pl.DataFrame]]:
    """The week's readings of each room, by signal, with the hour of the working week."""
    frames = generate(make_plan(Spec("iot", size=20, end="2025-03-08", seed=2))).frames
    channel = frames["channel"].filter(pl.col("signal").cast(pl.String).is_in(list(ROOM)))
    local = (pl.col("observed_at") + pl.duration(hours=1)).dt
    reading = frames["reading"].join(channel.select("channel_id", "signal"), on="channel_id")
    reading = reading.with_columns(hour=local.hour(), day=local.weekday()).sort("reading_id")
    return {
        signal: [t for _, t in reading.filter(pl.col("signal").cast(pl.String) == signal).group_by("channel_id")]
        for signal in ROOM
    }


@pytest.fixture(scope="module")
def real(real_data: Path) -> list[pl.DataFrame]:
    files = sorted((real_data / "tabular" / "occupancy").glob("*.csv.gz"))
    if not files:
        pytest.skip("no UCI Occupancy Detection among the real data")
    return [pl.read_csv(f) for f in files]


@pytest.mark.parametrize("signal", ROOM)
def test_a_minute_changes_as_much_as_in_the_real_office(
    rooms: dict[str, list[pl.DataFrame]], real: list[pl.DataFrame], signal: str
):
    """The standard deviation of one-minute differences lies within the real stretches', or a factor of two of them."""
    known = [float(np.diff(t[ROOM[signal]].to_numpy()).std()) for t in real]
    made = float(np.mean([np.diff(t["value"].to_numpy()).std() for t in rooms[signal]]))
    assert min(known) / 2 < made < max(known) * 2


@pytest.mark.parametrize("signal", ["air-temperature", "carbon-dioxide"])
def test_people_raise_it_as_in_the_real_office(
    rooms: dict[str, list[pl.DataFrame]], real: list[pl.DataFrame], signal: str
):
    """Occupied less empty: between the two real stretches, or within a third of the nearer."""
    known = [
        float(t.filter(occupancy=1)[ROOM[signal]].mean() - t.filter(occupancy=0)[ROOM[signal]].mean())  # type: ignore[operator]
        for t in real
    ]
    made = []
    for room in rooms[signal]:
        busy = room.filter(pl.col("hour").is_in([9, 10, 14, 15]) & (pl.col("day") < 6))["value"]
        empty = room.filter(pl.col("hour") < 5)["value"]
        made.append(float(busy.mean() - empty.mean()))  # type: ignore[operator]
    assert min(known) * 2 / 3 < np.mean(made) < max(known) * 4 / 3
