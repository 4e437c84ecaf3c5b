"""Killed anywhere and resumed, with any number of workers: the same bytes."""

from __future__ import annotations

import hashlib
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from populace.core.domain import Domain

HERE = Path(__file__).parent


def start(domain: Domain, workers: int, *targets: object) -> subprocess.Popen[str]:
    environment = {**os.environ, "PYTHONPATH": str(HERE.parent)}
    command = [sys.executable, str(HERE / "one_run.py"), domain.name, str(workers), *map(str, targets)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment, start_new_session=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


def files(folder: Path) -> dict[str, str]:
    return {
        str(p.relative_to(folder)): hashlib.sha256(p.read_bytes()).hexdigest()
        for p in sorted(folder.rglob("*"))
        if p.is_file()
    }


def test_workers_do_not_matter(domain: Domain, tmp_path: Path):
    for workers in (1, 3):
        assert start(domain, workers, tmp_path / str(workers)).wait() == 0
    assert files(tmp_path / "1") == files(tmp_path / "3") != {}


@pytest.mark.parametrize("kills", [6, pytest.param(24, marks=pytest.mark.slow)])
def test_killed_at_random_moments_and_resumed(domain: Domain, kills: int, tmp_path: Path):
    views = list(domain.views)[:1]

    def targets(name: str) -> list[str]:
        return [str(tmp_path / name), *(f"{view}:{tmp_path / name}-view" for view in views)]

    def result(name: str) -> list[dict[str, str]]:
        return [files(tmp_path / name), *(files(tmp_path / f"{name}-view") for _ in views)]

    began = time.monotonic()
    assert start(domain, 1, *targets("whole")).wait() == 0
    longest = time.monotonic() - began
    expected, chance, killed = result("whole"), random.Random(domain.name), 0
    for n in range(kills):
        process = start(domain, 1 + n % 2, *targets("killed"))
        time.sleep(chance.uniform(0, longest))
        os.killpg(process.pid, signal.SIGKILL)
        if process.wait() != 0:
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
    assert killed >= kills // 4
    assert start(domain, 1, *targets("killed")).wait() == 0
    assert result("killed") == expected
    assert not list(tmp_path.glob(".*")), "nothing is left beside the targets"


def test_workers_end_with_the_run_that_started_them(domain: Domain, tmp_path: Path):
    for blow in (signal.SIGTERM, signal.SIGKILL):
        target = tmp_path / blow.name
        process = start(domain, 2, target)
        while process.poll() is None and not any((tmp_path / f".{target.name}.populace").rglob("*.parquet")):
            time.sleep(0.005)
        process.send_signal(blow)
        # every worker holds the pipe of the run's output: it closes with the last of them
        process.communicate(timeout=60)
        assert process.returncode in (0, -blow)
