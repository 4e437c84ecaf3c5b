"""Modules of a folder in `generate`: a record that hangs together, whatever workers and blocks, that every view takes and others' tools accept."""

from __future__ import annotations

import base64
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import polars as pl
import pytest

import populace
from populace.core.dataset import Dataset
from populace.core.errors import UserError
from populace.core.plan import make_plan
from populace.core.run import run
from populace.core.sinks import open_target
from populace.core.spec import Spec
from populace.core.validate import validate
from populace.domains.healthcare import DOMAIN
from populace.domains.healthcare.fhir import judge
from populace.domains.healthcare.imports.imported import read_records

VIEWS = ("fhir+ndjson", "fhir+bundle", "fhir+everything", "omop", "synthea", "hl7v2", "flat")


def code(number: str, display: str, system: str = "SNOMED-CT") -> dict[str, str]:
    return {"system": system, "code": number, "display": display}


def course() -> dict[str, Any]:
    """An illness of everyone, at any age, with all that a module can record of it."""
    steps: dict[str, dict[str, Any]] = {
        "Initial": {"type": "Initial"},
        "Wait": {"type": "Delay", "range": {"low": 1, "high": 6, "unit": "years"}},
        "Falls Ill": {
            "type": "ConditionOnset", "codes": [code("74400008", "Appendicitis (disorder)")], "target_encounter": "Admitted",
            "assign_to_attribute": "illness",
        },
        "Admitted": {
            "type": "Encounter", "encounter_class": "inpatient", "reason": "illness",
            "codes": [code("185347001", "Encounter for problem (procedure)")],
        },
        "Reacts": {
            "type": "AllergyOnset", "allergy_type": "allergy", "category": "medication",
            "codes": [code("7984", "Penicillin V", "RxNorm")],
            "reactions": [
                {"reaction": code("247472004", "Wheal (finding)"), "possible_severities": [{"level": "mild", "value": 1.0}]}
            ],
        },
        "Panel": {
            "type": "DiagnosticReport", "codes": [code("58410-2", "CBC panel - Blood by Automated count", "LOINC")],
            "observations": [
                {"category": "laboratory", "unit": "10*3/uL", "range": {"low": 11, "high": 18},
                 "codes": [code("6690-2", "Leukocytes [#/volume] in Blood by Automated count", "LOINC")]},
                {"category": "laboratory", "unit": "mmol/L", "vital_sign": "Potassium",
                 "codes": [code("6298-4", "Potassium [Moles/volume] in Blood", "LOINC")]},
            ],
        },
        "Pressure": {"type": "SetAttribute", "attribute": "pressure", "series_data": "80 95 119.5 101 -84", "period": 0.25},
        "Flow": {"type": "SetAttribute", "attribute": "flow", "series_data": "0.0 2.125 4 3 1", "period": 0.25},
        "Traced": {
            "type": "DiagnosticReport", "codes": [code("29274-8", "Vital signs measurements", "LOINC")],
            "observations": [
                {"category": "procedure", "unit": "mm[Hg]", "codes": [code("8478-0", "Mean blood pressure", "LOINC")],
                 "sampled_data": {"attributes": ["pressure", "flow"], "factor": 1.0, "lower_limit": -10.0, "decimal_format": "0.0##"}},
                {"category": "procedure", "codes": [code("76477-9", "Waveform drawn", "LOINC")],
                 "attachment": {"chart": {"title": "Pressure & flow", "series": [{"attribute": "pressure", "label": "mm[Hg]"}]}}},
            ],
        },
        "Filmed": {
            "type": "Observation", "category": "imaging", "codes": [code("18745-0", "Cardiac catheterization study", "LOINC")],
            "attachment": {"url": "https://example.com/video/1", "content_type": "video/mp4", "size": 242323456, "duration": 14.5},
        },
        "Finding": {
            "type": "Observation", "category": "exam", "codes": [code("10200-4", "Physical findings", "LOINC")],
            "value_code": code("43478001", "Abdominal tenderness (finding)"),
        },
        "Measured": {
            "type": "MultiObservation", "category": "vital-signs",
            "codes": [code("85353-1", "Vital signs panel", "LOINC")],
            "observations": [
                {"category": "vital-signs", "unit": unit, "vital_sign": name, "codes": [code(loinc, name, "LOINC")]}
                for name, loinc, unit in (("Height", "8302-2", "cm"), ("Weight", "29463-7", "kg"), ("BMI", "39156-5", "kg/m2"))
            ],
        },
        "Image": {
            "type": "ImagingStudy", "procedure_code": code("169070004", "Computed tomography of abdomen (procedure)"),
            "series": [{
                "body_site": code("113345001", "Abdominal structure (body structure)"),
                "modality": code("CT", "Computed Tomography", "DICOM-DCM"),
                "instances": [{"title": "CT", "sop_class": code("1.2.840.10008.5.1.4.1.1.2", "CT Image Storage", "DICOM-SOP")}],
            }],
        },
        "Given": {
            "type": "MedicationOrder", "reason": "illness", "administration": True,
            "codes": [code("1659149", "piperacillin 4000 MG / tazobactam 500 MG Injection", "RxNorm")],
        },
        "Operated": {
            "type": "Procedure", "reason": "illness", "codes": [code("80146002", "Excision of appendix (procedure)")],
            "duration": {"low": 40, "high": 90, "unit": "minutes"},
        },
        "Drain": {"type": "Device", "code": code("467021000", "Surgical drain (physical object)")},
        "Dressings": {"type": "SupplyList", "supplies": [{"quantity": 4, "code": code("337388004", "Dressing (physical object)")}]},
        "Plan": {
            "type": "CarePlanStart", "reason": "illness", "codes": [code("737434004", "Wound care plan (record artifact)")],
            "activities": [code("225358003", "Wound care (regime/therapy)")],
        },
        "Stays": {"type": "Delay", "range": {"low": 1, "high": 3, "unit": "days"}},
        "Home": {"type": "EncounterEnd", "discharge_disposition": code("01", "Discharged to home", "NUBC")},
        "Heals": {"type": "Delay", "range": {"low": 1, "high": 3, "unit": "weeks"}},
        "No Drain": {"type": "DeviceEnd", "device": "Drain"},
        "No Plan": {"type": "CarePlanEnd", "careplan": "Plan"},
        "No Dose": {"type": "MedicationEnd", "medication_order": "Given"},
        "Well": {"type": "ConditionEnd", "condition_onset": "Falls Ill"},
    }  # fmt: skip
    names = list(steps)
    for name, after in zip(names, [*names[1:], "Wait"], strict=True):
        steps[name]["direct_transition"] = after
    return {"name": "Course", "gmf_version": 2, "states": steps}


