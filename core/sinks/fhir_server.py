"""A FHIR R4 server as a target: `fhir+https://HOST/BASE`. Transaction Bundles wait in the stage until all are there, then go in reference order.

Every entry is a PUT under the resource's own id (R4, `http.html#upsert`), so that what is sent twice is there once: after a retry, with `--resume`,
or in a second run. A server that does not let its clients choose ids refuses the first Bundle.
"""

from __future__ import annotations

import base64
import http.client
import json
import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..address import Address, parse_address
from ..domain import Domain, View
from ..errors import Interrupted, UserError
from ..progress import Progress
from ..tables import Tables
from .order import documents, groups
from .stage import Stage

if TYPE_CHECKING:
    from ..plan import Plan

VIEW = "fhir+bundle"
TOKEN = "POPULACE_FHIR_TOKEN"
MEDIA = "application/fhir+json"
WAIT = 120.0
TRIES = 8
LONGEST = 60.0
"""Seconds that a server may ask us to wait."""
BUSY = (408, 425, 429, 500, 502, 503, 504)
LOOKED_AT = 10


@dataclass(frozen=True)
class FhirServer:
    address: Address
    view: View

    @property
    def target(self) -> Path:
        return Path(self.address.file_name)

    @property
    def place(self) -> str:
        return self.address.shown

    @property
    def form(self) -> str:
        return "fhir"

    @property
    def stage(self) -> Stage:
        return Stage(self.target, self.place)

    @property
    def work(self) -> str:
        return self.form

    def ready(self, plan: Plan) -> FhirServer:
        at = self.address
        if TOKEN in os.environ and at.scheme.endswith("http") and at.host not in ("127.0.0.1", "localhost", "::1"):
            raise UserError(
                f"target {self.place}: the token in {TOKEN} goes over an encrypted line only; use fhir+https"
            )
        status, found = Client(at).ask("GET", "/metadata")
        version = found.get("fhirVersion")
        if status != 200 or found.get("resourceType") != "CapabilityStatement":
            raise UserError(f"target {self.place} is no FHIR server: /metadata answers {status}{said(found)}")
        if not str(version).startswith("4.0"):
            raise UserError(f"target {self.place} speaks FHIR {version}; expected R4, 4.0.1")
        return self

    def write(self, index: int, tables: Tables, reference: Tables) -> None:
        for name, frame in self.view.render(tables, reference).items():
            self.stage.put_part(
                name, index, "named", lambda p, f=frame: f.select("name", "text").write_csv(
                    p, separator="\t", include_header=False, quote_style="never"
                )
            )  # fmt: skip

    def published(self) -> Mapping[str, Any] | None:
        return None

    def publish(self, manifest: Mapping[str, Any]) -> list[str]:
        parts = sorted((self.stage.path / "parts").glob("*/part-*.named"))
        order = groups(parts)
        client, record = Client(self.address), self.stage.path / "sent"
        done = int(record.read_text()) if record.is_file() else 0
        if not done:
            self._refuse_what_stands(client, parts)
        with Progress(f"sending to {self.place}", len(order), done=done, unit="bundle") as progress:
            for n, group in enumerate(documents(parts, order)):
                if n < done:
                    continue
                try:
                    client.post(group)
                except Interrupted as error:
                    raise Interrupted(
                        f"{error}. {n} of {len(order)} Bundles are there; --resume sends the rest."
                    ) from None
                except UserError as error:
                    raise UserError(f"{error}. {n} of {len(order)} Bundles were sent before and are there.") from None
                self.stage.put(record, str(n + 1).encode())
                progress.step()
        return [self.place]

    def _refuse_what_stands(self, client: Client, parts: Sequence[Path]) -> None:
        """A PUT replaces what has the id. Raises UserError if a patient there has one of our ids and is another."""
        looked = 0
        for group in documents(parts, groups(parts)):
            for _, text in group:
                for entry in json.loads(text)["entry"]:
                    patient = entry["resource"]
                    if patient["resourceType"] != "Patient":
                        continue
                    if looked == LOOKED_AT:
                        return
                    looked += 1
                    status, there = client.ask("GET", f"/Patient/{patient['id']}")
                    if status in (404, 410):
                        continue
                    if status != 200:
                        raise UserError(
                            f"target {self.place}: GET Patient/{patient['id']} answers {status}{said(there)}"
                        )
                    if there.get("identifier") != patient.get("identifier"):
                        raise UserError(
                            f"target {self.place} has another Patient/{patient['id']}; nothing was overwritten. "
                            "Choose an empty server or partition, or the seed with which that one was filled."
                        )


