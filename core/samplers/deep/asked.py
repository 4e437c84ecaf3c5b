"""Which classes a conditional generator is asked for, and the real rows that have them: CTGAN's conditional vector and training by sampling. Needs torch.

Xu et al. 2019, arXiv:1907.00503, section 4.3.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...stream import F64
from .encoded import Encoded
from .engine import host
from .modes import Layout

UNRELATED = 10.0
"""Rows that are counted beside those of a class, in which columns have nothing to do with one another."""


@dataclass(frozen=True)
class Asked:
    """The classes that can be asked for: those of columns of classes, as places among all classes."""

    places: NDArray[np.int64]
    often: Any
    """How likely each is asked for while learning: a column evenly, then a class by the log of its count."""
    real: F64
    """How likely each is asked for while drawing: a column evenly, then a class as it occurs."""
    rows: Any
    """The rows of each class, one after another, and where each class's begin; for training by sampling."""
    begins: Any
    counts: Any

    @staticmethod
    def of(torch: Any, data: Encoded) -> Asked | None:
        columns, places, owner = _places(data.layout)
        if not len(columns):
            return None
        classes = host(data.classes)
        counts = np.bincount(classes[:, columns].ravel(), minlength=int(data.layout.offsets[-1]))[places]
        rows = np.concatenate([np.argsort(classes[:, n], kind="stable") for n in columns])
        begins = np.concatenate(([0], np.cumsum(counts)[:-1]))
        return Asked(
            places,
            torch.tensor(_shared(np.log1p(counts), owner).astype(np.float32)),
            _shared(counts.astype(float), owner),
            torch.tensor(rows),
            torch.tensor(begins),
            torch.tensor(counts),
        )

    @staticmethod
    def of_marginals(torch: Any, layout: Layout) -> Asked | None:
        """The same by the columns' distributions alone, without rows."""
        columns, places, owner = _places(layout)
        if not len(columns):
            return None
        real = _shared(np.concatenate([np.maximum(layout.classes[n].share, 0) for n in columns]), owner)  # type: ignore[union-attr]
        none = torch.zeros(0, dtype=torch.int64)
        return Asked(places, torch.tensor(real.astype(np.float32)), real, none, none, none)

    def lifts(self, data: Encoded) -> NDArray[np.float32]:
        """How many times as often each class comes in rows with a class that is asked for as in all rows, as a logarithm; shape (asked, classes)."""
        classes, offsets, counts = host(data.classes), data.layout.offsets, data.counts()
        end, share = int(offsets[-1]), (counts + 0.5) / data.rows
        both = np.zeros((len(self.places), end))
        owner = np.searchsorted(offsets, self.places, side="right") - 1
        for n in np.unique(owner):
            own = np.flatnonzero(owner == n)
            key = (classes[:, n] - offsets[n]) * end
            for m in range(classes.shape[1]):
                both[own] += np.bincount(key + classes[:, m], minlength=len(own) * end).reshape(len(own), end)
        often = (both + UNRELATED * share) / (counts[self.places][:, None] + UNRELATED)
        return np.log(often / share).astype(np.float32)

    def draw(self, torch: Any, generator: Any, size: int, as_real: bool) -> tuple[Any, Any]:
        """Which classes are asked for, and the same as 0/1 rows."""
        weight = torch.tensor(self.real) if as_real else self.often
        which = torch.multinomial(weight, size, replacement=True, generator=generator)
        return which, torch.zeros(size, len(self.places)).scatter(1, which[:, None], 1.0)

    def rows_of(self, torch: Any, generator: Any, which: Any) -> Any:
        """For each class a row that has it."""
        place = torch.rand(len(which), generator=generator) * self.counts[which]
        return self.rows[self.begins[which] + place.long().clamp(max=self.counts[which] - 1)]


def _places(layout: Layout) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """The columns of classes, the places of their classes among all, and which of the columns each belongs to."""
    columns = np.array([n for n, s in enumerate(layout.scales) if s is None and layout.sizes[n] > 1], np.int64)
    if not len(columns):
        return columns, columns, columns
    places = np.concatenate([np.arange(int(layout.offsets[n]), int(layout.offsets[n + 1])) for n in columns])
    return columns, places, np.repeat(np.arange(len(columns)), [layout.sizes[n] for n in columns])


def _shared(weight: NDArray, owner: NDArray[np.int64]) -> NDArray:
    total = np.bincount(owner, weight)
    return weight / np.where(total > 0, total, 1.0)[owner] / max((total > 0).sum(), 1)
