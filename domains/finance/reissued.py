"""Payments with a card that was replaced: from the day on which the new one is there, its holder pays with it."""

from __future__ import annotations

import numpy as np
import polars as pl

from ...core.domain import Block
from ...core.tables import Tables, filled, picked, plain
from .calendar import DAY
from .holdings import CARDS, REPLACEMENT

LOST = ("41", "43")
"""How the issuer answers whoever uses a card that was reported."""


def reissued(block: Block, tables: Tables) -> Tables:
    """The step that puts the new card's number to what is paid after a replacement, whoever decided on it; what is refused as lost or stolen was tried with the old."""
    payment, card = tables["transaction"], tables["card"]
    new = card.filter(pl.col("card_id") % CARDS == REPLACEMENT)
    if new.is_empty():
        return {"transaction": payment}
    since = dict(
        zip(new["account_id"].to_list(), (plain(new["issued_on"]).astype(np.int64) * DAY).tolist(), strict=True)
    )
    at = np.flatnonzero(np.isin(payment["account_id"].to_numpy(), list(since)))
    used, account = filled(picked(payment["card_id"], at), REPLACEMENT), plain(picked(payment["account_id"], at))
    begun = np.array([since[a] for a in account.tolist()], np.int64)
    tried = picked(payment["response_code"], at).cast(pl.String).is_in(LOST).fill_null(False).to_numpy()
    late = (used % CARDS < REPLACEMENT) & (plain(picked(payment["authorised_at"], at)) >= begun) & ~tried
    number = pl.Series(account[late].astype(np.int64) * CARDS + REPLACEMENT)
    return {"transaction": payment.with_columns(payment["card_id"].scatter(at[late], number))}
