"""Why a row exists, and why it has these values: its block is made anew, step by step, and what each did to the row is written down."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import polars as pl

from .build import play
from .cast import Cast
from .conform import conform
from .dataset import make_cast
from .domain import Block, Domain, Step
from .edits import Log
from .errors import UserError, unknown
from .labels import ground_truth
from .plan import Plan, make_plan
from .priors import Prior, Priors
from .scenario import ScenarioRequest
from .schema import Schema, TableSchema
from .spec import Spec
from .tables import ROW, Table, Tables, merge, rows


@dataclass(frozen=True)
class Stage:
    """One step of the plan that touched the row: the columns that it made and those that it changed, with the values after it."""

    kind: str
    """"step", "scenario" or "derive"."""
    name: str
    made: Mapping[str, Any]
    changed: Mapping[str, tuple[Any, Any]]
    """Value before, value after."""
    priors: tuple[Prior, ...] = ()
    """What the step read, for this row and all others of its block."""


@dataclass(frozen=True)
class Explanation:
    table: str
    key: int
    row: Mapping[str, Any]
    """As the plan makes it."""
    owners: tuple[tuple[str, int], ...]
    """The rows that it belongs to, upwards: table and key."""
    stages: tuple[Stage, ...]
    labels: tuple[Mapping[str, Any], ...]
    """Scenario, instance, role and effect of each edit, with the scenario's `doc`, `source` and `parameters`."""
    models: Mapping[str, str]
    """Columns that a fitted model drew: the slot that it stands in."""
    stored: Mapping[str, Any] = field(default_factory=dict)
    """Values that are stored otherwise than the plan makes them."""

    def text(self) -> str:
        """The explanation for people, one line a fact."""
        lines = [f"{self.table} {self.key}"]
        if self.owners:
            lines.append("belongs to " + ", of ".join(f"{table} {key}" for table, key in self.owners))
        for label in self.labels:
            told = ", ".join(f"{k}={v}" for k, v in label["parameters"].items())
            lines.append(
                f"scenario {label['scenario']}, instance {label['instance']}: plays '{label['role']}', {label['effect']}"
                + (f" ({told})" if told else "")
            )
            lines += [f"    {label['doc']}", f"    source: {label['source']}"]
        for stage in self.stages:
            lines.append(f"{stage.kind} {stage.name}")
            lines += [
                f"    {column} = {value}"
                + (f"  (model of slot {self.models[column]})" if column in self.models else "")
                for column, value in stage.made.items()
            ]
            lines += [f"    {column}: {before} → {after}" for column, (before, after) in stage.changed.items()]
            lines += [f"    reads {p.name} = {_brief(p.value)}: {p.source}" for p in stage.priors]
        lines += [f"stored otherwise: {c} is {v}, the plan makes {self.row.get(c)}" for c, v in self.stored.items()]
        return "\n".join(lines)

    def as_dict(self) -> dict[str, Any]:
        """The explanation as plain data."""
        return {
            "table": self.table,
            "key": self.key,
            "row": {k: _plain(v) for k, v in self.row.items()},
            "owners": [{"table": t, "key": k} for t, k in self.owners],
            "labels": [dict(label) for label in self.labels],
            "stages": [
                {
                    "kind": s.kind,
                    "name": s.name,
                    "made": {k: _plain(v) for k, v in s.made.items()},
                    "changed": {k: [_plain(a), _plain(b)] for k, (a, b) in s.changed.items()},
                    "priors": [{"name": p.name, "value": _plain(p.value), "source": p.source} for p in s.priors],
                }
                for s in self.stages
            ],
            "models": dict(self.models),
            "stored_otherwise": {k: _plain(v) for k, v in self.stored.items()},
        }


@dataclass(frozen=True)
class _Noted(Priors):
    """Priors that remember which of them were read."""

    read: dict[str, None] = field(default_factory=dict)

    def __getitem__(self, name: str) -> Prior:
        found = super().__getitem__(name)
        self.read[name] = None
        return found


