"""Loans: some are older than the window, some are taken out within it; each instalment follows from rate and sum."""

from __future__ import annotations

import datetime as dt
from fractions import Fraction

import polars as pl
import pytest

from populace.core.dataset import Dataset
from populace.domains.finance import DOMAIN


@pytest.fixture(scope="module")
def lent(base: Dataset) -> pl.DataFrame:
    """Loans that are paid out within the window, with their account."""
    start = dt.date(2025, 1, 1)
    return base.frames["loan"].filter(pl.col("paid_out_on") >= start)


def test_as_many_loans_begin_as_come_to_their_end(base: Dataset, lent: pl.DataFrame):
    months = DOMAIN.priors("loan.months")
    each = sum(share / int(n) for n, share in months.items())
    expected = 1_000 * DOMAIN.priors("account.loan") * 181 / 30.4375 * each
    assert abs(lent.height - expected) < 4 * expected**0.5
    old = base.frames["loan"].height - lent.height
    assert old == pytest.approx(249, abs=4 * 14)


def test_a_new_loan_is_paid_out_to_the_current_account_and_paid_back_from_there(base: Dataset, lent: pl.DataFrame):
    account, payment = base.frames["account"], base.frames["transaction"]
    opened = lent.join(account, on="account_id")
    assert (opened["opened_on"] == opened["paid_out_on"]).all()
    assert (opened["opening_balance_minor"] == 0).all()
    out = payment.filter(type="CSLN/DDWN").join(lent, on="account_id")
    assert out.height == lent.height
    assert (out["amount_minor"] == out["principal_minor"]).all()
    assert (out["authorised_at"].dt.date() == out["paid_out_on"]).all()
    assert (out["counterparty_account_id"] == out["account_id"] - 3).all()
    assert (out["status"] == "booked").all()
    # nothing happens on it before
    first = payment.filter(pl.col("account_id").is_in(lent["account_id"].implode())).sort("authorised_at")
    assert (first.unique("account_id", keep="first")["type"] == "CSLN/DDWN").all()


def test_instalments_are_what_interest_and_sum_give_reckoned_by_hand(base: Dataset, lent: pl.DataFrame):
    due = base.frames["instalment"].sort("number")
    payment = base.frames["transaction"].filter(type="CSLN/PPAY")
    checked = 0
    for loan in lent.iter_rows(named=True):
        mine = due.filter(loan_id=loan["loan_id"])
        owed, rate = loan["principal_minor"], Fraction(str(round(loan["annual_rate"], 6))) / 12
        for n, row in enumerate(mine.iter_rows(named=True), 1):
            assert row["number"] == n
            assert row["due_on"].day == 1
            charge = owed * rate
            assert abs(row["interest_minor"] - charge) <= 1
            assert row["interest_minor"] + row["principal_minor"] == loan["instalment_minor"] or n == loan["months"]
            owed -= row["principal_minor"]
            assert row["outstanding_minor"] == owed
            checked += 1
        if mine.height:
            wait = (mine["due_on"][0] - loan["paid_out_on"]).days
            assert 0 < wait <= 31
            paid = payment.filter(counterparty_account_id=loan["account_id"])
            late = pl.Series([x for x in paid["authorised_at"].dt.date().to_list() if x not in set(mine["due_on"])])
            assert len(set(paid["authorised_at"].dt.date().dt.month_start())) == mine.height
            assert all(x.day <= 4 for x in late), "the first working day from the first on"
    assert checked > 50


def test_nobody_borrows_before_they_are_customers_of_age(base: Dataset):
    account, customer = base.frames["account"], base.frames["customer"]
    loan = base.frames["loan"].join(account.select("account_id", "customer_id"), on="account_id")
    loan = loan.join(customer, on="customer_id")
    assert (loan["paid_out_on"] >= loan["opened_on"]).all()
    assert (loan["paid_out_on"] >= loan["birth_date"].dt.offset_by("18y")).all()
    assert loan["opened_on"].max() > dt.date(2024, 6, 1), "young relationships have loans too"
