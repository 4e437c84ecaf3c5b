"""Tables in the shape of data sets that notebooks are written for: AMLworld, PaySim, Sparkov. Column names and codes are theirs."""

from __future__ import annotations

from collections.abc import Mapping

import polars as pl

from ....core.tables import Table, Tables
from ..currencies import major_unit
from .truth import labelled, name_then

TRANSFERS = ("transfer", "salary", "loan", "wallet")
"""Channels by which money goes from account to account."""
AMLWORLD = "Timestamp,From Bank,Account,To Bank,Account,Amount Received,Receiving Currency,Amount Paid,Payment Currency,Payment Format,Is Laundering"
"""The heading of AMLworld's transaction files (Altman et al. 2023), in which a name stands twice."""
FORMATS = {
    "card-present": "Credit Card", "card-not-present": "Credit Card", "atm": "Cash", "cash": "Cash", "cheque": "Cheque", "transfer": "Wire",
    "salary": "ACH", "direct-debit": "ACH", "loan": "ACH", "fee": "ACH", "interest": "ACH", "exchange": "Wire", "wallet": "Cash", "acquiring": "ACH",
}  # fmt: skip
CURRENCY = {
    "GBP": "UK Pound",
    "EUR": "Euro",
    "USD": "US Dollar",
    "JPY": "Yen",
    "KWD": "Kuwaiti Dinar",
    "CLF": "Unidad de Fomento",
    "UYW": "Unidad Previsional",
}
PAYSIM = {
    "card-present": "PAYMENT", "card-not-present": "PAYMENT", "atm": "CASH_OUT", "cheque": "TRANSFER", "transfer": "TRANSFER",
    "salary": "CASH_IN", "direct-debit": "DEBIT", "loan": "DEBIT", "fee": "DEBIT", "interest": "DEBIT", "exchange": "TRANSFER", "acquiring": "CASH_IN",
}  # fmt: skip


def _booked(tables: Tables) -> Table:
    """Booked payments in order of time, with the illicit ones marked."""
    bad = labelled(tables).select("transaction_id", "scenario", "instance")
    paid = tables["transaction"].filter(pl.col("cleared_at").is_not_null()).sort("authorised_at", "transaction_id")
    return paid.join(bad, on="transaction_id", how="left", maintain_order="left").with_columns(
        bad=pl.col("scenario").is_not_null().cast(pl.Int8)
    )


def transfers(tables: Tables) -> Table:
    """Booked payments from account to account, in the six columns that detectors of laundering take. An account of another bank is told by the entry that
    names it: the negative of its counterparty_id, less one."""
    paid = (
        tables["transaction"]
        .lazy()
        .filter(
            pl.col("channel").is_in(TRANSFERS)
            & pl.col("cleared_at").is_not_null()
            & (pl.col("counterparty_account_id").is_not_null() | pl.col("counterparty_id").is_not_null())
        )
    )
    other = pl.coalesce("counterparty_account_id", -1 - pl.col("counterparty_id"))
    debit = pl.col("direction").to_physical() == 0
    return paid.select(
        time=pl.col("authorised_at").dt.epoch("s"),
        payer=pl.when(debit).then("account_id").otherwise(other),
        payee=pl.when(debit).then(other).otherwise("account_id"),
        amount_minor="amount_minor",
        currency="currency",
        laundering=pl.col("transaction_id").is_in(labelled(tables)["transaction_id"].implode()).cast(pl.Int8),
    ).collect()


def amlworld(tables: Tables, first: bool) -> Table:
    """Lines of `Trans.csv`, with its heading in the first block: transfers, pay, cash and cheques between accounts, card payments to merchants."""
    lines = (
        _amlworld(tables)
        .with_columns(pl.all().cast(pl.String).fill_null(""))
        .select(text=pl.concat_str(pl.all(), separator=","))
    )
    return pl.concat([pl.DataFrame({"text": [AMLWORLD]}), lines]) if first else lines


