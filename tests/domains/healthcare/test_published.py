"""Twenty thousand patients against every published figure of the reference folder that is marked high, or measured on a survey."""

from __future__ import annotations

import csv
import math
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from published import (
    LAB,
    NOT_MADE,
    SEX,
    at_exams,
    causes_off,
    correlation_errors,
    living,
    measure,
    per_person,
    published,
    visits,
    with_age,
)

import populace
from populace.core.dataset import Dataset
from populace.domains.healthcare import DOMAIN
from populace.domains.healthcare.curves import age_at_death

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def many() -> Dataset:
    return populace.generate("healthcare", size=20_000, seed=5, start="2020-01-01", end="2023-01-01")


def test_every_published_figure_is_met(many: Dataset, real_data: Path):
    missed = []
    figures = published(real_data)
    for name, sex, low, high, value in figures:
        if name in NOT_MADE:
            continue
        found, tolerance = measure(many, name, SEX[sex], low, high, value)
        if not abs(found - value) <= tolerance:
            missed.append(f"{name} {sex} {low:g}-{high:g}: {found:.3g}, published {value:g}")
    assert not missed, "\n".join(missed)
    assert len(figures) > 90


def test_measurements_hang_together_as_in_the_survey(many: Dataset, real_data: Path):
    """Pearson correlations of NHANES 2017-March 2020 at 45-65, by sex: mean absolute error at most 0.05."""
    errors = correlation_errors(many, real_data)
    assert np.mean(list(errors.values())) <= 0.05
    assert not {pair: error for pair, error in errors.items() if error > 0.2}


def test_medians_are_those_of_the_survey(many: Dataset, real_data: Path):
    """Medians of NHANES 2017-March 2020 at 45-65, by sex, within 5 %."""
    rows, missed = at_exams(many), []
    with open(real_data / "healthcare" / "reference" / "nhanes_labs_45_65.csv", encoding="utf-8") as file:
        for figure in csv.DictReader(file):
            if figure["stratum"] != "all" or figure["analyte"] not in LAB:
                continue
            values = rows.filter((pl.col("sex") == SEX[figure["sex"]]) & (pl.col("code") == LAB[figure["analyte"]]))
            found, value = values["value"].median(), float(figure["p50"])
            # or one unit of what is reported: medians of whole numbers are whole numbers
            whole = 1.0 if value.is_integer() and value < 30 else 0.0
            if not math.isclose(found, value, rel_tol=0.05, abs_tol=whole):  # pyright: ignore[reportArgumentType]
                missed.append(f"{figure['sex']} {figure['analyte']}: {found}, published {value}")
    assert not missed, "\n".join(missed)


def test_as_many_die_of_each_cause_as_published():
    """The ten leading causes of either sex, within 10 % and two standard errors."""
    data = populace.generate("healthcare", size=60_000, seed=7, only=("patient", "observation"))
    assert data.frames["patient"]["death_at"].is_not_null().sum() > 5_000
    assert not causes_off(data, 0.10)


def test_chronic_diseases_begin_at_the_ages_that_are_known():
    """First onsets in lives of 70 years and more that are on record from birth: mood disorders begin at 18, 30 and 43 in the quartiles (Kessler 2005), COPD rarely
    before 40 (GOLD), kidney disease seldom in the young and half of it after 60 or so (Grams 2013: half of stage 3a and beyond after 70)."""
    data = populace.generate(
        "healthcare", size=12_000, seed=5, start="1925-01-01", end="2025-01-01", only=("patient", "condition")
    )
    lives = data.frames["patient"].filter((pl.col("birth_date").dt.year() >= 1925) & (pl.col("age_years") >= 70))
    found = data.frames["condition"].join(lives.select("patient_id", "birth_date"), on="patient_id")
    age = (pl.col("onset_at").dt.date() - pl.col("birth_date")).dt.total_days() / 365.2425
    first = found.group_by("patient_id", pl.col("code").cast(pl.String)).agg(age=age.min())
    ages = {code: first.filter(pl.col("code") == code)["age"].to_numpy() for code in ("F32.A", "J44.9", "N18.9")}
    assert min(len(a) for a in ages.values()) > 100
    quarter, half, three = np.percentile(ages["F32.A"], [25, 50, 75])
    assert 17 < quarter < 24
    assert 27 < half < 33
    assert 39 < three < 48
    assert ages["F32.A"].min() > 10.9
    assert (ages["F32.A"] < 18).mean() < 0.25
    assert (ages["J44.9"] < 40).mean() < 0.10
    assert ages["N18.9"].min() > 19.9
    assert 55 < np.median(ages["N18.9"]) < 75


