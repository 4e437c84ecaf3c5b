"""Pools of texts of a locale (Faker's data, read once) and the formats that put them together, drawn for all rows at once."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from importlib import resources
from itertools import product
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ..errors import unknown
from ..stream import Stream
from .rules import Guide

POOL = 2_048
"""How many street names, cities and postal codes a locale has, where Faker makes them rather than listing them."""

LANE = 21
"""Bits of one small choice: three of them share a word. A pool of 2,048 texts is drawn evenly to one part in a thousand."""

_CHUNK = 1 << 14


@dataclass(frozen=True, eq=False)
class Pool:
    """Texts, equally likely or by weight."""

    texts: tuple[str, ...]
    weights: tuple[float, ...] | None = None

    @cached_property
    def guide(self) -> Guide | None:
        return None if self.weights is None else Guide.of([self.weights])


def entry(locale: str) -> dict[str, Any]:
    """What `locales.toml` says of a locale."""
    if locale not in locales():
        raise unknown("locale", locale, locales())
    return _entries()[locale]


def locales() -> tuple[str, ...]:
    """The locales there are."""
    return tuple(_entries())


@lru_cache(maxsize=1024)
def pool(locale: str, name: str) -> Pool:
    """One pool: our own, or a list that Faker's provider has, or what a method of it makes."""
    own = entry(locale).get("pools", {})
    if name in own:
        return Pool(tuple(own[name]))
    fake = _faker(locale)
    for source in fake.get_providers():
        listed = getattr(type(source), name, None)
        if isinstance(listed, Mapping):
            return Pool(tuple(listed), tuple(listed.values()))
        if isinstance(listed, (list, tuple)) and listed:
            return Pool(tuple(t if isinstance(t, str) else t[-1] for t in listed))
    fake.seed_instance(f"{locale} {name}")
    return Pool(tuple(dict.fromkeys(getattr(fake, name)() for _ in range(POOL))))


