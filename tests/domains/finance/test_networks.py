"""Groups of one operator over time: mules and machines come again, parties live on, some payments fail, and all of it is labelled."""

from __future__ import annotations

import polars as pl
import pytest

from populace.core.dataset import Dataset, generate
from populace.core.plan import make_plan
from populace.core.spec import ScenarioRequest, Spec
from populace.domains.finance import DOMAIN

GROUPS, MULES, POOL, MACHINES = 4, 4, 8, 2


@pytest.fixture(scope="module")
def network() -> Dataset:
    """Two operators of four groups each, whose payments are stopped and recalled more often than is usual."""
    asked = (ScenarioRequest("mule-network", {"count": 2}),)
    often = {"laundering.stopped": 0.2, "laundering.returned": 0.4, "device.shared": 1.0}
    tables = ("transaction", "counterparty", "device", "account", "customer")
    return generate(make_plan(Spec("finance", size=240, seed=8, scenarios=asked, settings=often, only=tables), DOMAIN))


def groups(data: Dataset) -> pl.DataFrame:
    """Every labelled payment with its operator, its group, and the machine that it was sent from."""
    label = data.frames["label"].filter(table="transaction")
    group = label.filter(pl.col("effect").str.starts_with("group-")).select(
        "row_key", "instance", "role", group=pl.col("effect").str.slice(6).cast(pl.Int64)
    )
    flow = label.filter(~pl.col("effect").str.starts_with("group-")).select("row_key", "effect")
    device = data.frames["device"].select("device_id", "fingerprint")
    return (
        group.join(flow, on="row_key")
        .join(data.frames["transaction"], left_on="row_key", right_on="transaction_id", maintain_order="left")
        .join(device, on="device_id", how="left")
        .sort("instance", "authorised_at")
    )


def test_every_payment_and_party_is_labelled_with_its_group(network: Dataset):
    label = network.frames["label"].filter(table="transaction")
    paid = groups(network)
    assert paid.height == label["row_key"].n_unique()
    for (_, _), each in paid.filter(effect="feed").group_by("instance", "group"):
        assert each.height == MULES
    party = network.frames["label"].filter(table="account")
    assert party.filter(effect="party", role="mule").group_by("instance").len()["len"].to_list() == [POOL] * 2
    told = party.filter(pl.col("effect").str.starts_with("group-"), role="mule").select(
        "instance", group=pl.col("effect").str.slice(6).cast(pl.Int64), account_id="row_key"
    )
    seen = paid.filter(effect="feed").select("instance", "group", "account_id")
    assert told.sort(told.columns).equals(seen.sort(seen.columns))


def test_groups_follow_each_other_and_share_mules(network: Dataset):
    fed = groups(network).filter(effect="feed")
    for (_,), operator in fed.group_by("instance"):
        first = operator.group_by("group").agg(pl.col("authorised_at").min()).sort("group")["authorised_at"]
        assert first.is_sorted()
        assert (first[-1] - first[0]).days > 30
        takes = {g: set(x["account_id"]) for (g,), x in operator.group_by("group")}
        for g in range(1, GROUPS):
            assert 0 < len(takes[g] & takes[g + 1]) < MULES
        assert len(set().union(*takes.values())) == POOL


def test_mules_pay_from_the_operators_machines_which_come_again(network: Dataset):
    passed = groups(network).filter(effect="collect")
    customer = pl.col("account_id") // 8
    shared = passed.group_by("instance", "fingerprint").agg(
        customers=customer.n_unique(), groups=pl.col("group").n_unique(), n=pl.len()
    )
    shared = shared.filter(pl.col("customers") > 1)
    assert shared.height == 2 * MACHINES
    assert (shared["groups"] > 1).all()
    assert shared["n"].sum() == 2 * GROUPS * (MULES - 1), "all but one of each group"
    # a machine is one kind of thing wherever it is seen
    device = network.frames["device"].group_by("fingerprint").agg(pl.col("type", "os", "ip").n_unique())
    assert device.select(pl.col("type", "os", "ip").max()).row(0) == (1, 1, 1)


def test_households_share_machines_too(network: Dataset):
    labelled = network.frames["label"].filter(table="device")["row_key"]
    device = network.frames["device"].filter(~pl.col("device_id").is_in(labelled.implode()))
    owner = network.frames["customer"].select("customer_id", "household_id")
    wide = (
        device.join(owner, on="customer_id")
        .group_by("fingerprint")
        .agg(pl.col("customer_id", "household_id").n_unique())
    )
    assert (wide["customer_id"] > 1).sum() > 0
    assert wide["household_id"].max() == 1


