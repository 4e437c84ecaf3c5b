"""Is it the same kind of table at all: columns, types, ranges, categories, keys, repetitions."""

from __future__ import annotations

import numpy as np
import polars as pl

from .metric import Metric
from .pair import Pair

EXAMPLES = 3


def diagnose(pair: Pair) -> list[Metric]:
    """The figures `diagnostics.*`; each lists the columns that fall short, with examples."""
    found = [_columns(pair), _types(pair)]
    if pair.numbers:
        found.append(_ranges(pair))
    if pair.categories:
        found.append(_categories(pair))
    found.append(_keys(pair))
    found.append(_repeats(pair))
    return found


def _columns(pair: Pair) -> Metric:
    detail = [{"column": c, "problem": "is not in the synthetic table"} for c in pair.absent]
    detail += [{"column": c, "problem": "is not in the real table"} for c in pair.extra]
    there = len(pair.kinds)
    return Metric("diagnostics.columns", there / (there + len(pair.absent)), detail=tuple(detail))


def _types(pair: Pair) -> Metric:
    detail = tuple({"column": c, "unreadable": n, "type": str(pair.real[c].dtype)} for c, n in pair.unreadable.items())
    cells = pair.synth.height * len(pair.kinds)
    return Metric("diagnostics.types", 1 - sum(pair.unreadable.values()) / cells, detail=detail)


def _ranges(pair: Pair) -> Metric:
    outside, total, detail = 0, 0, []
    for column in pair.numbers:
        real, synth = pair.real[column].drop_nulls(), pair.synth[column].drop_nulls()
        if not len(real):
            continue
        low, high = real.min(), real.max()
        bad = synth.filter((synth < low) | (synth > high))
        outside, total = outside + len(bad), total + len(synth)
        if len(bad):
            examples = ", ".join(str(x) for x in bad.head(EXAMPLES))
            detail.append(
                {"column": column, "outside": len(bad), "real range": f"{low} to {high}", "such as": examples}
            )
    return Metric("diagnostics.ranges", 1 - outside / total if total else 1.0, detail=tuple(detail))


def _categories(pair: Pair) -> Metric:
    unknown, total, detail = 0, 0, []
    for column in pair.categories:
        synth = pair.synth[column].drop_nulls()
        bad = synth.filter(~synth.is_in(pair.real[column].drop_nulls().unique().implode()))
        unknown, total = unknown + len(bad), total + len(synth)
        if len(bad):
            examples = ", ".join(str(x) for x in bad.unique().sort().head(EXAMPLES))
            detail.append({"column": column, "unknown": len(bad), "such as": examples})
    return Metric("diagnostics.categories", 1 - unknown / total if total else 1.0, detail=tuple(detail))


def _keys(pair: Pair) -> Metric:
    keys = [c for c, k in pair.kinds.items() if k != "number" and pair.real[c].n_unique() == pair.real.height]
    if not keys:
        return Metric("diagnostics.keys", 1.0, note="no column of the real table is a key")
    shares = {c: pair.synth[c].n_unique() / pair.synth.height for c in keys}
    detail = tuple({"column": c, "repeated": round((1 - s) * pair.synth.height)} for c, s in shares.items() if s < 1)
    return Metric("diagnostics.keys", float(np.mean(list(shares.values()))), detail=detail)


def _repeats(pair: Pair) -> Metric:
    # as many real rows as synthetic: the share grows with the number of rows
    rows = min(pair.real.height, pair.synth.height)
    return Metric("diagnostics.repeats", _repeated(pair.synth.head(rows)), floor=_repeated(pair.real.head(rows)))


def _repeated(frame: pl.DataFrame) -> float:
    return 1 - frame.n_unique() / frame.height
