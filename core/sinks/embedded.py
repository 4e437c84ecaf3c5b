"""Databases that are one file, loaded in bulk from the staged Parquet parts: DuckDB by its own Parquet reader, SQLite by Arrow ingestion.
A new file is built beside its final name and renamed when it is whole; one that stands is changed in one transaction."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from ..errors import UserError
from ..files import as_pattern
from ..schema_text import create_statements
from ..tables import Table
from .folder import as_text
from .load import MANIFEST, Load, first_line
from .stage import Stage, parse_manifest


@dataclass(frozen=True)
class Embedded:
    scheme: str
    path: Path

    @property
    def place(self) -> str:
        return f"{self.scheme}:///{self.path}"

    @property
    def work(self) -> Path:
        return self.path

    def check(self) -> None:
        if not self.exists():
            Stage(self.path).check()
        elif not os.access(self.path, os.W_OK) or not os.access(self.path.absolute().parent, os.W_OK | os.X_OK):
            raise UserError(f"target {self.place} cannot be written: no permission")

    def exists(self) -> bool:
        return os.path.lexists(self.path)

    def tables(self) -> list[str]:
        query = "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\' ORDER BY name"
        (found,) = self._answers([query])
        return [str(n) for n in found[:, 0].to_list()]

    def manifest(self) -> Mapping[str, Any] | None:
        if not self.path.is_file() or MANIFEST not in self.tables():
            return None
        (stored,) = self.read(MANIFEST)
        if not stored.height:
            return None
        try:
            return parse_manifest(str(stored[0, 0]))
        except ValueError as error:
            raise UserError(f"{self.place}: not a manifest of populace: {error}") from None

    def read(self, *tables: str) -> Iterator[Table]:
        return self._answers(f"SELECT * FROM {_name(table)}" for table in tables)  # noqa: S608

    def load(self, load: Load) -> None:
        if load.mode != "create":
            with self._transaction(self.path) as cursor:
                self._drop(cursor, load.replaced)
                self._fill(cursor, load)
            return
        draft = load.scratch / "whole.db"
        draft.unlink(missing_ok=True)
        with self._transaction(draft) as cursor:
            self._fill(cursor, load)
        if self.exists():
            raise UserError(f"target {self.path} came to exist while this run was at work; nothing was overwritten")
        os.replace(draft, self.path)

    def remove(self, tables: tuple[str, ...]) -> None:
        if set(self.tables()) <= {*tables, MANIFEST}:
            self.path.unlink()
            return
        with self._transaction(self.path) as cursor:
            self._drop(cursor, (*tables, MANIFEST))

    def _fill(self, cursor: Any, load: Load) -> None:
        if load.mode != "append":
            for table, statements in create_statements(load.schema, self.scheme, load.omit).items():
                for statement in statements if table in load.parts else ():
                    cursor.execute(statement)
        for table, parts in load.parts.items():
            if parts:
                self._insert(cursor, table, parts)
            load.step()
        _keep_manifest(cursor, load.manifest)

    def _insert(self, cursor: Any, table: str, parts: list[Path]) -> None:
        if self.scheme == "duckdb":
            files = [as_pattern(p) for p in parts]
            insert = f"INSERT INTO {_name(table)} BY NAME SELECT * FROM read_parquet(?, hive_partitioning = false)"  # noqa: S608
            cursor.execute(insert, [files])
            return
        for part in parts:
            frame = as_text(pl.read_parquet(as_pattern(part))).with_columns(pl.col(pl.Enum, pl.Date).cast(pl.String))
            if frame.height:
                cursor.adbc_ingest(table, frame.to_arrow(), mode="append")

    def _drop(self, cursor: Any, tables: tuple[str, ...]) -> None:
        for table in tables:
            cursor.execute(f"DROP TABLE IF EXISTS {_name(table)}")

    @contextmanager
    def _transaction(self, path: Path) -> Iterator[Any]:
        errors = _driver_errors(self.scheme)
        try:
            if self.scheme == "duckdb":
                import duckdb

                # here as below: closing a connection that has not committed rolls back
                with duckdb.connect(str(path)) as connection:
                    connection.execute("SET TimeZone = 'UTC'")
                    connection.begin()
                    yield connection
                    connection.commit()
                return
            from adbc_driver_sqlite import dbapi

            with dbapi.connect(str(path)) as connection, connection.cursor() as cursor:
                yield cursor
                connection.commit()
        except errors as error:
            raise UserError(f"{self.place}: the database refuses: {first_line(error)}") from error

    def _answers(self, queries: Iterable[str]) -> Iterator[Table]:
        """What each query gives. A connection takes longer to open than most tables take to read."""
        try:
            if self.scheme == "duckdb":
                import duckdb

                with duckdb.connect(str(self.path), read_only=True) as connection:
                    connection.execute("SET TimeZone = 'UTC'")
                    for query in queries:
                        yield pl.DataFrame(pl.from_arrow(connection.sql(query).to_arrow_table()))
                return
            from adbc_driver_sqlite import StatementOptions, dbapi

            with (
                dbapi.connect(f"{self.path.absolute().as_uri()}?mode=ro") as connection,
                connection.cursor() as cursor,
            ):
                for query in queries:
                    cursor.execute(f"SELECT count(*) FROM ({query})")  # noqa: S608
                    ((rows,),) = cursor.fetchall()
                    # the driver takes a column's type from its first batch, in which there may be no value of it yet
                    cursor.adbc_statement.set_options(**{StatementOptions.BATCH_ROWS.value: str(max(rows, 1))})
                    cursor.execute(query)
                    yield pl.DataFrame(pl.from_arrow(cursor.fetch_arrow_table()))
        except (_driver_errors(self.scheme), pl.exceptions.PolarsError, OSError) as error:
            raise UserError(f"{self.place}: cannot be read: {first_line(error)}") from None


def _driver_errors(scheme: str) -> Any:
    if scheme == "duckdb":
        import duckdb

        return duckdb.Error
    from adbc_driver_manager import Error

    return Error


def _name(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def load_frame(scheme: str, path: Path, table: str, part: Path, manifest: str) -> None:
    """Make a table from one Parquet file, in a new database file, with the types that the driver infers."""
    if scheme == "duckdb":
        import duckdb

        with duckdb.connect(str(path)) as connection:
            connection.execute(f"CREATE TABLE {_name(table)} AS SELECT * FROM read_parquet(?)", [as_pattern(part)])  # noqa: S608
            _keep_manifest(connection, manifest)
        return
    from adbc_driver_sqlite import dbapi

    with dbapi.connect(str(path)) as connection, connection.cursor() as cursor:
        cursor.adbc_ingest(table, as_text(pl.read_parquet(as_pattern(part))).to_arrow(), mode="create")
        _keep_manifest(cursor, manifest)
        connection.commit()


def _keep_manifest(cursor: Any, manifest: str) -> None:
    cursor.execute(f"CREATE TABLE IF NOT EXISTS {MANIFEST} (manifest TEXT NOT NULL)")
    cursor.execute(f"DELETE FROM {MANIFEST}")  # noqa: S608
    cursor.execute(f"INSERT INTO {MANIFEST} VALUES (?)", (manifest,))  # noqa: S608
