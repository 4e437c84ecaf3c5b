"""What scenarios do to the facts. Each script is a function of the cast alone; keys, ages, derived measures and statuses follow."""

from __future__ import annotations

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ...core.scenario import Edit, Scene
from ...core.tables import ROW, Table
from . import identity
from . import physiology as body
from .curves import DAY, MINUTE, YEAR, midnight, office_time
from .deaths import CAUSE, cause_of
from .encounters import INTENSIVE, ROOM, SYMPTOM
from .observations import SHOWN
from .physiology import Body
from .population import TRAITS, leap_day_before

HOUR = 60 * MINUTE
EVER = 2**62
SEPSIS = "A41.9"


def duplicate_registration(scene: Scene) -> list[Edit]:
    """A second record of the same person: a noisy copy of the identity, and one visit."""
    original, duplicate = (scene.cast[role].sort("instance") for role in ("original", "duplicate"))
    instance = original["instance"].to_numpy()
    record = _copied_identity(scene, original).with_columns(
        duplicate["instance"],
        duplicate[ROW],
        birth=original["birth"],
        first_seen=original["first_seen"],
        last_seen=pl.lit(scene.block.window.end),
        death_at=pl.lit(None, pl.Datetime("us", "UTC")),
    )
    first = np.maximum(original["first_seen"].to_numpy(), original["birth"].to_numpy() + 18 * YEAR)
    room = original["last_seen"].to_numpy() - first - 8 * DAY
    at = first + DAY + scene.stream.child("when").uniform(instance) * room
    start = office_time(at, scene.block.priors, scene.stream.child("hour"), instance)
    visit = scene.address("visit", instance, 0)
    people = bodies(scene, original, np.arange(len(instance)), start + 5 * MINUTE, visit)
    codes = (body.HEIGHT, body.WEIGHT, body.SYSTOLIC, body.DIASTOLIC, body.HEART_RATE)
    values = {code: body.report(people, code, body.measure(people, code)) for code in codes}
    visits = duplicate.select("instance", "patient_id", "organization_id", "practitioner_id").with_columns(
        pl.Series(ROW, visit), pl.Series("start_at", start), pl.Series("end_at", start + 20 * MINUTE)
    )
    results = measured(scene, duplicate["patient_id"], instance, visit, people.at, values)
    everything = duplicate.select("instance", "patient_id").with_columns(since=pl.lit(-EVER), until=pl.lit(EVER))
    kept = original.select("instance", ROW, "given_name")
    return [
        *clear(scene, everything, "duplicate", "own history"),
        scene.edit("update", "patient", kept, "original", "registered twice"),
        scene.edit("update", "patient", record, "duplicate", "copied identity"),
        scene.edit(
            "insert",
            "encounter",
            visits.with_columns(pl.lit("AMB").alias("class"), pl.lit(SYMPTOM).alias("type")),
            "duplicate",
            "registration visit",
        ),
        scene.edit("insert", "observation", results, "duplicate", "registration visit"),
    ]


def _copied_identity(scene: Scene, original: Table) -> Table:
    """The original's identity, each part changed with probability `noise`."""
    instance = original["instance"].to_numpy()

    def differs(name: str) -> pl.Series:
        return pl.Series(scene.stream.child("differs", name).uniform(instance) < scene["noise"])

    def swapped(name: str) -> pl.Expr:
        text = pl.col(name)
        return pl.concat_str(text.str.slice(0, 1), text.str.slice(2, 1), text.str.slice(1, 1), text.str.slice(3))

    born, moved = pl.col("birth_date"), differs("address")
    months = born.dt.day() <= 12
    mistaken = (
        pl.when(months).then(pl.date(born.dt.year(), born.dt.day(), born.dt.month())).otherwise(born.dt.offset_by("1d"))
    )
    elsewhere = pl.DataFrame(identity.address(instance, scene.stream.child("address"), scene.block.priors))
    number = identity.phone(instance, scene.stream.child("phone"), scene.block.priors("record.locale"))
    same = ("sex", "race", "ethnicity", "language", "marital_status", "organization_id", "practitioner_id")
    return original.select(
        pl.when(differs("given")).then(swapped("given_name")).otherwise("given_name").alias("given_name"),
        pl.when(differs("middle"))
        .then(pl.col("middle_name").str.slice(0, 1))
        .otherwise("middle_name")
        .alias("middle_name"),
        pl.when(differs("family")).then(swapped("family_name")).otherwise("family_name").alias("family_name"),
        pl.when(differs("birth date")).then(mistaken).otherwise(born).alias("birth_date"),
        *(pl.when(moved).then(elsewhere[c]).otherwise(c).alias(c) for c in elsewhere.columns),
        pl.when(differs("phone")).then(number).otherwise("phone").alias("phone"),
        *same,
    )


