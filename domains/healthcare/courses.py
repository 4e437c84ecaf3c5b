"""Scripts that many scenario files share: courses of illness in hospital, prescriptions, changed identities, spoiled results."""

from __future__ import annotations

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ...core.scenario import Edit, Scene, listed
from ...core.tables import ROW, Table
from . import physiology as body
from .curves import DAY, MINUTE, YEAR, midnight, office_time
from .encounters import ADMISSION, CHECK, ROOM
from .reference import EMERGENCY, HOSPITAL, nearest
from .scripts import EVER, HOUR, as_it_stands, bodies, certified, clear, measured, still_ill

SIGNS = (body.SYSTOLIC, body.DIASTOLIC, body.HEART_RATE, body.RESPIRATORY_RATE, body.TEMPERATURE, body.SATURATION)


def hospital_course(scene: Scene) -> list[Edit]:
    """One or more stays for one illness, emergency room first where asked for: values start far from the patient's own and come back to them; the
    patient lives, or dies at the end of the last stay. What would come after death does not happen."""
    room = 4 * HOUR if scene["emergency"] else 0
    stay, apart = scene["hours"] * HOUR, scene["gap_days"] * DAY
    length = scene["stays"] * (room + stay) + (scene["stays"] - 1) * apart
    patient = as_it_stands(scene, length + 11 * DAY).sort("instance")
    if patient.is_empty():
        return []
    instance, code = patient["instance"].to_numpy(), scene["condition"]
    first = np.maximum(patient["first_seen"].to_numpy(), patient["birth"].to_numpy() + 18 * YEAR)
    space = patient["last_seen"].to_numpy() - first - length - 10 * DAY
    when = first + DAY + scene.stream.child("when").uniform(instance) * np.maximum(space, DAY)
    arrival = when.astype(np.int64) // MINUTE * MINUTE
    end = arrival + length
    dies = scene.stream.child("outcome").uniform(instance) < scene["mortality"]
    illness = scene.address("illness", instance, 0)
    base = patient.select("instance", "patient_id")
    parts = []
    for n in range(scene["stays"]):
        start = arrival + n * (room + stay + apart)
        last = n == scene["stays"] - 1
        gone = np.where(dies & last, "exp", "home")
        if room:
            parts.append(
                _stay(scene, patient, f"room {n}", "EMER", start, start + room, illness, np.full(len(dies), "home"))
            )
        if stay:
            parts.append(_stay(scene, patient, f"ward {n}", "IMP", start + room, start + room + stay, illness, gone))
    visits = pl.concat(parts)
    well = np.minimum(midnight(end + 8 * DAY), patient["last_seen"].to_numpy())
    over = pl.Series(~dies & (well < patient["last_seen"].to_numpy()) & (not scene["chronic"]))
    condition = base.with_columns(
        pl.Series(ROW, illness),
        pl.lit(code).alias("code"),
        pl.Series("onset_at", arrival - 2 * HOUR),
        pl.Series("abatement_at", well).set(~over, None),
        pl.Series("encounter_row", parts[0][ROW]),
    )
    orders = [
        _order(scene, base, f"order {n}", parts[0][ROW].to_numpy(), illness, drug, arrival + 30 * MINUTE)
        for n, drug in enumerate(listed(scene["drugs"]))
    ]
    dead = patient.select("instance", ROW).with_columns(
        pl.Series("death_at", end).cast(pl.Datetime("us", "UTC")), pl.Series("last_seen", end)
    )
    span = base.with_columns(pl.Series("since", end), pl.lit(EVER).alias("until")).filter(pl.Series(dies))
    deaths = base.with_columns(pl.Series("death", end)).filter(pl.Series(dies))
    return [
        *clear(scene, span, "patient", "did not happen"),
        *still_ill(scene, deaths),
        scene.edit("update", "patient", dead.filter(pl.Series(dies)), "patient", "death"),
        certified(scene, deaths, code),
        scene.edit("insert", "condition", condition, "patient", "illness"),
        scene.edit("insert", "encounter", visits, "patient", "stay"),
        *(scene.edit("insert", "medication_request", order, "patient", "treatment") for order in orders),
        Edit("insert", "observation", _rounds(scene, patient, visits).with_columns(role=pl.lit("patient"))),
    ]


