"""PATE-GAN: a generator against a student that learns from the noisy votes of teachers, each of whom saw its own part of the rows. Needs torch, `populace[deep]`.

Jordon, Yoon and van der Schaar 2019, "PATE-GAN: Generating Synthetic Data with Differential Privacy Guarantees", ICLR; votes as in Papernot et al. 2017, "Semi-supervised Knowledge
Transfer for Deep Learning from Private Training Data", ICLR, arXiv:1610.05755. A vote with Laplace noise of scale 1/λ is 2λ-differentially private, and its moments are bounded by
2λ²l(l + 1) whatever the data (theorem 2 there): that is 2λ²-zCDP, and is spent for all votes before the first. The bound that looks at how much teachers agree, which the paper stops by,
is not used: it tells of the rows itself. Labels once paid for are learnt from again and again.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ...errors import UserError
from ...parts import part
from ...privacy.budget import Budget
from ...privacy.private_table import PrivateTable
from ...progress import Progress
from ...stream import F64, Stream
from ...tables import Table
from ..statistical.empirical import check_learnable
from ..statistical.private_marginals import buy_marginals
from .adam import Adam
from .decoder import Decoder, Layer
from .encoded import Encoded, encode_rows
from .engine import apply_layer, begin_layers, deterministic, host, torch_or_error
from .learnt import Learnt
from .modes import ranked_layout
from .private_fit import MARGINALS, SEARCH, Extents

LATENT, HIDDEN, SMALL = 32, 128, 32
EACH = 100
"""Rows for each teacher, about."""
TEACHERS = (5, 500)
LOUD = 0.25
"""The scale of the noise in a vote, in parts of the teachers."""
ROUNDS, LESSONS, EXERCISES = 150, 4, 8
"""Rounds, and in each steps of the teachers, and of the student and the generator."""
BATCH = 64
RATE, MOMENTS = 1e-3, (0.5, 0.9)
TEMPERATURE = 0.3


def fit_pategan(table: Table, noise: Stream, budget: Budget, extents: Extents) -> tuple[Decoder, float]:
    """Learn a table under differential privacy; spends the whole budget. Returns the generator and about how many rows there were.

    Raises UserError without torch, for an empty table, or a budget too small for a single vote.
    """
    torch = torch_or_error("pate-gan")
    check_learnable(table)
    private = PrivateTable(table, budget, noise.child("columns"))
    rho = budget.left
    marginals, rows = buy_marginals(private, extents, MARGINALS * rho, SEARCH * rho)
    teachers = int(np.clip(rows // EACH, *TEACHERS))
    sharpness = 1.0 / (LOUD * teachers)
    votes = int(budget.left / vote_cost(sharpness))
    if not votes:
        raise UserError(
            f"'pate-gan': epsilon {budget.epsilon:g} does not pay for one vote of {teachers} teachers, with about {rows:.0f} rows"
        )
    budget.spend(f"{votes:,} votes of {teachers} teachers", votes * vote_cost(sharpness))
    with deterministic(torch, noise.child("network")) as generator:
        data = encode_rows(torch, table, ranked_layout(marginals), noise.child("places"), None)
        game = _Game(torch, generator, data, noise.child("votes"), teachers, sharpness, votes)
        with Progress("learning pate-gan", game.rounds, unit="round") as progress:
            for n in range(game.rounds):
                game.round(n)
                progress.step()
        return game.decoder(), rows


def vote_cost(sharpness: float) -> float:
    """The ρ of one vote with Laplace noise of scale 1 / `sharpness` on each side's count."""
    return 2 * sharpness**2


def laplace(u: F64, scale: float) -> F64:
    """Laplace noise by inversion of uniforms."""
    return -scale * np.sign(u - 0.5) * np.log1p(-2 * np.abs(u - 0.5))


