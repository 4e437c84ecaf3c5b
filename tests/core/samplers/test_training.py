"""The one loop of learning: broken off and taken up again it comes to the same, a time is kept to, and what a model knows helps it with few rows of another table."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from populace.app.cli import run_command
from populace.core import models
from populace.core.errors import UserError
from populace.core.models import fit, load_model, save_model
from populace.core.samplers.deep import cells, training
from populace.core.samplers.deep.adam import Adam
from populace.core.samplers.deep.learn_autoregressive import fit_autoregressive
from populace.core.samplers.deep.learnt import Effort
from populace.core.stream import Stream

NETWORKS = ("autoregressive", "tvae", "wgan-gp")


def table(n: int, seed: int = 1, shift: float = 0.0) -> pl.DataFrame:
    """A score, the group that it mostly settles, and a number that follows both."""
    rng = np.random.default_rng(seed)
    score = rng.normal(shift, 1, n)
    group = np.where(rng.random(n) < 1 / (1 + np.exp(-4 * (score - shift))), "high", "low")
    return pl.DataFrame({"score": score, "group": group, "spend": np.round(np.exp(score + (group == "high")), 2)})


def interrupted(monkeypatch: pytest.MonkeyPatch, epoch: int) -> None:
    """Ctrl-C in the middle of a pass."""
    passes = {"n": 0}
    for learner in (training.Descent, _pair()):
        real = learner.epoch

        def watched(self, share, length, real=real):
            passes["n"] += 1
            for k, loss in enumerate(real(self, share, length)):
                if passes["n"] == epoch and k == 0:
                    os.kill(os.getpid(), signal.SIGINT)
                yield loss

        monkeypatch.setattr(learner, "epoch", watched)


def _pair() -> type:
    from populace.core.samplers.deep.learn_adversarial import _Pair

    return _Pair


@pytest.mark.parametrize("name", NETWORKS)
def test_interrupted_and_resumed_it_is_the_same_model(name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    rows = table(200)
    whole = fit(rows, name, 3, epochs=4)
    with monkeypatch.context() as patch:
        interrupted(patch, 3)
        half = fit(rows, name, 3, epochs=4)
    assert half.card["learning"]["stopped"] == "interrupted"
    assert half.card["learning"]["epochs"] == 2
    assert half.sample_frame(20).height == 20
    save_model(half, tmp_path / "half.model")
    ended = fit(rows, start=tmp_path / "half.model", seed=3)
    assert ended.card["learning"]["epochs"] == 4
    assert ended.sample_frame(100).equals(whole.sample_frame(100))
    one, two = whole.sampler.state()[1], ended.sampler.state()[1]  # type: ignore[attr-defined]
    assert one.keys() == two.keys()
    assert all(np.array_equal(one[k], two[k]) for k in one)


def test_a_start_on_other_rows_is_taken_up_where_it_was_broken_off(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(cells, "CELLED_ROWS", 1)
    start, rows = fit(table(400), "autoregressive", 1, epochs=1), table(200, seed=4)
    whole = fit(rows, start=start, seed=3, epochs=3)
    with monkeypatch.context() as patch:
        interrupted(patch, 2)
        half = fit(rows, start=start, seed=3, epochs=3)
    assert half.card["learning"]["epochs"] == 1
    assert fit(rows, start=half, seed=3).sample_frame(100).equals(whole.sample_frame(100))


def test_interrupted_before_anything_was_learnt_there_is_no_model(monkeypatch: pytest.MonkeyPatch):
    def at_once(self, share, length):
        os.kill(os.getpid(), signal.SIGINT)
        yield 1.0

    monkeypatch.setattr(training.Descent, "epoch", at_once)
    with pytest.raises(KeyboardInterrupt):
        fit(table(100), "vae", epochs=3)


def test_passes_are_planned_by_the_time_and_no_clock():
    class Slow:
        epochs = 40

        def seconds(self) -> float:
            return 2.0

    passes = [training.planned(Slow(), s) for s in (None, 0.5, 10.0, 1e6)]  # type: ignore[arg-type]
    assert passes == [40, 1, int(training.SHARE * 10 / 2), 40]


def test_what_takes_longer_than_its_time_is_ended_by_the_clock(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(training, "OVERHEAD", 1e-9)
    monkeypatch.setattr(training, "RATE", 1e30)
    late = fit(table(200), "autoregressive", seconds=0.01)
    assert late.card["learning"]["stopped"] == "the time was over"
    assert late.sample_frame(10).height == 10


@pytest.mark.parametrize("name", ["autoregressive", "tvae", "ctgan"])
def test_a_model_of_another_table_gives_what_columns_have_in_common(name: str):
    start = fit(table(600), name, epochs=3)
    other = table(150, seed=5, shift=0.5).with_columns(new=pl.Series(np.arange(150) % 3))
    made = fit(other, start=start, epochs=1).sample_frame(30)
    assert made.columns == other.columns
    assert set(made["group"]) <= {"high", "low"}


def test_few_rows_are_learnt_better_from_a_model_of_a_like_table():
    start = fit_autoregressive(table(2_000), Stream.root(1), Effort(epochs=40))
    few = table(250, seed=9, shift=0.3)
    tuned = fit_autoregressive(few, Stream.root(2), Effort(start=start, epochs=16))
    anew = fit_autoregressive(few, Stream.root(2), Effort(epochs=16))
    assert tuned.learnt.course["loss"] < anew.learnt.course["loss"] - 0.2


def test_what_cannot_be_started_from_is_refused(tmp_path: Path):
    copula = fit(table(50), "gaussian-copula")
    with pytest.raises(UserError, match="learns nothing step by step"):
        fit(table(50), start=copula)
    network = fit(table(50), "vae", epochs=1)
    with pytest.raises(UserError, match="is a model 'vae', and 'tvae' is asked for"):
        fit(table(50), "tvae", start=network)
    with pytest.raises(UserError, match="epochs are for networks"):
        fit(table(50), "forest", epochs=3)
    with pytest.raises(UserError, match="expected a whole number from 1"):
        fit(table(50), "vae", epochs=0)
    save_model(network, tmp_path / "m.model")
    assert load_model(tmp_path / "m.model").card["learning"]["of"] == 1


def test_interrupted_what_is_no_network_leaves_nothing_and_says_so(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    def at_once(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(models, "rules_of", at_once)
    table(20).write_csv(tmp_path / "t.csv")
    assert run_command(["fit", str(tmp_path / "t.csv"), "--model", "forest", "--out", str(tmp_path / "m.model")]) == 130
    assert "nothing was learnt that could be kept" in capsys.readouterr().err
    assert not (tmp_path / "m.model").exists()


def test_adam_takes_the_steps_of_torch():
    import torch

    rng = torch.Generator().manual_seed(1)
    ours, theirs = (
        [torch.linspace(-1, 1, 5).clone().requires_grad_(), torch.ones(2, 3).requires_grad_()] for _ in range(2)
    )
    one, two = Adam(torch, ours, 1e-2, 1e-3), torch.optim.AdamW(theirs, 1e-2, weight_decay=1e-3, fused=True)
    for _ in range(5):
        slopes = [torch.randn(t.shape, generator=rng) for t in ours]
        for optimiser, parameters in ((one, ours), (two, theirs)):
            for t, g in zip(parameters, slopes, strict=True):
                t.grad = g.clone()
            optimiser.step()
    assert all(torch.equal(a, b) for a, b in zip(ours, theirs, strict=True))
