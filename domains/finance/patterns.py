"""Labels that keep their word: each labelled group of transfers shows the shape that its typology is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import polars as pl

from ...core.checks import violations
from ...core.scenario import Use
from ...core.tables import Table, Tables
from .motifs import recovered, seen

SHARE = 0.5
"""At least so much of a group must be part of its shape: a few payments are stopped or sent back."""


def patterns(tables: Tables, label: Table, uses: Sequence[Use]) -> Table:
    """One violation of `label.pattern` for each group whose transfers do not show its scenario's shape, with the settings it was played with: a cycle that does not
    close, a fan without its degree, an amount at or above the threshold that structuring stays under."""
    label = label.with_columns(pl.col("scenario", "table", "effect").cast(pl.String))
    whole, found = None, [violations()]
    for use in {u.scenario.name: u for u in uses}.values():
        scenario = use.scenario
        mine = label.filter(
            (pl.col("scenario") == scenario.name) & (pl.col("table") == "transaction") & pl.col("row_key").is_not_null()
        )
        if not scenario.match or mine.is_empty() or "flow" not in scenario.arguments:
            continue
        whole = seen(tables) if whole is None else whole
        # the group's own transfers: what else its parties did is not its shape; silence is judged by everything on the account, below
        own = whole.transfers.filter(pl.col("transaction_id").is_in(mine["row_key"].implode()))
        shape = replace(scenario, match={k: v for k, v in scenario.match.items() if k != "quiet"})
        alike = [replace(u, scenario=shape) for u in uses if u.scenario.name == scenario.name]
        fine = pl.concat(
            [recovered(replace(whole, transfers=own), u, label, SHARE)[0].filter("found")["instance"] for u in alike]
        )
        moved = [f["effect"] for f in scenario.arguments["flow"] if not f.get("aside", False)]
        flows = mine.filter(pl.col("effect").is_in(moved))
        lost = flows.filter(~pl.col("instance").is_in(fine.implode()))
        words = f"{scenario.name}: its transfers are no {scenario.match['pattern']}"
        first = lost.group_by("instance", maintain_order=True).agg(pl.col("row_key").min())
        found.append(violations("label.pattern", "transaction", first["row_key"], words))
        found.append(_too_large(own, flows, alike))
        found.append(_stirred(tables, label, alike[0]))
    return pl.concat(found)


def _too_large(graph: Table, flows: Table, uses: Sequence[Use]) -> Table:
    """Payments at or above the threshold that the scenario stays under."""
    name = uses[0].scenario.match.get("below")
    if name is None:
        return violations()
    below = max(float(u.parameters[name] if isinstance(name, str) else name) for u in uses)
    over = graph.filter(pl.col("transaction_id").is_in(flows["row_key"].implode()) & (pl.col("amount") >= below))
    return violations(
        "label.pattern", "transaction", over["transaction_id"], f"{uses[0].scenario.name}: not below {below:g}"
    )


def _stirred(tables: Tables, label: Table, use: Use) -> Table:
    """Accounts that a scenario keeps still, on which something happened in the days before its first payment. What other scenarios do there is theirs."""
    roles, days = list(use.scenario.arguments.get("quiet", ())), use.scenario.match.get("quiet")
    if not roles or days is None:
        return violations()
    days = float(use.parameters[days] if isinstance(days, str) else days)
    own = pl.col("scenario") == use.scenario.name
    held = label.filter(own & (pl.col("table") == "account") & pl.col("role").cast(pl.String).is_in(roles))
    marked = label.filter(pl.col("table") == "transaction").drop_nulls("row_key")
    payment = tables["transaction"].select(
        "transaction_id", "account_id", "counterparty_account_id", at="authorised_at"
    )
    sides = pl.concat(
        [
            payment.select("transaction_id", "at", "account_id"),
            payment.drop_nulls("counterparty_account_id").select(
                "transaction_id", "at", account_id="counterparty_account_id"
            ),
        ]
    )
    first = (
        held.select("instance", account_id="row_key")
        .join(marked.filter(own).select("instance", transaction_id="row_key"), on="instance")
        .join(sides, on=["account_id", "transaction_id"])
        .group_by("account_id")
        .agg(first=pl.col("at").min())
    )
    genuine = sides.join(marked.select(transaction_id="row_key"), on="transaction_id", how="anti")
    before = genuine.join(first, on="account_id").filter(
        (pl.col("at") < pl.col("first")) & (pl.col("first") - pl.col("at") < pl.duration(seconds=round(days * 86_400)))
    )
    words = f"{use.scenario.name}: not the first in {days:g} days"
    return violations("label.pattern", "transaction", before["transaction_id"].unique().sort(), words)
