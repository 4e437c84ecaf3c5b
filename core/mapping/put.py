"""Rows into tables that stand already: all of them at once, or none. What went in is written in the ledger, and can be removed."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import Any

import polars as pl

from ..address import redact
from ..errors import UserError
from ..sinks.load import MANIFEST
from ..tables import Table
from .door import Door, open_door
from .target import Target, reflect


def ledger(url: str) -> Mapping[str, Any] | None:
    """The manifest of what a mapping has put there, None where it has put nothing."""
    with open_door(url) as door:
        return _ledger(door, url)


def put(
    url: str,
    target: Target,
    rows: Mapping[str, Iterable[Table]],
    manifest: Callable[[Mapping[str, int]], str],
    step: Callable[[], None],
    scratch: Path,
    replace: bool = False,
) -> dict[str, int]:
    """Insert the rows, each table's as parts of which one is in memory at a time, and keep the manifest, which is told how many went where; with
    `replace` what an earlier mapping put there goes first. Returns the counts.

    Raises UserError, and leaves the database as it was, if it refuses any row.
    """
    counts: dict[str, int] = {}
    with open_door(url, scratch) as door:
        if replace:
            _delete(door, target, url)
        for together in _order(target, list(rows)):
            parts = {n: _counted(counts, n, rows[n]) for n in together}
            if len(together) == 1:
                door.insert(target.tables[together[0]], parts[together[0]])
            else:
                door.insert_together({n: target.tables[n] for n in together}, parts)
            for _ in together:
                step()
        door.settle(target, rows)
        door.keep(manifest(counts))
    return counts


def take_back(url: str) -> dict[str, int]:
    """Delete the rows that a mapping put there. Raises UserError, and deletes nothing, where tables hold other rows too."""
    target = reflect(url)
    with open_door(url) as door:
        mapped = _delete(door, target, url)
        door.forget()
        return mapped


def standing(url: str, target: Target, names: set[str]) -> dict[str, Table]:
    """The columns that others refer to, of tables that keep their rows."""
    out = {}
    with open_door(url) as door:
        for name in names:
            wanted = sorted(
                {p for t in target.tables.values() for r in t.references if r.table == name for p in r.parents}
            )
            if wanted:
                found = door.rows(f"SELECT {', '.join(map(door.name, wanted))} FROM {door.name(name)}")  # noqa: S608
                out[name] = pl.DataFrame(found, schema=wanted, orient="row")
    return out


def _counted(counts: dict[str, int], name: str, parts: Iterable[Table]) -> Iterable[Table]:
    counts[name] = 0
    for part in parts:
        counts[name] += part.height
        yield part


def _delete(door: Door, target: Target, url: str) -> dict[str, int]:
    mapped = (_ledger(door, url) or {}).get("populace", {}).get("mapped")
    if not mapped:
        raise UserError(f"{redact(url)} holds nothing that populace made; nothing was removed")
    for name, count in mapped.items():
        found = door.rows(f"SELECT count(*) FROM {door.name(name)}")[0][0]  # noqa: S608
        if found != count:
            raise UserError(
                f"{redact(url)}: {name} holds {found:,} rows, populace put {count:,} there; nothing was removed"
            )
    order = [name for together in _order(target, list(mapped)) for name in together]
    door.delete([target.tables[name] for name in reversed(order)])
    return dict(mapped)


def _ledger(door: Door, url: str) -> Mapping[str, Any] | None:
    if not door.ledgered():
        return None
    found = door.rows(f"SELECT manifest FROM {MANIFEST}")  # noqa: S608
    try:
        return json.loads(found[0][0]) if found else None
    except ValueError:
        raise UserError(f"{redact(url)}: {MANIFEST} is not a ledger of populace") from None


def _order(target: Target, names: list[str]) -> list[list[str]]:
    """Tables in the order of their references, those that refer to one another in a circle together."""
    needs = {n: {r.table for r in target.tables[n].references if r.table in names and r.table != n} for n in names}
    groups = {n: [n] for n in names}
    while True:
        graph = {min(g): {min(groups[m]) for n in g for m in needs[n]} - {min(g)} for g in groups.values()}
        try:
            return [groups[first] for first in TopologicalSorter(graph).static_order()]
        except CycleError as error:
            circle = sorted({n for first in error.args[1] for n in groups[first]})
            groups.update(dict.fromkeys(circle, circle))
