"""A module's state chart as SVG: layers from the first state to the last, transitions with their chances and conditions."""

from __future__ import annotations

from dataclasses import dataclass
from xml.sax.saxutils import escape

from ....core.picture import ALARM, PALETTE
from .program import forward
from .values import Amount, Logic, Module, Option, Share, State

LETTER, LINE, PAD, GAP, STEP = 6.6, 15.0, 9.0, 26.0, 62.0
WIDEST = 34
COLOURS = {
    "Initial": PALETTE[2],
    "Terminal": PALETTE[2],
    "Death": ALARM,
    "Delay": PALETTE[1],
    "Guard": PALETTE[1],
    "Encounter": PALETTE[0],
    "EncounterEnd": PALETTE[0],
    "CallSubmodule": PALETTE[3],
}
"""Care is blue, waiting orange, begin and end green, other modules purple; all else has the ink's colour."""


@dataclass
class _Box:
    lines: list[str]
    colour: str
    layer: int = 0
    x: float = 0.0
    y: float = 0.0

    @property
    def width(self) -> float:
        return max(len(line) for line in self.lines) * LETTER + 2 * PAD

    @property
    def height(self) -> float:
        return len(self.lines) * LINE + PAD


def draw(module: Module) -> str:
    """The chart of all states, as the text of one SVG file; the same text each time."""
    names = forward(module)
    boxes = {n: _Box(_says(module.states[n]), COLOURS.get(module.states[n].kind, "currentColor")) for n in names}
    place = {n: i for i, n in enumerate(names)}
    edges = [(n, target, label) for n in names for target, label in _edges(module.states[n])]
    for n in names:
        for a, b, _ in edges:
            if a == n and place[b] > place[a]:
                boxes[b].layer = max(boxes[b].layer, boxes[a].layer + 1)
    layers: dict[int, list[str]] = {}
    for n in names:
        layers.setdefault(boxes[n].layer, []).append(n)
    _order(layers, [(a, b) for a, b, _ in edges if place[b] > place[a]])
    width, height = _lay_out(layers, boxes)
    body = [_arrow(boxes[a], boxes[b], label, place[b] <= place[a]) for a, b, label in edges]
    body += [_box(b) for b in boxes.values()]
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0f} {height:.0f}" width="{width:.0f}" height="{height:.0f}" '
        f'font-family="DejaVu Sans, sans-serif" font-size="11" fill="currentColor" role="img">\n'
        f"<title>{escape(module.name)}</title>\n"
        '<defs><marker id="to" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" orient="auto">'
        '<path d="M0 0 8 4 0 8z"/></marker></defs>\n' + "\n".join(body) + "\n</svg>\n"
    )


def _says(state: State) -> list[str]:
    detail = state.kind
    if (amount := state.get("amount")) and isinstance(amount, Amount):
        detail += f": {_amount(amount)}"
    elif codes := state.get("codes"):
        detail += f": {codes[0].display}"
    elif "attribute" in state.has:
        detail += f": {state.has['attribute']}"
    elif "submodule" in state.has:
        detail += f": {state.has['submodule']}"
    elif "allow" in state.has:
        detail += f" until {_logic(state.has['allow'])}"
    return [_short(state.name), _short(detail)]


def _short(text: str, most: int = WIDEST) -> str:
    return text if len(text) <= most else text[: most - 1] + "…"


def _amount(amount: Amount) -> str:
    has = amount.parameters
    if amount.kind == "EXACT":
        text = f"{has['value']:g}"
    elif amount.kind == "UNIFORM":
        text = f"{has['low']:g} to {has['high']:g}"
    else:
        text = f"{amount.kind.lower()} {', '.join(f'{v:g}' for v in has.values())}"
    return f"{text} {amount.unit}".strip()


def _logic(logic: Logic) -> str:
    if logic.kind in ("And", "Or"):
        return f" {logic.kind.lower()} ".join(_logic(p) for p in logic.parts)
    if logic.kind == "Not":
        return f"not {_logic(logic.parts[0])}"
    has = logic.has
    about = has.get("attribute") or has.get("symptom") or has.get("vital_sign") or has.get("name") or logic.kind
    if codes := has.get("codes"):
        about = f"{logic.kind}: {codes[0].display}"
    value = next(
        (has[k] for k in ("value", "quantity", "year", "gender", "race", "category") if has.get(k) is not None), ""
    )
    number = f"{value:g}" if isinstance(value, float) else str(value)
    return " ".join(t for t in (about, str(has.get("operator", "")), number) if t)


