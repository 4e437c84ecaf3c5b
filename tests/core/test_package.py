"""What is installed is what is here."""

from __future__ import annotations

import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_every_package_on_disk_is_listed():
    listed = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["setuptools"]["packages"]
    inner = [f for top in ("app", "core", "domains", "scenarios", "schemas") for f in (ROOT / top).rglob("__init__.py")]
    assert sorted(listed) == sorted(
        {"populace", *(".".join(("populace", *f.relative_to(ROOT).parts[:-1])) for f in inner)}
    )
