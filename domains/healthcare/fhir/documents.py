"""Reports, notes and provenance as FHIR R4: what they say is what the record says."""

from __future__ import annotations

from typing import Any

import polars as pl

from ....core.render_json import Pick, Raw, Text
from ....core.schema import Schema
from ....core.tables import Table, Tables
from ..encounters import SHOT
from ..physiology import DIASTOLIC
from . import files
from .parts import Shape, Template, concept, listed, opening, reference, term

NOTES = {
    "AMB": ("11506-3", "Progress note"),
    "EMER": ("34111-5", "Emergency department Note"),
    "IMP": ("18842-5", "Discharge summary"),
    "HH": ("11506-3", "Progress note"),
    "VR": ("11506-3", "Progress note"),
}
"""LOINC document types by class of encounter."""
LABORATORY_REPORT = term("http://loinc.org", "11502-2", "Laboratory report")


def _report(schema: Schema) -> list[tuple[pl.Expr, Template]]:
    laboratory = [term("v2-0074", "LAB", "Laboratory")]
    media = {"media": [Raw(pl.col("media"))]} if "attachment" in schema.tables else {}

    def report(profile: str | None, category: list[Template], code: Any) -> Template:
        return {
            **opening("DiagnosticReport", profile),
            "status": "final",
            "category": category,
            "code": code,
            "subject": reference("Patient"),
            "encounter": reference("Encounter"),
            "effectiveDateTime": pl.col("at"),
            "issued": pl.col("at"),
            "performer": [reference("Organization")],
            "result": [Raw(pl.col("results"))],
            **media,
        }

    plain = report("us-core-diagnosticreport-lab", laboratory, LABORATORY_REPORT)
    if "diagnostic_report" not in schema.tables:
        return [(pl.lit(True), plain)]
    named = concept(schema, "diagnostic_report", "code")
    return [
        (pl.col("code").is_null(), plain),
        (pl.col("laboratory"), report("us-core-diagnosticreport-lab", laboratory, named)),
        (pl.lit(True), report(None, [term("v2-0074", "OTH", "Other")], named)),
    ]


def _reports(schema: Schema, tables: Tables) -> Table:
    """One report for the laboratory results of one moment, and those that modules have made."""
    codes = [c for c, kind in schema.code_lists["observation_category"].codes.items() if kind == "laboratory"]
    laboratory = pl.col("code").cast(pl.String).is_in(codes)
    entry = pl.concat_str(pl.lit('{"reference":"Observation/observation-'), pl.col("observation_id"), pl.lit('"}'))
    results = files.without(tables, tables["observation"].filter(laboratory), "attachment")
    where = tables["encounter"].select("encounter_id", "organization_id")
    made = "diagnostic_report" in tables
    if made:
        results = results.filter(pl.col("diagnostic_report_id").is_null())
    moment = ["patient_id", "encounter_id", "at"]
    reports = results.select(*moment, "observation_id", entry.alias("results")).group_by(moment, maintain_order=True)
    reports = reports.agg(pl.col("observation_id").first().alias("report_id"), "results")
    if made:
        # a diastolic pressure stands in the systolic one's resource
        parts = tables["observation"].filter(
            pl.col("diagnostic_report_id").is_not_null() & (pl.col("code") != DIASTOLIC)
        )
        parts = parts.select("diagnostic_report_id", results=entry, laboratory=laboratory, media=files.link(tables))
        parts = parts.with_columns(results=pl.when(pl.col("media").is_null()).then("results"))
        held = parts.group_by("diagnostic_report_id", maintain_order=True).agg(
            pl.col("results", "media").drop_nulls(),
            pl.col("laboratory").filter(pl.col("results").is_not_null()).all() & pl.col("results").is_not_null().any(),
        )
        named = tables["diagnostic_report"].join(held, on="diagnostic_report_id", how="left", maintain_order="left")
        named = named.with_columns(
            report_id=pl.format("m{}", "diagnostic_report_id"), laboratory=pl.col("laboratory").fill_null(False)
        )
        reports = pl.concat(
            [reports.with_columns(pl.col("report_id").cast(pl.String)), named.drop("diagnostic_report_id")],
            how="diagonal",
        )
    joined = [c for c in ("results", "media") if c in reports.columns]
    reports = reports.with_columns(
        pl.when(pl.col(c).list.len() > 0).then(pl.col(c).list.join(",")).alias(c) for c in joined
    )
    return reports.join(where, on="encounter_id", how="left", maintain_order="left")


