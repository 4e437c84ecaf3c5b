"""Hard negatives: genuine behaviour that looks like fraud or laundering. Rates, sizes and sources are the priors `habit.*`.

Each function makes the payments of one habit, with the payees and devices that they need. Addresses lie in ranges of their own, so that nothing else changes when a habit
does. What is asked for here is judged by the funds step as any other payment is.
"""

from __future__ import annotations

import numpy as np
import polars as pl

from ...core.domain import Block
from ...core.schema import Schema
from ...core.stream import join_rows
from ...core.tables import ROW, Tables
from .calendar import DAY, curve, instants
from .circles import members
from .habit_rows import HABITS, ROUND, SECOND, Book, Habit
from .holdings import ACCOUNTS, COUNTERPARTY, addresses
from .parties import YEAR
from .payments import fact_types
from .people import CIRCLE, origins

OWN_ELSEWHERE = 1
MONTH = 30 * DAY


def habits(schema: Schema):
    """The step that adds genuine payments which look like fraud, their payees and devices."""
    types = fact_types(schema)

    def run(block: Block, tables: Tables) -> Tables:
        book = Book(block, tables)
        for name in HABITS:
            _PLAYED[name](Habit(book, name))
        return book.tables(types)

    return run


def _new_phone(h: Habit) -> None:
    who, rows, at = h.events()
    kind = h.stream.child("os").integers(rows, 2)
    device = join_rows(rows, 1)
    h.book.made["device"].append(
        pl.DataFrame(
            {
                ROW: device,
                "customer_id": h.units.astype(np.int64)[who],
                "type": ["phone"] * len(who),
                "os": np.array(["android", "ios"])[kind],
                "ip": addresses(h.stream.child("ip"), device),
                "first_seen_at": at,
            }
        )
    )
    event, part, _ = h.times(rows, int(h.p["purchases"]) + 1)
    then = h.later(at[event] + 300 * SECOND, 24 * h.p["days"] * h.stream.child("then").uniform(part))
    buys = np.arange(len(part)) % (int(h.p["purchases"]) + 1) > 0
    h.purchases(who[event[buys]], part[buys], then[buys], shop=part[buys], device=device[event[buys]])
    mine = event[~buys]
    party = h.payee(who[mine], part[~buys], then[~buys])
    p = h.block.priors
    amount = h.drawn("sent", part[~buys], np.exp(p("transfer.log_mean")), p("transfer.log_sigma"))
    h.transfers(who[mine], part[~buys], then[~buys], amount, party, device=device[mine])


def _house_move(h: Habit) -> None:
    who, rows, at = h.events()
    event, part, _ = h.times(rows, int(h.p["payees"]))
    then = h.later(at[event], 24 * h.p["days"] * h.stream.child("then").uniform(part))
    party = h.payee(who[event], part, then)
    h.transfers(who[event], part, then, h.drawn("amount", part, h.p["amount"], h.p["spread"]), party)


def _used_car(h: Habit) -> None:
    who, rows, at = h.events()
    spread = h.p["spread"]
    price = h.drawn("price", rows, h.p["amount"] * np.exp(-(spread**2) / 2), spread)
    own = join_rows(h.units[who], COUNTERPARTY + OWN_ELSEWHERE)
    h.transfers(who, join_rows(rows, 1), at, price, own, inward=True)
    then = h.later(at + 1_800 * SECOND, h.p["hours"] * h.stream.child("then").uniform(rows))
    h.transfers(who, rows, then, price, h.payee(who, rows, then))


def _over_order(h: Habit) -> None:
    who, rows, at = h.events()
    event, part, _ = h.times(rows, int(h.p["orders"]))
    then = at[event] + np.floor(h.stream.child("then").uniform(part) * h.p["minutes"] * 60).astype(np.int64) * SECOND
    back = h.stream.child("returned").uniform(part) < h.p["back"]
    h.purchases(who[event], part, then, shop=rows[event], category="clothing", back=back)


def _retry(h: Habit) -> None:
    who, rows, at = h.events()
    tries = int(h.p["refused"]) + 1
    event, part, k = h.times(rows, tries)
    pause = np.floor(h.p["seconds"] * (0.3 + h.stream.child("pause").uniform(part)) * k).astype(np.int64)
    h.purchases(who[event], part, at[event] + pause * SECOND, shop=rows[event], refused=k < tries - 1)


