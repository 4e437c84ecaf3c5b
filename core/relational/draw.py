"""Rows of a database: tables one after another, the rows of an owner one after another, and who is named by whom."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ..conditions import settled
from ..errors import UserError, unknown
from ..evaluate.links import Link
from ..samplers.statistical.marginal import dtype_of
from ..samplers.statistical.regenerate import check_room
from ..stream import F64, Stream, join_rows
from ..tables import ROW, Table
from .database import POSITION, Learnt, LearntDatabase, Part
from .place import match, points, rooms
from .shape import I64, Reference, count_name
from .steps import BEFORE, UP

MOST_ROWS = 200_000_000
_TRIES = 20


@dataclass
class Drawn:
    """Tables as they come about. `features`: what a table's children see of it; `notes`: what could not be had."""

    tables: dict[str, Table] = field(default_factory=dict)
    features: dict[str, Table] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


def draw_database(
    database: LearntDatabase,
    n: int | None,
    stream: Stream,
    where: Mapping[str, Any] | None = None,
    balance: Mapping[str, Mapping[Any, float]] | None = None,
) -> Drawn:
    """Tables with `n` rows of `database.unit`, and of the others in proportion; of the size that was learnt, without. What is asked of "table.column", of tables
    without an owner, is met.

    Raises UserError for more rows than there can be, and for what is asked of a column that cannot be held to it.
    """
    known = {t.shape.name: t for t in database.tables}
    asked = {
        what: _by_table(known, things, what) for what, things in (("where", where or {}), ("balance", balance or {}))
    }
    scale = 1.0 if n is None else n / known[database.unit].shape.rows
    drawn = Drawn()
    for table in database.tables:
        name = table.shape.name
        rows = _Rows(table, drawn, scale, stream.child("table", name))
        rows.hold(asked["where"].get(name, {}), asked["balance"].get(name, {}))
        rows.make()
    for table in database.tables:
        late = [r for r in table.shape.references if r.late]
        if late:
            _name_late(table, late, drawn, stream.child("late", table.shape.name))
    made = {t.shape.name: drawn.tables[t.shape.name].select(list(t.shape.columns)) for t in database.tables}
    return Drawn(made, drawn.features, drawn.notes)


def _by_table(known: Mapping[str, Learnt], asked: Mapping[str, Any], what: str) -> dict[str, dict[str, Any]]:
    """What is asked of each table's columns. Raises UserError for a table that is not there or is made from its owner's rows."""
    found: dict[str, dict[str, Any]] = {}
    for place, value in asked.items():
        name = max((t for t in known if place.startswith(f"{t}.")), key=len, default=None)
        if name is None:
            raise unknown("table", place.partition(".")[0], known, f"{what} {place}: expected TABLE.COLUMN")
        if owner := known[name].shape.owner:
            free = ", ".join(t for t, k in known.items() if not k.shape.owner)
            raise UserError(
                f"{what} {place}: rows of '{name}' follow from those of '{owner.parent}'; what is asked can be of {free}"
            )
        found.setdefault(name, {})[place[len(name) + 1 :]] = value
    return found


