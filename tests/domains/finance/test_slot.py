"""A fitted model may stand in for the rules of the credit columns."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest

import populace
from populace.core.dataset import generate
from populace.core.domain import Block
from populace.core.plan import make_plan
from populace.core.spec import Spec
from populace.core.stream import Stream
from populace.core.tables import ROW, Table, rows
from populace.domains.finance import DOMAIN
from populace.domains.finance.parties import customers


@dataclass(frozen=True)
class Model:
    """Stands for a model fitted to the public table: its types, its missing values, dependent on what is given."""

    columns: tuple[str, ...] = ("age", "sex", "limit_bal", "bill_amt1", "pay_0", "default")

    def sample(self, given: Table, stream: Stream) -> Table:
        u = stream.uniform(rows(given))
        limit = pl.Series(np.where(u < 0.5, given["age"].to_numpy() * 10_000.0, np.nan)).fill_nan(None)
        return pl.DataFrame(
            {
                "limit_bal": limit,
                "bill_amt1": pl.Series(np.full(len(u), -100.0)),
                "pay_0": pl.Series(np.where(given["sex"].to_numpy() == 2, -2, 3)),
                "default": pl.Series(np.where(u < 0.25, "1", "0")),
            }
        )


def block(**changes: object) -> Block:
    return replace(make_plan(Spec("finance", size=500, seed=2), DOMAIN).block(0), **changes)  # type: ignore[arg-type]


def test_the_model_makes_the_credit_columns_and_nothing_else():
    by_rule = customers(block(), {})["customer"]
    by_model = customers(block(models={"customer-credit": Model()}), {})["customer"]
    credit = list(DOMAIN.slots["customer-credit"].makes.values())
    assert by_rule.drop(credit).equals(by_model.drop(credit))
    assert (by_model["statement_minor"] == -300).all(), "three minor units to the New Taiwan dollar"
    assert set(by_model.filter(sex="female")["months_past_due"]) == {0}
    assert set(by_model.filter(sex="male")["months_past_due"]) == {3}
    assert 0.15 < by_model["defaulted"].mean() < 0.35


def test_where_the_model_has_no_value_the_rule_decides():
    by_rule = customers(block(), {})["customer"]["credit_limit_minor"]
    by_model = customers(block(models={"customer-credit": Model()}), {})["customer"]["credit_limit_minor"]
    kept = (by_rule == by_model).mean()
    assert 0.4 < kept < 0.6


def test_each_customer_is_drawn_by_address_whatever_the_block():
    whole = customers(block(models={"customer-credit": Model()}), {})["customer"]
    part = customers(block(first=100, last=130, models={"customer-credit": Model()}), {})["customer"]
    assert whole[100:130].equals(part)
    assert ROW not in whole.columns


def test_a_copula_fitted_to_the_public_table_gives_its_credit_columns(public_data: Path, tmp_path: Path):
    """Hybrid generation from end to end: fit, write, plan with the file, generate."""
    real = pl.read_csv(public_data / "tabular/credit_default/train.csv.gz")
    model = populace.fit(real.to_pandas(), model="gaussian-copula", seed=1)
    populace.save_model(model, tmp_path / "credit.model")
    models = {"customer-credit": str(tmp_path / "credit.model")}
    data = generate(make_plan(Spec("finance", size=1_000, seed=1, end="2025-01-03", models=models), DOMAIN))
    made = data.frames["customer"]
    assert made["defaulted"].mean() == pytest.approx(real["default"].mean(), abs=0.05)
    assert (made["months_past_due"] > 0).mean() == pytest.approx((real["pay_0"] > 0).mean(), abs=0.05)
    late = made.group_by(late=pl.col("months_past_due") > 0).agg(pl.col("defaulted").mean()).sort("late")["defaulted"]
    assert late[1] > late[0] + 0.15, "the model's dependence comes through: who is late defaults more"
    assert data.validate().is_empty()
