"""A vine copula over columns of any type: pairs of columns, given others, each with a copula of its own.

Aas, Czado, Frigessi and Bakken 2009, "Pair-copula constructions of multiple dependence", Insurance: Mathematics and Economics 44(2); the structure is
chosen as in Dissmann, Brechmann, Czado and Kurowicka 2013, "Selecting and estimating regular vine copulae", CSDA 59, by pyvinecopulib. Pairs may be
learnt without a parametric family (Nagler, Schellhase and Czado 2017, Dependence Modeling 5), so relations need not be monotone. Columns with atoms,
categories and gaps come in as uniforms spread over their steps (Rüschendorf 2009, "On the distributional transform", J. Stat. Plan. Inference 139).
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
from .empirical import fit_marginals, marginal_state, rebuild_marginals
from .marginal import Marginal
from .scaling import order_categories

LEVELS = 4
"""Trees of the vine; columns further apart are independent given those between (Brechmann, Czado and Aas 2012, Canad. J. Stat. 40)."""
ROWS = 8_000
"""Rows that the vine is learnt from at most; the marginals see every row."""
POOL = 1 << 14
"""Draws among which rows with given columns find their like."""
NEAREST = 24
GRID, FURTHEST = 65, 4.5
"""Points of a pair copula's tables on each axis, evenly between normal scores of ± `FURTHEST`."""
INVERSE, FIRST, SECOND, DENSITY = range(4)
"""A pair's tables, over the scores of its two columns: of the first given the second, inverted; of the second given the first; of the first given the
second; the logarithm of the density."""
_CHUNK = 1 << 13
_END = 1e-9


@dataclass(frozen=True, eq=False)
class Vine:
    """p(columns) by a vine copula. Columns that are given pass through. The others are then those of one of `NEAREST` draws that come nearest in what is
    given, chosen in proportion to how much likelier the draw is with the given values than with its own (importance resampling): close to the
    conditional distribution, and not exact. What was never seen tells nothing.

    A pair copula is kept as tables over normal scores, between whose points values are interpolated: drawing needs no library and takes no time.
    """

    marginals: tuple[Marginal, ...]
    order: NDArray[np.int64]
    """The columns that vary, in the order of the vine, the last of which is drawn first."""
    partner: NDArray[np.int64]
    """Shape (trees, columns): the place in the order of the column that a column is paired with."""
    direct: NDArray[np.int64]
    """Likewise: 1 where the partner is that column itself given what lies between, 0 where it is that column given what lies beyond."""
    pair: NDArray[np.int64]
    """Likewise: which of the tables; -1 where the two are independent."""
    tables: NDArray[np.float32]
    """Shape (pairs, 4, GRID, GRID)."""

    @property
    def columns(self) -> tuple[str, ...]:
        return tuple(m.name for m in self.marginals)

    def sample(self, given: Table, stream: Stream) -> Table:
        address = rows(given)
        told = {n: given[c] for n, c in enumerate(self.columns) if c in given.columns}
        place = {int(n): k for k, n in enumerate(self.order)}
        parts = []
        for start in range(0, max(len(address), 1), _CHUNK):
            at = address[start : start + _CHUNK]
            held = {n: v.slice(start, _CHUNK) for n, v in told.items()}
            z = self._given(held, place, at, stream) if any(n in place for n in held) else self._drawn(at, stream)
            parts.append(
                pl.DataFrame(
                    [
                        held[n] if n in held else _value(m, _ndtr(z[place[n]]) if n in place else np.full(len(at), 0.5))
                        for n, m in enumerate(self.marginals)
                    ]
                )
            )
        return pl.concat(parts)

    def _drawn(self, address: NDArray, stream: Stream) -> list[F64]:
        """Normal scores of each column of the order: the Rosenblatt transform inverted, column by column (Dissmann et al. 2013, algorithm 2.2)."""
        size = len(self.order)
        made: dict[tuple[int, int], F64] = {}
        beyond: dict[tuple[int, int], F64] = {}
        for k in range(size - 1, -1, -1):
            trees = min(len(self.partner), size - k - 1)
            now = stream.child(self.columns[self.order[k]]).normal(address)
            made[trees, k] = now
            for tree in range(trees - 1, -1, -1):
                other = self._partner(tree, k, made, beyond)
                p = int(self.pair[tree, k])
                now = now if p < 0 else _between(self.tables[p, INVERSE], now, other)
                made[tree, k] = now
                beyond[tree + 1, k] = other if p < 0 else _between(self.tables[p, FIRST], now, other)
        return [made[0, k] for k in range(size)]

    def _partner(
        self, tree: int, k: int, made: Mapping[tuple[int, int], F64], beyond: Mapping[tuple[int, int], F64]
    ) -> F64:
        m = int(self.partner[tree, k])
        return made[tree, m] if self.direct[tree, k] else beyond[tree, m]

    def density(self, z: Sequence[F64]) -> F64:
        """The logarithm of the copula's density at normal scores, one array for each column of the order."""
        size, total = len(self.order), np.zeros(len(z[0]))
        within = {(0, k): z[k] for k in range(size)}
        beyond: dict[tuple[int, int], F64] = {}
        for tree in range(len(self.partner)):
            for k in range(size - tree - 1):
                other, p, own = self._partner(tree, k, within, beyond), int(self.pair[tree, k]), within[tree, k]
                if p >= 0:
                    total += _between(self.tables[p, DENSITY], own, other)
                within[tree + 1, k] = own if p < 0 else _between(self.tables[p, SECOND], own, other)
                beyond[tree + 1, k] = other if p < 0 else _between(self.tables[p, FIRST], own, other)
        return total

    @cached_property
    def _pool(self) -> tuple[F64, F64]:
        """Draws of the model, shape (draws, columns), and how dense it is there: the same for every seed, which only chooses among them."""
        z = self._drawn(np.arange(POOL, dtype=np.uint64), Stream.root(0).child("pool"))
        return np.stack(z, axis=1), self.density(z)

    def _given(
        self, told: Mapping[int, pl.Series], place: Mapping[int, int], address: NDArray, stream: Stream
    ) -> list[F64]:
        from scipy.spatial import KDTree

        known, at = {}, {}
        for n in (n for n in told if n in place):
            spread = stream.child(self.columns[n], "told").uniform(address)
            u, known[n] = uniforms(self.marginals[n], told[n], spread)
            at[n] = _ndtri(u)
        out = np.stack(self._drawn(address, stream), axis=1)
        pool, dense = self._pool
        pattern = np.stack([known[n] for n in at], axis=1)
        for kind in np.unique(pattern, axis=0):
            some = np.flatnonzero((pattern == kind).all(axis=1))
            columns = [place[n] for n, there in zip(at, kind, strict=True) if there]
            if not columns:
                continue
            wanted = np.stack([at[n][some] for n, there in zip(at, kind, strict=True) if there], axis=1)
            near = KDTree(pool[:, columns]).query(wanted, NEAREST)[1].ravel()
            both = pool[near]
            both[:, columns] = np.repeat(wanted, NEAREST, axis=0)
            gain = np.clip(self.density(list(both.T)) - dense[near], -50, 50).reshape(-1, NEAREST)
            share = np.cumsum(np.exp(gain), axis=1)
            u = stream.child("chosen").uniform(address[some]) * share[:, -1]
            chosen = np.minimum((u[:, None] > share).sum(axis=1), NEAREST - 1)
            out[some] = both.reshape(len(some), NEAREST, -1)[np.arange(len(some)), chosen]
        return list(out.T)

    def state(self) -> tuple[dict[str, Any], dict[str, NDArray]]:
        plain, arrays = marginal_state(self.marginals)
        return plain, arrays | {name: getattr(self, name) for name in ("order", "partner", "direct", "pair", "tables")}


