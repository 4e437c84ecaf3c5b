"""What a schema says, a database enforces: every dialect's constraints and the row rules give one verdict on every row."""

from __future__ import annotations

import datetime as dt
import json
import math
import os
import random
import sqlite3
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any
from urllib.parse import urlsplit

import jsonschema
import numpy as np
import polars as pl
import pytest

from populace.core.checks import row_rules
from populace.core.dataset import generate
from populace.core.domain import domain_names, find_domain
from populace.core.errors import UserError
from populace.core.plan import make_plan
from populace.core.schema import LABEL, TYPES, CodeList, Column, RowCheck, Schema, TableSchema
from populace.core.schema_text import (
    DIALECTS,
    FORMS,
    as_arrow,
    as_json_schema,
    as_sql,
    constraint_name,
    create_statements,
)
from populace.core.schema_text.sql import _name
from populace.core.spec import Spec

UTC = dt.UTC
LONG = "a_check_whose_name_is_much_longer_than_any_database_is_willing_to_keep"


def _zoo() -> Schema:
    """Every column type, every rule, and names and texts chosen to hurt: keywords, quotes, backslashes, too long, float limits."""
    keeper = TableSchema(
        "keeper",
        'Who "keeps" the animals; it\'s one row each.',
        "keeper_id",
        {c.name: c for c in (Column("keeper_id", "id", "Key."), Column("name", "text", "", pattern="^[A-Z][a-z' ]+$"))},
        reference=True,
    )
    columns = (
        Column("animal_id", "id", "Key."),
        Column("keeper_id", "id", "Who feeds it.", references="keeper", each=(1, 4)),
        Column("mother_id", "id", "Its mother.", null=True, references="animal"),
        Column("order", "code", "A keyword; it's quoted.", codes=("O'Neil", "back\\slash", "x", "X|")),
        Column("group", "code", "", null=True, codes=("a", "b")),
        Column("legs", "int", "", min=0, max=750),
        Column("wings", "int32", "", null=True, min=-2),
        Column("price", "money", "", null=True, min=1, unit="minor units"),
        Column("weight", "float", "", null=True, min=0.1, unit="kg", decimals=3),
        Column("length", "float", ""),
        Column("share", "float32", "", min=0.7, max=0.9),
        Column("tag", "text", "", null=True, pattern="^[A-Z]{2}\\.[0-9]+$"),
        Column("tame", "bool", ""),
        Column("sold", "bool", "", null=True),
        Column("born", "date", "", min="1990-01-01", max="2025-12-31"),
        Column("end", "date", "", null=True),
        Column("seen", "instant", ""),
        Column("fed", "instant", "", null=True),
    )
    checks = (
        RowCheck("ends-after-birth", '"end" >= born', "ended before it was born"),
        RowCheck("fed-after-seen", "fed >= seen OR fed IS NULL", "fed before seen"),
        RowCheck("sold-has-price", "NOT sold OR price IS NOT NULL", "sold for nothing"),
        RowCheck("wings-and-legs", "wings + legs * 2 <= 800 AND legs - wings >= -1", "too many limbs"),
        RowCheck("group-fits", "(\"group\" = 'a' AND \"order\" IN ('x', 'O''Neil')) OR \"group\" <> 'a'", "odd group"),
        RowCheck("tame-if-cheap", "tame OR price > 100 OR price = 7", "wild and cheap"),
        RowCheck(LONG, "legs <> 13", "unlucky"),
    )
    animal = TableSchema(
        "animal", "An animal.", "animal_id", {c.name: c for c in columns}, checks, "keeper_id", 1000, ("mother_id",)
    )
    assert {c.type for c in columns} | {"text"} == set(TYPES)
    # deliberately listed before the table that it refers to
    lists = {"groups": CodeList("groups", None, "None.", {"a": "First", "b": "Second"})}
    return Schema("zoo", {"animal": animal, "keeper": keeper}, lists)


ZOO = _zoo()
ANIMAL: dict[str, Any] = {
    "animal_id": 1000,
    "keeper_id": 1,
    "mother_id": None,
    "order": "x",
    "group": "a",
    "legs": 4,
    "wings": 0,
    "price": 250,
    "weight": 12.5,
    "length": 1.25,
    "share": 0.75,
    "tag": "AB.12",
    "tame": True,
    "sold": False,
    "born": dt.date(2001, 2, 3),
    "end": dt.date(2003, 4, 5),
    "seen": dt.datetime(2002, 1, 1, 8, 30, tzinfo=UTC),
    "fed": dt.datetime(2002, 1, 1, 9, 0, 0, 5, tzinfo=UTC),
}


