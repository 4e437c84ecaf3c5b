"""The laws of a sampler, for every sampler there is: a class in core/samplers without an example here fails the first test."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import random
from collections.abc import Callable
from functools import cache

import numpy as np
import polars as pl
import pytest

from populace.core import samplers
from populace.core.domain import Window
from populace.core.privacy.budget import Budget
from populace.core.samplers import Sampler, text
from populace.core.samplers.compose import chain, constrain, mix, switch
from populace.core.samplers.deep.learn_adversarial import fit_ctgan
from populace.core.samplers.deep.learn_autoregressive import fit_autoregressive
from populace.core.samplers.deep.learn_diffusion import fit_diffusion
from populace.core.samplers.deep.learn_sequence import fit_sequence
from populace.core.samplers.deep.learn_timevae import fit_timevae
from populace.core.samplers.deep.learn_transformer import fit_transformer
from populace.core.samplers.deep.learn_variational import fit_tvae
from populace.core.samplers.deep.learnt import Effort
from populace.core.samplers.keys import Iban, Luhn, Sequence, Uuid
from populace.core.samplers.rules import Calendar, Choice, ChoiceBy, Constant, Draw, Lookup, Zipf
from populace.core.samplers.statistical.adversarial_forest import fit_adversarial_forest
from populace.core.samplers.statistical.copula import fit_copula
from populace.core.samplers.statistical.empirical import fit_empirical
from populace.core.samplers.statistical.grow import fit_forest
from populace.core.samplers.statistical.learn_events import Roles, fit_semi_markov
from populace.core.samplers.statistical.learn_network import fit_network
from populace.core.samplers.statistical.learn_series import fit_series
from populace.core.samplers.statistical.private_network import fit_privbayes
from populace.core.samplers.statistical.regenerate import Regenerated, Rule
from populace.core.samplers.statistical.vine import fit_vine
from populace.core.stream import Stream
from populace.core.tables import ROW

N = 300
YEAR = Window(1_735_689_600_000_000, 1_767_225_600_000_000)


def frame(n: int) -> pl.DataFrame:
    """What the samplers are given: addresses out of order, and a few columns."""
    rng = np.random.default_rng(5)
    sex = np.array(["F", "M", None], dtype=object)
    return pl.DataFrame(
        {
            ROW: rng.permutation(10 * n)[:n].astype(np.uint64),
            "sex": pl.Series(sex[rng.integers(0, 3, n)], dtype=pl.String),
            "country": pl.Series(np.array(["GB", "NL", "JP"])[rng.integers(0, 3, n)]),
            "age": pl.Series(rng.integers(0, 100, n)),
            "mu": rng.normal(size=n),
            "given_name": pl.Series(np.array(["Łucja", "真綾", "محمد", "José María"])[rng.integers(0, 4, n)]),
            "family_name": ["O'Neill"] * n,
        }
    )


def table(n: int) -> pl.DataFrame:
    """A table to learn: related columns of several types, with missing values."""
    rng = np.random.default_rng(6)
    z = rng.multivariate_normal([0, 0, 0], [[1, 0.7, 0.4], [0.7, 1, 0.2], [0.4, 0.2, 1]], n)
    return pl.DataFrame(
        {
            "age": np.clip(40 + 15 * z[:, 0], 0, 100).astype(int),
            "income": np.round(np.exp(8 + z[:, 1]), 2),
            "sex": pl.Series(np.where(z[:, 2] > 0, "F", "M")),
            "visits": pl.Series(np.floor(np.maximum(z[:, 1], 0) * 3).astype(int)).set(pl.Series(z[:, 0] > 1.2), None),
        }
    )


def visits(n: int) -> pl.DataFrame:
    """Events of entities to learn."""
    rng = np.random.default_rng(7)
    return pl.DataFrame(
        {"who": rng.integers(0, 40, n), "at": rng.normal(size=n), "kind": rng.choice(["in", "test", "out"], n)}
    )


def course(n: int) -> pl.DataFrame:
    """A series to learn: a day's wave, a trend, noise, and few values in one column."""
    rng = np.random.default_rng(8)
    at = np.arange(n) * 1_800_000_000
    wave = np.sin(2 * np.pi * at / 86_400e6) + np.arange(n) / n
    return pl.DataFrame({"x": wave + rng.normal(size=n) / 5, "k": rng.integers(0, 4, n)}).with_columns(
        at=pl.Series(at).cast(pl.Datetime("us"))
    )


