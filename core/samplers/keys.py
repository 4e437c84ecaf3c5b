"""Keys and numbers with check digits, made as arrays of digits. None of them can be real: see `Luhn` and `Iban`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ..errors import UserError, unknown
from ..stream import U64, Stream
from ..tables import Table, rows

_DIGITS = np.array([f"{n:03d}".encode() for n in range(1000)]).view(np.uint8).reshape(1000, 3)
_HEX = np.array([f"{n:02x}".encode() for n in range(256)]).view(np.uint8).reshape(256, 2)
_DASHES = (8, 13, 18, 23)


@dataclass(frozen=True)
class Sequence:
    """start + step × the row's address (0, 1, 2, … in a frame that has none); as text if it has a prefix or a width."""

    column: str
    start: int = 0
    step: int = 1
    prefix: str = ""
    width: int = 0

    @property
    def columns(self) -> tuple[str, ...]:
        return (self.column,)

    def sample(self, given: Table, stream: Stream) -> Table:
        address = rows(given)
        if len(address) and self.start + self.step * int(address.max()) not in range(-(2**63), 2**63):
            raise UserError(
                f"Sequence {self.column}: row address {int(address.max())} is too large to be a number in a sequence"
            )
        numbers = pl.Series(self.column, self.start + self.step * address.astype(np.int64))
        if self.prefix or self.width:
            numbers = self.prefix + numbers.cast(pl.String).str.zfill(self.width)
        return numbers.alias(self.column).to_frame()


@dataclass(frozen=True)
class Uuid:
    """A random UUID (RFC 9562, version 4) as text."""

    column: str

    @property
    def columns(self) -> tuple[str, ...]:
        return (self.column,)

    def sample(self, given: Table, stream: Stream) -> Table:
        stream, address = stream.child(self.column), rows(given)
        return uuid_text(stream.bits(address), stream.child("low").bits(address)).alias(self.column).to_frame()


@dataclass(frozen=True)
class Luhn:
    """A number of `length` digits that begins with `prefix` and ends with a Luhn check digit (ISO/IEC 7812-1, annex B).

    Numbers for addresses 0, 1, 2, … are distinct as long as there are enough. Prefix 9999 is one that no card network issues.
    """

    column: str
    prefix: str = "9999"
    length: int = 16

    def __post_init__(self) -> None:
        if not self.prefix.isascii() or not (self.prefix + "0").isdigit():
            raise UserError(f"Luhn {self.column}: prefix is '{self.prefix}', expected digits")
        if not len(self.prefix) + 2 <= self.length <= len(self.prefix) + 19:
            raise UserError(f"Luhn {self.column}: length is {self.length}, expected 2 to 19 more than the prefix has")

    @property
    def columns(self) -> tuple[str, ...]:
        return (self.column,)

    def sample(self, given: Table, stream: Stream) -> Table:
        free = self.length - len(self.prefix) - 1
        return (
            luhn(scatter(stream.child(self.column), rows(given), free), self.prefix, self.length)
            .alias(self.column)
            .to_frame()
        )


@dataclass(frozen=True)
class Iban:
    """An account number with valid check digits at a bank that does not exist. `country` is GB, NL or DE.

    Numbers for addresses 0, 1, 2, … are distinct.
    """

    column: str
    country: str = "GB"

    def __post_init__(self) -> None:
        if self.country not in SAFE_BANKS:
            raise unknown("country", self.country, SAFE_BANKS, f"Iban {self.column}")

    @property
    def columns(self) -> tuple[str, ...]:
        return (self.column,)

    def sample(self, given: Table, stream: Stream) -> Table:
        account = scatter(stream.child(self.column), rows(given), min(SAFE_BANKS[self.country][1], 18))
        return iban(account, self.country).alias(self.column).to_frame()


SAFE_BANKS: Mapping[str, tuple[str, int]] = {
    "GB": ("TEST", 14),
    "NL": ("TEST", 10),
    "IE": ("TEST", 14),
    "KW": ("TEST", 22),
    "DE": ("9", 17),
}
"""Country to the beginning of a BBAN that no bank has, and how many digits follow (SWIFT IBAN registry, release 99: GB and IE 4!a6!n8!n,
NL 4!a10!n, KW 4!a22!c, DE 8!n10!n; the Bundesbank assigns no bank code in clearing area 9). Of countries whose bank codes are numbers it is not
published which of them stay free (France, Spain, Italy, Lithuania, Brazil), and some have no IBANs (the United States, Japan)."""


