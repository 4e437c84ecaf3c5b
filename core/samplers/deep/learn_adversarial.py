"""CTGAN and the plain WGAN-GP: a generator and a critic that learn from one another, over classes and places. Needs torch, `populace[deep]`.

Goodfellow et al. 2014, "Generative Adversarial Nets", NeurIPS, arXiv:1406.2661; with the Wasserstein distance and a gradient penalty, Gulrajani et al. 2017,
arXiv:1704.00028. For tables Xu et al. 2019, "Modeling Tabular Data using Conditional GAN", NeurIPS, arXiv:1907.00503: a class of one column is asked for, rare classes more often
than they occur, and the critic judges ten rows at a time (Lin et al. 2018, PacGAN, arXiv:1712.04086). Sizes and rates are that paper's.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...stream import Stream
from ...tables import Table
from .decoder import Decoder, Layer
from .encoded import Encoded, encode_table
from .engine import deterministic, linear, torch_or_error

LATENT, HIDDEN = 128, 256
BATCH, PACK = 500, 10
RATE, DECAY, MOMENTS = 2e-4, 1e-6, (0.5, 0.9)
PENALTY = 10.0
TEMPERATURE = 0.2
LEAK, DROPPED = 0.2, 0.5
EPOCHS = 300
LEAST_STEPS = 300
SETTLED = 20
"""Batches whose means and variances the finished network is normalised by."""


def fit_ctgan(table: Table, stream: Stream, epochs: int = EPOCHS, least: int = LEAST_STEPS) -> Decoder:
    """Learn a table in so many passes over it, of `least` steps in all. Raises UserError without torch, for an empty table, or for a column of a type that cannot be learnt."""
    return _fit("ctgan", table, stream, epochs, least, PACK)


def fit_wgan(table: Table, stream: Stream, epochs: int = EPOCHS, least: int = LEAST_STEPS) -> Decoder:
    """As `fit_ctgan`, with nothing asked for and each row judged alone."""
    return _fit("wgan-gp", table, stream, epochs, least, 1)


def _fit(name: str, table: Table, stream: Stream, epochs: int, least: int, pack: int) -> Decoder:
    torch = torch_or_error(name)
    with deterministic(torch, stream.child("network")) as generator:
        data = encode_table(torch, table, stream)
        asked = _Asked.of(torch, data) if name == "ctgan" else None
        size = max(pack, min(BATCH, data.rows) // pack * pack)
        steps = max(least, epochs * max(1, data.rows // size))
        return _trained(torch, generator, data, asked, steps, size, pack)


@dataclass(frozen=True)
class _Asked:
    """The classes that can be asked for: those of columns of classes, as places among all classes."""

    columns: NDArray[np.int64]
    places: NDArray[np.int64]
    """Of each class that can be asked for, its place among all classes."""
    often: Any
    """How likely each is asked for while learning: a column evenly, then a class by the log of its count."""
    real: NDArray[np.float64]
    """How likely each is asked for while drawing: a column evenly, then a class as it occurs."""
    rows: Any
    """The rows of each class, one after another, and where each class's begin; for training by sampling."""
    begins: Any
    counts: Any

    @classmethod
    def of(cls, torch: Any, data: Encoded) -> _Asked | None:
        layout = data.layout
        columns = np.array([n for n, m in enumerate(layout.modes) if m is None and layout.sizes[n] > 1], np.int64)
        if not len(columns):
            return None
        classes = data.classes.numpy()
        places = np.concatenate([np.arange(int(layout.offsets[n]), int(layout.offsets[n + 1])) for n in columns])
        counts = np.bincount(classes[:, columns].ravel(), minlength=int(layout.offsets[-1]))[places]
        owner = np.repeat(np.arange(len(columns)), [layout.sizes[n] for n in columns])

        def shared(weight: NDArray) -> NDArray:
            return weight / np.bincount(owner, weight)[owner] / len(columns)

        rows = np.concatenate([np.argsort(classes[:, n], kind="stable") for n in columns])
        begins = np.concatenate(([0], np.cumsum(counts)[:-1]))
        often = torch.tensor(shared(np.log1p(counts)).astype(np.float32))
        return cls(
            columns,
            places,
            often,
            shared(counts.astype(float)),
            torch.tensor(rows),
            torch.tensor(begins),
            torch.tensor(counts),
        )

    def draw(self, torch: Any, generator: Any, size: int, weight: Any) -> tuple[Any, Any]:
        """Which classes are asked for, and the same as 0/1 rows."""
        which = torch.multinomial(weight, size, replacement=True, generator=generator)
        return which, torch.zeros(size, len(self.places)).scatter_(1, which[:, None], 1.0)

    def rows_of(self, torch: Any, generator: Any, which: Any) -> Any:
        """For each class a row that has it."""
        place = torch.rand(len(which), generator=generator) * self.counts[which]
        return self.rows[self.begins[which] + place.long().clamp(max=self.counts[which] - 1)]


