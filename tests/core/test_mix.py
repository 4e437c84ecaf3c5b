"""Counts by the share of rows that scenarios label: mixes, their rate, and balance."""

from __future__ import annotations

import json
from pathlib import Path

import polars as pl
import pytest

from populace.core.dataset import Dataset, generate
from populace.core.errors import UserError
from populace.core.mix import _rounded
from populace.core.plan import make_plan
from populace.core.scenario import parse_request
from populace.core.spec import Spec, parse_balance
from populace.domains.finance import DOMAIN

SPAN = {"size": 120, "end": "2025-02-15"}


def made(*scenarios: str, balance: float | None = None, **settings: float) -> Dataset:
    asked = tuple(parse_request(s) for s in scenarios)
    named = {k.replace("__", "."): v for k, v in settings.items()}
    return generate(make_plan(Spec("finance", **SPAN, scenarios=asked, settings=named, balance=balance), DOMAIN))


def labelled(data: Dataset) -> float:
    rows = data.frames["label"].filter(table="transaction")["row_key"].drop_nulls().n_unique()
    return rows / data.frames["transaction"].height


@pytest.mark.parametrize("share", [0.02, 0.1])
def test_a_balance_is_reached_by_adding_cases_to_the_same_base(share: float):
    plain, dense = made(), made("card-testing", balance=share)
    (use,) = dense.plan.uses
    rows, total = labelled(dense) * dense.frames["transaction"].height, dense.frames["transaction"].height
    assert abs(rows - share * total) < 0.6 * rows / use.count, "as near as whole instances come"
    base = dense.frames["label"].filter(table="transaction")["row_key"]
    kept = dense.frames["transaction"].filter(~pl.col("transaction_id").is_in(base.implode()))
    assert set(plain.frames["transaction"]["transaction_ref"]) == set(kept["transaction_ref"])


def test_the_weight_on_labelled_rows_undoes_the_balance(tmp_path: Path):
    dense = made("card-testing", balance=0.1)
    dense.write(str(tmp_path / "out"))
    told = json.loads((tmp_path / "out" / "manifest.json").read_text())["populace"]["balance"]
    mine = labelled(dense)
    assert told["share"] == pytest.approx(mine), "counted, not expected"
    natural = told["weight"] * mine / (told["weight"] * mine + 1 - mine)
    assert natural == pytest.approx(told["natural"])
    assert dense.plan.balance.weight == pytest.approx(told["weight"], rel=0.02), "as planned"
    assert natural == pytest.approx(labelled(made("card-testing")), rel=0.15)


def test_a_rate_brings_the_mix_with_it():
    data = made(fraud__rate=0.01)
    assert len({u.scenario.name for u in data.plan.uses}) > 3


def test_counts_that_are_given_stand():
    plan = make_plan(
        Spec(
            "finance", **SPAN, scenarios=(parse_request("fan-in:count=2"), parse_request("card-testing")), balance=0.05
        )
    )
    assert plan.uses[0].count == 2
    with pytest.raises(UserError, match="count"):
        make_plan(Spec("finance", **SPAN, scenarios=(parse_request("fan-in:count=2"),), balance=0.2))


def test_rounding_keeps_the_sum_and_rounds_up_as_often_as_it_should():
    import numpy as np

    count = np.array([0.3, 2.5, 0.0, 1.2, 4.0])
    each = np.array([_rounded(count, u) for u in np.linspace(0, 1, 1000, endpoint=False)])
    assert (np.abs(each - count) < 1).all()
    assert (np.abs(each.sum(axis=1) - count.sum()) < 1).all()
    assert np.allclose(each.mean(axis=0), count, atol=0.01)


@pytest.mark.parametrize(
    ("wrong", "says"), [("lable=0.1", "label=SHARE"), ("label=much", "not a number"), ("label=1.5", "between 0 and 1")]
)
def test_bad_shares_are_refused(wrong: str, says: str):
    with pytest.raises(UserError, match=says):
        make_plan(Spec("finance", scenarios=(parse_request("fan-in"),), balance=parse_balance(wrong)), DOMAIN)


def test_a_balance_without_scenarios_is_refused():
    with pytest.raises(UserError, match="no scenario"):
        make_plan(Spec("finance", balance=0.1), DOMAIN)


@pytest.mark.parametrize(
    ("size", "seed", "rate", "end"),
    [
        (250, 3, 0.02, "2025-03-01"),
        (700, 4, 0.005, "2025-03-01"),
        (2500, 5, 0.002, "2025-02-01"),
        pytest.param(5000, 6, 0.001, "2025-02-01", marks=pytest.mark.slow),
        pytest.param(5000, 7, 0.01, "2025-03-01", marks=pytest.mark.slow),
    ],
)
def test_a_rate_is_met_as_exactly_as_whole_instances_allow(size: int, seed: int, rate: float, end: str):
    """Sizes of one block and of several, of which some rows are counted and some reckoned."""
    spec = Spec("finance", size=size, seed=seed, end=end, settings={"fraud.rate": rate})
    data = generate(make_plan(spec, DOMAIN))
    assert_met(data, rate)


@pytest.mark.parametrize(
    ("size", "seed", "share"), [(400, 8, 0.1), pytest.param(3000, 9, 0.03, marks=pytest.mark.slow)]
)
def test_a_balance_is_met_as_exactly_as_whole_instances_allow(size: int, seed: int, share: float):
    spec = Spec("finance", size=size, seed=seed, end="2025-03-01", scenarios=(parse_request("fraud"),), balance=share)
    assert_met(generate(make_plan(spec, DOMAIN)), share)


def assert_met(data: Dataset, share: float) -> None:
    """Within the rows of an instance, or half a per cent of the labelled rows if that is more."""
    rows = labelled(data) * data.frames["transaction"].height
    off = abs(rows - share * data.frames["transaction"].height)
    assert off <= max(rows / sum(data.plan.instances.values()), 0.005 * rows)
