"""States in which patients wait: delays, guards, and all that takes its time."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from .draws import duration, fixed, sample
from .machine import UNSET, WEEK
from .memory import every, some
from .predicates import changes, holds
from .values import Amount, State

if TYPE_CHECKING:
    from .machine import Run
    from .program import Op, Program


def wait(run: Run, s: int, p: NDArray, begin: Callable[[NDArray], NDArray]) -> NDArray:
    """Those whose time has come. `begin` is called for those who arrive, and gives the end of their wait."""
    slot = run.slot(p)
    end = run.expiry[slot]
    new = end == UNSET
    if every(new):
        end = begin(p)
    elif some(new):
        end[new] = begin(p[new])
    ok = run.reach(p, end)
    if every(ok):
        run.expiry[slot] = UNSET
        return p
    late = ~ok
    run.expiry[slot] = np.where(ok, UNSET, end)
    run.sleep(s, p[late], end[late])
    return p[ok]


Length = Callable[["Run", NDArray], NDArray[np.int64] | int]
"""length(run, patients): microseconds, one for all where it is no matter of chance."""


def length(amount: Amount | None) -> Length:
    """The function that draws how long something takes."""
    if amount is None:
        return lambda run, p: 0
    if fixed(amount):
        always = int(duration(amount, np.zeros(1))[0])
        return lambda run, p: always
    return lambda run, p: duration(amount, run.uniform(p))


def drawn(amount: Amount, run: Run, p: NDArray) -> NDArray[np.float64]:
    return sample(amount, np.zeros(len(p)) if fixed(amount) else run.uniform(p))


def delay(program: Program, s: int, state: State) -> Op:
    takes = length(state.has["amount"])
    return lambda run, s, p: wait(run, s, p, lambda q: run.clock[q] + takes(run, q))


def guard(program: Program, s: int, state: State) -> Op:
    file = program.files[s]
    test, next_change = holds(state.has["allow"], file), changes(state.has["allow"], file)
    read = {c.code for part in state.has["allow"].walk() for c in part.has.get("codes", ())}

    def op(run: Run, s: int, p: NDArray) -> NDArray:
        passed = []
        told = bool(read & run.told_codes)
        while len(p):
            at = run.clock[p]
            true = test(run, p, at)
            if told:
                _since_told(run, p, true, at)
            passed.append(p[true])
            p, at = p[~true], at[~true]
            level = run.next_level(p)
            again = level > at
            wait = p[~again]
            if len(wait):
                run.guarded[run.slot(wait)] = True
                run.sleep(s, wait, next_change(run, wait, at[~again]))
            p = p[again]
            if len(p):
                p = p[run.reach(p, level[again])]
        return np.concatenate(passed) if passed else p

    return op


def _since_told(run: Run, p: NDArray, true: NDArray[np.bool_], at: NDArray) -> None:
    """Whoever has waited for what the population tells goes on at the time at which it told it, as after a delay that ended between two steps.
    A guard's expiry is the time of arrival."""
    slot = run.slot(p)
    arrived = run.expiry[slot]
    waited = true & (arrived != UNSET) & (run.told[p] > run.time[p] - WEEK)
    if waited.any():
        run.reach(p[waited], np.maximum(run.told[p], arrived)[waited])
    run.expiry[slot] = np.where(true, UNSET, np.where(arrived == UNSET, at, arrived))
