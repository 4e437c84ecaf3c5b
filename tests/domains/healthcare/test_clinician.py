"""What a clinician who reads the record would fault."""

from __future__ import annotations

import datetime as dt

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
    assert rows.filter(pl.col("code") == "39156-5")["age"].min() >= 1.99  # pyright: ignore[reportOperatorIssue, reportOptionalOperand]


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


def coded(data: Dataset, table: str, *columns: str) -> pl.DataFrame:
    return data.frames[table].with_columns(
        pl.col(c).cast(pl.String) for c in ("code", *columns) if c in data.frames[table].columns
    )


def test_practices_see_people_in_office_hours(made: Dataset):
    """On working days between 8 and 17: but for those few whom a stay in hospital has put off."""
    seen = made.frames["encounter"].filter(pl.col("class") == "AMB")
    hour, day = seen["start_at"].dt.hour(), seen["start_at"].dt.weekday()
    assert ((hour >= 8) & (hour < 17) & (day <= 5)).to_numpy().mean() > 0.998
    # hospitals see them at all hours, fewer by night
    rooms = made.frames["encounter"].filter(pl.col("class") == "EMER")
    night = rooms["start_at"].dt.hour().is_between(0, 6).to_numpy().mean()
    assert 0.05 < night < 0.2
    assert (rooms["end_at"] - rooms["start_at"]).dt.total_minutes().median() > 90


def test_a_check_up_a_year(made: Dataset):
    exams = coded(made, "encounter", "type").filter(pl.col("type") == "162673000").sort("patient_id", "start_at")
    apart = exams.select((pl.col("start_at") - pl.col("start_at").shift()).dt.total_days().over("patient_id"))
    assert apart.to_series().drop_nulls().len() > 500
    assert apart.to_series().min() > 280  # pyright: ignore[reportOperatorIssue, reportOptionalOperand]


def test_vaccines_are_given_once_there_are_any():
    """Products by their first days: seven-valent before thirteen-valent, four influenza strains from 2013 to 2023, no Shingrix before 2017."""
    data = populace.generate(
        "healthcare", size=700, seed=4, start="2003-01-01", end="2025-01-01", only=("immunization",)
    )
    given = (
        coded(data, "immunization")
        .group_by("code")
        .agg(first=pl.col("at").dt.year().min(), last=pl.col("at").dt.year().max())
    )
    years = {code: (first, last) for code, first, last in given.rows()}
    assert years["100"][1] <= 2010 <= years["133"][0]
    assert years["62"][1] <= 2015 <= years["165"][0]
    assert years["150"][0] >= 2013
    assert years["150"][1] <= 2024
    assert years["187"][0] >= 2017
    assert years["216"][0] >= 2021
    assert years["119"][0] >= 2008
    assert years["114"][0] >= 2005


def test_nobody_is_vaccinated_against_covid_before_it_is_authorized_for_them():
    made = populace.generate(
        "healthcare",
        size=600,
        seed=9,
        start="2020-06-01",
        end="2024-01-01",
        modules="own",
        module=("covid_vaccination",),
    )
    shots = aged(made, "immunization").filter(pl.col("code").is_in(["208", "218"]))
    assert shots.filter(pl.col("code") == "218").height > 5
    old, teens, children = (
        shots.filter(pl.col("age").is_between(*band)) for band in ((16, 120), (12, 15.99), (0, 11.99))
    )
    assert old["at"].dt.date().min() >= dt.date(2021, 1, 1)  # pyright: ignore[reportOperatorIssue, reportOptionalOperand]
    assert teens["at"].dt.date().min() >= dt.date(2021, 5, 10)  # pyright: ignore[reportOperatorIssue, reportOptionalOperand]
    assert children["at"].dt.date().min() >= dt.date(2021, 10, 29)  # pyright: ignore[reportOperatorIssue, reportOptionalOperand]
    assert children["age"].min() >= 4.99  # pyright: ignore[reportOperatorIssue, reportOptionalOperand]
    # ten micrograms below twelve
    assert set(shots.filter(pl.col("age") < 11.99)["code"]) == {"218"}
    assert set(shots.filter(pl.col("age") > 12.01)["code"]) == {"208"}


