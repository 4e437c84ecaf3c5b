"""How the autoregressive network is learnt: each column of a row is foretold from those before it, in the order of drawing or in any. Needs torch,
`populace[deep]`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from ...privacy.budget import Budget
from ...stream import Stream
from ...tables import Table
from ..statistical.grow import encode
from .autoregressive import Autoregressive
from .cells import Cells
from .engine import deterministic, torch_or_error
from .learn_heads import LearntHeads
from .learnt import FREELY, Effort, Learnt
from .private_fit import Extents, buy, descend
from .training import Descent, train
from .transfer import carried

HIDDEN, NARROW = 128, 32
BATCHES = (256, 512)
"""Rows of a step, at least and at most; between, so many that a pass has about 40 steps."""
RATE = 4e-3
EPOCHS = 25
ROWS = 500_000
"""Rows that are learnt from at most; the marginals see every row."""
HELD = 0.1
"""The share of rows that say when to stop."""
DROPPED, SMALL = 0.25, 10_000
"""The share of hidden units that a step leaves out where rows are fewer than so many (Srivastava et al. 2014, JMLR 15): more rows need no such
help, and are learnt better and sooner without."""
PATIENCE = 8
FEWEST_STEPS = 40
IN_ORDER = 0.5
"""The share of rows that practise the order in which whole rows are drawn; the others practise any."""


def fit_autoregressive(table: Table, stream: Stream, effort: Effort = FREELY) -> Autoregressive:
    """Learn a table in at most so many passes over it; fewer, where rows held out are no longer foretold better.

    Raises UserError without torch, for an empty table, or for a column of a type that cannot be learnt.
    """
    torch = torch_or_error("autoregressive")
    marginals, codes = encode(table)
    cells = [Cells.of(m) for m in marginals]
    told = [c.of_codes(x) for c, x in zip(cells, codes, strict=True)]
    states, places = (np.stack([t[k] for t in told], axis=1) for k in (0, 1))
    order = np.argsort(stream.child("rows").bits(np.arange(len(states))), kind="stable")[:ROWS]
    held = int(len(order) * HELD)
    with deterministic(torch, stream.child("network")) as generator:
        net = _Network(LearntHeads.of(torch, generator, cells, HIDDEN, NARROW, states))
        rows = tuple(torch.tensor(x[order]) for x in (states, places))
        learner = Descent(
            torch,
            generator,
            net.begun(effort),
            net.loss,
            net.noise(dropping=len(order) - held < SMALL),
            rows=tuple(t[held:] for t in rows),
            held=tuple(t[:held] for t in rows),
            batch=int(np.clip((len(order) - held) // 40, *BATCHES)),
            rate=RATE,
            epochs=EPOCHS,
            work=net.work(),
            steps=FEWEST_STEPS,
            patience=PATIENCE,
        )
        return net.sampler(train(torch, generator, learner, effort, "autoregressive"))


def fit_private_autoregressive(
    table: Table, noise: Stream, budget: Budget, extents: Extents
) -> tuple[Autoregressive, float]:
    """The same under differential privacy, by noisy steps. Returns it and about how many rows there were."""
    torch = torch_or_error("autoregressive")
    bought = buy("autoregressive", table, noise, budget, extents)
    cells = [Cells.of(m) for m in bought.marginals]
    with deterministic(torch, noise.child("network")) as generator:
        net = _Network(LearntHeads.of(torch, generator, cells, HIDDEN, NARROW, None))
        told = [c.of_values(table[c.marginal.name]) for c in cells]
        rows = tuple(torch.tensor(np.stack([t[k] for t in told], axis=1)) for k in (0, 1))
        learner = Descent(
            torch, generator, net.begun(FREELY), net.loss, net.noise(dropping=False), rows, None, BATCHES[0], RATE, 1, net.work()
        )  # fmt: skip
        return net.sampler(descend(torch, "autoregressive", learner, bought)), bought.rows


@dataclass(frozen=True)
class _Network:
    heads: LearntHeads

    def begun(self, effort: Effort) -> dict[str, Any]:
        """The parameters to begin with: new ones, or with what the network to start from knows."""
        torch, width = self.heads.torch, len(self.heads.cells)
        second = torch.randn(width, HIDDEN, NARROW, generator=self.heads.generator) * (2.0 / HIDDEN) ** 0.5
        trunk = {"first": torch.zeros(HIDDEN), "second": second, "shift": torch.zeros(width, NARROW)}
        begun = self.heads.begun()
        if effort.start is None or effort.resume:
            return begun | trunk
        begun, columns = self.heads.continued(begun, effort.start.heads)
        maps = {"first": (None,), "second": (columns, None, None), "shift": (columns, None)}
        return begun | {
            k: torch.tensor(carried(k, getattr(effort.start, k), t.numpy(), maps[k])) for k, t in trunk.items()
        }

    def noise(self, dropping: bool) -> Any:
        """For each row its columns' places in an order, and the hidden units that are left out."""
        torch, g = self.heads.torch, self.heads.generator

        def draw(count: int, learning: bool) -> tuple[Any, ...]:
            order = self.heads.orders(count, IN_ORDER)
            if not (dropping and learning):
                return (order,)
            return order, (torch.rand(count, HIDDEN, generator=g) >= DROPPED) / (1 - DROPPED)

        return draw

    def loss(self, p: dict[str, Any], rows: tuple[Any, ...], noise: tuple[Any, ...]) -> Any:
        """For each row the sum over columns of minus the log of the chance of what is there, the columns before it being known."""
        torch, (states, places) = self.heads.torch, rows
        w = self.heads.whole(p)
        order = noise[0]
        before = (order[:, None, :] < order[:, :, None]).float()
        hidden = torch.relu(before @ self.heads.meaning(w, states, places) + p["first"])
        if len(noise) > 1:
            hidden = hidden * noise[1][:, None, :]
        units = torch.einsum("bch,chw->cbw", hidden, p["second"]) + p["shift"][:, None, :]
        return self.heads.loss(w, units, states, places)

    def sampler(self, learnt: Learnt) -> Autoregressive:
        p = learnt.parameters
        return Autoregressive(self.heads.heads(dict(p)), p["first"], p["second"], p["shift"], learnt)

    def work(self) -> float:
        width = len(self.heads.cells)
        return width * width * HIDDEN + width * HIDDEN * NARROW + self.heads.work()
