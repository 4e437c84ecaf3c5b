"""How event sequences are learnt from a table of events: transitions by counting, hidden states by expectation maximisation."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ...errors import UserError, unknown
from ...parts import asked_to_stop, break_off, half
from ...stream import F64, Stream
from ...tables import ROW, Table
from .detect import rules_of
from .event_chain import EventChain
from .marginal import dtype_text, numbers
from .regenerate import Rule

QUANTILES = 201
KINDS = 500
"""Kinds of events at most: a column with more is no kind."""
FEW = 5
"""Where fewer gaps than these were seen between two kinds, those after the first kind stand in."""
STATES = 4
ROUNDS = 200
_ENOUGH = 1e-7


@dataclass(frozen=True)
class Roles:
    """Which columns say whose event it is, when, and of what kind (the only other column, without a name)."""

    entity: str
    time: str
    event: str | None = None


@dataclass(frozen=True)
class _Events:
    kinds: tuple[str | None, ...]
    kind: NDArray[np.int64]
    """Of each event; entities one after another, each in order of time."""
    time: F64
    first: NDArray[np.bool_]
    """Which events are an entity's first."""
    entity: Rule
    dtype: str
    event: str


def fit_markov(table: Table, stream: Stream, roles: Roles) -> EventChain:
    """A Markov chain in continuous time. Raises UserError for roles that the table does not have, missing entities or times, a time that is
    none, or more than `KINDS` kinds."""
    events = _read(table, roles)
    initial, transition = _counted(events)
    gap, before, _ = _gaps(events)
    size = len(events.kinds)
    total, seen = np.bincount(before, gap, size), np.bincount(before, minlength=size)
    mean = np.where(seen > 0, total / np.maximum(seen, 1), gap.mean() if len(gap) else 0.0)
    return _chain(events, roles, initial, transition, np.eye(size), np.repeat(mean[:, None], size, axis=1)[:, :, None])


def fit_semi_markov(table: Table, stream: Stream, roles: Roles) -> EventChain:
    """A semi-Markov chain. Raises as `fit_markov`."""
    events = _read(table, roles)
    return _chain(events, roles, *_counted(events), np.eye(len(events.kinds)), _gap_quantiles(events))


def fit_hidden(table: Table, stream: Stream, roles: Roles, states: int = STATES) -> EventChain:
    """A hidden Markov model with `states` states, by the Baum-Welch algorithm (Rabiner 1989), from a start that `stream` names.

    Times depend on what is seen, as in a semi-Markov chain. Raises as `fit_markov`.
    """
    events = _read(table, roles)
    shown, first = len(events.kinds), np.flatnonzero(events.first)
    length = np.diff(np.append(first, len(events.kind)))
    padded = np.zeros((len(first), int(length.max())), np.int64)
    there = np.arange(padded.shape[1]) < length[:, None]
    padded[there] = events.kind
    draw = stream.child("start").generator()
    initial = draw.dirichlet(np.full(states, 5.0))
    transition = draw.dirichlet(np.full(states + 1, 5.0), states)
    share = np.bincount(events.kind, minlength=shown) / len(events.kind)
    emission = draw.dirichlet(np.full(shown, 1.0), states) + share
    emission /= emission.sum(axis=1, keepdims=True)
    last = -np.inf
    done, last, initial, transition, emission = half("rounds") or (0, last, initial, transition, emission)
    for round_ in range(done, ROUNDS):
        if asked_to_stop():
            break_off("rounds", (round_, float(last), initial, transition, emission))
        likelihood, initial, transition, emission = _improved(padded, there, length, initial, transition, emission)
        if likelihood - last < _ENOUGH * abs(likelihood):
            break
        last = likelihood
    # a state that nothing leaves for the end would go on for ever
    transition = transition + 1e-9 * (np.arange(states + 1) == states)
    transition /= transition.sum(axis=1, keepdims=True)
    return _chain(events, roles, initial, transition, emission, _gap_quantiles(events))


def _improved(
    seen: NDArray, there: NDArray, length: NDArray, initial: F64, transition: F64, emission: F64
) -> tuple[float, F64, F64, F64]:
    """One round of Baum-Welch with scaling, all sequences side by side; the likelihood is that of what came in."""
    n, longest = seen.shape
    states, shown = emission.shape
    inner, out = transition[:, :states], transition[:, states]
    shows = emission.T[seen]
    forward, scale = np.zeros((longest, n, states)), np.ones((longest, n))
    now = initial * shows[:, 0]
    for t in range(longest):
        if t:
            now = np.where(there[:, t, None], (forward[t - 1] @ inner) * shows[:, t], 0.0)
        scale[t] = np.where(there[:, t], now.sum(axis=1), 1.0)
        forward[t] = now / np.maximum(scale[t], 1e-300)[:, None]
    end = forward[length - 1, np.arange(n)] @ out
    likelihood = float(np.log(np.maximum(scale, 1e-300)).sum() + np.log(np.maximum(end, 1e-300)).sum())
    moved, left, shown_by = np.zeros((states, states)), np.zeros(states), np.zeros((shown, states))
    begun = np.zeros(states)
    backward = np.zeros((n, states))
    for t in range(longest - 1, -1, -1):
        final = length - 1 == t
        if t + 1 < longest:
            following = shows[:, t + 1] * backward / np.maximum(scale[t + 1], 1e-300)[:, None]
            on = there[:, t + 1]
            moved += inner * (forward[t][on].T @ (following[on]))
            backward = np.where(on[:, None], following @ inner.T, backward)
        backward = np.where(final[:, None], out / np.maximum(end, 1e-300)[:, None], backward)
        gamma = np.where(there[:, t, None], forward[t] * backward, 0.0)
        left += gamma[final].sum(axis=0)
        shown_by += np.stack([np.bincount(seen[:, t], g, shown) for g in gamma.T], axis=1)
        if t == 0:
            begun = gamma.sum(axis=0)
    total = np.column_stack((moved, left)) + 1e-12
    return (
        likelihood,
        begun / begun.sum(),
        total / total.sum(axis=1, keepdims=True),
        ((shown_by + 1e-12) / (shown_by + 1e-12).sum(axis=0)).T,
    )


