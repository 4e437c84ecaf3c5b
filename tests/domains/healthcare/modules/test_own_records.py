"""What our own modules leave in a dataset: valid records that know of the population's diagnoses, of its newborn and of how its people die."""

from __future__ import annotations

import json
from pathlib import Path

import polars as pl
import pytest

import populace
from populace.core.dataset import Dataset
from populace.core.validate import validate
from populace.domains.healthcare import DOMAIN
from populace.domains.healthcare.deaths import CAUSE

DELIVERIES = ("177184002", "11466000")
STAGES = ("258215001", "258219007", "258224005", "258228008")
CANCERS = ("254837009", "93761005", "399068003", "424132000", "425048006", "422968005", "423121009")


def make(size: int, start: str = "2021-01-01") -> Dataset:
    return populace.generate("healthcare", size=size, seed=2, start=start, end="2024-01-01", modules="own")


@pytest.fixture(scope="module")
def ours() -> Dataset:
    return make(240)


def coded(data: Dataset, table: str) -> pl.DataFrame:
    return data.frames[table].with_columns(pl.col("code").cast(pl.String))


def test_a_dataset_with_them_is_valid_and_says_so_itself(ours: Dataset, tmp_path: Path):
    assert ours.validate().is_empty()
    plain = populace.generate("healthcare", size=240, seed=2, start="2021-01-01", end="2024-01-01")
    same = ["patient_id", "birth_date", "mrn", "family_name", "mother_id", "death_at"]
    assert ours.frames["patient"].select(same).equals(plain.frames["patient"].select(same))
    complicated = coded(ours, "condition").filter(pl.col("code").is_in(["90781000119102", "368581000119106"]))
    diabetics = coded(plain, "condition").filter(pl.col("code") == "E11.9")
    assert complicated.height > 0
    assert set(complicated["patient_id"]) <= set(diabetics["patient_id"])
    make(50).write(str(tmp_path / "out"), f"fhir+ndjson:{tmp_path / 'fhir'}")
    assert validate(DOMAIN, str(tmp_path / "out")).valid
    assert validate(DOMAIN, str(tmp_path / "fhir")).valid


RESOURCES = [
    "Patient",
    "Practitioner",
    "PractitionerRole",
    "Organization",
    "Location",
    "Encounter",
    "Condition",
    "Observation",
    "AllergyIntolerance",
    "MedicationRequest",
    "Medication",
    "MedicationAdministration",
    "Procedure",
    "Immunization",
    "CarePlan",
    "CareTeam",
    "Goal",
    "DiagnosticReport",
    "DocumentReference",
    "ImagingStudy",
    "Device",
    "Coverage",
    "Claim",
    "ExplanationOfBenefit",
    "RelatedPerson",
    "Provenance",
]


def test_they_leave_resources_of_every_type(tmp_path: Path):
    data = populace.generate("healthcare", size=400, seed=5, modules="own")
    data.write(f"fhir+ndjson:{tmp_path / 'fhir'}")
    held = {file.stem: file.read_text("utf-8").splitlines() for file in (tmp_path / "fhir").glob("*.ndjson")}
    assert {name for name in RESOURCES if held.get(name)} == {*RESOURCES}
    studies = [json.loads(line) for line in held["ImagingStudy"]]
    done = {json.loads(line)["encounter"]["reference"] for line in held["Procedure"]}
    assert {study["encounter"]["reference"] for study in studies} <= done


def births(data: Dataset) -> pl.DataFrame:
    """Each child born in the window to a mother among the patients who lived to its birth, with the delivery in her record on that day."""
    start = data.plan.window.start / 86_400e6
    patients = data.frames["patient"]
    dead = patients.select(mother_id="patient_id", mother_death=pl.col("death_at").cast(pl.Date))
    children = (
        patients.filter(pl.col("birth_date").to_physical() > start + 60)
        .join(dead, on="mother_id")
        .filter(pl.col("mother_death").is_null() | (pl.col("mother_death") > pl.col("birth_date")))
    )
    delivered = coded(data, "procedure").filter(pl.col("code").is_in(DELIVERIES))
    return children.select("patient_id", "mother_id", "birth_date").join(
        delivered.select(mother_id="patient_id", birth_date=pl.col("at").cast(pl.Date), code="code"),
        on=["mother_id", "birth_date"],
        how="left",
    )


def test_goals_and_doses_arrive_in_fhir_with_what_they_refer_to(ours: Dataset):
    tables = {k: v for k, v in ours.frames.items() if k != "label"}
    rendered = ours.plan.domain.views["fhir+ndjson"].render(tables, {})
    goals = {g["id"]: g for g in map(json.loads, rendered["Goal"]["text"])}
    plans = list(map(json.loads, rendered["CarePlan"]["text"]))
    assert {r["reference"] for p in plans for r in p.get("goal", [])} == {f"Goal/{g}" for g in goals}
    aimed = [g["target"][0]["detailQuantity"] for g in goals.values() if "target" in g]
    assert {
        "value": 130,
        "comparator": "<",
        "unit": "mm[Hg]",
        "system": "http://unitsofmeasure.org",
        "code": "mm[Hg]",
    } in aimed
    drugs = {json.loads(t)["id"] for t in rendered["Medication"]["text"]}
    given = [
        json.loads(t)["medicationReference"]["reference"]
        for t in rendered.get("MedicationAdministration", pl.DataFrame({"text": []}))["text"]
    ]
    assert {g.removeprefix("Medication/") for g in given} <= drugs


