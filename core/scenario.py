"""Scenarios are cast, not sampled. A scenario file names roles, a script, parameters, the constraints it deliberately
breaks and what must hold of the rows it labels. Read from `scenarios/<domain>/<name>.toml`; the file name is its name.

    title = "Mule ring"
    doc = "…"
    source = "…"
    script = "motif"                    # a function in the domain's scripts
    arguments = {}                      # what the script is told; a text that is a parameter's name stands for its value
    breaks = []                         # names of checks that some labelled rows must violate
    may_break = []                      # and of such as they violate with some parameters
    count = 1                           # instances, unless the user says count= or rate=

    [roles.mule]
    table = "account"
    where = "type = 'current'"          # SQL predicate over the role's table
    size = "hops"                       # members per instance: a number or a parameter's name
    apart = true                        # all members in different units (customers, patients, sites)

    [parameters.hops]
    type = "int"                        # int, float, text, bool, date
    default = 6
    min = 4
    max = 12
    doc = "…"

    [match]                             # what else the domain's tests and checks read (optional)

    [[expect]]
    table = "transaction"
    effect = "hop"                      # which labelled rows (optional: role, effect)
    sql = "channel = 'transfer'"        # what must hold of each of them
    doc = "…"
"""

from __future__ import annotations

import datetime as dt
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import resources
from typing import Any, Literal

import numpy as np

from .errors import UserError, unknown
from .schema import Schema
from .stream import U64, Stream, join_rows
from .tables import Table, Tables, alike, put

PARAMETER_TYPES: dict[str, type] = {
    "int": int,
    "float": float,
    "text": str,
    "bool": bool,
    "date": dt.date,
    "code": str,
    "codes": str,
    "values": str,
}
"""`code` is one of a column's codes, `codes` several of them with commas between, `values` several with a number each: `8867-4=120, 8480-6=90`."""
RESERVED = ("count", "rate", "from")
"""Parameters that every scenario has."""


@dataclass(frozen=True)
class Parameter:
    name: str
    type: str
    default: Any
    doc: str
    min: Any = None
    max: Any = None
    choices: tuple[Any, ...] = ()
    column: str = ""
    """`table.column`, whose codes a `code`, `codes` or `values` takes."""


@dataclass(frozen=True)
class Role:
    name: str
    table: str
    where: str = "true"
    """SQL over the table, as in `Expect`."""
    size: int | str = 1
    apart: bool = False


@dataclass(frozen=True)
class Expect:
    table: str
    sql: str
    """A parameter's name in braces stands for its value."""
    doc: str
    role: str | None = None
    effect: str | None = None


_NAMED = re.compile(r"\{(\w+)\}")


def with_values(sql: str, parameters: Mapping[str, Any]) -> str:
    """SQL with parameters' values in place of their names in braces."""
    return _NAMED.sub(lambda found: _literal(parameters[found[1]]), sql)


def _literal(value: Any) -> str:
    """A parameter's value in SQL."""
    if isinstance(value, bool):
        return str(value).upper()
    if isinstance(value, int | float):
        return repr(value)
    text = "'" + str(value).replace("'", "''") + "'"
    return f"CAST({text} AS DATE)" if isinstance(value, dt.date) else text


@dataclass(frozen=True)
class Scenario:
    name: str
    domain: str
    title: str
    doc: str
    source: str
    script: str
    roles: tuple[Role, ...]
    parameters: Mapping[str, Parameter]
    breaks: tuple[str, ...] = ()
    expect: tuple[Expect, ...] = ()
    count: int = 1
    arguments: Mapping[str, Any] = field(default_factory=dict)
    """What the script reads besides its parameters: the domain says what it means."""
    may_break: tuple[str, ...] = ()
    match: Mapping[str, Any] = field(default_factory=dict)
    """How a matcher that sees no label would find an instance: the domain says what it means."""

    @property
    def excused(self) -> tuple[str, ...]:
        """The checks that its rows may violate, whether or not they must."""
        return (*self.breaks, *self.may_break)


@dataclass(frozen=True)
class Use:
    """A scenario as the user asked for it: parameters resolved, number of instances known."""

    scenario: Scenario
    parameters: Mapping[str, Any]
    count: int
    occurrence: int = 0
    since: int | None = None
    """Its instances begin at this instant or later, microseconds since 1970."""

    @property
    def path(self) -> tuple[str | int, ...]:
        return ("scenario", self.scenario.name, self.occurrence)

    def size(self, role: Role) -> int:
        return role.size if isinstance(role.size, int) else int(self.parameters[role.size])


