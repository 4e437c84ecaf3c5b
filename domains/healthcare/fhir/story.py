"""What resources say of one another: each alone may be sound, and together they contradict."""

from __future__ import annotations

import json
import re
from base64 import b64decode
from collections.abc import Iterator
from datetime import datetime
from typing import Any

from ..physiology import WEIGHT
from . import rules

RULES = ("fhir.note", "fhir.consent", "fhir.dose")
DENIED = re.compile(r"^No (.+)\.$", re.MULTILINE)
EVENTS = {
    "Encounter": "period.start",
    "Condition": "onsetDateTime",
    "Observation": "effectiveDateTime",
    "Immunization": "occurrenceDateTime",
    "MedicationRequest": "authoredOn",
    "Procedure": "performedPeriod.start",
    "MedicationAdministration": "effectiveDateTime",
    "SupplyDelivery": "occurrenceDateTime",
    "ImagingStudy": "started",
}
"""When each kind of event took place."""
WITHIN = ("Observation", "Immunization")
"""Events that take place in their encounter."""

Found = tuple[str, str, int, str]
"""check, file, line or entry (from 1), detail"""


class Story:
    """What the resources say of patients and encounters, kept until all are heard: contradictions need more than one of them."""

    def __init__(self) -> None:
        self.lives: dict[str, tuple[datetime | None, datetime | None, str]] = {}
        self.stays: dict[str, tuple[datetime | None, datetime | None, str]] = {}
        self.events: list[tuple[str, str, str, datetime, str, bool, str, int]] = []
        self.seen: dict[int, tuple[str, int]] = {}
        self.repeated: list[Found] = []
        self.consents: dict[str, list[tuple[datetime | None, datetime | None, bool]]] = {}
        self.denials: list[tuple[str, str, datetime | None, datetime | None, str, int]] = []
        self.ill: dict[tuple[str, str], list[tuple[datetime, datetime | None]]] = {}
        self.doses: list[tuple[str, str, float, str, int]] = []
        self.weights: dict[str, float] = {}

    def hear(self, kind: str, resource: dict[str, Any], place: str, n: int) -> None:
        identity = f"{kind}/{resource.get('id')}"
        if kind == "Patient":
            born, died = (
                rules.moment(resource.get("birthDate")),
                rules.moment(resource.get("deceasedDateTime"), last=True),
            )
            self.lives[identity] = (born, died, str(resource.get("gender")))
        if kind == "Consent":
            self._consent(resource)
        elif kind == "DocumentReference":
            self._note(resource, place, n)
        if kind not in EVENTS:
            return
        whose = resource.get("subject", resource.get("patient"))
        patient = whose.get("reference", "") if isinstance(whose, dict) else ""
        if kind == "Encounter" and isinstance(period := resource.get("period"), dict):
            self.stays[identity] = (
                rules.moment(period.get("start")),
                rules.moment(period.get("end"), last=True),
                patient,
            )
            at = rules.moment(period.get("start"))
        else:
            value: Any = resource
            for part in EVENTS[kind].split("."):
                value = value.get(part) if isinstance(value, dict) else None
            at = rules.moment(value)
        visit = resource.get("encounter")
        where = visit.get("reference", "") if isinstance(visit, dict) else ""
        expecting = kind == "Condition" and _pregnant(resource)
        if kind == "Condition" and at:
            until = rules.moment(resource.get("abatementDateTime"), last=True)
            for name in _displays(resource.get("code")):
                self.ill.setdefault((patient, name), []).append((at, until))
        elif kind == "MedicationRequest" and where:
            self._dose(resource, where, place, n)
        elif kind == "Observation" and where:
            self._weight(resource, where)
        if at:
            self.events.append((kind, patient, where, at, EVENTS[kind], expecting, place, n))
        if kind != "Encounter":
            same = hash(
                json.dumps({k: v for k, v in resource.items() if k not in ("id", "meta", "identifier")}, sort_keys=True)
            )
            if before := self.seen.get(same):
                text = f"{kind}: says all that {before[0]} says at {before[1]}"
                self.repeated.append(("fhir.duplicate", place, n, text))
            self.seen.setdefault(same, (place, n))

    def _consent(self, resource: dict[str, Any]) -> None:
        provision, patient = resource.get("provision"), resource.get("patient")
        if isinstance(provision, dict) and provision.get("type") == "permit" and isinstance(patient, dict):
            period = provision.get("period") or {}
            span = rules.moment(period.get("start")), rules.moment(period.get("end"), last=True)
            self.consents.setdefault(str(patient.get("reference")), []).append(
                (*span, resource.get("status") == "active")
            )

    def _note(self, resource: dict[str, Any], place: str, n: int) -> None:
        """Notes deny in lines of "No ", a condition's name and a full stop."""
        period = (resource.get("context") or {}).get("period") or {}
        patient = str((resource.get("subject") or {}).get("reference"))
        for data in rules.at(resource, ["content", "attachment", "data"]):
            try:
                text = b64decode(data).decode()
            except (ValueError, TypeError):
                continue
            for name in DENIED.findall(text):
                span = rules.moment(period.get("start")), rules.moment(period.get("end"), last=True)
                self.denials.append((patient, name.lower(), *span, place, n))

    def _dose(self, resource: dict[str, Any], where: str, place: str, n: int) -> None:
        codes = [c for c in rules.at(resource, ["medicationCodeableConcept", "coding", "code"]) if c in rules.doses()]
        each = next(rules.at(resource, ["dosageInstruction", "doseAndRate", "doseQuantity"]), None)
        times = next(rules.at(resource, ["dosageInstruction", "timing", "repeat", "frequency"]), None)
        if not codes or not isinstance(each, dict) or each.get("code") != "mg" or not isinstance(times, int):
            return
        if isinstance(each.get("value"), int | float):
            self.doses.append((where, codes[0], each["value"] * times, place, n))

    def _weight(self, resource: dict[str, Any], where: str) -> None:
        quantity = resource.get("valueQuantity")
        if (
            isinstance(quantity, dict)
            and quantity.get("code") == "kg"
            and isinstance(quantity.get("value"), int | float)
        ) and WEIGHT in rules.at(resource, ["code", "coding", "code"]):
            self.weights.setdefault(where, quantity["value"])

    def _unwanted(self, patient: str, at: datetime) -> bool:
        """Whether consent had been given, and was withdrawn by then."""
        known = self.consents.get(patient, [])
        gone = any(not active and end and at >= end for _, end, active in known)
        return gone and not any(active and (start is None or start <= at) for start, _, active in known)

    def contradictions(self) -> Iterator[Found]:
        yield from self.repeated
        for kind, patient, where, at, element, expecting, place, n in self.events:
            born, died, sex = self.lives.get(patient, (None, None, ""))
            if born and at < born:
                yield "fhir.time", place, n, f"{kind}.{element}: {at.isoformat()} before the birth of {patient}"
            if kind == "Encounter" and self.consents and self._unwanted(patient, at):
                yield "fhir.consent", place, n, f"Encounter.period: {at.isoformat()} after {patient} withdrew consent"
            if died and at > died:
                yield "fhir.time", place, n, f"{kind}.{element}: {at.isoformat()} after the death of {patient}"
            start, end, whose = self.stays.get(where, (None, None, patient))
            if where in self.stays and whose != patient:
                yield (
                    "fhir.reference",
                    place,
                    n,
                    f"{kind}.encounter: {where} is of {whose or 'nobody'}, not of {patient}",
                )
            elif kind in WITHIN and start and end and not start <= at <= end:
                yield "fhir.time", place, n, f"{kind}.{element}: {at.isoformat()} outside {where}"
            if expecting and born:
                age = (at - born).days / 365.2425
                if sex == "male" or not rules.FERTILE[0] <= age <= rules.FERTILE[1]:
                    yield "fhir.plausible", place, n, f"Condition.code: a pregnancy at {age:.0f} years, {sex}"
        for patient, name, start, end, place, n in self.denials:
            for onset, until in self.ill.get((patient, name), []):
                if (end is None or onset <= end) and (until is None or start is None or until >= start):
                    yield "fhir.note", place, n, f"DocumentReference.content: denies {name}, which {patient} has"
                    break
        for where, code, a_day, place, n in self.doses:
            limit, weight = rules.doses()[code], self.weights.get(where)
            if weight and a_day / weight > limit:
                text = f"{code} of {a_day / weight:.0f} mg/kg a day, at most {limit:g}"
                yield "fhir.dose", place, n, f"MedicationRequest.dosageInstruction: {text}"


def _displays(code: Any) -> set[str]:
    """What a CodeableConcept is called."""
    return {str(d).lower() for d in (*rules.at(code, ["text"]), *rules.at(code, ["coding", "display"]))}


def _pregnant(resource: dict[str, Any]) -> bool:
    codings = resource.get("code", {}).get("coding", []) if isinstance(resource.get("code"), dict) else []
    return any(
        c.get("code") in rules.PREGNANCY
        or ("icd-10" in str(c.get("system")) and str(c.get("code")).startswith(("O", "Z33")))
        for c in codings
        if isinstance(c, dict)
    )
