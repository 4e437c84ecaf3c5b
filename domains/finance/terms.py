"""What credit and savings accounts cost and bear, when cards' statements are cut and due, and how holders pay them."""

from __future__ import annotations

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ...core.domain import Block
from ...core.tables import Tables, filled, plain
from .draws import enum, keep
from .holdings import ACCOUNTS, CREDIT, SAVINGS
from .payments import purchase_rate, tickets
from .people import COUNTRIES

REPAYS = ("full", "part", "minimum")


def bought_on_credit(block: Block) -> NDArray[np.float64]:
    """What each customer buys with a credit card a month on average, if they have one: no cash is drawn with it."""
    p = block.priors
    return purchase_rate(block) * sum(x for c, x in tickets(block).items() if c != "cash") * p("purchase.credit_share")


def terms(block: Block, tables: Tables) -> Tables:
    """The step that says what credit and savings accounts cost and bear, when statements are cut and due, and how their holders pay them.

    Who has drawn most of the limit carries it over; who pays in full owes no more than they buy in a month.
    """
    p, account, customer = block.priors, tables["account"], tables["customer"]
    place, rows = account["account_id"].to_numpy() % ACCOUNTS, account["account_id"].to_numpy().astype(np.uint64)
    who = account["customer_id"].to_numpy() - block.first
    country = plain(customer["country"])[who]
    stream, card, saved = block.stream.child("account", "terms"), place == CREDIT, place == SAVINGS

    def by_country(prior: str) -> NDArray[np.float64]:
        return np.array([p(prior)[c] for c in COUNTRIES], float)[country]

    wide = p("card.rate_spread") * (2 * stream.child("rate").uniform(rows) - 1)
    rate = np.round(np.where(card, by_country("card.annual_rate") + wide, by_country("savings.annual_rate")), 4)
    limit, statement = (customer[c].to_numpy()[who] for c in ("credit_limit_minor", "statement_minor"))
    use = p("credit.utilisation")
    most_drawn = np.interp(1 - p("card.revolves"), [0.0, 0.25, 0.5, 0.75, 0.97, 1.0], [*use, use[-1]])
    revolves = statement >= most_drawn * limit
    least = stream.child("least").uniform(rows) * p("card.revolves") < p("card.pays_minimum")
    kind = np.where(revolves, np.where(least, 2, 1), 0)
    bought = bought_on_credit(block)[who]
    owed = -account["opening_balance_minor"].to_numpy()
    owed = np.where(card & ~revolves, np.minimum(owed, np.round(bought)), owed).astype(np.int64)
    # what is bought, the month's interest and what must be paid back: so that debts neither run away nor vanish
    part = np.ceil((bought + owed * (rate / 12 + p("card.minimum")["share"])) / 500) * 500
    due = p("card.due_days")
    return {
        "account": account.with_columns(
            keep(rate, card | saved).alias("annual_rate"),
            keep((1 + stream.child("day").integers(rows, 28)).astype(np.int32), card).alias("statement_day"),
            keep(
                (due["least"] + stream.child("due").integers(rows, due["most"] - due["least"] + 1)).astype(np.int32),
                card,
            ).alias("due_days"),
            enum(kind, REPAYS, card).alias("repays"),
            keep(part.astype(np.int64), card & (kind == 1)).alias("repayment_minor"),
            opening_balance_minor=-owed,
        )
    }


def usual_repayment(block: Block, account: pl.DataFrame) -> NDArray[np.float64]:
    """About what each customer pays back on the credit card a month."""
    p, found = block.priors, np.zeros(block.last - block.first)
    card = account.filter(pl.col("repays").is_not_null())
    who = card["customer_id"].to_numpy() - block.first
    kind, part = plain(card["repays"]), filled(card["repayment_minor"], 0)
    bought = bought_on_credit(block)[who]
    least = -card["opening_balance_minor"].to_numpy() * (
        card["annual_rate"].to_numpy() / 12 + p("card.minimum")["share"]
    )
    found[who] = np.choose(kind, [bought, part, least])
    return found
