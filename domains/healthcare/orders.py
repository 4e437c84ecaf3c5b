"""What is ordered and given: prescriptions for conditions, vaccinations by schedule."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import polars as pl

from ...core.domain import Block
from ...core.samplers.rules import choose
from ...core.stream import join_rows
from ...core.tables import ROW, Table, Tables
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
    visits = tables["encounter"]
    columns = ("patient_id", pl.col(ROW).alias("encounter_row"), _late_in_visit().alias("at"))
    people = tables["patient"].select("patient_id", "birth", "first_seen", person=ROW)
    check_ups = visits.filter(pl.col("months").is_not_null()).join(people, on="patient_id", maintain_order="left")
    check_ups = check_ups.with_columns(age=(pl.col("start_at") - pl.col("birth")) / MONTH).sort("start_at", ROW)
    parts = []
    for code, series in block.priors("vaccine.series").items():
        drawn = block.stream.child("immunization", code).uniform(check_ups["person"].to_numpy())
        willing = check_ups.filter(pl.Series(drawn < series["share"], dtype=pl.Boolean))
        parts += [dose.select(*columns, pl.lit(code).alias("code")) for dose in _doses(willing, series)]
    parts.append(visits.filter(pl.col("type") == SHOT).select(*columns, pl.lit(INFLUENZA).alias("code")))
    doses = pl.concat(parts)
    code = doses["code"].cast(pl.UInt64)
    return {
        "immunization": doses.with_columns(
            pl.Series(ROW, join_rows(doses["encounter_row"].to_numpy(), code.to_numpy()))
        )
    }


def _doses(visits: Table, series: Mapping[str, Any]) -> Iterator[Table]:
    """The visit at which each dose of a series is given, dose by dose: late where earlier visits were missed."""
    gap, until = series.get("gap", 1) * MONTH, series.get("until", math.inf)
    before = visits.select("patient_id").unique().with_columns(last=pl.lit(-(2**62), pl.Int64))
    for months in series["months"]:
        due = (pl.col("birth") + months * MONTH).cast(pl.Int64) >= pl.col("first_seen")
        ready = (pl.col("age") >= months) & (pl.col("age") < until)
        given = (
            visits.filter(due & ready)
            .join(before, on="patient_id", maintain_order="left")
            .filter(pl.col("start_at") >= pl.col("last") + gap)
            .unique("patient_id", keep="first", maintain_order=True)
        )
        yield given
        # who misses a dose that was due is not given the next before it
        missed = visits.filter(due).select("patient_id").unique().join(given, on="patient_id", how="anti")
        before = before.join(given.select("patient_id", at="start_at"), on="patient_id", how="left")
        before = before.select("patient_id", last=pl.coalesce("at", "last")).join(missed, on="patient_id", how="anti")


def _late_in_visit() -> pl.Expr:
    """Four fifths of the way through a visit, at most an hour in: after the measurements."""
    length = pl.col("end_at") - pl.col("start_at")
    return pl.col("start_at") + pl.min_horizontal(length * 4 // 5, pl.lit(60 * MINUTE)) // MINUTE * MINUTE
