"""What an evaluation found: figures with their meaning, held against what each use needs, told in plain words and as JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

from ..errors import UserError, unknown
from .links import Link
from .metric import Metric, Requirement, definitions, parse_requirements, uses
from .pair import Pair

PARTS = ("diagnostics", "fidelity", "utility", "privacy", "fairness", "realism")


@dataclass(frozen=True)
class Verdict:
    """Whether the data may serve a use: which requirements hold, which do not, which could not be looked at."""

    use: str
    title: str
    met: tuple[Requirement, ...]
    failed: tuple[Requirement, ...]
    open: tuple[Requirement, ...]

    @property
    def answer(self) -> str:
        return "no" if self.failed else "not known" if self.open else "yes"


@dataclass(frozen=True)
class Evaluation:
    metrics: tuple[Metric, ...]
    rows: Mapping[str, int]
    sampled: Mapping[str, int]
    """Rows that the figures were made from."""
    kinds: Mapping[str, str]
    seed: int
    pair: Pair | None
    """The rows that were compared: what a report draws. None for several tables, which have one each."""
    tables: Mapping[str, Evaluation] = field(default_factory=dict)
    """Of several tables, what was found for each alone."""
    links: tuple[Link, ...] = ()

    def __getitem__(self, name: str) -> float:
        for metric in self.metrics:
            if metric.name == name:
                return metric.value
        if name in definitions():
            raise KeyError(f"{name} was not measured")
        raise unknown("figure", name, definitions())

    def values(self) -> dict[str, float]:
        return {m.name: m.value for m in self.metrics}

    def section(self, name: str) -> list[Metric]:
        return [m for m in self.metrics if m.definition.section == name]

    def judge(self, requirements: Sequence[Requirement] | str, use: str = "", title: str = "") -> Verdict:
        """Hold the figures against requirements such as `fidelity.quality>=0.95, privacy.dcr_share<=0.53`."""
        if isinstance(requirements, str):
            requirements = parse_requirements(requirements)
        values = self.values()
        there = [r for r in requirements if r.metric in values and values[r.metric] == values[r.metric]]
        met = tuple(r for r in there if r.met(values[r.metric]))
        failed = tuple(r for r in there if not r.met(values[r.metric]))
        return Verdict(use, title, met, failed, tuple(r for r in requirements if r not in there))

    def verdicts(self) -> list[Verdict]:
        """For each use, with what it needs by default. Data that were compared with no real ones are judged by their domain's own measure alone."""
        if "real" not in self.rows:
            needed = parse_requirements("diagnostics.rules>=1, realism.met>=0.8")
            return [self.judge(needed, "domain", "tests, staging and training in its domain")]
        return [self.judge(needed, use, title) for use, (title, needed) in uses(bool(self.tables)).items()]

    def summary(self) -> str:
        """One paragraph in plain words."""
        by = {a: [v.title for v in self.verdicts() if v.answer == a] for a in ("yes", "no", "not known")}
        if "real" not in self.rows:
            return self._alone()
        of = f" of {len(self.tables)} tables" if self.tables else ""
        parts = [f"{self.rows['synth']:,} synthetic rows{of} were compared with {self.rows['real']:,} real ones."]
        if by["yes"]:
            parts.append(f"They may serve {_list(by['yes'])}.")
        for verdict in self.verdicts():
            if verdict.failed:
                values = self.values()
                why = ", ".join(
                    f"{r.metric} is {values[r.metric]:.3g} and should be {r.sign} {r.bound:g}" for r in verdict.failed
                )
                parts.append(f"Not for {verdict.title}: {why}.")
        for verdict in self.verdicts():
            if verdict.answer == "not known":
                needs = ", ".join(sorted({r.metric for r in verdict.open}))
                parts.append(f"Whether they may serve {verdict.title} is not known: {needs} could not be measured.")
        return " ".join(parts)

    def _alone(self) -> str:
        """Of a domain's dataset that was compared with no real one."""
        values = self.values()
        parts = [f"{self.rows['synth']:,} synthetic rows were held against their domain's rules and published figures."]
        if (kept := values.get("diagnostics.rules")) is not None:
            parts.append("No rule is broken." if kept == 1 else f"{1 - kept:.2%} of rows break a rule.")
        met = next((m for m in self.metrics if m.name == "realism.met"), None)
        if met:
            parts.append(f"Met: {met.note}.")
        return " ".join(parts)

    def plain(self) -> dict[str, Any]:
        """As JSON keeps it: figures with their meaning, the verdicts and what was compared."""
        return {
            "populace": version("populace"),
            "rows": dict(self.rows),
            "rows_compared": dict(self.sampled),
            "seed": self.seed,
            "columns": dict(self.kinds),
            "summary": self.summary(),
            "verdicts": {
                v.use: {"answer": v.answer, "failed": [str(r) for r in v.failed], "open": [str(r) for r in v.open]}
                for v in self.verdicts()
            },
            "figures": {m.name: m.plain() for m in self.metrics},
            **({"relations": [str(link) for link in self.links]} if self.tables else {}),
            **({"tables": {name: each.plain_figures() for name, each in self.tables.items()}} if self.tables else {}),
        }

    def plain_figures(self) -> dict[str, Any]:
        return {
            "rows": dict(self.rows),
            "columns": dict(self.kinds),
            "figures": {m.name: m.plain() for m in self.metrics},
        }

    def to_json(self) -> str:
        return json.dumps(self.plain(), indent=1, ensure_ascii=False)


def _list(words: Sequence[str]) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"


def in_order(metrics: Sequence[Metric]) -> tuple[Metric, ...]:
    """Part after part, as they were measured within each."""
    return tuple(sorted(metrics, key=lambda m: PARTS.index(m.definition.section)))


def read_baseline(path: str | Path) -> dict[str, float]:
    """The figures of an earlier evaluation's JSON. Raises UserError if it is none."""
    try:
        figures = json.loads(Path(path).read_text("utf-8"))["figures"]
        return {name: float(f["value"]) for name, f in figures.items() if f["value"] is not None}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(f"--baseline {path}: is not the JSON of an evaluation: {error}") from None
