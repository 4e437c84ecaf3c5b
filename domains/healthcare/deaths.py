"""Of what people die, and what the record has of it. Who dies when is the life table's affair, or a module's.

Shares of causes by age and sex are published. Where an illness is in the record already, who has it dies of it so much the more often that the shares are met
(`_drawn`); who dies of an illness that the record does not have comes down with it before (`_fatal`). So shares hold, and no death contradicts its record."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ...core.domain import Block
from ...core.priors import Priors
from ...core.schema import Schema
from ...core.stream import Stream
from ...core.tables import ROW, Table, Tables
from .conditions import AGES, AMBULATORY, CLASSES, COLUMNS, chronic_codes, duration, prevalence, spells, youngest
from .curves import DAY, MINUTE, YEAR, midnight, office_time

CAUSE = "69453-9"
"""LOINC: cause of death [US Standard Certificate of Death]."""
UNKNOWN = "R99"
"""ICD-10: other ill-defined and unspecified causes of mortality."""
OTHER = "other"
CAUSES = "cause of death"
"""The table that tells the causes to the steps after this one; no dataset has it."""
SHORT = 12 * 60 * MINUTE
"""A last stay that is shorter is one in the emergency room."""
Bools = NDArray[np.bool_]


@dataclass(frozen=True)
class Causes:
    """The step, as a value. With modules, only deaths within the window have causes, for of what comes later their record cannot tell."""

    schema: Schema
    modules: bool = False
    covered: frozenset[str] = frozenset()
    """The population's conditions that modules begin instead of it."""

    def __call__(self, block: Block, tables: Tables) -> Tables:
        """`cause of death`: of each patient, ICD-10 or as a module names it; and `condition` with the illnesses that are fatal."""
        patient = tables["patient"]
        at = patient["death_at"].cast(pl.Int64).fill_null(patient["dies"]).to_numpy()
        told = self._told(tables, patient.height)
        dying = told.is_null().to_numpy()
        if self.modules:
            dying = dying & patient["death_at"].is_not_null().to_numpy()
        who = np.flatnonzero(dying)
        people = People(block, patient, who, at[who], self._shown(tables, patient.height))
        form = _formed(people, _drawn(people, self.modules, self.covered), self.covered)
        forms = list(people.forms)
        drawn = pl.Series([*forms, None], dtype=pl.String).gather(np.where(form < 0, len(forms), form))
        cause = told.scatter(who, drawn.fill_null(UNKNOWN)) if len(who) else told
        ill = _fatal(people, form, self.covered)
        found = tables["condition"]
        ill = ill.select(pl.col(c).cast(t) for c, t in found.schema.items())
        return {CAUSES: patient.select(ROW, "patient_id", cause=cause), "condition": pl.concat([found, ill])}

    def _told(self, tables: Tables, patients: int) -> pl.Series:
        """Of what modules have let people die, where they name it: by the code of ICD-10 where there is one."""
        nothing = pl.repeat(None, patients, dtype=pl.String, eager=True)
        named = tables.get("module death")
        if named is None:
            return nothing
        died = tables["patient"]["death_at"].is_not_null().to_numpy()
        named = named.filter(pl.col("code").is_not_null())
        named = named.filter(pl.Series(died[named["patient"].to_numpy()], dtype=pl.Boolean))
        own = {snomed: code for code, snomed in [*self.schema.code_lists["finding_snomed"].codes.items()][::-1]}
        return nothing.scatter(named["patient"], named["code"].replace(own)) if named.height else nothing

    def _shown(self, tables: Tables, patients: int) -> dict[str, Bools]:
        """Who dies with each condition of the modules' record, by its code: of what was over before nobody does."""
        if not self.modules:
            return {}
        made, found = {}, tables["module condition"]
        death = tables["patient"]["death_at"].cast(pl.Int64).fill_null(2**62).to_numpy()[found["patient"].to_numpy()]
        lasts = found.filter(pl.Series(found["stop"].fill_null(2**62).to_numpy() >= death, dtype=pl.Boolean))
        for (code,), rows in lasts.select("code", "patient").group_by("code"):
            has = np.zeros(patients, bool)
            has[rows["patient"].to_numpy()] = True
            made[str(code)] = has
        snomed = self.schema.code_lists["condition_snomed"].codes
        return made | {code: made[s] for code, s in snomed.items() if s in made}


