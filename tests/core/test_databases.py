"""Databases as targets, every kind by the same laws: the same values, all or nothing, growth, and nothing touched that populace did not make."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from click.testing import CliRunner
from laws.test_interruption import start, strike
from polars.testing import assert_frame_equal
from statements import execute

from populace.app.cli import cli, run_command
from populace.core import growth as growing
from populace.core.address import parse_database, redact
from populace.core.checks import violations
from populace.core.dataset import Dataset, generate
from populace.core.digest import digest
from populace.core.domain import find_domain
from populace.core.errors import Interrupted, UserError
from populace.core.manifest import make_manifest, receipt, total
from populace.core.plan import Plan, make_plan
from populace.core.run import Outcome, run
from populace.core.sinks import open_target
from populace.core.sinks.database import DatabaseSink, open_database, unseed
from populace.core.sinks.load import MANIFEST
from populace.core.sinks.stage import Stage
from populace.core.source import read_source
from populace.core.spec import ScenarioRequest, Spec
from populace.core.validate import validate
from toy import TOY

SLOW = [pytest.param(kind, marks=pytest.mark.slow) for kind in ("mysql", "sqlite")]
"""Databases in which what two others have shown is shown again."""


@pytest.fixture(autouse=True)
def _own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A server's stage lies where the command is run."""
    monkeypatch.chdir(tmp_path)


def plan(*scenarios: str, size: int = 50, seed: int = 0, **more: Any) -> Plan:
    asked = tuple(ScenarioRequest(s) for s in scenarios)
    return make_plan(Spec("toy", size=size, seed=seed, scenarios=asked, **more), TOY)


def write(p: Plan, url: str, mode: str = "create", **how: Any) -> Outcome:
    return run(p, [open_target(url, p.domain, "parquet", p.breaks, mode)], quiet=True, **how)


MADE: dict[str, Dataset] = {}


def made(p: Plan) -> Dataset:
    """A plan's dataset, made once for all kinds of databases."""
    if p.fingerprint not in MADE:
        MADE[p.fingerprint] = generate(p)
    return MADE[p.fingerprint]


def holds(p: Plan, url: str) -> None:
    """A database holds exactly a plan's dataset, and its ledger says so."""
    data, source = made(p), read_source(p.domain, url)
    for name, frame in data.frames.items():
        found = source.label if name == "label" else source.tables[name]
        assert digest(found) == digest(frame), name
    assert source.manifest is not None
    assert source.manifest["populace"]["fingerprint"] == p.fingerprint
    stated = source.manifest["populace"]["tables"]
    assert {n: t["digest"] for n, t in stated.items()} == {n: str(digest(f)) for n, f in data.frames.items()}
    assert validate(p.domain, url).valid


def test_a_database_holds_the_dataset_and_its_ledger(database: str):
    p = plan("ring", "splurge")
    outcome = write(p, database)
    assert [redact(w) for w in outcome.written] == outcome.written
    holds(p, database)
    assert not list(Path.cwd().glob(".*.populace")), "the stage is gone"


@pytest.mark.parametrize("name", ["healthcare", "finance", "iot"])
def test_each_domain_fits_each_database(name: str, database: str):
    domain = find_domain(name)
    p = make_plan(Spec(name, size=20 if name != "iot" else 2, end="2025-03-04" if name == "iot" else None), domain)
    made(p).write(database)
    holds(p, database)


def test_what_scenarios_break_is_not_enforced_and_all_else_is(database: str):
    write(plan("splurge"), database)
    for wrong in (
        "UPDATE sale SET amount_minor = 0",
        "UPDATE sale SET shopper_id = -5",
        "INSERT INTO shop (shop_id, kind) VALUES (0, 'corner')",
        "INSERT INTO shop (shop_id, kind) VALUES (900, 'none')",
        "INSERT INTO shop (shop_id) VALUES (901)",
    ):
        with pytest.raises(Exception, match=r"(?i)constraint|violates|foreign|duplicate|default|null"):
            execute(database, wrong)
    assert read_source(TOY, database).tables["sale"]["amount_minor"].max() == 500_000


