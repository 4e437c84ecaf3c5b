"""Conditions as functions of many patients: whether each holds at each one's moment, and when that may next change by itself."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from .draws import month_day
from .memory import CODE, ENTRY, NIL, TEXT
from .people import ALIVE
from .values import UNITS, Logic

if TYPE_CHECKING:
    from .machine import Run

Holds = Callable[["Run", NDArray, NDArray], NDArray[np.bool_]]
"""holds(run, patients, at): one truth each."""
Changes = Callable[["Run", NDArray, NDArray], NDArray[np.int64]]
"""changes(run, patients, at): the earliest later time at which the clock alone may change it."""
Fact = tuple[str, Any]

COMPARE: dict[str, Callable[[Any, Any], Any]] = {
    "==": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
MONTHS = {"months": 1, "years": 12, "decades": 120}
ACTIVE = {
    "Active Condition": "condition",
    "Active Medication": "medication",
    "Active CarePlan": "careplan",
    "Active Allergy": "allergy",
}


def facts(logic: Logic) -> set[Fact]:
    """What a condition reads that a state may change."""
    found: set[Fact] = set()
    for part in logic.walk():
        if part.kind == "Attribute":
            found.add(("attribute", part.has["attribute"]))
        elif part.kind in ACTIVE:
            found |= {(ACTIVE[part.kind], c.code) for c in part.has.get("codes", ())}
        elif part.kind == "Symptom":
            found.add(("symptom", part.has["symptom"]))
        elif part.kind == "Vital Sign":
            found.add(("vital", part.has["vital_sign"]))
        elif part.kind == "Observation":
            found |= {("observation", c.code) for c in part.has.get("codes", ())}
        if "referenced_by_attribute" in part.has:
            found.add(("attribute", part.has["referenced_by_attribute"]))
            found.add(("referenced", ""))
    return found


def holds(logic: Logic, file: str) -> Holds:
    """The function that tests a condition of a module file."""
    if logic.kind in ("And", "Or", "At Least", "At Most"):
        return _joined(logic, [holds(p, file) for p in logic.parts])
    if logic.kind == "Not":
        inner = holds(logic.parts[0], file)
        return lambda run, p, at: ~inner(run, p, at)
    if logic.kind in ("True", "False"):
        truth = logic.kind == "True"
        return lambda run, p, at: np.full(len(p), truth)
    if logic.kind == "PriorState":
        return _prior(logic, file)
    if logic.kind in ACTIVE:
        return _active(logic)
    return _LEAVES[logic.kind](logic)


def _joined(logic: Logic, parts: list[Holds]) -> Holds:
    vitals = [part.has.get("vital_sign") for part in logic.parts]

    def every(run: Run, p: NDArray, at: NDArray) -> NDArray:
        out = parts[0](run, p, at)
        for part, vital in zip(parts[1:], vitals[1:], strict=True):
            if vital and vital not in run.vitals:
                # what a body says takes no number of the module's: it is asked of those alone for whom it matters
                rest = np.flatnonzero(out)
                if len(rest):
                    out[rest] = part(run, p[rest], at[rest])
            else:
                out = out & part(run, p, at)
        return out

    def some(run: Run, p: NDArray, at: NDArray) -> NDArray:
        out = parts[0](run, p, at)
        for part in parts[1:]:
            out = out | part(run, p, at)
        return out

    def count(run: Run, p: NDArray, at: NDArray) -> NDArray:
        return np.sum([part(run, p, at) for part in parts], axis=0)

    if logic.kind == "And":
        return every
    if logic.kind == "Or":
        return some
    if logic.kind == "At Least":
        least = logic.has["minimum"]
        return lambda run, p, at: count(run, p, at) >= least
    most = logic.has["maximum"]
    return lambda run, p, at: count(run, p, at) <= most


def _text(attribute: str, wanted: str, fold: bool = False) -> Holds:
    def test(run: Run, p: NDArray, at: NDArray) -> NDArray:
        held = run.attribute(attribute)
        ids = run.texts_equal(wanted, fold)
        value = held.value[p]
        same = value == ids[0] if len(ids) == 1 else np.isin(value, ids)
        return (held.kind[p] == TEXT) & same

    return test


def _threshold(logic: Logic) -> tuple[Callable[[Run, NDArray], Any], Callable[[Run, NDArray], Any]]:
    """The begins of the span in which an age or a date equals the quantity, and of what comes after it."""
    if logic.kind == "Age":
        quantity, unit = logic.has["quantity"], logic.has["unit"]
        low, high = int(np.ceil(quantity)), int(np.floor(quantity)) + 1
        return (lambda run, p: run.birthday(low, unit)[p]), (lambda run, p: run.birthday(high, unit)[p])
    if "year" in logic.has:
        first, after = _new_year(logic.has["year"]), _new_year(logic.has["year"] + 1)
    else:
        first = logic.has["date"]
        after = first + 1
    return (lambda run, p: first), (lambda run, p: after)


def _new_year(year: float) -> int:
    return int(np.datetime64(int(year) - 1970, "Y").astype("datetime64[us]").astype(np.int64))


def _timed(logic: Logic) -> Holds:
    sign = logic.has["operator"]
    if "month" in logic.has:
        wanted, compare = logic.has["month"], COMPARE[sign]
        return lambda run, p, at: compare(
            at.astype("datetime64[us]").astype("datetime64[M]").astype(np.int64) % 12 + 1, wanted
        )
    low, high = _threshold(logic)
    tests: dict[str, Holds] = {
        ">=": lambda run, p, at: at >= low(run, p),
        ">": lambda run, p, at: at >= high(run, p),
        "<": lambda run, p, at: at < low(run, p),
        "<=": lambda run, p, at: at < high(run, p),
        "==": lambda run, p, at: (at >= low(run, p)) & (at < high(run, p)),
        "!=": lambda run, p, at: (at < low(run, p)) | (at >= high(run, p)),
    }
    return tests[sign]


def _attribute(logic: Logic) -> Holds:
    name, sign = logic.has["attribute"], logic.has["operator"]
    value = logic.has.get("value_code", logic.has.get("value"))
    if sign == "is nil" or (sign == "==" and value is None):
        return lambda run, p, at: run.attribute(name).kind[p] == NIL
    if sign == "is not nil" or (sign == "!=" and value is None):
        return lambda run, p, at: run.attribute(name).kind[p] != NIL
    compare = COMPARE[sign]

    def test(run: Run, p: NDArray, at: NDArray) -> NDArray:
        held = run.attribute(name)
        kind, wanted = run.plain(value)
        same = held.kind[p] == kind
        # what is not of one type is not equal, and has no order
        if sign == "!=":
            return ~same | (held.value[p] != wanted)
        return same & compare(held.value[p], wanted)

    return test


def _measured(logic: Logic) -> Holds:
    sign = logic.has["operator"]
    symptom = logic.kind == "Symptom"
    name = logic.has["symptom" if symptom else "vital_sign"]

    def value(run: Run, p: NDArray, at: NDArray) -> NDArray:
        return run.symptom(name, p) if symptom else run.vital(name, p, at)

    if sign.endswith("nil"):
        return lambda run, p, at: np.full(len(p), sign == "is not nil")
    wanted, compare = logic.has["value"], COMPARE[sign]
    return lambda run, p, at: compare(value(run, p, at), wanted)


def _observed(logic: Logic) -> Holds:
    sign = logic.has["operator"]
    codes, reference = logic.has.get("codes", ()), logic.has.get("referenced_by_attribute")

    def test(run: Run, p: NDArray, at: NDArray) -> NDArray:
        if reference:
            held = run.attribute(reference)
            is_code = (held.kind[p] == CODE) | (held.kind[p] == ENTRY)
            seen = np.where(is_code, run.code_of(held, p), -1)
            kind, value = np.zeros(len(p), np.int8), np.full(len(p), np.nan)
            for c in np.unique(seen[seen >= 0]):
                here = seen == c
                latest = run.latest(run.codes.values[c])
                kind[here], value[here] = latest.kind[p[here]], latest.value[p[here]]
        else:
            kind, value = np.zeros(len(p), np.int8), np.full(len(p), np.nan)
            for c in codes:
                latest = run.latest(c.code)
                here = (kind == NIL) & (latest.kind[p] != NIL)
                kind[here], value[here] = latest.kind[p[here]], latest.value[p[here]]
        if sign == "is nil":
            return kind == NIL
        if sign == "is not nil":
            return kind != NIL
        wanted_kind, wanted = run.plain(logic.has.get("value_code", logic.has.get("value")))
        return (kind == wanted_kind) & COMPARE[sign](value, wanted)

    return test


def _active(logic: Logic) -> Holds:
    form = ACTIVE[logic.kind]
    codes, reference = logic.has.get("codes", ()), logic.has.get("referenced_by_attribute")

    def test(run: Run, p: NDArray, at: NDArray) -> NDArray:
        out = np.zeros(len(p), bool)
        if reference:
            held = run.attribute(reference)
            known = (held.kind[p] == ENTRY) | (held.kind[p] == CODE)
            code = np.where(known, run.code_of(held, p), -1)
            for c in np.unique(code[code >= 0]):
                here = code == c
                out[here] = run.active(form, int(c))[p[here]] >= 0
            return out
        for c in codes:
            out |= run.active(form, run.codes(c.code))[p] >= 0
        return out

    return test


def _prior(logic: Logic, file: str) -> Holds:
    name, since, within = (logic.has.get(k) for k in ("name", "since", "within"))

    def test(run: Run, p: NDArray, at: NDArray) -> NDArray:
        order, left = run.watched(file, str(name), p)
        out = order > 0
        if since:
            out &= order > run.watched(file, since, p)[0]
        if within is not None:
            out &= left > at - within
        return out

    return test


_LEAVES: dict[str, Callable[[Logic], Holds]] = {
    "Gender": lambda logic: _text("gender", logic.has["gender"]),
    "Race": lambda logic: _text("race", logic.has["race"], fold=True),
    "Socioeconomic Status": lambda logic: _text("socioeconomic_category", logic.has["category"]),
    "Age": _timed,
    "Date": _timed,
    "Attribute": _attribute,
    "Symptom": _measured,
    "Vital Sign": _measured,
    "Observation": _observed,
}


def changes(logic: Logic, file: str) -> Changes:
    """The function that tells when the clock alone may next change a condition."""
    timed: list[Changes] = []
    for part in logic.walk():
        if part.kind in ("Age", "Date"):
            timed.append(_next_month if "month" in part.has else _next(part))
        elif part.kind == "PriorState" and "within" in part.has:
            timed.append(_lapse(part, file))
        elif part.kind == "Vital Sign":
            # a vital sign may change at any time: it is looked at in every step
            timed.append(lambda run, p, at: at + 1)

    def earliest(run: Run, p: NDArray, at: NDArray) -> NDArray:
        out = np.full(len(p), ALIVE)
        for part in timed:
            out = np.minimum(out, part(run, p, at))
        return out

    return earliest


def _next(logic: Logic) -> Changes:
    low, high = _threshold(logic)

    def when(run: Run, p: NDArray, at: NDArray) -> NDArray:
        first, after = low(run, p), high(run, p)
        return np.where(at < first, first, np.where(at < after, after, ALIVE))

    return when


def _next_month(run: Run, p: NDArray, at: NDArray) -> NDArray:
    month = at.astype("datetime64[us]").astype("datetime64[M]") + 1
    return month.astype("datetime64[us]").astype(np.int64)


def _lapse(logic: Logic, file: str) -> Changes:
    name, within = logic.has["name"], logic.has["within"]

    def when(run: Run, p: NDArray, at: NDArray) -> NDArray:
        _, left = run.watched(file, name, p)
        due = left + int(within)
        return np.where(due >= at, due + 1, ALIVE)

    return when


def birthday(birth: NDArray[np.int64], n: int, unit: str) -> NDArray[np.int64]:
    """When each person completes n units of age."""
    if unit in MONTHS:
        return month_day(birth, n * MONTHS[unit])
    return birth + int(n * UNITS[unit])
