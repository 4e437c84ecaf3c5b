"""Payments: card purchases and cash, then everything that moves from account to account."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ...core.domain import Block, Window
from ...core.priors import Priors
from ...core.schema import Schema
from ...core.stream import F64, U64, Stream, join_rows
from ...core.tables import ROW, Tables, picked, plain
from .calendar import DAY, HOUR, curve, instants, seasons
from .draws import LANES, below, choose, enum, keep, lane, poisson, siblings, table_of
from .holdings import ACCOUNTS, CARDS, CREDIT, VIRTUAL, valid_days, virtual_cards
from .life import MOVED, home_market, homes, whereabouts
from .parties import YEAR, prosperity
from .people import COUNTRIES, cities
from .reference import cells, popularity, purchase_categories

MONTH = 30.4375
QUANTILES = 4096
PACE = 5.4
"""What a row of a payment takes beside one of a sensor: several times the memory, for its columns and what hangs on it."""
BESIDES = 11.0
"""About how many payments a customer makes a month besides purchases and transfers to people: pay, bills, orders, cash, wallets, habits, a business's takings."""
PURCHASE = 1
"""Kinds of transaction: each addresses its rows below the customer's in a range of its own."""

FACTS = (
    "account_id", "card_id", "device_row", "merchant_id", "counterparty_row", "counterparty_account_id", "channel", "type",
    "direction", "mcc", "amount_minor", "currency", "authorised_at", "cleared_at", "reversed_at", "reversal", "reversed_minor",
    "response_code", "entry_mode", "country",
)  # fmt: skip
"""What a payment is before it has a key: everything else about it is derived."""


def fact_types(schema: Schema) -> dict[str, pl.DataType]:
    """The types of the facts: the schema's, instants as microseconds, other rows by address."""
    types: dict[str, pl.DataType] = {ROW: pl.UInt64()}
    for name in FACTS:
        if name.endswith("_row"):
            types[name] = pl.UInt64()
        else:
            column = schema["transaction"].columns[name]
            types[name] = pl.Int64() if column.type == "instant" else column.dtype
    return types


def complete(frame: pl.DataFrame, types: Mapping[str, pl.DataType]) -> pl.DataFrame:
    """The frame with every fact, absent ones null, in one order and one set of types."""
    have = frame.schema
    return frame.select(
        pl.lit(None, kind).alias(name) if name not in have else name if have[name] == kind else pl.col(name).cast(kind)
        for name, kind in types.items()
    )


