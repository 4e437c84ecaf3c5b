"""Columns that are not learnt: keys, names, e-mail addresses, codes and free text, made anew by rule beside what a model draws.

A rule holds figures of shape alone: how many digits, which places hold a letter, how many words. No value of the table is in it, save
characters in one place that at least `SHARED` rows have in common, such as the prefix of a code.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ...errors import UserError
from ...stream import U64, Stream, join_rows
from ...tables import ROW, Table, rows
from .. import Sampler
from ..compose import chain
from ..keys import ascii_text, scatter, uuid_text
from ..pools import pool
from ..rules import Guide
from ..text import Email, Name
from .marginal import dtype_of

SHARED = 5
"""Rows that must have a shape, or a character in one place, before a rule keeps it."""
LOCALE = "en_US"
ALPHABETS = {"9": b"0123456789", "A": b"ABCDEFGHIJKLMNOPQRSTUVWXYZ", "a": b"abcdefghijklmnopqrstuvwxyz"}
PARTS = ("given_name", "family_name", "name", "email")
_MOST_DIGITS = 18
_MOST_WORDS = 100_000
_CHUNK = 1 << 14


@dataclass(frozen=True)
class Rule:
    """How a column is made anew.

    `kind` is "number" (a key of `digits` digits, or counted from 1 where `counted`), "uuid", "person" (`part` of a person, one person for
    each `whose`), "pattern" (`shapes` with `shares`) or "text" (words, as many as `words` says). With `repeats`, rows share `distinct` keys,
    as unevenly as they did: its i-th figure is the share of rows with the i-th part of the keys.
    """

    column: str
    kind: str
    dtype: str
    missing: float = 0.0
    unique: bool = False
    digits: int = 1
    counted: bool = False
    part: str = "name"
    whose: str = ""
    shapes: tuple[str, ...] = ()
    """One character for a place: 9, A and a for any digit, capital and small letter; after a backslash, a character as it is."""
    shares: tuple[float, ...] = ()
    words: tuple[float, ...] = ()
    sentence: bool = False
    distinct: int = 0
    repeats: tuple[float, ...] = ()

    @property
    def room(self) -> int:
        """How many rows can have distinct values."""
        if not self.unique or self.kind in ("number", "uuid"):
            return 2**53
        if self.kind == "pattern":
            return min(10 ** _digits(_capacity(s)) for s in self._places)
        return 10**9

    @cached_property
    def _places(self) -> tuple[tuple[bytes, ...], ...]:
        return tuple(_read_shape(s) for s in self.shapes)

    @cached_property
    def _guide(self) -> Guide:
        return Guide.of([self.shares or (1.0,)])

    def values(self, address: U64, stream: Stream) -> pl.Series:
        """A value for each row address, in the column's type."""
        names = stream.child(self.column)
        at = self._shared(address, names) if self.distinct else address
        made = getattr(self, f"_{self.kind}")(at, names, stream).alias(self.column)
        if self.missing:
            present = names.child("missing").uniform(address) >= self.missing
            made = pl.select(pl.when(pl.Series(present)).then(made)).to_series()
        return made.cast(dtype_of(self.dtype)).alias(self.column)

    def _shared(self, address: U64, names: Stream) -> U64:
        """The key of each row, a number below `distinct`."""
        part = Guide.of([self.repeats]).choose(names.child("part").uniform(address))
        ends = np.linspace(0, self.distinct, len(self.repeats) + 1).astype(np.int64)
        width = ends[part + 1] - ends[part]
        return (ends[part] + np.floor(names.child("key").uniform(address) * width)).astype(np.uint64)

    def _number(self, at: U64, names: Stream, stream: Stream) -> pl.Series:
        if self.counted:
            return pl.Series(at.astype(np.int64) + 1)
        if self.digits == 1:
            return pl.Series(at.astype(np.int64))
        low = np.uint64(10 ** (self.digits - 1))
        # more keys than there are of so many digits: the rest lie above them
        return pl.Series((np.where(at < low, scatter(names, at, self.digits - 1), at) + low).astype(np.int64))

    def _uuid(self, at: U64, names: Stream, stream: Stream) -> pl.Series:
        return uuid_text(names.bits(at), names.child("low").bits(at))

    def _person(self, at: U64, names: Stream, stream: Stream) -> pl.Series:
        whole = chain(Name(LOCALE), Email()).sample(pl.DataFrame({ROW: at}), stream.child("person", self.whose))
        made = whole[self.part].cast(pl.String)
        if self.unique and len(made):
            number = pl.Series(scatter(names, at, 9)).cast(pl.String)
            end = made.str.replace(r"^.*@", "@") if self.part == "email" else ""
            made = made.str.replace(r"\d*@.*$", "") + ("." if self.part == "email" else " ") + number + end
        return made

    def _pattern(self, at: U64, names: Stream, stream: Stream) -> pl.Series:
        chosen = self._guide.choose(names.child("shape").uniform(at))
        order = np.argsort(chosen, kind="stable")
        ends = np.searchsorted(chosen[order], np.arange(len(self.shapes) + 1))
        parts = [_drawn(s, at[order[a:b]], names) for s, a, b in zip(self._places, ends, ends[1:], strict=False)]
        back = np.empty_like(order)
        back[order] = np.arange(len(order))
        return pl.concat([pl.Series([], dtype=pl.String), *(p for p in parts if len(p))]).gather(back)

    def _text(self, at: U64, names: Stream, stream: Stream) -> pl.Series:
        made = [self._sentences(at[start : start + _CHUNK], names) for start in range(0, max(len(at), 1), _CHUNK)]
        return pl.concat(made)

    def _sentences(self, at: U64, names: Stream) -> pl.Series:
        known = pl.Series(pool(LOCALE, "word_list").texts)
        u = names.child("length").uniform(at)
        size = np.maximum(np.round(np.interp(u, np.linspace(0, 1, len(self.words)), self.words)), 1).astype(np.int64)
        row = np.repeat(np.arange(len(at)), size)
        k = np.arange(len(row)) - np.repeat(np.cumsum(size) - size, size)
        word = names.child("word").integers(join_rows(at[row], k), len(known))
        frame = pl.DataFrame({"row": row, "word": known.gather(word)}, schema_overrides={"word": pl.String})
        text = frame.group_by("row", maintain_order=True).agg(pl.col("word").str.join(" "))["word"]
        if not self.sentence:
            return text
        return text.str.slice(0, 1).str.to_uppercase() + text.str.slice(1) + "."


