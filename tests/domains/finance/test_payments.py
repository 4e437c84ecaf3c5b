"""What a payments engineer looks at first: machines, acquirers, chargebacks, settlement days."""

from __future__ import annotations

import datetime as dt
import math

import polars as pl
import pytest
from lxml import etree

from populace.core.checks import check_tables
from populace.core.dataset import Dataset, generate
from populace.core.plan import make_plan
from populace.core.scenario import parse_request
from populace.core.spec import Spec
from populace.domains.finance import DOMAIN

from .test_calendar import works

P = DOMAIN.priors
ABUSED = ("refund-abuse:count=2", "friendly-fraud:count=4", "application-fraud:count=2", "credit-bust-out:count=2", "stolen-card-data:count=4", "atm-cash-out")  # fmt: skip


@pytest.fixture(scope="module")
def abused() -> Dataset:
    asked = tuple(parse_request(s) for s in ABUSED)
    return generate(make_plan(Spec("finance", size=200, seed=5, scenarios=asked), DOMAIN))


def charged(data: Dataset, scenario: str) -> pl.DataFrame:
    label = data.frames["label"].filter(scenario=scenario, table="transaction")
    return label.select("effect", transaction_id="row_key").join(data.frames["transaction"], on="transaction_id")


def test_a_machine_gives_notes_of_ten_up_to_its_limit(base: Dataset, abused: Dataset):
    for data in (base, abused):
        drawn = data.frames["transaction"].filter(channel="atm")
        assert (drawn["amount_minor"] % 1000 == 0).all()
        for currency, country in (("GBP", "GB"), ("EUR", "DE")):
            most = drawn.filter(currency=currency)["amount_minor"]
            assert most.max() <= P("cash.machine_limit_minor")[country]
    assert most.len() > 10


def test_a_business_is_paid_what_it_takes_by_its_acquirer_and_draws_no_salary(base: Dataset):
    frames = base.frames
    payment = frames["transaction"].join(frames["account"].select("account_id", "customer_id", "type"), on="account_id")
    payment = payment.join(
        frames["customer"].select("customer_id", "income_minor", "opened_on", "closed_on"), on="customer_id"
    )
    assert set(payment.filter(channel="salary")["type_right"].cast(pl.String)) == {"current"}
    taken = payment.filter(channel="acquiring", type="MCRD/POSP")
    assert set(taken["type_right"].cast(pl.String)) == {"business"}
    assert (taken["direction"] == "CRDT").all()
    there = taken.filter(pl.col("opened_on") < pl.date(2025, 1, 1), pl.col("closed_on").is_null())
    each = there.group_by("account_id").agg(pl.len(), pl.sum("amount_minor"), pl.first("income_minor"))
    # 125 working days of England in the window, 124 of Germany
    assert set(each["len"]) <= {123, 124, 125, 126}
    months = 181 / 30.4375
    assert (each["amount_minor"] / each["income_minor"] / months).mean() == pytest.approx(1, abs=0.05)
    monday = there["authorised_at"].dt.weekday() == 1
    # which pay out three days
    assert there.filter(monday)["amount_minor"].mean() > 2 * there.filter(~monday)["amount_minor"].mean()


def test_who_says_that_somebody_else_paid_disputes_it_as_fraud_and_nobody_else_does(abused: Dataset):
    told = abused.frames["fraud_report"]["transaction_id"]
    dispute = abused.frames["dispute"].with_columns(told=pl.col("transaction_id").is_in(told.implode()))
    assert dispute["told"].sum() > 10
    assert ((dispute["reason"].cast(pl.String) == "10.4") == dispute["told"]).all()


