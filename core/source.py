"""Reading data back, ours or anyone's in our schema: a folder of Parquet, CSV, NDJSON or JSON, a database."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import polars as pl

from .address import redact
from .checks import violations
from .domain import Domain
from .errors import UserError, unknown
from .files import as_pattern
from .narrow import narrow
from .progress import Progress
from .schema import LABEL, TableSchema
from .sinks.database import FILES, SERVERS, is_database, open_database
from .sinks.embedded import Embedded
from .sinks.load import MANIFEST
from .sinks.stage import read_manifest
from .tables import Table, Tables


@dataclass(frozen=True)
class Source:
    """What was found: tables in the schema's types, labels, manifest, and the values that could not be read as their type."""

    tables: Tables
    label: Table
    manifest: Mapping[str, Any] | None
    unreadable: Table
    domain: Domain
    """With the schema that the manifest says the dataset has."""
    notes: list[str] = field(default_factory=list)


def domain_of(place: str) -> str:
    """The name of the domain whose dataset lies there. Raises UserError where no manifest says so."""
    *_, manifest = _open(place)
    told = (manifest or {}).get("populace", {}).get("spec")
    if not isinstance(told, dict) or not isinstance(told.get("domain"), str):
        raise UserError(f"{redact(place)}: has no manifest that says how populace made it")
    return told["domain"]


def read_source(domain: Domain, place: str) -> Source:
    """Read every table of the domain's schema that is there. Raises UserError if there is nothing to look at."""
    place, raw, read, manifest = _open(place)
    said = (manifest or {}).get("populace", {}).get("schema")
    if said and domain.recall and not domain.remembers:
        domain = domain.recall(domain, said)
    if some := _some(domain, raw, manifest):
        domain = narrow(domain, some, played=True)
    known = {**domain.schema.tables, LABEL.name: LABEL}
    if not {*raw} & domain.schema.tables.keys():
        raise UserError(f"{place}: holds no table of {domain.name}; looked for {', '.join(domain.schema.tables)}")
    tables, found = {}, [violations()]
    there = [name for name in known if name in raw]
    with Progress(f"reading {domain.name}", len(there), unit="table") as progress:
        for name, rows in zip(there, read(*there), strict=True):
            tables[name], bad = coerce(rows, known[name])
            found.append(bad)
            progress.step()
    notes = [f"no table {n}: not checked" for n in domain.schema.tables if n not in tables]
    notes += [f"table {n} is not in the schema: not checked" for n in raw if n not in known and n != MANIFEST]
    label = tables.pop(LABEL.name, pl.DataFrame(schema=LABEL.polars))
    return Source(tables, label, manifest, pl.concat(found), domain, notes)


def _some(domain: Domain, there: list[str], manifest: Mapping[str, Any] | None) -> list[str]:
    """The tables that the dataset has, where its manifest says that it is to have no more: those that it names, and whatever else is there, for
    what is there is judged. None of them where all are there."""
    spec: Any = (manifest or {}).get("populace", {}).get("spec")
    said = spec.get("only") if isinstance(spec, dict) else None
    known = [name for name in domain.schema.tables if isinstance(said, list) and name in (*said, *there)]
    return known if set(known) & set(there) and len(known) < len(domain.schema.tables) else []


Read = Callable[..., Iterator[Table]]
"""The rows of each table that is named."""


def _open(place: str) -> tuple[str, list[str], Read, Mapping[str, Any] | None]:
    """What a message may call the place, the tables there, how to read them, and the manifest."""
    if is_database(place):
        database = open_database(place)
        if isinstance(database, Embedded) and not database.path.is_file():
            raise UserError(f"{database.place}: there is no file {database.path}")
        return database.place, database.tables(), database.read, database.manifest()
    if (scheme := place.partition("://")[0]) != place and not Path(place).exists():
        raise unknown("database", scheme, [*FILES, *SERVERS], f"'{redact(place)}'")
    path = Path(place)
    if not path.is_dir():
        raise UserError(f"{place}: there is no such folder")
    files = _folder_tables(path)
    return place, [*files], lambda *names: (files[n]() for n in names), read_manifest(path / "manifest.json")


