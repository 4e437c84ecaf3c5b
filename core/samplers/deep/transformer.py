"""Column after column by attention: each column asks what is known of a row, whatever that is, and one network answers for all columns.

Vaswani et al. 2017, arXiv:1706.03762; for tables as Canale, Grislain, Lothe and Leduc 2022, "Generative Modeling of Complex Data", arXiv:2202.02145, and Solatorio and Dupriez 2023, "REaLTabFormer",
arXiv:2302.02041, here over classes and cells instead of characters; orders as in Hoogeboom et al. 2022, ICLR, arXiv:2110.02037. What is asked hangs on the column that is next and what
answers on the values that are known, as in the first of the query streams of Yang et al. 2019, "XLNet", NeurIPS, arXiv:1906.08237: so keys and values are look-ups, one for each value of a column.
`learn_transformer.py` learns it, with torch; drawing needs none.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ...stream import Stream
from ...tables import Table
from ..statistical.empirical import marginal_state, rebuild_marginals
from ..statistical.marginal import Marginal
from .draw import BLOCK, choose_class, distinct, in_parts, row_product
from .heads import Heads, check_array, rebuild_heads
from .learnt import Learnt, rebuild_learnt

F32 = NDArray[np.float32]
I64 = NDArray[np.int64]
Told = tuple[I64, F32]
"""Values of a column, and what they tell, shape (rows, H)."""

PARTS = 4
"""Parts that attend apart."""
LEAST = 1e-5
"""Added to variances that are divided by."""
_CHUNK = 1 << 18
_FEW = 0.5
"""Rows that have told the same so far are worked out once, while they are at most this share of all."""
_LEAST_WEIGHT = np.float32(1e-30)
_HEARD = 1 << 18
"""What columns have heeded is kept for so many beginnings, times columns: about fifty megabytes."""


def trunk_shapes(width: int) -> dict[str, tuple[int, int]]:
    """The layers, and their inputs and outputs: what a column asks, what a value answers and tells, what comes of it."""
    return {
        "ask": (width, width),
        "answer": (width, width),
        "told": (width, width),
        "tell": (width, width),
        "wide": (width, 2 * width),
        "back": (2 * width, width),
    }


NORMS = ("value", "column", "found")
"""What is brought to a mean and a variance: values before they answer, columns before they ask, and what was found."""


@dataclass(frozen=True, eq=False)
class Transformer:
    """p(columns) as a product of conditionals, in an order that begins with what is given. Given columns pass through; what was never seen counts as missing."""

    heads: Heads
    following: F32
    """What it means that a column is next, shape (columns, H)."""
    begin: F32
    """What is known of every row, shape (H,)."""
    trunk: Mapping[str, F32]
    learnt: Learnt

    @property
    def marginals(self) -> tuple[Marginal, ...]:
        return tuple(c.marginal for c in self.heads.cells)

    @property
    def columns(self) -> tuple[str, ...]:
        return tuple(m.name for m in self.marginals)

    def sample(self, given: Table, stream: Stream) -> Table:
        return in_parts(self.columns, given, _CHUNK, lambda told, address: self._part(told, address, stream))

    def _part(self, told: Mapping[str, pl.Series], address: NDArray, stream: Stream) -> Table:
        count, heads = len(address), self.heads
        known = {n: heads.cells[n].of_values(told[m.name]) for n, m in enumerate(self.marginals) if m.name in told}
        left = [n for n in heads.order if n not in known]
        names = {n: stream.child(self.marginals[n].name) for n in left}
        drawn = {n: (np.zeros(count, np.int64), np.zeros(count, np.int64)) for n in left}
        seen, place = _Seen(self, count, left), np.empty(0, np.int64)
        for n, (state, cell) in known.items():
            seen.add(n, state, cell)
        while count and left and seen.shared and left[0] not in heads.fine:
            n = left.pop(0)
            drawn[n] = seen.drawn(n, names[n].uniform(address)), drawn[n][1]
            seen.add(n, *drawn[n])
            if len(place) < count and seen.size > BLOCK:
                # from here on rows with like beginnings lie near one another, and so does what is looked up for them
                place = np.argsort(seen.which, kind="stable")
                seen.which, address = seen.which[place], address[place]
                drawn = {m: (state[place], cell) for m, (state, cell) in drawn.items()}
        u = {n: names[n].uniform(address) for n in left}
        v = {n: names[n].child("cell").uniform(address) for n in left if n in heads.fine}
        # rows with like beginnings after one another
        order = np.argsort(seen.which, kind="stable")
        for start in range(0, count if left else 0, BLOCK):
            some = order[start : start + BLOCK]
            which = seen.which[some]
            new = np.diff(which, prepend=-1) > 0
            alike, which = which[new], _padded(np.cumsum(new) - 1)
            own = {m: self._told(m, value[some]) for m, value in seen.own.items()}
            for n in left:
                heeded = (part.take(which, axis=0) for part in seen.heeded(n, alike))
                units = self._units(n, *self._heeding(n, own, *heeded))
                state, cell = heads.drawn(n, units, u[n][some], v[n][some] if n in v else None)
                drawn[n][0][some], drawn[n][1][some] = state, cell
                if n != left[-1]:
                    own[n] = self._told(n, heads.value(n, state, cell))
        back = np.empty_like(place)
        back[place] = np.arange(len(place))
        made = []
        for n, marginal in enumerate(self.marginals):
            if n in known:
                made.append(told[marginal.name])
                continue
            listed = heads.cells[n].listed is not None
            share = np.empty(0) if listed else names[n].child("within").uniform(address)
            values = heads.cells[n].values(*drawn[n], share)
            made.append(values.gather(back) if len(place) else values)
        return pl.DataFrame(made)

    def _told(self, n: int, value: I64) -> Told:
        return value, self._values[n][1].take(value, axis=0)

    def _weights(self, n: int) -> dict[int, F32]:
        """How much column `n` heeds each value of each column, shape (values, parts), and under -1 what is known of every row; in proportion."""
        if n not in self._heed:
            answers = [self._always[0][None], *(a for a, _ in self._values)]
            parts = np.concatenate(answers).reshape(-1, PARTS, len(self.begin) // PARTS)
            fit = np.einsum("vps,ps->vp", parts, self._asks[n].reshape(PARTS, -1)) * parts.shape[2] ** -0.5
            weights = np.maximum(np.exp(fit - fit.max()), _LEAST_WEIGHT).astype(np.float32)
            ends = np.cumsum([len(a) for a in answers])[:-1]
            self._heed[n] = dict(enumerate(np.split(weights, ends), start=-1))
        return self._heed[n]

    def _heeding(self, n: int, told: Mapping[int, Told], total: F32, found: F32) -> tuple[F32, F32]:
        """The sums of column `n`'s weights, shape (rows, parts), and of what is told times its weight, shape (rows, H): these columns' are added to both."""
        weights = self._weights(n)
        for m, (value, telling) in told.items():
            weight = weights[m].take(value, axis=0)
            size = len(value)
            total[:size] += weight
            each = weight @ self._spread
            each *= telling
            found[:size] += each
        return total, found

    def _begun(self, n: int) -> tuple[F32, F32]:
        """The same with what is known of every row alone, one row."""
        always = self._weights(n)[-1]
        return always.copy(), ((always @ self._spread) * self._always[1]).astype(np.float32)

    def _units(self, n: int, total: F32, found: F32) -> F32:
        """What column `n` hangs on, before it is rectified, shape (rows, H), for a whole block. `found` is written over."""
        found /= total @ self._spread
        x = self._dense("tell", found)
        x += self.following[n]
        wide = self._dense("wide", self._normal("found", x))
        x += self._dense("back", np.maximum(wide, 0, out=wide))
        return x

    def _dense(self, name: str, x: F32) -> F32:
        weight = self.trunk[f"{name}.weight"]
        out = row_product(x, weight, np.empty((len(x), weight.shape[1]), np.float32))
        out += self.trunk[f"{name}.shift"]
        return out

    def _normal(self, name: str, x: F32) -> F32:
        size = np.float32(x.shape[1])
        out = x - (np.einsum("rh->r", x) / size)[:, None]
        out /= np.sqrt(np.einsum("rh,rh->r", out, out) / size + np.float32(LEAST))[:, None]
        out *= self.trunk[f"{name}.scale"]
        out += self.trunk[f"{name}.offset"]
        return out

    @cached_property
    def _spread(self) -> F32:
        """What makes a number for each part one for each of its units, shape (parts, H): a product with it is several times faster than `repeat`."""
        return np.repeat(np.eye(PARTS, dtype=np.float32), len(self.begin) // PARTS, axis=1)

    @cached_property
    def _heed(self) -> dict[int, dict[int, F32]]:
        """What `_weights` found."""
        return {}

    @cached_property
    def _asks(self) -> NDArray[np.float64]:
        return self._exact("ask", "column", self.following)

    @cached_property
    def _values(self) -> list[tuple[NDArray[np.float64], F32]]:
        """What each value of each column answers and tells, shape (values, H)."""
        made = []
        for n in range(len(self.heads.cells)):
            meanings = self.heads.meanings(n)
            told = self._exact("told", "value", meanings).astype(np.float32)
            made.append((self._exact("answer", "value", meanings), told))
        return made

    @cached_property
    def _always(self) -> tuple[NDArray, NDArray]:
        """What answers and tells for every row."""
        return tuple(self._exact(name, "value", self.begin[None])[0] for name in ("answer", "told"))  # type: ignore[return-value]

    def _exact(self, name: str, norm: str, x: F32) -> NDArray[np.float64]:
        """A layer behind its norm, in double precision: shape (rows, H)."""
        y = x.astype(np.float64)
        y -= y.mean(axis=1, keepdims=True)
        y /= np.sqrt((y * y).mean(axis=1, keepdims=True) + LEAST)
        y = y * self.trunk[f"{norm}.scale"] + self.trunk[f"{norm}.offset"]
        return y @ self.trunk[f"{name}.weight"].astype(np.float64) + self.trunk[f"{name}.shift"]

    def state(self) -> tuple[dict[str, Any], dict[str, NDArray]]:
        plain, arrays = marginal_state(self.marginals)
        more, held = self.learnt.state()
        net = {"net.following": self.following, "net.begin": self.begin}
        return plain | more, arrays | held | self.heads.state() | net | {f"trunk.{k}": a for k, a in self.trunk.items()}


class _Seen:
    """What is known of rows so far: rows that have told the same are one, a beginning, until most differ."""

    def __init__(self, model: Transformer, count: int, left: Sequence[int]) -> None:
        self.model, self.count = model, count
        self.shared = True
        self.which = np.zeros(count, np.int64)
        """The beginning of each row."""
        self.size = 1
        self.heard = {n: model._begun(n) for n in left}
        """For each column that is to be drawn, what it has heeded in each of some shorter beginnings."""
        self.root = np.zeros(1, np.int64)
        """Which of the shorter ones each beginning begins with."""
        self.since: dict[int, I64] = {}
        """And for each column that came since, its value in each beginning."""
        self.own: dict[int, I64] = {}
        """And for each that rows do not share, its value in each row."""

    def add(self, n: int, state: I64, cell: I64) -> None:
        """Column `n` is known."""
        value, size = self.model.heads.value(n, state, cell), len(self.model.heads.meanings(n))
        self.heard.pop(n, None)
        if self.shared and n not in self.model.heads.fine:
            some, which = distinct(self.which * size + value, self.size * size)
            if len(some) <= _FEW * self.count:
                self.which, self.size = which, len(some)
                self._longer(n, some // size, some % size)
                return
        self.shared = False
        self.own[n] = value

    def _longer(self, n: int, before: I64, value: I64) -> None:
        """Each beginning, of those `before`, goes on with a value of column `n`."""
        if not self.since and len(value) * len(self.heard) <= _HEARD:
            told = {n: self.model._told(n, value)}
            for m, parts in self.heard.items():
                self.heard[m] = self.model._heeding(m, told, *(p.take(before, axis=0) for p in parts))
            self.root = np.arange(len(value))
            return
        self.root = self.root[before]
        self.since = {m: v[before] for m, v in self.since.items()} | {n: value}

    def heeded(self, n: int, some: I64) -> tuple[F32, F32]:
        """What column `n` heeds in some beginnings; see `Transformer._heeding`."""
        told = {m: self.model._told(m, value[some]) for m, value in self.since.items()}
        return self.model._heeding(n, told, *(part.take(self.root[some], axis=0) for part in self.heard[n]))

    def drawn(self, n: int, u: NDArray) -> I64:
        """A class of column `n` for each row, by uniforms, while rows share beginnings."""
        scores = np.empty((self.model.heads.cells[n].count, self.size), np.float32)
        for start in range(0, self.size, BLOCK):
            count = min(BLOCK, self.size - start)
            total, found = self.heeded(n, start + np.minimum(np.arange(BLOCK), count - 1))
            units = self.model._units(n, total, found)
            scores[:, start : start + count] = self.model.heads.scores(n, units)[:, :count]
        return choose_class(scores, u, self.which)


def _padded(at: I64) -> I64:
    whole = np.zeros(BLOCK, np.int64)
    whole[: len(at)] = at
    return whole


def rebuild_transformer(plain: Mapping[str, Any], arrays: Mapping[str, NDArray]) -> Transformer:
    """The inverse of `Transformer.state`. Raises ValueError for arrays that are no such network."""
    marginals = rebuild_marginals(plain, arrays)
    begin = np.array(arrays["net.begin"])
    if begin.ndim != 1 or not len(begin) or len(begin) % PARTS:
        raise ValueError("its network is damaged")
    width = len(begin)
    heads = rebuild_heads(marginals, arrays, width, width)
    following = np.array(arrays["net.following"])
    check_array(begin, begin.shape)
    check_array(following, (len(marginals), width))
    shapes: dict[str, tuple[int, ...]] = {f"{k}.{part}": (width,) for k in NORMS for part in ("scale", "offset")}
    for name, (inputs, outputs) in trunk_shapes(width).items():
        shapes |= {f"{name}.weight": (inputs, outputs), f"{name}.shift": (outputs,)}
    trunk = {name: np.array(arrays[f"trunk.{name}"]) for name in shapes}
    for name, shape in shapes.items():
        check_array(trunk[name], shape)
    return Transformer(heads, following, begin, trunk, rebuild_learnt(plain, arrays))
