"""Inference over a junction tree against the whole joint distribution, written out."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from populace.core.privacy.junction_tree import Fitted, Measured, Tree, _calibrated, estimate, junction_tree

SIZES = (3, 2, 4, 2, 3)
GROUPS = st.lists(
    st.sets(st.integers(0, 4), min_size=1, max_size=3).map(lambda s: tuple(sorted(s))), min_size=1, max_size=6
)


def joint(groups: list[tuple[int, ...]], weights: list[np.ndarray]) -> np.ndarray:
    """The product of the groups' weights over all columns."""
    log = np.zeros(SIZES)
    for group, weight in zip(groups, weights, strict=True):
        log = log + weight.reshape([SIZES[c] if c in group else 1 for c in range(5)])
    p = np.exp(log)
    return p / p.sum()


def summed(p: np.ndarray, kept: tuple[int, ...]) -> np.ndarray:
    return p.sum(axis=tuple(c for c in range(5) if c not in kept))


def measured(groups: list[tuple[int, ...]]) -> list[Measured]:
    sizes = [int(np.prod([SIZES[c] for c in g])) for g in groups]
    return [Measured(g, np.arange(n), np.zeros(n), 1.0) for g, n in zip(groups, sizes, strict=True)]


@settings(max_examples=60, deadline=None)
@given(GROUPS, st.integers(0, 2**32))
def test_cliques_and_pairs_are_those_of_the_joint(groups: list[tuple[int, ...]], seed: int):
    rng = np.random.default_rng(seed)
    tree = junction_tree(SIZES, groups)
    listed = measured(groups)
    weights = [rng.normal(size=len(m.counts)) for m in listed]
    places = [tree.home(m.columns) for m in listed]
    assert min(places) >= 0
    fitted = Fitted(tree, _calibrated(tree, weights, listed, places), weights)
    whole = joint(groups, weights)
    for clique, belief in zip(tree.cliques, fitted.beliefs, strict=True):
        assert belief == pytest.approx(summed(whole, clique), abs=1e-12)
    for a, b in combinations(range(5), 2):
        assert fitted.pair(a, b) == pytest.approx(summed(whole, (a, b)), abs=1e-12)


@settings(max_examples=60, deadline=None)
@given(GROUPS)
def test_the_tree_has_the_running_intersection_property(groups: list[tuple[int, ...]]):
    tree: Tree = junction_tree(SIZES, groups)
    assert set().union(*tree.cliques) == set(range(5))
    seen = set(tree.cliques[0])
    for n, clique in enumerate(tree.cliques[1:], 1):
        # what a clique shares with all before it, it shares with its parent
        assert tree.parents[n] < n
        assert set(clique) & seen == set(tree.shared(n))
        seen |= set(clique)


def test_exact_counts_are_met_and_nothing_else_is_assumed():
    """The distribution of greatest entropy with given pairs of a chain is the chain's own."""
    rng = np.random.default_rng(5)
    groups = [(0, 2), (2, 3), (3, 4), (1, 4)]
    whole = joint(groups, [rng.normal(size=SIZES[a] * SIZES[b]) for a, b in groups])
    listed = [Measured(m.columns, m.cell, 1_000 * summed(whole, m.columns).ravel(), 2.0) for m in measured(groups)]
    fitted = estimate(junction_tree(SIZES, groups), listed, 1_000, steps=3_000, tolerance=1e-14)
    for a, b in combinations(range(5), 2):
        assert fitted.pair(a, b) == pytest.approx(summed(whole, (a, b)), abs=2e-3)


def test_of_two_counts_the_surer_weighs_more():
    counts = [
        Measured((0,), np.arange(3), np.array([600.0, 300.0, 100.0]), 1.0),
        Measured((0,), np.arange(3), np.array([100.0, 300.0, 600.0]), 3.0),
    ]
    fitted = estimate(junction_tree((3,), []), counts, 1_000, steps=2_000, tolerance=1e-12)
    # weights 1 and 1/9: the least squares of the two
    assert fitted.marginal((0,)) == pytest.approx([0.55, 0.3, 0.15], abs=2e-3)


def test_coarse_counts_leave_what_they_do_not_tell_even():
    coarse = Measured((2,), np.array([0, 0, 1, 1]), np.array([800.0, 200.0]), 1.0)
    fitted = estimate(junction_tree(SIZES, []), [coarse], 1_000, steps=1_000, tolerance=1e-12)
    assert fitted.marginal((2,)) == pytest.approx([0.4, 0.4, 0.1, 0.1], abs=1e-3)
