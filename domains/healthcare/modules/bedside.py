"""What is measured at the encounters that our own modules make: as the population measures at its own, by the type of encounter and its reason."""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl

from ....core.domain import Block
from ....core.schema import Schema
from ....core.tables import Tables, only
from ..encounters import SHOT
from ..observations import measured, recorded
from .join import measured_too


@dataclass(frozen=True)
class Bedside:
    """The step, as a value. It follows the one that joins the records."""

    schema: Schema

    def __call__(self, block: Block, tables: Tables) -> Tables:
        visits, there = tables["encounter"], tables["observation"]
        # visits of the population are check-ups, for a condition of its own, or for a shot
        theirs = pl.col("months").is_null() & pl.col("condition_row").is_null() & (pl.col("type") != SHOT)
        own = {snomed: code for code, snomed in self.schema.code_lists["condition_snomed"].codes.items()}
        visits = visits.filter(theirs).with_columns(pl.col("reason").cast(pl.String).replace(own))
        made = measured(block, {**tables, "encounter": visits})
        made = only(made, ~measured_too(made, there))
        made = recorded([made]).select(c for c in (*made.columns, "absent", "status", "orphan") if c in there.columns)
        made = made.with_columns(pl.col(c).cast(t) for c, t in there.schema.items() if c in made.columns)
        return {"observation": pl.concat([there, made], how="diagonal")}
