"""A figure with its meaning: definition, source, range, direction and uncertainty come with the value, wherever it goes."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from importlib import resources
from typing import Any, Literal

import numpy as np

from ..errors import UserError, unknown


@dataclass(frozen=True)
class Definition:
    name: str
    title: str
    doc: str
    better: Literal["high", "low", "near"]
    source: str
    low: float | None = None
    high: float | None = None
    ideal: float | None = None
    bad: str = ""
    """What a bad value means."""

    @property
    def section(self) -> str:
        return self.name.partition(".")[0]


@dataclass(frozen=True)
class Metric:
    """One measured figure. `interval` is its 95 % interval; `floor` is what real data reach against real data, where that
    was measured; `detail` are rows for a reader (per column, pair or group), each a mapping of plain values."""

    name: str
    value: float
    interval: tuple[float, float] | None = None
    floor: float | None = None
    detail: tuple[Mapping[str, Any], ...] = ()
    note: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "value", float(self.value))
        if self.interval:
            low, high = self.definition.low, self.definition.high
            # an approximation may reach beyond what the figure can be
            cut = np.clip(self.interval, -np.inf if low is None else low, np.inf if high is None else high)
            object.__setattr__(self, "interval", (float(cut[0]), float(cut[1])))

    @property
    def definition(self) -> Definition:
        return definitions()[self.name]

    def plain(self) -> dict[str, Any]:
        """As JSON keeps it."""
        found: dict[str, Any] = {"value": _number(self.value)}
        if self.interval:
            found["interval"] = [_number(x) for x in self.interval]
        if self.floor is not None:
            found["real_against_real"] = _number(self.floor)
        if self.note:
            found["note"] = self.note
        if self.detail:
            found["detail"] = [{k: _number(v) for k, v in row.items()} for row in self.detail]
        return found


@dataclass(frozen=True)
class Requirement:
    """`fidelity.quality>=0.95`: a figure's name, a comparison and a bound."""

    metric: str
    sign: Literal[">=", "<=", ">", "<"]
    bound: float

    def met(self, value: float) -> bool:
        # a figure that is not a number meets nothing
        return {
            ">=": value >= self.bound,
            "<=": value <= self.bound,
            ">": value > self.bound,
            "<": value < self.bound,
        }[self.sign]

    def __str__(self) -> str:
        return f"{self.metric}{self.sign}{self.bound:g}"


def parse_requirements(text: str) -> tuple[Requirement, ...]:
    """Read `NAME>=NUMBER, NAME<=NUMBER`. Raises UserError for a figure that does not exist or a text of another form."""
    found = []
    for part in filter(None, (p.strip() for p in text.split(","))):
        match = re.fullmatch(r"([\w.]+)\s*(>=|<=|>|<)\s*([-+\d.eE]+)", part)
        try:
            if not match:
                raise ValueError(part)
            bound = float(match[3])
        except ValueError:
            raise UserError(f"--require: '{part}' is not FIGURE>=NUMBER or FIGURE<=NUMBER") from None
        if match[1] not in definitions():
            raise unknown("figure", match[1], definitions(), "--require")
        found.append(Requirement(match[1], match[2], bound))  # type: ignore[arg-type]
    return tuple(found)


@lru_cache
def definitions() -> Mapping[str, Definition]:
    """Every figure that can be measured, by name."""
    return {
        f"{section}.{name}": Definition(f"{section}.{name}", **entry)
        for section, entries in _file().items()
        if section != "uses"
        for name, entry in entries.items()
    }


@lru_cache
def uses(related: bool = False) -> Mapping[str, tuple[str, tuple[Requirement, ...]]]:
    """What each use needs: its title and its requirements; with `related`, those on relations between tables as well."""
    return {
        name: (
            use["title"],
            parse_requirements(", ".join(use["require"] + (use.get("related", []) if related else []))),
        )
        for name, use in _file()["uses"].items()
    }


def spread(values: Any) -> tuple[float, float]:
    """The 95 % interval of a mean of repeated, independent measurements (normal approximation)."""
    values = np.asarray(values, float)
    half = 1.96 * values.std(ddof=1) / np.sqrt(len(values)) if len(values) > 1 else 0.0
    return float(values.mean() - half), float(values.mean() + half)


def jackknife(value: float, left_out: Any) -> tuple[float, float]:
    """The 95 % interval of a figure from those with each of some equal groups of rows left out (Tukey 1958; grouped)."""
    each = np.asarray(left_out, float)
    each = each[np.isfinite(each)]
    if not len(each):
        return value, value
    half = 1.96 * np.sqrt((len(each) - 1) / len(each) * ((each - each.mean()) ** 2).sum())
    return float(value - half), float(value + half)


def proportion(hits: float, n: int) -> tuple[float, float]:
    """Wilson's 95 % interval of a share (Wilson 1927, Journal of the American Statistical Association 22:209-212)."""
    if not n:
        return 0.0, 1.0
    z, p = 1.96, hits / n
    middle, half = p + z * z / (2 * n), z * np.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    return float((middle - half) / (1 + z * z / n)), float((middle + half) / (1 + z * z / n))


@lru_cache
def _file() -> dict[str, Any]:
    return tomllib.loads(
        resources.files(__package__ or "populace.core.evaluate").joinpath("metrics.toml").read_text("utf-8")
    )


def _number(value: Any) -> Any:
    if isinstance(value, (float, np.floating)):
        return round(float(value), 6) if np.isfinite(value) else None
    return int(value) if isinstance(value, np.integer) else value
