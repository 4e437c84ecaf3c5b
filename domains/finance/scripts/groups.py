"""Groups of one operator over time: the same flows are played again and again, by members of one pool of whom some come again.

A scenario's `arguments` says

    groups = "groups"               # so many groups in each instance, one after the other over the window; the instance is their operator's
    takes = { mule = "mules" }      # of these roles so many take part in each group (of the others all do)
    handed = ["mule"]               # these have handed their access over: all but the first of each group pay from the operator's machines
    machines = "devices"            # how many there are; groups use them in turn

While the flows are played each group is an instance of its own. In the labels the instance is the operator's, and payments and accounts bear their
group besides (effects `group-1`, `group-2`, …).
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ....core.scenario import Edit, Scene
from ....core.stream import U64, join_rows
from ....core.tables import ROW, Table
from .staging import value_of

POOL = "pool"
"""Which of its operator's pool a member of a group is."""


def groups_each(scene: Scene) -> int:
    """Groups of one operator; 1 where an instance is one group."""
    return int(value_of(scene, scene.use.scenario.arguments.get("groups", 1)))


def in_groups(scene: Scene, each: int) -> Scene:
    """The scene with an instance for each group. Groups take their members from the pool in turn, in an order that is drawn: two that
    follow each other share some where the pool is no larger than they need."""
    takes, scenario = scene.use.scenario.arguments.get("takes", {}), scene.use.scenario
    cast, roles = {}, []
    for role in scenario.roles:
        pool = scene.use.size(role)
        size = min(int(value_of(scene, takes.get(role.name, pool))), pool)
        roles.append(replace(role, size=size))
        cast[role.name] = _in_turn(scene, role.name, each, pool, size)
    return replace(scene, cast=cast, use=replace(scene.use, scenario=replace(scenario, roles=tuple(roles))))


def _in_turn(scene: Scene, role: str, each: int, pool: int, size: int) -> Table:
    members = scene.cast[role].sort("instance", "member")
    operator = members["instance"].to_numpy()[::pool]
    stream = scene.stream.child("pool", role)
    order = np.argsort(stream.uniform(join_rows(operator[:, None], np.arange(pool))), axis=1)
    step = max(1, -(-(pool - size) // max(each - 1, 1)))
    turn = (np.arange(each)[:, None] * step + np.arange(size)) % pool
    drawn = order[:, turn]
    at = (np.arange(len(operator))[:, None, None] * pool + drawn).ravel()
    group = operator[:, None, None] * each + np.arange(each)[:, None] + np.zeros(size, np.int64)
    return members[at].with_columns(
        pl.Series("instance", group.ravel()),
        pl.Series("member", np.broadcast_to(np.arange(size), drawn.shape).ravel()),
        pl.Series(POOL, drawn.ravel()),
    )


def of_operators(edits: list[Edit], each: int) -> list[Edit]:
    """The edits with the operator for their instance, and the group of every payment and account said in a label of its own."""
    made = []
    for edit in edits:
        group = edit.rows["instance"].to_numpy() % each
        rows = edit.rows.with_columns(pl.col("instance") // each)
        if edit.action == "update":
            # who takes part in several groups is one party
            alike = [ROW, "instance", "role", "effect"]
            made.append(replace(edit, rows=rows.unique(alike, keep="first", maintain_order=True)))
        else:
            made.append(replace(edit, rows=rows))
        joins = edit.table == "account" and not rows.is_empty() and rows["effect"][0] == "party"
        if joins or (edit.action, edit.table) == ("insert", "transaction"):
            told = rows.select(
                ROW, "instance", "role", effect=pl.Series("group-" + pl.Series(group + 1).cast(pl.String))
            )
            made.append(Edit("update", edit.table, told.unique(maintain_order=True)))
    return made


def lent(scene: Scene, role: pl.Series, member: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Which payments are made on a machine of the operator's, with the access of somebody who handed it over."""
    handed = scene.use.scenario.arguments.get("handed", ())
    return np.array([word in handed for word in role], bool) & (member > 0)


def machines(scene: Scene, instance: NDArray[np.int64], each: int) -> U64:
    """The address of the machine that each group uses."""
    number = max(1, int(value_of(scene, scene.use.scenario.arguments.get("machines", 1))))
    return scene.address("machine", instance // each, instance % each % number)
