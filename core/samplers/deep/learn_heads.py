"""How what a network has for each column is learnt: see `heads.py`. Needs torch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .cells import Cells
from .heads import SHAPES, UNSEEN, Heads, drawing_order, fine_columns
from .transfer import carried, classes_before, columns_before

COARSE = (4, 16)
"""So many neighbouring classes of a number share numbers of the network as well, so that what one teaches holds for those beside it."""


@dataclass(frozen=True)
class LearntHeads:
    torch: Any
    generator: Any
    cells: Sequence[Cells]
    hidden: int
    units: int
    offsets: Any
    seen: Any
    """Which classes may come."""
    real: Any
    """Which cells each class has, shape (classes, cells)."""
    groups: list[Any]
    """For each width in `COARSE`, the group of each class; a category is a group of its own."""
    rank: Any
    """The place of each column in the order of drawing."""
    fine: dict[int, int]

    @staticmethod
    def of(
        torch: Any, generator: Any, cells: Sequence[Cells], hidden: int, units: int, states: NDArray | None
    ) -> LearntHeads:
        """`states`: the classes of rows; what none of them has will not come. None where rows must not be looked at."""
        sizes = [c.count for c in cells]
        groups = []
        for width in COARSE:
            # class 0 is what is missing, and no neighbour of the least value
            own = [
                np.where(
                    np.arange(c.count) > 0,
                    1 + (np.arange(c.count) - 1) // (width if c.marginal.categories is None else 1),
                    0,
                )
                for c in cells
            ]
            start = np.cumsum([0, *(int(g.max()) + 1 for g in own[:-1])])
            groups.append(torch.tensor(np.concatenate([g + s for g, s in zip(own, start, strict=True)])))
        depths = np.concatenate([c.depths for c in cells])
        seen = np.ones(sum(sizes), bool)
        if states is not None:
            seen = np.concatenate([np.bincount(s, minlength=k) > 0 for s, k in zip(states.T, sizes, strict=True)])
        return LearntHeads(
            torch,
            generator,
            cells,
            hidden,
            units,
            torch.tensor(np.concatenate(([0], np.cumsum(sizes)[:-1]))),
            torch.tensor(seen),
            torch.tensor(np.arange(depths.max()) < depths[:, None]),
            groups,
            torch.tensor(np.argsort(drawing_order(cells))),
            fine_columns(cells),
        )

    def begun(self) -> dict[str, Any]:
        torch, width, total, depth = self.torch, len(self.cells), len(self.seen), self.real.shape[1]

        def normal(*shape: int, scale: float) -> Any:
            return torch.randn(*shape, generator=self.generator) * scale

        parts = {
            "known": normal(total, self.hidden, scale=width**-0.5),
            "place": normal(len(self.fine), depth, self.hidden, scale=0.1 * width**-0.5),
            "out": normal(total, self.units, scale=self.units**-0.5),
            "score": torch.where(self.seen, 0.0, float(UNSEEN)),
            "own": normal(total, self.units, scale=0.5),
            "out_fine": normal(len(self.fine), depth, self.units, scale=self.units**-0.5),
            "score_fine": torch.where(self.real, 0.0, float(UNSEEN)),
        }
        for n, group in enumerate(self.groups):
            count = int(group.max()) + 1
            parts[f"known.{n}"] = normal(count, self.hidden, scale=width**-0.5)
            parts[f"out.{n}"] = normal(count, self.units, scale=self.units**-0.5)
        return parts

    def whole(self, p: dict[str, Any]) -> dict[str, Any]:
        """The parts of `Heads`, with what groups share added to each class."""
        made = {k: p[k] for k in SHAPES}
        for n, group in enumerate(self.groups):
            made["known"] = made["known"] + p[f"known.{n}"][group]
            made["out"] = made["out"] + p[f"out.{n}"][group]
        return made

    def heads(self, p: dict[str, Any]) -> Heads:
        whole = self.whole({k: self.torch.tensor(v) for k, v in p.items()})
        return Heads(tuple(self.cells), **{k: t.numpy().astype(np.float32) for k, t in whole.items()})

    def meaning(self, w: dict[str, Any], states: Any, places: Any) -> Any:
        """What the values of rows mean, shape (..., columns, H); `states` and `places`: classes and cells, shape (..., columns)."""
        torch = self.torch
        made = torch.nn.functional.embedding(states + self.offsets, w["known"])
        if not self.fine:
            return made
        fine = list(self.fine)
        inner = w["place"].flatten(0, 1)[places[..., fine] + torch.arange(len(fine)) * self.real.shape[1]]
        return made.index_add(made.ndim - 2, torch.tensor(fine), inner)

    def loss(self, w: dict[str, Any], units: Any, states: Any, places: Any) -> Any:
        """For each row the sum over columns of minus the log of the chance of what is there. `units`: shape (columns, rows, W), not rectified yet."""
        torch, functional = self.torch, self.torch.nn.functional
        narrow, at = torch.relu(units), states + self.offsets
        loss = torch.zeros(states.shape[0])
        for n, cell in enumerate(self.cells):
            part = slice(int(self.offsets[n]), int(self.offsets[n]) + cell.count)
            scores = narrow[n] @ w["out"][part].T + w["score"][part]
            loss = loss + functional.cross_entropy(scores, states[:, n], reduction="none")
            if n in self.fine:
                inner = torch.relu(units[n] + w["own"][at[:, n]])
                scores = inner @ w["out_fine"][self.fine[n]].T + w["score_fine"][at[:, n]]
                loss = loss + functional.cross_entropy(scores, places[:, n], reduction="none")
        return loss

    def orders(self, count: int, own: float) -> Any:
        """For each row its columns' places in an order: this share of rows in that of drawing, the others in any."""
        torch = self.torch
        place = torch.rand(count, len(self.cells), generator=self.generator).argsort(dim=1)
        return torch.where(torch.rand(count, 1, generator=self.generator) < own, self.rank, place)

    def continued(self, begun: dict[str, Any], start: Heads) -> tuple[dict[str, Any], NDArray[np.int64]]:
        """`begun` with what `start` knows, what groups share being in each class's own numbers; and the place of each column before, -1 where it was not."""
        columns = columns_before(tuple(c.marginal for c in start.cells), tuple(c.marginal for c in self.cells))
        classes, fine = [], []
        for n, before in enumerate(columns):
            found = (
                classes_before(start.cells[before], self.cells[n]) if before >= 0 else np.full(self.cells[n].count, -1)
            )
            classes.append(np.where(found >= 0, found + start.offsets[max(before, 0)], -1))
            if n in self.fine:
                fine.append(start.fine.get(int(before), -1))
        depth, former = self.real.shape[1], start.out_fine.shape[1]
        axes = {
            "C": np.concatenate(classes).astype(np.int64),
            "F": np.array(fine, np.int64),
            "E": np.where(np.arange(depth) < former, np.arange(depth), -1),
            "H": None,
            "W": None,
        }
        made = {k: t * 0 if k.startswith(("known.", "out.")) else t for k, t in begun.items()}
        for name, letters in SHAPES.items():
            old = getattr(start, name)
            made[name] = self.torch.tensor(carried(name, old, begun[name].numpy(), tuple(axes[x] for x in letters)))
        for name, there in (("score", self.seen), ("score_fine", self.real)):
            known = self.torch.where(made[name] < UNSEEN / 2, 0.0, made[name])
            made[name] = self.torch.where(there, known, float(UNSEEN))
        return made, columns

    def work(self) -> float:
        """Multiplications that the scores of a row take."""
        return float(self.units * (len(self.seen) + self.real.shape[1] * len(self.fine)))
