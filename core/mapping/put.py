"""Rows into tables that stand already: all of them in one transaction, or none. What went in is written in the ledger, and can be removed."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from graphlib import CycleError, TopologicalSorter
from typing import Any

import polars as pl

from ..address import redact
from ..errors import Interrupted, UserError
from ..sinks.load import MANIFEST, first_line
from ..tables import Table
from .target import Target, connect_url, open_engine

_LOAD_ROWS = 50_000


def ledger(url: str) -> Mapping[str, Any] | None:
    """The manifest of what a mapping has put there, None where it has put nothing."""
    with _transaction(url) as cursor:
        return _ledger(cursor, url)


def put(url: str, target: Target, rows: Mapping[str, Table], manifest: str, step: Callable[[], None]) -> None:
    """Insert the rows, keep the manifest. Raises UserError, and leaves the database as it was, if it refuses any."""
    with _transaction(url) as cursor:
        for together in _order(target, list(rows)):
            if target.dialect == "sqlite":
                for name in together:
                    _insert(cursor, name, rows[name])
                    step()
                continue
            if len(together) == 1:
                _copy(cursor, _name(together[0]), rows[together[0]])
            else:
                _copy_together(cursor, {n: rows[n] for n in together})
            for name in together:
                _advance(cursor, target, name)
                step()
        cursor.execute(f"CREATE TABLE IF NOT EXISTS {MANIFEST} (manifest TEXT NOT NULL)")
        mark = "?" if target.dialect == "sqlite" else "%s"
        cursor.execute(f"INSERT INTO {MANIFEST} VALUES ({mark})", (manifest,))  # noqa: S608


def take_back(url: str) -> dict[str, int]:
    """Delete the rows that a mapping put there. Raises UserError, and deletes nothing, where tables hold other rows too."""
    with _transaction(url) as cursor:
        manifest = _ledger(cursor, url)
        mapped = (manifest or {}).get("populace", {}).get("mapped")
        if not mapped:
            raise UserError(f"{redact(url)} holds nothing that populace made; nothing was removed")
        for name, count in mapped.items():
            cursor.execute(f"SELECT count(*) FROM {_name(name)}")  # noqa: S608
            if (found := cursor.fetchone()[0]) != count:
                raise UserError(
                    f"{redact(url)}: {name} holds {found:,} rows, populace put {count:,} there; nothing was removed"
                )
        names = list(reversed(mapped))
        if connect_url(url)[0] == "postgresql":
            gone = [f"d{n} AS (DELETE FROM {_name(name)})" for n, name in enumerate(names)]  # noqa: S608
            cursor.execute(f"WITH {', '.join(gone)} SELECT 1")
        else:
            for name in names:
                cursor.execute(f"DELETE FROM {_name(name)}")  # noqa: S608
        cursor.execute(f"DROP TABLE {MANIFEST}")
        return dict(mapped)


def _ledger(cursor: Any, url: str) -> Mapping[str, Any] | None:
    there = (
        "SELECT count(*) FROM sqlite_master WHERE name = 'populace_manifest'"
        if connect_url(url)[0] == "sqlite"
        else "SELECT count(*) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace "
        "WHERE c.relname = 'populace_manifest' AND n.nspname = current_schema()"
    )
    cursor.execute(there)
    if not cursor.fetchone()[0]:
        return None
    cursor.execute(f"SELECT manifest FROM {MANIFEST}")  # noqa: S608
    row = cursor.fetchone()
    try:
        return json.loads(row[0]) if row else None
    except ValueError:
        raise UserError(f"{redact(url)}: {MANIFEST} is not a ledger of populace") from None


def _order(target: Target, names: list[str]) -> list[list[str]]:
    """Tables in the order of their references, those that refer to one another in a circle together."""
    needs = {n: {r.table for r in target.tables[n].references if r.table in names and r.table != n} for n in names}
    groups = {n: [n] for n in names}
    while True:
        graph = {min(g): {min(groups[m]) for n in g for m in needs[n]} - {min(g)} for g in groups.values()}
        try:
            return [groups[first] for first in TopologicalSorter(graph).static_order()]
        except CycleError as error:
            circle = sorted({n for first in error.args[1] for n in groups[first]})
            groups.update(dict.fromkeys(circle, circle))


def _insert(cursor: Any, name: str, rows: Table) -> None:
    columns = ", ".join(map(_name, rows.columns))
    marks = ", ".join("?" * rows.width)
    plain = rows.with_columns(
        pl.col(pl.Datetime).dt.strftime("%Y-%m-%d %H:%M:%S"),
        pl.col(pl.Date).dt.strftime("%Y-%m-%d"),
        pl.col(pl.Time).dt.strftime("%H:%M:%S"),
        pl.col(pl.Enum, pl.Categorical).cast(pl.String),
        pl.col(pl.Decimal).cast(pl.Float64),
    )
    for part in plain.iter_slices(_LOAD_ROWS):
        cursor.executemany(f"INSERT INTO {_name(name)} ({columns}) VALUES ({marks})", part.rows())  # noqa: S608


def _copy(cursor: Any, table: str, rows: Table) -> None:
    columns = ", ".join(map(_name, rows.columns))
    plain = rows.with_columns(
        ("\\x" + pl.col(pl.Binary).bin.encode("hex")).name.keep(),
        pl.col(pl.Datetime).dt.strftime("%Y-%m-%d %H:%M:%S%.6f"),
    )
    with cursor.copy(f"COPY {table} ({columns}) FROM STDIN (FORMAT csv, NULL '\\N')") as copy:
        for part in plain.iter_slices(_LOAD_ROWS):
            copy.write(part.write_csv(include_header=False, quote_style="necessary", null_value="\\N"))


def _copy_together(cursor: Any, tables: Mapping[str, Table]) -> None:
    """Tables that need one another go in with one statement, at whose end the references are judged."""
    inserts = []
    for n, (name, rows) in enumerate(tables.items()):
        columns, draft = ", ".join(map(_name, rows.columns)), f"populace_draft_{n}"
        cursor.execute(f"DROP TABLE IF EXISTS {draft}")
        cursor.execute(f"CREATE TEMP TABLE {draft} AS SELECT {columns} FROM {_name(name)} WITH NO DATA")  # noqa: S608
        _copy(cursor, draft, rows)
        into = f"INSERT INTO {_name(name)} ({columns}) OVERRIDING SYSTEM VALUE SELECT {columns} FROM {draft}"  # noqa: S608
        inserts.append(f"i{n} AS ({into})")
    cursor.execute(f"WITH {', '.join(inserts)} SELECT 1")


def _advance(cursor: Any, target: Target, name: str) -> None:
    """A sequence that makes a column's next value goes on after what was put there."""
    for column in (c for c in target.tables[name].columns.values() if c.kind == "int" and not c.made):
        cursor.execute("SELECT pg_get_serial_sequence(%s, %s)", (_name(name), column.name))
        if sequence := cursor.fetchone()[0]:
            cursor.execute(f"SELECT setval(%s, max({_name(column.name)})) FROM {_name(name)}", (sequence,))  # noqa: S608


