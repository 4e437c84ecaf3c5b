"""Profiles are files: what a file says, a fleet of it has; what is wrong in a file is named."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from populace.core.checks import check_tables
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
    profile = PROFILES[name]
    # what is at home nowhere samples too fast for a fleet
    slower = 1.0 if profile.sites else 60_000.0
    settings = {"device.profiles": name, "profile.interval": slower}
    data = generate(make_plan(Spec("iot", size=10, end="2025-03-05", seed=3, settings=settings)))
    assert data.validate().is_empty()
    channel = data.frames["channel"]
    first = channel.filter(device_id=0).sort("channel_id")
    assert first["signal"].to_list() == [c.signal for c in profile.channels]
    assert first["unit_code"].to_list() == [c.unit for c in profile.channels]
    assert (first["interval_us"] == profile.interval_s * slower * 1e6).all()
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
        (
            'link = "radio"',
            'link = "radoi"',
            r"water-meter\.toml, line 4, link: unknown link 'radoi'. Did you mean 'radio'",
        ),
        (
            "interval_s = 3600",
            "interval_s = -1",
            "line 5, interval_s: interval_s is -1, expected a number from 0.001 to 86400",
        ),
        ("interval_s = 3600", 'interval_s = "1h"', "interval_s is '1h', expected a number"),
        ('title = "Water meter"\n', "", "'title' is missing"),
        ('source = "a data sheet"\n[power]', 'source = ""\n[power]', "source is '', expected a text"),
        ("shape = 4.5", "shpae = 4.5", r"line 7, \[power\] shape: 'shape' is missing; is 'shpae' meant for it"),
        ("shape = 4.5\n", "shape = 4.5\ncolour = 1\n", r"line 11, \[power\] colour: unknown entry 'colour'"),
        ('term = "level"', 'term = "levle"', "line 23, flow model: unknown term 'levle'. Did you mean 'level'"),
        (
            "value = 10.0",
            "valeu = 10.0",
            "flow model: unknown setting of the term 'level' 'valeu'. Did you mean 'value'",
        ),
        ("gain = 30.0", "gain = 30.0, peak = 3", "unknown setting of the term 'occupancy' 'peak'"),
        ('of = "flow"', 'of = "flwo"', "line 34, volume model: unknown channel before it 'flwo'. Did you mean 'flow'"),
        ("high = 5000.0", "high = -1.0", "the range 0.0 to -1.0 is empty"),
        ("resolution = 0.1", "resolution = 0.3", "one over it must be a whole number"),
        ('signal = "volume"', 'signal = "flow"', "expected 1 to 8 of different signals"),
        ('signal = "volume"', 'signal = "Volume"', "signal is 'Volume', expected lower-case words"),
        ('kind = "counter"', 'kind = "countre"', "unknown kind 'countre'. Did you mean 'counter'"),
        ('sites = ["home"]', 'sites = ["hoem"]', "line 3, sites: unknown one of sites 'hoem'. Did you mean 'home'"),
        ("value = 10.0", 'value = "10"', "line 23, flow model, value: is '10', expected a number"),
        ("[power]", "[power", "water-meter.toml: .*line 7"),
    ],
)
def test_a_mistake_in_a_file_is_named(old: str, new: str, message: str):
    assert old in GOOD
    with pytest.raises(UserError, match=message):
        read_profile("water-meter", GOOD.replace(old, new, 1))


def test_a_name_is_lower_case_words():
    with pytest.raises(UserError, match=r"Water_Meter\.toml: a profile's name is lower-case words"):
        read_profile("Water_Meter", GOOD)


BALANCED = (
    GOOD
    + """
[[balance]]
relation = "integral"
of = "flow"
equals = "volume"
factor = 2.7e-7
"""
)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (
            'relation = "integral"',
            'relation = "integrla"',
            "line 38, .*unknown relation 'integrla'. Did you mean 'integral'",
        ),
        ('of = "flow"\nequals', 'of = "flwo"\nequals', "line 39, .*unknown of 'flwo'. Did you mean 'flow'"),
        ("factor = 2.7e-7", "", "'factor' is missing"),
    ],
)
def test_a_mistake_in_a_balance_is_named(old: str, new: str, message: str):
    with pytest.raises(UserError, match=message):
        read_profile("water-meter", BALANCED.replace(old, new, 1))


def test_a_fleet_of_ones_own_profile_by_one_file(tmp_path: Path):
    """A plan, a spec file, workers and the command line take the folder; the checks know the profile."""
    (tmp_path / "water-meter.toml").write_text(BALANCED)
    inputs = {"profiles": str(tmp_path)}
    spec = Spec("iot", size=10, end="2025-03-05", settings={"device.profiles": "water-meter"}, inputs=inputs)
    plan = make_plan(spec)
    data = generate(plan)
    assert set(data.frames["device"]["profile"]) == {"water-meter"}
    assert data.validate().is_empty()
    things = data.plan.domain.views["wot"].render({k: v for k, v in data.frames.items() if k != "label"}, {})["thing"]
    assert '"title":"Volume flow"' in things["text"][0]
    raised = data.frames["reading"].with_columns(
        pl.col("value") + pl.col("channel_id") % 2 * 0.5 * (pl.col("reading_id") % 7)
    )
    named = check_tables(plan.domain, {**data.frames, "reading": raised}, set(data.frames))
    assert "balances" in set(named["check"]), "and they find what breaks its balance"
    with pytest.raises(UserError, match=r"device\.profiles: unknown profile 'water-meter'"):
        generate(make_plan(Spec("iot", size=10, settings={"device.profiles": "water-meter"})))


def test_a_folder_without_a_profile_is_an_error(tmp_path: Path):
    with pytest.raises(UserError, match="holds no profile"):
        make_plan(Spec("iot", inputs={"profiles": str(tmp_path)}))
