"""A mapping: SQL views over a domain's tables, each named after the table of theirs that it fills. DuckDB runs them, and reads nothing else."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import polars as pl

from ..errors import UserError, unknown
from ..files import as_pattern
from ..schema import Schema
from ..tables import Table
from .target import Target


def read_views(
    sql: str,
    schema: Schema,
    parts: Mapping[str, Sequence[Path]],
    target: Target,
    place: str,
    empty: Mapping[str, Mapping[str, pl.DataType]],
) -> dict[str, Table]:
    """The rows of each view, by the table it is named after. In the SQL our tables are `<domain>.<table>`, those without parts are `empty`.

    Raises UserError for SQL that is wrong, that does anything but make views and macros, or that names a table they do not have.
    """
    import duckdb

    with duckdb.connect() as connection:
        connection.execute(f"CREATE SCHEMA {_name(schema.domain)}")
        for name, types in empty.items():
            if files := parts.get(name):
                listed = ", ".join("'" + as_pattern(f).replace("'", "''") + "'" for f in files)
                source = f"read_parquet([{listed}], hive_partitioning = false)"
                connection.execute(f"CREATE TABLE {_name(schema.domain)}.{_name(name)} AS FROM {source}")
            else:
                plain = {c: pl.String() if isinstance(t, pl.Enum) else t for c, t in types.items()}
                connection.register("none", pl.DataFrame(schema=plain))
                connection.execute(f"CREATE TABLE {_name(schema.domain)}.{_name(name)} AS FROM none")
                connection.unregister("none")
        before = _tables(connection)
        connection.execute("SET TimeZone = 'UTC'")
        connection.execute("SET enable_external_access = false")
        connection.execute("SET lock_configuration = true")
        try:
            for statement in connection.extract_statements(sql):
                if statement.type != duckdb.StatementType.CREATE:
                    raise UserError(
                        f"{place}: only CREATE VIEW and CREATE MACRO may stand there, not: {_first(statement.query)}"
                    )
                connection.execute(statement)
            if more := _tables(connection) - before:
                raise UserError(f"{place}: makes a table, {sorted(more)[0]}; expected CREATE VIEW")
            made = [
                str(n)
                for (n,) in connection.execute(
                    "SELECT view_name FROM duckdb_views() WHERE NOT internal AND schema_name = 'main' ORDER BY view_oid"
                ).fetchall()
            ]
            for name in made:
                if name not in target.tables and not name.startswith("_"):
                    raise unknown("table", name, target.tables, place)
            return {
                n: pl.DataFrame(pl.from_arrow(connection.sql(f"FROM {_name(n)}").to_arrow_table()))
                for n in made
                if n in target.tables
            }
        except duckdb.Error as error:
            raise UserError(f"{place}: {_first(str(error))}") from None


def _tables(connection: object) -> set[str]:
    found = connection.execute("SELECT schema_name || '.' || table_name FROM duckdb_tables()").fetchall()  # type: ignore[attr-defined]
    return {str(n) for (n,) in found}


def _first(text: str) -> str:
    return " ".join(text.split())[:300]


def _name(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
