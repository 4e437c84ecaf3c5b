"""Who people are on paper: the shared names, addresses and telephones in the shapes of an American record, and its identifiers."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ...core.samplers.keys import ascii_text, digit_text, luhn, scatter
from ...core.samplers.text import Address, Name, Phone
from ...core.stream import Stream
from ...core.tables import ROW


def names(rows: NDArray, sex: NDArray, stream: Stream) -> dict[str, pl.Series]:
    """given_name, fit for the sex, and family_name."""
    made = Name("en_US", "sex").sample(pl.DataFrame({ROW: rows, "sex": sex}), stream)
    return made.select("given_name", "family_name").cast(pl.String).to_dict()


def address(rows: NDArray, stream: Stream, states: Mapping[str, float]) -> dict[str, pl.Series]:
    """line, city, state, postal_code: the ZIP code lies in its state's range."""
    made = Address("en_US", states).sample(pl.DataFrame({ROW: rows}), stream)
    return made.cast(pl.String).rename({"street": "line", "region": "state"}).to_dict()


def phone(rows: NDArray, stream: Stream) -> pl.Series:
    """A number that is kept for fiction."""
    return Phone("phone", "en_US").sample(pl.DataFrame({ROW: rows}), stream)["phone"]


def npi(rows: NDArray, stream: Stream) -> pl.Series:
    """National Provider Identifiers: nine digits and the Luhn digit over the prefix 80840 (45 CFR 162.406)."""
    return luhn(scatter(stream, rows, 8), "808401", 15).str.slice(5)


def mrn(rows: NDArray, stream: Stream) -> pl.Series:
    """Medical record numbers: unique, and not in the order of the patients."""
    digits = digit_text(scatter(stream, rows, 10), 10)
    prefix = np.frombuffer(b"MRN", np.uint8)
    return ascii_text(np.hstack([np.broadcast_to(prefix, (len(rows), 3)), digits]))