def purchases(schema: Schema):
    """The step that makes card payments and cash withdrawals: the bulk of `transaction`, so every column is one array operation."""
    types = fact_types(schema)
    coded = ("channel", "type", "currency", "response_code", "entry_mode", "reversal")
    lists = {n: list(schema["transaction"].columns[n].codes) for n in coded}

    def run(block: Block, tables: Tables) -> Tables:
        p, units, stream = block.priors, block.units, block.stream.child("purchase")
        customer = tables["customer"]
        merchant = block.reference["merchant"]
        zone = plain(customer["country"]).astype(np.int64)
        n = poisson(stream.child("count").uniform(units), purchase_rate(block) * block.window.days / MONTH)
        who, k = siblings(n)
        rows = join_rows(join_rows(units, PURCHASE)[who], k)
        what, where, how = (stream.child(name).bits(rows) for name in ("what", "where", "how"))
        again = (k > 0) & (lane(what, 1) < below(p("purchase.burst")))
        at = _times(block, stream, units, zone, n, who, rows, again)

        categories = purchase_categories(block)
        # one thing leads to another: in the same shop, within minutes
        source = np.maximum.accumulate(np.where(again, 0, np.arange(len(rows))))
        same = np.where(lane(how, 3) < below(p("purchase.burst_same")), source, np.arange(len(rows)))
        day = (at // DAY - block.window.start // DAY).astype(np.int32)
        place = whereabouts(block)[who, day]
        category = table_of(p("purchase.share").values())[lane(what, 0)][same]
        shop = _merchant(block, stream, units, zone, who, category, place, where)[same]
        online = merchant["online"].to_numpy()[shop]
        cash = category == categories.index("cash") if "cash" in categories else np.zeros(len(rows), bool)
        # what follows a wrong PIN is the same payment again
        second = again & (source == np.arange(len(rows)) - 1) & (same == source) & ~online
        second = np.flatnonzero(second & (lane(how, 0) < below(p("purchase.wrong_pin"))))
        first = second - 1
        wait = 10 + lane(where, 0)[second].astype(np.int64) % 30
        at[second] = np.minimum(at[first] + wait * 1_000_000, block.window.end - 1_000_000)

        mu, sigma = (np.array(list(p(f"purchase.log_{x}").values())) for x in ("mean", "sigma"))
        dearer = np.log1p(p("purchase.inflation")) / YEAR * np.arange(day.max(initial=0) + 1)
        amount = np.exp(mu[category] + sigma[category] * stream.child("amount").normal(rows) + dearer[day]) * 100
        # machines give notes of ten, and no more than the limit
        notes = np.flatnonzero(cash)
        most = machine_limit(block)[zone[who[notes]]]
        drawn = np.clip(np.round(amount[notes], -3), 1000, most)
        amount = np.maximum(np.floor(amount), 1).astype(np.int64)
        amount[notes] = drawn
        amount[second] = amount[first]

        holds = np.zeros(len(units), bool)
        credit = tables["account"].filter(pl.col("type") == "credit")["customer_id"].to_numpy()
        holds[credit - block.first] = True
        on_credit = holds[who] & (lane(what, 2) < below(p("purchase.credit_share"))) & ~cash
        on_credit[second] = on_credit[first]
        current_id = units.astype(np.int64) * ACCOUNTS
        account = current_id[who] + on_credit * CREDIT
        issued = _issued(block, tables)
        card = account * CARDS + (at // DAY - issued[who, on_credit.view(np.int8)]) // valid_days(block)
        virtual = virtual_cards(block, current_id)[who] & online & (lane(how, 1) >= below(1 - p("card.virtual_use")))
        card[virtual] += VIRTUAL

        answer = _answers(block, lane(how, 0), online, lists["response_code"])
        wrong = lists["response_code"].index("55")
        answer[first] = wrong
        day_of = who[notes] * (1 << 20) + day[notes]
        over = notes[_beyond(day_of, np.where(answer[notes] == 0, amount[notes], 0), most)]
        answer[over] = lists["response_code"].index("61")
        approved = answer == 0
        void = approved & online & (lane(how, 1) < below(p("purchase.void")))
        booked = approved & ~void
        refund = booked & (lane(how, 2) < below(np.array(list(p("purchase.refund").values())))[category])
        cleared = at + _delay(block, lane(how, 3), online, cash)
        back = np.floor(-np.log(stream.child("back").uniform(rows[refund])) * p("purchase.refund_days") * 86_400)
        reversed_at = at + (lane(where, 3).astype(np.int64) % 3_600) * 1_000_000
        reversed_at[refund] = cleared[refund] + back.astype(np.int64) * 1_000_000
        undone = amount.copy()
        undone[refund] = part_refunded(block, rows[refund], amount[refund])

        device = device_used(block, tables, who, at, lane(what, 3))
        entry = table_of(p("purchase.entry_mode").values())[lane(where, 2)]
        entry = np.array([lists["entry_mode"].index(m) for m in p("purchase.entry_mode")], np.uint8)[entry]
        entry[online] = lists["entry_mode"].index("81")
        entry[answer == wrong] = entry[second] = lists["entry_mode"].index("05")
        channel = np.where(cash, 2, online.view(np.int8))
        frame = pl.DataFrame(
            {
                ROW: rows,
                "account_id": account,
                "card_id": card,
                "device_row": keep(device, online & (lane(where, 2) >= below(p("purchase.unseen_device")))),
                "merchant_id": shop.astype(np.int64),
                "channel": enum(channel, lists["channel"]),
                "type": enum(
                    np.where(cash, *(lists["type"].index(t) for t in ("CCRD/CWDL", "CCRD/POSD"))), lists["type"]
                ),
                "direction": pl.repeat("DBIT", len(rows), dtype=types["direction"], eager=True),
                "mcc": picked(merchant["mcc"], shop),
                "amount_minor": amount,
                "currency": picked(customer["currency"], who),
                "authorised_at": at,
                "cleared_at": keep(cleared, booked),
                "reversed_at": keep(reversed_at, void | refund),
                "reversal": enum(refund.view(np.uint8), lists["reversal"], void | refund),
                "reversed_minor": keep(undone, void | refund),
                "response_code": enum(answer, lists["response_code"]),
                "entry_mode": enum(entry, lists["entry_mode"]),
                "country": picked(merchant["country"], shop),
            }
        )
        return {"transaction": complete(frame, types)}

    return run


def _beyond(day: NDArray, drawn: NDArray[np.int64], most: NDArray[np.int64]) -> NDArray[np.int64]:
    """The places of withdrawals that pass what one may draw in a day, with those before them on it (`day`: whose, and which)."""
    order = np.argsort(day, kind="stable")
    day, drawn = day[order], drawn[order]
    total = np.cumsum(drawn)
    begin = np.searchsorted(day, day)
    return order[(total - (total - drawn)[begin] > most[order]) & (drawn > 0)]


def part_refunded(block: Block, rows: U64, amount: NDArray[np.int64]) -> NDArray[np.int64]:
    """How much of a purchase is refunded: all of it, or what one of several things cost."""
    stream, p = block.stream.child("transaction", "refund"), block.priors
    part = np.maximum(np.floor(amount * stream.child("part").uniform(rows)), 1).astype(np.int64)
    return np.where(stream.child("partial").uniform(rows) < p("refund.partial"), part, amount)


def _issued(block: Block, tables: Tables) -> NDArray[np.int64]:
    """The day that the oldest card of each customer's current and credit account was issued: one row a customer, two columns."""
    oldest = tables["card"].filter((pl.col("card_id") % CARDS == 0) & (pl.col("kind") != "prepaid"))
    customer, place = np.divmod(oldest["account_id"].to_numpy(), ACCOUNTS)
    days = np.zeros((block.last - block.first, 2), np.int64)
    days[customer - block.first, (place == CREDIT).astype(np.int8)] = plain(oldest["issued_on"])
    return days


def rows_each(priors: Priors, window: Window, library: object = None) -> float:
    """About how many rows a customer makes: purchases, transfers sent and received, all else, and two postings to each."""
    a_month = priors("purchase.per_month") + 2 * priors("transfer.per_month") + BESIDES
    return a_month * window.days / MONTH * 3 * PACE


def purchase_rate(block: Block) -> F64:
    """Card transactions a month that each customer is expected to make: log-normal, rising with income."""
    p, units = block.priors, block.units
    sigma, rho = p("purchase.rate_log_sigma"), p("purchase.income_correlation")
    z = rho * prosperity(block, units)
    z += np.sqrt(1 - rho**2) * block.stream.child("purchase", "rate").normal(units)
    return p("purchase.per_month") * np.exp(sigma * z - sigma**2 / 2)


def tickets(block: Block) -> dict[str, float]:
    """What each category adds to the mean amount of a card transaction, in minor units."""
    p = block.priors
    shares = p("purchase.share")
    return {
        c: float(np.exp(p("purchase.log_mean")[c] + p("purchase.log_sigma")[c] ** 2 / 2))
        * 100
        * x
        / sum(shares.values())
        for c, x in shares.items()
    }


def _times(
    block: Block,
    stream: Stream,
    units: U64,
    zone: NDArray,
    n: NDArray,
    who: NDArray,
    rows: U64,
    again: NDArray[np.bool_],
) -> NDArray[np.int64]:
    """Moments of each customer: a renewal process with Weibull gaps, run on the clock of the calendar curve and of the customer's own trend; each event may set
    off another within minutes (`again`), and that one a further (a branching process)."""
    p = block.priors
    shape = 1 / p("purchase.interarrival_shape")
    # whole numbers, so that sums are exact and a customer's times do not depend on who else is in the block
    gap = _weibull(stream.child("gap").uniform(rows), shape)
    late = np.flatnonzero(again)
    gap[late] = 0
    last = _weibull(stream.child("last").uniform(units), shape)
    total = np.cumsum(gap)
    ends = np.cumsum(n)
    before = np.where(ends - n > 0, total[np.maximum(ends - n, 1) - 1], 0) if len(total) else np.zeros(len(n), np.int64)
    upto = np.where(n > 0, total[np.maximum(ends, 1) - 1], before) if len(total) else before
    span = upto - before + last
    u = (total - before[who]) / span[who]
    # some pay more often as time goes on, others less: a density that rises or falls over the window
    tilt = stream.child("trend").normal(units) * p("purchase.trend") * block.window.days / YEAR / 2
    u += np.clip(tilt, -0.8, 0.8)[who] * (u - u * u)
    of_day = seasons(p("purchase.month"), p("purchase.month_third"), p("purchase.holiday"))
    at = instants(curve(block.window, p("purchase.hour"), p("purchase.weekday"), of_day), zone[who], u)
    delay = -np.log(stream.child("again").uniform(rows[late])) * p("purchase.burst_minutes") * 60
    # a chain of events adds its delays up
    chain = np.zeros(len(rows), np.int64)
    chain[late] = 1_000_000 + np.floor(delay).astype(np.int64) * 1_000_000
    run = np.cumsum(chain)
    source = np.maximum.accumulate(np.where(again, 0, np.arange(len(rows))))
    at[late] += run[late] - run[source[late]]
    return np.minimum(at, block.window.end - 1_000_000)


def _weibull(u: F64, power: float) -> NDArray[np.int64]:
    np.log(u, out=u)
    np.negative(u, out=u)
    np.power(u, power, out=u)
    return (u * (1 << 20)).astype(np.int64) + 1


def machine_limit(block: Block) -> NDArray[np.int64]:
    """The most that cash machines give out at once and in a day, in minor units, by the country of the account."""
    limit = block.priors("cash.machine_limit_minor")
    return np.array([limit[country] for country in COUNTRIES])


CANDIDATES = 3
"""Merchants that a customer weighs for each usual one: the nearest is taken."""


def _merchant(
    block: Block, stream: Stream, units: U64, zone: NDArray, who: NDArray, category: NDArray, place: NDArray, where: U64
) -> NDArray[np.int64]:
    """A merchant of the category, at home or in the country travelled to: one of the customer's usual ones, which are near, or any by popularity."""
    p, laid = block.priors, cells(block)
    ranks = [_by_quantile(popularity(block, int(size))) for size in laid.size]
    slots, cats = len(p("purchase.usual_number")), len(purchase_categories(block))
    usual, unusual, mover = _usual(block, stream, units, zone, ranks[0], cats)
    # which of the usual ones: the fewer there are, the more often the first
    shares = [table_of(row) for row in p("purchase.usual")]
    number = choose(stream.child("usual", "number").uniform(units), p("purchase.usual_number"))
    pick = np.stack(shares)[number[who], lane(where, 1)]
    habit = lane(where, 3) >= unusual[number[who]]
    row = np.where(place & MOVED, mover[who], who) if (place & MOVED).any() else who
    spot = usual[row, category.astype(np.int64) * slots + pick]
    any_one = (lane(where, 0) >> 4).astype(np.int64)
    rank = np.where(habit, spot, ranks[0][any_one])
    shop = laid.start[zone[who], category] + rank
    abroad = place & (MOVED - 1)
    for code, market in home_market(block).items():
        at = np.flatnonzero(abroad == code)
        if len(at):
            # who stays some days has a usual shop there too
            rows = join_rows(units[who[at]], code * 256 + category[at].astype(np.int64))
            there = stream.child("usual", "abroad").integers(rows, QUANTILES)
            spot = np.where(habit[at] & (pick[at] == 0), there, any_one[at])
            shop[at] = laid.start[market, category[at]] + ranks[market][spot]
    return shop


def _by_quantile(share: F64) -> NDArray[np.int64]:
    """The rank of the merchant at each of `QUANTILES` quantiles of popularity."""
    return np.minimum(np.searchsorted(np.cumsum(share), (np.arange(QUANTILES) + 0.5) / QUANTILES), len(share) - 1)


def _usual(
    block: Block, stream: Stream, units: U64, zone: NDArray, rank: NDArray, cats: int
) -> tuple[NDArray[np.int16], NDArray[np.int64], NDArray[np.int64]]:
    """The ranks of the usual merchants of each customer and category, (customers, and then those who move; categories * slots); below which lane value a customer
    with so many usual ones goes elsewhere; and the row of each customer after a move."""
    p, merchant, laid = block.priors, block.reference["merchant"], cells(block)
    slots = len(p("purchase.usual_number"))
    place = np.arange(cats * slots * CANDIDATES, dtype=np.uint64)
    drawn = rank[stream.child("usual").integers(join_rows(units[:, None], place), QUANTILES)]
    drawn = drawn.reshape(len(units), cats, slots, CANDIDATES)
    east, north = _plane(merchant["longitude"].to_numpy(), merchant["latitude"].to_numpy())
    _, _, numbers = cities(block)
    near = _plane(numbers[:, 1], numbers[:, 0])
    first, second = homes(block, units)
    movers = np.flatnonzero(first != second)
    row = np.arange(len(units))
    row[movers] = len(units) + np.arange(len(movers))
    who, home = np.append(np.arange(len(units)), movers), np.append(first, second[movers])
    shop = laid.start[zone[who]][:, :cats, None, None] + drawn[who]
    away = (east[shop] - near[0][home][:, None, None, None]) ** 2 + (
        north[shop] - near[1][home][:, None, None, None]
    ) ** 2
    nearest = np.argmin(away, axis=3)
    chosen = np.take_along_axis(drawn[who], nearest[..., None], axis=3)[..., 0]
    return chosen.reshape(len(who), cats * slots).astype(np.int16), below(np.array(p("purchase.unusual"))), row


def _plane(longitude: NDArray, latitude: NDArray) -> tuple[NDArray, NDArray]:
    """East and north in kilometres, near enough for telling which of some places is nearest."""
    return longitude * 111.2 * np.cos(np.radians(52.0)), latitude * 111.2


def _answers(block: Block, draw: NDArray[np.uint16], online: NDArray[np.bool_], codes: list[str]) -> NDArray[np.uint8]:
    def answers(declined: Mapping[str, float]) -> NDArray[np.uint8]:
        order = np.array([codes.index("00"), *(codes.index(c) for c in declined)], np.uint8)
        return order[table_of([1 - sum(declined.values()), *declined.values()])]

    at_terminal, remote = answers(block.priors("purchase.declined")), answers(block.priors("purchase.declined_online"))
    return np.where(online, remote[draw], at_terminal[draw])


def _delay(block: Block, draw: NDArray[np.uint16], online: NDArray, cash: NDArray) -> NDArray[np.int64]:
    hours = block.priors("purchase.clearing_hours")
    return _delays(tuple(hours[c] for c in ("present", "online", "cash")), block.priors("purchase.presented_days"))[
        np.where(cash, 2, online.view(np.int8)), draw
    ]


def half_lives(u: F64, hours: float, most_days: float) -> F64:
    """How many of some half-lives pass before a payment is cleared: none takes so many days."""
    last = 2.0 ** (-24 * most_days / max(hours, 1e-9))
    return -np.log2(last + (1 - last) * u)


@lru_cache(8)
def _delays(hours: tuple[float, ...], most_days: float) -> NDArray[np.int64]:
    """The delay of each half-life at each lane value."""
    u = (np.arange(LANES) + 0.5) / LANES
    seconds = np.stack([np.floor(half_lives(u, h, most_days) * h * HOUR / 1e6) for h in hours])
    found = seconds.astype(np.int64) * 1_000_000
    found.flags.writeable = False
    return found


def device_used(block: Block, tables: Tables, who: NDArray, at: NDArray[np.int64], draw: NDArray[np.uint16]) -> U64:
    """The address of the device used: any of the customer's that has been seen by then, else the first."""
    device = tables["device"]
    count = np.bincount(device["customer_id"].to_numpy() - block.first, minlength=block.last - block.first)
    first = np.cumsum(count) - count
    place = first[who] + draw % count.astype(np.uint32)[who]
    seen = device["first_seen_at"].to_numpy()[place] <= at
    return device[ROW].to_numpy()[np.where(seen, place, first[who])]
