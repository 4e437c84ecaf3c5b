"""What a scenario takes away: payments of accounts that lie still, and wages that are paid elsewhere."""

from __future__ import annotations

import polars as pl

from ....core.scenario import Edit, Scene
from ....core.tables import ROW


def silence(scene: Scene, parties: pl.DataFrame, moves: pl.DataFrame) -> list[Edit]:
    """Accounts that lie still: what would have happened on them before their first payment is removed."""
    edits = []
    for role in scene.use.scenario.arguments.get("quiet", ()):
        mine = pl.concat(
            [
                moves.filter(pl.col(side) == role).select("instance", "at", n=n)
                for side, n in (("payer", "i"), ("payee", "j"))
            ]
        )
        until = mine.group_by("instance", "n").agg(pl.col("at").min())
        still = until.join(parties.filter(party=role), on=["instance", "n"]).select("account_id", "instance", "at")
        payment = scene.tables["transaction"].select(ROW, "account_id", "counterparty_account_id", "authorised_at")
        for side in ("account_id", "counterparty_account_id"):
            before = payment.join(still, left_on=side, right_on="account_id").filter(
                pl.col("authorised_at") < pl.col("at")
            )
            gone = before.select(ROW, "instance").unique(ROW, maintain_order=True)
            edits.append(scene.edit("remove", "transaction", gone, role, "silence"))
    return edits


def withheld(scene: Scene, parties: pl.DataFrame, moves: pl.DataFrame) -> list[Edit]:
    """Accounts that are not paid any more: wages from the first payment of the instance on are removed."""
    edits, since = [], moves.group_by("instance").agg(since=pl.col("at").min())
    for role in scene.use.scenario.arguments.get("withheld", ()):
        theirs = parties.filter(party=role).join(since, on="instance").select("account_id", "instance", "since")
        wages = scene.tables["transaction"].filter(pl.col("channel").cast(pl.String) == "salary")
        gone = wages.join(theirs, on="account_id").filter(pl.col("authorised_at") >= pl.col("since"))
        edits.append(scene.edit("remove", "transaction", gone.select(ROW, "instance"), role, "withheld"))
    return edits