def fever() -> dict[str, Any]:
    """Influenza, which the population has a course of too; one in a hundred dies of it."""
    return {
        "name": "Fever",
        "states": {
            "Initial": {"type": "Initial", "direct_transition": "Wait"},
            "Wait": {"type": "Delay", "exact": {"quantity": 3, "unit": "years"}, "direct_transition": "Visit"},
            "Visit": {
                "type": "Encounter", "encounter_class": "ambulatory", "codes": [code("185345009", "Encounter for symptom")],
                "direct_transition": "Ill",
            },
            "Ill": {"type": "ConditionOnset", "codes": [code("6142004", "Influenza (disorder)")], "direct_transition": "End"},
            "End": {"type": "EncounterEnd", "distributed_transition": [
                {"distribution": 0.9, "transition": "Over"}, {"distribution": 0.1, "transition": "Dies"}]},
            "Over": {"type": "ConditionEnd", "condition_onset": "Ill", "direct_transition": "Wait"},
            "Dies": {"type": "Death", "exact": {"quantity": 2, "unit": "days"}, "direct_transition": "Terminal"},
            "Terminal": {"type": "Terminal"},
        },
    }  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("modules")
    (made / "course.json").write_text(json.dumps(course()))
    (made / "fever.json").write_text(json.dumps(fever()))
    return made


@pytest.fixture(scope="module")
def made(folder: Path) -> Dataset:
    return populace.generate("healthcare", size=60, seed=5, modules=folder)


@pytest.fixture(scope="module")
def handful(folder: Path) -> Dataset:
    """Enough that each type of resource is there: each is judged by itself, and the views hold the same ones three times."""
    return populace.generate("healthcare", size=12, seed=5, modules=folder)


NEW = (
    "procedure", "care_plan", "care_activity", "allergy", "allergy_reaction", "device", "imaging_study", "supply", "diagnostic_report",
    "medication_administration", "sampled_data", "attachment",
)  # fmt: skip


