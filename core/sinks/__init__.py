"""Where tables go. A target is a folder or a URL, with an optional view before it: `out/`, `duckdb:///staging.duckdb`,
`postgresql://user@host/staging`, `fhir+https://host/base`, `fhir+ndjson:out/`.

Every sink works in two moves: `write(index, tables)` puts one block into a staging folder beside the target, from any process and as often as
needed; `publish(manifest)` makes the whole appear at once. A reader never sees half of anything.
"""

from __future__ import annotations

import itertools
import os
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from ..address import redact
from ..domain import Domain
from ..errors import UserError, unknown
from ..tables import Tables
from .stage import Stage

if TYPE_CHECKING:
    from ..plan import Plan


class Sink(Protocol):
    @property
    def target(self) -> Path: ...

    @property
    def place(self) -> str:
        """What the target is called: a path, or a URL without any password."""
        ...

    @property
    def form(self) -> str:
        """What its files are: a format, a view or a kind of database."""
        ...

    @property
    def stage(self) -> Stage: ...

    @property
    def work(self) -> str:
        """What the stage holds: the form, and for rows that are added what they are added to."""
        ...

    def ready(self, plan: Plan) -> Sink:
        """The sink as it is to be used for a plan. Raises UserError, and writes nothing, where the plan cannot go there."""
        ...

    def write(self, index: int, tables: Tables, reference: Tables) -> None:
        """Put one block's tables into the stage; `reference` is there to be looked things up in. Writing a block again replaces it."""
        ...

    def published(self) -> Mapping[str, Any] | None:
        """The manifest of what stands at the target already, if populace put it there."""
        ...

    def publish(self, manifest: Mapping[str, Any]) -> list[str]:
        """Make everything visible; returns what was written, as paths or URLs."""
        ...


def _database(scheme: str) -> Callable[[str, Domain, frozenset[str], str], Sink]:
    def build(rest: str, domain: Domain, omit: frozenset[str], mode: str) -> Sink:
        from .database import DatabaseSink, open_database

        return DatabaseSink(open_database(f"{scheme}:{rest}"), domain, omit, mode)

    return build


def _fhir(scheme: str) -> Callable[[str, Domain, frozenset[str], str], Sink]:
    def build(rest: str, domain: Domain, omit: frozenset[str], mode: str) -> Sink:
        from .fhir_server import fhir_server

        return fhir_server(f"{scheme}:{rest}", domain, mode)

    return build


FHIR = ("fhir+http", "fhir+https")
SCHEMES: dict[str, Callable[[str, Domain, frozenset[str], str], Sink]] = {
    scheme: _database(scheme) for scheme in ("duckdb", "sqlite", "postgresql", "postgres", "mysql", "mariadb")
} | {scheme: _fhir(scheme) for scheme in FHIR}
MODES = ("create", "append", "replace")
FORMATS = ("parquet", "csv", "ndjson", "json")


def for_targets(plan: Plan, targets: Sequence[str]) -> Plan:
    """The plan of no more than its targets take, where all of them are views that say what that is."""
    names = [target.partition(":")[0] for target in targets]
    views = plan.domain.views
    return plan.of(names) if all(n in views and views[n].takes for n in names) and not plan.spec.only else plan


def open_targets(
    targets: Sequence[str],
    domain: Domain,
    format: str = "parquet",
    omit: frozenset[str] = frozenset(),
    mode: str = "create",
) -> list[Sink]:
    """The sinks for several targets, none of which may be another or lie inside it."""
    sinks = [open_target(t, domain, format, omit, mode) for t in targets]
    places = sorted(Path(os.path.realpath(s.target)) for s in sinks)
    for one, other in itertools.pairwise(places):
        if one == other:
            raise UserError("the same target is named twice")
        if other.is_relative_to(one):
            raise UserError(f"target {other} lies inside another, {one}")
    return sinks


def open_target(
    target: str,
    domain: Domain,
    format: str = "parquet",
    omit: frozenset[str] = frozenset(),
    mode: str = "create",
) -> Sink:
    """The sink for a target. `omit` names constraints that a database must not enforce, because a scenario breaks them; `mode` says what
    happens to what populace has put into a database before: nothing, it is added to, or it goes.

    Raises UserError for an unknown scheme, view, format or mode.
    """
    from ..nested import all_views
    from .folder import FolderSink, ViewSink

    if mode not in MODES:
        raise unknown("mode", mode, MODES, "--mode")

    if format not in FORMATS:
        raise unknown("format", format, FORMATS, "--format")
    match = re.match(r"([a-z][a-z0-9+.-]+):(.*)", target)
    if match:
        name, rest = match.groups()
        if domain.part_of and name not in domain.views and (name in domain.part_of.views or name in FHIR):
            raise UserError(
                f"--only {','.join(domain.schema.tables)}: target '{redact(target)}': the documents of {name} take {_taken(domain.part_of, name)}"
            )
        if name not in domain.views:
            _whole(domain, target)
        if name in SCHEMES:
            return SCHEMES[name](rest, domain, omit, mode)
        if mode != "create":
            raise UserError(f"--mode {mode} is for databases; target '{redact(target)}' is none")
        views = all_views(domain)
        if name in views:
            if not rest:
                raise UserError(f"target '{target}' names no folder; expected {name}:FOLDER")
            return ViewSink(Path(rest), views[name])
        if name == "file":
            return FolderSink(Path(rest.removeprefix("//")), format, domain)
        raise unknown("target scheme or view", name, [*SCHEMES, *views], f"target '{redact(target)}'")
    if mode != "create":
        raise UserError(f"--mode {mode} is for databases; target '{target}' is a folder")
    if not target.strip():
        raise UserError("a target is empty; expected a folder or a URL")
    _whole(domain, target)
    return FolderSink(Path(target), format, domain)


def _taken(domain: Domain, name: str) -> str:
    takes = domain.views[name].takes if name in domain.views else {}
    return ", ".join(takes) or "all tables"


def _whole(domain: Domain, target: str) -> None:
    """Raises UserError where of a table there are some columns only: what a view takes is for that view."""
    whole = domain.part_of or domain
    for name, table in domain.schema.tables.items():
        if len(table.columns) < len(whole.schema[name].columns):
            raise UserError(
                f"target '{redact(target)}' takes whole tables; of {name} there are {', '.join(table.columns)} alone, for {', '.join(domain.views)}"
            )
