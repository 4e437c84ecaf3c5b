"""Columns as a network sees them: classes, and for numbers that rarely repeat a mode and a place in it.

Mode-specific normalisation, Xu, Skoularidou, Cuesta-Infante and Veeramachaneni 2019, "Modeling Tabular Data using Conditional GAN", NeurIPS,
arXiv:1907.00503, section 4.2: a number belongs to one of the Gaussians of a mixture that a variational fit found for its column, and is told by which one and by how
many quarters of it lie between.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ...stream import F64, Stream
from ..statistical.forest import Classes, code_of
from ..statistical.marginal import Marginal, numbers

CLASSES = 256
LISTED = 20
"""A column of at most so many numbers is learnt by classes alone."""
MODES = 10
LEAST_WEIGHT = 0.005
SPAN = 4.0
"""Standard deviations of a mode that 1 stands for."""
_ROWS = 10_000


@dataclass(frozen=True, eq=False)
class Layout:
    """How columns lie in a vector: for each, a segment of classes, class 0 for what is missing; then a place within its mode for each number.

    `modes[n]` is None for a column of classes, or the means and standard deviations of its modes, shape (2, modes).
    """

    marginals: tuple[Marginal, ...]
    modes: tuple[F64 | None, ...]

    @cached_property
    def classes(self) -> tuple[Classes | None, ...]:
        return tuple(
            Classes.of(m, CLASSES) if found is None else None
            for m, found in zip(self.marginals, self.modes, strict=True)
        )

    @cached_property
    def sizes(self) -> list[int]:
        return [
            len(c.last) if c is not None else 1 + m.shape[1]  # type: ignore[union-attr]
            for c, m in zip(self.classes, self.modes, strict=True)
        ]

    @cached_property
    def offsets(self) -> NDArray[np.int64]:
        """Where each column's segment begins, and where the last ends; shape (columns + 1,)."""
        return np.concatenate(([0], np.cumsum(self.sizes)))

    @cached_property
    def scaled(self) -> list[int]:
        """The columns that have a place within a mode, in order."""
        return [n for n, m in enumerate(self.modes) if m is not None]

    @property
    def width(self) -> int:
        return int(self.offsets[-1]) + len(self.scaled)

    def encode(self, n: int, values: pl.Series, u: F64) -> tuple[NDArray[np.int64], F64]:
        """The class of each value and its place within the mode, -1 to 1 (0 for a column of classes and for what is missing). `u` chooses among the modes that
        a number may belong to, by how likely each is."""
        marginal, modes = self.marginals[n], self.modes[n]
        if modes is None:
            classes = self.classes[n]
            assert classes is not None
            return classes.of_codes(code_of(marginal, values)), np.zeros(len(values))
        x, known = numbers(values, marginal.dtype)
        x = np.where(np.isfinite(x), x, 0.0).astype(float)
        chance = np.cumsum(_posterior(x, modes), axis=1)
        mode = np.minimum((chance < u[:, None] * chance[:, -1:]).sum(axis=1), modes.shape[1] - 1)
        place = np.clip((x - modes[0][mode]) / (SPAN * modes[1][mode]), -0.99, 0.99)
        return np.where(known, mode + 1, 0), np.where(known, place, 0.0)

    def decode(self, n: int, state: NDArray[np.int64], place: F64, share: F64) -> pl.Series:
        """Values of column `n`. `share`: how far into its class a value of a class of several lies."""
        marginal, modes = self.marginals[n], self.modes[n]
        if modes is None:
            classes = self.classes[n]
            assert classes is not None
            return classes.values(marginal, state, share)
        mode = np.maximum(state - 1, 0)
        return marginal.nearest(modes[0][mode] + SPAN * modes[1][mode] * place, state > 0)

    def state(self) -> dict[str, NDArray]:
        return {f"modes.{n}": m for n, m in enumerate(self.modes) if m is not None}


def fit_layout(table: pl.DataFrame, marginals: Sequence[Marginal], stream: Stream) -> Layout:
    """Find the modes of each column's numbers."""
    return Layout(tuple(marginals), tuple(_modes(table[m.name], m, stream.child(m.name)) for m in marginals))


def rebuild_layout(marginals: tuple[Marginal, ...], arrays: Mapping[str, NDArray]) -> Layout:
    """The inverse of `Layout.state`. Raises ValueError for modes that are none."""
    found: list[F64 | None] = []
    for n, marginal in enumerate(marginals):
        if f"modes.{n}" not in arrays:
            found.append(None)
            continue
        modes = np.array(arrays[f"modes.{n}"])
        sound = modes.ndim == 2 and modes.shape[0] == 2 and modes.shape[1] and modes.dtype == np.float64
        if not sound or not np.isfinite(modes).all() or not (modes[1] > 0).all() or marginal.categories is not None:
            raise ValueError(f"the modes of column '{marginal.name}' are damaged")
        found.append(modes)
    return Layout(marginals, tuple(found))


def _modes(values: pl.Series, marginal: Marginal, stream: Stream) -> F64 | None:
    if marginal.categories is not None or not marginal.pieces or (marginal.atoms.all() and marginal.pieces <= LISTED):
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
