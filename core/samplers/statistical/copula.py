"""A Gaussian copula over columns of any type, with missing values: marginals as they are, dependence through a latent normal vector.

A column has up to two latent variables: its value, and, where values are missing, whether it has one. Each is a monotone function of a
standard normal, a step at every piece of its marginal. Because Mehler's formula says what covariance two such functions have for a latent
correlation, the latent correlation is found by inverting it: ties, zero inflation and categories do not bias it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ...stream import F64, Stream
from ...tables import Table, rows
from .correlation import latent_correlation
from .empirical import fit_marginals, marginal_state, rebuild_marginals
from .marginal import Marginal
from .scaling import order_categories

SWEEPS = 24
"""Gibbs sweeps where two or more given columns have atoms: with latent correlations of 0.9 the start weighs 0.9**48, under one in a hundred."""
FURTHEST = 9.0
LEAST = 0.01
"""The least eigenvalue of the correlation of what is told."""
_ROWS = 1 << 16
_CHUNK = 1 << 12


@dataclass(frozen=True)
class Latent:
    """A column's value (kind "value") or whether it is missing (kind "missing")."""

    column: int
    kind: str


@dataclass(frozen=True, eq=False)
class GaussianCopula:
    """p(columns) by a Gaussian copula. Columns that are given pass through, and the others are drawn conditional on them, row by row.

    A number outside what was seen counts as the nearest one that was; a category that was never seen, or a null in a column that had none,
    tells nothing, and the row is drawn as if it had not been given. Draws given continuous columns, and at most one column with atoms, are
    exact; given several with atoms they come from a Gibbs sampler with `SWEEPS` sweeps.
    """

    marginals: tuple[Marginal, ...]
    correlation: F64
    """Between the latent variables, in the order of `latents`."""

    @property
    def columns(self) -> tuple[str, ...]:
        return tuple(m.name for m in self.marginals)

    @cached_property
    def latents(self) -> tuple[Latent, ...]:
        return latents_of(self.marginals)

    def sample(self, given: Table, stream: Stream) -> Table:
        address = rows(given)
        told = {n: given[name] for n, name in enumerate(self.columns) if name in given.columns}
        parts = []
        for start in range(0, max(len(address), 1), _ROWS):
            held = {n: values.slice(start, _ROWS) for n, values in told.items()}
            parts.append(self._part(held, address[start : start + _ROWS], stream))
        return pl.concat(parts)

    def _part(self, told: Mapping[int, pl.Series], address: NDArray, stream: Stream) -> Table:
        z = self._draw(told, address, stream)
        made = []
        for n, marginal in enumerate(self.marginals):
            if n in told:
                made.append(told[n])
                continue
            present = None
            if n in self._missing:
                present = z[self._missing[n]] >= _ndtri(marginal.missing)
            at = z[self._value[n]] if n in self._value else np.zeros(len(address))
            made.append(marginal.quantile(_uniform(at), present))
        return pl.DataFrame(made)

    def state(self) -> tuple[dict[str, Any], dict[str, NDArray]]:
        plain, arrays = marginal_state(self.marginals)
        return plain, {**arrays, "correlation": self.correlation}

    @cached_property
    def _value(self) -> dict[int, int]:
        return {latent.column: n for n, latent in enumerate(self.latents) if latent.kind == "value"}

    @cached_property
    def _missing(self) -> dict[int, int]:
        return {latent.column: n for n, latent in enumerate(self.latents) if latent.kind == "missing"}

    def _draw(self, told: Mapping[int, pl.Series], address: NDArray, stream: Stream) -> F64:
        """The latent vectors, shape (latents, rows), conditional on what is told."""
        size = len(self.latents)
        low, high = np.full((size, len(address)), -np.inf), np.full((size, len(address)), np.inf)
        bound = np.zeros((size, len(address)), bool)
        stepped = np.zeros(size, bool)
        for n, values in told.items():
            self._bounds(n, values, low, high, bound, stepped)
        z = np.empty((size, len(address)))
        # rows that are told the same latents share the linear algebra
        for held, at in _patterns(bound):
            block = np.empty((size, len(at)))
            if len(held):
                bounds = low[np.ix_(held, at)], high[np.ix_(held, at)]
                block[held] = self._within(held, *bounds, stepped[held], address[at], stream)
            self._fill(block, held, address[at], stream)
            z[:, at] = block
        return z

    def _bounds(self, n: int, values: pl.Series, low: F64, high: F64, bound: NDArray, stepped: NDArray) -> None:
        """What a told column says about its latents: an interval for an atom, a point within a stretch."""
        marginal = self.marginals[n]
        piece, share, known = marginal.locate(values)
        if n in self._value:
            d = self._value[n]
            start, end = marginal.edges[piece], marginal.edges[piece + 1]
            atom = marginal.atoms[piece]
            # the ends of what was seen are no infinite way off
            point = np.clip(start + share * (end - start), 2.0**-54, 1.0 - 2.0**-53)
            low[d] = np.where(known, _ndtri(np.where(atom, start, point)), -np.inf)
            high[d] = np.where(known, _ndtri(np.where(atom, end, point)), np.inf)
            bound[d], stepped[d] = known, marginal.atoms.any()
        if n in self._missing:
            d, cut = self._missing[n], _ndtri(marginal.missing)
            null = values.is_null().to_numpy()
            # an unseen category is a value, but tells which one only
            low[d], high[d] = np.where(null, -np.inf, cut), np.where(null, cut, np.inf)
            bound[d], stepped[d] = True, True

    def _within(self, held: NDArray, low: F64, high: F64, stepped: NDArray, address: NDArray, stream: Stream) -> F64:
        """The told latents, given the intervals they lie in: a truncated normal vector, one for each row, shape (held, rows)."""
        streams = [self._stream(d, stream).child("within") for d in held]
        z = np.empty(low.shape)
        told = _apart(self.correlation[np.ix_(held, held)])
        root = np.linalg.cholesky(told)
        noise = np.empty(low.shape)
        for i in range(len(held)):
            mean = _weighted(root[i, :i], noise)
            u = streams[i].child(0).uniform(address)
            z[i] = _truncated(mean, root[i, i], low[i], high[i], u)
            noise[i] = (z[i] - mean) / root[i, i]
        if len(held) == 1 or not stepped.any():
            return z
        precision = np.linalg.inv(told)
        moving = np.flatnonzero(stepped)
        for sweep in range(1, 2 if len(moving) == 1 else SWEEPS + 1):
            for i in moving:
                weights = -precision[i] / precision[i, i]
                weights[i] = 0.0
                u = streams[i].child(sweep).uniform(address)
                z[i] = _truncated(_weighted(weights, z), 1.0 / np.sqrt(precision[i, i]), low[i], high[i], u)
        return z

    def _fill(self, z: F64, held: NDArray, address: NDArray, stream: Stream) -> None:
        """Draw the latents that are not told, given those that are."""
        free = np.setdiff1d(np.arange(len(self.latents)), held)
        if not len(free):
            return
        r = self.correlation
        across = r[np.ix_(held, free)]
        slope = np.linalg.solve(_apart(r[np.ix_(held, held)]), across).T
        root = _root(r[np.ix_(free, free)] - slope @ across)
        streams = [self._stream(d, stream) for d in free]
        for start in range(0, len(address), _CHUNK):
            at = slice(start, start + _CHUNK)
            noise = np.stack([s.normal(address[at]) for s in streams])
            for i, d in enumerate(free):
                z[d, at] = _weighted(root[i, : i + 1], noise) + _weighted(slope[i], z[held, at])

    def _stream(self, latent: int, stream: Stream) -> Stream:
        at = self.latents[latent]
        return stream.child(self.marginals[at.column].name, at.kind)


