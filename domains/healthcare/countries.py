"""Other countries: their age structure, mortality, names, addresses, identifiers and insurers. How frequent the commonest diseases are is theirs too; what else makes bodies ill stays as it is."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from importlib import resources
from typing import Any

from ...core.domain import Domain
from ...core.errors import UserError, unknown
from ...core.priors import Priors, read_priors
from ...core.schema import CodeList, Column, Schema, TableSchema, make_schema

HOME = "US"
"""The country of the domain's own priors."""
COUNTRIES = ("DE", "FR", "GB", HOME)
UNRECORDED = ("race", "ethnicity")
"""Columns of `patient` that only the United States record."""


def in_country(domain: Domain, names: Sequence[str]) -> Domain:
    """The domain with the population of one country (ISO 3166 alpha-2). Raises UserError for several, and for one that there is not."""
    from . import derived
    from .bind import bind

    if len(names) != 1:
        raise UserError(f"--country names one country, not {len(names)}: {', '.join(names)}")
    if names[0] not in COUNTRIES:
        raise unknown("country", names[0], COUNTRIES, "--country")
    if names[0] == HOME:
        return domain
    said = _read(names[0])
    patterns, lists = said.pop("patterns"), said.pop("lists")
    own = read_priors(said, f"schemas/{domain.name}/countries/{names[0]}.toml")
    priors = Priors({**domain.priors.entries, **own.entries})
    schema = _schema(domain.schema, patterns, lists)
    timed = tuple(derived.numbering(schema))
    keys = replace(next(s for s in domain.derive if s.name == "keys"), run=derived.keys(schema), makes=timed)
    return replace(
        bind(domain, schema, priors),
        priors=priors,
        derive=tuple(keys if s.name == "keys" else s for s in domain.derive),
        remembers={"country": names[0]},
    )


def _read(name: str) -> dict[str, Any]:
    file = resources.files("populace") / "schemas" / "healthcare" / "countries" / f"{name}.toml"
    return tomllib.loads(file.read_text("utf-8"))


def _schema(schema: Schema, patterns: Mapping[str, str], lists: Mapping[str, Any]) -> Schema:
    """The schema with the country's lists in place of the domain's, its patterns, and a column for the number that the country gives a patient."""
    named = {n: CodeList(n, e.get("system"), e["source"], e["codes"]) for n, e in lists.items()}
    changed = {tuple(schema.code_lists[n].codes): tuple(c.codes) for n, c in named.items() if n in schema.code_lists}

    def column(c: Column) -> Column:
        c = replace(c, pattern=patterns.get(c.name, c.pattern), codes=changed.get(c.codes, c.codes))
        return replace(c, null=True) if c.name in UNRECORDED else c

    def table(spec: TableSchema) -> TableSchema:
        columns = {n: column(c) for n, c in spec.columns.items()}
        if spec.name == "patient":
            number = next(iter(named["national_identifier"].codes.values()))
            made = Column("national_id", "text", f"{number}.", pattern=patterns["national_id"])
            columns = {
                k: v for n, c in columns.items() for k, v in ((n, c), *([("national_id", made)] if n == "mrn" else ()))
            }
        return replace(spec, columns=columns)

    tables = {n: table(s) for n, s in schema.tables.items()}
    return make_schema(schema.domain, tables, {**schema.code_lists, **named})
