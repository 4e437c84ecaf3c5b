"""The record hangs together: a life has a beginning and an end, derived values follow, and what is planted is found."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from published import with_age
from stdnum import luhn

import populace
from populace.core.checks import check_tables
from populace.core.dataset import Dataset, generate
from populace.core.plan import make_plan
from populace.core.spec import Spec
from populace.domains.healthcare import DOMAIN
from populace.domains.healthcare.derived import completed_years
from populace.domains.healthcare.physiology import ckd_epi_2021

TIMES = {
    "encounter": ["start_at", "end_at"],
    "condition": ["onset_at", "abatement_at"],
    "observation": ["at"],
    "medication_request": ["at"],
    "immunization": ["at"],
}
UTC = dt.UTC


def test_nothing_before_birth_after_death_or_after_the_window(population: Dataset):
    life = population.frames["patient"].select("patient_id", "birth_date", "death_at")
    end = dt.datetime(2025, 1, 1, tzinfo=UTC)
    for table, times in TIMES.items():
        rows = population.frames[table].join(life, on="patient_id")
        for column in times:
            assert (rows[column].dt.date() >= rows["birth_date"]).fill_null(True).all()
            assert (rows[column] <= rows["death_at"]).fill_null(True).all()
            assert (rows[column] <= end).fill_null(True).all()
    assert population.frames["encounter"]["start_at"].min() >= dt.datetime(2015, 1, 1, tzinfo=UTC)


def test_people_are_born_and_die_inside_the_window(population: Dataset):
    people = population.frames["patient"]
    born = people.filter(pl.col("birth_date") >= dt.date(2015, 1, 1)).height
    assert born / people.height == pytest.approx(0.12 / 1.12, abs=0.02)
    # NVSS: about 8.5 to 10 deaths per 1,000 a year
    assert people["death_at"].is_not_null().mean() / 10 == pytest.approx(0.009, abs=0.002)


def test_only_a_cause_of_death_is_found_at_no_encounter(population: Dataset):
    """Records of others may have more such; those that are made here may not."""
    observation = population.frames["observation"].with_columns(pl.col("code").cast(pl.String))
    nowhere = observation.filter(pl.col("encounter_id").is_null())
    assert nowhere.height
    assert set(nowhere["code"]) == {"69453-9"}


def test_chronic_conditions_may_begin_before_the_window_and_then_have_no_encounter(population: Dataset):
    condition = population.frames["condition"]
    before = condition["onset_at"] < dt.datetime(2015, 1, 1, tzinfo=UTC)
    assert before.any()
    assert condition["encounter_id"].is_null().filter(before).all()
    # what is found nowhere within the window is what people die of, or would have been found after it
    nowhere = condition.filter(~before & condition["encounter_id"].is_null())
    nowhere = nowhere.join(population.frames["patient"].select("patient_id", "death_at"), on="patient_id")
    late = nowhere["onset_at"] > dt.datetime(2024, 12, 25, tzinfo=UTC)
    assert (nowhere["death_at"].is_not_null() | late).all()
    assert nowhere.height < 0.02 * condition.height


def test_the_dataset_does_not_depend_on_the_block():
    spec = Spec("healthcare", 40, 2, "2020-01-01", "2021-01-01")
    one, other = (generate(make_plan(spec, replace(DOMAIN, block=b))) for b in (7, 1_000))
    for table in one.frames:
        assert one.frames[table].equals(other.frames[table]), table


def egfr(creatinine: float, age: int, sex: str) -> float:
    """CKD-EPI 2021 as the National Kidney Foundation tabulates it: four branches, written out."""
    if sex == "female":
        return 142 * (creatinine / 0.7) ** (-0.241 if creatinine <= 0.7 else -1.2) * 0.9938**age * 1.012
    return 142 * (creatinine / 0.9) ** (-0.302 if creatinine <= 0.9 else -1.2) * 0.9938**age


@given(st.floats(0.1, 20), st.integers(18, 110), st.sampled_from(["female", "male"]))
def test_egfr_is_the_published_equation(creatinine: float, age: int, sex: str):
    found = ckd_epi_2021(np.array([creatinine]), np.array([age]), np.array([sex == "female"]))[0]
    assert found == pytest.approx(egfr(creatinine, age, sex), rel=1e-9)


def test_egfr_and_body_mass_index_in_the_data(few: Dataset):
    people = few.frames["patient"].select("patient_id", "birth_date", "sex")
    wide = few.frames["observation"].with_columns(pl.col("code").cast(pl.String))
    wide = wide.pivot("code", index=["patient_id", "encounter_id", "at"], values="value").join(people, on="patient_id")
    checked = 0
    for row in wide.iter_rows(named=True):
        if row["39156-5"] is not None:
            assert row["39156-5"] == pytest.approx(row["29463-7"] / (row["8302-2"] / 100) ** 2, abs=0.051)
        at, born = row["at"].date(), row["birth_date"]
        age = at.year - born.year - ((at.month, at.day) < (born.month, born.day))
        if row["98979-8"] is not None:
            assert row["98979-8"] == pytest.approx(egfr(row["2160-0"], age, row["sex"]), abs=0.51)
            checked += 1
        assert (row["98979-8"] is not None) == (row["2160-0"] is not None and age >= 18)
    assert checked


@given(st.dates(dt.date(1900, 1, 1), dt.date(2020, 1, 1)), st.integers(0, 40_000))
def test_completed_years(born: dt.date, days: int):
    at = born + dt.timedelta(days)
    found = pl.select(completed_years(pl.lit(born), pl.lit(at))).item()
    # the anniversary by the calendar; for the leap day 1 March
    years = at.year - born.year
    try:
        birthday = born.replace(year=at.year)
    except ValueError:
        birthday = dt.date(at.year, 3, 1)
    assert found == years - (at < birthday)


def test_identifiers(few: Dataset):
    assert few.frames["patient"]["mrn"].is_unique().all()
    for npi in few.frames["practitioner"]["npi"]:
        assert luhn.is_valid("80840" + npi)


def test_children_see_children_s_doctors_and_grow(population: Dataset):
    young = population.frames["patient"].filter(pl.col("age_years") < 17)
    doctors = population.frames["practitioner"].select("practitioner_id", "specialty")
    assert set(young.join(doctors, on="practitioner_id")["specialty"].cast(pl.String)) == {"208000000X"}
    heights = population.frames["observation"].filter(
        (pl.col("code") == "8302-2") & pl.col("patient_id").is_in(young["patient_id"].implode())
    )
    grown = heights.group_by("patient_id").agg(pl.first("value"), pl.last("value").alias("last"), pl.len())
    grown = grown.filter(pl.col("len") > 5)
    assert (grown["last"] > grown["value"]).all()


def test_every_vaccine_dose_is_numbered_in_time(few: Dataset):
    for _, doses in few.frames["immunization"].group_by("patient_id", "code"):
        assert doses.sort("at")["dose"].to_list() == list(range(1, doses.height + 1))


@pytest.mark.parametrize("days", [1, 3, 400])
def test_short_and_odd_windows_are_valid(days: int):
    start = dt.date(2023, 12, 31)
    data = populace.generate("healthcare", size=60, start=str(start), end=str(start + dt.timedelta(days)))
    assert data.validate().is_empty()
    assert data.frames["patient"].height == 60


Plant = Callable[[dict[str, pl.DataFrame]], pl.DataFrame]


def shift(table: str, column: str, by: dt.timedelta) -> Plant:
    """The first row's time, moved."""

    def change(tables: dict[str, pl.DataFrame]) -> pl.DataFrame:
        first = pl.int_range(pl.len()) == 0
        return tables[table].with_columns(pl.when(first).then(pl.col(column) + by).otherwise(pl.col(column)))

    return change


