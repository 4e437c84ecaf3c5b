"""What is ordered and given: prescriptions for conditions, vaccinations by schedule."""

from __future__ import annotations

import numpy as np
import polars as pl

from ...core.domain import Block
from ...core.samplers.rules import choose
from ...core.stream import join_rows
from ...core.tables import ROW, Tables
from .curves import MINUTE
from .encounters import SHOT
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
        )
    }


def immunizations(block: Block, tables: Tables) -> Tables:
    """One row per dose given. Helper column: `encounter_row`."""
    visits, parts = tables["encounter"], []
    columns = ("patient_id", pl.col(ROW).alias("encounter_row"), _late_in_visit().alias("at"))
    for code, prior in block.priors("vaccine.series").items():
        due = visits.filter(pl.col("months").is_in([float(m) for m in prior["months"]]))
        drawn = block.stream.child("immunization", code).uniform(due[ROW].to_numpy())
        parts.append(
            due.filter(pl.Series(drawn < prior["share"], dtype=pl.Boolean)).select(*columns, pl.lit(code).alias("code"))
        )
    parts.append(visits.filter(pl.col("type") == SHOT).select(*columns, pl.lit(INFLUENZA).alias("code")))
    doses = pl.concat(parts)
    code = doses["code"].cast(pl.UInt64)
    return {
        "immunization": doses.with_columns(
            pl.Series(ROW, join_rows(doses["encounter_row"].to_numpy(), code.to_numpy()))
        )
    }


def _late_in_visit() -> pl.Expr:
    """Four fifths of the way through a visit, at most an hour in: after the measurements."""
    length = pl.col("end_at") - pl.col("start_at")
    return pl.col("start_at") + pl.min_horizontal(length * 4 // 5, pl.lit(60 * MINUTE)) // MINUTE * MINUTE
