"""Checks of the relationship with a customer: nothing lasts longer than it, nobody borrows before it or under age, and what was ordered once for good is what is paid."""

from __future__ import annotations

from collections.abc import Callable

import polars as pl

from ...core.domain import Check
from ...core.schema import LABEL
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


APART = 20
"""Days that lie between two payments of one order at least: they are monthly, and a holiday or a short month brings them nearer."""


def as_ordered(table: str, kind: str, payee: str, times: str) -> Callable[[Lazy], pl.DataFrame]:
    """What is paid by mandate or standing order is paid to a payee of one, from its first day on, as often and in the end as much as it says, and once a month."""
    key, pair = f"{table}_id", ["account_id", payee]

    def judge(tables: Lazy) -> pl.DataFrame:
        wanted = (pl.col("type") == kind) & pl.col(payee).is_not_null()
        paid = (
            tables["transaction"]
            .filter(wanted)
            .select("transaction_id", *pair, "authorised_at", paid_minor="amount_minor")
            .collect()
        )
        paid = paid.sort(*pair, "authorised_at", "transaction_id")
        order = tables[table].select(key, *pair, "first_at", "amount_minor", times).collect()
        unknown = paid.join(order, on=pair, how="anti").lazy()
        # what a scenario collects by the way is in no rhythm
        own = paid.join(_labelled(tables), on="transaction_id", how="anti", maintain_order="left")
        before = pl.all_horizontal(pl.col(c) == pl.col(c).shift(1) for c in pair)
        days = (pl.col("authorised_at").dt.date() - pl.col("authorised_at").dt.date().shift(1)).dt.total_days()
        often = own.with_columns(days=days).filter(before & (pl.col("days") < APART)).lazy()
        made = paid.group_by(pair).agg(
            begun=pl.col("authorised_at").first(), number=pl.len(), last=pl.col("paid_minor").last()
        )
        said = order.join(made, on=pair, how="left")
        fits = (
            (pl.col("first_at") == pl.col("begun"))
            & (pl.col(times) == pl.col("number"))
            & (pl.col("amount_minor") == pl.col("last"))
        )
        off = said.filter(~fits.fill_null(False) | (pl.len().over(pair) > 1)).lazy()
        paid_so = pl.format(
            "{} times from {} on, last {}",
            pl.col("number").fill_null(0),
            pl.col("begun").cast(pl.String).fill_null("no day"),
            pl.col("last").cast(pl.String).fill_null("nothing"),
        )
        return pl.concat(
            [
                violations(
                    table,
                    key,
                    off,
                    pl.format("says {} times from {} on, last {}; paid {}", times, "first_at", "amount_minor", paid_so),
                ),
                violations("transaction", "transaction_id", unknown, f"no {table.replace('_', ' ')} for its payee"),
                violations("transaction", "transaction_id", often, pl.format("a second time in {} days", "days")),
            ]
        )

    return judge


def _labelled(tables: Lazy) -> pl.DataFrame:
    """The payments that scenarios have a hand in, as far as it is known."""
    if LABEL.name not in tables:
        return pl.DataFrame(schema={"transaction_id": pl.Int64})
    label = tables[LABEL.name].filter(pl.col("table").cast(pl.String) == "transaction")
    return label.select(transaction_id="row_key").drop_nulls().collect()


CHECKS = (
    Check("account.ended", ("account", "customer"), "Who has left has no account that is open.", ended),
    Check("account.closed-empty", ("account", "ledger_entry"), "Accounts are closed with nothing left on them and nothing booked later.", closed_empty),
    Check("loan.lent-to-adults", ("loan", "account", "customer"), "Loans are paid out to customers of age.", lent_to_adults),
    Check("mandate.payments", ("mandate", "transaction"), "Direct debits are what their mandates say.", as_ordered("mandate", "RDDT/ESDD", "merchant_id", "collections")),
    Check("standing_order.payments", ("standing_order", "transaction"), "Standing orders are carried out as they say.", as_ordered("standing_order", "ICDT/STDO", "counterparty_id", "payments")),
)  # fmt: skip
