"""A dataset in memory: its tables, its plan, and what can be done with them."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import polars as pl

from .build import build
from .cast import Ahead, Cast, candidates, settle
from .checks import check_tables, declared_and_not
from .errors import InvalidData
from .labels import GONE, SHARED, UNSEEN, grouped, labelled_instances, shared_rows, unseen
from .plan import Plan
from .schema import LABEL
from .tables import Table, Tables, concat

if TYPE_CHECKING:
    import pandas as pd

    from .explain import Explanation
    from .objects import Fields


@dataclass(frozen=True, repr=False)
class Dataset(Mapping[str, "pd.DataFrame"]):
    """`data["transaction"]` is a pandas frame over the same Arrow memory as `data.frames["transaction"]`, a polars frame."""

    frames: Tables
    plan: Plan
    manifest: Mapping[str, Any] = field(default_factory=dict)

    def __repr__(self) -> str:
        rows = sum(frame.height for frame in self.frames.values())
        return f"<{self.plan.domain.name}, size {self.plan.size}, seed {self.plan.spec.seed}: {rows:,} rows in {len(self.frames)} tables>"

    def __getitem__(self, table: str) -> pd.DataFrame:
        if table not in self.frames:
            from .errors import unknown

            raise KeyError(str(unknown("table", table, self.frames, self.plan.domain.name)))
        return self.frames[table].to_pandas(use_pyarrow_extension_array=True)

    def __iter__(self) -> Iterator[str]:
        return iter(self.frames)

    def __len__(self) -> int:
        return len(self.frames)

    @property
    def labels(self) -> pd.DataFrame:
        """scenario, instance, role, table, row_key, effect: one row for each row that a scenario touched."""
        return self[LABEL.name]

    def validate(self) -> Table:
        """Violations that no scenario declares: columns check, table, row_key, detail. Empty when the data is valid."""
        domain, label = self.plan.domain, self.frames[LABEL.name]
        tables = {k: v for k, v in self.frames.items() if k != LABEL.name}
        found = check_tables(domain, tables, set(tables), label=label)
        if domain.patterns:
            found = pl.concat([found, domain.patterns(self.frames, label, self.plan.uses)])
        return declared_and_not(found, label, self.plan.uses)[0]

    def records(self, table: str, as_: str | type | Callable[..., Any] = "dict") -> list[Any]:
        """The rows of a table as objects: `dict`, `"dataclass"`, `"pydantic"`, `"fhir.resources"`, or a class or function that takes the columns by
        name. Raises UserError for an unknown table or form."""
        from .records import records

        return records(self, table, as_)

    def objects(
        self, models: Mapping[str, type], fields: Mapping[str, Fields] | None = None, save: Any = False
    ) -> dict[str, list[Any]]:
        """Rows as instances of Django's or SQLAlchemy's models, by table, foreign keys set: `data.objects({"customer": Customer, "account": Account}, save=True)`.
        `save` is True for Django and a Session for SQLAlchemy. Raises UserError for fields that must have a value and get none."""
        from .objects import objects

        return objects(self, models, fields, save)

    def factory(self, table: str, model: type, fields: Fields | None = None, save: Any = False) -> Callable[..., Any]:
        """A function that makes one instance of a model at a call, from the next row of the table: `make = data.factory("customer", Customer)`,
        `make(segment="retail")`."""
        from .objects import factory

        return factory(self, table, model, fields, save)

    def explain(self, table: str, key: int) -> Explanation:
        """Why a row exists and why it has these values: steps, priors with their sources, scenarios, models. Raises UserError if there is none."""
        from .explain import explain

        return explain(self.plan, table, key)

    def write(self, *targets: str, format: str = "parquet", mode: str = "create") -> list[str]:
        """Write to folders or URLs (`out/`, `duckdb:///staging.duckdb`, `postgresql://user@host/staging`, `fhir+ndjson:out/`); returns
        what was written. `mode` says what becomes of what populace has put into a database before: `create` refuses, `append` adds the
        entities that a larger size has, `replace` puts this in its place.

        Raises UserError if a target exists or cannot be written; then nothing is written at all.
        """
        from .manifest import make_manifest, receipt, total
        from .sinks import open_targets

        plan = self.plan
        sinks = open_targets(targets, plan.domain, format, plan.breaks, mode)
        if mode == "append":  # block by block, since what is new in a block is told by the block before
            from .run import run

            return run(plan, sinks, quiet=True).written
        tables = {k: v for k, v in self.frames.items() if k != LABEL.name}
        found = check_tables(plan.domain, tables, set(tables), label=self.frames[LABEL.name])
        undeclared, declared = declared_and_not(found, self.frames[LABEL.name], plan.uses)
        refuse(undeclared)
        summed = total([receipt(plan.domain.schema, self.frames, declared)])
        reference = {k: v for k, v in tables.items() if plan.domain.schema[k].reference}
        sinks = [sink.ready(plan) for sink in sinks]
        written = []
        for sink in sinks:
            with sink.stage.opened(plan.fingerprint, sink.work, resume=False):
                sink.write(0, self.frames, reference)
                written += sink.publish(make_manifest(plan, summed, sink.form))
        return written


def make_cast(plan: Plan, ahead: Ahead | None = None) -> Cast:
    """Cast every scenario of a plan in this process; what that made of blocks is put into `ahead`."""
    return settle(plan, (candidates(plan, i, ahead) for i in range(plan.blocks))) if plan.uses else Cast()


def generate(plan: Plan) -> Dataset:
    """Build a whole dataset in this process's memory. Raises InvalidData if a row breaks a constraint undeclared."""
    ahead = Ahead()
    cast = make_cast(plan, ahead)
    parts: dict[str, list[Table]] = {}
    for index in range(plan.blocks):
        built = build(plan, index, cast, ahead)
        refuse(built.undeclared)
        for name, table in built.tables.items():
            parts.setdefault(name, []).append(table)
    order = [*plan.domain.schema.tables, LABEL.name]
    data = Dataset({name: concat(parts[name]) for name in order if name in parts}, plan)
    if plan.uses and not plan.domain.part_of:
        of = grouped(data.frames[LABEL.name])
        shown = labelled_instances(plan.domain.schema, of)
        for name, count in plan.instances.items():
            if left := count - len(shown.get(name, ())):
                warnings.warn(f"scenario {name}: {left} of {count} instance(s) {GONE}", stacklevel=2)
        for name, count in shared_rows(data.frames[LABEL.name], of).items():
            warnings.warn(f"scenario {name}: {count} {SHARED}", stacklevel=2)
        for name, tables in unseen(plan.domain.schema, data.frames).items():
            for table, (count, none) in tables.items():
                if none:
                    warnings.warn(f"scenario {name}: {none} of {count} {table} row(s) {UNSEEN}", stacklevel=2)
    return data


def refuse(undeclared: pl.DataFrame) -> None:
    """Raise InvalidData that names each broken check with one example."""
    if undeclared.height:
        lines = [
            f"  {check}: {n} row(s) of {table}, for example key {key} ({detail})"
            for check, table, key, detail, n in undeclared.group_by("check", "table", maintain_order=True)
            .agg(pl.first("row_key"), pl.first("detail"), pl.len())
            .iter_rows()
        ]
        raise InvalidData("generated rows break constraints that no scenario declares:\n" + "\n".join(lines))
