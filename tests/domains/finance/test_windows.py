"""Any window and any size makes a valid bank."""

from __future__ import annotations

import datetime as dt

import numpy as np
import polars as pl
import pytest

from populace.core.dataset import generate
from populace.core.domain import Window
from populace.core.plan import make_plan
from populace.core.scenario import parse_request
from populace.core.spec import Spec
from populace.domains.finance import DOMAIN
from populace.domains.finance.calendar import DAY, curve


@pytest.mark.parametrize(
    ("size", "start", "end"),
    [
        (1, "1950-03-07", "1950-03-08"),
        (3, "1969-01-30", "1970-02-02"),
        (30, "2024-02-29", "2024-03-01"),
        (5, "2020-01-15", "2030-01-15"),
    ],
    ids=["one-day-before-1970", "across-1970", "leap-day", "ten-years-of-card-renewals"],
)
def test_valid_whatever_the_window(size: int, start: str, end: str):
    assert generate(make_plan(Spec("finance", size=size, start=start, end=end), DOMAIN)).validate().is_empty()


def test_scenarios_fit_into_a_single_day():
    scenarios = tuple(parse_request(f"{name}:count=1") for name in DOMAIN.scenarios)
    plan = make_plan(Spec("finance", size=60, start="2025-01-01", end="2025-01-02", scenarios=scenarios), DOMAIN)
    data = generate(plan)
    assert data.validate().is_empty()
    assert set(data.frames["label"]["scenario"]) == set(DOMAIN.scenarios)


def test_a_bank_without_purchases_still_balances():
    settings = {"purchase.per_month": 0, "transfer.per_month": 0}
    data = generate(make_plan(Spec("finance", size=20, settings=settings), DOMAIN))
    assert "card-present" not in set(data.frames["transaction"]["channel"].cast(pl.String))
    assert data.validate().is_empty()


def test_a_day_on_which_nobody_pays_is_a_dataset():
    data = generate(make_plan(Spec("finance", size=1, seed=2, start="2025-01-01", end="2025-01-02"), DOMAIN))
    assert data.frames["transaction"].is_empty()
    assert data.frames["ledger_entry"].height == 2 * data.frames["account"].height
    assert data.validate().is_empty()


def test_moments_lie_on_the_line_between_two_hours():
    """As a search for each finds them, which takes ten times as long: bit by bit, at both ends and where hours have no weight too."""
    window = Window(20_089 * DAY, 20_119 * DAY)
    clock = curve(window, [0.0] * 9 + [1.0] * 8 + [1e-9] * 7, [1.0] * 5 + [0.0] * 2)
    rng = np.random.default_rng(0)
    share = np.concatenate([rng.random(50_000) * 2, clock.share, np.nextafter(clock.share, 2.0), [0.0, 1.0, 2.0, 2.5]])
    assert (clock.when(share) == np.interp(share, clock.share, clock.at)).all()


def test_customers_come_within_the_window_and_nothing_is_older_than_they_are():
    settings, asked = (
        {"customer.joins": 0.5},
        (parse_request("fan-in:count=2"), parse_request("account-takeover:count=2")),
    )
    data = generate(make_plan(Spec("finance", size=300, seed=2, settings=settings, scenarios=asked), DOMAIN))
    assert data.validate().is_empty()
    customer = data.frames["customer"].select("customer_id", came="opened_on")
    new = customer.filter(pl.col("came") >= pl.date(2025, 1, 1))
    # half of a year at a half a year
    assert 0.18 < new.height / customer.height < 0.32
    account = data.frames["account"].join(new, on="customer_id")
    assert (account["opened_on"] >= account["came"]).all()
    assert (account["opening_balance_minor"] == 0).all()
    for table, since in (("device", "first_seen_at"), ("counterparty", "added_at")):
        rows = data.frames[table].join(new, on="customer_id")
        assert (rows[since].dt.date() >= rows["came"]).all(), table
    days = account.select("account_id", "opened_on")
    for table, at in (("transaction", "authorised_at"), ("ledger_entry", "booked_at"), ("card", "issued_on")):
        rows = data.frames[table].join(days, on="account_id")
        assert rows.height > account.height / 2
        assert (rows[at].cast(pl.Date) >= rows["opened_on"]).all(), table
    paid = data.frames["transaction"].join(days, left_on="counterparty_account_id", right_on="account_id")
    assert paid.height > 20
    assert (paid["authorised_at"].dt.date() > paid["opened_on"]).all()
    # nobody who comes plays a part in what may begin before
    cast = data.frames["label"].filter(table="account")["row_key"]
    assert not set(cast) & set(account["account_id"])