def fit_vine(table: Table, stream: Stream) -> Vine:
    """Learn a table. Raises UserError for an empty table, a column of a type that cannot be learnt, or where pyvinecopulib is missing."""
    pv = _library()
    marginals = fit_marginals(table)
    pieces = [m.locate(table[m.name]) for m in marginals]
    marginals = order_categories(marginals, pieces)
    columns = _live(marginals)
    if len(columns) < 2 or table.height < 10:
        none = np.empty((0, len(columns)), np.int64)
        return Vine(marginals, np.array(columns, np.int64), none, none, none, np.empty((0, 4, GRID, GRID), np.float32))
    kept = np.sort(np.argsort(stream.child("rows").bits(np.arange(table.height)), kind="stable")[:ROWS])
    spread = [stream.child(marginals[n].name, "spread").uniform(kept) for n in columns]
    held = [uniforms(marginals[n], table[marginals[n].name][kept], s)[0] for n, s in zip(columns, spread, strict=True)]
    families = [pv.BicopFamily.indep, pv.BicopFamily.gaussian, pv.BicopFamily.frank, pv.BicopFamily.tll]
    controls = pv.FitControlsVinecop(
        family_set=families, trunc_lvl=LEVELS, selection_criterion="aic", nonparametric_mult=0.5, num_threads=1
    )
    return _tabled(
        marginals, columns, pv.Vinecop.from_data(np.asfortranarray(np.stack(held, axis=1)), controls=controls)
    )


