"""Other currencies: accounts in one, what is changed between a customer's own accounts, and what payments abroad amount to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ...core.currency import USUAL, exponents
from ...core.domain import Block
from ...core.schema import Schema
from ...core.stream import U64
from ...core.tables import filled, is_there, picked, plain
from .calendar import DAY
from .draws import choose, enum
from .parties import CURRENCIES
from .people import COUNTRIES
from .reference import fx_table

FOREIGN = 5
"""account_id = customer_id * ACCOUNTS + FOREIGN."""
DIGITS = np.array([exponents().get(c, USUAL) for c in CURRENCIES])
"""Decimal digits of each currency's minor unit."""


def foreign(block: Block, units: U64, german: NDArray[np.bool_]) -> tuple[NDArray[np.bool_], NDArray[np.int64]]:
    """Which customers have an account in another currency than their own, and which currency that would be: a place among `CURRENCIES`."""
    p, stream = block.priors, block.stream.child("account", "foreign")
    there = stream.uniform(units) < p("account.foreign")
    u, share = stream.child("currency").uniform(units), p("account.foreign_currency")
    picked = [choose(u, [0.0 if name == own else w for name, w in share.items()]) for own in CURRENCIES[:2]]
    return there, np.array([CURRENCIES.index(c) for c in share])[np.where(german, picked[1], picked[0])]


def per_unit(block: Block, own: NDArray, other: NDArray) -> NDArray[np.float64]:
    """What a minor unit of one currency is in minor units of another, at the rates that the window starts with."""
    level = np.array([block.priors("fx.per_euro").get(c, 1.0) for c in CURRENCIES])
    return level[other] / level[own] * 10.0 ** (DIGITS[other] - DIGITS[own])


@dataclass(frozen=True)
class Changed:
    """Payments between own accounts in two currencies; all have the length of `at`."""

    at: NDArray[np.int64]
    """Their places among the payments."""
    there: NDArray[np.int64]
    """The other currency: its place among `CURRENCIES`."""
    rate: NDArray[np.float64]
    fee: NDArray[np.int64]
    amount: NDArray[np.int64]
    """What the other account receives, in its own minor units."""


def changed(block: Block, payment: pl.DataFrame, account: pl.DataFrame) -> Changed:
    """What payments between own accounts in two currencies bring: at the rate of the day, less the bank's fee."""
    channel = payment["channel"]
    exchange = channel.dtype.categories.index_of("exchange")  # type: ignore[attr-defined]
    at = np.flatnonzero(plain(channel) == exchange)
    if not len(at):
        none = at.astype(np.int64)
        return Changed(none, none, none.astype(float), none, none)
    key, money = account["account_id"].to_numpy(), plain(account["currency"]).astype(np.int64)
    order = np.argsort(key)
    own, there = (
        money[order[np.searchsorted(key, picked(payment[c], at).to_numpy(), sorter=order)]]
        for c in ("account_id", "counterparty_account_id")
    )
    amount = picked(payment["amount_minor"], at).to_numpy()
    fee = np.floor(amount * block.priors("exchange.transfer_fee")["share"]).astype(np.int64)
    rate, received = quoted(block, picked(payment["authorised_at"], at).to_numpy(), amount - fee, own, there)
    return Changed(at, there, rate, fee, received)


def received_by_other(block: Block, payment: pl.DataFrame, account: pl.DataFrame) -> NDArray[np.int64]:
    """What each payment brings to the account on its other side, in that account's minor units."""
    found, amount = changed(block, payment, account), payment["amount_minor"].to_numpy()
    if not len(found.at):
        return amount
    amount = amount.copy()
    amount[found.at] = found.amount
    return amount


def quoted(
    block: Block, moment: NDArray[np.int64], minor: NDArray[np.int64], own: NDArray, there: NDArray
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """The rate of the day, and the amount in minor units of the other currency; currencies are places among `CURRENCIES`."""
    level = list(block.priors("fx.per_euro"))
    place = np.array([level.index(c) if c in level else 0 for c in CURRENCIES])
    rates = fx_table(block)
    day = np.clip(moment // DAY - block.window.start // DAY, 0, len(rates) - 1)
    rate = np.round(rates[day, place[there]] / rates[day, place[own]], 9)
    return rate, np.rint(minor * rate * 10.0 ** (DIGITS[there] - DIGITS[own])).astype(np.int64)


def exchanges(schema: Schema, block: Block, payment: pl.DataFrame, party: pl.DataFrame, account: pl.DataFrame):
    """Card payments in countries of another currency than the account's, transfers to banks in such countries, and what is changed between own accounts."""
    p, lists = block.priors, schema.code_lists
    spoken = lists["country_currency"].codes
    of_country = np.array([CURRENCIES.index(spoken[c]) for c in lists["country"].codes])
    country = filled(payment["country"], 0)
    own = plain(payment["currency"]).astype(np.int64)
    there = of_country[country]
    card = is_there(payment["card_id"]) & is_there(payment["country"])
    theirs = _sent_in(payment, party, {c: CURRENCIES.index(spoken[c]) for c in spoken})
    sent = (theirs >= 0) & (theirs != own)
    there = np.where(sent, theirs, there)
    at = np.flatnonzero((card & (there != own)) | sent)
    amount = picked(payment["amount_minor"], at).to_numpy()
    fee = np.floor(amount * p("exchange.fee") / (1 + p("exchange.fee"))).astype(np.int64)
    share, least, cap, most = p("exchange.transfer_fee").values()
    flat = np.minimum(np.clip(np.floor(amount * share), least, cap), np.floor(amount * most)).astype(np.int64)
    fee = np.where(sent[at], flat, fee)
    rate, got = quoted(block, picked(payment["authorised_at"], at).to_numpy(), amount - fee, own[at], there[at])
    inside = changed(block, payment, account)
    key = payment["transaction_id"].gather(np.append(at, inside.at))
    return pl.DataFrame(
        {
            "exchange_id": key,
            "transaction_id": key,
            "currency": enum(np.append(there[at], inside.there), CURRENCIES),
            "amount_minor": np.append(got, inside.amount),
            "rate": np.append(rate, inside.rate),
            "fee_minor": np.append(fee, inside.fee),
        }
    ).sort("exchange_id")


def _sent_in(payment: pl.DataFrame, party: pl.DataFrame, spoken: Mapping[str, int]) -> NDArray[np.int64]:
    """The currency that banks abroad keep the accounts in which transfers are sent to: its place among `CURRENCIES`; -1 of all other payments."""
    country = party["iban"].str.slice(0, 2)
    away = party.select("counterparty_id", country=country).filter(~country.is_in(list(COUNTRIES)))
    out = (
        (payment["direction"].to_physical() == 0) & payment["card_id"].is_null() & payment["counterparty_account_id"].is_null()
    )  # fmt: skip
    at = np.flatnonzero(
        (out & payment["counterparty_id"].is_in(away["counterparty_id"].implode()).fill_null(False)).to_numpy()
    )
    found = np.full(payment.height, -1)
    theirs = payment[at].select("counterparty_id").join(away, on="counterparty_id", how="left", maintain_order="left")
    found[at] = theirs["country"].replace_strict(spoken, default=-1, return_dtype=pl.Int64).to_numpy()
    return found


def major_unit(currency: str) -> pl.Expr:
    """How many minor units each row's currency has to its unit."""
    units = {c: 10.0**d for c, d in zip(CURRENCIES, DIGITS.tolist(), strict=True)}
    return pl.col(currency).cast(pl.String).replace_strict(units, return_dtype=pl.Float64)
