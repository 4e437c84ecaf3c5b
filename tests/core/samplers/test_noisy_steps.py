"""Networks under differential privacy: gradients are cut and noised as the formula says, rows take part by chance, and no row held out is looked at."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch

from populace.core.errors import UserError
from populace.core.model_kinds import MODELS
from populace.core.models import fit, load_model, save_model
from populace.core.samplers.deep import private_fit, series
from populace.core.samplers.deep.private_fit import CLIP, NoisySteps
from populace.core.samplers.statistical.learn_events import Roles
from populace.core.stream import Stream

RNG = np.random.default_rng(4)


def steps(share: float, multiplier: float, scale: float = 1.0) -> NoisySteps:
    """Steps of a loss whose gradient is a row times a scale."""
    rows = torch.tensor(RNG.normal(size=(2_000, 3)).astype(np.float32)) * scale
    parameters = {"w": torch.zeros(3, requires_grad=True)}
    return NoisySteps(
        torch, Stream.root(1), parameters, lambda p, row, noise: row[0] @ p["w"], (rows,),
        lambda count, learning: (), share, multiplier, 100.0,
    )  # fmt: skip


def test_without_noise_a_step_is_the_sum_of_cut_gradients():
    taken = steps(0.05, 0.0, scale=3.0)
    at = taken.chosen()
    rows = taken.rows[0][at].numpy()
    cut = rows * np.minimum(1, CLIP / np.linalg.norm(rows, axis=1))[:, None]
    taken.step()
    assert np.allclose(taken.parameters["w"].grad.numpy(), cut.sum(axis=0) / 100.0, atol=1e-5)


def test_the_noise_has_the_deviation_that_was_paid_for():
    taken = steps(0.05, 7.0, scale=0.0)
    drawn = []
    for _ in range(400):
        taken.step()
        drawn.append(taken.parameters["w"].grad.numpy().copy() * 100.0)
    # four standard errors of a deviation of 1,200 figures
    assert np.std(drawn) == pytest.approx(7.0 * CLIP, rel=4 / np.sqrt(2 * 1_200))
    assert abs(np.mean(drawn)) < 4 * 7.0 / np.sqrt(1_200)


def test_rows_take_part_by_chance_each_by_itself():
    taken = steps(0.05, 1.0)
    sizes, often = [], np.zeros(2_000)
    for taken.taken in range(200):
        at = taken.chosen().numpy()
        often[at] += 1
        sizes.append(len(at))
    assert np.mean(sizes) == pytest.approx(100, abs=4 * np.sqrt(95 / 200))
    assert np.var(sizes) == pytest.approx(95, rel=0.5)
    assert often.std() == pytest.approx(np.sqrt(200 * 0.05 * 0.95), rel=0.1)


def test_a_gradient_that_is_no_number_moves_nothing():
    taken = steps(1.0, 0.0)
    taken.rows[0][0] = float("nan")
    taken.step()
    assert np.isfinite(taken.parameters["w"].grad.numpy()).all()


PRIVATE = [n for n, k in MODELS.items() if k.learn_private]


@pytest.mark.parametrize("name", PRIVATE)
def test_each_network_spends_its_budget_once_and_says_so(name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setattr(private_fit.buy, "__defaults__", (3,))
    monkeypatch.setattr(series, "_CALIBRATED", 128)
    table = pl.DataFrame(
        {"sex": RNG.choice(["F", "M"], 300), "age": RNG.integers(0, 90, 300), "x": RNG.normal(size=300)}
    )
    known = {"sex": {"values": ["F", "M"]}, "age": {"min": 0, "max": 100}, "x": {"min": -4.0, "max": 4.0}}
    from populace.core.samplers.statistical.private_marginals import as_extents

    events = MODELS[name].events
    asked: dict[str, Any] = {"epsilon": 3.0, "domain": as_extents(known)}
    if events:
        # an entity has four rows
        table = table.with_columns(who=pl.Series(np.arange(300) // 4), at=pl.Series(np.arange(300) % 4))
        asked["roles"] = Roles("who", "at")
    model = fit(table, name, 1, **asked)
    paid = model.card["privacy"]
    assert paid["neighbours"] == f"one {'entity with all its rows' if events else 'row'} more or less"
    assert paid["epsilon"] == 3.0
    assert [e["what"] for e in paid["ledger"]][-1] == "steps of learning"
    assert 0.9 * paid["rho"] < paid["spent"] <= paid["rho"] * 1.001
    assert "digest" not in model.card
    save_model(model, tmp_path / "m.model")
    made = load_model(tmp_path / "m.model").sample_frame(200)
    assert made.equals(fit(table, name, 1, **asked).sample_frame(200))
    assert made["age"].drop_nulls().is_between(0, 100).all()
    assert set(made["sex"].drop_nulls()) <= {"F", "M"}


def test_every_network_has_a_private_form():
    assert {n for n, k in MODELS.items() if k.trained} == set(PRIVATE)


@pytest.mark.parametrize("name", [n for n in PRIVATE if MODELS[n].events])
def test_of_series_only_what_was_paid_for_is_in_the_file(name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    """Keys, how many rows there are, when each series begins and what one entity alone has are nowhere."""
    monkeypatch.setattr(private_fit.buy, "__defaults__", (3,))
    monkeypatch.setattr(series, "_CALIBRATED", 128)
    who, at = np.arange(1_200) // 6, np.arange(1_200) % 6
    key = pl.Series([f"PATIENT-{n:04d}" for n in who])
    table = pl.DataFrame({"who": key, "at": at + 1_000_003 * who, "x": RNG.normal(size=1_200)})
    table = table.with_columns(
        kind=pl.when(pl.col("who") == "PATIENT-0007").then(pl.lit("SECRET")).otherwise(pl.lit("usual"))
    )
    model = fit(table, name, 1, epsilon=8.0, roles=Roles("who", "at"))
    save_model(model, tmp_path / "m.model")
    held = (tmp_path / "m.model").read_bytes()
    assert b"PATIENT" not in held
    assert b"SECRET" not in held
    assert b"usual" in held
    assert "rows" not in model.card
    assert 50 < model.card["entities"] < 400
    assert f"about {model.card['entities']:,} entities" in load_model(tmp_path / "m.model").describe()
    with pytest.raises(UserError, match="protects entities: say which column is theirs"):
        fit(table.drop("who"), name, 1, epsilon=8.0, times=["at"])


def test_what_has_no_private_form_says_which_have():
    with pytest.raises(UserError, match="is not differentially private: with epsilon, fit one of autoregressive"):
        fit(pl.DataFrame({"a": [1, 2], "b": [1, 2]}), "forest", epsilon=1.0)
    events = pl.DataFrame({"who": [1, 1, 2], "at": [1, 2, 1], "kind": ["a", "b", "a"]})
    with pytest.raises(UserError, match="with epsilon, fit one of sequence-transformer, timevae"):
        fit(events, "markov", epsilon=1.0, roles=Roles("who", "at", "kind"))
    with pytest.raises(UserError, match="unknown column 'b'"):
        fit(pl.DataFrame({"a": [1, 2], "b": [1, 2]}), "aim", epsilon=1.0, drop=["b"], target="b")
    with pytest.raises(UserError, match="give epsilon too"):
        fit(events, "markov", delta=1e-6, roles=Roles("who", "at", "kind"))
    model = fit(pl.DataFrame({"a": RNG.normal(size=60), "b": RNG.normal(size=60)}), "vae", epochs=1)
    with pytest.raises(UserError, match="takes no time, passes or start"):
        fit(pl.DataFrame({"a": [1, 2], "b": [1, 2]}), "vae", epsilon=1.0, start=model)


def test_votes_are_noised_as_they_were_paid_for():
    from populace.core.samplers.deep.learn_pategan import laplace, vote_cost

    noise = laplace(Stream.root(1).uniform(np.arange(200_000)), 4.0)
    # Laplace of scale b: standard deviation b√2, mean distance from 0 b
    assert noise.std() == pytest.approx(4.0 * np.sqrt(2), rel=0.02)
    assert np.abs(noise).mean() == pytest.approx(4.0, rel=0.02)
    # a vote is 2λ-DP, and ε-DP is ε²/2-zCDP (Bun and Steinke 2016, proposition 1.4)
    assert vote_cost(0.25) == pytest.approx((2 * 0.25) ** 2 / 2)


def test_teachers_votes_spend_the_budget_before_the_first(monkeypatch: pytest.MonkeyPatch):
    from populace.core.samplers.deep import learn_pategan

    monkeypatch.setattr(learn_pategan, "ROUNDS", 3)
    table = pl.DataFrame({"sex": RNG.choice(["F", "M"], 2_000), "x": RNG.normal(size=2_000)})
    model = fit(table, "pate-gan", 1, epsilon=5.0)
    votes = model.card["privacy"]["ledger"][-1]
    assert "votes of 2" in votes["what"]
    assert votes["rho"] <= model.card["privacy"]["rho"]
    assert model.sample_frame(50).columns == ["sex", "x"]
    with pytest.raises(UserError, match="does not pay for one vote"):
        fit(table.head(40), "pate-gan", 1, epsilon=0.01)
