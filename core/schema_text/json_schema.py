"""JSON Schema, draft 2020-12: what a row of each table looks like as a JSON object (an NDJSON line, an API's payload)."""

from __future__ import annotations

import json
from typing import Any

from ..schema import LABEL, Column, Schema, TableSchema

_TYPES: dict[str, dict[str, Any]] = {
    "id": {"type": "integer", "format": "int64"},
    "int": {"type": "integer", "format": "int64"},
    "int32": {"type": "integer", "format": "int32", "minimum": -(2**31), "maximum": 2**31 - 1},
    "money": {"type": "integer", "format": "int64"},
    "float": {"type": "number", "format": "double"},
    "float32": {"type": "number", "format": "float"},
    "text": {"type": "string"},
    "code": {"type": "string"},
    "bool": {"type": "boolean"},
    "date": {"type": "string", "format": "date"},
    "instant": {"type": "string", "format": "date-time"},
}


def as_json_schema(schema: Schema) -> dict[str, Any]:
    """One `$defs` entry per table; the document itself describes a whole dataset as arrays of rows by table name.

    A column that may be null may also be absent. What JSON Schema has no word for stands in `x-` keywords: unit, key, references,
    limits of dates, row predicates.
    """
    tables = [*schema.tables.values(), LABEL]
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": f"urn:populace:{schema.domain}",
        "title": schema.domain,
        "type": "object",
        "properties": {t.name: {"type": "array", "items": {"$ref": f"#/$defs/{t.name}"}} for t in tables},
        "additionalProperties": False,
        "$defs": {t.name: _table(t) for t in tables},
    }


def as_json_schema_text(schema: Schema) -> str:
    return json.dumps(as_json_schema(schema), indent=2, ensure_ascii=False) + "\n"


def _table(spec: TableSchema) -> dict[str, Any]:
    table: dict[str, Any] = {
        "type": "object",
        "description": spec.doc,
        "properties": {c.name: _column(c) for c in spec.columns.values()},
        "required": [c.name for c in spec.columns.values() if not c.null],
        "additionalProperties": False,
    }
    if spec.key:
        table["x-key"] = spec.key
    if spec.checks:
        table["x-checks"] = {f"{spec.name}.{c.name}": {"sql": c.sql, "description": c.doc} for c in spec.checks}
    return table


def _column(column: Column) -> dict[str, Any]:
    field = dict(_TYPES[column.type])
    if column.doc:
        field["description"] = column.doc
    timed = column.type in ("date", "instant")
    for limit, word in ((column.min, "minimum"), (column.max, "maximum")):
        if limit is not None:
            field[f"x-{word}" if timed else word] = str(limit) if timed else limit
    if column.codes:
        field["enum"] = [*column.codes, None] if column.null else list(column.codes)
    if column.pattern:
        field["pattern"] = column.pattern
    if column.null:
        field["type"] = [field["type"], "null"]
    for word, value in (("unit", column.unit), ("decimals", column.decimals), ("references", column.references)):
        if value is not None:
            field[f"x-{word}"] = value
    return field
