"""Every rate and distribution a domain draws from, each with its public source. Read from `schemas/<domain>/priors.toml`.

A prior is a TOML table that has a `value`:

    [fraud.rate]
    value = 0.0003
    unit = "share of transactions"
    range = [0.0, 1.0]
    source = "EBA-ECB 2024 report on payment fraud, card payments 2023 H1"

Its name is its path, `fraud.rate`. A value is a number, a date, a text, a list, or a table of named numbers.
"""

from __future__ import annotations

import json
import math
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cache
from importlib import resources
from typing import Any

from .errors import UserError, unknown


@dataclass(frozen=True)
class Prior:
    name: str
    value: Any
    source: str
    unit: str | None = None
    doc: str | None = None
    range: tuple[float, float] | None = None


@dataclass(frozen=True)
class Priors(Mapping[str, Prior]):
    """`priors("fraud.rate")` is the value; `priors["fraud.rate"]` the whole entry with its source."""

    entries: Mapping[str, Prior]

    def __call__(self, name: str) -> Any:
        return self[name].value

    def __getitem__(self, name: str) -> Prior:
        if name not in self.entries:
            raise unknown("prior", name, self.entries)
        return self.entries[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.entries)

    def __len__(self) -> int:
        return len(self.entries)

    def override(self, settings: Mapping[str, Any], place: str = "--set") -> Priors:
        """The priors with some values replaced; a value given as text is read as the prior's own type. Of a prior that is a table, `NAME.ENTRY` is one
        entry.

        Raises UserError for an unknown name, a value of another type, or one outside the prior's range.
        """
        entries = dict(self.entries)
        for name, given in settings.items():
            owner, _, entry = name.rpartition(".")
            if name not in entries and owner in entries and isinstance(table := entries[owner].value, dict):
                if entry not in table:
                    raise unknown("entry", entry, table, f"{place} {owner}")
                name, given = owner, {**table, entry: _parsed(given)}
            if name not in entries:
                raise unknown("prior", name, entries, place)
            prior = entries[name]
            entries[name] = replace(prior, value=_read(prior, given, place), source=f"set by the user ({given})")
        return Priors(entries)


def _read(prior: Prior, given: Any, place: str) -> Any:
    value: Any = given if isinstance(prior.value, str) else _parsed(given)
    old = prior.value
    for number in _numbers(value):
        if not math.isfinite(number):
            raise UserError(f"{place}: {prior.name} is {given!r}, expected finite numbers")
    if _is_number(old) and _is_number(value):
        if isinstance(old, int) and value != int(value):
            raise UserError(f"{place}: {prior.name} is {given!r}, expected a whole number")
        value = type(old)(value)
    elif type(value) is not type(old):
        kinds = {
            int: "a number",
            float: "a number",
            list: "a list",
            dict: "a table",
            bool: "true or false",
            str: "text",
        }
        kind = kinds.get(type(old), type(old).__name__)
        raise UserError(f"{place}: {prior.name} is {given!r}, expected {kind}")
    elif isinstance(old, dict) and value.keys() != old.keys():
        raise UserError(f"{place}: {prior.name} needs exactly the entries {', '.join(old)}")
    elif isinstance(value, list) and len(value) != len(old):
        raise UserError(f"{place}: {prior.name} has {len(value)} entries, expected {len(old)}")
    elif not _alike(old, value):
        raise UserError(f"{place}: {prior.name} is {given!r}, expected entries such as {json.dumps(old)}")
    if prior.range:
        low, high = prior.range
        if any(not low <= number <= high for number in _numbers(value)):
            raise UserError(f"{place}: {prior.name} is {given!r}, outside its range {low} to {high}")
    return value


def _parsed(given: Any) -> Any:
    """What a text stands for, if it is JSON."""
    try:
        return json.loads(given) if isinstance(given, str) else given
    except ValueError:
        return given


def _alike(old: Any, value: Any) -> bool:
    """Whether the entries are of the same kinds, all the way down."""
    if isinstance(old, dict):
        return isinstance(value, dict) and value.keys() == old.keys() and all(_alike(old[k], value[k]) for k in old)
    if isinstance(old, list):
        return isinstance(value, list) and len(value) == len(old) and all(map(_alike, old, value))
    return _is_number(old) == _is_number(value) and isinstance(old, str) == isinstance(value, str)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _numbers(value: Any) -> Iterator[float]:
    if isinstance(value, bool):
        return
    if isinstance(value, int | float):
        yield float(value)
    elif isinstance(value, list | dict):
        for item in value.values() if isinstance(value, dict) else value:
            yield from _numbers(item)


@cache
def load_priors(domain: str, package: str = "populace") -> Priors:
    """Read `schemas/<domain>/priors.toml` of an installed package; every entry must name its source."""
    place = f"schemas/{domain}/priors.toml"
    raw = tomllib.loads((resources.files(package) / "schemas" / domain / "priors.toml").read_text("utf-8"))
    return read_priors(raw, place)


def read_priors(raw: dict[str, Any], place: str) -> Priors:
    """The priors in what a TOML file says; every entry must name its source, or UserError is raised with the place."""
    return Priors({p.name: p for p in _walk(raw, "", place)})


def _walk(node: dict[str, Any], path: str, place: str) -> Iterator[Prior]:
    for name, child in node.items():
        at = f"{path}.{name}" if path else name
        if not isinstance(child, dict):
            raise UserError(f"{place}: '{at}' stands outside a prior; a prior is a table with a 'value' and a 'source'")
        if "value" not in child:
            yield from _walk(child, at, place)
            continue
        if not child.get("source"):
            raise UserError(f"{place}: prior '{at}' names no source")
        limits = child.get("range")
        yield Prior(
            at,
            child["value"],
            child["source"],
            child.get("unit"),
            child.get("doc"),
            tuple(limits) if limits else None,
        )
