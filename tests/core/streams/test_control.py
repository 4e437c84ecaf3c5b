"""The controls of a stream over HTTP: what they do, and whom they do not obey."""

from __future__ import annotations

import http.client
import json
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from populace.core.plan import make_plan
from populace.core.spec import Spec
from populace.core.streams import play as playing
from populace.core.streams import session as sessions
from populace.core.streams.control import controlled
from populace.core.streams.outlets.lines import Lines
from populace.core.streams.pace import Pace
from populace.core.streams.session import Session, open_session
from toy import TOY

Ask = Any


class Sunk(Lines):
    def send(self, batch: Any) -> Any:
        import numpy as np

        return np.ones(batch.height, bool)


@pytest.fixture
def playing_session(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Session, int]]:
    monkeypatch.setattr(sessions, "open_outlet", lambda target: Sunk())
    monkeypatch.setattr(playing, "BATCH", 5)
    session = open_session(make_plan(Spec("toy", size=60), TOY), "-", quiet=True)
    session.controls.pace = Pace(rate=50)
    with controlled(session, 0) as port:
        thread = threading.Thread(target=session.run)
        thread.start()
        yield session, port
        session.controls.stopped, session.controls.paused = True, False
        thread.join(30)
        assert not thread.is_alive()


def ask(port: int, method: str, path: str, body: Any = None, **headers: str) -> tuple[int, dict[str, Any]]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    text = None if body is None else body if isinstance(body, str) else json.dumps(body)
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    connection.request(method, path, text, {"Content-Type": "application/json", **names})
    answer = connection.getresponse()
    return answer.status, json.loads(answer.read())


def until(port: int, holds: Any) -> dict[str, Any]:
    for _ in range(300):
        status = ask(port, "GET", "/status")[1]
        if holds(status):
            return status
        time.sleep(0.05)
    raise AssertionError(status)


def test_a_stream_is_paused_changed_quickened_and_ends(playing_session: tuple[Session, int]):
    session, port = playing_session
    until(port, lambda s: s["confirmed"] >= 10)
    assert ask(port, "POST", "/pause", {})[1]["paused"]
    time.sleep(0.3)
    still = ask(port, "GET", "/status")[1]["confirmed"]
    time.sleep(0.4)
    assert ask(port, "GET", "/status")[1]["confirmed"] == still
    assert ask(port, "POST", "/change", {"scenario": ["splurge:count=2"]})[0] == 200
    assert ask(port, "POST", "/change", {"scenario": ["ring"]}) == (
        400,
        {"error": "another change has not come into force yet"},
    )
    assert ask(port, "POST", "/pace", {"rate": "20000/s"})[1]["rate"] == 20_000
    assert not ask(port, "POST", "/resume", {})[1]["paused"]
    status = until(port, lambda s: s["changes"])
    assert status["changes"][0]["scenario"] == ["splurge:count=2"]
    assert until(port, lambda s: s["lost"] == 0)["confirmed"] == session.account.messages


def test_what_is_asked_wrongly_is_told(playing_session: tuple[Session, int]):
    _, port = playing_session
    until(port, lambda s: s["confirmed"] >= 5)
    for path, body, said in (
        ("/pauze", {}, "Did you mean 'pause'"),
        ("/pace", {"speed": "quick"}, "--speed is 'quick'"),
        ("/pace", {"sped": "2x"}, "Did you mean 'speed'"),
        ("/change", {"scenario": ["splurg"]}, "Did you mean 'splurge'"),
        ("/change", {"from": "2025-01-01T00:00:00Z", "scenario": ["ring"]}, "takes no 'from'"),
        ("/change", "[1]", "expected a JSON object"),
        ("/change", "{", "Expecting"),
    ):
        code, answer = ask(port, "POST", path, body)
        assert code == 400
        assert said in answer["error"]
    assert ask(port, "GET", "/elsewhere")[0] == 404


def test_web_pages_are_not_obeyed(playing_session: tuple[Session, int]):
    session, port = playing_session
    assert ask(port, "POST", "/pause", {}, Origin="https://evil.example")[0] == 403
    assert ask(port, "POST", "/pause", {}, Content_Type="text/plain")[0] == 403
    assert ask(port, "GET", "/status", Host="rebound.example")[0] == 403
    assert ask(port, "POST", "/pause", "x" * 70_000)[0] == 413
    assert not session.controls.paused