@pytest.mark.parametrize(
    ("name", "database"),
    [
        ("healthcare", "duckdb"),
        ("finance", "postgresql"),
        pytest.param("healthcare", "postgresql", marks=pytest.mark.slow),
        pytest.param("finance", "duckdb", marks=pytest.mark.slow),
        *(pytest.param(n, k, marks=pytest.mark.slow) for n in ("healthcare", "finance") for k in ("mysql", "sqlite")),
    ],
    indirect=["database"],
)
def test_every_scenario_of_a_domain_at_once(name: str, database: str):
    domain = find_domain(name)
    asked = tuple(ScenarioRequest(s, {"count": 1}) for s in domain.scenarios)
    p = make_plan(Spec(name, size=200, scenarios=asked), domain)
    made(p).write(database)
    holds(p, database)


def test_a_key_that_scenarios_break_is_one_that_nothing_can_refer_to(database: str):
    """Rows come twice, as a scenario that breaks keys would have them: the tables that refer to them still find a place."""
    whole = generate(plan(size=50))
    twice = replace(whole, frames={**whole.frames, "shopper": pl.concat([whole.frames["shopper"]] * 2)})
    sink = open_target(database, TOY, "parquet", frozenset({"shopper.key"})).ready(whole.plan)
    with sink.stage.opened("twice", sink.work, resume=False):
        sink.write(0, twice.frames, {})
        sink.publish(
            make_manifest(
                whole.plan,
                total(
                    [receipt(whole.plan.domain.schema, twice.frames, violations().with_columns(scenario=pl.lit("")))]
                ),
                sink.form,
            )
        )
    assert read_source(TOY, database).tables["shopper"].height == 100
    assert {v["check"] for v in validate(TOY, database).listed()} == {"shopper.key"}
    with pytest.raises(Exception, match=r"(?i)constraint|duplicate"):
        execute(database, "INSERT INTO shop (shop_id, kind) VALUES (0, 'corner')")


def test_create_refuses_what_stands(database: str):
    write(plan(), database)
    with pytest.raises(UserError, match="exists already"):
        write(plan(size=60), database)
    holds(plan(), database)


def test_create_refuses_a_table_that_is_not_ours_and_leaves_it(database: str):
    execute(database, "CREATE TABLE sale (mine INTEGER)")
    for mode in ("create", "append", "replace"):
        with pytest.raises(UserError, match=r"did not make|exists already|populace made"):
            write(plan(), database, mode)
    assert open_database(database).tables() == ["sale"]
    with pytest.raises(UserError, match="nothing that populace made"):
        unseed(database)
    assert open_database(database).tables() == ["sale"]


def test_append_adds_exactly_the_new_entities(database: str):
    write(plan(size=50), database)
    before = read_source(TOY, database).tables
    write(plan(size=80), database, "append")
    holds(plan(size=80), database)
    after = read_source(TOY, database).tables
    for name, frame in before.items():
        key = TOY.schema[name].key
        kept = after[name].join(frame, on=key, how="semi")
        assert_frame_equal(kept.sort(key), frame.sort(key))
    write(plan(size=81), database, "append")
    holds(plan(size=81), database)


@pytest.mark.parametrize(
    ("other", "reason"),
    [
        ({"seed": 1}, "seed is 0 there, 1 here"),
        ({"settings": {"shops": "8"}}, "set is"),
        ({"end": "2024-02-01"}, "end is"),
        ({"size": 50}, "adds nothing"),
        ({"size": 40}, "adds nothing"),
    ],
)
def test_append_refuses_another_dataset(other: dict[str, Any], reason: str, tmp_path: Path):
    url = f"duckdb:///{tmp_path / 'x.db'}"
    write(plan(size=50), url)
    with pytest.raises(UserError, match=reason):
        write(plan(**{"size": 80, **other}), url, "append")
    holds(plan(size=50), url)


