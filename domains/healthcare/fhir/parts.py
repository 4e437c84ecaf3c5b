"""What FHIR templates are made of: ids, references, codings, addresses, profiles."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, NamedTuple

import polars as pl

from ....core.render_json import Pick, Text
from ....core.schema import Schema
from ....core.tables import Table, Tables

US_CORE = "http://hl7.org/fhir/us/core/StructureDefinition"
"""US Core 6.1.0."""
TERMS = "http://terminology.hl7.org/CodeSystem"
KEYS = {
    "Organization": "organization_id",
    "Location": "organization_id",
    "Practitioner": "practitioner_id",
    "PractitionerRole": "practitioner_id",
    "Patient": "patient_id",
    "RelatedPerson": "relation_id",
    "Coverage": "coverage_id",
    "CareTeam": "patient_id",
    "Encounter": "encounter_id",
    "Condition": "condition_id",
    "Observation": "observation_id",
    "Media": "observation_id",
    "DiagnosticReport": "report_id",
    "MedicationRequest": "medication_request_id",
    "Immunization": "immunization_id",
    "DocumentReference": "encounter_id",
    "Provenance": "encounter_id",
    "Procedure": "procedure_id",
    "CarePlan": "care_plan_id",
    "Goal": "goal_id",
    "Medication": "drug_id",
    "AllergyIntolerance": "allergy_id",
    "Device": "device_id",
    "ImagingStudy": "imaging_study_id",
    "SupplyDelivery": "supply_id",
    "MedicationAdministration": "medication_administration_id",
    "Consent": "consent_id",
    "Claim": "claim_id",
    "ExplanationOfBenefit": "claim_id",
}
"""Each resource type's own key among its frame's columns."""

Template = dict[str, Any]


class Shape(NamedTuple):
    """How one resource type is made."""

    tables: tuple[str, ...]
    """Those that must be there."""
    template: Callable[[Schema], Any]
    """The template, or templates with the rows that take each."""
    prepare: Callable[..., Table]
    """The frame that they read, one resource a row."""
    list: str | None = None
    """A code list that must be there too."""
    priors: tuple[str, ...] = ()
    """Those whose values `prepare` takes beside the tables."""


def table(name: str) -> Callable[[Schema, Tables], Table]:
    return lambda _, tables: tables[name]


def resource_id(kind: str) -> Text:
    return Text(prefix(kind), pl.col(KEYS[kind]))


def reference(kind: str, column: str | None = None) -> Template:
    return {"reference": Text(f"{kind}/{prefix(kind)}", pl.col(column or KEYS[kind]))}


def prefix(kind: str) -> str:
    """How the ids of a resource type begin."""
    return re.sub(r"(?<!^)([A-Z])", r"-\1", kind).lower() + "-"


def opening(kind: str, profile: str | None = None) -> Template:
    """How every resource begins: its type, its id, and the US Core profile that it follows."""
    meta = {"meta": {"profile": [f"{US_CORE}/{profile}"]}} if profile else {}
    return {"resourceType": kind, "id": resource_id(kind), **meta}


def concept(schema: Schema, name: str, column: str, also: str | None = None) -> Pick:
    """A CodeableConcept for each code of a list; with `also`, its code in a second system."""
    codes, second = schema.code_lists[name], schema.code_lists.get(also or "")
    made = {}
    for code, display in codes.codes.items():
        coding = [{"system": codes.system_of(code), "code": code, "display": display}]
        if second and code in second.codes:
            coding.append({"system": second.system, "code": second.codes[code]})
        made[code] = {"coding": coding, "text": display}
    return Pick(pl.col(column), made)


def coding(schema: Schema, name: str) -> dict[str, Template]:
    codes = schema.code_lists[name]
    return {c: {"system": codes.system_of(c), "code": c, "display": d} for c, d in codes.codes.items()}


def term(system: str, code: str, display: str, text: str | None = None) -> Template:
    """A constant CodeableConcept of an HL7 code system, or of any other by its address."""
    where = system if ":" in system else f"{TERMS}/{system}"
    return {"coding": [{"system": where, "code": code, "display": display}], **({"text": text} if text else {})}


def listed(frame: Table, keys: str | list[str], one: pl.Expr, name: str, between: str = ",") -> Table:
    """One row for each key, in order of appearance, with the texts of its rows joined. Gathered first and joined as lists: three times as quick as to join
    group by group."""
    gathered = frame.select(keys, one.alias(name)).group_by(keys, maintain_order=True).agg(name)
    return gathered.with_columns(pl.col(name).list.join(between))


def telecom(use: str) -> list[Template]:
    return [{"system": "phone", "value": pl.col("phone"), "use": use}]


def only(schema: Schema, name: str) -> str:
    """The one code of a list that has one: the country, the currency."""
    return next(iter(schema.code_lists[name].codes))


def born() -> pl.Expr:
    """The date of birth, as much of it as is known."""
    length = (
        pl.col("birth_precision")
        .cast(pl.String)
        .replace_strict({"year": 4, "month": 7}, default=10, return_dtype=pl.Int64)
    )
    return pl.col("birth_date").cast(pl.String).str.slice(0, length)


def address(schema: Schema) -> Template:
    return {
        "line": [pl.col("line")],
        "city": pl.col("city"),
        "state": pl.col("state"),
        "postalCode": pl.col("postal_code"),
        "country": only(schema, "country"),
    }
