"""Bills as FHIR R4: what was asked for an encounter, line by line, who paid it, and what the insurer says of it.

The lines are what the record has of the encounter: the visit itself, the laboratory's results, vaccines, procedures. They share the bill's
total by the weights of `cost.line`; the visit takes what rounding leaves, so that lines add up to the total to the cent."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import polars as pl

from ....core.render_json import Pick, Raw, render
from ....core.schema import Schema
from ....core.tables import Table, Tables
from .documents import LABORATORY_REPORT
from .parts import Shape, Template, concept, listed, only, opening, reference, term

LINES = 99
"""The most lines of one bill, as on the paper form's continuation pages; what lies beyond is part of the visit."""


def _money(schema: Schema, column: str) -> Template:
    return {"value": pl.col(column), "currency": only(schema, "currency")}


def _bill(schema: Schema, kind: str) -> Template:
    """What Claim and ExplanationOfBenefit have in common."""
    professional = term("claim-type", "professional", "Professional")
    return {
        **opening(kind),
        "status": "active",
        "type": Pick(
            pl.col("class"),
            {
                **dict.fromkeys(("AMB", "VR", "HH"), professional),
                **dict.fromkeys(("EMER", "IMP"), term("claim-type", "institutional", "Institutional")),
            },
        ),
        "use": "claim",
        "patient": reference("Patient"),
        "billablePeriod": {"start": pl.col("start_at"), "end": pl.col("end_at")},
        "created": pl.col("at"),
        "provider": reference("Organization"),
        "diagnosis": [{"sequence": 1, "diagnosisCodeableConcept": concept(schema, "condition", "reason")}],
    }


def _line(schema: Schema) -> Template:
    """One service of a bill."""
    return {
        "sequence": pl.col("sequence"),
        # the diagnosis that it was for, where there is one
        "diagnosisSequence": [Pick(pl.col("reason"), dict.fromkeys(schema.code_lists["condition"].codes, 1))],
        "productOrService": Raw(pl.col("service")),
        "servicedPeriod": {"start": pl.col("start_at"), "end": pl.col("end_at")},
        "encounter": [reference("Encounter")],
        "net": _money(schema, "net"),
    }


def _adjudicated(schema: Schema, total: str, insurer: str, patient: str) -> list[Template]:
    """What was asked for, what the insurer paid, and what was left to the patient."""
    said = (
        ("submitted", "Submitted Amount", total),
        ("benefit", "Benefit Amount", insurer),
        ("copay", "CoPay", patient),
    )
    return [
        {"category": term("adjudication", code, shown), "amount": _money(schema, paid)} for code, shown, paid in said
    ]


def _claim(schema: Schema) -> list[tuple[pl.Expr, Template]]:
    def of(coverage: Template) -> Template:
        return {
            **_bill(schema, "Claim"),
            "priority": term("processpriority", "normal", "Normal"),
            "insurance": [{"sequence": 1, "focal": True, "coverage": coverage}],
            "item": [Raw(pl.col("items"))],
            "total": _money(schema, "total"),
        }

    insured = pl.col("coverage_id").is_not_null()
    return [(insured, of(reference("Coverage"))), (pl.lit(True), of({"display": "Self pay"}))]


def _explanation(schema: Schema) -> Template:
    return {
        **_bill(schema, "ExplanationOfBenefit"),
        "insurer": reference("Organization", "insurer_id"),
        "claim": reference("Claim"),
        "outcome": "complete",
        "insurance": [{"focal": True, "coverage": reference("Coverage")}],
        "item": [Raw(pl.col("items"))],
        "total": _adjudicated(schema, "total", "paid_by_insurer", "paid_by_patient"),
        "payment": {"amount": _money(schema, "paid_by_insurer")},
    }


