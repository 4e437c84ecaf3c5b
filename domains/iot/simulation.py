"""When: the life of a site as discrete events. Devices sleep, wear, fail, wait for the crew and are repaired; batteries run down and are
changed or charged; firmware is rolled out; the mains and uplinks go and come back.

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
from .climate import HOUR, Climate, climate
from .lives import Charge, Duty, Part
from .population import DAY, fleet
from .profiles import Profile
from .rollout import Rollout, rollouts

SECOND = 1_000_000
_EPOCH = dt.date(1970, 1, 1)
_NEVER = 1 << 62


class Interval(NamedTuple):
    """A span [t0, t1) in which a device was in one state, in microseconds since 1970. Wear is a share, charge per cent."""

    entity: int
    t0: int
    t1: int
    state: str
    cause: str
    firmware: str
    wear_start: float
    wear_end: float
    charge_start: float | None
    charge_end: float | None


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
    states: list[Interval] = []
    outages: list[Outage] = []
    for site in tables["site"].iter_rows(named=True):
        number = site["site_id"]
        here = device.filter(site_id=number)
        cut = simulate(
            block, climate(block, site), number, here, gateway.filter(site_id=number)["gateway_id"].to_list()
        )
        states += cut[0]
        outages += cut[1]
    made = _frame(states, Interval, "device_id")
    return {
        "device_event": made.filter(pl.col("device_id") < block.size),
        "gateway_event": _frame(outages, Outage, "gateway_id"),
    }


def simulate(
    block: Block, shared: Climate, number: int, devices: Table, gateways: Iterable[int]
) -> tuple[list[Interval], list[Outage]]:
    """One site: the intervals of its devices, tiling the window, and those in which a gateway was cut off."""
    import simpy

    window, stream = block.window, block.stream.child("simulation", number)
    env = simpy.Environment(window.start)
    site = _Site(env, simpy.Resource(env, block.priors("repair.crews")), block.priors, shared)
    waves = rollouts(block)
    logs = []
    for key, profile, firmware, installed in devices.select(
        "device_id", "profile", "firmware", "installed_on"
    ).iter_rows():
        age = window.start - (installed - _EPOCH).days * DAY
        logs.append(_Log(env, key, firmware))
        process = _device(site, block.library[profile], age, logs[-1], waves, stream.child("device", key))
        logs[-1].process = env.process(process)
    cut: list[Outage] = []
    gateways = list(gateways)
    for key in gateways:
        env.process(_uplink(site, cut, key, stream.child("gateway", key)))
    env.process(_mains(site, cut, gateways, stream.child("mains")))
    env.run(until=window.end)
    return sorted(i for log in logs for i in log.close(window.end)), [i._replace(t1=min(i.t1, window.end)) for i in cut]


class _Site:
    """What the devices of a site share."""

    def __init__(self, env: Any, crew: Any, priors: Priors, shared: Climate) -> None:
        self.env, self.crew, self.priors, self.shared = env, crew, priors, shared
        self.restored: Any = None
        """The event that ends a power cut, while there is one."""
        self.live: dict[int, Any] = {}
        """The processes of devices on mains that run or sleep: a cut interrupts them."""


class _Log:
    """One device's transitions as intervals: entering a state ends the one before."""

    def __init__(self, env: Any, entity: int, firmware: str) -> None:
        self._env, self.entity, self.firmware = env, entity, firmware
        self._open: tuple[int, str, str] | None = None
        self._done: list[Interval] = []
        self.part: Part | None = None
        self.charge: Charge | None = None
        self.process: Any = None

    def enter(self, state: str, cause: str) -> None:
        """End the state that is, with the part and the battery as they are: change those afterwards."""
        now = self._env.now
        if self._open:
            t0, old, why = self._open
            if old == state and why == cause and state != "restart":
                return
            self._end(t0, now, old, why)
        self._open = (now, state, cause)

    def again(self) -> None:
        """Cut the state that is in two: its part, battery or firmware changes within it."""
        if self._open:
            t0, state, cause = self._open
            self._end(t0, self._env.now, state, cause)
            self._open = (self._env.now, state, cause)

    def close(self, end: int) -> list[Interval]:
        if self._open:
            self._end(self._open[0], end, *self._open[1:])
        return self._done

    def _end(self, t0: int, t1: int, state: str, cause: str) -> None:
        if t1 <= t0:
            return
        assert self.part
        charge = (self.charge.at(t0), self.charge.at(t1)) if self.charge else (None, None)
        wear = self.part.wear(t0), self.part.wear(t1)
        self._done.append(Interval(self.entity, t0, t1, state, cause, self.firmware, *wear, *charge))


