"""How the transformer over columns is learnt: each column of a row is foretold from those before it, in the order of drawing or in any. Needs torch, `populace[deep]`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ...privacy.budget import Budget
from ...stream import Stream
from ...tables import Table
from .attention import attend, begin_blocks
from .cells import Cells
from .engine import deterministic, host, torch_or_error
from .learn_heads import LearntHeads, private_rows, read_rows, split_rows
from .learnt import FREELY, Effort, Learnt
from .private_fit import Extents, buy, descend
from .training import Descent, train
from .transfer import carried
from .transformer import LAYERS, PARTS, Transformer

WIDTH = 64
BATCH, RATE, EPOCHS, PATIENCE, LEAST_STEPS = 256, 2e-3, 30, 6, 40
IN_ORDER = 0.5


def fit_transformer(table: Table, stream: Stream, effort: Effort = FREELY) -> Transformer:
    """Learn a table. Raises UserError without torch, for an empty table, or for a column of a type that cannot be learnt."""
    torch = torch_or_error("transformer")
    cells, states, places = read_rows(table, stream)
    with deterministic(torch, stream.child("network")) as generator:
        net = _Network(
            LearntHeads.of(
                torch, generator, cells, WIDTH, WIDTH, states, effort.start is not None and not effort.resume
            )
        )
        learner = net.learner(net.begun(effort), *split_rows(torch, states, places))
        return net.sampler(train(torch, generator, learner, effort, "transformer"))


def fit_private_transformer(table: Table, noise: Stream, budget: Budget, extents: Extents) -> tuple[Transformer, float]:
    """The same under differential privacy, by noisy steps. Returns it and about how many rows there were."""
    torch = torch_or_error("transformer")
    bought = buy("transformer", table, noise, budget, extents)
    cells = [Cells.of(m) for m in bought.marginals]
    with deterministic(torch, noise.child("network")) as generator:
        net = _Network(LearntHeads.of(torch, generator, cells, WIDTH, WIDTH, None))
        rows = private_rows(torch, table, cells)
        return net.sampler(
            descend(torch, "transformer", net.learner(net.begun(FREELY), rows, None), bought)
        ), bought.rows


@dataclass(frozen=True)
class _Network:
    heads: LearntHeads

    def begun(self, effort: Effort) -> dict[str, Any]:
        torch, g, width = self.heads.torch, self.heads.generator, len(self.heads.cells)
        trunk = {
            "following": torch.randn(width, WIDTH, generator=g) * 0.5,
            "begin": torch.randn(WIDTH, generator=g) * 0.5,
        }
        blocks = {f"block.{k}": t for k, t in begin_blocks(torch, g, LAYERS, WIDTH).items()}
        begun = self.heads.begun()
        # one value is told at a time, and is as long as what it is added to
        begun = {k: t * width**0.5 * 0.5 if k.startswith("known") else t for k, t in begun.items()}
        start = effort.start
        if start is None or effort.resume:
            return begun | trunk | blocks
        begun, columns = self.heads.continued(begun, start.heads)
        trunk["following"] = torch.tensor(
            carried("following", start.following, host(trunk["following"]), (columns, None))
        )
        trunk["begin"] = torch.tensor(start.begin)
        return begun | trunk | {f"block.{k}": torch.tensor(v) for k, v in start.blocks.items()}

    def learner(self, parameters: dict[str, Any], rows: tuple[Any, ...], held: tuple[Any, ...] | None) -> Descent:
        width = len(self.heads.cells)
        return Descent(
            self.heads.torch,
            self.heads.generator,
            parameters,
            self.loss,
            lambda count, learning: (self.heads.orders(count, IN_ORDER),),
            rows,
            held,
            BATCH,
            RATE,
            EPOCHS,
            work=width * LAYERS * (8 * WIDTH * WIDTH + 2 * width * WIDTH) + self.heads.work(),
            steps=LEAST_STEPS,
            patience=PATIENCE,
        )

    def loss(self, p: dict[str, Any], rows: tuple[Any, ...], noise: tuple[Any, ...]) -> Any:
        """For each row the sum over columns of minus the log of the chance of what is there, the columns before it being known."""
        torch, (states, places), place = self.heads.torch, rows, noise[0]
        w = self.heads.whole(p)
        order = place.argsort(dim=1)
        count, width = states.shape
        meaning = self.heads.meaning(w, states, places).gather(1, order[:, :, None].expand(count, width, WIDTH))
        begin = p["begin"].expand(count, 1, WIDTH)
        x = torch.cat([begin, meaning[:, :-1]], dim=1) + p["following"][order]
        mask = torch.full((width, width), float("-inf")).triu(1)
        blocks = {k[6:]: t for k, t in p.items() if k.startswith("block.")}
        units = attend(torch, blocks, x, LAYERS, PARTS, mask)
        units = units.gather(1, place[:, :, None].expand(count, width, WIDTH))
        return self.heads.loss(w, units.transpose(0, 1), states, places)

    def sampler(self, learnt: Learnt) -> Transformer:
        p = learnt.parameters
        blocks = {k[6:]: v for k, v in p.items() if k.startswith("block.")}
        return Transformer(self.heads.heads(dict(p)), p["following"], p["begin"], blocks, learnt)
