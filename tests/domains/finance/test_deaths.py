"""Who dies, at which rate, and what becomes of their accounts."""

from __future__ import annotations

import datetime as dt

import numpy as np
import polars as pl
import pytest

from populace.core.checks import check_tables
from populace.core.dataset import Dataset, generate
from populace.core.domain import Block
from populace.core.plan import make_plan
from populace.core.scenario import parse_request
from populace.core.spec import Spec
from populace.domains.finance import DOMAIN
from populace.domains.finance.life import NEVER, died_on
from populace.domains.finance.people import ages, origins

DEAD = pl.col("frozen_on").is_not_null()


@pytest.fixture(scope="module")
def mourning() -> Dataset:
    """A bank of the old, of whom one in some ten dies within the window."""
    old = {"customer.age_share": [0, 0, 0, 0, 0, 0.2, 0.8], "account.foreign": 0.2, "account.loan": 0.5}
    old["customer.death"] = {**DOMAIN.priors("customer.death"), **dict.fromkeys(("GB_male", "DE_male"), [0.4] * 12)}
    asked = (parse_request("fan-in:count=2"), parse_request("lost-or-stolen-card:count=2"))
    return generate(make_plan(Spec("finance", size=160, seed=4, settings=old, scenarios=asked), DOMAIN))


def test_nothing_is_wrong_where_many_die(mourning: Dataset):
    assert mourning.validate().is_empty()
    assert mourning.frames["account"].filter(DEAD)["customer_id"].n_unique() > 15


def test_as_many_die_at_each_age_as_the_tables_say():
    """An oracle that goes from year to year: each dies in the window by the chance of the age that the year began with."""
    plan = make_plan(Spec("finance", size=60_000, seed=1), DOMAIN)
    block = Block(0, plan.size, plan.size, plan.stream, plan.priors, plan.window, {})
    dies, age, (german, male) = (
        died_on(block, block.units) < NEVER,
        ages(block, block.units),
        origins(block, block.units),
    )
    table = DOMAIN.priors("customer.death")
    for n, sex in enumerate(("GB_female", "GB_male", "DE_female", "DE_male")):
        for least, most in ((18, 60), (60, 75), (75, 91)):
            here = (2 * german + male == n) & (age >= least) & (age < most)
            yearly = np.exp(np.interp(age[here] + 0.25, table["age"], np.log(table[sex])))
            # those who come, leave and own a company are not counted on
            expected = (1 - (1 - yearly) ** (plan.window.days / 365.25)).sum() * 0.95
            assert abs(dies[here].sum() - expected) < 4 * np.sqrt(expected) + 0.12 * expected, (sex, least)


def test_the_bank_is_told_on_a_working_day_some_days_later(mourning: Dataset):
    account = mourning.frames["account"].filter(DEAD).unique("customer_id", maintain_order=True)
    told = account.join(mourning.frames["customer"].select("customer_id", "deceased_on"), on="customer_id")
    wait = (told["frozen_on"] - told["deceased_on"]).dt.total_days()
    assert wait.min() >= 1
    assert 3 <= wait.median() <= 9
    assert (told["frozen_on"].dt.weekday() <= 5).all()
    # of whom it has not heard it knows nothing
    assert set(mourning.frames["customer"].drop_nulls("deceased_on")["customer_id"]) == set(told["customer_id"])


