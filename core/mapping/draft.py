"""A first mapping from a domain's tables to somebody else's, to be read and changed: each column with how sure it is, and why."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import polars as pl

from ..currency import major_sql
from ..domain import Domain, View
from ..schema import LABEL, Column, Schema, TableSchema
from .meaning import concept, kin, words
from .rules import rules_of
from .target import Target, TargetColumn, TargetTable

_SURE = 0.45
"""A table is filled from one of ours if its columns and its name together come to as much."""
_NAMED = 0.8
"""Or if the names alone say as much."""
_LEAST = 0.5
"""A column is filled from one of ours from here on."""
_OPEN = "; those without end as the year 9999"
_FILLED = 20
_ALIKE = 0.7
"""Theirs is a table of one of our views if it has the name, and so many of its columns are there."""
_KINDS = {
    "id": {"int", "text", "decimal"},
    "int": {"int", "decimal", "float"},
    "int32": {"int", "decimal", "float"},
    "money": {"decimal", "float", "int"},
    "float": {"decimal", "float"},
    "float32": {"decimal", "float"},
    "text": {"text"},
    "code": {"text"},
    "bool": {"bool"},
    "date": {"date", "instant", "text"},
    "instant": {"instant", "date"},
}


@dataclass(frozen=True)
class Match:
    sql: str
    confidence: float
    reason: str


def draft(target: Target, domain: Domain) -> str:
    """The text of a mapping file. Tables that hold rows already are left as they are; what no table of ours has is left to be filled."""
    target = replace(target, tables={n: _with_choices(t, target) for n, t in target.tables.items()})
    known = {view.name: columns_of(view, domain) for view in table_views(domain)}
    documents = {n: d for n, t in target.tables.items() if not t.rows and (d := _document(t, known))}
    sources = {
        n: s for n, t in target.tables.items() if not t.rows and n not in documents and (s := _source(t, domain))
    }
    head = [
        f"-- How {domain.name} fills {target.place}. Each view fills the table it is named after, column by column by name; a column that",
        "-- a view leaves out is filled by type, name and constraint. Ours are "
        + f"{domain.name}.TABLE (populace schema {domain.name}).",
        "-- The numbers say how sure the draft is. Read it, change it, and run:",
        f"--   populace generate {domain.name} --to {target.place} --map THIS-FILE",
        "",
    ]
    parts, late = [], []
    for table in target.tables.values():
        if table.name in documents:
            parts.append(_from_document(table, *documents[table.name]))
        elif keys := _keys_of(table, target, documents, sources):
            late.append(keys)
        else:
            parts.append(_view(table, target, domain, sources))
    return "\n".join(head) + "\n".join(parts + late)


def _with_choices(table: TargetTable, target: Target) -> TargetTable:
    """The table, its columns with the values that a check leaves them."""
    hints = rules_of(table, target.dialect, target.place)[1]
    columns = {
        n: replace(c, choices=c.choices or tuple(v for v in hints[n].choices if isinstance(v, str)))
        for n, c in table.columns.items()
    }
    return replace(table, columns=columns)


def table_views(domain: Domain) -> list[View]:
    """The domain's views that are tables, such as a common data model: what their documents hold is rows."""
    return [v for v in domain.views.values() if v.suffix == "csv"]


def columns_of(view: View, domain: Domain) -> dict[str, Mapping[str, pl.DataType]]:
    """The tables of such a view, and the types of their columns."""
    tables = {n: pl.DataFrame(schema=t.polars) for n, t in domain.schema.tables.items()}
    reference = {n: t for n, t in tables.items() if domain.schema[n].reference}
    tables[LABEL.name] = pl.DataFrame(schema=LABEL.polars)
    return {n: dict(f.schema) for n, f in view.render(tables, reference).items() if "text" not in f.columns}


def _document(
    table: TargetTable, known: Mapping[str, Mapping[str, Mapping[str, pl.DataType]]]
) -> tuple[str, str, Mapping[str, pl.DataType]] | None:
    """The table of one of the domain's views that theirs is: it has its name, and nearly all of its columns."""
    for view, tables in known.items():
        for name, columns in tables.items():
            common = [c for c in table.columns if c.lower() in columns]
            if name == table.name.lower() and len(common) >= _ALIKE * len(table.columns):
                return view, name, columns
    return None


def _from_document(table: TargetTable, view: str, source: str, columns: Mapping[str, pl.DataType]) -> str:
    common = [c for c in table.columns.values() if c.name.lower() in columns and not c.made]
    text = [
        f"-- {_name(table.name)} from {view}.{source}: 1.00, the view {view} of the domain has this very table",
        f"CREATE VIEW {_name(table.name)} AS SELECT",
    ]
    for n, column in enumerate(common):
        sql = _told(f"t.{_name(column.name.lower())}", columns[column.name.lower()], column)
        text.append(f"  {sql} AS {_name(column.name)}{',' if n < len(common) - 1 else ''}  -- 1.00 the same column")
    text += [f"  -- {_name(c.name)}: filled" for c in table.columns.values() if c not in common and not c.made]
    return "\n".join([*text, f"FROM {_name(view)}.{_name(source)} AS t"]) + ";\n"


