"""Attacks that fit the model's like again: one that hands out its training rows is caught, one that learns nothing is not, and a bound never exceeds the truth."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from people import mixed
from scipy.stats import binom

from populace.app.cli import run_command
from populace.core.errors import UserError
from populace.core.evaluate import evaluate
from populace.core.evaluate.audit import Audited, audit, least_epsilon
from populace.core.evaluate.pair import make_pair
from populace.core.models import fit, save_model
from populace.core.stream import Stream
from populace.core.tables import Table

WHOLE = mixed(4_000, 21).drop("id", strict=False)
TRAIN, HOLDOUT, FRESH = WHOLE[:1_500], WHOLE[1_500:3_000], WHOLE[3_000:]


def figures(refit, synth: Table, stated=None) -> dict[str, float]:
    pair = make_pair(TRAIN, synth, HOLDOUT)
    return {m.name: m.value for m in audit(pair, Audited("test", refit, stated), Stream.root(3))}


def copies(rows: Table, n: int, seed: int) -> Table:
    return rows.sample(n, with_replacement=True, seed=seed)


def strangers(rows: Table, n: int, seed: int) -> Table:
    return FRESH.sample(n, with_replacement=True, seed=seed)


def test_a_model_that_hands_out_its_rows_is_caught():
    found = figures(copies, TRAIN)
    assert found["privacy.shadow"] > 0.9
    assert found["privacy.epsilon_found"] > 1


def test_a_model_that_never_looks_gives_nothing_away():
    found = figures(strangers, FRESH)
    assert found["privacy.shadow"] == pytest.approx(0.5, abs=0.06)
    assert found["privacy.epsilon_found"] < 0.4


def test_a_promise_that_canaries_break_is_called_broken():
    pair = make_pair(TRAIN, TRAIN, HOLDOUT)
    stated = {
        "epsilon": 0.5,
        "delta": 1e-6,
        "neighbours": "one row more or less",
        "ledger": [{"release": "x", "rho": 0.1}],
    }
    found = {m.name: m for m in audit(pair, Audited("test", copies, stated), Stream.root(3))}
    assert found["privacy.epsilon_stated"].value == 0.5
    assert found["privacy.epsilon_stated"].detail == ({"release": "x", "rho": 0.1},)
    assert "its promise is broken" in found["privacy.epsilon_found"].note


@given(st.integers(1, 400), st.data())
def test_the_least_epsilon_is_the_one_that_chance_excludes(guesses: int, data: st.DataObject):
    right = data.draw(st.integers(1, guesses))
    found = least_epsilon(right, guesses)
    if found:
        chance = np.exp(found) / (1 + np.exp(found))
        # at the bound, as many right guesses or more have a chance of just 5 %
        assert binom.sf(right - 1, guesses, chance) == pytest.approx(0.05, abs=1e-6)
    assert found <= least_epsilon(min(right + 1, guesses), guesses)


@settings(max_examples=15, deadline=None)
@given(st.floats(0.1, 3.0), st.integers(0, 1_000))
def test_the_bound_rarely_exceeds_the_truth_of_randomised_response(epsilon: float, seed: int):
    """Warner 1965: each answer is right with a chance of e^ε / (1 + e^ε), which is ε-differentially private and no more."""
    draw = np.random.default_rng(seed)
    right = draw.binomial(200, np.exp(epsilon) / (1 + np.exp(epsilon)), 400)
    assert np.mean([least_epsilon(int(r), 200) > epsilon for r in right]) < 0.09


def test_a_fitted_model_is_audited_by_its_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    for name, frame in (("real", TRAIN[:600]), ("held", HOLDOUT[:600])):
        frame.write_parquet(tmp_path / f"{name}.parquet")
    model = fit(tmp_path / "real.parquet", "gaussian-copula")
    save_model(model, tmp_path / "twin.model")
    model.sample_frame(600, seed=1).write_parquet(tmp_path / "twin.parquet")
    command = ["evaluate", *(str(tmp_path / f"{n}.parquet") for n in ("real", "twin"))]
    flags = ["--holdout", str(tmp_path / "held.parquet"), "--model", str(tmp_path / "twin.model"), "--only", "privacy"]
    assert run_command([*command, *flags, "--require", "privacy.shadow<0.65, privacy.epsilon_found<0.6"]) == 0
    assert "privacy.epsilon_stated" in capsys.readouterr().out


def test_a_private_model_keeps_what_it_states():
    known = TRAIN.select("job", "member").with_columns(pl.col("job").cast(pl.String))
    held, model = HOLDOUT.select(known.columns), fit(known, "mst", 1, epsilon=1.0)
    found = evaluate(known, model.sample_frame(1_500), held, only=["privacy"], model=model)
    assert found["privacy.epsilon_stated"] == 1.0
    assert found["privacy.epsilon_found"] <= 1.0
    with pytest.raises(UserError, match="the data are several"):
        evaluate({"a": known}, {"a": known}, model=model)
