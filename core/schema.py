"""A schema says what a domain's tables are: columns, types, keys, references, constraints. Read from `schemas/<domain>/`.

`tables.toml` holds one TOML table for each table of the domain:

    [account]
    doc = "…"
    key = "account_id"                  # one integer column
    within = "customer_id"              # the column that names the parent row this row belongs to, or absent
    fan = 16                            # at most this many per parent: account_id = customer_id * 16 + k
    touches = ["payee_account_id"]      # further columns that name a row this one concerns (it may lie in another block)
    reference = false                   # true: built once, before any block, and handed to every block read-only
    truth = "rows_left"                 # of a table in which scenarios say what they did: the column that counts what is left to see of it

    [account.columns]
    account_id = { type = "id", doc = "…" }
    status = { type = "code", codes = ["open", "closed"], doc = "…" }       # or codes = "name of a list in codes.toml"
    balance_minor = { type = "money", min = 0, null = true, unit = "minor units", doc = "…" }
    customer_id = { type = "id", references = "customer", each = "1..8", doc = "…" }

    [account.checks.closes-after-opening]
    sql = "closed_on >= opened_on"      # true or null for every valid row; also a CHECK in a staging database
    doc = "…"
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache, cached_property
from importlib import resources
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from .errors import UserError, unknown
from .tables import filled

TYPES: dict[str, Any] = {
    "id": pl.Int64,
    "int": pl.Int64,
    "int32": pl.Int32,
    "money": pl.Int64,
    "float": pl.Float64,
    "float32": pl.Float32,
    "text": pl.String,
    "code": pl.Enum,
    "bool": pl.Boolean,
    "date": pl.Date,
    "instant": pl.Datetime("us", "UTC"),
}
_COLUMN_KEYS = {
    "type",
    "doc",
    "null",
    "min",
    "max",
    "codes",
    "pattern",
    "unit",
    "decimals",
    "references",
    "each",
    "label",
}
_TABLE_KEYS = {"doc", "key", "within", "fan", "touches", "reference", "truth", "columns", "checks"}


@dataclass(frozen=True)
class Column:
    name: str
    type: str
    doc: str
    null: bool = False
    min: Any = None
    max: Any = None
    codes: tuple[str, ...] = ()
    pattern: str | None = None
    unit: str | None = None
    decimals: int | None = None
    references: str | None = None
    each: tuple[int, int | None] | None = None

    @cached_property
    def dtype(self) -> pl.DataType:
        kind = TYPES[self.type]
        if self.type == "code":
            return pl.Enum(self.codes)
        return kind() if isinstance(kind, type) else kind


@dataclass(frozen=True)
class RowCheck:
    """A predicate over one row, in SQL that polars and the staging databases read alike."""

    name: str
    sql: str
    doc: str


@dataclass(frozen=True, eq=False)
class TableSchema:
    name: str
    doc: str
    key: str
    columns: Mapping[str, Column]
    checks: tuple[RowCheck, ...] = ()
    within: str | None = None
    fan: int = 1
    touches: tuple[str, ...] = ()
    reference: bool = False
    truth: str | None = None

    @cached_property
    def polars(self) -> dict[str, pl.DataType]:
        return {c.name: c.dtype for c in self.columns.values()}

    @property
    def references(self) -> dict[str, str]:
        return {c.name: c.references for c in self.columns.values() if c.references}


@dataclass(frozen=True)
class CodeList:
    """Codes with their displays, from one code system."""

    name: str
    system: str | None
    source: str
    codes: Mapping[str, str]
    others: Mapping[str, str] = field(default_factory=dict)
    """The code systems of codes that are not of `system`: those that the list names, and a user's own (`Domain.extend`)."""

    def system_of(self, code: str) -> str | None:
        return self.others.get(code, self.system)


@dataclass(frozen=True)
class Schema:
    domain: str
    tables: Mapping[str, TableSchema]
    code_lists: Mapping[str, CodeList] = field(default_factory=dict)

    def __getitem__(self, table: str) -> TableSchema:
        if table not in self.tables:
            raise unknown("table", table, self.tables, self.domain)
        return self.tables[table]

    def unit_of(self, table: str, keys: NDArray) -> NDArray[np.int64]:
        """The unit (patient, customer, site) that each key of `table` belongs to: integer division, no look-up."""
        divisor, at = 1, self.tables[table]
        while at.within is not None:
            divisor *= at.fan
            at = self.tables[at.columns[at.within].references or ""]
        return np.asarray(keys).astype(np.int64) // divisor

    def unit_of_rows(self, table: str, frame: pl.DataFrame, column: str | None = None) -> NDArray[np.int64]:
        """The unit that owns each row, or with `column` the unit of the row that the column refers to (null: -1)."""
        spec = self.tables[table]
        column = column or spec.within or spec.key
        target = spec.columns[column].references if column != spec.key else table
        keys = frame[column]
        if not keys.null_count():
            return self.unit_of(target or table, keys.to_numpy())
        known = filled(keys, -1)
        return np.where(known < 0, -1, self.unit_of(target or table, known))


