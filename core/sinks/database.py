"""Embedded databases, loaded in bulk from the staged Parquet parts: DuckDB by its own Parquet reader, SQLite by Arrow ingestion. The file
is built beside its final name and renamed when it is whole."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..domain import Domain
from ..errors import UserError
from ..files import as_pattern
from ..schema_text import create_statements
from ..tables import Table, Tables
from .folder import WRITERS, as_text
from .stage import Stage, parse_manifest

MANIFEST = "populace_manifest"


@dataclass(frozen=True)
class DatabaseSink:
    scheme: str
    target: Path
    domain: Domain
    omit: frozenset[str]
    """Constraints that scenarios break on purpose: a database that enforced them would refuse the rows."""

    @property
    def form(self) -> str:
        return self.scheme

    @property
    def stage(self) -> Stage:
        return Stage(self.target)

    def write(self, index: int, tables: Tables, reference: Tables) -> None:
        for name, table in tables.items():
            if table.height or index == 0:
                self.stage.put_part(name, index, "parquet", lambda p, t=table: WRITERS["parquet"](t, p))

    def published(self) -> Mapping[str, Any] | None:
        if not self.target.is_file():
            return None
        try:
            return stored_manifest(self.scheme, self.target)
        except UserError:
            return None

    def publish(self, manifest: Mapping[str, Any]) -> list[str]:
        draft = self.stage.path / "whole.db"
        draft.unlink(missing_ok=True)
        statements = create_statements(self.domain.schema, self.scheme, self.omit)
        names = [n for n in statements if self.stage.parts(n, "parquet")]
        parts = {n: self.stage.parts(n, "parquet") for n in names}
        _LOADERS[self.scheme](draft, [statements[n] for n in names], parts, json.dumps(manifest, ensure_ascii=False))
        if os.path.lexists(self.target):
            raise UserError(f"target {self.target} came to exist while this run was at work; nothing was overwritten")
        os.replace(draft, self.target)
        return [f"{self.scheme}:///{self.target}"]


def _load_duckdb(path: Path, statements: list[list[str]], parts: Mapping[str, list[Path]], manifest: str) -> None:
    import duckdb

    with duckdb.connect(str(path)) as connection:
        connection.execute("SET TimeZone = 'UTC'")
        for table, create in zip(parts, statements, strict=True):
            for statement in create:
                connection.execute(statement)
            files = [as_pattern(p) for p in parts[table]]
            insert = f'INSERT INTO "{table}" BY NAME SELECT * FROM read_parquet(?, hive_partitioning = false)'  # noqa: S608
            connection.execute(insert, [files])
        _keep_manifest(connection, manifest)


def _load_sqlite(path: Path, statements: list[list[str]], parts: Mapping[str, list[Path]], manifest: str) -> None:
    import polars as pl
    from adbc_driver_sqlite import dbapi

    with dbapi.connect(str(path)) as connection, connection.cursor() as cursor:
        for table, create in zip(parts, statements, strict=True):
            for statement in create:
                cursor.execute(statement)
            for part in parts[table]:
                frame = as_text(pl.read_parquet(as_pattern(part))).with_columns(
                    pl.col(pl.Enum, pl.Date).cast(pl.String)
                )
                if frame.height:
                    cursor.adbc_ingest(table, frame.to_arrow(), mode="append")
        _keep_manifest(cursor, manifest)
        connection.commit()


_LOADERS = {"duckdb": _load_duckdb, "sqlite": _load_sqlite}


def table_names(scheme: str, path: Path) -> list[str]:
    """The tables in a database file. Raises UserError if it is not one."""
    query = "SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name"
    return [str(n) for n in _query(scheme, path, query)[:, 0].to_list()]


def stored_manifest(scheme: str, path: Path) -> Mapping[str, Any] | None:
    """The manifest that populace keeps in a database it made, or None."""
    if MANIFEST not in table_names(scheme, path):
        return None
    stored = read_table(scheme, path, MANIFEST)
    if not stored.height:
        return None
    try:
        return parse_manifest(str(stored[0, 0]))
    except ValueError as error:
        raise UserError(f"{scheme}:///{path}: not a manifest of populace: {error}") from None


def read_table(scheme: str, path: Path, table: str) -> Table:
    """One table of a database file as a frame."""
    return _query(scheme, path, 'SELECT * FROM "{}"'.format(table.replace('"', '""')))  # noqa: S608


def _query(scheme: str, path: Path, query: str) -> Any:
    import polars as pl

    try:
        if scheme == "duckdb":
            import duckdb

            with duckdb.connect(str(path), read_only=True) as connection:
                connection.execute("SET TimeZone = 'UTC'")
                return pl.DataFrame(pl.from_arrow(connection.sql(query).to_arrow_table()))
        from adbc_driver_sqlite import dbapi

        with dbapi.connect(f"{path.absolute().as_uri()}?mode=ro") as connection, connection.cursor() as cursor:
            cursor.execute(query)
            return pl.DataFrame(pl.from_arrow(cursor.fetch_arrow_table()))
    except (_driver_errors(scheme), pl.exceptions.PolarsError, OSError) as error:
        raise UserError(f"{scheme}:///{path}: cannot be read: {str(error).splitlines()[0]}") from None


def _driver_errors(scheme: str) -> Any:
    if scheme == "duckdb":
        import duckdb

        return duckdb.Error
    from adbc_driver_manager import Error

    return Error


def load_frame(scheme: str, path: Path, table: str, part: Path, manifest: str) -> None:
    """Make a table from one Parquet file, in a new database file, with the types that the driver infers."""
    if scheme == "duckdb":
        import duckdb

        with duckdb.connect(str(path)) as connection:
            connection.execute(f'CREATE TABLE "{table}" AS SELECT * FROM read_parquet(?)', [as_pattern(part)])  # noqa: S608
            _keep_manifest(connection, manifest)
        return
    import polars as pl
    from adbc_driver_sqlite import dbapi

    with dbapi.connect(str(path)) as connection, connection.cursor() as cursor:
        cursor.adbc_ingest(table, as_text(pl.read_parquet(as_pattern(part))).to_arrow(), mode="create")
        _keep_manifest(cursor, manifest)
        connection.commit()


def _keep_manifest(cursor: Any, manifest: str) -> None:
    cursor.execute(f"CREATE TABLE {MANIFEST} (manifest TEXT NOT NULL)")
    cursor.execute(f"INSERT INTO {MANIFEST} VALUES (?)", (manifest,))  # noqa: S608
