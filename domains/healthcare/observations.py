"""Vital signs and laboratory results: what is measured depends on the encounter, the values on the body. Beside them stand what adults were asked, and the causes of deaths."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ...core.domain import Block
from ...core.stream import join_rows
from ...core.tables import ROW, Table, Tables
from . import blood
from . import physiology as body
from .curves import MINUTE, YEAR
from .deaths import certificates
from .physiology import Body
from .population import TRAITS
from .surveys import answers

LINKED = {body.DIASTOLIC: body.SYSTOLIC, body.HDL: body.LDL, body.TRIGLYCERIDES: body.LDL}
LINKED |= dict.fromkeys((blood.PHOSPHATASE, blood.UREA, blood.CHLORIDE, blood.SODIUM), blood.ALBUMIN)
LINKED |= dict.fromkeys((blood.HEMATOCRIT, blood.ERYTHROCYTES, blood.LEUKOCYTES), blood.HEMOGLOBIN)
"""Codes that are always measured together with another."""
TYPE_1 = ("E10.9", "46635009")
"""Type 1 diabetes: ICD-10-CM, and the code of our module (SNOMED CT)."""
EXPIRED = "exp"
SHOWN = ("I10", "E11.9", "E78.5", "N18.9")
"""Conditions that values show."""


def observations(block: Block, tables: Tables) -> Tables:
    """One row per value measured, answered or certified. Helper column: `encounter_row`."""
    return {"observation": recorded([measured(block, tables), answers(block, tables), certificates(block, tables)])}


def recorded(parts: Sequence[Table]) -> Table:
    """The rows of all, with the columns that only scenarios fill."""
    empty = {c: pl.lit(None, pl.String) for c in ("absent", "status")}
    return pl.concat(parts, how="diagonal").with_columns(**empty, orphan=pl.lit(None, pl.Boolean))


def measured(block: Block, tables: Tables) -> Table:
    """What is measured at the encounters of `tables`, by their type and reason."""
    rounds = _rounds(block, tables)
    bodies = _bodies(block, tables, rounds)
    kinds = {column: _told_apart(rounds[column]) for column in ("type", "reason")}
    failing, once = block.priors("dying"), block.priors("panel.once")
    begun = rounds["begun"].to_numpy()
    dying = np.clip(1 - rounds["left"].fill_null(np.inf).to_numpy() / (failing["hours"] * 60 * MINUTE), 0, 1)
    parts = []
    for code in body.VALUES:
        due = _due(block, code, kinds, bodies) & (begun if code in once else True)
        who = np.flatnonzero(due)
        those = bodies.take(who)
        value = body.measure(those, code) + _effect(block, code, kinds["reason"], who)
        if code in failing["add"]:
            value = value + failing["add"][code] * dying[who]
        parts.append(
            pl.DataFrame(
                {
                    ROW: block.stream.child("observation", code).bits(bodies.rows[who]),
                    "patient_id": rounds["patient_id"].gather(who),
                    "encounter_row": rounds["encounter_row"].gather(who),
                    "code": pl.repeat(code, len(who), dtype=pl.String, eager=True),
                    "at": rounds["at"].gather(who),
                    "value": body.report(those, code, value),
                }
            )
        )
    return pl.concat(parts)


def _rounds(block: Block, tables: Tables) -> Table:
    """Times of measurement: a few minutes into a visit, every few hours in hospital. `left`: how long before the death that ends a stay;
    `begun`: whether it is the first of its encounter."""
    visit = tables["encounter"]
    every = block.priors("panel.every_hours") * 60 * MINUTE
    start, end = visit["start_at"].to_numpy(), visit["end_at"].to_numpy()
    stays = (visit["class"] == "IMP").to_numpy()
    n = np.where(stays, 1 + (end - start - 1) // every, 1)
    at = np.repeat(np.arange(visit.height), n)
    k = np.arange(len(at)) - np.repeat(np.cumsum(n) - n, n)
    rows = join_rows(visit[ROW].to_numpy()[at], k)
    wait = np.minimum((end - start)[at] // 2, 15 * MINUTE)
    wait = (block.stream.child("observation", "wait").uniform(rows) * wait).astype(np.int64) // MINUTE * MINUTE
    time = np.minimum(start[at] + k * every + wait, end[at])
    ends = visit["disposition"].cast(pl.String).gather(at) == EXPIRED
    left = pl.Series("left", (end[at] - time).astype(float)).set(~ends.fill_null(False), None)
    return visit.select("patient_id", "type", "reason", pl.col(ROW).alias("encounter_row")).select(
        pl.all().gather(at), pl.Series("at", time), pl.Series(ROW, rows), left, pl.Series("begun", k == 0)
    )


def _bodies(block: Block, tables: Tables, rounds: Table) -> Body:
    patient = tables["patient"]
    who = rounds["patient_id"].to_numpy() - int(patient["patient_id"][0])
    at = rounds["at"].to_numpy()
    has = {code: since(tables["condition"], patient, code)[who] <= at for code in SHOWN}
    has["E11.9"] = has["E11.9"] | (_type_1(tables, patient)[who] <= at)
    has["E78.5 treated"] = treated(block, patient[ROW].to_numpy(), "E78.5")[who]
    return Body(
        rounds[ROW].to_numpy(),
        patient["birth"].to_numpy()[who],
        at,
        (patient["sex"] == "male").to_numpy()[who],
        {t: patient[f"z_{t}"].to_numpy()[who] for t in TRAITS},
        has,
        block.priors,
        block.stream.child("observation"),
    )


def _type_1(tables: Tables, patient: Table) -> NDArray[np.int64]:
    """When each patient's type 1 diabetes began, which shows as type 2 does: of the population, or of the modules' record."""
    onset = np.minimum(*(since(tables["condition"], patient, code) for code in TYPE_1))
    theirs = tables.get("module condition")
    if theirs is not None:
        found = theirs.filter(pl.col("code") == TYPE_1[1])
        np.minimum.at(onset, found["patient"].to_numpy(), found["start"].to_numpy())
    return onset


def since(condition: Table, patient: Table, code: str) -> NDArray[np.int64]:
    """When each patient's condition began, microseconds; a far future where there is none."""
    onset = np.full(patient.height, 2**62)
    found = condition.filter(pl.col("code") == code)
    onset[found["patient_id"].to_numpy() - int(patient["patient_id"][0])] = found["onset_at"].to_numpy()
    return onset


