"""What modules record, joined with what the population's own courses have made: one record per patient, no two encounters at once."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ....core.derive import rank
from ....core.domain import Block
from ....core.places import places
from ....core.schema import Schema
from ....core.stream import join_rows
from ....core.tables import ROW, Table, Tables, filled, gapped, is_there, only, picked, plain, put
from ..curves import MINUTE
from ..encounters import SYMPTOM, place
from ..physiology import BMI, CHOLESTEROL, CREATININE, EGFR, HEIGHT, LDL, WEIGHT
from .widen import UNITS

CLASS = {
    "wellness": "AMB", "ambulatory": "AMB", "outpatient": "AMB", "urgentcare": "AMB", "emergency": "EMER",
    "inpatient": "IMP", "snf": "IMP", "home": "HH", "hospice": "HH", "virtual": "VR",
}  # fmt: skip
SOLID = re.compile(
    r"(?:(?:12|24) HR |NDA\d+ )?[^/]*? (\d+(?:\.\d+)?) MG (?:[A-Z]\w+ )*(?:Oral )?(?:Tablet|Capsule)(?: \[.*\])?", re.I
)
"""RxNorm's name of a tablet or capsule of one drug, and what it holds: modules count doses in these."""
DERIVED = {BMI: (WEIGHT, HEIGHT), EGFR: (CREATININE,), CHOLESTEROL: (LDL,)}
"""Observations that are computed where those are there from which they follow (`derived.measures`)."""
PLAIN = {
    "procedure": ("procedure", ("stop",)),
    "diagnostic_report": ("report", ()),
    "imaging_study": ("imaging", ("modality", "body_site", "series", "instances")),
    "medication_administration": ("administration", ()),
    "supply": ("supply", ("quantity",)),
    "immunization": ("vaccine", ()),
}
"""Tables of moments: the module record's name for them, and what they take from it beside code and time."""
LASTING = {
    "allergy": ("allergy", {"kind": "type", "category": "category"}),
    "care_plan": ("careplan", {}),
    "device": ("device", {"manufacturer": "manufacturer", "model": "model"}),
}
"""Tables of what lasts."""


@dataclass(frozen=True)
class Join:
    """The step, as a value."""

    schema: Schema

    def __call__(self, block: Block, tables: Tables) -> Tables:
        return _Joining(block, tables, self.schema).made()


