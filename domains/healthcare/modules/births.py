"""A child is born where its mother gives birth: the newborn's stay, which the population makes, lies in the delivery that a module makes."""

from __future__ import annotations

import polars as pl

from ....core.stream import Stream
from ....core.tables import Table, Tables
from ..conditions import BORN, BY_CESAREAN
from ..curves import DAY, MINUTE

PREGNANCY, CESAREAN = "72892002", "11466000"
"""SNOMED CT: what our module's deliveries are for, and the operation."""
LABOUR = 8 * 60 * MINUTE
"""From the admission to the birth at most."""


def with_mothers(stream: Stream, tables: Tables, condition: Table) -> Table:
    """The population's conditions with the stays of newborns whose mother gives birth in the modules' record: they begin some hours after hers on the day
    of birth, end when she goes home, and are by cesarean where she is operated on."""
    patient = tables["patient"]
    first = int(patient["patient_id"][0])
    done = tables["module procedure"].filter(pl.col("code") == CESAREAN)["encounter"].drop_nulls()
    stays = (
        tables["module encounter"]
        .with_row_index("number")
        .filter((pl.col("class") == "inpatient") & (pl.col("reason_code") == PREGNANCY))
    )
    stays = stays.select(
        mother_id=pl.col("patient").cast(pl.Int64) + first,
        begins=pl.col("start") // MINUTE * MINUTE,
        ends=pl.col("stop") // MINUTE * MINUTE,
        cut=pl.col("number").is_in(done.implode()),
    )
    born = patient.select("patient_id", "birth", pl.col("mother_id").cast(pl.Int64), last="last_seen")
    babies = condition.filter(pl.col("code").is_in([BORN, BY_CESAREAN])).select("patient_id", "encounter_row")
    babies = babies.join(born, on="patient_id").join(stays, on="mother_id", maintain_order="left")
    babies = babies.filter(pl.col("begins").is_between("birth", pl.col("birth") + DAY, closed="left"))
    babies = babies.unique("encounter_row", keep="first", maintain_order=True)
    u = pl.Series(stream.uniform(babies["encounter_row"].to_numpy()))
    hours = pl.min_horizontal(pl.lit(LABOUR), pl.col("birth") + DAY - pl.col("begins"))
    told = babies.with_columns(
        start=(pl.col("begins") + (hours * u).cast(pl.Int64)) // MINUTE * MINUTE,
        end=pl.min_horizontal("ends", "last"),
    )
    told = told.filter(pl.col("start") < pl.col("end")).select(
        "encounter_row",
        "start",
        "end",
        over=pl.col("ends") < pl.col("last"),
        mode=pl.when("cut").then(pl.lit(BY_CESAREAN)).otherwise(pl.lit(BORN)),
    )
    found = condition.join(told, on="encounter_row", how="left", maintain_order="left")
    over = pl.when(pl.col("mode").is_null()).then("abatement_at").otherwise(pl.when("over").then("end"))
    return found.with_columns(
        code=pl.coalesce("mode", "code"),
        care_start=pl.coalesce("start", "care_start"),
        care_end=pl.coalesce("end", "care_end"),
        abatement_at=over,
    ).select(condition.columns)
