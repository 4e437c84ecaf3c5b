"""A database that somebody else designed, as values: what its tables are, and what a row must satisfy to be let in."""

from __future__ import annotations

import re
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..address import parse_database, redact
from ..errors import UserError

if TYPE_CHECKING:
    from ..sinks.mysql import MySQL

DIALECTS = {"postgresql": "postgres", "sqlite": "sqlite", "mysql": "mysql", "duckdb": "duckdb"}
"""The databases whose tables can be filled, and what the SQL parser calls their dialect."""
_BITS = {
    "SMALLINT": 16,
    "INTEGER": 32,
    "BIGINT": 64,
    "SMALLSERIAL": 16,
    "SERIAL": 32,
    "BIGSERIAL": 64,
    "TINYINT": 8,
    "MEDIUMINT": 24,
}


@dataclass(frozen=True)
class TargetColumn:
    name: str
    kind: str
    """int, decimal, float, text, bool, date, instant, time, bytes, json or uuid; what none of them is, by the name of its type."""
    null: bool
    length: int | None = None
    """At most so many characters."""
    high: int = 2**63 - 1
    """The greatest integer that it holds."""
    digits: tuple[int, int] | None = None
    """Of a decimal: all digits, and those after the point."""
    choices: tuple[str, ...] = ()
    made: bool = False
    """The database computes it: nothing may be written there."""


@dataclass(frozen=True)
class Reference:
    columns: tuple[str, ...]
    table: str
    parents: tuple[str, ...]
    """The columns of `table` that they refer to, in the same order."""


@dataclass(frozen=True)
class Unique:
    columns: tuple[str, ...]
    where: str | None = None
    """It holds among the rows of which this is true."""


@dataclass(frozen=True)
class TargetTable:
    name: str
    columns: Mapping[str, TargetColumn]
    key: tuple[str, ...]
    uniques: tuple[Unique, ...]
    """The key among them."""
    references: tuple[Reference, ...]
    checks: Mapping[str, str]
    """Predicates in the database's SQL: true or null for each row."""
    rows: int
    """How many rows it holds already."""


@dataclass(frozen=True)
class Target:
    place: str
    """Its URL, without any password."""
    dialect: str
    tables: Mapping[str, TargetTable]


def connect_url(url: str) -> tuple[str, str, str | None]:
    """Dialect, SQLAlchemy's URL and schema of a database's URL. Raises UserError for any other."""
    scheme, _, rest = url.partition(":")
    if scheme in ("sqlite", "duckdb") and rest.startswith("///") and rest[3:]:
        return scheme, url, None
    if scheme in ("postgresql", "postgres"):
        address = parse_database(f"postgresql:{rest}")
        return "postgresql", f"postgresql+psycopg{address.uri()[len('postgresql') :]}", address.options.get("schema")
    if scheme in ("mysql", "mariadb"):
        return "mysql", "mysql+pymysql://", None
    raise UserError(f"'{redact(url)}': tables of one's own can be filled in {', '.join(DIALECTS)}, nowhere else")


def mysql_of(url: str) -> MySQL:
    """The database of a mysql:// or mariadb:// URL. Nothing is connected yet."""
    from ..sinks.mysql import OPTIONS, MySQL

    return MySQL(parse_database(f"mysql:{url.partition(':')[2]}", OPTIONS))


def reflect(url: str) -> Target:
    """Read what a database's tables are. Raises UserError if it cannot be reached or holds no table."""
    dialect, place = connect_url(url)[0], redact(url)
    if dialect in ("sqlite", "duckdb") and not Path(url.removeprefix(f"{dialect}:///")).is_file():
        raise UserError(f"{place}: there is no such file")
    if dialect == "duckdb":
        from .target_duckdb import duckdb_tables

        tables = duckdb_tables(url)
    else:
        try:
            import sqlalchemy
        except ImportError as error:
            raise UserError(f"{error.name} is not installed. Run: pip install 'populace[map]'") from None
        del sqlalchemy
        tables = _reflected(url, dialect, place)
    if not tables:
        raise UserError(f"{place} has no table to fill")
    return Target(place, dialect, tables)


def _reflected(url: str, dialect: str, place: str) -> dict[str, TargetTable]:
    import sqlalchemy as sa
    from sqlalchemy.exc import SQLAlchemyError

    _, uri, space = connect_url(url)
    with ExitStack() as stack:
        if dialect == "mysql":
            connected = stack.enter_context(mysql_of(url).connected()).connection
            engine = sa.create_engine(uri, creator=lambda: connected, poolclass=sa.StaticPool)
        else:
            engine = sa.create_engine(uri)
            stack.callback(engine.dispose)
        try:
            with engine.connect() as connection:
                look = sa.inspect(connection)
                names = [n for n in look.get_table_names(space) if n != "populace_manifest"]
                counted = {n: sa.select(sa.func.count()).select_from(sa.table(n, schema=space)) for n in names}
                count = {n: int(connection.execute(q).scalar_one()) for n, q in counted.items()}
                checks = _mysql_checks(connection) if dialect == "mysql" else None
                return {n: _table(look, n, space, count[n], checks) for n in names}
        except SQLAlchemyError as error:
            told = str(getattr(error, "orig", None) or error).strip().splitlines()[0]
            raise UserError(f"{place}: cannot be read: {redact(told)}") from None


