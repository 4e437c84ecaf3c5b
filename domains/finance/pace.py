"""What is known of customers at little cost, and says how many payments they make."""

from __future__ import annotations

import numpy as np

from ...core.domain import Block
from ...core.stream import F64
from .calendar import DAY
from .life import joined_on, last_used
from .payments import purchase_rate
from .people import businesses


def pace(block: Block) -> F64:
    """Of each customer the share of the window with the bank, and what rises with it: purchases and transfers to be expected, whether there is a wallet, a
    business, a company."""
    p, units, window = block.priors, block.units, block.window
    sigma = p("transfer.rate_log_sigma")
    sends = np.exp(sigma * block.stream.child("transfer", "rate").normal(units))
    wallet = block.stream.child("account", "wallet").uniform(units) < p("account.wallet")
    joined = joined_on(block, units) * DAY
    begin = np.where(joined < window.end, np.maximum(joined, window.start), window.start)
    there = (np.minimum(last_used(block, units), window.end) - begin) / (window.end - window.start)
    return (
        np.stack([np.ones(len(units)), purchase_rate(block), sends, wallet, *businesses(block, units)], axis=1)
        * (there[:, None])
    )
