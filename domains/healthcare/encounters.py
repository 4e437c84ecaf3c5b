"""Encounters: check-ups by age, the visits in which conditions are found, follow-ups of chronic ones, influenza shots."""

from __future__ import annotations

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ...core.domain import Block
from ...core.stream import join_rows
from ...core.tables import ROW, Table, Tables
from .conditions import AMBULATORY, BORN, BY_CESAREAN, duration
from .curves import DAY, YEAR, office_time
from .reference import EMERGENCY, HOSPITAL, nearest

CHILD, ADULT, CHECK, SYMPTOM, SHOT = "410620009", "162673000", "185349003", "185345009", "127785005"
ROOM, ADMISSION, INTENSIVE = "50849002", "32485007", "305351004"
MONTH = YEAR / 12


def encounters(block: Block, tables: Tables) -> Tables:
    """One row per encounter. Helper columns: `condition_row`, `months` (the scheduled age of a check-up)."""
    patient, condition = tables["patient"], tables["condition"]
    parts = [
        _check_ups(block, patient),
        _care(block, condition),
        _follow_ups(block, patient, condition),
        _influenza_shots(block, patient),
    ]
    frame = pl.concat([p.select(parts[0].columns) for p in parts])
    return {"encounter": place(block, patient, frame)}


def schedule(block: Block) -> NDArray[np.float64]:
    """The ages in months at which anyone is due for a check-up."""
    every = block.priors("wellness.every")
    ages = [*block.priors("wellness.months")]
    for first, last, years in zip(every["age"], [*every["age"][1:], 110], every["years"], strict=True):
        ages += [12.0 * a for a in range(int(first), int(last), int(years))]
    return np.array(ages)


def within(months: NDArray[np.float64]) -> NDArray[np.float64]:
    """The months in which each check-up falls due: one month for infants, as immunisation schedules count a dose at 2 months until 3, or less
    where the next visit comes sooner; later, the time for which the visit is meant, which ends with the next, or with the year of life."""
    gap = np.diff(months, append=np.inf)
    return np.minimum(gap, np.where(months < 24, 1.0, 12.0))


def _check_ups(block: Block, patient: Table) -> Table:
    who, months, rows, start, _ = check_ups(block, patient)
    kind = np.where(months < 264, CHILD, ADULT)
    return _visits(block, patient, who, rows, start, np.ones(len(who), bool), kind, "check-up", months=months)


def check_ups(block: Block, patient: Table) -> tuple[NDArray, NDArray, NDArray, NDArray, NDArray]:
    """The check-ups that each patient keeps in a whole life: position of the patient, scheduled age in months, address, start, end."""
    stream, priors = block.stream.child("encounter", "check-up"), block.priors
    months = schedule(block)
    late = within(months)
    who = np.repeat(np.arange(patient.height), len(months))
    months, late = np.tile(months, patient.height), np.tile(late, patient.height)
    rows = stream.child("row").bits(join_rows(patient[ROW].to_numpy()[who], np.round(months * 100).astype(np.int64)))
    share = np.interp(months / 12, priors("wellness.kept")["age"], priors("wellness.kept")["share"])
    kept = stream.child("kept").uniform(rows) < share
    who, months, late, rows = who[kept], months[kept], late[kept], rows[kept]
    # who comes early in one year comes early in the next: insurers pay for a check-up a year
    habit = np.where(months < 24, 0.0, 1 - priors("wellness.loose"))
    own = stream.child("habit").uniform(patient[ROW].to_numpy())[who]
    slack = habit * own + (1 - habit) * stream.child("slack").uniform(rows)
    due = patient["birth"].to_numpy()[who] + (months + late * slack) * MONTH
    start = office_time(due, priors("encounter.hours")["office"], stream.child("time"), rows)
    end = start + duration(priors, AMBULATORY, stream.child("duration"), rows)
    return who, months, rows, start, end


def _follow_ups(block: Block, patient: Table, condition: Table) -> Table:
    """Every few months from the time a chronic condition is known to the time it abates or the record ends."""
    stream, priors = block.stream.child("encounter", "follow-up"), block.priors
    every = priors("follow_up.months")
    known = condition.filter(pl.col("code").is_in(list(every)))
    who = _index(patient, known["patient_id"])
    gap = known["code"].replace_strict(every, return_dtype=pl.Float64).to_numpy() * MONTH
    rows = known[ROW].to_numpy()
    first, last = patient["first_seen"].to_numpy()[who], patient["last_seen"].to_numpy()[who]
    old = known["care_start"].is_null().to_numpy()
    began = np.where(old, first, known["onset_at"].to_numpy())
    until = np.minimum(last, known["abatement_at"].fill_null(2**62).to_numpy())
    n = np.maximum(0, np.ceil((until - began) / gap)).astype(np.int64)
    at = np.repeat(np.arange(known.height), n)
    k = np.arange(len(at)) - np.repeat(np.cumsum(n) - n, n)
    address = join_rows(rows[at], k)
    # the first gap starts anywhere for those known before the window, the others a full gap after the finding
    phase = np.where(old[at], stream.child("phase").uniform(rows)[at], 1.0)
    due = began[at] + (k + phase + priors("follow_up.range") * (stream.child("slack").uniform(address) - 0.5)) * gap[at]
    start = office_time(
        np.maximum(due, began[at] + DAY), priors("encounter.hours")["office"], stream.child("time"), address
    )
    kept = (stream.child("kept").uniform(address) < priors("follow_up.kept")) & (start < until[at])
    return _visits(
        block,
        patient,
        who[at],
        stream.child("row").bits(address),
        start,
        kept,
        np.full(len(at), CHECK),
        "follow-up",
        reason=known["code"].gather(at),
        condition_row=known[ROW].gather(at),
    )


