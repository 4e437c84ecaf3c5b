"""A module file → a checked `Module`. Every problem is named with its file, line and state; nothing unknown is let through."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from . import expression, traces
from .document import Document, Path, kind
from .logic import ORDER, amount, code, codes, condition, fields, flag, listed, number, text, unit
from .values import Module, Option, Share, State, Transition

AMOUNT = {"exact", "range", "distribution", "unit"}
VALUE = {"attribute", "vital_sign", "value_code", "expression", "sampled_data", "attachment"}
FINDING = {"codes", "category", *AMOUNT, *VALUE}
FIELDS: Mapping[str, tuple[set[str], set[str]]] = {
    "Initial": (set(), set()),
    "Simple": (set(), set()),
    "Terminal": (set(), set()),
    "Delay": (set(), AMOUNT),
    "Guard": ({"allow"}, set()),
    "SetAttribute": (
        {"attribute"},
        {"value", "value_attribute", "value_code", "expression", "series_data", "period", *AMOUNT},
    ),
    "Counter": ({"attribute", "action"}, {"amount"}),
    "CallSubmodule": ({"submodule"}, set()),
    "Physiology": ({"model"}, {"solver", "step_size", "sim_duration", "lead_time", "inputs", "outputs"}),
    "Encounter": (set(), {"wellness", "encounter_class", "codes", "reason", "telemedicine_possibility"}),
    "EncounterEnd": (set(), {"discharge_disposition"}),
    "ConditionOnset": ({"codes"}, {"target_encounter", "assign_to_attribute"}),
    "ConditionEnd": (set(), {"condition_onset", "referenced_by_attribute", "codes"}),
    "AllergyOnset": (
        {"codes", "allergy_type", "category"},
        {"reactions", "target_encounter", "assign_to_attribute"},
    ),
    "AllergyEnd": (set(), {"allergy_onset", "referenced_by_attribute", "codes"}),
    "MedicationOrder": (
        {"codes"},
        {"reason", "prescription", "chronic", "administration", "assign_to_attribute"},
    ),
    "MedicationEnd": (set(), {"medication_order", "referenced_by_attribute", "codes"}),
    "CarePlanStart": ({"codes"}, {"activities", "goals", "reason", "assign_to_attribute"}),
    "CarePlanEnd": (set(), {"careplan", "referenced_by_attribute", "codes"}),
    "Procedure": ({"codes"}, {"reason", "duration", "assign_to_attribute", *AMOUNT}),
    "VitalSign": ({"vital_sign"}, {*AMOUNT, "expression"}),
    "Observation": ({"codes"}, FINDING),
    "MultiObservation": ({"codes", "observations"}, {"category", "number_of_observations"}),
    "DiagnosticReport": ({"codes", "observations"}, {"number_of_observations"}),
    "ImagingStudy": ({"procedure_code", "series"}, {"reason", "min_number_series", "max_number_series"}),
    "Symptom": ({"symptom"}, {"cause", "probability", *AMOUNT}),
    "Device": ({"code"}, {"manufacturer", "model", "assign_to_attribute"}),
    "DeviceEnd": (set(), {"device", "referenced_by_attribute", "codes"}),
    "SupplyList": ({"supplies"}, set()),
    "Vaccine": ({"codes"}, {"series"}),
    "Death": (set(), {*AMOUNT, "codes", "condition_onset", "referenced_by_attribute"}),
}
"""The fields that each type of state must and may have."""

CLASSES = (
    "ambulatory", "wellness", "outpatient", "inpatient", "emergency", "urgentcare", "virtual", "home", "hospice", "snf"
)  # fmt: skip
TRANSITIONS = (
    "direct_transition",
    "distributed_transition",
    "conditional_transition",
    "complex_transition",
    "lookup_table_transition",
    "type_of_care_transition",
)
"""In the order in which one goes before another."""
PASSED = ("MedicationOrder", "CarePlanStart", "Procedure", "Observation", "MultiObservation", "DiagnosticReport")
"""States of old modules that name a `target_encounter`: the framework reads none there, what they do belongs to the encounter that is open."""
ABSENT: tuple[Any, ...] = (None, "", [])
"""What an optional field may hold where it says nothing."""
TIMED = ("Delay", "Procedure", "Death")
MODULE_FIELDS = {"name", "states", "gmf_version", "remarks", "specialty", "id"}


def parse(path: str, doc: Document) -> Module | None:
    """The module in a document that has been read, or None. Problems are in `doc.problems`."""
    data = doc.data
    if not fields(doc, (), data, {"name", "states"}, MODULE_FIELDS, "module"):
        return None
    version = data.get("gmf_version", 1)
    if version not in (1, 2):
        doc.complain(("gmf_version",), f"gmf_version is {kind(version)}, expected 1 or 2")
    nodes = data["states"]
    if not isinstance(nodes, dict):
        doc.complain(("states",), f"'states' is {kind(nodes)}, expected an object")
        return None
    if "Initial" not in nodes:
        doc.complain(("states",), "there is no state 'Initial'")
    states = {name: state(doc, ("states", name), node) for name, node in nodes.items()}
    for name, made in states.items():
        for target in made.transition.targets if made.transition else ():
            if target not in states:
                doc.unknown(("states", name), "state", target, states)
    return Module(path, text(doc, ("name",), data["name"]), states, _remarks(data), data.get("specialty"))


def state(doc: Document, at: Path, node: Any) -> State:
    """One state. What could not be read of it is left out, with a problem noted."""
    name = str(at[-1])
    if not isinstance(node, dict) or not isinstance(node.get("type"), str):
        doc.complain(at, f"a state is an object with a 'type', not {kind(node)}")
        return State(name, "Terminal", {}, None)
    form = node["type"]
    if form not in FIELDS:
        doc.unknown((*at, "type"), "type of state", form, FIELDS)
        return State(name, "Terminal", {}, None)
    must, may = FIELDS[form]
    ways = {"type", "name", "alt_direct_transition", *TRANSITIONS}
    fields(doc, at, node, must, may | ways | ({"target_encounter"} if form in PASSED else set()), form)
    if form == "Initial" and name != "Initial":
        doc.complain((*at, "type"), "only the state that is called 'Initial' has the type Initial")
    has: dict[str, Any] = {}
    for key in node:
        if key in READERS and (key in must or (key in may and node[key] not in ABSENT)):
            has[key] = READERS[key](doc, (*at, key), node[key])
    timed = form in TIMED
    if form == "Observation" and (said := _said(node)) is not None:
        has["text"] = said
    elif AMOUNT & may and (drawn := amount(doc, at, node, timed)) is not None:
        has["amount"] = drawn
    if form == "Procedure" and isinstance(node.get("duration"), dict) and "amount" not in has:
        has["amount"] = amount(doc, at, {"range": node["duration"]}, True)
    if form == "Counter" and "amount" in node:
        # 'amount' is a random quantity everywhere else
        has["count"] = has.pop("amount", 0)
    if form == "SetAttribute" and "value" in node:
        has["value"] = node["value"]
    if form == "SetAttribute" and node.get("series_data") is not None and not {"expression", "range"} & node.keys():
        at_data = (*at, "series_data")
        has = {
            "attribute": has.get("attribute"),
            "value": traces.series(doc, at_data, node["series_data"], node.get("period")),
        }
    _complete(doc, at, form, has)
    way = _transition(doc, at, node, form)
    return State(name, form, has, way, remarks=_remarks(node))


def _remarks(node: Mapping[str, Any]) -> tuple[str, ...]:
    said = node.get("remarks") or ()
    return (said,) if isinstance(said, str) else tuple(str(r) for r in said)


def _complete(doc: Document, at: Path, form: str, has: Mapping[str, Any]) -> None:
    if form == "Delay" and "amount" not in has:
        doc.complain(at, "Delay has none of 'exact', 'range' and 'distribution'")
    if form in ("Symptom", "VitalSign") and not {"amount", "expression"} & has.keys():
        doc.complain(at, f"{form} has no value: none of 'exact', 'range' and 'distribution'")
    if form == "Encounter" and not has.get("wellness"):
        for name in ("encounter_class", "codes"):
            if name not in has:
                doc.complain(at, f"Encounter has no '{name}' (and is no wellness visit)")
    if form in ENDS and not {ENDS[form], "referenced_by_attribute", "codes"} & has.keys():
        doc.complain(at, f"{form} has none of '{ENDS[form]}', 'referenced_by_attribute' and 'codes'")
    if form == "Observation" and not {"amount", "text", *VALUE} & has.keys():
        doc.complain(at, "Observation has no value")
    value = has.get("value")
    if form == "SetAttribute" and isinstance(value, (dict, list)):
        doc.complain((*at, "value"), f"'value' is {kind(value)}, expected a number, a text, true, false or null")


ENDS = {
    "ConditionEnd": "condition_onset",
    "AllergyEnd": "allergy_onset",
    "MedicationEnd": "medication_order",
    "CarePlanEnd": "careplan",
    "DeviceEnd": "device",
}
"""The field of each ending state that names the state whose entry it ends."""


def _transition(doc: Document, at: Path, node: Mapping[str, Any], form: str) -> Transition | None:
    found = [t for t in TRANSITIONS if t in node]
    if form == "Physiology" and "alt_direct_transition" in node:
        return Transition("direct", (_to(doc, (*at, "alt_direct_transition"), node["alt_direct_transition"]),))
    if form == "Terminal":
        if found:
            doc.complain((*at, found[0]), "Terminal has a transition")
        return None
    if not found:
        doc.complain(at, f"{form} has no transition")
        return None
    name, here = found[0], (*at, found[0])
    value = node[name]
    short = name.removesuffix("_transition")
    if short == "direct":
        return Transition(short, (_to(doc, here, value),))
    if short == "type_of_care":
        names = {"ambulatory", "emergency", "telemedicine"}
        if not fields(doc, here, value, names, set(), "type_of_care_transition"):
            return None
        return Transition(short, tuple(_to(doc, (*here, n), value[n]) for n in sorted(names)))
    options = [_OPTIONS[short](doc, (*here, n), o) for n, o in enumerate(listed(doc, here, value))]
    if not options:
        return None
    table = None
    if short == "lookup_table":
        table = str(value[0].get("lookup_table_name")) if isinstance(value[0], dict) else ""
        for n, option in enumerate(value):
            if isinstance(option, dict) and option.get("lookup_table_name") != table:
                doc.complain((*here, n, "lookup_table_name"), "one transition looks into one table")
    return Transition(short, tuple(options), table)


def _to(doc: Document, at: Path, value: Any) -> Option:
    return Option(text(doc, at, value))


def _weighted(doc: Document, at: Path, node: Any) -> Option:
    if not fields(doc, at, node, {"distribution", "transition"}, {"condition"}, "distributed option"):
        return Option(None, 0.0)
    return Option(text(doc, (*at, "transition"), node["transition"]), _weight(doc, at, node["distribution"]))


def _weight(doc: Document, at: Path, value: Any) -> float | Share:
    here = (*at, "distribution")
    if isinstance(value, dict):
        if not fields(doc, here, value, {"attribute"}, {"default"}, "distribution"):
            return 0.0
        default = number(doc, (*here, "default"), value.get("default", 1.0), 0, 1)
        return Share(text(doc, (*here, "attribute"), value["attribute"]), default)
    return number(doc, here, value, 0, 1)


def _conditional(doc: Document, at: Path, node: Any) -> Option:
    if not fields(doc, at, node, {"transition"}, {"condition"}, "conditional option"):
        return Option(None)
    when = condition(doc, (*at, "condition"), node["condition"]) if "condition" in node else None
    return Option(text(doc, (*at, "transition"), node["transition"]), when=when)


def _complex(doc: Document, at: Path, node: Any) -> Option:
    if not fields(doc, at, node, set(), {"condition", "transition", "distributions"}, "complex option"):
        return Option(None)
    when = condition(doc, (*at, "condition"), node["condition"]) if "condition" in node else None
    if "transition" in node:
        return Option(text(doc, (*at, "transition"), node["transition"]), when=when)
    here = (*at, "distributions")
    spread = [_weighted(doc, (*here, n), d) for n, d in enumerate(listed(doc, here, node.get("distributions")))]
    return Option(None, when=when, spread=tuple(spread))


def _looked_up(doc: Document, at: Path, node: Any) -> Option:
    must = {"transition", "default_probability", "lookup_table_name"}
    if not fields(doc, at, node, must, set(), "lookup option"):
        return Option(None, 0.0)
    weight = number(doc, (*at, "default_probability"), node["default_probability"], 0, 1)
    return Option(text(doc, (*at, "transition"), node["transition"]), weight)


_OPTIONS: Mapping[str, Callable[[Document, Path, Any], Option]] = {
    "distributed": _weighted,
    "conditional": _conditional,
    "complex": _complex,
    "lookup_table": _looked_up,
}


def _finding(doc: Document, at: Path, node: Any) -> State:
    """One of the observations of a panel or a report."""
    fields(doc, at, node, {"codes"}, FINDING | {"type"}, "observation")
    if not isinstance(node, dict):
        return State("", "Observation", {}, None)
    has: dict[str, Any] = {}
    for key in node:
        if key in READERS and key in FINDING and node[key] not in ABSENT:
            has[key] = READERS[key](doc, (*at, key), node[key])
    if (said := _said(node)) is not None:
        has["text"] = said
    elif (drawn := amount(doc, at, node)) is not None:
        has["amount"] = drawn
    _complete(doc, at, "Observation", has)
    return State("", "Observation", has, None)


def _said(node: Mapping[str, Any]) -> str | None:
    """The text that an observation states where others state a quantity."""
    exact = node.get("exact")
    quantity = exact.get("quantity") if isinstance(exact, dict) else None
    return quantity if isinstance(quantity, str) else None


def _findings(doc: Document, at: Path, value: Any) -> tuple[State, ...]:
    return tuple(_finding(doc, (*at, n), o) for n, o in enumerate(listed(doc, at, value)))


def _expression(doc: Document, at: Path, value: Any) -> expression.Expression | None:
    try:
        return expression.parse(text(doc, at, value))
    except expression.Malformed as error:
        doc.complain(at, f"expression: {error}")
        return None


def _prescription(doc: Document, at: Path, node: Any) -> Mapping[str, Any]:
    may = {"dosage", "duration", "refills", "as_needed", "instructions"}
    if not fields(doc, at, node, set(), may, "prescription"):
        return {}
    has: dict[str, Any] = {}
    if "dosage" in node and fields(
        doc, (*at, "dosage"), node["dosage"], {"amount", "frequency", "period", "unit"}, set(), "dosage"
    ):
        dosage, here = node["dosage"], (*at, "dosage")
        each = {k: number(doc, (*here, k), dosage[k], 0) for k in ("amount", "frequency", "period")}
        has["dosage"] = {**each, "unit": unit(doc, here, dosage, {}, True)}
    if "duration" in node and fields(doc, (*at, "duration"), node["duration"], {"quantity", "unit"}, set(), "duration"):
        length, here = node["duration"], (*at, "duration")
        quantity = number(doc, (*here, "quantity"), length["quantity"], 0)
        has["duration"] = {"quantity": quantity, "unit": unit(doc, here, length, {}, True)}
    if "refills" in node:
        has["refills"] = int(number(doc, (*at, "refills"), node["refills"], 0))
    if "as_needed" in node:
        has["as_needed"] = flag(doc, (*at, "as_needed"), node["as_needed"])
    if "instructions" in node:
        has["instructions"] = codes(doc, (*at, "instructions"), node["instructions"])
    return has


def _goals(doc: Document, at: Path, value: Any) -> tuple[Mapping[str, Any], ...]:
    made = []
    for n, node in enumerate(listed(doc, at, value, 0)):
        here = (*at, n)
        if not fields(doc, here, node, set(), {"text", "observation", "addresses"}, "goal"):
            continue
        goal: dict[str, Any] = {
            "addresses": tuple(map(str, listed(doc, (*here, "addresses"), node.get("addresses", []), 0)))
        }
        if "text" in node:
            goal["text"] = text(doc, (*here, "text"), node["text"])
        if "observation" in node and fields(
            doc, (*here, "observation"), node["observation"], {"codes", "operator", "value"}, set(), "goal"
        ):
            sought, there = node["observation"], (*here, "observation")
            goal["observation"] = {
                "codes": codes(doc, (*there, "codes"), sought["codes"]),
                "operator": text(doc, (*there, "operator"), sought["operator"], ORDER),
                "value": sought["value"],
            }
        made.append(goal)
    return tuple(made)


def _reactions(doc: Document, at: Path, value: Any) -> tuple[Mapping[str, Any], ...]:
    made = []
    for n, node in enumerate(listed(doc, at, value, 0)):
        here = (*at, n)
        if not fields(doc, here, node, {"reaction", "possible_severities"}, set(), "reaction"):
            continue
        levels = []
        for m, severity in enumerate(listed(doc, (*here, "possible_severities"), node["possible_severities"])):
            there = (*here, "possible_severities", m)
            # the framework's documents call the two severity and level
            names = (
                ("severity", "level") if isinstance(severity, dict) and "severity" in severity else ("level", "value")
            )
            if fields(doc, there, severity, set(names), set(), "severity"):
                said = severity[names[0]]
                said = said.lower() if isinstance(said, str) else said
                level = text(doc, (*there, names[0]), said, ("none", "mild", "moderate", "severe"))
                levels.append((level, number(doc, (*there, names[1]), severity[names[1]], 0, 1)))
        made.append({"reaction": code(doc, (*here, "reaction"), node["reaction"]), "severities": tuple(levels)})
    return tuple(made)


def _series(doc: Document, at: Path, value: Any) -> Any:
    if not isinstance(value, list):
        return text(doc, at, value) if isinstance(value, str) else int(number(doc, at, value))
    made = []
    for n, node in enumerate(listed(doc, at, value)):
        here = (*at, n)
        may = {"min_number_instances", "max_number_instances"}
        if not fields(doc, here, node, {"body_site", "modality", "instances"}, may, "series"):
            continue
        instances = []
        for m, image in enumerate(listed(doc, (*here, "instances"), node["instances"])):
            there = (*here, "instances", m)
            if fields(doc, there, image, {"title", "sop_class"}, set(), "instance"):
                sop = code(doc, (*there, "sop_class"), image["sop_class"])
                instances.append({"title": str(image["title"]), "sop_class": sop})
        least = int(number(doc, (*here, "min_number_instances"), node.get("min_number_instances", len(instances)), 0))
        most = int(number(doc, (*here, "max_number_instances"), node.get("max_number_instances", least), 0))
        made.append(
            {
                "body_site": code(doc, (*here, "body_site"), node["body_site"]),
                "modality": code(doc, (*here, "modality"), node["modality"]),
                "instances": tuple(instances),
                "count": (least, max(least, most)),
            }
        )
    return tuple(made)


def _supplies(doc: Document, at: Path, value: Any) -> tuple[Mapping[str, Any], ...]:
    made = []
    for n, node in enumerate(listed(doc, at, value)):
        if fields(doc, (*at, n), node, {"code", "quantity"}, set(), "supply"):
            quantity = number(doc, (*at, n, "quantity"), node["quantity"], 0)
            made.append({"code": code(doc, (*at, n, "code"), node["code"]), "quantity": int(quantity)})
    return tuple(made)


def _probability(doc: Document, at: Path, value: Any) -> float:
    return number(doc, at, value, 0, 1)


def _count(doc: Document, at: Path, value: Any) -> int:
    return int(number(doc, at, value, 0))


def _one_of(*choices: str) -> Callable[[Document, Path, Any], str]:
    return lambda doc, at, value: text(doc, at, value, choices)


READERS: Mapping[str, Callable[[Document, Path, Any], Any]] = {
    **dict.fromkeys(
        ("attribute", "value_attribute", "submodule", "reason", "target_encounter", "assign_to_attribute"), text
    ),
    **dict.fromkeys(("referenced_by_attribute", "vital_sign", "cause", "model"), text),
    **dict.fromkeys((*ENDS.values(), "manufacturer"), text),
    **dict.fromkeys(("discharge_disposition", "value_code", "code", "procedure_code"), code),
    **dict.fromkeys(("codes", "activities"), codes),
    **dict.fromkeys(("wellness", "chronic", "administration"), flag),
    **dict.fromkeys(("amount", "number_of_observations", "min_number_series", "max_number_series"), _count),
    "category": lambda doc, at, value: text(doc, at, value),
    "unit": lambda doc, at, value: value if isinstance(value, str) else "",
    "symptom": lambda doc, at, value: value if value == "" else text(doc, at, value),
    "action": _one_of("increment", "decrement"),
    "allergy_type": _one_of("allergy", "intolerance"),
    "encounter_class": _one_of(*CLASSES),
    "telemedicine_possibility": _one_of("none", "possible", "always"),
    "allow": condition,
    "probability": _probability,
    "expression": _expression,
    "sampled_data": traces.sampled,
    "attachment": traces.file,
    "observations": _findings,
    "prescription": _prescription,
    "goals": _goals,
    "reactions": _reactions,
    "series": _series,
    "supplies": _supplies,
}
