"""Series and events step after step by a causal transformer, and within a step column after column: of any length, regular or not, numbers, classes and gaps.

Vaswani et al. 2017, arXiv:1706.03762; a step's columns as Padhi et al. 2021, "Tabular Transformers for Modeling Multivariate Time Series", ICASSP, arXiv:2011.01843, take a row of a series, here
drawn one by one given the others (Tiwald et al. 2025, arXiv:2501.12012), with the time since the step before and whether the series ends among them. `learn_sequence.py` learns it, with
torch; drawing needs none.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ...stream import F64, Stream
from ...tables import ROW, Table, rows
from ..statistical.empirical import marginal_state, rebuild_marginals
from ..statistical.regenerate import Rule, rebuild_rules, rule_state
from .attention import Attention, block_shapes
from .heads import Heads, check_array, rebuild_heads
from .learnt import Learnt, rebuild_learnt
from .series import GAP, as_times

F32 = NDArray[np.float32]
I64 = NDArray[np.int64]

LAYERS, PARTS = 2, 4
REACH = 64
"""Steps that a step looks back at most."""
STEPS = 100_000
"""Steps of one series at most; one that goes on is refused."""
_CHUNK = 256


@dataclass(frozen=True, eq=False)
class Sequence:
    """An entity for each row given: its key, and lists of times and values."""

    entity: Rule
    time: tuple[str, str]
    order: tuple[str, ...]
    heads: Heads
    """Of a step's columns, the gap among them."""
    start: F64
    """Evenly spaced quantiles of the first time."""
    begin: F32
    """What stands before the first step, shape (H,)."""
    blocks: Mapping[str, F32]
    second: F32
    """From what is known of a step to the units of each column, shape (columns, H, W)."""
    shift: F32
    last: F32
    """The score of ending after a step, shape (H + 1,), a constant last."""
    longest: int
    """Steps of the longest series that was learnt from; a series is ended at twice as many."""
    learnt: Learnt

    @property
    def columns(self) -> tuple[str, ...]:
        return (self.entity.column, *(c for c in self.order if c != self.entity.column))

    def sample(self, given: Table, stream: Stream) -> Table:
        address = rows(given)
        parts = [self._part(address[s : s + _CHUNK], stream) for s in range(0, max(len(address), 1), _CHUNK)]
        return pl.concat(parts, rechunk=False)

    def _part(self, address: NDArray, stream: Stream) -> Table:
        count, heads = len(address), self.heads
        whole = np.zeros(_CHUNK, address.dtype)
        whole[:count] = address
        names = {n: stream.child("value", c.marginal.name) for n, c in enumerate(heads.cells)}
        going, attention = np.arange(_CHUNK) < count, Attention(self.blocks, LAYERS, PARTS, REACH)
        x = np.repeat(self.begin[None, :], _CHUNK, axis=0)
        found: list[dict[int, pl.Series]] = []
        whose, times = [], []
        gap = next(n for n, c in enumerate(heads.cells) if c.marginal.name == GAP)
        clock = np.interp(stream.child("start").uniform(whole), np.linspace(0.0, 1.0, len(self.start)), self.start)
        for t in range(min(2 * self.longest, STEPS)):
            context = np.ascontiguousarray(attention.step(np.ascontiguousarray(x.T)).T)
            known, some = context, whole[going]
            meaning = np.zeros_like(context)
            step: dict[int, pl.Series] = {}
            for n in heads.order:
                units = np.maximum(known, 0) @ self.second[n] + self.shift[n]
                at = names[n].child(t)
                v = at.child("cell").uniform(whole) if n in heads.fine else None
                state, cell = heads.drawn(n, units, at.uniform(whole), v)
                told = heads.meaning(n, state, cell)
                known, meaning = known + told, meaning + told
                step[n] = heads.cells[n].values(state[going], cell[going], at.child("within").uniform(some))
            if t:
                clock[going] += step[gap].cast(pl.Float64).fill_null(0.0).to_numpy()
            found.append(step)
            whose.append(np.flatnonzero(going))
            times.append(clock[going])
            ends = known @ self.last[:-1] + self.last[-1]
            going = going & (stream.child("end", t).uniform(whole) >= 1 / (1 + np.exp(-np.clip(ends, -60, 60))))
            if not going.any():
                break
            x = meaning
        owner = np.concatenate(whose)
        order = np.argsort(owner, kind="stable")
        made = {heads.cells[n].marginal.name: pl.concat([s[n] for s in found]).gather(order) for n in names if n != gap}
        made[self.time[0]] = as_times(self.time, np.concatenate(times)[order])
        table = pl.DataFrame({ROW: owner[order], **made}).group_by(ROW, maintain_order=True).agg(pl.all())
        keys = self.entity.values(address, stream.child("rule"))
        return pl.DataFrame([keys, *(table[c] for c in self.columns[1:])])

    def state(self) -> tuple[dict[str, Any], dict[str, NDArray]]:
        plain, arrays = marginal_state(tuple(c.marginal for c in self.heads.cells))
        more, held = self.learnt.state()
        plain |= more | {
            "entity": rule_state(self.entity),
            "time": list(self.time),
            "order": list(self.order),
            "longest": self.longest,
        }
        trunk = {f"net.{k}": getattr(self, k) for k in ("begin", "second", "shift", "last")} | {"start": self.start}
        return plain, arrays | held | self.heads.state() | trunk | {f"block.{k}": v for k, v in self.blocks.items()}


def rebuild_sequence(plain: Mapping[str, Any], arrays: Mapping[str, NDArray]) -> Sequence:
    """The inverse of `Sequence.state`. Raises ValueError for what draws no series."""
    marginals = rebuild_marginals(plain, arrays)
    begin, second, shift, last = (np.array(arrays[f"net.{k}"]) for k in ("begin", "second", "shift", "last"))
    start = np.array(arrays["start"])
    if begin.ndim != 1 or not len(begin) or len(begin) % PARTS or shift.ndim != 2:
        raise ValueError("its network is damaged")
    if start.ndim != 1 or start.dtype != np.float64 or not len(start) or not np.isfinite(start).all():
        raise ValueError("its first times are damaged")
    width, units = len(begin), shift.shape[1]
    for a, shape in (
        (begin, (width,)),
        (second, (len(marginals), width, units)),
        (shift, (len(marginals), units)),
        (last, (width + 1,)),
    ):
        check_array(a, shape)
    entity, time = rebuild_rules([plain["entity"]])[0], (str(plain["time"][0]), str(plain["time"][1]))
    order, longest = tuple(map(str, plain["order"])), plain["longest"]
    names = {entity.column, time[0], *(m.name for m in marginals)} - {GAP}
    if set(order) != names or len(order) != len(names) or GAP not in {m.name for m in marginals}:
        raise ValueError("its columns are not those of its network")
    if not isinstance(longest, int) or not 1 <= longest <= STEPS:
        raise ValueError("its series have no length")
    as_times(time, np.zeros(1))
    heads = rebuild_heads(marginals, arrays, width, units)
    blocks = rebuild_blocks(arrays, LAYERS, width)
    return Sequence(
        entity, time, order, heads, start, begin, blocks, second, shift, last, longest, rebuild_learnt(plain, arrays)
    )


def rebuild_blocks(arrays: Mapping[str, NDArray], layers: int, width: int) -> dict[str, F32]:
    """Raises ValueError for blocks that do not fit."""
    blocks = {}
    for name, shape in block_shapes(layers, width).items():
        blocks[name] = np.array(arrays[f"block.{name}"])
        check_array(blocks[name], shape)
    return blocks
