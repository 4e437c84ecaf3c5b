"""Privacy against independent oracles: the accountant against dp-accounting, the noise against its formula, the whole by attack with canaries."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import polars as pl
import pytest
from dp_accounting import GaussianDpEvent, SelfComposedDpEvent
from dp_accounting.pld import PLDAccountant
from dp_accounting.rdp import RdpAccountant
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import beta, chi2, ks_2samp

from populace.core.errors import UserError
from populace.core.privacy.budget import Budget, delta_of, rho_of
from populace.core.privacy.private_table import PrivateTable, discrete_gaussian, sigma, tail
from populace.core.samplers.statistical import private_graph, private_records
from populace.core.samplers.statistical.private_graph import fit_aim, fit_mst
from populace.core.samplers.statistical.private_marginals import Extent, as_extents, norm_sub
from populace.core.samplers.statistical.private_network import dependence, fit_privbayes
from populace.core.samplers.statistical.private_records import fit_privsyn
from populace.core.stream import Stream

RELEASES = 30


@pytest.mark.parametrize(("epsilon", "delta"), [(0.1, 1e-9), (1.0, 1e-6), (3.0, 1e-5), (10.0, 1e-6)])
def test_the_accountant_agrees_with_another(epsilon: float, delta: float):
    """A budget spent on equal Gaussian releases: the other library's ε for the same noise."""
    deviation = sigma(rho_of(epsilon, delta) / RELEASES)
    event = SelfComposedDpEvent(GaussianDpEvent(deviation), RELEASES)
    orders = np.concatenate((1 + np.geomspace(1e-3, 1, 200), np.geomspace(2, 5_000, 2_000)))
    renyi = RdpAccountant(orders).compose(event).get_epsilon(delta)
    assert renyi == pytest.approx(epsilon, rel=0.01)
    # the exact loss of Gaussian noise is a little less than any bound through ρ
    exact = PLDAccountant().compose(event).get_epsilon(delta)
    assert 0.8 * epsilon < exact <= epsilon * 1.001


@given(st.floats(0.01, 50), st.floats(1e-12, 1e-2))
def test_rho_is_the_most_that_delta_allows(epsilon: float, delta: float):
    rho = rho_of(epsilon, delta)
    assert delta_of(rho, epsilon) <= delta * 1.000001
    assert delta_of(rho * 1.001, epsilon) > delta


def test_a_budget_is_spent_once_and_refused_when_exhausted():
    budget = Budget(1.0, 1e-6)
    budget.spend("half", budget.rho / 2)
    budget.spend("rest", budget.left, budget.delta / 4)
    with pytest.raises(UserError, match="more: costs rho"):
        budget.spend("more", budget.rho / 100)
    with pytest.raises(UserError, match="fails: costs rho"):
        budget.spend("fails", 0.0, budget.delta / 2)
    assert [entry["what"] for entry in budget.ledger] == ["half", "rest"]
    assert budget.record()["spent"] == pytest.approx(budget.rho)
    with pytest.raises(UserError, match="costs"):
        fit_mst(table(50), Stream.root(1), budget, {})


@pytest.mark.parametrize(
    ("epsilon", "delta"), [(0, 1e-6), (-1, 1e-6), (float("nan"), 1e-6), (1, 0), (1, 0.6), (1, float("nan"))]
)
def test_budgets_that_are_none_are_refused(epsilon: float, delta: float):
    with pytest.raises(UserError, match=r"epsilon|delta"):
        Budget(epsilon, delta)


@pytest.mark.parametrize("deviation", [0.6, 3.0, 50.0])
def test_noise_is_a_discrete_gaussian(deviation: float):
    n = 200_000
    drawn = discrete_gaussian(Stream.root(1), n, deviation)
    assert drawn.dtype == np.int64
    edges = np.unique(np.round(np.linspace(-3, 3, 25) * deviation))
    support = np.arange(-int(12 * deviation) - 5, int(12 * deviation) + 6)
    p = np.exp(-(support**2) / (2 * deviation**2))
    expected = np.histogram(support, [-np.inf, *edges, np.inf], weights=p / p.sum())[0] * n
    seen = np.histogram(drawn, [-np.inf, *edges, np.inf])[0]
    kept = expected > 5
    assert np.sum((seen - expected)[kept] ** 2 / expected[kept]) < chi2.ppf(0.999, kept.sum() - 1)
    cut = tail(deviation, 0.01)
    assert np.mean(drawn > cut) <= 0.011
    assert p[support > cut].sum() / p.sum() <= 0.01


def private(rows: pl.DataFrame, budget: Budget, seed: int) -> PrivateTable:
    made = PrivateTable(rows, budget, Stream.root(seed))
    made.encode("x", lambda v: v.to_numpy())
    return made


