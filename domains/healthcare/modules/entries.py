"""Entries of the record that last: conditions, allergies, medications, care plans and devices, begun and ended."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from .memory import CODE, ENTRY, NIL, NONE, every, some
from .people import ALIVE
from .program import FORMS
from .values import State
from .waiting import wait

if TYPE_CHECKING:
    from .machine import Run
    from .program import Op, Program


def reason_of(state: State, file: str, program: Program) -> Callable[[Run, NDArray], NDArray | int]:
    """The reason that a state gives: an entry's number, or -2 - a code's; `NONE` where there is none, one for all where it gives none. It is what
    the attribute of that name holds, or else the active entry that a state of that name began."""
    name = state.get("reason")
    if not name:
        return lambda run, p: NONE
    starters = program.starters("condition", file, name)

    def find(run: Run, p: NDArray) -> NDArray:
        held = run.attribute(name)
        kind, value = held.kind[p], held.value[p].astype(np.int64)
        out = np.where(kind == ENTRY, value, np.where(kind == CODE, -2 - value, NONE))
        if starters and some(rest := kind == NIL):
            q = p[rest]
            best = np.full(len(q), NONE, np.int64)
            for start in starters:
                code = program.codes(program.states[start].has["codes"][0].code)
                entry = run.active("condition", code)[q]
                mine = (entry >= 0) & (run.entries["state"][np.maximum(entry, 0)] == start)
                best = np.where(mine, entry, best)
            out[rest] = best
        return out

    return find


def starting(program: Program, state: State, form: str, always: bool = False) -> Callable[[Run, int, NDArray], NDArray]:
    """Begin an entry of the state's first code, where none is active; the attribute that the state names holds it."""
    first = state.has["codes"][0] if "codes" in state.has else state.has["code"]
    code, number = program.codes(first.code), FORM[form]
    attribute = state.get("assign_to_attribute")

    def begin(run: Run, s: int, p: NDArray, reason: NDArray | int = NONE) -> NDArray:
        active = run.active(form, code)
        entry = active[p]
        new = np.ones(len(p), bool) if always else entry < 0
        if some(new):
            q = p[new]
            entry[new] = run.entries.add(
                len(q), form=number, patient=q, code=code, state=s, start=run.clock[q], stop=ALIVE, encounter=run.here(q),
                reason=reason[new] if isinstance(reason, np.ndarray) else reason, begun=s,
                root=run.root,
            )  # fmt: skip
            active[q] = entry[new]
        if not every(new):
            # the last state to begin it gives its name, by which other states find it
            again, q = entry[~new], p[~new]
            run.entries["state"][again] = s
            run.write("renaming", entry=again, patient=q, at=run.clock[q], state=s)
        if attribute:
            run.set(attribute, p, ENTRY, entry)
        if some(new):
            run.touch((form, first.code), p[new])
            run.touch(("referenced", ""), p[new])
        return entry

    return begin  # type: ignore[return-value]


FORM = {form: n for n, form in enumerate(FORMS)}


def diagnosis(program: Program, start: int, state: State) -> Callable[[Run, int, NDArray], None]:
    form = "condition" if state.kind == "ConditionOnset" else "allergy"
    begin = starting(program, state, form)
    reactions = [
        (
            program.codes(r["reaction"].code),
            np.cumsum([v for _, v in r["severities"]]),
            [level for level, _ in r["severities"]],
        )
        for r in state.get("reactions", ())
    ]

    def diagnose(run: Run, s: int, p: NDArray) -> None:
        before = run.entries.height
        entry = begin(run, s, p)
        if not reactions:
            return
        new = entry >= before
        p, entry = p[new], entry[new]
        if not len(p):
            return
        u = run.uniform(p, len(reactions)).reshape(len(p), -1)
        for n, (code, edges, levels) in enumerate(reactions):
            level = np.minimum(np.searchsorted(edges, u[:, n], side="right"), len(levels) - 1)
            for k, name in enumerate(levels):
                here = level == k
                if name != "none" and some(here):
                    run.write("reaction", entry=entry[here], code=code, severity=name)

    return diagnose


def onset(program: Program, s: int, state: State) -> Op:
    diagnose = diagnosis(program, s, state)
    target, attribute = state.get("target_encounter"), state.get("assign_to_attribute")
    if not target:

        def at_once(run: Run, s: int, p: NDArray) -> NDArray:
            diagnose(run, s, p)
            return p

        return at_once
    names = np.array([other.name == target for other in program.states])
    code = program.codes(state.has["codes"][0].code)

    def op(run: Run, s: int, p: NDArray) -> NDArray:
        by = run.encounter_state[run.slot(p)]
        now = (by >= 0) & names[by]
        if some(now):
            diagnose(run, s, p[now])
        later = p[~now]
        if len(later):
            if s not in run.pending:
                run.pending[s] = np.zeros(len(run.due), bool)
            run.pending[s][run.slot(later)] = True
            if attribute:
                made = run.entries.add(
                    len(later), form=FORM["provisional"], patient=later, code=code, state=s, start=run.clock[later], stop=ALIVE,
                    encounter=NONE, reason=NONE, begun=s, root=run.root,
                )  # fmt: skip
                run.set(attribute, later, ENTRY, made)
        return p

    return op


