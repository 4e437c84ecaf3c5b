"""The payment graph: accounts, merchants and parties elsewhere as nodes, booked payments as edges, laundering groups as labels.

`nodes.csv`, `edges.csv` and `groups.csv` load with pandas into NetworkX (`from_pandas_edgelist`) and PyTorch Geometric (`edge_index` from `source` and
`target`, after numbering `node`). A node is named by what it is and its key; parties elsewhere by their IBAN, so that two customers who pay one party pay one node. What has no other
party (cash, cheques, fees, interest) is paid to or by the bank, which is one node for each channel.
"""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

from ....core.tables import Table, Tables
from .truth import labelled, mules


def nodes(tables: Tables, first: bool, channels: Sequence[str]) -> Table:
    """Accounts of the block and parties of its lists; merchants, employers and the bank's own sides once, with the first block. Columns: node, kind, segment (of accounts), country,
    currency, opened_on, income_minor, balance_minor (at the start), online (of merchants), and the labels illicit (takes part in a
    labelled group) and mule (is paid and pays on for others in one)."""
    customer = tables["customer"].select("customer_id", "segment", "country", "income_minor")
    account = tables["account"].join(customer, on="customer_id", how="left", maintain_order="left")
    bad = labelled(tables).join(
        tables["transaction"].select("transaction_id", "account_id", "counterparty_account_id"), on="transaction_id"
    )
    guilty = pl.concat([bad["account_id"], bad["counterparty_account_id"].drop_nulls()]).unique()
    parts = [
        account.select(
            node=_key("account", "account_id"),
            kind=pl.col("type").cast(pl.String),
            segment=pl.col("segment").cast(pl.String),
            country=pl.col("country").cast(pl.String),
            currency=pl.col("currency").cast(pl.String),
            opened_on=pl.col("opened_on"),
            income_minor="income_minor",
            balance_minor="opening_balance_minor",
            illicit=pl.col("account_id").is_in(guilty.implode()).cast(pl.Int8),
            mule=pl.col("account_id").is_in(mules(tables).implode()).cast(pl.Int8),
        )
    ]
    ours = pl.concat([tables["account"]["iban"], tables["employer"]["iban"]])
    # who is paid on an account of this bank, of another block too, is a node already
    here = tables["transaction"].filter(pl.col("counterparty_account_id").is_not_null())["counterparty_id"].drop_nulls()
    party = tables["counterparty"].filter(
        ~pl.col("iban").is_in(ours.implode()) & ~pl.col("counterparty_id").is_in(here.unique().implode())
    )
    party = party.unique("iban", keep="first", maintain_order=True)
    parts.append(
        party.select(
            node=_key("iban", "iban"),
            kind=pl.lit("elsewhere"),
            segment=pl.col("kind").cast(pl.String),
            country=pl.col("iban").str.slice(0, 2),
        )
    )
    if first:
        parts.append(
            tables["merchant"].select(
                node=_key("merchant", "merchant_id"), kind=pl.lit("merchant"), segment=pl.col("category").cast(pl.String),
                country=pl.col("country").cast(pl.String), online=pl.col("online").cast(pl.Int8),
            )
        )  # fmt: skip
        parts.append(
            tables["employer"].select(
                node=_key("iban", "iban"),
                kind=pl.lit("elsewhere"),
                segment=pl.col("kind").cast(pl.String),
                country=pl.col("country").cast(pl.String),
            )
        )
        parts.append(pl.DataFrame({"node": [f"bank:{c}" for c in channels]}).with_columns(kind=pl.lit("bank")))
    columns = [
        "node",
        "kind",
        "segment",
        "country",
        "currency",
        "opened_on",
        "income_minor",
        "balance_minor",
        "online",
    ]
    return pl.concat(parts, how="diagonal").select(
        *(pl.col(c) if c in {x for p in parts for x in p.columns} else pl.lit(None, pl.Int8).alias(c) for c in columns),
        pl.col("illicit", "mule").fill_null(0),
    )


def edges(tables: Tables) -> Table:
    """Booked payments: source pays target. Columns: source, target, transaction_id, at (UTC seconds), amount_minor, currency, channel, type, and the labels
    illicit, scenario, instance."""
    party = tables["counterparty"].select("counterparty_id", other=_key("iban", "iban"))
    paid = tables["transaction"].filter(pl.col("cleared_at").is_not_null()).select(
        "transaction_id", "account_id", "counterparty_account_id", "counterparty_id", "merchant_id", "direction", "cleared_at",
        "amount_minor", "currency", "channel", "type",
    )  # fmt: skip
    paid = paid.join(party, on="counterparty_id", how="left", maintain_order="left")
    paid = paid.join(labelled(tables), on="transaction_id", how="left", maintain_order="left")
    inside = pl.col("counterparty_account_id")
    other = (
        pl.when(inside.is_not_null()).then(_key("account", "counterparty_account_id"))
        .when(pl.col("merchant_id").is_not_null()).then(_key("merchant", "merchant_id"))
        .when(pl.col("other").is_not_null()).then("other")
        .otherwise(pl.lit("bank:") + pl.col("channel").cast(pl.String))
    )  # fmt: skip
    own, debit = _key("account", "account_id"), pl.col("direction") == "DBIT"
    return paid.select(
        source=pl.when(debit).then(own).otherwise(other),
        target=pl.when(debit).then(other).otherwise(own),
        transaction_id="transaction_id",
        at=pl.col("cleared_at").dt.epoch("s"),
        amount_minor="amount_minor",
        currency=pl.col("currency").cast(pl.String),
        channel=pl.col("channel").cast(pl.String),
        type=pl.col("type").cast(pl.String),
        illicit=pl.col("scenario").is_not_null().cast(pl.Int8),
        scenario="scenario",
        instance="instance",
    )


def groups(tables: Tables) -> Table:
    """Who takes part in which labelled group, and how: scenario, instance, node, role."""
    bad = labelled(tables).join(
        tables["transaction"].select("transaction_id", "account_id"),
        on="transaction_id",
        how="left",
        maintain_order="left",
    )
    return bad.select("scenario", "instance", node=_key("account", "account_id"), role="role").unique(
        maintain_order=True
    )


def _key(kind: str, column: str) -> pl.Expr:
    return pl.lit(f"{kind}:") + pl.col(column).cast(pl.String)
