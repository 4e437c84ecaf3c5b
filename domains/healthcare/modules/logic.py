"""Reading of conditions and amounts: the parts that states and transitions share."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .document import Document, Path, kind
from .values import UNITS, Amount, Code, Logic

ORDER = ("==", "!=", "<", "<=", ">", ">=")
NIL = ("is nil", "is not nil")
REMARKS = {"remarks", "condition_type"}
PARAMETERS = {
    "EXACT": (("value",), ()),
    "UNIFORM": (("low", "high"), ()),
    "GAUSSIAN": (("mean", "standardDeviation"), ("min", "max")),
    "EXPONENTIAL": (("mean",), ()),
    "TRIANGULAR": (("min", "mode", "max"), ()),
}
DATE_PARTS = ("year", "month", "day", "hour", "minute", "second", "millisecond")
CATEGORIES = ("High", "Middle", "Low")
CONDITIONS: Mapping[str, tuple[set[str], set[str]]] = {
    "Gender": ({"gender"}, set()),
    "Age": ({"operator", "quantity", "unit"}, {"value"}),
    "Date": ({"operator"}, {"year", "month", "date"}),
    "Socioeconomic Status": ({"category"}, set()),
    "Race": ({"race"}, set()),
    "Symptom": ({"symptom", "operator"}, {"value"}),
    "Observation": ({"operator"}, {"codes", "referenced_by_attribute", "value", "value_code"}),
    "Vital Sign": ({"vital_sign", "operator"}, {"value"}),
    "Active Condition": (set(), {"codes", "referenced_by_attribute"}),
    "Active Medication": (set(), {"codes", "referenced_by_attribute"}),
    "Active CarePlan": (set(), {"codes", "referenced_by_attribute"}),
    "Active Allergy": (set(), {"codes", "referenced_by_attribute"}),
    "PriorState": ({"name"}, {"since", "within"}),
    "Attribute": ({"attribute", "operator"}, {"value", "value_code"}),
    "And": ({"conditions"}, set()),
    "Or": ({"conditions"}, set()),
    "At Least": ({"minimum", "conditions"}, set()),
    "At Most": ({"maximum", "conditions"}, set()),
    "Not": ({"condition"}, set()),
    "True": (set(), set()),
    "False": (set(), set()),
}
"""The fields that each condition type must and may have."""


def fields(doc: Document, at: Path, node: Any, must: set[str], may: set[str], what: str) -> bool:
    """Whether an object has all that it must have; complains of what is missing and refuses what is not known."""
    if not isinstance(node, dict):
        doc.complain(at, f"{what}: expected an object, found {kind(node)}")
        return False
    for name in node:
        if name not in must and name not in may and name not in REMARKS:
            doc.unknown((*at, name), f"field of {what}", name, must | may)
    missing = sorted(must - node.keys())
    for name in missing:
        doc.complain(at, f"{what} has no '{name}'")
    return not missing


def text(doc: Document, at: Path, value: Any, choices: tuple[str, ...] = ()) -> str:
    """A text, one of the choices where there are some."""
    if not isinstance(value, str) or not value:
        doc.complain(at, f"'{at[-1]}' is {kind(value)}, expected a text")
        return ""
    if choices and value not in choices:
        doc.unknown(at, str(at[-1]), value, choices)
    return value


def number(doc: Document, at: Path, value: Any, low: float = float("-inf"), high: float = float("inf")) -> float:
    """A finite number within limits; JSON's 'NaN' and 'Infinity' are none."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not abs(value) < 1e300:
        doc.complain(at, f"'{at[-1]}' is {kind(value)}, expected a number")
        return 0.0
    if not low <= value <= high:
        doc.complain(at, f"'{at[-1]}' is {value:g}, outside {low:g} to {high:g}")
    return float(value)


def flag(doc: Document, at: Path, value: Any) -> bool:
    if not isinstance(value, bool):
        doc.complain(at, f"'{at[-1]}' is {kind(value)}, expected true or false")
    return value is True


def listed(doc: Document, at: Path, value: Any, least: int = 1) -> list[Any]:
    """A list of at least so many."""
    if not isinstance(value, list):
        doc.complain(at, f"'{at[-1]}' is {kind(value)}, expected a list")
        return []
    if len(value) < least:
        doc.complain(at, f"'{at[-1]}' is empty")
    return value


