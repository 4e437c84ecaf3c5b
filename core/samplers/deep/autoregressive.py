"""Column after column from one network: a discretised autoregressive model that knows every order of the columns.

Tiwald, Krchova, Sidorenko, Vieyra, Scriminaci and Platzer 2025, "TabularARGN: A Flexible and Efficient Auto-Regressive Framework for Generating
High-Fidelity Synthetic Data", arXiv:2501.12012; orders as in Hoogeboom et al. 2022, "Autoregressive Diffusion Models", ICLR, arXiv:2110.02037.
A column's values are put into classes; the network gives the classes' chances, given those of any other columns, and a class's values follow
the column's own distribution. `learn_autoregressive.py` learns it, with torch; drawing needs none.
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
from ...tables import Table, rows
from ..statistical.empirical import marginal_state, rebuild_marginals
from ..statistical.forest import Classes, code_of
from ..statistical.marginal import Marginal

F32 = NDArray[np.float32]

CLASSES = 128
"""Into how many classes of like size a column with more values is cut."""
UNSEEN = np.float32(-1e9)
"""The score of a class that no row had."""
_CHUNK = 2_048


@dataclass(frozen=True, eq=False)
class Weights:
    """The network's numbers, for D columns of C classes in all, H hidden units and W units for each column.

    A row's first layer is the sum of `known[class]` over the columns that are known: a column that is not adds nothing.
    """

    known: F32
    """(C, H)"""
    first: F32
    """(H,)"""
    second: F32
    """(D, H, W)"""
    shift: F32
    """(D, W)"""
    out: F32
    """(C, W)"""
    score: F32
    """(C,)"""


@dataclass(frozen=True, eq=False)
class Autoregressive:
    """p(columns) as a product of conditionals, in an order that begins with what is given. Given columns pass through; what was never seen
    counts as missing."""

    marginals: tuple[Marginal, ...]
    weights: Weights

    @property
    def columns(self) -> tuple[str, ...]:
        return tuple(m.name for m in self.marginals)

    def sample(self, given: Table, stream: Stream) -> Table:
        address = rows(given)
        told = {m.name: given[m.name] for m in self.marginals if m.name in given.columns}
        parts = []
        for start in range(0, max(len(address), 1), _CHUNK):
            some = {name: values.slice(start, _CHUNK) for name, values in told.items()}
            parts.append(self._part(some, address[start : start + _CHUNK], stream))
        return pl.concat(parts, rechunk=False)

    def _part(self, told: Mapping[str, pl.Series], address: NDArray, stream: Stream) -> Table:
        w, count = self.weights, len(address)
        # always as many rows: a product's last bits must not hang on how many are asked for
        hidden = np.repeat(w.first[None, :], _CHUNK, axis=0)
        made: dict[str, pl.Series] = dict(told)
        for n, marginal in enumerate(self.marginals):
            if marginal.name in told:
                state = self.classes[n].of_codes(code_of(marginal, told[marginal.name]))
                hidden[:count] += w.known[self.offsets[n] + state]
        for n, marginal in enumerate(self.marginals):
            if marginal.name in told:
                continue
            state, share = self._drawn(n, hidden, stream.child(marginal.name).uniform(address))
            made[marginal.name] = self.classes[n].values(marginal, state, share)
            hidden[:count] += w.known[self.offsets[n] + state]
        return pl.DataFrame([made[name] for name in self.columns])

    def _drawn(self, n: int, hidden: F32, u: F64) -> tuple[NDArray[np.int64], F64]:
        """A class for each row, and what is left of its uniform."""
        chance = np.cumsum(self.chances(n, hidden)[: len(u)], axis=1, dtype=np.float64)
        at = u * chance[:, -1]
        state = np.minimum((chance <= at[:, None]).sum(axis=1), chance.shape[1] - 1)
        row = np.arange(len(u))
        low = np.where(state > 0, chance[row, state - 1], 0.0)
        width = chance[row, state] - low
        share = np.divide(at - low, width, out=np.full(len(u), 0.5), where=width > 0)
        return state, np.clip(share, 0.0, 1.0)

    def chances(self, n: int, hidden: F32) -> F32:
        """Of each class of column `n`, not scaled to sum to 1; shape (rows, classes)."""
        w, part = self.weights, slice(self.offsets[n], self.offsets[n + 1])
        narrow = np.maximum(np.maximum(hidden, 0) @ w.second[n] + w.shift[n], 0)
        scores = narrow @ w.out[part].T + w.score[part]
        return np.exp(scores - scores.max(axis=1, keepdims=True))

    @cached_property
    def classes(self) -> tuple[Classes, ...]:
        return tuple(Classes.of(m, CLASSES) for m in self.marginals)

    @cached_property
    def offsets(self) -> NDArray[np.int64]:
        """Where each column's classes begin among all, and where the last one's end; shape (D + 1,)."""
        return np.concatenate(([0], np.cumsum([len(c.last) for c in self.classes])))

    def state(self) -> tuple[dict[str, Any], dict[str, NDArray]]:
        plain, arrays = marginal_state(self.marginals)
        return plain, arrays | {f"net.{name}": getattr(self.weights, name) for name in _SHAPES}


_SHAPES = {"known": 2, "first": 1, "second": 3, "shift": 2, "out": 2, "score": 1}


def rebuild_autoregressive(plain: Mapping[str, Any], arrays: Mapping[str, NDArray]) -> Autoregressive:
    """The inverse of `Autoregressive.state`. Raises ValueError for arrays that are no such network."""
    marginals = rebuild_marginals(plain, arrays)
    w = Weights(**{name: np.array(arrays[f"net.{name}"]) for name in _SHAPES})
    made = Autoregressive(marginals, w)
    sizes = {"D": len(marginals), "C": int(made.offsets[-1])}
    if any(getattr(w, n).ndim != d or getattr(w, n).dtype != np.float32 for n, d in _SHAPES.items()):
        raise ValueError("its network is damaged")
    hidden, narrow = len(w.first), w.shift.shape[1]
    wanted = {
        "known": (sizes["C"], hidden),
        "second": (sizes["D"], hidden, narrow),
        "shift": (sizes["D"], narrow),
        "out": (sizes["C"], narrow),
        "score": (sizes["C"],),
    }
    if any(getattr(w, n).shape != shape or not np.isfinite(getattr(w, n)).all() for n, shape in wanted.items()):
        raise ValueError("its network does not fit its columns")
    return made
