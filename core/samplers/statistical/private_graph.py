"""MST and AIM: the combinations of columns that a model misses most are counted under differential privacy, and the distribution of greatest entropy
that fits the counts is found over a junction tree. All that is read of the table is read through `PrivateTable`.

McKenna, Miklau and Sheldon 2021, "Winning the NIST contest: a scalable and general approach to differentially private synthetic data", Journal of
Privacy and Confidentiality 11(3), arXiv:2108.04978 (MST): a third of the budget for each column, a third to choose a spanning tree of pairs, a third
for their tables. McKenna, Mullins, Sheldon and Miklau 2022, "AIM: an adaptive and iterative mechanism for differentially private synthetic data",
PVLDB 15(11), arXiv:2201.12677 (AIM): round after round the pair that the model misses most, for as long as more is learnt than the noise hides.

Both count in zCDP with discrete Gaussian noise. A pair may be counted in coarser classes of either column where the noise asks for it, which AIM
chooses by the same score. Inference is `privacy/junction_tree.py`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations

import numpy as np

from ...parts import part
from ...privacy.budget import Budget
from ...privacy.junction_tree import Clique, Fitted, Measured, Tree, estimate, fitted_before, junction_tree
from ...privacy.private_table import I64, Exact, sigma
from ...stream import F64, Stream
from ...tables import Table
from .bought import Bought
from .network import Family, Network, Parent
from .private_marginals import Extent

ONE_WAY = 0.12
"""AIM's share of the budget for the columns themselves."""
ROUNDS = 16
"""AIM begins as if there were so many rounds for each column."""
COUNTING = 0.9
"""The share of a round's budget for counting; the rest is for choosing."""
CELLS = 120_000.0
"""The largest junction tree of AIM, once the whole budget is spent."""
TARGET = 3.0
"""How much more than others a combination with the target column counts."""
USEFUL = 2.0
"""MST counts a pair in all classes where its cells hold on average so many standard deviations of noise."""
ROUND_STEPS, LAST_STEPS = 80, 600
NOISE = float(np.sqrt(2 / np.pi))
"""The mean absolute value of standard normal noise."""

Coarse = tuple[bool, ...]


def fit_mst(
    table: Table, stream: Stream, budget: Budget, extents: Mapping[str, Extent], target: str | None = None
) -> tuple[Network, float]:
    """A tree of pairs. Spends the whole budget. `stream` must be secret. Returns the network and about how many rows there were. Pairs with a `target`
    are chosen more readily.

    Raises UserError for a column of a type that cannot be learnt, an extent that does not fit, or a budget that was spent before.
    """
    bought = Bought.of(table, stream, budget, extents)
    rho = budget.left / 2
    edges = _spanning(bought, rho, _weight(bought, target))
    measured = _one_ways(bought)
    for edge in edges:
        each = rho / len(edges)
        coarse = next(
            (c for c in _levels(bought, edge) if bought.rows / _cells(bought, edge, c) >= USEFUL * sigma(each)),
            (True, True),
        )
        measured.append(_count(bought, edge, coarse, each))
    fitted = _fitted(junction_tree(_sizes(bought), edges), measured, bought.rows, (), LAST_STEPS)
    return network_of(bought, fitted), bought.rows


