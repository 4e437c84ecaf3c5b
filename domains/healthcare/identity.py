"""Who people are on paper: the shared names, addresses and telephones in the shapes of a country's records, and its identifiers."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ...core.priors import Priors
from ...core.samplers.keys import ascii_text, digit_text, luhn, scatter
from ...core.samplers.rules import choose
from ...core.samplers.text import Address, Name, Phone
from ...core.stream import Stream
from ...core.tables import ROW


def names(rows: NDArray, sex: NDArray, stream: Stream, locale: str) -> dict[str, pl.Series]:
    """given_name, fit for the sex, and family_name."""
    made = Name(locale, "sex").sample(pl.DataFrame({ROW: rows, "sex": sex}), stream)
    return made.select("given_name", "family_name").cast(pl.String).to_dict()


def address(
    rows: NDArray, stream: Stream, priors: Priors, states: Mapping[str, float] | None = None
) -> dict[str, pl.Series]:
    """line, city, state, postal_code: the postal code is one of its state's. `states` weighs some of them; without it, as people live."""
    weights: Mapping[str, float] = states or priors("population.state")
    areas, locale = priors("record.postal"), priors("record.locale")
    frame = pl.DataFrame({ROW: rows})
    if not areas:
        made = Address(locale, weights).sample(frame, stream)
        return made.cast(pl.String).rename({"street": "line", "region": "state"}).to_dict()
    made = Address(locale).sample(frame, stream).select("street", "city").cast(pl.String).rename({"street": "line"})
    where = choose(stream.child("region").uniform(rows), list(weights.values()))
    codes = _postal(
        where, [areas[s].split() for s in weights], priors("record.postal_rest"), rows, stream.child("postal")
    )
    return {**made.to_dict(), "state": pl.Series(list(weights)).gather(where), "postal_code": codes}


def _postal(where: NDArray, areas: list[list[str]], rest: str, rows: NDArray, stream: Stream) -> pl.Series:
    """A region's beginning, and what follows it: # a digit, % one that is not 0, @ a letter."""
    size = np.array([len(a) for a in areas])
    begin = np.cumsum(size) - size
    at = begin[where] + (stream.child("area").uniform(rows) * size[where]).astype(np.int64)
    parts: list[pl.Series | str] = [pl.Series([a for region in areas for a in region]).gather(at)]
    for n, shape in enumerate(rest):
        signs = {"#": "0123456789", "%": "123456789", "@": "ABDEFGHJLNPQRSTUWXYZ"}.get(shape)
        if signs is None:
            parts.append(shape)
            continue
        parts.append(pl.Series(list(signs)).gather(stream.child(n).integers(rows, len(signs))))
    text = [pl.lit(p) if isinstance(p, str) else p for p in parts]
    return pl.select(pl.concat_str(text).alias("postal_code")).to_series()


def phone(rows: NDArray, stream: Stream, locale: str) -> pl.Series:
    """A number that is kept for fiction, where the locale has such."""
    return Phone("phone", locale).sample(pl.DataFrame({ROW: rows}), stream)["phone"]


def license_number(rows: NDArray, stream: Stream, kind: str) -> pl.Series:
    """The number by which a register knows a physician. npi: nine digits and the Luhn digit over the prefix 80840 (45 CFR 162.406); gmc: seven
    digits; lanr: six digits, a check digit and the specialty's two (here 01); rpps: eleven digits, the last Luhn's."""
    if kind == "npi":
        return luhn(scatter(stream, rows, 8), "808401", 15).str.slice(5)
    if kind == "rpps":
        return luhn(scatter(stream, rows, 8), "10", 11)
    if kind == "gmc":
        return ascii_text(digit_text(scatter(stream, rows, 7), 7))
    digits = _digits(scatter(stream, rows, 6), 6)
    check = (10 - (digits * [4, 9, 4, 9, 4, 9]).sum(axis=1) % 10) % 10
    tail = np.tile([0, 1], (len(rows), 1))
    return ascii_text((np.hstack([digits, check[:, None], tail]) + ord("0")).astype(np.uint8))


def national_number(
    rows: NDArray, stream: Stream, kind: str, male: NDArray, birth: pl.Series, postal: pl.Series
) -> pl.Series:
    """The number that a country gives a patient. nhs: 999, six digits and a check digit modulo 11; kvnr: a letter, eight digits and a check
    digit; nir: sex, year and month of birth, department, commune, order, and a key modulo 97."""
    if kind == "nhs":
        return _nhs(rows, stream)
    if kind == "kvnr":
        number = scatter(stream, rows, 9)
        letter, digits = number % 26, _digits(number // 26, 8)
        place = np.stack([(letter + 1) // 10, (letter + 1) % 10], axis=1)
        weighed = np.hstack([place, digits]) * np.tile([1, 2], 5)
        check = (weighed // 10 + weighed % 10).sum(axis=1) % 10
        text = np.hstack([letter[:, None] + ord("A"), digits + ord("0"), check[:, None] + ord("0")])
        return ascii_text(text.astype(np.uint8))
    order = scatter(stream, rows, 8)
    frame = pl.DataFrame({"birth": birth, "department": postal.str.slice(0, 2)}).select(
        pl.col("birth").dt.year() % 100,
        month=pl.col("birth").dt.month(),
        department=pl.col("department").cast(pl.Int64),
    )
    # communes and orders of one department: together nearly unique, as the register's are
    number = np.where(male, 1, 2).astype(np.int64)
    for part, size in (
        (frame["birth"].to_numpy(), 100), (frame["month"].to_numpy(), 100), (frame["department"].to_numpy(), 100),
        (order // 1000 % 899 + 1, 1000), (order % 1000, 1000),
    ):  # fmt: skip
        number = number * size + part
    key = 97 - number % 97
    return ascii_text(np.hstack([digit_text(number.astype(np.uint64), 13), digit_text(key.astype(np.uint64), 2)]))


def _nhs(rows: NDArray, stream: Stream) -> pl.Series:
    """Bodies whose check digit would be ten are passed over: there is no such number."""
    body = scatter(stream, rows, 6)
    head = np.tile([9, 9, 9], (len(rows), 1))
    while True:
        digits = np.hstack([head, _digits(body, 6)])
        check = (11 - (digits * np.arange(10, 1, -1)).sum(axis=1) % 11) % 11
        wrong = check == 10
        if not wrong.any():
            return ascii_text((np.hstack([digits, check[:, None]]) + ord("0")).astype(np.uint8))
        body = np.where(wrong, (body + 1) % 1_000_000, body)


def _digits(number: NDArray, width: int) -> NDArray[np.int64]:
    return number[:, None] // 10 ** np.arange(width - 1, -1, -1) % 10


def mrn(rows: NDArray, stream: Stream) -> pl.Series:
    """Medical record numbers: unique, and not in the order of the patients."""
    digits = digit_text(scatter(stream, rows, 10), 10)
    prefix = np.frombuffer(b"MRN", np.uint8)
    return ascii_text(np.hstack([np.broadcast_to(prefix, (len(rows), 3)), digits]))
