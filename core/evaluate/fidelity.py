"""Does it look like the real table: columns, pairs, triples, missing values, and the cloud of rows as a whole.

Where it costs little, a figure comes with its floor: the same figure of one half of the real rows against the other, which
no synthetic table of that size can be expected to beat.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import combinations, permutations

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ..stream import Stream
from .metric import Metric, jackknife
from .pair import BINS, Pair, scaled

GROUPS = 10
TRIPLES = 300
CONDITIONALS = 300
LISTED = 400
NEIGHBOURS = 5
CLOUD = 5_000

Halves = dict[str, tuple[NDArray, NDArray]]


def compare(pair: Pair, stream: Stream) -> list[Metric]:
    """The figures `fidelity.*` but the classifier's."""
    mixed = _coin(pair, stream)
    found = _quality(pair, mixed)
    if len(pair.columns) >= 2:
        found.append(_conditionals(pair, mixed, stream.child("conditionals")))
    if len(pair.columns) >= 3:
        found.append(_triples(pair, mixed, stream.child("triples")))
    found.append(_missing(pair, mixed))
    if pair.numbers:
        found.append(_wasserstein(pair, mixed))
    return [*found, *_cloud(pair, stream.child("cloud"))]


def compare_columns(pair: Pair, stream: Stream) -> dict[str, Metric]:
    """`fidelity.shapes`, and with two columns and more `fidelity.pairs` and `fidelity.quality`, by name."""
    return {m.name: m for m in _quality(pair, _coin(pair, stream))}


def _coin(pair: Pair, stream: Stream) -> NDArray[np.bool_]:
    """Which half of the real rows each is of."""
    return stream.child("halves").uniform(np.arange(pair.real.height, dtype=np.uint64)) < 0.5


class Scores:
    """Scores per item (a column or pair): the whole, each leave-one-group-out, and real against real."""

    def __init__(self, items: list[tuple[str, ...]], whole: NDArray, left_out: NDArray, floor: NDArray) -> None:
        self.items, self.whole, self.left_out, self.floor = items, whole, left_out, floor


def _resampled(
    pair: Pair,
    mixed: NDArray,
    score: Callable[[Pair, tuple[str, ...], NDArray, NDArray, NDArray], NDArray],
    items: list[tuple[str, ...]],
) -> Scores:
    """Score every item on all rows, on all but each of ten groups of rows, and on one half of the real rows against the other."""
    groups = {name: np.arange(len(v)) % GROUPS for name, v in _any_column(pair).items()}
    rows = [score(pair, item, groups["real"], groups["synth"], mixed) for item in items]
    table = np.array(rows).reshape(len(items), GROUPS + 2)
    return Scores(items, table[:, 0], table[:, 1:-1], table[:, -1])


def across(pair: Pair, items: list[tuple[str, str]], stream: Stream) -> NDArray:
    """The scores of pairs of columns: shape (pairs, whole and each group left out and real against real)."""
    mixed = stream.uniform(np.arange(pair.real.height, dtype=np.uint64)) < 0.5
    found = _resampled(pair, mixed, _trend, list(items))
    return np.column_stack([found.whole, found.left_out, found.floor])


def _quality(pair: Pair, mixed: NDArray) -> list[Metric]:
    shapes = _resampled(pair, mixed, _shape, [(c,) for c in pair.columns])
    pairs = _resampled(pair, mixed, _trend, list(combinations(pair.columns, 2)))
    found = [mean_of("fidelity.shapes", shapes)]
    if not len(pairs.items):
        return found
    both = Scores(
        [],
        np.array([np.nanmean(shapes.whole), np.nanmean(pairs.whole)]),
        np.array([np.nanmean(shapes.left_out, 0), np.nanmean(pairs.left_out, 0)]),
        np.array([np.nanmean(shapes.floor), np.nanmean(pairs.floor)]),
    )
    return [*found, mean_of("fidelity.pairs", pairs), mean_of("fidelity.quality", both)]