class Client:
    """One connection that is kept, and opened again when the server has closed it."""

    def __init__(self, address: Address, tell: bool = True) -> None:
        """`tell`: whether to say who we are, by the token in the environment or the address's own user."""
        self.address = address
        self.connection: http.client.HTTPConnection | None = None
        self.headers = {"Content-Type": f"{MEDIA}; charset=utf-8", "Accept": MEDIA}
        if not tell:
            return
        if token := os.environ.get(TOKEN):
            self.headers["Authorization"] = f"Bearer {token}"
        elif address.user is not None:
            secret = base64.b64encode(f"{address.user}:{address.password or ''}".encode()).decode()
            self.headers["Authorization"] = f"Basic {secret}"

    def post(self, group: Sequence[tuple[str, str]]) -> None:
        """Send the documents of a group as one transaction. Raises UserError with the server's reason if it is refused."""
        names, body = " + ".join(name for name, _ in group), group[0][1]
        if len(group) > 1:
            entries = [entry for _, text in group for entry in json.loads(text)["entry"]]
            body = json.dumps({"resourceType": "Bundle", "type": "transaction", "entry": entries}, ensure_ascii=False)
        status, found = self.ask("POST", "", body.encode())
        if not 200 <= status < 300:
            raise UserError(f"{self.address} refuses the Bundle {names} with {status}{said(found)}")
        # a server that answers nothing of what it did was asked for a transaction, which is whole or not at all
        for entry in found.get("entry") or ():
            answer = entry.get("response") or {}
            if not str(answer.get("status", "2")).startswith("2"):
                why = said(answer.get("outcome") or {})
                raise UserError(f"{self.address} refuses an entry of the Bundle {names} with {answer['status']}{why}")

    def ask(self, method: str, path: str, body: bytes | None = None) -> tuple[int, dict[str, Any]]:
        """The status and the JSON of the answer, {} where it has none. Waits for a server that is busy or away.

        Raises Interrupted when it stays so.
        """
        answer, text = self._patiently(method, path, body, {})
        return answer.status, _json(text)

    def get(self, path: str, headers: Mapping[str, str]) -> tuple[int, dict[str, str], bytes]:
        """Status, headers and body of the answer. Waits as `ask` does."""
        answer, text = self._patiently("GET", path, None, {"Accept": f"{MEDIA}, application/fhir+ndjson", **headers})
        return answer.status, dict(answer.headers.items()), text

    def _patiently(
        self, method: str, path: str, body: bytes | None, headers: Mapping[str, str]
    ) -> tuple[http.client.HTTPResponse, bytes]:
        last = ""
        for attempt in range(TRIES):
            try:
                answer, text = self._once(method, path, body, headers)
            except (OSError, http.client.HTTPException) as error:
                self._close()
                last, pause = str(error) or type(error).__name__, 0.0
            else:
                if answer.status not in BUSY:
                    return answer, text
                asked = answer.headers.get("Retry-After", "")
                last = f"it answers {answer.status} {answer.reason}{said(_json(text))}"
                pause = min(float(asked), LONGEST) if asked.isdigit() else 0.0
            if attempt < TRIES - 1:
                time.sleep(pause or min(0.1 * 2**attempt, LONGEST))
        raise Interrupted(f"{self.address} could not be reached in {TRIES} tries: {self.address.scrub(last)}")

    def _once(
        self, method: str, path: str, body: bytes | None, headers: Mapping[str, str]
    ) -> tuple[http.client.HTTPResponse, bytes]:
        if self.connection is None:
            at = self.address
            kind = http.client.HTTPSConnection if at.scheme.endswith("https") else http.client.HTTPConnection
            self.connection = kind(at.host, at.port, timeout=WAIT)
        self.connection.request(method, self.address.path.rstrip("/") + path or "/", body, {**self.headers, **headers})
        answer = self.connection.getresponse()
        return answer, answer.read()

    def _close(self) -> None:
        if self.connection is not None:
            self.connection.close()
            self.connection = None


def fhir_server(url: str, domain: Domain, mode: str) -> FhirServer:
    """The sink for `fhir+http(s)://…`. Raises UserError for a domain without FHIR Bundles, another mode than create, or a URL that is none."""
    address = parse_address(url, ())
    if not address.host:
        raise UserError(f"target '{address}' names no server; expected {address.scheme}://HOST/BASE")
    if VIEW not in domain.views:
        raise UserError(f"target {address}: {domain.name} has no FHIR resources; healthcare has")
    if mode != "create":
        raise UserError(
            f"--mode {mode} is for databases; a FHIR server takes what is new, and what it has it keeps once"
        )
    return FhirServer(address, domain.views[VIEW])


def _json(text: bytes) -> dict[str, Any]:
    try:
        found = json.loads(text)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def said(outcome: Mapping[str, Any]) -> str:
    """What an OperationOutcome tells, as an end of a sentence."""
    issues = [i for i in outcome.get("issue") or () if isinstance(i, dict)]
    texts = [i.get("diagnostics") or (i.get("details") or {}).get("text") or i.get("code") or "" for i in issues]
    return f": {'; '.join(t for t in texts[:3] if t)}" if any(texts) else ""