def test_each_release_has_the_noise_that_it_pays_for():
    rows, rho = pl.DataFrame({"x": np.repeat([0, 1, 2], [100, 50, 7])}), 0.02
    errors = []
    for seed in range(3_000):
        budget = Budget(5.0)
        errors.append(private(rows, budget, seed).counts("x", ["x"], [3], rho) - [100, 50, 7])
        assert budget.ledger == [{"what": "x", "rho": rho, "delta": 0.0}]
    deviation = np.std(errors)
    # sigma = sqrt(1 / (2 rho)) = 5, and its estimate from 9,000 draws is within 3 % but once in ten thousand
    assert deviation == pytest.approx(5.0, rel=0.03)


def test_scores_have_the_noise_that_they_pay_for():
    made = private(pl.DataFrame({"x": [0]}), Budget(300.0), 5)
    made.budget.rho, n, rho = 400.0, 2_000, 0.02
    errors = [made.scores("s", lambda _: np.arange(4.0), 1.5, rho) - np.arange(4.0) for _ in range(n)]
    # four scores of sensitivity 1.5: a vector that one row moves by 3, so sigma = 3 / sqrt(2 rho) = 15
    assert np.std(errors) == pytest.approx(15.0, rel=0.04)
    assert made.budget.left == pytest.approx(400.0 - n * rho)


def test_a_choice_follows_the_exponential_mechanism():
    scores, rho, sensitivity = np.array([0.0, 2.0, 3.0]), 0.125, 2.0
    made = private(pl.DataFrame({"x": [0]}), Budget(300.0), 4)
    n = 4_000
    made.budget.rho = 2 * n * rho
    picks = np.bincount([made.choose("c", lambda _: scores, sensitivity, rho) for _ in range(n)], minlength=3)
    # rho = eps^2 / 8, so eps = 1: p in proportion to exp(eps score / (2 sensitivity))
    p = np.exp(scores / 4)
    assert np.sum((picks - n * p / p.sum()) ** 2 / (n * p / p.sum())) < chi2.ppf(0.999, 2)


@given(st.integers(0, 2**32), st.integers(2, 6), st.integers(2, 6), st.integers(1, 60))
def test_one_row_moves_the_score_of_parents_by_less_than_two(seed: int, a: int, b: int, n: int):
    rng = np.random.default_rng(seed)
    counts = np.bincount(rng.integers(0, a * b, n), minlength=a * b).reshape(a, b).astype(float)
    for cell in np.ndindex(a, b):
        more = counts.copy()
        more[cell] += 1
        assert abs(dependence(more) - dependence(counts)) < 2.0


@given(st.lists(st.floats(-50, 200), min_size=1, max_size=30), st.floats(1, 500))
def test_counts_are_projected_to_the_simplex(counts: list[float], total: float):
    made = norm_sub(np.array(counts), total)
    assert made.min() >= 0
    assert made.sum() == pytest.approx(total)
    inner = made > 0
    assert np.ptp((np.array(counts) - made)[inner]) < 1e-6


def table(n: int, seed: int = 1) -> pl.DataFrame:
    rng = np.random.default_rng(seed)
    group = rng.choice(["a", "b", "c"], n, p=[0.5, 0.3, 0.2])
    return pl.DataFrame(
        {
            "group": group,
            "size": rng.integers(0, 20, n) + 40 * (group == "a"),
            "flag": (group == "b") ^ (rng.random(n) < 0.05),
        }
    )


def test_a_value_of_one_row_is_all_but_never_found():
    """The stability histogram: over many fits, a canary's own category comes out no more often than δ allows."""
    lone = pl.DataFrame({"who": ["many"] * 500 + ["canary"]})
    found = [
        PrivateTable(lone, Budget(2.0, 0.05), Stream.root(s)).values("who", "who", 0.05, 0.02) for s in range(2_000)
    ]
    assert all("many" in values for values in found)
    # at most 2 %; 0.1 % chance of 2.9 % in 2,000 draws
    assert np.mean(["canary" in values for values in found]) < 0.03


