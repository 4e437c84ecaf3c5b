"""Column after column from forests of conditional trees: sequential synthesis with leaf sampling.

Nowok, Raab and Dibben 2016, "synthpop: Bespoke creation of synthetic data in R", Journal of Statistical Software 74(11), after Reiter (2005):
each column is drawn from the leaf of a tree over the columns before it. Here a row picks one of several randomised trees for each column,
so that what is drawn from is the mean of the trees' distributions, and a leaf is drawn towards the nodes above it by hierarchical shrinkage
(Agarwal, Tan, Ronen, Singh and Yu 2022, ICML, arXiv:2202.00858). `grow.py` learns them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ...stream import F64, Stream, join_rows
from ...tables import Table, rows
from .empirical import marginal_state, rebuild_marginals
from .marginal import Marginal

I32 = NDArray[np.int32]
F32 = NDArray[np.float32]

CLASSES = 24
"""Into how many classes of like size a column with more values is cut for the search for splits; leaves keep its values."""
CANDIDATES = 64
"""Beginnings of a row that are drawn where a given column stands after others; one is kept in proportion to how well it explains what is given."""
_CHUNK = 1 << 15
_LARGE = 20_000
"""Nodes of which trees do not stay near the processor together."""


@dataclass(frozen=True, eq=False)
class Conditional:
    """p(column | the columns before it): trees side by side under one root, whose first levels go by the number of the tree.

    Node arrays as in scikit-learn: rows with x[feature] <= threshold go left; a leaf has left = -1. Feature 0 is the tree's number, feature
    i + 1 the code of the i-th column. `codes[start[leaf]:start[leaf + 1]]` are the codes that a leaf's rows had, sorted. Nodes stand in
    preorder, so the rows of any node lie together. A node with n rows draws from its parent instead with probability `shrink / (n + shrink)`:
    its distribution is the posterior mean under a Dirichlet prior around its parent's.
    """

    trees: int
    shrink: float
    left: I32
    right: I32
    feature: I32
    threshold: F32
    start: NDArray[np.int64]
    codes: I32

    @cached_property
    def _walker(self) -> Any:
        from sklearn.tree._tree import NODE_DTYPE, Tree

        nodes: Any = np.zeros(len(self.left), NODE_DTYPE)
        nodes["left_child"], nodes["right_child"] = self.left, self.right
        nodes["feature"], nodes["threshold"] = self.feature, self.threshold
        width = int(self.feature.max(initial=0)) + 1
        tree = Tree(max(width, 1), np.array([1], np.intp), 1)
        tree.__setstate__(
            {"max_depth": len(nodes), "node_count": len(nodes), "nodes": nodes, "values": np.zeros((len(nodes), 1, 1))}
        )
        return tree

    @cached_property
    def _end(self) -> NDArray[np.int64]:
        """Where the rows of each node end."""
        at = np.where(self.left < 0, np.arange(len(self.left)), self.right)
        while not np.array_equal(further := at[at], at):
            at = further
        return self.start[at + 1]

    @cached_property
    def _climb(self) -> tuple[NDArray[np.int64], F64]:
        """Each node's parent, and the probability of going there."""
        parent = np.full(len(self.left), -1)
        inner = np.flatnonzero(self.left >= 0)
        parent[self.left[inner]] = parent[self.right[inner]] = inner
        size = self._end - self.start[:-1]
        # the root of a tree has no parent: those above it only choose the tree
        up = (parent >= self.trees - 1) & (size > 0)
        return parent, np.where(up, self.shrink / (np.maximum(size, 1) + self.shrink), 0.0)

    def leaf(self, x: F32) -> NDArray[np.int64]:
        """The leaf of each row of `x`, shape (rows, 1 + columns); its first column is the tree's number."""
        if len(self.left) < _LARGE or self.trees > 256:
            return self._walker.apply(x)
        # tree by tree, so that the one that is walked stays near the processor
        order = np.argsort(x[:, 0].astype(np.uint8), kind="stable")
        found = np.empty(len(x), np.intp)
        found[order] = self._walker.apply(x[order])
        return found

    def node(self, x: F32, u: F64) -> tuple[NDArray[np.int64], F64]:
        """The node that each row draws from, and what is left of its uniform. Writes the number of the tree into `x`."""
        u = u * self.trees
        tree = np.minimum(np.floor(u), self.trees - 1)
        x[:, 0] = tree
        u -= tree
        node = self.leaf(x)
        if self.shrink:
            parent, climb = self._climb
            moving, at, v = np.arange(len(u)), node, u
            while len(moving):
                chance = climb.take(at)
                up = v < chance
                stay, go = np.flatnonzero(~up), np.flatnonzero(up)
                here, low = moving.take(stay), chance.take(stay)
                node[here] = at.take(stay)
                u[here] = (v.take(stay) - low) / (1.0 - low)
                moving, at, v = moving.take(go), parent.take(at.take(go)), v.take(go) / chance.take(go)
        return node, u

    def draw(self, x: F32, u: F64) -> tuple[NDArray[np.int32], F64]:
        """A code for each row, and what is left of its uniform. Writes into the first column of `x`."""
        node, u = self.node(x, u)
        start = self.start.take(node)
        size = self._end.take(node) - start
        u *= size
        at = np.minimum(np.floor(u), size - 1)
        return self.codes.take(start + at.astype(np.int64)), np.minimum(u - at, 1.0)

    def likelihood(self, x: F32, u: F64, wanted: NDArray[np.int64], places: NDArray[np.int64]) -> F64:
        """The share of the class `wanted` in the node that each row would draw from: on average over `u`, the probability of the class.

        `places`: for each code its class and place as one number, class times the number of codes plus place, sorted.
        """
        node, _ = self.node(x, u)
        base, start, end = wanted * len(self.codes), self.start[node], self._end[node]
        return (np.searchsorted(places, base + end) - np.searchsorted(places, base + start)) / (end - start)


