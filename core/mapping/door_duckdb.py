"""DuckDB's door. It lets no rows be deleted that others referred to in the same transaction, and no row refer to one that comes with it: so a copy of
the file is changed step by step, and put in the file's place when it is whole."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import polars as pl

from ..errors import UserError
from ..sinks.load import MANIFEST, first_line
from ..tables import Table
from .door import keep_ledger, refused
from .target import Reference, Target, TargetTable


class _DuckDB:
    def __init__(self, path: Path) -> None:
        self._path = path
        self.draft: Path | None = None
        self._connection: Any = None

    def name(self, name: str) -> str:
        return '"' + name.replace('"', '""') + '"'

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        import duckdb

        if self._connection is not None:
            return self._connection.execute(query).fetchall()
        with duckdb.connect(str(self._path), read_only=True) as connection:
            return connection.execute(query).fetchall()

    def ledgered(self) -> bool:
        return bool(self.rows("SELECT count(*) FROM duckdb_tables() WHERE table_name = 'populace_manifest'")[0][0])

    def insert(self, table: TargetTable, parts: Iterable[Table]) -> None:
        itself = [r for r in table.references if r.table == table.name]
        for part in [pl.concat(list(parts))] if itself else parts:
            for level in _levels(part, itself, table.name) if itself else [part]:
                if level.height:
                    columns = ", ".join(map(self.name, level.columns))
                    self._open().register("populace_rows", level)
                    query = f"INSERT INTO {self.name(table.name)} ({columns}) SELECT {columns} FROM populace_rows"  # noqa: S608
                    self._open().execute(query)
                    self._open().unregister("populace_rows")

    def insert_together(self, tables: Mapping[str, TargetTable], parts: Mapping[str, Iterable[Table]]) -> None:
        raise UserError(f"{', '.join(tables)} refer to one another in a circle, which DuckDB cannot take in")

    def settle(self, target: Target, names: Iterable[str]) -> None:
        """It has judged every row already."""

    def delete(self, tables: list[TargetTable]) -> None:
        for table in tables:
            name, itself = self.name(table.name), [r for r in table.references if r.table == table.name]
            leaves = [
                f"NOT EXISTS (SELECT 1 FROM {name} AS o WHERE "  # noqa: S608
                + " AND ".join(
                    f"o.{self.name(c)} = t.{self.name(p)}" for c, p in zip(r.columns, r.parents, strict=True)
                )
                + ")"
                for r in itself
            ]
            while self.rows(f"SELECT count(*) FROM {name}")[0][0]:  # noqa: S608
                where = f" WHERE {' AND '.join(leaves)}" if leaves else ""
                gone = self._open().execute(f"DELETE FROM {name} AS t{where}").fetchone()  # noqa: S608
                if not gone or not gone[0]:
                    raise UserError(
                        f"{table.name}: its rows refer to one another in a circle, and DuckDB deletes none of them"
                    )

    def keep(self, manifest: str) -> None:
        keep_ledger(self._open().execute, manifest)

    def forget(self) -> None:
        self._open().execute(f"DROP TABLE {MANIFEST}")

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _open(self) -> Any:
        """The copy that is changed, made when the first change comes."""
        import duckdb

        if self._connection is None:
            with duckdb.connect(str(self._path)) as connection:  # what its log holds goes into the file
                connection.execute("CHECKPOINT")
            self.draft = self._path.with_name(f".{self._path.name}.populace-draft")
            shutil.copyfile(self._path, self.draft)
            self._connection = duckdb.connect(str(self.draft))
            self._connection.execute("SET TimeZone = 'UTC'")
        return self._connection


def _levels(rows: Table, references: list[Reference], name: str) -> Iterator[Table]:
    """The rows of a table that refers to itself, those that others refer to before these."""
    left = rows
    while left.height:
        waits = pl.repeat(False, left.height, eager=True)
        for reference in references:
            on = dict(zip(reference.columns, reference.parents, strict=True))
            parents = left.select(pl.col(p).alias(c) for c, p in on.items()).with_columns(__there=True)
            known = left.select(list(on)).join(parents.unique(), on=list(on), how="left", maintain_order="left")
            waits |= known["__there"].fill_null(False)
        if waits.all():
            raise UserError(
                f"{name}: its rows refer to one another in a circle, or to themselves, which DuckDB cannot take in"
            )
        yield left.filter(~waits)
        left = left.filter(waits)


@contextmanager
def duckdb_file(url: str) -> Iterator[_DuckDB]:
    import duckdb

    path = Path(url.removeprefix("duckdb:///"))
    door = _DuckDB(path)
    try:
        yield door
        door.close()
        if door.draft is not None:
            os.replace(door.draft, path)
    except duckdb.Error as error:
        raise refused(url, first_line(error)) from None
    finally:
        door.close()
        if door.draft is not None:
            for left in (door.draft, door.draft.with_name(f"{door.draft.name}.wal")):
                left.unlink(missing_ok=True)
