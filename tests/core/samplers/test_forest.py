"""A forest recovers what is known of a table, follows what is given, and holds back where there is nothing to follow."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from safetensors import safe_open
from safetensors.numpy import save
from scipy.stats import ks_2samp

from populace.core.errors import UserError
from populace.core.models import FORMAT, fit, load_model, save_model
from populace.core.samplers.statistical.forest import Classes, Forest
from populace.core.samplers.statistical.grow import fit_forest
from populace.core.samplers.statistical.marginal import fit_marginal
from populace.core.stream import Stream
from populace.core.tables import ROW

N = 3_000
RNG = np.random.default_rng(3)
SHAPE = RNG.choice(["ring", "line", "none"], N, p=[0.5, 0.3, 0.2])
ANGLE = RNG.uniform(0, 2 * np.pi, N)
X = np.where(SHAPE == "ring", np.cos(ANGLE), RNG.normal(size=N))
TABLE = pl.DataFrame(
    {
        "shape": SHAPE,
        "x": X,
        "y": np.where(SHAPE == "ring", np.sin(ANGLE), np.where(SHAPE == "line", X, RNG.normal(size=N))),
        "code": pl.Series(SHAPE).replace({"ring": "R", "line": "L", "none": "N"}),
        "noise": RNG.normal(size=N),
        "gain": np.where(RNG.random(N) < 0.8, 0, np.round(RNG.lognormal(6, 1, N))),
        "gap": pl.Series(RNG.normal(size=N)).set(pl.Series((X > 0.5) & (SHAPE == "ring")), None),
        "odd": (X > 0) ^ (RNG.random(N) < 0.1),
    }
)


@cache
def forest() -> Forest:
    return fit_forest(TABLE, Stream.root(1), trees=4)


def drawn(given: pl.DataFrame | None = None, n: int = N, seed: int = 1) -> pl.DataFrame:
    address = pl.DataFrame({ROW: np.arange(n if given is None else given.height, dtype=np.uint64)})
    return forest().sample(address if given is None else address.hstack(given), Stream.root(seed))


@pytest.fixture(scope="module")
def made() -> pl.DataFrame:
    return drawn()


def test_each_column_keeps_its_distribution(made: pl.DataFrame):
    for column in ("shape", "code", "odd"):
        real, drew = (t[column].cast(pl.String).value_counts(normalize=True).sort(column) for t in (TABLE, made))
        assert np.allclose(real["proportion"], drew["proportion"], atol=0.03)
    for column in ("x", "y", "noise", "gain"):
        # 0.05 is beyond the 99.9 % point of two samples of this size from one distribution
        assert ks_2samp(TABLE[column], made[column]).statistic < 0.05
    assert (made["gain"] == 0).mean() == pytest.approx(0.8, abs=0.02)


def test_a_column_that_follows_from_another_still_does(made: pl.DataFrame):
    pairs = set(zip(made["shape"], made["code"], strict=True))
    wrong = made.filter(pl.col("code") != pl.col("shape").replace({"ring": "R", "line": "L", "none": "N"})).height
    assert pairs >= {("ring", "R"), ("line", "L"), ("none", "N")}
    assert wrong / N < 0.002


def test_relations_that_are_not_monotone_and_differ_by_group_are_kept(made: pl.DataFrame):
    ring = made.filter(pl.col("shape") == "ring")
    radius = (ring["x"] ** 2 + ring["y"] ** 2).sqrt()
    assert radius.median() == pytest.approx(1.0, abs=0.05)
    assert ((radius - 1).abs() < 0.3).mean() > 0.85
    line, none = (made.filter(pl.col("shape") == s) for s in ("line", "none"))
    assert np.corrcoef(line["x"], line["y"])[0, 1] > 0.9
    assert abs(np.corrcoef(none["x"], none["y"])[0, 1]) < 0.1


def test_values_are_missing_where_they_were(made: pl.DataFrame):
    hit = (made["x"] > 0.5) & (made["shape"] == "ring")
    assert made.filter(hit)["gap"].is_null().mean() > 0.75
    assert made.filter(~hit)["gap"].is_null().mean() < 0.07


def test_a_class_is_as_likely_as_it_was(made: pl.DataFrame):
    assert made.filter(pl.col("x") > 0.2)["odd"].mean() == pytest.approx(0.9, abs=0.05)
    assert made.filter(pl.col("x") < -0.2)["odd"].mean() == pytest.approx(0.1, abs=0.05)


def test_noise_is_not_learnt_by_heart():
    """Rows that were learnt are no nearer to what is drawn than rows that were not."""
    fresh = np.random.default_rng(9).normal(size=(2_000, 4))
    known = np.random.default_rng(8).normal(size=(2_000, 4))
    forest = fit_forest(pl.DataFrame(known, schema=list("abcd"), orient="row"), Stream.root(1), trees=4)
    made = forest.sample(pl.DataFrame({ROW: np.arange(2_000, dtype=np.uint64)}), Stream.root(2)).to_numpy()
    distance = [np.sqrt(((made[:, None] - t[None]) ** 2).sum(2)).min(1) for t in (known, fresh)]
    # the standard error of the share is 0.011
    assert (distance[0] < distance[1]).mean() == pytest.approx(0.5, abs=0.045)


@pytest.mark.parametrize(
    ("told", "column", "value"),
    [
        ({"shape": "line"}, "code", "L"),
        ({"code": "L"}, "shape", "line"),
        ({"code": "N", "odd": True}, "shape", "none"),
    ],
)
def test_what_is_given_holds_and_the_others_follow_it(told: dict, column: str, value: str):
    given = pl.DataFrame({k: [v] * 500 for k, v in told.items()})
    made = drawn(given)
    assert made.select(list(told)).equals(given)
    assert (made[column] == value).mean() > 0.97


def test_a_column_before_a_given_one_follows_its_exact_conditional():
    given = pl.DataFrame({"odd": [True] * 3_000})
    assert (drawn(given)["x"] > 0).mean() == pytest.approx(0.9, abs=0.04)


def test_saved_and_loaded_it_draws_the_same(tmp_path: Path):
    table = TABLE.head(500)
    model = fit(table, "forest", 1)
    save_model(model, tmp_path / "m")
    assert load_model(tmp_path / "m").sample_frame(100, 5).equals(model.sample_frame(100, 5))
    assert fit(table, "forest", 1).sample_frame(100, 5).equals(model.sample_frame(100, 5))


@pytest.mark.parametrize(
    ("array", "change"),
    [
        ("left", lambda a: np.where(a >= 0, 0, a)),
        ("right", lambda a: a + 1_000_000),
        ("feature", lambda a: a + 100),
        ("codes", lambda a: a + 100_000),
        ("codes", lambda a: a - 100),
        ("start", lambda a: a[::-1]),
        ("start", lambda a: a + 1),
        ("threshold", lambda a: a * np.nan),
        ("threshold", lambda a: a[:-1]),
        ("left", lambda a: a.astype(np.int64)),
    ],
)
def test_a_file_whose_trees_lead_astray_is_refused(tmp_path: Path, array: str, change):
    path = tmp_path / "m"
    save_model(fit(TABLE.head(200), "forest", 1), path)
    with safe_open(path, "numpy") as file:
        metadata, arrays = file.metadata(), {k: file.get_tensor(k) for k in file.keys()}  # noqa: SIM118
    name = f"tree.2.{array}"
    arrays[name] = np.ascontiguousarray(change(arrays[name]))
    path.write_bytes(save(arrays, {FORMAT: json.dumps(json.loads(metadata[FORMAT]))}))
    with pytest.raises(UserError, match="column 'y' are damaged"):
        load_model(path)


@pytest.mark.parametrize(
    "table",
    [
        pl.DataFrame({"a": [1], "b": ["x"]}),
        pl.DataFrame({"a": [1, 2, 3]}),
        pl.DataFrame({"a": [1] * 50, "b": ["x"] * 50}),
        pl.DataFrame({"a": pl.Series([None] * 50, dtype=pl.Float64), "b": list(range(50))}),
        pl.DataFrame({"a": [str(n) for n in range(10_000)], "b": [0, 1] * 5_000}),
        pl.DataFrame({"a": [np.inf, -np.inf, 1.0, np.nan] * 20, "b": [True, False, None, True] * 20}),
    ],
    ids=["one row", "one column", "constant", "all missing", "10,000 categories", "infinities"],
)
def test_degenerate_tables(table: pl.DataFrame):
    forest = fit_forest(table, Stream.root(1), trees=2)
    made = forest.sample(pl.DataFrame({ROW: np.arange(20, dtype=np.uint64)}), Stream.root(1))
    assert made.schema == table.schema
    for column in table.columns:
        if table[column].null_count() == table.height:
            assert made[column].null_count() == 20


def test_classes_cover_every_code_once():
    for values in (
        RNG.normal(size=3_000),
        RNG.integers(0, 5, 300),
        np.where(RNG.random(2_000) < 0.9, 0, RNG.random(2_000)),
    ):
        marginal = fit_marginal(pl.Series("x", values))
        classes = Classes.of(marginal)
        codes = np.arange(-1, marginal.pieces)
        assert (np.diff(classes.of_codes(codes)) >= 0).all()
        assert classes.of_codes(codes)[-1] == len(classes.last) - 1
        assert classes.share.sum() == pytest.approx(1.0)
