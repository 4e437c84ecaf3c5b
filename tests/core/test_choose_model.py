"""`auto` chooses by the shape of a table and the time there is, never by a clock, and says why."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from populace.core import choose_model
from populace.core.choose_model import choose, parse_seconds
from populace.core.errors import UserError
from populace.core.models import fit
from populace.core.samplers.statistical.grow import TREES


def table(rows: int, columns: int) -> pl.DataFrame:
    return pl.DataFrame({f"c{n}": np.arange(rows) for n in range(columns)})


@pytest.mark.parametrize(
    ("rows", "columns", "seconds", "name", "why"),
    [
        (1_000, 1, None, "empirical", "no relation"),
        (50, 4, None, "gaussian-copula", "too few"),
        (40_000, 15, None, "forest", f"{TREES} trees"),
        (40_000, 15, 60, "forest", f"{TREES} trees"),
        (40_000, 15, 10, "forest", "trees a column"),
        (40_000, 15, 3, "bayesian-network", "trees would need"),
        (40_000, 15, 0.5, "gaussian-copula", "a graph"),
    ],
)
def test_the_choice_and_its_reason(rows: int, columns: int, seconds: float | None, name: str, why: str):
    choice = choose(table(rows, columns), seconds)
    assert choice.name == name
    assert why in choice.why


@pytest.mark.parametrize(
    ("rows", "numbers", "seconds", "name"),
    [
        (40_000, 15, None, "autoregressive"),
        (40_000, 15, 60, "autoregressive"),
        (40_000, 3, None, "transformer"),
        (40_000, 3, 60, "transformer"),
        (40_000, 3, 30, "autoregressive"),
        (500_000, 3, None, "autoregressive"),
        (40_000, 15, 15, "autoregressive"),
        (40_000, 15, 6, "autoregressive"),
        (40_000, 15, 2, "bayesian-network"),
        (12_000, 3, 4, "forest"),
        (2_000, 3, 60, "forest"),
    ],
)
def test_where_torch_is_a_network_is_chosen_that_has_time_enough(
    rows: int, numbers: int, seconds: float | None, name: str
):
    """Fifteen columns, some of numbers that are all different, which are measures: of few of them the transformer is better, if there is time, and for many the other network is
    wider, and slower."""
    few = pl.DataFrame({f"k{n}": np.arange(rows) % 5 for n in range(15 - numbers)})
    assert choose(pl.concat([table(rows, numbers), few], how="horizontal"), seconds, networks=True).name == name


@pytest.mark.parametrize(
    ("rows", "columns", "seconds", "name"),
    [
        (6_000, 35, 60, "transformer"),
        (6_000, 35, None, "transformer"),
        (6_000, 35, 10, "forest"),
        (6_000, 10, 60, "forest"),
        (1_000, 35, 60, "forest"),
    ],
)
def test_of_some_thousand_rows_of_many_columns_the_transformer_is_chosen(
    rows: int, columns: int, seconds: float | None, name: str
):
    assert choose(table(rows, columns), seconds, networks=True).name == name


def test_without_torch_no_network_is_chosen(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(choose_model, "find_spec", lambda name: None)
    assert choose(table(40_000, 15), 60, networks=True).name == "forest"


def test_more_time_never_means_fewer_trees():
    trees = [choose(table(20_000, 20), s).settings.get("trees", 0) for s in range(1, 200, 5)]
    assert trees == sorted(trees)
    assert trees[0] < trees[-1] == TREES


def test_the_card_says_what_was_chosen_and_why():
    model = fit(table(60, 3), keep=["c0"])
    assert (model.name, model.card["settings"]) == ("gaussian-copula", {})
    assert "60 rows of 3 columns" in model.card["why"]


@pytest.mark.parametrize(("text", "seconds"), [("60s", 60), ("2m", 120), ("7.5", 7.5)])
def test_times_are_read(text: str, seconds: float):
    assert parse_seconds(text, "--time") == seconds


def test_a_time_that_is_none_is_refused():
    with pytest.raises(UserError, match="--time soon"):
        parse_seconds("soon", "--time")
    with pytest.raises(UserError, match="expected seconds above 0"):
        choose(table(1_000, 3), -1.0)
    with pytest.raises(UserError, match="a time is for 'auto'"):
        fit(table(60, 3), "empirical", seconds=3.0)
