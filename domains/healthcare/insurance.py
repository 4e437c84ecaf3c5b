"""Who pays: insurance over a life, and what each encounter costs the insurer and the patient."""

from __future__ import annotations

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ...core.domain import Block
from ...core.samplers.keys import ascii_text, digit_text, scatter
from ...core.samplers.rules import choose
from ...core.stream import join_rows
from ...core.tables import ROW, Table, Tables
from .circumstances import NEVER, employed_since, new_years, standing
from .curves import DAY, YEAR, midnight

MEDICARE_AGE = 65
"""Years: entitlement to Medicare (42 USC 426)."""


def coverages(block: Block, tables: Tables) -> Tables:
    """One row per policy: of the child, of the adult, and Medicare from 65 on. People of one household are insured alike, and below 65 come to
    another policy, or to none, when it comes to another employer. Which it is hangs together with what it has."""
    patient, stream = tables["patient"], block.stream.child("coverage")
    shares = block.priors("insurance.kind")
    birth, own = patient["birth"].to_numpy(), patient[ROW].to_numpy()
    first, last = patient["first_seen"].to_numpy(), patient["last_seen"].to_numpy()
    household = patient["household_id"].to_numpy().astype(np.uint64)
    spells = _spells(block, household)
    grown, old = (midnight(birth + years * YEAR) for years in (18, MEDICARE_AGE))
    rivals = len(block.priors("reference.rivals"))
    parts = []
    for n, (name, begins, ends) in enumerate((("child", birth, grown), ("adult", grown, old), ("old", old, None))):
        who, since, till, year = spells
        if len(shares[name]) == 1:  # who has no choice of insurers stays with the one there is
            who, since, till, year = (a[year == 0] for a in spells)
            till = np.full(len(who), NEVER)
        until = np.minimum(till, np.full(len(who), NEVER) if ends is None else ends[who])
        start = np.maximum(np.maximum(first[who], begins[who]), since)
        rows = join_rows(own[who], np.full(len(who), n))
        z = stream.child("kind").normal(household[who])
        anew = year > 0
        again = join_rows(household[who[anew]], year[anew])
        z[anew] = stream.child("kind again").normal(again)
        u = _by_income(block, household[who], year, z)
        rows[anew] = join_rows(rows[anew], year[anew])
        kind = np.array(list(shares[name]))[choose(u, list(shares[name].values()))]
        rival = np.zeros(len(who), np.int64)
        if rivals:
            rival[anew] = stream.child("insurer").integers(again, 1 + rivals)
        kept = (start < np.minimum(until, last[who])) & (kind != "uninsured")
        parts.append(
            pl.DataFrame(
                {
                    ROW: rows[kept],
                    "patient_id": patient["patient_id"].to_numpy()[who[kept]],
                    "state": patient["state"].cast(pl.String).gather(who[kept]),
                    "kind": pl.Series(kind[kept], dtype=pl.String),
                    "rival": pl.Series(np.where(kind[kept] == "private", rival[kept], 0)),
                    "start_at": start[kept],
                    "end_at": pl.Series(until[kept]).set(pl.Series(until[kept] > last[who[kept]]), None),
                }
            )
        )
    frame = pl.concat(parts)
    names = block.priors("reference.insurers")
    insurers = block.reference["organization"].select(
        "organization_id", pl.col("state").cast(pl.String), pl.col("kind").cast(pl.String)
    )
    insurers = insurers.filter(pl.col("kind").is_in(list(names))).sort("organization_id")
    # the first of a kind in a state is that of the prior, those after it its rivals
    insurers = insurers.with_columns(rival=pl.int_range(pl.len()).over("state", "kind").cast(pl.Int64))
    national = [kind for kind, name in names.items() if "{state}" not in name]
    everywhere = insurers.filter(pl.col("kind").is_in(national)).select("kind", national="organization_id")
    frame = frame.join(insurers, on=["state", "kind", "rival"], how="left", maintain_order="left")
    frame = frame.join(everywhere, on="kind", how="left", maintain_order="left")
    frame = _continued(frame.with_columns(organization_id=pl.coalesce("national", "organization_id")))
    digits = digit_text(scatter(stream.child("member"), frame[ROW].to_numpy(), 10), 10)
    return {"coverage": frame.with_columns(member_number=ascii_text(digits)).drop("national", "state", "rival")}


