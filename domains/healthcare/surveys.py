"""What adults are asked at check-ups, and answer: whether they smoke, how much they drink, how their mood is, what they lack, and how they live."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ...core.domain import Block
from ...core.samplers.rules import choose
from ...core.tables import ROW, Table, Tables
from .circumstances import NOTHING, WORK, circumstances_at, employed_since, places, standing
from .curves import MINUTE, YEAR, at_age
from .encounters import ADULT

SMOKING, ALCOHOL, MOOD, DEPRESSION = "72166-2", "75626-2", "55758-7", "44261-6"
"""LOINC: tobacco smoking status, and the scores of AUDIT-C, PHQ-2 and PHQ-9."""
SCHOOLING, EMPLOYMENT, INCOME = "82589-3", "67875-5", "63586-2"
"""LOINC, of PRAPARE: highest level of education, work, and what the family has a year."""
SMOKER, EX_SMOKER, NEVER = "77176002", "8517006", "266919005"
"""SNOMED CT, of US Core's smoking statuses."""
ASKED_FURTHER = 3
"""PHQ-2: from here on the other seven questions are asked too (Kroenke 2003)."""
DEPRESSED = 10
"""PHQ-9: from here on depression is likely, which is what the population's depression means."""
WORST_MOOD = 27
GROWN = 30.0
"""Years: who has not smoked by then does not begin."""
F32 = "F32.A"


