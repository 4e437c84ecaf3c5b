"""A fairness goal is met to the row, costs no more rows than it must, and keeps what it does not speak of."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from populace.app.cli import run_command
from populace.core.errors import UserError
from populace.core.models import Model, fit, save_model

N = 4_000


@pytest.fixture(scope="module")
def model() -> Model:
    draw = np.random.default_rng(2)
    sex = draw.choice(["f", "m"], N, p=[0.4, 0.6])
    skill = draw.normal(size=N)
    hired = draw.random(N) < np.where(sex == "f", 0.2, 0.6) * np.where(skill > 0, 1.4, 0.6)
    return fit(pl.DataFrame({"sex": sex, "skill": skill.round(3), "hired": hired}), "bayesian-network", seed=1)


@settings(max_examples=15, deadline=None)
@given(st.integers(50, 2_000), st.floats(0.0, 1.0), st.integers(0, 50))
def test_the_gap_is_met_to_the_row_and_the_rest_stays(model: Model, n: int, gap: float, seed: int):
    fair = model.sample_fair(n, "hired", "true", "sex", gap, seed)
    plain = model.sample_frame(n, seed)
    groups = fair.rows["sex"].value_counts()
    # each group's count is right to the nearest row
    assert fair.gaps[1] <= max(gap, 0) + sum(0.5 / c for c in groups["count"]) + 1e-9 or fair.gaps[1] <= fair.gaps[0]
    assert fair.gaps[1] <= min(gap, fair.gaps[0]) + sum(0.5 / c for c in groups["count"]) + 1e-9
    assert fair.rows["sex"].equals(plain["sex"])
    assert abs(fair.rows["hired"].mean() - plain["hired"].mean()) <= 1 / n + 1e-9  # type: ignore[operator]
    same = (fair.rows == plain).select(pl.all_horizontal(pl.all().fill_null(True))).to_series()
    assert (~same).sum() <= fair.again
    if gap >= fair.gaps[0]:
        assert fair.again == 0


def test_rows_that_change_fit_their_new_outcome(model: Model):
    fair = model.sample_fair(N, "hired", True, "sex", 0.0, 3)
    assert fair.gaps[0] > 0.3
    assert fair.gaps[1] < 0.001
    changed = fair.rows.filter((fair.rows != model.sample_frame(N, 3))["hired"])
    assert changed.height == fair.again
    # skill helps to be hired, in the model and in the rows that were drawn again
    assert changed.filter("hired")["skill"].mean() > changed.filter(~pl.col("hired"))["skill"].mean()  # type: ignore[operator]
    assert fair.shapes[0] > 0.95
    assert fair.pairs[0] < fair.pairs[1]


def test_the_command_says_what_it_costs(model: Model, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    path = tmp_path / "m.model"
    save_model(model, path)
    command = ["sample", str(path), "-n", "500", "--parity", "hired=true:sex"]
    assert run_command([*command, "--to", str(tmp_path / "fair")]) == 0
    shown = capsys.readouterr().out
    assert "gap 0." in shown
    assert "cost in fidelity" in shown
    asked = json.loads((tmp_path / "fair" / "manifest.json").read_text())["populace"]
    assert "hired=true:sex" in json.dumps(asked)
    for flags, said in [
        (["--parity", "hired:sex"], "is not OUTCOME=VALUE:GROUP"),
        (["--parity", "hird=true:sex"], "Did you mean 'hired'?"),
        (["--parity", "hired=maybe:sex"], "no row of 500 has hired=maybe"),
        (["--parity", "hired=true:skill"], "too many to be groups"),
        (["--parity", "hired=true:sex", "--gap", "2"], "no difference of shares"),
        (["--gap", "0.1"], "--gap is for --parity"),
        (["--parity", "hired=true:sex", "--where", "sex=f"], "none of --where"),
    ]:
        assert run_command(["sample", str(path), "-n", "500", *flags]) == 2
        assert said in capsys.readouterr().err


def test_an_outcome_of_numbers_is_told_as_text():
    table = pl.DataFrame({"g": ["a", "b"] * 300, "y": [0.0, 1.0, 1.0, 1.0] * 150})
    model = fit(table, "bayesian-network", seed=1)
    assert model.sample_fair(400, "y", "1", "g").gaps[1] < 0.01
    with pytest.raises(UserError, match="the group as well"):
        model.sample_fair(400, "g", "a", "g")
