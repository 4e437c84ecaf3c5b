"""SenML and line protocol read back from a folder: what a subscriber or a database stored, judged by the forms' own rules and by the profiles."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from ....core.checks import VIOLATION, violations
from ....core.tables import Table
from ..profiles import Channel, Profile
from .documents import SENML_UNITS

Profiles = Mapping[str, Profile]
SENML_RULES = (
    "senml.pack",
    "senml.record",
    "senml.channel",
    "senml.unit",
    "senml.scale",
    "senml.repeated",
    "senml.lost",
)
INFLUX_RULES = ("influx.line", "influx.channel", "influx.scale", "influx.repeated", "influx.lost")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9\-:./_]*")
"""RFC 8428, section 4.5.1."""
_URN = re.compile(r"urn:dev:ops:32473-([a-z.]+)-[0-9]{9,}_([a-z.]+)")
_VALUES = {"v": (int, float), "vs": (str,), "vb": (bool,), "vd": (str,)}
_LINE = r"^((?:[^,= \\]|\\.)+),site=(\d+),device=(\d+) ((?:[^,= \\]|\\.)+)=(-?\d+(?:\.\d+)?(?:[eE][-+]?\d+)?) (-?\d+)$"
_LIMIT = 1_000
"""Of each fault no more are told."""


def recognises_senml(folder: Path) -> bool:
    """Whether the folder holds `reading.ndjson` that begins with a pack."""
    file = folder / "reading.ndjson"
    return file.is_file() and file.open("rb").read(1) == b"["


def recognises_influx(folder: Path) -> bool:
    """Whether the folder holds `reading.lp`."""
    return (folder / "reading.lp").is_file()


def check_senml(profiles: Profiles, folder: Path) -> Table:
    """Every fault of the packs: columns check, table (the file), row_key (the line, from 1), detail."""
    found: dict[str, list[tuple[int, str]]] = {rule: [] for rule in SENML_RULES}
    channels = {
        (p.name.replace("-", "."), c.signal.replace("-", ".")): c for p in profiles.values() for c in p.channels
    }
    seen, count = set[tuple[str, float]](), 0
    with (folder / "reading.ndjson").open(encoding="utf-8", errors="replace") as lines:
        for n, line in enumerate(lines, 1):
            try:
                pack = json.loads(line)
            except ValueError as error:
                found["senml.pack"].append((n, f"is not JSON: {error}"))
                continue
            if not isinstance(pack, list) or not pack or not all(isinstance(r, dict) for r in pack):
                found["senml.pack"].append((n, "is not an array of records"))
                continue
            for name, at, record in _resolved(pack):
                count += 1
                for rule, detail in _record_faults(name, at, record, channels):
                    found[rule].append((n, detail))
                if (name, at) in seen:
                    found["senml.repeated"].append((n, f"{name} has a record of {at} already"))
                seen.add((name, at))
    stated = _stated(folder)
    if stated is not None and count < stated:
        found["senml.lost"].append((0, f"the manifest states {stated} readings, found {count} records"))
    return _told(found, "reading.ndjson")


def _resolved(pack: Iterable[dict[str, Any]]) -> Iterator[tuple[str, Any, dict[str, Any]]]:
    """The records of a pack with whole names and times: base values hold from the record on that has them (RFC 8428, section 4.6)."""
    name, time, unit = "", 0.0, None
    for record in pack:
        name, time, unit = record.get("bn", name), record.get("bt", time), record.get("bu", unit)
        own = record.get("t", 0.0)
        whole = time + own if isinstance(time, int | float) and isinstance(own, int | float) else None
        yield f"{name}{record.get('n', '')}", whole, {"u": unit, **record}


def _record_faults(
    name: str, at: Any, record: dict[str, Any], channels: Mapping[tuple[str, str], Channel]
) -> Iterator[tuple[str, str]]:
    if not _NAME.fullmatch(name):
        yield "senml.record", f"'{name}' is not a name"
    if at is None:
        yield "senml.record", f"{name}: a time that is no number"
    if unknown := [key for key in record if key.endswith("_")]:
        yield "senml.record", f"{name}: must be understood, and is not: {unknown[0]}"
    given = [key for key in _VALUES if key in record]
    if len(given) != 1 and not ("s" in record and not given):
        yield "senml.record", f"{name}: has {len(given)} values, expected one"
        return
    match = _URN.fullmatch(name)
    channel = channels.get((match[1], match[2])) if match else None
    if channel is None:
        yield "senml.channel", f"{name}: no profile has this channel"
        return
    if record["u"] != (unit := SENML_UNITS.get(channel.unit)):
        yield "senml.unit", f"{name}: is in {record['u']}, expected {unit}"
    value = record.get("v")
    if isinstance(value, bool) or not isinstance(value, int | float):
        yield "senml.record", f"{name}: {value!r} is no number"
    elif detail := _off(channel, value):
        yield "senml.scale", f"{name}: {detail}"


def _off(channel: Channel, value: float) -> str:
    if not channel.low <= value <= channel.high:
        return f"{value} is outside {channel.low} to {channel.high}"
    steps = float(round(1 / channel.resolution))
    return "" if round(value * steps) / steps == value else f"{value} is not a multiple of {channel.resolution}"


def check_influx(profiles: Profiles, folder: Path) -> Table:
    """Every fault of the lines: columns check, table (the file), row_key (the line, from 1), detail."""
    text = pl.Series(
        "text",
        (folder / "reading.lp").read_bytes().decode("utf-8", "replace").removesuffix("\n").split("\n"),
        pl.String,
    )
    names = ["profile", "site", "device", "signal", "value", "at"]
    parts = text.str.extract_groups(_LINE).struct.rename_fields(names).struct.unnest()
    parts = parts.with_columns(
        line=pl.int_range(1, pl.len() + 1), value=pl.col("value").cast(pl.Float64), at=pl.col("at").cast(pl.Int64)
    )
    whole = parts.drop_nulls()
    rows = [
        (p.name, c.signal, c.low, c.high, float(round(1 / c.resolution))) for p in profiles.values() for c in p.channels
    ]
    known = pl.DataFrame(rows, schema=["profile", "signal", "low", "high", "steps"], orient="row")
    judged = whole.join(known, on=["profile", "signal"], how="left", maintain_order="left")
    value, steps = judged["value"].to_numpy(), judged["steps"].fill_null(1.0).to_numpy()
    off = (np.rint(value * steps) / steps != value) & judged["steps"].is_not_null().to_numpy()
    off |= ((judged["value"] < judged["low"]) | (judged["value"] > judged["high"])).fill_null(False).to_numpy()
    again = whole.select("profile", "site", "device", "signal", "at").is_duplicated()
    again &= ~whole.select(pl.struct("profile", "site", "device", "signal", "at").is_first_distinct()).to_series()
    faults = {
        "influx.line": (
            parts.filter(pl.col("at").is_null())["line"],
            "is not a line of one field, with site, device and time",
        ),
        "influx.channel": (judged.filter(pl.col("steps").is_null())["line"], "no profile has this field"),
        "influx.scale": (judged.filter(pl.Series(off))["line"], "outside its channel's range, or off its resolution"),
        "influx.repeated": (whole.filter(again)["line"], "a second line for the same field and time"),
    }
    found = [violations(rule, "reading.lp", lines, detail) for rule, (lines, detail) in faults.items()]
    stated = _stated(folder)
    # what is no number has no line: only a scenario can have made it so
    if stated is not None and len(text) < stated - _labelled(folder):
        detail = f"the manifest states {stated} readings, found {len(text)} lines"
        found.append(violations("influx.lost", "reading.lp", pl.Series([0]), detail))
    return pl.concat([violations(), *found])


def _stated(folder: Path) -> int | None:
    """How many readings the manifest beside the documents states; None without one."""
    try:
        stated = json.loads((folder / "manifest.json").read_text("utf-8"))
        return int(stated["populace"]["tables"]["reading"]["rows"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _labelled(folder: Path) -> int:
    file = folder / "label.csv"
    return pl.read_csv(file, columns=["table"]).filter(table="reading").height if file.is_file() else 0


def _told(found: Mapping[str, list[tuple[int, str]]], file: str) -> Table:
    rows = [(rule, file, n, detail) for rule, faults in found.items() for n, detail in faults[:_LIMIT]]
    return pl.DataFrame(rows, schema=VIOLATION, orient="row")
