"""Device profiles: what each kind of device is, measures and suffers, read from `schemas/iot/profiles/*.toml`.

One file is one profile; its name is the file's. A file says which kinds of site have such devices, how they sample, send, are powered and
fail, and for each channel its unit, range, resolution and signal model: a list of terms (see `terms.py`). Every part names its source:

    title = "Soil probe"
    sites = ["farm"]            # none ([]): only where device.profiles names it
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
    [[balance]]                 # what every set of readings meets; any number of them
    relation = "product"        # or "sum", or "integral" (over the seconds between readings, of one channel)
    of = ["voltage", "current"]
    equals = "active-power"
    factor = 1.0
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

A channel may be learnt from a real series instead: `{ term = "learned", model = "pump.model", column = "Current" }`, where the file beside the
profile comes of `populace fit --model series`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from importlib.resources.abc import Traversable
from math import isfinite
from pathlib import Path
from typing import Any

from ...core.errors import UserError, unknown
from ...core.schema import load_schema
from .climate import DRIVERS
from .gauges import AWAKE
from .profile_file import Entries, read_file
from .terms import TERMS

LINKS = ("radio", "wire", "cellular")
"""How a device reaches its site's gateway. A site has one gateway for each."""
SUPPLIES = ("mains", "battery", "rechargeable")
_SCHEMA = load_schema("iot")
SITES = _SCHEMA["site"].columns["kind"].codes
KINDS = _SCHEMA["channel"].columns["kind"].codes
DAYS = ("all", "weekdays", "sun-up", "sun-down")
RELATIONS = ("product", "sum", "integral")
MOST_FILES, MOST_BYTES = 500, 1 << 20
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

    Raises UserError that names the file, the line and the key of what is wrong, with the nearest that would be right.
    """
    found: dict[str, Profile] = {}
    own = resources.files("populace") / "schemas" / "iot" / "profiles"
    for folder in (own, *folders):
        files = sorted((f for f in folder.iterdir() if f.name.endswith(".toml")), key=lambda f: f.name)
        if folder is not own and not files:
            raise UserError(f"--profiles {folder}: holds no profile: a file NAME.toml each")
        if len(files) > MOST_FILES:
            raise UserError(f"--profiles {folder}: holds {len(files):,} profiles, at most {MOST_FILES} are read")
        for file in files:
            place = file.name if folder is own else str(file)
            beside = None if folder is own else Path(str(folder))
            profile = read_profile(file.name.removesuffix(".toml"), _text(file, place), place, beside)
            found[profile.name] = profile
    return dict(sorted(found.items()))


def read_profile(name: str, text: str, place: str = "", folder: Path | None = None) -> Profile:
    """A profile from the text of its file, which stands at `place`; its fitted models are files in `folder`. Raises UserError."""
    place = place or f"{name}.toml"
    if not _NAME.fullmatch(name):
        raise UserError(f"{place}: a profile's name is lower-case words joined by hyphens, not '{name}'")
    top = read_file(place, text)
    power, reliability = top.table("power"), top.table("reliability")
    supply = power.one_of("supply", SUPPLIES)
    duty = top.table("duty") if "duty" in top.raw else None
    listed, rules = top.tables("channels"), top.tables("balance")
    _load_models(listed, folder)
    channels = tuple(_channel(c) for c in listed)
    names = [c.signal for c in channels]
    if not channels or len(channels) > 8 or len(set(names)) < len(names):
        raise UserError(
            f"{top.where('channels')}: has {len(channels)} channels ({', '.join(names)}), expected 1 to 8 of different signals"
        )
    profile = Profile(
        name,
        top.get("title", str),
        top.all_of("sites", SITES) if top.raw.get("sites") != [] else top.none("sites"),
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
            reliability.perhaps("degraded", 0, 1),
            reliability.get("source", str),
        ),
        _duty(duty) if duty else None,
        tuple(_balance(rule, names) for rule in rules),
        channels,
        top.get("source", str),
    )
    _check_terms(listed)
    for table in (top, power, reliability, *([duty] if duty else []), *rules, *listed):
        table.done()
    return profile


def _text(file: Traversable, place: str) -> str:
    try:
        content = file.read_bytes()
        if len(content) > MOST_BYTES:
            raise UserError(f"{place}: is larger than {MOST_BYTES:,} bytes")
        return content.decode("utf-8")
    except OSError as error:
        raise UserError(f"{place}: cannot be read: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise UserError(f"{place}: is not UTF-8 at byte {error.start}") from None


def _duty(t: Entries) -> Duty:
    days = t.one_of("days", DAYS)
    by_sun = days.startswith("sun")
    start, end = (0.0 if by_sun else t.number(key, 0, 24) for key in ("start", "end"))
    return Duty(start, end, days, t.get("source", str))


def _balance(t: Entries, names: list[str]) -> Mapping[str, Any]:
    relation = t.one_of("relation", RELATIONS)
    if relation == "integral":
        t.one_of("of", names)
    else:
        t.all_of("of", names)
    t.one_of("equals", names)
    t.number("factor", -1e12, 1e12)
    return t.raw


def _channel(t: Entries) -> Channel:
    found = Channel(
        t.get("signal", str),
        t.get("title", str),
        t.get("unit", str),
        t.one_of("kind", KINDS) if "kind" in t.raw else "gauge",
        t.number("low", -1e12, 1e12),
        t.number("high", -1e12, 1e12),
        t.number("resolution", 1e-9, 1e6),
        t.perhaps("accuracy", 0, 1e9),
        t.perhaps("rate", 0, 1e12),
        t.perhaps("rollover", 0, 1e15),
        tuple(t.get("model", list)),
        t.get("source", str),
    )
    if not _NAME.fullmatch(found.signal):
        raise UserError(f"{t.where('signal')}: signal is '{found.signal}', expected lower-case words joined by hyphens")
    if not found.low < found.high:
        raise UserError(f"{t.where('high')}: the range {found.low} to {found.high} is empty")
    if abs(1 / found.resolution - round(1 / found.resolution)) > 1e-6:
        raise UserError(
            f"{t.where('resolution')}: resolution is {found.resolution}; one over it must be a whole number"
        )
    return found


def _check_terms(channels: list[Entries]) -> None:
    made: list[str] = []
    for channel in channels:
        for n, term in enumerate(channel.raw["model"]):
            at = channel.where_term(n)
            if not isinstance(term, dict):
                raise UserError(f"{at}: {term!r}, expected a term: {{ term = …, … }}")
            name = term.get("term")
            if name not in TERMS:
                raise unknown("term", name, TERMS, at)
            known = (*TERMS[name].needs, *TERMS[name].may)
            given = [key for key in term if key not in ("term", "sampler")]
            for key in given:
                if key not in known:
                    raise unknown(f"setting of the term '{name}'", key, known, at)
            if missing := sorted(set(TERMS[name].needs) - set(given)):
                raise UserError(f"{at}: the term '{name}' needs {', '.join(missing)}")
            for key in () if name == "learned" else given:
                _check_setting(f"{at}, {key}", name, key, term[key])
            of = term.get("of", [])
            for other in [of] if isinstance(of, str) else of:
                if TERMS[name].channels and other not in made:
                    raise unknown("channel before it", other, made, at)
        made.append(channel.raw["signal"])


def _load_models(channels: list[Entries], folder: Path | None) -> None:
    """Put the fitted series into the terms that draw from one: as `sampler`, each file read once."""
    from ...core.models import load_model
    from ...core.samplers.statistical.series import SeriesModel

    known: dict[str, SeriesModel] = {}
    for channel in channels:
        for n, term in enumerate(channel.get("model", list)):
            if not isinstance(term, dict) or term.get("term") != "learned" or not {"model", "column"} <= set(term):
                continue
            at, name = channel.where_term(n), term["model"]
            if folder is None or not isinstance(name, str) or Path(name).name != name:
                raise UserError(f"{at}: model is {name!r}, expected the name of a file beside the profile")
            if name not in known:
                model = load_model(folder / name)
                if not isinstance(model.sampler, SeriesModel):
                    raise UserError(f"{at}: {name} is a model of kind '{model.name}', expected one of 'series'")
                known[name] = model.sampler
            columns = known[name].columns[1:]
            if term["column"] not in columns:
                raise unknown("column", term["column"], columns, f"{at}, {name}")
            term["sampler"] = known[name]


_TEXTS = {("weather", "of"): DRIVERS, ("toggle", "of"): DRIVERS, ("hours", "days"): ("all", "weekdays"),
          ("state", "state"): AWAKE, ("cycle", "of"): ("current", "charge"),
          ("position", "axis"): ("latitude", "longitude", "speed")}  # fmt: skip


def _check_setting(at: str, term: str, key: str, value: Any) -> None:
    """Raises UserError for a setting of the wrong kind: text where a number is wanted, or a word that is not one."""
    if (term, key) in _TEXTS:
        if value not in _TEXTS[term, key]:
            raise unknown(key, value, _TEXTS[term, key], at)
    elif key in ("x", "y"):
        if not isinstance(value, list) or not all(isinstance(v, int | float) for v in value):
            raise UserError(f"{at}: is {value!r}, expected a list of numbers")
    elif key != "of" and (not isinstance(value, int | float) or (isinstance(value, float) and not isfinite(value))):
        raise UserError(f"{at}: is {value!r}, expected a number")