# --- databases, each as: run a statement, insert a row and say which constraint refused it -----------------------------------


class Refused(Exception):
    """A database's refusal of a row; the text is its message."""


Insert = Callable[..., None]


@contextmanager
def _database(dialect: str) -> Iterator[tuple[Callable[[str], Any], Insert]]:
    with _OPEN[dialect]() as (execute, parameter, errors, convert):

        def insert(table: str, *rows: dict[str, Any]) -> None:
            to = DIALECTS[dialect]
            names = ", ".join(_name(c, to) for c in rows[0])
            marks = ", ".join([f"({', '.join(parameter for _ in rows[0])})"] * len(rows))
            try:
                execute(
                    f"INSERT INTO {_name(table, to)} ({names}) VALUES {marks}",
                    [convert(v) for row in rows for v in row.values()],
                )
            except errors as error:
                raise Refused(str(error)) from None

        yield (lambda sql: execute(sql, None)), insert


@contextmanager
def _duckdb() -> Iterator[Any]:
    import duckdb

    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        yield connection.execute, "?", duckdb.ConstraintException, lambda v: v


@contextmanager
def _sqlite() -> Iterator[Any]:
    connection = sqlite3.connect(":memory:", isolation_level=None)
    connection.execute("PRAGMA foreign_keys = ON")

    def convert(value: Any) -> Any:
        if isinstance(value, dt.datetime):
            return value.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        return value.isoformat() if isinstance(value, dt.date) else value

    yield lambda sql, args: connection.execute(sql, args or ()), "?", sqlite3.IntegrityError, convert
    connection.close()


@contextmanager
def _postgresql() -> Iterator[Any]:
    url = os.environ.get("POPULACE_TEST_POSTGRES")
    psycopg = pytest.importorskip("psycopg", reason="psycopg is not installed")
    if not url:
        pytest.skip("POPULACE_TEST_POSTGRES names no database")
    space = f"populace_{uuid.uuid4().hex}"
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(f"CREATE SCHEMA {space}")
        # nothing here must outlive a crash, so no row waits for the disk
        connection.execute(f"SET search_path TO {space}; SET TIME ZONE 'UTC'; SET synchronous_commit = off")
        try:
            yield connection.execute, "%s", psycopg.errors.IntegrityError, lambda v: v
        finally:
            connection.execute(f"DROP SCHEMA {space} CASCADE")


@contextmanager
def _mysql() -> Iterator[Any]:
    url = os.environ.get("POPULACE_TEST_MYSQL")
    pymysql = pytest.importorskip("pymysql", reason="pymysql is not installed")
    if not url:
        pytest.skip("POPULACE_TEST_MYSQL names no database")
    at = urlsplit(url)
    space = f"populace_{uuid.uuid4().hex}"
    connection = pymysql.connect(host=at.hostname, port=at.port or 3306, user=at.username, password=at.password or "")

    def execute(sql: str, args: list[Any] | None) -> Any:
        with connection.cursor() as cursor:
            cursor.execute(sql, args)
            return cursor.fetchall()

    execute(f"CREATE DATABASE {space}", None)
    execute(f"USE {space}", None)
    execute("SET sql_mode = 'STRICT_ALL_TABLES'", None)
    try:
        yield (
            execute,
            "%s",
            (pymysql.err.IntegrityError, pymysql.err.OperationalError),
            lambda v: v.replace(tzinfo=None) if isinstance(v, dt.datetime) else v,
        )
    finally:
        execute(f"DROP DATABASE {space}", None)
        connection.close()


_OPEN = {"duckdb": _duckdb, "sqlite": _sqlite, "postgresql": _postgresql, "mysql": _mysql}
SCHEMAS = ["zoo", *domain_names()]


def _schema(name: str) -> Schema:
    if name == "zoo":
        return ZOO
    try:
        return find_domain(name).schema
    except (ImportError, AttributeError) as error:
        pytest.skip(f"{name} is not here: {error}")


# --- one verdict ----------------------------------------------------------------------------------------------------------


def _frame(spec: TableSchema, rows: list[dict[str, Any]]) -> pl.DataFrame:
    """Rows as the checks see them: codes as text, the way they are read from a file."""
    types = {c.name: pl.String if c.type == "code" else c.dtype for c in spec.columns.values()}
    return pl.DataFrame(rows, schema=types)


