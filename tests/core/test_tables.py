"""Columns in memory that is used again are nobody else's, and rows are taken as a query would take them."""

from __future__ import annotations

import numpy as np
import polars as pl
from hypothesis import given
from hypothesis import strategies as st
from polars.testing import assert_series_equal

from populace.core.checks import ends_of_runs
from populace.core.tables import coded, filled, gapped, give_back, in_order, is_there, only, picked, put, room, texts


def test_memory_is_given_again_only_when_nobody_looks_at_it():
    give_back()
    first = room(200_003, np.int64)
    place = first.ctypes.data
    table = pl.DataFrame({"a": first})
    del first
    assert room(200_003, np.int64).ctypes.data != place, "a frame is made of it"
    times = table.select(pl.col("a").cast(pl.Datetime("us")))
    del table
    assert room(200_003, np.int64).ctypes.data != place, "a column of another type is"
    some = times["a"].to_physical().to_numpy()[3:5]
    del times
    assert room(200_003, np.int64).ctypes.data != place, "a part of it is"
    del some
    assert room(200_003, np.int64).ctypes.data == place


def test_idle_memory_is_given_back_and_no_other():
    give_back()
    kept, idle = room(300_007, np.int64), room(300_007, np.int64)
    kept[:] = 7
    del idle
    give_back()
    place = kept.ctypes.data
    again = room(300_007, np.int64)
    again[:] = 1
    assert again.ctypes.data != place
    assert (kept == 7).all()


@given(st.lists(st.integers(0, 5), max_size=400))
def test_runs_end_where_the_value_changes(values: list[int]):
    ordered = np.sort(np.array(values, np.int64))
    expected = np.unique(ordered, return_counts=True)[1].cumsum()
    assert ends_of_runs(ordered).tolist() == expected.tolist()


@given(
    st.lists(st.text(max_size=30), min_size=1, max_size=9, unique=True),
    st.lists(st.integers(0, 1_000), max_size=50),
    st.integers(0, 3),
)
def test_texts_by_code_are_those_that_stand_there(words: list[str], numbers: list[int], skipped: int):
    known = pl.Series("w", ["before", *words])[min(skipped, len(words)) :]
    codes = np.array(numbers, np.int64) % len(known)
    assert_series_equal(texts(known, codes), pl.Series("w", [known[int(c)] for c in codes], dtype=pl.String))


def test_texts_outlive_what_they_were_made_of():
    long = 200_000  # beyond the size from which on columns share their memory
    first = texts(pl.Series(["one of more than twelve bytes", "b"]), np.arange(long) % 2)
    for _ in range(10):
        texts(pl.Series(["another of more than twelve", "d"]), np.zeros(long, np.int64))
    assert first.value_counts(sort=True)["count"].to_list() == [long // 2] * 2
    assert set(first.unique()) == {"one of more than twelve bytes", "b"}


KINDS = [pl.Int64, pl.UInt64, pl.UInt8, pl.Float64, pl.Boolean, pl.String, pl.Date, pl.Datetime("us", "UTC"), pl.Duration("us"), pl.Enum(["a", "b", "c"])]  # fmt: skip


@given(st.data(), st.sampled_from([0, 1, 7, 5_000]))
def test_rows_are_taken_as_a_query_takes_them(data, size):
    """Whatever the types, with gaps or without, of few rows and of many, whole or in pieces."""
    seed = data.draw(st.integers(0, 1 << 16))
    dice = np.random.default_rng(seed)
    columns = []
    for n, kind in enumerate(KINDS):
        drawn = pl.Series(dice.integers(0, 3, size))
        column = drawn.replace_strict([0, 1, 2], ["a", "b", "c"], return_dtype=kind) if kind in (pl.String, KINDS[-1]) else drawn.cast(kind)  # fmt: skip
        gaps = dice.random(size) < data.draw(st.sampled_from([0.0, 0.5, 1.0]))
        columns.append(
            column.to_frame("x").select(pl.when(pl.Series(~gaps)).then(pl.col("x")).alias(str(n))).to_series()
        )
    table = pl.DataFrame(columns)
    if data.draw(st.booleans()):
        table = pl.concat([table.head(size // 3), table.slice(size // 3)], rechunk=False)
    mask, order = dice.random(size) < 0.4, dice.permutation(size)
    assert only(table, mask).equals(table.filter(pl.Series(mask)))
    assert only(table, order[:3]).equals(table[order[:3]])
    moved = in_order(table, order)
    assert moved.equals(table[order])
    assert moved.schema == table.schema
    some = dice.integers(0, max(size, 1), size // 2)
    for column in table:
        assert is_there(column).tolist() == column.is_not_null().to_list()
        assert_series_equal(picked(column, some), column.gather(some))
    other = table["0"].alias("1")
    assert put(table, other, other.alias("new")).equals(table.with_columns(other, other.alias("new")))
    for name in ("0", "1", "2"):
        assert filled(table[name], 9).tolist() == table[name].fill_null(9).to_list()
    values, there = np.arange(size), dice.random(size) < 0.5
    words = coded(values % 3, KINDS[-1], there)
    assert words.dtype == KINDS[-1]
    assert words.to_list() == ["abc"[v % 3] if t else None for v, t in zip(values.tolist(), there, strict=True)]
    assert gapped(values, there).to_list() == [v if t else None for v, t in zip(values.tolist(), there, strict=True)]
