"""Can a classifier tell synthetic rows from real ones, and by which columns?"""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ..stream import Stream
from .learners import booster, features
from .metric import Metric, spread
from .pair import Pair

ROWS = 20_000
FOLDS = 5
RANGES, PEAKS = 8, 3


def tell_apart(pair: Pair, stream: Stream) -> Metric:
    """`fidelity.c2st`, with the columns that give the synthetic rows away: how much of the area is lost when the column is shuffled."""
    from sklearn.metrics import roc_auc_score

    some = pair.head(min(ROWS, pair.real.height, pair.synth.height), stream.child("rows"))
    table = features(some)
    x = np.concatenate([table.tables["real"], table.tables["synth"]])
    y = np.repeat([0, 1], [some.real.height, some.synth.height])
    # equal rows share a fold: a classifier that has seen a row's twin under the other name would guess worse than chance
    _, twins = np.unique(np.nan_to_num(x, nan=-1e300), axis=0, return_inverse=True)
    fold = (stream.child("folds").uniform(twins.reshape(-1).astype(np.uint64)) * FOLDS).astype(int)
    areas, lost = [], np.zeros((FOLDS, len(table.names)))
    for n in range(FOLDS):
        train, test = fold != n, fold == n
        if len(np.unique(y[train])) < 2 or len(np.unique(y[test])) < 2:
            continue
        model = booster(True, table.categorical, n).fit(x[train], y[train])
        areas.append(roc_auc_score(y[test], model.predict_proba(x[test])[:, 1]))
        for column in range(len(table.names)):
            shuffled = x[test].copy()
            order = np.argsort(stream.child("shuffle", n).uniform(np.arange(test.sum(), dtype=np.uint64)))
            shuffled[:, column] = shuffled[order, column]
            lost[n, column] = areas[-1] - roc_auc_score(y[test], model.predict_proba(shuffled)[:, 1])
    mean = lost.mean(axis=0)
    detail = tuple(
        {
            "column": table.names[n],
            "area lost when shuffled": float(mean[n]),
            "what": what_differs(some, table.names[n]),
        }
        for n in np.argsort(-mean)
        if mean[n] > 0.005
    )
    if not areas:
        return Metric("fidelity.c2st", np.nan, note="too few rows")
    return Metric(
        "fidelity.c2st", float(np.mean(areas)), spread(areas), 0.5, detail, f"{some.real.height:,} rows of each"
    )


def what_differs(pair: Pair, column: str) -> str:
    """The value, range or gap whose share differs most between real and synthetic rows, in words."""
    values = pair.coded.values
    if pair.kinds[column] == "category":
        codes = pair.coded.codes(column)
        names = ["missing", *pair.coded.levels[column]]
    else:
        real = values["real"][column]
        known, counts = np.unique(real[~np.isnan(real)], return_counts=True)
        # frequent numbers by themselves: a peak at nought is no range
        alone = known[counts > len(real) / 20][:PEAKS]
        edges = np.unique(np.quantile(known, np.linspace(0, 1, RANGES + 1)[1:-1])) if len(known) else np.empty(0)
        codes, names = {}, ["missing"]
        for name in ("real", "synth"):
            x = values[name][column]
            place = len(alone) + 1 + np.searchsorted(edges, x, side="right")
            peak = np.isin(x, alone)
            codes[name] = np.where(np.isnan(x), 0, np.where(peak, 1 + np.searchsorted(alone, x), place))
        said = _told(pair, column, np.concatenate([alone, edges]))
        names += said[: len(alone)]
        names += _ranges(said[len(alone) :])
    shares = [np.bincount(codes[n], minlength=len(names)) / len(codes[n]) for n in ("real", "synth")]
    worst = int(np.abs(shares[0] - shares[1]).argmax())
    if abs(shares[0][worst] - shares[1][worst]) < 0.005:
        return "no one value: how it goes with other columns"
    return f"{names[worst]}: {shares[0][worst]:.1%} of real rows, {shares[1][worst]:.1%} of synthetic"


def _told(pair: Pair, column: str, values: NDArray) -> list[str]:
    if pair.kinds[column] == "time":
        return [str(v) for v in pl.Series(values.astype(np.int64)).cast(pair.real[column].dtype)]
    return [f"{v:.6g}" for v in values]


def _ranges(edges: list[str]) -> list[str]:
    if not edges:
        return ["any value"]
    return [f"below {edges[0]}", *(f"{a} to {b}" for a, b in pairwise(edges)), f"{edges[-1]} and above"]
