"""A mapping: SQL views over a domain's tables, each named after the table of theirs that it fills. DuckDB runs them, and reads nothing else."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import polars as pl

from ..errors import UserError, unknown
from ..files import as_pattern
from .target import Target

_MEMORY = "1GB"
_BATCH = 50_000


def read_views(
    sql: str,
    domain: str,
    parts: Mapping[str, Mapping[str, Sequence[Path]]],
    target: Target,
    place: str,
    empty: Mapping[str, Mapping[str, Mapping[str, pl.DataType]]],
    scratch: Path | None = None,
) -> dict[str, pl.LazyFrame]:
    """The rows of each view, by the table it is named after. In the SQL our tables are `<domain>.<table>`, and those of the domain's views of tables
    `<view>.<table>`: `empty` says by schema and table what there is, `parts` which files hold it. With `scratch`, a folder, the rows go to files there and
    not into memory.

    Raises UserError for SQL that is wrong, that does anything but make views and macros, or that names a table they do not have.
    """
    import duckdb

    files = [str(p.absolute()) for tables in parts.values() for found in tables.values() for p in found]
    with duckdb.connect() as connection:
        if scratch is not None:
            connection.execute(f"SET temp_directory = {_text(str((scratch / 'spill').absolute()))}")
            connection.execute(f"SET memory_limit = {_text(_MEMORY)}")
        connection.execute("SET threads = 1")  # the order of rows is their name for what is drawn
        for space, tables in empty.items():
            connection.execute(f"CREATE SCHEMA IF NOT EXISTS {_name(space)}")
            for name, types in tables.items():
                at = f"{_name(space)}.{_name(name)}"
                if found := parts.get(space, {}).get(name):
                    listed = ", ".join(_text(as_pattern(p.absolute())) for p in found)
                    source = f"read_parquet([{listed}], hive_partitioning = false, union_by_name = true)"
                    connection.execute(f"CREATE VIEW {at} AS FROM {source}")
                    continue
                plain = {c: pl.String() if isinstance(t, pl.Enum | pl.Null) else t for c, t in types.items()}
                connection.register("none", pl.DataFrame(schema=plain))
                connection.execute(f"CREATE TABLE {at} AS FROM none")
                connection.unregister("none")
        before = _tables(connection)
        connection.execute("SET TimeZone = 'UTC'")
        connection.execute(f"SET allowed_paths = [{', '.join(map(_text, files))}]")
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
            return {n: _rows(connection, n, i, scratch) for i, n in enumerate(made) if n in target.tables}
        except duckdb.Error as error:
            raise UserError(f"{place}: {_first(str(error))}") from None


def _rows(connection: Any, name: str, index: int, scratch: Path | None) -> pl.LazyFrame:
    found = connection.sql(f"FROM {_name(name)}")
    if scratch is None:
        return pl.DataFrame(pl.from_arrow(found.to_arrow_table())).lazy()
    import pyarrow.parquet

    path = scratch / f"view-{index}.parquet"
    reader = found.to_arrow_reader(_BATCH)
    with pyarrow.parquet.ParquetWriter(path, reader.schema) as writer:
        for batch in reader:
            writer.write_batch(batch)
    return pl.scan_parquet(as_pattern(path), hive_partitioning=False)


def _tables(connection: object) -> set[str]:
    found = connection.execute("SELECT schema_name || '.' || table_name FROM duckdb_tables()").fetchall()  # type: ignore[attr-defined]
    return {str(n) for (n,) in found}


def _first(text: str) -> str:
    return " ".join(text.split())[:300]


def _text(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def _name(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
