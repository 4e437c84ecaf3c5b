"""TimeVAE: a window from one latent vector, as the sum of a level with its trend, seasons, and what is left.

Desai, Freeman, Wang and Beaver 2021, "TimeVAE: A Variational Auto-Encoder for Multivariate Time Series Generation", arXiv:2111.08095: trends are polynomials, seasons here
waves of the window's length and its parts, and what is left comes from transposed convolutions. Latent vectors are drawn from a mixture of
normal distributions as those of learnt windows lie, not the one they were held to (Ghosh, Sajjadi, Vergari, Black and Schölkopf 2020, "From Variational to Deterministic Autoencoders", ICLR,
arXiv:1903.12436, section 4: ex-post density estimation), and what the decoder leaves of each number's steps with the covariance it has. `learn_timevae.py` learns it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...stream import Stream
from .draw import latent
from .ops import NUMPY, Ops, Parameters, dense, doubled

F32 = NDArray[np.float32]

POWERS, WAVES = 3, 4
"""Powers of time in a trend, and waves in a season."""


def decode(ops: Ops, p: Parameters, z: Any, steps: int) -> Any:
    """Scores of classes and places before the hyperbolic tangent, shape (n, steps, width)."""
    x = ops.relu(dense(p, "out", z))
    quarter = -(-steps // 4)
    x = x.reshape(x.shape[0], quarter, x.shape[1] // quarter)
    x = ops.relu(doubled(p, "double.0", x))
    x = ops.relu(doubled(p, "double.1", x))
    left = dense(p, "each", x)[:, :steps]
    width = left.shape[2]
    time = np.arange(steps) / max(steps - 1, 1)
    trend = ops.array(np.stack([time**k for k in range(POWERS)]))
    season = ops.array(
        np.concatenate([f(2 * np.pi * time * k)[None] for k in range(1, WAVES + 1) for f in (np.sin, np.cos)])
    )
    for name, basis in (("trend", trend), ("season", season)):
        weight = dense(p, f"{name}.1", ops.relu(dense(p, f"{name}.0", z)))
        weight = weight.reshape(weight.shape[0], width, basis.shape[0])
        left = left + (weight @ basis).swapaxes(1, 2)
    return left


def draw_timevae(
    p: Mapping[str, F32], settings: Mapping[str, Any], address: NDArray, stream: Stream
) -> tuple[F32, NDArray]:
    kind = np.searchsorted(p["z.until"][:-1], stream.child("kind").uniform(address), side="right")
    z = p["z.middle"][kind] + np.einsum("nk,nkl->nl", latent(stream, address, settings["latent"]), p["z.root"][kind])
    steps, end, roots = settings["steps"], settings["end"], p["left.root"]
    out = decode(NUMPY, p, z, steps)
    fresh = latent(stream.child("left"), address, steps * len(roots)).reshape(len(address), len(roots), steps)
    left = np.einsum("nks,kst->ntk", fresh, roots)
    out[:, :, end:] = np.clip(np.tanh(out[:, :, end:]) + left, -1.0, 1.0)
    return out, np.full(len(address), steps)
