"""The attacks on people: risks that are known, a control that takes chance off, and the interval's coverage."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from interpreters import interpreter_with
from people import mixed

from populace.core.evaluate import evaluate
from populace.core.evaluate.attacks import nearest, people, residual
from populace.core.evaluate.pair import make_pair
from populace.core.stream import Stream

WHOLE = mixed(9_000, 11)
TRAIN, HOLDOUT, FRESH = WHOLE[:3_000], WHOLE[3_000:6_000], WHOLE[6_000:]
NAMES = ("privacy.singling_out", "privacy.linkability", "privacy.inference")


def attacked(synth: pl.DataFrame, train: pl.DataFrame = TRAIN, holdout: pl.DataFrame = HOLDOUT) -> dict:
    return {m.name: m for m in people(make_pair(train, synth, holdout), Stream.root(1))}


def test_independent_rows_put_nobody_at_risk():
    for found in attacked(FRESH).values():
        assert found.interval[0] == 0, found
        assert found.value < 0.15


def test_the_training_rows_themselves_put_nearly_everybody_at_risk():
    found = attacked(TRAIN)
    assert found.keys() == set(NAMES)
    for metric in found.values():
        assert metric.value > 0.9
        assert metric.interval[0] > 0.85


@pytest.mark.parametrize("share", [0.1, 0.3, 0.6])
def test_the_share_of_people_linked_is_the_share_leaked(share: float):
    n = int(3_000 * share)
    # the attacked people are the first rows, so the leak must be spread over them
    leaked = TRAIN.sample(n, seed=4)
    found = attacked(pl.concat([FRESH[: 3_000 - n], leaked]))["privacy.linkability"]
    assert found.value == pytest.approx(share, abs=0.06)
    assert found.interval[0] > 0
    rows = [row["training row at risk"] for row in found.detail]
    known = TRAIN[rows].join(leaked, on=TRAIN.columns, how="semi", nulls_equal=True).height
    assert known >= 0.8 * len(rows)


def test_what_is_true_of_everybody_is_no_risk():
    """A column that follows from another is guessed of the holdout as well: knowledge of the population, not of a person."""
    draw = np.random.Generator(np.random.Philox(5))

    def world(rows: int) -> pl.DataFrame:
        x = draw.normal(size=rows)
        return pl.DataFrame({"x": x, "y": np.where(x > 0, "up", "down"), "noise": draw.random(rows)})

    inference = attacked(world(2_000), world(2_000), world(2_000))["privacy.inference"]
    told = next(row for row in inference.detail if row["column"] == "y")
    assert told["training people"] > 0.9
    assert told["from"] == 0


def test_the_same_stream_gives_the_same_risks():
    assert attacked(FRESH) == attacked(FRESH)


def test_a_control_as_long_as_the_training_rows_is_needed():
    with pytest.raises(ValueError, match="as long as"):
        people(make_pair(TRAIN, FRESH, HOLDOUT[:100]), Stream.root(1))


def test_tables_of_one_column_leave_the_risks_open():
    found = evaluate(TRAIN.select("age"), FRESH.select("age"), HOLDOUT.select("age"), only=["privacy"])
    for name in NAMES:
        assert np.isnan(found[name])


def test_the_interval_of_the_risk_covers_it_as_often_as_it_says():
    draw = np.random.Generator(np.random.Philox(6))
    attack, control, n = 0.3, 0.1, 500
    truth = (attack - control) / (1 - control)
    bounds = np.array([residual(a, c, n)[1] for a, c in draw.binomial(n, [attack, control], (2_000, 2))])
    covered = ((bounds[:, 0] <= truth) & (truth <= bounds[:, 1])).mean()
    assert 0.93 <= covered <= 0.99
    assert residual(0, 0, 50)[0] == 0
    assert residual(50, 0, 50)[0] == 1
    assert np.isnan(residual(50, 50, 50)[0])


@pytest.fixture(scope="module")
def anonymeter(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An interpreter of its own: Anonymeter holds NumPy below 1.27."""
    return interpreter_with(tmp_path_factory.mktemp("anonymeter"), "anonymeter==1.1.0")


@pytest.mark.slow
@pytest.mark.parametrize("leaked", [0, 900, 3_000])
def test_the_risks_agree_with_anonymeter(leaked: int, anonymeter: Path, tmp_path: Path):
    synth = pl.concat([FRESH[: 3_000 - leaked], TRAIN.sample(leaked, seed=4)])
    for name, frame in (("train", TRAIN), ("synth", synth), ("holdout", HOLDOUT)):
        frame.with_columns(pl.col("joined").to_physical()).write_csv(tmp_path / f"{name}.csv")
    half = ["age", "debt", "member"]
    asked = [anonymeter, Path(__file__).with_name("anonymeter_risks.py"), tmp_path, ",".join(half), "job"]
    theirs = json.loads(subprocess.run(asked, capture_output=True, text=True, check=True).stdout.splitlines()[-1])

    pair = make_pair(TRAIN, synth, HOLDOUT)
    one, two = nearest(pair, set(half)), nearest(pair, set(TRAIN.columns) - set(half))
    linked = [int((one[o] == two[o]).sum()) for o in ("real", "holdout")]
    found = attacked(synth)
    job = next(row for row in found["privacy.inference"].detail if row["column"] == "job")
    ours = {
        "singling_out": (found["privacy.singling_out"].value, *found["privacy.singling_out"].interval),
        "linkability": (lambda value, bounds: (value, *bounds))(*residual(*linked, len(one["real"]))),
        "inference": (job["risk"], job["from"], job["to"]),
    }
    for name, (value, low, high) in ours.items():
        risk, below, above = theirs[name]
        assert max(low, below) <= min(high, above), (name, ours[name], theirs[name])
        # two narrow intervals may just miss one another: the distances are not the same
        assert value == pytest.approx(risk, abs=0.15 if name == "singling_out" else 0.06)
