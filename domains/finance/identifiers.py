"""Numbers with valid check digits that nobody can hold: IBANs at banks that cannot exist, card numbers that no network issues.

Card numbers start with 9999, which ISO/IEC 7812 leaves to national use and no network issues. British and Dutch IBANs name the bank `TEST`; German
ones a bank code that starts with 9, a clearing area that the Bundesbank has not assigned.
"""

from __future__ import annotations

import numpy as np
import polars as pl
from numpy.typing import NDArray

# letters count as 10 + their place in the alphabet (ISO 13616)
_TEST = 29142829
_COUNTRY = {"GB": 161100, "DE": 131400, "NL": 232100}
_DIGITS = {"GB": 14, "DE": 18, "NL": 10}
HOME_BANK_DE = 90_010_000
_SPREAD = 790_310_003  # prime: multiplying by it permutes numbers modulo a power of ten


def iban(country: str, number: NDArray[np.int64]) -> pl.Series:
    """IBANs of one country. `number` is what follows the bank: sort code and account (GB, 14 digits), bank code and account
    (DE, 18 digits), account (NL, 10 digits)."""
    bank = 0 if country == "DE" else _TEST
    digits = _DIGITS[country]
    rest = (bank % 97) * pow(10, digits, 97) + number % 97
    check = 98 - ((rest % 97) * pow(10, 6, 97) + _COUNTRY[country]) % 97
    text = pl.lit(country) + pl.col("check").cast(pl.String).str.zfill(2)
    text = text + (pl.lit("" if country == "DE" else "TEST") + pl.col("number").cast(pl.String).str.zfill(digits))
    return pl.DataFrame({"check": check, "number": number}).select(text).to_series()


def home_number(german: NDArray[np.bool_], account_id: NDArray[np.int64]) -> NDArray[np.int64]:
    """What follows the bank in the IBAN of one of our own accounts: distinct for distinct accounts below 10^10."""
    british = (account_id // 10**8) * 10**8 + (account_id % 10**8) * _SPREAD % 10**8
    return np.where(german, HOME_BANK_DE * 10**10 + account_id * _SPREAD % 10**10, british)


def other_number(country: NDArray, words: NDArray[np.uint64]) -> NDArray[np.int64]:
    """What follows the bank in the IBAN of an account elsewhere. British sort codes start with 1 to 9, ours with 0."""
    draw = (words >> np.uint64(4)).astype(np.int64)
    german = (91_000_000 + draw % 8_999_999) * 10**10 + (draw // 8_999_999) % 10**10
    british = 10**13 + draw % (9 * 10**13)
    return np.select([country == "DE", country == "GB"], [german, british], draw % 10**10)


def pan(number: NDArray[np.int64]) -> pl.Series:
    """16-digit card numbers: 9999, eleven digits that are distinct for distinct numbers below 10^11, and the Luhn digit."""
    body = 9999 * 10**11 + (number % 10**9 * _SPREAD % 10**9) + number // 10**9 % 100 * 10**9
    total, rest = np.zeros(len(body), np.int64), body
    for place in range(15):
        digit = rest % 10
        rest = rest // 10
        doubled = digit * 2
        total += np.where(place % 2 == 0, doubled - 9 * (doubled > 9), digit)
    return pl.Series(body * 10 + (-total) % 10).cast(pl.String)


def luhn_broken(texts: pl.Series) -> NDArray[np.bool_]:
    """True where a text is not 16 digits that pass Luhn's test."""
    values = _characters(texts, 16)
    digit = values.astype(np.int64)
    digit[:, ::2] = 2 * digit[:, ::2] - 9 * (digit[:, ::2] > 4)
    return (values > 9).any(axis=1) | (digit.sum(axis=1) % 10 != 0)


def iban_broken(texts: pl.Series) -> NDArray[np.bool_]:
    """True where a text fails the IBAN's remainder modulo 97 (ISO 7064)."""
    values = _characters(texts, 34)
    rest = np.zeros(len(texts), np.int64)
    for at in (*range(4, 34), *range(4)):
        value = values[:, at].astype(np.int64)
        step = (rest * np.where(value > 9, 100, 10) + value) % 97
        rest = np.where(value < 36, step, rest)
    return rest != 1


def _characters(texts: pl.Series, width: int) -> NDArray[np.uint8]:
    """Each text's characters as the numbers they count for: digits 0 to 9, capitals 10 to 35, anything else and padding 99."""
    plain = texts.fill_null("").str.replace_all(r"[^0-9A-Z]", "~").str.slice(0, width).str.pad_end(width, "~")
    found = np.frombuffer("".join(plain.to_list()).encode("ascii"), np.uint8).reshape(len(texts), width)
    return _VALUE[found]


_VALUE = np.full(256, 99, np.uint8)
_VALUE[48:58] = np.arange(10)
_VALUE[65:91] = np.arange(10, 36)
