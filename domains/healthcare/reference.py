"""Organizations and practitioners: a health system and its insurers in each state, built once, the same at every size."""

from __future__ import annotations

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ...core.domain import Block
from ...core.tables import Table, Tables
from . import identity

OFFICE = ("207Q00000X", "207R00000X", "208000000X")
EMERGENCY, HOSPITAL = "207P00000X", "208M00000X"


def organizations(block: Block, _: Tables) -> Tables:
    """One row per organization: in each state one health system's hospitals, practices and urgent care centers, then the insurers."""
    states, counts = block.priors("population.state"), block.priors("reference.organizations")
    insurers = block.priors("reference.insurers")
    local = [k for k, name in insurers.items() if "{state}" in name]
    national = [k for k in insurers if k not in local]
    kinds = np.concatenate([np.repeat(list(counts), list(counts.values())), np.array(local, dtype=str)])
    kind = np.concatenate([np.tile(kinds, len(states)), national])
    state = np.concatenate([np.repeat(list(states), len(kinds)), [block.priors("reference.national")] * len(national)])
    rivals = block.priors("reference.rivals")
    kind = np.concatenate([kind, np.repeat("private", len(rivals) * len(states))])
    state = np.concatenate([state, np.tile(list(states), len(rivals))])
    rows = np.arange(len(kind), dtype=np.uint64)
    stream = block.stream.child("organization")
    address = pl.concat(
        [
            pl.DataFrame(
                {
                    "row": rows[state == s],
                    **identity.address(rows[state == s], stream.child("address"), block.priors, {s: 1.0}),
                }
            )
            for s in dict.fromkeys(state)
        ]
    ).sort("row")
    called = block.priors("reference.names")
    city = address["city"].to_list()
    names = [
        called[k].format(place=n) if k in called else insurers[k].format(state=s)
        for n, k, s in zip(city, kind, state, strict=True)
    ]
    named = [name.format(state=s) for name in rivals for s in states]
    names[len(names) - len(named) :] = named
    return {
        "organization": pl.DataFrame(
            {
                "organization_id": rows.astype(np.int64),
                "name": names,
                "kind": kind,
                **address.drop("row").to_dict(),
                "phone": identity.phone(rows, stream.child("phone"), block.priors("record.locale")),
            }
        )
    }


def practitioners(block: Block, tables: Tables) -> Tables:
    """One row per practitioner: office doctors work at practices, emergency doctors and hospitalists at hospitals of their state."""
    counts, states = block.priors("reference.practitioners"), list(block.priors("population.state"))
    specialty = np.tile(np.repeat(list(counts), list(counts.values())), len(states))
    state = np.repeat(states, sum(counts.values()))
    rows = np.arange(len(specialty), dtype=np.uint64)
    stream = block.stream.child("practitioner")
    places = tables["organization"].with_columns(pl.col("kind", "state").cast(pl.String))
    inside = np.isin(specialty, (EMERGENCY, HOSPITAL))
    work = np.empty(len(rows), np.int64)
    for here in states:
        local = places.filter(state=here)
        for kinds, who in ((["hospital"], inside), (["clinic", "urgent"], ~inside)):
            at = local.filter(pl.col("kind").is_in(kinds))["organization_id"].to_numpy()
            these = np.flatnonzero(who & (state == here))
            work[these] = at[np.arange(len(these)) % len(at)]
    sex = np.where(stream.child("sex").integers(rows, 2) == 0, "female", "male")
    return {
        "practitioner": pl.DataFrame(
            {
                "practitioner_id": rows.astype(np.int64),
                "organization_id": work,
                "npi": identity.license_number(rows, stream.child("npi"), block.priors("record.license")),
                **identity.names(rows, sex, stream.child("name"), block.priors("record.locale")),
                "sex": sex,
                "specialty": specialty,
            }
        )
    }


def nearest(reference: Tables, specialties: tuple[str, ...], homes: Table, u: NDArray) -> NDArray[np.int64]:
    """Row of `practitioner` for each home: a doctor of one of these specialties where the ZIP code lies closest, in the home's state;
    with several doctors there, by `u`, uniform on [0, 1). ZIP codes lie next to each other on the map more often than not."""
    doctors = reference["practitioner"].with_row_index("at").with_columns(pl.col("specialty").cast(pl.String))
    places = reference["organization"].select("organization_id", "state", "postal_code")
    able = (
        doctors.filter(pl.col("specialty").is_in(specialties))
        .join(places, on="organization_id")
        .select("at", zone=_zone())
    )
    able = able.sort("zone", "at")
    zones, at = able["zone"].to_numpy(), able["at"].to_numpy().astype(np.int64)
    home = homes.select(_zone().fill_null(0)).to_series().to_numpy()
    right = np.searchsorted(zones, home).clip(1, len(zones) - 1)
    closest = np.where(home - zones[right - 1] <= zones[right] - home, zones[right - 1], zones[right])
    low, high = np.searchsorted(zones, closest), np.searchsorted(zones, closest, side="right")
    return at[low + (u * (high - low)).astype(np.int64)]


def _zone() -> pl.Expr:
    """A number for a place, so far apart from state to state that the closest is always in the same one."""
    letters = [pl.col("state").cast(pl.String).str.slice(n, 1) for n in (0, 1)]
    state = sum(letter.str.encode("hex").str.to_integer(base=16) * 128 ** (1 - n) for n, letter in enumerate(letters))
    # a postal code of letters says nothing of how near a place is
    return state * 10_000_000 + pl.col("postal_code").cast(pl.String).cast(pl.Int64, strict=False).fill_null(0)
