"""What the tables of a DuckDB file are, from its own catalogue."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from ..address import redact
from ..errors import UserError
from ..sinks.load import MANIFEST, first_line
from .target import Reference, TargetColumn, TargetTable, Unique

_KINDS = {
    "BOOLEAN": "bool", "DATE": "date", "TIME": "time", "UUID": "uuid", "JSON": "json", "BLOB": "bytes", "VARCHAR": "text", "FLOAT": "float",
    "DOUBLE": "float", "TIMESTAMP": "instant", "TIMESTAMP WITH TIME ZONE": "instant", "TIMESTAMP_S": "instant", "TIMESTAMP_MS": "instant",
    "TIMESTAMP_NS": "instant",
}  # fmt: skip
_INTEGERS = {
    "TINYINT": 7,
    "SMALLINT": 15,
    "INTEGER": 31,
    "BIGINT": 63,
    "UTINYINT": 8,
    "USMALLINT": 16,
    "UINTEGER": 32,
    "UBIGINT": 63,
}
_TABLES = "SELECT table_name FROM duckdb_tables() WHERE NOT internal AND NOT temporary AND schema_name = 'main' ORDER BY table_oid"
_COLUMNS = (
    "SELECT c.column_name, c.data_type, c.is_nullable, g.is_generated = 'ALWAYS' FROM duckdb_columns() c JOIN information_schema.columns g "
    "ON g.table_schema = c.schema_name AND g.table_name = c.table_name AND g.column_name = c.column_name "
    "WHERE c.table_name = ? AND c.schema_name = 'main' AND NOT c.internal ORDER BY c.column_index"
)
_CONSTRAINTS = (
    "SELECT constraint_type, constraint_column_names, referenced_table, referenced_column_names, expression FROM duckdb_constraints() "
    "WHERE table_name = ? ORDER BY constraint_index"
)
_INDEXES = "SELECT expressions FROM duckdb_indexes() WHERE table_name = ? AND is_unique AND NOT is_primary"


def duckdb_tables(url: str) -> dict[str, TargetTable]:
    """The tables of the file's main schema. Raises UserError if it cannot be read."""
    import duckdb

    try:
        with duckdb.connect(str(Path(url.removeprefix("duckdb:///"))), read_only=True) as connection:
            found = connection.execute(_TABLES).fetchall()
            return {str(n): _table(connection, str(n)) for (n,) in found if n != MANIFEST}
    except duckdb.Error as error:
        raise UserError(f"{redact(url)}: cannot be read: {first_line(error)}") from None


def _table(connection: Any, name: str) -> TargetTable:
    columns = {str(r[0]): _column(*r) for r in connection.execute(_COLUMNS, [name]).fetchall()}
    key: tuple[str, ...] = ()
    uniques, references, checks = [], [], {}
    for kind, names, table, parents, expression in connection.execute(_CONSTRAINTS, [name]).fetchall():
        if kind == "PRIMARY KEY":
            key = tuple(names)
        if kind in ("PRIMARY KEY", "UNIQUE"):
            uniques.append(Unique(tuple(names)))
        elif kind == "FOREIGN KEY":
            references.append(Reference(tuple(names), str(table), tuple(parents)))
        elif kind == "CHECK":
            checks[f"check {len(checks) + 1}"] = str(expression)
    for (expressions,) in connection.execute(_INDEXES, [name]).fetchall():
        named = tuple(part.strip().strip("'\"") for part in str(expressions).strip("[]").split(","))
        if set(named) <= columns.keys():
            uniques.append(Unique(named))
    quoted = '"' + name.replace('"', '""') + '"'
    (rows,) = connection.execute(f"SELECT count(*) FROM {quoted}").fetchone()  # noqa: S608
    return TargetTable(name, columns, key, tuple(dict.fromkeys(uniques)), tuple(references), checks, rows)


def _column(name: str, kind: str, null: bool, made: bool) -> TargetColumn:
    if kind in _INTEGERS:
        return TargetColumn(name, "int", null, high=2 ** _INTEGERS[kind] - 1, made=made)
    if digits := re.fullmatch(r"DECIMAL\((\d+),(\d+)\)", kind):
        return TargetColumn(name, "decimal", null, digits=(int(digits[1]), int(digits[2])), made=made)
    if kind.startswith("ENUM("):
        choices = tuple(c.replace("''", "'") for c in re.findall(r"'((?:[^']|'')*)'", kind))
        return TargetColumn(name, "text", null, choices=choices, made=made)
    return TargetColumn(name, _KINDS.get(kind, kind.lower()), null, made=made)
