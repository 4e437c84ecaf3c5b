"""What the user asked for, as a value: from flags, from a TOML file, or from Python. Nothing is looked up here."""

from __future__ import annotations

import datetime as dt
import json
import re
import shlex
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .errors import UserError, unknown
from .scenario import ScenarioRequest, parse_request


@dataclass(frozen=True)
class Spec:
    domain: str
    size: int | None = None
    seed: int = 0
    start: str | None = None
    end: str | None = None
    scenarios: tuple[ScenarioRequest, ...] = ()
    settings: Mapping[str, Any] = field(default_factory=dict)
    models: Mapping[str, str] = field(default_factory=dict)
    inputs: Mapping[str, Any] = field(default_factory=dict)
    balance: float | None = None
    """Share of rows that scenarios shall label: cases are added to the base population until it is reached."""
    only: tuple[str, ...] = ()
    """The tables to make, where not all are wanted; or views, of which what they take is made."""


def read_requests(scenarios: Sequence[str | Mapping[str, Any]]) -> tuple[ScenarioRequest, ...]:
    """Scenarios as Python has them: a name, `"name:key=value"`, or a mapping with a `name`."""
    return tuple(
        parse_request(s)
        if isinstance(s, str)
        else ScenarioRequest(s["name"], {k: v for k, v in s.items() if k != "name"})
        for s in scenarios
    )


def as_command(spec: Spec, target: str) -> str:
    """The command line that makes a spec's dataset: one line, for a shell."""
    words = ["populace", "generate", spec.domain]
    for flag, value in (("size", spec.size), ("seed", spec.seed), ("start", spec.start), ("end", spec.end)):
        words += [f"--{flag}", str(value)] if value is not None else []
    for request in spec.scenarios:
        parameters = ",".join(f"{k}={v}" for k, v in request.parameters.items())
        words += ["--scenario", f"{request.name}:{parameters}" if parameters else request.name]
    for flag, settings in (("set", spec.settings), ("model", spec.models)):
        for name, value in settings.items():
            words += [f"--{flag}", f"{name}={value if isinstance(value, str) else json.dumps(value)}"]
    words += [f"--balance=label={spec.balance}"] if spec.balance is not None else []
    words += ["--only", ",".join(spec.only)] if spec.only else []
    for name, value in spec.inputs.items():
        words += [f"--{name}", value if isinstance(value, str) else ",".join(map(str, value))]
    return shlex.join([*words, "--to", target])


FILE_KEYS = {
    "domain": str, "size": int, "seed": int, "start": (str, dt.date), "end": (str, dt.date), "scenario": list,
    "set": dict, "models": dict, "inputs": dict, "balance": float, "only": list, "to": list, "format": str, "workers": int,
}  # fmt: skip


def read_spec_file(path: str | Path) -> dict[str, Any]:
    """The settings in a spec file, checked for form. Errors name the file and the line."""
    path = Path(path)
    try:
        text = path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"--spec {path}: cannot be read: {getattr(error, 'strerror', None) or error}") from None
    try:
        raw = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        line = re.search(r"line (\d+)", str(error))
        at = f"{path}:{line[1]}" if line else f"{path}:{text.count(chr(10)) + 1}"
        raise UserError(f"{at}: not valid TOML: {error}") from None
    for key, value in raw.items():
        at = f"{path}:{_line(text, key)}"
        if key not in FILE_KEYS:
            raise unknown("setting", key, FILE_KEYS, at)
        if not isinstance(value, FILE_KEYS[key]) or isinstance(value, bool):
            raise UserError(f"{at}: '{key}' is {value!r}, expected {_name(FILE_KEYS[key])}")
        if key in ("only", "to", "models"):
            for item in value.values() if isinstance(value, dict) else value:
                if not isinstance(item, str):
                    raise UserError(f"{at}: '{key}' holds {item!r}, expected texts")
        if isinstance(value, dt.date):
            raw[key] = value.isoformat()
    requests = []
    for n, entry in enumerate(raw.get("scenario", [])):
        at = f"{path}:{_line(text, 'scenario', n)}"
        if isinstance(entry, str):
            requests.append(parse_request(entry))
        elif isinstance(entry, dict) and isinstance(entry.get("name"), str):
            requests.append(ScenarioRequest(entry["name"], {k: v for k, v in entry.items() if k != "name"}))
        else:
            raise UserError(f"{at}: a scenario is a text or a table with a 'name', not {entry!r}")
    if "scenario" in raw:
        raw["scenario"] = requests
    raw["set"] = dict(_flatten(raw.get("set", {})))
    return raw


def parse_settings(items: Sequence[str], flag: str = "--set") -> dict[str, str]:
    """Read `NAME=VALUE` texts."""
    settings = {}
    for item in items:
        name, eq, value = item.partition("=")
        if not eq or not name.strip():
            raise UserError(f"{flag} {item}: expected NAME=VALUE")
        settings[name.strip()] = value.strip()
    return settings


def parse_balance(text: str) -> float:
    """Read `label=SHARE`."""
    name, _, share = text.partition("=")
    if name.strip() != "label":
        raise UserError(f"--balance {text}: expected label=SHARE")
    try:
        return float(share)
    except ValueError:
        raise UserError(f"--balance {text}: '{share}' is not a number") from None


def _flatten(node: Mapping[str, Any], path: str = "") -> Any:
    for key, value in node.items():
        at = f"{path}.{key}" if path else key
        if isinstance(value, dict):
            yield from _flatten(value, at)
        else:
            yield at, value


def _line(text: str, key: str, occurrence: int = 0) -> int:
    pattern = re.compile(rf"^\s*(\[\[?\s*)?[\"']?{re.escape(key)}\b")
    hits = [n for n, line in enumerate(text.splitlines(), 1) if pattern.match(line)]
    return hits[min(occurrence, len(hits) - 1)] if hits else 1


def _name(kind: Any) -> str:
    names = {str: "a text", int: "a whole number", list: "a list", dict: "a table"}
    return names.get(kind, "a date")