@dataclass(frozen=True)
class Edit:
    """What a script does to one table's facts.

    `rows` always has `instance` (int), `role` and `effect` (text) and `ROW`. "insert": also the table's fact columns (an
    absent one is null). "update": also the columns to replace, with their new values; `ROW` says which rows.
    "remove": nothing more.
    """

    action: Literal["insert", "update", "remove"]
    table: str
    rows: Table


@dataclass(frozen=True)
class Scene:
    """All a script sees. `cast[role]` holds the members of every instance that concerns this block, also those that
    live in other blocks: columns `instance`, `member`, `unit`, then the role's table's columns. A script is a pure function
    of it, so every block plays the same scene; the core keeps the rows that the block owns."""

    use: Use
    cast: Mapping[str, Table]
    tables: Tables
    block: Any
    stream: Stream

    def __getitem__(self, parameter: str) -> Any:
        """A parameter's value; where the scenario has no such parameter, what its file fixes in that place."""
        return {**self.use.scenario.arguments, **self.use.parameters}[parameter]

    def get(self, parameter: str, otherwise: Any) -> Any:
        return {**self.use.scenario.arguments, **self.use.parameters}.get(parameter, otherwise)

    @property
    def arguments(self) -> dict[str, Any]:
        """The scenario's arguments, with each parameter's value in place of its name."""
        return {name: _filled(value, self.use.parameters) for name, value in self.use.scenario.arguments.items()}

    def address(self, kind: str, instance: Any, n: Any) -> U64:
        """Row addresses for inserted rows: the n-th row of a kind in an instance, the same in every block."""
        return self.stream.child(kind).bits(join_rows(np.asarray(instance), np.asarray(n))) | np.uint64(1 << 63)

    def edit(
        self, action: Literal["insert", "update", "remove"], table: str, rows: Table, role: str, effect: str
    ) -> Edit:
        """An edit whose rows all have one role and one effect."""
        words = (alike(role, rows.height, "role"), alike(effect, rows.height, "effect"))
        return Edit(action, table, put(rows, *words))


@dataclass(frozen=True)
class ScenarioRequest:
    """A scenario as it was written down, not yet looked up: name and raw parameters."""

    name: str
    parameters: Mapping[str, Any] = field(default_factory=dict)


def parse_request(text: str) -> ScenarioRequest:
    """Read `NAME` or `NAME:key=value,key=value`."""
    name, _, rest = text.partition(":")
    parameters: dict[str, Any] = {}
    for part in filter(None, rest.split(",")):
        key, eq, value = part.partition("=")
        if not eq:
            raise UserError(f"--scenario {text}: '{part}' is not key=value")
        parameters[key.strip()] = value.strip()
    return ScenarioRequest(name.strip(), parameters)


def said_of(known: Mapping[str, Scenario]) -> dict[str, str]:
    """What the files of scenarios say of them in words."""
    return {name: f"{s.title} {s.doc} {s.source}" for name, s in known.items()}


def resolve(request: ScenarioRequest, known: Mapping[str, Scenario], size: int, occurrence: int) -> Use:
    """Look the scenario up and read its parameters. `count`, `rate` (instances per root entity) and `from` (an instant, or the day that begins with it)
    exist for all."""
    if request.name not in known:
        raise unknown("scenario", request.name, known, about=said_of(known))
    scenario = known[request.name]
    place = f"scenario {scenario.name}"
    values = {p.name: p.default for p in scenario.parameters.values()}
    count, since = scenario.count, None
    if "count" in request.parameters and "rate" in request.parameters:
        raise UserError(f"{place}: give count or rate, not both")
    for key, raw in request.parameters.items():
        if key == "count":
            count = _read(Parameter("count", "int", 1, "", min=1, max=10**9), raw, place)
        elif key == "rate":
            rate = _read(Parameter("rate", "float", 0.0, "", min=0.0, max=1.0), raw, place)
            count = max(1, round(rate * size))
        elif key == "from":
            since = _instant(raw, place)
        elif key in scenario.parameters:
            values[key] = _read(scenario.parameters[key], raw, place)
        else:
            raise unknown("parameter", key, [*scenario.parameters, "count", "rate", "from"], place)
    return Use(scenario, values, count, occurrence, since)


def _instant(raw: Any, place: str) -> int:
    try:
        moment = dt.datetime.fromisoformat(str(raw))
    except ValueError:
        raise UserError(
            f"{place}: from is {raw!r}, expected a day or an instant, such as 2025-01-31T12:00:00Z"
        ) from None
    moment = moment.replace(tzinfo=dt.UTC) if moment.tzinfo is None else moment
    return (moment - dt.datetime(1970, 1, 1, tzinfo=dt.UTC)) // dt.timedelta(microseconds=1)


