"""Rows from FHIR resources of care beyond visits, findings and prescriptions: procedures, plans and their goals, allergies, devices, images, supplies."""

from __future__ import annotations

import polars as pl

from ....core.tables import Table
from .codings import Codes
from .elements import field, first, instant, numbered, target


def _procedure(frame: Table, codes: Codes) -> dict[str, Table]:
    start = instant(pl.coalesce(field("performedPeriod", "start"), "performedDateTime"))
    made = frame.select(
        "id", patient_id=target(pl.col("subject")), encounter_id=target(pl.col("encounter")),
        condition_id=target(first("reasonReference")), at=start,
        end_at=pl.coalesce(instant(field("performedPeriod", "end")), start),
    )  # fmt: skip
    return {"procedure": made.with_columns(code=codes.concept(frame, pl.col("code"), "procedure"))}


def _care_plan(frame: Table, codes: Codes) -> dict[str, Table]:
    """The kind of plan is a coding of its categories beside US Core's."""
    other = pl.element().struct.field("coding").list.get(0, null_on_oob=True).struct.field("code") != "assess-plan"
    kinds = pl.col("category").list.eval(pl.element().filter(other))
    made = frame.select(
        "id", patient_id=target(pl.col("subject")), encounter_id=target(pl.col("encounter")),
        condition_id=target(first("addresses")), at=instant(field("period", "start")), end_at=instant(field("period", "end")),
    )  # fmt: skip
    made = made.with_columns(code=codes.first(frame, kinds, "care_plan"))
    each = made.select("id", "patient_id", "at").with_columns(activity=frame["activity"])
    each = each.explode("activity").filter(pl.col("activity").is_not_null())
    asked = codes.concept(each, field("activity", "detail", "code"), "care_activity")
    parts = each.select("patient_id", "at", care_plan_id="id").with_columns(code=asked)
    named = frame.select("goal", care_plan_id="id").explode("goal").filter(pl.col("goal").is_not_null())
    return {
        "care_plan": made,
        "care_activity": numbered(parts, "care_plan_id").filter(pl.col("code").is_not_null()),
        "planned": named.select("care_plan_id", id=target(pl.col("goal"))),
    }


def _goal(frame: Table, codes: Codes) -> dict[str, Table]:
    """The plan that a goal belongs to is the one that names it."""
    sought = first("target").struct.field("detailQuantity").struct
    said = pl.col("description").struct
    made = frame.select(
        "id", patient_id=target(pl.col("subject")), at=instant(pl.col("startDate")), comparator=sought.field("comparator"),
        text=pl.coalesce(said.field("text"), said.field("coding").list.get(0, null_on_oob=True).struct.field("display")),
        target=sought.field("value"),
    )  # fmt: skip
    return {
        "goal": made.with_columns(
            measure=codes.first(frame, pl.col("target").list.eval(pl.element().struct.field("measure")), "observation")
        )
    }


def _allergy(frame: Table, codes: Codes) -> dict[str, Table]:
    over = (
        field("clinicalStatus", "coding")
        .list.get(0, null_on_oob=True)
        .struct.field("code")
        .is_in(["resolved", "inactive"])
    )
    at = instant(pl.coalesce("onsetDateTime", "recordedDate"))
    made = frame.select(
        "id", patient_id=target(pl.col("patient")), encounter_id=target(pl.col("encounter")), kind=pl.col("type"),
        category=first("category"), at=at, end_at=pl.when(over).then(pl.coalesce(instant(pl.col("lastOccurrence")), at)),
    )  # fmt: skip
    made = made.with_columns(code=codes.concept(frame, pl.col("code"), "allergy"))
    each = made.select("id", "patient_id", "at").with_columns(reaction=frame["reaction"])
    each = each.explode("reaction").filter(pl.col("reaction").is_not_null())
    shows = codes.first(each, field("reaction", "manifestation"), "reaction")
    parts = each.select("patient_id", "at", allergy_id="id", severity=field("reaction", "severity"))
    parts = numbered(parts.with_columns(code=shows), "allergy_id").filter(pl.col("code").is_not_null())
    return {"allergy": made, "allergy_reaction": parts}


def _device(frame: Table, codes: Codes) -> dict[str, Table]:
    made = frame.select(
        "id", patient_id=target(pl.col("patient")), manufacturer="manufacturer", model="modelNumber", status="status",
        at=pl.lit(None, pl.Datetime("us", "UTC")),
    )  # fmt: skip
    return {"device": made.with_columns(code=codes.concept(frame, pl.col("type"), "device"))}


def _imaging_study(frame: Table, codes: Codes) -> dict[str, Table]:
    made = frame.select(
        "id", patient_id=target(pl.col("subject")), encounter_id=target(pl.col("encounter")), at=instant(pl.col("started")),
        series=pl.coalesce("numberOfSeries", pl.col("series").list.len()).cast(pl.Int32),
        instances=pl.col("numberOfInstances").cast(pl.Int32),
    )  # fmt: skip
    one = first("series").struct
    kind = codes.coding(frame, pl.coalesce(first("modality"), one.field("modality")), "modality")
    return {
        "imaging_study": made.with_columns(
            code=codes.first(frame, pl.col("procedureCode"), "procedure"),
            modality=kind,
            body_site=codes.coding(frame, one.field("bodySite"), "body_site"),
        )
    }


def _supply(frame: Table, codes: Codes) -> dict[str, Table]:
    made = frame.select(
        "id", patient_id=target(pl.col("patient")), at=instant(pl.col("occurrenceDateTime")),
        quantity=field("suppliedItem", "quantity", "value").round().cast(pl.Int32, strict=False),
    )  # fmt: skip
    thing = codes.concept(frame, field("suppliedItem", "itemCodeableConcept"), "supply")
    return {"supply": made.with_columns(code=thing)}


READERS = {
    "Procedure": _procedure,
    "CarePlan": _care_plan,
    "Goal": _goal,
    "AllergyIntolerance": _allergy,
    "Device": _device,
    "ImagingStudy": _imaging_study,
    "SupplyDelivery": _supply,
}
