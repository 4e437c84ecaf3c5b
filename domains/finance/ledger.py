"""What follows from the facts: keys, references, the double-entry ledger, running balances.

A ledger is kept per customer account, as a journal of pairs: each pair posts to the account and, with the opposite sign, to one of the bank's own
accounts. A transfer between two customers is two pairs, A to transfer clearing and transfer clearing to B, each in the journal of its own account. So
every journal balances by itself, and a block makes the journals of its own accounts without asking another block for a row.
"""

from __future__ import annotations

import numpy as np
import polars as pl

from ...core.derive import arrange, key_of, number, rank
from ...core.domain import Block, Step
from ...core.schema import Schema
from ...core.tables import ROW, Tables, filled, is_there, plain
from .calendar import DAY
from .currencies import received_by_other
from .draws import enum, keep, moves
from .holdings import ACCOUNTS

PURPOSE = {
    "card-present": "card-settlement",
    "card-not-present": "card-settlement",
    "atm": "cash",
    "transfer": "transfer-clearing",
    "salary": "transfer-clearing",
    "direct-debit": "direct-debit-clearing",
    "fee": "fee-income",
    "cash": "cash",
    "cheque": "cheque-clearing",
    "wallet": "wallet-settlement",
    "loan": "transfer-clearing",
    "interest": "interest-income",
    "exchange": "exchange-position",
    "acquiring": "card-settlement",
}
"""The bank's own account that each channel settles through."""
OPENING, BOOKING, REVERSAL = 0, 1, 2


