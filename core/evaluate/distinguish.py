"""Can a classifier tell synthetic rows from real ones, and by which columns?"""

from __future__ import annotations

import numpy as np

from ..stream import Stream
from .learners import booster, features
from .metric import Metric, spread
from .pair import Pair

ROWS = 20_000
FOLDS = 5


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
        {"column": table.names[n], "area lost when shuffled": float(mean[n])}
        for n in np.argsort(-mean)
        if mean[n] > 0.005
    )
    if not areas:
        return Metric("fidelity.c2st", np.nan, note="too few rows")
    return Metric(
        "fidelity.c2st", float(np.mean(areas)), spread(areas), 0.5, detail, f"{some.real.height:,} rows of each"
    )
