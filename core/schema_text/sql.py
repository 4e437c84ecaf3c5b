"""The DDL of a staging database. A constraint carries the name of the check that it enforces, so a database's error names the check.

What a database cannot enforce by itself is left to the checks: how many rows a parent may have (`each`), and patterns in SQLite,
which has no regular expressions. DuckDB's and MySQL's own messages do not always repeat a constraint's name.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import re
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..errors import UserError, unknown
from ..schema import LABEL, Column, Schema, TableSchema


def _standard_text(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def _mysql_text(text: str) -> str:
    return _standard_text(text.replace("\\", "\\\\"))


_PATTERN_TOKEN = re.compile(r"\\.|\[(?:\\.|[^\]])*\]|\$", re.DOTALL)


def _mysql_pattern(pattern: str) -> str:
    """Here `$` also matches before a last line break; `\\z`, as elsewhere, only at the end."""
    return _PATTERN_TOKEN.sub(lambda m: r"\z" if m[0] == "$" else m[0], pattern)


def _postgresql_pattern(pattern: str) -> str | None:
    """There are no Unicode classes here."""
    return None if re.search(r"(?<!\\)(?:\\\\)*\\[pP]\{", pattern) else pattern


@dataclass(frozen=True)
class Dialect:
    name: str
    types: Mapping[str, str]
    finite: str | None
    """True for numbers that are neither infinite nor NaN; None where a column cannot hold these."""
    matches: str | None
    quote: str = '"'
    text: Callable[[str], str] = _standard_text
    pattern: Callable[[str], str | None] = str
    """A pattern in the dialect's words; None for one that it has no words for, which is left to the checks."""
    date: str = "DATE {}"
    longest: int = 63
    """Characters in a constraint's name."""
    reference: str = ""
    ending: str = ""
    comments: str = "statement"
    """Where descriptions go: a `COMMENT ON` statement, a `COMMENT` clause, or a `--` line that the database keeps."""
    own_rows: bool = True
    """Whether a table can refer to itself and be loaded in one statement."""
    keys_later: bool = False
    """Whether keys and references can be added to a table that is there."""
    clustered: bool = False
    """Whether a table's rows lie in the order of its key, which is then made with the table."""


_TYPES = {
    "id": "BIGINT",
    "int": "BIGINT",
    "int32": "INTEGER",
    "money": "BIGINT",
    "float": "DOUBLE PRECISION",
    "float32": "REAL",
    "text": "TEXT",
    "code": "TEXT",
    "bool": "BOOLEAN",
    "date": "DATE",
    "instant": "TIMESTAMP WITH TIME ZONE",
}

DIALECTS: dict[str, Dialect] = {
    d.name: d
    for d in (
        # DuckDB looks for a row's parent before the statement's other rows are there
        Dialect("duckdb", _TYPES, "isfinite({})", "regexp_matches({}, {})", own_rows=False),
        # STRICT: a value of another type is refused, as it is elsewhere; dates and instants are ISO 8601 text, which sorts by time
        Dialect(
            "sqlite",
            dict.fromkeys(_TYPES, "INTEGER")
            | {"float": "REAL", "float32": "REAL"}
            | dict.fromkeys(("text", "code", "date", "instant"), "TEXT"),
            "abs({}) < 9e999",
            None,
            date="{}",
            reference=" DEFERRABLE INITIALLY DEFERRED",
            ending=" STRICT",
            comments="line",
        ),
        Dialect(
            "postgresql",
            _TYPES,
            "{0} > '-Infinity' AND {0} < 'Infinity'",
            "{} ~ {}",
            pattern=_postgresql_pattern,
            reference=" DEFERRABLE INITIALLY DEFERRED",
            keys_later=True,
        ),
        # DATETIME(6) in UTC: MySQL's TIMESTAMP ends in 2038. The binary collation tells 'a' from 'A', as every other reader does
        Dialect(
            "mysql",
            {**_TYPES, "float32": "FLOAT", "code": "VARCHAR(255)", "instant": "DATETIME(6)"},
            None,
            "{} REGEXP {}",
            quote="`",
            text=_mysql_text,
            pattern=_mysql_pattern,
            ending=" CHARACTER SET utf8mb4 COLLATE utf8mb4_bin",
            comments="clause",
            keys_later=True,
            clustered=True,
        ),
    )
}


def as_sql(schema: Schema, dialect: str = "duckdb", omit: Collection[str] = frozenset()) -> str:
    """The whole DDL as one script, tables in the order of their references."""
    made = create_statements(schema, dialect, omit).values()
    return "\n\n".join(";\n".join(table) + ";" for table in made) + "\n"


