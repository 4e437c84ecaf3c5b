"""What a name is about: `BillingPostalCode`, `zip` and `postal_code` are one concept."""

from __future__ import annotations

import re
import tomllib
from functools import cache
from importlib import resources

_PARTS = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+")


def words(name: str) -> tuple[str, ...]:
    """The words of a name in lower case: `ShipPostalCode` and `ship_postal_code` are the same."""
    return tuple(part.lower() for part in _PARTS.findall(name))


def concept(name: str) -> str | None:
    """The concept that a column's name ends with, None if it names none that is known."""
    said = words(name)
    for start in range(len(said)):
        if found := _concepts().get(" ".join(said[start:])):
            return found
    return None


def kin(one: str, other: str) -> float:
    """How much two tables' names say the same, from 0 to 1: the words that both have, with the synonyms of either."""
    a, b = ({_singular(w) for w in words(n)} for n in (one, other))
    if a == b:
        return 1.0
    for name, synonyms in _lexicon()["tables"].items():
        for table, against in ((one, other), (other, one)):
            if words(table) == words(name) and " ".join(_singular(w) for w in words(against)) in synonyms:
                return 0.8
    return len(a & b) / len(a | b) * 0.9 if a | b else 0.0


def _singular(word: str) -> str:
    if word.endswith("ies"):
        return word[:-3] + "y"
    return word[:-1] if word.endswith("s") and not word.endswith("ss") else word


@cache
def _lexicon() -> dict[str, dict[str, list[str]]]:
    return tomllib.loads((resources.files(__name__.rpartition(".")[0]) / "meaning.toml").read_text("utf-8"))


@cache
def _concepts() -> dict[str, str]:
    return {word: name for name, spoken in _lexicon()["columns"].items() for word in (*spoken, name.replace("_", " "))}
