"""Resources from a FHIR server: a bulk export where it offers one (FHIR Bulk Data Access 2.0), else search pages."""

from __future__ import annotations

import io
import json
import os
import time
from collections.abc import Iterator
from typing import Any
from urllib.parse import urljoin, urlsplit

from ....core.address import parse_address, redact
from ....core.errors import UserError
from ....core.sinks.fhir_server import TOKEN, Client, said
from .shapes import SHAPES
from .sources import Chunk, Sorted, Unreadable, each, read

PAGE = 500
PATIENCE = 3_600.0
"""Seconds that an export may take."""
MAX_PAGES = 1_000_000


def from_server(url: str, unreadable: Unreadable) -> Iterator[Chunk]:
    """Chunks from `http(s)://host/base` (a bulk export, else a search for each type), `…/base/$export`, or one search such as
    `…/base/Patient?_count=100`. Raises UserError where the server has neither."""
    parts = urlsplit(url)
    at = parse_address(f"{parts.scheme}://{parts.netloc}")
    if TOKEN in os.environ and at.scheme == "http" and at.host not in ("127.0.0.1", "localhost", "::1"):
        raise UserError(f"{at}: the token in {TOKEN} goes over an encrypted line only; use https")
    _, _, last = parts.path.rstrip("/").rpartition("/")
    found = Sorted()
    if "?" in url or last in SHAPES:
        yield from _pages(url, found, unreadable)
    else:
        whole = last.startswith("$export")
        outputs = _export(url if whole else f"{url.rstrip('/')}/$export", whole)
        if outputs is None:
            for kind in SHAPES:
                yield from _pages(f"{url.rstrip('/')}/{kind}?_count={PAGE}", found, unreadable, optional=True)
        for output in outputs or ():
            where = urljoin(url, str(output.get("url")))
            if urlsplit(where).scheme not in ("http", "https"):
                raise UserError(f"{redact(url)}: its export names {redact(where)}, which is no http address")
            status, _, body = _get(where, parts.netloc)
            if status != 200:
                raise UserError(f"{redact(where)}: answers {status}")
            yield from read(io.BytesIO(body), redact(where), found, unreadable)
    yield from found.rest()


def _export(url: str, asked: bool) -> list[dict[str, Any]] | None:
    """The files of a finished export; None if the server has no such operation and it was not asked for by name."""
    status, headers, body = _get(url, urlsplit(url).netloc, {"Prefer": "respond-async"})
    if status != 202:
        if asked or status in (401, 403):
            raise UserError(f"{redact(url)}: no bulk export: answers {status}{said(_json(body))}")
        return None
    where = urljoin(url, headers.get("Content-Location", ""))
    until = time.monotonic() + PATIENCE
    while True:
        status, headers, body = _get(where, urlsplit(url).netloc)
        if status == 200:
            return [o for o in _json(body).get("output") or () if isinstance(o, dict)]
        if status != 202:
            raise UserError(f"{redact(where)}: the export failed: {status}{said(_json(body))}")
        if time.monotonic() > until:
            raise UserError(f"{redact(where)}: the export is not done after {PATIENCE:.0f} s")
        after = headers.get("Retry-After", "")
        time.sleep(min(float(after), 60.0) if after.isdigit() else 0.5)


def _pages(url: str, found: Sorted, unreadable: Unreadable, optional: bool = False) -> Iterator[Chunk]:
    home, seen = urlsplit(url).netloc, set[str]()
    while url:
        if url in seen or len(seen) > MAX_PAGES:
            raise UserError(f"{redact(url)}: the server's next page is one that was read already")
        seen.add(url)
        status, _, body = _get(url, home)
        bundle = _json(body)
        if status in (400, 404) and optional and len(seen) == 1:
            return  # a type that this server does not keep
        if status != 200 or bundle.get("resourceType") != "Bundle":
            raise UserError(f"{redact(url)}: answers {status}, expected a Bundle{said(bundle)}")
        yield from each(bundle, redact(url), found, unreadable)
        links = (n for n in bundle.get("link") or () if isinstance(n, dict) and n.get("relation") == "next")
        url = next((urljoin(url, str(n.get("url"))) for n in links), "")


def _get(url: str, home: str, headers: dict[str, str] | None = None) -> tuple[int, dict[str, str], bytes]:
    """One answer. What proves who we are goes to the server that was named, and to no other."""
    parts = urlsplit(url)
    at = parse_address(f"{parts.scheme}://{parts.netloc}")
    client = Client(at, tell=parts.netloc == home)
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    return client.get(path, headers or {})


def _json(body: bytes) -> dict[str, Any]:
    try:
        found = json.loads(body)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}
