"""What must hold beyond the schema: nothing before birth or after death, everything inside its encounter, plausible values,
derived values that follow from those they are derived from."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from functools import partial

import numpy as np
import polars as pl

from ...core.domain import Check
from ...core.priors import Priors
from ...core.schema import Schema
from ...core.tables import Table
from .conditions import chronic_codes, youngest
from .derived import completed_years
from .physiology import ADULT, BMI, CREATININE, EGFR, HEIGHT, WEIGHT, ckd_epi_2021

Lazy = Mapping[str, pl.LazyFrame]
INSIDE = ("observation", "medication_request", "immunization")
WITH_MODULES = ("procedure", "imaging_study", "diagnostic_report", "medication_administration", "supply", "device")
TIMES = {
    "encounter": ("start_at", "end_at"),
    "condition": ("onset_at", "abatement_at"),
    **dict.fromkeys(INSIDE, ("at", "at")),
}


def checks(priors: Priors, schema: Schema) -> tuple[Check, ...]:
    """Every check of the domain, with the tables that its schema has."""
    inside = (*INSIDE, *(t for t in WITH_MODULES if t in schema.tables))
    made = [
        Check(f"{table}.lifetime", ("patient", table), "Not before birth, not after death.", partial(_lifetime, table))
        for table in (*TIMES, *(t for t in inside if t not in TIMES))
    ]
    made += [
        Check(
            f"{table}.encounter",
            ("encounter", table),
            "Within its encounter's time, of the same patient.",
            partial(_inside, table),
        )
        for table in inside
    ]
    made += [
        Check(
            "condition.encounter", ("encounter", "condition"), "Begins before its encounter ends, same patient.", _found
        ),
        Check(
            "medication_request.condition",
            ("condition", "medication_request"),
            "For the patient's own condition, not before its onset.",
            _reason,
        ),
        Check(
            "observation.plausible",
            ("patient", "observation"),
            "Possible at that age.",
            partial(_plausible_value, priors),
        ),
        Check(
            "condition.plausible", ("patient", "condition"), "Possible at that age.", partial(_plausible_onset, priors)
        ),
        Check("condition.retired", ("condition",), "Not by a code after it was retired.", partial(_retired, schema)),
        Check(
            "encounter.note",
            ("encounter", "condition"),
            "The note does not deny what the record has.",
            partial(_denied, schema),
        ),
        Check(
            "consent.encounter", ("encounter", "consent"), "No encounter is recorded after it is withdrawn.", _unwanted
        ),
        Check(
            "medication_request.dose",
            ("medication_request", "observation"),
            "At most what is given by weight.",
            partial(_overdose, priors),
        ),
        Check("patient.age", ("patient",), "Alive at most as long as people live.", _age),
        Check("observation.bmi", ("observation",), "Weight over height squared.", _bmi),
        Check("observation.egfr", ("patient", "observation"), "CKD-EPI 2021 from creatinine, age and sex.", _egfr),
    ]
    return tuple(made)


def _report(rows: pl.LazyFrame, table: str, detail: str | pl.Expr) -> Table:
    text = pl.lit(detail) if isinstance(detail, str) else detail
    key = pl.col(f"{table}_id")
    return rows.select(pl.lit(table).alias("table"), key.alias("row_key"), text.alias("detail")).collect()


def _lifetime(table: str, tables: Lazy) -> Table:
    life = tables["patient"].select("patient_id", "birth_date", "death_at")
    first, last = TIMES.get(table, ("at", "at"))
    born = pl.col("birth_date").cast(pl.Datetime("us", "UTC"))
    early, late = pl.col(first) < born, pl.max_horizontal(first, last) > pl.col("death_at")
    rows = tables[table].join(life, on="patient_id")
    detail = pl.when(early).then(pl.lit("before birth")).otherwise(pl.lit("after death"))
    return _report(rows.filter(early | late), table, detail)


def _inside(table: str, tables: Lazy) -> Table:
    visit = tables["encounter"].select("encounter_id", "start_at", "end_at", whose="patient_id")
    rows = tables[table].join(visit, on="encounter_id")
    other = pl.col("patient_id") != pl.col("whose")
    outside = ~pl.col("at").is_between("start_at", "end_at")
    detail = pl.when(other).then(pl.lit("an encounter of another patient")).otherwise(pl.lit("outside its encounter"))
    return _report(rows.filter(other | outside), table, detail)


def _found(tables: Lazy) -> Table:
    visit = tables["encounter"].select("encounter_id", "end_at", whose="patient_id")
    rows = tables["condition"].join(visit, on="encounter_id")
    bad = (pl.col("patient_id") != pl.col("whose")) | (pl.col("onset_at") > pl.col("end_at"))
    return _report(rows.filter(bad), "condition", "begins after its encounter, or is another patient's")


def _reason(tables: Lazy) -> Table:
    reason = tables["condition"].select("condition_id", "onset_at", whose="patient_id")
    rows = tables["medication_request"].join(reason, on="condition_id")
    bad = (pl.col("patient_id") != pl.col("whose")) | (pl.col("onset_at") > pl.col("at"))
    return _report(rows.filter(bad), "medication_request", "written before its condition, or for another patient's")


def _plausible_value(priors: Priors, tables: Lazy) -> Table:
    limits = priors("plausible.observation")
    bounds = pl.LazyFrame(
        [(code, *map(float, four)) for code, four in limits.items()],
        schema={
            "code": pl.String,
            "low": pl.Float64,
            "high": pl.Float64,
            "adult_low": pl.Float64,
            "adult_high": pl.Float64,
        },
        orient="row",
    )
    born = tables["patient"].select("patient_id", "birth_date")
    rows = tables["observation"]
    if "unit" in rows.collect_schema():
        rows = rows.filter(pl.col("unit").is_null())
    rows = rows.with_columns(pl.col("code").cast(pl.String)).join(bounds, on="code")
    # nearly every value is within the adult limits, which lie within those of any age
    rows = rows.filter(~pl.col("value").is_between("adult_low", "adult_high")).join(born, on="patient_id")
    adult = completed_years(pl.col("birth_date"), pl.col("at")) >= ADULT
    rows = rows.filter(adult | ~pl.col("value").is_between("low", "high"))
    return _report(rows, "observation", pl.format("{} is {}", "code", "value"))


def _plausible_onset(priors: Priors, tables: Lazy) -> Table:
    least = {code: youngest(priors, code) for code in chronic_codes(priors)}
    born = tables["patient"].select("patient_id", "birth_date")
    rows = tables["condition"].with_columns(pl.col("code").cast(pl.String)).join(born, on="patient_id")
    age = completed_years(pl.col("birth_date"), pl.col("onset_at"))
    limit = pl.col("code").replace_strict(least, default=0, return_dtype=pl.Float64)
    return _report(rows.filter(age < limit), "condition", pl.format("{} below the least age of its onset", "code"))


def _retired(schema: Schema, tables: Lazy) -> Table:
    days = {code: dt.date.fromisoformat(day) for code, day in schema.code_lists["retired"].codes.items()}
    until = pl.col("code").cast(pl.String).replace_strict(days, default=None, return_dtype=pl.Date)
    rows = tables["condition"].filter(pl.col("onset_at").dt.date() >= until)
    return _report(rows, "condition", pl.format("{} was retired before", pl.col("code").cast(pl.String)))


def _denied(schema: Schema, tables: Lazy) -> Table:
    """Notes say "No ", a condition's name and a full stop."""
    said = tables["encounter"].filter(pl.col("addendum").is_not_null())
    said = said.with_columns(named=pl.col("addendum").str.to_lowercase().str.extract(r"^no (.+)\.$"))
    shown = {code: text.lower() for code, text in schema.code_lists["condition"].codes.items()}
    has = tables["condition"].select(
        "patient_id", "onset_at", "abatement_at",
        named=pl.col("code").cast(pl.String).replace_strict(shown, default=None, return_dtype=pl.String),
    )  # fmt: skip
    rows = said.join(has, on=["patient_id", "named"])
    there = (pl.col("onset_at") <= pl.col("end_at")) & (
        pl.col("abatement_at").is_null() | (pl.col("abatement_at") >= pl.col("start_at"))
    )
    return _report(rows.filter(there).unique("encounter_id"), "encounter", pl.format("the note denies {}", "named"))