def put(table: str, column: str, value: object, where: str = "true") -> Plant:
    """A value in the first row that `where` picks."""

    def change(tables: dict[str, pl.DataFrame]) -> pl.DataFrame:
        frame = tables[table]
        key = DOMAIN.schema[table].key
        first = frame.filter(pl.sql_expr(where))[key][0]
        new = pl.lit(value).cast(frame.schema[column])
        return frame.with_columns(pl.when(pl.col(key) == first).then(new).otherwise(pl.col(column)).alias(column))

    return change


CENTURY = dt.timedelta(days=36_525)
LIVING = "death_at IS NULL"


@pytest.mark.parametrize(
    ("check", "table", "plant"),
    [
        ("encounter.lifetime", "encounter", shift("encounter", "start_at", -CENTURY * 2)),
        ("condition.lifetime", "condition", shift("condition", "onset_at", -CENTURY * 2)),
        ("observation.encounter", "observation", shift("observation", "at", dt.timedelta(days=9))),
        ("medication_request.encounter", "medication_request", shift("medication_request", "at", dt.timedelta(days=9))),
        ("immunization.encounter", "immunization", shift("immunization", "at", -dt.timedelta(days=9))),
        ("encounter.begin-before-end", "encounter", shift("encounter", "end_at", -dt.timedelta(days=90))),
        (
            "condition.onset-before-abatement",
            "condition",
            put("condition", "abatement_at", dt.datetime(1800, 1, 1, tzinfo=UTC)),
        ),
        ("condition.plausible", "condition", put("condition", "code", "J44.9", "onset_at IS NOT NULL")),
        ("observation.plausible", "observation", put("observation", "value", 900.0, "code = '8480-6'")),
        ("observation.bmi", "observation", put("observation", "value", 33.3, "code = '39156-5'")),
        ("observation.egfr", "observation", put("observation", "value", 3.0, "code = '98979-8'")),
        (
            "patient.birth-before-death",
            "patient",
            put("patient", "death_at", dt.datetime(1700, 1, 1, tzinfo=UTC), LIVING),
        ),
        ("observation.patient_id.reference", "observation", put("observation", "patient_id", 10**9)),
        ("observation.one-value", "observation", put("observation", "value", None)),
    ],
)
def test_a_planted_violation_is_found_and_named(few: Dataset, check: str, table: str, plant: Plant):
    tables = {k: v for k, v in few.frames.items() if k != "label"}
    assert check_tables(DOMAIN, tables, set(tables)).is_empty()
    if check == "condition.plausible":
        # a disease of adults in someone who was a child at its onset
        young = tables["patient"].filter(pl.col("age_years") < 10)["patient_id"].to_list()
        plant = put("condition", "code", "J44.9", f"patient_id IN ({', '.join(map(str, young))})")
    found = check_tables(DOMAIN, {**tables, table: plant(tables)}, set(tables))
    assert (check, table) in set(found.select("check", "table").rows())


