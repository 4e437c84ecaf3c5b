"""Realistic is a test against a published figure. Each tolerance is four binomial standard errors plus what the model admits to."""

from __future__ import annotations

import math

import numpy as np
import polars as pl
import pytest

from populace.core.dataset import Dataset
from populace.domains.healthcare import DOMAIN
from populace.domains.healthcare.curves import age_at_death

YEAR_US = 365.2425 * 86_400e6


def living(data: Dataset, low: int, high: int, sex: str | None = None) -> pl.DataFrame:
    people = data.frames["patient"].filter(pl.col("death_at").is_null() & pl.col("age_years").is_between(low, high))
    return people.filter(pl.col("sex") == sex) if sex else people


@pytest.mark.parametrize(
    ("code", "low", "high", "sex", "published", "admitted"),
    [
        # NCHS Data Brief 511, NHANES Aug 2021-Aug 2023
        ("I10", 18, 120, None, 47.7, 1.0),
        ("I10", 18, 120, "male", 50.8, 1.0),
        ("I10", 18, 120, "female", 44.6, 1.0),
        ("I10", 18, 39, None, 23.4, 1.5),
        ("I10", 40, 59, None, 52.5, 1.5),
        ("I10", 60, 120, None, 71.6, 1.0),
        # NCHS Data Brief 508
        ("E66.9", 20, 120, None, 40.3, 1.0),
        ("E66.9", 20, 39, None, 35.5, 1.0),
        ("E66.9", 40, 59, None, 46.4, 1.0),
        ("E66.9", 60, 120, None, 38.9, 1.0),
        # NCHS Data Brief 516, diagnosed
        ("E11.9", 20, 120, None, 11.3, 0.5),
        ("E11.9", 20, 39, None, 2.2, 0.5),
        ("E11.9", 60, 120, None, 20.5, 1.0),
        # CDC, Chronic Kidney Disease in the United States, 2023
        ("N18.9", 18, 120, None, 14.0, 1.0),
        ("N18.9", 18, 44, None, 6.0, 1.0),
        ("N18.9", 65, 120, None, 34.0, 1.5),
        # CDC, NHIS 2021
        ("J45.909", 0, 120, None, 7.7, 0.5),
        ("J45.909", 18, 120, "male", 6.2, 0.5),
        ("J45.909", 18, 120, "female", 9.7, 0.5),
        # NCHS Data Briefs 529 and 527
        ("J44.9", 18, 120, None, 3.8, 0.5),
        ("F32.A", 12, 120, None, 13.1, 0.5),
    ],
)
def test_prevalence(
    population: Dataset, code: str, low: int, high: int, sex: str | None, published: float, admitted: float
):
    people = living(population, low, high, sex)["patient_id"]
    ill = population.frames["condition"].filter((pl.col("code") == code) & pl.col("abatement_at").is_null())
    found = 100 * people.is_in(ill["patient_id"].implode()).to_numpy().mean()
    error = 100 * math.sqrt(published / 100 * (1 - published / 100) / len(people))
    assert abs(found - published) < 4 * error + admitted


@pytest.mark.parametrize(("sex", "published"), [("male", 76.5), ("female", 81.2)])
def test_life_expectancy_at_birth_is_that_of_the_life_table(sex: str, published: float):
    u = (np.arange(20_000) + 0.5) / 20_000
    male = np.full(len(u), sex == "male")
    ages = age_at_death(DOMAIN.priors("population.death"), np.zeros(len(u)), male, u)
    assert ages.mean() == pytest.approx(published, abs=0.4)


def test_age_and_sex_structure_is_the_census(population: Dataset):
    people = population.frames["patient"].with_columns(
        at_start=(pl.date(2015, 1, 1) - pl.col("birth_date")).dt.total_days() / 365.2425
    )
    people = people.filter(pl.col("at_start") > 0)
    # 2020 Census, Demographic Profile: 22.1 % below 18, 16.8 % at 65 and over, 50.9 % female (projection: 23.4, 16.0, 50.7)
    assert (people["at_start"] < 18).mean() == pytest.approx(0.23, abs=0.03)
    assert (people["at_start"] >= 65).mean() == pytest.approx(0.165, abs=0.025)
    assert (people["sex"] == "female").mean() == pytest.approx(0.508, abs=0.026)


