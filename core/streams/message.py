"""Messages from rows: topic, key, headers and body of each event by column expressions.

A message frame has the columns `at` (microseconds since 1970), `rank` (of the event's kind, in the order in which events.toml names them), `row`
(the row's key), `key` (what keeps order), `id` (names the event among all datasets), `topic`, `label` (the key that a broker is told), `headers` (a JSON object) and
`body`. Its order is (at, rank, row): the same whatever blocks made it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import polars as pl

from ..domain import Domain, View
from ..errors import UserError, unknown
from ..render_json import Text, render
from ..tables import Table, Tables, merge
from .events import Event
from .template import check_document, check_template, compiled, constant, filled, with_parents

BODIES = ("cloudevents", "row")
"""`cloudevents`: the row inside a CloudEvents 1.0 envelope (JSON event format); `row`: the row alone. Source: https://cloudevents.io"""

FRAME = {
    "at": pl.Int64, "rank": pl.Int32, "row": pl.Int64, "key": pl.Int64, "id": pl.String, "topic": pl.String, "label": pl.String,
    "headers": pl.String, "body": pl.String,
}  # fmt: skip
ORDER = ["at", "rank", "row"]


@dataclass(frozen=True)
class Shape:
    """What a message is made of. `topic`, `key` and `headers` are templates; `body` is one of BODIES, a view of the domain that has one document for each
    row, or a template: a JSON object or array, itself or in a file (`@FILE`)."""

    topic: str
    body: str = "cloudevents"
    key: str = "{key}"
    headers: Mapping[str, str] = field(default_factory=dict)

    @property
    def written(self) -> bool:
        """Whether the body is a template of the user's."""
        return self.body.lstrip().startswith(("{", "["))

    @property
    def form(self) -> str:
        """What tells one shape from another."""
        return " ".join([self.body, self.topic, self.key, json.dumps(self.headers, sort_keys=True)])


def checked(shape: Shape, domain: Domain, events: Sequence[Event]) -> Shape:
    """The shape with its file read, if it names one. Raises UserError for a template that is not one, or that names what an event has not."""
    schema = domain.schema
    for event in events:
        check_template(shape.topic, schema, event, "--topic")
        check_template(shape.key, schema, event, "--key")
        for name, template in shape.headers.items():
            check_template(template, schema, event, f"--header {name}")
    body = shape.body
    if body.startswith("@"):
        try:
            body = Path(body[1:]).read_text("utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise UserError(f"--body {body}: cannot be read: {getattr(error, 'strerror', error)}") from None
    if Shape("", body).written:
        check_document(body, schema, tuple(events), "--body")
    elif body not in (*BODIES, *_views(domain)):
        raise unknown("body", body, [*BODIES, *_views(domain)], "--body")
    return Shape(shape.topic, body, shape.key, shape.headers)


def messages(
    domain: Domain, tables: Tables, events: Sequence[Event], shape: Shape, dataset: str, reference: Tables | None = None
) -> Table:
    """The messages of one block's tables, in order. `dataset` begins every identifier. Raises UserError where a view has not one document for each row."""
    view = domain.views.get(shape.body)
    if view and view.told:
        made = view.told(tables, dataset)
        return made.with_columns(pl.col("key").cast(pl.String).alias("label"), pl.lit("{}").alias("headers"))
    schema, parts = domain.schema, []
    there = merge(reference or {}, tables)
    for rank, event in enumerate(events):
        if event.table not in tables:
            continue
        frame = tables[event.table].filter(pl.col(event.at).is_not_null())
        spec, needed = schema[event.table], set[str]()
        frame = frame.with_columns(
            pl.col(column).cast(pl.String).replace(dict(then)) for column, then in event.shows.items()
        )
        topic, label = filled(shape.topic, schema, event, needed), filled(shape.key, schema, event, needed)
        headers = {n: constant(t, schema, event) or filled(t, schema, event, needed) for n, t in shape.headers.items()}
        body = compiled(json.loads(shape.body), schema, event, needed) if shape.written else None
        frame = with_parents(frame, needed, schema, event.table, there)
        head = frame.select(
            pl.col(event.at).dt.epoch("us").alias("at"),
            pl.lit(rank, pl.Int32).alias("rank"),
            pl.col(spec.key).alias("row"),
            pl.col(event.key).alias("key"),
            pl.concat_str(pl.lit(f"{dataset}-{event.name}-"), pl.col(spec.key)).alias("id"),
            topic.alias("topic"),
            label.alias("label"),
        )
        told = render(frame, headers) if headers else pl.repeat("{}", frame.height, dtype=pl.String, eager=True)
        parts.append(
            head.with_columns(
                told.alias("headers"), _bodies(domain, shape, event, frame, there, dataset, body).alias("body")
            )
        )
    return pl.concat(parts).sort(ORDER) if parts else pl.DataFrame(schema=FRAME)


def _views(domain: Domain) -> dict[str, View]:
    """The views that may be bodies: those that say their own messages, and those whose documents are lines, of which each row may have one."""
    return {v.name: v for v in domain.views.values() if v.told or v.suffix == "ndjson"}


def _bodies(
    domain: Domain, shape: Shape, event: Event, frame: Table, tables: Tables, dataset: str, template: Any
) -> pl.Series:
    if shape.body in _views(domain):
        return _viewed(domain, _views(domain)[shape.body], event, frame, tables)
    columns = domain.schema[event.table].columns
    row = {name: pl.col(name) for name in columns if name not in event.hides}
    if shape.body == "row":
        return render(frame, row)
    if shape.body != "cloudevents":
        if isinstance(template, list):  # a document of its own, which the renderer takes as part of one
            return render(frame, {"x": template}).str.strip_prefix('{"x":').str.strip_suffix("}")
        return render(frame, template)
    envelope = {
        "specversion": "1.0",
        "id": Text(f"{dataset}-{event.name}-", pl.col(domain.schema[event.table].key)),
        "source": f"urn:populace:{domain.name}",
        "type": f"populace.{domain.name}.{event.name}",
        "time": pl.col(event.at),
        "subject": Text(f"{event.key.removesuffix('_id')}-", pl.col(event.key)),
        "datacontenttype": "application/json",
        "data": row,
    }
    return render(frame, envelope)


def _viewed(domain: Domain, view: View, event: Event, frame: Table, tables: Tables) -> pl.Series:
    """The view's document of each row, as much of it as is known at the instant."""
    columns = domain.schema[event.table].columns
    known = frame.select(
        (pl.lit(None, c.dtype).alias(n) if n in event.hides else pl.col(n).cast(c.dtype)) for n, c in columns.items()
    )
    reference = {n: t for n, t in tables.items() if n in domain.schema.tables and domain.schema[n].reference}
    if not known.height:
        return pl.Series([], dtype=pl.String)
    shown = {n: t for n, t in tables.items() if n in domain.schema.tables} | {event.table: known}
    kinds = view.render(shown, reference)
    wanted = event.table.replace("_", "")
    found = next((f for kind, f in kinds.items() if kind.lower() == wanted and "text" in f.columns), None)
    if found is None or found.height != known.height:
        has = "no document" if found is None else f"{found.height:,} documents for {known.height:,} rows"
        raise UserError(
            f"--body {view.name}: the view has {has} of {event.table}; choose others with --event, or a template of your own"
        )
    return found["text"]
