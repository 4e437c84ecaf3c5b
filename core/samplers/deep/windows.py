"""Windows of series as tensors. Needs torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...stream import Stream
from .engine import log_chances
from .modes import Layout
from .series import Windows

HELD = 0.1
"""The share of windows that say when to stop: the last ones, of entities or of time, so that none overlaps one that is learnt from by chance."""


@dataclass(frozen=True)
class Segments:
    """Where columns' classes stand in the vector of a step."""

    sizes: list[int]
    end: int
    """Where classes end and places begin."""
    segment: Any
    """Which segment each class belongs to, as a 0/1 matrix of shape (classes, columns)."""

    @staticmethod
    def of(torch: Any, layout: Layout) -> Segments:
        segment = np.repeat(np.eye(len(layout.sizes), dtype=np.float32), layout.sizes, axis=0)
        return Segments(layout.sizes, int(layout.offsets[-1]), torch.tensor(segment))

    def vectors(self, torch: Any, classes: Any, places: Any) -> Any:
        """Steps as a network sees them, shape (n, steps, width)."""
        hot = torch.zeros(*classes.shape[:2], self.end)
        return torch.cat([hot.scatter(2, classes, 1.0), places], dim=2)

    def log_chances(self, torch: Any, scores: Any) -> Any:
        """The log of each class's chance within its segment."""
        return log_chances(torch, scores, self.sizes, self.segment)

    def cross_entropy(self, torch: Any, out: Any, classes: Any) -> Any:
        """Shape (n, steps, columns)."""
        return -self.log_chances(torch, out[..., : self.end]).gather(2, classes)

    def drawn(self, torch: Any, generator: Any, out: Any, temperature: float) -> Any:
        """Steps as a critic sees them: classes by the Gumbel-softmax (Jang et al. 2017, arXiv:1611.01144), places within -1 and 1."""
        u = torch.rand(*out.shape[:2], self.end, generator=generator).clamp(1e-9, 1 - 1e-7)
        hot = torch.exp(self.log_chances(torch, (out[..., : self.end] - torch.log(-torch.log(u))) / temperature))
        return torch.cat([hot, torch.tanh(out[..., self.end :])], dim=2)


def tensors(torch: Any, windows: Windows) -> tuple[Any, ...]:
    return torch.tensor(windows.classes), torch.tensor(windows.places)


def held_apart(torch: Any, windows: Windows, stream: Stream) -> tuple[tuple[Any, ...], tuple[Any, ...] | None]:
    """Windows to learn from, and those to judge by."""
    whole = tensors(torch, windows)
    held = int(len(whole[0]) * HELD)
    if not held:
        return whole, None
    return tuple(t[:-held] for t in whole), tuple(t[-held:] for t in whole)


def root(x: NDArray[np.float32]) -> NDArray[np.float32]:
    """The symmetric root of the covariance of columns, which there is however few the rows. Shape (columns, columns)."""
    apart = x.astype(float) - x.mean(axis=0)
    size, axis = np.linalg.eigh(apart.T @ apart / len(x))
    return (axis * np.sqrt(np.maximum(size, 0.0)) @ axis.T).astype(np.float32)


def roots(x: NDArray[np.float32]) -> NDArray[np.float32]:
    """`root` of the steps of each number. `x`: shape (windows, steps, numbers); found: shape (numbers, steps, steps)."""
    steps = x.shape[1]
    return np.stack([root(x[:, :, k]) for k in range(x.shape[2])]) if x.shape[2] else np.zeros((0, steps, steps), "f4")
