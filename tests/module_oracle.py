"""A plain interpreter of the Generic Module Framework: one patient, one state at a time, every week of life. It reads the files
itself and shares no code with the engine; it is what the engine is compared with."""

from __future__ import annotations

import csv
import datetime as dt
import json
import math
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

MS = 1_000
DAY = 86_400_000_000
WEEK = 7 * DAY
TIME = {"milliseconds": MS, "seconds": 1e6, "minutes": 6e7, "hours": 3.6e9, "days": DAY, "weeks": WEEK}
TIME |= {"decades": 3652.5 * DAY, "years": 365.25 * DAY, "months": 365.25 * DAY / 12}
NEVER = 2**62


class Files:
    """The modules, submodules and lookup tables of a folder, as they stand there."""

    def __init__(self, folder: Path) -> None:
        self.modules = {}
        root = folder / "modules" if (folder / "modules").is_dir() else folder
        for file in sorted(root.rglob("*.json")):
            path = file.relative_to(root).with_suffix("").as_posix()
            self.modules[path] = json.loads(file.read_text("utf-8-sig"))
        self.tables = {}
        for file in (folder / "lookup_tables").glob("*.csv"):
            with file.open(encoding="utf-8-sig") as lines:
                self.tables[file.name] = [[cell(c.strip()) for c in row] for row in csv.reader(lines) if any(row)]
        care = folder / "telemedicine_config.json"
        self.care = json.loads(care.read_text()) if care.exists() else {}


class Frame:
    """One module or submodule on its way."""

    def __init__(self, file: str) -> None:
        self.file, self.state = file, "Initial"
        self.history: list[tuple[str, int]] = []
        self.until: int | None = None
        self.called: Frame | None = None
        self.undiagnosed: list[str] = []


