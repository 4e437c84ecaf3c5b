"""Which column of which table names a row of which other table: declared, or found in the real tables by names and values."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import polars as pl

from ..errors import UserError, unknown
from ..tables import Table

_KEY_TYPES = (pl.Int8, pl.Int16, pl.Int32, pl.Int64, pl.UInt8, pl.UInt16, pl.UInt32, pl.UInt64, pl.String)


@dataclass(frozen=True)
class Link:
    """Rows of `child` name rows of `parent`: the values of `columns` are those of `keys`, in the same order."""

    child: str
    columns: tuple[str, ...]
    parent: str
    keys: tuple[str, ...]

    def __str__(self) -> str:
        return f"{_dotted(self.child, self.columns)} → {_dotted(self.parent, self.keys)}"


def parse_links(texts: Sequence[str], tables: Mapping[str, Table]) -> list[Link]:
    """Read `CHILD.COLUMN=PARENT.KEY` (several columns: `CHILD.A+B=PARENT.C+D`). Raises UserError for another form, a table or a column that is not
    there."""
    found = []
    for text in texts:
        sides = [_side(s, text, tables) for s in text.split("=")]
        if len(sides) != 2 or len(sides[0][1]) != len(sides[1][1]):
            raise UserError(f"--relation: '{text}' is not CHILD.COLUMN=PARENT.KEY")
        found.append(Link(sides[0][0], sides[0][1], sides[1][0], sides[1][1]))
    return found


def find_links(tables: Mapping[str, Table]) -> list[Link]:
    """Links that names suggest and every value bears out: a column that is unique and called a key, and a column elsewhere called after it whose
    values all occur in it."""
    keys = {name: [c for c in frame.columns if _may_be_key(name, c, frame)] for name, frame in tables.items()}
    found = []
    for child, frame in tables.items():
        for column in frame.columns:
            if frame[column].dtype not in _KEY_TYPES or column in keys[child][:1]:
                continue
            fits = [
                (strength, -tables[parent].height, parent, key)
                for parent in tables
                for key in keys[parent]
                if (parent, key) != (child, column)
                and (strength := _called_after(column, parent, key))
                and _within(frame[column], tables[parent][key])
            ]
            if fits:
                # of parents that fit equally the smallest: a part of the whole refers to the whole
                _, _, parent, key = max(fits, key=lambda f: (f[0], -f[1]))
                if Link(parent, (key,), child, (column,)) not in found:
                    found.append(Link(child, (column,), parent, (key,)))
    return found


def split_name(name: str, tables: Mapping[str, Table], flag: str) -> tuple[str, str]:
    """The table and column that `TABLE.COLUMN` names. Raises UserError where there is none such."""
    table, _, column = name.partition(".")
    if table not in tables:
        raise unknown("table", table, tables, f"{flag}, as TABLE.COLUMN")
    if column not in tables[table].columns:
        raise unknown("column", column, tables[table].columns, f"{flag} {table}")
    return table, column


def _side(text: str, whole: str, tables: Mapping[str, Table]) -> tuple[str, tuple[str, ...]]:
    table, dot, columns = text.strip().partition(".")
    if not dot or not columns:
        raise UserError(f"--relation: '{whole}' is not CHILD.COLUMN=PARENT.KEY")
    return table, tuple(split_name(f"{table}.{c.strip()}", tables, "--relation")[1] for c in columns.split("+"))


def _dotted(table: str, columns: tuple[str, ...]) -> str:
    return f"{table}.{'+'.join(columns)}"


def called_a_key(column: str) -> bool:
    last = _words(column)[-1]
    return last in ("id", "key", "code", "no", "number", "uuid") or last.endswith("id")


def _may_be_key(table: str, column: str, frame: Table) -> bool:
    if frame[column].dtype not in _KEY_TYPES:
        return False
    called = called_a_key(column) or _words(column) == _words(table)
    return called and not frame[column].null_count() and frame[column].n_unique() == frame.height


def _called_after(column: str, parent: str, key: str) -> int:
    """How surely `column` is called after `key` of `parent`: 0 (not) to 3."""
    name, base, key_name = _plain(column), _singular(_plain(parent)), _plain(key)
    if name in (base + key_name, base + "id") or (name == key_name and base and key_name.startswith(base)):
        return 3
    if name == key_name and key_name not in ("id", "key", "code", "no", "number", "uuid"):
        return 2
    longer = key_name if key_name.startswith(base) else base + key_name
    return 1 if name.endswith(longer) else 0


def _within(values: pl.Series, among: pl.Series) -> bool:
    there = values.drop_nulls().unique()
    if not len(there) or (there.dtype == pl.String) != (among.dtype == pl.String):
        return False
    return bool(there.is_in(among.cast(there.dtype, strict=False).implode()).all())


def _words(name: str) -> list[str]:
    return [w.lower() for w in re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z0-9]+", name)] or [name.lower()]


def _plain(name: str) -> str:
    return "".join(_words(name))


def _singular(word: str) -> str:
    if word.endswith("ies"):
        return word[:-3] + "y"
    return word[:-1] if word.endswith("s") and not word.endswith("ss") else word