def _stay(
    scene: Scene, patient: Table, name: str, kind: str, start: NDArray, end: NDArray, illness: NDArray, outcome: NDArray
) -> Table:
    specialty, code = {"EMER": (EMERGENCY, ROOM), "IMP": (HOSPITAL, ADMISSION)}[kind]
    instance, reference = patient["instance"].to_numpy(), scene.block.reference
    doctor = nearest(reference, (specialty,), patient, scene.stream.child("doctor", name).uniform(instance))
    if kind == "IMP" and scene["transfer"] and not name.endswith(" 0"):
        # a transfer: any other hospital's doctor
        able = np.flatnonzero((reference["practitioner"]["specialty"].cast(pl.String) == HOSPITAL).to_numpy())
        doctor = able[scene.stream.child("elsewhere", name).integers(instance, len(able)).astype(np.int64)]
    doctors = reference["practitioner"]
    return patient.select("instance", "patient_id").with_columns(
        pl.Series(ROW, scene.address(name, instance, 0)),
        pl.lit(kind).alias("class"),
        pl.lit(code).alias("type"),
        pl.Series("start_at", start),
        pl.Series("end_at", end),
        pl.lit(scene["condition"]).alias("reason"),
        pl.Series("condition_row", illness),
        pl.Series("disposition", outcome),
        doctors["organization_id"].gather(doctor),
        doctors["practitioner_id"].gather(doctor),
    )


def _order(scene: Scene, base: Table, name: str, visit: NDArray, illness: NDArray, drug: str, at: NDArray) -> Table:
    return base.with_columns(
        pl.Series(ROW, scene.address(name, base["instance"].to_numpy(), 0)),
        pl.Series("encounter_row", visit),
        pl.Series("condition_row", illness),
        pl.lit(drug).alias("code"),
        pl.Series("at", at),
        pl.lit(scene["days"], pl.Int64).alias("days"),
    )


def _rounds(scene: Scene, patient: Table, visits: Table) -> Table:
    """Vital signs, and the values named, in even rounds through each visit."""
    rounds = scene["rounds"]
    wanted = {c: float(v) for c, _, v in (item.partition("=") for item in listed(scene["values"]))}
    at_of = {i: n for n, i in enumerate(patient["instance"].to_list())}
    visits = visits.sort("instance", "start_at")
    who = np.repeat([at_of[i] for i in visits["instance"].to_list()], rounds)
    start, end = (np.repeat(visits[c].to_numpy(), rounds) for c in ("start_at", "end_at"))
    k = np.tile(np.arange(rounds), visits.height)
    at = start + (end - start) * (k + 1) // (rounds + 1)
    instance = patient["instance"].to_numpy()[who]
    order = np.arange(len(at)) - np.searchsorted(instance, instance)
    people = bodies(scene, patient, who, at, scene.address("round", instance, order))
    first, last = (
        np.array([f(v) for v in _by(instance, at)])[np.searchsorted(np.unique(instance), instance)] for f in (min, max)
    )
    severity = 1 - (at - first) / np.maximum(last - first, 1)
    values = {}
    for code in dict.fromkeys((*SIGNS, *wanted)):
        own = body.measure(people, code)
        values[code] = body.report(people, code, own + severity * (wanted[code] - own) if code in wanted else own)
    values[body.DIASTOLIC] = np.minimum(values[body.DIASTOLIC], values[body.SYSTOLIC] - 5)
    effect = np.where(severity >= 1, "peak", "course")
    visit_rows = np.repeat(visits[ROW].to_numpy(), rounds)
    return measured(scene, patient["patient_id"].gather(who), instance, visit_rows, at, values, None, effect)


def _by(instance: NDArray, at: NDArray) -> list[NDArray]:
    _, first = np.unique(instance, return_index=True)
    return np.split(at, first[1:])


