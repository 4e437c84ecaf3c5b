"""Everything that moves from account to account: pay, bills, transfers, standing orders, fees."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ...core.domain import Block
from ...core.schema import Schema
from ...core.stream import F64, U64, join_rows
from ...core.tables import ROW, Tables, concat
from .calendar import DAY, HOUR, curve, instants, micros, months
from .circles import contacts
from .draws import LANES, choose, keep, poisson, siblings
from .parties import ACCOUNTS, COUNTERPARTY, CREDIT, SAVINGS
from .payments import MONTH, complete, device_used, fact_types, purchase_rate
from .reference import MARKETS, bill_categories, purchase_categories

SENT, RECEIVED, SALARY, SAVED, REPAID, TOPPED_UP, FEE, BILL = range(2, 10)
INSIDE = 64
"""The kinds of flow; one for each category of bill from BILL on."""
OWN_ELSEWHERE, OWN_SAVINGS, OWN_CREDIT, PEOPLE = range(1, 5)
"""A customer's counterparties by place: 0 pays them, then come their own accounts, from PEOPLE on people."""


def transfers(schema: Schema):
    """The step that adds account-to-account payments to `transaction`."""
    types = fact_types(schema)

    def run(block: Block, tables: Tables) -> Tables:
        flows = _Flows(block, tables)
        parts = [
            *(_irregular(flows, kind) for kind in (SENT, RECEIVED, INSIDE)),
            _salaries(flows),
            *(_bills(flows, n, name) for n, name in enumerate(bill_categories(block))),
            *_standing_orders(flows),
            _fees(flows),
        ]
        made = [complete(part, types) for part in parts if part.height]
        return {"transaction": concat([tables["transaction"], *made])}

    return run


@dataclass(frozen=True)
class _List:
    """Who can be paid: laid out customer by customer, the one paid most first, each customer's first one known before the window."""

    count: NDArray[np.int64]
    rows: U64
    added: NDArray[np.int64]

    def pick(self, who: NDArray, at: NDArray, u: F64) -> NDArray[np.int64]:
        """The position of someone on each customer's list by then."""
        first = (np.cumsum(self.count) - self.count)[who]
        place = first + np.floor(u * self.count[who]).astype(np.int64)
        return np.where(self.added[place] <= at, place, first)


