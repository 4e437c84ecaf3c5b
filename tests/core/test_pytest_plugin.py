"""The pytest plugin as its users meet it: whole test sessions, each a process of its own."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from polars.testing import assert_frame_equal

from populace.app.cli import run_command
from populace.core.cache import cached, place_of
from populace.core.dataset import generate
from populace.core.domain import find_domain
from populace.core.errors import UserError
from populace.core.plan import Plan, make_plan
from populace.core.source import read_source
from populace.core.spec import ScenarioRequest, Spec, as_command
from toy import TOY

MANY = """
import sqlite3, duckdb, pytest

@pytest.mark.populace("finance", size=40, scenarios=["card-testing:count=1"], end="2025-02-01")
@pytest.mark.parametrize("n", range(3))
def test_seeded(populace, populace_db, n):
    data = populace()
    assert data.frames["customer"].height == 40
    assert set(data.frames["label"]["scenario"]) == {"card-testing"}
    assert populace("finance", size=40, scenarios=["card-testing:count=1"], end="2025-02-01") is data
    path = populace_db.removeprefix("sqlite:///")
    with sqlite3.connect(path) as connection:
        count = "SELECT count(*) FROM customer"
        assert connection.execute(count).fetchone() == (40,)
        connection.execute("DELETE FROM customer")
    print("seed", populace.seed, data.frames["transaction"].height)

@pytest.mark.populace("finance", size=5, seed=7, end="2025-02-01", db="duckdb")
@pytest.mark.parametrize("n", range(2))
def test_shared(populace, populace_db, n):
    with duckdb.connect(populace_db.removeprefix("duckdb:///")) as connection:
        assert connection.execute("SELECT count(*) FROM customer").fetchone() == (5,)
        connection.execute("DROP TABLE ledger_entry")
    assert populace().plan.seed == 7
"""


def session(folder: Path, code: str, *flags: str, among_others: bool = False, **environment: str) -> tuple[int, str]:
    """A test session; `among_others` with every plugin that is installed, which takes each session seconds to start."""
    (folder / "test_it.py").write_text(code)
    alone = {} if among_others else {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:xdist" if among_others else "populace.app.pytest_plugin",
        "--strict-markers",
        "--rootdir",
        str(folder),
        *flags,
    ]
    told = subprocess.run(
        command,
        cwd=folder,
        capture_output=True,
        text=True,
        env={**os.environ, "POLARS_MAX_THREADS": "2", **alone, **environment},
    )
    return told.returncode, told.stdout + told.stderr


def test_tests_are_seeded_by_their_ids_and_do_not_disturb_one_another(tmp_path: Path):
    code, told = session(tmp_path, MANY, "-rP", among_others=True)
    assert code == 0, told
    seeds = re.findall(r"^seed .*", told, re.MULTILINE)
    assert len(set(seeds)) == 3
    kept = sorted((tmp_path / ".pytest_cache").rglob("*.arrow"))
    assert kept
    stamps = [p.stat().st_mtime_ns for p in kept]
    code, again = session(tmp_path, MANY, "-rP", "-p", "no:randomly")
    assert code == 0, again
    assert re.findall(r"^seed .*", again, re.MULTILINE) == seeds
    assert [p.stat().st_mtime_ns for p in kept] == stamps, "the second session read what the first had kept"


def test_without_a_cache_datasets_last_for_the_session_and_others_folders_stay(tmp_path: Path):
    code, told = session(
        tmp_path,
        """
from populace.core import cache

def test_it(populace, tmp_path, tmp_path_factory, monkeypatch):
    monkeypatch.setattr(cache, "KEPT", 1)
    mine = [tmp_path, *(tmp_path_factory.mktemp("mine") for _ in range(3))]
    for seed in (1, 2):
        populace("finance", size=2, seed=seed, end="2025-01-05")
    assert all(folder.is_dir() for folder in mine)
    assert len(list((tmp_path_factory.getbasetemp() / "populace").iterdir())) == 1
""",
        "-p",
        "no:cacheprovider",
    )
    assert code == 0, told
    assert not (tmp_path / ".pytest_cache").exists()


def test_a_failure_prints_the_line_that_makes_the_data_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    code, told = session(
        tmp_path,
        """
def test_it(populace):
    data = populace("finance", size=60, scenarios=["card-testing:count=2"], end="2025-02-01", set={"purchase.void": 0.01})
    data.write("expected")
    assert False
""",
    )
    assert code == 1
    assert "assert False" in told, told
    (line,) = re.findall(r"^populace generate .*", told, re.MULTILINE)
    monkeypatch.chdir(tmp_path)
    assert run_command([*shlex.split(line)[1:], "--quiet"]) == 0
    domain = find_domain("finance")
    made, expected = (read_source(domain, place) for place in ("populace-out/failed", "expected"))
    for name, frame in expected.tables.items():
        assert_frame_equal(made.tables[name], frame)


def test_a_database_of_postgresql_is_copied_from_a_template(tmp_path: Path, postgresql_server: str):
    import psycopg

    code, told = session(
        tmp_path,
        """
import psycopg, pytest

@pytest.mark.populace("finance", size=3, seed=1, end="2025-02-01", db="postgresql")
@pytest.mark.parametrize("n", range(2))
def test_it(populace_db, n):
    with psycopg.connect(populace_db) as connection:
        assert connection.execute("SELECT count(*) FROM customer").fetchone() == (3,)
        connection.execute("DROP TABLE customer CASCADE")
