"""Care that is done at once or takes its time, and death."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from .entries import reason_of
from .memory import CODE, ENTRY, NONE
from .values import MINUTE, State
from .waiting import length, wait

if TYPE_CHECKING:
    from .machine import Run
    from .program import Op, Program


IMAGING = 30 * MINUTE
"""How long the procedure of an imaging study takes."""


def procedure(program: Program, s: int, state: State) -> Op:
    takes, reason = length(state.get("amount")), reason_of(state, program.files[s], program)

    def op(run: Run, s: int, p: NDArray) -> NDArray:
        def begin(q: NDArray) -> NDArray:
            start = run.clock[q]
            stop = start + takes(run, q)
            run.write(
                "procedure", patient=q, at=start, stop=stop, state=s, encounter=run.here(q), reason=reason(run, q)
            )
            return stop

        return wait(run, s, p, begin)

    return op


def imaging(program: Program, s: int, state: State) -> Op:
    series, reason = state.has["series"], reason_of(state, program.files[s], program)
    least, most = state.get("min_number_series", len(series)), state.get("max_number_series", len(series))

    def op(run: Run, s: int, p: NDArray) -> NDArray:
        at, encounter = run.clock[p], run.here(p)
        u = run.uniform(p, 1 + len(series)).reshape(len(p), -1)
        many = least + np.floor(u[:, 0] * (max(most, least) - least + 1)).astype(np.int64)
        counts = [
            x["count"][0] + np.floor(u[:, n + 1] * (x["count"][1] - x["count"][0] + 1)).astype(np.int64)
            for n, x in enumerate(series)
        ]
        run.write("procedure", patient=p, at=at, stop=at + IMAGING, state=s, encounter=encounter, reason=reason(run, p))
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


def supplies(program: Program, s: int, state: State) -> Op:
    def op(run: Run, s: int, p: NDArray) -> NDArray:
        run.write("supply", patient=p, at=run.clock[p], state=s, encounter=run.here(p))
        return p

    return op


def vaccine(program: Program, s: int, state: State) -> Op:
    def op(run: Run, s: int, p: NDArray) -> NDArray:
        run.write("vaccine", patient=p, at=run.clock[p], state=s, encounter=run.here(p))
        return p

    return op


def death(program: Program, s: int, state: State) -> Op:
    takes = length(state.get("amount"))
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
        at = run.clock[p] + takes(run, p)
        sooner = (at < run.death[p]) | ((at == run.death[p]) & (run.root < run.killer[p]))
        if run.people.seen is not None:
            sooner &= at >= run.people.seen[p]
        q = p[sooner]
        run.death[q] = at[sooner]
        run.cause[q], run.killer[q] = cause(run, q), run.root
        run.stop[q] = run.until[q] = np.minimum(run.stop[q], run.death[q])
        return p

    return op
