"""Networks of series: what they draw has the table's columns, times and lengths; files come back; torch and NumPy are the same network; an autoregressive process is recovered."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from populace.app.cli import run_command
from populace.core.errors import UserError
from populace.core.model_kinds import MODELS
from populace.core.models import fit, load_model, save_model
from populace.core.samplers.deep import learn_doppelganger, learn_timegan, series
from populace.core.samplers.deep.attention import Attention, attend, begin_blocks
from populace.core.samplers.deep.courses import FEW, KNOTS, Course
from populace.core.samplers.deep.ops import NUMPY, begin_recurrent, convolved, gru, lstm, torch_ops
from populace.core.samplers.deep.series import read_series
from populace.core.samplers.deep.windows import cut, root
from populace.core.samplers.statistical.empirical import fit_marginals
from populace.core.samplers.statistical.learn_events import Roles

SERIES = [n for n, k in MODELS.items() if k.events and k.trained]
ROLES = Roles("unit", "at")


def table(n: int = 12, seed: int = 1, regular: bool = True) -> pl.DataFrame:
    """Units of 20 to 30 readings a minute apart: a first-order autoregression, whether it is above 0, and a site that never changes."""
    draw = np.random.default_rng(seed)
    lengths = draw.integers(20, 31, n)
    unit = np.repeat(np.arange(n), lengths)
    step = np.concatenate([np.arange(k) for k in lengths])
    x = np.zeros(len(unit))
    for k in range(len(x)):
        x[k] = draw.normal() if step[k] == 0 else 0.9 * x[k - 1] + draw.normal() * np.sqrt(1 - 0.81)
    minutes = step if regular else np.cumsum(draw.exponential(1.0, len(unit)))
    return pl.DataFrame(
        {
            "unit": unit,
            "at": pl.Series((minutes * 60e6).astype(np.int64)).cast(pl.Datetime("us")),
            "x": x,
            "above": x > 0,
            "site": np.where(unit % 2, "a", "b"),
            "gap": pl.Series(draw.normal(size=len(unit))).set(pl.Series(draw.random(len(unit)) < 0.2), None),
        }
    )


@pytest.fixture(autouse=True)
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(learn_timegan, "STEPS", 2)
    monkeypatch.setattr(learn_doppelganger, "STEPS", 2)


@pytest.mark.parametrize("name", SERIES)
def test_what_is_drawn_is_like_the_table_and_comes_back_from_its_file(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(series, "_CALIBRATED", 128)
    real = table()
    model = fit(real, name, 1, epochs=1, roles=ROLES)
    made = model.sample_frame(9, 2)
    assert made.schema == real.schema
    assert made["unit"].n_unique() == 9
    steps = made.with_columns(gone=pl.col("at").diff().over("unit").dt.total_seconds()).drop_nulls("gone")
    assert (steps["gone"] == 60).all()
    assert made["x"].is_between(real["x"].min(), real["x"].max()).all()
    assert set(made["site"]) <= {"a", "b"}
    save_model(model, tmp_path / "m.model")
    assert load_model(tmp_path / "m.model").sample_frame(9, 2).equals(made)
    assert fit(real, name, 1, epochs=1, roles=ROLES).sample_frame(9, 2).equals(made)
    assert model.card["regenerated"] == {"unit": "the entity's key"}


@pytest.mark.parametrize("name", ["timevae", "sequence-transformer"])
def test_irregular_times_are_drawn_with_the_values(name: str):
    real = table(regular=False)
    made = fit(real, name, 1, epochs=1, roles=ROLES).sample_frame(20, 2)
    gaps = made.with_columns(gone=pl.col("at").diff().over("unit").dt.total_microseconds()).drop_nulls("gone")["gone"]
    assert (gaps >= 0).all()
    assert gaps.n_unique() > 50


def test_a_table_of_one_series_needs_no_entity(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    one = table(1).drop("unit")
    one.write_parquet(tmp_path / "one.parquet")
    out = tmp_path / "one.model"
    asked = [
        "fit",
        str(tmp_path / "one.parquet"),
        "--time-column",
        "at",
        "--model",
        "timevae",
        "--epochs",
        "1",
        "--out",
        str(out),
    ]
    assert run_command(asked) == 0
    assert "learnt in 1 of 1 passes" in capsys.readouterr().out
    made = load_model(out).sample_frame(3, 1)
    assert made.columns == ["series", *one.columns]
    with pytest.raises(UserError, match="say which column is the entity"):
        fit(one.select("at", "site"), "markov", roles=Roles("", "at"))


def test_windows_never_cross_from_one_entity_to_another():
    real = table(6)
    read, windows = read_series(real, ROLES), cut(real, ROLES, 5)
    assert read.lengths.sum() == real.height
    assert len(windows.classes) == (read.lengths - 4).sum()
    site = windows.layout.marginals[2]
    at = windows.classes[:, :, 2] - windows.layout.offsets[2]
    assert site.name == "site"
    assert (at == at[:, :1]).all()
    assert windows.there.all()
    whole = cut(real, ROLES, None)
    assert whole.steps == read.lengths.max()
    assert (whole.there.sum(axis=1) == read.lengths).all()


def test_a_sensor_that_stays_where_it_was_stays_as_often():
    """A thermometer of coarse resolution, a reading of which is as the one before in two of three steps."""
    draw = np.random.default_rng(1)
    moved = np.where(draw.random(2_000) < 1 / 3, draw.choice([-0.1, 0.1], 2_000), 0.0)
    level = 20 + np.abs(np.cumsum(moved))
    real = pl.DataFrame({"at": np.arange(2_000), "level": np.round(level, 1)})
    made = fit(real, "timevae", 1, epochs=40, times=["at"]).sample_frame(200, 2)
    change = made.select(pl.col("level").diff().over("series")).drop_nulls()["level"].to_numpy()
    assert abs((change == 0).mean() - (np.diff(real["level"]) == 0).mean()) < 0.15
    assert set(made["level"]) <= set(real["level"])


@settings(max_examples=50, deadline=None)
@given(
    st.lists(st.floats(-1e9, 1e9, allow_subnormal=False) | st.integers(-5, 5).map(float), min_size=20, max_size=200),
    st.integers(0, 2**32),
)
def test_a_columns_distribution_is_kept_whatever_the_network_draws(values: list[float], seed: int):
    column = pl.Series("x", values)
    marginal = fit_marginals(column.to_frame())[0]
    if marginal.pieces <= FEW:
        return
    course = Course.of(marginal)
    there = np.ones(len(column), bool)
    state, place, known = course.encode(marginal, column, np.zeros(len(column)))
    assert known.all()
    order = np.argsort(column.to_numpy(), kind="stable")
    assert (np.diff(place[order]) >= 0).all()
    # any network: what it draws is told by rank
    drawn = np.sort(np.random.default_rng(seed).beta(0.5, 2.0, 20_000) * 2 - 1)
    told = replace(course, drawn=np.quantile(drawn, np.linspace(0, 1, KNOTS)))
    made = np.sort(told.decode(marginal, np.zeros(20_000, int), drawn, np.ones(20_000, bool)).to_numpy())
    wanted = marginal.quantile((np.arange(20_000) + 0.5) / 20_000).to_numpy()
    rank = [np.searchsorted(made, wanted[::500], side=side) / 20_000 for side in ("left", "right")]
    should = (np.arange(20_000)[::500] + 0.5) / 20_000
    assert (rank[0] <= should + 0.01).all()
    assert (rank[1] >= should - 0.01).all()
    assert len(course.decode(marginal, state, place, there)) == len(column)


def test_torch_and_numpy_are_the_same_layers():
    g = torch.Generator().manual_seed(1)
    x = torch.randn(5, 7, 3, generator=g)
    for layer, gates in ((gru, 3), (lstm, 4)):
        p = begin_recurrent(torch, g, "r", 3, 6, gates)
        ours = layer(NUMPY, {k: v.numpy() for k, v in p.items()}, "r", x.numpy())
        assert np.allclose(ours, layer(torch_ops(torch), p, "r", x).numpy(), atol=1e-5)
    p = {"c.weight": torch.randn(9, 4, generator=g), "c.shift": torch.zeros(4)}
    for apart in (1, 3, 8):
        ours = convolved(NUMPY, {k: v.numpy() for k, v in p.items()}, "c", x.numpy(), apart)
        assert np.allclose(ours, convolved(torch_ops(torch), p, "c", x, apart).numpy(), atol=1e-5)


def test_noise_through_a_root_has_the_covariance_it_was_taken_from():
    draw = np.random.default_rng(1)
    for rows in (1, 3, 500):
        x = draw.normal(size=(rows, 6)).astype(np.float32) @ draw.normal(size=(6, 6)).astype(np.float32)
        assert np.allclose(root(x).T @ root(x), np.atleast_2d(np.cov(x, rowvar=False, bias=True)), atol=1e-4)


def test_attention_step_by_step_is_attention_at_once():
    g = torch.Generator().manual_seed(1)
    p, x = begin_blocks(torch, g, 2, 8), torch.randn(4, 6, 8, generator=g)
    mask = torch.full((6, 6), float("-inf")).triu(1)
    whole = attend(torch, p, x, 2, 2, mask).numpy()
    steps = Attention({k: v.numpy() for k, v in p.items()}, 2, 2)
    made = [steps.step(np.ascontiguousarray(x[:, t].numpy().T)).T for t in range(6)]
    assert np.allclose(np.stack(made, axis=1), whole, atol=1e-5)


@pytest.mark.parametrize("harm", ["shape", "nan", "network", "start"])
def test_a_damaged_network_is_refused(harm: str, tmp_path: Path):
    from safetensors.numpy import load_file, save

    from populace.core.models import FORMAT

    path = tmp_path / "m.model"
    save_model(fit(table(4), "timevae", 1, epochs=1, roles=ROLES), path)
    arrays = {k: v.copy() for k, v in load_file(path).items()}
    size = int.from_bytes(path.read_bytes()[:8], "little")
    whole = json.loads(json.loads(path.read_bytes()[8 : 8 + size])["__metadata__"][FORMAT])
    if harm == "shape":
        arrays["net.each.weight"] = arrays["net.each.weight"][:, :-1].copy()
    elif harm == "nan":
        arrays["net.out.weight"][0, 0] = np.nan
    elif harm == "network":
        whole["state"]["network"] = "another"
    else:
        arrays["start"] = np.array([np.inf])
    bad = tmp_path / "bad.model"
    bad.write_bytes(save(arrays, {FORMAT: json.dumps(whole)}))
    with pytest.raises(UserError, match="is not a populace model, or is damaged"):
        load_model(bad)


def test_tables_that_are_no_series_are_refused():
    with pytest.raises(UserError, match="no entity has two rows"):
        fit(pl.DataFrame({"unit": [1, 2], "at": [1, 2], "x": [0.5, 0.7]}), "timevae", roles=ROLES)
    with pytest.raises(UserError, match="nothing beside the entity and the time"):
        fit(pl.DataFrame({"unit": [1, 1], "at": [1, 2]}), "timevae", roles=ROLES)
    with pytest.raises(UserError, match="'att'"):
        fit(table(3), "timevae", roles=Roles("unit", "att"))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["timevae", "sequence-transformer", "series-diffusion"])
def test_the_correlations_of_an_autoregression_are_recovered(name: str):
    real = table(300).select("unit", "at", "x")
    made = fit(real, name, 1, roles=ROLES).sample_frame(400, 1)
    # within an entity, from the same steps on both sides
    for lag in (1, 3, 6):
        pairs = made.with_columns(then=pl.col("x").shift(lag).over("unit")).drop_nulls("then")
        assert np.corrcoef(pairs["x"], pairs["then"])[0, 1] == pytest.approx(0.9**lag, abs=0.12)
    assert made["x"].std() == pytest.approx(1.0, abs=0.15)