def _judged(spec: TableSchema, rows: Iterator[dict[str, Any]]) -> Iterator[tuple[dict[str, Any], set[str]]]:
    """Each row with the rules that it breaks."""
    listed = list(rows)
    rules = row_rules(spec)
    verdicts = _frame(spec, listed).select(r.broken.alias(str(n)) for n, r in enumerate(rules)).rows()
    for row, verdict in zip(listed, verdicts, strict=True):
        yield row, {r.name for r, broken in zip(rules, verdict, strict=True) if broken}


def _values(spec: TableSchema, column: Column, row: dict[str, Any]) -> list[Any]:
    """Values at, just inside and just outside every limit of a column, and those that other columns of its type hold."""
    found: list[Any] = [None]
    number = column.type in ("id", "int", "int32", "money", "float", "float32")
    step: Any = {"date": dt.timedelta(1), "instant": dt.timedelta(microseconds=1)}.get(column.type, 1)
    if number or column.type in ("date", "instant"):
        limits = [dt.date.fromisoformat(v) if isinstance(v, str) else v for v in (column.min, column.max)]
        near = [v for v in limits if v is not None]
        alike = ("float", "float32") if "float" in column.type else ("id", "int", "int32", "money")
        near += [
            row[c.name]
            for c in spec.columns.values()
            if row[c.name] is not None and (c.type in alike if number else c.type == column.type)
        ]
        for value in near:
            found += [value, value - step, value + step]
        if number:
            found += [0, 13, 1_000]
    if column.type == "float":
        found += [math.inf, -math.inf, math.nan]
    if column.type == "bool":
        found += [True, False]
    if column.type == "code":
        found += [*column.codes[:20], "no-such-code", column.codes[0].swapcase() if column.codes else ""]
    if column.type == "text":
        found += ["", "AB.12", "ab.12", "Ann O'Neil", "AB.12\n", "\\"]
    return found


def _rows(spec: TableSchema, start: dict[str, Any], several: int) -> Iterator[dict[str, Any]]:
    """The row itself, every one-column change of it, and a number of changes in two to four columns at once."""
    for row in _changes(spec, start, several):
        # a value in a 32-bit column is a 32-bit number wherever it is kept
        yield {c: _narrow(v) if spec.columns[c].type == "float32" else v for c, v in row.items()}


def _narrow(value: float | None) -> float | None:
    return None if value is None else float(np.float32(value))


def _changes(spec: TableSchema, start: dict[str, Any], several: int) -> Iterator[dict[str, Any]]:
    yield start
    for column in spec.columns.values():
        for value in _values(spec, column, start):
            yield {**start, column.name: value}
    dice = random.Random(spec.name)
    for _ in range(several):
        row = dict(start)
        for column in dice.sample(list(spec.columns.values()), min(dice.randint(2, 4), len(spec.columns))):
            row[column.name] = dice.choice(_values(spec, column, row))
        yield row


def _holds(dialect: str, spec: TableSchema, row: dict[str, Any]) -> bool:
    """SQLite keeps NaN as null and MySQL keeps neither NaN nor infinity: such rows cannot reach their constraints."""
    numbers = [v for v in row.values() if isinstance(v, float)]
    small = all(-(2**31) <= (row[c.name] or 0) < 2**31 for c in spec.columns.values() if c.type == "int32")
    if dialect == "mysql":
        return small and all(map(math.isfinite, numbers))
    return small and (dialect != "sqlite" or not any(map(math.isnan, numbers)))


