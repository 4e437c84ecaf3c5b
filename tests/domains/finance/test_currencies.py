"""Accounts in another currency: what is changed between own accounts is booked on both, each in its own minor units."""

from __future__ import annotations

from fractions import Fraction

import polars as pl
import pytest

from populace.core.dataset import Dataset, generate
from populace.core.plan import make_plan
from populace.core.spec import ScenarioRequest, Spec
from populace.domains.finance import DOMAIN
from populace.domains.finance.consistency import EXPONENTS
from populace.domains.finance.parties import CURRENCIES


@pytest.fixture(scope="module")
def bureau() -> Dataset:
    """A bank most of whose customers keep a second currency."""
    often = {"account.foreign": 0.9, "exchange.own": {"per_month": 4.0, "back": 0.5}}
    return generate(make_plan(Spec("finance", size=80, seed=4, end="2025-04-01", settings=often), DOMAIN))


def test_currencies_stand_in_the_order_of_the_schemas_codes_with_their_digits():
    assert tuple(DOMAIN.schema.code_lists["currency"].codes) == CURRENCIES
    assert {c: int(d) for c, d in DOMAIN.schema.code_lists["currency_exponent"].codes.items()} == EXPONENTS


def changed(data: Dataset) -> pl.DataFrame:
    """What was changed and booked, with both sides of it in the ledger."""
    frames = data.frames
    entry = frames["ledger_entry"].filter(pl.col("internal_account_id").is_null(), kind="booking")
    side = entry.select("account_id", "transaction_ref", "amount_minor", "currency")
    other = side.rename({"account_id": "counterparty_account_id", "amount_minor": "came", "currency": "came_in"})
    return (
        frames["transaction"]
        .filter(pl.col("cleared_at").is_not_null(), channel="exchange")
        .join(side.rename({"amount_minor": "went", "currency": "went_in"}), on=["account_id", "transaction_ref"])
        .join(other, on=["counterparty_account_id", "transaction_ref"])
        .join(frames["exchange"], on="transaction_id", suffix="_there")
    )


def test_both_accounts_are_the_customers_own_in_two_currencies(bureau: Dataset):
    paid = changed(bureau)
    assert (
        paid.height
        == bureau.frames["transaction"].filter(pl.col("cleared_at").is_not_null(), channel="exchange").height
    )
    assert paid.height > 100
    assert (paid["account_id"] // 8 == paid["counterparty_account_id"] // 8).all()
    assert (paid["went_in"].cast(pl.String) != paid["came_in"].cast(pl.String)).all()
    assert set(paid["came_in"].cast(pl.String)) >= {"GBP", "EUR", "USD", "JPY"}
    ways = (paid["account_id"] % 8).value_counts()
    assert set(ways["account_id"]) == {0, 5}, "there and back"


def test_what_comes_is_what_went_less_the_fee_at_the_rate_of_the_day(bureau: Dataset):
    rates = {
        (day, str(c)): r for day, c, r in bureau.frames["fx_rate"].select("day", "currency", "per_euro").iter_rows()
    }
    share = Fraction("0.0025")
    for row in changed(bureau).iter_rows(named=True):
        own, there, day = str(row["went_in"]), str(row["came_in"]), row["authorised_at"].date()
        assert row["went"] == -row["amount_minor"]
        assert row["fee_minor"] == int(row["amount_minor"] * share)
        rate = rates[day, there] / rates[day, own]
        expected = (row["amount_minor"] - row["fee_minor"]) * rate * 10.0 ** (EXPONENTS[there] - EXPONENTS[own])
        assert row["came"] == row["amount_minor_there"] == pytest.approx(expected, abs=1.0 + expected * 1e-5)


def test_no_currency_account_is_overdrawn_and_nothing_is_wrong(bureau: Dataset):
    account = bureau.frames["account"].filter(type="currency")
    entry = bureau.frames["ledger_entry"].filter(pl.col("account_id").is_in(account["account_id"].implode()))
    assert entry["balance_minor"].drop_nulls().min() >= 0
    refused = bureau.frames["transaction"].filter(channel="exchange", status="declined")
    assert refused.height > 0, "who has not got it cannot change it"
    assert bureau.validate().is_empty()


def test_a_wrong_amount_on_the_other_account_is_found(bureau: Dataset):
    wrong = bureau.frames["exchange"].with_columns(pl.col("amount_minor") + 7)
    tables = {**bureau.frames, "exchange": wrong}
    check = next(c for c in DOMAIN.checks if c.name == "ledger.posted")
    found = check.run({name: t.lazy() for name, t in tables.items()})
    assert set(found["row_key"]) == set(changed(bureau)["transaction_id"])


@pytest.mark.parametrize("unit", ["CLF", "UYW"])
def test_a_currency_of_four_digits_is_written_with_four(unit: str):
    asked = (ScenarioRequest("four-minor-digits", {"unit": unit}),)
    data = generate(make_plan(Spec("finance", size=12, end="2025-02-01", scenarios=asked), DOMAIN))
    paid = data.frames["transaction"].filter(currency=unit)
    assert paid.select("amount_minor", "balance_after_minor").row(0) == (123456, 123456)
    account = str(paid["account_id"][0])
    assert data.frames["ledger_entry"].filter(account_id=int(account))["currency"].unique().to_list() == [unit]

    def text(view: str, name: str) -> pl.DataFrame:
        return DOMAIN.views[view].render(data.frames, {})[name]

    statement = text("mt940", "mt940").filter(name=account)["text"][0]
    assert f"{unit}12,3456" in statement
    journal = text("ledger", "ledger").filter(currency=unit, kind="booking")
    assert journal["balance"].drop_nulls().to_list() == [12.3456]
    assert data.validate().is_empty()