@dataclass(frozen=True, eq=False)
class Regenerated:
    """What `learnt` draws, with the columns of `rules` beside it, in the order of `columns`. Columns that are given pass through."""

    learnt: Sampler
    rules: tuple[Rule, ...]
    columns: tuple[str, ...]

    @property
    def marginals(self) -> tuple[Any, ...]:
        return getattr(self.learnt, "marginals", ())

    def sample(self, given: Table, stream: Stream) -> Table:
        made = self.learnt.sample(given, stream).get_columns()
        address = rows(given)
        for rule in self.rules:
            told = rule.column in given.columns
            made.append(given[rule.column] if told else rule.values(address, stream.child("rule")))
        return pl.DataFrame(made).select(self.columns)


def rule_state(rule: Rule) -> dict[str, Any]:
    """A rule as plain data, without what it does not use."""
    return {k: v for k, v in vars(rule).items() if not k.startswith("_") and v != getattr(Rule, k, None)}


def rebuild_rules(state: list[Mapping[str, Any]]) -> tuple[Rule, ...]:
    """The inverse of `rule_state`. Raises ValueError for a rule that no column can have."""
    made = []
    for plain in state:
        held: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in plain.items()}
        rule = Rule(**held)
        numbers = (*rule.shares, *rule.words, *rule.repeats, rule.missing, rule.digits, rule.distinct)
        sound = (
            rule.kind in ("number", "uuid", "person", "pattern", "text")
            and rule.part in PARTS
            and all(isinstance(x, str) for x in (rule.column, rule.whose, *rule.shapes))
            and all(isinstance(x, (int, float)) and np.isfinite(x) and x >= 0 for x in numbers)
            and rule.missing <= 1
            and 1 <= rule.digits <= _MOST_DIGITS
            and rule.distinct < 2**53
            and (rule.kind != "pattern" or 0 < len(rule.shapes) == len(rule.shares))
            and (rule.kind != "text" or (len(rule.words) > 1 and max(rule.words) <= _MOST_WORDS))
            and (not rule.distinct or len(rule.repeats) > 0)
        )
        if not sound:
            raise ValueError(f"column '{rule.column}' has no rule")
        dtype_of(rule.dtype)
        _ = rule.room
        made.append(rule)
    return tuple(made)


