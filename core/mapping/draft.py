"""A first mapping from a domain's tables to somebody else's, to be read and changed: each column with how sure it is, and why."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ..domain import Domain
from ..schema import Column, Schema, TableSchema
from .meaning import concept, kin, words
from .target import Target, TargetColumn, TargetTable

_SURE = 0.45
"""A table is filled from one of ours if its columns and its name together come to as much."""
_NAMED = 0.8
"""Or if the names alone say as much."""
_LEAST = 0.5
"""A column is filled from one of ours from here on."""
_OPEN = "; those without end as the year 9999"
_FILLED = 20
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
    sources = {n: s for n, t in target.tables.items() if not t.rows and (s := _source(t, domain))}
    head = [
        f"-- How {domain.name} fills {target.place}. Each view fills the table it is named after, column by column by name; a column that",
        "-- a view leaves out is filled by type, name and constraint. Ours are "
        + f"{domain.name}.TABLE (populace schema {domain.name}).",
        "-- The numbers say how sure the draft is. Read it, change it, and run:",
        f"--   populace generate {domain.name} --to {target.place} --map THIS-FILE",
        "",
    ]
    parts = [_view(table, target, domain, sources) for table in target.tables.values()]
    return "\n".join(head) + "\n".join(parts)


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
        view = f"CREATE VIEW {_name(table.name)} AS SELECT n AS _row FROM range({_FILLED}) AS r(n);"  # noqa: S608
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
        best = Match(
            _cast(alias, candidate, column), confidence, f"{candidate.name}{where}: {why}{_OPEN if open_ended else ''}"
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


def _cast(alias: str, ours: Column, theirs: TargetColumn) -> str:
    sql = f"{alias if alias == 't' else _name(alias)}.{_name(ours.name)}"
    if ours.null and not theirs.null and ours.type in ("date", "instant"):
        sql = f"coalesce({sql}, {'DATE' if ours.type == 'date' else 'TIMESTAMPTZ'} '9999-12-31')"
    if ours.type == "money" and theirs.kind in ("decimal", "float"):
        return f"{sql} / 100.0"
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
