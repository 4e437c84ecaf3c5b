"""What patients carry through their lives: attributes of changing type, entries that are active, growing columns."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

NIL, NUMBER, TRUTH, TEXT, CODE, ENTRY, SERIES = range(7)
"""What an attribute holds: nothing, a number, true or false, a text, a code, an entry of the record, a series of numbers (the last four by index)."""

NONE = -1


def every(truth: NDArray[np.bool_]) -> bool:
    """Whether all are true. Most turns of the machine are of one patient or two: `truth.all()` takes ten times as long for so few."""
    return 0 not in truth.tobytes()


def some(truth: NDArray[np.bool_]) -> bool:
    return 1 in truth.tobytes()


class Names:
    """Values in the order of their first appearance; each has an index."""

    def __init__(self) -> None:
        self.index: dict[Any, int] = {}
        self.values: list[Any] = []

    def __call__(self, value: Any) -> int:
        at = self.index.get(value)
        if at is None:
            at = self.index[value] = len(self.values)
            self.values.append(value)
        return at


class Attribute:
    """One attribute of all patients: `kind` says of what type each one's value is."""

    def __init__(self, n: int) -> None:
        self.kind = np.zeros(n, np.int8)
        self.value = np.zeros(n)

    def set(self, p: NDArray, kind: int | NDArray, value: Any) -> None:
        self.kind[p] = kind
        self.value[p] = value

    def numbers(self, p: NDArray) -> NDArray[np.float64]:
        """Numbers (truth as 1 and 0), NaN where there is none."""
        kind = self.kind[p]
        return np.where((kind == NUMBER) | (kind == TRUTH), self.value[p], np.nan)

    def fill(self, values: Sequence[Any] | NDArray, texts: Names) -> None:
        """Take a whole column: numbers, truths or texts, None where unset."""
        column = np.asarray(values)
        if column.dtype == bool:
            self.kind[:], self.value[:] = TRUTH, column
        elif column.dtype.kind in "iuf":
            known = ~np.isnan(column.astype(np.float64))
            self.value[:] = np.where(known, column, 0.0)
            self.kind[:] = np.where(known, NUMBER, NIL)
        else:
            for at, value in enumerate(column.tolist()):
                if isinstance(value, bool):
                    self.kind[at], self.value[at] = TRUTH, value
                elif isinstance(value, (int, float)):
                    self.kind[at], self.value[at] = NUMBER, value
                elif value is not None:
                    self.kind[at], self.value[at] = TEXT, texts(str(value))


class Columns:
    """Columns that grow at the end; `add` gives the positions of what it adds."""

    def __init__(self, **types: Any) -> None:
        self.height = 0
        self.data = {name: np.empty(1024, t) for name, t in types.items()}

    def __getitem__(self, name: str) -> NDArray:
        return self.data[name]

    def add(self, n: int, **values: Any) -> NDArray[np.int64]:
        first, last = self.height, self.height + n
        for name, column in self.data.items():
            if last > len(column):
                grown = np.empty(max(last, 2 * len(column)), column.dtype)
                grown[:first] = column[:first]
                self.data[name] = column = grown
            column[first:last] = values[name]
        self.height = last
        return np.arange(first, last)

    def whole(self) -> dict[str, NDArray]:
        """The columns, cut to what they hold."""
        return {name: column[: self.height] for name, column in self.data.items()}
