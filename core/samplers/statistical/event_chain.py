"""Event sequences of entities: Markov, semi-Markov and hidden Markov chains over kinds of events, each with an end of its own.

A Markov chain in continuous time stays in a kind for exponential times (Norris 1997, Markov Chains, chapter 2); a semi-Markov chain for any time,
which depends on the kind and the next (Howard 1964; Yu 2010, Artificial Intelligence 174). In a hidden Markov model (Rabiner 1989, Proc. IEEE 77(2))
what moves is not seen: each hidden state shows kinds of events with probabilities of its own. `learn_events.py` learns them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ...errors import UserError
from ...stream import F64, U64, Stream
from ...tables import ROW, Table, rows
from ..rules import Guide
from .marginal import Marginal, dtype_of
from .regenerate import Rule, rebuild_rules, rule_state

STEPS = 1_000_000
"""Events of one entity at most; a chain that goes on is refused."""


@dataclass(frozen=True, eq=False)
class EventChain:
    """An entity for each row given: its key, and lists of the kinds and times of its events."""

    entity: Rule
    time: tuple[str, str]
    """The name of the column of times, and its type."""
    event: str
    kinds: tuple[str | None, ...]
    initial: F64
    """Of hidden states; without hidden ones, of kinds."""
    transition: F64
    """From each state to each, and in the last column to the end."""
    emission: F64
    """The kinds that each state shows; the unit matrix where nothing is hidden."""
    start: F64
    """Evenly spaced quantiles of the first time."""
    gaps: F64
    """Evenly spaced quantiles of the time from each kind to each next, shape (kinds, kinds, quantiles); with one figure, the mean of an
    exponential."""

    @property
    def columns(self) -> tuple[str, ...]:
        return (self.entity.column, self.time[0], self.event)

    @cached_property
    def _guides(self) -> tuple[Guide, Guide, Guide]:
        return Guide.of([self.initial]), Guide.of(self.transition), Guide.of(self.emission)

    def sample(self, given: Table, stream: Stream) -> Table:
        """Raises UserError if an entity has more than `STEPS` events."""
        address = rows(given)
        row, kind, time = self._events(address, stream.child("events"))
        order = np.lexsort((np.arange(len(row)), row))
        kinds = pl.Series(self.kinds, dtype=pl.String).gather(kind[order])
        flat = {self.time[0]: self._times(time[order]), self.event: kinds}
        whole = pl.DataFrame({ROW: row[order], **flat}).group_by(ROW, maintain_order=True).agg(pl.all())
        keys = self.entity.values(address, stream.child("rule"))
        return pl.DataFrame([keys, whole[self.time[0]], whole[self.event]])

    def _events(self, address: U64, stream: Stream) -> tuple[NDArray[np.int64], NDArray[np.int64], F64]:
        """All events: the entity, as a place among `address`, the kind and the time; each entity's in order."""
        first, move, show = self._guides
        at = np.arange(len(address))
        state = first.choose(stream.child("state", 0).uniform(address))
        kind = show.choose(stream.child("kind", 0).uniform(address), state)
        time = _quantile(self.start[None, :], np.zeros(len(address), np.int64), stream.child("start").uniform(address))
        found = [(at, kind, time)]
        for step in range(1, STEPS):
            state = move.choose(stream.child("state", step).uniform(address[at]), state)
            going = state < len(self.transition)
            at, state, before, time = at[going], state[going], kind[going], time[going]
            if not len(at):
                return tuple(np.concatenate(c) for c in zip(*found, strict=True))  # type: ignore[return-value]
            kind = show.choose(stream.child("kind", step).uniform(address[at]), state)
            time = time + self._gap(before, kind, stream.child("gap", step).uniform(address[at]))
            found.append((at, kind, time))
        raise UserError(f"event '{self.event}': {len(at):,} entities have more than {STEPS:,} events")

    def _gap(self, before: NDArray, kind: NDArray, u: F64) -> F64:
        if self.gaps.shape[2] == 1:
            return -self.gaps[before, kind, 0] * np.log1p(-u)
        return _quantile(self.gaps.reshape(-1, self.gaps.shape[2]), before * len(self.kinds) + kind, u)

    def _times(self, time: F64) -> pl.Series:
        dtype = dtype_of(self.time[1])
        values = time if dtype.is_float() else np.round(time).astype(np.int64)
        bare = Marginal(self.time[0], dtype, 0.0, np.array([0.0, 1.0]), np.zeros(1), np.zeros(1))
        return bare._typed(values)

    def state(self) -> tuple[dict[str, Any], dict[str, NDArray]]:
        plain = {
            "entity": rule_state(self.entity),
            "time": list(self.time),
            "event": self.event,
            "kinds": list(self.kinds),
        }
        return plain, {name: getattr(self, name) for name in _ARRAYS}


_ARRAYS = ("initial", "transition", "emission", "start", "gaps")


def rebuild_chain(plain: Mapping[str, Any], arrays: Mapping[str, NDArray]) -> EventChain:
    """The inverse of `EventChain.state`. Raises ValueError for what is no chain: every state must be able to come to the end."""
    held = {name: np.array(arrays[name]) for name in _ARRAYS}
    kinds = tuple(None if k is None else str(k) for k in plain["kinds"])
    hidden, shown = held["transition"].shape[0], len(kinds)
    shapes = {
        "initial": (hidden,),
        "transition": (hidden, hidden + 1),
        "emission": (hidden, shown),
        "start": (len(held["start"]),),
        "gaps": (shown, shown, held["gaps"].shape[-1]),
    }
    if any(
        a.dtype != np.float64 or a.shape != shapes[n] or not np.isfinite(a).all() or not a.size for n, a in held.items()
    ):
        raise ValueError("its arrays are not those of a chain")
    for name in ("initial", "transition", "emission"):
        if (held[name] < 0).any() or not np.allclose(held[name].sum(axis=-1), 1.0):
            raise ValueError(f"its {name} probabilities do not add up to 1")
    if not ends(held["transition"]):
        raise ValueError("it has no end")
    time = (str(plain["time"][0]), str(plain["time"][1]))
    names = (plain["entity"]["column"], time[0], str(plain["event"]))
    if len(set(names)) < 3 or len(set(kinds)) < shown:
        raise ValueError("its columns or kinds are not distinct")
    dtype_of(time[1])
    return EventChain(rebuild_rules([plain["entity"]])[0], time, names[2], kinds, **held)


def ends(transition: F64) -> bool:
    """Whether every state can come to the end."""
    coming = transition[:, -1] > 0
    while not coming.all():
        more = coming | (transition[:, :-1][:, coming] > 0).any(axis=1)
        if (more == coming).all():
            return False
        coming = more
    return True


def _quantile(tables: F64, which: NDArray, u: F64) -> F64:
    """Linear between the quantiles of the table of each row."""
    place = u * (tables.shape[1] - 1)
    low = np.floor(place).astype(np.int64)
    share = place - low
    return tables[which, low] * (1.0 - share) + tables[which, np.minimum(low + 1, tables.shape[1] - 1)] * share
