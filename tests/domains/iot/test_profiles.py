"""Profiles are files: what a file says, a fleet of it has; what is wrong in a file is named."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from populace.core.dataset import generate
from populace.core.errors import UserError
from populace.core.plan import make_plan
from populace.core.spec import Spec
from populace.domains.iot.population import PROFILES
from populace.domains.iot.profiles import load_profiles, read_profile

GOOD = """
title = "Water meter"
sites = ["home"]
link = "radio"
interval_s = 3600
source = "a data sheet"
[power]
supply = "battery"
hours = 87660.0
shape = 4.5
source = "a data sheet"
[reliability]
hours = 1000000.0
shape = 1.0
source = "a data sheet"
[[channels]]
signal = "flow"
title = "Volume flow"
unit = "l/h"
low = 0.0
high = 5000.0
resolution = 0.1
model = [{ term = "level", value = 10.0 }, { term = "occupancy", gain = 30.0 }]
source = "a survey"
[[channels]]
signal = "volume"
title = "Volume, counter"
unit = "m3"
kind = "counter"
low = 0.0
high = 99999.999
resolution = 0.001
rollover = 100000.0
model = [{ term = "integral", of = "flow", gain = 2.7e-7 }, { term = "roll", over = 100000.0 }]
source = "a survey"
"""


def test_there_are_enough_of_them():
    assert len(PROFILES) >= 15
    assert len({site for p in PROFILES.values() for site in p.sites}) >= 5
    assert {p.power.supply for p in PROFILES.values()} == {"mains", "battery", "rechargeable"}


@pytest.mark.parametrize("name", PROFILES)
def test_each_makes_a_valid_fleet(name: str):
    data = generate(make_plan(Spec("iot", size=10, end="2025-03-05", seed=3, settings={"device.profiles": name})))
    assert data.validate().is_empty()
    profile = PROFILES[name]
    channel = data.frames["channel"]
    first = channel.filter(device_id=0).sort("channel_id")
    assert first["signal"].to_list() == [c.signal for c in profile.channels]
    assert first["unit_code"].to_list() == [c.unit for c in profile.channels]
    assert (first["interval_us"] == profile.interval_s * 1e6).all()
    moving = (
        data.frames["reading"].group_by("channel_id").agg(pl.col("value").n_unique()).join(channel, on="channel_id")
    )
    gauges = moving.filter(pl.col("kind").is_in(["gauge", "counter", "position"]))
    assert gauges.is_empty() or (gauges["value"] > 3).all(), "every quantity moves"


def test_a_file_in_a_folder_is_a_profile_more(tmp_path: Path):
    (tmp_path / "water-meter.toml").write_text(GOOD)
    known = load_profiles(tmp_path)
    assert set(known) == {*PROFILES, "water-meter"}
    assert known["water-meter"].channel("volume").rollover == 100_000.0
    (tmp_path / "motor.toml").write_text(GOOD)
    assert load_profiles(tmp_path)["motor"].title == "Water meter", "the later file is the one that counts"


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('link = "radio"', 'link = "radoi"', r"profile water-meter: unknown link 'radoi'. Did you mean 'radio'"),
        ("interval_s = 3600", "interval_s = -1", "interval_s is -1, expected a number from 0.001 to 86400"),
        ("interval_s = 3600", 'interval_s = "1h"', "interval_s is '1h', expected a number"),
        ('title = "Water meter"\n', "", "'title' is missing"),
        ('source = "a data sheet"\n[power]', 'source = ""\n[power]', "source is '', expected a str"),
        ("shape = 4.5", "shpae = 4.5", r"\[power\]: shape is None"),
        ("shape = 4.5\n", "shape = 4.5\ncolour = 1\n", r"\[power\]: unknown entry 'colour'"),
        ('term = "level"', 'term = "levle"', "flow: unknown term 'levle'. Did you mean 'level'"),
        ("value = 10.0", "valeu = 10.0", "flow: the term 'level' needs value"),
        ("gain = 30.0", "gain = 30.0, peak = 3", "unknown setting of the term 'occupancy' 'peak'"),
        ('of = "flow"', 'of = "flwo"', "volume: unknown channel before it 'flwo'. Did you mean 'flow'"),
        ("high = 5000.0", "high = -1.0", "the range 0.0 to -1.0 is empty"),
        ("resolution = 0.1", "resolution = 0.3", "one over it must be a whole number"),
        ('signal = "volume"', 'signal = "flow"', "expected 1 to 8 of different signals"),
        ('signal = "volume"', 'signal = "Volume"', "signal is 'Volume', expected lower-case words"),
        ('kind = "counter"', 'kind = "countre"', "unknown kind 'countre'. Did you mean 'counter'"),
        ("[power]", "[power", "profile water-meter: .*line 7"),
    ],
)
def test_a_mistake_in_a_file_is_named(old: str, new: str, message: str):
    assert old in GOOD
    with pytest.raises(UserError, match=message):
        read_profile("water-meter", GOOD.replace(old, new, 1))


def test_a_name_is_lower_case_words():
    with pytest.raises(UserError, match="profile Water_Meter: a profile's name is lower-case words"):
        read_profile("Water_Meter", GOOD)
