"""Each scenario shows its typology's pattern, and nothing about a row's form gives it away."""

from __future__ import annotations

import itertools

import polars as pl
import pytest

from populace.core.dataset import Dataset, generate
from populace.core.plan import make_plan
from populace.core.scenario import parse_request
from populace.core.spec import Spec
from populace.domains.finance import DOMAIN


def labelled(data: Dataset, effect: str, table: str = "transaction") -> pl.DataFrame:
    """The labelled rows of one effect, with their scenario's columns."""
    key = DOMAIN.schema[table].key
    rows = data.frames["label"].filter((pl.col("effect") == effect) & (pl.col("table") == table))
    return rows.join(data.frames[table], left_on="row_key", right_on=key, how="inner", coalesce=False)


def test_a_mule_ring_closes_and_shrinks(bank: Dataset):
    moves = pl.concat([labelled(bank, effect) for effect in ("hop", "out", "back")])
    iban = dict(bank.frames["counterparty"].select("counterparty_id", "iban").iter_rows())
    assert moves.height == 3 * 8
    for _, ring in moves.group_by("instance"):
        ring = ring.sort("authorised_at")
        assert ring["effect"].to_list() == ["hop"] * 6 + ["out", "back"]
        payer, payee = ring["account_id"].to_list(), ring["counterparty_account_id"].to_list()
        assert payee[:6] == payer[1:7], "each pays the next"
        assert iban[ring["counterparty_id"][6]] == iban[ring["counterparty_id"][7]], "the last one at another bank"
        assert payer[7] == payer[0], "which pays the first"
        assert len({a // 8 for a in payer}) == 7, "seven different customers"
        amounts = ring["amount_minor"].to_list()
        assert all(a > b for a, b in itertools.pairwise(amounts))
        assert amounts[-1] > amounts[0] * 0.96**7 * 0.9
        cleared, sent = ring["cleared_at"].to_list(), ring["authorised_at"].to_list()
        assert len({b - a for a, b in itertools.pairwise(sent)}) == 7, "delays vary"
        assert all(c >= s for c, s in zip(cleared, sent, strict=True))


def test_every_hop_is_booked_on_both_sides(bank: Dataset):
    hops = labelled(bank, "hop")
    entry = bank.frames["ledger_entry"].filter(pl.col("internal_account_id").is_null())
    for hop in hops.iter_rows(named=True):
        legs = entry.filter(transaction_ref=hop["transaction_ref"])
        assert dict(zip(legs["account_id"], legs["amount_minor"], strict=True)) == {
            hop["account_id"]: -hop["amount_minor"],
            hop["counterparty_account_id"]: hop["amount_minor"],
        }


def test_card_testing_is_a_burst_then_purchases(bank: Dataset):
    tests, purchases = labelled(bank, "test"), labelled(bank, "purchase")
    assert tests.height == 2 * 5 * 8
    assert purchases.height == 2 * 5 * 2
    for (instance,), attack in tests.group_by("instance"):
        assert attack["merchant_id"].n_unique() == 1
        assert attack["card_id"].n_unique() == 5
        for _, card in attack.group_by("card_id"):
            assert (card["authorised_at"].max() - card["authorised_at"].min()).total_seconds() < 600
        later = purchases.filter(instance=instance)
        assert later["authorised_at"].min() > attack["authorised_at"].max()
        assert later["amount_minor"].median() > 10 * attack["amount_minor"].median()
    assert 0.6 < (tests["status"] == "declined").mean() < 0.9


def test_a_takeover_goes_device_contact_payee_drain(bank: Dataset):
    drains = labelled(bank, "drain")
    assert drains.height == 3 * 4
    for (instance,), rows in drains.group_by("instance"):
        device, customer, payee = (
            labelled(bank, effect, table).filter(instance=instance, scenario="account-takeover")
            for effect, table in (
                ("new-device", "device"),
                ("contact-change", "customer"),
                ("new-payee", "counterparty"),
            )
        )
        steps = [
            device["first_seen_at"][0],
            customer["contact_changed_at"][0],
            payee["added_at"][0],
            rows["authorised_at"].min(),
        ]
        assert steps == sorted(steps)
        assert len(set(steps)) == 4
        assert set(rows["device_id"]) == {device["device_id"][0]}
        assert rows["counterparty_id"].n_unique() == 1
        assert (rows["authorised_at"].max() - steps[0]).total_seconds() <= 31 * 3_600
        opening = bank.frames["account"].filter(account_id=rows["account_id"][0])["opening_balance_minor"][0]
        assert rows["amount_minor"].sum() < 1.3 * opening


def test_a_skimmed_card_is_abroad_while_its_holder_pays_at_home():
    asked = (parse_request("skimmed-card:count=6"),)
    data = generate(make_plan(Spec("finance", size=120, seed=5, scenarios=asked), DOMAIN))
    skims, copies = labelled(data, "skim"), labelled(data, "counterfeit")
    assert skims.group_by("instance").agg(pl.col("merchant_id").n_unique())["merchant_id"].to_list() == [1] * 6
    assert not copies["country"].cast(pl.String).is_in(["GB", "DE"]).any()
    assert set(copies["entry_mode"].cast(pl.String)) == {"90"}
    present = data.frames["transaction"].filter(pl.col("channel").is_in(["card-present", "atm"]))
    own = present.filter(pl.col("country").is_in(["GB", "DE"])).select("account_id", at="authorised_at").sort("at")
    near = copies.sort("authorised_at").join_asof(
        own, left_on="authorised_at", right_on="at", by="account_id", strategy="nearest", check_sortedness=False
    )
    hours = (near["at"] - near["authorised_at"]).dt.total_minutes().abs() / 60
    assert (hours < 6).sum() > 5, "nobody travels so fast"


def test_parameters_are_obeyed():
    spec = Spec(
        "finance",
        size=60,
        end="2025-02-15",
        scenarios=(
            parse_request("mule-ring:hops=12,count=1,fee=0.1"),
            parse_request("card-testing:cards=2,attempts=5,purchases=0,declined=1.0,count=1"),
        ),
    )
    data = generate(make_plan(spec, DOMAIN))
    assert labelled(data, "hop").height == 11  # and the twelfth pays the account elsewhere
    tests = labelled(data, "test")
    assert tests.height == 10
    assert (tests["status"] == "declined").all()
    assert labelled(data, "purchase").is_empty()


@pytest.mark.parametrize("effect", ["hop", "out", "back", "drain", "test", "purchase"])
def test_form_does_not_give_a_scenario_away(bank: Dataset, effect: str):
    """Which columns are null, and which codes stand together, occur in the base population too."""
    payment = bank.frames["transaction"]
    marked = bank.frames["label"].filter(table="transaction")["row_key"]
    codes = ["channel", "type", "direction", "status", "response_code", "entry_mode"]
    form = [pl.col(c) for c in codes] + [
        pl.col(c).is_null().alias(f"no_{c}") for c in payment.columns if c not in codes
    ]
    base = payment.filter(~pl.col("transaction_id").is_in(marked.implode())).select(form).unique()
    mine = (
        payment.filter(pl.col("transaction_id").is_in(labelled(bank, effect)["row_key"].implode()))
        .select(form)
        .unique()
    )
    assert mine.height > 0
    assert mine.join(base, on=mine.columns, how="anti", nulls_equal=True).is_empty()


def test_references_and_keys_do_not_tell_inserted_rows(bank: Dataset):
    marked = bank.frames["label"].filter(table="transaction")["row_key"]
    payment = bank.frames["transaction"]
    top = payment["transaction_ref"] > 2**62
    inserted = payment["transaction_id"].is_in(marked.implode())
    assert 0.3 < top.filter(inserted).mean() < 0.7
    ordered = payment.select(pl.col("authorised_at").diff().over("account_id").dt.total_seconds() >= 0).to_series()
    assert ordered.drop_nulls().all(), "keys count up in time, whoever made the row"


@pytest.mark.parametrize(("country", "money"), [("GB", "GBP"), ("DE", "EUR")])
def test_a_bank_of_one_country_plays_the_scenarios_of_both(country: str, money: str):
    told = {"customer.country": {c: float(c == country) for c in ("GB", "DE")}}
    asked = tuple(parse_request(f"{name}:count=1") for name in ("fan-in", "fan-out", "insider", "romance-scam"))
    data = generate(make_plan(Spec("finance", size=120, end="2025-03-01", scenarios=asked, settings=told), DOMAIN))
    assert data.validate().is_empty()
    label = (
        data.frames["label"].filter(table="account", effect="party").select(account_id="row_key", scenario="scenario")
    )
    played = label.join(data.frames["account"], on="account_id")
    assert played["scenario"].n_unique() == len(asked)
    assert set(played["currency"].cast(pl.String)) == {money}
