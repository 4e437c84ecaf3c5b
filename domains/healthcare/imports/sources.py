"""Where FHIR resources come from: folders and files of NDJSON and bundles, whoever wrote them. Everything leaves here as lines of JSON, by type."""

from __future__ import annotations

import gzip
import json
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import IO, Any

from ....core.errors import UserError

SUFFIXES = (".ndjson", ".jsonl", ".json", ".ndjson.gz", ".jsonl.gz", ".json.gz")
OURS = ("manifest.json",)
CHUNK = 1 << 25
"""Bytes of lines of one type that are read at a time."""
MAX_DOCUMENT = 1 << 30
"""Bytes of one bundle or line."""

Chunk = tuple[str, list[bytes]]
Unreadable = Callable[[str, str], None]


class Sorted:
    """Lines of JSON put in order of type, handed on when a chunk of one type is full."""

    def __init__(self) -> None:
        self.lines: dict[str, list[bytes]] = {}
        self.size: dict[str, int] = {}

    def put(self, kind: str, line: bytes) -> Iterator[Chunk]:
        self.lines.setdefault(kind, []).append(line)
        self.size[kind] = self.size.get(kind, 0) + len(line)
        if self.size[kind] >= CHUNK:
            self.size[kind] = 0
            yield kind, self.lines.pop(kind)

    def rest(self) -> Iterator[Chunk]:
        yield from self.lines.items()


def from_folder(place: Path, unreadable: Unreadable) -> Iterator[Chunk]:
    """Chunks of all that a folder (and those in it) or a file holds. Raises UserError where there is nothing of FHIR's by its names."""
    if not place.exists():
        raise UserError(f"{place}: there is no such folder or file")
    files = [place] if place.is_file() else sorted(p for p in place.rglob("*") if p.name.endswith(SUFFIXES))
    files = [f for f in files if f.name not in OURS and not any(p.startswith(".") for p in f.relative_to(place).parts)]
    if not files:
        raise UserError(f"{place}: holds no FHIR: looked for files that end in {', '.join(SUFFIXES)}")
    found = Sorted()
    for file in files:
        try:
            with gzip.open(file) if file.suffix == ".gz" else open(file, "rb") as content:
                yield from read(content, str(file), found, unreadable)
        except (OSError, EOFError) as error:
            raise UserError(f"{file}: cannot be read: {getattr(error, 'strerror', None) or error}") from None
    yield from found.rest()


def read(content: IO[bytes] | gzip.GzipFile, place: str, found: Sorted, unreadable: Unreadable) -> Iterator[Chunk]:
    """The chunks that fill up while a file is read: NDJSON, or one document over many lines."""
    first = content.readline(MAX_DOCUMENT)
    if not first.strip().endswith(b"}"):  # a document that goes on
        rest = content.read(MAX_DOCUMENT + 1)
        if len(rest) > MAX_DOCUMENT:
            raise UserError(f"{place}: larger than {MAX_DOCUMENT >> 20} MiB; write it as NDJSON")
        if (first + rest).strip():  # a file of no resources is empty
            yield from put(first + rest, place, found, unreadable)
        return
    number = 0
    while first:
        number += 1
        if first.strip():
            yield from put(first, f"{place}:{number}", found, unreadable)
        first = content.readline(MAX_DOCUMENT)


_OPENING = b'{"resourceType":"'


_REFERENCE = re.compile(r'"reference":"((?:urn:|#)[^"\\]*)"')


def _entries(bundle: Mapping[str, Any]) -> list[Any]:
    entries = bundle.get("entry")
    return entries if isinstance(entries, list) else []


def _named(bundle: Mapping[str, Any]) -> dict[str, str]:
    """What URNs stand for in a bundle: resources whose ids are others than those."""
    found = {}
    for entry in _entries(bundle):
        resource, url = (entry.get("resource"), entry.get("fullUrl")) if isinstance(entry, dict) else (None, None)
        if isinstance(resource, dict) and isinstance(url, str) and url.startswith("urn:") and resource.get("id"):
            found[url] = f"{resource.get('resourceType')}/{resource['id']}"
    return found


def _contained(document: dict[str, Any]) -> tuple[list[dict[str, Any]], dict[str, str]]:
    """The resources within another one, taken out and with ids of their own, and what references to them stand for."""
    parts = document.get("contained")
    if not isinstance(parts, list):
        return [], {}
    whole = [
        p
        for p in parts
        if isinstance(p, dict) and isinstance(p.get("id"), str) and isinstance(p.get("resourceType"), str)
    ]
    if len(whole) == len(parts):
        del document["contained"]
    names = {}
    for part in whole:
        own = f"{document.get('resourceType')}-{document.get('id')}-{part['id']}"
        names[f"#{part['id']}"] = f"{part['resourceType']}/{own}"
        part["id"] = own
    return whole, names


def put(text: bytes, place: str, found: Sorted, unreadable: Unreadable) -> Iterator[Chunk]:
    """One document: a resource, or a bundle of them. A line whose type stands first need not be parsed to be sorted."""
    text = text.strip().removeprefix(b"\xef\xbb\xbf")
    if text.startswith(_OPENING):
        kind = text[len(_OPENING) : len(_OPENING) + 64].partition(b'"')[0].decode("ascii", "replace")
        plain = kind not in ("Bundle", "OperationOutcome", "Parameters") and b'"contained"' not in text
        if plain and text.endswith(b"}") and kind.isalnum():
            yield from found.put(kind, text.replace(b"\n", b" ") if b"\n" in text else text)
            return
    try:
        document = json.loads(text)
    except (ValueError, RecursionError) as error:
        unreadable(place, f"not JSON: {error}")
        return
    yield from each(document, place, found, unreadable)


def each(
    document: Any, place: str, found: Sorted, unreadable: Unreadable, names: Mapping[str, str] | None = None
) -> Iterator[Chunk]:
    """The resources of a parsed document. `names`: what references of the bundle around it stand for."""
    kind = document.get("resourceType") if isinstance(document, dict) else None
    if kind == "Bundle":
        names = {**(names or {}), **_named(document)}
        for n, entry in enumerate(_entries(document), 1):
            resource = entry.get("resource") if isinstance(entry, dict) else None
            if isinstance(resource, dict):
                if not resource.get("id") and isinstance(url := entry.get("fullUrl"), str):
                    resource["id"] = url.rpartition("/")[2].rpartition(":")[2]
                yield from each(resource, f"{place} entry {n}", found, unreadable, names)
            elif resource is not None:
                unreadable(f"{place} entry {n}", "its resource is not a JSON object")
    elif isinstance(kind, str) and kind.isalnum():
        contained, inner = _contained(document)
        for resource in contained:
            yield from each(resource, f"{place} contained", found, unreadable, {**(names or {}), **inner})
        text = json.dumps(document, ensure_ascii=False, separators=(",", ":"))
        if names or inner:
            known = {**(names or {}), **inner}
            text = _REFERENCE.sub(lambda m: f'"reference":"{known.get(m[1], m[1])}"', text)
        yield from found.put(kind, text.encode())
    elif isinstance(document, dict):
        unreadable(place, "it has no resourceType")
    else:
        unreadable(place, "not a JSON object")
