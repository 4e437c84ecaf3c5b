"""Killed anywhere and resumed, with any number of workers: the same bytes."""

from __future__ import annotations

import hashlib
import os
import random
import subprocess
import sys
import time
from pathlib import Path

from populace.core.domain import Domain

HERE = Path(__file__).parent
KILLS = 12


def start(domain: Domain, workers: int, *targets: object) -> subprocess.Popen[str]:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(HERE), str(HERE.parent)])}
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


def test_killed_at_random_moments_and_resumed(domain: Domain, tmp_path: Path):
    view = next(iter(domain.views), None)
    whole = [tmp_path / "whole", *([f"{view}:{tmp_path / 'whole-view'}"] if view else [])]
    began = time.monotonic()
    assert start(domain, 1, *whole).wait() == 0
    length = time.monotonic() - began
    chance = random.Random(domain.name)
    killed = 0
    target = tmp_path / "killed"
    targets = [target, *([f"{view}:{tmp_path / 'killed-view'}"] if view else [])]
    for n in range(KILLS):
        process = start(domain, 1 + n % 2, *targets)
        time.sleep(chance.uniform(0, length))
        os.killpg(process.pid, 9)
        killed += process.wait() != 0
        if target.exists():
            # whatever is visible under the final name is whole, even if the process died just after
            assert files(target) == files(tmp_path / "whole")
    assert killed
    assert start(domain, 1, *targets).wait() == 0
    assert files(target) == files(tmp_path / "whole")
    if view:
        assert files(tmp_path / "killed-view") == files(tmp_path / "whole-view")
