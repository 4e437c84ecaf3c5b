"""`python -m benchmarks.databases URL`: how fast rows reach a PostgreSQL server, against bare COPY of the same rows on the same server in the same
run. Prints one markdown table.

Both begin where the rows exist already: populace with the Parquet files of a finished run, COPY with the binary stream that the server itself
wrote. Figures are CPU-seconds of both ends, this process and the server's own for the connection (so the server has to be on this machine), the
best of three, and seconds by the clock: against COPY of the same rows into the same tables with the same checks, keys and indexes in the end, which is what
"at least 0.80" is of, and against COPY into tables with none, which says what they cost.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psycopg

from populace.core.domain import find_domain
from populace.core.plan import make_plan
from populace.core.run import run
from populace.core.schema_text import load_statements
from populace.core.sinks import open_target
from populace.core.sinks.database import DatabaseSink, open_database, unseed
from populace.core.sinks.load import Load
from populace.core.spec import Spec

SPACE = "populace_bench"
TICKS = os.sysconf("SC_CLK_TCK")


def server_seconds(pids: set[int]) -> float:
    found = 0.0
    for pid in pids:
        try:
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        found += (int(fields[11]) + int(fields[12])) / TICKS
    return found


def both_ends(work: Callable[[], Any], backends: Callable[[], set[int]]) -> tuple[float, float]:
    """CPU-seconds of this process and of the server's processes that came to be meanwhile, sampled while they live; and seconds by the clock."""
    import threading

    seen: dict[int, float] = {}
    before, done, watched = backends(), threading.Event(), [0.0]

    def watch() -> None:
        while not done.is_set():
            for pid in backends() - before:
                seen[pid] = max(seen.get(pid, 0.0), server_seconds({pid}))
            done.wait(0.02)
        watched[0] = time.thread_time()

    watcher = threading.Thread(target=watch)
    own, clock = time.process_time(), time.perf_counter()
    watcher.start()
    work()
    clock = time.perf_counter() - clock
    done.set()
    watcher.join()
    return time.process_time() - own - watched[0] + sum(seen.values()), clock


def postgres_processes() -> set[int]:
    found = set()
    for path in Path("/proc").iterdir():
        if path.name.isdigit():
            try:
                if (path / "comm").read_text().strip() in ("postgres", "postmaster"):
                    found.add(int(path.name))
            except OSError:
                continue
    return found


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.databases", description=__doc__)
    parser.add_argument("url", help="postgresql://user@127.0.0.1/database")
    parser.add_argument("--size", type=int, default=1_000)
    asked = parser.parse_args()
    domain = find_domain("finance")
    target = f"{asked.url}?schema={SPACE}"
    folder = Path(tempfile.mkdtemp(prefix="populace-bench-"))
    os.chdir(folder)
    plan = make_plan(Spec("finance", size=asked.size))
    sink = open_target(target, domain)
    assert isinstance(sink, DatabaseSink)
    kept: list[Load] = []
    database = sink.database

    def loads(load: Load) -> None:
        kept.append(load)
        parts = folder / "parts"
        os.rename(load.scratch / "parts", parts)
        moved = {n: [parts / p.relative_to(load.scratch / "parts") for p in ps] for n, ps in load.parts.items()}
        kept[0] = Load(load.mode, load.schema, load.omit, moved, load.manifest, folder)
        type(database).load(database, kept[0])

    object.__setattr__(database, "load", loads)
    run(plan, [sink], quiet=True)
    plain = open_database(target)
    tables = list(kept[0].parts)
    streams = {}
    with psycopg.connect(asked.url) as connection:
        rows = 0
        for table in tables:
            with connection.cursor().copy(f'COPY "{SPACE}"."{table}" TO STDOUT (FORMAT binary)') as out:  # type: ignore[arg-type]
                streams[table] = [bytes(piece) for piece in out]
            found = connection.execute(f'SELECT count(*) FROM "{SPACE}"."{table}"').fetchone()  # type: ignore[arg-type]  # noqa: S608
            rows += found[0] if found else 0
    unseed(target)
    statements = load_statements(domain.schema, "postgresql", frozenset())

    def copy(keys: str) -> None:
        with psycopg.connect(asked.url) as connection:
            connection.execute(f'SET search_path TO "{SPACE}"')  # type: ignore[arg-type]
            for table in tables:
                create, after = statements[table].create, statements[table].after
                if keys == "none":
                    connection.execute(f'CREATE TABLE "{table}" ({columns(table)})')  # type: ignore[arg-type]
                for statement in {"none": [], "later": create, "first": [*create, *after]}[keys]:
                    connection.execute(statement)  # type: ignore[arg-type]
            for table in tables:
                with connection.cursor().copy(f'COPY "{table}" FROM STDIN (FORMAT binary)') as into:  # type: ignore[arg-type]
                    for piece in streams[table]:
                        into.write(piece)
            for table in tables if keys == "later" else ():
                for statement in statements[table].after:
                    connection.execute(statement)  # type: ignore[arg-type]
            connection.commit()
            connection.execute(f"DROP TABLE {', '.join(chr(34) + t + chr(34) for t in reversed(tables))}")  # type: ignore[arg-type]

    def columns(table: str) -> str:
        lines = statements[table].create[0].splitlines()
        return ", ".join(line.strip().rstrip(",") for line in lines if line.startswith('  "'))

    def load() -> None:
        plain.load(kept[0])

    def best(work: Callable[[], None], after: Callable[[], Any] = lambda: None) -> tuple[float, float]:
        """Rows per CPU-second and per second by the clock."""
        costs = []
        for _ in range(3):
            costs.append(both_ends(work, postgres_processes))
            after()
        return rows / min(cpu for cpu, _ in costs), rows / min(clock for _, clock in costs)

    rate, fast = best(load, lambda: unseed(target))
    print(
        "| work | rows per CPU-second, both ends | ratio | rows per second | ratio | at least |\n|---|---:|---:|---:|---:|---:|"
    )
    print(f"| populace into PostgreSQL: {rows:,} finance rows, keys and indexes | {rate:,.0f} | | {fast:,.0f} | | |")
    for name, keys, goal in (
        ("COPY, then the same keys and indexes", "later", "0.80 ×"),
        ("the same keys and indexes, then COPY", "first", "0.80 ×"),
        ("COPY into tables without keys, checks or indexes", "none", ""),
    ):
        other, clock = best(lambda k=keys: copy(k))
        print(f"| {name} | {other:,.0f} | {rate / other:.2f} × | {clock:,.0f} | {fast / clock:.2f} × | {goal} |")
    with psycopg.connect(asked.url, autocommit=True) as connection:
        connection.execute(f'DROP SCHEMA "{SPACE}" CASCADE')  # type: ignore[arg-type]


if __name__ == "__main__":
    main()
