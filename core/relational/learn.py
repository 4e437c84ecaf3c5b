"""How a database is learnt: for each table a model of its rows given their owner's row and the sibling before, and one of those that come first."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import polars as pl

from ..choose_model import choose
from ..errors import unknown
from ..evaluate.links import Link
from ..model_kinds import MODELS, ModelKind, learn_kept
from ..parts import asked_to_stop, break_off, half, part, within
from ..progress import Progress
from ..samplers.deep.learnt import Effort
from ..samplers.statistical.forest import Classes, code_of
from ..samplers.statistical.marginal import fit_marginal
from ..stream import Stream
from ..tables import Table
from .database import POSITION, Learnt, LearntDatabase, Part
from .shape import I64, Named, Reference, TableShape, count_name, places, shapes_of
from .steps import BEFORE, UP, find_steps

CONTEXT = 12
"""Columns of owners and siblings that a table's rows hang on at most: those that tell most."""
KIND = 6
"""Columns that say what kind of row is referred to, at most."""
TOLD = 0.002
"""The least that a column must tell about another, in nats, beyond what chance would."""
FEW, FEW_TREES = 30, 4
"""From so many rows on, small tables of children are learnt by so many trees a column."""
ORDER = 0.01
"""Nats that siblings must tell of one another beyond their owner, for rows without a time to be drawn in order."""
SIBLINGS = 50
"""With more siblings than this, only a time puts them in order."""
_SCREENED = 20_000
_SAME = 0.02
_BINS = 12


def fit_database(
    tables: Named,
    links: Sequence[Link],
    stream: Stream,
    model: str = "auto",
    seconds: float | None = None,
    keep: Sequence[str] = (),
    times: Mapping[str, str] | None = None,
    target: tuple[str, str] | None = None,
) -> LearntDatabase:
    """Learn tables that refer to one another, each with the named model of one table. Raises UserError for references that do not hold, and for a
    model that is private or not of one table."""
    if model != "auto" and (MODELS[model].private or MODELS[model].shape != "one table"):
        fits = [n for n, k in MODELS.items() if not k.private and k.shape == "one table"]
        raise unknown("model for each table of several", model, ("auto", *fits), "--model")
    shapes = shapes_of(tables, links, keep, times or {})
    ordered = {s.name: _sorted(tables[s.name], s, tables) for s in shapes}
    at = {link: places(ordered[link.child], link, ordered[link.parent]) for link in links}
    features: dict[str, Table] = {}
    work = _Work(model, seconds, sum(_size(s) for s in shapes))
    made = []
    with Progress("fitting tables", len(shapes), unit="table") as progress:
        for shape in shapes:
            wanted = target[1] if target and target[0] == shape.name else None
            with within(shape.name):
                made.append(
                    _table(shape, ordered, at, links, features, stream.child("table", shape.name), work, wanted)
                )
            progress.step()
    return LearntDatabase(tuple(made))


class _Work:
    """Which model for each table, within its share of the time."""

    def __init__(self, model: str, seconds: float | None, size: float) -> None:
        self.model, self.seconds, self.size = model, seconds, size

    def learn(self, table: Table, given: int, stream: Stream, target: str | None) -> tuple[str, Any]:
        share = None if self.seconds is None else max(self.seconds * table.height * table.width / self.size, 0.05)
        settings: dict[str, Any] = {}
        if self.model == "auto":
            choice = choose(table, share)
            name, settings = choice.name, dict(choice.settings)
            if given and name == "gaussian-copula" and table.height >= FEW:
                # trees draw quickly whatever is told, a copula does not
                name, settings = "forest", {"trees": FEW_TREES}
        else:
            name = self.model
        kind = MODELS[name]
        if kind.given:
            settings["given"] = given
        if kind.target and target:
            settings["target"] = target
        if kind.trained:
            return name, _network(kind, table, stream.child(name), share, settings)
        return name, learn_kept(kind, table, stream.child(name), **settings)


def _network(kind: ModelKind, table: Table, stream: Stream, seconds: float | None, settings: Mapping[str, Any]) -> Any:
    """A network as a part: broken off, it is kept as it stands, and learns on from there."""
    fresh: list[Any] = []

    def learn() -> Any:
        held = half("standing")
        start = None if held is None else kind.rebuild(*held)
        made = kind.learn(table, stream, Effort(None, seconds, start, start is not None), **settings)
        if asked_to_stop() and made.learnt.unfinished:
            break_off("standing", made.state())
        fresh.append(made)
        return made.state()

    held = part(kind.name, learn)
    return fresh[0] if fresh else kind.rebuild(*held)


