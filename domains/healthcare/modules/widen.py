"""The schema with what a library of modules can record: its codes beside the domain's own, and the tables that it fills."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from ....core.errors import UserError
from ....core.schema import CodeList, Column, Schema, TableSchema, make_schema, read_tables
from .library import Library
from .values import Code, State

SYSTEMS = {
    "SNOMED-CT": "http://snomed.info/sct",
    "SNOMED CT": "http://snomed.info/sct",
    "LOINC": "http://loinc.org",
    "RxNorm": "http://www.nlm.nih.gov/research/umls/rxnorm",
    "CVX": "http://hl7.org/fhir/sid/cvx",
    "NDC": "http://hl7.org/fhir/sid/ndc",
    "ICD10": "http://hl7.org/fhir/sid/icd-10",
    "ICD10-CM": "http://hl7.org/fhir/sid/icd-10-cm",
    "ICD9": "http://hl7.org/fhir/sid/icd-9-cm",
    "CPT": "http://www.ama-assn.org/go/cpt",
    "HCPCS": "https://www.cms.gov/Medicare/Coding/HCPCSReleaseCodeSets",
    "DICOM-DCM": "http://dicom.nema.org/resources/ontology/DCM",
    "DICOM-SOP": "urn:ietf:rfc:3986",
    "NUBC": "https://www.nubc.org/CodeSystem/PatDischargeStatus",
    "NUCC": "http://nucc.org/provider-taxonomy",
    "UNII": "http://fdasis.nlm.nih.gov",
}
"""FHIR's addresses of the code systems that modules name in short (HL7 Terminology)."""
UNITS = {"pH": "[pH]"}
"""UCUM's spelling of units that modules spell otherwise."""
CLASSES = {"HH": "home health", "VR": "virtual"}
"""HL7 v3 ActCode: the classes of encounters that only modules begin."""
LISTS = {
    ("patient", "sex"): "sex",
    ("patient", "race"): "race",
    ("patient", "ethnicity"): "ethnicity",
    ("patient", "language"): "language",
    ("patient", "marital_status"): "marital_status",
    ("practitioner", "sex"): "sex",
    ("practitioner", "specialty"): "specialty",
    ("coverage", "kind"): "coverage_kind",
    ("condition", "status"): "condition_status",
    ("medication_request", "status"): "request_status",
    ("encounter", "class"): "encounter_class",
    ("encounter", "type"): "encounter_type",
    ("encounter", "reason"): "condition",
    ("encounter", "disposition"): "disposition",
    ("condition", "code"): "condition",
    ("observation", "code"): "observation",
    ("observation", "absent"): "absent",
    ("observation", "value_code"): "finding",
    ("medication_request", "code"): "medication",
    ("immunization", "code"): "vaccine",
}
"""The lists of the domain's columns that modules, and records of others, write to."""
FURTHER = (
    "diagnostic_report", "procedure", "modality", "body_site", "care_plan", "care_activity", "allergy", "reaction", "device",
    "supply",
)  # fmt: skip
"""The lists that modules alone fill."""
FILLED = {
    "medication_administration": "medication",
    "imaging_study": "modality",
    "allergy_reaction": "reaction",
    "goal": "care_plan",
}
"""The list without which a table is empty, where it has another name."""
UNCODED = ("sampled_data", "attachment")
"""Tables without codes of their own, which are there where something fills them."""
OTHERWISE = ("_unit", "_category", "_snomed", "omop_concept", "retired")
"""Lists that give something else than displays."""
SNOMED = SYSTEMS["SNOMED-CT"]


def system_of(code: Code, place: str) -> str:
    """The address of a code's system. Raises UserError for a short name that is not known."""
    found = SYSTEMS.get(code.system, code.system if ":" in code.system else None)
    if found is None:
        raise UserError(f"{place}: code system '{code.system}' is neither an address nor one of {', '.join(SYSTEMS)}")
    return found


@dataclass(frozen=True)
class Wider:
    """What a schema takes beyond its own codes: a value that a manifest can hold, so that a dataset can be read again without what it came from."""

    codes: Mapping[str, Mapping[str, tuple[str, str]]]
    """By list and code: system and display."""
    measured: Mapping[str, tuple[str | None, str]]
    """By code of an observation: its usual unit, and its category."""
    fans: Mapping[str, int] = field(default_factory=dict)
    """Tables in which a patient may have another number of rows."""
    uncoded: tuple[str, ...] = ()
    """Tables without codes of their own that are filled."""
    foreign: bool = False
    """Whether the rows are others': what FHIR leaves open may be null, and texts have no pattern."""


