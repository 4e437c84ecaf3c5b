"""Observations, alone and in panels and reports."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from . import traces
from .draws import fixed, sample
from .expression import evaluate
from .memory import CODE, ENTRY, NONE, NUMBER, TEXT
from .values import State

if TYPE_CHECKING:
    from .machine import Run
    from .program import Op, Program

Value = Callable[["Run", NDArray, NDArray], tuple[Any, Any]]
"""value(run, patients, uniforms): kinds of value and the values, one for all or one each."""


def single(program: Program, s: int, state: State) -> Op:
    """One observation."""
    return _writer(program, (state,), NONE)


def group(program: Program, s: int, state: State) -> Op:
    """A panel or a report: its observations first, then what groups them."""
    return _writer(program, state.has["observations"], s)


def _writer(program: Program, parts: tuple[State, ...], parent: int) -> Op:
    values = [_value(program, part) for part in parts]
    asked = [[c.code for c in part.has["codes"] if c.code in program.asked] for part in parts]
    # what a body shows is read for all at the end, where no module sets it and no condition asks for it
    later = [NONE if codes else _of_body(program, part) for part, codes in zip(parts, asked, strict=True)]
    values = [(_nothing, 0) if after >= 0 else value for value, after in zip(values, later, strict=True)]
    draws = sum(takes for _, takes in values)

    def op(run: Run, s: int, p: NDArray) -> NDArray:
        at, encounter = run.clock[p], run.here(p)
        u = run.uniform(p, draws).reshape(len(p), -1) if draws else np.empty((len(p), 0))
        column = 0
        if parent >= 0:
            run.write("report", patient=p, at=at, state=s, encounter=encounter)
        for n, (value, takes) in enumerate(values):
            kind, found = value(run, p, u[:, column] if takes else at)
            column += takes
            run.write(
                "observation",
                patient=p,
                at=at,
                state=s,
                part=n,
                encounter=encounter,
                kind=kind,
                value=found,
                vital=later[n],
            )
            for code in asked[n]:
                run.latest(code).set(p, kind, found)
                run.touch(("observation", code), p)
        return p

    return op


def _of_body(program: Program, part: State) -> int:
    """The number of the vital sign that an observation shows, where the body alone says it; `NONE` elsewhere."""
    name = part.get("vital_sign")
    said = part.get("text") is not None or part.get("amount") is not None or part.get("attribute")
    return program.bodies(name) if name in program.unset and not said else NONE


def _nothing(run: Run, p: NDArray, u: NDArray) -> tuple[Any, Any]:
    return NUMBER, 0.0


def _value(program: Program, part: State) -> tuple[Value, int]:
    """The function that finds an observation's value, and how many random numbers it takes."""
    if (said := part.get("text")) is not None:
        return lambda run, p, u: (TEXT, np.full(len(p), run.plain(said)[1])), 0
    if (amount := part.get("amount")) is not None:
        takes = 0 if fixed(amount) else 1
        return lambda run, p, u: (NUMBER, sample(amount, u)), takes
    if name := part.get("attribute"):

        def held(run: Run, p: NDArray, u: NDArray) -> tuple[Any, NDArray]:
            attribute = run.attribute(name)
            kind = traces.unseen(attribute, p)
            entry = kind == ENTRY
            return np.where(entry, CODE, kind), np.where(entry, run.code_of(attribute, p), attribute.value[p])

        return held, 0
    if name := part.get("vital_sign"):
        return lambda run, p, u: (NUMBER, run.vital(name, p, run.clock[p])), 0
    if code := part.get("value_code"):
        number = program.codes(code.code)
        return lambda run, p, u: (CODE, np.full(len(p), float(number))), 0
    if (tree := part.get("expression")) is not None:
        return lambda run, p, u: (NUMBER, evaluate(tree, lambda n: run.attribute(n).numbers(p)) + np.zeros(len(p))), 0
    if (series := part.get("sampled_data")) is not None:
        return lambda run, p, u: traces.shown(run, series, p), 0
    file = part.has["attachment"]
    return lambda run, p, u: (TEXT, traces.content(run, file, p)), 0