def identities(schema: Schema) -> tuple[Step, ...]:
    """The steps that give keys in order of time, so that a key says nothing about how its row came to be, and what goes by keys."""

    def numbered(name: str, order: str) -> Step:
        def run(_: Block, tables: Tables) -> Tables:
            return {name: number(tables[name], schema[name], order)}

        return Step(f"{name}-number", (name,), run, (f"{name}.{schema[name].within}", f"{name}.{order}"))

    def referring(name: str) -> Step:
        def run(_: Block, tables: Tables) -> Tables:
            payment = tables["transaction"]
            found = key_of(payment[f"{name}_row"], tables[name], f"{name}_id")
            return {"transaction": payment.with_columns(found.alias(f"{name}_id"))}

        needs = (f"transaction.{name}_row", f"{name}.{name}_id")
        return Step(f"{name}-used", (f"transaction.{name}_id",), run, needs)

    def referred(block: Block, tables: Tables) -> Tables:
        payment = tables["transaction"]
        reference = block.stream.child("transaction", "reference").bits(payment[ROW].to_numpy()) >> np.uint64(1)
        return {"transaction": payment.with_columns(pl.Series("transaction_ref", reference.astype(np.int64)))}

    def standing(_: Block, tables: Tables) -> Tables:
        cleared, reversed_at = pl.col("cleared_at"), pl.col("reversed_at")
        status = pl.Enum(schema["transaction"].columns["status"].codes)
        payment = tables["transaction"].with_columns(
            pl.when(reversed_at.is_not_null())
            .then(pl.lit("reversed", status))
            .when(cleared.is_not_null())
            .then(pl.lit("booked", status))
            .when(pl.col("response_code") == "00")
            .then(pl.lit("approved", status))
            .otherwise(pl.lit("declined", status))
            .alias("status"),
            (cleared // DAY).cast(pl.Int32).cast(pl.Date).alias("booked_on"),
        )
        return {"transaction": payment}

    outcome = ("transaction.cleared_at", "transaction.reversed_at", "transaction.response_code")
    return (
        numbered("device", "first_seen_at"),
        numbered("counterparty", "added_at"),
        numbered("transaction", "authorised_at"),
        referring("device"),
        referring("counterparty"),
        Step("reference", ("transaction.transaction_ref",), referred, ("transaction.transaction_id",)),
        Step("status", ("transaction.status", "transaction.booked_on"), standing, outcome),
    )


JOURNAL = "_journal"
"""What is posted, in order of account and time, before it is written as pairs: account (from the block's first on), place of the transaction
(-1 for openings), change, when, why, balance after, and the number within the account."""


def balances(block: Block, tables: Tables) -> Tables:
    """The step that posts every payment, and so knows each transaction's `balance_after_minor`."""
    payment, account = tables["transaction"], tables["account"]
    first, span = block.first * ACCOUNTS, (block.last - block.first) * ACCOUNTS
    own = payment["account_id"].to_numpy() - first
    other = filled(payment["counterparty_account_id"], -1) - first
    sign = plain(payment["direction"]).astype(np.int64) * 2 - 1
    signed = payment["amount_minor"].to_numpy() * sign
    received = received_by_other(block, payment, account) * -sign
    back = filled(payment["reversed_minor"], 0) * sign
    cleared, undone = (filled(payment[c], 0) for c in ("cleared_at", "reversed_at"))
    booked, reversed_ = (is_there(payment[c]) for c in ("cleared_at", "reversed_at"))
    legs = []
    for posted, change, factor in ((own, signed, 1), (other, received, -1)):
        here = booked & (posted >= 0) & (posted < span)
        legs.append((here, posted, change, cleared, BOOKING))
        legs.append((here & reversed_, posted, back * -factor, undone, REVERSAL))
    opening = account["account_id"].to_numpy() - first
    holder, source, amount, at, kind = moves(legs, room=len(opening))
    begun = slice(len(holder) - len(opening), None)
    holder[begun], source[begun], amount[begun] = opening, -1, account["opening_balance_minor"].to_numpy()
    came = plain(account["opened_on"]).astype(np.int64) * DAY
    # in whole seconds, which sort faster; what is opened stands before what is booked in the same one, for it has no payment
    at[begun], kind[begun] = np.maximum(block.window.start, came), OPENING
    order = arrange(holder, at, source, kind)
    at[begun] = np.maximum(block.window.start - 1, came)
    holder, source, amount, at, kind = holder[order], source[order], amount[order], at[order], kind[order]
    total = np.cumsum(amount)
    k = rank(holder)
    balance = total - (total - amount)[np.arange(len(k)) - k]
    after = np.zeros(payment.height, np.int64)
    mine = (kind == BOOKING) & (holder == own[source]) if payment.height else np.zeros(len(k), bool)
    after[source[mine]] = balance[mine]
    return {
        "transaction": payment.with_columns(keep(after, booked).alias("balance_after_minor")),
        JOURNAL: pl.DataFrame(
            {
                "holder": holder,
                "source": source,
                "amount": amount,
                "at": at,
                "kind": kind,
                "balance": balance,
                "k": k,
            }
        ),
    }


def postings(schema: Schema):
    """The step that makes `ledger_entry`: the journal in pairs."""
    spec = schema["ledger_entry"]
    purposes, currencies = (list(schema.code_lists[name].codes) for name in ("purpose", "currency"))
    channels = schema["transaction"].columns["channel"].codes
    through = np.array([purposes.index(PURPOSE[c]) for c in channels])

    def run(block: Block, tables: Tables) -> Tables:
        payment, account = tables["transaction"], tables["account"]
        first, span = block.first * ACCOUNTS, (block.last - block.first) * ACCOUNTS
        holder, source, amount, at, kind, balance, k = (column.to_numpy() for column in tables[JOURNAL])
        opening = account["account_id"].to_numpy() - first
        currency = plain(account["currency"]).astype(np.int64)
        of_holder = np.zeros(span, np.int64)
        of_holder[opening] = currency
        money = of_holder[holder]
        purpose = through[plain(payment["channel"])[source]] if payment.height else np.zeros(len(k), np.int64)
        internal = np.where(kind == OPENING, 0, purpose) * len(currencies) + money
        reference = payment["transaction_ref"].to_numpy()[source] if payment.height else np.zeros(len(k), np.int64)
        bank = np.zeros(2 * len(k), bool)
        bank[1::2] = True
        journal = np.repeat(holder + first, 2)
        entry = pl.DataFrame(
            {
                "ledger_entry_id": journal * spec.fan + np.repeat(2 * k, 2) + bank,
                "account_id": journal,
                "internal_account_id": keep(np.repeat(internal, 2), bank),
                "transaction_ref": keep(np.repeat(reference, 2), np.repeat(kind != OPENING, 2)),
                "kind": enum(np.repeat(kind, 2), spec.columns["kind"].codes),
                "amount_minor": np.repeat(amount, 2) * np.where(bank, -1, 1),
                "currency": enum(np.repeat(money, 2), currencies),
                "booked_at": np.repeat(at, 2),
                "balance_minor": keep(np.repeat(balance, 2), ~bank),
            }
        )
        return {"ledger_entry": entry}

    return run
