"""Columns in memory that is used again are nobody else's."""

from __future__ import annotations

import numpy as np
import polars as pl
from hypothesis import given
from hypothesis import strategies as st

from populace.core.checks import ends_of_runs
from populace.core.tables import give_back, room


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