def _note(schema: Schema) -> Template:
    kinds = {k: term("http://loinc.org", *v) for k, v in NOTES.items()}
    return {
        **opening("DocumentReference", "us-core-documentreference"),
        "identifier": [{"system": "urn:oid:2.16.840.1.113883.19.8", "value": Text(pl.col("encounter_id"))}],
        "status": "current",
        "docStatus": "final",
        "type": Pick(pl.col("class"), kinds),
        "category": [
            term(
                "http://hl7.org/fhir/us/core/CodeSystem/us-core-documentreference-category",
                "clinical-note",
                "Clinical Note",
            )
        ],
        "subject": reference("Patient"),
        "date": pl.col("end_at"),
        "author": [reference("Practitioner")],
        "custodian": reference("Organization"),
        "content": [{"attachment": {"contentType": "text/plain; charset=utf-8", "data": pl.col("data")}}],
        "context": {
            "encounter": [reference("Encounter")],
            "period": {"start": pl.col("start_at"), "end": pl.col("end_at")},
        },
    }


def notes(schema: Schema, tables: Tables) -> Table:
    """The encounters with what a note on each would say: columns of `encounter` and `text`. Every sentence is put together from rows of the record."""
    lists = {n: codes.codes for n, codes in schema.code_lists.items()}

    def shown(column: str, codes: str) -> pl.Expr:
        return pl.col(column).cast(pl.String).replace_strict(lists[codes], default=None, return_dtype=pl.String)

    # series and files are no sentences
    written = {**tables, "observation": files.without(tables, tables["observation"], "sampled_data", "attachment")}

    def said(table: str, title: str, one: pl.Expr) -> Table:
        rows = written[table].filter(pl.col("encounter_id").is_not_null()).sort("encounter_id", f"{table}_id")
        return listed(rows, "encounter_id", one, title, "; ").with_columns(
            pl.concat_str(pl.lit(f"{title}: "), pl.col(title), pl.lit(".\n")).alias(title)
        )

    unit = pl.col("code").cast(pl.String).replace_strict(lists["observation_unit"], default="", return_dtype=pl.String)
    value = pl.col("value").round(2).cast(pl.String)
    values = [value]
    if "value_text" in tables["observation"].columns:
        unit = pl.coalesce(pl.col("unit").cast(pl.String), unit)
        values.append(pl.col("value_text"))
    value = pl.coalesce(*values, shown("value_code", "finding"))
    unit = pl.when(pl.col("value").is_null()).then(pl.lit("")).otherwise(unit)
    measured = pl.concat_str(shown("code", "observation"), pl.lit(" "), value, pl.lit(" "), unit)
    visits = tables["encounter"].filter(pl.col("type").cast(pl.String) != SHOT)
    who = tables["patient"].select("patient_id", "given_name", "family_name", "sex", "birth_date")
    frame = visits.join(who, on="patient_id", how="left", maintain_order="left")
    sections = [
        said("condition", "Found", shown("code", "condition")),
        said("observation", "Measured", measured),
        said("medication_request", "Prescribed", shown("code", "medication")),
        said("immunization", "Given", shown("code", "vaccine")),
    ]
    for section in sections:
        frame = frame.join(section, on="encounter_id", how="left", maintain_order="left")
    day = pl.col("start_at").dt.strftime("%Y-%m-%d")
    reason = pl.concat_str(pl.lit("Reason: "), shown("reason", "condition"), pl.lit(".\n"))
    text = pl.concat_str(
        pl.col("given_name"), pl.lit(" "), pl.col("family_name"), pl.lit(", "), pl.col("sex").cast(pl.String),
        pl.lit(", born "), pl.col("birth_date").dt.strftime("%Y-%m-%d"), pl.lit(".\n"),
        shown("type", "encounter_type"), pl.lit(" on "), day, pl.lit(".\n"),
        *(e.fill_null("") for e in (reason, *(pl.col(s.columns[1]) for s in sections), pl.col("addendum") + "\n")),
    )  # fmt: skip
    return frame.select(*tables["encounter"].columns, text=text)


def _encoded(schema: Schema, tables: Tables) -> Table:
    return notes(schema, tables).with_columns(data=pl.col("text").str.encode("base64"))


def _provenance(schema: Schema) -> Template:
    return {
        **opening("Provenance", "us-core-provenance"),
        "target": [reference("Encounter")],
        "recorded": pl.col("end_at"),
        "agent": [
            {
                "type": term("provenance-participant-type", "author", "Author"),
                "who": reference("Practitioner"),
                "onBehalfOf": reference("Organization"),
            },
            {
                "type": term(
                    "http://hl7.org/fhir/us/core/CodeSystem/us-core-provenance-participant-type",
                    "transmitter",
                    "Transmitter",
                ),
                "who": reference("Organization"),
            },
        ],
    }


_WRITTEN = ("encounter", "patient", "condition", "observation", "medication_request", "immunization")
TYPES = {
    "DiagnosticReport": Shape(("observation", "encounter"), _report, _reports),
    "DocumentReference": Shape(_WRITTEN, _note, _encoded),
    "Provenance": Shape(("encounter",), _provenance, lambda _, tables: tables["encounter"]),
}
