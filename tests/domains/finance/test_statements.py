"""Credit cards' statements and what savings bear: a book kept day by day, account by account, and planted violations."""

from __future__ import annotations

import datetime as dt

import polars as pl
import pytest

from populace.core.checks import check_tables
from populace.core.dataset import Dataset, generate
from populace.core.plan import make_plan
from populace.core.scenario import parse_request
from populace.core.spec import Spec
from populace.domains.finance import DOMAIN

P = DOMAIN.priors
DAY = dt.timedelta(1)
START, END = dt.date(2025, 1, 1), dt.date(2025, 7, 1)


def _moves(bank: Dataset, kind: str) -> dict[int, dict[dt.date, list[tuple[str, int]]]]:
    """By account and day, what was booked: the transaction's channel and the change."""
    paid = bank.frames["transaction"].select("transaction_ref", "channel")
    entry = bank.frames["ledger_entry"].filter(pl.col("balance_minor").is_not_null(), pl.col("kind") != "opening")
    account = bank.frames["account"].filter(type=kind)["account_id"]
    entry = entry.filter(pl.col("account_id").is_in(account.implode()))
    rows = entry.join(paid, on="transaction_ref", maintain_order="left").with_columns(day=pl.col("booked_at").dt.date())
    found: dict = {a: {} for a in account}
    for holder, day, channel, change in rows.select("account_id", "day", "channel", "amount_minor").iter_rows():
        found[holder].setdefault(day, []).append((channel, change))
    return found


def test_cards_are_charged_by_a_book_kept_day_by_day(base: Dataset):
    """Each day's balance is written down; on the statement day a holder who did not pay the last one in full is charged for the days since."""
    moves, charged, free = _moves(base, "credit"), 0, 0
    payment = base.frames["transaction"].filter(pl.col("counterparty_account_id").is_in(list(moves)))
    paid = {
        (a, at.date()): (m, s)
        for a, at, m, s in payment.select(
            "counterparty_account_id", "authorised_at", "amount_minor", "status"
        ).iter_rows()
    }
    for row in base.frames["account"].filter(type="credit").iter_rows(named=True):
        holder, balance, area = row["account_id"], row["opening_balance_minor"], 0
        carried, owed = row["repays"] != "full" and balance < 0, max(-balance, 0)
        day = START
        # from the day on which the bank is told of a death nothing is charged
        while day < min(END, row["frozen_on"] or END, row["closed_on"] or END):
            today = moves[holder].get(day, [])
            if day.day == row["statement_day"]:
                interest = -sum(c for channel, c in today if channel == "interest")
                due = round(max(-area, 0) * row["annual_rate"] / 365) if carried else 0
                assert abs(interest - due) <= 1, (holder, day)
                charged, free = charged + (interest > 0), free + (interest == 0 and area < 0)
                fee = -sum(c for channel, c in today if channel == "fee")
                owed, area = max(-(balance - interest - fee), 0), 0
            balance += sum(c for _, c in today)
            if (holder, day) in paid:
                amount, status = paid[holder, day]
                assert 0 < amount <= owed
                assert row["repays"] != "full" or amount == owed
                carried = (0 if status == "declined" else amount) < owed
            elif owed == 0:
                carried = False
            area += balance
            day += DAY
    assert charged > 500
    assert free > 500


def test_savings_bear_interest_by_a_book_kept_day_by_day(base: Dataset):
    moves, credited = _moves(base, "savings"), 0
    for row in base.frames["account"].filter(type="savings").iter_rows(named=True):
        balance, area, day = row["opening_balance_minor"], 0, START
        while day < min(END, row["closed_on"] or END):
            today = moves[row["account_id"]].get(day, [])
            if day.day == 1 and day > START:
                borne = sum(c for channel, c in today if channel == "interest")
                assert abs(borne - round(area * row["annual_rate"] / 365)) <= 1
                credited, area = credited + borne, 0
            balance += sum(c for _, c in today)
            area += balance
            day += DAY
    assert credited > 0


def test_payments_come_by_the_due_date_on_a_working_day(base: Dataset):
    payment = base.frames["transaction"].filter(pl.col("counterparty_account_id") % 8 == 2)
    card = base.frames["account"].select("statement_day", "due_days", counterparty_account_id="account_id")
    made = payment.join(card, on="counterparty_account_id")
    day = made["authorised_at"].dt.date()
    assert made.height > 2_000
    assert day.dt.weekday().max() <= 5  # type: ignore[operator]
    since = (day.dt.day() - made["statement_day"]) % day.dt.offset_by("-1mo").dt.month_end().dt.day()
    assert since.is_between(15, 25).all()
    assert (since > 20).mean() > 0.5  # type: ignore[operator]


