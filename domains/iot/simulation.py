"""When: the life of a site as discrete events. Devices sleep, wear, fail, wait for a crew and a spare part and are repaired; batteries run
down and are changed or charged; firmware is rolled out; the mains and uplinks go and come back.

One SimPy environment for each site gives one list of intervals, which is the ground truth. Points never pass through it.
"""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Generator, Iterable
from typing import Any, NamedTuple

import numpy as np
import polars as pl

from ...core.domain import Block
from ...core.priors import Priors
from ...core.stream import Stream, join_rows
from ...core.tables import ROW, Table, Tables
from .civil import DAY, HOUR, civil
from .climate import Climate, climate
from .lives import Charge, Duty, Part
from .population import CREWS, DEVICES, OPERATORS, fleet, is_modem
from .profiles import Profile
from .rollout import Rollout, rollouts

SECOND = 1_000_000
_EPOCH = dt.date(1970, 1, 1)
_NEVER = 1 << 62
_UP, _WORN, _ASLEEP = ("up", "running"), ("degraded", "wear"), ("asleep", "schedule")
_NO_BATTERY = (None, None, None, None)


Span = tuple[Any, ...]
"""A span [t0, t1) in which a device was in one state: device, t0, t1, state, cause, firmware, crew at work, when its part was new and will be
spent, and the same of its battery, with when that was put on the charger and will be full. In microseconds since 1970."""


class Outage(NamedTuple):
    """A span [t0, t1) in which a gateway was cut off."""

    entity: int
    t0: int
    t1: int
    cause: str


def events(block: Block, tables: Tables) -> Tables:
    """The states of every device, and the outages of every gateway. A site is simulated whole; devices beyond the size are
    dropped afterwards, so that those before them have the same life in a larger dataset."""
    device, gateway = fleet(block), tables["gateway"]
    states: list[Span] = []
    outages: list[Outage] = []
    for site in tables["site"].iter_rows(named=True):
        number = site["site_id"]
        here = device.filter(site_id=number)
        cut = simulate(
            block, climate(block, site), number, here, gateway.filter(site_id=number)["gateway_id"].to_list()
        )
        states += cut[0]
        outages += cut[1]
    return {
        "device_event": _states(states).filter(pl.col("device_id") < block.size),
        "gateway_event": _addressed(
            pl.DataFrame(outages, schema=_OUTAGE, orient="row").rename({"entity": "gateway_id"}), "gateway_id"
        ),
    }


def simulate(
    block: Block, shared: Climate, number: int, devices: Table, gateways: Iterable[int]
) -> tuple[list[Span], list[Outage]]:
    """One site: the spans of its devices, tiling the window, and those in which a gateway was cut off."""
    import simpy

    window, stream = block.window, block.stream.child("simulation", number)
    env = simpy.Environment(window.start)
    site = _Site(env, number, block.priors, shared, stream.child("store").generator())
    waves = rollouts(block)
    logs = []
    for key, profile, firmware, installed, life in devices.select(
        "device_id", "profile", "firmware", "installed_on", "life"
    ).iter_rows():
        age = window.start - (installed - _EPOCH).days * DAY
        logs.append(_Log(env, key, firmware))
        process = _device(site, block.library[profile], age, life, logs[-1], waves, stream.child("device", key))
        logs[-1].process = env.process(process)
    cut: list[Outage] = []
    gateways = list(gateways)
    for key in gateways:
        env.process(_uplink(site, cut, key, stream.child("gateway", key)))
        if is_modem(key):
            env.process(_coverage(site, cut, key, stream.child("coverage", key)))
    env.process(_mains(site, cut, [key for key in gateways if not is_modem(key)], stream.child("mains")))
    env.run(until=window.end)
    return [span for log in logs for span in log.close(window.end)], [i._replace(t1=min(i.t1, window.end)) for i in cut]


class _Site:
    """What the devices of a site share: its crews, the spare parts in its store, its mains and its weather."""

    def __init__(self, env: Any, number: int, priors: Priors, shared: Climate, rng: np.random.Generator) -> None:
        import simpy

        self.env, self.priors, self.shared, self._rng = env, priors, shared, rng
        self.crews = simpy.Store(env)
        self.crews.items += [number * CREWS + k for k in range(priors("repair.crews"))]
        self.spares = simpy.Container(env, init=priors("spares.stock"))
        self.restored: Any = None
        """The event that ends a power cut, while there is one."""
        self.live: dict[int, Any] = {}
        """The processes of devices on mains that run or sleep: a cut interrupts them."""

    def reorder(self) -> Generator[Any, Any, None]:
        """One spare part for the one that was taken."""
        yield self.env.timeout(_exponential(self._rng, self.priors("spares.lead_hours") * HOUR))
        yield self.spares.put(1)


