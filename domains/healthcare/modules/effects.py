"""What each type of state does to the patients who are in it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from . import findings
from .draws import duration, fixed, sample
from .expression import evaluate
from .machine import UNSET
from .memory import CODE, ENTRY, NIL, NONE, NUMBER
from .people import ALIVE
from .predicates import changes, holds
from .values import MINUTE, Amount, State

if TYPE_CHECKING:
    from .machine import Run
    from .program import Op, Program

IMAGING = 30 * MINUTE
"""How long the procedure of an imaging study takes."""


def operation(program: Program, s: int) -> Op:
    """The function of a state."""
    state = program.states[s]
    return _OPERATIONS[state.kind](program, s, state)


def _pass(program: Program, s: int, state: State) -> Op:
    return lambda run, s, p: p


def _terminal(program: Program, s: int, state: State) -> Op:
    def op(run: Run, s: int, p: NDArray) -> None:
        depth = run.depth[p]
        done = p[depth == 0]
        if len(done):
            run.push(run.idle, done)
        p, depth = p[depth > 0], depth[depth > 0] - 1
        if len(p):
            run.depth[p] = depth
            run.clock[p] = run.frames[depth, p]
            caller = run.back[depth, run.slot[p]]
            if (caller == caller[0]).all():
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
        run.back[depth, run.slot[p]] = s
        run.frames[depth, p] = run.clock[p]
        run.depth[p] = depth + 1
        run.forget(watches, p)
        run.push(first, p)

    return op


# --- waiting


def _wait(run: Run, s: int, p: NDArray, begin: Callable[[NDArray], NDArray]) -> NDArray:
    """Those whose time has come. `begin` is called for those who arrive, and gives the end of their wait."""
    slot = run.slot[p]
    end = run.expiry[slot]
    new = end == UNSET
    if new.all():
        end = begin(p)
    elif new.any():
        end[new] = begin(p[new])
    ok = run.reach(p, end)
    if ok.all():
        run.expiry[slot] = UNSET
        return p
    late = ~ok
    run.expiry[slot] = np.where(ok, UNSET, end)
    run.sleep(s, p[late], end[late])
    return p[ok]


def _length(amount: Amount | None, run: Run, p: NDArray) -> NDArray[np.int64]:
    if amount is None:
        return np.zeros(len(p), np.int64)
    return duration(amount, np.zeros(len(p)) if fixed(amount) else run.uniform(p))


def _value(amount: Amount, run: Run, p: NDArray) -> NDArray[np.float64]:
    return sample(amount, np.zeros(len(p)) if fixed(amount) else run.uniform(p))


def _delay(program: Program, s: int, state: State) -> Op:
    amount = state.has["amount"]
    return lambda run, s, p: _wait(run, s, p, lambda q: run.clock[q] + _length(amount, run, q))


def _guard(program: Program, s: int, state: State) -> Op:
    file = program.files[s]
    test, next_change = holds(state.has["allow"], file), changes(state.has["allow"], file)

    def op(run: Run, s: int, p: NDArray) -> NDArray:
        passed = []
        while len(p):
            at = run.clock[p]
            true = test(run, p, at)
            passed.append(p[true])
            p, at = p[~true], at[~true]
            level = run.next_level(p)
            again = level > at
            wait = p[~again]
            if len(wait):
                run.guarded[run.slot[wait]] = True
                run.sleep(s, wait, next_change(run, wait, at[~again]))
            p = p[again]
            if len(p):
                p = p[run.reach(p, level[again])]
        return np.concatenate(passed) if passed else p

    return op


# --- attributes


def _set_attribute(program: Program, s: int, state: State) -> Op:
    name = state.has["attribute"]
    if (tree := state.get("expression")) is not None:

        def compute(run: Run, s: int, p: NDArray) -> NDArray:
            value = evaluate(tree, lambda n: run.attribute(n).numbers(p)) + np.zeros(len(p))
            known = np.isfinite(value)
            run.set(name, p, np.where(known, NUMBER, NIL), np.where(known, value, 0.0))
            return p

        return compute
    if (amount := state.get("amount")) is not None:

        def draw(run: Run, s: int, p: NDArray) -> NDArray:
            run.set(name, p, NUMBER, _value(amount, run, p))
            return p

        return draw
    if "value_code" not in state.has and (source := state.get("value_attribute")):

        def copy(run: Run, s: int, p: NDArray) -> NDArray:
            held = run.attribute(source)
            run.set(name, p, held.kind[p], held.value[p])
            return p

        return copy
    value = state.get("value_code", state.get("value"))

    def constant(run: Run, s: int, p: NDArray) -> NDArray:
        run.set(name, p, *run.plain(value))
        return p

    return constant


def _counter(program: Program, s: int, state: State) -> Op:
    name = state.has["attribute"]
    amount = state.get("count") or 1
    by = amount if state.has["action"] == "increment" else -amount

    def op(run: Run, s: int, p: NDArray) -> NDArray:
        run.set(name, p, NUMBER, np.nan_to_num(run.attribute(name).numbers(p)) + by)
        return p

    return op


def _symptom(program: Program, s: int, state: State) -> Op:
    name, amount, chance = state.has["symptom"], state.has["amount"], state.get("probability", 1.0)
    source = state.get("cause") or program.files[s]
    draws = int(not fixed(amount)) + int(chance < 1.0)
    if ("symptom", name) not in program.facts:

        def unread(run: Run, s: int, p: NDArray) -> NDArray:
            # no condition asks for it; what the module draws next must not depend on whether one does
            run.drawn[run.slot[p]] += np.uint64(draws)
            return p

        return unread

    def op(run: Run, s: int, p: NDArray) -> NDArray:
        value = np.clip(_value(amount, run, p), 0, 100)
        if chance < 1.0:
            value = np.where(run.uniform(p) < chance, value, 0.0)
        causes = run.symptoms.setdefault(name, {})
        if source not in causes:
            causes[source] = np.zeros(run.n)
        causes[source][p] = value
        run.touch(("symptom", name), p)
        return p

    return op


def _vital_sign(program: Program, s: int, state: State) -> Op:
    name = state.has["vital_sign"]

    def op(run: Run, s: int, p: NDArray) -> NDArray:
        if name not in run.vitals:
            run.vitals[name] = np.full(run.n, NONE, np.int32)
        run.vitals[name][p] = s
        run.touch(("vital", name), p)
        return p

    return op


# --- encounters


def _encounter(program: Program, s: int, state: State) -> Op:
    file, targets = program.files[s], _targets(program, s, state)
    reason = _reason(state, file, program)

    def arrive(run: Run, p: NDArray) -> NDArray:
        for start, diagnose in targets:
            waits = run.pending.get(start)
            if waits is not None:
                mine = waits[run.slot[p]]
                if mine.any():
                    run.pending[start][run.slot[p[mine]]] = False
                    diagnose(run, start, p[mine])
        return p

    if state.get("wellness"):

        def visit(run: Run, s: int, p: NDArray) -> NDArray:
            p = _wait(run, s, p, lambda q: run.next_visit(q)[0])
            if not len(p):
                return p
            slot, at = run.slot[p], run.clock[p]
            _, number = run.next_visit(p)
            run.last_visit[slot] = at
            run.encounter[slot], run.encounter_state[slot] = number, s
            run.visit_used[number] = True
            return arrive(run, p)

        return visit

    def begin(run: Run, s: int, p: NDArray) -> NDArray:
        slot, at = run.slot[p], run.clock[p]
        _close(run, p, at, NONE)
        why = reason(run, p)
        made = run.encounters.add(
            len(p), patient=p, state=s, start=at, stop=ALIVE, reason=why, disposition=NONE
        )  # fmt: skip
        run.encounter[slot], run.encounter_state[slot] = made, s
        return arrive(run, p)

    return begin


def _close(run: Run, p: NDArray, at: NDArray, disposition: int) -> None:
    """End the encounter that the running module has open; a wellness visit ends by itself."""
    encounter = run.encounter[run.slot[p]]
    mine = encounter >= len(run.people.visits.start)
    e = encounter[mine]
    e, at = e[run.encounters["stop"][e] == ALIVE], at[mine][run.encounters["stop"][e] == ALIVE]
    run.encounters["stop"][e] = at
    run.encounters["disposition"][e] = disposition


def _encounter_end(program: Program, s: int, state: State) -> Op:
    code = state.get("discharge_disposition")
    disposition = program.codes(code.code) if code else NONE

    def op(run: Run, s: int, p: NDArray) -> NDArray:
        _close(run, p, run.clock[p], disposition)
        run.encounter[run.slot[p]] = NONE
        run.encounter_state[run.slot[p]] = NONE
        return p

    return op


def _targets(program: Program, s: int, state: State) -> list[tuple[int, Callable[[Run, int, NDArray], None]]]:
    """The onsets that this encounter diagnoses: of its module, and of submodules that it calls."""
    found = []
    for start, other in enumerate(program.states):
        if other.get("target_encounter") == state.name and program.files[start] in program.below[program.files[s]]:
            found.append((start, _diagnosis(program, start, other)))
    return found


# --- entries of the record


def _reason(state: State, file: str, program: Program) -> Callable[[Run, NDArray], NDArray]:
    """The reason that a state gives: an entry's number, or -2 - a code's; `NONE` where there is none. It is what the attribute
    of that name holds, or else the active entry that a state of that name began."""
    name = state.get("reason")
    if not name:
        return lambda run, p: np.full(len(p), NONE, np.int64)
    starters = program.starters("condition", file, name)

    def find(run: Run, p: NDArray) -> NDArray:
        held = run.attribute(name)
        kind, value = held.kind[p], held.value[p].astype(np.int64)
        out = np.where(kind == ENTRY, value, np.where(kind == CODE, -2 - value, NONE))
        if starters and (rest := kind == NIL).any():
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


def _start(program: Program, state: State, form: str, always: bool = False) -> Callable[[Run, int, NDArray], NDArray]:
    """Begin an entry of the state's first code, where none is active; the attribute that the state names holds it."""
    first = state.has["codes"][0] if "codes" in state.has else state.has["code"]
    code, number = program.codes(first.code), FORM[form]
    attribute = state.get("assign_to_attribute")

    def begin(run: Run, s: int, p: NDArray, reason: NDArray | int = NONE) -> NDArray:
        active = run.active(form, code)
        entry = active[p]
        new = np.ones(len(p), bool) if always else entry < 0
        if new.any():
            q = p[new]
            entry[new] = run.entries.add(
                len(q), form=number, patient=q, code=code, state=s, start=run.clock[q], stop=ALIVE, encounter=run.here(q),
                reason=reason[new] if isinstance(reason, np.ndarray) else reason, ended_by=NONE,
            )  # fmt: skip
            active[q] = entry[new]
        # the last state to begin it gives its name, by which other states find it
        run.entries["state"][entry] = s
        if attribute:
            run.set(attribute, p, ENTRY, entry)
        if new.any():
            run.touch((form, first.code), p[new])
            run.touch(("referenced", ""), p[new])
        return entry

    return begin  # type: ignore[return-value]


