"""The distributions a rule can name: parameters, their domains, and inverse distribution functions."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import UserError
from ..stream import F64

Values = Any
"""A number, or an array with one number for each row."""


@dataclass(frozen=True)
class Distribution:
    """`draw(u, **params)` maps uniforms in (0, 1) to values. A parameter whose default is None must be given."""

    draw: Callable[..., NDArray]
    params: Mapping[str, float | None]
    positive: tuple[str, ...] = ()
    probability: tuple[str, ...] = ()
    whole: tuple[str, ...] = ()
    ordered: tuple[str, ...] = ()
    """Parameters of which each must not exceed the next."""
    bounds: Mapping[str, float] = field(default_factory=dict)

    def check(self, given: Mapping[str, Values], place: str) -> None:
        """Raise UserError for the first value outside its parameter's domain. Parameters not in `given` are not looked at."""
        for name, value in given.items():
            _require(np.isfinite(value), name, value, "a finite number", place)
            if name in self.positive:
                _require(np.greater(value, 0), name, value, "a number above 0", place)
            if name in self.probability:
                _require(
                    np.greater_equal(value, 0) & np.less_equal(value, 1), name, value, "a number from 0 to 1", place
                )
            if name in self.whole:
                _require(np.equal(np.floor(value), value), name, value, "a whole number", place)
            if name in self.bounds:
                low = self.bounds[name]
                _require(np.greater_equal(value, low), name, value, f"a number of at least {low:g}", place)
        for low, high in zip(self.ordered, self.ordered[1:], strict=False):
            if low in given and high in given:
                at = np.less_equal(given[low], given[high])
                _require(at, low, given[low], f"at most '{high}'", place)


def _require(holds: NDArray | np.bool_, name: str, value: Values, expected: str, place: str) -> None:
    if not np.all(holds):
        bad = np.broadcast_to(value, np.shape(holds))[~np.asarray(holds)].ravel()[0]
        raise UserError(f"{place}: '{name}' is {bad:g}, expected {expected}")


def _normal(u: F64, mean: Values, sd: Values) -> F64:
    from scipy.special import ndtri

    return mean + sd * ndtri(u)


def _lognormal(u: F64, mu: Values, sigma: Values) -> F64:
    return np.exp(_normal(u, mu, sigma))


def _gamma(u: F64, shape: Values, scale: Values) -> F64:
    from scipy.special import gammaincinv

    return scale * gammaincinv(shape, u)


def _beta(u: F64, a: Values, b: Values) -> F64:
    from scipy.special import betaincinv

    return betaincinv(a, b, u)


def _student_t(u: F64, df: Values, mean: Values, scale: Values) -> F64:
    from scipy.special import stdtrit

    return mean + scale * stdtrit(df, u)


def _triangular(u: F64, low: Values, mode: Values, high: Values) -> F64:
    width = np.where(np.equal(high, low), 1.0, np.subtract(high, low))
    rise = np.subtract(mode, low) / width
    left = low + np.sqrt(u * width * np.subtract(mode, low))
    right = high - np.sqrt((1.0 - u) * width * np.subtract(high, mode))
    return np.where(np.equal(high, low), low, np.where(u < rise, left, right))


def _poisson(u: F64, mean: Values) -> NDArray[np.int64]:
    from scipy.special import pdtr

    top = np.floor(mean + 40 * np.sqrt(mean) + 40)
    if np.ndim(mean) == 0 and mean < 1000:
        return _search(u, pdtr(np.arange(int(top)), mean))
    return _bisect(u, lambda k: pdtr(k, mean), top)


def _binomial(u: F64, n: Values, p: Values) -> NDArray[np.int64]:
    from scipy.special import bdtr

    if np.ndim(n) == 0 and np.ndim(p) == 0 and n < 10_000:
        return _search(u, np.append(bdtr(np.arange(int(n)), int(n), p), 1.0))
    n = np.asarray(n, np.int64)
    return _bisect(u, lambda k: np.where(k >= n, 1.0, bdtr(np.minimum(k, n), n, p)), n)


def _search(u: F64, cdf: F64) -> NDArray[np.int64]:
    """The smallest k with cdf[k] >= u."""
    return np.minimum(np.searchsorted(cdf, u, side="left"), len(cdf) - 1)


def _bisect(u: F64, cdf: Callable[[F64], F64], top: Values) -> NDArray[np.int64]:
    """The smallest k from 0 to `top` with cdf(k) >= u. The continuous inverses of special functions fail in the far tails."""
    low, high = np.zeros(len(u)), np.broadcast_to(np.asarray(top, np.float64), np.shape(u))
    for _ in range(int(np.max(high, initial=0)).bit_length() + 1):
        middle = np.floor((low + high) / 2)
        enough = cdf(middle) >= u
        low, high = np.where(enough, low, np.minimum(middle + 1, high)), np.where(enough, middle, high)
    return high.astype(np.int64)


def _geometric(u: F64, p: Values) -> NDArray[np.int64]:
    with np.errstate(divide="ignore"):
        k = np.ceil(np.log1p(-u) / np.log1p(-np.asarray(p, np.float64)))
    return np.clip(k, 1, 2.0**62).astype(np.int64)


def _integer(u: F64, low: Values, high: Values) -> NDArray[np.int64]:
    low, high = np.asarray(low, np.int64), np.asarray(high, np.int64)
    return np.minimum(low + np.floor(u * (high - low + 1.0)).astype(np.int64), high)


DISTRIBUTIONS: Mapping[str, Distribution] = {
    "uniform": Distribution(
        lambda u, low, high: low + u * np.subtract(high, low), {"low": 0.0, "high": 1.0}, ordered=("low", "high")
    ),
    "normal": Distribution(_normal, {"mean": 0.0, "sd": 1.0}, bounds={"sd": 0.0}),
    "lognormal": Distribution(_lognormal, {"mu": None, "sigma": None}, bounds={"sigma": 0.0}),
    "exponential": Distribution(lambda u, mean: -np.log1p(-u) * mean, {"mean": None}, positive=("mean",)),
    "gamma": Distribution(_gamma, {"shape": None, "scale": 1.0}, positive=("shape", "scale")),
    "beta": Distribution(_beta, {"a": None, "b": None}, positive=("a", "b")),
    "weibull": Distribution(
        lambda u, shape, scale: scale * (-np.log1p(-u)) ** np.divide(1.0, shape),
        {"shape": None, "scale": 1.0},
        positive=("shape", "scale"),
    ),
    "pareto": Distribution(
        lambda u, alpha, minimum: minimum * (1.0 - u) ** np.divide(-1.0, alpha),
        {"alpha": None, "minimum": 1.0},
        positive=("alpha", "minimum"),
    ),
    "triangular": Distribution(_triangular, {"low": None, "mode": None, "high": None}, ordered=("low", "mode", "high")),
    "student_t": Distribution(_student_t, {"df": None, "mean": 0.0, "scale": 1.0}, positive=("df", "scale")),
    "poisson": Distribution(_poisson, {"mean": None}, bounds={"mean": 0.0}),
    "geometric": Distribution(_geometric, {"p": None}, probability=("p",), positive=("p",)),
    "binomial": Distribution(_binomial, {"n": None, "p": None}, probability=("p",), whole=("n",), bounds={"n": 0.0}),
    "bernoulli": Distribution(lambda u, p: np.less(u, p), {"p": None}, probability=("p",)),
    "integer": Distribution(_integer, {"low": None, "high": None}, whole=("low", "high"), ordered=("low", "high")),
}
"""`geometric` counts trials up to the first success; `integer` includes both ends; `lognormal` takes the mean and standard deviation of the logarithm."""