def fit_aim(
    table: Table, stream: Stream, budget: Budget, extents: Mapping[str, Extent], target: str | None = None
) -> tuple[Network, float]:
    """The combinations that are missed most, one by one. As `fit_mst` otherwise."""
    bought = Bought.of(table, stream, budget, extents, ONE_WAY)
    weight, sizes = _weight(bought, target), _sizes(bought)
    measured, chosen = _one_ways(bought), list[Clique]()
    fitted = _fitted(junction_tree(sizes, chosen), measured, bought.rows, (), ROUND_STEPS)
    whole = budget.left
    step = whole / (ROUNDS * len(sizes))
    while len(sizes) > 1 and budget.left > 1e-9 * whole:
        if budget.left < 2 * step:
            step = budget.left
        limit = CELLS * (1.0 - (budget.left - step) / whole)
        options = [(q, c) for q in _open(fitted, chosen, sizes, limit, bought, target) for c in _levels(bought, q)]
        clique, coarse = options[_worst(bought, fitted, options, weight, step * (1 - COUNTING))]
        before = _seen(bought, fitted, clique, coarse) if fitted.tree.home(clique) >= 0 or len(clique) == 2 else None
        measured.append(_count(bought, clique, coarse, step * COUNTING))
        chosen.append(clique)
        fitted = _fitted(junction_tree(sizes, chosen), measured, bought.rows, fitted.weights, ROUND_STEPS)
        after = _seen(bought, fitted, clique, coarse)
        moved = 0.0 if before is None else bought.rows * float(np.abs(after - before).sum())
        if moved <= NOISE * sigma(step * COUNTING) * len(after):
            # what is left to learn is below the noise: fewer rounds with less of it
            step *= 4
    fitted = _fitted(fitted.tree, measured, bought.rows, fitted.weights, LAST_STEPS)
    return network_of(bought, fitted), bought.rows


def _fitted(tree: Tree, measured: Sequence[Measured], rows: float, weights: Sequence[F64], steps: int) -> Fitted:
    """`estimate`, whose weights are kept: it reads nothing but what was paid for."""
    found = part(f"fit {len(measured)}, {steps} steps", lambda: estimate(tree, measured, rows, weights, steps).weights)
    return fitted_before(tree, measured, found)


def network_of(bought: Bought, fitted: Fitted) -> Network:
    """The same distribution as a network: each clique's columns given what it shares with its parent."""
    families: dict[int, Family] = {}
    for n, clique in enumerate(fitted.tree.cliques):
        held = list(fitted.tree.shared(n))
        for column in (c for c in clique if c not in held):
            if column in families:
                continue
            axes = [*held, column]
            kept = tuple(sorted(axes))
            table = np.transpose(fitted.marginal(kept), [kept.index(c) for c in axes]).reshape(
                -1, fitted.tree.sizes[column]
            )
            own = bought.share(column, False)
            # classes that the column does not have are the noise of its neighbours
            table = table * (own > 0)
            table = table + 1e-9 * own / own.sum() * max(float(table.sum()), 1e-9) / len(table)
            families[column] = Family(tuple(Parent(c) for c in held), table / table.sum(axis=1, keepdims=True))
            held = axes
    return Network(bought.marginals, tuple(families[n] for n in range(len(families))))


def _weight(bought: Bought, target: str | None) -> F64:
    return np.array([TARGET if name == target else 1.0 for name in bought.names])


def _sizes(bought: Bought) -> list[int]:
    return [bought.size(n, False) for n in range(len(bought.names))]


def _one_ways(bought: Bought) -> list[Measured]:
    return [
        Measured((n,), np.arange(size), bought.share(n, False) * bought.rows, bought.noise)
        for n, size in enumerate(_sizes(bought))
    ]


def _levels(bought: Bought, clique: Clique) -> Iterator[Coarse]:
    """The clique's columns in all classes or in coarse ones, from the finest; those with few classes in all."""
    few = [bought.size(n, True) == bought.size(n, False) for n in clique]
    for bits in range(1 << len(clique)):
        coarse = tuple(bool(bits >> k & 1) for k in range(len(clique)))
        if not any(c and f for c, f in zip(coarse, few, strict=True)):
            yield coarse


def _cells(bought: Bought, clique: Clique, coarse: Coarse) -> int:
    return int(np.prod([bought.size(n, c) for n, c in zip(clique, coarse, strict=True)]))


def _asked(bought: Bought, clique: Clique, coarse: Coarse) -> tuple[list[str], list[int], list[I64 | None]]:
    return (
        [bought.names[n] for n in clique],
        [bought.size(n, c) for n, c in zip(clique, coarse, strict=True)],
        [bought.coarse[n] if c else None for n, c in zip(clique, coarse, strict=True)],
    )


def _place(bought: Bought, clique: Clique, coarse: Coarse) -> I64:
    """For each combination of classes the place of its count."""
    at = np.zeros([1] * len(clique), np.int64)
    for k, (n, c) in enumerate(zip(clique, coarse, strict=True)):
        own = bought.coarse[n] if c else np.arange(bought.size(n, False))
        at = at * bought.size(n, c) + own.reshape([-1 if j == k else 1 for j in range(len(clique))])
    return at.ravel()


