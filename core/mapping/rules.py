"""What a CHECK asks of one column, as far as it can be read off: the rest is met by drawing again."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

import polars as pl

from ..errors import UserError
from ..tables import Table
from .pattern import pattern_of
from .target import DIALECTS, TargetTable


@dataclass
class Hint:
    choices: tuple[Any, ...] = ()
    low: float | None = None
    high: float | None = None
    above: bool = False
    """`low` itself is not allowed."""
    below: bool = False
    shortest: int = 0
    longest: int | None = None
    pattern: str | None = None
    """A regular expression that values match somewhere."""


@dataclass(frozen=True)
class Rule:
    name: str
    sql: str
    """As DuckDB reads it: true or null for a valid row."""
    columns: frozenset[str]
    unique: tuple[str, ...] = ()
    """Where set, no two rows of which the predicate is true are alike in these columns."""

    def broken(self, frame: Table) -> pl.Series:
        """Per row, whether it breaks the rule. Of rows that are alike, the first does not."""
        import duckdb

        connection = _judge()
        connection.register("rows", frame.with_row_index("__row"))
        quoted = f"SELECT __row, ({self.sql}) AS holds FROM rows ORDER BY __row"  # noqa: S608
        try:
            holds = pl.DataFrame(pl.from_arrow(connection.sql(quoted).to_arrow_table()))["holds"]
        except duckdb.Error as error:
            raise UserError(f"check {self.name}, {self.sql}, cannot be judged: {str(error).splitlines()[0]}") from None
        finally:
            connection.unregister("rows")
        if not self.unique:
            return (holds == False).fill_null(False)  # noqa: E712
        there = frame.select(self.unique).with_columns(
            __in=holds.fill_null(False) & pl.all_horizontal(frame.select(pl.col(self.unique).is_not_null()))
        )
        return there.select(pl.col("__in") & ~pl.struct(*self.unique, "__in").is_first_distinct()).to_series()


@cache
def _judge() -> Any:
    """A DuckDB that sees nothing but the rows it is handed: what it is asked was written by others. One for all, since to open one takes longer
    than most answers."""
    import duckdb

    return duckdb.connect(config={"enable_external_access": "false", "lock_configuration": "true"})


def rules_of(table: TargetTable, dialect: str, place: str) -> tuple[list[Rule], dict[str, Hint]]:
    """The checks and unique constraints of a table, and what they ask of single columns. Raises UserError for SQL that cannot be read."""
    rules, hints = [], {name: Hint() for name in table.columns}
    for name, sql in table.checks.items():
        tree = _parse(sql, dialect, table, f"{place}: check {name} of {table.name}")
        rules.append(Rule(name, tree.sql(dialect="duckdb", identify=True), _columns(tree, table)))
        for part in _parts(tree):
            _hint(part, hints)
    for n, unique in enumerate(table.uniques):
        if unique.where is None:
            rules.append(Rule(f"unique {n + 1}", "true", frozenset(unique.columns), unique.columns))
        else:
            tree = _parse(unique.where, dialect, table, f"{place}: unique index of {table.name}")
            both = _columns(tree, table) | frozenset(unique.columns)
            rules.append(Rule(f"unique {n + 1}", tree.sql(dialect="duckdb", identify=True), both, unique.columns))
    made = {c.name for c in table.columns.values() if c.made}  # of what the database computes, it is the judge
    return [r for r in rules if not r.columns & made], hints


def _parse(sql: str, dialect: str, table: TargetTable, place: str) -> Any:
    import sqlglot
    from sqlglot.errors import SqlglotError

    logging.getLogger("sqlglot").setLevel(logging.ERROR)
    try:
        tree = sqlglot.parse_one(sql, read=DIALECTS[dialect])
    except SqlglotError as error:
        raise UserError(f"{place} cannot be read: {str(error).splitlines()[0]}") from None
    return _texts_in_double_quotes(tree, table) if dialect == "sqlite" else tree


def _texts_in_double_quotes(tree: Any, table: TargetTable) -> Any:
    """SQLite takes a name in double quotes that is no column's for a text: https://www.sqlite.org/quirks.html"""
    from sqlglot import exp

    known = {name.lower() for name in table.columns}

    def told(node: Any) -> Any:
        bare = isinstance(node, exp.Column) and node.this.args.get("quoted") and not node.table
        return exp.Literal.string(node.name) if bare and node.name.lower() not in known else node

    return tree.transform(told)