def _tabled(marginals: tuple[Marginal, ...], columns: Sequence[int], vine: Any) -> Vine:
    """The library's vine as tables."""
    order = np.array([columns[v - 1] for v in vine.order], np.int64)
    size, trees = len(order), len(vine.pair_copulas)
    partner, direct, pair = (np.full((trees, size), fill, np.int64) for fill in (-1, 0, -1))
    score = np.linspace(-FURTHEST, FURTHEST, GRID)
    grid = np.asfortranarray(_ndtr(np.stack(np.meshgrid(score, score, indexing="ij"), axis=-1).reshape(-1, 2)))
    tables = []
    for tree in range(trees):
        for k in range(size - tree - 1):
            structure, copula = vine.structure, vine.get_pair_copula(tree, k)
            partner[tree, k] = structure.min_array(tree, k) - 1
            direct[tree, k] = structure.min_array(tree, k) == structure.struct_array(tree, k, True)
            if copula.family.name == "indep":
                continue
            pair[tree, k] = len(tables)
            scores = [_ndtri(np.clip(f(grid), _END, 1 - _END)) for f in (copula.hinv2, copula.hfunc1, copula.hfunc2)]
            tables.append(np.stack([*scores, np.log(np.maximum(copula.pdf(grid), 1e-12))]).reshape(4, GRID, GRID))
    held = np.stack(tables) if tables else np.empty((0, 4, GRID, GRID))
    return Vine(marginals, order, partner, direct, pair, held.astype(np.float32))


def rebuild_vine(plain: Mapping[str, Any], arrays: Mapping[str, NDArray]) -> Vine:
    """The inverse of `Vine.state`. Raises ValueError for what is no vine of its columns: a walk finds each column that it needs."""
    marginals = rebuild_marginals(plain, arrays)
    order, partner, direct, pair, tables = (
        np.array(arrays[k]) for k in ("order", "partner", "direct", "pair", "tables")
    )
    size = len(order)
    sound = (
        all(a.dtype == np.int64 for a in (order, partner, direct, pair))
        and order.ndim == 1
        and sorted(order.tolist()) == _live(marginals)
        and partner.ndim == 2
        and partner.shape == direct.shape == pair.shape
        and partner.shape[1] == size
        and len(partner) < max(size, 1)
        and tables.dtype == np.float32
        and tables.ndim == 4
        and tables.shape[1:] == (4, GRID, GRID)
        and np.isfinite(tables).all()
        and (pair >= -1).all()
        and (pair < len(tables)).all()
    )
    if not sound:
        raise ValueError("its vine is damaged")
    made = Vine(marginals, order, partner, direct, pair, tables)
    for tree in range(len(partner)):
        # a partner stands later in the order
        here = np.arange(size - tree - 1)
        if not ((partner[tree, here] > here) & (partner[tree, here] < size)).all():
            raise ValueError("its vine has no order")
    try:
        made._drawn(np.zeros(1, np.uint64), Stream.root(0))
        made.density([np.zeros(1)] * size) if size else None
    except KeyError as error:
        raise ValueError(f"its vine does not hold together: {error}") from None
    return made


def _library() -> Any:
    try:
        import pyvinecopulib
    except ImportError:
        raise UserError("the model 'vine-copula' needs pyvinecopulib to learn: pip install 'populace[vine]'") from None
    return pyvinecopulib


def _live(marginals: tuple[Marginal, ...]) -> list[int]:
    """The columns that vary."""
    return [n for n, m in enumerate(marginals) if m.pieces > 1 or 0.0 < m.missing < 1.0]


def uniforms(marginal: Marginal, values: pl.Series, spread: F64) -> tuple[F64, NDArray[np.bool_]]:
    """Where values stand in their column's distribution, gaps first, spread over the steps of atoms; and which say anything."""
    piece, share, known = marginal.locate(values)
    null = values.is_null().to_numpy()
    if values.dtype.is_float():
        null |= values.is_nan().fill_null(False).to_numpy()
    u = np.zeros(len(values))
    if marginal.pieces:
        within = np.where(marginal.atoms[piece], spread, share)
        u = marginal.edges[piece] + within * (marginal.edges[piece + 1] - marginal.edges[piece])
    u = np.where(known, marginal.missing + (1 - marginal.missing) * u, spread * marginal.missing)
    return np.clip(u, _END, 1 - _END), known | (null & (marginal.missing > 0))


def _value(marginal: Marginal, u: F64) -> pl.Series:
    there = u >= marginal.missing if marginal.missing else np.ones(len(u), bool)
    if marginal.missing == 1.0:
        there[:] = False
    scaled = (u - marginal.missing) / max(1 - marginal.missing, 1e-300)
    return marginal.quantile(np.clip(scaled, 2.0**-54, 1 - 2.0**-53), there)


def _between(table: NDArray, x: F64, y: F64) -> F64:
    """The table's value at scores, between its points in straight lines."""
    step = (GRID - 1) / (2 * FURTHEST)
    a, b = ((np.clip(v, -FURTHEST, FURTHEST) + FURTHEST) * step for v in (x, y))
    i, j = (np.minimum(v.astype(np.int32), GRID - 2) for v in (a, b))
    a -= i
    b -= j
    flat, at = table.ravel(), i * GRID + j
    low = flat[at] * (1 - b) + flat[at + 1] * b
    high = flat[at + GRID] * (1 - b) + flat[at + GRID + 1] * b
    return low * (1 - a) + high * a


def _ndtr(z: F64) -> F64:
    from scipy.special import ndtr

    return np.clip(ndtr(z), _END, 1 - _END)


def _ndtri(u: F64) -> F64:
    from scipy.special import ndtri

    return ndtri(u)
