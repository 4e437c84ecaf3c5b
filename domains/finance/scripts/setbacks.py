"""What goes wrong for those who move money: payments that are stopped or recalled, and what the bank is told of."""

from __future__ import annotations

import numpy as np
import polars as pl

from ....core.places import places
from ....core.scenario import Edit, Scene
from ....core.stream import join_rows
from ....core.tables import ROW, alike, only, picked, put
from ..calendar import DAY
from ..reports import claims
from .staging import whole_seconds


def setbacks(scene: Scene, moves: pl.DataFrame) -> list[pl.DataFrame]:
    """A payment that was stopped went out a little before the one that passed; one that is returned comes back days later."""
    p, rows = scene.block.priors, moves[ROW].to_numpy()
    u = {k: scene.stream.child(k).uniform(rows) for k in ("stopped", "stopped at", "returned", "returned at", "part")}
    stopped = u["stopped"] < p("laundering.stopped")
    returned = u["returned"] < p("laundering.returned")
    early = moves["at"].to_numpy() - whole_seconds(120 + 1_800 * u["stopped at"])
    late = moves["at"].to_numpy() + DAY + whole_seconds(10 * 86_400 * u["returned at"])
    least, whole = p("laundering.recovered").values()
    share = np.minimum(1.0, least + u["part"] * (1 - least) / (1 - whole))
    sent = moves["amount_minor"].to_numpy()
    part = np.maximum(1, np.ceil(sent * share).astype(np.int64))
    here = np.flatnonzero(np.array([payer in scene.cast for payer in moves["payer"]], bool) & stopped)
    attempt = put(
        only(moves, here),
        pl.Series(ROW, join_rows(rows[here], 1) | np.uint64(1 << 63)),
        pl.Series("at", early[here]),
        alike("stopped", len(here), "effect"),
        pl.Series("cleared", np.zeros(len(here), bool)),
    )
    here = np.flatnonzero(returned & (late < scene.block.window.end))
    back = only(moves, here)
    whole_sum = part[here] == sent[here]
    back = put(
        back,
        pl.Series(ROW, join_rows(rows[here], 2) | np.uint64(1 << 63)),
        pl.Series("at", late[here]),
        pl.Series("amount_minor", part[here]),
        *(back[other].alias(side) for side, other in (("payer", "payee"), ("payee", "payer"), ("i", "j"), ("j", "i"))),
        pl.Series("effect", ["recalled" if all_of_it else "partly-recovered" for all_of_it in whole_sum], pl.String),
    )
    return [attempt, back]


def reported(scene: Scene, payments: pl.DataFrame) -> list[Edit]:
    """Victims report some of what they were talked into; of laundering the bank finds few groups, and then all their payments."""
    share, instance = scene.block.priors("report.share"), payments["instance"].to_numpy().astype(np.uint64)
    if "victim" in scene.cast:
        mine = only(payments, ((payments["role"] == "victim") & (payments["effect"] != "stopped")).to_numpy())
        found = claims(scene.block, mine, share["scam"], cards=False)
    else:
        caught = scene.stream.child("caught").uniform(instance) < share["laundering"]
        found = claims(scene.block, payments, np.where(caught, 1.0, 0.0), cards=False)
        found = put(found, alike("bank", found.height, "reported_by"))
    role = picked(payments["role"], places(payments[ROW], found["transaction_row"].to_numpy()))
    return [Edit("insert", "fraud_report", put(found, role, alike("report", found.height, "effect")))]
