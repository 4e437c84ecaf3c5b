"""How DoppelGANger is learnt: a critic of whole series and one of attributes alone, by the Wasserstein distance with a gradient penalty.

Lin et al. 2020, IMC, arXiv:1909.13403, section 4; Gulrajani et al. 2017, arXiv:1704.00028. Needs torch, `populace[deep]`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any

import numpy as np

from ...errors import UserError
from ...privacy.budget import Budget
from ...stream import Stream
from ...tables import Table
from ..statistical.learn_events import Roles
from .adam import Adam
from .doppelganger import attributes, course
from .engine import begin_layers, deterministic, torch_or_error
from .learnt import FREELY, Effort, Learnt
from .ops import begin_recurrent, dense, torch_ops
from .private_fit import JUDGED, Extents, NoisySteps, all_spent, paid_steps
from .private_fit import RATE as PRIVATE_RATE
from .private_series import buy_series, windows_of
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
GENERATOR, CRITICS = ("whole.", "steps."), ("judge.", "beside.")
"""What their parameters' names begin with."""


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
        return learner.sampler(train(torch, generator, learner, effort, "doppelganger"))


def fit_private_doppelganger(
    table: Table, noise: Stream, budget: Budget, extents: Extents, roles: Roles
) -> tuple[SeriesSampler, float]:
    """Windows under differential privacy: the critics learn by noisy steps, and the generator sees series through them alone. What never changes is not looked for. Returns it and about
    how many entities there were."""
    torch = torch_or_error("doppelganger")
    paid = buy_series("doppelganger", table, roles, noise, budget, extents)
    bought = paid.bought
    with deterministic(torch, noise.child("network")) as generator:
        learner = _Doppelganger(torch, generator, windows_of(paid), FREELY, told=False)
        critics = {k: t for k, t in learner.parameters.items() if k.startswith(CRITICS)}
        noisy = NoisySteps(
            torch, bought.secret, critics, learner.criticism, learner.real, learner.criticism_noise,
            bought.share, bought.multiplier, bought.share * bought.rows,
        )  # fmt: skip
        learner.optimisers[1].rate = PRIVATE_RATE
        for k in paid_steps(torch, learner, noisy, bought.steps):
            noisy.step()
            learner.optimisers[1].step()
            if k % JUDGED == JUDGED - 1:
                learner.make_better(BATCH)
        return learner.sampler(all_spent(learner.parameters)), bought.rows


