"""SWIFT MT940 customer statements: one a month for each account, every posting a line, as plain text.

Amounts have a comma and as many digits as the currency's minor unit. A field's name stands at the head of its line; a statement ends with a line of one hyphen.
Source: SWIFT, Standards MT, category 9, MT 940 Customer Statement Message: fields 20, 25, 28C, 60F, 61, 86, 62F.
"""

from __future__ import annotations

import polars as pl

from ....core.schema import Schema
from ....core.tables import Table, Tables
from .iso20022 import valued


def statements(schema: Schema, tables: Tables) -> Table:
    """Columns name and text: a file for each account with a statement for each month on which something was booked."""
    digits = {c: int(d) for c, d in schema.code_lists["currency_exponent"].codes.items()}
    channel = tables["transaction"].select("transaction_ref", pl.col("channel").cast(pl.String))
    entry = tables["ledger_entry"].filter(pl.col("internal_account_id").is_null() & (pl.col("kind") != "opening"))
    entry = entry.join(
        channel.unique("transaction_ref", keep="first", maintain_order=True),
        on="transaction_ref",
        how="left",
        maintain_order="left",
    ).with_columns(pl.col("currency", "kind").cast(pl.String), month=pl.col("booked_at").dt.truncate("1mo"))
    entry = valued(tables, entry)
    # a reversal of a debit is a credit that says so
    undone, credit = pl.col("kind") == "reversal", pl.col("amount_minor") > 0
    mark = pl.when(undone).then(pl.when(credit).then(pl.lit("RD")).otherwise(pl.lit("RC")))
    mark = mark.otherwise(pl.when(credit).then(pl.lit("C")).otherwise(pl.lit("D")))
    line = pl.concat_str(
        pl.lit(":61:"),
        pl.col("value_on").dt.strftime("%y%m%d"),
        pl.col("booked_at").dt.strftime("%m%d"),
        mark,
        amount("amount_minor", digits),
        pl.lit("NMSC"),
        pl.col("ledger_entry_id").cast(pl.String).str.slice(-16),
        pl.lit("\n:86:"),
        pl.coalesce(pl.col("channel"), pl.lit("transfer")),
        pl.lit(" "),
        pl.col("transaction_ref").cast(pl.String),
    )
    monthly = (
        entry.with_columns(text=line)
        .group_by("account_id", "month", maintain_order=True)
        .agg(
            pl.col("text").str.join("\n"),
            pl.col("currency").first(),
            first=pl.col("balance_minor").first() - pl.col("amount_minor").first(),
            last=pl.col("balance_minor").last(),
            at=pl.col("booked_at").last(),
        )
        .sort("account_id", "month")
        .with_columns(number=pl.int_range(1, pl.len() + 1).over("account_id"))
        .join(tables["account"].select("account_id", "iban"), on="account_id", how="left", maintain_order="left")
    )
    whole = pl.concat_str(
        pl.lit(":20:"),
        pl.col("account_id").cast(pl.String).str.slice(-9),
        pl.col("month").dt.strftime("-%y%m"),
        pl.lit("\n:25:"),
        pl.col("iban"),
        pl.lit("\n:28C:"),
        pl.col("number").cast(pl.String).str.zfill(5),
        pl.lit("/001\n:60F:"),
        _balance("first", pl.col("month"), digits),
        pl.lit("\n"),
        pl.col("text"),
        pl.lit("\n:62F:"),
        _balance("last", pl.col("at"), digits),
        pl.lit("\n-"),
    )
    return (
        monthly.with_columns(text=whole)
        .group_by("account_id", maintain_order=True)
        .agg(pl.col("text").str.join("\n"))
        .select(name=pl.col("account_id").cast(pl.String), text="text")
    )


def amount(minor: str, digits: dict[str, int], currency: str = "currency") -> pl.Expr:
    """`1234,56`: the sign stands elsewhere."""
    places = pl.col(currency).replace_strict(digits, return_dtype=pl.Int64)
    text = pl.col(minor).abs().cast(pl.String).str.zfill(places + 1)
    return pl.concat_str(text.str.head(text.str.len_chars() - places), pl.lit(","), text.str.tail(places))


def _balance(minor: str, day: pl.Expr, digits: dict[str, int]) -> pl.Expr:
    sign = pl.when(pl.col(minor) < 0).then(pl.lit("D")).otherwise(pl.lit("C"))
    return pl.concat_str(sign, day.dt.strftime("%y%m%d"), "currency", amount(minor, digits))
