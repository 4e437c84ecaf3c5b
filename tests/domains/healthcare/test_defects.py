"""Scenarios of what goes wrong with records: what each leaves in the tables and in FHIR, and that the validators find what it plants."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

import populace
from populace.core.dataset import Dataset
from populace.core.tables import Tables
from populace.domains.healthcare import DOMAIN
from populace.domains.healthcare.fhir.waveform import RATE, SECONDS, lead_two

QUIET = (
    "absent-value", "corrected-result", "merged-records", "unmerged-records", "partial-birth-date", "newborn", "consent-withdrawn",
    "paediatric-dosing",
)  # fmt: skip
PLANTED = {
    "orphan-result": "observation.encounter_id.reference",
    "retired-code": "condition.retired",
    "contradictory-note": "encounter.note",
    "consent-ignored": "consent.encounter",
    "tenfold-overdose": "medication_request.dose",
}


@pytest.fixture(scope="module")
def played() -> Dataset:
    """One dataset in which each is played once."""
    return populace.generate(
        "healthcare", size=200, seed=6, start="2019-01-01", end="2021-01-01", scenarios=[*QUIET, *PLANTED]
    )


@pytest.fixture(scope="module")
def resources(played: Dataset) -> dict[str, list[dict[str, Any]]]:
    view = DOMAIN.views["fhir+ndjson"]
    wanted = ("Patient", "Observation", "Consent", "MedicationRequest", "DocumentReference")
    rendered = view.render(tables(played), {})
    return {kind: [json.loads(t) for t in rendered[kind]["text"]] for kind in wanted}


def tables(data: Dataset) -> Tables:
    return {k: v for k, v in data.frames.items() if k != "label"}


def of(played: Dataset, scenario: str, table: str, effect: str) -> pl.DataFrame:
    label = played.frames["label"].filter(scenario=scenario, table=table, effect=effect).drop_nulls("row_key")
    key = DOMAIN.schema[table].key
    return played.frames[table].filter(pl.col(key).is_in(label["row_key"].implode()))


def by_id(resources: dict[str, list[dict[str, Any]]], kind: str, key: int) -> dict[str, Any]:
    return next(r for r in resources[kind] if r["id"].endswith(f"-{key}"))


@pytest.mark.parametrize("name", PLANTED)
def test_what_is_planted_is_found_at_the_labelled_row(played: Dataset, name: str):
    """The same checks without the label: each planted violation stands there, and the declared ones excuse it."""
    from populace.core.checks import check_tables

    found = check_tables(DOMAIN, tables(played), set(tables(played))).filter(check=PLANTED[name])
    marked = played.frames["label"].filter(scenario=name).drop_nulls("row_key")
    assert found.height
    assert set(found["row_key"]) <= set(marked["row_key"])
    assert PLANTED[name] in DOMAIN.scenarios[name].breaks


def test_nothing_else_is_wrong_with_any_of_them(played: Dataset):
    assert played.validate().is_empty()


def test_a_reason_stands_in_place_of_a_value(played: Dataset, resources: dict[str, list[dict[str, Any]]]):
    row = of(played, "absent-value", "observation", "result").row(0, named=True)
    said = by_id(resources, "Observation", row["observation_id"])
    assert row["value"] is None
    assert "valueQuantity" not in said
    assert said["dataAbsentReason"]["coding"][0]["code"] == "not-performed"


def test_a_corrected_result_follows_the_one_entered_in_error(
    played: Dataset, resources: dict[str, list[dict[str, Any]]]
):
    wrong, right = of(played, "corrected-result", "observation", "result").sort("at").iter_rows(named=True)
    assert wrong["value"] == pytest.approx(2 * right["value"], abs=2)
    status = [by_id(resources, "Observation", r["observation_id"])["status"] for r in (wrong, right)]
    assert status == ["entered-in-error", "corrected"]


@pytest.mark.parametrize(
    ("name", "kinds"), [("merged-records", ("replaces", "replaced-by")), ("unmerged-records", ("seealso", "seealso"))]
)
def test_merged_records_refer_to_one_another(
    played: Dataset, resources: dict[str, list[dict[str, Any]]], name: str, kinds: tuple[str, str]
):
    effect = name.split("-")[0]
    label = played.frames["label"].filter(scenario=name, table="patient", effect=effect)
    first, second = (label.filter(role=role)["row_key"].item() for role in ("original", "duplicate"))
    for own, other, kind in ((first, second, kinds[0]), (second, first, kinds[1])):
        patient = by_id(resources, "Patient", own)
        assert patient["link"] == [{"other": {"reference": f"Patient/patient-{other}"}, "type": kind}]
        assert patient["active"] == (kind != "replaced-by")


def test_of_a_partial_date_only_what_is_known_is_said(played: Dataset, resources: dict[str, list[dict[str, Any]]]):
    row = of(played, "partial-birth-date", "patient", "partial birth date").row(0, named=True)
    assert by_id(resources, "Patient", row["patient_id"])["birthDate"] == f"{row['birth_date'].year}"


def test_a_newborn_names_the_mother_whose_stay_it_is_born_in(played: Dataset):
    child = of(played, "newborn", "patient", "is born").row(0, named=True)
    stay = of(played, "newborn", "encounter", "delivery").row(0, named=True)
    assert child["mother_id"] == stay["patient_id"]
    assert stay["start_at"].date() <= child["birth_date"] <= stay["end_at"].date()
    history = played.frames["encounter"].filter(patient_id=child["patient_id"])
    assert history.height == of(played, "newborn", "encounter", "birth").height == 1


def test_nothing_is_recorded_after_consent_is_withdrawn(played: Dataset, resources: dict[str, list[dict[str, Any]]]):
    row = of(played, "consent-withdrawn", "consent", "withdrawn").row(0, named=True)
    later = played.frames["encounter"].filter(
        (pl.col("patient_id") == row["patient_id"]) & (pl.col("start_at") >= row["end_at"])
    )
    assert later.is_empty()
    assert by_id(resources, "Consent", row["consent_id"])["status"] == "inactive"


def test_a_child_s_dose_is_that_of_its_weight(played: Dataset, resources: dict[str, list[dict[str, Any]]]):
    for name, factor in (("paediatric-dosing", 1), ("tenfold-overdose", 10)):
        order = of(played, name, "medication_request", "order").row(0, named=True)
        weight = of(played, name, "observation", "weight")["value"].item()
        assert order["dose"] * order["per_day"] / weight == pytest.approx(85 * factor, rel=0.02)
        said = by_id(resources, "MedicationRequest", order["medication_request_id"])["dosageInstruction"][0]
        assert said["doseAndRate"][0]["doseQuantity"]["value"] == order["dose"]
        assert said["timing"]["repeat"]["frequency"] == 2


def test_an_electrocardiogram_beats_at_the_measured_rate_and_shows_what_the_heart_has():
    keys, at = np.arange(3), np.full(3, 10**15)
    priors = [DOMAIN.priors(f"ecg.{name}") for name in ("waves", "variation")]
    fibrillates, infarcted = np.array([False, True, False]), np.array([False, False, True])
    traces = lead_two(keys, at, np.array([60.0, 100.0, 80.0]), fibrillates, infarcted, *priors)
    assert traces.shape == (3, RATE * SECONDS)
    for trace, rate, spread in zip(traces, (60, 100, 80), ((0, 0.1), (0.1, 0.5), (0, 0.1)), strict=True):
        high = np.flatnonzero((trace > 600) & (trace >= np.roll(trace, 1)) & (trace > np.roll(trace, -1)))
        beats = high[np.append(True, np.diff(high) > RATE // 5)]
        gaps = np.diff(beats) / RATE
        assert 60 / gaps.mean() == pytest.approx(rate, rel=0.12)
        assert spread[0] <= gaps.std() / gaps.mean() <= spread[1]
    again = lead_two(keys[1:], at[1:], np.array([100.0, 80.0]), fibrillates[1:], infarcted[1:], *priors)
    assert (again == traces[1:]).all()
    raised = [np.percentile(t, 80) for t in traces[[0, 2]]]
    assert raised[1] > raised[0] + 50


IN_FHIR = {
    "contradictory-note": ("fhir.note", "DocumentReference.ndjson"),
    "consent-ignored": ("fhir.consent", "Encounter.ndjson"),
    "tenfold-overdose": ("fhir.dose", "MedicationRequest.ndjson"),
}


def test_what_is_planted_is_found_in_documents_too(played: Dataset, tmp_path: Path):
    """In the documents of those who play: at the resources themselves, and none of these kinds elsewhere."""
    view, label = DOMAIN.views["fhir+ndjson"], played.frames["label"]
    marked = label.filter(pl.col("scenario").is_in(list(IN_FHIR))).drop_nulls("row_key")
    players = {
        int(DOMAIN.schema.unit_of(table, np.array([key]))[0]) for table, key in marked.select("table", "row_key").rows()
    }
    few = {
        n: t.filter(pl.col("patient_id").is_in(players)) if "patient_id" in t.columns else t
        for n, t in tables(played).items()
    }
    rendered = view.render(few, {})
    for kind in (
        "Patient",
        "Consent",
        "Encounter",
        "Condition",
        "Observation",
        "MedicationRequest",
        "DocumentReference",
    ):
        (tmp_path / f"{kind}.ndjson").write_text("\n".join(rendered[kind]["text"]) + "\n", "utf-8")
    found = view.check(tmp_path).filter(pl.col("check").is_in([check for check, _ in IN_FHIR.values()]))  # pyright: ignore[reportOptionalCall]
    assert set(found.select("check", "table").rows()) == set(IN_FHIR.values())
    for name, (check, file) in IN_FHIR.items():
        keys = marked.filter(scenario=name)
        whose = {int(DOMAIN.schema.unit_of(t, np.array([k]))[0]) for t, k in keys.select("table", "row_key").rows()}
        for line in found.filter(check=check)["row_key"]:
            said = json.loads(rendered[file.removesuffix(".ndjson")]["text"][line - 1])
            assert int(said["subject"]["reference"].rpartition("-")[2]) in whose