def held(data: Dataset, drugs: list[str], illness: list[str]) -> pl.DataFrame:
    """Orders of some drugs to those who then have an illness."""
    ill = (
        coded(data, "condition").filter(pl.col("code").is_in(illness)).select("patient_id", "onset_at", "abatement_at")
    )
    orders = coded(data, "medication_request").filter(pl.col("code").is_in(drugs)).join(ill, on="patient_id")
    return orders.filter(
        (pl.col("onset_at") < pl.col("at"))
        & (pl.col("abatement_at").is_null() | (pl.col("at") < pl.col("abatement_at")))
    )


def test_what_a_label_warns_of_is_not_ordered(made: Dataset):
    """No ibuprofen and no nitrofurantoin in kidney disease, no inhibitor of the converting enzyme and no statin in pregnancy, no combined inhaler below twelve."""
    orders = drugs(made)
    assert orders.filter(pl.col("code") == "310965").height > 50
    assert held(made, ["310965", "311989"], ["N18.9"]).is_empty()
    assert held(made, ["310965", "314076", "312961", "314231", "259255"], ["72892002"]).is_empty()
    assert held(made, ["310965"], ["88805009"]).is_empty()
    assert orders.filter(pl.col("code") == "896209")["age"].min() >= 12  # pyright: ignore[reportOperatorIssue, reportOptionalOperand]
    assert orders.filter(pl.col("code") == "310965")["age"].min() >= 12  # pyright: ignore[reportOperatorIssue, reportOptionalOperand]
    assert orders.filter(pl.col("code") == "312938")["age"].min() >= 18  # pyright: ignore[reportOperatorIssue, reportOptionalOperand]


def test_what_a_visit_is_for_is_measured(made: Dataset):
    """Pressure in hypertension, weight in obesity, saturation in lung disease, temperature in infections; weight and pressure of pregnant women."""
    visits = coded(made, "encounter", "reason", "type").filter(pl.col("class").cast(pl.String) == "AMB")
    measured = coded(made, "observation")
    for where, code, least in (
        (pl.col("reason") == "I10", "8480-6", 50),
        (pl.col("reason") == "E66.9", "29463-7", 50),
        (pl.col("reason") == "J44.9", "2708-6", 20),
        (pl.col("reason").is_in(["J06.9", "54150009", "J11.1", "6142004"]), "8310-5", 20),
        (pl.col("type") == "424619006", "8480-6", 0),
    ):
        theirs = visits.filter(where)
        assert theirs.height > least or not least
        there = measured.filter(pl.col("code") == code)["encounter_id"]
        adults = theirs.join(made.frames["patient"].select("patient_id", "birth_date"), on="patient_id")
        adults = adults.filter((pl.col("start_at").dt.date() - pl.col("birth_date")).dt.total_days() > 3.1 * 365.25)
        assert adults["encounter_id"].is_in(there.implode()).all()


def test_a_visit_at_which_an_illness_is_found_is_for_it(made: Dataset):
    found = coded(made, "condition").filter(pl.col("encounter_id").is_not_null()).select("encounter_id")
    visits = made.frames["encounter"].join(found.unique(), on="encounter_id")
    visits = visits.filter(~pl.col("type").cast(pl.String).is_in(list(CHECK_UPS)))
    assert visits.height > 200
    assert visits["reason"].null_count() == 0


def test_nobody_is_kept_in_hospital_for_what_is_over(made: Dataset):
    stays = coded(made, "encounter", "reason").filter(pl.col("class").cast(pl.String) == "IMP")
    own = coded(made, "condition").select("encounter_id", "abatement_at", reason="code").drop_nulls()
    rows = stays.join(own, on=["encounter_id", "reason"])
    assert rows.height > 30
    assert (rows["abatement_at"] >= rows["end_at"]).all()
    chest = stays.filter(pl.col("reason") == "R07.9")
    assert (chest["end_at"] - chest["start_at"]).dt.total_hours().median() < 48  # pyright: ignore[reportOperatorIssue, reportOptionalOperand]


