"""How a Bayesian network is learnt: its graph by the Bayesian information criterion, its tables with shrinkage towards fewer parents."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from ...parts import part
from ...stream import F64, Stream
from ...tables import Table
from .forest import Classes
from .grow import encode
from .network import I64, Family, Network, Parent, coarsened, in_order

PARENTS = 3
"""Parents of a column at most."""
SHRINK = 4.0
"""Rows that the distribution given one parent less counts for."""
ROWS = 50_000
"""Rows that the graph is judged on at most; tables are counted over all."""
PATIENCE = 15
_CELLS = 1 << 17

Graph = list[tuple[Parent, ...]]


def fit_network(table: Table, stream: Stream, parents: int = PARENTS, target: str | None = None) -> Network:
    """Learn a table; no column hangs on more than `parents` others. Raises UserError for an empty table or a column of a type that cannot be
    learnt.

    A `target` does not count among a column's parents, so that every column may hang on it and it is foretold by all of them, as in an augmented
    naive Bayes classifier (Friedman, Geiger and Goldszmidt 1997, Machine Learning 29).

    The graph is found by adding, dropping and turning edges (Koller and Friedman 2009, Probabilistic Graphical Models, 18.4).
    """
    marginals, codes = encode(table)
    classes = [Classes.of(m) for m in marginals]
    states = [c.of_codes(x) for c, x in zip(classes, codes, strict=True)]
    kept = np.argsort(stream.child("rows").bits(np.arange(table.height)), kind="stable")[:ROWS]
    aimed = next((n for n, m in enumerate(marginals) if m.name == target), None)
    graph = ascend(Counts(classes, [s[kept] for s in states]), parents, aimed)
    counts = Counts(classes, states)
    families = tuple(Family(p, shrunk(counts, n, p)) for n, p in enumerate(graph))
    return Network(marginals, families)


@dataclass
class Counts:
    """The classes of rows, and how often they fall together."""

    classes: Sequence[Classes]
    states: Sequence[I64]
    _scores: dict[tuple[int, frozenset[Parent]], float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.coarse = [coarsened(c) for c in self.classes]
        self.size = [len(c.share) for c in self.classes]

    def sizes(self, parents: Sequence[Parent]) -> list[int]:
        return [int(self.coarse[p.column][-1]) + 1 if p.coarse else self.size[p.column] for p in parents]

    def table(self, n: int, parents: Sequence[Parent]) -> F64:
        """Rows of each class of column `n`, for each combination of its parents: shape (combinations, classes)."""
        at = np.zeros(len(self.states[n]), np.int64)
        sizes = self.sizes(parents)
        for p, size in zip(parents, sizes, strict=True):
            state = self.states[p.column]
            at = at * size + (self.coarse[p.column][state] if p.coarse else state)
        cells = int(np.prod(sizes, dtype=np.int64)) * self.size[n]
        return np.bincount(at * self.size[n] + self.states[n], minlength=cells).reshape(-1, self.size[n]).astype(float)

    def score(self, n: int, parents: tuple[Parent, ...]) -> float:
        """The Bayesian information criterion of a family (Schwarz 1978): log likelihood less half a log n for each free number, over the
        combinations that occur. Minus infinity where its table would be too large."""
        key = (n, frozenset(parents))
        if key not in self._scores:
            if np.prod([float(s) for s in (*self.sizes(parents), self.size[n])]) > _CELLS:
                self._scores[key] = -np.inf
            else:
                counts = self.table(n, parents)
                total = counts.sum(axis=1)
                free = np.count_nonzero(total) * (np.count_nonzero(counts.sum(axis=0)) - 1)
                likelihood = _entropy_sum(counts) - _entropy_sum(total)
                self._scores[key] = likelihood - 0.5 * free * np.log(max(len(self.states[n]), 2))
        return self._scores[key]


def ascend(counts: Counts, most: int, free: int | None = None) -> Graph:
    """The best graph that a climb passes. From a top it goes on downwards, never to a graph where it was, until `PATIENCE` steps bring nothing
    (tabu search; Koller and Friedman 2009, 18.4.3). Column `free` does not count among parents."""
    graph: Graph = [() for _ in counts.size]
    own = [counts.score(n, ()) for n in range(len(graph))]
    best, top, waited = list(graph), sum(own), 0
    seen = {_key(graph)}
    while waited < PATIENCE:
        found = part(f"step {len(seen)}", lambda now=graph, own=own: _step(counts, now, own, most, free, seen))
        if found is None:
            return best
        changes = {n: tuple(Parent(c, bool(coarse)) for c, coarse in parents) for n, parents in found}
        graph = [changes.get(n, p) for n, p in enumerate(graph)]
        seen.add(_key(graph))
        for n, p in changes.items():
            own[n] = counts.score(n, p)
        waited += 1
        if sum(own) > top + 1e-6:
            best, top, waited = list(graph), sum(own), 0
    return best


def _step(
    counts: Counts,
    graph: Graph,
    own: list[float],
    most: int,
    free: int | None,
    seen: set[tuple[frozenset[Parent], ...]],
) -> list[tuple[int, list[tuple[int, bool]]]] | None:
    """The columns that change in the best step to where the climb never was, each with its parents; None if there is none."""
    ranked = []
    for child in range(len(graph)):
        for changes in _moves(graph, child, most, free):
            gain = sum(counts.score(n, p) - own[n] for n, p in changes.items())
            if np.isfinite(gain):
                ranked.append((-gain, len(ranked), changes))
    ranked.sort(key=lambda r: r[:2])
    for _, _, changes in ranked:
        following = [changes.get(n, p) for n, p in enumerate(graph)]
        if _key(following) not in seen and _acyclic(following):
            return [(n, [(p.column, p.coarse) for p in parents]) for n, parents in changes.items()]
    return None


def _key(graph: Graph) -> tuple[frozenset[Parent], ...]:
    return tuple(frozenset(p) for p in graph)


def _moves(graph: Graph, child: int, most: int, free: int | None) -> list[dict[int, tuple[Parent, ...]]]:
    """What may change at one column: a parent more, one less, one turned into a child, or one seen more coarsely or finely."""
    made = []
    now = graph[child]

    def full(parents: tuple[Parent, ...]) -> bool:
        return sum(p.column != free for p in parents) >= most

    others = set(range(len(graph))) - {child} - {p.column for p in now}
    if full(now):
        others &= {free} if free is not None else set()
    if others:
        made += [{child: (*now, Parent(n, coarse))} for n in sorted(others) for coarse in (False, True)]
    for p in now:
        rest = tuple(q for q in now if q != p)
        made += [{child: rest}, {child: (*rest, Parent(p.column, not p.coarse))}]
        if child == free or not full(graph[p.column]):
            made += [{child: rest, p.column: (*graph[p.column], Parent(child, coarse))} for coarse in (False, True)]
    return made


def _acyclic(graph: Graph) -> bool:
    try:
        in_order([[p.column for p in parents] for parents in graph])
    except ValueError:
        return False
    return True


def shrunk(counts: Counts, n: int, parents: tuple[Parent, ...]) -> F64:
    """p(class | parents): counts with a Dirichlet prior of `SHRINK` rows around the distribution given the parents but the last."""
    table = counts.table(n, parents)
    if not parents:
        return table / table.sum()
    prior = np.repeat(shrunk(counts, n, parents[:-1]), counts.sizes(parents)[-1], axis=0)
    return (table + SHRINK * prior) / (table.sum(axis=1, keepdims=True) + SHRINK)


def _entropy_sum(counts: F64) -> float:
    there = counts[counts > 0]
    return float(np.sum(there * np.log(there)))
