"""`auto`: which model fits a table best in the time there is, and why. It looks at the shape, never at a clock: the same table, the same model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from .errors import UserError
from .samplers.statistical.grow import ROWS, TREES
from .samplers.statistical.learn_network import ROWS as GRAPH_ROWS
from .tables import Table

FEW_ROWS = 200
_FEWEST_TREES = 2
_TRIALS = 5
"""What settling a column's settings costs, in trees."""
GRAPH_SECONDS = 1.5e-7
"""CPU-seconds that a graph takes for each row and pair of columns, measured likewise."""
SECONDS = 2.5e-7
"""CPU-seconds that one tree takes for each row and pair of columns, measured on one core of 2026 with `benchmarks/models.py`."""


@dataclass(frozen=True)
class Choice:
    name: str
    settings: dict[str, Any]
    why: str


def choose(table: Table, seconds: float | None = None) -> Choice:
    """The model for a table, within about so many CPU-seconds. Raises UserError for a time that is none."""
    if seconds is not None and not (np.isfinite(seconds) and seconds > 0):
        raise UserError(f"the time is {seconds}, expected seconds above 0")
    n, width = table.height, table.width
    shape = f"{n:,} rows of {width} columns"
    if width < 2:
        return Choice("empirical", {}, f"{shape}: there is no relation between columns to learn")
    if n < FEW_ROWS:
        return Choice(
            "gaussian-copula", {}, f"{shape}: too few for trees; a copula has one number for each pair of columns"
        )
    one = min(n, ROWS) * width * (width - 1) / 2 * SECONDS
    # tables of more than a few thousand rows need a tree's whole depth; a quarter of the time is left for what is not trees
    afford = TREES if seconds is None else int(0.75 * seconds / one) - _TRIALS
    if afford < _FEWEST_TREES:
        need = f"{shape}: trees would need about {(_TRIALS + _FEWEST_TREES) * one / 0.75:.0f} s"
        graph = min(n, GRAPH_ROWS) * width**2 * GRAPH_SECONDS
        if seconds is not None and graph > seconds:
            return Choice("gaussian-copula", {}, f"{need}, a graph {graph:.1f} s")
        return Choice("bayesian-network", {}, f"{need}, and a graph about {graph:.1f} s")
    trees = min(afford, TREES)
    return Choice(
        "forest",
        {"trees": trees},
        f"{shape}: {trees} trees a column, the best quality, in about {(trees + _TRIALS) * one:.0f} CPU-seconds",
    )


def parse_seconds(text: str, flag: str) -> float:
    """Read `60s`, `2m` or `60`. Raises UserError for what is no time."""
    number, factor = (text[:-1], {"s": 1.0, "m": 60.0}[text[-1]]) if text[-1:] in ("s", "m") else (text, 1.0)
    try:
        return float(number) * factor
    except ValueError:
        raise UserError(f"{flag} {text}: expected a time such as 60s or 2m") from None
