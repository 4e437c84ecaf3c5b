"""The adversarial networks: what is asked for is drawn as often as it occurs, columns go together, and normalisation folded into layers is the same network."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from populace.core.samplers.deep import learn_adversarial
from populace.core.samplers.deep.asked import Asked
from populace.core.samplers.deep.decoder import Decoder
from populace.core.samplers.deep.learn_adversarial import (
    CTGAN,
    WGAN,
    Settings,
    _Pair,
    fit_adsgan,
    fit_ctgan,
    fit_wgan,
    folded,
)
from populace.core.samplers.deep.learn_variational import fit_tvae
from populace.core.samplers.deep.learnt import FREELY, Effort
from populace.core.samplers.deep.modes import KNOTS, Modes
from populace.core.samplers.statistical.empirical import fit_marginals
from populace.core.stream import Stream
from populace.core.tables import ROW

N = 2_000
DRAW = np.random.default_rng(3)
KIND = DRAW.choice(["low", "mid", "high"], N, p=[0.6, 0.35, 0.05])
CENTRE = pl.Series(KIND).replace_strict({"low": -50.0, "mid": 0.0, "high": 80.0}).to_numpy()
TABLE = pl.DataFrame({"kind": KIND, "x": np.round(CENTRE + DRAW.normal(0, 2, N), 1)})


def drawn(network: Decoder, n: int = 4_000) -> pl.DataFrame:
    return network.sample(pl.DataFrame({ROW: np.arange(n, dtype=np.uint64)}), Stream.root(1))


def test_normalisation_is_folded_into_its_layer():
    import torch

    g = torch.Generator().manual_seed(1)
    weight, shift, scale, offset = (torch.randn(*s, generator=g) for s in ((7, 5), (5,), (5,), (5,)))
    x = torch.randn(100, 7, generator=g)
    y = x @ weight + shift
    mean, variance = y.mean(0), y.var(0, unbiased=False)
    expected = torch.relu((y - mean) / torch.sqrt(variance + 1e-5) * scale + offset)
    layer = folded({"a.weight": weight, "a.shift": shift, "a.scale": scale, "a.offset": offset}, "a", mean, variance)
    made = np.maximum(x.numpy() @ layer.weight + layer.shift, 0)
    assert np.allclose(made, expected.numpy(), atol=1e-5)


def test_a_columns_chances_do_not_hang_on_other_columns_scores():
    """However far apart learning lets their scores come."""
    import torch

    from populace.core.samplers.deep.encoded import encode_table
    from populace.core.samplers.deep.windows import Segments

    data = encode_table(torch, TABLE, Stream.root(1))
    sizes, end = data.layout.sizes, int(data.layout.offsets[-1])
    scores = torch.randn(50, end, generator=torch.Generator().manual_seed(1)) * 3
    expected = torch.cat([torch.log_softmax(part, dim=1) for part in scores.split(sizes, dim=1)], dim=1)
    series = Segments.of(torch, data.layout)
    classes = data.classes[:50]
    for apart in (0.0, 200.0, -1e4):
        moved = scores + apart * data.segment[:, 0]
        # as exact as numbers of single precision are at that height
        near = {"atol": 1e-5 + abs(apart) * 1e-6}
        assert torch.allclose(data.log_chances(torch, moved), expected, **near)
        assert torch.allclose(series.log_chances(torch, moved[:, None])[:, 0], expected, **near)
        found = data.surprise(torch, moved, classes)
        assert torch.allclose(found, -expected.gather(1, classes).sum(dim=1), **near)


@pytest.mark.parametrize("settings", [CTGAN, WGAN])
def test_the_critics_penalty_is_that_of_its_derivative(settings: Settings):
    import torch

    from populace.core.samplers.deep.encoded import encode_table

    data = encode_table(torch, TABLE, Stream.root(1))
    generator = torch.Generator().manual_seed(1)
    asked = Asked.of(torch, data) if settings.asked else None
    pair = _Pair(torch, generator, data, settings, asked, None, FREELY)
    p, packs = pair.parameters, 40
    fake, real = torch.randn(2, packs, len(p["judge.0.weight"]), generator=generator)
    begun = generator.get_state()
    steep = pair.steepness(*(x @ p["judge.0.weight"] + p["judge.0.shift"] for x in (fake, real)))
    found = torch.autograd.grad(steep, [p[f"judge.{k}.weight"] for k in (0, 1, 2)])
    generator.set_state(begun)
    kept = pair.kept(packs)
    between = torch.lerp(fake, real, torch.rand(packs, 1, generator=generator)).requires_grad_()
    slope = torch.autograd.grad(pair.judgement(p, between, kept).sum(), between, create_graph=True)[0]
    expected = ((slope.norm(dim=1) - 1) ** 2).mean()
    assert steep.item() == pytest.approx(expected.item(), rel=1e-4)
    for a, b in zip(found, torch.autograd.grad(expected, [p[f"judge.{k}.weight"] for k in (0, 1, 2)]), strict=True):
        assert torch.allclose(a, b, rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize("learn", [fit_ctgan, fit_wgan, fit_tvae])
def test_columns_come_with_the_rows_own_distributions_however_little_was_learnt(learn, monkeypatch):
    monkeypatch.setattr(learn_adversarial, "LEAST_STEPS", 3)
    gaps = np.arange(N) % 10 == 0
    rows = TABLE.with_columns(
        x=pl.when(pl.Series(gaps)).then(None).otherwise(pl.col("x")),
        z=np.where(KIND == "low", 0.0, np.random.default_rng(5).gamma(2.0, 5.0, N)),
    )
    made = drawn(learn(rows, Stream.root(1), Effort(epochs=1)), 8_000)
    shares = dict(made["kind"].value_counts(normalize=True).iter_rows())
    for kind in ("low", "mid", "high"):
        assert shares.get(kind, 0.0) == pytest.approx((kind == KIND).mean(), abs=0.02)
    assert made["x"].null_count() / len(made) == pytest.approx(0.1, abs=0.02)
    assert (made["z"] == 0).mean() == pytest.approx((KIND == "low").mean(), abs=0.03)
    for column in ("x", "z"):
        real, found = (np.sort(t[column].drop_nulls().to_numpy()) for t in (rows, made))
        at = np.concatenate([real, found])
        apart = [np.searchsorted(x, at, side="right") / len(x) for x in (real, found)]
        assert np.abs(apart[0] - apart[1]).max() < 0.03


def test_a_number_that_stands_for_another_is_found_again():
    """What is given is looked up where the network draws it."""
    draw = np.random.default_rng(5)
    marginal = fit_marginals(TABLE.select("x"))[0]
    drawn_of = Modes(np.array([[-60.0, 20.0], [9.0, 30.0]]), np.sort(draw.normal(0.0, 40.0, KNOTS)))
    state, place = draw.integers(0, 2, 500), draw.uniform(-0.4, 0.4, 500)
    values = drawn_of.decode(marginal, state, place, np.ones(500, bool))
    found, at, known = drawn_of.encode(marginal, values, draw.uniform(size=500))
    assert known.all()
    again = drawn_of.decode(marginal, found, at, np.ones(500, bool))
    far = (again - values).abs().to_numpy()
    assert np.quantile(far, 0.95) < 2.0


def test_rare_classes_are_asked_for_more_often_than_they_occur_and_rows_fit_what_is_asked():
    import torch

    from populace.core.samplers.deep.encoded import encode_table

    data = encode_table(torch, TABLE, Stream.root(1))
    asked = Asked.of(torch, data)
    assert asked is not None
    known = data.layout.marginals[0].categories
    assert known is not None
    share = {k: (k == KIND).mean() for k in known}
    # classes: missing, then the categories
    assert asked.real == pytest.approx([0.0, *share.values()])
    logs = np.log1p([0, *((k == KIND).sum() for k in share)])
    assert asked.often.numpy() == pytest.approx(logs / logs.sum(), rel=1e-5)
    generator = torch.Generator().manual_seed(1)
    which, told = asked.draw(torch, generator, 500, as_real=False)
    assert (told.sum(dim=1) == 1).all()
    rows = asked.rows_of(torch, generator, which)
    assert (data.classes[rows, 0].numpy() == asked.places[which.numpy()]).all()


@pytest.mark.slow
@pytest.mark.parametrize("learn", [fit_ctgan, fit_wgan, fit_adsgan])
def test_a_mixture_is_learnt(learn):
    made = drawn(learn(TABLE, Stream.root(1), Effort(epochs=625)))
    shares = dict(made["kind"].value_counts(normalize=True).iter_rows())
    for kind in ("low", "mid", "high"):
        assert shares.get(kind, 0.0) == pytest.approx((kind == KIND).mean(), abs=0.1)
    near = made["x"].is_between(-60, -40) | made["x"].is_between(-10, 10) | made["x"].is_between(70, 90)
    assert near.mean() > 0.85
    agree = (made["kind"] == "low") == (made["x"] < -25)
    assert agree.mean() > 0.9


def test_the_constraint_keeps_made_rows_out_of_real_ones_neighbourhoods():
    import torch

    from populace.core.samplers.deep.encoded import encode_table
    from populace.core.samplers.deep.identifiable import EXACT, Constraint

    data = encode_table(torch, TABLE.head(300), Stream.root(1))
    generator = torch.Generator().manual_seed(1)
    constraint = Constraint.of(torch, generator, data, 5.0)
    rows = data.vectors(torch, data.classes[constraint.pool], data.places[constraint.pool]) * constraint.weight
    apart = torch.cdist(rows, rows, compute_mode=EXACT).fill_diagonal_(float("inf"))
    assert torch.allclose(constraint.reach, apart.min(dim=1).values, atol=1e-5)
    copied = constraint.loss(torch, generator, data, data.vectors(torch, data.classes, data.places))
    # a copy reaches through the whole neighbourhood of each row that has one
    assert float(copied) == pytest.approx(5.0 * float(constraint.reach.mean()), rel=0.02)
    far = data.vectors(torch, data.classes, data.places) + 100.0
    assert float(constraint.loss(torch, generator, data, far)) == 0.0


def test_a_generator_begins_with_what_counting_tells():
    """Before its first step each class comes as often as it is, and beside a class that is asked for as often as beside that."""
    import torch

    from populace.core.samplers.deep.encoded import encode_table

    draw = np.random.default_rng(7)
    a = draw.choice(["p", "q", "r"], N, p=[0.7, 0.25, 0.05])
    b = np.where(draw.uniform(size=N) < 0.8, a, "q")
    data = encode_table(torch, pl.DataFrame({"a": a, "b": b}), Stream.root(1))
    asked = Asked.of(torch, data)
    assert asked is not None
    pair = _Pair(torch, torch.Generator().manual_seed(1), data, CTGAN, asked, None, FREELY)
    with torch.no_grad():
        for t in (pair.parameters["make.2.weight"][: -len(asked.places)], pair.parameters["make.2.shift"]):
            assert t.isfinite().all()
        pair.parameters["make.2.weight"][: -len(asked.places)] = 0.0
        out = pair.made(torch.randn(4, 64), torch.tensor([asked.places.tolist().index(1)] * 4))[0]
        chance = torch.exp(data.log_chances(torch, out)).numpy()
    first, second = (chance[int(k) : int(k) + 4] for k in data.layout.offsets[:2])
    assert first[1] > 0.99
    for k, kind in enumerate(data.layout.marginals[1].categories or (), 1):
        assert second[k] == pytest.approx((b[a == "p"] == kind).mean(), abs=0.01)


def test_distributions_tell_how_often_classes_come():
    """Without a look at rows, for a generator that learns under differential privacy."""
    import torch

    from populace.core.samplers.deep.encoded import encode_rows
    from populace.core.samplers.deep.modes import ranked_layout

    draw = np.random.default_rng(5)
    rows = pl.DataFrame(
        {
            "kind": pl.Series([None, *KIND[1:].tolist()]),
            "z": np.where(KIND == "low", 0.0, draw.gamma(2.0, 5.0, N)),
            "gaps": pl.Series(draw.normal(size=N)).scatter(np.arange(0, N, 4), None),
        }
    )
    data = encode_rows(torch, rows, ranked_layout(fit_marginals(rows)), Stream.root(1))
    assert data.layout.shares() == pytest.approx(data.counts() / N, abs=2e-3)
