"""Columns that row checks bind together, and the simplest rows of them that the checks let in: what the Hypothesis strategies start from."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Mapping, Sequence
from functools import cache
from itertools import product
from typing import Any

import polars as pl

from .dataset import Dataset, generate
from .domain import Domain
from .plan import make_plan
from .schema import Column, TableSchema
from .spec import Spec

Row = dict[str, Any]
EARLIEST = dt.datetime(2000, 1, 1)  # what datetimes shrink to
_CANDIDATES = 50_000
"""Rows that are looked at, at most, while the simplest are searched."""
_REMEMBERED = 4_096
_SAID = 1_000


class Bound:
    """Columns that checks bind together, in the table's order; without a check, one column that nothing binds."""

    def __init__(self, spec: TableSchema, names: tuple[str, ...], checks: Sequence[str], real: pl.DataFrame) -> None:
        self.names = names
        self.checked = bool(checks)
        self._schema = {n: spec.columns[n].dtype for n in names}
        self._checks = [(_named(sql, names), ~pl.sql_expr(sql).fill_null(True)) for sql in checks]
        self._codes = [n for n in names if spec.columns[n].type in ("code", "bool")]
        self._completed: dict[tuple[tuple[str, Any], ...], Row | None] = {}
        if checks:
            seen = real.select(self.names)
            self._values = {n: _simple(spec.columns[n], seen[n]) for n in self.names}
            self.simplest = self._found(seen)

    def _found(self, seen: pl.DataFrame) -> list[Row]:
        """The simplest row that the checks let in for each set of codes, the simplest first; rows of a dataset where no simple one is let in."""
        made = self._let_in(self._values)
        if not made.height:
            made = seen.filter(~pl.any_horizontal(b for _, b in self._checks)).unique(maintain_order=True)
        return (made.unique(self._codes, keep="first", maintain_order=True) if self._codes else made.head(1)).to_dicts()

    def completed(self, given: Row) -> Row | None:
        """The simplest row that the checks let in with some values given, made of these, of what they add up to, and of simple ones."""
        key = tuple(given.items())
        if key not in self._completed:
            while len(self._completed) >= _REMEMBERED:
                del self._completed[next(iter(self._completed))]
            values = {n: [given[n]] if n in given else self._able(n, given) for n in self.names}
            self._completed[key] = next(iter(self._let_in(values).head(1).to_dicts()), None)
        return self._completed[key]

    def _able(self, name: str, given: Row) -> list[Any]:
        kin = [
            v
            for n, v in given.items()
            if v is not None and n not in self._codes and self._schema[n] == self._schema[name]
        ]
        if self._schema[name].is_numeric():
            kin += [whole - part for whole, part in product(kin, kin) if whole > part]
        return list(dict.fromkeys([*self._values[name], *kin]))

    def _let_in(self, values: Mapping[str, Sequence[Any]]) -> pl.DataFrame:
        """Rows made of some values that the checks let in, the simplest first. Checks are met one by one, and after each the simplest rows go on."""
        frame = pl.DataFrame({"_rank": [0]})
        left = list(self._checks)
        while left:
            names, broken = check = min(left, key=lambda c: len(c[0] - set(frame.columns)))
            left.remove(check)
            for name in (n for n in self.names if n in names and n not in frame.columns):
                able = pl.Series(name, values[name], self._schema[name])
                frame = frame.join(able.to_frame().with_row_index("_more"), how="cross", maintain_order="left_right")
                said = (
                    (pl.col(name).is_not_null() * _SAID) if able.has_nulls() else 0
                )  # what may be left out is, rather than be small
                frame = frame.with_columns(pl.col("_rank") + pl.col("_more") + said).drop("_more")
            frame = self._thinned(frame.filter(~broken).sort("_rank", maintain_order=True))
        return frame.select(self.names)

    def _thinned(self, frame: pl.DataFrame) -> pl.DataFrame:
        """The simplest rows of each set of codes, as many as are looked at."""
        codes = [n for n in self._codes if n in frame.columns]
        sets = frame.select(codes).n_unique() if codes else 1
        if frame.height * 4 <= _CANDIDATES:
            return frame
        nth = pl.int_range(pl.len()).over(codes) if codes else pl.int_range(pl.len())
        return frame.filter(nth < max(1, _CANDIDATES // 4 // sets))

    def holds(self, values: Mapping[str, Any]) -> bool:
        if not self._checks:
            return True
        frame = pl.DataFrame({n: [values[n]] for n in self.names}, schema=self._schema)
        return not frame.select(pl.any_horizontal(b for _, b in self._checks)).item()


def bound_columns(domain: Domain, spec: TableSchema) -> list[Bound]:
    """The columns of a table, parted by the checks that bind them."""
    sets: list[tuple[set[str], list[str]]] = [({name}, []) for name in spec.columns]
    for check in spec.checks:
        bound = _named(check.sql, spec.columns)
        met = [s for s in sets if s[0] & bound]
        sets = [s for s in sets if s not in met]
        sets.append((set().union(*(s[0] for s in met)), [sql for s in met for sql in s[1]] + [check.sql]))
    real = _example(domain.name).frames.get(spec.name) if spec.checks else None
    if real is None:
        real = pl.DataFrame(schema=spec.polars)
    order = list(spec.columns)
    return [Bound(spec, tuple(sorted(names, key=order.index)), checks, real) for names, checks in sets]


@cache
def _example(domain: str) -> Dataset:
    return generate(make_plan(Spec(domain, size=3)))


def _named(sql: str, columns: Sequence[str] | Mapping[str, Any]) -> set[str]:
    return {n for n in columns if re.search(rf"\b{re.escape(n)}\b", sql)}


def _simple(spec: Column, real: pl.Series) -> list[Any]:
    """A few values of a column, the simplest first: nothing where that may be, then the least, and what lies next to it."""
    nothing = [None] if spec.null else []
    match spec.type:
        case "code":
            return [*nothing, *spec.codes]
        case "bool":
            return [*nothing, False, True]
        case "text":
            return [*nothing, *real.drop_nulls().head(1)] if spec.pattern else [*nothing, "0"]
        case "date":
            first = max(EARLIEST.date(), dt.date.fromisoformat(spec.min)) if spec.min else EARLIEST.date()
            return [*nothing, first, first + dt.timedelta(days=1)]
        case "instant":
            first = EARLIEST.replace(tzinfo=dt.UTC)
            return [*nothing, first, first + dt.timedelta(days=1)]
    low, high = spec.min, spec.max
    zero = 0 if spec.type in ("id", "int", "int32", "money") else 0.0
    first = low if low is not None and low > zero else high if high is not None and high < zero else zero
    return [*nothing, first, *([first + 1] if high is None or first + 1 <= high else [])]
