"""Hypothesis strategies from a schema: rows that its rules let in, and small datasets; both shrink towards what is simple.

A column is drawn by its type, bounds, codes and pattern. Columns that a row check binds together start from a row that the check lets in, the
simplest first, and each is then varied for as long as the check holds: nothing is drawn in vain.
"""

from __future__ import annotations

import datetime as dt
import math
import re
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from itertools import product
from typing import Any

import numpy as np
import polars as pl
from hypothesis import reject
from hypothesis import strategies as st

from .dataset import Dataset, generate
from .domain import Domain, find_domain
from .errors import UserError, unknown
from .plan import make_plan
from .records import maker
from .schema import Column, TableSchema
from .spec import Spec, read_requests

Row = dict[str, Any]
_ITSELF = object()
"""A reference of a row to itself, until its key is known."""
_EXAMPLES = 40
_COMBINED = 50_000
"""Combinations of simple values that are tried, at most."""
_KEYS = 2**53
"""Keys that a number in JSON still holds exactly."""
_EARLIEST = dt.datetime(2000, 1, 1)  # what datetimes shrink to
_LATEST = dt.datetime(2100, 1, 1)
_TEXT = st.text(st.characters(codec="utf-8", exclude_categories=("Cc", "Cs")), min_size=1, max_size=40)


def row(domain: str, table: str, as_: str | type | Callable[..., Any] = "dict", **given: Any) -> st.SearchStrategy[Any]:
    """Rows of a table. `as_` is as in `data.records`; a column given by name is that value, or is drawn from that strategy.

    References are numbers: no row has to stand behind them (`tables` gives those). Raises UserError for an unknown table, column or form.
    """
    return _rows(find_domain(domain), table, as_, given)


def tables(domain: str, *names: str, max_rows: int = 3) -> st.SearchStrategy[dict[str, list[Row]]]:
    """A few rows of each named table and of all that they refer to, by table: keys differ, references are met, row checks hold. What a domain's
    validators ask across rows (a ledger that balances) is for `dataset`.

    Raises UserError for an unknown table.
    """
    return _linked(find_domain(domain), names, max_rows)


def dataset(
    domain: str,
    *,
    max_size: int = 3,
    days: tuple[int, int] = (7, 31),
    scenarios: Sequence[str | Mapping[str, Any]] = (),
) -> st.SearchStrategy[Dataset]:
    """Whole datasets that every validator lets in, as `populace.generate` makes them: of 1 to `max_size` root entities over some `days`, with any of
    the `scenarios`. They shrink to one entity, the shortest window, seed 0 and no scenario. A draw takes about a tenth of a second, so the
    test needs `@settings(deadline=None)`.
    """
    found = find_domain(domain)
    requests = read_requests(scenarios)
    make_plan(Spec(domain, max_size, scenarios=requests))  # whatever is wrong in them is told here
    start = dt.date.fromisoformat(found.window[0])

    @st.composite
    def draw_dataset(draw: st.DrawFn) -> Dataset:
        size, length = draw(st.integers(1, max_size)), draw(st.integers(*days))
        end = start + dt.timedelta(days=length)
        chosen = tuple(r for r in requests if draw(st.booleans()))
        seed = draw(st.integers(0, 2**31 - 1))
        plan = make_plan(Spec(domain, size, seed, start.isoformat(), end.isoformat(), chosen))
        try:
            return generate(plan)
        except UserError:  # too few entities for what a scenario casts
            reject()

    return draw_dataset()


def column(spec: Column) -> st.SearchStrategy[Any]:
    """The values that a column's own rules let in."""
    values = _values(spec)
    return st.none() | values if spec.null else values


def _values(spec: Column) -> st.SearchStrategy[Any]:
    low, high = spec.min, spec.max
    match spec.type:
        case "code":
            return st.sampled_from(spec.codes)
        case "bool":
            return st.booleans()
        case "text":
            if spec.pattern:
                return st.from_regex(spec.pattern.removeprefix("^").removesuffix("$"), fullmatch=True)
            return _TEXT
        case "id":
            return st.integers(low or 0, high or _KEYS)
        case "int" | "int32" | "money":
            widest = 10**12 if spec.type == "money" else 2**31 - 1
            return st.integers(
                (-widest if high is None or high > -widest else None) if low is None else math.ceil(low),
                (widest if low is None or low < widest else None) if high is None else math.floor(high),
            )
        case "float" | "float32":
            return _measures(spec)
        case "date":
            first, last = (dt.date.fromisoformat(x) if x else None for x in (low, high))
            return st.dates(
                first or min(_EARLIEST.date(), last or _EARLIEST.date()),
                last or max(_LATEST.date(), first or _LATEST.date()),
            )
        case _:
            return st.datetimes(_EARLIEST, _LATEST, timezones=st.just(dt.UTC))