class _Joining:
    """One block's. Frames of the module record stand with the address of each row and of the encounter it lies in."""

    def __init__(self, block: Block, tables: Tables, schema: Schema) -> None:
        self.block, self.tables, self.schema = block, tables, schema
        self.patient = tables["patient"]
        self.first, self.last = (self.patient[c].to_numpy() for c in ("first_seen", "last_seen"))
        self.stream = block.stream.child("module")

    def made(self) -> Tables:
        visits, self.visit_rows = self._encounters()
        every = pl.concat([self.tables["encounter"], visits], how="diagonal")
        encounters = apart(every, self.patient)
        self.placed = encounters.select("encounter_row", "start_at", "end_at", "delay")
        out: dict[str, Table] = {"encounter": encounters.rename({"encounter_row": ROW}).drop("delay")}
        self.conditions = self._rows("condition")
        self.reports = self._rows("report")
        out["condition"] = self._conditions()
        out["medication_request"] = self._medications()
        for name, (source, extra) in PLAIN.items():
            if name in self.schema.tables:
                out[name] = self._moments(name, source, extra)
        for name, (source, columns) in LASTING.items():
            if name in self.schema.tables:
                out[name] = self._lasting(name, source, columns)
        out["immunization"] = _and(self._moved("immunization"), out["immunization"])
        out["observation"] = self._observations(out)
        for name in ("sampled_data", "attachment"):
            if name in self.schema.tables:
                out[name] = self._of_observations(name, out["observation"])
        if "care_plan" in out:
            out["care_activity"] = self._parts("care_activity", "care_activity", "plan", "careplan", out["care_plan"])
            goals = self._parts("goal", "goal", "plan", "careplan", out["care_plan"], "measure", "comparator", "target")
            out["goal"] = goals.rename({"code": "text"})
        if "allergy_reaction" in self.schema.tables:
            out["allergy_reaction"] = self._parts(
                "allergy_reaction", "reaction", "allergy", "allergy", out["allergy"], "severity"
            )
        return out

    # --- addresses and places

    def _rows(self, source: str) -> NDArray[np.uint64]:
        """The address of each row of a frame of the module record: its patient's, and the how-manieth it is of theirs."""
        p = self.tables[f"module {source}"]["patient"].to_numpy()
        order = np.argsort(p, kind="stable")
        k = np.empty(len(p), np.int64)
        k[order] = rank(p[order])
        return self.stream.child(source).bits(join_rows(self.patient[ROW].to_numpy()[p], k))

    def _encounters(self) -> tuple[Table, pl.Series]:
        """Those of the modules, in the shape of `encounter`, and every module encounter's address: of a check-up the population's."""
        found = self.tables["module encounter"]
        p, wellness = found["patient"].to_numpy(), (found["class"] == "wellness").to_numpy()
        rows = np.where(wellness, found["visit"].to_numpy(), self._rows("encounter"))
        start, stop = _minutes(found["start"]), _minutes(found["stop"])
        kept = ~wellness & (start >= self.first[p]) & (start < self.last[p])
        frame = pl.DataFrame(
            {
                ROW: rows,
                "patient_id": self.patient["patient_id"].to_numpy()[p],
                "class": found["class"].replace_strict(CLASS, return_dtype=pl.String),
                "type": found["code"].fill_null(SYMPTOM),
                "start_at": start,
                "end_at": np.minimum(stop, self.last[p]),
                "reason": self._among("encounter", "reason", found["reason_code"]),
                "own": self._among("encounter", "disposition", found["disposition_code"]),
            }
        ).filter(pl.Series(kept, dtype=pl.Boolean))
        placed = place(self.block, self.patient, frame)
        placed = placed.with_columns(disposition=pl.coalesce("own", "disposition")).drop("own")
        return placed, pl.Series("encounter_row", rows)

    def _among(self, table: str, column: str, codes: pl.Series) -> pl.Series:
        known = self.schema[table].columns[column].codes
        if column == "reason":  # a diagnosis that the population has without a module goes by its own code
            own = {snomed: code for code, snomed in self.schema.code_lists["condition_snomed"].codes.items()}
            codes = codes.replace({s: c for s, c in own.items() if s not in known})
        return codes.set(~codes.is_in(list(known)).fill_null(False), None)

    def _start(self, name: str, source: str, at: str, stop: str | None = None) -> tuple[Table, Table]:
        """The frame of a source with its rows' addresses and encounters, and the rows that the record covers, their times as they are there."""
        found = self.tables[f"module {source}"]
        p = found["patient"].to_numpy()
        begin = _minutes(found[at])
        end = begin if stop is None else _minutes(found[stop].fill_null(2**62))
        kept = (begin < self.last[p]) & ((begin >= self.first[p]) | (end > self.first[p]))
        encounter = found["encounter"]
        frame = pl.DataFrame(
            {
                ROW: self._rows(source),
                "patient_id": self.patient["patient_id"].to_numpy()[p],
                "last": self.last[p],
                "encounter_row": self.visit_rows.gather(encounter.fill_null(0)).set(encounter.is_null(), None)
                if len(self.visit_rows)
                else pl.repeat(None, len(p), dtype=pl.UInt64, eager=True),
                "at": begin,
                "code": found["code"],
            }
        )
        if "reason" in found.columns:
            frame = frame.with_columns(condition_row=self._reason(found["reason"]))
        if stop is not None:
            frame = frame.with_columns(pl.Series("end_at", end).set(pl.Series(end >= self.last[p]), None))
        kept = pl.Series(kept, dtype=pl.Boolean)
        return found.filter(kept), self._inside(frame.filter(kept))

    def _reason(self, reason: pl.Series) -> pl.Series:
        """Addresses of conditions, of those that the record has."""
        rows = pl.Series(self.conditions)
        if not len(rows):
            return pl.repeat(None, len(reason), dtype=pl.UInt64, eager=True)
        kept = self._covered("condition")
        found = rows.set(~pl.Series(kept), None)
        return found.gather(reason.fill_null(0)).set(reason.is_null(), None)

    def _covered(self, source: str) -> NDArray[np.bool_]:
        found = self.tables[f"module {source}"]
        p = found["patient"].to_numpy()
        begin, end = _minutes(found["start"]), _minutes(found["stop"].fill_null(2**62))
        return (begin < self.last[p]) & ((begin >= self.first[p]) | (end > self.first[p]))

    def _inside(self, frame: Table) -> Table:
        """Rows in the time of their encounters, as these were put; no encounter where the record has none of that address."""
        known = is_there(frame["encounter_row"])
        place = np.full(frame.height, -1)
        place[known] = places(self.placed["encounter_row"], plain(frame["encounter_row"].drop_nulls()))
        inside = place >= 0
        if not len(place) or not inside.any():
            return put(frame, pl.Series("encounter_row", [None], dtype=pl.UInt64).new_from_index(0, frame.height))
        start, end, delay = (self.placed[c].to_numpy()[place] for c in ("start_at", "end_at", "delay"))
        at = frame["at"].to_numpy()
        moved = np.where(inside, np.minimum(np.maximum(at + delay, start), end), at)
        row = gapped(self.placed["encounter_row"].to_numpy()[place], inside)
        return put(frame, pl.Series("at", moved), row.alias("encounter_row"))

    # --- tables

    def _moved(self, name: str) -> Table:
        """The population's own rows, where their encounters were put; those go whose encounter had no place any more."""
        own = self.tables[name].with_columns(_alone=pl.col("encounter_row").is_null())
        return self._inside(own).filter(pl.col("encounter_row").is_not_null() | pl.col("_alone")).drop("_alone")

    def _conditions(self) -> Table:
        own = self.tables["condition"]
        there = self.placed.select("encounter_row", here=pl.lit(True))
        own = own.join(there, on="encounter_row", how="left", maintain_order="left")
        own = own.with_columns(encounter_row=pl.when("here").then("encounter_row")).drop("here")
        _, found = self._start("condition", "condition", "start", "stop")
        # when it was found moves with its encounter; when it began does not
        began = _minutes(self.tables["module condition"]["start"])[self._covered("condition")]
        found = found.with_columns(onset_at=pl.Series(began), abatement_at=pl.col("end_at")).drop(
            "at", "end_at", "last", "condition_row", strict=False
        )
        return _and(own, found)

    def _medications(self) -> Table:
        own = self._moved("medication_request")
        raw, found = self._start("medication_request", "medication", "start", "stop")
        days = raw["days"].round().cast(pl.Int64)
        found = found.with_columns(days=days.set(~days.is_between(1, 366).fill_null(False), None), module=pl.lit(True))
        codes = self.schema.code_lists["medication"].codes
        held = {c: float(m[1]) for c, display in codes.items() if (m := SOLID.fullmatch(display))}
        one = raw["code"].replace_strict(held, default=None, return_dtype=pl.Float64)
        often = raw["frequency"] / raw["period_days"]
        whole = (often >= 1) & (often <= 24) & (often == often.round())
        dose = (raw["dose"] * one).round(1)
        found = found.with_columns(
            dose=dose.set(~(dose >= 0.1).fill_null(False), None),
            per_day=often.set(~whole.fill_null(False), None).cast(pl.Int32),
        )
        return _and(own, _ordered(found).drop("last"))

    def _moments(self, name: str, source: str, extra: Sequence[str]) -> Table:
        raw, found = self._start(name, source, "at")
        if name == "diagnostic_report":
            kept = raw["kind"] == "DiagnosticReport"
            raw, found = raw.filter(kept), found.filter(kept)
        for column in extra:
            if column == "stop":
                # what was put off takes as long as it would have
                lasts = pl.Series(_minutes(raw["stop"]) - _minutes(raw["at"]))
                found = found.with_columns(end_at=pl.col("at") + lasts)
                found = found.with_columns(end_at=pl.max_horizontal(pl.min_horizontal("end_at", "last"), "at"))
            else:
                found = found.with_columns(raw[column])
        if name == "supply":
            found = found.filter(pl.col("quantity") > 0)
        if name != "diagnostic_report":
            # of a delivery nobody says at which encounter it was
            where = [] if name == "supply" else ["encounter_row"]
            found = found.unique(["patient_id", *where, "code", "at"], keep="first", maintain_order=True)
        return found.drop("last")

    def _lasting(self, name: str, source: str, columns: dict[str, str]) -> Table:
        raw, found = self._start(name, source, "start", "stop")
        found = found.with_columns(raw[there].alias(here) for here, there in columns.items())
        return _ordered(found).drop("last", *(["condition_row"] if name in ("allergy", "device") else []), strict=False)

    def _observations(self, out: dict[str, Table]) -> Table:
        """The population measures once a visit what both would; what follows from values of the same moment is left to be computed."""
        own = self._moved("observation")
        raw, found = self._start("observation", "observation", "at")
        unit = raw["unit"].replace(UNITS)
        usual = raw["code"].replace_strict(
            self.schema.code_lists["observation_unit"].codes, default=None, return_dtype=pl.String
        )
        number = raw["value"].is_not_null()
        found = found.with_columns(
            raw["value"].cast(pl.Float64).round(2), value_text=raw["text"], value_code=raw["value_code"],
            unit=unit.set(~number | (unit == usual).fill_null(False) | (unit == ""), None),
        )  # fmt: skip
        moment = ["patient_id", "encounter_row", "code", "at"]
        found = (
            found.unique(moment, keep="first", maintain_order=True)
            if "diagnostic_report" not in out
            else self._reported(raw, found, out)
        )
        found = only(found, ~measured_too(found, own))
        shared = ["patient_id", "encounter_row", "code", "at", "value"]
        for code, sources in DERIVED.items():
            there = pl.concat([own.select(shared), found.select(shared)], how="vertical_relaxed")
            there = there.filter(pl.col("code").is_in(sources) & pl.col("value").is_not_null())
            there = there.group_by("patient_id", "encounter_row", "at").agg(n=pl.col("code").n_unique())
            there = there.filter(pl.col("n") == len(sources)).with_columns(code=pl.lit(code))
            found = found.join(there, on=moment, how="anti", nulls_equal=True, maintain_order="left")
        return _and(own, found.drop("last"))

    def _reported(self, raw: Table, found: Table, out: dict[str, Table]) -> Table:
        report = raw["report"]
        rows = (
            pl.Series(self.reports).gather(report.fill_null(0)).set(report.is_null(), None)
            if len(self.reports)
            else pl.repeat(None, raw.height, dtype=pl.UInt64, eager=True)
        )
        found = found.with_columns(diagnostic_report_row=rows)
        known = out["diagnostic_report"].select(diagnostic_report_row=ROW, here=pl.lit(True))
        found = found.join(known, on="diagnostic_report_row", how="left", maintain_order="left")
        found = found.with_columns(diagnostic_report_row=pl.when("here").then("diagnostic_report_row")).drop("here")
        # of two of one moment the one that a report holds
        order = pl.col("diagnostic_report_row").is_null()
        found = (
            found.with_row_index("_n")
            .sort(order, "_n")
            .unique(["patient_id", "encounter_row", "code", "at"], keep="first", maintain_order=True)
        )
        return found.sort("_n").drop("_n")

    def _of_observations(self, name: str, observations: Table) -> Table:
        """What is told of those observations that are in the record."""
        raw = self.tables[f"module {name}"]
        owner = pl.Series(self._rows("observation")).gather(raw["observation"].cast(pl.UInt32))
        frame = raw.drop("observation").with_columns(observation_row=owner)
        known = observations.select("patient_id", "at", observation_row=ROW)
        frame = frame.join(known, on="observation_row", how="inner", maintain_order="left")
        return frame.with_columns(pl.Series(ROW, self.stream.child(name).bits(frame["observation_row"].to_numpy())))

    def _parts(self, name: str, source: str, link: str, of: str, whole: Table, *extra: str) -> Table:
        """The rows that belong to rows of another table: activities of plans, reactions to allergies."""
        raw = self.tables[f"module {source}"]
        key = f"{'care_plan' if of == 'careplan' else of}_row"
        owner = (
            pl.Series(self._rows(of)).gather(raw[link].cast(pl.UInt32))
            if raw.height
            else pl.Series([], dtype=pl.UInt64)
        )
        frame = raw.select("code", *extra).with_columns(owner.alias(key))
        frame = frame.unique([key, "code"], keep="first", maintain_order=True)
        frame = frame.join(
            whole.select(pl.col(ROW).alias(key), "patient_id", "at"), on=key, how="inner", maintain_order="left"
        )
        place = rank_in_order(frame[key].to_numpy())
        return frame.with_columns(pl.Series(ROW, self.stream.child(name).bits(join_rows(frame[key].to_numpy(), place))))


