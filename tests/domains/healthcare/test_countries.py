"""Other countries' populations: structure, mortality, identifiers that their own rules accept, and records as valid as those at home."""

from __future__ import annotations

import json
from pathlib import Path

import fhirkit
import numpy as np
import polars as pl
import pytest
from published import living
from stdnum import luhn
from stdnum.fr import nir
from stdnum.gb import nhs

import populace
from populace.core.errors import UserError
from populace.core.priors import Priors
from populace.core.source import read_source
from populace.domains.healthcare import DOMAIN
from populace.domains.healthcare.countries import COUNTRIES, HOME, in_country
from populace.domains.healthcare.deaths import CAUSE

ABROAD = tuple(c for c in COUNTRIES if c != HOME)
LIFE = {"GB": (79.0, 82.9), "DE": (78.6, 83.3), "FR": (80.0, 85.7)}
"""Years to live at birth, men and women: ONS 2018 to 2020, Destatis 2021/2023, INSEE 2023."""
OLD = {"GB": 0.1819, "DE": 0.2299, "FR": 0.1982}
"""Share of people of 65 and over: CIA World Factbook, 2018, 2020 and 2018."""


def kvnr(number: str) -> bool:
    """Whether the check digit of a Krankenversichertennummer is right: Luhn's sum with the weights the other way round."""
    place = f"{ord(number[0]) - 64:02}"
    products = [int(d) * (1 + n % 2) for n, d in enumerate(place + number[1:9])]
    return sum(sum(map(int, str(p))) for p in products) % 10 == int(number[9])


def test_the_check_of_the_german_number_knows_the_published_example():
    assert kvnr("A123456780")
    assert not kvnr("A123456781")


@pytest.mark.parametrize("country", ABROAD)
def test_people_live_as_long_and_are_as_old_as_published(country: str):
    priors = in_country(DOMAIN, [country]).priors
    table = priors("population.death")
    for sex, years in zip(("male", "female"), LIFE[country], strict=True):
        q = np.exp(np.interp(np.arange(120), table["age"], np.log(table[sex])))
        alive = np.concatenate([[1.0], np.cumprod(1 - q)])
        assert alive.sum() - 0.5 == pytest.approx(years, abs=0.1)
    shares = priors("population.age")
    assert sum(sum(s) for s in shares.values()) == pytest.approx(1, abs=1e-3)
    assert sum(sum(s[13:]) for s in shares.values()) == pytest.approx(OLD[country], abs=2e-3)


ILL = [
    # Health Survey for England 2019 and 2021: diagnosed diabetes; 2018 and 2021: hypertension
    ("GB", "E11.9", "male", 16, 120, 0.09), ("GB", "E11.9", "female", 16, 120, 0.06), ("GB", "E11.9", None, 75, 120, 0.16),
    ("GB", "I10", "male", 16, 120, 0.30), ("GB", "I10", "female", 16, 120, 0.26), ("GB", "I10", None, 16, 45, 0.09), ("GB", "I10", None, 65, 120, 0.60),
    # GEDA 2014/2015-EHIS; "nearly a third", "nearly two thirds"
    # Quality and Outcomes Framework 2019-20; Stone 2023
    ("GB", "J45.909", None, 0, 120, 0.065), ("GB", "F32.A", None, 18, 120, 0.116), ("GB", "J44.9", None, 40, 120, 0.049),
    ("DE", "E11.9", None, 18, 120, 0.077), ("DE", "I10", None, 18, 120, 0.32), ("DE", "I10", None, 65, 120, 0.64),
    # GEDA 2019/2020-EHIS; depressive symptoms 2014/2015
    ("DE", "J45.909", "female", 18, 120, 0.091), ("DE", "J45.909", "male", 18, 120, 0.070), ("DE", "J44.9", None, 45, 120, 0.085),
    ("DE", "F32.A", "female", 18, 120, 0.116), ("DE", "F32.A", "male", 18, 120, 0.086),
    # Esteban 2014-2016; Sante publique France 2019; Constances 2013-2014; Fuhrman 2010; EHIS-ESPS 2014
    ("FR", "I10", "female", 18, 75, 0.252), ("FR", "I10", "male", 18, 75, 0.365), ("FR", "E11.9", None, 0, 120, 0.061),
    ("FR", "J45.909", None, 18, 70, 0.06), ("FR", "J44.9", None, 45, 120, 0.075), ("FR", "F32.A", None, 15, 120, 0.07),
]  # fmt: skip


