"""Samplers from samplers: one after another, one or another, or until a condition holds. That is hybrid generation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ..errors import UserError
from ..stream import Stream
from ..tables import ROW, Table, rows
from . import Sampler
from .rules import Guide, groups


@dataclass(frozen=True)
class Chain:
    """p(x, y | z) = p(x | z) p(y | x, z). A later sampler's column stands where an earlier one has it too: a fitted model returns the
    columns it was given, as they were."""

    samplers: tuple[Sampler, ...]

    @property
    def columns(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(c for s in self.samplers for c in s.columns))

    def sample(self, given: Table, stream: Stream) -> Table:
        table = given
        for sampler in self.samplers:
            table = table.with_columns(sampler.sample(table, stream).get_columns())
        return table.select(self.columns)


@dataclass(frozen=True)
class Mix:
    """Each row comes from one of the samplers, with the given weights. All make the same columns."""

    samplers: tuple[Sampler, ...]
    weights: tuple[float, ...]

    def __post_init__(self) -> None:
        if len(self.samplers) != len(self.weights):
            raise UserError(f"mix: {len(self.samplers)} samplers but {len(self.weights)} weights")
        _check_alike(self.samplers, "mix")
        _ = self._guide

    @property
    def columns(self) -> tuple[str, ...]:
        return self.samplers[0].columns

    @cached_property
    def _guide(self) -> Guide:
        return Guide.of([self.weights], "mix")

    def sample(self, given: Table, stream: Stream) -> Table:
        stream = stream.child("mix", *self.columns)
        address = rows(given)
        return _dealt(self.samplers, self._guide.choose(stream.uniform(address)), given, stream)


@dataclass(frozen=True)
class Switch:
    """Each row comes from the sampler of its value in column `by`; under None, the sampler for every other value. All make the same columns."""

    by: str
    samplers: Mapping[Any, Sampler]

    def __post_init__(self) -> None:
        _check_alike(tuple(self.samplers.values()), "switch")

    @property
    def columns(self) -> tuple[str, ...]:
        return next(iter(self.samplers.values())).columns

    def sample(self, given: Table, stream: Stream) -> Table:
        group = groups(given, self.by, list(self.samplers), f"switch to make {', '.join(self.columns)}")
        return _dealt(tuple(self.samplers.values()), group, given, stream)


@dataclass(frozen=True)
class Constrained:
    """Rows of `sampler` for which a predicate over given and made columns is not false (null passes, as in a CHECK)."""

    sampler: Sampler
    predicate: str | pl.Expr
    """SQL, or an expression."""
    tries: int = 100

    def __post_init__(self) -> None:
        if self.tries < 1:
            raise UserError(f"constrain: tries is {self.tries}, expected at least 1")
        try:
            _ = self._holds
        except pl.exceptions.PolarsError as error:
            raise UserError(f"constrain: '{self.predicate}' is not a predicate: {error}") from None

    @property
    def columns(self) -> tuple[str, ...]:
        return self.sampler.columns

    def sample(self, given: Table, stream: Stream) -> Table:
        """Raises UserError, with their number, if any row fails the predicate in every try."""
        given = given.with_columns(pl.Series(ROW, rows(given)))
        made = self.sampler.sample(given, stream.child("try", 0))
        failing = self._failing(given, made)
        for attempt in range(1, self.tries):
            if not len(failing):
                break
            again = given[failing]
            redrawn = self.sampler.sample(again, stream.child("try", attempt))
            source = np.arange(given.height)
            source[failing] = given.height + np.arange(len(failing))
            made = pl.concat([made, redrawn])[source]
            failing = failing[self._failing(again, redrawn)]
        if len(failing):
            example = made[int(failing[0])].row(0, named=True)
            raise UserError(
                f"constrain: {len(failing):,} of {given.height:,} rows still fail '{self.predicate}' after "
                f"{self.tries:,} tries, for instance {example}"
            )
        return made

    @cached_property
    def _holds(self) -> pl.Expr:
        return pl.sql_expr(self.predicate) if isinstance(self.predicate, str) else self.predicate

    def _failing(self, given: Table, made: Table) -> NDArray[np.int64]:
        try:
            holds = given.with_columns(made.get_columns()).select(self._holds.alias("holds"))["holds"]
        except pl.exceptions.PolarsError as error:
            raise UserError(f"constrain: '{self.predicate}' cannot be judged: {error}") from None
        return np.flatnonzero(~holds.fill_null(True).cast(pl.Boolean).to_numpy())


def _check_alike(samplers: tuple[Sampler, ...], place: str) -> None:
    if not samplers:
        raise UserError(f"{place}: no samplers given")
    first = samplers[0].columns
    for sampler in samplers:
        if set(sampler.columns) != set(first):
            raise UserError(f"{place}: one sampler makes {', '.join(first)}, another {', '.join(sampler.columns)}")


def _dealt(samplers: tuple[Sampler, ...], chosen: NDArray, given: Table, stream: Stream) -> Table:
    """The rows of `given`, each from the sampler chosen for it."""
    given = given.with_columns(pl.Series(ROW, rows(given)))
    # a sampler that gets no row is asked too: the column types must not depend on which were chosen
    parts = [
        sampler.sample(given.filter(pl.Series(chosen == n)), stream.child(n)).select(samplers[0].columns)
        for n, sampler in enumerate(samplers)
    ]
    order = np.argsort(chosen, kind="stable")
    back = np.empty_like(order)
    back[order] = np.arange(len(order))
    return pl.concat(parts, how="vertical_relaxed")[back]


def chain(*samplers: Sampler) -> Chain:
    """One sampler after another; each sees what was given and what those before it made."""
    return Chain(samplers)


def mix(samplers: Sequence[Sampler], weights: Sequence[float]) -> Mix:
    """One of several samplers for each row."""
    return Mix(tuple(samplers), tuple(weights))


def switch(by: str, samplers: Mapping[Any, Sampler]) -> Switch:
    """A sampler for each value of a column: a locale for each country, a distribution for each segment."""
    return Switch(by, samplers)


def constrain(sampler: Sampler, predicate: str | pl.Expr, tries: int = 100) -> Constrained:
    """Redraw rows that fail a SQL predicate, each try from a stream of its own, at most `tries` times."""
    return Constrained(sampler, predicate, tries)
