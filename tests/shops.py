"""Two tables that belong together: customers, and orders whose number and amount hang on the customer."""

from __future__ import annotations

import numpy as np
import polars as pl


def shop(seed: int, customers: int = 1_500) -> dict[str, pl.DataFrame]:
    draw = np.random.default_rng(seed)
    segment = draw.choice(["home", "trade"], customers, p=[0.7, 0.3])
    orders = draw.poisson(np.where(segment == "trade", 4.0, 1.0))
    owner = np.repeat(np.arange(customers), orders)
    trade = segment[owner] == "trade"
    return {
        "customers": pl.DataFrame(
            {"id": np.arange(customers) + 1_000, "segment": segment, "age": draw.integers(18, 80, customers)}
        ),
        "orders": pl.DataFrame(
            {
                "order_id": draw.permutation(len(owner)),
                "customer_id": owner + 1_000,
                "amount": np.round(np.where(trade, 500, 50) * draw.lognormal(0, 0.4, len(owner)), 2),
                "paid": draw.choice(["card", "cash"], len(owner)),
            }
        ),
    }
