"""Checks across tables: currencies, limits, other currencies, disputes, loans, references, and who a device, terminal or address belongs to."""

from __future__ import annotations

from collections.abc import Callable

import polars as pl

from ...core.domain import Check
from ...core.schema import LABEL
from .details import AT_ONCE
from .identifiers import creditor_reference_broken, iban_broken
from .validators import Lazy, violations

EXPONENTS = {"GBP": 2, "EUR": 2, "USD": 2, "JPY": 0, "KWD": 3, "CLF": 4, "UYW": 4}
"""Digits of the minor unit, ISO 4217."""
CURRENCY_OF = {"FPS": "GBP", "BACS": "GBP", "CHAPS": "GBP", "SCT": "EUR", "SCT-INST": "EUR"}
"""The currency of each domestic scheme."""


def currency(tables: Lazy) -> pl.DataFrame:
    """Payments and postings are in the currency of their account."""
    account = tables["account"].select("account_id", own=pl.col("currency").cast(pl.String)).collect()
    found = []
    for table, key in (("transaction", "transaction_id"), ("ledger_entry", "ledger_entry_id")):
        # rows stand by account: of each run of rows alike in both, the first is judged
        pair = ("account_id", "currency")
        heads = (
            tables[table].select(pair).filter(pl.any_horizontal(pl.col(c).ne_missing(pl.col(c).shift(1)) for c in pair))
        )
        pairs = heads.unique().with_columns(pl.col("currency").cast(pl.String)).collect()
        bad = pairs.join(account, on="account_id").filter(pl.col("currency") != pl.col("own"))
        if bad.height:
            rows = (
                tables[table]
                .with_columns(pl.col("currency").cast(pl.String))
                .join(bad.lazy(), on=["account_id", "currency"], how="semi")
            )
            found.append(violations(table, key, rows, pl.format("in {}, not in its account's currency", "currency")))
    return pl.concat(found) if found else _none()


def _none() -> pl.DataFrame:
    return pl.DataFrame(schema={"table": pl.String, "row_key": pl.Int64, "detail": pl.String})


def within_limit(tables: Lazy) -> pl.DataFrame:
    """No booked debit but the bank's own interest and fees takes an account below its arranged limit, up to the moment at which a scenario's first payment
    touches it or its instance begins."""
    entry = tables["ledger_entry"].filter(
        pl.col("internal_account_id").is_null()
        & (pl.col("kind") == "booking")
        & (pl.col("amount_minor") < 0)
        & (pl.col("balance_minor") < 0)
    )
    limit = tables["account"].select("account_id", "overdraft_limit_minor")
    off = entry.join(limit, on="account_id").filter(pl.col("balance_minor") < -pl.col("overdraft_limit_minor"))
    charges = tables["transaction"].filter(pl.col("channel").cast(pl.String).is_in(["interest", "fee"]))
    off = off.join(charges.select("transaction_ref"), on="transaction_ref", how="anti")
    off = off.join(_touched(tables).lazy(), on="account_id", how="left").filter(
        pl.col("since").is_null() | (pl.col("booked_at") < pl.col("since"))
    )
    return violations(
        "ledger_entry",
        "ledger_entry_id",
        off,
        pl.format("balance {}, limit {}", "balance_minor", "overdraft_limit_minor"),
    )


def _touched(tables: Lazy) -> pl.DataFrame:
    """Since when scenarios have a hand in an account: the first payment of any instance that it plays a part in or that names it."""
    group = ["scenario", "instance"]
    named = (
        tables[LABEL.name].select(*group, pl.col("table").cast(pl.String), "row_key").drop_nulls("row_key").collect()
    )
    paid = named.filter(table="transaction").select(*group, transaction_id="row_key")
    moved = (
        tables["transaction"]
        .filter(pl.col("transaction_id").is_in(paid["transaction_id"].implode()))
        .select("transaction_id", "account_id", "counterparty_account_id", "authorised_at")
        .collect()
        .join(paid, on="transaction_id")
    )
    sides = [
        moved.select(*group, "authorised_at", pl.col(c).alias("account_id"))
        for c in ("account_id", "counterparty_account_id")
    ]
    begun = moved.group_by(group).agg(pl.col("authorised_at").min())
    cast = named.filter(table="account").select(*group, account_id="row_key").unique()
    sides.append(cast.join(begun, on=group, how="left").select(sides[0].columns))
    # who plays a part in an instance without a payment here has one elsewhere, at a time that is not known
    known = pl.concat(sides).drop_nulls("account_id")
    # what was spent with a credit card is paid from its holder's other accounts
    holder = tables["account"].select("account_id", "customer_id", kind=pl.col("type").cast(pl.String)).collect()
    cards = known.join(holder.filter(kind="credit"), on="account_id").drop("account_id")
    known = pl.concat([known, cards.join(holder.drop("kind"), on="customer_id").select(known.columns)])
    long_ago = pl.lit(0).cast(known.schema["authorised_at"])
    return known.group_by("account_id").agg(since=pl.col("authorised_at").fill_null(long_ago).min())