def test_doses_are_of_vaccines_that_the_country_has():
    for country in COUNTRIES:
        domain = in_country(DOMAIN, [country])
        assert domain.priors("vaccine.series").keys() <= domain.schema.code_lists["vaccine"].codes.keys()
    young = populace.generate(
        "healthcare",
        size=300,
        seed=1,
        start="2020-01-01",
        end="2020-07-01",
        country="GB",
        only=("patient", "immunization"),
    )
    given = young.frames["immunization"].join(
        young.frames["patient"].select("patient_id", "age_years"), on="patient_id"
    )
    assert "146" in given.filter(pl.col("age_years") < 2)["code"].cast(pl.String).to_list()
    assert "20" not in given["code"].cast(pl.String).to_list()


@pytest.mark.parametrize(("country", "code", "sex", "low", "high", "share"), ILL)
def test_as_many_are_ill_as_the_country_s_surveys_say(
    country: str, code: str, sex: str | None, low: int, high: int, share: float
):
    priors = in_country(DOMAIN, [country]).priors
    table, age = priors(f"chronic.{code}"), np.arange(105) + 0.5
    ill = people = 0.0
    for each, shares in priors("population.age").items():
        if sex in (None, each):
            alive = np.repeat(np.array(shares) / 5, 5)[:105] * ((age >= low) & (age < high))
            ill, people = ill + (alive * np.interp(age, table["age"], table[each])).sum(), people + alive.sum()
    assert ill / people == pytest.approx(share, rel=0.2, abs=0.01)


CIRCULATORY, DEMENTIA = ("heart", "stroke", "hypertension"), ("dementia", "alzheimer")
DIE = [
    # Destatis 2022, and of circulatory diseases by age bpb 2020
    ("DE", CIRCULATORY, None, 0, 0.336), ("DE", ("cancer",), None, 0, 0.217), ("DE", ("dementia",), None, 0, 0.050),
    ("DE", ("pneumonia",), None, 0, 0.0173), ("DE", ("accident", "suicide", "homicide"), None, 0, 0.045),
    # CepiDc and DREES 2020 and 2022
    ("FR", CIRCULATORY, None, 0, 0.208), ("FR", CIRCULATORY, None, 85, 0.258), ("FR", ("cancer",), None, 0, 0.255),
    ("FR", ("accident", "suicide", "homicide"), None, 0, 0.06),
    # ONS 2018, Public Health England 2015, British Heart Foundation 2023
    ("GB", DEMENTIA, None, 0, 0.128), ("GB", DEMENTIA, "female", 80, 0.236), ("GB", DEMENTIA, "male", 80, 0.151),
    ("GB", ("cancer",), "female", 0, 0.248), ("GB", ("cancer",), "male", 0, 0.30), ("GB", CIRCULATORY, None, 0, 0.25),
    ("GB", ("suicide",), "male", (20, 35), 0.259), ("GB", ("suicide",), "female", (20, 35), 0.156),
]  # fmt: skip
"""Share of the deaths of a sex, from an age on or within two, by groups of causes."""


def dying(priors: Priors) -> dict[str, np.ndarray]:
    """How many die a year at each year of age, by sex: the people that there are by their chance."""
    people, table, found = priors("population.age"), priors("population.death"), {}
    for sex in ("female", "male"):
        q = np.exp(np.interp(np.arange(5 * len(people[sex])), table["age"], np.log(table[sex])))
        found[sex] = np.repeat(np.array(people[sex]) / 5, 5) * q
    return found


