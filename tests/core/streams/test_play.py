"""Sending: nothing lost and order kept within a key, however an outlet fails; changes on the way, recorded and repeated."""

from __future__ import annotations

import random
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from populace.core.dataset import generate
from populace.core.errors import UserError
from populace.core.plan import make_plan
from populace.core.scenario import ScenarioRequest
from populace.core.spec import Spec
from populace.core.streams import play as playing
from populace.core.streams import session as sessions
from populace.core.streams.message import Shape, messages
from populace.core.streams.outlets import Unreachable
from populace.core.streams.pace import Pace
from populace.core.streams.play import Account, Controls, Part, play
from populace.core.streams.session import open_session
from populace.core.tables import Table
from toy import TOY


@dataclass
class Flaky:
    """An outlet that confirms some messages of a batch, or none, or is not there, as chance has it; and keeps all that reached it."""

    chance: random.Random
    trouble: float
    got: list[tuple[int, str]] = field(default_factory=list)
    opened: int = 0

    def open(self) -> None:
        self.opened += 1
        if self.opened > 1 and self.chance.random() < self.trouble:
            raise Unreachable("the flaky one")

    def send(self, batch: Table) -> NDArray[np.bool_]:
        confirmed = np.array([self.chance.random() >= self.trouble / 10 for _ in range(batch.height)])
        arrived = confirmed | np.array([self.chance.random() < 0.5 for _ in range(batch.height)])
        self.got += list(batch.filter(pl.Series(arrived)).select("key", "id").iter_rows())
        return confirmed

    def close(self) -> None:
        pass


@dataclass(frozen=True)
class Listed:
    """A store in memory."""

    frame: Table

    def count(self, since: int | None = None, until: int | None = None) -> int:
        return sum(f.height for f in self.slices(since, until))

    def slices(self, since: int | None = None, until: int | None = None) -> Iterable[Table]:
        low, high = since if since is not None else -1, until if until is not None else 1 << 62
        yield self.frame.filter((pl.col("at") >= low) & (pl.col("at") < high))


def frame_of(keys: list[int]) -> Table:
    n = len(keys)
    return pl.DataFrame(
        {"at": pl.Series(range(n), dtype=pl.Int64), "key": pl.Series(keys, dtype=pl.Int64)}
    ).with_columns(pl.Series("id", [f"m{i}" for i in range(n)], dtype=pl.String))


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(0, 4), max_size=300), st.floats(0, 0.9), st.integers(0, 1 << 30))
def test_every_message_arrives_and_first_arrivals_keep_the_order_of_their_key(
    keys: list[int], trouble: float, seed: int
):
    patch = pytest.MonkeyPatch()
    patch.setattr(playing.time, "sleep", lambda s: None)
    patch.setattr(playing, "BATCH", 37)
    try:
        outlet, account = Flaky(random.Random(seed), trouble), Account()
        play([Part(Listed(frame_of(keys)))], outlet, account, Controls())  # type: ignore[arg-type]
    finally:
        patch.undo()
    assert {i for _, i in outlet.got} == {f"m{n}" for n in range(len(keys))}
    assert account.confirmed == account.messages == len(keys)
    assert account.lost == 0
    assert account.sent == account.confirmed + account.retried
    assert account.reconnected <= outlet.opened - 1
    for key in set(keys):
        last = [n for n, k in enumerate(keys) if k == key]
        final = {i: at for at, (k, i) in enumerate(outlet.got) if k == key}
        order = [final[f"m{n}"] for n in last]
        assert order == sorted(order), "the last arrivals of a key are in order"


class Gone(Flaky):
    def send(self, batch: Table) -> NDArray[np.bool_]:
        return np.zeros(batch.height, bool)

    def open(self) -> None:
        self.opened += 1
        if self.opened > 1:
            raise Unreachable("the one that went away")


