"""Hard negatives: genuine behaviour that looks like fraud or laundering. Rates, sizes and sources are the priors `habit.*`.

Each function makes the payments of one habit, with the payees and devices that they need. Addresses lie in ranges of their own, so that nothing else changes when a habit
does. What is asked for here is judged by the funds step as any other payment is.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ...core.domain import Block
from ...core.samplers.text import Name
from ...core.schema import Schema
from ...core.stream import F64, U64, join_rows
from ...core.tables import ROW, Tables, concat
from .calendar import DAY, curve, instants
from .circles import members
from .draws import choose, keep, poisson, siblings
from .identifiers import home_ibans, other_ibans
from .parties import ACCOUNTS, CARDS, COUNTERPARTY, YEAR, addresses, holder_names
from .payments import complete, device_used, fact_types
from .people import CIRCLE, origins, sample

OWN_ELSEWHERE = 1
SECOND = 1_000_000
MONTH = 30 * DAY
ROUND = 500
HABITS = (
    "new_phone", "house_move", "used_car", "over_order", "retry", "family_loan", "shop_takings", "flat_share", "collection", "renovation",
    "sale_day", "ticket_rush", "group_holiday", "savings_club",
)  # fmt: skip
"""What customers do that looks like something else: the n-th has the addresses from FIRST + n on."""
FIRST = 1 << 24


def habits(schema: Schema):
    """The step that adds genuine payments which look like fraud, their payees and devices."""
    types = fact_types(schema)

    def run(block: Block, tables: Tables) -> Tables:
        book = _Book(block, tables)
        for name in HABITS:
            _PLAYED[name](_Habit(book, name))
        return book.tables(types)

    return run


class _Book:
    """What the habits have added so far, and what they all look up."""

    def __init__(self, block: Block, tables: Tables) -> None:
        self.block, self.before = block, tables
        customer = tables["customer"]
        self.currency = customer["currency"]
        self.zone = customer["country"].to_physical().to_numpy().astype(np.int64)
        self.business = customer["segment"].to_physical().to_numpy() > 0
        self.since = customer["opened_on"].to_physical().to_numpy().astype(np.int64) * DAY
        oldest = tables["card"].filter((pl.col("card_id") % CARDS == 0) & (pl.col("account_id") % ACCOUNTS == 0))
        self.issued = np.zeros(len(block.units), np.int64)
        self.issued[oldest["account_id"].to_numpy() // ACCOUNTS - block.first] = (
            oldest["issued_on"].to_physical().to_numpy()
        )
        self.payees: list[tuple[U64, NDArray[np.int64], NDArray[np.int64], bool]] = []
        self.made: dict[str, list[pl.DataFrame]] = {"transaction": [], "counterparty": [], "device": []}

    def tables(self, types: Mapping[str, pl.DataType]) -> Tables:
        """The tables with everything added."""
        out = {}
        self.made["counterparty"].append(self._named())
        for name, parts in self.made.items():
            frame = self.before[name]
            shape = dict(types) if name == "transaction" else dict(frame.schema)
            out[name] = concat([frame, *(complete(p, shape) for p in parts if p.height)])
        return out

    def _named(self) -> pl.DataFrame:
        """All new payees at other banks, named together: that costs a tenth of naming each habit's."""
        rows, who, added = (np.concatenate([p[n] for p in self.payees]) for n in range(3))
        company = np.concatenate([np.full(len(p[0]), p[3]) for p in self.payees])
        stream, german = self.block.stream.child("habit", "payee"), self.zone[who] == 1
        return pl.DataFrame(
            {
                ROW: rows,
                "customer_id": self.block.units.astype(np.int64)[who],
                "kind": np.where(company, "company", "person"),
                "name": sample(Name, stream, rows, german)["name"],
                "iban": other_ibans(stream.child("iban"), np.where(german, "DE", "GB"), rows),
                "added_at": added,
                "place": np.full(len(rows), -1),
            }
        )


