"""Does it give anyone away: copies, near copies, distances to training rows against rows the model never saw, and attacks.

All but the count of copies need a holdout: only rows that the model did not learn from say how near is near by chance.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ..stream import Stream
from . import attacks
from .fidelity import GROUPS, distances
from .metric import Metric, jackknife, proportion
from .pair import Pair, scaled

ROWS = 10_000
ATTACKED = 2_000
CHUNK = 1_000
AT_RISK = 20
CANDIDATES = 6
TIE = 1e-9
"""Squared distances that differ by no more are equal."""


def attack(pair: Pair, stream: Stream) -> list[Metric]:
    """The figures `privacy.*`."""
    found = [_copies(pair, stream.child("copies"))]
    if pair.holdout is None:
        return found
    size = min(ROWS, pair.real.height, pair.holdout.height)
    some = pair.head(size, stream.child("rows"))
    points = scaled(some)
    found += _distances(some, points)
    if size >= 20:
        found.append(_membership(some, points))
        found += attacks.people(some, stream.child("people"))
    if pair.sensitive:
        found.append(_attributes(some))
    return found


def _copies(pair: Pair, stream: Stream) -> Metric:
    columns = list(pair.kinds)
    copied = _share_in(pair.synth, pair.real, columns)
    rows = pair.real.with_row_index("↑ row").join(pair.synth.unique(), on=columns, how="semi", nulls_equal=True)
    detail = at_risk(pair, rows["↑ row"].head(AT_RISK).to_list())
    if pair.holdout is None:
        note = "of all real rows; without a holdout chance is not taken off"
        return Metric(
            "privacy.copies", copied, proportion(copied * pair.synth.height, pair.synth.height), None, detail, note
        )
    size = min(pair.real.height, pair.holdout.height)
    some = pair.head(size, stream)
    assert some.holdout is not None
    train, chance = (_share_in(pair.synth, table, columns) for table in (some.real, some.holdout))
    n = pair.synth.height
    half = 1.96 * np.sqrt((train + chance - (train - chance) ** 2) / n)
    note = f"{copied:.4%} of synthetic rows equal some training row"
    return Metric(
        "privacy.copies", train - chance, (train - chance - half, train - chance + half), chance, detail, note
    )


def _share_in(rows: pl.DataFrame, table: pl.DataFrame, columns: list[str]) -> float:
    return rows.join(table.unique(), on=columns, how="semi", nulls_equal=True).height / rows.height


def at_risk(pair: Pair, rows: Iterable[int], **more: Sequence[float]) -> tuple[dict[str, Any], ...]:
    """Training rows by their numbers in the table as given, from 0, with what else is known of each."""
    return tuple(
        {"training row at risk": row, **{k: v[n] for k, v in more.items()}}
        for n, row in enumerate(pair.rows("real", rows))
    )


def _distances(pair: Pair, points: dict[str, NDArray]) -> list[Metric]:
    near, which = {}, {}
    for name in ("real", "holdout"):
        near[name], which[name] = neighbours(points["synth"], points[name], 2)
    held = nearest(points["holdout"], points["real"], 2)
    first, other = near["real"][:, 0], near["holdout"][:, 0]
    tie = np.abs(first - other) <= TIE
    nearer = float(np.where(tie, 0.5, first < other).mean())
    n = len(first)
    bound = np.quantile(held[:, 0], 0.01)
    closer = first < bound if bound > TIE else first <= TIE
    chance = float((held[:, 0] < bound).mean() if bound > TIE else (held[:, 0] <= TIE).mean())
    half = 1.96 * np.sqrt(max(closer.mean() * (1 - closer.mean()), 1 / n) / n)
    copies = np.flatnonzero(closer)
    copies = copies[np.argsort(first[copies], kind="stable")][:AT_RISK]
    risky = dict.fromkeys(which["real"][copies, 0].tolist())
    # training rows that draw synthetic rows to themselves, where no row of the holdout is as near
    hubs, drawn = np.unique(which["real"][(first < other) & ~tie, 0], return_counts=True)
    most = np.argsort(-drawn, kind="stable")[:AT_RISK]
    return [
        Metric(
            "privacy.dcr_share",
            nearer,
            proportion(nearer * n, n),
            0.5,
            at_risk(pair, hubs[most], nearest_of=drawn[most].tolist()),
            f"{n:,} rows of each",
        ),
        Metric(
            "privacy.near_copies",
            float(closer.mean()) - chance,
            (float(closer.mean() - chance - half), float(closer.mean() - chance + half)),
            chance,
            at_risk(pair, risky),
        ),
        _nndr(near["real"], held),
    ]


def _nndr(near: NDArray, held: NDArray) -> Metric:
    ratios = [
        np.divide(np.sqrt(d[:, 0]), np.sqrt(d[:, 1]), out=np.ones(len(d)), where=d[:, 1] > 0) for d in (near, held)
    ]
    value = float(np.median(ratios[0]) - np.median(ratios[1]))
    groups = [np.arange(len(r)) % GROUPS for r in ratios]
    left_out = [
        np.median(ratios[0][groups[0] != g]) - np.median(ratios[1][groups[1] != g])
        for g in range(GROUPS)
        if min(map(len, ratios)) > GROUPS
    ]
    return Metric("privacy.nndr", value, jackknife(value, left_out), 0.0)


def _membership(pair: Pair, points: dict[str, NDArray]) -> Metric:
    """Densities by the distance to the nearest neighbour: of synthetic rows, and of a half of the holdout as the attacker's own sample."""
    from sklearn.metrics import roc_auc_score

    half = len(points["holdout"]) // 2
    reference, outside = points["holdout"][:half], points["holdout"][half : half + ATTACKED]
    members = points["real"][: len(outside)]
    rows = np.concatenate([members, outside])
    # the samples need not be equally large: a factor moves every score alike
    far, near = (np.log(nearest(rows, among, 1)[:, 0] + 1e-6) for among in (reference, points["synth"]))
    score = far - near
    truth = np.repeat([1, 0], [len(members), len(outside)])
    area = float(roc_auc_score(truth, score))
    error = area_error(area, len(members), len(outside))
    worst = np.argsort(-score[: len(members)], kind="stable")[:AT_RISK]
    # what no row of the holdout reaches is no chance
    worst = worst[score[worst] > score[len(members) :].max()]
    detail = at_risk(pair, worst.tolist(), score=[float(score[n]) for n in worst])
    note = f"{len(rows):,} rows attacked"
    return Metric("privacy.membership", area, (area - 1.96 * error, area + 1.96 * error), 0.5, detail, note)