def lines(schema: Schema, tables: Tables, weights: Mapping[str, float]) -> Table:
    """One row for each service of each claim, in order: `service` (JSON), `net`, `by_insurer`, `by_patient`, beside the columns of the bill.
    `weights`: what the services of each table weigh in a bill."""
    bills = _billed(tables)
    visit = bills.select("claim_id", "encounter_id", "type", "class")
    parts = [_served("visit", visit, _json(concept(schema, "encounter_type", "type").constants, "type"), 0, weights)]
    bill_of = visit.select("claim_id", "encounter_id")
    laboratory = [c for c, kind in schema.code_lists["observation_category"].codes.items() if kind == "laboratory"]
    tested = tables["observation"].filter(pl.col("code").cast(pl.String).is_in(laboratory)).select("encounter_id")
    report = pl.lit(json_text(LABORATORY_REPORT))
    tested = tested.unique(maintain_order=True).join(bill_of, on="encounter_id", maintain_order="left")
    parts.append(_served("laboratory", tested, report, 1, weights))
    for n, (name, codes) in enumerate((("immunization", "vaccine"), ("procedure", "procedure")), 2):
        if name in tables and tables[name].height:
            given = tables[name].sort(f"{name}_id").select("encounter_id", "code")
            given = given.join(bill_of, on="encounter_id", maintain_order="left")
            parts.append(_served(name, given, _json(concept(schema, codes, "code").constants, "code"), n, weights))
    rows = pl.concat(parts).sort("claim_id", "order", maintain_order=True)
    rows = rows.with_columns(sequence=pl.int_range(1, pl.len() + 1).over("claim_id").cast(pl.Int32))
    rows = rows.filter(pl.col("sequence") <= LINES).join(bills, on="claim_id", maintain_order="left")
    share = pl.col("weight") / pl.col("weight").sum().over("claim_id")
    rows = rows.with_columns(net=(pl.col("total") * share).round(2))
    rows = rows.with_columns(by_insurer=(pl.col("paid_by_insurer") * pl.col("net") / pl.col("total")).round(2))
    first = pl.col("sequence") == 1
    for column, whole in (("net", "total"), ("by_insurer", "paid_by_insurer")):
        rest = pl.col(whole) - (pl.col(column).sum().over("claim_id") - pl.col(column))
        rows = rows.with_columns(pl.when(first).then(rest.round(2)).otherwise(column).alias(column))
    return rows.with_columns(by_patient=(pl.col("net") - pl.col("by_insurer")).round(2))


def json_text(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _json(constants: Mapping[str, Any], column: str) -> pl.Expr:
    shown = {code: json_text(constant) for code, constant in constants.items()}
    return pl.col(column).cast(pl.String).replace_strict(shown, default=None, return_dtype=pl.String)


def _served(name: str, rows: Table, service: pl.Expr, order: int, weights: Mapping[str, float]) -> Table:
    return rows.select("claim_id", service=service, weight=pl.lit(float(weights[name])), order=pl.lit(order, pl.Int32))


def _billed(tables: Tables) -> Table:
    visits = tables["encounter"].select(
        "encounter_id", "class", "type", "reason", "start_at", "end_at", "organization_id"
    )
    insurers = tables["coverage"].select("coverage_id", insurer_id="organization_id")
    bills = tables["claim"].join(visits, on="encounter_id", how="left", maintain_order="left")
    return bills.join(insurers, on="coverage_id", how="left", maintain_order="left")


def _itemised(schema: Schema, tables: Tables, weights: Mapping[str, float], adjudicated: bool) -> Table:
    """The bills with their lines as JSON, with commas between."""
    rows = lines(schema, tables, weights)
    template = _line(schema)
    if adjudicated:
        rows = rows.filter(pl.col("coverage_id").is_not_null())
        template = {**template, "adjudication": _adjudicated(schema, "net", "by_insurer", "by_patient")}
    made = rows.select("claim_id").with_columns(one=render(rows, template))
    return _billed(tables).join(
        listed(made, "claim_id", pl.col("one"), "items"), on="claim_id", how="left", maintain_order="left"
    )


def _claimed(schema: Schema, tables: Tables, weights: Mapping[str, float]) -> Table:
    return _itemised(schema, tables, weights, False)


def _settled(schema: Schema, tables: Tables, weights: Mapping[str, float]) -> Table:
    return _itemised(schema, tables, weights, True).filter(pl.col("coverage_id").is_not_null())


_BILLED = ("claim", "coverage", "encounter", "observation", "immunization")
TYPES = {
    "Claim": Shape(_BILLED, _claim, _claimed, priors=("cost.line",)),
    "ExplanationOfBenefit": Shape(_BILLED, _explanation, _settled, priors=("cost.line",)),
}
