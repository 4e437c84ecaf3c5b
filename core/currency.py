"""Minor units and what they are in the currency: 1250 is 12.50 EUR, 1250 JPY, 1.250 KWD."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from decimal import Decimal
from functools import cache
from importlib import resources

USUAL = 2


@cache
def exponents() -> Mapping[str, int]:
    """Decimal digits of the minor unit, by ISO 4217 code, for the currencies that have not two."""
    return tomllib.loads((resources.files(__package__ or "") / "currency.toml").read_text("utf-8"))["exponent"]


def major(minor: int, currency: str | None) -> Decimal:
    """An amount in minor units as a decimal in the currency; two digits where the currency is not known."""
    return Decimal(minor).scaleb(-exponents().get(currency or "", USUAL))


def major_sql(minor: str, currency: str | None, codes: tuple[str, ...] = ()) -> str:
    """The same as an SQL expression, for an expression that is the currency, whose values are among `codes`."""
    unusual = {c: e for c, e in exponents().items() if c in codes}
    if currency is None or not unusual:
        return f"{minor} / {10**USUAL}.0"
    cases = " ".join(f"WHEN '{code}' THEN {10**e}.0" for code, e in unusual.items())
    return f"{minor} / CASE {currency} {cases} ELSE {10**USUAL}.0 END"
