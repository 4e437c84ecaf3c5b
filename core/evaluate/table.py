"""One table beside another: every part's figures."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from threadpoolctl import threadpool_limits

from ..errors import unknown
from ..progress import Progress
from ..stream import Stream
from .audit import Audited, audit
from .metric import Metric
from .pair import Pair
from .result import Evaluation, in_order

ROWS = 100_000
"""Rows of each table that the fidelity figures are made from; more are sampled evenly, and the evaluation says so."""


Part = Callable[[Pair, Pair, Stream], list[Metric]]
"""Measures the whole pair, or a sample of its rows."""


def evaluate_pair(
    pair: Pair,
    only: Sequence[str],
    seed: int,
    stream: Stream,
    title: str = "evaluating",
    audited: Audited | None = None,
) -> Evaluation:
    """Every part's figures, or those of the parts in `only`. Raises UserError for a part that does not exist."""
    parts = chosen_parts(only)
    if audited and "privacy" in parts:
        parts["audit"] = lambda whole, some, stream: audit(some, audited, stream)
    some = pair.head(ROWS, stream.child("rows"))
    metrics: list[Metric] = []
    # one thread: the same figures on any machine, and no threads that wait for one another on a busy one
    with Progress(title, len(parts), unit="part") as progress, threadpool_limits(1):
        for name, measure in parts.items():
            metrics += measure(pair, some, stream.child(name))
            progress.step()
    return Evaluation(in_order(metrics), row_counts(pair), row_counts(some), pair.kinds, seed, some)


def chosen_parts(only: Sequence[str]) -> dict[str, Part]:
    from .diagnostics import diagnose
    from .fairness import treat
    from .privacy import attack
    from .utility import use

    parts: dict[str, Part] = {
        "diagnostics": lambda whole, some, stream: diagnose(whole),
        "fidelity": _fidelity,
        "utility": lambda whole, some, stream: use(some, stream),
        "privacy": lambda whole, some, stream: attack(some, stream),
        "fairness": lambda whole, some, stream: treat(some, stream),
        # of a domain's dataset as a whole, measured in `realism.py`
        "realism": lambda whole, some, stream: [],
    }
    for name in only:
        if name not in parts:
            raise unknown("part", name, parts, "--only")
    return {name: measure for name, measure in parts.items() if not only or name in only}


def _fidelity(whole: Pair, some: Pair, stream: Stream) -> list[Metric]:
    from .distinguish import tell_apart
    from .fidelity import compare
    from .series import compare_series

    found = [*compare(some, stream), tell_apart(some, stream.child("c2st"))]
    # rows in order cannot be sampled one by one
    return [*found, *compare_series(whole, stream.child("series"))] if whole.time else found


def row_counts(pair: Pair) -> dict[str, int]:
    found = {"real": pair.real.height, "synth": pair.synth.height}
    return found if pair.holdout is None else {**found, "holdout": pair.holdout.height}