def _mysql_checks(connection: Any) -> dict[str, dict[str, str]]:
    """Checks by table. MariaDB names the table beside each, MySQL in another place; MySQL escapes the quotation marks."""
    import sqlalchemy as sa

    maria = "MariaDB" in str(connection.execute(sa.text("SELECT VERSION()")).scalar_one())
    query = (
        "SELECT table_name, constraint_name, check_clause FROM information_schema.check_constraints WHERE constraint_schema = DATABASE()"
        if maria
        else "SELECT t.table_name, c.constraint_name, c.check_clause FROM information_schema.check_constraints c "
        "JOIN information_schema.table_constraints t USING (constraint_schema, constraint_name) WHERE constraint_schema = DATABASE()"
    )
    found: dict[str, dict[str, str]] = {}
    for table, name, clause in connection.execute(sa.text(query)):
        plain = str(clause) if maria else re.sub(r"_[a-z0-9]+(?=\\')", "", str(clause)).replace("\\'", "'")
        found.setdefault(str(table), {})[str(name)] = plain
    return found


def _table(
    look: Any, name: str, space: str | None, rows: int, known: Mapping[str, Mapping[str, str]] | None
) -> TargetTable:
    columns = {c["name"]: _column(c) for c in look.get_columns(name, space)}
    key = tuple(look.get_pk_constraint(name, space).get("constrained_columns") or ())
    uniques = [Unique(key)] if key else []
    uniques += [Unique(tuple(u["column_names"])) for u in look.get_unique_constraints(name, space)]
    # SQLite names what a UNIQUE beside a column makes as it likes, and its own index says it best
    more = {"include_auto_indexes": True} if look.dialect.name == "sqlite" else {}
    for index in look.get_indexes(name, space, **more):
        if index["unique"] and None not in index["column_names"]:
            options = index.get("dialect_options", {})
            where = options.get("postgresql_where", options.get("sqlite_where"))
            uniques.append(Unique(tuple(index["column_names"]), str(where) if where is not None else None))
    references = tuple(
        Reference(tuple(f["constrained_columns"]), f["referred_table"], tuple(f["referred_columns"] or ()))
        for f in look.get_foreign_keys(name, space)
    )
    references = tuple(
        r
        if r.parents
        else Reference(r.columns, r.table, tuple(look.get_pk_constraint(r.table, space)["constrained_columns"]))
        for r in references
    )
    if known is None:
        found = look.get_check_constraints(name, space)
        checks = {c["name"] or f"check {n + 1}": c["sqltext"] for n, c in enumerate(found)}
    else:
        checks = dict(known.get(name, {}))
        for column in columns.values():  # MariaDB's JSON is a text with a check
            if column.kind == "text" and f"json_valid(`{column.name}`)" in checks.values():
                columns[column.name] = replace(column, kind="json")
        checks = {n: sql for n, sql in checks.items() if not sql.startswith("json_valid(")}
    return TargetTable(name, columns, key, tuple(dict.fromkeys(uniques)), references, checks, rows)


def _column(found: Any) -> TargetColumn:
    import sqlalchemy as sa

    kind, shown = found["type"], type(found["type"]).__name__.upper()
    name, null, made = found["name"], found["nullable"], found.get("computed") is not None
    if isinstance(kind, sa.Enum):
        return TargetColumn(name, "text", null, choices=tuple(kind.enums), made=made)
    plain = {sa.Boolean: "bool", sa.DateTime: "instant", sa.Date: "date", sa.Time: "time", sa.Float: "float"}
    for type_, word in plain.items():
        if isinstance(kind, type_):
            return TargetColumn(name, word, null, made=made)
    if shown == "TINYINT" and getattr(kind, "display_width", None) == 1:
        return TargetColumn(name, "bool", null, made=made)
    if shown == "YEAR":
        return TargetColumn(name, "text", null, choices=tuple(map(str, range(2000, 2030))), made=made)
    if shown == "SET":
        return TargetColumn(name, "text", null, choices=tuple(kind.values), made=made)
    if isinstance(kind, sa.Integer):
        bits = _BITS.get(shown, 64)
        return TargetColumn(name, "int", null, high=2 ** (bits - 1) - 1, made=made)
    if isinstance(kind, sa.Numeric):
        precision = kind.precision or 12
        return TargetColumn(
            name, "decimal", null, digits=(precision, 2 if kind.scale is None else kind.scale), made=made
        )
    if isinstance(kind, sa.Uuid) or shown == "UUID":
        return TargetColumn(name, "uuid", null, made=made)
    if isinstance(kind, sa.JSON):
        return TargetColumn(name, "json", null, made=made)
    if isinstance(kind, sa.LargeBinary):
        return TargetColumn(name, "bytes", null, made=made)
    if isinstance(kind, sa.String):
        return TargetColumn(name, "text", null, length=kind.length, made=made)
    return TargetColumn(name, shown.lower(), null, made=made)
