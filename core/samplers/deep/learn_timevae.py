"""How TimeVAE is learnt: a window through an encoder of convolutions to a latent vector and back. Desai et al. 2021, arXiv:2111.08095. Needs torch, `populace[deep]`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...stream import Stream
from ...tables import Table
from ..statistical.learn_events import Roles
from .engine import begin_layers, deterministic, host, torch_or_error
from .learnt import FREELY, Effort
from .ops import dense, halved, torch_ops
from .series import SeriesSampler
from .timevae import POWERS, WAVES, decode
from .training import Descent, train
from .transfer import Maps, continued, layout_before
from .windows import Segments, cut, held_apart, root, roots

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
    steps, width = windows.steps, windows.layout.width
    whole = 4 * -(-steps // 4)
    ops, segments = torch_ops(torch), Segments.of(torch, windows.layout)
    with deterministic(torch, stream.child("network")) as generator:
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
        begun = begin_layers(torch, generator, shapes) | {"log_sigma": torch.full((len(windows.layout.scaled),), -2.3)}

        def maps(old: SeriesSampler) -> Maps:
            moved, scaled = layout_before(old.layout, windows.layout)
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

        def encode(p: Mapping[str, Any], classes: Any, places: Any) -> tuple[Any, Any]:
            x = segments.vectors(torch, classes, places)
            x = torch.nn.functional.pad(x, (0, 0, 0, whole - steps))
            x = ops.relu(halved(p, "half.1", ops.relu(halved(p, "half.0", x)))).flatten(1)
            return dense(p, "middle", x), dense(p, "log_spread", x)

        def loss(p: dict[str, Any], rows: tuple[Any, ...], noise: tuple[Any, ...]) -> Any:
            classes, places = rows
            mean, log_spread = encode(p, classes, places)
            out = decode(ops, p, mean + torch.exp(log_spread / 2) * noise[0], steps)
            divergence = -0.5 * (1 + log_spread - mean**2 - torch.exp(log_spread)).sum(1)
            sigma = 0.01 + torch.exp(p["log_sigma"].clamp(-6, 0))
            apart = (places - torch.tanh(out[..., segments.end :])) ** 2 / (2 * sigma**2) + torch.log(sigma)
            found = segments.cross_entropy(torch, out, classes).sum((1, 2)) + apart.sum((1, 2))
            return WEIGHT * found + divergence

        rows, held = held_apart(torch, windows, stream)
        learner = Descent(
            torch,
            generator,
            continued(torch, begun, effort, maps),
            loss,
            lambda count, learning: (torch.randn(count, LATENT, generator=generator),),
            rows,
            held,
            BATCH,
            RATE,
            EPOCHS,
            work=float(steps * (2 * width * HIDDEN + HIDDEN * HIDDEN + 4 * SMALL * width)),
            steps=-(-LEAST_STEPS // EPOCHS),
            patience=25,
        )
        learnt = train(torch, generator, learner, effort, "timevae")
        # neither are latent vectors standard normal nor is what is left white: how they lie is learnt from what windows came to
        found = {k: torch.tensor(v) for k, v in learnt.parameters.items()}
        at = torch.randperm(len(rows[0]), generator=generator)[:LOOKED_AT]
        with torch.no_grad():
            mean, log_spread = encode(found, rows[0][at], rows[1][at])
            z = mean + torch.exp(log_spread / 2) * torch.randn(mean.shape, generator=generator)
            out = decode(ops, found, z, steps)
            left = host(rows[1][at] - torch.tanh(out[..., segments.end :]))
    drawing = ("out.", "double.", "each.", "trend.", "season.")
    parameters = {k: v for k, v in learnt.parameters.items() if k.startswith(drawing)}
    parameters |= _kinds(host(z), stream.child("kinds")) | {"left.root": roots(left)}
    return windows.sampler("timevae", {"steps": steps, "latent": LATENT, "end": segments.end}, parameters, learnt)


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