def _family_loan(h: Habit) -> None:
    who, rows, at = h.events()
    lent = h.drawn("lent", rows, h.p["amount"], h.p["spread"])
    party = h.payee(who, rows, at)
    h.transfers(who, join_rows(rows, 99), at, lent, party, inward=True)
    n = int(h.p["instalments"])
    event, part, k = h.times(rows, n)
    then = h.later(at[event] + (k + 1) * MONTH, 48 * h.stream.child("then").uniform(part))
    h.transfers(who[event], part, then, np.ceil(lent[event] / n / ROUND) * ROUND, party[event])


def _shop_takings(h: Habit) -> None:
    mine = h.some()
    mine = mine[h.book.business[mine]]
    rows = join_rows(h.units, h.kind)[mine]
    start = np.full(len(mine), h.block.window.start)
    payer, supplier = (
        h.payee(mine, join_rows(rows, 1 << 20), start, True),
        h.payee(mine, join_rows(rows, 1 << 21), start, True),
    )
    weeks = int(h.block.window.days // 7)
    event, part, week = h.times(rows, weeks)
    each = int(h.p["per_week"])
    taken = np.zeros(len(part))
    for n in range(each):
        one = join_rows(part, n)
        at = h.clock(mine[event], (week + (n + h.stream.child("at").uniform(one)) / each) / (h.block.window.days / 7))
        amount = np.floor(h.p["most"] * 100 * (1 - h.p["margin"] * h.stream.child("takings").uniform(one))) - 1
        amount = np.floor(amount / ROUND) * ROUND
        taken += amount
        h.transfers(mine[event], one, at, amount, payer[event], inward=True)
    last = h.clock(
        mine[event],
        np.minimum((week + 1 + 0.2 * h.stream.child("pays").uniform(part)) / (h.block.window.days / 7), 1.0),
    )
    h.transfers(mine[event], part, last, np.floor(taken * (1 - h.p["kept"])), supplier[event])


def _flat_share(h: Habit) -> None:
    mine = h.some()
    rows = join_rows(h.units, h.kind)[mine]
    mates = int(h.p["flatmates"])
    months = int(h.block.window.days // 30)
    start = np.full(len(mine), h.block.window.start)
    landlord = h.payee(mine, join_rows(rows, 1 << 20), start)
    rent = h.drawn("rent", rows, h.p["amount"], h.p["spread"])
    event, part, month = h.times(rows, months)
    first = h.clock(
        mine[event], (month * 30 + 6 * h.stream.child("day").uniform(rows)[event] + 0.5) / h.block.window.days
    )
    for n in range(mates):
        one = join_rows(part, n)
        mate = h.payee(mine, join_rows(rows, (1 << 21) + n), start)
        at = h.later(first, 36 * h.stream.child("at").uniform(one))
        h.transfers(mine[event], one, at, rent[event], mate[event], inward=True)
    at = h.later(first + 2 * DAY, 12 * h.stream.child("pays").uniform(part))
    h.transfers(mine[event], part, at, rent[event] * (mates + 1), landlord[event])


def _collection(h: Habit) -> None:
    who, rows, at = h.events()
    event, part, _ = h.times(rows, int(h.p["givers"]))
    then = h.later(at[event], 24 * h.p["days"] * h.stream.child("then").uniform(part))
    amount = h.drawn("given", part, h.p["amount"], h.p["spread"])
    h.transfers(who[event], part, then, amount, h.payee(who[event], part, then), inward=True)
    total = np.bincount(event, amount, len(rows))
    last = h.later(at + np.int64(24 * h.p["days"] * 3_600) * SECOND, 24 * h.stream.child("pays").uniform(rows))
    h.transfers(who, rows, last, total, h.payee(who, rows, last))


def _renovation(h: Habit) -> None:
    who, rows, at = h.events()
    n, spread, growth = int(h.p["stages"]), h.p["spread"], h.p["growth"]
    whole = h.drawn("whole", rows, h.p["amount"] * np.exp(-(spread**2) / 2), spread)
    party = h.payee(who, rows, at)
    event, part, k = h.times(rows, n)
    share = growth**k / sum(growth**i for i in range(n))
    then = h.later(at[event], 24 * h.p["days"] * (k + 0.6 * h.stream.child("then").uniform(part)) / n)
    h.transfers(who[event], part, then, np.floor(whole[event] * share / ROUND) * ROUND, party[event])


def _sale_day(h: Habit) -> None:
    who, rows, at = h.events()
    event, part, _ = h.times(rows, int(h.p["purchases"]))
    then = h.later(at[event], h.p["hours"] * h.stream.child("then").uniform(part))
    h.purchases(who[event], part, then, shop=part)


def _ticket_rush(h: Habit) -> None:
    """All who wait for a sale try at one shop, in the same minutes."""
    who, rows, _ = h.events()
    sales = max(1, round(h.p["sales_a_year"] * h.block.window.days / YEAR))
    which = h.stream.child("which").integers(rows, sales).astype(np.uint64)
    # by one clock, whoever is in the block
    clock = curve(h.block.window, h.block.priors("purchase.hour"), [1.0] * 7)
    opens = instants(
        clock, np.zeros(sales, np.int64), h.stream.child("opens").uniform(np.arange(sales, dtype=np.uint64))
    )
    tries = int(h.p["refused"]) + 1
    event, part, k = h.times(rows, tries)
    minute = (
        h.p["minutes"]
        * (h.stream.child("arrives").uniform(rows)[event] + k + h.stream.child("again").uniform(part))
        / (tries + 1)
    )
    then = opens[which[event].astype(np.int64)] + np.floor(60 * minute).astype(np.int64) * SECOND
    h.purchases(who[event], part, then, shop=which[event], category="leisure", refused=k < tries - 1)


def _group_holiday(h: Habit) -> None:
    who, rows, at = h.events()
    event, part, _ = h.times(rows, int(h.p["friends"]))
    then = h.later(at[event], 24 * h.p["days"] * h.stream.child("then").uniform(part))
    amount = h.drawn("part", part, h.p["amount"], h.p["spread"])
    h.transfers(who[event], part, then, amount, h.payee(who[event], part, then), inward=True)
    total = np.bincount(event, amount, len(rows))
    last = h.later(at + np.int64(24 * h.p["days"] * 3_600) * SECOND, 24 * h.stream.child("pays").uniform(rows))
    h.transfers(who, rows, last, total, h.payee(who, rows, last, company=True))


def _savings_club(h: Habit) -> None:
    """Round by round, each member of a circle's club pays the one whose turn it is."""
    stream, block, units = h.stream, h.block, h.units
    near = members(units)
    circle = units // np.uint64(CIRCLE)
    has = stream.child("has").uniform(circle) < h.p["circles"]
    german = origins(block, near.ravel())[0].reshape(near.shape)
    # all live in one country, that of the circle's first customer
    joins = np.where(german == german[:, :1], stream.child("joins").uniform(near), 2.0)
    order = np.argsort(joins, axis=1)[:, : int(h.p["members"])]
    club = np.take_along_axis(near, order, axis=1)
    there = np.take_along_axis(joins, order, axis=1) < 2.0
    mine = np.flatnonzero(has & ((club == units[:, None]) & there).any(axis=1) & (there.sum(axis=1) > 2))
    length = h.p["days"]
    rounds = int(block.window.days // length)
    who, turn = np.repeat(mine, rounds), np.tile(np.arange(rounds), len(mine))
    size = there.sum(axis=1)[who]
    other = club[who, turn % size]
    pays = other != units[who]
    who, turn, other = who[pays], turn[pays], other[pays]
    rows = join_rows(join_rows(units[who], h.kind), turn)
    entry = join_rows(join_rows(units[who], h.kind + 64), other % np.uint64(CIRCLE))
    amount = 100 * h.p["amount"] * np.exp(h.p["spread"] * stream.child("amount").normal(circle[who]))
    amount = np.maximum(np.round(amount / ROUND), 1) * ROUND
    day = (turn + 0.25 * stream.child("day").uniform(rows)) * length / block.window.days
    at = h.clock(who, np.minimum(day, 1.0))
    h.transfers(who, rows, at, amount, entry, account=other.astype(np.int64) * ACCOUNTS)
    h.acquaintances(who, entry, other)


_PLAYED = {
    "new_phone": _new_phone,
    "house_move": _house_move,
    "used_car": _used_car,
    "over_order": _over_order,
    "retry": _retry,
    "family_loan": _family_loan,
    "shop_takings": _shop_takings,
    "flat_share": _flat_share,
    "collection": _collection,
    "renovation": _renovation,
    "sale_day": _sale_day,
    "ticket_rush": _ticket_rush,
    "group_holiday": _group_holiday,
    "savings_club": _savings_club,
}
