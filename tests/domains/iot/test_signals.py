"""The terms of which profiles compose signals have the statistics that they state."""

from __future__ import annotations

from dataclasses import replace

import holidays
import hypothesis.strategies as st
import numpy as np
import polars as pl
import pytest
from hypothesis import given
from numpy.typing import NDArray

from populace.core.plan import make_plan
from populace.core.spec import Spec
from populace.core.stream import Stream
from populace.domains.iot import DOMAIN, signals
from populace.domains.iot.civil import HOUR
from populace.domains.iot.climate import Climate, climate, of_zone
from populace.domains.iot.gauges import Gauges
from populace.domains.iot.noise import autoregression, normals, recur
from populace.domains.iot.profiles import Channel
from populace.domains.iot.signals import _series, quantise, stretches
from populace.domains.iot.terms import Setting

MINUTE = 60_000_000
SITE = {
    "site_id": 0,
    "kind": "office",
    "country": "DE",
    "time_zone": "Europe/Berlin",
    "latitude": 50.0,
    "longitude": 10.0,
}


def year(days: int = 366) -> Climate:
    plan = make_plan(
        Spec("iot", size=10, start="2024-01-01", end=f"{2024 + days // 366}-01-{1 + days % 366:02}"), DOMAIN
    )
    return climate(plan.block(0), SITE)


@pytest.fixture(scope="module")
def shared() -> Climate:
    return year()


def made(
    shared: Climate, *model: dict, interval: int = 5 * MINUTE, count: int = 100_000, seed: int = 3, **known: NDArray
) -> NDArray:
    """The values of a channel with this model, of a device whose channels made before are `known`."""
    setting = Setting(int(shared.hours[0]), interval, count, shared, Stream.root(seed).generator(), dict(known))
    channel = Channel("x", "", "1", "gauge", 0, 1, 1, None, None, None, model, "")
    return _series(channel, setting)


def times(shared: Climate, interval: int = 5 * MINUTE, count: int = 100_000) -> NDArray:
    return int(shared.hours[0]) + interval * np.arange(count)


@pytest.mark.parametrize("phi", [0.0, 0.5, 0.95])
def test_the_coefficient_of_the_noise_is_recovered(phi: float):
    n = 200_000
    x = autoregression(Stream.root(1).child("noise").generator(), n, 2.0, phi)
    found = float(x[1:] @ x[:-1] / (x[:-1] @ x[:-1]))
    # the estimate's standard error is sqrt((1 - phi^2) / n)
    assert abs(found - phi) < 4 * np.sqrt((1 - phi**2) / n)
    # that of the variance of an AR(1) series is sigma^2 sqrt(2 / n (1 + phi^2) / (1 - phi^2))
    assert abs(x.var() / 4 - 1) < 5 * np.sqrt(2 / n * (1 + phi**2) / (1 - phi**2))


def test_noise_is_stationary_from_its_first_value():
    starts = [autoregression(Stream.root(2).child(k).generator(), 2, 1.0, 0.9) for k in range(3000)]
    first, second = np.array(starts).T
    assert abs(first.var() - 1) < 4 * np.sqrt(2 / 3000)
    assert abs(second.var() - 1) < 4 * np.sqrt(2 / 3000)
    assert abs(np.corrcoef(first, second)[0, 1] - 0.9) < 0.02


def test_the_spectrum_of_a_bearing_moves_as_it_wears(shared: Climate):
    """From the shaft's frequency and its multiples to those of the outer race (3.5848 times as high, as measured at Case Western Reserve
    University): eight seconds of a sound bearing, of one at the middle of its life and of a worn one."""
    profile = DOMAIN.library["bearing-waveform"]
    first, count = int(shared.hours[0]), 8_192
    block = make_plan(Spec("iot", size=10), DOMAIN).block(0)
    moved = []
    for wear in (0.05, 0.5, 0.98):
        gauges = Gauges([(first, first + 10**7, "up", wear, wear, None, None)], block, 0)
        streams = {"acceleration": Stream.root(3).child("bearing")}
        made = [
            values["acceleration"].copy()
            for _, values in stretches(profile, (first, 1_000, count), shared, streams, gauges)
        ]
        power = np.abs(np.fft.rfft(np.concatenate(made) * np.hanning(count))) ** 2
        at = np.fft.rfftfreq(count, 0.001)
        shaft, race = (
            sum(power[np.abs(at - k * f) < 1.5].sum() for k in (1, 2, 3)) / power.sum() for f in (29.95, 3.5848 * 29.95)
        )
        moved.append(race / (race + shaft))
        assert shaft + race > 0.99, "nothing but these stands out of the noise"
        top = at[np.argmax(power)]
        assert top == pytest.approx(29.95 if wear < 0.6 else 107.36, abs=0.5)
    # as the squares of the root mean squares: 0.2126 g of the shaft, 1.135 g * wear^3.4 of the race
    for share, wear in zip(moved, (0.05, 0.5, 0.98), strict=True):
        grown = (1.135 * wear**3.4) ** 2
        assert share == pytest.approx(grown / (grown + 0.2126**2), abs=0.01)


