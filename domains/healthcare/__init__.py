"""Healthcare: patients of a health system from birth to death, with FHIR R4 views."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ...core.domain import Domain, Picture, Step
from ...core.errors import UserError
from ...core.imports import Imported
from ...core.inputs import Input
from ...core.priors import load_priors
from ...core.scenario import load_scenarios
from ...core.schema import load_schema
from ...core.streams.events import load_events
from ...core.tables import Tables
from . import (
    checks,
    circumstances,
    conditions,
    deaths,
    defects,
    derived,
    encounters,
    fhir,
    insurance,
    observations,
    orders,
    population,
    reference,
)
from .bind import settled
from .courses import COURSES
from .defects import DEFECTS
from .own import OWN
from .realism import MEASURES
from .scripts import SCRIPTS
from .views import views

_SCHEMA = load_schema("healthcare")
_PRIORS = load_priors("healthcare")
_TIMED = tuple(derived.numbering(_SCHEMA))


def _pictures(tables: Tables) -> list[Picture]:
    from .pictures import pictures

    return pictures(_SCHEMA, _PRIORS, tables)


def _extend(domain: Domain, given: Mapping[str, Any]) -> Domain:
    if "from" in given:
        if len(given) > 1:
            raise UserError(
                f"--from takes records as they are: {', '.join(f'--{n}' for n in given if n != 'from')} has no meaning with it"
            )
        from .imports.mixed import with_records

        return with_records(domain, given["from"])
    if "country" in given:
        from .countries import in_country

        domain = in_country(domain, given["country"])
        given = {n: v for n, v in given.items() if n != "country"}
        if not given:
            return domain
    from .modules.domain import extend

    return extend(domain, given)


def _recall(domain: Domain, said: Mapping[str, Any]) -> Domain:
    if "country" in said:
        from .countries import in_country

        domain = in_country(domain, [said["country"]])
    if "codes" not in said and "country" in said:
        return domain
    from .modules.domain import recall

    return recall(domain, said)


def _imports(domain: Domain, place: str) -> Imported:
    from .imports.imported import read_records

    return read_records(domain, place)


_STATED = ("condition", "medication_request", "immunization")

DOMAIN = Domain(
    name="healthcare",
    doc=__doc__ or "",
    root="patient",
    schema=_SCHEMA,
    events=load_events(_SCHEMA),
    priors=_PRIORS,
    scenarios=load_scenarios("healthcare"),
    size=500,
    window=("2015-01-01", "2025-01-01"),
    reference=(
        Step("organizations", ("organization",), reference.organizations),
        Step("practitioners", ("practitioner",), reference.practitioners, ("organization",)),
    ),
    steps=(
        Step("patients", ("patient",), population.patients),
        Step("conditions", ("condition",), conditions.conditions, ("patient",)),
        Step("causes of death", (deaths.CAUSES, "condition"), deaths.Causes(_SCHEMA), ("patient",)),
        Step("encounters", ("encounter",), encounters.encounters, ("patient", "condition")),
        Step(
            "observations",
            ("observation",),
            observations.observations,
            ("patient", "condition", "encounter", deaths.CAUSES),
        ),
        Step(
            "medication requests",
            ("medication_request",),
            orders.medication_requests,
            ("patient", "condition", "encounter"),
        ),
        Step("coverages", ("coverage",), insurance.coverages, ("patient",)),
        Step("immunizations", ("immunization",), orders.immunizations, ("patient", "encounter")),
        Step("consents", ("consent",), defects.consents),
    ),
    derive=(
        Step("ages", ("patient",), derived.ages, ("patient",)),
        Step("measures", ("observation",), derived.measures, ("patient", "observation")),
        Step("circumstances", ("circumstance",), circumstances.history, ("patient",)),
        Step("claims", ("claim",), insurance.claims, ("encounter", "coverage")),
        Step("keys", _TIMED, derived.keys(_SCHEMA), _TIMED),
        Step("statuses", (*_STATED, "device"), derived.statuses, ("patient", *_STATED)),
    ),
    scripts=SCRIPTS | COURSES | DEFECTS,
    checks=checks.checks(_PRIORS, _SCHEMA),
    views={**fhir.views(_SCHEMA, _PRIORS), **views(_SCHEMA)},
    showcase=("duplicate-registration", "leap-day-birth", "sepsis-deterioration", "fhir+ndjson"),
    pictures=_pictures,
    realism=MEASURES,
    inputs={
        "modules": Input(
            "A folder of disease modules in the Generic Module Framework's JSON, or 'own': those of populace.",
            shipped={"own": OWN},
        ),
        "from": Input("Records that populace import has written: the first patients are those."),
        "module": Input("Only these modules of the folder.", folder=False),
        "country": Input("Whose population it is: US, DE, FR or GB.", folder=False),
    },
    extend=_extend,
    settled=settled,
    recall=_recall,
    imports=_imports,
)