def visit_of(scene: Scene, patient: Table, code: str, adult: int = 18) -> tuple[Table, Table]:
    """A visit to the own doctor on a day after the age of `adult`, ten days or more from both ends of the record, and the condition it is for."""
    instance = patient["instance"].to_numpy()
    first = np.maximum(patient["first_seen"].to_numpy(), patient["birth"].to_numpy() + adult * YEAR)
    space = patient["last_seen"].to_numpy() - first - 50 * DAY
    day = first + 10 * DAY + scene.stream.child("when").uniform(instance) * np.maximum(space, DAY)
    start = office_time(day, scene.block.priors, scene.stream.child("hour"), instance)
    visit, illness = (scene.address(name, instance, 0) for name in ("visit", "illness"))
    found = patient.select("instance", "patient_id").with_columns(
        pl.Series(ROW, illness),
        pl.lit(code).alias("code"),
        pl.Series("onset_at", midnight(start)),
        pl.lit(None, pl.Int64).alias("abatement_at"),
        pl.Series("encounter_row", visit),
    )
    visits = patient.select("instance", "patient_id", "organization_id", "practitioner_id").with_columns(
        pl.Series(ROW, visit),
        pl.lit("AMB").alias("class"),
        pl.lit(CHECK).alias("type"),
        pl.Series("start_at", start),
        pl.Series("end_at", start + 20 * MINUTE),
    )
    return visits, found


def prescriptions(scene: Scene) -> list[Edit]:
    """One visit at which drugs, or none, are ordered for one condition; beside it another thing is known of the patient where asked for."""
    patient = as_it_stands(scene).sort("instance")
    visits, found = visit_of(scene, patient, scene["condition"])
    visit, illness, at = (visits[ROW].to_numpy(), found[ROW].to_numpy(), visits["start_at"].to_numpy() + 10 * MINUTE)
    base = patient.select("instance", "patient_id")
    orders = [
        _order(scene, base, f"order {n}", visit, illness, drug, at) for n, drug in enumerate(listed(scene["drugs"]))
    ]
    visits = visits.with_columns(pl.lit(scene["condition"]).alias("reason"), pl.Series("condition_row", illness))
    beside = found.with_columns(
        pl.lit(scene["known"]).alias("code"), pl.Series(ROW, scene.address("known", patient["instance"].to_numpy(), 0))
    )
    return [
        scene.edit("insert", "condition", found, "patient", "illness"),
        *([scene.edit("insert", "condition", beside, "patient", "known")] if scene["known"] else []),
        scene.edit("insert", "encounter", visits, "patient", "visit"),
        *(scene.edit("insert", "medication_request", order, "patient", "order") for order in orders),
    ]


def spoiled_result(scene: Scene) -> list[Edit]:
    """A visit with one result: its value times a factor, its time days and hours off, on record as often as asked for."""
    patient = as_it_stands(scene).sort("instance")
    instance, code = patient["instance"].to_numpy(), scene["code"]
    visits, _ = visit_of(scene, patient, "")
    at = visits["start_at"].to_numpy() + 5 * MINUTE
    people = bodies(scene, patient, np.arange(len(at)), at, visits[ROW].to_numpy())
    value = body.report(people, code, body.measure(people, code)) * scene.get("factor", 1.0)
    results = patient.select("instance", "patient_id").with_columns(
        pl.Series("encounter_row", visits[ROW]),
        pl.lit(code).alias("code"),
        pl.Series("at", at + scene.get("days", 0) * DAY + scene.get("hours", 0) * HOUR),
        pl.Series("value", value),
    )
    return [
        scene.edit("insert", "encounter", visits, "patient", "visit"),
        *(
            scene.edit(
                "insert",
                "observation",
                results.with_columns(pl.Series(ROW, scene.address(f"copy {n}", instance, 0))),
                "patient",
                "result",
            )
            for n in range(scene.get("copies", 1))
        ),
    ]


