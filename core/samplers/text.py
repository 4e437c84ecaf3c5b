"""Names, addresses, companies, e-mail addresses and telephone numbers, from the pools of a locale.

How the pieces are put together stands in `locales.toml`. City, region and postal code are drawn independently of one another, except
that a US postal code lies in its state. Which texts a pool holds depends on the installed version of Faker. Texts that come whole from
a pool (given and family name, city, region) are categorical: a code for each row and one text for each code.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ..errors import unknown
from ..stream import Stream
from ..tables import Table, picked, rows
from .compose import Chain, chain
from .keys import ascii_text, digit_text, scatter
from .pools import LANE, Form, entry, fill, form, joined, lanes, large, pool, provider
from .romanise import romanise
from .rules import Guide, choose

MAIL_DOMAINS = (
    "example.com", "example.org", "example.net", "mail.example", "post.example", "inbox.example", "web.example", "home.example",
)  # fmt: skip
"""Names that can never be registered (RFC 2606 and RFC 6761)."""

_SHORT = 1 << 10
"""Values that are looked at one by one: a query costs more."""
_FEMALE = {"f", "female", "w", "woman"}
_MALE = {"m", "male", "man"}


@dataclass(frozen=True)
class Name:
    """Given name, family name, and both in the order of the locale. `sex` names a column of `given` with F, female, M or male in it; without
    it, or for any other value, given names of both sexes are equally likely."""

    locale: str = "en_US"
    sex: str | None = None

    def __post_init__(self) -> None:
        entry(self.locale)

    @property
    def columns(self) -> tuple[str, ...]:
        return ("given_name", "family_name", "name")

    def sample(self, given: Table, stream: Stream) -> Table:
        address, names, sex = rows(given), _names(self.locale), _sexes(given, self.sex)
        u = stream.child("given_name").uniform(address)
        first = names.either.choose(u) if sex is None else names.by_sex.choose(u, sex)
        family = names.form.index(stream.child("family_name"), address)
        if sex is not None and names.feminine:
            family += np.where(sex == 0, np.uint32(names.feminine), np.uint32(0))[:, None]
        pieces = [first[:, None], family + np.uint32(len(names.given))]
        whole = np.concatenate(
            pieces[::-1] if names.family_first else pieces, axis=1, dtype=np.uint32, casting="unsafe"
        )
        return pl.DataFrame(
            {
                "given_name": picked(names.given, first),
                "family_name": picked(names.family, family[:, 0])
                if family.shape[1] == 1
                else joined(names.memory, pieces[1]).cast(pl.Categorical),
                "name": joined(names.memory, whole),
            }
        )


@dataclass(frozen=True)
class Address:
    """Street with number, city, postal code and region (state, county, prefecture). `regions` weighs some of the locale's regions by name;
    without it all are equally likely."""

    locale: str = "en_US"
    regions: Mapping[str, float] | None = None

    def __post_init__(self) -> None:
        there = pool(self.locale, entry(self.locale)["region"]).texts
        for name in self.regions or ():
            if name not in there:
                raise unknown("region", name, there, f"Address {self.locale}")

    @property
    def columns(self) -> tuple[str, ...]:
        return ("street", "city", "postal_code", "region")

    def sample(self, given: Table, stream: Stream) -> Table:
        parts, address = entry(self.locale), rows(given)
        region, city = (form(self.locale, tuple(f)) for f in ([f"{{{parts['region']}}}"], parts["city"]))
        if self.regions is None:
            where = region.index(stream.child("region"), address)[:, 0]
        else:
            listed = np.array([region.texts.index(name) for name in self.regions])
            where = listed[choose(stream.child("region").uniform(address), list(self.regions.values()))]
        ranges = _postal_ranges(self.locale)
        if ranges is None:
            postal = fill(self.locale, parts["postal_code"], stream.child("postal_code"), address)
        else:
            low, size = ranges[0][where], ranges[1][where]
            postal = _five_digits().gather(low + ((lanes(stream.child("postal_code"), address, 1)[0] * size) >> LANE))
        return pl.DataFrame(
            {
                "street": fill(self.locale, parts["street"], stream.child("street"), address),
                "city": city.codes.gather(city.index(stream.child("city"), address)[:, 0]),
                "postal_code": postal,
                "region": region.codes.gather(where),
            }
        )


@dataclass(frozen=True)
class Company:
    """A company's name."""

    column: str
    locale: str = "en_US"

    def __post_init__(self) -> None:
        entry(self.locale)

    @property
    def columns(self) -> tuple[str, ...]:
        return (self.column,)

    def sample(self, given: Table, stream: Stream) -> Table:
        text = fill(self.locale, entry(self.locale)["company"], stream.child(self.column), rows(given))
        return text.alias(self.column).to_frame()


@dataclass(frozen=True)
class Phone:
    """A telephone number that belongs to nobody, in international form."""

    column: str
    locale: str = "en_US"

    def __post_init__(self) -> None:
        entry(self.locale)

    @property
    def columns(self) -> tuple[str, ...]:
        return (self.column,)

    def sample(self, given: Table, stream: Stream) -> Table:
        text = fill(self.locale, entry(self.locale)["phone"], stream.child(self.column), rows(given))
        return text.alias(self.column).to_frame()


