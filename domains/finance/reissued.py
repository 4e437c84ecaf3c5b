"""Payments with a card that was replaced: from the day on which the new one is there, its holder pays with it. Where another scenario has them pay sooner, it
was there by then."""

from __future__ import annotations

import numpy as np
import polars as pl

from ...core.domain import Block
from ...core.places import places
from ...core.tables import Tables, filled, picked, plain
from .calendar import DAY
from .holdings import CARDS, REPLACEMENT
from .life import NEVER

LOST = ("41", "43")
"""How the issuer answers whoever uses a card that was reported."""


def reissued(block: Block, tables: Tables) -> Tables:
    """The step that puts the new card's number to what is paid after a replacement, whoever decided on it; what is refused as lost or stolen was tried with the old."""
    payment, card = tables["transaction"], tables["card"]
    new = card.filter(pl.col("card_id") % CARDS == REPLACEMENT)
    if new.is_empty():
        return {"transaction": payment, "card": card}
    known = plain(new["account_id"])
    of = np.argsort(known)
    at = np.flatnonzero(np.isin(payment["account_id"].to_numpy(), known))
    used, account = filled(picked(payment["card_id"], at), REPLACEMENT), plain(picked(payment["account_id"], at))
    which = of[np.searchsorted(known[of], account)]
    old = places(card["card_id"], used)
    cancelled = filled(picked(card["cancelled_on"], np.maximum(old, 0)), NEVER)
    tried = picked(payment["response_code"], at).cast(pl.String).is_in(LOST).fill_null(False).to_numpy()
    day = plain(picked(payment["authorised_at"], at)).astype(np.int64) // DAY
    issued = plain(new["issued_on"]).astype(np.int64)
    mine = (used % CARDS < REPLACEMENT) & ~tried
    late = mine & ((day >= issued[which]) | ((old >= 0) & (day > cancelled)))
    np.minimum.at(issued, which[late], day[late])
    number = pl.Series(account[late].astype(np.int64) * CARDS + REPLACEMENT)
    there = pl.Series(issued.astype(np.int32)).cast(pl.Date)
    where = np.flatnonzero(card["card_id"].to_numpy() % CARDS == REPLACEMENT)
    return {
        "transaction": payment.with_columns(payment["card_id"].scatter(at[late], number)),
        "card": card.with_columns(card["issued_on"].scatter(where, there)),
    }
