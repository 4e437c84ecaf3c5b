"""Values for a column of which only its type, its name and its constraints are known."""

from __future__ import annotations

import numpy as np
import polars as pl

from ..domain import Window
from ..errors import UserError
from ..samplers.text import Company, person
from ..stream import Stream
from .meaning import concept, words
from .pattern import distinct_matching, draw_matching
from .rules import Hint
from .target import TargetColumn, TargetTable

_DAY = 86_400_000_000
_DIGITS = np.array(list("0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ"))
_PERSON = {"given_name", "family_name", "person_name", "email", "phone", "street", "city", "postal_code", "region"}


def draw(
    table: TargetTable, column: TargetColumn, hint: Hint, rows: np.ndarray, stream: Stream, kin: Stream, window: Window
) -> pl.Series:
    """One value for each row address. Raises UserError for a type that nothing is known of."""
    choices = column.choices or hint.choices
    if choices:
        picked = stream.integers(rows, len(choices))
        return pl.Series(column.name, choices, strict=False).gather(picked)
    u = stream.uniform(rows)
    if column.kind in ("int", "decimal", "float"):
        return _number(column, hint, u)
    if column.kind == "bool":
        return pl.Series(column.name, u < 0.5)
    if column.kind in ("date", "instant", "time"):
        return _moment(column, u, window)
    if column.kind == "uuid":
        return _uuid(column.name, stream, rows)
    if column.kind == "json":
        return pl.Series(column.name, np.full(len(rows), "{}"))
    if column.kind == "bytes":
        return pl.Series(column.name, [b""] * len(rows), pl.Binary)
    if column.kind == "text" and hint.pattern is not None:
        matching = draw_matching(hint.pattern, rows, stream, hint.shortest, _longest(column, hint))
        return pl.Series(column.name, matching, pl.String)
    if column.kind == "text":
        return _text(table, column, hint, rows, stream, kin)
    raise UserError(
        f"{table.name}.{column.name}: nothing is known of the type {column.kind}. Give the column in the mapping, or let it be null."
    )


