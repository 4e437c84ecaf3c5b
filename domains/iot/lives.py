"""What runs down in a device, and the hours that it keeps: its part, its battery, its duty. Times are microseconds since 1970."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from .civil import DAY, HOUR
from .climate import Climate
from .profiles import Duty as DutyHours
from .profiles import Power, Reliability

_NEVER = 1 << 62


@dataclass(frozen=True)
class Part:
    """What wears: new at `start`, spent at `end`, evenly in between."""

    start: int
    end: int

    @staticmethod
    def new(law: Reliability, factor: float, now: int, rng: np.random.Generator) -> Part:
        life = law.hours * factor * HOUR * rng.standard_exponential() ** (1 / law.shape)
        return Part(now, now + max(1, round(life)))

    @staticmethod
    def aged(law: Reliability, factor: float, born: int, now: int, rng: np.random.Generator) -> Part:
        """A part that has lasted from `born` until now, by the inverse of the conditional survival function. Parts have been replaced
        before: of an age beyond the law's scale, the rest of the division is what this one has served."""
        if born >= now:
            return Part.new(law, factor, born, rng)
        scale = law.hours * factor * HOUR
        served = (now - born) % max(1, round(scale))
        life = scale * ((served / scale) ** law.shape + rng.standard_exponential()) ** (1 / law.shape)
        return Part(now - served, now - served + max(served + 1, round(life)))

    def wear(self, at: int) -> float:
        return min(1.0, max(0.0, (at - self.start) / (self.end - self.start)))

    def reaches(self, wear: float | None) -> int:
        return _NEVER if wear is None else self.start + round(wear * (self.end - self.start))


@dataclass(frozen=True)
class Charge:
    """A battery: full at `start`, empty at `end`; on the charger from `plugged` on until it is full."""

    start: int
    end: int
    plugged: int = _NEVER
    full: int = _NEVER

    @staticmethod
    def new(power: Power, factor: float, now: int, rng: np.random.Generator) -> Charge:
        assert power.hours
        assert power.shape
        life = power.hours * factor * HOUR * rng.standard_exponential() ** (1 / power.shape)
        return Charge(now, now + max(1, round(life)))

    @staticmethod
    def aged(power: Power, factor: float, born: int, now: int, rng: np.random.Generator) -> Charge | None:
        if power.supply == "mains":
            return None
        assert power.hours
        part = Part.aged(Reliability(power.hours, power.shape or 1.0, None, ""), factor, born, now, rng)
        return Charge(part.start, part.end)

    def plug(self, now: int, hours: float) -> Charge:
        """The same on the charger."""
        return replace(self, plugged=now, full=now + max(1, round(hours * HOUR)))

    def at(self, t: int) -> float:
        if t > self.plugged:
            return min(100.0, 100.0 * (t - self.plugged) / (self.full - self.plugged))
        return 100.0 * min(1.0, max(0.0, (self.end - t) / (self.end - self.start)))


class Duty:
    """When a device is awake."""

    def __init__(self, hours: DutyHours, shared: Climate) -> None:
        first, there = int(shared.hours[0]), shared.civil
        if hours.days.startswith("sun"):
            grid = first + (HOUR // 12) * np.arange(12 * len(shared.hours) + 12 * 48)
            up = (shared.elevation(grid) > 0) == (hours.days == "sun-up")
            self._edges, self._first = grid[1:][up[1:] != up[:-1]], bool(up[0])
            return
        day = int(there.local(np.array([first]))[0]) // DAY + np.arange(-1, len(shared.hours) // 24 + 3)
        day = day if hours.days == "all" else day[there.works(day)]
        wakes, sleeps = (there.instant(day * DAY + round(hour * HOUR)) for hour in (hours.start, hours.end))
        apart = wakes[1:] > sleeps[:-1]  # who sleeps when he wakes does not
        wakes, sleeps = wakes[np.append(True, apart)[: len(day)]], sleeps[np.append(apart, True)[-len(day) :]]
        self._edges, self._first = np.stack([wakes, sleeps], 1).ravel(), False

    def at(self, now: int) -> tuple[bool, int]:
        """Whether it is awake, and when that changes next."""
        k = int(np.searchsorted(self._edges, now, "right"))
        return self._first ^ bool(k % 2), int(self._edges[k]) if k < len(self._edges) else _NEVER
