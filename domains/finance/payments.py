"""Payments: card purchases and cash, then everything that moves from account to account."""

from __future__ import annotations

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ...core.domain import Block
from ...core.schema import Schema
from ...core.stream import F64, U64, Stream, join_rows
from ...core.tables import ROW, Tables
from .calendar import DAY, HOUR, curve, instants
from .draws import LANES, below, enum, keep, lane, poisson, siblings, table_of
from .parties import ACCOUNTS, CARDS, CREDIT, YEAR
from .reference import MARKETS, purchase_categories

MONTH = 30.4375
QUANTILES = 4096
PURCHASE = 1
"""Kinds of transaction: each addresses its rows below the customer's in a range of its own."""

FACTS = (
    "account_id", "card_id", "device_row", "merchant_id", "counterparty_row", "counterparty_account_id", "channel", "type",
    "direction", "mcc", "amount_minor", "currency", "authorised_at", "cleared_at", "reversed_at", "response_code",
    "entry_mode", "country",
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


def complete(frame: pl.DataFrame, types: dict[str, pl.DataType]) -> pl.DataFrame:
    """The frame with every fact, absent ones null, in one order and one set of types."""
    have = frame.columns
    return frame.select((pl.col(c).cast(d) if c in have else pl.lit(None, d).alias(c)) for c, d in types.items())


def purchases(schema: Schema):
    """The step that makes card payments and cash withdrawals: the bulk of `transaction`, so every column is one array operation."""
    types = fact_types(schema)
    lists = {n: list(types[n].categories) for n in ("channel", "type", "currency", "response_code", "entry_mode")}  # type: ignore[attr-defined]

    def run(block: Block, tables: Tables) -> Tables:
        p, units, stream = block.priors, block.units, block.stream.child("purchase")
        customer = tables["customer"]
        merchant = block.reference["merchant"]
        zone = customer["country"].to_physical().to_numpy().astype(np.int64)
        n = poisson(stream.child("count").uniform(units), purchase_rate(block) * block.window.days / MONTH)
        who, k = siblings(n)
        rows = join_rows(join_rows(units, PURCHASE)[who], k)
        at = _times(block, stream, units, zone, n, who, rows)

        categories = purchase_categories(block)
        what, where, how = (stream.child(name).bits(rows) for name in ("what", "where", "how"))
        category = table_of(p("purchase.share").values())[lane(what, 0)]
        market = np.where(lane(what, 1) < below(p("purchase.abroad")), 2, zone[who]).astype(np.uint8)
        shop = _merchant(block, stream, units, who, category, market, where, len(categories))
        online = merchant["online"].to_numpy()[shop]
        cash = category == categories.index("cash") if "cash" in categories else np.zeros(len(rows), bool)

        mu, sigma = (np.array(list(p(f"purchase.log_{x}").values())) for x in ("mean", "sigma"))
        amount = np.exp(mu[category] + sigma[category] * stream.child("amount").normal(rows)) * 100
        # machines give notes of ten
        amount = np.where(cash, np.maximum(np.round(amount, -3), 1000), np.maximum(np.floor(amount), 1)).astype(
            np.int64
        )

        holds = np.zeros(len(units), bool)
        credit = tables["account"].filter(pl.col("type") == "credit")["customer_id"].to_numpy()
        holds[credit - block.first] = True
        on_credit = holds[who] & (lane(what, 2) < below(p("purchase.credit_share"))) & ~cash
        current_id = units.astype(np.int64) * ACCOUNTS
        account = current_id[who] + on_credit * CREDIT
        issued = _issued(block, tables)
        valid = int(p("card.validity_years") * YEAR)
        card = account * CARDS + (at // DAY - issued[who, on_credit.view(np.int8)]) // valid

        answer = _answers(block, lane(how, 0), online, lists["response_code"])
        approved = answer == 0
        void = approved & online & (lane(how, 1) < below(p("purchase.void")))
        booked = approved & ~void
        refund = booked & (lane(how, 2) < below(np.array(list(p("purchase.refund").values())))[category])
        cleared = at + _delay(block, lane(how, 3), online, cash)
        back = np.floor(-np.log(stream.child("back").uniform(rows[refund])) * p("purchase.refund_days") * 86_400)
        reversed_at = at + (lane(where, 3).astype(np.int64) % 3_600) * 1_000_000
        reversed_at[refund] = cleared[refund] + back.astype(np.int64) * 1_000_000

        device = device_used(block, tables, who, at, lane(what, 3))
        entry = table_of(p("purchase.entry_mode").values())[lane(where, 2)]
        entry = np.array([lists["entry_mode"].index(m) for m in p("purchase.entry_mode")], np.uint8)[entry]
        entry[online] = lists["entry_mode"].index("81")
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
                "direction": enum(np.zeros(len(rows), np.int8), types["direction"].categories),  # type: ignore[attr-defined]
                "mcc": merchant["mcc"].gather(shop),
                "amount_minor": amount,
                "currency": customer["currency"].gather(who),
                "authorised_at": at,
                "cleared_at": keep(cleared, booked),
                "reversed_at": keep(reversed_at, void | refund),
                "response_code": enum(answer, lists["response_code"]),
                "entry_mode": enum(entry, lists["entry_mode"]),
                "country": merchant["country"].gather(shop),
            }
        )
        return {"transaction": complete(frame, types)}

    return run


