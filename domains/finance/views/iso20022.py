"""ISO 20022 messages: pacs.008 between banks, pain.001 from customers, camt.053 account statements.

Element names and orders are those of pacs.008.001.08, pain.001.001.09 and camt.053.001.08.
"""

from __future__ import annotations

import polars as pl

from ....core.domain import View
from ....core.schema import Schema
from ....core.tables import Table, Tables
from .xml import HEAD, Part, Parts, decimal_of, element, escaped, joined, optional

NAMESPACE = "urn:iso:std:iso:20022:tech:xsd:"
STAMP = "%Y-%m-%dT%H:%M:%S%.3fZ"
INITIATED = ("ICDT/ESCT", "ICDT/BOOK", "ICDT/STDO", "ICDT/SALA")


def views(schema: Schema) -> list[View]:
    """pacs.008, pain.001 and camt.053, each as a folder of XML files."""
    return [
        View(
            "pacs.008",
            "ISO 20022 pacs.008.001.08: credit transfers between banks, one file per settlement day, currency and block of customers.",
            lambda t, _: {"pacs.008": interbank(schema, t)},
            "xml",
        ),
        View(
            "pain.001",
            "ISO 20022 pain.001.001.09: payment orders, one file per customer.",
            lambda t, _: {"pain.001": initiations(schema, t)},
            "xml",
        ),
        View(
            "camt.053",
            "ISO 20022 camt.053.001.08: monthly account statements, one file per account.",
            lambda t, _: {"camt.053": statements(schema, t)},
            "xml",
        ),
    ]


def document(kind: str, *children: Part | Parts) -> Parts:
    return [HEAD, *element("Document", *children, attributes=f'xmlns="{NAMESPACE}{kind}"')]


def credit_transfers(schema: Schema, tables: Tables) -> Table:
    """Cleared transfers and pay with both parties: names, IBANs, BICs, countries of the accounts, and the amount in both currencies."""
    holder = tables["customer"].select(
        "customer_id",
        name=pl.coalesce("legal_name", pl.concat_str("given_name", pl.lit(" "), "family_name")),
    )
    account = (
        tables["account"].select("account_id", "customer_id", iban="iban").join(holder, on="customer_id", how="left")
    )
    party = tables["counterparty"].select("counterparty_id", their_name="name", their_iban="iban")
    inside = tables["account"].select(counterparty_account_id="account_id", inside_iban="iban")
    exchange = tables["exchange"].select(
        "transaction_id", their_currency=pl.col("currency").cast(pl.String), their_minor="amount_minor", rate="rate"
    )
    paid = (
        tables["transaction"]
        .filter(pl.col("cleared_at").is_not_null())
        .select(
            "transaction_id", "transaction_ref", "account_id", "counterparty_id", "counterparty_account_id", "type", "direction",
            "currency", "amount_minor", "authorised_at", "cleared_at", "booked_on",
        )
        .join(tables["credit_transfer"].drop("credit_transfer_id"), on="transaction_id", how="inner", maintain_order="left")
        .join(account, on="account_id", how="left", maintain_order="left")
        .join(party, on="counterparty_id", how="left", maintain_order="left")
        .join(inside, on="counterparty_account_id", how="left", maintain_order="left")
        .join(exchange, on="transaction_id", how="left", maintain_order="left")
    )  # fmt: skip
    theirs = pl.coalesce("their_iban", "inside_iban", "iban")
    their_name = pl.coalesce("their_name", "name")
    debit = pl.col("direction") == "DBIT"
    return paid.with_columns(
        debtor=pl.when(debit).then("name").otherwise(their_name),
        creditor=pl.when(debit).then(their_name).otherwise("name"),
        debtor_iban=pl.when(debit).then("iban").otherwise(theirs),
        creditor_iban=pl.when(debit).then(theirs).otherwise("iban"),
        # what is settled is what the creditor's bank is paid in
        settled=pl.coalesce("their_currency", pl.col("currency").cast(pl.String)),
        settled_minor=pl.coalesce("their_minor", "amount_minor"),
    )


def _agent(tag: str, bic: str) -> Parts:
    return element(tag, element("FinInstnId", element("BICFI", pl.col(bic))))


def _account(tag: str, iban: str) -> Parts:
    return element(tag, element("Id", element("IBAN", pl.col(iban))))