def exchanged(tables: Lazy) -> pl.DataFrame:
    """An amount in another currency is what was booked, without the fee, at the rate, in minor units of that currency."""
    paid = tables["transaction"].select("transaction_id", booked="amount_minor", own=pl.col("currency").cast(pl.String))
    rows = tables["exchange"].join(paid, on="transaction_id").with_columns(pl.col("currency").cast(pl.String))
    digits = {c: pl.col(c).replace_strict(EXPONENTS, default=2, return_dtype=pl.Int64) for c in ("currency", "own")}
    scale = pl.lit(10.0).pow(digits["currency"] - digits["own"])
    expected = (pl.col("booked") - pl.col("fee_minor")) * pl.col("rate") * scale
    off = rows.with_columns(expected=expected.round(2)).filter(
        ((pl.col("amount_minor") - pl.col("expected")).abs() > 1) | (pl.col("currency") == pl.col("own"))
    )
    return violations(
        "exchange", "exchange_id", off, pl.format("{} {}, expected {}", "amount_minor", "currency", "expected")
    )


def backdated(tables: Lazy) -> pl.DataFrame:
    """A value date is from the day on which the payment was made to the day before it was booked."""
    paid = tables["transaction"].select("transaction_id", "booked_on", made=pl.col("authorised_at").dt.date())
    off = tables["value_date"].join(paid, on="transaction_id")
    off = off.filter(~pl.col("value_on").is_between(pl.col("made"), pl.col("booked_on"), closed="left"))
    return violations("value_date", "value_date_id", off, pl.format("{}, booked on {}", "value_on", "booked_on"))


def released(tables: Lazy) -> pl.DataFrame:
    """What a partial reversal leaves is what was cleared."""
    paid = tables["transaction"].select("transaction_id", booked="amount_minor", at="cleared_at")
    off = (
        tables["adjustment"]
        .join(paid, on="transaction_id")
        .filter((pl.col("cleared_minor") != pl.col("booked")) | pl.col("at").is_null())
    )
    return violations("adjustment", "adjustment_id", off, pl.format("cleared {}, booked {}", "cleared_minor", "booked"))


def disputed(tables: Lazy) -> pl.DataFrame:
    """A dispute is of a cleared card payment, of no more than was paid, after it cleared; what the holder wins is charged back, and nothing else."""
    paid = tables["transaction"].select(
        "transaction_id",
        "cleared_at",
        "card_id",
        "reversed_at",
        booked="amount_minor",
        why=pl.col("reversal").cast(pl.String),
    )
    rows = tables["dispute"].join(paid, on="transaction_id")
    back, won = pl.col("why") == "chargeback", pl.col("outcome").cast(pl.String) == "holder"
    off = rows.filter(
        pl.col("cleared_at").is_null() | pl.col("card_id").is_null() | (pl.col("amount_minor") > pl.col("booked"))
        | (pl.col("opened_at") < pl.col("cleared_at")) | (back.fill_null(False) != won)
        | (won & (pl.col("reversed_at") != pl.col("charged_back_at")))
    )  # fmt: skip
    alone = paid.filter(back).join(tables["dispute"].select("transaction_id"), on="transaction_id", how="anti")
    return pl.concat(
        [
            violations("dispute", "dispute_id", off, "does not fit its payment"),
            violations("transaction", "transaction_id", alone, "charged back without a dispute"),
        ]
    )


