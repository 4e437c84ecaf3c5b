"""Diseases. Chronic ones follow prevalence by age through each patient's liability; acute ones are Poisson by age and sex."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ...core.domain import Block
from ...core.priors import Priors
from ...core.samplers.rules import choose
from ...core.stream import Stream, join_rows
from ...core.tables import ROW, Table, Tables
from .curves import DAY, MINUTE, YEAR, any_time, at_age, by_sex, midnight, office_time
from .physiology import OBESE, adult_bmi_median

AGES = np.arange(0.0, 110.5, 0.5)
OBESITY = "E66.9"
TRAIT_OF = {"I10": "pressure", "E11.9": "glycaemia", "E78.5": "lipids", "N18.9": "renal", OBESITY: "mass"}
SPREAD_OF = {"I10": "systolic", "E11.9": "hba1c", "E78.5": "ldl_log", "N18.9": "creatinine_log"}
"""The measurement that a diagnosis rests on."""
SEASON_OF = {"J11.1": "influenza", "J18.9": "influenza", "J06.9": "respiratory", "H66.90": "respiratory"}
CLASSES = ("AMB", "EMER", "IMP")
AMBULATORY, INPATIENT = 0, 2
MOST_EPISODES = 6
BORN, BY_CESAREAN = "Z38.00", "Z38.01"
"""Of a newborn's stay in hospital: delivered vaginally, by cesarean."""
Found = dict[str, Any]
"""The diagnoses of one code: the code, and arrays."""
COLUMNS = (
    ROW,
    "patient_id",
    "code",
    "onset_at",
    "abatement_at",
    "encounter_row",
    "care_class",
    "care_start",
    "care_end",
)


def chronic_codes(priors: Priors) -> list[str]:
    return [*_below(priors, "chronic"), OBESITY]


def acute_codes(priors: Priors) -> list[str]:
    return _below(priors, "acute")


def _below(priors: Priors, group: str) -> list[str]:
    return [name.removeprefix(f"{group}.") for name in priors if name.startswith(f"{group}.")]


def conditions(block: Block, tables: Tables) -> Tables:
    """One row per diagnosis. Helper columns: `encounter_row`, `care_class`, `care_start` and `care_end` of the encounter in which it
    is found, null for chronic conditions that are older than the window."""
    patient = tables["patient"]
    parts = [_chronic(block, patient, code) for code in chronic_codes(block.priors)]
    parts += [_acute(block, patient, code) for code in acute_codes(block.priors)]
    parts += [_birth(block, patient, code) for code in (BORN, BY_CESAREAN)]
    columns = {name: np.concatenate([part[name] for part in parts]) for name in parts[0] if name != "code"}
    codes = pl.Series("code", [part["code"] for part in parts])[
        np.repeat(np.arange(len(parts)), [len(p[ROW]) for p in parts])
    ]
    seen, over = (pl.Series(columns.pop(name)) for name in ("seen", "over"))
    found = pl.DataFrame(columns).with_columns(codes, pl.Series("care_class", CLASSES)[columns["care_class"]])
    within = pl.when(seen).then(pl.col("encounter_row", "care_class", "care_start", "care_end"))
    return {"condition": found.with_columns(pl.when(over).then("abatement_at"), within).select(COLUMNS)}


def prevalence(priors: Priors, code: str, sex: str) -> NDArray[np.float64]:
    """Share of people of a sex who have the condition, at each of `AGES`."""
    if code != OBESITY:
        return at_age(priors(f"chronic.{code}"), sex, AGES)
    from scipy.special import ndtr

    body = priors("body.bmi")
    sigma = body["sigma"][sex == "male"]
    share = ndtr(np.log(adult_bmi_median(priors, AGES, sex) / OBESE) / sigma)
    return share * np.clip((AGES - 18) / 2, 0, 1)


