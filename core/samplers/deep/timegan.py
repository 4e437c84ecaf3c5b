"""TimeGAN: windows drawn in a hidden space that real series were mapped to, with a network beside that knows how hidden steps follow one another.

Yoon, Jarrett and van der Schaar 2019, "Time-series Generative Adversarial Networks", NeurIPS. `learn_timegan.py` learns it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...stream import Stream
from .draw import latent
from .ops import NUMPY, Ops, Parameters, dense, gru

F32 = NDArray[np.float32]


def hidden(ops: Ops, p: Parameters, name: str, x: Any) -> Any:
    """One of the networks into the hidden space: embedder, generator or supervisor."""
    return ops.sigmoid(dense(p, f"{name}.out", gru(ops, p, f"{name}.gru", x)))


def recover(ops: Ops, p: Parameters, h: Any) -> Any:
    """From the hidden space to scores of classes and places before the hyperbolic tangent."""
    return dense(p, "recover.out", gru(ops, p, "recover.gru", h))


def draw_timegan(
    p: Mapping[str, F32], settings: Mapping[str, Any], address: NDArray, stream: Stream
) -> tuple[F32, NDArray]:
    count, steps = len(address), settings["steps"]
    z = latent(stream, address, steps * settings["noise"]).reshape(count, steps, settings["noise"])
    out = recover(NUMPY, p, hidden(NUMPY, p, "supervise", hidden(NUMPY, p, "generate", z)))
    end = settings["end"]
    return np.concatenate([out[..., :end], np.tanh(out[..., end:])], axis=2), np.full(count, steps)
