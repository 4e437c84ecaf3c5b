"""Chains of events recover the matrices they were made with, and end as the real ones do."""

from __future__ import annotations

import datetime as dt
import itertools
import json
from functools import cache
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from click.testing import CliRunner
from safetensors.numpy import save
from scipy.stats import ks_2samp

from populace.app.commands.models import fit as command
from populace.core.errors import UserError
from populace.core.models import FORMAT, Model, fit, load_model, save_model
from populace.core.samplers.statistical.learn_events import Roles, fit_hidden, fit_markov, fit_semi_markov
from populace.core.stream import Stream

KINDS = ("admit", "test", "treat")
INITIAL = np.array([0.9, 0.1, 0.0])
# to admit, test, treat, the end
TRANSITION = np.array([[0.0, 0.7, 0.2, 0.1], [0.1, 0.3, 0.5, 0.1], [0.0, 0.4, 0.2, 0.4]])
MEAN = np.array([[0, 5, 60], [1, 20, 3], [0, 40, 200]])
N = 4_000
ROLES = Roles("patient_id", "at", "kind")


def events(n: int = N, seed: int = 1) -> pl.DataFrame:
    """A semi-Markov process: gamma times, of a mean for each pair, in minutes."""
    rng = np.random.default_rng(seed)
    rows = []
    for patient in range(n):
        kind, at = rng.choice(3, p=INITIAL), rng.uniform(0, 10_000)
        while kind < 3:
            rows.append((70_000 + 7 * patient, dt.datetime(2024, 1, 1) + dt.timedelta(minutes=at), KINDS[kind]))
            after = rng.choice(4, p=TRANSITION[kind])
            at += rng.gamma(3.0, MEAN[kind, after] / 3.0) if after < 3 else 0.0
            kind = after
    return pl.DataFrame(rows, schema=["patient_id", "at", "kind"], orient="row").sample(
        fraction=1, shuffle=True, seed=2
    )


@cache
def journeys() -> pl.DataFrame:
    return events()


@pytest.fixture(scope="module", params=["markov", "semi-markov", "hidden-markov"])
def model(request: pytest.FixtureRequest) -> Model:
    return fit(journeys(), request.param, 1, roles=ROLES)


@pytest.mark.parametrize("learn", [fit_markov, fit_semi_markov])
def test_the_matrices_are_recovered(learn):
    chain = learn(journeys(), Stream.root(1), ROLES)
    assert chain.kinds == KINDS
    # four standard errors of a share of the least frequent kind
    assert np.abs(chain.transition - TRANSITION).max() < 0.03
    assert np.abs(chain.initial - INITIAL).max() < 0.02


def test_what_is_drawn_follows_them_too():
    made = fit(journeys(), "semi-markov", 1, roles=ROLES).sample_frame(N, 2)
    assert made["patient_id"].n_unique() == N
    again = fit_semi_markov(made, Stream.root(1), ROLES)
    assert np.abs(again.transition - TRANSITION).max() < 0.03
    assert ks_2samp(gaps(made, "test", "treat"), gaps(journeys(), "test", "treat")).statistic < 0.04
    assert ks_2samp(gaps(made, "treat", "treat"), gaps(journeys(), "treat", "treat")).statistic < 0.08
    lengths = [t.group_by("patient_id").len()["len"].mean() for t in (journeys(), made)]
    assert lengths[1] == pytest.approx(lengths[0], rel=0.04)


def gaps(table: pl.DataFrame, before: str, after: str) -> np.ndarray:
    ordered = table.sort("patient_id", "at").with_columns(
        gap=pl.col("at").diff().over("patient_id").dt.total_seconds(), last=pl.col("kind").shift(1).over("patient_id")
    )
    return ordered.filter((pl.col("last") == before) & (pl.col("kind") == after))["gap"].to_numpy()


def test_times_of_a_markov_chain_are_exponential():
    made = fit(journeys(), "markov", 1, roles=ROLES).sample_frame(N, 2)
    waited = gaps(made, "test", "treat")
    assert waited.std() == pytest.approx(waited.mean(), rel=0.06)
    real = np.concatenate([gaps(journeys(), "test", k) for k in KINDS]).mean()
    assert np.concatenate([gaps(made, "test", k) for k in KINDS]).mean() == pytest.approx(real, rel=0.06)


