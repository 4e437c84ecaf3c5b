"""Customers of the bank pay one another, as scenarios' parties do."""

from __future__ import annotations

from importlib.metadata import version

import polars as pl
import pytest

from populace.core.build import build
from populace.core.dataset import Dataset
from populace.core.errors import UserError
from populace.core.growth import growth
from populace.core.plan import make_plan
from populace.core.spec import Spec
from populace.domains.finance import DOMAIN

P = DOMAIN.priors


def inside(data: Dataset) -> pl.DataFrame:
    """Payments from one customer to another."""
    unit = {c: pl.col(c) // 8 for c in ("account_id", "counterparty_account_id")}
    both = data.frames["transaction"].select(pl.all(), payer=unit["account_id"], payee=unit["counterparty_account_id"])
    return both.filter(pl.col("payer") != pl.col("payee"))


def test_the_share_of_transfers_that_stay_in_the_bank_is_the_banks_share(base: Dataset):
    paid = base.frames["transaction"].filter(pl.col("type").is_in(["ICDT/ESCT", "ICDT/BOOK"]), channel="transfer")
    own = pl.col("counterparty_account_id") // 8 == pl.col("account_id") // 8
    to_others = paid.filter(~own.fill_null(False))
    assert inside(base).height / to_others.height == pytest.approx(P("counterparty.same_bank"), abs=0.05)


def test_they_pay_acquaintances_of_their_circle_both_ways_in_one_currency(base: Dataset):
    paid = inside(base)
    assert (paid["payer"] // DOMAIN.circle == paid["payee"] // DOMAIN.circle).all()
    pairs = paid.select("payer", "payee").unique()
    back = pairs.join(pairs, left_on=["payer", "payee"], right_on=["payee", "payer"], how="semi")
    assert 0.2 < back.height / pairs.height < 0.9
    money = base.frames["account"].select("account_id", theirs="currency")
    payee = paid.join(money, left_on="counterparty_account_id", right_on="account_id")
    assert (payee["theirs"] == payee["currency"]).all()


def test_the_payee_on_the_list_has_the_iban_of_the_account_paid(base: Dataset):
    paid = inside(base).join(base.frames["counterparty"].select("counterparty_id", listed="iban"), on="counterparty_id")
    account = base.frames["account"].select("account_id", "iban")
    paid = paid.join(account, left_on="counterparty_account_id", right_on="account_id")
    assert paid.height > 1_000
    assert (paid["listed"] == paid["iban"]).all()


def test_growing_from_an_incomplete_circle_is_refused_with_the_reason():
    window = {"start": "2025-01-01", "end": "2025-02-01"}
    before, after = (make_plan(Spec("finance", size=n, **window), DOMAIN) for n in (50, 60))
    found = growth(
        {"populace": {"version": version("populace"), "spec": before.describe(), "fingerprint": before.fingerprint}},
        after,
        "db",
    )
    with pytest.raises(UserError, match="multiple of 20"):
        found.added(0, build(after, 0, found.cast).tables, "db")