class _Flows:
    """What a customer's month looks like on average: the amounts that pay, repayments and savings must balance."""

    def __init__(self, block: Block, tables: Tables) -> None:
        p, units, stream = block.priors, block.units, block.stream.child("transfer")
        self.block, self.tables, self.units, self.stream = block, tables, units, stream
        customer = tables["customer"]
        self.currency = customer["currency"]
        self.zone = customer["country"].to_physical().to_numpy().astype(np.int64)
        self.business = customer["segment"].to_physical().to_numpy() == 1
        self.income = customer["income_minor"].to_numpy()
        self.paid_here = self.business | (stream.child("paid").uniform(units) < p("salary.share"))
        sigma = p("transfer.rate_log_sigma")
        spread = np.exp(sigma * stream.child("rate").normal(units) - sigma**2 / 2)
        # what one customer sends another receives: on the whole as many and as much
        self.rate = spread * p("transfer.per_month")
        people = tables["counterparty"].filter(pl.col("place") >= PEOPLE)
        elsewhere = np.bincount(people["customer_id"].to_numpy() - block.first, minlength=len(units))
        self.people = _List(elsewhere, people[ROW].to_numpy(), people["added_at"].to_numpy())
        known = contacts(block)
        here = np.bincount(known.who, minlength=len(units))
        self.contacts, self.contact = _List(here, known.rows, known.added), known.other
        # payments go to either in proportion to how many of each a customer knows
        self.inside = here / (here + elsewhere)
        self.has = {
            place: np.isin(units.astype(np.int64), tables["account"].filter(type=name)["customer_id"].to_numpy())
            for place, name in ((SAVINGS, "savings"), (CREDIT, "credit"))
        }
        mean = np.exp(
            np.array(list(p("purchase.log_mean").values())) + np.array(list(p("purchase.log_sigma").values())) ** 2 / 2
        )
        share = np.array(list(p("purchase.share").values()))
        spent = purchase_rate(block) * float(mean @ share / share.sum()) * 100
        self.on_credit = np.where(self.has[CREDIT], spent * p("purchase.credit_share"), 0.0)
        self.bills = np.stack([self.bill(n, name) for n, name in enumerate(bill_categories(block))], axis=1)
        self.left = np.where(self.paid_here, self.income, 0) - spent - self.bills.sum(axis=1)

    def bill(self, n: int, category: str) -> F64:
        """The monthly amount of a kind of bill, 0 for customers without it."""
        p, stream = self.block.priors, self.stream.child("bill", category)
        amount = (
            np.exp(p("bill.log_mean")[category] + p("bill.log_sigma") * stream.child("amount").normal(self.units)) * 100
        )
        return np.where(stream.child("has").uniform(self.units) < p("bill.count")[category], np.round(amount), 0.0)

    def monthly(self, kind: int, days: NDArray | None = None) -> tuple[NDArray[np.int64], U64, NDArray[np.int64]]:
        """For each customer and month of the window: who, the row's address, midnight of the day (1 to 28) it falls on.
        What would fall on a weekend is moved to the Friday before."""
        first = np.array([micros(m) for m in months(self.block.window)])
        number = np.array([m.year * 12 + m.month for m in months(self.block.window)], np.uint64)
        who = np.repeat(np.arange(len(self.units)), len(first))
        rows = join_rows(join_rows(self.units, kind)[:, None], number).ravel()
        day = (
            first[None, :] + (np.ones(len(self.units), np.int64) if days is None else days)[:, None] * DAY - DAY
        ).ravel()
        weekday = (day // DAY + 3) % 7
        day = day - np.maximum(weekday - 4, 0) * DAY
        within = (day >= self.block.window.start) & (day < self.block.window.end)
        return who[within], rows[within], day[within]

    def frame(
        self, who: NDArray, rows: U64, at: NDArray, cleared: NDArray, amount: NDArray, **columns: Any
    ) -> pl.DataFrame:
        """Transactions on the customers' current accounts; texts stand for a whole column."""
        same = {k: pl.lit(v) for k, v in columns.items() if isinstance(v, str)}
        own = {k: v for k, v in columns.items() if not isinstance(v, str)}
        base = {
            ROW: rows,
            "account_id": self.units.astype(np.int64)[who] * ACCOUNTS,
            "amount_minor": np.maximum(amount, 1).astype(np.int64),
            "currency": self.currency.gather(who),
            "authorised_at": at,
            "cleared_at": cleared,
        }
        return pl.DataFrame({**base, **own}).with_columns(**same)


def _irregular(flows: _Flows, kind: int) -> pl.DataFrame:
    """Transfers to people elsewhere, from them, or to acquaintances here, at hours when people bank online. Those to members of the circle beyond
    the size of the dataset are among them: their payers' other payments must not depend on the size."""
    p, block, units = flows.block.priors, flows.block, flows.units
    stream = flows.stream.child({SENT: "sent", RECEIVED: "received", INSIDE: "inside"}[kind])
    rate = flows.rate * (flows.inside if kind == INSIDE else 1 - flows.inside)
    n = poisson(stream.child("count").uniform(units), rate * block.window.days / MONTH)
    if kind == INSIDE:
        n = np.where(flows.contacts.count > 0, n, 0)
    who, k = siblings(n)
    rows = join_rows(join_rows(units, kind)[who], k)
    clock = curve(block.window, p("purchase.hour"), [1.0] * 7)
    at = instants(clock, flows.zone[who], stream.child("at").uniform(rows))
    amount = np.exp(p("transfer.log_mean") + p("transfer.log_sigma") * stream.child("amount").normal(rows)) * 100
    even = stream.child("even").uniform(rows) < p("transfer.round_share")
    amount = np.where(even, np.maximum(np.round(amount / 500), 1) * 500, np.floor(amount))
    those = flows.contacts if kind == INSIDE else flows.people
    party = those.pick(who, at, stream.child("party").uniform(rows) ** p("transfer.favourite"))
    cleared = (
        at
        + (1 + np.floor(stream.child("clear").uniform(rows) ** 4 * p("transfer.clearing_hours") * 3_600)).astype(
            np.int64
        )
        * 1_000_000
    )
    if kind == RECEIVED:
        return flows.frame(
            who, rows, at, cleared, amount,
            counterparty_row=those.rows[party], channel="transfer", type="RCDT/ESCT", direction="CRDT",
        )  # fmt: skip
    if kind == INSIDE:
        row, target = those.rows[party], pl.Series(flows.contact[party].astype(np.int64) * ACCOUNTS)
    else:
        # their own savings are one payee among the others
        own = flows.has[SAVINGS][who] & (stream.child("own").uniform(rows) < 1 / (1 + those.count[who]))
        row = np.where(own, join_rows(units, COUNTERPARTY + OWN_SAVINGS)[who], those.rows[party])
        target = keep(units.astype(np.int64)[who] * ACCOUNTS + SAVINGS, own)
    frame = flows.frame(
        who, rows, at, cleared, amount,
        counterparty_row=row,
        counterparty_account_id=target,
        device_row=device_used(block, flows.tables, who, at, stream.child("device").integers(rows, LANES).astype(np.uint16)),
        channel="transfer", direction="DBIT",
    )  # fmt: skip
    issued = (
        pl.when(pl.col("counterparty_account_id").is_null()).then(pl.lit("ICDT/ESCT")).otherwise(pl.lit("ICDT/BOOK"))
    )
    return frame.with_columns(type=issued)


def _salaries(flows: _Flows) -> pl.DataFrame:
    """Pay on its day, before business hours; a small business's takings come the same way."""
    p, stream = flows.block.priors, flows.stream.child("salary")
    days = p("salary.day")
    day = np.array([int(d) for d in days])[choose(stream.child("day").uniform(flows.units), days.values())]
    who, rows, at = flows.monthly(SALARY, day)
    at = at + 2 * HOUR + stream.child("at").integers(rows, 4 * 3_600) * 1_000_000
    frame = flows.frame(
        who, rows, at, at + 60_000_000, flows.income[who],
        counterparty_row=join_rows(flows.units[who], COUNTERPARTY),
        channel="salary", type="RCDT/SALA", direction="CRDT",
    )  # fmt: skip
    return frame.filter(pl.Series(flows.paid_here[who]))


def _bills(flows: _Flows, n: int, category: str) -> pl.DataFrame:
    """A direct debit a month to one creditor, the year's cost in equal instalments."""
    block, stream = flows.block, flows.stream.child("bill", category)
    who, rows, at = flows.monthly(BILL + n, 1 + stream.child("day").integers(flows.units, 28))
    at = at + HOUR + stream.child("at").integers(rows, 3 * 3_600) * 1_000_000
    merchant = block.reference["merchant"]
    cells = len(purchase_categories(block)) + len(bill_categories(block))
    each = len(merchant) // (MARKETS * cells)
    cell = flows.zone * cells + len(purchase_categories(block)) + n
    share = np.cumsum(merchant["popularity"].to_numpy()[:each])
    creditor = cell * each + np.minimum(np.searchsorted(share, stream.child("creditor").uniform(flows.units)), each - 1)
    frame = flows.frame(
        who, rows, at, at + 4 * HOUR, np.round(flows.bills[who, n]),
        merchant_id=creditor[who], mcc=merchant["mcc"].gather(creditor[who]), country=merchant["country"].gather(creditor[who]),
        channel="direct-debit", type="RDDT/ESDD", direction="DBIT",
    )  # fmt: skip
    return frame.filter(pl.Series(flows.bills[who, n] > 0))


def _standing_orders(flows: _Flows) -> list[pl.DataFrame]:
    """What is left goes to savings, here or elsewhere; what is missing comes from the account elsewhere; the credit card is paid."""
    units = flows.units.astype(np.int64)
    places = {SAVED: 27, REPAID: 20, TOPPED_UP: 3}
    parts = []
    for kind, day in places.items():
        who, rows, at = flows.monthly(kind, np.full(len(units), day))
        at = at + 5 * HOUR + flows.stream.child("standing", kind).integers(rows, 3_600) * 1_000_000
        amount = {SAVED: flows.left, REPAID: flows.on_credit, TOPPED_UP: -flows.left}[kind]
        amount = np.floor(amount / 500) * 500
        here = flows.has[SAVINGS] if kind == SAVED else np.full(len(units), kind == REPAID)
        target = units * ACCOUNTS + (SAVINGS if kind == SAVED else CREDIT)
        party = join_rows(
            flows.units, COUNTERPARTY + np.where(here, OWN_SAVINGS if kind == SAVED else OWN_CREDIT, OWN_ELSEWHERE)
        )
        frame = flows.frame(
            who, rows, at, at + 30_000_000, amount[who],
            counterparty_row=party[who],
            counterparty_account_id=pl.select(pl.when(pl.Series(here)).then(pl.Series(target))).to_series().gather(who),
            channel="transfer", type="RCDT/ESCT" if kind == TOPPED_UP else "ICDT/STDO",
            direction="CRDT" if kind == TOPPED_UP else "DBIT",
        )  # fmt: skip
        parts.append(frame.filter(pl.Series(amount[who] > 0)))
    return parts


def _fees(flows: _Flows) -> pl.DataFrame:
    """German accounts have a monthly fee; British banking is free while in credit."""
    p = flows.block.priors
    who, rows, at = flows.monthly(FEE)
    frame = flows.frame(
        who, rows, at + HOUR, at + HOUR, np.full(len(who), p("account.fee_minor")),
        channel="fee", type="MDOP/CHRG", direction="DBIT",
    )  # fmt: skip
    return frame.filter(pl.Series(flows.zone[who] == 1))
