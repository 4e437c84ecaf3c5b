"""A rendered document reads back, by a JSON parser that knows nothing of it, as the values that went in."""

from __future__ import annotations

import datetime as dt
import json
from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from populace.core.render_json import Pick, Raw, Text, render, render_cases

hostile = st.one_of(
    st.text(), st.sampled_from(['"', "\\", '\\"', "\x00\x1f", "\n\t\r", "\u2028", "😀", "</script>", "{}", ""])
)


def documents(frame: pl.DataFrame, template: Any) -> list[Any]:
    return [json.loads(text) for text in render(frame, template)]


@given(st.lists(st.tuples(st.none() | hostile, hostile), min_size=1, max_size=20))
def test_any_text_survives(rows: list[tuple[str | None, str]]):
    frame = pl.DataFrame(rows, schema={"a": pl.String, "b": pl.String}, orient="row")
    made = documents(frame, {"a": pl.col("a"), "list": [pl.col("b"), "c"], "both": Text('q"', pl.col("b"), "\\")})
    for (a, b), document in zip(rows, made, strict=True):
        assert document == ({} if a is None else {"a": a}) | {"list": [b, "c"], "both": f'q"{b}\\'}


@given(st.lists(st.none() | st.floats() | st.integers(-(2**53), 2**53).map(float), min_size=1))
def test_numbers_come_back_exactly_and_what_is_not_finite_is_left_out(values: list[float | None]):
    frame = pl.DataFrame({"v": pl.Series(values, dtype=pl.Float64), "i": range(len(values))})
    for v, document in zip(values, documents(frame, {"i": pl.col("i"), "v": pl.col("v")}), strict=True):
        finite = v is not None and v == v and abs(v) != float("inf")
        assert document.get("v") == (v if finite else None)
        assert ("v" in document) == finite


@given(st.lists(st.none() | st.datetimes(dt.datetime(1900, 1, 1), dt.datetime(2200, 1, 1)), min_size=1))
def test_instants_come_back_exactly(values: list[dt.datetime | None]):
    series = pl.Series("t", values, dtype=pl.Datetime("us")).dt.replace_time_zone("UTC")
    for value, document in zip(values, documents(series.to_frame(), {"k": 1, "t": pl.col("t")}), strict=True):
        text = document.get("t")
        assert (value is None) == (text is None)
        assert value is None or dt.datetime.fromisoformat(text) == value.replace(tzinfo=dt.UTC)


@given(*[st.none() | st.integers(-(2**62), 2**62)] * 3)
def test_what_has_no_value_leaves_its_field_out_with_all_that_hangs_on_it(a: int | None, b: int | None, c: int | None):
    frame = pl.DataFrame({"a": [a], "b": [b], "c": [c]}, schema=dict.fromkeys("abc", pl.Int64))
    template = {"x": {"a": pl.col("a"), "unit": "kg"}, "y": [{"b": pl.col("b")}, {"c": pl.col("c"), "k": [1]}], "z": {}}
    expected: dict[str, Any] = {"z": {}}
    if a is not None:
        expected["x"] = {"a": a, "unit": "kg"}
    items = ([{"b": b}] if b is not None else []) + ([{"c": c, "k": [1]}] if c is not None else [])
    if items:
        expected["y"] = items
    assert documents(frame, template) == [expected]


def test_codes_have_their_constants():
    codes = pl.Series("code", ["x", 'q"', "z", None], dtype=pl.Enum(["x", 'q"', "z"]))
    picks = {"x": {"text": 'an "x"'}, 'q"': [1, None]}
    made = documents(codes.to_frame(), {"n": 0, "code": pl.col("code"), "more": Pick(pl.col("code"), picks)})
    assert made == [
        {"n": 0, "code": "x", "more": {"text": 'an "x"'}},
        {"n": 0, "code": 'q"', "more": [1, None]},
        {"n": 0, "code": "z"},
        {"n": 0},
    ]
    assert made == documents(
        codes.cast(pl.String).to_frame(), {"n": 0, "code": pl.col("code"), "more": Pick(pl.col("code"), picks)}
    )


def test_rows_do_not_depend_on_their_neighbours():
    frame = pl.DataFrame({"a": [1, None, 3] * 30_000, "s": ["x", 'y"', None] * 30_000, "t": [0, 1, 10**6] * 30_000})
    template = {"a": pl.col("a"), "b": {"s": pl.col("s")}, "t": pl.col("t").cast(pl.Datetime("us", "UTC"))}
    whole = render(frame, template)
    assert whole.to_list()[:3] == [render(frame[i : i + 1], template)[0] for i in range(3)]
    assert whole.n_unique() == 3
    assert render(frame.head(0), template).len() == 0


def test_cases_keep_the_order_of_rows_and_refuse_a_row_without_one():
    frame = pl.DataFrame({"a": [1, 2, 3, 4]})
    odd = (pl.col("a") % 2 == 1, {"odd": pl.col("a")})
    texts = render_cases(frame, [odd, (pl.lit(True), {"inner": Raw(pl.format("[{}]", "a"))})])
    assert [json.loads(t) for t in texts] == [{"odd": 1}, {"inner": [2]}, {"odd": 3}, {"inner": [4]}]
    with pytest.raises(ValueError, match="2 rows"):
        render_cases(frame, [odd])


def test_a_type_without_a_json_form_is_refused():
    with pytest.raises(TypeError, match="Duration"):
        render(pl.DataFrame({"d": [dt.timedelta(1)]}), {"d": pl.col("d")})
