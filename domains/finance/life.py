"""What happens to customers within the window: they come, travel, move house, change job, leave."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ...core.domain import Block
from ...core.stream import U64, join_rows
from .calendar import DAY
from .draws import choose, poisson, siblings
from .people import COUNTRIES, city_of, heads, markets, origins

YEAR = 365.25
NEVER, FOREVER = 1 << 30, 1 << 62
"""A day, and an instant, beyond any window."""
MOVED = 0x80
"""The bit of `whereabouts` that says that the household has moved."""


def days(block: Block) -> int:
    """Days of the window, those that begin or end within it included."""
    return int(-(-block.window.end // DAY) - block.window.start // DAY)


def whereabouts(block: Block) -> NDArray[np.uint8]:
    """For each customer of the block and day of the window, where they are: 0 at home, n in the n-th country that people travel to, and `MOVED` added once
    they live at a new address. Shape (customers, days)."""
    p, units, span = block.priors, block.units, days(block)
    stream = block.stream.child("trip")
    where = np.zeros((len(units), span), np.uint8)
    # a trip that began before the window may reach into it
    lead = 30
    n = poisson(stream.child("count").uniform(units), np.full(len(units), p("trip.per_year") * (span + lead) / YEAR))
    who, k = siblings(n)
    rows = join_rows(units[who], k)
    first = np.floor(stream.child("begin").uniform(rows) * (span + lead)).astype(np.int64) - lead
    # whole days, at least one: a geometric with the published mean
    length = 1 + np.floor(np.log(stream.child("nights").uniform(rows)) / np.log(1 - 1 / p("trip.days"))).astype(
        np.int64
    )
    country = 1 + choose(stream.child("country").uniform(rows), p("merchant.abroad").values())
    begin, end = np.clip(first, 0, span), np.clip(first + length, 0, span)
    for at in range(int((end - begin).max(initial=0))):
        here = np.flatnonzero(begin + at < end)
        where[who[here], begin[here] + at] = country[here]
    since = moved_on(block, units) - block.window.start // DAY
    where |= np.where(np.arange(span)[None, :] >= since[:, None], MOVED, 0).astype(np.uint8)
    return where


def moved_on(block: Block, units: U64) -> NDArray[np.int64]:
    """The day (since 1970) on which each customer's household moves; NEVER for those who stay."""
    return _once(block, "move", heads(block, units), block.priors("customer.moves"))


def homes(block: Block, units: U64) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The city of each customer's household, before and after a move: positions in `people.cities`. Who stays has one."""
    head, stream = heads(block, units), block.stream.child("household")
    german = origins(block, units)[0].astype(np.int64)
    first, second = (city_of(block, german, stream.child(name).uniform(head)) for name in ("city", "next"))
    return first, np.where(moved_on(block, units) < NEVER, second, first)


def joined_on(block: Block, units: U64) -> NDArray[np.int64]:
    """The day (since 1970) on which a customer comes to the bank; NEVER for those who were there before."""
    return _once(block, "joined", units, block.priors("customer.joins"))


def left_on(block: Block, units: U64) -> NDArray[np.int64]:
    """The day (since 1970) on which a customer's accounts are closed; NEVER for those who stay. Who comes within the window stays to its end."""
    day = _once(block, "left", units, block.priors("customer.leaves"))
    return np.where(joined_on(block, units) == NEVER, day, NEVER)


def last_used(block: Block, units: U64) -> NDArray[np.int64]:
    """The instant (microseconds since 1970) from which customers who leave use nothing any more: the day on which all is paid out. FOREVER for those
    who stay."""
    left = left_on(block, units)
    return np.where(left < NEVER, left * DAY, FOREVER)


def job_changed_on(block: Block, units: U64) -> NDArray[np.int64]:
    """The day (since 1970) from which another employer pays; NEVER for those who stay."""
    return _once(block, "job", units, block.priors("customer.job_changes"))


def _once(block: Block, event: str, rows: U64, per_year: float) -> NDArray[np.int64]:
    u = block.stream.child("life", event).uniform(rows)
    share = min(per_year * block.window.days / YEAR, 1.0)
    day = block.window.start // DAY + np.floor(u / max(share, 1e-12) * block.window.days).astype(np.int64)
    return np.where(u < share, day, NEVER)


def home_market(block: Block) -> dict[int, int]:
    """Which market a trip's country is, by the number that `whereabouts` gives it."""
    return {n + 1: len(COUNTRIES) + n for n in range(len(markets(block)) - len(COUNTRIES))}