FORM = {form: n for n, form in enumerate(("condition", "allergy", "medication", "careplan", "device", "provisional"))}


def _diagnosis(program: Program, start: int, state: State) -> Callable[[Run, int, NDArray], None]:
    form = "condition" if state.kind == "ConditionOnset" else "allergy"
    begin = _start(program, state, form)
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
                if name != "none" and here.any():
                    run.write("reaction", entry=entry[here], code=code, severity=name)

    return diagnose


def _onset(program: Program, s: int, state: State) -> Op:
    diagnose = _diagnosis(program, s, state)
    target, attribute = state.get("target_encounter"), state.get("assign_to_attribute")
    if not target:

        def at_once(run: Run, s: int, p: NDArray) -> NDArray:
            diagnose(run, s, p)
            return p

        return at_once
    names = np.array([other.name == target for other in program.states])
    code = program.codes(state.has["codes"][0].code)

    def op(run: Run, s: int, p: NDArray) -> NDArray:
        by = run.encounter_state[run.slot[p]]
        now = (by >= 0) & names[by]
        if now.any():
            diagnose(run, s, p[now])
        later = p[~now]
        if len(later):
            if s not in run.pending:
                run.pending[s] = np.zeros(len(run.due), bool)
            run.pending[s][run.slot[later]] = True
            if attribute:
                made = run.entries.add(
                    len(later), form=FORM["provisional"], patient=later, code=code, state=s, start=run.clock[later], stop=ALIVE,
                    encounter=NONE, reason=NONE, ended_by=NONE,
                )  # fmt: skip
                run.set(attribute, later, ENTRY, made)
        return p

    return op


