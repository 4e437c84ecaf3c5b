"""States that change what is known of a patient: attributes, counters, symptoms, vital signs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from .draws import fixed
from .expression import evaluate
from .memory import NIL, NONE, NUMBER
from .values import State
from .waiting import drawn

if TYPE_CHECKING:
    from .machine import Run
    from .program import Op, Program


def set_attribute(program: Program, s: int, state: State) -> Op:
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
            run.set(name, p, NUMBER, drawn(amount, run, p))
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


def counter(program: Program, s: int, state: State) -> Op:
    name = state.has["attribute"]
    amount = state.get("count") or 1
    by = amount if state.has["action"] == "increment" else -amount

    def op(run: Run, s: int, p: NDArray) -> NDArray:
        count = run.attribute(name).numbers(p)
        count[np.isnan(count)] = 0.0
        run.set(name, p, NUMBER, count + by)
        return p

    return op


def symptom(program: Program, s: int, state: State) -> Op:
    name, amount, chance = state.has["symptom"], state.has["amount"], state.get("probability", 1.0)
    source = state.get("cause") or program.files[s]
    draws = int(not fixed(amount)) + int(chance < 1.0)
    if ("symptom", name) not in program.facts:

        def unread(run: Run, s: int, p: NDArray) -> NDArray:
            # no condition asks for it; what the module draws next must not depend on whether one does
            run.skip(p, draws)
            return p

        return unread

    def op(run: Run, s: int, p: NDArray) -> NDArray:
        value = np.clip(drawn(amount, run, p), 0, 100)
        if chance < 1.0:
            value = np.where(run.uniform(p) < chance, value, 0.0)
        causes = run.symptoms.setdefault(name, {})
        if source not in causes:
            causes[source] = np.zeros(run.n)
        causes[source][p] = value
        run.touch(("symptom", name), p)
        return p

    return op


def vital_sign(program: Program, s: int, state: State) -> Op:
    name = state.has["vital_sign"]

    def op(run: Run, s: int, p: NDArray) -> NDArray:
        if name not in run.vitals:
            run.vitals[name] = np.full(run.n, NONE, np.int32)
        run.vitals[name][p] = s
        run.touch(("vital", name), p)
        return p

    return op