CHOICE = Choice("kind", ["a", "b", "c"], [1, 2, 7])
EXAMPLES: dict[str, Callable[[], Sampler]] = {
    "constant": lambda: Constant("x", "GB"),
    "choice": lambda: CHOICE,
    "choice enum": lambda: Choice("kind", ["a", "b"], dtype=pl.Enum(["b", "a"])),
    "choice by": lambda: ChoiceBy("x", "sex", {"F": {"a": 1, "b": 3}, "M": {"b": 1}, None: {"c": 1}}),
    "draw": lambda: Draw("x", "lognormal", mu="mu", sigma=0.5),
    "draw poisson": lambda: Draw("x", "poisson", mean="age"),
    "zipf": lambda: Zipf("x", 100_000, 1.1),
    "lookup": lambda: Lookup(("code",), ("country",), pl.DataFrame({"country": ["JP", "GB", "NL"], "code": [3, 1, 2]})),
    "calendar": lambda: Calendar("at", YEAR),
    "sequence": lambda: Sequence("id", prefix="C-", width=9),
    "uuid": lambda: Uuid("id"),
    "luhn": lambda: Luhn("card"),
    "iban": lambda: Iban("iban", "DE"),
    "name": lambda: text.Name("pl_PL", "sex"),
    "address": lambda: text.Address("en_US", {"CA": 2, "NY": 1}),
    "company": lambda: text.Company("employer", "fr_FR"),
    "phone": lambda: text.Phone("phone", "en_GB"),
    "email": lambda: text.Email(),
    "person": lambda: text.person("ja_JP"),
    "people of several countries": lambda: switch(
        "country", {"GB": text.person("en_GB", "sex"), "NL": text.person("es_ES"), None: text.person("ja_JP")}
    ),
    "chain": lambda: chain(Draw("mean", "gamma", shape=2.0), Draw("count", "poisson", mean="mean")),
    "mix": lambda: mix([Draw("x", "normal"), Constant("x", 0)], [3, 1]),
    "switch": lambda: switch(
        "country", {"GB": Iban("iban", "GB"), "NL": Iban("iban", "NL"), None: Constant("iban", None)}
    ),
    "constrain": lambda: constrain(Draw("x", "normal"), "x > mu - 1"),
    "empirical": lambda: fit_empirical(table(500), Stream.root(1)),
    "copula": lambda: fit_copula(table(500), Stream.root(1)),
    "adversarial forest": lambda: fit_adversarial_forest(table(500), Stream.root(1), trees=3),
    "vine": lambda: fit_vine(table(300), Stream.root(1)),
    "forest": lambda: fit_forest(table(500), Stream.root(1), trees=4),
    "autoregressive": lambda: fit_autoregressive(table(500), Stream.root(1), Effort(epochs=2)),
    "transformer": lambda: fit_transformer(table(300), Stream.root(1), Effort(epochs=1)),
    "diffusion": lambda: fit_diffusion(table(300), Stream.root(1), Effort(epochs=1)),
    "windows": lambda: fit_timevae(visits(200), Stream.root(1), Roles("who", "at"), Effort(epochs=1)),
    "step by step": lambda: fit_sequence(visits(200), Stream.root(1), Roles("who", "at"), Effort(epochs=1)),
    "decoder": lambda: fit_tvae(table(500), Stream.root(1), Effort(epochs=2)),
    "asked decoder": lambda: fit_ctgan(table(300), Stream.root(1), Effort(epochs=1)),
    "network": lambda: fit_network(table(500), Stream.root(1)),
    "private network": lambda: fit_privbayes(table(500), Stream.root(1), Budget(5.0), {})[0],
    "events": lambda: fit_semi_markov(visits(200), Stream.root(1), Roles("who", "at")),
    "series": lambda: fit_series(course(500), Stream.root(1), "at"),
    "regenerated": lambda: Regenerated(
        CHOICE,
        (
            Rule("id", "number", "Int64", unique=True, digits=6),
            Rule("link", "uuid", "String", distinct=7, repeats=(0.2, 0.8)),
            Rule("mail", "person", "String", missing=0.2, unique=True, part="email"),
            Rule("code", "pattern", "String", unique=True, shapes=("\\C\\-9999",), shares=(1.0,)),
            Rule("note", "text", "String", words=(2.0, 5.0, 9.0), sentence=True),
        ),
        ("note", "id", "kind", "link", "mail", "code"),
    ),
    "hybrid": lambda: chain(CHOICE, fit_copula(table(500).drop("sex"), Stream.root(1))),
}


@cache
def example(name: str) -> Sampler:
    return EXAMPLES[name]()


@cache
def drawn(name: str, seed: int = 1) -> pl.DataFrame:
    return example(name).sample(frame(N), Stream.root(seed))


@pytest.fixture(params=EXAMPLES)
def name(request: pytest.FixtureRequest) -> str:
    return request.param


def test_every_sampler_is_held_to_the_laws():
    found = set()
    for module in pkgutil.walk_packages(samplers.__path__, "populace.core.samplers."):
        members = vars(importlib.import_module(module.name)).values()
        classes = {c for c in members if inspect.isclass(c) and c is not Sampler and hasattr(c, "sample")}
        found |= {c for c in classes if c.__module__.startswith("populace.")}
    assert found
    assert found - {type(example(name)) for name in EXAMPLES} == set()


def test_aligned(name: str):
    sampler = example(name)
    assert isinstance(sampler, Sampler)
    for n, made in ((n, sampler.sample(frame(N).head(n), Stream.root(1))) for n in (0, 1)):
        assert made.height == n
        assert tuple(made.columns) == sampler.columns
    assert drawn(name).height == N
    assert tuple(drawn(name).columns) == sampler.columns


def test_deterministic_and_without_global_state(name: str):
    before = random.getstate(), np.random.get_state()[1].tolist()  # noqa: NPY002
    again = example(name).sample(frame(N), Stream.root(1))
    assert (random.getstate(), np.random.get_state()[1].tolist()) == before  # noqa: NPY002
    assert again.equals(drawn(name))


def test_prefix_stable(name: str):
    whole = drawn(name)
    for k in (1, 7, 64, N - 1):
        part = example(name).sample(frame(N).head(k), Stream.root(1))
        assert part.schema == whole.schema
        assert part.equals(whole.head(k))


def test_a_row_depends_on_its_address_and_not_on_its_neighbours(name: str):
    order = np.random.default_rng(1).permutation(N)[: N // 2]
    assert example(name).sample(frame(N)[order], Stream.root(1)).equals(drawn(name)[order])


def test_another_column_changes_nothing(name: str):
    more = frame(N).with_columns(unrelated=pl.lit(1))
    assert example(name).sample(more, Stream.root(1)).equals(drawn(name))


@pytest.mark.parametrize("name", sorted(EXAMPLES.keys() - {"constant", "lookup", "sequence"}), indirect=True)
def test_another_stream_gives_other_rows(name: str):
    assert not drawn(name).equals(drawn(name, seed=2))