def create_statements(schema: Schema, dialect: str, omit: Collection[str] = frozenset()) -> dict[str, list[str]]:
    """Per table, in the order of their references and with the label table last: the CREATE TABLE, then its comments.

    `omit` names checks that are not to be enforced: what a scenario deliberately breaks. Raises UserError for an unknown dialect
    and for references that run in a circle.
    """
    if dialect not in DIALECTS:
        raise unknown("SQL dialect", dialect, DIALECTS)
    to = DIALECTS[dialect]
    tables = [*(schema.tables[name] for name in _reference_order(schema)), LABEL]
    return {spec.name: [_create(schema, spec, to, omit), *_comments(spec, to)] for spec in tables}


@dataclass(frozen=True)
class TableLoad:
    """The statements around the load of one table."""

    create: list[str]
    """The table as rows can go in fastest, and its comments."""
    keys: list[str]
    """What must stand before others can refer to the rows."""
    references: list[str]
    indexes: list[str]

    @property
    def after(self) -> list[str]:
        return [*self.keys, *self.references, *self.indexes]


def load_statements(schema: Schema, dialect: str, omit: Collection[str] = frozenset()) -> dict[str, TableLoad]:
    """Per table, in the order of their references: what makes it ready for a bulk load, and the keys, references and indexes that are cheaper
    to build once the rows are there. Together they enforce what `create_statements` does."""
    if dialect not in DIALECTS:
        raise unknown("SQL dialect", dialect, DIALECTS)
    to = DIALECTS[dialect]
    tables = [*(schema.tables[name] for name in _reference_order(schema)), LABEL]
    return {spec.name: _load(schema, spec, to, omit) for spec in tables}


def _load(schema: Schema, spec: TableSchema, to: Dialect, omit: Collection[str]) -> TableLoad:
    before = _before(spec, to)
    create = [_create(schema, spec, to, omit, before), *_comments(spec, to)]
    later = [
        (check, f"ADD CONSTRAINT {_name(constraint_name(check, to.name), to)} {rule}")
        for check, rule in _constraints(schema, spec, to, omit)
        if not before(check)
    ]
    alter = f"ALTER TABLE {_name(spec.name, to)} "
    linked = [rule for check, rule in later if check.endswith(".reference")]
    indexes = []
    if to.keys_later and not to.clustered:  # elsewhere a reference brings an index of its own, or is enforced by one
        for column in spec.references:
            index = _name(constraint_name(f"{spec.name}.{column}.index", to.name), to)
            indexes.append(f"CREATE INDEX {index} ON {_name(spec.name, to)} ({_name(column, to)})")
    return TableLoad(
        create,
        [alter + rule for check, rule in later if not check.endswith(".reference")],
        [alter + ", ".join(linked)] if linked else [],
        indexes,
    )


def _before(spec: TableSchema, to: Dialect) -> Callable[[str], bool]:
    """Whether a constraint can stand before the rows: one that looks at a single row costs the same before and after."""
    if not to.keys_later:
        return lambda check: True
    later = {f"{spec.name}.{column}.reference" for column in spec.references}
    return lambda check: check not in later and (to.clustered or check != f"{spec.name}.key")


def constraint_name(check: str, dialect: str) -> str:
    """A check's name as the database knows it: whole, or cut to the dialect's limit with a digest that keeps it unique."""
    longest = DIALECTS[dialect].longest
    if len(check.encode()) <= longest:
        return check
    return check[: longest - 9] + "~" + hashlib.blake2b(check.encode(), digest_size=4).hexdigest()


def _reference_order(schema: Schema) -> list[str]:
    done: list[str] = []
    waiting = {n: {r for r in t.references.values() if r != n} for n, t in schema.tables.items()}
    while waiting:
        free = [name for name, needs in waiting.items() if needs <= set(done)]
        if not free:
            raise UserError(f"{schema.domain}: tables refer to one another in a circle: {', '.join(waiting)}")
        done += free
        for name in free:
            del waiting[name]
    return done


