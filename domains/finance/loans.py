"""Personal loans: what was lent, the schedule of instalments, and the payments that follow from it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ...core.domain import Block
from ...core.stream import U64
from ...core.tables import Tables
from .calendar import DAY, micros, months, working_day
from .draws import choose
from .life import NEVER, died_on, joined_on, switched_on
from .parties import since
from .people import ages, origins

FAN = 128
ACCOUNTS, LOAN = 8, 3
"""account_id = customer_id * ACCOUNTS + LOAN, as in `holdings`."""
MONTH, YEAR = 30.4375, 365.25
ADULT = 18
"""Years from which one can borrow (United Kingdom, Family Law Reform Act 1969; German Civil Code, section 2)."""


@dataclass(frozen=True)
class Terms:
    """What loans would be, one for each customer, whether they have one or not; money in minor units. All have length n."""

    there: NDArray[np.bool_]
    """Who has one, at the start of the window or from within it."""
    new: NDArray[np.bool_]
    """Who takes it out within the window."""
    principal: NDArray[np.int64]
    monthly_rate: NDArray[np.float64]
    months: NDArray[np.int64]
    instalment: NDArray[np.int64]
    paid: NDArray[np.int64]
    """Instalments paid before the window."""
    owed: NDArray[np.int64]
    """What is owed at the start of the window; nothing of a loan that is paid out within it."""
    paid_out: NDArray[np.int64]
    """Day since 1970."""


def loan_terms(block: Block, units: U64, income: NDArray[np.int64]) -> Terms:
    """Loans of customers with these incomes: an instalment they can pay, over so many months, at a rate; so the sum. As many are taken out in a month as
    come to their end: a share of one over their months. Nobody's is older than they are customers of age, and who comes or goes
    to another bank has none; who dies takes out none."""
    p, stream = block.priors, block.stream.child("loan")
    length = np.array([int(m) for m in p("loan.months")])[
        choose(stream.child("months").uniform(units), p("loan.months").values())
    ]
    low, middle, high = p("loan.annual_rate")
    u = stream.child("rate").uniform(units)
    turn = (middle - low) / (high - low) if high > low else 1.0
    up = low + np.sqrt(u * (high - low) * (middle - low))
    down = high - np.sqrt((1 - u) * (high - low) * (high - middle))
    rate = np.round(np.where(u < turn, up, down), 4) / 12
    payment = np.exp(p("loan.payment_log_median") + p("loan.payment_log_sigma") * stream.child("payment").normal(units))
    instalment = np.maximum(np.round(np.minimum(payment, 1.0) * income), 1).astype(np.int64)
    annuity = (1 - (1 + rate) ** -length) / np.where(rate > 0, rate, 1.0)
    principal = np.maximum(np.floor(instalment * np.where(rate > 0, annuity, length)), 1).astype(np.int64)
    share, draw = p("account.loan"), block.stream.child("account", "loan").uniform(units)
    wait = (draw - share) / max(share, 1e-12) * length
    new = (draw >= share) & (wait * MONTH < block.window.days)
    # half a month passes from the pay-out to the first instalment
    today, of_age = block.window.start // DAY, (ages(block, units) - ADULT) * YEAR
    months = np.minimum(today - since(block, units), of_age - 1) / MONTH - 0.5
    paid = np.where(new, 0, np.floor(stream.child("age").uniform(units) * np.clip(months, 0, length))).astype(np.int64)
    owed = principal.copy()
    for n in range(int(paid.max(initial=0))):
        after = owed - np.minimum(instalment - interest(owed, rate), owed)
        owed = np.where(n < paid, after, owed)
    month = np.where(new, wait, -(paid + 0.5))
    out = today + np.trunc(month * MONTH).astype(np.int64)
    german = origins(block, units)[0].astype(np.int64)
    soon, before = (working_day(out, german, later=x) for x in (True, False))
    # nobody is lent to at a weekend, unless that is all of the window
    out = np.where(~new | (soon * DAY < block.window.end), soon, np.where(before >= today, before, out))
    owed = np.where(new, 0, owed)
    there = (joined_on(block, units) == NEVER) & (switched_on(block, units) == NEVER)
    new &= there & (of_age >= 1) & (died_on(block, units) == NEVER)
    return Terms((draw < share) & there & (months > 0) | new, new, principal, rate, length, instalment, paid, owed, out)


@dataclass(frozen=True)
class Due:
    """What falls due on one day, one value for each customer."""

    day: int
    """Since 1970."""
    there: NDArray[np.bool_]
    """Whose loan has an instalment on this day."""
    number: NDArray[np.int64]
    interest: NDArray[np.int64]
    payment: NDArray[np.int64]
    owed: NDArray[np.int64]
    """What is owed after it."""


def course(block: Block, terms: Terms) -> Iterator[Due]:
    """Every day of the window on which instalments fall due: the first of a month. A loan's first is on the first such day after it is paid out."""
    days = due_days(block)
    owed = np.where(terms.new, terms.principal, terms.owed)
    first = np.searchsorted(days, terms.paid_out, side="right")
    for n, day in enumerate(days.tolist()):
        number = terms.paid + n + 1 - first
        there = terms.there & (number >= 1) & (number <= terms.months) & (owed > 0)
        charge = interest(owed, terms.monthly_rate)
        # the last instalment is what is left
        pay = np.where(number == terms.months, owed + charge, np.minimum(terms.instalment, owed + charge))
        owed = np.where(there, owed + charge - pay, owed)
        yield Due(day, there, number, charge, pay, owed)


