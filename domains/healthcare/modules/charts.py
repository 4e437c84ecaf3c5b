"""Charts of the series that attributes hold, drawn as SVG: what an attachment with a `chart` is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from xml.sax.saxutils import escape

from .document import Document, Path
from .logic import fields, flag, listed, number, text
from .values import Series

CHART = "image/svg+xml"
COLOURS = ("#1f77b4", "#d62728", "#2ca02c", "#ff7f0e", "#9467bd")
EDGE, LINE = 34, 14
"""Pixels around the picture's field; the height of a line of text."""
TIME = "time"
"""The horizontal axis that no attribute holds: seconds since a series' first value."""


@dataclass(frozen=True)
class Chart:
    kind: str
    """line or scatter."""
    title: str
    across: str
    """`TIME`, or the attribute whose series is drawn across."""
    labels: tuple[str, str]
    hidden: tuple[bool, bool]
    width: int
    height: int
    series: tuple[tuple[str, str], ...]
    """Attribute and label of each."""

    @property
    def attributes(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys((*(a for a, _ in self.series), *(() if self.across == TIME else (self.across,)))))


def chart(doc: Document, at: Path, node: Any) -> Chart | None:
    may = {
        "type",
        "title",
        "axis_attribute_x",
        "axis_label_x",
        "axis_label_y",
        "axis_hidden_x",
        "axis_hidden_y",
        "width",
        "height",
    }
    if not fields(doc, at, node, {"series"}, may, "chart"):
        return None
    series = []
    for n, one in enumerate(listed(doc, (*at, "series"), node["series"])):
        if fields(doc, (*at, "series", n), one, {"attribute"}, {"label"}, "series of a chart"):
            name = text(doc, (*at, "series", n, "attribute"), one["attribute"])
            series.append((name, str(one.get("label") or name)))
    across = str(node.get("axis_attribute_x") or TIME)
    said = [str(node.get(f"axis_label_{a}") or "") for a in "xy"]
    hidden = [flag(doc, (*at, f"axis_hidden_{a}"), node.get(f"axis_hidden_{a}", False)) for a in "xy"]
    width, height = (
        int(number(doc, (*at, k), node.get(k, d), 80, 10_000)) for k, d in (("width", 400), ("height", 200))
    )
    kind = text(doc, (*at, "type"), node.get("type", "line"), ("line", "scatter"))
    labels = (said[0] or across, said[1])
    return Chart(
        kind, str(node.get("title") or ""), across, labels, (hidden[0], hidden[1]), width, height, tuple(series)
    )


def drawn(chart: Chart, held: Mapping[str, Series | None]) -> str:
    """The chart of one patient, whose attributes hold these series; of one that they do not hold nothing is drawn."""
    lines = []
    for name, label in chart.series:
        found, across = held[name], held.get(chart.across)
        if found is None or (chart.across != TIME and across is None):
            continue
        xs = [n * found.period for n in range(len(found.numbers))] if across is None else across.numbers
        lines.append((label, list(zip(xs, found.numbers, strict=False))))
    points = [p for _, line in lines for p in line] or [(0.0, 0.0)]
    (left, right), (low, high) = ((min(v), max(v)) for v in zip(*points, strict=True))
    wide, tall = chart.width - 2 * EDGE, chart.height - 2 * EDGE

    def place(x: float, y: float) -> str:
        return f"{EDGE + wide * (x - left) / ((right - left) or 1):.1f},{EDGE + tall * (high - y) / ((high - low) or 1):.1f}"

    body = [f'<text x="{chart.width / 2:.0f}" y="{LINE}" text-anchor="middle">{escape(chart.title)}</text>']
    body.append(f'<rect x="{EDGE}" y="{EDGE}" width="{wide}" height="{tall}" fill="none" stroke="#888"/>')
    if not chart.hidden[0]:
        y = chart.height - EDGE + LINE
        body += [
            _text(EDGE, y, f"{left:g}"),
            _text(chart.width - EDGE, y, f"{right:g}"),
            _text(chart.width / 2, y + LINE, chart.labels[0]),
        ]
    if not chart.hidden[1]:
        body += [
            _text(EDGE / 2, chart.height - EDGE, f"{low:g}"),
            _text(EDGE / 2, EDGE, f"{high:g}"),
            _text(EDGE, EDGE - 4, chart.labels[1]),
        ]
    for n, (label, line) in enumerate(lines):
        colour = COLOURS[n % len(COLOURS)]
        if chart.kind == "line":
            body.append(f'<polyline points="{" ".join(place(*p) for p in line)}" fill="none" stroke="{colour}"/>')
        else:
            spots = (place(*p).split(",") for p in line)
            body += [f'<circle cx="{x}" cy="{y}" r="2" fill="{colour}"/>' for x, y in spots]
        body.append(
            f'<text x="{chart.width - EDGE}" y="{EDGE + LINE * (n + 1)}" text-anchor="end" fill="{colour}">{escape(label)}</text>'
        )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{chart.width}" height="{chart.height}" font-size="10" font-family="sans-serif">'
        f"{''.join(body)}</svg>"
    )


def _text(x: float, y: float, said: str) -> str:
    return f'<text x="{x:.0f}" y="{y:.0f}" text-anchor="middle">{escape(said)}</text>'
