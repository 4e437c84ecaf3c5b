"""FHIR R4 resources as templates over the tables: what stands here is what is written, one resource a row. Profiles followed: US Core 6.1.0."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import polars as pl

from ....core.priors import Priors
from ....core.render_json import Pick, Text, render_cases
from ....core.schema import Schema
from ....core.tables import Table, Tables
from . import administrative, bills, care, documents, files, observed
from .parts import (
    TERMS,
    US_CORE,
    Shape,
    Template,
    address,
    born,
    coding,
    concept,
    opening,
    reference,
    table,
    telecom,
    term,
)

PIECE = 1 << 15
"""Resources that are made at a time, some more where a patient's do not end there."""
PROVIDER, INSURER = ("prov", "Healthcare Provider"), ("ins", "Insurance Company")


def kinds(schema: Schema, tables: Tables) -> list[str]:
    """The resource types whose tables are there, and have rows to make them of."""
    there = [(kind, shape) for kind, shape in TYPES.items() if tables.keys() >= set(shape.tables)]
    there = [(kind, shape) for kind, shape in there if shape.list is None or shape.list in schema.code_lists]
    return [kind for kind, shape in there if tables[shape.tables[0]].height]


def resource(
    schema: Schema, priors: Priors, tables: Tables, kind: str, template: Any = None
) -> tuple[Table, pl.Series]:
    """The frame that the rows of a resource type come from, and the resources as JSON text, aligned. `template` is the type's, if it is at hand."""
    shape = TYPES[kind]
    frame = shape.prepare(schema, tables, *map(priors, shape.priors))
    template = template or shape.template(schema)
    return frame, render_cases(frame, template if isinstance(template, list) else [(pl.lit(True), template)])


def cuts(tables: Tables) -> dict[str, pl.Series]:
    """Whose rows they are, of each table that has patients; nothing if rows of one do not stand in the order of patients."""
    who = {name: t["patient_id"] for name, t in tables.items() if "patient_id" in t.columns}
    return who if all(ids.is_sorted() and not ids.null_count() for ids in who.values()) else {}


def pieces(tables: Tables, who: Mapping[str, pl.Series], kind: str) -> Iterator[Tables]:
    """The tables as a resource type needs them, some patients after others, so that the text of its rows stays in the processor's cache."""
    ids = who.get(TYPES[kind].tables[0])
    if ids is None or len(ids) <= PIECE or kind == "RelatedPerson":  # a patient's relative may be any other
        yield tables
        return
    last = ids.gather(list(range(PIECE, len(ids), PIECE))).unique(maintain_order=True)
    edges = {name: [0, *w.search_sorted(last.cast(w.dtype), side="right").to_list(), len(w)] for name, w in who.items()}
    for n in range(len(last) + 1):
        yield {**tables, **{name: tables[name].slice(e[n], e[n + 1] - e[n]) for name, e in edges.items()}}


def resources(schema: Schema, priors: Priors, tables: Tables) -> dict[str, tuple[Table, pl.Series]]:
    """Every resource type whose tables are there, as `resource` makes it."""
    return {kind: resource(schema, priors, tables, kind) for kind in kinds(schema, tables)}


def _organization(schema: Schema) -> Template:
    kinds = schema.code_lists["organization_kind"]
    types = {
        k: term("organization-type", *(INSURER if k in schema.code_lists["coverage_kind"].codes else PROVIDER), text=d)
        for k, d in kinds.codes.items()
    }
    return {
        **opening("Organization", "us-core-organization"),
        "active": True,
        "type": [Pick(pl.col("kind"), types)],
        "name": pl.col("name"),
        "telecom": telecom("work"),
        "address": [address(schema)],
    }


def _practitioner(schema: Schema) -> Template:
    return {
        **opening("Practitioner", "us-core-practitioner"),
        "identifier": [{"system": schema.code_lists["license"].system, "value": pl.col("npi")}],
        "active": True,
        "name": [{"family": pl.col("family_name"), "given": [pl.col("given_name")], "prefix": ["Dr."]}],
        "gender": pl.col("sex"),
        "qualification": [{"code": concept(schema, "specialty", "specialty"), "issuer": reference("Organization")}],
    }