PULSE, HDL, TOTAL, HEIGHT, BMI = "8867-4", "2085-9", "2093-3", "8302-2", "39156-5"
SCHEMAS = Path(__file__).parents[3] / "schemas" / "healthcare"
NHSR_41 = ("NHSR 41", "resting pulse rate, NHANES 1999-2008")
BRIEF_363 = ("Data Brief 363", "NCHS, NHANES 2015-2018")
BRIEF_508 = ("Data Brief 508", "NCHS, NHANES Aug 2021-Aug 2023; by sex standardized for age")
BRIEF_478 = ("Data Brief 478", "NCHS, NHAMCS 2021")
BRIEF_497 = ("Data Brief 497", "NCHS, NHIS 2022")
NHIS_2021 = ("Health Insurance Coverage: Early Release of Estimates", "NCHS, NHIS 2021")
FALLON = ("MMWR 72:1101", "Fallon 2023, NHIS 2019-2021, not standardized by age")
NAP = ("Dietary Reference Intakes", "table 1-1: reference heights from NHANES III, 1988-1994")
TABLE = ("Mortality in the United States 2015", "NCHS, as told by medicareissimple.blogspot.com")
# what is measured, sex, least age, age that is too old, value, source: a source is a phrase that priors would cite, and what it is
FURTHER = [
    # of sources that priors cite too, for these figures or for others: that they are met says that they are made as was meant
    ("mean", PULSE, None, 0, 1, 129, NHSR_41),
    ("mean", PULSE, None, 5, 6, 96, NHSR_41),
    ("mean", PULSE, None, 12, 16, 78, NHSR_41),
    ("mean", PULSE, None, 20, 120, 72, NHSR_41),
    ("mean", PULSE, "male", 20, 120, 71, NHSR_41),
    ("mean", PULSE, "female", 20, 120, 74, NHSR_41),
    ("has", "M19.90", None, 18, 35, 3.6, BRIEF_497),
    ("has", "M19.90", None, 75, 120, 53.9, BRIEF_497),
    ("insured", None, None, 0, 18, 4.1, NHIS_2021),
    ("insured", None, None, 18, 65, 13.5, NHIS_2021),
    ("insured", "private", None, 0, 18, 53.8, NHIS_2021),
    ("insured", "private", None, 18, 65, 66.6, NHIS_2021),
    ("insured", "medicaid", None, 0, 18, 44.3, NHIS_2021),
    ("insured", "medicaid", None, 18, 65, 21.7, NHIS_2021),
    ("visits", "EMER", None, 75, 125, 0.66, BRIEF_478),
    ("at least 40", BMI, None, 20, 125, 9.4, BRIEF_508),
    ("at least 40", BMI, "male", 20, 125, 6.7, BRIEF_508),
    ("at least 40", BMI, "female", 20, 125, 12.7, BRIEF_508),
]  # fmt: skip
UNKNOWN = [
    # of sources that neither the priors, nor the modules, nor the reference folder cite
    ("at least 240", TOTAL, None, 20, 40, 7.5, BRIEF_363),
    ("at least 240", TOTAL, None, 40, 60, 15.7, BRIEF_363),
    ("at least 240", TOTAL, None, 60, 120, 11.4, BRIEF_363),
    ("at least 240", TOTAL, "male", 20, 120, 10.5, BRIEF_363),
    ("at least 240", TOTAL, "female", 20, 120, 12.1, BRIEF_363),
    ("below 40", HDL, "male", 20, 120, 26.6, BRIEF_363),
    ("below 40", HDL, "female", 20, 120, 8.5, BRIEF_363),
    ("has", "M19.90", None, 18, 120, 21.2, FALLON),
    ("mean", HEIGHT, None, 4, 9, 118, NAP),
    ("mean", HEIGHT, "male", 9, 14, 147, NAP),
    ("mean", HEIGHT, "female", 9, 14, 148, NAP),
    ("mean", HEIGHT, "male", 14, 19, 174, NAP),
    ("mean", HEIGHT, "female", 14, 19, 163, NAP),
    ("mean", HEIGHT, "male", 19, 31, 176, NAP),
    ("mean", HEIGHT, "female", 19, 31, 163, NAP),
    ("years left", None, "male", 65, 125, 18.0, TABLE),
    ("years left", None, "female", 65, 125, 20.6, TABLE),
]  # fmt: skip


