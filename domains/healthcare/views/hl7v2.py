"""HL7 v2.5.1 messages: ADT^A01 and ADT^A04 at admission and registration, ADT^A03 at discharge, ORU^R01 with results, VXU^V04 with vaccinations.

One message a line would break the standard's segment terminator, so each patient's messages are one file, in order of time: segments end with a
carriage return, and every message begins with MSH."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import polars as pl

from ....core.checks import VIOLATION
from ....core.domain import View
from ....core.schema import Schema
from ....core.tables import Table, Tables
from .csvs import shown

RULES = ("hl7.header", "hl7.segment", "hl7.patient", "hl7.control")
END = "\r"
STAMP = "%Y%m%d%H%M%S"
CLASS = {"AMB": "O", "EMER": "E", "IMP": "I", "HH": "O", "VR": "O"}
RACE = {"2106-3": "White", "2054-5": "Black or African American", "2028-9": "Asian"}
SYSTEMS = {"http://snomed.info/sct": "SCT", "http://loinc.org": "LN", "http://hl7.org/fhir/sid/icd-10": "I10"}
"""Table 0396: what HL7 calls code systems; others are local to it."""
REQUIRED = {"ADT": ("EVN", "PID", "PV1"), "ORU": ("PID", "OBR", "OBX"), "VXU": ("PID", "ORC", "RXA")}
"""The segments that each message type must have."""


def view(schema: Schema) -> View:
    """One file of messages per patient."""

    def render(tables: Tables, _: Tables) -> Mapping[str, Table]:
        return {"hl7v2": messages(schema, tables)}

    doc = "HL7 v2.5.1 messages, ADT, ORU and VXU: one file per patient."
    return View("hl7v2", doc, render, "hl7", recognises, check, RULES)


def escaped(value: pl.Expr) -> pl.Expr:
    """Text with the delimiters as escape sequences (chapter 2.7.1)."""
    text = value.cast(pl.String).str.replace_all("\\", r"\E\\"[:-1], literal=True)
    for sign, letter in (("|", "F"), ("^", "S"), ("&", "T"), ("~", "R")):
        text = text.str.replace_all(sign, f"\\{letter}\\", literal=True)
    return text.str.replace_all("[\r\n]", " ")


def _segment(name: str, *fields: str | pl.Expr) -> pl.Expr:
    """A segment whose fields are constants and expressions; a null field is empty."""
    parts: list[pl.Expr] = [pl.lit(name)]
    for field in fields:
        parts += [pl.lit("|"), pl.lit(field) if isinstance(field, str) else field.cast(pl.String).fill_null("")]
    return pl.concat_str(*parts, pl.lit(END))


def _components(*parts: str | pl.Expr) -> pl.Expr:
    made: list[pl.Expr] = []
    for n, part in enumerate(parts):
        made += [pl.lit("^")] if n else []
        made.append(pl.lit(part) if isinstance(part, str) else part.cast(pl.String).fill_null(""))
    return pl.concat_str(*made)


def _header(kind: str, event: str, structure: str, at: str, control: pl.Expr) -> pl.Expr:
    stamp = pl.col(at).dt.strftime(STAMP)
    return _segment(
        "MSH",
        "^~\\&",
        "POPULACE",
        "SYNTHETIC",
        "RECEIVER",
        "FACILITY",
        stamp,
        "",
        f"{kind}^{event}^{structure}",
        control,
        "P",
        "2.5.1",
    )


def messages(schema: Schema, tables: Tables) -> Table:
    """Columns name and text: all of each patient's messages, in order of time."""
    codes = {n: c.codes for n, c in schema.code_lists.items()}
    people = tables["patient"].select("patient_id", pid=_patient(schema))
    visits = tables["encounter"].join(people, on="patient_id", how="left", maintain_order="left")
    visits = visits.with_columns(pv1=_visit())

    def message(frame: Table, kind: str, event: str, structure: str, at: str, mark: str, *body: pl.Expr) -> Table:
        control = pl.concat_str(pl.lit(mark), pl.col("number").cast(pl.String))
        return frame.select(
            "patient_id",
            pl.col(at).alias("at"),
            mark=pl.lit(mark),
            number="number",
            text=pl.concat_str(_header(kind, event, structure, at, control), *body),
        )

    def occurred(event: str, at: str) -> pl.Expr:
        return _segment("EVN", event, pl.col(at).dt.strftime(STAMP))

    numbered = visits.with_columns(number="encounter_id")
    inside = pl.col("class").is_in(["EMER", "IMP"])
    stays, others = numbered.filter(inside), numbered.filter(~inside)
    parts = [
        message(
            stays, "ADT", "A01", "ADT_A01", "start_at", "A", occurred("A01", "start_at"), pl.col("pid"), pl.col("pv1")
        ),
        message(
            others, "ADT", "A04", "ADT_A01", "start_at", "A", occurred("A04", "start_at"), pl.col("pid"), pl.col("pv1")
        ),
        message(
            numbered, "ADT", "A03", "ADT_A03", "end_at", "D", occurred("A03", "end_at"), pl.col("pid"), pl.col("pv1")
        ),
    ]
    unit = (
        pl.col("code").cast(pl.String).replace_strict(codes["observation_unit"], default=None, return_dtype=pl.String)
    )
    kind, value = pl.lit("NM"), pl.col("value").cast(pl.String)
    named = {c: SYSTEMS.get(schema.code_lists["finding"].system_of(c) or "", "L") for c in codes["finding"]}
    coded = _components(
        pl.col("value_code"), escaped(shown(codes["finding"], "value_code")), shown(named, "value_code")
    )
    found = pl.col("value_code").is_not_null()
    kind, value = pl.when(found).then(pl.lit("CWE")).otherwise(kind), pl.when(found).then(coded).otherwise(value)
    if "value_text" in tables["observation"].columns:
        unit, text = pl.coalesce(pl.col("unit").cast(pl.String), unit), pl.col("value_text").is_not_null()
        kind = pl.when(text).then(pl.lit("ST")).otherwise(kind)
        value = pl.when(text).then(escaped(pl.col("value_text"))).otherwise(value)
    seen = tables["observation"]
    if "sampled_data" in tables:
        seen = _beside(seen, tables["sampled_data"], "dimensions")
        series = pl.col("dimensions").is_not_null()
        kind = pl.when(pl.col("dimensions") > 1).then(pl.lit("MA")).when(series).then(pl.lit("NA")).otherwise(kind)
        value = pl.when(series).then(_series(tables["sampled_data"])).otherwise(value)
    if "attachment" in tables:
        seen = _beside(seen, tables["attachment"], "inline", "content_type")
        filed, inline = pl.col("inline").is_not_null(), pl.col("inline")
        kind = pl.when(inline).then(pl.lit("ED")).when(filed).then(pl.lit("RP")).otherwise(kind)
        value = pl.when(inline).then(_filed(True)).when(filed).then(_filed(False)).otherwise(value)
    measured = pl.col("value").is_not_null()
    unit = pl.when(measured | pl.col("dimensions").is_not_null() if "sampled_data" in tables else measured).then(unit)
    order = (pl.int_range(pl.len()) + 1).over("patient_id", "encounter_id", "at")
    name = escaped(shown(codes["observation"], "code"))
    results = seen.with_columns(
        obx=_segment(
            "OBX", order, kind, _components(pl.col("code"), name, "LN"), "", value,
            _components(escaped(unit), "", "UCUM"), "", "", "", "", "F", "", "", pl.col("at").dt.strftime(STAMP),
        )
    )  # fmt: skip
    reports = results.group_by("patient_id", "encounter_id", "at", maintain_order=True).agg(
        number=pl.col("observation_id").first(), obx=pl.col("obx").str.join("")
    )
    reports = reports.join(people, on="patient_id", how="left", maintain_order="left")
    reports = reports.join(visits.select("encounter_id", "pv1"), on="encounter_id", how="left", maintain_order="left")
    # what was measured outside of encounters has no visit segment
    reports = reports.with_columns(pl.col("pv1").fill_null(""))
    request = _segment(
        "OBR", "1", "", pl.col("number"), "11502-2^Laboratory report^LN", "", "", pl.col("at").dt.strftime(STAMP)
    )
    parts.append(
        message(reports, "ORU", "R01", "ORU_R01", "at", "O", pl.col("pid"), pl.col("pv1"), request, pl.col("obx"))
    )
    doses = tables["immunization"].join(people, on="patient_id", how="left", maintain_order="left")
    stamp = pl.col("at").dt.strftime(STAMP)
    vaccine = _components(pl.col("code"), escaped(shown(codes["vaccine"], "code")), "CVX")
    given = [
        _segment("ORC", "RE", "", pl.col("number")),
        _segment("RXA", "0", "1", stamp, stamp, vaccine, "999", "", "", "00^New immunization record^NIP001"),
    ]
    doses = doses.with_columns(number="immunization_id")
    parts.append(message(doses, "VXU", "V04", "VXU_V04", "at", "V", pl.col("pid"), *given))
    every = pl.concat(parts).sort("patient_id", "at", "mark", "number")
    joined = every.group_by("patient_id", maintain_order=True).agg(pl.col("text").str.join(""))
    return joined.select(name=pl.format("patient-{}", "patient_id"), text="text")


