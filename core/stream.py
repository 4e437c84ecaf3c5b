"""Randomness has a name, not a position: a number is addressed by (seed, path, row), never by "the next draw".

`Stream.uniform(rows)` hashes each row's 64-bit address under the stream's 128-bit key, so any subset of rows, in any
order, in any process, gets the numbers that are its own. `Stream.generator()` opens a counter-based Philox generator
for the places where a long series belongs to one name (a sensor's noise) and order within it is fixed.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

U64 = NDArray[np.uint64]
F64 = NDArray[np.float64]

# The constants of SplitMix64 (Steele, Lea and Flood 2014, "Fast splittable pseudorandom number generators").
_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_MIX_1 = np.uint64(0xBF58476D1CE4E5B9)
_MIX_2 = np.uint64(0x94D049BB133111EB)
_SHIFTS = (np.uint64(30), np.uint64(27), np.uint64(31))
_SMALL, _FEW = 256, 4
_MASK = (1 << 64) - 1
_CHUNK = 1 << 14  # two buffers of this many words stay in the L2 cache


@dataclass(frozen=True, slots=True)
class Stream:
    """A named, splittable source of randomness. `path` is kept for messages; `key` is what draws."""

    key: bytes
    path: tuple[str | int, ...] = ()

    @staticmethod
    def root(seed: int) -> Stream:
        """The stream of a whole dataset."""
        return Stream(hashlib.blake2b(b"populace\0%d" % seed, digest_size=16).digest())

    def child(self, *names: str | int) -> Stream:
        """The stream at `path + names`. Names are typed: `child("1")` and `child(1)` differ."""
        key = self.key
        for name in names:
            part = b"i%d" % name if isinstance(name, int) else b"s" + name.encode()
            key = hashlib.blake2b(part, key=key, digest_size=16).digest()
        return Stream(key, self.path + names)

    def bits(self, rows: NDArray) -> U64:
        """One uniform 64-bit word per row address (integers, any shape)."""
        k0, k1 = _words(self.key)
        rows = np.ascontiguousarray(rows)
        flat = rows.view(np.uint64).ravel() if rows.dtype.itemsize == 8 else rows.astype(np.uint64).ravel()
        if len(flat) <= _SMALL:
            # where the calls cost more than the numbers: the same in fewer calls
            z = flat * _GOLDEN
            z += k0
            z ^= z >> _SHIFTS[0]
            z *= _MIX_1
            z ^= k1
            z ^= z >> _SHIFTS[1]
            z *= _MIX_2
            z ^= z >> _SHIFTS[2]
            return z.reshape(rows.shape)
        out = np.empty(len(flat), np.uint64)
        scratch = np.empty(min(_CHUNK, len(flat)), np.uint64)
        for at in range(0, len(flat), _CHUNK):
            z = out[at : at + _CHUNK]
            t = scratch[: len(z)]
            np.multiply(flat[at : at + _CHUNK], _GOLDEN, out=z)
            np.add(z, k0, out=z)
            _fold(z, 30, t)
            np.multiply(z, _MIX_1, out=z)
            np.bitwise_xor(z, k1, out=z)
            _fold(z, 27, t)
            np.multiply(z, _MIX_2, out=z)
            _fold(z, 31, t)
        return out.reshape(rows.shape)

    def uniform(self, rows: NDArray) -> F64:
        """Uniform on the open interval (0, 1), 53 bits, one per row address."""
        if rows.size <= _FEW and rows.dtype == np.uint64:
            few = [
                min((float(z >> 11) + 0.5) * 2.0**-53, 1.0 - 2.0**-53) for z in _few(self.key, rows.ravel().tolist())
            ]
            return np.array(few, np.float64).reshape(rows.shape)
        out = np.right_shift(self.bits(rows), np.uint64(11)).astype(np.float64)
        out += 0.5
        # (2^53 - 1 + 0.5) rounds to 2^53, so the top value is held just under one
        out *= 2.0**-53
        return np.minimum(out, 1.0 - 2.0**-53, out=out)

    def normal(self, rows: NDArray) -> F64:
        """Standard normal by inversion, one per row address."""
        from scipy.special import ndtri

        u = self.uniform(rows)
        return ndtri(u, out=u)

    def integers(self, rows: NDArray, high: int) -> NDArray[np.int64]:
        """Uniform integers in [0, high), one per row address; high at most 2**53."""
        return np.floor(self.uniform(rows) * high).astype(np.int64)

    def generator(self) -> np.random.Generator:
        """A Philox generator keyed by this stream's name (about 17 µs to open)."""
        return np.random.Generator(np.random.Philox(key=np.frombuffer(self.key, dtype=np.uint64)))


@lru_cache(4096)
def _words(key: bytes) -> tuple[np.uint64, np.uint64]:
    first, second = np.frombuffer(key, dtype=np.uint64)
    return first, second


@lru_cache(4096)
def _integers(key: bytes) -> tuple[int, int]:
    first, second = _words(key)
    return int(first), int(second)


def _few(key: bytes, rows: list[int]) -> list[int]:
    """`Stream.bits` of a few rows, as integers: for so few an array costs ten times the numbers."""
    k0, k1 = _integers(key)
    made = []
    for row in rows:
        z = (row * 0x9E3779B97F4A7C15 + k0) & _MASK
        z ^= z >> 30
        z = (z * 0xBF58476D1CE4E5B9 & _MASK) ^ k1
        z ^= z >> 27
        z = z * 0x94D049BB133111EB & _MASK
        made.append(z ^ z >> 31)
    return made


def _fold(z: U64, shift: int, scratch: U64) -> None:
    np.right_shift(z, np.uint64(shift), out=scratch)
    np.bitwise_xor(z, scratch, out=z)


def join_rows(parent: NDArray, k: NDArray | int) -> U64:
    """The address of the k-th child of a row: distinct for any realistic pair, independent of how many siblings exist."""
    a = np.asarray(parent).astype(np.uint64)
    b = np.asarray(k).astype(np.uint64)
    z = (a + np.uint64(1)) * _GOLDEN
    z = (z ^ (z >> np.uint64(29))) * _MIX_2
    z = np.add(z, np.multiply(np.add(b, np.uint64(1)), _MIX_1))
    return z ^ (z >> np.uint64(32))
