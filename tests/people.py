"""A small table of people whose columns hang together: numbers, categories, times and gaps."""

from __future__ import annotations

import numpy as np
import polars as pl


def mixed(rows: int, seed: int, shift: float = 0.0) -> pl.DataFrame:
    """Numbers, categories, times and gaps that hang together."""
    draw = np.random.Generator(np.random.Philox(seed))
    level = draw.normal(shift, 1, rows)
    frame = pl.DataFrame(
        {
            "age": (40 + 12 * level).round().astype(int),
            "income": np.exp(level + draw.normal(0, 0.5, rows)),
            "debt": draw.normal(0, 1, rows) - level,
            "job": np.where(
                level + draw.normal(0, 1, rows) > 0, "office", np.where(draw.random(rows) < 0.4, "farm", "shop")
            ),
            "member": draw.random(rows) < 0.3,
            "joined": np.datetime64("2020-01-01") + (200 + 80 * level).astype("timedelta64[D]"),
        }
    )
    lost = pl.Series(draw.random(rows) < 0.1)
    return frame.with_columns(
        debt=pl.when(~lost).then("debt"),
        job=pl.when(~lost.shuffle(seed=seed)).then("job"),
        joined=pl.col("joined").cast(pl.Date),
    )
