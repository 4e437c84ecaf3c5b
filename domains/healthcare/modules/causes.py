"""Of what people die whose diseases our own modules know: one observation at each death, of a disease that stands in the record.

Who dies when is the life table's affair and stays so. A cause is sought in the order of `death.evidence`: whose record has a disease that bears on it dies of it
by `death.chance`, or else may die of one that comes after. The rest die of what the record does not know, and no cause is told."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import polars as pl

from ....core.domain import Block
from ....core.schema import Schema
from ....core.tables import ROW, Tables
from ..curves import YEAR
from .widen import Wider

CODE = "69453-9"
LOINC = ("http://loinc.org", "Cause of death [US Standard Certificate of Death]")
OLD = 85
"""Years: where the last of the published bands begins."""


def told(wider: Wider, schema: Schema) -> Wider:
    """What the schema takes to tell causes, beside what modules record."""
    causes = schema.code_lists["death_cause"]
    found = {code: (causes.system_of(code) or "", display) for code, display in causes.codes.items()}
    codes = dict(wider.codes)
    codes["observation"] = {**codes.get("observation", {}), CODE: LOINC}
    codes["finding"] = {**found, **codes.get("finding", {})}
    return replace(wider, codes=codes, measured={**wider.measured, CODE: (None, "exam")})


@dataclass(frozen=True)
class Causes:
    """The step, as a value."""

    schema: Schema

    def __call__(self, block: Block, tables: Tables) -> Tables:
        """`observation` with one row more for each death whose cause the record knows."""
        dead = tables["patient"].filter(pl.col("death_at").is_not_null())
        dead = dead.select(ROW, "patient_id", "birth", at=pl.col("death_at").cast(pl.Int64))
        rows, stream = dead[ROW].to_numpy(), block.stream.child("cause of death")
        band = ((dead["at"] - dead["birth"]).to_numpy() >= OLD * YEAR).astype(np.int64)
        ill = tables["condition"].select(
            "patient_id", pl.col("code").cast(pl.String), pl.col("onset_at").cast(pl.Int64)
        )
        ill = ill.join(dead.select("patient_id", "at"), on="patient_id").filter(pl.col("onset_at") <= pl.col("at"))
        cause = np.full(len(rows), -1, np.int64)
        chance = block.priors("death.chance")
        evidence = block.priors("death.evidence")
        for n, (code, diseases) in enumerate(evidence.items()):
            has = (
                dead["patient_id"].is_in(ill.filter(pl.col("code").is_in(diseases))["patient_id"].implode()).to_numpy()
            )
            dies = stream.child(code).uniform(rows) < np.array(chance[code])[band]
            cause[has & dies & (cause < 0)] = n
        made = dead.select(
            pl.Series(ROW, stream.child("row").bits(rows)),
            "patient_id",
            "at",
            code=pl.lit(CODE),
            value_code=pl.Series([*evidence, None], dtype=pl.String).gather(np.where(cause < 0, len(evidence), cause)),
        ).filter(pl.col("value_code").is_not_null())
        own = tables["observation"]
        made = made.with_columns(pl.col(c).cast(t) for c, t in own.schema.items() if c in made.columns)
        return {"observation": pl.concat([own, made], how="diagonal")}
