"""PrivSyn: many pairs counted under differential privacy, and records that are changed until their counts are those. All that is read of the table
is read through `PrivateTable`.

Zhang, Wang, Li, Honorio, Backes, He, Chen and Zhang 2021, "PrivSyn: differentially private data synthesis", USENIX Security, arXiv:2012.15128, the
successor of DPSyn, which Bowen and Liu 2020, "Comparative study of differentially private data synthesis methods", Statistical Science 35(2), compare on
the NIST challenge. Pairs are selected (DenseMarg) where leaving them out would cost more than their noise; budgets go with cells to the power of two
thirds; records are made by gradual updates (GUM). The records are then learnt by a Bayesian network, which reads nothing private and can be asked for
conditions; the distance from independence is taken from the columns as bought, which makes it of sensitivity one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations

import numpy as np

from ...parts import part
from ...privacy.budget import Budget
from ...privacy.private_table import I64, Exact, sigma
from ...stream import F64, Stream
from ...tables import Table
from .bought import Bought
from .learn_network import PARENTS, Counts, ascend, shrunk
from .network import Family, Network
from .private_marginals import Extent, norm_sub

ONE_WAY, SELECTION = 0.15, 0.1
"""Shares of the budget for the columns and for the selection of pairs; the rest is for the pairs."""
UPDATES = 30
DECAY = 0.93
"""Each round changes so much less than the one before."""
RECORDS = 60_000
_NOISE = float(np.sqrt(2 / np.pi))


def fit_privsyn(
    table: Table, stream: Stream, budget: Budget, extents: Mapping[str, Extent], target: str | None = None
) -> tuple[Network, float]:
    """Many pairs at once. Spends the whole budget. `stream` must be secret. Returns the network and about how many rows there were. A `target` does not
    count among the parents of columns.

    Raises UserError for a column of a type that cannot be learnt, an extent that does not fit, or a budget that was spent before.
    """
    bought = Bought.of(table, stream, budget, extents, ONE_WAY)
    sizes = [bought.size(n, False) for n in range(len(bought.names))]
    pairs = list(combinations(range(len(sizes)), 2))
    tables: list[tuple[tuple[int, int], F64]] = []
    if pairs:
        far = _distances(bought, pairs, budget.left * SELECTION / (1 - ONE_WAY))
        cells = np.array([float(sizes[a] * sizes[b]) for a, b in pairs])
        chosen = _dense(far, cells, budget.left)
        weight = cells[chosen] ** (2 / 3)
        for k, rho in zip(chosen, budget.left * weight / weight.sum(), strict=True):
            tables.append((pairs[k], _counted(bought, pairs[k], rho)))
    records = part("records", lambda: _updated(bought, tables, stream.child("records")))
    counts = Counts(bought.classes, [records[:, n] for n in range(len(sizes))])
    aimed = bought.names.index(target) if target in bought.names else None
    graph = ascend(counts, PARENTS, aimed)
    families = tuple(Family(parents, shrunk(counts, n, parents)) for n, parents in enumerate(graph))
    return Network(bought.marginals, families), bought.rows


def _distances(bought: Bought, pairs: Sequence[tuple[int, int]], rho: float) -> F64:
    """How far the counts of each pair are from independence, with noise."""

    def scores(exact: Exact) -> F64:
        found = []
        for a, b in pairs:
            counts = exact(
                [bought.names[a], bought.names[b]],
                [bought.size(a, True), bought.size(b, True)],
                [bought.coarse[a], bought.coarse[b]],
            )
            alone = np.outer(bought.share(a, True), bought.share(b, True))
            found.append(np.abs(counts - bought.rows * alone).sum())
        return np.array(found)

    return bought.private.scores(f"distance from independence of {len(pairs)} pairs", scores, 1.0, rho)


def _dense(far: F64, cells: F64, rho: float) -> list[int]:
    """Pairs are added, the one that lowers the whole error most first, until none does: a pair left out costs its distance, one taken its noise."""
    chosen: list[int] = [int(np.argmax(far))]
    left = set(range(len(far))) - set(chosen)

    def error(some: list[int]) -> float:
        weight = cells[some] ** (2 / 3)
        noise = _NOISE * cells[some] / np.sqrt(2 * rho * weight / weight.sum())
        return float(noise.sum()) - float(far[some].sum())

    now = error(chosen)
    while left:
        best = min(left, key=lambda k: (error([*chosen, k]), k))
        if (then := error([*chosen, best])) >= now:
            break
        chosen.append(best)
        left.discard(best)
        now = then
    return chosen


def _counted(bought: Bought, pair: tuple[int, int], rho: float) -> F64:
    """The shares of a pair's combinations, made consistent with its columns by iterative proportional fitting."""
    names, sizes = [bought.names[n] for n in pair], [bought.size(n, False) for n in pair]
    noisy = bought.private.counts(f"table of {' and '.join(names)}", names, sizes, rho)
    # what noise alone may have made is left to independence
    own = [np.maximum(bought.share(n, False), 0) for n in pair]
    shares = norm_sub(noisy.ravel(), bought.rows).reshape(sizes) / bought.rows
    shares = shares + np.outer(*own) * min(1.0, sigma(rho) * sizes[0] / bought.rows)
    for _ in range(20):
        for axis, share in enumerate(own):
            sums = shares.sum(axis=1 - axis, keepdims=True)
            wanted = share.reshape([-1, 1] if axis == 0 else [1, -1])
            shares = shares * np.divide(wanted, sums, out=np.zeros_like(sums), where=sums > 0)
    return shares / max(float(shares.sum()), 1e-300)