def test_what_was_arranged_goes_on_until_the_bank_is_told_and_nothing_else(mourning: Dataset):
    frames = mourning.frames
    died = frames["customer"].drop_nulls("deceased_on").select("customer_id", "deceased_on")
    account = (
        frames["account"].join(died, on="customer_id").select("account_id", "deceased_on", "frozen_on", "closed_on")
    )
    paid = frames["transaction"].join(account, on="account_id").with_columns(day=pl.col("authorised_at").dt.date())
    between = paid.filter(pl.col("day").is_between("deceased_on", "frozen_on", closed="left"))
    asked = ("card-present", "card-not-present", "atm", "cash", "cheque", "wallet", "exchange", "acquiring")
    assert not set(asked) & set(between["channel"].cast(pl.String))
    sent = between.filter(pl.col("channel") == "transfer", pl.col("direction") == "DBIT")
    assert set(sent["type"].cast(pl.String)) == {"ICDT/STDO"}
    assert between.filter(pl.col("channel") == "direct-debit", pl.col("status") == "booked").height > 3
    # then every creditor is told once, and what is left is paid out on the last day
    late = paid.filter(
        pl.col("day") >= pl.col("frozen_on"), pl.col("direction") == "DBIT", pl.col("channel") != "interest"
    )
    back = late.filter(pl.col("channel") == "direct-debit")
    assert back.height > 10
    assert (back["status"].cast(pl.String) == "declined").all()
    assert back.select("account_id", "merchant_id").is_unique().all()
    out = late.filter(pl.col("channel") != "direct-debit")
    assert out.height > 5
    assert (out["day"] == out["closed_on"]).all()
    estate = out.filter(pl.col("channel") == "transfer").join(frames["counterparty"], on="counterparty_id")
    assert (estate["added_at"].dt.date() == estate["closed_on"]).all()
    assert estate["device_id"].is_null().all()


def test_cards_end_with_the_notice_and_nobody_who_dies_plays_a_part(mourning: Dataset):
    frames = mourning.frames
    account = frames["account"].filter(DEAD).select("account_id", "frozen_on")
    card = frames["card"].join(account, on="account_id")
    assert card.height > 15
    assert (card["cancelled_on"] == card["frozen_on"]).all()
    assert (card["issued_on"] <= card["frozen_on"]).all()
    cast = frames["label"].filter(table="account")["row_key"]
    assert not set(cast) & set(account["account_id"])
    joint = frames["account_holder"].filter(pl.col("role") == "joint")["account_id"]
    assert not set(joint) & set(account["account_id"])


@pytest.mark.parametrize("wrong", ["spends", "lives", "early", "half", "card", "order"])
def test_what_contradicts_a_death_is_found_and_named(mourning: Dataset, wrong: str):
    """Planted in one account that was frozen."""
    tables = dict(mourning.frames)
    account, payment, card = (tables[t] for t in ("account", "transaction", "card"))
    mine = account.filter(DEAD & pl.col("closed_on").is_not_null(), pl.col("type") == "current").row(0, named=True)
    row = pl.col("account_id") == mine["account_id"]
    day = mine["frozen_on"] + dt.timedelta(1)
    noon = dt.datetime(day.year, day.month, day.day, 12, tzinfo=dt.UTC)
    booked = payment.filter(
        row, pl.col("channel").is_in(["card-present", "card-not-present"]), pl.col("status") == "booked"
    )
    last = pl.col("transaction_id") == booked["transaction_id"][-1]
    holder = pl.col("customer_id") == mine["customer_id"]
    frozen = pl.col("frozen_on")
    table, spoilt, key = {
        "spends": ("transaction", payment.with_columns(pl.when(last).then(noon).otherwise(c).alias(c) for c in ("authorised_at", "cleared_at")), booked["transaction_id"][-1]),
        "lives": ("customer", tables["customer"].with_columns(pl.when(holder).then(None).otherwise("deceased_on").alias("deceased_on")), mine["account_id"]),
        "early": ("customer", tables["customer"].with_columns(pl.when(holder).then(day).otherwise("deceased_on").alias("deceased_on")), mine["account_id"]),
        "half": ("account", account.with_columns(pl.when(row).then(None).otherwise(frozen).alias("frozen_on")), mine["account_id"]),
        "card": ("card", card.with_columns(pl.when(row).then(day).otherwise("cancelled_on").alias("cancelled_on")), card.filter(row)["card_id"][0]),
        "order": ("account", account.with_columns(pl.when(row).then(frozen.dt.offset_by("-1d")).otherwise("closed_on").alias("closed_on")), mine["account_id"]),
    }[wrong]  # fmt: skip
    check = "account.closes-after-freezing" if wrong == "order" else "account.frozen"
    found = check_tables(DOMAIN, {**tables, table: spoilt}, set(tables) - {"label"}).filter(check=check)
    assert key in found["row_key"].to_list()
    assert check_tables(DOMAIN, tables, set(tables) - {"label"}).filter(check=check).is_empty()