def test_append_refuses_another_version(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    url = f"duckdb:///{tmp_path / 'x.db'}"
    write(plan(), url)
    monkeypatch.setattr(growing, "version", lambda name: "99.0")
    with pytest.raises(UserError, match=r"populace was .* then and is 99\.0 now"):
        write(plan(size=80), url, "append")


def test_append_refuses_what_would_change_rows_that_are_there(database: str):
    """The larger dataset's ring is played by others."""
    seed = next(s for s in range(50) if _casts_others(s))
    write(plan("ring", size=50, seed=seed), database)
    with pytest.raises(UserError, match="casts among all entities"):
        write(plan("ring", size=200, seed=seed), database, "append")
    holds(plan("ring", size=50, seed=seed), database)


def _casts_others(seed: int) -> bool:
    small, large = (set(generate(plan("ring", size=n, seed=seed)).frames["label"]["row_key"]) for n in (50, 200))
    return not small <= large


def test_replace_puts_another_dataset_in_the_place_of_ours_and_leaves_what_is_not(database: str):
    write(plan(size=50), database)
    execute(database, "CREATE TABLE mine (a INTEGER)")
    write(plan("splurge", size=20, seed=3), database, "replace")
    assert "mine" in open_database(database).tables()
    assert {n: len(f) for n, f in read_source(TOY, database).tables.items()}["shopper"] == 20
    holds(plan("splurge", size=20, seed=3), database)


def test_unseed_removes_what_populace_made_and_says_what(database: str):
    write(plan(size=50), database)
    execute(database, "CREATE TABLE mine (a INTEGER)")
    removed = unseed(database)
    assert removed == {n: f.height for n, f in generate(plan(size=50)).frames.items()}
    assert open_database(database).tables() == ["mine"]
    with pytest.raises(UserError, match="nothing that populace made"):
        unseed(database)


@pytest.mark.parametrize("database", ["postgresql", "mysql"], indirect=True)
def test_what_a_table_of_somebody_elses_refers_to_stays(database: str):
    few = plan(size=20)
    write(few, database)
    execute(
        database,
        "CREATE TABLE theirs (shopper_id BIGINT, FOREIGN KEY (shopper_id) REFERENCES shopper (shopper_id))",
    )
    execute(database, "INSERT INTO theirs VALUES (3)")
    for work in (lambda: unseed(database), lambda: write(plan(size=30), database, "replace")):
        with pytest.raises(UserError, match=r"theirs|depend"):
            work()
        holds(few, database)
    execute(database, "DROP TABLE theirs")
    assert unseed(database)["shopper"] == 20


def test_a_load_that_the_database_refuses_leaves_nothing(database: str, monkeypatch: pytest.MonkeyPatch):
    """The last table does not fit: none of them is there, and what stood before stands."""

    def spoilt(stage: Stage, table: str, index: int, suffix: str, put: Any) -> Path:
        path = whole(stage, table, index, suffix, put)
        if table == "sale":
            pl.read_parquet(path).with_columns(shopper_id=pl.lit(-7, pl.Int64)).write_parquet(path)
        return path

    whole = Stage.put_part
    if database.startswith("sqlite"):
        pytest.skip("SQLite judges references only for those who ask it to")
    for mode, stands in (("create", None), ("append", plan(size=50)), ("replace", plan(size=50))):
        monkeypatch.setattr(Stage, "put_part", whole)
        if stands and not open_database(database).exists():
            write(stands, database)
        monkeypatch.setattr(Stage, "put_part", spoilt)
        with pytest.raises(UserError, match=r"(?i)refuses|took"):
            write(plan(size=80), database, mode)
        if stands:
            holds(stands, database)
        else:
            assert open_database(database).tables() == [] if open_database(database).exists() else True


@pytest.mark.parametrize("database", ["postgresql", "mysql"], indirect=True)
def test_many_rows_go_in_over_several_connections(database: str, monkeypatch: pytest.MonkeyPatch):
    """What is few for a test is made to count as many. The tables are the same then, keys, references and indexes among them."""
    module = f"populace.core.sinks.{open_database(database).scheme}"
    few = plan("ring", "splurge")
    write(few, database)
    kept = _constraints(database)
    unseed(database)
    monkeypatch.setattr(f"{module}._LARGE", 0)
    write(few, database)
    holds(few, database)
    assert _constraints(database) == kept
    with monkeypatch.context() as patch:
        if "postgres" in module:
            patch.setattr(f"{module}._SETTINGS", ("maintenance_work_mem = '1'",))
        else:
            patch.setattr(f"{module}._CONNECTIONS", 0)
        with pytest.raises((UserError, ValueError)):
            write(plan(size=80), database, "replace")
    holds(few, database)
    write(plan(size=80), database, "replace")
    holds(plan(size=80), database)
    assert not list(Path.cwd().glob("rows.csv"))


def _constraints(url: str) -> list[tuple[Any, ...]]:
    """Everything that a database enforces or indexes, by its own catalogue."""
    if url.startswith("postgresql"):
        import psycopg

        server, _, space = url.rpartition("schema=")
        with psycopg.connect(server[:-1]) as connection:
            kept = connection.execute(
                "SELECT r.relname, c.conname, pg_get_constraintdef(c.oid), c.convalidated FROM pg_constraint c JOIN pg_class r ON r.oid = c.conrelid "
                "WHERE r.relnamespace = %s::regnamespace ORDER BY 1, 2",
                (space,),
            ).fetchall()
            return (
                kept
                + connection.execute(
                    "SELECT tablename, indexname, indexdef FROM pg_indexes WHERE schemaname = %s ORDER BY 1, 2",
                    (space,),
                ).fetchall()
            )
    import pymysql

    at = parse_database(url)
    with pymysql.connect(host=at.host, port=at.port or 3306, user=at.user, password=at.password or "") as connection:
        cursor = connection.cursor()
        cursor.execute(
            "SELECT table_name, constraint_name, constraint_type FROM information_schema.table_constraints WHERE table_schema = %s ORDER BY 1, 2",
            (at.database,),
        )
        return list(cursor.fetchall())


@pytest.mark.parametrize("database", ["duckdb", "postgresql", *SLOW], indirect=True)
def test_killed_at_random_moments_and_resumed(database: str):
    """Whenever the blow comes, a reader sees the whole or nothing."""
    whole, began = start(TOY, 1, database), time.monotonic()
    assert whole.end() == 0
    longest = time.monotonic() - began
    expected = _content(database)
    killed = 0
    unseed(database)
    for share in (0.6, 0.4, 0.2, 0.05):  # the first life may have been the slowest by far
        life = start(TOY, 1, database)
        time.sleep(longest * share)
        strike(life)
        killed += life.end() != 0
        # a server may still do what it was told before the blow: what is looked at first must not be what comes last
        stands = open_database(database).exists() and open_database(database).tables() != []
        manifest = open_database(database).manifest() if open_database(database).exists() else None
        if manifest is None:
            assert not stands
        else:
            assert _content(database) == expected
            unseed(database)
    assert killed
    assert start(TOY, 1, database).end() == 0
    assert _content(database) == expected


def _content(url: str) -> dict[str, str]:
    source = read_source(TOY, url)
    return {n: str(digest(f)) for n, f in {**source.tables, "label": source.label}.items()}


SECRET = "s3cr3t/p@ss:w%rd"
QUOTED = "s3cr3t%2Fp%40ss%3Aw%25rd"


@pytest.mark.parametrize("scheme", ["postgresql", "postgres", "mysql", "mariadb"])
@pytest.mark.parametrize(
    "form",
    ["{s}://me:{p}@127.0.0.1:1/x", "{s}://me:{p}@127.0.0.1:1/", "{s}://me:{p}@127.0.0.1:no/x", "{s}l://me:{p}@h/x"],
)
def test_a_password_is_never_told(scheme: str, form: str, capsys: pytest.CaptureFixture[str]):
    for password in (SECRET, QUOTED):
        url = form.format(s=scheme, p=password)
        for command in (
            ["generate", "finance", "--size", "1", "--to", url],
            ["generate", "finance", "--dry-run", "--to", url],
            ["validate", "finance", url],
            ["unseed", url],
            ["evaluate", url, url],
            ["fit", url, "--out", "model"],
        ):
            try:
                run_command(command)
            except UserError as error:
                pytest.fail(str(error))
            told = "".join(capsys.readouterr())
            assert told
            for part in (SECRET, QUOTED, "s3cr3t", "w%rd", "w%25rd"):
                assert part not in told, (command, told)
    assert "s3cr3t" not in "".join(str(p) for p in Path.cwd().rglob("*"))


def test_a_password_is_neither_in_the_ledger_nor_in_a_representation(database: str):
    if not database.startswith(("postgresql", "mysql")):
        pytest.skip("a file has no password")
    at = parse_database(database)
    # servers that trust every local user take any password
    url = database.replace(f"//{at.user}@", f"//{at.user}:{QUOTED}@") if at.scheme == "postgresql" else database
    sink = open_target(url, TOY)
    write(plan(), url)
    assert "s3cr3t" not in json.dumps(open_database(url).manifest())
    assert "s3cr3t" not in repr(sink) + sink.place + str(sink.target)


def test_a_password_comes_from_the_environment(postgresql_server: str, monkeypatch: pytest.MonkeyPatch):
    """The driver is handed none, so that the library looks where PostgreSQL's own tools look."""
    monkeypatch.setenv("PGPASSWORD", SECRET)
    sink = open_target(postgresql_server, TOY)
    assert isinstance(sink, DatabaseSink)
    sink.database.check()
    assert "s3cr3t" not in sink.place


def test_mysql_asks_with_the_password_of_the_environment(mysql_server: str, monkeypatch: pytest.MonkeyPatch):
    import pymysql

    at = parse_database(mysql_server)
    name = "populace_pw"
    with pymysql.connect(
        host=at.host, port=at.port or 3306, user=at.user, password=at.password or "", autocommit=True
    ) as connection:
        cursor = connection.cursor()
        cursor.execute(f"CREATE OR REPLACE USER {name}@'%%' IDENTIFIED BY %s", (SECRET,))
        cursor.execute(f"GRANT ALL ON {at.database}.* TO {name}@'%'")
        try:
            database = open_database(f"mysql://{name}@{at.host}:{at.port or 3306}/{at.database}")
            monkeypatch.setenv("MYSQL_PWD", SECRET)
            database.check()
            monkeypatch.setenv("MYSQL_PWD", "wrong" + SECRET)
            with pytest.raises(UserError) as told:
                database.check()
            assert "s3cr3t" not in str(told.value)
        finally:
            cursor.execute(f"DROP USER {name}@'%'")


def test_a_server_that_goes_away_leaves_the_work_to_resume(postgresql_server: str, monkeypatch: pytest.MonkeyPatch):
    url = f"{postgresql_server}{'&' if '?' in postgresql_server else '?'}schema=populace_gone_{os.getpid()}"
    p = plan(size=50)
    sink = open_target(url, TOY)
    assert isinstance(sink, DatabaseSink)
    whole = type(sink.database)._keep_manifest

    def cut(self: Any, cursor: Any, manifest: str) -> None:
        import psycopg

        cursor.execute("SELECT pg_backend_pid()")
        pid = cursor.fetchone()[0]
        with psycopg.connect(postgresql_server, autocommit=True) as connection:
            connection.execute("SELECT pg_terminate_backend(%s)", (pid,))
        time.sleep(0.2)
        whole(self, cursor, manifest)

    with monkeypatch.context() as patch:
        patch.setattr(type(sink.database), "_keep_manifest", cut)
        with pytest.raises(Interrupted, match="--resume"):
            run(p, [sink], quiet=True)
    assert not sink.database.exists()
    outcome = run(p, [sink], quiet=True, resume=True)
    try:
        assert outcome.resumed == p.blocks
        holds(p, url)
    finally:
        unseed(url)
        execute(url, f"DROP SCHEMA populace_gone_{os.getpid()} CASCADE")


def test_mysql_sends_no_file_but_the_one_that_is_loaded(mysql_server: str, tmp_path: Path):
    """In this protocol the server says which file it wants: here it asks for one that no load has offered."""
    (tmp_path / "secret").write_text("1")
    database = open_database(mysql_server)

    def take() -> None:
        with database.connected(local=True) as cursor:  # type: ignore[attr-defined]
            cursor.execute("CREATE TEMPORARY TABLE taken (a INT)")
            cursor.execute(f"LOAD DATA LOCAL INFILE '{tmp_path / 'secret'}' INTO TABLE taken")

    with pytest.raises(UserError, match="not offered"):
        take()


def test_mysql_shows_all_of_what_is_being_renamed_or_none(mysql_server: str):
    """The server lists tables without waiting for one another's locks."""
    import pymysql

    at = parse_database(mysql_server)
    near, away = (f"populace_{where}_{os.getpid()}" for where in ("near", "away"))
    names = [f"t{i}" for i in range(40)] + [MANIFEST]
    target = open_database(mysql_server.replace(f"/{at.database}", f"/{near}"))
    with pymysql.connect(
        host=at.host, port=at.port or 3306, user=at.user, password=at.password or "", autocommit=True
    ) as connection:
        cursor = connection.cursor()
        try:
            for database in (near, away):
                cursor.execute(f"CREATE DATABASE {database}")
            for name in names:
                cursor.execute(f"CREATE TABLE {away}.{name} (manifest TEXT)")
            cursor.execute(f"INSERT INTO {away}.{MANIFEST} VALUES ('{{}}')")
            with ThreadPoolExecutor(1) as pool:
                for here, there in [(away, near), (near, away)] * 3:
                    moves = ", ".join(f"{here}.{n} TO {there}.{n}" for n in names)
                    moving = pool.submit(cursor.execute, f"RENAME TABLE {moves}")
                    while not moving.done():
                        assert len(target.tables()) in (0, len(names))
                    moving.result()
        finally:
            for database in (near, away):
                cursor.execute(f"DROP DATABASE IF EXISTS {database}")


def test_mysql_refuses_what_it_cannot_keep(mysql_server: str, tmp_path: Path):
    from populace.core.sinks.mysql import _write_rows

    with pytest.raises(UserError, match=r"table t: column x holds NaN .* MySQL"):
        _write_rows(pl.DataFrame({"x": [1.0, None, float("nan")]}), tmp_path / "x.csv", "t")


@pytest.mark.parametrize("database", ["postgresql", *SLOW], indirect=True)
def test_from_the_command_line(database: str):
    runner = CliRunner()
    for arguments, words in (
        (["generate", "finance", "--size", "5", "--end", "2025-02-01", "--to", database], "written:"),
        (
            ["generate", "finance", "--size", "8", "--end", "2025-02-01", "--to", database, "--mode", "append"],
            "written:",
        ),
        (["validate", "finance", database], "0 violations"),
        (["unseed", database], f"removed: {len(find_domain('finance').schema.tables) + 1} tables"),
    ):
        told = runner.invoke(cli, arguments, catch_exceptions=False)
        assert told.exit_code == 0
        assert words in told.output


def test_a_dataset_in_memory_goes_there_too(database: str):
    assert generate(plan(size=50)).write(database) == [open_database(database).place]
    grown = generate(plan(size=80))
    grown.write(database, mode="append")
    holds(grown.plan, database)


def test_a_mode_is_for_databases(tmp_path: Path):
    for target, mode, words in ((str(tmp_path / "x"), "append", "folder"), ("duckdb:///x.db", "apend", "did you mean")):
        with pytest.raises(UserError, match=f"(?i){words}"):
            open_target(target, TOY, mode=mode)


def test_drivers_are_imported_when_used():
    code = "import populace.core.sinks.database, sys; print({'pymysql', 'adbc_driver_postgresql', 'duckdb'} & set(sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "set()\n"


def test_the_ledger_is_one_table(database: str):
    write(plan(), database)
    assert set(open_database(database).tables()) == {*TOY.schema.tables, "label", MANIFEST}
