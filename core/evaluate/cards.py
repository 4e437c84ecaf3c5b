"""What goes with data and models when they are handed on: a datasheet and a model card, in markdown, from an evaluation's figures.

The questions are those of Gebru et al. 2021, "Datasheets for Datasets", Communications of the ACM 64(12), and of Mitchell et al. 2019, "Model Cards for Model Reporting",
FAT*.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.metadata import version
from typing import Any

from ..model import size_of
from .metric import Metric
from .result import Evaluation

PARTS = {
    "diagnostics": "Structure",
    "fidelity": "Fidelity",
    "utility": "Usefulness",
    "privacy": "Privacy",
    "fairness": "Fairness",
    "realism": "Realism",
}


def datasheet(found: Evaluation, name: str, manifest: Mapping[str, Any] | None = None) -> str:
    """The datasheet of synthetic data: what they are, how they were made, what they may be used for, and the figures that say so."""
    made = (manifest or {}).get("populace", {})
    lines = [f"# Datasheet: {name}", "", found.summary(), ""]
    lines += ["## Why", "", "Synthetic data. No record describes a real person, account or device.", ""]
    lines += ["## Composition", ""]
    counts = {t: c.get("rows") for t, c in made.get("tables", {}).items()} if made else {}
    if counts:
        lines += _table(("table", "rows"), [(t, f"{n:,}") for t, n in counts.items() if n is not None])
    else:
        lines += [f"{found.rows['synth']:,} rows.", ""]
    if found.kinds:
        lines += _table(("column", "kind"), [(c, k) for c, k in found.kinds.items()])
    if made.get("scenarios"):
        rows = [(s["name"], s["instances"], f"{s['labelled_rows']:,}") for s in made["scenarios"]]
        lines += ["Scenarios, with their labels:", "", *_table(("scenario", "instances", "labelled rows"), rows)]
    lines += ["## How they were made", "", *_origin(made), ""]
    lines += ["## Uses", "", *_verdicts(found)]
    lines += ["## Evidence", "", *_compared(found), *_figures(found.metrics)]
    return "\n".join(lines).rstrip() + "\n"


def model_card(card: Mapping[str, Any], name: str, found: Evaluation) -> str:
    """The card of a fitted model: what it learnt from, what it promises, and what its rows are worth."""
    lines = [f"# Model card: {name}", "", "## Model", ""]
    facts = [("kind", card["model"]), ("made by", f"populace {card['populace']}")]
    facts += [(k, card[k]) for k in ("seed", "why") if card.get(k) is not None]
    if card.get("settings"):
        facts.append(("settings", ", ".join(f"{k} {v}" for k, v in card["settings"].items())))
    lines += [*_table(("", ""), facts), "## Training data", ""]
    learnt = [("source", card.get("source") or "a frame"), ("size", size_of(card))]
    if card.get("digest"):
        learnt.append(("digest", f"`{card['digest']}`"))
    lines += _table(("", ""), learnt)
    made_anew = card.get("regenerated", {})
    rows = [(c, t, made_anew.get(c, "learnt")) for c, t in card["columns"].items()]
    lines += [*_table(("column", "type", "how"), rows), "## Intended use", "", *_verdicts(found)]
    lines += ["## Privacy", "", _promise(card), ""]
    lines += ["## Evaluation", "", *_compared(found), *_figures(found.metrics)]
    lines += [
        "## Caveats",
        "",
        "The figures hold for the rows that were compared and the seed they were drawn with; another table needs another evaluation.",
        "",
    ]
    return "\n".join(lines).rstrip() + "\n"


def _origin(made: Mapping[str, Any]) -> list[str]:
    if not made:
        return ["Not known: there is no manifest beside them."]
    told = ", ".join(f"{k} {_plain(v)}" for k, v in made.get("spec", {}).items() if v not in (None, {}, [], ()))
    lines = [f"By populace: {told}."]
    if made.get("model"):
        lines.append(f"Drawn from a fitted model, {made['model']['model']}, of {size_of(made['model'])}.")
    if made.get("fingerprint"):
        lines.append(f"Fingerprint `{made['fingerprint']}`: the same spec and seed give the same bytes.")
    return lines


def _verdicts(found: Evaluation) -> list[str]:
    rows = []
    for v in found.verdicts():
        why = [f"{r.metric} should be {r.sign} {r.bound:g}" for r in v.failed] + [
            f"{r.metric} not measured" for r in v.open
        ]
        rows.append((v.title, v.answer, "; ".join(why) or "; ".join(map(str, v.met))))
    return _table(("for", "answer", "because"), rows)


def _compared(found: Evaluation) -> list[str]:
    rows = ", ".join(f"{n:,} {which}" for which, n in found.sampled.items())
    return [f"Measured by populace {version('populace')} with seed {found.seed}; rows compared: {rows}.", ""]


def _figures(metrics: Sequence[Metric]) -> list[str]:
    lines = []
    for part, title in PARTS.items():
        rows = [
            (
                m.definition.title,
                f"`{m.name}`",
                f"{m.value:.3f}" if m.value == m.value else "not measured",
                f"{m.interval[0]:.3f} to {m.interval[1]:.3f}" if m.interval else "",
                f"{m.floor:.3f}" if m.floor is not None else "",
                {"high": "higher", "low": "lower", "near": "nearest"}[m.definition.better],
            )
            for m in metrics
            if m.definition.section == part
        ]
        if rows:
            heads = ("figure", "name", "value", "95 %", "real against real", "better")
            lines += [f"### {title}", "", *_table(heads, rows)]
    return lines


def _promise(card: Mapping[str, Any]) -> str:
    paid = card.get("privacy")
    if not paid:
        return "Not differentially private: what protects people is measured below, not proven."
    return f"Differentially private: epsilon {paid['epsilon']:g}, delta {paid['delta']:g}, for {paid['neighbours']}; {len(paid['ledger'])} releases."


def _table(heads: Sequence[str], rows: Sequence[Sequence[Any]]) -> list[str]:
    lines = [f"| {' | '.join(heads)} |", f"|{'---|' * len(heads)}"]
    lines += [f"| {' | '.join(_plain(cell) for cell in row)} |" for row in rows]
    return [*lines, ""]


def _plain(value: Any) -> str:
    """One line that no table or markup of markdown takes for its own."""
    text = ", ".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value)
    return text.replace("\n", " ").replace("|", "\\|").replace("<", "&lt;")
