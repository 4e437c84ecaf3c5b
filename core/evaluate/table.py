"""One table beside another: every part's figures."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from threadpoolctl import threadpool_limits

from ..errors import unknown
from ..progress import Progress
from ..stream import Stream
from .metric import Metric
from .pair import Pair
from .result import Evaluation

ROWS = 100_000
"""Rows of each table that the fidelity figures are made from; more are sampled evenly, and the evaluation says so."""


Part = Callable[[Pair, Stream], list[Metric]]


def evaluate_pair(pair: Pair, only: Sequence[str], seed: int, stream: Stream, title: str = "evaluating") -> Evaluation:
    """Every part's figures, or those of the parts in `only`. Raises UserError for a part that does not exist."""
    parts = chosen_parts(only)
    some = pair.head(ROWS, stream.child("rows"))
    metrics: list[Metric] = []
    # one thread: the same figures on any machine, and no threads that wait for one another on a busy one
    with Progress(title, len(parts), unit="part") as progress, threadpool_limits(1):
        for name, measure in parts.items():
            metrics += measure(pair if name == "diagnostics" else some, stream.child(name))
            progress.step()
    return Evaluation(tuple(metrics), row_counts(pair), row_counts(some), pair.kinds, seed, some)


def chosen_parts(only: Sequence[str]) -> dict[str, Part]:
    from .diagnostics import diagnose
    from .distinguish import tell_apart
    from .fairness import treat
    from .fidelity import compare
    from .privacy import attack
    from .utility import use

    parts: dict[str, Part] = {
        "diagnostics": lambda pair, _: diagnose(pair),
        "fidelity": lambda pair, stream: [*compare(pair, stream), tell_apart(pair, stream.child("c2st"))],
        "utility": use,
        "privacy": attack,
        "fairness": treat,
        # of a domain's dataset as a whole, measured in `realism.py`
        "realism": lambda pair, stream: [],
    }
    for name in only:
        if name not in parts:
            raise unknown("part", name, parts, "--only")
    return {name: measure for name, measure in parts.items() if not only or name in only}


def row_counts(pair: Pair) -> dict[str, int]:
    found = {"real": pair.real.height, "synth": pair.synth.height}
    return found if pair.holdout is None else {**found, "holdout": pair.holdout.height}
