"""What one FHIR resource must hold beyond its structure: required codes, displays, invariants, US Core's must-haves, its own times and values."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from functools import cache
from importlib.resources import files
from typing import Any

Fault = tuple[str, str]
"""check, detail beginning with the element"""
RULES = (
    "fhir.code",
    "fhir.display",
    "fhir.retired",
    "fhir.invariant",
    "fhir.time",
    "fhir.plausible",
    "uscore.required",
)
PERIODS = {"Encounter": "period", "Coverage": "period", "Claim": "billablePeriod"}
PREGNANCY = {"77386006", "72892002", "198992004", "47200007"}
"""SNOMED CT: pregnancy, and its outcomes and risks."""
FERTILE = (9, 64)
"""Years: the ages of Medicare Code Editor's maternity diagnoses."""


@cache
def _published() -> tuple[dict[str, dict[str, frozenset[str]]], dict[str, list[str]]]:
    """Required bindings by resource or datatype and element, and the elements that each US Core profile requires."""
    text = files("populace.schemas.healthcare").joinpath("fhir_rules.json").read_text("utf-8")
    rules = json.loads(text)
    bindings: dict[str, dict[str, frozenset[str]]] = {}
    for path, codes in rules["bindings"].items():
        kind, _, element = path.partition(".")
        bindings.setdefault(kind, {})[element] = frozenset(codes)
    return bindings, {name: entry["required"] for name, entry in rules["us_core"].items()}


@cache
def _lists() -> tuple[dict[tuple[str | None, str], str], dict[str, str], Mapping[str, list[float]]]:
    """Displays by system and code, UCUM units and plausible limits by LOINC code: those that the domain ships."""
    from .. import DOMAIN

    shown = {}
    for name, codes in DOMAIN.schema.code_lists.items():
        if not name.endswith(("_unit", "_category", "_snomed")) and not name.startswith(("omop", "retired")):
            shown |= {(codes.system_of(code), code): display for code, display in codes.codes.items()}
    units = dict(DOMAIN.schema.code_lists["observation_unit"].codes)
    return shown, units, DOMAIN.priors("plausible.observation")


def faults(resource: Mapping[str, Any]) -> Iterator[Fault]:
    """Every fault that can be seen in the resource alone."""
    kind = str(resource.get("resourceType"))
    yield from _codes(kind, resource)
    yield from _displays(resource)
    yield from _retired(kind, resource)
    yield from _invariants(kind, resource)
    yield from _us_core(kind, resource)
    yield from _times(kind, resource)
    yield from _values(kind, resource)


def at(value: Any, path: list[str]) -> Iterator[Any]:
    """The values at a path, one for each repetition."""
    if isinstance(value, list):
        for item in value:
            yield from at(item, path)
    elif not path:
        yield value
    elif isinstance(value, dict) and path[0] in value:
        yield from at(value[path[0]], path[1:])


def _codes(kind: str, resource: Mapping[str, Any]) -> Iterator[Fault]:
    bindings = _published()[0]
    for element, allowed in bindings.get(kind, {}).items():
        for value in at(resource, element.split(".")):
            if isinstance(value, dict):
                value = next((c.get("code") for c in value.get("coding", []) if isinstance(c, dict)), None)
            if isinstance(value, str) and value not in allowed:
                yield "fhir.code", f"{kind}.{element}: {value!r} is not one of {', '.join(sorted(allowed))[:120]}"
    for element, datatype in (
        ("name", "HumanName"),
        ("telecom", "ContactPoint"),
        ("address", "Address"),
        ("identifier", "Identifier"),
    ):
        for part, allowed in bindings.get(datatype, {}).items():
            for value in at(resource, [element, part]):
                if isinstance(value, str) and value not in allowed:
                    yield "fhir.code", f"{kind}.{element}.{part}: {value!r} is not one of {', '.join(sorted(allowed))}"


def _displays(resource: Mapping[str, Any]) -> Iterator[Fault]:
    shown, kind = _lists()[0], resource.get("resourceType")
    for element in ("code", "vaccineCode", "medicationCodeableConcept", "type", "class", "reasonCode"):
        for concept in at(resource, [element]):
            for coding in concept.get("coding", [concept]) if isinstance(concept, dict) else []:
                if isinstance(coding, dict) and "display" in coding:
                    expected = shown.get((coding.get("system", ""), coding.get("code", "")))
                    if expected is not None and expected.casefold() != str(coding["display"]).casefold():
                        yield (
                            "fhir.display",
                            f"{kind}.{element}: {coding['code']} is {expected!r}, not {coding['display']!r}",
                        )


@cache
def doses() -> dict[str, float]:
    """The most that a child is given of a drug, mg per kg of weight a day, by RxNorm code."""
    from .. import DOMAIN

    return {code: float(most) for code, most in DOMAIN.priors("plausible.dose").items()}


@cache
def _ended() -> dict[tuple[str | None, str], datetime | None]:
    """When codes ceased to be valid, by system and code."""
    from .. import DOMAIN

    codes = DOMAIN.schema.code_lists["retired"]
    return {(codes.system, code): moment(day) for code, day in codes.codes.items()}


def _retired(kind: str, resource: Mapping[str, Any]) -> Iterator[Fault]:
    if kind != "Condition":
        return
    when = moment(resource.get("recordedDate") or resource.get("onsetDateTime"))
    for coding in at(resource, ["code", "coding"]):
        until = _ended().get((coding.get("system"), str(coding.get("code")))) if isinstance(coding, dict) else None
        if when and until and when >= until:
            yield "fhir.retired", f"Condition.code: {coding['code']} was retired on {until.date()}"


