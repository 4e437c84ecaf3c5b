"""What a run of modules is given: the patients, and what the world around the modules knows of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Vital = Callable[[str, NDArray[np.int64], NDArray[np.int64]], NDArray[np.float64]]

ALIVE = 2**62
"""A time that never comes."""


@dataclass(frozen=True)
class Visits:
    """Wellness visits, sorted by patient and time: `patient` is the position in the block; times in microseconds."""

    patient: NDArray[np.int64]
    start: NDArray[np.int64]
    end: NDArray[np.int64]


@dataclass(frozen=True)
class Known:
    """Diagnoses that patients get without a module: each begin and end, sorted by patient and time. `patient` is the position in the block; `at` in
    microseconds; `code` the position in the codes of the Known state; `begins`: whether it begins then, or ends."""

    patient: NDArray[np.int64]
    at: NDArray[np.int64]
    code: NDArray[np.int64]
    begins: NDArray[np.bool_]


@dataclass(frozen=True)
class People:
    """The patients of a block, one row each.

    `rows`: addresses that name their random numbers. `birth`, `end`: microseconds since 1970; nothing happens from `end` on.
    `seen`: until when each is known to live: a death that a module brings about before then does not come to pass.
    `death`: natural death, `ALIVE` where there is none. `attributes`: what modules read and nobody sets, at birth: `gender` (M, F),
    `race`, `ethnicity`, `state`, `socioeconomic_category` (High, Middle, Low), … `vital(name, patients, at)`: vital signs and
    laboratory values that no module has set.
    """

    rows: NDArray[np.uint64]
    birth: NDArray[np.int64]
    end: NDArray[np.int64]
    death: NDArray[np.int64]
    visits: Visits
    attributes: Mapping[str, Sequence[Any] | NDArray]
    vital: Vital
    seen: NDArray[np.int64] | None = None
    known: Known | None = None

    def __len__(self) -> int:
        return len(self.rows)
