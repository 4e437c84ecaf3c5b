"""An adversarial random forest: a forest learns to tell rows from copies of them, until copies made within its leaves cannot be told.

Watson, Blesch, Kapar and Wright 2023, "Adversarial random forests for density estimation and generative modeling", AISTATS, arXiv:2205.09435. Within
a leaf of the last forest columns are independent: a row picks a leaf as often as rows fall into it, and each column a value that a row of the leaf has.
Here a value is a piece of the column's distribution rather than a truncated normal, so columns of any type keep their atoms and gaps.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ...parts import part
from ...stream import F64, Stream
from ...tables import Table, rows
from .empirical import marginal_state, rebuild_marginals
from .forest import Classes, code_of
from .grow import DEEPEST, encode
from .marginal import Marginal

I32 = NDArray[np.int32]
I64 = NDArray[np.int64]

TREES = 20
LEAF = 10
"""Rows and copies that a leaf holds at least."""
ROUNDS = 10
TOLD = 0.52
"""Rounds end when rows that a tree did not see are told from copies no more often than this."""
ROWS = 100_000
"""Rows that leaves hold at most; the marginals see every row."""
_CHUNK = 1 << 15
_CELLS = 1 << 24
_LEAN = 0.05


@dataclass(frozen=True, eq=False)
class AdversarialForest:
    """p(columns) as a mixture over leaves. Columns that are given pass through; a leaf is then picked as often as it is likely given their classes,
    exactly, and the others are drawn from it. What was never seen tells nothing."""

    marginals: tuple[Marginal, ...]
    codes: I32
    """The pieces of the rows, shape (rows, columns); -1 is missing."""
    order: I32
    """The rows by leaf, shape (trees, rows)."""
    start: I64
    """Where each leaf begins in `order`, laid flat; the last number is its size."""

    @property
    def columns(self) -> tuple[str, ...]:
        return tuple(m.name for m in self.marginals)

    def sample(self, given: Table, stream: Stream) -> Table:
        address = rows(given)
        told = {n: given[c] for n, c in enumerate(self.columns) if c in given.columns}
        parts = []
        for at in range(0, max(len(address), 1), _CHUNK):
            held = {n: v.slice(at, _CHUNK) for n, v in told.items()}
            parts.append(self._part(held, address[at : at + _CHUNK], stream))
        return pl.concat(parts, rechunk=False)

    def _part(self, told: Mapping[int, pl.Series], address: NDArray, stream: Stream) -> Table:
        leaf = self._leaves(told, address, stream)
        low = self.start[leaf]
        size = self.start[leaf + 1] - low
        flat = self.order.ravel()
        made = []
        for n, marginal in enumerate(self.marginals):
            if n in told:
                made.append(told[n])
                continue
            u = stream.child(marginal.name).uniform(address) * size
            place = np.minimum(np.floor(u).astype(np.int64), size - 1)
            code = self.codes[flat[low + place], n].astype(np.int64)
            made.append(marginal.values(np.maximum(code, 0), np.clip(u - place, 0.0, 1.0), code >= 0))
        return pl.DataFrame(made)

    def _leaves(self, told: Mapping[int, pl.Series], address: NDArray, stream: Stream) -> I64:
        u = stream.child("leaf", *self.columns).uniform(address)
        total = int(self.start[-1])
        whole = np.searchsorted(self.start, np.minimum((u * total).astype(np.int64), total - 1), side="right") - 1
        if not told or not len(address):
            return whole
        state = {n: self._classes[n].of_codes(code_of(self.marginals[n], v)) for n, v in told.items()}
        key = np.stack([state[n] for n in told], axis=1)
        distinct, which = np.unique(key, axis=0, return_inverse=True)
        by = np.argsort(which.ravel(), kind="stable")
        ends = np.searchsorted(which.ravel()[by], np.arange(len(distinct) + 1))
        step = max(1, _CELLS // len(self.start))
        out = whole
        for begin in range(0, len(distinct), step):
            some = distinct[begin : begin + step]
            likely = np.repeat(self._size[None], len(some), axis=0)
            for k, n in enumerate(told):
                seen = self._classes[n].share[some[:, k]] > 0
                likely *= np.where(seen[:, None], self._share(n)[:, some[:, k]].T, 1.0)
            total_ = np.cumsum(likely, axis=1)
            for j in range(len(some)):
                at = by[ends[begin + j] : ends[begin + j + 1]]
                out[at] = np.minimum(
                    np.searchsorted(total_[j], u[at] * total_[j, -1], side="right"), likely.shape[1] - 1
                )
        return out

    @cached_property
    def _size(self) -> F64:
        return np.diff(self.start).astype(np.float64)

    @cached_property
    def _classes(self) -> list[Classes]:
        return [Classes.of(m) for m in self.marginals]

    @cached_property
    def _shares(self) -> dict[int, F64]:
        return {}

    def _share(self, n: int) -> F64:
        """p(class of a column | leaf), shape (leaves, classes); a little of the column's own share, so that no leaf is impossible."""
        if n not in self._shares:
            classes = self._classes[n]
            leaf = np.repeat(np.arange(len(self._size)), np.diff(self.start))
            state = classes.of_codes(self.codes[self.order.ravel(), n])
            size = len(classes.share)
            counts = np.bincount(leaf * size + state, minlength=len(self._size) * size).reshape(-1, size)
            self._shares[n] = (counts + _LEAN * np.maximum(classes.share, 0)) / (self._size[:, None] + _LEAN)
        return self._shares[n]

    def state(self) -> tuple[dict[str, Any], dict[str, NDArray]]:
        plain, arrays = marginal_state(self.marginals)
        return plain, arrays | {"codes": self.codes, "order": self.order, "start": self.start}


