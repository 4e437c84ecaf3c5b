"""SQLite's door: Arrow ingestion, in one transaction, at whose end references are judged."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import polars as pl

from ..errors import UserError
from ..sinks.load import MANIFEST, first_line
from ..tables import Table
from .door import keep_ledger, refused
from .target import Target, TargetTable


class _SQLite:
    def __init__(self, cursor: Any) -> None:
        self._cursor = cursor

    def name(self, name: str) -> str:
        return '"' + name.replace('"', '""') + '"'

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        self._cursor.execute(query)
        return self._cursor.fetchall()

    def ledgered(self) -> bool:
        return bool(self.rows("SELECT count(*) FROM sqlite_master WHERE name = 'populace_manifest'")[0][0])

    def insert(self, table: TargetTable, parts: Iterable[Table]) -> None:
        for part in parts:
            if part.height:
                plain = part.with_columns(
                    pl.col(pl.Datetime).dt.strftime("%Y-%m-%d %H:%M:%S"),
                    pl.col(pl.Date).dt.strftime("%Y-%m-%d"),
                    pl.col(pl.Time).dt.strftime("%H:%M:%S"),
                    pl.col(pl.Enum, pl.Categorical).cast(pl.String),
                    pl.col(pl.Decimal).cast(pl.Float64),
                    pl.col(pl.Boolean).cast(pl.Int64),
                    pl.col(pl.Null).cast(pl.String),
                )
                self._cursor.adbc_ingest(
                    table.name, plain.to_arrow(compat_level=pl.CompatLevel.oldest()), mode="append"
                )

    def insert_together(self, tables: Mapping[str, TargetTable], parts: Mapping[str, Iterable[Table]]) -> None:
        for name, table in tables.items():
            self.insert(table, parts[name])

    def settle(self, target: Target, names: Iterable[str]) -> None:
        for name in names:
            wrong = self.rows(f"PRAGMA foreign_key_check({self.name(name)})")
            if wrong:
                raise UserError(
                    f"{target.place}: the database refuses: FOREIGN KEY constraint failed: {len(wrong):,} rows of {name} refer to rows of "
                    f"{wrong[0][2]} that do not exist"
                )

    def delete(self, tables: list[TargetTable]) -> None:
        for table in tables:
            self._cursor.execute(f"DELETE FROM {self.name(table.name)}")  # noqa: S608

    def keep(self, manifest: str) -> None:
        keep_ledger(self._cursor.execute, manifest)

    def forget(self) -> None:
        self._cursor.execute(f"DROP TABLE {MANIFEST}")


@contextmanager
def sqlite(url: str) -> Iterator[_SQLite]:
    from adbc_driver_manager import Error
    from adbc_driver_sqlite import dbapi

    try:
        # closing a connection that has not committed rolls back
        with dbapi.connect(url.removeprefix("sqlite:///")) as connection, connection.cursor() as cursor:
            yield _SQLite(cursor)
            connection.commit()
    except Error as error:
        raise refused(url, first_line(error)) from None