class _Game:
    def __init__(
        self, torch: Any, generator: Any, data: Encoded, secret: Stream, teachers: int, sharpness: float, votes: int
    ) -> None:
        self.torch, self.generator, self.data, self.secret = torch, generator, data, secret
        self.teachers, self.sharpness, self.left = teachers, sharpness, votes
        width = data.layout.width
        # each row is seen by one teacher, by a chance of its own
        whose = np.floor(secret.child("teacher").uniform(np.arange(data.rows)) * teachers).astype(np.int64)
        self.parts = [torch.tensor(np.flatnonzero(whose == k)) for k in range(teachers)]
        made = {"0": (LATENT, HIDDEN), "1": (HIDDEN, HIDDEN), "2": (HIDDEN, width)}
        self.maker = begin_layers(torch, generator, {f"make.{k}": s for k, s in made.items()})
        self.student = begin_layers(torch, generator, {"student.0": (width, HIDDEN), "student.1": (HIDDEN, 1)})
        bound = width**-0.5

        def uniform(*shape: int) -> Any:
            return ((torch.rand(*shape, generator=generator) * 2 - 1) * bound).requires_grad_()

        self.taught = [
            uniform(teachers, width, SMALL),
            uniform(teachers, 1, SMALL),
            uniform(teachers, SMALL, 1),
            uniform(teachers, 1, 1),
        ]
        for t in (*self.maker.values(), *self.student.values()):
            t.requires_grad_()
        self.optimisers = [
            Adam(torch, list(group), RATE, moments=MOMENTS)
            for group in (self.maker.values(), self.student.values(), self.taught)
        ]
        self.rounds = min(ROUNDS, votes)
        self.votes = -(-votes // self.rounds)
        self.asked: list[Any] = []
        self.labels: list[Any] = []

    def rows(self, count: int) -> Any:
        torch, data = self.torch, self.data
        x = torch.randn(count, LATENT, generator=self.generator)
        for k in (0, 1):
            x = torch.relu(apply_layer(self.maker, f"make.{k}", x))
        out, end = apply_layer(self.maker, "make.2", x), int(data.layout.offsets[-1])
        u = torch.rand(count, end, generator=self.generator).clamp(1e-9, 1 - 1e-7)
        hot = torch.exp(data.log_chances(torch, (out[:, :end] - torch.log(-torch.log(u))) / TEMPERATURE))
        return torch.cat([hot, torch.tanh(out[:, end:])], dim=1)

    def teach(self) -> None:
        """Each teacher tells its own rows from made ones."""
        torch = self.torch
        with torch.no_grad():
            fake = self.rows(BATCH)
        # a teacher without rows learns that nothing is real
        at = [
            p[torch.randint(len(p), (BATCH,), generator=self.generator)]
            if len(p)
            else torch.zeros(BATCH, dtype=torch.int64)
            for p in self.parts
        ]
        there = torch.tensor([1.0 if len(p) else 0.0 for p in self.parts])[:, None]
        at = torch.stack(at).flatten()
        real = self.data.vectors(torch, self.data.classes[at], self.data.places[at]).reshape(self.teachers, BATCH, -1)
        entropy = torch.nn.functional.softplus
        loss = (
            (entropy(-self.opinions(real)) * there).mean(1)
            + entropy(self.opinions(fake.expand(self.teachers, *fake.shape))).mean(1)
        ).sum()
        self.down(2, loss)

    def opinions(self, x: Any) -> Any:
        """What each teacher thinks of its rows, shape (teachers, rows): above 0 is real."""
        first, shift, last, bias = self.taught
        return (self.torch.relu(x @ first + shift) @ last + bias)[:, :, 0]

    def vote(self, rows: Any, turn: int) -> Any:
        """Whether the noisy majority of teachers takes each row for real. Each row is one vote."""
        with self.torch.no_grad():
            real = host((self.opinions(rows.expand(self.teachers, *rows.shape)) > 0).sum(0)).astype(float)
        sides = [real, self.teachers - real]
        noisy = [
            side + laplace(self.secret.child("vote", turn, k).uniform(np.arange(len(rows))), 1 / self.sharpness)
            for k, side in enumerate(sides)
        ]
        return self.torch.tensor((noisy[0] > noisy[1]).astype(np.float32))

    def round(self, turn: int) -> None:
        torch = self.torch
        for _ in range(LESSONS):
            self.teach()
        count = min(self.votes, self.left)
        if count:
            with torch.no_grad():
                rows = self.rows(count)
            self.left -= count
            # votes alone may be kept where learning is broken off: what teachers know is the rows'
            voted = part(f"votes {turn}", lambda: (host(rows), host(self.vote(rows, turn))))
            for kept, held in zip((self.asked, self.labels), voted, strict=True):
                kept.append(torch.tensor(held))
        asked, labels = torch.cat(self.asked), torch.cat(self.labels)
        for _ in range(EXERCISES):
            at = torch.randint(len(asked), (BATCH,), generator=self.generator)
            score = self.judged(asked[at])
            self.down(1, torch.nn.functional.binary_cross_entropy_with_logits(score, labels[at]))
            self.down(0, torch.nn.functional.softplus(-self.judged(self.rows(BATCH))).mean())

    def judged(self, x: Any) -> Any:
        return apply_layer(self.student, "student.1", self.torch.relu(apply_layer(self.student, "student.0", x)))[:, 0]

    def down(self, which: int, loss: Any) -> None:
        for optimiser in self.optimisers:
            optimiser.zero_grad()
        loss.backward()
        self.optimisers[which].step()

    def decoder(self) -> Decoder:
        p = {k: host(t) for k, t in (self.maker | self.student).items()}
        layers = [Layer(p[f"make.{k}.weight"], p[f"make.{k}.shift"], False) for k in range(3)]
        course = {"epochs": 1, "of": 1, "loss": None, "waited": 0, "stopped": "all votes that were paid for"}
        spread = np.zeros(len(self.data.layout.scaled), np.float32)
        return Decoder(self.data.layout, LATENT, tuple(layers[:-1]), layers[-1], spread, Learnt(p, course))
