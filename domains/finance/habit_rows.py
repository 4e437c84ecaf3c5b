"""How habits are laid out as rows: payments, payees and devices, each addressed in a range of its habit's own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ...core.domain import Block
from ...core.stream import F64, U64, join_rows
from ...core.tables import ROW, Tables, concat, plain
from .calendar import DAY, curve, instants
from .draws import choose, poisson, siblings
from .flows import Part, Some, Words, joined, words
from .holdings import ACCOUNTS, CARDS, COUNTERPARTY, FELLOW, MET, valid_days
from .life import last_used
from .parties import CURRENCIES, YEAR
from .payments import complete, device_used, half_lives
from .people import CIRCLE, COUNTRIES

SECOND = 1_000_000
ROUND = 500
HABITS = (
    "new_phone", "house_move", "used_car", "over_order", "retry", "family_loan", "shop_takings", "flat_share", "collection", "renovation",
    "sale_day", "ticket_rush", "group_holiday", "savings_club",
)  # fmt: skip
"""What customers do that looks like something else: the n-th has the addresses from FIRST + n on."""
FINAL = ("41", "43", "54")
"""Answers that no second try changes."""
FIRST = 1 << 24
_TRANSFERS, _DIRECTIONS = ("RCDT/ESCT", "ICDT/ESCT", "ICDT/BOOK"), ("DBIT", "CRDT")


class Book:
    """What the habits have added so far, and what they all look up."""

    def __init__(self, block: Block, tables: Tables) -> None:
        self.block, self.before = block, tables
        customer = tables["customer"]
        self.currency = plain(customer["currency"])
        self.zone = plain(customer["country"]).astype(np.int64)
        self.business = plain(customer["segment"]) > 0
        self.since = plain(customer["opened_on"]).astype(np.int64) * DAY
        self.until = last_used(block, block.units)
        oldest = tables["card"].filter((pl.col("card_id") % CARDS == 0) & (pl.col("account_id") % ACCOUNTS == 0))
        self.issued = np.zeros(len(block.units), np.int64)
        self.issued[oldest["account_id"].to_numpy() // ACCOUNTS - block.first] = plain(oldest["issued_on"])
        names = _codes(block.reference["merchant"]["category"])
        self.usual = {x: _by_category(block.priors(f"purchase.log_{x}"), names) for x in ("mean", "sigma")}
        """Mean and standard deviation of the log of a purchase's amount, by the category's place among the codes."""
        self.shops = _shops(block)
        self.payees: list[tuple[U64, NDArray[np.int64], NDArray[np.int64], bool]] = []
        self.made: dict[str, list[pl.DataFrame]] = {"counterparty": [], "device": []}
        self.moved: list[Mapping[str, NDArray]] = []
        self.bought: list[Mapping[str, NDArray]] = []
        """Payments of each habit, as arrays: frames are made of all of them together, which costs a tenth of one for each."""

    def tables(self, types: Mapping[str, pl.DataType]) -> Tables:
        """The tables with everything added."""
        out = {}
        self.made["counterparty"].append(self._named())
        for name, parts in self.made.items():
            frame = self.before[name]
            out[name] = concat([frame, *(complete(p, frame.schema) for p in parts if p.height)])
        made = [
            make(within)
            for make, parts in ((self._transfers, self.moved), (self._purchases, self.bought))
            if parts and len((within := self._within(parts))["at"])
        ]
        # whole columns from here on: each step would put them together for itself
        paid = [self.before["transaction"], *([joined(made, types)] if made else [])]
        return {**out, "transaction": concat(paid).rechunk()}

    def _within(self, parts: list[Mapping[str, NDArray]]) -> Mapping[str, NDArray]:
        """All parts end to end, of what lies in the window."""
        whole = {name: np.concatenate([p[name] for p in parts]) for name in parts[0]}
        window = self.block.window
        here = (whole["at"] >= window.start) & (whole["at"] < window.end)
        return {name: values[here] for name, values in whole.items()}

    def _device(self, made: Mapping[str, NDArray]) -> U64:
        """The device of each payment: as drawn, where it is not a certain one."""
        return np.where(
            made["certain"], made["device"], device_used(self.block, self.before, made["who"], made["at"], made["lane"])
        )

    def _transfers(self, made: Mapping[str, NDArray]) -> Part:
        who, inward, account = made["who"], made["inward"], made["account"]
        return Part(
            len(who),
            {
                ROW: made["rows"],
                "account_id": self.block.units.astype(np.int64)[who] * ACCOUNTS,
                "device_row": Some(self._device(made), ~inward),
                "counterparty_row": made["party"],
                "counterparty_account_id": Some(account, account >= 0),
                "type": Words(_TRANSFERS, np.where(inward, 0, np.where(account < 0, 1, 2))),
                "direction": Words(_DIRECTIONS, inward.view(np.uint8)),
                "amount_minor": made["amount"],
                "currency": Words(CURRENCIES, self.currency[who]),
                "authorised_at": made["at"],
                "cleared_at": made["cleared"],
                "channel": "transfer",
            },
        )

    def _purchases(self, made: Mapping[str, NDArray]) -> Part:
        who, at, shop, no, back = made["who"], made["at"], made["shop"], made["no"], made["back"]
        merchant, answers = self.block.reference["merchant"], [*self.block.priors("purchase.declined_online"), "00"]
        account = self.block.units.astype(np.int64)[who] * ACCOUNTS
        return Part(
            len(who),
            {
                ROW: made["rows"],
                "account_id": account,
                "card_id": account * CARDS + (at // DAY - self.issued[who]) // valid_days(self.block),
                "device_row": Some(self._device(made), made["seen"]),
                "merchant_id": shop,
                "mcc": words(merchant["mcc"])[shop],
                "amount_minor": made["amount"],
                "currency": Words(CURRENCIES, self.currency[who]),
                "authorised_at": at,
                "cleared_at": Some(made["cleared"], ~no),
                "reversed_at": Some(made["returned"], back),
                "reversal": Some(Words(("refund",), np.zeros(len(who), np.uint8)), back),
                "reversed_minor": Some(made["amount"], back),
                "response_code": Words(answers, np.where(no, made["why"], len(answers) - 1)),
                "country": words(merchant["country"])[shop],
                "channel": "card-not-present",
                "type": "CCRD/POSD",
                "direction": "DBIT",
                "entry_mode": "81",
            },
        )

    def _named(self) -> pl.DataFrame:
        """All new payees at other banks."""
        rows, who, added = (np.concatenate([p[n] for p in self.payees]) for n in range(3))
        company = np.concatenate([np.full(len(p[0]), p[3]) for p in self.payees])
        unwritten = pl.Series([None], dtype=pl.String).new_from_index(0, len(rows))
        return pl.DataFrame(
            {
                ROW: rows,
                "customer_id": self.block.units.astype(np.int64)[who],
                "kind": np.where(company, "company", "person"),
                "name": unwritten,
                "iban": unwritten,
                "added_at": added,
                "place": np.full(len(rows), MET),
            }
        )


class Habit:
    """One habit: its stream, its numbers, and ways to add payments."""

    def __init__(self, book: Book, name: str) -> None:
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
        at = self.clock(who, self.stream.child("begin").uniform(rows))
        there = (at >= self.book.since[who]) & (at < self.book.until[who])
        return who[there], rows[there], at[there]

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
        added = np.minimum(added, self.book.until[who])
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
        many = len(who)
        self.book.moved.append(
            {
                "rows": rows,
                "who": who,
                "at": at,
                "amount": np.maximum(amount, 1).astype(np.int64),
                "cleared": at + (1 + np.floor(clear * 3_600).astype(np.int64)) * SECOND,
                "party": party,
                "account": np.full(many, -1) if account is None else account,
                "inward": np.full(many, inward),
                **self._device(rows, device),
            }
        )

    def _device(self, rows: U64, device: U64 | None) -> Mapping[str, NDArray]:
        """A certain device, or what any of the customer's is drawn by."""
        return {
            "certain": np.full(len(rows), device is not None),
            "device": np.zeros(len(rows), np.uint64) if device is None else device,
            "lane": self.stream.child("device").integers(rows, 1 << 16).astype(np.uint16),
        }

    def acquaintances(self, who: NDArray, entry: U64, other: U64) -> None:
        """Members of a club on each other's lists, those beyond the size of the dataset left out."""
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
                    "added_at": np.maximum(self.block.window.start - DAY, self.book.since[who] + SECOND),
                    "place": FELLOW - (other % np.uint64(CIRCLE)).astype(np.int64),
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
        picked = _online(self.book, self.book.zone[who], stream.child("shop").uniform(shop), category)
        kind = merchant["category"].to_physical().gather(picked).to_numpy()
        mean, sigma = (self.book.usual[x][kind] for x in ("mean", "sigma"))
        amount = np.maximum(np.floor(100 * np.exp(mean + sigma * stream.child("amount").normal(rows))), 1)
        no = np.zeros(len(who), bool) if refused is None else refused
        hours = p("purchase.clearing_hours")["online"]
        delay = half_lives(stream.child("clear").uniform(rows), hours, p("purchase.presented_days")) * hours * 3_600
        cleared = at + np.floor(delay).astype(np.int64) * SECOND
        wait = np.floor(-np.log(stream.child("back").uniform(rows)) * p("purchase.refund_days") * 86_400)
        self.book.bought.append(
            {
                "rows": rows,
                "who": who,
                "at": at,
                "shop": picked,
                "amount": amount.astype(np.int64),
                "cleared": cleared,
                "returned": cleared + DAY + wait.astype(np.int64) * SECOND,
                "no": no,
                "back": np.zeros(len(who), bool) if back is None else back & ~no,
                "why": choose(
                    stream.child("why").uniform(rows),
                    [x * (c not in FINAL) for c, x in p("purchase.declined_online").items()],
                ),
                "seen": stream.child("seen").uniform(rows) >= p("purchase.unseen_device"),
                **self._device(rows, device),
            }
        )


