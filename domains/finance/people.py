"""Names, addresses and contacts, each from the pools of the customer's own country."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ...core.domain import Block
from ...core.samplers import Sampler
from ...core.stream import U64, Stream
from ...core.tables import ROW

COUNTRIES = ("GB", "DE")
LOCALES = {"GB": "en_GB", "DE": "de_DE"}


def origins(block: Block, units: U64) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Who is German (the others are British), and who is male, of any customers."""
    p, stream = block.priors, block.stream.child("customer")
    home = p("customer.country")
    german = stream.child("country").uniform(units) * sum(home.values()) >= home["GB"]
    return german, stream.child("sex").uniform(units) >= p("customer.female")


def per_country(german: NDArray[np.bool_], make: Callable[[str, NDArray[np.int64]], pl.Series]) -> pl.Series:
    """A column whose values each country makes for its own positions."""
    places = {"GB": np.flatnonzero(~german), "DE": np.flatnonzero(german)}
    back = np.empty(len(german), np.uint32)
    back[np.concatenate(list(places.values()))] = np.arange(len(german))
    return pl.concat([make(country, at) for country, at in places.items()]).gather(pl.Series(back))


def sample(
    make: Callable[[str], Sampler], stream: Stream, rows: U64, german: NDArray[np.bool_], **given: pl.Series | NDArray
) -> pl.DataFrame:
    """The columns that a text sampler makes, each row in the locale of its country."""
    frame = pl.DataFrame({ROW: rows, **given})

    def made(country: str, at: NDArray[np.int64]) -> pl.Series:
        return make(LOCALES[country]).sample(frame[at], stream).to_struct()

    return per_country(german, made).struct.unnest()