class _Rows:
    """One table."""

    def __init__(self, table: Learnt, drawn: Drawn, scale: float, stream: Stream) -> None:
        self.table, self.shape, self.drawn, self.stream = table, table.shape, drawn, stream
        self.address = np.arange(round(self.shape.rows * scale), dtype=np.uint64)
        self.owner = self.position = np.zeros(len(self.address), np.int64)
        if self.shape.owner:
            theirs = drawn.features[self.shape.owner.parent]
            count = np.maximum(theirs[count_name(self.shape.owner)].fill_null(0).to_numpy(), 0).astype(np.int64)
            if count.sum() > MOST_ROWS:
                raise UserError(f"table '{self.shape.name}': would have {count.sum():,} rows, more than {MOST_ROWS:,}")
            self.owner = np.repeat(np.arange(len(count)), count)
            self.position = np.arange(count.sum()) - np.repeat(np.cumsum(count) - count, count)
            self.address = join_rows(self.owner, self.position)
        self.places = {r.name: np.full(len(self.owner), -1) for r in self.shape.references}
        self.room = {r.name: self._room(r) for r in self._others()}

    def hold(self, where: Mapping[str, Any], balance: Mapping[str, Mapping[Any, float]]) -> None:
        """Have these rows meet what is asked."""
        part = self.table.first
        learnt = {} if part is None else {c: m for c, m in part.marginals.items() if c in self.shape.learnt}

        def refused(column: str, place: str) -> UserError:
            if column in self.shape.columns:
                return UserError(f"{place}: '{self.shape.name}.{column}' is a key or made by rule, and was not learnt")
            return unknown("column", column, learnt, f"{place}, table '{self.shape.name}'")

        told, self.wanted = settled(learnt, where, balance, len(self.address), self.stream, refused)
        self.told = pl.DataFrame(told)

    def _others(self) -> list[Reference]:
        return [r for r in self.shape.references if not r.late and not r.itself]

    def _room(self, reference: Reference) -> I64:
        counts = self.drawn.features[reference.link.parent][count_name(reference.link)].fill_null(0).to_numpy()
        demand = round(len(self.owner) * (1 - reference.missing))
        return rooms(counts.astype(np.int64), demand, reference.unique, self.stream.child("room", reference.name))

    def make(self) -> None:

        parts: list[Table] = []
        order: list[I64] = []
        before: tuple[I64, Table] | None = None
        # rows that do not follow one another are drawn at once
        turn = self.position if self.table.later else np.zeros_like(self.position)
        by = np.argsort(turn, kind="stable")
        starts = np.searchsorted(turn[by], np.arange(int(turn.max(initial=0)) + 2))
        for k in range(len(starts) - 1):
            at = by[starts[k] : starts[k + 1]]
            made = self._siblings(k, at, before)
            parts.append(made)
            order.append(at)
            before = (at, made)
        whole = pl.concat(parts, how="diagonal_relaxed")
        if whole.width:
            whole = whole[np.argsort(np.concatenate(order))]
        kept = self._told_apart()
        own = whole.select(c for c in whole.columns if c in self.shape.learnt or c in self.table.counts)
        self._name_itself(whole)
        self._finish(own, kept)

    def _siblings(self, k: int, at: I64, before: tuple[I64, Table] | None) -> Table:
        """The rows that have `k` siblings before them."""
        part: Part | None = self.table.first if k == 0 else self.table.later
        given = pl.DataFrame({ROW: self.address[at]})
        if self.shape.owner:
            theirs = self.drawn.features[self.shape.owner.parent]
            context = theirs.rename({c: UP + c for c in theirs.columns})[self.owner[at]]
            given = given.hstack(context.get_columns())
        if before is not None:
            place = np.searchsorted(before[0], at - 1)
            sibling = before[1].select(self.shape.learnt)[place]
            given = given.hstack(sibling.rename({c: BEFORE + c for c in sibling.columns}).get_columns())
            given = given.with_columns(pl.lit(k, pl.Int64).alias(POSITION))
        if part is None:
            made = pl.DataFrame({ROW: self.address[at]}).select()
            for r in self._others():
                self._name(r, at, pl.DataFrame(), k)
            return made
        stream = self.stream.child("rows")
        # of what is asked all rows are first ones
        asked = part.draw(given, stream, self.told, self.wanted)
        if not self._others():
            return asked
        known = self.told.get_columns()
        for r in self._others():
            known += self._name(r, at, asked, k)
        return part.draw(given, stream, pl.DataFrame(known), self.wanted) if len(known) > self.told.width else asked

    def _name(self, reference: Reference, at: I64, asked: Table, k: int) -> list[pl.Series]:
        """Choose the rows that these rows name; the columns that say what kind they are, as they turned out."""
        name, kind = (
            reference.name,
            [c for c in self.table.kinds[reference.name] if f"{reference.name}>{c}" in asked.columns],
        )
        there = asked[f"{name}?"].fill_null(False).to_numpy() if f"{name}?" in asked.columns else np.full(len(at), reference.missing < 1.0)  # fmt: skip
        theirs = self.drawn.features[reference.link.parent]
        found = np.full(len(at), -1)
        if f"{name}=" in asked.columns and k:
            same = asked[f"{name}="].fill_null(False).to_numpy() & there
            found[same] = self.places[name][at[same] - 1]
            np.subtract.at(self.room[name], found[found >= 0], 1)
        open_ = np.flatnonzero(there & (found < 0))
        if len(open_) and theirs.height:
            stream = self.stream.child("match", name, k)
            if kind:
                wanted = asked.select(pl.col(f"{name}>{c}").alias(c) for c in kind)[open_]
                a, b = points(wanted, theirs.select(kind), stream)
            else:
                a, b = _anywhere(len(open_), theirs.height, stream)
            found[open_] = match(a, b, self.room[name], reference.unique, stream)
        self.places[name][at] = found
        known = [pl.Series(f"{name}?", found >= 0)] if f"{name}?" in asked.columns else []
        for c in kind:
            values = theirs[c].gather(pl.Series(np.maximum(found, 0).astype(np.uint32))) if theirs.height else asked[f"{name}>{c}"]  # fmt: skip
            known.append(pl.select(pl.when(pl.Series(found >= 0)).then(values)).to_series().alias(f"{name}>{c}"))
        return known

    def _told_apart(self) -> NDArray:
        """Which rows stay: those of one owner that must name different rows and cannot, or must name one and find none, are left out."""
        kept = np.ones(len(self.owner), bool)
        for r in self._others():
            place = self.places[r.name]
            if r.apart and not r.unique:
                self._spread(r, place)
                pair = self.owner * (int(place.max(initial=0)) + 2) + place
                again = np.zeros(len(pair), bool)
                order = np.argsort(pair, kind="stable")
                again[order[1:]] = np.diff(pair[order]) == 0
                kept &= ~(again & (place >= 0))
            if r.missing == 0.0:
                kept &= place >= 0
        lost = int((~kept).sum())
        if lost:
            self.drawn.notes.append(f"{self.shape.name}: {lost:,} of {len(kept):,} rows left out, for which there was no parent that others had not named")  # fmt: skip
        return kept

    def _spread(self, reference: Reference, place: I64) -> None:
        """Rows that name what a sibling names already name another, as often named as it is by all."""
        theirs = self.drawn.features[reference.link.parent]
        weight = np.maximum(theirs[count_name(reference.link)].fill_null(0).to_numpy().astype(float), 0.0) + 1e-6
        for attempt in range(_TRIES):
            pair = self.owner * (theirs.height + 1) + place
            order = np.argsort(pair, kind="stable")
            again = order[1:][np.diff(pair[order]) == 0]
            again = again[place[again] >= 0]
            if not len(again):
                return
            u = self.stream.child("apart", reference.name, attempt).uniform(again)
            place[again] = np.minimum(np.searchsorted(np.cumsum(weight) / weight.sum(), u), theirs.height - 1)

    def _name_itself(self, whole: Table) -> None:
        """Rows that name rows of their own table: one that stands a level higher, often named ones more often."""
        for r in self.shape.references:
            column = f"{r.name}^"
            if not r.itself or r.late or column not in whole.columns:
                continue
            depth = np.maximum(whole[column].fill_null(0).to_numpy().astype(np.int64), 0)
            weight = whole[count_name(r.link)].fill_null(0).to_numpy().astype(float) + 1e-6
            group = self.owner if r.within else np.zeros(len(depth), np.int64)
            row = np.arange(len(depth))
            key = (group * (int(depth.max(initial=0)) + 2) + depth) * (len(depth) + 1) + (row if r.earlier else 0)
            above = (group * (int(depth.max(initial=0)) + 2) + depth - 1) * (len(depth) + 1)
            order = np.argsort(key, kind="stable")
            total = np.append(0.0, np.cumsum(weight[order]))
            low = np.searchsorted(key[order], above)
            high = np.searchsorted(key[order], above + (row if r.earlier else 1))
            u = self.stream.child("itself", r.name).uniform(row)
            at = np.searchsorted(total, total[low] + u * (total[high] - total[low]), side="right") - 1
            place = np.where((depth > 0) & (high > low), order[np.clip(at, low, np.maximum(high - 1, 0))], -1)
            self.places[r.name] = np.where(place < 0, row, place) if r.rooted else place

    def _finish(self, own: Table, kept: NDArray) -> None:
        shape = self.shape
        names = np.cumsum(kept) - 1
        rows = np.arange(int(kept.sum()), dtype=np.uint64)
        check_room(shape.rules, len(rows))
        made = own.filter(pl.Series(kept)) if own.width else own
        columns = {c: made[c] for c in made.columns if c in shape.learnt}
        for rule in shape.rules:
            columns[rule.column] = rule.values(rows, self.stream.child("rule"))
        frame = pl.DataFrame(columns) if columns else pl.DataFrame({ROW: rows})
        if shape.owner:
            frame = _named(frame, self.drawn.tables[shape.owner.parent], shape.owner, self.owner[kept], shape.columns)
        for r in self._others():
            frame = _named(frame, self.drawn.tables[r.link.parent], r.link, self.places[r.name][kept], shape.columns)
        for r in shape.references:
            if r.itself and not r.late:
                place = self.places[r.name][kept]
                gone = (place >= 0) & ~kept[np.maximum(place, 0)]
                frame = _named(frame, frame, r.link, np.where((place < 0) | gone, -1, names[np.maximum(place, 0)]), shape.columns)  # fmt: skip
        self.drawn.tables[shape.name] = frame
        features = [own.filter(pl.Series(kept))] if own.width else []
        if shape.owner:
            theirs = self.drawn.features[shape.owner.parent]
            context = theirs.rename({c: UP + c for c in theirs.columns}).select(
                UP + c for c in theirs.columns if not c.startswith("#")
            )
            if context.width:
                features.append(context[self.owner[kept]])
        self.drawn.features[shape.name] = pl.concat(features, how="horizontal") if features else pl.DataFrame()


