"""Observations that are files as FHIR R4: an Observation's value cannot be an attachment before R5, so each is a Media."""

from __future__ import annotations

import polars as pl

from ....core.render_json import Pick
from ....core.schema import Schema
from ....core.tables import Table, Tables
from .parts import Shape, Template, concept, opening, prefix, reference, term

KINDS = {"image": "Image", "video": "Video", "audio": "Audio"}
"""HL7 media-type, by what a MIME type begins with."""


def _media(schema: Schema) -> Template:
    return {
        **opening("Media"),
        "status": "completed",
        "type": Pick(pl.col("kind"), {k: term("media-type", k, v) for k, v in KINDS.items()}),
        "subject": reference("Patient"),
        "encounter": reference("Encounter"),
        "createdDateTime": pl.col("at"),
        "reasonCode": [concept(schema, "observation", "code")],
        "height": pl.col("height"),
        "width": pl.col("width"),
        "frames": pl.col("frames"),
        "duration": pl.col("duration"),
        "content": {
            "contentType": pl.col("content_type"),
            "language": pl.col("language"),
            "data": pl.col("data"),
            "url": pl.col("url"),
            "size": pl.col("size"),
            "hash": pl.col("hash"),
            "title": pl.col("title"),
            "creation": pl.col("creation"),
        },
    }


def _files(_: Schema, tables: Tables) -> Table:
    seen = tables["observation"].select("observation_id", "encounter_id", "code", "value_text")
    frame = tables["attachment"].join(seen, on="observation_id", how="inner", maintain_order="left")
    return frame.with_columns(
        data=pl.when("inline").then("value_text"),
        url=pl.when(~pl.col("inline")).then("value_text"),
        kind=pl.col("content_type").str.extract("^(image|video|audio)/"),
    )


def without(tables: Tables, observations: Table, *kinds: str) -> Table:
    """The observations that are no files (`attachment`), or no series (`sampled_data`)."""
    for name in kinds:
        if name in tables:
            observations = observations.join(tables[name], on="observation_id", how="anti", maintain_order="left")
    return observations


def link(tables: Tables) -> pl.Expr:
    """Of observations, the entry in a report's `media`, null where they are no files."""
    held = (
        tables["attachment"]["observation_id"].implode()
        if "attachment" in tables
        else pl.Series([[]], dtype=pl.List(pl.Int64))
    )
    entry = pl.concat_str(
        pl.lit(f'{{"link":{{"reference":"Media/{prefix("Media")}'), pl.col("observation_id"), pl.lit('"}}')
    )
    return pl.when(pl.col("observation_id").is_in(held)).then(entry)


TYPES = {"Media": Shape(("attachment", "observation"), _media, _files)}