@dataclass(frozen=True)
class Email:
    """An e-mail address at a domain that cannot exist, made from the name in the columns `name`: (given, family).

    ASCII whatever the script: Latin letters lose their accents, Japanese is read by Faker's own romanisation, Arabic and Devanagari letter by
    letter; a name in another script becomes "user" and a number. A number makes most addresses distinct, not all.
    """

    column: str = "email"
    name: tuple[str, str] = ("given_name", "family_name")

    @property
    def columns(self) -> tuple[str, ...]:
        return (self.column,)

    def sample(self, given: Table, stream: Stream) -> Table:
        import pyarrow as pa

        for name in self.name:
            if name not in given.columns:
                raise unknown("column", name, given.columns, f"Email {self.column}")
        stream, address = stream.child(self.column), rows(given)
        (first, one), (family, two) = (_read(given[name]) for name in self.name)
        texts = pa.concat_arrays([large([f"{n}." for n in first] + family), _mail_ends()])
        end = (lanes(stream, address, 1)[0] * len(_mail_ends())) >> LANE
        index = np.stack(
            [one, two + len(first), end + (len(first) + len(family))], axis=1, dtype=np.uint32, casting="unsafe"
        )
        mail = joined(texts, index)
        unread = (np.array([n == "" for n in first], bool)[one]) | (np.array([n == "" for n in family], bool)[two])
        if unread.any():
            user = pl.Series(scatter(stream.child("user"), address, 9)).cast(pl.String)
            named = "user" + user + joined(_mail_ends(), end[:, None].astype(np.uint32))
            mail = named.zip_with(pl.Series(unread), mail)
        return mail.alias(self.column).to_frame()


def person(locale: str = "en_US", sex: str | None = None) -> Chain:
    """Name, e-mail address, telephone number and postal address."""
    return chain(Name(locale, sex), Email(), Phone("phone", locale), Address(locale))


@dataclass(frozen=True, eq=False)
class _Names:
    """The names of a locale, ready to draw from."""

    given: pl.Series
    """Female, then male."""
    either: Guide
    by_sex: Guide
    """Weights for: female, male, either."""
    form: Form
    family: pl.Series
    """The texts of `form`, and where women bear another form, those once more in it."""
    feminine: int
    """How far on that form stands; 0 where there is none."""
    family_first: bool
    memory: Any
    """Given names with what stands between the two, then `family`."""


@lru_cache(maxsize=128)
def _names(locale: str) -> _Names:
    female, male = pool(locale, "first_names_female"), pool(locale, "first_names_male")
    p, q = (np.array(s.weights or [1.0] * len(s.texts)) / sum(s.weights or [len(s.texts)]) for s in (female, male))
    weights = [np.append(p, 0 * q), np.append(0 * p, q), np.append(p, q)]
    parts = entry(locale)
    names = form(locale, tuple(parts["family"]))
    family = names.texts
    if "feminine" in parts:
        for pattern, replacement in parts["feminine"]:
            family = tuple(re.sub(pattern, replacement, t) for t in family)
        family = names.texts + family
    left, right = parts["name"].split("{given}")
    before, after = left.replace("{family}", ""), right.replace("{family}", "")
    given = female.texts + male.texts
    return _Names(
        given=pl.Series(given, dtype=pl.Categorical),
        either=Guide.of([weights[2]]),
        by_sex=Guide.of(weights),
        form=names,
        family=pl.Series(family, dtype=pl.Categorical),
        feminine=len(names.texts) if "feminine" in parts else 0,
        family_first="{family}" in left,
        memory=large([f"{before}{g}{after}" for g in given] + list(family)),
    )


def _sexes(given: Table, column: str | None) -> NDArray[np.int64] | None:
    """0 female, 1 male, 2 either; nothing where all are either."""
    if column is None:
        return None
    if column not in given.columns:
        raise unknown("column", column, given.columns, "Name")
    values = given[column].cast(pl.String)
    told = {*values.to_list()} if len(values) <= _SHORT else values.unique()
    kinds = {v: 0 if v.lower() in _FEMALE else 1 if v.lower() in _MALE else 2 for v in told if v is not None}
    if not kinds:
        return None
    if len(values) <= _SHORT:
        return np.array([kinds.get(v, 2) for v in values.to_list()], np.int64)
    return values.replace_strict(list(kinds), list(kinds.values()), default=2, return_dtype=pl.Int64).to_numpy()


@lru_cache(maxsize=16)
def _postal_ranges(locale: str) -> tuple[NDArray[np.int64], NDArray[np.int64]] | None:
    """The lowest postal code of each region and how many there are, in the order of the region's form, where Faker knows them."""
    parts = entry(locale)
    if "postal_ranges" not in parts:
        return None
    ranges = getattr(provider(locale, "address"), parts["postal_ranges"])
    regions = form(locale, (f"{{{parts['region']}}}",)).texts
    low, high = np.array([ranges.get(t, (0, 0)) for t in regions], dtype=np.int64).T
    return low, high - low + 1


@lru_cache(maxsize=1)
def _five_digits() -> pl.Series:
    return ascii_text(digit_text(np.arange(100_000, dtype=np.uint64), 5))


@lru_cache(maxsize=1)
def _mail_ends() -> Any:
    return large([f"{n}@{d}" for n in range(1, 1000) for d in MAIL_DOMAINS])


def _read(names: pl.Series) -> tuple[list[str], NDArray[np.int64]]:
    """The distinct names in lower-case ASCII letters, and the position of each row's among them; empty for null and where it cannot be read."""
    codes = names.cast(pl.Categorical).to_physical().cast(pl.Int64)
    code = codes.fill_null(-1).to_numpy() + 1
    row_of = np.full(int(code.max(initial=0)) + 1, -1)
    row_of[code] = np.arange(len(code))
    present = np.flatnonzero(row_of >= 0)
    texts = names.gather(row_of[present]).cast(pl.String)
    position = np.empty(len(row_of), np.int64)
    position[present] = np.arange(len(present))
    return [romanise(t) if t else "" for t in texts], position[code]
