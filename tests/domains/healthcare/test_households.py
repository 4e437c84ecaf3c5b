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
    """NHIS 2020: uninsured 5.0 % of children and 13.9 % at 18 to 64."""
    people = population.frames["patient"].filter(pl.col("death_at").is_null())
    running = population.frames["coverage"].filter(pl.col("end_at").is_null())
    for low, high, published in ((0, 17, 0.05), (18, 64, 0.139)):
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