def _money(tag: str, minor: str, currency: str, exponents: dict[str, int]) -> Parts:
    """`<tag Ccy="EUR">12.34</tag>`."""
    return [
        f'<{tag} Ccy="', pl.col(currency).cast(pl.String), '">',
        decimal_of(pl.col(minor), pl.col(currency), exponents), f"</{tag}>",
    ]  # fmt: skip


def _exponents(schema: Schema) -> dict[str, int]:
    return {c: int(d) for c, d in schema.code_lists["currency_exponent"].codes.items()}


def _interbank(exponents: dict[str, int]) -> Parts:
    """One CdtTrfTxInf."""
    foreign = pl.col("their_minor").is_not_null()
    return element(
        "CdtTrfTxInf",
        element(
            "PmtId",
            element("InstrId", pl.col("transaction_id").cast(pl.String)),
            element("EndToEndId", pl.col("transaction_ref").cast(pl.String)),
            element("TxId", pl.col("transaction_id").cast(pl.String)),
        ),
        element("PmtTpInf", element("LclInstrm", element("Prtry", pl.col("scheme").cast(pl.String)))),
        _money("IntrBkSttlmAmt", "settled_minor", "settled", exponents),
        element("IntrBkSttlmDt", pl.col("settled_on").cast(pl.String)),
        optional(
            foreign,
            [*_money("InstdAmt", "amount_minor", "currency", exponents), "<XchgRate>", pl.col("rate").round(9).cast(pl.String), "</XchgRate>"],
        ),
        element("ChrgBr", pl.col("charges_borne_by").cast(pl.String)),
        element("Dbtr", element("Nm", escaped(pl.col("debtor")))),
        _account("DbtrAcct", "debtor_iban"),
        _agent("DbtrAgt", "debtor_bic"),
        _agent("CdtrAgt", "creditor_bic"),
        element("Cdtr", element("Nm", escaped(pl.col("creditor")))),
        _account("CdtrAcct", "creditor_iban"),
        element("Purp", element("Cd", pl.col("purpose").cast(pl.String))),
        _remittance(),
    )  # fmt: skip


def _remittance() -> Parts:
    reference = element("Tp", element("CdOrPrtry", element("Cd", "SCOR")))
    return element("RmtInf", element("Strd", element("CdtrRefInf", reference, element("Ref", pl.col("remittance")))))


def messages(schema: Schema, paid: Table) -> pl.Series:
    """A whole pacs.008 document of each credit transfer, as an instant payment system sends it."""
    body = document(
        "pacs.008.001.08",
        element(
            "FIToFICstmrCdtTrf",
            element(
                "GrpHdr",
                element("MsgId", pl.col("transaction_id").cast(pl.String)),
                element("CreDtTm", pl.col("authorised_at").dt.strftime(STAMP)),
                element("NbOfTxs", "1"),
                element("SttlmInf", element("SttlmMtd", "CLRG")),
            ),
            _interbank(_exponents(schema)),
        ),
    )
    return paid.select(text=joined(body))["text"]


def interbank(schema: Schema, tables: Tables) -> Table:
    """Columns name and text: transfers between banks, together by settlement day and currency."""
    paid = credit_transfers(schema, tables).filter(pl.col("scheme") != "BOOK")
    first = str(tables["customer"]["customer_id"].min() or 0)
    paid = paid.sort("settled_on", "settled", "cleared_at", "transaction_id")
    grouped = (
        paid.with_columns(text=joined(_interbank(_exponents(schema))))
        .group_by("settled_on", "settled", maintain_order=True)
        .agg(
            pl.col("text").str.join(""), n=pl.len(), total=pl.col("settled_minor").sum(), at=pl.col("cleared_at").max()
        )
    )
    key = pl.concat_str(pl.col("settled_on").cast(pl.String), pl.lit("-"), "settled", pl.lit(f"-{first}"))
    header = element(
        "GrpHdr",
        element("MsgId", key),
        element("CreDtTm", pl.col("at").dt.strftime(STAMP)),
        element("NbOfTxs", pl.col("n").cast(pl.String)),
        _money("TtlIntrBkSttlmAmt", "total", "settled", _exponents(schema)),
        element("IntrBkSttlmDt", pl.col("settled_on").cast(pl.String)),
        element("SttlmInf", element("SttlmMtd", "CLRG")),
    )
    body = document("pacs.008.001.08", element("FIToFICstmrCdtTrf", header, pl.col("text")))
    return grouped.select(name=key, text=joined(body))


