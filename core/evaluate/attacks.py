"""Three attacks on people, after Giomi et al. 2023, A Unified Framework for Quantifying Privacy Risk in Synthetic Data, PoPETs 2023(2):
an attacker who holds the synthetic table alone singles a person out, links two halves of a record, or infers a value.

Each attack runs against training rows and, as the control, against equally many rows of the holdout. The risk is what the first
gain over the second, as a share of what there was to gain: (attack − control) / (1 − control).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from ..stream import Stream
from .fidelity import distances
from .metric import Metric, proportion
from .pair import Pair, scaled

ATTACKS = 2_000
PREDICATES = 500
CLAUSES = 3
SPLITS = 4
DRAWS = 20
CHUNK = 1_000
AT_RISK = 20
NEAR = 0.05  # a number counts as guessed within a twentieth of the column's range


def people(pair: Pair, stream: Stream) -> list[Metric]:
    """`privacy.singling_out`, `privacy.linkability` and `privacy.inference` of a pair whose real table and holdout are equally long."""
    if pair.holdout is None or pair.real.height != pair.holdout.height:
        raise ValueError("the attacks need a holdout as long as the real table")
    return [
        _singling_out(pair, stream.child("singling_out")),
        _linkability(pair, stream.child("linkability")),
        _inference(pair),
    ]


def residual(attack: int, control: int, n: int) -> tuple[float, tuple[float, float]]:
    """Risk beyond the control and its 95 % interval, both cut to 0 … 1, from right attacks of `n` each.

    The interval carries Wilson's intervals of the two shares through the ratio's first derivatives.
    """
    if control >= n:
        return float("nan"), (0.0, 1.0)
    (low, high), (below, above) = proportion(attack, n), proportion(control, n)
    rate, chance = attack / n, control / n
    value = (rate - chance) / (1 - chance)
    middle, base = (low + high) / 2, (below + above) / 2
    half = np.hypot((high - low) / 2 / (1 - base), (1 - middle) / (1 - base) ** 2 * (above - below) / 2)
    centre = (middle - base) / (1 - base)
    bounds = np.clip([centre - half, centre + half], 0, 1)
    return float(np.clip(value, 0, 1)), (float(bounds[0]), float(bounds[1]))


def _singling_out(pair: Pair, stream: Stream) -> Metric:
    """Predicates of a few columns that fit one synthetic row alone: for numbers, to be at least as extreme as it is."""
    name, columns = "privacy.singling_out", pair.columns
    if len(columns) < 2:
        return Metric(name, np.nan, note="a predicate needs two columns")
    clauses = min(CLAUSES, len(columns))
    values, rows, hits = pair.coded.values, pair.synth.height, {"real": 0, "holdout": 0}
    middles = {
        c: np.nanmedian(values["synth"][c]) if np.isfinite(values["synth"][c]).any() else np.nan
        for c in pair.numbers
        if c in columns
    }
    at_risk: list[int] = []
    found: set[bytes] = set()
    for n in range(PREDICATES * DRAWS):
        if len(found) == PREDICATES:
            break
        draw = stream.uniform(np.arange(n * 64, n * 64 + 1 + len(columns), dtype=np.uint64))
        row = int(draw[0] * rows)
        chosen = [columns[k] for k in np.sort(np.argsort(draw[1:])[:clauses])]
        if _fits(values["synth"], chosen, row, values["synth"], middles).sum() != 1:
            continue
        mark = repr([(c, values["synth"][c][row]) for c in chosen]).encode()
        if mark in found:
            continue
        found.add(mark)
        for origin in hits:
            there = np.flatnonzero(_fits(values[origin], chosen, row, values["synth"], middles))
            if len(there) == 1:
                hits[origin] += 1
                if origin == "real" and len(at_risk) < AT_RISK:
                    at_risk.append(int(there[0]))
    if not found:
        return Metric(name, np.nan, note="no predicate fits one synthetic row alone")
    note = f"{len(found):,} predicates of {clauses} columns; {hits['real']} single out a training row, {hits['holdout']} one of the holdout"
    return _metric(name, hits["real"], hits["holdout"], len(found), pair.rows("real", at_risk), note)


def _fits(
    table: dict[str, NDArray], columns: Sequence[str], row: int, synth: dict[str, NDArray], middles: dict[str, float]
) -> NDArray:
    inside = np.ones(len(table[columns[0]]), bool)
    for column in columns:
        value, held = synth[column][row], table[column]
        if column not in middles:
            inside &= held == value
        elif np.isnan(value):
            inside &= np.isnan(held)
        else:
            inside &= held >= value if value > middles[column] else held <= value
    return inside


def _linkability(pair: Pair, stream: Stream) -> Metric:
    """Two parties hold half of the columns each: do both halves of a person lie nearest to the same synthetic row?

    How much a split tells depends on the columns on either side, so several are tried and the worst counts.
    """
    name, columns = "privacy.linkability", pair.columns
    if len(columns) < 2:
        return Metric(name, np.nan, note="two halves need two columns")
    found = []
    for n in range(SPLITS):
        order = np.argsort(stream.uniform(np.arange(n * 4096, n * 4096 + len(columns), dtype=np.uint64)))
        halves = [{columns[k] for k in part} for part in np.array_split(order, 2)]
        one, two = (nearest(pair, half) for half in halves)
        linked = {origin: one[origin] == two[origin] for origin in one}
        at_risk = np.flatnonzero(linked["real"])[:AT_RISK].tolist()
        note = f"{len(linked['real']):,} people; one half: {', '.join(c for c in columns if c in halves[0])}"
        hits = [int(linked[origin].sum()) for origin in ("real", "holdout")]
        found.append(_metric(name, hits[0], hits[1], len(linked["real"]), pair.rows("real", at_risk), note))
    return max(found, key=lambda m: (m.interval[0] if m.interval else 0, m.value))


def _inference(pair: Pair) -> Metric:
    """Each column in turn is the secret, guessed from the nearest synthetic row by all the others."""
    name, found = "privacy.inference", []
    if len(pair.columns) < 2:
        return Metric(name, np.nan, note="a guess needs a second column")
    for secret in pair.columns:
        near = nearest(pair, {c for c in pair.columns if c != secret})
        values = {origin: table[secret] for origin, table in pair.coded.values.items()}
        right = {o: _right(pair, secret, values["synth"][rows], values[o][: len(rows)]) for o, rows in near.items()}
        n = len(right["real"])
        hit, chance = int(right["real"].sum()), int(right["holdout"].sum())
        risk, (low, high) = residual(hit, chance, n)
        found.append(
            {
                "column": secret,
                "training people": hit / n,
                "others": chance / n,
                "risk": risk,
                "from": low,
                "to": high,
                "rows guessed": ", ".join(map(str, pair.rows("real", np.flatnonzero(right["real"])[:AT_RISK]))),
            }
        )
    known = [f for f in found if not np.isnan(f["risk"])]
    if not known:
        return Metric(name, np.nan, detail=tuple(found), note="every column is guessed of everybody")
    # many columns are looked at, so the one whose interval starts highest is the worst, not the luckiest
    worst = max(known, key=lambda f: (f["from"], f["risk"]))
    found.sort(key=lambda f: -np.nan_to_num(f["risk"]))
    note = f"{min(ATTACKS, pair.real.height):,} people; worst column: {worst['column']}"
    return Metric(name, worst["risk"], (worst["from"], worst["to"]), 0.0, tuple(found), note)


def _right(pair: Pair, secret: str, guess: NDArray, truth: NDArray) -> NDArray:
    if pair.kinds[secret] == "category":
        return guess == truth
    known = pair.coded.values["real"][secret]
    reach = (np.nanmax(known) - np.nanmin(known)) * NEAR if np.isfinite(known).any() else 0.0
    return (np.abs(guess - truth) <= reach) | (np.isnan(guess) & np.isnan(truth))


def nearest(pair: Pair, columns: set[str]) -> dict[str, NDArray]:
    """The synthetic row nearest to each attacked row of the real table and of the holdout, by these columns."""
    points = scaled(replace(pair, kinds={c: k for c, k in pair.kinds.items() if c in columns}))
    found = {}
    for origin in ("real", "holdout"):
        some = points[origin][:ATTACKS]
        chunks = (some[start : start + CHUNK] for start in range(0, len(some), CHUNK))
        found[origin] = np.concatenate([distances(chunk, points["synth"]).argmin(axis=1) for chunk in chunks])
    return found


def _metric(name: str, attack: int, control: int, n: int, at_risk: Sequence[int], note: str) -> Metric:
    value, interval = residual(attack, control, n)
    return Metric(name, value, interval, 0.0, tuple({"training row at risk": r} for r in at_risk), note)
