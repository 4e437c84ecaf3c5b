"""How TimeGAN is learnt: first to map windows and back, then how hidden steps follow one another, then all together against a critic.

Yoon, Jarrett and van der Schaar 2019, NeurIPS, sections 4 and 5, whose weights of losses are kept. Needs torch, `populace[deep]`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ...stream import Stream
from ...tables import Table
from ..statistical.learn_events import Roles
from .adam import Adam
from .engine import begin_layers, deterministic, torch_or_error
from .learnt import FREELY, Effort
from .ops import begin_recurrent, dense, gru, torch_ops
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


def fit_timegan(table: Table, stream: Stream, roles: Roles, effort: Effort = FREELY) -> SeriesSampler:
    """Learn series of entities in windows. Raises UserError without torch, or for a table that holds no series."""
    torch = torch_or_error("timegan")
    windows = cut(table, roles)
    with deterministic(torch, stream.child("network")) as generator:
        learner = _TimeGan(torch, generator, windows, effort)
        learnt = train(torch, generator, learner, effort, "timegan")
    drawing = {k: v for k, v in learnt.parameters.items() if k.startswith(("generate.", "supervise.", "recover."))}
    return windows.sampler(
        "timegan", {"steps": windows.steps, "noise": NOISE, "end": learner.segments.end}, drawing, learnt
    )


class _TimeGan:
    epochs: int = EPOCHS
    patience: int | None = None

    def __init__(self, torch: Any, generator: Any, windows: Windows, effort: Effort) -> None:
        self.torch, self.generator, self.windows = torch, generator, windows
        self.ops, self.segments, width = torch_ops(torch), Segments.of(torch, windows.layout), windows.layout.width
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
        groups = (("embed.", "recover."), ("generate.", "supervise."), ("judge.", "back."))
        self.optimisers = [
            Adam(torch, [t for k, t in self.parameters.items() if k.startswith(g)], LEARNING) for g in groups
        ]

    def epoch(self, share: float, length: float) -> Iterator[float]:
        for k in range(STEPS):
            now = share + length * k / STEPS
            x, classes, places = self.batch()
            if now < PARTS[0]:
                yield self.down(0, self.mapping(x, classes, places))
            elif now < PARTS[1]:
                yield self.down(1, self.following(hidden(self.ops, self.parameters, "embed", x).detach()))
            else:
                for _ in range(2):
                    self.together()
                    x, classes, places = self.batch()
                    h = hidden(self.ops, self.parameters, "embed", x)
                    self.down(0, 10 * self.mapping(x, classes, places) + 0.1 * self.following(h))
                yield self.judging()

    def batch(self) -> tuple[Any, Any, Any]:
        at = self.torch.randint(len(self.classes), (min(BATCH, len(self.classes)),), generator=self.generator)
        classes, places = self.classes[at], self.places[at]
        return self.segments.vectors(self.torch, classes, places), classes, places

    def down(self, which: int, loss: Any) -> float:
        for optimiser in self.optimisers:
            optimiser.zero_grad()
        loss.backward()
        self.optimisers[which].step()
        return loss.item()

    def mapping(self, x: Any, classes: Any, places: Any) -> Any:
        """How far windows are from what becomes of them in the hidden space and back."""
        out = recover(self.ops, self.parameters, hidden(self.ops, self.parameters, "embed", x))
        found = self.segments.cross_entropy(self.torch, out, classes).mean()
        return (
            found
            if not places.shape[2]
            else found + 10 * ((self.torch.tanh(out[..., self.segments.end :]) - places) ** 2).mean()
        )

    def following(self, h: Any) -> Any:
        """How far each hidden step is from what the supervisor foretells by those before."""
        return ((hidden(self.ops, self.parameters, "supervise", h)[:, :-1] - h[:, 1:]) ** 2).mean()

    def noise(self, count: int) -> Any:
        return self.torch.randn(count, self.windows.steps, NOISE, generator=self.generator)

    def judge(self, h: Any) -> Any:
        """Scores of a recurrent critic that reads both ways, for each step."""
        on = gru(self.ops, self.parameters, "judge.gru", h)
        back = gru(self.ops, self.parameters, "back.gru", h.flip(1)).flip(1)
        return dense(self.parameters, "judge.out", self.ops.cat([on, back]))

    def together(self) -> None:
        torch, p = self.torch, self.parameters
        x, _, _ = self.batch()
        h = hidden(self.ops, p, "embed", x).detach()
        raw = hidden(self.ops, p, "generate", self.noise(len(x)))
        made = hidden(self.ops, p, "supervise", raw)
        entropy = torch.nn.functional.softplus
        rows = self.segments.drawn(torch, self.generator, recover(self.ops, p, made), TEMPERATURE)
        moments = (rows.mean(0) - x.mean(0)).abs().mean() + (
            rows.std(0, correction=0) - x.std(0, correction=0)
        ).abs().mean()
        follows = self.following(h)
        loss = (
            entropy(-self.judge(made)).mean()
            + entropy(-self.judge(raw)).mean()
            + 100 * torch.sqrt(follows + 1e-12)
            + 100 * moments
        )
        self.down(1, loss)

    def judging(self) -> float:
        torch, p = self.torch, self.parameters
        x, _, _ = self.batch()
        with torch.no_grad():
            h = hidden(self.ops, p, "embed", x)
            raw = hidden(self.ops, p, "generate", self.noise(len(x)))
            made = hidden(self.ops, p, "supervise", raw)
        entropy = torch.nn.functional.softplus
        loss = entropy(-self.judge(h)).mean() + entropy(self.judge(made)).mean() + entropy(self.judge(raw)).mean()
        return self.down(2, loss) if loss.item() > SURE else loss.item()

    def judged(self) -> float:
        return float("nan")

    def seconds(self) -> float:
        work = 12 * self.windows.steps * 3 * HIDDEN * (self.windows.layout.width + 4 * HIDDEN)
        return STEPS * (20 * OVERHEAD + 3 * BATCH * work / RATE)
