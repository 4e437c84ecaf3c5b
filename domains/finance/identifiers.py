"""Numbers with valid check digits that nobody can hold: IBANs at banks that cannot exist, card numbers that no network issues.

Card numbers start with 9999, which no network issues. British, Dutch, Irish and Kuwaiti IBANs name the bank `TEST`; German ones a bank code that
starts with 9, a clearing area that the Bundesbank has not assigned.
"""

from __future__ import annotations

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ...core.domain import Block
from ...core.samplers.keys import SAFE_BANKS, iban, luhn, scatter
from ...core.stream import F64, U64, Stream
from .draws import choose
from .people import per_country

_HOME = {"GB": 400 * 10**10, "DE": 10_000 * 10**10}
"""Sort codes of our own bank begin with 0400; its German bank code is 90010000. Ten digits follow."""


PAN_LENGTHS = (16, 19)
"""Digits of a card number, ISO/IEC 7812."""


def home_ibans(stream: Stream, german: NDArray[np.bool_], account_id: NDArray[np.int64]) -> pl.Series:
    """IBANs of our own accounts: distinct for distinct accounts below 10^10. `stream` is the dataset's."""
    number = scatter(stream.child("account", "iban"), account_id, 10)
    return per_country(german, lambda country, at: iban(np.uint64(_HOME[country]) + number[at], country))


def other_ibans(stream: Stream, country: NDArray, rows: U64) -> pl.Series:
    """IBANs of accounts at other banks, in the countries of `SAFE_BANKS`."""
    words = stream.bits(rows)
    out = pl.Series([""], dtype=pl.String).new_from_index(0, len(rows))
    for name, (_, free) in SAFE_BANKS.items():
        at = np.flatnonzero(country == name)
        out = out.scatter(at, iban(words[at] % np.uint64(10 ** min(free, 18)), name)) if len(at) else out
    return out


def abroad(block: Block, u: F64) -> NDArray[np.str_]:
    """The country of each account abroad, by the shares of `counterparty.country`."""
    share = {name: part for name, part in block.priors("counterparty.country").items() if name != "home"}
    return np.array(list(share))[choose(u, share.values())]


def pans(stream: Stream, card_id: NDArray[np.int64], digits: int = 16) -> pl.Series:
    """Card numbers of 16 or 19 digits: distinct for distinct cards below 10^11. `stream` is the dataset's."""
    return luhn(scatter(stream.child("card", "pan"), card_id, digits - 5), "9999", digits)


def luhn_broken(texts: pl.Series) -> NDArray[np.bool_]:
    """True where a text is not 16 or 19 digits that pass Luhn's test."""
    values = _characters(texts, max(PAN_LENGTHS))
    given = values != 99
    length = texts.fill_null("").str.len_bytes().to_numpy().astype(np.int64)
    digit = np.where(given, values, 0).astype(np.int64)
    # every second digit counts twice, from the last but one on
    twice = (length[:, None] - np.arange(values.shape[1])) % 2 == 0
    total = np.where(twice, 2 * digit - 9 * (digit > 4), digit).sum(axis=1)
    digits = (values < 10).sum(axis=1) == length
    return ~np.isin(length, PAN_LENGTHS) | ~digits | (total % 10 != 0)


def iban_broken(texts: pl.Series) -> NDArray[np.bool_]:
    """True where a text fails the IBAN's remainder modulo 97 (ISO 7064)."""
    longest = int(texts.str.len_bytes().max() or 0)  # type: ignore[arg-type]
    width = min(max(longest, 4), 34)
    values = np.ascontiguousarray(_characters(texts, width).T).astype(np.uint16)
    # a remainder and two digits fit into sixteen bits
    rest = np.zeros(len(texts), np.uint16)
    for at in (*range(4, width), *range(4)):
        value = values[at]
        step = (rest * np.where(value > 9, np.uint16(100), np.uint16(10)) + value) % np.uint16(97)
        rest = np.where(value < 36, step, rest)
    return rest != 1


def creditor_reference_broken(texts: pl.Series) -> NDArray[np.bool_]:
    """True where a text is no creditor reference of ISO 11649: RF, two check digits, up to 21 characters, remainder 1 modulo 97."""
    shaped = texts.str.contains(r"^RF[0-9]{2}[0-9A-Z]{1,21}$").fill_null(False).to_numpy()
    return ~shaped | iban_broken(texts)


def _characters(texts: pl.Series, width: int) -> NDArray[np.uint8]:
    """Each text's bytes as the numbers they count for, as many as there is width for: digits 0 to 9, capitals 10 to 35, anything else and padding 99."""
    import pyarrow as pa

    held = texts.fill_null("").to_arrow().cast(pa.large_string())
    _, offsets, data = held.buffers()
    ends = np.frombuffer(offsets, np.int64)[held.offset : held.offset + len(held) + 1]
    letters = np.append(_VALUE[np.frombuffer(data or b"", np.uint8)], np.uint8(99))
    place = ends[:-1, None] + np.arange(width)
    return letters[np.where(place < ends[1:, None], place, -1)]


_VALUE = np.full(256, 99, np.uint8)
_VALUE[48:58] = np.arange(10)
_VALUE[65:91] = np.arange(10, 36)
