"""The networks over one table recover what is known of it, and condition on any column."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from scipy.stats import ks_2samp

from populace.core.models import Model, fit

N = 4_000
RNG = np.random.default_rng(3)
KIND = RNG.choice(["low", "mid", "high"], N, p=[0.5, 0.3, 0.2])
CENTRE = pl.Series(KIND).replace_strict({"low": -50.0, "mid": 0.0, "high": 80.0}).to_numpy()
Z = RNG.multivariate_normal([0, 0], [[1, 0.8], [0.8, 1]], N)
TABLE = pl.DataFrame(
    {
        "kind": KIND,
        "x": np.round(CENTRE + RNG.normal(0, 2, N), 1),
        "a": Z[:, 0],
        "b": np.exp(Z[:, 1]),
        "zero": np.where(RNG.random(N) < 0.7, 0.0, np.round(RNG.lognormal(3, 1, N), 2)),
        "gap": pl.Series(RNG.normal(size=N)).set(pl.Series(KIND == "mid"), None),
    }
)


@pytest.fixture(scope="module", params=["autoregressive", "transformer", "tabddpm", "vae"])
def model(request: pytest.FixtureRequest) -> Model:
    return fit(TABLE, request.param, 1)


@pytest.mark.slow
def test_distributions_and_relations_are_recovered(model: Model):
    made = model.sample_frame(N, 1)
    for column in ("x", "a", "b", "zero"):
        assert ks_2samp(TABLE[column], made[column]).statistic < 0.08
    assert (made["zero"] == 0).mean() == pytest.approx(0.7, abs=0.05)
    real, drew = (t["kind"].value_counts(normalize=True).sort("kind")["proportion"] for t in (TABLE, made))
    assert np.allclose(real, drew, atol=0.06)
    agree = (made["kind"] == "high") == (made["x"] > 40)
    assert agree.mean() > 0.93
    assert (made["gap"].is_null() == (made["kind"] == "mid")).mean() > 0.93
    assert np.corrcoef(made["a"], np.log(made["b"]))[0, 1] == pytest.approx(0.8, abs=0.08)


@pytest.mark.slow
def test_conditions_follow_the_exact_conditional(model: Model):
    # of a Gaussian: given a, log b has mean 0.8 a and variance 0.36
    told = pl.DataFrame({"a": np.full(2_000, 1.0)})
    made = np.log(model.sample_frame(given=told)["b"].to_numpy())
    loose = 0.25 if model.name in ("vae", "tabddpm") else 0.12
    assert made.mean() == pytest.approx(0.8, abs=loose)
    assert made.std() == pytest.approx(0.6, abs=loose)
    back = model.sample_frame(1_000, 2, {"kind": "high"})
    assert (back["x"] > 40).mean() > 0.85