def _size(shape: TableShape) -> float:
    return shape.rows * (len(shape.learnt) + CONTEXT + 2) * (1.5 if shape.owner else 1.0)


def _sorted(frame: Table, shape: TableShape, tables: Named) -> Table:
    """The rows of one owner together, in order of time, or as they stood."""
    if shape.owner is None:
        return frame
    owner = pl.Series("↑ owner", places(frame, shape.owner, tables[shape.owner.parent]))
    by = ["↑ owner", *([shape.time] if shape.time else [])]
    return frame.with_columns(owner).sort(by, maintain_order=True).drop("↑ owner")


def _table(
    shape: TableShape,
    tables: Named,
    at: Mapping[Link, I64],
    links: Sequence[Link],
    features: dict[str, Table],
    stream: Stream,
    work: _Work,
    target: str | None,
) -> Learnt:
    frame = tables[shape.name]
    counts = [
        pl.Series(count_name(k), np.bincount(at[k][at[k] >= 0], minlength=frame.height)) for k in links if k.parent == shape.name
    ]  # fmt: skip
    own = pl.DataFrame([*(frame[c] for c in shape.learnt), *counts])
    position = np.arange(frame.height)
    context = pl.DataFrame()
    if shape.owner:
        owner = at[shape.owner]
        order = np.argsort(owner, kind="stable")
        # places were taken from the sorted parents: children need not stand in their order
        new = np.concatenate(([True], np.diff(owner[order]) != 0))
        rank = np.arange(len(order)) - np.maximum.accumulate(np.where(new, np.arange(len(order)), 0))
        position[order] = rank
        theirs = features[shape.owner.parent]
        context = theirs.rename({c: UP + c for c in theirs.columns})[owner]
        count = UP + count_name(shape.owner)
        # what others name is of no use to a child; how many siblings it has is
        context = context.select(count, *(c for c in context.columns if c != count))
    beside = (
        pl.concat([own.select(shape.learnt), context], how="horizontal")
        if shape.learnt and context.width
        else own.select(shape.learnt)
        if shape.learnt
        else context
    )
    asked = [_asked(r, at[r.link], beside, features, position, shape) for r in shape.references]
    kinds = {r.name: tuple(c.partition(">")[2] for c in a.columns if c.startswith(f"{r.name}>")) for r, a in zip(shape.references, asked, strict=True)}  # fmt: skip
    wide = pl.concat([*asked, own], how="horizontal") if asked else own
    first, later = position == 0, position > 0
    parts = []
    followed = _followed(shape, own, context, position)
    for name, rows in (("first", first), ("later", later)) if followed else (("first", np.ones(len(frame), bool)),):
        given, made = (
            context.filter(pl.Series(rows)) if context.width else context,
            wide.filter(pl.Series(rows)) if wide.width else wide,
        )
        if name == "later":
            at_row = np.flatnonzero(rows)
            # siblings stand together
            before = own.select(shape.learnt)[at_row - 1]
            given = pl.concat([given, before.rename({c: BEFORE + c for c in before.columns})], how="horizontal")
            given = given.with_columns(pl.Series(POSITION, position[at_row]))
        else:
            same = [c for c in made.columns if c.endswith("=")]
            made = made.drop(same)
        with within(name):
            parts.append(_part(given, made, shape, stream.child(name), work, target))
    features[shape.name] = pl.concat([own, context.select(c for c in context.columns if not c.startswith(UP + "#"))], how="horizontal")  # fmt: skip
    return Learnt(shape, tuple(c.name for c in counts), kinds, parts[0], parts[1] if len(parts) > 1 else None)


