"""A vine copula over columns of any type: pairs of columns, given others, each with a copula of its own.

Aas, Czado, Frigessi and Bakken 2009, "Pair-copula constructions of multiple dependence", Insurance: Mathematics and Economics 44(2); the structure is
chosen as in Dissmann, Brechmann, Czado and Kurowicka 2013, "Selecting and estimating regular vine copulae", CSDA 59, by pyvinecopulib. Pairs may be
learnt without a parametric family (Nagler, Schellhase and Czado 2017, Dependence Modeling 5), so relations need not be monotone. Columns with atoms,
categories and gaps come in as uniforms spread over their steps (Rüschendorf 2009, "On the distributional transform", J. Stat. Plan. Inference 139).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ...errors import UserError
from ...stream import F64, Stream
from ...tables import Table, rows
from .empirical import fit_marginals, marginal_state, rebuild_marginals
from .marginal import Marginal
from .scaling import order_categories

LEVELS = 4
"""Trees of the vine; columns further apart are independent given those between (Brechmann, Czado and Aas 2012, Canad. J. Stat. 40)."""
ROWS = 8_000
"""Rows that the vine is learnt from at most; the marginals see every row."""
POOL = 1 << 15
"""Draws among which rows with given columns find their like."""
NEAREST = 24
_CHUNK = 1 << 16
_MOST_TEXT = 1 << 26
_END = 1e-9


@dataclass(frozen=True, eq=False)
class Vine:
    """p(columns) by a vine copula. Columns that are given pass through. The others are then those of one of `NEAREST` draws that come nearest in what is
    given, chosen in proportion to how much likelier the draw is with the given values than with its own (importance resampling): close to the
    conditional distribution, and not exact. What was never seen tells nothing."""

    marginals: tuple[Marginal, ...]
    text: str
    """The vine as pyvinecopulib's JSON; empty where fewer than two columns vary."""

    @property
    def columns(self) -> tuple[str, ...]:
        return tuple(m.name for m in self.marginals)

    @cached_property
    def _live(self) -> list[int]:
        return live(self.marginals)

    @cached_property
    def _vine(self) -> Any:
        return library().Vinecop.from_json(self.text) if self.text else None

    def sample(self, given: Table, stream: Stream) -> Table:
        address = rows(given)
        told = {n: given[c] for n, c in enumerate(self.columns) if c in given.columns}
        parts = []
        for start in range(0, max(len(address), 1), _CHUNK):
            at = address[start : start + _CHUNK]
            held = {n: v.slice(start, _CHUNK) for n, v in told.items()}
            u = self._given(held, at, stream) if any(n in self._live for n in held) else self._drawn(at, stream)
            parts.append(
                pl.DataFrame(
                    [
                        held[n]
                        if n in held
                        else _value(m, u[:, self._live.index(n)] if n in self._live else np.full(len(at), 0.5))
                        for n, m in enumerate(self.marginals)
                    ]
                )
            )
        return pl.concat(parts)

    def _drawn(self, address: NDArray, stream: Stream) -> F64:
        """Uniforms, shape (rows, varying columns)."""
        w = (
            np.stack([stream.child(self.columns[n]).uniform(address) for n in self._live], axis=1)
            if self._live
            else np.empty((len(address), 0))
        )
        return self._vine.inverse_rosenblatt(np.asfortranarray(w)) if self._vine is not None and len(w) else w

    def _given(self, told: Mapping[int, pl.Series], address: NDArray, stream: Stream) -> F64:
        from scipy.spatial import cKDTree

        known, at = {}, {}
        for n in (n for n in told if n in self._live):
            at[n], known[n] = uniforms(
                self.marginals[n], told[n], stream.child(self.columns[n], "told").uniform(address)
            )
        out = self._drawn(address, stream)
        if self._vine is None:
            return out
        pool = self._drawn(np.arange(POOL, dtype=np.uint64), stream.child("pool"))
        pattern = np.stack([known[n] for n in at], axis=1)
        for kind in np.unique(pattern, axis=0):
            some = np.flatnonzero((pattern == kind).all(axis=1))
            columns = [self._live.index(n) for n, there in zip(at, kind, strict=True) if there]
            if not columns:
                continue
            wanted = np.stack([at[n][some] for n, there in zip(at, kind, strict=True) if there], axis=1)
            near = cKDTree(pool[:, columns]).query(wanted, NEAREST)[1]
            both = pool[near.ravel()]
            before = self._vine.pdf(np.asfortranarray(both))
            both[:, columns] = np.repeat(wanted, NEAREST, axis=0)
            gain = np.maximum(self._vine.pdf(np.asfortranarray(both)), 1e-300) / np.maximum(before, 1e-300)
            share = np.cumsum(gain.reshape(-1, NEAREST), axis=1)
            u = stream.child("chosen").uniform(address[some]) * share[:, -1]
            place = np.minimum((u[:, None] > share).sum(axis=1), NEAREST - 1)
            out[some] = both.reshape(len(some), NEAREST, -1)[np.arange(len(some)), place]
        return out

    def state(self) -> tuple[dict[str, Any], dict[str, NDArray]]:
        plain, arrays = marginal_state(self.marginals)
        return plain | {"vine": self.text}, arrays


