"""A room in the data is like a real one: UCI Occupancy Detection, an office by the minute."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from populace.core.dataset import generate
from populace.core.evaluate.realism import Beside, Published, load_published, set_beside
from populace.core.plan import make_plan
from populace.core.spec import Spec
from populace.domains.iot import DOMAIN

from .conftest import OFFICES

ROOMS = {"site.kind": OFFICES, "device.profiles": "room-climate"}
ROOM = {"air-temperature": "temperature", "relative-humidity": "humidity", "carbon-dioxide": "co2"}


@pytest.fixture(scope="module")
def rooms() -> dict[str, list[pl.DataFrame]]:
    """The week's readings of each room, by signal, with the hour of the working week."""
    frames = generate(make_plan(Spec("iot", size=60, end="2025-03-08", seed=2, settings=ROOMS))).frames
    channel = frames["channel"].filter(pl.col("signal").cast(pl.String).is_in(list(ROOM)))
    local = (pl.col("observed_at") + pl.duration(hours=1)).dt
    reading = frames["reading"].join(channel.select("channel_id", "signal"), on="channel_id")
    reading = reading.with_columns(hour=local.hour(), day=local.weekday()).sort("reading_id")
    return {
        signal: [t for _, t in reading.filter(pl.col("signal").cast(pl.String) == signal).group_by("channel_id")]
        for signal in ROOM
    }


@pytest.fixture(scope="module")
def real(real_data: Path) -> pl.DataFrame:
    """The second stretch of days, from 14:49 on: the priors are fitted on the first."""
    path = real_data / "tabular" / "occupancy" / "train_b.csv.gz"
    if not path.exists():
        pytest.skip("no UCI Occupancy Detection among the real data")
    minute = pl.int_range(pl.len()) + 14 * 60 + 49
    return pl.read_csv(path).with_columns(hour=minute % 1440 // 60, day=minute // 1440)


@pytest.mark.parametrize("signal", ROOM)
def test_a_minute_changes_as_much_as_in_the_real_office(
    rooms: dict[str, list[pl.DataFrame]], real: pl.DataFrame, signal: str
):
    """The standard deviation of one-minute differences is the real one within a factor of three: that of the office's two stretches
    of days differs by up to 2.4."""
    known = float(np.diff(real[ROOM[signal]].to_numpy()).std())
    made = float(np.mean([np.diff(t["value"].to_numpy()).std() for t in rooms[signal]]))
    assert known / 3 < made < known * 3


@pytest.mark.parametrize("signal", ["air-temperature", "carbon-dioxide"])
def test_people_raise_it_as_in_the_real_office(rooms: dict[str, list[pl.DataFrame]], real: pl.DataFrame, signal: str):
    """Working hours less the night: the real office is none of the five in a hundred rooms at either end, nor are all rooms alike."""
    worked = real.filter(pl.col("occupancy").sum().over("day") > 400)
    busy, empty = pl.col("hour").is_in([9, 10, 14, 15]), pl.col("hour") < 5

    def rise(table: pl.DataFrame, column: str) -> float:
        return float(table.filter(busy)[column].mean() - table.filter(empty)[column].mean())  # type: ignore[operator]

    known = rise(worked, ROOM[signal])
    made = [rise(room.filter(pl.col("day") < 6), "value") for room in rooms[signal]]
    centre, spread = np.median(made), np.std(np.log(np.maximum(made, 1e-3)))
    width = max(spread, 0.3)
    assert abs(np.log(known / centre)) < 1.645 * width


ROOM_MEASURES = ("minute_step", "hour_correlation", "working_rise")


@pytest.fixture(scope="module")
def beside() -> dict[str, Beside]:
    """Rooms by the minute for a week, and a large fleet that hardly samples for what its events tell."""
    room = generate(make_plan(Spec("iot", size=60, end="2025-03-10", seed=2, settings=ROOMS))).frames
    few = {"profile.interval": 2_000.0, "profile.life": 0.05, "device.profiles": "energy-meter,pump-vibration"}
    fleet = generate(make_plan(Spec("iot", size=3_000, end="2025-03-17", seed=3, settings=few))).frames
    found = {b.published.name: b for b in set_beside(DOMAIN, fleet)[0]}
    return found | {b.published.name: b for b in set_beside(DOMAIN, room)[0] if b.published.measure in ROOM_MEASURES}


@pytest.mark.parametrize("figure", load_published(DOMAIN), ids=lambda f: f.name)
def test_a_published_figure_is_met(beside: dict[str, Beside], figure: Published):
    found = beside[figure.name]
    met = abs(found.value - figure.value) < 4 * found.error + figure.admits
    assert met, f"{found.value:.4g} ± {found.error:.2g}: {figure.source}"
