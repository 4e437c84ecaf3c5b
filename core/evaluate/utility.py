"""Is it of use: models trained on it, tested on real rows they have not seen; and counting queries answered from it."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import UserError
from ..stream import Stream
from .learners import Features, booster, features, learners, score
from .metric import Metric, spread
from .pair import Pair

ROWS = 20_000
QUERIES = 500
FEWEST = 30
"""Rows that an average is worth comparing over."""
SPLITS = 3
CLASSES = 20
"""A number of at most so many distinct values is a class to foretell; one of more is a number."""


def use(pair: Pair, stream: Stream) -> list[Metric]:
    """The figures `utility.*`; without a target only the queries'."""
    found = [_queries(pair, stream.child("queries"))]
    if pair.numbers:
        found.append(_aggregates(pair, stream.child("aggregates")))
    if pair.target:
        found = [*_models(pair, stream.child("models")), *found]
    return found


def outcome(pair: Pair) -> tuple[dict[str, NDArray], bool]:
    """The target per table, and whether it is a class. Rows without it are nan or -1."""
    column = pair.target
    assert column is not None
    if pair.kinds[column] in ("key", "text"):
        raise UserError(f"--target: '{column}' is {pair.kinds[column]}, which nothing can foretell")
    if pair.kinds[column] == "category":
        return {name: v[column] for name, v in pair.coded.values.items()}, True
    values = {name: v[column] for name, v in pair.coded.values.items()}
    known = np.unique(values["real"][~np.isnan(values["real"])])
    if len(known) > CLASSES:
        return values, False
    return {n: np.where(np.isin(v, known), np.searchsorted(known, v), -1) for n, v in values.items()}, True


