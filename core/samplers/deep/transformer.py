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

from ...stream import Stream
from ...tables import Table
from ..statistical.empirical import marginal_state, rebuild_marginals
from ..statistical.marginal import Marginal
from .attention import Attention, block_shapes
from .cells import Cells
from .draw import BLOCK, in_parts
from .heads import Heads, check_array, drawing_order, rebuild_heads
from .learnt import Learnt, rebuild_learnt

F32 = NDArray[np.float32]

LAYERS, PARTS = 2, 4
"""Blocks, and parts of each that attend apart."""
_CHUNK = 1 << 14


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
        for start in range(0, count, BLOCK):
            some = slice(start, min(start + BLOCK, count))
            attention, last = Attention(self.blocks, LAYERS, PARTS), np.repeat(self.begin[None, :], BLOCK, axis=0)
            for n in [*known, *free]:
                units = attention.step(last + self.following[n])
                if n in known:
                    state, cell = (t[some] for t in known[n])
                else:
                    state, cell = heads.drawn(n, units, u[n][some], v[n][some] if n in v else None)
                    drawn[n][0][some], drawn[n][1][some] = state, cell
                last = np.zeros_like(last)
                last[: len(state)] = heads.meaning(n, state, cell)
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
