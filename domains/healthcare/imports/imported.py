"""Importing FHIR R4: resources of others into the domain's tables, by columns; what has no place in them is counted and told."""

from __future__ import annotations

import datetime as dt
import io
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import polars as pl

from ....core.conform import conform
from ....core.domain import Domain
from ....core.errors import UserError
from ....core.imports import Imported
from ....core.progress import Progress
from ....core.sinks.stage import read_manifest
from ....core.tables import Table
from ..derived import completed_years
from ..fhir.parts import prefix
from ..fhir.waveform import OWN_ID
from ..modules.domain import with_schema
from ..modules.widen import UNCODED, UNITS, Wider
from .codings import Codes
from .keys import numbered
from .rows import READERS, Rows
from .shapes import CONSTANT, MADE_ANEW, PASSED_OVER, QUIET, SHAPES, VOID, arrow_schema, polars_schema
from .sources import Chunk, from_folder

TIMES = ("start_at", "end_at", "onset_at", "abatement_at", "at", "death_at")
HOME = ("US", "USA", "United States")
LIVES = 6
"""Generations over which a household's head is looked for."""


class _Tally:
    """What became of what was read."""

    def __init__(self) -> None:
        self.read: dict[str, int] = {}
        self.left_out: dict[tuple[str, str], int] = {}
        self.first: dict[str, str] = {}

    def leave(self, kind: str, why: str, number: int = 1) -> None:
        if number:
            self.left_out[kind, why] = self.left_out.get((kind, why), 0) + number

    def unreadable(self, place: str, why: str) -> None:
        self.leave("unreadable", f"{why} (first at {self.first.setdefault(why, place)})")


def read_records(domain: Domain, place: str) -> Imported:
    """Read FHIR R4 resources from a folder or file (NDJSON, bundles), or a server's URL. Raises UserError where there are none, or no patient."""
    tally, codes = _Tally(), Codes(domain.schema)
    rows: dict[str, list[Table]] = {}
    with Progress("reading FHIR", 0, unit="resource") as progress:
        for kind, lines in _chunks(place, tally):
            tally.read[kind] = tally.read.get(kind, 0) + len(lines)
            for name, frame in _rows(kind, lines, codes, tally).items():
                rows.setdefault(name, []).append(frame)
            progress.step(len(lines))
    frames = {name: pl.concat(parts, how="vertical_relaxed") for name, parts in rows.items()}
    if "patient" not in frames or frames["patient"].is_empty():
        what = ", ".join(f"{n} {k}" for k, n in sorted(tally.read.items())) or "nothing"
        why = next((f"; {reason}" for (kind, reason) in tally.left_out if kind == "Patient"), "")
        raise UserError(f"{place}: holds no Patient; found {what}{why}")
    for name, code in sorted(codes.clashes):
        tally.leave("codes", f"{name} {code} stands for two things in two systems: the first is kept")
    return _assembled(domain, place, frames, codes, tally)


def _chunks(place: str, tally: _Tally) -> Iterator[Chunk]:
    if place.startswith(("http://", "https://")):
        from .server import from_server

        return from_server(place, tally.unreadable)
    return from_folder(Path(place), tally.unreadable)


def _rows(kind: str, lines: list[bytes], codes: Codes, tally: _Tally) -> Rows:
    if kind in MADE_ANEW:
        tally.leave(kind, "views make it of the rest of the record", len(lines))
        return {}
    if kind not in READERS:
        tally.leave(kind, "there is no table for it", len(lines))
        return {}
    frame = _parsed(kind, lines, tally)
    if kind == "Observation":  # electrocardiograms of ours: views make them of the procedures again
        frame = frame.filter(~pl.col("id").str.starts_with(prefix(kind) + OWN_ID).fill_null(False))
    known = {*arrow_schema(kind).names, *PASSED_OVER, *CONSTANT.get(kind, ())}
    for column in frame.columns:
        if column not in known:
            tally.leave(kind, f"no place for {column}", frame.height - frame[column].null_count())
    for path, number in _unread(frame, SHAPES[kind]):
        tally.leave(kind, f"no place for {path}", number)
    frame = frame.cast(polars_schema(kind)) if frame.height else pl.DataFrame(schema=polars_schema(kind))
    if "address" in frame.columns:
        country = frame.select(pl.col("address").list.get(0, null_on_oob=True).struct.field("country").alias("c"))["c"]
        abroad = country.is_not_null() & ~country.is_in(HOME)
        tally.leave(kind, "no place for address.country", int(abroad.sum()))
    frame = _taken_place(kind, frame, tally)
    made = READERS[kind](frame, codes)
    for name, part in made.items():
        if "code" in part.columns and name not in ("role", "medication_request", "medication_administration"):
            without = part["code"].is_null()
            tally.leave(kind, "no code", int(without.sum()))
            made[name] = part.filter(~without)
    return made


