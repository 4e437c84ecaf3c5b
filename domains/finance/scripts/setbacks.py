"""What goes wrong for those who move money: payments that are stopped or recalled, and what the bank is told of."""

from __future__ import annotations

import numpy as np
import polars as pl

from ....core.places import places
from ....core.scenario import Edit, Scene
from ....core.stream import join_rows
from ....core.tables import ROW, only
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
    attempt = moves.with_columns(
        pl.Series(ROW, join_rows(rows, 1) | np.uint64(1 << 63)),
        pl.Series("at", early),
        effect=pl.lit("stopped"),
        cleared=pl.lit(False),
    )
    back = moves.with_columns(
        pl.Series(ROW, join_rows(rows, 2) | np.uint64(1 << 63)),
        pl.Series("at", late),
        pl.Series("amount_minor", part),
        payer="payee",
        payee="payer",
        i="j",
        j="i",
        effect=pl.when(pl.Series(part == sent)).then(pl.lit("recalled")).otherwise(pl.lit("partly-recovered")),
    )
    ours = np.array([payer in scene.cast for payer in moves["payer"]], bool)
    return [only(attempt, ours & stopped), only(back, returned & (late < scene.block.window.end))]


def reported(scene: Scene, payments: pl.DataFrame) -> list[Edit]:
    """Victims report some of what they were talked into; of laundering the bank finds few groups, and then all their payments."""
    share, instance = scene.block.priors("report.share"), payments["instance"].to_numpy().astype(np.uint64)
    if "victim" in scene.cast:
        mine = only(payments, ((payments["role"] == "victim") & (payments["effect"] != "stopped")).to_numpy())
        found = claims(scene.block, mine, share["scam"], cards=False)
    else:
        caught = scene.stream.child("caught").uniform(instance) < share["laundering"]
        found = claims(scene.block, payments, np.where(caught, 1.0, 0.0), cards=False)
        found = found.with_columns(reported_by=pl.lit("bank"))
    role = payments["role"].gather(places(payments[ROW], found["transaction_row"].to_numpy()))
    return [Edit("insert", "fraud_report", found.with_columns(role, effect=pl.lit("report")))]
