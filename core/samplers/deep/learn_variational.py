"""TVAE and the plain variational autoencoder: an encoder gives each row a place in a latent space, a decoder gives back the row.

Kingma and Welling 2014, "Auto-Encoding Variational Bayes", ICLR, arXiv:1312.6114: Gaussian for numbers, by their normal scores, categorical for classes.
TVAE: Xu et al. 2019, arXiv:1907.00503, section 4.5, with modes for numbers, whose sizes and rates are kept but for a latent space of 32 instead of 128: after ten passes on Adult it
is nearer to the rows, and a third faster. Needs torch, `populace[deep]`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from ...privacy.budget import Budget
from ...stream import Stream
from ...tables import Table
from .decoder import Decoder, Layer
from .encoded import Encoded, encode_table
from .engine import apply_layer, begin_layers, deterministic, host, torch_or_error
from .learnt import FREELY, Effort
from .matched import matched
from .modes import ScaleName
from .private_fit import Extents, fit_privately
from .training import Descent, train
from .transfer import Maps, continued, layout_before

BATCH, SMALL = 500, 10_000
RATE, DECAY = 1e-3, 1e-5
SPREADS = (0.01, 1.0)


@dataclass(frozen=True)
class Settings:
    name: str
    scale: ScaleName
    latent: int
    hidden: int
    weight: float
    """What a nat of the reconstruction counts for, against one of the latent vector's divergence."""
    epochs: int
    steps: int
    """Steps of all passes together at least: a small table is passed over more often."""
    few: int
    """Rows of a step where there are fewer than `SMALL`: steps are what they lack."""


TVAE = Settings("tvae", "modes", 32, 128, 2.0, 300, 500, BATCH)
VAE = Settings("vae", "ranks", 32, 128, 1.0, 200, 4_000, 128)


def fit_tvae(table: Table, stream: Stream, effort: Effort = FREELY) -> Decoder:
    """Learn a table. Raises UserError without torch, for an empty table, or for a column of a type that cannot be learnt."""
    return _fit(TVAE, table, stream, effort)


def fit_vae(table: Table, stream: Stream, effort: Effort = FREELY) -> Decoder:
    """As `fit_tvae`, by Kingma and Welling's own likelihood, with numbers by their normal scores."""
    return _fit(VAE, table, stream, effort)


def fit_private_tvae(table: Table, noise: Stream, budget: Budget, extents: Extents) -> tuple[Decoder, float]:
    """TVAE under differential privacy, with numbers by their ranks: modes would have to be paid for. Returns it and about how many rows there were."""
    return _fit_private(TVAE, table, noise, budget, extents)


def fit_private_vae(table: Table, noise: Stream, budget: Budget, extents: Extents) -> tuple[Decoder, float]:
    """The plain autoencoder under differential privacy, and about how many rows there were."""
    return _fit_private(VAE, table, noise, budget, extents)


def _fit(how: Settings, table: Table, stream: Stream, effort: Effort) -> Decoder:
    torch = torch_or_error(how.name)
    with deterministic(torch, stream.child("network")) as generator:
        net = _Network(torch, generator, how, encode_table(torch, table, stream, how.scale))
        parameters = continued(torch, net.begun(), effort, net.maps)
        steps = -(-how.steps // how.epochs)
        learner = net.learner(parameters, steps)
        learnt = train(torch, generator, learner, effort, how.name)
        found = net.decoder(learnt)
        return matched(found, net.data.counts(), stream.child("matched")) if how.scale == "modes" else found


def _fit_private(how: Settings, table: Table, noise: Stream, budget: Budget, extents: Extents) -> tuple[Decoder, float]:
    torch = torch_or_error(how.name)

    def begin(generator: Any, data: Encoded) -> tuple[Descent, Any]:
        net = _Network(torch, generator, how, data)
        return net.learner(net.begun(), 1), net.decoder

    return fit_privately(torch, how.name, table, noise, budget, extents, begin)


@dataclass(frozen=True)
class _Network:
    torch: Any
    generator: Any
    how: Settings
    data: Encoded

    def begun(self) -> dict[str, Any]:
        width, hidden, latent = self.data.layout.width, self.how.hidden, self.how.latent
        shapes = {
            "in": (width, hidden),
            "inner": (hidden, hidden),
            "middle": (hidden, latent),
            "spread": (hidden, latent),
            "out": (latent, hidden),
            "outer": (hidden, hidden),
            "last": (hidden, width),
        }
        parts = begin_layers(self.torch, self.generator, shapes)
        return parts | {"sigma": self.torch.full((len(self.data.layout.scaled),), -2.3)}

    def maps(self, old: Decoder) -> Maps:
        whole, scaled = layout_before(old.layout, self.data.layout)
        return {"in.weight": (whole, None), "last.weight": (None, whole), "last.shift": (whole,), "sigma": (scaled,)}

    def learner(self, parameters: dict[str, Any], steps: int) -> Descent:
        width, hidden, latent = self.data.layout.width, self.how.hidden, self.how.latent
        return Descent(
            self.torch,
            self.generator,
            parameters,
            self.loss,
            self.noise,
            rows=(self.data.classes, self.data.places, self.data.there),
            held=None,
            batch=BATCH if self.data.rows >= SMALL else self.how.few,
            rate=RATE,
            epochs=self.how.epochs,
            # layers of many rows at once are learnt twice as fast as what else networks here do
            work=width * hidden + hidden * hidden + 1.5 * hidden * latent,
            steps=steps,
            decay=DECAY,
            falling=False,
        )

    def noise(self, count: int, learning: bool) -> tuple[Any, ...]:
        return (self.torch.randn(count, self.how.latent, generator=self.generator),)

    def loss(self, p: dict[str, Any], rows: tuple[Any, ...], noise: tuple[Any, ...]) -> Any:
        """For each row minus the evidence lower bound, its likelihood weighted."""
        torch, (classes, places, there) = self.torch, rows
        inner = torch.relu(
            apply_layer(p, "inner", torch.relu(apply_layer(p, "in", self.data.vectors(torch, classes, places))))
        )
        mean, log_spread = apply_layer(p, "middle", inner), apply_layer(p, "spread", inner)
        spread = torch.exp(log_spread / 2)
        z = mean + spread * noise[0]
        out = apply_layer(p, "last", torch.relu(apply_layer(p, "outer", torch.relu(apply_layer(p, "out", z)))))
        divergence = 0.5 * (mean * mean + spread * spread - log_spread - 1).sum(dim=1)
        end = int(self.data.layout.offsets[-1])
        found = self.data.surprise(torch, out[:, :end], classes)
        sigma = self.sigma(p)
        apart = (places - torch.tanh(out[:, end:])) ** 2 / (2 * sigma**2) + torch.log(sigma)
        return self.how.weight * (found + (apart * there).sum(dim=1)) + divergence

    def sigma(self, p: dict[str, Any]) -> Any:
        return SPREADS[0] + (SPREADS[1] - SPREADS[0]) * self.torch.sigmoid(p["sigma"])

    def decoder(self, learnt: Any) -> Decoder:
        p = learnt.parameters
        layers = [Layer(p[f"{k}.weight"], p[f"{k}.shift"], False) for k in ("out", "outer", "last")]
        spread = host(self.sigma({"sigma": self.torch.tensor(p["sigma"])})).astype(np.float32)
        return Decoder(self.data.layout, self.how.latent, tuple(layers[:-1]), layers[-1], spread, learnt)
