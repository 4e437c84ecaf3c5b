"""Column after column by attention: each column asks what is known of a row, whatever that is, and one network answers for all columns.

Vaswani et al. 2017, arXiv:1706.03762; for tables as Canale, Grislain, Lothe and Leduc 2022, "Generative Modeling of Complex Data", arXiv:2202.02145, and Solatorio and Dupriez 2023, "REaLTabFormer",
arXiv:2302.02041, here over classes and cells instead of characters; orders as in Hoogeboom et al. 2022, ICLR, arXiv:2110.02037. What is asked hangs on the column that is next and what
answers on the values that are known, as in the first of the query streams of Yang et al. 2019, "XLNet", NeurIPS, arXiv:1906.08237: so keys and values are look-ups, one for each value of a column.
`learn_transformer.py` learns it, with torch; drawing needs none.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ...stream import Stream
from ...tables import Table
from ..statistical.empirical import marginal_state, rebuild_marginals
from ..statistical.marginal import Marginal
from .draw import BLOCK, choose_class, distinct, in_parts, product
from .heads import Heads, check_array, rebuild_heads
from .learnt import Learnt, rebuild_learnt

F32 = NDArray[np.float32]
I64 = NDArray[np.int64]
Told = tuple[I64, F32]
"""Values of a column, and what they tell, shape (parts, H / parts, rows)."""

PARTS = 4
"""Parts that attend apart."""
LEAST = 1e-5
"""Added to variances that are divided by."""
_CHUNK = 1 << 18
_FEW = 0.5
"""Rows that have told the same so far are worked out once, while they are at most this share of all."""
_LEAST_WEIGHT = np.float32(1e-30)


def trunk_shapes(width: int) -> dict[str, tuple[int, int]]:
    """The layers, and their inputs and outputs: what a column asks, what a value answers and tells, what comes of it."""
    return {
        "ask": (width, width),
        "answer": (width, width),
        "told": (width, width),
        "tell": (width, width),
        "wide": (width, 2 * width),
        "back": (2 * width, width),
    }


NORMS = ("value", "column", "found")
"""What is brought to a mean and a variance: values before they answer, columns before they ask, and what was found."""


@dataclass(frozen=True, eq=False)
class Transformer:
    """p(columns) as a product of conditionals, in an order that begins with what is given. Given columns pass through; what was never seen counts as missing."""

    heads: Heads
    following: F32
    """What it means that a column is next, shape (columns, H)."""
    begin: F32
    """What is known of every row, shape (H,)."""
    trunk: Mapping[str, F32]
    learnt: Learnt

    @property
    def marginals(self) -> tuple[Marginal, ...]:
        return tuple(c.marginal for c in self.heads.cells)

    @property
    def columns(self) -> tuple[str, ...]:
        return tuple(m.name for m in self.marginals)

    def sample(self, given: Table, stream: Stream) -> Table:
        return in_parts(self.columns, given, _CHUNK, lambda told, address: self._part(told, address, stream))

    def _part(self, told: Mapping[str, pl.Series], address: NDArray, stream: Stream) -> Table:
        count, heads = len(address), self.heads
        known = {n: heads.cells[n].of_values(told[m.name]) for n, m in enumerate(self.marginals) if m.name in told}
        left = [n for n in heads.order if n not in known]
        names = {n: stream.child(self.marginals[n].name) for n in left}
        u = {n: names[n].uniform(address) for n in left}
        v = {n: names[n].child("cell").uniform(address) for n in left if n in heads.fine}
        drawn = {n: (np.zeros(count, np.int64), np.zeros(count, np.int64)) for n in left}
        seen = _Seen(self, count)
        for n, (state, cell) in known.items():
            seen.add(n, state, cell)
        while count and left and seen.shared and left[0] not in heads.fine:
            n = left.pop(0)
            drawn[n] = seen.drawn(n, u[n]), drawn[n][1]
            seen.add(n, *drawn[n])
        # rows with like beginnings after one another
        order = np.argsort(seen.which, kind="stable")
        weights = {n: self._weights(n, (*seen.values, *left[:k])) for k, n in enumerate(left)}
        for start in range(0, count if left else 0, BLOCK):
            some = order[start : start + BLOCK]
            alike, which = seen.beginnings(some)
            own = {m: self._told(m, value[some]) for m, value in seen.own.items()}
            for n in left:
                total, found = self._heeded(weights[n], alike)
                total, found = self._heeded(weights[n], own, total.take(which, axis=1), found.take(which, axis=2))
                state, cell = heads.drawn(n, self._units(n, total, found), u[n][some], v[n][some] if n in v else None)
                drawn[n][0][some], drawn[n][1][some] = state, cell
                if n != left[-1]:
                    own[n] = self._told(n, heads.value(n, state, cell))
        made = []
        for n, marginal in enumerate(self.marginals):
            if n in known:
                made.append(told[marginal.name])
            else:
                listed = heads.cells[n].listed is not None
                share = np.empty(0) if listed else names[n].child("within").uniform(address)
                made.append(heads.cells[n].values(*drawn[n], share))
        return pl.DataFrame(made)

    def _told(self, n: int, value: I64) -> Told:
        # along rows that stand side by side: nine times as fast as to look rows up and turn them
        return value, self._values[n][1].take(value, axis=1).reshape(PARTS, -1, len(value))

    def _weights(self, n: int, seen: Sequence[int]) -> dict[int, F32]:
        """How much column `n` heeds each value of those columns, shape (parts, values), and under -1 what is known of every row; in proportion."""
        fit = {m: self._fit(n, self._values[m][0]) for m in seen} | {-1: self._fit(n, self._always[0][None])}
        most = max(float(f.max()) for f in fit.values())
        return {m: np.maximum(np.exp(f - most), _LEAST_WEIGHT).astype(np.float32) for m, f in fit.items()}

    def _fit(self, n: int, answers: NDArray) -> NDArray:
        parts = answers.reshape(len(answers), PARTS, -1)
        return np.einsum("vps,ps->pv", parts, self._asks[n].reshape(PARTS, -1)) * parts.shape[2] ** -0.5

    def _heeded(
        self, weights: Mapping[int, F32], told: Mapping[int, Told], total: F32 | None = None, found: F32 | None = None
    ) -> tuple[F32, F32]:
        """The sums of weights, shape (parts, rows), and of what is told times its weight, shape (parts, H / parts, rows), with these columns or added to what there is."""
        if total is None or found is None:
            count = len(next(iter(told.values()))[0]) if told else 1
            total = np.repeat(weights[-1], count, axis=1)
            begin = (weights[-1] * self._always[1].reshape(PARTS, -1)).astype(np.float32)
            found = np.repeat(begin[:, :, None], count, axis=2)
        part = np.empty_like(found)
        for n, (value, telling) in told.items():
            weight, size = weights[n].take(value, axis=1), len(value)
            total[:, :size] += weight
            found[:, :, :size] += np.multiply(telling, weight[:, None], out=part[:, :, :size])
        return total, found

    def _units(self, n: int, total: F32, found: F32) -> F32:
        """What column `n` hangs on, before it is rectified, shape (rows, H). `found` is written over."""
        found /= total[:, None]
        x = self._dense("tell", found.reshape(-1, found.shape[2]))
        x += self.following[n][:, None]
        wide = self._dense("wide", self._normal("found", x))
        x += self._dense("back", np.maximum(wide, 0, out=wide))
        return x.T

    def _dense(self, name: str, x: F32) -> F32:
        weight = self._turned[name]
        out = product(weight, x, np.empty((len(weight), x.shape[1]), np.float32))
        out += self.trunk[f"{name}.shift"][:, None]
        return out

    def _normal(self, name: str, x: F32) -> F32:
        out = x - x.mean(axis=0)
        out /= np.sqrt((out * out).mean(axis=0) + np.float32(LEAST))
        out *= self.trunk[f"{name}.scale"][:, None]
        out += self.trunk[f"{name}.offset"][:, None]
        return out

    @cached_property
    def _turned(self) -> dict[str, F32]:
        return {k: np.ascontiguousarray(self.trunk[f"{k}.weight"].T) for k in ("tell", "wide", "back")}

    @cached_property
    def _asks(self) -> NDArray[np.float64]:
        return self._exact("ask", "column", self.following)

    @cached_property
    def _values(self) -> list[tuple[NDArray[np.float64], F32]]:
        """What each value of each column answers, shape (values, H), and tells, shape (H, values)."""
        made = []
        for n in range(len(self.heads.cells)):
            meanings = self.heads.meanings(n)
            told = self._exact("told", "value", meanings).astype(np.float32)
            made.append((self._exact("answer", "value", meanings), np.ascontiguousarray(told.T)))
        return made

    @cached_property
    def _always(self) -> tuple[NDArray, NDArray]:
        """What answers and tells for every row."""
        return tuple(self._exact(name, "value", self.begin[None])[0] for name in ("answer", "told"))  # type: ignore[return-value]

    def _exact(self, name: str, norm: str, x: F32) -> NDArray[np.float64]:
        """A layer behind its norm, in double precision: shape (rows, H)."""
        y = x.astype(np.float64)
        y -= y.mean(axis=1, keepdims=True)
        y /= np.sqrt((y * y).mean(axis=1, keepdims=True) + LEAST)
        y = y * self.trunk[f"{norm}.scale"] + self.trunk[f"{norm}.offset"]
        return y @ self.trunk[f"{name}.weight"].astype(np.float64) + self.trunk[f"{name}.shift"]

    def state(self) -> tuple[dict[str, Any], dict[str, NDArray]]:
        plain, arrays = marginal_state(self.marginals)
        more, held = self.learnt.state()
        net = {"net.following": self.following, "net.begin": self.begin}
        return plain | more, arrays | held | self.heads.state() | net | {f"trunk.{k}": a for k, a in self.trunk.items()}


class _Seen:
    """What is known of rows so far: rows that have told the same are one, until most differ."""

    def __init__(self, model: Transformer, count: int) -> None:
        self.model, self.count = model, count
        self.shared = True
        self.which = np.zeros(count, np.int64)
        """The beginning of each row."""
        self.alike: dict[int, I64] = {}
        """For each column that rows share, its value in each beginning."""
        self.own: dict[int, I64] = {}
        """And in each row, where they do not."""
        self.size = 1

    @property
    def values(self) -> tuple[int, ...]:
        """The columns that are known."""
        return (*self.alike, *self.own)

    def beginnings(self, some: I64) -> tuple[dict[int, Told], I64]:
        """What the beginnings of rows tell, rows of like beginnings being after one another, and which of these each row has; for a whole block."""
        which = self.which[some]
        new = np.diff(which, prepend=-1) > 0
        told = {n: self.model._told(n, value[which[new]]) for n, value in self.alike.items()}
        return told, _padded(np.cumsum(new) - 1)

    def add(self, n: int, state: I64, cell: I64) -> None:
        """Column `n` is known."""
        value, size = self.model.heads.value(n, state, cell), len(self.model.heads.meanings(n))
        if self.shared and n not in self.model.heads.fine:
            some, which = distinct(self.which * size + value, self.size * size)
            if len(some) <= _FEW * self.count:
                self.alike = {m: v[some // size] for m, v in self.alike.items()} | {n: some % size}
                self.which, self.size = which, len(some)
                return
        self.shared = False
        self.own[n] = value

    def drawn(self, n: int, u: NDArray) -> I64:
        """A class of column `n` for each row, by uniforms, while rows share beginnings."""
        scores, weights = [], self.model._weights(n, tuple(self.alike))
        for start in range(0, self.size, BLOCK):
            some = slice(start, start + BLOCK)
            told = {m: self.model._told(m, value[some]) for m, value in self.alike.items()}
            total, found = self.model._heeded(weights, told)
            short = _padded(np.arange(min(BLOCK, self.size - start)))
            units = self.model._units(n, total.take(short, axis=1), found.take(short, axis=2))
            scores.append(self.model.heads.scores(n, units))
        return choose_class(np.concatenate(scores, axis=1), u, self.which)


def _padded(at: I64) -> I64:
    whole = np.zeros(BLOCK, np.int64)
    whole[: len(at)] = at
    return whole


def rebuild_transformer(plain: Mapping[str, Any], arrays: Mapping[str, NDArray]) -> Transformer:
    """The inverse of `Transformer.state`. Raises ValueError for arrays that are no such network."""
    marginals = rebuild_marginals(plain, arrays)
    begin = np.array(arrays["net.begin"])
    if begin.ndim != 1 or not len(begin) or len(begin) % PARTS:
        raise ValueError("its network is damaged")
    width = len(begin)
    heads = rebuild_heads(marginals, arrays, width, width)
    following = np.array(arrays["net.following"])
    check_array(begin, begin.shape)
    check_array(following, (len(marginals), width))
    shapes: dict[str, tuple[int, ...]] = {f"{k}.{part}": (width,) for k in NORMS for part in ("scale", "offset")}
    for name, (inputs, outputs) in trunk_shapes(width).items():
        shapes |= {f"{name}.weight": (inputs, outputs), f"{name}.shift": (outputs,)}
    trunk = {name: np.array(arrays[f"trunk.{name}"]) for name in shapes}
    for name, shape in shapes.items():
        check_array(trunk[name], shape)
    return Transformer(heads, following, begin, trunk, rebuild_learnt(plain, arrays))
