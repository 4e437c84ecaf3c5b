"""PostgreSQL's door: COPY, in one transaction; tables in a circle by one statement, at whose end references are judged."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import polars as pl

from ..address import redact
from ..errors import Interrupted
from ..sinks.load import MANIFEST, first_line
from ..tables import Table
from .door import keep_ledger, refused
from .target import Target, TargetTable, connect_url


class _PostgreSQL:
    def __init__(self, cursor: Any) -> None:
        self._cursor = cursor

    def name(self, name: str) -> str:
        return '"' + name.replace('"', '""') + '"'

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        self._cursor.execute(query)
        return self._cursor.fetchall()

    def ledgered(self) -> bool:
        there = (
            "SELECT count(*) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace "
            "WHERE c.relname = 'populace_manifest' AND n.nspname = current_schema()"
        )
        return bool(self.rows(there)[0][0])

    def insert(self, table: TargetTable, parts: Iterable[Table]) -> None:
        self._copy(self.name(table.name), parts)

    def insert_together(self, tables: Mapping[str, TargetTable], parts: Mapping[str, Iterable[Table]]) -> None:
        inserts = []
        for n, (name, table) in enumerate(tables.items()):
            columns = ", ".join(self.name(c.name) for c in table.columns.values() if not c.made)
            draft = f"populace_draft_{n}"
            self._cursor.execute(f"DROP TABLE IF EXISTS {draft}")
            self._cursor.execute(f"CREATE TEMP TABLE {draft} AS SELECT {columns} FROM {self.name(name)} WITH NO DATA")  # noqa: S608
            self._copy(draft, parts[name])
            into = f"INSERT INTO {self.name(name)} ({columns}) OVERRIDING SYSTEM VALUE SELECT {columns} FROM {draft}"  # noqa: S608
            inserts.append(f"i{n} AS ({into})")
        self._cursor.execute(f"WITH {', '.join(inserts)} SELECT 1")

    def settle(self, target: Target, names: Iterable[str]) -> None:
        """A sequence that makes a column's next value goes on after what was put there."""
        for name in names:
            for column in (c for c in target.tables[name].columns.values() if c.kind == "int" and not c.made):
                self._cursor.execute("SELECT pg_get_serial_sequence(%s, %s)", (self.name(name), column.name))
                if sequence := self._cursor.fetchone()[0]:
                    query = f"SELECT setval(%s, max({self.name(column.name)})) FROM {self.name(name)}"  # noqa: S608
                    self._cursor.execute(query, (sequence,))

    def delete(self, tables: list[TargetTable]) -> None:
        gone = [f"d{n} AS (DELETE FROM {self.name(t.name)})" for n, t in enumerate(tables)]  # noqa: S608
        self._cursor.execute(f"WITH {', '.join(gone)} SELECT 1")

    def keep(self, manifest: str) -> None:
        keep_ledger(self._cursor.execute, manifest, "%s")

    def forget(self) -> None:
        self._cursor.execute(f"DROP TABLE {MANIFEST}")

    def _copy(self, table: str, parts: Iterable[Table]) -> None:
        """COPY as text: its binary form would have to know each of their types, an enum's among them."""
        parts = iter(parts)
        if (first := next(parts, None)) is None:
            return
        columns = ", ".join(map(self.name, first.columns))
        with self._cursor.copy(f"COPY {table} ({columns}) FROM STDIN (FORMAT csv, NULL '\\N')") as copy:
            part: Table | None = first
            while part is not None:
                plain = part.with_columns(
                    ("\\x" + pl.col(pl.Binary).bin.encode("hex")).name.keep(),
                    pl.col(pl.Datetime).dt.strftime("%Y-%m-%d %H:%M:%S%.6f"),
                )
                copy.write(plain.write_csv(include_header=False, quote_style="necessary", null_value="\\N"))
                part = next(parts, None)


@contextmanager
def postgresql(url: str) -> Iterator[_PostgreSQL]:
    try:
        import psycopg
    except ImportError as error:
        from ..errors import UserError

        raise UserError(f"{error.name} is not installed. Run: pip install 'populace[map]'") from None
    _, uri, space = connect_url(url)
    try:
        with psycopg.connect(uri.replace("postgresql+psycopg", "postgresql", 1)) as connection:
            cursor = connection.cursor()
            if space:
                cursor.execute(f"SET LOCAL search_path TO {_PostgreSQL(cursor).name(space)}".encode())
            yield _PostgreSQL(cursor)
    except psycopg.OperationalError as error:
        raise Interrupted(f"{redact(url)}: the database refuses: {redact(first_line(error))}") from None
    except psycopg.Error as error:
        raise refused(url, first_line(error)) from None
