"""Series of entities, step by step: how a table of them is read, and how steps that a network drew become rows again.

A step is a vector as a row is (`modes.Layout`, numbers by their normal scores), with the time since the step before as one more column: regular series have one value there,
irregular ones any. In windows, what often stays as it was, as sensors of coarse resolution and states do, has a column beside it that says when: networks that draw real numbers
would come near the value before and never to it, and draw each step's class by itself.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ...errors import UserError, unknown
from ...stream import F64, Stream, join_rows
from ...tables import ROW, Table, rows
from ..statistical.detect import rules_of
from ..statistical.empirical import check_learnable, marginal_state, rebuild_marginals
from ..statistical.learn_events import Roles
from ..statistical.marginal import Marginal, dtype_of, dtype_text, numbers
from ..statistical.regenerate import Rule, rebuild_rules, rule_state
from .courses import KNOTS, drawn_places, rebuild_courses, with_drawn
from .draw import choose_class
from .learnt import Learnt, rebuild_learnt
from .modes import Layout

F32 = NDArray[np.float32]
I64 = NDArray[np.int64]

GAP = "_gap"
"""The name of the time since the step before, among the columns of a step."""
STAYS = "_stays_"
"""What the name of a column that says whether another is as at the step before begins with."""
SERIES = "series"
"""The name of the entity where the table is one series without any."""
_CHUNK = 128
_CALIBRATED = 1_024
"""How many series say what places a network draws."""


@dataclass(frozen=True)
class Read:
    """A table of series: entities one after another, each in order of time."""

    entity: Rule
    time: tuple[str, str]
    """The name of the column of times, and its type."""
    steps: Table
    """The value columns and the gap, a row for each step."""
    lengths: I64
    """Steps of each entity."""
    starts: F64
    """Each entity's first time."""
    order: tuple[str, ...]
    """The columns of the table, in its order."""


def read_series(table: Table, roles: Roles) -> Read:
    """Raises UserError for roles that the table does not have, missing entities or times, or nothing beside them."""
    check_learnable(table)
    order = tuple(table.columns)
    for name in (roles.entity, roles.time):
        if name and name not in table.columns:
            raise unknown("column", name, table.columns, "series")
    if GAP in table.columns:
        raise UserError(f"the table has a column '{GAP}', a name that populace keeps for itself")
    whose = roles.entity or SERIES
    if not roles.entity:
        if SERIES in table.columns:
            raise UserError(f"the table has a column '{SERIES}' and no entity is named: is it --entity {SERIES}?")
        table, order = table.with_columns(pl.lit(1).alias(SERIES)), (SERIES, *order)
    for name in (whose, roles.time):
        if table[name].null_count():
            raise UserError(f"column '{name}': is missing in {table[name].null_count():,} rows of series")
    values = [c for c in table.columns if c not in (whose, roles.time)]
    if not values:
        raise UserError("the table has nothing beside the entity and the time: there is no series to learn")
    dtype = table.schema[roles.time]
    if not (dtype.is_numeric() or dtype.is_temporal()):
        raise UserError(f"column '{roles.time}' has type {dtype}, expected times or numbers")
    ordered = table.sort(whose, roles.time, maintain_order=True)
    first = (ordered[whose] != ordered[whose].shift(1)).fill_null(True).to_numpy()
    time = numbers(ordered[roles.time], dtype)[0].astype(np.float64)
    gap = np.diff(time, prepend=time[:1])
    # a first step has none: that of the second says how the series goes on
    gap[first] = np.append(gap[1:], 0.0)[first]
    gap[first & np.append(first[1:], True)] = 0.0
    steps = ordered.select(values).with_columns(pl.Series(GAP, gap))
    keys = ordered[whose].filter(pl.Series(first))
    found = rules_of(keys.to_frame())
    whole = keys.dtype.is_integer()
    rule = Rule(whose, "number" if whole else "uuid", dtype_text(keys.dtype), unique=True, counted=True)
    if not whole and keys.dtype != pl.String:
        raise UserError(f"column '{whose}' has type {keys.dtype}, expected whole numbers or text")
    lengths = np.diff(np.append(np.flatnonzero(first), len(first)))
    rule = found[0][0] if found else rule
    return Read(rule, (roles.time, dtype_text(dtype)), steps, lengths, time[first], order)


Draw = Callable[[Mapping[str, F32], Mapping[str, Any], NDArray, Stream], tuple[F32, I64]]
"""From parameters, settings, addresses and a stream: steps of each address, shape (n, steps, width), scores of classes and then places; and how many of them count."""