def _by_category(of: Mapping[str, float], names: pl.Series) -> F64:
    return np.array([of.get(name, 0.0) for name in names])


def _online(book: Book, zone: NDArray[np.int64], u: F64, category: str | None) -> NDArray[np.int64]:
    """A merchant of the customer's country that sells online, as popular as for anyone."""
    shops, merchant = book.shops, book.block.reference["merchant"]
    weight = shops["weight"]
    if category is not None:
        weight = weight * (shops["category"] == list(_codes(merchant["category"])).index(category))
    out = np.zeros(len(u), np.int64)
    for n, home in enumerate(COUNTRIES):
        upto = np.cumsum(weight * (shops["country"] == list(_codes(merchant["country"])).index(home)))
        here = zone == n
        out[here] = np.minimum(np.searchsorted(upto / upto[-1], u[here]), len(upto) - 1)
    return merchant["merchant_id"].to_numpy()[out]


def _shops(block: Block) -> Mapping[str, NDArray]:
    """Country, category and weight of each merchant, among those that sell online."""
    merchant, share = block.reference["merchant"], block.priors("purchase.share")
    country, category = (plain(merchant[c]) for c in ("country", "category"))
    bought = np.array([0.0 if name == "cash" else share.get(name, 0.0) for name in _codes(merchant["category"])])
    weight = merchant["popularity"].to_numpy() * bought[category] * merchant["online"].to_numpy()
    return {"country": country, "category": category, "weight": weight}


def _codes(column: pl.Series) -> pl.Series:
    return column.dtype.categories  # type: ignore[attr-defined]
