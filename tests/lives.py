"""Lives that the engine and the plain interpreter lead, side by side: who reaches which state, and when."""

from __future__ import annotations

import numpy as np
from module_oracle import Files, Patient
from patients import YEAR, vital
from scipy.stats import fisher_exact, ks_2samp

from populace.core.stream import Stream
from populace.domains.healthcare.modules.library import Library
from populace.domains.healthcare.modules.machine import Run
from populace.domains.healthcare.modules.people import People
from populace.domains.healthcare.modules.program import Program

ERROR = 1e-3
"""The chance that any test of one module fails though the two agree (Bonferroni over its states)."""
State = tuple[str, str]


def entered(run: Run) -> dict[State, dict[int, float]]:
    """For each state, the age (years) at which each patient first came to it."""
    assert run.trace is not None
    found: dict[State, dict[int, float]] = {}
    for s, p, at in run.trace:
        ages = found.setdefault((run.program.files[s], run.program.states[s].name), {})
        for i, t in zip(p.tolist(), at.tolist(), strict=True):
            age = (t - run.birth[i]) / YEAR
            ages[i] = min(age, ages.get(i, age))
    return found


def run_engine(library: Library, people: People, seed: int = 1) -> Run:
    run = Run(Program(library, traced=True), people, Stream.root(seed))
    run.trace = []
    run.run()
    return run


def run_oracle(
    files: Files, modules: list[str], people: People, seed: int, codes: tuple[str, ...] = ()
) -> dict[State, dict[int, float]]:
    found: dict[State, dict[int, float]] = {}
    visits = people.visits
    for i in range(len(people)):
        held = {k: np.asarray(v)[i] for k, v in people.attributes.items()}
        plain = {k: v.item() if isinstance(v, np.generic) else v for k, v in held.items()}
        body = lambda name, at, i=i: vital(name, int(people.rows[i]), at)  # noqa: E731
        seen = visits.start[visits.patient == i].tolist()
        end = int(min(people.end[i], people.death[i]))
        patient = Patient(files, plain, int(people.birth[i]), end, seen, body, (seed, i), told_of(people, i, codes))
        patient.live(modules)
        for (_, file, state), at in patient.entered.items():
            ages, age = found.setdefault((file, state), {}), (at - patient.birth) / YEAR
            # a submodule may have been called by several modules
            ages[i] = min(age, ages.get(i, age))
    return found


def told_of(people: People, i: int, codes: tuple[str, ...]) -> list[tuple[int, str, bool]]:
    """What the population tells of a patient, by the codes of the Known state."""
    known = people.known
    if known is None:
        return []
    mine = np.flatnonzero(known.patient == i)
    return [(int(known.at[k]), codes[int(known.code[k])], bool(known.begins[k])) for k in mine]


def same_ages(x: dict[int, float], y: dict[int, float]) -> float:
    """The p-value of the two-sample Kolmogorov-Smirnov test on ages."""
    return float(ks_2samp(list(x.values()), list(y.values()))[1])  # type: ignore[arg-type]


def differences(a: dict[State, dict[int, float]], b: dict[State, dict[int, float]], n: int, m: int) -> list[str]:
    """States whose share or ages differ by more than chance allows."""
    states = sorted(a.keys() | b.keys())
    limit = ERROR / (2 * len(states))
    found = []
    for state in states:
        x, y = a.get(state, {}), b.get(state, {})
        p = float(fisher_exact([[len(x), n - len(x)], [len(y), m - len(y)]]).pvalue)  # type: ignore[attr-defined]
        if p < limit:
            found.append(f"{state}: reached by {len(x)}/{n} and {len(y)}/{m}, p = {p:.1e}")
        if len(x) > 5 and len(y) > 5 and (p := same_ages(x, y)) < limit:
            ages = np.median(list(x.values())), np.median(list(y.values()))
            found.append(f"{state}: median ages {ages[0]:.2f} and {ages[1]:.2f}, p = {p:.1e}")
    return found