def _unread(frame: Table, shape: dict[str, Any]) -> Iterator[tuple[str, int]]:
    """What stands inside of elements that are read, and is not read: its path, and how often it is there."""
    for path in _beyond(pl.Struct(frame.select(list(shape)).schema), shape):
        nested = frame.select(pl.col(path[0]).alias("x"))
        for name in (*path[1:], None):
            while isinstance(nested.schema["x"], pl.List):
                nested = nested.explode("x")
            nested = nested.filter(pl.col("x").is_not_null())
            if name:
                nested = nested.select(pl.col("x").struct.field(name).alias("x"))
        if nested.height:
            yield ".".join(path), nested.height


def _beyond(kind: pl.DataType, shape: Any) -> Iterator[tuple[str, ...]]:
    """The paths in a type that a shape does not have, inside of what it has."""
    while isinstance(kind, pl.List):
        kind, shape = kind.inner, shape[0]  # type: ignore[assignment]
    if isinstance(kind, pl.Struct) and isinstance(shape, dict):
        for part in kind.fields:
            if part.name in shape:
                yield from ((part.name, *rest) for rest in _beyond(part.dtype, shape[part.name]))  # type: ignore[arg-type]
            elif part.name not in QUIET:
                yield (part.name,)


def _parsed(kind: str, lines: list[bytes], tally: _Tally) -> Table:
    """One row for each resource that can be read; those that cannot are found by halving."""
    import pyarrow as pa
    import pyarrow.json as reader

    data = b"\n".join(lines)
    try:
        table = reader.read_json(
            io.BytesIO(data),
            read_options=reader.ReadOptions(use_threads=False, block_size=min(len(data) + 1, 2**31 - 1)),
            parse_options=reader.ParseOptions(explicit_schema=arrow_schema(kind), unexpected_field_behavior="infer"),
        )
        return pl.DataFrame(pl.from_arrow(table))
    except (pa.ArrowInvalid, pl.exceptions.PolarsError) as error:
        if len(lines) == 1:
            tally.leave(
                kind, f"not as FHIR R4 has it: {str(error).splitlines()[0].removeprefix('JSON parse error: ')[:120]}"
            )
            return pl.DataFrame(pl.from_arrow(arrow_schema(kind).empty_table()))
    half = len(lines) // 2
    parts = [_parsed(kind, part, tally) for part in (lines[:half], lines[half:])]
    parts = [p for p in parts if p.height] or parts[:1]
    return pl.concat(parts, how="diagonal_relaxed")


def _taken_place(kind: str, frame: Table, tally: _Tally) -> Table:
    """Without what was cancelled, refuted, never done or entered in error."""
    status = pl.lit(None, pl.String)
    if frame.schema.get("status") == pl.String and kind != "Device":  # nobody says that it is, of what has none
        status = pl.col("status")
    if "verificationStatus" in frame.columns:
        codings = pl.col("verificationStatus").struct.field("coding")
        status = codings.list.get(0, null_on_oob=True).struct.field("code")
    # a policy that has ended is cancelled, and was one
    words = [w for w in VOID if (kind, w) != ("Coverage", "cancelled")]
    void = frame.select(pl.when(status.is_in(words)).then(status).alias("s"))["s"]
    for said, number in void.drop_nulls().value_counts().rows():
        tally.leave(kind, f"status {said}", number)
    return frame.filter(void.is_null())