@pytest.mark.parametrize(
    ("kind", "low", "high", "published", "tolerance"),
    [
        # NCHS Data Brief 408 (2018), office-based physician visits per person-year; shots are given elsewhere
        ("AMB", 0, 120, 2.67, 0.15),
        ("AMB", 0, 1, 5.96, 0.15),
        ("AMB", 1, 18, 1.53, 0.20),
        ("AMB", 18, 45, 1.73, 0.20),
        ("AMB", 45, 65, 3.02, 0.25),
        ("AMB", 65, 120, 5.50, 0.20),
        # NCHS Data Brief 478 (2021), emergency visits
        ("EMER", 0, 120, 0.43, 0.20),
        ("EMER", 18, 45, 0.47, 0.30),
    ],
)
def test_visits_per_person_year(
    population: Dataset, kind: str, low: float, high: float, published: float, tolerance: float
):
    born = pl.col("birth_date").cast(pl.Datetime("us", "UTC")).cast(pl.Int64)
    people = population.frames["patient"].select("patient_id", birth=born, death=pl.col("death_at").cast(pl.Int64))
    window = population.plan.window
    birth, death = people["birth"].to_numpy(), people["death"].fill_null(2**62).to_numpy()
    until = np.minimum(np.minimum(birth + high * YEAR_US, death), window.end)
    years = np.clip(until - np.maximum(birth + low * YEAR_US, window.start), 0, None).sum() / YEAR_US
    age = (pl.col("start_at").cast(pl.Int64) - pl.col("birth")) / YEAR_US
    visits = population.frames["encounter"].join(people, on="patient_id").filter((age >= low) & (age < high))
    visits = visits.filter((pl.col("class") == kind) & (pl.col("type") != "127785005"))
    assert visits.height / years == pytest.approx(published, rel=tolerance)


@pytest.mark.parametrize(
    ("code", "published", "tolerance"),
    [("8480-6", 122, 2), ("8462-4", 71, 2), ("39156-5", 29.3, 0.6), ("2093-3", 190.9, 4)],
)
def test_mean_of_adults(population: Dataset, code: str, published: float, tolerance: float):
    """NHSR 35 (pressure), NHSR 122 (BMI), Healthy People 2030 HDS-06 (cholesterol); one mean per person."""
    assert per_person(population, [code], 20, 120)[code].mean() == pytest.approx(published, abs=tolerance)


@pytest.mark.parametrize(
    ("a", "b", "low", "high"),
    [
        # NHANES 2017-March 2020, ages 45-65: 0.82; weight and HbA1c 0.11 to 0.20; height and weight 0.30 to 0.45
        ("4548-4", "2339-0", 0.70, 0.92),
        ("29463-7", "4548-4", 0.05, 0.40),
        ("8302-2", "29463-7", 0.25, 0.55),
        ("29463-7", "8480-6", 0.10, 0.40),
        ("2085-9", "2571-8", -0.60, -0.20),
    ],
)
def test_correlations_have_the_published_sign_and_size(population: Dataset, a: str, b: str, low: float, high: float):
    both = per_person(population, [a, b], 45, 65, together=True).drop_nulls([a, b])
    assert low < np.corrcoef(both[a], both[b])[0, 1] < high


def test_influenza_vaccination_of_older_adults(population: Dataset):
    """FluVaxView 2022-23: 69.7 % of people at 65 and over in a season."""
    old = living(population, 76, 120)["patient_id"]
    shots = population.frames["immunization"].filter(
        (pl.col("code") == "150") & pl.col("patient_id").is_in(old.implode())
    )
    per_season = shots.height / (10 * len(old))
    assert per_season == pytest.approx(0.697, abs=0.03)


def per_person(data: Dataset, codes: list[str], low: int, high: int, together: bool = False) -> pl.DataFrame:
    """One row per person of that age: the mean of each code, or with `together` the values of one moment."""
    born = data.frames["patient"].select(
        "patient_id", pl.col("birth_date").cast(pl.Datetime("us", "UTC")).alias("born")
    )
    rows = data.frames["observation"].filter(pl.col("code").is_in(codes)).join(born, on="patient_id")
    age = (pl.col("at") - pl.col("born")).dt.total_days() / 365.2425
    rows = rows.filter(age.is_between(low, high)).with_columns(pl.col("code").cast(pl.String))
    index = ["patient_id", "encounter_id", "at"] if together else ["patient_id"]
    wide = rows.pivot("code", index=index, values="value", aggregate_function="mean")
    return wide.drop_nulls(codes).group_by("patient_id").first() if together else wide
