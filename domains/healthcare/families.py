"""Who lives with whom: mothers of children, spouses, and the head whose address and family name a household shares.

A person looks for relatives among those before them in their neighbourhood, a group of consecutive units, so a link never depends on who
is added later, nor on blocks."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ...core.domain import Block
from ...core.tables import Table
from .curves import DAY, YEAR

NEIGHBOURHOOD = 40
"""Units among whom relatives are found. It divides the default block, so that families are written together."""
NOBODY = -1


@dataclass(frozen=True)
class People:
    """What families are found by, one row a unit, from the start of a neighbourhood on. Times in microseconds."""

    units: NDArray[np.uint64]
    male: NDArray[np.bool_]
    birth: NDArray[np.int64]
    death: NDArray[np.int64]
    age: NDArray[np.float64]
    """At the end of the record, in years."""
    married: NDArray[np.bool_]


@dataclass(frozen=True)
class Families:
    """Unit ids, one row a unit; `NOBODY` where there is none."""

    mother: NDArray[np.int64]
    spouse: NDArray[np.int64]
    head: NDArray[np.int64]
    """The first of the household; of a person alone, that person."""
    root: NDArray[np.int64]
    """The woman from whom a child's background comes; otherwise the person."""


def families(people: People, mothers: tuple[float, float], apart: float) -> Families:
    """The families of whole neighbourhoods. `mothers`: least and greatest age at a birth, `apart`: between two births of one mother, in years."""
    size = -(-len(people.units) // NEIGHBOURHOOD) * NEIGHBOURHOOD
    first = int(people.units[0])

    def grid(values: NDArray, fill: float) -> NDArray:
        padded = np.full(size, fill, values.dtype)
        padded[: len(values)] = values
        return padded.reshape(-1, NEIGHBOURHOOD)

    male, birth, death = grid(people.male, False), grid(people.birth, 0), grid(people.death, 0)
    child, married = grid(people.age < 18, False), grid(people.married, False)
    mother, spouse = (np.full(male.shape, NOBODY) for _ in range(2))
    head, root = (np.tile(np.arange(NEIGHBOURHOOD), (len(male), 1)) for _ in range(2))
    lane = np.arange(len(male))
    for j in range(1, NEIGHBOURHOOD):
        gap = (birth[:, j, None] - birth[:, :j]) / YEAR
        able = ~male[:, :j] & (gap >= mothers[0]) & (gap < mothers[1] + 1) & (death[:, :j] > birth[:, j, None])
        for c in range(1, j):
            close = (mother[:, c] != NOBODY) & (np.abs(birth[:, j] - birth[:, c]) < apart * YEAR)
            able[lane[close], mother[close, c]] = False
        last = j - 1 - np.argmax(able[:, ::-1], axis=1)
        born = child[:, j] & able.any(axis=1)
        free = married[:, :j] & (spouse[:, :j] == NOBODY) & (male[:, :j] != male[:, j, None]) & ~child[:, :j]
        closest = np.argmin(np.where(free, np.abs(gap), np.inf), axis=1)
        weds = married[:, j] & ~child[:, j] & free.any(axis=1)
        mother[born, j], root[born, j] = last[born], root[lane[born], last[born]]
        spouse[weds, j], spouse[lane[weds], closest[weds]] = closest[weds], j
        kin = np.where(born, last, closest)
        joined = born | weds
        head[joined, j] = head[lane[joined], kin[joined]]
    start = first + np.arange(size).reshape(male.shape) // NEIGHBOURHOOD * NEIGHBOURHOOD

    def ids(lanes: NDArray) -> NDArray[np.int64]:
        return np.where(lanes == NOBODY, NOBODY, start + lanes).ravel()[: len(people.units)]

    # a marriage is on the record of the one who came later: whoever was there before stays as they were
    earlier = np.where(spouse < np.arange(NEIGHBOURHOOD), spouse, NOBODY)
    return Families(ids(mother), ids(earlier), ids(head), ids(root))


def pregnancies(block: Block, patient: Table) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Position of the mother, begin (the last period) and birth, in microseconds, of each child whose mother is among the block's patients."""
    first = int(patient["patient_id"][0])
    mother = patient["mother_id"].fill_null(-1).to_numpy() - first
    child = np.flatnonzero((mother >= 0) & (mother < patient.height))
    born = patient["birth"].to_numpy()[child]
    weeks = block.priors("family.gestation")
    return mother[child], born - int(weeks * 7 * DAY), born
