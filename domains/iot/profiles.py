"""Device profiles: what each kind of device is, measures and suffers, read from `schemas/iot/profiles/*.toml`.

One file is one profile; its name is the file's. A file says which kinds of site have such devices, how they sample, send, are powered and
fail, and for each channel its unit, range, resolution and signal model: a list of terms (see `terms.py`). Every part names its source:

    title = "Soil probe"
    sites = ["farm"]
    link = "radio"
    interval_s = 900
    source = "…"
    [power]
    supply = "battery"
    hours = 87600
    shape = 4.5
    source = "…"
    [reliability]
    hours = 1510000
    shape = 1.0
    source = "…"
    [[channels]]
    signal = "soil-moisture"
    title = "Volumetric water content of soil"
    unit = "m3/m3"
    low = 0.0
    high = 0.7
    resolution = 0.001
    accuracy = 0.03
    model = [{ term = "level", value = 0.25, spread = 0.05 }, { term = "ar", sigma = 0.01, memory = 86400.0 }]
    source = "…"
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from importlib.resources.abc import Traversable
from typing import Any

from ...core.errors import UserError, unknown
from .terms import TERMS

LINKS = ("radio", "wire", "cellular")
"""How a device reaches its site's gateway. A site has one gateway for each."""
SUPPLIES = ("mains", "battery", "rechargeable")
KINDS = ("gauge", "intermittent", "counter", "state", "position", "charge")
_NAME = re.compile(r"[a-z]+(-[a-z]+)*")


@dataclass(frozen=True)
class Power:
    supply: str
    hours: float | None
    """Hours that a full battery lasts: the scale of a Weibull law; none on mains."""
    shape: float | None
    charge_hours: float | None
    source: str


@dataclass(frozen=True)
class Reliability:
    hours: float
    """Scale of the Weibull law of a device's life, in hours of service."""
    shape: float
    degraded: float | None
    """Share of a life after which wear shows; none where there is none to see."""
    source: str


@dataclass(frozen=True)
class Duty:
    """Local hours [start, end) on which days a device is awake; or by the sun: awake while it is up, or while it is down."""

    start: float
    end: float
    days: str
    source: str


@dataclass(frozen=True)
class Channel:
    signal: str
    title: str
    unit: str
    """UCUM."""
    kind: str
    low: float
    high: float
    resolution: float
    accuracy: float | None
    rate: float | None
    """The greatest change in a second that is physical, in the unit."""
    rollover: float | None
    """Where a counter starts again from zero."""
    model: tuple[Mapping[str, Any], ...]
    source: str


@dataclass(frozen=True)
class Profile:
    name: str
    title: str
    sites: tuple[str, ...]
    link: str
    interval_s: float
    power: Power
    reliability: Reliability
    duty: Duty | None
    balance: tuple[Mapping[str, Any], ...]
    """Relations between channels that every set of readings meets: see `checks.balance`."""
    channels: tuple[Channel, ...]
    source: str

    def channel(self, signal: str) -> Channel:
        return next(c for c in self.channels if c.signal == signal)


def load_profiles(*folders: Traversable) -> dict[str, Profile]:
    """The profiles of the package and of further folders, by name, in order of name; a later folder's replaces one of the same name.

    Raises UserError that names the file and what is wrong in it.
    """
    found: dict[str, Profile] = {}
    for folder in (resources.files("populace") / "schemas" / "iot" / "profiles", *folders):
        for file in sorted(folder.iterdir(), key=lambda f: f.name):
            if file.name.endswith(".toml"):
                profile = read_profile(file.name.removesuffix(".toml"), file.read_text("utf-8"))
                found[profile.name] = profile
    return dict(sorted(found.items()))


