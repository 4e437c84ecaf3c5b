"""Noise for long series, by table: sixteen random bits choose one of 65,536 equally likely slices of a law, and give its middle.

A sixth of the time that a normal takes by rejection, from the same keyed Philox words. The law is met to 1/65,536 everywhere; what is beyond 4.32
standard deviations (one draw in 65,536) is at 4.32. Anything else that is added to a series, and its resolution, is coarser.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from ...core.stream import F64

SLICES = 1 << 16
_TINY = 1e-12
_SPAN = 100.0  # powers down to exp(-100)


def words(rng: np.random.Generator, count: int) -> NDArray[np.uint16]:
    """Uniform 16-bit words, four from each word of the generator; the same on machines of either byte order."""
    raw = np.asarray(rng.bit_generator.random_raw(-(-count // 4)))  # type: ignore[attr-defined]
    return raw.astype("<u8", copy=False).view("<u2")[:count]


def normals(rng: np.random.Generator, count: int, sigma: float = 1.0) -> F64:
    """Normal draws of mean 0."""
    # in single precision the table fits in a cache beside what it is for
    return np.multiply(np.take(normal_slices(), words(rng, count)), sigma, dtype=np.float64)


def autoregression(rng: np.random.Generator, count: int, sigma: float, phi: float, before: float | None = None) -> F64:
    """A stationary AR(1) series of standard deviation `sigma`: x[i] = phi * x[i-1] + e[i]. It goes on from the value `before`; without
    one, its first value is stationary as well."""
    root = np.sqrt(1 - phi * phi)
    noise = normals(rng, count, sigma * root)
    if before is None:
        noise[:1] /= root
    return recur(noise, phi, before or 0.0)


def recur(x: F64, phi: float, before: float) -> F64:
    """y[i] = phi * y[i-1] + x[i], going on from `before`; 0 <= phi < 1.

    Row by row of a table: within a row, y[i] = phi^i * sum over j of x[j] / phi^j; what comes from the row before is added afterwards. So
    the sum is one call, and the powers stay far below what a float can hold. A row of the first half and one of the second are summed as
    one of complex numbers: a running sum waits for each addition, and so two take the time of one.
    """
    if phi < _TINY:
        return x
    up, down = _powers(phi)
    count, width = len(x), len(up)
    half = -(-count // (2 * width))
    whole = np.zeros(2 * half * width) if count < 2 * half * width else x
    if whole is not x:
        whole[:count] = x
    first, second = whole.reshape(2, half, width)
    sums = np.empty((half, width), np.complex128)
    np.multiply(first, down, out=sums.real)
    np.multiply(second, down, out=sums.imag)
    np.cumsum(sums, axis=1, out=sums)
    carried, last = np.empty(2 * half), float(up[-1])
    ends = sums[:, -1]
    for n, total in enumerate((*ends.real.tolist(), *ends.imag.tolist())):
        carried[n] = phi * before
        before = last * (total + phi * before)
    made = np.empty((2, half, width))
    np.add(sums.real, carried[:half, None], out=made[0])
    np.add(sums.imag, carried[half:, None], out=made[1])
    made *= up
    return made.reshape(-1)[:count]


@lru_cache(1024)
def _powers(phi: float) -> tuple[F64, F64]:
    width = int(min(512, max(4, _SPAN / -np.log(phi))))
    up = np.power(phi, np.arange(width))
    return up, 1 / up


@lru_cache(1)
def normal_slices() -> NDArray[np.float32]:
    from scipy.special import ndtri

    return ndtri(_middles()).astype(np.float32)


@lru_cache(1)
def exponential_slices() -> F64:
    """Of mean 1."""
    return -np.log1p(-_middles())


def _middles() -> F64:
    return (np.arange(SLICES) + 0.5) / SLICES