def _amlworld(tables: Tables) -> Table:
    party = tables["counterparty"].select("counterparty_id", their_iban="iban")
    account = tables["account"].select("account_id", "iban")
    inside = tables["account"].select(counterparty_account_id="account_id", inside="iban")
    exchange = tables["exchange"].select("transaction_id", got="amount_minor", money="currency")
    paid = _booked(tables).join(account, on="account_id", how="left", maintain_order="left")
    for table, on in ((party, "counterparty_id"), (inside, "counterparty_account_id"), (exchange, "transaction_id")):
        paid = paid.join(table, on=on, how="left", maintain_order="left")
    other = pl.coalesce("their_iban", "inside")
    number = pl.coalesce(
        other.str.slice(-10), pl.lit("M") + pl.col("merchant_id").cast(pl.String), pl.col("channel").cast(pl.String)
    )
    bank = (
        pl.when(other.is_not_null())
        .then(_bank(other))
        .when(pl.col("merchant_id").is_not_null())
        .then(pl.lit("000"))
        .otherwise(_bank(pl.col("iban")))
    )
    debit, own, own_bank = pl.col("direction") == "DBIT", pl.col("iban").str.slice(-10), _bank(pl.col("iban"))
    amount = _major(pl.col("amount_minor"))
    return paid.select(
        at=pl.col("authorised_at").dt.strftime("%Y/%m/%d %H:%M"),
        from_bank=pl.when(debit).then(own_bank).otherwise(bank),
        from_account=pl.when(debit).then(own).otherwise(number),
        to_bank=pl.when(debit).then(bank).otherwise(own_bank),
        to_account=pl.when(debit).then(number).otherwise(own),
        received=pl.coalesce(pl.col("got") / major_unit("money"), amount),
        receiving=pl.coalesce(_money("money"), _money("currency")),
        paid=amount,
        paying=_money("currency"),
        format=pl.col("channel").cast(pl.String).replace_strict(FORMATS),
        bad="bad",
    )


def _bank(iban: pl.Expr) -> pl.Expr:
    """A bank's number: that of its country and the first digits of the account."""
    return iban.str.slice(0, 2).replace_strict(
        {"GB": "1", "DE": "2", "NL": "3", "IE": "4", "KW": "5"}, default="9"
    ) + iban.str.slice(8, 4)


def _money(column: str) -> pl.Expr:
    return pl.col(column).cast(pl.String).replace_strict(CURRENCY, return_dtype=pl.String)


def patterns(tables: Tables) -> Table:
    """Lines of `Patterns.txt`: each labelled group's transactions between a line that begins and one that ends it."""
    rows = (
        _amlworld(tables)
        .with_columns(pl.all().cast(pl.String).fill_null(""))
        .select(text=pl.concat_str(pl.all(), separator=","))
    )
    booked = (
        _booked(tables)
        .select("scenario", "instance")
        .with_columns(rows["text"])
        .filter(pl.col("scenario").is_not_null())
    )
    name = pl.col("scenario").str.to_uppercase()
    grouped = booked.group_by("scenario", "instance", maintain_order=True).agg(pl.col("text").str.join("\n"))
    begin, end = pl.lit("BEGIN LAUNDERING ATTEMPT - ") + name, pl.lit("END LAUNDERING ATTEMPT - ") + name
    return grouped.sort("scenario", "instance").select(text=pl.concat_str(begin, "text", end, separator="\n"))


