"""What was measured, asked and recorded as FHIR R4 Observations. US Core 6.1.0 has blood pressure as one Observation with a systolic and a
diastolic component, and pulse oximetry with two codes."""

from __future__ import annotations

from typing import Any

import polars as pl

from ....core.render_json import Pick
from ....core.schema import Schema
from ....core.tables import Table, Tables
from ..physiology import (
    BMI,
    DIASTOLIC,
    HEAD,
    HEART_RATE,
    HEIGHT,
    RESPIRATORY_RATE,
    SATURATION,
    SYSTOLIC,
    TEMPERATURE,
    WEIGHT,
)
from ..surveys import SMOKING
from . import files, waveform
from .parts import US_CORE, Shape, Template, coding, concept, opening, reference

PRESSURE_PANEL = {
    "system": "http://loinc.org",
    "code": "85354-9",
    "display": "Blood pressure panel with all children optional",
}
PULSE_OXIMETRY = {
    "system": "http://loinc.org",
    "code": "59408-5",
    "display": "Oxygen saturation in Arterial blood by Pulse oximetry",
}
ASSESSMENT = "us-core-observation-screening-assessment"
NEEDS = ("71802-3", "88122-7", "93030-5", "82589-3", "67875-5", "63586-2")
"""LOINC: questions on social determinants of health."""
SOCIAL = {"system": "http://hl7.org/fhir/us/core/CodeSystem/us-core-category", "code": "sdoh", "display": "SDOH"}
VITAL_SIGNS = {
    HEIGHT: "us-core-body-height",
    WEIGHT: "us-core-body-weight",
    BMI: "us-core-bmi",
    HEAD: "us-core-head-circumference",
    HEART_RATE: "us-core-heart-rate",
    RESPIRATORY_RATE: "us-core-respiratory-rate",
    TEMPERATURE: "us-core-body-temperature",
    SATURATION: "us-core-pulse-oximetry",
}
"""The US Core profile of each vital sign."""


def _observation(schema: Schema) -> list[tuple[pl.Expr, Template]]:
    unit, category = (schema.code_lists[f"observation_{n}"] for n in ("unit", "category"))
    codings = coding(schema, "observation")
    shown = dict(concept(schema, "observation", "code").constants)
    shown[SATURATION] = {**shown[SATURATION], "coding": [PULSE_OXIMETRY, *shown[SATURATION]["coding"]]}
    profile = {
        c: f"{US_CORE}/{VITAL_SIGNS.get(c, 'us-core-observation-lab')}"
        for c, k in category.codes.items()
        if k == "laboratory" or c in VITAL_SIGNS
    }
    profile |= {c: f"{US_CORE}/{ASSESSMENT}" for c, k in category.codes.items() if k == "survey"}
    profile[SMOKING] = f"{US_CORE}/us-core-smokingstatus"
    kinds = {
        c: [
            {"coding": [{"system": category.system, "code": k, "display": k.replace("-", " ").title()}]},
            *([{"coding": [SOCIAL]}] if c in NEEDS else []),
        ]
        for c, k in category.codes.items()
    }

    def quantity(code: str, value: str) -> Template:
        return {"value": pl.col(value), "unit": unit.codes[code], "system": unit.system, "code": unit.codes[code]}

    def common(profile: Any, kind: Any, code: Any) -> Template:
        return {
            **opening("Observation"),
            "meta": {"profile": [profile]},
            "status": "final",
            "category": kind,
            "code": code,
            "subject": reference("Patient"),
            "encounter": reference("Encounter"),
            "effectiveDateTime": pl.col("at"),
        }

    ucum = Pick(pl.col("code"), dict(unit.codes))
    found = common(Pick(pl.col("code"), profile), Pick(pl.col("code"), kinds), Pick(pl.col("code"), shown))

    def measured(unit_of: Any) -> Template:
        return {"valueQuantity": {"value": pl.col("value"), "unit": unit_of, "system": unit.system, "code": unit_of}}

    single = {**found, **measured(ucum)}
    status = {"status": pl.col("status")}
    lacking = {**found, "dataAbsentReason": concept(schema, "absent", "absent")}
    marked = [
        (pl.col("absent").is_not_null(), lacking),
        (pl.col("status").is_not_null() & pl.col("value").is_not_null(), {**single, **status}),
    ]
    panel = {
        **common(
            f"{US_CORE}/us-core-blood-pressure", kinds[SYSTOLIC], {"coding": [PRESSURE_PANEL], "text": "Blood pressure"}
        ),
        "component": [
            {"code": {"coding": [codings[SYSTOLIC]]}, "valueQuantity": quantity(SYSTOLIC, "value")},
            {"code": {"coding": [codings[DIASTOLIC]]}, "valueQuantity": quantity(DIASTOLIC, "diastolic")},
        ],
    }
    coded = (
        pl.col("value_code").is_not_null(),
        {**found, "valueCodeableConcept": concept(schema, "finding", "value_code", "finding_snomed")},
    )
    if "value_text" not in schema["observation"].columns:
        return [*marked, (pl.col("code") == SYSTOLIC, panel), coded, (pl.lit(True), single)]
    traced = [(pl.col("samples").is_not_null(), {**opening("Observation"), **waveform.template()})]
    sampled = [(pl.col("period").is_not_null(), {**found, "valueSampledData": waveform.sampled(ucum)})]
    return [
        *(sampled if "sampled_data" in schema.tables else []),
        *(traced if "procedure" in schema.tables else []),
        *marked,
        ((pl.col("code") == SYSTOLIC) & pl.col("diastolic").is_not_null(), panel),
        (pl.col("value_text").is_not_null(), {**found, "valueString": pl.col("value_text")}),
        coded,
        (pl.col("unit").is_not_null(), {**found, **measured(pl.col("unit"))}),
        (pl.lit(True), single),
    ]


def _measured(schema: Schema, tables: Tables, *traced: Any) -> Table:
    """What was measured, and the electrocardiograms that were recorded."""
    frame = files.without(tables, _pressure_joined(tables), "attachment")
    if "sampled_data" in tables:
        told = tables["sampled_data"].drop("sampled_data_id", "patient_id", "at")
        frame = frame.join(told, on="observation_id", how="left", maintain_order="left")
    if "procedure" not in schema.tables:
        return frame
    traces = waveform.recordings(schema, tables, *traced)
    if traces.is_empty():
        return frame.with_columns(samples=pl.lit(None, pl.String), procedure_id=pl.lit(None, pl.Int64))
    return pl.concat([frame.with_columns(pl.col("observation_id").cast(pl.String)), traces], how="diagonal")


def _pressure_joined(tables: Tables) -> Table:
    """The two blood pressures of one moment in one row, under the systolic one's key; every other row as it is."""
    frame = tables["observation"]
    code, moment = pl.col("code"), ["patient_id", "encounter_id", "at"]
    low = frame.filter((code == DIASTOLIC) & pl.col("value").is_not_null())
    low = low.select(*moment, diastolic="value").unique(moment, keep="first")
    high = frame.filter(code == SYSTOLIC)
    both = high.join(low, on=moment, how="left", nulls_equal=True)
    joined = frame.join(
        both.select("observation_id", "diastolic"), on="observation_id", how="left", maintain_order="left"
    )
    alone = frame.filter(code == DIASTOLIC).join(high, on=moment, how="anti", nulls_equal=True)["observation_id"]
    return joined.filter((code != DIASTOLIC) | pl.col("observation_id").is_in(alone.implode()))


TYPES = {"Observation": Shape(("observation",), _observation, _measured, priors=waveform.PRIORS)}
