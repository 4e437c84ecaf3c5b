"""What a network that tells columns one after another has for each column: numbers that say what a value means, and scores of its classes and cells."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from ...stream import F64
from .cells import Cells
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

    @cached_property
    def offsets(self) -> I64:
        """Where each column's classes begin among all, and where the last one's end; shape (columns + 1,)."""
        return np.concatenate(([0], np.cumsum([c.count for c in self.cells])))

    def meaning(self, n: int, state: I64, cell: I64) -> F32:
        """What column `n`'s values mean, shape (rows, H)."""
        if n not in self.fine:
            return self.known[self.offsets[n] + state]
        return self._inner[self.fine[n]][self.cells[n].begin[state] + cell]

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
        return {f"head.{name}": getattr(self, name) for name in SHAPES}


def rebuild_heads(cells: Sequence[Cells], arrays: Mapping[str, NDArray], hidden: int, units: int) -> Heads:
    """The inverse of `Heads.state`. Raises ValueError for what are no such numbers."""
    held = {name: np.array(arrays[f"head.{name}"]) for name in SHAPES}
    made = Heads(tuple(cells), **held)
    sizes = {
        "C": int(made.offsets[-1]),
        "F": len(made.fine),
        "H": hidden,
        "W": units,
        "E": max(c.depth for c in cells),
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
    """Columns of few classes first: rows that have told the same are worked out together."""
    return tuple(sorted(range(len(cells)), key=lambda n: (cells[n].depth > 1, cells[n].count)))


def fine_columns(cells: Sequence[Cells]) -> dict[int, int]:
    return {n: f for f, n in enumerate(n for n, c in enumerate(cells) if c.depth > 1)}


def waves(cells: Cells) -> F32:
    """Sines and cosines of the rank of each cell's middle, shape (cells, 2 · `WAVES`); nothing for what is missing."""
    ends = np.concatenate(([0.0], cells.marginal.edges[cells.fine.last[1:] + 1]))
    angle = (ends[:-1] + ends[1:])[:, None] / 2 * np.pi * 2.0 ** np.arange(WAVES)
    return np.concatenate([np.zeros((1, 2 * WAVES)), np.concatenate([np.sin(angle), np.cos(angle)], axis=1)]).astype(
        np.float32
    )
