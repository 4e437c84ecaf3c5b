"""Reading of disease modules: everything is understood or refused, with the file, the state and the line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from populace.app.cli import run_command
from populace.core.errors import UserError
from populace.domains.healthcare.modules import expression
from populace.domains.healthcare.modules.document import Document, line_of
from populace.domains.healthcare.modules.library import check_library, fingerprint, read_library
from populace.domains.healthcare.modules.parse import parse

PLAIN: dict[str, Any] = {
    "name": "Cold",
    "gmf_version": 2,
    "states": {
        "Initial": {"type": "Initial", "direct_transition": "Wait"},
        "Wait": {"type": "Delay", "exact": {"quantity": 1, "unit": "years"}, "direct_transition": "End"},
        "End": {"type": "Terminal"},
    },
}


def problems(module: dict[str, Any]) -> list[str]:
    doc = Document("cold.json", json.dumps(module, indent=1))
    assert doc.read()
    parse("cold", doc)
    return [str(p) for p in doc.problems]


def with_state(**state: Any) -> dict[str, Any]:
    return {**PLAIN, "states": {**PLAIN["states"], "Wait": state}}


def observed(**value: Any) -> dict[str, Any]:
    code = {"system": "LOINC", "code": "11524-6", "display": "EKG study"}
    return with_state(type="Observation", codes=[code], category="procedure", direct_transition="End", **value)


def test_public_modules_are_understood(real_data: Path) -> None:
    library, found = check_library(real_data / "healthcare" / "synthea_modules")
    assert not [str(p) for p in found]
    assert len(library.modules) == 66
    assert len(library.lookups) == 57


def test_a_plain_module_has_no_problems() -> None:
    assert problems(PLAIN) == []


@pytest.mark.parametrize(
    ("module", "said"),
    [
        (with_state(type="Dealy", direct_transition="End"), "unknown type of state 'Dealy'. Did you mean 'Delay'?"),
        (with_state(type="Simple", direct_transition="Ende"), "unknown state 'Ende'. Did you mean 'End'?"),
        (with_state(type="Simple"), "Simple has no transition"),
        (
            with_state(type="SetAttribute", attribute="s", series_data="1 two 3", direct_transition="End"),
            "'two' in series_data is no number",
        ),
        (observed(sampled_data={"attributes": []}), "'attributes' is empty"),
        (
            observed(sampled_data={"attributes": ["s"], "decimal_format": "0.0%"}),
            "'0.0%' is no pattern of a number such as 0.00 or #.##",
        ),
        (observed(attachment={"title": "x"}), "attachment has none of 'chart', 'url' and 'data', expected one"),
        (observed(attachment={"url": "x", "data": "QQ=="}), "attachment has url and data of 'chart', 'url' and 'data'"),
        (observed(attachment={"data": "Q?"}), "is not base64"),
        (observed(attachment={"chart": {"type": "pie", "series": [{"attribute": "s"}]}}), "unknown type 'pie'"),
        (with_state(type="Delay", direct_transition="End"), "Delay has none of 'exact', 'range' and 'distribution'"),
        (
            with_state(type="Delay", exact={"quantity": 1, "unit": "fortnights"}, direct_transition="End"),
            "unknown unit of time 'fortnights'",
        ),
        (
            with_state(type="Guard", allow={"condition_type": "Astrology"}, direct_transition="End"),
            "unknown condition type 'Astrology'",
        ),
        (
            with_state(type="Simple", direct_transition="End", colour="red"),
            "unknown field of Simple 'colour'",
        ),
        (
            with_state(type="SetAttribute", attribute="x", expression="1 +", direct_transition="End"),
            "expression: ends too early",
        ),
        (
            with_state(type="Simple", distributed_transition=[{"distribution": 1.5, "transition": "End"}]),
            "'distribution' is 1.5, outside 0 to 1",
        ),
    ],
)
def test_what_is_not_understood_is_refused_by_name(module: dict[str, Any], said: str) -> None:
    (found,) = problems(module)
    assert said in found
    lines = json.dumps(module, indent=1).splitlines()
    first = next(n for n, line in enumerate(lines, 1) if '"Wait": {' in line)
    last = next(n for n, line in enumerate(lines, 1) if '"End": {' in line)
    line = int(found.split(":")[1])
    assert found.startswith("cold.json:")
    assert "state 'Wait'" in found
    assert first <= line <= last


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(), lambda x: st.lists(x) | st.dictionaries(st.text(), x)
    )
)
def test_any_json_is_read_or_refused_without_a_crash(value: Any) -> None:
    for module in (value, {"name": "x", "states": value}, {"name": "x", "states": {"Initial": value}}):
        doc = Document("any.json", json.dumps(module))
        if doc.read():
            parse("any", doc)
        assert doc.problems


@given(
    st.dictionaries(
        st.text(),
        st.integers() | st.lists(st.dictionaries(st.text(), st.integers(), max_size=3), max_size=3),
        max_size=5,
    ),
    st.data(),
)
def test_the_line_of_a_value_is_where_it_stands(value: dict[str, Any], data: st.DataObject) -> None:
    text = json.dumps(value, indent=2, ensure_ascii=data.draw(st.booleans()))
    marked = "\x00mark"
    for key in value:
        placed = json.dumps({**value, key: marked}, indent=2)
        expected = next(n for n, line in enumerate(placed.split("\n"), 1) if json.dumps(marked) in line)
        assert line_of(placed, (key,)) == expected
    assert line_of(text, ()) == 1


def test_the_state_s_own_line_and_a_missing_field_s() -> None:
    text = '{\n "a": [\n  1,\n  {"b":\n   2}\n ]\n}'
    assert line_of(text, ("a", 1, "b")) == 5
    assert line_of(text, ("a", 1, "c")) == 4


def test_a_folder_is_checked_as_a_whole(tmp_path: Path) -> None:
    module = with_state(type="CallSubmodule", submodule="drugs/aspirin", direct_transition="End")
    (tmp_path / "cold.json").write_text(json.dumps(module))
    with pytest.raises(UserError, match="unknown submodule 'drugs/aspirin'"):
        read_library(tmp_path)
    (tmp_path / "drugs").mkdir()
    (tmp_path / "drugs" / "aspirin.json").write_text(json.dumps(PLAIN))
    before = fingerprint(tmp_path)
    assert list(read_library(tmp_path).modules) == ["cold"]
    (tmp_path / "drugs" / "aspirin.json").write_text(json.dumps({**PLAIN, "name": "Aspirin"}))
    assert fingerprint(tmp_path) != before
    with pytest.raises(UserError, match=r"unknown module 'colt'.*Did you mean 'cold'"):
        read_library(tmp_path, ["colt"])


CODE = {"system": "SNOMED-CT", "code": "1", "display": "one"}


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (
            {"type": "Guard", "allow": {"condition_type": "PriorState", "name": "Nowhere"}},
            "unknown state 'Nowhere'",
        ),
        (
            {"type": "Guard", "allow": {"condition_type": "PriorState", "name": "End", "since": "Wait a"}},
            "unknown state 'Wait a'. Did you mean 'Wait'?",
        ),
        ({"type": "MedicationEnd", "medication_order": "Nowhere"}, "unknown state 'Nowhere'"),
        ({"type": "DeviceEnd", "device": "End"}, "state 'End' is of type Terminal, expected Device"),
        ({"type": "ConditionOnset", "codes": [CODE], "target_encounter": "Nowhere"}, "unknown state 'Nowhere'"),
        ({"type": "CarePlanStart", "codes": [CODE], "goals": [{"text": "well", "addresses": 3}]}, "'addresses' is 3"),
        ({"type": "CallSubmodule", "submodule": "b/one"}, "the module calls itself by 'b/two'"),
    ],
)
def test_what_a_state_names_must_be_there(tmp_path: Path, wrong: dict[str, Any], said: str) -> None:
    (tmp_path / "b").mkdir()
    for name, other in (("one", "two"), ("two", "one")) if "submodule" in wrong else ():
        called = with_state(type="CallSubmodule", submodule=f"b/{other}", direct_transition="End")
        (tmp_path / "b" / f"{name}.json").write_text(json.dumps(called, indent=1))
    (tmp_path / "cold.json").write_text(json.dumps(with_state(**wrong, direct_transition="End"), indent=1))
    found = [p for p in check_library(tmp_path)[1] if said in str(p)]
    assert len(found) == 1
    assert found[0].state == "Wait"
    assert found[0].line > 1


def test_a_way_that_never_rests_and_a_state_that_is_there_twice_are_named(tmp_path: Path) -> None:
    round_ = {"type": "Simple", "direct_transition": "Wait"}
    (tmp_path / "cold.json").write_text(json.dumps(with_state(**round_), indent=1))
    (found, after) = sorted(str(p) for p in check_library(tmp_path)[1])
    assert "state 'Initial': no way leads from here" in found
    assert "state 'Wait': no way leads from here" in after
    twice = json.dumps(PLAIN, indent=1).replace('"End": {', '"Wait": {"type": "Terminal"},\n  "End": {')
    (tmp_path / "cold.json").write_text(twice)
    (found,) = [str(p) for p in check_library(tmp_path)[1]]
    line = next(n for n, text in enumerate(twice.splitlines(), 1) if '"Wait": {"type": "Terminal"}' in text)
    assert found == f"cold.json:{line}: state 'Wait': the state is there twice"


def test_a_lookup_table_must_lead_to_the_transition_s_targets(tmp_path: Path) -> None:
    way = [
        {"transition": "End", "default_probability": 1, "lookup_table_name": "t.csv"},
        {"transition": "Wait", "default_probability": 0, "lookup_table_name": "t.csv"},
    ]
    module = with_state(type="Simple", lookup_table_transition=way)
    (tmp_path / "cold.json").write_text(json.dumps(module))
    (tmp_path / "lookup_tables").mkdir()
    table = tmp_path / "lookup_tables" / "t.csv"
    for text, said in (
        ("age,End,Waiting\n0-9,1,0\n", "its last 2 columns are not End, Wait"),
        ("age,End,Wait\nten,1,0\n", "t.csv:2: age is 'ten'"),
    ):
        table.write_text(text)
        assert said in str(check_library(tmp_path)[1][0])
    table.write_text("\ufeffage,End,Wait\n0-9,1,0\n", "utf-8")
    library, found = check_library(tmp_path)
    assert found == []
    assert library.lookups["t.csv"].rows == ((((0.0, 9.0),), (1.0, 0.0)),)


# --- expressions


LEAF = st.integers(0, 50).map(lambda n: (str(n), str(n))) | st.sampled_from([("#{a}", "a"), ("#{b b}", "b")])
"""The same expression twice: in the modules' grammar and in Python's."""
TREES = st.recursive(
    LEAF,
    lambda x: st.one_of(
        st.tuples(x, st.sampled_from("+-*"), x).map(
            lambda t: tuple(f"({p} {t[1]} {q})" for p, q in zip(t[0], t[2], strict=True))
        ),
        x.map(lambda t: (f"-{t[0]}", f"-{t[1]}")),
        st.tuples(x, x, x).map(
            lambda t: (
                f"(if {t[0][0]} < {t[1][0]} then {t[2][0]} else {t[0][0]})",
                f"({t[2][1]} if {t[0][1]} < {t[1][1]} else {t[0][1]})",
            )
        ),
        st.tuples(x, x).map(lambda t: tuple(f"max({p}, {q})" for p, q in zip(*t, strict=True))),
    ),
    max_leaves=8,
)


@settings(max_examples=60)
@given(TREES, st.integers(-9, 9), st.integers(-9, 9))
def test_expressions_mean_what_python_says_they_mean(texts: tuple[str, str], a: int, b: int) -> None:
    tree = expression.parse(texts[0])
    got = expression.evaluate(tree, lambda n: np.array([float({"a": a, "b b": b}[n])]))
    assert float(np.ravel(got)[0]) == pytest.approx(eval(texts[1], {"a": a, "b": b}))  # noqa: S307 (text of our own making)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "1 +",
        "(1",
        "1 2",
        "__import__('os')",
        "#{a",
        "a.b",
        "open(1)",
        "Max(1)",
        "1 < 2 < 3",
        "(" * 99 + "1" + ")" * 99,
    ],
)
def test_what_the_grammar_does_not_have_is_refused(text: str) -> None:
    with pytest.raises(expression.Malformed):
        expression.parse(text)


@given(st.text(max_size=40))
def test_any_text_is_an_expression_or_refused(text: str) -> None:
    try:
        tree = expression.parse(text)
    except expression.Malformed:
        return
    expression.evaluate(tree, lambda n: np.ones(2))


@pytest.mark.parametrize(
    ("chances", "told"),
    [
        ({"Wait": 0.3, "End": 0.6}, "chances sum to 0.9: the last, 'End', is taken with the other 0.1 too"),
        ({"Wait": 0.7, "End": 0.5}, "chances sum to 1.2: 'End' is left 0.3 of its 0.5, what comes after it nothing"),
        ({"Wait": 0.7, "End": 0.3}, None),
    ],
)
@pytest.mark.parametrize("kind", ["distributed", "complex"])
def test_chances_that_do_not_sum_to_one_are_told_and_taken(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], kind: str, chances: dict[str, float], told: str | None
):
    shares = [{"transition": target, "distribution": chance} for target, chance in chances.items()]
    way = (
        {"distributed_transition": shares}
        if kind == "distributed"
        else {"complex_transition": [{"distributions": shares}]}
    )
    state = {"type": "Delay", "exact": {"quantity": 1, "unit": "years"}, **way}
    (tmp_path / "cold.json").write_text(json.dumps(with_state(**state), indent=1))
    library, wrong = check_library(tmp_path)
    assert not wrong
    assert [n.message for n in library.notes] == ([told] if told else [])
    assert run_command(["modules", "check", str(tmp_path)]) == 0
    shown = capsys.readouterr().out
    assert (f"state 'Wait': {told} (no problem)" in shown) if told else "no problem" not in shown
