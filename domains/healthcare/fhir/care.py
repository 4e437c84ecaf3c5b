"""What disease modules record beyond diagnoses, values and prescriptions, as FHIR R4: procedures, plans, allergies, devices, images, supplies, doses."""

from __future__ import annotations

import json
import re
from html import escape

import polars as pl

from ....core.render_json import Pick, Raw, Text
from ....core.schema import Schema
from ....core.tables import Table, Tables
from .parts import Shape, Template, coding, concept, listed, opening, prefix, reference, table, term

SOP = "urn:oid:1.2.840.10008.5.1.4.1.1.7"
"""DICOM: secondary capture image storage, the class of images of which nothing more is known."""


def _procedure(schema: Schema) -> Template:
    return {
        **opening("Procedure", "us-core-procedure"),
        "status": "completed",
        "code": concept(schema, "procedure", "code"),
        "subject": reference("Patient"),
        "encounter": reference("Encounter"),
        "performedPeriod": {"start": pl.col("at"), "end": pl.col("end_at")},
        "reasonReference": [reference("Condition")],
    }


def _care_plan(schema: Schema) -> Template:
    xhtml = '<div xmlns="http://www.w3.org/1999/xhtml">'
    shown = {
        code: {"status": "generated", "div": f"{xhtml}{escape(display, quote=False)}</div>"}
        for code, display in schema.code_lists["care_plan"].codes.items()
    }
    category = "http://hl7.org/fhir/us/core/CodeSystem/careplan-category"
    return {
        **opening("CarePlan", "us-core-careplan"),
        "text": Pick(pl.col("code"), shown),
        "status": Pick(pl.col("status"), {"active": "active", "completed": "completed"}),
        "intent": "order",
        "category": [
            {"coding": [{"system": category, "code": "assess-plan"}]},
            concept(schema, "care_plan", "code"),
        ],
        "subject": reference("Patient"),
        "encounter": reference("Encounter"),
        "period": {"start": pl.col("at"), "end": pl.col("end_at")},
        "addresses": [reference("Condition")],
        "goal": [Raw(pl.col("goals"))],
        "activity": [Raw(pl.col("activities"))],
    }


def _goal(schema: Schema) -> Template:
    unit = Pick(pl.col("measure"), dict(schema.code_lists["observation_unit"].codes))
    quantity = {
        "value": pl.col("target"),
        "comparator": pl.col("comparator"),
        "unit": unit,
        "system": "http://unitsofmeasure.org",
        "code": unit,
    }
    return {
        **opening("Goal", "us-core-goal"),
        "lifecycleStatus": Pick(pl.col("status"), {"active": "active", "completed": "completed"}),
        "description": {"text": pl.col("text")},
        "subject": reference("Patient"),
        "startDate": pl.col("start"),
        "target": [{"measure": concept(schema, "observation", "measure"), "detailQuantity": quantity}],
        "addresses": [reference("Condition")],
    }


def _goals(_: Schema, tables: Tables) -> Table:
    """Goals, each with the plan's status and the condition that it is for."""
    plans = tables["care_plan"].select("care_plan_id", "condition_id", status=_running())
    frame = tables["goal"].join(plans, on="care_plan_id", how="left", maintain_order="left")
    # an imported goal of no plan is still pursued
    return frame.with_columns(pl.col("status").fill_null("active"), start=pl.col("at").dt.date())


def _running() -> pl.Expr:
    return pl.when(pl.col("end_at").is_null()).then(pl.lit("active")).otherwise(pl.lit("completed"))


def _plans(schema: Schema, tables: Tables) -> Table:
    plans = tables["care_plan"].with_columns(status=_running())
    shown = concept(schema, "care_activity", "code").constants if "care_activity" in schema.code_lists else {}
    activities = tables["care_activity"].join(plans.select("care_plan_id", "status"), on="care_plan_id", how="left")
    parts = {
        f"{code} {status}": json.dumps({"detail": {"code": constant, "status": said}}, ensure_ascii=False)
        for code, constant in shown.items()
        for status, said in (("active", "in-progress"), ("completed", "completed"))
    }
    one = pl.concat_str(pl.col("code").cast(pl.String), pl.lit(" "), "status").replace_strict(
        parts, return_dtype=pl.String
    )
    done = _with_list(plans, activities.sort("care_activity_id"), "care_plan_id", one, "activities")
    named = pl.concat_str(pl.lit('{"reference":"Goal/goal-'), "goal_id", pl.lit('"}'))
    return _with_list(done, tables["goal"].sort("goal_id"), "care_plan_id", named, "goals")


def _with_list(frame: Table, parts: Table, key: str, one: pl.Expr, name: str) -> Table:
    """The frame with its parts as JSON, with commas between, null where it has none."""
    return frame.join(listed(parts, key, one, name), on=key, how="left", maintain_order="left")


def _allergy(schema: Schema) -> Template:
    return {
        **opening("AllergyIntolerance", "us-core-allergyintolerance"),
        "clinicalStatus": Pick(
            pl.col("status"),
            {
                "active": term("allergyintolerance-clinical", "active", "Active"),
                "resolved": term("allergyintolerance-clinical", "resolved", "Resolved"),
            },
        ),
        "verificationStatus": term("allergyintolerance-verification", "confirmed", "Confirmed"),
        "type": pl.col("kind"),
        "category": [pl.col("category")],
        "code": concept(schema, "allergy", "code"),
        "patient": reference("Patient"),
        "encounter": reference("Encounter"),
        "onsetDateTime": pl.col("at"),
        "recordedDate": pl.col("at"),
        "reaction": [Raw(pl.col("reactions"))],
    }