def _issued(block: Block, tables: Tables) -> NDArray[np.int64]:
    """The day that the oldest card of each customer's current and credit account was issued: one row a customer, two columns."""
    oldest = tables["card"].filter(pl.col("card_id") % CARDS == 0)
    customer, place = np.divmod(oldest["account_id"].to_numpy(), ACCOUNTS)
    days = np.zeros((block.last - block.first, 2), np.int64)
    days[customer - block.first, (place == CREDIT).astype(np.int8)] = oldest["issued_on"].to_physical().to_numpy()
    return days


def purchase_rate(block: Block) -> F64:
    """Card transactions a month that each customer is expected to make: log-normal, rising with income."""
    p, units = block.priors, block.units
    sigma, rho = p("purchase.rate_log_sigma"), p("purchase.income_correlation")
    z = rho * block.stream.child("customer", "income").normal(units)
    z += np.sqrt(1 - rho**2) * block.stream.child("purchase", "rate").normal(units)
    return p("purchase.per_month") * np.exp(sigma * z - sigma**2 / 2)


def _times(
    block: Block, stream: Stream, units: U64, zone: NDArray, n: NDArray, who: NDArray, rows: U64
) -> NDArray[np.int64]:
    """Moments in order within each customer: a renewal process with Weibull gaps, run on the clock of the calendar curve."""
    shape = 1 / block.priors("purchase.interarrival_shape")
    # whole numbers, so that sums are exact and a customer's times do not depend on who else is in the block
    gap = _weibull(stream.child("gap").uniform(rows), shape)
    last = _weibull(stream.child("last").uniform(units), shape)
    total = np.cumsum(gap)
    ends = np.cumsum(n)
    before = np.where(ends - n > 0, total[np.maximum(ends - n, 1) - 1], 0) if len(total) else np.zeros(len(n), np.int64)
    upto = np.where(n > 0, total[np.maximum(ends, 1) - 1], before) if len(total) else before
    span = upto - before + last
    u = (total - before[who]) / span[who]
    p = block.priors
    return instants(curve(block.window, p("purchase.hour"), p("purchase.weekday")), zone[who], u)


def _weibull(u: F64, power: float) -> NDArray[np.int64]:
    np.log(u, out=u)
    np.negative(u, out=u)
    np.power(u, power, out=u)
    return (u * (1 << 20)).astype(np.int64) + 1


def _merchant(
    block: Block,
    stream: Stream,
    units: U64,
    who: NDArray,
    category: NDArray,
    market: NDArray,
    where: U64,
    categories: int,
) -> NDArray[np.int64]:
    """A merchant of the category and market: one of the customer's usual ones, or any by popularity."""
    p = block.priors
    merchant = block.reference["merchant"]
    each = len(merchant) // (MARKETS * (categories + len(p("bill.count"))))
    share = merchant["popularity"].to_numpy()[:each]
    rank = np.minimum(np.searchsorted(np.cumsum(share), (np.arange(QUANTILES) + 0.5) / QUANTILES), each - 1)
    slots = len(p("purchase.usual"))
    place = np.arange(categories * slots, dtype=np.uint64)
    usual = stream.child("usual").integers(join_rows(units[:, None], place), QUANTILES).astype(np.int16)
    slot = table_of(p("purchase.usual"))[lane(where, 1)]
    any_one = (lane(where, 0) >> 4).astype(np.int16)
    habit = lane(where, 3) < below(p("purchase.habit"))
    at = np.where(habit, usual[who, category.astype(np.int64) * slots + slot], any_one)
    cell = market.astype(np.int64) * (categories + len(p("bill.count"))) + category
    return cell * each + rank[at]


def _answers(block: Block, draw: NDArray[np.uint16], online: NDArray[np.bool_], codes: list[str]) -> NDArray[np.uint8]:
    declined = block.priors("purchase.declined")
    order = np.array([codes.index("00"), *(codes.index(c) for c in declined)], np.uint8)

    def answers(factor: float) -> NDArray[np.uint8]:
        shares = np.array(list(declined.values())) * factor
        return order[table_of([1 - shares.sum(), *shares])]

    at_terminal, remote = answers(1.0), answers(block.priors("purchase.declined_online_factor"))
    return np.where(online, remote[draw], at_terminal[draw])


def _delay(block: Block, draw: NDArray[np.uint16], online: NDArray, cash: NDArray) -> NDArray[np.int64]:
    spread = -np.log2((np.arange(LANES) + 0.5) / LANES)
    hours = block.priors("purchase.clearing_hours")
    seconds = np.stack([np.floor(spread * hours[c] * HOUR / 1e6) for c in ("present", "online", "cash")])
    return (seconds.astype(np.int64) * 1_000_000)[np.where(cash, 2, online.view(np.int8)), draw]


def device_used(block: Block, tables: Tables, who: NDArray, at: NDArray[np.int64], draw: NDArray[np.uint16]) -> U64:
    """The address of the device used: any of the customer's that has been seen by then, else the first."""
    device = tables["device"]
    count = np.bincount(device["customer_id"].to_numpy() - block.first, minlength=block.last - block.first)
    first = np.cumsum(count) - count
    place = first[who] + draw % count[who]
    seen = device["first_seen_at"].to_numpy()[place] <= at
    return device[ROW].to_numpy()[np.where(seen, place, first[who])]