def _count(bought: Bought, clique: Clique, coarse: Coarse, rho: float) -> Measured:
    names, sizes, maps = _asked(bought, clique, coarse)
    counts = bought.private.counts(f"table of {' and '.join(names)}", names, sizes, rho, maps)
    return Measured(clique, _place(bought, clique, coarse), counts.ravel(), sigma(rho))


def _seen(bought: Bought, fitted: Fitted, clique: Clique, coarse: Coarse) -> F64:
    """What the model says of a combination, as shares."""
    p = fitted.pair(*clique) if len(clique) == 2 else fitted.marginal(clique)
    return np.bincount(_place(bought, clique, coarse), p.ravel(), _cells(bought, clique, coarse)).astype(np.float64)


def _open(
    fitted: Fitted, chosen: Sequence[Clique], sizes: Sequence[int], limit: float, bought: Bought, target: str | None
) -> list[Clique]:
    """The combinations that the junction tree holds or can take in: pairs, and threes with the target that one of its cliques holds."""
    found = [
        q
        for q in combinations(range(len(sizes)), 2)
        if fitted.tree.home(q) >= 0 or junction_tree(sizes, [*chosen, q]).cells <= limit
    ]
    if target in bought.names:
        t = bought.names.index(target)
        found += [q for q in combinations(range(len(sizes)), 3) if t in q and fitted.tree.home(q) >= 0]
    # where nothing fits, the smallest pair does
    return found or [min(combinations(range(len(sizes)), 2), key=lambda q: sizes[q[0]] * sizes[q[1]])]


def _worst(bought: Bought, fitted: Fitted, options: Sequence[tuple[Clique, Coarse]], weight: F64, rho: float) -> int:
    """The place of the combination whose counts are furthest from the model beyond what noise will hide."""
    pairs = {a: fitted.pairs_of(a) for a in {q[0] for q, _ in options if len(q) == 2}}
    told = []
    for clique, coarse in options:
        p = pairs[clique[0]][clique[1]] if len(clique) == 2 else fitted.marginal(clique)
        told.append(
            bought.rows * np.bincount(_place(bought, clique, coarse), p.ravel(), _cells(bought, clique, coarse))
        )
    weights = [float(max(weight[list(q)])) for q, _ in options]
    noise = NOISE * sigma(rho * COUNTING / (1 - COUNTING))

    def scores(exact: Exact) -> F64:
        return np.array(
            [
                w * (np.abs(exact(*_asked(bought, *option)).ravel() - t).sum() - noise * len(t))
                for option, t, w in zip(options, told, weights, strict=True)
            ]
        )

    # a row moves one count by one: the model that counts are held against is public
    return bought.private.choose(f"choice of {len(options)} combinations", scores, max(weights), rho)


def _spanning(bought: Bought, rho: float, weight: F64) -> list[Clique]:
    """A spanning tree of the pairs that are furthest from independent, chosen edge by edge."""
    group = list(range(len(bought.names)))
    far: dict[Clique, float] = {}
    edges: list[Clique] = []
    for _ in range(len(group) - 1):
        open_ = [(a, b) for a, b in combinations(range(len(group)), 2) if group[a] != group[b]]

        def scores(exact: Exact, pairs: Sequence[Clique] = open_) -> F64:
            for pair in pairs:
                if pair not in far:
                    counts = exact(*_asked(bought, pair, (True, True)))
                    alone = np.outer(bought.share(pair[0], True), bought.share(pair[1], True))
                    far[pair] = float(max(weight[list(pair)]) * np.abs(counts - bought.rows * alone).sum())
            return np.array([far[pair] for pair in pairs])

        # the table that counts are held against is public, so a row moves the distance by one at most
        a, b = open_[
            bought.private.choose(f"edge {len(edges) + 1}", scores, float(weight.max()), rho / (len(group) - 1))
        ]
        edges.append((a, b))
        group = [group[a] if g == group[b] else g for g in group]
    return edges