@pytest.mark.parametrize(("country", "groups", "sex", "ages", "share"), DIE)
def test_causes_of_death_are_as_the_country_counts_them(
    country: str, groups: tuple[str, ...], sex: str | None, ages: int | tuple[int, int], share: float
):
    priors = in_country(DOMAIN, [country]).priors
    low, high = ages if isinstance(ages, tuple) else (ages, 130)
    dead = died = 0.0
    for each, count in dying(priors).items():
        if sex in (each, None):
            age = np.arange(len(count))
            band = np.searchsorted(priors("death.age"), age, side="right") - 1
            here = (age >= low) & (age < high)
            died += count[here].sum()
            dead += sum((np.array(priors("death.share")[g][each])[band] * count)[here].sum() for g in groups)
    assert dead / died == pytest.approx(share, rel=0.03)


@pytest.mark.slow
@pytest.mark.parametrize("country", ABROAD)
def test_as_many_patients_die_of_each_cause_as_the_country_counts(country: str):
    """The same figures on the deaths of fifteen thousand patients: within 10 % and two standard errors."""
    data = populace.generate(
        "healthcare",
        size=15_000,
        seed=5,
        start="2012-01-01",
        end="2022-01-01",
        country=country,
        only=("patient", "observation"),
    )
    forms = data.plan.priors("death.form")
    group = {code: name for name, codes in forms.items() for code in codes}
    told = data.frames["observation"].filter(pl.col("code").cast(pl.String) == CAUSE)
    people = data.frames["patient"].select(
        "patient_id", "sex", age=(pl.col("death_at").dt.date() - pl.col("birth_date")).dt.total_days() / 365.25
    )
    told = told.join(people, on="patient_id").with_columns(
        group=pl.col("value_code").cast(pl.String).replace_strict(group, default="other", return_dtype=pl.String)
    )
    missed = []
    for where, groups, sex, ages, share in DIE:
        if where == country:
            low, high = ages if isinstance(ages, tuple) else (ages, 130)
            there = told.filter(
                (pl.col("age") >= low) & (pl.col("age") < high) & (True if sex is None else pl.col("sex") == sex)
            )
            found = there["group"].is_in(list(groups)).to_numpy().mean()
            if abs(found - share) > 0.1 * share + 2 * np.sqrt(share * (1 - share) / there.height):
                missed.append(f"{groups} {sex} {ages}: {found:.3f} of {there.height}, published {share}")
    assert not missed, "\n".join(missed)


SPOKEN = {"DE": ("de", 1 - 12.6 / 82.3), "GB": ("en", 52_569_816 / 57_704_270)}
"""Mostly spoken at home: Destatis, Mikrozensus 2021. Main language: ONS, Census 2021."""


@pytest.mark.parametrize("country", SPOKEN)
def test_as_many_speak_the_language_of_the_country_as_published(country: str):
    data = populace.generate("healthcare", size=6_000, seed=3, country=country, only=("patient",))
    language, share = SPOKEN[country]
    found = (data.frames["patient"]["language"].cast(pl.String) == language).to_numpy().mean()
    # members of a household speak one language: some 2,500 of them
    assert found == pytest.approx(share, abs=3 * np.sqrt(share * (1 - share) / 2_500))


EARN = {
    "DE": ((1_300 * 12, 0.13), (5_000 * 12, 0.78)), "FR": ((13_820, 0.1), (21_670, 0.3), (30_620, 0.5), (65_250, 0.9)),
    "GB": ((14_700, 0.1), (32_400, 0.5), (66_000, 0.9)),
}  # fmt: skip
"""Share of households with less a year: Destatis, EVS 2018; INSEE 2018; ONS 2022."""


@pytest.mark.parametrize("country", ABROAD)
def test_households_have_what_the_country_counts(country: str):
    data = populace.generate(
        "healthcare", size=8_000, seed=3, start="2018-01-01", end="2019-01-01", country=country, only=("patient",)
    )
    income = data.frames["patient"].unique("household_id")["income"]
    for amount, share in EARN[country]:
        assert (income < amount).mean() == pytest.approx(share, abs=0.03)
    if country == "DE":
        assert income.mean() == pytest.approx(12 * 3_661, rel=0.05)


