"""Reports, notes and provenance as FHIR R4: what they say is what the record says."""

from __future__ import annotations

import polars as pl

from ....core.render_json import Pick, Raw, Text
from ....core.schema import Schema
from ....core.tables import Table, Tables
from ..encounters import SHOT
from .parts import Shape, Template, opening, reference, term

NOTES = {
    "AMB": ("11506-3", "Progress note"),
    "EMER": ("34111-5", "Emergency department Note"),
    "IMP": ("18842-5", "Discharge summary"),
}
"""LOINC document types by class of encounter."""


def _report(schema: Schema) -> Template:
    return {
        **opening("DiagnosticReport", "us-core-diagnosticreport-lab"),
        "status": "final",
        "category": [term("v2-0074", "LAB", "Laboratory")],
        "code": term("http://loinc.org", "11502-2", "Laboratory report"),
        "subject": reference("Patient"),
        "encounter": reference("Encounter"),
        "effectiveDateTime": pl.col("at"),
        "issued": pl.col("at"),
        "performer": [reference("Organization")],
        "result": Raw(pl.col("results")),
    }


def _laboratory(schema: Schema, tables: Tables) -> Table:
    """One report for the results of one moment."""
    codes = [c for c, kind in schema.code_lists["observation_category"].codes.items() if kind == "laboratory"]
    results = tables["observation"].filter(pl.col("code").cast(pl.String).is_in(codes))
    entry = pl.concat_str(pl.lit('{"reference":"Observation/observation-'), pl.col("observation_id"), pl.lit('"}'))
    reports = results.group_by("patient_id", "encounter_id", "at", maintain_order=True).agg(
        report_id=pl.col("observation_id").first(), results=entry.str.join(",")
    )
    reports = reports.with_columns(results=pl.concat_str(pl.lit("["), "results", pl.lit("]")))
    where = tables["encounter"].select("encounter_id", "organization_id")
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

    def said(table: str, title: str, one: pl.Expr) -> Table:
        rows = tables[table].filter(pl.col("encounter_id").is_not_null()).sort("encounter_id", f"{table}_id")
        listed = rows.group_by("encounter_id", maintain_order=True).agg(one.str.join("; "))
        column = listed.columns[1]
        return listed.select(
            "encounter_id", pl.concat_str(pl.lit(f"{title}: "), pl.col(column), pl.lit(".\n")).alias(title)
        )

    unit = pl.col("code").cast(pl.String).replace_strict(lists["observation_unit"], return_dtype=pl.String)
    measured = pl.concat_str(
        shown("code", "observation"), pl.lit(" "), pl.col("value").round(2).cast(pl.String), pl.lit(" "), unit
    )
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
        *(e.fill_null("") for e in (reason, *(pl.col(s.columns[1]) for s in sections))),
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
    "DiagnosticReport": Shape(("observation", "encounter"), _report, _laboratory),
    "DocumentReference": Shape(_WRITTEN, _note, _encoded),
    "Provenance": Shape(("encounter",), _provenance, lambda _, tables: tables["encounter"]),
}