class People:
    """Those who die: when, and what of it the record knows. `shown`: who of the block has what by modules."""

    def __init__(self, block: Block, patient: Table, who: NDArray, at: NDArray, shown: Mapping[str, Bools]) -> None:
        self.block, self.patient, self.who, self.at, self.shown = block, patient, who, at, shown
        self.rows = patient[ROW].to_numpy()[who]
        self.birth = patient["birth"].to_numpy()[who]
        self.male = (patient["sex"] == "male").to_numpy()[who]
        self.age = (at - self.birth) / YEAR
        self.band = np.searchsorted(block.priors("death.age"), self.age, side="right") - 1
        self.groups: dict[str, dict[str, Any]] = block.priors("death.form")
        self.forms: dict[str, Any] = {c: f for forms in self.groups.values() for c, f in forms.items()}
        self.chronic = frozenset(chronic_codes(block.priors))
        self._has: dict[str, Bools] = {}

    def stream(self, *path: str) -> Stream:
        return self.block.stream.child("death cause", *path)

    def by_sex(self, values: Mapping[str, list[float]]) -> NDArray[np.float64]:
        """A number for each, by sex and band of age."""
        return np.where(self.male, np.array(values["male"])[self.band], np.array(values["female"])[self.band])

    def within(self, form: Mapping[str, Any]) -> Bools:
        low, high = form["ages"]
        return (self.age >= low) & (self.age < high)

    def sudden(self, form: Mapping[str, Any]) -> bool:
        return form["days"][0] < self.block.priors("death.sudden")

    def has(self, code: str, covered: frozenset[str]) -> Bools:
        """Whether the record has a form's disease at death. Of what is sudden earlier bouts are none."""
        if code not in self._has:
            self._has[code] = self._looked_up(code, covered)
        return self._has[code]

    def _looked_up(self, code: str, covered: frozenset[str]) -> Bools:
        form, found = self.forms[code], np.zeros(len(self.who), bool)
        record = form["record"]
        if not record or self.sudden(form):
            return found
        for known in (record, *self.block.priors("death.known").get(code, ())):
            if known in self.shown:
                found |= self.shown[known][self.who]
        if record in self.chronic and record not in covered:
            at = np.full(self.patient.height, -1)
            at[self.who] = self.at
            who, _, onset, abates = spells(self.block, self.patient, record)
            ill = np.zeros(len(at), bool)
            ill[who[(onset <= at[who]) & (at[who] < abates)]] = True
            found |= ill[self.who]
        return found


def _drawn(people: People, modules: bool, covered: frozenset[str]) -> NDArray[np.int64]:
    """The group of each death's cause: its place in `death.form`.

    Where a share `s` of deaths is of a group's diseases, and a share `p` of the dying has one of them, who has one dies of it with the chance s / p, at most
    `death.chance`; what is missing to the share falls on those who have none. One group after another, each of those that the ones before have left."""
    priors, names = people.block.priors, list(people.groups)
    shares = {g: people.by_sex(s) for g, s in priors("death.share").items()}
    shares[OTHER] = np.maximum(1 - sum(shares.values()), 0.01)
    group = np.full(len(people.who), -1)
    left = sum(shares.values())
    for name in names:
        has = np.any([people.has(c, covered) & people.within(f) for c, f in people.groups[name].items()], axis=0)
        known = _known(people, name, modules, covered)
        if known is None:
            continue
        share = shares.pop(name)
        wanted, most = share / left, priors("death.chance")
        ill = np.minimum(np.divide(wanted, known, out=np.full(len(wanted), most), where=known > 0), most)
        well = np.clip((wanted - known * ill) / (1 - known), 0, 1)
        dies = people.stream(name).uniform(people.rows) < np.where(has, ill, well)
        group[dies & (group < 0)] = names.index(name)
        left = left - share
    rest = list(shares)
    edges = np.cumsum([shares[g] for g in rest], axis=0)
    at = (people.stream("group").uniform(people.rows) * edges[-1] > edges[:-1]).sum(axis=0)
    return np.where(group < 0, np.array([names.index(g) for g in rest])[at], group)


def _known(people: People, name: str, modules: bool, covered: frozenset[str]) -> NDArray[np.float64] | None:
    """The share of people of the same age and sex whose record has a disease of a group; None where it can have none."""
    priors, found = people.block.priors, None
    if modules and name in priors("death.prevalent"):
        found = people.by_sex(priors("death.prevalent")[name])
    for form in people.groups[name].values():
        code = form["record"]
        if code in people.chronic and not people.sudden(form) and name not in priors("death.prevalent"):
            curves = [np.interp(people.age, AGES, prevalence(priors, code, sex)) for sex in ("female", "male")]
            share = np.where(people.within(form), np.where(people.male, curves[1], curves[0]), 0.0)
            found = share if found is None else np.maximum(found, share)
    return None if found is None else np.clip(found, 0, 0.999)