@given(
    x=st.lists(st.floats(-1e3, 1e3), max_size=1500),
    phi=st.one_of(st.floats(0, 1, exclude_max=True), st.sampled_from([0.0, 1e-11, 0.5, 0.99, 1 - 1e-9])),
    before=st.floats(-1e3, 1e3),
)
def test_a_recursion_is_the_linear_filter_that_it_says(x: list[float], phi: float, before: float):
    from scipy.signal import lfilter

    expected = lfilter([1.0], [1.0, -phi], x, zi=[phi * before])[0] if x else []
    assert recur(np.array(x), phi, before) == pytest.approx(np.array(expected), rel=1e-9, abs=1e-6)


def test_noise_is_normal():
    from scipy.stats import kstest, kurtosis

    x = normals(Stream.root(4).generator(), 400_000, 2.0) / 2
    assert kstest(x, "norm").pvalue > 0.01
    assert abs(x.std() - 1) < 4 / np.sqrt(800_000)
    assert abs(kurtosis(x)) < 4 * np.sqrt(24 / 400_000)


def test_a_device_is_the_same_in_one_stretch_or_many(monkeypatch: pytest.MonkeyPatch):
    """What a term draws once, adds up or remembers goes on from one stretch to the next. Only how noise falls differs: so without it."""
    plan = make_plan(Spec("iot", size=10, end="2025-03-10"), DOMAIN)
    block, place = plan.block(0), climate(plan.block(0), SITE)
    model = {
        "asked": (
            {"term": "level", "value": 3.0, "spread": 1.0},
            {"term": "toggle", "on": 900.0, "off": 2000.0, "gain": 5.0},
        ),
        "slow": ({"term": "response", "of": "asked", "seconds": 3000.0, "gain": 1.0},),
        "total": ({"term": "integral", "of": "slow", "gain": 0.01, "start": 100.0}, {"term": "roll", "over": 500.0}),
        "people": ({"term": "occupancy", "gain": 2.0, "vary": 0.5}, {"term": "day", "amplitude": 1.0, "peak": 15.0}),
    }
    channels = tuple(
        Channel(name, "", "1", "gauge", 0, 1, 1, None, None, None, terms, "") for name, terms in model.items()
    )
    profile = replace(block.library["room-climate"], channels=channels)
    streams = {name: Stream.root(8).child(name) for name in model}

    def whole(stretch: int) -> dict[str, NDArray]:
        monkeypatch.setattr(signals, "STRETCH", stretch)
        parts = [
            made
            for _, made in stretches(
                profile, (int(place.hours[0]), MINUTE, 9_000), place, streams, Gauges((), block, 0)
            )
        ]
        return {name: np.concatenate([part[name] for part in parts]) for name in model}

    one, many = whole(1 << 14), whole(500)
    for name in model:
        assert many[name] == pytest.approx(one[name], rel=1e-9, abs=1e-6), name
    assert np.ptp(one["slow"]) > 1


def test_a_fitted_series_goes_on_from_stretch_to_stretch(monkeypatch: pytest.MonkeyPatch):
    """Its columns are drawn together, of one place along its course for each device."""

    class Numbered:
        length = 1000

        def draw(self, at: NDArray, time: NDArray, stream: Stream) -> dict[str, NDArray]:
            return {"a": at * 1.0, "b": at * 2.0}

    plan = make_plan(Spec("iot", size=10, end="2025-03-04"), DOMAIN)
    block, place = plan.block(0), climate(plan.block(0), SITE)
    channels = tuple(
        Channel(name, "", "1", "gauge", 0, 1, 1, None, None, None, (
            {"term": "learned", "model": "m", "column": column, "sampler": Numbered()},
        ), "")
        for name, column in (("x", "a"), ("y", "b"))
    )  # fmt: skip
    profile = replace(block.library["room-climate"], channels=channels)
    monkeypatch.setattr(signals, "STRETCH", 100)
    streams = {name: Stream.root(8).child(name) for name in ("x", "y")}
    grid = int(place.hours[0]), MINUTE, 900
    parts = [made for _, made in stretches(profile, grid, place, streams, Gauges((), block, 0))]
    x, y = (np.concatenate([part[name] for part in parts]) for name in ("x", "y"))
    assert (np.diff(x) == 1).all()
    assert (y == 2 * x).all()


