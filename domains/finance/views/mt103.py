"""SWIFT MT103 single customer credit transfers: what is sent and received across borders by correspondent banks, as plain text in SWIFT's character set x.

One file for each settlement day, messages parted by a line with `$` as in SWIFT's RJE files.
Source: SWIFT, Standards MT, category 1, MT 103: fields 20, 23B, 32A, 33B, 36, 50K, 59, 70, 71A; blocks 1 to 4, block 3 with the end-to-end reference (121).
"""

from __future__ import annotations

from uuid import UUID

import polars as pl

from ....core.schema import Schema
from ....core.tables import Table, Tables
from .iso20022 import credit_transfers
from .mt940 import amount

SPELT = {"ä": "ae", "ö": "oe", "ü": "ue", "Ä": "Ae", "Ö": "Oe", "Ü": "Ue", "ß": "ss", "&": "+"}
"""What character set x has not, as banks spell it."""
CHARGES = {"DEBT": "OUR", "SHAR": "SHA", "SLEV": "SHA"}
SPREAD = 0x9E3779B97F4A7C15F39CC0605CEDC835
"""An odd number of 128 bits: multiplied by it, references fill an end-to-end reference."""


def transfers(schema: Schema, tables: Tables) -> Table:
    """Columns name and text: the messages of each settlement day."""
    digits = {c: int(d) for c, d in schema.code_lists["currency_exponent"].codes.items()}
    paid = (
        credit_transfers(schema, tables)
        .filter(pl.col("scheme") == "SWIFT")
        .sort("settled_on", "cleared_at", "transaction_id")
    )
    traces = [str(UUID(int=ref * SPREAD % 2**128, version=4)) for ref in paid["transaction_ref"]]
    paid = paid.with_columns(pl.Series("trace", traces, pl.String), pl.col("currency").cast(pl.String))
    changed = pl.col("their_currency").is_not_null()
    text = pl.concat_str(
        pl.lit("{1:F01"), pl.col("debtor_bic").str.slice(0, 8), pl.lit("AXXX0000000000}{2:I103"),
        pl.col("creditor_bic").str.slice(0, 8), pl.lit("XXXXN}{3:{121:"), "trace", pl.lit("}}{4:\n:20:"),
        pl.col("transaction_id").cast(pl.String).str.slice(-16), pl.lit("\n:23B:CRED\n:32A:"),
        pl.col("settled_on").dt.strftime("%y%m%d"), "settled", amount("settled_minor", digits, "settled"), pl.lit("\n:33B:"),
        "currency", amount("amount_minor", digits, "currency"), pl.lit("\n"),
        pl.when(changed).then(pl.concat_str(pl.lit(":36:"), _rate("rate"), pl.lit("\n"))).otherwise(pl.lit("")),
        pl.lit(":50K:/"), "debtor_iban", pl.lit("\n"), _spelt("debtor"), pl.lit("\n:59:/"), "creditor_iban", pl.lit("\n"),
        _spelt("creditor"), pl.lit("\n:70:/RFB/"), "remittance", pl.lit("\n:71A:"),
        pl.col("charges_borne_by").cast(pl.String).replace_strict(CHARGES), pl.lit("\n-}"),
    )  # fmt: skip
    made = paid.select(day="settled_on", text=text)
    first = tables["customer"]["customer_id"].min() or 0
    return (
        made.group_by("day", maintain_order=True)
        .agg(pl.col("text").str.join("\n$\n"))
        .select(name=pl.concat_str(pl.col("day").cast(pl.String), pl.lit(f"-{first}")), text="text")
    )


def _spelt(column: str) -> pl.Expr:
    """A line of at most 35 characters of set x."""
    text = pl.col(column).str.replace_many(list(SPELT), list(SPELT.values())).str.normalize("NFKD")
    return text.str.replace_all(r"\p{M}", "").str.replace_all(r"[^A-Za-z0-9/\-?:().,'+ ]", ".").str.slice(0, 35)


def _rate(column: str) -> pl.Expr:
    """At most 12 characters, a comma among them."""
    return pl.col(column).round(9).cast(pl.String).str.slice(0, 12).str.replace(".", ",", literal=True)