def _read(table: Table, roles: Roles) -> _Events:
    for name in (roles.entity, roles.time, *([roles.event] if roles.event else [])):
        if name not in table.columns:
            raise unknown("column", name, table.columns, "event sequences")
    others = [c for c in table.columns if c not in (roles.entity, roles.time)]
    if not table.height or ROW in table.columns:
        raise UserError(f"the table has {table.height:,} rows: there is nothing to learn, or a column '{ROW}'")
    if roles.event is None and len(others) != 1:
        raise UserError(f"which column says the kind of event? Say --event; there are {', '.join(others) or 'none'}")
    event = roles.event or others[0]
    for name in (roles.entity, roles.time):
        if table[name].null_count():
            raise UserError(f"column '{name}': is missing in {table[name].null_count():,} rows of events")
    dtype = table.schema[roles.time]
    if not (dtype.is_numeric() or dtype.is_temporal()):
        raise UserError(f"column '{roles.time}' has type {dtype}, expected times or numbers")
    ordered = table.sort(roles.entity, roles.time, maintain_order=True)
    texts = ordered[event].cast(pl.String)
    kinds = texts.unique().sort().to_list()
    if len(kinds) > KINDS:
        raise UserError(f"column '{event}' has {len(kinds):,} kinds of events, more than {KINDS}")
    kind = texts.replace_strict(pl.Series(kinds, dtype=pl.String), np.arange(len(kinds)), return_dtype=pl.Int64)
    first = (ordered[roles.entity] != ordered[roles.entity].shift(1)).fill_null(True).to_numpy()
    keys = ordered[roles.entity].filter(pl.Series(first))
    found = rules_of(keys.to_frame())
    whole = keys.dtype.is_integer()
    rule = Rule(roles.entity, "number" if whole else "uuid", dtype_text(keys.dtype), unique=True, counted=True)
    if not whole and keys.dtype != pl.String:
        raise UserError(f"column '{roles.entity}' has type {keys.dtype}, expected whole numbers or text")
    time = numbers(ordered[roles.time], dtype)[0].astype(np.float64)
    return _Events(tuple(kinds), kind.to_numpy(), time, first, found[0][0] if found else rule, dtype_text(dtype), event)


def _counted(events: _Events) -> tuple[F64, F64]:
    """The shares of first kinds, and of what follows each kind, the end last."""
    size = len(events.kinds)
    initial = np.bincount(events.kind[events.first], minlength=size) / events.first.sum()
    following = np.where(np.append(events.first[1:], True), size, np.append(events.kind[1:], 0))
    counts = np.bincount(events.kind * (size + 1) + following, minlength=size * (size + 1)).reshape(size, size + 1)
    return initial, counts / counts.sum(axis=1, keepdims=True)


def _gaps(events: _Events) -> tuple[F64, NDArray, NDArray]:
    """Times between an entity's events, with the kinds before and after."""
    on = np.flatnonzero(~events.first)
    return events.time[on] - events.time[on - 1], events.kind[on - 1], events.kind[on]


def _gap_quantiles(events: _Events) -> F64:
    gap, before, after = _gaps(events)
    size, levels = len(events.kinds), np.linspace(0, 1, QUANTILES)
    made = np.zeros((size, size, QUANTILES))
    if not len(gap):
        return made
    made[:] = np.quantile(gap, levels)
    pair = before * size + after
    order = np.argsort(pair, kind="stable")
    for k in range(size):
        if (own := gap[before == k]).size >= FEW:
            made[k] = np.quantile(own, levels)
    for held in np.split(order, np.flatnonzero(np.diff(pair[order])) + 1):
        if len(held) >= FEW:
            made[before[held[0]], after[held[0]]] = np.quantile(gap[held], levels)
    return made


def _chain(events: _Events, roles: Roles, initial: F64, transition: F64, emission: F64, gaps: F64) -> EventChain:
    start = np.quantile(events.time[events.first], np.linspace(0, 1, QUANTILES))
    return EventChain(
        events.entity, (roles.time, events.dtype), events.event, events.kinds, initial, transition, emission, start, gaps
    )  # fmt: skip