def test_people_of_a_zone_come_and_stay_away_together():
    plan = make_plan(Spec("iot", size=10, start="2025-01-01", end="2025-12-31"), DOMAIN)
    shared = climate(plan.block(0), SITE)
    noon = slice(9, None, 24)
    days = [of_zone(plan.block(0), shared, 0, zone).drivers["occupancy"][noon] for zone in (0, 0, 1)]
    usual = shared.drivers["occupancy"][noon] > 0.5
    same, other = (np.corrcoef(days[0][usual], days[k][usual])[0, 1] for k in (1, 2))
    assert same == pytest.approx(1.0)
    assert abs(other) < 4 / np.sqrt(usual.sum())


def test_smooth_terms_add_up(shared: Climate):
    """A regression of a year on the hour's wave, people, weather, weekends and seasons finds each coefficient."""
    x = made(
        shared,
        {"term": "level", "value": 20.0},
        {"term": "day", "amplitude": 0.5, "peak": 15.0},
        {"term": "week", "weekend": -2.0},
        {"term": "year", "amplitude": 8.0, "peak": 196},
        {"term": "occupancy", "gain": 1.5},
        {"term": "weather", "gain": 0.7, "of": "temperature"},
    )
    at = times(shared)
    hour = ((at + HOUR) % (24 * HOUR)) / HOUR
    local = pl.Series(at).cast(pl.Datetime("us", "UTC")).dt.convert_time_zone("Europe/Berlin")
    free = list(holidays.country_holidays("DE", years=2024))
    columns = np.column_stack(
        [
            np.ones(len(at)),
            np.cos(2 * np.pi * (hour - 15) / 24),
            (local.dt.weekday() > 5) | local.dt.date().is_in(free),
            np.cos(2 * np.pi * (at / (24 * HOUR) - 196) / 365.2425),
            shared.driver("occupancy", at),
            shared.driver("temperature", at),
        ]
    )
    found, *_ = np.linalg.lstsq(columns, x, rcond=None)
    assert found == pytest.approx([20.0, 0.5, -2.0, 8.0, 1.5, 0.7], abs=0.01)


def test_two_channels_of_a_site_share_its_weather(shared: Climate):
    model = ({"term": "weather", "gain": 1.0, "of": "wind"}, {"term": "ar", "sigma": 0.1, "memory": 600.0})
    a, b = (made(shared, *model, seed=s) for s in (1, 2))
    assert np.corrcoef(a, b)[0, 1] > 0.95
    assert not np.array_equal(a, b)


def test_the_wind_has_the_moments_of_its_weibull_law(shared: Climate):
    from scipy.stats import weibull_min

    x = made(shared, {"term": "wind", "scale": 4.55, "shape": 1.7})
    law = weibull_min(1.7, scale=4.55)
    # a year holds some 270 spans of the wind's memory of 16 hours, twice over
    assert abs(x.mean() - law.mean()) < 4 * law.std() / np.sqrt(270)
    assert x.min() >= 0


def test_a_walk_spreads_as_the_root_of_time(shared: Climate):
    ends = [made(shared, {"term": "walk", "sigma": 2.0}, count=49, interval=5 * MINUTE, seed=k)[-1] for k in range(800)]
    # four hours and five minutes, of steps of five minutes
    assert np.std(ends) == pytest.approx(2.0 * np.sqrt(49 / 12), rel=0.1)


def test_a_response_reaches_63_per_cent_in_its_time_constant(shared: Climate):
    step = np.where(np.arange(2000) < 1000, 10.0, 30.0)
    x = made(
        shared,
        {"term": "response", "of": "asked", "seconds": 3600.0, "gain": 1.0},
        count=2000,
        interval=MINUTE,
        asked=step,
    )
    assert x[999] == pytest.approx(10.0)
    assert x[999 + 60] == pytest.approx(30 - 20 / np.e, abs=0.2)
    assert x[-1] == pytest.approx(30.0, abs=1e-3)