def distinct(
    table: TargetTable, column: TargetColumn, hint: Hint, count: int, stream: Stream, kin: Stream, window: Window
) -> pl.Series:
    """Values of which no two are alike. Raises UserError where the column has too few."""
    place = f"{table.name}.{column.name}"
    if choices := column.choices or hint.choices:
        if count > len(choices):
            raise UserError(f"{place}: {count:,} rows need as many different values; it allows {len(choices)}")
        return pl.Series(column.name, choices[:count], strict=False)
    if column.kind in ("int", "decimal", "float"):
        low = 1 if hint.low is None else int(np.ceil(hint.low)) + int(hint.above)
        high = column.high if hint.high is None else int(hint.high) - int(hint.below)
        if column.digits:
            high = min(high, 10 ** (column.digits[0] - column.digits[1]) - 1)
        if low + count - 1 > high:
            raise UserError(f"{place}: {count:,} rows need as many different values; it holds {low} to {high:,}")
        return pl.Series(column.name, np.arange(low, low + count))
    if column.kind in ("date", "instant"):
        step = _DAY if column.kind == "date" else max(1, (window.end - window.start) // max(count, 1))
        at = pl.Series(column.name, window.start + np.arange(count) * step).cast(pl.Datetime("us"))
        return at.cast(pl.Date) if column.kind == "date" else at
    rows = np.arange(count, dtype=np.uint64)
    if column.kind == "uuid":
        return _uuid(column.name, stream, rows)
    if column.kind != "text":
        raise UserError(f"{place}: no {count:,} different values of the type {column.kind} are known")
    longest = _longest(column, hint)
    if hint.pattern is not None:
        return pl.Series(
            column.name, distinct_matching(hint.pattern, count, stream, hint.shortest, longest, place), pl.String
        )
    about = concept(column.name)
    if about and longest >= 24:
        if about == "email":
            plain = _text(table, column, hint, rows, stream, kin).str.split("@")
            return (plain.list.get(0).str.slice(0, longest - 20) + _tail(count) + "@" + plain.list.get(1)).alias(
                column.name
            )
        return (
            _text(table, column, hint, rows, stream, kin).str.slice(0, longest - 8)
            + _tail(count, "" if about in ("username", "url") else " ")
        ).alias(column.name)
    width = max(1, hint.shortest, int(np.ceil(np.log(max(count, 2)) / np.log(36))))
    width = max(width, min(longest, 5))
    if width > longest or count > 36**width:
        raise UserError(f"{place}: {count:,} rows need as many different values; {longest} characters are too few")
    left, signs = np.arange(count), []
    for _ in range(width):
        signs.append(_DIGITS[left % 36])
        left = left // 36
    return pl.Series(column.name, ["".join(row) for row in zip(*signs[::-1], strict=True)])


def _tail(count: int, before: str = "") -> pl.Series:
    return before + pl.Series(np.arange(1, count + 1)).cast(pl.String)


def _longest(column: TargetColumn, hint: Hint) -> int:
    return min(column.length or 255, 255 if hint.longest is None else hint.longest)


def _number(column: TargetColumn, hint: Hint, u: np.ndarray) -> pl.Series:
    scale = 0 if column.kind == "int" else column.digits[1] if column.digits else 2
    unit = 10**scale
    limit = column.high
    if column.digits:
        limit = 10 ** (column.digits[0] - column.digits[1]) - 1
    usual = {"quantity": 20, "amount": 500}.get(concept(column.name) or "", 100)
    low = 0 if hint.low is None else hint.low
    high = min(limit, max(usual, low * 2, low + 1) if hint.high is None else hint.high)
    low = min(low, high) if hint.low is not None or high >= 0 else high - usual
    first = int(np.floor(low * unit)) + int(hint.above)
    last = int(np.floor(high * unit)) - int(hint.below)
    steps = first + np.floor(u * (last - first + 1)).astype(np.int64)
    return pl.Series(column.name, steps if scale == 0 else np.round(steps / unit, scale))


def _moment(column: TargetColumn, u: np.ndarray, window: Window) -> pl.Series:
    if column.kind == "time":
        return pl.Series(column.name, (u * 86_400).astype(np.int64) * 1_000_000_000).cast(pl.Time)
    start, end = window.start, window.end
    if concept(column.name) == "birth_date":
        start, end = window.start - 85 * 365 * _DAY, window.start - 18 * 365 * _DAY
    at = pl.Series(column.name, start + (u * (end - start) // 1_000_000).astype(np.int64) * 1_000_000).cast(
        pl.Datetime("us")
    )
    return at.cast(pl.Date) if column.kind == "date" else at


def _uuid(name: str, stream: Stream, rows: np.ndarray) -> pl.Series:
    import uuid

    high, low = stream.child("high").bits(rows), stream.child("low").bits(rows)
    pairs = zip(high.tolist(), low.tolist(), strict=True)
    return pl.Series(name, [str(uuid.UUID(int=(a << 64) | b, version=4)) for a, b in pairs], pl.String)


def _text(
    table: TargetTable, column: TargetColumn, hint: Hint, rows: np.ndarray, stream: Stream, kin: Stream
) -> pl.Series:
    """A row's person is one: first name, e-mail address and city go together."""
    about, longest = concept(column.name), _longest(column, hint)
    given = pl.DataFrame({"_row": rows})
    if about in _PERSON:
        values = person().sample(given, kin)[about.removeprefix("person_")]
    elif about == "company":
        values = Company("company").sample(given, kin).to_series()
    elif about == "country":
        values = pl.Series(np.full(len(rows), "US"))
    elif about == "currency":
        values = pl.Series(np.full(len(rows), "USD"))
    elif about == "gender":
        values = pl.Series(np.where(stream.uniform(rows) < 0.5, "F", "M"))
    elif about == "username":
        people = person().sample(given, kin)
        values = (
            people["given_name"].cast(pl.String).str.to_lowercase()
            + "."
            + people["family_name"].cast(pl.String).str.to_lowercase()
        )
    elif about == "url":
        values = "https://www.example.com/" + pl.Series(rows).cast(pl.String)
    else:
        said = " ".join(w for w in words(column.name) if w not in words(table.name)) or "name"
        label = f"{' '.join(words(table.name))} {said} ".capitalize()
        number = pl.Series(stream.integers(rows, 1000)).cast(pl.String)
        room = max(longest - 4, 0)
        values = pl.Series(np.full(len(rows), label[:room])) + number
    values = values.cast(pl.String).str.slice(0, longest)
    return values.str.pad_end(hint.shortest, "x").alias(column.name)
