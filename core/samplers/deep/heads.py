"""What a network that tells columns one after another has for each column: numbers that say what a value means, and scores of its classes and cells."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from ...stream import F64
from ..statistical.marginal import Marginal
from .cells import DEPTH, Cells
from .draw import choose_class

F32 = NDArray[np.float32]
I64 = NDArray[np.int64]

UNSEEN = np.float32(-1e9)
"""The score of a class that no row had."""

WAVES = 9
"""Sines and cosines of a cell's rank, each twice as fast as the one before."""

SHAPES = {
    "known": "CH",
    "place": "FEH",
    "wave": "FPH",
    "out": "CW",
    "score": "C",
    "own": "CW",
    "out_fine": "FEW",
    "score_fine": "CE",
}
"""The axes of each part: C classes of all columns, F columns that have cells, at most E in a class, H numbers for what a value means, W units that scores hang on."""


@dataclass(frozen=True, eq=False)
class Heads:
    cells: tuple[Cells, ...]
    known: F32
    place: F32
    wave: F32
    out: F32
    score: F32
    own: F32
    """What a column's class adds to the units that its cells hang on."""
    out_fine: F32
    score_fine: F32

    @cached_property
    def fine(self) -> dict[int, int]:
        """The columns that have cells, and their number among those."""
        return fine_columns(self.cells)

    @property
    def depth(self) -> int:
        """Cells of a class of numbers at most."""
        return max((c.depth for c in self.cells if c.marginal.categories is None), default=1)

    @cached_property
    def offsets(self) -> I64:
        """Where each column's classes begin among all, and where the last one's end; shape (columns + 1,)."""
        return np.concatenate(([0], np.cumsum([c.count for c in self.cells])))

    @cached_property
    def order(self) -> tuple[int, ...]:
        """The columns in the order in which they are drawn."""
        return drawing_order(self.cells)

    def value(self, n: int, state: I64, cell: I64) -> I64:
        """The place of values of column `n` among all that it has."""
        return self.cells[n].begin[state] + cell

    def meanings(self, n: int) -> F32:
        """What each value that column `n` has means, shape (values, H)."""
        return self._inner[self.fine[n]] if n in self.fine else self.known[self.offsets[n] : self.offsets[n + 1]]

    def meaning(self, n: int, state: I64, cell: I64) -> F32:
        """What column `n`'s values mean, shape (rows, H)."""
        return self.meanings(n)[self.value(n, state, cell)]

    @cached_property
    def _inner(self) -> list[F32]:
        """What each cell of the columns that have them means."""
        made = []
        for n, f in self.fine.items():
            c = self.cells[n]
            state = np.repeat(np.arange(c.count), c.depths)
            cell = np.arange(len(state)) - c.begin[state]
            made.append(self.known[self.offsets[n] + state] + self.place[f, cell] + waves(c) @ self.wave[f])
        return made

    def scores(self, n: int, units: F32) -> F32:
        """Of each class of column `n`, by units that are not rectified yet, shape (rows, W): shape (classes, rows)."""
        part = slice(self.offsets[n], self.offsets[n + 1])
        return self.out[part] @ np.maximum(units, 0).T + self.score[part, None]

    def cell_scores(self, n: int, units: F32, state: I64) -> F32:
        """Of each cell of the class that each row has, shape (cells, rows)."""
        at = self.offsets[n] + state
        narrow = np.zeros_like(units)
        narrow[: len(at)] = np.maximum(units[: len(at)] + self.own[at], 0)
        return (self.out_fine[self.fine[n]] @ narrow.T)[:, : len(at)] + self.score_fine[at].T

    def drawn(self, n: int, units: F32, u: F64, v: F64 | None) -> tuple[I64, I64]:
        """A class of column `n` and a cell in it for each row, by uniforms. There may be more units than rows: those beyond are not looked at."""
        state = choose_class(self.scores(n, units)[:, : len(u)], u)
        if n not in self.fine or v is None:
            return state, np.zeros(len(u), np.int64)
        return state, choose_class(self.cell_scores(n, units, state), v)

    def state(self) -> dict[str, NDArray]:
        return {f"head.{name}": getattr(self, name) for name in SHAPES} | {"head.depth": np.array([self.depth])}


def rebuild_heads(marginals: Sequence[Marginal], arrays: Mapping[str, NDArray], hidden: int, units: int) -> Heads:
    """The inverse of `Heads.state`. Raises ValueError for what are no such numbers."""
    held = {name: np.array(arrays[f"head.{name}"]) for name in SHAPES}
    depth = np.array(arrays["head.depth"])
    if depth.shape != (1,) or depth.dtype != np.int64 or not 1 <= depth[0] <= DEPTH:
        raise ValueError("its network is damaged")
    made = Heads(tuple(Cells.of(m, int(depth[0])) for m in marginals), **held)
    sizes = {
        "C": int(made.offsets[-1]),
        "F": len(made.fine),
        "H": hidden,
        "W": units,
        "E": max(c.depth for c in made.cells),
        "P": 2 * WAVES,
    }
    for name, a in held.items():
        check_array(a, tuple(sizes[k] for k in SHAPES[name]))
    return made


def check_array(a: NDArray, shape: tuple[int, ...]) -> None:
    """Raises ValueError for what are no numbers of single precision, or of another shape."""
    if a.dtype != np.float32 or a.ndim != len(shape) or not np.isfinite(a).all():
        raise ValueError("its network is damaged")
    if a.shape != shape:
        raise ValueError("its network does not fit its columns: it is damaged")


def drawing_order(cells: Sequence[Cells]) -> tuple[int, ...]:
    """Columns that tell rows least apart first, by entropy: rows that have told the same are worked out together."""

    def entropy(c: Cells) -> float:
        share = c.classes.share[c.classes.share > 0]
        return float(-(share * np.log(share)).sum())

    return tuple(sorted(range(len(cells)), key=lambda n: (cells[n].depth > 1, entropy(cells[n]))))


def fine_columns(cells: Sequence[Cells]) -> dict[int, int]:
    return {n: f for f, n in enumerate(n for n, c in enumerate(cells) if c.depth > 1)}


def waves(cells: Cells) -> F32:
    """Sines and cosines of the rank of each cell's middle, shape (cells, 2 · `WAVES`); nothing for what is missing."""
    ends = np.concatenate(([0.0], cells.marginal.edges[cells.fine.last[1:] + 1]))
    angle = (ends[:-1] + ends[1:])[:, None] / 2 * np.pi * 2.0 ** np.arange(WAVES)
    return np.concatenate([np.zeros((1, 2 * WAVES)), np.concatenate([np.sin(angle), np.cos(angle)], axis=1)]).astype(
        np.float32
    )
