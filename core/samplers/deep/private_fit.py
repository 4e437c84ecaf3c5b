"""Any network whose loss is a sum over rows, learnt with differential privacy by noisy steps.

Abadi, Chu, Goodfellow, McMahan, Mironov, Talwar and Zhang 2016, "Deep Learning with Differential Privacy", CCS, arXiv:1607.00133: each step takes the rows that chance
lets take part, cuts each row's gradient to a length, adds them up, and adds Gaussian noise. What the network is built on, the columns' distributions, is paid for first; what is
never looked at costs nothing: there are no rows held out. The noise and the choice of rows come from the secret stream. Needs torch, `populace[deep]`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from ...errors import UserError
from ...parts import asked_to_stop, break_off, half
from ...privacy.budget import Budget
from ...privacy.private_table import PrivateTable
from ...progress import Progress
from ...stream import Stream
from ...tables import Table
from ..statistical.empirical import check_learnable
from ..statistical.marginal import Marginal
from ..statistical.private_marginals import Extent, buy_marginals
from .adam import Adam
from .encoded import Encoded, encode_rows
from .engine import deterministic, host
from .learnt import Learnt
from .modes import ranked_layout
from .training import Descent, standing, take_up

Extents = Mapping[str, Extent]
MARGINALS, SEARCH = 0.15, 0.05
"""The parts of the budget that the columns' distributions take, and finding the ends and values that nobody told."""
STEPS = 800
BATCH = 256
CLIP = 1.0
RATE = 2e-3
JUDGED = 5
"""Steps of a critic for one of its generator (Gulrajani et al. 2017): the generator's cost nothing."""
_AT_ONCE = 64
"""Rows whose gradients are held at a time."""


@dataclass
class NoisySteps:
    """So many steps that are paid for; `step` takes one of them."""

    torch: Any
    secret: Stream
    parameters: dict[str, Any]
    loss: Callable[..., Any]
    """Of one row, after the parameters, the row and its random numbers, each with a first axis of length 1."""
    rows: tuple[Any, ...]
    noise: Callable[[int, bool], tuple[Any, ...]]
    share: float
    multiplier: float
    """Standard deviations of the noise, in lengths that gradients are cut to."""
    expected: float
    """Rows of a step, on average, as far as that is public."""
    taken: int = 0

    def step(self, *shared: Any) -> None:
        """Put the noisy mean of gradients into `grad` of each parameter. `shared`: what the loss takes besides, the same for every row."""
        torch, at = self.torch, self.chosen()
        total = {k: torch.zeros_like(t) for k, t in self.parameters.items()}
        fixed = {k: t.detach() for k, t in self.parameters.items()}
        one = torch.func.vmap(
            torch.func.grad(self._one), in_dims=(None, 0, 0, *(None for _ in shared)), randomness="error"
        )
        for start in range(0, len(at), _AT_ONCE):
            some = at[start : start + _AT_ONCE]
            slopes = one(fixed, tuple(t[some] for t in self.rows), self.noise(len(some), True), *shared)
            length = torch.sqrt(sum((s.flatten(1) ** 2).sum(1) for s in slopes.values()))
            # a gradient that is no number says nothing, and must not undo the noise
            factor = torch.where(torch.isfinite(length), CLIP / length.clamp(min=CLIP), torch.zeros_like(length))
            for k, s in slopes.items():
                total[k] += torch.einsum("b...,b->...", torch.nan_to_num(s, 0.0, 0.0, 0.0), factor)
        for k, t in self.parameters.items():
            size = int(np.prod(t.shape))
            drawn = self.secret.child("noise", self.taken, k).normal(np.arange(size)).astype(np.float32)
            t.grad = (total[k] + self.multiplier * CLIP * torch.tensor(drawn).reshape(t.shape)) / self.expected
        self.taken += 1

    def chosen(self) -> Any:
        """The rows that take part in this step, each by itself with the same probability."""
        u = self.secret.child("rows", self.taken).uniform(np.arange(len(self.rows[0])))
        return self.torch.tensor(np.flatnonzero(u < self.share))

    def _one(self, p: dict[str, Any], row: tuple[Any, ...], noise: tuple[Any, ...], *shared: Any) -> Any:
        return self.loss(p, tuple(t[None] for t in row), tuple(t[None] for t in noise), *shared).sum()


