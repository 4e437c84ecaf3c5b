"""Each scenario shows its pattern in the data, labelled, and leaves a record that is valid."""

from __future__ import annotations

import datetime as dt
from dataclasses import replace

import numpy as np
import polars as pl
import pytest

import populace
from populace.core.dataset import Dataset, generate
from populace.core.plan import make_plan
from populace.core.spec import ScenarioRequest, Spec
from populace.domains.healthcare import DOMAIN

SIZE = 120


def play(name: str, **parameters: object) -> Dataset:
    return populace.generate("healthcare", size=SIZE, seed=4, scenarios=[{"name": name, **parameters}])


def labelled(data: Dataset, table: str, **which: object) -> pl.DataFrame:
    """Rows of a table with their labels."""
    label = data.frames["label"].filter(table=table, **which).drop_nulls("row_key").drop("table")
    return data.frames[table].join(label, left_on=DOMAIN.schema[table].key, right_on="row_key")


@pytest.fixture(scope="module")
def sepsis() -> Dataset:
    return play("sepsis-deterioration", count=8, mortality=0.5, hours=72, interval=2)


def test_sepsis_meets_qsofa_and_lactate_at_the_peak(sepsis: Dataset):
    peak = labelled(sepsis, "observation", effect="peak").pivot("code", index="instance", values="value")
    assert peak.height == 8
    assert (peak["9279-1"] >= 22).all()  # qSOFA: respiratory rate
    assert (peak["8480-6"] <= 100).all()  # qSOFA: systolic pressure
    assert (peak["9269-2"] < 15).all()  # qSOFA: altered mentation
    assert (peak["8867-4"] > 90).all()  # SIRS: heart rate
    assert (peak["8310-5"] > 38).all()  # SIRS: temperature
    assert (peak["2524-7"] > 2).all()  # Sepsis-3: lactate


@pytest.mark.parametrize(
    ("code", "sign"), [("8867-4", 1), ("9279-1", 1), ("2524-7", 1), ("8480-6", -1), ("2708-6", -1)]
)
def test_vital_signs_worsen_over_hours(sepsis: Dataset, code: str, sign: int):
    rows = labelled(sepsis, "observation", effect="deterioration").filter(pl.col("code") == code)
    found = []
    for _, series in rows.group_by("instance"):
        series = series.sort("at")
        found.append(sign * np.corrcoef(series["at"].to_physical(), series["value"])[0, 1])
    assert np.mean(found) > 0.5
    assert min(found) > 0


def test_survivors_recover_and_the_others_die_at_the_end_of_the_stay(sepsis: Dataset):
    stays = labelled(sepsis, "encounter", effect="stay").filter(pl.col("class") == "IMP")
    people = stays.join(sepsis.frames["patient"].select("patient_id", "death_at"), on="patient_id")
    died = people.filter(pl.col("disposition") == "exp")
    assert 0 < died.height < 8
    assert (died["death_at"] == died["end_at"]).all()
    recovering = set(labelled(sepsis, "observation", effect="recovery")["patient_id"])
    assert recovering == set(people.filter(pl.col("disposition") == "home")["patient_id"])
    assert (people["end_at"] - people["start_at"]).unique().to_list() == [dt.timedelta(hours=72)]


def test_nothing_else_happens_during_the_stay(sepsis: Dataset):
    stays = labelled(sepsis, "encounter", effect="stay").select("patient_id", "encounter_id", "start_at", "end_at")
    others = sepsis.frames["encounter"].join(stays, on="patient_id", suffix="_stay")
    ours = pl.col("encounter_id").is_in(stays["encounter_id"].implode())
    overlap = (pl.col("end_at") > pl.col("start_at_stay")) & (pl.col("start_at") < pl.col("end_at_stay"))
    assert others.filter(~ours & overlap).is_empty()


def test_mortality_is_a_parameter():
    for mortality, dead in ((0.0, 0), (1.0, 4)):
        data = play("sepsis-deterioration", count=4, mortality=mortality)
        assert labelled(data, "patient", effect="death").height == dead


def test_a_duplicate_is_the_same_person_on_another_record():
    data = play("duplicate-registration", count=10)
    pairs = labelled(data, "patient", role="original").join(
        labelled(data, "patient", role="duplicate"), on="instance", suffix="_2"
    )
    assert pairs.height == 10
    assert (pairs["patient_id"] != pairs["patient_id_2"]).all()
    assert (pairs["mrn"] != pairs["mrn_2"]).all()
    assert (pairs["sex"] == pairs["sex_2"]).all()
    fields = ("given_name", "family_name", "birth_date", "line", "phone")
    same = pairs.select((pl.col(f) == pl.col(f"{f}_2")).fill_null(True).mean().alias(f) for f in fields).row(0)
    assert 0.2 < np.mean(same) < 0.95


