"""How the autoregressive network is learnt: from rows of which some columns are hidden, it foretells those. Needs torch, `populace[deep]`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...stream import Stream
from ...tables import Table
from ..statistical.forest import Classes
from ..statistical.grow import encode
from .autoregressive import CLASSES, UNSEEN, Autoregressive, Weights
from .engine import deterministic, torch_or_error

HIDDEN, NARROW = 256, 64
BATCHES = (256, 512)
"""Rows of a step, at least and at most; between, so many that a pass has about 40 steps."""
RATE = 2e-3
EPOCHS = 100
COARSE = (4, 16)
"""So many neighbouring classes of a number share numbers of the network as well, so that what one teaches holds for those beside it."""
ROWS = 500_000
"""Rows that are learnt from at most; the marginals see every row."""
HELD = 0.1
"""The share of rows that say when to stop."""
DROPPED, SMALL = 0.25, 10_000
"""The share of hidden units that a step leaves out where rows are fewer than so many (Srivastava et al. 2014, JMLR 15): more rows need no such
help, and are learnt better and sooner without (support2 0.892 against 0.916 by C2ST, credit_default 0.789 against 0.733)."""
PATIENCE = 10
FEWEST_STEPS = 40
"""Steps of a pass over the rows at least: a small table is passed over more than once."""
IN_ORDER = 0.5
"""The share of rows that practise the order in which whole rows are drawn; the others practise any."""


def fit_autoregressive(table: Table, stream: Stream, epochs: int = EPOCHS) -> Autoregressive:
    """Learn a table in at most so many passes over it; fewer, where rows held out are no longer foretold better.

    Raises UserError without torch, for an empty table, or for a column of a type that cannot be learnt.
    """
    torch = torch_or_error("autoregressive")
    marginals, codes = encode(table)
    classes = [Classes.of(m, CLASSES) for m in marginals]
    states = np.stack([c.of_codes(x) for c, x in zip(classes, codes, strict=True)], axis=1)
    order = np.argsort(stream.child("rows").bits(np.arange(len(states))), kind="stable")[:ROWS]
    held = int(len(order) * HELD)
    with deterministic(torch, stream.child("network")) as generator:
        layout = _Layout.of(torch, classes, [m.categories is None for m in marginals], states)
        weights = _trained(torch, generator, states[order[held:]], states[order[:held]], layout, epochs)
    return Autoregressive(marginals, weights)


@dataclass(frozen=True)
class _Layout:
    """Where columns' classes stand among all."""

    sizes: list[int]
    offsets: Any
    seen: NDArray[np.bool_]
    groups: list[Any]
    """For each width in `COARSE`, the group of each class; a category is a group of its own."""

    @staticmethod
    def of(torch: Any, classes: Sequence[Classes], ordered: Sequence[bool], states: NDArray) -> _Layout:
        sizes = [len(c.last) for c in classes]
        seen = np.concatenate([np.bincount(s, minlength=k) > 0 for s, k in zip(states.T, sizes, strict=True)])
        groups = []
        for width in COARSE:
            # class 0 is what is missing, and no neighbour of the least value
            own = [
                np.where(np.arange(k) > 0, 1 + (np.arange(k) - 1) // (width if o else 1), 0)
                for k, o in zip(sizes, ordered, strict=True)
            ]
            start = np.cumsum([0, *(int(g.max()) + 1 for g in own[:-1])])
            groups.append(torch.tensor(np.concatenate([g + s for g, s in zip(own, start, strict=True)])))
        return _Layout(sizes, torch.tensor(np.concatenate(([0], np.cumsum(sizes)[:-1]))), seen, groups)


def _trained(torch: Any, generator: Any, train: NDArray, held: NDArray, layout: _Layout, epochs: int) -> Weights:
    p = _begun(torch, generator, layout)
    optimiser = torch.optim.Adam([t.requires_grad_() for t in p.values()], RATE)
    slower = torch.optim.lr_scheduler.ReduceLROnPlateau(optimiser, factor=0.5, patience=2)
    rows, judged = torch.tensor(train), torch.tensor(held if len(held) else train)
    hide = _hidden(torch, len(judged), len(layout.sizes), generator)
    size = int(np.clip(len(rows) // 40, *BATCHES))
    passes = max(1, FEWEST_STEPS * size // len(rows))
    dropping = generator if len(rows) < SMALL else None
    best, kept, waited = np.inf, _whole(p, layout), 0
    for _ in range(epochs):
        shuffled = torch.cat([torch.randperm(len(rows), generator=generator) for _ in range(passes)])
        for start in range(0, len(shuffled), size):
            batch = rows[shuffled[start : start + size]]
            hidden = _hidden(torch, len(batch), len(layout.sizes), generator)
            optimiser.zero_grad()
            _loss(torch, _whole(p, layout), batch, hidden, layout, dropping).backward()
            optimiser.step()
        with torch.no_grad():
            now = _whole(p, layout)
            parts = [
                _loss(torch, now, judged[s : s + 4096], hide[s : s + 4096], layout).item() * len(judged[s : s + 4096])
                for s in range(0, len(judged), 4096)
            ]
        loss = sum(parts) / len(judged)
        slower.step(loss)
        waited += 1
        if loss < best - 1e-4:
            best, kept, waited = loss, {k: t.detach().clone() for k, t in now.items()}, 0
        if waited == PATIENCE:
            break
    arrays = {k: t.detach().numpy().astype(np.float32) for k, t in kept.items()}
    arrays["score"] = np.where(layout.seen, arrays["score"], UNSEEN)
    return Weights(**arrays)


def _begun(torch: Any, generator: Any, layout: _Layout) -> dict[str, Any]:
    width, total = len(layout.sizes), sum(layout.sizes)

    def normal(*shape: int, scale: float) -> Any:
        return torch.randn(*shape, generator=generator) * scale

    parts = {
        "known": normal(total, HIDDEN, scale=width**-0.5),
        "first": torch.zeros(HIDDEN),
        "second": normal(width, HIDDEN, NARROW, scale=(2.0 / HIDDEN) ** 0.5),
        "shift": torch.zeros(width, NARROW),
        "out": normal(total, NARROW, scale=NARROW**-0.5),
        "score": torch.where(torch.tensor(layout.seen), 0.0, float(UNSEEN)),
    }
    for n, group in enumerate(layout.groups):
        count = int(group.max()) + 1
        parts[f"known.{n}"] = normal(count, HIDDEN, scale=width**-0.5)
        parts[f"out.{n}"] = normal(count, NARROW, scale=NARROW**-0.5)
    return parts


def _whole(p: dict[str, Any], layout: _Layout) -> dict[str, Any]:
    """The weights with what groups share added to each class."""
    made = {k: t for k, t in p.items() if "." not in k}
    for n, group in enumerate(layout.groups):
        made["known"] = made["known"] + p[f"known.{n}"][group]
        made["out"] = made["out"] + p[f"out.{n}"][group]
    return made


def _hidden(torch: Any, count: int, width: int, generator: Any) -> Any:
    """Which columns of each row are to be foretold: those after a place anywhere in an order, the columns' own or any. At least one."""
    place = torch.rand(count, width, generator=generator).argsort(dim=1)
    own = torch.rand(count, 1, generator=generator) < IN_ORDER
    place = torch.where(own, torch.arange(width), place)
    return place >= torch.randint(0, width, (count, 1), generator=generator)


def _loss(torch: Any, p: dict[str, Any], rows: Any, hide: Any, layout: _Layout, generator: Any = None) -> Any:
    """The mean over rows of the mean over hidden columns of minus the log of the chance that the network gave to what is there; with a
    generator, of a network some of whose units are left out."""
    functional = torch.nn.functional
    inside = functional.embedding_bag(rows + layout.offsets, p["known"], mode="sum", per_sample_weights=(~hide).float())
    hidden = torch.relu(inside + p["first"])
    if generator is not None:
        hidden = hidden * (torch.rand(hidden.shape, generator=generator) >= DROPPED) / (1 - DROPPED)
    narrow = torch.relu(torch.einsum("bh,chw->cbw", hidden, p["second"]) + p["shift"][:, None, :])
    share = hide.float() / hide.sum(dim=1, keepdim=True)
    loss, start = 0.0, 0
    for n, size in enumerate(layout.sizes):
        scores = narrow[n] @ p["out"][start : start + size].T + p["score"][start : start + size]
        loss = loss + (functional.cross_entropy(scores, rows[:, n], reduction="none") * share[:, n]).sum()
        start += size
    return loss / len(rows)
