"""What the shared scripts leave on record, told from the tables without their labels."""

from __future__ import annotations

import polars as pl
import pytest

import populace
from populace.core.dataset import Dataset
from populace.domains.healthcare import DOMAIN

DAY = pl.duration(days=1)


def made(name: str, **parameters: object) -> Dataset:
    return populace.generate("healthcare", size=60, seed=3, scenarios=[{"name": name, "count": 4, **parameters}])


def labelled(data: Dataset, table: str, effect: str) -> pl.DataFrame:
    keys = data.frames["label"].filter(table=table, effect=effect).select("row_key")
    frame = data.frames[table]
    own = frame.columns[0]
    return frame.with_columns(pl.col(own).cast(pl.String)).join(
        keys.select(pl.col("row_key").cast(pl.String).alias(own)), on=own
    )


def test_a_readmission_follows_the_discharge_within_thirty_days():
    stays = labelled(made("readmission"), "encounter", "stay").filter(pl.col("class") == "IMP")
    stays = stays.sort("patient_id", "start_at")
    gap = stays.select(pl.col("start_at") - pl.col("end_at").shift().over("patient_id")).to_series().drop_nulls()
    assert gap.len() == 4
    assert (gap.dt.total_days() == 18).all()


def test_who_dies_in_hospital_has_nothing_afterwards_and_an_end_that_says_so():
    data = made("death-in-hospital")
    stays = labelled(data, "encounter", "stay").filter(pl.col("class") == "IMP")
    assert set(stays["disposition"]) == {"exp"}
    dead = stays.select("patient_id", "end_at").join(
        data.frames["patient"].select("patient_id", "death_at"), on="patient_id"
    )
    assert (dead["death_at"] == dead["end_at"]).all()


def test_nothing_that_modules_record_outlives_who_dies_in_hospital():
    data = populace.generate(
        "healthcare", size=60, seed=3, scenarios=[{"name": "death-in-hospital", "count": 8}], modules="own"
    )
    gone = data.frames["label"].filter(table="patient", effect="death")["row_key"]
    died = data.frames["patient"].filter(pl.col("patient_id").is_in(gone.implode())).select("patient_id", "death_at")
    for name in ("procedure", "care_plan", "care_activity", "goal", "medication_request", "observation"):
        frame = data.frames[name]
        assert frame.height
        late = frame.join(died, on="patient_id").filter(
            pl.max_horizontal("at", *({"end_at"} & {*frame.columns})) > pl.col("death_at")
        )
        assert late.is_empty(), name
    assert data.validate().is_empty()


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(3))
def test_every_scenario_can_be_played_with_our_own_modules(seed: int):
    asked = [{"name": name, "count": 1} for name in DOMAIN.scenarios]
    assert populace.generate("healthcare", size=300, seed=seed, scenarios=asked, modules="own").validate().is_empty()


def test_values_come_back_to_the_patients_own():
    glucose = labelled(made("diabetic-ketoacidosis"), "observation", "peak").filter(pl.col("code") == "2339-0")
    later = labelled(made("diabetic-ketoacidosis"), "observation", "course").filter(pl.col("code") == "2339-0")
    assert glucose["value"].min() > 400  # pyright: ignore[reportOperatorIssue]
    last = later.sort("at").group_by("patient_id").last()
    assert last["value"].median() < 150  # pyright: ignore[reportOperatorIssue]


def test_a_stay_is_as_long_as_asked_for():
    stays = labelled(made("long-stay", hours=100), "encounter", "stay").filter(pl.col("class") == "IMP")
    assert ((stays["end_at"] - stays["start_at"]).dt.total_hours() == 100).all()


def test_fifteen_drugs_are_ordered_at_one_visit():
    orders = labelled(made("polypharmacy"), "medication_request", "order")
    assert set(orders.group_by("encounter_id").agg(pl.col("code").n_unique())["code"]) == {15}


def test_strangers_share_an_address():
    moved = labelled(made("shared-address", count=2), "patient", "shared address")
    homes = moved.group_by("line", "city", "state", "postal_code").agg(pl.col("family_name").n_unique(), pl.len())
    assert homes["len"].to_list() == [4, 4]


@pytest.mark.parametrize(
    ("name", "factor", "low", "high"),
    [
        ("glucose-in-mmol", 0.0555, 40, 400),
        ("hemoglobin-in-grams-per-litre", 10, 7, 20),
        ("impossible-heart-rate", 10, 30, 180),
    ],
)
def test_a_wrong_unit_is_a_likely_value_times_a_factor(name: str, factor: float, low: float, high: float):
    data = made(name)
    wrong = labelled(data, "observation", "result")["value"]
    assert wrong.len() == 4
    assert (wrong / factor).is_between(low, high).all()
    assert {row["check"] for row in data.validate().iter_rows(named=True)} <= {"observation.plausible"}


def test_a_result_is_twice_on_record():
    twice = labelled(made("repeated-result"), "observation", "result")
    assert set(twice.group_by("patient_id", "code", "at", "value").len()["len"]) == {2}


def test_an_empty_record_is_empty():
    data = made("empty-record")
    gone = data.frames["label"].filter(effect="never happened")
    assert gone.height
    full = data.frames["encounter"]["patient_id"].n_unique()
    assert data.frames["patient"].height - full >= 4


def test_names_survive_the_way_to_fhir(tmp_path):
    data = made("right-to-left-name", count=1)
    data.write(f"fhir+ndjson:{tmp_path}")
    assert "الحسيني" in (tmp_path / "Patient.ndjson").read_text("utf-8")