def youngest(priors: Priors, code: str) -> float:
    """Completed years below which nobody has a chronic condition: where its prevalence leaves zero, less the day that onset is rounded by."""
    leaves = min(AGES[np.argmax(prevalence(priors, code, sex) > 0) - 1] for sex in ("female", "male"))
    return float(np.floor(leaves - 1 / 365))


def span(curve: NDArray, u: NDArray) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """First and last age at which a prevalence curve lies above each u: nan and nan if never, inf if it still does at the end."""
    rising = np.maximum.accumulate(curve)
    falling = np.maximum.accumulate(curve[::-1])
    first = np.interp(u, rising, AGES)
    last = np.interp(u, falling, AGES[::-1])
    last = np.where(u < curve[-1], np.inf, last)
    never = u >= rising[-1]
    return np.where(never, np.nan, first), np.where(never, np.nan, last)


def liability(block: Block, patient: Table, code: str) -> NDArray[np.float64]:
    """Uniform on (0, 1) for each patient: the lower, the likelier the condition. It hangs together with the trait that it shows in as one
    measurement does with the usual value: by the share of the spread between people in all of it."""
    own = block.stream.child("condition", code, "liability").normal(patient[ROW].to_numpy())
    trait = TRAIT_OF.get(code)
    if trait is None:
        return _below_normal(own)
    z = patient[f"z_{trait}"].to_numpy()
    between, within = (1.0, 0.0) if code == OBESITY else block.priors("body.spread")[SPREAD_OF[code]]
    share = between / np.hypot(between, within)
    return _below_normal(share * z + np.sqrt(1 - share**2) * own)


def _below_normal(z: NDArray) -> NDArray[np.float64]:
    from scipy.special import ndtr

    return ndtr(-z)


def courses(block: Block, patient: Table, code: str) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """When a chronic condition begins and ends in each patient's life, in microseconds: 2^62 if never."""
    who = np.arange(patient.height)
    return _instants(patient, who, *_ages_of_illness(block, patient, code, who, liability(block, patient, code)))


def _ages_of_illness(
    block: Block, patient: Table, code: str, who: NDArray, u: NDArray
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The ages between which people have a condition by their liability; nan if never, inf if to the end."""
    male = (patient["sex"] == "male").to_numpy()[who]
    women, men = (span(prevalence(block.priors, code, sex), u) for sex in ("female", "male"))
    first, last = (np.where(male, m, w) for m, w in zip(men, women, strict=True))
    return first, last


def _instants(
    patient: Table, who: NDArray, first: NDArray, last: NDArray
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Days of life in microseconds, by ages: 2^62 for never."""
    birth = patient["birth"].to_numpy()[who]
    onset = midnight(np.nan_to_num(birth + first * YEAR, nan=2.0**62))
    return onset, midnight(np.nan_to_num(birth + last * YEAR, nan=2.0**62, posinf=2.0**62))


Spells = tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]
"""Position of the patient, the how-manieth of theirs, begin and end in microseconds: 2^62 if never."""


def spells(block: Block, patient: Table, code: str) -> Spells:
    """When a chronic condition begins and ends in each patient's life: of those that come and go (`spell`) as often as it does."""
    coming = block.priors("spell").get(code)
    if coming is None:
        who = np.arange(patient.height)
        return who, np.zeros(len(who), np.int64), *courses(block, patient, code)
    years, alike = coming
    stream, rows = block.stream.child("condition", code), patient[ROW].to_numpy()
    eras = int(np.ceil(AGES[-1] / years)) + 1
    who, era = np.repeat(np.arange(patient.height), eras), np.tile(np.arange(eras), patient.height)
    since = (np.repeat(stream.child("era").uniform(rows), eras) + era - 1) * years
    own = np.repeat(stream.child("liability").normal(rows), eras)
    anew = stream.child("liability", "era").normal(join_rows(rows[who], era))
    first, last = _ages_of_illness(
        block, patient, code, who, _below_normal(np.sqrt(alike) * own + np.sqrt(1 - alike) * anew)
    )
    begin, end = np.maximum(first, since), np.minimum(last, since + years)
    ill = begin < end  # not where either is nan
    who, era, begin, end, since = (a[ill] for a in (who, era, begin, end, since))
    # an era in which one is ill from its begin on goes on with that of the era before, if that lasted to its end
    goes_on = np.zeros(len(who), bool)
    goes_on[1:] = (who[1:] == who[:-1]) & (era[1:] == era[:-1] + 1) & (begin[1:] == since[1:]) & (end[:-1] == since[1:])
    firsts = np.flatnonzero(~goes_on)
    lasts = np.append(firsts[1:], len(who))[: len(firsts)] - 1
    who, era = who[firsts], era[firsts]
    return who, era, *_instants(patient, who, begin[firsts], np.where(end[lasts] >= AGES[-1], np.inf, end[lasts]))