def _named(frame: Table, parents: Table, link: Link, place: I64, types: Mapping[str, str]) -> Table:
    """The frame with the columns that name rows of a parent, at these places."""
    there = pl.Series(place >= 0)
    made = []
    for column, key in zip(link.columns, link.keys, strict=True):
        values = parents[key].gather(pl.Series(np.maximum(place, 0).astype(np.uint32))) if parents.height else pl.Series([None] * len(place), dtype=parents[key].dtype)  # fmt: skip
        made.append(pl.select(pl.when(there).then(values)).to_series().cast(dtype_of(types[column])).alias(column))
    return frame.with_columns(made)


def _name_late(table: Learnt, late: list[Reference], drawn: Drawn, stream: Stream) -> None:
    """References to tables that were made after this one."""
    frame = drawn.tables[table.shape.name]
    for r in late:
        counts = drawn.features[r.link.parent][count_name(r.link)].fill_null(0).to_numpy().astype(np.int64)
        u = stream.child(r.name).uniform(np.arange(frame.height))
        there = np.flatnonzero(u >= r.missing)
        room = rooms(counts, len(there), r.unique, stream.child("room", r.name))
        place = np.full(frame.height, -1)
        a, b = _anywhere(len(there), len(counts), stream.child("match", r.name))
        place[there] = match(a, b, room, r.unique, stream.child("match", r.name))
        frame = _named(frame, drawn.tables[r.link.parent], r.link, place, table.shape.columns)
    drawn.tables[table.shape.name] = frame


def _anywhere(n: int, offered: int, stream: Stream) -> tuple[F64, F64]:
    return (
        stream.child("wanted").uniform(np.arange(n))[:, None],
        stream.child("offered").uniform(np.arange(offered))[:, None],
    )