def _invariants(kind: str, resource: Mapping[str, Any]) -> Iterator[Fault]:
    if kind == "Observation":
        if "dataAbsentReason" in resource and any(k.startswith("value") for k in resource):
            yield "fhir.invariant", "Observation.dataAbsentReason: obs-6, present beside a value"
        own = {c.get("code") for c in at(resource, ["code", "coding"])}
        parts = {c.get("code") for c in at(resource, ["component", "code", "coding"])}
        if own & parts and any(k.startswith("value") for k in resource):
            yield "fhir.invariant", "Observation.component: obs-7, the same code as the observation that has a value"
    if kind == "Condition":
        states = {c.get("code") for c in at(resource, ["clinicalStatus", "coding"])}
        if any(k.startswith("abatement") for k in resource) and states & {"active", "recurrence", "relapse"}:
            yield "fhir.invariant", "Condition.abatement: con-4, abated and yet active"
        verified = {c.get("code") for c in at(resource, ["verificationStatus", "coding"])}
        if "entered-in-error" in verified and states:
            yield "fhir.invariant", "Condition.clinicalStatus: con-5, present though entered in error"


def _us_core(kind: str, resource: Mapping[str, Any]) -> Iterator[Fault]:
    profiles = resource.get("meta", {}).get("profile", []) if isinstance(resource.get("meta"), dict) else []
    for profile in profiles if isinstance(profiles, list) else []:
        name = str(profile).partition("|")[0].rpartition("/")[2]
        for element in _published()[1].get(name, []):
            *parents, last = element.removesuffix("[x]").split(".")
            for parent in at(resource, parents):
                choice = element.endswith("[x]")
                there = (
                    any(k.startswith(last) for k in parent) if choice else isinstance(parent, dict) and last in parent
                )
                absent = choice and last == "value" and "dataAbsentReason" in parent
                if not there and not absent:
                    yield "uscore.required", f"{kind}.{element}: required by {name}"
        if name == "us-core-patient" and not any({"family", "given"} & set(n) for n in at(resource, ["name"])):
            yield "uscore.required", "Patient.name: us-core-6, family or given is required by us-core-patient"
        ordered = str(resource.get("intent")).endswith("order")
        if name == "us-core-medicationrequest" and ordered and "requester" not in resource:
            yield "uscore.required", "MedicationRequest.requester: us-core-21, required of what is ordered"


def moment(text: Any, last: bool = False) -> datetime | None:
    """The instant of a FHIR date or dateTime; of a partial one the first, or with `last` the last."""
    if not isinstance(text, str):
        return None
    try:
        if len(text) > 10:
            made = datetime.fromisoformat(text)
            return made if made.tzinfo else made.replace(tzinfo=UTC)
        year, month, day = (
            int(p) for p in (f"{text}-01-01" if len(text) == 4 else f"{text}-01" if len(text) == 7 else text).split("-")
        )
        first = datetime(year, month, day, tzinfo=UTC)
        if not last:
            return first
        if len(text) == 10:
            return first + timedelta(days=1, microseconds=-1)
        after = (
            datetime(year + 1, 1, 1, tzinfo=UTC)
            if len(text) == 4 or month == 12
            else datetime(year, month + 1, 1, tzinfo=UTC)
        )
        return after - timedelta(microseconds=1)
    except ValueError:
        return None


def _times(kind: str, resource: Mapping[str, Any]) -> Iterator[Fault]:
    if kind in PERIODS:
        period = resource.get(PERIODS[kind]) or {}
        start, end = moment(period.get("start")), moment(period.get("end"), last=True)
        if start and end and start > end:
            yield "fhir.time", f"{kind}.{PERIODS[kind]}: ends {period['end']} before it starts {period['start']}"
    if kind == "Condition":
        start, end = moment(resource.get("onsetDateTime")), moment(resource.get("abatementDateTime"), last=True)
        if start and end and start > end:
            yield (
                "fhir.time",
                f"Condition.abatementDateTime: {resource['abatementDateTime']} before the onset {resource['onsetDateTime']}",
            )
    if kind == "Patient":
        born, died = moment(resource.get("birthDate")), moment(resource.get("deceasedDateTime"), last=True)
        if born and died and died < born:
            yield (
                "fhir.time",
                f"Patient.deceasedDateTime: {resource['deceasedDateTime']} before birth {resource['birthDate']}",
            )


def _values(kind: str, resource: Mapping[str, Any]) -> Iterator[Fault]:
    if kind != "Observation":
        return
    _, units, limits = _lists()
    for part in (resource, *at(resource, ["component"])):
        quantity = part.get("valueQuantity") if isinstance(part, dict) else None
        if not isinstance(quantity, dict) or not isinstance(quantity.get("value"), int | float):
            continue
        for coding in at(part, ["code", "coding"]):
            code = coding.get("code")
            if code in limits and quantity.get("code") == units[code]:
                low, high = limits[code][0], limits[code][1]
                if not low <= quantity["value"] <= high:
                    yield (
                        "fhir.plausible",
                        f"Observation.valueQuantity: {code} of {quantity['value']} {units[code]} is outside {low} to {high}",
                    )