def fit_adversarial_forest(table: Table, stream: Stream, trees: int = TREES) -> AdversarialForest:
    """Learn a table with so many trees. Raises UserError for an empty table or a column of a type that cannot be learnt."""
    from threadpoolctl import threadpool_limits

    marginals, held = encode(table)
    codes = np.stack(held, axis=1).astype(np.int32)
    if len(codes) > ROWS:
        codes = codes[np.sort(np.argsort(stream.child("rows").bits(np.arange(len(codes))), kind="stable")[:ROWS])]
    made = AdversarialForest(marginals, codes, *_one_leaf(codes))
    if len(np.unique(codes, axis=0)) < 2 or codes.shape[1] < 2:
        return made
    # one thread: sums of floats must not hang on how many there are
    with threadpool_limits(1):
        for round_ in range(ROUNDS):
            names = stream.child("round", round_)

            def told_apart(now: AdversarialForest = made, names: Stream = names) -> Any:
                return _forest(codes, _copies(now, names.child("copies")), names.child("forest"), trees)

            found, told = part(f"round {round_}", told_apart)
            if round_ and told <= TOLD:
                break
            made = AdversarialForest(marginals, codes, *found)
    return made


def _one_leaf(codes: I32) -> tuple[I32, I64]:
    return np.arange(len(codes), dtype=np.int32)[None], np.array([0, len(codes)])


def _copies(made: AdversarialForest, stream: Stream) -> I32:
    """As many rows of codes as there are."""
    at = np.arange(len(made.codes))
    leaf = made._leaves({}, at, stream)
    low, flat = made.start[leaf], made.order.ravel()
    size = made.start[leaf + 1] - low
    place = [
        low + np.minimum((stream.child(n).uniform(at) * size).astype(np.int64), size - 1)
        for n in range(made.codes.shape[1])
    ]
    return np.stack([made.codes[flat[p], n] for n, p in enumerate(place)], axis=1)


def _forest(codes: I32, copies: I32, stream: Stream, trees: int) -> tuple[tuple[I32, I64], float]:
    """The leaves of a forest that tells rows from copies, and how often it is right about those a tree did not see."""
    from sklearn.ensemble import RandomForestClassifier

    x = np.concatenate((codes, copies)).astype(np.float32)
    y = np.repeat([0, 1], len(codes))
    seed = int(stream.bits(np.zeros(1, np.uint64))[0] % np.uint64(2**31))
    forest = RandomForestClassifier(
        trees, max_depth=DEEPEST, min_samples_leaf=LEAF, oob_score=len(codes) >= 50, n_jobs=1, random_state=seed
    )
    with warnings.catch_warnings():
        # of many rows, a few are in every tree
        warnings.filterwarnings("ignore", message="Some inputs do not have OOB scores")
        forest.fit(x, y)
    order, starts, total = [], [0], 0
    for leaf in forest.apply(x[: len(codes)]).T:
        by = np.argsort(leaf, kind="stable")
        sizes = np.unique(leaf, return_counts=True)[1]
        order.append(by.astype(np.int32))
        starts += list(total + np.cumsum(sizes))
        total += len(codes)
    return (np.stack(order), np.array(starts)), float(getattr(forest, "oob_score_", 0.5))


def rebuild_adversarial_forest(plain: Mapping[str, Any], arrays: Mapping[str, NDArray]) -> AdversarialForest:
    """The inverse of `AdversarialForest.state`. Raises ValueError for what is no forest: no walk may leave its arrays."""
    marginals = rebuild_marginals(plain, arrays)
    codes, order, start = (np.array(arrays[k]) for k in ("codes", "order", "start"))
    sound = (
        codes.dtype == order.dtype == np.int32
        and start.dtype == np.int64
        and codes.ndim == order.ndim == 2
        and start.ndim == 1
        and codes.shape[1] == len(marginals)
        and order.shape[1] == len(codes) > 0
        and len(start) > 1
        and start[0] == 0
        and start[-1] == order.size
        and (np.diff(start) > 0).all()
        and (order >= 0).all()
        and (order < len(codes)).all()
        and _within(codes, marginals)
    )
    if not sound:
        raise ValueError("its leaves are damaged")
    return AdversarialForest(marginals, codes, order, start)


def _within(codes: I32, marginals: Sequence[Marginal]) -> bool:
    return all((codes[:, n] >= -1).all() and (codes[:, n] < max(m.pieces, 1)).all() for n, m in enumerate(marginals))