def mean_of(name: str, scores: Scores) -> Metric:
    """The mean over items, with its jackknife interval over groups of rows."""
    value = float(np.nanmean(scores.whole))
    order = np.argsort(scores.whole)
    detail = tuple(
        {
            "columns": " × ".join(scores.items[n]),
            "score": float(scores.whole[n]),
            "real against real": float(scores.floor[n]),
        }
        for n in order[:LISTED]
        if scores.items and not np.isnan(scores.whole[n])
    )
    interval = jackknife(value, np.nanmean(scores.left_out, axis=0))
    return Metric(name, value, interval, float(np.nanmean(scores.floor)), detail)


def _shape(pair: Pair, item: tuple[str, ...], real_group: NDArray, synth_group: NDArray, mixed: NDArray) -> NDArray:
    (column,) = item
    if pair.kinds[column] == "category":
        codes = pair.coded.codes(column)
        # missing values have a figure of their own
        return _tables(
            codes["real"] - 1, codes["synth"] - 1, len(pair.coded.levels[column]), real_group, synth_group, mixed
        )
    values = pair.coded.values
    return 1 - distances_of_groups(values["real"][column], values["synth"][column], real_group, synth_group, mixed)


def distances_of_groups(
    real: NDArray, synth: NDArray, real_group: NDArray, synth_group: NDArray, mixed: NDArray
) -> NDArray:
    """Kolmogorov-Smirnov distances from counts of the distinct values by group: one sort serves all."""
    there = [~np.isnan(real), ~np.isnan(synth)]
    known, place = np.unique(np.concatenate([real[there[0]], synth[there[1]]]), return_inverse=True)
    if not there[0].any() or not there[1].any():
        return np.full(GROUPS + 2, np.nan if not there[0].any() and not there[1].any() else 1.0)
    split = int(there[0].sum())
    first = _counts(place[:split], real_group[there[0]], len(known), GROUPS)
    second = _counts(place[split:], synth_group[there[1]], len(known), GROUPS)
    half = _counts(place[:split], mixed[there[0]].astype(int), len(known), 2)
    pairs = [(first.sum(0), second.sum(0))]
    pairs += [(first.sum(0) - first[g], second.sum(0) - second[g]) for g in range(GROUPS)]
    pairs.append((half[0], half[1]))
    return np.array([_ks(a, b) for a, b in pairs])


def _ks(first: NDArray, second: NDArray) -> float:
    if not first.sum() or not second.sum():
        return np.nan
    return float(np.abs(np.cumsum(first) / first.sum() - np.cumsum(second) / second.sum()).max())


def _trend(pair: Pair, item: tuple[str, ...], real_group: NDArray, synth_group: NDArray, mixed: NDArray) -> NDArray:
    one, two = item
    if all(pair.kinds[c] != "category" for c in item):
        return _correlations(pair, one, two, real_group, synth_group, mixed)
    a, b = _cells(pair, one), _cells(pair, two)
    width = 1 + max(int(v.max(initial=0)) for v in b.values())
    joint = {name: a[name] * width + b[name] for name in ("real", "synth")}
    size = 1 + max(int(v.max(initial=0)) for v in joint.values())
    return _tables(joint["real"], joint["synth"], size, real_group, synth_group, mixed)


def _cells(pair: Pair, column: str) -> dict[str, NDArray]:
    """Codes of the contingency table's rows: categories, or ten bins of equal width over the real range."""
    if pair.kinds[column] == "category":
        return pair.coded.codes(column)
    real = pair.coded.values["real"][column]
    there = real[~np.isnan(real)]
    edges = np.linspace(there.min(), there.max(), BINS + 1)[1:-1] if len(there) else np.array([])
    return pair.coded.bins(column, edges)