def _unwanted(tables: Lazy) -> Table:
    ended = tables["consent"].filter(pl.col("end_at").is_not_null())
    rows = ended.join(tables["encounter"].select("patient_id", "start_at"), on="patient_id")
    late = rows.filter(pl.col("start_at") >= pl.col("end_at")).unique("consent_id")
    return _report(late, "consent", "an encounter is recorded after it was withdrawn")


def _overdose(priors: Priors, tables: Lazy) -> Table:
    most = {code: float(dose) for code, dose in priors("plausible.dose").items()}
    orders = tables["medication_request"].filter(pl.col("dose").is_not_null())
    weight = tables["observation"].filter((pl.col("code") == WEIGHT) & pl.col("value").is_not_null())
    weight = weight.select("encounter_id", kilograms="value").unique("encounter_id")
    rows = orders.join(weight, on="encounter_id")
    limit = pl.col("code").cast(pl.String).replace_strict(most, default=None, return_dtype=pl.Float64)
    a_day = pl.col("dose") * pl.col("per_day") / pl.col("kilograms")
    return _report(rows.filter(a_day > limit), "medication_request", pl.format("{} mg/kg a day", a_day.round(0)))


def _age(tables: Lazy) -> Table:
    age = completed_years(pl.col("birth_date"), pl.col("death_at"))
    wrong = (age != pl.col("age_years")).fill_null(False)
    return _report(tables["patient"].filter(wrong), "patient", "age_years is not the age at death")


