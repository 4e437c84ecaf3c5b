"""Accounts that are closed: what is pending is booked, and what is left is paid out, or made good, by their holder's account elsewhere."""

from __future__ import annotations

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ...core.domain import Block
from ...core.schema import Schema
from ...core.stream import join_rows
from ...core.tables import ROW, Tables, concat, filled, is_there, picked, plain
from .calendar import DAY, HOUR
from .currencies import FOREIGN, received_by_other
from .draws import keep, moves
from .flows import OWN_ELSEWHERE
from .holdings import ACCOUNTS, COUNTERPARTY, CURRENT, ESTATE
from .life import FOREVER, NEVER, left_on, told_on
from .payments import complete, fact_types
from .people import CIRCLE
from .statements import MISSED, posted

CLOSING = 76
"""The kind of flow of pay-outs: see `flows`."""
BOOKED, CHANGED, PAID_OUT = 6 * HOUR, 10 * HOUR, 12 * HOUR
"""When, on the day: pending payments are booked by the first, currencies changed at the second, balances paid out at the third."""


def closing(schema: Schema):
    """The step that ends the accounts of those who leave, so that nothing is left on them. A refund that would come later goes elsewhere."""
    types = fact_types(schema)

    def run(block: Block, tables: Tables) -> Tables:
        last = -(-block.last // CIRCLE) * CIRCLE
        members = np.arange(block.first, last, dtype=np.uint64)
        left, dead = left_on(block, members), told_on(block, members) < NEVER
        if (left == NEVER).all():
            return {"transaction": tables["transaction"]}
        closed = np.where(left < NEVER, left * DAY, FOREVER)
        payment, concerned = _settled(block, tables["transaction"], closed)
        made = posted(block, payment[concerned], tables["account"], tables[MISSED], closing=True)
        if made is not None:
            concerned = np.append(concerned, payment.height + np.arange(made.height))
            payment = concat([payment, made])
        account = tables["account"].filter(pl.col("closed_on").is_not_null())
        # few accounts are closed: what concerns them is looked at apart, and the many rows beside it are put together once
        such, out = payment[concerned], []
        for place in (pl.col("type") == "currency", pl.col("type") != "currency"):
            mine = account.filter(place)
            held = _held(block, such, mine, tables["account"])
            out.append(complete(_paid_out(block, mine, held, closed, dead), types))
            such = concat([such, out[-1]])
        return {"transaction": concat([payment, *out])}

    return run


def _settled(block: Block, payment: pl.DataFrame, closed: NDArray[np.int64]) -> tuple[pl.DataFrame, NDArray[np.int64]]:
    """The payments, of which those on accounts to be closed are booked, or given back, by then; and where these stand."""
    own = payment["account_id"].to_numpy() // ACCOUNTS - block.first
    other = filled(payment["counterparty_account_id"], -1) // ACCOUNTS - block.first
    other = np.where(other < 0, own, other)
    due = np.minimum(closed[own], closed[other]) + BOOKED
    few = np.flatnonzero(due < FOREVER)
    cleared, undone = (filled(picked(payment[c], few), 0) for c in ("cleared_at", "reversed_at"))
    late, never = few[cleared > due[few]], few[undone > due[few]]
    settled = payment.with_columns(
        payment["cleared_at"].scatter(late, due[late]),
        *(payment[c].scatter(never, None) for c in ("reversed_at", "reversal", "reversed_minor")),
    )
    return settled, few


def _held(block: Block, payment: pl.DataFrame, mine: pl.DataFrame, account: pl.DataFrame) -> NDArray[np.int64]:
    """What each of some accounts holds when all payments are booked, in minor units."""
    ids = mine["account_id"].to_numpy()
    such = payment.filter(pl.any_horizontal(pl.col(c).is_in(ids) for c in ("account_id", "counterparty_account_id")))
    own, other = (filled(such[c], -1) for c in ("account_id", "counterparty_account_id"))
    sign = plain(such["direction"]).astype(np.int64) * 2 - 1
    amount = such["amount_minor"].to_numpy() * sign
    back = filled(such["reversed_minor"], 0) * sign
    booked, undone = (is_there(such[c]) for c in ("cleared_at", "reversed_at"))
    at = such["authorised_at"].to_numpy()
    legs = []
    for side, change, factor in ((own, amount, 1), (other, -sign * received_by_other(block, such, account), -1)):
        here = booked & np.isin(side, ids)
        legs += [(here, side, change, at, 0), (here & undone, side, back * -factor, at, 1)]
    holder, _, change, _, _ = moves(legs)
    held = mine["opening_balance_minor"].to_numpy().copy()
    np.add.at(held, np.searchsorted(ids, holder), change)
    return held


def _paid_out(
    block: Block, mine: pl.DataFrame, held: NDArray[np.int64], closed: NDArray[np.int64], dead: NDArray[np.bool_]
) -> pl.DataFrame:
    """A payment of all that each account holds: into the holder's current account if it is in another currency, else to the account elsewhere, or to who
    winds up the estate of one of the dead; what is missing comes from there."""
    mine, held = mine.filter(pl.Series(held != 0)), held[held != 0]
    ids = mine["account_id"].to_numpy()
    unit = (ids // ACCOUNTS).astype(np.uint64)
    changed, inward = ids % ACCOUNTS == FOREIGN, held < 0
    late = dead[unit.astype(np.int64) - block.first]
    payee = np.where(late, ESTATE, COUNTERPARTY + OWN_ELSEWHERE)
    at = (
        closed[unit.astype(np.int64) - block.first] + np.where(changed, CHANGED, PAID_OUT) + ids % ACCOUNTS * 60_000_000
    )
    return pl.DataFrame(
        {
            ROW: join_rows(join_rows(unit, CLOSING), ids % ACCOUNTS),
            "account_id": ids,
            # the first device of a customer was there before the window; the bank itself pays out what the dead have left
            "device_row": keep(join_rows(unit, np.zeros(len(unit), np.int64)), ~inward & ~late),
            "counterparty_row": keep(join_rows(unit, payee), ~changed),
            "counterparty_account_id": keep(unit.astype(np.int64) * ACCOUNTS + CURRENT, changed),
            "channel": np.where(changed, "exchange", "transfer"),
            "type": np.where(changed, "FORX/SPOT", np.where(inward, "RCDT/ESCT", "ICDT/ESCT")),
            "direction": np.where(inward, "CRDT", "DBIT"),
            "amount_minor": np.abs(held),
            "currency": mine["currency"],
            "authorised_at": at,
            "cleared_at": at + 30_000_000,
        }
    )