def changed_identity(scene: Scene) -> list[Edit]:
    """A patient is known under another name: the one given, with no middle name; without a telephone where asked for."""
    patient = scene.cast["patient"].select("instance", ROW, "sex", "phone")
    changed = patient.with_columns(middle_name=pl.lit(None, pl.String))
    for name in ("given", "family"):
        if scene[name]:
            changed = changed.with_columns(pl.lit(scene[name]).alias(f"{name}_name"))
    if scene.get("no_phone", False):
        changed = changed.with_columns(phone=pl.lit(None, pl.String))
    else:
        changed = changed.drop("phone")
    if scene.get("other_sex", False):
        other = pl.when(pl.col("sex").cast(pl.String) == "male").then(pl.lit("female")).otherwise(pl.lit("male"))
        changed = changed.with_columns(sex=other)
    else:
        changed = changed.drop("sex")
    return [scene.edit("update", "patient", changed, "patient", "changed identity")]


def shared_address(scene: Scene) -> list[Edit]:
    """Unrelated people who live, on paper, at one address: that of the first of them."""
    members = scene.cast["member"].sort("instance", "patient_id")
    columns = ("line", "city", "state", "postal_code")
    moved = members.select("instance", ROW, *(pl.col(c).first().over("instance") for c in columns))
    return [scene.edit("update", "patient", moved, "member", "shared address")]


def emptied(scene: Scene) -> list[Edit]:
    """A registered patient of whom nothing else is known."""
    patient = scene.cast["patient"].select("instance", "patient_id")
    return clear(scene, patient.with_columns(since=pl.lit(-EVER), until=pl.lit(EVER)), "patient", "never happened")


def uninsured(scene: Scene) -> list[Edit]:
    """Policies that are not there: the claims of their time are the patient's own."""
    patient = scene.cast["patient"].select("instance", "patient_id")
    lost = scene.tables["coverage"].select("patient_id", ROW).join(patient, on="patient_id", maintain_order="left")
    return [scene.edit("remove", "coverage", lost.select("instance", ROW), "patient", "lost insurance")]


def overlapping(scene: Scene) -> list[Edit]:
    """Two visits of which the second begins ten minutes into the first."""
    patient = as_it_stands(scene).sort("instance")
    visits, _ = visit_of(scene, patient, "")
    later = [pl.col(c) + 10 * MINUTE for c in ("start_at", "end_at")]
    second = visits.with_columns(*later, pl.Series(ROW, scene.address("second", patient["instance"].to_numpy(), 0)))
    return [
        scene.edit("insert", "encounter", visits, "patient", "visit"),
        scene.edit("insert", "encounter", second, "patient", "overlapping visit"),
    ]


def born_before_1900(scene: Scene) -> list[Edit]:
    """Birth on a day of 1899."""
    patient = as_it_stands(scene)
    day = LAST_OF_1899 - (scene.stream.child("day").uniform(patient["instance"].to_numpy()) * 365).astype(np.int64)
    moved = patient.select("instance", ROW).with_columns(
        pl.Series("birth", day * DAY), pl.Series("birth_date", day).cast(pl.Int32).cast(pl.Date)
    )
    return [scene.edit("update", "patient", moved, "patient", "born before 1900")]


def twins(scene: Scene) -> list[Edit]:
    """The second has the first's birth, family name and household, and none of the history that was theirs alone. Neither's mother is a patient:
    she could be one of another block."""
    first, second = (scene.cast[role].sort("instance") for role in ("first", "second"))
    shared = (
        "birth", "birth_date", "family_name", "line", "city", "state", "postal_code", "phone", "race", "ethnicity", "language",
        "first_seen",
    )  # fmt: skip
    twin = second.select("instance", ROW).with_columns(
        *(first[c] for c in shared), first["patient_id"].alias("household_id"), mother_id=pl.lit(None, pl.Int64)
    )
    everything = second.select("instance", "patient_id").with_columns(since=pl.lit(-EVER), until=pl.lit(EVER))
    return [
        *clear(scene, everything, "second", "own history"),
        scene.edit("update", "patient", first.select("instance", ROW, "given_name"), "first", "twin"),
        scene.edit("update", "patient", twin, "second", "twin"),
    ]


LAST_OF_1899 = -25_568
"""31 December 1899, in days since 1970."""
COURSES = {
    f.__name__: f
    for f in (
        hospital_course, prescriptions, spoiled_result, changed_identity, shared_address, emptied, uninsured, overlapping,
        born_before_1900, twins,
    )
}  # fmt: skip
