"""Names, addresses, companies, e-mail addresses and telephone numbers: Faker's pools for a locale, read once, drawn by vectorised lookup.

How the pieces are put together stands in `locales.toml`. City, region and postal code are drawn independently of one another, except
that a US postal code lies in its state. Which texts a pool holds depends on the installed version of Faker.
"""

from __future__ import annotations

import re
import tomllib
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib import resources
from itertools import product
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ..errors import unknown
from ..stream import Stream
from ..tables import Table, rows
from .compose import Chain, chain
from .keys import ascii_text, digit_text, scatter
from .rules import Guide

POOL = 2_048
"""How many street names, cities and postal codes a locale has, where Faker makes them rather than listing them."""

MAIL_DOMAINS = (
    "example.com", "example.org", "example.net", "mail.example", "post.example", "inbox.example", "web.example", "home.example",
)  # fmt: skip
"""Names that can never be registered (RFC 2606 and RFC 6761)."""

_FEMALE = {"f", "female", "w", "woman"}
_MALE = {"m", "male", "man"}


@dataclass(frozen=True)
class Name:
    """Given name, family name, and both in the order of the locale. `sex` names a column of `given` with F, female, M or male in it; without
    it, or for any other value, given names of both sexes are equally likely."""

    locale: str = "en_US"
    sex: str | None = None

    def __post_init__(self) -> None:
        _locale(self.locale)

    @property
    def columns(self) -> tuple[str, ...]:
        return ("given_name", "family_name", "name")

    def sample(self, given: Table, stream: Stream) -> Table:
        entry, address = _locale(self.locale), rows(given)
        sex = _sexes(given, self.sex)
        texts, guide = _given_names(self.locale)
        first = _pick(texts, guide.choose(stream.child("given_name").uniform(address), sex))
        family = fill(self.locale, entry["family"], stream.child("family_name"), address)
        for pattern, replacement in entry.get("feminine", ()):
            family = pl.select(
                pl.when(pl.Series(sex == 0)).then(family.str.replace(pattern, replacement)).otherwise(family)
            ).to_series()
        parts = re.split(r"\{(\w+)\}", entry["name"])
        pieces = [{"given": first, "family": family}.get(p, p) for p in parts if p]
        return pl.DataFrame({"given_name": first, "family_name": family}).with_columns(name=_join(pieces))


@dataclass(frozen=True)
class Address:
    """Street with number, city, postal code and region (state, county, prefecture)."""

    locale: str = "en_US"

    def __post_init__(self) -> None:
        _locale(self.locale)

    @property
    def columns(self) -> tuple[str, ...]:
        return ("street", "city", "postal_code", "region")

    def sample(self, given: Table, stream: Stream) -> Table:
        entry, address = _locale(self.locale), rows(given)
        texts, guide = pool(self.locale, entry["region"])
        region = guide.choose(stream.child("region").uniform(address))
        ranges = _postal_ranges(self.locale)
        if ranges is None:
            postal = fill(self.locale, entry["postal_code"], stream.child("postal_code"), address)
        else:
            low, high = ranges[region, 0], ranges[region, 1]
            number = low + np.floor(stream.child("postal_code").uniform(address) * (high - low + 1)).astype(np.int64)
            postal = ascii_text(digit_text(number.astype(np.uint64), 5))
        return pl.DataFrame(
            {
                "street": fill(self.locale, entry["street"], stream.child("street"), address),
                "city": fill(self.locale, entry["city"], stream.child("city"), address),
                "postal_code": postal,
                "region": _pick(texts, region),
            }
        )


@dataclass(frozen=True)
class Company:
    """A company's name."""

    column: str
    locale: str = "en_US"

    def __post_init__(self) -> None:
        _locale(self.locale)

    @property
    def columns(self) -> tuple[str, ...]:
        return (self.column,)

    def sample(self, given: Table, stream: Stream) -> Table:
        text = fill(self.locale, _locale(self.locale)["company"], stream.child(self.column), rows(given))
        return text.alias(self.column).to_frame()


@dataclass(frozen=True)
class Phone:
    """A telephone number that belongs to nobody, in international form."""

    column: str
    locale: str = "en_US"

    def __post_init__(self) -> None:
        _locale(self.locale)

    @property
    def columns(self) -> tuple[str, ...]:
        return (self.column,)

    def sample(self, given: Table, stream: Stream) -> Table:
        text = fill(self.locale, _locale(self.locale)["phone"], stream.child(self.column), rows(given))
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
        for name in self.name:
            if name not in given.columns:
                raise unknown("column", name, given.columns, f"Email {self.column}")
        stream, address = stream.child(self.column), rows(given)
        first, family = (_romanised(given[name]) for name in self.name)
        local = _join([first, ".", family])
        unread = (first == "") | (family == "")
        if unread.any():
            user = _join(["user", pl.Series(scatter(stream.child("user"), address, 9)).cast(pl.String)])
            local = pl.select(pl.when(unread).then(user).otherwise(local)).to_series()
        ends = pl.Series([f"{n}@{d}" for n in range(1, 1000) for d in MAIL_DOMAINS])
        return _join([local, _pick(ends, stream.integers(address, len(ends)))]).alias(self.column).to_frame()


