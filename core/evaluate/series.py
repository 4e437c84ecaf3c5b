"""Series: rows in order of time, of one thing or of many. Is each as long, as dense and as even, and does it move as the real ones do?

Values are taken at equal steps, in order; what is missing is drawn straight between its neighbours. The floor of each figure is that of the real
series in two halves: entities dealt in turn, or blocks of one series dealt in turn, never a cut in time, which tells two seasons apart and nothing else.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ..stream import Stream
from .fidelity import GROUPS, distances_of_groups
from .learners import booster
from .metric import Metric, jackknife, spread
from .pair import Pair

ROWS = 400_000
"""Rows of each table at most: whole entities while they fit, then the first rows of one."""
LAGS = 200
CROSS_LAGS = 20
BLOCKS = 20
WINDOW = 100
PARTS = 5
WINDOWS = 4_000
COLUMNS = 12
"""Columns at most: those first in the table."""
FOLDS = 5
PAUSE = 5.0
"""A pause is as many times the median time between real rows."""

Series = list[NDArray[np.float64]]
"""Per entity its values, shape (rows, columns)."""


@dataclass(frozen=True)
class Side:
    values: Series
    gaps: NDArray[np.float64]
    """Seconds from one row to the next within an entity."""
    pause: float
    """Seconds without a row that end a session."""
    sessions: NDArray[np.float64]
    """Seconds from the first row to the last of each stretch without a pause."""


def follow(pair: Pair) -> list[str]:
    """The columns whose movement is compared."""
    return [c for c in pair.numbers if c != pair.time and pair.kinds[c] == "number"][:COLUMNS]


def compare_series(pair: Pair, stream: Stream) -> list[Metric]:
    """The figures of series among `fidelity.*`; `pair.time` orders them."""
    columns = follow(pair)
    real = _side(pair, "real", columns, stream.child("real"))
    synth = _side(pair, "synth", columns, stream.child("synth"), real.pause)
    halves = _halves(real)
    found = []
    if pair.entity:
        found.append(_alike("fidelity.lengths", _lengths, real, synth, halves))
    found.append(_alike("fidelity.gaps", lambda s: s.gaps, real, synth, halves))
    if any(len(side.sessions) > len(side.values) for side in (real, synth)):
        found.append(_alike("fidelity.sessions", lambda s: s.sessions, real, synth, halves))
    else:  # each series is one session, as long as it was asked to be
        found.append(Metric("fidelity.sessions", np.nan, note="no series has a pause"))
    if columns:
        found += [
            _moving("fidelity.acf", _acf, _acf_alike, columns, real, synth, halves),
            _moving("fidelity.spectrum", _spectrum, _spectral_distance, columns, real, synth, halves),
        ]
    if len(columns) > 1:
        named = [f"{a} × {b}" for a, b in combinations(columns, 2)]
        found.append(_moving("fidelity.cross_correlation", _cross, _acf_alike, named, real, synth, halves))
    if columns:
        found.append(_discriminated(real, synth, halves, stream.child("discriminative")))
    return found


def _side(pair: Pair, name: str, columns: list[str], stream: Stream, pause: float | None = None) -> Side:
    table = pair.real if name == "real" else pair.synth
    assert pair.time
    table = table.filter(pl.col(pair.time).is_not_null())
    if pair.entity:
        table = table.filter(pl.col(pair.entity).is_not_null()).sort(pair.entity, pair.time, maintain_order=True)
        sizes = table.group_by(pair.entity, maintain_order=True).len()
        order = np.argsort(stream.uniform(np.arange(sizes.height, dtype=np.uint64)), kind="stable")
        kept = sizes[order].filter(pl.col("len").cum_sum() <= max(ROWS, int(sizes["len"][int(order[0])])))
        table = table.filter(pl.col(pair.entity).is_in(kept[pair.entity].implode()))
        parts = table.partition_by(pair.entity, maintain_order=True)
    else:
        parts = [table.sort(pair.time, maintain_order=True)]
    parts = [p.head(ROWS) for p in parts]
    at = [_seconds(p[pair.time]) for p in parts]
    gaps = np.concatenate([np.diff(t) for t in at]) if at else np.empty(0)
    pause = (PAUSE * float(np.median(gaps)) if len(gaps) else np.inf) if pause is None else pause
    sessions = [_sessions(t, pause) for t in at if len(t)]
    values = [p.select(pl.col(columns).cast(pl.Float64).interpolate().fill_null(strategy="forward").fill_null(strategy="backward")) for p in parts]  # fmt: skip
    return Side(
        [v.fill_null(0.0).to_numpy() for v in values],
        gaps,
        pause,
        np.concatenate(sessions) if sessions else np.empty(0),
    )


def _sessions(at: NDArray[np.float64], pause: float) -> NDArray[np.float64]:
    last = np.append(np.flatnonzero(np.diff(at) > pause), len(at) - 1)
    return at[last] - at[np.append(0, last[:-1] + 1)]


def _seconds(at: pl.Series) -> NDArray[np.float64]:
    if at.dtype.is_temporal():
        return at.cast(pl.Datetime("us")).cast(pl.Int64).to_numpy() / 1e6
    return at.cast(pl.Float64).to_numpy()


def _halves(side: Side) -> tuple[Side, Side]:
    """Entities in turn; of fewer than four, blocks of each in turn."""
    if len(side.values) >= 4:
        parts = [side.values[0::2], side.values[1::2]]
    else:
        parts = [[], []]
        for series in side.values:
            for n, block in enumerate(np.array_split(series, min(BLOCKS, max(1, len(series) // 2)))):
                parts[n % 2].append(block)
    one, other = (Side(parts[n], side.gaps[n::2], side.pause, side.sessions[n::2]) for n in (0, 1))
    return one, other


def _lengths(side: Side) -> NDArray[np.float64]:
    return np.array([len(v) for v in side.values], float)


def _alike(name: str, of: Callable[[Side], NDArray], real: Side, synth: Side, halves: tuple[Side, Side]) -> Metric:
    """1 minus the Kolmogorov-Smirnov distance of one number per entity or step."""
    one, two, half, other = of(real), of(synth), *(of(h) for h in halves)
    if not len(one) or not len(two):
        return Metric(name, np.nan, note="there is nothing to compare")
    groups = [np.arange(len(x)) % GROUPS for x in (one, two)]
    # the real halves are dealt by entity, not by coin
    scores = 1 - distances_of_groups(one, two, groups[0], groups[1], np.zeros(len(one), bool))
    zeros = [np.zeros(len(x), np.int64) for x in (half, other)]
    floor = 1 - float(distances_of_groups(half, other, zeros[0], zeros[1], zeros[0] > 0)[0])
    quantiles = [0.05, 0.25, 0.5, 0.75, 0.95]
    detail = tuple(
        {"quantile": q, "real": float(a), "synthetic": float(b)}
        for q, a, b in zip(quantiles, np.quantile(one, quantiles), np.quantile(two, quantiles), strict=True)
    )
    known = len(half) and len(other)
    return Metric(name, scores[0], jackknife(scores[0], scores[1:-1]), floor if known else None, detail)


Curves = NDArray[np.float64]
"""Shape (columns or pairs, points)."""


def _moving(
    name: str,
    curve: Callable[[Series, int], Curves],
    score: Callable[[Curves, Curves], NDArray],
    named: list[str],
    real: Side,
    synth: Side,
    halves: tuple[Side, Side],
) -> Metric:
    """Scores of curves per column, real against synthetic and one real half against the other; equally long pieces on all sides."""
    reach = int(min(np.median([len(v) for v in side.values]) for side in (real, synth)))
    short = int(min(np.median([len(v) for v in half.values]) if half.values else 0 for half in halves))
    if reach < 8:
        return Metric(name, np.nan, note="series of fewer than eight rows have no course")
    each = score(curve(real.values, reach), curve(synth.values, reach))
    floor = np.full(len(each), np.nan)
    if short >= 8:
        floor = score(curve(halves[0].values, short), curve(halves[1].values, short))
    parts = [score(curve(real.values, length), curve(p, length)) for p, length in _parts(synth.values)]
    better = Metric(name, 0).definition.better
    order = np.argsort(each if better == "high" else -each)
    detail = tuple({"column": named[n], "score": float(each[n]), "real against real": float(floor[n])} for n in order)
    if not np.isfinite(each).any():
        return Metric(name, np.nan, note="no column varies")
    means = [float(np.nanmean(p)) for p in parts if np.isfinite(p).any()]
    # a part is shorter than the whole and scores a little lower: its spread is what counts
    half = (spread(means)[1] - spread(means)[0]) / 2 if len(means) > 1 else 0.0
    value = float(np.nanmean(each))
    interval = (value - half, value + half) if half else None
    return Metric(name, value, interval, float(np.nanmean(floor)) if np.isfinite(floor).any() else None, detail)


def _parts(series: Series) -> list[tuple[Series, int]]:
    """The series in five parts, entities dealt in turn or one series cut, with the length that each part's curves are taken at."""
    if len(series) >= 2 * PARTS:
        dealt = [series[n::PARTS] for n in range(PARTS)]
    else:
        dealt = [[np.array_split(s, PARTS)[n] for s in series] for n in range(PARTS)]
    lengths = [int(np.median([len(v) for v in p])) for p in dealt]
    return [(p, n) for p, n in zip(dealt, lengths, strict=True) if n >= 8]