def _order(program: Program, s: int, state: State) -> Op:
    """MedicationOrder, CarePlanStart and Device: an entry with its reason."""
    form = STARTED[state.kind]
    begin = _start(program, state, form, always=form == "device")
    reason = _reason(state, program.files[s], program)
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


def _end(program: Program, s: int, state: State) -> Op:
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
            has &= np.isin(run.entries["state"][np.maximum(entry, 0)], names)
        if not has.any():
            return
        p, entry = p[has], entry[has]
        run.entries["stop"][entry] = run.clock[p]
        run.entries["ended_by"][entry] = s
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


# --- care that is done at once, or takes its time


def _procedure(program: Program, s: int, state: State) -> Op:
    amount, reason = state.get("amount"), _reason(state, program.files[s], program)

    def op(run: Run, s: int, p: NDArray) -> NDArray:
        def begin(q: NDArray) -> NDArray:
            start = run.clock[q]
            stop = start + _length(amount, run, q)
            run.write(
                "procedure", patient=q, at=start, stop=stop, state=s, encounter=run.here(q), reason=reason(run, q)
            )
            return stop

        return _wait(run, s, p, begin)

    return op


def _imaging(program: Program, s: int, state: State) -> Op:
    series = state.has["series"]
    least, most = state.get("min_number_series", len(series)), state.get("max_number_series", len(series))

    def op(run: Run, s: int, p: NDArray) -> NDArray:
        at, encounter = run.clock[p], run.here(p)
        u = run.uniform(p, 1 + len(series)).reshape(len(p), -1)
        many = least + np.floor(u[:, 0] * (max(most, least) - least + 1)).astype(np.int64)
        counts = [
            x["count"][0] + np.floor(u[:, n + 1] * (x["count"][1] - x["count"][0] + 1)).astype(np.int64)
            for n, x in enumerate(series)
        ]
        run.write("procedure", patient=p, at=at, stop=at + IMAGING, state=s, encounter=encounter, reason=NONE)
        run.write(
            "imaging",
            patient=p,
            at=at,
            state=s,
            encounter=encounter,
            series=many,
            instances=np.stack(counts, axis=1).sum(axis=1),
        )
        return p

    return op