def test_an_outlet_that_stays_away_is_given_up_with_the_account():
    account = Account()
    with pytest.raises(UserError, match=r"gave up .* the one that went away: 0 of 5 messages are confirmed"):
        play([Part(Listed(frame_of([1] * 5)))], Gone(random.Random(1), 0), account, Controls(), patience=0.1)  # type: ignore[arg-type]
    assert account.lost == 5


def test_pause_stop_and_pace_are_heeded(monkeypatch: pytest.MonkeyPatch):
    controls, account = Controls(Pace(rate=10_000)), Account()
    monkeypatch.setattr(playing, "BATCH", 10)

    def step(_: int) -> None:
        if account.confirmed >= 40:
            controls.stopped = True

    play([Part(Listed(frame_of([1] * 200)))], Flaky(random.Random(1), 0), account, controls, step=step)  # type: ignore[arg-type]
    assert 40 <= account.confirmed < 200
    assert account.lost == 200 - account.confirmed


def collected(monkeypatch: pytest.MonkeyPatch, change_at: int | None = None, planned: list[dict] | None = None):
    """Play the toy domain into memory; at some message, start a scenario."""
    got: list[tuple[int, str, str]] = []
    session = open_session(make_plan(Spec("toy", seed=3), TOY), "-", quiet=True)

    class Kept(Flaky):
        def send(self, batch: Table) -> NDArray[np.bool_]:
            got.extend(batch.select("at", "id", "body").iter_rows())
            if change_at is not None and len(got) >= change_at and not session.changes and session._asked is None:
                session.change({"scenario": ["splurge:count=3"]})
            return np.ones(batch.height, bool)

    monkeypatch.setattr(sessions, "open_outlet", lambda target: Kept(random.Random(1), 0))
    monkeypatch.setattr(playing, "BATCH", 50)
    account = session.run(planned or [])
    assert account.lost == 0
    assert account.messages == len(got)
    return got, session.changes


def test_a_scenario_that_starts_now_changes_nothing_before_and_can_be_repeated(monkeypatch: pytest.MonkeyPatch):
    plain, none = collected(monkeypatch)
    changed, changes = collected(monkeypatch, change_at=200)
    again, repeated = collected(monkeypatch, planned=changes)
    assert none == []
    assert len(changes) == 1
    assert repeated == changes
    assert again == changed
    moment = sessions._instant(changes[0])
    before = [m for m in changed if m[0] < moment]
    assert len(before) >= 200
    assert before == [m for m in plain if m[0] < moment]
    first = make_plan(Spec("toy", seed=3), TOY)
    whole = generate(
        make_plan(
            Spec("toy", seed=3, scenarios=(ScenarioRequest("splurge", {"count": "3", "from": changes[0]["from"]}),)),
            TOY,
        )
    )
    made = messages(TOY, whole.frames, list(TOY.events.values()), Shape("{event}"), first.fingerprint[:12])
    after = list(made.filter(pl.col("at") >= moment).select("at", "id", "body").iter_rows())
    assert changed[len(before) :] == after != [m for m in plain if m[0] >= moment]


def test_a_change_that_cannot_be_is_refused_and_the_stream_goes_on():
    session = open_session(make_plan(Spec("toy"), TOY), "-", quiet=True)
    with pytest.raises(UserError, match="does not play"):
        session.change({"scenario": ["ring"]})
    session._folder = Path("nowhere")
    for entry, said in (
        ({"scenario": ["rign"]}, "Did you mean 'ring'"),
        ({"scenarios": ["ring"]}, "Did you mean 'scenario'"),
        ({"set": {"shosp": 1}}, "Did you mean 'shops'"),
        ({"scenario": "ring"}, "expected a list"),
        ({}, "a change has 'scenario'"),
    ):
        with pytest.raises(UserError, match=said):
            session.change(entry)
        assert session._asked is None


def test_tables_without_events_are_no_stream():
    plan = make_plan(Spec("finance", size=5, only=("customer", "merchant")))
    with pytest.raises(
        UserError, match=r"--only customer,merchant: nothing of it is an event; events are of transaction"
    ):
        open_session(plan, "-")
