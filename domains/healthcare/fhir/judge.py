"""Judging a folder of FHIR documents: each resource by fhir.resources (R4B) and by our rules, ids unique, references resolved within the folder,
and what one resource says against what others say of the same patient or encounter."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import polars as pl

from ....core.checks import VIOLATION
from ....core.tables import Table
from . import rules, story, structure
from .story import Found, Story

RULES = (
    "fhir.json",
    "fhir.structure",
    "fhir.id",
    "fhir.reference",
    "fhir.bundle",
    "fhir.duplicate",
    *rules.RULES,
    *story.RULES,
)


def is_ndjson(folder: Path) -> bool:
    """Whether the folder holds FHIR NDJSON: files named for a resource type whose first line is such a resource."""
    return any(_first_type(f) == f.stem for f in sorted(folder.glob("*.ndjson")))


def is_bundles(folder: Path) -> bool:
    """Whether the folder holds `Bundle/*.json`."""
    return any((folder / "Bundle").glob("*.json"))


def is_searchsets(folder: Path) -> bool:
    """Whether the folder holds `Bundle/*.json`, the first of them the answer to a search."""
    first = min((folder / "Bundle").glob("*.json"), default=None)
    return first is not None and b'"searchset"' in first.read_bytes()[:200]


def check(folder: Path) -> Table:
    """Every fault in the documents of a folder: columns check, table (the file), row_key (line or entry, from 1), detail."""
    found: list[Found] = []
    where: dict[str, tuple[str, int]] = {}
    wanted: list[tuple[str, str, int]] = []
    told = Story()
    for place, n, text in _resources(folder, found):
        kind, identity = text.get("resourceType"), text.get("id")
        fault = _structure(kind, text)
        if fault:
            found.append(("fhir.structure", place, n, fault))
        if not isinstance(kind, str):
            continue
        found += [(name, place, n, detail) for name, detail in rules.faults(text)]
        told.hear(kind, text, place, n)
        if not identity and kind != "Bundle":
            found.append(("fhir.id", place, n, f"{kind} without an id"))
        elif identity and (key := f"{kind}/{identity}") in where and not _again(where[key][0], place):
            found.append(("fhir.id", place, n, f"{key} stands in {where[key][0]} too, at {where[key][1]}"))
        elif identity:
            where[f"{kind}/{identity}"] = (place, n)
        if kind != "Bundle":
            wanted += [(r, place, n) for r in _references(text)]
    found += [
        ("fhir.reference", place, n, f"{target} is not here") for target, place, n in wanted if target not in where
    ]
    found += told.contradictions()
    return pl.DataFrame(found, schema=VIOLATION, orient="row")


def _again(before: str, place: str) -> bool:
    """Whether a resource may stand in both: answers to two searches each bring what they refer to."""
    return before != place and place.startswith("Bundle/patient-")


def _first_type(file: Path) -> str | None:
    with open(file, encoding="utf-8", errors="replace") as lines:
        try:
            first = json.loads(lines.readline())
        except ValueError:
            return None
    return first.get("resourceType") if isinstance(first, dict) else None


def _resources(folder: Path, found: list[Found]) -> Iterator[tuple[str, int, dict[str, Any]]]:
    """Every resource with its file and its place in it. What is not JSON, or not an object, is a fault."""
    for file in sorted(folder.glob("*.ndjson")):
        with open(file, "rb") as lines:
            for n, line in enumerate(lines, 1):
                for place, at, resource in _object(file.name, n, line, found):
                    yield place, at, resource
                    if resource.get("resourceType") == "Bundle":
                        yield from _inside(place, at, resource, found)
    for file in sorted((folder / "Bundle").glob("*.json")):
        place = f"Bundle/{file.name}"
        for _, _, bundle in _object(place, 0, file.read_bytes(), found):
            fault = _structure(bundle.get("resourceType"), bundle, "Bundle")
            if fault:
                found.append(("fhir.bundle", place, 0, fault))
            for n, entry in enumerate(bundle.get("entry", []), 1):
                resource = entry.get("resource", {})
                identity = f"{resource.get('resourceType')}/{resource.get('id')}"
                if not str(entry.get("fullUrl", "")).endswith(f"/{identity}"):
                    found.append(("fhir.bundle", place, n, f"fullUrl {entry.get('fullUrl')} is not that of {identity}"))
                url = entry.get("request", {}).get("url")
                if bundle.get("type") in ("transaction", "batch") and url != identity:
                    found.append(("fhir.bundle", place, n, f"request.url {url} is not {identity}"))
                yield place, n, resource


def _inside(
    place: str, n: int, bundle: dict[str, Any], found: list[Found]
) -> Iterator[tuple[str, int, dict[str, Any]]]:
    """The resources of a bundle that stands alone: its references must close within it."""
    entries = [e for e in bundle.get("entry", []) if isinstance(e, dict) and isinstance(e.get("resource"), dict)]
    here = {str(e.get("fullUrl")) for e in entries}
    here |= {f"{e['resource'].get('resourceType')}/{e['resource'].get('id')}" for e in entries}
    for entry in entries:
        found += [
            ("fhir.reference", place, n, f"{entry['resource'].get('resourceType')}: {target} is not in the bundle")
            for target in _references(entry["resource"], ("#", "http:", "https:"))
            if target not in here
        ]
        yield place, n, entry["resource"]


def _object(place: str, n: int, text: bytes, found: list[Found]) -> Iterator[tuple[str, int, dict[str, Any]]]:
    try:
        value = json.loads(text)
    except ValueError as error:
        found.append(("fhir.json", place, n, f"not JSON: {error}"))
        return
    if isinstance(value, dict):
        yield place, n, value
    else:
        found.append(("fhir.json", place, n, "not a JSON object"))


def _structure(kind: Any, resource: dict[str, Any], only: str | None = None) -> str | None:
    if only == "Bundle":
        # the entries' resources are judged one by one
        if kind != "Bundle":
            return f"resourceType is {kind!r}, expected 'Bundle'"
        entries = [{k: v for k, v in e.items() if k != "resource"} for e in resource.get("entry", [])]
        resource = {**resource, "entry": entries}
    return structure.fault(kind, resource)


def _references(value: Any, beyond: tuple[str, ...] = ("#", "http:", "https:", "urn:")) -> Iterator[str]:
    """Every reference in a resource but those that begin as in `beyond`: by default the relative ones."""
    if isinstance(value, dict):
        target = value.get("reference")
        if isinstance(target, str) and not target.startswith(beyond):
            yield target
        for child in value.values():
            yield from _references(child, beyond)
    elif isinstance(value, list):
        for child in value:
            yield from _references(child, beyond)
