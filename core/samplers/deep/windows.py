"""Series cut to windows, and windows as tensors."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ...errors import UserError
from ...stream import Stream
from ...tables import Table
from ..statistical.empirical import fit_marginals
from ..statistical.learn_events import Roles
from .courses import course_layout
from .engine import log_chances
from .learnt import Learnt
from .modes import Layout
from .series import GAP, STAYS, Read, SeriesSampler, read_series

F32 = NDArray[np.float32]
I64 = NDArray[np.int64]

OFTEN = 0.2
"""The share of steps that stay from which on a column is told of."""
HELD = 0.1
"""The share of windows that say when to stop: the last ones, of entities or of time, so that none overlaps one that is learnt from by chance."""


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
        made = SeriesSampler(network, read.entity, read.time, read.order, self.layout, start, settings, held, learnt)
        return made.calibrated(Stream.root(0).child("calibrate"))


WINDOW = 24
"""Steps of a window, as in TimeGAN's paper."""
MOST = 20_000
"""Windows at most."""


def cut(table: Table, roles: Roles, steps: int | None = WINDOW) -> Windows:
    """The windows of a table's series, overlapping, evenly spread over each: of at most `steps` steps, or of whole series if None.

    Raises UserError as `read_series`, and for series of a single step.
    """
    read = _told_what_stays(read_series(table, roles))
    layout = course_layout(fit_marginals(read.steps))
    longest = int(read.lengths.max())
    if longest < 2:
        raise UserError("no entity has two rows: there is no series to learn")
    size = longest if steps is None else min(steps, longest)
    none = np.zeros(read.steps.height)
    told = [layout.encode(n, read.steps[m.name], none) for n, m in enumerate(layout.marginals)]
    classes = np.stack([s + layout.offsets[n] for n, (s, _) in enumerate(told)], axis=1)
    places = np.stack([told[n][1] for n in layout.scaled], axis=1) if layout.scaled else np.zeros((len(none), 0))
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


def _told_what_stays(read: Read) -> Read:
    first = np.zeros(read.steps.height, bool)
    first[np.cumsum(read.lengths) - read.lengths] = True
    beside = []
    for name in [n for n in read.steps.columns if n != GAP]:
        column = read.steps[name]
        stays = column.eq_missing(column.shift(1)).to_numpy() & ~first
        # a first step that nothing came before is told of by the one after
        stays[first] = np.append(stays[1:], False)[first]
        if OFTEN <= stays.mean() < 1.0:
            beside.append(pl.Series(STAYS + name, stays.astype(np.int8)))
    taken = [c.name for c in beside if c.name in read.steps.columns]
    if taken:
        raise UserError(f"the table has a column '{taken[0]}', a name that populace keeps for itself")
    return replace(read, steps=read.steps.with_columns(beside))


@dataclass(frozen=True)
class Segments:
    """Where columns' classes stand in the vector of a step."""

    sizes: list[int]
    end: int
    """Where classes end and places begin."""
    segment: Any
    """Which segment each class belongs to, as a 0/1 matrix of shape (classes, columns)."""

    @staticmethod
    def of(torch: Any, layout: Layout) -> Segments:
        segment = np.repeat(np.eye(len(layout.sizes), dtype=np.float32), layout.sizes, axis=0)
        return Segments(layout.sizes, int(layout.offsets[-1]), torch.tensor(segment))

    def vectors(self, torch: Any, classes: Any, places: Any) -> Any:
        """Steps as a network sees them, shape (n, steps, width)."""
        hot = torch.zeros(*classes.shape[:2], self.end)
        return torch.cat([hot.scatter(2, classes, 1.0), places], dim=2)

    def log_chances(self, torch: Any, scores: Any) -> Any:
        """The log of each class's chance within its segment."""
        return log_chances(torch, scores, self.sizes, self.segment)

    def cross_entropy(self, torch: Any, out: Any, classes: Any) -> Any:
        """Shape (n, steps, columns)."""
        return -self.log_chances(torch, out[..., : self.end]).gather(2, classes)

    def drawn(self, torch: Any, generator: Any, out: Any, temperature: float) -> Any:
        """Steps as a critic sees them: classes by the Gumbel-softmax (Jang et al. 2017, arXiv:1611.01144), places within -1 and 1."""
        u = torch.rand(*out.shape[:2], self.end, generator=generator).clamp(1e-9, 1 - 1e-7)
        hot = torch.exp(self.log_chances(torch, (out[..., : self.end] - torch.log(-torch.log(u))) / temperature))
        return torch.cat([hot, torch.tanh(out[..., self.end :])], dim=2)


def tensors(torch: Any, windows: Windows) -> tuple[Any, ...]:
    return torch.tensor(windows.classes), torch.tensor(windows.places)


def held_apart(torch: Any, windows: Windows, stream: Stream) -> tuple[tuple[Any, ...], tuple[Any, ...] | None]:
    """Windows to learn from, and those to judge by."""
    whole = tensors(torch, windows)
    held = int(len(whole[0]) * HELD)
    if not held:
        return whole, None
    return tuple(t[:-held] for t in whole), tuple(t[-held:] for t in whole)


def root(x: NDArray[np.float32]) -> NDArray[np.float32]:
    """The symmetric root of the covariance of columns, which there is however few the rows. Shape (columns, columns)."""
    apart = x.astype(float) - x.mean(axis=0)
    size, axis = np.linalg.eigh(apart.T @ apart / len(x))
    return (axis * np.sqrt(np.maximum(size, 0.0)) @ axis.T).astype(np.float32)


def roots(x: NDArray[np.float32]) -> NDArray[np.float32]:
    """`root` of the steps of each number. `x`: shape (windows, steps, numbers); found: shape (numbers, steps, steps)."""
    steps = x.shape[1]
    return np.stack([root(x[:, :, k]) for k in range(x.shape[2])]) if x.shape[2] else np.zeros((0, steps, steps), "f4")
