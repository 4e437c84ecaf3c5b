"""A population with our own modules against published figures: what the population has, what modules begin, mortality, and how measurements hang
together."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest
from published import CONDITION, SEX, causes_off, correlation_errors, living, measure, published, visits

import populace
from populace.core.dataset import Dataset
from populace.domains.healthcare import DOMAIN

PREVALENT = [
    # SNOMED CT code, sex, least age, age that is too old, percent, and where it was read
    ("367498001", None, 18, 125, 25.7, "NCHS Data Brief 460"),
    ("367498001", None, 0, 18, 18.9, "NCHS Data Brief 459"),
    ("24079001", "female", 18, 125, 8.9, "NCHS Data Brief 460"),
    ("24079001", "male", 18, 125, 5.7, "NCHS Data Brief 460"),
    ("24079001", None, 0, 18, 10.8, "NCHS Data Brief 459"),
    ("271737000", None, 20, 125, 9.9, "NCHS Data Brief 519: 9.3 % from 2 on, 4.7 % at 2 to 11"),
    ("64859006", "female", 50, 125, 19.6, "NCHS Data Brief 405"),
    ("64859006", "male", 50, 125, 4.4, "NCHS Data Brief 405"),
    ("26929004", None, 65, 125, 10.0, "Manly 2022"),
    ("37796009", "female", 18, 125, 17.5, "Victor 2010, of all ages"),
    ("37796009", "male", 18, 125, 8.6, "Victor 2010, of all ages"),
    ("399068003", "male", 60, 70, 5.01, "SEER 1975-2012"),
    ("399068003", "male", 70, 80, 11.9, "SEER 1975-2012"),
    ("88805009", None, 55, 65, 0.9, "Rotterdam Study"),
    ("88805009", None, 85, 125, 17.4, "Rotterdam Study"),
    ("84757009", None, 0, 125, 0.68, "Hauser 1996"),
]


def make(size: int) -> Dataset:
    return populace.generate("healthcare", size=size, seed=5, start="2020-01-01", end="2023-01-01", modules="own")


def prevalence(data: Dataset, code: str, sex: str | None, low: float, high: float) -> float:
    ill = data.frames["condition"].filter((pl.col("code").cast(pl.String) == code) & pl.col("abatement_at").is_null())
    have = ill["patient_id"]
    if code == "414285001":
        have = data.frames["allergy"]["patient_id"]
    return 100 * living(data, low, high, sex)["patient_id"].is_in(have.implode()).to_numpy().mean()


def off(data: Dataset, relative: float, points: float) -> list[str]:
    missed = []
    for code, sex, low, high, value, _ in PREVALENT:
        found = prevalence(data, code, sex, low, high)
        if abs(found - value) > max(relative * value, points):
            missed.append(f"{code} {sex} {low}-{high}: {found:.1f}, published {value}")
    return missed


@pytest.fixture(scope="module")
def many() -> Dataset:
    return make(20_000)


@pytest.mark.slow
def test_what_the_population_has_is_as_common_as_without_modules(many: Dataset, real_data: Path):
    missed = []
    for name, sex, low, high, value in published(real_data):
        if name in CONDITION:
            found, tolerance = measure(many, name, SEX[sex], low, high, value)
            if abs(found - value) > tolerance:
                missed.append(f"{name} {sex} {low:g}-{high:g}: {found:.3g}, published {value:g}")
    assert not missed, "\n".join(missed)


@pytest.mark.slow
def test_what_modules_begin_is_as_common_as_their_sources_say(many: Dataset):
    assert not off(many, 0.2, 1.0)


EMERGENCIES = [
    # least age, age that is too old, visits of a person and year, and where it was read
    (0, 125, 0.43, "NCHS Data Brief 478 (NHAMCS 2021)"),
    (0, 1, 1.03, "NCHS Data Brief 478 (NHAMCS 2021)"),
    (1, 18, 0.37, "NCHS Data Brief 401 (NHAMCS 2018)"),
    (18, 45, 0.41, "NCHS Data Brief 401 (NHAMCS 2018)"),
    (45, 75, 0.41, "MMWR 71(42), NHAMCS 2019"),
    (75, 125, 0.66, "NCHS Data Brief 478 (NHAMCS 2021)"),
]
STAYS = [
    # least age, age that is too old, stays of 10,000 people a year: HCUP Statistical Brief 165, table 3 (2011), and 180 for all (2012)
    (0, 125, 1162),
    (0, 1, 10_665),
    (1, 18, 201),
    (18, 45, 827),
    (45, 65, 1171),
    (65, 85, 2954),
    (85, 125, 5723),
]
REASONS = [
    # SNOMED CT or ICD-10-CM, stays of 10,000 people a year, and where it was read: the ten most frequent of 2017, less complications of childbirth
    (("Z38.00", "Z38.01"), 113.6, "HCUP Fast Stats 2017"),
    (("91302008",), 64.2, "HCUP Fast Stats 2017"),
    (("239873007",), 38.4, "HCUP Fast Stats 2017"),
    (("88805009",), 33.6, "HCUP Fast Stats 2017"),
    (("195951007",), 23.4, "HCUP Fast Stats 2017"),
    (("22298006",), 20.4, "HCUP Fast Stats 2017"),
    (("420422005", "80394007", "280137006"), 20.2, "HCUP Fast Stats 2017"),
    (("233604007",), 19.6, "HCUP Fast Stats 2017"),
    (("49436004",), 18.8, "HCUP Fast Stats 2017"),
]


@pytest.mark.slow
def test_emergency_departments_are_visited_as_often_as_published(many: Dataset):
    """Of each age within 20 %."""
    found = {(low, high): visits(many, "EMER", low, high) for low, high, *_ in EMERGENCIES}
    assert not [
        (k, f) for (*k, value, _), f in zip(EMERGENCIES, found.values(), strict=True) if abs(f - value) > 0.2 * value
    ]


@pytest.mark.slow
def test_people_are_in_hospital_as_often_as_published(many: Dataset):
    """Of each age within 20 % (and two standard errors of the few from 85 on)."""
    found = {(low, high): 1e4 * visits(many, "IMP", low, high) for low, high, _ in STAYS}
    slack = {85: 0.25}
    off = [
        (low, f)
        for (low, _, value), f in zip(STAYS, found.values(), strict=True)
        if abs(f - value) > slack.get(low, 0.2) * value
    ]
    assert not off


@pytest.mark.slow
def test_people_are_in_hospital_for_what_the_published_ten_are(many: Dataset):
    """Within 20 %, or two of 10,000 people and two standard errors."""
    stays = many.frames["encounter"].filter(pl.col("class").cast(pl.String) == "IMP")["reason"].cast(pl.String)
    people = stays.len() / visits(many, "IMP", 0, 125)
    off = []
    for codes, value, source in REASONS:
        n = int(stays.is_in(list(codes)).sum())
        if abs(1e4 * n / people - value) > max(0.2 * value, 2.0) + 2e4 * np.sqrt(n) / people:
            off.append(f"{codes[0]}: {1e4 * n / people:.1f}, published {value} ({source})")
    assert not off


@pytest.mark.slow
def test_as_many_die_as_the_life_table_says(many: Dataset):
    """Deaths of three years at 18 and over against those that the table expects of the same people: within 15 %."""
    table, window = DOMAIN.priors("population.death"), many.plan.window
    people = many.frames["patient"]
    male = (people["sex"] == "male").to_numpy()
    birth = people["birth_date"].to_physical().to_numpy() * 86_400e6
    death = people["death_at"].to_physical().fill_null(2**62).to_numpy().astype(float)
    year, expected = 365.2425 * 86_400e6, 0.0
    for begin in np.arange(window.start, window.end - year / 2, year):
        age = (begin - birth) / year
        here = (age >= 18) & (death > begin)
        for sex, who in (("male", here & male), ("female", here & ~male)):
            expected += np.exp(np.interp(age[who], table["age"], np.log(table[sex]))).sum()
    died = ((death < window.end) & (death - birth >= 18 * year)).sum()
    assert abs(died / expected - 1) < 0.15


@pytest.mark.slow
def test_measurements_hang_together_with_modules_too(many: Dataset, real_data: Path):
    errors = correlation_errors(many, real_data)
    assert np.mean(list(errors.values())) <= 0.05


@pytest.mark.slow
def test_as_many_die_of_each_cause_as_published():
    """The ten leading causes of either sex, within 15 % and two standard errors."""
    data = populace.generate("healthcare", size=60_000, seed=7, only=("patient", "observation"), modules="own")
    assert not causes_off(data, 0.15)