def _trained(
    torch: Any, generator: Any, data: Encoded, asked: _Asked | None, steps: int, size: int, pack: int
) -> Decoder:
    layout, cells = data.layout, 0 if asked is None else len(asked.places)
    classes = int(layout.offsets[-1])
    inputs = LATENT + cells
    wide = [inputs, inputs + HIDDEN, inputs + 2 * HIDDEN]
    maker = [linear(torch, generator, wide[0], HIDDEN), linear(torch, generator, wide[1], HIDDEN)]
    last = linear(torch, generator, wide[2], layout.width)
    norms = [(torch.ones(HIDDEN, requires_grad=True), torch.zeros(HIDDEN, requires_grad=True)) for _ in maker]
    judged = (layout.width + cells) * pack
    judge = [linear(torch, generator, a, b) for a, b in ((judged, HIDDEN), (HIDDEN, HIDDEN), (HIDDEN, 1))]
    made_by = [*(t for pair in (*maker, last, *norms) for t in pair)]
    for_maker = torch.optim.Adam(made_by, RATE, MOMENTS, weight_decay=DECAY, fused=True)
    for_judge = torch.optim.Adam([t for pair in judge for t in pair], RATE, MOMENTS, weight_decay=DECAY, fused=True)

    def scores(x: Any, seen: list[Any] | None = None) -> Any:
        for (weight, shift), (scale, offset) in zip(maker, norms, strict=True):
            y = x @ weight + shift
            mean, variance = y.mean(0), y.var(0, unbiased=False)
            if seen is not None:
                seen.append((mean, variance))
            x = torch.cat([torch.relu((y - mean) / torch.sqrt(variance + 1e-5) * scale + offset), x], dim=1)
        return x @ last[0] + last[1]

    def rows(out: Any) -> Any:
        """Rows as the critic sees them: classes drawn by the Gumbel-softmax (Jang et al. 2017), places within -1 and 1."""
        u = torch.rand(len(out), classes, generator=generator).clamp(1e-9, 1 - 1e-7)
        hot = torch.exp(data.log_chances(torch, (out[:, :classes] - torch.log(-torch.log(u))) / TEMPERATURE))
        return torch.cat([hot, torch.tanh(out[:, classes:])], dim=1)

    def judgement(x: Any) -> Any:
        x = x.reshape(len(x) // pack, -1)
        for weight, shift in judge[:-1]:
            x = torch.nn.functional.leaky_relu(x @ weight + shift, LEAK)
            x = x * (torch.rand(x.shape, generator=generator) >= DROPPED) / (1 - DROPPED)
        return x @ judge[-1][0] + judge[-1][1]

    def asking(weight: Any = None) -> tuple[Any, Any, Any]:
        noise = torch.randn(size, LATENT, generator=generator)
        if asked is None:
            return noise, None, None
        which, told = asked.draw(torch, generator, size, asked.often if weight is None else weight)
        return torch.cat([noise, told], dim=1), which, told

    def beside(x: Any, told: Any) -> Any:
        return x if told is None else torch.cat([x, told], dim=1)

    for _ in range(steps):
        x, which, told = asking()
        with torch.no_grad():
            fake = beside(rows(scores(x)), told)
        if asked is None:
            at = torch.randint(data.rows, (size,), generator=generator)
        else:
            at = asked.rows_of(torch, generator, which)
        real = beside(data.vectors(torch, at), told)
        share = torch.rand(size // pack, 1, generator=generator).repeat_interleave(pack, 0)
        between = (share * real + (1 - share) * fake).requires_grad_()
        slope = torch.autograd.grad(judgement(between).sum(), between, create_graph=True)[0]
        steep = ((slope.reshape(size // pack, -1).norm(dim=1) - 1) ** 2).mean()
        loss = judgement(fake).mean() - judgement(real).mean() + PENALTY * steep
        for_judge.zero_grad()
        loss.backward()
        for_judge.step()

        x, which, told = asking()
        out = scores(x)
        loss = -judgement(beside(rows(out), told)).mean()
        if asked is not None:
            wanted = torch.tensor(asked.places)[which]
            loss = loss - data.log_chances(torch, out[:, :classes]).gather(1, wanted[:, None]).mean()
        for_maker.zero_grad()
        loss.backward()
        for_maker.step()

    with torch.no_grad():
        seen: list[Any] = []
        for _ in range(SETTLED):
            scores(asking(None if asked is None else torch.tensor(asked.real))[0], seen)
        layers = [
            _folded(maker[k], norms[k], *(torch.stack([s[m] for s in seen[k :: len(maker)]]).mean(0) for m in (0, 1)))
            for k in range(len(maker))
        ]
    final = Layer(last[0].detach().numpy(), last[1].detach().numpy(), False)
    spread = np.zeros(len(layout.scaled), np.float32)
    return Decoder(layout, LATENT, tuple(layers), final, spread, np.empty(0) if asked is None else asked.real)


def _folded(layer: Any, norm: Any, mean: Any, variance: Any) -> Layer:
    """A layer and its normalisation as one layer."""
    scale = norm[0] / (variance + 1e-5).sqrt()
    weight, shift = layer[0] * scale, (layer[1] - mean) * scale + norm[1]
    return Layer(weight.numpy().astype(np.float32), shift.numpy().astype(np.float32), True)
