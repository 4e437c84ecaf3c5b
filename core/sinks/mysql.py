"""MySQL and MariaDB: rows go in by LOAD DATA LOCAL. No statement that makes a table can be taken back here, so tables are made and filled in
a database beside the target, and one RENAME TABLE, which is atomic, brings them over. Rows that are added go in one transaction."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import polars as pl

from ..address import Address
from ..errors import Interrupted, UserError
from ..schema_text import load_statements
from ..tables import Table, refuse_infinite
from .load import MANIFEST, Load, first_line, frames, missing_driver
from .stage import parse_manifest

OPTIONS = ("charset", "ssl_ca", "ssl_cert", "ssl_key", "unix_socket")
_LOST = {1040, 1053, 1205, 1213, 1927, 2002, 2003, 2006, 2013, 2055}
"""Errors of the connection, or of a server that is busy or goes down: worth another try, with the rows as they are."""
_UNSEEN = {1142, 1146}
"""There is no such table, or not for this user."""
_PAGE = 100_000
_LARGE = 16 << 20
"""Bytes of Parquet from which on several connections are worth their cost."""
_CONNECTIONS = 4


@dataclass(frozen=True)
class MySQL:
    address: Address

    scheme = "mysql"

    @property
    def place(self) -> str:
        return self.address.shown

    @property
    def work(self) -> Path:
        return Path(self.address.file_name)

    @property
    def _beside(self) -> tuple[str, str]:
        """The databases in which new tables wait and replaced ones end."""
        return f"{self.address.database[:44]}_populace_stage", f"{self.address.database[:44]}_populace_gone"

    def check(self) -> None:
        with self.connected() as cursor:
            cursor.execute("SELECT @@local_infile")
            if not int(cursor.fetchone()[0]):
                raise UserError(
                    f"{self.place}: the server does not take LOAD DATA LOCAL. Let an administrator run: SET GLOBAL local_infile = 1"
                )

    def exists(self) -> bool:
        return bool(self.tables())

    def tables(self) -> list[str]:
        """A list takes no lock and would show the half of what is being renamed; a look at the manifest waits until all of it is."""
        with self.connected() as cursor:
            before: list[str] | None = None
            while True:
                cursor.execute("SHOW TABLES")
                found = [str(row[0]) for row in cursor.fetchall()]
                if found == before:
                    return found
                before = found
                _told(cursor)
                cursor.connection.rollback()  # or what has been looked at stays locked

    def manifest(self) -> Mapping[str, Any] | None:
        with self.connected() as cursor:
            row = _told(cursor)
        if row is None:
            return None
        try:
            return parse_manifest(str(row[0]))
        except ValueError as error:
            raise UserError(f"{self.place}: not a manifest of populace: {error}") from None

    def read(self, *tables: str) -> Iterator[Table]:
        return map(self._read, tables)

    def _read(self, table: str) -> Table:
        from pymysql.cursors import SSCursor

        with self.connected() as asked:
            asked.execute(
                "SELECT column_name, data_type FROM information_schema.columns WHERE table_schema = DATABASE() AND table_name = %s "
                "ORDER BY ordinal_position",
                (table,),
            )
            kinds = {str(name): str(kind).lower() for name, kind in asked.fetchall()}
        # a FLOAT is sent as text with six digits, a DOUBLE with all that it has
        chosen = ", ".join(f"{_name(n)} + 0e0" if kind == "float" else _name(n) for n, kind in kinds.items())
        types = {n: _READ.get(kind, pl.String()) for n, kind in kinds.items()}
        found = [pl.DataFrame(schema=types)]
        with self.connected(cursor=SSCursor) as cursor:
            cursor.execute(f"SELECT {chosen} FROM {_name(table)}")  # noqa: S608
            while rows := cursor.fetchmany(_PAGE):
                columns = zip(types.items(), zip(*rows, strict=True), strict=True)
                found.append(pl.DataFrame([pl.Series(n, values, kind) for (n, kind), values in columns]))
        return pl.concat(found)

    def load(self, load: Load) -> None:
        if load.mode == "append":
            with self.connected(local=True) as cursor:
                cursor.execute("START TRANSACTION")
                for table, parts in load.parts.items():
                    _insert(cursor, table, parts, load.scratch)
                    load.step()
                cursor.execute(f"UPDATE {MANIFEST} SET manifest = %s", (load.manifest,))  # noqa: S608
                cursor.connection.commit()
            return
        stage, gone = self._beside
        statements = load_statements(load.schema, self.scheme, load.omit)
        with self.connected(local=True) as cursor:
            self._hold(cursor)
            self._references(cursor, load.replaced)
            for database in (stage, gone):
                cursor.execute(f"DROP DATABASE IF EXISTS {_name(database)}")  # what a run that was killed has left
                cursor.execute(f"CREATE DATABASE {_name(database)}")
            cursor.execute(f"USE {_name(stage)}")
            for table in load.parts:
                for statement in statements[table].create:
                    cursor.execute(statement)
            cursor.connection.commit()
            self._fill(load, stage)
            for table in load.parts:
                for statement in statements[table].after:
                    cursor.execute(statement)
            cursor.execute(f"CREATE TABLE {MANIFEST} (manifest LONGTEXT NOT NULL) CHARACTER SET utf8mb4")
            cursor.execute(f"INSERT INTO {MANIFEST} VALUES (%s)", (load.manifest,))  # noqa: S608
            cursor.connection.commit()
            here, moves = _name(self.address.database), []
            for table in load.replaced:
                moves.append(f"{here}.{_name(table)} TO {_name(gone)}.{_name(table)}")
            for table in (*load.parts, MANIFEST):
                moves.append(f"{_name(stage)}.{_name(table)} TO {here}.{_name(table)}")
            cursor.execute("RENAME TABLE " + ", ".join(moves))
            for database in (stage, gone):
                cursor.execute(f"DROP DATABASE {_name(database)}")

    def _fill(self, load: Load, stage: str) -> None:
        """Each table over a connection of its own, several at once where there are many rows."""

        def insert(table: str) -> None:
            with self.connected(local=True) as cursor:
                cursor.execute(f"USE {_name(stage)}")
                _insert(cursor, table, load.parts[table], load.scratch / "load" / table)
                cursor.connection.commit()

        sizes = {t: sum(p.stat().st_size for p in parts) for t, parts in load.parts.items()}
        with ThreadPoolExecutor(_CONNECTIONS if sum(sizes.values()) > _LARGE else 1) as pool:
            futures = [pool.submit(insert, t) for t in sorted(sizes, key=lambda t: -sizes[t])]
            try:
                for future in as_completed(futures):
                    future.result()
                    load.step()
            finally:
                pool.shutdown(wait=True, cancel_futures=True)

    def remove(self, tables: tuple[str, ...]) -> None:
        with self.connected() as cursor:
            self._hold(cursor)
            # MySQL drops table by table and refuses one that another still refers to, whatever the order of circles
            for child, name in self._references(cursor, tables):
                cursor.execute(f"ALTER TABLE {_name(child)} DROP FOREIGN KEY {_name(name)}")
            cursor.execute(f"DROP TABLE IF EXISTS {', '.join(map(_name, (*tables, MANIFEST)))}")

    def _references(self, cursor: Any, tables: tuple[str, ...]) -> list[tuple[str, str]]:
        """The references to tables that are to go, by table and name. Raises UserError where one is of a table that is not among them."""
        cursor.execute(
            "SELECT CONSTRAINT_SCHEMA, TABLE_NAME, CONSTRAINT_NAME, REFERENCED_TABLE_NAME FROM information_schema.REFERENTIAL_CONSTRAINTS "
            "WHERE UNIQUE_CONSTRAINT_SCHEMA = %s",
            (self.address.database,),
        )
        here = self.address.database
        found = [(space, child, name) for space, child, name, parent in cursor.fetchall() if parent in tables]
        for space, child, _ in sorted(found):
            if space != here or child not in tables:
                shown = child if space == here else f"{space}.{child}"
                raise UserError(f"{self.place}: table '{shown}', which is not populace's, refers to what is to go")
        return [(child, name) for _, child, name in found]

    def _hold(self, cursor: Any) -> None:
        """Be the only one at work on this database until the connection ends."""
        cursor.execute("SELECT GET_LOCK(CONCAT('populace.', LEFT(SHA1(%s), 40)), 0)", (self.address.database,))
        if cursor.fetchone()[0] != 1:
            raise UserError(f"target {self.place} is being written by another run")

    @contextmanager
    def connected(self, local: bool = False, cursor: Any = None) -> Iterator[Any]:
        try:
            import pymysql
        except ImportError as error:
            raise missing_driver(self.scheme, error) from None
        at = self.address
        settings = {
            "host": at.host or "127.0.0.1",
            "port": at.port,
            "user": at.user,
            "password": at.password if at.password is not None else os.environ.get("MYSQL_PWD"),
            **{k: v for k, v in at.options.items() if k in OPTIONS},
        }
        try:
            connection = _connection_class()(
                **{k: v for k, v in settings.items() if v is not None},
                database=at.database,
                charset="utf8mb4",
                local_infile=local,
                read_default_file=_defaults(),
                read_default_group="client",
                autocommit=False,
                **({"cursorclass": cursor} if cursor else {}),
            )
            try:
                with connection.cursor() as made:
                    made.execute(
                        "SET SESSION sql_mode = 'STRICT_ALL_TABLES,NO_ENGINE_SUBSTITUTION,ERROR_FOR_DIVISION_BY_ZERO'"
                    )
                    yield made
            finally:
                connection.close()
        except (pymysql.err.Error, OSError, RuntimeError, ValueError) as error:
            if isinstance(error, ValueError) and not isinstance(error, pymysql.err.Error):
                raise
            code = error.args[0] if error.args and isinstance(error.args[0], int) else 0
            told = first_line(Exception(error.args[1] if len(error.args) > 1 else error))
            told = at.scrub(told.replace(secret, "***") if (secret := os.environ.get("MYSQL_PWD")) else told)
            if code in _LOST:
                raise Interrupted(f"{self.place}: {told}") from None
            raise UserError(f"{self.place}: the database refuses: {told}") from None


_READ: dict[str, pl.DataType] = {
    "bigint": pl.Int64(),
    "int": pl.Int64(),
    "tinyint": pl.Int64(),
    "smallint": pl.Int64(),
    "mediumint": pl.Int64(),
    "double": pl.Float64(),
    "float": pl.Float64(),
    "date": pl.Date(),
    "datetime": pl.Datetime("us"),
    "timestamp": pl.Datetime("us"),
}


@cache
def _connection_class() -> Any:
    from pymysql import connections, err

    class Guarded(connections.Connection):
        """Sends no file but the one that a load names: in this protocol it is the server that says which file it wants."""

        offered: str | None = None
        context: Any = None

        def _create_ssl_ctx(self, sslp: Any) -> Any:
            """One for all connections that have no wishes: it takes longer to make than most tables to read."""
            if sslp:
                return super()._create_ssl_ctx(sslp)  # type: ignore[misc]
            if Guarded.context is None:
                Guarded.context = super()._create_ssl_ctx(sslp)  # type: ignore[misc]
            return Guarded.context

        def _read_packet(self, *args: Any, **named: Any) -> Any:
            packet: Any = super()._read_packet(*args, **named)  # type: ignore[misc]
            if packet.is_load_local_packet() and packet.get_all_data()[1:].decode("utf-8", "replace") != self.offered:
                self._force_close()  # pyright: ignore[reportAttributeAccessIssue]
                raise err.ProgrammingError(0, "the server asked for a file that was not offered")
            return packet

    return Guarded


def _told(cursor: Any) -> tuple[Any, ...] | None:
    """The row of the manifest, where there is one that may be read."""
    from pymysql import err

    try:
        cursor.execute(f"SELECT manifest FROM {MANIFEST}")  # noqa: S608
    except (err.ProgrammingError, err.OperationalError) as error:
        if error.args[0] in _UNSEEN:
            return None
        raise
    return cursor.fetchone()


def _defaults() -> str | None:
    path = Path("~/.my.cnf").expanduser()
    return str(path) if path.is_file() else None


def _insert(cursor: Any, table: str, parts: list[Path], scratch: Path) -> None:
    for frame in frames(parts):
        insert_frame(cursor, table, frame, scratch)


def insert_frame(cursor: Any, table: str, frame: Table, scratch: Path) -> None:
    """LOAD DATA LOCAL leaves out what it does not like and warns: a warning is an error here."""
    rows = scratch / "rows.csv"
    _write_rows(frame, rows, table)
    try:
        # bytes go as hexadecimal digits, since the file is text
        raw = [n for n, kind in frame.schema.items() if kind == pl.Binary]
        columns = ", ".join(f"@b{raw.index(n)}" if n in raw else _name(n) for n in frame.columns)
        bytes_ = ", ".join(f"{_name(n)} = UNHEX(@b{i})" for i, n in enumerate(raw))
        cursor.connection.offered = str(rows.absolute())
        cursor.execute(
            f"LOAD DATA LOCAL INFILE {_text(str(rows.absolute()))} INTO TABLE {_name(table)} CHARACTER SET utf8mb4 "
            r"FIELDS TERMINATED BY ',' OPTIONALLY ENCLOSED BY '\"' ESCAPED BY '' LINES TERMINATED BY '\n' "
            f"({columns}){f' SET {bytes_}' if raw else ''}"
        )
        taken = cursor.rowcount
        cursor.execute("SHOW WARNINGS LIMIT 1")
        warning = cursor.fetchone()
    finally:
        cursor.connection.offered = None
        rows.unlink(missing_ok=True)
    if warning or taken != frame.height:
        why = f": {warning[2]}" if warning else ""
        raise UserError(f"table {table}: the database took {taken:,} of {frame.height:,} rows{why}")


def _write_rows(frame: Table, path: Path, table: str) -> None:
    refuse_infinite(frame, f"table {table}", "MySQL")
    plain = frame.with_columns(
        pl.col(pl.Boolean).cast(pl.Int8),
        pl.col(pl.Datetime).dt.strftime("%Y-%m-%d %H:%M:%S%.6f"),
        pl.col(pl.Time).dt.strftime("%H:%M:%S%.6f"),
        pl.col(pl.Binary).bin.encode("hex"),
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    plain.write_csv(path, include_header=False, quote_style="non_numeric", null_value="NULL")


def _name(name: str) -> str:
    return "`" + name.replace("`", "``") + "`"


def _text(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "''") + "'"