def person(locale: str = "en_US", sex: str | None = None) -> Chain:
    """Name, e-mail address, telephone number and postal address."""
    return chain(Name(locale, sex), Email(), Phone("phone", locale), Address(locale))


def locales() -> tuple[str, ...]:
    """The locales there are."""
    return tuple(_entries())


def fill(locale: str, formats: Sequence[str], stream: Stream, address: NDArray) -> pl.Series:
    """One text for each row: a format, with each of its slots filled from its pool."""
    if len(formats) == 1:
        return _fill_one(locale, formats[0], stream.child(0), address)
    kind = stream.child("format").integers(address, len(formats))
    order = np.argsort(kind, kind="stable")
    parts = [_fill_one(locale, f, stream.child(n), address[kind == n]) for n, f in enumerate(formats)]
    back = np.empty(len(order), np.uint32)
    back[order] = np.arange(len(order), dtype=np.uint32)
    return pl.concat(parts).gather(pl.Series(back))


def _fill_one(locale: str, text: str, stream: Stream, address: NDArray) -> pl.Series:
    pieces = [
        part if isinstance(part, str) else _pick(part[0], part[1].choose(stream.child(n).uniform(address)))
        for n, part in enumerate(_slots(locale, text))
    ]
    if all(isinstance(p, str) for p in pieces):
        return pl.Series(pieces * len(address), dtype=pl.String)
    return _join(pieces)


def _join(pieces: Sequence[pl.Series | str]) -> pl.Series:
    return pl.select(pl.concat_str([pl.lit(p) for p in pieces])).to_series()


def _pick(texts: pl.Series, index: NDArray) -> pl.Series:
    return texts.gather(pl.Series(index.astype(np.uint32)))


@lru_cache(maxsize=1024)
def _slots(locale: str, text: str) -> list[str | tuple[pl.Series, Guide]]:
    """A format as fixed texts and pools."""
    slots: list[str | tuple[pl.Series, Guide]] = []
    for part in re.split(r"(\{\w+\}|[#%]{1,3})", text):
        if part.startswith("{"):
            slots.append(pool(locale, part[1:-1]))
        elif part and part[0] in "#%":
            texts = ["".join(d) for d in product(*("0123456789" if c == "#" else "123456789" for c in part))]
            slots.append((pl.Series(texts), Guide.of([[1.0] * len(texts)])))
        elif part:
            slots.append(part)
    return slots


@lru_cache(maxsize=1024)
def pool(locale: str, name: str) -> tuple[pl.Series, Guide]:
    """The texts of one pool with their weights: our own, or a list that Faker's provider has, or what a method of it makes."""
    own = _locale(locale).get("pools", {})
    if name in own:
        return pl.Series(own[name]), Guide.of([[1.0] * len(own[name])])
    fake = _faker(locale)
    for provider in fake.get_providers():
        listed = getattr(type(provider), name, None)
        if isinstance(listed, Mapping):
            return pl.Series(list(listed), dtype=pl.String), Guide.of([list(listed.values())])
        if isinstance(listed, (list, tuple)) and listed:
            texts = [t if isinstance(t, str) else t[-1] for t in listed]
            return pl.Series(texts), Guide.of([[1.0] * len(texts)])
    fake.seed_instance(f"{locale} {name}")
    texts = list(dict.fromkeys(getattr(fake, name)() for _ in range(POOL)))
    return pl.Series(texts), Guide.of([[1.0] * len(texts)])


@lru_cache(maxsize=128)
def _given_names(locale: str) -> tuple[pl.Series, Guide]:
    """Given names of both sexes, with weights for: female, male, either."""
    (female, f), (male, m) = pool(locale, "first_names_female"), pool(locale, "first_names_male")
    p, q = np.diff(f.cdf[0], prepend=0.0), np.diff(m.cdf[0], prepend=0.0)
    none_p, none_q = np.zeros(len(p)), np.zeros(len(q))
    weights = [np.append(p, none_q), np.append(none_p, q), np.append(p, q)]
    return pl.concat([female, male]), Guide.of(weights)


