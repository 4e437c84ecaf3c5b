"""A column's values in classes, and a class's values in cells: what a network tells apart, in two steps where there is much to tell."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ...stream import F64
from ..statistical.forest import Classes, code_of
from ..statistical.marginal import Marginal

I64 = NDArray[np.int64]

LISTED = 128
"""A column of at most so many values has a class for each and no cells."""
CLASSES = 64
DEPTH = 16
"""Into so many classes of like size a column of more values is cut, and each into at most so many cells: about as many as a marginal has knots."""
CELLED_ROWS = 10_000
"""Of fewer rows, classes of numbers have no cells: what a network told of them would be learnt by heart."""


def depth_of(rows: float) -> int:
    """Cells of a class of numbers at most, where a network learns from so many rows."""
    return DEPTH if rows >= CELLED_ROWS else 1


@dataclass(frozen=True, eq=False)
class Cells:
    """Class 0 is what is missing. `begin[k]` is class k's first cell among all; where there is little to tell, a class is one cell."""

    marginal: Marginal
    classes: Classes
    fine: Classes
    begin: I64

    @staticmethod
    def of(marginal: Marginal, depth: int = DEPTH) -> Cells:
        """`depth`: cells of a class of numbers at most; categories that stand beside one another by chance are told apart as ever."""
        if marginal.pieces <= LISTED:
            classes = Classes.of(marginal, LISTED)
            return Cells(marginal, classes, classes, np.arange(len(classes.last)))
        classes = Classes.of(marginal, CLASSES)
        ends, begin, depth = [np.array([-1])], [0], depth if marginal.categories is None else DEPTH
        for before, last in zip(classes.last[:-1], classes.last[1:], strict=True):
            pieces = last - before
            count = min(pieces, depth)
            begin.append(begin[-1] + len(ends[-1]))
            ends.append(before + np.arange(1, count + 1) * pieces // count)
        return Cells(marginal, classes, Classes(np.concatenate(ends), np.empty(0)), np.array(begin))

    @property
    def count(self) -> int:
        """Classes, the missing one among them."""
        return len(self.classes.last)

    @cached_property
    def depths(self) -> I64:
        """Cells of each class."""
        return np.diff(self.begin, append=len(self.fine.last))

    @property
    def depth(self) -> int:
        """Cells of a class at most: 1 where classes are all there is to tell."""
        return int(self.depths.max())

    def of_values(self, values: pl.Series) -> tuple[I64, I64]:
        """The class of each value, and the cell within its class."""
        return self.of_codes(code_of(self.marginal, values))

    def of_codes(self, codes: NDArray) -> tuple[I64, I64]:
        cell = self.fine.of_codes(codes)
        state = np.searchsorted(self.begin, cell, side="right") - 1
        return state, cell - self.begin[state]

    def values(self, state: I64, cell: I64, share: F64) -> pl.Series:
        """The values that lie `share` (0 to 1) into their cells, by the column's own distribution; null in class 0."""
        at = self.begin[state] + cell
        if self.listed is not None:
            return self.listed.gather(at)
        if self._single:
            return self.marginal.values(np.maximum(self.fine.last[at], 0), share, at > 0)
        return self.fine.values(self.marginal, at, share)

    @cached_property
    def alone(self) -> NDArray[np.bool_]:
        """Which classes are one frequent value, or what is missing: no neighbour says anything of them."""
        single = np.diff(self.classes.last, prepend=-2) == 1
        return single & np.concatenate(([True], self.marginal.atoms[self.classes.last[1:]]))

    @cached_property
    def _single(self) -> bool:
        """Whether each cell is one piece of the distribution."""
        return bool((np.diff(self.fine.last) == 1).all()) and bool(self.marginal.pieces)

    @cached_property
    def listed(self) -> pl.Series | None:
        """The value of each cell, where each has but one, so that nothing hangs on a share."""
        if not self._single or not (self.marginal.categories is not None or self.marginal.atoms.all()):
            return None
        pieces = np.arange(-1, self.marginal.pieces)
        return self.marginal.values(np.maximum(pieces, 0), np.zeros(len(pieces)), pieces >= 0)
