"""Payments beside cards and transfers: cash over the counter, cheques, wallets, wages that companies pay, instalments of loans."""

from __future__ import annotations

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ...core.stream import F64, U64, join_rows
from ...core.tables import plain
from .calendar import DAY, HOUR, ZONES, curve, instants, seasons, working_day, workload
from .draws import choose, poisson, siblings
from .flows import (
    CASHED,
    CHEQUE,
    DRAWN,
    LOAN_INTEREST,
    LOAN_PAYMENT,
    LOAN_PAYOUT,
    PAID_IN,
    PAYROLL,
    TAKINGS,
    WALLET_USE,
    Flows,
    Part,
    Some,
    Words,
)  # fmt: skip
from .holdings import ACCOUNTS, CARDS, COUNTERPARTY, LOAN, WALLET, valid_days
from .loans import course
from .payments import MONTH, device_used
from .reference import cells

OPEN = [0.0] * 9 + [1.0] * 8 + [0.0] * 7
"""Hours of a branch: nine to five."""
WEEK = [1.0] * 5 + [0.0] * 2


def _events(
    flows: Flows,
    kind: int,
    name: str,
    per_month: F64,
    hours: list[float] = OPEN,
    weekdays: list[float] = WEEK,
    holidays: bool = False,
) -> tuple[NDArray[np.int64], U64, NDArray[np.int64]]:
    """Events of each customer at a mean rate: who, the row's address, when. As a rule at branches, which do not open on public holidays; with `holidays` then too."""
    block, units = flows.block, flows.units
    open_ = None if holidays else seasons([1.0] * 12, [1.0] * 3, 0.0)
    months = block.window.days / MONTH * workload(block.window, tuple(hours), tuple(weekdays), open_)[flows.zone]
    n = poisson(flows.stream.child(name, "count").uniform(units), per_month * months)
    who, k = siblings(n)
    rows = join_rows(join_rows(units, kind)[who], k)
    clock = curve(block.window, hours, weekdays, open_)
    return who, rows, instants(clock, flows.zone[who], flows.stream.child(name, "at").uniform(rows))


def _log_normal(flows: Flows, name: str, rows: U64, mean: F64 | float, sigma: float) -> F64:
    return np.exp(mean + sigma * flows.stream.child(name, "amount").normal(rows)) * 100


def over_the_counter(flows: Flows) -> list[Part]:
    """Businesses pay their cash in; some customers draw larger sums at a branch, in notes of ten."""
    p = flows.block.priors
    rate = np.where(flows.business, p("cash.deposits_per_month"), 0.0)
    who, rows, at = _events(flows, PAID_IN, "deposit", rate)
    takings = np.log(np.maximum(flows.income[who], 1) / 100 * p("cash.share"))
    amount = _log_normal(flows, "deposit", rows, takings + p("cash.deposit_log_mean"), p("cash.deposit_log_sigma"))
    paid_in = flows.part(
        who, rows, at, at + 60_000_000, np.maximum(np.round(amount / 500) * 500, 500),
        channel="cash", type="CNTR/CDPT", direction="CRDT",
    )  # fmt: skip
    who, rows, at = _events(flows, DRAWN, "drawn", np.full(len(flows.units), p("cash.withdrawals_per_month")))
    amount = _log_normal(flows, "drawn", rows, p("purchase.log_mean")["cash"], p("purchase.log_sigma")["cash"])
    drawn = flows.part(
        who, rows, at, at + 60_000_000, np.maximum(np.round(amount / 1000) * 1000, 1000),
        channel="cash", type="CNTR/CWDL", direction="DBIT",
    )  # fmt: skip
    return [paid_in, drawn]


def cheques(flows: Flows) -> list[Part]:
    """British customers write cheques, and pay in as many."""
    p = flows.block.priors
    rate = np.where(flows.zone == 0, p("cheque.per_month"), 0.0)
    parts = []
    for kind, name, type_, direction in (
        (CHEQUE, "written", "ICHQ/CCHQ", "DBIT"),
        (CASHED, "paid-in", "RCHQ/CCHQ", "CRDT"),
    ):
        who, rows, at = _events(flows, kind, name, rate)
        amount = _log_normal(flows, name, rows, p("cheque.log_mean"), p("cheque.log_sigma"))
        even = flows.stream.child(name, "even").uniform(rows) < p("transfer.round_share")
        amount = np.where(even, np.maximum(np.round(amount / 500), 1) * 500, np.floor(amount))
        cleared = at // DAY
        for _ in range(p("cheque.days")):
            cleared = working_day(cleared + 1, flows.zone[who], later=True)
        cleared = cleared * DAY + 6 * HOUR
        parts.append(
            flows.part(
                who, rows, at, np.maximum(cleared, at), amount, channel="cheque", type=type_, direction=direction
            )
        )
    return parts