def _updated(bought: Bought, tables: Sequence[tuple[tuple[int, int], F64]], stream: Stream) -> I64:
    """Records whose pairs have the shares of the tables, as far as they can: shape (records, columns)."""
    n = int(np.clip(round(bought.rows), 200, RECORDS))
    rows = np.arange(n)
    records = np.empty((n, len(bought.names)), np.int64)
    for k, name in enumerate(bought.names):
        share = np.maximum(bought.share(k, False), 0)
        edges = np.cumsum(share) / share.sum()
        # each class as often as it should be, in random places
        place = np.argsort(stream.child("begin", name).bits(rows), kind="stable")
        records[place, k] = np.minimum(np.searchsorted(edges, (rows + 0.5) / n, side="right"), len(share) - 1)
    pace = 1.0
    for turn in range(UPDATES):
        for (a, b), shares in tables:
            _update(records, a, b, shares, pace, stream.child("turn", turn, a, b))
        pace *= DECAY
    return records


def _update(records: I64, a: int, b: int, shares: F64, pace: float, stream: Stream) -> None:
    """Records of combinations that are too many become ones of those that are too few: half as copies of such records, half by these columns alone."""
    n, size = len(records), shares.shape[1]
    cell = records[:, a] * size + records[:, b]
    now, wanted = np.bincount(cell, minlength=shares.size), shares.ravel() * n
    u = stream.child("round").uniform(np.arange(shares.size))
    more = np.floor(np.maximum(wanted - now, 0) * pace + u).astype(np.int64)
    less = np.floor(np.maximum(now - wanted, 0) * pace + 1 - u).astype(np.int64) * (now > wanted)
    order = np.lexsort((stream.child("order").bits(np.arange(n)), cell))
    start = np.concatenate(([0], np.cumsum(now)))
    rank = np.empty(n, np.int64)
    rank[order] = np.arange(n) - start[cell[order]]
    gone = np.flatnonzero(rank < less[cell])
    new = np.repeat(np.arange(shares.size), more)
    k = min(len(gone), len(new))
    if not k:
        return
    mix = stream.child("mix")
    gone = gone[np.argsort(mix.child("gone").bits(gone), kind="stable")][:k]
    new = new[np.argsort(mix.child("new").bits(np.arange(len(new))), kind="stable")][:k]
    copied = (now[new] > 0) & (mix.child("copy").uniform(np.arange(k)) < 0.5)
    at = start[new] + np.minimum(
        (mix.child("which").uniform(np.arange(k)) * now[new]).astype(np.int64), np.maximum(now[new] - 1, 0)
    )
    records[gone[copied]] = records[order[at[copied]]]
    records[gone, a], records[gone, b] = new // size, new % size
