"""Rows from FHIR resources: for each type, what its table takes of a frame of them.

A frame made here has `id`, the resource's, and in columns that refer to other rows the ids of theirs; `keys` turns both into numbers.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import polars as pl

from ....core.tables import Table
from ..physiology import DIASTOLIC, SYSTOLIC
from . import care
from .codings import Codes
from .elements import address, date, field, first, identifier, instant, known, name, of_system, phone, target

Rows: TypeAlias = dict[str, Table]
US_CORE = "http://hl7.org/fhir/us/core/StructureDefinition/us-core-"
RELATIONS = {"MTH": "mother", "NMTH": "mother", "SPS": "spouse", "HUSB": "spouse", "WIFE": "spouse"}
"""HL7 v3 RoleCode: the relatives that a record has a place for."""
LINKS = ("replaced-by", "replaces", "seealso")
NPI = "http://hl7.org/fhir/sid/us-npi"
DERIVED_REPORT = "11502-2"
"""LOINC: the laboratory report that the view makes of the results of one moment."""


OBSERVED = (
    "id", "patient_id", "encounter_id", "at", "code", "value", "unit", "value_text", "value_code", "absent", "status", "low"
)  # fmt: skip
"""Columns of the observations that are read."""


def _organization(frame: Table, codes: Codes) -> Rows:
    kinds = {display: code for code, display in codes.schema.code_lists["organization_kind"].codes.items()}
    said = first("type").struct.field("text").replace_strict(kinds, default=None, return_dtype=pl.String)
    insurer = (
        first("type").struct.field("coding").list.get(0, null_on_oob=True).struct.field("code").is_in(["ins", "pay"])
    )
    kind = pl.coalesce(said, pl.when(insurer).then(pl.lit("private")).otherwise(pl.lit("clinic")))
    made = frame.select("id", "name", kind=kind, **address(), phone=phone())
    return {"organization": made}


def _practitioner(frame: Table, codes: Codes) -> Rows:
    skill = first("qualification")
    made = frame.select(
        "id", npi=pl.coalesce(of_system(NPI), identifier("NPI")), organization_id=target(skill.struct.field("issuer")), sex=pl.col("gender"),
        **{k: v for k, v in name().items() if k != "middle_name"},
    )  # fmt: skip
    return {"practitioner": made.with_columns(specialty=codes.concept(frame, skill.struct.field("code"), "specialty"))}


def _role(frame: Table, codes: Codes) -> Rows:
    made = frame.select(
        "id",
        practitioner_id=target(pl.col("practitioner")),
        organization_id=target(pl.col("organization")),
        specialty=codes.first(frame, pl.col("specialty"), "specialty"),
    )
    return {"role": made}


def _patient(frame: Table, codes: Codes) -> Rows:
    def extension(name: str) -> pl.Series:
        here = pl.element().filter(pl.element().struct.field("url") == f"{US_CORE}{name}").struct.field("extension")
        parts = frame.select(pl.col("extension").list.eval(here.explode()).alias("e"))
        omb = pl.element().filter(pl.element().struct.field("url") == "ombCategory").struct.field("valueCoding")
        code = codes.of(parts, pl.col("e").list.eval(omb), name)
        said = pl.element().filter(pl.element().struct.field("url") == "text").struct.field("valueString")
        text = parts.select(pl.col("e").list.eval(said).list.get(0, null_on_oob=True).alias("t"))["t"]
        shown = {display: code for code, display in codes.schema.code_lists[name].codes.items()}
        return code.fill_null(text.replace_strict(shown, default=None, return_dtype=pl.String))

    spoken = pl.col("communication").list.eval(pl.element().struct.field("language"))
    made = frame.select(
        "id", mrn=identifier("MR"), **name(), sex=pl.col("gender"), birth_date=date(pl.col("birthDate")),
        death_at=instant(pl.col("deceasedDateTime")), **address(), phone=phone(),
        organization_id=target(pl.col("managingOrganization")), practitioner_id=target(first("generalPractitioner")),
        link_id=target(first("link").struct.field("other")), link_type=known(first("link").struct.field("type"), LINKS),
        birth_precision=pl.col("birthDate").str.len_chars().replace_strict({4: "year", 7: "month"}, default=None, return_dtype=pl.String),
    )  # fmt: skip
    return {
        "patient": made.with_columns(
            sex=codes.plain(made["sex"], "sex"),
            race=extension("race"),
            ethnicity=extension("ethnicity"),
            language=codes.first(frame, spoken, "language"),
            marital_status=codes.concept(frame, pl.col("maritalStatus"), "marital_status"),
        )
    }


def _related_person(frame: Table, codes: Codes) -> Rows:
    said = first("relationship").struct.field("coding").list.get(0, null_on_oob=True).struct.field("code")
    relation = said.replace_strict(RELATIONS, default=None, return_dtype=pl.String)
    return {
        "relative": frame.select("id", patient_id=target(pl.col("patient")), mrn=identifier("MR"), relation=relation)
    }


def _coverage(frame: Table, codes: Codes) -> Rows:
    made = frame.select(
        "id", patient_id=target(pl.col("beneficiary")), organization_id=target(first("payor")),
        member_number=pl.col("subscriberId"), start_at=instant(field("period", "start")), end_at=instant(field("period", "end")),
    )  # fmt: skip
    return {"coverage": made.with_columns(kind=codes.concept(frame, pl.col("type"), "coverage_kind"))}


def _encounter(frame: Table, codes: Codes) -> Rows:
    start = instant(field("period", "start"))
    made = frame.select(
        "id", patient_id=target(pl.col("subject")), start_at=start, end_at=pl.coalesce(instant(field("period", "end")), start),
        organization_id=target(pl.col("serviceProvider")),
        practitioner_id=target(first("participant").struct.field("individual")),
    )  # fmt: skip
    kinds = {
        "class": codes.coding(frame, pl.col("class"), "encounter_class"),
        "type": codes.first(frame, pl.col("type"), "encounter_type"),
        "reason": codes.first(frame, pl.col("reasonCode"), "condition"),
        "disposition": codes.concept(frame, field("hospitalization", "dischargeDisposition"), "disposition"),
    }
    return {"encounter": made.with_columns(**kinds)}


def _condition(frame: Table, codes: Codes) -> Rows:
    onset = pl.coalesce("onsetDateTime", field("onsetPeriod", "start"), "recordedDate")
    abated = pl.coalesce("abatementDateTime", field("onsetPeriod", "end"))
    made = frame.select(
        "id", patient_id=target(pl.col("subject")), encounter_id=target(pl.col("encounter")), onset_at=instant(onset),
        abatement_at=instant(abated),
    )  # fmt: skip
    return {
        "condition": made.with_columns(
            code=codes.concept(frame, pl.col("code"), "condition"),
            status=codes.concept(frame, pl.col("clinicalStatus"), "condition_status"),
        )
    }


def _observation(frame: Table, codes: Codes) -> Rows:
    """Components become rows of their own: a blood pressure's two become the pair that the view joins again."""
    at = pl.coalesce("effectiveDateTime", field("effectivePeriod", "start"), "effectiveInstant")
    category = first("category").struct.field("coding").list.get(0, null_on_oob=True).struct.field("code")
    kept = ("valueQuantity", "valueCodeableConcept", "valueString", "valueInteger", "valueBoolean", "valueSampledData")
    whole = frame.select(
        "id", patient_id=target(pl.col("subject")), encounter_id=target(pl.col("encounter")), at=instant(at), category=category,
        concept="code", part=pl.lit(0, pl.Int64), **{k: pl.col(k) for k in kept},
        parts=pl.col("component").list.len().fill_null(0), component="component", status=known(pl.col("status"), ("corrected",)),
        lacks="dataAbsentReason",
    )  # fmt: skip
    parts = whole.filter(pl.col("parts") > 0).drop("concept", *kept, "part").explode("component").unnest("component")
    parts = parts.rename({"code": "concept"}).with_columns(part=pl.int_range(1, pl.len() + 1).over("id").cast(pl.Int64))
    code = parts["concept"].struct.field("coding").list.get(0, null_on_oob=True).struct.field("code")
    # the systolic pressure has the panel's id, as the view gives it
    parts = parts.with_columns(part=pl.when(code == SYSTOLIC).then(0).otherwise("part")).drop("parts")
    alone = whole.filter(
        (pl.col("parts") == 0) | pl.any_horizontal(pl.col(k).is_not_null() for k in kept)
    ).drop("parts", "component")  # fmt: skip
    every = pl.concat([alone, parts.select(alone.columns)])
    found = codes.concept(every, pl.col("valueCodeableConcept"), "finding")
    absent = codes.concept(every, pl.col("lacks"), "absent")
    quantity = pl.col("valueQuantity").struct
    series = pl.col("valueSampledData").struct
    text = pl.coalesce(
        "valueString",
        series.field("data"),
        pl.col("valueBoolean").cast(pl.String),
        field("valueCodeableConcept", "text"),
    )
    made = every.with_columns(
        code=codes.concept(every, pl.col("concept"), "observation"),
        value=pl.coalesce(quantity.field("value"), pl.col("valueInteger").cast(pl.Float64)),
        unit=pl.coalesce(
            quantity.field("code"), quantity.field("unit"), *(series.field("origin").struct.field(n) for n in ("code", "unit"))
        ),
        value_code=found,
        absent=absent,
    ).with_columns(
        value_text=pl.when(pl.col("value").is_null() & pl.col("value_code").is_null()).then(text),
        id=pl.when(pl.col("part") == 0).then("id").otherwise(pl.format("{}/{}", "id", "part")),
    )  # fmt: skip
    codes.measure(made)
    made = made.with_columns(low=(pl.col("code") == DIASTOLIC) & (pl.col("part") > 0))
    told = made.filter(series.field("data").is_not_null() & pl.col("value").is_null() & pl.col("value_code").is_null())
    about = told.select(
        "id", "patient_id", "at", period=series.field("period"), dimensions=series.field("dimensions").cast(pl.Int32),
        origin=series.field("origin").struct.field("value").fill_null(0.0), factor=series.field("factor"),
        lower_limit=series.field("lowerLimit"), upper_limit=series.field("upperLimit"), observation_id="id",
    )  # fmt: skip
    return {"observation": made.select(OBSERVED), **({"sampled_data": about} if about.height else {})}