def _chronic(block: Block, patient: Table, code: str) -> Found:
    stream = block.stream.child("condition", code)
    who, which, onset, abates = spells(block, patient, code)
    own = patient[ROW].to_numpy()[who]
    rows = stream.child("row").bits(np.where(which == 0, own, join_rows(own, which)))
    inside = onset >= patient["first_seen"].to_numpy()[who]
    start = office_time(onset, block.priors("encounter.hours")["office"], stream.child("care time"), rows)
    care = np.full(len(who), AMBULATORY)
    return _finish(block, patient, code, stream, rows, who, onset, abates, inside, start, care)


def _acute(block: Block, patient: Table, code: str) -> Found:
    stream, priors = block.stream.child("condition", code), block.priors
    first, last = patient["first_seen"].to_numpy(), patient["last_seen"].to_numpy()
    years = np.arange(_year(block.window.start), _year(block.window.end - 1) + 1)
    who = np.repeat(np.arange(patient.height), len(years))
    year = np.tile(years, patient.height)
    jan1 = (year - 1970).astype("datetime64[Y]").astype("datetime64[D]").astype(np.int64) * DAY
    birth, male = patient["birth"].to_numpy()[who], (patient["sex"] == "male").to_numpy()[who]
    address = join_rows(patient[ROW].to_numpy()[who], year)
    rate = by_sex(priors(f"acute.{code}"), np.maximum(0, (jan1 - birth) / YEAR + 0.5), male)
    n = _poisson(stream.child("count").uniform(address), rate)
    who, jan1, address = (np.repeat(a, n) for a in (who, jan1, address))
    k = np.arange(len(who)) - np.repeat(np.cumsum(n) - n, n)
    rows = stream.child("row").bits(join_rows(address, k))
    onset = midnight(jan1 + _time_of_year(priors, code, stream, rows) * YEAR)
    inside = (onset >= first[who]) & (onset < last[who])
    who, rows, onset = who[inside], rows[inside], onset[inside]
    median, sigma = priors("episode.days")[code]
    length = median * np.exp(sigma * stream.child("days").normal(rows))
    # exponential, of those who are still ill
    mean = priors("episode.before_care")
    delay = -mean * np.log1p(-stream.child("delay").uniform(rows) * -np.expm1(-length / mean)) * DAY
    kind = choose(stream.child("setting").uniform(rows), priors("setting")[code])
    hours = priors("encounter.hours")
    start = np.where(
        kind == 0,
        office_time(onset + delay, hours["office"], stream.child("care time"), rows),
        any_time(onset, hours["emergency"], stream.child("arrival"), rows),
    )
    abates = midnight(onset + DAY + length * DAY)
    return _finish(block, patient, code, stream, rows, who, onset, abates, np.ones(len(who), bool), start, kind)


