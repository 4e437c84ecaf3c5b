"""Windows of series from noise, all steps at once, by a diffusion whose network sees each step with those around it.

Ho, Jain and Abbeel 2020, "Denoising Diffusion Probabilistic Models", arXiv:2006.11239; drawn in few steps by Song, Meng and Ermon 2021, arXiv:2010.02502; dilated convolutions as in Kong et
al. 2021, "DiffWave", ICLR, arXiv:2009.09761, and Tashiro et al. 2021, "CSDI", arXiv:2107.03502; classes as numbers, one for each (Chen, Zhang and Hinton 2023, "Analog Bits", ICLR,
arXiv:2208.04202). Numbers are white to it: each one's steps through the inverse root of their covariance, so that the fine course of a smooth series is learnt as well as its level, which is a
diffusion whose noise has the series' own spectrum (Voleti, Pal and Oberman 2022, "Score-based Denoising Diffusion with Non-Isotropic Gaussian Noise Models", arXiv:2210.12254). `learn_series_diffusion.py` learns it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...stream import Stream
from .diffusion import DRAWN, kept, waves
from .draw import latent
from .ops import NUMPY, Ops, Parameters, convolved, dense

F32 = NDArray[np.float32]

APART = (1, 2, 4, 8)
"""How far apart the steps are that each block looks at."""
FAR = 12.0
"""Standard deviations that no white number goes beyond: rare jumps of smooth series lie far out."""
SURE = 8.0
"""What a class that the network is sure of scores above the others."""


def origin(ops: Ops, p: Parameters, x: Any, clock: Any) -> Any:
    """What noised windows were in the beginning, shape as `x`: (n, steps, width). `clock`: waves of each window's time, shape (n, 2 · CLOCK)."""
    steps = x.shape[1]
    place = ops.array(waves(np.arange(steps) / max(steps, 1)))
    inner = dense(p, "in", x) + dense(p, "clock", clock)[:, None, :] + dense(p, "place", place)
    for k, apart in enumerate(APART):
        inner = inner + dense(p, f"back.{k}", ops.relu(convolved(ops, p, f"block.{k}", ops.relu(inner), apart)))
    return dense(p, "out", ops.relu(inner))


def draw_diffusion(
    p: Mapping[str, F32], settings: Mapping[str, Any], address: NDArray, stream: Stream
) -> tuple[F32, NDArray]:
    count, steps, width, end = len(address), settings["steps"], p["out.shift"].shape[0], settings["end"]
    size = steps * width
    x = latent(stream, address, size).reshape(count, steps, width)
    times = np.arange(DRAWN, -1, -1) / DRAWN
    own = kept(times)
    first = x
    for k in range(DRAWN):
        now, then = own[k], own[k + 1] if k + 1 < DRAWN else 1.0
        clock = np.repeat(waves(times[k : k + 1]), count, axis=0)
        first = np.clip(origin(NUMPY, p, x, clock), -FAR, FAR)
        new = (1 - then) / (1 - now) * (1 - now / then)
        noise = (x - np.sqrt(now) * first) / np.sqrt(1 - now)
        fresh = latent(stream.child("step", k), address, size).reshape(count, steps, width)
        x = (np.sqrt(then) * first + np.sqrt(max(1 - then - new, 0.0)) * noise + np.sqrt(new) * fresh).astype(
            np.float32
        )
    places = p["white.middle"] + np.einsum("ntk,kts->nsk", first[..., end:], p["white.root"])
    return np.concatenate([SURE * first[..., :end], np.clip(places, -1.0, 1.0)], axis=2), np.full(count, steps)
