"""Patients: who they are, when they are born and die, and the hidden traits that their bodies and diseases follow."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ...core.domain import Block
from ...core.samplers.rules import choose
from ...core.stream import Stream
from ...core.tables import ROW, Table, Tables
from . import blood, identity
from .circumstances import NOTHING, circumstances_at
from .curves import DAY, MINUTE, YEAR, age_at_death, at_age, midnight
from .families import NEIGHBOURHOOD, NOBODY, People, families
from .reference import OFFICE, nearest

MIXED = (
    "mass",
    "glycaemia",
    "pressure",
    "renal",
    "lipids",
    "triglycerides",
    "hdl",
    "height",
    "head",
    "heart",
    "control",
)
TRAITS = (*MIXED, *blood.PANEL)


def patients(block: Block, _: Tables) -> Tables:
    """One row per patient. Helper columns: `birth`, `dies` (in the window or after it), `first_seen`, `last_seen` (microseconds), `z_…` (standard normal
    traits), and what scenarios choose by: `age_at_start` (years), `adult_days`, `leap_gap_days`."""
    stream, priors = block.stream.child("patient"), block.priors
    start, end = block.window.start, block.window.end
    people, status = _neighbourhood(block, stream)
    kin = families(people, priors("family.mother_age"), priors("family.gestation") / 52.18)
    here = slice(block.first - int(people.units[0]), None)
    units, male, birth, death = people.units[here], people.male[here], people.birth[here], people.death[here]
    head, root, mother, spouse = (a[here] for a in (kin.head, kin.root, kin.mother, kin.spouse))
    last_seen = np.minimum(death, end)
    last_age = (last_seen - birth) / YEAR
    household, lineage = head.astype(np.uint64), root.astype(np.uint64)
    has_phone = stream.child("has phone").uniform(units) < priors("population.phone")
    sex = np.where(male, "male", "female")
    adult = adult_time(block, birth, last_seen)
    address = identity.address(household, stream.child("address"), priors)
    locale, number = priors("record.locale"), priors("record.identifier")
    born = pl.Series(birth // DAY).cast(pl.Int32).cast(pl.Date)
    doctors = block.reference["practitioner"]
    doctor = _general_practitioner(block, pl.DataFrame(address), last_age, stream.child("general practitioner"), units)
    frame = pl.DataFrame(
        {
            ROW: units,
            "patient_id": units.astype(np.int64),
            "mrn": identity.mrn(units, stream.child("mrn")),
            **(
                {
                    "national_id": identity.national_number(
                        units, stream.child("national"), number, male, born, address["postal_code"]
                    )
                }
                if number
                else {}
            ),
            "given_name": identity.names(units, sex, stream.child("name"), locale)["given_name"],
            "family_name": identity.names(household, sex, stream.child("name"), locale)["family_name"],
            "middle_name": identity.names(units, sex, stream.child("middle"), locale)["given_name"],
            "sex": sex,
            "birth_date": born,
            "death_at": pl.Series(death).set(pl.Series(death >= end), None).cast(pl.Datetime("us", "UTC")),
            **_background(block, stream, lineage),
            "marital_status": status[here],
            **address,
            "phone": _where(has_phone, identity.phone(units, stream.child("phone"), locale)),
            "organization_id": doctors["organization_id"].gather(doctor),
            "practitioner_id": doctors["practitioner_id"].gather(doctor),
            "household_id": head,
            "mother_id": pl.Series(mother).set(pl.Series(mother == NOBODY), None),
            "spouse_id": pl.Series(spouse).set(pl.Series(spouse == NOBODY), None),
            **dict.fromkeys(("birth_precision", "link_type"), pl.repeat(None, len(units), dtype=pl.String, eager=True)),
            "link_id": pl.repeat(None, len(units), dtype=pl.Int64, eager=True),
            "birth": birth,
            "head_birth": people.birth[head - int(people.units[0])],
            "head_last": np.minimum(people.death, end)[head - int(people.units[0])],
            "dies": death,
            "first_seen": np.maximum(start, birth),
            "last_seen": last_seen,
            "age_at_start": (start - birth) / YEAR,
            "adult_days": adult / DAY,
            "leap_gap_days": (birth - leap_day_before(birth)) // DAY,
            **{f"z_{name}": z for name, z in traits(block, stream.child("trait"), units, male).items()},
        }
    )
    return {"patient": frame.with_columns(_at_the_end(block, frame))}


def _at_the_end(block: Block, patient: Table) -> list[pl.Series]:
    """Level of education and income of the household on the last day of what the record covers."""
    first, last = patient["first_seen"].to_numpy(), patient["last_seen"].to_numpy()
    who = np.arange(patient.height)
    level, _, amount = circumstances_at(block, patient, who, np.maximum(first, midnight(last - 1)))
    levels = pl.Series([*block.priors("population.education"), None], dtype=pl.String)
    return [
        levels.gather(level).alias("education"),
        pl.Series("income", amount).set(pl.Series(amount == NOTHING), None),
    ]


def _neighbourhood(block: Block, stream: Stream) -> tuple[People, NDArray[np.str_]]:
    """The block's people and those before them in the first one's neighbourhood, and everyone's marital status."""
    units = np.arange(block.first // NEIGHBOURHOOD * NEIGHBOURHOOD, block.last, dtype=np.uint64)
    start, end = block.window.start, block.window.end
    male, birth = _born(block, stream, units)
    age = np.maximum(0.0, (start - birth) / YEAR)
    dies = age_at_death(block.priors("population.death"), age, male, stream.child("death").uniform(units))
    # rounding must not put a death before the window or the birth
    death = np.maximum(np.maximum(birth, start), (birth + dies * YEAR).astype(np.int64) // MINUTE * MINUTE)
    last_age = (np.minimum(death, end) - birth) / YEAR
    marital = block.priors("population.marital")
    edges = np.cumsum([at_age(marital, s, last_age) for s in "SMDW"], axis=0)
    status = np.array(list("SMDW"))[(stream.child("marital").uniform(units) * edges[-1] > edges[:-1]).sum(axis=0)]
    return People(units, male, birth, death, last_age, status == "M"), status


def adult_time(block: Block, birth: NDArray, last_seen: NDArray) -> NDArray[np.float64]:
    """How long of the window each person is seen as an adult (microseconds)."""
    return np.minimum(last_seen, block.window.end) - np.maximum(block.window.start, birth + 18 * YEAR)


def leap_day_before(birth: NDArray[np.int64]) -> NDArray[np.int64]:
    """The last 29 February on or before each birth (microseconds at midnight)."""
    years = np.arange(1600, 2401, 4)
    years = years[(years % 100 != 0) | (years % 400 == 0)]
    days = (years - 1970).astype("datetime64[Y]").astype("datetime64[M]") + 1
    leaps = (days.astype("datetime64[D]") + 28).astype(np.int64) * DAY
    return leaps[np.searchsorted(leaps, birth, side="right") - 1]


def traits(block: Block, stream: Stream, units: NDArray, male: NDArray) -> dict[str, NDArray[np.float64]]:
    """Correlated standard normals per patient, by the loadings `body.loading` and the correlations `blood.correlation`."""
    load = block.priors("body.loading")
    own = {name: stream.child(name).normal(units) for name in MIXED}
    z = dict(own)
    z["glycaemia"] = _mix(own["glycaemia"], (load["glycaemia_on_mass"], z["mass"]))
    on_mass, on_glycaemia = load["pressure_on_mass"], load["pressure_on_glycaemia"]
    z["pressure"] = _mix(
        own["pressure"],
        (on_mass, z["mass"]),
        (on_glycaemia, z["glycaemia"]),
        overlap=2 * on_mass * on_glycaemia * load["glycaemia_on_mass"],
    )
    shared = on_glycaemia + on_mass * load["glycaemia_on_mass"]
    on_pressure, on_sugar = load["renal_on_pressure"], load["renal_on_glycaemia"]
    z["renal"] = _mix(
        own["renal"],
        (on_pressure, z["pressure"]),
        (on_sugar, z["glycaemia"]),
        overlap=2 * on_pressure * on_sugar * shared,
    )
    z["lipids"] = _mix(own["lipids"], (load["lipids_on_mass"], z["mass"]))
    on_mass, on_sugar = load["triglycerides_on_mass"], load["triglycerides_on_glycaemia"]
    z["triglycerides"] = _mix(
        own["triglycerides"],
        (on_mass, z["mass"]),
        (on_sugar, z["glycaemia"]),
        overlap=2 * on_mass * on_sugar * load["glycaemia_on_mass"],
    )
    z["hdl"] = _mix(own["hdl"], (load["hdl_on_triglycerides"], z["triglycerides"]))
    return z | {code: blood.normals(block.priors, stream.child("blood"), units, male, code) for code in blood.PANEL}


def _mix(own: NDArray, *parts: tuple[float, NDArray], overlap: float = 0.0) -> NDArray[np.float64]:
    rest = 1.0 - overlap - sum(a * a for a, _ in parts)
    return np.sqrt(max(rest, 0.0)) * own + sum(a * z for a, z in parts)


def _born(block: Block, stream: Stream, units: NDArray) -> tuple[NDArray[np.bool_], NDArray[np.int64]]:
    """Sex and birth: alive at the window's start with the census's ages, or born inside the window."""
    priors, window = block.priors, block.window
    inside = priors("population.births") * window.days / 365.2425
    newborn = stream.child("newborn").uniform(units) < inside / (1 + inside)
    ages = priors("population.age")
    groups = len(ages["female"])
    cell = choose(stream.child("age group").uniform(units), [*ages["female"], *ages["male"]])
    within = stream.child("age").uniform(units)
    older = window.start - (cell % groups + within) * 5 * YEAR
    born = np.where(newborn, window.start + within * (window.end - window.start), older)
    boy = stream.child("boy").uniform(units) < priors("population.male_births")
    return np.where(newborn, boy, cell >= groups), midnight(born)


def _background(block: Block, stream: Stream, units: NDArray) -> dict[str, Any]:
    """Race, ethnicity and language, of a child those of the mother's line: `units` says whose draw it is."""
    priors = block.priors
    shares = priors("population.race")
    if not shares:
        words = priors("population.language.other")
        drawn = choose(stream.child("language").uniform(units), list(words.values()))
        nothing = pl.repeat(None, len(units), dtype=pl.String, eager=True)
        return {"race": nothing, "ethnicity": nothing, "language": pl.Series(list(words)).gather(drawn)}
    at = choose(stream.child("race").uniform(units), list(shares.values()))
    race = np.array(list(shares))[at]
    hispanic_share = np.array([priors("population.hispanic")[r] for r in shares])
    hispanic = stream.child("hispanic").uniform(units) < hispanic_share[at]
    language = np.empty(len(units), "U2")
    for group, who in (("hispanic", hispanic), ("asian", ~hispanic & (race == "2028-9")), ("other", ~hispanic)):
        who = who & (language == "")
        words = priors(f"population.language.{group}")
        drawn = choose(stream.child("language").uniform(units[who]), list(words.values()))
        language[who] = np.array(list(words))[drawn]
    return {"race": race, "ethnicity": np.where(hispanic, "2135-2", "2186-5"), "language": language}


def _general_practitioner(
    block: Block, homes: pl.DataFrame, age: NDArray, stream: Stream, units: NDArray
) -> NDArray[np.int64]:
    """Row of `practitioner` for each patient: a paediatrician nearby for children, family or internal medicine for adults."""
    u = stream.uniform(units)
    adults, children = (nearest(block.reference, who, homes, u) for who in (OFFICE[:2], OFFICE[2:]))
    return np.where(age < 18, children, adults)


def _where(present: NDArray, values: pl.Series) -> pl.Series:
    return values.set(pl.Series(~present), None)