def test_parties_live_on_and_know_each_payee_once(network: Dataset):
    paid = groups(network)
    mules = paid.filter(effect="feed")["account_id"].unique()
    own = network.frames["transaction"].filter(pl.col("account_id").is_in(mules.implode()))
    genuine = own.filter(~pl.col("transaction_id").is_in(paid["row_key"].implode()))
    assert genuine["account_id"].n_unique() == len(mules)
    assert genuine.height > 3 * paid.height
    party = network.frames["counterparty"].filter(pl.col("customer_id").is_in((mules // 8).implode()))
    assert not party.select("customer_id", "iban").is_duplicated().any()


def test_some_are_stopped_some_recalled_some_recovered_in_part(network: Dataset):
    paid = groups(network)
    stopped, whole, part = (paid.filter(effect=e) for e in ("stopped", "recalled", "partly-recovered"))
    assert min(stopped.height, whole.height, part.height) > 0
    assert (stopped["status"] == "declined").all()
    made = paid.filter(~pl.col("effect").is_in(["stopped", "recalled", "partly-recovered"]))
    again = stopped.join(made, on=["instance", "group", "account_id", "counterparty_id", "amount_minor"])
    assert again["row_key"].n_unique() == stopped.height, "what was stopped is made again"
    assert (again["authorised_at_right"] > again["authorised_at"]).all()
    # it comes back the other way: on the account that got it, from there to whoever sent it
    out = made.with_columns(paid=pl.col("amount_minor"), at=pl.col("authorised_at"), way=pl.col("direction"))
    keys = ["instance", "group", "account_id", "counterparty_id"]
    for back, such in (
        (whole, pl.col("amount_minor") == pl.col("paid")),
        (part, pl.col("amount_minor") < pl.col("paid")),
    ):
        from_outside = back.filter(pl.col("counterparty_account_id").is_null())
        pair = from_outside.join(out.select(*keys, "paid", "at", "way"), on=keys).filter(
            pl.col("way") != pl.col("direction")
        )
        pair = pair.filter((pl.col("authorised_at") - pl.col("at")).dt.total_days() >= 1)
        assert pair.filter(such)["row_key"].n_unique() == from_outside.height


def test_amounts_hops_and_delays_vary_between_groups(network: Dataset):
    paid = groups(network)
    fed = paid.filter(effect="feed").group_by("instance", "group").agg(pl.col("amount_minor").median())
    assert fed["amount_minor"].n_unique() == fed.height
    ways = paid.group_by("instance", "group").agg(relayed=(pl.col("effect") == "relay").any())
    assert 0 < ways["relayed"].sum() < ways.height
    both = (
        paid.filter(pl.col("effect").is_in(["leave", "leave-last"]))
        .group_by("instance", "group")
        .agg(pl.col("effect").n_unique())
    )
    assert (both["effect"] == 1).all(), "the money leaves once"


def test_an_onboarded_mule_plays_on_an_account_that_was_opened_for_it():
    asked = (ScenarioRequest("mule-onboarding", {"count": 5}),)
    data = generate(make_plan(Spec("finance", size=120, seed=5, scenarios=asked), DOMAIN))
    plain = generate(make_plan(Spec("finance", size=120, seed=5), DOMAIN))
    label = data.frames["label"]
    opened = label.filter(table="account", effect="new-account").join(
        data.frames["account"], left_on="row_key", right_on="account_id", coalesce=False
    )
    assert opened.height == 5
    assert set(label.filter(table="account", effect="party")["row_key"]) == set(opened["account_id"])
    paid = data.frames["transaction"].join(opened.select("account_id", "opened_on"), on="account_id")
    assert paid["transaction_id"].is_in(label.filter(table="transaction")["row_key"].implode()).all(), "nothing else"
    wait = paid.group_by("account_id").agg(
        (pl.col("authorised_at").min().dt.date() - pl.col("opened_on").first()).dt.total_days().alias("days")
    )
    assert wait["days"].is_between(1, 10).all()
    # what their customers had before stays as it is
    kept = plain.frames["transaction"].select("transaction_id", "amount_minor", "balance_after_minor", "authorised_at")
    assert kept.join(data.frames["transaction"], on=kept.columns, how="anti", nulls_equal=True).is_empty()
    assert data.validate().is_empty()
