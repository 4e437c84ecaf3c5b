"""Distributions of several discrete columns as a product over a junction tree, fitted to noisy counts of some of them.

Koller and Friedman 2009, Probabilistic Graphical Models, 10.2 and 10.4, for the tree and its calibration; McKenna, Sheldon and Miklau 2019,
"Graphical-model based estimation and inference for differential privacy", ICML, arXiv:1901.09136, for the fit: of all distributions that come nearest
to the counts, the one of greatest entropy, by mirror descent. All of it works on what was paid for: it reads no private data.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np

from ..stream import F64
from .private_table import I64

Clique = tuple[int, ...]
"""Numbers of columns, rising."""
_TINY = 1e-300


@dataclass(frozen=True, eq=False)
class Measured:
    """Noisy counts of combinations of columns. `cell`: for each combination of the columns' codes the place of its count, so that counts may be of
    coarser groups. `sigma`: the standard deviation of the noise, of all counts or of each."""

    columns: Clique
    cell: I64
    counts: F64
    sigma: F64 | float


@dataclass(frozen=True)
class Tree:
    """Cliques, each after its parent (-1: none), and the sizes of all columns."""

    sizes: tuple[int, ...]
    cliques: tuple[Clique, ...]
    parents: tuple[int, ...]

    @property
    def cells(self) -> float:
        return float(sum(np.prod([float(self.sizes[c]) for c in q]) for q in self.cliques))

    def home(self, columns: Iterable[int]) -> int:
        """The smallest clique that holds all of `columns`; -1 where there is none."""
        wanted = set(columns)
        fits = [(np.prod([float(self.sizes[c]) for c in q]), n) for n, q in enumerate(self.cliques) if wanted <= set(q)]
        return min(fits)[1] if fits else -1

    def shape(self, n: int) -> list[int]:
        return [self.sizes[c] for c in self.cliques[n]]

    def shared(self, n: int) -> Clique:
        """What a clique has in common with its parent."""
        return tuple(c for c in self.cliques[n] if self.parents[n] >= 0 and c in self.cliques[self.parents[n]])


def junction_tree(sizes: Sequence[int], groups: Iterable[Clique]) -> Tree:
    """A tree of cliques in which each group of columns lies within one: columns are eliminated one by one, that with the smallest clique next."""
    near: list[set[int]] = [{n} for n in range(len(sizes))]
    for group in groups:
        for c in group:
            near[c] |= set(group)
    left, found = set(range(len(sizes))), []
    log = np.log([float(s) for s in sizes])
    while left:
        best = min(left, key=lambda n: (sum(log[c] for c in near[n]), n))
        clique = near[best]
        if not any(clique <= q for q in found):
            found.append(set(clique))
        for c in clique - {best}:
            near[c] |= clique
            near[c].discard(best)
        left.discard(best)
    return _joined(tuple(int(s) for s in sizes), [tuple(sorted(q)) for q in found])


def _joined(sizes: tuple[int, ...], cliques: list[Clique]) -> Tree:
    """The spanning tree of the cliques that share most (Prim 1957), the first clique its root."""
    order, parents = [0], [-1]
    best = {n: (len(set(cliques[n]) & set(cliques[0])), 0) for n in range(1, len(cliques))}
    while best:
        n = max(best, key=lambda k: (best[k][0], -k))
        _, parent = best.pop(n)
        order.append(n)
        parents.append(order.index(parent))
        for k in best:
            common = len(set(cliques[k]) & set(cliques[n]))
            if common > best[k][0]:
                best[k] = (common, n)
    return Tree(sizes, tuple(cliques[n] for n in order), tuple(parents))


@dataclass
class Fitted:
    """The distribution over each clique of a tree, and the weights of the measurements that make it."""

    tree: Tree
    beliefs: list[F64]
    weights: list[F64]
    _given: dict[int, F64] = field(default_factory=dict)

    def marginal(self, columns: Clique) -> F64:
        """p(columns) for columns that share a clique, shape their sizes."""
        n = self.tree.home(columns)
        return _summed(self.beliefs[n], self.tree.cliques[n], columns)

    def pair(self, a: int, b: int) -> F64:
        """p(a, b) for any two columns, shape (size of the lower number, of the higher)."""
        a, b = min(a, b), max(a, b)
        if self.tree.home((a, b)) >= 0:
            return self.marginal((a, b))
        return self.pairs_of(a)[b]

    def pairs_of(self, a: int) -> dict[int, F64]:
        """p(a, b) for each other column b, shape (size of a, size of b), passed along the tree."""
        tree, start = self.tree, self.tree.home((a,))
        near: dict[int, list[int]] = {n: [] for n in range(len(tree.cliques))}
        for n, p in enumerate(tree.parents):
            if p >= 0:
                near[n].append(p)
                near[p].append(n)
        size = tree.sizes[a]
        found: dict[int, F64] = {}
        reached, todo = {start}, [(start, self._beside(a, start))]
        for n, joint in todo:
            held = tree.cliques[n]
            for c in held:
                if c != a and c not in found:
                    found[c] = _summed(joint, (-1, *held), (-1, c))
            for m in near[n]:
                if m in reached:
                    continue
                reached.add(m)
                common = tuple(c for c in held if c in tree.cliques[m])
                message = _summed(joint, (-1, *held), (-1, *common)).reshape(size, -1)
                order = [*common, *(c for c in tree.cliques[m] if c not in common)]
                turned = np.transpose(self.beliefs[m], [tree.cliques[m].index(c) for c in order])
                flat = turned.reshape(message.shape[1], -1)
                flat = flat / np.maximum(flat.sum(axis=1, keepdims=True), _TINY)
                shape = (size, *(tree.sizes[c] for c in order))
                onward = (message[:, :, None] * flat[None]).reshape(shape)
                back = [0, *(1 + order.index(c) for c in tree.cliques[m])]
                todo.append((m, np.transpose(onward, back)))
        return found

    def _beside(self, a: int, n: int) -> F64:
        """p(a, clique n) with a's axis once more in front."""
        held, size = self.tree.cliques[n], self.tree.sizes[a]
        belief, axis = self.beliefs[n], self.tree.cliques[n].index(a)
        only = np.eye(size).reshape(size, *(size if k == axis else 1 for k in range(len(held))))
        return belief[None] * only