def _columns(tree: Any, table: TargetTable) -> frozenset[str]:
    from sqlglot import exp

    known = {name.lower(): name for name in table.columns}
    found = set()
    for column in tree.find_all(exp.Column):
        name = column.name if column.name in table.columns else known.get(column.name.lower(), column.name)
        column.this.set("this", name)
        found.add(name)
    return frozenset(found)


def _parts(tree: Any) -> Iterator[Any]:
    from sqlglot import exp

    tree = tree.unnest()
    if isinstance(tree, exp.And):
        yield from _parts(tree.left)
        yield from _parts(tree.right)
    else:
        yield tree


def _hint(part: Any, hints: Mapping[str, Hint]) -> None:
    from sqlglot import exp

    if isinstance(part, exp.Or):
        found = [_equal(p) for p in part.flatten()]
        named = [f for f in found if f]
        there = [p.unnest() for p in part.flatten()]
        there = [p for p in there if not (isinstance(p, exp.Is) and isinstance(p.right, exp.Null))]
        if named and len(named) == len(found) and len({name for name, _ in named}) == 1 and named[0][0] in hints:
            hints[named[0][0]].choices = tuple(value for _, values in named for value in values)
        elif len(there) == 1:
            _hint(there[0], hints)
    elif found := _equal(part):
        if found[0] in hints:
            hints[found[0]].choices = tuple(found[1])
    elif (matched := pattern_of(part)) is not None:
        on = _bare(matched[0])
        if isinstance(on, exp.Column) and on.name in hints:
            hints[on.name].pattern = matched[1]
    elif isinstance(part, exp.EQ):
        if isinstance(_bare(part.left), exp.Length):
            _bound(part.left, _value(part.right), hints, low=True)
            _bound(part.left, _value(part.right), hints, low=False)
    elif isinstance(part, exp.Between):
        _bound(part.this, _value(part.args["low"]), hints, low=True)
        _bound(part.this, _value(part.args["high"]), hints, low=False)
    elif isinstance(part, exp.GT | exp.GTE | exp.LT | exp.LTE):
        more, open_ = isinstance(part, exp.GT | exp.GTE), isinstance(part, exp.GT | exp.LT)
        if (value := _value(part.right)) is not None:
            _bound(part.left, value, hints, low=more, open_=open_)
        elif (value := _value(part.left)) is not None:
            _bound(part.right, value, hints, low=not more, open_=open_)


def _bound(on: Any, value: Any, hints: Mapping[str, Hint], low: bool, open_: bool = False) -> None:
    from sqlglot import exp

    on = _bare(on)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return
    if isinstance(on, exp.Length):
        inner = _bare(on.this)
        if isinstance(inner, exp.Column) and inner.name in hints:
            limit = int(value) + (open_ if low else -open_)
            if low:
                hints[inner.name].shortest = limit
            else:
                hints[inner.name].longest = limit
    elif isinstance(on, exp.Column) and on.name in hints:
        hint = hints[on.name]
        if low:
            hint.low, hint.above = value, open_
        else:
            hint.high, hint.below = value, open_


def _equal(part: Any) -> tuple[str, list[Any]] | None:
    """The column and its values, where the predicate says which there are."""
    from sqlglot import exp

    part = part.unnest()
    values: Iterable[Any]
    if isinstance(part, exp.In):
        on, values = part.this, part.expressions
    elif isinstance(part, exp.EQ) and isinstance(part.right, exp.Any):
        array = part.right.find(exp.Array)
        on, values = part.left, array.expressions if array is not None else []
    elif isinstance(part, exp.EQ):
        on, values = part.left, [part.right]
    else:
        return None
    on, found = _bare(on), [_value(v) for v in values]
    if not isinstance(on, exp.Column) or not found or any(v is None for v in found):
        return None
    return on.name, found


def _bare(tree: Any) -> Any:
    from sqlglot import exp

    while isinstance(tree, exp.Paren | exp.Cast):
        tree = tree.this
    return tree


def _value(tree: Any) -> Any:
    from sqlglot import exp

    tree = _bare(tree)
    if isinstance(tree, exp.Neg):
        inner = _value(tree.this)
        return -inner if isinstance(inner, int | float) else None
    if isinstance(tree, exp.Boolean):
        return bool(tree.this)
    if not isinstance(tree, exp.Literal):
        return None
    if tree.is_string:
        return tree.this
    return float(tree.this) if "." in tree.this or "e" in tree.this.lower() else int(tree.this)
