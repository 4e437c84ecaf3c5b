"""Bayesian networks learnt under differential privacy: MST and PrivBayes. All that is read of the table is read through `PrivateTable`.

McKenna, Miklau and Sheldon 2021, "Winning the NIST contest: a scalable and general approach to differentially private synthetic data",
Journal of Privacy and Confidentiality 11(3), arXiv:2108.04978 (MST): a third of the budget for each column, a third to choose a spanning tree of
pairs, a third for their tables. Zhang, Cormode, Procopiuc, Srivastava and Xiao 2017, "PrivBayes: private data release via Bayesian networks", ACM
TODS 42(4): columns one after another, each with the parents that tell most about it.

Both differ from the papers in what happens after the noise, which costs no privacy: tables are made consistent with the columns by Norm-Sub and
iterative proportional fitting, and noisy combinations lean on the column alone; and both count in zCDP with discrete Gaussian noise.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations

import numpy as np

from ...privacy.budget import Budget
from ...privacy.private_table import Exact, PrivateTable, sigma
from ...stream import F64, Stream
from ...tables import Table
from .empirical import check_learnable
from .forest import Classes, code_of
from .marginal import Marginal
from .network import Family, Network, Parent, coarsened
from .private_marginals import Extent, buy_marginals, norm_sub

SEARCH = 0.05
"""The share of the budget that finds the ends and values of columns of which they were not said."""
USEFUL = 4.0
"""A table is bought in detail where its cells hold on average so many standard deviations of noise (PrivBayes: theta-usefulness)."""
PARENTS = 2
_CANDIDATES = 4_000
_FITS = 20


def fit_mst(table: Table, stream: Stream, budget: Budget, extents: Mapping[str, Extent]) -> tuple[Network, float]:
    """A tree of pairs. Spends the whole budget. `stream` must be secret. Returns the network and about how many rows there were.

    Raises UserError for a column of a type that cannot be learnt, an extent that does not fit, or a budget that was spent before.
    """
    bought = _Bought.of(table, stream, budget, extents)
    rho = budget.left / 2
    edges = bought.tree(rho)
    parents: dict[int, tuple[Parent, ...]] = {}
    reached = [0]
    for n in reached:
        for a, b in edges:
            child = b if a == n else a if b == n else None
            if child is not None and child not in reached:
                reached.append(child)
                parents[child] = (bought.view(n, child, rho / max(len(edges), 1)),)
    return bought.network([parents.get(n, ()) for n in range(len(bought.marginals))], rho), bought.rows


def fit_privbayes(table: Table, stream: Stream, budget: Budget, extents: Mapping[str, Extent]) -> tuple[Network, float]:
    """A network of at most `PARENTS` parents a column. Spends the whole budget. As `fit_mst` otherwise."""
    bought = _Bought.of(table, stream, budget, extents)
    selection, rho = budget.left / 3, budget.left * 2 / 3
    return bought.network(bought.greedy(selection, rho / max(len(bought.marginals) - 1, 1)), rho), bought.rows


class _Bought:
    """A private table whose columns are paid for, each cut into classes."""

    def __init__(self, private: PrivateTable, marginals: tuple[Marginal, ...], rows: float) -> None:
        self.private, self.marginals, self.rows = private, marginals, rows
        self.names = [m.name for m in marginals]
        self.classes = [Classes.of(m) for m in marginals]
        self.coarse = [coarsened(c) for c in self.classes]
        for marginal, classes in zip(marginals, self.classes, strict=True):
            private.encode(marginal.name, lambda v, m=marginal, c=classes: c.of_codes(code_of(m, v)))

    @staticmethod
    def of(table: Table, stream: Stream, budget: Budget, extents: Mapping[str, Extent]) -> _Bought:
        check_learnable(table)
        private = PrivateTable(table, budget, stream)
        rho = budget.left
        marginals, rows = buy_marginals(private, extents, rho * (1 - SEARCH) / 3, rho * SEARCH)
        return _Bought(private, marginals, rows)

    def size(self, n: int, coarse: bool) -> int:
        return int(self.coarse[n][-1]) + 1 if coarse else len(self.classes[n].share)

    def share(self, n: int, coarse: bool) -> F64:
        share = np.maximum(self.classes[n].share, 0.0)
        return np.bincount(self.coarse[n], share).astype(np.float64) if coarse else share

    def view(self, parent: int, child: int, rho: float) -> Parent:
        """A parent in all its classes, if the noise allows."""
        cells = self.size(parent, False) * self.size(child, False)
        return Parent(parent, self.rows / cells < USEFUL * sigma(rho))

    def tree(self, rho: float) -> list[tuple[int, int]]:
        """A spanning tree of the pairs that are furthest from independent, chosen edge by edge."""
        group = list(range(len(self.names)))
        far: dict[tuple[int, int], float] = {}
        edges: list[tuple[int, int]] = []
        for _ in range(len(group) - 1):
            open_ = [(a, b) for a, b in combinations(range(len(group)), 2) if group[a] != group[b]]

            def scores(exact: Exact, pairs: Sequence[tuple[int, int]] = open_) -> F64:
                for pair in pairs:
                    if pair not in far:
                        far[pair] = self._distance(exact, *pair)
                return np.array([far[pair] for pair in pairs])

            # the table that counts are held against is public, so a row moves the distance by one at most
            a, b = open_[self.private.choose(f"edge {len(edges) + 1}", scores, 1.0, rho / (len(group) - 1))]
            edges.append((a, b))
            group = [group[a] if g == group[b] else g for g in group]
        return edges

    def _distance(self, exact: Exact, a: int, b: int) -> float:
        maps = (self.coarse[a], self.coarse[b])
        counts = exact([self.names[a], self.names[b]], [self.size(a, True), self.size(b, True)], maps)
        return float(np.abs(counts - self.rows * np.outer(self.share(a, True), self.share(b, True))).sum())

    def greedy(self, selection: float, rho: float) -> list[tuple[Parent, ...]]:
        """PrivBayes' choice of parents, column by column, by its function R: half the distance between the counts of a column with its parents
        and what independence would make of them."""
        graph: list[tuple[Parent, ...]] = [() for _ in self.names]
        placed = [0]
        while len(placed) < len(graph):
            options = [
                (n, parents)
                for n in range(len(graph))
                if n not in placed
                for k in range(1, PARENTS + 1)
                for parents in combinations([self._seen(p, n, rho) for p in placed], k)
                if k == 1 or self._useful(n, parents, rho)
            ][:_CANDIDATES]

            def scores(exact: Exact, listed: Sequence[tuple[int, tuple[Parent, ...]]] = options) -> F64:
                return np.array([self._dependence(exact, n, parents) for n, parents in listed])

            # one row more adds one to a cell (1), and moves c(x) c(π) / n by less than 3 in all: half of 4
            at = self.private.choose(f"parents {len(placed)}", scores, 2.0, selection / (len(graph) - 1))
            n, parents = options[at]
            graph[n] = parents
            placed.append(n)
        return graph

    def _seen(self, parent: int, child: int, rho: float) -> Parent:
        return self.view(parent, child, rho)

    def _useful(self, n: int, parents: tuple[Parent, ...], rho: float) -> bool:
        cells = np.prod([float(self.size(p.column, p.coarse)) for p in parents]) * self.size(n, False)
        return bool(self.rows / cells >= USEFUL * sigma(rho))

    def _dependence(self, exact: Exact, n: int, parents: tuple[Parent, ...]) -> float:
        counts = exact(*self._asked(n, parents)).reshape(-1, self.size(n, False)).astype(np.float64)
        return dependence(counts)

    def _asked(self, n: int, parents: tuple[Parent, ...]) -> tuple[list[str], list[int], list]:
        columns = [self.names[p.column] for p in parents] + [self.names[n]]
        sizes = [self.size(p.column, p.coarse) for p in parents] + [self.size(n, False)]
        return columns, sizes, [self.coarse[p.column] if p.coarse else None for p in parents] + [None]

    def network(self, graph: Sequence[tuple[Parent, ...]], rho: float) -> Network:
        """Buy the table of each family, for `rho` in all."""
        each = rho / max(sum(1 for p in graph if p), 1)
        families = []
        for n, parents in enumerate(graph):
            own = self.share(n, False)
            own = own / own.sum()
            if not parents:
                families.append(Family((), own[None, :]))
                continue
            columns, sizes, maps = self._asked(n, parents)
            noisy = self.private.counts(f"table of {' and '.join(columns)}", columns, sizes, each, maps)
            table = norm_sub(noisy.ravel(), self.rows).reshape(-1, sizes[-1])
            table = _fitted(table, own * self.rows)
            lean = sigma(each)
            families.append(Family(parents, (table + lean * own) / (table.sum(axis=1, keepdims=True) + lean)))
        return Network(self.marginals, tuple(families))


def dependence(counts: F64) -> float:
    """PrivBayes' R in rows: ½ Σ |c(π, x) − c(π) c(x) / n|. One row more or less moves it by less than 2."""
    n = counts.sum()
    if n == 0:
        return 0.0
    return float(0.5 * np.abs(counts - np.outer(counts.sum(axis=1), counts.sum(axis=0)) / n).sum())


def _fitted(table: F64, columns: F64) -> F64:
    """The table with the child's column sums set right, combinations keeping their weight as far as they can."""
    rows = table.sum(axis=1)
    for _ in range(_FITS):
        sums = table.sum(axis=0)
        table = table * np.divide(columns, sums, out=np.ones_like(sums), where=sums > 0)
        sums = table.sum(axis=1)
        table = table * np.divide(rows, sums, out=np.ones_like(sums), where=sums > 0)[:, None]
    return table
