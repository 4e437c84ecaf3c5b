"""Texts are from their locale, agree with one another, and can be no real person's."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import unicodedata

import numpy as np
import polars as pl
import pytest

from populace.core.errors import UserError
from populace.core.samplers.pools import locales, pool
from populace.core.samplers.romanise import romanise
from populace.core.samplers.text import Address, Company, Email, Name, Phone, person
from populace.core.stream import Stream

N = 3_000
WHERE = pl.DataFrame({"sex": ["F", "M"] * (N // 2)})
SCRIPTS = {"ja_JP": {"CJK", "HIRAGANA", "KATAKANA"}, "ar_SA": {"ARABIC"}, "hi_IN": {"DEVANAGARI"}, "zh_CN": {"CJK"}}


@pytest.fixture(params=locales())
def locale(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def people(locale: str) -> pl.DataFrame:
    return (
        person(locale, "sex")
        .sample(WHERE, Stream.root(3))
        .with_columns(Company("company", locale).sample(WHERE, Stream.root(3)))
    )


def test_the_promised_locales_are_there():
    promised = {"en_US", "en_GB", "de_DE", "fr_FR", "es_ES", "pl_PL", "ja_JP", "ar_SA", "hi_IN", "zh_CN", "pt_BR"}
    assert promised <= set(locales())


def test_texts_are_whole(people: pl.DataFrame):
    for column in people.cast(pl.String).get_columns():
        assert column.null_count() == 0
        assert column.str.contains(r"^\S.*\S$|^\S$").all(), column.name
        assert not column.str.contains(r"[{}#%]|  ").any(), column.name


def test_texts_are_in_their_script(people: pl.DataFrame, locale: str):
    allowed = SCRIPTS.get(locale, {"LATIN", "MODIFIER"})
    for name in ("name", "street", "city", "region", "company"):
        letters = {c for c in set("".join(people[name])) if c.isalpha()}
        foreign = {c for c in letters if unicodedata.name(c).split()[0] not in allowed}
        # kana length marks and Latin letters stand in Japanese and Chinese company and building names
        assert len(foreign) <= len(letters) * 0.02, (name, foreign)


def test_given_names_follow_the_sex(people: pl.DataFrame, locale: str):
    female, male = (set(pool(locale, f"first_names_{s}").texts) for s in ("female", "male"))
    assert set(people["given_name"][0::2]) <= female
    assert set(people["given_name"][1::2]) <= male
    either = Name(locale).sample(WHERE, Stream.root(3))["given_name"]
    only_female = [n in female for n in either if (n in female) != (n in male)]
    assert 0.4 < np.mean(only_female) < 0.6


def test_polish_surnames_follow_the_sex():
    made = Name("pl_PL", "sex").sample(WHERE, Stream.root(3)).cast(pl.String)
    assert not made["family_name"][0::2].str.contains("(ski|cki)$").any()
    assert made["family_name"][0::2].str.contains("(ska|cka)$").any()
    assert made["family_name"][1::2].str.contains("(ski|cki)$").any()


def test_a_name_is_its_parts(people: pl.DataFrame, locale: str):
    parts = people.select(pl.concat_str("given_name", pl.lit("|"), "family_name"))["given_name"]
    for whole, part in zip(people["name"], parts, strict=True):
        given, family = part.split("|")
        assert whole in {f"{given} {family}", f"{family} {given}", f"{family}{given}"}


def test_mail_can_reach_nobody_and_agrees_with_the_name(people: pl.DataFrame, locale: str):
    assert (
        people["email"]
        .str.contains(r"^([a-z]+\.[a-z]+|user[0-9]+)[0-9]+@(example\.(com|org|net)|[a-z]+\.example)$")
        .all()
    )
    if locale == "zh_CN":
        # a few Chinese names are read as the Japanese ones that are written alike
        assert people["email"].str.starts_with("user").mean() > 0.9
    else:
        for given, family, email in people.select("given_name", "family_name", "email").rows():
            assert email.startswith(f"{romanise(given)}.{romanise(family)}")
    assert people["email"].n_unique() > 0.99 * N


@pytest.mark.parametrize(
    ("name", "ascii_name"),
    [
        ("José María", "jose"), ("Łucja", "lucja"), ("Müller", "mueller"), ("Strauß", "strauss"), ("O'Neill", "oneill"), ("da Cruz", "cruz"),
        ("Ćwikła", "cwikla"), ("محمد", "mhmd"), ("सिंह", "sinha"), ("田中", "tanaka"), ("杨", ""), ("", ""),
    ],
)  # fmt: skip
def test_romanisation(name: str, ascii_name: str):
    assert romanise(name) == ascii_name


def test_telephone_numbers_belong_to_nobody(people: pl.DataFrame, locale: str):
    shape = {"en_US": r"\+1-[1-9]\d\d-555-01\d\d", "en_GB": r"\+44 7700 900\d{3}"}.get(
        locale, r"\+\d{2,3} 0[\d -]{8,12}"
    )
    assert people["phone"].str.contains(f"^{shape}$").all()


def test_american_postal_codes_lie_in_their_state():
    from faker.providers.address.en_US import Provider

    made = Address("en_US").sample(WHERE, Stream.root(3))
    for code, state in made.select("postal_code", "region").rows():
        low, high = Provider.states_postcode[state]
        assert low <= int(code) <= high
        assert len(code) == 5


def test_regions_can_be_weighed():
    made = Address("en_US", {"TX": 3.0, "OH": 1.0}).sample(WHERE, Stream.root(3))["region"].cast(pl.String)
    assert set(made) == {"TX", "OH"}
    assert (made == "TX").mean() == pytest.approx(0.75, abs=0.03)
    with pytest.raises(UserError, match="unknown region 'TN1'"):
        Address("en_US", {"TN1": 1.0})


@pytest.mark.parametrize(
    ("locale", "shape"),
    [("en_GB", r"[A-Z]{1,2}\d[\dA-Z]? \d[A-Z]{2}"), ("de_DE", r"\d{5}"), ("pl_PL", r"\d\d-\d{3}"), ("ja_JP", r"\d{3}-\d{4}"), ("pt_BR", r"\d{5}-\d{3}")],
)  # fmt: skip
def test_postal_codes_have_their_countrys_shape(locale: str, shape: str):
    assert Address(locale).sample(WHERE, Stream.root(3))["postal_code"].str.contains(f"^{shape}$").all()


def test_names_have_the_frequencies_of_their_pool():
    made = Name("en_US").sample(pl.DataFrame({"x": np.zeros(50_000)}), Stream.root(4))["family_name"]
    top = made.value_counts(sort=True)["family_name"][0]
    names = pool("en_US", "last_names")
    assert names.weights is not None
    weights = {text: weight / sum(names.weights) for text, weight in zip(names.texts, names.weights, strict=True)}
    assert weights[top] >= 0.9 * max(weights.values())
    assert (made == top).mean() == pytest.approx(weights[top], rel=0.15)


def test_the_same_in_another_process():
    code = (
        "import hashlib, polars as pl; from populace.core.samplers.text import person; from populace.core.stream import Stream;"
        "f = [person(x).sample(pl.DataFrame({'a': [0] * 200}), Stream.root(1)).write_csv() for x in ('en_US', 'zh_CN')];"
        "print(hashlib.sha256(''.join(f).encode()).hexdigest())"
    )
    seen = {
        subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert len(seen) == 1
    assert re.match(r"[0-9a-f]{64}", seen.pop())


@pytest.mark.parametrize("make", [Name, Address, lambda x: Company("c", x), lambda x: Phone("p", x)])
def test_an_unknown_locale_is_refused(make):
    with pytest.raises(UserError, match=r"unknown locale 'en_UK'\. Did you mean 'en_"):
        make("en_UK")


def test_mail_needs_a_name():
    with pytest.raises(UserError, match="unknown column 'given_name'"):
        Email().sample(WHERE, Stream.root(1))
