"""A table of features, one row for each card payment, cash withdrawal and transfer that a customer asks for, as a bank could know them at that moment.

Nothing is from later: aggregates are over payments authorised strictly before, balances those booked strictly before, ages those of what was known by then.
Clearing, refunds and disputes of a payment are later than its authorisation, and so no feature.
"""

from __future__ import annotations

import polars as pl

from ....core.tables import Table, Tables
from .truth import labelled

ASKED = ("card-present", "card-not-present", "atm", "transfer", "wallet")
SPANS = {"1h": "1h", "24h": "24h", "7d": "7d", "30d": "30d"}


def features(tables: Tables) -> Table:
    """Columns: transaction_id, at, the payment's own facts, `n_<span>` and `sum_<span>` (payments of the account before, by number and major units), `declined_24h`,
    `merchants_7d`, `online_24h`, `abroad_7d`, `mean_30d`, `ratio_30d` (amount over that mean), `since` (seconds since the one before, null for the first),
    `times_merchant` and `times_party` (how often the account paid them before), `party_age` and `device_age` (days), `contact_age` (days since e-mail or phone was
    changed, null where it was not by then), `account_age` (days), `balance` (booked by then, major units), and the labels `fraud`, `scenario`, `instance`."""
    asked = _asked(tables)
    history = asked.select(
        "account_id", "at", "transaction_id", "amount", "declined", "online", "abroad", "merchant_id"
    )
    made = asked
    for name, period in SPANS.items():
        made = made.join(_rolled(history, name, period), on="transaction_id", how="left", maintain_order="left")
    made = _balance(tables, made)
    bad = labelled(tables)
    made = made.join(
        bad.select("transaction_id", "scenario", "instance"), on="transaction_id", how="left", maintain_order="left"
    )
    mean = pl.when(pl.col("n_30d") > 0).then(pl.col("sum_30d") / pl.col("n_30d"))
    counts = [
        c
        for c in made.columns
        if c.startswith(("n_", "sum_")) or c in ("declined_24h", "online_24h", "merchants_7d", "abroad_7d")
    ]
    return made.with_columns(mean_30d=mean, ratio_30d=pl.col("amount") / mean).select(
        "transaction_id", "at", "account_id", "customer_id", "channel", "type", "mcc", "country", "currency", "amount", "entry_mode", "three_ds",
        "response_code", "hour", "weekday", *counts, "mean_30d", "ratio_30d", "since", "times_merchant", "times_party", "party_age", "device_age",
        "contact_age", "account_age", "balance",
        pl.col("scenario").is_not_null().cast(pl.Int8).alias("fraud"), "scenario", "instance",
    )  # fmt: skip


def _asked(tables: Tables) -> Table:
    at = pl.col("authorised_at")
    account = tables["account"].select("account_id", "customer_id", "opened_on")
    customer = tables["customer"].select("customer_id", "contact_changed_at", home=pl.col("country").cast(pl.String))
    party = tables["counterparty"].select("counterparty_id", "added_at")
    device = tables["device"].select("device_id", "first_seen_at")
    code = pl.col("response_code").cast(pl.String)
    rows = (
        tables["transaction"]
        .filter(pl.col("channel").cast(pl.String).is_in(ASKED) & (pl.col("direction") == "DBIT"))
        .join(account, on="account_id", how="left", maintain_order="left")
        .join(customer, on="customer_id", how="left", maintain_order="left")
        .join(party, on="counterparty_id", how="left", maintain_order="left")
        .join(device, on="device_id", how="left", maintain_order="left")
        .sort("account_id", "authorised_at", "transaction_id")
    )

    def age(since: str) -> pl.Expr:
        days = (at - pl.col(since)).dt.total_seconds() / 86_400
        return pl.when(days >= 0).then(days)

    def times(key: str) -> pl.Expr:
        """Earlier payments to the same, those of the same moment aside."""
        known = pl.col(key).is_not_null()
        return pl.when(known).then(at.rank("min").over("account_id", key).cast(pl.Int64) - 1)

    before = at.unique(maintain_order=True)
    rows = rows.with_columns(
        at=at,
        channel=pl.col("channel").cast(pl.String),
        type=pl.col("type").cast(pl.String),
        mcc=pl.col("mcc").cast(pl.String),
        country=pl.col("country").cast(pl.String),
        currency=pl.col("currency").cast(pl.String),
        entry_mode=pl.col("entry_mode").cast(pl.String),
        three_ds=pl.col("three_ds").cast(pl.String),
        response_code=code,
        amount=(pl.col("amount_minor") / 100).round(2),
        hour=at.dt.hour(),
        weekday=at.dt.weekday(),
        declined=(code != "00").fill_null(False),
        online=pl.col("channel") == "card-not-present",
        abroad=(pl.col("country").cast(pl.String) != pl.col("home")).fill_null(False),
        times_merchant=times("merchant_id"),
        times_party=times("counterparty_id"),
        party_age=age("added_at"),
        device_age=age("first_seen_at"),
        contact_age=age("contact_changed_at"),
        account_age=(at.dt.date() - pl.col("opened_on")).dt.total_days(),
    )
    # the last moment before this one: payments of the same second do not see one another
    moments = rows.group_by("account_id", maintain_order=True).agg(before).explode("authorised_at")
    moments = moments.with_columns(since=pl.col("authorised_at").diff().over("account_id").dt.total_seconds())
    return rows.join(moments, on=["account_id", "authorised_at"], how="left", maintain_order="left")


def _rolled(history: Table, name: str, period: str) -> Table:
    """Aggregates over the span before each payment, open on the right."""
    wanted = [pl.len().alias(f"n_{name}"), pl.col("amount").sum().alias(f"sum_{name}")]
    if name == "24h":
        wanted += [pl.col("declined").sum().alias("declined_24h"), pl.col("online").sum().alias("online_24h")]
    if name == "7d":
        wanted += [
            pl.col("merchant_id").drop_nulls().n_unique().alias("merchants_7d"),
            pl.col("abroad").sum().alias("abroad_7d"),
        ]
    rolled = history.rolling("at", period=period, closed="left", group_by="account_id").agg(wanted)
    return pl.concat([history.select("transaction_id"), rolled.drop("account_id", "at")], how="horizontal")


def _balance(tables: Tables, rows: Table) -> Table:
    entry = tables["ledger_entry"].filter(pl.col("internal_account_id").is_null())
    booked = entry.select("account_id", "booked_at", balance=(pl.col("balance_minor") / 100).round(2)).sort(
        "account_id", "booked_at", maintain_order=True
    )
    # only the last posting of a moment counts
    booked = booked.unique(["account_id", "booked_at"], keep="last", maintain_order=True).sort("booked_at")
    joined = rows.sort("at").join_asof(
        booked,
        left_on="at",
        right_on="booked_at",
        by="account_id",
        strategy="backward",
        allow_exact_matches=False,
        check_sortedness=False,
    )
    return joined.sort("account_id", "at", "transaction_id")
