"""Records of others in a domain's tables: what was read, what had no place, and the way into every sink that generated data takes."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import polars as pl

from .checks import check_tables
from .domain import Domain
from .plan import Plan, make_plan
from .schema import LABEL
from .spec import Spec
from .tables import Table, Tables


@dataclass(frozen=True)
class Imported:
    """What a domain read from a folder or a URL."""

    domain: Domain
    """With the schema that the rows need: wider lists, nulls where others leave them."""
    tables: Tables
    read: Mapping[str, int]
    """Documents by type."""
    left_out: Mapping[tuple[str, str], int]
    """Documents by type and reason: those that became no row, and those of which an element has no place."""
    start: dt.date
    end: dt.date
    """The window that the record covers, [start, end)."""
    size: int
    """Root entities."""

    @property
    def plan(self) -> Plan:
        """A plan that makes nothing: it says what the dataset is."""
        bare = replace(self.domain, steps=(), derive=(), reference=(), extend=None, scenarios={}, inputs={})
        plan = make_plan(Spec(bare.name, self.size, 0, self.start.isoformat(), self.end.isoformat()), bare)
        return replace(plan, inputs={"import": dict(self.read)})

    def violations(self) -> Table:
        """What the domain's checks find in it: columns check, table, row_key, detail."""
        return check_tables(self.domain, self.tables, set(self.tables))


def write_imported(
    found: Imported, targets: Sequence[str], format: str = "parquet", mode: str = "create"
) -> tuple[list[str], Table]:
    """Write to folders or URLs as `Dataset.write` does, block by block; returns what was written, and the violations: records of others need
    not be valid. Raises UserError if a target exists or cannot be written; then nothing is written at all."""
    from .manifest import make_manifest, receipt, total
    from .sinks import open_targets

    plan, bad = found.plan, found.violations()
    schema = found.domain.schema
    omit = frozenset(bad["check"].unique().to_list())
    sinks = [s.ready(plan) for s in open_targets(targets, plan.domain, format, omit, mode)]
    reference = {n: t for n, t in found.tables.items() if schema[n].reference}
    label = pl.DataFrame(schema=LABEL.polars)
    units = {n: schema.unit_of_rows(n, t) for n, t in found.tables.items() if n not in reference}
    blocks: list[dict[str, Table]] = []
    for first in range(0, max(1, plan.units), plan.span):
        mine = {
            n: found.tables[n].filter(pl.Series((u >= first) & (u < first + plan.span), dtype=pl.Boolean))
            for n, u in units.items()
        }
        blocks.append({**(reference if not blocks else {}), **mine, LABEL.name: label})
    said: list[Any] = [
        receipt(schema, b, pl.DataFrame(schema={"scenario": pl.String, "check": pl.String})) for b in blocks
    ]
    doc = f"Imported records, in the tables of populace's {plan.domain.name} domain: what they say is their source's."
    written: list[str] = []
    for sink in sinks:
        with sink.stage.opened(plan.fingerprint, sink.work, resume=False):
            for n, block in enumerate(blocks):
                sink.write(n, block, reference)
            written += sink.publish(make_manifest(plan, total(said), sink.form, doc, bad.height))
    return written, bad
