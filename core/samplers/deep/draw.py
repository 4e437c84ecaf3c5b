"""What drawing from any network takes: classes from scores, latent vectors from row addresses. NumPy alone."""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import NDArray

from ...stream import F64, Stream

F32 = NDArray[np.float32]

BLOCK = 2_048
"""Rows of one matrix product. Always as many: a product's last bits must not hang on how many rows are asked for."""


_GROUP = 8
_BELOW = np.float32(1.0 - 2.0**-23)


def choose_class(scores: F32, u: F64) -> NDArray[np.int64]:
    """A class for each row, with probabilities in proportion to the exponentials of its scores.

    `scores`: shape (classes, rows), and overwritten; `u`: uniforms, shape (rows,).
    """
    scores -= scores.max(axis=0)
    np.exp(scores, out=scores)
    # below 1 in single precision too: a class that cannot come may be the last
    at = np.minimum(u.astype(np.float32), _BELOW)
    if len(scores) <= 2 * _GROUP:
        return _place(scores, at).astype(np.int64)
    # first one of some groups of classes, then a class of that
    whole = len(scores) // _GROUP * _GROUP
    sums = scores[:whole].reshape(whole // _GROUP, _GROUP, len(u)).sum(axis=1)
    if whole < len(scores):
        scores = np.concatenate([scores, np.zeros((whole + _GROUP - len(scores), scores.shape[1]), np.float32)])
        sums = np.concatenate([sums, scores[whole:].sum(axis=0, keepdims=True)])
    held = sums.copy()
    group = _place(sums, at).astype(np.int64)
    row = np.arange(len(u))
    # what is left of the uniform within the group
    low = np.where(group > 0, sums[np.maximum(group - 1, 0), row], np.float32(0))
    size = held[group, row]
    left = np.divide(at * sums[-1] - low, size, out=np.full(len(u), 0.5, np.float32), where=size > 0)
    inside = scores.reshape(len(held), _GROUP, len(u))[group, :, row].T.copy()
    return group * _GROUP + _place(inside, np.clip(left, 0.0, _BELOW))


def _place(weights: F32, u: F32) -> NDArray[np.uint8]:
    """The place of each uniform among weights, shape (places, rows); these become their sums up to each place."""
    for k in range(1, len(weights)):
        # a loop of whole rows is several times faster than `cumsum`
        weights[k] += weights[k - 1]
    at = u * weights[-1]
    place = np.zeros(len(u), np.uint8)
    for k in range(len(weights) - 1):
        place += weights[k] <= at
    return place


def padded(x: F32) -> F32:
    """Rows of zeros added to the next whole number of blocks, at least one."""
    short = -len(x) % BLOCK if len(x) else BLOCK
    return np.concatenate([x, np.zeros((short, *x.shape[1:]), x.dtype)]) if short else x


@cache
def _normals() -> F32:
    from scipy.special import ndtri

    return ndtri((np.arange(1 << 16) + 0.5) / (1 << 16)).astype(np.float32)


def latent(stream: Stream, address: NDArray, count: int) -> F32:
    """Standard normals, `count` for each address, each one of 65,536 quantiles: four to a hashed word."""
    words = [stream.child("latent", k).bits(address) for k in range(-(-count // 4))]
    if not words:
        return np.zeros((len(address), 0), np.float32)
    return _normals()[np.stack(words, axis=1).view(np.uint16)[:, :count]]
