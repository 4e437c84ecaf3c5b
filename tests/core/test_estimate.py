"""Monte Carlo against what is known exactly: bounds that hold as often as they say, and draws that are worth more than plain ones."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest
from scipy.stats import binom, norm

from populace.app.cli import run_command
from populace.core import estimate as module
from populace.core.errors import UserError
from populace.core.estimate import Mirrored, estimate
from populace.core.models import Model, fit, save_model
from populace.core.stream import Stream

Z = np.random.default_rng(0).multivariate_normal([0, 0], [[1, 0.8], [0.8, 1]], 20_000)
TABLE = pl.DataFrame(
    {"x": np.round(50 + 10 * Z[:, 0], 2), "y": np.round(np.exp(Z[:, 1]), 4), "s": np.where(Z[:, 0] > 0, "a", "b")}
)


@pytest.fixture(scope="module")
def copula() -> Model:
    return fit(TABLE, "gaussian-copula")


TRUTH = {"y": float(TABLE["y"].mean()), "y > 8": float((TABLE["y"] > 8).mean())}  # type: ignore[arg-type]
"""The copula keeps each column's own distribution."""


@pytest.mark.parametrize(
    ("method", "by"),
    [("plain", None), ("antithetic", None), ("control", "x"), ("stratified", "x"), ("importance", "y")],
)
@pytest.mark.parametrize("what", TRUTH)
def test_the_truth_lies_within_the_bounds(copula: Model, method: str, by: str | None, what: str):
    found = estimate(copula, what, method=method, by=by, level=0.999, seed=3)
    # the column's pieces are even inside, which moves a mean by less than this
    assert found.low - 0.002 * TRUTH[what] <= TRUTH[what] <= found.high + 0.002 * TRUTH[what]
    assert found.draws >= 15_000
    # what is said to be gained shows in the bounds
    if method != "plain":
        plain = estimate(copula, what, level=0.999, seed=4)
        narrower = ((plain.high - plain.low) / (found.high - found.low)) ** 2 * plain.draws / found.draws
        assert narrower == pytest.approx(found.gain, rel=0.5)


def test_each_method_gains_where_it_should(copula: Model):
    assert estimate(copula, "y", method="antithetic").gain > 1.3
    assert estimate(copula, "y", method="control", by="x").gain > 1.3
    assert estimate(copula, "y", method="stratified", by="x").gain > 2
    assert estimate(copula, "y > 20", method="importance", by="y").gain > 10


def test_bounds_hold_as_often_as_they_say(copula: Model, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(module, "BATCH", 200)
    monkeypatch.setattr(module, "FEWEST", 200)
    truth, times = float(norm.cdf(0.5)), 150
    half = 50 + 10 * 0.5
    truth = float((TABLE["x"] < half).mean())  # type: ignore[arg-type]
    hits = 0
    for seed in range(times):
        found = estimate(copula, f"x < {half}", level=0.9, most=200, seed=seed)
        hits += found.low <= truth <= found.high
    assert binom.ppf(0.0005, times, 0.9) <= hits <= binom.ppf(0.9995, times, 0.9)


def test_quantiles_and_conditions(copula: Model):
    found = estimate(copula, "y", quantile=0.9, level=0.999)
    assert found.low <= TABLE["y"].quantile(0.9) <= found.high
    given = estimate(copula, "x > 50", where={"y": "3.."}, level=0.999)
    assert given.low - 0.01 <= TABLE.filter(pl.col("y") >= 3)["x"].gt(50).mean() <= given.high + 0.01


def test_draws_go_on_until_the_bounds_are_narrow_enough(copula: Model):
    found = estimate(copula, "x > 60", within=0.01)
    assert found.reached
    assert max(found.high - found.value, found.value - found.low) <= 0.01
    short = estimate(copula, "x > 60", within=1e-5, most=8_000)
    assert (short.reached, short.draws) == (False, 8_000)
    assert "not reached" in str(short)


def test_mirrored_uniforms_are_opposite_and_uniform():
    stream = Mirrored(Stream.root(1).key).child("x")
    u = stream.uniform(np.arange(20_000))
    assert u[::2] + u[1::2] == pytest.approx(1.0, abs=1e-12)
    assert np.histogram(u, 10, (0, 1))[0].min() > 1_800


@pytest.mark.parametrize(
    ("call", "fault"),
    [
        ({"what": "nothing > 1"}, "nothing"),
        ({"what": "avg(x)"}, "one thing of all rows"),
        ({"what": "x", "method": "strata"}, "strata"),
        ({"what": "x", "method": "control"}, "needs"),
        ({"what": "x", "by": "y"}, "takes no"),
        ({"what": "x", "method": "control", "by": "s"}, "numbers"),
        ({"what": "x", "quantile": 1.5}, "quantile"),
        ({"what": "x", "within": -1.0}, "bounds above 0"),
        ({"what": "x", "where": {"z": 1}}, "z"),
    ],
)
def test_what_cannot_be_estimated_is_refused(copula: Model, call: dict, fault: str):
    with pytest.raises(UserError, match=fault):
        estimate(copula, **call)


def test_on_the_command_line(copula: Model, tmp_path: Path, capsys: pytest.CaptureFixture):
    save_model(copula, tmp_path / "m.model")
    assert run_command(["estimate", str(tmp_path / "m.model"), "y > 2", "--within", "0.01"]) == 0
    assert "95%" in capsys.readouterr().out
    assert run_command(["estimate", "iot", "SELECT count(*) FROM site", "--size", "2"]) == 0
    assert capsys.readouterr().out.startswith("1 (1 to 1")