def _bmi(tables: Lazy) -> Table:
    value = {c: pl.col("value").filter(pl.col("code") == c).first() for c in (HEIGHT, WEIGHT)}
    rows = tables["observation"].filter(pl.col("code").cast(pl.String).is_in([HEIGHT, WEIGHT, BMI]))
    both = rows.group_by("encounter_id", "at").agg(height=value[HEIGHT], weight=value[WEIGHT])
    index = rows.filter(pl.col("code") == BMI).join(both, on=["encounter_id", "at"], how="left")
    expected = pl.col("weight") / (pl.col("height") / 100) ** 2
    # a value reported to one decimal
    return _report(
        index.filter((pl.col("value") - expected).abs() > 0.051), "observation", "not weight over height squared"
    )


def _egfr(tables: Lazy) -> Table:
    people = tables["patient"].select("patient_id", "birth_date", "sex")
    rows = tables["observation"].filter(pl.col("code").cast(pl.String).is_in([CREATININE, EGFR]))
    creatinine = rows.filter(pl.col("code") == CREATININE).select("encounter_id", "at", creatinine="value")
    egfr = rows.filter(pl.col("code") == EGFR).join(creatinine, on=["encounter_id", "at"]).join(people, on="patient_id")
    found = egfr.with_columns(age=completed_years(pl.col("birth_date"), pl.col("at"))).collect()
    expected = ckd_epi_2021(
        found["creatinine"].to_numpy(), found["age"].to_numpy(), (found["sex"] == "female").to_numpy()
    )
    wrong = np.abs(found["value"].to_numpy() - expected) > 0.51
    return _report(
        found.filter(pl.Series(wrong, dtype=pl.Boolean)).lazy(), "observation", "not CKD-EPI 2021 of the creatinine"
    )