def estimate(
    tree: Tree,
    measured: Sequence[Measured],
    rows: float,
    weights: Sequence[F64] = (),
    steps: int = 300,
    tolerance: float = 1e-6,
) -> Fitted:
    """The distribution nearest to the counts, in squared error over the noise, of about `rows` rows; `weights` to go on from."""
    places = [tree.home(m.columns) for m in measured]
    least = min(float(np.min(m.sigma)) for m in measured)
    share = [np.broadcast_to((least / np.asarray(m.sigma)) ** 2, m.counts.shape) for m in measured]
    wanted = [m.counts / rows for m in measured]
    now = [*(w.copy() for w in weights), *(np.zeros(len(m.counts)) for m in measured[len(weights) :])]
    beliefs = _calibrated(tree, now, measured, places)
    value, slope, seen = _loss(tree, beliefs, measured, places, wanted, share)
    pace, quiet = 1.0 / max(max(float(np.abs(s).max()) for s in slope), 1e-12), 0
    for _ in range(steps):
        while True:
            tried = [t - pace * s for t, s in zip(now, slope, strict=True)]
            found = _calibrated(tree, tried, measured, places)
            after, steeper, there = _loss(tree, found, measured, places, wanted, share)
            # sufficient decrease, as measured by what the slope promises
            promised = sum(float((s * (a - b)).sum()) for s, a, b in zip(slope, seen, there, strict=True))
            if value - after >= 0.5 * promised or pace < 1e-12:
                break
            pace *= 0.5
        quiet = quiet + 1 if value - after <= tolerance * max(value, 1e-12) else 0
        now, beliefs, value, slope, seen = tried, found, after, steeper, there
        pace *= 1.6
        if quiet >= 5:
            break
    return Fitted(tree, beliefs, now)


def fitted_before(tree: Tree, measured: Sequence[Measured], weights: Sequence[F64]) -> Fitted:
    """The distribution that `estimate` came to, by its weights."""
    places = [tree.home(m.columns) for m in measured]
    return Fitted(tree, _calibrated(tree, weights, measured, places), list(weights))


def _calibrated(tree: Tree, weights: Sequence[F64], measured: Sequence[Measured], places: Sequence[int]) -> list[F64]:
    """p(clique) for each clique: sums towards the root, then back."""
    log = [np.zeros(tree.shape(n)) for n in range(len(tree.cliques))]
    for w, m, n in zip(weights, measured, places, strict=True):
        log[n] += _spread(w[m.cell].reshape([tree.sizes[c] for c in m.columns]), m.columns, tree.cliques[n])
    sent: list[F64] = [np.empty(0)] * len(log)
    for n in range(len(log) - 1, 0, -1):
        common = tree.shared(n)
        sent[n] = _log_summed(log[n], tree.cliques[n], common)
        log[tree.parents[n]] += _spread(sent[n], common, tree.cliques[tree.parents[n]])
    for n in range(1, len(log)):
        common, p = tree.shared(n), tree.parents[n]
        back = _log_summed(log[p], tree.cliques[p], common) - sent[n]
        log[n] += _spread(back, common, tree.cliques[n])
    made = []
    for each in log:
        belief = np.exp(each - each.max())
        made.append(belief / belief.sum())
    return made


def _loss(
    tree: Tree,
    beliefs: Sequence[F64],
    measured: Sequence[Measured],
    places: Sequence[int],
    wanted: Sequence[F64],
    share: Sequence[F64],
) -> tuple[float, list[F64], list[F64]]:
    """Half the weighted squared error, its slope for each count, and the shares of the counts' cells."""
    total, slope, seen = 0.0, [], []
    for m, n, w, s in zip(measured, places, wanted, share, strict=True):
        p = _summed(beliefs[n], tree.cliques[n], m.columns).ravel()
        if len(p) > len(m.counts):
            p = np.bincount(m.cell, p, len(m.counts))
        off = p - w
        total += 0.5 * float((s * off * off).sum())
        slope.append(s * off)
        seen.append(p)
    return total, slope, seen


def _summed(table: F64, axes: Sequence[int], kept: Sequence[int]) -> F64:
    gone = tuple(k for k, c in enumerate(axes) if c not in kept)
    return table.sum(axis=gone) if gone else table


def _log_summed(table: F64, axes: Clique, kept: Clique) -> F64:
    gone = tuple(k for k, c in enumerate(axes) if c not in kept)
    peak = table.max(axis=gone, keepdims=True)
    return np.log(np.exp(table - peak).sum(axis=gone)) + peak.reshape(
        [table.shape[k] for k in range(table.ndim) if k not in gone]
    )


def _spread(table: F64, axes: Clique, over: Clique) -> F64:
    """A table over some of a clique's columns, with axes of length one for the others. Both in rising order."""
    sizes = dict(zip(axes, table.shape, strict=True))
    return table.reshape([sizes.get(c, 1) for c in over])
