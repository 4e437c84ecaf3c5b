"""PostgreSQL: rows go in by binary COPY from Arrow memory, keys, references and indexes after them, all in one transaction. What is
interrupted was never there."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from ..errors import Interrupted, UserError
from ..schema_text import load_statements
from ..tables import Table
from .address import Address
from .load import MANIFEST, Load, first_line, frames, missing_driver
from .stage import parse_manifest


@dataclass(frozen=True)
class PostgreSQL:
    address: Address

    scheme = "postgresql"

    @property
    def place(self) -> str:
        return self.address.shown

    @property
    def work(self) -> Path:
        return Path(self.address.file_name)

    @property
    def _space(self) -> str:
        return self.address.options.get("schema", "public")

    def check(self) -> None:
        with self._connected() as cursor:
            cursor.execute("SELECT 1")

    def exists(self) -> bool:
        return bool(self.tables())

    def tables(self) -> list[str]:
        with self._connected() as cursor:
            cursor.execute(
                "SELECT c.relname::text FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace "
                "WHERE n.nspname = $1 AND c.relkind IN ('r', 'p', 'v', 'm', 'f') ORDER BY 1",
                (self._space,),
            )
            return [str(row[0]) for row in cursor.fetchall()]

    def manifest(self) -> Mapping[str, Any] | None:
        if MANIFEST not in self.tables():
            return None
        stored = self.read(MANIFEST)
        if not stored.height:
            return None
        try:
            return parse_manifest(str(stored[0, 0]))
        except ValueError as error:
            raise UserError(f"{self.place}: not a manifest of populace: {error}") from None

    def read(self, table: str) -> Table:
        with self._connected() as cursor:
            cursor.execute(f"SELECT * FROM {_name(self._space)}.{_name(table)}")  # noqa: S608
            return pl.DataFrame(pl.from_arrow(cursor.fetch_arrow_table()))

    def load(self, load: Load) -> None:
        statements = load_statements(load.schema, self.scheme, load.omit)
        with self._connected() as cursor:
            if self._space != "public":
                cursor.execute(f"CREATE SCHEMA IF NOT EXISTS {_name(self._space)}")
            cursor.execute(f"SET LOCAL search_path TO {_name(self._space)}")
            _drop(cursor, load.replaced)
            for table, parts in load.parts.items():
                create, _ = statements[table]
                for statement in create if load.mode != "append" else ():
                    cursor.execute(statement)
                for frame in frames(parts):
                    rows = frame.to_arrow(compat_level=pl.CompatLevel.oldest())
                    cursor.adbc_ingest(table, rows, mode="append", db_schema_name=self._space)
                load.step()
            if load.mode != "append":
                for statement in (s for table in load.parts for s in statements[table][1]):
                    cursor.execute(statement)
            self._keep_manifest(cursor, load.manifest)
            cursor.connection.commit()

    def remove(self, tables: tuple[str, ...]) -> None:
        with self._connected() as cursor:
            cursor.execute(f"SET LOCAL search_path TO {_name(self._space)}")
            _drop(cursor, (*tables, MANIFEST))
            cursor.connection.commit()

    def _keep_manifest(self, cursor: Any, manifest: str) -> None:
        cursor.execute(f"CREATE TABLE IF NOT EXISTS {MANIFEST} (manifest TEXT NOT NULL)")
        cursor.execute(f"DELETE FROM {MANIFEST}")  # noqa: S608
        cursor.adbc_ingest(
            MANIFEST,
            pl.DataFrame({"manifest": [manifest]}).to_arrow(compat_level=pl.CompatLevel.oldest()),
            mode="append",
            db_schema_name=self._space,
        )

    @contextmanager
    def _connected(self) -> Iterator[Any]:
        """A cursor in a transaction, which is rolled back unless it is committed."""
        try:
            from adbc_driver_manager import Error, OperationalError
            from adbc_driver_postgresql import dbapi
        except ImportError as error:
            raise missing_driver(self.scheme, error) from None
        try:
            with dbapi.connect(self.address.uri()) as connection, connection.cursor() as cursor:
                cursor.execute("SET TIME ZONE 'UTC'")
                cursor.execute("SET LOCAL client_min_messages TO warning")
                yield cursor
        except Error as error:
            told = self.address.scrub(first_line(error).removeprefix("IO: ").removeprefix("[libpq] "))
            if (
                isinstance(error, OperationalError) and not error.sqlstate
            ):  # the connection itself, not what was asked over it
                raise Interrupted(f"{self.place}: {told}") from None
            raise UserError(f"{self.place}: the database refuses: {told}") from None


def _drop(cursor: Any, tables: tuple[str, ...]) -> None:
    if tables:
        cursor.execute(f"DROP TABLE IF EXISTS {', '.join(map(_name, tables))}")


def _name(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
