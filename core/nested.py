"""Fixtures for other languages: each root row as one JSON document that holds the rows that belong to it, and those that belong to them."""

from __future__ import annotations

from collections.abc import Mapping

import polars as pl

from .domain import Domain, View
from .schema import Schema
from .sinks.folder import as_text
from .tables import Table, Tables

NAME = "nested+json"


def all_views(domain: Domain) -> dict[str, View]:
    """The views of a domain by name, and the one that every domain has."""
    return {**domain.views, NAME: nested(domain.schema)}


def nested(schema: Schema) -> View:
    """The view of a domain that nests its tables as they lie `within` one another: `customer/0.json`; reference tables are `merchant.json`."""

    def render(tables: Tables, reference: Tables) -> Mapping[str, Table]:
        inside = {
            t: [n for n, s in schema.tables.items() if s.within and s.references[s.within] == t] for t in schema.tables
        }

        def whole(name: str) -> Table:
            frame = as_text(tables[name]).with_columns(pl.col(pl.Enum).cast(pl.String))
            key = schema[name].key
            for child in (c for c in inside[name] if c in tables):
                rows, within = whole(child), str(schema[child].within)
                lists = rows.group_by(within, maintain_order=True).agg(pl.struct(rows.columns).alias(child))
                frame = frame.join(lists, left_on=key, right_on=within, how="left", maintain_order="left").with_columns(
                    pl.col(child).fill_null(pl.lit([], dtype=lists.schema[child]))
                )
            return frame

        out: dict[str, Table] = {}
        for name, spec in schema.tables.items():
            if name not in tables or spec.within:
                continue
            documents = whole(name).select(
                pl.col(spec.key).cast(pl.String).alias("name"), pl.struct(pl.all()).struct.json_encode().alias("text")
            )
            if spec.reference:
                text = "[" + ",".join(documents["text"]) + "]"
                documents = pl.DataFrame({"text": [text]})
            out[name] = documents
        return out

    return View(
        NAME,
        "Each root row as one JSON document with all that belongs to it, for fixtures in other languages.",
        render,
        "json",
    )