def test_abuse_of_refunds_is_refunded_friendly_fraud_charged_back_and_a_bank_bears_what_it_lent(abused: Dataset):
    sent_back, disputed, lent, busted, stolen = (
        charged(abused, s)
        for s in ("refund-abuse", "friendly-fraud", "application-fraud", "credit-bust-out", "stolen-card-data")
    )
    kinds = [set(f["reversal"].cast(pl.String).drop_nulls()) for f in (sent_back, disputed, lent, busted, stolen)]
    assert kinds == [{"refund"}, {"chargeback"}, set(), set(), {"chargeback"}]
    assert (sent_back["status"] == "reversed").mean() > 0.8
    reported = abused.frames["fraud_report"].filter(pl.col("transaction_id").is_in(lent["transaction_id"].implode()))
    assert reported.height > 5
    assert reported["charged_back_at"].null_count() == reported.height


def test_banks_settle_on_days_on_which_they_work_unless_at_once(base: Dataset):
    order = base.frames["credit_transfer"].join(base.frames["transaction"], on="transaction_id")
    order = order.filter(pl.col("cleared_at").is_not_null())
    at_once = pl.col("scheme").cast(pl.String).is_in(["BOOK", "FPS", "SCT-INST"])
    assert (order.filter(at_once)["settled_on"] == order.filter(at_once)["cleared_at"].dt.date()).all()
    late = 0
    for settled, booked, money in (
        order.filter(~at_once).select("settled_on", pl.col("cleared_at").dt.date(), "currency").rows()
    ):
        zone = ("GBP", "EUR").index(money)
        day = booked
        while not works(day, zone):
            day += dt.timedelta(days=1)
        assert settled == day
        late += day > booked
    assert late > 50


def test_files_between_banks_are_of_settlement_days(base: Dataset):
    few = base.frames["credit_transfer"].filter(pl.col("scheme").cast(pl.String).is_in(["SCT", "SWIFT"]))
    few = few.filter(pl.col("settled_on").is_between(dt.date(2025, 4, 17), dt.date(2025, 4, 23)))
    from populace.domains.finance.views.iso20022 import interbank

    tables = {**base.frames, "credit_transfer": few}
    days = set()
    for text in interbank(DOMAIN.schema, tables)["text"]:
        root = etree.fromstring(text.encode())
        days |= {e.text for e in root.iterfind(".//{*}IntrBkSttlmDt")}
    # Easter: nothing from Good Friday to Monday
    assert days == {"2025-04-17", "2025-04-22", "2025-04-23"}


def test_a_settlement_on_a_sunday_or_before_the_booking_is_found(base: Dataset):
    order = base.frames["credit_transfer"]
    slow = order.with_row_index("n").filter(scheme="SCT").drop_nulls("settled_on")["n"][0]
    for day in (dt.date(2025, 6, 29), dt.date(2020, 1, 6), None):
        settled = pl.when(pl.int_range(pl.len()) == slow).then(pl.lit(day, pl.Date)).otherwise("settled_on")
        tables = {**base.frames, "credit_transfer": order.with_columns(settled_on=settled)}
        found = check_tables(DOMAIN, tables, set(tables) - {"label"})
        assert found.filter(check="credit_transfer.order")["row_key"].to_list() == [order["credit_transfer_id"][slow]]


def test_what_is_usually_drawn_at_a_branch_is_not_saved_too():
    """Else accounts would sink by it, month after month: they save as much less, or bring in as much more."""
    kept = []
    for often in (0.0, 2.0):
        spec = Spec("finance", size=60, seed=4, end="2025-03-01", settings={"cash.withdrawals_per_month": often})
        payment = generate(make_plan(spec, DOMAIN)).frames["transaction"]
        saved, brought = (payment.filter(type=t)["amount_minor"].sum() for t in ("ICDT/STDO", "RCDT/ESCT"))
        kept.append(saved - brought)
    each = math.exp(P("purchase.log_mean")["cash"] + P("purchase.log_sigma")["cash"] ** 2 / 2) * 100
    assert kept[0] - kept[1] == pytest.approx(60 * 2 * 2 * each, rel=0.05)


