"""A scenario that is started while a domain's events are streamed: from that instant on it is in what is sent, and nothing before it changes."""

from __future__ import annotations

import datetime as dt
import json
import threading
import time
from typing import Any

import numpy as np
import polars as pl
import pytest

from populace.core.dataset import generate
from populace.core.plan import make_plan
from populace.core.spec import Spec
from populace.core.streams import play as playing
from populace.core.streams import session as sessions
from populace.core.streams.outlets.lines import Lines
from populace.core.streams.pace import Pace
from populace.core.streams.session import open_session

EVENTS = {
    "finance": ("transaction-authorised", "card-testing:count=1", {"size": 20, "end": "2025-01-20"}),
    "healthcare": ("observation", "acute-kidney-injury:count=1", {"size": 40}),
    "iot": ("reading", "packet-loss:count=1", {"size": 2, "end": "2025-03-04"}),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", EVENTS)
def test_a_scenario_starts_while_the_stream_plays(name: str, monkeypatch: pytest.MonkeyPatch):
    event, scenario, settings = EVENTS[name]
    sent: list[str] = []

    class Kept(Lines):
        def send(self, batch: pl.DataFrame) -> Any:
            sent.extend(batch["body"])
            return np.ones(batch.height, bool)

    monkeypatch.setattr(sessions, "open_outlet", lambda target: Kept())
    monkeypatch.setattr(playing, "BATCH", 5)
    session = open_session(make_plan(Spec(name, **settings)), "-", events=[event], body="row", quiet=True)
    session.controls.pace = Pace(rate=20)
    thread = threading.Thread(target=session.run)
    thread.start()
    try:
        for _ in range(1_200):
            if sent:
                break
            time.sleep(0.05)
        session.change({"scenario": [scenario]})
        session.controls.pace = Pace()
        thread.join(120)
        assert not thread.is_alive()
    finally:
        session.controls.stopped = True
        thread.join(60)
    (change,) = session.changes
    assert change["scenario"] == [scenario]
    assert session.account.confirmed == session.account.sent == len(sent)
    told = session.plan.domain.events[event]
    since = dt.datetime.fromisoformat(change["from"])
    before, after = (generate(p).frames for p in (make_plan(Spec(name, **settings)), session.plan))
    key = session.plan.domain.schema[told.table].key
    wanted = [
        f[told.table].filter(pl.col(told.at).is_not_null() & when)[key]
        for f, when in ((before, pl.col(told.at) < since), (after, pl.col(told.at) >= since))
    ]
    assert [json.loads(line)[key] for line in sent].__len__() == sum(map(len, wanted))
    assert not after["label"].is_empty()
    assert not before[told.table].equals(after[told.table])
