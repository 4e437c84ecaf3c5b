"""Encounters: begun, waited for and ended, and the diagnoses that are made in them."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from numpy.typing import NDArray

from .entries import diagnosis, reason_of
from .memory import NONE, some
from .people import ALIVE
from .values import State
from .waiting import wait

if TYPE_CHECKING:
    from .machine import Run
    from .program import Op, Program


def encounter(program: Program, s: int, state: State) -> Op:
    file, targets = program.files[s], _targets(program, s, state)
    reason = reason_of(state, file, program)

    def arrive(run: Run, p: NDArray) -> NDArray:
        for start, diagnose in targets:
            waits = run.pending.get(start)
            if waits is not None:
                mine = waits[run.slot(p)]
                if some(mine):
                    run.pending[start][run.slot(p[mine])] = False
                    diagnose(run, start, p[mine])
        return p

    if state.get("wellness"):

        def visit(run: Run, s: int, p: NDArray) -> NDArray:
            p = wait(run, s, p, lambda q: run.next_visit(q)[0])
            if not len(p):
                return p
            slot, at = run.slot(p), run.clock[p]
            _, number = run.next_visit(p)
            run.last_visit[slot] = at
            run.encounter[slot], run.encounter_state[slot] = number, s
            run.visit_used[number] = True
            return arrive(run, p)

        return visit

    def begin(run: Run, s: int, p: NDArray) -> NDArray:
        slot, at = run.slot(p), run.clock[p]
        _close(run, p, at, NONE)
        why = reason(run, p)
        made = run.encounters.add(
            len(p), patient=p, state=s, start=at, stop=ALIVE, reason=why, disposition=NONE, root=run.root
        )  # fmt: skip
        run.encounter[slot], run.encounter_state[slot] = made, s
        return arrive(run, p)

    return begin


def _close(run: Run, p: NDArray, at: NDArray, disposition: int) -> None:
    """End the encounter that the running module has open; a wellness visit ends by itself."""
    encounter = run.encounter[run.slot(p)]
    mine = encounter >= len(run.people.visits.start)
    if not some(mine):
        return
    e = encounter[mine]
    open_ = run.encounters["stop"][e] == ALIVE
    e, at = e[open_], at[mine][open_]
    run.encounters["stop"][e] = at
    run.encounters["disposition"][e] = disposition


def encounter_end(program: Program, s: int, state: State) -> Op:
    code = state.get("discharge_disposition")
    disposition = program.codes(code.code) if code else NONE

    def op(run: Run, s: int, p: NDArray) -> NDArray:
        _close(run, p, run.clock[p], disposition)
        run.encounter[run.slot(p)] = NONE
        run.encounter_state[run.slot(p)] = NONE
        return p

    return op


def _targets(program: Program, s: int, state: State) -> list[tuple[int, Callable[[Run, int, NDArray], None]]]:
    """The onsets that this encounter diagnoses: of its module, and of submodules that it calls."""
    below = program.below[program.files[s]]
    aimed = [start for start in program.aimed.get(state.name, ()) if program.files[start] in below]
    return [(start, diagnosis(program, start, program.states[start])) for start in aimed]