class _Log:
    """One device's transitions as spans: entering a state ends the one before."""

    def __init__(self, env: Any, entity: int, firmware: str) -> None:
        self._env, self.entity, self.firmware = env, entity, firmware
        self._since, self._state, self._cause, self._crew = 0, "", "", None
        self._done: list[Span] = []
        self._gauges: tuple[int | None, ...] = ()
        self.process: Any = None

    def fit(self, part: Part, charge: Charge | None) -> None:
        """From now on this part and this battery are in the device."""
        battery = (charge.start, charge.end, charge.plugged, charge.full) if charge else _NO_BATTERY
        self.again()
        self._gauges = (part.start, part.end, *battery)

    def enter(self, state: str, cause: str, crew: int | None = None) -> None:
        """End the state that is, with the part and the battery as they are: change those afterwards."""
        if state == self._state and cause == self._cause and state != "restart":
            return
        now = self._env.now
        if now > self._since and self._state:
            self._done.append(
                (self.entity, self._since, now, self._state, self._cause, self.firmware, self._crew, *self._gauges)
            )
        self._since, self._state, self._cause, self._crew = now, state, cause, crew

    def again(self) -> None:
        """Cut the state that is in two: its part, battery or firmware changes within it."""
        self.close(self._env.now)

    def close(self, end: int) -> list[Span]:
        if self._state and end > self._since:
            self._done.append(
                (self.entity, self._since, end, self._state, self._cause, self.firmware, self._crew, *self._gauges)
            )
        self._since = end
        return self._done


class _Waits:
    """Exponential times, drawn by the hundred: one at a time costs more than the event that it is for."""

    def __init__(self, rng: np.random.Generator) -> None:
        self._rng, self._drawn = rng, list[float]()

    def __call__(self, mean: float) -> int:
        if not self._drawn:
            self._drawn = self._rng.standard_exponential(128).tolist()
        return int(mean * self._drawn.pop()) or 1


def _device(
    site: _Site, profile: Profile, age: int, life: float, log: _Log, waves: list[Rollout], stream: Stream
) -> Generator[Any, Any, None]:
    import simpy

    env, priors, rng = site.env, site.priors, stream.generator()
    timeout, enter, live, entity = env.timeout, log.enter, site.live, log.entity
    hangs, starts = priors("watchdog.hours") * HOUR, priors("watchdog.seconds") * SECOND
    born, now = env.now - age, env.now
    life *= priors("profile.life")
    part = Part.aged(profile.reliability, life, born, now, rng)
    battery = Charge.aged(profile.power, priors("profile.life"), born, now, rng)
    log.fit(part, battery)
    wait = _Waits(rng)
    mains = profile.power.supply == "mains"
    if age < 0:
        enter("provisioned", "delivery")
        yield timeout(-age)
    duty = Duty(profile.duty, site.shared) if profile.duty else None
    wave = rng.random()
    due = {
        "hardware": part.end,
        "wear": _NEVER,
        "battery": battery.end if battery else _NEVER,
        "watchdog": env.now + wait(hangs),
        "age": born + priors("device.age_days") * DAY,
        "schedule": _NEVER,
    }
    updates = iter([(r.reaches(wave), r.version) for r in waves if r.reaches(wave) >= env.now] + [(_NEVER, "")])
    due["update"], version = next(updates)
    worn_at, soonest = part.reaches(profile.reliability.degraded), due.__getitem__
    while True:
        now = env.now
        if now >= due["age"]:
            enter("retired", "age")
            return
        if mains and site.restored:
            enter("off", "power")
            yield site.restored
            continue
        awake = True
        if duty:
            awake, due["schedule"] = duty.at(now)
        worn = worn_at <= now
        due["wear"] = _NEVER if worn else worn_at
        cause = min(due, key=soonest)
        if due[cause] > now:
            enter(*(_ASLEEP if not awake else _WORN if worn else _UP))
            live[entity] = log.process if mains else None
            try:
                yield timeout(due[cause] - now)
            except simpy.Interrupt:
                continue
            finally:
                del live[entity]
        if cause in ("schedule", "age", "wear"):
            continue
        if cause in ("watchdog", "update"):
            if cause == "update":
                log.again()
                log.firmware = version
                due["update"], version = next(updates)
            else:
                due[cause] = env.now + wait(hangs)
            if awake:
                enter("restart", cause)
                yield timeout(wait(starts))
            continue
        charged = cause == "battery" and profile.power.charge_hours is not None
        if charged:
            assert battery
            assert profile.power.charge_hours
            enter("asleep", "charging")
            battery = battery.plug(env.now, profile.power.charge_hours)
            log.fit(part, battery)
            yield timeout(max(1, round(profile.power.charge_hours * HOUR)))
        else:
            yield from _repair(site, log, cause, rng)
        enter(*_UP)
        # a crew changes all in a device that is spent
        if not charged and part.end <= env.now:
            part = Part.new(profile.reliability, life, env.now, rng)
            due["hardware"], worn_at = part.end, part.reaches(profile.reliability.degraded)
        if battery and battery.end <= env.now:
            battery = Charge.new(profile.power, priors("profile.life"), env.now, rng)
            due["battery"] = battery.end
        log.fit(part, battery)


