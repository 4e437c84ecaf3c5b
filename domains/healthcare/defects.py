"""Scripts of what goes wrong, or is left open, on the way of a record: results without a value or corrected, records merged, references and codes
that lead nowhere, notes that say otherwise, consent, births, doses for children."""

from __future__ import annotations

import datetime as dt

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ...core.domain import Block
from ...core.scenario import Edit, Scene
from ...core.schema import load_schema
from ...core.tables import ROW, Table, Tables
from . import physiology as body
from .courses import listed, spoiled_result, visit_of
from .curves import DAY, MINUTE, YEAR, midnight
from .encounters import ADMISSION, CHECK
from .reference import HOSPITAL, nearest
from .scripts import EVER, HOUR, as_it_stands, bodies, clear, duplicate_registration, measured

DELIVERY, OUTCOME, LIVEBORN = "O80", "Z37.0", "Z38.00"


def consents(_: Block, __: Tables) -> Tables:
    """Consents stand only in the records of scenarios."""
    kinds = {ROW: pl.UInt64, "patient_id": pl.Int64, "at": pl.Int64, "end_at": pl.Int64}
    return {"consent": pl.DataFrame(schema=kinds)}


def absent_value(scene: Scene) -> list[Edit]:
    """A visit at which a result is asked for and none is there: the reason stands in its place."""
    return [
        _with(edit, value=pl.lit(None, pl.Float64), absent=pl.lit(scene["reason"])) for edit in spoiled_result(scene)
    ]


def corrected_result(scene: Scene) -> list[Edit]:
    """A result that was entered in error, and the corrected one an hour later, within the same visit's time where that is long enough."""
    visit, wrong, right = spoiled_result(scene)
    right = _with(
        right, value=pl.col("value") / scene["factor"], at=pl.col("at") + 10 * MINUTE, status=pl.lit("corrected")
    )
    return [visit, _with(wrong, status=pl.lit("entered-in-error")), right]


def orphan_result(scene: Scene) -> list[Edit]:
    """A result whose encounter is nowhere."""
    visit, result = spoiled_result(scene)
    lost = _with(result, encounter_row=pl.lit(None, pl.UInt64), orphan=pl.lit(True))
    return [visit, lost]


def _with(edit: Edit, **columns: pl.Expr) -> Edit:
    """The edit with columns of its observations changed; those of other tables as they are."""
    return Edit(edit.action, edit.table, edit.rows.with_columns(**columns)) if edit.table == "observation" else edit


def stale_code(scene: Scene) -> list[Edit]:
    """A visit at which a condition is written down by a code that was retired before."""
    day = dt.datetime.fromisoformat(load_schema("healthcare").code_lists["retired"].codes[scene["code"]])
    after = int(day.replace(tzinfo=dt.UTC).timestamp()) * 1_000_000
    patient = as_it_stands(scene).sort("instance")
    patient = patient.with_columns(first_seen=pl.max_horizontal("first_seen", pl.lit(after, pl.Int64)))
    visits, found = visit_of(scene, patient, scene["code"])
    visits = visits.with_columns(pl.lit(scene["code"]).alias("reason"), pl.Series("condition_row", found[ROW]))
    return [
        scene.edit("insert", "encounter", visits, "patient", "visit"),
        scene.edit("insert", "condition", found, "patient", "stale code"),
    ]


def contradicting_note(scene: Scene) -> list[Edit]:
    """A visit at which a condition is found, and whose note denies it."""
    patient = as_it_stands(scene).sort("instance")
    visits, found = visit_of(scene, patient, scene["condition"])
    visits = visits.with_columns(
        pl.lit(scene["condition"]).alias("reason"),
        pl.Series("condition_row", found[ROW]),
        pl.lit(scene["note"]).alias("addendum"),
    )
    return [
        scene.edit("insert", "condition", found, "patient", "condition"),
        scene.edit("insert", "encounter", visits, "patient", "contradicted"),
    ]


def merged(scene: Scene) -> list[Edit]:
    """A person registered twice, and the records merged: the second is retired for the first. Not merged for good: the two are told apart
    again, and only refer to one another."""
    edits = duplicate_registration(scene)
    first, second = (scene.cast[role].sort("instance") for role in ("original", "duplicate"))
    kinds = ("seealso", "seealso") if scene["undone"] else ("replaces", "replaced-by")
    for role, own, other, kind in (("original", first, second, kinds[0]), ("duplicate", second, first, kinds[1])):
        linked = own.select("instance", ROW).with_columns(link_id=other["patient_id"], link_type=pl.lit(kind))
        edits.append(scene.edit("update", "patient", linked, role, "unmerged" if scene["undone"] else "merged"))
    return edits