def _told(sql: str, have: pl.DataType, theirs: TargetColumn) -> str:
    """A value of a view, which may be a text, in the type that they want."""
    if theirs.kind == "text":
        text = sql if have == pl.String() else f"CAST({sql} AS VARCHAR)"
        return f"left({text}, {theirs.length})" if theirs.length else text
    if have != pl.String():
        return sql
    kinds = {"int": "BIGINT", "decimal": "DOUBLE", "float": "DOUBLE", "date": "DATE", "time": "TIME", "bool": "BOOLEAN"}
    if theirs.kind == "instant":
        return f"CAST(CAST({sql} AS TIMESTAMPTZ) AS TIMESTAMP)"
    return f"CAST({sql} AS {kinds[theirs.kind]})" if theirs.kind in kinds else sql


def _keys_of(
    table: TargetTable, target: Target, documents: Mapping[str, Any], sources: Mapping[str, Any]
) -> str | None:
    """Rows for a table that no table of ours fills, one for each key that those which a view of ours fills refer to."""
    if table.rows or table.name in sources or len(table.key) != 1:
        return None
    said = []
    for name, (_, _, columns) in documents.items():
        for reference in target.tables[name].references:
            column = reference.columns[0]
            if reference.table == table.name and reference.parents == table.key and column.lower() in columns:
                said.append(f"SELECT {_name(column)} AS k FROM {_name(name)}")  # noqa: S608
    if not said:
        return None
    union = "\n  UNION ".join(said)
    said_of = f"-- {_name(table.name)}: every key that the views above refer to; all else of it is filled"
    query = f"SELECT DISTINCT k AS {_name(table.key[0])} FROM (\n  {union}\n) WHERE k IS NOT NULL ORDER BY k"  # noqa: S608
    return f"{said_of}\nCREATE VIEW {_name(table.name)} AS {query};\n"


def _count(table: TargetTable, target: Target) -> int:
    """How many rows a table of which we know nothing gets: twenty, or as many as its unique columns can tell apart."""
    count = _FILLED
    for unique in (u for u in table.uniques if u.where is None):
        able = 1
        for name in unique.columns:
            column = table.columns[name]
            parents = [
                target.tables[r.table].rows or _FILLED
                for r in table.references
                if name in r.columns and r.table in target.tables
            ]
            able *= min(parents) if parents else len(column.choices) or (2 if column.kind == "bool" else _FILLED)
        count = min(count, able)
    return max(count, 1)


def _source(table: TargetTable, domain: Domain) -> tuple[str, float] | None:
    """The table of ours that is most like theirs, and how much."""
    best: tuple[str, float] | None = None
    for ours in domain.schema.tables.values():
        own = [c for c in table.columns.values() if not _linked(table, c) and c.name not in table.key and not c.made]
        found = [m.confidence for c in own if (m := _match(c, table, ours, domain))]
        name = kin(table.name, ours.name)
        score = round(0.5 * name + 0.5 * sum(found) / max(len(own), 1), 3) if name or len(found) >= 3 else 0.0
        if (score >= _SURE or name >= _NAMED) and (best is None or score > best[1]):
            best = (ours.name, score)
    return best


def _view(table: TargetTable, target: Target, domain: Domain, sources: Mapping[str, tuple[str, float]]) -> str:
    if table.rows:
        return f"-- {_name(table.name)} holds {table.rows:,} rows and keeps them: others may refer to them.\n"
    if table.name not in sources:
        links = f"; refers to {', '.join(sorted({r.table for r in table.references}))}" if table.references else ""
        none = f"-- {_name(table.name)}: no table of {domain.name} is like it, all of it is filled{links}"
        view = f"CREATE VIEW {_name(table.name)} AS SELECT n AS _row FROM range({_count(table, target)}) AS r(n);"  # noqa: S608
        return f"{none}\n{view}\n"
    source, score = sources[table.name]
    ours = domain.schema[source]
    lines, left, joins = [], [], dict[str, tuple[str, str]]()
    for column in table.columns.values():
        if column.made:
            continue
        match = _key(column, table, ours, domain.schema, sources, joins) or (
            None if column.name in table.key or _linked(table, column) else _match(column, table, ours, domain, joins)
        )
        if match:
            lines.append((f"{match.sql} AS {_name(column.name)}", f"{match.confidence:.2f} {match.reason}"))
        else:
            left.append(column.name)
    lines = lines or [("1 AS _row", "as many rows, all of them filled")]
    text = [
        f"-- {_name(table.name)} from {domain.name}.{source}: {score:.2f}",
        f"CREATE VIEW {_name(table.name)} AS SELECT",
    ]
    for n, (sql, why) in enumerate(lines):
        text.append(f"  {sql}{',' if n < len(lines) - 1 else ''}  -- {why}")
    text += [f"  -- {_name(n)}: filled" for n in left]
    text.append(f"FROM {_name(domain.name)}.{_name(source)} AS t")
    for column, (other, key) in joins.items():
        on = f"{_name(column)}.{_name(key)} = t.{_name(column)}"
        text.append(f"LEFT JOIN {_name(domain.name)}.{_name(other)} AS {_name(column)} ON {on}")
    return "\n".join(text) + ";\n"