def by_card(data: Dataset) -> pl.DataFrame:
    """Card payments with the next one on the card."""
    paid = data.frames["transaction"].filter(pl.col("card_id").is_not_null()).sort("card_id", "authorised_at")
    following = [
        pl.col(c).shift(-1).over("card_id").alias(f"next_{c}")
        for c in ("amount_minor", "merchant_id", "response_code", "authorised_at")
    ]
    return paid.with_columns(following)


def test_after_a_wrong_pin_comes_the_same_payment_and_mostly_passes(base: Dataset):
    wrong = by_card(base).filter(response_code="55")
    assert wrong.height > 100
    assert set(wrong["entry_mode"].cast(pl.String)) == {"05"}
    assert wrong["cleared_at"].is_null().all()
    assert (wrong["channel"] != "card-not-present").all()
    again = wrong.filter(
        pl.col("next_amount_minor") == pl.col("amount_minor"), pl.col("next_merchant_id") == pl.col("merchant_id")
    )
    assert again.height > 0.6 * wrong.height
    assert (again["next_authorised_at"] - again["authorised_at"]).max() < dt.timedelta(minutes=1)
    assert again["next_response_code"].is_in(["00", "51"]).all()
    assert (again["next_response_code"] == "00").mean() > 0.9


def test_refusals_have_the_shares_of_their_place(base: Dataset):
    """Which answers there are where; those that retries come with are left out, and cash machines, where the limit of a day refuses too."""
    card = base.frames["transaction"].filter(pl.col("response_code").is_not_null())
    for channel, prior, codes in (
        ("card-not-present", "purchase.declined_online", ("41", "43", "54")),
        ("card-present", "purchase.declined", ("05", "61", "65", "91")),
    ):
        answers = card.filter(channel=channel)["response_code"].cast(pl.String)
        assert set(answers) - {"00", "51", "55"} == P(prior).keys() - {"55"}
        share, n = sum(P(prior)[c] for c in codes), len(answers)
        assert answers.is_in(codes).mean() == pytest.approx(share, abs=4 * math.sqrt(share / n))


def test_what_is_tried_on_a_card_after_its_report_is_refused_as_lost_or_stolen():
    asked = (parse_request("lost-or-stolen-card:count=40"),)
    data = generate(make_plan(Spec("finance", size=200, seed=6, end="2025-04-01", scenarios=asked), DOMAIN))
    spree = charged(data, "lost-or-stolen-card")
    own = data.frames["fraud_report"].join(spree.select("transaction_id"), on="transaction_id", how="semi")
    first = own.group_by("account_id").agg(since=pl.col("reported_at").min())
    told = spree.join(first, on="account_id", how="left").with_columns(
        after=(pl.col("authorised_at") > pl.col("since")).fill_null(False),
        gone=pl.col("response_code").cast(pl.String).is_in(["41", "43"]),
    )
    after = told.filter("after")
    assert after.height > 20
    assert after["gone"].all()
    assert after["cleared_at"].is_null().all()
    assert after.group_by("card_id").agg(pl.col("response_code").n_unique())["response_code"].max() == 1
    assert told.filter(~pl.col("after"))["gone"].mean() < 0.02
    assert not own["transaction_id"].is_in(after["transaction_id"].implode()).any()


def test_a_copied_card_is_swiped_also_where_its_pin_is_wrong():
    asked = tuple(parse_request(s) for s in ("atm-cash-out:count=4", "skimmed-card:count=30"))
    often = {"purchase.declined": {**P("purchase.declined"), "55": 0.2}}
    data = generate(
        make_plan(Spec("finance", size=300, seed=1, end="2025-03-01", scenarios=asked, settings=often), DOMAIN)
    )
    copied = pl.concat([charged(data, "atm-cash-out"), charged(data, "skimmed-card")])
    wrong = copied.filter(response_code="55")
    assert wrong["entry_mode"].cast(pl.String).is_in(["05", "90"]).all()
    assert (wrong["entry_mode"] == "90").sum() > 20
