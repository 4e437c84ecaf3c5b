"""What a database is asked to take in, and what it answers with when it cannot."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import polars as pl

from ..errors import UserError
from ..files import as_pattern
from ..schema import Schema
from ..tables import Table

MANIFEST = "populace_manifest"
"""The ledger: one row, the manifest of what populace seeded. What it does not name is not ours to touch."""
MODES = ("create", "append", "replace")


@dataclass(frozen=True)
class Load:
    """Rows to be taken in as a whole or not at all."""

    mode: str
    schema: Schema
    omit: frozenset[str]
    """Constraints that scenarios break on purpose: a database that enforced them would refuse the rows."""
    parts: Mapping[str, list[Path]]
    """Per table, in the order of their references: Parquet files."""
    manifest: str
    scratch: Path
    """A folder for what a bulk path has to read from a file."""
    replaced: tuple[str, ...] = ()
    """The tables that go, those that refer to others before these."""
    step: Callable[[], None] = lambda: None
    """To be called for each table that is in."""


class Database(Protocol):
    @property
    def scheme(self) -> str: ...

    @property
    def place(self) -> str:
        """What it is called in messages and lists: a URL without any password."""
        ...

    @property
    def work(self) -> Path:
        """What the stage is named after: the file itself, or a name for a server's database."""
        ...

    def check(self) -> None:
        """Raise UserError if nothing can be written there."""
        ...

    def exists(self) -> bool: ...

    def tables(self) -> list[str]:
        """The tables that are there, whoever made them."""
        ...

    def manifest(self) -> Mapping[str, Any] | None:
        """The ledger's manifest, None where populace has seeded nothing."""
        ...

    def read(self, *tables: str) -> Iterator[Table]:
        """The rows of each of these tables, over one connection."""
        ...

    def load(self, load: Load) -> None:
        """Take the rows in, visible all at once."""
        ...

    def remove(self, tables: tuple[str, ...]) -> None:
        """Drop tables and the ledger."""
        ...


def frames(parts: list[Path]) -> Iterator[Table]:
    """The rows of a table, one file in memory at a time, in types that every driver takes."""
    for part in parts:
        frame = pl.read_parquet(as_pattern(part), hive_partitioning=False).with_columns(pl.col(pl.Enum).cast(pl.String))
        if frame.height:
            yield frame


def own_tables(manifest: Mapping[str, Any], there: list[str]) -> tuple[str, ...]:
    """The tables that a manifest names and that are there, those that refer to others before these."""
    named = manifest["populace"].get("tables", {})
    return tuple(name for name in reversed(list(named)) if name in there)


def first_line(error: BaseException) -> str:
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)


def missing_driver(scheme: str, error: ImportError) -> UserError:
    return UserError(f"{scheme}: its driver is not installed ({error.name}). Run: pip install 'populace[{scheme}]'")