def further(data: Dataset, what: str, code: str | None, sex: str | None, low: float, high: float) -> float:
    if what == "has":
        assert code
        ill = data.frames["condition"].filter(
            (pl.col("code").cast(pl.String) == code) & pl.col("abatement_at").is_null()
        )
        return 100 * living(data, low, high, sex)["patient_id"].is_in(ill["patient_id"].implode()).to_numpy().mean()
    if what == "insured":
        now = data.frames["coverage"].filter(pl.col("end_at").is_null())
        have = now if code is None else now.filter(pl.col("kind").cast(pl.String) == code)
        share = 100 * living(data, low, high, sex)["patient_id"].is_in(have["patient_id"].implode()).to_numpy().mean()
        return 100 - share if code is None else share
    if what == "visits":
        return visits(data, code or "", low, high)
    if what == "years left":
        u = (np.arange(20_000) + 0.5) / 20_000
        ages = np.full(len(u), float(low))
        return float(
            (age_at_death(DOMAIN.priors("population.death"), ages, np.full(len(u), sex == "male"), u) - low).mean()
        )
    assert code
    if high <= 20:  # children are measured at their own check-ups, one as often as another
        rows = with_age(data, "observation", "at").filter(
            (pl.col("code").cast(pl.String) == code) & (pl.col("age") >= low) & (pl.col("age") < high)
        )
        well = data.frames["encounter"].filter(pl.col("type").cast(pl.String) == "410620009").select("encounter_id")
        rows = rows.join(well, on="encounter_id")
        values = (rows.filter(pl.col("sex").cast(pl.String) == sex) if sex else rows)["value"].drop_nulls().to_numpy()
    else:
        values = per_person(data, code, low, high, sex).to_numpy()
    assert len(values) > 100
    if what == "mean":
        return float(values.mean())
    beyond = {"at least 240": values >= 240, "at least 40": values >= 40, "below 40": values < 40}
    return float(100 * beyond[what].mean())


def missed(data: Dataset, figures: list[tuple]) -> list[str]:
    """Shares within 20 % or one point, visits within 20 %, means within 5 %, what is left of life within 15 %."""
    out = []
    for what, code, sex, low, high, value, source in figures:
        found = further(data, what, code, sex, low, high)
        within = {"mean": 0.05 * value, "visits": 0.2 * value, "years left": 0.15 * value}.get(
            what, max(0.2 * value, 1.0)
        )
        if not abs(found - value) <= within:
            out.append(f"{what} {code} {sex} {low}-{high}: {found:.3g}, published {value:g} ({': '.join(source)})")
    return out


def test_further_figures_of_sources_that_priors_cite_are_met(many: Dataset):
    off = missed(many, FURTHER)
    assert not off, "\n".join(off)


def test_figures_of_sources_that_no_prior_cites_are_met(many: Dataset, real_data: Path):
    cited = (SCHEMAS / "priors.toml").read_text(encoding="utf-8")
    assert not [source[0] for *_, source in FURTHER if source[0] not in cited]
    cited += "".join(f.read_text(encoding="utf-8") for f in SCHEMAS.glob("*/*") if f.suffix in (".toml", ".json"))
    cited += (real_data / "healthcare" / "reference.csv").read_text(encoding="utf-8")
    assert not [source[0] for *_, source in UNKNOWN if source[0] in cited]
    off = missed(many, UNKNOWN)
    assert not off, "\n".join(off)
