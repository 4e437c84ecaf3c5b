"""Schooling, work and what a household has, over time. All of it is a function of who somebody is and of the moment, so that the history, what
patients are asked at check-ups and who pays for them agree."""

from __future__ import annotations

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ...core.domain import Block
from ...core.samplers.rules import choose
from ...core.stream import join_rows
from ...core.tables import ROW, Table, Tables
from .curves import DAY, YEAR, at_age

STUDENT, OTHER, UNEMPLOYED, EMPLOYED, RETIRED = range(5)
WORK = ("student", "other", "unemployed", "employed", "retired")
GROWN = 16.0
"""Years: from here on the Current Population Survey asks after work."""
NOTHING = -1
NEVER = 2**62


def history(block: Block, tables: Tables) -> Tables:
    """One row for each time in which nothing changes: level of education, work, income of the household. Of records of others nothing is known."""
    patient = tables["patient"].filter(pl.col("head_birth").is_not_null())
    first, last, birth, head = (patient[c].to_numpy() for c in ("first_seen", "last_seen", "birth", "head_birth"))
    rows, household = patient[ROW].to_numpy(), patient["household_id"].to_numpy().astype(np.uint64)
    everyone = np.arange(patient.height)
    final = schooling(block, rows)
    ages = [*_school_ages(block), None]
    changes = [birth + GROWN * YEAR, birth + _leaves(block, final) * YEAR, birth + retires(block, rows) * YEAR]
    changes += [np.where(final >= n, birth + age * YEAR, NEVER) for n, age in enumerate(ages[:-1])]
    changes += [head + retires(block, household) * YEAR]
    who, at = [everyone], [first]
    for days in changes:
        midnights = (-np.floor_divide(-days, DAY)).astype(np.int64) * DAY
        here = np.flatnonzero((midnights > first) & (midnights < last))
        who.append(here)
        at.append(midnights[here])
    begins = new_years(block.window.start, block.window.end)
    lane, year = np.nonzero((begins > first[:, None]) & (begins < last[:, None]))
    p, t = np.concatenate([*who, lane]), np.concatenate([*at, begins[year]])
    order = np.lexsort((t, p))
    p, t = p[order], t[order]
    found = circumstances_at(block, patient, p, t)
    kept = np.ones(len(p), bool)
    if len(p):
        kept[1:] = p[1:] != p[:-1]
        for values in found:
            kept[1:] |= values[1:] != values[:-1]
    p, t, (level, work, income) = p[kept], t[kept], (values[kept] for values in found)
    ends = np.where(
        np.append(p[1:] == p[:-1], False) if len(p) else kept[kept], np.append(t[1:], NEVER)[: len(t)], NEVER
    )
    levels = list(block.priors("population.education"))
    frame = pl.DataFrame(
        {
            ROW: block.stream.child("circumstance").bits(join_rows(rows[p], t.astype(np.uint64))),
            "patient_id": patient["patient_id"].to_numpy()[p],
            "start_at": t,
            "end_at": pl.Series(ends).set(pl.Series(ends == NEVER), None),
            "education": pl.Series([*levels, None], dtype=pl.String).gather(level),
            "employment": pl.Series([*WORK, None], dtype=pl.String).gather(work),
            "income": pl.Series(income).set(pl.Series(income == NOTHING), None),
        }
    )
    return {"circumstance": frame}