def area_error(area: float, members: int, others: int) -> float:
    """Hanley and McNeil 1982, Radiology 143:29-36."""
    one, two = area / (2 - area), 2 * area**2 / (1 + area)
    spread = area * (1 - area) + (members - 1) * (one - area**2) + (others - 1) * (two - area**2)
    return float(np.sqrt(spread / (members * others)))


def _attributes(pair: Pair) -> Metric:
    detail = []
    for column in pair.sensitive:
        if column not in pair.columns:
            continue
        points = scaled(replace(pair, kinds={c: k for c, k in pair.kinds.items() if c != column}))
        surest = np.empty(0, np.int64)
        synth, right = pair.coded.values["synth"][column], {}
        for name in ("real", "holdout"):
            some = points[name][:ATTACKED]
            far, rows = (found[:, 0] for found in neighbours(some, points["synth"], 1))
            guess, truth = synth[rows], pair.coded.values[name][column][:ATTACKED]
            if pair.kinds[column] == "category":
                right[name] = guess == truth
            else:
                known = pair.coded.values["real"][column]
                right[name] = np.abs(guess - truth) <= (np.nanmax(known) - np.nanmin(known)) / 20
            if name == "real":
                surest = np.flatnonzero(right[name])[np.argsort(far[right[name]], kind="stable")][:AT_RISK]
        train, chance = float(right["real"].mean()), float(right["holdout"].mean())
        n = min(len(right["real"]), len(right["holdout"]))
        error = 1.96 * np.sqrt((train * (1 - train) + chance * (1 - chance)) / n)
        detail.append(
            {
                "column": column,
                "training people": train,
                "others": chance,
                "more": train - chance,
                "± (95 %)": error,
                "rows guessed most surely": ", ".join(map(str, pair.rows("real", surest))),
            }
        )
    if not detail:
        return Metric("privacy.attributes", np.nan, note="sensitive columns are keys or free text")
    worst = max(detail, key=lambda d: d["more"])
    interval = (worst["more"] - worst["± (95 %)"], worst["more"] + worst["± (95 %)"])
    return Metric(
        "privacy.attributes", worst["more"], interval, detail=tuple(detail), note=f"worst column: {worst['column']}"
    )


def neighbours(rows: NDArray, among: NDArray, k: int) -> tuple[NDArray, NDArray]:
    """Squared distances to the k nearest, ascending, and which they are; both of shape (len(rows), k). Chunked: memory does not grow with the product."""
    k = min(k, len(among))
    # a product of matrices rounds: it finds a few candidates, whose differences then say how near they are
    tried = min(k + CANDIDATES, len(among))
    found, which = np.empty((len(rows), k), np.float32), np.empty((len(rows), k), np.int64)
    for start in range(0, len(rows), CHUNK):
        chunk = rows[start : start + CHUNK]
        closest = np.argpartition(distances(chunk, among), tried - 1, axis=1)[:, :tried]
        apart = np.stack([((chunk - among[at]) ** 2).sum(axis=1) for at in closest.T], axis=1)
        order = np.argsort(apart, axis=1, kind="stable")[:, :k]
        found[start : start + CHUNK] = np.take_along_axis(apart, order, axis=1)
        which[start : start + CHUNK] = np.take_along_axis(closest, order, axis=1)
    return found, which


def nearest(rows: NDArray, among: NDArray, k: int) -> NDArray:
    """The distances alone of `neighbours`."""
    return neighbours(rows, among, k)[0]
