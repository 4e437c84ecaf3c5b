"""Places, roles, relatives and insurance as FHIR R4."""

from __future__ import annotations

import polars as pl

from ....core.render_json import Pick
from ....core.schema import Schema
from ....core.tables import Table, Tables
from .parts import Shape, Template, address, born, concept, opening, reference, telecom, term

MOTHER, SPOUSE = 0, 1


def _location(schema: Schema) -> Template:
    kinds = {
        "hospital": term("v3-RoleCode", "HOSP", "Hospital"),
        "clinic": term("v3-RoleCode", "OF", "Outpatient facility"),
        "urgent": term("v3-RoleCode", "OF", "Outpatient facility"),
    }
    return {
        **opening("Location", "us-core-location"),
        "status": "active",
        "name": pl.col("name"),
        "type": [Pick(pl.col("kind"), kinds)],
        "telecom": telecom("work"),
        "address": address(schema),
        "managingOrganization": reference("Organization"),
    }


def _practitioner_role(schema: Schema) -> Template:
    return {
        **opening("PractitionerRole", "us-core-practitionerrole"),
        "active": True,
        "practitioner": reference("Practitioner"),
        "organization": reference("Organization"),
        "code": [term("http://nucc.org/provider-taxonomy", "208D00000X", "General Practice Physician", "Physician")],
        "specialty": [concept(schema, "specialty", "specialty")],
        "location": [reference("Location")],
        "telecom": telecom("work"),
    }


def _with_phone(_: Schema, tables: Tables) -> Table:
    phone = tables["organization"].select("organization_id", "phone")
    return tables["practitioner"].join(phone, on="organization_id", how="left", maintain_order="left")


def _related_person(schema: Schema) -> Template:
    kinds = {
        "mother": term("v3-RoleCode", "MTH", "mother"),
        "spouse": term("v3-RoleCode", "SPS", "spouse"),
    }
    return {
        **opening("RelatedPerson", "us-core-relatedperson"),
        "identifier": [{"system": "urn:oid:2.16.840.1.113883.19.5", "value": pl.col("mrn")}],
        "active": True,
        "patient": reference("Patient"),
        "relationship": [Pick(pl.col("relation"), kinds)],
        "name": [{"use": "official", "family": pl.col("family_name"), "given": [pl.col("given_name")]}],
        "telecom": telecom("home"),
        "gender": pl.col("sex"),
        "birthDate": pl.col("born"),
        "address": [address(schema)],
    }


def _relatives(_: Schema, tables: Tables) -> Table:
    """Mothers and spouses who are patients too: each of a couple is the other's."""
    people = tables["patient"]
    who = people.select(
        "mrn",
        "given_name",
        "family_name",
        "phone",
        "sex",
        "line",
        "city",
        "state",
        "postal_code",
        born=born(),
        other="patient_id",
    )
    wed = people.filter(pl.col("spouse_id").is_not_null()).select("patient_id", "spouse_id")
    links = pl.concat(
        [
            people.select("patient_id", other="mother_id", relation=pl.lit("mother")),
            wed.select("patient_id", other="spouse_id", relation=pl.lit("spouse")),
            wed.select(patient_id="spouse_id", other="patient_id", relation=pl.lit("spouse")),
        ]
    ).filter(pl.col("other").is_not_null())
    here = links.join(who, on="other").join(people.select("patient_id"), on="patient_id", how="semi")
    number = pl.when(pl.col("relation") == "mother").then(MOTHER).otherwise(SPOUSE)
    return here.with_columns(relation_id=pl.col("patient_id") * 2 + number).sort("relation_id")


def _coverage(schema: Schema) -> Template:
    return {
        **opening("Coverage", "us-core-coverage"),
        "identifier": [
            {
                "type": term("v2-0203", "MB", "Member Number"),
                "system": "urn:oid:2.16.840.1.113883.19.7",
                "value": pl.col("member_number"),
            }
        ],
        "status": Pick(pl.col("running"), {"true": "active", "false": "cancelled"}),
        "type": concept(schema, "coverage_kind", "kind"),
        "subscriberId": pl.col("member_number"),
        "beneficiary": reference("Patient"),
        "relationship": term("subscriber-relationship", "self", "Self"),
        "period": {"start": pl.col("start_at"), "end": pl.col("end_at")},
        "payor": [reference("Organization")],
    }


def _policies(_: Schema, tables: Tables) -> Table:
    running = pl.when(pl.col("end_at").is_null()).then(pl.lit("true")).otherwise(pl.lit("false"))
    return tables["coverage"].with_columns(running=running)


def _care_team(schema: Schema) -> Template:
    return {
        **opening("CareTeam", "us-core-careteam"),
        "status": Pick(pl.col("alive"), {"true": "active", "false": "inactive"}),
        "name": "Primary care team",
        "subject": reference("Patient"),
        "participant": [
            {
                "role": [term("http://snomed.info/sct", "453231000124104", "Primary care provider (occupation)")],
                "member": reference("Practitioner"),
                "onBehalfOf": reference("Organization"),
            },
            {
                "role": [term("http://snomed.info/sct", "116154003", "Patient (person)")],
                "member": reference("Patient"),
            },
        ],
        "managingOrganization": [reference("Organization")],
    }


def _teams(_: Schema, tables: Tables) -> Table:
    alive = pl.when(pl.col("death_at").is_null()).then(pl.lit("true")).otherwise(pl.lit("false"))
    return tables["patient"].with_columns(alive=alive)


def _places(schema: Schema, tables: Tables) -> Table:
    insurers = list(schema.code_lists["coverage_kind"].codes)
    return tables["organization"].filter(~pl.col("kind").cast(pl.String).is_in(insurers))


def _consent(_: Schema) -> Template:
    return {
        **opening("Consent"),
        "status": Pick(pl.col("running"), {"true": "active", "false": "inactive"}),
        "scope": term("consentscope", "patient-privacy", "Privacy Consent"),
        "category": [term("http://loinc.org", "59284-0", "Consent Document")],
        "patient": reference("Patient"),
        "dateTime": pl.col("at"),
        "policyRule": term("v3-ActCode", "OPTIN", "opt-in"),
        "provision": {"type": "permit", "period": {"start": pl.col("at"), "end": pl.col("end_at")}},
    }


def _consents(_: Schema, tables: Tables) -> Table:
    running = pl.when(pl.col("end_at").is_null()).then(pl.lit("true")).otherwise(pl.lit("false"))
    return tables["consent"].with_columns(running=running)


REFERENCE = {
    "Location": Shape(("organization",), _location, _places),
    "PractitionerRole": Shape(("practitioner", "organization"), _practitioner_role, _with_phone),
}
OF_PATIENTS = {
    "RelatedPerson": Shape(("patient",), _related_person, _relatives),
    "Coverage": Shape(("coverage",), _coverage, _policies),
    "CareTeam": Shape(("patient",), _care_team, _teams),
    "Consent": Shape(("consent",), _consent, _consents),
}
