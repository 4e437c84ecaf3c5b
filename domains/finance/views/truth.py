"""Which transactions are fraud or laundering, by the labels: those that a scenario made or changed, edge cases of records aside."""

from __future__ import annotations

from functools import lru_cache

import polars as pl

from ....core.scenario import load_scenarios
from ....core.tables import Table, Tables


@lru_cache(1)
def illicit() -> tuple[str, ...]:
    """The scenarios whose rows are illicit; the others are records of an unusual shape."""
    return tuple(name for name, s in load_scenarios("finance").items() if s.script != "records")


def labelled(tables: Tables) -> Table:
    """One row for each illicit transaction: transaction_id, scenario, instance, role. The first scenario by name where several share a row."""
    label = tables["label"].with_columns(pl.col("scenario", "role", "table").cast(pl.String))
    mine = label.filter(
        (pl.col("table") == "transaction") & pl.col("scenario").is_in(illicit()) & pl.col("row_key").is_not_null()
    )
    return mine.select(transaction_id="row_key", scenario="scenario", instance="instance", role="role").unique(
        "transaction_id", keep="first", maintain_order=True
    )
