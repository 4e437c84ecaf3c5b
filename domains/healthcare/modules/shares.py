"""Chances on the way out of a state that do not sum to one: the framework takes them, so they are no problem; but a slip of the pen looks like them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from .document import Document, Problem, line_of
from .values import Module, Option

SLACK = 1e-6


def odd_shares(module: Module, doc: Document) -> Iterator[Problem]:
    """What becomes of the rest, for each distribution of fixed chances that has one."""
    for name, state in module.states.items():
        way = state.transition
        if way is None or way.kind not in ("distributed", "complex"):
            continue
        spreads = [way.options] if way.kind == "distributed" else [o.spread for o in way.options if o.spread]
        for told in filter(None, map(_told, spreads)):
            line = line_of(doc.text, ("states", name, f"{way.kind}_transition"))
            yield Problem(doc.file, line, name, told)


def _told(options: Sequence[Option]) -> str | None:
    chances = [o.weight for o in options if isinstance(o.weight, int | float)]
    total = sum(chances)
    if len(chances) < len(options) or abs(total - 1) < SLACK:
        return None
    if total < 1:
        return (
            f"chances sum to {total:g}: the last, '{options[-1].target}', is taken with the other {1 - total:.4g} too"
        )
    reached = 0.0
    for option, chance in zip(options, chances, strict=True):
        if reached + chance > 1 + SLACK:
            return f"chances sum to {total:g}: '{option.target}' is left {max(1 - reached, 0):.4g} of its {chance:g}, what comes after it nothing"
        reached += chance
    return None
