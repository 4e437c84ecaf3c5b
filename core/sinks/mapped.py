"""Somebody else's tables as a target: our rows wait as Parquet in the stage, a mapping makes theirs of them, and one transaction takes all in."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..address import redact
from ..domain import Domain, Window
from ..errors import UserError
from ..mapping.fill import fill
from ..mapping.put import ledger, put, standing
from ..mapping.target import connect_url, reflect
from ..mapping.views import read_views
from ..progress import Progress
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
        from dataclasses import replace

        target = reflect(self.url)
        if (there := ledger(self.url)) is not None:
            size = there.get("populace", {}).get("spec", {}).get("size", "?")
            raise UserError(
                f"target {self.place} was filled already (size {size}). Remove that with populace unseed first."
            )
        empty = {n: t.polars for n, t in self.domain.schema.tables.items()}
        for name in read_views(self.sql, self.domain.schema, {}, target, self.file, empty):
            if target.tables[name].rows:
                raise UserError(
                    f"target {self.place}: {name} holds {target.tables[name].rows:,} rows, and populace did not put them there. "
                    f"Take its view out of {self.file}, or empty it."
                )
        return replace(self, seed=plan.spec.seed, window=plan.window)

    def write(self, index: int, tables: Tables, reference: Tables) -> None:
        for name, table in tables.items():
            if table.height or index == 0:
                self.stage.put_part(name, index, "parquet", lambda p, t=table: WRITERS["parquet"](t, p))

    def published(self) -> Mapping[str, Any] | None:
        return ledger(self.url)

    def publish(self, manifest: Mapping[str, Any]) -> list[str]:
        target, schema = reflect(self.url), self.domain.schema
        parts = {n: self.stage.parts(n, "parquet") for n in schema.tables}
        empty = {n: t.polars for n, t in schema.tables.items()}
        given = read_views(self.sql, schema, parts, target, self.file, empty)
        wanted = {r.table for n in given for r in target.tables[n].references} - set(given)
        stream = Stream.root(self.seed).child("mapping")
        rows = fill(target, given, standing(self.url, target, wanted), stream, self.window or Window(0, 1))
        body = {**manifest["populace"], "mapped": {n: frame.height for n, frame in rows.items()}}
        text = json.dumps({**manifest, "populace": body}, ensure_ascii=False)
        with Progress(f"loading {self.form}", len(rows), unit="table") as progress:
            put(self.url, target, rows, text, progress.step)
        return [f"{self.place} {n}: {frame.height:,} rows" for n, frame in rows.items()]


def mapped_sinks(targets: list[str], domain: Domain, file: str) -> list[MappedSink]:
    """The one target of a mapping. Raises UserError unless it is a database whose tables can be filled, and the file can be read."""
    if len(targets) != 1:
        raise UserError("--map fills one database; name it with a single --to")
    connect_url(targets[0])
    try:
        sql = Path(file).read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"--map {file}: cannot be read: {getattr(error, 'strerror', error)}") from None
    return [MappedSink(targets[0], domain, sql, file)]
