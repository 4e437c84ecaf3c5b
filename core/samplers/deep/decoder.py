"""Rows from noise: a network turns a latent vector into the chances of each column's classes and places. What variational and adversarial learning
leave behind is the same thing, so one sampler serves both; drawing needs no torch.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ...stream import F64, Stream, join_rows
from ...tables import Table, rows
from ..statistical.empirical import marginal_state, rebuild_marginals
from ..statistical.marginal import Marginal
from .modes import Layout, rebuild_layout

F32 = NDArray[np.float32]

CANDIDATES = 64
"""Latent vectors drawn for a row of which columns are given; one is kept in proportion to how well it explains them."""
LEAST_SPREAD = 0.05
_CHUNK = 2_048


@dataclass(frozen=True, eq=False)
class Layer:
    """x → rectified (x · weight + shift); with `joined`, the input follows the result."""

    weight: F32
    shift: F32
    joined: bool

    def __call__(self, x: F32) -> F32:
        made = np.maximum(x @ self.weight + self.shift, 0)
        return np.concatenate([made, x], axis=1) if self.joined else made


@dataclass(frozen=True, eq=False)
class Decoder:
    """p(columns) = ∫ p(z) ∏ p(column | z) dz with z standard normal. Columns that are given pass through, and the others are drawn from latent vectors
    that explain them (sampling-importance-resampling, Rubin 1987). What was never seen counts as missing.

    `last` maps to the layout's width: scores of classes, then places within modes before the hyperbolic tangent. `spread` are the standard deviations of
    places.
    """

    layout: Layout
    noise: int
    layers: tuple[Layer, ...]
    last: Layer
    spread: F32
    asked: F64 = field(default_factory=lambda: np.empty(0))
    """How likely each cell of the input after the noise is 1, the others being 0; of no length where there are none."""

    @property
    def marginals(self) -> tuple[Marginal, ...]:
        return self.layout.marginals

    @property
    def columns(self) -> tuple[str, ...]:
        return tuple(m.name for m in self.marginals)

    def sample(self, given: Table, stream: Stream) -> Table:
        address = rows(given)
        told = {m.name: given[m.name] for m in self.marginals if m.name in given.columns}
        chunk = _CHUNK // CANDIDATES if told else _CHUNK
        parts = []
        for start in range(0, max(len(address), 1), chunk):
            some = {name: values.slice(start, chunk) for name, values in told.items()}
            parts.append(self._part(some, address[start : start + chunk], stream))
        return pl.concat(parts, rechunk=False)

    def _part(self, told: Mapping[str, pl.Series], address: NDArray, stream: Stream) -> Table:
        count = len(address)
        each = join_rows(address[:, None], np.arange(CANDIDATES)[None, :]).ravel() if told else address
        out = self._decoded(each, stream)
        if told:
            weight = sum(
                (self._explains(n, told[m.name], out) for n, m in enumerate(self.marginals) if m.name in told),
                np.zeros(len(each)),
            )
            # the largest of weight + Gumbel noise falls on each candidate in proportion to its weight
            gumbel = -np.log(-np.log(stream.child("candidate", *self.columns).uniform(each)))
            best = np.argmax((weight + gumbel).reshape(count, CANDIDATES), axis=1) if count else np.empty(0, np.int64)
            out = out[np.arange(count) * CANDIDATES + best]
        made = []
        for n, marginal in enumerate(self.marginals):
            if marginal.name in told:
                made.append(told[marginal.name])
                continue
            names = stream.child(marginal.name)
            chance = np.exp(self._log_chances(n, out))
            if not marginal.missing:
                chance[:, 0] = 0.0
            chance = np.cumsum(chance, axis=1)
            at = names.uniform(address) * chance[:, -1]
            state = np.minimum((chance <= at[:, None]).sum(axis=1), chance.shape[1] - 1)
            place = np.zeros(count)
            if n in self.layout.scaled:
                k = self.layout.scaled.index(n)
                middle = np.tanh(out[:, int(self.layout.offsets[-1]) + k].astype(float))
                place = np.clip(middle + self.spread[k] * names.child("place").normal(address), -1.0, 1.0)
            made.append(self.layout.decode(n, state, place, names.child("within").uniform(address)))
        return pl.DataFrame(made)

    def _decoded(self, each: NDArray, stream: Stream) -> F32:
        """The network's answer for each address's latent vector. Always as many rows: a product's last bits must not hang on how many are asked
        for."""
        z = np.zeros((_CHUNK, self.noise + len(self.asked)), np.float32)
        for k in range(self.noise):
            z[: len(each), k] = stream.child("latent", k).normal(each)
        if len(self.asked):
            ends = np.cumsum(self.asked)
            cell = np.searchsorted(ends, stream.child("asked").uniform(each) * ends[-1], side="right")
            z[np.arange(len(each)), self.noise + np.minimum(cell, len(ends) - 1)] = 1.0
        for layer in self.layers:
            z = layer(z)
        return (z @ self.last.weight + self.last.shift)[: len(each)]

    def _log_chances(self, n: int, out: F32) -> F64:
        scores = out[:, self.layout.offsets[n] : self.layout.offsets[n + 1]].astype(float)
        scores -= scores.max(axis=1, keepdims=True)
        return scores - np.log(np.exp(scores).sum(axis=1, keepdims=True))

    def _explains(self, n: int, values: pl.Series, out: F32) -> F64:
        """The log of the chance of each row's given value under each of its candidates."""
        state, place = self.layout.encode(n, values, np.full(len(values), 0.5))
        state, place = np.repeat(state, CANDIDATES), np.repeat(place, CANDIDATES)
        found = np.maximum(self._log_chances(n, out)[np.arange(len(state)), state], -30.0)
        if n in self.layout.scaled:
            k = self.layout.scaled.index(n)
            middle = np.tanh(out[:, int(self.layout.offsets[-1]) + k].astype(float))
            spread = max(float(self.spread[k]), LEAST_SPREAD)
            found = found - np.where(state > 0, 0.5 * ((place - middle) / spread) ** 2, 0.0)
        return found

    def state(self) -> tuple[dict[str, Any], dict[str, NDArray]]:
        plain, arrays = marginal_state(self.marginals)
        plain |= {"noise": self.noise, "joined": [layer.joined for layer in self.layers]}
        arrays |= self.layout.state() | {"net.spread": self.spread, "net.asked": self.asked}
        for k, layer in enumerate((*self.layers, self.last)):
            arrays |= {f"net.{k}.weight": layer.weight, f"net.{k}.shift": layer.shift}
        return plain, arrays


