"""Column after column by a causal transformer, which asks for each column what those before it say.

Vaswani et al. 2017, arXiv:1706.03762; for tables as Canale, Grislain, Lothe and Leduc 2022, "Generative Modeling of Complex Data", arXiv:2202.02145, and Solatorio and Dupriez 2023, "REaLTabFormer",
arXiv:2302.02041, here over classes and cells instead of characters; orders as in Hoogeboom et al. 2022, ICLR, arXiv:2110.02037: a step is told a column's value and which column is next.
`learn_transformer.py` learns it, with torch; drawing needs none.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ...stream import F64, Stream
from ...tables import Table
from ..statistical.empirical import marginal_state, rebuild_marginals
from ..statistical.marginal import Marginal
from .attention import Attention, block_shapes
from .cells import Cells
from .draw import BLOCK, choose_class, distinct, in_parts, padded
from .heads import Heads, check_array, drawing_order, rebuild_heads
from .learnt import Learnt, rebuild_learnt

F32 = NDArray[np.float32]
I64 = NDArray[np.int64]

LAYERS, PARTS = 2, 4
"""Blocks, and parts of each that attend apart."""
_CHUNK = 1 << 16
_FEW = 0.5
"""Rows that have told the same so far are worked out once, while they are at most this share of all."""


@dataclass(frozen=True, eq=False)
class Transformer:
    """p(columns) as a product of conditionals, in an order that begins with what is given. Given columns pass through; what was never seen counts as missing."""

    heads: Heads
    following: F32
    """What it means that a column is next, shape (columns, H)."""
    begin: F32
    """What stands before the first column, shape (H,)."""
    blocks: Mapping[str, F32]
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
        free = [n for n in drawing_order(heads.cells) if n not in known]
        names = {n: stream.child(self.marginals[n].name) for n in free}
        u = {n: names[n].uniform(address) for n in free}
        v = {n: names[n].child("cell").uniform(address) for n in free if n in heads.fine}
        drawn = {n: (np.zeros(count, np.int64), np.zeros(count, np.int64)) for n in free}
        left, seen, last = [*known, *free], Beginnings(self, count), None
        while count and left and last is None and left[0] not in heads.fine:
            n = left.pop(0)
            units = seen.units(n)
            if n not in known:
                drawn[n] = seen.drawn(n, units, u[n]), drawn[n][1]
            if not seen.add(n, *(known[n] if n in known else drawn[n])):
                last = n
        # rows with like beginnings after one another
        order = np.argsort(seen.which, kind="stable")
        for start in range(0, count if left else 0, BLOCK):
            some = order[start : start + BLOCK]
            attention, x = seen.attention(seen.which[some]), padded(seen.last[seen.which[some]])
            if last is not None:
                x[: len(some)] = heads.meaning(last, *(t[some] for t in (known.get(last) or drawn[last])))
            for n in left:
                units = attention.step(_turned(x + self.following[n])).T
                if n in known:
                    state, cell = (t[some] for t in known[n])
                else:
                    state, cell = heads.drawn(n, units, u[n][some], v[n][some] if n in v else None)
                    drawn[n][0][some], drawn[n][1][some] = state, cell
                if n != left[-1]:
                    x[: len(state)] = heads.meaning(n, state, cell)
        made = []
        for n, marginal in enumerate(self.marginals):
            if n in known:
                made.append(told[marginal.name])
            else:
                made.append(heads.cells[n].values(*drawn[n], names[n].child("within").uniform(address)))
        return pl.DataFrame(made)

    def state(self) -> tuple[dict[str, Any], dict[str, NDArray]]:
        plain, arrays = marginal_state(self.marginals)
        more, held = self.learnt.state()
        trunk = {"net.following": self.following, "net.begin": self.begin}
        return plain | more, arrays | held | self.heads.state() | trunk | {
            f"block.{k}": v for k, v in self.blocks.items()
        }


class Beginnings:
    """What rows have told so far, each of the distinct beginnings worked out once, until most rows have one of their own."""

    def __init__(self, model: Transformer, count: int) -> None:
        self.model, self.count = model, count
        self.which = np.zeros(count, np.int64)
        """The beginning of each row."""
        self.last = model.begin[None, :]
        """What the last value of each means."""
        self.above: list[I64] = []
        """For each step, which of the beginnings there each of those now came from."""
        self.held: list[list[tuple[F32, F32]]] = []
        """For each step and block, what its beginnings answer and tell."""

    def units(self, n: int) -> F32:
        """What column `n` hangs on, for each beginning."""
        made, held = [], [[] for _ in range(LAYERS)]
        for start in range(0, len(self.last), BLOCK):
            some = np.arange(start, min(start + BLOCK, len(self.last)))
            attention = self.attention(some)
            made.append(_turned(attention.step(_turned(padded(self.last[some] + self.model.following[n])))))
            for k in range(LAYERS):
                held[k].append(tuple(_turned(x[k][-1].reshape(-1, BLOCK)) for x in (attention.answers, attention.told)))
        self.held.append([(_joined([a for a, _ in parts]), _joined([t for _, t in parts])) for parts in held])
        self.above.append(np.arange(len(self.last)))
        return _joined(made)

    def attention(self, some: I64) -> Attention:
        """What has been told by these beginnings, at most `BLOCK` of them."""
        made = Attention(self.model.blocks, LAYERS, PARTS)
        for above, layers in zip(self.above, self.held, strict=True):
            at = np.zeros(BLOCK, np.int64)
            at[: len(some)] = above[some]
            for k, (answers, told) in enumerate(layers):
                made.answers[k].append(_turned(answers[at]).reshape(PARTS, -1, BLOCK))
                made.told[k].append(_turned(told[at]).reshape(PARTS, -1, BLOCK))
        return made

    def drawn(self, n: int, units: F32, u: F64) -> I64:
        """A class of column `n` for each row."""
        scores = [self.model.heads.scores(n, units[s : s + BLOCK]) for s in range(0, len(units), BLOCK)]
        return choose_class(np.concatenate(scores, axis=1), u, self.which)

    def add(self, n: int, state: I64, cell: I64) -> bool:
        """Column `n`, which has no cells, is known: whether rows still share beginnings."""
        size = self.model.heads.cells[n].count
        some, which = distinct(self.which * size + state, len(self.last) * size)
        if len(some) > _FEW * self.count:
            return False
        self.last = self.model.heads.meaning(n, some % size, np.zeros(len(some), np.int64))
        self.above = [a[some // size] for a in self.above]
        self.which = which
        return True


def _turned(x: F32) -> F32:
    return np.ascontiguousarray(x.T)


def _joined(parts: list[F32]) -> F32:
    return parts[0] if len(parts) == 1 else np.concatenate(parts)


def rebuild_transformer(plain: Mapping[str, Any], arrays: Mapping[str, NDArray]) -> Transformer:
    """The inverse of `Transformer.state`. Raises ValueError for arrays that are no such network."""
    cells = [Cells.of(m) for m in rebuild_marginals(plain, arrays)]
    begin = np.array(arrays["net.begin"])
    if begin.ndim != 1 or not len(begin) or len(begin) % PARTS:
        raise ValueError("its network is damaged")
    heads = rebuild_heads(cells, arrays, len(begin), len(begin))
    following = np.array(arrays["net.following"])
    check_array(begin, begin.shape)
    check_array(following, (len(cells), len(begin)))
    return Transformer(
        heads, following, begin, rebuild_blocks(arrays, LAYERS, len(begin)), rebuild_learnt(plain, arrays)
    )


def rebuild_blocks(arrays: Mapping[str, NDArray], layers: int, width: int) -> dict[str, F32]:
    """Raises ValueError for blocks that do not fit."""
    blocks = {}
    for name, shape in block_shapes(layers, width).items():
        blocks[name] = np.array(arrays[f"block.{name}"])
        check_array(blocks[name], shape)
    return blocks