def sepsis_deterioration(scene: Scene) -> list[Edit]:
    """Emergency room, intensive care, hours of worsening, then recovery or death."""
    stay = scene["hours"] * HOUR
    patient = as_it_stands(scene, stay + 11 * DAY).sort("instance")
    if patient.is_empty():
        return []
    instance = patient["instance"].to_numpy()
    first = np.maximum(patient["first_seen"].to_numpy(), patient["birth"].to_numpy() + 18 * YEAR)
    room = patient["last_seen"].to_numpy() - first - stay - 10 * DAY
    when = first + DAY + scene.stream.child("when").uniform(instance) * np.maximum(room, DAY)
    arrival = when.astype(np.int64) // MINUTE * MINUTE
    ward = arrival + 4 * HOUR
    end = ward + stay
    dies = scene.stream.child("outcome").uniform(instance) < scene["mortality"]
    room_row, ward_row, sepsis = (scene.address(kind, instance, 0) for kind in ("room", "ward", "sepsis"))
    well = np.minimum(midnight(end + 8 * DAY), patient["last_seen"].to_numpy())
    known = pl.Series(~dies & (well < patient["last_seen"].to_numpy()))

    base = patient.select("instance", "patient_id")
    condition = base.with_columns(
        pl.Series(ROW, sepsis),
        pl.lit(SEPSIS).alias("code"),
        pl.Series("onset_at", arrival - 12 * HOUR),
        pl.Series("abatement_at", well).set(~known, None),
        pl.Series("encounter_row", room_row),
    )
    visits = pl.concat(
        [
            _stay(scene, patient, room_row, "EMER", ROOM, arrival, ward, sepsis, np.full(len(dies), "home")),
            _stay(scene, patient, ward_row, "IMP", INTENSIVE, ward, end, sepsis, np.where(dies, "exp", "home")),
        ]
    )
    drug = next(k for k in scene.block.priors("drug")[SEPSIS] if k.isdigit())
    days = scene.block.priors("drug")[SEPSIS]["days"]
    order = base.with_columns(
        pl.Series(ROW, scene.address("order", instance, 0)),
        pl.Series("encounter_row", room_row),
        pl.Series("condition_row", sepsis),
        pl.lit(drug).alias("code"),
        pl.Series("at", arrival + HOUR),
        pl.lit(days, pl.Int64).alias("days"),
    )
    gone = base.with_columns(pl.Series("since", arrival - 12 * HOUR), pl.Series("until", np.where(dies, EVER, end)))
    dead = patient.select("instance", ROW).with_columns(
        pl.Series("death_at", end).cast(pl.Datetime("us", "UTC")), pl.Series("last_seen", end)
    )
    deaths = base.with_columns(pl.Series("death", end)).filter(pl.Series(dies))
    return [
        *clear(scene, gone, "patient", "did not happen"),
        *still_ill(scene, deaths),
        scene.edit("update", "patient", dead.filter(pl.Series(dies)), "patient", "death"),
        certified(scene, deaths, SEPSIS),
        scene.edit("insert", "condition", condition, "patient", "sepsis"),
        scene.edit("insert", "encounter", visits, "patient", "stay"),
        scene.edit("insert", "medication_request", order, "patient", "treatment"),
        Edit("insert", "observation", _trajectory(scene, patient, arrival, ward, end, dies, room_row, ward_row)),
    ]


def _stay(
    scene: Scene,
    patient: Table,
    row: NDArray,
    kind: str,
    code: str,
    start: NDArray,
    end: NDArray,
    sepsis: NDArray,
    outcome: NDArray,
) -> Table:
    doctors = scene.block.reference["practitioner"]
    specialty = {"EMER": "207P00000X", "IMP": "208M00000X"}[kind]
    able = doctors.filter(pl.col("specialty") == specialty)
    doctor = scene.stream.child("doctor", kind).integers(patient["instance"].to_numpy(), able.height)
    return patient.select("instance", "patient_id").with_columns(
        pl.Series(ROW, row),
        pl.lit(kind).alias("class"),
        pl.lit(code).alias("type"),
        pl.Series("start_at", start),
        pl.Series("end_at", end),
        pl.lit(SEPSIS).alias("reason"),
        pl.Series("condition_row", sepsis),
        pl.Series("disposition", outcome),
        able["organization_id"].gather(doctor),
        able["practitioner_id"].gather(doctor),
    )


