"""Order of rows: positions by group, time and ties, against NumPy's own sort by columns."""

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from populace.core.derive import arrange, number, rank
from populace.core.errors import UserError
from populace.core.tables import ROW
from toy import SCHEMA

few = st.integers(-3, 3)
wide = st.integers(-(2**62), 2**62)
rows = st.lists(st.tuples(few | wide, few | wide, few | wide, few), max_size=40)


@given(rows)
def test_arrange_sorts_by_group_then_time_then_ties(values):
    group, time, first, second = (
        (np.array(c, np.int64) for c in zip(*values, strict=True)) if values else [np.empty(0, np.int64)] * 4
    )
    assert arrange(group, time, first, second).tolist() == np.lexsort((second, first, time, group)).tolist()
    placed = group[arrange(group, time, first, second)]
    counted = [placed[:n].tolist().count(g) for n, g in enumerate(placed.tolist())]
    assert rank(placed).tolist() == counted


@given(st.integers(0, 1 << 20), st.sampled_from([8, 1 << 20, 1 << 63]))
def test_ties_of_many_rows_are_broken_as_columns_break_them(seed: int, most: int):
    """Addresses are words of 64 bits, most of which a packed word has no room for."""
    dice, n = np.random.default_rng(seed), 3_000
    group, time = dice.integers(0, 40, n), dice.integers(0, 5, n) * 1_000_000
    first = dice.integers(0, most, n, dtype=np.uint64) << np.uint64(most == 1 << 63)
    first[: n // 10] = first[0]
    assert (arrange(group, time, first) == np.lexsort((np.arange(n), first, time, group))).all()


def test_more_rows_than_keys_have_room_for_are_refused():
    spec = SCHEMA["sale"]
    frame = pl.DataFrame({"shopper_id": [7] * (spec.fan + 1), "sold_at": range(spec.fan + 1), ROW: range(spec.fan + 1)})
    assert number(frame.head(spec.fan), spec, "sold_at").height == spec.fan
    with pytest.raises(UserError, match=r"sale: 1,001 rows for one shopper_id, and keys have room for 1,000"):
        number(frame, spec, "sold_at")
