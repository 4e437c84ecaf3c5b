"""A profile's file as it is read: each entry is asked for once, what nobody asked for is a mistake, and a mistake is named by file, line and key."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ...core.errors import UserError, nearest, unknown

_HEADER = re.compile(r"\s*(\[\[?)\s*([A-Za-z0-9_-]+)\s*\]")
_KEY = re.compile(r"""\s*["']?([A-Za-z0-9_-]+)["']?\s*=""")


def read_file(place: str, text: str) -> Entries:
    """The entries of a file. Raises UserError for what is not TOML."""
    try:
        return Entries(tomllib.loads(text), place, _Lines(text), ("", 0))
    except tomllib.TOMLDecodeError as error:
        raise UserError(f"{place}: {error}") from None


class _Lines:
    """Where in a file each table and each of its keys stands, from 1."""

    def __init__(self, text: str) -> None:
        self.lines = text.splitlines()
        self.known: dict[tuple[str, int, str], int] = {}
        at: tuple[str, int] = ("", 0)
        counts = dict[str, int]()
        for number, line in enumerate(self.lines, 1):
            if header := _HEADER.match(line):
                name = str(header[2])
                at = (name, counts.get(name, 0))
                counts[name] = counts.get(name, 0) + 1
                self.known[*at, ""] = number
            elif key := _KEY.match(line):
                self.known.setdefault((at[0], at[1], str(key[1])), number)

    def of(self, table: tuple[str, int], key: str = "") -> int:
        """The line of a key; of its table where the key is missing."""
        return self.known.get((*table, key)) or self.known.get((*table, "")) or 1

    def of_item(self, table: tuple[str, int], key: str, word: str, n: int) -> int:
        """The line of the n-th inline table of a list, each of which has the key `word`; of the list where that is missing."""
        first = self.of(table, key)
        for number, line in enumerate(self.lines[first - 1 :], first):
            n -= len(re.findall(rf"\b{word}\s*=", line))
            if n < 0:
                return number
        return first


class Entries:
    """One table of a file."""

    def __init__(self, raw: Mapping[str, Any], place: str, lines: _Lines, at: tuple[str, int]) -> None:
        self.raw, self.place, self.lines, self.at = raw, place, lines, at
        self._known: set[str] = set()

    def where(self, key: str = "") -> str:
        name, n = self.at
        table = "" if not name else f"[{name}] " if name in ("power", "reliability", "duty") else f"[[{name}]] {n + 1} "
        return f"{self.place}, line {self.lines.of(self.at, key)}, {(table + key).strip() or 'file'}"

    def where_term(self, n: int) -> str:
        line = self.lines.of_item(self.at, "model", "term", n)
        return f"{self.place}, line {line}, {self.raw.get('signal', '')} model"

    def get(self, key: str, kind: type) -> Any:
        self._known.add(key)
        if key not in self.raw:
            meant = nearest(key, sorted(k for k in self.raw if k not in self._known))
            raise UserError(
                f"{self.where(key)}: '{key}' is missing" + (f"; is '{meant}' meant for it?" if meant else "")
            )
        value = self.raw[key]
        if not isinstance(value, kind) or (kind is str and not value.strip()):
            raise UserError(f"{self.where(key)}: {key} is {value!r}, expected {_KINDS[kind]}")
        return value

    def number(self, key: str, low: float, high: float) -> float:
        value = self.get(key, object)
        if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
            raise UserError(f"{self.where(key)}: {key} is {value!r}, expected a number from {low:g} to {high:g}")
        return float(value)

    def perhaps(self, key: str, low: float, high: float) -> float | None:
        """A number, or none where there is no such entry."""
        self._known.add(key)
        return self.number(key, low, high) if key in self.raw else None

    def one_of(self, key: str, choices: Sequence[str]) -> str:
        value = self.get(key, str)
        if value not in choices:
            raise unknown(key, value, choices, self.where(key))
        return value

    def all_of(self, key: str, choices: Iterable[str]) -> tuple[str, ...]:
        known = list(choices)
        for value in (found := self.get(key, list)):
            if value not in known:
                raise unknown(f"one of {key}", value, known, self.where(key))
        if not found:
            raise UserError(f"{self.where(key)}: {key} is empty, expected some of {', '.join(known)}")
        return tuple(found)

    def none(self, key: str) -> tuple[str, ...]:
        """Of an empty list."""
        self.get(key, list)
        return ()

    def table(self, key: str) -> Entries:
        return Entries(self.get(key, dict), self.place, self.lines, (key, 0))

    def tables(self, key: str) -> list[Entries]:
        """Those of a list of tables."""
        found = self.get(key, list) if key in self.raw else []
        for n, raw in enumerate(found):
            if not isinstance(raw, dict):
                raise UserError(f"{self.where(key)}: {key} {n + 1} is {raw!r}, expected a table")
        return [Entries(raw, self.place, self.lines, (key, n)) for n, raw in enumerate(found)]

    def done(self) -> None:
        if extra := [k for k in self.raw if k not in self._known]:
            raise unknown("entry", extra[0], self._known, self.where(extra[0]))


_KINDS = {str: "a text", list: "a list", dict: "a table", object: "a value"}
