"""Interpreters of their own, for judges that hold older libraries than ours."""

from __future__ import annotations

import subprocess
import sys
import venv
from pathlib import Path

import pytest


def interpreter_with(home: Path, requirement: str) -> Path:
    """A Python that has one package; the test is skipped, with the reason, where it cannot be installed."""
    venv.create(home, with_pip=False)  # our own pip installs there: one of its own takes seconds to make
    python = home / "bin" / "python"
    command = [sys.executable, "-m", "pip", "--python", python, "install", "-q", requirement]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"{requirement} cannot be installed: {done.stderr.strip()[-200:]}")
    return python
