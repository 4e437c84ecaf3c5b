"""Complete what a mapping leaves open: keys, references, and values by type, name and constraint, so that a database lets every row in."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
import polars as pl

from ..domain import Window
from ..errors import UserError, unknown
from ..stream import Stream
from ..tables import Table
from .rules import Hint, Rule, rules_of
from .target import Reference, Target, TargetColumn, TargetTable
from .values import distinct, draw

_ROUNDS = 64
_PART = 100_000
"""Rows of a table that are in memory with all their columns."""
_SHARE_NULL = 0.1
"""Of the values that may be missing and that nothing asks for, so many are."""


def fill(
    target: Target, given: Mapping[str, pl.LazyFrame], standing: Mapping[str, Table], stream: Stream, window: Window
) -> dict[str, Iterator[Table]]:
    """Whole rows for each table in `given`, whose frames hold some of a table's columns, at their height, in parts. `standing` holds the columns
    that are referred to of the tables that keep the rows they have. Of a table only the columns that keys, references and unique constraints
    concern are in memory as a whole.

    Raises UserError, naming table and column, for what cannot be: too few distinct values, references without rows to refer to, a check that
    no drawn value meets.
    """
    rules = {name: rules_of(target.tables[name], target.dialect, target.place) for name in given}
    columns = {name: _known(target.tables[name], frame, target.place) for name, frame in given.items()}
    narrow = {name: _narrow(target, name, rules[name][0], set(columns[name])) for name in given}
    drafts = {name: _start(frame, [c for c in columns[name] if c in narrow[name]]) for name, frame in given.items()}
    drafts = _rekeyed(target, drafts, stream, window)
    for name, frame in drafts.items():
        drafts[name] = _numbered(target.tables[name], frame, rules[name][1], stream.child(name), window)
    drafts = _linked(target, drafts, standing, stream)
    for name, frame in drafts.items():
        whole = [r for r in rules[name][0] if r.columns <= narrow[name]]
        ruled, own = (whole, rules[name][1]), stream.child(name)
        frame = _completed(target.tables[name], frame, ruled[1], own, window, narrow[name])
        drafts[name] = _settled(target, name, frame, set(columns[name]), ruled, own, window)
    return {
        name: _parts(
            target,
            name,
            given[name].select(c for c in columns[name] if c not in narrow[name]),
            frame,
            rules[name],
            stream,
            window,
        )
        for name, frame in drafts.items()
    }


def _parts(
    target: Target,
    name: str,
    given: pl.LazyFrame,
    narrow: Table,
    ruled: tuple[list[Rule], dict[str, Hint]],
    stream: Stream,
    window: Window,
) -> Iterator[Table]:
    """The rows of a table, some at a time: what concerns no other row is given or drawn for these alone."""
    table, own = target.tables[name], stream.child(name)
    wide = given.collect_schema().names()
    order = [c.name for c in table.columns.values() if not c.made]
    for at in range(0, narrow.height, _PART):
        frame = narrow.slice(at, _PART)
        if wide:
            frame = frame.hstack(given.slice(at, _PART).collect())
        done = set(frame.columns)
        rules = [r for r in ruled[0] if not r.columns <= set(narrow.columns)]
        frame = _completed(table, frame, ruled[1], own, window, set(order))
        frame = _settled(target, name, frame, done, (rules, ruled[1]), own, window)
        _check_nulls(table, frame)
        yield frame.select(order)


def _narrow(target: Target, name: str, rules: list[Rule], given: set[str]) -> set[str]:
    """The columns of a table that have to be seen as a whole, and those that a check binds to such as can still be drawn again."""
    table = target.tables[name]
    linked = {c for r in table.references for c in r.columns} | set(table.key)
    found = linked | {p for t in target.tables.values() for r in t.references if r.table == name for p in r.parents}
    found |= {c for u in table.uniques for c in u.columns} | {c for r in rules if r.unique for c in r.columns}
    while more := {c for r in rules if r.columns & (found - linked - given) for c in r.columns} - found:
        found |= more
    return {c for c in found if c in table.columns and not table.columns[c].made}


def _known(table: TargetTable, given: pl.LazyFrame, place: str) -> list[str]:
    """The columns of theirs that are given. Raises UserError for one that they have not, or compute themselves."""
    names = [n for n in given.collect_schema().names() if not n.startswith("_")]
    for name in names:
        if name not in table.columns:
            raise unknown("column", name, table.columns, f"mapping of {table.name}")
        if table.columns[name].made:
            raise UserError(f"mapping of {table.name}: the database computes {name} itself; leave it out")
    return names


def _start(given: pl.LazyFrame, columns: list[str]) -> Table:
    height = given.select(pl.len()).collect().item()
    frame = pl.DataFrame({"_row": np.arange(height, dtype=np.uint64)})
    return frame.hstack(given.select(columns).collect()) if columns else frame


def _rekeyed(target: Target, drafts: dict[str, Table], stream: Stream, window: Window) -> dict[str, Table]:
    """Our keys are 64-bit numbers. A key column that cannot hold them gets values of its own, and all that refers to it follows."""
    out = dict(drafts)
    for name, frame in drafts.items():
        table = target.tables[name]
        if len(table.key) != 1 or table.key[0] not in frame.columns:
            continue
        key = table.key[0]
        column, ours = table.columns[key], frame[key]
        if _fits(column, ours):
            continue
        theirs = distinct(table, column, Hint(), frame.height, stream.child(name, key), stream.child(name), window)
        names = pl.DataFrame({"ours": ours, "theirs": theirs})
        out[name] = out[name].with_columns(theirs.alias(key))
        for child, other in drafts.items():
            for reference in target.tables[child].references:
                column_ = reference.columns[0]
                if reference.table == name and reference.parents == (key,) and column_ in other.columns:
                    looked = other.select(pl.col(column_).alias("ours")).join(
                        names, on="ours", how="left", maintain_order="left"
                    )
                    out[child] = out[child].with_columns(looked["theirs"].alias(column_))
    return out


def _fits(column: TargetColumn, values: pl.Series) -> bool:
    if column.kind == "int" and values.dtype.is_integer():
        return not values.len() or int(values.max() or 0) <= column.high  # type: ignore[arg-type]
    if column.kind == "text":
        longest = values.cast(pl.String).str.len_chars().max()
        return column.length is None or int(longest or 0) <= column.length  # type: ignore[arg-type]
    return not (column.kind == "uuid" and values.dtype.is_integer())


def _numbered(table: TargetTable, frame: Table, hints: Mapping[str, Hint], stream: Stream, window: Window) -> Table:
    """Values for the key columns that refer to nothing: they differ in one of them, the last that can."""
    optional = {c.name for c in table.columns.values() if c.null and c.name not in table.key}
    # a reference one of whose columns may be missing leaves the others free
    linked = {c for r in table.references for c in r.columns if c in optional or not optional & set(r.columns)}
    for unique in (u for u in table.uniques if u.where is None):
        open_ = [c for c in unique.columns if c not in frame.columns and c not in linked and not table.columns[c].made]
        if not open_:
            continue
        implied = any(set(u.columns) < set(unique.columns) for u in table.uniques if u.where is None)
        able = [c for c in reversed(open_) if table.columns[c].kind in ("int", "text", "uuid")]
        differs = None if implied else next(iter(able), open_[-1])
        for name in open_:
            column, named = table.columns[name], stream.child(name)
            if name == differs:
                values = distinct(table, column, hints[name], frame.height, named, stream.child("kin"), window)
            else:
                rows = frame["_row"].to_numpy()
                values = draw(table, column, hints[name], rows, named, stream.child("kin"), window)
            frame = frame.with_columns(values)
    return frame


def _linked(
    target: Target, drafts: dict[str, Table], standing: Mapping[str, Table], stream: Stream
) -> dict[str, Table]:
    """Every reference filled, parents before children where a key is made of references."""
    todo = [
        (name, reference)
        for name, frame in drafts.items()
        for reference in target.tables[name].references
        if not set(reference.columns) <= set(frame.columns)
    ]
    while todo:
        left = []
        for name, reference in todo:
            parents = drafts.get(reference.table, standing.get(reference.table))
            if parents is None or not set(reference.parents) <= set(parents.columns):
                left.append((name, reference))
                continue
            table, frame = target.tables[name], drafts[name]
            drafts[name] = frame.with_columns(
                _refer(table, reference, frame, parents, stream.child(name, *reference.columns))
            )
        if len(left) == len(todo):
            name, reference = left[0]
            raise UserError(
                f"{name}.{', '.join(reference.columns)} refers to {reference.table}, which has no rows to refer to. Give that table a view in the mapping."
            )
        todo = left
    return drafts


def _refer(table: TargetTable, reference: Reference, frame: Table, parents: Table, stream: Stream) -> list[pl.Series]:
    """For each row the row of `parents` that it refers to: any, but each once where they must differ, and one that agrees with columns that
    are set already."""
    count, rows = frame.height, frame["_row"].to_numpy()
    place = f"{table.name}.{', '.join(reference.columns)}"
    free = [c for c in reference.columns if c not in frame.columns]
    null = all(table.columns[c].null for c in free) and not set(free) & set(table.key)
    if not parents.height and not null:
        raise UserError(f"{place}: {reference.table} has no rows to refer to")
    shared = [(c, p) for c, p in zip(reference.columns, reference.parents, strict=True) if c in frame.columns]
    plain = [u for u in table.uniques if u.where is None]
    within = [
        u for u in plain if set(free) & set(u.columns) and not any(set(o.columns) < set(u.columns) for o in plain)
    ]
    others = [c for u in within for c in u.columns if c not in free]
    done = [c for c in others if c in frame.columns]
    if shared:
        index = _among(frame, parents, shared, stream, place, null)
    elif within and len(done) == len(others):
        index = _turn(frame.select(done), rows, parents.height, stream, place)
    elif within:
        index = _shuffled(stream, max(parents.height, 1))[np.arange(count) % max(parents.height, 1)]
    else:
        index = stream.integers(rows, max(parents.height, 1))
    picked = pl.Series(index)
    if (
        reference.table == table.name and null and not shared
    ):  # a tree: what a row refers to stands before it, and the first to nothing
        before = np.floor(stream.uniform(rows) * rows.astype(np.float64)).astype(np.int64)
        picked = pl.Series(np.where(rows == 0, -1, before))
    elif null and not within and not shared:
        picked = pl.Series(np.where(stream.child("null").uniform(rows) < _SHARE_NULL, -1, index))
    picked = picked.set(picked < 0, None) if parents.height else pl.Series([None] * count, dtype=pl.Int64)
    return [
        parents[p].gather(picked).alias(c)
        for c, p in zip(reference.columns, reference.parents, strict=True)
        if c in free
    ]


def _turn(done: Table, rows: np.ndarray, parents: int, stream: Stream, place: str) -> np.ndarray:
    """Rows that are alike so far take different parents in turn."""
    if not done.width:
        group, position = np.zeros(len(rows), np.uint64), np.arange(len(rows))
    else:
        ranked = done.with_columns(
            __at=pl.int_range(pl.len()).over(done.columns), __g=pl.struct(done.columns).rank("dense")
        )
        group, position = ranked["__g"].to_numpy(), ranked["__at"].to_numpy()
    if len(rows) and position.max() >= parents:
        raise UserError(
            f"{place}: {position.max() + 1:,} rows must each refer to another row, and there are {parents:,}"
        )
    order = _shuffled(stream, parents)
    return order[(stream.integers(group, parents) + position) % parents]


def _among(
    frame: Table, parents: Table, shared: list[tuple[str, str]], stream: Stream, place: str, null: bool
) -> np.ndarray:
    """A parent that has the values that the row has already."""
    on = [c for c, _ in shared]
    grouped = (
        parents.select(pl.col(p).alias(c) for c, p in shared)
        .with_row_index("__parent")
        .group_by(on, maintain_order=True)
        .agg("__parent")
    )
    found = frame.select(on).join(grouped, on=on, how="left", maintain_order="left")["__parent"]
    counts = found.list.len().fill_null(0).to_numpy()
    if not null and (counts == 0).any():
        raise UserError(
            f"{place}: {int((counts == 0).sum()):,} rows find no row to refer to with their {', '.join(on)}"
        )
    at = np.floor(stream.uniform(frame["_row"].to_numpy()) * np.maximum(counts, 1)).astype(np.int64)
    return found.list.get(pl.Series(at), null_on_oob=True).cast(pl.Int64).fill_null(-1).to_numpy()


def _shuffled(stream: Stream, count: int) -> np.ndarray:
    return np.argsort(stream.child("order").bits(np.arange(count, dtype=np.uint64)), kind="stable")


def _completed(
    table: TargetTable, frame: Table, hints: Mapping[str, Hint], stream: Stream, window: Window, wanted: set[str]
) -> Table:
    rows = frame["_row"].to_numpy()
    made = []
    for column in table.columns.values():
        if column.made or column.name in frame.columns or column.name not in wanted:
            continue
        made.append(_drawn(table, column, hints[column.name], rows, stream, window, column.name))
    return frame.with_columns(made)


def _drawn(
    table: TargetTable,
    column: TargetColumn,
    hint: Hint,
    rows: np.ndarray,
    stream: Stream,
    window: Window,
    *name: str | int,
) -> pl.Series:
    named = stream.child(*name)
    try:
        values = draw(table, column, hint, rows, named, stream.child("kin"), window)
    except UserError:
        if not column.null:
            raise
        return pl.Series(column.name, [None] * len(rows), pl.String)
    if column.null and not hint.choices:
        missing = pl.Series(named.child("null").uniform(rows) < _SHARE_NULL)
        values = values.set(missing, None) if values.dtype != pl.Binary else values
    return values


def _settled(
    target: Target,
    name: str,
    frame: Table,
    given: set[str],
    ruled: tuple[list[Rule], dict[str, Hint]],
    stream: Stream,
    window: Window,
) -> Table:
    """Rows that break a rule have the columns that it speaks of drawn again, until none does."""
    table, (rules, hints) = target.tables[name], ruled
    fixed = given | {c for r in table.references for c in r.columns} | set(table.key)
    broken_by = ""
    for attempt in range(_ROUNDS):
        again: dict[str, pl.Series] = {}
        for rule in rules:
            broken = rule.broken(frame)
            if not broken.any():
                continue
            broken_by = rule.name
            free = [c for c in table.columns if c in rule.columns and c not in fixed and not table.columns[c].made]
            if not free:
                first = frame.filter(broken).select(sorted(rule.columns & set(frame.columns))).row(0, named=True)
                raise UserError(
                    f"mapping of {name}: {int(broken.sum()):,} rows break {rule.name} ({rule.sql}); the first: {first}"
                )
            for column in free:
                again[column] = again[column] | broken if column in again else broken
        if not again:
            return frame
        rows = frame["_row"].to_numpy()
        frame = frame.with_columns(
            frame[c].zip_with(~mask, _drawn(table, table.columns[c], hints[c], rows, stream, window, c, attempt))
            for c, mask in again.items()
        )
    raise UserError(f"{name}: no values were found that meet {broken_by}. Give its columns in the mapping.")


def _check_nulls(table: TargetTable, frame: Table) -> None:
    for column in table.columns.values():
        if not column.made and not column.null and (missing := frame[column.name].null_count()):
            raise UserError(f"mapping of {table.name}: {column.name} is missing in {missing:,} rows, and it may not be")
