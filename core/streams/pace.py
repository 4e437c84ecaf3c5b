"""When each message is due: in event time, faster or slower, at a steady rate, or as fast as the other side takes them."""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..errors import UserError


@dataclass(frozen=True)
class Pace:
    """`speed` times faster than the events happened, or `rate` messages a second, or neither: no waiting."""

    speed: float | None = None
    rate: float | None = None

    def due(self, at: NDArray[np.int64], origin: int, sent: int) -> NDArray[np.float64]:
        """Seconds after the start at which each of the next messages is due. `origin`: the instant (microseconds) at which the stream
        started; `sent`: how many messages went before."""
        if self.rate is not None:
            return (sent + np.arange(len(at))) / self.rate
        if self.speed is not None:
            return (at - origin) / 1e6 / self.speed
        return np.zeros(len(at))


def parse_pace(speed: str | None, rate: str | None) -> Pace:
    """Read `--speed 60x`, `--speed max` and `--rate 1000/s`."""
    if speed is not None and rate is not None:
        raise UserError("give --speed or --rate, not both")
    if rate is not None:
        match = re.fullmatch(r"([0-9]+(?:\.[0-9]+)?)(/s)?", rate.strip())
        if not match or float(match[1]) <= 0:
            raise UserError(f"--rate is '{rate}', expected messages a second, such as 1000/s")
        return Pace(rate=float(match[1]))
    if speed is None or speed.strip() == "max":
        return Pace()
    match = re.fullmatch(r"([0-9]+(?:\.[0-9]+)?)x?", speed.strip())
    if not match or float(match[1]) <= 0:
        raise UserError(f"--speed is '{speed}', expected how many times faster than real time, such as 60x, or max")
    return Pace(speed=float(match[1]))