def lanes(stream: Stream, address: NDArray, count: int) -> list[NDArray[np.int64]]:
    """Independent numbers from 0 to 2**LANE - 1, `count` of them for each row address."""
    words = [stream.child(n).bits(address).view(np.int64) for n in range(-(-count // 3))]
    mask = np.int64((1 << LANE) - 1)
    return [np.bitwise_and(words[n // 3] >> np.int64(n % 3 * LANE), mask) for n in range(count)]


@dataclass(frozen=True, eq=False)
class Form:
    """Some equally likely formats: each a sequence of slots, filled from pools whose texts carry what stands fixed around them. All texts lie
    in one array, so that a row is a few positions in it, and the rows' texts are what one look-up of all the positions leaves in memory."""

    texts: tuple[str, ...]
    slots: tuple[tuple[tuple[int, Pool], ...], ...]
    """For each slot, for each format: where its texts begin, and the pool."""

    @cached_property
    def strings(self) -> pl.Series:
        return pl.Series(self.texts, dtype=pl.String)

    @cached_property
    def codes(self) -> pl.Series:
        return pl.Series(self.texts, dtype=pl.Categorical)

    @cached_property
    def memory(self) -> Any:
        return large(self.texts)

    @cached_property
    def _sizes(self) -> list[tuple[NDArray[np.int64], NDArray[np.int64]]]:
        return [
            (np.array([at for at, _ in slot]), np.array([len(pool.texts) for _, pool in slot])) for slot in self.slots
        ]

    def index(self, stream: Stream, address: NDArray) -> NDArray[np.uint32]:
        """Positions in `texts`, shape (rows, slots)."""
        formats = len(self.slots[0])
        out = np.empty((len(address), len(self.slots)), np.uint32)
        for at in range(0, len(address), _CHUNK):
            part = slice(at, at + _CHUNK)
            free = lanes(stream, address[part], len(self.slots) + (formats > 1))
            which = (free.pop() * formats) >> LANE if formats > 1 else None
            for n, lane in enumerate(free):
                out[part, n] = self._positions(n, lane, which)
        return out

    def _positions(self, slot: int, lane: NDArray[np.int64], which: NDArray[np.int64] | None) -> NDArray[np.int64]:
        start, size = self._sizes[slot]
        pools = [pool for _, pool in self.slots[slot]]
        if which is None:
            start, size = start[0], size[0]
        else:
            start, size = start[which], size[which]
        chosen = (lane * size) >> LANE
        for guide in {pool.guide: None for pool in pools if pool.guide}:
            u = np.multiply(lane + 0.5, 2.0**-LANE, dtype=np.float64)
            if all(pool.guide is guide for pool in pools):
                chosen = guide.choose(u)
            else:
                at = np.flatnonzero(np.array([pool.guide is guide for pool in pools])[which])
                chosen[at] = guide.choose(u[at])
        return start + chosen


@lru_cache(maxsize=1024)
def form(locale: str, formats: tuple[str, ...]) -> Form:
    """Formats as `locales.toml` writes them, made ready to draw from."""
    places: dict[tuple[str, str, str], int] = {}
    texts = [""]
    nothing = (0, Pool(("",)))
    rows = []
    for text in formats:
        pieces = re.split(r"(\{\w+\}|[#%]{1,3})", text)
        slots = []
        for n in range(1, len(pieces), 2):
            before, name, after = pieces[n - 1], pieces[n], pieces[n + 1] if n == len(pieces) - 2 else ""
            source = pool(locale, name[1:-1]) if name.startswith("{") else _digits(name)
            if (before, name, after) not in places:
                places[before, name, after] = len(texts)
                texts += [f"{before}{t}{after}" for t in source.texts]
            slots.append((places[before, name, after], source))
        rows.append(slots)
    width = max(map(len, rows))
    return Form(tuple(texts), tuple(zip(*(slots + [nothing] * (width - len(slots)) for slots in rows), strict=True)))


def fill(locale: str, formats: Sequence[str], stream: Stream, address: NDArray) -> pl.Series:
    """One text for each row: a format, with each of its slots filled from its pool."""
    drawn = form(locale, tuple(formats))
    index = drawn.index(stream, address)
    return drawn.strings.gather(pl.Series(index[:, 0])) if index.shape[1] == 1 else joined(drawn.memory, index)


def large(texts: Sequence[str]) -> Any:
    """Texts as an Arrow array whose take lays them end to end."""
    # by way of polars: pyarrow looks for pandas before it takes anything else in, which is 30 MB to load
    return pl.Series(texts, dtype=pl.String).to_arrow(compat_level=pl.CompatLevel.oldest())


def joined(texts: Any, index: NDArray[np.uint32]) -> pl.Series:
    """For each row of `index`, shape (rows, pieces), the pieces' texts one after another: the look-up has laid them end to end, so only
    every few of its boundaries are kept."""
    import pyarrow as pa

    n, pieces = index.shape
    _, ends, data = texts.take(pl.Series(index.ravel()).to_arrow()).buffers()
    if not n:
        return pl.Series([], dtype=pl.String)
    kept = np.ascontiguousarray(np.frombuffer(ends, np.int64)[: n * pieces + 1 : pieces])
    return pl.Series(pa.LargeStringArray.from_buffers(n, pa.py_buffer(kept), data))


@lru_cache(maxsize=16)
def _digits(shape: str) -> Pool:
    return Pool(tuple("".join(d) for d in product(*("0123456789" if c == "#" else "123456789" for c in shape))))


@lru_cache(maxsize=1)
def _entries() -> Mapping[str, dict[str, Any]]:
    return tomllib.loads((resources.files("populace.core.samplers") / "locales.toml").read_text("utf-8"))


PROVIDERS = ("address", "company", "lorem", "person")
"""Those of Faker's providers that lists are taken from."""


@lru_cache(maxsize=16)
def _faker(locale: str) -> Any:
    from faker import Faker

    # of its two dozen providers each is looked for on disk, in every locale anew
    return Faker(locale, providers=[f"faker.providers.{kind}" for kind in PROVIDERS])


def provider(locale: str, kind: str) -> Any:
    """Faker's provider of one kind (person, address) for a locale."""
    return next(p for p in _faker(locale).get_providers() if f"providers.{kind}." in type(p).__module__)
