"""Validation of a dataset, generated or not: every constraint of the schema, every check of the domain, and the manifest's own claims."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import polars as pl

from .checks import check_names, check_tables, declared_and_not, violations
from .digest import digest
from .domain import Domain
from .scenario import ScenarioRequest, Use, resolve
from .source import Source, read_source
from .tables import Table


@dataclass(frozen=True)
class Verdict:
    """What validation found. `found` has columns check, table, row_key, detail; `declared` those that a scenario accounts for."""

    found: Table
    declared: Table
    rows: Mapping[str, int]
    checks: int
    notes: list[str] = field(default_factory=list)

    def listed(self) -> list[dict[str, Any]]:
        """One entry for each check and table that is violated: how many rows, why, and the keys of up to five."""
        grouped = self.found.group_by("check", "table", maintain_order=True).agg(
            pl.first("detail"), pl.len().alias("rows"), pl.col("row_key").head(5).alias("examples")
        )
        return grouped.to_dicts()

    @property
    def valid(self) -> bool:
        return self.found.is_empty()


def validate(domain: Domain, place: str) -> Verdict:
    """Judge the data at a path or URL. Raises UserError if there is nothing there that can be judged."""
    path = Path(place)
    for view in domain.views.values():
        if view.check and view.recognises and path.is_dir() and view.recognises(path):
            found = view.check(path)
            return Verdict(found, found.clear(), {}, len(view.rules), [f"read as {view.name}"])
    source = read_source(domain, place)
    domain = source.domain
    names = set(source.tables)
    found = pl.concat(
        [
            source.unreadable,
            check_tables(domain, source.tables, names, label=source.label),
            _labels(domain, source),
            _claims(source),
            # what a group of labels shows, it shows over several tables
            *(
                [domain.patterns(source.tables, source.label, _played(domain, source))]
                if domain.patterns and domain.schema.tables.keys() <= names
                else []
            ),
        ]
    )
    undeclared, declared = declared_and_not(found, source.label, _uses(domain, source.label))
    rows = {name: table.height for name, table in source.tables.items()}
    return Verdict(undeclared, declared, rows, len(check_names(domain)), source.notes)


def _uses(domain: Domain, label: Table) -> list[Use]:
    cast = label["scenario"].unique().drop_nulls().to_list()
    return [Use(domain.scenarios[name], {}, 1) for name in cast if name in domain.scenarios]


def _played(domain: Domain, source: Source) -> list[Use]:
    """The scenarios with the settings that the manifest states, or their defaults."""
    spec: Any = (source.manifest or {}).get("populace", {}).get("spec", {})
    stated = [s for s in spec.get("scenarios", []) if isinstance(s, dict) and s.get("name") in domain.scenarios]
    named = {s["name"] for s in stated}
    asked = [*stated, *({"name": n} for n in source.label["scenario"].unique().drop_nulls().sort() if n not in named)]
    uses = []
    for n, one in enumerate(asked):
        if one["name"] in domain.scenarios:
            settings = {k: v for k, v in one.items() if k != "name"}
            uses.append(resolve(ScenarioRequest(one["name"], settings), domain.scenarios, 1, n))
    return uses


def _labels(domain: Domain, source: Source) -> Table:
    """Labels must name scenarios, roles, tables and rows that exist."""
    label, found = source.label, [violations()]
    stray = label.filter(~pl.col("scenario").is_in(list(domain.scenarios)))
    found.append(violations("label.scenario", "label", stray["row_key"].fill_null(-1), "no such scenario"))
    roles = [(s.name, r.name) for s in domain.scenarios.values() for r in s.roles]
    known = pl.DataFrame(roles, schema={"scenario": pl.String, "role": pl.String}, orient="row")
    named = label.filter(pl.col("scenario").is_in(list(domain.scenarios)), pl.col("role").is_not_null())
    extra = named.with_columns(pl.col("scenario", "role").cast(pl.String)).join(known, ["scenario", "role"], "anti")
    found.append(violations("label.role", "label", extra["row_key"].fill_null(-1), "no such role in its scenario"))
    for name in label["table"].unique().drop_nulls():
        keys = label.filter(table=name)["row_key"].drop_nulls()
        known = source.tables[name][domain.schema[name].key] if name in source.tables else keys.clear()
        found.append(
            violations("label.row_key", "label", keys.filter(~keys.is_in(known.implode())), f"no such row of {name}")
        )
    return pl.concat(found)


def _claims(source: Source) -> Table:
    """Rows and digests must be those that the manifest states."""
    stated: Any = (source.manifest or {}).get("populace", {}).get("tables", {})
    found = [violations()]
    for name, claim in stated.items():
        table = source.label if name == "label" else source.tables.get(name)
        if table is None:
            found.append(
                violations("manifest.table", name, pl.Series([0]), "the manifest states a table that is not there")
            )
        elif (sums := digest(table)) and str(sums) != claim["digest"]:
            detail = (
                f"the manifest states {claim['rows']} rows with digest {claim['digest']}, found {sums.rows} with {sums}"
            )
            found.append(violations("manifest.digest", name, pl.Series([0]), detail))
    return pl.concat(found)
