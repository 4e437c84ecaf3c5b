"""Learners of fewer trees: what a figure says of rows that are known hangs on the rows, and the trees are most of the work. `make test-all` has them all."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from populace.core.evaluate import learners


@pytest.fixture(scope="module", autouse=True)
def less_work(pytestconfig: pytest.Config) -> Iterator[None]:
    if pytestconfig.getoption("--hypothesis-profile") == "thorough":
        yield
        return
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(learners, "ROUNDS", 40)
        patch.setattr(learners, "TREES", 30)
        yield
