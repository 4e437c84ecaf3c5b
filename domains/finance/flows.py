"""A customer's month: whom they pay, what they live on, and how payments from account to account are laid out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ...core.domain import Block, Window
from ...core.stream import F64, U64, join_rows
from ...core.tables import ROW, Tables, gapped, plain
from .calendar import DAY, micros, month_after, months, working_day
from .circles import contacts
from .draws import enum, poisson
from .holdings import ACCOUNTS, CREDIT, LOAN, SAVINGS, WALLET
from .loans import loan_terms
from .parties import CURRENCIES, rents
from .payments import purchase_rate, tickets
from .reference import bill_categories
from .terms import bought_on_credit, usual_repayment

SENT, RECEIVED, SALARY, SAVED, REPAID, TOPPED_UP, FEE, BILL = range(2, 10)
INSIDE, CHEQUE, CASHED, PAID_IN, DRAWN, WALLET_USE, LOAN_PAYMENT, LOAN_INTEREST, PAYROLL, LOAN_PAYOUT, CHANGE = range(
    64, 75
)
TAKINGS, CHARGED, LATE, CREDITED, RENT = range(77, 82)
"""The kinds of flow; one for each category of bill from BILL on."""
OWN_ELSEWHERE, OWN_SAVINGS, OWN_CREDIT, PEOPLE = range(1, 5)
"""A customer's counterparties by place: 0 pays them, then come their own accounts, from PEOPLE on people."""


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


@dataclass(frozen=True)
class Some:
    """A column that some rows have a value in: the values of all, and which rows have theirs."""

    values: NDArray | Words
    there: NDArray[np.bool_]

    def __getitem__(self, at: NDArray) -> Some:
        return Some(self.values[at], self.there[at])


@dataclass(frozen=True)
class Words:
    """A column of codes: which of some words, or of a column's own codes, stands in each row."""

    words: Sequence[str] | pl.Enum
    places: NDArray

    def __getitem__(self, at: NDArray) -> Words:
        return Words(self.words, self.places[at])


def words(codes: pl.Series) -> Words:
    """A column of codes of a frame."""
    assert isinstance(codes.dtype, pl.Enum)
    return Words(codes.dtype, plain(codes))


@dataclass(frozen=True)
class Part:
    """Payments of one kind, column by column: an array, `Some` where some rows have no value, `Words`, a text that all rows share. Frames are made of all
    kinds together, which costs a tenth of one for each."""

    height: int
    columns: Mapping[str, NDArray | Some | Words | str]

    def filter(self, such: NDArray[np.bool_]) -> Part:
        """The rows where `such` is true."""
        if such.all():
            return self
        at = np.flatnonzero(such)
        return Part(len(at), {n: c if isinstance(c, str) else c[at] for n, c in self.columns.items()})


def joined(parts: Sequence[Part], types: Mapping[str, pl.DataType]) -> pl.DataFrame:
    """The payments of all parts, with every fact, absent ones null."""
    ends = np.cumsum([part.height for part in parts]).tolist()
    return pl.DataFrame([_column(name, kind, parts, ends) for name, kind in types.items()])


def _column(name: str, kind: pl.DataType, parts: Sequence[Part], ends: Sequence[int]) -> pl.Series:
    given = [(part.columns[name], slice(end - part.height, end)) for part, end in zip(parts, ends, strict=True) if name in part.columns]  # fmt: skip
    if not given:
        return pl.Series(name, [None], dtype=kind).new_from_index(0, ends[-1])
    codes = _places(kind) if isinstance(kind, pl.Enum) else {}
    values = np.zeros(ends[-1], np.uint16 if codes else np.uint64 if kind == pl.UInt64 else np.int64)
    there = None if len(given) == len(parts) else np.zeros(len(values), bool)
    for column, here in given:
        if isinstance(column, Some):
            if there is None:
                there = np.ones(len(values), bool)
            there[here], column = column.there, column.values
        elif there is not None:
            there[here] = True
        if isinstance(column, str):
            values[here] = codes[column]
        elif not isinstance(column, Words):
            values[here] = column
        elif isinstance(column.words, pl.Enum):
            assert column.words == kind, f"{name}: codes of another column"
            values[here] = column.places
        else:
            word = np.array([codes[w] for w in column.words], np.uint16)
            np.take(word, column.places, out=values[here], mode="clip")
    made = enum(values, kind.categories, there) if isinstance(kind, pl.Enum) else gapped(values, there)
    return made.alias(name)


@lru_cache(32)
def _places(kind: pl.Enum) -> Mapping[str, int]:
    return {c: n for n, c in enumerate(kind.categories)}


