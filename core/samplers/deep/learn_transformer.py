"""How the transformer over columns is learnt: each column of a row is foretold from those before it, in the order of drawing or with others given. Needs torch, `populace[deep]`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ...privacy.budget import Budget
from ...stream import Stream
from ...tables import Table
from .cells import Cells, depth_of
from .engine import apply_layer, deterministic, host, torch_or_error
from .learn_heads import LearntHeads, private_rows, read_rows, split_rows, waves_kept
from .learnt import FREELY, Effort, Learnt
from .private_fit import Extents, buy, descend
from .training import OVERHEAD, Descent, gentle, train
from .training import RATE as RATE_OF_WORK
from .transfer import carried
from .transformer import LEAST, NORMS, PARTS, Transformer, trunk_shapes

WIDTH = 48
BATCH, RATE, EPOCHS, PATIENCE, LEAST_STEPS = 256, 2e-3, 25, 6, 40
IN_ORDER = 0.5


def fit_transformer(table: Table, stream: Stream, effort: Effort = FREELY) -> Transformer:
    """Learn a table. Raises UserError without torch, for an empty table, or for a column of a type that cannot be learnt."""
    torch = torch_or_error("transformer")
    cells, states, places = read_rows(table, stream, None if effort.start is None else effort.start.heads)
    with deterministic(torch, stream.child("network")) as generator:
        net = _Network(LearntHeads.of(torch, generator, cells, WIDTH, WIDTH, states, waves_kept(effort)))
        rows, held = split_rows(torch, states, places)
        learner = net.learner(net.begun(effort), rows, held, gentle(RATE, len(rows[0]), effort))
        return net.sampler(train(torch, generator, learner, effort, "transformer"))


def fit_private_transformer(table: Table, noise: Stream, budget: Budget, extents: Extents) -> tuple[Transformer, float]:
    """The same under differential privacy, by noisy steps. Returns it and about how many rows there were."""
    torch = torch_or_error("transformer")
    bought = buy("transformer", table, noise, budget, extents)
    cells = [Cells.of(m, depth_of(bought.rows)) for m in bought.marginals]
    with deterministic(torch, noise.child("network")) as generator:
        net = _Network(LearntHeads.of(torch, generator, cells, WIDTH, WIDTH, None))
        rows = private_rows(torch, table, cells)
        return net.sampler(
            descend(torch, "transformer", net.learner(net.begun(FREELY), rows, None), bought)
        ), bought.rows


def work_of(columns: int) -> float:
    """Multiplications that a row takes, without its classes' scores."""
    return float(columns * WIDTH * (7 * WIDTH + 2 * columns))


def pass_seconds(rows: int, columns: int, classes: int) -> float:
    """About how many CPU-seconds a pass takes, as `Descent` reckons."""
    steps = max(rows / BATCH, LEAST_STEPS)
    return steps * (OVERHEAD + 3 * (work_of(columns) + WIDTH * classes) * BATCH / RATE_OF_WORK)


@dataclass(frozen=True)
class _Network:
    heads: LearntHeads

    def begun(self, effort: Effort) -> dict[str, Any]:
        torch, g, width = self.heads.torch, self.heads.generator, len(self.heads.cells)
        net = {
            "following": torch.randn(width, WIDTH, generator=g) * 0.5,
            "begin": torch.randn(WIDTH, generator=g) * 0.5,
        }
        trunk: dict[str, Any] = {}
        for name, (inputs, outputs) in trunk_shapes(WIDTH).items():
            # what is added to what was there begins small
            scale = inputs**-0.5 * (0.5 if name in ("tell", "back") else 1.0)
            trunk[f"trunk.{name}.weight"] = torch.randn(inputs, outputs, generator=g) * scale
            trunk[f"trunk.{name}.shift"] = torch.zeros(outputs)
        for name in NORMS:
            trunk |= {f"trunk.{name}.scale": torch.ones(WIDTH), f"trunk.{name}.offset": torch.zeros(WIDTH)}
        begun = self.heads.begun()
        # a value stands alone, and is as long as what it is compared with
        begun = {k: t * width**0.5 * 0.5 if k.startswith("known") else t for k, t in begun.items()}
        start = effort.start
        if start is None or effort.resume:
            return begun | net | trunk
        begun, columns = self.heads.continued(begun, start.heads)
        net["following"] = torch.tensor(carried("following", start.following, host(net["following"]), (columns, None)))
        net["begin"] = torch.tensor(start.begin)
        return begun | net | {f"trunk.{k}": torch.tensor(v) for k, v in start.trunk.items()}

    def learner(
        self, parameters: dict[str, Any], rows: tuple[Any, ...], held: tuple[Any, ...] | None, rate: float = RATE
    ) -> Descent:
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
            rate,
            EPOCHS,
            work=work_of(width) + self.heads.work(),
            steps=LEAST_STEPS,
            patience=PATIENCE,
        )

    def loss(self, p: dict[str, Any], rows: tuple[Any, ...], noise: tuple[Any, ...]) -> Any:
        """For each row the sum over columns of minus the log of the chance of what is there, the columns before it being known."""
        torch, (states, places), order = self.heads.torch, rows, noise[0]
        w, (count, width), size = self.heads.whole(p), states.shape, WIDTH // PARTS
        trunk = {k[6:]: t for k, t in p.items() if k.startswith("trunk.")}

        def normal(name: str, x: Any) -> Any:
            scale, offset = trunk[f"{name}.scale"], trunk[f"{name}.offset"]
            return torch.nn.functional.layer_norm(x, x.shape[-1:], scale, offset, LEAST)

        known = torch.cat([p["begin"].expand(count, 1, WIDTH), self.heads.meaning(w, states, places)], dim=1)
        known = normal("value", known)
        asks = apply_layer(trunk, "ask", normal("column", p["following"])).reshape(width, PARTS, size)
        answers, told = (
            apply_layer(trunk, k, known).reshape(count, 1 + width, PARTS, size) for k in ("answer", "told")
        )
        fit = torch.einsum("qhd,nkhd->nhqk", asks, answers) * size**-0.5
        before = torch.cat([torch.zeros(count, width, 1), _hidden(torch, order)], dim=2)
        heed = torch.softmax(fit + before[:, None], dim=-1)
        found = torch.einsum("nhqk,nkhd->nqhd", heed, told).reshape(count, width, WIDTH)
        x = p["following"] + apply_layer(trunk, "tell", found)
        units = x + apply_layer(trunk, "back", torch.relu(apply_layer(trunk, "wide", normal("found", x))))
        return self.heads.loss(w, units.transpose(0, 1), states, places)

    def sampler(self, learnt: Learnt) -> Transformer:
        p = learnt.parameters
        trunk = {k[6:]: v for k, v in p.items() if k.startswith("trunk.")}
        return Transformer(self.heads.heads(dict(p)), p["following"], p["begin"], trunk, learnt)


def _hidden(torch: Any, order: Any) -> Any:
    """What is added to how well a column (last axis) answers another: nothing, or so little that it counts for nothing if it comes later."""
    return torch.where(order[:, None, :] < order[:, :, None], 0.0, -1e9)