class _Habit:
    """One habit: its stream, its numbers, and ways to add payments."""

    def __init__(self, book: _Book, name: str) -> None:
        self.book, self.block, self.units = book, book.block, book.block.units
        self.stream = book.block.stream.child("habit", name)
        self.kind = FIRST + HABITS.index(name)
        self.p: Mapping[str, Any] = book.block.priors(f"habit.{name}")
        self.span = self.block.window.end - self.block.window.start

    def events(self) -> tuple[NDArray[np.int64], U64, NDArray[np.int64]]:
        """Who does it, the event's address, when it begins."""
        n = poisson(
            self.stream.child("count").uniform(self.units),
            np.full(len(self.units), self.p["per_year"] * self.block.window.days / YEAR),
        )
        who, k = siblings(n)
        rows = join_rows(join_rows(self.units, self.kind)[who], k)
        return who, rows, self.clock(who, self.stream.child("begin").uniform(rows))

    def some(self) -> NDArray[np.int64]:
        """The customers who have the habit, where it is a share of them."""
        return np.flatnonzero(self.stream.child("has").uniform(self.units) < self.p["share"])

    def clock(self, who: NDArray, u: F64) -> NDArray[np.int64]:
        """The moment of the window by which a share `u` of what people do by day has been done."""
        hours = self.block.priors("purchase.hour")
        return instants(curve(self.block.window, hours, [1.0] * 7), self.book.zone[who], u)

    def later(self, at: NDArray[np.int64], hours: F64) -> NDArray[np.int64]:
        """So much later, but by day: the hour is one that things are done at."""
        moved = at + np.floor(hours * 3_600).astype(np.int64) * SECOND
        night = (moved // 3_600_000_000 % 24) < 6
        return moved + night * 8 * 3_600_000_000

    def times(self, rows: U64, n: int) -> tuple[NDArray[np.int64], U64, NDArray[np.int64]]:
        """Every event n times over: which event, the address of each part, which part it is."""
        event, k = np.repeat(np.arange(len(rows)), n), np.tile(np.arange(n), len(rows))
        return event, join_rows(rows[event], k), k

    def drawn(self, name: str, rows: U64, median: float | F64, spread: float) -> NDArray[np.int64]:
        """Log-normal amounts in minor units."""
        return np.floor(100 * median * np.exp(spread * self.stream.child(name).normal(rows))).astype(np.int64)

    def payee(self, who: NDArray, rows: U64, at: NDArray[np.int64], company: bool = False) -> U64:
        """New entries on the customers' lists, recorded a little before `at`; their addresses."""
        ahead = 120 + np.floor(self.stream.child("payee", "ahead").uniform(rows) ** 3 * 86_400)
        address = join_rows(rows, COUNTERPARTY)
        added = np.maximum(at - ahead.astype(np.int64) * SECOND, self.book.since[who] + SECOND)
        self.book.payees.append((address, who, added, company))
        return address

    def transfers(
        self, who: NDArray, rows: U64, at: NDArray[np.int64], amount: NDArray, party: U64, *,
        inward: bool = False, device: U64 | None = None, account: NDArray[np.int64] | None = None,
    ) -> None:  # fmt: skip
        """Payments to or from people at other banks, or to their `account` at this one, of those that lie within the window."""
        even = self.stream.child("even").uniform(rows) < self.block.priors("transfer.round_share")
        amount = np.where(even & (amount > 2 * ROUND), np.round(amount / ROUND) * ROUND, amount)
        clear = self.stream.child("clear").uniform(rows) ** 4 * self.block.priors("transfer.clearing_hours")
        if device is None:
            lane = self.stream.child("device").integers(rows, 1 << 16).astype(np.uint16)
            device = device_used(self.block, self.book.before, who, at, lane)
        frame = pl.DataFrame(
            {
                ROW: rows,
                "account_id": self.units.astype(np.int64)[who] * ACCOUNTS,
                "device_row": keep(device, np.full(len(who), not inward)),
                "counterparty_row": party,
                "channel": ["transfer"] * len(who),
                "type": ["RCDT/ESCT" if inward else "ICDT/ESCT" if account is None else "ICDT/BOOK"] * len(who),
                "direction": ["CRDT" if inward else "DBIT"] * len(who),
                "amount_minor": np.maximum(amount, 1).astype(np.int64),
                "currency": self.book.currency.gather(who),
                "authorised_at": at,
                "cleared_at": at + (1 + np.floor(clear * 3_600).astype(np.int64)) * SECOND,
            }
        )
        if account is not None:
            frame = frame.with_columns(pl.Series("counterparty_account_id", account))
        self._add(frame)

    def acquaintances(self, who: NDArray, entry: U64, other: U64) -> None:
        """Customers of this bank on other customers' lists, those beyond the size of the dataset left out."""
        entry, first = np.unique(entry, return_index=True)
        who, other = who[first], other[first]
        here = other < np.uint64(self.block.size)
        entry, who, other = entry[here], who[here], other[here]
        self.book.made["counterparty"].append(
            pl.DataFrame(
                {
                    ROW: entry,
                    "customer_id": self.units.astype(np.int64)[who],
                    "kind": ["person"] * len(who),
                    "name": holder_names(self.block, other)["name"],
                    "iban": home_ibans(
                        self.block.stream, origins(self.block, other)[0], other.astype(np.int64) * ACCOUNTS
                    ),
                    "added_at": np.maximum(self.block.window.start - DAY, self.book.since[who] + SECOND),
                    "place": np.full(len(who), -1),
                }
            )
        )

    def purchases(
        self, who: NDArray, rows: U64, at: NDArray[np.int64], *, shop: U64, category: str | None = None,
        refused: NDArray[np.bool_] | None = None, back: NDArray[np.bool_] | None = None, device: U64 | None = None,
    ) -> None:  # fmt: skip
        """Online purchases: one shop for each value of `shop`, amounts as for anyone there."""
        p, stream = self.block.priors, self.stream
        merchant = self.block.reference["merchant"]
        picked = _online(self.block, self.book.zone[who], stream.child("shop").uniform(shop), category)
        kind = merchant["category"].cast(pl.String).gather(picked).to_numpy()
        mean, sigma = (np.array([p(f"purchase.log_{x}")[c] for c in kind]) for x in ("mean", "sigma"))
        amount = np.maximum(np.floor(100 * np.exp(mean + sigma * stream.child("amount").normal(rows))), 1)
        lane = stream.child("device").integers(rows, 1 << 16).astype(np.uint16)
        known = device_used(self.block, self.book.before, who, at, lane) if device is None else device
        seen = stream.child("seen").uniform(rows) >= p("purchase.unseen_device")
        no = np.zeros(len(who), bool) if refused is None else refused
        codes = p("purchase.declined")
        why = np.array(list(codes))[choose(stream.child("why").uniform(rows), codes.values())]
        delay = -np.log2(stream.child("clear").uniform(rows)) * p("purchase.clearing_hours")["online"] * 3_600
        cleared = at + np.floor(delay).astype(np.int64) * SECOND
        returned = (
            cleared
            + DAY
            + np.floor(-np.log(stream.child("back").uniform(rows)) * p("purchase.refund_days") * 86_400).astype(
                np.int64
            )
            * SECOND
        )
        sent_back = np.zeros(len(who), bool) if back is None else back & ~no
        valid = int(p("card.validity_years") * YEAR)
        account = self.units.astype(np.int64)[who] * ACCOUNTS
        frame = pl.DataFrame(
            {
                ROW: rows,
                "account_id": account,
                "card_id": account * CARDS + (at // DAY - self.book.issued[who]) // valid,
                "device_row": keep(known, seen),
                "merchant_id": picked,
                "channel": ["card-not-present"] * len(who),
                "type": ["CCRD/POSD"] * len(who),
                "direction": ["DBIT"] * len(who),
                "mcc": merchant["mcc"].gather(picked),
                "amount_minor": amount.astype(np.int64),
                "currency": self.book.currency.gather(who),
                "authorised_at": at,
                "cleared_at": keep(cleared, ~no),
                "reversed_at": keep(returned, sent_back),
                "reversal": keep(pl.Series(["refund"]).new_from_index(0, len(who)), sent_back),
                "reversed_minor": keep(amount.astype(np.int64), sent_back),
                "response_code": np.where(no, why, "00"),
                "entry_mode": ["81"] * len(who),
                "country": merchant["country"].gather(picked),
            }
        )
        self._add(frame)

    def _add(self, frame: pl.DataFrame) -> None:
        within = pl.col("authorised_at").is_between(self.block.window.start, self.block.window.end - 1)
        self.book.made["transaction"].append(frame.filter(within))


def _online(block: Block, zone: NDArray[np.int64], u: F64, category: str | None) -> NDArray[np.int64]:
    """A merchant of the customer's country that sells online, as popular as for anyone."""
    merchant = block.reference["merchant"]
    name, country = merchant["category"].cast(pl.String), merchant["country"].cast(pl.String).to_numpy()
    bought = name.replace_strict(block.priors("purchase.share"), default=0.0, return_dtype=pl.Float64).to_numpy()
    weight = merchant["popularity"].to_numpy() * bought * merchant["online"].to_numpy() * (name != "cash").to_numpy()
    if category:
        weight = weight * (name == category).to_numpy()
    out = np.zeros(len(u), np.int64)
    for n, home in enumerate(("GB", "DE")):
        upto = np.cumsum(weight * (country == home))
        here = zone == n
        out[here] = np.minimum(np.searchsorted(upto / upto[-1], u[here]), len(upto) - 1)
    return merchant["merchant_id"].to_numpy()[out]


def _new_phone(h: _Habit) -> None:
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


def _house_move(h: _Habit) -> None:
    who, rows, at = h.events()
    event, part, _ = h.times(rows, int(h.p["payees"]))
    then = h.later(at[event], 24 * h.p["days"] * h.stream.child("then").uniform(part))
    party = h.payee(who[event], part, then)
    h.transfers(who[event], part, then, h.drawn("amount", part, h.p["amount"], h.p["spread"]), party)


def _used_car(h: _Habit) -> None:
    who, rows, at = h.events()
    spread = h.p["spread"]
    price = h.drawn("price", rows, h.p["amount"] * np.exp(-(spread**2) / 2), spread)
    own = join_rows(h.units[who], COUNTERPARTY + OWN_ELSEWHERE)
    h.transfers(who, join_rows(rows, 1), at, price, own, inward=True)
    then = h.later(at + 1_800 * SECOND, h.p["hours"] * h.stream.child("then").uniform(rows))
    h.transfers(who, rows, then, price, h.payee(who, rows, then))


def _over_order(h: _Habit) -> None:
    who, rows, at = h.events()
    event, part, _ = h.times(rows, int(h.p["orders"]))
    then = at[event] + np.floor(h.stream.child("then").uniform(part) * h.p["minutes"] * 60).astype(np.int64) * SECOND
    back = h.stream.child("returned").uniform(part) < h.p["back"]
    h.purchases(who[event], part, then, shop=rows[event], category="clothing", back=back)


def _retry(h: _Habit) -> None:
    who, rows, at = h.events()
    tries = int(h.p["refused"]) + 1
    event, part, k = h.times(rows, tries)
    pause = np.floor(h.p["seconds"] * (0.3 + h.stream.child("pause").uniform(part)) * k).astype(np.int64)
    h.purchases(who[event], part, at[event] + pause * SECOND, shop=rows[event], refused=k < tries - 1)


def _family_loan(h: _Habit) -> None:
    who, rows, at = h.events()
    lent = h.drawn("lent", rows, h.p["amount"], h.p["spread"])
    party = h.payee(who, rows, at)
    h.transfers(who, join_rows(rows, 99), at, lent, party, inward=True)
    n = int(h.p["instalments"])
    event, part, k = h.times(rows, n)
    then = h.later(at[event] + (k + 1) * MONTH, 48 * h.stream.child("then").uniform(part))
    h.transfers(who[event], part, then, np.ceil(lent[event] / n / ROUND) * ROUND, party[event])


def _shop_takings(h: _Habit) -> None:
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


def _flat_share(h: _Habit) -> None:
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


def _collection(h: _Habit) -> None:
    who, rows, at = h.events()
    event, part, _ = h.times(rows, int(h.p["givers"]))
    then = h.later(at[event], 24 * h.p["days"] * h.stream.child("then").uniform(part))
    amount = h.drawn("given", part, h.p["amount"], h.p["spread"])
    h.transfers(who[event], part, then, amount, h.payee(who[event], part, then), inward=True)
    total = np.bincount(event, amount, len(rows))
    last = h.later(at + np.int64(24 * h.p["days"] * 3_600) * SECOND, 24 * h.stream.child("pays").uniform(rows))
    h.transfers(who, rows, last, total, h.payee(who, rows, last))


def _renovation(h: _Habit) -> None:
    who, rows, at = h.events()
    n, spread, growth = int(h.p["stages"]), h.p["spread"], h.p["growth"]
    whole = h.drawn("whole", rows, h.p["amount"] * np.exp(-(spread**2) / 2), spread)
    party = h.payee(who, rows, at)
    event, part, k = h.times(rows, n)
    share = growth**k / sum(growth**i for i in range(n))
    then = h.later(at[event], 24 * h.p["days"] * (k + 0.6 * h.stream.child("then").uniform(part)) / n)
    h.transfers(who[event], part, then, np.floor(whole[event] * share / ROUND) * ROUND, party[event])


def _sale_day(h: _Habit) -> None:
    who, rows, at = h.events()
    event, part, _ = h.times(rows, int(h.p["purchases"]))
    then = h.later(at[event], h.p["hours"] * h.stream.child("then").uniform(part))
    h.purchases(who[event], part, then, shop=part)


def _ticket_rush(h: _Habit) -> None:
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


def _group_holiday(h: _Habit) -> None:
    who, rows, at = h.events()
    event, part, _ = h.times(rows, int(h.p["friends"]))
    then = h.later(at[event], 24 * h.p["days"] * h.stream.child("then").uniform(part))
    amount = h.drawn("part", part, h.p["amount"], h.p["spread"])
    h.transfers(who[event], part, then, amount, h.payee(who[event], part, then), inward=True)
    total = np.bincount(event, amount, len(rows))
    last = h.later(at + np.int64(24 * h.p["days"] * 3_600) * SECOND, 24 * h.stream.child("pays").uniform(rows))
    h.transfers(who, rows, last, total, h.payee(who, rows, last, company=True))


def _savings_club(h: _Habit) -> None:
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
