"""One schema, told in four languages: a page to read, the DDL of a staging database, JSON Schema, and Arrow."""

from __future__ import annotations

from collections.abc import Callable

from ..schema import Schema
from .arrow import as_arrow, as_arrow_text
from .json_schema import as_json_schema, as_json_schema_text
from .markdown import as_markdown
from .sql import DIALECTS, as_sql, constraint_name, create_statements, load_statements

__all__ = [
    "DIALECTS",
    "FORMS",
    "as_arrow",
    "as_json_schema",
    "as_markdown",
    "as_sql",
    "constraint_name",
    "create_statements",
    "load_statements",
]

FORMS: dict[str, Callable[[Schema], str]] = {
    "markdown": as_markdown,
    "sql": as_sql,
    "json-schema": as_json_schema_text,
    "arrow": as_arrow_text,
}
"""What `populace schema DOMAIN --as NAME` prints."""