@dataclass(frozen=True, eq=False)
class SeriesSampler:
    """An entity for each row given: its key, and lists of times and values. `network` names what draws, in `networks.DRAWS`."""

    network: str
    entity: Rule
    time: tuple[str, str]
    order: tuple[str, ...]
    layout: Layout
    """Of a step: the value columns and the gap."""
    start: F64
    """Evenly spaced quantiles of the first time."""
    settings: Mapping[str, Any]
    parameters: Mapping[str, F32]
    """Those that draw."""
    learnt: Learnt

    @property
    def columns(self) -> tuple[str, ...]:
        return (self.entity.column, *(c for c in self.order if c != self.entity.column))

    def sample(self, given: Table, stream: Stream) -> Table:
        address = rows(given)
        parts = [self._part(address[s : s + _CHUNK], stream) for s in range(0, max(len(address), 1), _CHUNK)]
        return pl.concat(parts, rechunk=False)

    def _part(self, address: NDArray, stream: Stream) -> Table:
        from .networks import DRAWS

        # always as many series: a product's last bits must not hang on how many there are
        count, whole = len(address), np.zeros(_CHUNK, address.dtype)
        whole[:count] = address
        out, lengths = DRAWS[self.network](self._exact, self.settings, whole, stream.child("network"))
        out, lengths, steps = out[:count].astype(np.float32), lengths[:count], out.shape[1]
        each = join_rows(address[:, None], np.arange(steps)[None, :])
        states, places = self._steps(out, each, stream)
        kept = (np.arange(steps) < lengths[:, None]).ravel()
        made: dict[str, pl.Series] = {}
        for n, marginal in enumerate(self.layout.marginals):
            if marginal.name not in self.stays.values():
                share = stream.child("value", marginal.name, "within").uniform(each.ravel())
                made[marginal.name] = self.layout.decode(n, states[n].ravel(), places[n].ravel(), share)
        gap = made.pop(GAP).cast(pl.Float64).fill_null(0.0).to_numpy().reshape(count, steps)
        grid = np.linspace(0.0, 1.0, len(self.start))
        begin = np.interp(stream.child("start").uniform(address), grid, self.start)
        time = begin[:, None] + np.cumsum(np.where(np.arange(steps) > 0, gap, 0.0), axis=1)
        made[self.time[0]] = as_times(self.time, time.ravel())
        whose = np.repeat(np.arange(count), steps)
        table = (
            pl.DataFrame({ROW: whose, **made}).filter(pl.Series(kept)).group_by(ROW, maintain_order=True).agg(pl.all())
        )
        keys = self.entity.values(address, stream.child("rule"))
        return pl.DataFrame([keys, *(table[c] for c in self.columns[1:])])

    def _steps(self, out: F32, each: NDArray, stream: Stream) -> tuple[list[I64], list[F64]]:
        """Each column's classes and places, of what the network drew; those that stay are as at the step before. Shapes (series, steps)."""
        count, steps, _ = out.shape
        flat, end = out.reshape(count * steps, out.shape[2]), int(self.layout.offsets[-1])
        places = {n: k for k, n in enumerate(self.layout.scaled)}
        states, found = [], []
        for n, marginal in enumerate(self.layout.marginals):
            scores = np.ascontiguousarray(flat[:, self.layout.offsets[n] : self.layout.offsets[n + 1]].T)
            if not marginal.missing and len(scores) > 1:
                scores[0] = -np.inf
            uniform = stream.child("value", marginal.name).uniform(each.ravel())
            state = choose_class(scores, uniform) if len(flat) else np.empty(0, np.int64)
            place = (
                np.clip(out[:, :, end + places[n]].astype(float), -1.0, 1.0) if n in places else np.zeros(each.shape)
            )
            states.append(state.reshape(count, steps))
            found.append(place)
        number = {m.name: n for n, m in enumerate(self.layout.marginals)}
        for name, beside in self.stays.items():
            n = number[name]
            stays = self.layout.decode(
                number[beside], states[number[beside]].ravel(), np.zeros(each.size), np.zeros(each.size)
            )
            moves = (stays.cast(pl.Int8).fill_null(0).to_numpy() == 0).reshape(count, steps) | (np.arange(steps) == 0)
            since = np.maximum.accumulate(np.where(moves, np.arange(steps), 0), axis=1)
            states[n], found[n] = (np.take_along_axis(a, since, axis=1) for a in (states[n], found[n]))
        return states, found

    @cached_property
    def stays(self) -> Mapping[str, str]:
        """Columns that have one beside them that says when they stay, and its name."""
        names = {m.name for m in self.layout.marginals}
        return {n: STAYS + n for n in names if STAYS + n in names}

    def calibrated(self, stream: Stream) -> SeriesSampler:
        """With what the network draws known, so that each column's numbers have the distribution that they had."""
        from .networks import DRAWS

        drawn: list[list[F64]] = [[] for _ in self.layout.scaled]
        for begin in range(0, _CALIBRATED, _CHUNK):
            address = np.arange(begin, begin + _CHUNK, dtype=np.uint64)
            out, lengths = DRAWS[self.network](self._exact, self.settings, address, stream.child("network"))
            out = out.astype(np.float32)
            _, places = self._steps(out, join_rows(address[:, None], np.arange(out.shape[1])[None, :]), stream)
            there = np.arange(out.shape[1]) < lengths[:, None]
            for k, n in enumerate(self.layout.scaled):
                drawn[k].append(places[n][there])
        ranks = np.linspace(0.0, 1.0, KNOTS)
        found = np.array([np.quantile(np.concatenate(of), ranks) for of in drawn]).reshape(-1, KNOTS)
        return replace(self, layout=with_drawn(self.layout, found))

    @cached_property
    def _exact(self) -> Mapping[str, NDArray]:
        """The parameters in double precision: a product's last bits hang on a row's place in it, and are rounded away at the end."""
        return {name: values.astype(np.float64) for name, values in self.parameters.items()}

    def state(self) -> tuple[dict[str, Any], dict[str, NDArray]]:
        plain, arrays = marginal_state(self.layout.marginals)
        more, held = self.learnt.state()
        plain |= more | {"network": self.network, "entity": rule_state(self.entity), "time": list(self.time)}
        plain |= {"order": list(self.order), "settings": dict(self.settings)}
        return plain, arrays | held | drawn_places(self.layout) | {"start": self.start} | {
            f"net.{k}": v for k, v in self.parameters.items()
        }


