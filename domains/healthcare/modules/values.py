"""What a module says, as values: codes, amounts, conditions, transitions, states."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

MILLISECOND = 1_000
SECOND, MINUTE, HOUR, DAY = 1_000_000, 60_000_000, 3_600_000_000, 86_400_000_000
YEAR = 365.25 * DAY

UNITS: Mapping[str, float] = {
    "decades": 10 * YEAR,
    "years": YEAR,
    "months": YEAR / 12,
    "weeks": 7.0 * DAY,
    "days": float(DAY),
    "hours": float(HOUR),
    "minutes": float(MINUTE),
    "seconds": float(SECOND),
    "milliseconds": float(MILLISECOND),
}
"""Microseconds in each unit of time. A year is 365.25 days, a month its twelfth."""


KNOWN = "Known"
"""The type of the one state that no file can have: it tells modules of the diagnoses that the population has without them."""


@dataclass(frozen=True)
class Code:
    system: str
    code: str
    display: str
    value_set: str | None = None


@dataclass(frozen=True)
class Series:
    """Numbers at equal steps of `period` seconds: one value of an attribute."""

    numbers: tuple[float, ...]
    period: float


@dataclass(frozen=True)
class Amount:
    """A random quantity. `kind` is EXACT (`value`), UNIFORM (`low`, `high`), GAUSSIAN (`mean`, `standardDeviation`, clamped to
    `min` and `max`), EXPONENTIAL (1 + an exponential of `mean`) or TRIANGULAR (`min`, `mode`, `max`)."""

    kind: str
    parameters: Mapping[str, float]
    unit: str = ""
    round: bool = False
    decimals: int | None = None
    whole: bool = False
    """Of a time: the sample is cut to a whole number of units (delays of version 2)."""


@dataclass(frozen=True)
class Logic:
    """A condition: `kind` is its condition_type, `has` its fields, `parts` the conditions that it joins."""

    kind: str
    has: Mapping[str, Any] = field(default_factory=dict)
    parts: tuple[Logic, ...] = ()

    def walk(self) -> Iterator[Logic]:
        yield self
        for part in self.parts:
            yield from part.walk()


@dataclass(frozen=True)
class Share:
    """A probability that a patient's attribute holds, and what holds where it is unset."""

    attribute: str
    default: float


@dataclass(frozen=True)
class Option:
    """One way out: to `target`, or by `spread` to several; chosen by `weight` or where `when` holds."""

    target: str | None
    weight: float | Share | None = None
    when: Logic | None = None
    spread: tuple[Option, ...] = ()


@dataclass(frozen=True)
class Transition:
    """`kind` is direct, distributed, conditional, complex, lookup_table or type_of_care."""

    kind: str
    options: tuple[Option, ...]
    table: str | None = None

    @property
    def targets(self) -> tuple[str, ...]:
        every = [o.target for o in self.options] + [s.target for o in self.options for s in o.spread]
        return tuple(dict.fromkeys(t for t in every if t is not None))


@dataclass(frozen=True)
class State:
    """`kind` is the state's type; `has` its fields, parsed; a Terminal has no transition."""

    name: str
    kind: str
    has: Mapping[str, Any]
    transition: Transition | None
    line: int = 0
    remarks: tuple[str, ...] = ()

    def get(self, name: str, default: Any = None) -> Any:
        return self.has.get(name, default)

    def logic(self) -> Iterator[Logic]:
        """Every condition that the state reads, itself or on its way out."""
        if "allow" in self.has:
            yield self.has["allow"]
        if self.transition:
            yield from (o.when for o in self.transition.options if o.when is not None)


@dataclass(frozen=True)
class Module:
    """One file: a top-level module or a submodule. `path` is its name for CallSubmodule: the file's, without `.json`."""

    path: str
    name: str
    states: Mapping[str, State]
    remarks: tuple[str, ...] = ()
    specialty: str | None = None
