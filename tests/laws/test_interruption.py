"""Killed anywhere and resumed, with any number of workers: the same bytes."""

from __future__ import annotations

import hashlib
import multiprocessing
import os
import random
import shutil
import signal
import time
from contextlib import suppress
from dataclasses import dataclass
from importlib.metadata import entry_points
from io import TextIOWrapper
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from laws import one_run

from populace.core.domain import Domain

LIVES = multiprocessing.get_context("forkserver")
LIVES.set_forkserver_preload(["populace.core.run", *(e.module for e in entry_points(group="populace.domains"))])


@dataclass(frozen=True)
class Life:
    """A run in a process group of its own, and what it and its workers print."""

    process: ForkServerProcess
    said: TextIOWrapper

    def end(self) -> int | None:
        """Its exit code, once it and every worker that holds its output are gone."""
        self.said.read()
        self.process.join()
        return self.process.exitcode


def start(domain: Domain, workers: int, *targets: object) -> Life:
    with TemporaryDirectory() as folder:
        pipe = Path(folder) / "pipe"
        os.mkfifo(pipe)
        process = LIVES.Process(target=one_run.live, args=(str(pipe), domain.name, workers, *map(str, targets)))
        process.start()
        said = pipe.open()
    assert said.readline() == "ready\n"
    return Life(process, said)


def strike(life: Life) -> None:
    """Kill it and its workers at once, unless it is done."""
    with suppress(ProcessLookupError):
        os.killpg(life.process.pid or 0, signal.SIGKILL)


def files(folder: Path) -> dict[str, str]:
    return {
        str(p.relative_to(folder)): hashlib.sha256(p.read_bytes()).hexdigest()
        for p in sorted(folder.rglob("*"))
        if p.is_file()
    }


def test_workers_do_not_matter(domain: Domain, tmp_path: Path):
    for workers in (1, 3):
        assert start(domain, workers, tmp_path / str(workers)).end() == 0
    assert files(tmp_path / "1") == files(tmp_path / "3") != {}


@pytest.mark.parametrize("kills", [3, pytest.param(24, marks=pytest.mark.slow)])
def test_killed_at_random_moments_and_resumed(domain: Domain, kills: int, tmp_path: Path):
    views = list(domain.views)[:1]

    def targets(name: str) -> list[str]:
        return [str(tmp_path / name), *(f"{view}:{tmp_path / name}-view" for view in views)]

    def result(name: str) -> list[dict[str, str]]:
        return [files(tmp_path / name), *(files(tmp_path / f"{name}-view") for _ in views)]

    whole, began = start(domain, 1, *targets("whole")), time.monotonic()
    assert whole.end() == 0
    longest = time.monotonic() - began
    expected, chance, killed = result("whole"), random.Random(domain.name), 0
    for n in range(kills):
        life = start(domain, 1 + n % 2, *targets("killed"))
        time.sleep(chance.uniform(0, longest))
        strike(life)
        if life.end() != 0:
            killed += 1
            if (tmp_path / "killed").exists():
                # whatever is visible under its final name is whole, even if the process died just after
                assert files(tmp_path / "killed") == expected[0]
            continue
        # it was done before the blow: what several lives made is right; begin anew, and strike sooner
        assert result("killed") == expected
        longest /= 2
        for path in tmp_path.glob("killed*"):
            shutil.rmtree(path)
    assert killed >= max(1, kills // 4)
    assert start(domain, 1, *targets("killed")).end() == 0
    assert result("killed") == expected
    assert not list(tmp_path.glob(".*")), "nothing is left beside the targets"


def test_workers_end_with_the_run_that_started_them(domain: Domain, tmp_path: Path):
    for blow in (signal.SIGTERM, signal.SIGKILL):
        target = tmp_path / blow.name
        life = start(domain, 2, target)
        while life.process.is_alive() and not any((tmp_path / f".{target.name}.populace").rglob("*.parquet")):
            time.sleep(0.005)
        with suppress(ProcessLookupError):
            os.kill(life.process.pid or 0, blow)
        assert life.end() in (0, -blow)