def treated(block: Block, patients: NDArray, code: str) -> NDArray[np.bool_]:
    """Whether each patient, if ill, is given a drug: the same at every visit."""
    share = block.priors("drug")[code]["treated"]
    return block.stream.child("medication_request", code, "treated").uniform(patients) < share


Kinds = tuple[list[str | None], NDArray[np.int64]]
"""Different texts, and which of them each row has."""


def _told_apart(texts: pl.Series) -> Kinds:
    known = texts.drop_nulls().unique(maintain_order=True)
    codes = texts.cast(pl.Enum(known)).to_physical().cast(pl.Int64).fill_null(len(known))
    return [*known, None], codes.to_numpy()


def _by_kind(of: Mapping[str, float], kinds: Kinds) -> NDArray[np.float64]:
    """A number for each row by what kind it is; nothing for those that none is said of."""
    return np.array([of.get(kind or "", 0.0) for kind in kinds[0]])[kinds[1]]


def _due(block: Block, code: str, kinds: Mapping[str, Kinds], bodies: Body) -> NDArray[np.bool_]:
    asked = LINKED.get(code, code)
    share = np.zeros(len(bodies.rows))
    for column, mine in kinds.items():
        said = {kind: panel.get(asked, 0.0) for kind, panel in block.priors(f"panel.{column}").items()}
        np.maximum(share, _by_kind(said, mine), out=share)
    drawn = block.stream.child("observation", asked, "made").uniform(bodies.rows)
    age = (bodies.at - bodies.birth) / YEAR
    youngest, oldest = (block.priors(f"panel.{end}").get(asked, bound) for end, bound in _AGES.items())
    return (drawn < share) & (age >= youngest) & (age < oldest)


_AGES = {"youngest": 0.0, "oldest": np.inf}
"""At what age something is measured, where nothing is said of it."""


def _effect(block: Block, code: str, reasons: Kinds, who: NDArray[np.int64]) -> NDArray[np.float64]:
    """What an illness that is the reason of a visit adds to a value."""
    shift = {illness: effects[code] for illness, effects in block.priors("effect").items() if code in effects}
    return _by_kind(shift, (reasons[0], reasons[1][who]))
