"""Who pays: insurance over a life, and what each encounter costs the insurer and the patient."""

from __future__ import annotations

import numpy as np
import polars as pl

from ...core.domain import Block
from ...core.samplers.keys import ascii_text, digit_text, scatter
from ...core.samplers.rules import choose
from ...core.stream import join_rows
from ...core.tables import ROW, Tables
from .curves import DAY, YEAR, midnight

MEDICARE_AGE = 65
"""Years: entitlement to Medicare (42 USC 426)."""
NEVER = 2**62


def coverages(block: Block, tables: Tables) -> Tables:
    """One row per policy: of the child, of the adult, and Medicare from 65 on. People of one household are insured alike."""
    patient, stream = tables["patient"], block.stream.child("coverage")
    shares = block.priors("insurance.kind")
    birth = patient["birth"].to_numpy()
    first, last = patient["first_seen"].to_numpy(), patient["last_seen"].to_numpy()
    u = stream.child("kind").uniform(patient["household_id"].to_numpy().astype(np.uint64))
    grown, old = (midnight(birth + years * YEAR) for years in (18, MEDICARE_AGE))
    parts = []
    for n, (name, begins, ends) in enumerate((("child", birth, grown), ("adult", grown, old), ("old", old, None))):
        until = np.full(len(birth), NEVER) if ends is None else ends
        kind = np.array(list(shares[name]))[choose(u, list(shares[name].values()))]
        start = np.maximum(first, begins)
        kept = (start < np.minimum(until, last)) & (kind != "uninsured")
        parts.append(
            pl.DataFrame(
                {
                    ROW: join_rows(patient[ROW].to_numpy(), np.full(len(birth), n)),
                    "patient_id": patient["patient_id"],
                    "state": patient["state"],
                    "kind": pl.Series(kind, dtype=pl.String),
                    "start_at": start,
                    "end_at": pl.Series(until).set(pl.Series(until > last), None),
                }
            ).filter(pl.Series(kept, dtype=pl.Boolean))
        )
    frame = pl.concat(parts)
    names = block.priors("reference.insurers")
    insurers = block.reference["organization"].select(
        "organization_id", pl.col("state").cast(pl.String), pl.col("kind").cast(pl.String)
    )
    insurers = insurers.filter(pl.col("kind").is_in(list(names)))
    national = [kind for kind, name in names.items() if "{state}" not in name]
    everywhere = insurers.filter(pl.col("kind").is_in(national)).select("kind", national="organization_id")
    frame = frame.join(insurers, on=["state", "kind"], how="left", maintain_order="left")
    frame = frame.join(everywhere, on="kind", how="left", maintain_order="left")
    digits = digit_text(scatter(stream.child("member"), frame[ROW].to_numpy(), 10), 10)
    return {
        "coverage": frame.with_columns(
            organization_id=pl.coalesce("national", "organization_id"), member_number=ascii_text(digits)
        ).drop("national", "state")
    }


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
