"""Our own modules in the engine and in the plain interpreter, state by state. Everyone has every diagnosis that the population can tell of."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from lives import differences, entered, run_engine, run_oracle
from module_oracle import Files
from patients import YEAR, make_people

from populace.domains.healthcare import DOMAIN
from populace.domains.healthcare.modules.domain import told_codes
from populace.domains.healthcare.modules.library import read_library
from populace.domains.healthcare.modules.people import Known, People
from populace.domains.healthcare.own import OWN

CODES = told_codes(DOMAIN, ())
NAMES = tuple(c.code for c in CODES)
EVERY = sorted(f.stem for f in OWN.glob("*.json"))


def told(people: People) -> People:
    """Each diagnosis begins at an age of its own, and half of them end after some years."""
    n, k = len(people), len(CODES)
    u = np.random.default_rng(9).random((int(people.rows[-1]) + 1, k, 3))[people.rows.astype(int)]
    birth = people.birth[:, None]
    begin = birth + ((20 + 40 * u[:, :, 0]) * YEAR).astype(np.int64)
    end = np.where(u[:, :, 1] < 0.5, begin + ((0.4 + 5 * u[:, :, 2]) * YEAR).astype(np.int64), 2**62)
    who, code = (np.broadcast_to(a, (n, k)).ravel() for a in (np.arange(n)[:, None], np.arange(k)))
    at = np.concatenate([begin.ravel(), end.ravel()])
    who, code, begins = np.tile(who, 2), np.tile(code, 2), np.repeat([True, False], n * k)
    kept = at < 2**61
    who, at, code, begins = who[kept], at[kept], code[kept], begins[kept]
    order = np.lexsort((begins, at, who))
    return replace(people, known=Known(who[order], at[order], code[order], begins[order]))


def unlike(names: list[str], many: int, few: int, seed: int) -> list[str]:
    files, found = Files(OWN), []
    people, some = told(make_people(many)), told(make_people(few, many))
    for name in names:
        engine = entered(run_engine(read_library(OWN, [name]).knowing(CODES), people))
        engine = {state: ages for state, ages in engine.items() if state[0] == name}
        found += differences(engine, run_oracle(files, [name], some, seed, NAMES), many, few)
    return found


def test_modules_that_wait_for_the_population_agree_with_the_plain_interpreter() -> None:
    assert not unlike(["pregnancy", "end_of_life", "diabetic_neuropathy"], 400, 40, 1)


@pytest.mark.slow
def test_every_own_module_agrees_with_the_plain_interpreter() -> None:
    assert not unlike(EVERY, 1500, 150, 2)
