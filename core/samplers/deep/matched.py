"""What a decoder draws, brought to the distributions that each column has by itself: what columns have to do with one another is the network's, how often a value comes the rows' own.

Classes: their odds are changed by as much as they come too often or too rarely, as the outputs of a classifier are where classes are more or less frequent than where it
learnt (Saerens, Latinne and Decaestecker 2002, "Adjusting the Outputs of a Classifier to New a Priori Probabilities", Neural Computation 14(1)).
Numbers: the quantile of the column at the number's rank among those that are drawn, for which any joint distribution leaves room (Sklar 1959).
It looks at no more of the rows than how often each class and each value occurs. NumPy alone.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from ...stream import Stream
from .decoder import Decoder
from .draw import choose_class
from .modes import KNOTS, Modes

ROUNDS = 10


def matched(decoder: Decoder, counts: NDArray[np.int64], stream: Stream) -> Decoder:
    """`counts`: of rows that have each class, shape (classes of all columns,). Numbers on the scale of ranks are left as they are."""
    layout, end = decoder.layout, int(decoder.layout.offsets[-1])
    out = decoder.freely(stream.child("latent"))
    move, scales = np.zeros(end), list(layout.scales)
    for n, scale in enumerate(layout.scales):
        part = slice(int(layout.offsets[n]), int(layout.offsets[n + 1]))
        scores = out[part].astype(float)
        if not decoder.marginals[n].missing:
            scores[0] = -np.inf
        move[part] = _odds(scores, counts[part])
        if isinstance(scale, Modes):
            k = layout.scaled.index(n)
            u = stream.child(layout.marginals[n].name).uniform(np.arange(out.shape[1]))
            state = choose_class((scores + move[part, None]).astype(np.float32), u)
            place = decoder.placed(k, out[end + k], stream.child("place", layout.marginals[n].name))
            x = scale.numbers(np.maximum(state - 1, 0), place)[state > 0]
            if len(x):
                # quantiles between equal numbers may fall by a last digit
                scales[n] = Modes(scale.found, np.maximum.accumulate(np.quantile(x, np.linspace(0, 1, KNOTS))))
    shift = decoder.last.shift.copy()
    shift[:end] += move.astype(np.float32)
    return replace(decoder, layout=replace(layout, scales=tuple(scales)), last=replace(decoder.last, shift=shift))


def _odds(scores: NDArray, counts: NDArray[np.int64]) -> NDArray:
    """What is to be added to scores, shape (classes, draws), for classes to come in proportion to their counts."""
    possible = np.isfinite(scores[:, 0])
    real = (counts + 0.5) * possible
    real, least = real / real.sum(), 0.5 / counts.sum()
    move = np.zeros(len(counts))
    for _ in range(ROUNDS):
        moved = scores + move[:, None]
        chance = np.exp(moved - moved.max(axis=0))
        share = (chance / chance.sum(axis=0)).mean(axis=1)
        move[possible] += np.log(real[possible] / (share[possible] + least))
    return move