def read_profile(name: str, text: str) -> Profile:
    """A profile from the text of its file. Raises UserError."""
    place = f"profile {name}"
    if not _NAME.fullmatch(name):
        raise UserError(f"{place}: a profile's name is lower-case words joined by hyphens")
    try:
        raw = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise UserError(f"{place}: {error}") from None
    top = _Table(raw, place)
    power, reliability = top.table("power"), top.table("reliability")
    supply = power.one_of("supply", SUPPLIES)
    duty = top.table("duty") if "duty" in raw else None
    channels = tuple(_channel(_Table(c, f"{place}, channel {n}")) for n, c in enumerate(top.get("channels", list)))
    names = [c.signal for c in channels]
    if not channels or len(channels) > 8 or len(set(names)) < len(names):
        raise UserError(
            f"{place}: has {len(channels)} channels ({', '.join(names)}), expected 1 to 8 of different signals"
        )
    profile = Profile(
        name,
        top.get("title", str),
        tuple(top.get("sites", list)),
        top.one_of("link", LINKS),
        top.number("interval_s", 0.001, 86_400),
        Power(
            supply,
            None if supply == "mains" else power.number("hours", 0.01, 1e7),
            None if supply == "mains" else power.number("shape", 0.1, 50),
            power.number("charge_hours", 0.01, 1000) if supply == "rechargeable" else None,
            power.get("source", str),
        ),
        Reliability(
            reliability.number("hours", 0.01, 1e9),
            reliability.number("shape", 0.1, 50),
            reliability.number("degraded", 0, 1) if "degraded" in reliability.raw else None,
            reliability.get("source", str),
        ),
        duty
        and Duty(
            duty.number("start", 0, 24) if duty.raw.get("days") not in ("sun-up", "sun-down") else 0.0,
            duty.number("end", 0, 24) if duty.raw.get("days") not in ("sun-up", "sun-down") else 0.0,
            duty.one_of("days", ("all", "weekdays", "sun-up", "sun-down")),
            duty.get("source", str),
        ),
        tuple(raw.get("balance", ())),
        channels,
        top.get("source", str),
    )
    _check_terms(profile, place)
    for table in (top, power, reliability, *([duty] if duty else [])):
        table.done()
    return profile


def _channel(t: _Table) -> Channel:
    found = Channel(
        t.get("signal", str),
        t.get("title", str),
        t.get("unit", str),
        t.one_of("kind", KINDS) if "kind" in t.raw else "gauge",
        t.number("low", -1e12, 1e12),
        t.number("high", -1e12, 1e12),
        t.number("resolution", 1e-9, 1e6),
        t.number("accuracy", 0, 1e9) if "accuracy" in t.raw else None,
        t.number("rate", 0, 1e12) if "rate" in t.raw else None,
        t.number("rollover", 0, 1e15) if "rollover" in t.raw else None,
        tuple(t.get("model", list)),
        t.get("source", str),
    )
    t.done()
    if not _NAME.fullmatch(found.signal):
        raise UserError(f"{t.place}: signal is '{found.signal}', expected lower-case words joined by hyphens")
    if not found.low < found.high:
        raise UserError(f"{t.place}: the range {found.low} to {found.high} is empty")
    if abs(1 / found.resolution - round(1 / found.resolution)) > 1e-6:
        raise UserError(f"{t.place}: resolution is {found.resolution}; one over it must be a whole number")
    return found


def _check_terms(profile: Profile, place: str) -> None:
    made: list[str] = []
    for channel in profile.channels:
        at = f"{place}, {channel.signal}"
        for term in channel.model:
            name = term.get("term")
            if name not in TERMS:
                raise unknown("term", name, TERMS, at)
            spec = TERMS[name].needs
            given = set(term) - {"term"}
            if missing := set(spec) - given:
                raise UserError(f"{at}: the term '{name}' needs {', '.join(sorted(missing))}")
            if extra := given - set(spec) - set(TERMS[name].may):
                raise unknown(f"setting of the term '{name}'", extra.pop(), [*spec, *TERMS[name].may], at)
            of = term.get("of", [])
            for other in [of] if isinstance(of, str) else of:
                if TERMS[name].channels and other not in made:
                    raise unknown("channel before it", other, made, at)
        made.append(channel.signal)


class _Table:
    """One table of a file: each entry is asked for once, and what nobody asked for is a mistake."""

    def __init__(self, raw: Mapping[str, Any], place: str) -> None:
        self.raw, self.place, self._known = raw, place, {"balance"}

    def get(self, name: str, kind: type) -> Any:
        self._known.add(name)
        if name not in self.raw:
            raise UserError(f"{self.place}: '{name}' is missing")
        if not isinstance(self.raw[name], kind) or (kind is str and not self.raw[name].strip()):
            raise UserError(f"{self.place}: {name} is {self.raw[name]!r}, expected a {kind.__name__}")
        return self.raw[name]

    def number(self, name: str, low: float, high: float) -> float:
        self._known.add(name)
        value = self.raw.get(name)
        if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
            raise UserError(f"{self.place}: {name} is {value!r}, expected a number from {low:g} to {high:g}")
        return float(value)

    def one_of(self, name: str, choices: Sequence[str]) -> str:
        value = self.get(name, str)
        if value not in choices:
            raise unknown(name, value, choices, self.place)
        return value

    def table(self, name: str) -> _Table:
        return _Table(self.get(name, dict), f"{self.place}, [{name}]")

    def done(self) -> None:
        if extra := set(self.raw) - self._known:
            raise unknown("entry", extra.pop(), self._known - {"balance"}, self.place)
