"""What each type of state does to the patients who are in it: a function for each, made when a library is compiled."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from . import care, entries, findings, setting, visits, waiting
from .memory import every
from .values import KNOWN, State

if TYPE_CHECKING:
    from .machine import Run
    from .program import Op, Program


def operation(program: Program, s: int) -> Op:
    """The function of a state."""
    state = program.states[s]
    return _OPERATIONS[state.kind](program, s, state)


def _pass(program: Program, s: int, state: State) -> Op:
    return lambda run, s, p: p


def _terminal(program: Program, s: int, state: State) -> Op:
    def op(run: Run, s: int, p: NDArray) -> None:
        depth = run.depth[p]
        p, depth = p[depth > 0], depth[depth > 0] - 1
        if len(p):
            run.depth[p] = depth
            run.clock[p] = run.frames[depth, p]
            caller = run.back[depth, run.slot(p)]
            if every(caller == caller[0]):
                run.leave(int(caller[0]), p)
                return
            for c in np.unique(caller):
                run.leave(int(c), p[caller == c])

    return op


def _call(program: Program, s: int, state: State) -> Op:
    file = state.has["submodule"]
    first, watches = program.onward(program.index[file, "Initial"]), program.watches_of.get(file, ())

    def op(run: Run, s: int, p: NDArray) -> None:
        depth = run.depth[p]
        run.back[depth, run.slot(p)] = s
        run.frames[depth, p] = run.clock[p]
        run.depth[p] = depth + 1
        run.forget(watches, p)
        run.push(first, p)

    return op


_OPERATIONS: Mapping[str, Callable[[Program, int, State], Op]] = {
    "Initial": _pass,
    "Simple": _pass,
    "Physiology": _pass,
    "Terminal": _terminal,
    "Delay": waiting.delay,
    "Guard": waiting.guard,
    "SetAttribute": setting.set_attribute,
    "Counter": setting.counter,
    "CallSubmodule": _call,
    "Encounter": visits.encounter,
    "EncounterEnd": visits.encounter_end,
    "ConditionOnset": entries.onset,
    "AllergyOnset": entries.onset,
    **dict.fromkeys(entries.STARTED, entries.order),
    **dict.fromkeys(entries.ENDED, entries.end),
    "Procedure": care.procedure,
    "ImagingStudy": care.imaging,
    "SupplyList": care.supplies,
    "Vaccine": care.vaccine,
    "Symptom": setting.symptom,
    "VitalSign": setting.vital_sign,
    "Observation": findings.single,
    "MultiObservation": findings.group,
    "DiagnosticReport": findings.group,
    "Death": care.death,
    KNOWN: entries.known,
}
