"""The manifest that stands beside every output: a Croissant description (MLCommons, 1.0) that carries what populace knows inside it.

It holds no time and no path, so that equal datasets have equal manifests. Source: https://docs.mlcommons.org/croissant/docs/croissant-spec.html
"""

from __future__ import annotations

import platform
from collections.abc import Iterable, Mapping
from functools import lru_cache
from importlib import metadata
from typing import Any

import polars as pl

from .checks import check_names
from .digest import Digest, digest
from .errors import InvalidData
from .labels import GONE, grouped, labelled_instances, labelled_rows, marked_rows, shared_rows, unseen
from .plan import Plan
from .schema import LABEL, Column, Schema, TableSchema
from .tables import Table, Tables

CROISSANT_TYPES = {
    "id": "sc:Integer",
    "int": "sc:Integer",
    "int32": "sc:Integer",
    "money": "sc:Integer",
    "float": "sc:Float",
    "float32": "sc:Float",
    "text": "sc:Text",
    "code": "sc:Text",
    "bool": "sc:Boolean",
    "date": "sc:Date",
    "instant": "sc:DateTime",
}
MIME = {"parquet": "application/x-parquet", "csv": "text/csv", "ndjson": "application/x-ndjson"}
LIBRARIES = ("numpy", "polars", "pyarrow", "scipy", "simpy", "faker")


CONTEXT = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    **{
        name: f"cr:{name}"
        for name in (
            "citeAs", "column", "extract", "field", "fileObject", "fileProperty", "fileSet", "format", "includes",
            "isLiveDataset", "jsonPath", "key", "md5", "parentField", "path", "recordSet", "references", "regex",
            "repeated", "replace", "separator", "source", "subField", "transform",
        )
    },
    **{name: {"@id": f"cr:{name}", "@type": "@json"} for name in ("data", "examples")},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "conformsTo": "dct:conformsTo",
    "cr": "http://mlcommons.org/croissant/",
    "dct": "http://purl.org/dc/terms/",
    "rai": "http://mlcommons.org/croissant/RAI/",
    "sc": "https://schema.org/",
    "populace": {"@id": "urn:populace:manifest", "@type": "@json"},
}  # fmt: skip
"""The JSON-LD context of Croissant 1.0, and `populace`, whose value is plain JSON."""


@lru_cache(64)
def version(package: str) -> str:
    """Of an installed package: what does not change while a process lives."""
    return metadata.version(package)


def receipt(schema: Schema, tables: Tables, declared: Table) -> dict[str, Any]:
    """What is to be known of a block, or of a whole dataset, once its rows are gone from memory."""
    sums = {name: digest(table) for name, table in tables.items()}
    of = grouped(tables[LABEL.name])
    broken: dict[str, dict[str, int]] = {}
    for scenario, check, rows in _counts(declared, "scenario", "check"):
        broken.setdefault(scenario, {})[check] = rows
    return {
        "tables": {name: (d.rows, d.a, d.b) for name, d in sums.items()},
        "labelled": labelled_rows(of),
        "marked": marked_rows(tables[LABEL.name], of),
        "instances": {s: sorted(some) for s, some in labelled_instances(schema, of).items()},
        "unseen": unseen(schema, tables),
        "shared": shared_rows(tables[LABEL.name], of),
        "declared": broken,
    }


def _counts(rows: Table, *columns: str) -> Iterable[tuple[Any, ...]]:
    return rows.group_by(columns).len().sort(columns).iter_rows() if rows.height else ()