def test_everything_that_a_module_records_is_there_and_valid(made: Dataset):
    for name in NEW:
        assert made.frames[name].height, name
    assert made.validate().is_empty()
    found = made.frames["observation"]
    assert found.filter(pl.col("value_code") == "43478001")["value"].null_count() > 0
    assert found.filter(pl.col("diagnostic_report_id").is_not_null()).height
    orders = made.frames["medication_request"].filter(pl.col("code") == "1659149")
    assert set(orders["status"].unique()) <= {"completed", "active", "stopped"}
    assert orders["end_at"].drop_nulls().len() > 0


def test_series_and_files_are_what_the_module_says(made: Dataset):
    """Synthea's SampledData: values of one moment side by side; its period is told in seconds, FHIR's in milliseconds. FHIR R4 knows no Observation
    that is a file: those are Media."""
    tables = {k: v for k, v in made.frames.items() if k != "label"}
    written = {k: v["text"].to_list() for k, v in made.plan.domain.views["fhir+ndjson"].render(tables, {}).items()}
    traced = [
        o["valueSampledData"]
        for o in map(json.loads, written["Observation"])
        if o["code"]["text"] == "Mean blood pressure"
    ]
    assert len(traced) == made.frames["sampled_data"].height > 0
    pressure = {"unit": "mm[Hg]", "system": "http://unitsofmeasure.org", "code": "mm[Hg]"}
    assert traced[0] == {
        "origin": {"value": 0, **pressure}, "period": 250, "factor": 1, "lowerLimit": -10, "dimensions": 2,
        "data": "80.0 0.0 95.0 2.125 119.5 4.0 101.0 3.0 -84.0 1.0",
    }  # fmt: skip
    media = {m["id"]: m for m in map(json.loads, written["Media"])}
    drawn = [m for m in media.values() if "data" in m["content"]]
    picture = base64.b64decode(drawn[0]["content"]["data"]).decode()
    assert picture.startswith("<svg ")
    assert "Pressure &amp; flow" in picture
    assert len(picture.encode()) == drawn[0]["content"]["size"]
    assert drawn[0]["type"]["coding"][0]["code"] == "image"
    linked = [m["content"] for m in media.values() if "url" in m["content"]]
    assert linked[0] == {"contentType": "video/mp4", "url": "https://example.com/video/1", "size": 242323456}
    # nothing is twice, and reports name each under what it is
    known = {f"Observation/{json.loads(o)['id']}" for o in written["Observation"]} | {f"Media/{m}" for m in media}
    reports = [json.loads(r) for r in written["DiagnosticReport"]]
    named = [r["reference"] for d in reports for r in (*d.get("result", []), *(m["link"] for m in d.get("media", [])))]
    assert set(named) <= known
    assert sum("Media/" in n for n in named) == len(drawn)
    assert len(drawn) + len(linked) == made.frames["attachment"].height
    notes = "".join(
        base64.b64decode(json.loads(d)["content"][0]["attachment"]["data"]).decode()
        for d in written["DocumentReference"]
    )
    assert "Leukocytes" in notes
    assert "119.5 4.0" not in notes
    assert "example.com" not in notes


def test_no_two_encounters_of_a_patient_are_at_once(made: Dataset):
    visits = made.frames["encounter"].sort("patient_id", "start_at", "encounter_id")
    before = visits.select(pl.col("end_at").shift(1).over("patient_id"))["end_at"]
    assert (visits["start_at"] >= before).drop_nulls().all()


def test_a_patient_falls_ill_of_one_thing_by_one_course_only(made: Dataset):
    codes = made.frames["condition"]["code"].cast(pl.String)
    assert (codes == "6142004").any()
    assert not (codes == "J11.1").any()


def test_deaths_by_modules_end_the_record(made: Dataset):
    plain = populace.generate("healthcare", size=60, seed=5)
    died = made.frames["patient"]["death_at"].drop_nulls().len()
    assert died > plain.frames["patient"]["death_at"].drop_nulls().len()
    same = [c for c in made.frames["patient"].columns if c not in ("death_at", "age_years")]
    assert made.frames["patient"].select(same).equals(plain.frames["patient"].select(same))


def test_only_the_named_modules_run(folder: Path):
    only = populace.generate("healthcare", size=20, modules=folder, module=["fever"])
    assert "procedure" not in only.frames
    assert (only.frames["condition"]["code"] == "6142004").any()
    assert only.validate().is_empty()