def answers(block: Block, tables: Tables) -> Table:
    """One row per answer, in the columns of `observations.observations`."""
    patient = tables["patient"]
    visit = tables["encounter"].filter(pl.col("type") == ADULT)
    who = visit["patient_id"].to_numpy() - int(patient["patient_id"][0])
    start, end = visit["start_at"].to_numpy(), visit["end_at"].to_numpy()
    at = start + np.minimum((end - start) // 2, 10 * MINUTE) // MINUTE * MINUTE
    rows, asked = visit[ROW].to_numpy(), block.priors("survey.asked")
    stream = block.stream.child("survey")
    made: list[Table] = []

    def put(code: str, here: NDArray, column: str, values: Sequence | NDArray) -> None:
        made.append(
            pl.DataFrame(
                {
                    ROW: stream.child(code, "row").bits(rows[here]),
                    "patient_id": visit["patient_id"].gather(here),
                    "encounter_row": rows[here],
                    "code": pl.repeat(code, len(here), dtype=pl.String, eager=True),
                    "at": at[here],
                    column: pl.Series(values, dtype=pl.Float64 if column == "value" else pl.String),
                }
            )
        )

    def those_asked(code: str) -> NDArray[np.int64]:
        return np.flatnonzero(stream.child(code, "asked").uniform(rows) < asked[code])

    age = (at - patient["birth"].to_numpy()[who]) / YEAR
    here = those_asked(SMOKING)
    put(
        SMOKING, here, "value_code", np.array([NEVER, EX_SMOKER, SMOKER])[smoking(block, patient, who[here], age[here])]
    )
    here = those_asked(ALCOHOL)
    put(ALCOHOL, here, "value", _drinking(block, patient, who[here], rows[here]))
    here = those_asked(MOOD)
    ill = _depressed(tables, patient, who[here], at[here])
    mood = choose_by(stream.child(MOOD).uniform(rows[here]), ill, block.priors("survey.mood"))
    put(MOOD, here, "value", mood)
    low = mood >= ASKED_FURTHER
    here, ill, mood = here[low], ill[low], mood[low]
    u = stream.child(DEPRESSION).uniform(rows[here])
    # the higher, the rarer; the two questions are among the nine
    least = np.where(ill, DEPRESSED, mood)
    most = np.where(ill, WORST_MOOD, DEPRESSED - 1)
    put(DEPRESSION, here, "value", np.minimum(least + np.floor((1 - np.sqrt(1 - u)) * (most - least + 1)), most))
    for code, lacks in block.priors("survey.needs").items():
        here = those_asked(code)
        put(code, here, "value_code", _need(block, patient, who[here], at[here], code, lacks))
    here = those_asked(SCHOOLING)
    level, work, income = circumstances_at(block, patient, who[here], at[here])
    levels, works = block.priors("survey.schooling"), block.priors("survey.work")
    put(SCHOOLING, here, "value_code", np.array([levels[v] for v in block.priors("population.education")])[level])
    put(EMPLOYMENT, here, "value_code", np.array([works[v] for v in WORK])[work])
    told = income != NOTHING
    put(INCOME, here[told], "value", income[told])
    return pl.concat(made, how="diagonal")


def smoking(block: Block, patient: Table, who: NDArray, age: NDArray) -> NDArray[np.int64]:
    """Whether patients at some places have never smoked (0), have given it up (1) or smoke (2), at some ages: who ever smoked is of a generation's affair."""
    priors, window = block.priors, block.window
    ever, still = priors("smoking.ever"), priors("smoking.still")
    male = (patient["sex"] == "male").to_numpy()[who]
    first = (window.start - patient["birth"].to_numpy()[who]) / YEAR
    by_sex = np.where(male, priors("smoking.sex")["male"], priors("smoking.sex")["female"])
    begun = by_sex * at_age(ever, "share", np.maximum(first, np.minimum(age, GROWN)))
    habit, rows = block.stream.child("survey", SMOKING, "habit"), patient[ROW].to_numpy()
    begins = (habit.uniform(rows)[who] < begun) & (age >= 18)
    return begins.astype(np.int64) + (
        begins & (habit.child("given up").uniform(rows)[who] < at_age(still, "share", age))
    )


def _drinking(block: Block, patient: Table, who: NDArray, rows: NDArray) -> NDArray[np.float64]:
    """The score of AUDIT-C: of those who never drink, of moderate and of hazardous drinkers, whom the score tells apart otherwise in women and in men."""
    priors, stream = block.priors, block.stream.child("survey", ALCOHOL)
    kind = drinking(block, patient)[who]
    limit = np.where((patient["sex"] == "male").to_numpy()[who], 4, 3)
    u = stream.child("score").uniform(rows)
    moderate = 1 + np.floor(u * (limit - 1))
    hazardous = np.minimum(limit + np.floor(np.log1p(-u) / np.log(1 - priors("survey.hazard"))), 12)
    return np.choose(kind, [np.zeros(len(who)), moderate, hazardous])


def drinking(block: Block, patient: Table) -> NDArray[np.int64]:
    """Who never drinks (0), drinks (1) and drinks hazardously (2)."""
    habit = block.stream.child("survey", ALCOHOL, "habit")
    return choose(habit.uniform(patient[ROW].to_numpy()), block.priors("survey.drinking"))


def _depressed(tables: Tables, patient: Table, who: NDArray, at: NDArray) -> NDArray[np.bool_]:
    """Whether the record has a depression at each time."""
    spells = tables["condition"].filter(pl.col("code") == F32)
    of = spells["patient_id"].to_numpy() - int(patient["patient_id"][0])
    begin, end = spells["onset_at"].to_numpy(), spells["abatement_at"].fill_null(2**62).to_numpy()
    visits = pl.DataFrame({"who": who, "at": at}).with_row_index("n")
    ill = pl.DataFrame({"who": of, "begin": begin, "end": end})
    found = visits.join(ill, on="who").filter((pl.col("begin") <= pl.col("at")) & (pl.col("at") < pl.col("end")))
    made = np.zeros(len(who), bool)
    made[found["n"].to_numpy()] = True
    return made


def choose_by(u: NDArray, ill: NDArray, weights: Mapping[str, list[float]]) -> NDArray[np.int64]:
    return np.where(ill, choose(u, weights["ill"]), choose(u, weights["well"]))


def _need(
    block: Block, patient: Table, who: NDArray, at: NDArray, code: str, lacks: Mapping[str, Mapping[str, float]]
) -> NDArray[np.str_]:
    """The answer of each household to what it lacks, by its tier of income then. The first of the answers is that it lacks nothing."""
    from scipy.special import ndtr

    tiers = block.priors("population.income_tier")
    households = patient["household_id"].to_numpy().astype(np.uint64)
    household = households[who]
    since = employed_since(block, households)[who, places(block, at)]
    tier = choose(ndtr(standing(block, household, since)), list(tiers.values()))
    nothing, *others = lacks
    edges = np.cumsum([[lacks[c][t] for t in tiers] for c in others], axis=0)[:, tier]
    at = (block.stream.child("survey", code).uniform(household) >= edges).sum(axis=0)
    return np.array([*others, nothing])[at]