def test_an_integral_is_the_area_and_rolls_over(shared: Climate):
    power = np.full(1000, 7200.0)
    model = ({"term": "integral", "of": "power", "gain": 1 / 3.6e6}, {"term": "roll", "over": 5.0})
    x = made(shared, *model, count=1000, interval=MINUTE, power=power)
    assert x[10] == pytest.approx(10 * 60 * 7200 / 3.6e6)
    assert x.max() < 5.0
    assert (np.diff(x) < 0).sum() == int(999 * 60 * 7200 / 3.6e6 / 5)


def test_a_curve_a_product_and_a_quotient_are_what_they_say(shared: Climate):
    a, b = np.linspace(0, 30, 400), np.linspace(1, 5, 400)
    known = {"count": 400, "interval": MINUTE}
    curve = made(shared, {"term": "curve", "of": "a", "x": [0.0, 10.0, 20.0], "y": [0.0, 5.0, 1.0]}, a=a, **known)
    assert curve == pytest.approx(np.interp(a, [0, 10, 20], [0, 5, 1]))
    assert made(shared, {"term": "product", "of": ["a", "b"], "gain": 2.0}, a=a, b=b, **known) == pytest.approx(
        2 * a * b
    )
    assert made(shared, {"term": "quotient", "of": ["a", "b"], "gain": 1.0}, a=a, b=b, **known) == pytest.approx(a / b)
    over_all = made(shared, {"term": "quotient", "of": ["a", "b", "c"], "gain": 1.0}, a=a, b=b, c=b + 1, **known)
    assert over_all == pytest.approx(a / b / (b + 1))


STORE = {
    "term": "cycle", "holds": 100.0, "depth": 60.0, "vary": 0.5,
    "charge_at": 9.0, "charge_hours": 6.0, "use_at": 17.0, "use_hours": 12.0,
}  # fmt: skip


