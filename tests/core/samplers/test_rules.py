"""Rules draw from the distributions they name; scipy.stats is the judge. What cannot be is refused with a message that shows the value."""

from __future__ import annotations

import hypothesis.strategies as st
import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from scipy import stats

from populace.core.domain import Window
from populace.core.errors import UserError
from populace.core.samplers.distributions import DISTRIBUTIONS
from populace.core.samplers.rhythm import HOUR, Rhythm
from populace.core.samplers.rules import (
    Calendar,
    Choice,
    ChoiceBy,
    Draw,
    Guide,
    Lookup,
    Zipf,
    choose,
    choose_by,
    zipf,
)  # fmt: skip
from populace.core.stream import Stream

N = 100_000
U = Stream.root(7).child("u").uniform(np.arange(N))
WHERE = pl.DataFrame({"x": np.zeros(N)})

CONTINUOUS = {
    "uniform": ({"low": -2.0, "high": 5.0}, stats.uniform(-2, 7)),
    "normal": ({"mean": 3.0, "sd": 2.0}, stats.norm(3, 2)),
    "lognormal": ({"mu": 1.0, "sigma": 0.5}, stats.lognorm(0.5, scale=np.e)),
    "exponential": ({"mean": 4.0}, stats.expon(scale=4)),
    "gamma": ({"shape": 2.5, "scale": 3.0}, stats.gamma(2.5, scale=3)),
    "beta": ({"a": 2.0, "b": 5.0}, stats.beta(2, 5)),
    "weibull": ({"shape": 1.5, "scale": 2.0}, stats.weibull_min(1.5, scale=2)),
    "pareto": ({"alpha": 2.5, "minimum": 3.0}, stats.pareto(2.5, scale=3)),
    "triangular": ({"low": 1.0, "mode": 2.0, "high": 5.0}, stats.triang(0.25, 1, 4)),
    "student_t": ({"df": 4.0, "mean": 1.0, "scale": 2.0}, stats.t(4, 1, 2)),
}
DISCRETE = {
    "poisson": ({"mean": 3.7}, stats.poisson(3.7)),
    "geometric": ({"p": 0.3}, stats.geom(0.3)),
    "binomial": ({"n": 12, "p": 0.4}, stats.binom(12, 0.4)),
    "bernoulli": ({"p": 0.2}, stats.bernoulli(0.2)),
    "integer": ({"low": -3, "high": 6}, stats.randint(-3, 7)),
}


def test_every_distribution_is_judged():
    assert {*CONTINUOUS, *DISCRETE} == set(DISTRIBUTIONS)


@pytest.mark.parametrize("name", CONTINUOUS)
def test_continuous(name: str):
    params, law = CONTINUOUS[name]
    made = Draw("x", name, **params).sample(WHERE, Stream.root(1))["x"].to_numpy()
    assert stats.kstest(made, law.cdf).pvalue > 1e-3


@pytest.mark.parametrize("name", CONTINUOUS)
def test_continuous_is_the_inverse_of_its_distribution_function(name: str):
    params, law = CONTINUOUS[name]
    assert np.allclose(DISTRIBUTIONS[name].draw(U, **params), law.ppf(U), rtol=1e-7)


@pytest.mark.parametrize("name", DISCRETE)
def test_discrete(name: str):
    params, law = DISCRETE[name]
    made = Draw("x", name, **params).sample(WHERE, Stream.root(1))["x"].cast(pl.Int64).to_numpy()
    # values that are rare are counted together
    values = np.arange(made.min(), made.max() + 1)
    often = law.pmf(values) * N > 20
    seen = np.bincount(made - values[0])[often]
    expected = law.pmf(values)[often] * N
    rare = N - expected.sum()
    if rare > 1:
        seen, expected = np.append(seen, N - seen.sum()), np.append(expected, rare)
    assert seen.sum() == N
    assert stats.chisquare(seen, expected * (N / expected.sum())).pvalue > 1e-3


