"""The controls of a stream over HTTP, on this machine alone: look at it, pause it, change its pace, its scenarios, its priors.

    GET  /status                                what was sent and confirmed, the pace, the changes so far
    POST /pause, /resume, /stop
    POST /pace     {"speed": "60x"}             or {"rate": "1000/s"}
    POST /change   {"scenario": ["card-testing:count=2"], "set": {"purchase.void": 0.05}}

A POST must say that it carries JSON and must not come from a web page: a site that the user happens to visit can send neither.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from ..errors import InvalidData, UserError, unknown
from .pace import parse_pace
from .session import Session

MAX_BODY = 1 << 16
_LOOPBACK = {"127.0.0.1", "localhost", "::1"}
_ACTIONS = ("pause", "resume", "stop", "pace", "change")


@contextmanager
def controlled(session: Session, port: int) -> Iterator[int]:
    """Serve the controls while the context lasts; port 0 takes a free one. Gives the port. Raises UserError if it is taken."""

    class Handler(_Handler):
        stream = session

    try:
        server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
    except OSError as error:
        raise UserError(f"--control {port}: {error.strerror}") from None
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        server.server_close()


class _Handler(BaseHTTPRequestHandler):
    stream: Session
    timeout = 30

    def do_GET(self) -> None:
        if not self._local():
            return
        if self.path != "/status":
            return self._answer(
                404, {"error": "there is GET /status, and POST " + ", ".join(f"/{a}" for a in _ACTIONS)}
            )
        self._answer(200, self._status())

    def do_POST(self) -> None:
        if not self._local():
            return
        if self.headers.get("Origin") or self.headers.get_content_type() != "application/json":
            return self._answer(403, {"error": "expected a Content-Type of application/json, and no Origin"})
        length = self.headers.get("Content-Length", "")
        if not length.isdigit() or int(length) > MAX_BODY:
            return self._answer(413, {"error": f"expected a Content-Length of at most {MAX_BODY}"})
        try:
            told = json.loads(self.rfile.read(int(length)) or b"{}")
            if not isinstance(told, dict):
                raise UserError("expected a JSON object")
            self._act(self.path.removeprefix("/"), told)
        except (ValueError, RecursionError, UserError, InvalidData) as error:
            return self._answer(400, {"error": str(error)})
        self._answer(200, self._status())

    def _act(self, action: str, told: dict[str, Any]) -> None:
        controls = self.stream.controls
        match action:
            case "pause":
                controls.paused = True
            case "resume":
                controls.paused = False
            case "stop":
                controls.stopped = True
            case "pace":
                for key in told.keys() - {"speed", "rate"}:
                    raise unknown("setting", key, ("speed", "rate"))
                controls.pace = parse_pace(*(None if told.get(k) is None else str(told[k]) for k in ("speed", "rate")))
            case "change":
                if "from" in told:
                    raise UserError("a change begins at the next instant: it takes no 'from'")
                self.stream.change(told)
            case _:
                raise unknown("action", action, _ACTIONS)

    def _local(self) -> bool:
        """Whether the request names this machine: one that a page had resolved to us by a name of its own does not."""
        host = self.headers.get("Host", "").rsplit(":", 1)[0].strip("[]")
        if host not in _LOOPBACK:
            self._answer(403, {"error": "ask for 127.0.0.1"})
        return host in _LOOPBACK

    def _status(self) -> dict[str, Any]:
        controls = self.stream.controls
        return {
            **self.stream.account.as_dict(),
            "paused": controls.paused,
            "speed": controls.pace.speed,
            "rate": controls.pace.rate,
            "changes": self.stream.changes,
        }

    def _answer(self, code: int, body: dict[str, Any]) -> None:
        text = json.dumps(body).encode()
        self.send_response(code)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing: the account at the end tells what was done."""
