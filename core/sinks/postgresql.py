"""PostgreSQL: rows go in by binary COPY from Arrow memory, keys, references and indexes after them: few rows in one transaction, many over several
connections into a schema beside the target, from where one transaction brings them over. What is interrupted was never there."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import polars as pl

from ..address import Address
from ..errors import Interrupted, UserError
from ..schema_text import load_statements
from ..tables import Table
from .load import MANIFEST, Load, first_line, frames, missing_driver
from .stage import parse_manifest

_LARGE = 16 << 20
"""Bytes of Parquet from which on several connections are worth their cost."""
_CONNECTIONS = 4
_SETTINGS = (
    "maintenance_work_mem = '128MB'",  # to sort an index's entries, to judge a reference
    "synchronous_commit = off",  # the commit that brings the tables over waits for all that was written before it
    "jit = off",  # each statement runs once
)
"""Of each of them."""


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
        (stored,) = self.read(MANIFEST)
        if not stored.height:
            return None
        try:
            return parse_manifest(str(stored[0, 0]))
        except ValueError as error:
            raise UserError(f"{self.place}: not a manifest of populace: {error}") from None

    def read(self, *tables: str) -> Iterator[Table]:
        with self._connected() as cursor:
            for table in tables:
                cursor.execute(f"SELECT * FROM {_name(self._space)}.{_name(table)}")  # noqa: S608
                yield pl.DataFrame(pl.from_arrow(cursor.fetch_arrow_table()))

    def load(self, load: Load) -> None:
        large = sum(p.stat().st_size for parts in load.parts.values() for p in parts) > _LARGE
        if load.mode == "append" or not large or not self._may_make_schemas():
            self._load_in_one(load)
        else:
            self._load_beside(load)

    def _load_in_one(self, load: Load) -> None:
        statements = load_statements(load.schema, self.scheme, load.omit)
        with self._connected() as cursor:
            if self._space != "public":
                cursor.execute(f"CREATE SCHEMA IF NOT EXISTS {_name(self._space)}")
            cursor.execute(f"SET LOCAL search_path TO {_name(self._space)}")
            _drop(cursor, load.replaced)
            for table, parts in load.parts.items():
                for statement in statements[table].create if load.mode != "append" else ():
                    cursor.execute(statement)
                for part in parts:
                    _copy(cursor, table, self._space, part)
                load.step()
            if load.mode != "append":
                for statement in (s for table in load.parts for s in statements[table].after):
                    cursor.execute(statement)
            self._keep_manifest(cursor, load.manifest)
            cursor.connection.commit()

    def _load_beside(self, load: Load) -> None:
        """Many rows go in over several connections at once, which cannot share a transaction: into a schema beside the target. What is whole there is
        brought over by one that only renames."""
        with self._connected() as cursor:
            self._hold(cursor)
            try:
                # what a run that was killed has left
                cursor.execute(f"DROP SCHEMA IF EXISTS {_name(self._beside)} CASCADE")
                cursor.execute(f"CREATE SCHEMA {_name(self._beside)}")
                with self._hands() as hands:
                    self._fill_beside(cursor, hands, load)
                self._bring_over(cursor, load, list(load.parts))
            except BaseException:  # raised again: an interrupt too must leave no schema behind
                with suppress(Exception):
                    cursor.connection.rollback()
                    cursor.execute(f"DROP SCHEMA IF EXISTS {_name(self._beside)} CASCADE")
                    cursor.connection.commit()
                raise

    def _fill_beside(self, cursor: Any, hands: _Hands, load: Load) -> None:
        statements = load_statements(load.schema, self.scheme, load.omit)
        tables = list(load.parts)
        self._run(cursor, [s for t in tables for s in statements[t].create])
        by_size = sorted(((t, p) for t in tables for p in load.parts[t]), key=lambda x: -x[1].stat().st_size)
        left = {t: len(load.parts[t]) for t in tables}
        for table in hands.all([(t, lambda c, t=t, p=p: _copy(c, t, self._beside, p)) for t, p in by_size]):
            left[table] -= 1
            if not left[table]:
                load.step()
        hands.run([(t, lambda c, s=s: self._run(c, [s])) for t in tables for s in statements[t].keys])
        # to declare references takes a lock on both tables, to judge them does not
        self._run(cursor, [f"{s} NOT VALID" for t in tables for r in statements[t].references for s in _each(r)])
        judged = [(t, lambda c, t=t, n=n: self._validate(c, t, n)) for t, n in self._unjudged(cursor)]
        more = [(t, lambda c, s=s: self._run(c, [s])) for t in tables for s in statements[t].indexes]
        hands.run([*judged, *more])

    def _bring_over(self, cursor: Any, load: Load, tables: list[str]) -> None:
        cursor.execute(f"CREATE SCHEMA IF NOT EXISTS {_name(self._space)}")
        cursor.execute(f"SET LOCAL search_path TO {_name(self._space)}")
        _drop(cursor, load.replaced)
        for table in tables:
            cursor.execute(f"ALTER TABLE {_name(self._beside)}.{_name(table)} SET SCHEMA {_name(self._space)}")
        cursor.execute(f"DROP SCHEMA {_name(self._beside)}")
        self._keep_manifest(cursor, load.manifest)
        cursor.connection.commit()

    @contextmanager
    def _hands(self) -> Iterator[_Hands]:
        """Several connections, each opened once: to open one costs as much as to load some thousand rows."""
        with ExitStack() as stack:
            cursors = [stack.enter_context(self._connected()) for _ in range(_CONNECTIONS)]
            for cursor in cursors:
                for setting in _SETTINGS:
                    cursor.execute(f"SET {setting}")
                cursor.connection.commit()
            pool = stack.enter_context(ThreadPoolExecutor(_CONNECTIONS))
            try:
                yield _Hands(cursors, pool)
            finally:
                pool.shutdown(wait=True, cancel_futures=True)

    def _run(self, cursor: Any, statements: list[str]) -> None:
        cursor.execute(f"SET LOCAL search_path TO {_name(self._beside)}")
        for statement in statements:
            cursor.execute(statement)
        cursor.connection.commit()

    def _validate(self, cursor: Any, table: str, constraint: str) -> None:
        self._run(cursor, [f"ALTER TABLE {_name(table)} VALIDATE CONSTRAINT {_name(constraint)}"])

    def _unjudged(self, cursor: Any) -> list[tuple[str, str]]:
        cursor.execute(
            "SELECT c.conrelid::regclass::text, r.relname::text, c.conname::text FROM pg_constraint c JOIN pg_class r ON r.oid = c.conrelid "
            "JOIN pg_namespace n ON n.oid = r.relnamespace WHERE n.nspname = $1 AND NOT c.convalidated ORDER BY r.reltuples DESC, 3",
            (self._beside,),
        )
        return [(str(row[1]), str(row[2])) for row in cursor.fetchall()]

    @property
    def _beside(self) -> str:
        return f"{self._space[:44]}_populace_stage"

    def _may_make_schemas(self) -> bool:
        with self._connected() as cursor:
            cursor.execute("SELECT has_database_privilege(current_database(), 'CREATE')")
            return bool(cursor.fetchone()[0])

    def _hold(self, cursor: Any) -> None:
        """Be the only one at work on this schema until the connection ends. A run that was killed may hold it for a moment longer."""
        for wait in (0.1, 0.4, 1, 2, 0):
            cursor.execute("SELECT pg_try_advisory_lock(hashtextextended('populace.' || $1, 0))", (self._space,))
            if cursor.fetchone()[0]:
                return
            time.sleep(wait)
        raise UserError(f"target {self.place} is being written by another run")

    def remove(self, tables: tuple[str, ...]) -> None:
        with self._connected() as cursor:
            cursor.execute(f"SET LOCAL search_path TO {_name(self._space)}")
            _drop(cursor, (*tables, MANIFEST))
            cursor.execute(f"DROP SCHEMA IF EXISTS {_name(self._beside)} CASCADE")
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


class _Hands:
    """Connections that share out what is to be done, each at one thing at a time."""

    def __init__(self, cursors: list[Any], pool: ThreadPoolExecutor) -> None:
        self._free: SimpleQueue[Any] = SimpleQueue()
        for cursor in cursors:
            self._free.put(cursor)
        self._pool = pool

    def all(self, tasks: list[tuple[str, Callable[[Any], None]]]) -> Iterator[str]:
        """Do tasks, each in a transaction of its own; yields the name of each as it is done."""

        def work(task: Callable[[Any], None]) -> None:
            cursor = self._free.get()
            try:
                task(cursor)
                cursor.connection.commit()
            finally:
                self._free.put(cursor)

        futures = {self._pool.submit(work, task): name for name, task in tasks}
        for future in as_completed(futures):
            future.result()
            yield futures[future]

    def run(self, tasks: list[tuple[str, Callable[[Any], None]]]) -> None:
        for _ in self.all(tasks):
            pass


def _copy(cursor: Any, table: str, space: str, part: Path) -> None:
    for frame in frames([part]):
        rows = frame.to_arrow(compat_level=pl.CompatLevel.oldest())
        cursor.adbc_ingest(table, rows, mode="append", db_schema_name=space)


def _each(alter: str) -> list[str]:
    """A statement that adds several constraints as one for each."""
    table, _, added = alter.partition(" ADD CONSTRAINT ")
    return [f"{table} ADD CONSTRAINT {one}" for one in added.split(", ADD CONSTRAINT ")]


def _drop(cursor: Any, tables: tuple[str, ...]) -> None:
    if tables:
        cursor.execute(f"DROP TABLE IF EXISTS {', '.join(map(_name, tables))}")


def _name(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