def _birth(block: Block, patient: Table, code: str) -> Found:
    """The stay in which a child of the window is born, which ends with its death if it dies in those days. Of one that would go on after the window
    nothing is known yet."""
    stream, priors = block.stream.child("condition", "birth"), block.priors
    birth, last = patient["birth"].to_numpy(), patient["last_seen"].to_numpy()
    rows = stream.child("row").bits(patient[ROW].to_numpy())
    cesarean = stream.child("mode").uniform(rows) < priors("birth.cesarean")
    born = (birth >= block.window.start) & (cesarean == (code == BY_CESAREAN))
    start = any_time(birth, priors("encounter.hours")["admission"], stream.child("hour"), rows)
    start = np.minimum(start, birth + (last - birth) // 2) // MINUTE * MINUTE
    care = np.full(len(birth), INPATIENT)
    end = start + duration(priors, care, stream.child("duration"), rows, code)
    kept = born & (end <= block.window.end) & (birth < last)
    end = np.minimum(end, last)
    columns = {
        ROW: rows, "patient_id": patient["patient_id"].to_numpy(), "onset_at": birth, "abatement_at": end, "over": end < last,
        "encounter_row": stream.child("encounter").bits(rows), "care_class": care, "care_start": start, "care_end": end,
        "seen": kept,
    }  # fmt: skip
    return {"code": code, **{name: values[kept] for name, values in columns.items()}}


def _finish(
    block: Block,
    patient: Table,
    code: str,
    stream: Stream,
    rows: NDArray,
    who: NDArray,
    onset: NDArray,
    abates: NDArray,
    seen: NDArray,
    start: NDArray,
    care: NDArray[np.int64],
) -> Found:
    """Keep what the record can know: conditions found in the window, and chronic ones still active when it opens. `care` is a place in `CLASSES`."""
    first, last = patient["first_seen"].to_numpy()[who], patient["last_seen"].to_numpy()[who]
    end = start + duration(block.priors, care, stream.child("duration"), rows, code)
    # nobody is kept in hospital for what is over
    abates = np.where(seen & (care == INPATIENT), np.maximum(abates, end), abates)
    kept = np.where(seen, (end <= last) & (onset < last), (onset < first) & (abates > first))
    columns = {
        ROW: rows,
        "patient_id": patient["patient_id"].to_numpy()[who],
        "onset_at": onset,
        "abatement_at": abates,
        "over": abates < last,
        "encounter_row": stream.child("encounter").bits(rows),
        "care_class": care,
        "care_start": start,
        "care_end": end,
        "seen": seen,
    }
    return {"code": code, **{name: values[kept] for name, values in columns.items()}}


def duration(
    priors: Priors, care: NDArray[np.int64] | int, stream: Stream, rows: NDArray, reason: str | None = None
) -> NDArray[np.int64]:
    """Microseconds that encounters last, in whole minutes, by their places in `CLASSES`, and stays by their reason too."""
    usual = priors("encounter.minutes")
    usual = {**usual, "IMP": priors("encounter.stay").get(reason, usual["IMP"])}
    median, sigma = np.array([usual[c] for c in CLASSES])[care].T
    return np.maximum(5, np.round(median * np.exp(sigma * stream.normal(rows)))).astype(np.int64) * MINUTE


def _time_of_year(priors: Priors, code: str, stream: Stream, rows: NDArray) -> NDArray[np.float64]:
    u = stream.child("when").uniform(rows)
    season = SEASON_OF.get(code)
    if season is None:
        return u
    edges = np.concatenate(([0.0], np.cumsum(priors("episode.season")[season])))
    return np.interp(u * edges[-1], edges, np.arange(13) / 12)


def _poisson(u: NDArray, rate: NDArray) -> NDArray[np.int64]:
    """Poisson counts by inversion, at most `MOST_EPISODES` (a year's rate is far below one)."""
    term = np.exp(-rate)
    below, count = term.copy(), np.zeros(len(u), np.int64)
    for k in range(1, MOST_EPISODES + 1):
        count += u > below
        term = term * rate / k
        below += term
    return count


def _year(time: int) -> int:
    return int(np.datetime64(time, "us").astype("datetime64[Y]").astype(np.int64)) + 1970