def payroll(flows: Flows) -> Part:
    """A company pays its staff on one day of the month: the first people on its list."""
    p, stream = flows.block.priors, flows.stream.child("payroll")
    days = p("salary.day")
    day = np.array([int(d) for d in days])[choose(stream.child("day").uniform(flows.units), days.values())]
    who, rows, at = flows.monthly(PAYROLL, day, later=False)
    nth, k = siblings(flows.staff[who])
    who, rows, at = who[nth], join_rows(rows[nth], k), at[nth]
    at = at + 7 * HOUR + stream.child("at").integers(rows, 1_800) * 1_000_000
    staff = join_rows(join_rows(flows.units[who], PAYROLL), k)
    wage = flows.wage() * np.exp(p("payroll.staff_log_sigma") * stream.child("wage").normal(staff))
    first = np.cumsum(flows.people.count) - flows.people.count
    party = first[who] + k
    known = flows.people.added[party] <= at
    part = flows.part(
        who, rows, at, at + 30_000_000, np.round(wage),
        counterparty_row=flows.people.rows[party],
        channel="transfer", type="ICDT/SALA", direction="DBIT",
    )  # fmt: skip
    return part.filter(known)


def takings(flows: Flows) -> Part:
    """What a business takes by card its acquirer pays out before work on every working day, for the days since the last one: with weekdays as
    purchases have them, and spread as the sum of so many purchases is."""
    p, block = flows.block.priors, flows.block
    first, last = block.window.start // DAY, -(-block.window.end // DAY)
    shops, day = np.flatnonzero(flows.business), np.arange(first, last)
    weekday = np.array(p("purchase.weekday")) * 7
    due = np.zeros((len(ZONES), len(day)))
    for zone in range(len(ZONES)):
        # the days of a weekend before the window are paid for within it
        taken = np.arange(first - 14, last)
        paid = working_day(taken + 1, np.full(len(taken), zone), later=True)
        here = (paid >= first) & (paid < last)
        np.add.at(due[zone], paid[here] - first, weekday[(taken[here] + 3) % 7])
    who, at = (x.ravel() for x in np.meshgrid(shops, day, indexing="ij"))
    share = due[flows.zone[who], at - first]
    who, at, share = who[share > 0], at[share > 0], share[share > 0]
    rows = join_rows(join_rows(flows.units[who], TAKINGS), at)
    mean = flows.income[who] / MONTH * share
    sigma2 = np.log1p(np.exp(p("purchase.log_sigma")["general"] ** 2) * flows.ticket / np.maximum(mean, 1))
    spread = np.exp(np.sqrt(sigma2) * flows.stream.child("takings", "amount").normal(rows) - sigma2 / 2)
    at = at * DAY + 2 * HOUR + flows.stream.child("takings", "at").integers(rows, 4 * 3_600) * 1_000_000
    return flows.part(
        who, rows, at, at + 60_000_000, np.round(mean * spread),
        counterparty_row=join_rows(flows.units[who], COUNTERPARTY),
        channel="acquiring", type="MCRD/POSP", direction="CRDT",
    )  # fmt: skip