@dataclass(frozen=True, eq=False)
class Forest:
    """p(columns) as a product of conditionals in order. Columns that are given pass through, and the others are drawn conditional on them.

    Exact where the given columns stand first in the order; otherwise by sampling-importance-resampling with `CANDIDATES` beginnings for each
    row. What was never seen counts as missing.
    """

    marginals: tuple[Marginal, ...]
    order: tuple[int, ...]
    conditionals: tuple[Conditional, ...]
    """In order."""

    @property
    def columns(self) -> tuple[str, ...]:
        return tuple(m.name for m in self.marginals)

    def sample(self, given: Table, stream: Stream) -> Table:
        address = rows(given)
        parts = []
        for start in range(0, max(len(address), 1), _CHUNK):
            some = {name: given[name].slice(start, _CHUNK) for name in self.columns if name in given.columns}
            parts.append(self._part(some, address[start : start + _CHUNK], stream))
        return pl.concat(parts, rechunk=False)

    def _part(self, told: Mapping[str, pl.Series], address: NDArray, stream: Stream) -> Table:
        place = [k for k, n in enumerate(self.order) if self.marginals[n].name in told]
        codes = {k: code_of(self.marginals[self.order[k]], told[self.marginals[self.order[k]].name]) for k in place}
        x = np.zeros((len(address), 1 + len(self.order)), np.float32)
        shares: dict[int, F64] = {}
        begun = place[-1] + 1 if place and place != list(range(len(place))) else 0
        if begun and len(address):
            x = self._begin(begun, codes, address, stream)
        for k, n in enumerate(self.order):
            if k in codes:
                x[:, k + 1] = codes[k]
            elif k >= begun:
                u = stream.child(self.marginals[n].name).uniform(address)
                x[:, k + 1], shares[n] = self.conditionals[k].draw(x, u)
        made = []
        for n, marginal in enumerate(self.marginals):
            if marginal.name in told:
                made.append(told[marginal.name])
                continue
            code = x[:, self.order.index(n) + 1].astype(np.int64)
            share = shares[n] if n in shares else stream.child(marginal.name, "within").uniform(address)
            made.append(marginal.values(np.maximum(code, 0), share, code >= 0))
        return pl.DataFrame(made)

    def _begin(self, length: int, codes: Mapping[int, NDArray], address: NDArray, stream: Stream) -> F32:
        """The first `length` columns, given some of them."""
        x = np.zeros((len(address) * CANDIDATES, 1 + len(self.order)), np.float32)
        each = join_rows(address[:, None], np.arange(CANDIDATES)[None, :]).ravel()
        weight = np.zeros(len(each))
        for k in range(length):
            marginal = self.marginals[self.order[k]]
            u = stream.child(marginal.name, "candidate").uniform(each)
            if k not in codes:
                x[:, k + 1] = self.conditionals[k].draw(x, u)[0]
                continue
            classes, places = self._classes[k]
            wanted = classes.of_codes(codes[k])
            likely = self.conditionals[k].likelihood(x, u, np.repeat(wanted, CANDIDATES), places)
            # where no candidate explains what is given, any will do
            weight += np.log(likely + 1e-9 * np.repeat(classes.share[wanted], CANDIDATES) + 1e-15)
            x[:, k + 1] = np.repeat(codes[k], CANDIDATES)
        # the largest of weight + Gumbel noise falls on each candidate in proportion to its weight
        noise = -np.log(-np.log(stream.child("candidate", *self.columns).uniform(each)))
        best = np.argmax((weight + noise).reshape(-1, CANDIDATES), axis=1)
        return x[np.arange(len(address)) * CANDIDATES + best]

    @cached_property
    def _classes(self) -> list[tuple[Classes, NDArray[np.int64]]]:
        """Each column's classes, in order, and where its codes of each class lie."""
        found = []
        for n, c in zip(self.order, self.conditionals, strict=True):
            classes = Classes.of(self.marginals[n])
            found.append((classes, np.sort(classes.of_codes(c.codes) * len(c.codes) + np.arange(len(c.codes)))))
        return found

    def state(self) -> tuple[dict[str, Any], dict[str, NDArray]]:
        plain, arrays = marginal_state(self.marginals)
        plain |= {"order": list(self.order), "trees": [c.trees for c in self.conditionals]}
        plain["shrink"] = [c.shrink for c in self.conditionals]
        for k, c in enumerate(self.conditionals):
            for name in _ARRAYS:
                arrays[f"tree.{k}.{name}"] = getattr(c, name)
        return plain, arrays


