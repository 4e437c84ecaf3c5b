"""Causal self-attention, whole in torch, which learns, and step by step in NumPy, which draws.

Vaswani et al. 2017, "Attention Is All You Need", NeurIPS, arXiv:1706.03762, with normalisation before each part (Xiong et al. 2020, arXiv:2002.04745).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .draw import product
from .ops import dense

F32 = NDArray[np.float32]

_LEAST = 1e-5


def begin_blocks(torch: Any, generator: Any, layers: int, width: int) -> dict[str, Any]:
    """The parameters of so many blocks: one for what is asked, what answers and what is told, one out of it, and two of the part behind."""
    parts: dict[str, Any] = {}
    for k in range(layers):
        for name, shape in (
            ("ask", (width, 3 * width)),
            ("tell", (width, width)),
            ("wide", (width, 2 * width)),
            ("back", (2 * width, width)),
        ):
            scale = shape[0] ** -0.5 * (1.0 if name in ("ask", "wide") else 0.5)
            parts[f"{k}.{name}.weight"] = torch.randn(*shape, generator=generator) * scale
            parts[f"{k}.{name}.shift"] = torch.zeros(shape[1])
        for name in ("norm", "norm_back"):
            parts |= {f"{k}.{name}.scale": torch.ones(width), f"{k}.{name}.offset": torch.zeros(width)}
    return parts


def block_shapes(layers: int, width: int) -> dict[str, tuple[int, ...]]:
    """The shapes of what `begin_blocks` makes."""
    shapes: dict[str, tuple[int, ...]] = {}
    for k in range(layers):
        for name, (a, b) in (
            ("ask", (width, 3 * width)),
            ("tell", (width, width)),
            ("wide", (width, 2 * width)),
            ("back", (2 * width, width)),
        ):
            shapes |= {f"{k}.{name}.weight": (a, b), f"{k}.{name}.shift": (b,)}
        for name in ("norm", "norm_back"):
            shapes |= {f"{k}.{name}.scale": (width,), f"{k}.{name}.offset": (width,)}
    return shapes


def attend(torch: Any, p: Mapping[str, Any], x: Any, layers: int, heads: int, mask: Any) -> Any:
    """All steps at once, shape (n, steps, width). `mask`: added to what each step (first axis) makes of each (second)."""
    n, steps, width = x.shape
    for k in range(layers):
        asked, answers, told = (
            dense(p, f"{k}.ask", _normal(torch, p, f"{k}.norm", x))
            .reshape(n, steps, 3, heads, width // heads)
            .unbind(2)
        )
        fit = torch.einsum("nqhd,nkhd->nhqk", asked, answers) * (width // heads) ** -0.5 + mask
        found = torch.einsum("nhqk,nkhd->nqhd", torch.softmax(fit, dim=-1), told).reshape(n, steps, width)
        x = x + dense(p, f"{k}.tell", found)
        x = x + dense(p, f"{k}.back", torch.relu(dense(p, f"{k}.wide", _normal(torch, p, f"{k}.norm_back", x))))
    return x


def _normal(torch: Any, p: Mapping[str, Any], name: str, x: Any) -> Any:
    return torch.nn.functional.layer_norm(x, x.shape[-1:], p[f"{name}.scale"], p[f"{name}.offset"], _LEAST)


class Attention:
    """The same for one step after another of so many sequences side by side, each step seeing at most the last `reach`."""

    def __init__(self, p: Mapping[str, F32], layers: int, heads: int, reach: int | None = None) -> None:
        self.p, self.layers, self.heads, self.reach = p, layers, heads, reach
        self.answers: list[list[F32]] = [[] for _ in range(layers)]
        self.told: list[list[F32]] = [[] for _ in range(layers)]

    def step(self, x: F32) -> F32:
        """Shape (width, n), for the next step of each sequence; n is that of `product`."""
        width, n = x.shape
        size = width // self.heads
        for k in range(self.layers):
            asked, answer, told = self._dense(f"{k}.ask", self._normal(f"{k}.norm", x)).reshape(3, self.heads, size, n)
            self.answers[k].append(answer)
            self.told[k].append(told)
            if self.reach is not None and len(self.told[k]) > self.reach:
                self.answers[k].pop(0)
                self.told[k].pop(0)
            fit, part = np.empty((len(self.told[k]), self.heads, n), np.float32), np.empty_like(told)
            for f, a in zip(fit, self.answers[k], strict=True):
                np.multiply(asked, a, out=part).sum(axis=1, out=f)
            fit *= np.float32(size**-0.5)
            fit -= fit.max(axis=0)
            np.exp(fit, out=fit)
            fit /= fit.sum(axis=0)
            found = np.zeros_like(told)
            for f, t in zip(fit, self.told[k], strict=True):
                found += np.multiply(t, f[:, None], out=part)
            x = x + self._dense(f"{k}.tell", found.reshape(width, n))
            wide = self._dense(f"{k}.wide", self._normal(f"{k}.norm_back", x))
            x += self._dense(f"{k}.back", np.maximum(wide, 0, out=wide))
        return x

    def _dense(self, name: str, x: F32) -> F32:
        weight, shift = self.p[f"{name}.weight"].T, self.p[f"{name}.shift"]
        out = product(weight, x, np.empty((len(weight), x.shape[1]), np.float32))
        out += shift[:, None]
        return out

    def _normal(self, name: str, x: F32) -> F32:
        out = x - x.mean(axis=0)
        out /= np.sqrt((out * out).mean(axis=0) + np.float32(_LEAST))
        out *= self.p[f"{name}.scale"][:, None]
        out += self.p[f"{name}.offset"][:, None]
        return out
