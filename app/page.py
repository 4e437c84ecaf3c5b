"""The demo's page: one HTML file that shows every domain in pictures, says what was made and checked, and how to make it again.

It fetches nothing: style and charts are inside. Whatever comes from data or from the user is escaped; only the charts' own SVG is not.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from importlib import resources
from string import Template
from typing import Any

from ..core.domain import Picture


@dataclass(frozen=True)
class Section:
    """One domain on the page. Counts, scenarios and checks are read from `manifest`, the one that the run wrote."""

    name: str
    doc: str
    manifest: Mapping[str, Any]
    pictures: Sequence[Picture] = ()
    commands: Sequence[str] = ()
    """What makes this dataset again, in order."""
    written: Sequence[str] = ()
    """Where it is now: folders and URLs."""
    notes: Sequence[str] = ()
    """What else a reader should know, a sentence each: what was fitted to which table, what validation found."""


def render_page(
    sections: Sequence[Section],
    title: str = "A synthetic populace",
    lead: str = "People, payments and sensors that never were, from sourced priors, labelled scenarios and one seed.",
) -> str:
    """The page as one self-contained HTML text. Raises ValueError if a picture is not an SVG element."""
    body = [s.manifest["populace"] for s in sections]
    return page(
        "page.html",
        title=escape(title),
        lead=escape(lead),
        version=escape(str(body[0]["version"]) if body else ""),
        links="".join(f'<a href="#{escape(s.name)}">{escape(s.name)}</a>' for s in sections),
        sections="\n".join(_section(s) for s in sections),
    )


def page(template: str, **parts: str) -> str:
    """A template of this folder with the house's style and mark. The parts are HTML: whatever comes from data is escaped by then."""
    folder = resources.files(__package__ or "populace.app")
    style = folder.joinpath("style.css").read_text("utf-8")
    return Template(folder.joinpath(template).read_text("utf-8")).substitute(style=style, crowd=_crowd(), **parts)


def _section(section: Section) -> str:
    body, name = section.manifest["populace"], escape(section.name)
    labelled = sum(s["labelled_rows"] for s in body["scenarios"])
    facts = {
        "rows": sum(t["rows"] for t in body["tables"].values()),
        "tables": len(body["tables"]),
        "rows labelled by scenarios": labelled,
        "checks made": len(body["checks"]["made"]),
        "undeclared violations": body["checks"]["undeclared_violations"],
    }
    parts = [
        f'<section id="{name}" aria-labelledby="{name}-title">',
        f'<h2 id="{name}-title">{name}</h2>',
        f"<p>{escape(section.doc)}</p>",
        '<dl class="figures">',
        *(f"<div><dt>{escape(word)}</dt><dd>{n:,}</dd></div>" for word, n in facts.items()),
        "</dl>",
        '<div class="charts">' if section.pictures else "",
        *(picture_html(p) for p in section.pictures),
        "</div>" if section.pictures else "",
        '<div class="facts">',
        f"<div>{_tables(body['tables'])}</div>",
        "<div>",
        _scenarios(body["scenarios"]) if body["scenarios"] else "",
        _notes(section.notes) if section.notes else "",
        "</div>",
        "</div>",
        block("Make it again", section.commands, "$ ") if section.commands else "",
        block("Written to", section.written) if section.written else "",
        _checks(body["checks"]),
        _json("Manifest", "seed, versions, priors, digests, as JSON (MLCommons Croissant)", section.manifest),
        "</section>",
    ]
    return "\n".join(p for p in parts if p)


def picture_html(picture: Picture) -> str:
    if not picture.svg.lstrip().startswith("<svg"):
        raise ValueError(f"the picture '{picture.title}' is not an SVG element")
    title, caption = escape(picture.title), escape(picture.caption)
    chart = f'<div class="chart" role="img" aria-label="{title}. {caption}">{picture.svg}</div>'
    box = re.match(r'\s*<svg[^>]*\bviewBox="[-\d.]+ [-\d.]+ ([\d.]+) ([\d.]+)"', picture.svg)
    wide = ' class="wide"' if box and float(box[1]) > 2.6 * float(box[2]) else ""
    return f"<figure{wide}><h3>{title}</h3>{chart}<figcaption>{caption}</figcaption></figure>"


def _tables(tables: Mapping[str, Any]) -> str:
    rows = (
        f"<tr><td>{escape(name)}<small><code>{escape(entry['digest'])}</code></small></td>"
        f'<td class="number">{entry["rows"]:,}</td></tr>'
        for name, entry in tables.items()
    )
    return listing("Tables", ("table and digest of its content", "rows"), rows)


def _scenarios(scenarios: Iterable[Mapping[str, Any]]) -> str:
    rows = []
    for entry in scenarios:
        breaks = "; ".join(f"breaks {check} in {n:,} rows" for check, n in entry["breaks"].items())
        said = f"<small>{escape(breaks)}, as declared</small>" if breaks else ""
        cells = "".join(f'<td class="number">{entry[k]:,}</td>' for k in ("instances", "labelled_rows"))
        rows.append(f"<tr><td>{escape(entry['name'])}{said}</td>{cells}</tr>")
    return listing("Scenarios cast", ("scenario", "instances", "rows labelled"), rows)


def _notes(notes: Sequence[str]) -> str:
    return f'<h4>Notes</h4><ul class="notes">{"".join(f"<li>{escape(note)}</li>" for note in notes)}</ul>'


def listing(title: str, heads: Sequence[str], rows: Iterable[str]) -> str:
    first, *others = heads
    head = f'<th scope="col">{first}</th>' + "".join(f'<th scope="col" class="number">{h}</th>' for h in others)
    return (
        f'<h4>{title}</h4><div class="scroll"><table><thead><tr>{head}</tr></thead>'
        f"<tbody>{''.join(rows)}</tbody></table></div>"
    )


def block(title: str, lines: Sequence[str], prompt: str = "") -> str:
    text = "\n".join(prompt + line for line in lines)
    return f'<div class="copy"><h4>{title}</h4><pre><code>{escape(text)}</code></pre></div>'


def _checks(checks: Mapping[str, Any]) -> str:
    names = "".join(f"<li><code>{escape(name)}</code></li>" for name in checks["made"])
    found = checks["undeclared_violations"]
    summary = f"{len(checks['made']):,} made, {found:,} violations that no scenario declares"
    return f'<details><summary>Checks <span class="soft">{summary}</span></summary><ul class="names">{names}</ul></details>'


def _json(title: str, about: str, value: Mapping[str, Any]) -> str:
    text = escape(json.dumps(value, indent=2, ensure_ascii=False))
    return (
        f'<details><summary>{title} <span class="soft">{escape(about)}</span></summary>'
        f"<pre><code>{text}</code></pre></details>"
    )


def _crowd() -> str:
    """The mark: a small crowd, of whom one plays a part."""
    mark = ' class="one"'
    return "".join(
        f'<circle cx="{6 + 14 * x}" cy="{6 + 16 * y}" r="4.4"{mark if (x, y) == (7, 1) else ""}/>'
        for y in range(3)
        for x in range(11)
    )
