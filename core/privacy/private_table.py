"""A private table behind its budget: it answers with noise, and pays for each answer. Nothing else reads it.

Counts get discrete Gaussian noise (Canonne, Kamath and Steinke 2020, arXiv:2004.00010); choices are made by the exponential mechanism
(McSherry and Talwar 2007), which is ε²/8-zCDP (Rogers and Steinke 2021; Cesar and Rogers 2021, arXiv:2004.07223).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ..errors import UserError
from ..parts import part
from ..stream import F64, Stream
from ..tables import Table
from .budget import Budget

I64 = NDArray[np.int64]
T = TypeVar("T")
Encode = Callable[[pl.Series], I64]
WIDEST = 1e6
"""The widest noise, in rows; a budget that needs more buys nothing."""
_TAIL = 8.5
"""Standard deviations at which noise is cut: the mass beyond is under 2e-17, far below any δ that is accepted."""


@dataclass
class PrivateTable:
    """The rows, the budget, and the secret stream that noise is drawn from. Column names and types count as public."""

    _table: Table
    budget: Budget
    _noise: Stream
    _codes: dict[str, I64] = field(default_factory=dict)
    _draws: int = 0

    def __post_init__(self) -> None:
        self.schema = dict(self._table.schema)

    def encode(self, column: str, encode: Encode) -> None:
        """Keep a column as whole numbers from 0, by a function that was not learnt from it, or only through what was paid for."""
        self._codes[column] = encode(self._table[column])

    def counts(
        self, what: str, columns: Sequence[str], sizes: Sequence[int], rho: float, maps: Sequence[I64 | None] = ()
    ) -> F64:
        """Rows in each combination of the columns' codes, with noise of standard deviation `sigma(rho)`; shape `sizes`.

        One row more or less changes one count by one. With `maps`, a column's codes are looked up in a table first.
        """
        self.budget.spend(what, rho)

        def release(noise: Stream) -> F64:
            exact = self._exact(columns, sizes, maps)
            drawn = discrete_gaussian(noise, exact.size, sigma(rho)).reshape(exact.shape)
            return (exact + drawn).astype(np.float64)

        return self._released(what, release)

    def values(self, what: str, column: str, rho: float, delta: float) -> list[str]:
        """The values of a text column that many rows share, most frequent first: those whose noisy count is above a threshold that a value of
        one row alone passes with probability at most `delta` (Korolova, Kenthapadi, Mishra and Ntoulas 2009, WWW)."""
        self.budget.spend(what, rho, delta)

        def release(noise: Stream) -> list[str]:
            seen = self._table[column].drop_nulls().cast(pl.String).alias("value").value_counts(name="n").sort("value")
            noisy = seen["n"].to_numpy() + discrete_gaussian(noise, seen.height, sigma(rho))
            known = np.flatnonzero(noisy > 1 + tail(sigma(rho), delta))
            order = known[np.argsort(-noisy[known], kind="stable")]
            return [seen["value"][int(k)] for k in order]

        return self._released(what, release)

    def choose(self, what: str, scores: Callable[[Exact], F64], sensitivity: float, rho: float) -> int:
        """The place of a high score, by the exponential mechanism. One row more or less must change no score by more than `sensitivity`."""
        self.budget.spend(what, rho)

        def release(noise: Stream) -> int:
            found = scores(self._exact)
            u = noise.uniform(np.arange(len(found)))
            return int(np.argmax(np.sqrt(8.0 * rho) * found / (2.0 * sensitivity) - np.log(-np.log(u))))

        return self._released(what, release)

    def scores(self, what: str, scores: Callable[[Exact], F64], sensitivity: float, rho: float) -> F64:
        """Scores with Gaussian noise, together `rho`-zCDP. One row more or less must change no score by more than `sensitivity`."""
        self.budget.spend(what, rho)

        def release(noise: Stream) -> F64:
            found = scores(self._exact)
            return found + sensitivity * np.sqrt(len(found)) * sigma(rho) * noise.normal(np.arange(len(found)))

        return self._released(what, release)

    def _exact(self, columns: Sequence[str], sizes: Sequence[int], maps: Sequence[I64 | None] = ()) -> I64:
        at = np.zeros(self._table.height, np.int64)
        for n, (column, size) in enumerate(zip(columns, sizes, strict=True)):
            code = self._codes[column]
            table = maps[n] if maps else None
            at = at * size + (code if table is None else table[code])
        return np.bincount(at, minlength=int(np.prod(sizes))).reshape(sizes)

    def _released(self, what: str, release: Callable[[Stream], T]) -> T:
        """What is given out, by a stream that no release has used. One that was given out before the fit was broken off is given out again: nothing new is read for it, and its
        noise is that of then."""
        self._draws += 1
        return part(f"release {self._draws}: {what}", lambda: release(self._noise.child("noise", self._draws)))


Exact = Callable[[Sequence[str], Sequence[int], Sequence[I64 | None]], I64]


def sigma(rho: float) -> float:
    """The standard deviation that makes counts of sensitivity 1 ρ-zCDP: ρ = 1 / (2 σ²)."""
    return float(np.sqrt(0.5 / rho))


def discrete_gaussian(stream: Stream, n: int, deviation: float) -> I64:
    """Whole numbers x with probability in proportion to exp(−x² / 2σ²), by inversion."""
    values, cdf = _distribution(deviation)
    return values[np.minimum(np.searchsorted(cdf, stream.uniform(np.arange(n)), side="right"), len(values) - 1)]


def tail(deviation: float, delta: float) -> int:
    """The least whole number that noise exceeds with probability at most `delta`."""
    values, cdf = _distribution(deviation)
    # by symmetry; the lower tail keeps its precision
    return int(-values[max(np.searchsorted(cdf, delta, side="right") - 1, 0)])


def _distribution(deviation: float) -> tuple[I64, F64]:
    if not 0 < deviation <= WIDEST:
        raise UserError(f"the noise would have a standard deviation of {deviation:,.0f} rows; give more epsilon")
    most = int(np.ceil(_TAIL * deviation)) + 1
    values = np.arange(-most, most + 1)
    weight = np.exp(-0.5 * (values / deviation) ** 2)
    return values, np.cumsum(weight) / weight.sum()
