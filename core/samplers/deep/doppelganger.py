"""DoppelGANger: what holds for a whole series first, then its course, several steps at a time, with an end of its own.

Lin, Jain, Wang, Fanti and Sekar 2020, "Using GANs for Sharing Networked Time Series Data: Challenges, Initial Promise, and Open Questions", IMC, arXiv:1909.13403: columns that do not change
within an entity are attributes; so are the middle and half the range of each number of a series, which is scaled by them; a recurrent network draws batches of steps, and whether
the series goes on. `learn_doppelganger.py` learns it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...stream import Stream
from .draw import choose_class, latent
from .ops import NUMPY, Ops, Parameters, dense, lstm

F32 = NDArray[np.float32]


def attributes(ops: Ops, p: Parameters, z: Any) -> Any:
    """Scores of attributes' classes, then middles and half ranges before they are bounded, shape (n, attributes)."""
    return dense(p, "whole.2", ops.relu(dense(p, "whole.1", ops.relu(dense(p, "whole.0", z)))))


def course(ops: Ops, p: Parameters, attribute: Any, noise: Any, batch: int) -> Any:
    """Steps before they are bounded, the score of going on last, shape (n, batches · batch, values + 1). `noise`: shape (n, batches, inputs)."""
    same = ops.stack([attribute] * noise.shape[1])
    out = dense(p, "steps.out", lstm(ops, p, "steps.lstm", ops.cat([same, noise])))
    return out.reshape(out.shape[0], out.shape[1] * batch, out.shape[2] // batch)


def draw_doppelganger(
    p: Mapping[str, F32], settings: Mapping[str, Any], address: NDArray, stream: Stream
) -> tuple[F32, NDArray]:
    count, steps, batch = len(address), settings["steps"], settings["batch"]
    classes, places, end = settings["classes"], settings["places"], settings["end"]
    whole = attributes(NUMPY, p, latent(stream, address, settings["noise"]))
    fixed = np.empty((count, 0), np.int64)
    begin, told = 0, []
    sizes = p["sizes"].astype(int)
    for k, size in enumerate(sizes):
        scores = np.ascontiguousarray(whole[:, begin : begin + size].T)
        state = choose_class(scores, stream.child("attribute", k).uniform(address)) if count else np.empty(0, np.int64)
        hot = np.zeros((count, size), np.float32)
        hot[np.arange(count), state] = 1.0
        told.append(hot)
        fixed = np.concatenate([fixed, state[:, None]], axis=1)
        begin += size
    middle, half = np.tanh(whole[:, classes : classes + places]), NUMPY.sigmoid(whole[:, classes + places :])
    attribute = np.concatenate([*told, middle, half], axis=1).astype(np.float32)
    batches = -(-steps // batch)
    noise = latent(stream.child("steps"), address, batches * settings["noise"]).reshape(
        count, batches, settings["noise"]
    )
    out = course(NUMPY, p, attribute, noise, batch)[:, :steps]
    made = np.zeros((count, steps, end + places), np.float32)
    free = p["free"].astype(int)
    made[:, :, free] = out[:, :, : len(free)]
    made[:, :, end:] = middle[:, None] + half[:, None] * np.tanh(out[:, :, len(free) : -1])
    # an attribute's classes, where they stand among all: what was drawn is certain
    for k, at in enumerate(p["attribute_places"].astype(int)):
        scores = np.full((count, sizes[k]), -60.0, np.float32)
        scores[np.arange(count), fixed[:, k]] = 0.0
        made[:, :, at : at + sizes[k]] = scores[:, None]
    on = NUMPY.sigmoid(out[:, :, -1])
    u = np.stack([stream.child("on", t).uniform(address) for t in range(steps)], axis=1).reshape(count, steps)
    stops = u >= on
    stops[:, -1] = True
    return made, np.maximum(np.argmax(stops, axis=1) + 1, min(2, steps))
