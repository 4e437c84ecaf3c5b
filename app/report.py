"""The evaluation as text for a terminal and as one self-contained page that answers, at the top: may I use this data for X?"""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from importlib.metadata import version
from typing import Any

from ..core.domain import Picture
from ..core.evaluate import Evaluation, Metric, Verdict
from .page import listing, page, picture_html
from .report_charts import pictures

PARTS = {
    "diagnostics": "Is it the same kind of table at all?",
    "fidelity": "Does it look like the real table? A figure is best read beside what one half of the real rows reaches against the other.",
    "utility": "Is it of use? Models learn from synthetic rows and are tested on real rows that they have not seen.",
    "privacy": "Does it give anyone away? Rows that the model never saw say how near is near by chance.",
    "fairness": "Whom does it serve worse than the real rows would?",
    "realism": "Is it like what was measured on the real world? Published figures, each with its source.",
}
DETAIL = 12
_HEAD = "".join(f'<th scope="col">{h}</th>' for h in ("figure", "", "value", "95 %"))


def figures_text(found: Evaluation, before: Mapping[str, float] | None = None) -> str:
    """One line a figure: name, value, interval, real against real, and the change since a baseline."""
    lines = []
    for metric in found.metrics:
        interval = f"{metric.interval[0]:.4f} to {metric.interval[1]:.4f}" if metric.interval else ""
        floor = f"real against real {metric.floor:.4f}" if metric.floor is not None else ""
        parts = [f"{metric.name:<28}{metric.value:>9.4f}", f"{interval:<20}", f"{floor:<26}"]
        if before and metric.name in before:
            parts.append(_change(metric, before[metric.name]))
        lines.append("  ".join(parts).rstrip())
    return "\n".join(lines)


def render_report(found: Evaluation, real: str | None, synth: str, before: Mapping[str, float] | None = None) -> str:
    """The page as one HTML text that fetches nothing. `real` (None where there was none) and `synth` name the data; `before` holds a baseline's figures."""
    there = [name for name in PARTS if found.section(name)]
    drawn = pictures(found)
    rows = ", ".join(f"{n:,} {name}" for name, n in found.sampled.items())
    sampled = " sampled evenly" if dict(found.sampled) != dict(found.rows) else ""
    return page(
        "report.html",
        title=escape(f"{synth} beside {real}" if real else f"{synth} beside published figures"),
        lead=escape(found.summary()),
        version=escape(version("populace")),
        seed=str(found.seed),
        compared=escape(f"Rows compared: {rows}{sampled}."),
        answers="".join(_answer(v, found) for v in found.verdicts()),
        links="".join(f'<a href="#{name}">{name}</a>' for name in there),
        sections="\n".join(_section(name, found.section(name), drawn.get(name, []), before) for name in there)
        + _tables(found),
    )


def _tables(found: Evaluation) -> str:
    """Of several tables: what refers to what, and each table's own figures and charts."""
    if not found.tables:
        return ""
    refers = "".join(f"<li><code>{escape(str(link))}</code></li>" for link in found.links)
    relations = (
        f"<p>What refers to what:</p><ul>{refers}</ul>" if refers else "<p>No column refers to another table.</p>"
    )
    parts = []
    for name, each in found.tables.items():
        drawn = pictures(each)
        charts = "".join(picture_html(p) for part in drawn.values() for p in part)
        rows = "".join(_row(m, None) for m in each.metrics)
        counts = ", ".join(f"{n:,} {which}" for which, n in each.rows.items())
        parts.append(
            f'<details><summary>{escape(name)} <span class="soft">{counts} rows</span></summary>'
            f'<div class="scroll metrics"><table><thead><tr>{_HEAD}</tr></thead><tbody>{rows}</tbody></table></div>'
            f'<div class="charts">{charts}</div>{"".join(_detail(m) for m in each.metrics if m.detail)}</details>'
        )
    return (
        '<section id="tables" aria-labelledby="tables-title"><h2 id="tables-title">Tables</h2>'
        f"{relations}{''.join(parts)}</section>"
    )


def _answer(verdict: Verdict, found: Evaluation) -> str:
    values = found.values()
    why = [f"{r.metric} is {values[r.metric]:.3g}, should be {r.sign} {r.bound:g}" for r in verdict.failed]
    why += [f"{r.metric} was not measured" for r in verdict.open]
    said = "; ".join(why) or "; ".join(str(r) for r in verdict.met)
    kind = verdict.answer.replace(" ", "-")
    return (
        f'<li class="{kind}"><span>For {escape(verdict.title)}</span><b>{escape(verdict.answer.capitalize())}</b>'
        f"<p>{escape(said)}</p></li>"
    )


