"""Rows from noise: a network turns a latent vector into the chances of each column's classes and places. What variational and adversarial learning
leave behind is the same thing, so one sampler serves both; drawing needs no torch.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ...stream import F64, Stream, join_rows
from ...tables import Table
from ..statistical.empirical import marginal_state, rebuild_marginals
from ..statistical.marginal import Marginal
from .draw import BLOCK, choose_class, in_parts, latent, row_product, turned_product
from .learnt import Learnt, rebuild_learnt
from .modes import Layout, rebuild_layout

F32 = NDArray[np.float32]
Room = tuple[F32, F32, F32]

CANDIDATES = 64
"""Latent vectors drawn for a row of which columns are given; one is kept in proportion to how well it explains them."""
LEAST_SPREAD = 0.05
FREE = 10 * BLOCK
"""Rows that tell what a network draws of itself."""
_CHUNK = 1 << 15


@dataclass(frozen=True, eq=False)
class Layer:
    """x → rectified (x · weight + shift); with `joined`, the input follows the result."""

    weight: F32
    shift: F32
    joined: bool


@dataclass(frozen=True, eq=False)
class _Step:
    """A layer that reads columns `begin` to `end` of the stack, shape (`BLOCK`, units), and answers in `end` to `after`; the last one beside it."""

    begin: int
    end: int
    after: int
    weight: F32
    """Shape (inputs, outputs)."""
    shift: F32
    """What each cell adds, shape (cells, outputs), or (1, outputs) without cells."""


@dataclass(frozen=True, eq=False)
class Decoder:
    """p(columns) = ∫ p(z) ∏ p(column | z) dz with z standard normal. Columns that are given pass through, and the others are drawn from latent vectors
    that explain them (sampling-importance-resampling, Rubin 1987). What was never seen counts as missing.

    `last` maps to the layout's width: scores of classes, then places before the hyperbolic tangent. `spread` are the standard deviations of places.
    """

    layout: Layout
    noise: int
    layers: tuple[Layer, ...]
    last: Layer
    spread: F32
    learnt: Learnt
    asked: F64 = field(default_factory=lambda: np.empty(0))
    """How likely each cell of the input after the noise is 1, the others being 0; of no length where there are none."""
    cells: NDArray[np.int64] = field(default_factory=lambda: np.empty(0, np.int64))
    """The class, among those of all columns, that each cell asks for."""

    @property
    def marginals(self) -> tuple[Marginal, ...]:
        return self.layout.marginals

    @property
    def columns(self) -> tuple[str, ...]:
        return tuple(m.name for m in self.marginals)

    def sample(self, given: Table, stream: Stream) -> Table:
        return in_parts(self.columns, given, _CHUNK, lambda told, address: self._part(told, address, stream))

    def _part(self, told: Mapping[str, pl.Series], address: NDArray, stream: Stream) -> Table:
        count, free = len(address), [n for n, m in enumerate(self.marginals) if m.name not in told]
        states = {n: np.zeros(count, np.int64) for n in free}
        places = {n: np.zeros(count) for n in free if n in self._scaled}
        u = {n: stream.child(self.marginals[n].name).uniform(address) for n in free}
        step = BLOCK // CANDIDATES if told else BLOCK
        room = self._room()
        for start in range(0, count, step):
            some = slice(start, min(start + step, count))
            out = self._fitting({name: v[some] for name, v in told.items()}, address[some], stream, room)
            for n in free:
                if n in places:
                    places[n][some] = np.tanh(out[int(self.layout.offsets[-1]) + self._scaled[n]])
                # class 0, what is missing, is looked at where it can be
                first = 0 if self.marginals[n].missing else 1
                scores = out[self.layout.offsets[n] + first : self.layout.offsets[n + 1]]
                states[n][some] = choose_class(scores, u[n][some]) + first
        made = []
        for n, marginal in enumerate(self.marginals):
            if marginal.name in told:
                made.append(told[marginal.name])
                continue
            names = stream.child(marginal.name)
            if n in places:
                places[n] = self._spread(self._scaled[n], places[n], names.child("place"), address)
            share = names.child("within").uniform(address) if self.layout.needs_share(n) else np.empty(0)
            made.append(self.layout.decode(n, states[n], places.get(n, np.empty(0)), share))
        return pl.DataFrame(made)

    def freely(self, stream: Stream) -> F32:
        """The network's answer for `FREE` latent vectors, shape (width, `FREE`)."""
        room = self._room()
        parts = (np.arange(start, start + BLOCK) for start in range(0, FREE, BLOCK))
        return np.concatenate([self._decoded(each, stream, room).copy() for each in parts], axis=1)

    def placed(self, k: int, out: F32, stream: Stream) -> F64:
        """Places of the scaled column `k` as they are drawn, by the network's answers."""
        return self._spread(k, np.tanh(out.astype(float)), stream, np.arange(len(out)))

    def _spread(self, k: int, places: F64, stream: Stream, address: NDArray) -> F64:
        spread = self.spread[k]
        return np.clip(places + spread * latent(stream, address, 1)[:, 0], -1.0, 1.0) if spread else places

    @cached_property
    def _scaled(self) -> dict[int, int]:
        return {n: k for k, n in enumerate(self.layout.scaled)}

    @cached_property
    def _steps(self) -> tuple[_Step, ...]:
        """The layers: each reads from a stack of vectors and lays its answer beside them."""
        parts, begin, end, made = [self.noise], 0, self.noise, []
        for layer in (*self.layers, self.last):
            dense = sum(parts)
            # a layer's weights have the newest part first, the stack has it last
            blocks = np.split(layer.weight[:dense], np.cumsum(parts[::-1])[:-1])
            weight = np.concatenate(blocks[::-1])
            # the cells are the input's last, all 0 but one: a product with them is a look-up
            shift = layer.shift + layer.weight[dense:] if len(layer.weight) > dense else layer.shift[None, :]
            size = weight.shape[1]
            made.append(_Step(begin, end, end + size, weight, shift))
            begin, parts = (begin, [*parts, size]) if layer.joined else (end, [size])
            end += size
        return tuple(made)

    def _fitting(self, told: Mapping[str, pl.Series], address: NDArray, stream: Stream, room: Room) -> F32:
        """The network's answer for each row, of a latent vector that explains what is told; shape (width, rows)."""
        if not told:
            return self._decoded(address, stream, room)
        count = len(address)
        each = join_rows(address[:, None], np.arange(CANDIDATES)[None, :]).ravel()
        out = self._decoded(each, stream, room)
        weight = sum(
            (self._explains(n, told[m.name], out) for n, m in enumerate(self.marginals) if m.name in told),
            np.zeros(len(each)),
        )
        # the largest of weight + Gumbel noise falls on each candidate in proportion to its weight
        gumbel = -np.log(-np.log(stream.child("candidate", *self.columns).uniform(each)))
        best = np.argmax((weight + gumbel).reshape(count, CANDIDATES), axis=1) if count else np.empty(0, np.int64)
        return out[:, np.arange(count) * CANDIDATES + best]

    def _decoded(self, each: NDArray, stream: Stream, room: Room) -> F32:
        """The network's answer for each address's latent vector, at most `BLOCK` of them; `room` is written over, and holds it."""
        stack, out, told = room
        stack[: len(each), : self.noise] = latent(stream, each, self.noise)
        cell = np.zeros(BLOCK, np.int64)
        if len(self.asked):
            ends = np.cumsum(self.asked)
            found = np.searchsorted(ends, stream.child("asked").uniform(each) * ends[-1], side="right")
            cell[: len(each)] = np.minimum(found, len(ends) - 1)
        for s in self._steps[:-1]:
            made = row_product(stack[:, s.begin : s.end], s.weight, stack[:, s.end : s.after])
            made += s.shift.take(cell, axis=0) if len(s.shift) > 1 else s.shift
            np.maximum(made, 0, out=made)
        # classes are drawn along rows that stand side by side
        last, (weight, shift) = self._steps[-1], self._last
        turned_product(weight, stack[:, last.begin : last.end], out)
        # without a mode, `take` would not write into what there is
        out += shift.take(cell, axis=1, out=told, mode="clip") if shift.shape[1] > 1 else shift
        return out[:, : len(each)]

    def _room(self) -> Room:
        """For a block's vectors, its answers, and what is added to these: memory that is asked for once."""
        out, told = np.empty((2, self.layout.width, BLOCK), np.float32)
        return np.zeros((BLOCK, self._steps[-1].end), np.float32), out, told

    @cached_property
    def _last(self) -> tuple[F32, F32]:
        """The last layer's weight and shift, turned."""
        last = self._steps[-1]
        return np.ascontiguousarray(last.weight.T), np.ascontiguousarray(last.shift.T)

    def _log_chances(self, n: int, out: F32) -> F64:
        scores = out[self.layout.offsets[n] : self.layout.offsets[n + 1]].astype(float)
        scores -= scores.max(axis=0)
        return scores - np.log(np.exp(scores).sum(axis=0))

    def _explains(self, n: int, values: pl.Series, out: F32) -> F64:
        """The log of the chance of each row's given value under each of its candidates."""
        state, place = self.layout.encode(n, values, np.full(len(values), 0.5))
        state, place = np.repeat(state, CANDIDATES), np.repeat(place, CANDIDATES)
        found = np.maximum(self._log_chances(n, out)[state, np.arange(len(state))], -30.0)
        if n in self._scaled:
            k = self._scaled[n]
            middle = np.tanh(out[int(self.layout.offsets[-1]) + k].astype(float))
            spread = max(float(self.spread[k]), LEAST_SPREAD)
            found = found - np.where(self.layout.placed(n, state), 0.5 * ((place - middle) / spread) ** 2, 0.0)
        return found

    def state(self) -> tuple[dict[str, Any], dict[str, NDArray]]:
        plain, arrays = marginal_state(self.marginals)
        more, held = self.learnt.state()
        plain |= more | {
            "noise": self.noise,
            "joined": [layer.joined for layer in self.layers],
            "scale": self.layout.scale,
        }
        arrays |= (
            held | self.layout.state() | {"net.spread": self.spread, "net.asked": self.asked, "net.cells": self.cells}
        )
        for k, layer in enumerate((*self.layers, self.last)):
            arrays |= {f"net.{k}.weight": layer.weight, f"net.{k}.shift": layer.shift}
        return plain, arrays


def rebuild_decoder(plain: Mapping[str, Any], arrays: Mapping[str, NDArray]) -> Decoder:
    """The inverse of `Decoder.state`. Raises ValueError for arrays that are no such network."""
    layout = rebuild_layout(rebuild_marginals(plain, arrays), plain["scale"], arrays)
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
    cells = np.array(arrays["net.cells"])
    if cells.shape != asked.shape or cells.dtype != np.int64 or ((cells < 0) | (cells >= layout.offsets[-1])).any():
        raise ValueError("what it is asked for is no class")
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
    return Decoder(layout, noise, tuple(layers[:-1]), layers[-1], spread, rebuild_learnt(plain, arrays), asked, cells)