def _beside(rows: Table, told: Table, *columns: str) -> Table:
    return rows.join(told.select("observation_id", *columns), on="observation_id", how="left", maintain_order="left")


def _series(dimensions: Table) -> pl.Expr:
    """A series as NA, value after value; several side by side as MA, the values of a moment before those of the next (chapter 2A)."""
    values = pl.col("value_text")
    for k in sorted(set(dimensions["dimensions"]) - {1}):
        moments = values.str.replace_all(rf"(\S+(?: \S+){{{k - 1}}}) ", "${1}~")
        values = pl.when(pl.col("dimensions") == k).then(moments).otherwise(values)
    return values.str.replace_all(" ", "^", literal=True)


def _filed(inline: bool) -> pl.Expr:
    """A file as ED, its content; or as RP, its address (chapter 2A; kinds of data: table 0191)."""
    mime = pl.col("content_type").str.split_exact("/", 1)
    large = mime.struct.field("field_0").replace_strict(
        {"image": "IM", "audio": "AU", "text": "TEXT"}, default="AP", return_dtype=pl.String
    )
    kind = (large, escaped(mime.struct.field("field_1")))
    if inline:
        return _components("", *kind, "Base64", pl.col("value_text"))
    return _components(escaped(pl.col("value_text")), "", *kind)


