"""What goes on after a death: what was arranged is paid until the bank is told, what is still asked for then is returned; and the check of it."""

from __future__ import annotations

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ...core.domain import Check
from ...core.tables import filled
from .calendar import DAY
from .draws import among
from .life import NEVER
from .validators import Lazy, violations

ARRANGED = ("salary", "direct-debit", "fee", "interest", "loan")
"""Channels by which nobody has to ask for a payment."""


def arranged(payment: pl.DataFrame) -> NDArray[np.bool_]:
    """Which payments come by themselves: pay, direct debits, standing orders, transfers from others, what the bank charges."""
    channel = payment["channel"]
    received = among(channel, ("transfer",)) & among(payment["direction"], ("CRDT",))
    return among(channel, ARRANGED) | received | among(payment["type"], ("ICDT/STDO",))


def returned(payment: pl.DataFrame, told: NDArray[np.int64], left: NDArray[np.int64]) -> NDArray[np.int64]:
    """The places of direct debits that come for the first time after the bank was `told` (an instant for each payment) and before the accounts were closed
    (a day): they are returned unpaid, and their creditors know."""
    at = payment["authorised_at"].to_numpy()
    late = among(payment["channel"], ("direct-debit",)) & (at >= told)
    # who goes to another bank takes the mandates along
    late = np.flatnonzero(late & (told < left * DAY) & ((at < left * DAY) | (left == NEVER)))
    late = late[np.argsort(at[late], kind="stable")]
    mandate = np.stack([payment["account_id"].to_numpy()[late], filled(payment["merchant_id"], -1)[late]], axis=1)
    return late[np.sort(np.unique(mandate, axis=0, return_index=True)[1])] if len(late) else late


def frozen(tables: Lazy) -> pl.DataFrame:
    """Accounts are frozen when their holder has died, all of them on one day, and their cards with them. From then on nothing is booked off them but what
    was authorised before, interest, and on the day of closing what is left."""
    account = tables["account"].select("account_id", "customer_id", "frozen_on", "closed_on").collect()
    died = tables["customer"].select("customer_id", "deceased_on").filter(pl.col("deceased_on").is_not_null())
    day = pl.col("frozen_on")
    theirs = account.filter(day.is_not_null().any().over("customer_id"))
    theirs = theirs.join(died.collect(), on="customer_id", how="left", maintain_order="left")
    alive = theirs.filter(
        day.is_null() | (day != day.min().over("customer_id")) | pl.col("deceased_on").is_null() | (day < pl.col("deceased_on"))
    )  # fmt: skip
    closed = account.filter(day.is_not_null())
    ids = closed["account_id"].implode()
    card = tables["card"].filter(pl.col("account_id").is_in(ids)).join(closed.lazy(), on="account_id")
    at = pl.col("authorised_at").dt.date()
    paid = tables["transaction"].filter(pl.col("account_id").is_in(ids), pl.col("cleared_at").is_not_null())
    paid = paid.select(
        "transaction_id",
        "account_id",
        at,
        kind=pl.col("channel").cast(pl.String),
        way=pl.col("direction").cast(pl.String),
    )
    late = paid.join(closed.lazy(), on="account_id").filter(
        (at >= day) & (pl.col("way") == "DBIT") & (pl.col("kind") != "interest") & (at != pl.col("closed_on")).fill_null(True)
    )  # fmt: skip
    return pl.concat(
        [
            violations("account", "account_id", alive.lazy(), pl.format("frozen on {}, its holder's death {}", day.cast(pl.String).fill_null("no day"), pl.col("deceased_on").cast(pl.String).fill_null("unknown"))),
            violations("card", "card_id", card.filter(pl.col("cancelled_on").is_null() | (pl.col("cancelled_on") > day)), pl.format("valid after its account was frozen on {}", day)),
            violations("transaction", "transaction_id", late, pl.format("taken from an account that was frozen on {}", day)),
        ]
    )  # fmt: skip


CHECKS = (
    Check("account.frozen", ("account", "customer", "card", "transaction"), "Nothing leaves the accounts of the dead once the bank is told.", frozen),
)  # fmt: skip
