"""A table as tensors, for the networks that see columns as classes and places. Needs torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...stream import Stream
from ...tables import Table
from ..statistical.empirical import fit_marginals
from .engine import host, level, log_chances
from .modes import Layout, ScaleName, fit_layout, ranked_layout

ROWS = 500_000
"""Rows that are learnt from at most; the marginals see every row."""


@dataclass(frozen=True)
class Encoded:
    layout: Layout
    classes: Any
    """The number of each value's class among the classes of all columns, shape (rows, columns)."""
    places: Any
    """Shape (rows, scaled columns)."""
    there: Any
    """Where there is a place to learn: 1, and 0 where the value is missing. As `places`."""
    segment: Any
    """Which segment each class belongs to, as a 0/1 matrix of shape (classes, columns)."""

    @property
    def rows(self) -> int:
        return len(self.classes)

    def counts(self) -> NDArray[np.int64]:
        """How many rows have each class, shape (classes,)."""
        return np.bincount(host(self.classes).ravel(), minlength=int(self.layout.offsets[-1]))

    def vectors(self, torch: Any, classes: Any, places: Any) -> Any:
        """Rows as the network sees them, shape (rows, width): 1 in each class that holds, then places."""
        hot = torch.zeros(len(classes), int(self.layout.offsets[-1]))
        return torch.cat([hot.scatter(1, classes, 1.0), places], dim=1)

    def log_chances(self, torch: Any, scores: Any) -> Any:
        """The log of each class's chance within its segment."""
        return log_chances(torch, scores, self.layout.sizes, self.segment)

    def surprise(self, torch: Any, scores: Any, classes: Any) -> Any:
        """For each row minus the sum of the logs of its classes' chances: as `log_chances` has them, in fewer steps."""
        # no one row that is far off may turn a whole step
        shifted = torch.clamp(level(torch, scores, self.layout.sizes, self.segment), min=-60.0)
        total = torch.log(torch.exp(shifted) @ self.segment)
        return total.sum(dim=1) - shifted.gather(1, classes).sum(dim=1)


def encode_table(torch: Any, table: Table, stream: Stream, scale: ScaleName = "modes") -> Encoded:
    """A table with its numbers on a scale of their own. Raises UserError for an empty table or a column of a type that cannot be learnt."""
    marginals = fit_marginals(table)
    layout = ranked_layout(marginals) if scale == "ranks" else fit_layout(table, marginals, stream.child("modes"))
    return encode_rows(torch, table, layout, stream)


def encode_rows(torch: Any, table: Table, layout: Layout, stream: Stream, most: int | None = ROWS) -> Encoded:
    """A table, or so many of its rows, in a layout that is known."""
    if most is not None and table.height > most:
        table = table[np.sort(np.argpartition(stream.child("rows").bits(np.arange(table.height)), most)[:most])]
    address = np.arange(table.height)
    told = [
        layout.encode(n, table[m.name], stream.child("mode", m.name).uniform(address))
        for n, m in enumerate(layout.marginals)
    ]
    classes = np.stack([state for state, _ in told], axis=1)
    places = np.stack([told[n][1] for n in layout.scaled], axis=1) if layout.scaled else np.zeros((len(address), 0))
    there = np.zeros(places.shape)
    for k, n in enumerate(layout.scaled):
        there[:, k] = layout.placed(n, classes[:, n])
    segment = np.repeat(np.eye(len(layout.sizes), dtype=np.float32), layout.sizes, axis=0)
    return Encoded(
        layout,
        torch.tensor(classes + layout.offsets[:-1]),
        torch.tensor(places.astype(np.float32)),
        torch.tensor(there.astype(np.float32)),
        torch.tensor(segment),
    )
