"""A page for people: every table and column of a domain, its type, unit, limits and references, and what is checked."""

from __future__ import annotations

from collections.abc import Iterator

from ..schema import LABEL, CodeList, Column, Schema, TableSchema

_FEW = 8  # longer code lists are named, and printed below


def as_markdown(schema: Schema) -> str:
    """One page for a domain."""
    lines = [f"# The {schema.domain} schema", ""]
    lines += [f"- [`{t.name}`](#{t.name}): {_flat(t.doc)}" for t in (*schema.tables.values(), LABEL)] + [""]
    for spec in schema.tables.values():
        lines += _table(schema, spec)
    lines += _table(schema, LABEL)
    if schema.code_lists:
        lines += ["## Code lists", ""]
        for codes in schema.code_lists.values():
            lines += _code_list(codes)
    return "\n".join(lines).rstrip() + "\n"


def _table(schema: Schema, spec: TableSchema) -> Iterator[str]:
    yield from (f"## {spec.name}", "", _flat(spec.doc), "")
    facts = [f"Key: `{spec.key}`."] if spec.key else []
    if spec.within:
        parent = spec.columns[spec.within].references
        facts.append(f"At most {spec.fan:,} for each `{parent}`: `{spec.key}` = `{spec.within}` × {spec.fan:,} + *k*.")
    if spec.reference:
        facts.append("A reference table: its size does not follow `--size`.")
    users = [f"`{t.name}.{c}`" for t in schema.tables.values() for c, r in t.references.items() if r == spec.name]
    if users:
        facts.append(f"Referred to by {', '.join(users)}.")
    if facts:
        yield from (" ".join(facts), "")
    yield from ("| column | type | may be null | rules | unit | what it is |", "|---|---|---|---|---|---|")
    for c in spec.columns.values():
        cells = (f"`{c.name}`", c.type, "yes" if c.null else "", "; ".join(_rules(schema, c)), c.unit or "", c.doc)
        yield "| " + " | ".join(_cell(x) for x in cells) + " |"
    yield ""
    if spec.checks:
        yield from ("| check | holds for every row, or is null | if not |", "|---|---|---|")
        for check in spec.checks:
            yield f"| `{spec.name}.{check.name}` | `{_cell(check.sql)}` | {_cell(check.doc)} |"
        yield ""


def _rules(schema: Schema, column: Column) -> Iterator[str]:
    if column.references:
        many = column.each and f", {column.each[0]}..{'*' if column.each[1] is None else column.each[1]} for each"
        yield f"refers to [`{column.references}`](#{column.references}){many or ''}"
    if column.min is not None:
        yield f"≥ {column.min}"
    if column.max is not None:
        yield f"≤ {column.max}"
    if column.decimals is not None:
        yield f"{column.decimals} decimals"
    if column.pattern:
        yield f"like `{column.pattern}`"
    if column.codes:
        name = next((n for n, c in schema.code_lists.items() if tuple(c.codes) == column.codes), None)
        if name:
            yield f"code list [{name}](#codes-{name})"
        else:
            shown = ", ".join(f"`{c}`" for c in column.codes[:_FEW])
            yield shown + (f" and {len(column.codes) - _FEW} more" if len(column.codes) > _FEW else "")


def _code_list(codes: CodeList) -> Iterator[str]:
    yield from (f"### Codes: {codes.name}", "")
    system = f"System: `{codes.system}`. " if codes.system else ""
    yield from (f"{system}Source: {_flat(codes.source)}", "", "| code | meaning |", "|---|---|")
    for code, display in codes.codes.items():
        yield f"| `{_cell(code)}` | {_cell(display)} |"
    yield ""


def _cell(text: str) -> str:
    return _flat(text).replace("|", "\\|")


def _flat(text: str) -> str:
    return " ".join(str(text).split())
