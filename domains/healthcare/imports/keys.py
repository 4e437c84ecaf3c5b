"""Numbers for the ids of others: patients from 0, their rows by patient and time. Ids that are our own give back the keys they were made of."""

from __future__ import annotations

from collections.abc import Mapping

import polars as pl

from ....core.schema import Schema
from ....core.tables import Table
from ..fhir.parts import KEYS, prefix

FANS = tuple(1 << n for n in range(6, 25))
"""Rows of one table that a patient may have: powers of two, the least that suffices."""
ALIASES = {"practitioner": "npi", "patient": "mrn"}
"""Columns by which a row is named too, in references that search for an identifier."""
TYPES = {key.removesuffix("_id"): kind for kind, key in reversed(KEYS.items())}
"""The resource type whose ids a table's keys make: the first that is made of it."""


def numbered(
    frames: Mapping[str, Table], schema: Schema
) -> tuple[dict[str, Table], dict[str, int], dict[tuple[str, str], int]]:
    """The frames with keys for ids; how many rows a patient may have in each table (fan); and how many references, by table and column, lead
    nowhere. Rows whose patient is not there are left out, counted under their table and the column of the patient."""
    maps: dict[str, Table] = {}
    made: dict[str, Table] = {}
    fans: dict[str, int] = {}
    lost: dict[tuple[str, str], int] = {}
    roots = [n for n in frames if schema[n].within is None]
    for name in (*roots, *(n for n in frames if n not in roots)):
        # what every bundle brings along stands in several: that is one row, and no other's id
        spec, whole = schema[name], frames[name].unique(maintain_order=True)
        frame = whole.unique("id", keep="first", maintain_order=True)
        if gone := whole.height - frame.height:
            lost[name, "id"] = gone
        if spec.within:
            patients = maps["patient"].rename({"id": "patient_id", "key": "_unit"})
            frame = frame.join(patients, on="patient_id", how="left", maintain_order="left")
            if absent := frame["_unit"].null_count():
                lost[name, "patient_id"] = absent
                frame = frame.filter(pl.col("_unit").is_not_null())
        key = _own(frame, name, spec.within is not None)
        if key is None:
            frame, key = _new(frame, spec.within is not None)
        if spec.within:
            units, keys = frame["_unit"], key
            fans[name] = _fan(units, keys) or 1
        maps[name] = frame.select("id", key=key)
        if name in ALIASES:
            also = frame.select(pl.col(ALIASES[name]).alias("id"), key=key).drop_nulls()
            maps[name] = pl.concat([maps[name], also]).unique("id", keep="first", maintain_order=True)
        made[name] = frame.with_columns(key.alias(spec.key))
    for name, frame in made.items():
        spec = schema[name]
        for column, target in spec.references.items():
            if column in frame.columns and frame[column].dtype == pl.String and target in maps:
                known = maps[target].rename({"id": column, "key": "found"})
                joined = frame.join(known, on=column, how="left", maintain_order="left")
                if stray := joined.filter(pl.col(column).is_not_null() & pl.col("found").is_null()).height:
                    lost[name, column] = stray
                frame = joined.drop(column).rename({"found": column})
            elif column in frame.columns and frame[column].dtype == pl.String:
                lost[name, column] = frame[column].drop_nulls().len()
                frame = frame.with_columns(pl.lit(None, pl.Int64).alias(column))
        made[name] = frame.drop("_unit", strict=False).sort(spec.key)
    return made, fans, {k: n for k, n in lost.items() if n}


def _own(frame: Table, name: str, within: bool) -> pl.Series | None:
    """The keys that the ids tell, where all are ours and fit their patients. A component's row takes a number that is free."""
    kind = TYPES.get(name, "")
    opening = "diagnostic-report-m" if name == "diagnostic_report" else prefix(kind) if kind else f"{name}-"
    told = frame["id"].str.extract(f"^{opening}([0-9]{{1,18}})$").cast(pl.Int64)
    parts = told.is_null() & frame["id"].str.contains("/")
    if (told.is_null() & ~parts).any() or (not frame.height):
        return None if frame.height else pl.Series("key", [], dtype=pl.Int64)
    if not within:
        return None if parts.any() else told
    if parts.all():
        return None
    known = frame.select("_unit", told=told).filter(~parts)
    fan = _fan(known["_unit"], known["told"])
    if fan is None:
        return None
    if parts.any():
        told = _filled(frame.with_columns(told=told), fan)
        if told is None:
            return None
    return told.alias("key")


def _fan(units: pl.Series, keys: pl.Series) -> int | None:
    """The number by which keys divide to give their units."""
    for fan in FANS:
        if (keys // fan == units).all():
            return fan
    return None


def _filled(frame: Table, fan: int) -> pl.Series | None:
    """Numbers for the rows that have none: those that their patient's rows leave free, in order of time. None where there are too few."""
    frame = frame.with_row_index("_n")
    taken = frame.filter(pl.col("told").is_not_null())
    wanting = frame.filter(pl.col("told").is_null()).sort("_unit", "at", "_n")
    wanting = wanting.with_columns(k=pl.int_range(pl.len()).over("_unit"))
    most = frame.group_by("_unit").agg(n=pl.len() + 1)
    free = most.select("_unit", place=pl.int_ranges(0, pl.min_horizontal("n", fan))).explode("place")
    free = free.with_columns(key=pl.col("_unit") * fan + pl.col("place"))
    free = free.join(taken.select(key="told"), on="key", how="anti").sort("key")
    free = free.with_columns(k=pl.int_range(pl.len()).over("_unit"))
    put = wanting.select("_n", "_unit", "k").join(free.select("_unit", "k", "key"), on=["_unit", "k"], how="left")
    if put["key"].null_count():
        return None
    every = frame.join(put.select("_n", "key"), on="_n", how="left", maintain_order="left")
    return every.select(pl.coalesce("told", "key").alias("key"))["key"]


def _new(frame: Table, within: bool) -> tuple[Table, pl.Series]:
    """Numbers in order of patient and time."""
    if not within:
        return frame, pl.Series("key", range(frame.height), dtype=pl.Int64)
    time = next(c for c in ("start_at", "onset_at", "at") if c in frame.columns)
    frame = frame.sort("_unit", time, maintain_order=True, nulls_last=True)
    most = int(frame.group_by("_unit").len()["len"].max() or 0)  # type: ignore[arg-type]
    fan = next(f for f in FANS if f > most)
    place = frame.select(place=pl.int_range(pl.len()).over("_unit"))["place"]
    return frame, (frame["_unit"] * fan + place).alias("key")