NEEDS = ("71802-3", "88122-7", "93030-5")
SCHOOLING, WORK, INCOME = "82589-3", "67875-5", "63586-2"
CODED = {"69453-9", "72166-2", *NEEDS, SCHOOLING, WORK}


def test_every_prior_names_a_source_and_every_condition_has_codes_in_both_systems():
    assert all(len(p.source) > 20 for p in DOMAIN.priors.values())
    lists = DOMAIN.schema.code_lists
    assert lists["condition"].codes.keys() == lists["condition_snomed"].codes.keys()
    assert len(lists["condition"].codes) >= 15
    assert lists["observation"].codes.keys() == lists["observation_category"].codes.keys()
    # what has no unit is told by codes
    assert lists["observation"].codes.keys() - lists["observation_unit"].codes.keys() == CODED


def test_pictures_are_the_same_svg_each_time():
    data = populace.generate("healthcare", size=80, scenarios=["sepsis-deterioration"])
    assert DOMAIN.pictures is not None
    first, again = DOMAIN.pictures(data.frames), DOMAIN.pictures(data.frames)
    assert first == again
    assert [p.title for p in first] == ["Age and sex", "Conditions", "Sepsis"]
    assert all(p.svg.startswith("<svg") for p in first)
    without = {k: v for k, v in data.frames.items() if k != "label"}
    assert len(DOMAIN.pictures(without)) == 2