def rebuild_windows(plain: Mapping[str, Any], arrays: Mapping[str, NDArray]) -> SeriesSampler:
    """The inverse of `SeriesSampler.state`. Raises ValueError for what draws no series."""
    from .networks import DRAWS

    layout = rebuild_courses(rebuild_marginals(plain, arrays), arrays)
    start = np.array(arrays["start"])
    if start.ndim != 1 or start.dtype != np.float64 or not len(start) or not np.isfinite(start).all():
        raise ValueError("its first times are damaged")
    parameters = {k[4:]: np.array(v) for k, v in arrays.items() if k.startswith("net.")}
    if any(v.dtype != np.float32 or not np.isfinite(v).all() for v in parameters.values()):
        raise ValueError("its network is damaged")
    entity, time = rebuild_rules([plain["entity"]])[0], (str(plain["time"][0]), str(plain["time"][1]))
    order = tuple(map(str, plain["order"]))
    held = {m.name for m in layout.marginals}
    names = {entity.column, time[0], *held} - {GAP, *(STAYS + n for n in held)}
    if plain["network"] not in DRAWS or set(order) != names or len(order) != len(names):
        raise ValueError("its columns or its network are not known")
    as_times(time, np.zeros(1))
    settings = {str(k): int(v) for k, v in plain["settings"].items()}
    if any(not 0 <= v <= 1 << 16 for v in settings.values()):
        raise ValueError("its settings are out of all range")
    made = SeriesSampler(
        str(plain["network"]), entity, time, order, layout, start, settings, parameters, rebuild_learnt(plain, arrays)
    )
    # one series says whether the network's parts fit one another and its columns
    out, _ = DRAWS[made.network](parameters, settings, np.zeros(1, np.uint64), Stream.root(0))
    if out.ndim != 3 or out.shape[2] != layout.width:
        raise ValueError("its network does not fit its columns")
    return made


def as_times(time: tuple[str, str], values: F64) -> pl.Series:
    """Numbers as times of a column of this name and type."""
    dtype = dtype_of(time[1])
    bare = Marginal(time[0], dtype, 0.0, np.array([0.0, 1.0]), np.zeros(1), np.zeros(1))
    return bare._typed(values if dtype.is_float() else np.round(values).astype(np.int64))
