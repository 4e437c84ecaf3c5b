"""Playing a store to an outlet: each message when it is due, in order, again until it is confirmed; with an account of it all at the end."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ..errors import UserError
from ..tables import Table
from .outlets import Outlet, Unreachable
from .pace import Pace
from .store import Store

BATCH = 2_000
"""Messages handed over before their confirmations are waited for."""
LONGEST_PAUSE = 5.0
"""Seconds between two tries to reach an outlet, at most."""
GLANCE = 0.1
"""Seconds of waiting after which the controls are looked at."""


@dataclass
class Account:
    """What became of the messages."""

    messages: int = 0
    """In the stream."""
    sent: int = 0
    """Handed to the outlet, each try counted."""
    confirmed: int = 0
    retried: int = 0
    """Handed over once more because they had not been confirmed."""
    reconnected: int = 0
    last: int | None = None
    """The instant of the last confirmed message, microseconds since 1970."""

    @property
    def lost(self) -> int:
        return self.messages - self.confirmed

    def as_dict(self) -> dict[str, int | None]:
        return {**asdict(self), "lost": self.lost}


@dataclass
class Controls:
    """What may be changed while a stream plays; `play` looks at it before each batch."""

    pace: Pace = field(default_factory=Pace)
    paused: bool = False
    stopped: bool = False
    following: Store | None = None
    """Another store to go on with, from the next instant."""
    holding: bool = False
    """Another store is being made: nothing is sent until it is there, so that what begins now is not too late."""
    reached: int | None = None
    """The instant up to which all is sent or about to be: microseconds since 1970."""
    lock: threading.Lock = field(default_factory=threading.Lock)
    """Held while `holding` and `reached` are read and set together."""


@dataclass(frozen=True)
class Part:
    """A store and the span of time that is played of it: from `since` to before `until`, microseconds."""

    store: Store
    since: int | None = None
    until: int | None = None


def play(
    parts: Sequence[Part],
    outlet: Outlet,
    account: Account,
    controls: Controls,
    *,
    patience: float = 300.0,
    step: Callable[[int], None] = lambda confirmed: None,
    switched: Callable[[int], None] = lambda instant: None,
) -> None:
    """Send all messages of some parts, in order, and keep account of them. `switched` hears the first instant that comes from a store that
    the controls named; it takes the place of all that was still to come.

    An outlet that goes away is tried again for `patience` seconds; then, and if it cannot be reached at the start, UserError is raised.
    """
    account.messages = sum(p.store.count(p.since, p.until) for p in parts)
    try:
        outlet.open()
    except Unreachable as error:
        raise UserError(f"cannot reach {error}") from None
    agenda = list(parts)
    try:
        while agenda and not controls.stopped:
            _play_one(agenda.pop(0), outlet, account, controls, patience, step)
            if controls.following is not None and controls.reached is not None:
                since = controls.reached + 1
                agenda = [Part(controls.following, since)]
                controls.following = None
                account.messages = account.confirmed + agenda[0].store.count(since)
                switched(since)
    finally:
        outlet.close()


def _play_one(
    part: Part, outlet: Outlet, account: Account, controls: Controls, patience: float, step: Callable[[int], None]
) -> None:
    """Play one part until its end, or until there is another store to go on with and the last instant was sent whole."""
    clock: _Clock | None = None
    for frame in part.store.slices(part.since, part.until):
        at, done = frame["at"].to_numpy(), 0
        while done < frame.height:
            with controls.lock:
                if controls.reached is None:
                    controls.reached = int(at[0]) - 1
                waits = controls.paused or controls.holding
            if waits and not controls.stopped:
                time.sleep(GLANCE)
                clock = None
                continue
            if controls.stopped:
                return
            end = frame.height
            if controls.following is not None:
                # what happened at the same instant still belongs to this store
                end = int(np.searchsorted(at, controls.reached, side="right"))
                if end <= done:
                    return
            if clock is None or clock.pace != controls.pace:
                clock = _Clock(controls.pace, int(at[done]))
            ready = clock.ready(at[done : min(end, done + BATCH)])
            with controls.lock:
                if controls.holding:
                    continue
                if ready:
                    controls.reached = int(at[done + ready - 1])
            if ready:
                _deliver(frame.slice(done, ready), outlet, account, patience, step)
                clock.sent += ready
                done += ready


@dataclass
class _Clock:
    """A pace from an instant of the stream and a moment of ours."""

    pace: Pace
    origin: int
    sent: int = 0
    began: float = field(default_factory=time.monotonic)

    def ready(self, at: NDArray[np.int64]) -> int:
        """How many of the next messages are due; waits, though not for long, if none is."""
        due = self.pace.due(at, self.origin, self.sent)
        now = time.monotonic() - self.began
        ready = int(np.searchsorted(due, now, side="right"))
        if not ready:
            time.sleep(min(due[0] - now, GLANCE))
        return ready


def _deliver(batch: Table, outlet: Outlet, account: Account, patience: float, step: Callable[[int], None]) -> None:
    failing_since: float | None = None
    pause = 0.05
    while batch.height:
        account.sent += batch.height
        confirmed = outlet.send(batch)
        left = unconfirmed(batch, confirmed)
        done = batch.height - left.height
        account.confirmed += done
        if done:
            account.last = int(batch["at"][int(np.flatnonzero(confirmed)[-1])])
            step(done)
            failing_since, pause = None, 0.05
        if left.is_empty():
            return
        account.retried += left.height
        failing_since = failing_since or time.monotonic()
        while True:
            time.sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE)
            try:
                outlet.open()
                account.reconnected += 1
                break
            except Unreachable as error:
                if time.monotonic() - failing_since > patience:
                    raise UserError(
                        f"gave up after {patience:.0f} s without {error}: {account.confirmed:,} of {account.messages:,} messages are confirmed"
                    ) from None
        batch = left


def unconfirmed(batch: Table, confirmed: NDArray[np.bool_]) -> Table:
    """What has to be sent again: of each key, all from the first message on that was not confirmed, so that order holds within it."""
    if confirmed.all():
        return batch.clear()
    frame = pl.DataFrame({"key": batch["key"], "confirmed": confirmed})
    so_far = frame.select(pl.col("confirmed").cast(pl.Int8).cum_min().over("key").cast(pl.Boolean))["confirmed"]
    return batch.filter(~so_far)
