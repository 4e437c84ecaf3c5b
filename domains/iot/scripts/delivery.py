"""The vocabulary of wrong times: what becomes of when a sample says that it was taken, and of when it arrives.

Each is a pure function of the samples' own times, in microseconds since 1970."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable

import numpy as np

from ..readings import I64

SECOND = 1_000_000


def set_to(taken: I64, rng: np.random.Generator, at: str) -> I64:
    """The clock started from another instant (ISO 8601, UTC) at the first sample and runs on from there."""
    return instant(at) + (taken - taken[0])


def step(taken: I64, rng: np.random.Generator, seconds: float) -> I64:
    """The clock is off by so much."""
    return taken + round(seconds * SECOND)


def skew(taken: I64, rng: np.random.Generator, ppm: float) -> I64:
    """The clock runs fast (or slow) by so many parts in a million, and is set right at the end."""
    return taken + np.rint((taken - taken[0]) * (ppm / 1e6)).astype(np.int64)


def smear(taken: I64, rng: np.random.Generator, seconds: float) -> I64:
    """A second is put in (or left out) bit by bit: even over the span, from nothing to `seconds` off and set right at the end."""
    return taken + np.rint((taken - taken[0]) / max(1, int(taken[-1] - taken[0])) * seconds * SECOND).astype(np.int64)


def scale(taken: I64, rng: np.random.Generator, factor: float) -> I64:
    """Times since 1970 are multiplied: one unit is taken for another."""
    return np.rint(taken * factor).astype(np.int64)


def freeze(taken: I64, rng: np.random.Generator) -> I64:
    """The clock stands still."""
    return np.full_like(taken, taken[0])


def truncate(taken: I64, rng: np.random.Generator, seconds: float) -> I64:
    """Times are cut to whole multiples."""
    return taken - taken % round(seconds * SECOND)


def late(taken: I64, received: I64, rng: np.random.Generator, seconds: float, power: float = 0.0) -> I64:
    """Delays of exponential length on top, `seconds` on average; with `power`, they grow as that power of the time passed."""
    wait = rng.standard_exponential(len(received)) * seconds * SECOND
    passed = (taken - taken[0]) / max(1, int(taken[-1] - taken[0]))
    return received + np.rint(wait * passed**power).astype(np.int64)


def shuffle(taken: I64, received: I64, rng: np.random.Generator, samples: float = 8) -> I64:
    """Batches of so many arrive when the last of them does, in random order, a millisecond apart."""
    batch = np.arange(len(received)) // int(samples)
    last = np.maximum.reduceat(received, np.flatnonzero(np.diff(batch, prepend=-1)))
    order = np.argsort(rng.random(len(received)) + batch, kind="stable")
    place = np.empty(len(received), np.int64)
    place[order] = np.arange(len(received))
    return last[batch] + (place % int(samples)) * 1_000


def throttle(taken: I64, received: I64, rng: np.random.Generator, rate: float) -> I64:
    """A queue that lets through `rate` times what comes in on average: each waits for those before it."""
    if len(received) < 2:
        return received
    every = int((received[-1] - received[0]) / (len(received) - 1) / rate)
    at = np.arange(len(received)) * every
    return np.maximum.accumulate(received - at) + at


def batch(taken: I64, received: I64, rng: np.random.Generator, minutes: float) -> I64:
    """All that is taken within so many minutes arrives at their end, at once."""
    every = round(minutes * 60 * SECOND)
    return np.maximum(received, received[0] + ((taken - taken[0]) // every + 1) * every)


CLOCKS: dict[str, Callable[..., I64]] = {f.__name__: f for f in (set_to, step, skew, smear, scale, freeze, truncate)}
FROM_THE_FIRST = ("freeze", "skew", "smear")
"""What goes on from the first sample, and leaves that as it is."""
DELIVERIES: dict[str, Callable[..., I64]] = {f.__name__: f for f in (late, shuffle, throttle, batch)}


def instant(text: str) -> int:
    """Microseconds since 1970 of an ISO 8601 instant, UTC where it names no zone."""
    at = dt.datetime.fromisoformat(text)
    at = at if at.tzinfo else at.replace(tzinfo=dt.UTC)
    return (at - dt.datetime(1970, 1, 1, tzinfo=dt.UTC)) // dt.timedelta(microseconds=1)
