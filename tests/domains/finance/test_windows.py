"""Any window and any size makes a valid bank."""

from __future__ import annotations

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