def test_hidden_states_are_recovered():
    """Two phases, calm and ill, each with its own symptoms; the states come in either order."""
    move = np.array([[0.85, 0.10, 0.05], [0.15, 0.80, 0.05]])
    show = np.array([[0.8, 0.15, 0.05], [0.05, 0.25, 0.7]])
    rng = np.random.default_rng(3)
    rows = []
    for who in range(2_500):
        state, t = int(rng.random() > 0.7), 0
        while state < 2:
            rows.append((f"p{who}", t, "abc"[rng.choice(3, p=show[state])]))
            state, t = rng.choice(3, p=move[state]), t + 1
    table = pl.DataFrame(rows, schema=["who", "t", "sign"], orient="row")
    chain = fit_hidden(table, Stream.root(1), Roles("who", "t"), states=2)
    fits = [
        max(np.abs(chain.emission[list(p)] - show).max(), np.abs(chain.transition[list(p)][:, [*p, 2]] - move).max())
        for p in itertools.permutations(range(2))
    ]
    assert min(fits) < 0.06
    made = chain.sample(pl.DataFrame({"i": np.arange(2_500)}), Stream.root(2))
    assert made["t"].list.len().mean() == pytest.approx(20, rel=0.08)


def test_laws_of_a_model_of_events(model: Model, tmp_path: Path):
    made = model.sample_frame(300, 5)
    assert made.schema == journeys().schema
    assert made.equals(model.sample_frame(300, 5))
    few = model.sample_frame(40, 5)
    assert made.head(few.height).equals(few)
    assert made.equals(made.sort("patient_id", "at", maintain_order=True)) or made["patient_id"].n_unique() == 300
    for _, own in made.group_by("patient_id"):
        assert own["at"].is_sorted()
    assert not set(made["patient_id"]) & set(journeys()["patient_id"])
    save_model(model, tmp_path / "m.model")
    assert load_model(tmp_path / "m.model").sample_frame(300, 5).equals(made)
    assert model.sample_frame(0).height == 0
    assert "hidden" in model.name or model.describe().startswith(model.name)


REFUSED = {
    "no roles": (lambda: fit(journeys(), "markov"), "say which column is the entity"),
    "no such column": (lambda: fit(journeys(), "markov", roles=Roles("patientid", "at")), "unknown column 'patientid'. Did you mean 'patient_id'"),
    "which event": (lambda: fit(journeys().with_columns(x=1), "markov", roles=Roles("patient_id", "at")), "Say --event; there are kind, x"),
    "no time": (lambda: fit(journeys(), "markov", roles=Roles("patient_id", "kind", "at")), "expected times or numbers"),
    "missing": (lambda: fit(journeys().with_columns(at=pl.lit(None, pl.Datetime)), "markov", roles=ROLES), "is missing in"),
    "kinds": (lambda: fit(journeys().with_columns(kind=pl.int_range(pl.len())), "markov", roles=ROLES), "kinds of events, more than 500"),
    "condition": (lambda: fit(journeys(), "markov", roles=ROLES).sample_frame(1, where={"kind": "test"}), "where kind"),
    "another model": (lambda: fit(journeys(), "forest", roles=ROLES), "take a model of events"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_is_refused(case: str):
    make, message = REFUSED[case]
    with pytest.raises(UserError) as caught:
        make()
    assert message in str(caught.value)


def test_a_chain_without_an_end_is_refused(tmp_path: Path):
    plain, arrays = fit_markov(journeys(), Stream.root(1), ROLES).state()
    endless = np.array([[0, 1, 0, 0], [1, 0, 0, 0], [0, 0, 0, 1]], float)
    whole = {"card": {"model": "markov"}, "state": plain}
    (tmp_path / "bad.model").write_bytes(save({**arrays, "transition": endless}, {FORMAT: json.dumps(whole)}))
    with pytest.raises(UserError, match=r"bad\.model: .*it has no end"):
        load_model(tmp_path / "bad.model")


def test_the_command(tmp_path: Path):
    journeys().head(500).with_columns(ward=pl.lit("A")).write_csv(tmp_path / "t.csv")
    asked = [
        str(tmp_path / "t.csv"),
        "--entity",
        "patient_id",
        "--time-column",
        "at",
        "--event",
        "kind",
        "--out",
        str(tmp_path / "m.model"),
    ]
    made = CliRunner().invoke(command, asked)
    assert made.exit_code == 0, made.output
    assert "semi-markov of 3 columns" in made.output
    assert "not modelled: ward" in made.output
