"""Checks: what the schema says, and what a domain adds. One code path for a block being built and for data found on disk."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ..domain import Domain
from ..scenario import Use
from ..schema import LABEL, Column, TableSchema
from ..tables import Table, Tables

VIOLATION = {"check": pl.String, "table": pl.String, "row_key": pl.Int64, "detail": pl.String}


@dataclass(frozen=True)
class RowRule:
    """`broken` is true for every row that violates the rule."""

    name: str
    broken: pl.Expr
    doc: str


def violations(check: str = "", table: str = "", keys: pl.Series | None = None, detail: str = "") -> Table:
    """Violating rows in the one shape they are reported in."""
    if keys is None or not len(keys):
        return _NONE
    return pl.select(
        pl.lit(check).alias("check"),
        pl.lit(table).alias("table"),
        keys.cast(pl.Int64).alias("row_key"),
        pl.lit(detail).alias("detail"),
    )


_NONE = pl.DataFrame(schema=VIOLATION)
# no query at import: it would start threads that a forked worker has not got
_NONE_OF_A_CHECK = pl.DataFrame(schema={name: kind for name, kind in VIOLATION.items() if name != "check"})


def gathered(found: Sequence[Table]) -> Table:
    """The violations of several looks, as a check gives them: the check's own name is not among their columns."""
    some = [rows for rows in found if rows.height]
    return pl.concat(some).drop("check") if some else _NONE_OF_A_CHECK


@lru_cache(1024)
def row_rules(spec: TableSchema) -> Sequence[RowRule]:
    """Every rule of a table that one row can break by itself."""
    rules = [rule for column in spec.columns.values() for rule in _column_rules(spec.name, column)]
    for check in spec.checks:
        rules.append(RowRule(f"{spec.name}.{check.name}", ~pl.sql_expr(check.sql).fill_null(True), check.doc))
    return tuple(rules)


def check_names(domain: Domain) -> list[str]:
    """The name of every check there is in a domain: what a scenario's `breaks` may say."""
    names = [c.name for c in domain.checks]
    for spec in domain.schema.tables.values():
        names += [r.name for r in row_rules(spec)] + [f"{spec.name}.key"]
        names += [f"{spec.name}.{c}.reference" for c in spec.references]
        names += [f"{spec.name}.{c.name}.each" for c in spec.columns.values() if c.each]
    return names


def check_tables(
    domain: Domain,
    tables: Tables,
    judge: set[str],
    elsewhere: Mapping[str, pl.Series] | None = None,
    units: tuple[int, int] | None = None,
    label: Table | None = None,
) -> Table:
    """All violations in the tables named by `judge`: columns check, table, row_key, detail.

    While building a block, `units` is its span and `elsewhere` holds keys of rows that other blocks make. With `label`, checks that ask for it run too.
    """
    found = [violations()]
    for name in domain.schema.tables:
        if name in judge and name in tables:
            found += _check_rows(tables[name], domain.schema[name])
            found += _check_keys(domain, tables, name, elsewhere or {}, units[0] if units else 0)
    lazy = {name: table.lazy() for name, table in tables.items()}
    if label is not None:
        lazy[LABEL.name] = label.lazy()
    for check in domain.checks:
        if set(check.tables) <= lazy.keys() and judge & set(check.tables):
            rows = check.run(lazy)
            if rows.height:
                named = (pl.col(c).cast(VIOLATION[c]) for c in list(VIOLATION)[1:])
                found.append(rows.select(pl.lit(check.name).alias("check"), *named))
    return pl.concat(found)


def declared_and_not(found: Table, label: Table, uses: Sequence[Use]) -> tuple[Table, Table]:
    """Split violations: those that no scenario accounts for, and those on rows whose scenario declares that it breaks the check."""
    if found.is_empty():
        return found, found.with_columns(pl.lit("").alias("scenario"))
    breaks = pl.DataFrame(
        [(u.scenario.name, b) for u in uses for b in u.scenario.excused],
        schema={"scenario": pl.String, "check": pl.String},
        orient="row",
    ).unique()
    known = label.select("scenario", "table", "row_key")
    known = known.filter(pl.col("scenario").is_in(breaks["scenario"].unique().implode()))
    known = known.join(found.select("table", "row_key").unique(), on=["table", "row_key"], how="semi")
    excused = known.unique().join(breaks, on="scenario")
    keys = ["check", "table", "row_key"]
    return found.join(excused, on=keys, how="anti"), found.join(excused, on=keys, how="inner")


