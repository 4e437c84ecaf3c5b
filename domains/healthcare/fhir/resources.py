"""FHIR R4 resources as templates over the tables: what stands here is what is written, one resource a row.

Profiles followed: US Core 6.1.0, whose blood pressure is one Observation with a systolic and a diastolic component, and whose pulse
oximetry has two codes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import polars as pl

from ....core.priors import Priors
from ....core.render_json import Pick, Text, render_cases
from ....core.schema import Schema
from ....core.tables import Table, Tables
from ..physiology import (
    BMI,
    DIASTOLIC,
    HEART_RATE,
    HEIGHT,
    RESPIRATORY_RATE,
    SATURATION,
    SYSTOLIC,
    TEMPERATURE,
    WEIGHT,
)
from . import administrative, bills, care, documents, files, waveform
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
SMOKING = "72166-2"
ASSESSMENT = "us-core-observation-screening-assessment"
NEEDS = ("71802-3", "88122-7", "93030-5", "82589-3", "67875-5", "63586-2")
"""LOINC: questions on social determinants of health."""
SOCIAL = {"system": "http://hl7.org/fhir/us/core/CodeSystem/us-core-category", "code": "sdoh", "display": "SDOH"}
"""LOINC: tobacco smoking status."""
PIECE = 1 << 15
"""Resources that are made at a time, some more where a patient's do not end there."""
PROVIDER, INSURER = ("prov", "Healthcare Provider"), ("ins", "Insurance Company")
VITAL_SIGNS = {
    HEIGHT: "us-core-body-height",
    WEIGHT: "us-core-body-weight",
    BMI: "us-core-bmi",
    HEART_RATE: "us-core-heart-rate",
    RESPIRATORY_RATE: "us-core-respiratory-rate",
    TEMPERATURE: "us-core-body-temperature",
    SATURATION: "us-core-pulse-oximetry",
}
"""The US Core profile of each vital sign."""


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


TYPES: dict[str, Shape] = {
    "Organization": Shape(("organization",), _organization, table("organization")),
    "Practitioner": Shape(("practitioner",), _practitioner, table("practitioner")),
    **administrative.REFERENCE,
    **care.REFERENCE,
    "Patient": Shape(("patient",), _patient, _people),
    **administrative.OF_PATIENTS,
    "Encounter": Shape(("encounter",), _encounter, table("encounter")),
    "Condition": Shape(("condition",), _condition, table("condition")),
    "Observation": Shape(("observation",), _observation, _measured, priors=waveform.PRIORS),
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
