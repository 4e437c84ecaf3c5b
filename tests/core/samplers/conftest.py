"""Private models with fewer steps of inference: what follows the noise is the same work for every table, and tests fit many."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from populace.core.samplers.statistical import private_graph


@pytest.fixture(scope="session", autouse=True)
def fewer_steps() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(private_graph, "ROUND_STEPS", 10)
        patch.setattr(private_graph, "LAST_STEPS", 150)
        yield
