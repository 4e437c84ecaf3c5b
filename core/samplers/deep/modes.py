"""Columns as a network sees them: classes, and for numbers that rarely repeat a place on a scale.

Two scales: mode-specific normalisation, Xu, Skoularidou, Cuesta-Infante and Veeramachaneni 2019, "Modeling Tabular Data using Conditional GAN", NeurIPS,
arXiv:1907.00503, section 4.2, in which a number belongs to one of the Gaussians of a mixture that a variational fit found for its column, and is told by which one and by
how many quarters of it lie between; and normal scores, the quantile of the standard normal at the number's rank, as Kotelnikov, Baranchuk, Rubachev and Babenko 2023,
"TabDDPM", ICML, arXiv:2209.15421 take them, with the values that many rows share as classes beside.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal, Protocol

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ...stream import F64, Stream
from ..statistical.forest import Classes, code_of
from ..statistical.marginal import Marginal, numbers
from .cells import Cells

CLASSES = 256
LISTED = 20
"""A column of at most so many numbers is learnt by classes alone."""
MODES = 10
LEAST_WEIGHT = 0.005
SPAN = 4.0
"""Standard deviations that a place of 1 stands for."""
SPIKE = 0.02
"""On the scale of ranks, a value that more than this share of rows has is a class of its own."""
KNOTS = 1_025
"""Quantiles that say what numbers a network draws."""
_ROWS = 5_000

I64 = NDArray[np.int64]
ScaleName = Literal["modes", "ranks", "courses"]


class Scale(Protocol):
    """How a column's numbers become a class from 1 and a place from -1 to 1."""

    @property
    def size(self) -> int:
        """Classes, without the one for what is missing."""
        ...

    def encode(self, marginal: Marginal, values: pl.Series, u: F64) -> tuple[I64, F64, NDArray[np.bool_]]:
        """The class of each value from 0, its place, and whether there is one. `u` settles what is not certain."""
        ...

    def decode(self, marginal: Marginal, state: I64, place: F64, present: NDArray[np.bool_]) -> pl.Series: ...


@dataclass(frozen=True, eq=False)
class Modes:
    """Means and standard deviations, shape (2, modes)."""

    found: F64
    drawn: F64 = field(default_factory=lambda: np.empty(0))
    """`KNOTS` quantiles, evenly spread, of the numbers that a network draws: each stands for the column's own. Of no length while it learns: then numbers stand for themselves."""

    @property
    def size(self) -> int:
        return self.found.shape[1]

    def encode(self, marginal: Marginal, values: pl.Series, u: F64) -> tuple[I64, F64, NDArray[np.bool_]]:
        x, known = numbers(values, marginal.dtype)
        x = np.where(np.isfinite(x), x, 0.0).astype(float)
        if len(self.drawn):
            piece, share, _ = marginal.locate(values)
            rank = marginal.edges[piece] + share * (marginal.edges[piece + 1] - marginal.edges[piece])
            x = np.interp(rank, np.linspace(0, 1, KNOTS), self.drawn)
        chance = np.cumsum(_posterior(x, self.found), axis=1)
        mode = np.minimum((chance < u[:, None] * chance[:, -1:]).sum(axis=1), self.size - 1)
        return mode, np.clip((x - self.found[0][mode]) / (SPAN * self.found[1][mode]), -0.99, 0.99), known

    def decode(self, marginal: Marginal, state: I64, place: F64, present: NDArray[np.bool_]) -> pl.Series:
        x = self.numbers(state, place)
        if not len(self.drawn):
            return marginal.nearest(x, present)
        rank = np.interp(x, self.drawn, np.linspace(0, 1, KNOTS))
        return marginal.quantile(np.clip(rank, 1e-9, 1 - 1e-9), present)

    def numbers(self, state: I64, place: F64) -> F64:
        return self.found[0][state] + SPAN * self.found[1][state] * place


