"""What the priors say was measured on public data is measured again; what they derive from published figures is derived again."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from populace.domains.iot import DOMAIN
from populace.domains.iot.population import PROFILES

PRIORS = DOMAIN.priors
ROOM, METER, PUMP = "room-climate", "energy-meter", "pump-vibration"


def part(profile: str, signal: str, term: str, **having: object) -> dict[str, float]:
    """The term of a profile's signal model."""
    model = PROFILES[profile].channel(signal).model
    found = [t for t in model if t["term"] == term and all(t.get(k) == v for k, v in having.items())]
    assert len(found) == 1
    return dict(found[0])


def read(folder: Path, *parts: str, **options: object) -> pl.DataFrame:
    path = folder.joinpath(*parts)
    if not path.exists():
        pytest.skip(f"no {'/'.join(parts)} among the real data")
    return pl.read_csv(path, **options)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def office(real_data: Path) -> pl.DataFrame:
    """The first stretch of UCI Occupancy Detection, from 17:51 on, with its minute since the first midnight."""
    table = read(real_data, "tabular", "occupancy", "train_a.csv.gz")
    return table.with_columns(minute=pl.int_range(pl.len()) + 17 * 60 + 51)


@pytest.fixture(scope="module")
def house(real_data: Path) -> pl.DataFrame:
    table = read(real_data, "iot", "appliances", "testing.csv.gz", try_parse_dates=True)
    numbers = pl.col(pl.String).exclude("WeekStatus", "Day_of_week").str.strip_chars().cast(pl.Float64)
    return table.with_columns(numbers).sort("date").with_columns(power=(pl.col("Appliances") + pl.col("lights")) * 6)


@pytest.fixture(scope="module")
def pump(real_data: Path) -> pl.DataFrame:
    return read(real_data, "iot", "skab", "anomaly-free", "anomaly-free.csv.gz", separator=";", try_parse_dates=True)


WEAK = ("modelling choice", "no published figure", "roughly", "assum", "we chose")


def test_no_prior_rests_on_a_choice():
    assert [p.name for p in PRIORS.values() if any(w in p.source.lower() for w in WEAK)] == []


@pytest.mark.parametrize("name", PROFILES)
def test_no_profile_rests_on_a_choice(name: str):
    p = PROFILES[name]
    sources = [p.source, p.power.source, p.reliability.source, *(c.source for c in p.channels)]
    assert [x for x in sources if any(w in x.lower() for w in WEAK)] == []


def wave(hour: np.ndarray) -> np.ndarray:
    return np.cos(2 * np.pi * (hour - 15) / 24)


@pytest.mark.parametrize(
    ("name", "column"),
    [("air-temperature", "temperature"), ("relative-humidity", "humidity"), ("carbon-dioxide", "co2")],
)
def test_rooms_are_fitted_on_the_first_stretch_of_the_office(office: pl.DataFrame, name: str, column: str):
    x, occupied = office[column].to_numpy(), office["occupancy"].to_numpy()
    minute = office["minute"].to_numpy()
    noise = part(ROOM, name, "ar")
    people = part(ROOM, name, "occupancy")
    if name == "carbon-dioxide":
        assert x[occupied == 0].mean() == pytest.approx(part(ROOM, name, "level")["value"], rel=0.01)
        hour, day = minute % 1440 // 60, minute // 1440
        working = np.isin(day, [1, 2, 5]) & np.isin(hour, [9, 10, 14, 15])
        rise = x[working].mean() - x[hour < 5].mean()
        assert rise == pytest.approx(people["gain"] * PRIORS("occupancy.office.weekday")[10], rel=0.01)
        steps = [float((x[k:] - x[:-k]).std()) for k in (1, 60)]
        made = [noise["sigma"] * math.sqrt(2 * -math.expm1(-60 * k / noise["memory"])) for k in (1, 60)]
        # the hour's difference holds the office's day as well, which is no noise: half of it is left to the noise
        assert made[0] == pytest.approx(steps[0], rel=0.05)
        assert made[1] == pytest.approx(steps[1] / 2, rel=0.1)
        return
    columns = np.column_stack([np.ones(len(x)), wave(minute / 60 % 24), occupied])
    found, *_ = np.linalg.lstsq(columns, x, rcond=None)
    assert found[1:] == pytest.approx([part(ROOM, name, "day")["amplitude"], people["gain"]], rel=0.02)
    made = noise["sigma"] * math.sqrt(2 * -math.expm1(-60 / noise["memory"]))
    assert made == pytest.approx(np.diff(x).std(), rel=0.02)
    if name == "relative-humidity":
        left = x - columns @ found
        assert part(ROOM, name, "weather", of="moisture")["gain"] == pytest.approx(left.std(), rel=0.01)
        after = np.corrcoef(left[360:], left[:-360])[0, 1]
        assert math.exp(-6 / PRIORS("weather.hours")["moisture"]) == pytest.approx(after, abs=0.005)