def scatter(stream: Stream, address: NDArray, digits: int) -> U64:
    """A number of at most `digits` (1 to 18) decimal digits for each row address.

    On addresses below 10**digits it is a bijection, so they never collide; larger ones are hashed into that range first. A Feistel network
    over two halves with addition in place of exclusive or (Black and Rogaway 2002, "Ciphers with arbitrary finite domains").
    """
    if not 1 <= digits <= 18:
        raise UserError(f"scatter: digits is {digits}, expected 1 to 18")
    left_size, right_size = np.uint64(10 ** (digits // 2)), np.uint64(10 ** (digits - digits // 2))
    size = np.uint64(10**digits)
    address = np.asarray(address).astype(np.uint64)
    if len(address) and address.max() >= size:
        address = np.where(address < size, address, stream.child("beyond").bits(address) % size)
    left, right = address // right_size, address % right_size
    for turn in range(3):
        left = (left + stream.child("left", turn).bits(right) % left_size) % left_size
        right = (right + stream.child("right", turn).bits(left) % right_size) % right_size
    return left * right_size + right


def uuid_text(high: U64, low: U64) -> pl.Series:
    """Version 4 UUIDs as text, from two random words each."""
    words = np.empty((len(high), 2), ">u8")
    words[:, 0] = (high & np.uint64(0xFFFFFFFFFFFF0FFF)) | np.uint64(0x4000)
    words[:, 1] = (low & np.uint64(0x3FFFFFFFFFFFFFFF)) | np.uint64(0x8000000000000000)
    hexed = _HEX[words.view(np.uint8)].reshape(len(high), 32)
    text = np.full((len(high), 36), ord("-"), np.uint8)
    text[:, [i for i in range(36) if i not in _DASHES]] = hexed
    return ascii_text(text)


def luhn(number: U64, prefix: str, length: int) -> pl.Series:
    """Texts of `length` digits: `prefix`, `number` padded with zeros, and the Luhn check digit."""
    text = np.empty((len(number), length), np.uint8)
    text[:, : len(prefix)] = np.frombuffer(prefix.encode(), np.uint8)
    text[:, len(prefix) : -1] = digit_text(number, length - len(prefix) - 1)
    digits = text[:, :-1] - np.uint8(48)
    doubled = digits[:, ::-1][:, ::2].astype(np.uint16) * 2
    total = (doubled - 9 * (doubled > 9)).sum(axis=1) + digits[:, ::-1][:, 1::2].sum(axis=1, dtype=np.uint16)
    text[:, -1] = 48 + (10 - total % 10) % 10
    return ascii_text(text)


def iban(account: U64, country: str) -> pl.Series:
    """IBANs at the safe bank of a country (see `SAFE_BANKS`), with ISO 7064 mod 97-10 check digits."""
    bank, free = SAFE_BANKS[country]
    size = 10 ** (free + 6)
    head = int(_as_number(bank)) * size % 97
    tail = int(_as_number(country) + "00") % 97
    remainder = (head + (account % np.uint64(97)) * np.uint64(10**6 % 97) + tail) % np.uint64(97)
    text = np.empty((len(account), 4 + len(bank) + free), np.uint8)
    text[:, :2] = np.frombuffer(country.encode(), np.uint8)
    text[:, 2:4] = digit_text(np.uint64(98) - remainder, 2)
    text[:, 4 : 4 + len(bank)] = np.frombuffer(bank.encode(), np.uint8)
    text[:, 4 + len(bank) :] = digit_text(account, free)
    return ascii_text(text)


def digit_text(number: U64, width: int) -> NDArray[np.uint8]:
    """Decimal digits as ASCII codes, shape (n, width), padded with zeros on the left."""
    groups = -(-width // 3)
    out = np.empty((len(number), groups, 3), np.uint8)
    left = np.asarray(number).astype(np.uint64)
    for group in range(groups - 1, -1, -1):
        left, last = np.divmod(left, np.uint64(1000))
        out[:, group] = _DIGITS[last]
    return out.reshape(len(number), groups * 3)[:, groups * 3 - width :]


def ascii_text(codes: NDArray[np.uint8]) -> pl.Series:
    """A column of texts of one width, from ASCII codes of shape (n, width)."""
    import pyarrow as pa

    n, width = codes.shape
    offsets = np.arange(n + 1, dtype=np.int64) * width
    array = pa.LargeStringArray.from_buffers(n, pa.py_buffer(offsets), pa.py_buffer(np.ascontiguousarray(codes)))
    return pl.Series(array)


def _as_number(text: str) -> str:
    return "".join(str(int(c, 36)) for c in text)