def _formed(people: People, group: NDArray[np.int64], covered: frozenset[str]) -> NDArray[np.int64]:
    """The form of each death's cause, of its group: one that the record has, if there is one. -1 where none is known at that age."""
    form = np.full(len(people.who), -1)
    place = {c: n for n, c in enumerate(people.forms)}
    for n, (name, forms) in enumerate(people.groups.items()):
        mine = np.flatnonzero(group == n)
        if not len(mine):
            continue
        weight = np.array(
            [
                np.where(people.male, f["weight"][1], f["weight"][0])[mine] * people.within(f)[mine]
                for f in forms.values()
            ]
        )
        has = np.array([people.has(c, covered)[mine] for c in forms])
        weight = np.where((has & (weight > 0)).any(axis=0), weight * has, weight)
        edges = np.cumsum(weight, axis=0)
        at = (people.stream("form", name).uniform(people.rows[mine]) * edges[-1] >= edges[:-1]).sum(axis=0)
        form[mine] = np.where(edges[-1] > 0, np.array([place[c] for c in forms])[at], -1)
    return form


def _fatal(people: People, form: NDArray[np.int64], covered: frozenset[str]) -> Table:
    """The conditions of which people die and that the record does not have yet, in the columns of `conditions.conditions`."""
    parts = [
        _onsets(people, code, np.flatnonzero((form == n) & ~people.has(code, covered)))
        for n, code in enumerate(people.forms)
        if people.forms[code]["record"]
    ]
    made = {name: np.concatenate([p[name] for p in parts]) for name in parts[0]}
    seen = pl.Series(made.pop("seen"))
    classes = pl.Series("care_class", CLASSES)[made.pop("care_class")]
    codes = pl.Series("code", [people.forms[c]["record"] for c in people.forms])[made.pop("form")]
    found = pl.DataFrame(made).with_columns(codes, classes, abatement_at=pl.lit(None, pl.Int64))
    care = pl.when(seen).then(pl.col("encounter_row", "care_class", "care_start", "care_end"))
    return found.with_columns(care).select(COLUMNS)


def _onsets(people: People, code: str, who: NDArray[np.int64]) -> dict[str, NDArray]:
    """One form's, of those at some places: long illness is found at a visit, of sudden illness some die in hospital and the others elsewhere."""
    priors, form = people.block.priors, people.forms[code]
    stream, rows = people.stream("illness", code), people.rows[who]
    median, sigma = form["days"]
    days = median * np.exp(sigma * stream.child("days").normal(rows))
    first, last = (people.patient[c].to_numpy()[people.who[who]] for c in ("first_seen", "last_seen"))
    birth, at = people.birth[who], people.at[who]
    least = youngest(priors, form["record"]) + 1 if form["record"] in people.chronic else 0.0
    began = np.maximum(at - days * DAY, birth + least * YEAR).astype(np.int64) // MINUTE * MINUTE
    onset = np.maximum(midnight(began), midnight(birth))
    if people.sudden(form):
        inside = stream.child("hospital").uniform(rows) < priors("death.hospital")
        stay = duration(priors, CLASSES.index("IMP"), stream.child("stay"), rows)
        start, end = np.maximum(began, last - stay), last
        seen = inside & (at == last) & (onset >= first) & (end - start >= 5 * MINUTE)
        care = np.where(end - start < SHORT, CLASSES.index("EMER"), CLASSES.index("IMP"))
        kept = at == last
    else:
        start = office_time(onset, priors, stream.child("care time"), rows)
        end = start + duration(priors, AMBULATORY, stream.child("duration"), rows)
        seen, care = (onset >= first) & (end <= last), np.full(len(who), AMBULATORY)
        kept = onset < last
    row = stream.child("row").bits(rows)
    made = {
        ROW: row, "patient_id": people.patient["patient_id"].to_numpy()[people.who[who]], "onset_at": onset,
        "encounter_row": stream.child("encounter").bits(row), "care_class": care, "care_start": start, "care_end": end,
        "seen": seen, "form": np.full(len(who), list(people.forms).index(code)),
    }  # fmt: skip
    return {name: values[kept] for name, values in made.items()}


def certificates(block: Block, tables: Tables) -> Table:
    """One observation for each death: its cause."""
    dead = tables[CAUSES].with_columns(tables["patient"]["death_at"]).filter(pl.col("death_at").is_not_null())
    return dead.select(
        pl.Series(ROW, block.stream.child("death cause", "row").bits(dead[ROW].to_numpy())),
        "patient_id",
        encounter_row=pl.lit(None, pl.UInt64),
        code=pl.lit(CAUSE),
        at=pl.col("death_at").cast(pl.Int64),
        value=pl.lit(None, pl.Float64),
        value_code=pl.col("cause"),
    )


def cause_of(priors: Priors, condition: str) -> str:
    """The cause of a death (ICD-10) of which a scenario says by what condition (ICD-10-CM) it came."""
    forms = {f["record"]: c for fs in [*priors("death.form").values()][::-1] for c, f in [*fs.items()][::-1]}
    return {**forms, **priors("death.of")}.get(condition, UNKNOWN)
