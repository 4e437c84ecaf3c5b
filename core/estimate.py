"""Monte Carlo: a mean, a probability or a quantile under a model or a domain, with its confidence bounds, drawn until they are narrow enough.

Rows of a fitted model are drawn in batches; variance is reduced by strata, by pairs of opposite rows, by a control or by drawing where it matters
(Owen 2013, Monte Carlo theory, methods and examples, chapters 2, 8 and 9). A domain is built whole, seed after seed, and each dataset is one draw
of what a query says of it. Bounds are those of the central limit theorem; of a quantile, by order statistics (Conover 1999, 3.2), and of a
probability without events Wilson's (1927).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
from scipy.stats import binom, norm, t

from .conditions import Restricted, asked, conditioned
from .errors import UserError, unknown
from .model import Model
from .samplers.compose import chain
from .samplers.statistical.marginal import Marginal
from .stream import F64, U64, Stream
from .tables import ROW, Table

BATCH = 4_000
MOST = 4_000_000
STRATA = 16
FEWEST_SETS = 8
"""Datasets of a domain that are built at least."""
FEWEST = 5 * BATCH
"""Rows without bounds to reach."""
_TOO_FAR = 5.0


@dataclass(frozen=True)
class Estimate:
    """What was estimated, between `low` and `high` with confidence `level`, from so many draws. `reached`: the bounds are as narrow as was asked.
    `gain`: the variance of plain draws as a multiple of that of these."""

    value: float
    low: float
    high: float
    level: float
    draws: int
    method: str
    reached: bool
    gain: float = 1.0

    def __str__(self) -> str:
        more = f", as exact as {self.gain:.3g} times as many plain ones" if self.method != "plain" else ""
        short = "" if self.reached else "; the bounds asked for were not reached"
        return f"{self.value:.6g} ({self.low:.6g} to {self.high:.6g}, {self.level:.0%}); {self.draws:,} draws, {self.method}{more}{short}"


class Mirrored(Stream):
    """A stream in which rows 2k and 2k + 1 get opposite uniforms, u and 1 − u."""

    def child(self, *names: str | int) -> Mirrored:
        made = Stream.child(self, *names)
        return Mirrored(made.key, made.path)

    def bits(self, rows: Any) -> U64:
        rows = np.asarray(rows).astype(np.uint64)
        odd = (rows & np.uint64(1)).astype(bool)
        drawn = Stream.bits(self, rows - odd)
        return np.where(odd, ~drawn, drawn)


def estimate(
    model: Model,
    what: str | pl.Expr,
    quantile: float | None = None,
    where: Mapping[str, Any] | None = None,
    method: str = "plain",
    by: str | None = None,
    within: float | None = None,
    level: float = 0.95,
    most: int = MOST,
    seed: int = 0,
) -> Estimate:
    """The mean of an SQL expression over rows of a model (of a condition, its probability), or a quantile of it, among rows that meet `where`.

    Rows are drawn until the bounds are no further than `within` from the value, or `most` rows. Methods: "stratified" (by classes of column `by`, each
    with its share), "importance" (rare parts of `by` more often, and weighted), both with `by` from its own distribution and the other columns given it;
    "antithetic" (pairs of opposite rows); "control" (numeric column `by`, whose mean the model knows).

    Raises UserError for an expression that cannot be judged, a column or method that does not exist, or a control whose mean the model does not keep.
    """
    if model.several:
        raise UserError("an estimate needs a model of one table; of several, draw them and query them")
    if method not in METHODS:
        raise unknown("method", method, METHODS, "--method")
    if (by is None) == (method in ("stratified", "control", "importance")):
        raise UserError(f"method '{method}' {'needs' if by is None else 'takes no'} column, --by")
    if not 0.5 <= level < 1 or (within is not None and not within > 0) or not most >= BATCH:
        raise UserError(f"expected a level from 0.5 to below 1, bounds above 0 and at least {BATCH:,} rows")
    if quantile is not None and (method != "plain" or not 0 < quantile < 1):
        raise UserError("a quantile lies between 0 and 1, and is estimated by plain draws")
    marginals: dict[str, Marginal] = {m.name: m for m in getattr(model.sampler, "marginals", ())}
    if by is not None and by not in marginals:
        raise unknown("column", by, marginals, "--by")
    expression = pl.sql_expr(what) if isinstance(what, str) else what
    draw = _Draws(model, marginals, where or {}, expression, Stream.root(seed).child("estimate"))
    if quantile is not None:
        return _quantile(draw, quantile, within, level, most)
    return _mean(draw, method, by, within, level, most)


def estimate_domain(
    domain: str,
    query: str,
    size: int | None = None,
    within: float | None = None,
    level: float = 0.95,
    most: int = 200,
    seed: int = 0,
) -> Estimate:
    """What an SQL query of one number over a domain's tables says on average over datasets of `size`, each with a seed of its own."""
    from .dataset import generate
    from .plan import make_plan
    from .spec import Spec

    values: list[float] = []
    while True:
        plan = make_plan(Spec(domain, size, seed + len(values)))
        values.append(_asked_of(generate(plan).frames, query))
        if len(values) < FEWEST_SETS:
            continue
        half = float(t.ppf(0.5 + level / 2, len(values) - 1) * np.std(values, ddof=1) / np.sqrt(len(values)))
        value, done = float(np.mean(values)), within is None or half <= within
        if done or len(values) >= most:
            return Estimate(value, value - half, value + half, level, len(values), "plain", done)


