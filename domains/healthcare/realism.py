"""What published figures speak of, measured on the tables: each measure gives a value and its standard error, or None where there are too few rows."""

from __future__ import annotations

import math

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ...core.tables import Table, Tables

YEAR_US = 365.2425 * 86_400e6
FEWEST = 30
ELSEWHERE = "127785005"
"""Administration of a vaccine: not an office visit."""

Measured = tuple[float, float] | None


def prevalence(tables: Tables, code: str, low: int, high: int, sex: str | None = None) -> Measured:
    """Percent of the living of an age (in years, ends included) who have a condition that has not ended."""
    people = _living(tables, low, high, sex)
    ill = tables["condition"].filter((pl.col("code").cast(pl.String) == code) & pl.col("abatement_at").is_null())
    return _percent(people["patient_id"].is_in(ill["patient_id"].implode()).to_numpy())


def aged(tables: Tables, low: int, high: int) -> Measured:
    """Percent of those born before the record's first day who are of an age on it (low included, high not)."""
    start, _ = _span(tables)
    birth = _instants(tables["patient"], "birth_date")
    age = (start - birth[birth < start]) / YEAR_US
    return _percent((age >= low) & (age < high))


def female(tables: Tables) -> Measured:
    return _percent((tables["patient"]["sex"].cast(pl.String) == "female").to_numpy())


def visits(tables: Tables, kind: str, low: float, high: float) -> Measured:
    """Encounters of a class per person-year of an age; the error is that of a ratio over people."""
    start, end = _span(tables)
    birth = _instants(tables["patient"], "birth_date")
    death = np.nan_to_num(_instants(tables["patient"], "death_at"), nan=np.inf)
    until = np.minimum(np.minimum(birth + high * YEAR_US, death), end)
    years = np.clip(until - np.maximum(birth + low * YEAR_US, start), 0, None) / YEAR_US
    if (years > 0).sum() < FEWEST:
        return None
    people = tables["patient"].select("patient_id", born=pl.Series(birth))
    mine = (pl.col("class").cast(pl.String) == kind) & (pl.col("type").cast(pl.String) != ELSEWHERE)
    age = (pl.col("start_at").cast(pl.Int64) - pl.col("born")) / YEAR_US
    rows = tables["encounter"].filter(mine).join(people, on="patient_id").filter((age >= low) & (age < high))
    each = people.join(rows.group_by("patient_id").len(), on="patient_id", how="left")["len"].fill_null(0).to_numpy()
    rate = each.sum() / years.sum()
    return float(rate), float(np.sqrt(((each - rate * years) ** 2).sum()) / years.sum())


def mean(tables: Tables, code: str, low: int, high: int) -> Measured:
    """Mean over people of an age of each one's mean of an observation."""
    values = _per_person(tables, [code], low, high)[code].drop_nulls().to_numpy()
    return None if len(values) < FEWEST else (float(values.mean()), float(values.std() / math.sqrt(len(values))))


def correlation(tables: Tables, a: str, b: str, low: int, high: int) -> Measured:
    """Pearson's correlation of two observations of the same moment, one pair a person."""
    both = _per_person(tables, [a, b], low, high, together=True).drop_nulls([a, b])
    if both.height < FEWEST:
        return None
    r = float(np.corrcoef(both[a], both[b])[0, 1])
    return r, (1 - r * r) / math.sqrt(both.height)


def season_shots(tables: Tables, codes: list[str], age: int) -> Measured:
    """Percent of people who were `age` and over throughout the record that had one of some vaccines in a year."""
    start, end = _span(tables)
    years = (end - start) / YEAR_US
    birth = _instants(tables["patient"], "birth_date")
    old = tables["patient"].filter(pl.col("death_at").is_null() & pl.Series(birth <= start - age * YEAR_US))[
        "patient_id"
    ]
    if len(old) < FEWEST or years < 1:
        return None
    mine = pl.col("code").cast(pl.String).is_in(codes) & pl.col("patient_id").is_in(old.implode())
    each = tables["immunization"].filter(mine).group_by("patient_id").len()["len"].to_numpy() / round(years)
    each = np.concatenate([each, np.zeros(len(old) - len(each))])
    return float(100 * each.mean()), float(100 * each.std() / math.sqrt(len(each)))


MEASURES = {m.__name__: m for m in (prevalence, aged, female, visits, mean, correlation, season_shots)}


def _living(tables: Tables, low: int, high: int, sex: str | None) -> Table:
    people = tables["patient"].filter(pl.col("death_at").is_null() & pl.col("age_years").is_between(low, high))
    return people.filter(pl.col("sex").cast(pl.String) == sex) if sex else people


def _percent(is_so: NDArray[np.bool_]) -> Measured:
    if len(is_so) < FEWEST:
        return None
    share = float(is_so.mean())
    # nobody among few is no proof of nobody: one more and one less than was seen
    safe = (is_so.sum() + 1) / (len(is_so) + 2)
    return 100 * share, 100 * math.sqrt(safe * (1 - safe) / len(is_so))


def _span(tables: Tables) -> tuple[float, float]:
    """The record's first and last moment: those of its encounters."""
    at = tables["encounter"]["start_at"].cast(pl.Int64)
    return float(at.min() or 0), float(at.max() or 0)  # type: ignore[arg-type]


def _instants(table: Table, column: str) -> NDArray[np.float64]:
    """Microseconds since 1970; not a number where missing."""
    return table[column].cast(pl.Datetime("us")).cast(pl.Int64).cast(pl.Float64).fill_null(np.nan).to_numpy()


def _per_person(tables: Tables, codes: list[str], low: int, high: int, together: bool = False) -> Table:
    """One row per person of that age: the mean of each code, or with `together` the values of one moment."""
    born = tables["patient"].select("patient_id", born=pl.col("birth_date").cast(pl.Datetime("us", "UTC")))
    rows = tables["observation"].filter(pl.col("code").cast(pl.String).is_in(codes)).join(born, on="patient_id")
    age = (pl.col("at") - pl.col("born")).dt.total_days() / 365.2425
    rows = rows.filter(age.is_between(low, high)).with_columns(pl.col("code").cast(pl.String))
    index = ["patient_id", "encounter_id", "at"] if together else ["patient_id"]
    wide = rows.pivot("code", on_columns=codes, index=index, values="value", aggregate_function="mean")
    return wide.drop_nulls(codes).group_by("patient_id", maintain_order=True).first() if together else wide
