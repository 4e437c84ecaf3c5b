"""What is ordered and given: prescriptions for conditions, vaccinations by schedule."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ...core.domain import Block
from ...core.samplers.rules import choose
from ...core.stream import join_rows
from ...core.tables import ROW, Table, Tables
from .curves import DAY, MINUTE, YEAR
from .encounters import MONTH, SHOT
from .families import pregnancies
from .observations import since, treated

INFLUENZA = "150"


def medication_requests(block: Block, tables: Tables) -> Tables:
    """One row per prescription, at the visit where a condition is found and at each follow-up: a patient keeps to one drug.
    Helper columns: `encounter_row`, `condition_row`."""
    visits = tables["encounter"].filter(pl.col("condition_row").is_not_null())
    parts = []
    for code, prior in block.priors("drug").items():
        drugs = {k: v for k, v in prior.items() if k not in ("treated", "days")}
        here = visits.filter(pl.col("reason") == code)
        patients = here["patient_id"].to_numpy().astype(np.uint64)
        drawn = choose(block.stream.child("medication_request", code, "drug").uniform(patients), list(drugs.values()))
        here = here.with_columns(pl.Series("code", list(drugs)).gather(drawn))
        here = here.filter(pl.Series(treated(block, patients, code), dtype=pl.Boolean))
        parts.append(here.with_columns(days=pl.lit(prior["days"], pl.Int64)))
    born = tables["patient"].select("patient_id", "birth")
    given = pl.concat(parts).join(born, on="patient_id", how="left", maintain_order="left")
    given = _fit_for(block, given, tables)
    rows = given[ROW].to_numpy()
    return {
        "medication_request": given.select(
            pl.Series(ROW, block.stream.child("medication_request").bits(rows)),
            "patient_id",
            pl.col(ROW).alias("encounter_row"),
            "condition_row",
            "code",
            _late_in_visit().alias("at"),
            "days",
            **_usual(block.priors("order.usual")),
        )
    }


def _fit_for(block: Block, given: Table, tables: Tables) -> Table:
    """Orders as they may be written for who gets them: another drug, or none, in the place of one that is not for their age, their diseases or a pregnancy."""
    at = given["start_at"].to_physical().to_numpy()
    age = (at - given["birth"].to_physical().to_numpy()) / YEAR
    who = given["patient_id"].to_numpy() - int(tables["patient"]["patient_id"][0])
    code = np.array(given["code"].to_list(), object)
    for drug, rules in block.priors("order.avoided").items():
        for rule in rules:
            here = np.flatnonzero(code == drug)
            unfit = age[here] < rule.get("below", 0)
            for illness in rule.get("with", ()):
                unfit |= since(tables["condition"], tables["patient"], illness)[who[here]] <= at[here]
            if rule.get("pregnant"):
                unfit |= _pregnant(block, tables["patient"], who[here], at[here])
            code[here[unfit]] = rule["instead"]
    return given.with_columns(pl.Series("code", code.tolist(), dtype=pl.String)).filter(pl.col("code") != "")


def _pregnant(block: Block, patient: Table, who: NDArray, at: NDArray) -> NDArray[np.bool_]:
    """Whether each is with child at a time, which is born a patient of the block."""
    mother, begin, born = pregnancies(block, patient)
    expected = pl.DataFrame({"who": mother, "begin": begin, "born": born})
    asked = pl.DataFrame({"who": who, "at": at}).with_row_index("row")
    found = asked.join(expected, on="who").filter((pl.col("begin") <= pl.col("at")) & (pl.col("at") < pl.col("born")))
    with_child = np.zeros(len(who), bool)
    with_child[found["row"].to_numpy()] = True
    return with_child


def _usual(doses: Mapping[str, Any]) -> dict[str, pl.Expr]:
    """Milligrams of each dose and doses a day of who is old enough for the usual ones; of what is no tablet or capsule, doses a day alone."""
    one, often, least = ({c: said[n] for c, said in doses.items()} for n in range(3))
    age = (pl.col("start_at").to_physical() - pl.col("birth").to_physical()) / YEAR
    old = age >= pl.col("code").replace_strict(least, default=0, return_dtype=pl.Float64)
    dose = pl.col("code").replace_strict(one, default=None, return_dtype=pl.Float64)
    return {
        "dose": pl.when(old & (dose > 0)).then(dose),
        "per_day": pl.when(old).then(pl.col("code").replace_strict(often, default=None, return_dtype=pl.Int32)),
    }


def immunizations(block: Block, tables: Tables) -> Tables:
    """One row per dose given. Helper column: `encounter_row`."""
    visits = tables["encounter"]
    columns = ("patient_id", pl.col(ROW).alias("encounter_row"), _late_in_visit().alias("at"))
    people = tables["patient"].select("patient_id", "birth", "first_seen", person=ROW)
    check_ups = visits.filter(pl.col("months").is_not_null()).join(people, on="patient_id", maintain_order="left")
    check_ups = check_ups.sort("start_at", ROW)
    taken, codes = [np.empty(0, np.int64)], list[str]()
    offered = _Offered(check_ups)
    for code, series in block.priors("vaccine.series").items():
        willing = block.stream.child("immunization", code).uniform(offered.person) < series["share"]
        for dose in offered.doses(willing, series):
            taken.append(dose)
            codes.append(code)
    shots = visits.filter(pl.col("type") == SHOT).select(*columns)
    doses = pl.concat([check_ups.select(columns)[np.concatenate(taken)], shots])
    each = np.repeat(np.arange(len(codes) + 1), [*map(len, taken[1:]), shots.height])
    code = pl.Series("code", [*codes, INFLUENZA])[each]
    address = join_rows(doses["encounter_row"].to_numpy(), code.cast(pl.UInt64).to_numpy())
    given = doses.with_columns(_products(block, code, doses["at"]), pl.Series(ROW, address))
    return {"immunization": given.drop_nulls("code")}


def _products(block: Block, series: pl.Series, at: pl.Series) -> pl.Series:
    """What was given for each series at that time; nothing where there was no such vaccine yet."""
    day, given = at.to_physical().to_numpy() // DAY, np.array(series.to_list(), object)
    for code, products in block.priors("vaccine.product").items():
        here = np.flatnonzero((series == code).to_numpy())
        first = np.array(list(products), "datetime64[D]").astype(np.int64)
        given[here] = np.array([None, *products.values()], object)[np.searchsorted(first, day[here], side="right")]
    return pl.Series("code", given.tolist(), dtype=pl.String)


class _Offered:
    """The visits, in order of time, at which doses could be given, as arrays: whose, when and at what age."""

    def __init__(self, visits: Table) -> None:
        _, first, self.who = np.unique(visits["patient_id"].to_numpy(), return_index=True, return_inverse=True)
        self.at = visits["start_at"].to_physical().to_numpy()
        birth = visits["birth"].to_physical().to_numpy()
        self.age = (self.at - birth) / MONTH
        self.birth, self.seen = birth[first], visits["first_seen"].to_physical().to_numpy()[first]
        self.person = visits["person"].to_numpy()[first]

    def doses(self, willing: NDArray[np.bool_], series: Mapping[str, Any]) -> Iterator[NDArray[np.int64]]:
        """The visits at which each dose of a series is given, dose by dose: late where earlier visits were missed."""
        gap, until = series.get("gap", 1) * MONTH, series.get("until", math.inf)
        takes, last = willing.copy(), np.full(len(willing), -(2**62))
        for months in series["months"]:
            due = takes & ((self.birth + months * MONTH).astype(np.int64) >= self.seen)
            ready = due[self.who] & (self.age >= months) & (self.age < until) & (self.at >= (last + gap)[self.who])
            there = np.flatnonzero(ready)
            given, first = np.unique(self.who[there], return_index=True)
            last[given] = self.at[there[first]]
            # who misses a dose that was due is not given the next before it
            takes &= ~due
            takes[given] = True
            yield np.sort(there[first])


def _late_in_visit() -> pl.Expr:
    """Four fifths of the way through a visit, at most an hour in: after the measurements."""
    length = pl.col("end_at") - pl.col("start_at")
    return pl.col("start_at") + pl.min_horizontal(length * 4 // 5, pl.lit(60 * MINUTE)) // MINUTE * MINUTE