def _continued(policies: Table) -> Table:
    """Policies that go on with the same insurer, as that of a national health service does at 65, as one policy: that of the begin."""
    frame = policies.sort("patient_id", "start_at")
    alike = pl.all_horizontal(pl.col(c) == pl.col(c).shift() for c in ("patient_id", "organization_id", "kind"))
    goes_on = (alike & (pl.col("end_at").shift() == pl.col("start_at"))).fill_null(False)
    frame = frame.with_columns(policy=(~goes_on).cum_sum())
    return (
        frame.group_by("policy", maintain_order=True)
        .agg(pl.all().exclude("end_at").first(), pl.col("end_at").last())
        .drop("policy")
    )


def _by_income(block: Block, household: NDArray, since: NDArray, z: NDArray) -> NDArray[np.float64]:
    """Uniforms that are the lower, the more a household has: the first kinds of insurance are those of the well-off. Shares of kinds do not depend on it."""
    from scipy.special import ndtr

    alike = block.priors("insurance.income")
    return ndtr(np.sqrt(1 - alike**2) * z - alike * standing(block, household, since))


def _spells(block: Block, household: NDArray) -> tuple[NDArray, NDArray, NDArray, NDArray]:
    """The times in which each patient's household stays with one employer: position of the patient, begin, end, and the year in which it began,
    0 for the one in which the window opens."""
    since = employed_since(block, household)
    begins = np.ones(since.shape, bool)
    begins[:, 1:] = since[:, 1:] != since[:, :-1]
    who, at = np.nonzero(begins)
    start = np.concatenate([[-NEVER], new_years(block.window.start, block.window.end)])[at]
    same = np.append(who[1:] == who[:-1], False)
    till = np.where(same, np.append(start[1:], NEVER), NEVER)
    return who, start, till, since[who, at]


def claims(block: Block, tables: Tables) -> Tables:
    """One row per encounter: what it cost, and who paid. Helper columns: `encounter_row`, `coverage_row`."""
    visit, stream = tables["encounter"], block.stream.child("claim")
    prior = block.priors("cost.encounter")
    rows, kind = visit[ROW].to_numpy(), visit["class"].cast(pl.String).to_numpy()
    start, end = (visit[c].cast(pl.Int64).to_numpy() for c in ("start_at", "end_at"))
    mean, sigma = (np.select([kind == k for k in prior], [prior[k][i] for k in prior]) for i in (0, 1))
    nights = np.where(kind == "IMP", np.maximum(1.0, np.ceil((end - start) / DAY)), 1.0)
    total = mean * nights * np.exp(sigma * stream.normal(rows) - sigma**2 / 2)
    # never nothing: a claim without an amount is not a claim
    total = np.maximum(total.round(2), 1.0)
    policy = tables["coverage"].select(
        "patient_id",
        pl.col(ROW).alias("coverage_row"),
        begins=pl.col("start_at").cast(pl.Int64),
        ends=pl.col("end_at").cast(pl.Int64),
    )
    covered = (
        visit.select("patient_id", pl.col(ROW).alias("encounter_row"), at=pl.col("start_at").cast(pl.Int64))
        .join(policy, on="patient_id")
        .filter((pl.col("begins") <= pl.col("at")) & (pl.col("at") < pl.col("ends").fill_null(NEVER)))
        .select("encounter_row", "coverage_row")
    )
    own = block.priors("cost.out_of_pocket")
    share = np.select([kind == k for k in own], [own[k] for k in own])
    frame = visit.select("patient_id", pl.col(ROW).alias("encounter_row"), at=pl.col("end_at")).with_columns(
        pl.Series(ROW, stream.child("row").bits(rows)), pl.Series("total", total), pl.Series("share", share)
    )
    frame = frame.join(covered, on="encounter_row", how="left", maintain_order="left")
    patient = (
        pl.when(pl.col("coverage_row").is_null()).then("total").otherwise(pl.col("total") * pl.col("share")).round(2)
    )
    return {
        "claim": frame.with_columns(paid_by_patient=patient)
        .with_columns(paid_by_insurer=(pl.col("total") - pl.col("paid_by_patient")).round(2))
        .drop("share")
    }