def test_who_carries_over_and_what_it_costs_is_as_published(base: Dataset):
    account = base.frames["account"].filter(type="credit")
    assert (account["repays"] != "full").mean() == pytest.approx(P("card.revolves"), abs=0.05)
    assert (account["repays"] == "minimum").mean() == pytest.approx(P("card.pays_minimum"), abs=0.02)
    for money, country in (("GBP", "GB"), ("EUR", "DE")):
        mean = account.filter(currency=money)["annual_rate"].mean()
        assert mean == pytest.approx(P("card.annual_rate")[country], abs=0.003)


def test_debts_neither_run_away_nor_vanish(base: Dataset):
    entry = base.frames["ledger_entry"].filter(pl.col("balance_minor").is_not_null())
    last = entry.group_by("account_id").agg(pl.col("balance_minor").sort_by("ledger_entry_id").last())
    card = base.frames["account"].filter(pl.col("repays") != "full", pl.col("closed_on").is_null())
    card = card.join(last, on="account_id")
    assert card["balance_minor"].sum() / card["opening_balance_minor"].sum() == pytest.approx(1.0, abs=0.15)


def test_what_a_scenario_buys_on_a_card_is_on_the_statement_and_charged_for():
    """Statements are cut after scenarios: who is robbed of more pays more, and interest follows."""
    request = parse_request("credit-bust-out:count=3")
    made = [generate(make_plan(Spec("finance", size=200, seed=3, scenarios=s), DOMAIN)) for s in ((), (request,))]
    marked = made[1].frames["label"].filter(pl.col("table") == "transaction")["row_key"] // 1_000_000
    such = made[1].frames["account"].filter(pl.col("account_id").is_in(marked.implode()), type="credit")["account_id"]
    assert len(such)

    def paid(d: Dataset) -> int:
        return (
            d.frames["transaction"]
            .filter(pl.col("counterparty_account_id").is_in(such.implode()), channel="direct-debit")["amount_minor"]
            .sum()
        )

    def charged(d: Dataset) -> int:
        return (
            d.frames["transaction"]
            .filter(pl.col("account_id").is_in(such.implode()), channel="interest")["amount_minor"]
            .sum()
        )

    assert paid(made[1]) > paid(made[0])
    assert charged(made[1]) >= charged(made[0])


def _found(bank: Dataset, check: str, **changed: pl.DataFrame) -> pl.DataFrame:
    tables = {**bank.frames, **changed}
    return check_tables(DOMAIN, tables, set(tables) - {"label"}).filter(check=check)


@pytest.mark.parametrize(("check", "direction"), [("card.interest", "DBIT"), ("savings.interest", "CRDT")])
def test_interest_that_does_not_follow_from_the_balance_is_found(base: Dataset, check: str, direction: str):
    payment, kind = base.frames["transaction"], "credit" if direction == "DBIT" else "savings"
    account = base.frames["account"].filter(type=kind)["account_id"]
    rows = payment.filter(pl.col("account_id").is_in(account.implode()), channel="interest", direction=direction)
    one = rows.filter(pl.col("amount_minor") > 100)["transaction_id"][5]
    mine = pl.col("transaction_id") == one
    more = payment.with_columns(amount_minor=pl.when(mine).then(pl.col("amount_minor") + 50).otherwise("amount_minor"))
    assert one in _found(base, check, transaction=more)["row_key"].to_list()
    assert len(_found(base, check, transaction=payment.filter(~mine)))
    assert _found(base, check).is_empty()


def test_a_statement_paid_late_or_with_too_much_or_not_at_all_is_found(base: Dataset):
    payment = base.frames["transaction"]
    card = base.frames["account"].filter(repays="full")["account_id"]
    rows = payment.filter(pl.col("counterparty_account_id").is_in(card.implode()), channel="direct-debit")
    one = pl.col("transaction_id") == rows["transaction_id"][7]
    key = [rows["transaction_id"][7]]
    for wrong in (
        payment.with_columns(amount_minor=pl.when(one).then(pl.col("amount_minor") - 1).otherwise("amount_minor")),
        payment.with_columns(amount_minor=pl.when(one).then(pl.col("amount_minor") * 2).otherwise("amount_minor")),
        payment.with_columns(
            authorised_at=pl.when(one).then(pl.col("authorised_at") + DAY * 4).otherwise("authorised_at")
        ),
    ):
        assert _found(base, "card.payment", transaction=wrong)["row_key"].to_list() == key
    never = _found(base, "card.payment", transaction=payment.filter(~one))
    assert never["row_key"].to_list() == [rows["counterparty_account_id"][7]]