def code(doc: Document, at: Path, node: Any) -> Code:
    if not fields(doc, at, node, {"system", "code"}, {"display", "value_set", "version"}, "code"):
        return Code("", "", "")
    value = node["code"]
    if isinstance(value, bool) or not isinstance(value, (str, int)) or value == "":
        doc.complain((*at, "code"), f"'code' is {kind(value)}, expected a text")
    return Code(
        text(doc, (*at, "system"), node["system"]),
        str(value).strip(),
        str(node.get("display") or value),
        node.get("value_set") or None,
    )


def codes(doc: Document, at: Path, value: Any) -> tuple[Code, ...]:
    return tuple(code(doc, (*at, n), c) for n, c in enumerate(listed(doc, at, value)))


def amount(doc: Document, at: Path, node: Mapping[str, Any], time: bool = False) -> Amount | None:
    """The first of `exact`, `range` and `distribution` in a state, or None. A time must have a unit."""
    for form in ("exact", "range", "distribution"):
        if form in node:
            return _FORMS[form](doc, (*at, form), node, time)
    return None


def _exact(doc: Document, at: Path, node: Mapping[str, Any], time: bool) -> Amount | None:
    value = node["exact"]
    if not fields(doc, at, value, {"quantity"}, {"unit"}, "exact"):
        return None
    parameters = {"value": number(doc, (*at, "quantity"), value["quantity"])}
    return Amount("EXACT", parameters, unit(doc, at, value, node, time))


def _range(doc: Document, at: Path, node: Mapping[str, Any], time: bool) -> Amount | None:
    value = node["range"]
    if not fields(doc, at, value, {"low", "high"}, {"unit", "decimals"}, "range"):
        return None
    low, high = number(doc, (*at, "low"), value["low"]), number(doc, (*at, "high"), value["high"])
    decimals = value.get("decimals")
    if decimals is not None:
        decimals = int(number(doc, (*at, "decimals"), decimals, 0, 12))
    return Amount("UNIFORM", {"low": low, "high": high}, unit(doc, at, value, node, time), decimals=decimals)


def _distribution(doc: Document, at: Path, node: Mapping[str, Any], time: bool) -> Amount | None:
    value = node["distribution"]
    if not fields(doc, at, value, {"kind", "parameters"}, {"round"}, "distribution"):
        return None
    form = text(doc, (*at, "kind"), value["kind"]).upper()
    if form not in PARAMETERS:
        doc.unknown((*at, "kind"), "distribution", value["kind"], PARAMETERS)
        return None
    must, may = PARAMETERS[form]
    if not fields(doc, (*at, "parameters"), value["parameters"], set(must), set(may), form):
        return None
    have = {k: v for k, v in value["parameters"].items() if k not in REMARKS and v is not None}
    parameters = {k: number(doc, (*at, "parameters", k), v) for k, v in have.items()}
    # a range whose ends are swapped is drawn from all the same
    names = {"TRIANGULAR": ("min", "mode", "max"), "GAUSSIAN": ("min", "max")}.get(form, ())
    given = [parameters[n] for n in names if n in parameters]
    if given != sorted(given):
        doc.complain((*at, "parameters"), f"{form}: expected {' <= '.join(names)}")
    if parameters.get("standardDeviation", 0.0) < 0:
        doc.complain((*at, "parameters", "standardDeviation"), "a standard deviation is not negative")
    rounded = flag(doc, (*at, "round"), value["round"]) if "round" in value else False
    return Amount(form, parameters, unit(doc, at[:-1], node, {}, time), rounded, whole=time)


_FORMS = {"exact": _exact, "range": _range, "distribution": _distribution}


def unit(doc: Document, at: Path, node: Mapping[str, Any], outer: Mapping[str, Any], time: bool) -> str:
    """The unit of an amount: its own or the state's; a time's is one of `UNITS`."""
    value = node.get("unit", outer.get("unit"))
    if not time:
        return value if isinstance(value, str) else ""
    if value is None:
        doc.complain(at, "a time has no 'unit'")
        return "days"
    name = value if isinstance(value, str) else ""
    name = name if name in UNITS or f"{name}s" not in UNITS else f"{name}s"
    if name not in UNITS:
        doc.unknown((*at, "unit"), "unit of time", value, UNITS)
        return "days"
    return name