def _tables(
    real: NDArray, synth: NDArray, size: int, real_group: NDArray, synth_group: NDArray, mixed: NDArray
) -> NDArray:
    """1 minus total variation, for the whole, each group left out, and the two real halves. Codes below 0 are left aside."""
    keep_real, keep_synth = real >= 0, synth >= 0
    first = _counts(real[keep_real], real_group[keep_real], size, GROUPS)
    second = _counts(synth[keep_synth], synth_group[keep_synth], size, GROUPS)
    half = _counts(real[keep_real], mixed[keep_real].astype(int), size, 2)
    pairs = [(first.sum(0), second.sum(0))]
    pairs += [(first.sum(0) - first[g], second.sum(0) - second[g]) for g in range(GROUPS)]
    pairs.append((half[0], half[1]))
    return np.array([_overlap(a, b) for a, b in pairs])


def _overlap(first: NDArray, second: NDArray) -> float:
    if not first.sum() or not second.sum():
        return np.nan if first.sum() == second.sum() else 0.0
    return float(1 - np.abs(first / first.sum() - second / second.sum()).sum() / 2)


def _counts(codes: NDArray, groups: NDArray, size: int, number: int) -> NDArray:
    return np.bincount(groups * size + codes, minlength=number * size).reshape(number, size)


def _correlations(pair: Pair, one: str, two: str, real_group: NDArray, synth_group: NDArray, mixed: NDArray) -> NDArray:
    """1 minus half the difference of Pearson's correlations, from sums by group."""
    values = pair.coded.values
    first = _moments(values["real"][one], values["real"][two], real_group, GROUPS)
    second = _moments(values["synth"][one], values["synth"][two], synth_group, GROUPS)
    half = _moments(values["real"][one], values["real"][two], mixed.astype(int), 2)
    pairs = [(first.sum(0), second.sum(0))]
    pairs += [(first.sum(0) - first[g], second.sum(0) - second[g]) for g in range(GROUPS)]
    pairs.append((half[0], half[1]))
    return np.array([1 - abs(_pearson(a) - _pearson(b)) / 2 for a, b in pairs])


def _moments(x: NDArray, y: NDArray, groups: NDArray, number: int) -> NDArray:
    """Per group: n, Σx, Σy, Σx², Σy², Σxy of the rows where both are there, about the mean of all (for precision)."""
    there = ~np.isnan(x) & ~np.isnan(y)
    x, y, groups = x[there], y[there], groups[there]
    if len(x):
        x, y = x - x.mean(), y - y.mean()
    terms = (np.ones_like(x), x, y, x * x, y * y, x * y)
    return np.stack([np.bincount(groups, t, minlength=number) for t in terms], axis=1)


def _pearson(sums: NDArray) -> float:
    n, x, y, xx, yy, xy = sums
    with np.errstate(invalid="ignore", divide="ignore"):
        across = (xx - x * x / n) * (yy - y * y / n)
        # a constant column has no correlation
        return float((xy - x * y / n) / np.sqrt(across)) if n > 1 and across > 1e-12 * xx * yy else np.nan


def _conditionals(pair: Pair, mixed: NDArray, stream: Stream) -> Metric:
    """A random few hundred of all ordered pairs: the second column's distribution within each class of the first."""
    everything = list(permutations(pair.columns, 2))
    draws = stream.uniform(np.arange(len(everything), dtype=np.uint64))
    chosen = [everything[n] for n in np.argsort(draws)[:CONDITIONALS]]
    codes = {c: _even(pair, c) for c in pair.columns}
    sizes = {c: 1 + max(int(v.max(initial=0)) for v in codes[c].values()) for c in pair.columns}
    groups = {name: np.arange(len(v)) % GROUPS for name, v in _any_column(pair).items()}
    rows = []
    for given, column in chosen:
        shape = (sizes[given], sizes[column])
        joint = {n: codes[given][n] * shape[1] + codes[column][n] for n in ("real", "synth")}
        first, second = (_counts(joint[n], groups[n], shape[0] * shape[1], GROUPS) for n in ("real", "synth"))
        half = _counts(joint["real"], mixed.astype(int), shape[0] * shape[1], 2)
        sides = [(first.sum(0), second.sum(0))]
        sides += [(first.sum(0) - first[g], second.sum(0) - second[g]) for g in range(GROUPS)]
        sides.append((half[0], half[1]))
        rows.append([_given(a.reshape(shape), b.reshape(shape)) for a, b in sides])
    table = np.array(rows)
    named: list[tuple[str, ...]] = [(f"{column} given {given}",) for given, column in chosen]
    return mean_of("fidelity.conditionals", Scores(named, table[:, 0], table[:, 1:-1], table[:, -1]))


