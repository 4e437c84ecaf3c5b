"""A private table whose columns are paid for, each cut into classes: what the private models begin with."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from ...privacy.budget import Budget
from ...privacy.private_table import PrivateTable, sigma
from ...stream import F64, Stream
from ...tables import Table
from .empirical import check_learnable
from .forest import Classes, code_of
from .marginal import Marginal
from .network import coarsened
from .private_marginals import Extent, buy_marginals

SEARCH = 0.05
"""The share of the budget that finds the ends and values of columns of which they were not said."""


class Bought:
    """A private table whose columns are paid for, each cut into classes."""

    def __init__(self, private: PrivateTable, marginals: tuple[Marginal, ...], rows: float, noise: float) -> None:
        self.private, self.marginals, self.rows, self.noise = private, marginals, rows, noise
        self.names = [m.name for m in marginals]
        self.classes = [Classes.of(m) for m in marginals]
        self.coarse = [coarsened(c) for c in self.classes]
        for marginal, classes in zip(marginals, self.classes, strict=True):
            private.encode(marginal.name, lambda v, m=marginal, c=classes: c.of_codes(code_of(m, v)))

    @staticmethod
    def of(table: Table, stream: Stream, budget: Budget, extents: Mapping[str, Extent], part: float = 1 / 3) -> Bought:
        """Buy the columns for this part of the budget. Raises UserError for a column of a type that cannot be learnt, an extent that does not fit, or
        a budget that was spent before."""
        check_learnable(table)
        private = PrivateTable(table, budget, stream)
        rho = budget.left
        marginals, rows = buy_marginals(private, extents, rho * (1 - SEARCH) * part, rho * SEARCH)
        return Bought(private, marginals, rows, sigma(rho * (1 - SEARCH) * part / len(marginals)))

    def size(self, n: int, coarse: bool) -> int:
        return int(self.coarse[n][-1]) + 1 if coarse else len(self.classes[n].share)

    def share(self, n: int, coarse: bool) -> F64:
        share = np.maximum(self.classes[n].share, 0.0)
        return np.bincount(self.coarse[n], share).astype(np.float64) if coarse else share