def _followed(shape: TableShape, own: Table, context: Table, position: I64) -> bool:
    """Whether rows are drawn one after another: where time orders them, or few siblings stand in an order that tells more than their owner does."""
    if shape.owner is None or position.max() == 0:
        return False
    if shape.time:
        return True
    if position.max() > SIBLINGS:
        return False
    rows = np.flatnonzero(position > 0)[:: max(1, len(position) // _SCREENED)]
    place = pl.Series(np.minimum(position, 3))
    for c in shape.learnt:
        x = _binned(own[c])
        owner = max((_tells(_binned(context[k]), x) for k in context.columns), default=0.0)
        if _tells(place.to_numpy(), x) > ORDER or _tells(x[rows - 1], x[rows]) > ORDER + owner:
            return True
    return False


def _asked(
    reference: Reference, place: I64, beside: Table, features: Mapping[str, Table], position: I64, shape: TableShape
) -> Table:
    """What a child's model says of the row it names: whether there is one, whether it is the one its sibling named, of what kind it is; of a row of the
    same table, how far down it stands."""
    name, there = reference.name, place >= 0
    if reference.itself:
        return pl.DataFrame({f"{name}^": depths(place)})
    columns = {}
    if 0.0 < reference.missing < 1.0:
        columns[f"{name}?"] = there
    if reference.late:
        return pl.DataFrame(columns)
    if shape.owner and not reference.apart and not reference.unique:
        before = np.concatenate(([-2], place[:-1]))
        same = (position > 0) & (place == before) & there
        if same[position > 0].any() and same[position > 0].mean() > _SAME:
            columns[f"{name}="] = same
    theirs = features[reference.link.parent]
    count = count_name(reference.link)
    plain = theirs.select(c for c in theirs.columns if c == count or not c.startswith("#"))
    kind = plain[np.maximum(place, 0)]
    chosen = [c for c in screen(kind, beside, KIND) if kind[c].n_unique() > 1]
    for c in chosen:
        values = kind[c] if there.all() else pl.select(pl.when(pl.Series(there)).then(kind[c])).to_series()
        columns[f"{name}>{c}"] = values
    return pl.DataFrame(columns)


def depths(place: I64) -> I64:
    """How far each row stands below one that names no other (or itself). What goes in circles counts as the top."""
    n = len(place)
    parent = np.where(place == np.arange(n), -1, place)
    depth = np.where(parent < 0, 0, -1)
    for level in range(1, n):
        ready = (depth < 0) & (np.where(parent >= 0, depth[np.maximum(parent, 0)], -1) == level - 1)
        if not ready.any():
            break
        depth[ready] = level
    return np.maximum(depth, 0)


def _part(given: Table, made: Table, shape: TableShape, stream: Stream, work: _Work, target: str | None) -> Part | None:
    if not made.width:
        return None
    dates = [c for c in shape.learnt if c in made.columns]
    steps = find_steps(made, given, dates, shape.time)
    for step in steps:
        made = step.taken(made, given)
    kept = screen(given, made, CONTEXT) if given.width else []
    if given.width and given.columns[0] not in kept and given[given.columns[0]].n_unique() > 1:
        kept = [given.columns[0], *kept[: CONTEXT - 1]]
    if target and target in made.columns and target != made.columns[-1]:
        # the others of its own row tell about it, too
        made = made.select(*(c for c in made.columns if c != target), target)
    name, sampler = work.learn(pl.concat([given.select(kept), made], how="horizontal"), len(kept), stream, target)
    return Part(name, sampler, tuple(kept), tuple(made.columns), steps)


def screen(given: Table, made: Table, most: int) -> list[str]:
    """The columns of `given` that tell most about any of `made`, in nats beyond chance (Cover and Thomas 2006, Elements of Information Theory, 2.3;
    Miller 1955 for what chance tells)."""
    if not made.width or not given.width:
        return []
    step = max(1, given.height // _SCREENED)
    codes = [{c: _binned(f[c].gather_every(step)) for c in f.columns} for f in (given, made)]
    score = {a: max(_tells(x, y) for y in codes[1].values()) for a, x in codes[0].items()}
    best = sorted((a for a in score if score[a] > TOLD), key=lambda a: -score[a])[:most]
    return [c for c in given.columns if c in best]


def _binned(values: pl.Series) -> I64:
    marginal = fit_marginal(values)
    return Classes.of(marginal, _BINS).of_codes(code_of(marginal, values))


def _tells(x: I64, y: I64) -> float:
    size = (int(x.max()) + 1, int(y.max()) + 1)
    joint = np.bincount(x * size[1] + y, minlength=size[0] * size[1]).reshape(size) / len(x)
    alone = np.outer(joint.sum(axis=1), joint.sum(axis=0))
    there = joint > 0
    free = (np.count_nonzero(joint.sum(axis=1)) - 1) * (np.count_nonzero(joint.sum(axis=0)) - 1)
    return float((joint[there] * np.log(joint[there] / alone[there])).sum()) - free / (2 * len(x))
