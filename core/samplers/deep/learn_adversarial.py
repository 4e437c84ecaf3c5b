"""CTGAN, the plain WGAN-GP and ADS-GAN: a generator and a critic that learn from one another, over classes and places. Needs torch, `populace[deep]`.

Goodfellow et al. 2014, "Generative Adversarial Nets", NeurIPS, arXiv:1406.2661; with the Wasserstein distance and a gradient penalty, Gulrajani et al. 2017,
arXiv:1704.00028. For tables Xu et al. 2019, "Modeling Tabular Data using Conditional GAN", NeurIPS, arXiv:1907.00503: a class of one column is asked for, rare classes more often
than they occur, and the critic judges ten rows at a time (Lin et al. 2018, PacGAN, arXiv:1712.04086). Rates are that paper's.

ADS-GAN: Yoon, Drumright and van der Schaar 2020, "Anonymization Through Data Synthesis Using Generative Adversarial Networks", IEEE J. Biomedical and Health Informatics 24(8): a real
row counts as identifiable if a made row is nearer to it than its nearest real neighbour, in columns weighted by how rarely they agree, and the generator is held to few of them.
Here it makes rows from noise alone, so that drawing needs no real row.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...privacy.budget import Budget
from ...stream import F64, Stream
from ...tables import Table
from .adam import Adam
from .asked import Asked
from .decoder import Decoder, Layer
from .encoded import Encoded, encode_rows, encode_table
from .engine import apply_layer, begin_layers, deterministic, host, level, torch_or_error
from .identifiable import Constraint, NoisyConstraint
from .learnt import FREELY, Effort, Learnt
from .matched import matched
from .modes import ranked_layout
from .private_fit import JUDGED, Extents, NoisySteps, all_spent, buy, paid_steps
from .private_fit import RATE as PRIVATE_RATE
from .training import OVERHEAD, train
from .training import RATE as WORK_RATE
from .transfer import Maps, continued, layout_before

LATENT, HIDDEN = 64, 128
BATCH = 500
RATE, DECAY, MOMENTS = 2e-4, 1e-6, (0.5, 0.9)
PENALTY = 10.0
TEMPERATURE = 0.2
LEAK, DROPPED = 0.2, 0.5
LEAST_STEPS = 300
LEAST_VARIANCE = 1e-5
LEAST_SHARE = 1e-6
AVERAGED = 8
"""The weight of a step in the mean that is kept grows with this power of its number: about the last ninth of all steps count (Shamir and Zhang 2013, arXiv:1212.1824, polynomial-decay averaging;
for adversaries, Yazıcı et al. 2019, arXiv:1806.04498)."""
HELD = 64
"""Rows that are made to see, under differential privacy, whom they could identify."""
SETTLED = 20
"""Batches whose means and variances the finished network is normalised by."""


@dataclass(frozen=True)
class Settings:
    name: str
    pack: int = 1
    """Rows that the critic judges together."""
    asked: bool = False
    """Whether a class is asked for."""
    constraint: float = 0.0
    """What a real row that may be identified counts for."""
    epochs: int = 300


CTGAN = Settings("ctgan", pack=10, asked=True)
WGAN = Settings("wgan-gp")
ADSGAN = Settings("ads-gan", constraint=5.0)


def fit_ctgan(table: Table, stream: Stream, effort: Effort = FREELY) -> Decoder:
    """Learn a table. Raises UserError without torch, for an empty table, or for a column of a type that cannot be learnt."""
    return _fit(CTGAN, table, stream, effort)


def fit_wgan(table: Table, stream: Stream, effort: Effort = FREELY) -> Decoder:
    """As `fit_ctgan`, with nothing asked for and each row judged alone."""
    return _fit(WGAN, table, stream, effort)


def fit_adsgan(table: Table, stream: Stream, effort: Effort = FREELY, constraint: float = ADSGAN.constraint) -> Decoder:
    """As `fit_wgan`, held to few identifiable rows; the more, the higher `constraint`."""
    return _fit(Settings("ads-gan", constraint=constraint), table, stream, effort)


def _fit(how: Settings, table: Table, stream: Stream, effort: Effort) -> Decoder:
    torch = torch_or_error(how.name)
    with deterministic(torch, stream.child("network")) as generator:
        data = encode_table(torch, table, stream)
        asked = Asked.of(torch, data) if how.asked else None
        constraint = Constraint.of(torch, generator, data, how.constraint) if how.constraint else None
        pair = _Pair(torch, generator, data, how, asked, constraint, effort)
        found = pair.decoder(train(torch, generator, pair, effort, how.name))
        # rows that are kept apart from real ones are not moved afterwards
        return found if how.constraint else matched(found, data.counts(), stream.child("matched"))


def fit_private_wgan(table: Table, noise: Stream, budget: Budget, extents: Extents) -> tuple[Decoder, float]:
    """WGAN-GP whose critic learns by noisy steps: the generator sees rows through it alone (Xie et al. 2018, arXiv:1802.06739). Returns it and about how
    many rows there were."""
    return _fit_private(WGAN, table, noise, budget, extents)


def fit_private_ctgan(table: Table, noise: Stream, budget: Budget, extents: Extents) -> tuple[Decoder, float]:
    """CTGAN under differential privacy: classes are asked for as often as the bought distributions say, and the critic judges rows one by one, without what was
    asked, since rows chosen by a class would not be rows chosen by chance."""
    return _fit_private(Settings("ctgan", asked=True), table, noise, budget, extents)


def fit_private_adsgan(table: Table, noise: Stream, budget: Budget, extents: Extents) -> tuple[Decoder, float]:
    """ADS-GAN under differential privacy: every sixth noisy step holds the generator to few identifiable rows, the others teach the critic."""
    return _fit_private(ADSGAN, table, noise, budget, extents)


def _fit_private(how: Settings, table: Table, noise: Stream, budget: Budget, extents: Extents) -> tuple[Decoder, float]:
    torch = torch_or_error(how.name)
    bought = buy(how.name, table, noise, budget, extents)
    with deterministic(torch, noise.child("network")) as generator:
        data = encode_rows(torch, table, ranked_layout(bought.marginals), noise.child("places"), None)
        asked = Asked.of_marginals(torch, data.layout) if how.asked else None
        pair = _Pair(torch, generator, data, how, asked, None, FREELY, private=True)
        critic = {k: t for k, t in pair.parameters.items() if k.startswith("judge.")}
        noisy = NoisySteps(
            torch, bought.secret, critic, pair.criticism, (data.classes, data.places), pair.criticism_noise,
            bought.share, bought.multiplier, bought.share * bought.rows,
        )  # fmt: skip
        pair.optimisers[1].rate = PRIVATE_RATE
        held = NoisyConstraint.of(torch, data.layout, how.constraint) if how.constraint else None
        turn = JUDGED if held is None else JUDGED + 1
        for k in paid_steps(torch, pair, noisy, bought.steps):
            last = k % turn == turn - 1
            if held is not None and last:
                pair.optimisers[0].zero_grad()
                pair.hold(noisy, held)
            else:
                noisy.step()
                pair.optimisers[1].step()
            if last:
                pair.make_better(beside=held is not None)
                pair.average(k // turn)
        return pair.decoder(all_spent(pair.parameters | pair.averages)), bought.rows


class _Pair:
    """A generator (`make.*`) and a critic (`judge.*`)."""

    patience: int | None = None
    epochs: int

    def __init__(
        self, torch: Any, generator: Any, data: Encoded, how: Settings, asked: Asked | None, constraint: Constraint | None,
        effort: Effort, private: bool = False,
    ) -> None:  # fmt: skip
        self.torch, self.generator, self.data, self.how, self.asked, self.constraint = (
            torch,
            generator,
            data,
            how,
            asked,
            constraint,
        )
        self.cells = 0 if asked is None else len(asked.places)
        self.told_critic = asked is not None and not private
        self.epochs = how.epochs
        layout, inputs = data.layout, LATENT + self.cells
        self.judged_width = layout.width + (self.cells if self.told_critic else 0)
        shapes = {
            "make.0": (inputs, HIDDEN),
            "make.1": (HIDDEN + inputs, HIDDEN),
            "make.2": (2 * HIDDEN + inputs, layout.width),
            "judge.0": (self.judged_width * how.pack, HIDDEN),
            "judge.1": (HIDDEN, HIDDEN),
            "judge.2": (HIDDEN, 1),
        }
        parts = begin_layers(torch, generator, shapes)
        for k in (0, 1):
            parts |= {f"make.{k}.scale": torch.ones(HIDDEN), f"make.{k}.offset": torch.zeros(HIDDEN)}
        # under differential privacy rows are not counted for nothing
        often = np.maximum(layout.shares(), LEAST_SHARE) if private else (data.counts() + 0.5) / data.rows
        begin_counted(torch, parts, often, asked.lifts(data) if asked is not None and not private else None)
        self.parameters = continued(torch, parts, effort, self.maps)
        self.averages = {k: t.detach().clone() for k, t in self.parameters.items() if k.startswith("make.")}
        for t in self.parameters.values():
            t.requires_grad_()
        self.optimisers = [
            Adam(torch, [t for k, t in self.parameters.items() if k.startswith(part)], RATE, DECAY, MOMENTS)
            for part in ("make.", "judge.")
        ]
        self.size = max(how.pack, min(BATCH, data.rows) // how.pack * how.pack)
        self.steps = max(1, data.rows // self.size, -(-LEAST_STEPS // self.epochs))

    def maps(self, old: Decoder) -> Maps:
        whole, _ = layout_before(old.layout, self.data.layout)
        latent, cells = np.arange(LATENT), np.empty(0, np.int64)
        if self.asked is not None:
            former = {int(p): k for k, p in enumerate(old.cells)}
            cells = np.array([former.get(int(whole[p]), -LATENT - 1) for p in self.asked.places], np.int64) + LATENT
        inputs = np.concatenate((latent, cells))

        def after(hidden: int) -> Any:
            return np.concatenate((np.arange(hidden), np.where(inputs >= 0, inputs + hidden, -1)))

        width, before = old.layout.width, old.layout.width + (len(old.cells) if self.told_critic else 0)
        seen = (
            np.concatenate((whole, np.where(cells >= LATENT, cells - LATENT + width, -1)))
            if self.told_critic
            else whole
        )
        packed = np.concatenate([np.where(seen >= 0, seen + k * before, -1) for k in range(self.how.pack)])
        return {
            "make.0.weight": (inputs, None),
            "make.1.weight": (after(HIDDEN), None),
            "make.2.weight": (after(2 * HIDDEN), whole),
            "make.2.shift": (whole,),
            "judge.0.weight": (packed, None),
        }

    def epoch(self, share: float, length: float) -> Iterator[float]:
        for k in range(self.steps):
            loss = self.judge_better()
            self.make_better()
            self.average(round(share / length) * self.steps + k)
            yield loss

    def average(self, step: int) -> None:
        """What is kept of the generator is its mean over the last steps, the more the longer it has learnt: adversaries circle round where they meet."""
        with self.torch.no_grad():
            for k, t in self.averages.items():
                t.lerp_(self.parameters[k], (AVERAGED + 1) / (step + AVERAGED + 1))

    def judged(self) -> float:
        return float("nan")

    def seconds(self) -> float:
        width, wide = self.data.layout.width, self.judged_width
        make = HIDDEN * (LATENT + HIDDEN + LATENT) + (2 * HIDDEN + LATENT) * width
        work = 5 * make + 12 * (wide * HIDDEN + HIDDEN * HIDDEN)
        # as in `learn_variational`: layers of many rows at once
        return self.steps * (3 * OVERHEAD + work * self.size / (2.3 * WORK_RATE))

    def made(self, x: Any, which: Any, seen: list[Any] | None = None, p: dict[str, Any] | None = None) -> Any:
        """The generator's scores and places, before they are drawn."""
        torch, p = self.torch, self.parameters if p is None else p
        for k in (0, 1):
            y = self.told_layer(p, f"make.{k}", x, which)
            if seen is not None:
                seen.append((y.mean(0), y.var(0, unbiased=False)))
            y = torch.batch_norm(
                y, p[f"make.{k}.scale"], p[f"make.{k}.offset"], None, None, True, 0.0, LEAST_VARIANCE, False
            )
            x = torch.cat([torch.relu(y), x], dim=1)
        return self.told_layer(p, "make.2", x, which)

    def told_layer(self, p: dict[str, Any], name: str, x: Any, which: Any) -> Any:
        """A layer whose last inputs say which class is asked for: all 0 but one, their product is a look-up."""
        weight, dense = p[f"{name}.weight"], x.shape[1]
        y = self.torch.addmm(p[f"{name}.shift"], x, weight[:dense])
        return y if which is None else y + weight[dense:].index_select(0, which)

    def chance(self, count: int) -> Any:
        """What settles the classes of so many rows."""
        end = int(self.data.layout.offsets[-1])
        return self.torch.rand(count, end, generator=self.generator).clamp(1e-9, 1 - 1e-7)

    def drawn(self, out: Any, u: Any = None) -> Any:
        """Rows as the critic sees them: classes drawn by the Gumbel-softmax (Jang et al. 2017), places within -1 and 1."""
        torch, end, segment = self.torch, int(self.data.layout.offsets[-1]), self.data.segment
        u = self.chance(len(out)) if u is None else u
        scores = (out[:, :end] - torch.log(-torch.log(u))) / TEMPERATURE
        hot = torch.exp(level(torch, scores, self.data.layout.sizes, segment))
        return torch.cat([hot / ((hot @ segment) @ segment.T), torch.tanh(out[:, end:])], dim=1)

    def asking(self, as_real: bool = False) -> tuple[Any, Any, Any]:
        """Noise, which classes are asked for, and the same as 0/1 rows."""
        noise = self.torch.randn(self.size, LATENT, generator=self.generator)
        if self.asked is None:
            return noise, None, None
        return noise, *self.asked.draw(self.torch, self.generator, self.size, as_real or not self.told_critic)

    def beside(self, x: Any, told: Any) -> Any:
        return self.torch.cat([x, told], dim=1) if self.told_critic else x

    def judgement(self, p: dict[str, Any], x: Any, kept: tuple[Any, Any]) -> Any:
        """What the critic says of packs of rows; `kept`: the units of each layer that are not left out."""
        return self.said(p, apply_layer(p, "judge.0", x), kept)

    def said(self, p: dict[str, Any], first: Any, kept: tuple[Any, Any]) -> Any:
        """The same, from what the first layer says."""
        sided = self.torch.nn.functional.leaky_relu
        second = apply_layer(p, "judge.1", sided(first, LEAK) * kept[0])
        return apply_layer(p, "judge.2", sided(second, LEAK) * kept[1])

    def kept(self, packs: int) -> tuple[Any, Any]:
        torch = self.torch
        draw = [torch.rand(packs, HIDDEN, generator=self.generator) >= DROPPED for _ in (0, 1)]
        return draw[0] / (1 - DROPPED), draw[1] / (1 - DROPPED)

    def judge_better(self) -> float:
        torch, pack = self.torch, self.how.pack
        noise, which, told = self.asking()
        with torch.no_grad():
            fake = self.beside(self.drawn(self.made(noise, which)), told)
        if self.asked is None:
            at = torch.randint(self.data.rows, (self.size,), generator=self.generator)
        else:
            at = self.asked.rows_of(torch, self.generator, which)
        real = self.beside(self.data.vectors(torch, self.data.classes[at], self.data.places[at]), told)
        packs = self.size // pack
        first = apply_layer(self.parameters, "judge.0", torch.cat([fake, real]).reshape(2 * packs, -1))
        said = self.said(self.parameters, first, self.kept(2 * packs))
        loss = said[:packs].mean() - said[packs:].mean() + PENALTY * self.steepness(first[:packs], first[packs:])
        self.optimisers[1].zero_grad()
        loss.backward()
        self.optimisers[1].step()
        return loss.item()

    def steepness(self, fake: Any, real: Any) -> Any:
        """The gradient penalty, by what the first layer says of packs: between two of them it says what lies between. The critic is linear where no unit
        changes its side, so its slope is a product of weights, and nothing need be derived twice."""
        torch, p, packs = self.torch, self.parameters, len(fake)
        kept = self.kept(packs)
        with torch.no_grad():
            between = torch.lerp(fake, real, torch.rand(packs, 1, generator=self.generator))
            passed = torch.where(between > 0, 1.0, LEAK) * kept[0]
            second = torch.where(apply_layer(p, "judge.1", between * passed) > 0, 1.0, LEAK) * kept[1]
        slope = (((p["judge.2.weight"].T * second) @ p["judge.1.weight"].T) * passed) @ p["judge.0.weight"].T
        return ((slope.norm(dim=1) - 1) ** 2).mean()

    def hold(self, noisy: NoisySteps, constraint: NoisyConstraint) -> None:
        """Take one of the steps that are paid for to tell the generator which rows it could identify."""
        torch = self.torch
        x, u = torch.randn(HELD, LATENT, generator=self.generator), self.chance(HELD)
        with torch.no_grad():
            reach = constraint.reach(torch, self.drawn(self.made(x, None), u))

        def loss(p: dict[str, Any], row: tuple[Any, ...], noise: tuple[Any, ...]) -> Any:
            made = self.drawn(self.made(x, None, p=p), u)
            return constraint.loss(torch, self.data.vectors(torch, *row), made, reach)

        own = noisy.parameters, noisy.loss, noisy.noise
        noisy.parameters = {k: t for k, t in self.parameters.items() if k.startswith("make.")}
        noisy.loss, noisy.noise = loss, lambda count, learning: ()
        noisy.step()
        noisy.parameters, noisy.loss, noisy.noise = own

    def make_better(self, beside: bool = False) -> None:
        """`beside`: with what the generator was told already."""
        torch = self.torch
        noise, which, told = self.asking()
        out = self.made(noise, which)
        rows = self.drawn(out)
        packs = self.size // self.how.pack
        loss = -self.judgement(self.parameters, self.beside(rows, told).reshape(packs, -1), self.kept(packs)).mean()
        if self.asked is not None:
            wanted = torch.tensor(self.asked.places)[which]
            end = int(self.data.layout.offsets[-1])
            loss = loss - self.data.log_chances(torch, out[:, :end]).gather(1, wanted[:, None]).mean()
        if self.constraint is not None:
            loss = loss + self.constraint.loss(torch, self.generator, self.data, rows)
        own = self.optimisers[0].parameters
        for t, slope in zip(own, torch.autograd.grad(loss, own), strict=True):
            t.grad = slope + t.grad if beside and t.grad is not None else slope
        self.optimisers[0].step()

    def criticism_noise(self, count: int, learning: bool) -> tuple[Any, ...]:
        """For each real row of a noisy step a made one, how far between the two the slope is taken, and the units that are kept."""
        torch = self.torch
        with torch.no_grad():
            fake = self.drawn(self.made(*self.asking()[:2]))[:count]
        return (fake, torch.rand(count, generator=self.generator), *self.kept(count))

    def criticism(self, p: dict[str, Any], row: tuple[Any, ...], noise: tuple[Any, ...]) -> Any:
        """The critic's loss of one real row and one made row, with its gradient penalty."""
        torch, (fake, share, *kept) = self.torch, noise
        real = self.data.vectors(torch, *row)
        judge = lambda x: self.judgement(p, x, (kept[0], kept[1])).sum()  # noqa: E731
        slope = torch.func.grad(judge)(share[:, None] * real + (1 - share[:, None]) * fake)
        steep = (torch.sqrt((slope**2).sum() + 1e-12) - 1) ** 2
        return judge(fake) - judge(real) + PENALTY * steep

    def decoder(self, learnt: Learnt) -> Decoder:
        torch = self.torch
        self.parameters = {k: torch.tensor(v) for k, v in learnt.parameters.items()}
        seen: list[Any] = []
        with torch.no_grad():
            for _ in range(SETTLED):
                self.made(*self.asking(as_real=True)[:2], seen)
            layers = [
                folded(self.parameters, f"make.{k}", *(torch.stack([s[m] for s in seen[k::2]]).mean(0) for m in (0, 1)))
                for k in (0, 1)
            ]
        p, layout = learnt.parameters, self.data.layout
        final = Layer(p["make.2.weight"], p["make.2.shift"], False)
        spread = np.zeros(len(layout.scaled), np.float32)
        asked = (np.empty(0), np.empty(0, np.int64)) if self.asked is None else (self.asked.real, self.asked.places)
        return Decoder(layout, LATENT, tuple(layers), final, spread, learnt, *asked)


def begin_counted(torch: Any, parts: dict[str, Any], often: F64, lifts: NDArray[np.float32] | None) -> None:
    """Let a generator begin with what counting tells: each class as often as it is, and beside a class that is asked for as often as beside that. How more than
    two columns go together is left to learn."""
    parts["make.2.shift"][: len(often)] = torch.tensor(np.log(often).astype(np.float32))
    if lifts is not None:
        parts["make.2.weight"][-len(lifts) :, : len(often)] = torch.tensor(lifts)


def folded(p: Mapping[str, Any], name: str, mean: Any, variance: Any) -> Layer:
    """A layer and its normalisation as one layer."""
    scale = p[f"{name}.scale"] / (variance + LEAST_VARIANCE).sqrt()
    weight, shift = p[f"{name}.weight"] * scale, (p[f"{name}.shift"] - mean) * scale + p[f"{name}.offset"]
    return Layer(host(weight).astype(np.float32), host(shift).astype(np.float32), True)
