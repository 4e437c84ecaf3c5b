"""PrivBayes: a Bayesian network learnt under differential privacy. All that is read of the table is read through `PrivateTable`.

Zhang, Cormode, Procopiuc, Srivastava and Xiao 2017, "PrivBayes: private data release via Bayesian networks", ACM TODS 42(4): columns one after
another, each with the parents that tell most about it.

It differs from the paper in what happens after the noise, which costs no privacy: tables are made consistent with the columns by Norm-Sub and
iterative proportional fitting, and noisy combinations lean on the column alone; and it counts in zCDP with discrete Gaussian noise.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations

import numpy as np

from ...privacy.budget import Budget
from ...privacy.private_table import Exact, sigma
from ...stream import F64, Stream
from ...tables import Table
from .bought import Bought
from .network import Family, Network, Parent
from .private_marginals import Extent, norm_sub

USEFUL = 4.0
"""A table is bought in detail where its cells hold on average so many standard deviations of noise (PrivBayes: theta-usefulness)."""
PARENTS = 2
_CANDIDATES = 4_000
_FITS = 20


def fit_privbayes(table: Table, stream: Stream, budget: Budget, extents: Mapping[str, Extent]) -> tuple[Network, float]:
    """A network of at most `PARENTS` parents a column. Spends the whole budget. `stream` must be secret. Returns the network and about how many rows
    there were.

    Raises UserError for a column of a type that cannot be learnt, an extent that does not fit, or a budget that was spent before.
    """
    bought = Bought.of(table, stream, budget, extents)
    selection, rho = budget.left / 3, budget.left * 2 / 3
    graph = _greedy(bought, selection, rho / max(len(bought.marginals) - 1, 1))
    return _network(bought, graph, rho), bought.rows


def _greedy(bought: Bought, selection: float, rho: float) -> list[tuple[Parent, ...]]:
    """PrivBayes' choice of parents, column by column, by its function R: half the distance between the counts of a column with its parents
    and what independence would make of them."""
    graph: list[tuple[Parent, ...]] = [() for _ in bought.names]
    placed = [0]
    while len(placed) < len(graph):
        options = [
            (n, parents)
            for n in range(len(graph))
            if n not in placed
            for k in range(1, PARENTS + 1)
            for parents in combinations([_view(bought, p, n, rho) for p in placed], k)
            if k == 1 or _useful(bought, n, parents, rho)
        ][:_CANDIDATES]

        def scores(exact: Exact, listed: Sequence[tuple[int, tuple[Parent, ...]]] = options) -> F64:
            return np.array([_dependence(bought, exact, n, parents) for n, parents in listed])

        # one row more adds one to a cell (1), and moves c(x) c(π) / n by less than 3 in all: half of 4
        at = bought.private.choose(f"parents {len(placed)}", scores, 2.0, selection / (len(graph) - 1))
        n, parents = options[at]
        graph[n] = parents
        placed.append(n)
    return graph


def _useful(bought: Bought, n: int, parents: tuple[Parent, ...], rho: float) -> bool:
    cells = np.prod([float(bought.size(p.column, p.coarse)) for p in parents]) * bought.size(n, False)
    return bool(bought.rows / cells >= USEFUL * sigma(rho))


def _dependence(bought: Bought, exact: Exact, n: int, parents: tuple[Parent, ...]) -> float:
    counts = exact(*_asked(bought, n, parents)).reshape(-1, bought.size(n, False)).astype(np.float64)
    return dependence(counts)


def _asked(bought: Bought, n: int, parents: tuple[Parent, ...]) -> tuple[list[str], list[int], list]:
    columns = [bought.names[p.column] for p in parents] + [bought.names[n]]
    sizes = [bought.size(p.column, p.coarse) for p in parents] + [bought.size(n, False)]
    return columns, sizes, [bought.coarse[p.column] if p.coarse else None for p in parents] + [None]


def _network(bought: Bought, graph: Sequence[tuple[Parent, ...]], rho: float) -> Network:
    """Buy the table of each family, for `rho` in all."""
    each = rho / max(sum(1 for p in graph if p), 1)
    families = []
    for n, parents in enumerate(graph):
        own = bought.share(n, False)
        own = own / own.sum()
        if not parents:
            families.append(Family((), own[None, :]))
            continue
        columns, sizes, maps = _asked(bought, n, parents)
        noisy = bought.private.counts(f"table of {' and '.join(columns)}", columns, sizes, each, maps)
        table = norm_sub(noisy.ravel(), bought.rows).reshape(-1, sizes[-1])
        table = _fitted(table, own * bought.rows)
        lean = sigma(each)
        families.append(Family(parents, (table + lean * own) / (table.sum(axis=1, keepdims=True) + lean)))
    return Network(bought.marginals, tuple(families))


def _view(bought: Bought, parent: int, child: int, rho: float) -> Parent:
    """A parent in all its classes, if the noise allows."""
    cells = bought.size(parent, False) * bought.size(child, False)
    return Parent(parent, bought.rows / cells < USEFUL * sigma(rho))


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
