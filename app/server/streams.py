"""Streams that play in processes of their own, and their controls: asked over a port of this machine that the process has written down."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from typing import Any

from ...core.errors import UserError
from ...core.plan import make_plan
from ...core.streams.pace import parse_pace
from ...core.streams.session import Session, open_session
from .jobs import Job
from .request import StreamAsked

WAIT = 300.0
"""Seconds: a change makes the events anew."""


def stream_of(asked: StreamAsked) -> Session:
    """The session that a client asks for. Raises UserError for what is wrong in it; nothing is made or connected."""
    pace = parse_pace(asked.speed, asked.rate)
    plan = make_plan(asked.spec())
    session = open_session(plan, asked.to or "-", events=asked.events, topic=asked.topic, body=asked.body, quiet=True)
    session.controls.pace = pace
    return session


def tell(job: Job, action: str, body: dict[str, Any] | None) -> dict[str, Any] | None:
    """What the stream answers, None where it does not play. Raises UserError for what it refuses."""
    try:
        port = int((job.folder / "control").read_text())
    except (OSError, ValueError):
        return None
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}/{action}",
        None if body is None else json.dumps(body).encode(),
        {"Content-Type": "application/json"},
    )
    try:
        with urllib.request.urlopen(request, timeout=WAIT) as answer:
            return json.load(answer)
    except urllib.error.HTTPError as error:
        raise UserError(json.load(error).get("error", "the stream refuses")) from None
    except (OSError, ValueError):
        return None
