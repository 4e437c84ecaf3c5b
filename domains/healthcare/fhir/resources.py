"""FHIR R4 resources as templates over the tables: what stands here is what is written, one resource a row.

Profiles followed: US Core 6.1.0 (race, ethnicity, birth sex) and the R4 vital signs profile, whose blood pressure is one Observation
with a systolic and a diastolic component."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import polars as pl

from ....core.render_json import Pick, Text, render_cases
from ....core.schema import Schema
from ....core.tables import Table, Tables
from ..physiology import DIASTOLIC, SYSTOLIC

REFERENCE, INSIDE = (
    ("Organization", "Practitioner"),
    (
        "Patient",
        "Encounter",
        "Condition",
        "Observation",
        "MedicationRequest",
        "Immunization",
    ),
)
"""Resource types, each after those that it refers to."""

US_CORE = "http://hl7.org/fhir/us/core/StructureDefinition"
TERMS = "http://terminology.hl7.org/CodeSystem"
PRESSURE_PANEL = {
    "system": "http://loinc.org",
    "code": "85354-9",
    "display": "Blood pressure panel with all children optional",
}

Template = dict[str, Any]


def resources(schema: Schema, tables: Tables) -> dict[str, tuple[Table, pl.Series]]:
    """Per resource type: the frame that its rows come from, and the resources as JSON text, aligned. Only for tables that are there."""
    made = {}
    for kind, (table, template, prepare) in TYPES.items():
        if table in tables:
            frame = prepare(tables)
            shape = template(schema)
            cases = shape if isinstance(shape, list) else [(pl.lit(True), shape)]
            made[kind] = (frame, render_cases(frame, cases))
    return made


def resource_id(kind: str) -> Text:
    return Text(f"{TYPES[kind][0].replace('_', '-')}-", pl.col(f"{TYPES[kind][0]}_id"))


def reference(kind: str, column: str | None = None) -> Template:
    table = TYPES[kind][0]
    return {"reference": Text(f"{kind}/{table.replace('_', '-')}-", pl.col(column or f"{table}_id"))}


def concept(schema: Schema, name: str, column: str, also: str | None = None) -> Pick:
    """A CodeableConcept for each code of a list; with `also`, its code in a second system."""
    codes, second = schema.code_lists[name], schema.code_lists.get(also or "")
    made = {}
    for code, display in codes.codes.items():
        coding = [{"system": codes.system, "code": code, "display": display}]
        if second:
            coding.append({"system": second.system, "code": second.codes[code]})
        made[code] = {"coding": coding, "text": display}
    return Pick(pl.col(column), made)


def _coding(schema: Schema, name: str) -> dict[str, Template]:
    codes = schema.code_lists[name]
    return {c: {"system": codes.system, "code": c, "display": d} for c, d in codes.codes.items()}


def _telecom(use: str) -> list[Template]:
    return [{"system": "phone", "value": pl.col("phone"), "use": use}]


def _address() -> Template:
    return {
        "line": [pl.col("line")],
        "city": pl.col("city"),
        "state": pl.col("state"),
        "postalCode": pl.col("postal_code"),
        "country": "US",
    }


def _organization(schema: Schema) -> Template:
    kinds = schema.code_lists["organization_kind"]
    types = {
        k: {"coding": [{"system": kinds.system, "code": "prov", "display": "Healthcare Provider"}], "text": d}
        for k, d in kinds.codes.items()
    }
    return {
        "resourceType": "Organization",
        "id": resource_id("Organization"),
        "active": True,
        "type": [Pick(pl.col("kind"), types)],
        "name": pl.col("name"),
        "telecom": _telecom("work"),
        "address": [_address()],
    }


def _practitioner(schema: Schema) -> Template:
    return {
        "resourceType": "Practitioner",
        "id": resource_id("Practitioner"),
        "identifier": [{"system": "http://hl7.org/fhir/sid/us-npi", "value": pl.col("npi")}],
        "active": True,
        "name": [{"family": pl.col("family_name"), "given": [pl.col("given_name")], "prefix": ["Dr."]}],
        "gender": pl.col("sex"),
        "qualification": [{"code": concept(schema, "specialty", "specialty"), "issuer": reference("Organization")}],
    }


def _patient(schema: Schema) -> Template:
    def category(url: str, column: str) -> Template:
        text = Pick(pl.col(column), dict(schema.code_lists[column].codes))
        omb = {"url": "ombCategory", "valueCoding": Pick(pl.col(column), _coding(schema, column))}
        return {"url": f"{US_CORE}/{url}", "extension": [omb, {"url": "text", "valueString": text}]}

    return {
        "resourceType": "Patient",
        "id": resource_id("Patient"),
        "extension": [
            # race outside the five OMB categories of the profile is not a category there, so it is text alone
            {
                "url": f"{US_CORE}/us-core-race",
                "extension": [
                    {
                        "url": "ombCategory",
                        "valueCoding": Pick(
                            pl.col("race"), {k: v for k, v in _coding(schema, "race").items() if k != "2131-1"}
                        ),
                    },
                    {"url": "text", "valueString": Pick(pl.col("race"), dict(schema.code_lists["race"].codes))},
                ],
            },
            category("us-core-ethnicity", "ethnicity"),
            {"url": f"{US_CORE}/us-core-birthsex", "valueCode": Pick(pl.col("sex"), {"female": "F", "male": "M"})},
        ],
        "identifier": [
            {
                "use": "usual",
                "type": {"coding": [{"system": f"{TERMS}/v2-0203", "code": "MR", "display": "Medical Record Number"}]},
                "system": "urn:oid:2.16.840.1.113883.19.5",
                "value": pl.col("mrn"),
            }
        ],
        "active": True,
        "name": [
            {
                "use": "official",
                "family": pl.col("family_name"),
                "given": [pl.col("given_name"), pl.col("middle_name")],
            }
        ],
        "telecom": _telecom("home"),
        "gender": pl.col("sex"),
        "birthDate": pl.col("birth_date"),
        "deceasedDateTime": pl.col("death_at"),
        "address": [_address()],
        "maritalStatus": concept(schema, "marital_status", "marital_status"),
        "communication": [{"language": concept(schema, "language", "language"), "preferred": True}],
        "generalPractitioner": [reference("Practitioner")],
        "managingOrganization": reference("Organization"),
    }


def _encounter(schema: Schema) -> Template:
    return {
        "resourceType": "Encounter",
        "id": resource_id("Encounter"),
        "status": "finished",
        "class": Pick(pl.col("class"), _coding(schema, "encounter_class")),
        "type": [concept(schema, "encounter_type", "type")],
        "subject": reference("Patient"),
        "participant": [{"individual": reference("Practitioner")}],
        "period": {"start": pl.col("start_at"), "end": pl.col("end_at")},
        "reasonCode": [concept(schema, "condition", "reason", "condition_snomed")],
        "hospitalization": {"dischargeDisposition": concept(schema, "disposition", "disposition")},
        "serviceProvider": reference("Organization"),
    }


def _condition(schema: Schema) -> Template:
    verified = {"coding": [{"system": f"{TERMS}/condition-ver-status", "code": "confirmed"}]}
    found = {"coding": [{"system": f"{TERMS}/condition-category", "code": "encounter-diagnosis"}]}
    listed = {"coding": [{"system": f"{TERMS}/condition-category", "code": "problem-list-item"}]}
    return {
        "resourceType": "Condition",
        "id": resource_id("Condition"),
        "clinicalStatus": concept(schema, "condition_status", "status"),
        "verificationStatus": verified,
        "category": [Pick(pl.col("category"), {"found": found, "listed": listed})],
        "code": concept(schema, "condition", "code", "condition_snomed"),
        "subject": reference("Patient"),
        "encounter": reference("Encounter"),
        "onsetDateTime": pl.col("onset_at"),
        "abatementDateTime": pl.col("abatement_at"),
    }


def _observation(schema: Schema) -> list[tuple[pl.Expr, Template]]:
    unit, category = (schema.code_lists[f"observation_{n}"] for n in ("unit", "category"))
    codings = _coding(schema, "observation")

    def quantity(code: str, value: str) -> Template:
        return {"value": pl.col(value), "unit": unit.codes[code], "system": unit.system, "code": unit.codes[code]}

    def common(kind: Any, code: Any) -> Template:
        return {
            "resourceType": "Observation",
            "id": resource_id("Observation"),
            "status": "final",
            "category": [{"coding": [{"system": category.system, "code": kind}]}],
            "code": code,
            "subject": reference("Patient"),
            "encounter": reference("Encounter"),
            "effectiveDateTime": pl.col("at"),
        }

    ucum = Pick(pl.col("code"), dict(unit.codes))
    single = {
        **common(Pick(pl.col("code"), dict(category.codes)), concept(schema, "observation", "code")),
        "valueQuantity": {"value": pl.col("value"), "unit": ucum, "system": unit.system, "code": ucum},
    }
    panel = {
        **common(category.codes[SYSTOLIC], {"coding": [PRESSURE_PANEL], "text": "Blood pressure"}),
        "component": [
            {"code": {"coding": [codings[SYSTOLIC]]}, "valueQuantity": quantity(SYSTOLIC, "value")},
            {"code": {"coding": [codings[DIASTOLIC]]}, "valueQuantity": quantity(DIASTOLIC, "diastolic")},
        ],
    }
    return [(pl.col("code") == SYSTOLIC, panel), (pl.lit(True), single)]


def _medication_request(schema: Schema) -> Template:
    return {
        "resourceType": "MedicationRequest",
        "id": resource_id("MedicationRequest"),
        "status": pl.col("status"),
        "intent": "order",
        "medicationCodeableConcept": concept(schema, "medication", "code"),
        "subject": reference("Patient"),
        "encounter": reference("Encounter"),
        "authoredOn": pl.col("at"),
        "requester": reference("Practitioner"),
        "reasonReference": [reference("Condition")],
        "dispenseRequest": {
            "expectedSupplyDuration": {
                "value": pl.col("days"),
                "unit": "d",
                "system": "http://unitsofmeasure.org",
                "code": "d",
            }
        },
    }


def _immunization(schema: Schema) -> Template:
    return {
        "resourceType": "Immunization",
        "id": resource_id("Immunization"),
        "status": "completed",
        "vaccineCode": concept(schema, "vaccine", "code"),
        "patient": reference("Patient"),
        "encounter": reference("Encounter"),
        "occurrenceDateTime": pl.col("at"),
        "primarySource": True,
        "protocolApplied": [{"doseNumberPositiveInt": pl.col("dose")}],
    }


def _table(name: str) -> Callable[[Tables], Table]:
    return lambda tables: tables[name]


def _found_or_listed(tables: Tables) -> Table:
    known = pl.col("encounter_id").is_not_null()
    return tables["condition"].with_columns(category=pl.when(known).then(pl.lit("found")).otherwise(pl.lit("listed")))


def _with_requester(tables: Tables) -> Table:
    who = tables["encounter"].select("encounter_id", "practitioner_id")
    return tables["medication_request"].join(who, on="encounter_id", how="left", maintain_order="left")


def _pressure_joined(tables: Tables) -> Table:
    """The two blood pressures of one moment in one row, under the systolic one's key; every other row as it is."""
    frame = tables["observation"]
    code, moment = pl.col("code"), ["encounter_id", "at"]
    low = frame.filter(code == DIASTOLIC).select(*moment, diastolic="value").unique(moment, keep="first")
    high = frame.filter(code == SYSTOLIC).join(low, on=moment, how="left").select("observation_id", "diastolic")
    return frame.filter(code != DIASTOLIC).join(high, on="observation_id", how="left", maintain_order="left")


TYPES: dict[str, tuple[str, Callable[[Schema], Any], Callable[[Tables], Table]]] = {
    "Organization": ("organization", _organization, _table("organization")),
    "Practitioner": ("practitioner", _practitioner, _table("practitioner")),
    "Patient": ("patient", _patient, _table("patient")),
    "Encounter": ("encounter", _encounter, _table("encounter")),
    "Condition": ("condition", _condition, _found_or_listed),
    "Observation": ("observation", _observation, _pressure_joined),
    "MedicationRequest": ("medication_request", _medication_request, _with_requester),
    "Immunization": ("immunization", _immunization, _table("immunization")),
}
"""Resource type: its table, its template (or templates with the rows that take each), and the frame that they read."""