def _influenza_shots(block: Block, patient: Table) -> Table:
    stream, priors = block.stream.child("encounter", "influenza shot"), block.priors
    first = int(np.datetime64(block.window.start, "us").astype("datetime64[Y]").astype(int)) + 1970
    last = int(np.datetime64(block.window.end, "us").astype("datetime64[Y]").astype(int)) + 1970
    years, season = np.arange(first, last + 1), priors("vaccine.season")
    who = np.repeat(np.arange(patient.height), len(years))
    year = np.tile(years, patient.height)
    rows = stream.child("row").bits(join_rows(patient[ROW].to_numpy()[who], year))
    opens = (year - 1970).astype("datetime64[Y]").astype("datetime64[M]") + (season["month"] - 1)
    day = opens.astype("datetime64[D]").astype(np.int64) + np.floor(
        stream.child("day").uniform(rows) ** season["early"] * season["days"]
    )
    start = office_time(day * DAY, priors("encounter.hours")["office"], stream.child("time"), rows)
    coverage = priors("vaccine.influenza")
    age = (start - patient["birth"].to_numpy()[who]) / YEAR
    group = np.searchsorted(coverage["age"], age, side="right")
    share = np.array([0.0, *coverage["share"]])[group]
    kept = stream.child("kept").uniform(rows) < share
    return _visits(block, patient, who, rows, start, kept, np.full(len(who), SHOT), "influenza shot")


def _care(block: Block, condition: Table) -> Table:
    """The encounters in which conditions are found."""
    found = condition.filter(pl.col("encounter_row").is_not_null())
    emergency, inpatient = pl.col("care_class") == "EMER", pl.col("care_class") == "IMP"
    return found.select(
        pl.col("encounter_row").alias(ROW),
        "patient_id",
        pl.col("care_class").alias("class"),
        pl.when(emergency)
        .then(pl.lit(ROOM))
        .when(inpatient)
        .then(pl.lit(ADMISSION))
        .otherwise(pl.lit(SYMPTOM))
        .alias("type"),
        pl.col("care_start").alias("start_at"),
        pl.col("care_end").alias("end_at"),
        pl.col("code").alias("reason"),
        pl.col(ROW).alias("condition_row"),
        # vaccines are offered at birth as at check-ups
        pl.when(pl.col("code").is_in([BORN, BY_CESAREAN])).then(0.0).alias("months"),
    )


def _visits(
    block: Block,
    patient: Table,
    who: NDArray,
    rows: NDArray,
    start: NDArray,
    kept: NDArray,
    kind: NDArray,
    name: str,
    *,
    reason: pl.Series | None = None,
    condition_row: pl.Series | None = None,
    months: NDArray | None = None,
) -> Table:
    """Ambulatory visits, those that lie within the time that the record covers."""
    stream = block.stream.child("encounter", name, "duration")
    end = start + duration(block.priors, AMBULATORY, stream, rows)
    first, last = patient["first_seen"].to_numpy()[who], patient["last_seen"].to_numpy()[who]
    kept = kept & (start >= first) & (end <= last)
    empty = len(rows)
    return pl.DataFrame(
        {
            ROW: rows,
            "patient_id": patient["patient_id"].to_numpy()[who],
            "class": pl.repeat("AMB", empty, dtype=pl.String, eager=True),
            "type": pl.Series(kind, dtype=pl.String),
            "start_at": start,
            "end_at": end,
            "reason": reason if reason is not None else pl.repeat(None, empty, dtype=pl.String, eager=True),
            "condition_row": condition_row
            if condition_row is not None
            else pl.repeat(None, empty, dtype=pl.UInt64, eager=True),
            "months": months if months is not None else pl.repeat(None, empty, dtype=pl.Float64, eager=True),
        }
    ).filter(pl.Series(kept, dtype=pl.Boolean))


def place(block: Block, patient: Table, frame: Table) -> Table:
    """Where and with whom: the patient's own practice, or the nearest hospital and one of its doctors; and how a stay ends: with the death that it ends at."""
    stream, rows = block.stream.child("encounter", "place"), frame[ROW].to_numpy()
    doctors = block.reference["practitioner"]
    who = _index(patient, frame["patient_id"])
    own = patient["practitioner_id"].to_numpy()[who]
    u, kind = stream.uniform(rows), frame["class"].to_numpy()
    doctor = own.copy()
    for name, specialty in (("EMER", EMERGENCY), ("IMP", HOSPITAL)):
        here = kind == name
        homes = patient.select("state", "postal_code")[who[here]]
        doctor[here] = nearest(block.reference, (specialty,), homes, u[here])
    age = (frame["start_at"].to_numpy() - patient["birth"].to_numpy()[who]) / YEAR
    nursing = (kind == "IMP") & (age >= 65) & (stream.child("nursing").uniform(rows) < block.priors("encounter.snf"))
    died = patient["death_at"].is_not_null().to_numpy()[who]
    expired = died & (frame["end_at"].to_numpy() == patient["last_seen"].to_numpy()[who])
    disposition = np.where(expired, "exp", np.where(nursing, "snf", "home"))
    disposition = pl.Series(disposition).set(pl.Series((kind != "EMER") & (kind != "IMP")), None)
    return frame.with_columns(
        disposition=disposition,
        addendum=pl.lit(None, pl.String),
        organization_id=doctors["organization_id"].gather(doctor),
        practitioner_id=doctors["practitioner_id"].gather(doctor),
    )


def _index(patient: Table, patient_id: pl.Series) -> NDArray[np.int64]:
    """The position in `patient`, whose rows are consecutive units, of each id."""
    return patient_id.to_numpy() - int(patient["patient_id"][0])
