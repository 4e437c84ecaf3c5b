"""In what order the modules of one patient must take their turns: those that have nothing in common need not wait for one another."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from . import traces
from .predicates import ACTIVE, Fact, facts
from .values import KNOWN, Code, Option, Share, State

if TYPE_CHECKING:
    from .program import Program

NAMES = ("value_attribute", "referenced_by_attribute", "reason")
"""Fields of a state that name an attribute that it reads."""


def before(program: Program) -> list[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """For each top-level module those that it must not overtake: earlier ones in the order of modules, and later ones.

    Two modules must keep their order where one of them changes what the other reads or changes. A third may wake one of the two, by
    changing what its guards read: it must not be overtaken either, nor who wakes that one.
    """
    reads, writes = touched(program)
    roots = range(len(program.roots))
    wakers: list[set[int]] = [set() for _ in roots]
    for fact, woken in program.readers.items():
        changers = {r for r in roots if fact in writes[r] or fact[0] == "referenced"}
        for r in woken:
            wakers[r] |= changers
    found = []
    for r in roots:
        near = {
            q for q in roots if not writes[r].isdisjoint(reads[q] | writes[q]) or not writes[q].isdisjoint(reads[r])
        }
        todo = list(near | {r})
        while todo:
            new = wakers[todo.pop()] - near
            near |= new
            todo += new
        near.discard(r)
        found.append((_positions(q for q in near if q < r), _positions(q for q in near if q > r)))
    return found


def _positions(roots: Iterable[int]) -> NDArray[np.int64]:
    return np.array(sorted(roots), np.int64)


def touched(program: Program) -> tuple[list[set[Fact]], list[set[Fact]]]:
    """What each top-level module may read, and what it may change, of all that modules share: attributes, what is active under a code,
    symptoms, vital signs, and the observations that conditions ask for."""
    held, vitals = _held(program.states), _vitals(program.states)
    per_state = [_of_state(program, s, held, vitals) for s in range(len(program.states))]
    every: tuple[list[set[Fact]], list[set[Fact]]] = ([], [])
    for root in program.roots:
        inside = [s for s in range(len(program.states)) if program.files[s] in program.below[root]]
        for n, sets in enumerate(every):
            sets.append(set().union(*(per_state[s][n] for s in inside)))
    return every


def _held(states: list[State]) -> dict[str, set[str]]:
    """The codes that an attribute may hold, or that the entries have which it may hold."""
    held: dict[str, set[str]] = {}
    copies: list[tuple[str, str]] = []
    for state in states:
        if name := state.get("assign_to_attribute"):
            held.setdefault(name, set()).update(c.code for c in _codes(state)[:1])
        if state.kind == "SetAttribute":
            if isinstance(code := state.get("value_code"), Code):
                held.setdefault(state.has["attribute"], set()).add(code.code)
            elif source := state.get("value_attribute"):
                copies.append((source, state.has["attribute"]))
    for _ in copies:
        for source, target in copies:
            held.setdefault(target, set()).update(held.get(source, set()))
    return held


def _vitals(states: list[State]) -> dict[str, set[Fact]]:
    """The attributes that a vital sign is computed from whenever it is read."""
    found: dict[str, set[Fact]] = {}
    for state in states:
        if state.kind == "VitalSign" and (tree := state.get("expression")) is not None:
            found.setdefault(state.has["vital_sign"], set()).update(("attribute", a) for a in tree.attributes)
    return found


def _codes(state: State) -> list[Code]:
    return list(state.get("codes") or ([state.has["code"]] if "code" in state.has else []))


def _of_state(
    program: Program, s: int, held: dict[str, set[str]], vitals: dict[str, set[Fact]]
) -> tuple[set[Fact], set[Fact]]:
    from .entries import ENDED
    from .program import STARTS

    state, file = program.states[s], program.files[s]
    reads: set[Fact] = {("attribute", state.has[n]) for n in NAMES if state.get(n)}
    writes: set[Fact] = set()
    conditions = [*state.logic(), *(x.when for o in _options(state) for x in o.spread if x.when is not None)]
    for logic in conditions:
        reads |= facts(logic)
        for part in logic.walk():
            by = part.has.get("referenced_by_attribute")
            form = ACTIVE.get(part.kind, "observation")
            reads |= {(form, c) for c in held.get(by or "", ())}
    for option in _options(state):
        reads |= {("attribute", x.weight.attribute) for x in (option, *option.spread) if isinstance(x.weight, Share)}
    if state.transition and state.transition.table:
        reads |= {("attribute", k) for k in program.library.lookups[state.transition.table].keys}
    if state.transition and state.transition.kind == "type_of_care":
        reads.add(("attribute", "insurance_status"))
    if state.get("expression") is not None:
        reads |= {("attribute", a) for a in state.has["expression"].attributes}
    for name in ("reason", "condition_onset"):
        for start in program.starters("condition", file, state.has[name]) if state.get(name) else ():
            reads |= {("condition", c.code) for c in _codes(program.states[start])}
    if name := state.get("assign_to_attribute"):
        writes.add(("attribute", name))
    match state.kind:
        case "SetAttribute" | "Counter":
            writes.add(("attribute", state.has["attribute"]))
        case "Symptom":
            writes.add(("symptom", state.has["symptom"]))
        case "VitalSign":
            writes.add(("vital", state.has["vital_sign"]))
        case "Observation" | "MultiObservation" | "DiagnosticReport":
            for part in state.get("observations", (state,)):
                writes |= {("observation", c.code) for c in part.has["codes"] if c.code in program.asked}
                reads |= {("attribute", part.has["attribute"])} if part.get("attribute") else set()
                reads |= {("vital", part.has["vital_sign"])} if part.get("vital_sign") else set()
                if part.get("expression") is not None:
                    reads |= {("attribute", a) for a in part.has["expression"].attributes}
                reads |= {("attribute", a) for a in traces.reads(part)}
        case kind if kind in STARTS:
            writes |= {(STARTS[kind], c.code) for c in _codes(state)[:1]}
        case kind if kind in ENDED:
            form, by_state = ENDED[kind]
            begun = program.starters(form, file, state.has[by_state]) if by_state in state.has else ()
            writes |= {(form, c.code) for start in begun for c in _codes(program.states[start])[:1]}
            writes |= {(form, c.code) for c in _codes(state)}
            writes |= {(form, c) for c in held.get(state.get("referenced_by_attribute") or "", ())}
        case kind if kind == KNOWN:
            writes |= {("condition", c.code) for c in _codes(state)}
    for fact in [f for f in reads if f[0] == "vital"]:
        reads |= vitals.get(fact[1], set())
    # a symptom that no condition asks for is nothing that modules have in common
    return reads, {f for f in writes if f[0] != "symptom" or f in program.facts}


def _options(state: State) -> tuple[Option, ...]:
    return state.transition.options if state.transition else ()
