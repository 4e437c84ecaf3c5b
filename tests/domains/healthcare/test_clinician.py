"""What a clinician who reads the record would fault."""

from __future__ import annotations

import polars as pl
import pytest

import populace
from populace.core.dataset import Dataset

OPEN = ("Inhalation", "Injectable", "Auto-Injector", "Acetaminophen 500")
"""Drugs whose orders leave the dosage open: by need, or by what is measured at home."""


@pytest.fixture(scope="module", params=["courses", "own modules"])
def made(request: pytest.FixtureRequest) -> Dataset:
    given = {"modules": "own"} if request.param == "own modules" else {}
    return populace.generate("healthcare", size=900, seed=11, start="2019-01-01", end="2024-01-01", **given)


def aged(data: Dataset, table: str) -> pl.DataFrame:
    rows = data.frames[table].join(data.frames["patient"].select("patient_id", "birth_date"), on="patient_id")
    age = (pl.col("at").dt.date() - pl.col("birth_date")).dt.total_days() / 365.25
    return rows.with_columns(age=age, code=pl.col("code").cast(pl.String))


def drugs(data: Dataset) -> pl.DataFrame:
    shown = data.plan.domain.schema.code_lists["medication"].codes
    return aged(data, "medication_request").with_columns(drug=pl.col("code").replace_strict(shown))


def test_an_order_says_how_much_and_how_often(made: Dataset):
    """Every tablet and capsule of an adult; only what is taken by need is left open."""
    adults = drugs(made).filter((pl.col("age") >= 18) & ~pl.col("drug").str.contains("|".join(OPEN)))
    assert adults.height > 400
    assert adults["per_day"].null_count() == 0
    solid = adults.filter(pl.col("drug").str.contains(r"Oral (Tablet|Capsule)$") & ~pl.col("drug").str.contains(" / "))
    assert solid["dose"].null_count() == 0
    strength = pl.col("drug").str.extract(r"(\d+(?:\.\d+)?) MG Oral|(\d+(?:\.\d+)?) MG Ext").cast(pl.Float64)
    units = solid.select((pl.col("dose") / strength).alias("u"))["u"].drop_nulls()
    assert units.is_in([1.0, 2.0]).all()


def test_small_children_are_given_no_capsules_of_amoxicillin_and_no_adult_doses(made: Dataset):
    small = drugs(made).filter(pl.col("age") < 6)
    assert not small["drug"].str.contains("(?i)amoxicillin .* Capsule").any()
    solid = small.filter(pl.col("drug").str.contains(r"(?i)oseltamivir|ibuprofen|nitrofurantoin"))
    assert solid["dose"].null_count() == solid.height


def test_the_index_of_body_mass_is_told_from_two_years_on(made: Dataset):
    rows = aged(made, "observation")
    assert rows.filter((pl.col("code") == "29463-7") & (pl.col("age") < 2)).height > 10
    assert rows.filter(pl.col("code") == "39156-5")["age"].min() >= 1.99


CHECK_UPS = ("162673000", "410620009", "185349003")
"""General examination, well child visit, check up."""


def test_endoscopy_and_mammography_are_not_done_at_a_check_up(made: Dataset):
    if "procedure" not in made.frames:
        pytest.skip("no procedures without modules")
    done = made.frames["procedure"].filter(pl.col("code").cast(pl.String).is_in(["73761001", "71651007"]))
    assert done.height > 50
    visits = done.join(made.frames["encounter"].select("encounter_id", "type", "start_at"), on="encounter_id")
    assert visits.height == done.height
    assert not visits["type"].cast(pl.String).is_in(list(CHECK_UPS)).any()
    screened = visits.filter(pl.col("type") == "308335008")
    assert screened.height > 50
    assert ((screened["end_at"] - screened["at"]).dt.total_minutes() >= 15).all()


def test_who_is_seen_and_admitted_is_seen_first(made: Dataset):
    """A pneumonia's X-ray is taken where the patient comes in, not where the stay ends."""
    if "procedure" not in made.frames:
        pytest.skip("no procedures without modules")
    stays = made.frames["encounter"].filter(pl.col("class") == "IMP").select("patient_id", "start_at", "end_at")
    taken = made.frames["procedure"].filter(pl.col("code").cast(pl.String) == "399208008").select("patient_id", "at")
    assert taken.height > 3
    late = taken.join(stays, on="patient_id").filter(
        (pl.col("at") - pl.col("end_at")).dt.total_minutes().is_between(0, 24 * 60)
    )
    assert late.is_empty()
