"""How the diffusion model for series is learnt: windows are noised to a time that chance names, and the network says what they were. Needs torch, `populace[deep]`."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...stream import Stream
from ...tables import Table
from ..statistical.learn_events import Roles
from .diffusion import CLOCK
from .engine import begin_layers, deterministic, torch_or_error
from .learnt import FREELY, Effort
from .ops import torch_ops
from .series import SeriesSampler
from .series_diffusion import APART, origin
from .training import Descent, train
from .transfer import Maps, continued, layout_before
from .windows import Segments, cut, roots

HIDDEN = 64
BATCH, RATE, EPOCHS, LEAST_STEPS = 128, 2e-3, 200, 3_000
LEAST = 1e-3
"""Of the largest standard deviation of a number's steps together, the least that is taken for more than rounding."""


def fit_series_diffusion(table: Table, stream: Stream, roles: Roles, effort: Effort = FREELY) -> SeriesSampler:
    """Learn series of entities in windows. Raises UserError without torch, or for a table that holds no series."""
    torch = torch_or_error("series-diffusion")
    windows = cut(table, roles)
    steps, width = windows.steps, windows.layout.width
    ops, segments = torch_ops(torch), Segments.of(torch, windows.layout)
    # the loss weighs all axes alike: unwhitened, the fine course of a smooth series would be less than the noise that is left in the last step
    middle = windows.places.mean(axis=0)
    whitenings = [_whitening(r) for r in roots(windows.places)]
    white = windows.places - middle
    for k, (_, inverse) in enumerate(whitenings):
        white[:, :, k] = white[:, :, k] @ inverse
    spread = np.array([r for r, _ in whitenings], np.float32).reshape(-1, steps, steps)
    with deterministic(torch, stream.child("network")) as generator:
        shapes = {
            "in": (width, HIDDEN),
            "clock": (2 * CLOCK, HIDDEN),
            "place": (2 * CLOCK, HIDDEN),
            "out": (HIDDEN, width),
        }
        for k in range(len(APART)):
            shapes |= {f"block.{k}": (3 * HIDDEN, HIDDEN), f"back.{k}": (HIDDEN, HIDDEN)}

        def maps(old: SeriesSampler) -> Maps:
            moved, _ = layout_before(old.layout, windows.layout)
            return {"in.weight": (moved, None), "out.weight": (None, moved), "out.shift": (moved,)}

        def noise(count: int, learning: bool) -> tuple[Any, ...]:
            return torch.rand(count, generator=generator), torch.randn(count, steps, width, generator=generator)

        def loss(p: dict[str, Any], rows: tuple[Any, ...], drawn: tuple[Any, ...]) -> Any:
            whole = segments.vectors(torch, *rows)
            target = torch.cat([2 * whole[..., : segments.end] - 1, whole[..., segments.end :]], dim=2)
            time, fresh = drawn
            own = torch.cos((time + 0.008) / 1.008 * np.pi / 2)[:, None, None].square().clamp(1e-5, 1.0)
            angle = time[:, None] * np.pi * 2.0 ** torch.arange(CLOCK)
            clock = torch.cat([torch.sin(angle), torch.cos(angle)], dim=1)
            made = origin(ops, p, own.sqrt() * target + (1 - own).sqrt() * fresh, clock)
            # the weight of the simple loss on the noise, held down where hardly any noise is left (Hang et al. 2023, arXiv:2303.09556)
            weight = (own / (1 - own)).clamp(max=5.0)[:, 0, 0]
            return weight * ((made - target) ** 2).mean((1, 2))

        learner = Descent(
            torch,
            generator,
            continued(torch, begin_layers(torch, generator, shapes), effort, maps),
            loss,
            noise,
            (torch.tensor(windows.classes), torch.tensor(white)),
            None,
            BATCH,
            RATE,
            EPOCHS,
            work=float(steps * (2 * width * HIDDEN + 4 * len(APART) * HIDDEN * HIDDEN)),
            steps=-(-LEAST_STEPS // EPOCHS),
        )
        learnt = train(torch, generator, learner, effort, "series-diffusion")
    parameters = {**learnt.parameters, "white.middle": middle, "white.root": spread}
    return windows.sampler("series-diffusion", {"steps": steps, "end": segments.end}, parameters, learnt)


def _whitening(covariance_root: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """A symmetric root whose least axes are widened, and its inverse."""
    size, axis = np.linalg.eigh(covariance_root.astype(float))
    size = np.maximum(size, max(LEAST * size[-1], 1e-9))
    return (axis * size @ axis.T).astype(np.float32), (axis / size @ axis.T).astype(np.float32)