def _as_observation(file: pl.Expr) -> pl.Expr:
    """The id of the observation that a Media is: ours has the number of its own."""
    ours = pl.format("observation-{}", file.str.extract(r"^media-(\d{1,18})$"))
    return pl.coalesce(ours, pl.format("{}/media", file))


def _media(frame: Table, codes: Codes) -> Rows:
    """Observations that are files."""
    part = pl.col("content").struct
    at = instant(pl.coalesce("createdDateTime", field("createdPeriod", "start"), "issued"))
    made = frame.select(
        id=_as_observation(pl.col("id")), patient_id=target(pl.col("subject")), encounter_id=target(pl.col("encounter")), at=at,
        value_text=pl.coalesce(part.field("data"), part.field("url")),
        inline=part.field("data").is_not_null(), content_type=part.field("contentType"), language=part.field("language"),
        title=part.field("title"), size=part.field("size"), hash=part.field("hash"), creation=part.field("creation"),
        height=pl.col("height").cast(pl.Int32), width=pl.col("width").cast(pl.Int32), frames=pl.col("frames").cast(pl.Int32),
        duration=pl.col("duration"),
    )  # fmt: skip
    made = made.with_columns(code=codes.first(frame, pl.col("reasonCode"), "observation")).filter(
        pl.col("value_text").is_not_null()
    )
    nothing = {
        **dict.fromkeys(("unit", "value_code", "absent", "status"), pl.lit(None, pl.String)),
        "value": pl.lit(None, pl.Float64), "low": pl.lit(False),
    }  # fmt: skip
    rows = made.select("id", "patient_id", "encounter_id", "at", "code", "value_text", **nothing).select(OBSERVED)
    told = made.drop("encounter_id", "code", "value_text").with_columns(observation_id="id")
    return {"observation": rows, "attachment": told} if made.height else {}