@contextmanager
def _transaction(url: str) -> Iterator[Any]:
    from sqlalchemy.exc import SQLAlchemyError

    engine = open_engine(url)
    dialect, _, space = connect_url(url)
    try:
        connection = engine.raw_connection()
        cursor = connection.cursor()
        try:
            if dialect == "sqlite":
                connection.driver_connection.isolation_level = None
                cursor.execute("PRAGMA foreign_keys = ON")
                cursor.execute("BEGIN IMMEDIATE")
                cursor.execute("PRAGMA defer_foreign_keys = ON")
            elif space:
                cursor.execute(f"SET LOCAL search_path TO {_name(space)}")
            yield cursor
            cursor.execute("COMMIT") if dialect == "sqlite" else connection.commit()
        except BaseException:
            if dialect == "sqlite" and connection.driver_connection.in_transaction:
                cursor.execute("ROLLBACK")
            connection.rollback()
            raise
        finally:
            connection.close()
    except UserError:
        raise
    except Exception as error:
        if not isinstance(error, SQLAlchemyError) and type(error).__module__.split(".")[0] not in (
            "sqlite3",
            "psycopg",
        ):
            raise
        told = redact(first_line(getattr(error, "orig", None) or error))
        kind = Interrupted if type(error).__name__ == "OperationalError" and dialect == "postgresql" else UserError
        raise kind(f"{redact(url)}: the database refuses: {told}") from None
    finally:
        engine.dispose()


def standing(url: str, target: Target, names: set[str]) -> dict[str, Table]:
    """The columns that others refer to, of tables that keep their rows."""
    out = {}
    with _transaction(url) as cursor:
        for name in names:
            wanted = sorted(
                {p for t in target.tables.values() for r in t.references if r.table == name for p in r.parents}
            )
            if wanted:
                cursor.execute(f"SELECT {', '.join(map(_name, wanted))} FROM {_name(name)}")  # noqa: S608
                out[name] = pl.DataFrame(cursor.fetchall(), schema=wanted, orient="row")
    return out


def _name(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
