"""Series whose course is known: a first-order process against noise, a lagged copy, another frequency, other lengths and gaps, rows put out of order."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.signal import lfilter

from populace.app.cli import run_command
from populace.core.errors import UserError
from populace.core.evaluate import Evaluation, evaluate
from populace.core.evaluate.series import _correlations

START = pl.datetime(2025, 1, 1)
START_AT = np.datetime64("2025-01-01", "us")


def process(seed: int, phi: float = 0.9, rows: int = 6_000, lag: int = 5, entities: int = 1) -> pl.DataFrame:
    """Column a: first-order autoregressive; b: a some steps later, with noise."""
    draw = np.random.default_rng(seed)
    parts = []
    for n in range(entities):
        a = lfilter([1], [1, -phi], draw.normal(size=rows + lag + 100))[100:]
        b = a[:rows] + 0.3 * draw.normal(size=rows)
        at = pl.select(START + pl.duration(seconds=pl.int_range(rows) * 60)).to_series()
        parts.append(pl.DataFrame({"device": [n] * rows, "at": at, "a": a[lag:], "b": b}))
    return pl.concat(parts)


def series_of(found: Evaluation) -> dict[str, tuple[float, float | None]]:
    names = ("acf", "spectrum", "cross_correlation", "gaps", "sessions", "series_c2st", "lengths")
    return {n: (m.value, m.floor) for m in found.metrics for n in names if m.name == f"fidelity.{n}"}


def beside(real: pl.DataFrame, synth: pl.DataFrame, **roles: str) -> dict[str, tuple[float, float | None]]:
    return series_of(evaluate(real, synth, only=["fidelity"], time="at", **roles))


REAL = process(1)


@pytest.fixture(scope="module")
def twin() -> dict[str, tuple[float, float | None]]:
    return beside(REAL, process(2))


def test_another_run_of_the_same_process_reaches_the_floor(twin: dict[str, tuple[float, float | None]]):
    found = twin
    for name in ("acf", "cross_correlation"):
        value, floor = found[name]
        assert floor is not None
        assert value > floor - 0.03
    assert found["spectrum"][0] < 1.5
    assert found["series_c2st"][0] < 0.62
    assert found["gaps"] == (1.0, 1.0)


def test_noise_in_its_place_is_as_far_off_as_theory_says():
    draw = np.random.default_rng(7)
    noise = REAL.with_columns(a=pl.Series(draw.permutation(REAL["a"])), b=pl.Series(draw.permutation(REAL["b"])))
    found = evaluate(REAL, noise, only=["fidelity"], time="at")
    # half the mean of 0.9 ^ k over the lags; b carries noise of its own, which lowers its curve by the ratio of variances
    of_a = (0.9 ** np.arange(1, 201)).mean()
    of_b = of_a * (1 / (1 - 0.81)) / (1 / (1 - 0.81) + 0.09)
    assert found["fidelity.acf"] == pytest.approx(1 - (of_a + of_b) / 4, abs=0.012)
    assert found["fidelity.shapes"] == pytest.approx(1)
    assert found["fidelity.series_c2st"] > 0.95
    assert found["fidelity.spectrum"] > 4


def test_a_copy_that_lags_differently_is_seen_across_columns_only(twin: dict[str, tuple[float, float | None]]):
    found, same = beside(REAL, process(2, lag=15)), twin
    assert found["cross_correlation"][0] < same["cross_correlation"][0] - 0.04
    assert found["acf"][0] == pytest.approx(same["acf"][0], abs=0.02)


def test_sessions_are_told_by_their_lengths():
    def outings(minutes: list[int]) -> pl.DataFrame:
        at = np.concatenate([n * 86_400 + 60.0 * np.arange(1 + long) for n, long in enumerate(minutes)])
        return pl.DataFrame({"at": START_AT + (at * 1e6).astype("timedelta64[us]"), "a": np.sin(at / 900)})

    same, longer = outings([60] * 40), outings([60, 120] * 20)
    assert beside(same, same)["sessions"] == (1.0, 1.0)
    assert beside(same, longer)["sessions"][0] == pytest.approx(0.5)
    assert beside(same, longer)["gaps"][0] > 0.98


def test_series_without_a_pause_have_no_sessions_to_compare():
    """Each is one session, as long as was asked for: that says nothing of the process. Where one side alone has pauses, that tells."""
    found = evaluate(REAL, process(2).head(1_500), only=["fidelity"], time="at")
    assert np.isnan(found["fidelity.sessions"])
    shifted = pl.int_range(pl.len()) // 100 * pl.duration(hours=3)
    paused = process(2).with_columns(at=pl.col("at") + shifted)
    assert beside(REAL, paused)["sessions"][0] == 0.0


def test_rows_may_come_in_any_order():
    real = REAL.head(1_500)
    mixed = real.sample(fraction=1.0, shuffle=True, seed=3)
    assert beside(mixed, real) == beside(real, real)


def test_entities_are_series_of_their_own():
    real, synth = process(1, rows=400, entities=12), process(2, rows=400, entities=12)
    whole = beside(real, synth, entity="device")
    assert whole["acf"][0] > 0.95
    assert whole["lengths"] == (1.0, 1.0)
    short = synth.filter(pl.int_range(pl.len()).over("device") < 40)
    found = beside(real, short, entity="device")
    assert found["lengths"][0] == 0
    sparse = synth.gather_every(3)
    assert beside(real, sparse, entity="device")["gaps"][0] < 0.1


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 30))
def test_correlations_are_those_of_numpy(seed: int, lag: int):
    draw = np.random.default_rng(seed)
    x = draw.normal(size=(200, 2)).cumsum(axis=0)
    found = _correlations(x, x, range(lag, lag + 1), own=True)[:, 0]
    centred = x - x.mean(axis=0)
    expected = [np.correlate(c, c, "full")[len(c) - 1 + lag] / (c @ c) for c in centred.T]
    assert found == pytest.approx(expected)


def test_the_floor_on_a_real_pump_deals_its_blocks_in_turn():
    folder = Path(os.environ.get("POPULACE_DATA") or Path(__file__).parents[4] / "shared" / "data")
    path = folder / "iot" / "skab" / "anomaly-free" / "anomaly-free.csv.gz"
    if not path.exists():
        pytest.skip(f"no SKAB at {path}")
    pump = pl.read_csv(path, separator=";", try_parse_dates=True)
    shuffled = pump.with_columns(pl.exclude("datetime").shuffle(seed=1))
    found = series_of(evaluate(pump, shuffled, only=["fidelity"], time="datetime"))
    value, floor = found["series_c2st"]
    assert floor is not None
    assert floor < 0.8
    assert value > 0.95


def test_the_command_follows_series(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    for name, seed in (("real", 1), ("twin", 2)):
        process(seed, rows=300, entities=4).write_csv(tmp_path / f"{name}.csv")
    command = ["evaluate", str(tmp_path / "real.csv"), str(tmp_path / "twin.csv"), "--only", "fidelity"]
    assert run_command([*command, "--time-column", "at", "--entity", "device"]) == 0
    shown = capsys.readouterr().out
    assert "fidelity.acf" in shown
    assert "fidelity.lengths" in shown
    assert run_command([*command, "--time-column", "att"]) == 2
    assert "Did you mean 'at'" in capsys.readouterr().err
    with pytest.raises(UserError, match="neither a time nor a number"):
        evaluate(pl.DataFrame({"at": ["x"], "a": [1]}), pl.DataFrame({"at": ["x"], "a": [1]}), time="at")
