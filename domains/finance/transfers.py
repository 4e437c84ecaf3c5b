"""Everything that moves from account to account: pay, bills, transfers, standing orders, fees."""

from __future__ import annotations

import numpy as np

from ...core.domain import Block
from ...core.schema import Schema
from ...core.stream import join_rows
from ...core.tables import Tables, concat, filled
from .calendar import DAY, HOUR, curve, instants
from .counter import cheques, loan_payments, over_the_counter, payroll, takings, wallet
from .currencies import FOREIGN, foreign, per_unit
from .draws import LANES, choose, poisson, siblings
from .flows import (
    BILL,
    CHANGE,
    FEE,
    INSIDE,
    OWN_ELSEWHERE,
    OWN_SAVINGS,
    RECEIVED,
    RENT,
    SALARY,
    SAVED,
    SENT,
    TOPPED_UP,
    Flows,
    Part,
    Some,
    Words,
    joined,
)  # fmt: skip
from .holdings import ACCOUNTS, COUNTERPARTY, LANDLORD, NEXT_EMPLOYER, SAVINGS
from .life import NEVER, job_changed_on
from .parties import CURRENCIES
from .payments import MONTH, device_used, fact_types
from .reference import bill_categories, cells, purchase_categories

_SENT = ("ICDT/ESCT", "ICDT/BOOK")


def transfers(schema: Schema):
    """The step that adds account-to-account payments to `transaction`."""
    types = fact_types(schema)

    def run(block: Block, tables: Tables) -> Tables:
        flows = Flows(block, tables)
        parts = [
            *(_irregular(flows, kind) for kind in (SENT, RECEIVED, INSIDE)),
            _salaries(flows),
            takings(flows),
            *(_bills(flows, n, name) for n, name in enumerate(bill_categories(block))),
            *_standing_orders(flows),
            _rent(flows),
            _fees(flows),
            *loan_payments(flows),
            *wallet(flows),
            payroll(flows),
            *over_the_counter(flows),
            *cheques(flows),
            _changes(flows),
        ]
        made = [part for part in parts if part.height]
        return {"transaction": concat([tables["transaction"], *([joined(made, types)] if made else [])])}

    return run


def _irregular(flows: Flows, kind: int) -> Part:
    """Transfers to people elsewhere, from them, or to acquaintances here, at hours when people bank online. Those to members of the circle beyond
    the size of the dataset are among them: their payers' other payments must not depend on the size."""
    p, block, units = flows.block.priors, flows.block, flows.units
    stream = flows.stream.child({SENT: "sent", RECEIVED: "received", INSIDE: "inside"}[kind])
    rate = flows.rate * (flows.inside if kind == INSIDE else 1 - flows.inside)
    n = poisson(stream.child("count").uniform(units), rate * block.window.days / MONTH)
    if kind == INSIDE:
        n = np.where(flows.contacts.count > 0, n, 0)
    who, k = siblings(n)
    rows = join_rows(join_rows(units, kind)[who], k)
    clock = curve(block.window, p("purchase.hour"), [1.0] * 7)
    at = instants(clock, flows.zone[who], stream.child("at").uniform(rows))
    amount = np.exp(p("transfer.log_mean") + p("transfer.log_sigma") * stream.child("amount").normal(rows)) * 100
    even = stream.child("even").uniform(rows) < p("transfer.round_share")
    amount = np.where(even, np.maximum(np.round(amount / 500), 1) * 500, np.floor(amount))
    those = flows.contacts if kind == INSIDE else flows.people
    party = those.pick(who, at, stream.child("party").uniform(rows) ** p("transfer.favourite"))
    cleared = (
        at
        + (1 + np.floor(stream.child("clear").uniform(rows) ** 4 * p("transfer.clearing_hours") * 3_600)).astype(
            np.int64
        )
        * 1_000_000
    )
    if kind == RECEIVED:
        return flows.part(
            who, rows, at, cleared, amount,
            counterparty_row=those.rows[party], channel="transfer", type="RCDT/ESCT", direction="CRDT",
        )  # fmt: skip
    if kind == INSIDE:
        row, target = those.rows[party], flows.contact[party].astype(np.int64) * ACCOUNTS
    else:
        # their own savings are one payee among the others
        own = flows.has[SAVINGS][who] & (stream.child("own").uniform(rows) < 1 / (1 + those.count[who]))
        row = np.where(own, join_rows(units, COUNTERPARTY + OWN_SAVINGS)[who], those.rows[party])
        target = Some(units.astype(np.int64)[who] * ACCOUNTS + SAVINGS, own)
    return flows.part(
        who, rows, at, cleared, amount,
        counterparty_row=row,
        counterparty_account_id=target,
        device_row=device_used(block, flows.tables, who, at, stream.child("device").integers(rows, LANES).astype(np.uint16)),
        channel="transfer", direction="DBIT",
        type=Words(_SENT, target.there.view(np.uint8)) if isinstance(target, Some) else _SENT[1],
    )  # fmt: skip


