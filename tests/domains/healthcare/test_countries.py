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
from populace.core.source import read_source
from populace.domains.healthcare import DOMAIN
from populace.domains.healthcare.countries import COUNTRIES, HOME, in_country

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