def interest(owed: NDArray[np.int64], monthly_rate: NDArray[np.float64]) -> NDArray[np.int64]:
    """A month's interest, rounded half to even."""
    return np.rint(owed * monthly_rate).astype(np.int64)


def most_owed(terms: Terms) -> NDArray[np.int64]:
    """What a loan can come to if nothing is ever paid back."""
    return np.ceil(terms.principal * (1 + terms.monthly_rate) ** terms.months).astype(np.int64) + terms.months


def loans(block: Block, tables: Tables) -> Tables:
    """The loans of customers who have one, and the instalments that fall due in the window."""
    customer, units = tables["customer"], block.units
    terms = loan_terms(block, units, customer["income_minor"].to_numpy())
    account = tables["account"].filter(pl.col("type") == "loan")["account_id"].to_numpy()
    at = account // ACCOUNTS - block.first
    frame = pl.DataFrame(
        {
            "loan_id": account,
            "account_id": account,
            "principal_minor": terms.principal[at],
            "annual_rate": terms.monthly_rate[at] * 12,
            "months": terms.months[at].astype(np.int32),
            "instalment_minor": terms.instalment[at],
            "paid_out_on": pl.Series(terms.paid_out[at].astype(np.int32)).cast(pl.Date),
        }
    )
    return {"loan": frame, "instalment": _schedule(block, terms)}


def due_days(block: Block) -> NDArray[np.int64]:
    """The first of each month that begins in the window, as days since 1970."""
    days = np.array([micros(m) // DAY for m in months(block.window)])
    return days[days >= block.window.start // DAY]


def _schedule(block: Block, terms: Terms) -> pl.DataFrame:
    account, parts = block.units.astype(np.int64) * ACCOUNTS + LOAN, []
    for due in course(block, terms):
        at = np.flatnonzero(due.there)
        parts.append(
            pl.DataFrame(
                {
                    "instalment_id": account[at] * FAN + due.number[at],
                    "loan_id": account[at],
                    "number": due.number[at].astype(np.int32),
                    "due_on": pl.Series(np.full(len(at), due.day, np.int32)).cast(pl.Date),
                    "interest_minor": due.interest[at],
                    "principal_minor": due.payment[at] - due.interest[at],
                    "outstanding_minor": due.owed[at],
                }
            )
        )
    if not parts:
        return pl.DataFrame(
            schema={"instalment_id": pl.Int64, "loan_id": pl.Int64, "number": pl.Int32, "due_on": pl.Date}
            | dict.fromkeys(("interest_minor", "principal_minor", "outstanding_minor"), pl.Int64)
        )
    return pl.concat(parts).sort("instalment_id")