def total(receipts: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """Add up the receipts of all blocks: rows and digests per table, labelled rows, instances that have one, rows that several label, rows of
    ground truth and declared breaks per scenario, and labelled rows per table."""
    tables: dict[str, Digest] = {}
    labelled: dict[str, int] = {}
    marked: dict[str, int] = {}
    instances: dict[str, set[int]] = {}
    shared: dict[str, int] = {}
    declared: dict[str, dict[str, int]] = {}
    said: dict[str, dict[str, tuple[int, int]]] = {}
    for receipt in receipts:
        for name, (rows, a, b) in receipt["tables"].items():
            tables[name] = tables.get(name, Digest()) + Digest(rows, a, b)
        for scenario, rows in receipt["labelled"].items():
            labelled[scenario] = labelled.get(scenario, 0) + rows
        for name, rows in receipt["marked"].items():
            marked[name] = marked.get(name, 0) + rows
        for scenario, of in receipt["instances"].items():
            instances.setdefault(scenario, set()).update(of)
        for scenario, rows in receipt["shared"].items():
            shared[scenario] = shared.get(scenario, 0) + rows
        for scenario, truths in receipt["unseen"].items():
            for name, (rows, none) in truths.items():
                known, before = said.setdefault(scenario, {}), said[scenario].get(name, (0, 0))
                known[name] = before[0] + rows, before[1] + none
        for scenario, checks in receipt["declared"].items():
            for check, rows in checks.items():
                known = declared.setdefault(scenario, {})
                known[check] = known.get(check, 0) + rows
    sums: dict[str, Any] = {"tables": tables, "labelled": labelled, "marked": marked, "instances": instances}
    return {**sums, "shared": shared, "unseen": said, "declared": declared}


def _balance(plan: Plan, summed: Mapping[str, Any]) -> dict[str, Any]:
    """What a wish for a share of labelled rows came to, counted, where all of that table is there."""
    wish = plan.balance
    if not wish or not (rows := summed["tables"].get(wish.table, Digest()).rows):
        return {}
    return {"balance": wish.reached(summed["marked"].get(wish.table, 0), rows).describe()}


def make_manifest(
    plan: Plan, summed: Mapping[str, Any], form: str, doc: str | None = None, violations: int = 0
) -> dict[str, Any]:
    """Describe a finished run whose target holds `form`: a file format, a view or a kind of database. `doc` says what the data is, where it is not
    ours. Raises InvalidData if a scenario declared a break that did not occur."""
    made = set(check_names(plan.domain))
    for use in plan.uses:
        missing = made & {*use.scenario.breaks} - summed["declared"].get(use.scenario.name, {}).keys()
        if missing:
            name = use.scenario.name
            why = "" if summed["labelled"].get(name) else f": its {plan.instances[name]} instance(s) {GONE}"
            raise InvalidData(
                f"scenario {name} declares that it breaks {', '.join(sorted(missing))}, but no row does{why}"
            )
    known = {**plan.domain.schema.tables, LABEL.name: LABEL}
    specs = {name: spec for name, spec in known.items() if name in summed["tables"]}
    doc = doc or f"Synthetic data: {plan.domain.doc} No record describes a real person, account or device."
    record = {
        "spec": plan.describe(),
        "fingerprint": plan.fingerprint,
        "form": form,
        "tables": {name: _contents(spec, summed["tables"][name]) for name, spec in specs.items()},
        "scenarios": [
            {
                "name": name,
                "instances": count,
                "labelled_instances": len(summed["instances"].get(name, ())),
                "labelled_rows": summed["labelled"].get(name, 0),
                "shared_rows": summed["shared"].get(name, 0),
                **_truth(summed["unseen"].get(name, {})),
                "breaks": dict(sorted(summed["declared"].get(name, {}).items())),
            }
            for name, count in plan.instances.items()
        ],
        "checks": {"made": sorted(made), "undeclared_violations": violations},
        **_balance(plan, summed),
        **({"schema": dict(plan.domain.remembers)} if plan.domain.remembers else {}),
    }
    return _croissant(f"populace-{plan.domain.name}", doc, specs, form, record)


def _truth(said: Mapping[str, tuple[int, int]]) -> dict[str, Any]:
    """What a scenario says of itself in tables of ground truth, and how much of it other scenarios have left nothing of."""
    return (
        {"truth": {table: dict(zip(("rows", "unseen"), n, strict=True)) for table, n in said.items()}} if said else {}
    )


def sample_manifest(
    frames: Mapping[str, Table], asked: Mapping[str, Any], card: Mapping[str, Any], form: str
) -> dict[str, Any]:
    """Describe rows drawn from a fitted model: what was asked of it, and the model's own card."""
    specs = {}
    for name, frame in frames.items():
        columns = {
            n: Column(n, column_type(t), f"{n}, as the model draws it.", null=True) for n, t in frame.schema.items()
        }
        specs[name] = TableSchema(name, f"Rows drawn from a {card['model']}.", "", columns)
    tables = {name: _contents(spec, digest(frames[name])) for name, spec in specs.items()}
    record = {"spec": dict(asked), "model": dict(card), "tables": tables}
    return _croissant("populace-sample", f"Rows drawn from a {card['model']}.", specs, form, record)


def column_type(kind: pl.DataType) -> str:
    """The name that a schema gives to a type of polars."""
    for name, holds in (
        ("bool", kind == pl.Boolean),
        ("date", kind == pl.Date),
        ("int", kind.is_integer()),
        ("float", kind.is_numeric()),
    ):
        if holds:
            return name
    return "instant" if isinstance(kind, pl.Datetime) else "text"


def _contents(spec: TableSchema, sums: Digest) -> dict[str, Any]:
    return {"rows": sums.rows, "digest": str(sums), "columns": {c.name: c.type for c in spec.columns.values()}}


def _croissant(
    name: str, doc: str, specs: Mapping[str, TableSchema], form: str, record: Mapping[str, Any]
) -> dict[str, Any]:
    """The description in the standard's terms; only a folder of tables has files of them to describe."""
    return {
        "@context": CONTEXT,
        "@type": "sc:Dataset",
        "conformsTo": "http://mlcommons.org/croissant/1.0",
        "name": name,
        "description": doc,
        "version": "1.0.0",
        "distribution": [_files(name, form) for name in specs] if form in MIME else [],
        "recordSet": [_records(spec, specs) for spec in specs.values()] if form in MIME else [],
        "populace": {
            "version": version("populace"),
            "python": platform.python_version(),
            "libraries": {name: version(name) for name in LIBRARIES},
            **record,
        },
    }


def _files(table: str, format: str) -> dict[str, Any]:
    return {
        "@type": "cr:FileSet",
        "@id": f"{table}-files",
        "name": f"{table}-files",
        "encodingFormat": MIME[format],
        "includes": f"{table}/part-*.{format}",
    }


def _records(spec: TableSchema, specs: Mapping[str, TableSchema]) -> dict[str, Any]:
    return {
        "@type": "cr:RecordSet",
        "@id": spec.name,
        "name": spec.name,
        "description": spec.doc,
        **({"key": {"@id": f"{spec.name}/{spec.key}"}} if spec.key else {}),
        "field": [
            {
                "@type": "cr:Field",
                "@id": f"{spec.name}/{c.name}",
                "name": f"{spec.name}/{c.name}",
                "description": c.doc,
                "dataType": CROISSANT_TYPES[c.type],
                "source": {"fileSet": {"@id": f"{spec.name}-files"}, "extract": {"column": c.name}},
                **(
                    {"references": {"field": {"@id": f"{c.references}/{specs[c.references].key}"}}}
                    if c.references
                    else {}
                ),
            }
            for c in spec.columns.values()
        ],
    }
