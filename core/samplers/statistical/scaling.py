"""The order of categories along their latent variable, chosen so that it carries what they tell about the other columns."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ...stream import F64
from .correlation import Piece, step_scores
from .marginal import Marginal

ROUNDS = 3
_FEW = 5
"""Categories seen less often than this say nothing about their order."""
_SPREAD_OUT = 30


def order_categories(marginals: tuple[Marginal, ...], pieces: Sequence[Piece]) -> tuple[Marginal, ...]:
    """The marginals with their categories in order of the first principal axis of their profiles.

    A category's profile is its mean score on every other column; weighted by frequency, the first axis is the one-dimensional scale that
    explains most of what categories tell about the rest (dual scaling; Nishisato 1980). Columns take turns, as each one's scale is part
    of the others' profiles; at first, columns with few categories take part through indicators.
    """
    views = [_start(m, at) for m, at in zip(marginals, pieces, strict=True)]
    orders: dict[int, NDArray[np.int64]] = {}
    for _ in range(ROUNDS):
        for j, marginal in enumerate(marginals):
            if marginal.categories is None or marginal.pieces < 2:
                continue
            others = [v for k, view in enumerate(views) if k != j for v in view]
            orders[j] = _scale(marginal, pieces[j], others)
            rank = np.argsort(orders[j])
            score = step_scores(marginal.ordered(orders[j]).edges)[rank]
            views[j] = [_standard(score[pieces[j][0]], pieces[j][2])]
    return tuple(m.ordered(orders[j]) if j in orders else m for j, m in enumerate(marginals))


def _start(marginal: Marginal, at: Piece) -> list[F64]:
    piece, _, known = at
    views = []
    if marginal.categories is None:
        if marginal.pieces > 1:
            views.append(_standard(step_scores(marginal.edges)[piece], known))
    elif 2 <= marginal.pieces <= _SPREAD_OUT:
        views += [_standard((piece == k).astype(np.float64), known) for k in range(marginal.pieces)]
    if 0.0 < marginal.missing < 1.0:
        views.append(_standard((~known).astype(np.float64), np.ones(len(known), bool)))
    return views


def _scale(marginal: Marginal, at: Piece, others: list[F64]) -> NDArray[np.int64]:
    """The order of a column's categories, as positions among them."""
    piece, _, known = at
    piece = piece[known]
    counts = np.bincount(piece, minlength=marginal.pieces)
    if not others:
        return np.arange(marginal.pieces)
    profile = np.stack([np.bincount(piece, v[known], marginal.pieces) for v in others], axis=1)
    profile /= np.maximum(counts, 1)[:, None]
    share = counts / counts.sum()
    profile -= share @ profile
    profile *= np.where(counts >= _FEW, counts / (counts + _FEW), 0.0)[:, None]
    spread = np.einsum("ki,k,kj->ij", profile, share, profile)
    axis = np.linalg.eigh(spread)[1][:, -1]
    axis *= np.sign(axis[np.argmax(np.abs(axis))])
    # the sum is taken column by column and rounded: the order must not hang on the last bits
    position = np.round(sum((w * column for w, column in zip(axis, profile.T, strict=True)), np.zeros(len(profile))), 9)
    return np.lexsort((np.arange(marginal.pieces), position))


def _standard(score: F64, known: NDArray[np.bool_]) -> F64:
    """With mean 0 and variance 1 over the rows that have a value; 0 elsewhere."""
    n = max(int(known.sum()), 1)
    mean = np.sum(score, where=known) / n
    sd = np.sqrt(np.sum((score - mean) ** 2, where=known) / n)
    return np.where(known, (score - mean) / sd if sd > 0 else 0.0, 0.0)