def _read(parameter: Parameter, raw: Any, place: str) -> Any:
    kind = PARAMETER_TYPES[parameter.type]
    bad = UserError(f"{place}: {parameter.name} is {raw!r}, expected {parameter.type}")
    value = raw
    if isinstance(raw, str) and kind is not str:
        try:
            if kind is bool:
                value = {"true": True, "false": False}[raw.lower()]
            else:
                value = dt.date.fromisoformat(raw) if kind is dt.date else kind(raw)
        except (ValueError, KeyError):
            raise bad from None
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        value = float(value)
    if type(value) is not kind:
        raise bad
    if isinstance(value, float) and not np.isfinite(value):
        raise bad
    if parameter.choices and value not in parameter.choices:
        raise unknown(parameter.name, value, [str(c) for c in parameter.choices], place)
    low, high = parameter.min, parameter.max
    if (low is not None and value < low) or (high is not None and value > high):
        raise UserError(f"{place}: {parameter.name} is {raw}, outside its range {low} to {high}")
    return value


def listed(text: str) -> list[str]:
    """The items of a parameter that holds several: commas between them."""
    return [item.strip() for item in text.split(",") if item.strip()]


def check_codes(use: Use, schema: Schema) -> None:
    """Raise UserError where a parameter names a code that its column does not have. One that is empty by default may be empty."""
    for p in use.scenario.parameters.values():
        if p.type not in ("code", "codes", "values") or (
            p.type == "code" and use.parameters[p.name] == p.default == ""
        ):
            continue
        table, _, column = p.column.partition(".")
        known, place = schema[table].columns[column].codes, f"scenario {use.scenario.name}: {p.name}"
        for item in [use.parameters[p.name]] if p.type == "code" else listed(use.parameters[p.name]):
            code, _, number = item.partition("=") if p.type == "values" else (item, "", "")
            if code not in known:
                raise unknown(f"code of {p.column}", code, known, place)
            if p.type == "values" and not _is_finite(number):
                raise UserError(f"{place}: '{item}' is not CODE=NUMBER, such as {code}=1.5")


def _is_finite(text: str) -> bool:
    try:
        return bool(np.isfinite(float(text)))
    except ValueError:
        return False


def _filled(value: Any, parameters: Mapping[str, Any]) -> Any:
    if isinstance(value, Mapping):
        return {name: _filled(part, parameters) for name, part in value.items()}
    if isinstance(value, list):
        return [_filled(part, parameters) for part in value]
    return parameters.get(value, value) if isinstance(value, str) else value


def load_scenarios(domain: str, package: str = "populace") -> dict[str, Scenario]:
    """Every scenario file of a domain, by name."""
    folder = resources.files(package) / "scenarios" / domain
    files = sorted((f for f in folder.iterdir() if f.name.endswith(".toml")), key=lambda f: f.name)
    return {s.name: s for s in (_load(f.name[:-5], domain, f.read_text("utf-8")) for f in files)}


def _load(name: str, domain: str, text: str) -> Scenario:
    raw = tomllib.loads(text)
    place = f"scenarios/{domain}/{name}.toml"
    allowed = {
        "title",
        "doc",
        "source",
        "script",
        "roles",
        "parameters",
        "breaks",
        "expect",
        "count",
        "arguments",
        "may_break",
        "match",
    }
    for key in raw.keys() - allowed:
        raise unknown("setting", key, allowed, place)
    parameters = {
        n: Parameter(n, **{**p, "choices": tuple(p.get("choices", ()))}) for n, p in raw.get("parameters", {}).items()
    }
    if taken := parameters.keys() & {*RESERVED}:
        raise ValueError(f"{place}: every scenario has a parameter {min(taken)}; give its own another name")
    expects = tuple(Expect(**e) for e in raw.get("expect", ()))
    roles = tuple(Role(n, **r) for n, r in raw["roles"].items())
    for sql in (*(r.where for r in roles), *(e.sql for e in expects)):
        for named in _NAMED.findall(sql):
            if named not in parameters:
                raise unknown("parameter", named, parameters, f"{place}: {sql}")
    return Scenario(
        name,
        domain,
        raw["title"],
        raw["doc"],
        raw["source"],
        raw["script"],
        roles,
        parameters,
        tuple(raw.get("breaks", ())),
        expects,
        raw.get("count", 1),
        raw.get("arguments", {}),
        tuple(raw.get("may_break", ())),
        raw.get("match", {}),
    )