def _measures(spec: Column) -> st.SearchStrategy[float]:
    if spec.decimals is None:
        width = 32 if spec.type == "float32" else 64
        low, high = (x if x is None else _held(float(x), width, up) for x, up in ((spec.min, True), (spec.max, False)))
        return st.floats(low, high, allow_nan=False, allow_infinity=False, width=width)
    unit = 10**spec.decimals
    widest = 10**6 * unit
    low = -widest if spec.min is None else math.ceil(spec.min * unit)
    high = widest if spec.max is None else math.floor(spec.max * unit)
    return st.integers(min(low, high), max(high, low)).map(lambda n: n / unit)


def _held(bound: float, width: int, up: bool) -> float:
    """The bound, or the next number within it that the width holds."""
    if width == 64:
        return bound
    near = np.float32(bound)
    if (float(near) < bound) if up else (float(near) > bound):
        near = np.nextafter(near, np.float32(np.inf if up else -np.inf))
    return float(near)


class _Group:
    """Columns that row checks bind together, and rows of them that the checks let in, the simplest first."""

    def __init__(self, spec: TableSchema, names: tuple[str, ...], checks: Sequence[str], real: pl.DataFrame) -> None:
        self.names = names
        self._schema = {n: spec.columns[n].dtype for n in names}
        self._broken = [~pl.sql_expr(sql).fill_null(True) for sql in checks]
        self.bound = bool(checks)
        self.simple, self.real = self._found(spec, real) if checks else ([], [])

    def _found(self, spec: TableSchema, real: pl.DataFrame) -> tuple[list[Row], list[Row]]:
        """Combinations of simple values that the checks let in, one for each set of codes, the simplest first; then real rows."""
        seen = real.select(self.names)
        self._values = {n: _simple(spec.columns[n], seen[n]) for n in self.names}
        made = self._combined(self._values)
        codes = [n for n in self.names if spec.columns[n].type in ("code", "bool")]
        made = made.unique(codes, keep="first", maintain_order=True) if codes else made.head(_EXAMPLES)
        real_ = seen.filter(~pl.any_horizontal(self._broken)).unique(maintain_order=True).head(_EXAMPLES)
        return made.to_dicts(), real_.to_dicts()

    def completed(self, given: Row) -> Row | None:
        """The simplest row that the checks let in with some values given, made of these and of simple ones."""
        values = {n: [given[n]] if n in given else list(v) for n, v in self._values.items()}
        for name in (n for n in values if n not in given):
            kin = [v for n, v in given.items() if self._schema[n] == self._schema[name] and v is not None]
            values[name] += [v for v in kin if v not in values[name]]
        return next(iter(self._combined(values).head(1).to_dicts()), None)

    def _combined(self, values: Mapping[str, Sequence[Any]]) -> pl.DataFrame:
        """All combinations of some values that the checks let in, the simplest first; of fewer values, where they would be too many."""
        able = {n: list(v) for n, v in values.items()}
        while math.prod(map(len, able.values())) > _COMBINED:
            max(able.values(), key=len).pop()
        index = np.unravel_index(np.arange(math.prod(map(len, able.values()))), [len(v) for v in able.values()])
        frame = pl.DataFrame(
            [pl.Series(n, v, self._schema[n]).gather(i) for (n, v), i in zip(able.items(), index, strict=True)]
        )
        ranked = frame.with_columns(pl.Series("_rank", np.sum(index, axis=0)))
        return ranked.filter(~pl.any_horizontal(self._broken)).sort("_rank", maintain_order=True).drop("_rank")

    def holds(self, values: Mapping[str, Any]) -> bool:
        if not self._broken:
            return True
        frame = pl.DataFrame({n: [values[n]] for n in self.names}, schema=self._schema)
        return not frame.select(pl.any_horizontal(self._broken)).item()


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
            first = max(_EARLIEST.date(), dt.date.fromisoformat(spec.min)) if spec.min else _EARLIEST.date()
            return [*nothing, first, first + dt.timedelta(days=1)]
        case "instant":
            first = _EARLIEST.replace(tzinfo=dt.UTC)
            return [*nothing, first, first + dt.timedelta(days=1)]
    low, high = spec.min, spec.max
    zero = 0 if spec.type in ("id", "int", "int32", "money") else 0.0
    first = low if low is not None and low > zero else high if high is not None and high < zero else zero
    return [*nothing, first, *([first + 1] if high is None or first + 1 <= high else [])]


@cache
def _example(domain: str) -> Dataset:
    return generate(make_plan(Spec(domain, size=3)))


