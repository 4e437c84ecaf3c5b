"""Families, insurance, claims and the doctors nearby."""

from __future__ import annotations

import polars as pl
import pytest

from populace.core.dataset import Dataset


def test_a_mother_is_a_woman_of_the_right_age_and_shares_what_families_share(population: Dataset):
    people = population.frames["patient"]
    mothers = people.select(
        "birth_date", "sex", "race", "ethnicity", "language", "family_name", "line", "household_id", "death_at",
        mother_id="patient_id",
    )  # fmt: skip
    pairs = people.join(mothers, on="mother_id", suffix="_mother")
    age = (pairs["birth_date"] - pairs["birth_date_mother"]).dt.total_days() / 365.2425
    assert pairs.height > 500
    assert age.is_between(15, 45).all()
    assert (pairs["sex_mother"] == "female").all()
    for column in ("race", "ethnicity", "language", "family_name", "line", "household_id"):
        assert (pairs[column] == pairs[f"{column}_mother"]).all()
    # NCHS, Births: Final Data for 2018: the mean age of mothers is near 30
    assert age.mean() == pytest.approx(30, abs=2)


def test_marriage_is_between_two_and_each_has_one_spouse(population: Dataset):
    people = population.frames["patient"]
    wed = people.filter(pl.col("spouse_id").is_not_null())
    both = pl.concat([wed["patient_id"], wed["spouse_id"]])
    assert both.n_unique() == len(both)
    assert (people.filter(pl.col("patient_id").is_in(both.implode()))["marital_status"] == "M").all()


def test_insurance_is_that_of_the_survey_and_medicare_begins_at_65(population: Dataset):
    """NHIS 2021: uninsured 4.1 % of children and 13.5 % at 18 to 64."""
    people = population.frames["patient"].filter(pl.col("death_at").is_null())
    running = population.frames["coverage"].filter(pl.col("end_at").is_null())
    for low, high, published in ((0, 17, 0.041), (18, 64, 0.135)):
        of_age = people.filter(pl.col("age_years").is_between(low, high))
        bare = of_age.join(running, on="patient_id", how="anti")
        assert bare.height / of_age.height == pytest.approx(published, abs=0.03)
    old = people.filter(pl.col("age_years") >= 66).join(running, on="patient_id", how="left")
    assert (old["kind"].cast(pl.String) == "medicare").all()


def test_policies_of_one_person_follow_one_another(population: Dataset):
    policies = population.frames["coverage"].sort("patient_id", "start_at")
    next_start = policies.select(pl.col("start_at").shift(-1).over("patient_id")).to_series()
    followed = next_start.is_not_null().arg_true()
    end, begin = policies["end_at"][followed], next_start[followed]
    assert end.null_count() == 0
    assert (end <= begin).all()
    # whoever comes to an employer without insurance has none until the next
    assert 0.8 < (end == begin).to_numpy().mean() < 1


def test_every_encounter_has_one_claim_and_the_means_are_published(population: Dataset):
    claims = population.frames["claim"].join(population.frames["encounter"], on="encounter_id")
    assert claims.height == population.frames["encounter"].height
    mean = dict(claims.group_by(pl.col("class").cast(pl.String)).agg(pl.col("total").mean()).rows())
    assert mean["AMB"] == pytest.approx(265, rel=0.05)
    assert mean["EMER"] == pytest.approx(1004, rel=0.10)
    bare = claims.filter(pl.col("coverage_id").is_null())
    assert (bare["paid_by_insurer"] == 0).all()


def test_care_is_given_in_the_state_where_one_lives(population: Dataset):
    homes = population.frames["patient"].select("patient_id", "state", "postal_code")
    places = population.frames["organization"].select("organization_id", there="state", zip="postal_code")
    visits = population.frames["encounter"].join(homes, on="patient_id").join(places, on="organization_id")
    assert (visits["state"] == visits["there"]).all()


def test_income_follows_a_working_life_and_education_comes_by_and_by(population: Dataset):
    """Medians by age of the head, over the median of all (Census 2023: 54,930, 85,780 and the most at 45 to 54, over 80,610), and who can have which degree."""
    people = population.frames["patient"].filter(
        pl.col("death_at").is_null() & (pl.col("household_id") == pl.col("patient_id"))
    )
    half = (55_000 * 89_744) ** 0.5  # between the limits of the second and the third fifth of 2021
    by_age = {
        low: people.filter(pl.col("age_years").is_between(low, low + 9))["income"].median() / half
        for low in (25, 45, 75)
    }
    assert by_age[25] == pytest.approx(85_780 / 80_610, abs=0.2)
    assert by_age[45] == max(by_age.values()) == pytest.approx(1.37, abs=0.2)
    assert by_age[75] < 0.75
    level, age = people["education"].cast(pl.String), people["age_years"]
    assert level.filter(age < 15).null_count() == (age < 15).sum()
    assert level.filter(age >= 15).null_count() == 0
    assert set(level.filter(age.is_between(15, 17))) == {"ELEM"}
    assert not set(level.filter(age < 22)) & {"BD", "GD"}
    assert (level.filter(age >= 25) == "GD").mean() == pytest.approx(0.123, abs=0.02)