def shown(learn: Callable[..., Any], epsilon: float, fits: int) -> float:
    """An audit from outside (Jagielski, Ullman and Oprea 2020, arXiv:2006.07709): fits of two neighbouring tables, an attack that knows both
    and looks where they differ. Its error rates bound the ε that the models really have from below, with 99.8 % confidence."""
    delta, base = 1e-2, table(60)
    canary = pl.DataFrame({"group": ["c"], "size": [99], "flag": [True]}, schema=base.schema)
    public = as_extents({"group": {"values": ["a", "b", "c"]}, "size": {"min": 0, "max": 99}})

    def statistic(rows: pl.DataFrame, seed: int) -> float:
        network, total = learn(rows, Stream.root(seed), Budget(epsilon, delta), public)
        size = network.marginals[1]
        return total + 60 * float(1.0 - np.interp(90, size.right, size.edges[1:]))

    without = np.array([statistic(base, s) for s in range(fits)])
    with_it = np.array([statistic(base.vstack(canary), fits + s) for s in range(fits)])
    n = fits // 2
    threshold = (without[:n].mean() + with_it[:n].mean()) / 2
    hits, alarms = (int(np.sum(x[n:] > threshold)) for x in (with_it, without))
    least_hits = beta.ppf(0.001, hits, n - hits + 1) if hits else 0.0
    most_alarms = beta.ppf(0.999, alarms + 1, n - alarms) if alarms < n else 1.0
    return float(np.log(max((least_hits - delta) / most_alarms, 1e-9)))


@pytest.mark.parametrize(
    ("learn", "fits"),
    [
        (fit_mst, 160),
        *(pytest.param(f, 400, marks=pytest.mark.slow) for f in (fit_mst, fit_privbayes, fit_aim, fit_privsyn)),
    ],
)
def test_canaries_do_not_show_more_than_epsilon(learn: Callable[..., Any], fits: int, monkeypatch: pytest.MonkeyPatch):
    # what comes after the noise reads nothing private, and takes nearly all the time
    monkeypatch.setattr(private_graph, "LAST_STEPS", 1)
    monkeypatch.setattr(private_graph, "ROUND_STEPS", 1)
    monkeypatch.setattr(private_records, "UPDATES", 1)
    assert shown(learn, 1.0, fits) <= 1.0
    # the attack can see: with a hundredth of the noise it shows more than that
    assert shown(learn, 1_000.0, 100) > 1.0


@pytest.mark.parametrize("learn", [fit_mst, fit_aim, fit_privsyn, fit_privbayes])
def test_truth_is_recovered_where_there_is_budget(learn):
    rows = table(20_000)
    budget = Budget(5.0, 1e-6)
    network, total = learn(rows, Stream.root(3), budget, {})
    assert total == pytest.approx(20_000, abs=200)
    assert budget.left == pytest.approx(0.0, abs=1e-9)
    assert {frozenset(e) for e in network.edges} >= {frozenset(("group", "size"))}
    made = network.sample(pl.DataFrame({"i": np.arange(20_000)}), Stream.root(4))
    assert dict(made["group"].value_counts(normalize=True).rows()) == pytest.approx(
        {"a": 0.5, "b": 0.3, "c": 0.2}, abs=0.02
    )
    means = [t.group_by("group").agg(pl.col("size").mean()).sort("group")["size"].to_list() for t in (rows, made)]
    assert means[1] == pytest.approx(means[0], abs=2.0)


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 2**32))
def test_what_was_not_said_is_bought_and_what_was_said_is_not_looked_up(seed: int):
    rows = pl.DataFrame(
        {"age": np.random.default_rng(seed).integers(30, 60, 3_000), "who": [f"p{n}" for n in range(3_000)]}
    )
    budget = Budget(1.0)
    network, _ = fit_mst(rows, Stream.root(seed), budget, {"age": Extent(min=0, max=120)})
    bought = {entry["what"] for entry in budget.ledger}
    assert "ends of age" not in bought
    assert "values of who" in bought
    # no value of one row alone is known to the model
    assert network.marginals[1].categories in ((), None)
    assert network.marginals[0].left[0] == 0
    assert network.marginals[0].right[-1] == 120


def test_a_frequent_number_keeps_its_rows_to_itself():
    rng = np.random.default_rng(2)
    hours = pl.DataFrame(
        {"hours": np.where(rng.random(20_000) < 0.5, 40, rng.integers(1, 100, 20_000)), "x": rng.integers(0, 2, 20_000)}
    )
    network, _ = fit_privbayes(hours, Stream.root(1), Budget(0.5), {"hours": Extent(min=1, max=99)})
    made = network.sample(pl.DataFrame({"i": np.arange(20_000)}), Stream.root(2))
    assert (made["hours"] == 40).mean() == pytest.approx((hours["hours"] == 40).mean(), abs=0.02)
    assert ks_2samp(made["hours"], hours["hours"]).statistic < 0.03


def test_yes_and_no_stay_apart_however_few_rows_there_are():
    rng = np.random.default_rng(4)
    rows = pl.DataFrame({"late": rng.random(60) < 0.2, **{f"x{n}": rng.integers(0, 9, 60) for n in range(9)}})
    network, _ = fit_mst(rows, Stream.root(1), Budget(0.5), {})
    assert network.marginals[0].left.tolist() == network.marginals[0].right.tolist() == [0, 1]