def paysim(tables: Tables) -> Table:
    """PaySim's columns (Lopez-Rojas et al. 2016): step is the hour of the window from 1, names begin with C and M, balances are booked ones in major units; those
    of merchants and of parties elsewhere are 0, as there."""
    paid = _booked(tables)
    # opening balances are booked just before the window, or when an account is opened
    start = tables["ledger_entry"].filter(pl.col("kind") == "opening")["booked_at"].min()
    kind = pl.col("channel").cast(pl.String)
    wallet = pl.col("type").cast(pl.String).str.strip_prefix("WLLT/")
    cash = pl.col("type").cast(pl.String) == "CNTR/CDPT"
    type_ = (
        pl.when(kind == "wallet").then(wallet)
        .when(kind == "cash").then(pl.when(cash).then(pl.lit("CASH_IN")).otherwise(pl.lit("CASH_OUT")))
        .otherwise(kind.replace_strict(PAYSIM, default="TRANSFER"))
    )  # fmt: skip
    credit = pl.col("direction") == "CRDT"
    after, amount = pl.col("balance_after_minor"), pl.col("amount_minor")
    before = pl.when(credit).then(after - amount).otherwise(after + amount)
    other = (
        pl.when(pl.col("counterparty_account_id").is_not_null()).then(_named("C", "counterparty_account_id"))
        .when(pl.col("merchant_id").is_not_null()).then(_named("M", "merchant_id"))
        .when(pl.col("counterparty_id").is_not_null()).then(pl.lit("C9") + pl.col("counterparty_id").cast(pl.String))
        .otherwise(pl.lit("B") + pl.col("channel").to_physical().cast(pl.String))
    )  # fmt: skip
    own = _named("C", "account_id")
    # what comes in from outside is a cash-in of the account it comes to: PaySim's origin
    return paid.select(
        step=(pl.col("authorised_at") - pl.lit(start, pl.Datetime("us", "UTC"))).dt.total_hours() + 1,
        type=type_,
        amount=_major(amount),
        nameOrig=own,
        oldbalanceOrg=_major(before),
        newbalanceOrig=_major(after),
        nameDest=other,
        oldbalanceDest=pl.lit(0.0),
        newbalanceDest=pl.lit(0.0),
        isFraud="bad",
        isFlaggedFraud=((type_ == "TRANSFER") & (amount > 20_000_000)).cast(pl.Int8),
    )


def _major(minor: pl.Expr) -> pl.Expr:
    return (minor / major_unit("currency")).round(4)


def _named(letter: str, column: str) -> pl.Expr:
    return pl.lit(letter) + (pl.col(column) + 1_000_000_000).cast(pl.String)


def sparkov(tables: Tables, inhabitants: Mapping[str, int]) -> Table:
    """Sparkov's columns (Harris 2020; Kaggle `fraudTrain.csv`): card payments with their holder and merchant. The first column has no name, as there.
    `city_pop` is of `inhabitants`, by city."""
    customer = tables["customer"].select(
        "customer_id", "household_id", "given_name", "family_name", "sex", "street", "city", "country", "postcode", "birth_date", "employment",
    )  # fmt: skip
    home = tables["household"].select(household_id="household_id", lat="latitude", long="longitude")
    owner = (
        tables["account"]
        .select("account_id", "customer_id")
        .join(customer, on="customer_id")
        .join(home, on="household_id", how="left")
    )
    card = tables["card"].select("card_id", "pan")
    shop = tables["merchant"].select(
        "merchant_id",
        "name",
        "renamed_on",
        "former_name",
        "category",
        "online",
        merch_lat="latitude",
        merch_long="longitude",
    )
    paid = _booked(tables).filter(pl.col("channel").cast(pl.String).is_in(["card-present", "card-not-present"]))
    for table, on in ((owner, "account_id"), (card, "card_id"), (shop, "merchant_id")):
        paid = paid.join(table, on=on, how="left", maintain_order="left")
    at = pl.col("authorised_at")
    return paid.select(
        pl.col("transaction_id").alias(""),
        trans_date_trans_time=at.dt.strftime("%Y-%m-%d %H:%M:%S"),
        cc_num="pan",
        merchant=pl.lit("fraud_") + name_then(at.dt.date()),
        category=pl.col("category").cast(pl.String) + pl.when("online").then(pl.lit("_net")).otherwise(pl.lit("_pos")),
        amt=_major(pl.col("amount_minor")),
        first="given_name",
        last="family_name",
        gender=pl.when(pl.col("sex") == "male").then(pl.lit("M")).otherwise(pl.lit("F")),
        street="street",
        city="city",
        state=pl.col("country").cast(pl.String),
        zip="postcode",
        lat="lat",
        long="long",
        city_pop=pl.col("city").replace_strict(inhabitants, default=None, return_dtype=pl.Int64),
        job=pl.col("employment").cast(pl.String),
        dob=pl.col("birth_date").cast(pl.String),
        trans_num=pl.col("transaction_ref").cast(pl.String).str.zfill(32),
        unix_time=at.dt.epoch("s"),
        merch_lat="merch_lat",
        merch_long="merch_long",
        is_fraud="bad",
    )