@dataclass(frozen=True)
class Bought:
    """What a private fit begins with."""

    marginals: tuple[Marginal, ...]
    rows: float
    """About how many rows there are."""
    share: float
    multiplier: float
    steps: int
    secret: Stream


def buy(name: str, table: Table, noise: Stream, budget: Budget, extents: Extents, steps: int = STEPS) -> Bought:
    """Pay for the columns' distributions, and with all that is left for steps. Raises UserError for an empty table."""
    check_learnable(table)
    private = PrivateTable(table, budget, noise.child("columns"))
    rho = budget.left
    marginals, rows = buy_marginals(private, extents, MARGINALS * rho, SEARCH * rho)
    if not any(m.pieces for m in marginals):
        raise UserError(
            f"'{name}': epsilon {budget.epsilon:g} is too little to find a value of any column; say what is known with a domain"
        )
    share = min(1.0, BATCH / rows)
    multiplier = budget.noise_for(share, steps)
    budget.spend_steps("steps of learning", multiplier, share, steps)
    return Bought(marginals, rows, share, multiplier, steps, noise.child("steps"))


Begin = Callable[[Any, Encoded], tuple[Descent, Callable[[Learnt], Any]]]


def fit_privately(
    torch: Any, name: str, table: Table, noise: Stream, budget: Budget, extents: Extents, begin: Begin
) -> tuple[Any, float]:
    """Learn by noisy steps what `begin` makes of a generator and the encoded table: a learner, and how its parameters become a sampler. Returns the sampler and
    about how many rows there were."""
    bought = buy(name, table, noise, budget, extents)
    with deterministic(torch, noise.child("network")) as generator:
        data = encode_rows(torch, table, ranked_layout(bought.marginals), noise.child("places"), None)
        learner, made = begin(generator, data)
        learnt = descend(torch, name, learner, bought)
        return made(learnt), bought.rows


def paid_steps(torch: Any, learner: Any, noisy: NoisySteps, steps: int) -> Iterator[int]:
    """Each of so many steps; where learning was broken off, from there. What is kept then is as private as the model: nothing but noisy steps made it."""
    held = half("steps")
    if held is not None:
        noisy.taken, rest = held
        take_up(torch, learner.generator, learner, rest)
    for k in range(noisy.taken, steps):
        if asked_to_stop():
            break_off("steps", (k, standing(learner, learner.generator)))
        yield k


def descend(torch: Any, name: str, learner: Descent, bought: Bought) -> Learnt:
    """Take the steps that were bought."""
    optimiser = Adam(torch, list(learner.parameters.values()), RATE)
    learner.optimisers = [optimiser]
    noisy = NoisySteps(
        torch, bought.secret, learner.parameters, learner.loss, learner.rows, learner.noise,
        bought.share, bought.multiplier, bought.share * bought.rows,
    )  # fmt: skip
    with Progress(f"learning {name}", bought.steps, unit="step") as progress:
        for k in paid_steps(torch, learner, noisy, bought.steps):
            optimiser.rate = RATE * 0.5 * (1 + np.cos(np.pi * k / bought.steps))
            noisy.step()
            optimiser.step()
            progress.step()
    return all_spent(learner.parameters)


def all_spent(parameters: Mapping[str, Any]) -> Learnt:
    """What is learnt when all steps are taken."""
    course = {"epochs": 1, "of": 1, "loss": None, "waited": 0, "stopped": "all steps that were paid for"}
    return Learnt({k: host(t) for k, t in parameters.items()}, course)
