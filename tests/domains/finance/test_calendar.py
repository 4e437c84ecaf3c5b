"""Days on which banks work: what is due on others comes on the next, and pay on the last before."""

from __future__ import annotations

import datetime as dt

import numpy as np
import polars as pl
import pytest
from holidays import country_holidays

from populace.core.dataset import Dataset
from populace.domains.finance.calendar import working_day

PLACES = (("GB", "ENG"), ("DE", None))
FREE = [country_holidays(c, subdiv=s, years=range(2024, 2027)) for c, s in PLACES]


def works(day: dt.date, zone: int) -> bool:
    return day.weekday() < 5 and day not in FREE[zone]


def shifted(day: dt.date, zone: int, step: int) -> dt.date:
    while not works(day, zone):
        day += dt.timedelta(days=step)
    return day


def test_every_day_of_two_years_reckoned_by_hand():
    days = [dt.date(2024, 6, 1) + dt.timedelta(days=n) for n in range(730)]
    number = np.array([(d - dt.date(1970, 1, 1)).days for d in days])
    for zone in (0, 1):
        for later, step in ((True, 1), (False, -1)):
            found = pl.Series(working_day(number, np.full(730, zone), later=later).astype(np.int32)).cast(pl.Date)
            assert found.to_list() == [shifted(d, zone, step) for d in days]


@pytest.mark.parametrize(
    "type_", ["RDDT/ESDD", "ICDT/STDO", "RCDT/SALA", "ICDT/SALA", "CSLN/PPAY", "CSLN/DDWN", "MDOP/CHRG", "MCRD/POSP"]
)
def test_nothing_that_banks_do_by_themselves_is_done_when_they_are_closed(base: Dataset, type_: str):
    # late fees stand on statements, which are cut on any day
    such = (
        base.frames["transaction"]
        .filter(pl.col("account_id") % 8 != 2, type=type_)
        .select("account_id", "authorised_at")
    )
    assert such.height > 20
    home = base.frames["account"].select("account_id", "customer_id").join(
        base.frames["customer"].select("customer_id", "country"), on="customer_id"
    )  # fmt: skip
    for day, country in such.join(home, on="account_id").select(pl.col("authorised_at").dt.date(), "country").rows():
        assert works(day, ("GB", "DE").index(country)), (day, country)


def test_a_bill_for_a_saturday_comes_on_monday(base: Dataset):
    """Of one mandate all collections are on one day of the month, or on the first working day after it."""
    payment = base.frames["transaction"].filter(type="RDDT/ESDD").drop_nulls("merchant_id").join(
        base.frames["account"].select("account_id", "customer_id"), on="account_id"
    ).join(base.frames["customer"].select("customer_id", "country"), on="customer_id")  # fmt: skip
    moved = 0
    for _, mine in list(payment.group_by("account_id", "merchant_id"))[:200]:
        days = mine["authorised_at"].dt.date().to_list()
        zone = ("GB", "DE").index(mine["country"][0])
        due = [n for n in range(1, 29) if all(_collected(d, n, zone) for d in days)]
        assert due, days
        moved += len({d.day for d in days}) > 1
    assert moved > 50


def _collected(day: dt.date, due: int, zone: int) -> bool:
    month = day.replace(day=1)
    return any(
        shifted(first.replace(day=due), zone, 1) == day
        for first in (month, (month - dt.timedelta(days=1)).replace(day=1))
    )


def test_a_cheque_clears_by_the_end_of_the_next_working_day(base: Dataset):
    such = base.frames["transaction"].filter(channel="cheque").filter(pl.col("cleared_at").is_not_null())
    days = such.select(pl.col("authorised_at").dt.date(), cleared=pl.col("cleared_at").dt.date())
    assert such.height > 200
    for written, cleared in days.iter_rows():
        assert cleared == shifted(written + dt.timedelta(days=1), 0, 1)
