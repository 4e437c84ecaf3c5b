"""When messages are due."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from populace.core.errors import UserError
from populace.core.streams.pace import Pace, parse_pace


def test_the_flags_say_the_pace():
    assert parse_pace("60x", None) == parse_pace("60", None) == Pace(speed=60.0)
    assert parse_pace(None, "1000/s") == parse_pace(None, "1000") == Pace(rate=1000.0)
    assert parse_pace("max", None) == parse_pace(None, None) == Pace()
    for speed, rate in (("fast", None), ("0x", None), (None, "-1/s"), (None, "0"), ("2x", "3/s"), ("infx", None)):
        with pytest.raises(UserError, match=r"--speed|--rate"):
            parse_pace(speed, rate)


@given(st.lists(st.integers(0, 10**12), min_size=1, max_size=50), st.floats(0.01, 1e6))
def test_spans_between_messages_shrink_by_the_speed(gaps: list[int], speed: float):
    at = np.cumsum(np.array(gaps, np.int64))
    due = Pace(speed=speed).due(at, int(at[0]), 0)
    assert due[0] == 0
    np.testing.assert_allclose(np.diff(due) * speed, np.diff(at) / 1e6, rtol=1e-6, atol=1e-3)


@given(st.integers(0, 10**9), st.integers(1, 1000), st.floats(0.1, 1e6))
def test_a_rate_goes_on_where_it_was(sent: int, more: int, rate: float):
    whole = Pace(rate=rate).due(np.zeros(more + 1, np.int64), 0, sent)
    assert whole[-1] == Pace(rate=rate).due(np.zeros(1, np.int64), 0, sent + more)[0]
    np.testing.assert_allclose(np.diff(whole), 1 / rate, rtol=1e-3, atol=1e-6)