@pytest.mark.slow
@pytest.mark.parametrize("country", ABROAD)
def test_as_many_patients_are_ill_as_the_country_s_surveys_say(country: str):
    """The same figures on twelve thousand patients: within 20 % or one point."""
    data = populace.generate(
        "healthcare",
        size=12_000,
        seed=2,
        start="2020-01-01",
        end="2021-01-01",
        country=country,
        only=("patient", "condition"),
    )
    missed = []
    for where, code, sex, low, high, share in ILL:
        if where == country:
            ill = data.frames["condition"].filter((pl.col("code") == code) & pl.col("abatement_at").is_null())
            people = living(data, low, high, sex)["patient_id"]
            found = people.is_in(ill["patient_id"].implode()).to_numpy().mean()
            if abs(found - share) > max(0.2 * share, 0.01):
                missed.append(f"{code} {sex} {low}-{high}: {found:.3f}, published {share}")
    assert len({code for where, code, *_ in ILL if where == country}) >= 5
    assert not missed, "\n".join(missed)


@pytest.mark.parametrize("country", ["GB", *(pytest.param(c, marks=pytest.mark.slow) for c in ("DE", "FR"))])
def test_a_record_is_of_its_country_and_valid(country: str, tmp_path: Path):
    data = populace.generate("healthcare", size=30, seed=4, start="2020-01-01", end="2021-01-01", country=country)
    assert data.validate().is_empty()
    patient = data.frames["patient"]
    numbers = patient["national_id"].to_list()
    assert len(set(numbers)) == len(numbers)
    if country == "FR":
        for number, birth, sex, code in patient.select("national_id", "birth_date", "sex", "postal_code").rows():
            assert nir.is_valid(number)
            assert number[:7] == f"{1 if sex == 'male' else 2}{birth:%y%m}{code[:2]}"
        assert all(luhn.is_valid(n) for n in data.frames["practitioner"]["npi"])
    else:
        assert all(map(nhs.is_valid if country == "GB" else kvnr, numbers))
    areas = in_country(DOMAIN, [country]).priors("record.postal")
    for state, code in patient.select("state", "postal_code").rows():
        assert code.startswith(tuple(areas[state].split()))
    assert patient["race"].null_count() == patient.height
    tables = {k: v for k, v in data.frames.items() if k != "label"}
    views = data.plan.domain.views
    rendered = views["fhir+ndjson"].render(tables, {})
    for kind in (
        "Patient",
        "Organization",
        "Practitioner",
        "Coverage",
        "Immunization",
        "Claim",
        "ExplanationOfBenefit",
    ):
        assert not any(fhirkit.validate(text) for text in rendered[kind]["text"][:200])
    first = json.loads(rendered["Patient"]["text"][0])
    assert first["address"][0]["country"] == country
    assert first["identifier"][1]["value"] == numbers[0]
    currency = "GBP" if country == "GB" else "EUR"
    assert json.loads(rendered["Claim"]["text"][0])["total"]["currency"] == currency
    home = views["omop"].render(tables, tables)["location"]
    assert home["state"].drop_nulls().str.len_chars().max() in (None, 2)  # as the CDM's DDL has it
    data.write(str(tmp_path / "out"))
    assert read_source(DOMAIN, str(tmp_path / "out")).domain.schema["patient"].columns["national_id"].pattern


def test_the_home_country_is_as_without_it():
    assert in_country(DOMAIN, [HOME]) is DOMAIN


@pytest.mark.parametrize(("names", "said"), [("XX", "XX"), (["DE", "FR"], "DE, FR")])
def test_an_unknown_country_and_two_are_refused(names: str | list[str], said: str):
    with pytest.raises(UserError, match=said):
        populace.generate("healthcare", size=2, country=names)
