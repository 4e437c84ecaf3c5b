"""Datasets kept on disk between sessions, by the name that their plan gives them and by the code that made them."""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from contextlib import suppress
from functools import cache
from pathlib import Path

import polars as pl
import pyarrow as pa
import pyarrow.ipc

from .dataset import Dataset, generate
from .plan import Plan
from .schema import LABEL
from .tables import Table

KEPT = 200
"""Datasets at most; the oldest go."""
BYTES = 4 << 30
"""What they may take on disk."""


def cached(plan: Plan, folder: Path) -> Dataset:
    """The dataset of a plan, from the folder if it is there; if not, it is made and put there."""
    place = place_of(plan, folder)
    names = [*plan.domain.schema.tables, LABEL.name]
    if not place.is_dir():
        _keep(generate(plan), place)
        _prune(folder)
    try:
        found = {n: _mapped(p) for n in names if (p := place / f"{n}.arrow").is_file()}
    except (OSError, pa.ArrowException):  # a disk that failed, or somebody tidied up: it can be made again
        found = {}
    if LABEL.name in found:
        return Dataset(found, plan)
    shutil.rmtree(place, ignore_errors=True)
    data = generate(plan)
    _keep(data, place)
    return data


def _mapped(path: Path) -> Table:
    """A table as it lies on disk, read where it is looked at."""
    with pa.memory_map(str(path)) as file:
        return pl.DataFrame(pl.from_arrow(pa.ipc.open_file(file).read_all()))


def place_of(plan: Plan, folder: Path) -> Path:
    name = hashlib.blake2b(f"{plan.fingerprint} {_code()}".encode(), digest_size=16).hexdigest()
    return folder / f"{plan.domain.name}-{name}"


def _keep(data: Dataset, place: Path) -> None:
    place.parent.mkdir(parents=True, exist_ok=True)
    draft = Path(tempfile.mkdtemp(prefix=".draft-", dir=place.parent))
    try:
        for name, frame in data.frames.items():
            frame.write_ipc(draft / f"{name}.arrow", compression="uncompressed")
        os.rename(draft, place)
    except OSError:  # another process was first
        if not place.is_dir():
            raise
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def _prune(folder: Path) -> None:
    kept = sorted((p for p in folder.iterdir() if p.is_dir()), key=lambda p: p.stat().st_mtime, reverse=True)
    taken = 0
    for n, old in enumerate(kept):
        with suppress(FileNotFoundError):  # another process tidies up too
            taken += sum(p.stat().st_size for p in old.iterdir())
        if n and (n >= KEPT or taken > BYTES):
            shutil.rmtree(old, ignore_errors=True)


@cache
def _code() -> str:
    """Changes with every change of the installed package's files, data among them: a version alone does not while somebody works on it."""
    root = Path(__file__).parents[1]
    sums = hashlib.blake2b(digest_size=16)
    for top in ("core", "domains", "schemas", "scenarios"):
        for path in sorted((root / top).rglob("*")):
            if path.suffix in (".py", ".toml", ".csv", ".json"):
                stat = path.stat()
                sums.update(f"{path.name} {stat.st_size} {stat.st_mtime_ns}\n".encode())
    return sums.hexdigest()