def _assembled(domain: Domain, place: str, frames: dict[str, Table], codes: Codes, tally: _Tally) -> Imported:
    roles, relatives, results, paid, drugs, planned = (
        frames.pop(n, None) for n in ("role", "relative", "result", "paid", "drug", "planned")
    )
    if "goal" in frames:
        planned = planned if planned is not None else pl.DataFrame(schema={"care_plan_id": pl.String, "id": pl.String})
        named = planned.unique("id", keep="first")
        frames["goal"] = frames["goal"].join(named, on="id", how="left", maintain_order="left")
    for name in ("medication_request", "medication_administration"):
        if name in frames:
            frames[name] = _drugged(frames[name], drugs, name, tally)
    if roles is not None and "practitioner" in frames:
        work = roles.unique("practitioner_id", keep="first", maintain_order=True).select(
            pl.col("practitioner_id").alias("id"), role_organization="organization_id", role_specialty="specialty"
        )
        joined = frames["practitioner"].join(work, on="id", how="left", maintain_order="left")
        frames["practitioner"] = joined.with_columns(
            organization_id=pl.coalesce("organization_id", "role_organization"),
            specialty=pl.coalesce("specialty", "role_specialty"),
        ).drop("role_organization", "role_specialty")
    if "claim" in frames:
        frames["claim"] = _settled(frames["claim"], paid)
    if "observation" in frames:
        frames["observation"] = _measured(frames["observation"], results, codes, tally)
    frames["patient"] = _families(frames["patient"], relatives)
    uncoded = tuple(n for n in UNCODED if n in frames)
    wider = Wider(codes.found, codes.measured, {}, uncoded, foreign=True)
    schema = with_schema(domain, wider).schema
    for name in [n for n in frames if n not in schema.tables]:
        del frames[name]
    keyed, fans, lost = numbered(frames, schema)
    for (name, column), number in lost.items():
        tally.leave(name, _why(column), number)
    wide = with_schema(domain, Wider(codes.found, codes.measured, fans, uncoded, foreign=True))
    start, end = _window(place, keyed)
    patient = keyed["patient"]
    at = pl.coalesce(
        pl.col("death_at"),
        pl.lit(dt.datetime(end.year, end.month, end.day) - dt.timedelta(microseconds=1)).dt.replace_time_zone("UTC"),
    )
    patient = patient.with_columns(age_years=completed_years(pl.col("birth_date"), at))
    keyed["patient"] = patient.with_columns(household_id=_heads(patient))
    tables = {name: _conformed(wide, name, keyed[name]) if name in keyed else pl.DataFrame(schema=spec.polars) for name, spec in wide.schema.tables.items()}  # fmt: skip
    return Imported(wide, tables, tally.read, tally.left_out, start, end, int(patient["patient_id"].max()) + 1)  # type: ignore[operator]


def _why(column: str) -> str:
    if column == "id":
        return "rows with the id of another: the first is kept"
    if column == "patient_id":
        return "rows of a patient who is not here"
    return f"references of {column} to what is not here: null"


def _drugged(frame: Table, drugs: Table | None, name: str, tally: _Tally) -> Table:
    """The code of the Medication resource, where the order refers to one."""
    drugs = drugs if drugs is not None else pl.DataFrame(schema={"id": pl.String, "code": pl.String})
    known = drugs.unique("id", keep="first").rename({"id": "medication", "code": "named"})
    frame = frame.join(known, on="medication", how="left", maintain_order="left")
    frame = frame.with_columns(code=pl.coalesce("code", "named")).drop("named", "medication")
    tally.leave(name, "no code of a drug", frame["code"].null_count())
    return frame.filter(pl.col("code").is_not_null())


def _settled(claims: Table, paid: Table | None) -> Table:
    """Who paid what: the insurer what the explanation says, the patient the rest."""
    if paid is None:
        paid = pl.DataFrame(schema={"claim_id": pl.String, "paid": pl.Float64})
    paid = paid.unique("claim_id", keep="first").rename({"claim_id": "id"})
    joined = claims.join(paid, on="id", how="left", maintain_order="left")
    insurer = pl.min_horizontal(pl.col("paid").fill_null(0.0), "total")
    return joined.with_columns(paid_by_insurer=insurer).with_columns(
        paid_by_patient=(pl.col("total") - pl.col("paid_by_insurer")).round(2)
    ).drop("paid")  # fmt: skip


