"""Messages from rows: topic and body of each event by column expressions.

A message frame has the columns `at` (microseconds since 1970), `rank` (of the event's kind, in the order in which events.toml names them), `row`
(the row's key), `key` (what keeps order), `id` (names the event among all datasets), `topic` and `body`. Its order is (at, rank, row): the same whatever blocks made it.
"""

from __future__ import annotations

import string
from collections.abc import Mapping, Sequence

import polars as pl

from ..errors import UserError, unknown
from ..render_json import Text, render
from ..schema import Schema
from ..tables import Table, Tables
from .events import Event

BODIES = ("cloudevents", "row")
"""`cloudevents`: the row inside a CloudEvents 1.0 envelope (JSON event format); `row`: the row alone. Source: https://cloudevents.io"""

FRAME = {
    "at": pl.Int64, "rank": pl.Int32, "row": pl.Int64, "key": pl.Int64, "id": pl.String, "topic": pl.String, "body": pl.String,
}  # fmt: skip
_NAMES = ("domain", "event", "table", "key", "row")
ORDER = ["at", "rank", "row"]


def messages(schema: Schema, tables: Tables, events: Sequence[Event], topic: str, body: str, dataset: str) -> Table:
    """The messages of one block's tables, in order. `dataset` begins every identifier."""
    parts = []
    for rank, event in enumerate(events):
        if event.table not in tables:
            continue
        frame = tables[event.table].filter(pl.col(event.at).is_not_null())
        spec = schema[event.table]
        frame = frame.with_columns(
            pl.col(column).cast(pl.String).replace(dict(then)) for column, then in event.shows.items()
        )
        head = frame.select(
            pl.col(event.at).dt.epoch("us").alias("at"),
            pl.lit(rank, pl.Int32).alias("rank"),
            pl.col(spec.key).alias("row"),
            pl.col(event.key).alias("key"),
            pl.concat_str(pl.lit(f"{dataset}-{event.name}-"), pl.col(spec.key)).alias("id"),
            _filled(topic, schema.domain, event, spec.key).alias("topic"),
        )
        parts.append(
            head.with_columns(
                _body(schema.domain, f"{dataset}-{event.name}-", spec.key, frame, event, body).alias("body")
            )
        )
    return pl.concat(parts).sort(ORDER) if parts else pl.DataFrame(schema=FRAME)


def check_topic(topic: str, schema: Schema, events: Sequence[Event], flag: str = "--topic") -> None:
    """Raise UserError for a template that is not one, or that names what an event does not have."""
    try:
        fields = [f for _, f, spec, conversion in string.Formatter().parse(topic) if f is not None]
        plain = all(not s and c is None for _, _, s, c in string.Formatter().parse(topic))
    except ValueError as error:
        raise UserError(f"{flag} '{topic}': {error}") from None
    if not plain:
        raise UserError(f"{flag} '{topic}': a name in braces takes neither ':' nor '!'")
    for event in events:
        known = [c for c in schema[event.table].columns if c not in event.hides]
        for name in fields:
            if name not in _NAMES and name not in known:
                raise unknown("name", name, [*_NAMES, *known], f"{flag} '{topic}' for {event.name}")


def _filled(template: str, domain: str, event: Event, row: str) -> pl.Expr:
    constants: Mapping[str, str] = {"domain": domain, "event": event.name, "table": event.table}
    columns = {"key": event.key, "row": row}
    pieces: list[pl.Expr] = []
    for text, name, _, _ in string.Formatter().parse(template):
        if text:
            pieces.append(pl.lit(text))
        if name in constants:
            pieces.append(pl.lit(constants[name]))
        elif name is not None:
            pieces.append(pl.col(columns.get(name, name)).cast(pl.String).fill_null(""))
    return pl.concat_str(pieces) if pieces else pl.lit("")


def _body(domain: str, opening: str, key: str, frame: Table, event: Event, form: str) -> pl.Series:
    row = {name: pl.col(name) for name in frame.columns if name not in event.hides}
    if form == "row":
        return render(frame, row)
    envelope = {
        "specversion": "1.0",
        "id": Text(opening, pl.col(key)),
        "source": f"urn:populace:{domain}",
        "type": f"populace.{domain}.{event.name}",
        "time": pl.col(event.at),
        "subject": Text(f"{event.key.removesuffix('_id')}-", pl.col(event.key)),
        "datacontenttype": "application/json",
        "data": row,
    }
    return render(frame, envelope)
