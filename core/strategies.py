"""Hypothesis strategies from a schema: rows that its rules let in, and small datasets; both shrink towards what is simple.

A column is drawn by its type, bounds, codes and pattern. Columns that a row check binds together start from the simplest row that the check lets
in, and each is then varied where the columns after it can follow: hardly anything is drawn in vain.
"""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Callable, Mapping, Sequence
from itertools import product
from typing import Any

import numpy as np
from hypothesis import reject
from hypothesis import strategies as st

from .bound_columns import EARLIEST, Bound, Row, bound_columns
from .dataset import Dataset, generate
from .domain import Domain, find_domain
from .errors import UserError, unknown
from .plan import MAX_SIZE, make_plan
from .records import maker
from .schema import Column, TableSchema
from .spec import Spec, read_requests

_ITSELF = object()
"""A reference of a row to itself, until its key is known."""
_SIMPLE = object()
"""The simplest value there is beside the others."""
_EXAMPLES = 40
_KEYS = 2**53
"""Keys that a number in JSON still holds exactly."""
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
                first or min(EARLIEST.date(), last or EARLIEST.date()),
                last or max(_LATEST.date(), first or _LATEST.date()),
            )
        case _:
            return st.datetimes(EARLIEST, _LATEST, timezones=st.just(dt.UTC))


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


def _rows(domain: Domain, table: str, as_: Any, given: Mapping[str, Any]) -> st.SearchStrategy[Any]:
    spec = domain.schema[table]
    for name in given:
        if name not in spec.columns:
            raise unknown("column", name, spec.columns, f"{domain.name}.{table}")
    make, groups = maker(spec, as_), bound_columns(domain, spec)
    drawn = {n: column(c) for n, c in spec.columns.items()}
    fixed = {n: v if isinstance(v, st.SearchStrategy) else st.just(v) for n, v in given.items()}

    @st.composite
    def draw_row(draw: st.DrawFn) -> Any:
        out: Row = {}
        for group in groups:
            out.update(_draw_bound(draw, group, drawn, fixed))
        return make(**{n: out[n] for n in spec.columns})

    return draw_row()


def _draw_bound(
    draw: st.DrawFn, bound: Bound, drawn: Mapping[str, st.SearchStrategy[Any]], fixed: Mapping[str, Any]
) -> Row:
    """Values of columns that belong together: the simplest, and column by column another for which those before it stay and those after it may follow.

    So a column is as simple as can be or was drawn itself, and whatever was drawn shrinks by itself.
    """
    if not bound.checked:
        return {n: draw(fixed.get(n, drawn[n])) for n in bound.names}
    kept = {n: draw(fixed[n]) for n in bound.names if n in fixed}
    values = {**draw(st.sampled_from(bound.simplest)), **kept}
    if kept and not bound.holds(values):
        values = bound.completed(kept)
        if values is None:
            reject()
    for name in (n for n in bound.names if n not in fixed):
        other = draw(st.just(_SIMPLE) | drawn[name])
        trial = values if other is _SIMPLE else {**values, name: other}
        if trial is not values and not bound.holds(trial):
            trial = bound.completed({**kept, name: other}) or values
        values = trial
        kept[name] = values[name]
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
    groups = {n: bound_columns(domain, domain.schema[n]) for n in order}
    drawn = {n: {c.name: column(c) for c in domain.schema[n].columns.values()} for n in order}
    for spec in (domain.schema[n] for n in order):
        # what lies within the largest dataset's last unit still has a key of 64 bits
        drawn[spec.name][spec.key] = st.integers(0, MAX_SIZE - 1)

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
    groups: Sequence[Bound],
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
        values = _draw_bound(draw, group, drawn, {n: st.just(links[n]) for n in mine} if not group.checked else {})
        if group.checked and mine:
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