def initiations(schema: Schema, tables: Tables) -> Table:
    """Columns name and text: what each customer ordered, one payment information for each day and account."""
    paid = credit_transfers(schema, tables).filter(pl.col("type").cast(pl.String).is_in(INITIATED))
    exponents = _exponents(schema)
    order = element(
        "CdtTrfTxInf",
        element("PmtId", element("EndToEndId", pl.col("transaction_ref").cast(pl.String))),
        element("Amt", _money("InstdAmt", "amount_minor", "currency", exponents)),
        _agent("CdtrAgt", "creditor_bic"),
        element("Cdtr", element("Nm", escaped(pl.col("creditor")))),
        _account("CdtrAcct", "creditor_iban"),
        element("Purp", element("Cd", pl.col("purpose").cast(pl.String))),
        _remittance(),
    )
    day = pl.col("authorised_at").dt.date()
    orders = paid.with_columns(text=joined(order), day=day).sort("account_id", "authorised_at", "transaction_id")
    keys = ["customer_id", "account_id", "day"]
    batch = orders.group_by(keys, maintain_order=True).agg(
        pl.col("text").str.join(""),
        pl.col("name", "iban", "debtor_bic").first(),
        n=pl.len(),
        at=pl.col("authorised_at").max(),
    )
    information = element(
        "PmtInf",
        element("PmtInfId", pl.col("account_id").cast(pl.String), "-", pl.col("day").cast(pl.String)),
        element("PmtMtd", "TRF"),
        element("NbOfTxs", pl.col("n").cast(pl.String)),
        element("ReqdExctnDt", element("Dt", pl.col("day").cast(pl.String))),
        element("Dbtr", element("Nm", escaped(pl.col("name")))),
        _account("DbtrAcct", "iban"),
        _agent("DbtrAgt", "debtor_bic"),
        pl.col("text"),
    )
    whole = (
        batch.with_columns(text=joined(information))
        .group_by("customer_id", maintain_order=True)
        .agg(pl.col("text").str.join(""), pl.col("name").first(), n=pl.col("n").sum(), at=pl.col("at").max())
    )
    header = element(
        "GrpHdr",
        element("MsgId", "PAIN-", pl.col("customer_id").cast(pl.String)),
        element("CreDtTm", pl.col("at").dt.strftime(STAMP)),
        element("NbOfTxs", pl.col("n").cast(pl.String)),
        element("InitgPty", element("Nm", escaped(pl.col("name")))),
    )
    body = document("pain.001.001.09", element("CstmrCdtTrfInitn", header, pl.col("text")))
    return whole.select(name=pl.col("customer_id").cast(pl.String), text=joined(body))


def valued(tables: Tables, entry: Table) -> Table:
    """Postings with `value_on`: the day of booking, or the earlier one that their payment counts from."""
    paid = tables["transaction"].select("transaction_id", "transaction_ref")
    early = tables["value_date"].join(paid, on="transaction_id").select("transaction_ref", "value_on")
    entry = entry.join(early, on="transaction_ref", how="left", maintain_order="left")
    booking = (pl.col("kind") == "booking").fill_null(False)
    return entry.with_columns(value_on=pl.coalesce(pl.when(booking).then("value_on"), pl.col("booked_at").dt.date()))


DOMAINS = {"CSLN": "LDAS", "MDOP": "ACMT", "FORX": "FORX"}
"""ISO 20022 domains of families that are none of PMNT, payments."""


