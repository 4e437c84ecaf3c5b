"""Templates of topics, keys, headers and bodies: texts with names in braces, and JSON documents whose texts are such.

A name is one of `{domain}`, `{event}`, `{table}`, `{key}`, `{row}`; a column of the event's row; or `{column.column}`, a column of the row that one refers
to (`{channel_id.urn}`, `{channel_id.device_id.profile}`). `{observed_at:s}` is an instant in seconds since 1970, for forms that want a number.
"""

from __future__ import annotations

import json
import string
from collections.abc import Iterator, Mapping
from typing import Any

import polars as pl

from ..errors import UserError, unknown
from ..render_json import Template, Text
from ..schema import Schema
from ..tables import Table, Tables
from .events import Event

NAMES = ("domain", "event", "table", "key", "row")
_SECONDS = "s"


def check_template(template: str, schema: Schema, event: Event, flag: str) -> None:
    """Raise UserError for a template that is not one, or that names what an event does not have."""
    for name, form in _named(template, flag):
        column = _column(name, schema, event, f"{flag} '{template}' for {event.name}")
        if form and (form != _SECONDS or column is None or column != "instant"):
            raise UserError(
                f"{flag} '{template}': '{name}' takes no ':{form}'; an instant takes ':{_SECONDS}', seconds since 1970"
            )


def check_document(text: str, schema: Schema, events: tuple[Event, ...], flag: str) -> Any:
    """Read a body's template, a JSON object or array. Raises UserError for what is none, or names what an event does not have."""
    try:
        document = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise UserError(f"{flag}: not JSON: {error}") from None
    if not isinstance(document, dict | list):
        raise UserError(f"{flag}: expected a JSON object or array, not {document!r}")
    for event in events:
        for leaf in _texts(document):
            check_template(leaf, schema, event, flag)
    return document


def filled(template: str, schema: Schema, event: Event, needed: set[str]) -> pl.Expr:
    """The template's text for each row; a value that is missing is empty. `needed` gathers the names of other rows' columns."""
    pieces = [p if isinstance(p, pl.Expr) else pl.lit(p) for p in _pieces(template, schema, event, needed)]
    texts = [p.cast(pl.String).fill_null("") for p in pieces]
    return pl.concat_str(texts) if texts else pl.lit("")


def constant(template: str, schema: Schema, event: Event) -> str | None:
    """The text of a template that is the same for every row, None for any other."""
    pieces = list(_pieces(template, schema, event, set()))
    return None if any(isinstance(p, pl.Expr) for p in pieces) else "".join(map(str, pieces))


def compiled(document: Any, schema: Schema, event: Event, needed: set[str]) -> Template:
    """The document as a template for `render_json`: a text that is one name is the value itself, and is left out where there is none."""
    if isinstance(document, Mapping):
        return {k: compiled(v, schema, event, needed) for k, v in document.items()}
    if isinstance(document, list):
        return [compiled(v, schema, event, needed) for v in document]
    if not isinstance(document, str):
        return document
    pieces = list(_pieces(document, schema, event, needed))
    if len(pieces) == 1:
        return pieces[0]
    if not any(isinstance(p, pl.Expr) for p in pieces):
        return "".join(map(str, pieces))
    return Text(*(p.cast(pl.String) if isinstance(p, pl.Expr) else str(p) for p in pieces))


def with_parents(frame: Table, names: set[str], schema: Schema, table: str, tables: Tables) -> Table:
    """The frame with the columns of other rows that templates name, each under its whole name."""
    for name in sorted(names):
        path, _, last = name.rpartition(".")
        at, on = schema[table], frame.select(pl.col(path.partition(".")[0]).alias("__key"))
        for step in path.split("."):
            target = schema[str(at.columns[step].references)]
            following = path.split(".")[path.split(".").index(step) + 1 :]
            wanted = following[0] if following else last
            known = tables[target.name].select(pl.col(target.key).alias("__key"), pl.col(wanted).alias("__value"))
            on = on.join(known, on="__key", how="left", maintain_order="left").select(pl.col("__value").alias("__key"))
            at = target
        frame = frame.with_columns(on["__key"].alias(name))
    return frame


def _named(template: str, flag: str) -> list[tuple[str, str]]:
    try:
        fields = [(f, spec or "", c) for _, f, spec, c in string.Formatter().parse(template) if f is not None]
    except ValueError as error:
        raise UserError(f"{flag} '{template}': {error}") from None
    if any(c is not None for _, _, c in fields):
        raise UserError(f"{flag} '{template}': a name in braces takes no '!'")
    return [(f, spec) for f, spec, _ in fields]


def _column(name: str, schema: Schema, event: Event, place: str) -> str | None:
    """The type of what a name means, None for a name that is no column."""
    if name in NAMES:
        return None
    at, *rest = name.split(".")
    spec = schema[event.table]
    known = {n: c for n, c in spec.columns.items() if n not in event.hides}
    if at not in known:
        raise unknown("name", at, [*NAMES, *known], place)
    column = known[at]
    for further in rest:
        # whose row is in the same block, or in every block
        if column.references is None or not (column.name == spec.within or schema[column.references].reference):
            raise UserError(
                f"{place}: '{name}': {spec.name}.{column.name} refers to no row that this one belongs to, nor to a reference table"
            )
        spec = schema[column.references]
        if further not in spec.columns:
            raise unknown("column", further, spec.columns, f"{place}: {spec.name}")
        column = spec.columns[further]
    return column.type


def _pieces(template: str, schema: Schema, event: Event, needed: set[str]) -> Iterator[str | pl.Expr]:
    constants: Mapping[str, str] = {"domain": schema.domain, "event": event.name, "table": event.table}
    columns = {"key": event.key, "row": schema[event.table].key}
    for text, name, form, _ in string.Formatter().parse(template):
        if text:
            yield text
        if name is None:
            continue
        if name in constants:
            yield constants[name]
            continue
        if "." in name:
            needed.add(name)
        column = pl.col(columns.get(name, name))
        yield column.dt.epoch("us") / 1e6 if form == _SECONDS else column


def _texts(document: Any) -> Iterator[str]:
    if isinstance(document, Mapping):
        for value in document.values():
            yield from _texts(value)
    elif isinstance(document, list):
        for value in document:
            yield from _texts(value)
    elif isinstance(document, str):
        yield document
