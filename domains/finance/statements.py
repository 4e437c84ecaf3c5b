"""What accounts earn and cost by the month: credit cards' statements, payments and interest, and the interest that savings bear."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ...core.domain import Block, Step
from ...core.stream import join_rows
from ...core.tables import ROW, Tables, concat, filled, plain
from .calendar import DAY, HOUR, micros, month_after, months, working_day
from .flows import CHARGED, CREDITED, LATE, OWN_CREDIT, REPAID, Part, Some, Words, joined
from .holdings import ACCOUNTS, COUNTERPARTY, CREDIT, SAVINGS
from .life import NEVER
from .parties import CURRENCIES
from .people import COUNTRIES

MISSED = "_missed"
"""Payments of cards that the account they come from could not bear: account, and which statement of the window."""
YEAR = 365
LONGEST = 31
"""Days of a month at most."""


@dataclass(frozen=True)
class Periods:
    """The periods of accounts of one place, one row for each customer of the block, one column for each cut: days since 1970. The first column lies before the
    window, and what begins before the window begins with it."""

    cut: NDArray[np.int64]
    """The day that a period ends before; all that is booked until then counts."""
    posts: NDArray[np.bool_]
    """Whether something is posted on it."""
    first: NDArray[np.int64]
    """The first day of each month, and (`day`) on which day of it the accounts are cut."""
    day: NDArray[np.int64]

    def sums(self, who: NDArray, when: NDArray, change: NDArray) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """What moves in each period, and that times the days from then to its end."""
        shape = (len(self.cut), len(self.first) + 1)
        date = np.maximum(when // DAY, self.first[0])
        month = np.minimum(np.searchsorted(self.first, date, side="right") - 1, len(self.first) - 1)
        at = np.minimum(month + (date - self.first[month] + 1 >= self.day[who]), len(self.first))
        # what moves on the day of closing and later is in no period
        end = np.append(self.cut, self.cut[:, -1:], axis=1)[who, at]
        left = np.maximum(end - date, 0)
        cell = who * shape[1] + at
        found = (np.bincount(cell, x, shape[0] * shape[1]).reshape(shape)[:, :-1] for x in (change, change * left))
        total, weighted = (np.rint(x).astype(np.int64) for x in found)
        return total, weighted


def _periods(block: Block, day: NDArray[np.int64], closed: NDArray[np.int64]) -> Periods:
    """Months from a day (1 to 28) on; accounts that are closed are cut on that day for the last time."""
    window = block.window
    around = [month_after(months(window)[0], -1), *months(window)]
    first = np.array([micros(m) // DAY for m in [*around, month_after(around[-1], 1)]])
    cut = first[None, :] + day[:, None] - 1
    posts = (cut * DAY >= window.start) & (cut * DAY + HOUR < window.end) & (cut < closed[:, None])
    last = np.argmax(cut >= closed[:, None], axis=1)
    ends = np.flatnonzero(closed < NEVER)
    posts[ends, last[ends]] = True
    return Periods(np.clip(cut, window.start // DAY, closed[:, None]), posts, first, day)


@dataclass(frozen=True)
class Cycle:
    """What becomes of credit accounts: (customers, cuts), days since 1970 and minor units; what does not happen is 0."""

    on: NDArray[np.int64]
    """When the payment of the statement before is made, within each period; NEVER where none is."""
    asked: NDArray[np.int64]
    interest: NDArray[np.int64]
    fee: NDArray[np.int64]

    def moved(self) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
        """What it moves."""
        return self.asked, self.interest, self.fee


class Cards:
    """The credit accounts of a block's customers. Statements are by booked balance at the end of a day, interest by the balance at the end of each day: a
    period is two sums, of what moves and of what moves times the days that are left, and all accounts pass through their periods together."""

    def __init__(self, block: Block, account: pl.DataFrame) -> None:
        p, n = block.priors, block.last - block.first
        self.block = block
        card = account.filter(pl.col("repays").is_not_null())
        self.who = card["customer_id"].to_numpy() - block.first

        def spread(values: NDArray, none: float = 0) -> NDArray:
            found = np.full(n, none, values.dtype)
            found[self.who] = values
            return found

        self.there = spread(np.ones(len(self.who), bool))
        self.rate = spread(card["annual_rate"].to_numpy())
        self.opening = spread(card["opening_balance_minor"].to_numpy())
        self.kind = spread(plain(card["repays"]).astype(np.int64))
        self.part = spread(filled(card["repayment_minor"], 0))
        self.zone = spread(plain(card["currency"]).astype(np.int64))
        self.wait = spread(card["due_days"].to_numpy().astype(np.int64))
        # nothing is asked of the dead, nor charged, once the bank is told
        ends = np.minimum(*(filled(card[c], NEVER).astype(np.int64) for c in ("frozen_on", "closed_on")))
        closed = spread(ends, NEVER)
        self.periods = _periods(block, spread(card["statement_day"].to_numpy().astype(np.int64), 1), closed)
        self.share, self.least = p("card.minimum")["share"], p("card.minimum")["least_minor"]
        self.late = np.array([p("card.late_fee_minor")[c] for c in COUNTRIES])[self.zone]
        limit = spread(card["overdraft_limit_minor"].to_numpy())
        self.reserve = np.where(self.there, np.ceil(limit * self.rate * LONGEST / YEAR).astype(np.int64) + self.late, 0)
        """What is not for spending, so that a month's charges fit into the limit."""
        # direct debits are collected on the last working day up to the due date
        cut, window = self.periods.cut, block.window
        nominal = self.periods.first[None, :] + self.periods.day[:, None] - 1
        on = np.full(cut.shape, NEVER)
        due = (nominal[:, :-1] + self.wait[:, None]).ravel()
        on[:, 1:] = working_day(due, np.repeat(self.zone, cut.shape[1] - 1), later=False).reshape(n, -1)
        falls = (on >= -(-window.start // DAY)) & (on < np.minimum(window.end // DAY, closed)[:, None])
        self.on = np.where(falls & self.there[:, None], on, NEVER)

    def cycle(self, moved: NDArray, weighted: NDArray, missed: NDArray[np.bool_]) -> Cycle:
        """The course of all accounts, given what else moves in each period, and which payments are not made."""
        cut, posts = self.periods.cut, self.periods.posts
        asked, interest, fee = (np.zeros(cut.shape, np.int64) for _ in range(3))
        balance, charges, carried = (
            self.opening.copy(),
            np.zeros(len(cut), np.int64),
            (self.kind > 0) & (self.opening < 0),
        )
        before = cut[:, 0]
        for n in range(cut.shape[1]):
            end, due = cut[:, n], self.on[:, n] < NEVER
            owed = np.maximum(-balance, 0)
            least = np.minimum(owed, np.maximum(np.ceil(owed * self.share).astype(np.int64) + charges, self.least))
            ask = np.choose(self.kind, [owed, np.minimum(owed, np.maximum(least, self.part)), least])
            ask = np.where(due, ask, 0)
            failed = missed[:, n] & (ask > 0)
            paid = np.where(failed, 0, ask)
            carried = np.where(due, paid < owed, carried)
            days = balance * (end - before) + weighted[:, n] + paid * np.maximum(end - self.on[:, n], 0)
            charge = np.rint(np.maximum(-days, 0) * self.rate / YEAR).astype(np.int64)
            asked[:, n] = ask
            interest[:, n] = np.where(carried & posts[:, n] & self.there, charge, 0)
            fee[:, n] = np.where(failed & posts[:, n], self.late, 0)
            charges = interest[:, n] + fee[:, n]
            balance, before = balance + moved[:, n] + paid - charges, end
        return Cycle(self.on, asked, interest, fee)


LOOKED_AT = (
    "account_id",
    "counterparty_account_id",
    "direction",
    "amount_minor",
    "cleared_at",
    "reversed_at",
    "reversed_minor",
)
Moves = tuple[NDArray, NDArray, NDArray, NDArray]
"""Whose account moves, when, by how much, and by which payment."""


def moved(block: Block, payment: pl.DataFrame, *places: int) -> list[Moves]:
    """What payments move on the accounts of the block's customers that have these places."""
    none = -(1 << 62)
    own, other = payment["account_id"].to_numpy(), filled(payment["counterparty_account_id"], none)
    signed = payment["amount_minor"].to_numpy() * (plain(payment["direction"]).astype(np.int64) * 2 - 1)
    cleared, undone = (filled(payment[c], none) for c in ("cleared_at", "reversed_at"))
    back = filled(payment["reversed_minor"], 0) * np.sign(signed)
    first, last = block.first * ACCOUNTS, block.last * ACCOUNTS
    # to divide takes ten times as long
    sides = [(side, sign, np.where((side >= first) & (side < last), side & (ACCOUNTS - 1), -1)) for side, sign in ((own, 1), (other, -1))]  # fmt: skip
    found = []
    for place in places:
        legs = []
        for side, sign, at in sides:
            here = np.flatnonzero(at == place)
            here = here[cleared[here] > none]
            gone = here[undone[here] > none]
            legs.append((side[here], cleared[here], sign * signed[here], here))
            legs.append((side[gone], undone[gone], -sign * back[gone], gone))
        account, when, change, which = (np.concatenate(x) for x in zip(*legs, strict=True))
        found.append((account // ACCOUNTS - block.first, when, change, which))
    return found


def missing(cards: Cards, gone: pl.DataFrame) -> NDArray[np.bool_]:
    """Which payments are not made, by customer and cut."""
    found = np.zeros(cards.on.shape, bool)
    found[gone["account_id"].to_numpy() // ACCOUNTS - cards.block.first, gone["cut"].to_numpy()] = True
    return found


def posted(
    block: Block, payment: pl.DataFrame, account: pl.DataFrame, gone: pl.DataFrame, closing: bool
) -> pl.DataFrame | None:
    """Payments of cards, interest and fees, in the columns of `payment`: of the accounts that are closed within the window, or of all others."""
    account = account.filter(pl.col("closed_on").is_not_null() == closing)
    spent, saved = moved(block, payment, CREDIT, SAVINGS)
    parts: list[Part] = []
    cards = Cards(block, account)
    if len(cards.who):
        sums = cards.periods.sums(*_of(cards.there, *spent))
        missed = missing(cards, gone)
        cycle = cards.cycle(*sums, missed)
        parts += [_paid(cards, cycle, missed), *_charged(cards, cycle)]
    parts.append(_borne(block, saved, account))
    parts = [part for part in parts if part.height]
    return joined(parts, payment.schema) if parts else None


def _of(
    there: NDArray[np.bool_], who: NDArray, when: NDArray, change: NDArray, _: NDArray
) -> tuple[NDArray, NDArray, NDArray]:
    mine = there[who]
    return who[mine], when[mine], change[mine]


def _rows(block: Block, kind: int, who: NDArray, cut: NDArray) -> NDArray[np.uint64]:
    """The address of what happens to a customer in the month of a cut."""
    month = months(block.window)[0]
    number = np.asarray(month.year * 12 + month.month + cut)
    return join_rows(join_rows(block.units[who], kind), number)


def repaid_at(block: Block, who: NDArray, cut: NDArray, on: NDArray) -> NDArray[np.int64]:
    """The moment at which a card is paid on a day, before business hours."""
    stream = block.stream.child("card", "repaid")
    return on * DAY + 5 * HOUR + stream.integers(_rows(block, REPAID, who, cut), 3_600) * 1_000_000


def _paid(cards: Cards, cycle: Cycle, missed: NDArray[np.bool_]) -> Part:
    """Direct debits of all that is owed or the minimum; who pays a part has a standing order."""
    block = cards.block
    who, cut = np.where(cycle.asked > 0)
    at, current = repaid_at(block, who, cut, cycle.on[who, cut]), block.units[who].astype(np.int64) * ACCOUNTS
    failed, part = missed[who, cut], cards.kind[who] == 1
    return _part(
        _rows(block, REPAID, who, cut), current, at, cycle.asked[who, cut], cards.zone[who],
        cleared_at=Some(at + SETTLES, ~failed),
        counterparty_row=join_rows(block.units[who], np.full(len(who), COUNTERPARTY + OWN_CREDIT)),
        counterparty_account_id=current + CREDIT,
        # an order names the device on which it was set up, the customer's first
        device_row=Some(join_rows(block.units[who], np.zeros(len(who), np.int64)), part),
        channel=Words(("direct-debit", "transfer"), part.view(np.uint8)),
        type=Words(("RDDT/ESDD", "ICDT/STDO"), part.view(np.uint8)), direction="DBIT",
    )  # fmt: skip


SETTLES = 30_000_000


def _charged(cards: Cards, cycle: Cycle) -> list[Part]:
    parts, block = [], cards.block
    for kind, amount, channel, code in (
        (CHARGED, cycle.interest, "interest", "INTR"),
        (LATE, cycle.fee, "fee", "CHRG"),
    ):
        who, cut = np.where(amount > 0)
        at = cards.periods.cut[who, cut] * DAY + HOUR
        card = block.units[who].astype(np.int64) * ACCOUNTS + CREDIT
        parts.append(
            _part(
                _rows(block, kind, who, cut), card, at, amount[who, cut], cards.zone[who],
                cleared_at=at, channel=channel, type=f"MDOP/{code}", direction="DBIT",
            )
        )  # fmt: skip
    return parts


def _borne(block: Block, moves: Moves, account: pl.DataFrame) -> Part:
    """What savings bear: of the balance at the end of each day, credited on the first of the next month, and when they are closed."""
    account = account.filter(pl.col("account_id") % ACCOUNTS == SAVINGS, pl.col("annual_rate").is_not_null())
    if account.is_empty():
        return Part(0, {})
    n, who = block.last - block.first, account["customer_id"].to_numpy() - block.first
    rate, balance, money, closed = np.zeros(n), np.zeros(n, np.int64), np.zeros(n, np.int64), np.full(n, NEVER)
    there = np.zeros(n, bool)
    rate[who], balance[who], there[who] = account["annual_rate"], account["opening_balance_minor"], True
    money[who] = account["currency"].to_physical()
    closed[who] = account["closed_on"].to_physical().fill_null(NEVER)
    periods = _periods(block, np.ones(n, np.int64), closed)
    total, weighted = periods.sums(*_of(there, *moves))
    bears = np.zeros(periods.cut.shape, np.int64)
    before = periods.cut[:, 0]
    for k in range(len(periods.first)):
        end = periods.cut[:, k]
        days = np.maximum(balance * (end - before) + weighted[:, k], 0)
        bears[:, k] = np.where(periods.posts[:, k], np.rint(days * rate / YEAR), 0)
        balance, before = balance + total[:, k] + bears[:, k], end
    who, cut = np.where(bears > 0)
    at = periods.cut[who, cut] * DAY + HOUR
    return _part(
        _rows(block, CREDITED, who, cut), block.units[who].astype(np.int64) * ACCOUNTS + SAVINGS, at, bears[who, cut], money[who],
        cleared_at=at, channel="interest", type="MDOP/INTR", direction="CRDT",
    )  # fmt: skip


def _part(rows: NDArray, account: NDArray, at: NDArray, amount: NDArray, money: NDArray, **columns) -> Part:
    base = {
        ROW: rows, "account_id": account, "amount_minor": amount, "currency": Words(CURRENCIES, money), "authorised_at": at,
    }  # fmt: skip
    return Part(len(rows), {**base, **columns})


def statements(block: Block, tables: Tables) -> Tables:
    """The step that pays cards and books interest when scenarios have played: of what is then on the accounts."""
    payment = tables["transaction"]
    made = posted(block, payment, tables["account"], tables[MISSED], closing=False)
    return {"transaction": payment if made is None else concat([payment, made])}


STATEMENTS = Step(
    "statement", ("transaction",), statements, (*(f"transaction.{c}" for c in LOOKED_AT), "account", MISSED)
)