def _asked_of(tables: Mapping[str, Table], query: str) -> float:
    try:
        found = pl.SQLContext(dict(tables)).execute(query, eager=True)
    except pl.exceptions.PolarsError as error:
        raise UserError(f"query '{query}' cannot be answered: {str(error).splitlines()[0]}") from None
    if (
        found.shape != (1, 1)
        or found.dtypes[0].is_nested()
        or not (found.dtypes[0].is_numeric() or found.dtypes[0] == pl.Boolean)
    ):
        raise UserError(
            f"query '{query}' says {found.shape[0]} × {found.shape[1]} values of {found.dtypes}, expected one number"
        )
    if (value := found.item()) is None:
        raise UserError(f"query '{query}' says nothing of a dataset: it has no such rows")
    return float(value)


@dataclass
class _Draws:
    """Rows of a model and what the expression says of them."""

    model: Model
    marginals: Mapping[str, Marginal]
    where: Mapping[str, Any]
    expression: pl.Expr
    stream: Stream
    done: int = 0

    def batch(self, n: int, stream: Stream, first: Restricted | None = None) -> tuple[F64, Table]:
        """The next `n` rows, one column drawn by `first`: what the expression says of each, and the rows."""
        address = np.arange(self.done, self.done + n, dtype=np.uint64)
        self.done += n
        fixed, wanted = [pl.Series(ROW, address)], {}
        for column, value in self.where.items():
            if column not in self.marginals:
                raise unknown("column", column, self.marginals, f"where {column}={value}")
            found = asked(self.marginals[column], value)
            if isinstance(found, pl.Series) and len(found) == 1:
                fixed.append(found.new_from_index(0, n))
            else:
                wanted[column] = found
        if first is not None:
            fixed += first.sample(pl.DataFrame({ROW: address}), stream).get_columns()
        names = [s.name for s in fixed]
        if len(set(names)) < len(names) or set(names) & set(wanted):
            raise UserError("the column of --by is in --where, too")
        sampler = conditioned(self.model.sampler, self.marginals, set(names[1:]), wanted)  # type: ignore[arg-type]
        rows = pl.DataFrame(fixed)
        made = chain(sampler).sample(rows, stream)
        made = made.with_columns(s for s in fixed[1:] if s.name not in made.columns)
        try:
            said = made.select(self.expression.alias("x"))["x"]
            values = said.cast(pl.Float64)
        except pl.exceptions.PolarsError as error:
            raise UserError(f"'{self.expression}' cannot be judged: {str(error).splitlines()[0]}") from None
        if len(values) != n:
            raise UserError(
                f"'{self.expression}' says one thing of all rows: give what is to be averaged, without avg()"
            )
        if values.null_count():
            raise UserError(
                f"'{self.expression}' says nothing of {values.null_count():,} of {n:,} rows: say what counts, with coalesce() or --where"
            )
        return values.to_numpy(), made


