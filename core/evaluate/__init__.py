"""Evidence that synthetic data are faithful, useful, private and fair: `evaluate(real, synth)` measures, `Evaluation` says what it means."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..errors import UserError
from ..stream import Stream
from ..tables import Table
from .metric import Metric, definitions, parse_requirements, uses
from .result import Evaluation, Verdict, read_baseline

__all__ = ["Evaluation", "Metric", "Verdict", "definitions", "evaluate", "parse_requirements", "read_baseline", "uses"]


def evaluate(
    real: Any,
    synth: Any,
    holdout: Any = None,
    target: str | None = None,
    sensitive: Sequence[str] = (),
    only: Sequence[str] = (),
    seed: int = 0,
    relations: Sequence[str] = (),
) -> Evaluation:
    """Compare synthetic data with the real data that they stand for.

    A pandas or polars frame or the path of a CSV or Parquet file is one table; a folder of such files, the URL of a database or a mapping of names to
    frames are several. `holdout`: real rows that no model learnt from; without them most privacy figures cannot be had. `target`: a column to
    foretell. `sensitive`: columns whose disclosure or unequal treatment would harm. Columns of several tables are called `TABLE.COLUMN`. `only`: some of
    `diagnostics`, `fidelity`, `utility`, `privacy`, `fairness`. `relations`: what refers to what in several tables, `CHILD.COLUMN=PARENT.KEY`, beside
    what is declared in the database or found by names and values.

    Raises UserError for data that cannot be read or compared and for columns, relations or parts that do not exist.
    """
    from .links import parse_links
    from .pair import make_pair
    from .read import declared_links, read_data
    from .table import chosen_parts, evaluate_pair
    from .tables import evaluate_tables

    chosen_parts(only)
    first, second, third = (None if data is None else read_data(data) for data in (real, synth, holdout))
    stream = Stream.root(seed).child("evaluate")
    if isinstance(first, dict) and isinstance(second, dict) and not isinstance(third, Table):
        links = parse_links(relations, first) + declared_links(real)
        return evaluate_tables(first, second, third, links, target, sensitive, only, seed, stream)
    if not isinstance(first, Table) or not isinstance(second, Table) or isinstance(third, dict):
        raise UserError(
            "some of the data are one table and some are several: a file goes with a file, a folder or database with its like"
        )
    if relations:
        raise UserError(f"--relation: '{relations[0]}' needs several tables, as folders or databases")
    return evaluate_pair(make_pair(first, second, third, target, sensitive), only, seed, stream)
