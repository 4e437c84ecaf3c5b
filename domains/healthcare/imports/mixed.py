"""The domain with records that were imported: the first patients are those, the rest is generated; scenarios, views and sinks take both alike.

`populace generate healthcare --from DIR` reads a dataset that `populace import` has written. What is derived (keys, ages, statuses, claims,
computed measures) is made where the record does not say it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from ....core.checks import check_tables, row_rules
from ....core.domain import Block, Check, Domain, Step, Window
from ....core.errors import UserError
from ....core.files import as_pattern
from ....core.priors import Priors
from ....core.schema import Schema, make_schema, read_tables
from ....core.sinks.stage import read_manifest
from ....core.source import read_source
from ....core.stream import Stream
from ....core.tables import ROW, Table, Tables, merge
from ..bind import bind
from ..checks import checks
from ..curves import DAY, YEAR
from ..derived import keys, numbering
from ..population import adult_time, leap_day_before, traits

ADDRESSES = Stream.root(0).child("imported")


def _rows(table: str, keys: pl.Series) -> pl.Series:
    """The addresses of imported rows: hashes of their keys."""
    bits = ADDRESSES.child(table).bits(keys.fill_null(0).to_numpy())
    return pl.Series(bits).set(keys.is_null(), None)


@dataclass(frozen=True, eq=False)
class Mixed:
    """The one step that makes facts: imported ones of the first `size` units, the domain's own of those after them."""

    folder: Path
    schema: Schema
    size: int
    steps: tuple[Step, ...]
    shift: Mapping[str, int] = field(default_factory=dict)
    """By reference table: what is added to the keys of imported rows, since our own come first."""

    def __call__(self, block: Block, _: Tables) -> Tables:
        first = max(block.first, self.size)
        # one unit more than none shows what facts look like
        places = {name: frame.head(self.shift[name]) for name, frame in block.reference.items()}
        part = replace(block, first=first, last=max(block.last, first + 1), reference=places)
        own: Tables = {}
        for step in self.steps:
            own = merge(own, step.run(part, own))
        if block.last <= first:
            own = {name: frame.clear() for name, frame in own.items()}
        if block.first >= self.size:
            return {**{n: self._empty(n) for n in numbering(self.schema) if n not in own}, **own}
        made = {}
        for name in ("patient", *numbering(self.schema)):
            found = self._imported(block, name)
            if name in own:
                shared = {c: t for c, t in own[name].schema.items() if c in found.columns}
                found = found.with_columns(_as(c, found.schema[c], t) for c, t in shared.items())
                made[name] = pl.concat([found, own[name]], how="diagonal")
            else:
                made[name] = found
        return made

    def _imported(self, block: Block, name: str) -> Table:
        """The imported rows of the block's units, as facts: with their addresses, and those of the rows that they refer to."""
        spec = self.schema[name]
        files = sorted((self.folder / name).glob("*.parquet"))
        if not files:
            return self._empty(name)
        last = min(block.last, self.size)
        owner = pl.col(spec.within or spec.key)
        scan = pl.scan_parquet([as_pattern(f) for f in files], hive_partitioning=False)
        frame = scan.filter((owner >= block.first) & (owner < last)).collect()
        frame = frame.with_columns(pl.col(pl.Categorical, pl.Enum).cast(pl.String))
        frame = frame.with_columns(
            (pl.col(c) + self.shift[t]).alias(c) for c, t in spec.references.items() if t in self.shift and c in frame
        )
        if name == "patient":
            return _person(block, frame)
        frame = frame.with_columns(_rows(name, frame[spec.key]).alias(ROW))
        for column, target in spec.references.items():
            if target in numbering(self.schema) and column in frame.columns:
                row = _rows(target, frame[column]).alias(f"{column.removesuffix('_id')}_row")
                frame = frame.drop(column).with_columns(row)
        return frame.drop(spec.key)

    def _empty(self, name: str) -> Table:
        spec = self.schema[name]
        links = {f"{c.removesuffix('_id')}_row": pl.UInt64 for c, t in spec.references.items() if t != "patient"}
        columns = {c: pl.String if isinstance(t, pl.Enum) else t for c, t in spec.polars.items() if c != spec.key}
        return pl.DataFrame(schema={**columns, ROW: pl.UInt64, **links})


def _as(column: str, have: pl.DataType, want: pl.DataType) -> pl.Expr:
    at = pl.col(column)
    return at if have == want else at.cast(want, strict=False)


