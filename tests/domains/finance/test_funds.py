"""Customers spend what they have: judged by an oracle that decides one move after the other."""

from __future__ import annotations

import math
from collections import defaultdict
from importlib import import_module

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from populace.core.dataset import Dataset
from populace.domains.finance import DOMAIN
from populace.domains.finance.holdings import ACCOUNTS

FUNDS = import_module("populace.domains.finance.funds")

MONEY_IN, RELEASED, ASKED, CHARGED = range(4)


def test_no_booked_debit_takes_an_account_below_its_limit(base: Dataset):
    entry = base.frames["ledger_entry"].filter(pl.col("balance_minor").is_not_null(), kind="booking")
    debit = entry.filter(pl.col("amount_minor") < 0).join(base.frames["account"], on="account_id")
    charges = base.frames["transaction"].filter(pl.col("channel").is_in(["interest", "fee"]))["transaction_ref"]
    debit = debit.filter(~pl.col("transaction_ref").is_in(charges.implode()))
    below = pl.col("balance_minor") < -pl.col("overdraft_limit_minor")
    assert debit.height > 100_000
    assert debit.filter(below).is_empty()


def test_what_is_refused_for_lack_of_funds_and_nothing_else_could_not_be_paid(base: Dataset):
    account = base.frames["account"]
    limit = dict(account.select("account_id", "overdraft_limit_minor").iter_rows())
    # of a card's limit a month's interest and a late fee are kept free
    late = DOMAIN.priors("card.late_fee_minor")
    for key, most, rate, money in (
        account.filter(type="credit")
        .select("account_id", "overdraft_limit_minor", "annual_rate", "currency")
        .iter_rows()
    ):
        limit[key] = most - math.ceil(most * rate * 31 / 365) - late["GB" if money == "GBP" else "DE"]
    balance = dict(account.select("account_id", "opening_balance_minor").iter_rows())
    frozen = dict(account.select("account_id", "frozen_on").drop_nulls().iter_rows())
    moves, got = defaultdict(list), dict(base.frames["exchange"].select("transaction_id", "amount_minor").iter_rows())
    for n, row in enumerate(base.frames["transaction"].iter_rows(named=True)):
        own, other, amount = row["account_id"], row["counterparty_account_id"], row["amount_minor"]
        if row["direction"] == "CRDT":
            moves[row["cleared_at"]].append((MONEY_IN, n, own, amount, None))
            continue
        # what is returned because its payer has died is asked of nobody
        if row["status"] == "declined" and own in frozen and row["authorised_at"].date() >= frozen[own]:
            continue
        if row["channel"] in ("interest", "fee") and own % 8 == 2:
            moves[row["cleared_at"]].append((CHARGED, n, own, -amount, None))
            continue
        if row["response_code"] in (None, "00", "51"):
            moves[row["authorised_at"]].append((ASKED, n, own, -amount, row["status"] == "declined"))
        # what another customer sends is not counted on
        if other is not None and other // 8 == own // 8 and row["cleared_at"]:
            came = got[row["transaction_id"]] if row["channel"] == "exchange" else amount
            moves[row["cleared_at"]].append((MONEY_IN, n, other, came, None))
        # nor is what a dispute may bring back
        if row["reversed_at"] and row["reversal"] != "chargeback":
            moves[row["reversed_at"]].append((RELEASED, n, own, row["reversed_minor"], None))
    refused = 0
    for at in sorted(moves):
        for _, _, holder, change, declined in sorted(moves[at], key=lambda move: move[:2]):
            bears = balance[holder] + change >= -limit[holder]
            if declined is not None:
                assert declined != bears
                refused += declined
            if not declined:
                balance[holder] += change
    assert refused > 100


def test_cards_say_why_and_nothing_refused_is_posted(base: Dataset):
    payment = base.frames["transaction"]
    short = payment.filter(response_code="51")
    assert short.height
    assert (short["status"] == "declined").all()
    other = payment.filter(pl.col("response_code").is_null(), status="declined")
    assert set(other["channel"]) <= {"transfer", "direct-debit", "fee", "loan", "wallet", "cash", "cheque", "exchange"}
    refused = pl.concat([short, other])["transaction_ref"]
    assert base.frames["ledger_entry"].filter(pl.col("transaction_ref").is_in(refused.implode())).is_empty()


@given(st.integers(0, 1 << 20))
def test_few_moves_and_many_are_decided_alike(seed: int):
    """One after the other, and all customers' n-th ones at once: credits, debits, and moves that hang on another of their payment."""
    dice, n = np.random.default_rng(seed), 300
    # a payment is asked for once; those from 200 on never are, and what moves for them hangs on nothing
    source, at = np.append(np.arange(200), dice.integers(0, 250, n - 200)), dice.integers(0, 200, n)
    kind = np.append(np.full(200, FUNDS.DEBIT), dice.choice([FUNDS.CREDIT, FUNDS.BACK, FUNDS.CHARGE], n - 200))
    holder = source % 5 * ACCOUNTS + dice.integers(0, ACCOUNTS, n)  # all moves of a payment are one customer's
    columns = (holder, source, dice.integers(-60, 60, n), at, kind.astype(np.int8))
    start, floor = dice.integers(0, 100, 5 * ACCOUNTS), -dice.integers(0, 50, 5 * ACCOUNTS)
    found = []
    for spared in (0, n):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(FUNDS, "SPARED", spared)
            found.append(np.zeros(250, bool))
            FUNDS._scan(start, floor, found[-1], columns)
    assert found[0].any()
    assert (found[0] == found[1]).all()
