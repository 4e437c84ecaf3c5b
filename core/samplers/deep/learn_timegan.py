"""How TimeGAN is learnt: first to map windows and back, then how hidden steps follow one another, then all together against a critic.

Yoon, Jarrett and van der Schaar 2019, NeurIPS, sections 4 and 5, whose weights of losses are kept. Needs torch, `populace[deep]`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from ...privacy.budget import Budget
from ...stream import Stream
from ...tables import Table
from ..statistical.learn_events import Roles
from .adam import Adam
from .engine import begin_layers, deterministic, torch_or_error
from .learnt import FREELY, Effort, Learnt
from .ops import begin_recurrent, dense, gru, torch_ops
from .private_fit import Extents, NoisySteps, all_spent, paid_steps
from .private_series import buy_series, windows_of
from .series import SeriesSampler
from .timegan import hidden, recover
from .training import OVERHEAD, RATE, train
from .transfer import Maps, continued, layout_before
from .windows import Segments, Windows, cut, tensors

HIDDEN, NOISE = 32, 16
BATCH, EPOCHS, STEPS = 128, 60, 50
"""Rows of a step, passes, and steps of a pass."""
LEARNING = 1e-3
SURE = 0.15
"""The critic learns only while its loss is above."""
PARTS = (0.25, 0.4)
"""Until when windows are mapped, and steps foretold, as parts of the course; the rest is for all together."""
TEMPERATURE = 0.3
GROUPS = (("embed.", "recover."), ("generate.", "supervise."), ("judge.", "back."))
"""What the names of parameters that learn together begin with."""


def fit_timegan(table: Table, stream: Stream, roles: Roles, effort: Effort = FREELY) -> SeriesSampler:
    """Learn series of entities in windows. Raises UserError without torch, or for a table that holds no series."""
    torch = torch_or_error("timegan")
    windows = cut(table, roles)
    with deterministic(torch, stream.child("network")) as generator:
        learner = _TimeGan(torch, generator, windows, effort)
        return learner.sampler(train(torch, generator, learner, effort, "timegan"))


def fit_private_timegan(
    table: Table, noise: Stream, budget: Budget, extents: Extents, roles: Roles
) -> tuple[SeriesSampler, float]:
    """The same under differential privacy: maps, supervisor and critic learn by noisy steps, one after another; the generator learns from the critic alone, without the moments of real windows. Returns
    it and about how many entities there were."""
    torch = torch_or_error("timegan")
    paid = buy_series("timegan", table, roles, noise, budget, extents)
    bought = paid.bought
    with deterministic(torch, noise.child("network")) as generator:
        learner = _TimeGan(torch, generator, windows_of(paid), FREELY, fused=False)
        noisy = NoisySteps(
            torch, bought.secret, {}, learner.mapping_of, (learner.classes, learner.places), learner.criticism_noise,
            bought.share, bought.multiplier, bought.share * bought.rows,
        )  # fmt: skip
        losses = (learner.mapping_of, learner.following_of, learner.criticism)
        for k in paid_steps(torch, learner, noisy, bought.steps):
            which = int(np.searchsorted(PARTS, k / bought.steps, side="right"))
            noisy.parameters = {n: t for n, t in learner.parameters.items() if n.startswith(GROUPS[which])}
            # the supervisor alone: the generator sees no rows
            if which == 1:
                noisy.parameters = {n: t for n, t in noisy.parameters.items() if n.startswith("supervise.")}
            noisy.loss = losses[which]
            learner.forget()
            noisy.step()
            learner.optimisers[which].step()
            if which == 2:
                learner.make_better(BATCH)
        return learner.sampler(all_spent(learner.parameters)), bought.rows


class _TimeGan:
    epochs: int = EPOCHS
    patience: int | None = None

    def __init__(self, torch: Any, generator: Any, windows: Windows, effort: Effort, fused: bool = True) -> None:
        self.torch, self.generator, self.windows = torch, generator, windows
        self.ops, self.segments, width = (
            torch_ops(torch, fused),
            Segments.of(torch, windows.layout),
            windows.layout.width,
        )
        self.classes, self.places = tensors(torch, windows)
        inputs = {
            "embed": width,
            "generate": NOISE,
            "supervise": HIDDEN,
            "recover": HIDDEN,
            "judge": HIDDEN,
            "back": HIDDEN,
        }
        parts: dict[str, Any] = {}
        for name, size in inputs.items():
            parts |= begin_recurrent(torch, generator, f"{name}.gru", size, HIDDEN, 3)
        outs = {"embed": HIDDEN, "generate": HIDDEN, "supervise": HIDDEN, "recover": width}
        parts |= begin_layers(
            torch, generator, {f"{n}.out": (HIDDEN, o) for n, o in outs.items()} | {"judge.out": (2 * HIDDEN, 1)}
        )

        def maps(old: SeriesSampler) -> Maps:
            moved, _ = layout_before(old.layout, windows.layout)
            return {"embed.gru.in": (None, moved), "recover.out.weight": (None, moved), "recover.out.shift": (moved,)}

        self.parameters = continued(torch, parts, effort, maps)
        self.averages: dict[str, Any] = {}
        for t in self.parameters.values():
            t.requires_grad_()
        self.optimisers = [
            Adam(torch, [t for k, t in self.parameters.items() if k.startswith(g)], LEARNING) for g in GROUPS
        ]

    def epoch(self, share: float, length: float) -> Iterator[float]:
        for k in range(STEPS):
            now = share + length * k / STEPS
            x, classes, places = self.batch()
            if now < PARTS[0]:
                yield self.down(0, self.mapping(self.parameters, x, classes, places))
            elif now < PARTS[1]:
                yield self.down(
                    1, self.following(self.parameters, hidden(self.ops, self.parameters, "embed", x).detach())
                )
            else:
                for _ in range(2):
                    self.together()
                    x, classes, places = self.batch()
                    h = hidden(self.ops, self.parameters, "embed", x)
                    self.down(
                        0,
                        10 * self.mapping(self.parameters, x, classes, places)
                        + 0.1 * self.following(self.parameters, h),
                    )
                yield self.judging()

    def batch(self) -> tuple[Any, Any, Any]:
        at = self.torch.randint(len(self.classes), (min(BATCH, len(self.classes)),), generator=self.generator)
        classes, places = self.classes[at], self.places[at]
        return self.segments.vectors(self.torch, classes, places), classes, places

    def forget(self) -> None:
        for optimiser in self.optimisers:
            optimiser.zero_grad()

    def down(self, which: int, loss: Any) -> float:
        self.forget()
        loss.backward()
        self.optimisers[which].step()
        return loss.item()

    def mapping(self, p: Mapping[str, Any], x: Any, classes: Any, places: Any) -> Any:
        """How far windows are from what becomes of them in the hidden space and back."""
        out = recover(self.ops, p, hidden(self.ops, p, "embed", x))
        found = self.segments.cross_entropy(self.torch, out, classes).mean()
        return (
            found
            if not places.shape[2]
            else found + 10 * ((self.torch.tanh(out[..., self.segments.end :]) - places) ** 2).mean()
        )

    def following(self, p: Mapping[str, Any], h: Any) -> Any:
        """How far each hidden step is from what the supervisor foretells by those before."""
        return ((hidden(self.ops, p, "supervise", h)[:, :-1] - h[:, 1:]) ** 2).mean()

    def noise(self, count: int) -> Any:
        return self.torch.randn(count, self.windows.steps, NOISE, generator=self.generator)

    def judge(self, p: Mapping[str, Any], h: Any) -> Any:
        """Scores of a recurrent critic that reads both ways, for each step."""
        on = gru(self.ops, p, "judge.gru", h)
        back = gru(self.ops, p, "back.gru", h.flip(1)).flip(1)
        return dense(p, "judge.out", self.ops.cat([on, back]))

    def drawn(self, count: int) -> tuple[Any, Any]:
        """Hidden steps as they are generated, and as the supervisor leaves them."""
        raw = hidden(self.ops, self.parameters, "generate", self.noise(count))
        return raw, hidden(self.ops, self.parameters, "supervise", raw)

    def deceived(self, raw: Any, made: Any) -> Any:
        """How far the critic is from taking what is generated for real."""
        p, entropy = self.parameters, self.torch.nn.functional.softplus
        return entropy(-self.judge(p, made)).mean() + entropy(-self.judge(p, raw)).mean()

    def together(self) -> None:
        torch, p = self.torch, self.parameters
        x, _, _ = self.batch()
        h = hidden(self.ops, p, "embed", x).detach()
        raw, made = self.drawn(len(x))
        rows = self.segments.drawn(torch, self.generator, recover(self.ops, p, made), TEMPERATURE)
        moments = (rows.mean(0) - x.mean(0)).abs().mean() + (
            rows.std(0, correction=0) - x.std(0, correction=0)
        ).abs().mean()
        follows = self.following(p, h)
        self.down(1, self.deceived(raw, made) + 100 * torch.sqrt(follows + 1e-12) + 100 * moments)

    def make_better(self, count: int) -> None:
        """The generator by itself."""
        self.down(1, self.deceived(*self.drawn(count)))

    def judging(self) -> float:
        x, _, _ = self.batch()
        with self.torch.no_grad():
            h = hidden(self.ops, self.parameters, "embed", x)
            raw, made = self.drawn(len(x))
        loss = self.mistaken(self.parameters, h, raw, made)
        return self.down(2, loss) if loss.item() > SURE else loss.item()

    def mistaken(self, p: Mapping[str, Any], h: Any, raw: Any, made: Any) -> Any:
        """How far the critic is from telling real hidden steps from both kinds of generated ones."""
        entropy = self.torch.nn.functional.softplus
        return (
            entropy(-self.judge(p, h)).mean() + entropy(self.judge(p, made)).mean() + entropy(self.judge(p, raw)).mean()
        )

    def criticism_noise(self, count: int, learning: bool) -> tuple[Any, ...]:
        with self.torch.no_grad():
            raw, made = self.drawn(max(count, 1))
        return raw[:count], made[:count]

    def mapping_of(self, p: dict[str, Any], row: tuple[Any, ...], noise: tuple[Any, ...]) -> Any:
        return self.mapping(p, self.segments.vectors(self.torch, *row), *row)

    def hidden_of(self, row: tuple[Any, ...]) -> Any:
        return hidden(self.ops, self.settled("embed."), "embed", self.segments.vectors(self.torch, *row))

    def settled(self, begin: str) -> dict[str, Any]:
        return {k: t.detach() for k, t in self.parameters.items() if k.startswith(begin)}

    def following_of(self, p: dict[str, Any], row: tuple[Any, ...], noise: tuple[Any, ...]) -> Any:
        return self.following(p, self.hidden_of(row))

    def criticism(self, p: dict[str, Any], row: tuple[Any, ...], noise: tuple[Any, ...]) -> Any:
        return self.mistaken(p, self.hidden_of(row), *noise)

    def judged(self) -> float:
        return float("nan")

    def sampler(self, learnt: Learnt) -> SeriesSampler:
        drawing = ("generate.", "supervise.", "recover.")
        parameters = {k: v for k, v in learnt.parameters.items() if k.startswith(drawing)}
        settings = {"steps": self.windows.steps, "noise": NOISE, "end": self.segments.end}
        return self.windows.sampler("timegan", settings, parameters, learnt)

    def seconds(self) -> float:
        work = 12 * self.windows.steps * 3 * HIDDEN * (self.windows.layout.width + 4 * HIDDEN)
        return STEPS * (20 * OVERHEAD + 3 * BATCH * work / RATE)
