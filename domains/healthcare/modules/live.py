"""The step that sends a block's patients through the modules: from birth, with the check-ups and the bodies that the population gives them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ....core.domain import Block
from ....core.samplers.rules import choose
from ....core.schema import Schema
from ....core.stream import join_rows
from ....core.tables import ROW, Table, Tables
from .. import blood
from .. import physiology as body
from ..circumstances import income_rank
from ..conditions import courses, spells
from ..curves import DAY, MINUTE, YEAR
from ..encounters import check_ups
from ..families import pregnancies
from ..observations import treated
from ..population import TRAITS
from ..surveys import drinking, smoking
from .hours import at_hours, with_reasons
from .library import Library
from .machine import Run
from .people import ALIVE, Known, People, Visits
from .program import Program
from .records import records
from .values import Code

RACES = {
    "2106-3": "white", "2054-5": "black", "2028-9": "asian", "1002-5": "native", "2076-8": "hawaiian", "2131-1": "other"
}  # fmt: skip
VITALS = {
    "Height": body.HEIGHT,
    "Weight": body.WEIGHT,
    "Systolic Blood Pressure": body.SYSTOLIC,
    "Diastolic Blood Pressure": body.DIASTOLIC,
    "Heart Rate": body.HEART_RATE,
    "Respiration Rate": body.RESPIRATORY_RATE,
    "Body Temperature": body.TEMPERATURE,
    "Oxygen Saturation": body.SATURATION,
    "Blood Glucose": body.HBA1C,
    "Glucose": body.GLUCOSE,
    "Creatinine": body.CREATININE,
    "LDL": body.LDL,
    "HDL": body.HDL,
    "Triglycerides": body.TRIGLYCERIDES,
    "Urea Nitrogen": blood.UREA,
    "Chloride": blood.CHLORIDE,
    "Sodium": blood.SODIUM,
    "Hemoglobin": blood.HEMOGLOBIN,
}
"""What modules call what a body measures (Generic Module Framework: vital signs; its Blood Glucose is HbA1c)."""
FACTS = (
    Code("SNOMED-CT", "77386006", "Pregnancy (finding)"),
    Code("SNOMED-CT", "300936002", "Terminal illness (finding)"),
)
"""What of life itself our own modules are told: a pregnancy, until the child of the population is born, and the last half year before a natural death."""
DYING = int(YEAR / 2)
SMOKES = 2
DRINKERS = ("none", "moderate", "hazardous")
"""Of `surveys.smoking`."""
NEVER_SEEN = {"I10": False, "E11.9": False, "E78.5": False, "N18.9": False, "E78.5 treated": False}


@dataclass(frozen=True, eq=False)
class Lives:
    """The step, as a value: what it runs is compiled once in each process."""

    library: Library
    schema: Schema
    told: tuple[str, ...] = ()
    """The chronic conditions, by ICD-10-CM, of which modules are told: those of the library's first module, in its order."""

    @cached_property
    def program(self) -> Program:
        return Program(self.library)

    def __reduce__(self) -> Any:
        return Lives, (self.library, self.schema, self.told)

    def __call__(self, block: Block, tables: Tables) -> Tables:
        """The patients with the deaths that modules bring about, and the record of the modules: tables `module …`, with times in
        microseconds, whole minutes, and `patient`, the position in the block."""
        patient = tables["patient"]
        who, _, rows, start, end = check_ups(block, patient)
        # patients stand in order, and their check-ups in order of the age at which they are due
        order = np.lexsort((start, who))
        visits = Visits(who[order], start[order], end[order])
        birth, last = patient["birth"].to_numpy(), patient["last_seen"].to_numpy()
        natural = patient["death_at"].cast(pl.Int64).fill_null(ALIVE).to_numpy()
        seen = patient["first_seen"].to_numpy()
        people = People(
            patient[ROW].to_numpy(), birth, np.full(len(birth), block.window.end), natural, visits,
            _known(block, patient, self.schema.code_lists["state"].codes), _Body(block, patient, self.told), seen,
            _diagnoses(block, patient, self.told) if self.told else None,
        )  # fmt: skip
        run = Run(self.program, people, block.stream.child("module"))
        run.run()
        made = {f"module {name}": frame for name, frame in records(run).items()}
        made["module encounter"] = made["module encounter"].with_columns(
            visit=pl.Series(rows[order]).extend_constant(0, made["module encounter"].height - len(order))
        )
        made["module care_activity"] = _activities(run, made["module careplan"])
        made["module goal"] = _goals(run, made["module careplan"])
        death = np.where(run.death < block.window.end, run.death // MINUTE * MINUTE, ALIVE)
        death = np.maximum(np.where(death < natural, death, natural), seen)
        if self.told:
            made["module encounter"] = with_reasons(made)
        made = at_hours(block, patient, death, made)
        return {"patient": _dead(block, patient, death, np.minimum(last, death)), **made}


def _dead(block: Block, patient: Table, death: NDArray, last: NDArray) -> Table:
    from ..population import adult_time

    died = pl.Series(death).set(pl.Series(death >= block.window.end), None).cast(pl.Datetime("us", "UTC"))
    adult = adult_time(block, patient["birth"].to_numpy(), last)
    return patient.with_columns(death_at=died, last_seen=pl.Series(last), adult_days=pl.Series(adult / DAY))


def _diagnoses(block: Block, patient: Table, codes: tuple[str, ...]) -> Known:
    """When the population's own chronic conditions begin and end."""
    parts = []
    for n, code in enumerate(codes):
        who, _, *course = spells(block, patient, code)
        for at, begins in zip(course, (True, False), strict=True):
            ever = at < 2**61
            parts.append((who[ever], at[ever], *_fact(n, begins, int(ever.sum()))))
    # of a natural death after the window nothing is known yet
    death = patient["death_at"].cast(pl.Int64)
    dying = np.flatnonzero(death.is_not_null().to_numpy())
    parts.append((dying, death.to_numpy()[dying].astype(np.int64) - DYING, *_fact(len(codes) + 1, True, len(dying))))
    mother, begin, born = pregnancies(block, patient)
    for at, begins in ((begin, True), (born, False)):
        parts.append((mother, at, *_fact(len(codes), begins, len(mother))))
    who, at, code, begins = (np.concatenate(p) for p in zip(*parts, strict=True))
    at = np.maximum(at, patient["birth"].to_numpy()[who])
    order = np.lexsort((begins, at, who))
    return Known(who[order], at[order], code[order], begins[order])


def _fact(n: int, begins: bool, many: int) -> tuple[NDArray, NDArray]:
    return np.full(many, n), np.full(many, begins)


def _activities(run: Run, plans: Table) -> Table:
    """One row for each activity of each plan: `plan`, its row."""
    states = run.program.states
    listed = [(s, c.code) for s in plans["state"].unique().to_list() for c in states[s].get("activities", ())]
    return _of_plans(plans, listed, {"code": pl.String})


def _goals(run: Run, plans: Table) -> Table:
    """One row for each goal of each plan: `plan`, its row; `code`, what it says."""
    states = run.program.states
    listed = [(s, *_said(goal)) for s in plans["state"].unique().to_list() for goal in states[s].get("goals", ())]
    return _of_plans(
        plans, listed, {"code": pl.String, "measure": pl.String, "comparator": pl.String, "target": pl.Float64}
    )


def _said(goal: Mapping[str, Any]) -> tuple[str, str | None, str | None, float | None]:
    """Text, measure, comparator and target of a module's goal; one whose target is no number is told by its text alone."""
    sought = goal.get("observation")
    if sought is None:
        return goal.get("text", "as planned"), None, None, None
    code, sign, value = sought["codes"][0], sought["operator"], sought["value"]
    text = goal.get("text") or f"{code.display} {sign} {value}"
    if isinstance(value, bool) or not isinstance(value, int | float) or sign == "!=":
        return text, None, None, None
    return text, code.code, None if sign == "==" else sign, float(value)


def _of_plans(plans: Table, listed: list[tuple], columns: dict[str, Any]) -> Table:
    """The parts that each state lists, for each plan that it began."""
    parts = pl.DataFrame(listed, schema={"state": plans["state"].dtype, **columns}, orient="row")
    each = plans.with_row_index("plan").select("plan", "patient", "start", "state")
    return each.join(parts, on="state", how="inner", maintain_order="left_right")


def _known(block: Block, patient: Table, states: Mapping[str, str]) -> dict[str, Any]:
    """What modules may read of a patient and none of them sets."""
    tiers = block.priors("population.income_tier")
    household = patient["household_id"].to_numpy().astype(np.uint64)
    drawn = choose(income_rank(block, household), list(tiers.values()))
    race = patient["race"].cast(pl.String).replace_strict(RACES, default="other", return_dtype=pl.String).to_numpy()
    age = (patient["last_seen"].to_numpy() - patient["birth"].to_numpy()) / YEAR
    return {
        "gender": np.where((patient["sex"] == "male").to_numpy(), "M", "F"),
        "race": race,
        "ethnicity": np.where((patient["ethnicity"] == "2135-2").to_numpy(), "hispanic", "nonhispanic"),
        "state": patient["state"].cast(pl.String).replace_strict(states, default="", return_dtype=pl.String).to_numpy(),
        "socioeconomic_category": np.array([t.capitalize() for t in tiers])[drawn],
        "drinker": np.array(DRINKERS)[drinking(block, patient)],
        "smoker": smoking(block, patient, np.arange(patient.height), age) == SMOKES,
    }


class _Body:
    """Vital signs and laboratory values that no module has set, of the bodies that the population has."""

    def __init__(self, block: Block, patient: Table, told: tuple[str, ...]) -> None:
        self.block = block
        self.rows = patient[ROW].to_numpy()
        self.birth = patient["birth"].to_numpy()
        self.male = (patient["sex"] == "male").to_numpy()
        self.traits = {t: patient[f"z_{t}"].to_numpy() for t in TRAITS}
        # the diagnoses of which modules are told show in what they measure, as in what the population measures
        self.courses = {c: courses(block, patient, c) for c in NEVER_SEEN if c in told}
        self.treated = treated(block, self.rows, "E78.5") if "E78.5" in told else None

    def __call__(self, name: str, p: NDArray, at: NDArray) -> NDArray[np.float64]:
        if name == "BMI":
            return np.round(self("Weight", p, at) / (self("Height", p, at) / 100) ** 2, 1)
        if name == "Total Cholesterol":
            return self("LDL", p, at) + self("HDL", p, at) + np.round(self("Triglycerides", p, at) / 5)
        if name == "EGFR":
            age = np.floor((at - self.birth[p]) / YEAR)
            return np.round(body.ckd_epi_2021(self("Creatinine", p, at), age, ~self.male[p]))
        code = VITALS.get(name)
        if code is None:
            return self._reference(name, p, at)
        b = self._measured(p, at)
        return body.report(b, code, body.measure(b, code))

    def _measured(self, p: NDArray, at: NDArray) -> body.Body:
        has = dict.fromkeys(NEVER_SEEN, np.zeros(len(p), bool))
        has |= {c: (onset[p] <= at) & (at < end[p]) for c, (onset, end) in self.courses.items()}
        if self.treated is not None:
            has["E78.5 treated"] = self.treated[p]
        return body.Body(
            join_rows(self.rows[p], at), self.birth[p], at, self.male[p], {t: z[p] for t, z in self.traits.items()},
            has, self.block.priors, self.block.stream.child("observation"),
        )  # fmt: skip

    def _reference(self, name: str, p: NDArray, at: NDArray) -> NDArray[np.float64]:
        """A value within its reference interval, of which it is the central 95 percent."""
        low, high = self.block.priors("module.vital")[name]
        z = self.block.stream.child("module vital", name).normal(join_rows(self.rows[p], at))
        return (low + high) / 2 + z * (high - low) / 3.92