def _salaries(flows: Flows) -> Part:
    """Pay on the employer's day, before business hours. From the day of a new job the next employer pays, and more."""
    p, stream, units = flows.block.priors, flows.stream.child("salary"), flows.units
    employer = flows.block.reference["employer"]["pay_day"].to_numpy().astype(np.int64)
    days = p("salary.day")
    drawn = np.array([int(d) for d in days])[choose(stream.child("day").uniform(units), days.values())]
    payer = flows.tables["customer"]["employer_id"]
    day = np.where(payer.is_null().to_numpy(), drawn, employer[filled(payer, 0)])
    who, rows, at = flows.monthly(SALARY, day, such=flows.paid_here & ~flows.business, later=False)
    changed = job_changed_on(flows.block, units)
    changed = np.where(flows.tables["customer"]["job_changed_on"].is_null().to_numpy(), NEVER, changed)
    later = at // DAY >= changed[who]
    at = at + 2 * HOUR + stream.child("at").integers(rows, 4 * 3_600) * 1_000_000
    amount = np.round(flows.income[who] * np.where(later, 1 + p("salary.new_job_rise"), 1.0))
    return flows.part(
        who, rows, at, at + 60_000_000, amount,
        counterparty_row=join_rows(units[who], np.where(later, NEXT_EMPLOYER, COUNTERPARTY)),
        channel="salary", type="RCDT/SALA", direction="CRDT",
    )  # fmt: skip


def _bills(flows: Flows, n: int, category: str) -> Part:
    """A direct debit a month to one creditor, the year's cost in equal instalments."""
    block, stream = flows.block, flows.stream.child("bill", category)
    if not flows.bills[:, n].any():
        return Part(0, {})
    days = 1 + stream.child("day").integers(flows.units, 28)
    who, rows, at = flows.monthly(BILL + n, days, such=flows.bills[:, n] > 0)
    at = at + HOUR + stream.child("at").integers(rows, 3 * 3_600) * 1_000_000
    merchant, laid = block.reference["merchant"], cells(block)
    start = laid.start[flows.zone, len(purchase_categories(block)) + n]
    share = (
        np.cumsum(merchant["popularity"].to_numpy()[start[0] : start[0] + laid.size[0]]) if len(start) else np.ones(1)
    )
    creditor = start + np.minimum(
        np.searchsorted(share, stream.child("creditor").uniform(flows.units)), laid.size[0] - 1
    )
    return flows.part(
        who, rows, at, at + 4 * HOUR, np.round(flows.bills[who, n]),
        merchant_id=creditor[who], mcc=flows.mcc[creditor[who]], country=flows.country[creditor[who]],
        channel="direct-debit", type="RDDT/ESDD", direction="DBIT",
    )  # fmt: skip


