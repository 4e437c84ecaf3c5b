"""What disease modules record beyond diagnoses, values and prescriptions, as FHIR R4: procedures, plans, allergies, devices, images, supplies, doses."""

from __future__ import annotations

import json
from html import escape

import polars as pl

from ....core.render_json import Pick, Raw, Text
from ....core.schema import Schema
from ....core.tables import Table, Tables
from .parts import Shape, Template, coding, concept, opening, reference, table, term

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
        "activity": Raw(pl.col("activities")),
    }


def _plans(schema: Schema, tables: Tables) -> Table:
    plans = tables["care_plan"].with_columns(
        status=pl.when(pl.col("end_at").is_null()).then(pl.lit("active")).otherwise(pl.lit("completed"))
    )
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
    return _with_list(plans, activities.sort("care_activity_id"), "care_plan_id", one, "activities")


def _with_list(frame: Table, parts: Table, key: str, one: pl.Expr, name: str) -> Table:
    """The frame with a JSON array of its parts, null where it has none."""
    joined = parts.group_by(key, maintain_order=True).agg(one.str.join(",").alias(name))
    joined = joined.with_columns(pl.concat_str(pl.lit("["), name, pl.lit("]")).alias(name))
    return frame.join(joined, on=key, how="left", maintain_order="left")


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
        "reaction": Raw(pl.col("reactions")),
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
    return {
        **opening("MedicationAdministration"),
        "status": "completed",
        "medicationCodeableConcept": concept(schema, "medication", "code"),
        "subject": reference("Patient"),
        "context": reference("Encounter"),
        "effectiveDateTime": pl.col("at"),
    }


TYPES = {
    "Procedure": Shape(("procedure",), _procedure, table("procedure")),
    "CarePlan": Shape(("care_plan", "care_activity"), _care_plan, _plans),
    "AllergyIntolerance": Shape(("allergy",), _allergy, _allergies),
    "Device": Shape(("device",), _device, table("device")),
    "ImagingStudy": Shape(("imaging_study",), _imaging_study, table("imaging_study")),
    "SupplyDelivery": Shape(("supply",), _supply, table("supply")),
    "MedicationAdministration": Shape(
        ("medication_administration",), _administration, table("medication_administration")
    ),
}
