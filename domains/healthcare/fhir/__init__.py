"""FHIR R4 views of the tables: bulk NDJSON, one file per resource type, and transaction Bundles, one per patient."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import polars as pl

from ....core.domain import Pieces, View
from ....core.priors import Priors
from ....core.render_json import Raw, Text, render
from ....core.schema import Schema
from ....core.tables import Table, Tables
from . import judge
from .parts import resource_id
from .resources import REFERENCE, TYPES, cuts, kinds, pieces, resource, resources

SERVER = "https://fhir.example.org/r4"
"""What `fullUrl` begins with, so that relative references resolve inside a bundle (R4, Resolving references in Bundles)."""


def views(schema: Schema, priors: Priors) -> dict[str, View]:
    """The views by name."""

    def ndjson(tables: Tables, _: Tables) -> Mapping[str, Table]:
        return _Lines(schema, priors, tables)

    def bundle(tables: Tables, _: Tables) -> Mapping[str, Table]:
        return {"Bundle": bundles(schema, priors, tables)}

    def whole(tables: Tables, reference: Tables) -> Mapping[str, Table]:
        return {"Bundle": everything(schema, priors, tables, reference)}

    return {
        "fhir+everything": View(
            "fhir+everything",
            "FHIR R4 searchset Bundles as Patient/$everything answers: one per patient, with all that it refers to.",
            whole,
            "json",
            judge.is_searchsets,
            judge.check,
            judge.RULES,
        ),
        "fhir+ndjson": View(
            "fhir+ndjson",
            "FHIR R4 bulk data: one NDJSON file per resource type.",
            ndjson,
            "ndjson",
            judge.is_ndjson,
            judge.check,
            judge.RULES,
        ),
        "fhir+bundle": View(
            "fhir+bundle",
            "FHIR R4 transaction Bundles: organizations, practitioners, then one per patient. Post them in the order of their names.",
            bundle,
            "json",
            judge.is_bundles,
            judge.check,
            judge.RULES,
        ),
    }


class _Lines(Pieces):
    """The lines of each resource type, made when they are asked for: the text of a block is many times its tables, and what has been written
    need not stay."""

    def __init__(self, schema: Schema, priors: Priors, tables: Tables) -> None:
        self.schema, self.priors, self.tables, self.kinds = schema, priors, tables, kinds(schema, tables)
        self.who = cuts(tables)

    def __getitem__(self, kind: str) -> Table:
        if kind not in self.kinds:
            raise KeyError(kind)
        return pl.concat(self.pieces(kind))

    def pieces(self, name: str) -> Iterator[Table]:
        template = TYPES[name].template(self.schema)
        for tables in pieces(self.tables, self.who, name):
            yield pl.DataFrame({"text": resource(self.schema, self.priors, tables, name, template)[1]})

    def __iter__(self) -> Iterator[str]:
        return iter(self.kinds)

    def __len__(self) -> int:
        return len(self.kinds)


def bundles(schema: Schema, priors: Priors, tables: Tables) -> Table:
    """Columns `name` and `text`. Every entry is a PUT under the resource's own id, so a bundle may be posted again."""
    made = resources(schema, priors, tables)
    parts = [
        _whole(_entries(kind, *made[kind]).with_columns(name=pl.lit(f"{n}-{kind.lower()}s")))
        for n, kind in enumerate(REFERENCE)
        if kind in made
    ]
    per_patient = [
        _entries(kind, frame, text).with_columns(name=pl.format("patient-{}", frame["patient_id"]))
        for kind, (frame, text) in made.items()
        if "patient_id" in frame.columns
    ]
    parts.append(
        _whole(pl.concat(per_patient)) if per_patient else pl.DataFrame(schema={"name": pl.String, "text": pl.String})
    )
    return pl.concat(parts)


def everything(schema: Schema, priors: Priors, tables: Tables, reference: Tables) -> Table:
    """Columns `name` and `text`: a patient's resources, and the places and people that they refer to, as `Patient/$everything` answers."""
    made = resources(schema, priors, {**reference, **tables})
    known = {kind: _searched(kind, *made[kind], "include") for kind in REFERENCE if kind in made}
    parts = []
    for kind, (frame, text) in made.items():
        if kind not in REFERENCE and "patient_id" in frame.columns:
            parts.append(
                pl.DataFrame({"patient_id": frame["patient_id"], "entry": _searched(kind, frame, text, "match")})
            )
    # whom and where each patient's record names
    own = tables["patient"].select("patient_id", "practitioner_id", "organization_id")
    met = tables["encounter"].select(own.columns)
    paid = tables["coverage"].select("patient_id", "organization_id")
    doctors = pl.concat([own, met]).select("patient_id", "practitioner_id").unique(maintain_order=True)
    work = made["Practitioner"][0].select("practitioner_id", "organization_id")
    places = pl.concat(
        [f.select("patient_id", "organization_id") for f in (own, met, paid, doctors.join(work, on="practitioner_id"))]
    )
    places = places.unique(maintain_order=True)
    for kind, named in (
        ("Practitioner", doctors),
        ("PractitionerRole", doctors),
        ("Organization", places),
        ("Location", places),
    ):
        key = named.columns[1]
        entries = pl.DataFrame({key: made[kind][0][key], "entry": known[kind]})
        parts.append(named.join(entries, on=key, maintain_order="left").select("patient_id", "entry"))
    if "Medication" in made:
        given = (
            tables["medication_administration"]
            .select("patient_id", pl.col("code").cast(pl.String))
            .unique(maintain_order=True)
        )
        drugs = made["Medication"][0].select("code", entry=known["Medication"])
        parts.append(given.join(drugs, on="code", maintain_order="left").select("patient_id", "entry"))
    joined = (
        pl.concat(parts).group_by("patient_id", maintain_order=True).agg(pl.col("entry").str.join(","), total=pl.len())
    )
    opening = pl.concat_str(
        pl.lit('{"resourceType":"Bundle","type":"searchset","total":'), "total", pl.lit(',"entry":[')
    )
    return joined.select(name=pl.format("patient-{}", "patient_id"), text=pl.concat_str(opening, "entry", pl.lit("]}")))


def _searched(kind: str, frame: Table, text: pl.Series, mode: str) -> pl.Series:
    entry = {
        "fullUrl": Text(f"{SERVER}/{kind}/", *resource_id(kind).parts),
        "resource": Raw(pl.col("text")),
        "search": {"mode": mode},
    }
    return render(frame.with_columns(text), entry).alias("entry")


def _entries(kind: str, frame: Table, text: pl.Series) -> Table:
    identity = resource_id(kind)
    entry = {
        "fullUrl": Text(f"{SERVER}/{kind}/", *identity.parts),
        "resource": Raw(pl.col("text")),
        "request": {"method": "PUT", "url": Text(f"{kind}/", *identity.parts)},
    }
    return pl.DataFrame({"entry": render(frame.with_columns(text), entry)})


def _whole(entries: Table) -> Table:
    """Each name's entries, in order, as one Bundle."""
    joined = entries.group_by("name", maintain_order=True).agg(pl.col("entry").str.join(","))
    opening = pl.lit('{"resourceType":"Bundle","type":"transaction","entry":[')
    return joined.select("name", pl.concat_str(opening, "entry", pl.lit("]}")).alias("text"))
