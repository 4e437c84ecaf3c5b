"""A Bayesian network over columns of any type: a graph without cycles, and for each column a table of its classes given its parents'.

Tucker, Wang, Rotalinti and Myles 2020, "Generating high-fidelity synthetic patient data for assessing machine learning healthcare software",
npj Digital Medicine 3:147: a network learnt from primary-care records, with what is missing as a state of its own. What is given is
conditioned on exactly, by variable elimination and sampling backwards (Koller and Friedman 2009, Probabilistic Graphical Models, 9.3
and 12.1). `learn_network.py` learns one from data, `private_network.py` under differential privacy.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ...errors import UserError
from ...stream import F64, Stream
from ...tables import Table, rows
from .empirical import marginal_state, rebuild_marginals
from .forest import Classes, code_of
from .marginal import Marginal

I64 = NDArray[np.int64]

COARSE = 6
"""Classes of a column where a child needs no more of it."""
CELLS = 1 << 24
"""A query whose tables are larger than this is refused."""
_CHUNK = 1 << 15
_JUST_UNDER_ONE = 1.0 - 2.0**-30


@dataclass(frozen=True)
class Parent:
    """A column that another hangs on: in all its classes, or (`coarse`) in at most about `COARSE` groups of them."""

    column: int
    coarse: bool = False


@dataclass(frozen=True, eq=False)
class Family:
    """A column's parents, and its distribution given each combination of theirs: shape (combinations, classes), the last parent's class running
    fastest."""

    parents: tuple[Parent, ...]
    table: F64

    @cached_property
    def _flat(self) -> F64:
        cdf = np.cumsum(self.table, axis=1)
        return (cdf / cdf[:, -1:] + np.arange(len(cdf))[:, None]).ravel()

    def draw(self, combination: I64, u: F64) -> I64:
        """A class for each row."""
        size = self.table.shape[1]
        at = np.searchsorted(self._flat, combination + np.minimum(u, _JUST_UNDER_ONE), side="right")
        return np.clip(at - combination * size, 0, size - 1)


@dataclass(frozen=True, eq=False)
class Network:
    """p(columns) as a product of families. Columns that are given pass through, and the others are drawn conditional on their classes, exactly.

    Numbers with many values are cut into classes of like size (`forest.Classes`); within its class a value is drawn from the column's own
    distribution. A value that was never seen tells nothing.
    """

    marginals: tuple[Marginal, ...]
    families: tuple[Family, ...]

    @property
    def columns(self) -> tuple[str, ...]:
        return tuple(m.name for m in self.marginals)

    @property
    def edges(self) -> tuple[tuple[str, str], ...]:
        """Each parent with its child."""
        return tuple((self.columns[p.column], self.columns[n]) for n, f in enumerate(self.families) for p in f.parents)

    @cached_property
    def classes(self) -> tuple[Classes, ...]:
        """Each column's classes; the first is what is missing."""
        return tuple(Classes.of(m) for m in self.marginals)

    @cached_property
    def coarse(self) -> tuple[I64, ...]:
        """For each column, the coarse class of each class."""
        return tuple(coarsened(c) for c in self.classes)

    @cached_property
    def order(self) -> tuple[int, ...]:
        """The columns, parents first. Raises ValueError for a graph with a cycle."""
        return in_order([[p.column for p in f.parents] for f in self.families])

    def graph(self) -> str:
        """The network as text: a line for each column, with what it hangs on."""
        width = max(len(c) for c in self.columns)
        lines = []
        for n in self.order:
            on = ", ".join(self.columns[p.column] for p in self.families[n].parents)
            lines.append(f"{self.columns[n]:<{width}} <- {on}" if on else self.columns[n])
        return "\n".join(lines)

    def sample(self, given: Table, stream: Stream) -> Table:
        address = rows(given)
        parts = []
        for start in range(0, max(len(address), 1), _CHUNK):
            told = {n: given[c].slice(start, _CHUNK) for n, c in enumerate(self.columns) if c in given.columns}
            parts.append(self._part(told, address[start : start + _CHUNK], stream))
        return pl.concat(parts, rechunk=False)

    def _part(self, told: Mapping[int, pl.Series], address: NDArray, stream: Stream) -> Table:
        uniform = [stream.child(c).uniform(address) for c in self.columns]
        held = {n: self.classes[n].of_codes(code_of(self.marginals[n], values)) for n, values in told.items()}
        # what the column never had is as if it were not given
        known = {n: self.classes[n].share[c] > 0 for n, c in held.items()}
        state = np.zeros((len(self.columns), len(address)), np.int64)
        for evidence, at in _patterns(known, len(address)):
            found = self._states({n: held[n][at] for n in evidence}, [u[at] for u in uniform], len(at))
            state[:, at] = found
        made = []
        for n, marginal in enumerate(self.marginals):
            if n in told:
                made.append(told[n])
                continue
            made.append(
                within(marginal, self.classes[n], state[n], stream.child(marginal.name, "within").uniform(address))
            )
        return pl.DataFrame(made)

    def _states(self, evidence: Mapping[int, I64], uniform: Sequence[F64], height: int) -> I64:
        """The class of each column, shape (columns, rows)."""
        state = np.zeros((len(self.columns), height), np.int64)
        for n, values in evidence.items():
            state[n] = values
        above = self._ancestors(evidence)
        hidden = [n for n in self.order if n in above and n not in evidence]
        if hidden and height:
            self._explain(state, evidence, hidden, sorted(above), uniform)
        for n in self.order:
            if n not in above:
                state[n] = self.families[n].draw(self._combination(n, state), uniform[n])
        return state

    def _ancestors(self, evidence: Mapping[int, Any]) -> set[int]:
        """The given columns and all that they descend from."""
        found: set[int] = set()
        todo = list(evidence)
        while todo:
            n = todo.pop()
            if n not in found:
                found.add(n)
                todo += [p.column for p in self.families[n].parents]
        return found

    def _combination(self, n: int, state: I64) -> I64:
        at = np.zeros(state.shape[1], np.int64)
        for p in self.families[n].parents:
            at = at * self._size(p) + self._seen(p, state[p.column])
        return at

    def _size(self, p: Parent) -> int:
        return int(self.coarse[p.column][-1]) + 1 if p.coarse else len(self.classes[p.column].share)

    def _seen(self, p: Parent, state: I64) -> I64:
        return self.coarse[p.column][state] if p.coarse else state

    def _explain(
        self, state: I64, evidence: Mapping[int, I64], hidden: list[int], above: list[int], uniform: Sequence[F64]
    ) -> None:
        """Draw the ancestors of what is given: eliminate them one by one, then draw them in the opposite order."""
        told = sorted(evidence)
        distinct, which = np.unique(np.stack([evidence[n] for n in told], axis=1), axis=0, return_inverse=True)
        plan, cells = self._elimination(hidden, above, set(told))
        if cells > CELLS:
            names = ", ".join(self.columns[n] for n in told)
            raise UserError(
                f"given {names}: an exact answer needs a table of {cells:,} cells, more than {CELLS:,}; give columns nearer the roots"
            )
        step = max(1, CELLS // 8 // cells)
        order = np.argsort(which.ravel(), kind="stable")
        ends = np.searchsorted(which.ravel()[order], np.arange(0, len(distinct) + step, step))
        for start, a, b in zip(range(0, len(distinct), step), ends, ends[1:], strict=False):
            at = order[a:b]
            some = dict(zip(told, distinct[start : start + step].T, strict=True))
            self._backwards(state, some, which.ravel()[at] - start, at, plan, above, uniform)

    def _elimination(self, hidden: list[int], above: list[int], told: set[int]) -> tuple[list[int], int]:
        """The order that keeps tables small (greedily, the smallest next), and the cells of the largest."""
        scopes = [({n, *(p.column for p in self.families[n].parents)}) - told for n in above]
        size = [len(c.share) for c in self.classes]
        plan, most = [], 1
        left = set(hidden)
        while left:
            joint = {n: set().union(*(s for s in scopes if n in s)) for n in left}
            cells = {n: int(np.prod([float(size[m]) for m in joint[n]])) for n in left}
            best = min(left, key=lambda n: (cells[n], n))
            most = max(most, cells[best])
            scopes = [s for s in scopes if best not in s] + [joint[best] - {best}]
            plan.append(best)
            left.remove(best)
        return plan, most

    def _backwards(
        self,
        state: I64,
        evidence: Mapping[int, I64],
        which: I64,
        at: I64,
        plan: list[int],
        above: list[int],
        uniform: Sequence[F64],
    ) -> None:
        factors = [self._factor(n, evidence) for n in above]
        made: list[tuple[int, list[int], F64]] = []
        for n in plan:
            joined = [f for f in factors if n in f[0]]
            factors = [f for f in factors if n not in f[0]]
            scope = [*sorted({m for f in joined for m in f[0]} - {n}), n]
            product = _product(joined, scope)
            made.append((n, scope[:-1], product))
            message = product.sum(axis=-1)
            peak = message.reshape(len(message), -1).max(axis=1).reshape(-1, *[1] * (message.ndim - 1))
            factors.append((scope[:-1], message / np.where(peak > 0, peak, 1.0)))
        for n, scope, product in reversed(made):
            p = product[(which, *(state[m, at] for m in scope))]
            cdf = np.cumsum(p, axis=1)
            u = uniform[n][at] * cdf[:, -1]
            state[n, at] = np.minimum((u[:, None] >= cdf).sum(axis=1), p.shape[1] - 1)

    def _factor(self, n: int, evidence: Mapping[int, I64]) -> tuple[list[int], F64]:
        """A family as a table over its columns that are not given, one for each combination given: shape (given, columns' classes …)."""
        family = self.families[n]
        axes = [(p.column, self._size(p), p) for p in family.parents] + [(n, family.table.shape[1], None)]
        free = [m for m, _, _ in axes if m not in evidence]
        shape = [len(next(iter(evidence.values())))] + [len(self.classes[m].share) for m in free]
        at = np.zeros([1] * len(shape), np.int64)
        for m, size, p in axes:
            own = evidence.get(m, np.arange(len(self.classes[m].share)))
            own = self._seen(p, own) if p is not None else own
            where = 0 if m in evidence else 1 + free.index(m)
            at = at * size + own.reshape([-1 if k == where else 1 for k in range(len(shape))])
        return free, np.broadcast_to(family.table.ravel()[at], shape)

    def state(self) -> tuple[dict[str, Any], dict[str, NDArray]]:
        plain, arrays = marginal_state(self.marginals)
        plain["parents"] = [[[p.column, p.coarse] for p in f.parents] for f in self.families]
        return plain, arrays | {f"table.{n}": f.table for n, f in enumerate(self.families)}


def rebuild_network(plain: Mapping[str, Any], arrays: Mapping[str, NDArray]) -> Network:
    """The inverse of `Network.state`. Raises ValueError for what is no network."""
    marginals = rebuild_marginals(plain, arrays)
    if len(plain["parents"]) != len(marginals):
        raise ValueError("its columns have no parents")
    families = []
    for n, listed in enumerate(plain["parents"]):
        parents = tuple(Parent(int(column), bool(coarse)) for column, coarse in listed)
        if any(not 0 <= p.column < len(marginals) for p in parents) or len({p.column for p in parents}) < len(parents):
            raise ValueError(f"the parents of column '{marginals[n].name}' are not columns")
        families.append(Family(parents, np.array(arrays[f"table.{n}"])))
    made = Network(marginals, tuple(families))
    _ = made.order
    for n, f in enumerate(made.families):
        shape = (int(np.prod([made._size(p) for p in f.parents], dtype=object)), len(made.classes[n].share))
        if f.table.dtype != np.float64 or f.table.shape != shape or not (np.isfinite(f.table) & (f.table >= 0)).all():
            raise ValueError(f"the table of column '{marginals[n].name}' is damaged")
        if not (f.table.sum(axis=1) > 0).all():
            raise ValueError(f"the table of column '{marginals[n].name}' has a row without weight")
    return made


def within(marginal: Marginal, classes: Classes, state: I64, u: F64) -> pl.Series:
    """A value in each class, from the column's own distribution."""
    if not marginal.pieces:
        return marginal.quantile(u)
    first = np.concatenate(([0, 0], classes.last[1:-1] + 1))
    low, high = marginal.edges[first], marginal.edges[np.maximum(classes.last, 0) + 1]
    return marginal.quantile(low[state] + u * (high - low)[state], state > 0)


def coarsened(classes: Classes) -> I64:
    """The coarse class of each class: neighbours joined to about `COARSE` groups of like share; what is missing stays apart."""
    share = classes.share[1:]
    if len(share) <= COARSE:
        return np.arange(len(share) + 1)
    level = np.floor((np.cumsum(share) - share / 2) / max(share.sum(), 1e-300) * COARSE)
    return np.concatenate(([0], np.cumsum(np.diff(level, prepend=-1) != 0)))


def in_order(parents: Sequence[Sequence[int]]) -> tuple[int, ...]:
    """The numbers of the columns, parents before children. Raises ValueError for a cycle."""
    left, found = list(range(len(parents))), []
    while left:
        ready = [n for n in left if all(p in found for p in parents[n])]
        if not ready:
            raise ValueError("its graph has a cycle")
        found += ready
        left = [n for n in left if n not in ready]
    return tuple(found)


def _patterns(known: Mapping[int, NDArray[np.bool_]], height: int) -> list[tuple[list[int], I64]]:
    """Which given columns tell something, and the rows of which that is so."""
    if not known:
        return [([], np.arange(height))]
    columns = sorted(known)
    patterns, which = np.unique(np.stack([known[n] for n in columns], axis=1), axis=0, return_inverse=True)
    return [
        ([n for n, told in zip(columns, pattern, strict=True) if told], np.flatnonzero(which.ravel() == k))
        for k, pattern in enumerate(patterns)
    ]


def _product(factors: list[tuple[list[int], F64]], scope: list[int]) -> F64:
    product: Any = 1.0
    for own, table in factors:
        order = sorted(range(len(own)), key=lambda k: scope.index(own[k]))
        turned = np.transpose(table, (0, *(k + 1 for k in order)))
        shape = [turned.shape[0]] + [table.shape[1 + own.index(m)] if m in own else 1 for m in scope]
        product = product * turned.reshape(shape)
    return np.ascontiguousarray(product)
