"""What the bank knows of fraud, late and in part: reports of payments, and alerts of its rules. The truth stands in `label`."""

from __future__ import annotations

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ...core.derive import key_of, number, rank
from ...core.domain import Block
from ...core.schema import Schema
from ...core.stream import join_rows
from ...core.tables import ROW, Tables, is_there, only, picked, plain
from .calendar import DAY
from .draws import among, enum, keep
from .holdings import ACCOUNTS
from .life import stay

NEW = 3 * DAY
"""How long a payee or a device is new."""
SETTLING = 20
"""Payments on an account after which its mean is taken for usual."""


def mistaken(schema: Schema):
    """The step that makes `fraud_report`: genuine card payments that their holders report by mistake. Scripts add what is fraud."""
    columns = schema["fraud_report"].columns

    def run(block: Block, tables: Tables) -> Tables:
        paid = tables["transaction"].filter(pl.col("card_id").is_not_null() & pl.col("cleared_at").is_not_null())
        rows = paid[ROW].to_numpy()
        stream = block.stream.child("report")
        those = np.flatnonzero(stream.child("mistaken").uniform(rows) < block.priors("report.mistaken"))
        # who leaves or dies reports nothing any more
        account = picked(paid["account_id"], those).to_numpy()
        those = those[stay(block, (account // ACCOUNTS).astype(np.uint64))]
        at = paid["authorised_at"].to_numpy()[those]
        found = at + np.floor(stream.child("found").uniform(rows[those]) * 31 * 86_400).astype(np.int64) * 1_000_000
        frame = pl.DataFrame(
            {
                ROW: join_rows(rows[those], 7),
                "account_id": picked(paid["account_id"], those),
                "transaction_row": rows[those],
                "reported_at": np.maximum(found, at + 60_000_000),
                "reported_by": enum(np.zeros(len(those)), columns["reported_by"].codes),
                "charged_back_at": pl.Series([None] * len(those), dtype=pl.Int64),
                "outcome": enum(np.ones(len(those)), columns["outcome"].codes),
            }
        )
        return {"fraud_report": frame}

    return run


def known(schema: Schema):
    """The step that gives reports their keys, of those made by the end of the window, and raises alerts."""
    alert = schema["alert"]

    def run(block: Block, tables: Tables) -> Tables:
        payment, end = tables["transaction"], block.window.end
        report = tables["fraud_report"].filter(pl.col("reported_at") < end)
        report = report.with_columns(
            key_of(report["transaction_row"], payment, "transaction_id").alias("transaction_id")
        )
        back = payment.filter(pl.col("reversal") == "chargeback").select("transaction_id", back="reversed_at")
        report = (
            report.filter(pl.col("transaction_id").is_not_null())
            .join(back, on="transaction_id", how="left", maintain_order="left")
            .with_columns(pl.when(pl.col("back") < end).then("back").alias("charged_back_at"))
            .with_columns(pl.min_horizontal("reported_at", "charged_back_at").alias("reported_at"))
            .drop("back")
        )
        report = number(report, schema["fraud_report"], "reported_at")
        score, rule = _scores(block, tables)
        threshold = block.priors("alert.threshold")
        # what the bank found by itself it was alerted to: by rules, or by what networks and other banks told it
        told = report.filter(pl.col("reported_by").cast(pl.String) == "bank")["transaction_id"].to_numpy()
        told = np.searchsorted(payment["transaction_id"].to_numpy(), told)
        u = block.stream.child("alert", "told").uniform(payment[ROW].to_numpy()[told])
        score[told] = np.maximum(score[told], threshold - np.log(u) * block.priors("alert.excess"))
        those = np.flatnonzero(score >= threshold)
        confirmed = report.filter(pl.col("outcome").cast(pl.String) == "confirmed")["transaction_id"]
        key = picked(payment["transaction_id"], those)
        raised = pl.DataFrame(
            {
                ROW: join_rows(payment[ROW].to_numpy()[those], 8),
                "account_id": picked(payment["account_id"], those),
                "transaction_id": key,
                "raised_at": picked(payment["authorised_at"], those),
                "rule": enum(rule[those], alert.columns["rule"].codes),
                "score": score[those],
                "disposition": enum((~key.is_in(confirmed.implode())).to_numpy(), alert.columns["disposition"].codes),
            }
        )
        return {"fraud_report": report, "alert": number(raised, alert, "raised_at")}

    return run


ASKED = ("card-present", "card-not-present", "atm", "transfer")
"""Channels by which customers ask for a payment themselves."""
HOME = ("GB", "DE")


def _scores(block: Block, tables: Tables) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Each payment's score, and which rule weighs most; 0 for what customers do not ask for themselves."""
    payment, weight = tables["transaction"], block.priors("alert.weight")
    channel = payment["channel"]
    asked = among(channel, ASKED)
    asked &= plain(payment["direction"]) == 0
    at = payment["authorised_at"].to_numpy()
    abroad = among(channel, ("card-present",))
    abroad &= is_there(payment["country"]) & ~among(payment["country"], HOME)
    score, rule = np.zeros(len(at)), np.zeros(len(at), np.int64)
    most = np.full(len(at), -1.0)
    for n, part in enumerate(
        (
            weight["amount"] * np.maximum(_unusual(payment, asked), 0.0),
            weight["new_payee"] * _new(payment["counterparty_row"], tables["counterparty"], "added_at", at),
            weight["new_device"] * _new(payment["device_row"], tables["device"], "first_seen_at", at),
            weight["abroad"] * abroad,
        )
    ):
        score += part
        rule[part > most] = n
        np.maximum(most, part, out=most)
    return score * asked, rule


def _unusual(payment: pl.DataFrame, asked: NDArray[np.bool_]) -> NDArray[np.float64]:
    """By how many standard deviations the log of an amount passes the mean of those asked for on the account before; rows are in order of account and time."""
    log = np.log(payment["amount_minor"].to_numpy().clip(1)) * asked
    nth = rank(payment["account_id"].to_numpy())
    first = np.arange(len(nth)) - nth

    def before(values: NDArray) -> NDArray[np.float64]:
        upto = np.cumsum(values) - values
        return upto - upto[first]

    n = before(asked.astype(np.float64))
    mean = before(log) / np.maximum(n, 1)
    spread = np.sqrt(np.maximum(before(log**2) / np.maximum(n, 1) - mean**2, 0.25))
    return np.where(n >= SETTLING, (log - mean) / spread, 0.0)


def _new(rows: pl.Series, parent: pl.DataFrame, since: str, at: NDArray[np.int64]) -> NDArray[np.bool_]:
    begun = key_of(rows, parent, since).fill_null(-(1 << 62)).to_numpy()
    return at - begun < NEW


def claims(
    block: Block, made: pl.DataFrame, share: NDArray[np.float64] | float, upheld: float = 1.0, cards: bool = True
) -> pl.DataFrame:
    """The reports that follow payments (`made`: what a script inserts, with `instance`): each with probability `share`, upheld with probability `upheld`."""
    stream, rows, p = block.stream.child("report"), made[ROW].to_numpy(), block.priors
    u = {name: stream.child(name).uniform(rows) for name in ("share", "by", "when", "back", "upheld")}
    at = made["authorised_at"].to_numpy()
    by_bank = u["by"] < p("report.by_bank")
    found = at + 60_000_000 + np.floor(u["when"] * np.where(by_bank, 1, 31) * 86_400).astype(np.int64) * 1_000_000
    least, most = p("report.charge_back_days")
    back = at + np.floor((least + (most - least) * u["back"]) * 86_400).astype(np.int64) * 1_000_000
    good = u["upheld"] < upheld
    frame = pl.DataFrame(
        {
            ROW: join_rows(rows, 9) | np.uint64(1 << 63),
            "instance": made["instance"],
            "account_id": made["account_id"],
            "transaction_row": rows,
            "reported_at": found,
            "reported_by": np.where(by_bank, "bank", "customer"),
            "charged_back_at": keep(np.maximum(back, found), good & cards),
            "outcome": np.where(good, "confirmed", "refused"),
        }
    )
    return only(frame, (u["share"] < share) & is_there(made["cleared_at"]))
