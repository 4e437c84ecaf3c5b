"""The door of MySQL and MariaDB: LOAD DATA LOCAL, in one transaction. References are not judged row by row, which tables in a circle could not bear,
but all of them before it ends."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ..sinks.load import MANIFEST
from ..sinks.mysql import insert_frame
from ..tables import Table
from .door import orphans
from .target import Target, TargetTable, mysql_of


class _MySQL:
    def __init__(self, cursor: Any, scratch: Path) -> None:
        self._cursor = cursor
        self._scratch = scratch

    def name(self, name: str) -> str:
        return "`" + name.replace("`", "``") + "`"

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        self._cursor.execute(query)
        return list(self._cursor.fetchall())

    def ledgered(self) -> bool:
        here = "SELECT count(*) FROM information_schema.tables WHERE table_schema = DATABASE() AND table_name = 'populace_manifest'"
        return bool(self.rows(here)[0][0])

    def insert(self, table: TargetTable, parts: Iterable[Table]) -> None:
        for part in parts:
            if part.height:
                insert_frame(self._cursor, table.name, part, self._scratch)

    def insert_together(self, tables: Mapping[str, TargetTable], parts: Mapping[str, Iterable[Table]]) -> None:
        for name, table in tables.items():
            self.insert(table, parts[name])

    def settle(self, target: Target, names: Iterable[str]) -> None:
        for name in names:
            orphans(self, target.tables[name])

    def delete(self, tables: list[TargetTable]) -> None:
        for table in tables:
            self._cursor.execute(f"DELETE FROM {self.name(table.name)}")  # noqa: S608

    def keep(self, manifest: str) -> None:
        self._cursor.execute(f"DELETE FROM {MANIFEST}")  # noqa: S608
        self._cursor.execute(f"INSERT INTO {MANIFEST} VALUES (%s)", (manifest,))  # noqa: S608

    def forget(self) -> None:
        self._cursor.execute(f"DELETE FROM {MANIFEST}")  # noqa: S608
        self._cursor.connection.commit()  # to drop a table ends a transaction here
        self._cursor.execute(f"DROP TABLE {MANIFEST}")


@contextmanager
def mysql(url: str, scratch: Path | None) -> Iterator[_MySQL]:
    with (
        tempfile.TemporaryDirectory(prefix="populace-", dir=scratch) as folder,
        mysql_of(url).connected(local=True) as cursor,
    ):
        door = _MySQL(cursor, Path(folder))
        if (
            scratch is not None
        ):  # rows are to come: to make a table ends a transaction, so the ledger's stands before it
            cursor.execute(f"CREATE TABLE IF NOT EXISTS {MANIFEST} (manifest LONGTEXT NOT NULL) CHARACTER SET utf8mb4")
        cursor.execute("SET foreign_key_checks = 0")
        cursor.execute("START TRANSACTION")
        try:
            yield door
        except BaseException:  # raised again: an interrupt too must take the ledger's empty table with it
            cursor.connection.rollback()
            if door.ledgered() and not door.rows(f"SELECT 1 FROM {MANIFEST}"):  # noqa: S608
                cursor.execute(f"DROP TABLE {MANIFEST}")
            raise
        cursor.connection.commit()
