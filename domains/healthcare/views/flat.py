"""One row per patient: who they are, what they have, how often they come, and the latest value of each measurement."""

from __future__ import annotations

from collections.abc import Mapping

import polars as pl

from ....core.schema import Schema
from ....core.tables import Table, Tables
from .csvs import File, Layout

PERSON = (
    "patient_id", "sex", "birth_date", "death_at", "age_years", "race", "ethnicity", "language", "marital_status", "education",
    "state", "postal_code", "household_id", "mother_id", "spouse_id",
)  # fmt: skip
CLASSES = ("AMB", "EMER", "IMP")


def _columns(schema: Schema) -> dict[str, list[str]]:
    return {n: list(schema.code_lists[n].codes) for n in ("condition", "observation", "medication", "vaccine")}


def layout(schema: Schema) -> Layout:
    codes = _columns(schema)
    columns = [*PERSON, "insurance", *(f"encounters_{c}" for c in CLASSES), "cost_total"]
    columns += [f"condition_{c}" for c in codes["condition"]] + [f"medications_{c}" for c in codes["medication"]]
    columns += [f"doses_{c}" for c in codes["vaccine"]] + [f"last_{c}" for c in codes["observation"]]
    return {"patients": File(tuple(columns), "patient_id")}


def tables(schema: Schema, tables: Tables) -> Mapping[str, Table]:
    people = (
        tables["patient"]
        .select(pl.col(c).cast(pl.String) for c in PERSON)
        .with_columns(pl.col("patient_id").cast(pl.Int64))
    )
    running = (
        tables["coverage"].filter(pl.col("end_at").is_null()).unique("patient_id", keep="last", maintain_order=True)
    )
    parts = [
        running.select("patient_id", insurance=pl.col("kind").cast(pl.String)),
        tables["encounter"]
        .group_by("patient_id")
        .agg((pl.col("class") == c).sum().alias(f"encounters_{c}") for c in CLASSES),
        tables["claim"].group_by("patient_id").agg(cost_total=pl.col("total").sum().round(2)),
    ]
    codes = _columns(schema)
    active = tables["condition"].filter(pl.col("abatement_at").is_null())
    for name, prefix, frame in (
        ("condition", "condition", active),
        ("medication", "medications", tables["medication_request"]),
        ("vaccine", "doses", tables["immunization"]),
    ):
        code = pl.col("code").cast(pl.String)
        parts.append(frame.group_by("patient_id").agg((code == c).sum().alias(f"{prefix}_{c}") for c in codes[name]))
    latest = tables["observation"].sort("observation_id").with_columns(pl.col("code").cast(pl.String))
    latest = latest.unique(["patient_id", "code"], keep="last", maintain_order=True)
    numbers = schema.code_lists["observation_unit"].codes
    for column, named in (
        ("value", [c for c in codes["observation"] if c in numbers]),
        ("value_code", [c for c in codes["observation"] if c not in numbers]),
    ):
        if named:
            wide = latest.pivot("code", index="patient_id", on_columns=named, values=column)
            parts.append(wide.select("patient_id", *(pl.col(c).alias(f"last_{c}") for c in named)))
    for part in parts:
        people = people.join(part, on="patient_id", how="left", maintain_order="left")
    counted = [
        c for c in people.columns if c.startswith(("encounters_", "condition_", "medications_", "doses_", "cost_"))
    ]
    return {"patients": people.with_columns(pl.col(counted).fill_null(0))}