def test_a_newborn_s_mother_gives_birth_on_the_day_on_which_it_is_born(ours: Dataset):
    found = births(ours)
    assert found.height > 1
    # a stay in hospital for something else may put the birth off
    assert found["code"].null_count() <= 0.1 * found.height
    delivered = coded(ours, "procedure").filter(pl.col("code").is_in(DELIVERIES))
    assert set(delivered["patient_id"]) <= set(ours.frames["patient"]["mother_id"].drop_nulls())


def test_children_of_one_mother_are_a_pregnancy_apart(population: Dataset):
    born = population.frames["patient"].filter(pl.col("mother_id").is_not_null()).sort("mother_id", "birth_date")
    gap = born.select(gap=(pl.col("birth_date") - pl.col("birth_date").shift()).dt.total_days().over("mother_id"))
    assert gap["gap"].min() >= int(38.7 * 7) - 1  # pyright: ignore[reportOperatorIssue, reportOptionalOperand]


@pytest.mark.slow
def test_many_births_stages_and_hospice_stays_are_as_their_sources_say():
    data = make(20_000, "2019-01-01")
    found = births(data)
    assert found.height > 700
    assert found["code"].null_count() <= 0.03 * found.height
    cesarean = (found["code"].drop_nulls() == "11466000").to_numpy().mean()
    assert abs(cesarean - 0.321) < 0.06
    staged = data.frames["observation"].filter(pl.col("code") == "21908-9")
    cancers = coded(data, "condition").filter(pl.col("code").is_in(CANCERS) & pl.col("encounter_id").is_not_null())
    # each cancer that is found in the window has one stage, at the visit at which it is found
    # American Cancer Society 2020: 276,480 breast, 191,930 prostate, 228,820 lung, 104,610 colon among 331.5 million: 240 in five years
    assert abs(cancers.height - 240) < 60
    assert staged.height == cancers.height
    assert set(staged["encounter_id"]) == set(cancers["encounter_id"])
    assert set(staged["value_code"].cast(pl.String)) == set(STAGES)
    old = data.frames["patient"].filter(
        pl.col("death_at").is_not_null() & ((pl.col("death_at").cast(pl.Date) - pl.col("birth_date")).dt.total_days() > 65.6 * 365.25)
    )  # fmt: skip
    late = old.filter(pl.col("death_at").dt.year() > 2019)
    hospice = coded(data, "care_plan").filter(pl.col("code") == "385763009")["patient_id"]
    share = late["patient_id"].is_in(hospice.implode()).to_numpy().mean()
    assert abs(share - 0.46) < 0.06


def test_people_die_of_a_disease_of_their_record(ours: Dataset):
    """One cause of each death, at the death itself, and of a disease that the record has, where the cause is one."""
    people, priors = ours.frames["patient"], ours.plan.priors
    dead = people.filter(pl.col("death_at").is_not_null()).select("patient_id", "death_at")
    told = coded(ours, "observation").filter(pl.col("code") == CAUSE)
    found = told.join(dead, on="patient_id")
    assert found.height == told.height == told["patient_id"].n_unique() == dead.height > 0
    assert (found["at"] == found["death_at"]).all()
    forms = {cause: form for group in priors("death.form").values() for cause, form in group.items()}
    snomed = ours.plan.domain.schema.code_lists["condition_snomed"].codes
    diseases = dict(coded(ours, "condition").group_by("patient_id").agg("code").iter_rows())
    for patient, cause in told.select("patient_id", pl.col("value_code").cast(pl.String)).rows():
        record = forms[cause]["record"]
        shows = {record, snomed.get(record), *priors("death.known").get(cause, ())}
        assert not record or set(diseases[patient]) & shows, cause
    omop = ours.plan.domain.views["omop"]
    tables = {k: v for k, v in ours.frames.items() if k != "label"}
    death = omop.render(tables, tables)["death"]
    assert death["cause_source_value"].drop_nulls().len() == told.height


def test_who_drinks_too_much_says_so_at_check_ups_with_modules_and_without():
    """AUDIT-C from 3 in women and 4 in men on tells of hazardous drinking: whoever comes to have an alcohol use disorder answers so, in both datasets."""
    span = {
        "size": 1500,
        "seed": 4,
        "start": "2012-01-01",
        "end": "2024-01-01",
        "only": ("patient", "condition", "observation"),
    }
    with_modules = populace.generate("healthcare", modules="own", module=("alcohol_use_disorder",), **span)
    disorder = coded(with_modules, "condition").filter(pl.col("code") == "7200002")
    assert disorder.height > 15
    for data in (with_modules, populace.generate("healthcare", **span)):
        scores = coded(data, "observation").filter(pl.col("code") == "75626-2")
        said = scores.join(data.frames["patient"].select("patient_id", "sex"), on="patient_id")
        least = pl.when(pl.col("sex") == "male").then(4).otherwise(3)
        theirs = said.filter(pl.col("patient_id").is_in(disorder["patient_id"].implode()))
        assert theirs.height > 10
        assert theirs.select((pl.col("value") >= least).all()).item()
        assert said.select((pl.col("value") >= least).mean()).item() < 0.3