def _report(frame: Table, codes: Codes) -> Rows:
    """Those that the view makes of laboratory results are not kept: it makes them again."""
    code = codes.concept(frame, pl.col("code"), "diagnostic_report")
    frame = frame.with_columns(kind=code)
    ours = pl.col("id").str.starts_with("diagnostic-report-") & (pl.col("kind") == DERIVED_REPORT)
    frame = frame.filter(~ours)
    made = frame.select(
        "id", patient_id=target(pl.col("subject")), encounter_id=target(pl.col("encounter")), code="kind",
        at=instant(pl.coalesce("effectiveDateTime", "issued")),
    )  # fmt: skip
    pictures = pl.col("media").list.eval(pl.element().struct.field("link"))
    listed = pl.concat(
        frame.select(result=of, diagnostic_report_id="id", file=pl.lit(n == 1)).explode("result")
        for n, of in enumerate((pl.col("result"), pictures))
    ).filter(pl.col("result").is_not_null())
    named = target(pl.col("result"))
    codes.found.get("diagnostic_report", {}).pop(DERIVED_REPORT, None) if not made.height else None
    return {"diagnostic_report": made, "result": listed.select(
        "diagnostic_report_id", id=pl.when("file").then(_as_observation(named)).otherwise(named)
    )}  # fmt: skip