@given(st.floats(0, 5_000), st.integers(0, 200), st.floats(0, 1))
@settings(max_examples=60, deadline=None)
def test_counts_are_exact_inverses_also_for_a_parameter_per_row(mean: float, n: int, p: float):
    u = np.concatenate((U[:200], [1e-300, 1e-12, 1 - 2**-53]))
    each = np.ones(len(u))
    draw = DISTRIBUTIONS["poisson"].draw
    assert (draw(u, mean) == draw(u, mean * each)).all()
    k = draw(u, mean)
    assert (stats.poisson.cdf(k, mean) >= u - 1e-12).all()
    assert ((k == 0) | (stats.poisson.cdf(k - 1, mean) < u + 1e-12)).all()
    draw = DISTRIBUTIONS["binomial"].draw
    assert (draw(u, n, p) == draw(u, n * each, p * each)).all()
    assert (abs(draw(u, n, p) - stats.binom.ppf(u, n, p)) <= 1).all()
    assert (draw(u[:200], n, p) == stats.binom.ppf(u[:200], n, p)).mean() > 0.99


def test_a_parameter_may_be_a_column_and_a_null_in_it_makes_a_null():
    given_ = pl.DataFrame({"m": [0.0, None, 100.0] * 1000})
    made = Draw("x", "normal", mean="m", sd=1).sample(given_, Stream.root(1))["x"]
    assert made.is_null().to_list() == given_["m"].is_null().to_list()
    assert made[0::3].mean() == pytest.approx(0, abs=0.2)
    assert made[2::3].mean() == pytest.approx(100, abs=0.2)


@given(
    st.lists(st.one_of(st.just(0.0), st.floats(1e-6, 1e6)), min_size=1, max_size=60).filter(any), st.integers(0, 1000)
)
@settings(max_examples=100, deadline=None)
def test_choose_is_the_inverse_distribution_function(weights: list[float], seed: int):
    u = Stream.root(seed).uniform(np.arange(5_000))
    cdf = np.cumsum(weights) / np.cumsum(weights)[-1]
    expected = np.searchsorted(cdf, u, side="right")
    assert (choose(u, weights) == expected).all()
    guide = Guide.of([weights, weights[::-1]])
    group = (np.arange(len(u)) % 2).astype(np.int64)
    both = guide.choose(u, group)
    assert (both[group == 0] == expected[group == 0]).all()
    _ = guide.table
    assert (guide.choose(u, group) == both).all()
    assert (choose_by(u, group, [weights, weights[::-1]]) == both).all()


def test_choose_takes_many_categories():
    weights = np.random.default_rng(1).random(5_000)
    seen = np.bincount(choose(np.tile(U, 5), weights), minlength=5_000)
    assert stats.chisquare(np.bincount(choose(U, weights), minlength=5_000), weights / weights.sum() * N).pvalue > 1e-3
    assert seen.sum() == 5 * N


@pytest.mark.parametrize(("n", "exponent"), [(10, 0.0), (1_000, 1.0), (5_000, 1.2)])
def test_zipf(n: int, exponent: float):
    p = np.arange(1, n + 1) ** -exponent
    p /= p.sum()
    assert stats.chisquare(np.bincount(zipf(U, n, exponent), minlength=n), p * N).pvalue > 1e-3


@pytest.mark.parametrize("exponent", [0.0, 0.8, 1.0, 1.3])
def test_zipf_over_many_ranks_is_exact_to_a_part_in_a_million(exponent: float):
    n = 2_000_000
    p = np.arange(1, n + 1, dtype=np.float64) ** -exponent
    cdf = np.cumsum(p) / p.sum()
    rank = zipf(U, n, exponent)
    assert rank.min() >= 0
    assert rank.max() < n
    # each uniform lies where its rank's probability does
    assert (cdf[rank] + 1e-6 >= U).all()
    assert (np.where(rank > 0, cdf[rank - 1], 0) - 1e-6 <= U).all()


def test_choice_by_follows_the_other_column():
    rule = ChoiceBy("kind", "sex", {"F": {"a": 1, "b": 3}, "M": {"c": 1}})
    made = rule.sample(pl.DataFrame({"sex": ["F", "M"] * 20_000}), Stream.root(1))["kind"]
    assert set(made[1::2]) == {"c"}
    assert (made[0::2] == "b").mean() == pytest.approx(0.75, abs=0.01)
    with pytest.raises(UserError, match="unknown value of sex 'N'"):
        rule.sample(pl.DataFrame({"sex": ["N"]}), Stream.root(1))


