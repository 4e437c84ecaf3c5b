"""Checks that a row predicate cannot say. Each holds within a customer, so a block is judged alone; each judges any dataset of this shape."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import polars as pl
from numpy.typing import NDArray

from ...core.domain import Check
from .identifiers import iban_broken, luhn_broken

Lazy = Mapping[str, pl.LazyFrame]
CUSTOMER_SIDE = pl.col("internal_account_id").is_null()


def violations(table: str, key: str, rows: pl.LazyFrame, detail: str | pl.Expr) -> pl.DataFrame:
    """What a check found: rows of a table, each with its key and what is wrong with it."""
    words = pl.lit(detail) if isinstance(detail, str) else detail
    return rows.select(pl.lit(table).alias("table"), pl.col(key).alias("row_key"), words.alias("detail")).collect()


def double_entry(tables: Lazy) -> pl.DataFrame:
    """Within a journal the postings of one reference and kind sum to zero."""
    entry = tables["ledger_entry"].collect()
    if _pairs_balance(entry):
        entry = entry.clear()
    group = ["account_id", "transaction_ref", "kind"]
    sums = entry.lazy().group_by(group).agg(pl.col("amount_minor").sum(), pl.col("ledger_entry_id").min())
    broken = sums.filter(pl.col("amount_minor") != 0)
    return violations("ledger_entry", "ledger_entry_id", broken, pl.format("postings sum to {}", "amount_minor"))


def _pairs_balance(entry: pl.DataFrame) -> bool:
    """Whether every two neighbours are one pair that sums to zero: then so do all groups, without grouping."""
    if entry.height % 2 or not entry["ledger_entry_id"].is_sorted():
        return False
    group = ("account_id", "transaction_ref", "kind")
    entry = entry.select(*group, "amount_minor")
    one, two = entry.gather_every(2), entry.gather_every(2, 1)
    same = (one[c].eq_missing(two[c]).all() for c in group)
    return all(same) and bool((one["amount_minor"] + two["amount_minor"] == 0).all())


def running_balance(tables: Lazy) -> pl.DataFrame:
    """Each posting to a customer's account moves its balance by its amount, from nothing."""
    entry = tables["ledger_entry"].filter(CUSTOMER_SIDE).sort("ledger_entry_id")
    same = pl.col("account_id").eq_missing(pl.col("account_id").shift(1))
    before = pl.when(same).then(pl.col("balance_minor").shift(1)).otherwise(0)
    off = entry.with_columns(expected=before + pl.col("amount_minor")).filter(
        pl.col("balance_minor") != pl.col("expected")
    )
    words = pl.format("balance {}, recomputed {}", "balance_minor", "expected")
    return violations("ledger_entry", "ledger_entry_id", off, words)


def posted(tables: Lazy) -> pl.DataFrame:
    """Every cleared transaction is booked on each account of its two that is here, and reversed if it was reversed."""
    sign = pl.when(pl.col("direction") == "CRDT").then(1).otherwise(-1) * pl.col("amount_minor")
    payment = tables["transaction"].filter(pl.col("cleared_at").is_not_null()).select(
        "transaction_id", "transaction_ref", "account_id", "counterparty_account_id", "balance_after_minor",
        undone=pl.col("reversed_at").is_not_null(), due=sign, back=pl.col("reversed_minor"),
    )  # fmt: skip
    entry = tables["ledger_entry"].filter(CUSTOMER_SIDE).select(
        "account_id", "transaction_ref", "kind", "amount_minor", "balance_minor"
    )  # fmt: skip
    booking, reversal = (entry.filter(pl.col("kind") == k).drop("kind") for k in ("booking", "reversal"))
    keys = ["account_id", "transaction_ref"]
    payment, booking = payment.collect(), booking.collect()
    single, double = payment["counterparty_account_id"].is_null(), payment["counterparty_account_id"].is_not_null()
    shared = booking["transaction_ref"].is_in(payment.filter(double)["transaction_ref"].implode())
    undone = payment.filter("undone").lazy()
    if _same(payment.filter(single), booking.filter(~shared)):
        payment, booking = payment.filter(double), booking.filter(shared)
    payment, booking = payment.lazy(), booking.lazy()
    owner = payment.join(booking, on=keys, how="left").filter(
        pl.col("amount_minor").ne_missing(pl.col("due"))
        | pl.col("balance_minor").ne_missing(pl.col("balance_after_minor"))
    )
    undone = undone.join(reversal, on=keys, how="left")
    undone = undone.filter(pl.col("amount_minor").ne_missing(-pl.col("due").sign() * pl.col("back")))
    payee = (
        payment.filter(pl.col("counterparty_account_id").is_not_null())
        .with_columns(account_id=pl.col("counterparty_account_id"))
        .join(tables["account"].select("account_id"), on="account_id", how="semi")
        .join(tables["exchange"].select("transaction_id", got="amount_minor"), on="transaction_id", how="left")
        .join(booking, on=keys, how="left")
        # an account in another currency receives what was changed
        .filter(pl.col("amount_minor").ne_missing(pl.coalesce(-pl.col("due").sign() * pl.col("got"), -pl.col("due"))))
    )
    return pl.concat(
        [
            violations("transaction", "transaction_id", owner, "not booked as cleared"),
            violations("transaction", "transaction_id", undone, "not booked back as reversed"),
            violations("transaction", "transaction_id", payee, "not booked on the account paid"),
        ]
    )