def measured_too(found: Table, there: Table) -> NDArray[np.bool_]:
    """Which rows have the encounter and the code of a row of another table."""
    encounters = found["encounter_row"].drop_nulls().unique()
    codes = pl.Enum(found["code"].unique().drop_nulls())

    def pairs(table: Table) -> tuple[NDArray, NDArray]:
        """Rows of these encounters and codes, and a number for what each has of both."""
        at = np.flatnonzero(is_there(table["encounter_row"]))
        place = places(encounters, plain(table["encounter_row"].drop_nulls()))
        at, place = at[place >= 0], place[place >= 0]
        code = filled(picked(table["code"], at).cast(codes, strict=False), len(codes.categories))
        known = code < len(codes.categories)
        return at[known], (place * (len(codes.categories) + 1) + code)[known]

    made = np.zeros(found.height, bool)
    mine, theirs = pairs(found), pairs(there)
    made[mine[0]] = places(pl.Series(theirs[1]).unique(), mine[1]) >= 0
    return made


def rank_in_order(groups: NDArray) -> NDArray[np.int64]:
    """How many rows of the same group stand before each."""
    order = np.argsort(groups, kind="stable")
    k = np.empty(len(groups), np.int64)
    k[order] = rank(groups[order])
    return k


def _minutes(time: pl.Series) -> NDArray[np.int64]:
    return time.to_numpy() // MINUTE * MINUTE