def test_presence_light_and_cooling_are_fitted_on_it_too(office: pl.DataFrame):
    occupied, light = office["occupancy"].to_numpy(), office["light"].to_numpy()
    runs = np.split(occupied, np.flatnonzero(np.diff(occupied)) + 1)
    on = np.mean([len(r) for r in runs if r[0]])
    off = np.mean([len(r) for r in runs if not r[0] and len(r) < 180])
    toggle = part("presence-sensor", "presence", "toggle")
    assert (toggle["on"], toggle["off"]) == pytest.approx((60 * on, 60 * off), rel=0.01)
    lit = part("presence-sensor", "illuminance", "of")["gain"]
    assert np.median(light[occupied == 1]) == pytest.approx(lit, abs=1)

    from scipy.optimize import curve_fit

    minute, heat = office["minute"].to_numpy(), office["temperature"].to_numpy()
    constants = []
    for night in range(7):
        y = heat[(minute >= night * 1440 + 19 * 60) & (minute < (night + 1) * 1440 + 6 * 60)]
        if len(y) >= 600 and y[0] - y[-1] >= 0.8:
            fall = lambda n, a, b, c: a + b * np.exp(-n / c)  # noqa: E731
            constants.append(curve_fit(fall, np.arange(len(y)) * 60, y, p0=(y[-1], y[0] - y[-1], 14_400))[0][2])
    cooling = part("thermostat", "room-temperature", "response")["seconds"]
    assert np.median(constants) == pytest.approx(cooling, rel=0.02)