def test_vital_signs_fail_before_a_death_in_hospital():
    data = populace.generate(
        "healthcare",
        size=3_000,
        seed=3,
        start="2015-01-01",
        end="2025-01-01",
        only=("patient", "encounter", "observation"),
    )
    stays = (
        coded(data, "encounter", "disposition").filter(pl.col("disposition") == "exp").select("encounter_id", "end_at")
    )
    rows = coded(data, "observation").join(stays, on="encounter_id")
    left = (pl.col("end_at") - pl.col("at")).dt.total_hours()
    for code, change in (("8480-6", -15), ("2708-6", -5)):
        mine = rows.filter(pl.col("code") == code)
        late, early = (mine.filter(where)["value"].mean() for where in (left < 12, left > 72))
        assert late - early < change  # pyright: ignore[reportOperatorIssue, reportOptionalOperand]


def test_few_of_the_well_off_have_medicaid(made: Dataset):
    """Medicaid is for the poor (138 % of the poverty level where states have expanded it)."""
    lives = made.frames["circumstance"].filter(pl.col("end_at").is_null()).select("patient_id", "income")
    now = made.frames["coverage"].filter(pl.col("end_at").is_null() & (pl.col("kind").cast(pl.String) == "medicaid"))
    have = now.join(lives, on="patient_id")["income"].drop_nulls()
    assert have.len() > 50
    assert (have > 120_000).to_numpy().mean() < 0.05


def test_well_children_are_not_in_shock(made: Dataset):
    """Below 70 mm[Hg] and two for each year of age a child of 1 to 10 is hypotensive (PALS)."""
    rows = aged(made, "observation").filter((pl.col("code") == "8480-6") & pl.col("age").is_between(3, 10))
    assert rows.height > 200
    assert rows.select((pl.col("value") < 70 + 2 * pl.col("age")).mean()).item() < 0.03
    assert rows.select((pl.col("value") < 65).mean()).item() < 0.003


def test_every_stay_in_hospital_is_for_something(made: Dataset):
    stays = made.frames["encounter"].filter(pl.col("class") == "IMP")
    assert stays.height > 100
    assert stays["reason"].null_count() == 0


def test_who_is_born_in_the_record_is_born_in_hospital(made: Dataset):
    """A stay of the newborn's own, from the day of birth on, measured at birth; where the mother's delivery is on record, child and mother go home together."""
    born = made.frames["patient"].filter(pl.col("birth_date").is_between(dt.date(2019, 1, 2), dt.date(2023, 12, 20)))
    assert born.height > 30
    stays = coded(made, "encounter", "reason").filter(pl.col("reason").str.starts_with("Z38.0"))
    theirs = born.join(stays, on="patient_id")
    assert theirs.height == born.height
    assert (theirs["start_at"].dt.date() == theirs["birth_date"]).all()
    assert (theirs["end_at"] - theirs["start_at"]).dt.total_hours().median() > 40  # pyright: ignore[reportOperatorIssue, reportOptionalOperand]
    measured = coded(made, "observation").join(theirs.select("encounter_id"), on="encounter_id")
    assert measured.filter(pl.col("code") == "8302-2").height == theirs.height
    assert measured.filter(pl.col("code") == "9843-4").height == theirs.height
    if "procedure" not in made.frames:
        return
    done = coded(made, "procedure").filter(pl.col("code").is_in(["177184002", "11466000"]))
    done = done.select("encounter_id", mode="code").unique("encounter_id")
    mothers = coded(made, "encounter").join(done, on="encounter_id").select("end_at", "mode", mother_id="patient_id")
    both = theirs.join(mothers, on="mother_id", suffix="_mother")
    both = both.filter((pl.col("end_at") - pl.col("end_at_mother")).dt.total_days().abs() < 20)
    assert both.height > 15
    # but for the few whose delivery another encounter has put off
    together = both.filter(pl.col("end_at") == pl.col("end_at_mother"))
    assert together.height > 0.9 * both.height
    both = together
    assert ((both["reason"] == "Z38.01") == (both["mode"] == "11466000")).all()


def test_illness_does_not_come_at_birthdays(made: Dataset):
    """Of emergencies a sixth are within a month of the day of birth."""
    rooms = made.frames["encounter"].filter(pl.col("class") == "EMER")
    rooms = rooms.join(made.frames["patient"].select("patient_id", "birth_date"), on="patient_id")
    day = (rooms["start_at"].dt.date() - rooms["birth_date"]).dt.total_days() % 365.2425
    assert 0.13 < ((day < 30.4) | (day > 334.8)).to_numpy().mean() < 0.21
