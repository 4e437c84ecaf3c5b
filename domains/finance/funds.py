"""Customers spend what they have: a debit that the account cannot bear is declined when it is asked for."""

from __future__ import annotations

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ...core.derive import arrange, rank
from ...core.domain import Block
from ...core.schema import Schema
from ...core.tables import Tables
from .calendar import DAY
from .currencies import received_by_other
from .draws import moves
from .holdings import ACCOUNTS
from .life import NEVER, joined_on, last_used
from .people import CIRCLE

CREDIT, BACK, DEBIT = range(3)
"""Why an account moves, in the order of one moment: money comes in, is released or refunded, is asked for."""
INSUFFICIENT = "51"


def funds(schema: Schema):
    """The step that declines what passes the arranged limit: `response_code` 51 for cards, neither cleared nor reversed for all.

    Judged is the available balance: what was booked in by then, less all that was authorised by then. The booked balance is never
    less, for a debit clears after it was authorised; so no booking takes an account below its limit. What other customers send is not
    counted on, so that what one can bear depends on nobody else; nor is what disputes bring back. Payments to customers beyond the size of the dataset count, and go then.
    """
    codes = schema["transaction"].columns["response_code"].dtype

    def run(block: Block, tables: Tables) -> Tables:
        payment = _while_they_are_there(block, tables["transaction"])
        refused = _refused(block, payment, tables["account"])
        there = (payment["counterparty_account_id"].fill_null(0) < block.size * ACCOUNTS).to_numpy()
        if not there.all():
            payment, refused = payment.filter(there), refused[there]
        if not refused.any():
            return {"transaction": payment}
        off = pl.Series(refused)
        card = off & payment["response_code"].is_not_null()
        return {
            "transaction": payment.with_columns(
                pl.when(~off).then(pl.col("cleared_at")).alias("cleared_at"),
                *(pl.when(~off).then(pl.col(c)).alias(c) for c in ("reversed_at", "reversal", "reversed_minor")),
                pl.when(card)
                .then(pl.lit(INSUFFICIENT, codes))
                .otherwise(pl.col("response_code"))
                .alias("response_code"),
            )
        }

    return run


def _while_they_are_there(block: Block, payment: pl.DataFrame) -> pl.DataFrame:
    """The payments of accounts that are there: from the day after their holders came to the day that they leave for another bank, on either side."""
    last = -(-block.last // CIRCLE) * CIRCLE  # whoever of the circle is beyond the dataset comes when they would
    members = np.arange(block.first, last, dtype=np.uint64)
    joined, until = joined_on(block, members), last_used(block, members)
    if (joined == NEVER).all() and (until >= block.window.end).all():
        return payment
    begin = np.where(joined == NEVER, -(1 << 62), (joined + 1) * DAY)
    own, other = (payment[c].fill_null(-1).to_numpy() // ACCOUNTS for c in ("account_id", "counterparty_account_id"))
    at = payment["authorised_at"].to_numpy()
    there = np.ones(len(at), bool)
    for who in (own - block.first, np.where(other < 0, own, other) - block.first):
        there &= (at >= begin[who]) & (at < until[who])
    return payment if there.all() else payment.filter(pl.Series(there))


def _refused(block: Block, payment: pl.DataFrame, account: pl.DataFrame) -> NDArray[np.bool_]:
    first, span = block.first * ACCOUNTS, (block.last - block.first) * ACCOUNTS
    start, floor = np.zeros(span, np.int64), np.zeros(span, np.int64)
    held = account["account_id"].to_numpy() - first
    start[held] = account["opening_balance_minor"].to_numpy()
    floor[held] = -account["overdraft_limit_minor"].to_numpy()

    own = payment["account_id"].to_numpy() - first
    other = payment["counterparty_account_id"].fill_null(-1).to_numpy() - first
    amount, received = payment["amount_minor"].to_numpy(), received_by_other(block, payment, account)
    debit = payment["direction"].to_physical().to_numpy() == 0
    cleared, undone = (payment[c].is_not_null().to_numpy() for c in ("cleared_at", "reversed_at"))
    moments = {c: payment[c].fill_null(0).to_numpy() for c in ("authorised_at", "cleared_at", "reversed_at")}
    back = payment["reversed_minor"].fill_null(0).to_numpy()
    holder, source, change, at, kind = moves(
        (
            (debit & (cleared | undone), own, -amount, moments["authorised_at"], DEBIT),
            (~debit & cleared, own, amount, moments["cleared_at"], CREDIT),
            (debit & cleared & (other // ACCOUNTS == own // ACCOUNTS), other, received, moments["cleared_at"], CREDIT),
            (debit & undone, own, back, moments["reversed_at"], BACK),
        )
    )
    keep = _at_risk(start, floor, holder, source, change, at, kind)
    return _scan(start, floor, payment.height, holder[keep], source[keep], change[keep], at[keep], kind[keep])


def _at_risk(
    start: NDArray, floor: NDArray, holder: NDArray, source: NDArray, change: NDArray, at: NDArray, kind: NDArray
) -> NDArray[np.bool_]:
    """The moves of customers one of whose accounts would pass its limit if all were approved: of the others nothing is declined."""
    order = arrange(holder, at, source, kind)
    whose = holder[order]
    total = np.cumsum(change[order])
    begin = (total - change[order])[np.arange(len(whose)) - rank(whose)]
    passed = (kind[order] == DEBIT) & (start[whose] + total - begin < floor[whose])
    customer = np.zeros(len(start) // ACCOUNTS, bool)
    customer[whose[passed] // ACCOUNTS] = True
    return customer[holder // ACCOUNTS]


def _scan(
    start: NDArray,
    floor: NDArray,
    payments: int,
    holder: NDArray,
    source: NDArray,
    change: NDArray,
    at: NDArray,
    kind: NDArray,
) -> NDArray[np.bool_]:
    """Which payments are refused: the n-th moves of all customers are decided in one array operation, n by n."""
    order = arrange(holder // ACCOUNTS, at, kind, source)
    turn = rank(holder[order] // ACCOUNTS)
    order = order[np.argsort(turn)]
    holder, source, change, asks = holder[order], source[order], change[order], kind[order] == DEBIT
    refused, balance = np.zeros(payments, bool), start.copy()
    upto = 0
    for many in np.bincount(turn):
        here = slice(upto, upto := upto + int(many))
        who, which = holder[here], source[here]
        after = balance[who] + change[here]
        no = refused[which] | (asks[here] & (after < floor[who]))
        refused[which] = no
        balance[who] = np.where(no, balance[who], after)
    return refused