def coerce(frame: Table, spec: TableSchema) -> tuple[Table, Table]:
    """The frame in the schema's types, and a violation for each value that is not of its type (it becomes null)."""
    if not frame.width:  # a table without rows leaves no trace of its columns in NDJSON
        return pl.DataFrame(schema=spec.polars), violations()
    columns, found = [], [violations()]
    index = pl.Series("row", range(frame.height), dtype=pl.Int64)
    for column in spec.columns.values():
        if column.name not in frame.columns:
            columns.append(pl.Series(column.name, [None] * frame.height, column.dtype))
            found.append(
                violations(f"{spec.name}.{column.name}.missing", spec.name, pl.Series([0]), "the column is missing")
            )
            continue
        have = frame[column.name]
        # a code that is not in its list must reach the check for codes as it is
        target = pl.String() if column.type == "code" else column.dtype
        value = _cast(have, target)
        lost = value.is_null() & have.is_not_null()
        if column.type in ("id", "int", "int32", "money") and have.dtype.is_float():
            lost |= (have.round(0) != have).fill_null(False)
        if lost.any():
            keys = frame[spec.key].cast(pl.Int64, strict=False).fill_null(index) if spec.key in frame.columns else index
            detail = f"not of type {column.type}, for example {have.filter(lost)[0]!r}"
            found.append(violations(f"{spec.name}.{column.name}.type", spec.name, keys.filter(lost), detail))
        columns.append(value.alias(column.name))
    return pl.DataFrame(columns), pl.concat(found)


def _cast(have: pl.Series, target: pl.DataType) -> pl.Series:
    if have.dtype == target:
        return have
    if have.dtype == pl.String and target == pl.Date():
        return have.str.to_date(strict=False)
    if have.dtype == pl.String and isinstance(target, pl.Datetime):
        return have.str.to_datetime(time_unit="us", time_zone="UTC", strict=False)
    if have.dtype == pl.String and target == pl.Boolean():
        return have.replace_strict(
            {"true": True, "false": False, "1": True, "0": False}, default=None, return_dtype=pl.Boolean
        )
    if isinstance(have.dtype, pl.Datetime) and isinstance(target, pl.Datetime) and have.dtype.time_zone is None:
        return have.dt.replace_time_zone("UTC").cast(target)
    try:
        return have.cast(target, strict=False)
    except pl.exceptions.PolarsError:
        return pl.Series([None] * len(have), dtype=target)


_READERS: dict[str, Callable[[list[Path]], Table]] = {
    "parquet": lambda paths: pl.read_parquet([as_pattern(p) for p in paths], hive_partitioning=False),
    "csv": lambda paths: pl.concat([pl.read_csv(as_pattern(p), infer_schema=False) for p in paths]),
    "ndjson": lambda paths: pl.concat(
        [pl.read_ndjson(as_pattern(p), infer_schema_length=None) for p in paths], how="diagonal_relaxed"
    ),
    "json": lambda paths: pl.concat([pl.read_json(p, infer_schema_length=None) for p in paths], how="diagonal_relaxed"),
}


def _folder_tables(folder: Path) -> dict[str, Callable[[], Table]]:
    found: dict[str, Callable[[], Table]] = {}
    for suffix, read in _READERS.items():
        for path in (p for p in folder.glob(f"*.{suffix}") if p.name != "manifest.json"):
            found[path.stem] = lambda p=[path], r=read: _try_read(p, r)
        for path in folder.glob(f"*/*.{suffix}"):
            parts = sorted(path.parent.glob(f"*.{suffix}"))
            found[path.parent.name] = lambda p=parts, r=read: _try_read(p, r)
    return found


def _try_read(paths: list[Path], read: Callable[[list[Path]], Table]) -> Table:
    try:
        filled = [p for p in paths if p.stat().st_size]
        return read(filled) if filled else pl.DataFrame()
    except (pl.exceptions.PolarsError, OSError) as error:
        raise UserError(f"{paths[0].parent}: cannot be read: {str(error).splitlines()[0]}") from None
