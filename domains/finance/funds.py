"""Customers spend what they have: a debit that the account cannot bear is declined when it is asked for."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ...core.derive import arrange, rank
from ...core.domain import Block
from ...core.schema import Schema
from ...core.tables import Tables, filled, is_there, only, plain
from .calendar import DAY, HOUR
from .currencies import received_by_other
from .deceased import arranged, returned
from .draws import Leg, moves
from .holdings import ACCOUNTS
from .holdings import CREDIT as CREDIT_CARD
from .life import FOREVER, NEVER, joined_on, last_used, left_on, stopped
from .people import CIRCLE
from .statements import LOOKED_AT, MISSED, SETTLES, Cards, Cycle, moved, repaid_at

CREDIT, BACK, DEBIT, CHARGE = range(4)
"""Why an account moves, in the order of one moment: money comes in, is released or refunded, is asked for; is taken by the bank without asking."""
INSUFFICIENT = "51"


def funds(schema: Schema):
    """The step that declines what passes the arranged limit: `response_code` 51 for cards, neither cleared nor reversed for all.

    Judged is the available balance: what was booked in by then, less all that was authorised by then. The booked balance is never
    less, for a debit clears after it was authorised; so no booking takes an account below its limit. What other customers send is not
    counted on, so that what one can bear depends on nobody else; nor is what disputes bring back. Payments to customers beyond the size of the dataset count, and go then.
    What credit cards are paid and cost hangs on what was not refused before: it is judged with them, but made later (`statements`).
    """
    codes = schema["transaction"].columns["response_code"].dtype

    def run(block: Block, tables: Tables) -> Tables:
        payment = _while_they_are_there(block, tables["transaction"])
        refused, missed = _refused(block, payment, tables["account"])
        if -(-block.last // CIRCLE) * CIRCLE > block.size:
            there = (payment["counterparty_account_id"].fill_null(0) < block.size * ACCOUNTS).to_numpy()
            payment, refused = payment.filter(pl.Series(there)), refused[there]
        if not refused.any():
            return {"transaction": payment, MISSED: missed}
        off = pl.Series(refused)
        card = off & payment["response_code"].is_not_null()
        return {
            MISSED: missed,
            "transaction": payment.with_columns(
                pl.when(~off).then(pl.col("cleared_at")).alias("cleared_at"),
                *(pl.when(~off).then(pl.col(c)).alias(c) for c in ("reversed_at", "reversal", "reversed_minor")),
                pl.when(card)
                .then(pl.lit(INSUFFICIENT, codes))
                .otherwise(pl.col("response_code"))
                .alias("response_code"),
            ),
        }

    return run


JUDGED = ("account_id", "merchant_id", "channel", "type", "direction", "authorised_at")
"""What is looked at of the payments of those who come or go."""


def _while_they_are_there(block: Block, payment: pl.DataFrame) -> pl.DataFrame:
    """The payments of accounts that are there: from the day after their holders came to the day that they leave for another bank or die, on either side. What
    was arranged before a death is paid until the bank is told; a direct debit that comes later is returned unpaid, and does not come again."""
    last = -(-block.last // CIRCLE) * CIRCLE  # whoever of the circle is beyond the dataset comes when they would
    members = np.arange(block.first, last, dtype=np.uint64)
    joined, until = joined_on(block, members), last_used(block, members)
    comes_or_goes = (joined != NEVER) | (until < block.window.end)
    if not comes_or_goes.any():
        return payment
    begin = np.where(joined == NEVER, BEFORE, (joined + 1) * DAY)
    own = payment["account_id"].to_numpy() // ACCOUNTS - block.first
    other = filled(payment["counterparty_account_id"], -1) // ACCOUNTS - block.first
    other = np.where(other < 0, own, other)
    # few come or go: the many payments beside theirs are looked at no further
    few = np.flatnonzero(comes_or_goes[own] | comes_or_goes[other])
    theirs = only(payment.select(JUDGED), few)
    at, there = theirs["authorised_at"].to_numpy(), np.ones(payment.height, bool)
    goes_on, told = arranged(theirs), stopped(block, members)
    there[few] = np.logical_and.reduce(
        [(at >= begin[who[few]]) & (at < np.where(goes_on, told[who[few]], until[who[few]])) for who in (own, other)]
    )
    unpaid = few[returned(theirs, told[own[few]], left_on(block, members)[own[few]])]
    if len(unpaid):
        there[unpaid] = True
        payment = payment.with_columns(payment["cleared_at"].scatter(unpaid, None))
    return payment.filter(pl.Series(there))


def _refused(block: Block, payment: pl.DataFrame, account: pl.DataFrame) -> tuple[NDArray[np.bool_], pl.DataFrame]:
    """Which payments are refused, and which payments of cards."""
    first, span = block.first * ACCOUNTS, (block.last - block.first) * ACCOUNTS
    start, floor = np.zeros(span, np.int64), np.zeros(span, np.int64)
    held = account["account_id"].to_numpy() - first
    start[held] = account["opening_balance_minor"].to_numpy()
    floor[held] = -account["overdraft_limit_minor"].to_numpy()
    cards = Cards(block, account)
    floor[CREDIT_CARD::ACCOUNTS] += cards.reserve

    own = payment["account_id"].to_numpy() - first
    other = filled(payment["counterparty_account_id"], -1) - first
    holder = own // ACCOUNTS
    amount, received = payment["amount_minor"].to_numpy(), received_by_other(block, payment, account)
    debit = plain(payment["direction"]) == 0
    cleared, undone = (is_there(payment[c]) for c in ("cleared_at", "reversed_at"))
    moments = {c: filled(payment[c], 0) for c in ("authorised_at", "cleared_at", "reversed_at")}
    back = filled(payment["reversed_minor"], 0)
    legs = (
        (debit & (cleared | undone), own, -amount, moments["authorised_at"], DEBIT),
        (~debit & cleared, own, amount, moments["cleared_at"], CREDIT),
        (debit & cleared & (other // ACCOUNTS == holder), other, received, moments["cleared_at"], CREDIT),
        (debit & undone, own, back, moments["reversed_at"], BACK),
    )
    bought = np.flatnonzero(((own & (ACCOUNTS - 1)) == CREDIT_CARD) & cleared)
    ((whose, when, change, which),) = moved(block, payment.select(LOOKED_AT)[bought], CREDIT_CARD)
    which, none = bought[which], np.zeros(cards.on.shape, bool)
    cycle = cards.cycle(*cards.periods.sums(whose, when, change), none)
    hung = _of_cards(block, cards, cycle)
    since, held_then = _at_risk(block, start, floor, (*legs, *hung))
    again = since < _weeks(block)
    # before it nothing is refused, or what is refused stands
    begin = np.where(since > 0, block.window.start + since * WEEK, BEFORE)
    some: list[Leg] = [(such & again[holder], who, much, at, why) for such, who, much, at, why in legs]
    columns, refused = list[NDArray](moves(some)), np.zeros(payment.height + none.size + 1, bool)
    missed, risky = refused[payment.height : -1].reshape(none.shape), again
    # what is refused in a month changes what is paid in the next: until nothing does
    while True:
        columns = _from_then_on(columns, again, begin)
        theirs = moves([(such & again[who // ACCOUNTS], who, much, at, why) for such, who, much, at, why in hung])
        theirs = _from_then_on(theirs, again, begin)
        theirs[1] = np.where(theirs[4] == CHARGE, none.size, theirs[1]) + payment.height
        both: list[NDArray] = [np.concatenate([a, b]) for a, b in zip(columns, theirs, strict=True)]
        if again is not risky:
            wrong = _first_wrong(held_then, floor, refused, both)
            again = again & (wrong < FOREVER)
            begin = np.where(again, wrong, begin)
            held_then = held_then + _moved_until(begin, refused, both, len(held_then))
            both = _from_then_on(both, again, begin)
        if not again.any():
            break
        _, source, _, _, kind = both
        refused[source[kind == DEBIT]] = False
        missed[again] &= cycle.asked[again] > 0
        _scan(held_then, floor, refused, both)
        kept = ~refused[which]
        new = cards.cycle(*cards.periods.sums(whose[kept], when[kept], change[kept]), missed)
        other = [(a != b).any(axis=1) for a, b in zip(new.moved(), cycle.moved(), strict=True)]
        again = again & np.any(other, axis=0)
        cycle, hung = new, _of_cards(block, cards, new)
    at = np.nonzero(missed)
    gone = pl.DataFrame({"account_id": (at[0] + block.first) * ACCOUNTS + CREDIT_CARD, "cut": at[1]})
    return refused[: payment.height], gone


BEFORE = -(1 << 62)
"""A moment before all others."""


def _from_then_on(columns: Sequence[NDArray], again: NDArray[np.bool_], begin: NDArray[np.int64]) -> list[NDArray]:
    """The moves of some customers from a moment of each on."""
    who = columns[0] // ACCOUNTS
    late = np.flatnonzero(again[who] & (columns[3] >= begin[who]))
    return [column[late] for column in columns]


def _moved_until(
    end: NDArray[np.int64], refused: NDArray[np.bool_], columns: Sequence[NDArray], accounts: int
) -> NDArray[np.int64]:
    """What each account's moves before a moment of its customer come to."""
    holder, source, change, at, _ = columns
    early = (at < end[holder // ACCOUNTS]) & ~refused[source]
    return np.rint(np.bincount(holder[early], change[early], accounts)).astype(np.int64)


def _first_wrong(
    held: NDArray, floor: NDArray, refused: NDArray[np.bool_], columns: Sequence[NDArray]
) -> NDArray[np.int64]:
    """When for the first time some of what was refused of each customer could be borne, or some of what was not could not, FOREVER of most: all of their
    moves are added up at once, which costs a fraction of a scan."""
    holder, source, change, at, kind = columns
    order = arrange(holder, at, kind, source)
    holder, no, change, at, asks = holder[order], refused[source[order]], change[order], at[order], kind[order] == DEBIT
    moved = np.where(no, 0, change)
    total = np.cumsum(moved)
    first = np.arange(len(holder)) - rank(holder)
    after = held[holder] + total - (total - moved)[first] + np.where(no, change, 0)
    wrong = asks & ((after >= floor[holder]) == no)
    found = np.full(len(held) // ACCOUNTS, FOREVER)
    np.minimum.at(found, holder[wrong] // ACCOUNTS, at[wrong])
    return found


def _of_cards(block: Block, cards: Cards, cycle: Cycle) -> tuple[Leg, ...]:
    """What payments of cards and their charges move; a leg's places are those of the cycle."""
    who = np.repeat(np.arange(len(cycle.on)), cycle.on.shape[1])
    cut = np.tile(np.arange(cycle.on.shape[1]), len(cycle.on))
    asked, charge = cycle.asked.ravel(), (cycle.interest + cycle.fee).ravel()
    at = repaid_at(block, who, cut, np.where(asked > 0, cycle.on.ravel(), 0))
    end = cards.periods.cut.ravel() * DAY + HOUR
    current = who * ACCOUNTS
    return (
        (asked > 0, current, -asked, at, DEBIT),
        (asked > 0, current + CREDIT_CARD, asked, at + SETTLES, CREDIT),
        (charge > 0, current + CREDIT_CARD, -charge, end, CHARGE),
    )


WEEK = 7 * DAY


def _week(block: Block, at: NDArray[np.int64]) -> NDArray[np.int64]:
    """The week of the window; what comes before counts for the first, what comes later for the last."""
    return np.clip((at - block.window.start) // WEEK, 0, _weeks(block) - 1)


def _weeks(block: Block) -> int:
    return max(1, -(-(block.window.end - block.window.start) // WEEK))


def _at_risk(
    block: Block, start: NDArray, floor: NDArray, legs: Sequence[Leg]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """For each customer the first week in which an account could pass its limit, as it would if all that is asked for in it came before all that comes in
    (before it nothing is declined; of most customers nothing ever is: the week after the last); and what each account holds when it begins."""
    weeks = _weeks(block)
    asked, given = np.zeros((2, len(start) * weeks))
    for such, who, much, when, why in legs:
        at = np.flatnonzero(such)
        moved = np.bincount(who[at] * weeks + _week(block, when[at]), much[at], len(asked))
        if why in (DEBIT, CHARGE):
            asked += moved
        else:
            given += moved
    asked, given = asked.reshape(-1, weeks), given.reshape(-1, weeks)
    upto = start[:, None] + np.cumsum(asked + given, axis=1)
    passed = (upto - given < floor[:, None]) & (asked < 0)
    of_customer = np.any(passed.reshape(-1, ACCOUNTS, weeks), axis=1)
    since = np.where(np.any(of_customer, axis=1), np.argmax(of_customer, axis=1), weeks)
    begin = np.repeat(since, ACCOUNTS)
    held = np.where(begin > 0, upto[np.arange(len(upto)), np.maximum(begin, 1) - 1], start)
    return since, held.astype(np.int64)


def _scan(start: NDArray, floor: NDArray, refused: NDArray[np.bool_], columns: Sequence[NDArray]) -> None:
    """Says which payments are refused: the n-th moves of all customers are decided in one array operation, n by n. The columns are those of `draws.moves`."""
    holder, source, change, at, kind = columns
    balance = start.copy()
    order = arrange(holder // ACCOUNTS, at, kind, source)
    turn = rank(holder[order] // ACCOUNTS)
    many = np.bincount(turn)
    order = order[np.argsort(turn.astype(np.uint16) if len(many) <= 1 << 16 else turn, kind="stable")]
    holder, source, change, asks = holder[order], source[order], change[order], kind[order] == DEBIT
    if len(holder) < SPARED * len(many):
        _one_by_one(refused, balance, floor, holder, source, change, asks)
        return
    # what is not asked for passes no limit
    limit = np.where(asks, floor[holder], np.iinfo(np.int64).min)
    ends = np.cumsum(many)
    # what hangs on another move of its payment: it comes only if that one was not refused
    hangs = np.logical_or.reduceat(~asks, ends - many)
    upto = 0
    for end, hanging in zip(ends.tolist(), hangs.tolist(), strict=True):
        here = slice(upto, end)
        upto = end
        who, which = holder[here], source[here]
        after = balance[who] + change[here]
        no = after < limit[here]
        if hanging:
            no |= refused[which]
        if np.count_nonzero(no):  # a tenth of what `any` costs
            refused[which[no]] = True
            who, after = who[~no], after[~no]
        balance[who] = after


SPARED = 12
"""Moves that are decided one by one in the time that an array operation takes for all of a turn."""


def _one_by_one(
    refused: NDArray[np.bool_],
    balance: NDArray[np.int64],
    floor: NDArray[np.int64],
    holder: NDArray,
    source: NDArray,
    change: NDArray,
    asks: NDArray[np.bool_],
) -> None:
    """The same for few moves, in an order in which each customer's stand in turn."""
    held, least, no = balance.tolist(), floor.tolist(), {*source[refused[source]].tolist()}
    for who, which, much, asked in zip(holder.tolist(), source.tolist(), change.tolist(), asks.tolist(), strict=True):
        after = held[who] + much
        if which in no or (asked and after < least[who]):
            no.add(which)
        else:
            held[who] = after
    refused[list(no)] = True
