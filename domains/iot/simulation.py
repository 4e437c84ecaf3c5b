"""When: the life of a site as discrete events. Devices fail, wait for the crew and are repaired; gateways lose their uplink.

One SimPy environment for each site gives one list of intervals. Points never pass through it.
"""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Generator, Iterable, Mapping
from typing import Any, NamedTuple

import numpy as np
import polars as pl

from ...core.domain import Block
from ...core.priors import Priors
from ...core.stream import Stream, join_rows
from ...core.tables import ROW, Table, Tables
from .population import DAY, fleet

HOUR = 3_600_000_000
SECOND = 1_000_000
_EPOCH = dt.date(1970, 1, 1)


class Interval(NamedTuple):
    """A span [t0, t1) in which an entity was in one state, in microseconds since 1970."""

    entity: int
    t0: int
    t1: int
    state: str
    cause: str


def events(block: Block, tables: Tables) -> Tables:
    """The states of every device, and the outages of every gateway. A site is simulated whole; devices beyond the size are
    dropped afterwards, so that those before them have the same life in a larger dataset."""
    device, gateway = fleet(block), tables["gateway"]
    states: list[Interval] = []
    outages: list[Interval] = []
    for site in block.units.tolist():
        up_and_down, cut_off = simulate(
            block, site, device.filter(site_id=site), gateway.filter(site_id=site)["gateway_id"].to_list()
        )
        states += up_and_down
        outages += cut_off
    made = _frame(states, "device_id")
    return {
        "device_event": made.filter(pl.col("device_id") < block.size),
        "gateway_event": _frame(outages, "gateway_id").drop("state"),
    }


def simulate(block: Block, site: int, devices: Table, gateways: Iterable[int]) -> tuple[list[Interval], list[Interval]]:
    """One site: the intervals of its devices, tiling the window, and those in which a gateway was cut off."""
    import simpy

    window, stream, priors = block.window, block.stream.child("simulation", site), block.priors
    env = simpy.Environment(window.start)
    crew = simpy.Resource(env, priors("repair.crews"))
    log = _Log(env)
    for number, profile, installed in devices.select("device_id", "profile", "installed_on").iter_rows():
        age = window.start - (installed - _EPOCH).days * DAY
        env.process(
            _device(env, crew, log, number, _hazards(priors, profile, age), stream.child("device", number), priors)
        )
    cut: list[Interval] = []
    for number in gateways:
        env.process(_gateway(env, cut, number, stream.child("gateway", number), priors))
    env.run(until=window.end)
    return log.close(window.end), [i._replace(t1=min(i.t1, window.end)) for i in cut]


class _Hazard(NamedTuple):
    """A Weibull life; `age` is the service that the part had at the start."""

    scale: float
    shape: float
    age: float

    def first(self, rng: np.random.Generator) -> int:
        """What is left of a life that has lasted `age`: the inverse of the conditional survival function."""
        spent = self.age / self.scale
        life = self.scale * (spent**self.shape + rng.standard_exponential()) ** (1 / self.shape)
        return max(1, round(life - self.age))

    def next(self, rng: np.random.Generator) -> int:
        return max(1, round(self.scale * rng.standard_exponential() ** (1 / self.shape)))


def _hazards(priors: Priors, profile: str, age: int) -> dict[str, _Hazard]:
    found = {
        "hardware": _Hazard(priors("failure.hours")[profile] * HOUR, priors("failure.shape")[profile], age),
        "watchdog": _Hazard(priors("watchdog.hours") * HOUR, 1.0, 0),
    }
    if priors("battery.profiles")[profile]:
        # batteries have been changed before: how long ago, in lives, repeats with age
        life = priors("battery.hours") * HOUR
        found["battery"] = _Hazard(life, priors("battery.shape"), age % life)
    return found


def _device(
    env: Any, crew: Any, log: _Log, number: int, hazards: Mapping[str, _Hazard], stream: Stream, priors: Priors
) -> Generator[Any, Any, None]:
    rng = stream.generator()
    due = {cause: env.now + hazard.first(rng) for cause, hazard in hazards.items()}
    while True:
        log.enter(number, "up", "running")
        cause = min(due, key=due.__getitem__)
        yield env.timeout(max(1, due[cause] - env.now))
        if cause == "watchdog":
            log.enter(number, "restart", cause)
            yield env.timeout(_exponential(rng, priors("watchdog.seconds") * SECOND))
        else:
            log.enter(number, "failed", cause)
            with crew.request() as turn:
                yield turn
                yield env.timeout(_exponential(rng, priors("repair.response_hours") * HOUR))
                log.enter(number, "repair", cause)
                work = priors("repair.work_hours") * math.exp(priors("repair.work_log_sigma") * rng.standard_normal())
                yield env.timeout(max(1, round(work * HOUR)))
        due[cause] = env.now + hazards[cause].next(rng)


def _gateway(env: Any, cut: list[Interval], number: int, stream: Stream, priors: Priors) -> Generator[Any, Any, None]:
    rng = stream.generator()
    while True:
        yield env.timeout(_exponential(rng, priors("gateway.days_between_outages") * DAY))
        minutes = priors("gateway.outage_minutes") * math.exp(
            priors("gateway.outage_log_sigma") * rng.standard_normal()
        )
        span = max(1, round(minutes * 60 * SECOND))
        cause = "power" if rng.random() < priors("gateway.power_share") else "uplink"
        cut.append(Interval(number, env.now, env.now + span, "out", cause))
        yield env.timeout(span)


class _Log:
    """Transitions as intervals: entering a state ends the one before."""

    def __init__(self, env: Any) -> None:
        self._env = env
        self._open: dict[int, tuple[int, str, str]] = {}
        self._done: list[Interval] = []

    def enter(self, entity: int, state: str, cause: str) -> None:
        self._end(entity, self._env.now)
        self._open[entity] = (self._env.now, state, cause)

    def close(self, end: int) -> list[Interval]:
        for entity in self._open:
            self._end(entity, end)
        return sorted(self._done)

    def _end(self, entity: int, t1: int) -> None:
        if entity in self._open:
            t0, state, cause = self._open[entity]
            self._done.append(Interval(entity, t0, t1, state, cause))


def _exponential(rng: np.random.Generator, mean: float) -> int:
    return max(1, round(mean * rng.standard_exponential()))


def _frame(intervals: list[Interval], entity: str) -> Table:
    schema = {entity: pl.Int64, "started_at": pl.Int64, "ended_at": pl.Int64, "state": pl.String, "cause": pl.String}
    frame = pl.DataFrame(intervals, schema=schema, orient="row")
    return frame.with_columns(pl.Series(ROW, join_rows(frame[entity].to_numpy(), frame["started_at"].to_numpy())))