def _ordered(frame: Table) -> Table:
    """An end that comes before the begin, since the encounter was put off, comes at the begin."""
    return frame.with_columns(end_at=pl.max_horizontal("end_at", pl.when(pl.col("end_at").is_not_null()).then("at")))


def _and(own: Table, more: Table) -> Table:
    """The rows of both, the first's columns before those that only the second has."""
    more = more.with_columns(pl.col(c).cast(t) for c, t in own.schema.items() if c in more.columns)
    return pl.concat([own, more], how="diagonal")


def apart(encounters: Table, patient: Table) -> Table:
    """Encounters of each patient one after another: one that would begin before an earlier one has ended begins when that ends, and
    `delay` (microseconds) later than meant. Those that would then not end within the record are cut short, or left out where they would
    not begin in it."""
    who = encounters["patient_id"].to_numpy() - int(patient["patient_id"][0])
    start, end = encounters["start_at"].to_numpy(), encounters["end_at"].to_numpy()
    # who is seen and then admitted, both at one moment, is seen first
    order = np.lexsort((encounters[ROW].to_numpy(), end, start, who))
    who, start, length = who[order], start[order], (end - start)[order]
    total = pl.Series(length).cum_sum().to_numpy() - length
    # the begin is the latest of: its own, and each earlier one's with the lengths between
    slack = pl.DataFrame({"who": who, "begin": start - total}).select(pl.col("begin").cum_max().over("who")).to_series()
    begin = slack.to_numpy() + total
    last = patient["last_seen"].to_numpy()[who]
    made = encounters[order].rename({ROW: "encounter_row"}).with_columns(
        start_at=pl.Series(begin), end_at=pl.Series(np.minimum(begin + length, last)), delay=pl.Series(begin - start)
    )  # fmt: skip
    return made.filter(pl.Series((begin < last) | (begin == start), dtype=pl.Boolean))