def partial_birth(scene: Scene) -> list[Edit]:
    """Of the date of birth only the year, or year and month, are known."""
    patient = scene.cast["patient"].select("instance", ROW, "birth_date")
    known = pl.col("birth_date").dt.truncate("1y" if scene["known"] == "year" else "1mo")
    moved = patient.with_columns(known.alias("birth_date"), birth_precision=pl.lit(scene["known"]))
    moved = moved.with_columns(birth=pl.col("birth_date").cast(pl.Int32).cast(pl.Int64) * DAY)
    return [scene.edit("update", "patient", moved, "patient", "partial birth date")]


def newborn(scene: Scene) -> list[Edit]:
    """A woman gives birth in hospital; the child has a record of its own, which names her."""
    mother, child = (scene.cast[role].sort("instance") for role in ("mother", "child"))
    instance = mother["instance"].to_numpy()
    first = np.maximum(mother["first_seen"].to_numpy(), mother["birth"].to_numpy() + 18 * YEAR)
    space = mother["last_seen"].to_numpy() - first - 40 * DAY
    at = (first + 20 * DAY + scene.stream.child("when").uniform(instance) * np.maximum(space, DAY)).astype(np.int64)
    born = midnight(at) + 12 * HOUR
    shared = ("family_name", "line", "city", "state", "postal_code", "phone", "race", "ethnicity", "language")
    grown = child.select("instance", ROW).with_columns(
        *(mother[c] for c in shared),
        birth=pl.Series(midnight(born)),
        birth_date=pl.Series(midnight(born) // DAY).cast(pl.Int32).cast(pl.Date),
        first_seen=pl.Series(midnight(born)),
        last_seen=pl.lit(scene.block.window.end),
        death_at=pl.lit(None, pl.Datetime("us", "UTC")),
        mother_id=mother["patient_id"],
        household_id=mother["household_id"],
        head_birth=mother["head_birth"],
        head_last=mother["head_last"],
        marital_status=pl.lit("S"),
        education=pl.lit(None, pl.String),
        spouse_id=pl.lit(None, pl.Int64),
    )
    everything = child.select("instance", "patient_id").with_columns(since=pl.lit(-EVER), until=pl.lit(EVER))
    stay = mother.select("instance", "patient_id").with_columns(
        since=pl.Series(born - 12 * HOUR), until=pl.Series(born + 48 * HOUR)
    )
    edits = [*clear(scene, everything, "child", "own history"), *clear(scene, stay, "mother", "did not happen")]
    edits.append(scene.edit("update", "patient", mother.select("instance", ROW, "given_name"), "mother", "gives birth"))
    edits.append(scene.edit("update", "patient", grown, "child", "is born"))
    for role, who, begins, code, more in (
        ("mother", mother, born - 8 * HOUR, DELIVERY, (OUTCOME,)),
        ("child", child, born, LIVEBORN, ()),
    ):
        edits += _born(scene, role, who, mother, begins, born, code, more)
    return edits


def _born(
    scene: Scene, role: str, who: Table, home: Table, begins: NDArray, born: NDArray, code: str, more: tuple[str, ...]
) -> list[Edit]:
    """The stay of mother or child in the hospital nearest to their home, and what was found."""
    instance, end = who["instance"].to_numpy(), born + 40 * HOUR
    u = scene.stream.child("doctor").uniform(instance)
    doctors = scene.block.reference["practitioner"]
    doctor = nearest(scene.block.reference, (HOSPITAL,), home.select("state", "postal_code"), u)
    visit = scene.address(f"{role} stay", instance, 0)
    base = who.select("instance", "patient_id")
    found = [
        base.with_columns(
            pl.Series(ROW, scene.address(f"{role} {c}", instance, 0)), code=pl.lit(c), onset_at=pl.Series(midnight(born) if role == "child" else begins),
            abatement_at=pl.Series(end), encounter_row=pl.Series(visit),
        )
        for c in (code, *more)
    ]  # fmt: skip
    stays = base.with_columns(
        pl.Series(ROW, visit), pl.lit("IMP").alias("class"), pl.lit(ADMISSION).alias("type"), pl.lit(code).alias("reason"),
        pl.Series("start_at", begins), pl.Series("end_at", end), pl.Series("condition_row", found[0][ROW]),
        pl.lit("home").alias("disposition"), doctors["organization_id"].gather(doctor), doctors["practitioner_id"].gather(doctor),
    )  # fmt: skip
    effect = "delivery" if role == "mother" else "birth"
    return [
        *(scene.edit("insert", "condition", f, role, effect) for f in found),
        scene.edit("insert", "encounter", stays, role, effect),
    ]


def withdrawn(scene: Scene) -> list[Edit]:
    """Consent to the use of the record, given when it begins and withdrawn after the last visit; where that is ignored, withdrawn in the midst of it,
    and a visit is recorded after that."""
    patient = as_it_stands(scene).sort("instance")
    instance = patient["instance"].to_numpy()
    first, last = (patient[c].to_numpy() for c in ("first_seen", "last_seen"))
    given = np.maximum(first, patient["birth"].to_numpy() + 18 * YEAR)
    base = patient.select("instance", "patient_id")
    if scene["ignored"]:
        share = 0.3 + 0.4 * scene.stream.child("when").uniform(instance)
        ends = midnight(given + share * (last - given))
    else:
        seen = scene.tables["encounter"].group_by("patient_id").agg(seen=pl.col("end_at").max())
        seen = base.join(seen, on="patient_id", how="left", maintain_order="left")["seen"].fill_null(0).to_numpy()
        ends = np.maximum(seen + MINUTE, given + HOUR)
    consent = base.with_columns(
        pl.Series(ROW, scene.address("consent", instance, 0)), pl.Series("at", given), pl.Series("end_at", ends)
    )
    edits = [scene.edit("insert", "consent", consent, "patient", "withdrawn")]
    if scene["ignored"]:
        start = ends + 20 * DAY + 10 * HOUR
        visit = patient.select("instance", "patient_id", "organization_id", "practitioner_id").with_columns(
            pl.Series(ROW, scene.address("visit", instance, 0)), pl.lit("AMB").alias("class"), pl.lit(CHECK).alias("type"),
            pl.Series("start_at", start), pl.Series("end_at", start + 20 * MINUTE),
        )  # fmt: skip
        edits.append(scene.edit("insert", "encounter", visit, "patient", "without consent"))
    return edits


def dose_by_weight(scene: Scene) -> list[Edit]:
    """A child with a condition is weighed, and a drug is ordered by weight, times a factor where the dose is wrong."""
    patient = scene.cast["patient"].sort("instance")
    visits, found = visit_of(scene, patient, scene["condition"], adult=0)
    instance, visit = patient["instance"].to_numpy(), visits[ROW].to_numpy()
    at = visits["start_at"].to_numpy() + 5 * MINUTE
    people = bodies(scene, patient, np.arange(len(instance)), at, visit)
    weight = body.report(people, body.WEIGHT, body.measure(people, body.WEIGHT))
    weighed = measured(scene, patient["patient_id"], instance, visit, at, {body.WEIGHT: weight})
    dose = np.round(weight * scene["mg_per_kg"] / scene["per_day"] * scene["factor"])
    found = found.with_columns(abatement_at=pl.Series(midnight(at) + 10 * DAY)).with_columns(
        abatement_at=pl.when(pl.col("abatement_at") < pl.Series(patient["last_seen"])).then("abatement_at")
    )
    visits = visits.with_columns(pl.lit(scene["condition"]).alias("reason"), pl.Series("condition_row", found[ROW]))
    order = patient.select("instance", "patient_id").with_columns(
        pl.Series(ROW, scene.address("order", instance, 0)), pl.Series("encounter_row", visit),
        pl.Series("condition_row", found[ROW]), pl.lit(listed(scene["drug"])[0]).alias("code"), pl.Series("at", at + 5 * MINUTE),
        pl.lit(scene["days"], pl.Int64).alias("days"), pl.Series("dose", dose), pl.lit(scene["per_day"], pl.Int32).alias("per_day"),
    )  # fmt: skip
    return [
        scene.edit("insert", "condition", found, "patient", "illness"),
        scene.edit("insert", "encounter", visits, "patient", "visit"),
        scene.edit("insert", "observation", weighed, "patient", "weight"),
        scene.edit("insert", "medication_request", order, "patient", "order"),
    ]


DEFECTS = {
    f.__name__: f
    for f in (
        absent_value, corrected_result, orphan_result, stale_code, contradicting_note, merged, partial_birth, newborn, withdrawn,
        dose_by_weight,
    )
}  # fmt: skip
