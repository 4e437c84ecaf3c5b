"""What happens to customers within the window: they come, travel, move house, change job, leave, die."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from ...core.domain import Block
from ...core.stream import F64, U64, join_rows
from .calendar import DAY, working_day
from .draws import choose, poisson, siblings
from .people import COUNTRIES, ages, businesses, city_of, heads, markets, origins

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


def switched_on(block: Block, units: U64) -> NDArray[np.int64]:
    """The day (since 1970) on which a customer goes to another bank; NEVER for those who stay. Who comes within the window stays to its end."""
    day = _once(block, "left", units, block.priors("customer.leaves"))
    return np.where(joined_on(block, units) == NEVER, day, NEVER)


def died_on(block: Block, units: U64) -> NDArray[np.int64]:
    """The day (since 1970) of the window on which a customer dies; NEVER for the others. Companies outlive their owners; nobody dies who comes or goes."""
    p, window = block.priors, block.window
    u, found = block.stream.child("life", "died").uniform(units), np.full(len(units), NEVER)
    upto, ahead = hazards(p("customer.death")), window.days / YEAR
    # who draws more than the oldest in the worst of years lives on, whatever the age
    oldest = int(np.ceil(p("customer.age_bounds")[-1] + ahead))
    few = np.flatnonzero(-np.log1p(-u) < np.diff(upto[:, : oldest + 1]).max() * ahead)
    if not len(few):
        return found
    some = units[few]
    german, male = origins(block, some)
    age, years = ages(block, some), np.arange(upto.shape[1])
    for n, course in enumerate(upto):
        here = np.flatnonzero(2 * german + male == n)
        then = np.interp(age[here], years, course) - np.log1p(-u[few[here]])
        left = np.interp(then, course, years) - age[here]
        found[few[here]] = window.start // DAY + np.floor(left * YEAR).astype(np.int64)
    none = (joined_on(block, some) < NEVER) | (switched_on(block, some) < NEVER) | businesses(block, some)[1]
    found[few[none]] = NEVER
    return np.where(found * DAY < window.end, found, NEVER)


LIFE = 120
"""Years that nobody passes."""


def hazards(table: Mapping[str, Sequence[float]]) -> F64:
    """The cumulative hazard of death at whole ages, one row for each country and sex: log-linear in the chance of a year between the ages of the table."""
    rows = [table[who] for who in ("GB_female", "GB_male", "DE_female", "DE_male")]
    yearly = np.exp([np.interp(np.arange(LIFE), table["age"], np.log(np.clip(row, 1e-12, 0.999))) for row in rows])
    return np.pad(np.cumsum(-np.log1p(-yearly), axis=1), ((0, 0), (1, 0)))


def told_on(block: Block, units: U64) -> NDArray[np.int64]:
    """The working day (since 1970) of the window from which the bank knows that a customer has died: the accounts are frozen. NEVER for the others."""
    died, told = died_on(block, units), np.full(len(units), NEVER)
    few = np.flatnonzero(died < NEVER)
    if len(few):
        wait = block.priors("death.told_days")
        z = block.stream.child("life", "told").normal(units[few])
        days = np.ceil(wait["median"] * np.exp(wait["log_sigma"] * z)).astype(np.int64)
        told[few] = working_day(died[few] + days, origins(block, units[few])[0].astype(np.int64), later=True)
    return np.where(told * DAY < block.window.end, told, NEVER)


def left_on(block: Block, units: U64) -> NDArray[np.int64]:
    """The day (since 1970) on which a customer's accounts are closed: who goes to another bank, and who has died, once the estate is paid out."""
    told = told_on(block, units)
    left, few = switched_on(block, units), np.flatnonzero(told < NEVER)
    if len(few):
        p, rows, stream = block.priors, units[few], block.stream.child("life", "estate")
        granted = stream.child("granted").uniform(rows) < p("death.probate")
        least, most = (
            np.where(granted, p("death.closed_days")[f"{x}_granted"], p("death.closed_days")[x])
            for x in ("least", "most")
        )
        days = np.floor(least + (most - least) * stream.child("days").uniform(rows)).astype(np.int64)
        day = working_day(told[few] + days, origins(block, rows)[0].astype(np.int64), later=True)
        left[few] = np.where((day + 1) * DAY <= block.window.end, day, NEVER)
    return left


def stay(block: Block, units: U64) -> NDArray[np.bool_]:
    """Whether customers are there to the end of the window: they neither die nor leave."""
    return (switched_on(block, units) == NEVER) & (died_on(block, units) == NEVER)


def last_used(block: Block, units: U64) -> NDArray[np.int64]:
    """The instant (microseconds since 1970) from which customers use nothing any more: the day of their death, or the one on which all is paid out to
    another bank. FOREVER for those who stay."""
    until = np.minimum(died_on(block, units), switched_on(block, units))
    return np.where(until < NEVER, until * DAY, FOREVER)


def stopped(block: Block, units: U64) -> NDArray[np.int64]:
    """The instant from which nothing that was once arranged is paid or comes in any more: of the dead the day on which the bank is told."""
    until = np.minimum(told_on(block, units), switched_on(block, units))
    return np.where(until < NEVER, until * DAY, FOREVER)


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