def test_attendance_varies_as_in_the_office(real_data: Path):
    minutes = []
    for part, start in (("train_a", 17 * 60 + 51), ("train_b", 14 * 60 + 49)):
        table = read(real_data, "tabular", "occupancy", f"{part}.csv.gz")
        days = table.group_by((pl.int_range(pl.len()) + start) // 1440).agg(pl.len(), pl.col("occupancy").sum())
        minutes += days.filter(pl.col("len") == 1440, pl.col("occupancy") > 0)["occupancy"].to_list()
    assert len(minutes) == 7
    assert np.log(minutes).std(ddof=1) == pytest.approx(PRIORS("occupancy.day_sigma"), abs=0.005)


def test_the_house_gives_weather_rooms_and_power(house: pl.DataFrame):
    hour = house["date"].dt.hour().to_numpy() + house["date"].dt.minute().to_numpy() / 60
    day = house["date"].dt.epoch("s").to_numpy() / 86400
    day = day - day[0]
    cycle = [f(2 * np.pi * k * hour / 24) for k in (1, 2) for f in (np.cos, np.sin)]
    columns = np.column_stack([np.ones(len(day)), day, day**2, *cycle])

    def rest(name: str) -> tuple[np.ndarray, np.ndarray]:
        x = house[name].to_numpy()
        found, *_ = np.linalg.lstsq(columns, x, rcond=None)
        return x - columns @ found, found

    weather, found = rest("T_out")
    day_out = part("weather-station", "air-temperature", "day")
    assert math.atan2(found[4], found[3]) * 12 / math.pi % 24 == pytest.approx(day_out["peak"], abs=0.1)
    assert math.hypot(found[3], found[4]) == pytest.approx(day_out["amplitude"], rel=0.02)
    assert weather.std() == pytest.approx(part("weather-station", "air-temperature", "weather")["gain"], rel=0.02)
    weather /= weather.std()

    def slope(name: str) -> float:
        return float(weather @ rest(name)[0] / (weather @ weather))

    rooms = [f"T{k}" for k in (1, 2, 3, 4, 5, 7, 8, 9)]
    dry = [f"RH_{k}" for k in (1, 2, 3, 4, 7, 8, 9)]
    for names, signal in ((rooms, "air-temperature"), (dry, "relative-humidity")):
        assert np.mean([slope(n) for n in names]) == pytest.approx(
            part(ROOM, signal, "weather", of="temperature")["gain"], rel=0.02
        )
        spread = part(ROOM, signal, "level")["spread"]
        assert np.std([house[n].mean() for n in names], ddof=1) == pytest.approx(spread, rel=0.02)
    assert slope("power") == pytest.approx(part(METER, "active-power", "weather")["gain"], abs=0.5)

    daily = house.group_by(pl.col("date").dt.date()).agg(pl.col("T_out").mean()).sort("date")["T_out"].to_numpy()
    n = np.arange(len(daily))
    left = daily - np.polyval(np.polyfit(n, daily, 2), n)
    x = 24 / PRIORS("weather.hours")["temperature"]
    # the lag-one correlation of daily means of an AR(1) process in continuous time
    expected = math.expm1(-x) ** 2 / (2 * (x + math.expm1(-x)))
    assert np.corrcoef(left[1:], left[:-1])[0, 1] == pytest.approx(expected, abs=0.01)

    night = house.filter(pl.col("date").dt.hour().is_between(1, 4))
    level = part(METER, "active-power", "level")["value"]
    assert night["power"].mean() == pytest.approx(level, rel=0.01)
    assert night["power"].std() == pytest.approx(part(METER, "active-power", "ar")["sigma"], rel=0.01)
    noon = house.filter(pl.col("date").dt.hour().is_between(10, 16))["power"].mean()
    busy = np.mean(PRIORS("occupancy.office.weekday")[10:17])
    assert level + part(METER, "active-power", "occupancy")["gain"] * busy == pytest.approx(noon, rel=0.01)


def test_the_pump_gives_noise_and_its_memory(pump: pl.DataFrame, real_data: Path):
    took = (pump["datetime"][-1] - pump["datetime"][0]).total_seconds()
    interval = took / (pump.height - 1)
    assert (interval - 1) * 2e6 == pytest.approx(PRIORS("device.jitter_us"), rel=0.01)
    for name, column in (("vibration-velocity", "Accelerometer1RMS"), ("bearing-temperature", "Temperature")):
        x = pump[column].to_numpy() - pump[column].mean()
        correlation = float(x[60:] @ x[:-60] / (x @ x))
        assert part(PUMP, name, "ar")["memory"] == pytest.approx(-60 * interval / math.log(correlation), rel=0.02)
    assert part(PUMP, "bearing-temperature", "ar")["sigma"] == pytest.approx(pump["Temperature"].std(), rel=0.01)
    relative = pump["Accelerometer1RMS"].std() / pump["Accelerometer1RMS"].mean()  # type: ignore[operator]
    vibration = part(PUMP, "vibration-velocity", "level")
    assert part(PUMP, "vibration-velocity", "ar")["sigma"] == pytest.approx(relative * vibration["value"], rel=0.02)

    runs = {}
    for path in sorted((real_data / "iot" / "skab").glob("*/*.csv.gz")):
        run = pl.read_csv(path, separator=";")
        runs[path] = run.filter(pl.col("anomaly") == 0) if "anomaly" in run.columns else run
    means = np.array([r["Voltage"].mean() for r in runs.values()])
    errors = np.array([r["Voltage"].std() / math.sqrt(r.height) for r in runs.values()])  # type: ignore[operator]
    assert math.sqrt(means.var(ddof=1) - (errors**2).mean()) == pytest.approx(
        part(METER, "voltage", "ar")["sigma"], rel=0.01
    )
    valve = [r for path, r in runs.items() if path.parent.name == "valve1"]
    level = np.array([r["Accelerometer1RMS"].mean() for r in valve])
    assert level.std(ddof=1) / level.mean() * vibration["value"] == pytest.approx(vibration["spread"], rel=0.03)
    heat = np.std([r["Temperature"].mean() for r in valve], ddof=1)
    assert heat == pytest.approx(part(PUMP, "bearing-temperature", "level")["spread"], rel=0.01)


def test_the_transformer_the_road_and_the_engines_are_fitted(real_data: Path):
    table = read(real_data, "iot", "ett", "ETTh1.csv.gz", try_parse_dates=True)
    hour, day = table["date"].dt.hour().to_numpy(), table["date"].dt.ordinal_day().to_numpy()
    waves = [f(2 * np.pi * x) for x in (hour / 24, day / 365.25) for f in (np.cos, np.sin)]
    columns = np.column_stack([np.ones(len(hour)), *waves, table["date"].dt.weekday().to_numpy() >= 6])
    for name, column in (("high-load", "HUFL"), ("low-load", "LUFL"), ("oil-temperature", "OT")):
        x = table[column].to_numpy()
        found, *_ = np.linalg.lstsq(columns, x, rcond=None)
        rest = x - columns @ found
        correlation = float(rest[1:] @ rest[:-1] / (rest @ rest))
        noise = part("transformer", name, "ar")
        assert part("transformer", name, "level")["value"] == pytest.approx(found[0], rel=0.01)
        assert part("transformer", name, "day")["amplitude"] == pytest.approx(math.hypot(*found[1:3]), abs=0.01)
        assert part("transformer", name, "year")["amplitude"] == pytest.approx(math.hypot(*found[3:5]), abs=0.01)
        assert noise["sigma"] == pytest.approx(rest.std(), rel=0.01)
        assert math.exp(-3600 / noise["memory"]) == pytest.approx(correlation, abs=0.002)

    engines = read(real_data, "tabular", "cmapss_fd001", "train.csv.gz")
    engines = engines.with_columns(left=pl.col("cycle").max().over("unit") - pl.col("cycle"))
    sensors = {"s2": "lpc-outlet-temperature", "s4": "lpt-outlet-temperature", "s11": "hpc-static-pressure"}
    for column, name in sensors.items():
        young = engines.filter(pl.col("left") > 150)
        one = young.group_by("unit").agg(pl.col(column).mean().alias("mean"), pl.col(column).var().alias("var"))
        worn = engines.filter(pl.col("left") < 5)[column].mean()
        level = part("turbofan", name, "level")
        assert level["value"] == pytest.approx(young[column].mean(), rel=0.001)
        assert level["spread"] == pytest.approx(one["mean"].std(), rel=0.02)
        assert part("turbofan", name, "white")["sigma"] == pytest.approx(one["var"].mean() ** 0.5, rel=0.02)  # type: ignore[operator]
        assert part("turbofan", name, "wear")["gain"] == pytest.approx(worn - young[column].mean(), rel=0.01)  # type: ignore[operator]
    from scipy.stats import weibull_min

    shape, _, scale = weibull_min.fit(engines.group_by("unit").agg(pl.col("cycle").max())["cycle"], floc=0)
    law = PROFILES["turbofan"].reliability
    assert (law.shape, law.hours) == pytest.approx((shape, scale), rel=0.01)


def test_derived_figures_follow_from_the_published_ones():
    assert PRIORS("gateway.outage_log_sigma") == pytest.approx(math.sqrt(2 * math.log(5.6 / 1.4 / 2)), abs=0.005)
    assert PRIORS("power.cut_log_sigma") == PRIORS("gateway.outage_log_sigma")
    assert 1 / PRIORS("power.days_between_cuts") == pytest.approx(1.4 / 365.25, rel=0.001)
    assert 1 / PRIORS("gateway.days_between_outages") == pytest.approx(0.06 - 1.4 / 365.25, rel=0.01)
    assert PRIORS("gateway.latency_us") == 18.3e3 / 2
    tail = np.mean([57, 60.5, 61.6, 64.7]) * 1e3 / 2 - 18.3e3 / 2
    assert PRIORS("gateway.latency_tail_us") == pytest.approx(tail, rel=0.01)
    behind = 19.2 / (-12 / math.log(46 / 127)) - 1
    ratio = behind / (1 + behind)
    shares = list(PRIORS("device.firmware").values())
    assert shares == pytest.approx([1 - ratio, (1 - ratio) * ratio, (1 - ratio) * ratio**2, ratio**3], abs=0.005)
    assert PRIORS("firmware.months") == pytest.approx(-12 / math.log(46 / 127), rel=0.01)
    bearing = PROFILES[PUMP].reliability
    assert bearing.hours == pytest.approx(25_000 * math.log(1 / 0.9) ** (-1 / 1.5), rel=0.01)
    worn = part(PUMP, "vibration-velocity", "wear")
    assert bearing.degraded
    assert 1.12 + worn["gain"] * bearing.degraded ** worn["exponent"] == pytest.approx(2.8, abs=0.03)
    assert 1.12 + worn["gain"] == pytest.approx(7.1)
    assert PROFILES[ROOM].reliability.hours == pytest.approx(1 / 6.62e-7, rel=0.01)
    shape = PROFILES[ROOM].power.shape
    assert shape
    widest = (math.log(40) / math.log(1 / 0.975)) ** (1 / shape)
    assert widest == pytest.approx(3, rel=0.02)
    sigma, median = PRIORS("repair.work_log_sigma"), PRIORS("repair.work_hours")
    assert sigma == pytest.approx(math.log(2) / (2 * 0.6745), abs=0.005)
    assert median == pytest.approx(math.sqrt(2), abs=0.005)
    assert PRIORS("repair.response_hours") + median * math.exp(sigma**2 / 2) == pytest.approx(24, abs=0.05)
    assert part(ROOM, "carbon-dioxide", "occupancy")["vary"] == pytest.approx(math.log(418 / 6) / 4.4, abs=0.01)
    assert part(METER, "voltage", "of")["gain"] == pytest.approx(-0.4 / 230, abs=5e-6)
    assert part(METER, "voltage", "level")["value"] == pytest.approx(230 + 0.4 / 230 * 303, abs=0.05)


def test_the_power_factor_is_what_its_loads_add_up_to():
    """The night's load and all beyond it, each with its appliance's own power factor."""
    night, beyond = 0.867, 0.982
    level = part(METER, "active-power", "level")

    def mixed(more: float) -> float:
        return (level["value"] + more) / (level["value"] / night + more / beyond)

    people, noise = part(METER, "active-power", "occupancy")["gain"], part(METER, "active-power", "ar")
    found = part(METER, "power-factor", "level")
    assert found["value"] == night
    assert found["spread"] == pytest.approx(mixed(level["spread"]) - night, abs=5e-4)
    assert part(METER, "power-factor", "occupancy")["gain"] == pytest.approx(mixed(people) - night, abs=5e-4)
    assert part(METER, "power-factor", "ar")["sigma"] == pytest.approx(mixed(noise["sigma"]) - night, abs=5e-4)
    assert part(METER, "power-factor", "ar")["memory"] == noise["memory"]


def test_a_battery_is_charged_while_the_sun_is_high_and_used_while_it_is_down():
    """Begun up to an hour later: on average at the hour that the sun gives."""
    cycle = part("battery-pack", "pack-current", "cycle")
    half = math.degrees(math.acos(0.5)) / 15
    assert (cycle["charge_at"] + 0.5, cycle["charge_hours"]) == pytest.approx((12 - half, 2 * half))
    assert (cycle["use_at"] + 0.5, cycle["use_hours"]) == (18.0, 12.0)
    assert part("battery-pack", "state-of-charge", "level")["value"] + cycle["depth"] == 100.0
    assert part("battery-pack", "state-of-charge", "cycle") == {**cycle, "of": "charge"}


@pytest.mark.parametrize("name", ["traffic-counter", "cold-chain-truck"])
def test_what_is_sent_is_the_records_and_their_headers(name: str):
    channels = len(PROFILES[name].channels)
    single = '[{"n":"urn:dev:ow:10e2073a01080063","u":"Cel","v":23.1}]'
    assert part(name, "data-sent", "level")["value"] * 1000 == channels * len(single) + 40 + 8 + 4
    lengths = np.arange(3, 7)
    assert part(name, "data-sent", "white")["sigma"] * 1000 == pytest.approx(lengths.std() * channels**0.5, rel=0.01)
