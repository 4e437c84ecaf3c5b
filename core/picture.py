"""One look for every chart: `figure` opens one, `to_svg` turns it into the same SVG text each time.

    fig = figure(6.4, 3.2)
    ax = fig.subplots()
    ax.bar(hours, counts)
    Picture("Hours of the day", "Card payments by local hour.", to_svg(fig))

Colours are Okabe and Ito's (2008, "Color Universal Design"), told apart with every common form of colour blindness. Ink is
`currentColor` and the ground is transparent, so a chart follows the light or dark page that it stands on.
"""

from __future__ import annotations

import hashlib
import io
import re
from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PALETTE = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9")
"""In order of use: blue, orange, green, purple, sky. All stand out on white and on near-black."""

ALARM = "#D55E00"
"""Vermilion, kept for what a scenario made: fraud, faults, deterioration."""

_INK = "#010203"  # stands for currentColor until the text is written: matplotlib knows no such colour
_STYLE: Any = {
    "svg.hashsalt": "populace",
    "svg.fonttype": "none",
    "font.family": ["DejaVu Sans"],  # ships with matplotlib, so every machine lays a chart out alike
    "font.size": 11,
    "axes.edgecolor": _INK,
    "axes.facecolor": "none",
    "figure.facecolor": "none",
    "savefig.facecolor": "none",
    "axes.labelcolor": _INK,
    "axes.titlecolor": _INK,
    "axes.titlelocation": "left",
    "axes.titlesize": 11,
    "text.color": _INK,
    "xtick.color": _INK,
    "ytick.color": _INK,
    "axes.linewidth": 0.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.spines.left": False,
    "axes.grid": True,
    "axes.grid.axis": "y",
    "axes.axisbelow": True,
    "grid.color": _INK,
    "grid.alpha": 0.15,
    "grid.linewidth": 0.6,
    "xtick.major.size": 0,
    "ytick.major.size": 0,
    "xtick.minor.size": 0,
    "ytick.minor.size": 0,
    "xtick.major.pad": 6,
    "ytick.major.pad": 6,
    "lines.linewidth": 1.6,
    "lines.solid_capstyle": "round",
    "patch.linewidth": 0,
    "legend.frameon": False,
    "figure.constrained_layout.use": True,
}


def figure(width: float = 6.4, height: float = 3.4) -> Figure:
    """An empty figure of `width` by `height` inches; its axes come in the house style. No display and no global state."""
    import matplotlib as mpl
    from cycler import cycler
    from matplotlib.figure import Figure

    style: Any = {**_STYLE, "axes.prop_cycle": cycler(color=[*PALETTE, ALARM])}

    class House(Figure):
        # an axes reads its style when it is made
        def add_subplot(self, *args: Any, **kwargs: Any) -> Any:
            with mpl.rc_context(style):
                return super().add_subplot(*args, **kwargs)

    with mpl.rc_context(style):
        return House(figsize=(width, height))


def to_svg(fig: Figure) -> str:
    """The figure as one SVG element: no date, no fonts inside, ids that are its own, sized by whatever holds it."""
    import matplotlib as mpl
    from matplotlib.colors import to_hex
    from matplotlib.legend import Legend
    from matplotlib.text import Text

    # legends and annotations are made outside the style: framed, and in matplotlib's black
    for legend in fig.findobj(Legend):
        cast("Legend", legend).set_frame_on(False)
    for text in fig.findobj(Text):
        if to_hex(cast("Text", text).get_color()) == "#000000":
            cast("Text", text).set_color(_INK)
    out = io.StringIO()
    with mpl.rc_context(_STYLE):
        fig.savefig(out, format="svg", metadata=dict.fromkeys(("Date", "Creator", "Format", "Type")))
    svg = out.getvalue()
    svg = svg[svg.index("<svg ") :].strip()
    svg = re.sub(r"<metadata>.*?</metadata>\s*", "", svg, flags=re.DOTALL)
    svg = re.sub(r"<!--.*?-->\s*", "", svg, flags=re.DOTALL)
    svg = re.sub(r"^<svg [^>]*?(viewBox=\"[^\"]*\")[^>]*>", r'<svg xmlns="http://www.w3.org/2000/svg" \1>', svg)
    svg = svg.replace("xlink:href", "href").replace(_INK, "currentColor")
    svg = svg.replace("'DejaVu Sans'", "system-ui, sans-serif")
    return _own_ids(svg)


def _own_ids(svg: str) -> str:
    """Several charts stand on one page: an id nobody refers to goes, the others get the chart's own prefix."""
    used = set(re.findall(r"(?:url\(#|href=\"#)([^\")]+)", svg))
    mark = "p" + hashlib.blake2b(svg.encode(), digest_size=5).hexdigest() + "-"
    svg = re.sub(r' id="([^"]+)"', lambda m: f' id="{mark}{m[1]}"' if m[1] in used else "", svg)
    return re.sub(r"(url\(#|href=\"#)", lambda m: m[1] + mark, svg)