def _mean(draw: _Draws, method: str, by: str | None, within: float | None, level: float, most: int) -> Estimate:
    z = float(norm.ppf(0.5 + level / 2))
    step, n = METHODS[method](draw, draw.marginals[by] if by else None), BATCH
    while True:
        found = step(n)
        low, high = found.value - z * found.error, found.value + z * found.error
        if method == "plain" and found.events:
            low, high = _wilson(found.value, found.draws, z)
        reached = within is None or max(high - found.value, found.value - low) <= within
        if (reached and (within is not None or found.draws >= FEWEST)) or found.draws >= most:
            return Estimate(found.value, low, high, level, found.draws, method, reached, found.gain)
        # twice as many; even, for pairs
        n = max(min(found.draws, most - found.draws) // 2 * 2, 2)


@dataclass(frozen=True)
class _Found:
    """So far: the value, its standard error, the draws, what they gain over plain ones, and whether all draws were 0 or 1."""

    value: float
    error: float
    draws: int
    gain: float = 1.0
    events: bool = False


Step = Callable[[int], _Found]


def _plain(draw: _Draws, by: Marginal | None) -> Step:
    held = np.empty(0)

    def step(n: int) -> _Found:
        nonlocal held
        held = np.append(held, draw.batch(n, draw.stream)[0])
        events = bool(((held == 0) | (held == 1)).all())
        return _Found(float(held.mean()), _error(held), len(held), events=events)

    return step


def _antithetic(draw: _Draws, by: Marginal | None) -> Step:
    held, mirrored = np.empty(0), Mirrored(draw.stream.key, draw.stream.path)

    def step(n: int) -> _Found:
        nonlocal held
        held = np.append(held, draw.batch(n, mirrored)[0])
        pairs = held.reshape(-1, 2).mean(axis=1)
        return _Found(float(pairs.mean()), _error(pairs), len(held), _ratio(float(held.var()) / 2, float(pairs.var())))

    return step


def _controlled(draw: _Draws, by: Marginal | None) -> Step:
    """The mean by regression on a column whose mean is known."""
    assert by is not None
    if (
        by.categories is not None
        or by.missing
        or not by.dtype.is_numeric()
        or not np.isfinite([by.left[0], by.right[-1]]).all()
    ):
        raise UserError(f"--by {by.name}: a control is a column of numbers without gaps")
    known = float((np.diff(by.edges) * (by.left.astype(float) + by.right) / 2).sum())
    held = np.empty((0, 2))

    def step(n: int) -> _Found:
        nonlocal held
        x, rows = draw.batch(n, draw.stream)
        held = np.concatenate((held, np.stack((x, rows[by.name].cast(pl.Float64).to_numpy()), axis=1)))
        x, c = held.T
        if abs(c.mean() - known) > _TOO_FAR * max(_error(c), 1e-12 * abs(known)):
            raise UserError(
                f"--by {by.name}: is drawn here with a mean of {c.mean():.6g}, and the model knows one of {known:.6g}: it is no control"
            )
        left = x - float(np.cov(x, c)[0, 1]) / max(float(c.var(ddof=1)), 1e-300) * (c - known)
        return _Found(float(left.mean()), _error(left), len(x), _ratio(float(x.var()), float(left.var())))

    return step


def _stratified(draw: _Draws, by: Marginal | None) -> Step:
    assert by is not None
    strata = _strata(by)
    share = np.array([np.diff(by.edges)[a:b].sum() for a, b in strata])
    seen = [np.empty(0) for _ in strata]

    def step(n: int) -> _Found:
        spread = np.array([x.std() if len(x) > 1 else 1.0 for x in seen])
        # Neyman's allocation, with a floor: what has not varied yet may
        want = share * (spread + 0.1 * max(float(spread.max()), 1e-12))
        for k, count in enumerate(np.maximum(np.round(n * want / want.sum()).astype(int), 2)):
            x, _ = draw.batch(int(count), draw.stream.child("stratum", k), Restricted(by, _only(by, *strata[k])))
            seen[k] = np.append(seen[k], x)
        means, sizes = np.array([x.mean() for x in seen]), np.array([len(x) for x in seen])
        variances = np.array([x.var(ddof=1) for x in seen])
        value, total = float(share @ means), int(sizes.sum())
        error = float(np.sqrt((share**2 * variances / sizes).sum()))
        return _Found(value, error, total, _ratio(float(share @ (variances + (means - value) ** 2)) / total, error**2))

    return step


def _important(draw: _Draws, by: Marginal | None) -> Step:
    """Half of the rows from the column's own distribution, half from all strata alike, each weighted by how much oftener it came than it should."""
    assert by is not None
    own = np.diff(by.edges)
    weight = 0.5 * own
    strata = _strata(by, fine=True)
    for first, last in strata:
        weight += _only(by, first, last) / own[first:last].sum() * 0.5 / len(strata)
    ratio = np.divide(own, weight, out=np.zeros_like(own), where=weight > 0)
    drawn = Restricted(by, weight)
    held = np.empty((0, 2))

    def step(n: int) -> _Found:
        nonlocal held
        x, rows = draw.batch(n, draw.stream, drawn)
        held = np.concatenate((held, np.stack((x, ratio[by.locate(rows[by.name])[0]]), axis=1)))
        x, w = held.T
        value = float((x * w).mean())
        return _Found(value, _error(x * w), len(x), _ratio(float((w * (x - value) ** 2).mean()), float((x * w).var())))

    return step


METHODS: Mapping[str, Callable[[_Draws, Marginal | None], Step]] = {
    "plain": _plain,
    "stratified": _stratified,
    "antithetic": _antithetic,
    "control": _controlled,
    "importance": _important,
}


def _error(x: F64) -> float:
    return float(x.std(ddof=1) / np.sqrt(len(x)))


def _ratio(plain: float, now: float) -> float:
    return float(plain / now) if now > 0 else 1.0


def _quantile(draw: _Draws, q: float, within: float | None, level: float, most: int) -> Estimate:
    values: list[F64] = []
    n = BATCH
    while True:
        values.append(draw.batch(n, draw.stream)[0])
        all_ = np.sort(np.concatenate(values))
        total = len(all_)
        low = int(np.clip(binom.ppf(0.5 - level / 2, total, q) - 1, 0, total - 1))
        high = int(np.clip(binom.ppf(0.5 + level / 2, total, q) + 1, 0, total - 1))
        value = float(np.quantile(all_, q))
        ends = float(all_[low]), float(all_[high])
        reached = within is None or max(ends[1] - value, value - ends[0]) <= within
        if (reached and (within is not None or total >= FEWEST)) or total >= most:
            return Estimate(value, *ends, level, total, "plain", reached)
        n = min(total, most - total)


def _strata(marginal: Marginal, fine: bool = False) -> list[tuple[int, int]]:
    """Runs of pieces with about a like share of rows, at most about `STRATA`; if `fine`, with ever smaller shares towards both ends."""
    if not marginal.pieces or marginal.missing:
        raise UserError(f"--by {marginal.name}: strata need a column without gaps")
    share = np.diff(marginal.edges)
    middle = np.cumsum(share) - share / 2
    # halves, quarters, eighths of what is left on either side
    level = (
        np.floor(middle * STRATA)
        if not fine
        else np.round(np.sign(middle - 0.5) * np.ceil(-np.log2(2 * np.minimum(middle, 1 - middle))))
    )
    starts = np.flatnonzero(np.diff(level, prepend=-1) != 0)
    return [(int(a), int(b)) for a, b in zip(starts, [*starts[1:], len(share)], strict=True)]


def _only(marginal: Marginal, first: int, last: int) -> F64:
    at = np.arange(marginal.pieces)
    return np.where((at >= first) & (at < last), np.diff(marginal.edges), 0.0)


def _wilson(p: float, n: int, z: float) -> tuple[float, float]:
    middle = (p + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * np.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    return float(middle - half), float(middle + half)