def _allergies(schema: Schema, tables: Tables) -> Table:
    frame = tables["allergy"].with_columns(
        status=pl.when(pl.col("end_at").is_null()).then(pl.lit("active")).otherwise(pl.lit("resolved"))
    )
    if "allergy_reaction" not in tables:
        return frame.with_columns(reactions=pl.lit(None, pl.String))
    shown = concept(schema, "reaction", "code").constants
    parts = {
        f"{code} {severity}": json.dumps({"manifestation": [constant], "severity": severity}, ensure_ascii=False)
        for code, constant in shown.items()
        for severity in ("mild", "moderate", "severe")
    }
    key = pl.concat_str(pl.col("code").cast(pl.String), pl.lit(" "), pl.col("severity").cast(pl.String))
    one = key.replace_strict(parts, return_dtype=pl.String)
    return _with_list(frame, tables["allergy_reaction"].sort("allergy_reaction_id"), "allergy_id", one, "reactions")


def _device(schema: Schema) -> Template:
    return {
        **opening("Device"),
        "status": pl.col("status"),
        "manufacturer": pl.col("manufacturer"),
        "modelNumber": pl.col("model"),
        "type": concept(schema, "device", "code"),
        "patient": reference("Patient"),
    }


def _imaging_study(schema: Schema) -> Template:
    return {
        **opening("ImagingStudy"),
        "status": "available",
        "modality": [Pick(pl.col("modality"), coding(schema, "modality"))],
        "subject": reference("Patient"),
        "encounter": reference("Encounter"),
        "started": pl.col("at"),
        "numberOfSeries": pl.col("series"),
        "numberOfInstances": pl.col("instances"),
        "procedureCode": [concept(schema, "procedure", "code")],
        "series": [
            {
                "uid": Text("2.25.", pl.col("imaging_study_id")),
                "number": 1,
                "modality": Pick(pl.col("modality"), coding(schema, "modality")),
                "bodySite": Pick(pl.col("body_site"), coding(schema, "body_site")),
                "started": pl.col("at"),
                "instance": [
                    {
                        "uid": Text("2.25.", pl.col("imaging_study_id"), ".1"),
                        "sopClass": {"system": "urn:ietf:rfc:3986", "code": SOP},
                        "number": 1,
                    }
                ],
            }
        ],
    }


def _supply(schema: Schema) -> Template:
    return {
        **opening("SupplyDelivery"),
        "status": "completed",
        "patient": reference("Patient"),
        "type": term("supply-item-type", "device", "Device"),
        "suppliedItem": {
            "quantity": {"value": pl.col("quantity")},
            "itemCodeableConcept": concept(schema, "supply", "code"),
        },
        "occurrenceDateTime": pl.col("at"),
    }


def _administration(schema: Schema) -> Template:
    kept = schema.code_lists["formulary"].codes if "formulary" in schema.code_lists else {}
    shown = concept(schema, "medication", "code").constants
    return {
        **opening("MedicationAdministration"),
        "status": "completed",
        "medicationCodeableConcept": Pick(pl.col("code"), {c: v for c, v in shown.items() if c not in kept}),
        "medicationReference": Pick(pl.col("code"), {c: _of_drug(c) for c in kept}),
        "subject": reference("Patient"),
        "context": reference("Encounter"),
        "effectiveDateTime": pl.col("at"),
    }


def _of_drug(code: str) -> Template:
    return {"reference": f"Medication/{prefix('Medication')}{_drug_id(code)}"}


def _drug_id(code: str) -> str:
    """A code as a part of an id, which has letters, digits, hyphens and full stops alone (R4, 2.24.0.1)."""
    return re.sub(r"[^A-Za-z0-9.-]", "-", code)[:50]


def _medication(schema: Schema) -> Template:
    return {
        **opening("Medication", "us-core-medication"),
        "code": concept(schema, "formulary", "code"),
        "status": "active",
    }


def _formulary(schema: Schema, _: Tables) -> Table:
    codes = list(schema.code_lists["formulary"].codes)
    return pl.DataFrame({"drug_id": [_drug_id(c) for c in codes], "code": codes})


REFERENCE = {"Medication": Shape(("organization", "medication_administration"), _medication, _formulary, "formulary")}
"""What doses refer to: one resource for each drug that is given in care, the same for every patient."""
TYPES = {
    "Procedure": Shape(("procedure",), _procedure, table("procedure")),
    "Goal": Shape(("goal", "care_plan"), _goal, _goals),
    "CarePlan": Shape(("care_plan", "care_activity", "goal"), _care_plan, _plans),
    "AllergyIntolerance": Shape(("allergy",), _allergy, _allergies),
    "Device": Shape(("device",), _device, table("device")),
    "ImagingStudy": Shape(("imaging_study",), _imaging_study, table("imaging_study")),
    "SupplyDelivery": Shape(("supply",), _supply, table("supply")),
    "MedicationAdministration": Shape(
        ("medication_administration",), _administration, table("medication_administration")
    ),
}
