"""What is read of each FHIR R4 resource, as nested shapes: a mapping is an object, a list of one an array, a name a type of Arrow."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import polars as pl

if TYPE_CHECKING:
    import pyarrow as pa

TEXT, NUMBER, COUNT, TRUTH = "string", "float64", "int64", "bool"
CODING = {"system": TEXT, "code": TEXT, "display": TEXT}
CONCEPT = {"coding": [CODING], "text": TEXT}
REFERENCE = {"reference": TEXT}
PERIOD = {"start": TEXT, "end": TEXT}
QUANTITY = {"value": NUMBER, "unit": TEXT, "code": TEXT}
MONEY = {"value": NUMBER}
NAME = {"use": TEXT, "family": TEXT, "given": [TEXT]}
CONTACT = {"system": TEXT, "value": TEXT}
IDENTIFIER = {"type": CONCEPT, "system": TEXT, "value": TEXT}
ADDRESS = {"line": [TEXT], "city": TEXT, "state": TEXT, "postalCode": TEXT, "country": TEXT}
VALUES = {
    "valueQuantity": QUANTITY, "valueCodeableConcept": CONCEPT, "valueString": TEXT, "valueInteger": COUNT, "valueBoolean": TRUTH,
    "valueSampledData": {
        "origin": {"value": NUMBER, "unit": TEXT, "code": TEXT}, "period": NUMBER, "factor": NUMBER, "lowerLimit": NUMBER,
        "upperLimit": NUMBER, "dimensions": COUNT, "data": TEXT,
    },
}  # fmt: skip
BILLED = {"item": [{"encounter": [REFERENCE]}], "diagnosis": [{"diagnosisCodeableConcept": CONCEPT}]}
PLACE = {"identifier": [IDENTIFIER], "name": TEXT, "telecom": [CONTACT]}

SHAPES: dict[str, dict[str, Any]] = {
    "Organization": {**PLACE, "type": [CONCEPT], "address": [ADDRESS]},
    "Practitioner": {
        "identifier": [IDENTIFIER], "name": [NAME], "gender": TEXT, "qualification": [{"code": CONCEPT, "issuer": REFERENCE}],
    },
    "PractitionerRole": {"practitioner": REFERENCE, "organization": REFERENCE, "specialty": [CONCEPT]},
    "Patient": {
        "identifier": [IDENTIFIER], "name": [NAME], "telecom": [CONTACT], "gender": TEXT, "birthDate": TEXT, "deceasedDateTime": TEXT,
        "address": [ADDRESS], "maritalStatus": CONCEPT, "communication": [{"language": CONCEPT}], "generalPractitioner": [REFERENCE],
        "managingOrganization": REFERENCE,
        "extension": [{"url": TEXT, "extension": [{"url": TEXT, "valueCoding": CODING, "valueString": TEXT}]}],
        "link": [{"other": REFERENCE, "type": TEXT}],
    },
    "RelatedPerson": {"patient": REFERENCE, "identifier": [IDENTIFIER], "relationship": [CONCEPT]},
    "Coverage": {
        "type": CONCEPT, "subscriberId": TEXT, "beneficiary": REFERENCE, "period": PERIOD, "payor": [REFERENCE], "status": TEXT,
    },
    "Encounter": {
        "status": TEXT, "class": CODING, "type": [CONCEPT], "subject": REFERENCE, "participant": [{"individual": REFERENCE}],
        "period": PERIOD, "reasonCode": [CONCEPT], "hospitalization": {"dischargeDisposition": CONCEPT}, "serviceProvider": REFERENCE,
    },
    "Condition": {
        "clinicalStatus": CONCEPT, "verificationStatus": CONCEPT, "code": CONCEPT, "subject": REFERENCE, "encounter": REFERENCE,
        "onsetDateTime": TEXT, "onsetPeriod": PERIOD, "abatementDateTime": TEXT, "recordedDate": TEXT,
    },
    "Observation": {
        "status": TEXT, "category": [CONCEPT], "code": CONCEPT, "subject": REFERENCE, "encounter": REFERENCE, "effectiveDateTime": TEXT,
        "effectivePeriod": PERIOD, "effectiveInstant": TEXT, "dataAbsentReason": CONCEPT, **VALUES, "component": [{"code": CONCEPT, **VALUES}],
    },
    "Media": {
        "status": TEXT, "subject": REFERENCE, "encounter": REFERENCE, "createdDateTime": TEXT, "createdPeriod": PERIOD, "issued": TEXT,
        "reasonCode": [CONCEPT], "height": COUNT, "width": COUNT, "frames": COUNT, "duration": NUMBER,
        "content": {
            "contentType": TEXT, "language": TEXT, "data": TEXT, "url": TEXT, "size": COUNT, "hash": TEXT, "title": TEXT, "creation": TEXT,
        },
    },
    "DiagnosticReport": {
        "status": TEXT, "code": CONCEPT, "subject": REFERENCE, "encounter": REFERENCE, "effectiveDateTime": TEXT, "issued": TEXT,
        "result": [REFERENCE], "media": [{"link": REFERENCE}],
    },
    "Medication": {"code": CONCEPT},
    "MedicationRequest": {
        "status": TEXT, "medicationCodeableConcept": CONCEPT, "medicationReference": REFERENCE, "subject": REFERENCE,
        "encounter": REFERENCE, "authoredOn": TEXT, "reasonReference": [REFERENCE],
        "dispenseRequest": {"expectedSupplyDuration": QUANTITY},
        "dosageInstruction": [{"timing": {"repeat": {"frequency": COUNT}}, "doseAndRate": [{"doseQuantity": QUANTITY}]}],
    },
    "Consent": {"patient": REFERENCE, "dateTime": TEXT, "provision": {"period": PERIOD}},
    "MedicationAdministration": {
        "status": TEXT, "medicationCodeableConcept": CONCEPT, "medicationReference": REFERENCE, "subject": REFERENCE,
        "context": REFERENCE, "effectiveDateTime": TEXT, "effectivePeriod": PERIOD,
    },
    "Immunization": {
        "status": TEXT, "vaccineCode": CONCEPT, "patient": REFERENCE, "encounter": REFERENCE, "occurrenceDateTime": TEXT,
        "protocolApplied": [{"doseNumberPositiveInt": COUNT}],
    },
    "Procedure": {
        "status": TEXT, "code": CONCEPT, "subject": REFERENCE, "encounter": REFERENCE, "performedPeriod": PERIOD,
        "performedDateTime": TEXT, "reasonReference": [REFERENCE],
    },
    "CarePlan": {
        "status": TEXT, "category": [CONCEPT], "subject": REFERENCE, "encounter": REFERENCE, "period": PERIOD, "addresses": [REFERENCE],
        "goal": [REFERENCE], "activity": [{"detail": {"code": CONCEPT}}],
    },
    "Goal": {
        "lifecycleStatus": TEXT, "description": CONCEPT, "subject": REFERENCE, "startDate": TEXT,
        "target": [{"measure": CONCEPT, "detailQuantity": {**QUANTITY, "comparator": TEXT}}],
    },
    "AllergyIntolerance": {
        "clinicalStatus": CONCEPT, "verificationStatus": CONCEPT, "type": TEXT, "category": [TEXT], "code": CONCEPT,
        "patient": REFERENCE, "encounter": REFERENCE, "onsetDateTime": TEXT, "recordedDate": TEXT, "lastOccurrence": TEXT,
        "reaction": [{"manifestation": [CONCEPT], "severity": TEXT}],
    },
    "Device": {"status": TEXT, "manufacturer": TEXT, "modelNumber": TEXT, "type": CONCEPT, "patient": REFERENCE},
    "ImagingStudy": {
        "status": TEXT, "modality": [CODING], "subject": REFERENCE, "encounter": REFERENCE, "started": TEXT, "numberOfSeries": COUNT,
        "numberOfInstances": COUNT, "procedureCode": [CONCEPT], "series": [{"bodySite": CODING, "modality": CODING}],
    },
    "SupplyDelivery": {
        "status": TEXT, "patient": REFERENCE, "suppliedItem": {"quantity": QUANTITY, "itemCodeableConcept": CONCEPT},
        "occurrenceDateTime": TEXT,
    },
    "Claim": {
        "status": TEXT, "patient": REFERENCE, "created": TEXT, "insurance": [{"coverage": REFERENCE}], "total": MONEY,
        **BILLED,
    },
    "ExplanationOfBenefit": {
        "status": TEXT, "patient": REFERENCE, "claim": REFERENCE, "payment": {"amount": MONEY}, **BILLED,
        "total": [{"category": CONCEPT, "amount": MONEY}],
    },
}  # fmt: skip
"""By resource type. `id` is read of all."""

PASSED_OVER = ("id", "resourceType", "meta", "text", "implicitRules", "language")
"""Elements of any resource that say nothing of the patient."""
MADE_ANEW = ("Location", "CareTeam", "DocumentReference", "Provenance")
"""Resource types that views make from the rest of the record; nothing of them is kept."""
CONSTANT = {
    "Organization": ("active",),
    "Practitioner": ("active",),
    "PractitionerRole": ("active", "code", "location", "telecom"),
    "Patient": ("active",),
    "RelatedPerson": ("active", "name", "telecom", "gender", "birthDate", "address"),
    "Coverage": ("identifier", "relationship"),
    "Encounter": ("identifier", "location"),
    "Condition": ("category",),
    "DiagnosticReport": ("category", "performer"),
    "Media": ("type",),
    "MedicationRequest": ("intent", "category", "reportedBoolean", "requester"),
    "Immunization": ("primarySource",),
    "CarePlan": ("intent",),
    "Goal": ("addresses",),
    "Consent": ("status", "scope", "category", "policyRule"),
    "Medication": ("status",),
    "SupplyDelivery": ("type",),
    "Claim": ("type", "use", "billablePeriod", "provider", "priority"),
    "ExplanationOfBenefit": ("type", "use", "billablePeriod", "created", "provider", "insurer", "outcome", "insurance"),
}
"""Elements that views make anew: from other rows, or the same in every resource."""
QUIET = (
    "id", "use", "system", "display", "text", "type", "version", "userSelected", "rank", "sequence", "focal", "currency", "preferred",
    "prefix", "period", "assigner", "number", "started", "uid", "instance", "status", "adjudication", "productOrService", "net", "valueCode",
    "diagnosisSequence", "servicedPeriod", "periodUnit",
)  # fmt: skip
"""Parts of elements that add nothing which a row could say, or which views make anew."""
VOID = ("entered-in-error", "cancelled", "not-done", "planned", "draft", "refuted", "proposed", "booked", "pending")
"""Statuses (or verification statuses) of what did not take place: such resources become no row."""


def arrow_type(shape: Any) -> pa.DataType:
    import pyarrow as pa

    if isinstance(shape, dict):
        return pa.struct([(name, arrow_type(part)) for name, part in shape.items()])
    return pa.list_(arrow_type(shape[0])) if isinstance(shape, list) else pa.type_for_alias(shape)


def arrow_schema(kind: str) -> pa.Schema:
    """The Arrow schema of what is read of a resource type."""
    import pyarrow as pa

    return pa.schema([("id", pa.string()), *((n, arrow_type(s)) for n, s in SHAPES[kind].items())])


def polars_schema(kind: str) -> pl.Schema:
    """The same in polars' types."""
    return pl.DataFrame(pl.from_arrow(arrow_schema(kind).empty_table())).schema
