"""Order of rows: positions by group, time and ties, against NumPy's own sort by columns."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from populace.core.derive import arrange, rank

few = st.integers(-3, 3)
wide = st.integers(-(2**62), 2**62)
rows = st.lists(st.tuples(few | wide, few | wide, few, few), max_size=40)


@given(rows)
def test_arrange_sorts_by_group_then_time_then_ties(values):
    group, time, first, second = (
        (np.array(c, np.int64) for c in zip(*values, strict=True)) if values else [np.empty(0, np.int64)] * 4
    )
    assert arrange(group, time, first, second).tolist() == np.lexsort((second, first, time, group)).tolist()
    placed = group[arrange(group, time, first, second)]
    counted = [placed[:n].tolist().count(g) for n, g in enumerate(placed.tolist())]
    assert rank(placed).tolist() == counted
