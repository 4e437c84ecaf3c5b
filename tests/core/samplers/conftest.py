"""Private models with fewer steps of inference, and networks that draw in smaller blocks: what follows the noise is the same work for every table, a block is
one however few rows are asked for, and tests fit and draw many."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from populace.core.samplers.deep import autoregressive, decoder, diffusion, draw, transformer
from populace.core.samplers.statistical import private_graph


@pytest.fixture(scope="module", autouse=True)
def less_work() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(private_graph, "ROUND_STEPS", 10)
        patch.setattr(private_graph, "LAST_STEPS", 150)
        for module in (draw, autoregressive, decoder, diffusion, transformer):
            patch.setattr(module, "BLOCK", 256)
        yield
