"""Layers of networks over series, written once for torch, which learns, and for NumPy, which draws."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Ops:
    """What a layer needs of torch or of NumPy."""

    stack: Any
    """Along the second axis."""
    cat: Any
    """Along the last axis."""
    relu: Any
    sigmoid: Any
    tanh: Any
    array: Any
    """Numbers of single precision."""
    torch: Any = None
    fused: bool = False
    """Whether recurrent layers are torch's own, which is faster, and cannot be taken the slope of row by row."""


NUMPY = Ops(
    stack=lambda parts: np.stack(parts, axis=1),
    cat=lambda parts: np.concatenate(parts, axis=-1),
    relu=lambda x: np.maximum(x, 0),
    sigmoid=lambda x: 1 / (1 + np.exp(-np.clip(x, -60, 60))),
    tanh=np.tanh,
    array=lambda x: np.asarray(x, np.float32),
)


def torch_ops(torch: Any, fused: bool = True) -> Ops:
    return Ops(
        stack=lambda parts: torch.stack(parts, dim=1),
        cat=lambda parts: torch.cat(parts, dim=-1),
        relu=torch.relu,
        sigmoid=torch.sigmoid,
        tanh=torch.tanh,
        array=lambda x: torch.tensor(np.asarray(x, np.float32)),
        torch=torch,
        fused=fused,
    )


Parameters = Mapping[str, Any]


def dense(p: Parameters, name: str, x: Any) -> Any:
    return x @ p[f"{name}.weight"] + p[f"{name}.shift"]


def doubled(p: Parameters, name: str, x: Any) -> Any:
    """Each step becomes two: a transposed convolution with kernel and stride of two. Shape (n, steps, c) to (n, 2 · steps, c')."""
    y = dense(p, name, x)
    return y.reshape(y.shape[0], 2 * y.shape[1], y.shape[2] // 2)


def halved(p: Parameters, name: str, x: Any) -> Any:
    """Two steps become one: a convolution with kernel and stride of two."""
    return dense(p, name, x.reshape(x.shape[0], x.shape[1] // 2, 2 * x.shape[2]))


def convolved(ops: Ops, p: Parameters, name: str, x: Any, apart: int) -> Any:
    """Each step with those `apart` before and after it; nothing lies beyond the ends."""
    nothing = x[:, :apart] * 0
    before = _joined(ops, nothing, x[:, :-apart]) if x.shape[1] > apart else x * 0
    after = _joined(ops, x[:, apart:], nothing) if x.shape[1] > apart else x * 0
    return dense(p, name, ops.cat([before, x, after]))


def _joined(ops: Ops, a: Any, b: Any) -> Any:
    return np.concatenate([a, b], axis=1) if ops.torch is None else ops.torch.cat([a, b], dim=1)


def gru(ops: Ops, p: Parameters, name: str, x: Any) -> Any:
    """Gated recurrent units (Cho et al. 2014, arXiv:1406.1078) as torch defines them, shape (n, steps, inputs) to (n, steps, hidden)."""
    weights = [p[f"{name}.{k}"] for k in ("in", "hidden", "in_shift", "hidden_shift")]
    size = weights[1].shape[1]
    if ops.fused:
        begin = ops.torch.zeros(1, len(x), size)
        return ops.torch.gru(x, begin, weights, True, 1, 0.0, False, False, True)[0]
    state, found = ops.array(np.zeros((len(x), size))), []
    inner = x @ weights[0].T + weights[2]
    for t in range(x.shape[1]):
        own, back = inner[:, t], state @ weights[1].T + weights[3]
        reset, update = (
            ops.sigmoid(own[:, k * size : (k + 1) * size] + back[:, k * size : (k + 1) * size]) for k in (0, 1)
        )
        fresh = ops.tanh(own[:, 2 * size :] + reset * back[:, 2 * size :])
        state = (1 - update) * fresh + update * state
        found.append(state)
    return ops.stack(found)


def lstm(ops: Ops, p: Parameters, name: str, x: Any) -> Any:
    """Long short-term memory (Hochreiter and Schmidhuber 1997) as torch defines it, shape (n, steps, inputs) to (n, steps, hidden)."""
    weights = [p[f"{name}.{k}"] for k in ("in", "hidden", "in_shift", "hidden_shift")]
    size = weights[1].shape[1]
    if ops.fused:
        begin = (ops.torch.zeros(1, len(x), size), ops.torch.zeros(1, len(x), size))
        return ops.torch.lstm(x, begin, weights, True, 1, 0.0, False, False, True)[0]
    state, held, found = np.zeros((len(x), size), np.float32), np.zeros((len(x), size), np.float32), []
    inner = x @ weights[0].T + weights[2]
    for t in range(x.shape[1]):
        gate = inner[:, t] + state @ weights[1].T + weights[3]
        enter, forget, fresh, leave = (gate[:, k * size : (k + 1) * size] for k in range(4))
        held = ops.sigmoid(forget) * held + ops.sigmoid(enter) * np.tanh(fresh)
        state = ops.sigmoid(leave) * np.tanh(held)
        found.append(state)
    return np.stack(found, axis=1)


def begin_recurrent(torch: Any, generator: Any, name: str, inputs: int, hidden: int, gates: int) -> dict[str, Any]:
    """The parameters of `gru` (3 gates) or `lstm` (4), begun uniformly within 1 / √hidden."""

    def uniform(*shape: int) -> Any:
        return (torch.rand(*shape, generator=generator) * 2 - 1) * hidden**-0.5

    return {
        f"{name}.in": uniform(gates * hidden, inputs),
        f"{name}.hidden": uniform(gates * hidden, hidden),
        f"{name}.in_shift": uniform(gates * hidden),
        f"{name}.hidden_shift": uniform(gates * hidden),
    }
