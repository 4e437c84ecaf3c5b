"""Clocks and calendars of sites: people keep them, the sun does not."""

from __future__ import annotations

import datetime as dt
from zoneinfo import ZoneInfo

import holidays
import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from populace.core.domain import Window
from populace.core.errors import UserError
from populace.core.plan import make_plan
from populace.core.spec import Spec
from populace.domains.iot import DOMAIN
from populace.domains.iot.civil import DAY, HOUR, civil, weekday
from populace.domains.iot.climate import climate
from populace.domains.iot.lives import Duty
from populace.domains.iot.population import sites
from populace.domains.iot.profiles import Duty as DutyHours

EPOCH = dt.datetime(1970, 1, 1)
YEAR = Window(19_723 * DAY, 20_089 * DAY)  # 2024
ZONES = (
    "Europe/Berlin",
    "America/New_York",
    "Australia/Lord_Howe",
    "Asia/Kolkata",
    "Africa/Casablanca",
    "Pacific/Apia",
)


@given(st.sampled_from(ZONES), st.integers(YEAR.start, YEAR.end - 1))
def test_clocks_say_what_the_standard_library_says(zone: str, at: int):
    there = civil(zone, "DE", YEAR)
    known = dt.datetime.fromtimestamp(at / 1e6, ZoneInfo(zone)).utcoffset()
    assert known is not None
    local = int(there.local(np.array([at]))[0])
    assert local - at == known.total_seconds() * 1e6
    back = int(there.instant(np.array([local]))[0])
    # an hour that clocks go through twice has two instants
    assert int(there.local(np.array([back]))[0]) == local


@given(st.sampled_from(("DE", "US", "JP", "BR")), st.integers(0, 365))
def test_people_work_on_weekdays_that_are_no_holidays(country: str, n: int):
    day = YEAR.start // DAY + n
    date = (EPOCH + dt.timedelta(days=day)).date()
    works = civil("Europe/Berlin", country, YEAR).works(np.array([day]))[0]
    assert works == (date.weekday() < 5 and date not in holidays.country_holidays(country, years=2024))
    assert weekday(np.array([day]))[0] == date.weekday()


@given(
    st.sampled_from(("all", "weekdays")),
    st.integers(0, 23),
    st.integers(1, 24),
    st.sampled_from(ZONES),
    st.integers(80, 100),
    st.integers(0, 24 * 60 - 1),
)
def test_a_device_is_awake_by_the_clocks_of_its_site(
    days: str, start: int, length: int, zone: str, day: int, minute: int
):
    end = min(start + length, 24)
    plan = make_plan(
        Spec("iot", size=10, start="2024-03-01", end="2024-05-01", settings={"site.time_zone": zone}), DOMAIN
    )
    block = plan.block(0)
    shared = climate(block, sites(block, {})["site"].row(0, named=True))
    duty = Duty(DutyHours(start, end, days, ""), shared)
    now = YEAR.start + day * DAY + minute * HOUR // 60
    local = dt.datetime.fromtimestamp(now / 1e6, ZoneInfo(zone))
    works = days == "all" or (local.weekday() < 5 and local.date() not in holidays.country_holidays("DE", years=2024))
    clocks_are_set = {(local + dt.timedelta(hours=h)).utcoffset() for h in range(-26, 27)} != {local.utcoffset()}
    awake, changes = duty.at(now)
    if not clocks_are_set:
        assert awake == (works and start <= local.hour < end)
    assert changes > now
    assert duty.at(changes - 1)[0] == awake
    assert duty.at(changes)[0] != awake


def test_offices_open_an_hour_earlier_by_utc_in_summer_and_not_on_holidays():
    plan = make_plan(
        Spec("iot", size=10, start="2024-03-01", end="2024-06-01", settings={"occupancy.day_sigma": 0.0}), DOMAIN
    )
    block = plan.block(0)
    site = {
        "site_id": 0,
        "kind": "office",
        "country": "DE",
        "time_zone": "Europe/Berlin",
        "latitude": 50.0,
        "longitude": 10.0,
    }
    shared = climate(block, site)
    at = pl.Series(shared.hours.astype(np.int64)).cast(pl.Datetime("us", "UTC"))
    people = pl.DataFrame({"at": at, "people": shared.drivers["occupancy"]}).with_columns(
        hour=pl.col("at").dt.hour(), date=pl.col("at").dt.date()
    )
    winter, summer = (
        people.filter(pl.col("date") == day)["people"].to_numpy()[:24]
        for day in (dt.date(2024, 3, 12), dt.date(2024, 4, 16))
    )
    assert winter.max() > 0.5
    np.testing.assert_array_equal(np.roll(winter, -1)[:22], summer[:22])
    easter_monday, sunday = (
        people.filter(pl.col("date") == day)["people"].max() for day in (dt.date(2024, 4, 1), dt.date(2024, 4, 14))
    )
    assert easter_monday == sunday < 0.1


@pytest.mark.parametrize(
    ("setting", "value", "near"),
    [("site.time_zone", "Europe/Berlim", "Europe/Berlin"), ("site.country", "DEU", "DE")],
)
def test_a_place_that_there_is_not_is_refused_before_any_work(setting: str, value: str, near: str):
    with pytest.raises(UserError, match=f"{value}.*{near}"):
        make_plan(Spec("iot", size=10, settings={setting: value}), DOMAIN)
