"""Rows from noise step by step: a diffusion model for mixed types, Gaussian for numbers by their normal scores, multinomial for classes.

Kotelnikov, Baranchuk, Rubachev and Babenko 2023, "TabDDPM: Modelling Tabular Data with Diffusion Models", ICML, arXiv:2209.15421, after Ho, Jain and Abbeel 2020, arXiv:2006.11239, and
Hoogeboom et al. 2021, "Argmax Flows and Multinomial Diffusion", arXiv:2102.05379. It is learnt with many steps and drawn with few, by the processes with the same marginals of Song, Meng and
Ermon 2021, "Denoising Diffusion Implicit Models", ICLR, arXiv:2010.02502, section 4.2 and appendix A. `learn_diffusion.py` learns it, with torch; drawing needs none.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ...stream import F64, Stream
from ...tables import Table
from ..statistical.empirical import marginal_state, rebuild_marginals
from ..statistical.marginal import Marginal
from .decoder import Layer
from .draw import BLOCK, choose_class, in_parts, latent
from .learnt import Learnt, rebuild_learnt
from .modes import SPAN, Layout, ranked_layout

F32 = NDArray[np.float32]

DRAWN = 50
"""Steps in which rows are drawn."""
CLOCK = 8
"""Waves by which the network is told the time, each twice as fast as the last."""
_CHUNK = 1 << 14


def kept(time: F64) -> F64:
    """How much of the variance of a number is still its own at a time from 0 to 1 (Nichol and Dhariwal 2021, arXiv:2102.09672: a cosine)."""
    return np.clip(np.cos((time + 0.008) / 1.008 * np.pi / 2) ** 2, 1e-5, 1.0)


@dataclass(frozen=True, eq=False)
class Diffusion:
    """Columns that are given pass through, and the network is told them as they are at each step, and which they are (Tashiro et al. 2021, CSDI, arXiv:2107.03502). What was
    never seen counts as missing.

    `layers` map the vector, a 1 for each column that is given, and the waves of the time to the scores of classes and the noise in places.
    """

    layout: Layout
    layers: tuple[Layer, ...]
    learnt: Learnt

    @property
    def marginals(self) -> tuple[Marginal, ...]:
        return self.layout.marginals

    @property
    def columns(self) -> tuple[str, ...]:
        return tuple(m.name for m in self.marginals)

    def sample(self, given: Table, stream: Stream) -> Table:
        return in_parts(self.columns, given, _CHUNK, lambda told, address: self._part(told, address, stream))

    def _part(self, told: Mapping[str, pl.Series], address: NDArray, stream: Stream) -> Table:
        count, layout = len(address), self.layout
        state, place = np.zeros((count, len(layout.sizes)), np.int64), np.zeros((count, len(layout.scaled)), np.float32)
        held = {
            n: layout.encode(n, told[m.name], np.full(count, 0.5))
            for n, m in enumerate(self.marginals)
            if m.name in told
        }
        for start in range(0, count, BLOCK):
            some = slice(start, min(start + BLOCK, count))
            known = {n: (s[some], p[some]) for n, (s, p) in held.items()}
            state[some], place[some] = self._block(address[some], known, stream)
        made = []
        for n, marginal in enumerate(self.marginals):
            if marginal.name in told:
                made.append(told[marginal.name])
                continue
            at = np.clip(place[:, self._scaled[n]] / SPAN, -1.0, 1.0) if n in self._scaled else np.zeros(count)
            share = stream.child(marginal.name, "within").uniform(address)
            made.append(layout.decode(n, state[:, n], at.astype(float), share))
        return pl.DataFrame(made)

    def _block(self, address: NDArray, held: Mapping[int, tuple[NDArray, F64]], stream: Stream) -> tuple[NDArray, F32]:
        layout, count, end = self.layout, len(address), int(self.layout.offsets[-1])
        names = [stream.child(m.name) for m in self.marginals]
        state = np.zeros((BLOCK, len(layout.sizes)), np.int64)
        place = np.zeros((BLOCK, len(layout.scaled)))
        for n, size in enumerate(layout.sizes):
            state[:count, n] = self._any(n, size, names[n].child("begin").uniform(address))
        place[:count] = latent(stream.child("begin"), address, place.shape[1])
        free = [n for n in range(len(layout.sizes)) if n not in held]
        for n, (s, p) in held.items():
            state[:count, n] = s
            if n in self._scaled:
                place[:count, self._scaled[n]] = SPAN * p
        still = [self._scaled[n] for n in held if n in self._scaled]
        given = place[:, still].copy()
        times = np.arange(DRAWN, -1, -1) / DRAWN
        own = kept(times)
        for k in range(DRAWN):
            now, then = own[k], own[k + 1] if k + 1 < DRAWN else 1.0
            fresh = latent(stream.child("step", k), address, place.shape[1])
            out = self._out(state, place, tuple(held), float(times[k]))
            # the share of each step's noise that is new: that of the Markov chain with these steps
            new = (1 - then) / (1 - now) * (1 - now / then)
            first = (place - np.sqrt(1 - now) * out[:, end:]) / np.sqrt(now)
            first = np.clip(first, -SPAN, SPAN)
            noise = (place - np.sqrt(now) * first) / np.sqrt(1 - now)
            place = np.sqrt(then) * first + np.sqrt(max(1 - then - new, 0.0)) * noise
            place[:count] += np.sqrt(new) * fresh
            place[:, still] = given
            stay = (1 - then) / (1 - now)
            for n in free:
                size = layout.sizes[n]
                scores = np.ascontiguousarray(out[:count, layout.offsets[n] : layout.offsets[n] + size].T, np.float32)
                if not self.marginals[n].missing and size > 1:
                    scores[0] = -np.inf
                origin = choose_class(scores, names[n].child("origin", k).uniform(address))
                u, turn = names[n].child("turn", k).uniform(address), then - stay * now
                other = self._any(n, size, np.clip((u - stay - turn) / max(1 - stay - turn, 1e-12), 0.0, 1 - 1e-12))
                state[:count, n] = np.where(u < stay, state[:count, n], np.where(u < stay + turn, origin, other))
        return state[:count], place[:count].astype(np.float32)

    def _any(self, n: int, size: int, u: F64) -> NDArray[np.int64]:
        """A class of column `n`, each as likely; what is never missing has no class for that."""
        low = 0 if self.marginals[n].missing or size == 1 else 1
        return low + np.minimum((u * (size - low)).astype(np.int64), size - low - 1)

    def _out(self, state: NDArray, place: F64, held: tuple[int, ...], time: float) -> F64:
        (weight, shift), *rest = self._exact
        x = waves(np.array([time]))[0] @ weight[-2 * CLOCK :] + shift
        end, told = int(self.layout.offsets[-1]), self.layout.width
        x = x + weight[[told + n for n in held]].sum(axis=0)
        # a product with rows of one 1 for each column is a sum of look-ups
        x = x + place @ weight[end:told]
        for n in range(len(self.layout.sizes)):
            x += weight[self.layout.offsets[n] + state[:, n]]
        for weight, shift in rest:
            x = np.maximum(x, 0) @ weight + shift
        return x

    @cached_property
    def _exact(self) -> list[tuple[F64, F64]]:
        """The layers in double precision: a product's last bits hang on a row's place in it, and are rounded away at the end."""
        return [(layer.weight.astype(np.float64), layer.shift.astype(np.float64)) for layer in self.layers]

    @cached_property
    def _scaled(self) -> dict[int, int]:
        return {n: k for k, n in enumerate(self.layout.scaled)}

    def state(self) -> tuple[dict[str, Any], dict[str, NDArray]]:
        plain, arrays = marginal_state(self.marginals)
        more, held = self.learnt.state()
        for k, layer in enumerate(self.layers):
            arrays |= {f"net.{k}.weight": layer.weight, f"net.{k}.shift": layer.shift}
        return plain | more | {"layers": len(self.layers)}, arrays | held


def waves(time: F64) -> F32:
    """Sines and cosines of times, shape (times, 2 · CLOCK)."""
    angle = time[:, None] * np.pi * 2.0 ** np.arange(CLOCK)
    return np.concatenate([np.sin(angle), np.cos(angle)], axis=1).astype(np.float32)


def rebuild_diffusion(plain: Mapping[str, Any], arrays: Mapping[str, NDArray]) -> Diffusion:
    """The inverse of `Diffusion.state`. Raises ValueError for arrays that are no such network."""
    layout = ranked_layout(rebuild_marginals(plain, arrays))
    count = plain["layers"]
    if not isinstance(count, int) or not 2 <= count <= 16:
        raise ValueError("it has no layers")
    layers = [
        Layer(np.array(arrays[f"net.{k}.weight"]), np.array(arrays[f"net.{k}.shift"]), False) for k in range(count)
    ]
    width = layout.width + len(layout.sizes) + 2 * CLOCK
    for layer in layers:
        check_layer(layer, width)
        width = layer.weight.shape[1]
    if width != layout.width:
        raise ValueError("its network does not fit its columns")
    return Diffusion(layout, tuple(layers), rebuild_learnt(plain, arrays))


def check_layer(layer: Layer, inputs: int) -> None:
    """Raises ValueError for a layer that does not take so many inputs, or whose numbers are none."""
    fits = layer.weight.ndim == 2 and layer.weight.shape[0] == inputs and layer.shift.shape == layer.weight.shape[1:]
    if not fits or layer.weight.dtype != np.float32 or layer.shift.dtype != np.float32:
        raise ValueError("its layers do not fit one another: it is damaged")
    if not np.isfinite(layer.weight).all() or not np.isfinite(layer.shift).all():
        raise ValueError("its layers are damaged")