def test_lookup_finds_each_key_and_refuses_what_it_does_not_have():
    rule = Lookup(("capital",), ("country",), pl.DataFrame({"country": ["FR", "JP"], "capital": ["Paris", "Tokyo"]}))
    assert rule.sample(pl.DataFrame({"country": ["JP", None, "FR"]}), Stream.root(1))["capital"].to_list() == [
        "Tokyo",
        None,
        "Paris",
    ]
    with pytest.raises(UserError, match=r"no row for .*XX"):
        rule.sample(pl.DataFrame({"country": ["XX"]}), Stream.root(1))
    with pytest.raises(UserError, match="more than one row"):
        Lookup(("b",), ("a",), pl.DataFrame({"a": [1, 1], "b": [1, 2]}))


def test_calendar_keeps_to_its_rhythm():
    window = Window(1_735_689_600_000_000 + 17 * 60_000_000, 1_767_225_600_000_000)
    rhythm = Rhythm(
        hours=tuple(float(h % 5) for h in range(24)),
        weekdays=(1, 1, 1, 1, 2, 3, 0.5),
        months=tuple(float(m) for m in range(12)),
    )
    at = Calendar("at", window, rhythm).sample(WHERE, Stream.root(1))["at"]
    micros = at.to_physical().to_numpy()
    assert micros.min() >= window.start
    assert micros.max() < window.end
    hours = np.arange(window.start // HOUR, window.end // HOUR + 1)
    hours = hours[hours * HOUR < window.end]
    days = pl.Series(hours * HOUR).cast(pl.Datetime("us"))
    rate = (
        np.array(rhythm.hours)[days.dt.hour()]
        * np.array(rhythm.weekdays)[days.dt.weekday() - 1]
        * np.array(rhythm.months)[days.dt.month() - 1]
    )
    length = np.minimum((hours + 1) * HOUR, window.end) - np.maximum(hours * HOUR, window.start)
    for of in ("hour", "weekday", "month"):
        expected = np.bincount(getattr(days.dt, of)(), rate * length)
        seen = np.bincount(getattr(at.dt, of)(), minlength=len(expected))
        assert (seen[expected == 0] == 0).all()
        busy = expected > 0
        assert stats.chisquare(seen[busy], expected[busy] / expected.sum() * N).pvalue > 1e-3


WRONG = {
    "unknown distribution": (lambda: Draw("x", "norml"), "Did you mean 'normal'"),
    "unknown parameter": (lambda: Draw("x", "normal", sdd=1), "Did you mean 'sd'"),
    "missing parameter": (lambda: Draw("x", "poisson"), "needs the parameter 'mean'"),
    "negative deviation": (lambda: Draw("x", "normal", sd=-1), "'sd' is -1, expected a number of at least 0"),
    "probability": (lambda: Draw("x", "bernoulli", p=1.2), "'p' is 1.2, expected a number from 0 to 1"),
    "not finite": (lambda: Draw("x", "exponential", mean=float("nan")), "expected a finite number"),
    "order": (lambda: Draw("x", "uniform", low=2, high=1), "'low' is 2, expected at most 'high'"),
    "whole": (lambda: Draw("x", "binomial", n=1.5, p=0.1), "expected a whole number"),
    "weights": (lambda: Choice("x", ["a", "b"], [1]), "2 values but 1 weights"),
    "negative weight": (lambda: Choice("x", ["a", "b"], [1, -1]), "a weight is -1.0"),
    "no weight": (lambda: Choice("x", ["a"], [0]), "sum to zero"),
    "nothing to choose": (lambda: Choice("x", []), "no weights"),
    "zipf": (lambda: Zipf("x", 0, 1), "n is 0"),
    "rhythm": (lambda: Rhythm(hours=(1.0,) * 23), "23 weights, expected 24"),
    "window": (lambda: Rhythm().over(Window(5, 5)), "not after its start"),
    "column": (lambda: Draw("x", "poisson", mean="maen").sample(pl.DataFrame({"mean": [1.0]}), Stream.root(1)), "Did you mean 'mean'"),
    "value in a column": (
        lambda: Draw("x", "poisson", mean="m").sample(pl.DataFrame({"m": [1.0, -4.0]}), Stream.root(1)), "'mean' is -4"
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", WRONG)
def test_what_cannot_be_is_refused(case: str):
    make, message = WRONG[case]
    with pytest.raises(UserError, match=message):
        make()