def _sexes(given: Table, column: str | None) -> NDArray[np.int64]:
    """0 female, 1 male, 2 either."""
    if column is None:
        return np.full(given.height, 2)
    if column not in given.columns:
        raise unknown("column", column, given.columns, "Name")
    values = given[column].cast(pl.String)
    kinds = {v: 0 if v.lower() in _FEMALE else 1 if v.lower() in _MALE else 2 for v in values.unique().drop_nulls()}
    if not kinds:
        return np.full(given.height, 2)
    return values.replace_strict(list(kinds), list(kinds.values()), default=2, return_dtype=pl.Int64).to_numpy()


@lru_cache(maxsize=16)
def _postal_ranges(locale: str) -> NDArray[np.int64] | None:
    """The lowest and highest postal code of each region, where Faker knows them."""
    entry = _locale(locale)
    if "postal_ranges" not in entry:
        return None
    ranges = getattr(_provider(locale, "address"), entry["postal_ranges"])
    return np.array([ranges[t] for t in pool(locale, entry["region"])[0]], dtype=np.int64)


def _romanised(names: pl.Series) -> pl.Series:
    """One word of each name in lower-case ASCII letters; empty for null and where there is none."""
    distinct = names.cast(pl.String).unique().drop_nulls()
    ascii_names = [romanise(n) for n in distinct]
    return names.cast(pl.String).replace_strict(distinct, ascii_names, default="", return_dtype=pl.String)


@lru_cache(maxsize=1 << 16)
def romanise(text: str) -> str:
    """The first word of a text that is no particle, in lower-case ASCII letters; empty where the script cannot be read letter by letter."""
    text = _japanese().get(text, text)
    out: list[str] = []
    for char in unicodedata.normalize("NFC", text):
        name = unicodedata.name(char, "")
        if name.startswith("DEVANAGARI"):
            _devanagari(name, out)
        elif char in _LETTERS:
            out.append(_LETTERS[char])
        else:
            plain = unicodedata.normalize("NFKD", char)
            out.append("".join(c for c in plain if not unicodedata.combining(c)))
    words = re.findall(r"[a-z]+", "".join(out).lower().replace("'", "").replace(".", ""))
    return next((w for w in words if len(w) > 2), max(words, key=len, default=""))


def _devanagari(name: str, out: list[str]) -> None:
    """Unicode names spell the sound: a letter carries an a, which a vowel sign replaces and a virama drops."""
    last = name.split()[-1].lower()
    if " VOWEL SIGN " in name or name.endswith("SIGN VIRAMA"):
        if out and out[-1].endswith("a"):
            out[-1] = out[-1][:-1]
        out.append("" if name.endswith("VIRAMA") else last)
    elif name.endswith(("SIGN ANUSVARA", "SIGN CANDRABINDU")):
        out.append("n")
    elif " LETTER " in name:
        out.append(last)


_LETTERS = {
    "ß": "ss", "ł": "l", "Ł": "l", "ø": "o", "Ø": "o", "đ": "d", "Đ": "d", "æ": "ae", "œ": "oe", "ı": "i", "ä": "ae", "ö": "oe", "ü": "ue",
    "Ä": "ae", "Ö": "oe", "Ü": "ue", "þ": "th", "ا": "a", "أ": "a", "إ": "i", "آ": "a", "ب": "b", "ت": "t", "ث": "th", "ج": "j", "ح": "h",
    "خ": "kh", "د": "d", "ذ": "dh", "ر": "r", "ز": "z", "س": "s", "ش": "sh", "ص": "s", "ض": "d", "ط": "t", "ظ": "z", "ع": "a", "غ": "gh",
    "ف": "f", "ق": "q", "ك": "k", "ل": "l", "م": "m", "ن": "n", "ه": "h", "و": "w", "ي": "y", "ى": "a", "ة": "a", "ئ": "y", "ؤ": "w",
}  # fmt: skip


@lru_cache(maxsize=1)
def _japanese() -> Mapping[str, str]:
    provider = _provider("ja_JP", "person")
    pairs = (*provider.first_name_pairs, *provider.last_name_pairs)
    return {kanji: romaji for kanji, _, romaji in pairs}


@lru_cache(maxsize=1)
def _entries() -> Mapping[str, dict[str, Any]]:
    return tomllib.loads((resources.files("populace.core.samplers") / "locales.toml").read_text("utf-8"))


def _locale(locale: str) -> dict[str, Any]:
    if locale not in _entries():
        raise unknown("locale", locale, _entries())
    return _entries()[locale]


@lru_cache(maxsize=16)
def _faker(locale: str) -> Any:
    from faker import Faker

    return Faker(locale)


def _provider(locale: str, kind: str) -> Any:
    return next(p for p in _faker(locale).get_providers() if f"providers.{kind}." in type(p).__module__)
