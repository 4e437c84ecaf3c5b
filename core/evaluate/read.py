"""What is to be compared: a frame or a file is one table; a folder, a database or a mapping of frames are several."""

from __future__ import annotations

import os
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import polars as pl

from ..errors import UserError
from ..files import as_pattern
from ..mapping.target import reflect
from ..sinks.database import is_database, open_database
from ..sinks.embedded import Embedded
from ..sinks.load import MANIFEST
from ..tables import Table
from ..user_table import read_table, with_names
from .links import Link

_ENDINGS = (".csv", ".csv.gz", ".tsv", ".parquet")


def read_data(data: Any) -> Table | dict[str, Table]:
    """One table, or several by name. Tables without rows are left out.

    Raises UserError for what cannot be read, and for a folder or database that holds no table.
    """
    if isinstance(data, Mapping):
        found = {str(name): read_table(frame) for name, frame in data.items()}
    elif isinstance(data, (str, os.PathLike)) and is_database(str(data)):
        found = _database(str(data))
    elif isinstance(data, (str, os.PathLike)) and Path(data).is_dir():
        found = _folder(Path(data))
    else:
        return read_table(data)
    found = {name: frame for name, frame in found.items() if frame.height}
    if not found:
        raise UserError(f"{'the mapping' if isinstance(data, Mapping) else data}: holds no table that has rows")
    return found


def declared_links(data: Any) -> list[Link]:
    """The references that a database declares, where SQLAlchemy can tell them."""
    if not isinstance(data, str) or data.partition(":")[0] not in ("sqlite", "postgresql", "postgres"):
        return []
    if not find_spec("sqlalchemy"):
        return []
    target = reflect(data)
    return [
        Link(table.name, reference.columns, reference.table, reference.parents)
        for table in target.tables.values()
        for reference in table.references
    ]


def _database(url: str) -> dict[str, Table]:
    database = open_database(url)
    if isinstance(database, Embedded) and not database.path.is_file():
        raise UserError(f"{database.place}: there is no file {database.path}")
    names = [name for name in database.tables() if name != MANIFEST]
    read = zip(names, database.read(*names), strict=True)
    return {name: with_names(table, f"table {name}") for name, table in read}


def _folder(folder: Path) -> dict[str, Table]:
    """Files by their names; a folder of parts within it is one table, as populace writes large ones."""
    found: dict[str, Table] = {}
    for path in sorted(folder.iterdir()):
        ending = next((e for e in _ENDINGS if path.name.lower().endswith(e)), None)
        if path.is_file() and ending and path.stat().st_size:
            found[path.name[: -len(ending)]] = read_table(path) if ending != ".parquet" else _parquet([path])
        elif path.is_dir():
            for each in (".parquet", ".csv"):
                parts = [p for p in sorted(path.glob(f"*{each}")) if p.stat().st_size]
                if parts:
                    found[path.name] = (
                        _parquet(parts) if each == ".parquet" else pl.concat([read_table(p) for p in parts])
                    )
                    break
    return found


def _parquet(paths: list[Path]) -> Table:
    try:
        table = pl.read_parquet([as_pattern(p) for p in paths], hive_partitioning=False)
    except (pl.exceptions.PolarsError, OSError) as error:
        raise UserError(f"table {paths[0]}: cannot be read: {str(error).splitlines()[0]}") from None
    return with_names(table, f"table {paths[0]}")
