"""Tables that stand before any customer: merchants and their terminals, employers, exchange rates, the bank's own accounts."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ...core.domain import Block
from ...core.samplers.text import Company, Name
from ...core.schema import Schema
from ...core.stream import U64, Stream
from ...core.tables import ROW, Tables
from .calendar import DAY
from .draws import choose, enum, keep, siblings
from .identifiers import other_ibans
from .life import YEAR
from .people import COUNTRIES, LOCALES, around, cities, city_of, markets, sample

TERMINALS = 64
"""terminal_id = merchant_id * TERMINALS + place."""
BUSY = 60


@dataclass(frozen=True)
class Cells:
    """How merchants are laid out: by market, then category, then popularity, the busiest first."""

    categories: list[str]
    start: NDArray[np.int64]
    """The first merchant of each cell, (markets, categories)."""
    size: NDArray[np.int64]
    """How many there are in each cell of a market, (markets,)."""


def purchase_categories(block: Block) -> list[str]:
    """Categories that a card is used in, in a fixed order."""
    return list(block.priors("purchase.share"))


def bill_categories(block: Block) -> list[str]:
    """Categories that collect by direct debit."""
    return list(block.priors("bill.count"))


def cells(block: Block) -> Cells:
    """Every cell of a market has the same number, so that a category's rare merchants are rare in it, not absent. The countries that people travel to have
    together as many merchants as one home."""
    p = block.priors
    categories = [*purchase_categories(block), *bill_categories(block)]
    home, away = len(COUNTRIES), len(markets(block)) - len(COUNTRIES)
    each = max(4, p("merchant.count") // ((home + 1) * len(categories)))
    size = np.array([each] * home + [max(4, each // away)] * away)
    many = np.repeat(size, len(categories))
    return Cells(categories, (np.cumsum(many) - many).reshape(len(size), len(categories)), size)


def popularity(block: Block, size: int) -> NDArray[np.float64]:
    """The share of purchases of each of a cell's merchants, by the measured curve of visits over relative rank."""
    p = block.priors
    rank = (np.arange(size) + 0.5) / size
    weight = np.exp(np.interp(rank, p("merchant.rank"), np.log(p("merchant.visits"))))
    return weight / weight.sum()


def merchants(schema: Schema):
    """The step that makes `merchant`: sorted by market, then category, then popularity, most popular first."""
    displays = schema.code_lists["mcc_category"].codes
    codes, countries = list(schema.code_lists["mcc"].codes), list(schema.code_lists["country"].codes)

    def run(block: Block, tables: Tables) -> Tables:
        p, stream = block.priors, block.stream.child("merchant")
        laid = cells(block)
        categories = laid.categories
        market, category, weight = [], [], []
        for m, size in enumerate(laid.size):
            market.append(np.full(size * len(categories), m))
            category.append(np.repeat(np.arange(len(categories)), size))
            weight.append(np.tile(popularity(block, int(size)), len(categories)))
        market, category, weight = np.concatenate(market), np.concatenate(category), np.concatenate(weight)
        at = np.arange(len(market), dtype=np.uint64)
        mcc = np.empty(len(at), np.int64)
        for n, name in enumerate(categories):
            mine = [codes.index(m) for m, c in displays.items() if c == name]
            # the first code of a category is its usual one
            pick = choose(stream.child("mcc").uniform(at), 1.0 / np.arange(1, len(mine) + 1))
            mcc = np.where(category == n, np.array(mine)[pick], mcc)
        online = np.array([p("purchase.online").get(c, 1.0) for c in categories])
        online = stream.child("online").uniform(at) < online[category]
        family, next_ = (_families(block, market, stream.child(n), at) for n in ("name", "next name"))
        drawn, share = stream.child("renamed").uniform(at), p("merchant.renamed") * block.window.days / YEAR
        renamed = drawn < share
        day = block.window.start // DAY + np.floor(drawn / max(share, 1e-12) * block.window.days)
        trade = pl.Series(categories).str.to_titlecase().gather(category)
        before, after = family + " " + trade, next_ + " " + trade
        city = city_of(block, market, stream.child("city").uniform(at))
        latitude, longitude = around(block, city, stream, at)
        names, _, _ = cities(block)
        relative = weight * laid.size[market]
        frame = pl.DataFrame(
            {
                "merchant_id": at.astype(np.int64),
                "name": after.zip_with(pl.Series(renamed), before),
                "renamed_on": keep(pl.Series(np.where(renamed, day, 0).astype(np.int32)).cast(pl.Date), renamed),
                "former_name": keep(before, renamed),
                "mcc": enum(mcc, codes),
                "category": enum(
                    np.array([list(schema.code_lists["category"].codes).index(c) for c in categories])[category],
                    schema.code_lists["category"].codes,
                ),
                "country": enum(np.array([countries.index(c) for c in markets(block)])[market], countries),
                "city": pl.Series(names).gather(city),
                "latitude": latitude,
                "longitude": longitude,
                "size": enum(np.searchsorted([1.0, 2.0, 4.0], relative), ["micro", "small", "medium", "large"]),
                "terminals": np.where(online, 0, 1 + np.minimum(np.floor(p("terminal.more") * relative), BUSY)).astype(
                    np.int32
                ),
                "online": online,
                "popularity": weight,
            }
        )
        return {"merchant": frame}

    return run


ABROAD = {"ES": "es_ES", "FR": "fr_FR", "US": "en_US", "JP": "ja_JP"}
"""Whose names merchants abroad have, in their own script; those of other markets have the families of the priors."""