def explain(plan: Plan, table: str, key: int, cast: Cast | None = None) -> Explanation:
    """Explain the row of `table` with this key. Raises UserError if the plan makes none."""
    domain, spec = plan.whole, plan.domain.schema[table]
    if spec.reference:
        return _of_reference(plan, table, key)
    unit = int(domain.schema.unit_of(table, np.array([key]))[0])
    if not 0 <= unit < plan.units:
        raise UserError(f"{table} {key}: would belong to {domain.root} {unit}, and there are {plan.units}")
    cast = make_cast(plan) if cast is None else cast
    index = unit // plan.span
    snapshots, log = _snapshots(plan, index, cast)
    last = snapshots[-1][2][table]
    at = last.filter(pl.col(spec.key) == key)
    if at.is_empty():
        raise UserError(f"there is no {table} with the key {key}{_near(last[spec.key], key)}")
    found = conform(at, spec)
    address = int(rows(at)[0]) if ROW in at.columns else key
    label = ground_truth(domain.schema, {table: last}, log).filter(row_key=key)
    return Explanation(
        table,
        key,
        found.row(0, named=True),
        _owners(domain.schema, table, found),
        _stages(spec, address, snapshots),
        tuple(_told(plan, entry) for entry in label.iter_rows(named=True)),
        _models(plan, table),
    )


def explain_stored(
    domain: Domain,
    place: str,
    table: str,
    key: int,
    models: Mapping[str, str] | None = None,
    inputs: Mapping[str, Any] | None = None,
) -> Explanation:
    """Explain a row of a dataset that populace wrote to a folder or database: its manifest says how it was made. `inputs` is what a plan
    says of those that extended the domain (`core.inputs.extend`).

    Raises UserError if there is no manifest, or it was made by another version, or with models or inputs that are not given.
    """
    from .source import read_source

    if table not in domain.schema.tables:
        raise unknown("table", table, domain.schema.tables, domain.name)
    source = read_source(domain, place)
    plan = plan_of(source.manifest, place, domain, models or {}, inputs or {})
    made = explain(plan, table, key)
    stored = source.tables.get(table)
    here = None if stored is None else stored.filter(pl.col(domain.schema[table].key) == key)
    if here is None or here.is_empty():
        raise UserError(f"{place}: there is no {table} with the key {key}, although the plan makes one")
    differs = {c: v for c, v in here.row(0, named=True).items() if c in made.row and v != made.row[c] and v == v}
    return replace(made, stored=differs)


def plan_of(
    manifest: Mapping[str, Any] | None, place: str, domain: Domain, models: Mapping[str, str], inputs: Mapping[str, Any]
) -> Plan:
    """The plan that a manifest describes. Raises UserError if this version of populace, or what is given, would make another dataset."""
    body = (manifest or {}).get("populace", {})
    told = body.get("spec")
    if not isinstance(told, dict) or told.get("domain") != domain.name:
        raise UserError(f"{place}: has no manifest that says how populace made it")
    requests = tuple(
        ScenarioRequest(s["name"], {k: v for k, v in s.items() if k != "name"}) for s in told.get("scenarios", ())
    )
    if missing := told.get("models", {}).keys() - models.keys():
        raise UserError(
            f"{place}: was made with a model in slot {', '.join(sorted(missing))}: give it with --model SLOT=MODEL"
        )
    spec = Spec(
        domain.name,
        told["size"],
        told["seed"],
        told["start"],
        told["end"],
        requests,
        told.get("set", {}),
        dict(models),
        only=tuple(told.get("only", ())),
    )
    plan = replace(make_plan(spec, domain), inputs=inputs)
    if plan.fingerprint != body.get("fingerprint"):
        from importlib.metadata import version

        by = f"populace {body.get('version')}, this is {version('populace')}"
        raise UserError(
            f"{place}: was made by another version, or with other models or inputs ({by}): it cannot be made again here"
        )
    return plan


_Snapshot = tuple[str, str, Tables, tuple[Prior, ...]]


