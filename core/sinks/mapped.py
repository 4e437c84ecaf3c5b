"""Somebody else's tables as a target: our rows wait as Parquet in the stage, a mapping makes theirs of them, and one transaction takes all in."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

from ..address import redact
from ..domain import Domain, View, Window
from ..errors import UserError, unknown
from ..mapping.draft import columns_of, table_views
from ..mapping.fill import fill
from ..mapping.put import ledger, put, standing
from ..mapping.target import connect_url, reflect
from ..mapping.views import read_views
from ..progress import Progress
from ..schema import LABEL
from ..stream import Stream
from ..tables import Tables
from .database import open_database
from .folder import WRITERS
from .stage import Stage

if TYPE_CHECKING:
    from ..plan import Plan


@dataclass(frozen=True)
class MappedSink:
    url: str
    domain: Domain
    sql: str
    """What the mapping file says."""
    file: str
    mode: str = "create"
    seed: int = 0
    window: Window | None = None
    """Seed and time window of the plan, known once the sink is ready."""

    @property
    def target(self) -> Path:
        return open_database(self.url).work

    @property
    def place(self) -> str:
        return redact(self.url)

    @property
    def form(self) -> str:
        return connect_url(self.url)[0]

    @property
    def stage(self) -> Stage:
        return Stage(self.target, self.place)

    @property
    def work(self) -> str:
        return f"{self.form}, mapped"

    def ready(self, plan: Plan) -> MappedSink:
        """Also tries the mapping on tables without rows, so that what is wrong in it is told before any work."""
        target, there = reflect(self.url), ledger(self.url)
        if there is not None and self.mode == "create":
            size = there.get("populace", {}).get("spec", {}).get("size", "?")
            raise UserError(
                f"target {self.place} was filled already (size {size}). Put this in its place with --mode replace, or remove it with populace unseed."
            )
        if self.mode == "replace" and (there is None or "mapped" not in there.get("populace", {})):
            raise UserError(f"--mode replace: {self.place} holds nothing that a mapping of populace put there")
        ours = (there or {}).get("populace", {}).get("mapped", {})
        for name in read_views(self.sql, self.domain.name, {}, target, self.file, self._empty()):
            if target.tables[name].rows != ours.get(name, 0):
                raise UserError(
                    f"target {self.place}: {name} holds {target.tables[name].rows - ours.get(name, 0):,} rows, and populace did not put them there. "
                    f"Take its view out of {self.file}, or empty it."
                )
        return replace(self, seed=plan.spec.seed, window=plan.window)

    def write(self, index: int, tables: Tables, reference: Tables) -> None:
        made = dict(tables)
        for view in self._views():
            kept = {n: t for n, t in tables.items() if n != LABEL.name}
            for name, frame in view.render(kept, reference).items():
                made[f"{view.name}.{name}"] = frame.with_columns(pl.col(pl.Null).cast(pl.String))
        for name, table in made.items():
            if table.height or index == 0:
                self.stage.put_part(name, index, "parquet", lambda p, t=table: WRITERS["parquet"](t, p))

    def published(self) -> Mapping[str, Any] | None:
        return None if self.mode == "replace" else ledger(self.url)

    def publish(self, manifest: Mapping[str, Any]) -> list[str]:
        target, empty, scratch = reflect(self.url), self._empty(), self.stage.path / "views"
        shutil.rmtree(scratch, ignore_errors=True)
        scratch.mkdir()
        parts = {
            space: {n: self.stage.parts(n if space == self.domain.name else f"{space}.{n}", "parquet") for n in tables}
            for space, tables in empty.items()
        }
        given = read_views(self.sql, self.domain.name, parts, target, self.file, empty, scratch)
        wanted = {r.table for n in given for r in target.tables[n].references if r.table in target.tables} - set(given)
        stream = Stream.root(self.seed).child("mapping")
        rows = fill(target, given, standing(self.url, target, wanted), stream, self.window or Window(0, 1))

        def ledgered(counts: Mapping[str, int]) -> str:
            return json.dumps(
                {**manifest, "populace": {**manifest["populace"], "mapped": dict(counts)}}, ensure_ascii=False
            )

        with Progress(f"loading {self.form}", len(rows), unit="table") as progress:
            counts = put(self.url, target, rows, ledgered, progress.step, scratch, self.mode == "replace")
        return [f"{self.place} {n}: {counts[n]:,} rows" for n in rows]

    def _views(self) -> list[View]:
        """The domain's views of tables that the mapping speaks of."""
        return [
            v
            for v in table_views(self.domain)
            if re.search(rf'\b"?{re.escape(v.name)}"?\s*\.', self.sql, re.IGNORECASE)
        ]

    def _empty(self) -> dict[str, dict[str, Mapping[str, pl.DataType]]]:
        """What the mapping may read: by schema and table, the types of the columns."""
        own = {n: t.polars for n, t in self.domain.schema.tables.items()}
        return {self.domain.name: dict(own), **{v.name: columns_of(v, self.domain) for v in self._views()}}


def mapped_sinks(targets: list[str], domain: Domain, file: str, mode: str = "create") -> list[MappedSink]:
    """The one target of a mapping. Raises UserError unless it is a database whose tables can be filled, and the file can be read."""
    if mode == "append":
        raise UserError(
            "--mode append has no meaning with --map: a view may count and sum, so that more entities change rows that are there. "
            "Use --mode replace."
        )
    if mode not in ("create", "replace"):
        raise unknown("mode", mode, ("create", "replace"), "--mode")
    if len(targets) != 1:
        raise UserError("--map fills one database; name it with a single --to")
    connect_url(targets[0])
    try:
        sql = Path(file).read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"--map {file}: cannot be read: {getattr(error, 'strerror', error)}") from None
    return [MappedSink(targets[0], domain, sql, file, mode)]
