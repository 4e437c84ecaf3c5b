"""What every model of one table must do with the columns that real tables have: dates, many zeros, long tails, many categories, gaps that mean something,
keys and free text; and with what is asked of rows."""

from __future__ import annotations

import datetime as dt

import numpy as np
import polars as pl
import pytest

from populace.core.conditions import Range
from populace.core.model_kinds import MODELS
from populace.core.models import Model, fit

N = 1_500
RNG = np.random.default_rng(11)
GROUP = RNG.choice(["a", "b", "c"], N, p=[0.5, 0.3, 0.2])
TABLE = pl.DataFrame(
    {
        "record_id": RNG.permutation(90_000)[:N] + 10_000,
        "group": GROUP,
        "day": [dt.date(2021, 1, 1) + dt.timedelta(int(d)) for d in RNG.integers(0, 700, N)],
        "claims": np.where(
            RNG.uniform(size=N) < np.where(GROUP == "a", 0.85, 0.4), 0.0, np.round(RNG.lognormal(4, 1.2, N), 2)
        ),
        "cost": np.round(np.exp(RNG.normal(0, 1.5, N) + (GROUP == "c") * 1.5), 2),
        "place": RNG.choice([f"town {n}" for n in range(250)], N),
        # those of group b are seldom measured
        "score": pl.Series(np.round(RNG.normal(50, 10, N), 1)).set(
            pl.Series(RNG.uniform(size=N) < np.where(GROUP == "b", 0.8, 0.1)), None
        ),
        "note": [
            " ".join(RNG.choice(["seen", "at", "home", "again", "well", "slept", "ill"], 6)) + f" {n}."
            for n in range(N)
        ],
    }
)
TABULAR = [n for n, k in MODELS.items() if k.shape == "one table" and "deep" not in k.learn.__module__]
KNOWN = {
    "group": {"values": ["a", "b", "c"]},
    "day": {"min": "2021-01-01", "max": "2022-12-31"},
    "place": {"values": [f"town {n}" for n in range(250)]},
}


@pytest.fixture(scope="module", params=TABULAR)
def model(request: pytest.FixtureRequest) -> Model:
    from populace.core.samplers.statistical.private_marginals import as_extents

    private = MODELS[request.param].private
    return fit(
        TABLE,
        request.param,
        1,
        epsilon=30.0 if private else None,
        domain=as_extents(KNOWN) if private else None,
        drop=("record_id", "note") if private else (),
    )


def test_columns_as_real_tables_have_them(model: Model):
    made, private = model.sample_frame(3_000, 2), MODELS[model.name].private
    real = TABLE.select(made.columns)
    assert made.schema == real.schema
    for column in ("day", "claims", "cost"):
        assert made[column].min() >= real[column].min() or private
        assert made[column].max() <= real[column].max() or private
    # zeros, and the tail
    assert abs((made["claims"] == 0).mean() - (real["claims"] == 0).mean()) < 0.06
    for q in (0.5, 0.95):
        assert np.log(made["cost"].quantile(q) / real["cost"].quantile(q)) == pytest.approx(0, abs=0.3)
    assert set(made["place"].drop_nulls()) <= set(KNOWN["place"]["values"] if private else real["place"])
    # under noise, rare places look alike
    assert made["place"].n_unique() > (20 if private else 150)
    assert abs(made["score"].null_count() / 3_000 - real["score"].null_count() / N) < 0.06
    if not private:
        # a key and free text are made anew
        assert made["record_id"].is_unique().all()
        assert not set(made["note"]) & set(real["note"])
    if model.name == "empirical":
        return

    def gap(table: pl.DataFrame, column: pl.Expr) -> float:
        by = dict(table.group_by("group").agg(column.mean()).iter_rows())
        return by["b"] - by["a"]

    # gaps and zeros hang on the group as they did
    for column in (pl.col("score").is_null(), pl.col("claims") > 0):
        assert gap(made, column) > 0.55 * gap(real, column) > 0.2


def test_what_is_asked_is_met_in_every_row(model: Model):
    where = {"group": ["b", "c"], "cost": Range(0.5, 20.0), "claims": 0.0}
    made = model.sample_frame(300, 3, where)
    assert made["group"].is_in(["b", "c"]).all()
    assert made["cost"].is_between(0.5, 20.0).all()
    assert (made["claims"] == 0).all()
    even = model.sample_frame(400, 3, balance={"group": {"c": 0.5}})
    assert (even["group"] == "c").sum() == 200
    told = TABLE.select("group", "score").head(200)
    assert model.sample_frame(given=told, seed=4).select("group", "score").equals(told)


def test_the_answer_to_a_condition_is_the_conditional(model: Model):
    """Group b, as the table knows it: gaps in four of five rows."""
    if model.name == "empirical":
        return
    made = model.sample_frame(1_500, 5, {"group": "b"})
    assert made["score"].null_count() / 1_500 == pytest.approx(0.8, abs=0.15)
