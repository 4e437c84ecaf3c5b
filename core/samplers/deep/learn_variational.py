"""TVAE: a variational autoencoder over classes and places.

Kingma and Welling 2014, "Auto-Encoding Variational Bayes", ICLR, arXiv:1312.6114; for tables Xu et al. 2019, arXiv:1907.00503, section 4.5, whose sizes and
rates are kept. Needs torch, `populace[deep]`.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ...stream import Stream
from ...tables import Table
from .decoder import Decoder, Layer
from .encoded import Encoded, encode_table
from .engine import deterministic, linear, torch_or_error

LATENT, HIDDEN = 128, 128
BATCH = 500
RATE, DECAY = 1e-3, 1e-5
EPOCHS = 300
WEIGHT = 2.0
"""What a nat of the reconstruction counts for, against one of the latent vector's divergence."""
SPREADS = (0.01, 1.0)
LEAST_STEPS = 500


def fit_tvae(table: Table, stream: Stream, epochs: int = EPOCHS) -> Decoder:
    """Learn a table in so many passes over it. Raises UserError without torch, for an empty table, or for a column of a type that cannot be learnt."""
    torch = torch_or_error("tvae")
    with deterministic(torch, stream.child("network")) as generator:
        return _trained(torch, generator, encode_table(torch, table, stream), epochs)


def _trained(torch: Any, generator: Any, data: Encoded, epochs: int) -> Decoder:
    width, scaled = data.layout.width, len(data.layout.scaled)
    shapes = {
        "in": (width, HIDDEN),
        "inner": (HIDDEN, HIDDEN),
        "middle": (HIDDEN, LATENT),
        "spread": (HIDDEN, LATENT),
        "out": (LATENT, HIDDEN),
        "outer": (HIDDEN, HIDDEN),
        "last": (HIDDEN, width),
    }
    p = {name: linear(torch, generator, *shape) for name, shape in shapes.items()}
    sigma = torch.full((scaled,), 0.1, requires_grad=True)
    optimiser = torch.optim.Adam(
        [*(t for pair in p.values() for t in pair), sigma], RATE, weight_decay=DECAY, fused=True
    )

    def through(name: str, x: Any) -> Any:
        weight, shift = p[name]
        return x @ weight + shift

    size = min(BATCH, data.rows)
    steps = max(1, data.rows // size)
    for _ in range(max(epochs, -(-LEAST_STEPS // steps))):
        shuffled = torch.randperm(data.rows, generator=generator)
        for k in range(steps):
            at = shuffled[k * size : (k + 1) * size]
            inner = torch.relu(through("inner", torch.relu(through("in", data.vectors(torch, at)))))
            mean, log_spread = through("middle", inner), through("spread", inner)
            z = mean + torch.exp(log_spread / 2) * torch.randn(mean.shape, generator=generator)
            out = through("last", torch.relu(through("outer", torch.relu(through("out", z)))))
            divergence = -0.5 * (1 + log_spread - mean**2 - torch.exp(log_spread)).sum()
            loss = (WEIGHT * _rebuilt(torch, data, at, out, sigma) + divergence) / size
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            with torch.no_grad():
                sigma.clamp_(*SPREADS)
    made = {k: [t.detach().numpy().astype(np.float32) for t in pair] for k, pair in p.items()}
    layers = [Layer(made[name][0], made[name][1], False) for name in ("out", "outer", "last")]
    spread = sigma.detach().numpy().astype(np.float32)
    return Decoder(data.layout, LATENT, tuple(layers[:-1]), layers[-1], spread)


def _rebuilt(torch: Any, data: Encoded, at: Any, out: Any, sigma: Any) -> Any:
    """Minus the log likelihood of rows, summed."""
    end = int(data.layout.offsets[-1])
    classes = -data.log_chances(torch, out[:, :end]).gather(1, data.classes[at]).sum()
    apart = (data.places[at] - torch.tanh(out[:, end:])) ** 2 / (2 * sigma**2) + torch.log(sigma)
    return classes + (apart * data.there[at]).sum()
