"""Evidence that a synthetic table is faithful, useful, private and fair: `evaluate(real, synth)` measures, `Evaluation` says what it means."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from ..errors import UserError, unknown
from ..progress import Progress
from ..stream import Stream
from .metric import Metric, Requirement, definitions, parse_requirements, uses
from .pair import Pair, make_pair

ROWS = 100_000
"""Rows of each table that the fidelity figures are made from; more are sampled evenly, and the evaluation says so."""

__all__ = ["Evaluation", "Metric", "Verdict", "definitions", "evaluate"]


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
    pair: Pair
    """The rows that were compared: what a report draws."""

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
        """For each use, with what it needs by default."""
        return [self.judge(needed, use, title) for use, (title, needed) in uses().items()]

    def summary(self) -> str:
        """One paragraph in plain words."""
        by = {a: [v.title for v in self.verdicts() if v.answer == a] for a in ("yes", "no", "not known")}
        parts = [f"{self.rows['synth']:,} synthetic rows were compared with {self.rows['real']:,} real ones."]
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
        }

    def to_json(self) -> str:
        return json.dumps(self.plain(), indent=1, ensure_ascii=False)


def evaluate(
    real: Any,
    synth: Any,
    holdout: Any = None,
    target: str | None = None,
    sensitive: Sequence[str] = (),
    only: Sequence[str] = (),
    seed: int = 0,
) -> Evaluation:
    """Compare a synthetic table with the real one that it stands for.

    Tables are pandas or polars frames, or paths of CSV or Parquet files. `holdout`: real rows that no model learnt from;
    without them most privacy figures cannot be had. `target`: a column to foretell. `sensitive`: columns whose disclosure or unequal
    treatment would harm. `only`: some of `diagnostics`, `fidelity`, `utility`, `privacy`, `fairness`.

    Raises UserError for tables that cannot be read or compared and for columns or parts that do not exist.
    """
    from threadpoolctl import threadpool_limits

    from ..user_table import read_table

    chosen = _parts(only)
    tables = [None if t is None else read_table(t) for t in (real, synth, holdout)]
    assert tables[0] is not None
    assert tables[1] is not None
    pair = make_pair(tables[0], tables[1], tables[2], target, sensitive)
    stream = Stream.root(seed).child("evaluate")
    some = pair.head(ROWS, stream.child("rows"))
    metrics: list[Metric] = []
    # one thread: the same figures on any machine, and no threads that wait for one another on a busy one
    with Progress("evaluating", len(chosen), unit="part") as progress, threadpool_limits(1):
        for name, measure in chosen.items():
            metrics += measure(pair if name == "diagnostics" else some, stream.child(name))
            progress.step()
    rows, sampled = _rows(pair), _rows(some)
    return Evaluation(tuple(metrics), rows, sampled, pair.kinds, seed, some)


def _parts(only: Sequence[str]) -> dict[str, Callable[[Pair, Stream], list[Metric]]]:
    from .diagnostics import diagnose
    from .distinguish import tell_apart
    from .fairness import treat
    from .fidelity import compare
    from .privacy import attack
    from .utility import use

    parts: dict[str, Callable[[Pair, Stream], list[Metric]]] = {
        "diagnostics": lambda pair, _: diagnose(pair),
        "fidelity": lambda pair, stream: [*compare(pair, stream), tell_apart(pair, stream.child("c2st"))],
        "utility": use,
        "privacy": attack,
        "fairness": treat,
    }
    for name in only:
        if name not in parts:
            raise unknown("part", name, parts, "--only")
    return {name: measure for name, measure in parts.items() if not only or name in only}


def _rows(pair: Pair) -> dict[str, int]:
    found = {"real": pair.real.height, "synth": pair.synth.height}
    return found if pair.holdout is None else {**found, "holdout": pair.holdout.height}


def _list(words: Sequence[str]) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"


def read_baseline(path: str | Path) -> dict[str, float]:
    """The figures of an earlier evaluation's JSON. Raises UserError if it is none."""
    try:
        figures = json.loads(Path(path).read_text("utf-8"))["figures"]
        return {name: float(f["value"]) for name, f in figures.items() if f["value"] is not None}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(f"--baseline {path}: is not the JSON of an evaluation: {error}") from None
