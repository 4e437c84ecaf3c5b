"""How the transformer over steps is learnt: each column of a step is foretold from the steps before and from those columns of its own step that come before it.

Needs torch, `populace[deep]`.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ...stream import Stream
from ...tables import Table
from ..statistical.empirical import fit_marginals
from ..statistical.learn_events import Roles
from .attention import attend, begin_blocks
from .cells import Cells
from .engine import deterministic, host, torch_or_error
from .learn_heads import LearntHeads
from .learnt import FREELY, Effort
from .sequence import LAYERS, PARTS, REACH, STEPS, Sequence
from .series import read_series
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
    marginals = fit_marginals(read.steps)
    cells = [Cells.of(m) for m in marginals]
    told = [c.of_values(read.steps[c.marginal.name]) for c in cells]
    states, places = (np.stack([t[k] for t in told], axis=1) for k in (0, 1))
    rows, weight = _pieces(read.lengths)
    with deterministic(torch, stream.child("network")) as generator:
        heads = LearntHeads.of(torch, generator, cells, WIDTH, NARROW, states)
        width = len(cells)
        begun = heads.begun()
        begun |= {
            "second": torch.randn(width, WIDTH, NARROW, generator=generator) * (2.0 / WIDTH) ** 0.5,
            "shift": torch.zeros(width, NARROW),
        }
        begun |= {"begin": torch.randn(WIDTH, generator=generator) * 0.5}
        # as rare as ends are, from the beginning
        begun["last"] = torch.zeros(WIDTH + 1)
        begun["last"][-1] = float(np.log(len(read.lengths) / max(len(states) - len(read.lengths), 1)))
        begun |= {f"block.{k}": t for k, t in begin_blocks(torch, generator, LAYERS, WIDTH).items()}
        if effort.start is not None and not effort.resume:
            begun = _continued(torch, heads, begun, effort.start)
        all_states, all_places = torch.tensor(states), torch.tensor(places)
        rank = heads.rank
        before = (rank[None, :] < rank[:, None]).float()
        ends = torch.zeros(len(states))
        # a table of one series shows no end
        if len(read.lengths) > 1:
            ends[np.cumsum(read.lengths) - 1] = 1.0
        first = torch.tensor(np.cumsum(read.lengths) - read.lengths)
        mask = torch.full((REACH, REACH), float("-inf")).triu(1)

        def loss(p: dict[str, Any], batch: tuple[Any, ...], noise: tuple[Any, ...]) -> Any:
            at, there, whose = batch
            w = heads.whole(p)
            own = heads.meaning(w, all_states[at], all_places[at])
            steps = own.sum(2)
            # the step before a piece's first is part of what it is told, if there is one
            prior = (at[:, 0] - 1).clamp(min=0)
            told_before = heads.meaning(w, all_states[prior], all_places[prior]).sum(1)
            fresh = at[:, 0] == first[whose]
            left = torch.where(fresh[:, None], p["begin"].expand(len(at), WIDTH), told_before)
            x = torch.cat([left[:, None], steps[:, :-1]], dim=1)
            blocks = {k[6:]: t for k, t in p.items() if k.startswith("block.")}
            size = x.shape[1]
            context = attend(torch, blocks, x, LAYERS, PARTS, mask[:size, :size])
            known = context[:, :, None] + torch.einsum("nm,btmh->btnh", before, own)
            units = torch.einsum("btnh,nhw->nbtw", torch.relu(known), p["second"]) + p["shift"][:, None, None, :]
            flat = (len(at) * size, len(cells))
            found = heads.loss(
                w,
                units.reshape(len(cells), flat[0], NARROW),
                all_states[at].reshape(flat),
                all_places[at].reshape(flat),
            )
            score = (context + steps) @ p["last"][:-1] + p["last"][-1]
            found = found + torch.nn.functional.binary_cross_entropy_with_logits(
                score, ends[at], reduction="none"
            ).reshape(-1)
            return (found.reshape(len(at), size) * there).sum(1) / there.sum(1)

        pieces = tuple(torch.tensor(t) for t in (*rows, weight))
        pieces = (pieces[0], pieces[2], pieces[1])
        held = int(len(pieces[0]) * HELD)
        learner = Descent(
            torch,
            generator,
            begun,
            loss,
            lambda count, learning: (),
            tuple(t[: len(t) - held] for t in pieces),
            tuple(t[len(t) - held :] for t in pieces) if held else None,
            BATCH,
            RATE,
            EPOCHS,
            work=REACH
            * (LAYERS * (8 * WIDTH * WIDTH + 2 * REACH * WIDTH) + width * WIDTH * (NARROW + width) + heads.work()),
            steps=-(-LEAST_STEPS // EPOCHS),
            patience=PATIENCE,
        )
        learnt = train(torch, generator, learner, effort, "sequence-transformer")
    p = learnt.parameters
    start = np.quantile(read.starts, np.linspace(0, 1, min(len(read.starts), 101)))
    blocks = {k[6:]: v for k, v in p.items() if k.startswith("block.")}
    last, longest = p["last"].copy(), int(min(read.lengths.max(), STEPS))
    if len(read.lengths) == 1:
        # of one series nothing says how long another is: as long, on average
        last[:-1], last[-1] = 0.0, np.log(1 / max(longest - 1, 1))
    return Sequence(
        read.entity, read.time, read.order, heads.heads(dict(p)), start, p["begin"], blocks, p["second"], p["shift"], last, longest, learnt
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