def circumstances_at(
    block: Block, patient: Table, who: NDArray, at: NDArray
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Of the patients at some places, at some moments: place of the level of education and of the work in their lists, and the household's yearly
    income; `NOTHING` where there is none."""
    rows, household = patient[ROW].to_numpy(), patient["household_id"].to_numpy().astype(np.uint64)
    birth, head, until = (patient[c].to_numpy() for c in ("birth", "head_birth", "head_last"))
    year = places(block, at)
    own, theirs = (employed_since(block, units)[who, year] for units in (rows, household))
    z = standing(block, household[who], theirs)
    age = (at - birth[who]) / YEAR
    final = schooling(block, rows)[who]
    level = np.minimum(final, np.searchsorted(np.array(_school_ages(block)), age, side="right") - 1)
    # what a household has is that of a calendar year, unless its head retires in it
    begins = np.concatenate([[block.window.start], new_years(block.window.start, block.window.end)])
    head_age, head_then = ((np.minimum(t, until[who]) - head[who]) / YEAR for t in (begins[year], at))
    retired = age >= retires(block, rows)[who]
    work = _work(block, rows[who], own, z, age, age < _leaves(block, final), retired)
    return level, work, income(block, z, head_age, head_then >= retires(block, household)[who])


def schooling(block: Block, rows: NDArray) -> NDArray[np.int64]:
    """Place of the level of education that each will have reached in the end."""
    shares = block.priors("population.education")
    return choose(block.stream.child("patient", "education").uniform(rows), list(shares.values()))


def _school_ages(block: Block) -> list[float]:
    reached = block.priors("population.education_age")
    return [reached[level] for level in block.priors("population.education")]


def _leaves(block: Block, final: NDArray) -> NDArray[np.float64]:
    """Age at which school or study is over."""
    return np.maximum(GROWN, np.array(_school_ages(block)))[final]


def retires(block: Block, rows: NDArray) -> NDArray[np.float64]:
    """Age at retirement."""
    still = block.priors("work.still")
    u = block.stream.child("circumstance", "retires").uniform(rows)
    return np.interp(-u, -np.array(still["share"]), still["age"])


def _work(
    block: Block, rows: NDArray, since: NDArray, z: NDArray, age: NDArray, learns: NDArray, retired: NDArray
) -> NDArray[np.int64]:
    """What people do, by the employment that began in a year: the worse off a household, the more often nothing."""
    from scipy.special import ndtr

    tie = block.priors("work.income")
    own = block.stream.child("circumstance", "work").normal(join_rows(rows, since))
    u = ndtr(tie * z + np.sqrt(1 - tie**2) * own)
    works = at_age(block.priors("work.share"), "share", age)
    seeks = works * block.priors("work.unemployed")
    does = np.where(u < 1 - works, OTHER, np.where(u < 1 - works + seeks, UNEMPLOYED, EMPLOYED))
    does = np.where(learns, STUDENT, np.where(retired, RETIRED, does))
    return np.where(age < GROWN, NOTHING, does)


def income(block: Block, z: NDArray, age: NDArray, retired: NDArray) -> NDArray[np.int64]:
    """What a household has a year, by its standing and by the age of its head, and whether that one is retired: `NOTHING` where incomes are not known."""
    from scipy.special import ndtr

    known = block.priors("population.income")
    if not known["share"]:
        return np.full(len(z), NOTHING)
    course, still = block.priors("population.income_age"), block.priors("work.still")
    # the course is that of people of an age, of whom so many are retired
    gone = 1 - np.interp(age, still["age"], still["share"])
    left = block.priors("work.pension") ** (retired - gone)
    amount = np.exp(np.interp(ndtr(z), known["share"], np.log(known["amount"])))
    return np.round(amount * np.interp(age, course["age"], course["factor"]) * left, -2).astype(np.int64)


def income_rank(block: Block, household: NDArray) -> NDArray[np.float64]:
    """The share of households that have less than each in the long run, uniform on (0, 1)."""
    return block.stream.child("patient", "income tier").uniform(household)


def standing(block: Block, household: NDArray, since: NDArray) -> NDArray[np.float64]:
    """Where a household stands among all, standard normal, in the employment that its head has since a year (0: since before the window)."""
    from scipy.special import ndtri

    z = ndtri(income_rank(block, household))
    again = since > 0
    alike = block.priors("income.alike")
    anew = block.stream.child("patient", "standing").normal(join_rows(household[again], since[again]))
    z[again] = np.sqrt(alike) * z[again] + np.sqrt(1 - alike) * anew
    return z


def employed_since(block: Block, units: NDArray) -> NDArray[np.int64]:
    """For each unit and each year of the window, the year in which its employment began, 0 for the one in which the window opens."""
    years = year_of(block.window.start) + 1 + np.arange(len(new_years(block.window.start, block.window.end)))
    address = join_rows(np.repeat(units, len(years)), np.tile(years, len(units)))
    moves = block.stream.child("coverage", "change").uniform(address) < block.priors("insurance.change")
    since = np.maximum.accumulate(np.where(moves.reshape(len(units), len(years)), years, 0), axis=1)
    return np.hstack([np.zeros((len(units), 1), np.int64), since])


def places(block: Block, at: NDArray) -> NDArray[np.int64]:
    """Which of the window's years moments are in."""
    return np.searchsorted(new_years(block.window.start, block.window.end), at, side="right")


def new_years(start: int, end: int) -> NDArray[np.int64]:
    """The first instants of the years that begin within the window."""
    years = np.arange(year_of(start) + 1, year_of(end - 1) + 1)
    return (years - 1970).astype("datetime64[Y]").astype("datetime64[us]").astype(np.int64)


def year_of(time: int) -> int:
    return int(np.datetime64(time, "us").astype("datetime64[Y]").astype(np.int64)) + 1970
