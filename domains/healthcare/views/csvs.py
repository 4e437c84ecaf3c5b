"""Views that are CSV files: what each file has for columns, its key and what it refers to; and how a folder of them is judged."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import polars as pl

from ....core.checks import VIOLATION
from ....core.domain import View
from ....core.tables import Table, Tables

RULES = ("csv.columns", "csv.key", "csv.reference")
INSTANT, MOMENT = "%Y-%m-%dT%H:%M:%SZ", "%Y-%m-%d %H:%M:%S"


@dataclass(frozen=True)
class File:
    """One CSV file of a layout."""

    columns: tuple[str, ...]
    key: str | None = None
    references: Mapping[str, str] = field(default_factory=dict)
    """Column: the file whose key it holds."""


Layout = Mapping[str, File]


def file(columns: str, key: str | None = None, **references: str) -> File:
    return File(tuple(columns.split(",")), key, references)


def view(name: str, doc: str, render: Callable[[Tables, Tables], Mapping[str, Table]], layout: Layout) -> View:
    """A view whose files are tables. Files of reference tables come with the first block."""

    def whole(tables: Tables, reference: Tables) -> Mapping[str, Table]:
        return {n: filled(frame, layout[n]) for n, frame in render(tables, reference).items()}

    return View(name, doc, whole, "csv", partial(recognises, layout), partial(check, layout), RULES)


def filled(frame: Table, file: File) -> Table:
    """The file's columns in their order; what the frame has not is empty."""
    return frame.select(pl.col(c) if c in frame.columns else pl.lit(None, pl.String).alias(c) for c in file.columns)


def recognises(layout: Layout, folder: Path) -> bool:
    """Whether the folder holds files of the layout: most of them, by name, the first with its columns."""
    here = [n for n in layout if (folder / f"{n}.csv").is_file()]
    if not here or 2 * len(here) < len(layout):
        return False
    with open(folder / f"{here[0]}.csv", encoding="utf-8", errors="replace") as lines:
        return lines.readline().strip().split(",") == list(layout[here[0]].columns)


def check(layout: Layout, folder: Path) -> Table:
    """Every fault: columns check, table (the file), row_key (line, from 1 below the heading; 0 for the file), detail."""
    found: list[tuple[str, str, int, str]] = []
    frames: dict[str, Table] = {}
    for name, spec in layout.items():
        place = folder / f"{name}.csv"
        if not place.is_file():
            continue
        frame = pl.read_csv(place, infer_schema=False)
        if frame.columns != list(spec.columns):
            wrong = sorted(set(frame.columns) ^ set(spec.columns)) or ["their order"]
            found.append(("csv.columns", place.name, 0, f"columns differ: {', '.join(wrong)}"))
            continue
        frames[name] = frame
    for name, frame in frames.items():
        spec, lines = layout[name], pl.int_range(1, pl.len() + 1).alias("line")
        if spec.key:
            key = pl.col(spec.key)
            for line, value in frame.select(lines, key).filter(key.is_duplicated() | key.is_null()).rows():
                found.append(("csv.key", f"{name}.csv", line, f"{spec.key} {value} is missing or not unique"))
        for column, target in spec.references.items():
            if (known := frames.get(target)) is not None and (at := layout[target].key):
                bad = frame.select(lines, column).filter(pl.col(column).is_not_null())
                bad = bad.filter(~pl.col(column).is_in(known[at].implode()))
                found += [
                    ("csv.reference", f"{name}.csv", line, f"{column} {value} is not in {target}.csv")
                    for line, value in bad.rows()
                ]
    return pl.DataFrame(found, schema=VIOLATION, orient="row")


def shown(schema_codes: Mapping[str, str], column: str) -> pl.Expr:
    """The display of a code."""
    return pl.col(column).cast(pl.String).replace_strict(dict(schema_codes), default=None, return_dtype=pl.String)


def first_block(tables: Tables) -> bool:
    """Reference tables stand among the tables once, with the first block."""
    return "organization" in tables