def _create(
    schema: Schema,
    spec: TableSchema,
    to: Dialect,
    omit: Collection[str],
    wanted: Callable[[str], bool] = lambda check: True,
) -> str:
    lines = [_column(spec, c, to, omit) for c in spec.columns.values()]
    lines += [
        f"CONSTRAINT {_name(constraint_name(check, to.name), to)} {rule}"
        for check, rule in _constraints(schema, spec, to, omit)
        if wanted(check)
    ]
    # a `--` comment runs to the end of its line, so the comma stands before it
    body = ",\n".join(f"  {line}" for line in lines)
    if to.comments == "line":
        notes = [_flat(c.doc) for c in spec.columns.values()]
        parts = [f"{line}{',' if n + 1 < len(lines) else ''}" for n, line in enumerate(lines)]
        body = "\n".join(
            f"  {part}{'  -- ' + notes[n] if n < len(notes) and notes[n] else ''}" for n, part in enumerate(parts)
        )
    above = f"  -- {_flat(spec.doc)}\n" if to.comments == "line" and spec.doc else ""
    below = f" COMMENT {to.text(_flat(spec.doc)[:2048])}" if to.comments == "clause" and spec.doc else ""
    return f"CREATE TABLE {_name(spec.name, to)} (\n{above}{body}\n){to.ending}{below}"


def _column(spec: TableSchema, column: Column, to: Dialect, omit: Collection[str]) -> str:
    needed = not column.null and f"{spec.name}.{column.name}.null" not in omit
    text = f"{_name(column.name, to)} {to.types[column.type]}{' NOT NULL' if needed else ''}"
    if to.comments == "clause" and column.doc:
        text += f" COMMENT {to.text(_flat(column.doc)[:1024])}"
    return text


def _constraints(schema: Schema, spec: TableSchema, to: Dialect, omit: Collection[str]) -> Iterator[tuple[str, str]]:
    return ((check, rule) for check, rule in _all_constraints(schema, spec, to, omit) if check not in omit)


def _all_constraints(
    schema: Schema, spec: TableSchema, to: Dialect, omit: Collection[str]
) -> Iterator[tuple[str, str]]:
    if spec.key:
        yield f"{spec.name}.key", f"PRIMARY KEY ({_name(spec.key, to)})"
    for column, target in spec.references.items():
        if (target == spec.name and not to.own_rows) or f"{target}.key" in omit:
            continue  # a database lets a reference point only at what it holds to be a key
        key = f"{_name(target, to)} ({_name(schema.tables[target].key, to)})"
        yield (
            f"{spec.name}.{column}.reference",
            f"FOREIGN KEY ({_name(column, to)}) REFERENCES {key}{to.reference}",
        )
    for column in spec.columns.values():
        for rule, predicate in _column_predicates(column, to):
            yield f"{spec.name}.{column.name}.{rule}", f"CHECK ({predicate})"
    for check in spec.checks:
        yield f"{spec.name}.{check.name}", f"CHECK ({_predicate(check.sql, spec, to)})"


def _column_predicates(column: Column, to: Dialect) -> Iterator[tuple[str, str]]:
    value = _name(column.name, to)
    if column.min is not None:
        yield "min", f"{value} >= {_literal(column, column.min, to)}"
    if column.max is not None:
        yield "max", f"{value} <= {_literal(column, column.max, to)}"
    if column.type == "float" and to.finite:
        yield "finite", to.finite.format(value)
    if column.codes:
        yield "codes", f"{value} IN ({', '.join(to.text(c) for c in column.codes)})"
    if column.pattern and to.matches and (pattern := to.pattern(column.pattern)) is not None:
        yield "pattern", to.matches.format(value, to.text(pattern))


def _literal(column: Column, value: Any, to: Dialect) -> str:
    if isinstance(value, str | dt.date):
        return to.date.format(to.text(str(value)))
    # a limit of a 32-bit column is the nearest 32-bit number, also where the database compares in 64 bits
    return repr(float(np.float32(value))) if column.type == "float32" else repr(value)


_TOKEN = re.compile(r"'(?:[^']|'')*'|\"[^\"]+\"|[A-Za-z_]\w*")


def _predicate(sql: str, spec: TableSchema, to: Dialect) -> str:
    """A row predicate with its columns quoted: they may be called what the dialect keeps for itself."""

    def token(match: re.Match[str]) -> str:
        word = match[0]
        if word.startswith("'"):
            return to.text(word[1:-1].replace("''", "'"))
        bare = word.strip('"')
        return _name(bare, to) if bare in spec.columns else word

    return _TOKEN.sub(token, sql)


def _comments(spec: TableSchema, to: Dialect) -> Iterator[str]:
    if to.comments != "statement":
        return
    table = _name(spec.name, to)
    if spec.doc:
        yield f"COMMENT ON TABLE {table} IS {to.text(_flat(spec.doc))}"
    for column in spec.columns.values():
        if column.doc:
            yield f"COMMENT ON COLUMN {table}.{_name(column.name, to)} IS {to.text(_flat(column.doc))}"


def _name(name: str, to: Dialect) -> str:
    return to.quote + name.replace(to.quote, to.quote * 2) + to.quote


def _flat(text: str) -> str:
    return " ".join(text.split())