def _groups(domain: Domain, spec: TableSchema) -> list[_Group]:
    """The columns of a table, parted by the checks that bind them."""
    sets: list[tuple[set[str], list[str]]] = [({name}, []) for name in spec.columns]
    for check in spec.checks:
        bound = {n for n in spec.columns if re.search(rf"\b{re.escape(n)}\b", check.sql)}
        met = [s for s in sets if s[0] & bound]
        sets = [s for s in sets if s not in met]
        sets.append((set().union(*(s[0] for s in met)), [sql for s in met for sql in s[1]] + [check.sql]))
    real = _example(domain.name).frames.get(spec.name) if spec.checks else None
    if real is None:
        real = pl.DataFrame(schema=spec.polars)
    order = list(spec.columns)
    return [_Group(spec, tuple(sorted(names, key=order.index)), checks, real) for names, checks in sets]


def _rows(domain: Domain, table: str, as_: Any, given: Mapping[str, Any]) -> st.SearchStrategy[Any]:
    spec = domain.schema[table]
    for name in given:
        if name not in spec.columns:
            raise unknown("column", name, spec.columns, f"{domain.name}.{table}")
    make, groups = maker(spec, as_), _groups(domain, spec)
    drawn = {n: column(c) for n, c in spec.columns.items()}
    fixed = {n: v if isinstance(v, st.SearchStrategy) else st.just(v) for n, v in given.items()}

    @st.composite
    def draw_row(draw: st.DrawFn) -> Any:
        out: Row = {}
        for group in groups:
            out.update(_draw_group(draw, group, drawn, fixed))
        return make(**{n: out[n] for n in spec.columns})

    return draw_row()


def _draw_group(
    draw: st.DrawFn, group: _Group, drawn: Mapping[str, st.SearchStrategy[Any]], fixed: Mapping[str, Any]
) -> Row:
    if not group.bound:
        return {n: draw(fixed.get(n, drawn[n])) for n in group.names}
    given = {n: draw(fixed[n]) for n in group.names if n in fixed}
    kinds = [st.sampled_from(e) for e in (group.simple, group.real) if e]
    values = {**draw(st.one_of(kinds)), **given}
    if given and not group.holds(values):
        completed = group.completed(given)
        if completed is None:
            reject()
        values = completed
    for name in group.names:
        if name not in given and draw(st.booleans()) and group.holds(trial := {**values, name: draw(drawn[name])}):
            values = trial
    return values


def _linked(domain: Domain, names: Sequence[str], max_rows: int) -> st.SearchStrategy[dict[str, list[Row]]]:
    wanted: set[str] = set()
    open_ = list(names)
    while open_:
        if (name := open_.pop()) not in wanted:
            wanted.add(name)
            open_ += domain.schema[name].references.values()
    if not wanted:
        raise UserError(f"{domain.name}: which tables? Known: {', '.join(domain.schema.tables)}")
    order = [n for n in domain.schema.tables if n in wanted]
    groups = {n: _groups(domain, domain.schema[n]) for n in order}
    drawn = {n: {c.name: column(c) for c in domain.schema[n].columns.values()} for n in order}

    @st.composite
    def draw_tables(draw: st.DrawFn) -> dict[str, list[Row]]:
        out: dict[str, list[Row]] = {n: [] for n in order}
        for name in order:
            spec = domain.schema[name]
            for _ in range(draw(st.integers(1, max_rows))):
                if (made := _draw_linked(draw, domain, spec, groups[name], drawn[name], out)) is not None:
                    out[name].append(made)
        return out

    return draw_tables()


def _draw_linked(
    draw: st.DrawFn,
    domain: Domain,
    spec: TableSchema,
    groups: Sequence[_Group],
    drawn: Mapping[str, st.SearchStrategy[Any]],
    there: Mapping[str, Sequence[Row]],
) -> Row | None:
    """One more row of a table, or None where nothing stands that it could refer to, or its key is taken."""
    choices: dict[str, list[Any]] = {}
    for name, target in spec.references.items():
        keys = [r[domain.schema[target].key] for r in there[target]]
        keys += [_ITSELF] if target == spec.name else []
        choices[name] = [*([None] if spec.columns[name].null else []), *keys]
        if not choices[name]:
            return None
    links = {n: draw(st.sampled_from(c)) for n, c in choices.items()}
    out: Row = {}
    for group in groups:
        mine = [n for n in group.names if n in links]
        values = _draw_group(draw, group, drawn, {n: st.just(links[n]) for n in mine} if not group.bound else {})
        if group.bound and mine:
            wishes = [tuple(links[n] for n in mine), *product(*(choices[n] for n in mine))]
            able = next((w for w in wishes if group.holds({**values, **dict(zip(mine, w, strict=True))})), None)
            if able is None:
                return None
            values |= dict(zip(mine, able, strict=True))
        out |= values
    if spec.within is not None:
        out[spec.key] = out[spec.within] * spec.fan + draw(st.integers(0, min(spec.fan, _EXAMPLES) - 1))
    out = {n: out[spec.key] if v is _ITSELF else v for n, v in out.items()}
    if out[spec.key] in {r[spec.key] for r in there[spec.name]}:
        return None
    return {n: out[n] for n in spec.columns}
