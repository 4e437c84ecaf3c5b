"""Each column from its own distribution, independent of the others: the baseline that every model has to beat."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import polars as pl
from numpy.typing import NDArray

from ...errors import UserError
from ...stream import Stream
from ...tables import ROW, Table, rows
from .marginal import Marginal, fit_marginal


@dataclass(frozen=True, eq=False)
class Empirical:
    """Independent columns. Columns that are given pass through."""

    marginals: tuple[Marginal, ...]

    @property
    def columns(self) -> tuple[str, ...]:
        return tuple(m.name for m in self.marginals)

    def sample(self, given: Table, stream: Stream) -> Table:
        address = rows(given)
        made = []
        for marginal in self.marginals:
            if marginal.name in given.columns:
                made.append(given[marginal.name])
                continue
            draw = stream.child(marginal.name)
            present = draw.child("missing").uniform(address) >= marginal.missing if marginal.missing else None
            made.append(marginal.quantile(draw.uniform(address), present))
        return pl.DataFrame(made)

    def state(self) -> tuple[dict[str, Any], dict[str, NDArray]]:
        return marginal_state(self.marginals)


def fit_empirical(table: Table, stream: Stream) -> Empirical:
    """Learn each column of a table. Raises UserError for an empty table or a column of a type that cannot be learnt."""
    return Empirical(fit_marginals(table))


def rebuild_empirical(plain: Mapping[str, Any], arrays: Mapping[str, NDArray]) -> Empirical:
    """The inverse of `Empirical.state`."""
    return Empirical(rebuild_marginals(plain, arrays))


def fit_marginals(table: Table) -> tuple[Marginal, ...]:
    check_learnable(table)
    return tuple(fit_marginal(column) for column in table.get_columns())


def check_learnable(table: Table) -> None:
    """Raises UserError for a table without rows or columns, or with a column that has populace's own name."""
    if not table.height or not table.width:
        raise UserError(f"the table has {table.height:,} rows and {table.width} columns: there is nothing to learn")
    if ROW in table.columns:
        raise UserError(f"the table has a column '{ROW}', a name that populace keeps for itself")


def marginal_state(marginals: tuple[Marginal, ...]) -> tuple[dict[str, Any], dict[str, NDArray]]:
    states = [m.state() for m in marginals]
    arrays = {f"{n}.{key}": array for n, (_, held) in enumerate(states) for key, array in held.items()}
    return {"columns": [plain for plain, _ in states]}, arrays


def rebuild_marginals(plain: Mapping[str, Any], arrays: Mapping[str, NDArray]) -> tuple[Marginal, ...]:
    marginals = tuple(
        Marginal.rebuilt(column, {key: arrays[f"{n}.{key}"] for key in ("edges", "left", "right")})
        for n, column in enumerate(plain["columns"])
    )
    if not marginals or len({m.name for m in marginals}) != len(marginals):
        raise ValueError("its columns are not distinct")
    return marginals
