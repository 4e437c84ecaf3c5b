"""Checks of the relationship with a customer: nothing lasts longer than it, and nobody borrows before it or under age."""

from __future__ import annotations

import polars as pl

from ...core.domain import Check
from .loans import ADULT
from .validators import CUSTOMER_SIDE, Lazy, violations


def ended(tables: Lazy) -> pl.DataFrame:
    """Who has left has no account that is open, or was closed later."""
    gone = tables["customer"].select("customer_id", left="closed_on").filter(pl.col("left").is_not_null())
    off = (
        tables["account"]
        .join(gone, on="customer_id")
        .filter(pl.col("closed_on").is_null() | (pl.col("closed_on") > pl.col("left")))
    )
    return violations("account", "account_id", off, pl.format("its holder left on {}", "left"))


def closed_empty(tables: Lazy) -> pl.DataFrame:
    """Nothing is left on an account that is closed, and nothing is booked on it later."""
    closed = tables["account"].select("account_id", "closed_on").filter(pl.col("closed_on").is_not_null()).collect()
    # few are: to look at their postings alone costs less than to join them all
    entry = tables["ledger_entry"].filter(pl.col("account_id").is_in(closed["account_id"].implode()) & CUSTOMER_SIDE)
    last = entry.group_by("account_id").agg(
        pl.col("balance_minor").sort_by("ledger_entry_id").last(), pl.col("booked_at").max()
    )
    last = last.join(closed.lazy(), on="account_id")
    off = last.filter((pl.col("balance_minor") != 0) | (pl.col("booked_at").dt.date() > pl.col("closed_on")))
    return violations("account", "account_id", off, pl.format("closed on {}, last booked {}, balance {}", "closed_on", "booked_at", "balance_minor"))  # fmt: skip


def lent_to_adults(tables: Lazy) -> pl.DataFrame:
    """A loan is paid out to who is a customer by then, and of age."""
    holder = tables["customer"].select(
        "customer_id", since="opened_on", adult=pl.col("birth_date").dt.offset_by(f"{ADULT}y")
    )
    lent = tables["loan"].join(tables["account"].select("account_id", "customer_id"), on="account_id")
    off = lent.join(holder, on="customer_id").filter(pl.col("paid_out_on") < pl.max_horizontal("since", "adult"))
    return violations("loan", "loan_id", off, pl.format("paid out on {}, customer since {}, of age on {}", "paid_out_on", "since", "adult"))  # fmt: skip


CHECKS = (
    Check("account.ended", ("account", "customer"), "Who has left has no account that is open.", ended),
    Check("account.closed-empty", ("account", "ledger_entry"), "Accounts are closed with nothing left on them and nothing booked later.", closed_empty),
    Check("loan.lent-to-adults", ("loan", "account", "customer"), "Loans are paid out to customers of age.", lent_to_adults),
)  # fmt: skip
