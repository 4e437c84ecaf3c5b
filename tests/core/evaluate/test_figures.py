"""The figures against independent implementations: scipy, pandas, plain loops. SDMetrics judges in test_sdmetrics.py."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pandas as pd
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from people import mixed
from scipy import stats
from scipy.spatial.distance import cdist

from populace.core.evaluate import definitions, evaluate
from populace.core.evaluate.fidelity import NEIGHBOURS, _cloud, compare
from populace.core.evaluate.pair import BINS, kind_of, make_pair, scaled
from populace.core.stream import Stream

REAL, SYNTH = mixed(1_500, 1), mixed(1_100, 2, shift=0.3)
NUMBERS, CATEGORIES = ("age", "income", "debt", "joined"), ("job", "member")


def scores(name: str) -> dict[str, float]:
    metric = next(m for m in compare(make_pair(REAL, SYNTH), Stream.root(0)) if m.name == name)
    assert metric.value == pytest.approx(np.mean([row["score"] for row in metric.detail]))
    return {str(row["columns"]): float(row["score"]) for row in metric.detail}


def number(frame: pl.DataFrame, column: str) -> np.ndarray:
    return frame[column].to_physical().cast(pl.Float64).to_numpy()


def test_shapes_are_scipys_distance_and_total_variation():
    found = scores("fidelity.shapes")
    for column in NUMBERS:
        real, synth = (x[~np.isnan(x)] for x in (number(REAL, column), number(SYNTH, column)))
        assert found[column] == pytest.approx(1 - stats.ks_2samp(real, synth).statistic, abs=1e-9)
    for column in CATEGORIES:
        real, synth = (f[column].drop_nulls().to_pandas().value_counts(normalize=True) for f in (REAL, SYNTH))
        assert found[column] == pytest.approx(1 - real.sub(synth, fill_value=0).abs().sum() / 2, abs=1e-9)
    assert set(found) == {*NUMBERS, *CATEGORIES}


def test_pairs_are_pearsons_correlation_and_contingency():
    found = scores("fidelity.pairs")
    edges = {}
    for column in NUMBERS:
        there = number(REAL, column)
        edges[column] = np.histogram_bin_edges(there[~np.isnan(there)], BINS)[1:-1]
    for one, two in combinations(REAL.columns, 2):
        if one in NUMBERS and two in NUMBERS:
            real, synth = (pd.DataFrame({c: number(f, c) for c in (one, two)}).corr().iloc[0, 1] for f in (REAL, SYNTH))
            expected = 1 - abs(real - synth) / 2
        else:
            tables = []
            for frame in (REAL, SYNTH):
                cells = [
                    frame[c].cast(pl.String).fill_null("?").to_numpy()
                    if c in CATEGORIES
                    else np.where(np.isnan(number(frame, c)), -1, np.digitize(number(frame, c), edges[c]))
                    for c in (one, two)
                ]
                tables.append(pd.DataFrame(dict(enumerate(cells))).value_counts(normalize=True))
            expected = 1 - tables[0].sub(tables[1], fill_value=0).abs().sum() / 2
        assert found[f"{one} × {two}"] == pytest.approx(expected, abs=1e-9), (one, two)


def test_the_cloud_by_plain_loops():
    pair = make_pair(mixed(180, 3), mixed(150, 4, shift=0.5))
    stream = Stream.root(0).child("x")
    found = {m.name.partition(".")[2]: m.value for m in _cloud(pair, stream)}
    points = scaled(pair.head(150, stream))
    real, synth = (points[n].astype(float) for n in ("real", "synth"))

    def reach(rows: np.ndarray) -> np.ndarray:
        return np.sort(cdist(rows, rows), axis=1)[:, NEIGHBOURS]

    across, of_real, of_synth = cdist(synth, real), reach(real) + 1e-5, reach(synth) + 1e-5
    assert found["precision"] == pytest.approx((across <= of_real).any(axis=1).mean(), abs=0.01)
    assert found["recall"] == pytest.approx((across <= of_synth[:, None]).any(axis=0).mean(), abs=0.01)
    assert found["density"] == pytest.approx((across <= of_real).sum() / NEIGHBOURS / len(synth), abs=0.02)
    assert found["coverage"] == pytest.approx((across <= of_real).any(axis=0).mean(), abs=0.01)


@settings(max_examples=25, deadline=None)
@given(st.permutations(range(60)), st.integers(0, 5))
def test_the_order_of_rows_does_not_matter(order: list[int], seed: int):
    real, synth = mixed(80, seed), mixed(60, seed + 1)
    first = evaluate(real, synth, only=["diagnostics"]).values()
    assert evaluate(real, synth[list(order)], only=["diagnostics"]).values() == first


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.one_of(st.none(), st.integers(-5, 5), st.floats(allow_nan=True)), min_size=3, max_size=40),
    st.lists(st.one_of(st.none(), st.integers(-5, 5), st.floats(allow_nan=True)), min_size=3, max_size=40),
)
def test_any_two_columns_of_numbers_give_figures_inside_their_range(real: list, synth: list):
    tables = [
        pl.DataFrame({"x": pl.Series(v, dtype=pl.Float64, strict=False), "n": range(len(v))}) for v in (real, synth)
    ]
    for metric in evaluate(*tables, only=["diagnostics", "privacy"]).metrics:
        meaning = metric.definition
        if not np.isnan(metric.value):
            assert meaning.low is None or metric.value >= meaning.low
            assert meaning.high is None or metric.value <= meaning.high


def test_every_figure_says_what_it_is():
    for name, meaning in definitions().items():
        assert meaning.title
        assert len(meaning.doc) > 30, name
        assert meaning.source
        assert meaning.better in ("high", "low", "near")
        assert meaning.better != "near" or meaning.ideal is not None


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        (list(range(500)), "key"),
        ([7, 9, 12] * 40, "number"),
        ([0, 1] * 60, "category"),
        ([f"customer {n}" for n in range(400)], "key"),
        ([f"note {n // 2 if n < 40 else n}" for n in range(400)], "text"),
        (["a", "b", None] * 40, "category"),
        ([1.5, 2.5, None] * 40, "number"),
        ([True, False] * 60, "category"),
    ],
)
def test_kinds_of_columns(values: list, kind: str):
    assert kind_of(pl.Series("x", values)) == kind
