"""How the transformer over steps is learnt: each column of a step is foretold from the steps before and from those columns of its own step that come before it.

Needs torch, `populace[deep]`.
"""

from __future__ import annotations

from collections.abc import Sequence as Sequence_
from typing import Any

import numpy as np

from ...privacy.budget import Budget
from ...stream import Stream
from ...tables import Table
from ..statistical.empirical import fit_marginals
from ..statistical.learn_events import Roles
from .attention import attend, begin_blocks
from .cells import Cells, depth_of
from .engine import deterministic, host, torch_or_error
from .learn_heads import LearntHeads
from .learnt import FREELY, Effort, Learnt
from .private_fit import Extents, descend
from .private_series import buy_series
from .sequence import LAYERS, PARTS, REACH, STEPS, Sequence
from .series import Read, read_series
from .training import Descent, train
from .transfer import carried
from .windows import HELD

WIDTH, NARROW = 64, 32
BATCH, RATE, EPOCHS, PATIENCE, LEAST_STEPS = 32, 2e-3, 80, 12, 2_000
MOST = 20_000


def fit_sequence(table: Table, stream: Stream, roles: Roles, effort: Effort = FREELY) -> Sequence:
    """Learn series of entities, or events. Raises UserError without torch, or for a table that holds no series."""
    torch = torch_or_error("sequence-transformer")
    read = read_series(table, roles)
    cells = [Cells.of(m) for m in fit_marginals(read.steps)]
    rows, weight = _pieces(read.lengths)
    with deterministic(torch, stream.child("network")) as generator:
        told = _told(read, cells)
        net = _Network(
            LearntHeads.of(torch, generator, cells, WIDTH, NARROW, told[0]), read, told, len(read.lengths) == 1
        )
        begun = net.begun(len(read.lengths) / max(len(told[0]) - len(read.lengths), 1))
        if effort.start is not None and not effort.resume:
            begun = _continued(torch, net.heads, begun, effort.start)
        pieces = tuple(torch.tensor(t) for t in (*rows, weight))
        pieces = (pieces[0], pieces[2], pieces[1])
        held = int(len(pieces[0]) * HELD)
        learner = net.learner(
            begun,
            tuple(t[: len(t) - held] for t in pieces),
            tuple(t[len(t) - held :] for t in pieces) if held else None,
        )
        learnt = train(torch, generator, learner, effort, "sequence-transformer")
    start = np.quantile(read.starts, np.linspace(0, 1, min(len(read.starts), 101)))
    return net.sampler(learnt, start, int(min(read.lengths.max(), STEPS)))


def fit_private_sequence(
    table: Table, noise: Stream, budget: Budget, extents: Extents, roles: Roles
) -> tuple[Sequence, float]:
    """The same under differential privacy, by noisy steps, of one stretch of each entity. How long series are is not read: none is longer than such a stretch. Returns it and about how many entities there were."""
    torch = torch_or_error("sequence-transformer")
    paid = buy_series("sequence-transformer", table, roles, noise, budget, extents, REACH)
    cells = [Cells.of(m, depth_of(paid.bought.rows)) for m in paid.bought.marginals]
    with deterministic(torch, noise.child("network")) as generator:
        net = _Network(
            LearntHeads.of(torch, generator, cells, WIDTH, NARROW, None), paid.read, _told(paid.read, cells), False
        )
        whose = np.arange(len(paid.at))
        pieces = tuple(torch.tensor(t) for t in (paid.at, paid.there.astype(np.float32), whose))
        learner = net.learner(net.begun(1 / REACH), pieces, None)
        return net.sampler(descend(torch, "sequence-transformer", learner, paid.bought), paid.read.starts, REACH), (
            paid.bought.rows
        )


def _told(read: Read, cells: Sequence_[Cells]) -> tuple[Any, Any]:
    """The classes and cells of steps, shape (steps, columns)."""
    told = [c.of_values(read.steps[c.marginal.name]) for c in cells]
    return np.stack([t[0] for t in told], axis=1), np.stack([t[1] for t in told], axis=1)