def check_room(rules: tuple[Rule, ...], n: int) -> None:
    """Raises UserError where a unique column has no room for `n` rows."""
    for rule in rules:
        if n > rule.room:
            raise UserError(
                f"column '{rule.column}' is unique, and its pattern has room for {rule.room:,} rows, not {n:,}; "
                f"fit with --drop {rule.column}, or give the column"
            )


def _read_shape(shape: str) -> tuple[bytes, ...]:
    """The characters that each place may hold. Raises ValueError for a shape that is none."""
    places, at = [], 0
    while at < len(shape):
        literal = shape[at] == "\\"
        at += literal
        character = shape[at : at + 1]
        if not character.isascii() or not character or (not literal and character not in ALPHABETS):
            raise ValueError(f"'{shape}' is not a shape")
        places.append(character.encode() if literal else ALPHABETS[character])
        at += 1
    return tuple(places)


def _capacity(places: tuple[bytes, ...]) -> int:
    product = 1
    for alphabet in places:
        product *= len(alphabet)
    return product


def _digits(capacity: int) -> int:
    """How many decimal digits fit."""
    return min(len(str(capacity)) - 1, _MOST_DIGITS)


def _drawn(places: tuple[bytes, ...], at: U64, names: Stream) -> pl.Series:
    """Texts of one shape, distinct for addresses below 10 to the digits of its capacity."""
    capacity = _capacity(places)
    digits = _digits(capacity)
    text = np.empty((len(at), len(places)), np.uint8)
    left = scatter(names.child("number"), at, digits) if digits else np.zeros(len(at), np.uint64)
    spread = capacity // 10**digits if capacity < 2**63 else 1
    rest = names.child("rest").bits(at)
    left = left * np.uint64(spread) + rest % np.uint64(spread)
    room = min(capacity, 10**_MOST_DIGITS)
    for k in range(len(places) - 1, -1, -1):
        letters = np.frombuffer(places[k], np.uint8)
        size = len(letters)
        if size == 1:
            text[:, k] = letters[0]
        elif room >= size:
            left, digit = np.divmod(left, np.uint64(size))
            room //= size
            text[:, k] = letters[digit.astype(np.int64)]
        else:
            # what is left of the number decides nothing here but its own last values
            text[:, k] = letters[((left + names.child("place", k).bits(at)) % np.uint64(size)).astype(np.int64)]
            left, room = np.zeros_like(left), 1
    return ascii_text(text)


def as_shape(character: str, fixed: bool) -> str:
    """One place of a shape."""
    if fixed or not character.isalnum():
        return "\\" + (character if character.isascii() else "-")
    return "9" if character.isdigit() else "A" if character.isupper() else "a"


def quantiles(x: NDArray, count: int = 21) -> tuple[float, ...]:
    """Figures of a distribution whose ends are no one row's: between its 2.5 % and 97.5 % points."""
    return tuple(float(v) for v in np.round(np.quantile(x, np.linspace(0.025, 0.975, count)), 2))