def _given(real: NDArray, synth: NDArray) -> float:
    """1 minus the total variation distance within each row of two tables, weighted by the real rows; a row that the second lacks is all distance."""
    weight, there = real.sum(axis=1), synth.sum(axis=1)
    known = weight > 0
    one = real[known] / weight[known, None]
    two = np.divide(
        synth[known], there[known, None], out=np.zeros((int(known.sum()), real.shape[1])), where=there[known, None] > 0
    )
    apart = np.where(there[known] > 0, np.abs(one - two).sum(axis=1) / 2, 1.0)
    return float(1 - apart @ weight[known] / weight.sum()) if weight.sum() else np.nan


def _triples(pair: Pair, mixed: NDArray, stream: Stream) -> Metric:
    """A random few hundred of all triples, numbers in bins of equal frequency."""
    everything = list(combinations(pair.columns, 3))
    draws = stream.uniform(np.arange(len(everything), dtype=np.uint64))
    chosen = [everything[n] for n in np.argsort(draws)[:TRIPLES]]
    codes = {c: _even(pair, c) for c in pair.columns}
    groups = {name: np.arange(len(v)) % GROUPS for name, v in _any_column(pair).items()}
    rows = []
    for triple in chosen:
        joint = {}
        for name in ("real", "synth"):
            whole = np.zeros(len(groups[name]), np.int64)
            for column in triple:
                whole = whole * (1 + max(int(v.max(initial=0)) for v in codes[column].values())) + codes[column][name]
            joint[name] = whole
        _, place = np.unique(np.concatenate([joint["real"], joint["synth"]]), return_inverse=True)
        split = len(joint["real"])
        rows.append(_tables(place[:split], place[split:], int(place.max()) + 1, groups["real"], groups["synth"], mixed))
    table = np.array(rows)
    return mean_of("fidelity.triples", Scores(chosen, table[:, 0], table[:, 1:-1], table[:, -1]))


def _even(pair: Pair, column: str) -> dict[str, NDArray]:
    if pair.kinds[column] == "category":
        return pair.coded.codes(column)
    real = pair.coded.values["real"][column]
    there = real[~np.isnan(real)]
    edges = np.unique(np.quantile(there, np.linspace(0, 1, BINS + 1)[1:-1])) if len(there) else np.array([])
    return pair.coded.bins(column, edges)


def _missing(pair: Pair, mixed: NDArray) -> Metric:
    found = np.array([_gaps(pair.real[c], pair.synth[c], mixed) for c in pair.kinds])
    shares = {c: (pair.real[c].null_count() / pair.real.height, pair.synth[c].null_count() / pair.synth.height) for c in pair.kinds}  # fmt: skip
    detail = tuple(
        {"column": c, "real": shares[c][0], "synthetic": shares[c][1]}
        for c in sorted(shares, key=lambda c: -abs(shares[c][0] - shares[c][1]))
        if any(shares[c])
    )
    each = 1 - found.mean(axis=0)
    return Metric("fidelity.missing", each[0], jackknife(each[0], each[1:-1]), each[-1], detail)


