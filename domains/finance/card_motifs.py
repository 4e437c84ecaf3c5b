"""Matchers of card and account fraud: they see payments, devices and payees, and no label.

    spree       at least `times` payments on one account within `hours`
    gathering   at least `cards` accounts and `times` payments at one merchant within `hours`, of which at least `declined` are refused
                and `returned` come back
    reuse       transfers are sent from one machine on at least `accounts` accounts of different customers, the last at least `hours` after the first
    takeover    an account sends money within `hours` from a device first seen in that time, to a payee recorded after it

Which payments count: those of `channel`, `abroad`, read by `entry`, `undone` (sent or charged back), by less than `below` major units; of a gathering only those of accounts
that paid the merchant at least `each` times within the hours.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import polars as pl

from ...core.tables import Tables

Found = pl.DataFrame
HOME = ("GB", "DE")


def card_payments(tables: Tables) -> pl.DataFrame:
    """Card payments and withdrawals in order of time: what the patterns above speak of."""
    text = {c: pl.col(c).cast(pl.String) for c in ("channel", "entry_mode", "country", "response_code")}
    paid = tables["transaction"].filter(pl.col("card_id").is_not_null() & pl.col("merchant_id").is_not_null())
    return paid.select(
        "transaction_id",
        "account_id",
        "merchant_id",
        text["channel"],
        text["entry_mode"],
        abroad=~text["country"].is_in(HOME),
        refused=text["response_code"] != "00",
        undone=pl.col("reversed_at").is_not_null() & pl.col("cleared_at").is_not_null(),
        amount=pl.col("amount_minor") / 100,
        at="authorised_at",
    ).sort("at", "transaction_id")


def sessions(tables: Tables) -> pl.DataFrame:
    """Transfers sent from a device to a payee, with when each was first known."""
    device = tables["device"].select("device_id", "customer_id", "fingerprint", "first_seen_at")
    party = tables["counterparty"].select("counterparty_id", "added_at")
    sent = tables["transaction"].filter(pl.col("channel").cast(pl.String) == "transfer")
    return (
        sent.join(device, on="device_id")
        .join(party, on="counterparty_id")
        .select(
            "transaction_id",
            "account_id",
            "customer_id",
            "fingerprint",
            "first_seen_at",
            "added_at",
            at="authorised_at",
        )
        .sort("at", "transaction_id")
    )


def _counted(rows: pl.DataFrame, settings: Mapping[str, Any]) -> pl.DataFrame:
    if "channel" in settings:
        rows = rows.filter(channel=settings["channel"])
    if "entry" in settings:
        rows = rows.filter(entry_mode=settings["entry"])
    if "below" in settings:
        rows = rows.filter(pl.col("amount") < settings["below"])
    for flag in ("abroad", "undone"):
        if settings.get(flag):
            rows = rows.filter(flag)
    return rows


def _within(rows: pl.DataFrame, node: str, hours: float, wanted: pl.Expr, **found: pl.Expr) -> Found:
    """The rows in windows that end with a row and meet `wanted`, each with its match: windows of one node that overlap are one."""
    span = pl.duration(seconds=round(hours * 3_600))
    ends = (
        rows.sort(node, "at")
        .rolling("at", period=f"{max(1, round(hours * 3_600))}s", group_by=node)
        .agg(**found)
        .filter(wanted)
        .select(node, until="at")
        .unique()
        .sort("until")
    )
    hits = (
        rows.sort("at")
        .join_asof(ends, left_on="at", right_on="until", by=node, strategy="forward", check_sortedness=False)
        .filter(pl.col("until") - pl.col("at") < span)
        .sort(node, "at", "transaction_id")
    )
    apart = (pl.col(node) != pl.col(node).shift(1)) | (pl.col("at").diff() > span)
    return hits.with_columns(apart.fill_null(True).cum_sum().alias("match"))


def _spree(rows: pl.DataFrame, settings: Mapping[str, Any]) -> Found:
    rows = _counted(rows, settings)
    return _within(rows, "account_id", settings["hours"], pl.col("times") >= settings["times"], times=pl.len())


def _gathering(rows: pl.DataFrame, settings: Mapping[str, Any]) -> Found:
    rows, hours = _counted(rows, settings), settings["hours"]
    if "each" in settings:
        pair = rows.with_columns(pair=pl.struct("account_id", "merchant_id").hash())
        rows = _within(pair, "pair", hours, pl.col("n") >= settings["each"], n=pl.len()).drop("pair", "until", "match")
    wanted = (pl.col("cards") >= settings["cards"]) & (pl.col("times") >= settings.get("times", 1))
    wanted &= (pl.col("declined") >= settings.get("declined", 0.0)) & (pl.col("back") >= settings.get("returned", 0.0))
    found = {
        "cards": pl.col("account_id").n_unique(),
        "times": pl.len(),
        "declined": pl.col("refused").mean(),
        "back": pl.col("undone").mean(),
    }
    return _within(rows, "merchant_id", hours, wanted, **found)


def _takeover(rows: pl.DataFrame, settings: Mapping[str, Any]) -> Found:
    # a device is seen up to an hour before anything is done with it
    hours = pl.duration(seconds=round((settings["hours"] + 2) * 3_600))
    new = (pl.col("at") - pl.col("first_seen_at") <= hours) & (pl.col("added_at") >= pl.col("first_seen_at"))
    hits = rows.filter(new).sort("account_id", "at")
    return hits.with_columns(pl.col("account_id").rank("dense").alias("match"))


def _reuse(rows: pl.DataFrame, settings: Mapping[str, Any]) -> Found:
    wide = rows.group_by("fingerprint").agg(
        accounts=pl.col("customer_id").n_unique(),
        hours=(pl.col("at").max() - pl.col("at").min()).dt.total_seconds() / 3_600,
    )
    wide = wide.filter((pl.col("accounts") >= settings["accounts"]) & (pl.col("hours") >= settings["hours"]))
    hits = rows.join(wide, on="fingerprint", how="semi")
    return hits.with_columns(pl.col("fingerprint").rank("dense").alias("match"))


CARD_PATTERNS: Mapping[str, Callable[[pl.DataFrame, Mapping[str, Any]], Found]] = {
    "spree": _spree,
    "gathering": _gathering,
}
ACCOUNT_PATTERNS: Mapping[str, Callable[[pl.DataFrame, Mapping[str, Any]], Found]] = {
    "takeover": _takeover,
    "reuse": _reuse,
}