def _person(block: Block, frame: Table) -> Table:
    """What scenarios choose by and bodies are made of, beside what the record says."""
    start, end = block.window.start, block.window.end
    units = frame["patient_id"].to_numpy().astype(np.uint64)
    birth = frame["birth_date"].cast(pl.Datetime("us")).cast(pl.Int64).fill_null(start).to_numpy()
    death = frame["death_at"].cast(pl.Int64).fill_null(2**62).to_numpy()
    last = np.maximum(np.minimum(death, end), birth)
    male = (frame["sex"].cast(pl.String) == "male").fill_null(False).to_numpy()
    drawn = traits(block, block.stream.child("patient", "trait"), units, male)
    return frame.with_columns(
        pl.Series(ROW, units),
        said_sex=pl.col("sex"),
        said_birth=pl.col("birth_date"),
        birth=pl.Series(birth),
        first_seen=pl.Series(np.maximum(start, birth)),
        last_seen=pl.Series(last),
        age_at_start=pl.Series((start - birth) / YEAR),
        adult_days=pl.Series(adult_time(block, birth, last) / DAY),
        leap_gap_days=pl.Series((birth - leap_day_before(birth)) // DAY),
        **{f"z_{name}": pl.Series(z) for name, z in drawn.items()},
    )


@dataclass(frozen=True, eq=False)
class Unsaid:
    """A derive step for what the record does not say: of what it does say, that stands."""

    step: Step
    size: int

    def __call__(self, block: Block, tables: Tables) -> Tables:
        made = self.step.run(block, tables)
        imported = pl.col("patient_id") < self.size
        if self.step.name == "measures":
            facts = tables["observation"]
            rows = made["observation"]
            moment = ["patient_id", "encounter_row", "code", "at"]
            new = rows.slice(facts.height)
            # whose sex or birth a scenario has changed, of them all is computed anew
            same = pl.col("sex").eq_missing(pl.col("said_sex")) & pl.col("birth_date").eq_missing(pl.col("said_birth"))
            others = tables["patient"].filter(~same & imported)["patient_id"]
            stale = facts.filter(pl.col("patient_id").is_in(others.implode()))
            stale = stale.join(new, on=moment, how="semi", nulls_equal=True)[ROW]
            facts = facts.filter(~pl.col(ROW).is_in(stale.implode()))
            new = new.join(facts.filter(imported), on=moment, how="anti", nulls_equal=True)
            return {"observation": pl.concat([facts, new.select(facts.columns)])}
        if self.step.name == "claims":
            said = tables["claim"].filter(imported)
            # of a contact that a scenario has taken away there is no bill
            gone = said.filter(pl.col("encounter_row").is_not_null()).join(
                tables["encounter"].select(encounter_row=ROW), on="encounter_row", how="anti"
            )
            said = said.filter(~pl.col(ROW).is_in(gone[ROW].implode()))
            new = made["claim"].join(said, on="encounter_row", how="anti", maintain_order="left")
            shared = [c for c in said.columns if c in new.columns]
            said = said.with_columns(_as(c, said.schema[c], new.schema[c]) for c in shared)
            return {"claim": pl.concat([said, new], how="diagonal")}
        if self.step.name == "statuses":
            kept = {}
            for name, frame in made.items():
                column = "dose" if name == "immunization" else "status"
                before = tables[name][column] if column in tables[name].columns else None
                kept[name] = frame if before is None else frame.with_columns(pl.coalesce(before, pl.col(column)))
            return kept
        return made


@dataclass(frozen=True, eq=False)
class Forgiving:
    """A check that passes over patients whose imported record breaks it already."""

    check: Check
    schema: Schema
    units: frozenset[int]

    def __call__(self, tables: Mapping[str, pl.LazyFrame]) -> Table:
        found = self.check.run(tables)
        parts = []
        for (name,), part in found.partition_by("table", as_dict=True).items():
            unit = pl.Series(self.schema.unit_of(str(name), part["row_key"].to_numpy()))
            parts.append(part.filter(~unit.is_in(list(self.units))))
        return pl.concat(parts) if parts else found


@dataclass(frozen=True, eq=False)
class Places:
    """Organizations and practitioners: our own, then those of the record."""

    step: Step
    name: str
    found: Table
    shift: Mapping[str, int]

    def __call__(self, block: Block, tables: Tables) -> Tables:
        own = self.step.run(block, tables)[self.name]
        theirs = self.found.with_columns(pl.col(pl.Enum).cast(pl.String))
        moved = [f"{t}_id" for t in self.shift if f"{t}_id" in theirs.columns]
        theirs = theirs.with_columns(pl.col(c) + self.shift[c.removesuffix("_id")] for c in moved)
        theirs = theirs.with_columns(_as(c, theirs.schema[c], t) for c, t in own.schema.items() if c in theirs.columns)
        return {self.name: pl.concat([own, theirs], how="diagonal")}


def with_records(domain: Domain, folder: Path) -> Domain:
    """The domain with a dataset that was imported. Raises UserError for a folder that is none."""
    source = read_source(domain, str(folder))
    manifest = read_manifest(folder / "manifest.json")
    spec: Any = (manifest or {}).get("populace", {}).get("spec", {})
    if not source.domain.remembers.get("foreign"):
        raise UserError(f"--from {folder}: not a dataset that populace import has written")
    if not list(folder.glob("patient/*.parquet")):
        raise UserError(f"--from {folder}: its tables are not Parquet: import them again without --format")
    schema = _roomy(source.domain.schema)
    found = check_tables(source.domain, source.tables, set(source.tables))
    size = int(source.tables["patient"]["patient_id"].max()) + 1  # type: ignore[arg-type]
    block = Block(0, 0, size, Stream.root(0), domain.priors, Window(0, 0), {})
    shift: dict[str, int] = {}
    places: Tables = {}
    for step in domain.reference:
        places = merge(places, step.run(block, places))
        shift[step.makes[0]] = places[step.makes[0]].height
    broken: dict[str, set[int]] = {}
    for check, name, key in found.select("check", "table", "row_key").rows():
        broken.setdefault(check, set()).add(int(source.domain.schema.unit_of(name, np.array([key]))[0]))
    schema = _lenient(schema, broken.keys())
    mixed = Step("records", ("patient", *numbering(schema)), Mixed(folder.resolve(), schema, size, domain.steps, shift))
    derive = tuple(_derived(s, schema, size) for s in domain.derive)
    return replace(
        bind(domain, schema, domain.priors),
        size=size,
        window=(spec["start"], spec["end"]),
        reference=tuple(
            replace(s, run=Places(s, s.makes[0], source.tables[s.makes[0]], shift)) for s in domain.reference
        ),
        steps=(mixed,),
        derive=derive,
        checks=tuple(
            replace(c, run=Forgiving(c, schema, frozenset(broken.get(c.name, ()))))
            for c in checks(domain.priors, schema)
        ),
        settled=_settled,
        extend=None,
        remembers={**source.domain.remembers, "fans": {n: s.fan for n, s in schema.tables.items() if s.within}},
    )


def _settled(domain: Domain, priors: Priors) -> Domain:
    """Views by priors that the user has set; what the records break is forgiven as before."""
    return replace(domain, views=bind(domain, domain.schema, priors).views)


def _derived(step: Step, schema: Schema, size: int) -> Step:
    if step.name == "keys":
        timed = tuple(numbering(schema))
        return Step("keys", timed, keys(schema), timed)
    return replace(step, run=Unsaid(step, size))


def _roomy(schema: Schema) -> Schema:
    """At least the room that the domain gives a patient: scenarios add rows."""
    lists = dict(schema.code_lists)
    least = {n: s.fan for n, s in read_tables(schema.domain, "tables.toml", lists).items()}
    tables = {n: replace(s, fan=max(s.fan * 2, least.get(n, 0))) for n, s in schema.tables.items() if s.within}
    return make_schema(schema.domain, {**schema.tables, **tables}, lists)


def _lenient(schema: Schema, broken: Any) -> Schema:
    """Without the rules for single rows that the record breaks."""
    tables = {}
    for name, spec in schema.tables.items():
        names = {r.name for r in row_rules(spec)} & set(broken)
        kept = tuple(c for c in spec.checks if f"{name}.{c.name}" not in names)
        columns = {
            n: replace(
                c,
                null=c.null or f"{name}.{n}.null" in names,
                min=None if f"{name}.{n}.min" in names else c.min,
                max=None if f"{name}.{n}.max" in names else c.max,
            )
            for n, c in spec.columns.items()
        }
        tables[name] = replace(spec, checks=kept, columns=columns)
    return make_schema(schema.domain, tables, schema.code_lists)