def _measured(frame: Table, results: Table | None, codes: Codes, tally: _Tally) -> Table:
    valued = pl.any_horizontal(pl.col(c).is_not_null() for c in ("value", "value_text", "value_code"))
    # a reason stands only where there is no value
    frame = frame.with_columns(absent=pl.when(~valued).then("absent"))
    kept = frame.filter(valued | pl.col("absent").is_not_null())
    tally.leave("Observation", "no value", frame.height - kept.height)
    usual = {
        **{c: u for c, (u, _) in codes.measured.items() if u},
        **codes.schema.code_lists["observation_unit"].codes,
    }
    unit = pl.col("unit").replace(UNITS)
    same = unit == pl.col("code").replace_strict(usual, default=None, return_dtype=pl.String)
    kept = kept.with_columns(unit=pl.when(pl.col("value").is_not_null() & ~same.fill_null(False)).then(unit))
    other = kept["unit"].drop_nulls().unique(maintain_order=True)
    codes.found["unit"] = {u: ("http://unitsofmeasure.org", u) for u in other}
    if results is not None:
        named = results.unique("id", keep="first")
        kept = kept.join(named, on="id", how="left", maintain_order="left")
    return kept.drop("low")


def _families(patients: Table, relatives: Table | None) -> Table:
    """Mothers and spouses, where they are patients too: a marriage is on the record of the one who comes later."""
    if relatives is None:
        nobody = pl.lit(None, pl.String)
        return patients.with_columns(mother_id=nobody, spouse_id=nobody)
    order = patients.select("mrn", other="id").filter(pl.col("mrn").is_not_null()).unique("mrn", keep="first")
    found = relatives.filter(pl.col("relation").is_not_null()).join(order, on="mrn")
    place = patients.select("id").with_row_index("place")
    number = pl.coalesce(
        pl.col("id").str.extract(r"^patient-(\d{1,18})$").cast(pl.Int64), pl.col("place").cast(pl.Int64)
    )
    place = place.select("id", place=number)
    found = found.join(place.rename({"id": "patient_id", "place": "own"}), on="patient_id")
    found = found.join(place.rename({"id": "other"}), on="other")
    mothers = found.filter(pl.col("relation") == "mother").select(pl.col("patient_id").alias("id"), mother_id="other")
    wed = found.filter((pl.col("relation") == "spouse") & (pl.col("place") < pl.col("own")))
    wed = wed.select(pl.col("patient_id").alias("id"), spouse_id="other")
    for part in (mothers, wed):
        patients = patients.join(part.unique("id", keep="first"), on="id", how="left", maintain_order="left")
    return patients


def _heads(patients: Table) -> pl.Series:
    """The first of each household: of those whom marriages and motherhood link."""
    head = dict(zip(patients["patient_id"], patients["patient_id"], strict=True))
    links = patients.select("patient_id", pl.coalesce("mother_id", "spouse_id").alias("kin")).drop_nulls()
    for _ in range(LIVES):
        for own, kin in links.rows():
            head[own] = min(head[own], head.get(kin, own))
    return pl.Series([head[p] for p in patients["patient_id"]], dtype=pl.Int64)


def _window(place: str, tables: dict[str, Table]) -> tuple[dt.date, dt.date]:
    """What our own manifest says; else from the first encounter's day to the day after the last event."""
    told = None
    if not place.startswith("http") and Path(place).is_dir():
        with suppress(UserError):  # a file of that name may be somebody else's
            told = read_manifest(Path(place) / "manifest.json")
    spec = (told or {}).get("populace", {}).get("spec", {})
    if {"start", "end"} <= spec.keys():
        return dt.date.fromisoformat(spec["start"]), dt.date.fromisoformat(spec["end"])
    moments = [
        frame[c].drop_nulls() for frame in tables.values() for c in TIMES if c in frame.columns and frame[c].len()
    ]
    last = max((m.max() for m in moments if len(m)), default=None)  # type: ignore[type-var]
    visits = tables["encounter"]["start_at"].drop_nulls() if "encounter" in tables else pl.Series([], dtype=pl.Datetime)
    first = visits.min() if len(visits) else last
    if not isinstance(last, dt.datetime) or not isinstance(first, dt.datetime):
        return dt.date(2000, 1, 1), dt.date(2000, 1, 2)
    low, high = dt.date(1900, 1, 1), dt.date(2200, 1, 1)
    end = min(max(last.date() + dt.timedelta(days=1), low + dt.timedelta(days=1)), high)
    return min(max(first.date(), low), end - dt.timedelta(days=1)), end


def _conformed(domain: Domain, name: str, frame: Table) -> Table:
    spec = domain.schema[name]
    enums = [c for c in spec.columns.values() if c.type == "code" and c.name in frame.columns]
    return conform(frame.with_columns(pl.col(c.name).cast(c.dtype, strict=False) for c in enums), spec)
