"""Check digits pass python-stdnum, identifiers cannot be real, and keys do not collide."""

from __future__ import annotations

import uuid

import hypothesis.strategies as st
import numpy as np
import polars as pl
import pytest
import stdnum.iban
import stdnum.luhn
from hypothesis import given, settings
from scipy import stats

from populace.core.errors import UserError
from populace.core.samplers.keys import SAFE_BANKS, Iban, Luhn, Sequence, Uuid, digit_text, iban, luhn, scatter
from populace.core.stream import Stream
from populace.core.tables import ROW

WHERE = pl.DataFrame({"x": np.zeros(5_000)})
S = Stream.root(11)


@given(
    st.text("0123456789", max_size=10),
    st.integers(1, 18),
    st.lists(st.integers(0, 10**18 - 1), min_size=1, max_size=20),
)
def test_luhn_digits(prefix: str, free: int, numbers: list[int]):
    values = np.array([n % 10**free for n in numbers], dtype=np.uint64)
    for text, value in zip(luhn(values, prefix, len(prefix) + free + 1), values, strict=True):
        assert stdnum.luhn.is_valid(text)
        assert text[:-1] == prefix + str(value).zfill(free)


@given(st.sampled_from(sorted(SAFE_BANKS)), st.lists(st.integers(0, 10**17 - 1), min_size=1, max_size=20))
def test_iban_digits(country: str, numbers: list[int]):
    bank, free = SAFE_BANKS[country]
    values = np.array([n % 10**free for n in numbers], dtype=np.uint64)
    for text, value in zip(iban(values, country), values, strict=True):
        assert stdnum.iban.is_valid(text)
        assert text[4:] == bank + str(value).zfill(free)


@pytest.mark.parametrize("sampler", [Luhn("k"), Luhn("k", "", 8), *(Iban("k", c) for c in SAFE_BANKS)], ids=str)
def test_numbers_of_counting_addresses_are_distinct(sampler):
    assert sampler.sample(WHERE, S)["k"].n_unique() == WHERE.height


@given(st.integers(1, 4), st.integers(0, 100))
@settings(deadline=None, max_examples=20)
def test_scatter_is_a_bijection(digits: int, seed: int):
    made = scatter(Stream.root(seed), np.arange(10**digits), digits)
    assert sorted(made) == list(range(10**digits))


def test_scatter_spreads_evenly():
    made = scatter(S, np.arange(100_000), 11)
    assert stats.kstest(made / 1e11, "uniform").pvalue > 1e-3
    far = scatter(S, Stream.root(1).bits(np.arange(100_000)), 11)
    assert stats.kstest(far / 1e11, "uniform").pvalue > 1e-3


def test_uuids_are_version_4_and_random():
    made = Uuid("id").sample(WHERE, S)["id"]
    assert made.n_unique() == WHERE.height
    for text in made:
        read = uuid.UUID(text)
        assert str(read) == text
        assert (read.version, read.variant) == (4, uuid.RFC_4122)
    digits = np.array([list(t) for t in made])
    free = digits[:, [i for i in range(36) if i not in (8, 13, 14, 18, 19, 23)]].ravel()
    assert stats.chisquare(np.unique(free, return_counts=True)[1]).pvalue > 1e-3


def test_sequence_counts_by_address():
    rows = pl.DataFrame({ROW: pl.Series([4, 0, 2], dtype=pl.UInt64)})
    assert Sequence("k", start=10, step=5).sample(rows, S)["k"].to_list() == [30, 10, 20]
    assert Sequence("k", prefix="A", width=3).sample(rows, S)["k"].to_list() == ["A004", "A000", "A002"]
    with pytest.raises(UserError, match="too large"):
        Sequence("k").sample(pl.DataFrame({ROW: pl.Series([2**64 - 1], dtype=pl.UInt64)}), S)


def test_digit_text_pads():
    assert ["".join(map(chr, row)) for row in digit_text(np.array([0, 7, 12_345], np.uint64), 7)] == [
        "0000000",
        "0000007",
        "0012345",
    ]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Luhn("k", "12a4"), "prefix is '12a4'"),
        (lambda: Luhn("k", "9999", 5), "length is 5"),
        (lambda: Iban("k", "FR"), "unknown country 'FR'"),
        (lambda: scatter(S, np.arange(3), 19), "digits is 19"),
    ],
)
def test_what_cannot_be_is_refused(make, message: str):
    with pytest.raises(UserError, match=message):
        make()