def _drug(frame: Table, codes: Codes) -> dict[str, pl.Series]:
    return {
        "code": codes.concept(frame, pl.col("medicationCodeableConcept"), "medication"),
        "medication": frame.select(target(pl.col("medicationReference")).alias("m"))["m"],
    }


def _medication(frame: Table, codes: Codes) -> Rows:
    codes.concept(frame, pl.col("code"), "formulary")
    return {"drug": frame.select("id").with_columns(code=codes.concept(frame, pl.col("code"), "medication"))}


def _medication_request(frame: Table, codes: Codes) -> Rows:
    told = first("dosageInstruction")
    dose = told.struct.field("doseAndRate").list.get(0, null_on_oob=True).struct.field("doseQuantity")
    made = frame.select(
        "id", patient_id=target(pl.col("subject")), encounter_id=target(pl.col("encounter")),
        condition_id=target(first("reasonReference")), at=instant(pl.col("authoredOn")),
        days=field("dispenseRequest", "expectedSupplyDuration", "value").round().cast(pl.Int32, strict=False), status="status",
        dose=pl.when(dose.struct.field("code") == "mg").then(dose.struct.field("value")),
        per_day=told.struct.field("timing").struct.field("repeat").struct.field("frequency").cast(pl.Int32, strict=False),
    )  # fmt: skip
    made = made.with_columns(status=codes.plain(made["status"], "request_status"), **_drug(frame, codes))
    return {"medication_request": made}


def _administration(frame: Table, codes: Codes) -> Rows:
    made = frame.select(
        "id", patient_id=target(pl.col("subject")), encounter_id=target(pl.col("context")),
        at=instant(pl.coalesce("effectiveDateTime", field("effectivePeriod", "start"))),
    )  # fmt: skip
    return {"medication_administration": made.with_columns(**_drug(frame, codes))}


def _immunization(frame: Table, codes: Codes) -> Rows:
    made = frame.select(
        "id", patient_id=target(pl.col("patient")), encounter_id=target(pl.col("encounter")),
        at=instant(pl.col("occurrenceDateTime")),
        dose=first("protocolApplied").struct.field("doseNumberPositiveInt").cast(pl.Int32, strict=False),
    )  # fmt: skip
    return {"immunization": made.with_columns(code=codes.concept(frame, pl.col("vaccineCode"), "vaccine"))}


def _consent(frame: Table, codes: Codes) -> Rows:
    made = frame.select(
        "id", patient_id=target(pl.col("patient")), at=instant(pl.coalesce("dateTime", field("provision", "period", "start"))),
        end_at=instant(field("provision", "period", "end")),
    )  # fmt: skip
    return {"consent": made}


def _claim(frame: Table, codes: Codes) -> Rows:
    made = frame.select(
        "id", patient_id=target(pl.col("patient")), at=instant(pl.col("created")),
        coverage_id=target(first("insurance").struct.field("coverage")),
        encounter_id=target(first("item").struct.field("encounter").list.get(0, null_on_oob=True)),
        total=field("total", "value"),
    )  # fmt: skip
    return {"claim": made}


def _explanation(frame: Table, codes: Codes) -> Rows:
    kind = (
        pl.element().struct.field("category").struct.field("coding").list.get(0, null_on_oob=True).struct.field("code")
    )
    benefit = pl.element().filter(kind == "benefit").struct.field("amount").struct.field("value")
    paid = pl.coalesce(
        pl.col("total").list.eval(benefit).list.get(0, null_on_oob=True), field("payment", "amount", "value")
    )
    return {"paid": frame.select(claim_id=target(pl.col("claim")), paid=paid)}


READERS: dict[str, Callable[[Table, Codes], Rows]] = {
    "Organization": _organization,
    "Practitioner": _practitioner,
    "PractitionerRole": _role,
    "Patient": _patient,
    "RelatedPerson": _related_person,
    "Coverage": _coverage,
    "Encounter": _encounter,
    "Condition": _condition,
    "Observation": _observation,
    "Media": _media,
    "DiagnosticReport": _report,
    "Medication": _medication,
    "MedicationRequest": _medication_request,
    "MedicationAdministration": _administration,
    "Immunization": _immunization,
    **care.READERS,
    "Consent": _consent,
    "Claim": _claim,
    "ExplanationOfBenefit": _explanation,
}