class Patient:
    def __init__(
        self,
        files: Files,
        attributes: dict[str, Any],
        birth: int,
        end: int,
        visits: list[int],
        vital: Callable[[str, int], float],
        seed: object,
        told: list[tuple[int, str, bool]] | None = None,
    ) -> None:
        self.files, self.random = files, random.Random(str(seed))
        self.attributes = dict(attributes)
        self.birth, self.end, self.death, self.visits, self.body = birth, end, NEVER, visits, vital
        self.active: dict[tuple[str, str], dict[str, Any]] = {}
        self.symptoms: dict[tuple[str, str], float] = {}
        self.vitals: dict[str, dict[str, Any]] = {}
        self.observed: dict[str, Any] = {}
        self.encounter: dict[str, str | None] = {}
        self.visited: dict[str, int] = {}
        self.entered: dict[tuple[str, str, str], int] = {}
        self.counts: dict[str, int] = {}
        # diagnoses that the world around the modules makes: when, its code, whether it begins
        self.told, self.last_told = list(told or ()), -NEVER
        self.told_codes = {code for _, code, _ in self.told}

    def live(self, modules: list[str]) -> None:
        roots = {m: Frame(m) for m in modules}
        time = self.birth
        for m in modules:
            self.enter(m, roots[m], "Initial", time)
        open_ = dict(roots)
        while time < min(self.end, self.death):
            self.hear(time)
            for name in list(open_):
                if time < self.death and self.process(name, open_[name], time):
                    del open_[name]
            time += WEEK

    def hear(self, time: int) -> None:
        while self.told and self.told[0][0] <= time:
            self.last_told, code, begins = self.told.pop(0)
            if begins:
                self.active["condition", code] = {"name": ""}
            else:
                self.active.pop(("condition", code), None)

    def enter(self, root: str, frame: Frame, state: str, time: int) -> None:
        frame.state, frame.until = state, None
        self.entered.setdefault((root, frame.file, state), time)

    def process(self, root: str, frame: Frame, time: int) -> bool:
        """Run until a state does not pass; whether the module has ended."""
        while True:
            state = self.files.modules[frame.file]["states"][frame.state]
            if state["type"] == "Terminal":
                return True
            left = self.run(root, frame, state, time)
            if left is None:
                return False
            frame.history.append((frame.state, left))
            self.enter(root, frame, self.transition(frame, state, left), left)
            if left < time and self.process(root, frame, left):
                return True

    # --- states

    def run(self, root: str, frame: Frame, state: dict[str, Any], time: int) -> int | None:
        """The time at which the state is left; None if it does not pass."""
        kind = state["type"]
        if kind == "CallSubmodule":
            if frame.called is None:
                frame.called = Frame(state["submodule"])
                self.enter(root, frame.called, "Initial", time)
            if not self.process(root, frame.called, time):
                return None
            frame.history += frame.called.history
            frame.undiagnosed += frame.called.undiagnosed
            frame.called = None
            return time
        if kind == "Guard":
            if not self.true(frame, state["allow"], time):
                frame.until = time if frame.until is None else frame.until
                return None
            waited = frame.until is not None and self.last_told > time - WEEK
            told = any(code in json.dumps(state["allow"]) for code in self.told_codes)
            return max(self.last_told, frame.until or time) if waited and told else time
        if kind == "Encounter" and state.get("wellness"):
            if frame.until is None:
                after = max(time, self.visited.get(root, -NEVER) + 1)
                frame.until = next((v for v in self.visits if v >= after), NEVER)
            if frame.until > time or frame.until >= min(self.end, self.death):
                return None
            self.visited[root] = frame.until
            self.arrive(root, frame)
            return frame.until
        if kind in ("Delay", "Procedure"):
            if frame.until is None:
                if kind == "Procedure":
                    self.count(kind)
                frame.until = time + self.length(state)
            if frame.until > time or frame.until >= min(self.end, self.death):
                return None
            return frame.until
        getattr(self, f"do_{kind}", lambda *_: None)(root, frame, state, time)
        self.count(kind)
        return time

    def count(self, kind: str) -> None:
        self.counts[kind] = self.counts.get(kind, 0) + 1

    def length(self, state: dict[str, Any]) -> int:
        if "exact" in state:
            return int(max(0, state["exact"]["quantity"]) * TIME[state["exact"]["unit"]])
        if "range" in state:
            span = state["range"]
            return int(max(0, self.random.uniform(span["low"], span["high"])) * TIME[span["unit"]])
        if "distribution" in state:
            return int(max(0, int(self.distribution(state["distribution"]))) * TIME[state["unit"]])
        if "duration" in state:
            span = state["duration"]
            return int(max(0, self.random.uniform(span["low"], span["high"])) * TIME[span["unit"]])
        return 0

    def distribution(self, node: dict[str, Any]) -> float:
        kind, p = node["kind"].upper(), node["parameters"]
        if kind == "EXACT":
            value = p["value"]
        elif kind == "UNIFORM":
            value = self.random.uniform(p["low"], p["high"])
        elif kind == "GAUSSIAN":
            value = self.random.gauss(p["mean"], p["standardDeviation"])
            value = max(value, p.get("min", -math.inf))
            value = min(value, p.get("max", math.inf))
        elif kind == "EXPONENTIAL":
            value = 1 + self.random.expovariate(1 / p["mean"])
        else:
            value = self.random.triangular(p["min"], p["max"], p["mode"])
        return math.floor(value + 0.5) if node.get("round") else value

    def value(self, state: dict[str, Any]) -> Any:
        if "exact" in state:
            return state["exact"]["quantity"]
        if "range" in state:
            drawn = self.random.uniform(state["range"]["low"], state["range"]["high"])
            decimals = state["range"].get("decimals")
            return drawn if decimals is None else round(drawn, decimals)
        return self.distribution(state["distribution"])

    def do_SetAttribute(self, root: str, frame: Frame, state: dict[str, Any], time: int) -> None:
        name = state["attribute"]
        if "series_data" in state and "range" not in state:
            self.attributes[name] = ("series", *map(float, state["series_data"].split()))
        elif "range" in state or "distribution" in state:
            self.attributes[name] = self.value(state)
        elif "value_code" in state:
            self.attributes[name] = ("code", str(state["value_code"]["code"]))
        elif "value_attribute" in state:
            self.attributes[name] = self.attributes.get(state["value_attribute"])
        else:
            self.attributes[name] = state.get("value")

    def do_Counter(self, root: str, frame: Frame, state: dict[str, Any], time: int) -> None:
        by = (state.get("amount") or 1) * (1 if state["action"] == "increment" else -1)
        old = self.attributes.get(state["attribute"])
        self.attributes[state["attribute"]] = (old if isinstance(old, (int, float)) else 0) + by

    def do_Symptom(self, root: str, frame: Frame, state: dict[str, Any], time: int) -> None:
        value = self.value(state)
        if self.random.random() >= state.get("probability", 1):
            value = 0
        self.symptoms[state["symptom"], state.get("cause") or frame.file] = value

    def do_VitalSign(self, root: str, frame: Frame, state: dict[str, Any], time: int) -> None:
        self.vitals[state["vital_sign"]] = state

    def vital(self, name: str, time: int) -> float:
        return self.value(self.vitals[name]) if name in self.vitals else self.body(name, time)

    def do_Observation(self, root: str, frame: Frame, state: dict[str, Any], time: int) -> None:
        code = str(state["codes"][0]["code"])
        if {"exact", "range", "distribution"} & state.keys():
            self.observed[code] = self.value(state)
        elif "attribute" in state:
            self.observed[code] = self.attributes.get(state["attribute"])
        elif "vital_sign" in state:
            self.observed[code] = self.vital(state["vital_sign"], time)
        elif "value_code" in state:
            self.observed[code] = ("code", str(state["value_code"]["code"]))
        elif "sampled_data" in state:
            held = [self.attributes.get(name) for name in state["sampled_data"]["attributes"]]
            known = all(isinstance(series, tuple) and series[0] == "series" for series in held)
            self.observed[code] = ("sampled", *held) if known else None
        else:
            self.observed[code] = ("file", state["attachment"].get("url"))

    def do_MultiObservation(self, root: str, frame: Frame, state: dict[str, Any], time: int) -> None:
        for part in state["observations"]:
            self.do_Observation(root, frame, part, time)

    do_DiagnosticReport = do_MultiObservation

    def do_Encounter(self, root: str, frame: Frame, state: dict[str, Any], time: int) -> None:
        self.arrive(root, frame)

    def arrive(self, root: str, frame: Frame) -> None:
        name = frame.state
        self.encounter[root] = name
        states = self.files.modules
        for onset in list(frame.undiagnosed):
            file, _, other = onset.partition("\0")
            state = states[file]["states"][other]
            if state["target_encounter"] == name:
                frame.undiagnosed.remove(onset)
                self.diagnose(state, other)

    def do_EncounterEnd(self, root: str, frame: Frame, state: dict[str, Any], time: int) -> None:
        self.encounter[root] = None

    def do_ConditionOnset(self, root: str, frame: Frame, state: dict[str, Any], time: int) -> None:
        target = state.get("target_encounter")
        if not target or self.encounter.get(root) == target:
            self.diagnose(state, frame.state)
            return
        key = f"{frame.file}\0{frame.state}"
        if key not in frame.undiagnosed:
            frame.undiagnosed.append(key)
        if state.get("assign_to_attribute"):
            self.attributes[state["assign_to_attribute"]] = ("code", str(state["codes"][0]["code"]))

    do_AllergyOnset = do_ConditionOnset

    def diagnose(self, state: dict[str, Any], name: str) -> None:
        form = "condition" if state["type"] == "ConditionOnset" else "allergy"
        self.begin(form, state["codes"][0], name, state)

    def begin(self, form: str, code: dict[str, Any], name: str, state: dict[str, Any]) -> None:
        key = form, str(code["code"])
        if key not in self.active:
            self.count(f"new {form}")
        self.active[key] = {"name": name}
        if state.get("assign_to_attribute"):
            self.attributes[state["assign_to_attribute"]] = ("code", key[1])

    def do_MedicationOrder(self, root: str, frame: Frame, state: dict[str, Any], time: int) -> None:
        self.begin("medication", state["codes"][0], frame.state, state)

    def do_CarePlanStart(self, root: str, frame: Frame, state: dict[str, Any], time: int) -> None:
        self.begin("careplan", state["codes"][0], frame.state, state)

    def do_Device(self, root: str, frame: Frame, state: dict[str, Any], time: int) -> None:
        self.begin("device", state["code"], frame.state, state)

    def stop(self, form: str, by_state: str, state: dict[str, Any]) -> None:
        if by_state in state:
            ended = [k for k, e in self.active.items() if k[0] == form and e["name"] == state[by_state]]
        elif "referenced_by_attribute" in state:
            held = self.attributes.get(state["referenced_by_attribute"])
            ended = [(form, held[1])] if isinstance(held, tuple) else []
        else:
            ended = [(form, str(c["code"])) for c in state["codes"]]
        for key in ended:
            self.active.pop(key, None)

    def do_ConditionEnd(self, root: str, frame: Frame, state: dict[str, Any], time: int) -> None:
        self.stop("condition", "condition_onset", state)

    def do_AllergyEnd(self, root: str, frame: Frame, state: dict[str, Any], time: int) -> None:
        self.stop("allergy", "allergy_onset", state)

    def do_MedicationEnd(self, root: str, frame: Frame, state: dict[str, Any], time: int) -> None:
        self.stop("medication", "medication_order", state)

    def do_CarePlanEnd(self, root: str, frame: Frame, state: dict[str, Any], time: int) -> None:
        self.stop("careplan", "careplan", state)

    def do_DeviceEnd(self, root: str, frame: Frame, state: dict[str, Any], time: int) -> None:
        self.stop("device", "device", state)

    def do_Death(self, root: str, frame: Frame, state: dict[str, Any], time: int) -> None:
        self.death = min(self.death, time + self.length(state))

    # --- transitions

    def transition(self, frame: Frame, state: dict[str, Any], time: int) -> str:
        if "alt_direct_transition" in state:
            return state["alt_direct_transition"]
        if "direct_transition" in state:
            return state["direct_transition"]
        if "distributed_transition" in state:
            return self.distributed(state["distributed_transition"])
        if "conditional_transition" in state:
            return self.first(frame, state["conditional_transition"], time)["transition"]
        if "complex_transition" in state:
            option = self.first(frame, state["complex_transition"], time)
            return option["transition"] if "transition" in option else self.distributed(option["distributions"])
        if "lookup_table_transition" in state:
            return self.looked_up(state["lookup_table_transition"], time)
        return self.by_care(state["type_of_care_transition"], time)

    def first(self, frame: Frame, options: list[dict[str, Any]], time: int) -> dict[str, Any]:
        for option in options:
            if "condition" not in option or self.true(frame, option["condition"], time):
                return option
        return options[-1]

    def distributed(self, options: list[dict[str, Any]]) -> str:
        p, total = self.random.random(), 0.0
        for option in options:
            share = option["distribution"]
            if isinstance(share, dict):
                held = self.attributes.get(share["attribute"])
                share = share["default"] if held is None else float(held)
            total += share
            if p < total:
                return option["transition"]
        return options[-1]["transition"]

    def looked_up(self, options: list[dict[str, Any]], time: int) -> str:
        table = self.files.tables[options[0]["lookup_table_name"]]
        n = len(options)
        keys, targets = table[0][:-n], table[0][-n:]
        shares = {o["transition"]: float(o["default_probability"]) for o in options}
        if keys == ["time"] and not table[1][0][0] <= time // MS <= table[-1][0][1]:
            table = table[:1]
        for row in table[1:]:
            if all(self.matches(k.lower(), c, time) for k, c in zip(keys, row[:-n], strict=True)):
                shares |= {t: float(c) for t, c in zip(targets, row[-n:], strict=True)}
                break
        return self.distributed([{"transition": t, "distribution": share} for t, share in shares.items()])

    def matches(self, key: str, cell: Any, time: int) -> bool:
        if key in ("age", "time"):
            low, high = cell
            return low <= (self.age(time, "years") if key == "age" else time // MS) <= high
        held = self.attributes.get(key)
        return held is not None and (str(held).lower() if isinstance(held, bool) else str(held)) == cell

    def by_care(self, to: dict[str, str], time: int) -> str:
        care = self.files.care
        era = "during_telemedicine" if self.date(time).year >= care["start_year"] else "pre_telemedicine"
        high = self.attributes.get("insurance_status") in care["high_emergency_use_insurance_names"]
        shares = care[era]["high_emergency_distribution" if high else "typical_emergency_distribution"]
        return self.distributed([{"transition": to[k], "distribution": v} for k, v in shares.items()])

    # --- conditions

    def date(self, time: int) -> dt.datetime:
        return dt.datetime(1970, 1, 1) + dt.timedelta(microseconds=time)

    def age(self, time: int, unit: str) -> int:
        born, now = self.date(self.birth), self.date(time)
        months = (now.year - born.year) * 12 + now.month - born.month - (now.day < born.day)
        if unit in ("years", "decades"):
            return months // (12 if unit == "years" else 120)
        return months if unit == "months" else int((time - self.birth) // TIME[unit])

    def true(self, frame: Frame, c: dict[str, Any], time: int) -> bool:
        kind = c["condition_type"]
        if kind == "And":
            return all(self.true(frame, x, time) for x in c["conditions"])
        if kind == "Or":
            return any(self.true(frame, x, time) for x in c["conditions"])
        if kind == "Not":
            return not self.true(frame, c["condition"], time)
        if kind in ("At Least", "At Most"):
            n = sum(self.true(frame, x, time) for x in c["conditions"])
            return n >= c["minimum"] if kind == "At Least" else n <= c["maximum"]
        if kind in ("True", "False"):
            return kind == "True"
        if kind == "Gender":
            return self.attributes["gender"] == c["gender"]
        if kind == "Race":
            return self.attributes["race"].lower() == c["race"].lower()
        if kind == "Socioeconomic Status":
            return self.attributes["socioeconomic_category"] == c["category"]
        if kind == "Age":
            return compare(self.age(time, c["unit"]), c["operator"], c["quantity"])
        if kind == "Date":
            now = self.date(time)
            if "date" in c:
                return compare(now, c["operator"], moment(c["date"]))
            part = "year" if "year" in c else "month"
            return compare(getattr(now, part), c["operator"], c[part])
        if kind == "Symptom":
            held = [v for (name, _), v in self.symptoms.items() if name == c["symptom"]]
            return compare(max(held, default=0), c["operator"], c["value"])
        if kind == "Vital Sign":
            return compare(self.vital(c["vital_sign"], time), c["operator"], c["value"])
        if kind == "Observation":
            held = next((self.observed[str(x["code"])] for x in c["codes"] if str(x["code"]) in self.observed), None)
            return (held is not None or c["operator"] == "is nil") and compare(held, c["operator"], c.get("value"))
        if kind == "Attribute":
            return compare(self.attributes.get(c["attribute"]), c["operator"], c.get("value"))
        if kind == "PriorState":
            return self.prior(frame, c, time)
        form = {"Condition": "condition", "Medication": "medication", "CarePlan": "careplan", "Allergy": "allergy"}
        form = form[kind.removeprefix("Active ")]
        if "codes" in c:
            return any((form, str(x["code"])) in self.active for x in c["codes"])
        held = self.attributes.get(c["referenced_by_attribute"])
        return isinstance(held, tuple) and (form, held[1]) in self.active

    def prior(self, frame: Frame, c: dict[str, Any], time: int) -> bool:
        within = c.get("within")
        oldest = None if within is None else time - within["quantity"] * TIME[within["unit"]]
        for name, left in reversed(frame.history):
            if oldest is not None and left <= oldest:
                return False
            if name == c.get("since"):
                return False
            if name == c["name"]:
                return True
        return False


def cell(text: str) -> Any:
    """A range of numbers, or a text."""
    low, dash, high = text.partition("-")
    return (float(low), float(high)) if dash and low.isdigit() and high.isdigit() else text


def compare(a: Any, sign: str, b: Any) -> bool:
    if sign == "is nil" or (sign == "==" and b is None):
        return a is None
    if sign == "is not nil":
        return a is not None
    same = all(isinstance(a, kind) == isinstance(b, kind) for kind in (bool, str, tuple))
    if a is None or not same:
        return sign == "!="
    if sign in ("==", "!="):
        return (a == b) == (sign == "==")
    return {"<": a < b, "<=": a <= b, ">": a > b, ">=": a >= b}[sign]


def moment(parts: dict[str, int]) -> dt.datetime:
    """A moment given by its parts, the missing ones at their first."""
    day = (parts[p] if p == "year" else parts.get(p, 1) for p in ("year", "month", "day"))
    return dt.datetime(*day, *(parts.get(p, 0) for p in ("hour", "minute", "second")))