def wider_of(schema: Schema, library: Library) -> Wider:
    """What a library of modules can record. Raises UserError for a code system that is not known, and for one code with two meanings in one list."""
    found: dict[str, dict[str, tuple[str, str]]] = {}
    # one code has one display, wherever it stands: the domain's, else the first that a module gives
    shown = {
        (c.system_of(code), code): text
        for n, c in schema.code_lists.items()
        if not n.endswith(OTHERWISE)
        for code, text in c.codes.items()
    }
    for name, code, place in _codes(library):
        system = system_of(code, place)
        meaning = (system, shown.setdefault((system, code.code), code.display))
        before = found.setdefault(name, {}).setdefault(code.code, meaning)
        if before[0] != meaning[0]:
            raise UserError(f"{place}: {name} code {code.code} is of {meaning[0]}, and of {before[0]} elsewhere")
    found["encounter_class"] = {c: (schema.code_lists["encounter_class"].system or "", d) for c, d in CLASSES.items()}
    measured: dict[str, tuple[str | None, str]] = {}
    for _, state in _states(library):
        for part in findings(state):
            code, unit, kind = part.has["codes"][0].code, unit_of(part), part.get("category") or "exam"
            before = measured.get(code, (None, kind))
            measured[code] = (before[0] or unit, before[1])
    parts = [part for _, state in _states(library) for part in findings(state)]
    uncoded = tuple(n for n in UNCODED if any(p.get(n) is not None for p in parts))
    return Wider(found, measured, uncoded=uncoded)


def widen(schema: Schema, wider: Wider) -> Schema:
    """The schema with further codes, and the tables that they fill."""
    lists = dict(schema.code_lists)
    for name, codes in wider.codes.items():
        if codes:
            lists[name] = _wider(name, lists.get(name), codes)
    _measured(wider.measured, lists)
    tables = dict(schema.tables)
    for (table, column), name in LISTS.items():
        spec = tables[table]
        broader = replace(spec.columns[column], codes=tuple(lists[name].codes))
        tables[table] = replace(spec, columns={**spec.columns, column: broader})
    nothing = [name for name in FURTHER if not lists.get(name) or not lists[name].codes]
    # an enumeration of nothing is no type in SQL: what no module names has one code, and its table is left out
    empty = {name: CodeList(name, SNOMED, "no module names any", {"none": "none"}) for name in nothing}
    for name, spec in read_tables(schema.domain, "modules.toml", {**lists, **empty}).items():
        if name in tables:
            tables[name] = _joined(tables[name], spec)
        elif name in UNCODED and name not in wider.uncoded:
            continue
        elif FILLED.get(name, name) not in nothing:
            tables[name] = spec
    if "diagnostic_report" not in tables:
        spec = tables["observation"]
        columns = {c: v for c, v in spec.columns.items() if c != "diagnostic_report_id"}
        tables["observation"] = replace(spec, columns=columns)
    if wider.foreign:
        tables = {name: _foreign(spec) for name, spec in tables.items()}
    tables = {name: replace(spec, fan=wider.fans.get(name, spec.fan)) for name, spec in tables.items()}
    return make_schema(schema.domain, tables, {n: c for n, c in lists.items() if c.codes})


NEEDED = ("patient_id", "code", "class", "status", "sex", "birth_date", "mrn", "kind", "at", "start_at", "onset_at")
"""Columns without which a row says too little: US Core 6.1.0 demands them, or nothing can be put in order of time."""
UNDATED = ("device",)
"""FHIR R4 gives a device no time of use."""


def _foreign(spec: TableSchema) -> TableSchema:
    def column(c: Column) -> Column:
        needed = c.name == spec.key or (c.name in NEEDED and not (c.name == "at" and spec.name in UNDATED))
        if spec.reference and c.name not in (spec.key, "kind"):
            needed = False
        return replace(c, null=c.null or not needed, pattern=None, decimals=None, min=c.min if c.type == "id" else None)

    return replace(spec, columns={n: column(c) for n, c in spec.columns.items()})


def _joined(own: TableSchema, more: TableSchema) -> TableSchema:
    anew = {c.name for c in more.checks}
    checks = (*(c for c in own.checks if c.name not in anew), *more.checks)
    return replace(own, columns={**own.columns, **more.columns}, checks=checks, fan=more.fan)


def _wider(name: str, own: CodeList | None, found: Mapping[str, tuple[str, str]]) -> CodeList:
    source = "codes beyond those of the domain"
    own = own or CodeList(name, next(iter(found.values()))[0], source, {})
    new = {c: m for c, m in sorted(found.items()) if c not in own.codes}
    others = {**own.others, **{c: system for c, (system, _) in new.items() if system != own.system}}
    return replace(own, codes={**own.codes, **{c: display for c, (_, display) in new.items()}}, others=others)


