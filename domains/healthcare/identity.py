"""Who people are on paper: names, addresses, telephones and identifiers, drawn from Faker's US pools by vectorised look-up."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ...core.stream import Stream
from .curves import choose

Pool = tuple[pl.Series, NDArray[np.float64]]


@cache
def names(kind: str) -> Pool:
    """`first_names_female`, `first_names_male` or `last_names`, with their weights."""
    from faker.providers.person.en_US import Provider

    pool = getattr(Provider, kind)
    return pl.Series(list(pool), dtype=pl.String), np.cumsum(list(pool.values()), dtype=np.float64)


@cache
def cities() -> Pool:
    """Invented places: a family name and an ending."""
    from faker.providers.address.en_US import Provider

    # typed as either texts or weights in Faker; for this locale they are texts
    endings: Any = Provider.city_suffixes
    first = names("last_names")[0].to_list()[:150]
    pool = [f"{n}{e}" for n in first for e in endings[:12]]
    return pl.Series(pool), np.arange(1.0, len(pool) + 1)


@cache
def streets() -> Pool:
    """Street names: a family name and a kind of street."""
    from faker.providers.address.en_US import Provider

    suffixes: Any = Provider.street_suffixes
    first = names("last_names")[0].to_list()[:300]
    kinds = sorted({*suffixes[:60], "Street", "Avenue", "Road", "Drive", "Lane", "Court"})
    pool = [f"{n} {e}" for n in first for e in kinds]
    return pl.Series(pool), np.arange(1.0, len(pool) + 1)


def pick(pool: Pool, stream: Stream, rows: NDArray) -> pl.Series:
    """One text for each row, drawn by weight."""
    texts, edges = pool
    at = np.searchsorted(edges, stream.uniform(rows) * edges[-1], side="right")
    return texts.gather(np.minimum(at, len(edges) - 1))


def given_name(rows: NDArray, male: NDArray, stream: Stream) -> pl.Series:
    """A given name fit for the sex."""
    men, women = (pick(names(f"first_names_{sex}"), stream, rows) for sex in ("male", "female"))
    return men.zip_with(pl.Series(male), women)


def family_name(rows: NDArray, stream: Stream) -> pl.Series:
    return pick(names("last_names"), stream, rows)


def address(rows: NDArray, stream: Stream, states: Mapping[str, float]) -> dict[str, pl.Series]:
    """line, city, state, postal_code: the ZIP code lies in its state's range."""
    from faker.providers.address.en_US import Provider

    at = choose(stream.child("state").uniform(rows), list(states.values()))
    low, high = (np.array([Provider.states_postcode[s][end] for s in states]) for end in (0, 1))
    code = low[at] + np.floor(stream.child("zip").uniform(rows) * (high - low + 1)[at]).astype(np.int64)
    number = pl.Series(1 + stream.child("number").integers(rows, 9899)).cast(pl.String)
    return {
        "line": (number + " " + pick(streets(), stream.child("street"), rows)).alias("line"),
        "city": pick(cities(), stream.child("city"), rows).alias("city"),
        "state": pl.Series("state", list(states), dtype=pl.String).gather(at),
        "postal_code": pl.Series("postal_code", code).cast(pl.String).str.zfill(5),
    }


def phone(rows: NDArray, stream: Stream) -> pl.Series:
    """A number of the exchange 555, 0100 to 0199, which is reserved for fiction, in a drawn area code."""
    area = pl.Series(201 + stream.child("area").integers(rows, 780)).cast(pl.String)
    line = pl.Series(100 + stream.child("line").integers(rows, 100)).cast(pl.String).str.zfill(4)
    return ("(" + area + ") 555-" + line).alias("phone")


def npi(rows: NDArray, stream: Stream) -> pl.Series:
    """National Provider Identifiers: nine digits and the Luhn digit over the prefix 80840 (45 CFR 162.406)."""
    body = 100_000_000 + stream.integers(rows, 100_000_000)
    digits = (body[:, None] // 10 ** np.arange(9)) % 10
    doubled = digits[:, ::2] * 2
    total = (doubled - 9 * (doubled > 9)).sum(axis=1) + digits[:, 1::2].sum(axis=1) + 24
    return pl.Series(body * 10 + (-total) % 10).cast(pl.String)


def mrn(rows: NDArray, stream: Stream) -> pl.Series:
    """Medical record numbers: unique, and not in the order of the patients (an affine map of the row modulo a prime)."""
    # the largest prime below 10^10; a unit times the factor stays below 2^63
    prime, factor = 9_999_999_967, 3_999_999_979
    shift = int(stream.bits(np.zeros(1, np.uint64))[0] % np.uint64(prime))
    number = (rows.astype(np.int64) * factor + shift) % prime
    return ("MRN" + pl.Series(number).cast(pl.String).str.zfill(10)).alias("mrn")
