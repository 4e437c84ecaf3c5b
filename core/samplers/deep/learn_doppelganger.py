"""How DoppelGANger is learnt: a critic of whole series and one of attributes alone, by the Wasserstein distance with a gradient penalty.

Lin et al. 2020, IMC, arXiv:1909.13403, section 4; Gulrajani et al. 2017, arXiv:1704.00028. Needs torch, `populace[deep]`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from ...errors import UserError
from ...stream import Stream
from ...tables import Table
from ..statistical.learn_events import Roles
from .adam import Adam
from .doppelganger import attributes, course
from .engine import begin_layers, deterministic, torch_or_error
from .learnt import FREELY, Effort
from .ops import begin_recurrent, dense, torch_ops
from .series import SeriesSampler
from .training import OVERHEAD, RATE, train
from .transfer import continued
from .windows import Segments, Windows, cut

NOISE, HIDDEN, MEMORY = 16, 128, 64
BATCH, EPOCHS, STEPS = 64, 60, 40
"""Series of a step, passes, and steps of a pass."""
LEARNING, MOMENTS, PENALTY = 5e-4, (0.5, 0.9), 10.0
AUXILIARY = 1.0
"""What the critic of attributes counts for."""
TURNS = 40
"""Batches of steps in a series at most: how many steps are drawn at once follows."""
LONGEST = 1_000
TEMPERATURE = 0.3


def fit_doppelganger(table: Table, stream: Stream, roles: Roles, effort: Effort = FREELY) -> SeriesSampler:
    """Learn whole series of entities. A table of one series is learnt in windows. Raises UserError without torch, or for a table that holds no series, or
    longer ones than `LONGEST` steps."""
    torch = torch_or_error("doppelganger")
    windows = cut(table, roles, None if roles.entity else 24)
    if windows.steps > LONGEST:
        raise UserError(
            f"'doppelganger' learns whole series, and one has {windows.steps:,} rows, more than {LONGEST:,}: cut them, or fit timevae"
        )
    with deterministic(torch, stream.child("network")) as generator:
        learner = _Doppelganger(torch, generator, windows, effort)
        learnt = train(torch, generator, learner, effort, "doppelganger")
    drawing = {k: v for k, v in learnt.parameters.items() if k.startswith(("whole.", "steps."))}
    drawing |= {
        "sizes": np.array(learner.sizes),
        "free": np.array(learner.free),
        "attribute_places": np.array(learner.places_of),
    }
    settings = {
        "steps": windows.steps,
        "batch": learner.batch_steps,
        "noise": NOISE,
        "classes": sum(learner.sizes),
        "places": learner.scaled,
        "end": learner.segments.end,
    }
    return windows.sampler("doppelganger", settings, drawing, learnt)


class _Doppelganger:
    epochs: int = EPOCHS
    patience: int | None = None

    def __init__(self, torch: Any, generator: Any, windows: Windows, effort: Effort) -> None:
        self.torch, self.generator, self.ops = torch, generator, torch_ops(torch)
        layout = windows.layout
        self.segments, self.scaled = Segments.of(torch, layout), len(layout.scaled)
        self.steps = windows.steps
        self.batch_steps = max(1, -(-windows.steps // TURNS))
        # a column of classes that no series changes is an attribute
        constant = [
            layout.scales[n] is None
            and layout.sizes[n] > 1
            and bool((windows.classes[:, :, n] == windows.classes[:, :1, n]).all())
            for n in range(len(layout.sizes))
        ]
        own = [n for n, c in enumerate(constant) if c]
        self.sizes = [layout.sizes[n] for n in own]
        self.places_of = [int(layout.offsets[n]) for n in own]
        fixed = {k for n in own for k in range(int(layout.offsets[n]), int(layout.offsets[n + 1]))}
        self.free = [k for k in range(self.segments.end) if k not in fixed]
        self.free_columns = [n for n, c in enumerate(constant) if not c]
        self.real = self._real(windows, own)
        whole, values = sum(self.sizes) + 2 * self.scaled, len(self.free) + self.scaled
        flat = whole + self.steps * (values + 1)
        shapes = {
            "whole.0": (NOISE, HIDDEN),
            "whole.1": (HIDDEN, HIDDEN),
            "whole.2": (HIDDEN, whole),
            "steps.out": (MEMORY, self.batch_steps * (values + 1)),
            "judge.0": (flat, HIDDEN),
            "judge.1": (HIDDEN, HIDDEN),
            "judge.2": (HIDDEN, 1),
            "beside.0": (whole, HIDDEN),
            "beside.1": (HIDDEN, 1),
        }
        parts = begin_layers(torch, generator, shapes) | begin_recurrent(
            torch, generator, "steps.lstm", whole + NOISE, MEMORY, 4
        )
        self.parameters = continued(torch, parts, effort, lambda old: {})
        self.averages: dict[str, Any] = {}
        for t in self.parameters.values():
            t.requires_grad_()
        groups = (("whole.", "steps."), ("judge.", "beside."))
        self.optimisers = [
            Adam(torch, [t for k, t in self.parameters.items() if k.startswith(g)], LEARNING, moments=MOMENTS)
            for g in groups
        ]
        # the end is likely where series end, from the beginning
        mean = float(windows.there.sum(axis=1).mean())
        if effort.start is None:
            with torch.no_grad():
                shift = self.parameters["steps.out.shift"].view(self.batch_steps, values + 1)
                shift[:, -1] = float(np.log(max(mean - 1, 1)))

    def _real(self, windows: Windows, own: list[int]) -> tuple[Any, Any]:
        """Attributes and steps of real series, as the critics see them."""
        torch, layout, there = self.torch, windows.layout, windows.there[:, :, None]
        high = np.where(there, windows.places, -np.inf).max(axis=1)
        low = np.where(there, windows.places, np.inf).min(axis=1)
        middle, half = (high + low) / 2, np.maximum((high - low) / 2, 1e-3)
        scaled = np.clip((windows.places - middle[:, None]) / half[:, None], -1, 1) * there
        hot = np.zeros((*windows.classes.shape[:2], self.segments.end), np.float32)
        np.put_along_axis(hot, windows.classes, 1.0, axis=2)
        whole = [hot[:, 0, int(layout.offsets[n]) : int(layout.offsets[n + 1])] for n in own]
        on = windows.there[:, 1:].astype(np.float32)
        on = np.concatenate([on, np.zeros_like(on[:, :1])], axis=1)
        steps = np.concatenate([hot[:, :, self.free] * there, scaled, on[:, :, None]], axis=2)
        attribute = np.concatenate([*whole, middle, half], axis=1)
        return torch.tensor(attribute.astype(np.float32)), torch.tensor(steps.astype(np.float32))

    def made(self, count: int) -> tuple[Any, Any]:
        """Attributes and steps of drawn series, as the critics see them."""
        torch, p, g = self.torch, self.parameters, self.generator
        out = attributes(self.ops, p, torch.randn(count, NOISE, generator=g))
        parts, begin = [], 0
        for size in self.sizes:
            parts.append(self._gumbel(out[:, begin : begin + size]))
            begin += size
        middle, half = torch.tanh(out[:, begin : begin + self.scaled]), torch.sigmoid(out[:, begin + self.scaled :])
        attribute = torch.cat([*parts, middle, half], dim=1)
        batches = -(-self.steps // self.batch_steps)
        raw = course(self.ops, p, attribute, torch.randn(count, batches, NOISE, generator=g), self.batch_steps)[
            :, : self.steps
        ]
        values, begin = [], 0
        for n in self.free_columns:
            size = self.segments.sizes[n]
            values.append(self._gumbel(raw[..., begin : begin + size]))
            begin += size
        on = torch.sigmoid(raw[..., -1:])
        # a step is there if the series went on at each one before
        there = torch.cumprod(
            torch.cat(
                [torch.ones_like(on[:, :1]), (on[:, :-1] > torch.rand(on[:, :-1].shape, generator=g)).float()], dim=1
            ),
            dim=1,
        )
        steps = torch.cat([*values, torch.tanh(raw[..., begin:-1])], dim=2) * there
        return attribute, torch.cat([steps, on * there], dim=2)

    def _gumbel(self, scores: Any) -> Any:
        torch = self.torch
        u = torch.rand(scores.shape, generator=self.generator).clamp(1e-9, 1 - 1e-7)
        return torch.softmax((scores - torch.log(-torch.log(u))) / TEMPERATURE, dim=-1)

    def judge(self, name: str, x: Any, layers: int) -> Any:
        for k in range(layers - 1):
            x = self.torch.nn.functional.leaky_relu(dense(self.parameters, f"{name}.{k}", x), 0.2)
        return dense(self.parameters, f"{name}.{layers - 1}", x)

    def epoch(self, share: float, length: float) -> Iterator[float]:
        torch = self.torch
        count = min(BATCH, len(self.real[0]))
        for _ in range(STEPS):
            at = torch.randint(len(self.real[0]), (count,), generator=self.generator)
            with torch.no_grad():
                attribute, steps = self.made(count)
            loss = AUXILIARY * self._apart("beside", 2, self.real[0][at], attribute)
            real, fake = (
                torch.cat([a, s.flatten(1)], dim=1)
                for a, s in ((self.real[0][at], self.real[1][at]), (attribute, steps))
            )
            loss = loss + self._apart("judge", 3, real, fake)
            self._down(1, loss)
            attribute, steps = self.made(count)
            whole = torch.cat([attribute, steps.flatten(1)], dim=1)
            self._down(0, -self.judge("judge", whole, 3).mean() - AUXILIARY * self.judge("beside", attribute, 2).mean())
            yield loss.item()

    def _apart(self, name: str, layers: int, real: Any, fake: Any) -> Any:
        torch = self.torch
        share = torch.rand(len(real), 1, generator=self.generator)
        between = (share * real + (1 - share) * fake).requires_grad_()
        slope = torch.autograd.grad(self.judge(name, between, layers).sum(), between, create_graph=True)[0]
        steep = ((slope.norm(dim=1) - 1) ** 2).mean()
        return self.judge(name, fake, layers).mean() - self.judge(name, real, layers).mean() + PENALTY * steep

    def _down(self, which: int, loss: Any) -> None:
        for optimiser in self.optimisers:
            optimiser.zero_grad()
        loss.backward()
        self.optimisers[which].step()

    def judged(self) -> float:
        return float("nan")

    def seconds(self) -> float:
        flat = self.real[1][0].numel() + self.real[0].shape[1]
        work = 12 * flat * HIDDEN + 3 * TURNS * 4 * MEMORY * (
            MEMORY + self.real[0].shape[1] + self.batch_steps * self.real[1].shape[2]
        )
        return STEPS * (4 * OVERHEAD + work * BATCH / RATE)