def _column_rules(table: str, column: Column) -> list[RowRule]:
    at, value = f"{table}.{column.name}", pl.col(column.name)
    rules = []
    if not column.null:
        rules.append(RowRule(f"{at}.null", value.is_null(), "has no value"))
    for bound, broken, word in (
        ("min", value < _literal(column.min), "below"),
        ("max", value > _literal(column.max), "above"),
    ):
        limit = getattr(column, bound)
        if limit is not None:
            rules.append(RowRule(f"{at}.{bound}", broken.fill_null(False), f"{word} {limit}"))
    if column.type == "float":
        rules.append(RowRule(f"{at}.finite", (~value.is_finite()).fill_null(False), "not a finite number"))
    if column.codes:
        rules.append(
            RowRule(
                f"{at}.codes",
                ~value.cast(pl.String).is_in(column.codes).fill_null(True),
                "not in the code list",
            )
        )
    if column.pattern:
        rules.append(
            RowRule(
                f"{at}.pattern",
                ~value.str.contains(column.pattern).fill_null(True),
                f"not like {column.pattern}",
            )
        )
    return rules


def _literal(value: object) -> pl.Expr:
    return pl.lit(value).str.to_date() if isinstance(value, str) else pl.lit(value)


def _check_rows(table: Table, spec: TableSchema) -> list[Table]:
    rules = [r for r in row_rules(spec) if not _kept_anyway(r, spec, table)]
    counts = table.select(r.broken.sum().alias(str(n)) for n, r in enumerate(rules)).row(0) if rules else ()
    return [
        violations(r.name, spec.name, table.filter(r.broken)[spec.key], r.doc)
        for r, n in zip(rules, counts, strict=True)
        if n
    ]


def _kept_anyway(rule: RowRule, spec: TableSchema, table: Table) -> bool:
    """Whether a rule needs no look at each row: the column's type keeps it, or its least and greatest value do."""
    _, name, *what = rule.name.split(".")
    if not what or name not in spec.columns or name not in table.columns:
        return False
    values, column = table[name], spec.columns[name]
    if what == ["codes"]:
        return isinstance(values.dtype, pl.Enum)
    if what == ["null"]:
        return not values.null_count()
    if not values.dtype.is_numeric() or isinstance(values.dtype, pl.Decimal) or values.null_count() or not len(values):
        return False
    known = values.to_numpy()  # whose least and greatest are no numbers where any is not
    if what == ["min"]:
        return bool(known.min() >= column.min)
    if what == ["max"]:
        return bool(known.max() <= column.max)
    return what == ["finite"] and bool(np.isfinite(known.min()) and np.isfinite(known.max()))


def _check_keys(
    domain: Domain, tables: Tables, name: str, elsewhere: Mapping[str, pl.Series], before: int
) -> list[Table]:
    """`before`: the units below it are in blocks before this one, so a row may refer to any of them."""
    table, spec, found = tables[name], domain.schema[name], []
    key = table[spec.key]
    if not _rises(key):
        found.append(
            violations(f"{name}.key", name, key.filter(key.is_duplicated() | key.is_null()), "key is not unique")
        )
    for column, target in spec.references.items():
        if target not in tables:
            continue
        known = tables[target][domain.schema[target].key]
        if target in elsewhere:
            known = pl.concat([known, elsewhere[target].cast(known.dtype)])
        earlier = before if domain.schema[target].within is None and not domain.schema[target].reference else 0
        if not _all_known(table[column], known, earlier):
            dangling = ~table[column].is_in(known.implode()) & table[column].is_not_null()
            dangling &= ~table[column].is_between(0, earlier - 1)
            if dangling.any():
                missing = key.filter(dangling)
                found.append(violations(f"{name}.{column}.reference", name, missing, f"no such {target}"))
        if each := spec.columns[column].each:
            found.append(_cardinality(name, spec, column, each, table, tables[target][domain.schema[target].key]))
    return found


