"""How tables hang together: which parent owns a table's rows, which are only referred to, what orders them, and in which order tables are made."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ..errors import UserError
from ..evaluate.links import Link, find_links, split_name
from ..evaluate.read import read_data
from ..samplers.statistical.detect import rules_of
from ..samplers.statistical.marginal import dtype_text
from ..samplers.statistical.regenerate import Rule
from ..sinks.database import is_database
from ..tables import Table

I64 = NDArray[np.int64]
Named = Mapping[str, Table]
ORDERED = 1.5
"""Rows of an owner, on average, from which the first column of dates is taken to order them, where nobody says what does."""


@dataclass(frozen=True)
class Reference:
    """A further parent. `unique`: no two rows name the same one; `apart`: no two rows of one owner do. `late`: it is made after the table that names it.
    For a reference of a table to itself, `within`: both rows have the same owner; `earlier`: what is named stands before; `rooted`: rows that name no
    other name themselves."""

    link: Link
    missing: float
    unique: bool = False
    apart: bool = False
    late: bool = False
    within: bool = False
    earlier: bool = False
    rooted: bool = False

    @property
    def itself(self) -> bool:
        return self.link.child == self.link.parent

    @property
    def name(self) -> str:
        return "+".join(self.link.columns)


@dataclass(frozen=True)
class TableShape:
    """One table: its columns with their types, those made by rule, those that are learnt, and its parents."""

    name: str
    rows: int
    columns: Mapping[str, str]
    rules: tuple[Rule, ...]
    learnt: tuple[str, ...]
    owner: Link | None
    references: tuple[Reference, ...]
    time: str | None = None


def count_name(link: Link) -> str:
    """The column of a parent that says how many rows name it."""
    return f"#{link.child}.{'+'.join(link.columns)}"


def places(frame: Table, link: Link, parent: Table) -> I64:
    """For each row the place of the parent's row that it names; -1 where it names none. Raises UserError for a reference that leads nowhere."""
    keys = parent.select(
        pl.col(k).cast(frame[c].dtype).alias(c) for k, c in zip(link.keys, link.columns, strict=True)
    ).with_row_index("↑ at")
    if keys.select(link.columns).is_duplicated().any():
        raise UserError(f"relation {link}: what is referred to is not unique in '{link.parent}'")
    found = frame.select(link.columns).join(keys, on=list(link.columns), how="left", maintain_order="left")
    at = found["↑ at"].cast(pl.Int64)
    lost = at.is_null() & frame.select(pl.all_horizontal(pl.col(link.columns).is_not_null())).to_series()
    if lost.any():
        value = frame.select(link.columns).filter(lost).row(0)
        raise UserError(f"relation {link}: {int(lost.sum()):,} rows name what is not there, such as {value}")
    return at.fill_null(-1).to_numpy()


def read_several(data: Any) -> dict[str, Table] | None:
    """The tables of a folder, a database or a mapping; None for what is one table. A folder of one table is one table to `read_table` alone."""
    if isinstance(data, Mapping) or (
        isinstance(data, (str, os.PathLike)) and (is_database(str(data)) or Path(data).is_dir())
    ):
        found = read_data(data)
        assert isinstance(found, dict)
        return found
    return None


def links_of(tables: Named, declared: Sequence[Link]) -> list[Link]:
    """What is declared, and what names and values bear out beside it: each column refers to one table, what is said first counts."""
    seen: dict[tuple[str, str], Link] = {}
    made = []
    for link in [*declared, *find_links(tables)]:
        there = all(
            table in tables and set(columns) <= set(tables[table].columns)
            for table, columns in ((link.child, link.columns), (link.parent, link.keys))
        )
        if there and not any((link.child, c) in seen for c in link.columns):
            seen |= {(link.child, c): link for c in link.columns}
            made.append(link)
    return made


def shapes_of(tables: Named, links: Sequence[Link], keep: Sequence[str], times: Mapping[str, str]) -> list[TableShape]:
    """The tables, parents before children. Raises UserError for references that lead nowhere or share a column."""
    own: dict[str, list[Link]] = {name: [] for name in tables}
    for link in links:
        for other in own[link.child]:
            if set(other.columns) & set(link.columns):
                raise UserError(f"relations {other} and {link} share a column, which is not supported")
        own[link.child].append(link)
    at = {link: places(tables[link.child], link, tables[link.parent]) for link in links}
    order, late = _in_order(tables, own)
    made = []
    for name in order:
        owner = _owner([k for k in own[name] if k not in late and k.parent != name], at, tables)
        references = tuple(_reference(k, owner, at, tables, k in late) for k in own[name] if k is not owner)
        keys = {c for k in links if k.parent == name for c in k.keys}
        shape = _table(
            name, tables[name], own[name], keys, [c.partition(".")[2] for c in keep if c.startswith(f"{name}.")]
        )
        made.append(
            replace(
                shape, owner=owner, references=references, time=_time(shape, tables[name], owner, at, times, bool(keys))
            )
        )
    return made