def test_without_noise_the_identity_is_the_same_and_with_full_noise_names_stay_near():
    def pairs(noise: float) -> pl.DataFrame:
        data = play("duplicate-registration", count=6, noise=noise)
        return labelled(data, "patient", role="original").join(
            labelled(data, "patient", role="duplicate"), on="instance", suffix="_2"
        )

    exact = pairs(0.0)
    for f in ("given_name", "middle_name", "family_name", "birth_date", "line", "city", "phone"):
        assert exact[f].equals(exact[f"{f}_2"], check_names=False), f
    noisy = pairs(1.0)
    assert (noisy["birth_date"] != noisy["birth_date_2"]).mean() > 0.7
    for a, b in noisy.select("family_name", "family_name_2").rows():
        assert sorted(a) == sorted(b)  # two letters have changed places


def test_a_duplicate_record_holds_one_visit_while_the_original_is_alive():
    data = play("duplicate-registration", count=10)
    duplicate = labelled(data, "patient", role="duplicate")
    original = labelled(data, "patient", role="original").select("instance", "death_at", "birth_date")
    visits = data.frames["encounter"].join(duplicate.select("patient_id", "instance"), on="patient_id")
    assert sorted(visits["instance"]) == list(range(10))
    visits = visits.join(original, on="instance")
    assert (visits["end_at"] <= visits["death_at"]).fill_null(True).all()
    for table in ("condition", "medication_request", "immunization"):
        assert data.frames[table].filter(pl.col("patient_id").is_in(duplicate["patient_id"].implode())).is_empty()
    removed = data.frames["label"].filter(role="duplicate", effect="own history")
    assert removed["row_key"].is_null().all()


def test_leap_day_births_complete_a_year_on_the_first_of_march():
    for end, birthday_passed in (("2023-03-01", False), ("2023-03-02", True)):
        data = populace.generate(
            "healthcare", size=SIZE, seed=4, start="2020-01-01", end=end, scenarios=["leap-day-birth:count=5"]
        )
        born = labelled(data, "patient")
        assert born.height == 5
        assert set(born.select(pl.col("birth_date").dt.strftime("%m-%d")).to_series()) == {"02-29"}
        for row in born.filter(pl.col("death_at").is_null()).iter_rows(named=True):
            assert row["age_years"] == 2023 - row["birth_date"].year - (not birthday_passed)


def test_leap_day_birth_carries_into_what_is_derived():
    """eGFR is that of the age that the new birth date gives: the domain's own check recomputes it."""
    data = play("leap-day-birth", count=12)
    cast = labelled(data, "patient")["patient_id"]
    assert (
        data.frames["observation"]
        .filter((pl.col("code") == "98979-8") & pl.col("patient_id").is_in(cast.implode()))
        .height
    )
    assert data.validate().is_empty()


def test_scenarios_compose_in_any_order_and_block_size():
    names = ["duplicate-registration", "leap-day-birth", "readmission", "sepsis-deterioration"]
    for order in (names, names[::-1]):
        requests = tuple(ScenarioRequest(n, {"count": 6}) for n in order)
        made = []
        for block in (17, 1_000):
            domain = replace(DOMAIN, block=block)
            made.append(generate(make_plan(Spec("healthcare", SIZE, 9, scenarios=requests), domain)))
        assert made[0].validate().is_empty()
        for table, frame in made[0].frames.items():
            assert frame.sort(frame.columns).equals(made[1].frames[table].sort(frame.columns)), table


def test_a_penicillin_is_ordered_when_the_allergy_is_known():
    data = play("allergy-ignored", count=3)
    known = labelled(data, "condition", effect="known").select("instance", "encounter_id", "onset_at")
    both = known.join(labelled(data, "medication_request", effect="order"), on=["instance", "encounter_id"])
    assert both.height == 3
    assert (both["onset_at"] <= both["at"]).all()


def test_a_refused_treatment_is_not_ordered():
    data = play("refused-treatment", count=3)
    assert labelled(data, "condition", effect="known")["code"].to_list() == ["Z53.20"] * 3
    visits = labelled(data, "encounter", effect="visit")["encounter_id"]
    assert not data.frames["medication_request"]["encounter_id"].is_in(visits.implode()).any()


@pytest.mark.parametrize(("name", "hours"), [("local-time-as-utc", -5), ("daylight-saving", 1)])
def test_a_wrong_clock_shifts_a_result_by_hours(name: str, hours: int):
    data = play(name, count=3)
    visits = labelled(data, "encounter", effect="visit").select("instance", "start_at")
    results = labelled(data, "observation", effect="result").join(visits, on="instance")
    late = results["at"] - results["start_at"]
    assert (late == dt.timedelta(hours=hours, minutes=5)).all()


def test_where_scenarios_meet_on_one_patient_it_is_told_and_the_later_one_stands():
    asked = [{"name": n, "count": 20} for n in ("single-name", "chinese-name")]
    with pytest.warns(UserWarning, match="another scenario's too") as told:
        data = populace.generate("healthcare", size=30, seed=1, scenarios=asked)
    label = data.frames["label"].filter(pl.col("table") == "patient")
    named = {s: set(label.filter(pl.col("scenario") == s)["row_key"]) for s in ("single-name", "chinese-name")}
    both = named["single-name"] & named["chinese-name"]
    assert len(both) > 5
    for scenario in named:
        assert any(f"scenario {scenario}: {len(both)} labelled" in str(w.message) for w in told)
    people = data.frames["patient"].filter(pl.col("patient_id").is_in(list(both)))
    assert not (people["given_name"] == "FNU").any()
