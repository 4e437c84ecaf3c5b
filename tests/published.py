"""Published figures of the reference folder, and how they are measured on a dataset."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import polars as pl

from populace.core.dataset import Dataset
from populace.domains.healthcare import DOMAIN
from populace.domains.healthcare.curves import age_at_death
from populace.domains.healthcare.deaths import CAUSE

YEAR = 365.2425
SEX = {"M": "male", "F": "female", "male": "male", "female": "female", "all": None, "both": None}
CONDITION = {
    "hypertension_130_80_or_meds": "I10",
    "hypertension_prevalence": "I10",
    "obesity_bmi_ge_30": "E66.9",
    "obesity_prevalence": "E66.9",
    "diabetes_diagnosed": "E11.9",
    "diabetes_diagnosed_prevalence": "E11.9",
    "asthma_current": "J45.909",
    "asthma_current_prevalence": "J45.909",
    "copd_diagnosed": "J44.9",
    "copd_diagnosed_age_adjusted": "J44.9",
    "ckd_stage_1_4": "N18.9",
    "ckd_prevalence": "N18.9",
    "depression_phq9_ge_10": "F32.A",
}
MEAN = {"bmi_mean": "39156-5", "weight_mean": "29463-7", "sbp_mean": "8480-6", "dbp_mean": "8462-4"}
MEAN |= {"total_cholesterol_mean_age_adjusted": "2093-3"}
VISITS = {"office_visits_per_person_year": "AMB", "ed_visits_per_person_year": "EMER", "office_visits": "AMB"}
VISITS |= {"ed_visits": "EMER"}
DOSES = {"DTaP>=3": ("20", 3), "polio>=3": ("10", 3), "MMR>=1": ("03", 1), "HepB>=3": ("08", 3)}
DOSES |= {"varicella>=1": ("21", 1), "PCV>=3": ("133", 3), "HepA>=1": ("83", 1), "HepA>=2": ("83", 2)}
DOSES |= {"Hib full series": ("49", 3), "rotavirus full": ("119", 2)}
NOT_MADE = {
    "hypertension_aware_among_hypertensive": "everyone's hypertension is in the record",
    "hypertension_self_reported": "everyone's hypertension is in the record",
    "diabetes_total_dx_or_undx": "nobody's diabetes is undiagnosed",
    "diabetes_total_prevalence": "nobody's diabetes is undiagnosed",
    "copd_diagnosed_prevalence_age_standardised": "BRFSS finds 6.0 % where NHIS, which we follow, finds 3.8 %",
    "death_rate_age_adjusted": "the life table is that of 2014, judged by life expectancy",
}


def published(folder: Path) -> list[tuple[str, str, float, float, float]]:
    """metric, sex, least age, age that is too old, value; percentages and rates per person-year as the files have them."""
    made = []
    with open(folder / "healthcare" / "reference.csv", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            if row["confidence"] == "high":
                made.append((row["measure"], row["sex"], *_band(row["age_band"]), float(row["value"])))
    with open(folder / "healthcare" / "reference" / "epidemiology.csv", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            low = float(row["age_low"] or 0)
            high = float(row["age_high"]) + 1 if row["age_high"] else 125.0
            name, value = row["metric"], float(row["value"])
            if name in ("office_visits", "ed_visits"):
                value /= 100
            if name == "vaccination_by_19_months":
                name = row["stratum"]
            if row["confidence"] == "high":
                made.append((name, row["sex"], low, high, value))
    return made


def _band(text: str) -> tuple[float, float]:
    if text == "all":
        return 0.0, 125.0
    if text == "6m+":
        return 0.5, 125.0
    if text.endswith("+"):
        return float(text[:-1]), 125.0
    low, _, high = text.partition("-")
    return float(low), float(high or low) + 1


def measure(data: Dataset, name: str, sex: str | None, low: float, high: float, value: float) -> tuple[float, float]:
    """What the data show, and how far from the published value it may lie."""
    prevalence = max(0.2 * value, 1.0)
    if name in CONDITION:
        ill = data.frames["condition"].filter((pl.col("code") == CONDITION[name]) & pl.col("abatement_at").is_null())
        people = living(data, low, high, sex)["patient_id"]
        return 100 * people.is_in(ill["patient_id"].implode()).to_numpy().mean(), prevalence
    if name in MEAN:
        return float(per_person(data, MEAN[name], low, high, sex).mean()), 0.05 * value  # pyright: ignore[reportArgumentType]
    if name == "total_cholesterol_ge_240":
        return 100 * (per_person(data, "2093-3", low, high, sex) >= 240).to_numpy().mean(), prevalence
    if name in VISITS:
        return visits(data, VISITS[name], low, high), 0.2 * value
    if name == "flu_vaccination_season":
        return flu(data, low, high), prevalence
    if name in DOSES:
        return vaccinated(data, *DOSES[name]), prevalence
    if name == "life_expectancy_at_birth":
        return life_expectancy(sex), 0.15 * value
    if name == "infant_mortality":
        return infant_mortality(), 0.15 * value
    raise AssertionError(f"{name} is not measured")


DEATHS = {
    "female": {"heart": 21.8, "cancer": 20.7, "clrd": 6.2, "stroke": 6.2, "alzheimer": 6.1, "accident": 4.4, "diabetes": 2.7, "pneumonia": 2.1, "kidney": 1.8, "sepsis": 1.6},
    "male": {"heart": 24.2, "cancer": 21.9, "accident": 7.6, "clrd": 5.2, "stroke": 4.3, "diabetes": 3.2, "alzheimer": 2.6, "suicide": 2.6, "pneumonia": 1.8, "liver": 1.9},
}  # fmt: skip
"""Percent of all deaths of each sex of its ten leading causes: CDC, Data on Leading Causes of Death among Females and Males in 2017; septicemia of women 2014, liver
disease of men 2015."""


def causes_off(data: Dataset, relative: float) -> list[str]:
    """The leading causes of death whose shares are further from the published ones than a relative error and two standard errors."""
    group = {c: g for g, forms in data.plan.priors("death.form").items() for c in forms}
    told = data.frames["observation"].filter(pl.col("code").cast(pl.String) == CAUSE)
    told = told.with_columns(group=pl.col("value_code").cast(pl.String).replace_strict(group, default="other"))
    told = told.join(data.frames["patient"].select("patient_id", "sex"), on="patient_id")
    missed = []
    for sex, causes in DEATHS.items():
        groups = told.filter(pl.col("sex") == sex)["group"]
        for cause, value in causes.items():
            found = 100 * (groups == cause).to_numpy().mean()
            error = np.sqrt(value * (100 - value) / len(groups))
            if abs(found - value) > relative * value + 2 * error:
                missed.append(f"{cause} {sex}: {found:.1f}, published {value}")
    return missed


def living(data: Dataset, low: float, high: float, sex: str | None) -> pl.DataFrame:
    end = pl.lit(data.plan.window.end).cast(pl.Datetime("us", "UTC"))
    age = (end - pl.col("birth_date").cast(pl.Datetime("us", "UTC"))).dt.total_days() / YEAR
    people = data.frames["patient"].filter(pl.col("death_at").is_null() & (age >= low) & (age < high))
    return people.filter(pl.col("sex") == sex) if sex else people


def with_age(data: Dataset, table: str, at: str) -> pl.DataFrame:
    born = data.frames["patient"].select("patient_id", "sex", born=pl.col("birth_date").cast(pl.Datetime("us", "UTC")))
    rows = data.frames[table].join(born, on="patient_id")
    return rows.with_columns(age=(pl.col(at) - pl.col("born")).dt.total_hours() / (24 * YEAR))


def per_person(data: Dataset, code: str, low: float, high: float, sex: str | None) -> pl.Series:
    """One value a person: the first at a general examination, where nobody is measured because they are ill."""
    exams = data.frames["encounter"].filter(pl.col("type") == "162673000").select("encounter_id")
    rows = with_age(data, "observation", "at").filter(
        (pl.col("code") == code) & (pl.col("age") >= low) & (pl.col("age") < high)
    )
    rows = rows.join(exams, on="encounter_id")
    rows = rows.filter(pl.col("sex") == sex) if sex else rows
    # people who come often must not weigh more, and the old come more often than the young: weigh each by their age
    one = rows.group_by("patient_id").agg(pl.col("value").sort_by("at").first(), pl.col("age").first())
    people = living(data, low, high, sex).with_columns(
        age=((data.plan.window.end / 86_400e6) - pl.col("birth_date").to_physical()) / YEAR
    )
    share = np.histogram(people["age"], np.arange(low, 101, 10))[0]
    found = np.histogram(one["age"], np.arange(low, 101, 10))[0]
    cell = np.clip((one["age"].to_numpy() - low) // 10, 0, len(share) - 1).astype(int)
    weight = share[cell] / np.maximum(found[cell], 1)
    order = np.random.default_rng(1).choice(one.height, 40_000, p=weight / weight.sum())
    return one["value"].gather(order)


def person_years(data: Dataset, low: float, high: float) -> float:
    people, window = data.frames["patient"], data.plan.window
    birth = people["birth_date"].to_physical().to_numpy() * 86_400e6
    death = people["death_at"].to_physical().fill_null(2**62).to_numpy()
    year = YEAR * 86_400e6
    until = np.minimum(np.minimum(birth + high * year, death), window.end)
    return np.clip(until - np.maximum(birth + low * year, window.start), 0, None).sum() / year


def visits(data: Dataset, kind: str, low: float, high: float) -> float:
    rows = with_age(data, "encounter", "start_at").filter(
        (pl.col("class") == kind) & (pl.col("type") != "127785005") & (pl.col("age") >= low) & (pl.col("age") < high)
    )
    return rows.height / person_years(data, low, high)


def flu(data: Dataset, low: float, high: float) -> float:
    rows = with_age(data, "immunization", "at").filter(
        (pl.col("code") == "150") & (pl.col("age") >= low) & (pl.col("age") < high)
    )
    return 100 * rows.height / person_years(data, low, high)


def vaccinated(data: Dataset, code: str, doses: int) -> float:
    """Percentage of the children born in the window, and 19 months old in it, with that many doses by then."""
    age = (data.plan.window.end / 86_400e6 - pl.col("birth_date").to_physical()) / YEAR
    start = data.plan.window.start / 86_400e6
    children = data.frames["patient"].filter(
        (pl.col("birth_date").to_physical() >= start) & (age >= 19 / 12) & pl.col("death_at").is_null()
    )
    given = with_age(data, "immunization", "at").filter((pl.col("code") == code) & (pl.col("age") < 19 / 12))
    enough = given.group_by("patient_id").len().filter(pl.col("len") >= doses)["patient_id"]
    return 100 * children["patient_id"].is_in(enough.implode()).to_numpy().mean()


def life_expectancy(sex: str | None) -> float:
    u = (np.arange(20_000) + 0.5) / 20_000
    boys = DOMAIN.priors("population.male_births")
    share = {"male": 1.0, "female": 0.0, None: boys}[sex]
    table = DOMAIN.priors("population.death")
    both = [age_at_death(table, np.zeros(len(u)), np.full(len(u), male), u).mean() for male in (False, True)]
    return (1 - share) * both[0] + share * both[1]


def infant_mortality() -> float:
    boys = DOMAIN.priors("population.male_births")
    table = DOMAIN.priors("population.death")
    return 1e5 * (boys * table["male"][0] + (1 - boys) * table["female"][0])


LAB = {"albumin": "1751-7", "alkaline_phosphatase": "6768-6", "bun": "3094-0", "chloride": "2075-0", "sodium": "2951-2"}
LAB |= {"hemoglobin": "718-7", "hematocrit": "4544-3", "rbc": "789-8", "wbc": "6690-2", "creatinine": "2160-0"}
LAB |= {
    "glucose": "2339-0",
    "hba1c": "4548-4",
    "triglycerides": "2571-8",
    "weight_kg": "29463-7",
    "height_cm": "8302-2",
}
LAB |= {"ldl": "13457-7", "cholesterol_total": "2093-3", "systolic": "8480-6"}


def at_exams(data: Dataset) -> pl.DataFrame:
    exams = data.frames["encounter"].filter(pl.col("type") == "162673000").select("encounter_id")
    rows = with_age(data, "observation", "at").filter(pl.col("age").is_between(45, 65)).join(exams, on="encounter_id")
    return rows.with_columns(pl.col("code").cast(pl.String))


def correlation_errors(data: Dataset, folder: Path) -> dict[tuple[str, str, str], float]:
    """How far the correlations of measurements at general examinations at 45-65 lie from those of NHANES, by sex and pair."""
    rows, errors = at_exams(data), {}
    with open(folder / "healthcare" / "reference" / "nhanes_correlations_45_65.csv", encoding="utf-8") as file:
        figures = [r for r in csv.DictReader(file) if r["stratum"] == "all"]
    for sex in ("F", "M"):
        wide = rows.filter(pl.col("sex") == SEX[sex]).pivot(
            "code", index=["patient_id", "encounter_id"], values="value"
        )
        for figure in figures:
            if figure["sex"] == sex:
                both = wide.select(LAB[figure["a"]], LAB[figure["b"]]).drop_nulls().to_numpy()
                found = np.corrcoef(both.T)[0, 1]
                errors[sex, figure["a"], figure["b"]] = abs(found - float(figure["pearson"]))
    return errors
