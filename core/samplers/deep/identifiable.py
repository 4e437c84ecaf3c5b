"""How many real rows could be identified by made ones, and a loss that keeps them few: the constraint of ADS-GAN. Needs torch.

Yoon, Drumright and van der Schaar 2020, IEEE J. Biomedical and Health Informatics 24(8), section III: row i is identifiable if the made row nearest to it is nearer than the real
row nearest to it, in a distance that weighs each column by the inverse of its entropy.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from .encoded import Encoded
from .engine import host

POOL = 4_000
"""Real rows among which neighbours are sought."""
BESIDE = 1_000
"""Real rows that a batch of made rows is held against."""


EXACT = "donot_use_mm_for_euclid_dist"
"""By products of matrices, a row would be a little apart from its own copy."""


@dataclass(frozen=True)
class Constraint:
    strength: float
    pool: Any
    """Rows, by number."""
    weight: Any
    """Of each place of a vector."""
    reach: Any
    """The distance of each row of the pool to its nearest neighbour there."""

    @staticmethod
    def of(torch: Any, generator: Any, data: Encoded, strength: float) -> Constraint:
        pool = torch.randperm(data.rows, generator=generator)[:POOL]
        layout = data.layout
        entropy = np.ones(len(layout.sizes))
        for n, size in enumerate(layout.sizes):
            share = np.bincount(host(data.classes[:, n]) - layout.offsets[n], minlength=size) / data.rows
            entropy[n] = max(-(share[share > 0] * np.log(share[share > 0])).sum(), 0.1)
        weight = np.concatenate([np.repeat(1 / entropy, layout.sizes) * 0.5**0.5, 1 / entropy[layout.scaled]])
        found = Constraint(strength, pool, torch.tensor(weight.astype(np.float32)), torch.zeros(0))
        rows = found.rows(torch, data, pool)
        reach = []
        for start in range(0, len(rows), 500):
            apart = torch.cdist(rows[start : start + 500], rows, compute_mode=EXACT)
            # a row is no neighbour of itself
            apart[torch.arange(len(apart)), torch.arange(start, start + len(apart))] = float("inf")
            reach.append(apart.min(dim=1).values)
        reach = torch.cat(reach)
        return Constraint(strength, pool, found.weight, torch.where(torch.isinf(reach), 0.0, reach))

    def rows(self, torch: Any, data: Encoded, at: Any) -> Any:
        return data.vectors(torch, data.classes[at], data.places[at]) * self.weight

    def loss(self, torch: Any, generator: Any, data: Encoded, made: Any) -> Any:
        """How far made rows reach into real rows' neighbourhoods, on average over real rows. It is a distance, as what the critic tells is: in parts of the neighbourhood,
        rows that lie close would count for hundreds of others, and the generator would rather mismatch columns than come near them."""
        some = torch.randperm(len(self.pool), generator=generator)[:BESIDE]
        nearest = torch.cdist(self.rows(torch, data, self.pool[some]), made * self.weight).min(dim=1).values
        reach = self.reach[some]
        return self.strength * torch.relu(reach - nearest).mean()