@dataclass(frozen=True, eq=False)
class Ranks:
    """Class 0 are ordinary numbers, each at its normal score; the others are spikes, pieces of the marginal."""

    spikes: I64
    free: I64
    """The pieces of ordinary numbers."""
    edges: F64
    """Their distribution function, shape (free + 1,)."""

    @staticmethod
    def of(marginal: Marginal) -> Ranks:
        weight = np.diff(marginal.edges)
        spike = marginal.atoms & (weight > SPIKE)
        free = np.flatnonzero(~spike)
        edges = np.concatenate(([0.0], np.cumsum(weight[free])))
        return Ranks(np.flatnonzero(spike), free, edges / max(edges[-1], 1e-300))

    @property
    def size(self) -> int:
        return 1 + len(self.spikes)

    def shares(self, marginal: Marginal) -> F64:
        """How often a value is missing, and has each class."""
        weight = np.diff(marginal.edges)
        there = np.concatenate(([weight[self.free].sum()], weight[self.spikes]))
        return np.concatenate(([marginal.missing], (1 - marginal.missing) * there))

    def encode(self, marginal: Marginal, values: pl.Series, u: F64) -> tuple[I64, F64, NDArray[np.bool_]]:
        from scipy.special import ndtri

        piece, share, known = marginal.locate(values)
        share = np.where(marginal.atoms[piece], u, share)
        spike = np.isin(piece, self.spikes)
        at = np.searchsorted(self.free, piece)
        at = np.minimum(at, len(self.free) - 1)
        rank = self.edges[at] + share * (self.edges[at + 1] - self.edges[at])
        place = np.clip(ndtri(np.clip(rank, 1e-6, 1 - 1e-6)) / SPAN, -0.99, 0.99)
        return np.where(spike, 1 + np.searchsorted(self.spikes, piece), 0), np.where(spike, 0.0, place), known

    def decode(self, marginal: Marginal, state: I64, place: F64, present: NDArray[np.bool_]) -> pl.Series:
        from scipy.special import ndtr

        rank = ndtr(SPAN * place)
        at = np.clip(np.searchsorted(self.edges, rank, side="right") - 1, 0, len(self.free) - 1)
        width = self.edges[at + 1] - self.edges[at]
        share = np.divide(rank - self.edges[at], width, out=np.full(len(rank), 0.5), where=width > 0)
        spiked = np.append(self.free[:1], self.spikes)[state]
        return marginal.values(np.where(state > 0, spiked, self.free[at]), share, present)


@dataclass(frozen=True, eq=False)
class Layout:
    """How columns lie in a vector: for each, a segment of classes, class 0 for what is missing; then a place for each number that has a scale."""

    marginals: tuple[Marginal, ...]
    scale: ScaleName
    scales: tuple[Scale | None, ...]
    """None for a column of classes."""

    @cached_property
    def cells(self) -> tuple[Cells | None, ...]:
        """Those of columns of classes, each a cell."""
        found: list[Cells | None] = []
        for marginal, scale in zip(self.marginals, self.scales, strict=True):
            classes = Classes.of(marginal, CLASSES)
            found.append(Cells(marginal, classes, classes, np.arange(len(classes.last))) if scale is None else None)
        return tuple(found)

    @cached_property
    def classes(self) -> tuple[Classes | None, ...]:
        return tuple(None if c is None else c.classes for c in self.cells)

    @cached_property
    def sizes(self) -> list[int]:
        return [
            len(c.last) if c is not None else 1 + s.size  # type: ignore[union-attr]
            for c, s in zip(self.classes, self.scales, strict=True)
        ]

    @cached_property
    def offsets(self) -> I64:
        """Where each column's segment begins, and where the last ends; shape (columns + 1,)."""
        return np.concatenate(([0], np.cumsum(self.sizes)))

    @cached_property
    def scaled(self) -> list[int]:
        """The columns that have a place on a scale, in order."""
        return [n for n, s in enumerate(self.scales) if s is not None]

    @property
    def width(self) -> int:
        return int(self.offsets[-1]) + len(self.scaled)

    def placed(self, n: int, state: NDArray) -> NDArray[np.bool_]:
        """Whether a value of column `n` with this class has a place: not what is missing, and no spike."""
        return (state == 1) if isinstance(self.scales[n], Ranks) else (state > 0)

    def encode(self, n: int, values: pl.Series, u: F64) -> tuple[I64, F64]:
        """The class of each value and its place, -1 to 1 (0 for a column of classes and for what is missing). `u` settles what is not certain: among the
        modes that a number may belong to, or where in a step of its distribution it lies."""
        marginal, scale, classes = self.marginals[n], self.scales[n], self.classes[n]
        if classes is not None:
            return classes.of_codes(code_of(marginal, values)), np.zeros(len(values))
        assert scale is not None
        state, place, known = scale.encode(marginal, values, u)
        return np.where(known, state + 1, 0), np.where(known, place, 0.0)

    def decode(self, n: int, state: I64, place: F64, share: F64) -> pl.Series:
        """Values of column `n`. `share`: how far into its class a value of a class of several lies; see `needs_share`."""
        marginal, scale, cells = self.marginals[n], self.scales[n], self.cells[n]
        if cells is not None:
            return cells.values(state, np.zeros(1, np.int64), share)
        assert scale is not None
        return scale.decode(marginal, np.maximum(state - 1, 0), place, state > 0)

    def needs_share(self, n: int) -> bool:
        """Whether a class of column `n` can have several values."""
        cells = self.cells[n]
        return cells is not None and cells.listed is None

    def shares(self) -> F64:
        """How often each class comes, as the columns' distributions alone tell it of classes and ranks."""
        made = []
        for marginal, scale, classes in zip(self.marginals, self.scales, self.classes, strict=True):
            assert not isinstance(scale, Modes)
            made.append(np.maximum(classes.share, 0) if classes is not None else scale.shares(marginal))  # type: ignore[union-attr]
        return np.concatenate(made)

    def state(self) -> dict[str, NDArray]:
        modes = {n: s for n, s in enumerate(self.scales) if isinstance(s, Modes)}
        drawn = {f"drawn.{n}": s.drawn for n, s in modes.items() if len(s.drawn)}
        return {f"modes.{n}": s.found for n, s in modes.items()} | drawn


