"""Arrow schemas: the types that Parquet files and Arrow memory carry."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..schema import LABEL, Column, Schema

if TYPE_CHECKING:
    import pyarrow as pa


def as_arrow(schema: Schema) -> dict[str, pa.Schema]:
    """A `pyarrow.Schema` for each table and for the labels; descriptions, units and references are field metadata."""
    import pyarrow as pa

    return {
        t.name: pa.schema([_field(c) for c in t.columns.values()], metadata=_bytes(doc=t.doc, key=t.key))
        for t in (*schema.tables.values(), LABEL)
    }


def as_arrow_text(schema: Schema) -> str:
    """The Arrow schemas for reading: one line a column."""
    parts = []
    for table, arrow in as_arrow(schema).items():
        lines = [f"{table}:"]
        for field in arrow:
            notes = {k.decode(): v.decode() for k, v in (field.metadata or {}).items()}
            extra = "".join(f", {word} {notes[word]}" for word in ("unit", "references") if word in notes)
            lines.append(f"  {field.name}: {field.type}{'' if field.nullable else ' not null'}{extra}")
        parts.append("\n".join(lines))
    return "\n\n".join(parts) + "\n"


def _field(column: Column) -> pa.Field:
    import pyarrow as pa

    types = {
        "int32": pa.int32(),
        "float": pa.float64(),
        "float32": pa.float32(),
        "text": pa.string(),
        "code": pa.dictionary(pa.int32(), pa.string()),
        "bool": pa.bool_(),
        "date": pa.date32(),
        "instant": pa.timestamp("us", tz="UTC"),
    }
    about = _bytes(doc=column.doc, unit=column.unit, references=column.references)
    return pa.field(column.name, types.get(column.type, pa.int64()), column.null, about)


def _bytes(**notes: str | None) -> dict[str, str] | None:
    return {k: v for k, v in notes.items() if v} or None