def charged_back(tables: Lazy) -> pl.DataFrame:
    """What a report says of the chargeback is what became of the payment."""
    paid = tables["transaction"].select("transaction_id", "reversed_at", why=pl.col("reversal").cast(pl.String))
    rows = tables["fraud_report"].filter(pl.col("charged_back_at").is_not_null()).join(paid, on="transaction_id")
    off = rows.filter(
        pl.col("why").ne_missing("chargeback") | pl.col("reversed_at").ne_missing(pl.col("charged_back_at"))
    )
    return violations("fraud_report", "fraud_report_id", off, "the payment was not charged back then")


def after_payment(table: str, at: str) -> Callable[[Lazy], pl.DataFrame]:
    """Nobody reports a payment, and no rule speaks of it, before it is made; both name its account."""

    def judge(tables: Lazy) -> pl.DataFrame:
        paid = tables["transaction"].select("transaction_id", "authorised_at", payer="account_id")
        rows = tables[table].join(paid, on="transaction_id")
        early = rows.filter((pl.col(at) < pl.col("authorised_at")) | (pl.col("account_id") != pl.col("payer")))
        detail = pl.format(
            "of {} on account {}, payment of {} on account {}", at, "account_id", "authorised_at", "payer"
        )
        return violations(table, f"{table}_id", early, detail)

    return judge


def first_holders(tables: Lazy) -> pl.DataFrame:
    """Each account has one first holder, the customer that it is listed with; nobody holds it twice."""
    account = tables["account"].select("account_id", own="customer_id")
    rows = tables["account_holder"].join(account, on="account_id")
    first = pl.col("role").cast(pl.String) == "first"
    off = rows.filter((first != (pl.col("customer_id") == pl.col("own"))) | (first.sum().over("account_id") != 1))
    return violations("account_holder", "account_holder_id", off, pl.format("customer {}, account of {}", "customer_id", "own"))  # fmt: skip


def schedule(tables: Lazy) -> pl.DataFrame:
    """Each instalment is what the loan says, of which it pays the interest of the month and some of what is owed; the last one pays all of it."""
    loan = tables["loan"].select("loan_id", "annual_rate", "months", "principal_minor", "instalment_minor")
    rows = (
        tables["instalment"].sort("loan_id", "number").join(loan, on="loan_id", maintain_order="left", suffix="_lent")
    )
    before = pl.col("outstanding_minor") + pl.col("principal_minor")
    owed = pl.when(pl.col("loan_id") == pl.col("loan_id").shift(1)).then(pl.col("outstanding_minor").shift(1))
    due = (before * pl.col("annual_rate") / 12).round()
    off = rows.filter(
        (owed.is_not_null() & (owed != before)) | ((pl.col("interest_minor") - due).abs() > 1) | (before > pl.col("principal_minor_lent"))
        | ((pl.col("number") == pl.col("months")) & (pl.col("outstanding_minor") != 0)) | (pl.col("number") > pl.col("months"))
        | ((pl.col("number") < pl.col("months")) & (pl.col("interest_minor") + pl.col("principal_minor") != pl.col("instalment_minor")))
    )  # fmt: skip
    return violations("instalment", "instalment_id", off, "does not follow from the one before at the loan's rate")


def ordered(tables: Lazy) -> pl.DataFrame:
    """A scheme settles its own currency, no earlier than it is booked and never at a weekend unless at once; creditor references have valid check digits."""
    paid = tables["transaction"].select(
        "transaction_id", money=pl.col("currency").cast(pl.String), booked=pl.col("cleared_at").dt.date()
    )
    rows = tables["credit_transfer"].join(paid, on="transaction_id").with_columns(pl.col("scheme").cast(pl.String))
    theirs = pl.col("scheme").replace_strict(CURRENCY_OF, default=None, return_dtype=pl.String)
    wrong = violations(
        "credit_transfer",
        "credit_transfer_id",
        rows.filter(theirs != pl.col("money")),
        pl.format("{} in {}", "scheme", "money"),
    )
    day = pl.col("settled_on")
    early = (day < pl.col("booked")) | ((day.dt.weekday() > 5) & ~pl.col("scheme").is_in(AT_ONCE))
    never = day.is_null() != pl.col("booked").is_null()
    off = violations(
        "credit_transfer",
        "credit_transfer_id",
        rows.filter(early | never),
        pl.format("{} settled on {}, booked on {}", "scheme", day.cast(pl.String).fill_null("no day"), pl.col("booked").cast(pl.String).fill_null("no day")),
    )  # fmt: skip
    texts = tables["credit_transfer"].select("credit_transfer_id", "remittance").collect()
    bad = texts.filter(creditor_reference_broken(texts["remittance"])).lazy()
    return pl.concat([wrong, off, violations("credit_transfer", "credit_transfer_id", bad, pl.col("remittance"))])