_ARRAYS = {"left": "i4", "right": "i4", "feature": "i4", "threshold": "f4", "start": "i8", "codes": "i4"}


@dataclass(frozen=True, eq=False)
class Classes:
    """A column's codes in at most about `CLASSES` classes of neighbours with like shares; a value that is frequent is one of its own."""

    last: NDArray[np.int64]
    """The last code of each class; the first class is what is missing."""
    share: F64

    @staticmethod
    def of(marginal: Marginal, most: int = CLASSES) -> Classes:
        weight = np.diff(marginal.edges) * (1.0 - marginal.missing)
        if len(weight) > most:
            level = np.floor((np.cumsum(weight) - weight / 2) * most).astype(np.int64)
            alone = weight > 1.0 / most
            new = np.diff(level, prepend=-1) != 0
            new |= alone | np.concatenate(([False], alone[:-1]))
            last = np.append(np.flatnonzero(new)[1:] - 1, len(weight) - 1)
        else:
            last = np.arange(len(weight))
        last = np.concatenate(([-1], last))
        total = np.concatenate(([0.0], np.cumsum(weight)))
        return Classes(last, np.diff(total[last + 1], prepend=-marginal.missing))

    def of_codes(self, codes: NDArray) -> NDArray[np.int64]:
        return np.searchsorted(self.last, codes)

    def values(self, marginal: Marginal, state: NDArray[np.int64], share: F64) -> pl.Series:
        """The values that lie `share` (0 to 1) into their classes, by the column's own distribution; null in class 0."""
        there = state > 0
        if not marginal.pieces:
            return marginal.values(np.zeros(len(state), np.int64), share)
        first, last = np.where(there, self.last[state - 1] + 1, 0), np.where(there, self.last[state], 0)
        low, high = marginal.edges[first], marginal.edges[last + 1]
        place = low + share * (high - low)
        piece = np.clip(np.searchsorted(marginal.edges, place, side="right") - 1, first, last)
        width = marginal.edges[piece + 1] - marginal.edges[piece]
        within = np.divide(place - marginal.edges[piece], width, out=np.full(len(place), 0.5), where=width > 0)
        return marginal.values(piece, within, there)


def code_of(marginal: Marginal, values: pl.Series) -> NDArray[np.int64]:
    """The piece of each value; -1 for what is missing or was never seen."""
    piece, _, known = marginal.locate(values)
    return np.where(known, piece, -1)


def rebuild_forest(plain: Mapping[str, Any], arrays: Mapping[str, NDArray]) -> Forest:
    """The inverse of `Forest.state`. Raises ValueError for what is no forest: no walk may leave its arrays or fail to end."""
    marginals = rebuild_marginals(plain, arrays)
    order = tuple(plain["order"])
    if sorted(order) != list(range(len(marginals))) or len(plain["trees"]) != len(order):
        raise ValueError("its columns have no order")
    made = []
    for k, n in enumerate(order):
        held = {name: np.array(arrays[f"tree.{k}.{name}"]) for name in _ARRAYS}
        c = Conditional(int(plain["trees"][k]), float(plain["shrink"][k]), **held)
        if not _sound(c, k, marginals[n]):
            raise ValueError(f"the trees of column '{marginals[n].name}' are damaged")
        made.append(c)
    return Forest(marginals, order, tuple(made))


def _sound(c: Conditional, before: int, marginal: Marginal) -> bool:
    size = len(c.left)
    if any(getattr(c, name).dtype != np.dtype(kind) or getattr(c, name).ndim != 1 for name, kind in _ARRAYS.items()):
        return False
    if (
        not 1 <= c.trees <= 1 << 16
        or not 0.0 <= c.shrink < 1e9
        or not size
        or any(len(a) != size for a in (c.right, c.feature, c.threshold))
    ):
        return False
    at, leaf = np.arange(size), c.left < 0
    inner = ~leaf
    held = np.diff(c.start)
    return bool(
        len(c.start) == size + 1
        and c.start[0] == 0
        and c.start[-1] == len(c.codes)
        and (held >= 0).all()
        and (held[leaf] > 0).all()
        and (c.left[leaf] == -1).all()
        and (c.right[leaf] == -1).all()
        # children after parents: a walk ends
        and (c.left[inner] > at[inner]).all()
        and (c.right[inner] > at[inner]).all()
        and (c.left < size).all()
        and (c.right < size).all()
        and ((c.feature[inner] >= 0) & (c.feature[inner] <= before)).all()
        and np.isfinite(c.threshold).all()
        and (c.codes >= -1).all()
        and (c.codes < max(marginal.pieces, 1)).all()
    )
