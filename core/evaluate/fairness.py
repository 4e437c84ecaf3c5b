"""Whom does it serve worse: groups represented, and what models trained on it do to groups, beside models trained on real rows."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from ..stream import Stream
from .learners import booster, features
from .metric import Metric, spread
from .pair import Pair
from .utility import outcome, trials

FEWEST = 30
"""Test rows of a group that a rate is worth stating of."""


def treat(pair: Pair, stream: Stream) -> list[Metric]:
    """The figures `fairness.*`; without a target of two classes only representation."""
    if not pair.sensitive:
        return []
    found = [_representation(pair)]
    if pair.target:
        answer, classes = outcome(pair)
        if classes and len(np.unique(answer["real"][answer["real"] >= 0])) == 2:
            found += _models(pair, answer, stream)
    return found


def groups(pair: Pair, column: str) -> tuple[dict[str, NDArray], list[str]]:
    """Group codes per table and their names: categories, or quarters of a number's range of ranks; missing is a group of its own."""
    if pair.kinds[column] == "category":
        return pair.coded.codes(column), ["missing", *pair.coded.levels[column]]
    real = pair.coded.values["real"][column]
    edges = np.unique(np.quantile(real[~np.isnan(real)], [0.25, 0.5, 0.75]))
    bounds = ["−∞", *(f"{e:g}" for e in edges), "∞"]
    return pair.coded.bins(column, edges), [
        "missing",
        *(f"{a} to {b}" for a, b in pairwise(bounds)),
    ]


def _representation(pair: Pair) -> Metric:
    detail = []
    for column in pair.sensitive:
        if column not in pair.columns:
            continue
        codes, names = groups(pair, column)
        for code, name in enumerate(names):
            real, synth = (float((codes[n] == code).mean()) for n in ("real", "synth"))
            if real or synth:
                detail.append({"group": f"{column}: {name}", "real": real, "synthetic": synth})
    detail.sort(key=lambda d: -abs(d["real"] - d["synthetic"]))
    if not detail:
        return Metric("fairness.representation", np.nan, note="sensitive columns are keys or free text")
    worst = detail[0]
    value = abs(worst["real"] - worst["synthetic"])
    half = 1.96 * np.sqrt(
        worst["real"] * (1 - worst["real"]) / pair.real.height
        + worst["synthetic"] * (1 - worst["synthetic"]) / pair.synth.height
    )
    note = f"the group {worst['group']}"
    return Metric("fairness.representation", value, (max(0.0, value - half), value + half), None, tuple(detail), note)


def _models(pair: Pair, answer: dict[str, NDArray], stream: Stream) -> list[Metric]:
    table = features(pair, without=(pair.target,) if pair.target else ())
    held = "real" if pair.holdout is None else "holdout"
    known, counts = np.unique(answer["real"][answer["real"] >= 0], return_counts=True)
    positive = known[counts.argmin()]
    gaps: dict[str, list[tuple[float, float]]] = {"parity": [], "odds": [], "calibration": []}
    for n, (train, synth, test) in enumerate(trials(pair, stream)):
        truth = answer[held][test] == positive
        drawn = {}
        for origin, rows in (("real", train), ("synth", synth)):
            y = answer[origin][rows] == positive
            if y.all() or not y.any():
                which = "synthetic" if origin == "synth" else "real"
                note = f"the {which} training rows hold one class alone"
                return [
                    *(Metric(f"fairness.{name}_change", np.nan, note=note) for name in gaps),
                    _label_gap(pair, answer, positive),
                ]
            model = booster(True, table.categorical, n).fit(table.tables[origin][rows], y)
            drawn[origin] = model.predict_proba(table.tables[held][test])[:, 1]
        both = [
            _gaps(pair, drawn[o], truth, test, held, float((answer["real"] == positive).mean()))
            for o in ("real", "synth")
        ]
        for name in gaps:
            gaps[name].append((both[0][name], both[1][name]))
    found = []
    for name, values in gaps.items():
        each = np.array(values)
        change = each[:, 1] - each[:, 0]
        detail = (
            {"trained on": "real", "gap": float(each[:, 0].mean())},
            {"trained on": "synthetic", "gap": float(each[:, 1].mean())},
        )
        found.append(Metric(f"fairness.{name}_change", float(change.mean()), spread(change), detail=detail))
    return [*found, _label_gap(pair, answer, positive)]


def _gaps(pair: Pair, drawn: NDArray, truth: NDArray, test: NDArray, held: str, rate: float) -> dict[str, float]:
    # as many are taken as positive as there are positives: 0.5 would call nobody positive where the class is rare
    chosen = drawn >= np.quantile(drawn, 1 - rate)
    worst = {"parity": 0.0, "odds": 0.0, "calibration": 0.0}
    for column in pair.sensitive:
        if column not in pair.columns:
            continue
        codes, names = groups(pair, column)
        of = codes[held][test]
        shares: dict[str, list[float]] = {"parity": [], "true": [], "false": [], "off": []}
        for code in range(len(names)):
            mine = of == code
            if mine.sum() < FEWEST:
                continue
            shares["parity"].append(float(chosen[mine].mean()))
            shares["off"].append(float(abs(drawn[mine].mean() - truth[mine].mean())))
            for name, value in (("true", True), ("false", False)):
                if (mine & (truth == value)).sum() >= FEWEST:
                    shares[name].append(float(chosen[mine & (truth == value)].mean()))
        worst["parity"] = max(worst["parity"], _range(shares["parity"]))
        worst["odds"] = max(worst["odds"], _range(shares["true"]), _range(shares["false"]))
        worst["calibration"] = max(worst["calibration"], max(shares["off"], default=0.0))
    return worst


def _label_gap(pair: Pair, answer: dict[str, NDArray], positive: float) -> Metric:
    detail = []
    for column in pair.sensitive:
        if column not in pair.columns or column == pair.target:
            continue
        codes, names = groups(pair, column)
        big = [c for c in range(len(names)) if all((codes[n] == c).sum() >= FEWEST for n in ("real", "synth"))]
        if len(big) < 2:
            continue
        shares = {n: [float((answer[n][codes[n] == c] == positive).mean()) for c in big] for n in ("real", "synth")}
        gap = {n: _range(s) for n, s in shares.items()}
        errors = [
            shares[n][k] * (1 - shares[n][k]) / (codes[n] == big[k]).sum()
            for n in shares
            for k in (int(np.argmin(shares[n])), int(np.argmax(shares[n])))
        ]
        detail.append(
            {
                "column": column,
                "real gap": gap["real"],
                "synthetic gap": gap["synth"],
                "change": gap["synth"] - gap["real"],
                "± (95 %)": float(1.96 * np.sqrt(sum(errors))),
            }
        )
    if not detail:
        return Metric("fairness.label_gap_change", np.nan, note="fewer than two groups are large enough")
    worst = max(detail, key=lambda d: abs(d["change"]))
    change, half = worst["change"], worst["± (95 %)"]
    return Metric("fairness.label_gap_change", change, (change - half, change + half), None, tuple(detail))


def _range(shares: list[float]) -> float:
    return max(shares) - min(shares) if len(shares) > 1 else 0.0
