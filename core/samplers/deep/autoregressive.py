"""Column after column from one network: a discretised autoregressive model that knows every order of the columns.

Tiwald, Krchova, Sidorenko, Vieyra, Scriminaci and Platzer 2025, "TabularARGN: A Flexible and Efficient Auto-Regressive Framework for Generating
High-Fidelity Synthetic Data", arXiv:2501.12012; orders as in Hoogeboom et al. 2022, "Autoregressive Diffusion Models", ICLR, arXiv:2110.02037.
A column's values are put into classes, and those of a column of many values into cells of their class; the network gives the classes' chances,
given those of any other columns, then the cells', given the class as well. A cell's values follow the column's own distribution.
`learn_autoregressive.py` learns it, with torch; drawing needs none.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ...stream import F64, Stream
from ...tables import Table
from ..statistical.empirical import marginal_state, rebuild_marginals
from ..statistical.marginal import Marginal
from .draw import BLOCK, choose_class, distinct, in_parts, padded
from .heads import Heads, check_array, rebuild_heads
from .learnt import Learnt, rebuild_learnt

F32 = NDArray[np.float32]
I64 = NDArray[np.int64]

_CHUNK = 1 << 18
_FEW = 0.5
"""Rows that have told the same so far are worked out once, while they are at most this share of all."""


@dataclass(frozen=True, eq=False)
class Autoregressive:
    """p(columns) as a product of conditionals, in an order that begins with what is given. Given columns pass through; what was never seen
    counts as missing.

    A row's hidden vector is the sum of what is known of it; column `n`'s units are that and `first[n]`, rectified, times `second[n]`, and `shift[n]`.
    """

    heads: Heads
    first: F32
    """(columns, H)"""
    second: F32
    """(columns, H, W)"""
    shift: F32
    """(columns, W)"""
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
        seen = _Seen(self, count)
        made: dict[str, pl.Series] = dict(told)
        for n, marginal in enumerate(self.marginals):
            if marginal.name in told:
                seen.add(n, *heads.cells[n].of_values(told[marginal.name]))
        names = {n: stream.child(m.name) for n, m in enumerate(self.marginals)}
        left = [n for n in heads.order if self.marginals[n].name not in told]
        drawn = {n: (np.zeros(count, np.int64), np.zeros(count, np.int64)) for n in left}
        u = {n: names[n].uniform(address) for n in left}
        v = {n: names[n].child("cell").uniform(address) for n in left if n in heads.fine}
        while left and seen.shared and left[0] not in heads.fine:
            n = left.pop(0)
            drawn[n] = seen.drawn(n, u[n]), drawn[n][1]
            seen.add(n, *drawn[n])
        # block by block: what is known of a block's rows stays near the processor from column to column
        for start in range(0, count, BLOCK):
            some = slice(start, min(start + BLOCK, count))
            hidden = seen.of_rows(some)
            for n in left:
                state, cell = heads.drawn(n, self.units(n, hidden), u[n][some], v[n][some] if n in v else None)
                drawn[n][0][some], drawn[n][1][some] = state, cell
                if n != left[-1]:
                    hidden[: len(state)] += heads.meaning(n, state, cell)
        for n, (state, cell) in drawn.items():
            listed = heads.cells[n].listed is not None
            share = np.empty(0) if listed else names[n].child("within").uniform(address)
            made[self.marginals[n].name] = heads.cells[n].values(state, cell, share)
        return pl.DataFrame([made[name] for name in self.columns])

    def units(self, n: int, hidden: F32) -> F32:
        """What column `n` hangs on, before it is rectified, shape (rows, W)."""
        # max(h + f, 0) is max(h, -f) + f, and what f comes to is the same for all rows
        return np.maximum(hidden, -self.first[n]) @ self.second[n] + self._begins[n]

    @cached_property
    def _begins(self) -> F32:
        return self.shift + np.einsum("nh,nhw->nw", self.first, self.second)

    def state(self) -> tuple[dict[str, Any], dict[str, NDArray]]:
        plain, arrays = marginal_state(self.marginals)
        more, held = self.learnt.state()
        trunk = {f"net.{name}": getattr(self, name) for name in ("first", "second", "shift")}
        return plain | more, arrays | held | self.heads.state() | trunk


class _Seen:
    """What has been told of rows so far: those that were told the same share a hidden vector, until most differ."""

    def __init__(self, model: Autoregressive, count: int) -> None:
        self.model, self.count = model, count
        self.which = np.zeros(count, np.int64)
        self.hidden = np.zeros((1, model.first.shape[1]), np.float32)
        self.own: list[tuple[int, I64, I64]] = []
        """The columns by which most rows differ, their classes and cells."""

    @property
    def shared(self) -> bool:
        return not self.own

    def add(self, n: int, state: I64, cell: I64) -> None:
        """Column `n` is known."""
        heads = self.model.heads
        if self.shared and n not in heads.fine:
            size = heads.cells[n].count
            some, which = distinct(self.which * size + state, len(self.hidden) * size)
            if len(some) <= _FEW * self.count:
                known = heads.meaning(n, some % size, np.zeros(len(some), np.int64))
                self.hidden, self.which = self.hidden[some // size] + known, which
                return
        self.own.append((n, state, cell))

    def drawn(self, n: int, u: F64) -> I64:
        """A class of column `n` for each row, by uniforms, while rows share vectors."""
        parts = [padded(self.hidden[s : s + BLOCK]) for s in range(0, max(len(self.hidden), 1), BLOCK)]
        scores = [self.model.heads.scores(n, self.model.units(n, part)) for part in parts]
        return choose_class(np.concatenate(scores, axis=1), u, self.which)

    def of_rows(self, some: slice) -> F32:
        """The vectors of a block of rows, for the caller to change."""
        which = self.which[some]
        hidden = np.zeros((BLOCK, self.hidden.shape[1]), np.float32)
        hidden[: len(which)] = self.hidden[which]
        for n, state, cell in self.own:
            hidden[: len(which)] += self.model.heads.meaning(n, state[some], cell[some])
        return hidden


def rebuild_autoregressive(plain: Mapping[str, Any], arrays: Mapping[str, NDArray]) -> Autoregressive:
    """The inverse of `Autoregressive.state`. Raises ValueError for arrays that are no such network."""
    marginals = rebuild_marginals(plain, arrays)
    first, second, shift = (np.array(arrays[f"net.{name}"]) for name in ("first", "second", "shift"))
    if first.ndim != 2 or shift.ndim != 2:
        raise ValueError("its network is damaged")
    for a, shape in (
        (first, (len(marginals), first.shape[1])),
        (second, (len(marginals), first.shape[1], shift.shape[1])),
        (shift, (len(marginals), shift.shape[1])),
    ):
        check_array(a, shape)
    heads = rebuild_heads(marginals, arrays, first.shape[1], shift.shape[1])
    return Autoregressive(heads, first, second, shift, rebuild_learnt(plain, arrays))
