"""Series of numbers that attributes hold and observations show as sampled data, and the files that observations are: read from a module, and
written to the record."""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ....core.errors import UserError
from .charts import CHART, Chart, chart, drawn
from .document import Document, Path, kind
from .logic import fields, listed, number, text
from .memory import NIL, SERIES, TEXT, Attribute
from .values import Series, State

if TYPE_CHECKING:
    from .machine import Run

PERIOD = 1.0
"""Seconds between two values of a series, where none are told."""
FORMAT = re.compile(r"[#,]*(0*)(?:\.(0*)(#*))?")
"""The part of Java's DecimalFormat that is a number: digits before the point at least, after it at least, after it beyond."""


@dataclass(frozen=True)
class Sampled:
    """How an observation shows series: those that attributes hold, side by side."""

    attributes: tuple[str, ...]
    origin: float = 0.0
    factor: float | None = None
    lower_limit: float | None = None
    upper_limit: float | None = None
    digits: tuple[int, int, int] = (1, 0, 3)
    """Before the point at least; after it at least and at most."""


@dataclass(frozen=True)
class File:
    """What an observation is, where it is a file: its content in base64, its address, or a chart that is drawn of what attributes hold."""

    content: str | None
    inline: bool
    chart: Chart | None
    content_type: str | None
    language: str | None = None
    title: str | None = None
    size: int | None = None
    hash: str | None = None
    creation: str | None = None
    height: int | None = None
    width: int | None = None
    frames: int | None = None
    duration: float | None = None
    pages: int | None = None


ABOUT = (
    "content_type",
    "language",
    "title",
    "size",
    "hash",
    "creation",
    "height",
    "width",
    "frames",
    "duration",
    "pages",
)
"""What is told of a file beside its content."""
COUNTS = ("size", "height", "width", "frames", "pages")


def series(doc: Document, at: Path, value: Any, period: Any) -> Series:
    """`series_data`, numbers with spaces between, with its `period` in seconds."""
    said = text(doc, at, value).split()
    numbers = []
    for word in said:
        try:
            numbers.append(float(word))
        except ValueError:
            numbers.append(float("nan"))
        if not abs(numbers[-1]) < 1e300:
            doc.complain(at, f"'{word}' in series_data is no number")
    step = PERIOD if period is None else number(doc, (*at[:-1], "period"), period)
    return Series(tuple(numbers), step if step > 0 else PERIOD)


def sampled(doc: Document, at: Path, node: Any) -> Sampled | None:
    may = {"origin_value", "factor", "lower_limit", "upper_limit", "decimal_format"}
    if not fields(doc, at, node, {"attributes"}, may, "sampled_data"):
        return None
    names = [
        text(doc, (*at, "attributes", n), a) for n, a in enumerate(listed(doc, (*at, "attributes"), node["attributes"]))
    ]
    numbers = {
        k: number(doc, (*at, k), node[k]) for k in ("factor", "lower_limit", "upper_limit") if node.get(k) is not None
    }
    origin = number(doc, (*at, "origin_value"), node.get("origin_value", 0.0))
    digits = Sampled.digits
    if said := node.get("decimal_format"):
        if (found := FORMAT.fullmatch(str(said))) is None:
            doc.complain((*at, "decimal_format"), f"'{said}' is no pattern of a number such as 0.00 or #.##")
        else:
            least, most = len(found[2] or ""), len(found[2] or "") + len(found[3] or "")
            digits = (len(found[1]), least, most)
    return Sampled(tuple(names), origin, digits=digits, **numbers)


def file(doc: Document, at: Path, node: Any) -> File | None:
    """An `attachment`: one of `data`, `url` and `chart`, and what is told of it."""
    if not fields(doc, at, node, set(), {"data", "url", "chart", "validated", *ABOUT}, "attachment"):
        return None
    given = [k for k in ("chart", "url", "data") if node.get(k) is not None]
    if len(given) != 1:
        doc.complain(at, f"attachment has {' and '.join(given) or 'none'} of 'chart', 'url' and 'data', expected one")
        return None
    about: dict[str, Any] = {}
    for name in ABOUT:
        if (value := node.get(name)) is None:
            continue
        if name in COUNTS:
            about[name] = int(number(doc, (*at, name), value, 0)) or None
        elif name == "duration":
            about[name] = number(doc, (*at, name), value, 0) or None
        else:
            about[name] = text(doc, (*at, name), value)
    about.setdefault("content_type", None)
    if given == ["chart"]:
        made = chart(doc, (*at, "chart"), node["chart"])
        if made is None:
            return None
        shown = {"content_type": CHART, "title": made.title, "height": made.height, "width": made.width}
        return File(None, True, made, **{**about, **shown})
    content = text(doc, (*at, given[0]), node[given[0]])
    if given == ["data"]:
        about["content_type"] = about["content_type"] or "application/octet-stream"
        try:
            base64.b64decode(content, validate=True)
        except (binascii.Error, ValueError):
            doc.complain((*at, "data"), f"{kind(content[:20])} is not base64")
    return File(content, given == ["data"], None, **about)


def shown(run: Run, part: Sampled, p: NDArray) -> tuple[NDArray, NDArray]:
    """Kinds and values of what observations show as sampled data: nothing where an attribute holds no series."""
    held = [run.attribute(name) for name in part.attributes]
    known = np.logical_and.reduce([a.kind[p] == SERIES for a in held])
    which = np.stack([np.where(known, a.value[p], -1.0) for a in held], axis=1).astype(np.int64)
    value = np.zeros(len(p))
    for numbers in np.unique(which[known], axis=0):
        value[known & (which == numbers).all(axis=1)] = run.series(_woven(run, part, numbers.tolist()))
    return np.where(known, SERIES, NIL), value