@pytest.mark.parametrize("interval", [MINUTE, 10 * MINUTE])
def test_a_store_holds_what_has_gone_in_and_is_used_once_a_day(interval: int):
    """By stretches, as a device is worked on: the charge is the integral of the current to within the trapezium's error, and each day's
    cycle is as deep as it may be."""
    days = 20
    block = make_plan(Spec("iot", size=10, start="2024-01-01", end="2024-01-31"), DOMAIN).block(0)
    shared, count = climate(block, SITE), days * 24 * HOUR // interval
    profile = DOMAIN.library["battery-pack"]
    model = {"pack-current": ({**STORE, "of": "current"},), "state-of-charge": ({**STORE, "of": "charge"},)}
    channels = tuple(replace(c, model=model[c.signal]) for c in profile.channels if c.signal in model)
    streams = {signal: Stream.root(5).child(signal) for signal in model}
    grid = (int(shared.hours[0]), interval, count)
    parts = [
        dict(found)
        for _, found in stretches(replace(profile, channels=channels), grid, shared, streams, Gauges((), block, 0))
    ]
    current, charge = (np.concatenate([part[signal] for part in parts]) for signal in model)
    gained = np.concatenate([[0.0], np.cumsum((current[1:] + current[:-1]) / 2)]) * interval / 3.6e9
    assert np.abs(charge - charge[0] - gained).max() < 0.05 * interval / MINUTE
    whole = charge[: count // days * days].reshape(days, -1)[1:-1]
    assert ((whole.max(axis=1) >= 30 - 1e-6) & (whole.max(axis=1) <= 60 + 1e-6)).all()
    assert whole.max(axis=1).std() > 4, "no two days are as deep"
    assert np.abs(whole.min(axis=1)).max() < 1e-6, "empty down to the least every morning"
    assert 0.2 < (current == 0).mean() < 0.3, "it rests in between"


def test_events_are_poisson_at_their_rate(shared: Climate):
    model = ({"term": "level", "value": 0.02}, {"term": "count"})
    x = made(shared, *model, count=50_000, interval=MINUTE)
    assert x.mean() == pytest.approx(1.2, abs=5 * np.sqrt(1.2 / 50_000))
    assert x.var() == pytest.approx(1.2, rel=0.05)
    total = made(shared, model[0], {"term": "count", "total": True}, count=50_000, interval=MINUTE)
    assert (np.diff(total) >= 0).all()


def test_a_toggle_is_on_for_the_share_that_its_means_say(shared: Climate):
    x = made(shared, {"term": "toggle", "on": 1200.0, "off": 3600.0, "gain": 1.0}, count=200_000, interval=MINUTE)
    assert set(np.unique(x)) == {0.0, 1.0}
    turns = (np.diff(x) != 0).sum() / 2
    assert x.mean() == pytest.approx(0.25, abs=4 * 0.25 / np.sqrt(turns))
    # spans shorter than a sample go unseen, so the mean of those seen is longer
    assert 1200 < x.sum() * 60 / turns < 1300


def test_people_come_only_where_there_are_people(shared: Climate):
    x = made(shared, {"term": "toggle", "on": 3000.0, "off": 600.0, "gain": 1.0, "of": "occupancy"})
    at = times(shared)
    hour, day = ((at + HOUR) % (24 * HOUR)) // HOUR, (at + HOUR) // (24 * HOUR)
    work = ((day + 3) % 7 < 5) & (hour >= 9) & (hour < 12)
    assert x[work].mean() > 0.6
    assert x[(day + 3) % 7 == 6].mean() < 0.02


def test_the_dew_point_is_the_temperature_of_saturated_air(shared: Climate):
    t, damp = np.array([20.0, 20.0, 0.0]), np.array([100.0, 50.0, 80.0])
    x = made(shared, {"term": "dew-point", "of": ["t", "damp"]}, count=3, t=t, damp=damp)
    assert x[0] == pytest.approx(20.0)
    # the WMO's tables give 9.3 Cel at 20 Cel and 50 %
    assert x[1] == pytest.approx(9.3, abs=0.05)
    assert (x <= t).all()


def test_the_sun_is_where_it_should_be(shared: Climate):
    """Noon at 50 N on the solstices, and the day's length at the equinox."""
    day = 24 * HOUR
    noon = int(shared.hours[0]) + 12 * HOUR - round(10 / 360 * day)
    assert shared.elevation(np.array([noon + 171 * day]))[0] == pytest.approx(90 - 50 + 23.44, abs=0.3)
    assert shared.elevation(np.array([noon + 354 * day]))[0] == pytest.approx(90 - 50 - 23.44, abs=0.3)
    minutes = int(shared.hours[0]) + 79 * day + MINUTE * np.arange(1440)
    assert (shared.elevation(minutes) > 0).sum() == pytest.approx(720, abs=10)
    assert shared.irradiance(minutes).max() < 1098 * np.sin(np.deg2rad(41))
    assert shared.irradiance(minutes[:180]).max() < 1e-3


def test_occupancy_follows_the_local_clock():
    plan = make_plan(Spec("iot", size=10), DOMAIN)
    people = climate(plan.block(0), SITE).drivers["occupancy"]
    monday = people[:24]
    assert monday[3] == 0.0, "four in the morning, at UTC+1"
    assert monday[9] > 0.5, "ten in the morning"
    assert people[5 * 24 : 7 * 24].max() < 0.8, "the weekend"
    home = climate(plan.block(0), {**SITE, "kind": "home"}).drivers["occupancy"]
    assert home[2] > 0.5, "three in the morning, at home"


def test_quantised_values_are_the_nearest_decimals():
    values = np.array([0.289999, -0.004, 1.005001, -3.0, 99.0])
    assert quantise(values, 0.01, -1.0, 50.0).tolist() == [0.29, 0.0, 1.01, -1.0, 50.0]
    assert not np.signbit(values[1]), "no negative zero"


def test_a_channel_follows_its_devices_state_and_its_starts(shared: Climate):
    """Degraded for an hour after two of rest: an offset while it is degraded, and what the start leaves dies away."""
    first, hour = int(shared.hours[0]), 60 * MINUTE
    life = [(0, 2, "up"), (2, 4, "asleep"), (4, 5, "degraded"), (5, 8, "up")]
    spans = [(first + a * hour, first + b * hour, state, None, None, None, None) for a, b, state in life]
    plan = make_plan(Spec("iot", size=10), DOMAIN)
    setting = Setting(first, MINUTE, 8 * 60, shared, Stream.root(1).generator())
    setting.gauges = Gauges(spans, plan.block(0), 0)
    model = ({"term": "state", "state": "degraded", "gain": 3.0}, {"term": "started", "gain": 5.0, "seconds": 1_800})
    values = _series(Channel("x", "", "1", "gauge", 0, 1, 1, None, None, None, model, ""), setting)
    since = np.arange(8 * 60) * 60 - 4 * 3_600
    degraded = (since >= 0) & (since < 3_600)
    expected = 3.0 * degraded + np.where(since >= 0, 5.0 * np.exp(-np.maximum(since, 0) / 1_800), 0.0)
    np.testing.assert_allclose(values, expected, atol=1e-12)