def _patient(schema: Schema) -> pl.Expr:
    languages, marital = schema.code_lists["language"].codes, schema.code_lists["marital_status"].codes
    race = pl.col("race").cast(pl.String)
    country = next(iter(schema.code_lists["country"].codes.values()))
    return _segment(
        "PID", "1", "", _components(pl.col("mrn"), "", "", "SYNTHETIC", "MR"), "",
        _components(*(escaped(pl.col(c)) for c in ("family_name", "given_name", "middle_name"))), "",
        pl.col("birth_date").dt.strftime("%Y%m%d"),
        pl.col("sex").cast(pl.String).replace_strict({"male": "M", "female": "F"}, default="U", return_dtype=pl.String), "",
        pl.when(race.is_null()).then(pl.lit("")).otherwise(_components(race, race.replace_strict(RACE, default="Other Race", return_dtype=pl.String), "CDCREC")),
        _components(escaped(pl.col("line")), "", escaped(pl.col("city")), pl.col("state"), pl.col("postal_code"), country, "H"), "",
        _components("", "PRN", "PH", "", "", "", "", "", "", "", "", pl.col("phone")), "",
        _components(pl.col("language"), shown(languages, "language"), "ISO639"),
        _components(pl.col("marital_status"), shown(marital, "marital_status"), "HL70002"), "", "", "", "", "",
        pl.when(pl.col("ethnicity").is_null()).then(pl.lit("")).when(pl.col("ethnicity") == "2135-2").then(pl.lit("H^Hispanic or Latino^HL70189")).otherwise(pl.lit("N^Not Hispanic or Latino^HL70189")),
        "", "", "", "", "", "", pl.col("death_at").dt.strftime(STAMP), pl.when(pl.col("death_at").is_not_null()).then(pl.lit("Y")).otherwise(pl.lit("N")),
    )  # fmt: skip


def _visit() -> pl.Expr:
    kind = pl.col("class").cast(pl.String).replace_strict(CLASS, return_dtype=pl.String)
    place, doctor, number = (pl.col(c).cast(pl.String) for c in ("organization_id", "practitioner_id", "encounter_id"))
    blank = [""] * 11
    return _segment(
        "PV1", "1", kind, _components("", "", "", place), "", "", "", _components(doctor), *blank, _components(number),
        *([""] * 24), pl.col("start_at").dt.strftime(STAMP), pl.col("end_at").dt.strftime(STAMP),
    )  # fmt: skip


def recognises(folder: Path) -> bool:
    """Whether the folder holds `hl7v2/*.hl7` or `*.hl7` files that begin with MSH."""
    return any(f.read_bytes()[:4] == b"MSH|" for f in _files(folder)[:1])


def _files(folder: Path) -> list[Path]:
    return sorted([*folder.glob("hl7v2/*.hl7"), *folder.glob("*.hl7")])


def check(folder: Path) -> Table:
    """Every fault: columns check, table (the file), row_key (the message, from 1), detail."""
    found: list[tuple[str, str, int, str]] = []
    seen: set[str] = set()
    for path in _files(folder):
        text = path.read_text("utf-8").replace("\n", END)
        if not text.startswith("MSH|"):
            found.append(("hl7.header", path.name, 1, "does not begin with MSH"))
            continue
        patients = set()
        for n, body in enumerate(text.split(f"{END}MSH|"), 1):
            lines = (body if n == 1 else f"MSH|{body}").strip(END).split(END)
            header = lines[0].split("|")
            kind = header[8].split("^")[0] if len(header) > 11 else ""
            if kind not in REQUIRED or header[1] != "^~\\&" or not header[11].startswith("2."):
                found.append(("hl7.header", path.name, n, f"not a header of a known message: {lines[0][:60]}"))
                continue
            names = [line[:3] for line in lines]
            found += [("hl7.segment", path.name, n, f"{kind} without {s}") for s in REQUIRED[kind] if s not in names]
            if header[9] in seen:
                found.append(("hl7.control", path.name, n, f"control id {header[9]} is used twice"))
            seen.add(header[9])
            patients |= {line.split("|")[3] for line in lines if line.startswith("PID|") and line.count("|") > 2}
        if len(patients) > 1:
            found.append(("hl7.patient", path.name, 1, f"{len(patients)} patients in one file"))
    return pl.DataFrame(found, schema=VIOLATION, orient="row")