def _device(
    site: _Site, profile: Profile, age: int, log: _Log, waves: list[Rollout], stream: Stream
) -> Generator[Any, Any, None]:
    import simpy

    env, priors, rng = site.env, site.priors, stream.generator()
    born = env.now - age
    log.part = Part.aged(profile.reliability, priors("profile.life"), born, env.now, rng)
    log.charge = Charge.aged(profile.power, priors("profile.life"), born, env.now, rng)
    mains = profile.power.supply == "mains"
    if age < 0:
        log.enter("provisioned", "delivery")
        yield env.timeout(-age)
    duty = Duty(profile.duty, site.shared) if profile.duty else None
    wave = rng.random()
    due = {
        "hardware": log.part.end,
        "wear": _NEVER,
        "battery": log.charge.end if log.charge else _NEVER,
        "watchdog": env.now + _exponential(rng, priors("watchdog.hours") * HOUR),
        "age": born + priors("device.age_days") * DAY,
        "schedule": _NEVER,
    }
    updates = iter([(r.reaches(wave), r.version) for r in waves if r.reaches(wave) >= env.now] + [(_NEVER, "")])
    due["update"], version = next(updates)
    while True:
        if env.now >= due["age"]:
            log.enter("retired", "age")
            return
        if mains and site.restored:
            log.enter("off", "power")
            yield site.restored
            continue
        awake = True
        if duty:
            awake, due["schedule"] = duty.at(env.now)
        worn_at = log.part.reaches(profile.reliability.degraded)
        worn = worn_at <= env.now
        due["wear"] = _NEVER if worn else worn_at
        cause = min(due, key=due.__getitem__)
        if due[cause] > env.now:
            log.enter(*(("asleep", "schedule") if not awake else ("degraded", "wear") if worn else ("up", "running")))
            site.live[log.entity] = log.process if mains else None
            try:
                yield env.timeout(due[cause] - env.now)
            except simpy.Interrupt:
                continue
            finally:
                del site.live[log.entity]
        if cause in ("schedule", "age", "wear"):
            continue
        if cause in ("watchdog", "update"):
            if cause == "update":
                log.again()
                log.firmware = version
                due["update"], version = next(updates)
            else:
                due[cause] = env.now + _exponential(rng, priors("watchdog.hours") * HOUR)
            if awake:
                log.enter("restart", cause)
                yield env.timeout(_exponential(rng, priors("watchdog.seconds") * SECOND))
            continue
        charged = cause == "battery" and profile.power.charge_hours is not None
        if charged:
            assert log.charge
            assert profile.power.charge_hours
            log.enter("asleep", "charging")
            log.charge.plug(env.now, profile.power.charge_hours)
            yield env.timeout(max(1, round(profile.power.charge_hours * HOUR)))
        else:
            log.enter("failed", cause)
            with site.crew.request() as turn:
                yield turn
                yield env.timeout(_exponential(rng, priors("repair.response_hours") * HOUR))
                log.enter("repair", cause)
                work = priors("repair.work_hours") * math.exp(priors("repair.work_log_sigma") * rng.standard_normal())
                yield env.timeout(max(1, round(work * HOUR)))
        log.enter("up", "running")
        # a crew changes all in a device that is spent
        if not charged and log.part.end <= env.now:
            log.part = Part.new(profile.reliability, priors("profile.life"), env.now, rng)
            due["hardware"] = log.part.end
        if log.charge and log.charge.end <= env.now:
            log.charge = Charge.new(profile.power, priors("profile.life"), env.now, rng)
            due["battery"] = log.charge.end


def completed(event: Table) -> Table:
    """Events in order, of which scenarios have put in some or moved their ends: these run on the firmware that was, keep wear and charge
    as they were where they do not say, and wear goes on growing, charge falling."""
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
    return known.drop("_part")


def _uplink(site: _Site, cut: list[Outage], number: int, stream: Stream) -> Generator[Any, Any, None]:
    env, priors, rng = site.env, site.priors, stream.generator()
    while True:
        yield env.timeout(_exponential(rng, priors("gateway.days_between_outages") * DAY))
        span = _lasting(rng, priors("gateway.outage_minutes"), priors("gateway.outage_log_sigma"))
        cut.append(Outage(number, env.now, env.now + span, "uplink"))
        yield env.timeout(span)


def _mains(site: _Site, cut: list[Outage], gateways: list[int], stream: Stream) -> Generator[Any, Any, None]:
    """The one cause that a site's devices and gateways share. A gateway goes on storing on its battery."""
    env, priors, rng = site.env, site.priors, stream.generator()
    while True:
        yield env.timeout(_exponential(rng, priors("power.days_between_cuts") * DAY))
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


def _frame(found: list[Any], kind: Any, entity: str) -> Table:
    types = {
        "entity": pl.Int64,
        "t0": pl.Int64,
        "t1": pl.Int64,
        "state": pl.String,
        "cause": pl.String,
        "firmware": pl.String,
    }
    schema = {name: types.get(name, pl.Float64) for name in kind._fields}
    frame = pl.DataFrame(found, schema=schema, orient="row").rename(
        {"entity": entity, "t0": "started_at", "t1": "ended_at"}
    )
    return frame.with_columns(pl.Series(ROW, join_rows(frame[entity].to_numpy(), frame["started_at"].to_numpy())))