@cache
def _valid_rows(name: str) -> dict[str, list[dict[str, Any]]]:
    """Some valid rows of each table: our own animal, or what the domain generates."""
    if name == "zoo":
        return {"keeper": [{"keeper_id": 1, "name": "Ann"}], "animal": [ANIMAL]}
    frames = generate(make_plan(Spec(name, size=20))).frames
    return {
        table: frames[table].sample(min(60, frames[table].height), seed=1).to_dicts() for table in _schema(name).tables
    }


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize("name", SCHEMAS)
def test_databases_and_row_rules_agree_on_every_row(name: str, dialect: str) -> None:
    schema = _schema(name)
    with _database(dialect) as (execute, insert):
        verdicts = {True: 0, False: 0}
        for table, made in create_statements(schema, dialect, omit=_about_other_rows(schema)).items():
            for statement in made:
                execute(statement)
            if table == LABEL.name:
                continue
            spec = schema.tables[table]
            valid = _valid_rows(name)[table]
            assert not any(broken for _, broken in _judged(spec, iter(valid)))
            changed = (r for start in valid[:1] for r in _rows(spec, start, several=150 if name == "zoo" else 20))
            judged = list(_judged(spec, (r for r in (*valid, *changed) if _holds(dialect, spec, r))))
            good = [row for row, broken in judged if not broken]
            # DuckDB takes long over a statement: what should go in goes in at once, and row by row where that is refused
            if dialect == "duckdb" and good and _refusal(insert, table, *good) is None:
                verdicts[True] += len(good)
                judged = [(row, broken) for row, broken in judged if broken]
            for row, broken in judged:
                if dialect == "sqlite":
                    broken = {b for b in broken if not b.endswith(".pattern")}
                verdicts[not broken] += 1
                refusal = _refusal(insert, table, row)
                assert (refusal is not None) == bool(broken), f"breaks {broken or 'nothing'}; says {refusal}: {row}"
                # a database stops at the first constraint, and speaks of columns when a value is absent
                if refusal and dialect != "duckdb" and "null" not in refusal.lower():
                    named = {constraint_name(b, dialect) for b in broken}
                    assert any(n in refusal for n in named), f"{refusal} names none of {named}"
    assert verdicts[False]
    assert verdicts[True]


def _refusal(insert: Insert, table: str, *rows: dict[str, Any]) -> str | None:
    try:
        insert(table, *rows)
    except Refused as refusal:
        return str(refusal)
    return None


def _about_other_rows(schema: Schema) -> set[str]:
    return {f"{t.name}.key" for t in schema.tables.values()} | {
        f"{t.name}.{c}.reference" for t in schema.tables.values() for c in t.references
    }


@pytest.mark.parametrize("dialect", DIALECTS)
def test_keys_and_references_are_enforced(dialect: str) -> None:
    with _database(dialect) as (execute, insert):
        for made in create_statements(ZOO, dialect).values():
            for statement in made:
                execute(statement)
        insert("keeper", {"keeper_id": 1, "name": "Ann"})
        insert("animal", ANIMAL)
        insert("animal", {**ANIMAL, "animal_id": 1001, "mother_id": 1000})
        refused = [{"animal_id": 1001}, {"animal_id": 1002, "keeper_id": 2}]
        if DIALECTS[dialect].own_rows:
            refused.append({"animal_id": 1002, "mother_id": 7})
        for change in refused:
            with pytest.raises(Refused):
                insert("animal", {**ANIMAL, **change})


@pytest.mark.parametrize("dialect", DIALECTS)
def test_what_is_omitted_is_not_enforced_and_nothing_else_is_lost(dialect: str) -> None:
    omit = {"animal.legs.min", "animal.ends-after-birth", "animal.length.null"}
    with _database(dialect) as (execute, insert):
        for made in create_statements(ZOO, dialect, omit).values():
            for statement in made:
                execute(statement)
        insert("keeper", {"keeper_id": 1, "name": "Ann"})
        insert("animal", {**ANIMAL, "legs": -1, "end": dt.date(1999, 1, 1), "length": None})
        with pytest.raises(Refused):
            insert("animal", {**ANIMAL, "animal_id": 1001, "legs": 751})


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize("name", SCHEMAS)
def test_the_script_runs_as_a_whole_and_makes_every_table_with_its_description(name: str, dialect: str) -> None:
    schema = _schema(name)
    script = as_sql(schema, dialect)
    order = list(create_statements(schema, dialect))
    assert order[-1] == LABEL.name
    assert set(order) == {*schema.tables, LABEL.name}
    for table, spec in schema.tables.items():
        assert all(order.index(r) < order.index(table) for r in spec.references.values() if r != table)
        assert " ".join(spec.doc.split())[:40].replace("'", "''") in script.replace("--", "") or dialect == "sqlite"
    with _database(dialect) as (execute, _):
        if dialect == "sqlite":
            connection = sqlite3.connect(":memory:")
            connection.executescript(script)
            assert {r[0] for r in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")} == set(
                order
            )
            connection.close()
        else:
            for made in create_statements(schema, dialect).values():
                for statement in made:
                    execute(statement)


def test_a_name_too_long_for_the_database_is_cut_and_stays_its_own() -> None:
    one, two = (constraint_name(f"animal.{LONG}{end}", "postgresql") for end in ("1", "2"))
    assert one != two
    assert len(one) == 63
    assert constraint_name("animal.legs.min", "postgresql") == "animal.legs.min"


