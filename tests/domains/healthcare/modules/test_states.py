"""Small modules whose course is known beforehand: one rule of the framework each."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from populace.core.errors import UserError
from populace.core.stream import Stream
from populace.domains.healthcare.modules.library import read_library
from populace.domains.healthcare.modules.machine import Run
from populace.domains.healthcare.modules.people import ALIVE, People, Visits
from populace.domains.healthcare.modules.program import Program
from populace.domains.healthcare.modules.records import records

DAY = 86_400_000_000
YEAR = 365.25 * DAY
States = dict[str, dict[str, Any]]
FLU = [{"system": "SNOMED-CT", "code": "6142004", "display": "Influenza"}]
PILL = [{"system": "RxNorm", "code": "314231", "display": "simvastatin 10 MG Oral Tablet"}]
VISIT = [{"system": "SNOMED-CT", "code": "185345009", "display": "Encounter for symptom"}]
TEST = [{"system": "LOINC", "code": "8310-5", "display": "Body temperature"}]


def go(state: str) -> dict[str, str]:
    return {"direct_transition": state}


def wait(days: float, then: str) -> dict[str, Any]:
    return {"type": "Delay", "exact": {"quantity": days, "unit": "days"}, **go(then)}


def record(name: str, then: str) -> dict[str, Any]:
    return {
        "type": "Observation",
        "codes": TEST,
        "category": "exam",
        "unit": "Cel",
        "exact": {"quantity": 37},
        **go(then),
    } | {"remarks": [name]}


def play(folder: Path, modules: dict[str, States], n: int = 1, years: float = 60, **given: Any) -> Run:
    """Run modules from birth in 1960 for so many years, with a wellness visit at noon of every thousandth day."""
    for name, states in modules.items():
        file = folder / f"{name}.json"
        file.parent.mkdir(parents=True, exist_ok=True)
        full = {"Initial": {"type": "Initial", **go(next(iter(states)))}, **states, "End": {"type": "Terminal"}}
        file.write_text(json.dumps({"name": name, "gmf_version": 2, "states": full}))
    birth = np.full(n, int(np.datetime64("1960-01-01", "us").astype(np.int64)))
    patient = np.repeat(np.arange(n), 20)
    start = birth[patient] + (np.tile(np.arange(20), n) * 1000 + 1000) * DAY + DAY // 2
    attributes = {"gender": ["F" if i % 2 else "M" for i in range(n)], "race": ["white"] * n, **given}
    people = People(
        np.arange(n, dtype=np.uint64),
        birth,
        birth + int(years * YEAR),
        np.full(n, ALIVE),
        Visits(patient, start, start + DAY // 24),
        attributes,
        lambda name, p, at: np.full(len(p), 100.0),
    )
    run = Run(Program(read_library(folder)), people, Stream.root(5))
    run.run()
    return run


def days(run: Run, frame: pl.DataFrame, column: str = "at") -> list[float]:
    """Days of age."""
    return ((frame[column].to_numpy() - run.birth[frame["patient"].to_numpy()]) / DAY).tolist()


def test_a_delay_that_ends_between_two_steps_ends_on_time(tmp_path: Path) -> None:
    run = play(
        tmp_path, {"a": {"W": wait(10, "O"), "O": record("o", "W2"), "W2": wait(2, "O2"), "O2": record("o", "End")}}
    )
    assert days(run, records(run)["observation"]) == [10, 12]


def test_a_procedure_takes_its_time(tmp_path: Path) -> None:
    procedure = {"type": "Procedure", "codes": VISIT, "duration": {"low": 3, "high": 3, "unit": "days"}, **go("O")}
    run = play(tmp_path, {"a": {"P": procedure, "O": record("o", "End")}})
    frames = records(run)
    assert days(run, frames["procedure"]) == [0]
    assert days(run, frames["procedure"], "stop") == [3]
    assert days(run, frames["observation"]) == [3]


@pytest.mark.parametrize(("sets", "guards", "seen"), [("a", "b", 14), ("b", "a", 21)])
def test_a_guard_opens_in_the_step_of_the_change_or_in_the_next(
    tmp_path: Path, sets: str, guards: str, seen: int
) -> None:
    """Modules run in their order in each step of seven days: a later one sees the change in the same step."""
    change = {"W": wait(10, "S"), "S": {"type": "SetAttribute", "attribute": "x", "value": "on", **go("End")}}
    on = {"condition_type": "Attribute", "attribute": "x", "operator": "==", "value": "on"}
    run = play(
        tmp_path, {sets: change, guards: {"G": {"type": "Guard", "allow": on, **go("O")}, "O": record("o", "End")}}
    )
    assert days(run, records(run)["observation"]) == [seen]


def test_a_guard_opens_at_an_age_in_the_step_that_reaches_it(tmp_path: Path) -> None:
    adult = {"condition_type": "Age", "operator": ">=", "quantity": 18, "unit": "years"}
    run = play(tmp_path, {"a": {"G": {"type": "Guard", "allow": adult, **go("O")}, "O": record("o", "End")}})
    (seen,) = days(run, records(run)["observation"])
    birthday = (np.datetime64("1978-01-01") - np.datetime64("1960-01-01")).astype(int)
    assert birthday <= seen < birthday + 7
    assert seen % 7 == 0


def test_a_condition_waits_for_its_encounter(tmp_path: Path) -> None:
    states = {
        "C": {"type": "ConditionOnset", "codes": FLU, "target_encounter": "E", "assign_to_attribute": "flu", **go("W")},
        "W": wait(21, "E"),
        "E": {"type": "Encounter", "encounter_class": "ambulatory", "codes": VISIT, "reason": "C", **go("M")},
        "M": {"type": "MedicationOrder", "codes": PILL, "reason": "flu", **go("X")},
        "X": {"type": "EncounterEnd", **go("W2")},
        "W2": wait(7, "R"),
        "R": {"type": "ConditionEnd", "condition_onset": "C", **go("End")},
    }
    run = play(tmp_path, {"a": states})
    frames = records(run)
    condition = frames["condition"]
    assert days(run, condition, "start") == [21]
    assert days(run, condition, "stop") == [28]
    assert condition["encounter"].to_list() == [20]  # after the twenty wellness visits
    assert frames["medication"]["reason"].to_list() == [0]
    assert frames["medication"]["reason_code"].to_list() == ["6142004"]


def test_chronic_medication_is_renewed_at_the_wellness_visits_that_modules_use(tmp_path: Path) -> None:
    states = {
        "M": {"type": "MedicationOrder", "codes": PILL, "chronic": True, **go("V")},
        "V": {"type": "Encounter", "wellness": True, **go("O")},
        "O": record("o", "W"),
        "W": wait(1500, "V2"),
        "V2": {"type": "Encounter", "wellness": True, **go("X")},
        "X": {"type": "MedicationEnd", "medication_order": "M", **go("End")},
    }
    run = play(tmp_path, {"a": states})
    frames = records(run)
    assert days(run, frames["observation"]) == [1000.5]
    assert frames["observation"]["encounter"].to_list() == [0]
    # used: the first and the third visit; the second falls into the wait
    assert days(run, frames["medication"], "start") == [0, 1000.5]
    assert days(run, frames["medication"], "stop") == [1000.5, 3000.5]


def test_a_submodule_gives_back_in_the_step_and_sees_only_its_own_history(tmp_path: Path) -> None:
    seen = {"condition_type": "PriorState", "name": "Mark"}
    both = [{"condition": seen, "transition": "Yes"}, {"transition": "No"}]
    mark = {"type": "SetAttribute", "attribute": "n", "value": 1}
    yes, no = ({"type": "SetAttribute", "attribute": "seen", "value": v} for v in ("yes", "no"))
    states = {
        "Mark": {**mark, **go("Call")},
        "Call": {"type": "CallSubmodule", "submodule": "sub/s", **go("O")},
        "O": record("o", "End"),
    }
    inner = {
        "Ask": {"type": "Simple", "conditional_transition": both},
        "Yes": {**yes, **go("W")},
        "No": {**no, **go("W")},
        "W": wait(10, "End"),
    }
    run = play(tmp_path, {"a": states, "sub/s": inner})
    assert run.attributes["seen"].value[0] == run.texts("no")
    # the delay in the submodule ends on day 10; the caller goes on in the step of day 14
    assert days(run, records(run)["observation"]) == [14]


def test_the_last_option_takes_what_is_left(tmp_path: Path) -> None:
    n = 4000
    options = [{"distribution": 0.1, "transition": "A"}, {"distribution": 0.1, "transition": "B"}]
    set_to = lambda v: {"type": "SetAttribute", "attribute": "x", "value": v, **go("End")}  # noqa: E731
    states = {"D": {"type": "Simple", "distributed_transition": options}, "A": set_to(1), "B": set_to(2)}
    run = play(tmp_path, {"a": states}, n, years=1)
    # a tenth by the first, all others by the last; five standard errors
    assert np.mean(run.attributes["x"].value == 1) == pytest.approx(0.1, abs=5 * np.sqrt(0.09 / n))
    assert np.mean(run.attributes["x"].value == 2) == pytest.approx(0.9, abs=5 * np.sqrt(0.09 / n))


def test_a_foreseen_loop_follows_a_chance_that_another_module_changes(tmp_path: Path) -> None:
    """Nobody leaves while the chance is zero; from the change on, the turns are geometric."""
    n = 3000
    options = [
        {"distribution": {"attribute": "risk", "default": 0}, "transition": "O"},
        {"distribution": 1, "transition": "L"},
    ]
    loop = {"L": {**wait(30, ""), "distributed_transition": options}, "O": record("o", "End")}
    del loop["L"]["direct_transition"]
    rise = {"W": wait(1000, "S"), "S": {"type": "SetAttribute", "attribute": "risk", "value": 0.2, **go("End")}}
    run = play(tmp_path, {"a": loop, "z": rise}, n)
    seen = np.array(days(run, records(run)["observation"]))
    assert len(seen) == n
    assert seen.min() == 1020
    turns = (seen - 990) / 30
    assert np.allclose(turns, np.round(turns))
    # the mean of a geometric distribution from 1 is 1/p; its standard deviation sqrt(1-p)/p
    assert turns.mean() == pytest.approx(5, abs=5 * np.sqrt(0.8) / 0.2 / np.sqrt(n))


def test_death_ends_the_record(tmp_path: Path) -> None:
    states = {
        "W": wait(100, "D"),
        "D": {"type": "Death", "codes": FLU, "exact": {"quantity": 30, "unit": "days"}, **go("O")},
        "O": record("o", "W2"),
        "W2": wait(60, "O"),
    }
    run = play(tmp_path, {"a": states})
    frames = records(run)
    assert days(run, frames["observation"]) == [100]
    assert days(run, frames["death"]) == [130]
    assert frames["death"]["code"].to_list() == ["6142004"]


def test_a_module_that_circles_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="state 'A': no way leads from here to a state that waits or ends"):
        play(tmp_path, {"a": {"A": {"type": "Simple", **go("B")}, "B": {"type": "Simple", **go("A")}}})
    # a way out that nobody takes is seen only when it runs
    never = [{"condition": {"condition_type": "False"}, "transition": "End"}, {"transition": "A"}]
    with pytest.raises(UserError, match="module a: circles without time passing"):
        play(
            tmp_path,
            {"a": {"A": {"type": "Simple", **go("B")}, "B": {"type": "Simple", "conditional_transition": never}}},
        )


def test_expressions_see_attributes(tmp_path: Path) -> None:
    states = {
        "A": {"type": "SetAttribute", "attribute": "a", "value": 3, **go("B")},
        "B": {"type": "SetAttribute", "attribute": "b", "expression": "#{a} * 2 + 1", **go("C")},
        "C": {"type": "SetAttribute", "attribute": "c", "expression": "#{nobody} + 1", **go("End")},
    }
    run = play(tmp_path, {"a": states})
    assert run.attributes["b"].value[0] == 7
    assert run.attributes["c"].kind[0] == 0


def test_series_that_do_not_fit_together_are_named(tmp_path: Path) -> None:
    shown = {
        "type": "Observation",
        "codes": TEST,
        "category": "procedure",
        "unit": "mV",
        "sampled_data": {"attributes": ["a", "b"]},
    }
    states = {
        "A": {"type": "SetAttribute", "attribute": "a", "series_data": "1 2 3", **go("B")},
        "B": {"type": "SetAttribute", "attribute": "b", "series_data": "1 2 3", "period": 0.5, **go("O")},
        "O": {**shown, **go("End")},
    }
    with pytest.raises(UserError, match=r"of a, b: series of 3 values every 1 s, 3 values every 0\.5 s do not fit"):
        play(tmp_path, {"m": states})


@pytest.mark.parametrize(
    ("pattern", "said"),
    [
        ({}, "0.125 -2 1234.5"),
        ({"decimal_format": "0.00"}, "0.13 -2.00 1234.50"),
        ({"decimal_format": "#"}, "0 -2 1235"),
    ],
)
def test_a_series_is_written_as_its_pattern_says(pattern: dict[str, str], said: str, tmp_path: Path) -> None:
    states = {
        "A": {"type": "SetAttribute", "attribute": "a", "series_data": "0.12549 -2 1234.5001", **go("O")},
        "O": {
            "type": "Observation",
            "codes": TEST,
            "category": "procedure",
            "unit": "mV",
            "sampled_data": {"attributes": ["a"], **pattern},
            **go("N"),
        },
        "N": {**record("none", "End"), "exact": None, "sampled_data": {"attributes": ["nobody"]}},
    }
    del states["N"]["exact"]
    frames = records(play(tmp_path, {"m": states}))
    assert frames["observation"]["text"].to_list() == [said]
    assert frames["sampled_data"].select("observation", "period", "dimensions", "origin").rows() == [
        (0, 1000.0, 1, 0.0)
    ]


def test_what_a_module_did_beyond_a_death_leaves_nothing(tmp_path: Path) -> None:
    """The first module runs ahead of the second, which brings death after two years: nothing stays of what it did later, nor the name that it then
    gave to what had begun before, nor how it then ended a visit."""
    home = {"system": "NUBC", "code": "01", "display": "Home"}
    first = {
        "Visit": {"type": "Encounter", "encounter_class": "inpatient", "codes": VISIT, **go("Pill")},
        "Pill": {"type": "MedicationOrder", "codes": PILL, **go("Seen")},
        "Seen": record("early", "Years"),
        "Years": wait(1000, "Again"),
        "Again": {"type": "MedicationOrder", "codes": PILL, "chronic": True, **go("Later")},
        "Later": record("late", "Left"),
        "Left": {"type": "EncounterEnd", "discharge_disposition": home, **go("End")},
    }
    second = {"Long": wait(730, "Dies"), "Dies": {"type": "Death", **go("End")}}
    run = play(tmp_path, {"a": first, "b": second})
    frames = records(run)
    assert frames["death"].height == 1
    assert frames["observation"].height == 1
    assert frames["medication"]["chronic"].to_list() == [False]
    own = frames["encounter"].filter(pl.col("code") == VISIT[0]["code"])
    assert own["disposition_code"].to_list() == [None]
    assert (own["stop"] < int(run.death[0])).all()