def fit_copula(table: Table, stream: Stream) -> GaussianCopula:
    """Learn a table. Raises UserError for an empty table or a column of a type that cannot be learnt."""
    marginals = fit_marginals(table)
    pieces = [m.locate(table[m.name]) for m in marginals]
    marginals = order_categories(marginals, pieces)
    pieces = [m.locate(table[m.name]) if m.categories else at for m, at in zip(marginals, pieces, strict=True)]
    return GaussianCopula(marginals, latent_correlation(marginals, pieces, latents_of(marginals)))


def rebuild_copula(plain: Mapping[str, Any], arrays: Mapping[str, NDArray]) -> GaussianCopula:
    """The inverse of `GaussianCopula.state`. Raises ValueError for what is no copula."""
    marginals = rebuild_marginals(plain, arrays)
    r = np.array(arrays["correlation"])
    size = len(latents_of(marginals))
    if r.shape != (size, size) or r.dtype != np.float64 or not np.isfinite(r).all():
        raise ValueError(f"its correlation matrix is not one of {size} × {size} numbers")
    if size and (not np.allclose(np.diag(r), 1.0) or not np.allclose(r, r.T) or np.linalg.eigvalsh(r)[0] <= 0):
        raise ValueError("its correlation matrix is not one")
    return GaussianCopula(marginals, r)