def _trajectory(
    scene: Scene,
    patient: Table,
    arrival: NDArray,
    ward: NDArray,
    end: NDArray,
    dies: NDArray,
    room_row: NDArray,
    ward_row: NDArray,
) -> Table:
    """Rounds of measurement with their phase: deterioration, peak, recovery."""
    priors = scene.block.priors
    rounds = 2 + scene["hours"] // scene["interval"]
    who = np.repeat(np.arange(patient.height), rounds)
    k = np.tile(np.arange(rounds), patient.height)
    instance = patient["instance"].to_numpy()[who]
    at = np.where(k == 0, arrival[who] + 10 * MINUTE, ward[who] + (k - 1) * scene["interval"] * HOUR)
    at = np.minimum(at, end[who])
    peak = np.where(dies, end, np.minimum(arrival + priors("sepsis.peak_hours") * HOUR, end))[who]
    worsening = at <= peak
    # the round nearest to the peak stands at full severity
    top = k == np.abs(at - peak).reshape(-1, rounds).argmin(axis=1)[who]
    people = bodies(scene, patient, who, at, scene.address("round", instance, k))
    own = {code: body.measure(people, code) for code in priors("sepsis.peak")}
    rest = {code: np.repeat(v.reshape(-1, rounds).mean(axis=1), rounds) for code, v in own.items()}
    first = np.mean(
        [_share(c, rest[name], priors("sepsis.peak")[name]) for name, c in priors("sepsis.criteria").items()], axis=0
    )
    rising = first + (1 - first) * (at - arrival[who]) / (peak - arrival[who])
    falling = 1 - (at - peak) / np.maximum(end[who] - peak, 1)
    severity = np.where(top, 1.0, np.where(worsening, rising, falling))
    values = {}
    for code, shock in priors("sepsis.peak").items():
        full = rest[code] * shock if code == body.CREATININE else shock
        values[code] = body.report(people, code, own[code] + severity * (full - rest[code]))
    at_rest, added = priors("sepsis.lactate")
    _, spread = priors("lactate.normal")
    # the spread of lactate.normal is between people
    own_level = np.exp(spread * scene.stream.child("lactate").normal(instance))
    lactate = (at_rest + added * severity) * own_level
    values[body.LACTATE] = body.report(people, body.LACTATE, lactate)
    visit = np.where(k == 0, room_row[who], ward_row[who])
    phase = np.where(top, "peak", np.where(worsening, "deterioration", "recovery"))
    seldom = {body.LACTATE: top | (k % 2 == 0), body.CREATININE: top | (k % 6 == 0)}
    results = measured(scene, patient["patient_id"].gather(who), instance, visit, at, values, seldom, phase)
    return results.with_columns(role=pl.lit("patient"))


def _share(criterion: float, rest: NDArray, peak: float) -> NDArray[np.float64]:
    """How far on the way from rest to the peak a criterion lies, 0 to 1."""
    return np.clip((criterion - rest) / (peak - rest), 0, 1)


