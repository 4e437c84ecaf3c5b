"""Series of entities, step by step: how a table of them is read, and how steps that a network drew become rows again.

A step is a vector as a row is (`modes.Layout`, numbers by their normal scores), with the time since the step before as one more column: regular series have one value there,
irregular ones any.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ...errors import UserError, unknown
from ...stream import F64, Stream, join_rows
from ...tables import ROW, Table, rows
from ..statistical.detect import rules_of
from ..statistical.empirical import check_learnable, fit_marginals, marginal_state, rebuild_marginals
from ..statistical.learn_events import Roles
from ..statistical.marginal import Marginal, dtype_of, dtype_text, numbers
from ..statistical.regenerate import Rule, rebuild_rules, rule_state
from .draw import choose_class
from .learnt import Learnt, rebuild_learnt
from .modes import Layout, ranked_layout

F32 = NDArray[np.float32]
I64 = NDArray[np.int64]

GAP = "_gap"
"""The name of the time since the step before, among the columns of a step."""
SERIES = "series"
"""The name of the entity where the table is one series without any."""
_CHUNK = 128


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
        flat, each = (
            out.reshape(count * steps, out.shape[2]),
            join_rows(address[:, None], np.arange(steps)[None, :]).ravel(),
        )
        kept = (np.arange(steps) < lengths[:, None]).ravel()
        made: dict[str, pl.Series] = {}
        places = {n: k for k, n in enumerate(self.layout.scaled)}
        for n, marginal in enumerate(self.layout.marginals):
            names = stream.child("value", marginal.name)
            scores = np.ascontiguousarray(flat[:, self.layout.offsets[n] : self.layout.offsets[n + 1]].T)
            if not marginal.missing and len(scores) > 1:
                scores[0] = -np.inf
            state = choose_class(scores, names.uniform(each)) if len(flat) else np.empty(0, np.int64)
            place = np.zeros(len(flat))
            if n in places:
                place = np.clip(flat[:, int(self.layout.offsets[-1]) + places[n]].astype(float), -1.0, 1.0)
            made[marginal.name] = self.layout.decode(n, state, place, names.child("within").uniform(each))
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

    @cached_property
    def _exact(self) -> Mapping[str, NDArray]:
        """The parameters in double precision: a product's last bits hang on a row's place in it, and are rounded away at the end."""
        return {name: values.astype(np.float64) for name, values in self.parameters.items()}

    def state(self) -> tuple[dict[str, Any], dict[str, NDArray]]:
        plain, arrays = marginal_state(self.layout.marginals)
        more, held = self.learnt.state()
        plain |= more | {"network": self.network, "entity": rule_state(self.entity), "time": list(self.time)}
        plain |= {"order": list(self.order), "settings": dict(self.settings)}
        return plain, arrays | held | {"start": self.start} | {f"net.{k}": v for k, v in self.parameters.items()}


def rebuild_windows(plain: Mapping[str, Any], arrays: Mapping[str, NDArray]) -> SeriesSampler:
    """The inverse of `SeriesSampler.state`. Raises ValueError for what draws no series."""
    from .networks import DRAWS

    layout = ranked_layout(rebuild_marginals(plain, arrays))
    start = np.array(arrays["start"])
    if start.ndim != 1 or start.dtype != np.float64 or not len(start) or not np.isfinite(start).all():
        raise ValueError("its first times are damaged")
    parameters = {k[4:]: np.array(v) for k, v in arrays.items() if k.startswith("net.")}
    if any(v.dtype != np.float32 or not np.isfinite(v).all() for v in parameters.values()):
        raise ValueError("its network is damaged")
    entity, time = rebuild_rules([plain["entity"]])[0], (str(plain["time"][0]), str(plain["time"][1]))
    order = tuple(map(str, plain["order"]))
    names = {entity.column, time[0], *(m.name for m in layout.marginals)} - {GAP}
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


@dataclass(frozen=True)
class Windows:
    """Series cut to windows of as many steps, as numbers of classes among all columns' and places."""

    read: Read
    layout: Layout
    steps: int
    classes: I64
    """Shape (windows, steps, columns)."""
    places: F32
    """Shape (windows, steps, scaled columns)."""
    there: NDArray[np.bool_]
    """Which steps a series has: after its end its last one is repeated. Shape (windows, steps)."""

    def sampler(
        self, network: str, settings: Mapping[str, int], parameters: Mapping[str, F32], learnt: Learnt
    ) -> SeriesSampler:
        read = self.read
        start = np.quantile(read.starts, np.linspace(0, 1, min(len(read.starts), 101)))
        held = {k: np.asarray(v, np.float32) for k, v in parameters.items()}
        return SeriesSampler(network, read.entity, read.time, read.order, self.layout, start, settings, held, learnt)


WINDOW = 24
"""Steps of a window, as in TimeGAN's paper."""
MOST = 20_000
"""Windows at most."""


def cut(table: Table, roles: Roles, stream: Stream, steps: int | None = WINDOW) -> Windows:
    """The windows of a table's series, overlapping, evenly spread over each: of at most `steps` steps, or of whole series if None.

    Raises UserError as `read_series`, and for series of a single step.
    """
    read = read_series(table, roles)
    layout = ranked_layout(fit_marginals(read.steps))
    longest = int(read.lengths.max())
    if longest < 2:
        raise UserError("no entity has two rows: there is no series to learn")
    size = longest if steps is None else min(steps, longest)
    address = np.arange(read.steps.height)
    told = [
        layout.encode(n, read.steps[m.name], stream.child("place", m.name).uniform(address))
        for n, m in enumerate(layout.marginals)
    ]
    classes = np.stack([s + layout.offsets[n] for n, (s, _) in enumerate(told)], axis=1)
    places = np.stack([told[n][1] for n in layout.scaled], axis=1) if layout.scaled else np.zeros((len(address), 0))
    begin = np.cumsum(read.lengths) - read.lengths
    spare = np.maximum(read.lengths - size, 0)
    stride = max(1, int(np.ceil((spare.sum() + len(spare)) / MOST)))
    first = np.concatenate([b + np.arange(0, s + 1, stride) for b, s in zip(begin, spare, strict=True)])
    last = np.repeat(begin + read.lengths - 1, spare // stride + 1)
    at = first[:, None] + np.arange(size)
    return Windows(
        read,
        layout,
        size,
        classes[np.minimum(at, last[:, None])],
        places[np.minimum(at, last[:, None])].astype(np.float32),
        at <= last[:, None],
    )
