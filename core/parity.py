"""Rows that meet a fairness goal: an outcome as frequent in every group, to within a gap, and what that costs in fidelity.

Demographic parity of the outcome itself (Dwork et al. 2012, "Fairness Through Awareness", ITCS). Rows are drawn as the model draws them; just as many as must are
drawn again, of the same group with another outcome, so that their other columns fit it. Kamiran and Calders 2012, "Data preprocessing techniques for
classification without discrimination", KAIS 33, change the outcome alone ("massaging").
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from .errors import UserError, unknown
from .model import Model
from .stream import Stream
from .tables import Table

GROUPS = 50


@dataclass(frozen=True)
class FairSample:
    rows: Table
    goal: str
    before: Mapping[str, float]
    """Per group, the share of rows with the outcome as the model draws them."""
    after: Mapping[str, float]
    again: int
    """Rows that were drawn again."""
    shapes: tuple[float, float]
    """`fidelity.shapes` beside the rows without the goal, and what one half of those reaches against the other."""
    pairs: tuple[float, float]
    """Likewise `fidelity.pairs`."""

    @property
    def gaps(self) -> tuple[float, float]:
        """The greatest difference between two groups, before and after."""
        return tuple(max(s.values()) - min(s.values()) for s in (self.before, self.after))  # type: ignore[return-value]

    def describe(self) -> str:
        shares = ", ".join(f"{g} {self.before[g]:.3f} → {self.after[g]:.3f}" for g in self.before)
        was, now = self.gaps
        return (
            f"{self.goal}: gap {was:.3f} → {now:.3f} ({shares}); {self.again:,} of {self.rows.height:,} rows drawn again\n"
            f"cost in fidelity, beside the rows without the goal: column shapes {self.shapes[0]:.3f} (half against half {self.shapes[1]:.3f}), "
            f"column pairs {self.pairs[0]:.3f} ({self.pairs[1]:.3f})"
        )


def parse_parity(text: str) -> tuple[str, str, str]:
    """Read `OUTCOME=VALUE:GROUP`. Raises UserError for a text of another form."""
    told, colon, group = text.rpartition(":")
    outcome, equals, value = told.partition("=")
    if not (colon and equals and group and outcome and value):
        raise UserError(f"--parity: '{text}' is not OUTCOME=VALUE:GROUP, as in churned=yes:sex")
    return outcome, value, group


def sample_fair(
    model: Model, n: int, outcome: str, value: object, group: str, gap: float = 0.0, seed: int = 0
) -> FairSample:
    """`n` rows in which the share with `outcome` equal to `value` differs between groups by no more than `gap`, to the nearest row.

    The share over all groups stays, as does each group's own of the rows. Raises UserError for a column that the model did not learn, a group with more
    than 50 values, an outcome that the model never draws, and a gap that is none.
    """
    if not 0.0 <= gap <= 1.0:
        raise UserError(f"gap: {gap:g} is no difference of shares, expected 0 to 1")
    for column in (outcome, group):
        if column not in model.columns:
            raise unknown("column", column, model.columns, "parity")
    if outcome == group:
        raise UserError(f"parity: '{outcome}' is the outcome and the group as well")
    plain = model.sample_frame(n, seed)
    groups = plain[group].cast(pl.String).fill_null("missing")
    if groups.n_unique() > GROUPS:
        raise UserError(
            f"parity: '{group}' has {groups.n_unique()} values, too many to be groups; expected at most {GROUPS}"
        )
    has = _equals(plain[outcome], value)
    if not has.any() or has.all():
        often = "every row" if has.any() else "no row"
        raise UserError(f"parity: {often} of {n:,} has {outcome}={value}; such as {plain[outcome][0]!r}")
    before = _shares(groups, has)
    wide = max(before.values()) - min(before.values())
    keep = min(1.0, gap / wide) if wide else 1.0
    flips, to = _flips(groups, has, before, keep, Stream.root(seed).child("parity"))
    made = plain
    if len(flips):
        told = pl.DataFrame([plain[group][flips], plain[outcome][to].alias(outcome)])
        drawn = model.sample_frame(given=told, seed=seed + 1)
        at = np.full(n, -1)
        at[flips] = np.arange(len(flips))
        index = pl.Series(np.where(at >= 0, n + at, np.arange(n)))
        made = pl.concat([plain, drawn.select(plain.columns)])[index]
    shapes, pairs = _cost(plain, made, seed)
    return FairSample(
        made,
        f"{outcome}={value} by {group}",
        before,
        _shares(groups, _equals(made[outcome], value)),
        len(flips),
        shapes,
        pairs,
    )


def _equals(column: pl.Series, value: object) -> NDArray[np.bool_]:
    return (column.cast(pl.String) == _text(column, value)).fill_null(False).to_numpy()


def _text(column: pl.Series, value: object) -> str:
    """A value as text is compared as the column's own: `1` is 1.0 where the column is of floats."""
    try:
        return str(pl.Series([str(value)]).cast(column.dtype).cast(pl.String)[0])
    except pl.exceptions.PolarsError:
        return str(value).lower() if column.dtype == pl.Boolean else str(value)


def _shares(groups: pl.Series, has: NDArray[np.bool_]) -> dict[str, float]:
    table = pl.DataFrame({"g": groups, "has": has}).group_by("g").agg(pl.col("has").mean()).sort("g")
    return dict(table.iter_rows())


def _flips(
    groups: pl.Series, has: NDArray[np.bool_], before: Mapping[str, float], keep: float, stream: Stream
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The rows that change, and for each a row of the same group whose outcome it takes, where there is one, else of any."""
    whole, name = float(has.mean()), groups.to_numpy()
    order = np.argsort(stream.uniform(np.arange(len(has), dtype=np.uint64)), kind="stable")
    flips, to = [], []
    for g, share in before.items():
        mine = order[name[order] == g]
        wanted = round(len(mine) * (whole + keep * (share - whole)))
        change = wanted - int(has[mine].sum())
        if not change:
            continue
        side = mine[~has[mine]] if change > 0 else mine[has[mine]]
        models = mine[has[mine]] if change > 0 else mine[~has[mine]]
        if not len(models):
            models = order[has[order]] if change > 0 else order[~has[order]]
        chosen = side[: abs(change)]
        flips.append(chosen)
        to.append(np.resize(models, len(chosen)))
    empty = np.empty(0, np.int64)
    return np.concatenate([empty, *flips]), np.concatenate([empty, *to])


def _cost(plain: Table, made: Table, seed: int) -> tuple[tuple[float, float], tuple[float, float]]:
    from .evaluate.fidelity import compare_columns
    from .evaluate.pair import make_pair

    found = compare_columns(make_pair(plain, made), Stream.root(seed).child("parity", "cost"))
    both = (found["fidelity.shapes"], found["fidelity.pairs"])
    return tuple((m.value, m.floor if m.floor is not None else np.nan) for m in both)  # type: ignore[return-value]