def order(program: Program, s: int, state: State) -> Op:
    """MedicationOrder, CarePlanStart and Device: an entry with its reason."""
    form = STARTED[state.kind]
    begin = starting(program, state, form, always=form == "device")
    reason = reason_of(state, program.files[s], program)
    given = state.get("administration")

    def op(run: Run, s: int, p: NDArray) -> NDArray:
        entry = begin(run, s, p, reason(run, p))  # type: ignore[call-arg]
        if given:
            run.write("administration", patient=p, at=run.clock[p], state=s, encounter=run.here(p), entry=entry)
        return p

    return op


STARTED = {"MedicationOrder": "medication", "CarePlanStart": "careplan", "Device": "device"}
ENDED = {
    "ConditionEnd": ("condition", "condition_onset"),
    "AllergyEnd": ("allergy", "allergy_onset"),
    "MedicationEnd": ("medication", "medication_order"),
    "CarePlanEnd": ("careplan", "careplan"),
    "DeviceEnd": ("device", "device"),
}


def end(program: Program, s: int, state: State) -> Op:
    form, by_state = ENDED[state.kind]
    starters = program.starters(form, program.files[s], state.get(by_state)) if by_state in state.has else []
    first = [program.states[x] for x in starters]
    ends = {
        x: program.codes((f.has["codes"][0] if "codes" in f.has else f.has["code"]).code)
        for x, f in zip(starters, first, strict=True)
    }
    attribute = state.get("referenced_by_attribute")
    codes = [program.codes(c.code) for c in state.get("codes", ())]

    def stop(run: Run, s: int, p: NDArray, code: int, names: list[int] | None = None) -> None:
        active = run.active(form, code)
        entry = active[p]
        has = entry >= 0
        if names is not None:
            state = run.entries["state"][np.maximum(entry, 0)]
            has &= state == names[0] if len(names) == 1 else np.isin(state, names)
        if not some(has):
            return
        p, entry = p[has], entry[has]
        run.entries["stop"][entry] = run.clock[p]
        active[p] = NONE
        run.touch((form, run.codes.values[code]), p)
        run.touch(("referenced", ""), p)

    def op(run: Run, s: int, p: NDArray) -> NDArray:
        if by_state in state.has:
            for code in dict.fromkeys(ends.values()):
                stop(run, s, p, code, starters)
        elif attribute:
            held = run.attribute(attribute)
            known = (held.kind[p] == ENTRY) | (held.kind[p] == CODE)
            q = p[known]
            code = run.code_of(held, q)
            for c in np.unique(code):
                stop(run, s, q[code == c], int(c))
        else:
            for c in codes:
                stop(run, s, p, c)
        return p

    return op


def known(program: Program, s: int, state: State) -> Op:
    """The diagnoses that patients have without a module, as facts that modules read: nothing of them is recorded here."""
    codes = [program.codes(c.code) for c in state.has["codes"]]

    def due(run: Run, p: NDArray) -> NDArray:
        told = run.people.known
        if told is None or run.next_known is None or not len(told.at):
            return np.full(len(p), ALIVE)
        k = run.next_known[p]
        mine = (k < len(told.at)) & (told.patient[np.minimum(k, len(told.at) - 1)] == p)
        return np.where(mine, told.at[np.minimum(k, len(told.at) - 1)], ALIVE)

    def op(run: Run, s: int, p: NDArray) -> NDArray:
        p = wait(run, s, p, lambda q: due(run, q))
        told = run.people.known
        if not len(p) or told is None or run.next_known is None:
            return p
        k = run.next_known[p]
        run.next_known[p] += 1
        run.told[p] = run.clock[p]
        for n in np.unique(told.code[k]).tolist():
            for begins in (True, False):
                here = (told.code[k] == n) & (told.begins[k] == begins)
                q, active = p[here], run.active("condition", codes[n])
                if not len(q):
                    continue
                if begins:
                    active[q] = run.entries.add(
                        len(q), form=FORM["provisional"], patient=q, code=codes[n], state=s, start=run.clock[q], stop=ALIVE,
                        encounter=NONE, reason=NONE, begun=s, root=run.root,
                    )  # fmt: skip
                else:
                    active[q] = NONE
                run.touch(("condition", run.codes.values[codes[n]]), q)
        return p

    return op