""",
        POPULACE_TEST_POSTGRES=postgresql_server,
    )
    assert code == 0, told
    with psycopg.connect(postgresql_server) as connection:
        left = connection.execute("SELECT datname FROM pg_database WHERE datname LIKE 'populace\\_copy%'").fetchall()
        assert left == []


WRONG = {
    "populace()": "names? one|name one",
    "populace('finanse')": "did you mean 'finance'",
    "populace('finance', sise=3)": "did you mean 'size'",
}


def test_what_cannot_be_is_told(tmp_path: Path):
    code = "import pytest\n" + "".join(f"def test_{n}(populace): {call}\n" for n, call in enumerate(WRONG))
    code += "@pytest.mark.populace('finance', size=1, db='oracle')\ndef test_it(populace_db): pass"
    failed, told = session(tmp_path, code, "-rfE")
    assert failed == 1
    assert re.search(r"3 failed, 1 error", told), told
    parts = re.split(r"^_+ (?:ERROR at setup of )?test_(\w+) _+$", told, flags=re.MULTILINE)
    said = dict(zip(parts[1::2], parts[2::2], strict=True))
    for n, words in enumerate(WRONG.values()):
        assert re.search(words, said[str(n)], re.IGNORECASE), told
    assert "oracle" in said["it"]


def test_nothing_is_imported_for_those_who_do_not_use_it(tmp_path: Path):
    code, told = session(
        tmp_path,
        """
import sys
def test_it():
    heavy = {"numpy", "polars", "duckdb", "pyarrow", "populace.core.dataset", "populace.core.plan"}
    assert "populace.app.pytest_plugin" in sys.modules
    assert heavy & set(sys.modules) == set()
""",
        among_others=True,
    )
    assert code == 0, told


def plan(name: str, **more: Any) -> Plan:
    return make_plan(Spec(name, size=20, **more), TOY if name == "toy" else None)


def test_a_spoilt_cache_is_made_anew(tmp_path: Path):
    p = plan("toy")
    first = cached(p, tmp_path)
    (place_of(p, tmp_path) / "label.arrow").write_bytes(b"no")
    again = cached(p, tmp_path)
    third = cached(p, tmp_path)
    for name in first.frames:
        assert_frame_equal(first.frames[name], again.frames[name])
        assert_frame_equal(first.frames[name], third.frames[name])
    assert {n: f.schema for n, f in third.frames.items()} == {n: f.schema for n, f in generate(p).frames.items()}


@pytest.mark.parametrize("name", ["healthcare", "finance"])
def test_a_warm_cache_takes_a_fraction_of_the_work(name: str, tmp_path: Path):
    """Not a speed in seconds: a ratio of processor time within one run."""
    p = plan(name)
    p.reference  # noqa: B018 made once a process, whoever asks
    costs = []
    for work in (lambda: cached(p, tmp_path), lambda: cached(p, tmp_path)):
        began = time.process_time()
        work()
        costs.append(time.process_time() - began)
    assert costs[1] < costs[0]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["healthcare", "finance", "iot"])
def test_twenty_entities_that_were_made_before_are_there_in_less_than_50_ms(name: str, tmp_path: Path):
    cached(plan(name), tmp_path)
    costs = []
    for _ in range(5):
        began = time.process_time()
        cached(plan(name), tmp_path)
        costs.append(time.process_time() - began)
    assert min(costs) < 0.05


def test_the_oldest_datasets_go_where_the_cache_grows_too_large(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    plans = [plan("toy", seed=n) for n in range(3)]
    for n, p in enumerate(plans):
        cached(p, tmp_path)
        os.utime(place_of(p, tmp_path), (n, n))
    size = sum(p.stat().st_size for p in place_of(plans[0], tmp_path).iterdir())
    monkeypatch.setattr("populace.core.cache.BYTES", int(2.5 * size))
    cached(plan("toy", seed=3), tmp_path)
    assert [place_of(p, tmp_path).is_dir() for p in plans] == [False, False, True]


def test_records_in_every_form():
    data = generate(plan("finance"))
    frame = data.frames["account"]
    rows = data.records("account", dict)
    assert rows == frame.to_dicts()
    for form in ("dataclass", "pydantic"):
        made = data.records("account", form)
        assert type(made[0]).__name__ == "Account"
        assert [o.account_id for o in made] == frame["account_id"].to_list()
        assert vars(made[0]) == rows[0]
    assert data.records("account", lambda **row: row["account_id"]) == frame["account_id"].to_list()
    for wrong in ({"table": "acount"}, {"table": "account", "as_": "pydantik"}):
        with pytest.raises(UserError, match="Did you mean"):
            data.records(**wrong)  # type: ignore[arg-type]
    with pytest.raises(UserError, match="no FHIR resource"):
        data.records("account", "fhir.resources")


def test_records_as_fhir_resources():
    from fhir.resources.R4B.patient import Patient

    data = generate(make_plan(Spec("healthcare", size=3)))
    made = data.records("patient", "fhir.resources")
    assert all(isinstance(p, Patient) for p in made)
    assert [p.birthDate for p in made] == data.frames["patient"]["birth_date"].to_list()


def test_the_line_for_a_spec_is_read_back_as_it():
    spec = Spec(
        "finance",
        5,
        9,
        "2025-01-01",
        "2025-02-01",
        (ScenarioRequest("card-testing", {"count": 2}),),
        {"purchase.void": "0.01"},
    )
    assert as_command(spec, "a b") == (
        "populace generate finance --size 5 --seed 9 --start 2025-01-01 --end 2025-02-01 "
        "--scenario card-testing:count=2 --set purchase.void=0.01 --to 'a b'"
    )
