"""Randomness has a name: addressed numbers are uniform, independent between names, and the same wherever they are asked for."""

from __future__ import annotations

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given
from scipy import stats

from populace.core.stream import Stream, join_rows

N = 200_000
ROWS = np.arange(N, dtype=np.uint64)
ADDRESSES = {
    "counting": ROWS,
    "spread": ROWS << np.uint64(20),
    "children": join_rows(ROWS // np.uint64(7), ROWS % np.uint64(7)),
    "top bit": ROWS | np.uint64(1 << 63),
}


@pytest.fixture(params=ADDRESSES)
def rows(request: pytest.FixtureRequest) -> np.ndarray:
    return ADDRESSES[request.param]


def test_uniforms_are_uniform(rows: np.ndarray):
    u = Stream.root(1).child("x").uniform(rows)
    assert 0 < u.min() < u.max() < 1
    assert stats.kstest(u, "uniform").pvalue > 1e-4
    pairs, _, _ = np.histogram2d(u[:-1], u[1:], bins=16)
    assert stats.chisquare(pairs.ravel()).pvalue > 1e-4


def test_every_bit_is_fair(rows: np.ndarray):
    bits = Stream.root(2).child("x").bits(rows)
    for k in range(64):
        ones = int(((bits >> np.uint64(k)) & np.uint64(1)).sum())
        assert abs(ones - N / 2) < 5 * np.sqrt(N) / 2, f"bit {k}"


def test_names_and_seeds_are_independent(rows: np.ndarray):
    streams = [Stream.root(s).child(*p) for s in (0, 1) for p in (("a",), ("b",), ("a", "b"), ("a", 0), ("a", "0"))]
    draws = np.array([s.uniform(rows) for s in streams])
    correlation = np.corrcoef(draws) - np.eye(len(draws))
    assert np.abs(correlation).max() < 5 / np.sqrt(N)


def test_normals_are_normal():
    z = Stream.root(3).child("z").normal(ROWS)
    assert stats.kstest(z, "norm").pvalue > 1e-4


def test_integers_are_fair_and_below_the_bound():
    k = Stream.root(4).integers(ROWS, 13)
    assert stats.chisquare(np.bincount(k, minlength=13)).pvalue > 1e-4
    assert k.max() == 12


@given(st.lists(st.integers(0, 2**64 - 1), min_size=1, max_size=50), st.randoms(use_true_random=False))
def test_a_number_belongs_to_its_row(addresses: list[int], chance):
    rows = np.array(addresses, dtype=np.uint64)
    stream = Stream.root(9).child("any")
    order = list(range(len(rows)))
    chance.shuffle(order)
    assert (stream.uniform(rows)[order] == stream.uniform(rows[order])).all()
    assert stream.uniform(rows[:1])[0] == stream.uniform(rows)[0]
    assert (stream.bits(rows.astype(np.int64)) == stream.bits(rows)).all()


def test_known_values_hold_for_ever():
    """A change here changes every dataset that anyone has made: call it out in the changelog."""
    stream = Stream.root(0).child("finance", "customer", 3)
    assert [int(b) for b in stream.bits(np.arange(3, dtype=np.uint64))] == KNOWN


KNOWN = [8089816187597700884, 17565451392146978210, 11530593915393861532]


@given(st.integers(0, 2**40), st.integers(0, 2**20), st.integers(0, 2**40), st.integers(0, 2**20))
def test_child_addresses_differ(a: int, j: int, b: int, k: int):
    if (a, j) != (b, k):
        assert join_rows(np.array([a]), j)[0] != join_rows(np.array([b]), k)[0]


def test_a_million_children_have_a_million_addresses():
    parents, k = np.divmod(np.arange(1_000_000), 250)
    assert len(np.unique(join_rows(parents, k))) == 1_000_000


def test_generators_differ_by_name_and_repeat():
    draw = [Stream.root(0).child("g", n).generator().normal(size=4) for n in (0, 1, 0)]
    assert (draw[0] == draw[2]).all()
    assert (draw[0] != draw[1]).all()


def test_few_rows_and_many_get_the_same_numbers():
    rows = np.random.default_rng(3).integers(0, 2**63, 40_000).astype(np.uint64)
    stream = Stream.root(7).child("x")
    parts = [stream.bits(part) for part in np.split(rows, [1, 200, 457, 1_000, 20_000])]
    assert (np.concatenate(parts) == stream.bits(rows)).all()
