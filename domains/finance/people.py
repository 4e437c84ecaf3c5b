"""Who customers are: origin, age and kind of business; names, addresses and contacts, each from the pools of their own country."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ...core.domain import Block
from ...core.samplers import Sampler
from ...core.stream import F64, U64, Stream
from ...core.tables import ROW, only

COUNTRIES = ("GB", "DE")
CIRCLE = 20
"""Customers in a circle: those who may know, and live with, one another."""
LOCALES = {"GB": "en_GB", "DE": "de_DE"}


def origins(block: Block, units: U64) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Who is German (the others are British), and who is male, of any customers. A household lives in one country."""
    p, stream = block.priors, block.stream.child("customer")
    home = p("customer.country")
    german = stream.child("country").uniform(heads(block, units)) * sum(home.values()) >= home["GB"]
    return german, stream.child("sex").uniform(units) >= p("customer.female")


def businesses(block: Block, units: U64) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Who is a business, and which of these are companies with staff."""
    p, stream = block.priors, block.stream.child("customer", "segment")
    business = stream.uniform(units) < p("customer.small_business")
    return business, business & (stream.child("company").uniform(units) < p("customer.company"))


def ages(block: Block, units: U64) -> F64:
    """Years at the start of the window."""
    p = block.priors
    cum = np.concatenate(([0.0], np.cumsum(p("customer.age_share"))))
    u = block.stream.child("customer", "age").uniform(units)
    return np.interp(u * cum[-1], cum, np.asarray(p("customer.age_bounds"), float))


def heads(block: Block, units: U64) -> U64:
    """The first customer of each one's household: those who share a home with the one before are in the same. A household lies within a circle."""
    place = (units % np.uint64(CIRCLE)).astype(np.int64)
    circles, back = np.unique(units - place.astype(np.uint64), return_inverse=True)
    member = circles[:, None] + np.arange(CIRCLE, dtype=np.uint64)
    joins = block.stream.child("household", "joins").uniform(member) < block.priors("household.joins")
    first = np.maximum.accumulate(np.where(joins, 0, np.arange(CIRCLE)), axis=1)
    return (circles[:, None] + first.astype(np.uint64))[back.ravel(), place]


def cities(block: Block) -> tuple[list[str], NDArray[np.int64], NDArray[np.float64]]:
    """The cities that people and merchants are in: names, the country of each (its place among the codes of `MARKETS`), and per city its
    latitude, longitude and inhabitants in millions."""
    names, country, numbers = [], [], []
    for n, code in enumerate(markets(block)):
        for name, entry in block.priors(f"place.{code}").items():
            names.append(name)
            country.append(n)
            numbers.append(entry)
    return names, np.array(country), np.array(numbers, float)


def markets(block: Block) -> list[str]:
    """Where merchants sell: the customers' countries, then those they travel to."""
    return [*COUNTRIES, *block.priors("merchant.abroad")]


def city_of(block: Block, country: NDArray, u: NDArray) -> NDArray[np.int64]:
    """A city of each country, by inhabitants: a position in `cities`."""
    _, of, numbers = cities(block)
    at = np.zeros(len(u), np.int64)
    for n in np.unique(country):
        mine, here = np.flatnonzero(of == n), np.flatnonzero(country == n)
        cum = np.cumsum(numbers[mine, 2])
        at[here] = mine[np.minimum(np.searchsorted(cum / cum[-1], u[here], side="right"), len(mine) - 1)]
    return at


def around(block: Block, city: NDArray, stream: Stream, rows: U64) -> tuple[NDArray, NDArray]:
    """Latitudes and longitudes in degrees, scattered about the middle of each city."""
    numbers = cities(block)[2][city]
    spread = block.priors("place.spread_km") / 111.2
    north, east = (stream.child(name).normal(rows) * spread for name in ("north", "east"))
    return numbers[:, 0] + north, numbers[:, 1] + east / np.cos(np.radians(numbers[:, 0]))


UNIT_LETTERS = np.array(list("ABDEFGHJLNPQRSTUWXYZ"))
"""Letters of the last part of a British postcode: all but C, I, K, M, O and V."""


def postcodes(block: Block, rows: U64, city: NDArray[np.int64]) -> pl.Series:
    """A postcode of each city's own area or region, in the country's form. Whether there is a street behind it is left to chance."""
    words = block.stream.child("household", "postcode").bits(rows)
    out = np.empty(len(rows), object)
    names, country, _ = cities(block)
    for n in np.unique(city):
        at = np.flatnonzero(city == n)
        areas = block.priors("place.postal")[names[n]].split()
        lanes = words[at].view(np.uint16).reshape(-1, 4).astype(np.int64)
        area = [areas[k] for k in lanes[:, 0] % len(areas)]
        if COUNTRIES[country[n]] == "DE":
            out[at] = [f"{a}{k:03}" for a, k in zip(area, 1 + lanes[:, 1] % 999, strict=True)]
        else:
            unit = UNIT_LETTERS[lanes[:, 3:] // np.array([1, 256]) % len(UNIT_LETTERS)]
            numbers = zip(area, 1 + lanes[:, 1] % 19, lanes[:, 2] % 10, unit, strict=True)
            out[at] = [f"{a}{district} {sector}{x}{y}" for a, district, sector, (x, y) in numbers]
    return pl.Series(out.tolist(), dtype=pl.String)


def per_country(german: NDArray[np.bool_], make: Callable[[str, NDArray[np.int64]], pl.Series]) -> pl.Series:
    """A column whose values each country makes for its own positions."""
    places = {"GB": np.flatnonzero(~german), "DE": np.flatnonzero(german)}
    alone = next((country for country, at in places.items() if len(at) == len(german)), None)
    if alone:
        return make(alone, places[alone])
    back = np.empty(len(german), np.uint32)
    back[np.concatenate(list(places.values()))] = np.arange(len(german))
    return pl.concat([make(country, at) for country, at in places.items()])[pl.Series(back)]


def sample(
    make: Callable[[str], Sampler], stream: Stream, rows: U64, german: NDArray[np.bool_], **given: pl.Series | NDArray
) -> pl.DataFrame:
    """The columns that a text sampler makes, each row in the locale of its country."""
    frame = pl.DataFrame({ROW: rows, **given})

    def made(country: str, at: NDArray[np.int64]) -> pl.Series:
        return make(LOCALES[country]).sample(only(frame, at), stream).to_struct()

    return per_country(german, made).struct.unnest()