def _acf(series: Series, reach: int) -> Curves:
    """Autocorrelation at lags 1 to 200 (at most a quarter of a series), the mean over entities."""
    lags = max(1, min(LAGS, reach // 4))
    return _mean([_correlations(v, v, range(1, lags + 1), own=True) for v in series if len(v) > lags + 1])


def _cross(series: Series, reach: int) -> Curves:
    """Correlation of each two columns at lags -20 to 20, the mean over entities."""
    lags = max(1, min(CROSS_LAGS, reach // 4))
    return _mean([_correlations(v, v, range(-lags, lags + 1), own=False) for v in series if len(v) > lags + 1])


def _correlations(x: NDArray, y: NDArray, lags: range, own: bool) -> Curves:
    n = len(x)
    centred = x - x.mean(axis=0)
    scale = np.sqrt((centred**2).sum(axis=0))
    unit = np.divide(centred, scale, out=np.full_like(centred, np.nan), where=scale > 1e-12)
    pairs = [(c, c) for c in range(x.shape[1])] if own else list(combinations(range(x.shape[1]), 2))
    found = np.empty((len(pairs), len(lags)))
    for row, (a, b) in enumerate(pairs):
        for column, lag in enumerate(lags):
            first, second = (unit[: n - lag, a], unit[lag:, b]) if lag >= 0 else (unit[-lag:, a], unit[: n + lag, b])
            found[row, column] = first @ second
    return found


def _spectrum(series: Series, reach: int) -> Curves:
    """The decibels of each column's power by Welch's method (1967), each column scaled to a variance of 1; the mean over entities."""
    from scipy.signal import welch

    length = min(256, 2 ** int(np.log2(max(reach, 8))))
    found = []
    for v in series:
        if len(v) >= length:
            _, power = welch(v, nperseg=length, axis=0)
            total = power[1:].sum(axis=0)
            found.append(np.divide(power[1:], total, out=np.full_like(power[1:], np.nan), where=total > 0).T)
    return 10 * np.log10(_mean(found) + 1e-12)


def _mean(each: list[Curves]) -> Curves:
    if not each:
        return np.full((1, 1), np.nan)
    known = np.stack(each)
    there = np.isfinite(known)
    return np.divide(np.where(there, known, 0).sum(axis=0), there.sum(axis=0), out=np.full(known.shape[1:], np.nan), where=there.any(axis=0))  # fmt: skip


def _acf_alike(one: Curves, two: Curves) -> NDArray:
    """1 minus half the mean difference of two curves of correlations."""
    return 1 - np.abs(one - two).mean(axis=1) / 2


def _spectral_distance(one: Curves, two: Curves) -> NDArray:
    """Root mean square difference in decibels (Gray and Markel 1976)."""
    return np.sqrt(((one - two) ** 2).mean(axis=1))


def _discriminated(real: Side, synth: Side, halves: tuple[Side, Side], stream: Stream) -> Metric:
    """Area under the ROC curve of gradient boosting that tells windows of real and synthetic series apart."""
    shortest = min(np.median([len(v) for v in s.values]) for s in (real, synth, *halves))
    window = int(min(WINDOW, shortest))
    if window < 8:
        return Metric("fidelity.series_c2st", np.nan, note="series of fewer than eight rows have no windows")
    areas = _told_apart(real.values, synth.values, window, stream)
    floor = _told_apart(halves[0].values, halves[1].values, window, stream)
    if not areas:
        return Metric("fidelity.series_c2st", np.nan, note="there are too few windows to learn from")
    note = f"windows of {window} rows"
    return Metric(
        "fidelity.series_c2st", float(np.mean(areas)), spread(areas), float(np.mean(floor)) if floor else None, (), note
    )


def _told_apart(one: Series, two: Series, window: int, stream: Stream) -> list[float]:
    from sklearn.metrics import roc_auc_score

    sides = [_windows(series, window) for series in (one, two)]
    size = min(len(x) for x, _ in sides)
    if size < 4 * FOLDS:
        return []
    rows, folds = [], []
    for n, (x, piece) in enumerate(sides):
        chosen = np.sort(np.argsort(stream.child("windows", n).uniform(np.arange(len(x), dtype=np.uint64)))[:size])
        rows.append(x[chosen])
        # neighbours in time share a fold: a window next to one that was learnt from is no test
        folds.append((piece[chosen] * FOLDS / (piece.max() + 1)).astype(int))
    x, fold = np.concatenate(rows), np.concatenate(folds)
    y = np.repeat([0, 1], size)
    areas = []
    for n in range(FOLDS):
        train, test = fold != n, fold == n
        if len(np.unique(y[train])) == 2 and len(np.unique(y[test])) == 2:
            model = booster(True, np.zeros(x.shape[1], bool), n).fit(x[train], y[train])
            areas.append(float(roc_auc_score(y[test], model.predict_proba(x[test])[:, 1])))
    return areas


def _windows(series: Series, window: int) -> tuple[NDArray, NDArray]:
    """What describes each window: level, spread, range, roughness, correlation at some lags and power in four bands per column. And its number, in order."""
    found = []
    for values in series:
        count = len(values) // window
        if not count:
            continue
        block = values[: count * window].reshape(count, window, -1)
        centred = block - block.mean(axis=1, keepdims=True)
        deviation = centred.std(axis=1)
        safe = np.where(deviation > 1e-12, deviation, 1.0)[:, None, :]
        unit = centred / safe
        power = np.abs(np.fft.rfft(unit, axis=1)[:, 1:]) ** 2
        bands = [b.sum(axis=1) for b in np.array_split(power, 4, axis=1)]
        lagged = [(unit[:, :-k] * unit[:, k:]).mean(axis=1) for k in (1, 2, 5)]
        step = np.diff(block, axis=1)
        parts = [block.mean(axis=1), deviation, np.ptp(block, axis=1), step.std(axis=1), np.abs(step).max(axis=1)]
        found.append(np.concatenate([*parts, *lagged, *bands], axis=1))
    if not found:
        return np.empty((0, 0)), np.empty(0)
    whole = np.concatenate(found)
    number = np.arange(len(whole), dtype=float)
    if len(whole) > WINDOWS:
        at = np.linspace(0, len(whole) - 1, WINDOWS).astype(int)
        whole, number = whole[at], number[at]
    return whole, number