def trials(pair: Pair, stream: Stream) -> list[tuple[NDArray, NDArray, NDArray]]:
    """Three times row numbers (real to train on, synthetic to train on, to test on); test rows are of the holdout, or of the real rows if there is none."""
    found = []
    for n in range(SPLITS):
        real = _shuffled(pair.real.height, stream.child("real", n))
        synth = _shuffled(pair.synth.height, stream.child("synth", n))
        if pair.holdout is None:
            cut = max(1, len(real) // 5)
            test, train = real[:cut], real[cut:]
        else:
            test, train = _shuffled(pair.holdout.height, stream.child("holdout", n)), real
        # four fifths, so that the trials differ and their spread says how sure the mean is
        size, tested = min(int(0.8 * min(len(train), len(synth))) or 1, ROWS), int(0.8 * len(test)) or 1
        found.append((train[:size], synth[:size], test[: min(tested, ROWS)]))
    return found


def _models(pair: Pair, stream: Stream) -> list[Metric]:
    table = features(pair, without=(pair.target,) if pair.target else ())
    answer, classes = outcome(pair)
    held = "real" if pair.holdout is None else "holdout"
    scores: dict[str, list[tuple[float, float]]] = {}
    importance, augmented = [], []
    for n, (train, synth, test) in enumerate(trials(pair, stream)):
        sets = {"real": _rows(table, answer, "real", train), "synth": _rows(table, answer, "synth", synth)}
        x, y = _rows(table, answer, held, test)
        if any(len(np.unique(s[1])) < 2 for s in (*sets.values(), (x, y))):
            note = "a training or test set holds one class alone"
            return [Metric("utility.tstr", np.nan, note=note), Metric("utility.ratio", np.nan, note=note)]
        pairs = {}
        for rows, labels in sets.values():
            for name, model in learners(classes, table.categorical, n).items():
                fitted = model.fit(rows, labels)
                pairs.setdefault(name, []).append(score(fitted, x, y, classes))
                if name == "gradient boosting":
                    importance.append(_importance(fitted, x, y, classes, stream.child("importance", n)))
        for name, (real, drawn) in pairs.items():
            scores.setdefault(name, []).append((real, drawn))
        if classes:
            augmented.append(_augmented(table, sets, x, y, n))
    return [
        *_scores(scores, classes),
        _features_ranked(table, importance),
        *([_gain(augmented)] if augmented else []),
    ]


def _gain(augmented: list[float]) -> Metric:
    measured = [gain for gain in augmented if not np.isnan(gain)]
    if not measured:
        return Metric("utility.augmented", np.nan, note="no test set holds a row of the rarest class")
    note = "" if len(measured) == len(augmented) else f"measured in {len(measured)} of {len(augmented)} trials"
    return Metric("utility.augmented", float(np.mean(measured)), spread(measured), note=note)


def _rows(table: Features, answer: dict[str, NDArray], name: str, rows: NDArray) -> tuple[NDArray, NDArray]:
    y = answer[name][rows]
    there = ~np.isnan(y) if y.dtype.kind == "f" else y >= 0
    return table.tables[name][rows][there], y[there]


def _scores(scores: dict[str, list[tuple[float, float]]], classes: bool) -> list[Metric]:
    from scipy.stats import kendalltau

    table = np.array(list(scores.values()))  # learners, splits, (real, synthetic)
    guess = 0.5 if classes else 0.0
    detail = tuple(
        {"learner": name, "trained on real": float(r), "trained on synthetic": float(s)}
        for name, (r, s) in zip(scores, table.mean(axis=1), strict=True)
    )
    each = table.mean(axis=0)
    gain = each[:, 0] - guess
    what = "ROC AUC" if classes else "R²"
    ratio = (each[:, 1] - guess) / gain if (gain > 0.01).all() else np.full(len(each), np.nan)
    tau = [_statistic(kendalltau(table[:, n, 0], table[:, n, 1])) for n in range(table.shape[1])]
    note = "" if np.isfinite(ratio).all() else "real rows do not foretell the target either"
    return [
        Metric("utility.tstr", float(each[:, 1].mean()), spread(each[:, 1]), float(each[:, 0].mean()), detail, what),
        Metric("utility.ratio", float(ratio.mean()), spread(ratio), 1.0, note=note),
        Metric("utility.models_ranked", float(np.nanmean(tau)), spread(tau)),
    ]


def _importance(model: Any, x: NDArray, y: NDArray, classes: bool, stream: Stream) -> NDArray:
    whole, lost = score(model, x, y, classes), []
    order = _shuffled(len(y), stream)
    for column in range(x.shape[1]):
        shuffled = x.copy()
        shuffled[:, column] = x[order, column]
        lost.append(whole - score(model, shuffled, y, classes))
    return np.array(lost)


def _features_ranked(table: Features, importance: list[NDArray]) -> Metric:
    from scipy.stats import spearmanr

    real, drawn = np.array(importance[0::2]), np.array(importance[1::2])
    if len(table.names) < 3:
        return Metric("utility.features_ranked", np.nan, note="too few columns to rank")
    rho = [_statistic(spearmanr(r, d)) for r, d in zip(real, drawn, strict=True)]
    detail = tuple(
        {"column": table.names[n], "real": float(real.mean(0)[n]), "synthetic": float(drawn.mean(0)[n])}
        for n in np.argsort(-real.mean(0))
    )
    return Metric("utility.features_ranked", float(np.nanmean(rho)), spread(rho), detail=detail)


def _statistic(result: Any) -> float:
    return float(result.statistic)


def _augmented(table: Features, sets: dict[str, tuple[NDArray, NDArray]], x: NDArray, y: NDArray, seed: int) -> float:
    from sklearn.metrics import average_precision_score

    rows, labels = sets["real"]
    kinds, counts = np.unique(labels, return_counts=True)
    rare = kinds[counts.argmin()]
    if not (y == rare).any():
        return np.nan  # no test row to find: not a gain of nought
    added = sets["synth"][1] == rare
    more = np.concatenate([rows, sets["synth"][0][added]]), np.concatenate([labels, sets["synth"][1][added]])
    precision = []
    for train, answer in ((rows, labels), more):
        model = booster(True, table.categorical, seed).fit(train, answer == rare)
        precision.append(average_precision_score(y == rare, model.predict_proba(x)[:, 1]))
    return float(precision[1] - precision[0])


def _queries(pair: Pair, stream: Stream) -> Metric:
    """Counts of rows under one to three conditions."""
    draws = stream.uniform(np.arange(QUERIES * 8, dtype=np.uint64)).reshape(QUERIES, 8)
    ranks = _ranks(pair)
    errors = []
    for draw in draws:
        inside = _chosen(pair, draw, 1 + int(draw[1] * min(3, len(pair.columns))), ranks)
        real, drawn = inside["real"].mean(), inside["synth"].mean()
        errors.append(abs(real - drawn) / max(real, 0.01))
    return _median("utility.queries", errors)


def _aggregates(pair: Pair, stream: Stream) -> Metric:
    """Averages of a number over the rows under one or two conditions on other columns."""
    draws = stream.uniform(np.arange(QUERIES * 8, dtype=np.uint64)).reshape(QUERIES, 8)
    ranks, coded = _ranks(pair), pair.coded.values
    numbers = [n for n in pair.numbers if not np.isnan(coded["real"][n]).all()]
    errors = []
    for draw in draws if numbers else ():
        number = numbers[int(draw[7] * len(numbers))]
        spread = np.nanstd(coded["real"][number])
        inside = _chosen(pair, draw, 1 + int(draw[1] * min(2, len(pair.columns))), ranks, number)
        real, drawn = (coded[n][number][inside[n]] for n in ("real", "synth"))
        real, drawn = real[~np.isnan(real)], drawn[~np.isnan(drawn)]
        if len(real) >= FEWEST and spread > 0:
            errors.append(abs(real.mean() - drawn.mean()) / spread if len(drawn) else 1.0)
    if len(errors) < FEWEST:
        return Metric("utility.aggregates", np.nan, note="no group is large enough to average")
    return _median("utility.aggregates", errors)


def _ranks(pair: Pair) -> dict[str, NDArray]:
    return {c: np.sort(pair.coded.values["real"][c]) for c in pair.columns if pair.kinds[c] != "category"}


def _chosen(
    pair: Pair, draw: NDArray, conditions: int, ranks: dict[str, NDArray], without: str | None = None
) -> dict[str, NDArray]:
    """Which rows of each table fulfil random conditions, taken from a real row, so that every query has an answer: a category's value, or a range of a
    quarter of the rows."""
    row = int(draw[0] * pair.real.height)
    values = pair.coded.values
    inside = {n: np.ones(len(next(iter(values[n].values()))), bool) for n in ("real", "synth")}
    for k in range(conditions):
        column = pair.columns[int(draw[2 + k] * len(pair.columns))]
        if column == without:
            continue
        at = values["real"][column][row]
        for name in inside:
            here = values[name][column]
            inside[name] &= here == at if column not in ranks else _near(here, at, ranks[column])
    return inside


def _median(name: str, errors: list[float]) -> Metric:
    """With the binomial interval of a median's rank."""
    bound, middle, half = np.sort(errors), len(errors) / 2, 0.98 * np.sqrt(len(errors))
    low, high = bound[max(0, int(middle - half))], bound[min(len(errors) - 1, int(middle + half))]
    return Metric(name, float(np.median(bound)), (float(low), float(high)), note=f"{len(errors)} queries")


def _near(values: NDArray, at: float, known: NDArray) -> NDArray:
    if np.isnan(at):
        return np.isnan(values)
    there = known[~np.isnan(known)]
    place, reach = np.searchsorted(there, at), len(there) // 8
    low, high = there[max(0, place - reach)], there[min(len(there) - 1, place + reach)]
    return (values >= low) & (values <= high)


def _shuffled(n: int, stream: Stream) -> NDArray:
    return np.argsort(stream.uniform(np.arange(n, dtype=np.uint64)))