def _section(name: str, metrics: list[Metric], drawn: list[Picture], before: Mapping[str, float] | None) -> str:
    rows = "".join(_row(m, before) for m in metrics)
    charts = f'<div class="charts">{"".join(picture_html(p) for p in drawn)}</div>' if drawn else ""
    details = "".join(_detail(m) for m in metrics if m.detail)
    return (
        f'<section id="{name}" aria-labelledby="{name}-title"><h2 id="{name}-title">{name.capitalize()}</h2>'
        f"<p>{escape(PARTS[name])}</p>"
        f'<div class="scroll metrics"><table><thead><tr>{_HEAD}</tr></thead><tbody>{rows}</tbody></table></div>'
        '<p class="key">Dot: the figure; band: its 95 % interval; upright mark: real rows against real rows, or chance.</p>'
        f"{charts}{details}</section>"
    )


def _row(metric: Metric, before: Mapping[str, float] | None) -> str:
    meaning = metric.definition
    wanted = {"high": "higher is better", "low": "lower is better", "near": f"best at {meaning.ideal or 0:g}"}[
        meaning.better
    ]
    if meaning.ideal is not None and meaning.better == "low":
        wanted += f", ideal {meaning.ideal:g}"
    interval = f"{metric.interval[0]:.3f} to {metric.interval[1]:.3f}" if metric.interval else ""
    change = _change(metric, before[metric.name], html=True) if before and metric.name in before else ""
    value = f"{metric.value:.3f}" if metric.value == metric.value else "not measured"
    note = f" {escape(metric.note)}." if metric.note else ""
    bad = f" <b>If bad:</b> {escape(meaning.bad)}" if meaning.bad else ""
    return (
        f"<tr><td><b>{escape(meaning.title)}</b> <span class='soft'>{wanted}</span>"
        f"<small>{escape(meaning.doc)}{bad}{note} <i>{escape(meaning.source)}.</i> <code>{metric.name}</code></small></td>"
        f'<td>{_bar(metric)}</td><td class="number">{value}{change}</td><td class="number">{interval}</td></tr>'
    )


def _bar(metric: Metric) -> str:
    """The figure on its range, 0 to 1 where it has none of its own and fits."""
    meaning = metric.definition
    low = meaning.low if meaning.low is not None else 0.0
    high = meaning.high if meaning.high is not None else max(1.0, metric.value if metric.value == metric.value else 1.0)
    if metric.value != metric.value or high <= low:
        return ""

    def at(value: float) -> float:
        return 4 + 192 * (min(max(value, low), high) - low) / (high - low)

    parts = ['<rect class="track" x="4" y="10" width="192" height="2"/>']
    if metric.interval:
        left, right = at(metric.interval[0]), at(metric.interval[1])
        parts.append(f'<rect class="reach" x="{left:.1f}" y="7" width="{max(1, right - left):.1f}" height="8"/>')
    if metric.floor is not None:
        parts.append(f'<rect class="floor" x="{at(metric.floor) - 1:.1f}" y="3" width="2" height="16"/>')
    parts.append(f'<circle class="dot" cx="{at(metric.value):.1f}" cy="11" r="4"/>')
    label = f"{metric.value:.3f} on a range from {low:g} to {high:g}"
    return f'<svg class="bar" viewBox="0 0 200 22" role="img" aria-label="{label}">{"".join(parts)}</svg>'


def _detail(metric: Metric) -> str:
    heads = list(metric.detail[0])
    # each published figure counts; of columns and pairs the worst
    shown = len(metric.detail) if metric.definition.section == "realism" else DETAIL
    rows = [
        "<tr>" + "".join(f"<td>{escape(_plain(row.get(h, '')))}</td>" for h in heads) + "</tr>"
        for row in metric.detail[:shown]
    ]
    more = f" The first {shown} of {len(metric.detail)}." if len(metric.detail) > shown else ""
    table = listing("", tuple(escape(h) for h in heads), rows)
    return f'<details><summary>{escape(metric.definition.title)} <span class="soft">in detail.{more}</span></summary>{table}</details>'


def _plain(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _change(metric: Metric, before: float, html: bool = False) -> str:
    meaning, change = metric.definition, metric.value - before
    ideal = meaning.ideal
    if ideal is None:
        gain = change if meaning.better == "high" else -change
    else:
        gain = abs(before - ideal) - abs(metric.value - ideal)
    word = "same" if abs(change) < 5e-5 else "better" if gain > 0 else "worse"
    text = f"{change:+.4f} {word}"
    return f'<small class="{word}">{text}</small>' if html else text