def fit_vine(table: Table, stream: Stream) -> Vine:
    """Learn a table. Raises UserError for an empty table, a column of a type that cannot be learnt, or where pyvinecopulib is missing."""
    pv = library()
    marginals = fit_marginals(table)
    pieces = [m.locate(table[m.name]) for m in marginals]
    marginals = order_categories(marginals, pieces)
    columns = live(marginals)
    if len(columns) < 2 or table.height < 10:
        return Vine(marginals, "")
    kept = np.sort(np.argsort(stream.child("rows").bits(np.arange(table.height)), kind="stable")[:ROWS])
    spread = [stream.child(marginals[n].name, "spread").uniform(kept) for n in columns]
    u = np.stack(
        [uniforms(marginals[n], table[marginals[n].name][kept], s)[0] for n, s in zip(columns, spread, strict=True)],
        axis=1,
    )
    families = [pv.BicopFamily.indep, pv.BicopFamily.gaussian, pv.BicopFamily.frank, pv.BicopFamily.tll]
    controls = pv.FitControlsVinecop(family_set=families, trunc_lvl=LEVELS, selection_criterion="bic", num_threads=1)
    return Vine(marginals, pv.Vinecop.from_data(np.asfortranarray(u), controls=controls).to_json())


def rebuild_vine(plain: Mapping[str, Any], arrays: Mapping[str, NDArray]) -> Vine:
    """The inverse of `Vine.state`. Raises ValueError for what is no vine of its columns."""
    marginals, text = rebuild_marginals(plain, arrays), plain["vine"]
    if not isinstance(text, str) or len(text) > _MOST_TEXT or (text and not isinstance(json.loads(text), dict)):
        raise ValueError("it holds no vine")
    made = Vine(marginals, text)
    try:
        if text and made._vine.dim != len(made._live):
            raise ValueError(f"its vine has {made._vine.dim} columns, not {len(made._live)}")
    except RuntimeError as error:
        raise ValueError(f"its vine is damaged: {error}") from None
    return made


def library() -> Any:
    try:
        import pyvinecopulib
    except ImportError:
        raise UserError("the model 'vine-copula' needs pyvinecopulib: pip install 'populace[vine]'") from None
    return pyvinecopulib


def live(marginals: tuple[Marginal, ...]) -> list[int]:
    """The columns that vary."""
    return [n for n, m in enumerate(marginals) if m.pieces > 1 or 0.0 < m.missing < 1.0]


def uniforms(marginal: Marginal, values: pl.Series, spread: F64) -> tuple[F64, NDArray[np.bool_]]:
    """Where values stand in their column's distribution, gaps first, spread over the steps of atoms; and which say anything."""
    piece, share, known = marginal.locate(values)
    null = values.is_null().to_numpy()
    if values.dtype.is_float():
        null |= values.is_nan().fill_null(False).to_numpy()
    u = np.zeros(len(values))
    if marginal.pieces:
        within = np.where(marginal.atoms[piece], spread, share)
        u = marginal.edges[piece] + within * (marginal.edges[piece + 1] - marginal.edges[piece])
    u = np.where(known, marginal.missing + (1 - marginal.missing) * u, spread * marginal.missing)
    return np.clip(u, _END, 1 - _END), known | (null & (marginal.missing > 0))


def _value(marginal: Marginal, u: F64) -> pl.Series:
    there = u >= marginal.missing if marginal.missing else np.ones(len(u), bool)
    if marginal.missing == 1.0:
        there[:] = False
    scaled = (u - marginal.missing) / max(1 - marginal.missing, 1e-300)
    return marginal.quantile(np.clip(scaled, 2.0**-54, 1 - 2.0**-53), there)
