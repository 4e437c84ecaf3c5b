"""How what a network has for each column is learnt: see `heads.py`. Needs torch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...stream import Stream
from ...tables import Table
from ..statistical.grow import encode
from .cells import LISTED, Cells, depth_of
from .engine import host
from .heads import SHAPES, UNSEEN, WAVES, Heads, drawing_order, fine_columns, waves
from .learnt import Effort
from .transfer import carried, classes_before, columns_before

COARSE = (4, 16)
"""So many neighbouring classes of a number share numbers of the network as well, so that what one teaches holds for those beside it."""


ROWS = 500_000
"""Rows that are learnt from at most; the marginals see every row."""
HALF_WAVE = 64
"""Rows that half a wave holds at least: what a faster one says of a number would be learnt by heart."""
HELD = 0.1
"""The share of rows that say when to stop."""
NEAR, ALIKE = 0.7, 2.0
"""Standard deviations, in classes: of how far a value of few rows speaks for its neighbours (Imani and White 2018, arXiv:1806.04613), and of how far neighbours mean the same."""


def read_rows(table: Table, stream: Stream, start: Heads | None = None) -> tuple[list[Cells], NDArray, NDArray]:
    """The cells of a table's columns, as fine as those of the heads to start from if there are any, and the classes and cells of its rows in an order that chance names, each of shape (rows, columns). Raises UserError for
    an empty table, or for a column of a type that cannot be learnt."""
    marginals, codes = encode(table)
    depth = depth_of(len(codes[0])) if start is None else start.depth
    cells = [Cells.of(m, depth) for m in marginals]
    told = [c.of_codes(x) for c, x in zip(cells, codes, strict=True)]
    order = np.argsort(stream.child("rows").bits(np.arange(len(codes[0]))), kind="stable")[:ROWS]
    states, places = (np.stack([t[k] for t in told], axis=1)[order] for k in (0, 1))
    return cells, states, places


def waves_kept(effort: Effort) -> int | None:
    """How many waves a network goes on with: all, however few the rows, or as many as that had which was broken off. None for one that begins anew."""
    if effort.start is None:
        return None
    return effort.start.learnt.parameters["wave"].shape[1] // 2 if effort.resume else WAVES


def split_rows(torch: Any, *parts: NDArray) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
    """Rows to learn from, and rows to judge by."""
    held = int(len(parts[0]) * HELD)
    return tuple(torch.tensor(x[held:]) for x in parts), tuple(torch.tensor(x[:held]) for x in parts)


def private_rows(torch: Any, table: Table, cells: Sequence[Cells]) -> tuple[Any, ...]:
    """The classes and cells of rows, by distributions that were bought."""
    told = [c.of_values(table[c.marginal.name]) for c in cells]
    return tuple(torch.tensor(np.stack([t[k] for t in told], axis=1)) for k in (0, 1))


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
    groups: list[tuple[Any, int]]
    """For each width in `COARSE`, the group of each class, and how many there are; a category is a group of its own."""
    rank: Any
    """The place of each column in the order of drawing."""
    fine: dict[int, int]
    begins: Any
    """Where the cells of each class begin among all."""
    waves: Any
    """The waves of each cell that are slow enough to be learnt."""
    slow: Any
    """Which these are."""
    near: dict[int, tuple[Any, Any]]
    """Of numbers in classes without cells: for how much of each class a value of a class speaks, and how much of what each class means it means; shape (classes, classes)."""

    @staticmethod
    def of(
        torch: Any,
        generator: Any,
        cells: Sequence[Cells],
        hidden: int,
        units: int,
        states: NDArray | None,
        kept: int | None = None,
    ) -> LearntHeads:
        """`states`: the classes of rows; what none of them has will not come. None where rows must not be looked at. `kept`: so many waves are learnt, whatever the rows; see `waves_kept`."""
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
            start = np.cumsum([0, *(int(g.max()) + 1 for g in own)])
            whole = np.concatenate([g + s for g, s in zip(own, start[:-1], strict=True)])
            groups.append((torch.tensor(whole), int(start[-1])))
        depths = np.concatenate([c.depths for c in cells])
        slow = np.arange(WAVES) < (WAVES if kept is None else kept)
        if states is not None and kept is None:
            slow = 2.0 ** np.arange(WAVES) * HALF_WAVE <= max(len(states), HALF_WAVE)
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
            torch.tensor(np.cumsum(np.concatenate(([0], depths)))[:-1]),
            torch.tensor(np.concatenate([waves(c) for c in cells])[:, np.tile(slow, 2)]),
            torch.tensor(np.flatnonzero(np.tile(slow, 2))),
            {
                n: (torch.tensor(_near(c, NEAR)), torch.tensor(_near(c, ALIKE)))
                for n, c in enumerate(cells)
                if c.depth == 1 and c.marginal.pieces > LISTED and c.marginal.categories is None
            },
        )

    def begun(self) -> dict[str, Any]:
        torch, width, total, depth = self.torch, len(self.cells), len(self.seen), self.real.shape[1]

        def normal(*shape: int, scale: float) -> Any:
            return torch.randn(*shape, generator=self.generator) * scale

        parts = {
            "known": normal(total, self.hidden, scale=width**-0.5),
            "place": normal(len(self.fine), depth, self.hidden, scale=0.1 * width**-0.5),
            "wave": normal(len(self.fine), len(self.slow), self.hidden, scale=0.4 * width**-0.5),
            "out": normal(total, self.units, scale=self.units**-0.5),
            "score": torch.where(self.seen, 0.0, float(UNSEEN)),
            "own": normal(total, self.units, scale=0.5),
            "out_fine": normal(len(self.fine), depth, self.units, scale=self.units**-0.5),
            "score_fine": torch.where(self.real, 0.0, float(UNSEEN)),
        }
        for n, (_, count) in enumerate(self.groups):
            parts[f"known.{n}"] = normal(count, self.hidden, scale=width**-0.5)
            parts[f"out.{n}"] = normal(count, self.units, scale=self.units**-0.5)
        return parts

    def whole(self, p: dict[str, Any]) -> dict[str, Any]:
        """The parts of `Heads`, with what groups share added to each class."""
        made = {k: p[k] for k in SHAPES}
        made["wave"] = self.torch.zeros(len(self.fine), 2 * WAVES, self.hidden).index_copy(1, self.slow, p["wave"])
        for n, (group, _) in enumerate(self.groups):
            made["known"] = made["known"] + p[f"known.{n}"][group]
            made["out"] = made["out"] + p[f"out.{n}"][group]
        if self.near:
            own = list(made["known"].split([c.count for c in self.cells]))
            for n, (_, alike) in self.near.items():
                own[n] = alike @ own[n]
            made["known"] = self.torch.cat(own)
        return made

    def heads(self, p: dict[str, Any]) -> Heads:
        whole = self.whole({k: self.torch.tensor(v) for k, v in p.items()})
        return Heads(tuple(self.cells), **{k: host(t).astype(np.float32) for k, t in whole.items()})

    def meaning(self, w: dict[str, Any], states: Any, places: Any) -> Any:
        """What the values of rows mean, shape (..., columns, H); `states` and `places`: classes and cells, shape (..., columns)."""
        torch = self.torch
        made = torch.nn.functional.embedding(states + self.offsets, w["known"])
        if not self.fine:
            return made
        fine = list(self.fine)
        inner = w["place"].flatten(0, 1)[places[..., fine] + torch.arange(len(fine)) * self.real.shape[1]]
        at = self.begins[(states + self.offsets)[..., fine]] + places[..., fine]
        inner = inner + torch.einsum("...fp,fph->...fh", self.waves[at], w["wave"][:, self.slow])
        return made.index_add(made.ndim - 2, torch.tensor(fine), inner)

    def loss(self, w: dict[str, Any], units: Any, states: Any, places: Any) -> Any:
        """For each row the sum over columns of minus the log of the chance of what is there. `units`: shape (columns, rows, W), not rectified yet."""
        torch, functional = self.torch, self.torch.nn.functional
        narrow, at = torch.relu(units), states + self.offsets
        loss = torch.zeros(states.shape[0])
        begin = 0
        for n, cell in enumerate(self.cells):
            part = slice(begin, begin := begin + cell.count)
            scores = narrow[n] @ w["out"][part].T + w["score"][part]
            told = self.near[n][0][states[:, n]] if n in self.near else states[:, n]
            loss = loss + functional.cross_entropy(scores, told, reduction="none")
            if n in self.fine:
                inner = torch.relu(units[n] + w["own"][at[:, n]])
                scores = inner @ w["out_fine"][self.fine[n]].T + w["score_fine"][at[:, n]]
                loss = loss + functional.cross_entropy(scores, places[:, n], reduction="none")
        return loss

    def orders(self, count: int, own: float) -> Any:
        """For each row its columns' places in an order: this share of rows in that of drawing; in the others some columns, few more often than many, come before,
        as those that are given do."""
        torch, g, width = self.torch, self.generator, len(self.cells)
        often = 1.0 / torch.arange(1, max(width, 2))
        first = 1 + torch.multinomial(often, count, replacement=True, generator=g)
        first = torch.where(torch.rand(count, generator=g) < own, 0, first)
        given = torch.rand(count, width, generator=g).argsort(dim=1) < first[:, None]
        return torch.where(given, self.rank, self.rank + width).argsort(dim=1).argsort(dim=1)

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
            "P": host(self.slow),
        }
        made = {k: t * 0 if k.startswith(("known.", "out.")) else t for k, t in begun.items()}
        for name, letters in SHAPES.items():
            old = getattr(start, name)
            made[name] = self.torch.tensor(carried(name, old, host(begun[name]), tuple(axes[x] for x in letters)))
        for name, there in (("score", self.seen), ("score_fine", self.real)):
            known = self.torch.where(made[name] < UNSEEN / 2, 0.0, made[name])
            made[name] = self.torch.where(there, known, float(UNSEEN))
        return made, columns

    def work(self) -> float:
        """Multiplications that the scores of a row take."""
        return float(self.units * (len(self.seen) + self.real.shape[1] * len(self.fine)))


def _near(cells: Cells, width: float) -> NDArray[np.float32]:
    """For how much of each class a value of each class speaks, by a kernel so many classes wide."""
    k = np.arange(cells.count)
    weight = np.exp(-0.5 * ((k[:, None] - k) / width) ** 2) * ~(cells.alone | cells.alone[:, None])
    weight[cells.alone, cells.alone] = 1.0
    return (weight / weight.sum(axis=1, keepdims=True)).astype(np.float32)
