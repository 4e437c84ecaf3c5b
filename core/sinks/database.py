"""A database as a target: rows wait as Parquet in the stage until all are there, then one load makes them visible together."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..address import parse_database, redact
from ..domain import Domain
from ..errors import Interrupted, UserError
from ..progress import Progress
from ..schema import LABEL
from ..schema_text import load_statements
from ..tables import Tables
from .embedded import Embedded
from .folder import WRITERS
from .load import MANIFEST, Database, Load, own_tables
from .mysql import OPTIONS, MySQL
from .postgresql import PostgreSQL
from .stage import Stage

if TYPE_CHECKING:
    from ..growth import Growth
    from ..plan import Plan

FILES = ("duckdb", "sqlite")
SERVERS = {"postgresql": "postgresql", "postgres": "postgresql", "mysql": "mysql", "mariadb": "mysql"}


def is_database(place: str) -> bool:
    """Whether a text is the URL of a database."""
    scheme = re.match(r"([a-z]+):", place)
    return bool(scheme) and (scheme[1] in SERVERS or (scheme[1] in FILES and place.startswith(f"{scheme[1]}:///")))


def open_database(url: str) -> Database:
    """The database at a URL. Nothing is connected yet. Raises UserError if the URL names none."""
    scheme, _, rest = url.partition(":")
    if scheme in FILES:
        if not rest.startswith("///") or not rest[3:]:
            raise UserError(f"target '{redact(url)}' names no file; expected {scheme}:///FILE")
        path = Path(rest[3:])
        if scheme == "duckdb" and "?" in os.path.abspath(path):  # DuckDB puts its log beside what stands before it
            raise UserError(f"target '{url}': DuckDB cannot keep a file whose path has a '?' in it")
        return Embedded(scheme, path)
    kind = SERVERS[scheme]
    address = parse_database(f"{kind}:{rest}", OPTIONS if kind == "mysql" else None)
    return MySQL(address) if kind == "mysql" else PostgreSQL(address)


@dataclass(frozen=True)
class DatabaseSink:
    database: Database
    domain: Domain
    omit: frozenset[str]
    """Constraints that scenarios break on purpose: a database that enforced them would refuse the rows."""
    mode: str = "create"
    growth: Growth | None = None

    @property
    def target(self) -> Path:
        return self.database.work

    @property
    def place(self) -> str:
        return self.database.place

    @property
    def form(self) -> str:
        return self.database.scheme

    @property
    def stage(self) -> Stage:
        return Stage(self.target, self.place)

    @property
    def work(self) -> str:
        return f"{self.form}, what {self.growth.before.size} lacks" if self.growth else self.form

    def ready(self, plan: Plan) -> DatabaseSink:
        self.database.check()
        if not self.database.exists():
            if self.mode == "append":
                raise UserError(f"--mode append: {self.place} holds nothing to add to. Leave --mode out.")
            return self
        if self.mode == "create" and isinstance(self.database, Embedded):
            if manifest := self.published():
                self._refuse_what_stands([], manifest)
            Stage(self.target).check()
            return self
        there, manifest = self.database.tables(), self.database.manifest()
        if self.mode == "create":
            self._refuse_what_stands(there, manifest)
        elif manifest is None or "spec" not in manifest["populace"]:
            raise UserError(
                f"--mode {self.mode}: {self.place} holds no dataset that populace made; nothing was touched"
            )
        elif self.mode == "append":
            from ..growth import growth

            return replace(self, growth=growth(manifest, plan, self.place))
        else:
            self._refuse_what_stands([t for t in there if t not in own_tables(manifest, there) and t != MANIFEST], None)
        return self

    def _refuse_what_stands(self, there: list[str], manifest: Mapping[str, Any] | None) -> None:
        if manifest:
            spec = manifest["populace"].get("spec", {})
            raise UserError(
                f"target {self.place} exists already: {spec.get('domain', 'a table')} of size {spec.get('size', '?')}; nothing is overwritten. "
                "Add to it with --mode append, put this in its place with --mode replace, or remove it with populace unseed."
            )
        taken = {MANIFEST, LABEL.name, *self.domain.schema.tables} & set(there)
        if taken:
            raise UserError(
                f"target {self.place}: table {', '.join(sorted(taken))} exists already, and populace did not make it; nothing is "
                "overwritten. Choose another database or schema."
            )

    def write(self, index: int, tables: Tables, reference: Tables) -> None:
        added = self.growth.added(index, tables, self.place) if self.growth else tables
        for name, table in added.items():
            if table.height or index == 0:
                self.stage.put_part(name, index, "parquet", lambda p, t=table: WRITERS["parquet"](t, p))

    def published(self) -> Mapping[str, Any] | None:
        if isinstance(self.database, Embedded):
            if not self.target.is_file():
                return None
            try:
                return self.database.manifest()
            except UserError:
                return None
        return self.database.manifest()

    def publish(self, manifest: Mapping[str, Any]) -> list[str]:
        stage = self.stage
        names = load_statements(self.domain.schema, self.form, self.omit)
        parts = {n: found for n in names if (found := stage.parts(n, "parquet"))}
        gone: tuple[str, ...] = ()
        if self.mode == "replace" and self.database.exists():
            standing = self.database.manifest()
            if standing is None:
                raise UserError(f"target {self.place} is no longer what populace made; nothing was overwritten")
            gone = (*own_tables(standing, self.database.tables()), MANIFEST)
        mode = "create" if self.mode == "replace" and not gone else self.mode
        with Progress(f"loading {self.form}", len(parts), unit="table") as progress:
            text = json.dumps(manifest, ensure_ascii=False)
            load = Load(mode, self.domain.schema, self.omit, parts, text, stage.path, gone, progress.step)
            try:
                self.database.load(load)
            except Interrupted as error:
                raise Interrupted(
                    f"{error}. Nothing of this run is visible there; --resume goes on from here."
                ) from None
        return [self.place]


def unseed(url: str) -> dict[str, int]:
    """Remove what populace made in a database: the tables that its ledger names, with the rows that each was said to hold, and the ledger.

    Raises UserError, and removes nothing, where there is no ledger.
    """
    if not is_database(url):
        raise UserError(
            f"'{redact(url)}' is not the URL of a database; expected one of {', '.join([*FILES, *SERVERS])}"
        )
    database = open_database(url)
    if isinstance(database, Embedded) and not database.path.is_file():
        raise UserError(f"{database.place}: there is no file {database.path}")
    manifest = database.manifest()
    if manifest is None:
        raise UserError(f"{database.place} holds nothing that populace made; nothing was removed")
    if "mapped" in manifest["populace"]:
        from ..mapping.put import take_back

        return take_back(url)
    tables = own_tables(manifest, database.tables())
    stated = manifest["populace"]["tables"]
    database.remove(tables)
    return {name: stated[name]["rows"] for name in tables}
