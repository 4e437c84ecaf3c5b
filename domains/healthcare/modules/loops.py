"""Delays that mostly lead back to themselves ("each month, one in a hundred falls ill") are not walked through turn by turn.

While nothing that the way out reads has changed, the number of turns until it leads elsewhere is geometric: it is drawn at once, and
the patient sleeps until then. An age, a date or a row of a table that falls due ends the stretch; so does a fact that another module
changes, since the geometric distribution has no memory.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from .draws import duration, fixed
from .memory import some
from .people import ALIVE
from .predicates import Fact, changes, facts, holds
from .values import DAY, Option, Share
from .ways import Table, first_below, weight

if TYPE_CHECKING:
    from .machine import Run
    from .program import Op, Program

Spread = Callable[["Run", NDArray, NDArray], NDArray[np.float64]]
"""spread(run, patients, at): the probability of each target."""
UNSTEADY = {"PriorState", "Vital Sign"}


def loops(program: Program, s: int) -> bool:
    """Whether a state is a delay of fixed length that may lead back to itself by chance, in a way that can be foreseen."""
    state = program.states[s]
    way = state.transition
    if state.kind != "Delay" or way is None or way.kind in ("direct", "type_of_care") or program.watchers[s]:
        return False
    amount = state.has["amount"]
    steady = not any(part.kind in UNSTEADY or "month" in part.has for logic in state.logic() for part in logic.walk())
    return fixed(amount) and int(duration(amount, np.zeros(1))[0]) > 0 and state.name in way.targets and steady


def loop_facts(program: Program, s: int) -> set[Fact]:
    """What the way out of a loop reads that a state may change."""
    way = program.states[s].transition
    found: set[Fact] = set()
    if way is None:
        return found
    for option in (*way.options, *(x for o in way.options for x in o.spread)):
        if option.when is not None:
            found |= facts(option.when)
        if isinstance(option.weight, Share):
            found.add(("attribute", option.weight.attribute))
    if way.table:
        found |= {("attribute", k) for k in program.library.lookups[way.table].keys if k not in ("age", "time")}
    return found


def operation(program: Program, s: int) -> tuple[Op, Callable[[Run, int, NDArray], None]]:
    """The operation of a loop, and its way out."""
    state, file = program.states[s], program.files[s]
    way = state.transition
    assert way is not None
    targets = list(way.targets)
    here, to = targets.index(state.name), [program.onward(program.index[file, t]) for t in targets]
    turn = int(duration(state.has["amount"], np.zeros(1))[0])
    table = Table(program.library.lookups[way.table], way.options) if way.table else None
    spread = _spread(way.kind, way.options, targets, file, table)
    bounds = [changes(logic, file) for logic in state.logic()]

    def steady(run: Run, p: NDArray, at: NDArray) -> NDArray[np.int64]:
        out = np.full(len(p), ALIVE)
        for bound in bounds:
            out = np.minimum(out, bound(run, p, at))
        return out if table is None else np.minimum(out, table.next_change(run, p, at))

    def jump(run: Run, p: NDArray, first: NDArray) -> NDArray[np.int64]:
        """The turn that leads elsewhere, or the first after the chances have changed."""
        again = spread(run, p, first)[:, here]
        until = steady(run, p, first)
        most = np.where(until >= ALIVE, np.int64(2**40), -((first - until) // turn))
        u = run.uniform(p)
        with np.errstate(divide="ignore"):
            turns = np.floor(np.log(u) / np.log(np.clip(again, 0.0, 1.0)))
        turns = np.where(again >= 1.0, np.inf, np.where(again <= 0.0, 0.0, turns))
        ends = turns < most
        run.leaves[run.slot(p)] = ends
        count = np.where(ends, turns, most).astype(np.int64)
        return np.where(count > ALIVE // (4 * turn), ALIVE // 2, first + count * turn)

    def op(run: Run, s: int, p: NDArray) -> NDArray:
        slot = run.slot(p)
        end = run.expiry[slot]
        new = end == -ALIVE
        touched = ~new & (end > run.time[p])
        if some(new):
            end[new] = jump(run, p[new], run.clock[p[new]] + turn)
            run.phase[slot[new]] = run.clock[p[new]] % turn
        if some(touched):
            q = p[touched]
            before = run.time[q] - 7 * DAY
            phase = run.phase[slot[touched]]
            end[touched] = jump(run, q, before + turn - (before - phase) % turn)
        ok = run.reach(p, end)
        run.expiry[slot] = np.where(ok, -ALIVE, end)
        late = ~ok
        if some(late):
            run.guarded[slot[late]] = True
            run.sleep(s, p[late], end[late])
        return p[ok]

    def out(run: Run, s: int, p: NDArray) -> None:
        weights = spread(run, p, run.clock[p])
        leaves = run.leaves[run.slot(p)]
        weights[:, here] = np.where(leaves, 0.0, weights[:, here])
        total = weights.sum(axis=1, keepdims=True)
        chosen = first_below(np.cumsum(weights / np.where(total > 0, total, 1.0), axis=1), run.uniform(p))
        run.scatter(np.array(to)[chosen], p)

    return op, out


def _spread(kind: str, options: tuple[Option, ...], targets: list[str], file: str, table: Table | None) -> Spread:
    if table is not None:
        each = table.each[:, [table.targets.index(t) for t in targets]]
        return lambda run, p, at: each[table.rows(run, p, at)]
    if kind == "distributed":
        return _distributed(options, targets)
    tests = [None if o.when is None else holds(o.when, file) for o in options]
    inner = [_distributed(o.spread or (Option(o.target, 1.0),), targets) for o in options]
    last = len(options) - 1

    def conditional(run: Run, p: NDArray, at: NDArray) -> NDArray:
        out = np.zeros((len(p), len(targets)))
        rest = np.arange(len(p))
        for n, test in enumerate(tests):
            q, t = p[rest], at[rest]
            if test is None or n == last:
                out[rest] = inner[n](run, q, t)
                return out
            true = test(run, q, t)
            if some(true):
                out[rest[true]] = inner[n](run, q[true], t[true])
                rest = rest[~true]
        return out

    return conditional


def _distributed(options: tuple[Option, ...], targets: list[str]) -> Spread:
    place = [targets.index(option.target or "") for option in options]

    def chances(weights: NDArray) -> NDArray:
        edges = np.minimum(np.cumsum(weights, axis=1), 1.0)
        # the last option takes what is left
        edges[:, -1] = 1.0
        each = np.diff(edges, axis=1, prepend=0.0)
        out = np.zeros((len(weights), len(targets)))
        for n, at in enumerate(place):
            out[:, at] += each[:, n]
        return out

    weights = [o.weight or 0.0 for o in options]
    if any(isinstance(w, Share) for w in weights):
        return lambda run, p, at: chances(np.stack([weight(run, w, p) for w in weights], axis=1))
    always = chances(np.array([weights], np.float64))
    return lambda run, p, at: np.repeat(always, len(p), axis=0)
