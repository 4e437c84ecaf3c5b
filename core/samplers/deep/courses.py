"""Numbers of series as a network sees them: by where they lie, so that small steps stay small, and back by rank, so that each column keeps its distribution.

By ranks alone, as tables are told (`modes.Ranks`), a series would leap where few of its values lie; by frequent values' classes, at each step by itself.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ...stream import F64
from ..statistical.marginal import Marginal, numbers
from .modes import Layout

FEW = 8
"""A column of at most so many numbers is drawn by classes."""
WITHIN = 0.95
"""The place of the least and the greatest number: a network reaches 1 never."""
KNOTS = 1_025


@dataclass(frozen=True, eq=False)
class Course:
    """The inverse hyperbolic sine of numbers from their median, in quartile spans: even in the middle, in the order of magnitude far out."""

    middle: float
    spread: float
    ends: tuple[float, float]
    """What the least and the greatest number come to."""
    drawn: F64
    """Evenly spaced quantiles of the places that the network draws, rising."""

    @staticmethod
    def of(marginal: Marginal) -> Course:
        low, middle, high = (_at(marginal, q) for q in (0.25, 0.5, 0.75))
        least, most = float(marginal.left[0]), float(marginal.right[-1])
        spread = (high - low) / 1.349 or (most - least) / 6 or 1.0
        ends = tuple(float(np.arcsinh((x - middle) / spread)) for x in (least, most))
        return Course(middle, spread, (ends[0], ends[1]), np.linspace(-WITHIN, WITHIN, KNOTS))

    @property
    def size(self) -> int:
        return 1

    def encode(self, marginal: Marginal, values: pl.Series, u: F64) -> tuple[NDArray, F64, NDArray[np.bool_]]:
        x, known = numbers(values, marginal.dtype)
        x = np.where(np.isfinite(x), x, self.middle).astype(float)
        low, high = self.ends
        place = WITHIN * (2 * (np.arcsinh((x - self.middle) / self.spread) - low) / max(high - low, 1e-300) - 1)
        return np.zeros(len(x), np.int64), np.clip(place, -WITHIN, WITHIN), known

    def decode(self, marginal: Marginal, state: NDArray, place: F64, present: NDArray[np.bool_]) -> pl.Series:
        low, high = (np.searchsorted(self.drawn, place, side=side) for side in ("left", "right"))
        before, after = self.drawn[np.maximum(low - 1, 0)], self.drawn[np.minimum(low, KNOTS - 1)]
        share = np.divide(place - before, after - before, out=np.zeros(len(place)), where=after > before)
        # a place that is drawn often, such as an end, has the middle of its ranks
        rank = np.where(high > low, (low + high - 1) / 2, low - 1 + share) / (KNOTS - 1)
        return marginal.quantile(np.clip(rank, 0.0, 1.0 - 1e-12), present)


def _at(marginal: Marginal, rank: float) -> float:
    piece = int(np.clip(np.searchsorted(marginal.edges, rank, side="right") - 1, 0, marginal.pieces - 1))
    return float(marginal.left[piece] + marginal.right[piece]) / 2


def course_layout(marginals: Sequence[Marginal]) -> Layout:
    return Layout(tuple(marginals), "courses", tuple(Course.of(m) if _ordered(m) else None for m in marginals))


def _ordered(marginal: Marginal) -> bool:
    if marginal.categories is not None or marginal.pieces <= FEW:
        return False
    return bool(np.isfinite(marginal.left).all() and np.isfinite(marginal.right).all())


def drawn_places(layout: Layout) -> dict[str, NDArray]:
    """What `rebuild_courses` takes, beside the marginals."""
    return {"courses": np.array([s.drawn for s in layout.scales if isinstance(s, Course)]).reshape(-1, KNOTS)}


def rebuild_courses(marginals: Sequence[Marginal], arrays: Mapping[str, NDArray]) -> Layout:
    """The inverse of `drawn_places`. Raises ValueError for places that are none."""
    layout = course_layout(marginals)
    drawn = np.array(arrays["courses"])
    if drawn.shape != (len(layout.scaled), KNOTS) or drawn.dtype != np.float64:
        raise ValueError("its places are damaged")
    if not (np.abs(drawn) <= 1.0).all() or (np.diff(drawn, axis=1) < 0).any():
        raise ValueError("its places do not rise from -1 to 1")
    return with_drawn(layout, drawn)


def with_drawn(layout: Layout, drawn: NDArray) -> Layout:
    """With quantiles of the places that a network draws, shape (scaled columns, `KNOTS`)."""
    found = iter(drawn)
    scales = tuple(replace(s, drawn=next(found)) if isinstance(s, Course) else s for s in layout.scales)
    return Layout(layout.marginals, layout.scale, scales)
