"""Card messages in the fields of ISO 8583:1987: authorisations, clearings, reversals and chargebacks, one row a message, in order of time."""

from __future__ import annotations

import polars as pl

from ....core.schema import Schema
from ....core.tables import Table, Tables
from ..currencies import major_unit
from .truth import name_then

NUMERIC = {"GBP": "826", "EUR": "978", "USD": "840", "JPY": "392", "KWD": "414", "CLF": "990", "UYW": "927"}
"""ISO 4217 numeric codes."""
PROCESSING = {"card-present": "000000", "card-not-present": "000000", "atm": "010000"}
"""Field 3: purchase, cash withdrawal; from and to the default account."""


def iso8583(schema: Schema, tables: Tables) -> Table:
    """Columns are named by field: mti, de2 (card number), de3 (processing code), de4 (amount, 12 digits), de7 (transmission, MMDDhhmmss), de11 (trace number), de12
    and de13 (UTC time and date), de14 (expiry, YYMM), de18 (merchant category), de22 (entry mode, PIN capability), de37 (retrieval reference), de38 (approval
    code), de39 (answer), de41 (terminal), de42 (merchant), de43 (name and place), de49 (currency), de56 (3-D Secure outcome), at and transaction_id."""
    card = tables["card"].select("card_id", "pan", expiry=pl.col("expires_on").dt.strftime("%y%m"))
    paid = tables["transaction"].filter(pl.col("response_code").is_not_null() & pl.col("card_id").is_not_null()).select(
        "transaction_id", "transaction_ref", "card_id", "terminal_id", "merchant_id", "channel", "mcc", "amount_minor", "currency", "authorised_at",
        "cleared_at", "reversed_at", "reversal", "reversed_minor", "response_code", "entry_mode", "three_ds", "country",
    )  # fmt: skip
    adjusted = tables["adjustment"].select("transaction_id", "authorised_minor", "released_minor")
    paid = paid.join(card, on="card_id", how="left", maintain_order="left").join(
        adjusted, on="transaction_id", how="left", maintain_order="left"
    )
    why = pl.col("reversal").cast(pl.String)
    approved = pl.col("response_code") == "00"
    parts = [
        (pl.lit(True), "0110", "authorised_at", pl.coalesce("authorised_minor", "amount_minor")),
        (pl.col("released_minor") > 0, "0420", "cleared_at", pl.col("released_minor")),
        (pl.col("cleared_at").is_not_null(), "0220", "cleared_at", pl.col("amount_minor")),
        (why == "void", "0420", "reversed_at", pl.col("reversed_minor")),
        (why == "refund", "0220", "reversed_at", pl.col("reversed_minor")),
        (why == "chargeback", "0422", "reversed_at", pl.col("reversed_minor")),
    ]
    made = []
    for step, (such, mti, at, amount) in enumerate(parts):
        refund = step == 4
        processing = (
            pl.lit("200000")
            if refund
            else pl.col("channel").cast(pl.String).replace_strict(PROCESSING, default="000000")
        )
        made.append(
            paid.filter(such).with_columns(
                mti=pl.lit(mti), at=pl.col(at), amount=amount, step=pl.lit(step), processing=processing
            )
        )
    place = pl.col("merchant_id")
    reference = pl.col("transaction_ref")
    shop = tables["merchant"].select(
        "merchant_id", "name", "renamed_on", "former_name", town=pl.col("city").str.slice(0, 13)
    )
    rows = (
        pl.concat(made)
        .sort("at", "transaction_id", "step")
        .join(shop, on="merchant_id", how="left", maintain_order="left")
    )
    at = pl.col("at").dt
    return rows.select(
        "mti",
        de2="pan",
        de3="processing",
        de4=pl.col("amount").cast(pl.String).str.zfill(12),
        de7=at.strftime("%m%d%H%M%S"),
        de11=(reference % 1_000_000).cast(pl.String).str.zfill(6),
        de12=at.strftime("%H%M%S"),
        de13=at.strftime("%m%d"),
        de14="expiry",
        de18=pl.col("mcc").cast(pl.String),
        de22=pl.col("entry_mode").cast(pl.String) + "1",
        de37=(reference % 10**12).cast(pl.String).str.zfill(12),
        de38=pl.when(approved).then((reference % 999_983).cast(pl.String).str.zfill(6)),
        de39=pl.col("response_code").cast(pl.String),
        de41=pl.col("terminal_id").cast(pl.String).str.zfill(8),
        de42=place.cast(pl.String).str.zfill(15),
        de43=pl.concat_str(name_then(at.date()).str.slice(0, 25).fill_null(""), pl.lit("/"), pl.col("town").fill_null(""), pl.lit("/"), pl.col("country").cast(pl.String).fill_null("")),
        de49=pl.col("currency").cast(pl.String).replace_strict(NUMERIC),
        de56=pl.col("three_ds").cast(pl.String),
        at=at.strftime("%Y-%m-%dT%H:%M:%SZ"),
        transaction_id="transaction_id",
    )  # fmt: skip


def journal(tables: Tables) -> Table:
    """The ledger as plain rows: date, reference, account (an IBAN, or purpose and currency of the bank's own account), debit and credit in major units."""
    own = tables["account"].select("account_id", "iban")
    bank = tables["internal_account"].select(
        "internal_account_id",
        bank=pl.concat_str(pl.col("purpose").cast(pl.String), pl.lit(":"), pl.col("currency").cast(pl.String)),
    )
    entry = tables["ledger_entry"].join(own, on="account_id", how="left", maintain_order="left")
    entry = entry.join(bank, on="internal_account_id", how="left", maintain_order="left")
    amount = pl.col("amount_minor")
    unit = major_unit("currency")
    return entry.select(
        entry_id="ledger_entry_id",
        booked_at=pl.col("booked_at").dt.strftime("%Y-%m-%dT%H:%M:%SZ"),
        reference="transaction_ref",
        kind=pl.col("kind").cast(pl.String),
        account=pl.when(pl.col("internal_account_id").is_null()).then("iban").otherwise("bank"),
        debit=pl.when(amount < 0).then((-amount / unit).round(4)),
        credit=pl.when(amount >= 0).then((amount / unit).round(4)),
        currency=pl.col("currency").cast(pl.String),
        balance=(pl.col("balance_minor") / unit).round(4),
    )