LABEL = TableSchema(
    name="label",
    doc="Ground truth: every row that a scenario made, changed or removed, and why.",
    key="",
    columns={
        c.name: c
        for c in (
            Column("scenario", "text", "The scenario's name."),
            Column("instance", "int", "Which instance of the scenario, from 0."),
            Column("role", "text", "The role that the row's entity plays in it."),
            Column("table", "text", "The table that the row is in."),
            Column("row_key", "id", "The row's key; null where the row was removed.", null=True),
            Column("effect", "text", "What happened to the row: what kind of edit, in the scenario's words."),
        )
    },
)


@cache
def load_schema(domain: str, package: str = "populace") -> Schema:
    """Read `schemas/<domain>/tables.toml` and `codes.toml` of an installed package."""
    folder = resources.files(package) / "schemas" / domain
    lists: dict[str, CodeList] = {}
    codes_file = folder / "codes.toml"
    if codes_file.is_file():
        for name, entry in tomllib.loads(codes_file.read_text("utf-8")).items():
            others = {code: system for system, codes in entry.get("others", {}).items() for code in codes}
            lists[name] = CodeList(name, entry.get("system"), entry["source"], entry["codes"], others)
    return make_schema(domain, read_tables(domain, "tables.toml", lists, package), lists)


def read_tables(
    domain: str, file: str, lists: Mapping[str, CodeList], package: str = "populace"
) -> dict[str, TableSchema]:
    """The tables that one file of `schemas/<domain>/` describes, with these code lists."""
    raw = tomllib.loads((resources.files(package) / "schemas" / domain / file).read_text("utf-8"))
    return {name: _table(name, entry, lists, f"schemas/{domain}/{file}") for name, entry in raw.items()}


def make_schema(domain: str, tables: Mapping[str, TableSchema], lists: Mapping[str, CodeList]) -> Schema:
    """A schema of tables whose names for one another have been checked."""
    schema = Schema(domain, tables, lists)
    _validate(schema)
    return schema


def _table(name: str, entry: dict[str, Any], lists: Mapping[str, CodeList], place: str) -> TableSchema:
    for key in entry.keys() - _TABLE_KEYS:
        raise unknown("table setting", key, _TABLE_KEYS, f"{place} [{name}]")
    columns = {c: _column(c, e, lists, f"{place} [{name}.{c}]") for c, e in entry["columns"].items()}
    checks = tuple(RowCheck(n, c["sql"], c["doc"]) for n, c in entry.get("checks", {}).items())
    return TableSchema(
        name,
        entry["doc"],
        entry["key"],
        columns,
        checks,
        entry.get("within"),
        entry.get("fan", 1),
        tuple(entry.get("touches", ())),
        entry.get("reference", False),
        entry.get("truth"),
    )


def _column(name: str, entry: dict[str, Any], lists: Mapping[str, CodeList], place: str) -> Column:
    for key in entry.keys() - _COLUMN_KEYS:
        raise unknown("column setting", key, _COLUMN_KEYS, place)
    if entry["type"] not in TYPES:
        raise unknown("type", entry["type"], TYPES, place)
    codes = entry.get("codes", ())
    if isinstance(codes, str):
        if codes not in lists:
            raise unknown("code list", codes, lists, place)
        codes = tuple(lists[codes].codes)
    each = entry.get("each")
    if each is not None:
        match = re.fullmatch(r"(\d+)\.\.(\d+|\*)", each)
        if not match:
            raise UserError(f"{place}: 'each' is '{each}', expected LOW..HIGH or LOW..*")
        each = (int(match[1]), None if match[2] == "*" else int(match[2]))
    plain = {k: entry[k] for k in ("null", "min", "max", "pattern", "unit", "decimals", "references") if k in entry}
    return Column(name, entry["type"], entry["doc"], codes=tuple(codes), each=each, **plain)


def _validate(schema: Schema) -> None:
    for table in schema.tables.values():
        place = f"schemas/{schema.domain}/tables.toml [{table.name}]"
        for column in (table.key, *filter(None, (table.within, table.truth)), *table.touches):
            if column not in table.columns:
                raise unknown("column", column, table.columns, place)
        for column, target in table.references.items():
            if target not in schema.tables:
                raise unknown("table", target, schema.tables, f"{place} {column}")