def _standing_orders(flows: Flows) -> list[Part]:
    """What is left goes to savings, here or elsewhere; what is missing comes from the account elsewhere."""
    units = flows.units.astype(np.int64)
    places = {SAVED: 27, TOPPED_UP: 3}
    parts = []
    for kind, day in places.items():
        amount = {SAVED: flows.left, TOPPED_UP: -flows.left}[kind]
        amount = np.floor(amount / 500) * 500
        who, rows, at = flows.monthly(kind, np.full(len(units), day), such=amount > 0)
        at = at + 5 * HOUR + flows.stream.child("standing", kind).integers(rows, 3_600) * 1_000_000
        here = flows.has[SAVINGS] if kind == SAVED else np.zeros(len(units), bool)
        target = units * ACCOUNTS + SAVINGS
        party = join_rows(flows.units, COUNTERPARTY + np.where(here, OWN_SAVINGS, OWN_ELSEWHERE))
        # an order names the device on which it was set up, the customer's first
        ordered = device_used(flows.block, flows.tables, who, at, np.zeros(len(who), np.uint16))
        part = flows.part(
            who, rows, at, at + 30_000_000, amount[who],
            device_row=Some(ordered, np.full(len(who), kind != TOPPED_UP)),
            counterparty_row=party[who],
            counterparty_account_id=Some(target, here)[who],
            channel="transfer", type="RCDT/ESCT" if kind == TOPPED_UP else "ICDT/STDO",
            direction="CRDT" if kind == TOPPED_UP else "DBIT",
        )  # fmt: skip
        parts.append(part)
    return parts


def _rent(flows: Flows) -> Part:
    """Tenants pay their landlord by standing order on the first working day of the month: by the third it is due (German Civil Code, section 556b)."""
    who, rows, at = flows.monthly(RENT, such=flows.rent > 0)
    at = at + 5 * HOUR + flows.stream.child("rent").integers(rows, 3_600) * 1_000_000
    return flows.part(
        who, rows, at, at + 30_000_000, flows.rent[who],
        device_row=device_used(flows.block, flows.tables, who, at, np.zeros(len(who), np.uint16)),
        counterparty_row=join_rows(flows.units, np.full(len(flows.units), LANDLORD))[who],
        channel="transfer", type="ICDT/STDO", direction="DBIT",
    )  # fmt: skip


def _changes(flows: Flows) -> Part:
    """What customers change from their own current account into the one in another currency, and back: round sums of what is given away."""
    p, block, units = flows.block.priors, flows.block, flows.units
    there, money = foreign(block, units, flows.zone == 1)
    stream = flows.stream.child("change")
    rate = np.where(there, p("exchange.own")["per_month"], 0.0)
    who, k = siblings(poisson(stream.child("count").uniform(units), rate * block.window.days / MONTH))
    rows = join_rows(join_rows(units, CHANGE)[who], k)
    at = instants(curve(block.window, p("purchase.hour"), [1.0] * 7), flows.zone[who], stream.child("at").uniform(rows))
    back = stream.child("back").uniform(rows) < p("exchange.own")["back"]
    home = flows.zone[who]
    amount = np.exp(p("transfer.log_mean") + p("transfer.log_sigma") * stream.child("amount").normal(rows)) * 100
    amount = np.where(back, amount * per_unit(block, home, money[who]), amount)
    even = stream.child("even").uniform(rows) < p("transfer.round_share")
    amount = np.where(even, np.maximum(np.round(amount / 500), 1) * 500, np.floor(amount))
    current = units.astype(np.int64)[who] * ACCOUNTS
    lane = stream.child("device").integers(rows, LANES).astype(np.uint16)
    return flows.part(
        who, rows, at, at + 1_000_000, amount,
        account_id=current + back * FOREIGN, counterparty_account_id=current + ~back * FOREIGN,
        currency=Words(CURRENCIES, np.where(back, money[who], home)),
        device_row=device_used(block, flows.tables, who, at, lane),
        channel="exchange", type="FORX/SPOT", direction="DBIT",
    )  # fmt: skip


def _fees(flows: Flows) -> Part:
    """German accounts have a monthly fee; British banking is free while in credit."""
    p = flows.block.priors
    who, rows, at = flows.monthly(FEE, such=flows.zone == 1)
    return flows.part(
        who, rows, at + HOUR, at + HOUR, np.full(len(who), p("account.fee_minor")),
        channel="fee", type="MDOP/CHRG", direction="DBIT",
    )  # fmt: skip
