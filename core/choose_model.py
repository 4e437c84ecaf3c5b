"""`auto`: which model fits a table best in the time there is, and why. It looks at the shape, never at a clock: the same table, the same model."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

import numpy as np

from .errors import UserError
from .samplers.deep import learn_transformer as transformer
from .samplers.deep.cells import CLASSES, LISTED
from .samplers.deep.learn_autoregressive import BATCH, passes_of, sizes_of
from .samplers.deep.training import OVERHEAD, RATE, SHARE
from .samplers.statistical.grow import ROWS, TREES
from .samplers.statistical.learn_events import Roles
from .samplers.statistical.learn_network import ROWS as GRAPH_ROWS
from .tables import Table

EVENTS, VALUED = "semi-markov", "sequence-transformer"
FEW_ROWS = 200
NETWORK_ROWS, FEWEST_STEPS = 10_000, 500
"""Of fewer rows, or with fewer steps of learning, the forest is better (`benchmarks/models.py`)."""
FEWEST_HASTY = 150
"""Where there is no time for trees either, fewer steps still are better than a graph: credit_default in 10 s, TSTR 0.772 against 0.727; Adult in 5 s, C2ST 0.647 against 0.711."""
WIDE_ROWS, WIDE_COLUMNS = 3_000, 20
"""Of fewer rows than `NETWORK_ROWS`, but so many of so many columns, the transformer is better than the forest in every figure, if it has the time for `MOST` of its passes."""
MEASURES, MOST = 1 / 3, 0.8
"""Of `NETWORK_ROWS` rows or more it is better than the autoregressive network where at most this share of the columns are measures, numbers of more values than `LISTED`: these are told by
classes and cells, and for cells the wider network has more units (Adult, 1 of 15 columns: C2ST 0.527 against 0.540; credit_default, 12 of 24: 0.720 against 0.695)."""
LONGEST = 120.0
"""CPU-seconds that it may take where no time is said."""
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


def choose(table: Table, seconds: float | None = None, networks: bool = False) -> Choice:
    """The model for a table, within about so many CPU-seconds; with `networks`, one that torch learns where torch is installed. Raises UserError for a time
    that is none."""
    if seconds is not None:
        check_seconds(seconds)
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
    if networks and n >= WIDE_ROWS and find_spec("torch"):
        celled = sum(t.is_numeric() and table[c].n_unique() > LISTED for c, t in table.schema.items())
        cost = transformer.EPOCHS * transformer.pass_seconds(n, width, width * CLASSES)
        suited = celled <= MEASURES * width if n >= NETWORK_ROWS else width >= WIDE_COLUMNS
        if suited and MOST * cost <= (LONGEST if seconds is None else SHARE * seconds):
            which = f"{celled} of them measures" if n >= NETWORK_ROWS else "so many"
            return Choice(
                "transformer",
                {},
                f"{shape}, {which}: columns that ask what each other say, the best quality there, in about {cost:.0f} CPU-seconds at most",
            )
        passes, one_pass = network_passes(n, width, celled, seconds)
        if n >= NETWORK_ROWS and passes * n / BATCH >= (FEWEST_STEPS if afford >= _FEWEST_TREES else FEWEST_HASTY):
            cost = passes * one_pass
            return Choice(
                "autoregressive",
                {},
                f"{shape}, {celled} of them measures: one network for all columns, the best quality in the time, in about {cost:.0f} CPU-seconds at most",
            )
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


def network_passes(rows: int, columns: int, celled: int, seconds: float | None) -> tuple[int, float]:
    """How many passes of the autoregressive network there is time for, and the CPU-seconds of one; as `training.py` plans them, for columns of as many classes as most."""
    hidden, units = sizes_of(rows, celled)
    work = columns * columns * hidden + columns * hidden * units + columns * CLASSES * units
    one = rows * (OVERHEAD / BATCH + 3 * work / RATE)
    most = passes_of(rows)
    return (most if seconds is None else min(most, int(SHARE * seconds / one))), one


def events_or_series(table: Table, roles: Roles) -> str:
    """What `auto` stands for with a time: a chain where there is one kind of event at each time of an entity, the transformer where there are values."""
    others = [c for c in table.columns if c not in (roles.entity, roles.time)]
    kinds = len(others) == 1 and not table.schema[others[0]].is_numeric()
    return EVENTS if roles.entity and (roles.event or kinds) else VALUED


def check_seconds(seconds: float) -> None:
    """Raises UserError for a time that is none."""
    if not (np.isfinite(seconds) and seconds > 0):
        raise UserError(f"the time is {seconds}, expected seconds above 0")


def parse_seconds(text: str, flag: str) -> float:
    """Read `60s`, `2m` or `60`. Raises UserError for what is no time."""
    number, factor = (text[:-1], {"s": 1.0, "m": 60.0}[text[-1]]) if text[-1:] in ("s", "m") else (text, 1.0)
    try:
        return float(number) * factor
    except ValueError:
        raise UserError(f"{flag} {text}: expected a time such as 60s or 2m") from None
