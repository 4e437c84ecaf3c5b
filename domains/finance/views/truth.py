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


def name_then(day: pl.Expr) -> pl.Expr:
    """The name under which a merchant traded on a day, from its columns `name`, `renamed_on` and `former_name`."""
    return pl.when(day < pl.col("renamed_on")).then("former_name").otherwise("name")


PRINCIPALS = ("borrower", "herder", "owner", "user", "victim")
"""Roles that move money of their own, or lose it."""


@lru_cache(1)
def mule_roles() -> frozenset[tuple[str, str]]:
    """Scenario and role of those who are paid and pay on for others."""
    return frozenset(
        (name, role.name)
        for name, s in load_scenarios("finance").items()
        for role in s.roles
        if role.name not in PRINCIPALS
        and all(any(flow[end] == role.name for flow in s.arguments.get("flow", ())) for end in ("to", "from"))
    )


def mules(tables: Tables) -> pl.Series:
    """The accounts that play a mule's part in any scenario."""
    label = tables["label"].with_columns(pl.col("scenario", "role", "table").cast(pl.String))
    party = label.filter((pl.col("table") == "account") & pl.col("row_key").is_not_null())
    of = pl.DataFrame(sorted(mule_roles()), schema={"scenario": pl.String, "role": pl.String}, orient="row")
    return party.join(of, on=["scenario", "role"], how="semi")["row_key"].unique()
