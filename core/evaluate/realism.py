"""A domain's data beside published figures: prevalences, amounts, rates, each with its source.

`schemas/<domain>/realism.toml` has a TOML table for each figure:

    [hypertension]
    title = "Hypertension, adults"
    measure = "prevalence"                     # one of the domain's measures (`Domain.realism`)
    with = { code = "I10", low = 18, high = 120 }
    value = 47.7
    unit = "%"
    admits = 1.0                               # how far off the model says that it may be, beside chance
    source = "NCHS Data Brief 511"
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import Any

from ..domain import Domain, find_domain
from ..errors import UserError, unknown
from ..sinks.database import is_database, open_database
from ..sinks.embedded import Embedded
from ..sinks.stage import read_manifest
from ..source import read_source
from ..tables import Tables
from ..validate import validate
from .metric import Metric, proportion

Z = 1.96


@dataclass(frozen=True)
class Published:
    """A figure that somebody measured on the real world."""

    name: str
    title: str
    measure: str
    value: float
    unit: str
    source: str
    admits: float
    settings: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Beside:
    """A published figure and what the data show, with its standard error."""

    published: Published
    value: float
    error: float

    @property
    def off(self) -> float:
        """How far from the published value, less what the model admits and what chance explains (95 %); below 0: met."""
        return abs(self.value - self.published.value) - self.published.admits - Z * self.error

    @property
    def met(self) -> bool:
        return self.off <= 0


def load_published(domain: Domain) -> tuple[Published, ...]:
    """The domain's published figures, in the file's order. Raises UserError for a measure that the domain does not have."""
    text = resources.files(f"populace.schemas.{domain.name}").joinpath("realism.toml").read_text("utf-8")
    found = []
    for name, entry in tomllib.loads(text).items():
        if entry["measure"] not in domain.realism:
            raise unknown("measure", entry["measure"], domain.realism, f"{domain.name} realism {name}")
        settings = entry.pop("with", {})
        found.append(Published(name=name, settings=settings, **entry))
    return tuple(found)


def set_beside(domain: Domain, tables: Tables) -> tuple[list[Beside], list[Published]]:
    """Every published figure that these tables can show, and those that they cannot: they hold too few rows of the kind, or none."""
    found, without = [], []
    for figure in load_published(domain):
        measured = domain.realism[figure.measure](tables, **figure.settings)
        if measured is None:
            without.append(figure)
        else:
            found.append(Beside(figure, *measured))
    return found, without


def domain_of(data: Any, name: str | None) -> Domain | None:
    """The domain of a dataset at a path or URL: the one named, or the one that its manifest names. Raises UserError for a domain that does not exist, and where one is named for what is no folder or
    database."""
    place = str(data) if isinstance(data, (str, os.PathLike)) else None
    kept = place is not None and (is_database(place) or Path(place).is_dir())
    if name:
        if not kept:
            raise UserError(f"--domain {name}: needs a dataset in a folder or database, not {place or 'a frame'}")
        return find_domain(name)
    if not kept or place is None:
        return None
    if is_database(place):
        database = open_database(place)
        there = not isinstance(database, Embedded) or database.path.is_file()
        manifest = database.manifest() if there else None
    else:
        manifest = read_manifest(Path(place) / "manifest.json")
    asked = (manifest or {}).get("populace", {}).get("spec", {})
    return find_domain(asked["domain"]) if "domain" in asked else None


def judge_domain(domain: Domain, place: str, only: Sequence[str] = ()) -> list[Metric]:
    """The rules of the domain and its published figures, of a dataset in its schema. Raises UserError for one that is not."""
    metrics = []
    if not only or "diagnostics" in only:
        verdict = validate(domain, place)
        rows = sum(verdict.rows.values())
        bad = verdict.found.select("table", "row_key").n_unique() if verdict.found.height else 0
        detail = tuple(
            {
                "rule": e["check"],
                "table": e["table"],
                "rows": e["rows"],
                "why": e["detail"],
                "such as": ", ".join(map(str, e["examples"])),
            }
            for e in verdict.listed()
        )
        note = f"{verdict.checks} rules of {domain.name}; {verdict.declared.height} rows break one on purpose, as a scenario declares"
        metrics.append(Metric("diagnostics.rules", 1 - bad / rows if rows else 1.0, detail=detail, note=note))
    if not only or "realism" in only:
        source = read_source(domain, place)
        metrics += judge_realism(domain, {**source.tables, "label": source.label})
    return metrics


def judge_realism(domain: Domain, tables: Tables) -> list[Metric]:
    """The figures `realism.*`. Empty for a domain that has no published figures."""
    if not domain.realism:
        return []
    found, without = set_beside(domain, tables)
    if not found:
        note = "there are too few rows to measure any published figure"
        return [Metric("realism.met", float("nan"), note=note)]
    detail = tuple(
        {
            "figure": b.published.title,
            "published": b.published.value,
            "here": b.value,
            "± (95 %)": Z * b.error,
            "admitted": b.published.admits,
            "unit": b.published.unit,
            "met": "yes" if b.met else "no",
            "source": b.published.source,
        }
        for b in sorted(found, key=lambda b: b.met)
    )
    met = sum(b.met for b in found)
    note = f"{met} of {len(found)} published figures of {domain.name}"
    if without:
        note += f"; {len(without)} could not be measured: {', '.join(p.title for p in without)}"
    return [Metric("realism.met", met / len(found), proportion(met, len(found)), detail=detail, note=note)]
