"""What a model gives away, by fitting its like again: shadow models that saw a person or did not, and canaries that one run must not tell.

`refit(rows, n, seed)` learns the kind of model that is judged from `rows` and draws `n`. Shadow models: Stadler, Oprisanu and Troncoso 2022, "Synthetic Data: Anonymisation
Groundhog Day", USENIX Security, with the likelihood ratio of Carlini et al. 2022, "Membership Inference Attacks From First Principles", IEEE S&P. Canaries:
Steinke, Nasr and Jagielski 2023, "Privacy Auditing with One (1) Training Run", NeurIPS 36.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ..progress import Progress
from ..stream import Stream
from ..tables import Table
from .metric import Metric
from .pair import Pair, scaled
from .privacy import area_error, at_risk, nearest

SHADOWS = 12
ROWS = 2_000
"""Rows that a shadow model learns from at most."""
TARGETS = 500
"""People of each kind that are attacked."""
CANARIES = 400
CONFIDENCE = 0.95
AT_RISK = 20

Refit = Callable[[Table, int, int], Table]


@dataclass(frozen=True)
class Audited:
    """A model that is to be judged: how its like is made, and what its card states of privacy."""

    kind: str
    refit: Refit
    stated: Mapping[str, Any] | None = None


def audit(pair: Pair, model: Audited, stream: Stream) -> list[Metric]:
    """`privacy.epsilon_stated`, `privacy.epsilon_found` and, with a holdout, `privacy.shadow`."""
    found = [_stated(model), _canaries(pair, model, stream.child("canaries"))]
    if pair.holdout is not None:
        found.append(_shadows(pair, model, stream.child("shadows")))
    return found


def _stated(model: Audited) -> Metric:
    paid = model.stated
    if not paid:
        return Metric(
            "privacy.epsilon_stated", np.nan, note=f"'{model.kind}' states no budget: it is not differentially private"
        )
    detail = tuple({k: _plain(v) for k, v in release.items()} for release in paid.get("ledger", ()))
    note = f"delta {paid['delta']:g}, for {paid['neighbours']}"
    return Metric("privacy.epsilon_stated", float(paid["epsilon"]), detail=detail, note=note)


def _plain(value: Any) -> Any:
    return value if isinstance(value, (int, float, str)) else str(value)


def _shadows(pair: Pair, model: Audited, stream: Stream) -> Metric:
    """How well people of the training rows are told from people of the holdout by whether synthetic rows lie where a model that saw them would put them."""
    from sklearn.metrics import roc_auc_score

    assert pair.holdout is not None
    count = min(TARGETS, pair.real.height // 2, pair.holdout.height // 2)
    if count < 20:
        return Metric("privacy.shadow", np.nan, note="there are too few rows to attack")
    size = min(ROWS, pair.real.height)
    order = {n: _order(stream.child(n), getattr(pair, n).height) for n in ("real", "holdout")}
    people = pl.concat([pair.real[order["real"][:count]], pair.holdout[order["holdout"][:count]]])
    others = pl.concat([pair.real[order["real"][count:]], pair.holdout[order["holdout"][count:]]])
    half = stream.child("half")
    seen = np.empty((SHADOWS, 2 * count), bool)
    near = np.empty((SHADOWS, 2 * count))
    with Progress("fitting shadow models", SHADOWS, unit="model") as progress:
        for k in range(SHADOWS):
            # each person is in every other model, and never in both of a pair: as many models saw them as did not
            coin = half.child(k // 2).uniform(np.arange(2 * count, dtype=np.uint64)) < 0.5
            seen[k] = coin if k % 2 else ~coin
            rest = others[_order(stream.child("others", k), others.height)[: max(0, size - int(seen[k].sum()))]]
            learnt = pl.concat([people.filter(pl.Series(seen[k])), rest])
            near[k] = _closeness(pair, people, model.refit(learnt, size, k))
            progress.step()
    released = _closeness(pair, people, pair.synth[_order(stream.child("synth"), pair.synth.height)[:size]])
    within, without = (np.where(s, near, np.nan) for s in (seen, ~seen))
    inside, outside = np.nanmean(within, axis=0), np.nanmean(without, axis=0)
    spread = np.nanmean(np.concatenate([within - inside, without - outside]) ** 2) + 1e-12
    # of two normal laws of the same spread: the log of how much likelier the first makes what is seen
    score = (inside - outside) * (released - (inside + outside) / 2) / spread
    truth = np.repeat([1, 0], count)
    area = float(roc_auc_score(truth, score))
    error = area_error(area, count, count)
    worst = np.argsort(-score[:count])[:AT_RISK]
    worst = worst[score[worst] > 0]
    detail = at_risk(pair, order["real"][worst], likelihood_ratio_log=[float(s) for s in score[worst]])
    note = f"{SHADOWS} models of {size:,} rows; {2 * count:,} people attacked"
    return Metric("privacy.shadow", area, (area - 1.96 * error, area + 1.96 * error), 0.5, detail, note)


def _canaries(pair: Pair, model: Audited, stream: Stream) -> Metric:
    """The least epsilon that explains, with 95 % confidence, how many canaries one refit gives away."""
    size = min(ROWS, pair.real.height)
    count = min(CANARIES, size // 4) // 4 * 4
    if count < 40:
        return Metric("privacy.epsilon_found", np.nan, note="there are too few rows to hide canaries among")
    # each column from another row: values that occur, together as nobody has them
    canary = pl.DataFrame(
        [pair.real[c][_order(stream.child("canary", c), pair.real.height)[:count]] for c in pair.real.columns]
    )
    planted = stream.child("planted").uniform(np.arange(count, dtype=np.uint64)) < 0.5
    rest = pair.real[_order(stream.child("rows"), pair.real.height)[: size - int(planted.sum())]]
    drawn = model.refit(pl.concat([canary.filter(pl.Series(planted)), rest]), size, SHADOWS)
    order = np.argsort(-_closeness(pair, canary, drawn), kind="stable")
    quarter = count // 4
    right = int(planted[order[:quarter]].sum() + (~planted[order[-quarter:]]).sum())
    value = least_epsilon(right, 2 * quarter)
    note = f"{right} of {2 * quarter} guesses about {count} canaries were right; one refit of {size:,} rows; at most {least_epsilon(2 * quarter, 2 * quarter):.1f} could be found"
    if model.stated and value > float(model.stated["epsilon"]):
        note += f". More than the {float(model.stated['epsilon']):g} that the model states: its promise is broken"
    return Metric("privacy.epsilon_found", value, note=note)


def least_epsilon(right: int, guesses: int, confidence: float = CONFIDENCE) -> float:
    """The greatest epsilon that so many right guesses rule out (Steinke et al. 2023, theorem 5.2, delta 0): under it, a guess is right with a chance of
    at most e^ε / (1 + e^ε)."""
    from scipy.stats import beta

    if not right:
        return 0.0
    # Clopper and Pearson's lower bound of the chance
    chance = float(beta.ppf(1 - confidence, right, guesses - right + 1))
    return max(0.0, float(np.log(chance / (1 - chance))))


def _order(stream: Stream, rows: int) -> NDArray[np.int64]:
    return np.argsort(stream.uniform(np.arange(rows, dtype=np.uint64)), kind="stable")


def _closeness(pair: Pair, people: Table, synth: Table) -> NDArray[np.float64]:
    """Minus the log of the distance from each person to the nearest synthetic row."""
    points = scaled(replace(pair, real=people, synth=synth.select(people.columns), holdout=None))
    return -0.5 * np.log(nearest(points["real"], points["synth"], 1)[:, 0].astype(float) + 1e-6)
