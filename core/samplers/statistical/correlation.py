"""From pieces to the latent correlation matrix of a Gaussian copula."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ...stream import F64
from .marginal import Marginal

if TYPE_CHECKING:
    from .copula import Latent

TERMS = 64
"""Terms of Mehler's series."""
_GRID = 2.0**-12
"""Scores are multiples of this, so that sums of their products are exact and do not depend on how a library splits them."""
_LEAST = 1e-4
_MOST = 0.9995
_PAIRS = 3

Piece = tuple[NDArray[np.int64], F64, NDArray[np.bool_]]


def latent_correlation(marginals: Sequence[Marginal], pieces: Sequence[Piece], latents: Sequence[Latent]) -> F64:
    """The correlation matrix under which pairs of columns have the score covariances they were seen to have.

    Covariances are taken over the rows where both columns have a value; a pair with fewer than 3 is taken as independent.
    """
    size, height = len(latents), len(pieces[0][0])
    if not size:
        return np.empty((0, 0))
    scores, seen = np.zeros((height, size)), np.ones((height, size), bool)
    hermite, spread = np.empty((size, TERMS)), np.empty(size)
    for d, latent in enumerate(latents):
        marginal = marginals[latent.column]
        piece, _, known = pieces[latent.column]
        if latent.kind == "value":
            edges, seen[:, d] = marginal.edges, known
        else:
            edges, piece = np.array([0.0, marginal.missing, 1.0]), known.astype(np.int64)
        score = step_scores(edges)
        hermite[d], spread[d] = _hermite(edges, score), np.sqrt(np.sum(np.diff(edges) * score**2))
        scores[:, d] = np.where(seen[:, d], np.round(score[piece] / _GRID), 0.0)
    target = _pairwise(scores, seen)
    r = _invert(target * spread[:, None] * spread[None, :], hermite)
    own = {latent.column: d for d, latent in enumerate(latents) if latent.kind == "value"}
    for d, latent in enumerate(latents):
        if latent.kind == "missing" and latent.column in own:
            r[d, own[latent.column]] = r[own[latent.column], d] = 0.0
    return nearest_correlation(r)


def step_scores(edges: F64) -> F64:
    """The mean of a standard normal within each piece: E[Z | piece]."""
    density = _density(_ndtri(edges))
    width = np.diff(edges)
    return np.divide(density[:-1] - density[1:], width, out=np.zeros(len(width)), where=width > 0)


def _hermite(edges: F64, score: F64) -> F64:
    """The coefficients of a step function in the orthonormal Hermite polynomials 1 to TERMS."""
    z = _ndtri(edges)
    finite = np.isfinite(z)
    x = np.where(finite, z, 0.0)
    density = _density(z)
    out = np.empty(TERMS)
    before, polynomial = np.zeros(len(x)), np.ones(len(x))
    for m in range(1, TERMS + 1):
        at = polynomial * density
        out[m - 1] = np.sum(score * (at[:-1] - at[1:])) / np.sqrt(m)
        before, polynomial = polynomial, (x * polynomial - np.sqrt(m - 1.0) * before) / np.sqrt(m)
    return out


def _pairwise(scores: F64, seen: NDArray[np.bool_]) -> F64:
    """Correlations over the rows where both are seen. The sums are of whole numbers, and exact."""
    there = seen.astype(np.float64)
    n = there.T @ there
    first, second = scores.T @ there, (scores**2).T @ there
    both = scores.T @ scores
    with np.errstate(all="ignore"):
        covariance = both / n - (first / n) * (first.T / n)
        variance = second / n - (first / n) ** 2
        r = covariance / np.sqrt(variance * variance.T)
    return np.where((n >= _PAIRS) & np.isfinite(r), np.clip(r, -1.0, 1.0), 0.0)


def _invert(target: F64, hermite: F64) -> F64:
    """The latent correlation of each pair: the root of Mehler's series Σ a_m b_m ρ^m = target, which rises with ρ. By bisection."""
    i, j = np.triu_indices(len(target), 1)
    products = hermite[i] * hermite[j]
    goal = target[i, j]
    low, high = np.full(len(i), -_MOST), np.full(len(i), _MOST)
    for _ in range(40):
        middle = (low + high) / 2
        value = np.zeros(len(i))
        for m in range(TERMS - 1, -1, -1):
            value = (value + products[:, m]) * middle
        below = value < goal
        low, high = np.where(below, middle, low), np.where(below, high, middle)
    r = np.eye(len(target))
    r[i, j] = r[j, i] = np.where(goal == 0.0, 0.0, (low + high) / 2)
    return r


def nearest_correlation(r: F64) -> F64:
    """The nearest correlation matrix whose eigenvalues are at least 1e-4 (Higham 2002, alternating projections), rounded to 12 decimals."""
    if np.linalg.eigvalsh(r)[0] < _LEAST:
        x, correction = r, np.zeros_like(r)
        for _ in range(200):
            shifted = x - correction
            projected = _lifted(shifted)
            correction = projected - shifted
            following = projected.copy()
            np.fill_diagonal(following, 1.0)
            moved = np.abs(following - x).max()
            x = following
            if moved < 1e-7:
                break
        x = _lifted(x)
        scale = 1.0 / np.sqrt(np.diag(x))
        r = x * scale[:, None] * scale[None, :]
    r = np.round((r + r.T) / 2, 12)
    np.fill_diagonal(r, 1.0)
    return r


def _lifted(x: F64) -> F64:
    values, vectors = np.linalg.eigh(x)
    return (vectors * np.maximum(values, _LEAST)) @ vectors.T


def _density(z: F64) -> F64:
    return np.exp(-0.5 * z * z) / np.sqrt(2 * np.pi)


def _ndtri(u: Any) -> Any:
    from scipy.special import ndtri

    return ndtri(u)
