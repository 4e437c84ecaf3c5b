"""Folders of files: tables as Parquet, CSV or NDJSON parts (`transaction/part-00000.parquet`) or as one JSON array each (`transaction.json`),
views as documents."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import chain, groupby
from operator import itemgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import polars as pl

from ..domain import Domain, Pieces, View
from ..schema import LABEL
from ..tables import Table, Tables, refuse_infinite
from .parquet import write_parquet
from .stage import Stage, publish_folder, read_manifest

if TYPE_CHECKING:
    from ..plan import Plan

INSTANT = "%Y-%m-%dT%H:%M:%S%.6fZ"
COPIED = 1 << 17
"""Bytes that are copied at a time: the allocator maps larger pieces anew each time, and clearing their pages costs more than the copy."""


def as_text(table: Table) -> Table:
    """The frame with instants and durations as ISO 8601 texts, for forms that have no types of their own for them."""
    return table.with_columns(
        pl.col(pl.Datetime("us", "UTC")).dt.strftime(INSTANT), pl.col(pl.Duration).dt.to_string("iso")
    )


def _write_ndjson(table: Table, path: Path) -> None:
    refuse_infinite(table, "a table", "JSON")
    as_text(table).write_ndjson(path)


WRITERS: dict[str, Callable[[Table, Path], None]] = {
    "parquet": write_parquet,
    "csv": lambda table, path: as_text(table).write_csv(path),
    "ndjson": _write_ndjson,
}


@dataclass(frozen=True)
class FolderSink:
    target: Path
    form: str
    domain: Domain

    @property
    def stage(self) -> Stage:
        return Stage(self.target)

    @property
    def place(self) -> str:
        return str(self.target)

    @property
    def work(self) -> str:
        return self.form

    def ready(self, plan: Plan) -> Self:
        self.stage.check()
        return self

    def write(self, index: int, tables: Tables, reference: Tables) -> None:
        for name, table in tables.items():
            if table.height or index == 0:
                self.stage.put_part(name, index, self._part, lambda p, t=table: WRITERS[self._part](t, p))

    @property
    def _part(self) -> str:
        return "ndjson" if self.form == "json" else self.form

    def published(self) -> Mapping[str, Any] | None:
        return read_manifest(self.target / "manifest.json")

    def publish(self, manifest: Mapping[str, Any]) -> list[str]:
        made = self.stage.path / "parts"
        if self.form == "json":
            made = self.stage.path / "whole"
            shutil.rmtree(made, ignore_errors=True)
            made.mkdir()
            for table in sorted((self.stage.path / "parts").iterdir()):
                _array(self.stage.parts(table.name, "ndjson"), made / f"{table.name}.json")
        self.stage.put(made / "manifest.json", json.dumps(manifest, indent=2, ensure_ascii=False).encode())
        publish_folder(made, self.target)
        return [str(self.target)]


@dataclass(frozen=True)
class ViewSink:
    """Documents: `<Name>.ndjson` holds all lines of one kind; a document with a name of its own is a file `<Kind>/<name>.json`; a frame
    without texts is a table, and becomes `<Name>.csv`."""

    target: Path
    view: View

    @property
    def form(self) -> str:
        return self.view.name

    @property
    def stage(self) -> Stage:
        return Stage(self.target)

    @property
    def place(self) -> str:
        return str(self.target)

    @property
    def work(self) -> str:
        return self.form

    def ready(self, plan: Plan) -> Self:
        self.stage.check()
        return self

    def write(self, index: int, tables: Tables, reference: Tables) -> None:
        self.stage.put_part(LABEL.name, index, "csv", lambda p: WRITERS["csv"](tables[LABEL.name], p))
        rendered = self.view.render(tables, reference)
        for name in rendered:
            pieces = rendered.pieces(name) if isinstance(rendered, Pieces) else iter((rendered[name],))
            first = next(pieces)
            if "text" not in first.columns:
                self.stage.put_part(name, index, "csv", lambda p, f=first: WRITERS["csv"](f, p))
                continue
            kind, texts = "named" if "name" in first.columns else "lines", map(_lines, chain((first,), pieces))
            self.stage.put_part(name, index, kind, lambda p, t=texts: write_lines(t, p))

    def published(self) -> Mapping[str, Any] | None:
        return read_manifest(self.target / "manifest.json")

    def publish(self, manifest: Mapping[str, Any]) -> list[str]:
        made = self.stage.path / "whole"
        shutil.rmtree(made, ignore_errors=True)
        made.mkdir()
        with ThreadPoolExecutor(os.cpu_count()) as pool:  # the more workers wrote, the more there is to copy
            largest = sorted((self.stage.path / "parts").iterdir(), key=_size, reverse=True)
            list(pool.map(lambda kind: self._put_together(kind.name, made), largest))
        self.stage.put(made / "manifest.json", json.dumps(manifest, indent=2, ensure_ascii=False).encode())
        publish_folder(made, self.target)
        return [str(self.target)]

    def _put_together(self, kind: str, made: Path) -> None:
        if tables := self.stage.parts(kind, "csv"):
            _join(tables, made / f"{kind}.csv", header=True)
        elif named := self.stage.parts(kind, "named"):
            _split(named, made / kind, self.view.suffix)
        else:
            _join(self.stage.parts(kind, "lines"), made / f"{kind}.{self.view.suffix}", header=False)


def _lines(frame: Table) -> pl.Series:
    """What is written of documents: the text, after its name where each is to be a file of its own; each line of a text bears the name."""
    if "name" not in frame.columns:
        return frame["text"]
    if frame["text"].str.contains("\n", literal=True).any():
        frame = frame.with_columns(pl.col("text").str.split("\n")).explode("text")
    return frame.select(pl.concat_str("name", pl.lit("\t"), "text"))["name"]


def write_lines(pieces: Iterable[pl.Series], path: Path) -> None:
    """Write texts, one a line, piece by piece."""
    with open(path, "wb") as file:
        for lines in pieces:
            lines.to_frame().write_csv(file, include_header=False, quote_style="never")


def _join(parts: list[Path], path: Path, header: bool) -> None:
    if len(parts) == 1 and _linked(parts[0], path):
        return
    with open(path, "wb") as whole:
        for n, part in enumerate(parts):
            with open(part, "rb") as file:
                if header and n:
                    file.readline()
                shutil.copyfileobj(file, whole, COPIED)


def _size(folder: Path) -> int:
    return sum(part.stat().st_size for part in folder.iterdir())


def _linked(part: Path, path: Path) -> bool:
    """Let a part stand under the name of the whole too, so that nothing is copied and an interrupted run still finds it; not every file system can."""
    try:
        os.link(part, path)
    except OSError:
        return False
    return True


def _array(parts: list[Path], path: Path) -> None:
    """The lines of NDJSON parts as one JSON array, a row a line."""
    with open(path, "wb") as whole:
        before = b"[\n"
        for part in parts:
            with open(part, "rb") as file:
                for line in file:
                    whole.write(before + line.rstrip(b"\n"))
                    before = b",\n"
        whole.write(b"\n]\n" if before == b",\n" else b"[]\n")


def _split(parts: list[Path], folder: Path, suffix: str) -> None:
    """A file for each name: its text as it is, or the lines of those that have several."""
    folder.mkdir()
    for part in parts:
        with open(part, encoding="utf-8", newline="\n") as file:
            pairs = (line.rstrip("\n").partition("\t") for line in file)
            for name, lines in groupby(pairs, itemgetter(0)):
                first, *more = (text for _, _, text in lines)
                whole = "\n".join([first, *more, ""]) if more else first
                (folder / (name if Path(name).suffix else f"{name}.{suffix}")).write_bytes(whole.encode())