def loan_payments(flows: Flows) -> list[Part]:
    """A loan is paid out to the current account on a working day; on the 1st it is charged its interest, and on the first working day from then on the
    instalment is paid from there."""
    terms, units, own = flows.terms, flows.units.astype(np.int64) * ACCOUNTS, flows.has[LOAN]
    lent = np.flatnonzero(own & terms.new)
    rows = join_rows(flows.units[lent], LOAN_PAYOUT)
    at = terms.paid_out[lent] * DAY + 8 * HOUR + flows.stream.child("payout").integers(rows, 9 * 3_600) * 1_000_000
    payout = flows.part(
        lent, rows, at, at + 30_000_000, terms.principal[lent],
        account_id=units[lent] + LOAN, counterparty_account_id=units[lent],
        channel="loan", type="CSLN/DDWN", direction="DBIT",
    )  # fmt: skip
    dues = list(course(flows.block, terms))
    if not dues:
        return [payout]
    there = [np.flatnonzero(due.there & own) for due in dues]
    who = np.concatenate(there)
    charges = np.concatenate([due.interest[x] for due, x in zip(dues, there, strict=True)])
    pays = np.concatenate([due.payment[x] for due, x in zip(dues, there, strict=True)])
    at = np.repeat([due.day * DAY for due in dues], [len(x) for x in there])
    month = (at // DAY).astype(np.uint64)
    interests = flows.part(
        who, join_rows(join_rows(flows.units[who], LOAN_INTEREST), month), at + HOUR, at + HOUR, charges,
        channel="interest", type="MDOP/INTR", direction="DBIT", account_id=units[who] + LOAN,
    ).filter(charges > 0)  # fmt: skip
    rows = join_rows(join_rows(flows.units[who], LOAN_PAYMENT), month)
    at = working_day(at // DAY, flows.zone[who], later=True) * DAY + 5 * HOUR
    paid = flows.part(
        who, rows, at, at + 30_000_000, pays,
        counterparty_account_id=units[who] + LOAN,
        channel="loan", type="CSLN/PPAY", direction="DBIT",
    ).filter(at < flows.block.window.end)  # fmt: skip
    return [payout, interests, paid]


def wallet(flows: Flows) -> list[Part]:
    """E-money by PaySim's five types: cash in and out at agents, payments to merchants, transfers to people, debits to the own current account.
    What is paid in is on average what goes out."""
    p, block, units = flows.block.priors, flows.block, flows.units
    stream = flows.stream.child("wallet")
    rate = np.where(flows.has[WALLET], p("wallet.per_month"), 0.0)
    who, rows, at = _events(flows, WALLET_USE, "wallet", rate, p("purchase.hour"), p("purchase.weekday"), holidays=True)
    shares = p("wallet.type")
    names = list(shares)
    kind = choose(stream.child("type").uniform(rows), shares.values())
    sigma, half = p("wallet.log_sigma"), p("wallet.log_sigma") ** 2 / 2
    usual = {
        "CASH_OUT": p("purchase.log_mean")["cash"], "DEBIT": p("purchase.log_mean")["cash"],
        "PAYMENT": p("purchase.log_mean")["general"], "TRANSFER": p("transfer.log_mean"),
    }  # fmt: skip
    out = sum(shares[n] * np.exp(usual[n] + half) for n in usual)
    usual["CASH_IN"] = float(np.log(out / max(shares["CASH_IN"], 1e-9)) - half)
    mean = np.array([usual[n] for n in names])[kind]
    amount = _log_normal(flows, "wallet", rows, mean, sigma)
    is_ = {n: kind == names.index(n) for n in names}
    cash = is_["CASH_IN"] | is_["CASH_OUT"]
    amount = np.where(cash, np.maximum(np.round(amount / 500) * 500, 500), np.maximum(np.floor(amount), 1))

    laid, merchant = cells(block), block.reference["merchant"]
    category = np.where(
        cash,
        laid.categories.index("cash") if "cash" in laid.categories else 0,
        laid.categories.index("general") if "general" in laid.categories else 0,
    )
    start = laid.start[flows.zone[who], category]
    share = np.cumsum(merchant["popularity"].to_numpy()[: laid.size[0]])
    shop = start + np.minimum(np.searchsorted(share, stream.child("shop").uniform(rows)), laid.size[0] - 1)
    at_shop = cash | is_["PAYMENT"]
    party = flows.people.pick(who, at, stream.child("party").uniform(rows) ** p("transfer.favourite"))
    own = units.astype(np.int64)[who] * ACCOUNTS
    cards = flows.tables["card"].filter(pl.col("card_id") % CARDS == 0).select("account_id", "issued_on")
    issued = np.zeros(len(units), np.int64)
    held = cards.filter(pl.col("account_id") % ACCOUNTS == WALLET)
    issued[held["account_id"].to_numpy() // ACCOUNTS - block.first] = plain(held["issued_on"])
    card = (own + WALLET) * CARDS + (at // DAY - issued[who]) // valid_days(block)
    device = device_used(block, flows.tables, who, at, stream.child("device").integers(rows, 1 << 16).astype(np.uint16))
    return [
        flows.part(
            who, rows, at, at + 1_000_000, amount,
            counterparty_row=Some(flows.people.rows[party], is_["TRANSFER"]),
            counterparty_account_id=Some(own, is_["DEBIT"]),
            merchant_id=Some(shop, at_shop),
            mcc=Some(flows.mcc[shop], at_shop),
            country=Some(flows.country[shop], at_shop),
            card_id=Some(card, is_["PAYMENT"]),
            device_row=Some(device, is_["TRANSFER"] | is_["DEBIT"]),
            account_id=own + WALLET,
            channel="wallet",
            type=Words([f"WLLT/{n}" for n in names], kind),
            direction=Words(("DBIT", "CRDT"), is_["CASH_IN"].view(np.uint8)),
        )
    ]  # fmt: skip
