"""Accounts that are opened for the purpose: a role of `opens` in a scenario's `arguments` plays on a new current account of each member's, opened some days before
it is first paid on, and on nothing that the member had before."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import polars as pl

from ....core.scenario import Edit, Scene
from ..calendar import DAY
from ..loans import ACCOUNTS
from .staging import ibans_of, opened

PLACE = 6
"""The place of such an account among a customer's; no product takes it."""
LONGEST = 10
"""Days at most from the opening to the first payment."""


def onboarded(scene: Scene) -> Scene:
    """The scene with the new accounts in place of those that were cast."""
    cast = dict(scene.cast)
    for role in scene.use.scenario.arguments.get("opens", ()):
        members = cast[role]
        members = members.with_columns(account_id=pl.col("customer_id") * ACCOUNTS + PLACE)
        cast[role] = members.with_columns(iban=ibans_of(scene, members))
    return replace(scene, cast=cast)


def openings(scene: Scene, moves: pl.DataFrame) -> list[Edit]:
    """The accounts of a scene that `onboarded` made: `moves` are the payments, with `payer` and `i`, `payee` and `j`, and their moment `at`."""
    edits = []
    for role in scene.use.scenario.arguments.get("opens", ()):
        sides = (("payer", "i"), ("payee", "j"))
        paid = pl.concat(moves.filter(pl.col(side) == role).select("instance", "at", member=n) for side, n in sides)
        first = paid.group_by("instance", "member").agg(pl.col("at").min())
        who = scene.cast[role].join(first, on=["instance", "member"], maintain_order="left")
        wait = scene.stream.child("opened", role).integers(
            scene.address("account", who["instance"], who["member"]), LONGEST
        )
        day = pl.Series((who["at"].to_numpy() // DAY - 1 - wait).astype(np.int32)).cast(pl.Date)
        frame = opened(scene, who, day, 0)
        edits.append(scene.edit("insert", "account", frame, role, "new-account"))
    return edits