def _supplies(program: Program, s: int, state: State) -> Op:
    def op(run: Run, s: int, p: NDArray) -> NDArray:
        run.write("supply", patient=p, at=run.clock[p], state=s, encounter=run.here(p))
        return p

    return op


def _vaccine(program: Program, s: int, state: State) -> Op:
    def op(run: Run, s: int, p: NDArray) -> NDArray:
        run.write("vaccine", patient=p, at=run.clock[p], state=s, encounter=run.here(p))
        return p

    return op


def _death(program: Program, s: int, state: State) -> Op:
    amount = state.get("amount")
    codes = [program.codes(c.code) for c in state.get("codes", ())]
    attribute, onset = state.get("referenced_by_attribute"), state.get("condition_onset")
    starters = program.starters("condition", program.files[s], onset) if onset else []

    def cause(run: Run, p: NDArray) -> NDArray:
        if codes:
            return np.full(len(p), codes[0], np.int64)
        if attribute:
            held = run.attribute(attribute)
            known = (held.kind[p] == ENTRY) | (held.kind[p] == CODE)
            return np.where(known, run.code_of(held, p), NONE)
        out = np.full(len(p), NONE, np.int64)
        for x in starters:
            code = program.codes(program.states[x].has["codes"][0].code)
            out = np.where(run.active("condition", code)[p] >= 0, code, out)
        return out

    def op(run: Run, s: int, p: NDArray) -> NDArray:
        at = run.clock[p] + _length(amount, run, p)
        sooner = at < run.death[p]
        if run.people.seen is not None:
            sooner &= at >= run.people.seen[p]
        q = p[sooner]
        run.death[q] = at[sooner]
        run.cause[q] = cause(run, q)
        run.stop[q] = np.minimum(run.stop[q], run.death[q])
        return p

    return op


_OPERATIONS: Mapping[str, Callable[[Program, int, State], Op]] = {
    "Initial": _pass,
    "Simple": _pass,
    "Physiology": _pass,
    "Terminal": _terminal,
    "Delay": _delay,
    "Guard": _guard,
    "SetAttribute": _set_attribute,
    "Counter": _counter,
    "CallSubmodule": _call,
    "Encounter": _encounter,
    "EncounterEnd": _encounter_end,
    "ConditionOnset": _onset,
    "AllergyOnset": _onset,
    **dict.fromkeys(STARTED, _order),
    **dict.fromkeys(ENDED, _end),
    "Procedure": _procedure,
    "ImagingStudy": _imaging,
    "SupplyList": _supplies,
    "Vaccine": _vaccine,
    "Symptom": _symptom,
    "VitalSign": _vital_sign,
    "Observation": findings.single,
    "MultiObservation": findings.group,
    "DiagnosticReport": findings.group,
    "Death": _death,
}