def _rises(key: pl.Series) -> bool:
    """Whether each key is greater than the one before it."""
    if key.null_count():
        return False
    if key.dtype.is_integer():
        values = key.to_numpy()
        return bool((values[1:] > values[:-1]).all())
    return key.is_sorted() and key.n_unique() == len(key)


def _all_known(refers: pl.Series, known: pl.Series, earlier: int) -> bool:
    """Whether every reference is known, or to one of the `earlier` first: where keys have no gap by the least and the greatest, else by one
    of each run of equal ones, for rows stand with their siblings for the most part; these are looked up on a map of the keys, where it is
    not much larger than they are many."""
    if not refers.dtype.is_integer() or not known.dtype.is_integer() or known.null_count() or not len(known):
        return False
    there = refers.drop_nulls() if refers.null_count() else refers
    values, keys = there.to_numpy(), known.to_numpy()
    if not len(values):
        return True
    if keys[-1] - keys[0] == len(keys) - 1 and values.min() >= keys[0] and values.max() <= keys[-1] and _rises(known):
        return True
    if refers.flags["SORTED_ASC"]:
        last = ends_of_runs(values) - 1
    else:
        last = np.append(np.flatnonzero(values[1:] != values[:-1]), len(values) - 1)
    values = values[last]
    if earlier:
        values = values[(values < 0) | (values >= earlier)]
    low, high = int(keys.min()), int(keys.max())
    if high - low > 64 * len(keys) + 4_096:
        return bool(pl.Series(values).is_in(known.implode()).all())
    if len(values) and (values.min() < low or values.max() > high):
        return False
    there = np.zeros(high - low + 1, bool)
    there[keys - low] = True
    return bool(there[values - low].all())


def ends_of_runs(values: NDArray) -> NDArray[np.int64]:
    """Where each run of equal values ends, of values in ascending order: by a search for each, quick where runs are long."""
    ends, at = [], 0
    while at < len(values):
        at += int(np.searchsorted(values[at:], values[at], "right"))
        ends.append(at)
        if len(ends) * 64 > len(values):  # they are short: looking at each value is quicker
            return np.append(np.flatnonzero(values[1:] != values[:-1]) + 1, len(values))
    return np.array(ends, np.int64)


def _cardinality(
    name: str, spec: TableSchema, column: str, each: tuple[int, int | None], table: Table, parents: pl.Series
) -> Table:
    low, high = each
    if _as_many(table[column], parents, low, high):
        return violations()
    counts = table.group_by(column).len()
    bad = counts.filter(pl.col("len") > high)[column] if high is not None else counts.clear()[column]
    few = counts.filter(pl.col("len") < low)[column]
    keys = table.filter(pl.col(column).is_in(pl.concat([bad, few]).implode()))[spec.key]
    without = parents.filter(~parents.is_in(table[column].implode())) if low else parents.clear()
    detail = f"{low}..{'*' if high is None else high} rows per {spec.columns[column].references}"
    check = f"{name}.{column}.each"
    # a parent without rows is reported by its own key, under its own table
    return pl.concat(
        [
            violations(check, name, keys, detail),
            violations(check, spec.columns[column].references or "", without, detail),
        ]
    )


def _as_many(refers: pl.Series, parents: pl.Series, low: int, high: int | None) -> bool:
    """Whether each parent has as many rows as it may, as far as one look at whole numbers tells: most times all have."""
    if not (refers.dtype.is_integer() and parents.dtype.is_integer()) or refers.null_count() or parents.null_count():
        return False
    values = refers.to_numpy()
    if (values[1:] < values[:-1]).any():
        values = np.sort(values)
    first = np.flatnonzero(np.append(True, values[1:] != values[:-1])[: len(values)])
    counts = np.diff(np.append(first, len(values)))
    if len(counts) and (counts.min() < low or (high is not None and counts.max() > high)):
        return False
    return not low or bool(np.isin(parents.to_numpy(), values[first]).all())
