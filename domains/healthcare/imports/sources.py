"""Where FHIR resources come from: folders and files of NDJSON and bundles, whoever wrote them. Everything leaves here as lines of JSON, by type."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable, Iterator
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


def put(text: bytes, place: str, found: Sorted, unreadable: Unreadable) -> Iterator[Chunk]:
    """One document: a resource, or a bundle of them. A line whose type stands first need not be parsed to be sorted."""
    text = text.strip().removeprefix(b"\xef\xbb\xbf")
    if text.startswith(_OPENING):
        kind = text[len(_OPENING) : len(_OPENING) + 64].partition(b'"')[0].decode("ascii", "replace")
        if kind not in ("Bundle", "OperationOutcome", "Parameters") and text.endswith(b"}") and kind.isalnum():
            yield from found.put(kind, text.replace(b"\n", b" ") if b"\n" in text else text)
            return
    try:
        document = json.loads(text)
    except (ValueError, RecursionError) as error:
        unreadable(place, f"not JSON: {error}")
        return
    yield from each(document, place, found, unreadable)


def each(document: Any, place: str, found: Sorted, unreadable: Unreadable) -> Iterator[Chunk]:
    """The resources of a parsed document."""
    kind = document.get("resourceType") if isinstance(document, dict) else None
    if kind == "Bundle":
        for n, entry in enumerate(document.get("entry") or [], 1):
            resource = entry.get("resource") if isinstance(entry, dict) else None
            if isinstance(resource, dict):
                if not resource.get("id") and isinstance(url := entry.get("fullUrl"), str):
                    resource["id"] = url.rpartition("/")[2].rpartition(":")[2]
                yield from each(resource, f"{place} entry {n}", found, unreadable)
            elif resource is not None:
                unreadable(f"{place} entry {n}", "its resource is not a JSON object")
    elif isinstance(kind, str) and kind.isalnum():
        yield from found.put(kind, json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode())
    elif isinstance(document, dict):
        unreadable(place, "it has no resourceType")
    else:
        unreadable(place, "not a JSON object")
