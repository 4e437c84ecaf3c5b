"""What is ordered and given: prescriptions for conditions, vaccinations by schedule."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ...core.domain import Block
from ...core.samplers.rules import choose
from ...core.stream import join_rows
from ...core.tables import ROW, Tables
from .curves import MINUTE
from .encounters import MONTH, SHOT
from .observations import treated

INFLUENZA = "150"


def medication_requests(block: Block, tables: Tables) -> Tables:
    """One row per prescription, at the visit where a condition is found and at each follow-up: a patient keeps to one drug.
    Helper columns: `encounter_row`, `condition_row`."""
    visits = tables["encounter"].filter(pl.col("condition_row").is_not_null())
    parts = []
    for code, prior in block.priors("drug").items():
        drugs = {k: v for k, v in prior.items() if k not in ("treated", "days")}
        here = visits.filter(pl.col("reason") == code)
        patients = here["patient_id"].to_numpy().astype(np.uint64)
        drawn = choose(block.stream.child("medication_request", code, "drug").uniform(patients), list(drugs.values()))
        here = here.with_columns(pl.Series("code", list(drugs)).gather(drawn))
        here = here.filter(pl.Series(treated(block, patients, code), dtype=pl.Boolean))
        parts.append(here.with_columns(days=pl.lit(prior["days"], pl.Int64)))
    given = pl.concat(parts)
    rows = given[ROW].to_numpy()
    return {
        "medication_request": given.select(
            pl.Series(ROW, block.stream.child("medication_request").bits(rows)),
            "patient_id",
            pl.col(ROW).alias("encounter_row"),
            "condition_row",
            "code",
            _late_in_visit().alias("at"),
            "days",
            dose=pl.lit(None, pl.Float64),
            per_day=pl.lit(None, pl.Int32),
        )
    }


def immunizations(block: Block, tables: Tables) -> Tables:
    """One row per dose given. Helper column: `encounter_row`."""
    visits, patient = tables["encounter"], tables["patient"]
    check_ups = np.flatnonzero(visits["months"].is_not_null().to_numpy())
    start, rows = visits["start_at"].to_numpy()[check_ups], visits[ROW].to_numpy()[check_ups]
    who = visits["patient_id"].to_numpy()[check_ups] - int(patient["patient_id"][0]) if len(check_ups) else check_ups
    order = np.lexsort((rows, start, who))
    check_ups, start, who = check_ups[order], start[order], who[order]
    person, birth, seen = (patient[c].to_numpy() for c in (ROW, "birth", "first_seen"))
    age = (start - birth[who]) / MONTH
    given, codes = [], []
    for code, series in block.priors("vaccine.series").items():
        willing = block.stream.child("immunization", code).uniform(person) < series["share"]
        kept = np.flatnonzero(willing[who])
        for dose in _doses(series, who[kept], start[kept], age[kept], birth, seen):
            given.append(check_ups[kept[dose]])
            codes += [code] * len(dose)
    shots = np.flatnonzero((visits["type"] == SHOT).to_numpy())
    taken = np.concatenate([*given, shots])
    doses = visits.select("patient_id", pl.col(ROW).alias("encounter_row"), _late_in_visit().alias("at"))
    doses = doses.select(pl.all().gather(pl.Series(taken))).with_columns(
        code=pl.Series(codes + [INFLUENZA] * len(shots), dtype=pl.String)
    )
    number = np.array([int(c) for c in (*codes, *[INFLUENZA] * len(shots))], np.uint64)
    return {"immunization": doses.with_columns(pl.Series(ROW, join_rows(doses["encounter_row"].to_numpy(), number)))}


def _doses(
    series: Mapping[str, Any], who: NDArray, start: NDArray, age: NDArray, birth: NDArray, seen: NDArray
) -> Iterator[NDArray[np.int64]]:
    """The visits at which each dose of a series is given, dose by dose: late where earlier visits were missed. `who`, `start` and `age` (months)
    are of visits in order of patient and time; `birth` and `seen` of patients. Who misses a dose that was due is given none after it."""
    gap, until = series.get("gap", 1) * MONTH, series.get("until", math.inf)
    last, going = np.full(len(birth), -(2**62)), np.ones(len(birth), bool)
    for months in series["months"]:
        due = (birth + months * MONTH).astype(np.int64) >= seen
        able = (going & due)[who] & (age >= months) & (age < until) & (start >= last[who] + gap)
        at = np.flatnonzero(able)
        first = at[np.append(True, who[at][1:] != who[at][:-1])] if len(at) else at
        yield first
        given = np.zeros(len(birth), bool)
        given[who[first]] = True
        last[who[first]] = start[first]
        going &= given | ~due


def _late_in_visit() -> pl.Expr:
    """Four fifths of the way through a visit, at most an hour in: after the measurements."""
    length = pl.col("end_at") - pl.col("start_at")
    return pl.col("start_at") + pl.min_horizontal(length * 4 // 5, pl.lit(60 * MINUTE)) // MINUTE * MINUTE