def _patient(schema: Schema) -> list[tuple[pl.Expr, Template]]:
    def category(url: str, column: str) -> Template:
        text = Pick(pl.col(column), dict(schema.code_lists[column].codes))
        omb = {"url": "ombCategory", "valueCoding": Pick(pl.col(column), coding(schema, column))}
        return {"url": f"{US_CORE}/{url}", "extension": [omb, {"url": "text", "valueString": text}]}

    number = []
    if "national_id" in schema["patient"].columns:
        said = schema.code_lists["national_identifier"]
        kind = term("v2-0203", "NI", "National unique individual identifier", next(iter(said.codes.values())))
        number = [{"use": "official", "type": kind, "system": said.system, "value": pl.col("national_id")}]
    made = {
        **opening("Patient", "us-core-patient"),
        "extension": [
            # race outside the five OMB categories of the profile is not a category there, so it is text alone
            {
                "url": f"{US_CORE}/us-core-race",
                "extension": [
                    {
                        "url": "ombCategory",
                        "valueCoding": Pick(
                            pl.col("race"), {k: v for k, v in coding(schema, "race").items() if k != "2131-1"}
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
            },
            *number,
        ],
        "active": True,
        "name": [
            {
                "use": "official",
                "family": pl.col("family_name"),
                "given": [pl.col("given_name"), pl.col("middle_name")],
            }
        ],
        "telecom": telecom("home"),
        "gender": pl.col("sex"),
        "birthDate": pl.col("born"),
        "deceasedDateTime": pl.col("death_at"),
        "address": [address(schema)],
        "maritalStatus": concept(schema, "marital_status", "marital_status"),
        "communication": [{"language": concept(schema, "language", "language"), "preferred": True}],
        "generalPractitioner": [reference("Practitioner")],
        "managingOrganization": reference("Organization"),
        "link": [{"other": reference("Patient", "link_id"), "type": pl.col("link_type")}],
    }
    retired = pl.col("link_type").cast(pl.String) == "replaced-by"
    return [(retired.fill_null(False), {**made, "active": False}), (pl.lit(True), made)]


def _people(_: Schema, tables: Tables) -> Table:
    return tables["patient"].with_columns(born=born())


def _encounter(schema: Schema) -> Template:
    return {
        **opening("Encounter", "us-core-encounter"),
        "identifier": [{"system": "urn:oid:2.16.840.1.113883.19.6", "value": Text(pl.col("encounter_id"))}],
        "status": "finished",
        "class": Pick(pl.col("class"), coding(schema, "encounter_class")),
        "type": [concept(schema, "encounter_type", "type")],
        "subject": reference("Patient"),
        "participant": [
            {
                "type": [term("v3-ParticipationType", "PPRF", "primary performer")],
                "period": {"start": pl.col("start_at"), "end": pl.col("end_at")},
                "individual": reference("Practitioner"),
            }
        ],
        "period": {"start": pl.col("start_at"), "end": pl.col("end_at")},
        "reasonCode": [concept(schema, "condition", "reason", "condition_snomed")],
        "hospitalization": {"dischargeDisposition": concept(schema, "disposition", "disposition")},
        "location": [{"location": reference("Location")}],
        "serviceProvider": reference("Organization"),
    }


def _condition(schema: Schema) -> list[tuple[pl.Expr, Template]]:
    def kind(profile: str, code: str, display: str) -> Template:
        return {
            **opening("Condition", profile),
            "clinicalStatus": concept(schema, "condition_status", "status"),
            "verificationStatus": term("condition-ver-status", "confirmed", "Confirmed"),
            "category": [term("condition-category", code, display)],
            "code": concept(schema, "condition", "code", "condition_snomed"),
            "subject": reference("Patient"),
            "encounter": reference("Encounter"),
            "onsetDateTime": pl.col("onset_at"),
            "abatementDateTime": pl.col("abatement_at"),
            "recordedDate": pl.col("onset_at"),
        }

    found = kind("us-core-condition-encounter-diagnosis", "encounter-diagnosis", "Encounter Diagnosis")
    listed = kind("us-core-condition-problems-health-concerns", "problem-list-item", "Problem List Item")
    return [(pl.col("encounter_id").is_not_null(), found), (pl.lit(True), listed)]


def _medication_request(schema: Schema) -> Template:
    return {
        **opening("MedicationRequest", "us-core-medicationrequest"),
        "status": pl.col("status"),
        "intent": "order",
        "category": [
            Pick(
                pl.col("class"),
                {
                    "IMP": term("medicationrequest-category", "inpatient", "Inpatient"),
                    **dict.fromkeys(
                        ("AMB", "EMER", "VR"), term("medicationrequest-category", "outpatient", "Outpatient")
                    ),
                    "HH": term("medicationrequest-category", "community", "Community"),
                },
            )
        ],
        "reportedBoolean": False,
        "medicationCodeableConcept": concept(schema, "medication", "code"),
        "subject": reference("Patient"),
        "encounter": reference("Encounter"),
        "authoredOn": pl.col("at"),
        "requester": reference("Practitioner"),
        "reasonReference": [reference("Condition")],
        "dosageInstruction": [
            {
                "text": Text("as directed, supply for ", pl.col("days"), " days"),
                "timing": {"repeat": {"frequency": pl.col("per_day"), "period": 1, "periodUnit": "d"}},
                "doseAndRate": [
                    {
                        "doseQuantity": {
                            "value": pl.col("dose"),
                            "unit": "mg",
                            "system": "http://unitsofmeasure.org",
                            "code": "mg",
                        }
                    }
                ],
            }
        ],
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
        **opening("Immunization", "us-core-immunization"),
        "status": "completed",
        "vaccineCode": concept(schema, "vaccine", "code"),
        "patient": reference("Patient"),
        "encounter": reference("Encounter"),
        "occurrenceDateTime": pl.col("at"),
        "primarySource": True,
        "protocolApplied": [{"doseNumberPositiveInt": pl.col("dose")}],
    }


def _with_requester(_: Schema, tables: Tables) -> Table:
    """Who saw the patient; of a prescription that was written at no encounter of the record, the general practitioner."""
    who = tables["encounter"].select("encounter_id", "practitioner_id", "class")
    own = tables["patient"].select("patient_id", own="practitioner_id")
    asked = tables["medication_request"].join(who, on="encounter_id", how="left", maintain_order="left")
    asked = asked.join(own, on="patient_id", how="left", maintain_order="left")
    return asked.with_columns(practitioner_id=pl.coalesce("practitioner_id", "own")).drop("own")


TYPES: dict[str, Shape] = {
    "Organization": Shape(("organization",), _organization, table("organization")),
    "Practitioner": Shape(("practitioner",), _practitioner, table("practitioner")),
    **administrative.REFERENCE,
    **care.REFERENCE,
    "Patient": Shape(("patient",), _patient, _people),
    **administrative.OF_PATIENTS,
    "Encounter": Shape(("encounter",), _encounter, table("encounter")),
    "Condition": Shape(("condition",), _condition, table("condition")),
    **observed.TYPES,
    **files.TYPES,
    "MedicationRequest": Shape(("medication_request", "encounter", "patient"), _medication_request, _with_requester),
    "Immunization": Shape(("immunization",), _immunization, table("immunization")),
    **care.TYPES,
    **documents.TYPES,
    **bills.TYPES,
}
"""Resource types, each after those that it refers to."""

REFERENCE = ("Organization", "Practitioner", *administrative.REFERENCE, *care.REFERENCE)
"""Those that are the same for every patient."""