def _gaps(real: pl.Series, synth: pl.Series, mixed: NDArray) -> NDArray:
    """Differences in the share of missing values: the whole, each group left out, one real half against the other."""
    lost = [s.is_null().to_numpy() for s in (real, synth)]
    counts = [
        np.stack([np.bincount(np.arange(len(x)) % GROUPS, w, GROUPS) for w in (x, np.ones(len(x)))]) for x in lost
    ]
    shares = []
    for c in counts:
        lacking, rows = c.sum(axis=1)
        shares.append(np.concatenate([[lacking / rows], (lacking - c[0]) / np.maximum(rows - c[1], 1)]))
    halves = [float(lost[0][mixed == h].mean()) if (mixed == h).any() else 0.0 for h in (False, True)]
    return np.append(np.abs(shares[0] - shares[1]), abs(halves[0] - halves[1]))


def _wasserstein(pair: Pair, mixed: NDArray) -> Metric:
    from scipy.stats import wasserstein_distance

    detail, floor, left_out = [], [], []
    for column in pair.numbers:
        real, synth = (pair.coded.values[n][column] for n in ("real", "synth"))
        there, drawn, half = real[~np.isnan(real)], synth[~np.isnan(synth)], mixed[~np.isnan(real)]
        if len(there) < GROUPS or len(drawn) < GROUPS or half.all() or not half.any() or not there.std():
            continue
        groups = [np.arange(len(x)) % GROUPS for x in (there, drawn)]
        distance = wasserstein_distance(there, drawn) / there.std()
        left_out.append(
            [wasserstein_distance(there[groups[0] != g], drawn[groups[1] != g]) / there.std() for g in range(GROUPS)]
        )
        floor.append(wasserstein_distance(there[half], there[~half]) / there.std())
        detail.append({"columns": column, "distance": float(distance), "real against real": float(floor[-1])})
    if not detail:
        return Metric("fidelity.wasserstein", np.nan, note="no number varies")
    value = float(np.mean([d["distance"] for d in detail]))
    detail.sort(key=lambda d: -d["distance"])
    interval = jackknife(value, np.mean(left_out, axis=0))
    return Metric("fidelity.wasserstein", value, interval, float(np.mean(floor)), tuple(detail))


def _cloud(pair: Pair, stream: Stream) -> list[Metric]:
    """Precision, recall, density, coverage with equally many rows of each, in the space of `scaled`."""
    some = pair.head(min(CLOUD, pair.real.height, pair.synth.height), stream)
    points = scaled(some)
    real, synth = points["real"], points["synth"]
    if len(real) <= NEIGHBOURS + 1:
        return []
    reach_real, reach_synth = (_reach(p) for p in (real, synth))
    across = distances(synth, real)
    # equal rows are as near as can be: their own reach of nought holds them
    within_real = across <= reach_real[None, :]
    values = {
        "precision": within_real.any(axis=1),
        "recall": (across <= reach_synth[:, None]).any(axis=0),
        "density": within_real.sum(axis=1) / NEIGHBOURS,
        "coverage": within_real.any(axis=0),
    }
    found = []
    for name, each in values.items():
        half = 1.96 * float(each.std()) / np.sqrt(len(each))
        mean = float(each.mean())
        found.append(Metric(f"fidelity.{name}", mean, (mean - half, mean + half), note=f"{len(real):,} rows of each"))
    return found


def distances(one: NDArray, two: NDArray) -> NDArray:
    """Squared Euclidean distances of points, float32 of shape (len(one), len(two)), never below nought."""
    return np.maximum((one**2).sum(1)[:, None] + (two**2).sum(1)[None, :] - 2 * one @ two.T, 0)


def _reach(points: NDArray) -> NDArray:
    """The squared distance from each point to its fifth nearest other."""
    apart = distances(points, points)
    np.fill_diagonal(apart, np.inf)
    # a hair more: the same pair of points must not differ by rounding between two products
    return np.partition(apart, NEIGHBOURS - 1, axis=1)[:, NEIGHBOURS - 1] * np.float32(1 + 1e-5) + np.float32(1e-6)


def _any_column(pair: Pair) -> dict[str, NDArray]:
    return {"real": np.empty(pair.real.height), "synth": np.empty(pair.synth.height)}