def _families(block: Block, market: NDArray[np.int64], stream: Stream, at: U64) -> pl.Series:
    """The family that each merchant is named after; merchants stand market by market."""
    parts = []
    listed = block.priors("merchant.families")
    for n, country in enumerate(markets(block)):
        here = at[market == n]
        if country in listed:
            names = pl.Series(listed[country].split())
            parts.append(names.gather(stream.child("family").integers(here, len(names))))
            continue
        made = Name(LOCALES.get(country) or ABROAD[country]).sample(pl.DataFrame({ROW: here}), stream)
        parts.append(made["family_name"].cast(pl.String))
    return pl.concat(parts)


def terminals(block: Block, tables: Tables) -> Tables:
    """The tills of shops and the cash machines of those who run them."""
    merchant = tables["merchant"]
    who, k = siblings(merchant["terminals"].to_numpy().astype(np.int64))
    key = merchant["merchant_id"].to_numpy()[who] * TERMINALS + k
    cash = (merchant["category"].cast(pl.String) == "cash").to_numpy()[who]
    fuel = (merchant["mcc"].cast(pl.String) == "5542").to_numpy()[who]
    here = block.stream.child("terminal").uniform(key) < block.priors("terminal.unattended")
    kind = np.where(cash, 1, np.where(fuel | here, 2, 0))
    return {
        "terminal": pl.DataFrame(
            {
                "terminal_id": key,
                "merchant_id": merchant["merchant_id"].to_numpy()[who],
                "kind": enum(kind, ["till", "cash-machine", "unattended"]),
                "city": merchant["city"].gather(who),
                "country": merchant["country"].gather(who),
                "latitude": merchant["latitude"].to_numpy()[who],
                "longitude": merchant["longitude"].to_numpy()[who],
            }
        )
    }


EMPLOYER_KINDS = ("company", "public", "pension", "benefits")


def employers(block: Block, tables: Tables) -> Tables:
    """Who pays people, by country: first the pension fund and the benefits office, then employers by size, the largest first."""
    p, stream = block.priors, block.stream.child("employer")
    each = p("employer.count")
    at = np.arange(len(COUNTRIES) * (each + 2), dtype=np.uint64)
    country, place = np.divmod(at.astype(np.int64), each + 2)
    german = country == 1
    name = sample(lambda locale: Company("company", locale), stream, at, german)["company"]
    public = stream.child("public").uniform(at) < p("employer.public")
    kind = np.where(place < 2, 2 + place, np.where(public, 1, 0))
    fixed = pl.Series(["State Pension Service", "Benefits Office", "Rentenversicherung Test", "Arbeitsamt Test"])
    special = np.flatnonzero(place < 2)
    days = p("salary.day")
    day = np.array([int(d) for d in days])[choose(stream.child("day").uniform(at), days.values())]
    names, _, _ = cities(block)
    share = employer_share(each)
    code = np.array(COUNTRIES)[country]
    return {
        "employer": pl.DataFrame(
            {
                "employer_id": at.astype(np.int64),
                "name": name.scatter(special, fixed),
                "kind": enum(kind, EMPLOYER_KINDS),
                "country": enum(country, COUNTRIES),
                "city": pl.Series(names).gather(city_of(block, country, stream.child("city").uniform(at))),
                "iban": other_ibans(stream.child("iban"), code, at),
                "pay_day": day.astype(np.int32),
                "share": np.where(place < 2, 0.0, share[np.maximum(place - 2, 0)]),
            }
        )
    }


def employer_share(each: int) -> NDArray[np.float64]:
    """Employees by an employer's rank: Zipf's law."""
    weight = 1.0 / np.arange(1, each + 1)
    return weight / weight.sum()


def rates(schema: Schema):
    """The step that makes `fx_rate`: what a euro costs in each currency, day by day, a walk in the logarithm."""
    currencies = schema.code_lists["currency"].codes

    def run(block: Block, tables: Tables) -> Tables:
        table = fx_table(block)
        first = block.window.start // DAY
        level = block.priors("fx.per_euro")
        day, n = (x.ravel() for x in np.indices(table.shape))
        at = np.array([list(currencies).index(c) for c in level])
        return {
            "fx_rate": pl.DataFrame(
                {
                    "fx_rate_id": (first + day) * FX + n,
                    "day": pl.Series((first + day).astype(np.int32)).cast(pl.Date),
                    "currency": enum(at[n], currencies),
                    "per_euro": table.ravel(),
                }
            ).sort("fx_rate_id")
        }

    return run


FX = 32


def fx_table(block: Block) -> NDArray[np.float64]:
    """Units of each currency of `fx.per_euro` for a euro, (days of the window and a month more, currencies); the euro itself costs 1."""
    p, first = block.priors, block.window.start // DAY
    level = p("fx.per_euro")
    days = int(-(-block.window.end // DAY) - first) + 40
    rates = np.ones((days, len(level)))
    for n, (name, value) in enumerate(level.items()):
        if name != "EUR":
            # by the day, so that a longer window goes on from a shorter one; banks do not trade on weekends
            step = block.stream.child("fx", name).normal(first + np.arange(days)) * p("fx.daily_volatility")
            step[(first + np.arange(days) + 3) % 7 >= 5] = 0.0
            rates[:, n] = np.round(value * np.exp(np.cumsum(step)), 6)
    return rates


def internal_accounts(schema: Schema):
    """The step that makes `internal_account`: one for each purpose and currency."""
    purposes, currencies = (list(schema.code_lists[name].codes) for name in ("purpose", "currency"))

    def run(block: Block, tables: Tables) -> Tables:
        n = np.arange(len(purposes) * len(currencies))
        purpose, currency = np.divmod(n, len(currencies))
        return {
            "internal_account": pl.DataFrame(
                {
                    "internal_account_id": n,
                    "purpose": enum(purpose, purposes),
                    "currency": enum(currency, currencies),
                }
            )
        }

    return run