class _Doppelganger:
    epochs: int = EPOCHS
    patience: int | None = None

    def __init__(self, torch: Any, generator: Any, windows: Windows, effort: Effort, told: bool = True) -> None:
        """`told`: whether windows may be read for what they have in common, how long they are and what never changes."""
        self.torch, self.generator, self.ops, self.windows = torch, generator, torch_ops(torch), windows
        layout = windows.layout
        self.segments, self.scaled = Segments.of(torch, layout), len(layout.scaled)
        self.steps = windows.steps
        self.batch_steps = max(1, -(-windows.steps // TURNS))
        # a column of classes that no series changes is an attribute
        constant = [
            told
            and layout.scales[n] is None
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
        groups = (GENERATOR, CRITICS)
        self.optimisers = [
            Adam(torch, [t for k, t in self.parameters.items() if k.startswith(g)], LEARNING, moments=MOMENTS)
            for g in groups
        ]
        # the end is likely where series end, from the beginning
        mean = float(windows.there.sum(axis=1).mean()) if told else float(self.steps)
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

    def judge(self, p: Mapping[str, Any], name: str, x: Any) -> Any:
        layers = {"judge": 3, "beside": 2}[name]
        for k in range(layers - 1):
            x = self.torch.nn.functional.leaky_relu(dense(p, f"{name}.{k}", x), 0.2)
        return dense(p, f"{name}.{layers - 1}", x)

    def _score(self, p: Mapping[str, Any], name: str, x: Any) -> Any:
        return self.judge(p, name, x).sum()

    def epoch(self, share: float, length: float) -> Iterator[float]:
        torch = self.torch
        count = min(BATCH, len(self.real[0]))
        for _ in range(STEPS):
            at = torch.randint(len(self.real[0]), (count,), generator=self.generator)
            with torch.no_grad():
                made = self.made(count)
            parts = zip(self.judged_of(self.real[0][at], self.real[1][at]), self.judged_of(*made), strict=True)
            loss = torch.stack([w * self._apart(name, real, fake) for (name, w, real), (*_, fake) in parts]).sum()
            self._down(1, loss)
            self.make_better(count)
            yield loss.item()

    def judged_of(self, attribute: Any, steps: Any) -> tuple[tuple[str, float, Any], ...]:
        """What each critic sees of series, and what it counts for."""
        whole = self.torch.cat([attribute, steps.flatten(1)], dim=1)
        return ("beside", AUXILIARY, attribute), ("judge", 1.0, whole)

    def make_better(self, count: int) -> None:
        parts = self.judged_of(*self.made(count))
        self._down(0, -sum(weight * self.judge(self.parameters, name, x).mean() for name, weight, x in parts))

    def _apart(self, name: str, real: Any, fake: Any) -> Any:
        torch, p = self.torch, self.parameters
        share = torch.rand(len(real), 1, generator=self.generator)
        between = (share * real + (1 - share) * fake).requires_grad_()
        slope = torch.autograd.grad(self.judge(p, name, between).sum(), between, create_graph=True)[0]
        steep = ((slope.norm(dim=1) - 1) ** 2).mean()
        return self.judge(p, name, fake).mean() - self.judge(p, name, real).mean() + PENALTY * steep

    def criticism_noise(self, count: int, learning: bool) -> tuple[Any, ...]:
        """For each real series of a noisy step a made one, and how far between the two slopes are taken."""
        with self.torch.no_grad():
            attribute, steps = self.made(max(count, 1))
        return attribute[:count], steps[:count], self.torch.rand(count, 2, generator=self.generator)

    def criticism(self, p: dict[str, Any], row: tuple[Any, ...], noise: tuple[Any, ...]) -> Any:
        """The critics' loss of one real series and one made, with gradient penalties."""
        torch, found = self.torch, 0.0
        parts = zip(self.judged_of(*row), self.judged_of(*noise[:2]), noise[2][0], strict=True)
        for (name, weight, real), (*_, fake), share in parts:
            slope = torch.func.grad(partial(self._score, p, name))(share * real + (1 - share) * fake)
            steep = (torch.sqrt((slope**2).sum() + 1e-12) - 1) ** 2
            apart = self._score(p, name, fake) - self._score(p, name, real)
            found = found + weight * (apart + PENALTY * steep)
        return found

    def _down(self, which: int, loss: Any) -> None:
        for optimiser in self.optimisers:
            optimiser.zero_grad()
        loss.backward()
        self.optimisers[which].step()

    def judged(self) -> float:
        return float("nan")

    def sampler(self, learnt: Learnt) -> SeriesSampler:
        drawing = {k: v for k, v in learnt.parameters.items() if k.startswith(GENERATOR)}
        drawing |= {
            "sizes": np.array(self.sizes),
            "free": np.array(self.free),
            "attribute_places": np.array(self.places_of),
        }
        settings = {
            "steps": self.steps,
            "batch": self.batch_steps,
            "noise": NOISE,
            "classes": sum(self.sizes),
            "places": self.scaled,
            "end": self.segments.end,
        }
        return self.windows.sampler("doppelganger", settings, drawing, learnt)

    def seconds(self) -> float:
        flat = self.real[1][0].numel() + self.real[0].shape[1]
        work = 12 * flat * HIDDEN + 3 * TURNS * 4 * MEMORY * (
            MEMORY + self.real[0].shape[1] + self.batch_steps * self.real[1].shape[2]
        )
        return STEPS * (4 * OVERHEAD + work * BATCH / RATE)
