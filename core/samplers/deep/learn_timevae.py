"""How TimeVAE is learnt: a window through an encoder of convolutions to a latent vector and back. Desai et al. 2021, arXiv:2111.08095. Needs torch, `populace[deep]`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...privacy.budget import Budget
from ...stream import Stream
from ...tables import Table
from ..statistical.learn_events import Roles
from .engine import begin_layers, deterministic, host, torch_or_error
from .learnt import FREELY, Effort, Learnt
from .ops import dense, halved, torch_ops
from .private_fit import Extents
from .private_series import fit_series_privately
from .series import SeriesSampler
from .timevae import POWERS, WAVES, decode
from .training import Descent, train
from .transfer import Maps, continued, layout_before
from .windows import Segments, Windows, cut, held_apart, root, roots, tensors

LATENT, HIDDEN, SMALL = 16, 128, 16
WEIGHT = 3.0
"""What a nat of the reconstruction counts for: as the paper weighs it, more than one of the divergence."""
BATCH, RATE, EPOCHS, LEAST_STEPS = 128, 2e-3, 200, 3_000
KINDS = 20
"""Normal distributions that latent vectors are a mixture of, at most, and one for each hundred windows."""
LOOKED_AT = 10_000
"""Windows at most that say how latent vectors and what is left lie."""


def fit_timevae(table: Table, stream: Stream, roles: Roles, effort: Effort = FREELY) -> SeriesSampler:
    """Learn series of entities in windows. Raises UserError without torch, or for a table that holds no series."""
    torch = torch_or_error("timevae")
    windows = cut(table, roles)
    with deterministic(torch, stream.child("network")) as generator:
        net = _Network(torch, generator, windows)
        rows, held = held_apart(torch, windows, stream)
        learnt = train(torch, generator, net.learner(effort, rows, held), effort, "timevae")
        # neither are latent vectors standard normal nor is what is left white: how they lie is learnt from what windows came to
        found = {k: torch.tensor(v) for k, v in learnt.parameters.items()}
        at = torch.randperm(len(rows[0]), generator=generator)[:LOOKED_AT]
        with torch.no_grad():
            mean, log_spread = net.encode(found, rows[0][at], rows[1][at])
            z = mean + torch.exp(log_spread / 2) * torch.randn(mean.shape, generator=generator)
            out = decode(net.ops, found, z, windows.steps)
            left = host(rows[1][at] - torch.tanh(out[..., net.segments.end :]))
    return net.sampler(learnt, _kinds(host(z), stream.child("kinds")) | {"left.root": roots(left)})


def fit_private_timevae(
    table: Table, noise: Stream, budget: Budget, extents: Extents, roles: Roles
) -> tuple[SeriesSampler, float]:
    """The same under differential privacy, by noisy steps: latent vectors are drawn as they were held to, and what is left as wide as was learnt. Returns it and about how many entities there were."""
    torch = torch_or_error("timevae")

    def begin(generator: Any, windows: Windows) -> tuple[Descent, Any]:
        net = _Network(torch, generator, windows)

        def made(learnt: Learnt) -> SeriesSampler:
            lie = {"z.until": np.ones(1), "z.middle": np.zeros((1, LATENT)), "z.root": np.eye(LATENT)[None]}
            wide = sigma(learnt.parameters["log_sigma"].clip(-6, 0), np.exp)
            return net.sampler(learnt, lie | {"left.root": wide[:, None, None] * np.eye(windows.steps)})

        return net.learner(FREELY, tensors(torch, windows), None), made

    return fit_series_privately(torch, "timevae", table, noise, budget, extents, roles, begin)


def sigma(log_sigma: Any, exp: Any) -> Any:
    """How far numbers are from what is decoded, on average."""
    return 0.01 + exp(log_sigma)


class _Network:
    def __init__(self, torch: Any, generator: Any, windows: Windows) -> None:
        self.torch, self.generator, self.windows = torch, generator, windows
        self.ops, self.segments = torch_ops(torch), Segments.of(torch, windows.layout)
        self.whole = 4 * -(-windows.steps // 4)

    def begun(self) -> dict[str, Any]:
        width, whole = self.windows.layout.width, self.whole
        shapes = {
            "half.0": (2 * width, HIDDEN),
            "half.1": (2 * HIDDEN, HIDDEN),
            "middle": (HIDDEN * whole // 4, LATENT),
            "log_spread": (HIDDEN * whole // 4, LATENT),
            "out": (LATENT, SMALL * 4 * whole // 4),
            "double.0": (SMALL * 4, SMALL * 4),
            "double.1": (SMALL * 2, SMALL * 8),
            "each": (SMALL * 4, width),
            "trend.0": (LATENT, SMALL * 2),
            "trend.1": (SMALL * 2, width * POWERS),
            "season.0": (LATENT, SMALL * 2),
            "season.1": (SMALL * 2, width * 2 * WAVES),
        }
        wide = self.torch.full((len(self.windows.layout.scaled),), -2.3)
        return begin_layers(self.torch, self.generator, shapes) | {"log_sigma": wide}

    def maps(self, old: SeriesSampler) -> Maps:
        moved, scaled = layout_before(old.layout, self.windows.layout)
        twice = np.concatenate((moved, np.where(moved >= 0, moved + old.layout.width, -1)))

        def spread(size: int) -> Any:
            return np.where(moved[:, None] >= 0, moved[:, None] * size + np.arange(size), -1).ravel()

        return {
            "half.0.weight": (twice, None),
            "each.weight": (None, moved),
            "each.shift": (moved,),
            "trend.1.weight": (None, spread(POWERS)),
            "trend.1.shift": (spread(POWERS),),
            "season.1.weight": (None, spread(2 * WAVES)),
            "season.1.shift": (spread(2 * WAVES),),
            "log_sigma": (scaled,),
        }

    def encode(self, p: Mapping[str, Any], classes: Any, places: Any) -> tuple[Any, Any]:
        relu, torch = self.ops.relu, self.torch
        x = self.segments.vectors(torch, classes, places)
        x = torch.nn.functional.pad(x, (0, 0, 0, self.whole - self.windows.steps))
        x = relu(halved(p, "half.1", relu(halved(p, "half.0", x)))).flatten(1)
        return dense(p, "middle", x), dense(p, "log_spread", x)

    def loss(self, p: dict[str, Any], rows: tuple[Any, ...], noise: tuple[Any, ...]) -> Any:
        torch, (classes, places) = self.torch, rows
        mean, log_spread = self.encode(p, classes, places)
        out = decode(self.ops, p, mean + torch.exp(log_spread / 2) * noise[0], self.windows.steps)
        divergence = -0.5 * (1 + log_spread - mean**2 - torch.exp(log_spread)).sum(1)
        wide = sigma(p["log_sigma"].clamp(-6, 0), torch.exp)
        apart = (places - torch.tanh(out[..., self.segments.end :])) ** 2 / (2 * wide**2) + torch.log(wide)
        found = self.segments.cross_entropy(torch, out, classes).sum((1, 2)) + apart.sum((1, 2))
        return WEIGHT * found + divergence

    def learner(self, effort: Effort, rows: tuple[Any, ...], held: tuple[Any, ...] | None) -> Descent:
        steps, width = self.windows.steps, self.windows.layout.width
        return Descent(
            self.torch,
            self.generator,
            continued(self.torch, self.begun(), effort, self.maps),
            self.loss,
            lambda count, learning: (self.torch.randn(count, LATENT, generator=self.generator),),
            rows,
            held,
            BATCH,
            RATE,
            EPOCHS,
            work=float(steps * (2 * width * HIDDEN + HIDDEN * HIDDEN + 4 * SMALL * width)),
            steps=-(-LEAST_STEPS // EPOCHS),
            patience=25,
        )

    def sampler(self, learnt: Learnt, lie: Mapping[str, Any]) -> SeriesSampler:
        """`lie`: how latent vectors and what is left lie, see `draw_timevae`."""
        drawing = ("out.", "double.", "each.", "trend.", "season.")
        parameters = {k: v for k, v in learnt.parameters.items() if k.startswith(drawing)} | dict(lie)
        settings = {"steps": self.windows.steps, "latent": LATENT, "end": self.segments.end}
        return self.windows.sampler("timevae", settings, parameters, learnt)


def _kinds(z: NDArray[np.float32], stream: Stream) -> dict[str, NDArray[np.float32]]:
    """How latent vectors lie: the share of windows up to each of the normal distributions, their means and the roots of their covariances."""
    from sklearn.mixture import GaussianMixture

    kinds = min(KINDS, len(z) // 100)
    if kinds < 2:
        return {"z.until": np.ones(1, np.float32), "z.middle": z.mean(axis=0)[None], "z.root": root(z)[None]}
    seed = int(stream.bits(np.zeros(1, np.int64))[0] >> 33)
    mixture: Any = GaussianMixture(kinds, tol=1e-2, reg_covar=1e-4, random_state=seed).fit(z.astype(float))
    size, axis = np.linalg.eigh(mixture.covariances_)
    spread = (axis * np.sqrt(np.maximum(size, 0.0))[:, None]) @ axis.swapaxes(1, 2)
    found = {"z.until": np.cumsum(mixture.weights_), "z.middle": mixture.means_, "z.root": spread}
    return {k: v.astype(np.float32) for k, v in found.items()}
