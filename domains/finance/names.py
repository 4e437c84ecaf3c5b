"""Names and places from Faker's locale pools, drawn by address."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ...core.stream import U64, Stream

COUNTRIES = ("GB", "DE")


@cache
def pool(kind: str, country: str) -> tuple[str, ...]:
    """A pool of texts: female, male, family, city, street."""
    from faker.providers.address.de_DE import Provider as German
    from faker.providers.address.en_GB import Provider as British
    from faker.providers.person.de_DE import Provider as GermanPerson
    from faker.providers.person.en_GB import Provider as BritishPerson

    person = BritishPerson if country == "GB" else GermanPerson
    names = {"female": "first_names_female", "male": "first_names_male", "family": "last_names"}
    if kind in names:
        return tuple(dict.fromkeys(getattr(person, names[kind])))
    if kind == "city":
        if country == "DE":
            return tuple(German.cities)
        return tuple(
            f"{_family('GB', n)}{end}" for n in range(200) for end in tuple[str, ...](British.city_suffixes)[:6]
        )
    ends = tuple[str, ...](German.street_suffixes_long if country == "DE" else British.street_suffixes)
    ends = ends if country == "DE" else tuple(f" {e}" for e in ends)
    return tuple(f"{_family(country, n)}{end}" for n in range(300) for end in ends)


def _family(country: str, n: int) -> str:
    names = pool("family", country)
    return names[n % len(names)]


def draw(texts: Sequence[str], stream: Stream, rows: U64) -> pl.Series:
    """One text of a pool for each row address."""
    return pl.Series(texts).gather(stream.integers(rows, len(texts)))


def by_country(kind: str, stream: Stream, rows: U64, german: NDArray[np.bool_]) -> pl.Series:
    """One text for each row, from the pool of its country."""
    home, abroad = (draw(pool(kind, c), stream, rows) for c in COUNTRIES)
    return pl.select(pl.when(pl.Series(german)).then(abroad).otherwise(home)).to_series()


def digits(stream: Stream, rows: U64, width: int) -> pl.Series:
    """A number of fixed width for each row, as text."""
    return pl.Series(stream.integers(rows, 10**width)).cast(pl.String).str.zfill(width)