def _edges(state: State) -> list[tuple[str, str]]:
    way = state.transition
    if way is None:
        return []
    found: dict[str, list[str]] = {}
    for option in way.options:
        when = _logic(option.when) if option.when else ("otherwise" if way.kind in ("conditional", "complex") else "")
        for each in option.spread or (option,):
            text = ", ".join(t for t in (when, _chance(each)) if t)
            found.setdefault(each.target or "", []).append(text)
    return [(target, _short("; ".join(t for t in texts if t), 30)) for target, texts in found.items()]


def _chance(option: Option) -> str:
    if isinstance(option.weight, Share):
        return option.weight.attribute
    return "" if option.weight is None else f"{option.weight * 100:.3g} %"


def _order(layers: dict[int, list[str]], edges: list[tuple[str, str]]) -> None:
    """Put states near the middle of those they hang together with."""
    above: dict[str, list[str]] = {}
    below: dict[str, list[str]] = {}
    for a, b in edges:
        above.setdefault(b, []).append(a)
        below.setdefault(a, []).append(b)
    for turn in range(6):
        near = above if turn % 2 == 0 else below
        rank = {n: i / max(len(row), 1) for row in layers.values() for i, n in enumerate(row)}
        for layer in sorted(layers, reverse=turn % 2 == 1):
            row = layers[layer]
            middle = {n: sum(rank[m] for m in near[n]) / len(near[n]) if n in near else rank[n] for n in row}
            row.sort(key=lambda n: middle[n])
            rank |= {n: i / len(row) for i, n in enumerate(row)}


def _lay_out(layers: dict[int, list[str]], boxes: dict[str, _Box]) -> tuple[float, float]:
    widths = [sum(boxes[n].width + GAP for n in row) for row in layers.values()]
    whole, y = max(widths) + 2 * GAP, GAP
    for layer in sorted(layers):
        row = layers[layer]
        space = (whole - sum(boxes[n].width for n in row)) / (len(row) + 1)
        x = space
        for n in row:
            boxes[n].x, boxes[n].y = x, y
            x += boxes[n].width + space
        y += max(boxes[n].height for n in row) + STEP
    return whole, y


def _arrow(a: _Box, b: _Box, label: str, back: bool) -> str:
    x1, x2 = a.x + a.width / 2, b.x + b.width / 2
    y1, y2 = a.y + a.height, b.y
    if back:
        # a circle goes round on the right
        x1, x2, y1, y2 = a.x + a.width, b.x + b.width, a.y + a.height / 2, b.y + b.height / 2
        out = max(x1, x2) + 40
        path = f"M{x1:.1f} {y1:.1f}C{out:.1f} {y1:.1f} {out:.1f} {y2:.1f} {x2:.1f} {y2 + (0 if a is not b else 6):.1f}"
    else:
        bend = (y2 - y1) / 2
        path = f"M{x1:.1f} {y1:.1f}C{x1:.1f} {y1 + bend:.1f} {x2:.1f} {y2 - bend:.1f} {x2:.1f} {y2:.1f}"
    dash = ' stroke-dasharray="4 3"' if back else ""
    arrow = f'<path d="{path}" fill="none" stroke="currentColor" stroke-opacity=".55"{dash} marker-end="url(#to)"/>'
    if not label:
        return arrow
    x, y = (x1 + 2 * x2) / 3, y1 + (y2 - y1) * 0.66
    return f'{arrow}<text x="{x:.1f}" y="{y:.1f}" font-size="9" text-anchor="middle">{escape(label)}</text>'


def _box(box: _Box) -> str:
    looks = (' font-weight="bold"', ' font-size="9.5"')
    lines = "".join(
        f'<text x="{box.x + PAD:.1f}" y="{box.y + LINE * (n + 1) - 2:.1f}"{looks[n]}>{escape(line)}</text>'
        for n, line in enumerate(box.lines)
    )
    return (
        f'<rect x="{box.x:.1f}" y="{box.y:.1f}" width="{box.width:.1f}" height="{box.height:.1f}" rx="5" fill="Canvas" '
        f'stroke="{box.colour}" stroke-width="1.4"/>{lines}'
    )
