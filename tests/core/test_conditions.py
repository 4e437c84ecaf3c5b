"""What is asked of rows is met exactly, and the other columns follow it as they do in the table."""

from __future__ import annotations

import datetime as dt
from functools import cache
from typing import Any

import numpy as np
import polars as pl
import pytest

from populace.core.conditions import Range
from populace.core.errors import UserError
from populace.core.models import Model, fit

N = 2_000
RNG = np.random.default_rng(4)
AGE = RNG.integers(18, 90, N)
TABLE = pl.DataFrame(
    {
        "country": RNG.choice(["GB", "NL", "JP"], N, p=[0.6, 0.3, 0.1]),
        "age": AGE,
        "joined": pl.Series([dt.date(2020, 1, 1)] * N)
        + pl.Series(RNG.integers(0, 1_000, N) * 86_400_000_000).cast(pl.Duration("us")),
        "income": np.round(100.0 * AGE + RNG.normal(0, 300, N), 2),
        "visits": pl.Series(RNG.poisson(2, N)).set(pl.Series(RNG.random(N) < 0.2), None),
    }
)


@cache
def fitted(name: str) -> Model:
    return fit(TABLE, name, 1)


@pytest.fixture(params=["empirical", "gaussian-copula", "forest"])
def model(request: pytest.FixtureRequest) -> Model:
    return fitted(request.param)


@pytest.mark.parametrize(
    ("where", "holds"),
    [
        ({"age": "65.."}, pl.col("age") >= 65),
        ({"age": "..20"}, pl.col("age") <= 20),
        ({"age": "30..32", "country": "NL|JP"}, pl.col("age").is_between(30, 32) & (pl.col("country") != "GB")),
        ({"age": Range(30, 40), "country": "JP"}, pl.col("age").is_between(30, 40) & (pl.col("country") == "JP")),
        ({"age": [18, 89]}, pl.col("age").is_in([18, 89])),
        ({"visits": "1..2"}, pl.col("visits").is_between(1, 2)),
        ({"joined": "2020-02-01..2020-02-10"}, pl.col("joined").is_between(dt.date(2020, 2, 1), dt.date(2020, 2, 10))),
        ({"income": "3000..3001"}, pl.col("income").is_between(3000, 3001)),
    ],
)
def test_ranges_and_sets_are_met_by_every_row(model: Model, where: dict[str, Any], holds: pl.Expr):
    made = model.sample_frame(150, 1, where)
    assert made.height == 150
    assert made.select(holds.fill_null(False).all()).item()
    assert made.equals(model.sample_frame(150, 1, where))


@pytest.mark.parametrize("name", ["gaussian-copula", "forest"])
def test_the_others_follow_the_exact_conditional(name: str):
    made = fitted(name).sample_frame(2_000, 1, {"age": "70..80"})
    real = TABLE.filter(pl.col("age").is_between(70, 80))
    assert made["income"].mean() == pytest.approx(real["income"].mean(), abs=120)
    assert made["age"].mean() == pytest.approx(real["age"].mean(), abs=0.5)
    earlier = fitted(name).sample_frame(1_000, 1, {"income": "7000..7500"})
    real = TABLE.filter(pl.col("income").is_between(7_000, 7_500))
    assert earlier["age"].mean() == pytest.approx(real["age"].mean(), abs=1.5)


def test_shares_are_met_to_the_row(model: Model):
    made = model.sample_frame(999, 1, balance={"country": {"JP": 0.5, "NL": 0.25}})
    counts = dict(made["country"].value_counts().rows())
    assert counts == {"JP": 500, "NL": 249, "GB": 250}
    assert model.sample_frame(10, 1, balance={"country": {"JP": 1.0}})["country"].to_list() == ["JP"] * 10
    with_where = model.sample_frame(100, 1, {"age": "60.."}, {"country": {"JP": 0.4}})
    assert (with_where["country"] == "JP").sum() == 40
    assert with_where["age"].min() >= 60


def test_the_rest_of_a_balanced_column_keeps_its_proportions():
    made = fitted("forest").sample_frame(6_000, 1, balance={"country": {"JP": 0.4}})
    counts = dict(made["country"].value_counts().rows())
    assert counts["JP"] == 2_400
    # two to one in the table; the standard error is 0.008
    assert counts["GB"] / 3_600 == pytest.approx(2 / 3, abs=0.04)


def test_a_given_table_is_completed_row_by_row(model: Model):
    given = pl.DataFrame({"age": [20, 50, 80], "country": ["JP", "GB", "NL"]})
    made = model.sample_frame(seed=1, given=given)
    assert made.select("age", "country").equals(given)
    assert tuple(made.columns) == tuple(TABLE.columns)
    assert model.sample(given=given.to_pandas())["age"].tolist() == [20, 50, 80]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        ({"where": {"age": "40..30"}}, "40 is after 30"),
        ({"where": {"age": ".."}}, "neither end"),
        ({"where": {"age": []}}, "set of values is empty"),
        ({"where": {"age": "a..b"}}, "'a' is not a value of type Int64"),
        ({"where": {"country": Range("A", "B")}}, "this column holds categories"),
        ({"where": {"country": "GB|NK"}}, "unknown value of country 'NK'"),
        ({"where": {"age": "200..300"}}, "where age|still fail"),
        ({"balance": {"country": {"JP": 0.7, "GB": 0.7}}}, "expected 0 to 1 in sum"),
        ({"balance": {"contry": {"JP": 0.7}}}, "Did you mean 'country'"),
        ({"balance": {"country": {"JP": 0.5}}, "where": {"country": "JP"}}, "'country' is asked for twice"),
        ({"given": pl.DataFrame({"age": [1, 2]})}, "has 2 rows, and 5 are asked for"),
        ({"given": pl.DataFrame({"agee": [1] * 5})}, "Did you mean 'age'"),
        ({"given": pl.DataFrame({"age": ["x"] * 5})}, "given column 'age'"),
    ],
)
def test_what_cannot_be_met_is_refused(call: dict[str, Any], message: str):
    with pytest.raises(UserError, match=message):
        fitted("empirical").sample_frame(5, 1, **call)
