"""Personal loans: what was lent, the schedule of instalments, and the payments that follow from it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ...core.domain import Block
from ...core.stream import U64
from ...core.tables import Tables
from .calendar import DAY, micros, months
from .draws import choose

FAN = 128
LOAN = 3
MONTH = 30.4375


@dataclass(frozen=True)
class Terms:
    """What loans would be, one for each customer, whether they have one or not; money in minor units. All have length n."""

    principal: NDArray[np.int64]
    monthly_rate: NDArray[np.float64]
    months: NDArray[np.int64]
    instalment: NDArray[np.int64]
    paid: NDArray[np.int64]
    """Instalments paid before the window."""
    owed: NDArray[np.int64]
    """What is owed at the start of the window."""
    paid_out: NDArray[np.int64]
    """Day since 1970."""


def loan_terms(block: Block, units: U64, income: NDArray[np.int64]) -> Terms:
    """Loans of customers with these incomes: an instalment they can pay, over so many months, at a rate; so the sum. They began before the window."""
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
    paid = np.floor(stream.child("age").uniform(units) * length).astype(np.int64)
    owed = principal.copy()
    for n in range(int(paid.max(initial=0))):
        after = owed - np.minimum(instalment - interest(owed, rate), owed)
        owed = np.where(n < paid, after, owed)
    out = block.window.start // DAY - np.floor((paid + 0.5) * MONTH).astype(np.int64)
    return Terms(principal, rate, length, instalment, paid, owed, out)


def interest(owed: NDArray[np.int64], monthly_rate: NDArray[np.float64]) -> NDArray[np.int64]:
    """A month's interest, rounded half to even."""
    return np.rint(owed * monthly_rate).astype(np.int64)


def most_owed(terms: Terms) -> NDArray[np.int64]:
    """What a loan can come to if nothing is ever paid back."""
    return np.ceil(terms.principal * (1 + terms.monthly_rate) ** terms.months).astype(np.int64) + terms.months


def loans(block: Block, tables: Tables) -> Tables:
    """The loans of customers who have one, and the instalments that fall due in the window: on the 1st, a loan's first in the first whole month."""
    customer, units = tables["customer"], block.units
    terms = loan_terms(block, units, customer["income_minor"].to_numpy())
    account = tables["account"].filter(pl.col("type") == "loan")["account_id"].to_numpy()
    at = account // 8 - block.first
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
    return {"loan": frame, "instalment": _schedule(block, terms, account, at)}


def due_days(block: Block) -> NDArray[np.int64]:
    """The first of each month that begins in the window, as days since 1970."""
    days = np.array([micros(m) // DAY for m in months(block.window)])
    return days[days >= block.window.start // DAY]


def _schedule(block: Block, terms: Terms, account: NDArray, at: NDArray) -> pl.DataFrame:
    owed, parts = terms.owed[at].copy(), []
    rate, pay = terms.monthly_rate[at], terms.instalment[at]
    for n, day in enumerate(due_days(block)):
        number = terms.paid[at] + n + 1
        charge = interest(owed, rate)
        # the last instalment is what is left
        back = np.where(number == terms.months[at], owed, np.minimum(pay - charge, owed))
        there = (number <= terms.months[at]) & (owed > 0)
        owed = np.where(there, owed - back, owed)
        parts.append(
            pl.DataFrame(
                {
                    "instalment_id": account * FAN + number,
                    "loan_id": account,
                    "number": number.astype(np.int32),
                    "due_on": pl.Series(np.full(len(account), day, np.int32)).cast(pl.Date),
                    "interest_minor": charge,
                    "principal_minor": back,
                    "outstanding_minor": owed,
                }
            ).filter(pl.Series(there))
        )
    if not parts:
        return pl.DataFrame(
            schema={"instalment_id": pl.Int64, "loan_id": pl.Int64, "number": pl.Int32, "due_on": pl.Date}
            | dict.fromkeys(("interest_minor", "principal_minor", "outstanding_minor"), pl.Int64)
        )
    return pl.concat(parts).sort("instalment_id")
