"""The disease modules that come with populace, in the Generic Module Framework's JSON: `schemas/healthcare/modules/`."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

OWN = Path(str(files("populace.schemas.healthcare"))) / "modules"


def module_folder(name: str) -> Path:
    """The folder that a user means: `own` is ours."""
    return OWN if name == "own" else Path(name)
