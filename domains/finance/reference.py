"""Tables that stand before any customer: merchants and the bank's own accounts."""

from __future__ import annotations

import numpy as np
import polars as pl

from ...core.domain import Block
from ...core.samplers.text import Address, Name
from ...core.schema import Schema
from ...core.tables import Tables
from .draws import choose, enum
from .people import sample

MARKETS = 3
"""Where a merchant sells: Britain, Germany, abroad."""


def purchase_categories(block: Block) -> list[str]:
    """Categories that a card is used in, in a fixed order."""
    return list(block.priors("purchase.share"))


def bill_categories(block: Block) -> list[str]:
    """Categories that collect by direct debit."""
    return list(block.priors("bill.count"))


def merchants(schema: Schema):
    """The step that makes `merchant`: sorted by market, then category, then popularity, most popular first."""
    displays = schema.code_lists["mcc_category"].codes
    codes, countries = list(schema.code_lists["mcc"].codes), list(schema.code_lists["country"].codes)

    def run(block: Block, tables: Tables) -> Tables:
        p, stream = block.priors, block.stream.child("merchant")
        share = p("purchase.share")
        categories = [*share, *bill_categories(block)]
        # every cell has the same number, so that a category's rare merchants are rare in it, not absent
        each = max(4, p("merchant.count") // (MARKETS * len(categories)))
        total = MARKETS * len(categories) * each
        at = np.arange(total, dtype=np.uint64)
        cell, rank = np.divmod(np.arange(total), each)
        market, category = np.divmod(cell, len(categories))
        abroad = p("merchant.abroad")
        away = np.array([countries.index(c) for c in abroad])[
            choose(stream.child("country").uniform(at), abroad.values())
        ]
        country = np.where(market == 2, away, market)
        mcc = np.empty(total, np.int64)
        for n, name in enumerate(categories):
            mine = [codes.index(m) for m, c in displays.items() if c == name]
            # the first code of a category is its usual one
            u = stream.child("mcc").uniform(at)
            pick = choose(u, 1.0 / np.arange(1, len(mine) + 1))
            mcc = np.where(category == n, np.array(mine)[pick], mcc)
        online = np.array([p("purchase.online").get(c, 1.0) for c in categories])
        weight = (rank + 1.0) ** -p("merchant.zipf")
        weight /= (np.arange(1, each + 1) ** -p("merchant.zipf")).sum()
        german = market == 1
        family = sample(Name, stream.child("name"), at, german)["family_name"]
        frame = pl.DataFrame(
            {
                "merchant_id": at.astype(np.int64),
                "mcc": enum(mcc, codes),
                "category": enum(
                    np.array([list(schema.code_lists["category"].codes).index(c) for c in categories])[category],
                    schema.code_lists["category"].codes,
                ),
                "country": enum(country, countries),
                "city": sample(Address, stream.child("place"), at, german)["city"],
                "online": stream.child("online").uniform(at) < online[category],
                "popularity": weight,
            }
        )
        return {
            "merchant": frame.with_columns(name=family + " " + frame["category"].cast(pl.String).str.to_titlecase())
        }

    return run


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