def _measured(measured: Mapping[str, tuple[str | None, str]], lists: dict[str, CodeList]) -> None:
    """The unit and the category of each observation: the domain's, else the first that was met."""
    units, kinds = (dict(lists[f"observation_{n}"].codes) for n in ("unit", "category"))
    every: dict[str, str] = {u: u for u in sorted(set(units.values()))}
    for code, (unit, category) in measured.items():
        if unit:
            units.setdefault(code, unit)
            every.setdefault(unit, unit)
        kinds.setdefault(code, category)
    for unit in lists["unit"].codes if "unit" in lists else ():
        every.setdefault(unit, unit)
    for name, codes in (("unit", units), ("category", kinds)):
        lists[f"observation_{name}"] = replace(lists[f"observation_{name}"], codes=codes)
    lists["unit"] = CodeList("unit", "http://unitsofmeasure.org", "UCUM, units in use", every)


def unit_of(part: State) -> str | None:
    unit = part.get("unit")
    return UNITS.get(unit, unit) or None


def findings(state: State) -> tuple[State, ...]:
    """The observations that a state makes."""
    if state.kind == "Observation":
        return (state,)
    return state.get("observations", ())


def _states(library: Library) -> Iterator[tuple[str, State]]:
    for module in library.every():
        for state in module.states.values():
            yield module.path, state


_FIRST = {
    "Encounter": "encounter_type",
    "ConditionOnset": "condition",
    "AllergyOnset": "allergy",
    "MedicationOrder": "medication",
    "CarePlanStart": "care_plan",
    "Procedure": "procedure",
    "DiagnosticReport": "diagnostic_report",
    "Vaccine": "vaccine",
}


def _codes(library: Library) -> Iterator[tuple[str, Code, str]]:
    """Every code that the library can record: the list it belongs to, the code, where it stands."""
    begun = [s.get("codes", ())[:1] for _, s in _states(library) if s.kind == "ConditionOnset"]
    for path, state in _states(library):
        for name, codes in (*_of_state(state), *(("finding", of) for of in (begun if _by_condition(state) else ()))):
            for code in codes:
                yield name, code, f"module {path}, state '{state.name}'"


def _of_state(state: State) -> Iterator[tuple[str, Iterable[Code]]]:
    has: Mapping[str, Any] = state.has
    if state.kind in _FIRST:
        yield _FIRST[state.kind], has.get("codes", ())[:1]
    if state.kind == "MedicationOrder" and has.get("administration"):
        yield "formulary", has.get("codes", ())[:1]
    if state.kind == "CarePlanStart":
        yield "care_activity", has.get("activities", ())
        yield "observation", [goal["observation"]["codes"][0] for goal in has.get("goals", ()) if "observation" in goal]
    elif state.kind == "AllergyOnset":
        yield "reaction", [r["reaction"] for r in has.get("reactions", ())]
    elif state.kind == "EncounterEnd" and "discharge_disposition" in has:
        yield "disposition", [has["discharge_disposition"]]
    elif state.kind == "Death":
        yield "finding", has.get("codes", ())[:1]
    elif state.kind == "Device":
        yield "device", [has["code"]]
    elif state.kind == "SupplyList":
        yield "supply", [thing["code"] for thing in has["supplies"]]
    elif state.kind == "ImagingStudy":
        yield "procedure", [has["procedure_code"]]
        yield "modality", [s["modality"] for s in has["series"][:1]]
        yield "body_site", [s["body_site"] for s in has["series"][:1]]
    for part in findings(state):
        yield "observation", part.has["codes"][:1]
        if value := part.get("value_code"):
            yield "finding", [value]
    # what an observation of an attribute may show
    if value := has.get("value_code"):
        yield "finding", [value]
    if state.kind in _FIRST and has.get("assign_to_attribute"):
        yield "finding", has.get("codes", ())[:1]


def _by_condition(state: State) -> bool:
    """Whether a death is of a condition that the state does not name by code: it may be any that modules begin."""
    return state.kind == "Death" and not state.get("codes")


def covered(schema: Schema, library: Library) -> frozenset[str]:
    """The domain's conditions that modules of the library begin: those whose SNOMED CT code is the first of a ConditionOnset."""
    begun = {c.code for name, c, place in _codes(library) if name == "condition" and system_of(c, place) == SNOMED}
    return frozenset(c for c, snomed in schema.code_lists["condition_snomed"].codes.items() if snomed in begun)