def test_references_in_a_circle_and_unknown_dialects_are_user_errors() -> None:
    def table(name: str, other: str) -> TableSchema:
        columns = (Column("k", "id", ""), Column("o", "id", "", references=other))
        return TableSchema(name, "", "k", {c.name: c for c in columns})

    with pytest.raises(UserError, match="circle: egg, hen"):
        as_sql(Schema("farm", {"egg": table("egg", "hen"), "hen": table("hen", "egg")}))
    with pytest.raises(UserError, match="Did you mean 'postgresql'"):
        as_sql(ZOO, "postgres")


# --- JSON Schema and Arrow ----------------------------------------------------------------------------------------------------


def _validator(schema: Schema) -> Any:
    whole = as_json_schema(schema)
    jsonschema.Draft202012Validator.check_schema(whole)
    return jsonschema.Draft202012Validator(whole, format_checker=jsonschema.Draft202012Validator.FORMAT_CHECKER)


def _as_json(row: dict[str, Any], spec: TableSchema) -> Any:
    return json.loads(
        _frame(spec, [row]).with_columns(pl.col(pl.Datetime).dt.strftime("%Y-%m-%dT%H:%M:%S%.6fZ")).write_ndjson()
    )


def test_json_schema_and_column_rules_agree() -> None:
    """Row predicates and limits of dates are beyond JSON Schema; everything else it judges as the row rules do."""
    validator, spec = _validator(ZOO), ZOO["animal"]
    said = {"null", "min", "max", "codes", "pattern"}
    taken = 0
    for row, every in _judged(spec, _rows(spec, ANIMAL, several=100)):
        # Python's `$`, unlike JSON Schema's, also matches before a last line break
        if not _holds("mysql", spec, row) or (row["tag"] or "").endswith("\n"):
            continue
        broken = {b for b in every if b.rpartition(".")[2] in said and not b.startswith("animal.born.m")}
        valid = validator.is_valid({"animal": [_as_json(row, spec)]})
        assert valid == (not broken), (broken, row)
        taken += valid
    assert taken > 50


@pytest.mark.parametrize("name", SCHEMAS)
def test_generated_rows_are_what_the_json_schema_says(name: str) -> None:
    schema = _schema(name)
    rows = {t: [_as_json(r, schema[t]) for r in found] for t, found in _valid_rows(name).items()}
    _validator(schema).validate(rows)


@pytest.mark.parametrize(
    ("change", "word"),
    [({"legs": "four"}, "legs"), ({"legs": 1.5}, "legs"), ({"hat": 1}, "hat"), ({"born": "1/2/2003"}, "born")],
)
def test_json_schema_refuses_other_types_names_and_formats(change: dict[str, Any], word: str) -> None:
    row = {**_as_json(ANIMAL, ZOO["animal"]), **change}
    assert any(word in e.message + "".join(map(str, e.path)) for e in _validator(ZOO).iter_errors({"animal": [row]}))


@pytest.mark.parametrize("name", SCHEMAS)
def test_a_frame_in_the_schemas_types_fits_its_arrow_schema(name: str) -> None:
    schema = _schema(name)
    arrow = as_arrow(schema)
    assert set(arrow) == {*schema.tables, LABEL.name}
    for table, spec in schema.tables.items():
        frame = pl.DataFrame(schema=spec.polars) if table != "animal" else pl.DataFrame([ANIMAL], schema=spec.polars)
        cast = frame.to_arrow().cast(arrow[table])
        assert pl.DataFrame(cast).cast(dict(spec.polars)).equals(frame)
        assert [f.nullable for f in arrow[table]] == [c.null for c in spec.columns.values()]


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("name", SCHEMAS)
def test_every_form_tells_of_every_column(name: str, form: str) -> None:
    schema = _schema(name)
    text = FORMS[form](schema)
    for spec in (*schema.tables.values(), LABEL):
        assert spec.name in text
        for column in spec.columns:
            assert column in text
    if form == "json-schema":
        _validator(schema)


def test_markdown_tables_keep_their_shape() -> None:
    page = FORMS["markdown"](ZOO)
    blocks = [b.splitlines() for b in page.split("\n\n") if b.startswith("|")]
    assert len(blocks) > 3
    for block in blocks:
        assert len({line.replace("\\|", "").count("|") for line in block}) == 1
