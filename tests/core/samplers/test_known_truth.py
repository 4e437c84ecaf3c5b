"""Trees, vines and networks where the truth is known: relations that rise and fall, modes, exact conditionals, and a target that many columns foretell."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score

from populace.core.errors import UserError
from populace.core.models import fit, load_model, save_model

N = 4_000


def parabola() -> pl.DataFrame:
    rng = np.random.default_rng(1)
    x = rng.normal(size=N)
    return pl.DataFrame(
        {"x": np.round(x, 3), "y": np.round(x**2 + rng.normal(0, 0.2, N), 3), "z": np.round(rng.normal(size=N), 3)}
    )


def bend(table: pl.DataFrame) -> float:
    """How y goes with x², and x alone tells nothing."""
    return float(table.select(pl.corr(pl.col("x") ** 2, "y")).item())


@pytest.mark.parametrize("model", ["vine-copula", "adversarial-forest"])
def test_a_relation_that_falls_and_rises_is_learnt(model: str):
    real = parabola()
    made = fit(real, model, 1).sample_frame(N, 2)
    assert bend(real) > 0.95
    assert bend(made) > 0.8
    assert abs(made.select(pl.corr("x", "y")).item() - real.select(pl.corr("x", "y")).item()) < 0.12
    assert abs(made.select(pl.corr("z", "y")).item()) < 0.08
    # a Gaussian copula has one number for the pair, and it is near zero
    assert bend(fit(real, "gaussian-copula").sample_frame(N, 2)) < 0.3


@pytest.mark.parametrize("model", ["vine-copula", "adversarial-forest", "forest"])
def test_modes_are_kept_apart(model: str):
    """Three groups far apart: no rows between them, and each has its share and its mean."""
    rng = np.random.default_rng(2)
    which = rng.choice(3, N, p=[0.5, 0.3, 0.2])
    centre = np.array([[-10.0, 0.0], [0.0, 12.0], [10.0, -8.0]])[which]
    real = pl.DataFrame(
        {"a": np.round(centre[:, 0] + rng.normal(size=N), 3), "b": np.round(centre[:, 1] + rng.normal(size=N), 3)}
    )
    made = fit(real, model, 1).sample_frame(N, 2)
    at = np.round(made["a"].to_numpy() / 10).astype(int) + 1
    assert np.bincount(np.clip(at, 0, 2), minlength=3) / N == pytest.approx([0.5, 0.3, 0.2], abs=0.03)
    for k in range(3):
        assert np.median(made["b"].to_numpy()[at == k]) == pytest.approx(np.array([0.0, 12.0, -8.0])[k], abs=0.4)


def test_an_adversarial_forest_conditions_as_the_table_does():
    """Columns of few values: p(a | b, c) counted in the table against what is drawn."""
    rng = np.random.default_rng(3)
    b, c = rng.integers(0, 2, 6_000), rng.integers(0, 2, 6_000)
    a = (rng.random(6_000) < np.where(b ^ c, 0.9, 0.2)).astype(int)
    real = pl.DataFrame({"a": a, "b": b, "c": c, "d": rng.integers(0, 3, 6_000)})
    model = fit(real, "adversarial-forest", 1)
    for one, other in ((0, 0), (0, 1), (1, 0), (1, 1)):
        truth = real.filter((pl.col("b") == one) & (pl.col("c") == other))["a"].mean()
        assert model.sample_frame(3_000, 4, {"b": one, "c": other})["a"].mean() == pytest.approx(truth, abs=0.05)


def many_causes(seed: int) -> pl.DataFrame:
    rng = np.random.default_rng(seed)
    x = rng.integers(0, 3, (6_000, 7))
    p = 1 / (1 + np.exp(-1.1 * (x.sum(axis=1) - 7)))
    return pl.DataFrame({f"x{k}": x[:, k] for k in range(7)} | {"y": (rng.random(6_000) < p).astype(int)})


def foretold(learnt: pl.DataFrame, judged: pl.DataFrame) -> float:
    model = LogisticRegression().fit(learnt.drop("y").to_numpy(), learnt["y"].to_numpy())
    return float(roc_auc_score(judged["y"], model.predict_proba(judged.drop("y").to_numpy())[:, 1]))


def test_a_target_that_many_columns_foretell_is_better_foretold():
    """A network of three parents a column sees three of seven causes; with a target it sees them all."""
    real, held = many_causes(4), many_causes(5)
    plain, aimed = (fit(real, "bayesian-network", 1, target=t) for t in (None, "y"))
    scores = {name: foretold(m.sample_frame(6_000, 2), held) for name, m in (("plain", plain), ("aimed", aimed))}
    best = foretold(real, held)
    assert scores["aimed"] > best - 0.02
    assert scores["aimed"] >= scores["plain"] - 0.005
    edges = {e for e in aimed.sampler.edges if "y" in e}  # type: ignore[union-attr]
    assert len(edges) >= 6
    assert aimed.card["target"] == "y"


def test_a_target_is_refused_where_it_means_nothing():
    with pytest.raises(UserError, match="gives no column more care"):
        fit(parabola(), "gaussian-copula", target="y")
    with pytest.raises(UserError, match="yy"):
        fit(parabola(), "forest", target="yy")


def test_a_forest_draws_its_target_last_and_a_file_keeps_it(tmp_path):
    model = fit(many_causes(4).select("y", "x0", "x1", "x2"), "forest", 1, target="y")
    assert model.sampler.order[-1] == 0  # type: ignore[union-attr]
    save_model(model, tmp_path / "m.model")
    assert load_model(tmp_path / "m.model").sample_frame(50, 1).equals(model.sample_frame(50, 1))
