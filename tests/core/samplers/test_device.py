"""A GPU is used where there is one: where tensors have no numbers and may not meet others, a whole step of learning passes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch

from populace.core.models import MODELS
from populace.core.samplers.deep import (
    cells,
    engine,
    learn_autoregressive,
    learn_diffusion,
    learn_transformer,
    learn_variational,
)
from populace.core.samplers.deep.learnt import FREELY
from populace.core.stream import Stream

RNG = np.random.default_rng(1)
TABLE = pl.DataFrame({"x": RNG.normal(size=300), "kind": RNG.choice(["a", "b", "c"], 300)})


class Looked(Exception):
    """The step is done."""


@pytest.mark.parametrize(
    ("name", "module"),
    [
        ("autoregressive", learn_autoregressive),
        ("transformer", learn_transformer),
        ("tabddpm", learn_diffusion),
        ("vae", learn_variational),
    ],
)
def test_a_step_stays_where_it_began(name: str, module: Any, monkeypatch: pytest.MonkeyPatch):
    seen: list[str] = []

    @contextmanager
    def pretended(torch: Any, stream: Stream) -> Iterator[Any]:
        with torch.device("meta"):
            yield torch.Generator()

    def step(torch: Any, generator: Any, learner: Any, *_: Any) -> None:
        # the loss's number is the first thing that nobody can know
        with pytest.raises(RuntimeError, match="meta tensors"):
            next(learner.epoch(0.0, 1.0))
        seen.extend(part.device.type for t in learner.parameters.values() for part in (t, t.grad))
        seen.extend(t.device.type for t in learner.averages.values())
        raise Looked

    # one kernel for all parameters is written for real devices alone
    monkeypatch.setattr(torch, "_fused_adamw_", lambda *args, **more: None)
    # numbers in cells, as of many rows
    monkeypatch.setattr(cells, "CELLED_ROWS", 1)
    monkeypatch.setattr(module, "deterministic", pretended)
    monkeypatch.setattr(module, "train", step)
    with pytest.raises(Looked):
        MODELS[name].learn(TABLE, Stream.root(1), FREELY)
    assert set(seen) == {"meta"}


def test_where_it_is(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert engine.device_of(torch) == "cuda"
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with engine.deterministic(torch, Stream.root(1)) as generator:
        assert generator.device.type == torch.zeros(1).device.type == "cpu"
