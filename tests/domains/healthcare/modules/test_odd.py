"""Odd modules, which no file of the framework's is like: read without complaint, and run as the plain interpreter runs them."""

from __future__ import annotations

from pathlib import Path

import odd_modules
import pytest
from lives import differences, entered, run_engine, run_oracle
from module_oracle import Files
from patients import make_people

from populace.domains.healthcare.modules.library import check_library, read_library

TOGETHER = [[name] for name in odd_modules.MODULES if "/" not in name and name not in ("odd_ping", "odd_pong")]
TOGETHER.append(["odd_ping", "odd_pong"])
NEVER = {"Bad", "Unknown", "Late"}
"""States that only a mistake leads to, or next to nobody comes to."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return odd_modules.write(tmp_path_factory.mktemp("odd"))


def test_they_are_understood(folder: Path) -> None:
    library, problems = check_library(folder)
    assert problems == []
    assert len(library.modules) + len(library.submodules) == len(odd_modules.MODULES)


@pytest.mark.parametrize("names", TOGETHER, ids="+".join)
def test_an_odd_module_agrees_with_the_plain_interpreter(names: list[str], folder: Path) -> None:
    engine = entered(run_engine(read_library(folder, names), make_people(500)))
    plain = run_oracle(Files(folder), names, make_people(60, 500), 3)
    assert not differences(engine, plain, 500, 60)
    for name in names:
        reached = {state for file, state in engine if file == name}
        assert odd_modules.MODULES[name]["states"].keys() - reached <= NEVER
        assert "Bad" not in reached