def test_a_history_has_no_gaps_ends_in_what_the_patient_is_and_is_a_household_s(population: Dataset):
    people = population.frames["patient"]
    times = (
        population.frames["circumstance"].sort("patient_id", "start_at").with_columns(pl.col(pl.Enum).cast(pl.String))
    )
    assert times["patient_id"].n_unique() == people.height
    following = times.select(pl.col("start_at").shift(-1).over("patient_id")).to_series()
    assert times["end_at"].equals(following.alias("end_at"), null_equal=True)
    last = times.unique("patient_id", keep="last").join(people, on="patient_id", suffix="_patient")
    assert last["education"].eq_missing(last["education_patient"].cast(pl.String)).all()
    assert last["income"].eq_missing(last["income_patient"]).all()
    # education is not lost, nobody works as a child, and who is retired stays so
    level = pl.col("education").replace_strict({"ELEM": 1, "HS": 2, "SCOL": 3, "BD": 4, "GD": 5}, default=0)
    assert (times.select(level.diff().over("patient_id")).to_series().drop_nulls() >= 0).all()
    retired = pl.col("employment") == "retired"
    assert (times.select(retired.cast(pl.Int8).diff().over("patient_id")).to_series().drop_nulls() >= 0).all()
    aged = times.join(people.select("patient_id", "birth_date", "household_id"), on="patient_id")
    aged = aged.with_columns(
        age=(pl.col("start_at").dt.date() - pl.col("birth_date")).dt.total_days() / 365.2425,
        on=pl.col("start_at").dt.date(),
    )
    assert (
        aged.filter(pl.col("age") > 16.01)["employment"].null_count(),
        aged.filter(pl.col("age") < 15.99)["employment"].count(),
    ) == (0, 0)
    for year in (2016, 2019):
        new_year = (
            aged.filter(pl.col("on") == pl.date(year, 1, 1)).group_by("household_id").agg(pl.col("income").n_unique())
        )
        assert (new_year["income"] == 1).all()


def test_as_many_work_at_each_age_as_the_survey_says(population: Dataset):
    """BLS, participation in 2023: 83.8 % at 25 to 44, 82.1 at 45 to 54, 65.8 at 55 to 64, 26.9 at 65 to 74, 8.3 from 75 on."""
    times = population.frames["circumstance"].join(
        population.frames["patient"].select("patient_id", "birth_date"), on="patient_id"
    )
    age = (pl.col("start_at").dt.date() - pl.col("birth_date")).dt.total_days() / 365.2425
    times = times.with_columns(age=age).filter(pl.col("start_at").dt.ordinal_day() == 1)
    takes_part = pl.col("employment").cast(pl.String).is_in(["employed", "unemployed"])
    for low, high, published in ((25, 45, 0.838), (45, 55, 0.821), (55, 65, 0.658), (65, 75, 0.269), (75, 110, 0.083)):
        share = times.filter(pl.col("age").is_between(low, high)).select(takes_part.mean()).item()
        assert share == pytest.approx(published, abs=0.04)


def test_a_household_whose_income_falls_comes_to_other_insurance(population: Dataset):
    """Of adults below 65, by what their household has in the year: who has the least has public insurance or none, also where it had more before."""
    times = (
        population.frames["circumstance"]
        .filter(pl.col("start_at").dt.ordinal_day() == 1)
        .select("patient_id", "start_at", "income")
    )
    people = population.frames["patient"].select("patient_id", "birth_date")
    cover = population.frames["coverage"].select(
        "patient_id", pl.col("kind").cast(pl.String), since="start_at", until="end_at"
    )
    held = times.join(cover, on="patient_id").filter(
        (pl.col("since") <= pl.col("start_at")) & (pl.col("until").is_null() | (pl.col("until") > pl.col("start_at")))
    )
    years = times.join(people, on="patient_id").filter(
        (pl.col("start_at").dt.year() - pl.col("birth_date").dt.year()).is_between(20, 63)
    )
    years = years.join(held.select("patient_id", "start_at", "kind"), on=["patient_id", "start_at"], how="left")
    years = years.with_columns(
        private=(pl.col("kind") == "private").fill_null(False), mean=pl.col("income").mean().over("patient_id")
    )
    less, more = (
        years.filter(c)["private"].mean()
        for c in (pl.col("income") < 0.7 * pl.col("mean"), pl.col("income") > 1.3 * pl.col("mean"))
    )
    assert less < more - 0.1
