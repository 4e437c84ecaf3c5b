"""JSON documents from tables: a template is the document itself with columns where values go, and compiles to one column expression.

    render(frame, {
        "resourceType": "Observation",
        "id": Text("observation-", pl.col("observation_id")),
        "code": Pick(pl.col("code"), {"8867-4": {"text": "Heart rate"}}),
        "valueQuantity": {"value": pl.col("value"), "unit": "/min"},
    })

Mappings are objects, lists are arrays, plain values are constants, a polars expression is a value of each row. What has no value (null,
or a number that is not finite) leaves its field out, and so does an object or array all of whose columns have none: a unit never
stands without its value. No Python object is made for a row.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from typing import Any, TypeAlias

import polars as pl

Template: TypeAlias = Any
"""Mapping, list, constant, `pl.Expr`, `Text`, `Pick` or `Raw`, nested at will."""

_SLICE = 1 << 15  # rows at a time: the texts of the values stay in the cache until they are put together
_DAY, _SECOND = 86_400_000_000, 1_000_000
_SPAN = 4_096  # days whose texts are kept together
# RFC 8259 section 7: quotation mark, reverse solidus and the control characters must be escaped, nothing else need be
_ESCAPES = {c: json.dumps(c)[1:-1] for c in ['"', "\\", *map(chr, range(32))]}
_UNSAFE = r'["\\\x00-\x1f]'


@dataclass(frozen=True)
class Text:
    """One JSON string from several parts, constants and expressions; absent if one of them is null."""

    parts: tuple[str | pl.Expr, ...]

    def __init__(self, *parts: str | pl.Expr) -> None:
        object.__setattr__(self, "parts", parts)


@dataclass(frozen=True)
class Pick:
    """A constant for each code of a column; absent for a code that has none."""

    code: pl.Expr
    constants: Mapping[str, Any]

    @cached_property
    def texts(self) -> Mapping[str, str]:
        """Each constant as JSON."""
        return {k: json.dumps(v, ensure_ascii=False, separators=(",", ":")) for k, v in self.constants.items()}


@dataclass(frozen=True)
class Raw:
    """A column that holds JSON text already."""

    text: pl.Expr


def render(frame: pl.DataFrame, template: Template) -> pl.Series:
    """One JSON text for each row. `template` must be an object. Raises TypeError for a column of a type that JSON has no form for."""
    leaves: list[pl.Expr] = []
    _collect(template, leaves, frame.schema)
    if not leaves:
        node = _Assembly(frame, frame.schema).build(template)
        return pl.repeat("".join(map(str, node.pieces)), frame.height, dtype=pl.String, eager=True).alias("text")
    parts = []
    for part in frame.iter_slices(_SLICE) if frame.height else [frame]:
        texts = part.select(leaf.alias(str(n)) for n, leaf in enumerate(leaves))
        # the root stands even if it has no value at all
        parts.append(texts.select(_concat(_Assembly(texts, frame.schema).build(template).pieces).alias("text")))
    return pl.concat(parts).to_series()


def render_cases(frame: pl.DataFrame, cases: Sequence[tuple[pl.Expr, Template]]) -> pl.Series:
    """One JSON text for each row, by the template of the first predicate that holds for it. Faster than one template in which
    most fields are absent from most rows. Raises ValueError if a row meets no predicate."""
    case = pl.lit(None, pl.Int32)
    for n, (predicate, _) in reversed(list(enumerate(cases))):
        case = pl.when(predicate).then(n).otherwise(case)
    chosen = frame.with_columns(case.alias("case"))["case"]
    if chosen.null_count():
        raise ValueError(f"{chosen.null_count():,} rows meet no case")
    where = [(chosen == n).arg_true() for n in range(len(cases))]
    texts = pl.concat([render(frame[rows], template) for rows, (_, template) in zip(where, cases, strict=True)])
    return texts.gather(pl.concat(where).arg_sort())


# Values ----------------------------------------------------------------------------------------------------------------


def _collect(template: Template, leaves: list[pl.Expr], schema: pl.Schema) -> None:
    """The text of every leaf, in the order in which `_Assembly` meets them."""
    match template:
        case Mapping():
            for child in template.values():
                _collect(child, leaves, schema)
        case list():
            for child in template:
                _collect(child, leaves, schema)
        case Text():
            leaves.extend(_bare(p, schema) for p in template.parts if isinstance(p, pl.Expr))
        case Pick():
            leaves.append(_picked(template, schema))
        case Raw():
            leaves.append(template.text)
        case pl.Expr():
            leaves.append(_bare(template, schema))


def _dtype(expr: pl.Expr, schema: pl.Schema) -> pl.DataType:
    if expr.meta.is_column():
        return schema[expr.meta.output_name()]
    return pl.LazyFrame(schema=schema).select(expr.alias("x")).collect_schema()["x"]


def _quoted(expr: pl.Expr, schema: pl.Schema) -> bool:
    dtype = _dtype(expr, schema)
    return not (dtype.is_numeric() or dtype == pl.Boolean)


def _bare(expr: pl.Expr, schema: pl.Schema) -> pl.Expr:
    """The text of a value, without quotation marks."""
    dtype = _dtype(expr, schema)
    if isinstance(dtype, pl.Enum):
        pool = pl.Series([json.dumps(c, ensure_ascii=False)[1:-1] for c in dtype.categories], dtype=pl.String)
        return pl.lit(pool).gather(expr.to_physical())
    if dtype == pl.String or isinstance(dtype, pl.Categorical):
        return expr.cast(pl.String).map_batches(_escape, return_dtype=pl.String)
    if dtype.is_float():
        finite = pl.when(expr.is_finite()).then(expr)
        return finite.cast(pl.String).str.strip_suffix(".0")
    if dtype.is_integer() or dtype == pl.Boolean or dtype == pl.Date:
        return expr.cast(pl.String)
    if isinstance(dtype, pl.Datetime):
        micros = expr.dt.convert_time_zone("UTC") if dtype.time_zone else expr
        return micros.dt.epoch("us").map_batches(_instant, return_dtype=pl.String)
    raise TypeError(f"no JSON form for a column of type {dtype}")


def _escape(texts: pl.Series) -> pl.Series:
    if not texts.str.contains(_UNSAFE).any():
        return texts
    return texts.str.replace_many(list(_ESCAPES), list(_ESCAPES.values()))


def _instant(micros: pl.Series) -> pl.Series:
    """RFC 3339 in UTC. Days and seconds of the day are looked up: three times as fast as formatting each instant."""
    frame = micros.to_frame("t")
    day, rest = pl.col("t") // _DAY, pl.col("t") % _DAY
    low, high = frame.select(day.min().alias("low"), day.max().alias("high")).row(0)
    if low is None:
        return pl.Series(micros.name, [None] * len(micros), dtype=pl.String)
    first, last = low // _SPAN, high // _SPAN + 1
    if last - first < 50:
        date = pl.lit(_days(first, last)).gather(day - first * _SPAN)
    else:
        date = day.cast(pl.Int32).cast(pl.Date).cast(pl.String)
    clock = pl.lit(_CLOCK).gather(rest // _SECOND)
    whole = pl.concat_str(date, clock, pl.lit("Z"))
    if not (micros % _SECOND != 0).any():
        return frame.select(whole).to_series()
    part = (rest % _SECOND).cast(pl.String).str.zfill(6)
    exact = pl.concat_str(date, clock, pl.lit("."), part, pl.lit("Z"))
    return frame.select(pl.when(rest % _SECOND == 0).then(whole).otherwise(exact)).to_series()


@lru_cache(8)
def _days(first: int, last: int) -> pl.Series:
    """The dates of some spans of `_SPAN` days, counted from 1970, as texts."""
    return pl.int_range(first * _SPAN, last * _SPAN, dtype=pl.Int32, eager=True).cast(pl.Date).cast(pl.String)


_CLOCK = pl.Series([f"T{s // 3600:02}:{s // 60 % 60:02}:{s % 60:02}" for s in range(86_400)])


def _picked(pick: Pick, schema: pl.Schema) -> pl.Expr:
    dtype = _dtype(pick.code, schema)
    if isinstance(dtype, pl.Enum):
        pool = pl.Series([pick.texts.get(c) for c in dtype.categories], dtype=pl.String)
        return pl.lit(pool).gather(pick.code.to_physical())
    return pick.code.cast(pl.String).replace_strict(pick.texts, default=None, return_dtype=pl.String)


# Assembly --------------------------------------------------------------------------------------------------------------

_Piece: TypeAlias = "str | pl.Expr"


@dataclass(frozen=True)
class _Node:
    """The text of a part of the template: constants and columns in order. `present` is None where it always stands; `columns`
    counts the columns in it, so that what holds only constants is told from what has lost all its values."""

    pieces: list[_Piece]
    present: pl.Expr | None
    columns: int


@dataclass
class _Assembly:
    texts: pl.DataFrame
    schema: pl.Schema
    taken: int = field(default=0)

    def build(self, template: Template) -> _Node:
        match template:
            case Mapping():
                members = [(json.dumps(k, ensure_ascii=False) + ":", self.build(v)) for k, v in template.items()]
                return _join("{", members, "}")
            case list():
                return _join("[", [("", self.build(v)) for v in template], "]")
            case Text():
                parts = [p if isinstance(p, str) else self._leaf() for p in template.parts]
                pieces: list[_Piece] = ['"']
                for p in parts:
                    pieces += [json.dumps(p, ensure_ascii=False)[1:-1]] if isinstance(p, str) else p.pieces
                gone = [p.present for p in parts if isinstance(p, _Node) and p.present is not None]
                return _Node([*pieces, '"'], pl.all_horizontal(gone) if gone else None, len(template.parts))
            case pl.Expr() if _quoted(template, self.schema):
                leaf = self._leaf()
                return _Node(['"', *leaf.pieces, '"'], leaf.present, 1)
            case Pick() | Raw() | pl.Expr():
                return self._leaf()
            case _:
                return _Node([json.dumps(template, ensure_ascii=False)], None, 0)

    def _leaf(self) -> _Node:
        name = str(self.taken)
        self.taken += 1
        return _Node([pl.col(name)], pl.col(name).is_not_null() if self.texts[name].null_count() else None, 1)


def _join(opening: str, members: Sequence[tuple[str, _Node]], closing: str) -> _Node:
    """Members with commas between those that are there."""
    always = next((i for i, (_, m) in enumerate(members) if m.present is None), None)
    pieces: list[_Piece] = []
    for i, (name, member) in enumerate(members):
        before = "," if always is None or i > always else ""
        after = "," if always is not None and i < always else ""
        text = [before + name, *member.pieces, after]
        pieces += (
            text if member.present is None else [pl.when(member.present).then(_concat(text)).otherwise(pl.lit(""))]
        )
    columns = sum(m.columns for _, m in members)
    valued = [m.present for _, m in members if m.columns]
    optional = bool(valued) and all(p is not None for p in valued)
    present = pl.any_horizontal([p for p in valued if p is not None]) if optional else None
    if always is None and members:
        pieces = [_concat(pieces).str.strip_prefix(",")]
    return _Node([opening, *pieces, closing], present, columns)


def _concat(pieces: Sequence[_Piece]) -> pl.Expr:
    """One expression; neighbouring constants become one."""
    merged: list[_Piece] = []
    for piece in pieces:
        if isinstance(piece, str) and merged and isinstance(merged[-1], str):
            merged[-1] += piece
        elif not isinstance(piece, str) or piece:
            merged.append(piece)
    return pl.concat_str([pl.lit(p) if isinstance(p, str) else p for p in merged])
