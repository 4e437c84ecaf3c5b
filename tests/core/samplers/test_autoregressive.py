"""The autoregressive network recovers what is known of a table, conditions on any column, and needs torch for learning alone."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch
from safetensors.numpy import load_file, save
from scipy.stats import ks_2samp

from populace.core.errors import UserError
from populace.core.models import FORMAT, fit, load_model, save_model
from populace.core.samplers.deep.autoregressive import Autoregressive
from populace.core.samplers.deep.learn_autoregressive import fit_autoregressive
from populace.core.samplers.deep.learnt import Effort
from populace.core.stream import Stream
from populace.core.tables import ROW

N = 6_000
RNG = np.random.default_rng(3)
SHAPE = RNG.choice(["ring", "line", "none"], N, p=[0.5, 0.3, 0.2])
ANGLE = RNG.uniform(0, 2 * np.pi, N)
X = np.where(SHAPE == "ring", np.cos(ANGLE), RNG.normal(size=N))
TABLE = pl.DataFrame(
    {
        "shape": SHAPE,
        "x": X,
        "y": np.where(SHAPE == "ring", np.sin(ANGLE), np.where(SHAPE == "line", X, RNG.normal(size=N))),
        "noise": RNG.normal(size=N),
        "gain": np.where(RNG.random(N) < 0.8, 0, np.round(RNG.lognormal(6, 1, N))),
        "gap": pl.Series(RNG.normal(size=N)).set(pl.Series((X > 0.5) & (SHAPE == "ring")), None),
        "odd": (X > 0) ^ (RNG.random(N) < 0.1),
    }
)


@pytest.fixture(scope="module")
def network() -> Autoregressive:
    return fit_autoregressive(TABLE, Stream.root(1))


def drawn(network: Autoregressive, given: pl.DataFrame | None = None, n: int = N, seed: int = 1) -> pl.DataFrame:
    address = pl.DataFrame({ROW: np.arange(n if given is None else given.height, dtype=np.uint64)})
    return network.sample(address if given is None else address.hstack(given), Stream.root(seed))


def test_each_column_keeps_its_distribution(network: Autoregressive):
    made = drawn(network)
    for column in ("shape", "odd"):
        real, drew = (t[column].cast(pl.String).value_counts(normalize=True).sort(column) for t in (TABLE, made))
        assert np.allclose(real["proportion"], drew["proportion"], atol=0.03)
    for column in ("x", "y", "noise", "gain"):
        assert ks_2samp(TABLE[column], made[column]).statistic < 0.06
    assert (made["gain"] == 0).mean() == pytest.approx(0.8, abs=0.03)


def test_relations_between_columns_are_kept(network: Autoregressive):
    made = drawn(network)
    ring = made.filter(pl.col("shape") == "ring")
    radius = (ring["x"] ** 2 + ring["y"] ** 2).to_numpy() ** 0.5
    # classes of 1/128 of the rows: a point of the ring is placed within a class of x and one of y
    assert np.median(np.abs(radius - 1)) < 0.1
    line = made.filter(pl.col("shape") == "line")
    assert np.corrcoef(line["x"], line["y"])[0, 1] > 0.8
    assert abs(np.corrcoef(made["noise"], made["x"])[0, 1]) < 0.06
    assert ((made["x"] > 0) != made["odd"]).mean() == pytest.approx(0.1, abs=0.03)


def test_gaps_come_where_they_came(network: Autoregressive):
    made = drawn(network)
    where = (made["x"] > 0.55) & (made["shape"] == "ring")
    assert made.filter(where)["gap"].null_count() / where.sum() > 0.85
    assert made.filter(made["shape"] != "ring")["gap"].null_count() / (made["shape"] != "ring").sum() < 0.06
    assert made["x"].null_count() == 0


@pytest.mark.parametrize("odd", [True, False])
def test_what_stands_last_can_be_given_and_the_first_follow(network: Autoregressive, odd: bool):
    made = drawn(network, pl.DataFrame({"odd": [odd] * 4_000}))
    assert (made["odd"] == odd).all()
    truth = TABLE.filter(pl.col("odd") == odd)
    assert (made["x"] > 0).mean() == pytest.approx((truth["x"] > 0).mean(), abs=0.08)
    share = (truth["shape"] == "ring").mean()
    assert (made["shape"] == "ring").mean() == pytest.approx(share, abs=0.08)


def test_a_missing_value_can_be_given(network: Autoregressive):
    made = drawn(network, pl.DataFrame({"gap": pl.Series([None] * 2_000, dtype=pl.Float64)}))
    assert made["gap"].null_count() == 2_000
    assert ((made["shape"] == "ring") & (made["x"] > 0.4)).mean() > 0.9


def test_the_same_seed_learns_the_same_and_leaves_torch_as_it_was():
    before, threads = torch.random.get_rng_state(), torch.get_num_threads()
    one, two = (fit_autoregressive(TABLE.head(600), Stream.root(5), Effort(epochs=2)).state()[1] for _ in range(2))
    assert all(np.array_equal(one[k], two[k]) for k in one)
    assert torch.equal(torch.random.get_rng_state(), before)
    assert torch.get_num_threads() == threads
    other = fit_autoregressive(TABLE.head(600), Stream.root(6), Effort(epochs=2)).state()[1]
    assert not np.array_equal(one["head.known"], other["head.known"])


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("model") / "shapes.model"
    save_model(fit(TABLE.head(500), "autoregressive", 1), path)
    return path


def without_torch(code: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    blocked = f"import sys; sys.modules['torch'] = None\n{code}"
    return subprocess.run([sys.executable, "-c", blocked, *map(str, arguments)], capture_output=True, text=True)


def test_without_torch_a_saved_model_draws_the_same_rows(file: Path, tmp_path: Path):
    code = (
        "from populace.core.models import load_model\n"
        "load_model(sys.argv[1]).sample_frame(50, 3).write_parquet(sys.argv[2])"
    )
    done = without_torch(code, file, tmp_path / "rows.parquet")
    assert done.returncode == 0, done.stderr
    assert pl.read_parquet(tmp_path / "rows.parquet").equals(load_model(file).sample_frame(50, 3))


def test_without_torch_learning_says_what_to_install(tmp_path: Path):
    TABLE.head(50).write_csv(tmp_path / "t.csv")
    code = "from populace.app.cli import run_command\nsys.exit(run_command(sys.argv[1:]))"
    done = without_torch(code, "fit", tmp_path / "t.csv", "--model", "autoregressive", "--out", tmp_path / "m.model")
    assert done.returncode == 2
    assert "pip install 'populace[deep]'" in done.stderr
    assert not (tmp_path / "m.model").exists()


@pytest.mark.parametrize("harm", ["shape", "kind", "nan", "gone"])
def test_a_damaged_network_is_refused(harm: str, file: Path, tmp_path: Path):
    arrays = {k: v.copy() for k, v in load_file(file).items()}
    if harm == "shape":
        arrays["head.out"] = arrays["head.out"][:-1]
    elif harm == "kind":
        arrays["net.first"] = arrays["net.first"].astype(np.float64)
    elif harm == "nan":
        arrays["net.second"][0, 0, 0] = np.nan
    else:
        del arrays["net.shift"]
    size = int.from_bytes(file.read_bytes()[:8], "little")
    metadata = json.loads(file.read_bytes()[8 : 8 + size])["__metadata__"]
    bad = tmp_path / "bad.model"
    bad.write_bytes(save(arrays, {FORMAT: metadata[FORMAT]}))
    with pytest.raises(UserError, match="damaged"):
        load_model(bad)