@pytest.mark.parametrize("view", VIEWS)
def test_views_of_it_are_valid(view: str, handful: Dataset, tmp_path: Path):
    assert all(handful.frames[table].height for table in NEW)
    handful.write(f"{view}:{tmp_path / 'out'}")
    spec = handful.plan.domain.views[view]
    if spec.check:
        faults = spec.check(tmp_path / "out")
        assert faults.is_empty(), faults.head(5).to_dicts()


def test_an_independent_validator_finds_no_fault(made: Dataset):
    fhirkit = pytest.importorskip("fhirkit")
    tables = {k: v for k, v in made.frames.items() if k != "label"}
    kinds = made.plan.domain.views["fhir+ndjson"].render(tables, {})
    wanted = {
        "Procedure",
        "CarePlan",
        "AllergyIntolerance",
        "Device",
        "ImagingStudy",
        "SupplyDelivery",
        "MedicationAdministration",
        "Media",
    }
    assert wanted <= kinds.keys()
    for kind, frame in kinds.items():
        for text in frame["text"].head(200):
            assert not fhirkit.validate(text), (kind, fhirkit.validate(text))


def test_the_same_whatever_workers_and_blocks(folder: Path, tmp_path: Path):
    plan = make_plan(Spec("healthcare", 30, 3, inputs={"modules": str(folder)}))
    small = replace(plan, domain=replace(plan.domain, block=13))
    digests = []
    for n, (which, workers) in enumerate(((plan, 1), (small, 1), (small, 2))):
        done = run(which, [open_target(str(tmp_path / str(n)), which.domain)], workers=workers, quiet=True)
        digests.append({t: v["digest"] for t, v in done.manifest["populace"]["tables"].items()})
    assert digests[0] == digests[1] == digests[2]
    assert done.manifest["populace"]["spec"]["inputs"] == dict(plan.inputs)


def test_what_cannot_run_is_refused_by_name(folder: Path, tmp_path: Path):
    with pytest.raises(UserError, match="give --modules DIR too"):
        make_plan(Spec("healthcare", inputs={"module": ["fever"]}))
    with pytest.raises(UserError, match=r"unknown module 'fevr'.*fever"):
        make_plan(Spec("healthcare", inputs={"modules": str(folder), "module": ["fevr"]}))
    odd = fever()
    odd["states"]["Ill"]["codes"][0]["system"] = "HOUSE"
    (tmp_path / "odd.json").write_text(json.dumps(odd))
    with pytest.raises(UserError, match="module odd, state 'Ill': code system 'HOUSE'"):
        make_plan(Spec("healthcare", inputs={"modules": str(tmp_path)}))
    odd = course()
    odd["states"]["Panel"]["observations"][1]["vital_sign"] = "Potasium"
    (tmp_path / "odd.json").write_text(json.dumps(odd))
    with pytest.raises(UserError, match=r"unknown vital sign 'Potasium'.*Potassium"):
        make_plan(Spec("healthcare", inputs={"modules": str(tmp_path)}))


@pytest.mark.slow
def test_all_public_modules_give_a_valid_record(real_data: Path, tmp_path: Path):
    modules = real_data / "healthcare" / "synthea_modules"
    made = populace.generate("healthcare", size=150, seed=8, modules=modules)
    assert made.validate().is_empty()
    made.write(f"fhir+ndjson:{tmp_path / 'out'}")
    faults = judge.check(tmp_path / "out")
    assert faults.is_empty(), faults.head(5).to_dicts()
    fhirkit = pytest.importorskip("fhirkit")
    for file in (tmp_path / "out").glob("*.ndjson"):
        for line in file.read_text("utf-8").splitlines()[:1500]:
            assert not fhirkit.validate(line), (file.name, fhirkit.validate(line))


def test_the_domain_itself_is_as_it_was():
    assert "procedure" not in DOMAIN.schema.tables


def test_export_import_export_gives_the_same_resources(made: Dataset, tmp_path: Path):
    made.write(f"fhir+ndjson:{tmp_path / 'out'}", str(tmp_path / "tables"))
    found = read_records(DOMAIN, str(tmp_path / "out"))
    again = found.domain.views["fhir+ndjson"].render(found.tables, {})
    for file in (tmp_path / "out").glob("*.ndjson"):
        assert again[file.stem]["text"].to_list() == file.read_text("utf-8").splitlines(), file.stem
    assert found.violations().is_empty()
    # what a dataset's manifest says is enough to judge it, without the modules
    assert validate(DOMAIN, str(tmp_path / "tables")).valid