class Flows:
    """What a customer's month looks like on average: the amounts that pay, repayments and savings must balance."""

    def __init__(self, block: Block, tables: Tables) -> None:
        p, units, stream = block.priors, block.units, block.stream.child("transfer")
        self.block, self.tables, self.units, self.stream = block, tables, units, stream
        customer = tables["customer"]
        self.currency = plain(customer["currency"])
        self.zone = plain(customer["country"]).astype(np.int64)
        merchant = block.reference["merchant"]
        self.mcc, self.country = words(merchant["mcc"]), words(merchant["country"])
        self.business = plain(customer["segment"]) > 0
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
        held = tables["account"]["account_id"].to_numpy() - block.first * ACCOUNTS
        there = np.zeros(len(units) * ACCOUNTS, bool)
        there[held] = True
        self.has = {place: there[place::ACCOUNTS] for place in (SAVINGS, CREDIT, LOAN, WALLET)}
        self.ticket = sum(tickets(block).values())
        spent = purchase_rate(block) * self.ticket
        repaid = usual_repayment(block, tables["account"]) - np.where(self.has[CREDIT], bought_on_credit(block), 0.0)
        self.bills = np.stack([self.bill(n, name) for n, name in enumerate(bill_categories(block))], axis=1)
        self.terms = loan_terms(block, units, self.income)
        owes = np.where(self.has[LOAN] & (self.terms.owed > 0), self.terms.instalment, 0)
        company = plain(customer["segment"]) == 2
        self.staff = np.where(
            company,
            np.minimum(
                elsewhere,
                1
                + poisson(
                    stream.child("staff").uniform(units), np.full(len(units), max(p("customer.company_staff") - 1, 0.0))
                ),
            ),
            0,
        )
        wages = self.staff * self.wage() * float(np.exp(p("payroll.staff_log_sigma") ** 2 / 2))
        drawn = p("cash.withdrawals_per_month") * float(
            np.exp(p("purchase.log_mean")["cash"] + p("purchase.log_sigma")["cash"] ** 2 / 2) * 100
        )
        fee = np.where(self.zone == 1, p("account.fee_minor"), 0)
        # who has another bank for pay pays the rent from there
        self.rent = np.where(self.paid_here, rents(block, units), 0)
        out = spent + repaid + self.rent + self.bills.sum(axis=1) + owes + wages + drawn + fee
        self.left = np.where(self.paid_here, self.income, 0) - out

    def wage(self) -> float:
        """The median wage in minor units a month."""
        return float(np.exp(self.block.priors("customer.income_log_mean"))) * 100

    def bill(self, n: int, category: str) -> F64:
        """The monthly amount of a kind of bill, 0 for customers without it."""
        p, stream = self.block.priors, self.stream.child("bill", category)
        amount = (
            np.exp(p("bill.log_mean")[category] + p("bill.log_sigma") * stream.child("amount").normal(self.units)) * 100
        )
        return np.where(stream.child("has").uniform(self.units) < p("bill.count")[category], np.round(amount), 0.0)

    def monthly(
        self, kind: int, days: NDArray | None = None, *, such: NDArray[np.bool_] | None = None, later: bool = True
    ) -> tuple[NDArray[np.int64], U64, NDArray[np.int64]]:
        """For each customer (or `such` alone) and month of the window: who, the row's address, midnight of the day (1 to 28) it falls on.
        What would fall on a weekend or a holiday is collected on the next working day; pay comes on the last one before (not `later`)."""
        first, number = _around(self.block.window)
        some = np.arange(len(self.units)) if such is None else np.flatnonzero(such)
        who = np.repeat(some, len(first))
        rows = join_rows(join_rows(self.units[some], kind)[:, None], number).ravel()
        day = first[None, :] + (np.ones(len(some), np.int64) if days is None else days[some])[:, None] - 1
        day = working_day(day.ravel(), self.zone[who], later=later) * DAY
        within = np.flatnonzero((day >= self.block.window.start) & (day < self.block.window.end))
        return who[within], rows[within], day[within]

    def part(self, who: NDArray, rows: U64, at: NDArray, cleared: NDArray, amount: NDArray, **columns: Any) -> Part:
        """Transactions on the customers' current accounts, unless `account_id` says otherwise; texts stand for a whole column."""
        base = {
            ROW: rows,
            "account_id": self.units.astype(np.int64)[who] * ACCOUNTS,
            "amount_minor": np.maximum(amount, 1).astype(np.int64),
            "currency": Words(CURRENCIES, self.currency[who]),
            "authorised_at": at,
            "cleared_at": cleared,
        }
        return Part(len(who), {**base, **columns})


@lru_cache(16)
def _around(window: Window) -> tuple[NDArray[np.int64], U64]:
    """The first day and the number of each month of the window, and of those before and after it: what is due at the end of the month before may come
    within the window, and what is due at the beginning of the next."""
    around = [month_after(months(window)[0], -1), *months(window)]
    around.append(month_after(around[-1], 1))
    return np.array([micros(m) // DAY for m in around]), np.array([m.year * 12 + m.month for m in around], np.uint64)