def latents_of(marginals: tuple[Marginal, ...]) -> tuple[Latent, ...]:
    """The latent variables of a table: a constant column has none, a column that is sometimes missing one more."""
    return tuple(
        Latent(n, kind)
        for n, m in enumerate(marginals)
        for kind, exists in (("value", m.pieces > 1), ("missing", 0.0 < m.missing < 1.0))
        if exists
    )


def _patterns(bound: NDArray[np.bool_]) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """Which latents are told, and the rows of which that is true."""
    told = np.flatnonzero(bound.any(axis=1))
    if bound[told].all():
        yield told, np.arange(bound.shape[1])
        return
    frame = pl.DataFrame({str(d): bound[d] for d in told}).with_row_index("at")
    for *pattern, at in frame.group_by([str(d) for d in told]).agg("at").rows():
        yield told[np.array(pattern)], np.array(at)


def _weighted(weights: NDArray, columns: NDArray) -> F64:
    """Σ weight × column, added in a fixed order: a matrix product would round differently with the number of rows."""
    total = np.zeros(columns.shape[1])
    for weight, column in zip(weights, columns, strict=False):
        if weight:
            total += weight * column
    return total


def _truncated(mean: F64, sd: float, low: F64, high: F64, u: F64) -> F64:
    """Normals between two bounds by inversion, mirrored so that the far tail keeps its precision; a point where the bounds are equal."""
    from scipy.special import ndtr, ndtri

    a, b = (low - mean) / sd, (high - mean) / sd
    mirror = a > 0
    a, b = np.where(mirror, -b, a), np.where(mirror, -a, b)
    pa, pb = ndtr(a), ndtr(b)
    z = ndtri(np.clip(pa + np.where(mirror, 1.0 - u, u) * (pb - pa), 1e-300, 1.0 - 1e-16))
    z = mean + sd * np.where(mirror, -z, z)
    # no uniform lies further out; what columns that say the same contradict must not run away
    return np.clip(np.clip(z, -FURTHEST, FURTHEST), low, high)


def _apart(correlation: F64) -> F64:
    """The correlation of what is told, with a little noise where columns say nearly the same: values that contradict one another must not count for
    more than values that do not."""
    least = np.linalg.eigvalsh(correlation)[0] if len(correlation) else 1.0
    return correlation + np.eye(len(correlation)) * max(0.0, LEAST - least)


def _root(spread: F64) -> F64:
    """A Cholesky root, of the nearest matrix that has one where rounding has left a negative eigenvalue."""
    least = np.linalg.eigvalsh(spread)[0]
    root = np.linalg.cholesky(spread + np.eye(len(spread)) * max(0.0, 1e-9 - least))
    return root.astype(np.float64)


def _uniform(z: F64) -> F64:
    from scipy.special import ndtr

    return np.clip(ndtr(z), 2.0**-54, 1.0 - 2.0**-53)


def _ndtri(u: Any) -> Any:
    from scipy.special import ndtri

    return ndtri(u)
