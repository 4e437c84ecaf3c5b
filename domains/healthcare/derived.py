"""What follows from the facts: keys in order of time, ages, body mass index, eGFR, total cholesterol, statuses, dose numbers."""

from __future__ import annotations

import numpy as np
import polars as pl

from ...core.derive import key_of, number
from ...core.domain import Block
from ...core.schema import Schema
from ...core.stream import join_rows
from ...core.tables import ROW, Table, Tables, merge
from .curves import DAY
from .physiology import ADULT, BMI, CHOLESTEROL, CREATININE, EGFR, HDL, HEIGHT, LDL, TRIGLYCERIDES, WEIGHT, ckd_epi_2021


def completed_years(birth: pl.Expr, at: pl.Expr) -> pl.Expr:
    """Completed years of age. Who is born on 29 February completes a year on 1 March of common years."""
    before = (at.dt.month() < birth.dt.month()) | ((at.dt.month() == birth.dt.month()) & (at.dt.day() < birth.dt.day()))
    return at.dt.year() - birth.dt.year() - before.cast(pl.Int32)


def ages(block: Block, tables: Tables) -> Tables:
    """`age_years` at the window's end or at death."""
    end = pl.lit(block.window.end - 1).cast(pl.Datetime("us", "UTC"))
    at = pl.coalesce(pl.col("death_at"), end)
    return {"patient": tables["patient"].with_columns(age_years=completed_years(pl.col("birth_date"), at))}


def measures(block: Block, tables: Tables) -> Tables:
    """The observations that are computed from others of the same moment, of the values as reported."""
    facts = tables["observation"]
    codes = (HEIGHT, WEIGHT, CREATININE, LDL, HDL, TRIGLYCERIDES)
    birth = tables["patient"].select("patient_id", "birth_date", "sex")
    wide = (
        facts.filter(pl.col("code").is_in(codes))
        .group_by("patient_id", "encounter_row", "at", maintain_order=True)
        .agg(
            *(pl.col("value").filter(pl.col("code") == c).first().alias(c) for c in codes),
            *(pl.col(ROW).filter(pl.col("code") == c).first().alias(f"row {c}") for c in (WEIGHT, CREATININE, LDL)),
        )
        .join(birth, on="patient_id", how="left", maintain_order="left")
        .with_columns(age=completed_years(pl.col("birth_date"), pl.col("at").cast(pl.Datetime("us", "UTC"))))
    )
    made = [
        _computed(
            wide.filter(pl.col("age") >= INDEXED),
            BMI,
            f"row {WEIGHT}",
            (pl.col(WEIGHT) / (pl.col(HEIGHT) / 100) ** 2).round(1),
        ),
        _computed(wide, CHOLESTEROL, f"row {LDL}", (pl.col(LDL) + pl.col(HDL) + pl.col(TRIGLYCERIDES) / 5).round(0)),
    ]
    adult = wide.filter((pl.col("age") >= ADULT) & pl.col(CREATININE).is_not_null())
    value = ckd_epi_2021(adult[CREATININE].to_numpy(), adult["age"].to_numpy(), (adult["sex"] == "female").to_numpy())
    made.append(
        _computed(adult.with_columns(pl.Series("egfr", np.round(value))), EGFR, f"row {CREATININE}", pl.col("egfr"))
    )
    made = [m.select(c for c in facts.columns if c in m.columns) for m in made]
    return {"observation": pl.concat([facts, *made], how="diagonal")}


def _computed(wide: Table, code: str, source: str, value: pl.Expr) -> Table:
    made = wide.with_columns(value=value, code=pl.lit(code)).filter(pl.col("value").is_not_null())
    return made.with_columns(pl.Series(ROW, join_rows(made[source].to_numpy(), np.array([int(code.replace("-", ""))]))))


INDEXED = 2
"""Years of age from which the body mass index is told: below, weight is judged by length (CDC, growth charts)."""
TIMES = ("start_at", "onset_at", "at")


def numbering(schema: Schema) -> dict[str, str]:
    """Each table's column of time, tables after those that they refer to."""
    times = {n: next(c for c in TIMES if c in s.columns) for n, s in schema.tables.items() if s.within}
    ordered: dict[str, str] = {}

    def put(name: str) -> None:
        for target in schema[name].references.values():
            if target in times and target not in ordered:
                put(target)
        ordered.setdefault(name, times[name])

    for name in times:
        put(name)
    return ordered


def keys(schema: Schema):
    """The step that numbers every table and turns addresses of encounters, conditions and the like into their keys."""

    def run(block: Block, tables: Tables) -> Tables:
        made: Tables = {}
        for name, order in numbering(schema).items():
            frame = tables[name]
            for column, target in schema[name].references.items():
                row = f"{column.removesuffix('_id')}_row"
                if target in made and row in frame.columns:
                    key = key_of(frame[row], made[target], schema[target].key)
                    frame = frame.with_columns(key.alias(column))
            if "orphan" in frame.columns and frame["orphan"].any():
                # a key of the patient's that no encounter has: the last that there is room for
                nowhere = pl.col("patient_id") * schema["encounter"].fan + schema["encounter"].fan - 1
                frame = frame.with_columns(encounter_id=pl.when("orphan").then(nowhere).otherwise("encounter_id"))
            if frame[order].null_count():  # a time that a record of others does not tell comes first
                timed = frame.with_columns(pl.col(order).to_physical().fill_null(0).alias("_time"))
                made = merge(made, {name: number(timed, schema[name], "_time").drop("_time")})
                continue
            made = merge(made, {name: number(frame, schema[name], order)})
        return made

    return run


def statuses(block: Block, tables: Tables) -> Tables:
    """Statuses at the end of what the record covers, and the number of each dose."""
    until = tables["patient"].select("patient_id", until=pl.col("last_seen"))
    condition = tables["condition"].with_columns(
        status=pl.when(pl.col("abatement_at").is_null()).then(pl.lit("active")).otherwise(pl.lit("resolved"))
    )
    request = tables["medication_request"].join(until, on="patient_id", how="left", maintain_order="left")
    ends = pl.col("at").cast(pl.Int64) + pl.col("days").cast(pl.Int64) * DAY
    over = ends <= block.window.end
    if "end_at" in request.columns:
        module = pl.col("module") if "module" in request.columns else pl.lit(False)
        over = pl.when(module).then(pl.col("end_at").is_not_null()).otherwise(over)
    request = request.with_columns(
        status=pl.when(over)
        .then(pl.lit("completed"))
        .when(pl.col("until") < block.window.end)
        .then(pl.lit("stopped"))
        .otherwise(pl.lit("active"))
    )
    dose = pl.col("immunization_id").rank("ordinal").over("patient_id", "code")
    shots = tables["immunization"].with_columns(dose=dose.cast(pl.Int32))
    made = {"condition": condition, "medication_request": request, "immunization": shots}
    if "device" in tables:
        used = pl.when(pl.col("end_at").is_null()).then(pl.lit("active")).otherwise(pl.lit("inactive"))
        made["device"] = tables["device"].with_columns(status=used)
    return made
