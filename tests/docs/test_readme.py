"""The README's examples run, in order, as they stand."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from populace.app.cli import run_command

README = (Path(__file__).parents[2] / "README.md").read_text("utf-8")
COMMANDS = [
    line
    for block in re.findall(r"```sh\n(.*?)```", README, re.S)
    for line in block.splitlines()
    if line.startswith("populace ")
]
PYTHON = re.findall(r"```python\n(.*?)```", README, re.S)


def test_the_commands_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    monkeypatch.chdir(tmp_path)
    ran = [c for c in COMMANDS if not c.startswith("populace demo")]
    assert len(ran) >= 8
    for command in ran:
        assert run_command(shlex.split(command, comments=True)[1:]) == 0, command
    assert "0 violations" in capsys.readouterr().out


@pytest.mark.parametrize("example", range(len(PYTHON)))
def test_the_python_runs(example: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    exec(compile(PYTHON[example], f"README.md example {example}", "exec"), {})


def test_the_test_command_is_what_ci_calls():
    assert "make test " in README
    assert re.search(r"make .*\btest\b", (Path(__file__).parents[2] / ".ci/run").read_text())
