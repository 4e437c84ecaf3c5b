"""XML documents from tables by column expressions: an element is a list of texts and expressions, and one concatenation makes a document of each row."""

from __future__ import annotations

from collections.abc import Iterable

import polars as pl

Part = str | pl.Expr
Parts = list[Part]
HEAD = '<?xml version="1.0" encoding="UTF-8"?>'


def element(tag: str, *children: Part | Parts, attributes: str | None = None) -> Parts:
    """`<tag attributes>children</tag>`; `attributes` stands as it is."""
    inner: Parts = []
    for child in children:
        inner += child if isinstance(child, list) else [child]
    return [f"<{tag} {attributes}>" if attributes else f"<{tag}>", *inner, f"</{tag}>"]


def joined(parts: Iterable[Part]) -> pl.Expr:
    """One text of a row from all parts; neighbouring constants become one."""
    merged: Parts = []
    for part in parts:
        if merged and isinstance(part, str) and isinstance(merged[-1], str):
            merged[-1] += part
        else:
            merged.append(part)
    return pl.concat_str(*(pl.lit(p) if isinstance(p, str) else p for p in merged))


def optional(present: pl.Expr, parts: Parts) -> pl.Expr:
    """The parts where `present` has a value and is not false, else nothing."""
    return pl.when(present).then(joined(parts)).otherwise(pl.lit(""))


def escaped(text: pl.Expr, most: int = 140) -> pl.Expr:
    """Character data: at most so many characters, with the markup characters as entities and control characters as blanks."""
    text = text.str.slice(0, most).str.replace_all(r"[\x00-\x1f\x7f]", " ")
    # few texts hold any of them: looking first is cheaper than replacing
    for sign, entity in (("&", "&amp;"), ("<", "&lt;"), (">", "&gt;"), ('"', "&quot;")):
        text = text.str.replace_all(sign, entity, literal=True)
    return text


def decimal(minor: pl.Expr, digits: int) -> pl.Expr:
    """An amount in minor units, without sign, as a decimal number with the currency's digits."""
    whole = minor.abs()
    if digits == 0:
        return whole.cast(pl.String)
    unit = 10**digits
    return pl.concat_str((whole // unit).cast(pl.String), pl.lit("."), (whole % unit).cast(pl.String).str.zfill(digits))


def decimal_of(minor: pl.Expr, currency: pl.Expr, exponents: dict[str, int]) -> pl.Expr:
    """The same by each row's currency."""
    made = pl.lit(None, pl.String)
    for digits in sorted(set(exponents.values())):
        names = [c for c, d in exponents.items() if d == digits]
        made = pl.when(currency.cast(pl.String).is_in(names)).then(decimal(minor, digits)).otherwise(made)
    return made