def _snapshots(plan: Plan, index: int, cast: Cast) -> tuple[list[_Snapshot], Log]:
    """The tables after each step, after the scenarios, and after each derived step; and what the scenarios did."""
    block, tables, found, log = plan.block(index), dict[str, Table](), list[_Snapshot](), Log()

    def run(kind: str, steps: tuple[Step, ...]) -> None:
        nonlocal tables
        for step in steps:
            noted = _Noted(plan.priors.entries)
            tables = merge(tables, step.run(replace(block, priors=noted), tables))
            found.append((kind, step.name, tables, tuple(plan.priors[name] for name in noted.read)))

    run("step", plan.domain.steps)
    if plan.uses:
        tables, log = play(plan, block, tables, cast)
        found.append(("scenario", ", ".join(dict.fromkeys(u.scenario.name for u in plan.uses)), tables, ()))
    run("derive", plan.domain.derive)
    return found, log


def _stages(spec: TableSchema, address: int, snapshots: list[_Snapshot]) -> tuple[Stage, ...]:
    stages, known = [], dict[str, Any]()
    for kind, name, tables, priors in snapshots:
        frame = tables.get(spec.name)
        if frame is None:
            continue
        by = ROW if ROW in frame.columns else spec.key
        here = frame.filter(pl.col(by) == address).drop(ROW, strict=False)
        if here.is_empty():
            continue
        row = {c: _as_typed(spec, c, v) for c, v in here.row(0, named=True).items()}
        made = {c: v for c, v in row.items() if c not in known}
        changed = {c: (known[c], v) for c, v in row.items() if c in known and known[c] != v and v == v}
        if made or changed:
            stages.append(Stage(kind, name, made, changed, priors))
        known = row
    return tuple(stages)


def _owners(schema: Schema, table: str, row: Table) -> tuple[tuple[str, int], ...]:
    found, spec = [], schema[table]
    key = int(row[spec.key][0])
    while spec.within is not None:
        key //= spec.fan
        spec = schema[spec.columns[spec.within].references or ""]
        found.append((spec.name, key))
    return tuple(found)


def _told(plan: Plan, entry: Mapping[str, Any]) -> dict[str, Any]:
    use = next(
        u
        for n, u in enumerate(plan.uses)
        if u.scenario.name == entry["scenario"] and 0 <= entry["instance"] - plan.first_instance(n) < u.count
    )
    return {
        **{k: entry[k] for k in ("scenario", "instance", "role", "effect")},
        "doc": use.scenario.doc,
        "source": use.scenario.source,
        "parameters": {k: _plain(v) for k, v in use.parameters.items()},
    }


def _models(plan: Plan, table: str) -> dict[str, str]:
    columns = plan.domain.schema[table].columns
    return {c: slot for slot in plan.models for c in plan.domain.slots[slot].makes.values() if c in columns}


def _of_reference(plan: Plan, table: str, key: int) -> Explanation:
    spec = plan.domain.schema[table]
    found = plan.reference[table].filter(pl.col(spec.key) == key)
    if found.is_empty():
        raise UserError(f"there is no {table} with the key {key}{_near(plan.reference[table][spec.key], key)}")
    row = conform(found, spec).row(0, named=True)
    step = next(s for s in reversed(plan.domain.reference) if table in s.makes)
    noted = _Noted(plan.priors.entries)
    step.run(Block(0, 0, plan.size, plan.stream, noted, plan.window, {}, {}, plan.domain.library), plan.reference)
    stage = Stage("reference", step.name, row, {}, tuple(plan.priors[name] for name in noted.read))
    return Explanation(table, key, row, (), (stage,), (), {})


def _as_typed(spec: TableSchema, column: str, value: Any) -> Any:
    """A fact in the type that its column will have: steps may count instants in microseconds."""
    kind = spec.columns[column].type if column in spec.columns else ""
    return (
        dt.datetime.fromtimestamp(0, dt.UTC) + dt.timedelta(microseconds=value)
        if kind == "instant" and isinstance(value, int)
        else value
    )


def _near(keys: pl.Series, key: int) -> str:
    if keys.is_empty():
        return ""
    return f"; the nearest is {keys[int((keys - key).abs().arg_min() or 0)]}"


def _brief(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 80 else text[:77] + "…"


def _plain(value: Any) -> Any:
    return value if value is None or isinstance(value, bool | int | float | str | list | dict) else str(value)
