"""What a payments engineer would fault at once, in the base population and in what thieves do."""

from __future__ import annotations

import datetime as dt

import polars as pl
import pytest

from populace.core.dataset import Dataset, generate
from populace.core.plan import make_plan
from populace.core.scenario import parse_request
from populace.core.spec import Spec
from populace.domains.finance import DOMAIN
from populace.domains.finance.calendar import holidays

CHANNEL = pl.col("channel").cast(pl.String)


def test_branches_are_closed_on_public_holidays_and_at_weekends(base: Dataset):
    paid = base.frames["transaction"].filter(CHANNEL.is_in(["cash", "cheque"]))
    assert paid.height > 1_000
    for zone, money, place in ((0, "GBP", "Europe/London"), (1, "EUR", "Europe/Berlin")):
        day = paid.filter(pl.col("currency") == money)["authorised_at"].dt.convert_time_zone(place).dt.date()
        assert not set(day) & set(holidays(zone, 2025, 2025))
        assert (day.dt.weekday() <= 5).all()


def test_a_window_of_one_holiday_has_nothing_at_the_counter():
    data = generate(make_plan(Spec("finance", size=300, seed=1, start="2025-12-25", end="2025-12-26"), DOMAIN))
    assert data.frames["transaction"].filter(CHANNEL.is_in(["cash", "cheque"])).is_empty()


def test_cards_are_cleared_within_the_days_of_presentment(base: Dataset):
    card = CHANNEL.is_in(["card-present", "card-not-present", "atm"])
    paid = base.frames["transaction"].filter(card, pl.col("cleared_at").is_not_null())
    wait = paid["cleared_at"] - paid["authorised_at"]
    assert dt.timedelta(days=7) < wait.max() < dt.timedelta(days=8)
    # half of what is not cash within a day, as before
    half = wait.filter(paid.select(CHANNEL != "atm").to_series()).median()
    assert half.total_seconds() / 3_600 == pytest.approx(24, rel=0.03)


def test_nobody_draws_more_in_a_day_than_the_limit_and_what_passes_it_is_refused(base: Dataset):
    most = DOMAIN.priors("cash.machine_limit_minor")
    drawn = base.frames["transaction"].filter(CHANNEL == "atm").with_columns(day=pl.col("authorised_at").dt.date())
    each = (
        drawn.filter(pl.col("response_code") == "00")
        .group_by("account_id", "day", "currency")
        .agg(pl.col("amount_minor").sum())
    )
    for money, country in (("GBP", "GB"), ("EUR", "DE")):
        sums = each.filter(pl.col("currency") == money)["amount_minor"]
        assert sums.max() <= most[country]
        assert (sums > most[country] / 2).any()
    several = drawn.filter(pl.len().over("account_id", "day") > 1)
    refused = pl.col("response_code").cast(pl.String) == "61"
    assert several.filter(refused).height / several.height > 3 * drawn.filter(refused).height / drawn.height


def test_who_has_been_a_customer_for_life_came_at_any_age_of_youth(base: Dataset):
    """Not a fifth of all on one birthday."""
    customer = base.frames["customer"].filter(pl.col("opened_on") < dt.date(2025, 1, 1))
    age = (customer["opened_on"] - customer["birth_date"]).dt.total_days() / 365.25
    assert 10.9 <= age.min() < 12
    young = age.filter(age < 18)
    assert young.len() / age.len() > 0.1
    assert young.cast(pl.Int64).value_counts()["count"].max() < 0.35 * young.len()


def test_whoever_finds_a_card_pays_no_more_than_goes_without_a_pin():
    asked = (parse_request("lost-or-stolen-card:count=12,amount=400"),)
    data = generate(make_plan(Spec("finance", size=150, seed=6, scenarios=asked), DOMAIN))
    keys = data.frames["label"].filter(table="transaction", scenario="lost-or-stolen-card")["row_key"].drop_nulls()
    paid = data.frames["transaction"].filter(pl.col("transaction_id").is_in(keys.implode()))
    most = DOMAIN.priors("purchase.contactless_most_minor")
    limit = pl.when(pl.col("currency").cast(pl.String) == "EUR").then(most["DE"]).otherwise(most["GB"])
    assert set(paid["entry_mode"].cast(pl.String)) <= {"07", "05"}
    assert paid.filter(pl.col("amount_minor") > limit).is_empty()
    # and not all of it just below
    assert paid.filter(pl.col("amount_minor") > limit * 0.95).height < 0.4 * paid.height


def test_a_transfer_abroad_costs_35_at_most():
    settings = {"transfer.log_mean": 10.0, "customer.income_log_mean": 11.0}
    data = generate(make_plan(Spec("finance", size=120, seed=3, settings=settings), DOMAIN))
    sent = data.frames["exchange"].join(
        data.frames["transaction"].filter(CHANNEL == "transfer").select("transaction_id", paid="amount_minor"),
        on="transaction_id",
    )
    assert sent.filter(pl.col("paid") > 1_400_000).height > 3
    assert sent["fee_minor"].max() == 3_500
