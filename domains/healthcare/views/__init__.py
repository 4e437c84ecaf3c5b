"""Views that are not FHIR: OMOP CDM 5.4, CSV in Synthea's layout, a flat table, HL7 v2 messages."""

from __future__ import annotations

from ....core.domain import View
from ....core.schema import Schema
from . import flat, hl7v2, omop, synthea
from .csvs import view

__all__ = ["views"]


def views(schema: Schema) -> dict[str, View]:
    """The views by name."""
    made = [
        view("omop", "OMOP CDM 5.4 tables as CSV.", lambda t, r: omop.tables(schema, t, r), omop.LAYOUT),
        view("synthea", "CSV files in Synthea's layout.", lambda t, r: synthea.tables(schema, t, r), synthea.LAYOUT),
        view(
            "flat",
            "One row per patient, as CSV: for statistics and models.",
            lambda t, _: flat.tables(schema, t),
            flat.layout(schema),
        ),
        hl7v2.view(schema),
    ]
    return {v.name: v for v in made}
