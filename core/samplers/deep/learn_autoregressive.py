"""How the autoregressive network is learnt: each column of a row is foretold from those before it, in the order of drawing or in any. Needs torch,
`populace[deep]`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from ...privacy.budget import Budget
from ...stream import F64, Stream
from ...tables import Table
from .autoregressive import Autoregressive
from .cells import Cells, depth_of
from .engine import deterministic, host, torch_or_error
from .learn_heads import LearntHeads, private_rows, read_rows, split_rows, waves_kept
from .learnt import FREELY, Effort, Learnt
from .private_fit import Extents, buy, descend
from .training import Descent, gentle, train
from .transfer import carried

NARROW, WIDE = (128, 32), (192, 64)
"""Hidden units, and a column's own: where few columns have cells, or rows are few; and where more than `CELLED` have, which takes more to tell what follows from what."""
CELLED = 4
BATCH = 256
RATE = 4e-3
EPOCHS, FEWEST_PASSES, STEPS, FEW_STEPS = 25, 12, 1_400, 1_000
"""Passes at most, of many rows no more than so many steps take, but so many passes at least: where it goes on for longer, rows begin to lie nearer to
learnt rows than to others. Of few rows, as many passes as so many steps are."""
SMALL = 10_000
DROPPED = 0.25
"""The share of hidden units that a step leaves out (Srivastava et al. 2014, JMLR 15): rows held out are foretold better, and learnt ones come back less."""
PATIENCE = 8
FEWEST_STEPS = 10
"""Steps of a pass at least, each pass being judged: of 300 rows, forty are twice as many as it takes to learn them by heart."""
IN_ORDER = 0.7
"""The share of rows that practise the order in which whole rows are drawn; the others practise any."""


def fit_autoregressive(table: Table, stream: Stream, effort: Effort = FREELY) -> Autoregressive:
    """Learn a table in at most so many passes over it; fewer, where rows held out are no longer foretold better.

    Raises UserError without torch, for an empty table, or for a column of a type that cannot be learnt.
    """
    torch = torch_or_error("autoregressive")
    cells, states, places = read_rows(table, stream, None if effort.start is None else effort.start.heads)
    with deterministic(torch, stream.child("network")) as generator:
        sizes = sizes_of(len(states), sum(c.depth > 1 for c in cells))
        if effort.start is not None:
            sizes = effort.start.first.shape[1], effort.start.shift.shape[1]
        net = _Network(LearntHeads.of(torch, generator, cells, *sizes, states, waves_kept(effort)))
        rows, held = split_rows(torch, states, places)
        learner = Descent(
            torch,
            generator,
            net.begun(effort),
            net.loss,
            net.noise(dropping=True),
            rows=rows,
            held=held,
            batch=BATCH,
            rate=gentle(RATE, len(rows[0]), effort),
            epochs=passes_of(len(rows[0])),
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
    cells = [Cells.of(m, depth_of(bought.rows)) for m in bought.marginals]
    with deterministic(torch, noise.child("network")) as generator:
        net = _Network(LearntHeads.of(torch, generator, cells, *NARROW, None))
        rows = private_rows(torch, table, cells)
        learner = Descent(
            torch, generator, net.begun(FREELY), net.loss, net.noise(dropping=False), rows, None, BATCH, RATE, 1, net.work()
        )  # fmt: skip
        return net.sampler(descend(torch, "autoregressive", learner, bought)), bought.rows


def surprise(model: Autoregressive, table: Table) -> F64:
    """For each row minus the log of its chance, column after column in the order of drawing. It is large for a row of which a value was never seen.

    Comparable between models of one table's columns alone: a class counts for as much as it holds there.
    """
    torch = torch_or_error("autoregressive")
    told = [c.of_values(table[c.marginal.name]) for c in model.heads.cells]
    states, places = (torch.tensor(np.stack([t[k] for t in told], axis=1)) for k in (0, 1))
    waves = model.learnt.parameters["wave"].shape[1] // 2
    net = _Network(
        LearntHeads.of(torch, None, model.heads.cells, model.first.shape[1], model.shift.shape[1], None, waves)
    )
    known = {k: torch.tensor(np.array(v)) for k, v in model.learnt.parameters.items()}
    order = net.heads.rank.expand(len(states), -1)
    with torch.no_grad():
        parts = [slice(k, k + 1_024) for k in range(0, len(states), 1_024)]
        found = [net.loss(known, (states[at], places[at]), (order[at],)) for at in parts]
    return np.concatenate([host(t) for t in found]).astype(float)


def sizes_of(rows: int, celled: int) -> tuple[int, int]:
    """Hidden units and a column's own, for a table of so many rows and so many columns that have cells."""
    return WIDE if celled > CELLED and rows >= SMALL else NARROW


def passes_of(rows: int) -> int:
    """Passes over so many rows at most."""
    few = FEW_STEPS * BATCH // max(rows, FEWEST_STEPS * BATCH)
    return max(few, min(EPOCHS, max(FEWEST_PASSES, STEPS * BATCH // max(rows, 1))))


@dataclass(frozen=True)
class _Network:
    heads: LearntHeads

    def begun(self, effort: Effort) -> dict[str, Any]:
        """The parameters to begin with: new ones, or with what the network to start from knows."""
        torch, width, hidden, units = self.heads.torch, len(self.heads.cells), self.heads.hidden, self.heads.units
        second = torch.randn(width, hidden, units, generator=self.heads.generator) * (2.0 / hidden) ** 0.5
        trunk = {"first": torch.zeros(width, hidden), "second": second, "shift": torch.zeros(width, units)}
        begun = self.heads.begun()
        if effort.start is None or effort.resume:
            return begun | trunk
        begun, columns = self.heads.continued(begun, effort.start.heads)
        maps = {"first": (columns, None), "second": (columns, None, None), "shift": (columns, None)}
        return begun | {
            k: torch.tensor(carried(k, getattr(effort.start, k), host(t), maps[k])) for k, t in trunk.items()
        }

    def noise(self, dropping: bool) -> Any:
        """For each row its columns' places in an order, and the hidden units that are left out."""
        torch, g = self.heads.torch, self.heads.generator

        def draw(count: int, learning: bool) -> tuple[Any, ...]:
            order = self.heads.orders(count, IN_ORDER)
            if not (dropping and learning):
                return (order,)
            return order, (torch.rand(count, self.heads.hidden, generator=g) >= DROPPED) / (1 - DROPPED)

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
        width, hidden = len(self.heads.cells), self.heads.hidden
        return width * width * hidden + width * hidden * self.heads.units + self.heads.work()