def rebuild_decoder(plain: Mapping[str, Any], arrays: Mapping[str, NDArray]) -> Decoder:
    """The inverse of `Decoder.state`. Raises ValueError for arrays that are no such network."""
    layout = rebuild_layout(rebuild_marginals(plain, arrays), arrays)
    joined = [*map(bool, plain["joined"]), False]
    layers = [
        Layer(np.array(arrays[f"net.{k}.weight"]), np.array(arrays[f"net.{k}.shift"]), j) for k, j in enumerate(joined)
    ]
    spread, noise, asked = np.array(arrays["net.spread"]), plain["noise"], np.array(arrays["net.asked"])
    if not isinstance(noise, int) or not 1 <= noise <= 1 << 12:
        raise ValueError("its latent vectors have no length")
    if asked.ndim != 1 or asked.dtype != np.float64 or not np.isfinite(asked).all() or (asked < 0).any():
        raise ValueError("what it is asked for is damaged")
    if len(asked) and not asked.sum():
        raise ValueError("it is asked for nothing")
    width = noise + len(asked)
    for layer in layers:
        fits = layer.weight.ndim == 2 and layer.weight.shape[0] == width and layer.shift.shape == layer.weight.shape[1:]
        if not fits or layer.weight.dtype != np.float32 or layer.shift.dtype != np.float32:
            raise ValueError("its layers do not fit one another")
        if not np.isfinite(layer.weight).all() or not np.isfinite(layer.shift).all():
            raise ValueError("its layers are damaged")
        width = layer.weight.shape[1] + (width if layer.joined else 0)
    if width != layout.width or spread.shape != (len(layout.scaled),) or spread.dtype != np.float32:
        raise ValueError("its network does not fit its columns")
    if not np.isfinite(spread).all() or (spread < 0).any():
        raise ValueError("its spreads are damaged")
    return Decoder(layout, noise, tuple(layers[:-1]), layers[-1], spread, asked)
