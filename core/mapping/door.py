"""What a kind of database has to offer so that tables which stand in it can be filled: one transaction, and a bulk path."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Protocol

from ..address import redact
from ..errors import UserError
from ..sinks.load import MANIFEST
from ..tables import Table
from .target import Target, TargetTable, connect_url


class Door(Protocol):
    """An open transaction. What has been put there is there for all others once it is left, or not at all."""

    def rows(self, query: str) -> list[tuple[Any, ...]]: ...

    def name(self, name: str) -> str:
        """A name as the database's SQL has it."""
        ...

    def ledgered(self) -> bool:
        """Whether the ledger's table is there."""
        ...

    def insert(self, table: TargetTable, parts: Iterable[Table]) -> None:
        """Put rows into a table by the fastest path that there is, one part in memory at a time."""
        ...

    def insert_together(self, tables: Mapping[str, TargetTable], parts: Mapping[str, Iterable[Table]]) -> None:
        """Put rows into tables that need one another."""
        ...

    def settle(self, target: Target, names: Iterable[str]) -> None:
        """What has to be done once all rows are in: sequences go on, references that were not judged yet are."""
        ...

    def delete(self, tables: list[TargetTable]) -> None:
        """Empty tables, those that refer to others before these."""
        ...

    def keep(self, manifest: str) -> None:
        """Write the ledger anew."""
        ...

    def forget(self) -> None:
        """Remove the ledger."""
        ...


def open_door(url: str, scratch: Path | None = None) -> AbstractContextManager[Door]:
    """The door of a database. `scratch`: a folder for what a bulk path has to read from a file.

    Raises UserError where the database refuses, Interrupted where it went away; then nothing has changed in it.
    """
    dialect = connect_url(url)[0]
    if dialect == "postgresql":
        from .door_postgresql import postgresql

        return postgresql(url)
    if dialect == "sqlite":
        from .door_sqlite import sqlite

        return sqlite(url)
    if dialect == "mysql":
        from .door_mysql import mysql

        return mysql(url, scratch)
    from .door_duckdb import duckdb_file

    return duckdb_file(url)


def orphans(door: Door, table: TargetTable) -> None:
    """Raise UserError for a reference that nothing stands behind: for databases that do not judge them as rows come in."""
    for reference in table.references:
        on = " AND ".join(
            f"p.{door.name(p)} = c.{door.name(c)}" for c, p in zip(reference.columns, reference.parents, strict=True)
        )
        there = " AND ".join(f"c.{door.name(c)} IS NOT NULL" for c in reference.columns)
        alone = f"p.{door.name(reference.parents[0])} IS NULL"
        (count,) = door.rows(
            f"SELECT count(*) FROM {door.name(table.name)} c LEFT JOIN {door.name(reference.table)} p ON {on} WHERE {there} AND {alone}"  # noqa: S608
        )[0]
        if count:
            columns = ", ".join(reference.columns)
            raise UserError(
                f"mapping of {table.name}: {count:,} rows refer by {columns} to rows of {reference.table} that do not exist"
            )


def refused(url: str, told: str) -> UserError:
    return UserError(f"{redact(url)}: the database refuses: {redact(told)}")


def keep_ledger(execute: Callable[..., Any], manifest: str, value: str = "?") -> None:
    """Write the ledger anew; `value` is how the driver's SQL has a value that comes beside it."""
    execute(f"CREATE TABLE IF NOT EXISTS {MANIFEST} (manifest TEXT NOT NULL)")
    execute(f"DELETE FROM {MANIFEST}")  # noqa: S608
    execute(f"INSERT INTO {MANIFEST} VALUES ({value})", (manifest,))  # noqa: S608
