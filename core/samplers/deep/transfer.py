"""Going on from a network that was learnt before, on rows of another table: what its columns and classes have in common is carried over, by name and value."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...errors import UserError
from ..statistical.forest import Classes
from ..statistical.marginal import Marginal
from .cells import Cells
from .engine import host
from .learnt import Effort
from .modes import Layout, Modes, Ranks

I64 = NDArray[np.int64]
Maps = Mapping[str, tuple[I64 | None, ...]]
"""For each parameter that hangs on the columns and each of its axes, where each place was before, -1 where it was not; None for an axis that stays."""


def continued(torch: Any, begun: dict[str, Any], effort: Effort, maps: Callable[[Any], Maps]) -> dict[str, Any]:
    """The parameters to begin with: those begun, or those of `effort.start`. Raises UserError for a start of other sizes."""
    if effort.start is None or effort.resume:
        return begun
    held, moved = effort.start.learnt.parameters, maps(effort.start)
    made = {}
    for name, fresh in begun.items():
        if name not in held:
            made[name] = fresh
            continue
        made[name] = torch.tensor(carried(name, held[name], host(fresh), moved.get(name, (None,) * fresh.ndim)))
    return made


def carried(name: str, old: NDArray, fresh: NDArray, maps: tuple[I64 | None, ...]) -> NDArray:
    """`fresh` with what `old` has of it in its place."""
    maps = (*maps, *(None,) * (fresh.ndim - len(maps)))
    index = []
    for axis, found in enumerate(maps):
        if found is None and old.shape[axis] != fresh.shape[axis]:
            raise UserError(
                f"the model to start from has a network of another size: '{name}' is {old.shape}, not {fresh.shape}"
            )
        index.append(np.arange(fresh.shape[axis]) if found is None else found)
    made = fresh.copy()
    kept = [np.flatnonzero(i >= 0) for i in index]
    made[np.ix_(*kept)] = old[np.ix_(*(i[k] for i, k in zip(index, kept, strict=True)))]
    return made


def columns_before(old: tuple[Marginal, ...], new: tuple[Marginal, ...]) -> I64:
    """The place among `old` of each column that has the name and the kind of one there; -1 for the others."""
    place = {m.name: n for n, m in enumerate(old)}
    found = [place.get(m.name, -1) for m in new]
    same = [n >= 0 and (old[n].categories is None) == (m.categories is None) for n, m in zip(found, new, strict=True)]
    return np.where(same, found, -1).astype(np.int64)


def classes_before(old: Cells, new: Cells) -> I64:
    """The class of `old` in which the middle of each class of `new` lies; -1 for categories that it never saw."""
    return _classes_before(old.marginal, old.classes, new.marginal, new.classes)


def layout_before(old: Layout, new: Layout) -> tuple[I64, I64]:
    """Where each place of a vector was, and each scaled column's number among those; -1 where it was not."""
    segments: list[I64] = []
    scaled = []
    for n, before in enumerate(columns_before(old.marginals, new.marginals)):
        one, two = new.scales[n], old.scales[before] if before >= 0 else None
        if before < 0 or (one is None) != (two is None):
            found = np.full(new.sizes[n], -1)
        elif one is None:
            found = _listed(old, new, before, n)
        elif isinstance(one, Modes) and isinstance(two, Modes):
            nearest = np.abs(one.found[0][:, None] - two.found[0]).argmin(axis=1)
            found = np.concatenate(([0], nearest + 1))
        elif isinstance(one, Ranks) and isinstance(two, Ranks):
            values = {v: k for k, v in enumerate(old.marginals[before].left[two.spikes].tolist())}
            spikes = [values.get(v, -3) + 2 for v in new.marginals[n].left[one.spikes].tolist()]
            found = np.array([0, 1, *spikes])
        else:
            found = np.arange(2)
        segments.append(np.where(found >= 0, found + old.offsets[max(before, 0)], -1))
        if one is not None:
            scaled.append(old.scaled.index(int(before)) if before >= 0 and two is not None else -1)
    places = np.array(scaled, np.int64)
    ends = np.where(places >= 0, places + old.offsets[-1], -1)
    return np.concatenate([*segments, ends]).astype(np.int64), places


def _listed(old: Layout, new: Layout, before: int, n: int) -> I64:
    classes, former = new.classes[n], old.classes[before]
    assert classes is not None
    assert former is not None
    return _classes_before(old.marginals[before], former, new.marginals[n], classes)


def _classes_before(old: Marginal, former: Classes, new: Marginal, classes: Classes) -> I64:
    if not new.pieces or not old.pieces:
        return np.where(np.arange(len(classes.last)) == 0, 0, -1)
    middle = (classes.last[:-1] + 1 + classes.last[1:]) // 2
    piece, _, known = old.locate(new.values(middle, np.full(len(middle), 0.5)))
    return np.concatenate(([0], np.where(known, former.of_codes(piece), -1)))
