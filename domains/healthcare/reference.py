"""Organizations and practitioners of one health system: a fixed number of each, built once, the same at every size."""

from __future__ import annotations

import numpy as np
import polars as pl

from ...core.domain import Block
from ...core.tables import Tables
from . import identity

OFFICE = ("207Q00000X", "207R00000X", "208000000X")
EMERGENCY, HOSPITAL = "207P00000X", "208M00000X"


def organizations(block: Block, _: Tables) -> Tables:
    """One row per organization: hospitals, practices and urgent care centers."""
    counts = block.priors("reference.organizations")
    kind = np.repeat(list(counts), list(counts.values()))
    rows = np.arange(len(kind), dtype=np.uint64)
    stream = block.stream.child("organization")
    address = identity.address(rows, stream.child("address"), block.priors("population.state"))
    suffix = {"hospital": "General Hospital", "clinic": "Family Health Center", "urgent": "Urgent Care"}
    return {
        "organization": pl.DataFrame(
            {
                "organization_id": rows.astype(np.int64),
                "name": [f"{n} {suffix[k]}" for n, k in zip(address["city"], kind, strict=True)],
                "kind": kind,
                **address,
                "phone": identity.phone(rows, stream.child("phone")),
            }
        )
    }


def practitioners(block: Block, tables: Tables) -> Tables:
    """One row per practitioner: office doctors work at practices, emergency doctors and hospitalists at hospitals."""
    counts = block.priors("reference.practitioners")
    specialty = np.repeat(list(counts), list(counts.values()))
    rows = np.arange(len(specialty), dtype=np.uint64)
    stream = block.stream.child("practitioner")
    places = tables["organization"]
    hospital = places.filter(kind="hospital")["organization_id"].to_numpy()
    office = places.filter(pl.col("kind") != "hospital")["organization_id"].to_numpy()
    inside = np.isin(specialty, (EMERGENCY, HOSPITAL))
    sex = np.where(stream.child("sex").integers(rows, 2) == 0, "female", "male")
    return {
        "practitioner": pl.DataFrame(
            {
                "practitioner_id": rows.astype(np.int64),
                "organization_id": np.where(inside, hospital[rows % len(hospital)], office[rows % len(office)]),
                "npi": identity.npi(rows, stream.child("npi")),
                **identity.names(rows, sex, stream.child("name")),
                "sex": sex,
                "specialty": specialty,
            }
        )
    }