def test_adults_are_asked_at_check_ups_and_answer_as_published(population: Dataset):
    """Smoking by age (NHIS 2021), hazardous drinking, lack of food and transport (NHIS 2021 and 2022), and moods that agree with the record's depressions."""
    told = (
        with_age(population, "observation", "at")
        .with_columns(pl.col("code").cast(pl.String))
        .filter(pl.col("code").is_in(["72166-2", "75626-2", "55758-7", "44261-6", *NEEDS]))
    )
    exams = population.frames["encounter"].filter(pl.col("type") == "162673000")["encounter_id"]
    assert told["encounter_id"].is_in(exams.implode()).all()
    assert told["age"].min() >= 17.9
    one = told.unique(["patient_id", "code"], keep="first", maintain_order=True)

    def share(code: str, answer: pl.Expr, low: float = 18, high: float = 120) -> float:
        return float(
            one.filter((pl.col("code") == code) & pl.col("age").is_between(low, high)).select(answer.mean()).item()
        )

    smokes = pl.col("value_code") == "77176002"
    for low, high, published in ((25, 45, 0.126), (45, 65, 0.149), (65, 120, 0.083)):
        assert abs(share("72166-2", smokes, low, high) - published) < 0.03
    assert abs(share("75626-2", pl.col("value") >= 4) - 0.15) < 0.05
    assert abs(share("93030-5", pl.col("value_code") == "LA33-6") - 0.057) < 0.02
    assert abs(share("88122-7", pl.col("value_code") != "LA28398-8") - 0.059) < 0.02
    # who has never smoked has not smoked before, and nobody takes it up again
    order = pl.col("value_code").replace_strict({"266919005": 0, "77176002": 1, "8517006": 2}, default=None)
    smoking = told.filter(pl.col("code") == "72166-2").sort("patient_id", "at")
    steps = smoking.select(order.diff().over("patient_id")).to_series().drop_nulls()
    assert (steps >= 0).all()
    mood = told.filter(pl.col("code") == "44261-6")
    assert mood["value"].is_between(3, 27).all()
    depressed = population.frames["condition"].filter(pl.col("code") == "F32.A")
    both = mood.select("observation_id", "patient_id", "at", "value").join(depressed, on="patient_id")
    now = (pl.col("onset_at") <= pl.col("at")) & (
        pl.col("abatement_at").is_null() | (pl.col("at") < pl.col("abatement_at"))
    )
    ill = mood["observation_id"].is_in(both.filter(now)["observation_id"].implode())
    assert ((mood["value"] >= 10) == ill).all()


def test_what_patients_say_of_school_work_and_income_is_what_was_so_at_that_time(population: Dataset):
    told = population.frames["observation"].with_columns(
        pl.col("code").cast(pl.String), pl.col("value_code").cast(pl.String)
    )
    then = population.frames["circumstance"].drop("circumstance_id")
    answers = told.filter(pl.col("code").is_in([SCHOOLING, WORK, INCOME])).join(then, on="patient_id")
    answers = answers.filter(
        (pl.col("start_at") <= pl.col("at")) & (pl.col("end_at").is_null() | (pl.col("at") < pl.col("end_at")))
    )
    assert answers.group_by("code").len().filter(pl.col("len") > 100).height == 3
    assert (answers.filter(pl.col("code") == INCOME).select(pl.col("value") == pl.col("income"))).to_series().all()
    for code, column, said in (
        (
            SCHOOLING,
            "education",
            {"ELEM": "LA37-7", "HS": "LA38-5", "SCOL": "LA40-1", "BD": "LA12460-4", "GD": "LA12461-2"},
        ),
        (WORK, "employment", {"employed": "LA30136-8", "unemployed": "LA17956-6"}),
    ):
        rows = answers.filter(pl.col("code") == code)
        expected = rows[column].cast(pl.String).replace_strict(said, default="LA30137-6", return_dtype=pl.String)
        assert (rows["value_code"] == expected).all()


def test_insurance_goes_by_income_and_is_as_frequent_as_published(population: Dataset):
    """NHIS 2021: 66.1 % of adults below 65 have private insurance (where nobody has two) and 13.5 % none; public insurance is that of the poor."""
    people = population.frames["patient"].filter(pl.col("age_years").is_between(20, 64) & pl.col("death_at").is_null())
    now = (
        population.frames["coverage"]
        .filter(pl.col("end_at").is_null())
        .select("patient_id", pl.col("kind").cast(pl.String))
    )
    found = people.join(now, on="patient_id", how="left")
    assert found["patient_id"].n_unique() == found.height
    shares = {kind: (found["kind"] == kind).sum() / found.height for kind in ("private", "medicaid")}
    assert abs(shares["private"] - 0.661) < 0.05
    assert abs(1 - sum(shares.values()) - 0.135) < 0.03
    low, high = found["income"].quantile(0.2), found["income"].quantile(0.8)
    poor, rich = (found.filter(c)["kind"] for c in (pl.col("income") < low, pl.col("income") > high))
    assert (poor == "medicaid").sum() / len(poor) > 0.4
    assert (rich == "medicaid").sum() / len(rich) < 0.06