class _Network:
    def __init__(self, heads: LearntHeads, read: Read, told: tuple[Any, Any], alone: bool) -> None:
        """`alone`: whether the table is one series, which shows no end."""
        torch = self.torch = heads.torch
        self.heads, self.read, self.alone = heads, read, alone
        self.states, self.places = (torch.tensor(t) for t in told)
        self.ends = torch.zeros(len(told[0]))
        if not alone:
            self.ends[np.cumsum(read.lengths) - 1] = 1.0
        self.first = torch.tensor(np.cumsum(read.lengths) - read.lengths)
        self.before = (heads.rank[None, :] < heads.rank[:, None]).float()
        self.mask = torch.full((REACH, REACH), float("-inf")).triu(1)

    def begun(self, ends: float) -> dict[str, Any]:
        """`ends`: of how many steps that go on, one is the last."""
        torch, generator, width = self.torch, self.heads.generator, len(self.heads.cells)
        begun = self.heads.begun()
        begun |= {
            "second": torch.randn(width, WIDTH, NARROW, generator=generator) * (2.0 / WIDTH) ** 0.5,
            "shift": torch.zeros(width, NARROW),
        }
        begun |= {"begin": torch.randn(WIDTH, generator=generator) * 0.5}
        # as rare as ends are, from the beginning
        begun["last"] = torch.zeros(WIDTH + 1)
        begun["last"][-1] = float(np.log(ends))
        return begun | {f"block.{k}": t for k, t in begin_blocks(torch, generator, LAYERS, WIDTH).items()}

    def loss(self, p: dict[str, Any], batch: tuple[Any, ...], noise: tuple[Any, ...]) -> Any:
        torch, heads, columns = self.torch, self.heads, len(self.heads.cells)
        at, there, whose = batch
        w = heads.whole(p)
        own = heads.meaning(w, self.states[at], self.places[at])
        steps = own.sum(2)
        # the step before a piece's first is part of what it is told, if there is one
        prior = (at[:, 0] - 1).clamp(min=0)
        told_before = heads.meaning(w, self.states[prior], self.places[prior]).sum(1)
        fresh = at[:, 0] == self.first[whose]
        left = torch.where(fresh[:, None], p["begin"].expand(len(at), WIDTH), told_before)
        x = torch.cat([left[:, None], steps[:, :-1]], dim=1)
        blocks = {k[6:]: t for k, t in p.items() if k.startswith("block.")}
        size = x.shape[1]
        context = attend(torch, blocks, x, LAYERS, PARTS, self.mask[:size, :size])
        known = context[:, :, None] + torch.einsum("nm,btmh->btnh", self.before, own)
        units = torch.einsum("btnh,nhw->nbtw", torch.relu(known), p["second"]) + p["shift"][:, None, None, :]
        flat = (len(at) * size, columns)
        found = heads.loss(
            w,
            units.reshape(columns, flat[0], NARROW),
            self.states[at].reshape(flat),
            self.places[at].reshape(flat),
        )
        score = (context + steps) @ p["last"][:-1] + p["last"][-1]
        ended = torch.nn.functional.binary_cross_entropy_with_logits(score, self.ends[at], reduction="none")
        found = found + ended.reshape(-1)
        return (found.reshape(len(at), size) * there).sum(1) / there.sum(1)

    def learner(self, begun: dict[str, Any], rows: tuple[Any, ...], held: tuple[Any, ...] | None) -> Descent:
        width = len(self.heads.cells)
        return Descent(
            self.torch,
            self.heads.generator,
            begun,
            self.loss,
            lambda count, learning: (),
            rows,
            held,
            BATCH,
            RATE,
            EPOCHS,
            work=REACH
            * (LAYERS * (8 * WIDTH * WIDTH + 2 * REACH * WIDTH) + width * WIDTH * (NARROW + width) + self.heads.work()),
            steps=-(-LEAST_STEPS // EPOCHS),
            patience=PATIENCE,
        )

    def sampler(self, learnt: Learnt, start: Any, longest: int) -> Sequence:
        p, read = learnt.parameters, self.read
        blocks = {k[6:]: v for k, v in p.items() if k.startswith("block.")}
        last = p["last"].copy()
        if self.alone:
            # of one series nothing says how long another is: as long, on average
            last[:-1], last[-1] = 0.0, np.log(1 / max(longest - 1, 1))
        return Sequence(
            read.entity, read.time, read.order, self.heads.heads(dict(p)), start, p["begin"], blocks, p["second"], p["shift"], last, longest, learnt
        )  # fmt: skip


def _pieces(lengths: Any) -> tuple[tuple[Any, Any], Any]:
    """The steps of pieces of at most `REACH`, half overlapping, the entity of each, and which of their steps are there: (pieces, steps), (pieces,), (pieces, steps)."""
    begin = np.cumsum(lengths) - lengths
    size = int(min(REACH, lengths.max()))
    stride = max(size // 2, int(np.ceil(lengths.sum() / MOST)))
    at, whose = [], []
    for n, (b, length) in enumerate(zip(begin, lengths, strict=True)):
        first = np.unique(np.append(np.arange(0, max(length - size, 0) + 1, stride), max(length - size, 0)))
        at.append(b + first)
        whose.append(np.full(len(first), n))
    start, owner = np.concatenate(at), np.concatenate(whose)
    end = (begin + lengths - 1)[owner]
    steps = start[:, None] + np.arange(size)
    return (np.minimum(steps, end[:, None]), owner), (steps <= end[:, None]).astype(np.float32)


def _continued(torch: Any, heads: LearntHeads, begun: dict[str, Any], start: Sequence) -> dict[str, Any]:
    made, columns = heads.continued(begun, start.heads)
    maps = {"second": (columns, None, None), "shift": (columns, None)}
    for name in ("begin", "last", "second", "shift"):
        made[name] = torch.tensor(carried(name, getattr(start, name), host(begun[name]), maps.get(name, (None,))))
    return made | {f"block.{k}": torch.tensor(v) for k, v in start.blocks.items()}