def _repair(site: _Site, log: _Log, cause: str, rng: np.random.Generator) -> Generator[Any, Any, None]:
    """A crew comes; where the store has no part, it leaves again and comes back when one has been delivered."""
    env, priors, away = site.env, site.priors, site.priors("repair.response_hours") * HOUR
    log.enter("failed", cause)
    crew = yield site.crews.get()
    yield env.timeout(_exponential(rng, away))
    if not site.spares.level:
        log.enter("waiting", cause)
        yield site.crews.put(crew)
        yield site.spares.get(1)
        crew = yield site.crews.get()
        yield env.timeout(_exponential(rng, away))
    else:
        yield site.spares.get(1)
    env.process(site.reorder())
    log.enter("repair", cause, crew)
    work = priors("repair.work_hours") * math.exp(priors("repair.work_log_sigma") * rng.standard_normal())
    yield env.timeout(max(1, round(work * HOUR)))
    yield site.crews.put(crew)


def completed(block: Block, event: Table) -> Table:
    """Events in order, of which scenarios have put in some or moved their ends: these run on the firmware that was, keep wear and charge
    as they were where they do not say, and wear goes on growing, charge falling. A failure has the operator on duty."""
    device = pl.col("device_id")
    state, cause = pl.col("state").cast(pl.String), pl.col("cause").cast(pl.String)
    fresh = (state.shift() == "repair") | (cause == "charging") | (cause.shift() == "charging")
    known = event.with_columns(
        pl.col("firmware").forward_fill().backward_fill().over(device),
        fresh.fill_null(False).cast(pl.Int32).cum_sum().over(device).alias("_part"),
    )
    for gauge, most in (("wear", pl.Expr.cum_max), ("charge", pl.Expr.cum_min)):
        start, end = pl.col(f"{gauge}_start"), pl.col(f"{gauge}_end")
        part = (device, pl.col("_part"))
        past = pl.coalesce(end, start).forward_fill().over(device)
        coming = pl.coalesce(start, end).backward_fill().over(device)
        known = known.with_columns(
            pl.coalesce(start, past.shift().over(device), coming).alias(start.meta.output_name()),
            pl.coalesce(end, coming.shift(-1).over(device), past).alias(end.meta.output_name()),
        )
        known = known.with_columns(most(end).over(part).alias(end.meta.output_name()))
        before = end.shift().over(part)
        pair = pl.max_horizontal(start, before) if gauge == "wear" else pl.min_horizontal(start, before)
        known = known.with_columns(pair.alias(start.meta.output_name()))
    shifts, there = block.priors("operator.shifts"), civil(*(block.priors(f"site.{n}") for n in _PLACE), block.window)
    hour = there.local(known["started_at"].to_physical().to_numpy()) // HOUR % 24
    shift = pl.Series(np.minimum(hour // (24 // shifts), shifts - 1))
    on_duty = device // DEVICES * OPERATORS + shift
    return known.drop("_part").with_columns(operator_id=pl.when(state == "failed").then(on_duty))


_PLACE = ("time_zone", "country")


def _uplink(site: _Site, cut: list[Outage], number: int, stream: Stream) -> Generator[Any, Any, None]:
    env, priors, rng = site.env, site.priors, stream.generator()
    while True:
        yield env.timeout(_exponential(rng, priors("gateway.days_between_outages") * DAY))
        span = _lasting(rng, priors("gateway.outage_minutes"), priors("gateway.outage_log_sigma"))
        cut.append(Outage(number, env.now, env.now + span, "uplink"))
        yield env.timeout(span)


def _coverage(site: _Site, cut: list[Outage], number: int, stream: Stream) -> Generator[Any, Any, None]:
    env, priors, rng = site.env, site.priors, stream.generator()
    while True:
        yield env.timeout(_exponential(rng, priors("coverage.days_between") * DAY))
        span = _exponential(rng, priors("coverage.minutes") * 60 * SECOND)
        cut.append(Outage(number, env.now, env.now + span, "coverage"))
        yield env.timeout(span)


def _mains(site: _Site, cut: list[Outage], gateways: list[int], stream: Stream) -> Generator[Any, Any, None]:
    """The one cause that a site's devices and gateways share; modems are none of these. A gateway goes on storing on its battery. Most cuts are the weather's: their
    rate goes with the wind's power, the cube of its speed."""
    env, priors, rng = site.env, site.priors, stream.generator()
    hours = site.shared.hours
    share, days = priors("power.weather_share"), priors("power.days_between_cuts")
    rate = 1 - share + share * site.shared.wind_power(priors("weather.wind_shape"))
    passed = np.concatenate([[0.0], ((rate[1:] + rate[:-1]) / 2).cumsum()])
    while True:
        reached = float(np.interp(env.now, hours, passed)) + 24 * days * rng.standard_exponential()
        if reached >= passed[-1]:
            return
        yield env.timeout(max(1, round(float(np.interp(reached, passed, hours))) - env.now))
        span = _lasting(rng, priors("power.cut_minutes"), priors("power.cut_log_sigma"))
        cut += [Outage(number, env.now, env.now + span, "power") for number in gateways]
        site.restored = env.event()
        for process in list(site.live.values()):
            if process:
                process.interrupt()
        yield env.timeout(span)
        site.restored, over = None, site.restored
        over.succeed()


def _lasting(rng: np.random.Generator, minutes: float, log_sigma: float) -> int:
    return max(1, round(minutes * 60 * SECOND * math.exp(log_sigma * rng.standard_normal())))


def _exponential(rng: np.random.Generator, mean: float) -> int:
    return max(1, round(mean * rng.standard_exponential()))


_SPAN = {
    "device_id": pl.Int64,
    "started_at": pl.Int64,
    "ended_at": pl.Int64,
    "state": pl.String,
    "cause": pl.String,
    "firmware": pl.String,
    "crew_id": pl.Int64,
    **dict.fromkeys(("new", "spent", "full_at", "empty_at", "plugged", "charged"), pl.Int64),
}
_OUTAGE = {"entity": pl.Int64, "started_at": pl.Int64, "ended_at": pl.Int64, "cause": pl.String}


def _states(found: list[Span]) -> Table:
    """The spans, with how worn the part was at both ends (a share) and how charged the battery (per cent)."""
    columns = zip(*found, strict=True) if found else [[]] * len(_SPAN)
    frame = pl.DataFrame(
        [pl.Series(name, column, kind) for (name, kind), column in zip(_SPAN.items(), columns, strict=True)]
    )

    def wear(at: str) -> pl.Expr:
        return ((pl.col(at) - pl.col("new")) / (pl.col("spent") - pl.col("new"))).clip(0.0, 1.0)

    def charge(at: str) -> pl.Expr:
        plugged = (pl.col(at) - pl.col("plugged")) / (pl.col("charged") - pl.col("plugged"))
        left = (pl.col("empty_at") - pl.col(at)) / (pl.col("empty_at") - pl.col("full_at"))
        return 100.0 * pl.when(pl.col(at) > pl.col("plugged")).then(plugged).otherwise(left).clip(0.0, 1.0)

    ends = {"start": "started_at", "end": "ended_at"}
    gauges = [
        g(at).alias(f"{name}_{end}") for name, g in (("wear", wear), ("charge", charge)) for end, at in ends.items()
    ]
    frame = frame.with_columns(gauges).drop("new", "spent", "full_at", "empty_at", "plugged", "charged")
    return _addressed(frame, "device_id")


def _addressed(frame: Table, entity: str) -> Table:
    return frame.with_columns(pl.Series(ROW, join_rows(frame[entity].to_numpy(), frame["started_at"].to_numpy())))