def _key(
    column: TargetColumn,
    table: TargetTable,
    ours: TableSchema,
    schema: Schema,
    sources: Mapping[str, tuple[str, float]],
    joins: dict[str, tuple[str, str]],
) -> Match | None:
    for reference in table.references:
        if reference.columns == (column.name,) and reference.table in sources:
            parent = sources[reference.table][0]
            for name, refers in ours.references.items():
                if refers == parent:
                    return Match(f"t.{_name(name)}", 0.95, f"{name} refers to {parent}, which fills {reference.table}")
            for name, between in ours.references.items():
                for further, refers in schema[between].references.items():
                    if refers == parent:
                        joins[name] = (between, schema[between].key)
                        why = f"{further} of the {between} refers to {parent}, which fills {reference.table}"
                        return Match(f"{_name(name)}.{_name(further)}", 0.9, why)
    if table.key == (column.name,) and not _linked(table, column):
        return Match(f"t.{_name(ours.key)}", 0.95, f"the key of {ours.name}")
    return None


def _match(
    column: TargetColumn,
    table: TargetTable,
    ours: TableSchema,
    domain: Domain,
    joins: dict[str, tuple[str, str]] | None = None,
) -> Match | None:
    best, chosen = None, "t"
    candidates = [("t", c, 1.0) for c in ours.columns.values()]
    for name, parent in ours.references.items():
        candidates += [(name, c, 0.85) for c in domain.schema[parent].columns.values()]
    for alias, candidate, weight in candidates:
        if column.kind not in _KINDS[candidate.type] or candidate.type == "id":
            continue
        said, why = _likeness(column.name, candidate.name, table.name, ours.name)
        confidence = round(said * weight, 2)
        if confidence < _LEAST or (best and best.confidence >= confidence):
            continue
        open_ended = candidate.null and not column.null
        if open_ended and candidate.type not in ("date", "instant"):
            continue
        if column.choices and not set(candidate.codes or ("",)) <= set(column.choices):
            continue
        where = "" if alias == "t" else f" of the row that {alias} refers to"
        source = ours if alias == "t" else domain.schema[ours.references[alias]]
        best = Match(
            _cast(alias, candidate, column, source),
            confidence,
            f"{candidate.name}{where}: {why}{_OPEN if open_ended else ''}",
        )
        chosen = alias
    if best and joins is not None and chosen != "t":
        parent = domain.schema[ours.references[chosen]]
        joins[chosen] = (parent.name, parent.key)
    return best


def _likeness(theirs: str, ours: str, table: str, source: str) -> tuple[float, str]:
    a = [w for w in words(theirs) if w not in words(table)] or list(words(theirs))
    b = [w for w in words(ours) if w not in words(source)] or list(words(ours))
    if a == b:
        return 1.0, "the same name"
    meant = concept(theirs)
    if meant and meant == concept(ours):
        return 0.9, f"both are a {meant.replace('_', ' ')}"
    common = len(set(a) & set(b)) / len(set(a) | set(b))
    return common * 0.9, "names alike"


def _cast(alias: str, ours: Column, theirs: TargetColumn, source: TableSchema) -> str:
    sql = f"{alias if alias == 't' else _name(alias)}.{_name(ours.name)}"
    if ours.null and not theirs.null and ours.type in ("date", "instant"):
        sql = f"coalesce({sql}, {'DATE' if ours.type == 'date' else 'TIMESTAMPTZ'} '9999-12-31')"
    if ours.type == "money" and theirs.kind in ("decimal", "float"):
        known = source.columns.get("currency")
        at = f"{alias if alias == 't' else _name(alias)}.{_name('currency')}" if known else None
        return major_sql(sql, at, known.codes if known else ())
    if theirs.kind == "text":
        text = sql if ours.type in ("text", "code") else f"CAST({sql} AS VARCHAR)"
        return f"left({text}, {theirs.length})" if theirs.length else text
    if theirs.kind in ("date", "instant") and ours.type != {"instant": "instant", "date": "date"}[theirs.kind]:
        return f"CAST({sql} AS {'DATE' if theirs.kind == 'date' else 'TIMESTAMP'})"
    return sql


def _linked(table: TargetTable, column: TargetColumn) -> bool:
    return any(column.name in r.columns for r in table.references)


def _name(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