def _woven(run: Run, part: Sampled, numbers: list[int]) -> tuple[Sampled, str, float]:
    """Series side by side as FHIR's SampledData has them: the first values of all, then the second ones."""
    every: list[Series] = [run.series.values[n] for n in numbers]
    if len({(len(s.numbers), s.period) for s in every}) > 1:
        raise UserError(
            f"sampled_data of {', '.join(part.attributes)}: series of {', '.join(f'{len(s.numbers)} values every {s.period:g} s' for s in every)} "
            "do not fit together; give them one length and one period"
        )
    rows = zip(*(s.numbers for s in every), strict=True)
    return part, " ".join(_written(v, part.digits) for row in rows for v in row), every[0].period


def _written(value: float, digits: tuple[int, int, int]) -> str:
    before, least, most = digits
    whole, _, after = f"{abs(value):.{most}f}".partition(".")
    after = after.rstrip("0").ljust(least, "0")
    sign = "-" if value < 0 and float(f"{value:.{most}f}") else ""
    return f"{sign}{whole.rjust(before, '0')}" + (f".{after}" if after else "")


def content(run: Run, part: File, p: NDArray) -> NDArray:
    """The text, by number, that stands for a file in the record: its content in base64, or its address."""
    if part.chart is None:
        return np.full(len(p), run.plain(part.content)[1])
    held = [run.attribute(name) for name in part.chart.attributes]
    which = np.stack([np.where(a.kind[p] == SERIES, a.value[p], -1.0) for a in held], axis=1).astype(np.int64)
    out = np.zeros(len(p))
    for numbers in np.unique(which, axis=0):
        found = {
            n: run.series.values[k] if k >= 0 else None
            for n, k in zip(part.chart.attributes, numbers.tolist(), strict=True)
        }
        image = base64.b64encode(drawn(part.chart, found).encode()).decode()
        out[(which == numbers).all(axis=1)] = run.plain(image)[1]
    return out


def reads(part: State) -> tuple[str, ...]:
    """The attributes whose series an observation shows or draws."""
    series, filed = part.get("sampled_data"), part.get("attachment")
    drawn_of = filed.chart.attributes if filed is not None and filed.chart is not None else ()
    return (*(series.attributes if series is not None else ()), *drawn_of)


def unseen(attribute: Attribute, p: NDArray) -> NDArray:
    """The kinds that an attribute has for observations that show it as it is: a series is none of FHIR's values without sampled_data."""
    return np.where(attribute.kind[p] == SERIES, NIL, attribute.kind[p])


def frames(
    run: Run, kinds: NDArray, values: NDArray, parts: list[State], at: NDArray
) -> tuple[pl.Series, dict[str, pl.DataFrame]]:
    """Of observations in order, each of the part `at` of `parts`: the texts of those that are sampled data, and the frames `sampled_data` and
    `attachment`, of which each row names its observation."""
    rows = np.flatnonzero(kinds == SERIES)
    woven: list[tuple[Sampled, str, float]] = [run.series.values[n] for n in values[rows].astype(np.int64).tolist()]
    texts: list[str | None] = [None] * len(kinds)
    for row, (_, data, _) in zip(rows.tolist(), woven, strict=True):
        texts[row] = data
    told = [
        {"observation": n, **_told(part, period)} for n, (part, _, period) in zip(rows.tolist(), woven, strict=True)
    ]
    filed = np.array([p.get("attachment") is not None for p in parts], bool)
    held = np.flatnonzero(filed[at] & (kinds == TEXT)) if len(parts) else np.empty(0, np.int64)
    contents = [run.texts.values[n] for n in values[held].astype(np.int64).tolist()]
    files = [
        {"observation": n, **_about(parts[k].has["attachment"], text)}
        for n, k, text in zip(held.tolist(), at[held].tolist(), contents, strict=True)
    ]
    made = {
        "sampled_data": pl.DataFrame(told, schema={"observation": pl.Int64, **SAMPLED}),
        "attachment": pl.DataFrame(files, schema={"observation": pl.Int64, **ATTACHED}),
    }
    return pl.Series(texts, dtype=pl.String), made


def _about(part: File, text: str) -> Mapping[str, Any]:
    """What is told of a file; size and hash of a content are its own."""
    said = {k: v for k, v in asdict(part).items() if k in ATTACHED}
    if not part.inline:
        return said
    data = base64.b64decode(text)
    digest = base64.b64encode(hashlib.sha1(data, usedforsecurity=False).digest()).decode()
    return {**said, "size": len(data), "hash": part.hash or digest}


def _told(part: Sampled, period: float) -> Mapping[str, Any]:
    return {
        "period": period * 1000, "dimensions": len(part.attributes), "origin": part.origin, "factor": part.factor,
        "lower_limit": part.lower_limit, "upper_limit": part.upper_limit,
    }  # fmt: skip


SAMPLED: dict[str, Any] = {
    "period": pl.Float64, "dimensions": pl.Int64, "origin": pl.Float64, "factor": pl.Float64, "lower_limit": pl.Float64,
    "upper_limit": pl.Float64,
}  # fmt: skip
ATTACHED: dict[str, Any] = {
    "inline": pl.Boolean, **{k: pl.Int64 if k in COUNTS else pl.Float64 if k == "duration" else pl.String for k in ABOUT},
}  # fmt: skip