def leap_day_birth(scene: Scene) -> list[Edit]:
    """Birth on the last 29 February before the patient's own."""
    patient = as_it_stands(scene)
    birth = leap_day_before(patient["birth"].to_numpy())
    moved = patient.select("instance", ROW).with_columns(
        pl.Series("birth", birth), pl.Series("birth_date", birth // DAY).cast(pl.Int32).cast(pl.Date)
    )
    return [scene.edit("update", "patient", moved, "patient", "leap day birth")]


def as_it_stands(scene: Scene, needs: int = 0) -> Table:
    """The cast patient after the scenarios played before: this role has one patient, whose block is the only one that plays. Those adults stay who have the
    time left that it `needs`: another scenario may have ended their life, and where it begins at an instant, records are seen from there on."""
    now = scene.tables["patient"].select("patient_id", "birth", "first_seen", "last_seen", "sex")
    found = scene.cast["patient"].drop(now.columns[1:]).join(now, on="patient_id", maintain_order="left")
    if scene.use.since is None and not needs:
        return found
    if scene.use.since is not None:
        found = found.with_columns(first_seen=pl.max_horizontal("first_seen", pl.lit(scene.use.since, pl.Int64)))
    return found.filter(pl.col("last_seen") - pl.max_horizontal("first_seen", pl.col("birth") + 18 * YEAR) > needs)


def bodies(scene: Scene, patient: Table, who: NDArray, at: NDArray, rows: NDArray) -> Body:
    """The cast's bodies; what their record says of disease is not asked, so that every block sees the same."""
    nothing = np.zeros(len(who), bool)
    return Body(
        rows,
        patient["birth"].to_numpy()[who],
        at,
        (patient["sex"] == "male").to_numpy()[who],
        {t: patient[f"z_{t}"].to_numpy()[who] for t in TRAITS},
        dict.fromkeys((*SHOWN, "E78.5 treated"), nothing),
        scene.block.priors,
        scene.stream.child("body"),
    )


def measured(
    scene: Scene,
    patient_id: pl.Series,
    instance: NDArray,
    visit: NDArray,
    at: NDArray,
    values: dict[str, NDArray],
    only: dict[str, NDArray] | None = None,
    effect: NDArray | None = None,
) -> Table:
    """Observations of several codes at the same moments, in long form; `only` says at which moments a code is measured."""
    parts = []
    moment = np.arange(len(at)) - np.searchsorted(instance, instance)
    for code, value in values.items():
        part = pl.DataFrame(
            {
                ROW: scene.address(code, instance, moment),
                "instance": instance,
                "patient_id": patient_id,
                "encounter_row": visit,
                "code": pl.repeat(code, len(at), dtype=pl.String, eager=True),
                "at": at,
                "value": value,
            }
        )
        if effect is not None:
            part = part.with_columns(pl.Series("effect", effect))
        parts.append(part.filter(pl.Series(only[code])) if only and code in only else part)
    return pl.concat(parts)


def clear(scene: Scene, spans: Table, role: str, effect: str) -> list[Edit]:
    """Take out what each patient's record holds between `since` and `until`: the encounters, what was found, measured, ordered and
    given in them or at that time, what belongs to that, and the later visits for a condition that is no longer found. `spans`: instance, patient_id,
    since, until."""
    visit, condition = (
        scene.tables[name].join(spans, on="patient_id", maintain_order="left") for name in ("encounter", "condition")
    )
    inside = visit.filter((pl.col("end_at") > pl.col("since")) & (pl.col("start_at") < pl.col("until")))
    unfound = condition.filter(
        pl.col("onset_at").is_between("since", "until") | pl.col("encounter_row").is_in(inside[ROW].implode())
    )
    visits = visit.filter(
        pl.col(ROW).is_in(inside[ROW].implode())
        | pl.col("condition_row").is_in(unfound[ROW].implode())
        | pl.col(ROW).is_in(unfound["encounter_row"].implode())
    )
    rows = {"encounter": visits, "condition": unfound}
    for name, table in _recorded(scene).items():
        then = table.join(spans, on="patient_id", maintain_order="left")
        gone = pl.col("at").is_between("since", "until")
        if "encounter_row" in then.columns:
            gone = pl.col("encounter_row").is_in(visits[ROW].implode()) | (pl.col("encounter_row").is_null() & gone)
        for parent in {f"{n}_row" for n in rows} & {*then.columns} - {"encounter_row", "condition_row"}:
            gone |= pl.col(parent).is_in(rows[parent.removesuffix("_row")][ROW].implode())
        rows[name] = then.filter(gone)
    return [scene.edit("remove", name, frame.select("instance", ROW), role, effect) for name, frame in rows.items()]


def _recorded(scene: Scene) -> dict[str, Table]:
    """What stands in the record besides encounters and conditions: what has a moment, each after what it may belong to."""
    within = {n: t for n, t in scene.tables.items() if {"patient_id", "at", ROW} <= {*t.columns} and n != "consent"}
    return dict(sorted(within.items(), key=lambda item: any(f"{other}_row" in item[1].columns for other in within)))


def certified(scene: Scene, deaths: Table, condition: str) -> Edit:
    """The causes of deaths that a scenario brings about by a condition. `deaths`: instance, patient_id, death."""
    made = deaths.select(
        "instance",
        "patient_id",
        pl.Series(ROW, scene.address("cause of death", deaths["instance"].to_numpy(), 0)),
        at="death",
        code=pl.lit(CAUSE),
        value_code=pl.lit(cause_of(scene.block.priors, condition)),
    )
    return scene.edit("insert", "observation", made, "patient", "death")


def still_ill(scene: Scene, deaths: Table) -> list[Edit]:
    """What would have ended after death, conditions, treatments and plans, has not ended at death."""
    edits = []
    for name, table in {"condition": scene.tables["condition"], **_recorded(scene)}.items():
        end = "abatement_at" if name == "condition" else "end_at"
        if end not in table.columns or name == "procedure":
            continue
        late = table.join(deaths, on="patient_id", maintain_order="left").filter(pl.col(end) >= pl.col("death"))
        if name == "condition" or late.height:
            open_ended = late.select("instance", ROW).with_columns(pl.lit(None, pl.Int64).alias(end))
            edits.append(scene.edit("update", name, open_ended, "patient", "active at death"))
    return edits


SCRIPTS = {f.__name__: f for f in (duplicate_registration, sepsis_deterioration, leap_day_birth)}