def statements(schema: Schema, tables: Tables) -> Table:
    """Columns name and text: one statement a month with opening and closing balance and every posting, in order of booking."""
    exponents = _exponents(schema)
    entry = tables["ledger_entry"].filter(pl.col("internal_account_id").is_null())
    kinds = tables["transaction"].select("transaction_ref", "account_id", type=pl.col("type").cast(pl.String))
    theirs = tables["transaction"].filter(pl.col("counterparty_account_id").is_not_null())
    theirs = theirs.select("transaction_ref", account_id="counterparty_account_id", type=pl.lit("RCDT/BOOK"))
    kinds = pl.concat([kinds, theirs]).unique(["transaction_ref", "account_id"], keep="first", maintain_order=True)
    entry = entry.join(kinds, on=["transaction_ref", "account_id"], how="left", maintain_order="left").with_columns(
        pl.col("type").fill_null("RCDT/BOOK")
    )
    entry = valued(tables, entry)
    month = pl.col("booked_at").dt.truncate("1mo")
    booked = entry.filter(pl.col("kind") != "opening").with_columns(month=month)
    own = pl.col("type").str.starts_with("WLLT")
    family, sub = pl.col("type").str.slice(0, 4), pl.col("type").str.slice(5, 4)
    domain = family.replace_strict(DOMAINS, default="PMNT", return_dtype=pl.String)
    code = (
        pl.when(own)
        .then(joined(element("BkTxCd", element("Prtry", element("Cd", pl.col("type"))))))
        .otherwise(
            joined(
                element(
                    "BkTxCd",
                    element(
                        "Domn", element("Cd", domain), element("Fmly", element("Cd", family), element("SubFmlyCd", sub))
                    ),
                )
            )
        )
    )
    negative = pl.col("amount_minor") < 0
    reversal = optional(pl.col("kind") == "reversal", ["<RvslInd>true</RvslInd>"])
    row = element(
        "Ntry",
        element("NtryRef", pl.col("ledger_entry_id").cast(pl.String)),
        _money("Amt", "amount_minor", "currency", exponents),
        element("CdtDbtInd", pl.when(negative).then(pl.lit("DBIT")).otherwise(pl.lit("CRDT"))),
        reversal,
        element("Sts", element("Cd", "BOOK")),
        element("BookgDt", element("DtTm", pl.col("booked_at").dt.strftime(STAMP))),
        element("ValDt", element("Dt", pl.col("value_on").cast(pl.String))),
        code,
        element(
            "NtryDtls",
            element("TxDtls", element("Refs", element("EndToEndId", pl.col("transaction_ref").cast(pl.String)))),
        ),
    )
    monthly = (
        booked.with_columns(text=joined(row))
        .group_by("account_id", "month", maintain_order=True)
        .agg(
            pl.col("text").str.join(""),
            pl.col("currency").first(),
            opening=pl.col("balance_minor").first() - pl.col("amount_minor").first(),
            closing=pl.col("balance_minor").last(),
            at=pl.col("booked_at").last(),
        )
        .sort("account_id", "month")
        .with_columns(sequence=pl.int_range(1, pl.len() + 1).over("account_id"))
        .join(tables["account"].select("account_id", "iban"), on="account_id", how="left", maintain_order="left")
    )

    def balance(kind: str, minor: str, day: pl.Expr) -> Parts:
        return element(
            "Bal",
            element("Tp", element("CdOrPrtry", element("Cd", kind))),
            _money("Amt", minor, "currency", exponents),
            element("CdtDbtInd", pl.when(pl.col(minor) < 0).then(pl.lit("DBIT")).otherwise(pl.lit("CRDT"))),
            element("Dt", element("Dt", day.cast(pl.String))),
        )

    statement = element(
        "Stmt",
        element("Id", pl.col("account_id").cast(pl.String), "-", pl.col("month").dt.strftime("%Y%m")),
        element("ElctrncSeqNb", pl.col("sequence").cast(pl.String)),
        element("CreDtTm", pl.col("at").dt.strftime(STAMP)),
        element(
            "Acct", element("Id", element("IBAN", pl.col("iban"))), element("Ccy", pl.col("currency").cast(pl.String))
        ),
        balance("OPBD", "opening", pl.col("month").dt.date()),
        balance("CLBD", "closing", pl.col("at").dt.date()),
        pl.col("text"),
    )
    whole = (
        monthly.with_columns(text=joined(statement))
        .group_by("account_id", maintain_order=True)
        .agg(pl.col("text").str.join(""), at=pl.col("at").max())
    )
    header = element(
        "GrpHdr",
        element("MsgId", "CAMT-", pl.col("account_id").cast(pl.String)),
        element("CreDtTm", pl.col("at").dt.strftime(STAMP)),
    )
    body = document("camt.053.001.08", element("BkToCstmrStmt", header, pl.col("text")))
    return whole.select(name=pl.col("account_id").cast(pl.String), text=joined(body))
