"""Is it the same kind of table at all: columns, types, ranges, categories, keys, repetitions."""

from __future__ import annotations

from itertools import permutations
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from .links import called_a_key
from .metric import Metric
from .pair import Kind, Pair

EXAMPLES = 3
FEWEST = 100
"""Rows that must agree before they make a constraint."""
MEETING = 0.01
"""Where times that are drawn evenly would all differ more seldom than this, it is no chance that they do."""


def diagnose(pair: Pair) -> list[Metric]:
    """The figures `diagnostics.*`; each lists the columns that fall short, with examples."""
    found = [_columns(pair), _types(pair)]
    if pair.numbers:
        found.append(_ranges(pair))
    if pair.categories:
        found.append(_categories(pair))
    found.append(_keys(pair))
    found.append(_constraints(pair))
    found.append(_repeats(pair))
    return found


def _columns(pair: Pair) -> Metric:
    detail = [{"column": c, "problem": "is not in the synthetic table"} for c in pair.absent]
    detail += [{"column": c, "problem": "is not in the real table"} for c in pair.extra]
    there = len(pair.kinds)
    return Metric("diagnostics.columns", there / (there + len(pair.absent)), detail=tuple(detail))


def _types(pair: Pair) -> Metric:
    detail = tuple(
        {"column": c, "unreadable": n, "type": str(pair.real[c].dtype), "such as": some}
        for c, (n, some) in pair.unreadable.items()
    )
    cells = pair.synth.height * len(pair.kinds)
    return Metric("diagnostics.types", 1 - sum(n for n, _ in pair.unreadable.values()) / cells, detail=detail)


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
    keys = [c for c, k in pair.kinds.items() if k != "number" and _is_key(pair.real[c], k)]
    if not keys:
        return Metric("diagnostics.keys", 1.0, note="no column of the real table is a key")
    shares = {c: pair.synth[c].n_unique() / pair.synth.height for c in keys}
    detail = []
    for column, share in shares.items():
        if share < 1:
            again = pair.synth[column].filter(pair.synth[column].is_duplicated()).unique().sort().head(EXAMPLES)
            repeated = round((1 - share) * pair.synth.height)
            detail.append({"column": column, "repeated": repeated, "such as": ", ".join(map(str, again))})
    return Metric("diagnostics.keys", float(np.mean(list(shares.values()))), detail=tuple(detail))


def _is_key(values: pl.Series, kind: Kind) -> bool:
    """Whether no value comes twice, and not by chance: what is not called a key takes as many rows as a constraint does, and times so many that evenly spread ones would
    have met (Feller 1968, An Introduction to Probability Theory, II.3: birthdays)."""
    if values.n_unique() < len(values):
        return False
    if kind == "key" or called_a_key(values.name):
        return True
    if kind != "time":
        return len(values) >= FEWEST
    known = values.drop_nulls().sort()
    if len(known) < FEWEST:
        return False
    steps = known.to_physical().diff().drop_nulls()
    # the step of a clock: whole days, seconds or what divides all
    span = int(steps.sum()) // max(int(np.gcd.reduce(steps.to_numpy())), 1)
    return bool(np.exp(-len(known) * (len(known) - 1) / (2 * max(span, 1))) < MEETING)


def _constraints(pair: Pair) -> Metric:
    """What holds for every real row by more than chance: at least a hundred rows say so."""
    broken = np.zeros(pair.synth.height, bool)
    kept, detail = 0, []
    for column in pair.kinds:
        if pair.real.height >= FEWEST and not pair.real[column].null_count():
            kept += 1
            _note(f"{column} is not missing", pair.synth[column].is_null().to_numpy(), pair, (column,), broken, detail)
    values = pair.coded.values
    for low, high in permutations(pair.numbers, 2):
        if pair.real[low].dtype.is_temporal() != pair.real[high].dtype.is_temporal():
            continue
        first, second = values["real"][low], values["real"][high]
        both = ~np.isnan(first) & ~np.isnan(second)
        if (
            both.sum() < FEWEST
            or not (first[both] <= second[both]).all()
            or not _intertwined(first[both], second[both])
        ):
            continue
        kept += 1
        with np.errstate(invalid="ignore"):
            bad = values["synth"][low] > values["synth"][high]
        _note(f"{low} <= {high}", bad, pair, (low, high), broken, detail)
    return Metric(
        "diagnostics.constraints", 1 - float(broken.mean()), detail=tuple(detail), note=f"{kept} found in the real rows"
    )


def _intertwined(low: NDArray, high: NDArray) -> bool:
    """Whether the order says something: ranges that do not meet are always in order."""
    return bool(np.quantile(low, 0.9) > np.quantile(high, 0.1) and (low < high).any())


def _note(
    rule: str, bad: NDArray, pair: Pair, columns: tuple[str, ...], broken: NDArray, detail: list[dict[str, Any]]
) -> None:
    if bad.any():
        broken |= bad
        rows = np.flatnonzero(bad)[:EXAMPLES]
        examples = "; ".join(" ".join(str(pair.synth[c][int(r)]) for c in columns) for r in rows)
        detail.append({"constraint": rule, "broken by": int(bad.sum()), "such as": examples})


def _repeats(pair: Pair) -> Metric:
    # as many real rows as synthetic: the share grows with the number of rows
    rows = min(pair.real.height, pair.synth.height)
    return Metric("diagnostics.repeats", _repeated(pair.synth.head(rows)), floor=_repeated(pair.real.head(rows)))


def _repeated(frame: pl.DataFrame) -> float:
    return 1 - frame.n_unique() / frame.height