def _same(payment: pl.DataFrame, booking: pl.DataFrame) -> bool:
    """Whether payments with one account each are, as a set, exactly what was posted, so that none need be looked up. Sets are compared by
    two sums of row hashes, which costs a fraction of a join."""
    due = payment.select("account_id", "transaction_ref", "due", "balance_after_minor")
    done = booking.select("account_id", "transaction_ref", "amount_minor", "balance_minor")
    return due.height == done.height and due.hash_rows(1).to_numpy().sum() == done.hash_rows(1).to_numpy().sum()


def luhn(tables: Lazy) -> pl.DataFrame:
    """Card numbers pass Luhn's test."""
    return _misspelt(tables, "card", "pan", luhn_broken)


def account_iban(tables: Lazy) -> pl.DataFrame:
    """Accounts' IBANs have valid check digits."""
    return _misspelt(tables, "account", "iban", iban_broken)


def counterparty_iban(tables: Lazy) -> pl.DataFrame:
    """Counterparties' IBANs have valid check digits."""
    return _misspelt(tables, "counterparty", "iban", iban_broken)


def _misspelt(tables: Lazy, table: str, column: str, broken: Callable[[pl.Series], NDArray]) -> pl.DataFrame:
    texts = tables[table].select(f"{table}_id", column).collect()
    return violations(table, f"{table}_id", texts.filter(broken(texts[column])).lazy(), pl.col(column))


def card_valid(tables: Lazy) -> pl.DataFrame:
    """A card is used on its own account, from its issue to its last day; once it is cancelled it is refused."""
    day = pl.col("authorised_at").dt.date()
    used = (
        tables["transaction"]
        .filter(pl.col("card_id").is_not_null())
        .select("transaction_id", "card_id", "account_id", "response_code", day)
    )
    card = tables["card"].select("card_id", "issued_on", "expires_on", "cancelled_on", of="account_id")
    refused = (pl.col("response_code").cast(pl.String) != "00").fill_null(False)
    off = used.join(card, on="card_id").filter(
        (day < pl.col("issued_on"))
        | (day > pl.col("expires_on"))
        | ((day > pl.col("cancelled_on")) & ~refused)
        | (pl.col("of") != pl.col("account_id"))
    )
    return violations("transaction", "transaction_id", off, "the card was not valid for this account on this day")


def account_open(tables: Lazy) -> pl.DataFrame:
    """Nothing is asked of an account before it is opened or after it is closed."""
    day = pl.col("authorised_at").dt.date()
    payment, account = tables["transaction"], tables["account"].select("account_id", "opened_on", "closed_on")
    latest = account.select(pl.col("opened_on").max()).collect().item()
    early = payment.filter(day < pl.lit(latest, pl.Date)).select("transaction_id", "account_id", day)
    off = early.join(account, on="account_id").filter(day < pl.col("opened_on"))
    closed = payment.select("transaction_id", "account_id", day).join(
        account.filter(pl.col("closed_on").is_not_null()), on="account_id"
    )
    return pl.concat(
        [
            violations("transaction", "transaction_id", off, "before the account was opened"),
            violations(
                "transaction",
                "transaction_id",
                closed.filter(day > pl.col("closed_on")),
                "after the account was closed",
            ),
        ]
    )


def known_by_then(tables: Lazy) -> pl.DataFrame:
    """A device was seen and a counterparty recorded by the time they are used."""
    found = []
    for table, since in (("device", "first_seen_at"), ("counterparty", "added_at")):
        key = f"{table}_id"
        used = tables["transaction"].filter(pl.col(key).is_not_null()).select("transaction_id", key, "authorised_at")
        off = used.join(tables[table].select(key, since), on=key).filter(pl.col("authorised_at") < pl.col(since))
        found.append(violations("transaction", "transaction_id", off, f"before the {table} was known"))
    return pl.concat(found)


CHECKS = (
    Check("ledger.double-entry", ("ledger_entry",), "The postings of each reference sum to zero within each journal.", double_entry),
    Check("ledger.running-balance", ("ledger_entry",), "Each running balance is the one before plus the posting.", running_balance),
    Check("ledger.posted", ("transaction", "ledger_entry", "account", "exchange"), "Each cleared transaction is booked on both its accounts.", posted),
    Check("card.luhn", ("card",), "Card numbers pass Luhn's test.", luhn),
    Check("account.iban-check-digits", ("account",), "Accounts' IBANs pass ISO 7064 mod 97.", account_iban),
    Check("counterparty.iban-check-digits", ("counterparty",), "Counterparties' IBANs pass ISO 7064 mod 97.", counterparty_iban),
    Check("transaction.card-valid", ("transaction", "card"), "Cards are used on their account while they are valid.", card_valid),
    Check("transaction.account-open", ("transaction", "account"), "Accounts are used after they are opened and until they are closed.", account_open),
    Check(
        "transaction.known-by-then",
        ("transaction", "device", "counterparty"),
        "Devices and counterparties are known before they are used.",
        known_by_then,
    ),
)  # fmt: skip
