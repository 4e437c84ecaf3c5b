"""The base population against the published figures that its priors name."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from populace.core.dataset import Dataset, generate
from populace.core.evaluate.realism import Beside, Published, load_published, set_beside
from populace.core.plan import make_plan
from populace.core.scenario import parse_request
from populace.core.spec import Spec
from populace.domains.finance import DOMAIN
from populace.domains.finance.realism import _local

P = DOMAIN.priors


@pytest.fixture(scope="module")
def beside(base: Dataset) -> dict[str, Beside]:
    return {b.published.name: b for b in set_beside(DOMAIN, base.frames)[0]}


@pytest.mark.parametrize("figure", load_published(DOMAIN), ids=lambda f: f.name)
def test_a_published_figure_is_met(beside: dict[str, Beside], figure: Published):
    if figure.measure in ("fraud_value", "motifs_recovered"):
        pytest.skip("no scenario is cast in the base population")
    found = beside[figure.name]
    assert abs(found.value - figure.value) < 4 * found.error + figure.admits, (
        f"{found.value:.4g} ± {found.error:.2g}: {figure.source}"
    )


def test_every_hour_and_weekday_follows_the_published_curve(base: Dataset):
    at = _local(base.frames)["local"].dt
    hours = np.bincount(at.hour().to_numpy(), minlength=24) / len(at.hour())
    assert hours.argmax() == 17
    assert np.abs(hours - P("purchase.hour")).max() < 0.003
    days = np.bincount(at.weekday().to_numpy() - 1, minlength=7) / len(at.weekday())
    assert np.abs(days - P("purchase.weekday")).max() < 0.006


def test_typologies_are_recovered_without_their_labels():
    asked = tuple(parse_request(f"{name}:count=3") for name in ("mule-ring", "fan-in", "scatter-gather"))
    frames = generate(make_plan(Spec("finance", size=900, seed=17, scenarios=asked), DOMAIN)).frames
    assert {b.published.name: b for b in set_beside(DOMAIN, frames)[0]}["motifs"].value == 100
    # a ring whose hops are cut out is no ring
    hops = frames["label"].filter(pl.col("scenario") == "mule-ring", pl.col("table") == "transaction")["row_key"]
    cut = {**frames, "transaction": frames["transaction"].filter(~pl.col("transaction_id").is_in(hops[::3].implode()))}
    assert {b.published.name: b for b in set_beside(DOMAIN, cut)[0]}["motifs"].value < 100


def test_the_value_taken_by_fraud_is_counted_where_scenarios_were_cast(bank: Dataset):
    found = {b.published.name: b for b in set_beside(DOMAIN, bank.frames)[0]}
    label = bank.frames["label"].filter(pl.col("table") == "transaction", pl.col("scenario") == "card-testing")
    paid = bank.frames["transaction"].filter(
        pl.col("channel").cast(pl.String).is_in(["card-present", "card-not-present"])
        & pl.col("cleared_at").is_not_null()
        & (pl.col("direction") == "DBIT")
    )
    taken = paid.filter(pl.col("transaction_id").is_in(label["row_key"].implode()))["amount_minor"].sum()
    assert taken > 0
    assert found["card-fraud"].value == pytest.approx(100 * taken / paid["amount_minor"].sum())


def test_the_figures_asked_for_are_those_of_the_baskets(public_data: Path):
    stats = json.loads((public_data / "finance/retail_baskets/stats.json").read_text())
    assert P("purchase.hour") == stats["local_hour_share"]
    assert P("purchase.weekday") == stats["local_weekday_share_mon_sun"]
    assert P("purchase.log_mean")["groceries"] == pytest.approx(stats["amount_mu"], abs=0.005)
    assert P("purchase.log_sigma")["groceries"] == pytest.approx(stats["amount_sigma"], abs=0.005)


def test_the_figures_measured_on_the_baskets_are_theirs(public_data: Path):
    trips = pl.read_parquet(public_data / "finance/retail_baskets/baskets.parquet")
    stores = trips.group_by("household_id", "store_id").agg(pl.len(), first=pl.col("ts").min())
    ranked = stores.with_columns(rank=pl.col("len").rank("ordinal", descending=True).over("household_id"))
    usual = ranked.filter(pl.col("rank") <= 4).group_by("rank").agg(pl.col("len").sum()).sort("rank")["len"]
    local = pl.col("ts").dt.convert_time_zone("America/New_York")
    half = trips.with_columns(
        pl.col("ts").dt.replace_time_zone("UTC") if trips["ts"].dtype == pl.Datetime("us") else "ts"
    )
    half = half.filter(local.dt.ordinal_day() <= 181).group_by("household_id", "store_id").len()
    half = half.with_columns(
        rank=pl.col("len").rank("ordinal", descending=True).over("household_id"),
        number=pl.len().over("household_id").clip(1, 4),
    )
    homes = half.unique("household_id")["number"].value_counts(normalize=True).sort("number")["proportion"]
    assert P("purchase.usual_number") == pytest.approx(homes.to_list(), abs=0.005)
    for number, shares in enumerate(P("purchase.usual"), 1):
        first = (
            half.filter((pl.col("number") == number) & (pl.col("rank") <= number))
            .group_by("rank")
            .agg(pl.col("len").sum())
        )
        expected = (first.sort("rank")["len"] / first["len"].sum()).to_list()
        assert shares[:number] == pytest.approx(expected, abs=0.005)
    many = half.filter(number=4)
    assert P("purchase.unusual")[3] == pytest.approx(
        1 - many.filter(pl.col("rank") <= 4)["len"].sum() / many["len"].sum(), abs=0.002
    )
    gap = (
        trips.sort("household_id", "ts")
        .select(pl.col("ts").diff().over("household_id").dt.total_seconds() / 60)["ts"]
        .drop_nulls()
    )
    assert P("purchase.burst") == pytest.approx((gap < 60).mean(), abs=0.001)
    assert P("purchase.burst_minutes") == pytest.approx(gap.filter(gap < 60).mean(), abs=0.1)
    days = [31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31]
    monthly = trips.group_by(month=local.dt.month()).len().sort("month")["len"].to_numpy() / days
    assert P("purchase.month") == pytest.approx((monthly / monthly.mean()).tolist(), abs=0.001)
    each = stores.height / stores["household_id"].n_unique()
    assert 1 + P("counterparty.people") == pytest.approx(each, abs=0.05)
    assert P("transfer.favourite") == pytest.approx(np.log(each) / -np.log(usual[0] / trips.height), abs=0.05)
    middle = trips["ts"].min() + (trips["ts"].max() - trips["ts"].min()) / 2  # type: ignore[operator]
    assert P("counterparty.added_before") == pytest.approx((stores["first"] < middle).mean(), abs=0.01)


def test_the_figures_measured_on_the_bank_ledger_are_its_own(public_data: Path):
    moved = pl.read_csv(public_data / "tabular/berka/trans.csv.gz", infer_schema_length=None)
    moved = moved.with_columns(pl.col("date").str.to_date(), symbol=pl.col("k_symbol").fill_null("")).sort("trans_id")
    moved = moved.with_columns(month=pl.col("date").dt.strftime("%Y-%m")).sort(
        "account_id", "date", maintain_order=True
    )
    paid_in = moved.filter((pl.col("type") == "credit") & (pl.col("symbol") != "interest credited"))
    months = pl.col("date").max() - pl.col("date").min()
    account = (
        moved.group_by("account_id")
        .agg(months=months.dt.total_days() / 30.4375, seen=pl.col("month").n_unique())
        .join(paid_in.group_by("account_id").agg(pl.col("amount").sum(), paid=pl.col("month").n_unique()), "account_id")
    )
    assert P("salary.share") == pytest.approx((account["paid"] / account["seen"] >= 0.8).mean(), abs=0.01)
    inflow = pl.col("amount") / pl.col("months")
    account = account.filter(pl.col("months") > 6).select("account_id", "months", inflow=inflow)

    ends = moved.group_by("account_id", "month", maintain_order=True).agg(pl.col("balance").last())
    held = ends.join(account, "account_id").filter(pl.col("balance") > 0)
    log = (held["balance"] / held["inflow"]).log()
    assert P("account.opening_months_log_mean") == pytest.approx(log.mean(), abs=0.02)
    assert P("account.opening_months_log_sigma") == pytest.approx(log.std(), abs=0.02)

    sent = moved.filter(operation="remittance to another bank").join(account, "account_id")
    free = sent.filter(pl.col("symbol").str.strip_chars() == "")
    log = (free["amount"] / free["inflow"]).log()
    assert P("transfer.log_mean") - P("customer.income_log_mean") == pytest.approx(log.mean(), abs=0.02)
    assert P("transfer.log_sigma") == pytest.approx(log.std(), abs=0.02)
    rate = sent.group_by("account_id", "months").len().select((pl.col("len") / pl.col("months")).log()).to_series()
    assert P("transfer.rate_log_sigma") == pytest.approx(rate.std(), abs=0.02)

    withdrawn = pl.col("operation").is_in(["withdrawal in cash", "credit card withdrawal"]) & (pl.col("symbol") == "")
    often = moved.filter(withdrawn).group_by("account_id").len().join(account, "account_id")
    related = np.corrcoef(np.log(often["len"] / often["months"]), np.log(often["inflow"]))[0, 1]
    assert P("purchase.income_correlation") == pytest.approx(related, abs=0.02)
    cash = moved.filter(withdrawn | (pl.col("operation") == "credit in cash"))["amount"]
    assert P("transfer.round_share") == pytest.approx((cash % 100 == 0).mean(), abs=0.01)
    orders = pl.read_csv(public_data / "tabular/berka/order.csv.gz").filter(k_symbol="SIPO")["amount"]
    assert P("bill.log_sigma") == pytest.approx(orders.log().std(), abs=0.01)


def test_credit_columns_by_rule_are_like_the_public_table(base: Dataset, public_data: Path):
    real = pl.read_csv(public_data / "tabular/credit_default/train.csv.gz")
    made = base.frames["customer"]
    limit = made["credit_limit_minor"] / P("credit.minor_per_ntd")
    assert limit.log().mean() == pytest.approx(real["limit_bal"].log().mean(), abs=0.1)
    assert made["defaulted"].mean() == pytest.approx(real["default"].mean(), abs=0.04)
    assert (made["months_past_due"] > 0).mean() == pytest.approx((real["pay_0"] > 0).mean(), abs=0.04)


def test_pay_lands_once_a_month_before_work_and_never_on_a_weekend(base: Dataset):
    pay = base.frames["transaction"].filter(channel="salary")
    assert (pay["authorised_at"].dt.weekday() <= 5).all()
    assert (pay["authorised_at"].dt.hour() < 7).all()
    stays = pl.col("closed_on").is_null() & pl.col("frozen_on").is_null()
    there = base.frames["account"].filter(pl.col("opened_on") < pl.date(2025, 1, 1), stays)
    times = pay.join(there, on="account_id", how="semi").group_by("account_id").len()["len"]
    assert set(times) <= {5, 6}, "six months; a first of the month on a weekend is paid before the window"


def test_balances_stay_within_what_a_bank_would_see(base: Dataset):
    frames = base.frames
    entry = (
        frames["ledger_entry"].filter(pl.col("balance_minor").is_not_null()).join(frames["account"], on="account_id")
    )
    last = entry.group_by("account_id", "type", "overdraft_limit_minor").agg(pl.last("balance_minor"))
    current = last.filter(type="current")
    assert (current["balance_minor"] > 0).mean() > 0.75
    assert (current["balance_minor"] < -current["overdraft_limit_minor"]).mean() < 0.1
    there = frames["account"].filter(pl.col("opened_on") < pl.date(2025, 1, 1), pl.col("closed_on").is_null())
    assert last.filter(type="savings").join(there, on="account_id", how="semi")["balance_minor"].min() > 0


def test_postcodes_are_of_the_customers_city(base: Dataset):
    form = {"GB": r"^([A-Z]{1,2})\d{1,2} \d[ABD-HJLNP-UW-Z]{2}$", "DE": r"^(\d{2})\d{3}$"}
    for country, city, code in base.frames["customer"].select("country", "city", "postcode").iter_rows():
        found = re.match(form[country], code)
        assert found, code
        assert found[1] in P("place.postal")[city].split(), (city, code)
    homes = base.frames["customer"].group_by("household_id").agg(pl.col("postcode").n_unique())
    assert homes["postcode"].max() == 1


def test_incomes_are_as_published_and_lower_for_those_without_work(base: Dataset):
    people = base.frames["customer"].filter(pl.col("segment") == "retail")
    log = (people["income_minor"] / 100).log()
    assert log.median() == pytest.approx(P("customer.income_log_mean"), abs=0.08)
    assert log.std() == pytest.approx(P("customer.income_log_sigma"), abs=0.06)
    by = dict(people.group_by("employment").agg(pl.col("income_minor").median() / 100).iter_rows())
    assert by["retired"] / np.exp(log.median()) == pytest.approx(23_900 / 28_400, abs=0.1)
    assert max(by["unemployed"], by["inactive"], by["student"]) < by["retired"] < by["employed"]


def test_a_spread_that_is_set_is_the_spread_of_incomes():
    def spread(sigma: float) -> float:
        settings = {"customer.income_log_sigma": sigma, "customer.small_business": 0.0}
        data = generate(make_plan(Spec("finance", size=300, settings=settings, only=("customer",)), DOMAIN))
        return float(data.frames["customer"]["income_minor"].log().std())

    assert spread(0.0) == pytest.approx(0.0, abs=1e-9)
    assert spread(1.0) > 1.7 * spread(0.5) > 0.5


def test_merchants_abroad_are_called_as_families_there_are(bank: Dataset):
    merchant = bank.frames["merchant"]
    listed = {country: set(names.split()) for country, names in P("merchant.families").items()}
    for country, names in listed.items():
        called = merchant.filter(pl.col("country").cast(pl.String) == country)["name"]
        assert set(called.str.split(" ").list.first()) <= names
        assert called.str.split(" ").list.first().n_unique() > len(names) / 2
    british = merchant.filter(pl.col("country").cast(pl.String) == "GB")["name"].str.split(" ").list.first()
    assert not set(british) & (listed["IT"] | listed["KW"])