def condition(doc: Document, at: Path, node: Any) -> Logic:
    """A condition with those that it joins."""
    if not isinstance(node, dict) or not isinstance(node.get("condition_type"), str):
        doc.complain(at, f"a condition is an object with a 'condition_type', not {kind(node)}")
        return Logic("False")
    name = node["condition_type"]
    if name not in CONDITIONS:
        doc.unknown((*at, "condition_type"), "condition type", name, CONDITIONS)
        return Logic("False")
    must, may = CONDITIONS[name]
    if not fields(doc, at, node, must, may, f"condition {name}"):
        return Logic("False")
    if name in ("And", "Or", "At Least", "At Most"):
        inner = enumerate(listed(doc, (*at, "conditions"), node["conditions"]))
        parts = tuple(condition(doc, (*at, "conditions", n), c) for n, c in inner)
        bound = {k: int(number(doc, (*at, k), node[k], 0)) for k in ("minimum", "maximum") if k in node}
        return Logic(name, bound, parts)
    if name == "Not":
        return Logic(name, {}, (condition(doc, (*at, "condition"), node["condition"]),))
    has: dict[str, Any] = {}
    for key in (must | may) & node.keys():
        value, here = node[key], (*at, key)
        if key in ("symptom", "vital_sign", "attribute", "referenced_by_attribute", "since", "race") or key == "name":
            has[key] = text(doc, here, value)
        elif key == "gender":
            has[key] = text(doc, here, value, ("M", "F"))
        elif key == "category":
            has[key] = text(doc, here, value, CATEGORIES)
        elif key == "operator":
            nil = NIL if name in ("Attribute", "Observation", "Symptom", "Vital Sign") else ()
            has[key] = text(doc, here, value, ORDER + nil)
        elif key == "codes":
            has[key] = codes(doc, here, value)
        elif key == "value_code":
            has[key] = code(doc, here, value)
        elif key in ("quantity", "year", "month"):
            has[key] = number(doc, here, value)
        elif key == "unit":
            has[key] = unit(doc, at, node, {}, True)
        elif key == "within":
            has[key] = _within(doc, here, value)
        elif key == "date":
            has[key] = _date(doc, here, value)
        elif key == "value" and name != "Age":
            has[key] = value if name == "Attribute" else number(doc, here, value)
    _complete(doc, at, name, has)
    return Logic(name, has)


def _complete(doc: Document, at: Path, name: str, has: Mapping[str, Any]) -> None:
    compared = has.get("operator") in ORDER
    if name in ("Symptom", "Vital Sign") and compared and "value" not in has:
        doc.complain(at, f"condition {name} has no 'value'")
    if name in ("Attribute", "Observation") and compared and not {"value", "value_code"} & has.keys():
        doc.complain(at, f"condition {name} has neither 'value' nor 'value_code'")
    if (name.startswith("Active ") or name == "Observation") and not {"codes", "referenced_by_attribute"} & has.keys():
        doc.complain(at, f"condition {name} has neither 'codes' nor 'referenced_by_attribute'")
    if name == "Date" and len({"year", "month", "date"} & has.keys()) != 1:
        doc.complain(at, "condition Date has one of 'year', 'month' and 'date'")
    if name == "Attribute" and isinstance(has.get("value"), (dict, list)):
        doc.complain((*at, "value"), "an attribute is compared with a number, a text, true, false or null")


def _within(doc: Document, at: Path, node: Any) -> float:
    if not fields(doc, at, node, {"quantity", "unit"}, set(), "within"):
        return 0.0
    return number(doc, (*at, "quantity"), node["quantity"], 0) * UNITS[unit(doc, at, node, {}, True)]


def _date(doc: Document, at: Path, node: Any) -> int:
    """Microseconds since 1970 of a moment given by its parts, the missing ones at their first."""
    import datetime as dt

    if not fields(doc, at, node, {"year"}, set(DATE_PARTS[1:]), "date"):
        return 0
    part = {p: int(number(doc, (*at, p), node[p])) for p in DATE_PARTS if p in node}
    try:
        day = dt.date(part["year"], part.get("month", 1), part.get("day", 1))
    except ValueError as error:
        doc.complain(at, f"no such date: {error}")
        return 0
    clock = sum(part.get(p, 0) * UNITS[f"{p}s"] for p in DATE_PARTS[3:])
    return (day - dt.date(1970, 1, 1)).days * int(UNITS["days"]) + int(clock)
