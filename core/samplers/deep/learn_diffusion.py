"""How the diffusion model for tables is learnt: rows are noised to a time that chance names, and the network says what they were. Needs torch, `populace[deep]`.

Kotelnikov et al. 2023, arXiv:2209.15421. Of classes the network gives the chances at the beginning, and the loss is their cross-entropy (Austin et al. 2021, D3PM, arXiv:2107.03006,
equation 5), which at its least gives the same steps back as the paper's bound. Half of the rows have some columns given, which are told as they are and need not be found
(Tashiro et al. 2021, CSDI, arXiv:2107.03502).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from ...privacy.budget import Budget
from ...stream import Stream
from ...tables import Table
from .decoder import Layer
from .diffusion import CLOCK, Diffusion
from .encoded import Encoded, encode_table
from .engine import apply_layer, begin_layers, deterministic, torch_or_error
from .learnt import FREELY, Effort, Learnt
from .modes import SPAN
from .private_fit import Extents, fit_privately
from .training import Descent, train
from .transfer import Maps, columns_before, continued, layout_before

HIDDEN = 256
BATCH, FEW, SMALL = 512, 256, 10_000
"""Rows of a step, and of one where there are fewer than so many: steps are what they lack."""
RATE = 2e-3
EPOCHS = 150
LEAST_STEPS = 4_000
WHOLE = 0.5
"""The share of rows of which nothing is given; of the others some columns are, few more often than many."""


def fit_diffusion(table: Table, stream: Stream, effort: Effort = FREELY) -> Diffusion:
    """Learn a table. Raises UserError without torch, for an empty table, or for a column of a type that cannot be learnt."""
    torch = torch_or_error("tabddpm")
    with deterministic(torch, stream.child("network")) as generator:
        net = _Network(torch, generator, encode_table(torch, table, stream, "ranks"))
        learner = net.learner(continued(torch, net.begun(), effort, net.maps))
        return net.sampler(train(torch, generator, learner, effort, "tabddpm"))


def fit_private_diffusion(table: Table, noise: Stream, budget: Budget, extents: Extents) -> tuple[Diffusion, float]:
    """The same under differential privacy, by noisy steps. Returns it and about how many rows there were."""
    torch = torch_or_error("tabddpm")

    def begin(generator: Any, data: Encoded) -> tuple[Descent, Any]:
        net = _Network(torch, generator, data)
        return net.learner(net.begun()), net.sampler

    return fit_privately(torch, "tabddpm", table, noise, budget, extents, begin)


@dataclass(frozen=True)
class _Network:
    torch: Any
    generator: Any
    data: Encoded

    def begun(self) -> dict[str, Any]:
        width = self.data.layout.width
        return begin_layers(
            self.torch,
            self.generator,
            {
                "0": (width + len(self.data.layout.sizes) + 2 * CLOCK, HIDDEN),
                "1": (HIDDEN, HIDDEN),
                "2": (HIDDEN, HIDDEN),
                "3": (HIDDEN, width),
            },
        )

    def maps(self, old: Diffusion) -> Maps:
        whole, _ = layout_before(old.layout, self.data.layout)
        columns = columns_before(old.marginals, self.data.layout.marginals)
        given = np.where(columns >= 0, columns + old.layout.width, -1)
        clock = np.arange(2 * CLOCK) + old.layout.width + len(old.marginals)
        return {
            "0.weight": (np.concatenate((whole, given, clock)), None),
            "3.weight": (None, whole),
            "3.shift": (whole,),
        }

    def learner(self, parameters: dict[str, Any]) -> Descent:
        width = self.data.layout.width
        return Descent(
            self.torch,
            self.generator,
            parameters,
            self.loss,
            self.noise,
            rows=(self.data.classes, self.data.places),
            held=None,
            batch=BATCH if self.data.rows >= SMALL else FEW,
            rate=RATE,
            epochs=EPOCHS,
            # as in `learn_variational`: layers of many rows at once
            work=float(width * HIDDEN + HIDDEN * HIDDEN),
            steps=-(-LEAST_STEPS // EPOCHS),
        )

    def noise(self, count: int, learning: bool) -> tuple[Any, ...]:
        """For each row a time, its numbers' noise, for each column whether its class is still its own and which one it is if not, and whether it is given."""
        torch, g, layout = self.torch, self.generator, self.data.layout
        time = torch.rand(count, generator=g)
        low = torch.tensor(
            [0 if m.missing or s == 1 else 1 for m, s in zip(layout.marginals, layout.sizes, strict=True)]
        )
        sizes = torch.tensor(layout.sizes)
        u = torch.rand(count, len(sizes), generator=g)
        other = low + torch.minimum((u * (sizes - low)).long(), sizes - low - 1) + torch.tensor(layout.offsets[:-1])
        numbers = torch.randn(count, len(layout.scaled), generator=g)
        return time, numbers, torch.rand(count, len(sizes), generator=g), other, self._given(count)

    def _given(self, count: int) -> Any:
        torch, g, width = self.torch, self.generator, len(self.data.layout.sizes)
        often = 1.0 / torch.arange(1, max(width, 2))
        most = 1 + torch.multinomial(often, count, replacement=True, generator=g)
        most = torch.where(torch.rand(count, generator=g) < WHOLE, 0, most)
        return (torch.rand(count, width, generator=g).argsort(dim=1) < most[:, None]).float()

    def loss(self, p: dict[str, Any], rows: tuple[Any, ...], noise: tuple[Any, ...]) -> Any:
        torch, (classes, places), (time, numbers, u, other, given) = self.torch, rows, noise
        told = given[:, self.data.layout.scaled]
        own = torch.cos((time + 0.008) / 1.008 * np.pi / 2)[:, None].square().clamp(1e-5, 1.0)
        noised = own.sqrt() * SPAN * places + (1 - own).sqrt() * numbers
        noised = torch.where(told > 0, SPAN * places, noised)
        angle = time[:, None] * np.pi * 2.0 ** torch.arange(CLOCK)
        vector = self.data.vectors(torch, torch.where((u < own) | (given > 0), classes, other), noised)
        x = torch.cat([vector, given, torch.sin(angle), torch.cos(angle)], dim=1)
        for k in range(3):
            x = torch.relu(apply_layer(p, str(k), x))
        out = apply_layer(p, "3", x)
        end = int(self.data.layout.offsets[-1])
        chances = self.data.log_chances(torch, out[:, :end]).gather(1, classes)
        # what is given need not be found
        found = -(chances * (1 - given)).mean(dim=1)
        return found + ((out[:, end:] - numbers) ** 2 * (1 - told)).sum(dim=1) / max(places.shape[1], 1)

    def sampler(self, learnt: Learnt) -> Diffusion:
        p = learnt.parameters
        layers = tuple(Layer(p[f"{k}.weight"], p[f"{k}.shift"], False) for k in range(4))
        return Diffusion(self.data.layout, layers, learnt)