def _in_order(tables: Named, own: Mapping[str, list[Link]]) -> tuple[list[str], set[Link]]:
    """Parents first; where tables refer to one another in a circle, the reference that is most often missing is made last."""
    late: set[Link] = set()
    order: list[str] = []
    while len(order) < len(tables):
        waiting = {
            n: [k for k in own[n] if k not in late and k.parent != n and k.parent not in order]
            for n in tables
            if n not in order
        }
        ready = [n for n in waiting if not waiting[n]]
        if ready:
            order += ready
            continue
        circle = [k for each in waiting.values() for k in each]
        late.add(max(circle, key=lambda k: tables[k.child][k.columns[0]].null_count() / tables[k.child].height))
    return order, late


def _owner(links: Sequence[Link], at: Mapping[Link, I64], tables: Named) -> Link | None:
    """Of parents that every row has, the one with the fewest children each, but more than one: an order rather than a product."""
    whole = [k for k in links if (at[k] >= 0).all()]

    def rank(link: Link) -> tuple[bool, float]:
        counts = np.bincount(at[link], minlength=tables[link.parent].height)
        # one to one says little about how many there are
        return bool(counts.max() <= 1), float(
            abs(np.log(counts.mean())) if counts.mean() < 1 else np.log(counts.mean())
        )

    varied = [k for k in whole if tables[k.child].height >= tables[k.parent].height]
    return min(varied or whole, key=rank, default=None)


def _reference(link: Link, owner: Link | None, at: Mapping[Link, I64], tables: Named, late: bool) -> Reference:
    place, frame = at[link], tables[link.child]
    there = place >= 0
    named = place[there]
    missing = float(1 - there.mean())
    unique = len(named) > 1 and len(np.unique(named)) == len(named)
    owners = at[owner] if owner else np.arange(len(place))
    pairs = np.stack((owners[there], named), axis=1)
    apart = bool(owner) and len(np.unique(pairs, axis=0)) == len(pairs) and len(pairs) > 1
    made = Reference(link, missing, unique, apart, late)
    if not made.itself:
        return made
    row = np.arange(frame.height)
    others = there & (place != row)
    return replace(
        made,
        unique=False,
        apart=False,
        within=bool(owner) and bool((owners[others] == owners[place[others]]).all()),
        earlier=bool(others.any()) and bool((place[others] < row[others]).all()),
        rooted=bool((there & (place == row)).any()) and missing == 0.0,
    )


def _table(name: str, frame: Table, links: Sequence[Link], keys: set[str], keep: Sequence[str]) -> TableShape:
    linked = {c for k in links for c in k.columns}
    rules = {r.column: r for r, _ in rules_of(frame.drop(linked), keep)}
    for key in keys - linked:
        rule = rules.get(key)
        if rule is None or not rule.unique or rule.missing:
            # whatever the key looked like, it is unique: numbered
            rules[key] = Rule(key, "number", dtype_text(frame[key].dtype), unique=True, counted=True)
    columns = {c: dtype_text(t) for c, t in frame.schema.items()}
    learnt = tuple(c for c in frame.columns if c not in linked and c not in rules)
    return TableShape(name, frame.height, columns, tuple(rules.values()), learnt, None, ())


def _time(
    shape: TableShape,
    frame: Table,
    owner: Link | None,
    at: Mapping[Link, I64],
    times: Mapping[str, str],
    referred: bool,
) -> str | None:
    if shape.name in times:
        return times[shape.name]
    # what others refer to is a thing, and not an event
    if owner is None or referred or frame.height < ORDERED * len(np.unique(at[owner])):
        return None
    return next((c for c in shape.learnt if frame[c].dtype.is_temporal() and not frame[c].null_count()), None)


def read_times(texts: Sequence[str], tables: Named) -> dict[str, str]:
    """Read `TABLE.COLUMN` texts: what orders the rows of an owner. Raises UserError for a column that is not there or has no order."""
    found = {}
    for text in texts:
        table, column = split_name(text, tables, "--time-column")
        kind = tables[table][column].dtype
        if not (kind.is_temporal() or kind.is_numeric()):
            raise UserError(f"--time-column {text}: holds {kind}, expected dates or numbers")
        found[table] = column
    return found