def fit_layout(table: pl.DataFrame, marginals: Sequence[Marginal], stream: Stream) -> Layout:
    """Find the modes of each column's numbers."""
    found = [_modes(table[m.name], m, stream.child(m.name)) for m in marginals]
    return Layout(tuple(marginals), "modes", tuple(None if f is None else Modes(f) for f in found))


def ranked_layout(marginals: Sequence[Marginal]) -> Layout:
    """Numbers by their normal scores: no more is learnt than the marginals."""
    return Layout(tuple(marginals), "ranks", tuple(Ranks.of(m) if _many(m) else None for m in marginals))


def rebuild_layout(marginals: tuple[Marginal, ...], scale: str, arrays: Mapping[str, NDArray]) -> Layout:
    """The inverse of `Layout.state`. Raises ValueError for modes that are none."""
    if scale == "ranks":
        return ranked_layout(marginals)
    if scale != "modes":
        raise ValueError("its scale is not known")
    found: list[Scale | None] = []
    for n, marginal in enumerate(marginals):
        if f"modes.{n}" not in arrays:
            found.append(None)
            continue
        modes = np.array(arrays[f"modes.{n}"])
        sound = modes.ndim == 2 and modes.shape[0] == 2 and modes.shape[1] and modes.dtype == np.float64
        if not sound or not np.isfinite(modes).all() or not (modes[1] > 0).all() or marginal.categories is not None:
            raise ValueError(f"the modes of column '{marginal.name}' are damaged")
        drawn = np.array(arrays.get(f"drawn.{n}", np.empty(0)))
        rising = drawn.dtype == np.float64 and np.isfinite(drawn).all() and (np.diff(drawn) >= 0).all()
        if drawn.shape not in ((0,), (KNOTS,)) or not rising:
            raise ValueError(f"what is drawn of column '{marginal.name}' is damaged")
        found.append(Modes(modes, drawn))
    return Layout(marginals, "modes", tuple(found))


def _many(marginal: Marginal) -> bool:
    """Whether a column holds numbers that deserve a scale."""
    return (
        marginal.categories is None
        and bool(marginal.pieces)
        and not (marginal.atoms.all() and marginal.pieces <= LISTED)
        and bool(np.isfinite(marginal.left).all() and np.isfinite(marginal.right).all())
    )


def _modes(values: pl.Series, marginal: Marginal, stream: Stream) -> F64 | None:
    if not _many(marginal):
        return None
    x, known = numbers(values, marginal.dtype)
    x = x[known].astype(float)
    if not np.isfinite(x).all() or np.ptp(x) == 0 or len(x) < 2 * MODES:
        return None
    import warnings

    from sklearn.exceptions import ConvergenceWarning
    from sklearn.mixture import BayesianGaussianMixture

    kept = np.argsort(stream.child("rows").bits(np.arange(len(x))), kind="stable")[:_ROWS]
    middle, spread = float(np.mean(x)), float(np.std(x))
    mixture: Any = BayesianGaussianMixture(
        n_components=min(MODES, len(np.unique(x[kept]))),
        weight_concentration_prior_type="dirichlet_process",
        weight_concentration_prior=0.001,
        # the defaults, one row of the whole column's mean and variance, would widen a narrow mode of few rows
        mean_precision_prior=0.001,
        covariance_prior=[[0.001]],
        random_state=int(stream.bits(np.zeros(1, np.int64))[0] >> 33),
    )
    with warnings.catch_warnings():
        # not to the last digit: the mixture is a scale, not a finding
        warnings.simplefilter("ignore", ConvergenceWarning)
        mixture.fit(((x[kept] - middle) / spread)[:, None])
    real = mixture.weights_ > LEAST_WEIGHT
    order = np.argsort(mixture.means_[real, 0])
    means = mixture.means_[real, 0][order] * spread + middle
    deviations = np.sqrt(mixture.covariances_[real, 0, 0][order]) * spread
    return np.stack([means, deviations])


def _posterior(x: F64, modes: F64) -> F64:
    """How likely each mode is for each number, not scaled; shape (numbers, modes)."""
    score = -0.5 * ((x[:, None] - modes[0]) / modes[1]) ** 2 - np.log(modes[1])
    return np.exp(score - score.max(axis=1, keepdims=True))
