"""When the encounters of modules take place: modules count days from a birth at midnight and know no hours; practices and hospitals do."""

from __future__ import annotations

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ....core.domain import Block
from ....core.stream import join_rows
from ....core.tables import ROW, Table, Tables
from ..conditions import CLASSES, duration
from ..curves import DAY, MINUTE, any_time, office_time, working_day
from .births import PREGNANCY
from .records import SHORTEST

CHAINED = 60 * MINUTE
"""Who is seen and then admitted, or handed on, within this time goes from the one encounter to the other."""


def at_hours(block: Block, patient: Table, death: NDArray, made: Tables) -> Tables:
    """The frames of the module record with their encounters in office hours, emergencies at the hours at which they come, admissions at those of
    hospitals; what was done there moves with them. Nothing moves beyond a death. Visits of the population stay where they are."""
    encounter = made["module encounter"]
    move, length = _moves(block, patient, death, encounter)
    shifted = encounter.with_columns(
        start=pl.Series(encounter["start"].to_numpy() + move),
        stop=pl.Series(encounter["start"].to_numpy() + move + length),
    )
    return {name: _moved(name, frame, move) for name, frame in made.items()} | {"module encounter": shifted}


def _moves(block: Block, patient: Table, death: NDArray, encounter: Table) -> tuple[NDArray, NDArray]:
    """By how much each encounter is put off, in microseconds, and how long it lasts: those of modules that say nothing as emergencies do."""
    p, start, stop = (encounter[c].to_numpy() for c in ("patient", "start", "stop"))
    move, length = np.zeros(len(p), np.int64), stop - start
    kind = encounter["class"]
    theirs = np.flatnonzero((kind != "wellness").to_numpy())
    order = theirs[np.lexsort((stop[theirs], start[theirs], p[theirs]))]
    if not len(order):
        return move, length
    stream, hours = block.stream.child("module", "hours"), block.priors("encounter.hours")
    rows = join_rows(patient[ROW].to_numpy()[p], start // MINUTE)
    emergency, stay = ((kind == k).to_numpy() for k in ("emergency", "inpatient"))
    at = office_time(start, block.priors, stream.child("office"), rows)
    day = start.copy()
    # who is admitted without an emergency was expected, on a working day, but for a birth
    planned = stay & (encounter["reason_code"] != PREGNANCY).fill_null(True).to_numpy()
    day[planned] = working_day(start[planned], block.priors) * DAY
    for where, weights in ((emergency, "emergency"), (stay, "admission")):
        at[where] = any_time(day[where], hours[weights], stream.child(weights), rows[where])
    move = np.where((kind == "wellness").to_numpy(), 0, at - start // MINUTE * MINUTE)
    # a link of a chain moves with its first, and nothing comes before what came before it
    gap = np.minimum(start[order][1:] - start[order][:-1], np.abs(start[order][1:] - stop[order][:-1]))
    first = np.append(True, (p[order][1:] != p[order][:-1]) | (gap > CHAINED))
    heads = np.maximum.accumulate(np.where(first, np.arange(len(order)), 0))
    begun = pl.DataFrame({"p": p[order], "at": start[order] + move[order][heads]})
    begun = begun.select(pl.col("at").cum_max().over("p")).to_series().to_numpy()
    latest = np.maximum(start, death[p] - MINUTE)[order]
    move[order] = np.minimum(begun, latest) - start[order]
    short = emergency & (length <= SHORTEST)
    care = np.full(int(short.sum()), CLASSES.index("EMER"))
    length[short] = duration(block.priors, care, stream.child("duration"), rows[short])
    return move, length


def _moved(name: str, frame: Table, move: NDArray) -> Table:
    """Rows of one frame with the encounters that they lie in. A diagnosis is made when the encounter is; what it is of began at the latest when it did."""
    if "encounter" not in frame.columns or not frame.height:
        return frame
    inside = frame["encounter"].is_not_null().to_numpy()
    by = np.where(inside, move[frame["encounter"].fill_null(0).to_numpy()], 0)
    if name == "module condition":
        by = np.minimum(by, 0)
    if "at" in frame.columns:
        return frame.with_columns(
            pl.Series(frame[c].to_numpy() + by).alias(c) for c in ("at", "stop") if c in frame.columns
        )
    moved = frame.with_columns(start=pl.Series(frame["start"].to_numpy() + by))
    return moved.with_columns(stop=pl.when(pl.col("stop").is_not_null()).then(pl.max_horizontal("stop", "start")))


def with_reasons(made: Tables) -> Table:
    """The encounters of modules, those for which no reason is given by the first diagnosis that is made in them."""
    encounter = made["module encounter"].with_row_index("_row", offset=0)
    found = made["module condition"].with_row_index("_condition").filter(pl.col("encounter").is_not_null())
    found = found.group_by("encounter", maintain_order=True).first()
    found = found.select(
        pl.col("encounter").cast(encounter["_row"].dtype).alias("_row"),
        reason_found=pl.col("_condition").cast(pl.Int64),
        **{f"found_{c}": pl.col(c) for c in ("system", "code", "display")},
    )
    joined = encounter.join(found, on="_row", how="left", maintain_order="left")
    plain = pl.col("reason").is_null() & pl.col("reason_code").is_null() & (pl.col("class") != "wellness")
    joined = joined.with_columns(
        reason=pl.when(plain).then("reason_found").otherwise("reason"),
        **{
            f"reason_{c}": pl.when(plain).then(f"found_{c}").otherwise(f"reason_{c}")
            for c in ("system", "code", "display")
        },
    )
    return joined.select(made["module encounter"].columns)
