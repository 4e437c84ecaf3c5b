"""How many real rows could be identified by made ones, and a loss that keeps them few: the constraint of ADS-GAN. Needs torch.

Yoon, Drumright and van der Schaar 2020, IEEE J. Biomedical and Health Informatics 24(8), section III: row i is identifiable if the made row nearest to it is nearer than the real
row nearest to it, in a distance that weighs each column by the inverse of its entropy.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .encoded import Encoded
from .engine import host
from .modes import Layout, Ranks

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
        shares = [
            np.bincount(host(data.classes[:, n]) - layout.offsets[n], minlength=size) / data.rows
            for n, size in enumerate(layout.sizes)
        ]
        found = Constraint(strength, pool, torch.tensor(_weights(layout, shares)), torch.zeros(0))
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


@dataclass(frozen=True)
class NoisyConstraint:
    """The same under differential privacy, real row by real row: how far apart real rows lie is not read, so that rows are held to the distance at which made ones lie from one another."""

    strength: float
    weight: Any

    @staticmethod
    def of(torch: Any, layout: Layout, strength: float) -> NoisyConstraint:
        """By the columns' distributions alone."""
        return NoisyConstraint(
            strength, torch.tensor(_weights(layout, [_shares(layout, n) for n in range(len(layout.sizes))]))
        )

    def reach(self, torch: Any, made: Any) -> Any:
        """How far made rows lie from their nearest among themselves, on average."""
        apart = torch.cdist(made * self.weight, made * self.weight, compute_mode=EXACT)
        return (apart + torch.diag(torch.full((len(made),), float("inf")))).min(dim=1).values.mean()

    def loss(self, torch: Any, real: Any, made: Any, reach: Any) -> Any:
        """How far made rows reach into the neighbourhood of one real row."""
        nearest = torch.sqrt((((made - real) * self.weight) ** 2).sum(dim=1) + 1e-12).min()
        return self.strength * torch.relu(reach - nearest)


def _weights(layout: Layout, shares: list[NDArray[np.float64]]) -> NDArray[np.float32]:
    """Of each place of a vector, by the inverse of its column's entropy."""
    entropy = np.array([max(-(s[s > 0] * np.log(s[s > 0])).sum(), 0.1) for s in shares])
    weight = np.concatenate([np.repeat(1 / entropy, layout.sizes) * 0.5**0.5, 1 / entropy[layout.scaled]])
    return weight.astype(np.float32)


def _shares(layout: Layout, n: int) -> NDArray[np.float64]:
    """How often each class of a column occurs, by its distribution."""
    marginal, scale, classes = layout.marginals[n], layout.scales[n], layout.classes[n]
    if classes is not None:
        return np.maximum(classes.share, 0.0)
    spikes = np.diff(marginal.edges)[scale.spikes] if isinstance(scale, Ranks) else np.zeros(0)
    return np.append(marginal.missing, (1 - marginal.missing) * np.append(1 - spikes.sum(), spikes))