def test_customers_leave_within_the_window_and_nothing_of_theirs_is_left_or_later():
    settings = {"customer.leaves": 0.5, "account.foreign": 0.3}
    asked = (parse_request("fan-in:count=2"), parse_request("dormant-account:count=2"))
    data = generate(make_plan(Spec("finance", size=300, seed=2, settings=settings, scenarios=asked), DOMAIN))
    assert data.validate().is_empty()
    frames = data.frames
    dead = frames["account"].drop_nulls("frozen_on")["customer_id"].implode()
    customer = frames["customer"].filter(~pl.col("customer_id").is_in(dead)).select("customer_id", left="closed_on")
    gone = customer.filter(pl.col("left").is_not_null())
    assert 0.18 < gone.height / customer.height < 0.32
    account = frames["account"].join(gone, on="customer_id")
    assert (account["closed_on"] == account["left"]).all()
    assert set(account["type"].cast(pl.String)) == {"current", "business", "savings", "credit", "wallet", "currency"}
    days = account.select("account_id", "left")
    card = frames["card"].join(days, on="account_id")
    assert card.height > gone.height
    assert (card["cancelled_on"] == card["left"]).all()
    assert (card["issued_on"] <= card["left"]).all()
    living = frames["card"].join(frames["account"].filter(pl.col("frozen_on").is_null()), on="account_id", how="semi")
    assert living["cancelled_on"].count() == card.height
    # nothing is known later, and on the last day nothing is paid but all that is left
    for table, at in (("device", "first_seen_at"), ("counterparty", "added_at"), ("customer", "contact_changed_at")):
        rows = frames[table].join(gone, on="customer_id").drop_nulls(at)
        assert (rows[at].dt.date() <= rows["left"]).all(), table
    payment = frames["transaction"]
    for side in ("account_id", "counterparty_account_id"):
        paid = payment.join(days, left_on=side, right_on="account_id")
        assert paid.height > 20
        last = paid["authorised_at"].dt.date()
        assert (last <= paid["left"]).all()
        assert (last == paid["left"].dt.offset_by("-1d")).any(), "used to the end"
        assert (paid["cleared_at"].dt.date().fill_null(dt.date(1970, 1, 1)) <= paid["left"]).all()
        assert (paid["reversed_at"].dt.date().fill_null(dt.date(1970, 1, 1)) <= paid["left"]).all()
    out = payment.join(days, on="account_id").filter(pl.col("authorised_at").dt.date() == pl.col("left"))
    assert set(out["channel"].cast(pl.String)) == {"transfer", "exchange", "interest"}
    # the balance of each, added up from the payments alone, is nothing
    sign = pl.when(pl.col("direction") == "CRDT").then(1).otherwise(-1)
    booked = payment.filter(pl.col("cleared_at").is_not_null())
    back = pl.col("reversed_minor").fill_null(0)
    own = booked.select("account_id", moved=sign * (pl.col("amount_minor") - back))
    inside = booked.drop_nulls("counterparty_account_id").join(
        frames["exchange"].select("transaction_id", got="amount_minor"), on="transaction_id", how="left"
    )
    other = inside.select(
        account_id="counterparty_account_id", moved=-sign * (pl.coalesce("got", "amount_minor") - back)
    )
    total = pl.concat([own, other]).group_by("account_id").agg(pl.col("moved").sum())
    left_over = account.join(total, on="account_id", how="left").select(
        pl.col("opening_balance_minor") + pl.col("moved").fill_null(0)
    )
    assert (left_over.to_series() == 0).all()
    # nobody who leaves plays a part in what may end later
    assert not set(frames["label"].filter(table="account")["row_key"]) & set(account["account_id"])
