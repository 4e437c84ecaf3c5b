"""Web addresses: `http(s)://HOST/PATH`. Each batch is one POST of newline-delimited JSON; any 2xx confirms all of it. 429 and 5xx are tried again,
after the time that `Retry-After` asks for. The user and password of the URL go as Basic authentication."""

from __future__ import annotations

import base64
import http.client
import time
import urllib.parse

import numpy as np
from numpy.typing import NDArray

from ...address import Address
from ...errors import UserError
from ...tables import Table
from . import Outlet, Unreachable

WAIT = 30.0
LONGEST = 60.0
"""Seconds that a server may ask us to wait."""


class Http:
    def __init__(self, address: Address) -> None:
        self.address = address
        self.connection: http.client.HTTPConnection | None = None
        query = urllib.parse.urlencode(dict(address.options))
        self.path = (address.path or "/") + (f"?{query}" if query else "")
        self.headers = {"Content-Type": "application/x-ndjson"}
        if address.user is not None:
            secret = base64.b64encode(f"{address.user}:{address.password or ''}".encode()).decode()
            self.headers["Authorization"] = f"Basic {secret}"

    def open(self) -> None:
        self.close()
        kind = http.client.HTTPSConnection if self.address.scheme == "https" else http.client.HTTPConnection
        self.connection = kind(self.address.host, self.address.port, timeout=WAIT)
        try:
            self.connection.connect()
        except OSError as error:
            raise Unreachable(f"{self.address}: {error.strerror or error}") from None

    def send(self, batch: Table) -> NDArray[np.bool_]:
        assert self.connection is not None
        body = "".join(f"{text}\n" for text in batch["body"]).encode()
        try:
            self.connection.request("POST", self.path, body, self.headers)
            answer = self.connection.getresponse()
            answer.read()
        except (OSError, http.client.HTTPException):
            return np.zeros(batch.height, bool)
        if 200 <= answer.status < 300:
            return np.ones(batch.height, bool)
        if answer.status == 429 or answer.status >= 500:
            asked = answer.headers.get("Retry-After", "")
            time.sleep(min(float(asked), LONGEST) if asked.isdigit() else 0.0)
            return np.zeros(batch.height, bool)
        raise UserError(f"target {self.address}: the server answers {answer.status} {answer.reason}")

    def close(self) -> None:
        if self.connection is not None:
            self.connection.close()
            self.connection = None


def outlet(address: Address | None) -> Outlet:
    assert address is not None
    return Http(address)
