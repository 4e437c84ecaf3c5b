"""A learnt series has the seasons, the memory, the relations and the distribution of the one that it was learnt from."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from populace.core.errors import UserError
from populace.core.evaluate.series import WINDOW, _told_apart
from populace.core.models import fit, load_model, save_model
from populace.core.stream import F64, Stream

HALF_HOUR = 1_800_000_000


def series(n: int = 3_000, seed: int = 4) -> pl.DataFrame:
    """A day's wave with an AR(1) of 0.9 on it, a second column that follows its noise, a third of few whole values, and text."""
    rng = np.random.default_rng(seed)
    noise = np.zeros(n)
    for i in range(1, n):
        noise[i] = 0.9 * noise[i - 1] + rng.normal() * np.sqrt(1 - 0.81)
    at = np.arange(n) * HALF_HOUR
    return pl.DataFrame(
        {
            "at": pl.Series(at).cast(pl.Datetime("us")),
            "wave": np.round(3 * np.sin(2 * np.pi * at / 86_400e6) + noise, 2),
            "follows": 0.8 * noise + 0.6 * rng.normal(size=n),
            "count": rng.poisson(1.5, n),
            "state": ["on"] * n,
        }
    )


def correlation(x: F64, lag: int) -> float:
    return float(np.corrcoef(x[lag:], x[: len(x) - lag])[0, 1])


@pytest.fixture(scope="module")
def learnt():
    return fit(series(), model="series", times=["at"])


@pytest.fixture(scope="module")
def made(learnt) -> pl.DataFrame:
    return learnt.sample_frame(9_000, seed=2)


def test_its_columns_and_times(learnt, made: pl.DataFrame):
    real = series()
    assert made.schema == {c: real.schema[c] for c in ("at", "wave", "follows", "count")}
    assert learnt.card["left out"] == ["state"]
    assert made["at"][0] == real["at"][0]
    assert (made["at"].diff().drop_nulls() == dt.timedelta(minutes=30)).all()


def test_its_day_memory_and_relations(made: pl.DataFrame):
    """Beyond the length that was learnt too."""
    real = series()
    for part in (made[:3_000], made[3_000:]):
        wave, hour = part["wave"].to_numpy(), part["at"].dt.hour().to_numpy()
        mean = [wave[hour == h].mean() for h in (6, 12, 18)]
        assert mean == pytest.approx([3, 0, -3], abs=0.35)
    angle = 2 * np.pi * made["at"].cast(pl.Int64).to_numpy() / 86_400e6
    noise = made["wave"].to_numpy() - 3 * np.sin(angle)
    assert [correlation(noise, k) for k in (1, 5)] == pytest.approx([0.9, 0.59], abs=0.08)
    assert np.corrcoef(noise, made["follows"])[0, 1] == pytest.approx(0.8, abs=0.06)
    assert made["count"].mean() == pytest.approx(real["count"].mean(), rel=0.05)  # type: ignore[arg-type]
    assert set(made["count"]) <= set(real["count"])
    assert (made["wave"].round(2) == made["wave"]).all()
    assert noise.std() == pytest.approx(1.0, abs=0.1)


def test_what_cycles_without_a_clock_goes_on_cycling():
    rng = np.random.default_rng(1)
    n = 6_000
    phase = np.cumsum(2 * np.pi / 40 + 0.04 * rng.normal(size=n))
    x = np.where(np.sin(phase) > 0, 1.0, 0.0) + 0.1 * rng.normal(size=n)
    made = fit(pl.DataFrame({"t": np.arange(n), "x": x}), model="series", times=["t"]).sample_frame(n)["x"].to_numpy()
    assert [correlation(made, k) for k in (20, 40)] == pytest.approx([correlation(x, k) for k in (20, 40)], abs=0.15)
    between = lambda v: float(np.mean((v > 0.35) & (v < 0.65)))  # noqa: E731
    assert between(made) < between(x) + 0.05, "it is at the one level or at the other"


def test_a_seed_makes_another_series_and_the_file_the_same(learnt, tmp_path: Path, made: pl.DataFrame):
    assert not learnt.sample_frame(500, seed=3).equals(made[:500])
    save_model(learnt, tmp_path / "m")
    again = load_model(tmp_path / "m")
    assert again.sample_frame(9_000, seed=2).equals(made)
    save_model(fit(series(), model="series", times=["at"]), tmp_path / "n")
    assert (tmp_path / "m").read_bytes() == (tmp_path / "n").read_bytes()


@pytest.mark.parametrize(
    ("table", "asked", "message"),
    [
        (
            series(50),
            {"times": ["at"]},
            "a series needs 64 rows with a time and a column of numbers; there are 50 rows",
        ),
        (series(), {"times": ["att"]}, "unknown column 'att'. Did you mean 'at'"),
        (series(), {"times": ["state"]}, "has type String, expected instants, dates or numbers"),
        (series(), {"model": "series"}, "say which column is its time"),
        (series(), {"model": "forest", "times": ["at"]}, "'forest' and a time column do not go together"),
        (series().select("at", "state"), {"times": ["at"]}, "and 0 such columns"),
    ],
)
def test_what_cannot_be_is_said(table: pl.DataFrame, asked: dict, message: str):
    with pytest.raises(UserError, match=message):
        fit(table, **asked)


def test_it_takes_no_conditions(learnt):
    with pytest.raises(UserError, match="takes neither where, balance nor given rows"):
        learnt.sample_frame(10, where={"count": 1})


@pytest.mark.slow
def test_skab_is_hard_to_tell_from_what_it_taught(real_data: Path):
    """At most 0.80 by evaluate's own score, where a first-order vector autoregression has 1.0."""
    path = real_data / "iot" / "skab" / "anomaly-free" / "anomaly-free.csv.gz"
    if not path.is_file():
        pytest.skip("the SKAB series is not at hand")
    model = fit(path, times=["datetime"])
    columns = list(model.columns[1:])
    real = pl.read_csv(path, separator=";", try_parse_dates=True)
    found = []
    for seed in range(4):
        made = model.sample_frame(real.height, seed=seed)
        sides = [[t.select(columns).to_numpy()] for t in (real, made)]
        found.append(np.mean(_told_apart(sides[0], sides[1], WINDOW, Stream.root(0))))
    assert np.mean(found) <= 0.80, found
