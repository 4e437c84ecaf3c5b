"""New firmware, in waves over the whole fleet: which version reaches a device when."""

from __future__ import annotations

from dataclasses import dataclass

from ...core.domain import Block
from .civil import HOUR

_DAY = 24 * HOUR
_MONTH = 365.2425 / 12 * _DAY


@dataclass(frozen=True)
class Rollout:
    """A release at `start`; wave k takes the devices below the k-th of `shares`, and begins `hours` after the wave before."""

    version: str
    start: int
    shares: tuple[float, ...]
    hours: float

    def reaches(self, place: float) -> int:
        """When a device at this place (from 0 to 1) in the order of the fleet is updated: at some time of its wave."""
        below = 0.0
        for k, share in enumerate(self.shares):
            if place < share:
                return self.start + round((k + (place - below) / (share - below)) * self.hours * HOUR)
            below = share
        return 1 << 62


def rollouts(block: Block) -> list[Rollout]:
    """The releases that reach somebody in the window: a Poisson process over time, the same for every site."""
    priors = block.priors
    shares, hours = tuple(priors("rollout.waves")), priors("rollout.wave_hours")
    month, found = priors("firmware.months"), []
    first = block.window.start - round(len(shares) * hours * HOUR)
    rng = block.stream.child("release").generator()
    at = first + round(rng.standard_exponential() * month * _MONTH)
    while at < block.window.end:
        found.append(Rollout(f"2.{5 + len(found)}.0", at, shares, hours))
        at += max(1, round(rng.standard_exponential() * month * _MONTH))
    return found