def belongs(tables: Lazy) -> pl.DataFrame:
    """A payment's device is its customer's, its address its device's, its terminal its merchant's."""
    holder = tables["account"].select("account_id", owner="customer_id")
    payment = tables["transaction"].select(
        "transaction_id", "account_id", "device_id", "ip_address_id", "merchant_id", "terminal_id"
    )
    device = tables["device"].select("device_id", of="customer_id")
    used = payment.filter(pl.col("device_id").is_not_null()).join(holder, on="account_id").join(device, on="device_id")
    address = tables["ip_address"].select("ip_address_id", theirs="device_id")
    seen = payment.filter(pl.col("ip_address_id").is_not_null()).join(address, on="ip_address_id")
    terminal = tables["terminal"].select("terminal_id", at="merchant_id")
    tills = payment.filter(pl.col("terminal_id").is_not_null()).join(terminal, on="terminal_id")
    other = pl.col("merchant_id").ne_missing(pl.col("at"))
    return pl.concat(
        [
            violations(
                "transaction", "transaction_id", used.filter(pl.col("owner") != pl.col("of")), "somebody else's device"
            ),
            violations(
                "transaction",
                "transaction_id",
                seen.filter(pl.col("device_id").ne_missing(pl.col("theirs"))),
                "an address of another device",
            ),
            violations("transaction", "transaction_id", tills.filter(other), "a terminal of another merchant"),
        ]
    )


def employer_iban(tables: Lazy) -> pl.DataFrame:
    """Employers' IBANs have valid check digits."""
    texts = tables["employer"].select("employer_id", "iban").collect()
    return violations("employer", "employer_id", texts.filter(iban_broken(texts["iban"])).lazy(), pl.col("iban"))


CHECKS = (
    Check("ledger.currency", ("transaction", "ledger_entry", "account"), "Payments and postings are in their account's currency.", currency),
    Check("account.within-limit", ("ledger_entry", "account", "transaction", LABEL.name), "No debit but interest and fees takes an account below its limit before a scenario has a hand in it.", within_limit),
    Check("exchange.amount", ("exchange", "transaction"), "Amounts in other currencies follow from rate, fee and minor units.", exchanged),
    Check("value_date.backdated", ("value_date", "transaction"), "Value dates lie from the day of the payment to the day before its booking.", backdated),
    Check("adjustment.cleared", ("adjustment", "transaction"), "What a partial reversal leaves is what was cleared.", released),
    Check("dispute.booked", ("dispute", "transaction"), "Disputes fit their payments, chargebacks their disputes.", disputed),
    Check("fraud_report.charged-back", ("fraud_report", "transaction"), "Reports and payments agree on chargebacks.", charged_back),
    Check("fraud_report.after-payment", ("fraud_report", "transaction"), "Payments are reported after they are made.", after_payment("fraud_report", "reported_at")),
    Check("alert.after-payment", ("alert", "transaction"), "Alerts follow their payments.", after_payment("alert", "raised_at")),
    Check("account_holder.first", ("account_holder", "account"), "An account's first holder is its customer.", first_holders),
    Check("instalment.schedule", ("instalment", "loan"), "Instalments follow from rate and sum.", schedule),
    Check("credit_transfer.order", ("credit_transfer", "transaction"), "Schemes settle their currency, on a day on which they can; references pass ISO 7064 mod 97.", ordered),
    Check(
        "transaction.belongs",
        ("transaction", "account", "device", "ip_address", "terminal"),
        "Devices, addresses and terminals belong to who and where they are used by.",
        belongs,
    ),
    Check("employer.iban-check-digits", ("employer",), "Employers' IBANs pass ISO 7064 mod 97.", employer_iban),
)  # fmt: skip
