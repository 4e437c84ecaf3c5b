"""Series under differential privacy, whose unit is the entity: one more or less, with all its steps, changes hardly anything. Each takes part with one stretch of its series, which
chance chooses, and tells of columns' distributions by one step of that; what else a fit reads of series (how long they are, what stays, what their keys look like) is not read. Needs torch.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...errors import UserError
from ...privacy.budget import Budget
from ...stream import Stream
from ...tables import Table
from ..statistical.learn_events import Roles
from ..statistical.marginal import dtype_text, numbers
from ..statistical.regenerate import Rule
from .courses import course_layout
from .engine import deterministic
from .learnt import Learnt
from .private_fit import Bought, Extents, buy, descend
from .series import Read, SeriesSampler, as_times, read_series
from .training import Descent
from .windows import WINDOW, Windows

UNIT = "entity with all its rows"


@dataclass(frozen=True)
class Paid:
    read: Read
    """Its key by its type alone, its first times as they were bought; of its steps only what `at` chooses, and the step before, may be read."""
    at: NDArray[np.int64]
    """The steps of each entity's stretch; after its end the last is repeated. Shape (entities, steps)."""
    there: NDArray[np.bool_]
    bought: Bought
    """With the distributions of the columns of a step."""


def buy_series(
    name: str, table: Table, roles: Roles, noise: Stream, budget: Budget, extents: Extents, steps: int = WINDOW
) -> Paid:
    """Pay for the columns' distributions and first times, and with all that is left for steps of learning. Raises UserError as `read_series`, and for series of no entity."""
    if not roles.entity:
        raise UserError(f"'{name}' under epsilon protects entities: say which column is theirs (--entity)")
    budget.unit = UNIT
    read = read_series(table, roles)
    dtype = table.schema[roles.entity]
    kind = "number" if dtype.is_integer() else "uuid"
    entities, begin = np.arange(len(read.lengths)), np.cumsum(read.lengths) - read.lengths
    chance = noise.child("stretches")
    first = begin + _chosen(chance.child("first").uniform(entities), np.maximum(read.lengths - steps, 0) + 1)
    last = begin + read.lengths - 1
    at = first[:, None] + np.arange(steps)
    there = at <= last[:, None]
    at = np.minimum(at, last[:, None])
    one = at[entities, _chosen(chance.child("one").uniform(entities), there.sum(axis=1))]
    told = read.steps[one].with_columns(as_times(read.time, read.starts))
    bought = buy(name, told, noise, budget, extents)
    marginals = {m.name: m for m in bought.marginals}
    begins = marginals.pop(roles.time)
    starts = np.zeros(1)
    if begins.pieces:
        grid = (np.arange(101) + 0.5) / 101
        starts = np.sort(numbers(begins.quantile(grid), begins.dtype)[0].astype(np.float64))
    public = Rule(roles.entity, kind, dtype_text(dtype), unique=True, counted=True)
    read = replace(read, entity=public, starts=starts)
    return Paid(read, at, there, replace(bought, marginals=tuple(marginals.values())))


def _chosen(u: NDArray[np.float64], count: NDArray[np.int64]) -> NDArray[np.int64]:
    return np.minimum((u * count).astype(np.int64), count - 1)


def windows_of(paid: Paid) -> Windows:
    """Each entity's stretch as a window."""
    steps, layout = paid.read.steps, course_layout(paid.bought.marginals)
    none = np.zeros(steps.height)
    told = [layout.encode(n, steps[m.name], none) for n, m in enumerate(layout.marginals)]
    classes = np.stack([s + layout.offsets[n] for n, (s, _) in enumerate(told)], axis=1)
    places = np.stack([told[n][1] for n in layout.scaled], axis=1) if layout.scaled else np.zeros((len(none), 0))
    size = paid.at.shape[1]
    return Windows(paid.read, layout, size, classes[paid.at], places[paid.at].astype(np.float32), paid.there)


Begin = Callable[[Any, Windows], tuple[Descent, Callable[[Learnt], SeriesSampler]]]


def fit_series_privately(
    torch: Any,
    name: str,
    table: Table,
    noise: Stream,
    budget: Budget,
    extents: Extents,
    roles: Roles,
    begin: Begin,
) -> tuple[SeriesSampler, float]:
    """Learn by noisy steps what `begin` makes of a generator and windows: a learner, and how what it learnt becomes a sampler. Returns the sampler and about how
    many entities there were."""
    paid = buy_series(name, table, roles, noise, budget, extents)
    windows = windows_of(paid)
    with deterministic(torch, noise.child("network")) as generator:
        learner, made = begin(generator, windows)
        return made(descend(torch, name, learner, paid.bought)), paid.bought.rows
