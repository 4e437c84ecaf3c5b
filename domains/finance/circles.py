"""Who knows whom inside the bank: family, friends and small traders among a circle of consecutive customers.

Whether two customers know each other is a draw of the pair, so it is mutual, and a circle is a function of its members' numbers alone.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ...core.domain import Block
from ...core.stream import U64, join_rows
from .people import CIRCLE, origins

CONTACT = 1 << 21
"""Contacts have addresses of their own among a customer's counterparties: CONTACT + the other's place in the circle."""


@dataclass(frozen=True)
class Contacts:
    """One row for each way of each acquaintance, by customer, the one paid most first. All have length n."""

    who: NDArray[np.int64]
    """Position of the customer among the block's units."""
    other: U64
    """The other's unit; may lie beyond the size of the dataset."""
    rows: U64
    """Addresses as counterparties."""
    added: NDArray[np.int64]
    """When the customer first recorded them; the first of each customer's before the window."""


def contacts(block: Block) -> Contacts:
    """The acquaintances of a block's customers, those beyond the size of the dataset too: nothing about the others depends on it."""
    p, stream, units = block.priors, block.stream.child("circle"), block.units
    other = members(units)
    own = np.broadcast_to(units[:, None], other.shape)
    home = np.array(list(p("customer.country").values()))
    # payments are between accounts in one currency: a circle's acquaintances live in one country
    alike = float(((home / home.sum()) ** 2).sum())
    share = p("counterparty.same_bank") * (1 + p("counterparty.people")) / ((CIRCLE - 1) * alike)
    know = stream.child("know").uniform(join_rows(np.minimum(own, other), np.maximum(own, other))) < share
    know &= (own != other) & (origins(block, own.ravel())[0] == origins(block, other.ravel())[0]).reshape(own.shape)
    who, place = np.nonzero(know)
    close = stream.child("close").uniform(join_rows(units[who], place))
    order = np.lexsort((close, who))
    who, place = who[order], place[order]
    count = np.bincount(who, minlength=len(units))
    rank = np.arange(len(who)) - np.repeat(np.cumsum(count) - count, count)
    rows = join_rows(units[who], CONTACT + place)
    before = (stream.child("before").uniform(rows) < p("counterparty.added_before")) | (rank == 0)
    span = (block.window.end - block.window.start) / 1e6
    seconds = np.floor(np.where(before, -1.0, 1.0) * stream.child("added").uniform(rows) * span).astype(np.int64)
    return Contacts(who, other[who, place], rows, block.window.start + seconds * 1_000_000)


def members(units: U64) -> U64:
    """Everyone in each unit's circle, in order: (units, CIRCLE)."""
    first = units // np.uint64(CIRCLE) * np.uint64(CIRCLE)
    return first[:, None] + np.arange(CIRCLE, dtype=np.uint64)
