"""The one loop in which every network learns: within its time, with the best so far kept, broken off without loss and taken up again. Needs torch."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from ...errors import UserError
from ...parts import interruptible
from ...progress import Progress
from .adam import Adam
from .engine import host
from .learnt import Effort, Learnt

SHARE = 0.6
"""The part of a time that passes are planned to fill; the rest is for what is not passes, and for machines that are slower than ours."""
RATE = 1.6e10
"""Multiplications and additions of single precision that a core of 2026 learns with in a second, measured with the networks here."""
AVERAGED = 0.98
"""What the mean over steps keeps of itself at each: about fifty steps count."""
OVERHEAD = 3e-3
"""CPU-seconds that a step takes whatever its size."""

GENTLEST, MANY = 0.25, 10_000
"""The part of a rate that a network begins with which knows another table, on few rows: by longer steps it forgets before they tell it anything. On so many rows, the whole."""


class Learner(Protocol):
    """A network while it learns."""

    parameters: dict[str, Any]
    averages: dict[str, Any]
    """The parameters as they are kept and judged, where that is not as they are now."""
    optimisers: list[Any]
    epochs: int
    """As many passes as it takes if there is time."""
    patience: int | None
    """It ends after so many passes that foretold held-out rows no better; None if nothing says how good it is."""

    def epoch(self, share: float, length: float) -> Iterator[float]:
        """One pass from `share` of the course on, which is `length` of it: the loss after each step."""
        ...

    def judged(self) -> float:
        """The loss on held-out rows; NaN if there are none."""
        ...

    def seconds(self) -> float:
        """About how many CPU-seconds a pass takes. It looks at sizes, never at a clock."""
        ...


def train(torch: Any, generator: Any, learner: Learner, effort: Effort, name: str) -> Learnt:
    """Learn, and return the parameters that were best. Ctrl-C ends it, and keeps the best and all that is needed to go on.

    Raises KeyboardInterrupt if it was broken off before anything was learnt.
    """
    began = time.process_time()
    epochs = effort.epochs or planned(learner, effort.seconds)
    done, best, waited, stopped = 0, np.inf, 0, "all passes"
    # a network that was learnt before is judged before it learns on
    kept = _copied(learner.parameters | learner.averages)
    if effort.start is not None and learner.patience is not None and not effort.resume:
        best = learner.judged()
    if effort.resume and effort.start is not None:
        held: Learnt = effort.start.learnt
        epochs, done, waited = held.course["of"], held.course["epochs"], held.course["waited"]
        best = np.inf if held.course["loss"] is None else held.course["loss"]
        kept = {k: torch.tensor(v) for k, v in held.parameters.items()}
        take_up(torch, generator, learner, held.rest)
    rest: dict[str, NDArray] = {}
    with Progress(f"learning {name}", epochs, done=done, unit="epoch") as progress, interruptible() as asked:
        while done < epochs:
            before = standing(learner, generator) if asked is not None else {}
            losses = []
            for loss in learner.epoch(done / epochs, 1 / epochs):
                losses.append(loss)
                if asked is not None and asked.is_set():
                    stopped, rest = "interrupted", before
                    break
                if effort.seconds and time.process_time() - began > effort.seconds:
                    stopped = "the time was over"
                    break
            if not np.isfinite(losses[-1]):
                raise UserError(
                    f"'{name}' came to no finite loss in pass {done + 1}: the table's numbers are too large or too far apart"
                )
            if stopped == "interrupted" and done:
                # the pass begins anew when learning goes on, which then comes to what an unbroken one does
                break
            if stopped == "interrupted" and len(losses) < 2:
                raise KeyboardInterrupt
            figure = learner.judged()
            if not figure >= best - 1e-4:
                best, kept, waited = figure, _copied(learner.parameters | learner.averages), 0
            else:
                waited += 1
            if stopped == "interrupted":
                best = np.inf
            if stopped != "all passes":
                break
            done += 1
            progress.step(note=f"loss {np.mean(losses):.4f}" + ("" if np.isnan(figure) else f", held out {figure:.4f}"))
            if learner.patience is not None and waited >= learner.patience:
                stopped = "held-out rows were foretold no better"
                break
    course = {
        "epochs": done,
        "of": epochs,
        "loss": float(best) if np.isfinite(best) else None,
        "waited": waited,
        "stopped": stopped,
        "tuned": effort.tuned,
    }
    return Learnt({k: host(t) for k, t in kept.items()}, course, rest)


def planned(learner: Learner, seconds: float | None) -> int:
    """How many passes there is time for, at least one."""
    if seconds is None:
        return learner.epochs
    return int(np.clip(SHARE * seconds / learner.seconds(), 1, learner.epochs))


def gentle(rate: float, rows: int, effort: Effort) -> float:
    """A rate to learn so many rows with: a smaller one where much is known already."""
    return rate * min(1.0, max(GENTLEST, rows / MANY)) if effort.tuned else rate


def _copied(parameters: dict[str, Any]) -> dict[str, Any]:
    return {k: t.detach().clone() for k, t in parameters.items()}


def standing(learner: Learner, generator: Any) -> dict[str, NDArray]:
    """Everything that the next pass hangs on."""
    found = {f"now.{k}": host(t).copy() for k, t in learner.parameters.items()}
    found |= {f"average.{k}": host(t).copy() for k, t in learner.averages.items()}
    for n, optimiser in enumerate(learner.optimisers):
        for k, held in optimiser.state_dict()["state"].items():
            found |= {f"optimiser.{n}.{k}.{what}": host(t).copy() for what, t in held.items()}
    found["generator"] = host(generator.get_state()).copy().view(np.int64)
    return found


def take_up(torch: Any, generator: Any, learner: Learner, rest: Mapping[str, NDArray]) -> None:
    """Go on from what `standing` found."""
    with torch.no_grad():
        for k, t in learner.parameters.items():
            t.copy_(torch.tensor(rest[f"now.{k}"]))
        for k, t in learner.averages.items():
            t.copy_(torch.tensor(rest[f"average.{k}"]))
    for n, optimiser in enumerate(learner.optimisers):
        state: dict[int, dict[str, Any]] = {}
        for key, value in rest.items():
            part = key.split(".")
            if part[:2] == ["optimiser", str(n)]:
                state.setdefault(int(part[2]), {})[part[3]] = torch.tensor(value)
        optimiser.load_state_dict(optimiser.state_dict() | {"state": state})
    generator.set_state(torch.tensor(rest["generator"].view(np.uint8), device="cpu"))


@dataclass
class Descent:
    """A learner whose loss is the mean of one figure for each row: `loss(parameters, rows, noise)`, shape (rows,)."""

    torch: Any
    generator: Any
    parameters: dict[str, Any]
    loss: Callable[[dict[str, Any], tuple[Any, ...], tuple[Any, ...]], Any]
    noise: Callable[[int, bool], tuple[Any, ...]]
    """The random numbers that the loss of so many rows takes; whether they are rows to learn from, not to judge by."""
    rows: tuple[Any, ...]
    held: tuple[Any, ...] | None
    batch: int
    rate: float
    epochs: int
    work: float
    """Multiplications and additions that a row's loss takes."""
    steps: int = 1
    """Steps of a pass at least: a small table is passed over more than once."""
    decay: float = 0.0
    patience: int | None = None
    falling: bool = True
    """Whether the rate falls to nothing by a quarter of a cosine (Loshchilov and Hutter 2017, SGDR), after a short rise."""

    def __post_init__(self) -> None:
        self.batch = min(self.batch, len(self.rows[0]))
        self.averages = {k: t.detach().clone() for k, t in self.parameters.items()}
        for t in self.parameters.values():
            t.requires_grad_()
        self.optimisers = [Adam(self.torch, list(self.parameters.values()), self.rate, self.decay)]
        if self.held is not None and len(self.held[0]):
            self._judging = self.noise(len(self.held[0]), False)
        else:
            self.held, self.patience = None, None

    @property
    def _passes(self) -> int:
        return max(1, -(-self.steps * self.batch // len(self.rows[0])))

    def epoch(self, share: float, length: float) -> Iterator[float]:
        torch, count = self.torch, len(self.rows[0])
        order = torch.cat([torch.randperm(count, generator=self.generator) for _ in range(self._passes)])
        starts = range(0, len(order) - self.batch + 1, self.batch)
        for k, start in enumerate(starts):
            at = order[start : start + self.batch]
            if self.falling:
                done = share + length * k / len(starts)
                rise = min(1.0, done / 0.05 + 0.1)
                self.optimisers[0].rate = self.rate * rise * 0.5 * (1 + np.cos(np.pi * done))
            self.optimisers[0].zero_grad()
            loss = self.loss(self.parameters, tuple(t[at] for t in self.rows), self.noise(len(at), True)).mean()
            loss.backward()
            self.optimisers[0].step()
            self._average(round(share / length) * len(starts) + k)
            yield loss.item()

    def _average(self, step: int) -> None:
        """What is kept is the mean of the parameters over the last steps (Polyak and Juditsky 1992; exponentially, as Kingma and Ba 2015, section 7.2)."""
        share = 1.0 - min(AVERAGED, (step + 1) / (step + 10))
        with self.torch.no_grad():
            for k, t in self.parameters.items():
                self.averages[k].lerp_(t, share)

    def judged(self) -> float:
        if self.held is None:
            return float("nan")
        total = 0.0
        with self.torch.no_grad():
            for start in range(0, len(self.held[0]), 2_048):
                some = slice(start, start + 2_048)
                parts = [tuple(t[some] for t in group) for group in (self.held, self._judging)]
                total += self.loss(self.averages, parts[0], parts[1]).sum().item()
        return total / len(self.held[0])

    def seconds(self) -> float:
        steps = self._passes * len(self.rows[0]) / self.batch
        return steps * (OVERHEAD + 3 * self.work * self.batch / RATE)
